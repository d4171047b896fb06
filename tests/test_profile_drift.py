"""What two profiles say has changed has changed, and nothing else is said."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench import embedded
from workbench.errors import DataError
from workbench.profiling.drift import Change, drift
from workbench.profiling.model import (
    QUANTILES,
    Check,
    Column,
    Figure,
    ForeignKey,
    Index,
    Key,
    SchemaProfile,
    Table,
)
from workbench.profiling.survey import profile_schema

AS_OF = "2026-01-31T17:05:00"
SCHEMA = f"profile_drift_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"


def figure(value: Any, how: str = "exact") -> Figure:
    return Figure(value, how, AS_OF)


def column(kind: Any = "integer", how: str = "exact", name: str = "x", **known: Any) -> Column:
    made = {key: figure(value, how) for key, value in known.items() if key != "quantiles"}
    if "quantiles" in known:
        made["quantiles"] = {at: figure(v, how) for at, v in known["quantiles"].items()}  # type: ignore[assignment]
    return Column(name, kind, kind, **made)  # type: ignore[arg-type]


def of(values: list[float], how: str = "exact") -> Column:
    """A column's figures, reckoned with polars."""
    series = pl.Series(values)
    quantiles = {str(at): series.quantile(at, "linear") for at in QUANTILES}
    return column("decimal", how, min=min(values), max=max(values), quantiles=quantiles)


def table(*columns: Column, rows: Figure | int | None = 1000, **known: Any) -> Table:
    rows = figure(rows) if isinstance(rows, int) else rows
    return Table("t", columns=(column(name="id"), *columns), rows=rows, **known)


def profile(*tables: Table, **known: Any) -> SchemaProfile:
    made = {"source": "demo", "schema": "S", "as_of": AS_OF, "server": "PostgreSQL 18.4"}
    return SchemaProfile(**{**made, "depth": 1, "tables": tables, **known})


