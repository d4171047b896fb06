"""Tables a reader can read, and files beside the report: `table()`, `details()` and `save()`."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
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
    empty: str | None = None,
    decimals: int = 0,
) -> Shown:
    """Show a frame as a table with a caption, cut to its first `rows` rows.

    `columns` picks columns, and as a mapping names them for the reader. `rest` says where the
    rows that are cut can be found ("data/colors.csv"). `empty` is said instead of a table without
    rows. Numbers are shown exactly, without trailing zeros, but with `decimals` places (2 for
    money) where no number of a column has more; identifiers without thousands separators;
    midnights as days.
    """
    from great_tables import GT

    labels = _labels(frame, columns)
    if frame.is_empty() and empty is not None:
        return _said(empty)
    chosen = frame.select(*labels)
    numbers = chosen.select(cs.numeric()).columns
    readable = _readable(chosen.head(rows), decimals)
    padded = [c.name for c in readable.select(cs.float()) if (c.round(decimals) == c).all()]
    shown = (
        GT(readable, id=_slug(caption))
        .tab_header(title=caption)
        .cols_label({name: label for name, label in labels.items() if name != label})
        .cols_align(align="right", columns=numbers)
        .fmt_integer(columns=cs.integer(), sep_mark=",")
        .fmt_number(columns=cs.float(), decimals=SHOWN_DECIMALS, drop_trailing_zeros=True)
        .fmt_number(columns=padded if decimals else [], decimals=decimals)
        .sub_missing(missing_text="–")
    )
    if chosen.height > rows:
        where = f"; all of them are in {rest}." if rest else "."
        shown = shown.tab_source_note(f"The first {rows:,} of {chosen.height:,} rows{where}")
    elif chosen.is_empty():
        shown = shown.tab_source_note("No rows.")
    text = f"{caption} ({chosen.height:,} rows)"
    return Shown(shown.as_raw_html(), text)


def details(
    frame: pl.DataFrame,
    caption: str,
    *,
    by: str,
    about: Sequence[str] = (),
    columns: Mapping[str, str] | Sequence[str] | None = None,
    groups: int = 50,
    rows: int = 10,
    rest: str | None = None,
    empty: str | None = None,
    decimals: int = 0,
) -> Shown:
    """Show the rows of each value of the column `by` in a small table that a click unfolds.

    Values come in the order in which they first appear: the first `groups` of them, with their
    first `rows` rows. `about` names columns whose first value stands beside the value. `columns`,
    `rest`, `empty`, `decimals` and how values are written are those of `table()`. In print all is
    unfolded.
    """
    if frame.is_empty() and empty is not None:
        return _said(empty)
    labels, keys = _labels(frame, columns), list(dict.fromkeys([by, *about]))
    firsts = frame.select(*_labels(frame, keys)).unique(by, keep="first", maintain_order=True)
    found, firsts = firsts.height, firsts.head(groups)
    kept = frame.join(firsts, on=by, how="semi", nulls_equal=True, maintain_order="left")
    parts = kept.partition_by(by, maintain_order=True)
    heads = pl.concat([frame.clear(), *(part.head(rows) for part in parts)]).select(*labels)
    right = " ".join(f"r{n}" for n, dtype in enumerate(heads.dtypes, 1) if dtype.is_numeric())
    header = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in labels.values())
    lines = iter(_texts(heads, decimals))
    shown = []
    for (name, *facts), part in zip(_texts(firsts), parts, strict=True):
        size = f"{part.height:,} row{'s' * (part.height != 1)}"
        cut = f"the first {rows:,} of {size}" if part.height > rows else size
        body = "".join(
            f"<tr>{''.join(f'<td>{cell}</td>' for cell in next(lines))}</tr>"
            for _ in range(min(rows, part.height))
        )
        shown.append(
            f'<details class="rows"><summary><b>{name}</b> {" · ".join([*facts, size])}</summary>'
            f'<table class="{right}"><caption>{name}: {cut}</caption>'
            f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></details>"
        )
    count = f"the first {groups:,} of {found:,}" if found > groups else f"{found:,}"
    where = f"; all rows are in {rest}" if rest else ""
    text = f"{caption} ({count}{where})"
    return Shown(f"<p><strong>{html.escape(text)}</strong></p>{''.join(shown)}", text)


def save(
    frame: pl.DataFrame, name: str, formats: Sequence[str] = FORMATS, *, by: str | None = None
) -> Shown:
    """Write a frame into the run's `data` folder as `name.parquet`, `.csv` and `.xlsx`.

    Outside a run the folder is `data` in the current one. Each file appears whole or not at all.
    Excel holds 15 digits, so longer numbers and identifiers go there as text; texts never
    become formulas or links. With `by`, each value of that column has a Parquet file as well,
    `name/VALUE.parquet`, named as `partitions.stems` has it. Raises UsageError for an unknown
    format or column.
    """
    from workbench import extracts, partitions

    if set(formats) - set(FORMATS) or not re.fullmatch(r"[\w. -]+", name) or not name.strip(". "):
        raise UsageError(
            f"save() cannot write {name!r} as {', '.join(formats)}.",
            f"Formats: {', '.join(FORMATS)}; names are made of letters, digits, '_', '-', '.'.",
        )
    _labels(frame, [by] if by is not None else None)
    folder = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in formats:
        # A spreadsheet's reader sees a day as a day; Parquet keeps every dtype.
        rows = frame if kind == "parquet" else cells.flat(_days(frame))
        path = folder / f"{name}.{kind}"
        extracts.write(iter([rows]), path, overwrite=True, progress=False)
    names = [f"data/{name}.{kind}" for kind in formats]
    size = f"{frame.height:,} rows, {frame.width} columns"
    shown, text = f"<p>{_links(names)}: {size}</p>", f"{', '.join(names)}: {size}"
    if by is not None:
        files = [
            f"data/{name}/{stem}.parquet" for stem in partitions.write(frame, by, folder / name)
        ]
        links = _links(files, short=True) or "no files"
        shown += f"<p>data/{html.escape(name)}, by {html.escape(by)}: {links}</p>"
        text += f"; data/{name}, by {by}: {len(files):,} files"
    return Shown(shown, text)


def _said(sentence: str) -> Shown:
    return Shown(f"<p>{html.escape(sentence)}</p>", sentence)


def _links(paths: Sequence[str], *, short: bool = False) -> str:
    return ", ".join(
        f'<a href="{quote(path)}">{html.escape(Path(path).stem if short else path)}</a>'
        for path in paths
    )


def _labels(
    frame: pl.DataFrame, columns: Mapping[str, str] | Sequence[str] | None
) -> Mapping[str, str]:
    """Map the columns to be shown to their names for the reader; raises UsageError."""
    if not isinstance(columns, Mapping):
        columns = {name: name for name in columns or frame.columns}
    if unknown := [name for name in columns if name not in frame.columns]:
        raise UsageError(
            f"The column {unknown[0]!r} was asked for, which the frame has not.",
            f"The frame has: {', '.join(frame.columns)}.",
        )
    return columns


def _readable(frame: pl.DataFrame, decimals: int) -> pl.DataFrame:
    """Turn midnights into days, truth into words, and exact numbers into text."""
    words = cs.boolean().replace_strict(
        {True: "yes", False: "", None: None}, return_dtype=pl.String
    )
    days = _days(frame).with_columns(words)
    return days.select(_for_formatting(column, decimals) for column in days)


def _texts(frame: pl.DataFrame, decimals: int = 0) -> list[tuple[str, ...]]:
    """Write rows as `table()` shows them, escaped."""
    columns = (_written(column, decimals) for column in _readable(frame, decimals))
    return list(zip(*columns, strict=True))


def _written(column: pl.Series, decimals: int) -> list[str]:
    if column.dtype.is_float():
        padded = decimals and (column.round(decimals) == column).all()
        form = f",.{decimals if padded else SHOWN_DECIMALS}f"
        texts = [v if v is None else format(v + 0.0, form) for v in column.fill_nan(None)]  # no -0
        texts = texts if padded else [text and text.rstrip("0").rstrip(".") for text in texts]
    else:
        form = "," if column.dtype.is_integer() else ""
        texts = [v if v is None else format(v, form) for v in column.to_list()]
    if form:
        texts = [text and text.replace("-", "\N{MINUS SIGN}") for text in texts]
    return ["–" if text is None else html.escape(text) for text in texts]


def _days(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn moments that are all midnights into days."""
    moments = frame.select(cs.datetime(time_zone=None)).columns
    days = [name for name in moments if frame[name].is_null().all() or
            (frame[name].dt.truncate("1d") == frame[name]).all()]  # fmt: skip
    return frame.with_columns(pl.col(days).cast(pl.Date))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "table"


def _for_formatting(column: pl.Series, decimals: int) -> pl.Series:
    """Make text of numbers that the formatter, which counts in floats, would change."""
    if is_long(column):
        return plain(column)
    if column.dtype.is_decimal():
        fits = (column.round(SHOWN_DECIMALS) == column) & (column.cast(pl.Float64).abs() < 10**8)
        return column.cast(pl.Float64) if fits.all() else _grouped(column, decimals)
    if column.dtype.is_float():
        vanishes = (column.abs() < 10**-SHOWN_DECIMALS) & (column != 0)
        return column.cast(pl.String) if vanishes.any() else column
    return column


def _grouped(column: pl.Series, decimals: int) -> pl.Series:
    """Write decimals exactly, as the formatter would write them as floats."""
    padded = (column.round(decimals) == column).all()
    form = f",.{decimals}f" if padded else ",f"
    values = column if padded else (v and Decimal(v) for v in plain(column))
    texts = [v if v is None else format(v, form) for v in values]
    return pl.Series(column.name, texts, pl.String).str.replace("-", "\N{MINUS SIGN}")
