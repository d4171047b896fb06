"""The page that lists all runs, against merely reading their run.json (there is no peer)."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import BIN, seconds, versus
from workbench.reporting.index import write_index

RUNS = 2000


def measure(full: bool = False) -> str:
    """Return a table of seconds."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        seconds(BIN / "workbench", "run", "run_colors", "--output", root)
        model = (root / "run_colors" / "latest").resolve()
        told = json.loads((model / "run.json").read_text())
        for number in range(RUNS - 1):
            started = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}T00:{number % 60:02}:00+00:00"
            copy = root / f"run_colors-{number % 10}" / f"run-{number}"
            copy.mkdir(parents=True)
            (copy / "run.json").write_text(json.dumps({**told, "started": started}))
            shutil.copy(model / "report.html", copy)
        begun = time.perf_counter()
        index = write_index(root)
        taken = time.perf_counter() - begun
        size = index.stat().st_size / 1e3
        begun = time.perf_counter()
        for path in root.glob("*/*/run.json"):
            json.loads(path.read_text())
        reading = time.perf_counter() - begun
    return versus(
        "peer: json.loads of every run.json",
        (f"{RUNS:,} runs, {size:,.0f} kB of HTML", [taken], [reading]),
    )
