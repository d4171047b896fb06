"""One light run and its report, against papermill and nbconvert on the same notebook."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
NOTEBOOK = str(ROOT / "notebooks" / "run_colors.ipynb")
ROUNDS = 3


def seconds(*command: str) -> float:
    """Time a command; raises CalledProcessError when it fails."""
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def measure() -> str:
    """Return a small Markdown table: median seconds, and bytes of HTML, of either way."""
    ours, theirs, help_times = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        executed = Path(folder) / "executed.ipynb"
        seconds(str(BIN / "workbench"), "demo")
        for _ in range(ROUNDS):
            ours.append(seconds(str(BIN / "workbench"), "run", "run_colors", "--output", folder))
            papermill = seconds(str(BIN / "papermill"), NOTEBOOK, str(executed))
            nbconvert = seconds(str(BIN / "jupyter"), "nbconvert", "--to", "html", str(executed))
            theirs.append(papermill + nbconvert)
            help_times.append(seconds(str(BIN / "workbench"), "--help"))
        report = (Path(folder) / "run_colors" / "latest" / "report.html").stat().st_size
        html = executed.with_suffix(".html").stat().st_size
    run, peer = statistics.median(ours), statistics.median(theirs)
    return (
        f"| run_colors on the demo source, median of {ROUNDS} | workbench run "
        "| papermill + nbconvert | ratio |\n|---|---:|---:|---:|\n"
        f"| seconds | {run:.1f} | {peer:.1f} | {peer / run:.2f} |\n"
        f"| bytes of HTML | {report:,} | {html:,} | {html / report:.1f} |\n"
        f"| seconds of --help | {statistics.median(help_times):.2f} | | |"
    )
