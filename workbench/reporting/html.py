"""An executed notebook and its run.json as one HTML file that loads and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import nbformat
from jinja2 import Environment
from markupsafe import Markup
from nbconvert.exporters.templateexporter import TemplateExporter

from workbench.reporting import outputs, text
from workbench.reporting.sanitise import Outline, markdown
from workbench.reporting.verdict import verdict

_TEMPLATES = Path(__file__).parent / "templates"
_PAPERMILL_NOTICE = "papermill-error-cell-tag"


def render(notebook: nbformat.NotebookNode, run: Mapping[str, Any]) -> str:
    """Return the report of a run as one self-contained HTML page.

    notebook: as executed, left unchanged; run: the content of run.json, any key may be missing.
    """
    view = _view(text.inert_tree(notebook), text.inert_tree(run))
    page, _ = _exporter().from_notebook_node(notebook, resources={"report": view})
    # Once more over the whole: character references inside foreign HTML were resolved since.
    return text.inert(page).replace("\r", "\n")


@dataclass(frozen=True)
class Cell:
    """One cell of the notebook, ready for the page."""

    number: int
    kind: str
    source: str
    body: Markup
    state: str = ""


class _ReportExporter(TemplateExporter):
    """nbconvert's exporter with our template, escaping every value by default."""

    def _create_environment(self) -> Environment:
        environment: Environment = super()._create_environment()  # type: ignore[no-untyped-call]
        environment.autoescape = True
        environment.globals["stylesheet"] = stylesheet()
        environment.filters.update(moment=text.moment, duration=text.duration, size=text.size)
        return environment


@cache
def _exporter() -> _ReportExporter:
    return _ReportExporter(  # type: ignore[no-untyped-call]
        template_name="report",
        extra_template_basedirs=[str(_TEMPLATES)],
        template_extension=".html.j2",
        file_extension=".html",
        default_preprocessors=[],
    )


@cache
def stylesheet() -> Markup:
    """Return the style sheet all pages share."""
    return Markup((_TEMPLATES / "report" / "report.css").read_text("utf-8"))  # noqa: S704


def _view(notebook: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    failed = _failing_cell(notebook, run)
    outline = Outline(anchors={"top", "main", "provenance", "contents"})
    cells = []
    for index, cell in enumerate(notebook.get("cells") or []):
        # Reserved before any heading of the same spelling can take it.
        outline.anchors.add(f"cell-{index + 1}")
        cells.append(_cell(index, cell, outline, failed))
    name = str(run.get("name") or PurePath(str(run.get("notebook") or "")).stem)
    title = outline.title or str(run.get("title") or name or "Report")
    return {
        "run": run,
        "title": title,
        "name": name if name != title else "",
        "verdict": verdict(run.get("status")),
        "error": run.get("error") if isinstance(run.get("error"), Mapping) else None,
        "traceback": _traceback(run),
        "failed": failed,
        "cells": cells,
        "headings": [heading for heading in outline.headings if heading.level <= 3],
        "figures": figures(run),
        "parameters": _pairs(run.get("parameters")),
        "versions": _pairs(run.get("versions")),
        "sources": [s for s in _list(run.get("sources")) if isinstance(s, Mapping)],
        "git": run.get("git") if isinstance(run.get("git"), Mapping) else None,
    }


def figures(run: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a run's figures as texts: name, value, unit and change since the last run."""
    return [
        {
            "name": str(figure.get("name", "")),
            "value": text.number(figure.get("value")),
            "unit": str(figure.get("unit") or ""),
            "change": text.change(figure.get("value"), figure.get("previous")),
        }
        for figure in _list(run.get("figures"))
        if isinstance(figure, Mapping)
    ]


def _traceback(run: Mapping[str, Any]) -> Markup:
    error = run.get("error")
    trace = error.get("traceback") if isinstance(error, Mapping) else None
    return outputs.block(
        "\n".join(map(str, trace)) if isinstance(trace, list) else str(trace or "")
    )


def _failing_cell(notebook: Mapping[str, Any], run: Mapping[str, Any]) -> int | None:
    error = run.get("error")
    index = error.get("cell") if isinstance(error, Mapping) else None
    count = len(notebook.get("cells") or [])
    return index if isinstance(index, int) and 0 <= index < count else None


def _cell(index: int, cell: Mapping[str, Any], outline: Outline, failed: int | None) -> Cell:
    metadata = cell.get("metadata") or {}
    tags = set(_list(metadata.get("tags"))) if index != failed else set()
    source = outputs.text_of(cell.get("source"))
    kind = str(cell.get("cell_type"))
    if tags & {"remove-cell", "remove_cell", _PAPERMILL_NOTICE}:
        return Cell(index + 1, "removed", "", Markup())
    body = Markup()
    try:
        if kind == "markdown":
            body = markdown(source, outline, cell.get("attachments"))
        elif kind == "code" and "remove-output" not in tags:
            body = outputs.shown(cell.get("outputs") or [], outline)
        elif kind != "code":
            body = outputs.block(source)
    except Exception as error:
        # The report is written whatever happens: one odd cell must not cost all the others.
        body = outputs.note(f"this cell could not be shown: {type(error).__name__}: {error}")
    state = "failed" if index == failed else "not-run" if _not_run(cell, source) else ""
    return Cell(index + 1, kind, "" if "remove-input" in tags else source.rstrip(), body, state)


def _not_run(cell: Mapping[str, Any], source: str) -> bool:
    if cell.get("cell_type") != "code" or not source.strip():
        return False
    papermill = (cell.get("metadata") or {}).get("papermill")
    status = papermill.get("status") if isinstance(papermill, Mapping) else None
    return cell.get("execution_count") is None and status != "completed"


def _pairs(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, Mapping):
        return []
    return [(name, text.parameter(item)) for name, item in value.items()]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
