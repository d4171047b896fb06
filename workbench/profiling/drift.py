"""drift(): what changed between two profiles of a schema, most serious first."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from workbench.profiling.model import (
    NUMBERS,
    SEVERITIES,
    Column,
    Figure,
    SchemaProfile,
    Severity,
    Table,
    Value,
)
from workbench.profiling.rules import identifies, number

ROWS, MANY_ROWS = 0.1, 0.5  # of the larger number of rows
# More for each estimate: PostgreSQL counts anew when 50 rows and a tenth of all have changed.
ESTIMATED, FEW = 0.1, 50
SHARE, LARGE_SHARE = 0.05, 0.25  # of the rows: null, true, blank
DISTINCT = 0.2  # of the larger number of distinct values, and of their share of the values
RANGE = 0.1  # of the wider range
SHIFT, LARGE_SHIFT = 0.1, 0.25  # of the values
# What the statistic of Kolmogorov and Smirnov exceeds by chance once in a thousand times.
CRITICAL = 1.95
BLOCK = 100  # rows of a block may be alike, so that a sampled block counts as one row
STORED = 3_000  # rows that the dictionary's statistics are made of, at least
Side = tuple[Table, Column]
Cut = Callable[..., int]
Named = TypeVar("Named", Table, Column)


@dataclass(frozen=True, slots=True)
class Change:
    """What changed, where, and from what to what; None where there is none."""

    severity: Severity
    kind: str
    """Stable, for filters, such as "rows-shrunk"."""
    evidence: str
    table: str | None = None
    column: str | None = None
    before: Value | None = None
    after: Value | None = None


def drift(before: SchemaProfile, after: SchemaProfile) -> tuple[Change, ...]:
    """List what changed between two profiles: by severity, then by name; nothing for equal ones.

    Compares only what both hold, and says so where they differ in source, schema, server or
    depth. What a sample may have done is no change. docs/profile.md tells the rules.
    """
    found = list(_scope(before, after))
    for name, old, new in _pairs(before.tables, after.tables):
        found += _table(old, new) if old and new else _came_or_went("table", name, None, old)

    def importance(change: Change) -> tuple[Any, ...]:
        severity = SEVERITIES.index(change.severity)
        return severity, change.table or "", change.column or "", change.kind, change.evidence

    return tuple(sorted(found, key=importance))


def _scope(before: SchemaProfile, after: SchemaProfile) -> Iterator[Change]:
    for what in ("source", "schema", "server", "depth"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            said = f"The {what} was {old} and is {new}: what both profiles hold is compared."
            yield Change("info", f"other-{what}", said, before=old, after=new)


def _pairs(
    before: Sequence[Named], after: Sequence[Named]
) -> Iterator[tuple[str, Named | None, Named | None]]:
    old, new = ({each.name: each for each in side} for side in (before, after))
    return ((name, old.get(name), new.get(name)) for name in old | new)


def _came_or_went(
    what: str, table: str, column: str | None, old: Table | Column | None
) -> Iterator[Change]:
    name = column or table
    if old:
        yield Change("critical", f"{what}-dropped", "It is gone.", table, column, name)
    else:
        yield Change("info", f"{what}-added", "It is new.", table, column, None, name)


def _table(old: Table, new: Table) -> Iterator[Change]:
    yield from _rows(old, new)
    # The structure of a locked table is not known.
    if not old.columns or not new.columns:
        return
    yield from _rules(old, new)
    for name, before, after in _pairs(old.columns, new.columns):
        if not before or not after:
            yield from _came_or_went("column", new.name, name, before)
            continue
        yield from _declaration(new.name, before, after)
        if before.kind == after.kind:
            sides = (old, before), (new, after)
            for figures in (_shares, _distinct, _range, _distribution):
                yield from figures(*sides)


def _rows(old: Table, new: Table) -> Iterator[Change]:
    """A table that shrank has lost something; one that grew mostly did what tables do."""
    if not old.rows or not new.rows:
        return
    before, after = number(old.rows), number(new.rows)
    moved, estimates = _moved(before, after), sum(r.how != "exact" for r in (old.rows, new.rows))
    enough = abs(after - before) > FEW * estimates
    if enough and _reaches(moved, ROWS + ESTIMATED * estimates):
        shrunk, many = after < before, _reaches(moved, MANY_ROWS)
        severity = SEVERITIES[(not shrunk) + (not many)]
        said = f"From {before:,.0f} ({old.rows.how}) to {after:,.0f} rows ({new.rows.how})."
        kind = "rows-shrunk" if shrunk else "rows-grown"
        yield Change(severity, kind, said, new.name, None, old.rows.value, new.rows.value)


def _rules(old: Table, new: Table) -> Iterator[Change]:
    """Compare what is ruled, not how the rules are called: names are often the database's own."""
    before, after = _ruled(old), _ruled(new)
    for kind, text in sorted(before ^ after):
        if (kind, text) in after:
            yield Change("info", f"{kind}-added", f"New: {text}.", new.name, None, None, text)
        else:
            severity: Severity = "info" if kind == "index" else "warning"
            yield Change(severity, f"{kind}-dropped", f"Gone: {text}.", new.name, None, text)


