"""A plan of many runs, read from YAML and checked as a whole, and running all of it."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import monotonic
from typing import Any

from workbench.errors import UsageError, WorkbenchError, nearest
from workbench.reporting.index import may_write, write_index
from workbench.running import kernels, progress
from workbench.running.execute import run
from workbench.running.outcome import Outcome
from workbench.running.parameters import read_parameters
from workbench.running.plan import (
    RunSpec,
    find_notebook,
    folder_name,
    plan_run,
    read_notebook,
    read_values,
)
from workbench.settings import load_settings

INDEX_EVERY = 5  # seconds between two writings of the index while runs go on
LONGEST_NAME = 120
_LIMITS = ("timeout", "cell_timeout")
_KEYS = {
    "plan": {"defaults", "runs"},
    "defaults": {"source", "parameters", *_LIMITS},
    "run": {"notebook", "name", "parameters", "matrix", *_LIMITS},
}
Started = Callable[[RunSpec], "Future[tuple[Outcome, Path]]"]


@dataclass(frozen=True)
class Ended:
    """A run of a plan when it is over: its outcome and folder, or why there is none."""

    spec: RunSpec
    outcome: Outcome | None = None
    folder: Path | None = None
    failure: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code it would have had alone; 1 where the run could not be written."""
        return self.outcome.exit_code if self.outcome else 1


def read_plan(path: Path, *, only: Sequence[str] = (), output: Path | None = None) -> list[RunSpec]:
    """Read a plan; raises UsageError that lists everything wrong with it, before any run starts.

    A matrix makes one run for each combination of its values, which become part of its name.
    `only` picks entries by the name of their entry or of one run.
    """
    plan = read_values(path, "plan")
    _known_keys("plan", plan)
    defaults = _mapping(plan.get("defaults"), "defaults")
    _known_keys("defaults", defaults)
    entries = plan.get("runs")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"The plan {path} has no runs.", "It takes `runs:`, a list of notebooks.")
    specs: dict[str, list[RunSpec]] = {}
    problems = []
    for number, entry in enumerate(entries, 1):
        try:
            name, found = _entry(_mapping(entry, "entry"), defaults, output)
            specs.setdefault(name, []).extend(found)
        except WorkbenchError as error:
            problems.append(f"run {number}: {error.message}")
    everything = [spec for found in specs.values() for spec in found]
    names = [spec.name for spec in everything]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two runs are called {name!r}: give them a `name:`" for name in twice]
    for name in only:
        if name not in {*specs, *names}:
            known = sorted({*specs, *names})
            problems.append(f"no run is called {name!r}.{nearest(name, known)}")
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"The plan {path} cannot be run:\n{listing}")
    return [
        spec
        for name, found in specs.items()
        for spec in found
        if not only or name in only or spec.name in only
    ]


def _entry(
    entry: Mapping[str, Any], defaults: Mapping[str, Any], output: Path | None
) -> tuple[str, list[RunSpec]]:
    """Return the name of one entry of a plan and its runs."""
    _known_keys("run", entry)
    notebook = entry.get("notebook")
    if not isinstance(notebook, str):
        raise UsageError("`notebook:` is missing, a name or a path.")
    path = find_notebook(notebook)
    name = str(entry.get("name") or path.stem)
    takes = {parameter.name for parameter in read_parameters(read_notebook(path).cells)}
    usual = _mapping(defaults.get("parameters"), "parameters")
    usual = {"source": defaults["source"], **usual} if "source" in defaults else usual
    # A default serves the notebooks that know it; what an entry says itself must be known.
    values = {key: value for key, value in usual.items() if key in takes}
    values |= _mapping(entry.get("parameters"), "parameters")
    limits = {**defaults, **entry}
    matrix = _mapping(entry.get("matrix"), "matrix")
    if wrong := [
        key for key, several in matrix.items() if not several or not isinstance(several, list)
    ]:
        raise UsageError(f"`matrix: {wrong[0]}:` takes a list of values.")
    return name, [
        plan_run(
            str(path),
            values=values | dict(zip(matrix, choice, strict=True)),
            output=output,
            name=_named(name, dict(zip(matrix, choice, strict=True))),
            timeout=_seconds(limits, "timeout"),
            cell_timeout=_seconds(limits, "cell_timeout"),
        )
        for choice in product(*matrix.values())
    ]


