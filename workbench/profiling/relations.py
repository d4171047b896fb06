"""How tables hang together: foreign keys that nobody declared, and those nobody enforces.

Candidates come from names, types and figures alone; a statement for each tells whether the values
are there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

import sqlalchemy as sa

from workbench.profiling.contents import declared_keys
from workbench.profiling.model import Column, Figure, ForeignKey, Relation, Table
from workbench.profiling.names import words
from workbench.profiling.sampling import Scope

PER_COLUMN = 5
LIKE_NAMED = 50  # keys; a name that more of them have tells none from another
LEAST = 0.9  # of the distinct values; where fewer match, it is no foreign key
# A key with such a name is one of its table's, not of what the name says.
GENERIC = set("id code key no nr num number name type status value date oid uuid guid ref".split())
FEWEST = 3  # values; fewer lie within another column's by chance
FEWEST_ROWS = 20  # among fewer, a column without repeats says nothing


@dataclass(frozen=True)
class Candidate:
    """Columns that may be, or are declared as, a foreign key; `score` 0 to 1 ranks them."""

    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    declared: bool = False
    score: float = 1
    mixed: tuple[bool, ...] = (False,)
    """Which columns are texts of two types, whose values are compared without padding."""


def candidates(tables: Sequence[Table]) -> list[Candidate]:
    """Return what to test, the likeliest first: unenforced foreign keys, then undeclared ones.

    Undeclared ones have one column of at least three values, and lead from table to table, not to
    or from a view; the key, where nobody declared it, is unique in at least 20 rows. A number needs
    a name that speaks for it (customer_id for customers.id); a text may also have values within
    the range and lengths of a key's.
    """
    found = [_declared(tables, table, key) for table in tables for key in table.foreign_keys]
    real = [table for table in tables if table.kind == "table"]
    keys = _Keys(real)
    guessed: list[Candidate] = []
    for table in real:
        known = {key.columns[0] for key in table.foreign_keys if len(key.columns) == 1}
        for column in table.columns:
            few = column.distinct is not None and column.distinct.number < FEWEST
            if column.name not in known and column.kind != "other" and not few:
                guessed += sorted(_guesses(table, column, keys), key=_likeliest)[:PER_COLUMN]
    return [*filter(None, found), *sorted(_nearest(guessed, tables), key=_likeliest)]


def confirm(
    connection: sa.Connection, schema: str, candidate: Candidate, part: Scope, rows: int, as_of: str
) -> Relation | None:
    """Count, by one statement, the values that are in the other table and the rows that are not.

    Of the table, `part` is read; the other one is read whole, so that a value that is not found is
    not there. Rows without a match in a sample are scaled to the table's `rows`. Rows with a null
    in the key are not counted. None for one without values, and for an undeclared one with less
    than three distinct values or less than 90 % matching. Raises what the database raises.
    """
    parent = sa.table(candidate.to_table, *map(sa.column, candidate.to_columns), schema=schema)
    sides = ([part.clause.c[name] for name in candidate.columns], parent.c)
    keys = [
        [_unpadded(column, connection) if mixed else column for column, mixed in pairs]
        for pairs in (zip(side, candidate.mixed, strict=True) for side in sides)
    ]
    children, parents = ([k.label(f"k{n}") for n, k in enumerate(side)] for side in keys)
    values = sa.select(*children, sa.func.count().label("n")).group_by(*keys[0]).subquery("v")
    known = sa.select(*parents, sa.literal_column("1").label("hit")).distinct().subquery("p")
    same = sa.and_(*(values.c[each.name] == known.c[each.name] for each in children))
    there = sa.and_(*(values.c[each.name].is_not(None) for each in children))
    missing = sa.case((there & known.c.hit.is_(None), values.c.n), else_=0)
    counts = sa.func.count(sa.case((there, 1))), sa.func.count(known.c.hit)
    sums = sa.select(*counts, sa.func.sum(missing), sa.func.sum(values.c.n))
    row = connection.execute(sums.select_from(values.outerjoin(known, same))).one()
    distinct, matched, orphans, read = (int(count or 0) for count in row)
    likely = distinct >= FEWEST and matched >= LEAST * distinct
    if not distinct or not (candidate.declared or likely):
        return None
    if part.percent is not None:
        orphans = round(orphans * rows / read)
    share, lost = (Figure(each, part.how, as_of) for each in (matched / distinct, orphans))
    ends = (candidate.table, candidate.columns, candidate.to_table, candidate.to_columns)
    return Relation(*ends, candidate.declared, share, lost)


class _Keys:
    """The columns that identify rows alone, by what leads to them: names, and texts' ranges."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.own = {table.name: _identifying(table) for table in tables}
        self.ends = [(table, key) for table in tables for key in self.own[table.name]]
        self.named = defaultdict[tuple[str, str], list[int]](list)
        texts = []
        for place, (table, key) in enumerate(self.ends):
            target, things, full = _spellings(table.name, key.name)
            for name in {*full, *(things if target in GENERIC else (target, f"_{target}"))}:
                self.named[_class(key), name].append(place)
            if (bounds := _bounds(key)) is not None:
                texts.append((*bounds, place))
        self.texts = sorted(texts)
        self.least = [least for least, *_ in self.texts]

    def called(self, column: Column) -> Iterator[tuple[Table, Column]]:
        """Yield the keys that a column's name, or the end of it, may mean."""
        name, stem = _stem(column.name)
        spelt = {stem, *(name[at:] for at in range(len(name)))}
        found = (self.named.get((_class(column), each), ())[:LIKE_NAMED] for each in spelt)
        yield from (self.ends[place] for place in sorted({n for each in found for n in each}))

    def around(self, column: Column) -> Iterator[tuple[Table, Column]]:
        """Yield the keys within whose range and lengths all texts of a column are."""
        if (bounds := _bounds(column)) is not None:
            least, most, shortest, longest = bounds
            below = self.texts[: bisect_right(self.least, least)]
            within = sorted(
                place
                for _, end, short, long, place in below
                if most <= end and short <= shortest and longest <= long
            )
            yield from (self.ends[place] for place in within)


