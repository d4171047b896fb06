"""What a table's profile allows to promise of its data, and of a fresh sample of them.

A promise that every row keeps, all rows having been read, is made without exceptions. Else it is
made of a share of rows, in two steps by one inequality (Chernoff's; Hoeffding, "Probability
inequalities for sums of bounded random variables", 1963, theorems 1 and 4, which holds for rows
drawn with and without putting back): n rows drawn where a share p breaks a promise hold a share
q > p of such rows with probability at most exp(-n·D), D = q·ln(q/p) + (1-q)·ln((1-q)/(1-p)). What
a profile has seen of a sample bounds p (where none was seen, this is the exact bound of Clopper
and Pearson, 1934); p bounds what the smallest sample worth checking shows. A sample of blocks
counts as so many rows as it has blocks, because the rows of a block are often alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from workbench.profiling.contents import CUT, declared_keys
from workbench.profiling.model import NUMBERS, Column, Figure, Share, Table
from workbench.profiling.names import IDENTIFIER, words
from workbench.profiling.patterns import named_personal
from workbench.profiling.rules import identifies, listed, number
from workbench.profiling.sampling import BLOCK, BYTES_PER_ROW
from workbench.suites import Severity

SAMPLE = 500  # rows of the smallest fresh sample that promises are made for
RISK = 1e-6  # that such a sample breaks one promise by chance
LEAST = 0.5  # what fewer rows keep is no promise
FEW = 20  # rows; what fewer have in common may be chance
GROWTH = Decimal("0.1")  # of the span between smallest and largest, left on either side
LARGEST = Decimal("1e300")  # beyond, JSON's readers of doubles see infinity
PROSE = 1000  # characters
# Numbers and texts with such names go on as time does.
TIMED = re.compile(
    r"(^|_)(year|yr|month|quarter|week|day|date|period|hour|time|timestamp|epoch|ts)(_|$)"
)
PLAIN = re.compile(r"(character|char|n?varchar2?|nchar|text)\b", re.IGNORECASE)
PADDED = re.compile(r"(character(?! varying)|n?char)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Promise:
    """An expectation with the sentence that says it, and what was seen."""

    type: str
    kwargs: Mapping[str, Any]
    sentence: str
    evidence: str
    severity: Severity = "warning"


@dataclass(frozen=True)
class Trial:
    """A form tried on a column's values: how many there were, and how many have another one."""

    values: int
    misfits: Figure
    regex: str | None = None
    """None: it is the check digit of CUSIPs."""


@dataclass(frozen=True)
class Seen:
    """A table's profile with the forms tried on its columns."""

    table: Table
    trials: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)

    def rows(self, figure: Figure | None) -> float:
        """Return of how many independent rows a figure tells: infinity of all, 0 of unknown."""
        if figure is None or figure.how == "exact":
            return 0 if figure is None else math.inf
        sampled = re.fullmatch(r"sampled (.+) %", figure.how)
        table = self.table
        size = table.heap.number if table.heap else table.count * BYTES_PER_ROW
        return min(size / BLOCK, table.count) * float(sampled[1]) / 100 if sampled else 0

    def mostly(self, share: float, figure: Figure | None, of: float = 1) -> float | None:
        """Return the share of rows that keep a promise in any fresh sample; None: too few.

        `share` of the rows behind the figure break it; the promise is made of the share `of` of
        rows that have a value. Rounded down to a tenth of a percent; 1 where it is of every row.
        """
        rows = self.rows(figure)
        if not rows or (share == 0 and math.isinf(rows)):
            return 1 if rows else None
        least = min(SAMPLE, max(self.table.count, 1)) * of
        worst = share if math.isinf(rows) else _bound(rows, lambda p: _divergence(share, p), share)
        kept = 1 - _bound(least, lambda q: _divergence(q, worst), worst)
        return math.floor(kept * 1000) / 1000 if kept >= LEAST else None

    def filled(self, column: Column) -> float:
        """Return the least share of rows with a value that a fresh sample may have."""
        share = number(column.nulls) / max(self.table.count, 1)
        return self.mostly(min(share, 1), column.nulls) or 0


