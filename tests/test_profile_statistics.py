"""Every exact figure is what plain Python and polars make of the same rows."""

from __future__ import annotations

import datetime as dt
import math
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.dialects import oracle as oracledb
from standin import Oracle

import workbench
from workbench import embedded
from workbench.profiling.model import QUANTILES, Column, Figure, Kind, Table
from workbench.profiling.sampling import Scope, scope
from workbench.profiling.statistics import Oracle as OracleSQL
from workbench.profiling.statistics import _source, measure

AS_OF = "2026-01-31T12:00:00"
MOMENT = dt.datetime.fromisoformat(AS_OF)
BLANKS = " \t\r\n\v\f\xa0"
TYPES: dict[str, tuple[Kind, Any]] = {
    "smallint": ("integer", pl.Int64),
    "bigint": ("integer", pl.Int64),
    "numeric": ("decimal", pl.Decimal(38, 12)),
    "numeric(30,4)": ("decimal", pl.Decimal(38, 4)),
    "double precision": ("float", pl.Float64),
    "real": ("float", pl.Float32),
    "text": ("text", pl.String),
    "character(5)": ("text", pl.String),
    "boolean": ("boolean", pl.Boolean),
    "date": ("date", pl.Date),
    "timestamp without time zone": ("datetime", pl.Datetime("us")),
    "timestamp with time zone": ("datetime", pl.Datetime("us")),
    "time without time zone": ("time", pl.Time),
    "bytea": ("other", pl.Binary),
}
MOMENTS = st.datetimes() | st.sampled_from([dt.datetime.min, dt.datetime.max, MOMENT])
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**25),
                       max_value=10**25)  # fmt: skip
ODD = st.sampled_from([Decimal("NaN")])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1]),
    "numeric": DECIMALS | st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Inf")]),
    "numeric(30,4)": st.decimals(-(10**25), 10**25, places=4) | ODD,
    # The squares of smaller ones, of which a deviation is made, have lost digits.
    "double precision": st.floats().filter(lambda number: not 0 < abs(number) < 1e-140)
    | st.sampled_from([1.7e308, -1.7e308, 5e-324, -0.0]),
    "real": st.floats(width=32),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.sampled_from(["", BLANKS, "é" * 300, "%s :x ' \" \\", "NULL"]),
    "character(5)": st.text("ab ", max_size=5),
    "boolean": st.booleans(),
    "date": MOMENTS.map(dt.datetime.date),
    "timestamp without time zone": MOMENTS,
    "timestamp with time zone": MOMENTS,
    "time without time zone": st.times(),
    "bytea": st.binary(max_size=4),
}


@pytest.fixture(scope="module")
def engine(worker_id: str) -> Iterator[sa.Engine]:
    name = f"profile_statistics_{worker_id}"
    with workbench.connect("demo"):
        made = sa.create_engine(
            embedded.connection_url(), connect_args={"options": f"-c search_path={name}"}
        )
    with made.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
    yield made
    with made.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
    made.dispose()