def _identifying(table: Table) -> list[Column]:
    """Return the columns that identify rows alone, as declared or as the figures say."""
    seen = table.candidate_keys if table.count >= FEWEST_ROWS else ()
    single = {key[0] for key in declared_keys(table) | {*seen} if len(key) == 1}
    return [column for column in table.columns if column.name in single]


def _declared(tables: Sequence[Table], table: Table, key: ForeignKey) -> Candidate | None:
    """Return what tests a declared foreign key; None where the database vouches for it."""
    parent = next((each for each in tables if each.name == key.to_table), None)
    if key.enforced or key.to_schema is not None or parent is None:
        return None
    ends = zip(key.columns, key.to_columns, strict=True)
    mixed = tuple(_is_mixed(_named(table, one), _named(parent, other)) for one, other in ends)
    return Candidate(table.name, key.columns, parent.name, key.to_columns, True, 1, mixed)


def _named(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.name == name)


def _nearest(guessed: Sequence[Candidate], tables: Sequence[Table]) -> Iterator[Candidate]:
    """Leave out what leads to a table that itself leads where the same column leads as well."""
    leads = {(each.table, each.columns, each.to_table, each.to_columns) for each in guessed}
    leads |= {
        (each.name, key.columns, key.to_table, key.to_columns)
        for each in tables
        for key in each.foreign_keys
    }
    ends: dict[Any, list[Any]] = {}
    for *child, to_table, to_columns in leads:
        ends.setdefault(tuple(child), []).append((to_table, to_columns))
    for each in guessed:
        further = ends.get((each.to_table, each.to_columns), ())
        if not any((each.table, each.columns, *end) in leads for end in further):
            yield each


def _likeliest(candidate: Candidate) -> float:
    return -candidate.score


def _guesses(table: Table, column: Column, keys: _Keys) -> Iterator[Candidate]:
    its = [key for key in keys.own[table.name] if key is not column]
    owned = len(its) < len(keys.own[table.name])
    same = [(table, key) for key in its if _class(key) == _class(column)]
    others = [end for end in keys.called(column) if end[0] is not table]
    for parent, key in [*same, *others]:
        score, fits = _name_score(table, column, parent, key), _is_within(column, key)
        # A key that says what its table is called is what others refer to.
        backwards = owned and score < 1 and not _is_smaller(column, key)
        if not score or (fits is False and score < 0.8) or _is_apart(column, key) or backwards:
            continue
        yield _candidate(table, column, parent, key, round(score + (0 if fits else -0.05), 2))
    if not owned and not column.personal and column.distinct:
        alike = (
            (parent, key)
            for parent, key in keys.around(column)
            if parent is not table
            and _is_smaller(column, key, True)
            and not _name_score(table, column, parent, key)
        )
        for parent, key in islice(alike, PER_COLUMN):
            yield _candidate(table, column, parent, key, 0.3)


