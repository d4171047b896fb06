"""An expectation's arguments, as the suite has them, made to fit the data they are put to."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from great_expectations.core.suite_parameters import parse_suite_parameter

from workbench.errors import DataError

COLUMN_KEYS = ("column", "column_A", "column_B")
LISTS_OF_COLUMNS = ("column_list", "column_set", "group_by", "order_by")
LIMITS = ("min_value", "max_value", "value", "sum_total")
EXACT = 2**53  # as far as Great Expectations' limits, which are doubles, hold whole numbers


def fitted(
    kwargs: Mapping[str, Any], columns: Any, in_postgresql: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return an expectation's arguments for these columns, and the names of those they lack.

    Columns are written as the data has them, moments are what the clock says, days in a set are
    days. Raises DataError for a limit that would be rounded, TypeError for a set of texts to
    compare numbers with, or the other way round.
    """
    names = [str(name) for name in columns.keys()]  # noqa: SIM118
    found, missing = renamed(_moments(kwargs), names)
    condition = found.get("row_condition")
    if isinstance(condition, str) and "col(" in condition:
        # Great Expectations takes it for the pandas' own language unless told otherwise.
        found = {"condition_parser": "great_expectations", **found}
    one = columns.get(found["column"]) if found.get("column") in names else None
    for key in LIMITS:
        limit = found.get(key)
        if isinstance(limit, int) and not isinstance(limit, bool) and abs(limit) > EXACT:
            raise DataError(
                f"{key} is {limit}, and limits are exact up to {EXACT} only.",
                "Great Expectations makes doubles of them.",
            )
        if isinstance(limit, str) and one is not None and isinstance(one.type, sa.DateTime):
            found[key] = _moment(limit, one.type)
    for key in ("regex", "regex_list") if in_postgresql else ():
        if isinstance(patterns := found.get(key), list):
            found[key] = [_bounded(pattern) for pattern in patterns]
        elif isinstance(patterns, str):
            found[key] = _bounded(patterns)
    for key in ("value_set", "value_pairs_set"):
        if isinstance(found.get(key), list):
            found[key] = _set(found[key], one)
    return found, missing


def _set(values: list[Any], column: Any) -> list[Any]:
    """Make the values of a set comparable with each other and with the column's."""
    kinds = {type(value) for value in values if value is not None}
    if list in kinds:
        pairs = zip(*values, strict=True) if len({len(v) for v in values}) == 1 else ()
        parts = [_set(list(part), None) for part in pairs]
        return [list(pair) for pair in zip(*parts, strict=True)] if parts else values
    if kinds == {int, float}:
        # A driver would take the type of the first for that of all.
        return [value if value is None else float(value) for value in values]
    kind = None if column is None else column.type
    numeric = isinstance(kind, sa.Numeric | sa.Float | sa.Integer)
    if (numeric and str in kinds) or (isinstance(kind, sa.String) and kinds & {int, float}):
        said = "texts" if numeric else "numbers"
        raise TypeError(f"the set has {said}, and column {column.name!r} is of type {kind}")
    if isinstance(kind, sa.Date | sa.DateTime):
        return [_moment(value, kind) if isinstance(value, str) else value for value in values]
    return values


def _moment(text: str, kind: sa.Date | sa.DateTime) -> Any:
    """Read a day or moment as a column's type has it; without a zone it is UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    if isinstance(kind, sa.Date):
        return moment.date()
    if moment.tzinfo and not kind.timezone:
        return moment.astimezone(dt.UTC).replace(tzinfo=None)
    return moment


def _bounded(pattern: str) -> str:
    r"""Write a word's bounds, \\b and \\B, as PostgreSQL has them; there \\b is a backspace."""
    parts = re.compile(r"\\[bB]|\\.|\[\^?\]?[^]]*\]", re.DOTALL)
    bounds = {r"\b": r"\y", r"\B": r"\Y"}
    return parts.sub(lambda found: bounds.get(found[0], found[0]), pattern)


def _moments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Put in what the clock says, e.g. for {"$PARAMETER": "now() - timedelta(days=1)"}."""
    asked = {k: v for k, v in kwargs.items() if isinstance(v, Mapping) and "$PARAMETER" in v}
    if not asked:
        return dict(kwargs)
    # Great Expectations compares the two limits, and a day with a moment it cannot.
    limits = {k: kwargs.get(k) for k in ("min_value", "max_value")}
    days = {k: f"{v}T00:00:00" for k, v in limits.items() if isinstance(v, str) and len(v) == 10}
    said = {name: parse_suite_parameter(value["$PARAMETER"]) for name, value in asked.items()}
    return {**kwargs, **days, **said}


def renamed(kwargs: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Write columns as the data does, where only their case differs; return those it lacks too."""
    missing: list[str] = []

    def actual(name: Any) -> Any:
        if name in names or not isinstance(name, str):
            return name
        same = [other for other in names if other.lower() == name.lower()]
        if len(same) != 1:
            missing.append(name)
            return name
        return same[0]

    def condition(value: Any) -> Any:
        if isinstance(value, str):
            found = re.compile(r"""col\((["'])(.*?)\1\)""")
            return found.sub(lambda m: f"col({m[1]}{actual(m[2])}{m[1]})", value)
        if isinstance(value, Mapping):
            return {
                key: {**part, "name": actual(part.get("name"))}
                if key == "column" and isinstance(part, Mapping) else condition(part)
                for key, part in value.items()
            }  # fmt: skip
        return [condition(part) for part in value] if isinstance(value, list) else value

    result = dict(kwargs)
    for key in COLUMN_KEYS:
        if key in kwargs:
            result[key] = actual(kwargs[key])
    for key in LISTS_OF_COLUMNS:
        if isinstance(kwargs.get(key), Sequence):
            result[key] = [actual(name) for name in kwargs[key]]
    if isinstance(kwargs.get("row_condition"), str | Mapping):
        result["row_condition"] = condition(kwargs["row_condition"])
    return result, missing
