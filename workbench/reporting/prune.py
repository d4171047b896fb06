"""Old runs removed: never the newest of a name, its latest good one, or one that is going on."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from workbench.errors import UsageError
from workbench.reporting.index import may_write, write_index
from workbench.reporting.runs import Run, find_runs, newest_first

_HOURS = {"h": 1, "d": 24, "w": 24 * 7}


def parse_age(text: str) -> timedelta:
    """Read an age such as `12h`, `90d` or `4w`; raises UsageError for anything else."""
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", text)
    if found is None:
        raise UsageError(f"{text!r} is no age.", "Write hours, days or weeks: 12h, 90d or 4w.")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def prune(
    root: Path,
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    dry_run: bool = False,
) -> list[Path]:
    """Remove old runs, name by name, and return their folders; `dry_run` only returns them.

    A run goes that is beyond the newest `keep` of its name, or started longer ago than
    `older_than`; given both, only where both hold. Of each name the newest run, the latest good
    one, what `latest` points to and those going on stay, and so does what cannot be read. An
    abandoned run is beyond any `keep`. Raises UsageError where nothing says what to remove.
    """
    if keep is None and older_than is None:
        raise UsageError("Nothing says which runs to remove.", "Give a number, an age or both.")
    if keep is not None and keep < 1:
        raise UsageError(f"The newest run of each name stays: {keep} cannot be kept.")
    if not root.is_dir() or not may_write(root):
        raise UsageError(f"{root} is not a folder of runs.")
    now = time.time()
    removed = sorted(
        root.joinpath(run.path)
        for run in _beyond(root, keep or 1)
        if older_than is None or now - run.started > older_than.total_seconds()
    )
    if not dry_run:
        for place in removed:
            # In one step for those who look, whatever happens afterwards.
            with suppress(FileNotFoundError):  # another prune was quicker
                place.rename(place.with_name(f".{place.name}-{secrets.token_hex(2)}.removed"))
        write_index(root)
        # With what an earlier removal that was cut short has left.
        for hidden in root.glob("*/.*.removed"):
            shutil.rmtree(hidden, ignore_errors=True)
    return removed


def _beyond(root: Path, keep: int) -> list[Run]:
    """Return the runs that may go, if they are also old enough."""
    named: dict[str, list[Run]] = defaultdict(list)
    found = []
    for run in newest_first(find_runs(root)):
        if run.status not in ("abandoned", "running", "unreadable"):
            named[run.path.parts[0]].append(run)
        elif run.status == "abandoned" and run.path.name.startswith("."):
            found.append(run)
    for name, runs in named.items():
        good = next((run for run in runs if run.good), None)
        latest = (root / name / "latest").resolve().name
        found += [run for run in runs[keep:] if run is not good and run.path.name != latest]
    return found
