"""run_colors_into(): any number of colors, ranked from files or a database into a file."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
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
    rules: Sequence[str] | str = (),
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
        if feed.engine != "spark" and path.suffix.lower() not in extracts.SINKS:
            hint = f"Suffixes: {', '.join(extracts.SINKS)}."
            raise UsageError(f"{path} has no suffix that names a format.", hint)
        for each in (path, beside) if feed.engine != "spark" else ():
            extracts.free(each, overwrite)
        if ranking.sector is not None and not _rows_wanted(feed, ranking):
            refuse_unknown_sector(feed, ranking.sector)
        rows, parents = _write_ranked(feed, ranking, path, overwrite)
        counts = _kinds_of_rows(feed, ranking, rows)
        ungrouped = counts.filter((pl.col("HAS_CUSIP") == 0) | pl.col("RULES_MET").is_not_null())
        if ungrouped.is_empty():
            _remove(beside)
        else:
            statement = colors.left_out(feed.relation, ranking, feed.label)
            feed.write(statement, beside, overwrite, lambda frame: whole(frame, feed.label))
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


def _write_ranked(feed: Input, ranking: Ranking, path: Path, overwrite: bool) -> tuple[int, int]:
    """Write the ranked rows; count them and the parents among them."""
    tally = {"rows": 0, "parents": 0}

    def finish(frame: pl.DataFrame) -> pl.DataFrame:
        frame = whole(frame, feed.label)
        tally["rows"] += frame.height
        tally["parents"] += int(frame["IS_PARENT"].sum())
        return frame

    statement = colors.ranked(feed.relation, ranking, feed.label, left_out=False)
    feed.write(statement, path, overwrite, finish)
    if tally["rows"] == 0 and (path.suffix == ".parquet" or path.is_dir()):
        written = pl.scan_parquet(path / "*.parquet" if path.is_dir() else path)
        found = written.select(rows=pl.len(), parents=pl.col("IS_PARENT").sum()).collect()
        return int(found["rows"][0]), int(found["parents"][0])
    return tally["rows"], tally["parents"]
