"""An expectation in plain English, made of its type and arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LISTED = 10  # values told of a list
LONGEST = 120  # characters told of one argument
TOLD = {
    "column", "column_A", "column_B", "column_list", "min_value", "max_value", "strict_min",
    "strict_max", "mostly", "row_condition", "condition_parser",
}  # fmt: skip
NAMED = ("column_index", "match_on")
COMPLETING = {"value", "threshold"}


def phrase(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Say in plain English what an expectation of type `kind` asks for; never raises.

    `expect_column_values_to_be_between` PX 10..110 is "PX: values are between 10 and 110". Types
    need not be known: their names follow a grammar, "expect SUBJECT to PREDICATE".
    """
    words = kind.removeprefix("expect_").removesuffix("_expectation")
    subject, _, predicate = words.partition("_to_")
    predicate = predicate.replace("_", " ")
    label = kwargs.get("column") or kwargs.get("column_list")
    if subject.startswith("column_pair_"):
        first, second = kwargs.get("column_A"), kwargs.get("column_B")
        label = first if predicate.endswith(" b") else f"{first} and {second}"
        predicate = re.sub(" b$", lambda _: f" {second}", predicate)
    subject = re.sub(r"^(select_|multi)?column_?(pair_)?|_a$", "", subject).replace("_", " ")
    says = _limits(_verb(predicate, subject), kwargs)
    rest = {name: v for name, v in kwargs.items() if name not in TOLD and v is not None}
    bare, others = _arguments(words, rest)
    said = " ".join(filter(None, (subject, says, *bare)))
    start = f"{_said(label)}{':' * bool(subject)} {said}" if label else said[:1].upper() + said[1:]
    mostly, condition = kwargs.get("mostly"), kwargs.get("row_condition")
    if isinstance(mostly, int | float) and mostly < 1:
        others.append(f"for at least {100 * mostly:.10g} %")
    if condition:
        others.append(f"where {_condition(condition)}")
    return ", ".join([start, *others])


def _verb(predicate: str, subject: str) -> str:
    """Put an infinitive into the present: "not be null" is "are not null"."""
    is_plural = subject.split(" of ")[0].endswith("s")
    is_negative = predicate.startswith("not ")
    first, _, rest = predicate.removeprefix("not ").partition(" ")
    if first == "be":
        first = ("are" if is_plural else "is") + " not" * is_negative
    elif is_negative:
        first = f"{'do' if is_plural else 'does'} not {first}"
    elif first and not is_plural:
        first += "es" if first.endswith(("s", "ch", "sh")) else "s"
    return f"{first} {rest}".strip()


def _limits(says: str, kwargs: Mapping[str, Any]) -> str:
    least, most = kwargs.get("min_value"), kwargs.get("max_value")
    above = "more than" if kwargs.get("strict_min") else "at least"
    below = "less than" if kwargs.get("strict_max") else "at most"
    parts = [f"{word} {_said(v)}" for word, v in ((above, least), (below, most)) if v is not None]
    if len(parts) == 2 and (above, below) == ("at least", "at most"):
        parts = [f"between {_said(least)}", _said(most)]
    start = says.removesuffix("between").rstrip() if parts else says
    return f"{start} {' and '.join(parts)}".strip()


def _arguments(words: str, kwargs: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the argument that completes the predicate, and the others with their names."""
    bare: list[str] = []
    others: list[str] = []
    for name, value in kwargs.items():
        named = name.strip("_").replace("_", " ")
        completes = name not in NAMED and {*named.split()} & {*words.split("_"), *COMPLETING}
        if isinstance(value, bool):
            others.append(named if value else f"not {named}")
        elif completes and not bare:
            bare.append(_said(value))
        else:
            others.append(f"{named} {_said(value)}")
    return bare, others


def _condition(condition: Any) -> str:
    """Write a row condition of any of Great Expectations' forms."""
    if not isinstance(condition, Mapping):
        said = re.sub(r"""col\((["'])(.*?)\1\)""", r"\2", _said(condition))
        return said.replace(".notNull()", " is not null")
    if isinstance(parts := condition.get("conditions"), list):
        return f" {condition.get('type')} ".join(map(_condition, parts))
    column = condition.get("column")
    name = _said(column.get("name") if isinstance(column, Mapping) else column or "")
    if "is_null" in condition:
        return f"{name} is {'' if condition['is_null'] else 'not '}null"
    operator = str(condition.get("operator", "is")).lower().replace("_", " ")
    return f"{name} {operator} {_said(condition.get('parameter', condition))}"


def _said(value: Any) -> str:
    """Write a value, a list or a mapping of them, in few characters."""
    text = str(value.get("$PARAMETER", value) if isinstance(value, Mapping) else value)
    if isinstance(value, list | tuple):
        more = [f"{len(value) - LISTED:,} more"] if len(value) > LISTED else []
        text = ", ".join([*map(_said, value[:LISTED]), *more])
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
