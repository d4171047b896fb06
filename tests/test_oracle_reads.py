"""What Oracle holds is read as it is, with the dtypes that PostgreSQL gives, and within limits."""

from __future__ import annotations

import datetime as dt
import math
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import oracledb
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from network import FaultyNetwork
from standin import Oracle

from workbench import oracle as dialect
from workbench import postgresql
from workbench.database import Database, _as_written, connect
from workbench.errors import ConnectionFailed, DataError, QueryError

pytestmark = pytest.mark.oracle
MOMENT = dt.datetime(2026, 1, 9, 10, 30, 0, 123456)
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))


@pytest.fixture(scope="module")
def db(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    url = f"oracle+oracledb://{oracle.host}:{oracle.port}/?service_name={oracle.service}"
    text = f'[sources.oracle]\nurl = "{url}"\ncredentials = "env:ORA"\nread_only = false\n'
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("oracle"))
        Path("workbench.toml").write_text(text)
        patch.setenv("ORA_USERNAME", oracle.username)
        patch.setenv("ORA_PASSWORD", oracle.password)
        with connect("oracle") as opened:
            yield opened


@pytest.fixture(scope="module")
def witness(oracle: Oracle) -> Iterator[Callable[..., object]]:
    """The plain driver's cursor: one value, with nothing of ours between."""
    who = {"user": oracle.username, "password": oracle.password, "dsn": oracle.dsn}
    with oracledb.connect(**who) as connection, connection.cursor() as cursor:

        def handler(_: object, column: oracledb.FetchInfo) -> object:
            if column.type_code is oracledb.DB_TYPE_NUMBER:
                return cursor.var(Decimal, arraysize=cursor.arraysize)
            return None

        cursor.outputtypehandler = handler

        def value(statement: str, **binds: object) -> object:
            cursor.execute(statement, binds)
            found = cursor.fetchone()[0] if cursor.description else None
            return found.read() if isinstance(found, oracledb.LOB) else found

        yield value