def schema(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def written(
    connection: sa.Connection, types: dict[str, str], rows: Sequence[Sequence[Any]], name: str = "t"
) -> Table:
    """Create a table of these columns and rows; it goes with the transaction."""
    cursor = connection.connection.cursor()
    listed = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
    cursor.execute(f"CREATE TABLE {quoted(name)} ({listed})".encode())
    with cursor.copy(f"COPY {quoted(name)} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    columns = (Column(column, kind, TYPES[kind][0]) for column, kind in types.items())
    return Table(name, columns=tuple(columns))


def figures(
    connection: sa.Connection, table: Table, percent: float | None = 100
) -> tuple[Table, Scope]:
    where = schema(connection.engine)
    part = scope(table, where, connection.dialect, percent, 1)
    return measure(connection, where, table, part, AS_OF), part


def values(column: Column) -> dict[str, Any]:
    """Give a column's figures by name, decimals as numbers; each says how it was obtained."""
    found: dict[str, Any] = {}
    ranked = Decimal if column.kind == "decimal" else lambda value: value
    for name in Column.__slots__:
        value = getattr(column, name)
        if isinstance(value, Figure):
            assert (value.how, value.as_of) == ("exact", AS_OF)
            found[name] = ranked(value.value) if name in ("min", "max") else value.value
    if column.quantiles:
        found["quantiles"] = {
            name: ranked(figure.value) for name, figure in column.quantiles.items()
        }
    return found


def told(kind: Kind, value: Any, dtype: Any = None) -> Any:
    """Write a value as the model has it; decimals as numbers, to be compared as such."""
    if dtype == pl.Float32:  # the fewest digits that mean it
        texts = (f"{value:.{digits}g}" for digits in range(1, 10))
        return float(next(text for text in texts if struct.pack("f", float(text))
                          == struct.pack("f", value)))  # fmt: skip
    if kind in ("date", "datetime", "time"):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    return value


def naive(type_: str, given: Sequence[Any]) -> dict[str, Any]:
    """Compute a column's figures plainly."""
    kind, dtype = TYPES[type_]
    present = [value for value in given if value is not None]
    found: dict[str, Any] = {"nulls": len(given) - len(present)}
    if kind == "other":
        return found
    if kind in ("float", "decimal"):
        found["nan"] = sum(math.isnan(value) for value in present)
        found["infinite"] = sum(math.isinf(value) for value in present)
        present = [value for value in present if math.isfinite(value)]
    if type_ == "character(5)":
        present = [value.rstrip(" ") for value in present]
    series = pl.Series(present, dtype=dtype)
    found["distinct"] = series.n_unique()
    if kind == "boolean":
        return found | {"true": int(series.sum())}
    if kind == "text":
        found["blank"] = sum(not value.strip(BLANKS) for value in present)
    if kind in ("date", "datetime"):
        moments = series.cast(pl.Datetime("us"))
        found["future"] = int((moments > MOMENT).sum())
    if not present:
        return found
    ordered = series.sort()
    found |= {name: told(kind, ordered[place], dtype) for name, place in (("min", 0), ("max", -1))}
    if kind == "text":
        lengths = series.str.len_chars()
        found |= {
            "min": found["min"][:200], "max": found["max"][:200], "min_length": lengths.min(),
            "max_length": lengths.max(), "mean_length": pytest.approx(lengths.mean()),
        }  # fmt: skip
    if kind in ("integer", "decimal", "float", "date", "datetime"):
        ranks = (math.ceil(Fraction(str(part)) * len(present)) - 1 for part in QUANTILES)
        found["quantiles"] = {
            str(part): told(kind, ordered[rank], dtype)
            for part, rank in zip(QUANTILES, ranks, strict=True)
        }
    if kind in ("integer", "decimal", "float"):
        found |= moments_of(ordered.to_list(), kind, 1e-7 if dtype == pl.Float32 else 1e-9)
    return found


def moments_of(numbers: Sequence[Any], kind: Kind, rel: float) -> dict[str, Any]:
    """Give mean and standard deviation by exact fractions."""
    exact = [Fraction(number) for number in numbers]
    largest = max(map(abs, exact))
    if kind == "float" and largest >= Fraction(1e150):
        return {}
    mean = sum(exact) / len(exact)
    near = float(largest) * 1e-9
    found = {"mean": pytest.approx(float(mean), rel=rel, abs=near)}
    if len(exact) > 1:
        variance = sum((number - mean) ** 2 for number in exact) / (len(exact) - 1)
        found["stddev"] = pytest.approx(math.sqrt(variance), rel=1e-6, abs=near)
    return found


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[list[Any]]]:
    kinds = draw(st.lists(st.sampled_from(list(TYPES)), min_size=30, max_size=60))
    count = draw(st.sampled_from([0, 1, 2, 7, 100, 700]))
    dice = random.Random(draw(st.integers()))
    columns = []
    for kind in kinds:
        pool = [None, *draw(st.lists(VALUES[kind], min_size=1, max_size=8))]
        columns.append(dice.choices(pool, k=count))
    names = draw(st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9)
        | st.sampled_from(["select", "Name", 'a"b', "%(x)s", ":x", "count", "drawn", "é"]),
        min_size=len(kinds), max_size=len(kinds), unique=True,
    ))  # fmt: skip
    types = dict(zip(names, kinds, strict=True))
    return types, [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@given(tables())
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
def test_every_exact_figure_is_the_naive_one(
    engine: sa.Engine, made: tuple[dict[str, str], list[list[Any]]]
) -> None:
    types, rows = made
    with engine.connect() as connection:
        table, part = figures(connection, written(connection, types, rows))
    assert (part.how, table.problem) == ("exact", None)
    assert table.rows == Figure(len(rows), "exact", AS_OF)
    for place, column in enumerate(table.columns):
        found = values(column)
        wanted = naive(column.type, [row[place] for row in rows])
        differs = {
            k: (found.get(k), wanted.get(k))
            for k in {*found, *wanted}
            if found.get(k) != wanted.get(k)
        }
        assert not differs, column.type


def statements(engine: sa.Engine) -> list[str]:
    """List what is executed from now on."""
    found: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: found.append(given[2]))
    return found


