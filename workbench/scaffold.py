"""A new notebook and what belongs to it: parameters, a suite of expectations, a test."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import nbformat
import yaml
from nbformat.v4 import new_markdown_cell, upgrade

from workbench.errors import UsageError
from workbench.running.parameters import TAG, Parameter, read_parameters
from workbench.running.plan import find_notebook, read_notebook
from workbench.settings import (
    CONFIG_NAME,
    Settings,
    config_path,
    load_settings,
    project_folder,
)

STARTER = Path(__file__).with_name("starter")
# A code block, which is passed over whole, or a title in either of Markdown's spellings.
TITLE = re.compile(
    r"""^[ ]{0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*(?:\n.*)*?
            (?:\n[ ]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)
      | (?P<title>^\#[ ].* | (?:^[ ]{0,3}(?!\#|>|```|~~~|[-*+][ ])\S.*\n)+=+[ \t]*$)""",
    re.MULTILINE | re.VERBOSE,
)
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}  # of exFAT, shared folders
UNCOMPARED = "nbval-ignore-output"  # nbval runs the cell, and takes whatever comes out of it


def start(
    name: str, *, template: str | None = None, source: str | None = None, table: str | None = None
) -> list[Path]:
    """Write a notebook called `name` with its suite, parameters and test; return the files.

    It starts as the notebook `template`, a name or a path, without its outputs; else as a report
    on one table. `source` and `table` become the defaults of the parameters so called, and a
    notebook that takes the name of a `suite` has one of its own, with one check that any table
    with rows meets. The files are written all or none. Raises UsageError for a name that is no
    Python name, for files that exist, an unknown template, and parameters that it has not.
    """
    if not (name.isascii() and name.isidentifier() and name.strip("_")):
        allowed = "letters from a to z, digits and _, and no digit comes first: credit_watch, say"
        raise UsageError(f"{name!r} is no name for a notebook.", f"Names are made of {allowed}.")
    if config_path() is None:
        raise UsageError(
            f"This is no project: there is no {CONFIG_NAME} here or in a folder above.",
            f"Go to the project's folder, or make one of this: an empty {CONFIG_NAME} will do.",
        )
    settings = load_settings()
    if source is not None:
        settings.source(source)
    origin = find_notebook(template) if template else STARTER / "report.ipynb"
    title = (words := name.strip("_").replace("_", " "))[0].upper() + words[1:]
    asked = {"source": source, "table": table}
    wanted = {key: value for key, value in asked.items() if value is not None}
    notebook, parameters = _begun(origin, title, wanted, {"suite": name})
    files = {
        project_folder() / path: text
        for path, text in _texts(name, title, settings, notebook, parameters).items()
    }
    _write(files)
    return [*files]


def _texts(
    name: str, title: str, settings: Settings, notebook: nbformat.NotebookNode,
    parameters: Sequence[Parameter],
) -> dict[Path, str]:  # fmt: skip
    """Return what the files hold, by their places in the project."""
    place, values = settings.notebooks / f"{name}.ipynb", Path("params", f"{name}.yaml")
    test = jinja2.Template(
        (STARTER / "test.py.j2").read_text(encoding="utf-8"), keep_trailing_newline=True
    )
    texts = {
        place: nbformat.writes(notebook) + "\n",
        values: _values(name, parameters),
        Path("tests", f"test_{name}.py"): test.render(
            title=title, notebook=place.as_posix(), values=values.as_posix()
        ),
    }
    if any((parameter.name, parameter.default) == ("suite", name) for parameter in parameters):
        texts[settings.expectations / f"{name}.json"] = _suite(name, parameters)
    return texts


