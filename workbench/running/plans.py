"""A plan of many runs, read from YAML and checked as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from workbench.errors import UsageError, WorkbenchError, nearest
from workbench.running.parameters import read_parameters
from workbench.running.plan import (
    RunSpec,
    find_notebook,
    folder_name,
    plan_run,
    read_notebook,
    read_values,
)

_LIMITS = ("timeout", "cell_timeout")
_KEYS = {
    "plan": {"defaults", "runs"},
    "defaults": {"source", "parameters", *_LIMITS},
    "run": {"notebook", "name", "parameters", "matrix", *_LIMITS},
}


def read_plan(path: Path, *, only: Sequence[str] = (), output: Path | None = None) -> list[RunSpec]:
    """Read a plan; raises UsageError that lists everything wrong with it, before any run starts.

    A matrix makes one run for each combination of its values, which become part of its name.
    `only` picks entries by the name of their entry or of one run.
    """
    plan = read_values(path, "plan")
    _known_keys("plan", plan)
    defaults = _mapping(plan.get("defaults"), "defaults")
    _known_keys("defaults", defaults)
    entries = plan.get("runs")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"The plan {path} has no runs.", "It takes `runs:`, a list of notebooks.")
    specs: dict[str, list[RunSpec]] = {}
    problems = []
    for number, entry in enumerate(entries, 1):
        try:
            name, found = _entry(_mapping(entry, "entry"), defaults, output)
            specs.setdefault(name, []).extend(found)
        except WorkbenchError as error:
            problems.append(f"run {number}: {error.message}")
    everything = [spec for found in specs.values() for spec in found]
    names = [spec.name for spec in everything]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"two runs are called {name!r}: give them a `name:`" for name in twice]
    for name in only:
        if name not in {*specs, *names}:
            known = sorted({*specs, *names})
            problems.append(f"no run is called {name!r}.{nearest(name, known)}")
    if problems:
        listing = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"The plan {path} cannot be run:\n{listing}")
    return [
        spec
        for name, found in specs.items()
        for spec in found
        if not only or name in only or spec.name in only
    ]


def _entry(
    entry: Mapping[str, Any], defaults: Mapping[str, Any], output: Path | None
) -> tuple[str, list[RunSpec]]:
    """Return the name of one entry of a plan and its runs."""
    _known_keys("run", entry)
    notebook = entry.get("notebook")
    if not isinstance(notebook, str):
        raise UsageError("`notebook:` is missing, a name or a path.")
    path = find_notebook(notebook)
    name = str(entry.get("name") or path.stem)
    takes = {parameter.name for parameter in read_parameters(read_notebook(path).cells)}
    usual = _mapping(defaults.get("parameters"), "parameters")
    usual = {"source": defaults["source"], **usual} if "source" in defaults else usual
    # A default serves the notebooks that know it; what an entry says itself must be known.
    values = {key: value for key, value in usual.items() if key in takes}
    values |= _mapping(entry.get("parameters"), "parameters")
    limits = {**defaults, **entry}
    matrix = _mapping(entry.get("matrix"), "matrix")
    if wrong := [
        key for key, several in matrix.items() if not several or not isinstance(several, list)
    ]:
        raise UsageError(f"`matrix: {wrong[0]}:` takes a list of values.")
    return name, [
        plan_run(
            str(path),
            values=values | dict(zip(matrix, choice, strict=True)),
            output=output,
            name=_named(name, dict(zip(matrix, choice, strict=True))),
            timeout=_seconds(limits, "timeout"),
            cell_timeout=_seconds(limits, "cell_timeout"),
        )
        for choice in product(*matrix.values())
    ]


def _named(name: str, choice: Mapping[str, Any]) -> str:
    parts = [f"{key}={'none' if value is None else value}" for key, value in choice.items()]
    return folder_name("-".join([name, *parts]))


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"`{what}` holds no `name: value` lines.")
    return {str(key): item for key, item in (value or {}).items()}


def _known_keys(part: str, content: Mapping[str, Any]) -> None:
    if unknown := sorted(set(content) - _KEYS[part]):
        known = ", ".join(sorted(_KEYS[part]))
        raise UsageError(
            f"unknown key {unknown[0]!r} in {part}.{nearest(unknown[0], _KEYS[part])} "
            f"Known: {known}."
        )


def _seconds(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise UsageError(f"`{key}: {value}` is no positive number of seconds.")
    return float(value)