@pytest.mark.parametrize(("width", "asked"), [(1, 1), (100, 1), (201, 3)])
def test_one_statement_measures_a_table_of_up_to_100_columns(
    engine: sa.Engine, width: int, asked: int
) -> None:
    with engine.connect() as connection:
        row = [n % 100 for n in range(width)]
        types = {f"c{n}": "smallint" for n in range(width)}
        table = written(connection, types, [row, [1] * width])
        where = schema(connection.engine)
        part = scope(table, where, connection.dialect, None, 1000)
        executed = statements(engine)
        found = measure(connection, where, table, part, AS_OF)
        assert len(executed) == asked
    assert [values(column)["max"] for column in found.columns] == [max(n, 1) for n in row]


def test_what_was_measured_is_kept_when_time_ends_in_a_later_statement(engine: sa.Engine) -> None:
    columns = tuple(Column(f"c{n}", "integer", "integer") for n in range(150))
    slow = "CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql STABLE AS"
    listed = ", ".join("slow() AS c120" if c.name == "c120" else f"7 AS {c.name}" for c in columns)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"{slow} 'BEGIN PERFORM pg_sleep(60); RETURN 7; END'")
        connection.exec_driver_sql(f"CREATE VIEW wide AS SELECT {listed}")
        connection.commit()
        connection.exec_driver_sql("SET statement_timeout = 1000")
        found, _ = figures(connection, Table("wide", "view", columns=columns))
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        connection.exec_driver_sql("RESET statement_timeout; DROP VIEW wide; DROP FUNCTION slow")
        connection.commit()
    assert [column.max is not None for column in found.columns] == [n < 100 for n in range(150)]
    assert found.problem
    assert "100 of its 150 columns" in found.problem


def test_a_column_whose_figures_fail_costs_no_other_its_own(engine: sa.Engine) -> None:
    names = [f"c{n}" for n in range(40)]
    types = dict.fromkeys(names, "bigint") | {"c23": "numeric"}
    huge = "9" * 131_072  # as many as it can have: there is no sum of two
    rows = [[n, *range(39)] for n in range(2)]
    for row in rows:
        row[23] = huge
    with engine.connect() as connection:
        table = written(connection, types, rows, "odd")
        connection.connection.commit()
        found, _ = figures(connection, table)
    wanted = [len({row[place] for row in rows}) for place in range(40)]
    distinct = [column.distinct and column.distinct.value for column in found.columns]
    assert distinct == [None if place == 23 else n for place, n in enumerate(wanted)]
    assert found.rows == Figure(2, "exact", AS_OF)
    assert found.columns[23].nulls == Figure(0, "exact", AS_OF)
    assert "c23" in str(found.problem)


def test_a_domain_over_a_type_of_the_catalogs_own_is_measured(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE DOMAIN numbered AS oid; CREATE TABLE made (n numbered);"
            " INSERT INTO made VALUES (7), (3000000000)"
        )
        table = Table("made", columns=(Column("n", "numbered", "integer"),))
        found, _ = figures(connection, table)
    assert found.problem is None
    assert (values(found.columns[0])["max"], values(found.columns[0])["distinct"]) == (3 * 10**9, 2)


