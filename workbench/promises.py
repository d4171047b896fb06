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

    def keeps(self, column: Column, figure: Figure | None, share: float = 0) -> float | None:
        """Return `mostly` of a column's values: a fresh sample may have fewer than rows."""
        nulls = min(number(column.nulls) / max(self.table.count, 1), 1)
        return self.mostly(share, figure, self.mostly(nulls, column.nulls) or 0)


def _divergence(q: float, p: float) -> float:
    """Kullback and Leibler's, of two shares."""
    parts = ((q, p), (1 - q, 1 - p))
    return sum(a * math.log(a / b) if b > 0 else math.inf for a, b in parts if a > 0)


def _bound(rows: float, divergence: Callable[[float], float], low: float) -> float:
    """Find the largest share that so many rows do not speak against."""
    high = 1.0
    for _ in range(50):
        middle = (low + high) / 2
        is_possible = rows * divergence(middle) <= -math.log(RISK)
        low, high = (middle, high) if is_possible else (low, middle)
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
    said = f"These columns are there: {listed(names)}"
    told = f"{len(names):,} columns in the table{'' if table.count else ', which has no rows'}"
    kwargs = {"column_set": names, "exact_match": False}
    yield _entry("table_columns_to_match_set", kwargs, said, told)
    if not table.count:
        return
    if table.rows and seen.rows(table.rows):
        # How many come on another day, one profile cannot tell.
        told = f"{table.count:,} rows {_origin(table.rows)}"
        yield _entry("table_row_count_to_be_between", {"min_value": 1}, "There are rows", told)
    yield from _keys(seen)
    for column in table.columns:
        found = [_not_null(seen, column)]
        if not column.nulls or column.nulls.number < table.count:
            found += _of_values(seen, column)
        yield from filter(None, found)


def _entry(kind: str, kwargs: Entry, said: str, told: str, severity: Severity = "warning") -> Entry:
    meta = {"sentence": said, "owner": "to be named", "suggested": True, "evidence": told}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": meta, "severity": severity}


def _of(
    column: Column, kind: str, mostly: float | None, said: str, told: str, **kwargs: Any
) -> Entry | None:
    """Make a promise of a column's values unless too few keep it."""
    if mostly is None:
        return None
    kwargs = {"column": column.name, **kwargs} | ({"mostly": mostly} if mostly < 1 else {})
    extent = f" in at least {100 * mostly:.4g} % of rows" if mostly < 1 else ""
    return _entry(f"column_{kind}", kwargs, f"{column.name} {said}{extent}", told)


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
        kind, kwargs = "column_values", dict[str, Any](column=key[0])
        if len(key) > 1:
            kind, kwargs = "compound_columns", {"column_list": list(key)}
            if any(columns[name].nullable for name in key):
                kwargs["ignore_row_if"] = "any_value_is_missing"
        elif (distinct := columns[key[0]].distinct) and distinct.how == "exact":
            if distinct.number < table.count - number(columns[key[0]].nulls):
                continue
        elif key not in constraints:
            continue
        said = f"No two rows have the same {listed(key)}"
        is_declared = key in constraints or key in indexed
        told = "declared" if is_declared else "no two rows are alike in it (exact)"
        severity: Severity = "critical" if is_declared else "warning"
        yield _entry(f"{kind}_to_be_unique", kwargs, said, told, severity)


def _is_meant(key: tuple[str, ...], table: Table) -> bool:
    """Tell keys from amounts and days that differ by chance; pairs only where nothing else is."""
    kinds = {column.kind for column in table.columns if column.name in key}
    fits = kinds <= {"text", "integer"} if len(key) == 1 else not table.primary_key
    return fits and any(IDENTIFIER.search(words(name)) for name in key)


def _not_null(seen: Seen, column: Column) -> Entry | None:
    nulls, rows = column.nulls, seen.table.count
    told = _counted(nulls, rows, "rows are null") if nulls else "declared NOT NULL"
    # To pandas NaN is null.
    share = min((number(nulls) + number(column.nan)) / rows, 1)
    mostly = seen.mostly(share, nulls) if column.nullable else 1
    said = "is never null" if mostly == 1 else "has a value"
    entry = _of(column, "values_to_not_be_null", mostly, said, told)
    is_key = not column.nullable and any(column.name in key for key in declared_keys(seen.table))
    return {**entry, "severity": "critical"} if entry and is_key else entry


def _of_values(seen: Seen, column: Column) -> list[Entry | None]:
    if is_sensitive(column):
        return [_lengths(seen, column)]
    if found := _set(seen, column):
        return [found]
    forms = [_form(seen, column, trial) for trial in seen.trials.get(column.name, ())]
    texts = forms if any(forms) else [_lengths(seen, column)]
    return [_numbers(seen, column), _days(seen, column), *texts]


