"""run_colors(): the day's colors, ranked, from wherever they are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from workbench import colors
from workbench.colors import Ranking
from workbench.database import Database
from workbench.engines import Finding, Input
from workbench.errors import DataError, UsageError
from workbench.exclusions import Rule, read_rules, sentence
from workbench.openings import opened
from workbench.presets import Preset, read_preset


@dataclass(frozen=True, repr=False)
class RankedColors:
    """The result of Run Colors and what was met on the way to it.

    `colors` holds every ranked row: the 18 columns of the feed, any others by name, then
    COLOR_POSITION (Int64, 1-based), IS_PARENT (Boolean), PARENT_MESSAGE_ID (Int64, null on
    parents) and CHILDREN_COUNT (Int64, 0 on children); ordered by CUSIP, then position.
    `without_cusip` holds the rows that belong to no group, `excluded` those that rules removed,
    with EXCLUDED_BY, the first rule that each of them meets. `rules` has a row for each active
    rule: `rule`, what it `removes` in English, and how many rows it `removed` (as the first) and
    `met` (Int64). `notes` are findings of how the feed was read. `quote` names the columns that
    make a quote: all but the coverage ones and a table's own key.
    """

    label: str
    engine: str
    preset: Preset | None
    ranking: Ranking
    colors: pl.DataFrame
    without_cusip: pl.DataFrame
    excluded: pl.DataFrame
    rules: pl.DataFrame
    notes: tuple[Finding, ...]
    quote: tuple[str, ...]
    cleaned_cusips: int
    repeats_removed: int

    @property
    def order(self) -> tuple[str, ...]:
        """The keys that each CUSIP's colors are ordered by."""
        return tuple(self.ranking.order)

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
        left_out = self.without_cusip.height + self.excluded.height
        return self.colors.height + left_out + self.repeats_removed

    @property
    def headings(self) -> dict[str, str]:
        """The columns that the preset shows, with their headings; none without a preset."""
        return self.preset.headings(self.colors.columns) if self.preset else {}

    def __repr__(self) -> str:
        parents = self.parents.height
        desk = self.preset
        said = [f"{desk.title}. {desk.about}".strip(". ") + "."] if desk else []
        said += [
            f"{self.read:,} colors were read from {self.label}{_wanted(self.ranking)}.",
            f"Ordered by {', then '.join(self.order)}, they give {parents:,} parents "
            f"and {self.colors.height - parents:,} children.",
        ]
        if self.excluded.height:
            said.append(f"{self.excluded.height:,} rows were removed by exclusion rules.")
        if self.repeats_removed:
            said.append(f"{self.repeats_removed:,} repeated quotes were removed.")
        if self.without_cusip.height:
            said.append(f"{self.without_cusip.height:,} rows without a CUSIP were left out.")
        return " ".join(said)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"


def run_colors(
    data: Any,
    *,
    source: str | Database | None = None,
    preset: str | None = None,
    order: Sequence[str] | None = None,
    sector: str | None = None,
    until: date | str | None = None,
    rules: Sequence[str | Path] | str | Path | None = None,
    deduplicate: bool | None = None,
    engine: str = "auto",
) -> RankedColors:
    """Rank colors: within each CUSIP by rank, then date, then price; the first is the parent.

    `data` is a table or view of `source` ("marketpulse.colors"), a `.sql` file for it, a
    Parquet, CSV or Excel file, a pattern of such files ("feeds/*.csv"), an S3 URL, a polars or
    pandas DataFrame or Arrow table, or a list of these, whose rows are merged and keep the name
    of their feed in ORIGIN. `preset` names a file of params/presets; what is given besides takes
    the place of the preset's own. `order` lists keys with directions. `sector` keeps one sector,
    without regard to case, `until` the colors as of that day and before. `rules` names files of
    params/rules whose rules remove rows, after the preset's own. `deduplicate` keeps one row per
    quote: rows that differ only in their coverage price. `engine="spark"` ranks files on Spark.
    Raises DataError for missing columns or values that cannot be read, UsageError for a wrong
    request, and what `connect` raises for a source.
    """
    chosen, ranking = asked(preset, order, sector, until, rules, deduplicate)
    with opened(data, source, engine) as feed:
        rows = feed.execute(colors.ranked(feed.relation, ranking, feed.label))
        if rows.is_empty() and ranking.sector is not None:
            refuse_unknown_sector(feed, ranking.sector)
        quote = tuple(colors.quote_columns(feed.relation, feed.label))
    rows = whole(rows, feed.label)
    if "RULES_MET" not in rows.columns:
        rows = rows.with_columns(RULES_MET=pl.lit(None, pl.String))
    grouped, excluded = pl.col("COLOR_POSITION").is_not_null(), pl.col("RULES_MET").is_not_null()
    removed = rows.filter(excluded).drop(colors.ADDED)
    return RankedColors(
        label=feed.label,
        engine=feed.engine,
        preset=chosen,
        ranking=ranking,
        colors=shown(rows.filter(grouped)),
        without_cusip=shown(rows.filter(~grouped & ~excluded)).drop(colors.ADDED),
        excluded=shown(removed.with_columns(excluded_by(ranking.rules))),
        rules=rule_counts(ranking.rules, removed.group_by("RULES_MET").agg(rows=pl.len())),
        notes=feed.notes,
        quote=quote,
        cleaned_cusips=int(rows.filter(grouped)["CUSIP_CHANGED"].sum()),
        repeats_removed=int((rows["COPIES"] - 1).sum()),
    )


