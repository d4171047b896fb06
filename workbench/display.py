"""Tables a reader can read, and files beside the report: `table()` and `save()`."""

from __future__ import annotations

import html
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import polars.selectors as cs

from workbench.errors import DataError, UsageError

FLOAT_DIGITS = 15  # that a double, and so Excel, holds of any number
SHOWN_DECIMALS = 6
EXCEL_ROWS = 1_048_576
EXCEL_CHARACTERS = 32_767


@dataclass(frozen=True, repr=False)
class Shown:
    """Something displayed: HTML for the report and JupyterLab, plain text elsewhere."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def table(
    frame: pl.DataFrame,
    caption: str,
    *,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    rows: int = 50,
    rest: str | None = None,
) -> Shown:
    """Show a frame as a table with a caption, cut to its first `rows` rows.

    `columns` picks columns, and as a mapping names them for the reader. `rest` says where the
    rows that are cut can be found ("data/colors.csv"). Numbers are shown exactly, without
    trailing zeros; identifiers without thousands separators; midnights as days.
    """
    from great_tables import GT

    labels = columns if isinstance(columns, Mapping) else {name: name for name in columns or ()}
    if unknown := [name for name in labels if name not in frame.columns]:
        raise UsageError(
            f"table() was asked for the column {unknown[0]!r}.",
            f"The frame has: {', '.join(frame.columns)}.",
        )
    chosen = frame.select(list(labels)) if labels else frame
    numbers = chosen.select(cs.numeric()).columns
    cut = _days(chosen.head(rows)).with_columns(
        cs.boolean().replace_strict({True: "yes", False: "", None: None}, return_dtype=pl.String)
    )
    shown = (
        GT(cut.select(_for_formatting(column) for column in cut), id=_slug(caption))
        .tab_header(title=caption)
        .cols_label({name: label for name, label in labels.items() if name != label})
        .cols_align(align="right", columns=numbers)
        .fmt_integer(columns=cs.integer(), sep_mark=",")
        .fmt_number(columns=cs.float(), decimals=SHOWN_DECIMALS, drop_trailing_zeros=True)
        .sub_missing(missing_text="–")
    )
    if chosen.height > rows:
        where = f"; all of them are in {rest}." if rest else "."
        shown = shown.tab_source_note(f"The first {rows:,} of {chosen.height:,} rows{where}")
    elif chosen.is_empty():
        shown = shown.tab_source_note("No rows.")
    text = f"{caption} ({chosen.height:,} rows)"
    return Shown(shown.as_raw_html(), text)


def save(
    frame: pl.DataFrame, name: str, formats: Sequence[str] = ("parquet", "csv", "xlsx")
) -> Shown:
    """Write a frame into the run's `data` folder as `name.parquet`, `.csv` and `.xlsx`.

    Outside a run the folder is `data` in the current one. Each file appears whole or not at all.
    Excel holds 15 digits, so longer numbers and identifiers go there as text; texts never
    become formulas or links. Raises UsageError for an unknown format.
    """
    writers: dict[str, Callable[[pl.DataFrame, Path], None]] = {
        "parquet": lambda rows, path: rows.write_parquet(path),
        "csv": _write_csv,
        "xlsx": _write_excel,
    }
    unknown = [kind for kind in formats if kind not in writers]
    if unknown or not re.fullmatch(r"[\w. -]+", name):
        raise UsageError(
            f"save() cannot write {name!r} as {', '.join(formats)}.",
            f"Formats: {', '.join(writers)}; names are made of letters, digits, '_', '-', '.'.",
        )
    folder = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in formats:
        building = folder / f".{name}.{secrets.token_hex(4)}.{kind}"
        try:
            writers[kind](frame, building)
            building.replace(folder / f"{name}.{kind}")
        finally:
            building.unlink(missing_ok=True)
    names = [f"data/{name}.{kind}" for kind in formats]
    links = ", ".join(f'<a href="{quote(path)}">{html.escape(path)}</a>' for path in names)
    size = f"{frame.height:,} rows, {frame.width} columns"
    return Shown(f"<p>{links}: {size}</p>", f"{', '.join(names)}: {size}")


def _days(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn moments that are all midnights into days."""
    moments = frame.select(cs.datetime(time_zone=None)).columns
    days = [name for name in moments if frame[name].is_null().all() or
            (frame[name].dt.truncate("1d") == frame[name]).all()]  # fmt: skip
    return frame.with_columns(pl.col(days).cast(pl.Date))


