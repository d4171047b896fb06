"""One light run and its report, against papermill and nbconvert on the same notebook."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.measuring import BIN, ROOT, seconds, table

NOTEBOOK = ROOT / "notebooks" / "run_colors.ipynb"
ROUNDS = 3


def measure() -> str:
    """Return a table: median seconds, and bytes of HTML, of either way."""
    ours, theirs, help_times = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "executed.ipynb"
        seconds(BIN / "workbench", "demo")
        for _ in range(ROUNDS):
            ours.append(seconds(BIN / "workbench", "run", "run_colors", "--output", folder))
            papermill = seconds(BIN / "papermill", NOTEBOOK, executed)
            nbconvert = seconds(BIN / "jupyter", "nbconvert", "--to", "html", executed)
            theirs.append(papermill + nbconvert)
            help_times.append(seconds(BIN / "workbench", "--help"))
        report = (Path(folder) / "run_colors" / "latest" / "report.html").stat().st_size
        html = executed.with_suffix(".html").stat().st_size
    run, peer = statistics.median(ours), statistics.median(theirs)
    return table(
        (
            f"one run of run_colors, median of {ROUNDS}",
            "workbench",
            "papermill + nbconvert",
            "ratio",
        ),
        ("seconds", f"{run:.1f}", f"{peer:.1f}", f"{peer / run:.2f}"),
        ("bytes of HTML", f"{report:,}", f"{html:,}", f"{html / report:.1f}"),
        ("seconds of --help", f"{statistics.median(help_times):.2f}", "", ""),
    )
