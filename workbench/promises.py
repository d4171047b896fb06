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
from dataclasses import dataclass, field
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

Entry = Mapping[str, Any]
"""An expectation as a suite has it."""


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
    trials: Mapping[str, list[Trial]] = field(default_factory=dict)

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


def promises(seen: Seen) -> Iterator[Entry]:
    """Yield what can be promised of a table, column by column; of no rows only its columns."""
    table = seen.table
    names = [column.name for column in table.columns]
    if names:
        kwargs: dict[str, Any] = {"column_set": names, "exact_match": False}
        told = f"{len(names):,} columns in the table{'' if table.count else ', which has no rows'}"
        said = f"These columns are there: {listed(names)}"
        yield _entry("table_columns_to_match_set", kwargs, said, told)
    if not table.count:
        return
    if table.rows and seen.rows(table.rows):
        # How many come on another day, one profile cannot tell.
        told = f"{table.count:,} rows {_origin(table.rows)}"
        yield _entry("table_row_count_to_be_between", {"min_value": 1}, "There are rows", told)
    yield from _keys(seen)
    for column in table.columns:
        yield from _not_null(seen, column)
        if not column.nulls or column.nulls.number < table.count:
            yield from _of_values(seen, column)


def _entry(kind: str, kwargs: Entry, said: str, told: str, severity: Severity = "warning") -> Entry:
    meta = {"sentence": said, "owner": "to be named", "suggested": True, "evidence": told}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": meta, "severity": severity}


def _made(
    kind: str,
    column: Column,
    said: str,
    told: str,
    mostly: float | None,
    severity: Severity = "warning",
    **limits: Any,
) -> Iterator[Entry]:
    """Yield a promise of a column's values unless too few keep it."""
    if mostly is None:
        return
    kwargs = {"column": column.name, **limits} | ({"mostly": mostly} if mostly < 1 else {})
    extent = f" in at least {100 * mostly:.4g} % of rows" if mostly < 1 else ""
    yield _entry(f"column_{kind}", kwargs, f"{column.name} {said}{extent}", told, severity)


def _origin(figure: Figure) -> str:
    return f"({figure.how}, {figure.as_of[:10]})"


def _counted(figure: Figure, of: float, told: str) -> str:
    return f"{figure.number:,.0f} of {of:,.0f} {told} {_origin(figure)}"


def _keys(seen: Seen) -> Iterator[Entry]:
    """Promise what is declared, and what identifies every row and is named as if it were to."""
    table = seen.table
    constraints = [each.columns for each in (table.primary_key, *table.unique) if each]
    # An index may be for some rows only: then figures must tell.
    indexed = sorted(key for key in declared_keys(table) if len(key) == 1)
    found = [key for key in table.candidate_keys if _is_meant(key, table)]
    columns = {column.name: column for column in table.columns}
    for key in dict.fromkeys((*constraints, *indexed, *found)):
        first, is_declared = columns[key[0]], key in constraints or key in indexed
        told = "declared" if is_declared else "no two rows are alike in it (exact)"
        kind, kwargs = "column_values_to_be_unique", {"column": key[0]}
        if len(key) > 1:
            kind, kwargs = "compound_columns_to_be_unique", {"column_list": list(key)}
            if any(columns[name].nullable for name in key):
                kwargs["ignore_row_if"] = "any_value_is_missing"
        elif first.distinct and first.distinct.how == "exact":
            values = table.count - number(first.nulls)
            if first.distinct.number < values:
                continue
            told += f"; {_counted(first.distinct, values, 'values are distinct')}"
        elif key not in constraints:
            continue
        said = f"No two rows have the same {listed(key)}"
        yield _entry(kind, kwargs, said, told, "critical" if is_declared else "warning")


def _is_meant(key: tuple[str, ...], table: Table) -> bool:
    """Tell keys from amounts and days that differ by chance; pairs only where nothing else is."""
    kinds = {column.kind for column in table.columns if column.name in key}
    if not any(IDENTIFIER.search(words(name)) for name in key):
        return False
    return kinds <= {"text", "integer"} if len(key) == 1 else not table.primary_key


