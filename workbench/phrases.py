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
TRUE_UNLESS_TOLD = ("exact_match", "double_sided")
NAMED = ("column_index", "match_on")
_COLUMN = re.compile(r"""col\((["'])(.*?)\1\)""")


def phrase(kind: str, kwargs: Mapping[str, Any]) -> str:
    """Say in plain English what an expectation of type `kind` asks for; never raises.

    `expect_column_values_to_be_between` PX 10..110 is "PX: values are between 10 and 110". Types
    need not be known: their names follow a grammar, "expect SUBJECT to PREDICATE".
    """
    words = kind.removeprefix("expect_").removesuffix("_expectation")
    subject, _, predicate = words.partition("_to_")
    told = set(TOLD)
    label, subject, predicate = _named(subject, predicate, kwargs)
    if "columns" in words and "table" in words:
        label, told = "", told - {"column_list"}
    subject = subject.replace("_", " ")
    says = _verb(predicate.replace("_", " "), _is_plural(subject)) if predicate else ""
    says = _limits(says, kwargs)
    bare, others = _arguments(words, {k: v for k, v in kwargs.items() if k not in told})
    if not label:
        subject = subject[:1].upper() + subject[1:]
    start = " ".join(part for part in (subject, says, *bare) if part)
    said = f"{label}{': ' if subject else ' '}{start}" if label else start
    said = ", ".join([said, *others])
    mostly = kwargs.get("mostly")
    if isinstance(mostly, int | float) and mostly < 1:
        said += f", for at least {100 * mostly:.10g} %"
    condition = kwargs.get("row_condition")
    return f"{said}, where {_condition(condition)}" if condition else said


def _named(subject: str, predicate: str, kwargs: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return whose values it is about, and subject and predicate without the columns' places."""
    first, second = kwargs.get("column_A"), kwargs.get("column_B")
    if subject.startswith("column_pair_"):
        subject = subject.removeprefix("column_pair_").removesuffix("_a")
        if predicate.endswith("_b"):
            return str(first), subject, f"{predicate[:-2]} {second}"
        return f"{first} and {second}", subject, predicate
    label = _said(kwargs.get("column") or kwargs.get("column_list") or "")
    return label, re.sub(r"^(select_|multi)?column_?", "", subject), predicate


def _is_plural(subject: str) -> bool:
    return subject.split(" of ")[0].endswith("s")


def _verb(predicate: str, plural: bool) -> str:
    """Put an infinitive into the present: "not be null" is "are not null"."""
    negative = predicate.startswith("not ")
    first, _, rest = predicate.removeprefix("not ").partition(" ")
    if first == "be":
        return " ".join(filter(None, ("are" if plural else "is", "not" * negative, rest)))
    if negative:
        return f"{'do' if plural else 'does'} not {first} {rest}".rstrip()
    ending = "" if plural else "es" if first.endswith(("s", "ch", "sh")) else "s"
    return f"{first}{ending} {rest}".rstrip()


def _limits(says: str, kwargs: Mapping[str, Any]) -> str:
    least, most = (kwargs.get(key) for key in ("min_value", "max_value"))
    strict = [bool(kwargs.get(key)) for key in ("strict_min", "strict_max")]
    parts = []
    if least is not None:
        parts.append(f"{'more than' if strict[0] else 'at least'} {_said(least)}")
    if most is not None:
        parts.append(f"{'less than' if strict[1] else 'at most'} {_said(most)}")
    limits = " and ".join(parts)
    if len(parts) == 2 and not any(strict):
        limits = f"between {_said(least)} and {_said(most)}"
    if not parts or not says.endswith("between"):
        return f"{says} {limits}".strip()
    return says.removesuffix("between") + limits


def _arguments(words: str, kwargs: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the argument that completes the predicate, and the others with their names."""
    bare: list[str] = []
    others: list[str] = []
    takes_any = words.endswith(("equal", "than", "between"))
    for name, value in kwargs.items():
        named = name.strip("_").replace("_", " ")
        if isinstance(value, bool):
            if value != (name in TRUE_UNLESS_TOLD):
                others.append(named if value else f"not {named}")
        elif name == "ignore_row_if":
            if value != "never":
                others.append(f"{named} {str(value).replace('_', ' ')}")
        elif value is None:
            continue
        elif name not in NAMED and not bare and (takes_any or _completes(named, words)):
            bare.append(_said(value))
        else:
            others.append(f"{named} {_said(value)}")
    return bare, others


def _completes(named: str, words: str) -> bool:
    return bool(set(named.split()) & set(words.split("_")))


def _condition(condition: Any) -> str:
    """Write a row condition of any of Great Expectations' forms."""
    if isinstance(condition, str):
        return _COLUMN.sub(r"\2", condition).replace(".notNull()", " is not null")
    if not isinstance(condition, Mapping):
        return _said(condition)
    if isinstance(parts := condition.get("conditions"), list):
        return f" {condition.get('type')} ".join(_condition(part) for part in parts)
    column = condition.get("column")
    name = _said(column.get("name") if isinstance(column, Mapping) else column or "")
    if "is_null" in condition:
        return f"{name} is {'' if condition['is_null'] else 'not '}null"
    if "operator" in condition:
        operator = str(condition["operator"]).lower().replace("_", " ")
        return f"{name} {operator} {_said(condition.get('parameter'))}"
    return _said(condition.get("pass_through_filter", condition))


def _said(value: Any) -> str:
    """Write a value, a list or a mapping of them, in few characters."""
    if isinstance(value, list | tuple):
        items = [f"({_said(item)})" if isinstance(item, list) else _said(item) for item in value]
        more = [f"{len(items) - LISTED:,} more"] if len(items) > LISTED else []
        text = ", ".join([*items[:LISTED], *more])
    elif isinstance(value, Mapping) and "$PARAMETER" in value:
        text = str(value["$PARAMETER"])
    elif isinstance(value, Mapping):
        text = "; ".join(f"{str(k).replace('_', ' ')} {_said(v)}" for k, v in value.items())
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