def _ruled(table: Table) -> set[tuple[str, str]]:
    def listed(names: Sequence[str | None]) -> str:
        return f"({', '.join(name or 'an expression' for name in names)})"

    rules = {("unique", listed(key.columns)) for key in table.unique}
    rules |= {("check", check.condition) for check in table.checks}
    for index in table.indexes:
        rules.add(("index", f"{'unique ' * index.unique}{listed(index.columns)}"))
    for key in table.foreign_keys:
        to = f"{key.to_schema}.{key.to_table}" if key.to_schema else key.to_table
        text = f"{listed(key.columns)} to {to} {listed(key.to_columns)}"
        rules.add(("foreign-key", text + ("" if key.enforced else ", not enforced")))
    if table.primary_key:
        rules.add(("primary-key", listed(table.primary_key.columns)))
    return rules


def _declaration(table: str, old: Column, new: Column) -> Iterator[Change]:
    severity: Severity
    if old.type != new.type:
        severity = "warning" if old.kind == new.kind else "critical"
        said = f"From {old.type} to {new.type}."
        yield Change(severity, "column-retyped", said, table, new.name, old.type, new.type)
    if old.nullable != new.nullable:
        severity = "warning" if new.nullable else "info"
        said = "It may be null now." if new.nullable else "It may no longer be null."
        was, now = old.nullable, new.nullable
        yield Change(severity, "nullable-changed", said, table, new.name, was, now)


def _shares(old: Side, new: Side) -> Iterator[Change]:
    for what, word in (("nulls", "null"), ("true", "true"), ("blank", "blank")):
        figures = [getattr(column, what) for _, column in (old, new)]
        rows = [table.count for table, _ in (old, new)]
        if not all(figures) or not all(rows):
            continue
        was, now = (min(number(f) / n, 1.0) for f, n in zip(figures, rows, strict=True))
        moved = abs(now - was)
        if _reaches(moved, SHARE + _error(figures, rows)):
            severity: Severity = "critical" if _reaches(moved, LARGE_SHARE) else "warning"
            said = f"From {was:.1%} ({figures[0].how}) to {now:.1%} ({figures[1].how}) {word}."
            at = new[0].name, new[1].name
            yield Change(severity, f"{what}-moved", said, *at, round(was, 6), round(now, 6))


def _distinct(old: Side, new: Side) -> Iterator[Change]:
    """Compare how many values there are, and how many of those are distinct: both must move.

    A key grows with its table, a list of codes does not; neither has changed. An estimate from a
    sample may be wrong by a factor, so only exact numbers are compared.
    """
    figures = [column.distinct for _, column in (old, new)]
    if not all(figure and figure.how == "exact" for figure in figures):
        return
    was, now = map(number, figures)
    values = [max(table.count - number(column.nulls), 1) for table, column in (old, new)]
    if _reaches(min(_moved(was, now), _moved(was / values[0], now / values[1])), DISTINCT):
        said = f"From {was:,.0f} to {now:,.0f} distinct values (exact)."
        yield Change("warning", "distinct-moved", said, new[0].name, new[1].name, was, now)


