"""From what a cursor says of its columns to exact polars dtypes, and rows to a frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from typing import Any

import polars as pl

from workbench.errors import DataError

BARE_NUMBER = pl.Decimal(38, 10)
INT64_DIGITS = 18
MAX_DIGITS = 38
WIDE = Context(prec=2000)

# https://www.postgresql.org/docs/current/datatype.html, by the names in pg_type.
POSTGRESQL = {
    "bool": pl.Boolean(),
    "int2": pl.Int64(),
    "int4": pl.Int64(),
    "int8": pl.Int64(),
    "oid": pl.Int64(),
    "float4": pl.Float64(),
    "float8": pl.Float64(),
    "text": pl.String(),
    "varchar": pl.String(),
    "bpchar": pl.String(),
    "name": pl.String(),
    "uuid": pl.String(),
    "json": pl.String(),
    "jsonb": pl.String(),
    "bytea": pl.Binary(),
    "date": pl.Date(),
    "time": pl.Time(),
    "timestamp": pl.Datetime("us"),
    "timestamptz": pl.Datetime("us", "UTC"),
    "interval": pl.Duration("us"),
}
# https://python-oracledb.readthedocs.io/, database types; DATE keeps its time of day.
ORACLE = {
    "DB_TYPE_BINARY_DOUBLE": pl.Float64(),
    "DB_TYPE_BINARY_FLOAT": pl.Float64(),
    "DB_TYPE_BLOB": pl.Binary(),
    "DB_TYPE_CHAR": pl.String(),
    "DB_TYPE_CLOB": pl.String(),
    "DB_TYPE_DATE": pl.Datetime("us"),
    "DB_TYPE_NCHAR": pl.String(),
    "DB_TYPE_NCLOB": pl.String(),
    "DB_TYPE_NVARCHAR": pl.String(),
    "DB_TYPE_RAW": pl.Binary(),
    "DB_TYPE_TIMESTAMP": pl.Datetime("us"),
    "DB_TYPE_VARCHAR": pl.String(),
}


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result: its name, its dtype, and what the database calls its type."""

    name: str
    dtype: pl.DataType
    kind: str


def number_dtype(precision: int | None, scale: int | None) -> pl.DataType:
    """Give the dtype that holds NUMBER(precision, scale) exactly; precision None is a bare one."""
    if precision is None or scale is None or precision > MAX_DIGITS:
        return BARE_NUMBER
    if scale <= 0 and precision - scale <= INT64_DIGITS:
        return pl.Int64()
    if scale > precision or precision - min(scale, 0) > MAX_DIGITS:
        return BARE_NUMBER
    return pl.Decimal(precision - min(scale, 0), max(scale, 0))


def result_columns(
    description: Sequence[Any], dialect: str, *, numbers: str = "exact"
) -> list[ResultColumn]:
    """Describe a DBAPI cursor's columns; raises DataError for a type polars has no equal of."""
    describe = _oracle_column if dialect == "oracle" else _postgresql_column
    columns = [describe(entry) for entry in description]
    names = [column.name for column in columns]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"The statement returns more than one column named {repeated[0]!r}.",
            "Give each an alias of its own with AS.",
        )
    if numbers == "float":
        return [
            replace(column, dtype=pl.Float64()) if column.dtype.is_decimal() else column
            for column in columns
        ]
    return columns


def _postgresql_column(entry: Any) -> ResultColumn:
    from psycopg import postgres

    info = postgres.types.get(entry.type_code)
    if info is None:
        # An enum or another type of the database's own: the driver hands its text over.
        return ResultColumn(entry.name, pl.String(), "custom")
    if entry.type_code == info.array_oid:
        raise _unsupported(entry.name, f"{info.name}[]")
    if info.name == "numeric":
        return ResultColumn(entry.name, number_dtype(entry.precision, entry.scale), info.name)
    if info.name not in POSTGRESQL:
        raise _unsupported(entry.name, info.name)
    return ResultColumn(entry.name, POSTGRESQL[info.name], info.name)


def _oracle_column(entry: Any) -> ResultColumn:
    name, kind = entry.name, entry.type_code.name
    if kind == "DB_TYPE_NUMBER":
        # A bare NUMBER says precision 0, a FLOAT says scale -127: neither declares its digits.
        declared = entry.precision and entry.scale != -127
        dtype = number_dtype(entry.precision, entry.scale) if declared else BARE_NUMBER
        return ResultColumn(name, dtype, kind)
    if kind not in ORACLE:
        raise _unsupported(name, kind.removeprefix("DB_TYPE_"))
    return ResultColumn(name, ORACLE[kind], kind)


def _unsupported(column: str, kind: str) -> DataError:
    return DataError(
        f"Column {column!r} has the type {kind}, which has no equal in a data frame.",
        f'Select it as CAST("{column}" AS VARCHAR(4000)), or leave it out: a .sql file may say so.',
    )


def frame(columns: Sequence[ResultColumn], rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """Build a frame of exactly these dtypes from row tuples; raises DataError for a misfit."""
    values = list(zip(*rows, strict=True)) or [() for _ in columns]
    return pl.DataFrame(
        [
            pl.Series(column.name, _fitting(column, data), dtype=column.dtype, strict=False)
            for column, data in zip(columns, values, strict=True)
        ]
    )


def _fitting(column: ResultColumn, values: Sequence[Any]) -> Sequence[Any]:
    if column.dtype.is_decimal():
        numbers = [None if value is None else Decimal(value) for value in values]
        for number in numbers:
            if number is not None:
                _check_number(column, number)
        return numbers
    if column.dtype == pl.String:
        return [
            value if value is None or isinstance(value, str) else _text(value) for value in values
        ]
    if column.dtype.is_numeric():
        convert = int if column.dtype.is_integer() else float
        return [None if value is None else convert(value) for value in values]
    return values


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, bool, int, float)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _check_number(column: ResultColumn, value: Decimal) -> None:
    dtype = column.dtype
    assert isinstance(dtype, pl.Decimal)  # noqa: S101
    # The usual context would round to 28 digits here, and hide what does not fit.
    exponent = value.normalize(WIDE).as_tuple().exponent
    if not isinstance(exponent, int):
        raise DataError(
            f"Column {column.name!r} holds {value}, which no exact number can hold.",
            f'Turn it into NULL in the statement, or CAST("{column.name}" AS DOUBLE PRECISION).',
        )
    if -exponent > dtype.scale or value.adjusted() + 1 > dtype.precision - dtype.scale:
        raise DataError(
            f"Column {column.name!r} holds a number that does not fit "
            f"DECIMAL({dtype.precision}, {dtype.scale}).",
            f'Declare its digits in the statement, e.g. CAST("{column.name}" AS NUMERIC(38, 20)), '
            'or set numbers = "float" for the source.',
        )
