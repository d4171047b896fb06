"""An executed notebook and its run.json as one HTML file that loads and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from workbench.reporting import outputs, text
from workbench.reporting.sanitise import Outline, markdown

_HIDDEN = {"remove-cell", "remove_cell", "papermill-error-cell-tag"}
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS = (
    *(text.moment, text.duration, text.size, text.number, text.change, text.parameter),
    *(text.verdict_of, outputs.block),
)
_TEMPLATES.filters.update({function.__name__: function for function in _FILTERS})
_TO_THE_END = ("passed", "warned")


def page(template: str, **values: Any) -> str:
    """Return a page made from one of our templates, every value escaped and inert."""
    # Also here, because character references inside foreign HTML were resolved since.
    return text.inert(_TEMPLATES.get_template(template).render(values)).replace("\r", "\n")


def render(notebook: nbformat.NotebookNode, run: Mapping[str, Any]) -> str:
    """Return the report of a run as one self-contained HTML page.

    notebook: as executed, left unchanged; run: the content of run.json, any key may be missing.
    """
    run, cells = text.checked(run), text.inert_tree(notebook)["cells"]
    ended = run.get("status") in _TO_THE_END
    failed = None if ended else _code_cell(run["error"].get("cell"), cells)
    outline = Outline(anchors={"top", "main", "provenance", "contents", "banner"})
    parts = [_part(index, cell, outline, index == failed) for index, cell in enumerate(cells)]
    chosen = run["compared_to"].get("chosen") is True
    return page(
        "report.html.j2",
        run=run,
        failed=failed,
        parts=parts,
        outline=outline,
        told=list(_told(run, parts)),
        missing=_missing(run, parts),
        since=f"run {run['compared_to'].get('run_id')}" if chosen else "last run",
    )


def _code_cell(index: Any, cells: Sequence[Mapping[str, Any]]) -> int | None:
    inside = type(index) is int and 0 <= index < len(cells)
    return index if inside and cells[index].get("cell_type") == "code" else None


def _told(
    run: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[text.Verdict, Markup]]:
    """Yield what the banner lists: broken critical checks where they decided, then warnings."""
    broken = [check for check in run["validations"] if check.get("passed") is not True]
    minor = [check for check in broken if check.get("severity") == "warning"]
    decisive = [check for check in broken if check not in minor]
    for check in (*(decisive if run.get("status") == "data-failed" else ()), *minor):
        message = Markup(": <bdi>{}</bdi>").format(check["message"]) if check.get("message") else ""
        name = Markup("<strong><bdi>{}</bdi></strong>").format(check.get("name") or "A check")
        yield text.verdict_of(check), name + message
    seen = {p["number"] for p in parts if p["kind"] == "code" and (p["source"] or p["body"])}
    for warning in run["warnings"]:
        message, at = Markup("<bdi>{}</bdi>"), warning.get("cell")
        if type(at) is int and at + 1 in seen:
            message += Markup(' (<a href="#cell-{0}">cell {0}</a>)').format(at + 1)
        yield text.WARNING, message.format(warning.get("message") or "no message")


def _missing(run: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    if any(part["state"] == "not-run" for part in parts):
        return "Cells marked as not run never started, so this page is incomplete."
    stopped = run.get("status") in ("error", "timeout", "kernel-died", "cancelled")
    return "This page may be incomplete." if stopped else ""


def _part(index: int, cell: Mapping[str, Any], outline: Outline, failed: bool) -> dict[str, Any]:
    """Return one cell as the template shows it; the one that failed is never hidden."""
    # Reserved before any heading of the same spelling can take it.
    outline.anchors.add(f"cell-{index + 1}")
    kind, source = cell["cell_type"], outputs.text_of(cell.get("source"))
    part = {"number": index + 1, "kind": kind, "source": source.rstrip(), "body": "", "state": ""}
    try:
        tags = set() if failed else set(cell["metadata"].get("tags") or [])
        if tags & _HIDDEN:
            return {**part, "kind": "hidden"}
        if "remove-input" in tags:
            part["source"] = ""
        if failed:
            part["state"] = "failed"
        elif kind == "code" and source.strip() and cell.get("execution_count") is None:
            # Papermill calls every cell "completed" in the end: only a kernel's count is a proof.
            part["state"] = "not-run"
        if kind == "markdown":
            part["body"] = markdown(source, outline, cell.get("attachments"))
        elif kind == "code" and "remove-output" not in tags:
            part["body"] = outputs.shown(cell.get("outputs") or [], outline)
        elif kind != "code":
            part["body"] = outputs.block(source)
    except Exception as error:
        # The report is written whatever happens: one odd cell must not cost all the others.
        part["body"] = outputs.note(f"cell could not be shown: {type(error).__name__}: {error}")
    return part
