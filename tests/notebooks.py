"""Small notebooks for tests, and what came of running them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup


def make_notebook(path: Path, *sources: str, parameters: str = "x: int = 1") -> Path:
    """A title, a parameters cell, then one cell for each source; a tag may lead it as `#tag:`."""
    cells = [nbformat.v4.new_markdown_cell("# A small notebook\n\nFor a test.")]
    cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for source in sources:
        tag, _, rest = source.removeprefix("#tag:").partition("\n")
        tags = {"tags": [tag]} if source.startswith("#tag:") else {}
        cells.append(nbformat.v4.new_code_cell(rest if tags else source, metadata=tags))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def runs_in(folder: Path) -> list[Path]:
    """The whole run folders of one name, oldest first."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())


def only_run(folder: Path) -> tuple[dict[str, Any], str, nbformat.NotebookNode]:
    """run.json, the report's text and the executed notebook of the only run of one name."""
    [run] = runs_in(folder)
    return (
        json.loads((run / "run.json").read_text(encoding="utf-8")),
        (run / "report.html").read_text(encoding="utf-8"),
        nbformat.read(run / "notebook.ipynb", as_version=4),
    )


def page_of(folder: Path) -> BeautifulSoup:
    """The report of a run folder."""
    return BeautifulSoup((folder / "report.html").read_text("utf-8"), "html.parser")


def table_in(page: BeautifulSoup, caption: str) -> list[list[str]]:
    """The texts of the body of the only table with such a caption."""
    [found] = [t for t in page("table") if t.caption and caption in t.caption.get_text()]
    rows = found.select("tbody tr")
    return [[td.get_text(" ", strip=True) for td in row(["th", "td"])] for row in rows]
