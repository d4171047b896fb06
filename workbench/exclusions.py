"""Exclusion rules: which rows a desk leaves out of its ranking, as files of named conditions.

docs/rules.md describes the files and what each condition means.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, Field, PrivateAttr, ValidationError
from sqlalchemy.sql import ColumnElement

from workbench import conditions
from workbench.conditions import Condition, Group, When
from workbench.errors import UsageError, nearest

__all__ = ["Condition", "Group", "Rule", "condition", "read_rules", "sentence"]

SUFFIXES = (".yaml", ".yml", ".json")
# What systems note beside a rule, and no rule depends on.
METADATA = ("id", "description", "version", "created_at", "created_by", "updated_at", "updated_by")


class Rule(conditions.Part):
    """A named rule: rows that meet its conditions are removed."""

    name: str = Field(min_length=1, description="Told beside the rows it removes")
    about: str = Field("", description="Why the desk wants it")
    active: bool = Field(True, description="false: kept in the file, and not applied")
    when: When = Field(description="Conditions that must all hold, or one group")
    _place: str = PrivateAttr("")

    @property
    def label(self) -> str:
        """The rule with the file it is from, as errors name it."""
        return f"{self._place}{', ' if self._place else ''}rule {self.name!r}"


class RuleFile(conditions.Part):
    """A file of exclusion rules."""

    rules: tuple[Rule, ...] = Field(min_length=1)


def read_rules(names: Iterable[str | Path]) -> tuple[Rule, ...]:
    """Read rules, inactive ones too: names of files in the `rules` folder, or paths.

    A file that is named twice, as by a preset and by its path, is read once. A path to a .json
    file may hold a flat list of conditions, as other systems keep them. Raises UsageError naming
    the file, and the line, rule, column and key as far as there are any.
    """
    rules: dict[str, Rule] = {}
    paths: dict[Path, Path] = {}
    for name in [names] if isinstance(names, str | Path) else names:
        path = find("rules", name, SUFFIXES)
        paths.setdefault(path.resolve(), path)
    for path in paths.values():
        content = read_content(path)
        if path.suffix.lower() == ".json":
            content = _nested(content, path)
        for rule in validated(RuleFile, content, path).rules:
            rule._place = str(path)
            if other := rules.get(rule.name):
                both = path if other._place == str(path) else f"{other._place} and {path}"
                said = f"There are two rules {rule.name!r} in {both}."
                raise UsageError(said, "Give one of them another name, or take it out.")
            rules[rule.name] = rule
    return tuple(rules.values())


def condition(
    what: Rule | Group | Condition, columns: Mapping[str, ColumnElement[Any]], owner: str = ""
) -> ColumnElement[bool]:
    """Compile a rule or a group over `columns`, by upper-case names: true or false, never null.

    Raises UsageError, beginning with `owner` or else the rule's label, for an unknown column and
    for an operator or a value that the column's type does not take.
    """
    if isinstance(what, Rule):
        return conditions.compiled(what.when, columns, owner or what.label)
    return conditions.compiled(what, columns, owner or "A condition")


def sentence(what: Rule | Group | Condition) -> str:
    """Say in English which rows are met: BIAS is VALUATION and (PX is less than 10 or ...)."""
    return conditions.sentence(what.when if isinstance(what, Rule) else what)


def find(folder: str, name: str | Path, suffixes: tuple[str, ...]) -> Path:
    """Find a file by its stem in a folder of the settings, or by its path; raises UsageError."""
    from workbench.settings import load_settings, project_folder

    inside = project_folder() / getattr(load_settings(), folder)
    path = Path(name).expanduser()
    if path.suffix.lower() in suffixes or len(path.parts) > 1:
        places = [path]
    else:
        places = [inside / f"{name}{suffix}" for suffix in suffixes]
    if found := next((place for place in places if place.is_file()), None):
        return found
    known = sorted({each.stem for each in inside.glob("*") if each.suffix.lower() in suffixes})
    what = "preset" if folder == "presets" else "rules"
    raise UsageError(
        f"Unknown {what} {str(name)!r}.{nearest(path.stem, known)}",
        f"In {inside}: {', '.join(known) or 'none'}. A path to a file serves too.",
    )


class _Lines(dict[str, Any]):
    """A mapping that knows in which line of its file it begins."""

    line = 0


class _Loader(yaml.SafeLoader):
    """Takes a text for what it says: 0712 and 1:30 are no numbers, NO is no false."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> _Lines:
    made = _Lines()
    made.line = node.start_mark.line + 1
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str) or key in made:
            problem = f"the key {key!r} is there twice" if key in made else "a key is no text"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
        made[key] = loader.construct_object(value_node, deep=True)
    return made


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    if not re.fullmatch(r"[+-]?((0|[1-9][0-9]*)([.][0-9]*)?|[.][0-9]+)", node.value):
        return node.value
    return Decimal(node.value) if "." in node.value else int(node.value)


