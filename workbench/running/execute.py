"""One run: the notebook under papermill, then its outcome, its report and its folder."""

from __future__ import annotations

import datetime as dt
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from workbench.errors import WorkbenchError
from workbench.reporting.html import render
from workbench.reporting.index import may_write, write_index
from workbench.running import outcome
from workbench.running.outcome import Outcome
from workbench.running.plan import RunSpec, read_notebook

ERROR_MARK = "papermill-error-cell-tag"
START_LIMIT = 60  # seconds


def run(spec: RunSpec, *, progress: bool = False) -> tuple[Outcome, Path]:
    """Run one notebook; returns its outcome and the run folder, which is whole or not there.

    The folder is built under a temporary name and renamed at the end. A notebook that fails is
    an outcome, not an exception; raises OSError when the folder cannot be written.
    """
    started = dt.datetime.now(dt.UTC)
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    runs = spec.output / spec.name
    building, folder = runs / f".{run_id}.partial", runs / run_id
    if not may_write(spec.output):
        raise WorkbenchError(
            f"{spec.output} holds an index.html that is no index of runs.",
            "Choose another place with --output.",
        )
    runs.mkdir(parents=True, exist_ok=True)
    building.mkdir()
    try:
        (building / "data").mkdir()
        notebook, failure = _execute(spec, building, run_id, progress=progress)
        result = _outcome(spec, notebook, failure, run_id, started, runs)
        nbformat.write(notebook, building / "notebook.ipynb")
        report = render(notebook, result.to_dict())
        (building / "report.html").write_text(report, encoding="utf-8")
        (building / "run.json").write_text(result.to_json(), encoding="utf-8")
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    _point_latest(runs, run_id)
    write_index(spec.output)
    return result, folder


def _execute(
    spec: RunSpec, building: Path, run_id: str, *, progress: bool
) -> tuple[nbformat.NotebookNode, str | None]:
    """Run under papermill; returns the executed notebook and, where no cell tells, what failed."""
    saved = building / "notebook.ipynb"
    failure = None
    kernel = read_notebook(spec.notebook).metadata.get("kernelspec", {}).get("name") or "python3"
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with _announced(spec, building, run_id), _private_sockets() as config:
        try:
            papermill.execute_notebook(
                str(spec.notebook).replace("{", "{{").replace("}", "}}"),
                str(saved).replace("{", "{{").replace("}", "}}"),
                parameters=dict(spec.given),
                progress_bar={"file": sys.stderr, "leave": False} if progress else False,
                kernel_name=kernel,
                start_timeout=START_LIMIT,
                config=config,
                # ipykernel's remarks on being interrupted or shut down are not the reader's.
                extra_arguments=["--log-level=CRITICAL"] if "python" in kernel else [],
            )
        except PapermillExecutionError:
            pass
        except DeadKernelError:
            failure = "The kernel died while the notebook was running."
        except NoSuchKernel:
            failure = f"The notebook asks for the kernel {kernel!r}, which is not installed."
        except RuntimeError as error:
            failure = f"The kernel could not run the notebook: {error}"
    notebook = read_notebook(saved) if saved.exists() else read_notebook(spec.notebook)
    return _without_marks(notebook), failure


@contextmanager
def _private_sockets() -> Iterator[Config]:
    """Talk to the kernel over sockets in a folder of the run's own, where the system has such.

    The default is TCP on loopback, which every account of the machine can listen to.
    """
    with tempfile.TemporaryDirectory(prefix="workbench-", ignore_cleanup_errors=True) as folder:
        # Named here, because jupyter_client would have all kernels of a folder share one name.
        place = str(Path(folder) / "kernel")
        fits = os.name == "posix" and len(os.fsencode(place)) < 90
        yield Config({"KernelManager": {"transport": "ipc", "ip": place} if fits else {}})


@contextmanager
def _announced(spec: RunSpec, building: Path, run_id: str) -> Iterator[None]:
    """Let the kernel know which run it serves, by its environment."""
    names = {
        "WORKBENCH_RUN_DIR": str(building),
        "WORKBENCH_RUN_ID": run_id,
        "WORKBENCH_NOTEBOOK": spec.name,
    }
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _without_marks(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what papermill adds for its own viewers: error banners and temporary paths."""
    notebook.cells = [
        cell for cell in notebook.cells if ERROR_MARK not in cell.metadata.get("tags", [])
    ]
    for key in ("input_path", "output_path"):
        notebook.metadata.get("papermill", {}).pop(key, None)
    return notebook


def _outcome(
    spec: RunSpec,
    notebook: nbformat.NotebookNode,
    failure: str | None,
    run_id: str,
    started: dt.datetime,
    runs: Path,
) -> Outcome:
    finished = dt.datetime.now(dt.UTC)
    previous = outcome.last_success(runs)
    run = outcome.told(notebook, previous)
    if failure is not None and run["error"] is None:
        run["error"] = {"cell": None, "name": "", "message": failure, "traceback": ""}
    return Outcome(
        **run,
        run_id=run_id,
        notebook=spec.notebook.name,
        name=spec.name,
        parameters=spec.parameters,
        compared_to=previous
        and {
            "run_id": previous.get("run_id"),
            "same_parameters": previous.get("parameters") == spec.parameters,
        },
        status="error" if run["error"] else "passed",
        started=started.isoformat(timespec="seconds"),
        finished=finished.isoformat(timespec="seconds"),
        duration=round((finished - started).total_seconds(), 3),
        cell_durations=[
            cell.metadata.get("papermill", {}).get("duration") for cell in notebook.cells
        ],
        peak_memory=_peak_memory(),
        git=outcome.git_state(spec.notebook.parent),
    )


def _peak_memory() -> int | None:
    """Return the largest resident size any child reached, in bytes: the kernel, in a single run."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _point_latest(runs: Path, run_id: str) -> None:
    """Move `latest` to this run in one step, so that it never points nowhere."""
    fresh = runs / f".latest.{run_id}"
    try:
        fresh.symlink_to(run_id, target_is_directory=True)
        fresh.replace(runs / "latest")
    except OSError:
        # Windows without the right to make links: the index still leads to every run.
        fresh.unlink(missing_ok=True)
