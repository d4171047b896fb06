"""A notebook's typed parameters cell, read without running it, and values checked against it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Optional

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from workbench.errors import UsageError, nearest

TAG = "parameters"
# What papermill can write into a notebook as Python; a date is given as text.
TYPES = {
    "str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict,
    "None": None, "Any": Any, "Literal": Literal, "Optional": Optional,
}  # fmt: skip
SECRET_WORDS = {
    "password", "passwd", "pwd", "passphrase", "token", "secret", "secrets", "credential",
    "credentials", "apikey",
}  # fmt: skip
_UNKNOWN = object()


@dataclass(frozen=True)
class Parameter:
    """One line of the parameters cell: `name: annotation = default  # comment`."""

    name: str
    annotation: str
    default: Any
    comment: str

    def check(self, value: Any) -> Any:
        """Return the value in the declared type; raises UsageError naming what was expected."""
        try:
            # JSON, because run.json will hold it, and papermill could not write more.
            if json.loads(json.dumps(value, allow_nan=False)) != value:
                raise ValueError  # a number as the key of a dict would become a text
            return self._adapter().validate_python(value, strict=True)
        except (ValidationError, TypeError, ValueError):
            raise UsageError(
                f"Parameter {self.name} expects {self.annotation}, not "
                f"{value!r} ({type(value).__name__})."
            ) from None

    def parse(self, text: str) -> Any:
        """Read a value from the command line: as YAML where that fits, else as the text it is."""
        for read in (json.loads, yaml.safe_load, str):
            try:
                value = read(text)
            except (ValueError, yaml.YAMLError):
                continue
            if not isinstance(value, str) or read is str:
                try:
                    return self.check(value)
                except UsageError:
                    continue
        return self.check(text)

    def _adapter(self) -> TypeAdapter[Any]:
        try:
            kind = eval(self.annotation, {"__builtins__": {}}, dict(TYPES))  # noqa: S307
            config = ConfigDict(hide_input_in_errors=True)
            return TypeAdapter(kind, config=config)
        except Exception:
            raise UsageError(
                f"Parameter {self.name} is annotated {self.annotation!r}, which cannot be checked.",
                f"Annotations are made of {', '.join(sorted(TYPES))}.",
            ) from None


def read_parameters(cells: Sequence[Mapping[str, Any]]) -> list[Parameter]:
    """Read the cell tagged `parameters`; an empty list where there is none.

    Raises UsageError when the cell is not Python. (papermill's own inspection drops annotations
    such as `str | None` and `Literal[...]`.)
    """
    for cell in cells:
        if cell["cell_type"] == "code" and TAG in cell.get("metadata", {}).get("tags", []):
            source = "".join(cell["source"])
            try:
                tree = ast.parse(source)
            except SyntaxError as error:
                raise UsageError(
                    f"The parameters cell is not Python: {error.msg} (line {error.lineno})."
                ) from None
            lines = source.splitlines()
            return [p for node in tree.body if (p := _parameter(node, lines)) is not None]
    return []


def _parameter(node: ast.stmt, lines: list[str]) -> Parameter | None:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        name, annotation = node.target.id, ast.unparse(node.annotation)
        value = node.value
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name, annotation, value = node.targets[0].id, "", node.value
    else:
        return None
    default = _literal(value)
    if not annotation:
        annotation = "Any" if default in (None, _UNKNOWN) else type(default).__name__
    last = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset or 0 :].decode()
    comment = last.partition("#")[2].strip()
    return Parameter(name, annotation, None if default is _UNKNOWN else default, comment)


def _literal(node: ast.expr | None) -> Any:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return _UNKNOWN


def check_parameters(
    declared: Sequence[Parameter], values: Mapping[str, Any], texts: Mapping[str, str]
) -> dict[str, Any]:
    """Check values from a file and texts from the command line against the declared parameters.

    Returns the given ones in their declared types. Raises UsageError for an unknown name, listing
    what exists, and for a value of the wrong type or out of the documented choices.
    """
    known = {parameter.name: parameter for parameter in declared}
    for name in (*known, *values, *texts):
        refuse_secret(str(name))
    for name in (*values, *texts):
        if name not in known:
            raise _unknown(str(name), known)
    checked = {name: known[name].check(value) for name, value in values.items()}
    checked.update({name: known[name].parse(text) for name, text in texts.items()})
    return checked


def refuse_secret(name: str) -> None:
    """Raise UsageError for a parameter that, by its name, would carry a secret into a notebook."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_")
    if SECRET_WORDS & set(words) or words[-1] == "key":
        raise UsageError(
            f"Parameter {name} looks like a secret, and parameters are saved with the run.",
            "Name a source of workbench.toml instead: its credentials are found by reference. "
            "(If it is no secret, give it another name.)",
        )


def _unknown(name: str, known: Mapping[str, Parameter]) -> UsageError:
    if not known:
        return UsageError(f"Unknown parameter {name!r}: the notebook takes no parameters.")
    listing = "\n".join(
        f"  {p.name}: {p.annotation} = {p.default!r}" + (f"  # {p.comment}" if p.comment else "")
        for p in known.values()
    )
    return UsageError(
        f"Unknown parameter {name!r}.{nearest(name, known)}", f"The notebook takes:\n{listing}"
    )
