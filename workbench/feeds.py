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
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
ISO_MOMENT = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
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
        return _Reading(name, raw, value, f"{present} AND {value} IS NULL", "a date as 2026-01-31")
    number = _as_number(text, kind)
    if name in WHOLE:
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
    # Without the ICU extension only the epoch tells a zoned moment; it is UTC by definition.
    if kind == "TIMESTAMPTZ_NS":
        moment = f"make_timestamp(epoch_ns({text}) // 1000)"
    elif kind == "TIMESTAMP WITH TIME ZONE":
        moment = f"make_timestamp(epoch_us({text}))"
    elif kind == "VARCHAR":
        moment = _shaped(text, ISO_MOMENT, "TIMESTAMP")
    elif kind == "DATE" or kind.startswith("TIMESTAMP"):
        moment = f"try_cast({text} AS TIMESTAMP)"
    else:
        return "NULL::TIMESTAMP"
    return f"CASE WHEN isfinite({moment}) THEN {moment} END"


def _as_number(text: str, kind: str) -> str:
    if kind == "DOUBLE" or kind in INTEGERS:
        # A double of 17 digits is whole itself; scaled to a decimal it no longer would be.
        return text
    if kind == "FLOAT":
        # By its shortest spelling: 99.1, not the 99.0999984741 that single precision holds.
        return f"try_cast(CAST({text} AS VARCHAR) AS DECIMAL(38, 10))"
    if kind == "VARCHAR":
        return _shaped(text, NUMBER, "DECIMAL(38, 10)")
    return f"try_cast({text} AS DECIMAL(38, 10))" if kind[:7] == "DECIMAL" else "NULL::DECIMAL"


def _shaped(text: str, pattern: str, kind: str) -> str:
    # DuckDB's own casts take 1_000 for a thousand and drop the offset of a time.
    matches = f"regexp_full_match({text}, {_literal(pattern)})"
    return f"CASE WHEN {matches} THEN try_cast({text} AS {kind}) END"


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
    if kind == "VARCHAR":
        return sa.String()
    if kind in ("BLOB", "BIT"):
        return sa.LargeBinary()
    if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION", "JSON", "VARIANT")):
        return sa.JSON()
    return sa.types.NullType()
