"""An Excel sheet as a data frame: values as they are in their cells, none bent to a type."""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from workbench.colors import match_columns
from workbench.errors import DataError

EXCEL_SUFFIXES = (".xlsx", ".xlsm")
TITLE_ROWS = 20  # above the header, at most


def read_sheet(path: Path, *, feed: bool = True) -> pl.DataFrame:
    """Read the first sheet, or that with the columns of a feed; DataError when there is none.

    Title rows above the header are passed over. A column of mixed cells becomes text, each value
    in full, and error cells such as #N/A become text too, so that whoever needs numbers can say
    where they are not.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings(action="ignore"):
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book}
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is not an Excel workbook that can be read.", f"The reader says: {error}"
        ) from None
    failures = []
    for title, rows in sheets.items():
        is_header = _is_header if feed else _names_most
        start = next((i for i, row in enumerate(rows[:TITLE_ROWS]) if is_header(row)), 0)
        place = f"{path.name}, sheet {title}"
        try:
            names = column_names(rows[start] if rows else (), place, feed=feed)
        except DataError as error:
            failures.append(error)
            continue
        columns = zip(*rows[start + 1 :], strict=True) if rows[start + 1 :] else [()] * len(names)
        return pl.DataFrame(
            [_series(name, values) for name, values in zip(names, columns, strict=True)]
        )
    raise failures[0] if failures else DataError(f"{path} has no sheets.")


def column_names(header: Sequence[Any], place: str, *, feed: bool) -> list[str]:
    """Name a file's columns by its header, the unnamed ones by their number.

    Raises DataError when a column is there twice, none is named, or one that a feed needs is not.
    """
    names = [str(cell).strip() if cell is not None else "" for cell in header]
    if not any(names):
        raise DataError(f"{place} has no header: its first line is empty.")
    names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    if feed:
        match_columns(names, place)
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise DataError(f"{place} has the column {name!r} twice.", "Rename one of them.")
        seen.add(name.lower())
    return names


def _is_header(row: Sequence[Any]) -> bool:
    return any(isinstance(cell, str) and cell.strip().upper() == "CUSIP" for cell in row)


def _names_most(row: Sequence[Any]) -> bool:
    filled = [cell for cell in row if cell is not None]
    return 2 * len(filled) > len(row) and all(isinstance(cell, str) for cell in filled)


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        # Many a writer of Excel writes 5 as 5.0.
        if all(value is None or (abs(value) < 2**63 and value == int(value)) for value in values):
            whole = [None if value is None else _whole(value) for value in values]
            return pl.Series(name, whole, dtype=pl.Int64)
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {dt.datetime}:
        return pl.Series(name, values, dtype=pl.Datetime("us"))
    return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        return str(_whole(value))
    return None if value is None else str(value)


def _whole(value: float) -> int:
    # As it is written in the file: beyond 2**53 the float itself is another number.
    return int(Decimal(repr(value)))
