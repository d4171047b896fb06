"""What is in a table's columns, and whether its rows are more than there are things.

One statement reads a bounded sample of rows; what a column holds is counted in it, and scaled to
the table where it is not the whole. Rows that repeat are not: in a sample both must be drawn, so
that only "at least" is true. Values that look personal are counted, and kept nowhere.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from itertools import combinations
from math import prod
from operator import add, sub
from typing import Any

import polars as pl
import sqlalchemy as sa

from workbench.profiling import patterns, sampling
from workbench.profiling.model import NUMBERS, Column, FanOut, Figure, Share, Table
from workbench.profiling.sampling import Scope

ROWS = 20_000
CELLS = 400_000  # a wide table is read in fewer rows
CHARACTERS = 40_000_000
LONGEST = 1000  # characters; a column with longer texts holds prose, of which no more is read
TOP, CUT = 10, 80
KEY_KINDS = ("integer", "decimal", "text", "date", "datetime")
KEYS = 5
LIKELY = re.compile(r"@|(\d\W?){7}")  # what no address and no number of a person lacks
CARD_LENGTH = 13  # digits of the shortest card numbers
UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
PAIRED = 12  # columns whose pairs are tried as keys
FEW = 20  # rows; among fewer, neither two that are alike nor that none are says anything
VARYING = 3  # columns in which rows that fan out may differ
SEARCHED = 12  # columns among which those are looked for


@dataclass(frozen=True)
class _Rows:
    """Rows that were read, as texts; `factor` scales a count of them to the table's.

    The frame's columns are c0, c1 and so on, because polars takes some names for patterns.
    """

    columns: dict[str, Column]
    frame: pl.DataFrame
    factor: float
    how: str
    seen: str
    as_of: str

    def figure(self, count: int) -> Figure:
        return Figure(round(count * self.factor), self.how, self.as_of)

    def at_least(self, count: int) -> Figure:
        return Figure(count, self.seen, self.as_of)

    def shares(self, found: Sequence[tuple[str, int]]) -> tuple[Share, ...]:
        return tuple(Share(value[:CUT], self.figure(rows)) for value, rows in found)


def examine(
    connection: sa.Connection, schema: str, table: Table, scope: Scope, as_of: str
) -> Table:
    """Look into a table that has its figures: add what its columns hold and how rows repeat.

    Reads up to 20,000 rows by one statement. Columns of other kinds are left out; rows are not
    compared in texts longer than 1,000 characters. Raises what the database raises.
    """
    columns = [column for column in table.columns if column.kind != "other"]
    if not columns or (table.rows and not table.rows.value):
        return discreet(table)
    rows = _read(connection, schema, table, columns, scope, as_of)
    declared = declared_keys(table)
    found = {
        column.name: _column(column, rows.frame[label], rows, declared)
        for label, column in rows.columns.items()
    }
    compared = {label: each for label, each in rows.columns.items() if is_comparable(each)}
    table = discreet(replace(table, columns=tuple(found.get(c.name, c) for c in table.columns)))
    if not compared:
        return table
    rows = replace(rows, columns=compared, frame=rows.frame.select(*compared))
    repeated = rows.frame.height - rows.frame.n_unique()
    keys: list[tuple[str, ...]] = [(c.name,) for c in compared.values() if _is_key(c, table)]
    if not keys and not table.primary_key and rows.how == "exact" and not repeated:
        keys = list(_pairs(rows))
    # Rows with a key differ, if in nothing but what cannot be compared.
    none = Figure(0, "exact", as_of)
    return replace(
        table,
        duplicates=none if table.primary_key else rows.at_least(repeated),
        fan_out=_fan_out(rows, declared),
        candidate_keys=tuple(key for key in keys if key not in declared)[:KEYS],
    )


def discreet(table: Table) -> Table:
    """Take the values out of columns whose names, or values, promise personal data."""

    def is_personal(column: Column) -> bool:
        if patterns.named_personal(column.name):
            return True
        least = 10 ** (CARD_LENGTH - 1) if column.kind in NUMBERS else -math.inf
        ends = (column.min, column.max, *(column.quantiles or {}).values())
        texts = (str(end.value) for end in ends if end and not end.number < least)
        likely = [text for text in texts if LIKELY.search(text)]
        counted = pl.DataFrame({"value": likely, "rows": 1}) if likely else pl.DataFrame()
        return bool(personal(column, counted))

    return replace(
        table,
        columns=tuple(
            _without_values(column) if is_personal(column) else column for column in table.columns
        ),
    )


def _without_values(column: Column) -> Column:
    # A mean, or a quantile, can be the only value there is.
    return replace(column, min=None, max=None, mean=None, quantiles=None)


def declared_keys(table: Table) -> set[tuple[str, ...]]:
    """Return the columns that the database itself keeps unique: keys and unique indexes."""
    keys = {key.columns for key in (table.primary_key, *table.unique) if key}
    indexes = (index.columns for index in table.indexes if index.unique)
    return keys | {tuple(map(str, columns)) for columns in indexes if None not in columns}


def is_comparable(column: Column) -> bool:
    """Tell columns in which rows are compared from LOBs, JSON and long texts."""
    longest = column.max_length
    return column.kind != "other" and (longest is None or int(longest.value) <= LONGEST)


def _read(
    connection: sa.Connection,
    schema: str,
    table: Table,
    columns: Sequence[Column],
    scope: Scope,
    as_of: str,
) -> _Rows:
    lengths = (c.mean_length.number if c.mean_length else 10 for c in columns)
    width = sum(min(length, LONGEST) for length in lengths)
    most = max(int(min(ROWS, CELLS / len(columns), CHARACTERS / max(width, 1))), 1)
    total = table.count
    if total / scope.factor > most:
        scope = sampling.scope(table, schema, connection.dialect, None, most)
    labels = {f"c{place}": column for place, column in enumerate(columns)}
    selected = (
        _text(scope.clause.c[column.name], column, connection).label(label)
        for label, column in labels.items()
    )
    found: Any = connection.execute(sa.select(*selected).limit(most + 1)).all()
    if connection.dialect.name != "postgresql":
        found = [tuple(None if v is None else _written(v) for v in row) for row in found]
    frame = pl.DataFrame(found[:most], schema=dict.fromkeys(labels, pl.String), orient="row")
    frame = frame.with_columns(
        pl.col(label).str.replace(" ", "T").str.replace(r"\+00$", "")
        for label, column in labels.items()
        if column.kind == "datetime"
    )
    if scope.percent is None and len(found) <= most:
        return _Rows(labels, frame, 1, "exact", "exact", as_of)
    factor, some = max(total / max(frame.height, 1), 1), f"{frame.height:,} rows"
    if scope.percent is None:  # a view
        return _Rows(labels, frame, factor, f"first {some}", f"seen in the first {some}", as_of)
    said = sampling.plain(float(f"{min(100 / factor, 99):.2g}"))
    return _Rows(labels, frame, factor, f"sampled {said} %", f"seen in {some}", as_of)


def _text(expression: Any, column: Column, connection: sa.Connection) -> sa.ColumnElement[Any]:
    """Select a value so that it arrives whole: a text on PostgreSQL, as it is from Oracle."""
    if not is_comparable(column):
        expression = sa.func.substr(expression, 1, LONGEST)
    if connection.dialect.name == "postgresql":
        return sa.cast(expression, sa.Text)
    if "TIME ZONE" in column.type.upper():
        return sa.func.sys_extract_utc(expression)
    return expression  # type: ignore[no-any-return]


def _written(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _is_key(column: Column, table: Table) -> bool:
    """Tell a column that identifies the rows there are, by exact figures."""
    figures = (table.rows, column.distinct, column.nulls)
    if column.kind not in KEY_KINDS or any(f is None or f.how != "exact" for f in figures):
        return False
    rows, distinct, nulls = (figure.number for figure in figures if figure)
    is_whole = column.kind != "decimal" or not any(
        "." in str(end.value) for end in (column.min, column.max) if end
    )
    return rows >= FEW and distinct == rows and not nulls and is_whole


def _pairs(rows: _Rows) -> Iterator[tuple[str, str]]:
    """Find pairs of columns that identify the rows of a whole table."""
    frame = rows.frame
    able = {label: each for label, each in rows.columns.items() if each.kind in KEY_KINDS}
    # Where values were not counted, a column may be a key by itself.
    if frame.height < FEW or any(
        not c.distinct or c.distinct.how != "exact" for c in able.values()
    ):
        return
    counts = {label: frame[label].n_unique() for label in able if not frame[label].null_count()}
    likely = sorted(counts, key=counts.__getitem__, reverse=True)[:PAIRED]
    for one, other in combinations([label for label in counts if label in likely], 2):
        enough = frame.height <= counts[one] * counts[other]
        if enough and frame.select(one, other).n_unique() == frame.height:
            yield rows.columns[one].name, rows.columns[other].name


def _column(
    column: Column, values: pl.Series, rows: _Rows, declared: set[tuple[str, ...]]
) -> Column:
    if column.kind not in (*KEY_KINDS, "float"):
        return column
    counted = values.drop_nulls().rename("value").value_counts(name="rows")
    kinds = personal(column, counted)
    if kinds or patterns.named_personal(column.name):
        column = _without_values(column)
    elif column.kind != "float" and (column.name,) not in declared and _is_repetitive(counted):
        column = replace(column, top=rows.shares(patterns.commonest(counted, TOP)))
    if column.kind != "text" or not is_comparable(column):
        return replace(column, personal=rows.shares(kinds))
    looks = patterns.look(column.name, counted)
    return replace(
        column,
        personal=rows.shares(kinds),
        masks=rows.shares(looks.masks),
        numeric_text=None if kinds or looks.numbers is None else rows.figure(looks.numbers),
        date_text=rows.figure(looks.dates),
    )


def personal(
    column: Column, counted: pl.DataFrame, share: float = patterns.MOST
) -> list[tuple[str, int]]:
    """Count the rows with likely personal data by kind, as `patterns.personal` does.

    Only texts and numbers hold any; of numbers the values are given as texts too.
    """
    if column.kind not in (*NUMBERS, "text") or counted.is_empty():
        return []
    value = pl.col("value")
    if column.kind != "text":
        # 4111111111111111.00 and 4.111111111111111e+15 are a card number too.
        whole = value.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False).cast(pl.String)
        plain = pl.when(value.str.contains("e")).then(whole).otherwise(
            value.str.replace(r"\.0*$", "")
        )  # fmt: skip
        counted = counted.select(plain.alias("value"), "rows")
        if not patterns.named_personal(column.name):
            counted = counted.filter(value.str.len_bytes() >= CARD_LENGTH)
    return patterns.personal(column.name, counted, share) if counted.height else []


def _is_repetitive(counted: pl.DataFrame) -> bool:
    """Tell values that come back often enough for the commonest to mean something."""
    there, distinct = counted["rows"].sum(), counted.height
    return 0 < distinct * 10 <= there or 0 < distinct * 2 <= there <= TOP * 10


def _fan_out(rows: _Rows, declared: set[tuple[str, ...]]) -> FanOut | None:
    """Find rows that are equal in all but a few columns, surrogate keys not counted."""
    frame = rows.frame
    if frame.height < FEW:
        return None
    unique = [x for x in rows.columns if frame[x].drop_nulls().n_unique() == frame.height]
    surrogates = [
        label
        for label in unique
        if rows.columns[label].kind == "integer" or frame[label].str.contains(UUID).all()
    ]
    names = {rows.columns[label].name for label in surrogates}
    if any(rows.columns[x].kind == "text" for x in set(unique) - set(surrogates)) or any(
        len(key) > 1 and not names & set(key) for key in declared
    ):
        return None  # each row has a name of its own: they are things
    things = frame.drop(surrogates)
    hashes = things.select(pl.col(label).hash(n) for n, label in enumerate(things.columns))
    varying, more = near_copies(hashes) if hashes.width else ((), 0)
    columns = varying or tuple(surrogates)
    if not more or not columns:
        return None
    return FanOut(tuple(rows.columns[label].name for label in columns), rows.at_least(more))


def near_copies(hashes: pl.DataFrame) -> tuple[tuple[str, ...], int]:
    """Find the up to three columns without which most rows are copies, and how many are.

    Takes a hash of each value. Rows may be alike and yet be things of their own. So at least twice
    as many columns must be left; chance must not explain a tenth of the copies, were the columns
    independent; and leaving out one more must not double them: else each of the others is needed
    to tell things apart, as a customer and a day are among orders that differ in their amount.
    The fewest columns are returned that give four in five of the most copies. In a frame of more
    than 12 columns they are looked for among those in which near copies differ.
    """
    names = hashes.columns
    groups = [_sum(names[n::6]) for n in range(6)]
    # Two rows that differ in three columns agree in at least three of six groups of columns.
    agree = [reduce(add, three) for three in combinations(groups, 3)]
    near = hashes.filter(pl.any_horizontal(each.is_duplicated() for each in agree))
    if len(names) > SEARCHED:
        counts = sum((_differences(near.sort(each)) for each in agree), Counter())
        often = [name for name, _ in counts.most_common(SEARCHED)]
        names = [name for name in names if name in often]
    counted = {x: hashes[x].value_counts(name="rows")["rows"] for x in hashes.columns}
    equal = {name: float(((rows / hashes.height) ** 2).sum()) for name, rows in counted.items()}
    chance = hashes.height**2 / 2 * prod(equal.values())
    total, some = (each.select(_sum(each.columns)).to_series() for each in (hashes, near))
    best: list[tuple[tuple[str, ...], int]] = []
    for size in range(min(VARYING, hashes.width // 3) + 1):
        tried = ((chosen, _copies(near, some, chosen)) for chosen in combinations(names, size))
        likely = [x for x in tried if chance / prod(equal[n] for n in x[0]) * 10 <= x[1]]
        chosen, more = max(likely, key=lambda each: each[1], default=((), 0))
        others = (name for name in hashes.columns if name not in chosen)
        if more and all(_copies(hashes, total, (*chosen, name)) <= 2 * more for name in others):
            best.append((chosen, more))
    most = max((more for _, more in best), default=0)
    return next((each for each in best if each[1] * 5 >= most * 4), ((), 0))


def _copies(hashes: pl.DataFrame, total: pl.Series, left_out: Sequence[str]) -> int:
    """Count the rows that are more than one of their group in all but some columns."""
    return hashes.height - reduce(sub, (hashes[name] for name in left_out), total).n_unique()


def _sum(names: Sequence[str]) -> pl.Expr:
    return pl.sum_horizontal(pl.lit(0, pl.UInt64), *map(pl.col, names))


def _differences(hashes: pl.DataFrame) -> Counter[str]:
    """Count for each column the neighbours that differ in it, and in no more than three."""
    differ = hashes.select(pl.all() != pl.all().shift())
    near = differ.filter(pl.sum_horizontal(pl.all()).is_between(1, VARYING))
    return Counter({name: n for name, n in near.sum().row(0, named=True).items() if n})