def _is_id(name: str) -> bool:
    return bool(re.search(r"(^|[_ ])id$", name, flags=re.IGNORECASE))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "table"


def _for_formatting(column: pl.Series) -> pl.Series:
    """Make text of numbers that the formatter, which counts in floats, would change."""
    if _is_long(column):
        return _plain(column)
    if column.dtype.is_decimal():
        fits = (column.round(SHOWN_DECIMALS) == column) & (column.cast(pl.Float64).abs() < 10**8)
        return column.cast(pl.Float64) if fits.all() else _plain(column)
    if column.dtype.is_float():
        vanishes = (column.abs() < 10**-SHOWN_DECIMALS) & (column != 0)
        return column.cast(pl.String) if vanishes.any() else column
    return column


def _is_long(column: pl.Series) -> bool:
    """Tell identifiers, and numbers that have more digits than a float or Excel holds."""
    if not (column.dtype.is_integer() or column.dtype.is_decimal()):
        return False
    largest = column.cast(pl.Float64).abs().max()
    return _is_id(column.name) or (isinstance(largest, float) and largest >= 10**FLOAT_DIGITS)


def _plain(column: pl.Series) -> pl.Series:
    """Write decimals in full, without trailing zeros."""
    return column.cast(pl.String).str.replace(r"(\.\d*?)0+$", "$1").str.strip_suffix(".")


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
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


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    days = _flat(_days(frame))
    days.with_columns(_plain(column) for column in days.select(cs.decimal())).write_csv(path)


def _write_excel(frame: pl.DataFrame, path: Path) -> None:
    import xlsxwriter

    sheet = _flat(_days(frame))
    sheet = sheet.with_columns(_plain(column) for column in sheet if _is_long(column))
    _refuse_what_excel_would_lose(sheet)
    safe = {"strings_to_formulas": False, "strings_to_urls": False, "nan_inf_to_errors": True}
    with xlsxwriter.Workbook(path, safe) as book:
        sheet.with_columns(cs.decimal().cast(pl.Float64)).write_excel(
            book,
            freeze_panes=(1, 0),
            autofilter=True,
            column_widths=_widths(sheet),
            dtype_formats={
                pl.Date: "yyyy-mm-dd", pl.Datetime: "yyyy-mm-dd hh:mm:ss",
                pl.Float64: "0.######", pl.Int64: "0",
            },
        )  # fmt: skip


def _widths(sheet: pl.DataFrame) -> dict[Any, int]:
    """Return widths in pixels that show what is in a column, as far as a screen has room."""
    longest = sheet.select(pl.all().cast(pl.String).str.len_chars().max()).row(0)
    texts = {
        name: max(len(name) + 3, size or 0)
        for name, size in zip(sheet.columns, longest, strict=True)
    }
    return {name: 7 * min(size, 60) + 12 for name, size in texts.items()}


def _refuse_what_excel_would_lose(sheet: pl.DataFrame) -> None:
    hint = 'Leave "xlsx" out of the formats.'
    if sheet.height >= EXCEL_ROWS:
        raise DataError(
            f"Excel holds {EXCEL_ROWS - 1:,} rows below a header; this has {sheet.height:,}.", hint
        )
    if len({name.lower() for name in sheet.columns}) < sheet.width:
        raise DataError("Excel takes column names for equal that differ only in case.", hint)
    for column in sheet.select(cs.string()):
        if (column.str.len_chars() > EXCEL_CHARACTERS).any():
            raise DataError(
                f"Excel holds {EXCEL_CHARACTERS:,} characters in a cell; {column.name} has more.",
                hint,
            )
