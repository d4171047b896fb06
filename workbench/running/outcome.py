"""What came of a run: run.json, its statuses and their exit codes."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

from workbench import records

SCHEMA_VERSION = 1
GOOD = ("passed", "warned")
EXIT_CODES = {
    "passed": 0, "warned": 0, "error": 1, "data-failed": 3, "timeout": 4, "kernel-died": 5,
    "cancelled": 130,
}  # fmt: skip
WORST_FIRST = (130, 1, 5, 4, 3, 0)
SKIPPED = "skip-execution"  # nbclient's tag for a cell that is not to be run
ALLOWED_TO_FAIL = "raises-exception"  # nbclient's tag for a cell whose error is meant to be seen
REFUSED_DATA = "ValidationFailed"  # what validate(on_failure="raise") stops a notebook with


@dataclass(frozen=True)
class Outcome:
    """The content of run.json; times are ISO 8601 in UTC, durations in seconds."""

    run_id: str
    notebook: str
    name: str
    title: str
    parameters: Mapping[str, Any]
    status: str
    error: Mapping[str, Any] | None
    warnings: list[dict[str, Any]]
    validations: list[dict[str, Any]]
    figures: list[dict[str, Any]]
    compared_to: Mapping[str, Any] | None
    as_of: str | None
    sources: list[dict[str, Any]]
    started: str
    finished: str
    duration: float
    cell_durations: list[float | None]
    peak_memory: int | None
    git: Mapping[str, Any] | None
    schema_version: int = SCHEMA_VERSION
    versions: Mapping[str, str] = field(default_factory=lambda: versions())
    host: str = field(default_factory=platform.node)

    @property
    def exit_code(self) -> int:
        """The exit code of the command that ran it."""
        return EXIT_CODES[self.status]

    def to_dict(self) -> dict[str, Any]:
        """Return run.json's content, schema version first."""
        content = asdict(self)
        return {"schema_version": content.pop("schema_version"), **content}

    def to_json(self) -> str:
        """Return run.json's text."""
        return written(self.to_dict())


def written(content: Any) -> str:
    """Return the JSON text of run.json, or of several."""
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def worst(exit_codes: Iterable[int]) -> int:
    """Return the exit code that stands for several runs; 0 for none."""
    return min(exit_codes, key=WORST_FIRST.index, default=0)


def versions() -> dict[str, str]:
    """Say what made this run: the package, Python and the tools that shape its results."""
    packages = "workbench papermill polars duckdb sqlalchemy great_expectations".split()
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that `folder` is at and whether it has changes; None outside git."""

    def ask(*words: str) -> str:
        # A hook's own GIT_DIR would answer for another repository.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(  # noqa: S603
            ["git", *words], cwd=folder, env=environment, capture_output=True, text=True,
            check=True, timeout=10, start_new_session=True,
        ).stdout.strip()  # fmt: skip

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def told(
    notebook: nbformat.NotebookNode, previous: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Collect what an executed notebook tells of itself: status, title, error, figures and more.

    Each figure comes with its value in the `previous` run, the content of a run.json. The status
    is None where a cell has not run and nothing says why.
    """
    before = {str(f.get("name")): f.get("value") for f in (previous or {}).get("figures", [])}
    # A cell that is run again, or a loop, states a figure twice: the last word counts.
    figures = {f.get("name"): f for _, f in _stated(notebook, records.FIGURE)}
    sources = {source.get("name"): source for _, source in _stated(notebook, records.SOURCE)}
    # Of several verdicts of one name, in a loop say, the worst counts.
    checks: dict[Any, dict[str, Any]] = {}
    for _, check in _stated(notebook, records.VALIDATION):
        name = str(check.get("name"))
        if name not in checks or _badness(check) >= _badness(checks[name]):
            checks[name] = check
    days = _stated(notebook, records.AS_OF)
    headings = (
        line[2:].strip()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )
    run = {
        "title": next(headings, ""),
        "error": _error(notebook),
        "warnings": _warnings(notebook),
        "validations": list(checks.values()),
        "figures": [{**f, "previous": before.get(str(name))} for name, f in figures.items()],
        "as_of": days[-1][1].get("value") if days else None,
        "sources": list(sources.values()),
    }
    return {**run, "status": _status(notebook, run)}


