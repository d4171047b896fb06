"""The demo plan, against papermill and nbconvert, one after the other, for each of its runs."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psutil
import yaml

from benchmarks.measuring import BIN, ROOT, seconds, table
from workbench.running import kernels
from workbench.running.batch import run_all
from workbench.running.plans import read_plan

PLAN = ROOT / "params" / "demo.yaml"


def measure() -> str:
    """Return a table: seconds of the plan cold and warm, and the ratios to the peer."""
    seconds(BIN / "workbench", "demo")
    with tempfile.TemporaryDirectory() as folder:
        cold = seconds(BIN / "workbench", "batch", PLAN, "--output", folder)
        peer = _papermill(Path(folder))
        kernels.warm(None)
        warm = [_seconds_here(Path(folder)) for _ in range(2)][-1]
        memory = _memory_of_four(Path(folder))
    runs = len(read_plan(PLAN))
    return table(
        (f"the demo plan, {runs} runs", "seconds", "papermill + nbconvert are slower by"),
        ("workbench batch, the command", f"{cold:.1f}", f"{peer / cold:.1f}"),
        ("again in the same process", f"{warm:.1f}", f"{peer / warm:.1f}"),
        (f"papermill, then nbconvert, {runs} times", f"{peer:.1f}", ""),
    ) + (f"\nFour runs at once: {memory / 1e6:,.0f} MB for runner, forkserver and kernels.\n")


def _seconds_here(folder: Path) -> float:
    started = time.perf_counter()
    _check(run_all(read_plan(PLAN, output=folder)))
    return time.perf_counter() - started


def _check(ended: object) -> None:
    for end in ended:  # type: ignore[attr-defined]
        if end.exit_code:
            raise RuntimeError(f"{end.spec.name} failed: {end.failure or end.outcome.error}")


def _papermill(folder: Path) -> float:
    total = 0.0
    executed, values = folder / "executed.ipynb", folder / "values.yaml"
    for spec in read_plan(PLAN):
        values.write_text(yaml.safe_dump(dict(spec.given)))
        total += seconds(BIN / "papermill", spec.notebook, executed, "-f", values)
        total += seconds(BIN / "jupyter", "nbconvert", "--to", "html", executed)
    return total


def _memory_of_four(folder: Path) -> int:
    """Return the most bytes that four runs at once took, shared pages counted once."""
    done, most = threading.Event(), 0

    def watch() -> None:
        nonlocal most
        me = psutil.Process()
        while not done.wait(0.2):
            sizes = []
            for process in (me, *me.children(recursive=True)):
                try:
                    sizes.append(process.memory_full_info().pss)
                except psutil.Error:
                    continue
            most = max(most, sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _check(run_all(read_plan(PLAN, output=folder)[:4], jobs=4))
    finally:
        done.set()
        watcher.join()
    return most
