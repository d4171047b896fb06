"""Many runs at once: in threads here, or on a Dask cluster."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

from workbench.errors import UsageError, WorkbenchError
from workbench.reporting.index import may_write, write_index
from workbench.running import kernels, progress
from workbench.running.execute import run
from workbench.running.outcome import Outcome
from workbench.running.plan import RunSpec

INDEX_EVERY = 5  # seconds between two writings of the index while runs go on
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
        # Not `wait(futures)`: a signal in its midst leaves a lock held that a run needs to end.
        # What this queue loses to a signal is seen half a second later.
        ended, bell = set[Future[tuple[Outcome, Path]]](), SimpleQueue[None]()

        def note(future: Future[tuple[Outcome, Path]]) -> None:
            ended.add(future)
            bell.put(None)

        for future in futures:
            future.add_done_callback(note)
        while len(ended) < len(futures):
            try:
                # Not for longer: a signal that meets another thread does not end this waiting.
                with suppress(Empty):
                    bell.get(timeout=0.5)
                if len(ended) < len(futures) and monotonic() - written > INDEX_EVERY:
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
        failure = str(error)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        failure = f"{error.strerror or error}{place}"
    except Exception as error:
        # Whatever it is, the other runs of the plan go on.
        failure = f"{type(error).__name__}: {error}"
    else:
        return Ended(spec, result, folder)
    progress.LOG.error("%s was not written: %s", spec.name, failure)
    return Ended(spec, failure=failure)


@contextmanager
def _executor(
    jobs: int, scheduler: str | None, specs: Sequence[RunSpec]
) -> Iterator[tuple[Started, Callable[[], None]]]:
    """Return what starts a run, and what cancels all of them: in threads here, or on Dask."""
    if scheduler is None:
        stop = threading.Event()
        with ThreadPoolExecutor(min(jobs, len(specs))) as threads:
            try:
                yield lambda spec: threads.submit(run, spec, cancelled=stop.is_set), stop.set
            finally:
                stop.set()
        return
    try:
        from distributed import Client, Security
        from distributed.comm.core import connect
    except ImportError:
        raise UsageError(
            "--scheduler needs Dask, which is not installed.", "pip install 'workbench[dask]'"
        ) from None

    async def knock() -> None:
        comm = await connect(scheduler, timeout=5, **Security().get_connection_args("client"))
        await comm.close()

    try:
        # A client that finds nobody would complain again when it is collected.
        asyncio.run(knock())
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise WorkbenchError(f"No Dask scheduler answers at {scheduler}: {error}.") from None
    # The workers share the folder that runs are written to, and nothing else with us.
    mark = specs[0].output / f".cancel-{secrets.token_hex(4)}"

    def cancel() -> None:
        mark.parent.mkdir(parents=True, exist_ok=True)  # the first run may not have begun
        mark.touch()

    try:
        with client, client.get_executor(pure=False) as executor:
            yield lambda spec: executor.submit(_run_there, spec, mark), cancel
    finally:
        mark.unlink(missing_ok=True)


def _run_there(spec: RunSpec, mark: Path) -> tuple[Outcome, Path]:
    kernels.warm_as_set(None)
    return run(spec, cancelled=mark.exists)
