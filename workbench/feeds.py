"""A feed as it comes, in text, floats or decimals, given the types Run Colors needs.

Values are never bent to fit: one that is not what its column must hold is an error that names
the column, the row and the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.sql import TableClause

from workbench.colors import MOMENTS, TEXTS, WHOLE, match_columns, type_of
from workbench.dialects import BLANKS
from workbench.errors import DataError

FLOATS = ("DOUBLE", "FLOAT")
INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
            "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")  # fmt: skip


@dataclass(frozen=True)
class _Reading:
    """How a raw column is read: its value, and when that value is not what it should be."""

    name: str
    raw: str
    value: str
    bad: str
    expected: str


def typed_view(connection: duckdb.DuckDBPyConnection, label: str) -> TableClause:
    """Turn the view `raw` into the view `feed` with typed columns, and describe that.

    Raises DataError for missing columns and for the first value that cannot be read.
    """
    described = connection.execute("DESCRIBE raw").fetchall()
    types = {str(name): str(kind) for name, kind, *_ in described}
    names = match_columns(list(types), label)
    readings = [_reading(name, found, types[found]) for name, found in names.items()]
    _refuse_bad_values(connection, readings, label)
    others = [found for found in types if found not in names.values()]
    columns = [f"{reading.value} AS {quoted(reading.name)}" for reading in readings]
    columns += [quoted(name) for name in others]
    connection.execute(f"CREATE VIEW feed AS SELECT {', '.join(columns)} FROM raw")  # noqa: S608
    return sa.table(
        "feed",
        *(sa.column(reading.name, type_of(reading.name)) for reading in readings),
        *(sa.column(name, _other_type(types[name])) for name in others),
    )


def quoted(name: str) -> str:
    """Quote an identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _reading(name: str, found: str, kind: str) -> _Reading:
    raw = quoted(found)
    text = f"nullif(trim({raw}, {_literal(BLANKS)}), '')" if kind == "VARCHAR" else raw
    present = f"{text} IS NOT NULL"
    if kind in FLOATS:
        present = f"({present} AND NOT isnan({raw}))"
    if name in TEXTS:
        return _Reading(name, raw, _as_text(raw, kind), "FALSE", "text")
    if name in MOMENTS:
        value = _as_moment(text, kind)
        bad = f"{present} AND {value} IS NULL"
        return _Reading(name, raw, value, bad, "a date such as 2026-01-31")
    number = f"try_cast({text} AS DECIMAL(38, 10))" if _numeric(kind) else "NULL::DECIMAL(38, 10)"
    if name in WHOLE:
        if kind in FLOATS:
            # A double of 17 digits is whole itself; scaled to a decimal it no longer is.
            number = raw
        value = f"try_cast({number} AS BIGINT)"
        bad = f"{present} AND ({value} IS NULL OR {number} <> trunc({number}))"
        return _Reading(name, raw, value, bad, "a whole number")
    value = f"try_cast({number} AS DECIMAL(28, 10))"
    return _Reading(name, raw, value, f"{present} AND {value} IS NULL", "a number")


def _as_text(raw: str, kind: str) -> str:
    if kind == "VARCHAR":
        return raw
    if kind in FLOATS:
        # Excel keeps every number as a float: 912828 must not become "912828.0".
        return (
            f"CASE WHEN isnan({raw}) THEN NULL WHEN {raw} = trunc({raw}) AND abs({raw}) < 1e15 "
            f"THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"
        )
    return f"CAST({raw} AS VARCHAR)"


def _as_moment(text: str, kind: str) -> str:
    if kind == "TIMESTAMP WITH TIME ZONE":
        # Without the ICU extension only the epoch tells the moment; it is UTC by definition.
        return f"make_timestamp(epoch_us({text}))"
    if kind == "VARCHAR" or kind == "DATE" or kind.startswith("TIMESTAMP"):
        return f"try_cast({text} AS TIMESTAMP)"
    return "NULL::TIMESTAMP"


def _numeric(kind: str) -> bool:
    return kind in FLOATS or kind in INTEGERS or kind == "VARCHAR" or kind.startswith("DECIMAL")


def _refuse_bad_values(
    connection: duckdb.DuckDBPyConnection, readings: list[_Reading], label: str
) -> None:
    counts = ", ".join(f"count(*) FILTER ({reading.bad})" for reading in readings)
    row = connection.execute(f"SELECT {counts} FROM raw").fetchone()  # noqa: S608
    for reading, count in zip(readings, row or (), strict=True):
        if count:
            number, value = _first_bad(connection, reading)
            raise DataError(
                f"{label}: column {reading.name} holds {value!r} in row {number}, "
                f"where {reading.expected} belongs"
                + (f" ({count:,} such rows)." if count > 1 else "."),
                "Rows are counted from 1, without the header. Correct the file and run again.",
            )


def _first_bad(connection: duckdb.DuckDBPyConnection, reading: _Reading) -> tuple[int, Any]:
    row = connection.execute(
        f"SELECT number, value FROM (SELECT row_number() OVER () AS number, "  # noqa: S608
        f"CAST({reading.raw} AS VARCHAR) AS value, ({reading.bad}) AS bad FROM raw) "
        "WHERE bad ORDER BY number LIMIT 1"
    ).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0]), str(row[1])[:60]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _other_type(kind: str) -> sa.types.TypeEngine[Any]:
    if kind in ("VARCHAR", "UUID"):
        return sa.String()
    if kind in ("BLOB", "BIT"):
        return sa.LargeBinary()
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "JSON", "VARIANT")):
        return sa.JSON()
    return sa.types.NullType()
