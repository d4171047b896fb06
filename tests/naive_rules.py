"""Exclusion rules in plain Python, one row at a time, and hypothesis strategies of rule trees.

Written from the table "What a condition means" of docs/rules.md alone. A tree is what a rule's
file holds under `when`: a mapping with column, operator and values, or one of any or all.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import feeds
from hypothesis import strategies as st

Row = dict[str, Any]
Tree = dict[str, Any]

BLANKS = " \t\n\r\f\v\u00a0"
DIGITS = "0123456789"
CONNECTIVES = ("all", "any")
TEXT_ONLY = ("contains", "not contains", "starts with", "ends with")
ORDERED = ("less than", "greater than", "less than or equal to", "greater than or equal to")
OPERATORS = (
    *("equal to", "not equal to", *ORDERED, "between", *TEXT_ONLY, "in"),
    *("is null", "is not null"),
)


# --- The evaluator ---------------------------------------------------------------------------


def is_met(tree: Tree | Sequence[Tree], row: Row, kinds: Mapping[str, str]) -> bool:
    """Tell whether a row meets a tree; `kinds` says text, number, moment or boolean by column."""
    if not isinstance(tree, Mapping):
        return all(is_met(part, row, kinds) for part in tree)
    if "all" in tree:
        return all(is_met(part, row, kinds) for part in tree["all"])
    if "any" in tree:
        return any(is_met(part, row, kinds) for part in tree["any"])
    kind, value = kinds[tree["column"].upper()], row[tree["column"].upper()]
    operator = tree["operator"]
    if is_missing(value):
        return operator == "is null"
    if operator in ("is null", "is not null"):
        return operator == "is not null"
    given = tree["value"]
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    if tree.get("value2") is not None:
        values.append(tree["value2"])
    if operator in TEXT_ONLY:
        return searched(operator, folded(value.strip(BLANKS)), folded(spelt(values[0])))
    if operator == "in":
        return any(compared("equal to", value, kind, [each]) for each in values)
    return compared(operator, value, kind, values)


def is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip(BLANKS) == ""
    return value is None or (isinstance(value, float) and math.isnan(value))


def folded(text: str) -> str:
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


def spelt(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def searched(operator: str, text: str, sought: str) -> bool:
    if operator == "starts with":
        return text[: len(sought)] == sought
    if operator == "ends with":
        return len(text) >= len(sought) and text[len(text) - len(sought) :] == sought
    return (text.find(sought) >= 0) == (operator == "contains")


def compared(operator: str, value: Any, kind: str, values: Sequence[Any]) -> bool:
    spans = [span(value, kind, each) for each in values]
    if any(found is None for found in spans):
        return False
    here, low, high = spans[0]  # type: ignore[misc]
    if operator == "between":
        return bool(low <= here <= spans[1][2])  # type: ignore[index]
    return {
        "equal to": low <= here <= high,
        "not equal to": here < low or here > high,
        "less than": here < low,
        "greater than": here > high,
        "less than or equal to": here <= high,
        "greater than or equal to": here >= low,
    }[operator]


def span(value: Any, kind: str, given: Any) -> tuple[Any, Any, Any] | None:
    """Give the row's value, and the first and last of what the given one stands for; or None."""
    if kind == "boolean":
        wanted = folded(spelt(given).strip(BLANKS)) == "TRUE"
        return value, wanted, wanted
    numeric = isinstance(given, (int, float, Decimal)) and not isinstance(given, bool)
    if kind == "number" or (kind == "text" and numeric):
        here, there = as_number(value), as_number(given)
        return None if here is None or there is None else (here, there, there)
    if kind == "moment" or isinstance(given, dt.date):
        here_at, ends = as_span(value), as_span(given)
        return None if here_at is None or ends is None else (here_at[0], *ends)
    here_text = folded(value.strip(BLANKS)).encode()
    there_text = folded(spelt(given).strip(BLANKS)).encode()
    return here_text, there_text, there_text


