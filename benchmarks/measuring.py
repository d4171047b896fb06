"""How the other benchmarks measure: commands that must succeed, timed, and tables of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def seconds(*command: str | Path) -> float:
    """Time a command; raises CalledProcessError when it fails."""
    started = time.perf_counter()
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def table(header: Iterable[str], *rows: Iterable[object]) -> str:
    """Return a Markdown table; every column but the first is aligned to the right."""
    names = list(header)
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"