@pytest.mark.parametrize(
    ("expression", "dtype"),
    [
        ("CAST(-12345678901234567 AS NUMBER(17))", pl.Int64),
        ("CAST(999999999999999999 AS NUMBER(18))", pl.Int64),
        ("CAST(9999999999999999999 AS NUMBER(19))", pl.Decimal(19, 0)),
        ("CAST(-99999999999999999999999999999999999999 AS NUMBER(38))", pl.Decimal(38, 0)),
        ("CAST(12345 AS NUMBER(2, -3))", pl.Int64),
        ("CAST(0.00012 AS NUMBER(2, 5))", pl.Decimal(38, 10)),
        ("CAST(-0.01 AS NUMBER(12, 2))", pl.Decimal(12, 2)),
        ("CAST(99999999999999999999999999.999999999999 AS NUMBER(38, 12))", pl.Decimal(38, 12)),
        ("CAST(9999999999999999999999999999.9999999999 AS NUMBER)", pl.Decimal(38, 10)),
        ("CAST(0.1 AS NUMBER)", pl.Decimal(38, 10)),
        ("CAST(0.0000000001 AS NUMBER)", pl.Decimal(38, 10)),
        ("-0.0", pl.Decimal(38, 10)),
        ("CAST(0.1 AS BINARY_DOUBLE)", pl.Float64),
        ("CAST(0.1 AS BINARY_FLOAT)", pl.Float64),
        ("CAST(1.7976931348623157e308 AS BINARY_DOUBLE)", pl.Float64),
        ("CAST('NaN' AS BINARY_DOUBLE)", pl.Float64),
        ("CAST('-Infinity' AS BINARY_DOUBLE)", pl.Float64),
        ("CAST('Infinity' AS BINARY_FLOAT)", pl.Float64),
        ("DATE '0001-01-01'", pl.Datetime("us")),
        ("TO_DATE('9999-12-31 23:59:59', 'YYYY-MM-DD HH24:MI:SS')", pl.Datetime("us")),
        ("TO_DATE('1582-10-10', 'YYYY-MM-DD')", pl.Datetime("us")),
        ("TIMESTAMP '1969-12-31 23:59:59.999999'", pl.Datetime("us")),
        ("TIMESTAMP '0001-01-01 00:00:00.000001'", pl.Datetime("us")),
        ("TIMESTAMP '9999-12-31 23:59:59.999999'", pl.Datetime("us")),
        ("INTERVAL '1 02:03:04.000001' DAY TO SECOND", pl.Duration("us")),
        ("INTERVAL '-1 02:03:04.5' DAY TO SECOND", pl.Duration("us")),
        ("NUMTODSINTERVAL(100000000, 'DAY')", pl.Duration("us")),
        ("''", pl.String), ("' a '", pl.String), ("CHR(13) || CHR(10)", pl.String),
        ("CAST('ab' AS CHAR(5))", pl.String), ("CAST('é😀' AS NVARCHAR2(10))", pl.String),
        ("EMPTY_CLOB()", pl.String), ("TO_CLOB(RPAD('é', 70000, '😀'))", pl.String),
        ("HEXTORAW('')", pl.Binary), ("HEXTORAW('00FF0000')", pl.Binary),
        ("EMPTY_BLOB()", pl.Binary), ("TO_BLOB(HEXTORAW('00FF'))", pl.Binary),
    ],
)  # fmt: skip
def test_a_value_is_what_the_plain_driver_reads(db, witness, expression: str, dtype) -> None:
    frame = db.read(f"SELECT {expression} AS x FROM dual")
    assert frame.schema == {"x": dtype}
    value, expected = frame["x"].item(), witness(f"SELECT {expression} AS x FROM dual")
    assert value == expected or (math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize(
    "expression",
    ["1e28", "-1e30", "1e125", "1e-11", "1 / 3", "CAST(12345678901234567890.12345678901 AS NUMBER)",
     "NUMTODSINTERVAL(200000000, 'DAY')"],
)  # fmt: skip
def test_what_fits_no_dtype_is_refused_by_its_column_and_not_shown(db, expression: str) -> None:
    with pytest.raises(DataError, match="Column 'X' holds") as caught:
        db.read(f"SELECT 1 AS a, {expression} AS x, INTERVAL '1' DAY AS i FROM dual")
    assert "CAST" in caught.value.hint
    assert db.engine.pool.checkedout() == 0


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (oracledb.DB_TYPE_LONG, "convert the table's"),
        (oracledb.DB_TYPE_LONG_RAW, "convert the table's"),
        (oracledb.DB_TYPE_XMLTYPE, "XMLSERIALIZE"),
        (oracledb.DB_TYPE_BFILE, "TO_BLOB"),
        (oracledb.DB_TYPE_INTERVAL_YM, "EXTRACT"),
        (oracledb.DB_TYPE_OBJECT, "CAST"),
        (oracledb.DB_TYPE_VECTOR, "CAST"),
    ],
)
def test_a_type_without_an_equal_is_refused_with_what_to_do(kind, hint: str) -> None:
    entry = SimpleNamespace(name="X", type_code=kind, precision=None, scale=None)
    with pytest.raises(DataError, match="Column 'X' has the type") as caught:
        dialect.columns([entry])
    assert hint in caught.value.hint


# What is one thing to an analyst: how Oracle and PostgreSQL write it, and what it is in Python.
LOGICAL = {
    "id": ("NUMBER(17)", "NUMERIC(17)", "17734072432755618", 17734072432755618),
    "big": ("NUMBER(38)", "NUMERIC(38)", "9" * 38, Decimal("9" * 38)),
    "price": ("NUMBER(12, 5)", "NUMERIC(12, 5)", "101.39507", Decimal("101.39507")),
    "bare": ("NUMBER", "NUMERIC", "-0.1", Decimal("-0.1")),
    "tiny": ("NUMBER(2, 5)", "NUMERIC(2, 5)", "0.00012", Decimal("0.00012")),
    "ratio": ("BINARY_DOUBLE", "FLOAT8", "0.1", 0.1),
    "single": ("BINARY_FLOAT", "FLOAT4", "0.1", 0.10000000149011612),
    "moment": ("TIMESTAMP", "TIMESTAMP", f"TIMESTAMP '{MOMENT}'", MOMENT),
    "span": ("INTERVAL DAY TO SECOND", "INTERVAL", "INTERVAL '1 02:03:04.5' DAY TO SECOND",
             dt.timedelta(1, 7384, 500000)),
    "line": ("VARCHAR2(20)", "VARCHAR(20)", "'é 😀'", "é 😀"),
    "padded": ("CHAR(4)", "CHAR(4)", "'ab'", "ab  "),
    "prose": ("CLOB", "TEXT", "'long'", "long"),
}  # fmt: skip