def as_number(value: Any) -> Decimal | None:
    if isinstance(value, float):
        if math.isinf(value):
            return Decimal("Infinity") if value > 0 else Decimal("-Infinity")
        number = Decimal(repr(value))
        return round(number, 10) if abs(number) < 10**17 else number
    if not isinstance(value, str):
        return Decimal(value)
    text = value.strip(BLANKS)
    body = text[1:] if text[:1] in ("+", "-") else text
    whole, _, decimals = body.partition(".")
    plain = all(c in DIGITS for c in whole + decimals) and bool(whole + decimals)
    return Decimal(text) if plain and len(whole) <= 18 and len(decimals) <= 10 else None


def as_span(value: Any) -> tuple[dt.datetime, dt.datetime] | None:
    if isinstance(value, str):
        text = value.strip(BLANKS).replace("T", " ").replace("t", " ")
        form = r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d([.]\d{1,6})?)?)?"
        if not re.fullmatch(form, text, re.ASCII):
            return None
        found = dt.datetime.fromisoformat(text)
        if len(text) > 10:
            return found, found
        value = found.date()
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(dt.UTC).replace(tzinfo=None)
        return value, value
    day = dt.datetime(value.year, value.month, value.day)
    return day, day.replace(hour=23, minute=59, second=59, microsecond=999_999)


# --- Rows and rules to try -------------------------------------------------------------------

KINDS = {
    "TICKER": "text",
    "BIAS": "text",
    "CODE": "text",
    "WHEN_TEXT": "text",
    "PX": "number",
    "RANK": "number",
    "SPREAD": "number",
    "DATE_1": "moment",
    "ISSUED": "moment",
    "LIVE": "boolean",
}
"""A table to try rules on: PX is an exact price, SPREAD a float, ISSUED a day, LIVE a yes or no."""

HOSTILE = [
    *("50%", "5_0", "5x0", "a/b", "a\\b", "O'Neil", 'say "hi"', ":x", "%(x)s", "%%", "/%", "$1"),
    *(
        "\u00e9t\u00e9",
        "\u00c9T\u00c9",
        "e\u0301",
        "\u00df",
        "\u0131",
        "\u65e5\u672c",
        "\U0001f4c8",
    ),
    *(
        "\uff5e",
        "?",
        "a b",
        " a b ",
        "\u00a0A B\t",
        "ab",
        "AB",
        "Ab",
        "b",
        "B ",
        "_",
        "-",
        "Z",
        "~",
    ),
]
NUMBERS = [
    *("7", "07", "7.0", "+7", "-7", ".5", "0.5", "5.", "10", "9", "1e3", "1,000", "0x10", "\u0667"),
    *("123456789012345678", "1234567890123456789", "0.0000000001", "0.00000000001", "-0", "--1"),
    *("1.2.3", ".", "+", "-.", "7 7", "NaN", "Infinity"),
]
MOMENTS = [
    *("2026-01-09", "2026-01-09 16:30", "2026-01-09T16:30:00", "2026-01-09 16:30:00.5"),
    *("2026-01-10", " 2026-01-09 ", "2026-01-09 23:59:59.999999", "2026-01-10 00:00:00"),
    *("9.1.2026", "2026-1-9", "2026-01-09Z", "2026-01-09 16", "yesterday"),
]
NOTHING = ["", " ", "\u00a0\t", None]
DAYS = [dt.date(2026, 1, 9), dt.date(2026, 1, 10), dt.date(2024, 2, 29), dt.date(9999, 12, 31)]
TIMES = [
    dt.datetime(2026, 1, 9),
    dt.datetime(2026, 1, 9, 16, 30),
    dt.datetime(2026, 1, 9, 23, 59, 59, 999_999),
    dt.datetime(2026, 1, 10),
    dt.datetime(2024, 2, 29, 12),
]
PRICES = [Decimal(text) for text in ("9.99", "10", "100.125", "0", "-1", "99.9999999999", "7")]
FLOATS = [0.1, 99.1, 7.0, -0.5, 1e15, 1e-11, 123456.789, 1e30, -1e30, math.inf, math.nan, 0.3]