def _not_null(seen: Seen, column: Column) -> Iterator[Entry]:
    nulls, rows = column.nulls, seen.table.count
    told = ["declared NOT NULL"] * (not column.nullable)
    if nulls and seen.rows(nulls):
        told.append(_counted(nulls, rows, "rows are null"))
    # To pandas NaN is null.
    share = min((number(nulls) + number(column.nan)) / rows, 1)
    mostly = seen.mostly(share, nulls) if column.nullable else 1
    is_key = not column.nullable and any(column.name in key for key in declared_keys(seen.table))
    said = "is never null" if mostly == 1 else "has a value"
    severity: Severity = "critical" if is_key else "warning"
    yield from _made("values_to_not_be_null", column, said, "; ".join(told), mostly, severity)


def _of_values(seen: Seen, column: Column) -> Iterator[Entry]:
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


def _set(seen: Seen, column: Column) -> Iterator[Entry]:
    """Promise few values where none was seen once only.

    The share of rows with values not seen yet is about that of the values seen once (Good, "The
    population frequencies of species", 1953). What points to another table grows with it.
    """
    top, distinct, name = column.top, column.distinct, words(column.name)
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
    rarest = min((share.rows for share in top), key=lambda rows: rows.number)
    told = f"{len(top)} distinct {_origin(figure)}, the rarest in "
    told += _counted(rarest, seen.table.count, "rows")
    said = f"is one of {', '.join(map(str, values))}"
    mostly = seen.mostly(0, figure, seen.filled(column))
    yield from _made("values_to_be_in_set", column, said, told, mostly, value_set=values)


def _is_repeated(share: Share) -> bool:
    sampled = re.search(r"([\d.]+) %", share.rows.how)
    return share.rows.number * (float(sampled[1]) / 100 if sampled else 1) > 1.5


def _numbers(seen: Seen, column: Column) -> Iterator[Entry]:
    """Promise limits that leave a tenth of the span on either side, but not beyond 0."""
    least, most = column.min, column.max
    if column.kind not in NUMBERS or not least or not most:
        return
    limits = _limits(column.kind, Decimal(str(least.value)), Decimal(str(most.value)))
    if identifies(seen.table, column) or TIMED.search(words(column.name)) or not limits:
        return
    low, high = limits
    values = max(seen.table.count - number(column.nulls), 1)
    share = min((number(column.nan) + number(column.infinite)) / values, 1)
    mostly = seen.mostly(share, least, seen.filled(column))
    said, told = f"is between {low:,} and {high:,}", f"{least.value} to {most.value}"
    yield from _made("values_to_be_between", column, said, f"{told} {_origin(least)}", mostly,
                     min_value=low, max_value=high)  # fmt: skip


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


def _days(seen: Seen, column: Column) -> Iterator[Entry]:
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
    said, told = f"is not before {first}", f"the earliest is {least.value} {_origin(least)}"
    mostly = seen.mostly(0, least, seen.filled(column))
    yield from _made("values_to_be_between", column, said, told, mostly, min_value=limit)


def _form(seen: Seen, column: Column, trial: Trial) -> Iterator[Entry]:
    share = trial.misfits.number / trial.values
    mostly = seen.mostly(share, trial.misfits, seen.filled(column))
    kind, said, limits = "values_to_be_valid_cusips", "is a CUSIP with its check digit", {}
    lacking = "values lack their check digit"
    if trial.regex:
        kind, said, limits = (
            "values_to_match_regex",
            f"has the form {trial.regex}",
            {"regex": trial.regex},
        )
        lacking = "values have another form"
    told = _counted(trial.misfits, trial.values, lacking)
    yield from _made(kind, column, said, told, mostly, **limits)


def _lengths(seen: Seen, column: Column) -> Iterator[Entry]:
    """Promise what the type allows, else half as much again as the longest."""
    least, most = column.min_length, column.max_length
    if not is_plain(column) or not least or not most:
        return
    low = min(int(least.number), 1)
    high = _declared_length(column) or max(math.ceil(most.number * 1.5), 1)
    if least.number == most.number and seen.table.count >= FEW:
        low = high = int(most.number)
    told = f"{least.value} to {most.value} characters {_origin(least)}"
    said = f"has {f'{low:,} to ' if low < high else ''}{high:,} characters"
    mostly = seen.mostly(0, least, seen.filled(column))
    yield from _made("value_lengths_to_be_between", column, said, told, mostly,
                     min_value=low, max_value=high)  # fmt: skip


def _declared_length(column: Column) -> int | None:
    found = re.search(r"\((\d+)", column.type)
    return int(found[1]) if found else None
