"""run_colors_into(): any number of colors, ranked from files or a database into a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from workbench import colors, extracts
from workbench.colors import Ranking
from workbench.database import Database
from workbench.engines import Finding, Input
from workbench.errors import UsageError
from workbench.openings import opened
from workbench.ranking import asked, refuse_unknown_sector, rule_counts, whole


@dataclass(frozen=True)
class RankedFile:
    """A file of ranked colors, and how it came about.

    `left_out` is the file beside it of the rows that were not ranked, None without any; `rules`
    is the table of `RankedColors.rules`. A row is read, and then in one of the two files, or a
    repeated quote.
    """

    path: Path
    left_out: Path | None
    label: str
    engine: str
    read: int
    rows: int
    parents: int
    without_cusip: int
    excluded: int
    repeats_removed: int
    rules: pl.DataFrame
    notes: tuple[Finding, ...]
    seconds: float

    def __str__(self) -> str:
        said = [
            f"{self.path}: {self.rows:,} colors of {self.label} "
            f"({self.parents:,} parents) in {self.seconds:.1f} s."
        ]
        if self.left_out is not None:
            said.append(
                f"{self.left_out}: {self.excluded:,} rows removed by exclusion rules, "
                f"{self.without_cusip:,} without a CUSIP."
            )
        if self.repeats_removed:
            said.append(f"{self.repeats_removed:,} repeated quotes were removed.")
        said += [f"{what}: {rows:,} rows, e.g. {shown}." for what, rows, shown, _ in self.notes]
        return "\n".join(said)


def run_colors_into(
    path: str | Path,
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
    overwrite: bool = False,
) -> RankedFile:
    """Rank colors into a file, however many there are: memory is bounded, the disk is used.

    Takes what `run_colors` takes, and writes what its `colors` would hold to `path`: `.parquet`,
    `.csv`, `.jsonl` or `.xlsx`, or on Spark a folder of Parquet files. Rows that are left out, for
    want of a CUSIP or by a rule, go to `NAME.left_out.parquet` (or its like) beside it, with the
    rule in EXCLUDED_BY. Each file appears whole or not at all; one that is there already is
    refused unless `overwrite`. A database runs a statement for each file and one to count.
    Raises what `run_colors` raises, and what `Database.extract` raises for a path.
    """
    started = time.perf_counter()
    _, ranking = asked(preset, order, sector, until, rules, deduplicate)
    path = Path(path)
    beside = path.with_name(f"{path.stem}.left_out{path.suffix}")
    with opened(data, source, engine) as feed:
        targets = _targets(feed, path, beside, overwrite)
        if ranking.sector is not None and not _rows_wanted(feed, ranking):
            refuse_unknown_sector(feed, ranking.sector)
        near = TemporaryDirectory(
            prefix=f".{path.name}.", suffix=".partial", dir=targets[0].parent,
            ignore_cleanup_errors=True,
        )  # fmt: skip
        with extracts.told(path), near as folder:
            building, other = Path(folder) / path.name, Path(folder) / beside.name
            rows, parents = _write_ranked(feed, ranking, building, path)
            counts = _kinds_of_rows(feed, ranking, rows)
            out = (pl.col("HAS_CUSIP") == 0) | pl.col("RULES_MET").is_not_null()
            ungrouped = counts.filter(out)
            if ungrouped.is_empty():
                _remove(targets[1])
            else:
                statement = colors.left_out(feed.relation, ranking, feed.label)
                feed.write(statement, other, beside, lambda frame: whole(frame, feed.label))
                extracts.place(other, targets[1], beside, overwrite)
            extracts.place(building, targets[0], path, overwrite)
    removed = ungrouped.filter(pl.col("RULES_MET").is_not_null())
    return RankedFile(
        path=path,
        left_out=None if ungrouped.is_empty() else beside,
        label=feed.label,
        engine=feed.engine,
        read=int(counts["ROWS_READ"].sum()),
        rows=rows,
        parents=parents,
        without_cusip=int(ungrouped["ROWS_READ"].sum()) - int(removed["ROWS_READ"].sum()),
        excluded=int(removed["ROWS_READ"].sum()),
        repeats_removed=int(counts["ROWS_READ"].sum()) - int(ungrouped["ROWS_READ"].sum()) - rows,
        rules=rule_counts(
            ranking.rules, removed.select(pl.col("RULES_MET").cast(pl.String), rows="ROWS_READ")
        ),
        notes=feed.notes,
        seconds=time.perf_counter() - started,
    )


def _targets(feed: Input, path: Path, beside: Path, overwrite: bool) -> tuple[Path, Path]:
    """Return where the two files go; raises UsageError unless they can go there."""
    if feed.engine == "spark" and feed.copies(path):
        for each in (path, beside):
            if each.exists() and not (overwrite and each.is_dir()):
                raise UsageError(f"{each} is there already.", "Name a new folder, or remove it.")
        return path.absolute(), beside.absolute()
    extracts.known_kind(path)
    first, second = extracts.free(path, overwrite), extracts.free(beside, overwrite)
    for target in (first, second):
        if target in feed.files:
            hint = "Rank into another file, and replace the feed afterwards if you must."
            raise UsageError(f"{target.name} would be written, and is read.", hint)
    return first, second


def _rows_wanted(feed: Input, ranking: Ranking) -> int:
    statement = colors.counted(feed.relation, ranking, feed.label, kinds=False)
    return int(feed.execute(statement)["ROWS_READ"].item())


def _kinds_of_rows(feed: Input, ranking: Ranking, ranked: int) -> pl.DataFrame:
    """Count the rows read, by whether they have a CUSIP and which rules they meet."""
    wanted = _rows_wanted(feed, ranking)
    if wanted == ranked:
        return pl.DataFrame({"HAS_CUSIP": 1, "RULES_MET": None, "ROWS_READ": wanted})
    return feed.execute(colors.counted(feed.relation, ranking, feed.label))


def _remove(left_out: Path) -> None:
    """Remove the rows that an earlier ranking left out, which are no part of this one."""
    if left_out.is_dir():
        shutil.rmtree(left_out)
    else:
        left_out.unlink(missing_ok=True)


def _write_ranked(feed: Input, ranking: Ranking, building: Path, path: Path) -> tuple[int, int]:
    """Write the ranked rows; count them and the parents among them."""
    rows = parents = 0

    def finish(frame: pl.DataFrame) -> pl.DataFrame:
        nonlocal rows, parents
        frame = whole(frame, feed.label)
        rows, parents = rows + frame.height, parents + int(frame["IS_PARENT"].sum())
        return frame

    statement = colors.ranked(feed.relation, ranking, feed.label, left_out=False)
    feed.write(statement, building, path, finish)
    if feed.copies(path):
        written = sorted(building.glob("*.parquet")) if building.is_dir() else building
        found = pl.scan_parquet(written, glob=False)
        counts = found.select(rows=pl.len(), parents=pl.col("IS_PARENT").sum()).collect()
        return int(counts["rows"][0]), int(counts["parents"][0])
    return rows, parents
