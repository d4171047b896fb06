"""An executed notebook and its run.json as one HTML file that loads and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader

from workbench.reporting import outputs, text
from workbench.reporting.sanitise import Outline, markdown

_HIDDEN = {"remove-cell", "remove_cell", "papermill-error-cell-tag"}
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS = (text.moment, text.duration, text.size, text.number, text.change, text.parameter)
_TEMPLATES.filters.update({function.__name__: function for function in (*_FILTERS, outputs.block)})


def page(template: str, **values: Any) -> str:
    """Return a page made from one of our templates, every value escaped and inert."""
    # Also here, because character references inside foreign HTML were resolved since.
    return text.inert(_TEMPLATES.get_template(template).render(values)).replace("\r", "\n")


def render(notebook: nbformat.NotebookNode, run: Mapping[str, Any]) -> str:
    """Return the report of a run as one self-contained HTML page.

    notebook: as executed, left unchanged; run: the content of run.json, any key may be missing.
    """
    run, cells = text.checked(run), text.inert_tree(notebook)["cells"]
    failed = run["error"].get("cell")
    failed = failed if isinstance(failed, int) and 0 <= failed < len(cells) else None
    outline = Outline(anchors={"top", "main", "provenance", "contents", "banner"})
    parts = [_part(index, cell, outline, index == failed) for index, cell in enumerate(cells)]
    return page("report.html.j2", run=run, failed=failed, parts=parts, outline=outline)


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
            done = cell["metadata"].get("papermill", {}).get("status") == "completed"
            part["state"] = "" if done else "not-run"
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