def test_the_same_things_have_the_same_dtypes_and_values_on_both(db, witness) -> None:
    listed = ", ".join(f"{name} {kind[0]}" for name, kind in LOGICAL.items())
    witness(f"CREATE TABLE both_kinds (n NUMBER(1), {listed})")
    try:
        values = ", ".join(kind[2] for kind in LOGICAL.values())
        witness(f"INSERT INTO both_kinds VALUES (1, {values})")
        witness("INSERT INTO both_kinds (n) VALUES (2)")
        witness("COMMIT")
        theirs = db.read(f"SELECT {', '.join(LOGICAL)} FROM both_kinds ORDER BY n")
    finally:
        witness("DROP TABLE both_kinds")
    listed = ", ".join(f"CAST({v} AS {kind}) AS {n}" for n, (_, kind, v, _) in LOGICAL.items())
    nulls = ", ".join(f"CAST(NULL AS {kind})" for _, kind, _, _ in LOGICAL.values())
    with connect_to_demo() as demo:
        ours = demo.read(f"SELECT {listed} UNION ALL SELECT {nulls}")
    assert theirs.rename(str.lower).equals(ours)
    assert theirs.rename(str.lower).schema == ours.schema
    assert ours.row(0) == tuple(value for *_, value in LOGICAL.values())
    assert ours.row(1) == (None,) * len(LOGICAL)


def connect_to_demo() -> Database:
    text = Path("workbench.toml").read_text()
    if "[sources.demo]" not in text:
        Path("workbench.toml").write_text(f'{text}[sources.demo]\nkind = "embedded"\n')
    return connect("demo")


def test_a_zone_is_turned_into_utc(db) -> None:
    frame = db.read(
        "SELECT TIMESTAMP '2026-01-09 10:30:00.5 +05:30' AS a, CAST(NULL AS TIMESTAMP WITH TIME "
        "ZONE) AS b FROM dual"
    )
    assert frame.schema == dict.fromkeys("ab", pl.Datetime("us", "UTC"))
    assert frame.row(0) == (dt.datetime(2026, 1, 9, 5, 0, 0, 500000, tzinfo=dt.UTC), None)


def test_large_objects_of_a_table(db, witness) -> None:
    text, blob = "é😀\r\n" * 135_000, bytes(range(256)) * 4_200
    witness("CREATE TABLE lobs (n NUMBER(3), c CLOB, b BLOB)")
    try:
        witness("INSERT INTO lobs VALUES (1, :c, :b)", c=text, b=blob)
        witness("INSERT INTO lobs VALUES (2, NULL, NULL)")
        witness("COMMIT")
        for _ in range(2):
            assert db.read("SELECT * FROM lobs ORDER BY n").rows() == [
                (1, text, blob), (2, None, None),
            ]  # fmt: skip
    finally:
        witness("DROP TABLE lobs")


@settings(deadline=None, max_examples=20)
@given(
    number=st.decimals(-(10**27), 10**27, places=10),
    whole=st.integers(-(10**27), 10**27),
    text=st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300
    ),
    moment=st.datetimes(),
    aware=st.datetimes(timezones=st.just(EAST), min_value=dt.datetime(1900, 1, 1)),
    raw=st.binary(min_size=1, max_size=300),
)
def test_what_goes_in_by_binds_comes_out(request, **values: object) -> None:
    db = request.getfixturevalue("db")
    listed = ", ".join(f":{name} AS a_{name}" for name in values)
    (row,) = db.read(f"SELECT {listed} FROM dual", **values).rename(str.lower).to_dicts()
    assert row == {f"a_{name}": value for name, value in values.items()}


def test_empty_text_is_null(db) -> None:
    assert db.read("SELECT :v AS x, '' AS y, 1 AS z FROM dual", v="").row(0) == (None, None, 1)


@pytest.mark.parametrize(
    "value",
    [None, True, 7, 2**70, Decimal("0.1"), 1.5, "it's", b"\0'", MOMENT, MOMENT.replace(tzinfo=EAST),
     dt.timedelta(days=-1, microseconds=5), "é" * 40_000, b"\xff" * 40_000],
)  # fmt: skip
def test_binds_of_every_type_through_one_text(db, value: object) -> None:
    # One text, again and again: the driver must not take a value for the type of the one before.
    frame = db.read("SELECT :v AS x, :v AS y, 'a' AS z FROM dual", v=value)
    assert frame.row(0) == (value, value, "a")