def changes(before: Table, after: Table) -> list[tuple[str, str]]:
    return [(change.severity, change.kind) for change in drift(profile(before), profile(after))]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (1000, 901, []),
        (1000, 900, [("warning", "rows-shrunk")]),
        (1000, 501, [("warning", "rows-shrunk")]),
        (1000, 500, [("critical", "rows-shrunk")]),
        (1000, 0, [("critical", "rows-shrunk")]),
        (1, 0, [("critical", "rows-shrunk")]),
        (900, 1000, [("info", "rows-grown")]),
        (500, 1000, [("warning", "rows-grown")]),
        (0, 0, []),
        # An estimate may be a tenth and 50 rows off, two of them twice that.
        (figure(1000, "dictionary"), 801, []),
        (figure(1000, "dictionary"), 800, [("warning", "rows-shrunk")]),
        (figure(1000, "dictionary"), figure(701, "dictionary"), []),
        (figure(1000, "dictionary"), figure(700, "dictionary"), [("warning", "rows-shrunk")]),
        (figure(50, "dictionary"), 0, []),
        (figure(51, "dictionary"), 0, [("critical", "rows-shrunk")]),
        (None, 1000, []),
    ],
)
def test_a_table_that_shrank_is_worse_than_one_that_grew(
    before: Any, after: Any, expected: list[tuple[str, str]]
) -> None:
    assert changes(table(rows=before), table(rows=after)) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (table(), table(column()), [("info", "column-added")]),
        (table(column()), table(), [("critical", "column-dropped")]),
        (table(column("integer")), table(column("text")), [("critical", "column-retyped")]),
        (table(replace(column(), type="int")), table(replace(column(), type="bigint")),
         [("warning", "column-retyped")]),
        (table(replace(column(), nullable=False)), table(column()),
         [("warning", "nullable-changed")]),
        (table(column()), table(replace(column(), nullable=False)), [("info", "nullable-changed")]),
        (table(primary_key=Key(("id",))), table(primary_key=Key(("id",), "other name")), []),
        (table(primary_key=Key(("id",))), table(primary_key=Key(("id", "x"))),
         [("warning", "primary-key-dropped"), ("info", "primary-key-added")]),
        (table(), table(unique=(Key(("x",)),)), [("info", "unique-added")]),
        (table(foreign_keys=(ForeignKey(("x",), "u", ("id",)),)), table(),
         [("warning", "foreign-key-dropped")]),
        (table(foreign_keys=(ForeignKey(("x",), "u", ("id",)),)),
         table(foreign_keys=(ForeignKey(("x",), "u", ("id",), enforced=False),)),
         [("warning", "foreign-key-dropped"), ("info", "foreign-key-added")]),
        (table(checks=(Check("x > 0"),)), table(), [("warning", "check-dropped")]),
        (table(indexes=(Index("i", ("x",)),)), table(indexes=(Index("j", ("x",)),)), []),
        (table(indexes=(Index("i", ("x", None)),)), table(), [("info", "index-dropped")]),
        # A locked table has lost nothing that anybody knows of.
        (table(column()), Table("t", problem="Not described: it is locked."), []),
        # Nulls: 5 % and 25 % of the rows.
        (table(column(nulls=100)), table(column(nulls=149)), []),
        (table(column(nulls=100)), table(column(nulls=150)), [("warning", "nulls-moved")]),
        (table(column(nulls=100)), table(column(nulls=349)), [("warning", "nulls-moved")]),
        (table(column(nulls=350)), table(column(nulls=100)), [("critical", "nulls-moved")]),
        (table(column("boolean", true=100)), table(column("boolean", true=500)),
         [("critical", "true-moved")]),
        (table(column("text", blank=0)), table(column("text", blank=50)),
         [("warning", "blank-moved")]),
        # Distinct values: neither a key that grows nor codes that stay has changed.
        (table(column(distinct=1000)), table(column(distinct=1099), rows=1099), []),
        (table(column(distinct=5)), table(column(distinct=5), rows=1099), []),
        (table(column(distinct=100)), table(column(distinct=124)), []),
        (table(column(distinct=100)), table(column(distinct=125)), [("warning", "distinct-moved")]),
        (table(column(distinct=100, how="sampled 5 %")), table(column(distinct=300)), []),
        # Ranges: a tenth of the wider one, of an exact one.
        (table(column(min=0, max=90)), table(column(min=0, max=100)), []),
        (table(column(min=0, max=89)), table(column(min=0, max=100)),
         [("warning", "range-widened")]),
        (table(column(min=0, max=100)), table(column(min=11, max=100)),
         [("info", "range-narrowed")]),
        (table(column(min=0, max=50, how="sampled 5 %")), table(column(min=0, max=100)), []),
        (table(column(min=0, max=50)), table(column(min=0, max=100, how="sampled 5 %")),
         [("warning", "range-widened")]),
        (table(column(min=0, max=100)), table(column(min=0, max=50, how="sampled 5 %")), []),
        (table(column(min="NaN", max="Infinity")), table(column(min=0, max=50)), []),
        (table(column("text", min="a", max="b")), table(column("text", min="a", max="z")), []),
        (table(column("text", min="1", max="2")), table(column("text", min="1", max="99")), []),
        (table(column("date", min="2026-01-01", max="2026-02-01")),
         table(column("date", min="2026-01-01", max="2026-06-01")), []),
        # Neither a time of day nor a day of another era has a place among days.
        (table(column("time", min="08:00:00", max="09:00:00")),
         table(column("time", min="08:00:00", max="19:00:00")), []),
        (table(column("date", min="0044-03-15 BC", max="2026-02-01")),
         table(column("date", min="12345-01-01", max="12345-02-01")), []),
        (table(column("date", min="2026-01-01", max="2026-02-01")),
         table(column("date", min="1026-01-01", max="2026-02-01")),
         [("warning", "range-widened")]),
        (table(column("datetime", min="2026-01-01T00:00:00", max="2026-06-01T10:00:00")),
         table(column("datetime", min="2026-01-01T00:00:00", max="2026-02-01T10:00:00")),
         [("info", "range-narrowed")]),
        (table(column(name="order_id", min=1, max=100)),
         table(column(name="order_id", min=1, max=900)), []),
    ],
)  # fmt: skip
def test_a_rule_begins_where_it_says(
    before: Table, after: Table, expected: list[tuple[str, str]]
) -> None:
    assert changes(before, after) == expected


def largest_shift(before: list[float], after: list[float]) -> float:
    """The statistic of Kolmogorov and Smirnov, from all values."""
    return max(
        abs(sum(v <= at for v in before) / len(before) - sum(v <= at for v in after) / len(after))
        for at in (*before, *after)
    )


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda v: v, []),
        (lambda v: v + 4, []),
        (lambda v: v + 20, [("warning", "distribution-moved")]),
        (lambda v: v * 100, [("critical", "distribution-moved")]),
        (lambda v: -v, [("critical", "distribution-moved")]),
        (lambda v: 0, [("critical", "distribution-moved")]),
    ],
)
def test_a_distribution_that_moved_is_told(
    move: Callable[[float], float], expected: list[tuple[str, str]]
) -> None:
    before = [float(n % 100) for n in range(1000)]
    after = [move(value) for value in before]
    told = [
        change for change in drift(profile(table(of(before))), profile(table(of(after))))
        if change.kind == "distribution-moved"
    ]  # fmt: skip
    assert [(change.severity, change.kind) for change in told] == expected
    for change in told:
        least = int(change.evidence.removeprefix("At least ").split("%")[0]) / 100
        assert 0.1 <= least <= largest_shift(before, after) + 0.01


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_never_is_more_said_to_have_moved_than_did(data: st.DataObject) -> None:
    values = st.lists(st.integers(0, 8).map(float), min_size=100, max_size=150)
    before, after = data.draw(values), data.draw(values)
    for change in drift(profile(table(of(before))), profile(table(of(after)))):
        if change.kind == "distribution-moved":
            least = int(change.evidence.removeprefix("At least ").split("%")[0]) / 100
            # A hundred values are too few for the 1st percentile to be one of them.
            assert least <= largest_shift(before, after) + 0.02