def _divergence(q: float, p: float) -> float:
    """Kullback and Leibler's, of two shares."""
    parts = ((q, p), (1 - q, 1 - p))
    return sum(a * math.log(a / b) if b > 0 else math.inf for a, b in parts if a > 0)


def _bound(rows: float, divergence: Callable[[float], float], low: float) -> float:
    """Find the largest share that so many rows do not speak against."""
    high = 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if rows * divergence(middle) <= -math.log(RISK):
            low = middle
        else:
            high = middle
    return high


def is_sensitive(column: Column) -> bool:
    """Tell columns of which the profile shows no values, or should not."""
    hidden = number(column.distinct) > 0 and column.min is None
    return bool(column.personal or named_personal(column.name)) or (
        hidden and column.kind in (*NUMBERS, "text", "date", "datetime")
    )


def is_plain(column: Column) -> bool:
    """Tell texts that every engine compares and measures alike.

    Not so enumerations, UUIDs and domains; CHAR(n) that is not filled, which PostgreSQL pads
    where it is read and nowhere else; nor prose.
    """
    longest = number(column.max_length)
    if column.kind != "text" or not PLAIN.match(column.type) or longest > PROSE:
        return False
    declared = _declared_length(column) or 1
    return not PADDED.match(column.type) or number(column.min_length) == longest == declared


def promises(seen: Seen) -> Iterator[Promise]:
    """Yield what can be promised of a table, column by column; of no rows only its columns."""
    table = seen.table
    names = [column.name for column in table.columns]
    if names:
        are = "column is" if len(names) == 1 else "columns are"
        kwargs: dict[str, Any] = {"column_set": names, "exact_match": False}
        said = f"The {are} there: {listed(names)}"
        told = f"{len(names):,} columns in the table{'' if table.count else ', which has no rows'}"
        yield Promise("expect_table_columns_to_match_set", kwargs, said, told)
    if not table.count:
        return
    if table.rows and seen.rows(table.rows):
        # How many come on another day, one profile cannot tell.
        yield Promise("expect_table_row_count_to_be_between", {"min_value": 1},
                      "There are rows", f"{table.count:,} rows {_origin(table.rows)}")  # fmt: skip
    yield from _keys(seen)
    for column in table.columns:
        yield from _not_null(seen, column)
        if not column.nulls or column.nulls.number < table.count:
            yield from _of_values(seen, column)


def _origin(figure: Figure) -> str:
    return f"({figure.how}, {figure.as_of[:10]})"


def _counted(figure: Figure, of: float, told: str) -> str:
    return f"{figure.number:,.0f} of {of:,.0f} {told} {_origin(figure)}"


def _made(
    kind: str, column: Column, said: str, told: str, mostly: float | None, /, **kwargs: Any
) -> Iterator[Promise]:
    """Yield a promise of a column's values unless too few keep it."""
    if mostly is None:
        return
    kwargs = {"column": column.name, **kwargs} | ({"mostly": mostly} if mostly < 1 else {})
    extent = f" in at least {100 * mostly:.4g} % of rows" if mostly < 1 else ""
    yield Promise(f"expect_column_{kind}", kwargs, f"{column.name} {said}{extent}", told)


def _keys(seen: Seen) -> Iterator[Promise]:
    """Promise what is declared, and what identifies every row and is named as if it were to."""
    table = seen.table
    primary = table.primary_key.columns if table.primary_key else ()
    declared = [key for key in (primary, *(each.columns for each in table.unique)) if key]
    # An index may be for some rows only: then figures must tell.
    indexed = sorted(key for key in declared_keys(table) if len(key) == 1)
    found = [key for key in table.candidate_keys if _is_meant(key, table)]
    columns = {column.name: column for column in table.columns}
    kwargs: dict[str, Any]
    for key in dict.fromkeys((*declared, *indexed, *found)):
        parts = [columns[name] for name in key]
        is_declared = key in declared or key in indexed
        told = "declared" if is_declared else "no two rows are alike in it (exact)"
        if len(key) == 1:
            distinct, values = parts[0].distinct, table.count - number(parts[0].nulls)
            if distinct and distinct.how == "exact":
                others = number(parts[0].nan) + number(parts[0].infinite)
                if distinct.number < values - others or others > 1:
                    continue
                told += f"; {_counted(distinct, values, 'values are distinct')}"
            elif key not in declared:
                continue
            kind, kwargs = "expect_column_values_to_be_unique", {"column": key[0]}
        else:
            kind, kwargs = "expect_compound_columns_to_be_unique", {"column_list": list(key)}
            if any(part.nullable for part in parts):
                kwargs["ignore_row_if"] = "any_value_is_missing"
        said = f"No two rows have the same {listed(key)}"
        yield Promise(kind, kwargs, said, told, "critical" if is_declared else "warning")


