"""How the other benchmarks measure: commands that must succeed, timed, and tables of it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from math import isnan
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# For scripts of their own, in MB. Not getrusage: that begins with the peak of whoever started it.
PEAK = r"""
def peak():
    import pathlib, re
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e6
"""


def attempt(name: str, full: bool) -> tuple[bool, str]:
    """Return whether the benchmark succeeded, and its tables, or else what to say instead."""
    try:
        return True, import_module(f"benchmarks.{name}").measure(full)
    except Exception as error:  # the others shall not be lost
        return False, failure(error)


def failure(error: Exception) -> str:
    """Say what went wrong in one line, without the folders of this machine."""
    said = str(error)
    if isinstance(error, subprocess.CalledProcessError):
        told = error.stderr or ""
        lines = (told if isinstance(told, str) else told.decode(errors="replace")).split("\n")
        said = next((line for line in reversed(lines) if line.strip()), "") or "no message"
        said = f"exit code {error.returncode}: {said}"
    first = (said.strip().splitlines() or [type(error).__name__])[0].replace("`", "'")
    first = re.sub(r"(/[\w.@+-]+)+/", "", first)  # where it is here is nobody's business
    return f"**It failed:** `{first[:200]}`\n"


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


def versus(what: str, *rows: tuple[str, Iterable[float], Iterable[float]], unit: str = "s") -> str:
    """Return a table of (name, ours, peer): seconds, or `unit`, and the peak MB if measured."""
    header, lines = [what], []
    for name, ours, theirs in rows:
        cells = [name]
        for one, other in zip(ours, theirs, strict=True):
            cells += [_figure(one), _figure(other), _figure(other / one)]
        lines.append(cells)
    for measured in (unit, "peak MB")[: (len(lines[0]) - 1) // 3]:
        header += [f"ours, {measured}", f"peer, {measured}", "ratio"]
    return table(header, *lines)


def _figure(value: float) -> str:
    return "" if isnan(value) else f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"