def test_binds_of_any_name_and_lists(db) -> None:
    frame = db.read("SELECT :date AS x, :number AS y, :date AS z FROM dual", date=5, number="a")
    assert frame.row(0) == (5, "a", 5)
    numbers = sa.text("SELECT LEVEL_ AS n FROM (SELECT 1 AS level_ FROM dual UNION ALL "
                      "SELECT 2 FROM dual)").columns(n=sa.Integer).subquery()  # fmt: skip
    chosen = sa.select(numbers.c.n).order_by(numbers.c.n)
    assert db.read(chosen.where(numbers.c.n.in_([2, 3])))["n"].to_list() == [2]
    assert db.read(chosen.where(numbers.c.n.in_([]))).is_empty()
    later = chosen.where(numbers.c.n.in_(sa.bindparam("date", expanding=True)))
    assert db.read(later, date=[1, 2])["n"].to_list() == [1, 2]


def test_results_of_odd_shapes_and_texts(db) -> None:
    half = Decimal("0.5")
    for text in (
        "SELECT 0.5 AS n FROM dual -- the end",
        "SELECT 0.5 AS n FROM dual /* the end */ ;\n",
        "WITH a AS (SELECT 0.5 AS n FROM dual) SELECT n FROM a",
        "SELECT 0.5 AS n FROM dual WHERE q'[it's; :x]' <> ':y'",
    ):
        assert db.read(text).rows() == [(half,)]
    nothing = db.read("SELECT 0.5 AS n, 'a' AS t FROM dual WHERE 1 = 0")
    assert (nothing.shape, nothing.schema) == ((0, 2), {"n": pl.Decimal(38, 10), "t": pl.String})
    ordered = "SELECT n * 0.5 AS n FROM (SELECT 3 AS n FROM dual UNION ALL SELECT 1 FROM dual) q"
    assert db.read(f"{ordered} ORDER BY n DESC")["n"].to_list() == [half * 3, half]
    wide = ", ".join(f"{place} / 2 AS c{place}" for place in range(300))
    assert db.read(f"SELECT {wide} FROM dual").row(0) == tuple(n * half for n in range(300))
    with pytest.raises(DataError, match="more than one column named 'A'"):
        db.read("SELECT 1 AS a, 2 AS a FROM dual")


@pytest.mark.parametrize("name", ["Mixed", "a b", "%", "é", '"', "DATE", "x" * 50])
def test_any_name_is_a_columns_name(db, name: str) -> None:
    if name == '"':
        with pytest.raises(DataError, match="has no name"):
            dialect._selected("SELECT", [dialect.ResultColumn('1+"A"', pl.Decimal(38, 10), "")])
        return
    # The bare number beside it has the text wrapped, so that the name is written by us.
    frame = db.read(f"SELECT t.*, 0.5 AS n FROM (SELECT 'x' AS \"{name}\" FROM dual) t")
    assert frame.row(0) == ("x", Decimal("0.5"))
    assert frame.columns == [name.lower() if name.isupper() else name, "n"]


def test_a_column_called_like_a_function_is_not_called(db) -> None:
    bare = pl.Decimal(38, 10)
    columns = [dialect.ResultColumn(name, bare, "DB_TYPE_NUMBER") for name in ("SYSDATE", "ROWNUM")]
    text = dialect._selected("SELECT 1 AS sysdate, ROWNUM FROM t", columns)
    assert 'ABS(q."SYSDATE")' in text
    assert 'ABS(q."ROWNUM")' in text


def test_floats_where_the_source_asks_for_them(oracle_source) -> None:
    with connect(oracle_source('numbers = "float"')) as db:
        frame = db.read(
            "SELECT 1 / 3 AS a, 1e30 AS b, CAST(7 AS NUMBER(5)) AS c, 0.1 AS d FROM dual"
        )
    assert frame.schema == {"a": pl.Float64, "b": pl.Float64, "c": pl.Int64, "d": pl.Float64}
    assert frame.row(0) == (1 / 3, 1e30, 7, 0.1)


ROWS = "SELECT n, 'text ' || n AS t FROM many_rows ORDER BY n"


@pytest.fixture
def many_rows(witness) -> Iterator[None]:
    witness("CREATE TABLE many_rows AS SELECT LEVEL AS n FROM dual CONNECT BY LEVEL <= 2500")
    yield
    witness("DROP TABLE many_rows")


