"""What can be validated: a table of a source, where it is, or a frame, by DuckDB."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import duckdb
import polars as pl
import polars.selectors as cs
import pyarrow
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from workbench import dtypes, engines
from workbench.database import home_of
from workbench.errors import DataError, UsageError
from workbench.expectations.evaluation import Data

POSTGRESQL: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]


@contextmanager
def opened(data: Any, key: Sequence[str], label: str | None) -> Iterator[Data]:
    """Open a reflected table, or a polars or pandas DataFrame or an Arrow table.

    Raises UsageError for anything else, DataError for two columns of one name.
    """
    if isinstance(data, sa.Table):
        yield _of_table(data, key, label)
        return
    with closing(engines.in_memory()) as connection:
        yield _of_frame(data, connection, key, label or "the data frame")


def _of_table(table: sa.Table, key: Sequence[str], label: str | None) -> Data:
    database = home_of(table)
    return Data(
        label or f"{table.fullname} of source {database.name}",
        table,
        database.engine.dialect,
        partial(database.read_as, "float"),
        partial(database.read_as, "exact"),
        key=_found(key, table) or tuple(column.name for column in table.primary_key),
    )


def _of_frame(
    data: Any, connection: duckdb.DuckDBPyConnection, key: Sequence[str], label: str
) -> Data:
    try:
        frame = _frame(data)
        connection.register("data", frame.cast(engines.FOREIGN_TYPES).to_arrow())
    except (
        TypeError, ValueError, pl.exceptions.PolarsError, pyarrow.ArrowException, duckdb.Error
    ):  # fmt: skip
        # What they say may quote a value.
        raise UsageError(
            f"{label} cannot be read as a table{_about(data)}.",
            "validate() takes a data frame, an Arrow table, or db.table(...).",
        ) from None
    seen: dict[str, str] = {}
    for name in frame.columns:
        if seen.setdefault(name.lower(), name) != name:
            raise DataError(
                f"{label} has the columns {seen[name.lower()]!r} and {name!r}, which differ in "
                "case only.",
                "Rename one of them.",
            )
    table = sa.table("data", *(sa.column(name, _kind(t)) for name, t in frame.schema.items()))
    execute = engines.executor(connection, label)
    # Great Expectations knows PostgreSQL; what DuckDB says differently is known to our dialect.
    return Data(label, table, POSTGRESQL, execute, execute, frame, _found(key, table))


def _about(data: Any) -> str:
    """Say what of a frame is in the way: no columns, or those with values of several types."""
    odd = []
    for name in getattr(data, "columns", ()):
        try:
            pl.Series(data[name])
        except Exception:  # whatever it holds
            odd.append(str(name))
    if odd:
        return f": column {odd[0]!r} holds values of several types"
    return ": it has no columns" if getattr(data, "shape", (0, 1))[1] == 0 else ""


def _frame(data: Any) -> pl.DataFrame:
    """Make a polars frame; NaN is a missing value, and moments with a zone are those of UTC."""
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    pandas = sys.modules.get("pandas")
    if pandas and isinstance(data, pandas.DataFrame):
        frame = pl.from_pandas(data)
    else:
        frame = pl.DataFrame(data)
    # DuckDB, without its ICU extension, would compare them in the zone of this machine.
    zoned = cs.datetime(time_zone="*")
    return frame.with_columns(
        cs.float().fill_nan(None), zoned.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    )


def _found(key: Sequence[str], table: sa.FromClause) -> tuple[str, ...]:
    """Return the suite's key as the data writes it; without what it lacks."""
    names = {str(name).lower(): str(name) for name in table.c.keys()}  # noqa: SIM118
    return tuple(names[part.lower()] for part in key if part.lower() in names)


def _kind(dtype: pl.DataType) -> sa.types.TypeEngine[Any]:
    if dtype.is_integer():
        return sa.BigInteger()
    if dtype.is_float():
        return sa.Double()
    if dtype in (pl.Categorical, pl.Enum):
        return sa.String()
    try:
        return dtypes.sql_type(dtypes.ResultColumn("", dtype, ""))
    except KeyError:
        return sa.types.NullType()
