"""One run: the notebook under papermill, then its outcome, its report and its folder."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from workbench.errors import CredentialsError, WorkbenchError
from workbench.redaction import SECRETS_FD, received
from workbench.reporting.html import render
from workbench.running import kernels, outcome, progress
from workbench.running.outcome import Outcome
from workbench.running.plan import RunSpec, read_notebook
from workbench.running.watch import Stopped, Watch
from workbench.scrubbing import Secrets

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

INJECTED = "injected-parameters"
ERROR_MARK = "papermill-error-cell-tag"
LAST_WORDS = 4000  # characters of what a dead kernel wrote to its own stderr
ARGUMENTS = ["--ext=workbench.running.shell", "--HistoryManager.hist_file=:memory:"]


@dataclass(frozen=True)
class Executed:
    """What execution leaves in memory: nothing of it is on disk yet."""

    notebook: nbformat.NotebookNode
    secrets: Secrets
    last_words: str
    peak_memory: int | None


def run(spec: RunSpec, *, cancelled: Callable[[], bool] = lambda: False) -> tuple[Outcome, Path]:
    """Run one notebook; returns its outcome and the run folder, which is whole or not there.

    The folder is built under a temporary name and renamed at the end. A notebook that fails, takes
    too long, is cancelled or loses its kernel is an outcome, not an exception; raises OSError when
    the folder cannot be written. The caller writes the index.
    """
    started = dt.datetime.now(dt.UTC)
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    runs = spec.output / spec.name
    with progress.telling_of(run_id, spec.name), _building(spec, run_id, started) as building:
        progress.tell("started", event="run started")
        git = outcome.git_state(spec.notebook.parent)
        executed = _execute(spec, building, run_id, cancelled)
        result = _write(building, executed, _outcome(spec, executed, run_id, started, git))
        building.rename(runs / run_id)
        (runs / run_id / ".lock").unlink(missing_ok=True)
        _point_latest(runs, run_id)
        progress.tell(
            f"{result.status} after {result.duration:.1f} s", event="run ended",
            status=result.status, duration=result.duration,
            error=result.error and result.error["message"],
            report=str(runs / run_id / "report.html"),
        )  # fmt: skip
    return result, runs / run_id


@contextmanager
def _building(spec: RunSpec, run_id: str, started: dt.datetime) -> Iterator[Path]:
    """Make the folder a run is built in; it is gone afterwards unless it was renamed.

    While this process lives it holds a lock in it: a folder without a holder was abandoned.
    """
    runs = spec.output / spec.name
    fresh, building = runs / f".{run_id}.new", runs / f".{run_id}.partial"
    # No parameters yet: what is secret among them is known only in the end.
    known = {
        "schema_version": outcome.SCHEMA_VERSION, "status": "running", "run_id": run_id,
        "name": spec.name, "notebook": spec.notebook.name, "pid": os.getpid(),
        "started": started.isoformat(timespec="seconds"),
    }  # fmt: skip
    runs.mkdir(parents=True, exist_ok=True)
    try:
        (fresh / "data").mkdir(parents=True)
        with (fresh / ".lock").open("w") as lock:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX)
            (fresh / "run.json").write_text(json.dumps(known), encoding="utf-8")
            fresh.rename(building)
            yield building
    finally:
        for left in (fresh, building):
            shutil.rmtree(left, ignore_errors=True)


def _execute(spec: RunSpec, building: Path, run_id: str, cancelled: Callable[[], bool]) -> Executed:
    """Run under papermill, which writes nothing; the notebook itself tells what went wrong."""
    watch = Watch(spec.timeout, spec.cell_timeout, cancelled, progress.cell)
    notebook = _fresh(read_notebook(spec.notebook))
    wanted = notebook.metadata.get("kernelspec", {}).get("name") or "python3"
    name = kernels.kernel_name(wanted)
    ours = name == "workbench"
    logging.getLogger("papermill").setLevel(logging.ERROR)
    failure = None
    with _kernel(spec, building, run_id) as (options, config, values, words):
        options |= {"modules": kernels.needed_by(notebook)} if ours else {}
        try:
            papermill.execute_notebook(
                notebook,
                None,
                parameters=dict(spec.given),
                engine_name="workbench",
                kernel_name=name,
                language="python" if ours else None,
                progress_bar=False,
                watch=watch,
                kernel=options,
                config=config,
                extra_arguments=ARGUMENTS if ours else [],
            )
        except (PapermillExecutionError, Stopped):
            pass
        except NoSuchKernel:
            failure = f"The notebook asks for the kernel {wanted!r}, which is not installed."
        except Exception as error:
            # Whatever it is (a kernel that cannot be launched, say), the report tells of it.
            failure = f"The kernel could not run the notebook: {type(error).__name__}: {error}"
        notebook = watch.notebook or notebook
        known = Secrets()
        try:
            for value in values():
                known.add(value)
        except (CredentialsError, ValueError):
            failure = "The kernel's list of secrets is damaged, so nothing it put out was kept."
            notebook = nbformat.v4.new_notebook()
            shutil.rmtree(building / "data", ignore_errors=True)
        words.seek(0)
        last_words = known.scrub(words.read().decode(errors="replace"))
        if len(last_words) > LAST_WORDS:
            half = LAST_WORDS // 2
            last_words = f"{last_words[:half]}\n…\n{last_words[-half:]}"
    if failure is not None:
        outcome.stop(notebook, "error", failure, None)
    return Executed(_cleaned(notebook, wanted, known), known, last_words, watch.peak_memory)


@contextmanager
def _kernel(
    spec: RunSpec, building: Path, run_id: str
) -> Iterator[tuple[dict[str, Any], Config, Callable[[], list[str]], IO[bytes]]]:
    """Prepare a kernel's start: its environment, sockets, pipe for secrets and stderr.

    It is talked to over sockets in a folder of the run's own, where the system has such: the
    default is TCP on loopback, which every account of the machine can listen to.
    """
    folder = tempfile.TemporaryDirectory(prefix="workbench-", ignore_cleanup_errors=True)
    reading, writing = os.pipe()
    with folder as place, tempfile.TemporaryFile() as words, open(reading), open(writing):  # noqa: PTH123
        # Named here, because jupyter_client would have all kernels of a folder share one name.
        sockets = Path(place) / "kernel"
        fits = os.name == "posix" and len(os.fsencode(sockets)) < 90
        config: dict[str, Any] = {"connection_file": f"{sockets}.json"}
        config |= {"transport": "ipc", "ip": str(sockets)} if fits else {}
        environment = {
            **os.environ,
            "WORKBENCH_RUN_DIR": str(building),
            "WORKBENCH_RUN_ID": run_id,
            "WORKBENCH_NOTEBOOK": spec.name,
            SECRETS_FD: str(writing),
        }
        options = {"env": environment, "stdout": words.fileno(), "stderr": words.fileno()}
        options |= {"pass_fds": (writing,)} if os.name == "posix" else {}
        yield options, Config({"KernelManager": config}), lambda: received(reading), words


def _fresh(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what an earlier execution left: outputs, counts, injected parameters."""
    notebook.cells = [
        cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])
    ]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for key in ("papermill", "workbench"):
        notebook.metadata.pop(key, None)
    return notebook