def test_batches_are_exact_and_free_the_connection(db, many_rows, monkeypatch) -> None:
    monkeypatch.setattr(dialect, "FETCH_ROWS", 400)
    for rows, heights in ((1000, [1000, 1000, 500]), (2500, [2500]), (625, [625] * 4)):
        frames = list(db.batches(ROWS, rows=rows))
        assert [frame.height for frame in frames] == heights
        assert [n for frame in frames for n in frame["n"]] == list(range(1, 2501))
    (empty,) = db.batches(f"SELECT * FROM ({ROWS}) q WHERE 1 = 0")
    assert empty.shape == (0, 2)
    assert empty.schema == frames[0].schema
    early = db.batches(ROWS, rows=10)
    next(early)
    assert db.engine.pool.checkedout() == 1
    early.close()
    assert db.engine.pool.checkedout() == 0
    assert db.read("SELECT 1 AS one FROM dual")["one"].to_list() == [1]


def test_a_stalled_server_ends_in_an_error_within_the_limit(
    oracle, oracle_source, many_rows, monkeypatch
) -> None:
    monkeypatch.setattr(dialect, "FETCH_ROWS", 100)
    with FaultyNetwork(oracle.host, oracle.port) as network:
        name = oracle_source("call_timeout = 0.5", host="127.0.0.1", port=network.port)
        with connect(name) as db:
            frames = db.batches(ROWS, rows=100)
            next(frames)
            network.stall()
            started = time.monotonic()
            with pytest.raises((ConnectionFailed, QueryError), match=r"DPY-40(11|24)"):
                list(frames)
            assert time.monotonic() - started < 5
            assert db.engine.pool.checkedout() == 0


@pytest.mark.parametrize("begun", [True, False, None])
def test_a_stalled_postgresql_ends_in_an_error_within_the_limit(
    oracle, project, monkeypatch, begun: bool | None
) -> None:
    if not oracle.postgresql:
        pytest.skip("about the PostgreSQL below the stand-in, which listens on TCP")
    monkeypatch.setattr(postgresql, "GRACE", 0.2)
    at = sa.make_url(oracle.postgresql)
    with FaultyNetwork(at.host, at.port) as network:
        url = at.set(drivername="postgresql+psycopg", port=network.port).render_as_string()
        (project / "workbench.toml").write_text(
            f'[sources.slow]\nurl = "{url}"\ncall_timeout = 0.5\n'
            "connect_timeout = 0.5\nretry_for = 0\n"
        )
        with connect("slow") as db:
            if begun:
                frames = db.batches(
                    "SELECT n, repeat('x', 1000) FROM generate_series(1, 1000000) n"
                )
                next(frames)
                network.stall()
            elif begun is None:  # the pool's look whether the connection still lives
                frames = db.batches("SELECT 1 AS n")
                network.stall()
            else:
                frames = db.batches("SELECT 1 AS n FROM pg_sleep(2)")
                threading.Timer(0.2, network.stall).start()
            started = time.monotonic()
            with pytest.raises((ConnectionFailed, QueryError)) as caught:
                list(frames)
            assert time.monotonic() - started < 5
            assert "\n" not in caught.value.message
            assert db.engine.pool.checkedout() == 0
            network.heal()
            assert db.read("SELECT 1 AS one")["one"].to_list() == [1]


def test_columns_are_named_as_on_postgresql(db) -> None:
    text = "SELECT 1 AS id, 'x' AS \"Mixed\", 'y' AS \"a b\" {}"
    with connect_to_demo() as other:
        expected = other.read(text.format("")).columns
    assert db.read(text.format("FROM dual")).columns == expected
    # Two names that differ in case alone stay two.
    assert _as_written("SELECT …", ["A", "a"]) == ["A", "a"]


def test_moments_are_written_whole_wherever_the_client_is(db, oracle_source, witness) -> None:
    naive = dt.datetime(2026, 1, 9, 10, 30, 0, 123456)
    aware = naive.replace(tzinfo=EAST)
    witness("CREATE TABLE moments (id NUMBER(3), m TIMESTAMP, z TIMESTAMP WITH TIME ZONE)")
    try:
        with connect(oracle_source("read_only = false")) as writer:
            rows = [{"id": 1, "m": None, "z": None}, {"id": 2, "m": naive, "z": aware}]
            writer.execute_many("INSERT INTO moments (id, m, z) VALUES (:id, :m, :z)", rows)
            more = [{**row, "id": row["id"] + 2} for row in rows]
            writer.execute_many(writer.table("moments").insert(), more)
            read = writer.read("SELECT m, z FROM moments ORDER BY id").rows()
        assert read == [(None, None), (naive, aware)] * 2
    finally:
        witness("DROP TABLE moments")
