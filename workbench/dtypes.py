"""The exact dtypes of a result's columns, whatever the database calls their types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from workbench.errors import DataError

BARE_NUMBER = pl.Decimal(38, 10)
BARE_LIMIT = "1e28"  # from here on BARE_NUMBER has no room before its point
INT64_DIGITS = 18
MAX_DIGITS = 38


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


def checked(columns: Sequence[ResultColumn], numbers: str) -> list[ResultColumn]:
    """Refuse two columns of one name; with numbers "float" make the decimals Float64."""
    names = [column.name for column in columns]
    if not names:
        raise DataError("The statement returns no columns.")
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
    return list(columns)


def is_bare(column: ResultColumn) -> bool:
    """Tell a number whose digits are not declared, so that some values may not fit."""
    return column.dtype == BARE_NUMBER


def arrow_type(dtype: pl.DataType) -> pa.DataType:
    """Give the Arrow type in which values of a dtype travel."""
    if isinstance(dtype, pl.Decimal):
        return pa.decimal128(dtype.precision, dtype.scale)
    if isinstance(dtype, pl.Datetime):
        return pa.timestamp("us", dtype.time_zone)
    known: dict[type[pl.DataType], pa.DataType] = {
        pl.Int64: pa.int64(),
        pl.Float64: pa.float64(),
        pl.String: pa.large_string(),
        pl.Boolean: pa.bool_(),
        pl.Binary: pa.large_binary(),
        pl.Date: pa.date32(),
        pl.Time: pa.time64("us"),
        pl.Duration: pa.int64(),
    }
    return known[type(dtype)]


def sql_type(column: ResultColumn) -> sa.types.TypeEngine[Any]:
    """Give the SQLAlchemy type by which expressions over the column are compiled."""
    if column.kind in ("json", "jsonb", "DB_TYPE_JSON"):
        return sa.JSON()
    if column.kind in ("uuid", "custom"):
        return sa.types.NullType()
    if isinstance(column.dtype, pl.Decimal):
        return sa.Numeric(column.dtype.precision, column.dtype.scale)
    known: dict[type[pl.DataType], sa.types.TypeEngine[Any]] = {
        pl.Int64: sa.BigInteger(),
        pl.Float64: sa.Double(),
        pl.String: sa.CLOB() if "CLOB" in column.kind else sa.String(),
        pl.Boolean: sa.Boolean(),
        pl.Binary: sa.LargeBinary(),
        pl.Date: sa.Date(),
        pl.Time: sa.Time(),
        pl.Datetime: sa.DateTime(),
        pl.Duration: sa.Interval(),
    }
    return known[type(column.dtype)]


def empty(columns: Sequence[ResultColumn]) -> pl.DataFrame:
    """Make a frame of these columns without rows."""
    return pl.DataFrame(schema={column.name: column.dtype for column in columns})


def of_size(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Cut frames into others of exactly `rows` rows; the last may be shorter, one there is."""
    rest = next(frames)
    whole = False
    for frame in frames:
        rest = pl.concat([rest, frame])
        while rest.height >= rows:
            yield rest.head(rows)
            rest, whole = rest.slice(rows), True
    if rest.height or not whole:
        yield rest


def unsupported(column: str, kind: str, hint: str | None = None) -> DataError:
    """Say that a column's type has no equal, and how to select it nevertheless."""
    return DataError(
        f"Column {column!r} has the type {kind}, which has no equal in a data frame.",
        hint
        or f'Select it as CAST("{column}" AS VARCHAR(4000)), or leave it out: '
        "a .sql file may say so.",
    )


def misfit(column: ResultColumn) -> DataError:
    """Say that a column holds a value its dtype cannot hold exactly; the value is not shown."""
    if column.dtype.is_decimal():
        assert isinstance(column.dtype, pl.Decimal)  # noqa: S101
        size = f"DECIMAL({column.dtype.precision}, {column.dtype.scale})"
        return DataError(
            f"Column {column.name!r} holds a number that does not fit {size}.",
            "Declare its digits in the statement, e.g. "
            f'CAST("{column.name}" AS NUMERIC(38, 20)), '
            'turn what is no number into NULL, or set numbers = "float" for the source.',
        )
    return DataError(
        f"Column {column.name!r} holds a value of type {column.kind} that no "
        f"{column.dtype.base_type().__name__} can hold.",
        f'Turn it into NULL in the statement, or select CAST("{column.name}" AS VARCHAR(100)).',
    )
