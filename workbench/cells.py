"""What a cell of a table or a file can hold, and what becomes of the rest."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
import polars.selectors as cs

from workbench.errors import DataError

FLOAT_DIGITS = 15  # that a double, and so Excel, holds of any number
EXCEL_ROWS = 1_048_576
EXCEL_CHARACTERS = 32_767


def is_long(column: pl.Series) -> bool:
    """Tell identifiers, and numbers that have more digits than a float or Excel holds."""
    if not (column.dtype.is_integer() or column.dtype.is_decimal()):
        return False
    largest = column.cast(pl.Float64).abs().max()
    named_so = re.search(r"(^|[_ ])id$", column.name, re.IGNORECASE) is not None
    return named_so or (isinstance(largest, float) and largest >= 10**FLOAT_DIGITS)


def plain(column: pl.Series) -> pl.Series:
    """Write decimals in full, without trailing zeros."""
    text = column.cast(pl.String)
    if not isinstance(column.dtype, pl.Decimal) or not column.dtype.scale:
        return text
    return text.str.strip_chars_end("0").str.strip_suffix(".")


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Make text of what neither CSV nor Excel has a type for: lists, bytes, spans, time zones."""
    known = cs.numeric() | cs.string() | cs.boolean() | cs.date() | cs.datetime(time_zone=None)
    return frame.with_columns(
        pl.Series(
            name,
            [None if v is None else v.hex() if isinstance(v, bytes) else str(v) for v in rows],
            dtype=pl.String,
        )
        for name, rows in frame.select(~known).to_dict(as_series=False).items()
    )


def widths(sheet: pl.DataFrame) -> dict[Any, int]:
    """Return widths in pixels that show what is in a column, as far as a screen has room."""
    longest = sheet.select(pl.all().cast(pl.String).str.len_chars().max()).row(0)
    return {
        name: 7 * min(max(len(name) + 3, size or 0), 60) + 12
        for name, size in zip(sheet.columns, longest, strict=True)
    }


def refuse_what_excel_would_lose(sheet: pl.DataFrame, before: int) -> None:
    """Raise DataError for longer texts, or with `before` rows for more rows, than Excel holds."""
    hint = "CSV and Parquet have no such limit."
    if before + sheet.height >= EXCEL_ROWS:
        raise DataError(f"Excel holds {EXCEL_ROWS - 1:,} rows below a header; here are more.", hint)
    for column in sheet.select(cs.string()):
        if (column.str.len_chars() > EXCEL_CHARACTERS).any():
            cell = f"{EXCEL_CHARACTERS:,} characters in a cell"
            raise DataError(f"Excel holds {cell}; {column.name} has more.", hint)
