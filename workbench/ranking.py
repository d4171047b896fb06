"""run_colors(): the day's colors, ranked, from wherever they are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from workbench import colors, engines
from workbench.database import Database, connect
from workbench.errors import DataError, UsageError


@dataclass(frozen=True, repr=False)
class RankedColors:
    """The result of Run Colors and what was met on the way to it.

    `colors` holds every ranked row: the 18 columns of the feed, any others by name, then
    COLOR_POSITION (Int64, 1-based), IS_PARENT (Boolean), PARENT_MESSAGE_ID (Int64, null on
    parents) and CHILDREN_COUNT (Int64, 0 on children); ordered by CUSIP, then position.
    `quote` names the columns that make a quote, all but the coverage ones and a table's own key.
    `without_cusip` holds the rows that belong to no group.
    """

    label: str
    engine: str
    order: tuple[str, ...]
    colors: pl.DataFrame
    without_cusip: pl.DataFrame
    quote: tuple[str, ...]
    cleaned_cusips: int
    repeats_removed: int

    @property
    def parents(self) -> pl.DataFrame:
        """The best color of each CUSIP."""
        return self.colors.filter("IS_PARENT")

    @property
    def children(self) -> pl.DataFrame:
        """Every other color, each under its CUSIP's parent."""
        return self.colors.filter(~pl.col("IS_PARENT"))

    @property
    def read(self) -> int:
        """How many rows were read, before anything was left out."""
        return self.colors.height + self.without_cusip.height + self.repeats_removed

    def __repr__(self) -> str:
        parents = self.parents.height
        sentence = (
            f"{self.read:,} colors were read from {self.label}. Ordered by "
            f"{', then '.join(self.order)}, they give {parents:,} parents "
            f"and {self.colors.height - parents:,} children."
        )
        if self.repeats_removed:
            sentence += f" {self.repeats_removed:,} repeated quotes were removed."
        if self.without_cusip.height:
            sentence += f" {self.without_cusip.height:,} rows without a CUSIP were left out."
        return sentence

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def run_colors(
    data: Any,
    *,
    source: str | Database | None = None,
    order: Sequence[str] = colors.DEFAULT_ORDER,
    sector: str | None = None,
    deduplicate: bool = False,
) -> RankedColors:
    """Rank colors: within each CUSIP by rank, then date, then price; the first is the parent.

    `data` is a table or view of `source` ("marketpulse.colors"), a `.sql` file for it, a
    Parquet, CSV or Excel file (which needs no source), or a polars or pandas DataFrame or Arrow
    table. `order` lists keys with directions. `sector` keeps one sector, without regard to case.
    `deduplicate` keeps one row per quote: rows that differ only in their coverage price.
    Raises DataError for missing columns or values that cannot be read, UsageError for a wrong
    `order`, and what `connect` raises for a source.
    """
    colors.parse_order(order)
    # papermill's command line hands "false" and 2.0 over where a boolean and a text were meant.
    if not isinstance(deduplicate, bool):
        raise UsageError(f"deduplicate is the boolean True or False, not {deduplicate!r}.")
    if not isinstance(sector, str | None):
        raise UsageError(f"sector is a text or None, not {sector!r}.")
    database = connect(source) if isinstance(source, str) and _of_source(data) else None
    try:
        opened = _open(data, database if database is not None else source)
        ranking = colors.Ranking(order, sector, deduplicate=deduplicate)
        statement = colors.ranked(opened.relation, ranking, opened.label)
        rows = opened.execute(statement)
        if rows.is_empty() and sector is not None:
            _refuse_unknown_sector(opened, sector)
    finally:
        if database is not None:
            database.close()
    rows = _whole(rows, opened.label)
    ranked = rows.filter(pl.col("CUSIP").is_not_null())
    return RankedColors(
        label=opened.label,
        engine=opened.engine,
        order=tuple(order),
        colors=ranked.drop("CUSIP_CHANGED", "COPIES").with_columns(
            pl.col("IS_PARENT").cast(pl.Boolean)
        ),
        without_cusip=rows.filter(pl.col("CUSIP").is_null()).drop(
            "CUSIP_CHANGED", "COPIES", *colors.ADDED
        ),
        quote=tuple(colors.quote_columns(opened.relation, opened.label)),
        cleaned_cusips=int(ranked["CUSIP_CHANGED"].sum()),
        repeats_removed=int((rows["COPIES"] - 1).sum()),
    )


def _of_source(data: Any) -> bool:
    if not isinstance(data, (str, Path)):
        return False
    return str(data).lower().endswith(".sql") or not engines.looks_like_a_file(str(data))


def _open(data: Any, source: Any) -> engines.Input:
    if _of_source(data):
        if not isinstance(source, Database):
            raise UsageError(
                f"{str(data)!r} is not a file, so it needs a source to be a table of.",
                'Name one, e.g. source="demo", or check the path.',
            )
        return engines.from_database(source, str(data))
    if isinstance(data, (str, Path)):
        return engines.from_file(data)
    return engines.from_frame(data)


def _whole(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    """Make integers of what must be whole; raises DataError for a rank of 2.5."""
    for name in (*colors.WHOLE, *colors.ADDED, *colors.INTERNAL[:2]):
        column = rows[name]
        if column.dtype not in (pl.Int64, pl.Boolean):
            odd = column.filter(column.round(0) != column)
            if odd.len():
                raise DataError(f"{label}: column {name} holds {odd[0]}, which is no whole number.")
            rows = rows.with_columns(column.cast(pl.Int64))
    return rows


def _refuse_unknown_sector(opened: engines.Input, sector: str) -> None:
    names = colors.match_columns(list(opened.relation.c.keys()), opened.label)
    if "SECTOR" not in names:
        raise DataError(f"{opened.label} has no column SECTOR to look for {sector!r} in.")
    column = opened.relation.c[names["SECTOR"]].label("SECTOR")
    known = opened.execute(sa.select(column).distinct())["SECTOR"].drop_nulls().sort()
    if known.is_empty():
        return
    raise DataError(
        f"No color of {opened.label} is in the sector {sector!r}.",
        f"Sectors there: {', '.join(known.head(20).to_list())}.",
    )