def _begun(
    origin: Path, title: str, wanted: Mapping[str, str], usual: Mapping[str, str]
) -> tuple[nbformat.NotebookNode, list[Parameter]]:
    """Return the notebook at `origin` as a new one, and its parameters with their new defaults.

    `wanted` are defaults that it must have parameters for; `usual` go where they are taken.
    """
    found = read_notebook(origin)
    notebook = upgrade(found, from_minor=found.nbformat_minor)
    taken = {parameter.name: parameter for parameter in read_parameters(notebook.cells)}
    for key, value in wanted.items():
        if key not in taken:
            listed = ", ".join(taken) or "none"
            said = f"The notebook {origin.stem} takes no parameter {key!r}."
            raise UsageError(said, f"Its parameters: {listed}.")
        if not value.isprintable():
            raise UsageError(f"The {key} {value!r} holds what cannot be printed.")
        taken[key].check(value)
    defaults = {**wanted}
    for key in usual.keys() & taken.keys():
        with suppress(UsageError):
            defaults[key] = taken[key].check(usual[key])
    cells = [cell for cell in notebook.cells if "injected-parameters" not in _tags(cell)]
    for cell in cells:
        tags = _tags(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if TAG in tags:
                cell.source = _with_defaults(cell.source, defaults)
            elif UNCOMPARED not in tags:
                tags.append(UNCOMPARED)
        cell.metadata = {"tags": tags} if tags else {}
    notebook.cells = _titled(cells, title)
    known = ("kernelspec", "language_info")
    notebook.metadata = {key: notebook.metadata[key] for key in known if key in notebook.metadata}
    return notebook, read_parameters(notebook.cells)


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return [*cell["metadata"].get("tags", ())]


def _titled(cells: Sequence[nbformat.NotebookNode], title: str) -> list[nbformat.NotebookNode]:
    for cell in cells:
        for found in TITLE.finditer(cell.source if cell.cell_type == "markdown" else ""):
            if found["title"]:
                before, after = cell.source[: found.start()], cell.source[found.end() :]
                cell.source = f"{before}# {title}{after}"
                return [*cells]
    return [new_markdown_cell(f"# {title}"), *cells]


def _with_defaults(source: str, values: Mapping[str, str]) -> str:
    """Put other defaults into a parameters cell; all else stays as it is written."""
    text = source.encode()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in reversed(ast.parse(source).body):
        if isinstance(node, ast.AnnAssign):
            named: ast.expr = node.target
        elif isinstance(node, ast.Assign):
            named = node.targets[0]
        else:
            continue
        if isinstance(named, ast.Name) and named.id in values and (old := node.value):
            first = starts[old.lineno - 1] + old.col_offset
            last = starts[(old.end_lineno or 1) - 1] + (old.end_col_offset or 0)
            text = (
                text[:first]
                + json.dumps(values[named.id], ensure_ascii=False).encode()
                + text[last:]
            )
    return text.decode()


def _values(name: str, parameters: Sequence[Parameter]) -> str:
    lines = [f"# workbench run {name} -f params/{name}.yaml\n"]
    for parameter in parameters:
        if parameter.default is not None:  # or is no literal, and stays the notebook's affair
            about = f"# {parameter.comment}\n" if parameter.comment else ""
            value = yaml.safe_dump({parameter.name: parameter.default}, allow_unicode=True)
            lines.append(about + value)
    return "".join(lines)


def _suite(name: str, parameters: Sequence[Parameter]) -> str:
    defaults = (parameter.default for parameter in parameters if parameter.name == "table")
    table = next((it for it in defaults if it and isinstance(it, str)), "the table")
    check = {
        "type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1},
        "severity": "critical", "meta": {"sentence": "There are rows"},
    }  # fmt: skip
    content = {"name": name, "meta": {"about": f"What is promised of {table}."}}
    return json.dumps({**content, "expectations": [check]}, indent=2, ensure_ascii=False) + "\n"


def _write(files: Mapping[Path, str]) -> None:
    """Write all files or, whatever happens, none; raises UsageError for one that exists."""
    for path in files:
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already.", "Choose another name; nothing was written.")
    fresh = [folder for folder in {path.parent for path in files} if not folder.exists()]
    built: dict[Path, Path] = {}
    copied: list[Path] = []
    try:
        with ExitStack() as stack:
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                near = stack.enter_context(TemporaryDirectory(prefix=".new-", dir=path.parent))
                built[path] = Path(near, path.name)
                built[path].write_text(text, encoding="utf-8")
            try:
                for path, whole in built.items():
                    _place(whole, path, copied)
            except BaseException:
                for path, whole in built.items():
                    if path in copied or (path.exists() and path.samefile(whole)):
                        path.unlink()
                raise
    except BaseException:
        for folder in fresh:
            with suppress(OSError):
                folder.rmdir()
        raise


def _place(whole: Path, path: Path, copied: list[Path]) -> None:
    try:
        os.link(whole, path)  # unlike a rename, it replaces nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with path.open("xb") as file:
            copied.append(path)
            file.write(whole.read_bytes())