def _range(old: Side, new: Side) -> Iterator[Change]:
    """Compare smallest and largest; a sample proves what is there, never what is not.

    That time goes on is no change.
    """
    low, high, new_low, new_high = (_real(f) for _, c in (old, new) for f in (c.min, c.max))
    is_text = "text" in (old[1].kind, new[1].kind)
    if (
        is_text
        or identifies(*new)
        or low is None
        or high is None
        or new_low is None
        or new_high is None
    ):
        return
    sure, new_sure = (
        all(figure and figure.how == "exact" for figure in (column.min, column.max))
        for _, column in (old, new)
    )
    least = RANGE * max(high - low, new_high - new_low, 0)
    later = new[1].kind not in NUMBERS and new_low >= low
    outwards, inwards = max(low - new_low, new_high - high), max(new_low - low, high - new_high)
    was, now = (f"{c.min.value} to {c.max.value}" for _, c in (old, new) if c.min and c.max)
    how = [column.max.how for _, column in (old, new) if column.max]
    said, at = f"From {was} ({how[0]}) to {now} ({how[1]}).", (new[0].name, new[1].name)
    if sure and outwards > least and not later:
        yield Change("warning", "range-widened", said, *at, was, now)
    elif new_sure and inwards > least:
        yield Change("info", "range-narrowed", said, *at, was, now)


def _distribution(old: Side, new: Side) -> Iterator[Change]:
    """Compare the shares of values up to each known one: the largest difference is the shift.

    The two-sample statistic of Kolmogorov (1933) and Smirnov (1939), of which the quantiles prove
    a part: as much must have moved, whatever lies between them. Of keys and time nothing is told,
    which go on by nature.
    """
    curves = [_curve(column) for _, column in (old, new)]
    if new[1].kind not in NUMBERS or identifies(*new) or not all(curves):
        return
    shift = 0.0
    for value in {value for curve in curves for value, _ in curve}:
        for cut in (bisect_left, bisect_right):  # below the value, and up to it
            (least, most), (new_least, new_most) = (_bounds(curve, value, cut) for curve in curves)
            shift = max(shift, new_least - most, least - new_most)
    medians = [f for _, c in (old, new) if c.quantiles and (f := c.quantiles.get("0.5"))]
    values = [table.count - number(column.nulls) for table, column in (old, new)]
    if len(medians) == 2 and _reaches(shift, SHIFT + _error(medians, values)):
        severity: Severity = "critical" if _reaches(shift, LARGE_SHIFT) else "warning"
        was, now = (median.value for median in medians)
        said = f"At least {shift:.0%} of the values moved; the median went from {was} "
        said += f"({medians[0].how}) to {now} ({medians[1].how})."
        yield Change(severity, "distribution-moved", said, new[0].name, new[1].name, was, now)


def _curve(column: Column) -> list[tuple[float, float]]:
    """Give known values with the share of values up to them; nothing where one is missing."""
    shares = sorted((float(share), figure) for share, figure in (column.quantiles or {}).items())
    points = [(0.0, column.min), *shares, (1.0, column.max)]
    curve = [(value, share) for share, figure in points if (value := _real(figure)) is not None]
    return curve if shares and len(curve) == len(points) else []


def _bounds(curve: list[tuple[float, float]], value: float, cut: Cut) -> tuple[float, float]:
    """Bound the share of values below one, or up to it, by the quantiles around it."""
    at = cut(curve, value, key=itemgetter(0))
    return curve[at - 1][1] if at else 0.0, curve[at][1] if at < len(curve) else 1.0


def _error(figures: Sequence[Figure], rows: Sequence[float]) -> float:
    """Bound the difference of two samples of the same rows, as a share of them; 0 if exact."""
    inverse = 0.0
    for figure, count in zip(figures, rows, strict=True):
        if sampled := re.fullmatch(r"sampled ([\d.]+) %", figure.how):
            inverse += 1 / max(count * float(sampled[1]) / 100 / BLOCK, 1)
        elif figure.how != "exact":
            inverse += 1 / max(min(count, STORED), 1)
    return CRITICAL * math.sqrt(inverse)


def _reaches(moved: float, least: float) -> bool:
    # A tenth of 1,000 rows is a tenth, whatever floats make of it.
    return moved > least - 1e-9


def _moved(was: float, now: float) -> float:
    return abs(now - was) / (max(was, now) or 1)


def _real(figure: Figure | None) -> float | None:
    """Give a finite number, or a day or moment as one; None for what is neither."""
    value = figure.number if figure else math.nan
    return value if math.isfinite(value) else None
