"""What a profile's findings say is there, is worth telling, and can be looked at."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from workbench import embedded
from workbench.database import connect
from workbench.profiling.findings import find
from workbench.profiling.model import (
    Column,
    FanOut,
    Figure,
    Finding,
    ForeignKey,
    Index,
    InvalidObject,
    Key,
    Relation,
    SchemaProfile,
    Share,
    Table,
)
from workbench.profiling.survey import profile_schema

AS_OF = "2026-01-31T17:05:00"
SCHEMA = f"profile_findings_{os.environ.get('PYTEST_XDIST_WORKER', 'master')}"
PRICES = {"0.01": 80, "0.25": 90, "0.5": 95, "0.75": 100, "0.99": 108}


def figure(value: Any, how: str = "exact") -> Figure:
    return Figure(value, how, AS_OF)


def column(
    name: str = "x", kind: Any = "text", how: str = "exact", type_: str = "x", **known: Any
) -> Column:
    """A column without nulls, whose other numbers are figures."""
    made = {
        key: figure(value, how) if isinstance(value, int | float) else value
        for key, value in {"nulls": 0, **known}.items()
    }
    if "quantiles" in made:
        made["quantiles"] = {at: figure(value, how) for at, value in made["quantiles"].items()}
    return Column(name, type_, kind, **made)


def table(*columns: Column, rows: Any = 1000, **known: Any) -> Table:
    """A table with nothing odd about it but what is given."""
    made: dict[str, Any] = {
        "primary_key": Key(("id",)), "analyzed": AS_OF, "name": "t", "rows": rows, **known
    }  # fmt: skip
    if isinstance(made["rows"], int):
        made["rows"] = figure(made["rows"])
    return Table(columns=(column("id", "integer", distinct=1000), *columns), **made)


def profile(*tables: Table, **known: Any) -> SchemaProfile:
    return SchemaProfile("demo", "S", AS_OF, "PostgreSQL 18.4", 2, tables, **known)


def kinds(*tables: Table, **known: Any) -> list[str]:
    return [finding.kind for finding in find(profile(*tables, **known))]


def amounts(name: str = "price", **known: Any) -> Table:
    known = {"min": 70, "max": 110, "quantiles": PRICES, **known}
    return table(column(name, "decimal", **known))


def indexed(*indexes: Index, rows: int = 10_000) -> Table:
    return table(column("a"), column("b"), indexes=indexes, rows=rows)


UNIQUE = column("code", distinct=1000)
IDLE = Index("i", ("a",), scans=figure(0))


@pytest.mark.parametrize(
    ("kind", "below", "above"),
    [
        ("missing-primary-key", table(), table(primary_key=None)),
        ("missing-primary-key", table(primary_key=None, kind="view"), table(primary_key=None)),
        ("duplicated-rows", table(primary_key=None, duplicates=figure(0)),
         table(primary_key=None, duplicates=figure(1))),
        ("duplicated-rows", table(duplicates=figure(1)),
         table(primary_key=None, duplicates=figure(1))),
        ("fan-out", table(fan_out=FanOut(("x",), figure(0))),
         table(fan_out=FanOut(("x",), figure(1)))),
        ("constant-column", table(column(distinct=2)), table(column(distinct=1))),
        ("constant-column", table(column(distinct=1), rows=9), table(column(distinct=1), rows=10)),
        ("constant-column", table(column(distinct=1, nulls=1)), table(column(distinct=1))),
        ("empty-column", table(column(nulls=999, distinct=1)),
         table(column(nulls=1000, distinct=0))),
        ("empty-column", table(column(kind="other", nulls=999)),
         table(column(kind="other", nulls=1000))),
        ("empty-table", table(rows=1), table(rows=0)),
        ("numbers-in-text", table(column(numeric_text=949)), table(column(numeric_text=950))),
        ("numbers-in-text", table(column(numeric_text=9), rows=9),
         table(column(numeric_text=10), rows=10)),
        ("numbers-in-text", table(column(numeric_text=800)),
         table(column(nulls=200, numeric_text=800))),
        ("numbers-in-text", table(column("customer_id", numeric_text=1000)),
         table(column("paid", numeric_text=1000))),
        ("numbers-in-text", table(column("zipCode", numeric_text=1000)),
         table(column("decode_ms", numeric_text=1000))),
        ("numbers-in-text", table(column(numeric_text=1000, max_length=1)),
         table(column(numeric_text=1000, max_length=2))),
        ("dates-in-text", table(column(date_text=949)), table(column(date_text=950))),
        ("future-dates", table(column("made", "date", future=0)),
         table(column("made", "date", future=1))),
        ("future-dates", table(column("valid_to", "date", future=1)),
         table(column("invoiced", "date", future=1))),
        ("future-dates", table(column("dueDate", "date", future=1)),
         table(column("endowed", "date", future=1))),
        # Fences by the quartiles are 60 and 130, by their logarithms 65.6 and 137.2; by the tails
        # 35 (80 less 3·15) and 147, by their logarithms 47.8 and 158.7 (108 · (108/95)³).
        ("outliers", amounts(max=158.6), amounts(max=158.8)),
        ("outliers", amounts(min=35), amounts(min=34.99)),
        ("outliers", amounts("message_id", max=9999), amounts(max=9999)),
        ("blank-texts", table(column(blank=0)), table(column(blank=1))),
        ("nan-values", table(column(kind="float", nan=0)), table(column(kind="float", nan=1))),
        ("nan-values", table(column(kind="float", infinite=0)),
         table(column(kind="float", infinite=1))),
        ("personal-data", table(column(personal=(Share("email", figure(0)),))),
         table(column(personal=(Share("email", figure(1)),)))),
        ("not-profiled", table(), table(problem="Not measured: it is locked.")),
        ("stale-statistics", table(stale=False), table(stale=True)),
        ("missing-statistics", table(), table(analyzed=None)),
        ("missing-statistics", table(analyzed=None, kind="view"), table(analyzed=None)),
        ("missing-statistics", table(analyzed=None, rows=0), table(analyzed=None, rows=1)),
        ("unused-index", indexed(IDLE, rows=9999), indexed(IDLE)),
        ("unused-index", indexed(replace(IDLE, scans=figure(1))), indexed(IDLE)),
        ("unused-index", indexed(replace(IDLE, scans=None)), indexed(IDLE)),
        ("unused-index", indexed(replace(IDLE, unique=True)), indexed(IDLE)),
        ("unused-index", indexed(replace(IDLE, columns=("id",))), indexed(IDLE)),
        ("redundant-index", indexed(Index("i", ("a",)), Index("j", ("b", "a"))),
         indexed(Index("i", ("a",)), Index("j", ("a", "b")))),
        ("redundant-index", indexed(Index("i", ("a",), unique=True), Index("j", ("a", "b"))),
         indexed(Index("i", ("a",)), Index("j", ("a",), unique=True))),
        ("redundant-index", indexed(Index("i", (None,)), Index("j", (None, "b"))),
         indexed(Index("i", ("a",)), Index("j", ("a", None)))),
        ("unenforced-foreign-key", table(foreign_keys=(ForeignKey(("x",), "t", ("id",)),)),
         table(foreign_keys=(ForeignKey(("x",), "t", ("id",), enforced=False),))),
    ],
)  # fmt: skip
def test_a_rule_begins_where_it_says(kind: str, below: Table, above: Table) -> None:
    assert kind not in kinds(below)
    assert kind in kinds(above)


def test_a_long_tail_is_no_outlier() -> None:
    # Lognormal, sigma 2, by its quantiles: a million rows reach exp(2 · 4.75).
    skewed = {"0.01": 0.0095, "0.25": 0.2595, "0.5": 1, "0.75": 3.853, "0.99": 104.9}
    assert kinds(amounts(min=0.0001, max=13_360, quantiles=skewed)) == []
    # Exponential with mean 1 and zeros in it: a million rows reach 13.8.
    skewed = {"0.01": 0.0, "0.25": 0.288, "0.5": 0.693, "0.75": 1.386, "0.99": 4.605}
    assert kinds(amounts(min=0, max=13.8, quantiles=skewed)) == []
    assert kinds(amounts(min=0, max=1386, quantiles=skewed)) == ["outliers"]
    # Half of the values and more are alike: no fence can be drawn.
    alike = {"0.01": 0, "0.25": 0, "0.5": 0, "0.75": 0, "0.99": 5}
    assert kinds(amounts(min=0, max=900, quantiles=alike)) == []


def test_the_fence_that_is_told_lies_before_the_value() -> None:
    known = {"0.01": 123456700, "0.25": 123456702, "0.5": 123456703, "0.75": 123456705,
             "0.99": 123456706}  # fmt: skip
    [found] = find(profile(amounts(min=123456700, max=123456730, quantiles=known)))
    fence = float(found.evidence.rpartition(" ")[2].rstrip("."))
    # Both 3 interquartile ranges and 3 times the way from the median above the tail.
    assert 123456714 <= fence < 123456716
    assert str(fence) in str(found.query)


def test_what_to_do_depends_on_why_a_table_was_not_profiled() -> None:
    problems = {
        "Not measured: locked by somebody else.": "nobody holds it",
        "Not measured: permission denied for table t.": "the right to read it",
        "Not measured: ORA-00942: table or view does not exist.": "the right to read it",
        'Not measured: materialized view "t" has not been populated.': "refresh",
        "Not measured: not finished in 60 s.": "more time",
        "Not measured: not reached within the 5 s of the run.": "more time",
        "Only rows and nulls could be counted: function avg(oid) does not exist.": "owner",
    }
    for problem, step in problems.items():
        [found] = find(profile(table(problem=problem)))
        assert (found.kind, found.evidence) == ("not-profiled", problem)
        assert step in found.next_step
    # Many of one cause are told together, and apart from the others.
    slow = [table(name=f"t{n}", problem="Not measured: not finished in 60 s.") for n in range(9)]
    bare = table(name="u", problem="Not measured: permission denied for table u.")
    told = [found.evidence for found in find(profile(*slow, bare))]
    assert len(told) == 2
    assert any(text.startswith("9 alike: t0, ") for text in told)


def test_rows_that_a_sample_shows_to_repeat_are_at_least_so_many() -> None:
    seen = figure(977, "seen in 18,834 rows")
    [found] = find(profile(table(column("id"), primary_key=None, duplicates=seen)))[:1]
    said = "at least 977 of 1,000 rows (seen in 18,834 rows) repeat another one"
    assert found.evidence.startswith(said)


def related(matched: float, orphans: int, *, declared: bool) -> Relation:
    return Relation("t", ("x",), "u", ("id",), declared, figure(matched), figure(orphans))


def test_an_undeclared_key_is_told_with_its_share_and_its_orphans() -> None:
    both = table(column()), table(name="u")
    assert kinds(*both, relations=(related(0.89, 9, declared=False),)) == []
    assert kinds(*both, relations=(related(1.0, 0, declared=False),)) == ["undeclared-foreign-key"]
    orphans, key = find(profile(*both, relations=(related(0.99999, 9, declared=False),)))
    assert (orphans.severity, orphans.kind, orphans.rows) == ("warning", "orphan-rows", figure(9))
    assert key.evidence == "99.99 % of the distinct values are in u (id) (exact)."


def test_orphans_of_a_declared_key_are_critical_and_told_once() -> None:
    key = ForeignKey(("x",), "u", ("id",), enforced=False)
    both = table(column(), foreign_keys=(key,)), table(name="u")
    assert kinds(*both) == ["unenforced-foreign-key"]
    assert kinds(*both, relations=(related(1.0, 0, declared=True),)) == []
    [orphans] = find(profile(*both, relations=(related(0.2, 800, declared=True),)))
    assert (orphans.severity, orphans.kind, orphans.columns) == ("critical", "orphan-rows", ("x",))
    assert orphans.evidence.startswith("800 of 1,000 rows (exact) have no match in u (id)")


def test_a_key_that_the_data_would_allow_is_named() -> None:
    [found] = find(profile(table(UNIQUE, primary_key=None, candidate_keys=(("code",), ("a", "b")))))
    assert found.evidence == "No primary key; unique in all 1,000 rows (exact): (code) and (a, b)."
    [found] = find(profile(table(primary_key=None, unique=(Key(("code",)),))))
    assert found.evidence == "No primary key; unique declared: (code)."


def test_what_a_sample_showed_is_not_said_of_all_rows() -> None:
    how = "sampled 5 %"
    seen = find(
        profile(
            table(
                column("one", how=how, distinct=1),
                column("none", how=how, nulls=1000, distinct=0),
                column("some", how=how, blank=40),
                rows=figure(1000, "dictionary"),
            ),
            table(rows=figure(0, "dictionary"), name="bare"),
        )
    )
    texts = {finding.kind: finding.evidence for finding in seen}
    assert (
        texts["constant-column"] == "One value in the rows that were looked at (sampled 5 %): one."
    )
    assert texts["empty-column"] == "No value in the rows that were looked at (sampled 5 %): none."
    assert texts["blank-texts"].startswith("about 40 of 1,000 rows (sampled 5 %)")
    assert texts["empty-table"] == "It seems to have no rows (dictionary)."


def test_types_of_columns_with_one_name_are_compared_across_tables() -> None:
    def of(name: str, *kinds_: tuple[str, str]) -> list[tuple[str, str]]:
        tables = [
            Table(f"t{n}", "view", columns=(column(name, kind, type_=written),))
            for n, (kind, written) in enumerate(kinds_)
        ]
        return [(f.severity, f.evidence) for f in find(profile(*tables))]

    short, long = ("text", "varchar(9)"), ("text", "varchar(12)")
    assert of("cusip", short, ("text", "VARCHAR(9)")) == []
    assert of("cusip", short, long) == [("info", "cusip is varchar(12) in t1; varchar(9) in t0.")]
    assert of("cusip", short, ("integer", "bigint"))[0][0] == "warning"
    assert of("name", short, long) == []
    assert of("name", short, ("integer", "bigint"))[0][0] == "info"


def test_findings_come_by_severity_then_by_rows_then_by_name() -> None:
    tables = [
        table(column(blank=5), name="b"), table(column(blank=7), name="c"),
        table(column(blank=5), name="a"),
        table(column(kind="float", nan=1), name="d"),
        table(duplicates=figure(1), primary_key=None, name="e"),
    ]  # fmt: skip
    invalid = (InvalidObject("v", "view", "It refers to nothing."),)
    expected = [
        ("critical", "e"), ("critical", None), ("warning", "d"), ("warning", "e"),
        ("info", "c"), ("info", "a"), ("info", "b"),
    ]  # fmt: skip
    for turned in (tables, tables[::-1]):
        found = find(profile(*turned, invalid_objects=invalid))
        assert [(f.severity, f.table) for f in found] == expected


def test_many_of_a_kind_do_not_drown_the_others() -> None:
    def bare(count: int) -> list[Table]:
        return [
            table(column(blank=count - n), name=f"t{n:02}", analyzed=None) for n in range(count)
        ]

    assert Counter(kinds(*bare(5))) == {"blank-texts": 5, "missing-statistics": 5}
    found = find(profile(*bare(40), table(column(kind="float", nan=1), name="z")))
    assert Counter(f.kind for f in found) == {
        "blank-texts": 4, "missing-statistics": 1, "nan-values": 1,
    }  # fmt: skip
    assert found[0].kind == "nan-values"
    assert [f.table for f in found if f.kind == "blank-texts"] == ["t00", "t01", "t02", None]
    [rest] = (f for f in found if f.kind == "blank-texts" and not f.table)
    assert rest.evidence.startswith("37 more: t03.x, t04.x, ")
    assert "and 29 more. The first: 37 of 1,000 rows" in rest.evidence
    [statistics] = (f for f in found if f.kind == "missing-statistics")
    assert statistics.evidence.startswith("40 alike: t00, t01, t02, ")
    assert (statistics.table, statistics.columns) == (None, ())


def test_nothing_is_said_of_a_profile_without_anything_odd() -> None:
    assert find(profile()) == ()
    assert find(profile(table(), table(name="empty view", kind="view", rows=None))) == ()
    assert find(profile(Table("locked"))) != ()


def test_statements_are_written_for_the_server() -> None:
    made = profile(table(column("x:y", "date", future=1), name="a%b"))
    [found] = find(made)
    assert found.query.endswith(
        'SELECT * FROM "S"."a%b" WHERE "x:y" > CURRENT_TIMESTAMP ORDER BY "x:y" DESC LIMIT 20'
    )
    [found] = find(replace(made, server="Oracle 19.3"))
    assert found.query.endswith('ORDER BY "x:y" DESC FETCH FIRST 20 ROWS ONLY')


# What is odd about a schema made for it, with rows that Python knows.
TODAY = dt.datetime.now(dt.UTC).date()
ORDERS = [
    {
        "order_id": n,
        "customer_code": f"C{n % 40 + 1:03}" if n % 100 else "C999",
        "Booked on": TODAY + dt.timedelta(days=30 if n < 3 else -n),
        "select": f"{n}.50" if n != 7 else "n/a",
        "day": (dt.date(2024, 1, 1) + dt.timedelta(days=n)).strftime("%Y-%m-%d"),
        "amount": 1_000_000 if n == 11 else 100 + n % 50,
        "ratio": float("nan") if n % 20 == 0 else n / 7,
        "currency": "USD",
        "remark": None,
        "note": " " if n % 10 == 0 else f"note {n % 300}",
        "mail": f"person{n}@example.com",
    }
    for n in range(400)
]
MADE = """
    CREATE TABLE customers (code text PRIMARY KEY, segment text);
    CREATE TABLE orders (
        order_id int, customer_code text, "Booked on" date, "select" text, day text, amount int,
        ratio float8, currency text, remark text, note text, mail text);
    CREATE TABLE "odd ""%% :x" (a int, b text);
    INSERT INTO "odd ""%% :x" SELECT n %% 30, 'b' || n %% 30 FROM generate_series(1, 100) n;
    CREATE TABLE loaded (a int, doc json, b text);
    INSERT INTO loaded SELECT n %% 7, '{}', 'x' || n %% 7 FROM generate_series(1, 30) n;
    CREATE TABLE child (parent text, line int, PRIMARY KEY (parent, line));
    INSERT INTO child SELECT 'C' || lpad((n %% 50)::text, 3, '0'), n FROM generate_series(1, 100) n;
    ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES customers NOT VALID;
    CREATE TABLE empty_one (id int PRIMARY KEY);