def _yes_or_no(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    return {"true": True, "false": False}.get(node.value.lower(), node.value)


def _day(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return node.value


_YAML = "tag:yaml.org,2002:"
_Loader.add_constructor(f"{_YAML}map", _mapping)
_Loader.add_constructor(f"{_YAML}int", _number)
_Loader.add_constructor(f"{_YAML}float", _number)
_Loader.add_constructor(f"{_YAML}bool", _yes_or_no)
_Loader.add_constructor(f"{_YAML}timestamp", _day)
_Loader.add_constructor(f"{_YAML}value", lambda _, node: node.value)  # a bare =


def read_content(path: Path) -> Any:
    """Read a YAML or JSON file with its numbers exact; raises UsageError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(
                text, object_pairs_hook=_object, parse_float=Decimal, parse_constant=_no_number
            )
        return yaml.load(text, _Loader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it holds what YAML does not allow"
        hint = "Operators such as >= and != are written in quotes." if "token" in problem else None
        raise UsageError(f"{path}{where}: this cannot be read: {problem}.", hint) from None
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        raise UsageError(f"{place}: this is not JSON: {error.msg}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from None
    except RecursionError:
        raise UsageError(f"{path} is nested too deep to be read.") from None
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"the key {twice[0]!r} is there twice")
    return dict(pairs)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], content: Any, path: Path) -> Model:
    """Make a model of a file's content; raises UsageError saying what is wrong, and where."""
    try:
        if not isinstance(content, Mapping):
            keys = ", ".join(f"{name}:" for name in model.model_fields)
            raise UsageError(f"{path} holds no `name: value` lines.", f"It takes {keys}.")
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    except RecursionError:
        raise UsageError(f"{path} is nested too deep to be read.") from None
    here, places = content, {"file": str(path)}
    for part in (*first["loc"], None):
        if isinstance(here, Mapping):
            places |= {"line": f"line {here.line}"} if isinstance(here, _Lines) else {}
            names = {"name": "rule", "column": "column"}
            places |= {key: f"{word} {here[key]!r}" for key, word in names.items() if key in here}
        with suppress(LookupError, TypeError):
            here = here[part]
    last = str(first["loc"][-1]) if first["loc"] else ""
    known = {*model.model_fields, *Rule.model_fields, *Condition.model_fields, *Group.model_fields}
    said = {
        "extra_forbidden": f"unknown key {last!r}.{nearest(last, known)}",
        "missing": f"{last!r} is missing",
        "too_short": f"{last!r} is empty",
        "model_type": "a condition is {column: …, operator: …, value: …}, and this is none",
        "recursion_loop": "it is nested too deep",
        "value_error": first["msg"].removeprefix("Value error, "),
    }.get(first["type"], f"{last!r} is wrong: {first['msg']}")
    raise UsageError(f"{', '.join(places.values())}: {said.removesuffix('.')}.")


def _nested(content: Any, path: Path) -> Any:
    """Turn flat lists of conditions, which are read from left to right, into nested groups."""
    if not (isinstance(content, Mapping) and isinstance(content.get("rules"), list)):
        return content
    rules = [_nested_rule(rule, f"{path}, rule {n}") for n, rule in enumerate(content["rules"], 1)]
    return {**_without(content, METADATA), "rules": rules}


def _nested_rule(rule: Any, place: str) -> Any:
    if not (isinstance(rule, Mapping) and "conditions" in rule):
        return rule
    place += f", name {rule.get('name')!r}"
    given = rule["conditions"]
    if not (isinstance(given, list) and given and all(isinstance(each, Mapping) for each in given)):
        raise UsageError(f"{place}: `conditions` is no list of conditions, or an empty one.")
    tree: dict[str, Any] = {}
    for number, each in enumerate(given):
        kind = str(each.get("type") or ("" if number else "where")).strip().lower()
        if kind not in (("and", "or") if number else ("where",)):
            said = f"{place}: condition {number + 1} is of the type {each.get('type')!r}."
            raise UsageError(said, "The first is `where`, and each other one `and` or `or`.")
        one, join = _plain(_without(each, ("type", *METADATA))), "any" if kind == "or" else "all"
        tree = {join: [*tree.get(join, [tree]), one]} if tree else one
    whole = tree if {"any", "all"} & set(tree) else [tree]
    active = {"active": rule["is_active"]} if "is_active" in rule else {}
    about = {"about": rule["description"]} if rule.get("description") else {}
    rest = _without(rule, ("is_active", "conditions", *METADATA))
    return {**rest, **about, **active, "when": whole}


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """Drop the empty values that go unused, and divide a list kept as one text."""
    operator = conditions.operator_of(one.get("operator"))
    unused = {"between": (), "is null": ("value", "value2"), "is not null": ("value", "value2")}
    for key in unused.get(str(operator), ("value2",)):
        if one.get(key) in (None, ""):
            one.pop(key, None)
    if operator == "in" and isinstance(one.get("value"), str):
        one["value"] = [text.strip() for text in one["value"].split(",")]
    return one


def _without(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in names}


class _Dumper(yaml.SafeDumper):
    """Writes decimals digit by digit."""


def _decimal(dumper: yaml.SafeDumper, number: Decimal) -> yaml.ScalarNode:
    text = f"{number:f}"
    return dumper.represent_scalar(f"{_YAML}{'float' if '.' in text else 'int'}", text)


_Dumper.add_representer(Decimal, _decimal)


def dumped(rules: Iterable[Rule], path: Path) -> str:
    """Write rules as the YAML of a file at `path`, which says where its schema is."""
    from workbench.settings import project_folder

    schema = project_folder() / "docs" / "rules.schema.json"
    content = {"rules": [rule.model_dump(exclude_defaults=True) for rule in rules]}
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    place = os.path.relpath(schema, path.absolute().parent) if schema.exists() else None
    return (f"# yaml-language-server: $schema={place}\n" if place else "") + text
