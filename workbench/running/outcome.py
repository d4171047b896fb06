"""What came of a run: run.json, its statuses and their exit codes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

from workbench import records

SCHEMA_VERSION = 1
GOOD = ("passed", "warned")
EXIT_CODES = {"passed": 0, "warned": 0, "error": 1, "cancelled": 130}


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
    validations: list[dict[str, Any]] = field(default_factory=list)
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
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, default=str) + "\n"


def versions() -> dict[str, str]:
    """Say what made this run: the package, Python and the tools that shape its results."""
    packages = ("workbench", "papermill", "polars", "duckdb", "sqlalchemy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit that `folder` is at and whether it has changes; None outside git."""

    def ask(*words: str) -> str:
        # A hook's own GIT_DIR would answer for another repository.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return subprocess.run(  # noqa: S603
            ["git", *words], cwd=folder, env=environment, capture_output=True, text=True,
            check=True, timeout=10,
        ).stdout.strip()  # fmt: skip

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def told(
    notebook: nbformat.NotebookNode, previous: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Collect what an executed notebook tells of itself: title, error, figures, as-of, sources.

    Each figure comes with its value in the `previous` run, the content of a run.json.
    """
    before = {f.get("name"): f.get("value") for f in (previous or {}).get("figures", [])}
    # A cell that is run again, or a loop, states a figure twice: the last word counts.
    figures = {figure.get("name"): figure for figure in _stated(notebook, records.FIGURE)}
    sources = {source.get("name"): source for source in _stated(notebook, records.SOURCE)}
    days = _stated(notebook, records.AS_OF)
    headings = (
        line[2:].strip()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("# ")
    )
    return {
        "title": next(headings, ""),
        "error": _error(notebook),
        "figures": [{**f, "previous": before.get(name)} for name, f in figures.items()],
        "as_of": days[-1].get("value") if days else None,
        "sources": list(sources.values()),
    }


def _stated(notebook: nbformat.NotebookNode, mime: str) -> list[dict[str, Any]]:
    found = (
        output["data"][mime]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if mime in output.get("data", {})
    )
    return [dict(content) for content in found if isinstance(content, Mapping)]


def _error(notebook: nbformat.NotebookNode) -> dict[str, Any] | None:
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return {
                    "cell": index,
                    "name": output.ename,
                    "message": output.evalue,
                    "traceback": "\n".join(output.traceback),
                }
    return None


def last_success(folder: Path) -> dict[str, Any] | None:
    """Return run.json of the newest passed or warned run in `folder`; None where there is none."""
    for path in sorted(folder.glob("[!.]*/run.json"), key=lambda p: p.parent.name, reverse=True):
        if path.parent.is_symlink():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        figures = content.get("figures", []) if isinstance(content, dict) else None
        if isinstance(figures, list) and content.get("status") in GOOD:
            return {**content, "figures": [f for f in figures if isinstance(f, dict)]}
    return None