def rows(
    min_size: int = 1, max_size: int = 30, floats: bool = True
) -> st.SearchStrategy[list[Row]]:
    """Draw rows of the table of KINDS; without `floats` SPREAD holds no infinite or huge number."""
    spread = [x for x in FLOATS if floats or abs(x) < 1e20]
    row = st.fixed_dictionaries(
        {
            "TICKER": st.one_of(st.sampled_from(HOSTILE), st.sampled_from([*HOSTILE, *NOTHING])),
            "BIAS": st.sampled_from(feeds.BIASES),
            "CODE": st.sampled_from([*NUMBERS, *HOSTILE[:4], *NOTHING]),
            "WHEN_TEXT": st.sampled_from([*MOMENTS, *NOTHING]),
            "PX": st.sampled_from([*PRICES, None]),
            "RANK": st.sampled_from([1, 2, 6, 7, None]),
            "SPREAD": st.sampled_from([*spread, None]),
            "DATE_1": st.sampled_from([*TIMES, None]),
            "ISSUED": st.sampled_from([*DAYS, None]),
            "LIVE": st.sampled_from([True, False, None]),
        }
    )
    return st.lists(row, min_size=min_size, max_size=max_size)


def _some(*pools: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([value for pool in pools for value in pool])


_PLAIN = [text for text in NUMBERS if as_number(text) is not None]
_NUMBER = _some(PRICES, [1, 6, 7, 10], [Decimal("0.5"), Decimal("0.1"), Decimal("1E-10")])
_TEXT = _some(HOSTILE, [text for text in feeds.BIASES if not is_missing(text)], ["7", "10"])
_MOMENT = _some(
    DAYS, TIMES, [dt.datetime(2026, 1, 9, 17, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))]
)
_ISO = _some([text for text in MOMENTS if as_span(text)])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.one_of(_TEXT, _TEXT, _some(_PLAIN), _NUMBER, _MOMENT, _ISO, st.booleans()),
    "number": st.one_of(_NUMBER, _some(_PLAIN)),
    "moment": st.one_of(_MOMENT, _ISO),
    "boolean": _some([True, False, "true", " False"]),
}


@st.composite
def _condition(draw: st.DrawFn, columns: Sequence[str]) -> Tree:
    column = draw(st.sampled_from(sorted(columns)))
    kind = KINDS[column]
    allowed = [o for o in OPERATORS if kind == "text" or o not in TEXT_ONLY]
    if kind == "boolean":
        allowed = ["equal to", "not equal to", "in", "is null", "is not null"]
    operator = draw(st.sampled_from(allowed))
    made: Tree = {"column": draw(st.sampled_from([column, column.lower()])), "operator": operator}
    value = _VALUES[kind]
    if operator in ("is null", "is not null"):
        return made
    if operator == "in":
        return made | {"value": draw(st.lists(value, min_size=1, max_size=4))}
    if operator in TEXT_ONLY:
        # A blank at the edge that must match could not: that is an error, tested by itself.
        edge = {"starts with": 0, "ends with": -1}.get(operator)
        value = value.filter(lambda v: edge is None or spelt(v)[edge] not in BLANKS)
    if operator == "between":
        pair = st.tuples(value, value).filter(lambda ends: in_order(kind, *ends))
        low, high = draw(pair)
        listed = draw(st.booleans())
        return made | ({"value": [low, high]} if listed else {"value": low, "value2": high})
    return made | {"value": draw(value)}


def in_order(kind: str, low: Any, high: Any) -> bool:
    """Tell whether something can lie between two values; the rest is an error."""
    here = [span(low if kind != "text" else str(low), kind, each) for each in (low, high)]
    if kind == "text":
        sorts = [
            "number" if isinstance(v, (int, Decimal)) and not isinstance(v, bool)
            else "moment" if isinstance(v, dt.date) else "text"
            for v in (low, high)
        ]  # fmt: skip
        if sorts[0] != sorts[1]:
            return False
        if sorts[0] == "text":
            return bool(here[0][1] <= here[1][2])  # type: ignore[index]
        kind = sorts[0]
    if kind == "number":
        return as_number(low) <= as_number(high)  # type: ignore[operator]
    return as_span(low)[0] <= as_span(high)[1]  # type: ignore[index]


def trees(columns: Sequence[str] = tuple(KINDS), max_leaves: int = 8) -> st.SearchStrategy[Tree]:
    """Draw trees of valid conditions over the table of KINDS, or some of its columns."""
    return st.recursive(
        _condition(columns),
        lambda inner: st.builds(
            lambda join, parts: {join: parts},
            st.sampled_from(CONNECTIVES),
            st.lists(inner, min_size=1, max_size=4),
        ),
        max_leaves=max_leaves,
    )
