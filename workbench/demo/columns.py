"""Columns of the sample schemas: each with a comment, so that profiles have something to quote."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey


def key(name: str, kind: Any, comment: str) -> Column[Any]:
    """Return a column of the primary key."""
    return Column(name, kind, primary_key=True, autoincrement=False, comment=comment)


def needed(name: str, kind: Any, comment: str, *, refers_to: str | None = None) -> Column[Any]:
    """Return a column that is never null; `refers_to` is the schema.table.column it leads to."""
    leads = [ForeignKey(refers_to)] if refers_to else []
    return Column(name, kind, *leads, nullable=False, comment=comment)


def optional(name: str, kind: Any, comment: str, *, refers_to: str | None = None) -> Column[Any]:
    """Return a column that may be null; `refers_to` is the schema.table.column it leads to."""
    leads = [ForeignKey(refers_to)] if refers_to else []
    return Column(name, kind, *leads, comment=comment)
