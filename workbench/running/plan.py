"""What is to be run: a notebook found by name, its parameters checked, as one `RunSpec`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat.warnings import MissingIDFieldWarning

from workbench.errors import UsageError, nearest
from workbench.running.outcome import compared
from workbench.running.parameters import check_parameters, read_parameters
from workbench.settings import load_settings, project_folder

LONGEST_NAME = 200  # bytes of a folder's name, of 255 that file systems take
# Notebooks of older formats are read as they are; their cells have no ids, and need none.
warnings.filterwarnings("ignore", category=MissingIDFieldWarning)


@dataclass(frozen=True)
class RunSpec:
    """One run, fully checked: nothing of it is looked up again once it starts."""

    notebook: Path
    name: str
    given: Mapping[str, Any]
    defaults: Mapping[str, Any]
    output: Path
    timeout: float | None = None
    cell_timeout: float | None = None
    compare_to: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter the notebook runs with, the given ones over its defaults."""
        return {**self.defaults, **self.given}


def plan_run(
    notebook: str,
    *,
    values: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    output: Path | None = None,
    name: str | None = None,
    timeout: float | None = None,
    cell_timeout: float | None = None,
    compare_to: str | None = None,
) -> RunSpec:
    """Find the notebook and check its parameters; raises UsageError before anything starts.

    Timeouts are in seconds, of the whole run and of each cell; `compare_to` is the id of an
    earlier run of the same name.
    """
    for seconds in (timeout, cell_timeout):
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(f"A timeout of {seconds} is no positive number of seconds.")
    path = find_notebook(notebook)
    declared = read_parameters(read_notebook(path).cells)
    spec = RunSpec(
        notebook=path,
        name=folder_name(name or path.stem),
        given=check_parameters(declared, values or {}, texts or {}),
        defaults={parameter.name: _plain(parameter.default) for parameter in declared},
        output=(output or reports_folder()).absolute(),
        timeout=timeout,
        cell_timeout=cell_timeout,
        compare_to=compare_to,
    )
    if compare_to is not None and compared(spec.output / spec.name, compare_to) is None:
        raise UsageError(f"There is no run {compare_to!r} of {spec.name} in {spec.output}.")
    return spec


def find_notebook(name: str) -> Path:
    """Find a notebook by its stem in the notebooks folder, or by a path."""
    folder = project_folder() / load_settings().notebooks
    path = Path(name).expanduser()
    if path.suffix == ".ipynb" and path.is_file():
        return path.absolute()
    inside = folder / f"{name.removesuffix('.ipynb')}.ipynb"
    if path.name == name and inside.is_file():
        return inside
    if path.exists():
        kind = "a directory" if path.is_dir() else "not a notebook (.ipynb)"
        raise UsageError(f"{name} is {kind}.")
    known = sorted(found.stem for found in folder.glob("*.ipynb"))
    raise UsageError(
        f"Unknown notebook {name!r}.{nearest(path.stem, known)}",
        f"Notebooks in {folder}: {', '.join(known) or 'none'}. A path to an .ipynb serves too.",
    )


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook file; raises UsageError when it is not one."""
    try:
        notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError):
        raise UsageError(f"{path} is not a Jupyter notebook.") from None
    return notebook


def read_values(path: Path, what: str = "parameter file") -> dict[str, Any]:
    """Read a YAML file of `name: value` lines; raises UsageError naming the file and the line."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"The {what} {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {what} {path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise UsageError(f"The {what} {path} is not YAML{where}: {problem}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"The {what} {path} holds no `name: value` lines.")
    return {str(name): value for name, value in content.items()}


def reports_folder() -> Path:
    """Return the folder that runs are written to unless told otherwise."""
    return project_folder() / load_settings().reports


def _plain(default: Any) -> Any:
    """Return a default as run.json will hold it, so that runs can be compared."""
    try:
        return json.loads(json.dumps(default))
    except (TypeError, ValueError):
        return repr(default)


def folder_name(stem: str) -> str:
    """Return a name for a run's folder: nothing in it leads out of the root or hides it."""
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", stem).lstrip(".") or "notebook"
    octets = os.fsencode(name)
    if len(octets) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(octets).hexdigest()[:8]
    return f"{octets[: LONGEST_NAME - 9].decode(errors='ignore')}-{digest}"