def test_what_a_sample_may_have_done_is_no_change() -> None:
    # Ten rows a block say as much as one: 1,000,000 rows at 1 % count as 100.
    def moved(share: float, how: str, rows: int) -> list[tuple[str, str]]:
        sides = (column(nulls=0), column(nulls=round(rows * share), how=how))
        return changes(*(table(each, rows=rows) for each in sides))

    # 1.95 √(1/100) = 19.5 %, and 5 % more.
    assert moved(0.244, "sampled 1 %", 1_000_000) == []
    assert moved(0.246, "sampled 1 %", 1_000_000) == [("warning", "nulls-moved")]
    assert moved(0.051, "exact", 1_000_000) == [("warning", "nulls-moved")]
    # 1.95 √(1/3000) = 3.56 %: what the dictionary's statistics are made of.
    assert moved(0.085, "dictionary", 1_000_000) == []
    assert moved(0.087, "dictionary", 1_000_000) == [("warning", "nulls-moved")]
    assert moved(1.0, "sampled 5 %", 20) == []
    assert moved(0.5, "by guess", 1000) == [("critical", "nulls-moved")]


def test_a_profile_without_medians_is_compared_in_the_rest() -> None:
    few = {"0.25": 1, "0.75": 3}
    sides = (column(min=n, max=n + 9, quantiles={k: v + n for k, v in few.items()}) for n in (0, 9))
    assert changes(*(table(side) for side in sides)) == [("warning", "range-widened")]


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("rows", {"value": "abc"}), ("rows", {"value": "NaN"}), ("rows", {"value": "12"}),
        ("rows", {"how": "sampled 5.5.5 %"}), ("rows", {"how": "sampled"}), ("rows", {"how": ""}),
    ],
)  # fmt: skip
def test_a_figure_that_is_none_is_refused_with_its_place(place: str, broken: Any) -> None:
    content = profile(table(column(quantiles={"0.5": 1}))).to_dict()
    assert SchemaProfile.from_json(json.dumps(content)).to_dict() == content
    content["tables"][0][place].update(broken)
    with pytest.raises(DataError, match=f"tables.0.{place}"):
        SchemaProfile.from_json(json.dumps(content))


def test_a_quantile_is_of_a_share() -> None:
    content = profile(table(column(quantiles={"0.5": 1}))).to_dict()
    known = content["tables"][0]["columns"][1]["quantiles"]
    known["a"] = known.pop("0.5")
    with pytest.raises(DataError, match="quantiles"):
        SchemaProfile.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7), (0.25, 0.25), ("12.50", 12.5), ("-Infinity", -math.inf), ("1970-01-02", 1),
        ("1969-12-31T12:00:00", -0.5), (10**400, math.inf), ("08:00:00", None), ("x", None),
        ("0044-03-15 BC", None), ("12345-01-01", None), ("NaN", None),
    ],
)  # fmt: skip
def test_a_figure_has_a_place_on_a_line(value: Any, number: float | None) -> None:
    found = figure(value).number
    assert found == number if number is not None else math.isnan(found)


def test_profiles_of_another_kind_are_compared_in_what_both_hold() -> None:
    before = profile(table(column()), depth=0)
    after = profile(table(column(nulls=500)), depth=2, schema="T", source="other")
    told = [(change.severity, change.kind, change.before) for change in drift(before, after)]
    assert told == [
        ("info", "other-depth", 0), ("info", "other-schema", "S"), ("info", "other-source", "demo"),
    ]  # fmt: skip


def test_changes_come_by_severity_then_by_name() -> None:
    tables = [replace(table(column(nulls=0)), name=name) for name in ("b", "a")]
    later = [replace(table(column(nulls=60), rows=400), name=name) for name in ("a", "b")]
    told = [(c.severity, c.table, c.column) for c in drift(profile(*tables), profile(*later))]
    assert told == [
        ("critical", "a", None), ("critical", "b", None), ("warning", "a", "x"),
        ("warning", "b", "x"),
    ]  # fmt: skip


