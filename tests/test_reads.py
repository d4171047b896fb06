"""What PostgreSQL holds is read as it is, in bounded pieces, and ends when it should."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import embedded, postgresql
from workbench.database import Database, connect
from workbench.errors import DataError, QueryError

MOMENT = dt.datetime(2026, 1, 9, 10, 30, 0, 123456)
PARIS = dt.timezone(dt.timedelta(hours=1))


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


@pytest.fixture(scope="module")
def witness() -> Iterator[psycopg.Cursor]:
    """The plain driver, with nothing of ours between."""
    url = embedded.connection_url().set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, options="-c timezone=UTC", autocommit=True) as connection:
        yield connection.cursor()


@pytest.fixture
def source(project: Path):
    """Write workbench.toml with one source on the embedded server and connect to it."""

    def write(*lines: str, options: str = "") -> Database:
        url = embedded.connection_url().update_query_dict({"options": options} if options else {})
        text = ["[sources.other]", f'url = "{url.render_as_string()}"', *lines]
        (project / "workbench.toml").write_text("\n".join(text))
        return connect("other")

    return write


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    signs = (math.copysign(1, value) for value in (one, other) if isinstance(value, float))
    return one == other and len(set(signs)) < 2


@pytest.mark.parametrize(
    "expression",
    [
        "'NaN'::float8", "'-inf'::float8", "'-0'::float8", "5e-324::float8",
        "1.7976931348623157e308::float8", "0.1::float8 + 0.2::float8", "0.5::float4",
        "-9223372036854775807 - 1", "4294967295::oid",
        "12345::numeric(2, -3)", "1e20::numeric(3, -18)", "1e20::numeric(38, -5)",
        "99999999999999999999999999999999999999::numeric(38)",
        "0.99999999999999999999999999999999999999::numeric(38, 38)",
        "0.00012::numeric(2, 5)", "1::numeric(100, 50)", "-0.0::numeric", "0.0000000001::numeric",
        "9999999999999999999999999999.9999999999::numeric",
        "-12345678901234567890123456.1234567891::numeric",
        "'0001-01-01'::date", "'9999-12-31'::date", "'0001-01-01 00:00:00.000001'::timestamp",
        "'9999-12-31 23:59:59.999999'::timestamp", "'1969-12-31 23:59:59.999999'::timestamp",
        "'2026-03-29 01:30+05:45'::timestamptz", "'23:59:59.999999'::time", "'00:00'::time",
        "'-1 day 0.000001 s'::interval", "'1 day -1 s'::interval", "'100000000 days'::interval",
        "''", "'NULL'", "' a '", "E'a\\r\\nb'", "E'\\r'", "E'\\n'", "'\"'", "'\\.'", "','", "'😀'",
        "'x'::char(5)", "repeat(E'x\"\\n', 3000000)", "'a'::name",
        "''::bytea", "'\\x00'::bytea", "decode(repeat('00ff0a', 1000000), 'hex')",
        "NULL::numeric", "NULL::bytea", "NULL::interval", "NULL::bool",
    ],
)  # fmt: skip
def test_a_value_is_what_the_plain_driver_reads(db, witness, expression: str) -> None:
    # Beside others, after a NULL and before one, so that nothing shifts.
    frame = db.read(
        f"SELECT n, (SELECT {expression} WHERE n = 2) AS x, -n AS m FROM generate_series(1, 3) n"
    )
    expected = witness.execute(f"SELECT {expression}").fetchone()[0]
    assert frame["n"].to_list() == [-m for m in frame["m"]] == [1, 2, 3]
    first, value, last = frame["x"]
    assert first is last is None
    assert same(value, expected)


def test_a_float4_is_its_value_and_not_its_shortest_text(db) -> None:
    frame = db.read("SELECT 0.1::float4 AS x, 0.1::float4::float8 AS y")
    assert frame["x"].dtype == pl.Float64
    assert frame["x"].equals(frame["y"].rename("x"))


@pytest.mark.parametrize(
    "expression",
    [
        "'10000-01-01'::date", "'-infinity'::date", "'294276-12-31'::timestamp",
        "'0001-01-01 BC'::timestamp", "'infinity'::timestamptz", "'24:00'::time",
        "'infinity'::interval", "'1 month'::interval", "'2147483647 days'::interval",
        "'NaN'::numeric(5, 2)", "'-Infinity'::numeric", "10000000000000000000000000000::numeric",
        "12345678901234567890123456.12345678912::numeric", "1e-40::numeric(3, 41)",
        "99999999999999999999999999999999999999::numeric", "1 / 3.0", "'NaN'::numeric(18)",
    ],
)  # fmt: skip
def test_what_fits_no_dtype_is_refused_by_its_column_and_not_shown(db, expression: str) -> None:
    with pytest.raises(DataError, match="Column 'x' holds") as caught:
        db.read(f"SELECT 1 AS a, {expression} AS x, 2 AS b")
    assert "CAST" in caught.value.hint
    assert db.engine.pool.checkedout() == 0


@pytest.mark.parametrize(
    "expression",
    ["'10:00+02'::timetz", "'(1,2)'::point", "'1.2.3.4'::inet", "12.5::money", "B'101'",
     "int4range(1, 2)", "ROW(1, 2)"],
)  # fmt: skip
def test_a_type_without_an_equal_is_refused_before_a_row_is_read(db, expression: str) -> None:
    with pytest.raises(DataError, match=r"Column 'x' has the type(.|\n)*CAST"):
        db.read(f"SELECT {expression} AS x, 1 / (n - 1) AS never FROM generate_series(1, 2) n")


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            st.integers(-(2**63), 2**63 - 1),
            st.decimals(-(10**27), 10**27, places=10),
            st.datetimes(),
            st.datetimes(timezones=st.just(PARIS), min_value=dt.datetime(1900, 1, 1)),
            st.binary(),
            st.floats().map(lambda number: number + 0.0),  # a bound -0.0 arrives as 0.0
            st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_goes_in_by_binds_comes_out(rows: list[tuple]) -> None:
    types = "text int8 numeric timestamp timestamptz bytea float8 interval".split()
    names = [[f"b{row}_{place}" for place in range(len(types))] for row in range(len(rows))]
    text = " UNION ALL ".join(
        "SELECT "
        + ", ".join(f"CAST(:{n} AS {t}) AS {t}_" for n, t in zip(line, types, strict=True))
        for line in names
    )
    values = {n: v for line, row in zip(names, rows, strict=True) for n, v in zip(line, row)}  # noqa: B905
    with connect("demo") as db:
        frame = db.read(text, **values)
    assert frame.height == len(rows)
    for got, given_ in zip(frame.rows(), rows, strict=True):
        assert all(map(same, got, given_)), (got, given_)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ":v IS NULL"), (True, ":v"), (7, ":v = 7"), (2**70, ":v = 1180591620717411303424"),
        (Decimal("0.1"), ":v = 0.1"), (0.1, ":v = 0.1::float8"), ("it's \\ %", "length(:v) = 8"),
        (dt.date(2026, 1, 9), ":v = DATE '2026-01-09'"), (b"\0'", "length(:v) = 2"),
        (MOMENT, ":v = TIMESTAMP '2026-01-09 10:30:00.123456'"),
        (MOMENT.replace(tzinfo=PARIS), ":v = TIMESTAMPTZ '2026-01-09 09:30:00.123456Z'"),
        ([1, 2], "2 = ANY(:v)"), ("é😀", ":v = 'é😀' AND ':v' <> :v"),
    ],
)  # fmt: skip
def test_binds_of_every_type(db, value: object, text: str) -> None:
    assert db.read(f"SELECT 1 AS one WHERE {text}", v=value).height == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":v::int", 7), (":v::int::text || ':v::int'", "7:v::int"), ("(:v)::int + :v::int", 14),
        ("'x'::text || :v::text /* :w::int */", "x7"), ("(ARRAY[5, 6])[:v::int - 5]", 6),
    ],
)  # fmt: skip
def test_a_bind_may_be_cast_as_postgresql_does(db, text: str, expected: object) -> None:
    assert db.read(f"SELECT {text} AS x", v="7")["x"].to_list() == [expected]


def test_an_empty_text_is_no_statement(db) -> None:
    for text in ("", " ;\n", "-- nothing"):
        with pytest.raises(QueryError, match="Only SELECT and WITH"):
            db.read(text)


def test_binds_of_selects(db) -> None:
    numbers = sa.func.generate_series(1, 10).column_valued("n")
    chosen = sa.select(numbers).order_by(numbers)
    of = numbers.in_
    assert db.read(chosen.where(of([3, 1])))["n"].to_list() == [1, 3]
    assert db.read(chosen.where(of([]))).is_empty()
    later = chosen.where(of(sa.bindparam("date", expanding=True)))
    assert db.read(later, date=[9, 2])["n"].to_list() == [2, 9]
    assert db.read(chosen.limit(2).offset(1))["n"].to_list() == [2, 3]
    with pytest.raises(QueryError, match="needs a value for :date"):
        db.read(later)


def test_a_missing_and_an_unknown_bind_are_named(db) -> None:
    with pytest.raises(QueryError, match="needs a value for :b"):
        db.read("SELECT :a + :b AS n", a=1)
    with pytest.raises(QueryError, match="no bind named 'b'"):
        db.read("SELECT :a AS n", a=1, b=2)


NAMES = ['"', "a b", "SELECT", "Mixed", "é", "%", "%(a)s", "'", "\\", "x;y", ":z", "1", "n" * 63]


def test_any_name_is_a_columns_name(db) -> None:
    # With a bare number among them, so that they are named twice.
    listed = ", ".join(f'{n}.5 AS "{name.replace(chr(34), chr(34) * 2)}"'
                       for n, name in enumerate(NAMES))  # fmt: skip
    frame = db.read(f"SELECT {listed}")
    assert frame.columns == NAMES
    assert frame.row(0) == tuple(Decimal(f"{n}.5") for n in range(len(NAMES)))
    pattern = db.read("""SELECT 1.5::real AS "^.*$", '\\x00ff'::bytea AS "*", 'x' AS b""")
    assert pattern.row(0) == (1.5, b"\x00\xff", "x")


@pytest.mark.parametrize("count", [300, 1000])
def test_many_columns(db, count: int) -> None:
    listed = ", ".join(f"n * {place} AS c{place}" for place in range(count))
    frame = db.read(f"SELECT {listed} FROM generate_series(1, 2) n")
    assert frame.rows() == [tuple(range(count)), tuple(range(0, 2 * count, 2))]


def test_results_of_odd_shapes(db) -> None:
    assert db.read("SELECT NULL AS x FROM generate_series(1, 3)")["x"].to_list() == [None] * 3
    nothing = db.read("SELECT 1 AS a, 'b' AS b WHERE false")
    assert (nothing.shape, nothing.schema) == ((0, 2), {"a": pl.Int64, "b": pl.String})
    with pytest.raises(DataError, match="no columns"):
        db.read("SELECT")
    with pytest.raises(DataError, match=r"more than one column named '\?column\?'"):
        db.read("SELECT 1, 2")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1.5 AS n -- the end",
        "SELECT 1.5 AS n /* the end */ ;\n",
        "WITH a AS (SELECT 1.5 AS n) SELECT n FROM a --",
        "(SELECT 1.5 AS n)",
        "SELECT n FROM (VALUES (1.5)) AS v (n) WHERE '%' <> ':n' -- :n %",
    ],
)
def test_texts_as_people_write_them(db, text: str) -> None:
    assert db.read(text).rows() == [(Decimal("1.5"),)]


def test_the_order_is_kept(source) -> None:
    eager = "-c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c min_parallel_table_scan_size=0"
    with source(options=eager) as db:
        # The bare number has the text wrapped.
        frame = db.read(
            "SELECT px * 1.0 AS n FROM marketpulse.colors ORDER BY md5(message_id::text), px"
        )
        expected = db.read("SELECT px FROM marketpulse.colors ORDER BY md5(message_id::text), px")
    assert frame["n"].to_list() == expected["px"].to_list()


def test_rows_can_be_locked_where_the_source_is_written_to(source) -> None:
    with source("read_only = false") as db:
        text = "SELECT px * 1.0 AS n FROM marketpulse.colors LIMIT 3 FOR UPDATE"
        assert db.read(text).height == 3


def test_settings_of_the_role_or_the_url_change_no_value(source) -> None:
    odd = "-c extra_float_digits=-10 -c datestyle=German -c timezone=Asia/Tokyo"
    odd += " -c intervalstyle=iso_8601 -c bytea_output=escape -c search_path=marketpulse"
    with source(options=odd) as db:
        row = db.read(
            "SELECT 0.1::float8 + 0.2::float8 AS f, DATE '2026-02-01' AS d, "
            "TIMESTAMPTZ '2026-02-01 00:00Z' AS t, INTERVAL '90 s' AS i, '\\x00'::bytea AS b, "
            "(SELECT count(*) > 0 FROM colors) AS path"
        ).row(0)
    moment = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
    assert row == (0.1 + 0.2, moment.date(), moment, dt.timedelta(seconds=90), b"\0", True)


def test_floats_where_the_source_asks_for_them(source) -> None:
    with source('numbers = "float"') as db:
        frame = db.read("SELECT 1e300::numeric AS a, 1/3.0 AS b, 'NaN'::numeric(5, 2) AS c, 7 AS d")
        exact = db.read_as("exact", sa.select(sa.literal_column("0.10::numeric(3, 2)").label("n")))
    assert frame.schema == {"a": pl.Float64, "b": pl.Float64, "c": pl.Float64, "d": pl.Int64}
    assert all(map(same, frame.row(0), (1e300, 1 / 3, math.nan, 7)))
    assert exact["n"].to_list() == [Decimal("0.10")]


@settings(deadline=None, max_examples=25)
@given(total=st.integers(0, 60), rows=st.integers(1, 25), width=st.integers(1, 300_000))
def test_batches_have_exactly_as_many_rows(total: int, rows: int, width: int) -> None:
    text = "SELECT n, repeat('x', :width) AS x FROM generate_series(1, :total) n"
    with connect("demo") as db:
        frames = list(db.batches(text, rows=rows, total=total, width=width))
    heights = [frame.height for frame in frames]
    assert heights == ([rows] * (total // rows) + [total % rows] * (total % rows > 0) or [0])
    assert {tuple(frame.schema.items()) for frame in frames} == {
        (("n", pl.Int64()), ("x", pl.String()))
    }
    assert [n for frame in frames for n in frame["n"]] == list(range(1, total + 1))


def test_closing_early_stops_the_server_and_keeps_the_connection(db, witness) -> None:
    pid = db.read("SELECT pg_backend_pid() AS pid")["pid"].item()
    endless = "SELECT generate_series(1, 10000000000) AS n, repeat('x', 1000) AS x"
    frames = db.batches(endless, rows=10)
    assert next(frames)["n"].to_list() == list(range(1, 11))
    assert db.engine.pool.checkedout() == 1
    frames.close()
    assert db.engine.pool.checkedout() == 0
    state = witness.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert state == ("idle",)
    assert db.read("SELECT pg_backend_pid() AS pid")["pid"].item() == pid


def test_a_slow_reader_and_a_long_steady_answer_are_left_alone(source, witness) -> None:
    steady = (
        "SELECT n, repeat('x', 100000) AS x FROM generate_series(1, 60) n, "
        "LATERAL (SELECT pg_sleep(CASE WHEN n < 8 THEN 0.1 ELSE 0 END)) s"
    )
    with source("call_timeout = 0.4") as db:
        frames = db.batches(steady, rows=1)
        first = next(frames)
        witness.execute("SELECT pg_sleep(0.6)")
        assert sum(frame.height for frame in [first, *frames]) == 60


def test_a_silent_server_is_cancelled_in_mid_answer(source) -> None:
    silent = (
        "SELECT n, repeat('x', 100000) AS x FROM generate_series(1, 60) n, "
        "LATERAL (SELECT pg_sleep(CASE WHEN n = 50 THEN 60 ELSE 0 END)) s"
    )
    with source("call_timeout = 0.3") as db:
        with pytest.raises(QueryError, match=r"the server sent nothing for 0\.3 s"):
            db.read(silent)
        assert db.engine.pool.checkedout() == 0
        assert db.read("SELECT 1 AS one")["one"].to_list() == [1]


def test_a_server_that_never_begins_to_answer_is_cancelled_too(source) -> None:
    with source("call_timeout = 0.3") as db:
        pid = db.read("SELECT pg_backend_pid() AS pid")["pid"].item()
        with pytest.raises(QueryError, match=r"the server sent nothing for 0\.3 s"):
            db.read("SELECT count(*) AS n FROM generate_series(1, 10000000000)")
        assert db.read("SELECT pg_backend_pid() AS pid")["pid"].item() == pid


def test_an_error_in_mid_answer_is_the_databases_own(db) -> None:
    with pytest.raises(QueryError, match="division by zero"):
        db.read("SELECT 1 / (400000 - n) AS x FROM generate_series(1, 500000) n")
    assert db.engine.pool.checkedout() == 0


def test_a_statement_longer_than_any_buffer(db) -> None:
    value = "x'" * (2 << 20)
    assert db.read("SELECT length(:v) AS n", v=value)["n"].item() == len(value)


def test_blocks_hold_whole_rows_however_small_they_are(db, monkeypatch) -> None:
    monkeypatch.setattr(postgresql, "BLOCK", 1)
    frame = db.read("SELECT n, E'a\\n\"' || n AS x FROM generate_series(1, 50) n")
    assert frame["x"].to_list() == [f'a\n"{n}' for n in frame["n"]]