def test_a_mean_lies_between_the_smallest_and_the_largest(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        table = written(connection, {"d": "double precision", "r": "real"}, [[0.1, 0.1]] * 1000)
        found, _ = figures(connection, table)
    for column in found.columns:
        told = values(column)
        assert [told[name] for name in ("min", "mean", "max")] == [0.1] * 3


def test_moments_that_python_has_no_object_for_are_told_as_text(engine: sa.Engine) -> None:
    types = {"at": "timestamp with time zone", "day": "date"}
    with engine.connect() as connection:
        table = written(connection, types, [
            ("0044-03-15 10:00:00+00 BC", "0044-03-15 BC"), ("infinity", "12026-01-31"),
            ("-infinity", None),
        ])  # fmt: skip
        at, day = map(values, figures(connection, table)[0].columns)
    assert (at["min"], at["max"], at["future"]) == ("-infinity", "infinity", 1)
    assert at["quantiles"]["0.5"] == "0044-03-15T10:00:00 BC"
    assert (day["min"], day["max"], day["future"]) == ("0044-03-15 BC", "12026-01-31", 1)


def test_a_table_without_columns_or_of_the_catalogs_own_types_is_measured(
    engine: sa.Engine,
) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES")
        assert figures(connection, Table("bare"))[0].rows == Figure(1, "exact", AS_OF)
        columns = (Column("oid", "oid", "integer"), Column("relname", "name", "text"))
        table = Table("pg_class", columns=columns)
        part = scope(table, "pg_catalog", connection.dialect, 100, 1)
        found = measure(connection, "pg_catalog", table, part, AS_OF)
        oids = connection.exec_driver_sql("SELECT oid::int8 FROM pg_class").scalars().all()
    assert found.problem is None
    assert values(found.columns[0])["max"] == max(oids)


def known(
    table: Table, rows: int | None, heap: int | None = None, toast: int = 0, stale: bool = False
) -> Table:
    def figure(number: int | None) -> Figure | None:
        return None if number is None else Figure(number, "dictionary", AS_OF)

    sizes = {"heap": figure(heap), "toast": figure(toast)}
    return replace(table, rows=figure(rows), stale=stale, **sizes)


def test_what_is_sampled_follows_from_the_rows_the_sizes_and_the_percentage() -> None:
    dialect = sa.create_engine("postgresql+psycopg://").dialect
    table = Table("t", columns=(Column("a", "text", "text"),))
    no_text = Table("t", columns=(Column("a", "bytea", "other"),))
    block, many = 8192, 10**9

    def how(table: Table, percent: float | None = None, rows: int = 200_000) -> str:
        return scope(table, "s", dialect, percent, rows).how

    assert how(table) == "exact"
    assert how(known(table, 200_000)) == "exact"
    assert how(known(table, 4_000_000)) == "sampled 5 %"
    assert how(known(table, 6_100_000_000)) == "sampled 0.0033 %"
    assert how(known(table, 4_000_000), 100) == "exact"
    assert how(known(table, 4_000_000), 12.5) == "sampled 12.5 %"
    assert how(known(table, 10, 4_000_000_000, stale=True)) == "sampled 0.5 %"
    assert how(known(table, None, 4_000_000_000)) == "sampled 0.5 %"
    assert how(replace(known(table, 4_000_000), kind="view"), 5) == "exact"
    # At least thirty blocks, of however many rows.
    assert how(known(table, 1000, 10 * block), 10) == "exact"
    assert how(known(table, 300_000, 1500 * block), 1) == "sampled 2 %"
    assert how(known(table, 300_000, 1500 * block), 4) == "sampled 4 %"
    assert how(known(table, many, 30 * block)) == "exact"
    assert how(known(table, many, 60 * block)) == "sampled 50 %"
    # Few rows and many bytes; of long values texts alone are read.
    assert how(known(table, 1000, 200_000_000)) == "exact"
    assert how(known(table, 1000, 400_000_000)) == "sampled 50 %"
    assert how(known(table, 1000, 100_000_000, 400_000_000)) == "sampled 40 %"
    assert how(known(no_text, 1000, 100_000_000, 400_000_000)) == "exact"
    assert how(known(table, None, 3 * block, 96_000_000)) == "exact"


@pytest.mark.parametrize("stale", [True, False])
def test_a_sample_is_what_it_says_and_its_estimates_are_near_the_truth(
    engine: sa.Engine, stale: bool
) -> None:
    columns = tuple(Column(name, "integer", "integer") for name in ("unique", "few", "half"))
    columns += (Column("flag", "boolean", "boolean"), Column("word", "text", "text"))
    made = """
        CREATE TABLE "big" AS SELECT g AS "unique", (g * 7919) % 50 AS few,
            CASE WHEN g % 2 = 0 THEN g END AS half, g % 4 = 0 AS flag, '' AS word
        FROM generate_series(1, 60000) g
    """
    with engine.connect() as connection:
        connection.exec_driver_sql(made.replace("%", "%%"))
        table = known(Table("big", columns=columns), 60_000, stale=stale)
        where = schema(connection.engine)
        part = scope(table, where, connection.dialect, None, 12_000)
        executed = statements(engine)
        found = measure(connection, where, table, part, AS_OF)
        assert len(executed) == 1
        drawn = 'FROM "big" TABLESAMPLE SYSTEM (20) REPEATABLE (1)'
        [(rows, nulls)] = connection.exec_driver_sql(
            f'SELECT count(*), count(*) - count(half) {drawn}'
        )  # fmt: skip
    assert part.how == "sampled 20 %"
    # What the dictionary has counted lately is nearer the truth than the share of the blocks.
    total = rows * 5 if stale else 60_000
    assert found.rows == Figure(total, "sampled 20 %", AS_OF)
    unique, few, half, flag, word = found.columns
    assert half.nulls == Figure(round(nulls * total / rows), "sampled 20 %", AS_OF)
    assert found.rows.value == pytest.approx(60_000, rel=0.3)
    assert unique.distinct.value == found.rows.value
    assert few.distinct.value == 50
    assert half.distinct.value == pytest.approx(found.rows.value / 2, rel=0.1)
    assert flag.true.value == pytest.approx(found.rows.value / 4, rel=0.1)
    assert (flag.distinct.value, word.distinct.value) == (2, 1)
    assert word.blank.value == found.rows.value
    assert unique.mean.value == pytest.approx(30_000, rel=0.2)


def test_a_sample_that_is_empty_is_not_told_as_no_rows(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        table = known(written(connection, {"a": "bigint"}, [[1]]), 10**9)
        found, part = figures(connection, table, 0.001)
    assert part.how == "sampled 0.001 %"
    assert found.rows == table.rows
    assert found.problem
    assert "sample of 0.001 %" in found.problem


@pytest.mark.oracle
def test_oracle_computes_the_same(oracle: Oracle, oracle_source: Callable[..., str]) -> None:
    rows = [
        (1, Decimal("12.50"), "a", dt.datetime(2026, 1, 30, 1, 2, 3), 0.5),
        (2, Decimal("-3.25"), "  ", dt.datetime(2026, 2, 1), 1e100),
        (None, None, None, None, None),
        (9007199254740993, Decimal("12.50"), "é", dt.datetime(1999, 1, 1), -0.25),
    ]
    with workbench.connect(oracle_source("read_only = false")) as db:
        name = "profile_figures"
        kinds = ("NUMBER(18)", "NUMBER(20,2)", "VARCHAR2(20)", "DATE", "BINARY_DOUBLE")
        types = dict(zip("nmwdf", kinds, strict=True))
        listed = ", ".join(f"{column} {kind}" for column, kind in types.items())
        with db.engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE {name} ({listed})")
        try:
            db.execute_many(f"INSERT INTO {name} VALUES (:n, :m, :w, :d, :f)",
                            [dict(zip("nmwdf", row, strict=True)) for row in rows])  # fmt: skip
            given: list[Kind] = ["integer", "decimal", "text", "datetime", "float"]
            columns = (Column(n, t, k) for (n, t), k in zip(types.items(), given, strict=True))
            table = Table(name, columns=tuple(columns))
            with db.engine.connect() as connection:
                where = oracle.username.lower()
                part = scope(table, where, connection.dialect, None, 1000)
                found = measure(connection, where, table, part, AS_OF)
        finally:
            with db.engine.begin() as connection:
                connection.exec_driver_sql(f"DROP TABLE {name}")
    assert found.problem is None
    as_type = ["bigint", "numeric(30,4)", "text", "timestamp without time zone", "double precision"]
    for place, column in enumerate(found.columns):
        wanted = naive(as_type[place], [row[place] for row in rows])
        for unknown in {"nan", "infinite"} - values(column).keys():
            wanted.pop(unknown, None)
        assert values(column) == wanted


@pytest.mark.oracle
def test_oracle_is_asked_in_as_many_statements_as_its_limit_of_columns_takes(
    oracle: Oracle, oracle_source: Callable[..., str]
) -> None:
    names = [f"c{n}" for n in range(70)]
    with workbench.connect(oracle_source("read_only = false")) as db:
        try:
            with db.engine.begin() as connection:
                listed = ", ".join(f"{name} NUMBER(9)" for name in names)
                connection.exec_driver_sql(f"CREATE TABLE profile_wide ({listed})")
                numbers = ", ".join(map(str, range(70)))
                connection.exec_driver_sql(f"INSERT INTO profile_wide VALUES ({numbers})")
            columns = tuple(Column(name, "NUMBER(9)", "integer") for name in names)
            table = Table("profile_wide", columns=columns)
            executed = statements(db.engine)
            with db.engine.connect() as connection:
                where = oracle.username.lower()
                part = scope(table, where, connection.dialect, None, 1000)
                found = measure(connection, where, table, part, AS_OF)
            assert len([text for text in executed if text.startswith("SELECT")]) == 2
        finally:
            with db.engine.begin() as connection:
                connection.exec_driver_sql("DROP TABLE profile_wide")
    assert [column.max.value for column in found.columns] == [*range(70)]


@pytest.mark.oracle
def test_a_long_column_costs_oracle_nothing_but_its_own_figures(
    oracle: Oracle, oracle_source: Callable[..., str]
) -> None:
    columns = (
        Column("n", "NUMBER(9)", "integer"), Column("notes_", "LONG", "other"),
        Column("b", "BLOB", "other"), Column("f", "FLOAT(126)", "decimal"),
    )  # fmt: skip
    with workbench.connect(oracle_source("read_only = false")) as db:
        try:
            with db.engine.begin() as connection:
                listed = ", ".join(f"{column.name} {column.type}" for column in columns)
                connection.exec_driver_sql(f"CREATE TABLE profile_long ({listed})")
                filled = "INSERT INTO profile_long VALUES (7, NULL, NULL, 12345678901.25)"
                connection.exec_driver_sql(filled)
            table = Table("profile_long", columns=columns)
            executed = statements(db.engine)
            with db.engine.connect() as connection:
                where = oracle.username.lower()
                part = scope(table, where, connection.dialect, None, 1000)
                found = measure(connection, where, table, part, AS_OF)
        finally:
            with db.engine.begin() as connection:
                connection.exec_driver_sql("DROP TABLE profile_long")
    [asked] = [text for text in executed if text.startswith("SELECT")]
    assert "notes_" not in asked
    assert ".b IS NOT NULL" in asked  # of a LOB nothing but that is looked at
    assert ".f AS NUMBER)" in asked  # which the driver does not make a double of
    n, notes, b, f = found.columns
    assert notes == columns[1]
    assert (found.problem, n.max.value, b.nulls.value) == (None, 7, 1)
    assert (f.max.value, f.distinct.value) == ("12345678901.25", 1)


def test_oracle_is_to_draw_a_sample_once_for_all_columns() -> None:
    # Not run: the stand-in knows no SAMPLE.
    columns = (Column("n", "NUMBER(9)", "integer"), Column("b", "BLOB", "other"))
    table = known(Table("big", columns=columns), 4_000_000)
    part = scope(table, "own", oracledb.dialect(), None, 200_000)
    drawn, _ = _source(columns, part, OracleSQL())
    text = str(sa.select(drawn).compile(dialect=oracledb.dialect()))
    assert "WITH drawn AS \n(SELECT /*+ MATERIALIZE */ sampled.n" in text
    assert text.count("SAMPLE BLOCK (5) SEED (1)") == 1
    assert ".b IS NOT NULL" in text