def asked(
    preset: str | None,
    order: Sequence[str] | None,
    sector: str | None,
    until: date | str | None,
    rules: Sequence[str | Path] | str | Path | None,
    deduplicate: bool | None,
) -> tuple[Preset | None, Ranking]:
    """Put a preset and what is asked besides together; raises UsageError naming what is wrong."""
    # papermill's command line hands "false" and 2.0 over where a boolean and a text were meant.
    if not isinstance(deduplicate, bool | None):
        raise UsageError(f"deduplicate is the boolean True or False, not {deduplicate!r}.")
    if not isinstance(sector, str | None):
        raise UsageError(f"sector is a text or None, not {sector!r}.")
    names = [rules] if isinstance(rules, str | Path) else rules or []
    if not isinstance(names, Sequence) or not all(isinstance(name, str | Path) for name in names):
        raise UsageError(f"rules is a list of names of rule files, not {rules!r}.")
    chosen = None if preset is None else read_preset(preset)
    ranking = Ranking(until=_day(until))
    if chosen is not None:
        names = [*chosen.rules, *(name for name in names if name not in chosen.rules)]
        ranking = replace(ranking, order=chosen.order or ranking.order, keep=chosen.keep,
                          sector=chosen.sector, deduplicate=bool(chosen.deduplicate))  # fmt: skip
    if order is not None:
        ranking = replace(ranking, order=order)
    if sector is not None:
        ranking = replace(ranking, sector=sector)
    if deduplicate is not None:
        ranking = replace(ranking, deduplicate=deduplicate)
    colors.parse_order(ranking.order)
    active = [rule for rule in read_rules(names) if rule.active] if names else []
    return chosen, replace(ranking, order=tuple(ranking.order), rules=tuple(active))


def _day(until: date | str | None) -> date | None:
    if isinstance(until, datetime):
        return until.date()
    if isinstance(until, date | None):
        return until
    try:
        return date.fromisoformat(until)
    except (TypeError, ValueError):
        raise UsageError(f"until is a day such as 2026-01-31, not {until!r}.") from None


def _wanted(ranking: Ranking) -> str:
    said = [f" in the sector {ranking.sector}"] if ranking.sector is not None else []
    said += [f" as of {ranking.until} and before"] if ranking.until is not None else []
    said += [f" where {sentence(ranking.keep)}"] if ranking.keep is not None else []
    return ",".join(said)


def rule_counts(rules: Sequence[Rule], codes: pl.DataFrame) -> pl.DataFrame:
    """Count what each rule removed and met; `codes` has RULES_MET and how many `rows` have it."""
    kinds = {"rule": pl.String, "removes": pl.String, "removed": pl.Int64, "met": pl.Int64}
    many = codes["rows"]
    counts = []
    for number, rule in enumerate(rules):
        met = many.filter(codes["RULES_MET"].str.slice(number, 1) == "1").sum()
        removed = many.filter(codes["RULES_MET"].str.find("1", literal=True) == number).sum()
        counts.append((rule.name, sentence(rule), int(removed), int(met)))
    return pl.DataFrame(counts, schema=kinds, orient="row")


def excluded_by(rules: Sequence[Rule]) -> pl.Expr:
    """Name the first rule that a row of RULES_MET meets."""
    first = pl.col("RULES_MET").str.find("1", literal=True).cast(pl.Int64)
    names = {number: rule.name for number, rule in enumerate(rules)}
    return first.replace_strict(names, default=None, return_dtype=pl.String).alias("EXCLUDED_BY")


def shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Drop what only served the statement."""
    return rows.drop([name for name in colors.INTERNAL if name in rows.columns])


def whole(rows: pl.DataFrame, label: str) -> pl.DataFrame:
    """Make integers of what must be whole; raises DataError for a rank of 2.5."""
    counts = [name for name in (*colors.ADDED, *colors.INTERNAL[:2]) if name in rows.columns]
    for name in (*colors.WHOLE, *counts):
        column = rows[name]
        if column.dtype not in (pl.Int64, pl.Boolean):
            odd = column.filter(column.round(0) != column)
            if odd.len():
                raise DataError(f"{label}: column {name} holds {odd[0]}, which is no whole number.")
            rows = rows.with_columns(column.cast(pl.Int64))
    # Where there are no booleans, it came as a number.
    return rows.with_columns(pl.col("IS_PARENT").cast(pl.Boolean)) if counts else rows


def refuse_unknown_sector(opened: Input, sector: str) -> None:
    """Say that no color is in a sector, unless there are no colors at all."""
    names = colors.match_columns(list(opened.relation.c.keys()), opened.label)
    if "SECTOR" not in names:
        raise DataError(f"{opened.label} has no column SECTOR to look for {sector!r} in.")
    column = opened.relation.c[names["SECTOR"]].label("SECTOR")
    known = opened.execute(sa.select(column).distinct())["SECTOR"].drop_nulls().sort()
    folded = known.str.strip_chars().str.to_uppercase()
    if known.is_empty() or sector.strip().upper() in folded:
        return
    raise DataError(
        f"No color of {opened.label} is in the sector {sector!r}.",
        f"Sectors there: {', '.join(known.head(20).to_list())}.",
    )
