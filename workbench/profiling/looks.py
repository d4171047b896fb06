"""Statements that show what a finding means, in the SQL of the profiled database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import oracle, postgresql

from workbench.profiling.model import Relation, SchemaProfile

SHOWN = 20  # rows
Column = sa.ColumnElement[Any]


def beyond(profile: SchemaProfile, table: str, column: str, limit: str, *, above: bool) -> str:
    """Select the rows above or below a limit, an SQL expression, the farthest first."""
    at: Column = sa.column(column)
    end: Column = sa.literal_column(limit)
    rows = _rows(profile, table).where(at > end if above else at < end)
    return _sql(profile, rows.order_by(at.desc() if above else at).limit(SHOWN))


def once(profile: SchemaProfile, table: str, names: Iterable[str]) -> str:
    """Select rows that are equal only once, in all columns or in some."""
    columns: list[Column] = [sa.column(name) for name in names]
    rows = sa.select(*columns or [sa.literal_column("*")]).select_from(_named(profile, table))
    return _sql(profile, rows.distinct())


def repeated(profile: SchemaProfile, table: str, names: Iterable[str]) -> str:
    """Select the values of columns that several rows have in common."""
    columns: list[Column] = [sa.column(name) for name in names]
    n = sa.func.count()
    groups = sa.select(*columns, n.label("n")).select_from(_named(profile, table))
    return _sql(profile, groups.group_by(*columns).having(n > 1).limit(SHOWN))


def orphans(profile: SchemaProfile, found: Relation) -> str:
    """Select the values without a match, the most frequent first."""
    keys = profile.table(found.table).foreign_keys
    schemas = {(key.columns, key.to_table): key.to_schema for key in keys}
    schema = schemas.get((found.columns, found.to_table)) or profile.schema
    child = sa.table(found.table, *map(sa.column, found.columns), schema=profile.schema).alias("c")
    parent = sa.table(found.to_table, *map(sa.column, found.to_columns), schema=schema).alias("p")
    pairs = zip(found.columns, found.to_columns, strict=True)
    match = sa.exists(sa.text("1")).where(*(parent.c[b] == child.c[a] for a, b in pairs))
    values, n = list(child.c), sa.func.count().label("n")
    rows = sa.select(*values, n).where(*(value.is_not(None) for value in values), ~match)
    return _sql(profile, rows.group_by(*values).order_by(n.desc()).limit(SHOWN))


def gather(profile: SchemaProfile, table: str) -> str:
    """Say how statistics are gathered."""
    name = _dialect(profile).identifier_preparer.format_table(_named(profile, table))
    if _dialect(profile).name == "postgresql":
        return f"ANALYZE {name}"
    return f"DBMS_STATS.GATHER_TABLE_STATS of {name}"


def _named(profile: SchemaProfile, table: str) -> sa.TableClause:
    return sa.table(table, schema=profile.schema)


def _rows(profile: SchemaProfile, table: str) -> sa.Select[Any]:
    return sa.select(sa.text("*")).select_from(_named(profile, table))


def _sql(profile: SchemaProfile, statement: sa.Select[Any]) -> str:
    text = statement.compile(dialect=_dialect(profile), compile_kwargs={"literal_binds": True})
    return re.sub(r" *\n *", " ", str(text))


def _dialect(profile: SchemaProfile) -> sa.Dialect:
    chosen: Any = oracle if profile.server.startswith("Oracle") else postgresql
    # With this style, a % in a name stays one.
    dialect: sa.Dialect = chosen.dialect(paramstyle="named")
    return dialect
