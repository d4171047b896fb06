"""A plan in one command, against papermill and nbconvert, one after the other, for each run."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psutil
import yaml

from benchmarks.measuring import BIN, ROOT, seconds, versus
from workbench.running import kernels
from workbench.running.batch import run_all
from workbench.running.plans import read_plan

PLAN = ROOT / "params" / "demo.yaml"


def measure(full: bool = False) -> str:
    """Return a table of seconds, the plan cold and warm; each notebook once, in full all runs."""
    seconds(BIN / "workbench", "demo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = PLAN if full else _once_each(folder / "plan.yaml")
        cold = seconds(BIN / "workbench", "batch", plan, "--output", folder)
        peer = _papermill(plan, folder)
        kernels.warm(None)
        warm = [_seconds_here(plan, folder) for _ in range(2)][-1]
        memory = _memory_of_four(plan, folder)
        return versus(
            f"{len(read_plan(plan))} runs",
            ("the command", [cold], [peer]),
            ("again in the same process", [warm], [peer]),
        ) + (f"\nFour runs at once: {memory / 1e6:,.0f} MB for runner, forkserver and kernels.\n")


def _once_each(path: Path) -> Path:
    said = yaml.safe_load(PLAN.read_text())
    runs: dict[str, object] = {}
    for run in said["runs"]:
        runs.setdefault(run["notebook"], run)
    path.write_text(yaml.safe_dump({**said, "runs": list(runs.values())}, sort_keys=False))
    return path


def _seconds_here(plan: Path, folder: Path) -> float:
    started = time.perf_counter()
    _check(run_all(read_plan(plan, output=folder)))
    return time.perf_counter() - started


def _check(ended: object) -> None:
    for end in ended:  # type: ignore[attr-defined]
        if end.exit_code:
            raise RuntimeError(f"{end.spec.name} failed: {end.failure or end.outcome.error}")


def _papermill(plan: Path, folder: Path) -> float:
    total = 0.0
    executed, values = folder / "executed.ipynb", folder / "values.yaml"
    for spec in read_plan(plan):
        values.write_text(yaml.safe_dump(dict(spec.given)))
        total += seconds(BIN / "papermill", spec.notebook, executed, "-f", values)
        total += seconds(BIN / "jupyter", "nbconvert", "--to", "html", executed)
    return total


def _memory_of_four(plan: Path, folder: Path) -> int:
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
        _check(run_all(read_plan(plan, output=folder)[:4], jobs=4))
    finally:
        done.set()
        watcher.join()
    return most