def _set(seen: Seen, column: Column) -> Entry | None:
    """Promise few values where none was seen once only.

    The share of rows with values not seen yet is about that of the values seen once (Good, "The
    population frequencies of species", 1953). What points to another table grows with it.
    """
    top, distinct, name = column.top, column.distinct, words(column.name)
    pointing = {name for key in seen.table.foreign_keys for name in key.columns}
    is_named = IDENTIFIER.search(name) and not name.endswith("code")
    is_dated = TIMED.search(name) or number(column.date_text) > 0
    if column.name in pointing or is_named or is_dated or not distinct or not seen.rows(distinct):
        return None
    if not top or len(top) != distinct.number or not all(map(_is_repeated, top)):
        return None
    if column.kind == "integer":
        values: list[Any] = sorted(int(share.value) for share in top)
    elif is_plain(column) and number(column.max_length) < CUT:
        values = sorted(share.value for share in top)
    else:
        return None
    figure = distinct if distinct.how == "exact" else top[0].rows
    rarest = min((share.rows for share in top), key=lambda rows: rows.number)
    told = f"the rarest of {len(top)} in {_counted(rarest, seen.table.count, 'rows')}"
    said, mostly = f"is one of {', '.join(map(str, values))}", seen.keeps(column, figure)
    return _of(column, "values_to_be_in_set", mostly, said, told, value_set=values)


def _is_repeated(share: Share) -> bool:
    sampled = re.search(r"([\d.]+) %", share.rows.how)
    return share.rows.number * (float(sampled[1]) / 100 if sampled else 1) > 1.5


def _numbers(seen: Seen, column: Column) -> Entry | None:
    """Promise limits that leave a tenth of the span on either side, but not beyond 0."""
    least, most = column.min, column.max
    if column.kind not in NUMBERS or not least or not most:
        return None
    limits = _limits(column.kind, Decimal(str(least.value)), Decimal(str(most.value)))
    if identifies(seen.table, column) or TIMED.search(words(column.name)) or not limits:
        return None
    if number(column.nan) or number(column.infinite):
        return None  # which are values to some engines, and missing to others
    said = f"is between {limits['min_value']:,} and {limits['max_value']:,}"
    told = f"{least.value} to {most.value} {_origin(least)}"
    mostly = seen.keeps(column, least)
    return _of(column, "values_to_be_between", mostly, said, told, **limits)


def _limits(kind: str, least: Decimal, most: Decimal) -> dict[str, float] | None:
    """Widen a range and round it outwards; None where a double cannot hold it."""
    margin = (most - least or abs(most) or Decimal(1)) * GROWTH
    step = Decimal(1).scaleb(max(margin.adjusted(), 0) if kind == "integer" else margin.adjusted())
    low = ((least - margin) / step).to_integral_value(ROUND_FLOOR) * step
    high = ((most + margin) / step).to_integral_value(ROUND_CEILING) * step
    low = max(low, Decimal(0)) if least >= 0 else low
    high = min(high, Decimal(0)) if most <= 0 else high
    limits = [int(x) if x == int(x) and abs(x) < 2**53 else float(x) for x in (low, high)]
    fits = Decimal(limits[0]) <= least <= most <= Decimal(limits[1])
    is_held = fits and max(-low, high) <= LARGEST
    return {"min_value": limits[0], "max_value": limits[1]} if is_held else None


def _days(seen: Seen, column: Column) -> Entry | None:
    """Promise the year that the earliest is in; nothing of the latest, because time passes."""
    least = column.min
    if column.kind not in ("date", "datetime") or not least:
        return None
    try:
        # A day earlier: a zone may lie between two readers.
        first = (date.fromisoformat(str(least.value)[:10]) - timedelta(1)).replace(month=1, day=1)
    except (ValueError, OverflowError):
        return None  # before Christ, or infinity
    limit = first.isoformat() + ("T00:00:00" if column.kind == "datetime" else "")
    said, told = f"is not before {first}", f"the earliest is {least.value} {_origin(least)}"
    mostly = seen.keeps(column, least)
    return _of(column, "values_to_be_between", mostly, said, told, min_value=limit)


def _form(seen: Seen, column: Column, trial: Trial) -> Entry | None:
    kind, said, kwargs = "values_to_be_valid_cusips", "is a CUSIP with its check digit", {}
    if trial.regex:
        kind, said = "values_to_match_regex", f"has the form {trial.regex}"
        kwargs = {"regex": trial.regex}
    told = _counted(trial.misfits, trial.values, "values do not")
    mostly = seen.keeps(column, trial.misfits, trial.misfits.number / trial.values)
    return _of(column, kind, mostly, said, told, **kwargs)


def _lengths(seen: Seen, column: Column) -> Entry | None:
    """Promise what the type allows, else half as much again as the longest."""
    least, most = column.min_length, column.max_length
    if not is_plain(column) or not least or not most:
        return None
    low = min(int(least.number), 1)
    high = _declared_length(column) or max(math.ceil(most.number * 1.5), 1)
    said = f"has {low:,} to {high:,} characters"
    told = f"{least.value} to {most.value} characters {_origin(least)}"
    mostly, limits = seen.keeps(column, least), {"min_value": low, "max_value": high}
    return _of(column, "value_lengths_to_be_between", mostly, said, told, **limits)


def _declared_length(column: Column) -> int | None:
    found = re.search(r"\((\d+)", column.type)
    return int(found[1]) if found else None