"""


@pytest.fixture(scope="module")
def made() -> Iterator[SchemaProfile]:
    engine = sa.create_engine(embedded.connection_url(), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        connection.exec_driver_sql(f"SET search_path TO {SCHEMA}")
        connection.exec_driver_sql(MADE)
        customers = [{"code": f"C{n + 1:03}", "segment": f"s{n % 3}"} for n in range(40)]
        names = ", ".join(f'"{name}"' for name in ORDERS[0])
        binds = ", ".join(f":c{n}" for n in range(len(ORDERS[0])))
        rows = [{f"c{n}": value for n, value in enumerate(row.values())} for row in ORDERS]
        connection.execute(sa.text("INSERT INTO customers VALUES (:code, :segment)"), customers)
        connection.execute(sa.text(f"INSERT INTO orders ({names}) VALUES ({binds})"), rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in ("customers", "orders", "child"):
            connection.exec_driver_sql(f"ANALYZE {SCHEMA}.{name}")
    yield profile_schema("demo", SCHEMA, depth=2, progress=False)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE")


def found_in(made: SchemaProfile, kind: str, name: str | None = None) -> Finding:
    [found] = (f for f in made.findings if f.kind == kind and (not name or f.table == name))
    return found


def rows_of(finding: Finding) -> int:
    assert finding.rows is not None
    assert finding.rows.how == "exact"
    return int(finding.rows.value)


def test_what_is_odd_about_real_tables_is_found(made: SchemaProfile) -> None:
    def count(test: Any) -> int:
        return sum(bool(test(row)) for row in ORDERS)

    assert rows_of(found_in(made, "future-dates")) == count(lambda r: r["Booked on"] > TODAY)
    assert rows_of(found_in(made, "numbers-in-text")) == count(lambda r: r["select"] != "n/a")
    assert rows_of(found_in(made, "dates-in-text")) == len(ORDERS)
    assert rows_of(found_in(made, "nan-values")) == count(lambda r: r["ratio"] != r["ratio"])
    assert rows_of(found_in(made, "blank-texts")) == count(lambda r: not r["note"].strip())
    assert rows_of(found_in(made, "personal-data")) == len(ORDERS)
    assert found_in(made, "constant-column").columns == ("currency",)
    assert found_in(made, "empty-column").columns == ("remark",)
    assert found_in(made, "empty-table").table == "empty_one"
    assert "1000000" in found_in(made, "outliers").evidence
    assert "(order_id)" in found_in(made, "missing-primary-key", "orders").evidence
    odd = [(n % 30, f"b{n % 30}") for n in range(1, 101)]
    assert rows_of(found_in(made, "duplicated-rows", 'odd "% :x')) == len(odd) - len(set(odd))
    declared = found_in(made, "orphan-rows", "child")
    parents = [f"C{n % 50:03}" for n in range(1, 101)]
    known = {f"C{n + 1:03}" for n in range(40)}
    assert rows_of(declared) == sum(parent not in known for parent in parents)
    assert declared.severity == "critical"
    guessed = found_in(made, "orphan-rows", "orders")
    assert rows_of(guessed) == count(lambda r: r["customer_code"] not in known)
    assert guessed.severity == "warning"
    assert "97.56 %" in found_in(made, "undeclared-foreign-key", "orders").evidence


def test_the_statements_of_next_steps_show_what_is_meant(made: SchemaProfile) -> None:
    statements = {
        (f.kind, f.table): f.query
        for f in made.findings if f.query and "SELECT" in f.query
    }  # fmt: skip
    with connect("demo") as db:
        shown = {at: db.read(statement).to_dicts() for at, statement in statements.items()}
    assert [row["order_id"] for row in shown["outliers", "orders"]] == [11]
    assert sorted(row["order_id"] for row in shown["future-dates", "orders"]) == [0, 1, 2]
    assert shown["orphan-rows", "orders"] == [{"customer_code": "C999", "n": 4}]
    assert sum(row["n"] for row in shown["orphan-rows", "child"]) == rows_of(
        found_in(made, "orphan-rows", "child")
    )
    assert len(shown["duplicated-rows", 'odd "% :x']) == 30
    rows = sorted(row["a"] for row in shown["duplicated-rows", "loaded"])
    assert rows == sorted({n % 7 for n in range(1, 31)})


def test_no_personal_value_is_in_a_finding(made: SchemaProfile) -> None:
    assert "@example.com" not in json.dumps([f.evidence + str(f.query) for f in made.findings])