def _is_meant(key: tuple[str, ...], table: Table) -> bool:
    """Tell keys from amounts and days that differ by chance; pairs only where nothing else is."""
    kinds = {column.kind for column in table.columns if column.name in key}
    if not any(IDENTIFIER.search(words(name)) for name in key):
        return False
    return kinds <= {"text", "integer"} if len(key) == 1 else not table.primary_key


def _not_null(seen: Seen, column: Column) -> Iterator[Promise]:
    nulls, rows = column.nulls, seen.table.count
    told = ["declared NOT NULL"] * (not column.nullable)
    if nulls and seen.rows(nulls):
        told.append(_counted(nulls, rows, "rows are null"))
    # To pandas NaN is null.
    share = min((number(nulls) + number(column.nan)) / rows, 1)
    mostly = seen.mostly(share, nulls) if column.nullable else 1
    keys = {name for key in declared_keys(seen.table) for name in key}
    is_key = column.name in keys and not column.nullable
    said = "is never null" if mostly == 1 else "has a value"
    for made in _made("values_to_not_be_null", column, said, "; ".join(told), mostly):
        yield replace(made, severity="critical" if is_key else "warning")


def _of_values(seen: Seen, column: Column) -> Iterator[Promise]:
    if not is_sensitive(column):
        if found := [*_set(seen, column)]:
            yield from found
            return
        yield from _numbers(seen, column)
        yield from _days(seen, column)
        if found := [made for trial in seen.trials.get(column.name, ())
                     for made in _form(seen, column, trial)]:  # fmt: skip
            yield from found
            return
    yield from _lengths(seen, column)


def _set(seen: Seen, column: Column) -> Iterator[Promise]:
    """Promise few values where none was seen once only.

    The share of rows with values not seen yet is about that of the values seen once (Good, "The
    population frequencies of species", 1953). What points to another table grows with it.
    """
    top, distinct = column.top, column.distinct
    name = words(column.name)
    pointing = {name for key in seen.table.foreign_keys for name in key.columns}
    is_named = IDENTIFIER.search(name) and not name.endswith("code")
    is_dated = TIMED.search(name) or number(column.date_text) > 0
    if column.name in pointing or is_named or is_dated or not distinct or not seen.rows(distinct):
        return
    if not top or len(top) != distinct.number or not all(map(_is_repeated, top)):
        return
    values: list[Any] = sorted(share.value for share in top)
    if column.kind == "integer":
        values = sorted(map(int, values))
    elif not is_plain(column) or number(column.max_length) >= CUT:
        return
    figure = distinct if distinct.how == "exact" else top[0].rows
    told = f"{len(top)} {'values' if len(top) > 1 else 'value'} {_origin(figure)}"
    least = min(top, key=lambda share: share.rows.number)
    told += f", the rarest in {_counted(least.rows, seen.table.count, 'rows')}"
    *others, last = map(str, values)
    said = f"is one of {', '.join(others)} or {last}" if others else f"is {last}"
    mostly = seen.mostly(0, figure, seen.filled(column))
    yield from _made("values_to_be_in_set", column, said, told, mostly, value_set=values)


def _is_repeated(share: Share) -> bool:
    sampled = re.search(r"([\d.]+) %", share.rows.how)
    return share.rows.number * (float(sampled[1]) / 100 if sampled else 1) > 1.5


