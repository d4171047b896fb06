"""Earlier runs of a notebook, and what they have left beside their reports."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from workbench.records import warn
from workbench.settings import load_settings, project_folder

COLORS = "data/colors.parquet"
GOOD = ("passed", "warned")


def in_run() -> bool:
    """Tell whether this code is part of a run, and not of an open notebook or a script."""
    return "WORKBENCH_RUN_DIR" in os.environ


def files(place: str, name: str | None = None) -> list[Path]:
    """List the files at `place` in the folders of earlier runs, newest first.

    In a run these are the runs of its own name, or of `name` beside it; elsewhere those of `name`
    in the project's reports. A run that failed early has left no such file.
    """
    if in_run():
        own = Path(os.environ["WORKBENCH_RUN_DIR"]).parent
        folder = own.parent / name if name else own
    else:
        folder = project_folder() / load_settings().reports / (name or "")
    # The newest by its name; a run that goes on has a name with a dot.
    return sorted(folder.glob(f"[0-9]*/{place}"), reverse=True)


def earlier_colors(
    name: str | None = None, *, before: dt.date | str | None = None, **parameters: Any
) -> pl.DataFrame | None:
    """Return the colors of the newest earlier run that succeeded, or None where there is none.

    In a run these are the runs of its own name, elsewhere of "run_colors", unless `name` names
    another. `before` leaves out runs whose data are as of that day or later, so that a second run
    of a day is compared with the day before; `parameters` leave out runs that had other ones
    (`sector="MM-CLO"`; None is the value of one a run did not have). A warning tells what cannot
    be read.
    """
    for path in files(COLORS, name or (None if in_run() else "run_colors")):
        folder = path.parents[1]
        try:
            told = json.loads((folder / "run.json").read_bytes())
            if _fits(told, parameters, before):
                return pl.read_parquet(path, glob=False, hive_partitioning=False)
        except (OSError, ValueError, AttributeError, pl.exceptions.PolarsError):
            warn(f"{folder.name} cannot be read, so nothing is compared with its colors.")
    return None


def _fits(
    told: Mapping[str, Any], parameters: Mapping[str, Any], before: dt.date | str | None
) -> bool:
    given = told.get("parameters") or {}
    if told.get("status") not in GOOD or any(given.get(k) != v for k, v in parameters.items()):
        return False
    # ISO 8601: an earlier day is a smaller text.
    return before is None or str(told.get("as_of") or "9") < str(before)[:10]