def _candidate(table: Table, column: Column, parent: Table, key: Column, score: float) -> Candidate:
    mixed = (_is_mixed(column, key),)
    return Candidate(table.name, (column.name,), parent.name, (key.name,), False, score, mixed)


def _name_score(table: Table, column: Column, parent: Table, key: Column) -> float:
    """Say how much the names speak for a column of `table` being a key of `parent`: 0 to 1."""
    name, stem = _stem(column.name)
    target, things, full = _spellings(parent.name, key.name)
    if parent is table:
        return 0.8 if name == f"parent_{target}" else 0
    if name in full:
        return 1
    if target not in GENERIC and name == target:
        return 1 if any(thing in target for thing in things) else 0.9
    if name.endswith(full if target in GENERIC else (*full, f"_{target}")):
        return 0.8
    # Loans have days, as a number, and need no table of that name.
    bare = name in GENERIC or name == words(parent.name)
    return 0.7 if target in GENERIC and not bare and stem in things else 0


@cache
def _stem(column: str) -> tuple[str, str]:
    """Return a column's name in words, and without what says that it is a key."""
    name = words(column)
    return name, re.sub(f"_({'|'.join(GENERIC)})$", "", name)


@cache
def _spellings(table: str, key: str) -> tuple[str, set[str], tuple[str, ...]]:
    """Return a key's name, what a row of its table may be called, and both in one.

    A row of the tables orders, t_order and dim_order is an order.
    """
    name, target = words(table), words(key)
    things = {name, re.sub(r"^(t|tb|tbl|dim|fact|stg)_|_(t|tb|tbl|dim)$", "", name)}
    for ending, single in (("ies", "y"), ("es", ""), ("s", "")):
        things |= {each[: -len(ending)] + single for each in things if each.endswith(ending)}
    return target, things, tuple(f"{thing}{link}{target}" for thing in things for link in ("_", ""))


def _class(column: Column) -> str:
    return "number" if column.kind in ("integer", "decimal") else column.kind


def _is_mixed(child: Column, parent: Column) -> bool:
    types = {re.sub(r"\W.*", "", column.type.lower()) for column in (child, parent)}
    return child.kind == parent.kind == "text" and len(types) > 1


def _unpadded(column: sa.ColumnElement[Any], connection: sa.Connection) -> sa.ColumnElement[Any]:
    """Take the padding off a CHAR, whatever type of text the other one is."""
    if connection.dialect.name == "postgresql":
        return sa.cast(column, sa.Text)
    return sa.func.rtrim(column)


def _ends(column: Column) -> tuple[Any, Any] | None:
    if not column.min or not column.max:
        return None
    ends = (column.min.value, column.max.value)
    return (Decimal(ends[0]), Decimal(ends[1])) if _class(column) == "number" else ends


def _is_within(child: Column, parent: Column) -> bool | None:
    """Tell whether the values of one lie among the other's, and are no more; None: not known."""
    inner, outer = _ends(child), _ends(parent)
    if not inner or not outer:
        return None
    return outer[0] <= inner[0] and inner[1] <= outer[1] and _is_smaller(child, parent, True)


def _is_apart(child: Column, parent: Column) -> bool:
    one, other = _ends(child), _ends(parent)
    return bool(one and other and (one[1] < other[0] or other[1] < one[0]))


def _is_smaller(child: Column, parent: Column, or_equal: bool = False) -> bool:
    if not child.distinct or not parent.distinct:
        return True
    return child.distinct.number < parent.distinct.number + or_equal


def _bounds(column: Column) -> tuple[str, str, float, float] | None:
    """Return the smallest and largest text, and the length of the shortest and longest one."""
    known = (column.min, column.max, column.min_length, column.max_length)
    if column.kind != "text" or None in known:
        return None
    least, most, shortest, longest = (figure for figure in known if figure)
    return str(least.value), str(most.value), shortest.number, longest.number