def _cleaned(notebook: nbformat.NotebookNode, kernel: str, known: Secrets) -> nbformat.NotebookNode:
    """Take out papermill's banners and temporary paths, and every secret."""
    notebook.cells = [
        cell for cell in notebook.cells if ERROR_MARK not in cell.metadata.get("tags", [])
    ]
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    if "kernelspec" in notebook.metadata:
        notebook.metadata.kernelspec["name"] = kernel
    clean: nbformat.NotebookNode = nbformat.from_dict(known.scrub_tree(notebook))
    return clean


def _outcome(
    spec: RunSpec, executed: Executed, run_id: str, started: dt.datetime, git: Any
) -> Outcome:
    finished = dt.datetime.now(dt.UTC)
    notebook, runs = executed.notebook, spec.output / spec.name
    previous = outcome.compared(runs, spec.compare_to)
    told = outcome.told(notebook, previous)
    if told["status"] is None:
        told["status"] = "error"
        told["error"] = {"cell": None, "message": "Some cells were not run.", "traceback": ""}
    if told["status"] == "kernel-died":
        told["error"]["last_words"] = executed.last_words
    content = {
        **told,
        "run_id": run_id,
        "notebook": spec.notebook.name,
        "name": spec.name,
        "parameters": spec.parameters,
        "compared_to": previous
        and {
            "run_id": previous.get("run_id"),
            "same_parameters": previous.get("parameters") == spec.parameters,
            "chosen": spec.compare_to is not None,
        },
        "started": started.isoformat(timespec="seconds"),
        "finished": finished.isoformat(timespec="seconds"),
        "duration": round((finished - started).total_seconds(), 3),
        "cell_durations": [
            cell.metadata.get("papermill", {}).get("duration") for cell in notebook.cells
        ],
        "peak_memory": executed.peak_memory,
        "git": git,
    }
    return Outcome(**executed.secrets.scrub_tree(content))


def _write(building: Path, executed: Executed, result: Outcome) -> Outcome:
    """Write the run's files; where one of them holds a secret all the same, fail closed."""
    notebook = executed.notebook
    for _ in range(2):
        texts = {
            "notebook.ipynb": nbformat.writes(notebook),
            "report.html": render(notebook, result.to_dict()),
            "run.json": result.to_json(),
        }
        building.mkdir(parents=True, exist_ok=True)  # a cell may have removed it
        for name, text in texts.items():
            # A lone surrogate stays what it was: in JSON its escape means the same.
            (building / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        files = (path for path in sorted(building.rglob("*")) if path.is_file())
        leaking = [path for path in files if _leaks(path, building, executed.secrets)]
        if not leaking:
            return result
        for path in leaking:
            path.unlink()
        names = [path.relative_to(building).as_posix() for path in leaking]
        shown = executed.secrets.scrub(", ".join(names))
        message = f"{shown} held a secret value, so it was removed."
        error = {"cell": None, "name": "", "message": message, "traceback": ""}
        result = replace(result, status="error", error=error)
        if texts.keys() & set(names):
            notebook = nbformat.v4.new_notebook()
            bare: dict[str, Any] = {"parameters": {}, "figures": [], "warnings": []}
            result = replace(result, **bare, validations=[], sources=[])
    raise WorkbenchError("A secret value could not be taken out of the run; nothing was kept.")


def _leaks(path: Path, building: Path, known: Secrets) -> bool:
    """Tell whether a file, or its name, holds a secret; one that cannot be read may."""
    try:
        return bool(known.spans(path.relative_to(building).as_posix())) or known.found_in(path)
    except FileNotFoundError:
        return False
    except OSError:
        return bool(known)


def _point_latest(runs: Path, run_id: str) -> None:
    """Move `latest` to this run in one step, so that it never points nowhere."""
    fresh = runs / f".latest.{run_id}"
    try:
        fresh.symlink_to(run_id, target_is_directory=True)
        fresh.replace(runs / "latest")
    except OSError:
        # Windows without the right to make links: the index still leads to every run.
        fresh.unlink(missing_ok=True)