def _badness(check: Mapping[str, Any]) -> int:
    return 0 if check.get("passed") else 1 if check.get("severity") == "warning" else 2


def stop(notebook: nbformat.NotebookNode, status: str, message: str, cell: int | None) -> None:
    """Note in the notebook itself why its execution ended early: no output tells of that."""
    notebook.metadata["workbench"] = {"status": status, "message": message, "cell": cell}


def has_run(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell has nothing left to run."""
    skipped = SKIPPED in cell.metadata.get("tags", [])
    code = cell.cell_type == "code" and bool(cell.source.strip()) and not skipped
    return not code or cell.execution_count is not None


def _status(notebook: nbformat.NotebookNode, run: Mapping[str, Any]) -> str | None:
    if stopped := notebook.metadata.get("workbench", {}).get("status"):
        return str(stopped)
    if run["error"]:
        return "data-failed" if run["error"]["name"] == REFUSED_DATA else "error"
    if not all(map(has_run, notebook.cells)) and not _ended(notebook):
        return None
    broken = {check.get("severity") for check in run["validations"] if not check.get("passed")}
    if broken - {"warning"}:
        return "data-failed"
    return "warned" if broken or run["warnings"] else "passed"


def _stated(notebook: nbformat.NotebookNode, mime: str) -> list[tuple[int, dict[str, Any]]]:
    found = (
        (index, output["data"][mime])
        for index, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", [])
        if mime in (output.get("data") or {})
    )
    return [
        (index, dict(content))
        for index, content in found
        if isinstance(content, Mapping) and isinstance(content.get("name", ""), str)
    ]


def _warnings(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    said = [{"cell": i, **content} for i, content in _stated(notebook, records.WARNING)]
    for index, _ in _ended(notebook):
        message = "The notebook ended itself here (sys.exit), so what follows was not run."
        said.append({"cell": index, "message": message})
    return said


def _raised(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, nbformat.NotebookNode]]:
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            allowed = ALLOWED_TO_FAIL in cell.metadata.get("tags", [])
            if output.output_type == "error" and not allowed:
                yield index, output


def _ended(notebook: nbformat.NotebookNode) -> list[tuple[int, nbformat.NotebookNode]]:
    """Return the cells in which the notebook itself asked for a good end, as papermill has it."""
    return [
        (index, output)
        for index, output in _raised(notebook)
        if output.ename == "SystemExit" and output.evalue in ("", "0", "None")
    ]


def _error(notebook: nbformat.NotebookNode) -> dict[str, Any] | None:
    good = _ended(notebook)
    raised = next((found for found in _raised(notebook) if found not in good), None)
    error = raised and {
        "cell": raised[0],
        "name": raised[1].ename,
        "message": raised[1].evalue,
        "traceback": "\n".join(raised[1].traceback),
    }
    if stopped := notebook.metadata.get("workbench", {}).get("message"):
        # The traceback shows where the interrupt met the cell; the name would only confuse.
        traceback = error["traceback"] if error else ""
        cell = notebook.metadata["workbench"].get("cell")
        return {"cell": cell, "name": "", "message": stopped, "traceback": traceback}
    return error


def compared(runs: Path, run_id: str | None = None) -> dict[str, Any] | None:
    """Return run.json of the run to compare with: `run_id`, or the newest good one in `runs`."""
    if run_id is not None and not re.fullmatch(r"\w[\w.-]*", run_id):
        return None  # an id, and no way to another name's runs
    folders = [runs / run_id] if run_id is not None else sorted(runs.glob("[!.]*/"), reverse=True)
    for folder in folders:
        if folder.is_symlink():
            continue
        try:
            content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        figures = content.get("figures", []) if isinstance(content, dict) else None
        if isinstance(figures, list) and (run_id is not None or content.get("status") in GOOD):
            return {**content, "figures": [f for f in figures if isinstance(f, dict)]}
    return None
