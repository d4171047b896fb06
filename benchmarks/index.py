"""How long it takes to write the index over two thousand runs."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import BIN, seconds, table
from workbench.reporting.index import write_index

RUNS = 2000


def measure() -> str:
    """Return a table: seconds to write it and its size."""
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
        size = index.stat().st_size
    return table(
        (f"the index over {RUNS:,} runs", "seconds", "bytes"),
        ("written", f"{taken:.2f}", f"{size:,}"),
    )