def _numbers(seen: Seen, column: Column) -> Iterator[Promise]:
    """Promise limits that leave a tenth of the span on either side, but not beyond 0."""
    name, least, most = words(column.name), column.min, column.max
    if column.kind not in NUMBERS or not least or not most:
        return
    limits = _limits(column.kind, Decimal(str(least.value)), Decimal(str(most.value)))
    if identifies(seen.table, column) or TIMED.search(name) or not limits:
        return
    values = max(seen.table.count - number(column.nulls), 1)
    share = min((number(column.nan) + number(column.infinite)) / values, 1)
    mostly = seen.mostly(share, least, seen.filled(column))
    said = f"is between {limits[0]:,} and {limits[1]:,}"
    told = f"{least.value} to {most.value} {_origin(least)}"
    kwargs = dict(zip(("min_value", "max_value"), limits, strict=True))
    yield from _made("values_to_be_between", column, said, told, mostly, **kwargs)


def _limits(kind: str, least: Decimal, most: Decimal) -> tuple[float, float] | None:
    """Widen a range and round it outwards; None where a double cannot hold it."""
    margin = (most - least or abs(most) or Decimal(1)) * GROWTH
    step = Decimal(1).scaleb(max(margin.adjusted(), 0) if kind == "integer" else margin.adjusted())
    low = ((least - margin) / step).to_integral_value(ROUND_FLOOR) * step
    high = ((most + margin) / step).to_integral_value(ROUND_CEILING) * step
    low = max(low, Decimal(0)) if least >= 0 else low
    high = min(high, Decimal(0)) if most <= 0 else high
    if max(-low, high) > LARGEST:
        return None
    fits = Decimal(float(low)) <= least <= most <= Decimal(float(high))
    return (_number(low), _number(high)) if fits else None


def _number(value: Decimal) -> float:
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def _days(seen: Seen, column: Column) -> Iterator[Promise]:
    """Promise the year that the earliest is in; nothing of the latest, because time passes."""
    least = column.min
    if column.kind not in ("date", "datetime") or not least:
        return
    try:
        # A day earlier: a zone may lie between two readers.
        first = (date.fromisoformat(str(least.value)[:10]) - timedelta(1)).replace(month=1, day=1)
    except (ValueError, OverflowError):
        return  # before Christ, or infinity
    limit = first.isoformat() + ("T00:00:00" if column.kind == "datetime" else "")
    told = f"the earliest is {least.value} {_origin(least)}"
    mostly = seen.mostly(0, least, seen.filled(column))
    said = f"is not before {first}"
    yield from _made("values_to_be_between", column, said, told, mostly, min_value=limit)


def _form(seen: Seen, column: Column, trial: Trial) -> Iterator[Promise]:
    share = trial.misfits.number / max(trial.values, 1)
    mostly = seen.mostly(share, trial.misfits, seen.filled(column))
    if trial.regex is None:
        told = _counted(trial.misfits, trial.values, "values lack their check digit")
        said = "is a CUSIP with its check digit"
        yield from _made("values_to_be_valid_cusips", column, said, told, mostly)
    else:
        told = _counted(trial.misfits, trial.values, "values have another form")
        said = f"has the form {trial.regex}"
        yield from _made("values_to_match_regex", column, said, told, mostly, regex=trial.regex)


def _lengths(seen: Seen, column: Column) -> Iterator[Promise]:
    """Promise what the type allows, else half as much again as the longest."""
    least, most = column.min_length, column.max_length
    if not is_plain(column) or not least or not most:
        return
    low, high = min(int(least.number), 1), _declared_length(column)
    if least.number == most.number and seen.table.count >= FEW:
        low = high = int(most.number)
    high = high or max(math.ceil(most.number * 1.5), 1)
    told = f"{least.value} to {most.value} characters {_origin(least)}"
    said = f"has {low:,} to {high:,} characters" if low < high else f"has {low:,} characters"
    mostly = seen.mostly(0, least, seen.filled(column))
    limits = {"min_value": low, "max_value": high}
    yield from _made("value_lengths_to_be_between", column, said, told, mostly, **limits)


def _declared_length(column: Column) -> int | None:
    found = re.search(r"\((\d+)", column.type)
    return int(found[1]) if found else None
