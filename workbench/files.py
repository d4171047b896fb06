"""A data file of any kind as a data frame, each value kept as the file has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import duckdb
import polars as pl

from workbench import engines
from workbench.engines import existing_file, in_memory, said
from workbench.errors import DataError, WorkbenchError
from workbench.sheets import EXCEL_SUFFIXES, read_sheet

JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
SUFFIXES = (*engines.FILE_SUFFIXES, *JSON_SUFFIXES)
FEW = 100  # values tried before all of them are

INTEGER = r"^(0|-?[1-9][0-9]*)$"  # with leading zeros it is a code, such as a CUSIP
DECIMAL = r"^-?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)$"
# Of no more digits than a float keeps: a longer one is a code, or of another kind.
FLOAT = r"^-?(0|[1-9][0-9]{0,7})(\.[0-9]{1,8})?([eE][+-]?[0-9]+)?$"
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?$"
ZONED = MOMENT.removesuffix("$") + r"(Z|[+-][0-9]{2}:?[0-9]{2})$"
YES_OR_NO = r"^(?i:true|false)$"

Reading = tuple[str, Callable[[pl.Series], pl.Series]]


def read_file(path: str | Path) -> pl.DataFrame:
    """Read a Parquet, CSV, JSON lines or Excel file whole.

    A column of a CSV is of numbers, days, moments (ISO 8601) or yes and no only where every value
    is; else it is text, as are numbers with leading zeros. Empty text is null. JSON has no days,
    so texts that are all ISO 8601 are read as such. Raises DataError naming the file and what is
    wrong with it: missing, empty, of another kind, not UTF-8, a line that does not fit the header.
    """
    path = existing_file(Path(path).expanduser())
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise DataError(f"{path} is not of a kind that can be read.", f"Known kinds: {known}.")
    try:
        if kind in EXCEL_SUFFIXES:
            return read_sheet(path, feed=False)
        if kind == ".csv":
            return _typed(_csv(path), (*NUMBERS, *DAYS))
        if kind in JSON_SUFFIXES:
            return _typed(_json(path), DAYS)
        return pl.read_parquet(path, glob=False, hive_partitioning=False)
    except WorkbenchError:
        raise
    except (duckdb.Error, pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {said(error)}") from None


def _csv(path: Path) -> pl.DataFrame:
    with closing(in_memory()) as connection:
        return pl.DataFrame(engines.csv_texts(connection, path, feed=False).to_arrow_table())


def _json(path: Path) -> pl.DataFrame:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        return pl.read_ndjson(content, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        for number, line in enumerate(content.splitlines(), 1):
            _refuse_no_object(line, f"{path}, line {number}")
        raise DataError(f"{path} cannot be read: {said(error)}") from None


def _refuse_no_object(line: bytes, place: str) -> None:
    hint = "Each line holds one object in JSON, in UTF-8."
    try:
        is_object = not line.strip() or isinstance(json.loads(line), dict)
    except ValueError as error:
        raise DataError(f"{place}: {error}.", hint) from None
    if not is_object:
        raise DataError(f"{place} is no object.", hint)


def _typed(frame: pl.DataFrame, readings: tuple[Reading, ...]) -> pl.DataFrame:
    texts = [column for column in frame if column.dtype == pl.String]
    return frame.with_columns(_read(column, readings) for column in texts)


def _read(column: pl.Series, readings: tuple[Reading, ...]) -> pl.Series:
    present = column.drop_nulls()
    for pattern, read in readings:
        few = present.head(FEW)
        if len(few) and few.str.contains(pattern).all() and present.str.contains(pattern).all():
            # 30 February is text, and so is a number too large to be held.
            with suppress(pl.exceptions.PolarsError):
                made = read(column)
                if made.null_count() == column.null_count():
                    return made
    return column


def _decimal(column: pl.Series) -> pl.Series:
    places = (column.str.len_bytes() - column.str.find(".", literal=True)).drop_nulls()
    return column.str.to_decimal(scale=max(places, default=1) - 1)


def _float(column: pl.Series) -> pl.Series:
    made = column.cast(pl.Float64)
    return column if made.is_infinite().any() else made


def _moment(column: pl.Series) -> pl.Series:
    zone = "%#z" if column.drop_nulls().str.contains(ZONED).all() else ""
    text = column.str.replace(" ", "T", literal=True)
    return text.str.to_datetime(f"%Y-%m-%dT%H:%M:%S%.f{zone}", time_unit="us")


NUMBERS: tuple[Reading, ...] = (
    (INTEGER, lambda column: column.cast(pl.Int64)),
    (DECIMAL, _decimal),
    (FLOAT, _float),
    (YES_OR_NO, lambda column: column.str.to_lowercase() == "true"),
)
DAYS: tuple[Reading, ...] = (
    (DATE, lambda column: column.str.to_date("%Y-%m-%d")),
    (MOMENT, _moment),
    (ZONED, _moment),
)
