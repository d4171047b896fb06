"""The types of DuckDB's columns, by the names it gives them."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

SMALL_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")
LARGE_INTEGERS = ("UBIGINT", "HUGEINT", "UHUGEINT")
INTEGERS = (*SMALL_INTEGERS, "BIGINT", *LARGE_INTEGERS)


def is_best_as_text(kind: str) -> bool:
    """Tell categories, whose order differs from file to file, and what polars has no type for."""
    return (kind.startswith("ENUM(") and kind.endswith(")")) or "INTERVAL" in kind


def other_type(kind: str) -> sa.types.TypeEngine[Any]:
    """Say what SQLAlchemy calls a type of DuckDB."""
    plain: dict[str, sa.types.TypeEngine[Any]] = {
        "VARCHAR": sa.String(),
        "BLOB": sa.LargeBinary(),
        "BIT": sa.LargeBinary(),
        "BOOLEAN": sa.Boolean(),
        "DATE": sa.Date(),
        "FLOAT": sa.Float(),
        "DOUBLE": sa.Double(),
        **dict.fromkeys((*SMALL_INTEGERS, "BIGINT"), sa.BigInteger()),
        **dict.fromkeys(LARGE_INTEGERS, sa.Numeric(38, 0)),
    }
    if kind in plain:
        return plain[kind]
    if is_best_as_text(kind):
        return sa.String()
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "JSON", "VARIANT")):
        return sa.JSON()
    if kind.startswith("TIMESTAMP"):
        return sa.TIMESTAMP(timezone="TZ" in kind or "ZONE" in kind)
    if kind.startswith("DECIMAL"):
        precision, scale = map(int, re.findall(r"\d+", kind))
        return sa.Numeric(precision, scale)
    return sa.types.NullType()