def _named(name: str, choice: Mapping[str, Any]) -> str:
    parts = [f"{key}={'none' if value is None else value}" for key, value in choice.items()]
    return folder_name("-".join([name, *parts]))[:LONGEST_NAME]


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"`{what}` holds no `name: value` lines.")
    return {str(key): item for key, item in (value or {}).items()}


def _known_keys(part: str, content: Mapping[str, Any]) -> None:
    if unknown := sorted(set(content) - _KEYS[part]):
        known = ", ".join(sorted(_KEYS[part]))
        raise UsageError(
            f"unknown key {unknown[0]!r} in {part}.{nearest(unknown[0], _KEYS[part])} "
            f"Known: {known}."
        )


def _seconds(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise UsageError(f"`{key}: {value}` is no positive number of seconds.")
    return float(value)


def run_all(
    specs: Sequence[RunSpec],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
) -> list[Ended]:
    """Run every spec and write the index; returns what came of them, in the order given.

    `jobs` runs go on at once (as many as there are cores); `scheduler` is the address of a Dask
    cluster to run them on. Ctrl-C cancels: every run that has not ended gets its report all the
    same.
    """
    output = specs[0].output
    if not may_write(output):
        raise WorkbenchError(
            f"{output} holds an index.html that is no index of runs.",
            "Choose another place with --output.",
        )
    cancelled, written = False, monotonic()
    with _executor(jobs or cores(), scheduler, specs) as (start, cancel):
        futures = {start(spec): spec for spec in specs}
        waiting = set(futures)
        while waiting:
            try:
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                if waiting and monotonic() - written > INDEX_EVERY:
                    write_index(output)
                    written = monotonic()
            except KeyboardInterrupt:
                if cancelled:
                    raise
                cancelled = True
                cancel()
        results = [_ended(spec, future) for future, spec in futures.items()]
    write_index(output)
    return results


def cores() -> int:
    """Return how many cores this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1


def _ended(spec: RunSpec, future: Future[tuple[Outcome, Path]]) -> Ended:
    try:
        result, folder = future.result()
    except WorkbenchError as error:
        return Ended(spec, failure=str(error))
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return Ended(spec, failure=f"{error.strerror or error}{place}")
    except Exception as error:
        # Whatever it is, the other runs of the plan go on.
        progress.LOG.exception("a run failed outside its notebook")
        return Ended(spec, failure=f"{type(error).__name__}: {error}")
    return Ended(spec, result, folder)


@contextmanager
def _executor(
    jobs: int, scheduler: str | None, specs: Sequence[RunSpec]
) -> Iterator[tuple[Started, Callable[[], None]]]:
    """Return what starts a run, and what cancels all of them: in threads here, or on Dask."""
    if scheduler is None:
        stop = threading.Event()
        with ThreadPoolExecutor(min(jobs, len(specs))) as threads:
            yield lambda spec: threads.submit(run, spec, cancelled=stop.is_set), stop.set
        return
    try:
        from distributed import Client, Security
        from distributed.comm.core import connect
    except ImportError:
        raise UsageError(
            "--scheduler needs Dask, which is not installed.", "pip install 'workbench[dask]'"
        ) from None

    async def knock() -> None:
        comm = await connect(scheduler, timeout=10, **Security().get_connection_args("client"))
        await comm.close()

    try:
        # A client that finds nobody would complain again when it is collected.
        asyncio.run(knock())
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"No Dask scheduler answers at {scheduler}: {error}.") from None
    # The workers share the folder that runs are written to, and nothing else with us.
    mark = specs[0].output / f".cancel-{secrets.token_hex(4)}"
    try:
        with client, client.get_executor(pure=False) as executor:
            yield lambda spec: executor.submit(_run_there, spec, mark), mark.touch
    finally:
        mark.unlink(missing_ok=True)


def _run_there(spec: RunSpec, mark: Path) -> tuple[Outcome, Path]:
    kernels.warm(load_settings().kernels.preload)
    return run(spec, cancelled=mark.exists)