NUMBERS = st.none() | st.builds(
    figure, st.integers(0, 1000), st.sampled_from(["exact", "sampled 5 %", "dictionary"])
)
COLUMNS = st.builds(
    Column, st.sampled_from(["a", "b", "c"]), st.sampled_from(["int", "text"]),
    st.sampled_from(["integer", "text", "date"]), nullable=st.booleans(), nulls=NUMBERS,
    distinct=NUMBERS, min=NUMBERS, max=NUMBERS,
    quantiles=st.none() | st.fixed_dictionaries({"0.5": st.builds(figure, st.integers(0, 9))}),
)  # fmt: skip
TABLES = st.builds(
    Table, st.sampled_from(["t", "u", "v"]), rows=NUMBERS,
    columns=st.lists(COLUMNS, max_size=3, unique_by=lambda c: c.name).map(tuple),
    primary_key=st.none() | st.just(Key(("a",))),
    indexes=st.lists(st.builds(Index, st.just("i"), st.just(("a", None))), max_size=1).map(tuple),
)  # fmt: skip
PROFILES = st.lists(TABLES, max_size=3, unique_by=lambda t: t.name).map(lambda t: profile(*t))
OPPOSITE = {"added": "dropped", "dropped": "added", "grown": "shrunk", "shrunk": "grown"}


ENDS_EXCHANGED = profile(table(column(min=1, max=0)))


@settings(max_examples=25, deadline=None)
@example(ENDS_EXCHANGED, ENDS_EXCHANGED)
@given(PROFILES, PROFILES)
def test_drift_is_empty_for_equal_profiles_and_turns_round_with_them(
    one: SchemaProfile, other: SchemaProfile
) -> None:
    assert drift(one, one) == ()

    def facts(found: tuple[Change, ...], *, back: bool) -> set[tuple[Any, ...]]:
        return {
            (what.replace(how, OPPOSITE[how]) if back else what, c.table, c.column,
             *((c.after, c.before) if back else (c.before, c.after)))
            for c in found
            if (how := (what := c.kind).rpartition("-")[2]) in OPPOSITE
        }  # fmt: skip

    assert facts(drift(one, other), back=True) == facts(drift(other, one), back=False)


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine(embedded.connection_url(), poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
        yield connection
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE")


def test_what_was_done_to_real_tables_is_told(connection: sa.Connection) -> None:
    connection.exec_driver_sql("""
        CREATE TABLE trades (trade_id int PRIMARY KEY, price numeric(9, 2) NOT NULL, side text,
            old int, day date);
        INSERT INTO trades SELECT n, 90 + n % 20, CASE WHEN n % 2 = 0 THEN 'BUY' ELSE 'SELL' END,
            n, date '2026-01-01' + n / 100 FROM generate_series(1, 2000) n;
        CREATE TABLE gone (x int); CREATE TABLE same (x int); INSERT INTO same VALUES (1), (NULL);
    """.replace("%", "%%"))  # fmt: skip
    before = profile_schema("demo", SCHEMA, progress=False)
    again = profile_schema("demo", SCHEMA, progress=False)
    assert drift(before, SchemaProfile.from_json(again.to_json())) == ()
    connection.exec_driver_sql("""
        DROP TABLE gone; CREATE TABLE came (x int);
        ALTER TABLE trades DROP COLUMN old, ADD COLUMN new int, ALTER price DROP NOT NULL,
            ALTER side TYPE varchar(4);
        UPDATE trades SET price = price / 100 WHERE trade_id % 2 = 0;
        UPDATE trades SET side = NULL WHERE trade_id % 10 = 0;
        DELETE FROM trades WHERE trade_id > 1500;
        CREATE INDEX by_day ON trades (day);
    """.replace("%", "%%"))  # fmt: skip
    after = profile_schema("demo", SCHEMA, progress=False)
    told = [(c.severity, c.kind, c.table, c.column) for c in drift(before, after)]
    assert told == [
        ("critical", "table-dropped", "gone", None),
        ("critical", "column-dropped", "trades", "old"),
        ("critical", "distribution-moved", "trades", "price"),
        ("warning", "rows-shrunk", "trades", None),
        ("warning", "nullable-changed", "trades", "price"),
        ("warning", "range-widened", "trades", "price"),
        ("warning", "column-retyped", "trades", "side"),
        ("warning", "nulls-moved", "trades", "side"),
        ("info", "table-added", "came", None),
        ("info", "index-added", "trades", None),
        ("info", "range-narrowed", "trades", "day"),
        ("info", "column-added", "trades", "new"),
    ]
