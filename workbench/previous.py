"""What a ranking is compared with: an earlier day, an earlier run, or what it is told."""

from __future__ import annotations

import datetime as dt
import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl

from workbench import desk
from workbench.colors import ADDED
from workbench.past import earlier_colors
from workbench.ranking import RankedColors, run_colors


@dataclass(frozen=True, repr=False)
class Earlier:
    """What a ranking is compared with, and a sentence that says so, or why there is nothing."""

    colors: pl.DataFrame | None
    about: str

    def __repr__(self) -> str:
        return self.about

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.about)}</p>"


def previous_colors(
    ranked: RankedColors,
    compare_to: str | None = "day before",
    *,
    source: str | None = None,
    **asked: Any,
) -> Earlier:
    """Find the colors that a ranking is compared with.

    `compare_to` is "day before", the same feed as it stood the day before its last; "latest", the
    newest earlier run with the parameters `asked` and older data; None, nothing; or else what
    `run_colors` takes or a `colors.parquet` of an earlier run, ranked as `asked`. A color's day
    is that of DATE, or of DATE_1 where that is missing. Raises what `run_colors` raises.
    """
    last = _last_day(ranked.colors)
    if compare_to is None:
        return Earlier(None, "Nothing is compared with earlier colors, as asked.")
    if compare_to == "latest":
        found = earlier_colors(before=last, **asked)
        missing = "No earlier run with the same parameters and older data was found, so nothing"
        return _earlier(found, "the run before", f"{missing} is compared.")
    if compare_to != "day before":
        found = run_colors(_unranked(compare_to), source=source, **asked).colors
        return _earlier(found, compare_to, f"{compare_to} holds no colors to compare with.")
    if last is None:
        return Earlier(None, "No color has a date, so there is no day before to compare with.")
    found = desk.until(ranked.colors, last - dt.timedelta(days=1))
    only = f"All colors are of {_written(last)}: there is no day before to compare with."
    return _earlier(found, "the same feed", only)


def _earlier(found: pl.DataFrame | None, what: str, missing: str) -> Earlier:
    if found is None or found.is_empty():
        return Earlier(None, missing)
    day = _last_day(found)
    return Earlier(found, f"Compared with {what}{f', as of {_written(day)}' if day else ''}.")


def _last_day(colors: pl.DataFrame) -> dt.date | None:
    days = colors.select(desk.AS_OF.max())
    return cast("dt.date | None", days.item())


def _unranked(name: str) -> str | pl.DataFrame:
    """Read a ranking's file without what ranking adds; anything else stays a name."""
    path = Path(name).expanduser()
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return name
    try:
        rows = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except pl.exceptions.PolarsError:
        return name  # run_colors says what is wrong with it
    return rows.drop(ADDED) if set(ADDED) <= set(rows.columns) else name


def _written(day: dt.date) -> str:
    return f"{day.day} {day:%B %Y}"
