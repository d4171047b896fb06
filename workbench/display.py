"""Tables a reader can read, and files beside the report: `table()` and `save()`."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import polars as pl
import polars.selectors as cs

from workbench import cells
from workbench.cells import is_long, plain
from workbench.errors import UsageError

SHOWN_DECIMALS = 6
FORMATS = ("parquet", "csv", "xlsx")


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


def save(frame: pl.DataFrame, name: str, formats: Sequence[str] = FORMATS) -> Shown:
    """Write a frame into the run's `data` folder as `name.parquet`, `.csv` and `.xlsx`.

    Outside a run the folder is `data` in the current one. Each file appears whole or not at all.
    Excel holds 15 digits, so longer numbers and identifiers go there as text; texts never
    become formulas or links. Raises UsageError for an unknown format.
    """
    from workbench import extracts

    if set(formats) - set(FORMATS) or not re.fullmatch(r"[\w. -]+", name):
        raise UsageError(
            f"save() cannot write {name!r} as {', '.join(formats)}.",
            f"Formats: {', '.join(FORMATS)}; names are made of letters, digits, '_', '-', '.'.",
        )
    folder = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in formats:
        # A spreadsheet's reader sees a day as a day; Parquet keeps every dtype.
        rows = frame if kind == "parquet" else cells.flat(_days(frame))
        path = folder / f"{name}.{kind}"
        extracts.write(iter([rows]), path, overwrite=True, progress=False)
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


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "table"


def _for_formatting(column: pl.Series) -> pl.Series:
    """Make text of numbers that the formatter, which counts in floats, would change."""
    if is_long(column):
        return plain(column)
    if column.dtype.is_decimal():
        fits = (column.round(SHOWN_DECIMALS) == column) & (column.cast(pl.Float64).abs() < 10**8)
        return column.cast(pl.Float64) if fits.all() else plain(column)
    if column.dtype.is_float():
        vanishes = (column.abs() < 10**-SHOWN_DECIMALS) & (column != 0)
        return column.cast(pl.String) if vanishes.any() else column
    return column
