"""One run of Run Colors and its report, against papermill and nbconvert on the same notebook."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.measuring import BIN, ROOT, seconds, versus

NOTEBOOK = ROOT / "notebooks" / "run_colors.ipynb"
ROUNDS = 3


def measure(full: bool = False) -> str:
    """Return tables: median seconds, and the size of the HTML, of either way."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "executed.ipynb"
        seconds(BIN / "workbench", "demo")
        for _ in range(ROUNDS):
            ours.append(seconds(BIN / "workbench", "run", "run_colors", "--output", folder))
            papermill = seconds(BIN / "papermill", NOTEBOOK, executed)
            nbconvert = seconds(BIN / "jupyter", "nbconvert", "--to", "html", executed)
            theirs.append(papermill + nbconvert)
        report = (Path(folder) / "run_colors" / "latest" / "report.html").stat().st_size
        html = executed.with_suffix(".html").stat().st_size
    return (
        versus(
            "a new process each",
            (f"median of {ROUNDS}", [statistics.median(ours)], [statistics.median(theirs)]),
        )
        + "\n"
        + versus("size", ("the report's HTML", [report / 1e3], [html / 1e3]), unit="kB")
    )
