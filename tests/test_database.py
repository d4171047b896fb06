"""Reading is exact, read-only by default, and fails in one sentence."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import embedded
from workbench.database import Database, connect, single_select
from workbench.errors import (
    ConnectionFailed,
    CredentialsError,
    DataError,
    QueryError,
    SettingsError,
)


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


@pytest.mark.parametrize(
    ("expression", "dtype", "value"),
    [
        ("CAST(12 AS SMALLINT)", pl.Int64, 12),
        ("CAST(17734072432755618 AS BIGINT)", pl.Int64, 17734072432755618),
        ("CAST(17734072432755618 AS NUMERIC(17))", pl.Int64, 17734072432755618),
        ("CAST(12 AS NUMERIC(18, 0))", pl.Int64, 12),
        ("CAST(9e18 AS NUMERIC(19, 0))", pl.Decimal(19, 0), Decimal(9 * 10**18)),
        ("CAST(101.39507 AS NUMERIC(12, 5))", pl.Decimal(12, 5), Decimal("101.39507")),
        ("CAST(0.1 AS NUMERIC)", pl.Decimal(38, 10), Decimal("0.1")),
        ("CAST(1200 AS NUMERIC(4, -2))", pl.Int64, 1200),
        ("CAST(0.00012 AS NUMERIC(2, 5))", pl.Decimal(38, 10), Decimal("0.00012")),
        ("CAST(1.5 AS DOUBLE PRECISION)", pl.Float64, 1.5),
        ("DATE '2026-01-09'", pl.Date, dt.date(2026, 1, 9)),
        ("TIMESTAMP '2026-01-09 10:30:00'", pl.Datetime("us"), dt.datetime(2026, 1, 9, 10, 30)),
        ("TIMESTAMPTZ '2026-01-09 10:30:00+02'", pl.Datetime("us", "UTC"),
         dt.datetime(2026, 1, 9, 8, 30, tzinfo=dt.UTC)),
        ("INTERVAL '90 seconds'", pl.Duration("us"), dt.timedelta(seconds=90)),
        ("TRUE", pl.Boolean, True),
        ("'text'", pl.String, "text"),
        ("CAST('ab' AS CHAR(3))", pl.String, "ab "),
        ("CAST('\\x00ff' AS BYTEA)", pl.Binary, b"\x00\xff"),
        ("CAST('{\"a\": [1]}' AS JSONB)", pl.String, '{"a": [1]}'),
        ("CAST('8c8f9f4e-7a1b-4b7e-8e3e-0f3f1d2c3b4a' AS UUID)", pl.String,
         "8c8f9f4e-7a1b-4b7e-8e3e-0f3f1d2c3b4a"),
    ],
)  # fmt: skip
def test_a_value_keeps_its_type_and_every_digit(db, expression, dtype, value) -> None:
    with_a_null = f"SELECT (SELECT {expression} WHERE n = 1) AS x FROM generate_series(1, 2) n"
    frame = db.read(with_a_null)
    assert frame.schema["x"] == dtype
    assert frame["x"].to_list() == [value, None]
    assert db.read(f"SELECT {expression} AS x WHERE 1 = 0").schema == frame.schema


@settings(deadline=None, max_examples=50)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=7,
                            min_value=-(10**20), max_value=10**20), max_size=5))  # fmt: skip
def test_numbers_survive_whatever_they_are(values: list[Decimal]) -> None:
    with connect("demo") as db:
        rows = " UNION ALL ".join(f"SELECT CAST({v} AS NUMERIC(30, 7)) AS n" for v in values)
        frame = db.read(rows or "SELECT CAST(1 AS NUMERIC(30, 7)) AS n WHERE 1 = 0")
    assert frame.schema["n"] == pl.Decimal(30, 7)
    assert frame["n"].to_list() == values


@pytest.mark.parametrize(
    "value", ["123456789012345678.12345678901234567890", "1234567890123456789.12345678905"]
)
def test_no_digit_is_cut_however_many_there_are(db, value: str) -> None:
    with pytest.raises(DataError, match="does not fit"):
        db.read(f"SELECT CAST({value} AS NUMERIC) AS amount")


@pytest.mark.parametrize("value", ["1e-11", "1e29", "'NaN'", "'Infinity'"])
def test_a_number_that_does_not_fit_names_its_column(db, value: str) -> None:
    with pytest.raises(DataError, match=r"'amount'(.|\n)*CAST"):
        db.read(f"SELECT CAST({value} AS NUMERIC) AS amount")


def test_a_type_without_an_equal_names_its_column_and_suggests_a_cast(db) -> None:
    with pytest.raises(DataError, match=r"'tags' has the type text\[\](.|\n)*CAST"):
        db.read("SELECT ARRAY['a'] AS tags")


def test_two_columns_of_one_name_are_refused(db) -> None:
    with pytest.raises(DataError, match="more than one column named 'a'"):
        db.read("SELECT 1 AS a, 2 AS a")


def test_binds_are_bound_not_pasted(db) -> None:
    hostile = "x'; DROP TABLE marketpulse.colors; --"
    assert db.read("SELECT CAST(:it AS TEXT) AS it", it=hostile)["it"].to_list() == [hostile]


def test_a_select_of_sqlalchemy_reads_as_text_does(db) -> None:
    colors = db.table("marketpulse.colors")
    frame = db.read(sa.select(sa.func.count().label("n")).select_from(colors))
    assert frame["n"].item() == db.read("SELECT count(*) AS n FROM marketpulse.colors")["n"].item()


@pytest.mark.parametrize("name", ["marketpulse.colors", "MARKETPULSE.COLORS", "marketpulse.Colors"])
def test_a_table_is_found_without_regard_to_case(db, name: str) -> None:
    table = db.table(name)
    assert table.fullname == "marketpulse.colors"
    assert table.c.message_id.comment


@pytest.mark.parametrize("name", ["marketpulse.colours", "nowhere.colors", "colors; DROP", "x.y.z"])
def test_an_unknown_table_is_named_with_what_exists(db, name: str) -> None:
    with pytest.raises(DataError) as caught:
        db.table(name)
    assert repr(name) in str(caught.value)
    assert "there: " in str(caught.value)


def test_the_nearest_table_is_suggested(db) -> None:
    with pytest.raises(DataError, match=r"Did you mean 'marketpulse\.colors'"):
        db.table("marketpulse.colours")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM marketpulse.colors",
        "/* SELECT */ UPDATE marketpulse.colors SET px = 0",
        "-- SELECT\nDROP TABLE marketpulse.colors",
        "SELECT 1; DROP TABLE marketpulse.colors",
        "",
    ],
)
def test_a_read_only_source_takes_only_a_select(db, statement: str) -> None:
    with pytest.raises(QueryError):
        db.read(statement)


def test_a_writing_with_is_stopped_by_the_transaction(db) -> None:
    with pytest.raises(QueryError, match="data-modifying"):
        db.read("WITH gone AS (DELETE FROM marketpulse.colors RETURNING 1) SELECT * FROM gone")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT ';' AS a;", "SELECT ';' AS a"),
        ("SELECT 1 -- ; end\n ; ;", "SELECT 1"),
        ('(SELECT "a;b" FROM t) /* ; */;\n', '(SELECT "a;b" FROM t)'),
        ("/*+ FULL(t) */ with a as (select 1) select * from a", None),
        ("SELECT '--' || 'it''s;'", None),
        ("SELECT $$a;b$$, $t$;$t$, E'it\\'s;'", None),
    ],
)
def test_a_single_select_loses_only_what_trails_it(text: str, expected: str | None) -> None:
    assert single_select(text) == (expected or text)


def test_what_the_database_refuses_is_one_sentence(db) -> None:
    with pytest.raises(QueryError) as caught:
        db.read("SELECT no_such_column FROM marketpulse.colors")
    assert "no_such_column" in str(caught.value)
    assert "\n" not in caught.value.message


def test_a_statement_that_takes_too_long_is_stopped(project: Path) -> None:
    settings_of(project, f'url = "{plain_url()}"\ncall_timeout = 0.2')
    with connect("other") as db, pytest.raises(QueryError, match="timeout"):
        db.read("SELECT pg_sleep(30)")


@pytest.mark.parametrize("value", ["'infinity'::date", "'0044-03-15 BC'::date"])
def test_a_value_no_dtype_holds_names_its_column_and_no_value(db, value: str) -> None:
    with pytest.raises(DataError, match="Column 'x' holds a value of type date"):
        db.read(f"SELECT {value} AS x")


def test_colons_in_strings_and_comments_are_no_binds(db) -> None:
    frame = db.read("SELECT '{\"a\":1}'::json AS j, ':x' AS x, :y AS y -- :z", y=1)
    assert frame.to_dicts() == [{"j": '{"a":1}', "x": ":x", "y": 1}]


def test_a_schema_that_is_not_there_is_no_other_schema(project: Path) -> None:
    settings_of(project, f'url = "{plain_url()}"\nschema = "MARKETPULSE"')
    with connect("other") as db:
        assert db.table("colors").schema == "marketpulse"
    settings_of(project, f'url = "{plain_url()}"\nschema = "typo"')
    with connect("other") as db, pytest.raises(DataError, match="Schemas there: "):
        db.table("colors")


def test_health_tells_who_answers(db) -> None:
    health = db.health()
    assert health.server == "PostgreSQL"
    assert int(health.version.split(".")[0]) >= 16
    assert health.round_trip_ms > 0


def settings_of(project: Path, text: str) -> None:
    (project / "workbench.toml").write_text(f"[sources.other]\n{text}\n")


def plain_url() -> str:
    return embedded.connection_url().render_as_string()


def test_floats_are_given_where_the_source_asks_for_them(project: Path) -> None:
    settings_of(project, f'url = "{plain_url()}"\nnumbers = "float"')
    with connect("other") as db:
        assert db.read("SELECT CAST(0.5 AS NUMERIC(3, 1)) AS n").schema["n"] == pl.Float64


def test_a_source_may_be_written_to_only_when_it_says_so(project: Path) -> None:
    settings_of(project, f'url = "{plain_url()}"\nread_only = false')
    with connect("other") as db, db.engine.begin() as connection:
        connection.execute(sa.text("CREATE TEMPORARY TABLE t (a int)"))


def test_sessions_announce_themselves(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_NOTEBOOK", "run_colors")
    monkeypatch.setenv("WORKBENCH_RUN_ID", "20260109T103000Z-abcd")
    with connect("demo") as db:
        name = db.read("SELECT current_setting('application_name') AS name")["name"].item()
    assert name == "workbench run_colors 20260109T103000Z-abcd"


@pytest.mark.parametrize("url", ["postgresql+psycopg://127.0.0.1:{}/x",
                                 "oracle+oracledb://127.0.0.1:{}/?service_name=X"])  # fmt: skip
def test_an_unreachable_database_is_one_sentence(project, monkeypatch, url: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        settings_of(project, f'url = "{url.format(port)}"\ncredentials = "env:DW"\nretry_for = 0.5')
        monkeypatch.setenv("DW_USERNAME", "reader")
        monkeypatch.setenv("DW_PASSWORD", "a-very-secret-word")
        with pytest.raises(ConnectionFailed) as caught:
            connect("other")
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "a-very-secret-word" not in str(caught.value)
    assert caught.value.__context__ is None


def test_missing_credentials_are_named_before_any_login(project: Path) -> None:
    settings_of(project, 'url = "postgresql+psycopg://127.0.0.1:1/x"\ncredentials = "env:NOWHERE"')
    with pytest.raises(CredentialsError, match="NOWHERE_USERNAME"):
        connect("other")


def test_a_database_of_another_kind_is_refused(project: Path) -> None:
    settings_of(project, 'url = "sqlite:///x.db"')
    with pytest.raises(SettingsError, match="sqlite databases are not supported"):
        connect("other")


def test_each_statement_is_logged_and_its_text_only_for_those_who_ask(
    project: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_RUN_ID", "20260109T103000Z-abcd")
    with connect("demo") as db:
        with caplog.at_level("INFO", "workbench"):
            db.read("SELECT :private AS it FROM generate_series(1, 3)", private="a-private-value")
            with pytest.raises(QueryError):
                db.read("SELECT nothing_such")
        assert "demo: 3 rows read in " in caplog.text
        assert "run 20260109T103000Z-abcd" in caplog.text
        assert "demo: 0 rows stopped in " in caplog.text
        assert "SELECT" not in caplog.text
        with caplog.at_level("DEBUG", "workbench"):
            db.read("SELECT :private AS it", private="a-private-value")
        assert "SELECT" in caplog.text
        assert "a-private-value" not in caplog.text
        health = db.health()
    assert (health.statements, health.rows) == (3, 4)
    assert (health.pool.open, health.pool.in_use, health.pool.maximum) == (1, 0, 5)


def test_what_is_closed_early_gives_its_connection_back(db) -> None:
    frames = db.batches("SELECT n FROM generate_series(1, 1000000) n", rows=10)
    assert next(frames)["n"].to_list() == list(range(1, 11))
    assert db.health().pool.in_use == 1
    frames.close()
    assert db.health().pool.in_use == 0
