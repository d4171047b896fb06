"""A schema is surveyed within budgets, and what goes wrong with a table stays with that table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

import workbench
from workbench import embedded
from workbench.database import Database
from workbench.errors import ConnectionFailed, UsageError
from workbench.profiling import catalog, statistics
from workbench.profiling.model import Column, Figure, Key, Table
from workbench.profiling.relations import candidates
from workbench.profiling.sampling import scope
from workbench.profiling.survey import Survey, profile_schema

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "master")
SCHEMA = f"profile_survey_{WORKER}"
ROLE = f"profile_survey_{WORKER}_reader"
SLOW = [f"slow_{number}" for number in range(6)]
RINGING = "rings\x07\x1b]0;mine\x07"  # a title for the terminal's window
MADE = f"""
DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}; SET search_path = {SCHEMA};
DROP ROLE IF EXISTS {ROLE}; CREATE ROLE {ROLE} LOGIN; GRANT USAGE ON SCHEMA {SCHEMA} TO {ROLE};
CREATE TABLE small AS SELECT g AS id, 'x' || g AS word FROM generate_series(1, 100) g;
CREATE TABLE other AS SELECT * FROM small;
CREATE VIEW a_view AS SELECT * FROM small;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM small;
CREATE TABLE people AS SELECT g AS id, CASE WHEN g = 7 THEN repeat('z', 1500)
    ELSE 'ann' || g || '@corp.example' END AS email FROM generate_series(1, 50) g;
CREATE TABLE parents AS SELECT g AS id FROM generate_series(1, 30) g;
ALTER TABLE parents ADD PRIMARY KEY (id);
CREATE TABLE children AS SELECT g AS id, g AS parent_id FROM generate_series(1, 30) g;
CREATE VIEW deadly AS SELECT id, pg_terminate_backend(pg_backend_pid()) AS x FROM small;
CREATE VIEW huge AS
    SELECT id, CASE WHEN id > 50 THEN 9e131071 ELSE 1 END AS n FROM small;
CREATE VIEW "{RINGING}" AS SELECT pg_sleep(0.4)::text AS x;
""" + "".join(f"CREATE VIEW {name} AS SELECT pg_sleep(60)::text AS x;" for name in SLOW)


@pytest.fixture(scope="module")
def admin() -> Iterator[sa.Connection]:
    with workbench.connect("demo"):
        engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(MADE)
        connection.exec_driver_sql(f"GRANT SELECT ON deadly, small, children TO {ROLE}")
        connection.exec_driver_sql(f"ANALYZE {SCHEMA}.small, {SCHEMA}.other")
        yield connection
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE; DROP ROLE {ROLE}")
    engine.dispose()


@pytest.fixture(scope="module")
def db(admin: sa.Connection) -> Iterator[Database]:
    with workbench.connect("demo") as opened:
        yield opened


@pytest.fixture
def reader(admin: sa.Connection, project: Path) -> Iterator[Database]:
    """The source of an account that may read two of the tables."""
    url = embedded.connection_url().set(username=ROLE).render_as_string()
    (project / "workbench.toml").write_text(f'[sources.reader]\nurl = "{url}"\nretry_for = 0\n')
    with workbench.connect("reader") as opened:
        yield opened


def profiled(db: Database, *tables: str, **budgets: float) -> dict[str, Table]:
    profile = profile_schema(db, SCHEMA, tables or None, **budgets)
    return {table.name: table for table in profile.tables}


def running(admin: sa.Connection) -> int:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s"
    return int(admin.exec_driver_sql(f"{asked} AND pid <> pg_backend_pid()",
                                     (f"%{SCHEMA}%slow%",)).scalar_one())  # fmt: skip


def measured(db: Database, tables: tuple[Table, ...], seconds: float = 60) -> dict[str, Table]:
    """Measure tables whose catalog was read before."""

    def work(table: Table, connection: sa.Connection) -> Iterator[Table]:
        part = scope(table, SCHEMA, connection.dialect, None, 1000)
        yield statistics.measure(connection, SCHEMA, table, part, "2026-01-31T12:00:00")

    survey = Survey(db, time.monotonic() + 60, seconds, 60, False)
    return {table.name: table for table in survey.measure(tables, work, named=False)}


def test_tables_are_measured_and_views_only_where_they_are_named(db: Database) -> None:
    found = profiled(db, *["small", "kept", "a_view"])
    assert all(table.rows and table.rows.value == 100 for table in found.values())
    assert all(table.rows.how == "exact" and table.seconds > 0 for table in found.values())
    found = profiled(db)
    assert [table.name for table in found.values() if table.kind == "view" and table.rows] == []
    assert found["a_view"].seconds is None
    assert found["kept"].columns[0].distinct.value == 100


def test_what_one_depth_keeps_back_no_other_shows(db: Database) -> None:
    for depth in (1, 2):
        profile = profile_schema(db, SCHEMA, ["people"], depth=depth)
        email = profile.tables[0].columns[1]
        assert (email.min, email.max, email.distinct.value) == (None, None, 50)
        assert "@corp.example" not in profile.to_json()
        assert "zzz" not in profile.to_json()


@pytest.mark.parametrize("given", [
    {"depth": 3}, {"sample_percent": 0}, {"sample_percent": 100.1}, {"table_seconds": 0},
    {"seconds": -1}, {"rows": 0},
])  # fmt: skip
def test_a_wrong_argument_is_named_with_what_is_allowed(given: dict[str, float]) -> None:
    [(name, value)] = given.items()
    with pytest.raises(UsageError) as told:
        profile_schema("demo", SCHEMA, **given)
    assert f"{name}={value}" in told.value.message
    assert told.value.hint


def test_a_slow_table_is_stopped_on_the_server_and_the_others_are_measured(
    db: Database, admin: sa.Connection
) -> None:
    started = time.monotonic()
    found = profiled(db, "slow_0", "small", table_seconds=0.3)
    assert found["slow_0"].problem == "Not measured: not finished in 0.3 s."
    assert found["small"].rows.how == "exact"
    assert time.monotonic() - started < 5
    assert running(admin) == 0


def test_a_lock_taken_after_the_catalog_was_read_holds_no_worker_for_long(
    db: Database, admin: sa.Connection
) -> None:
    tables, _ = catalog.read_catalog(db, SCHEMA, ["small", "other"], "2026-01-31T12:00:00")
    with admin.engine.connect().execution_options(isolation_level="READ COMMITTED") as holder:
        holder.exec_driver_sql(f"LOCK TABLE {SCHEMA}.other IN ACCESS EXCLUSIVE MODE")
        found = measured(db, tables)
    assert "locked" in found["other"].problem
    assert "55P03" in found["other"].problem
    assert found["other"].problem.startswith("Not measured: ")
    assert found["other"].rows.how == "dictionary"
    assert found["other"].seconds < 5
    assert found["small"].problem is None
    with db.engine.connect() as connection:
        # The patience of the survey is not that of whoever gets the connection next.
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"


def test_what_was_measured_is_kept_where_more_was_asked_for_in_vain(db: Database) -> None:
    tables, _ = catalog.read_catalog(db, SCHEMA, ["small"], "2026-01-31T12:00:00")

    def work(table: Table, connection: sa.Connection) -> Iterator[Table]:
        part = scope(table, SCHEMA, connection.dialect, None, 1000)
        yield statistics.measure(connection, SCHEMA, table, part, "2026-01-31T12:00:00")
        connection.exec_driver_sql("SELECT pg_sleep(60)")

    [small] = Survey(db, time.monotonic() + 60, 0.3, 60, False).measure(tables, work, named=False)
    assert small.rows.value == 100
    assert small.problem == "Its contents were not looked into: not finished in 0.3 s."


def test_a_table_that_vanishes_or_is_forbidden_does_not_stop_the_others(
    db: Database, admin: sa.Connection, reader: Database
) -> None:
    admin.exec_driver_sql(f"CREATE TABLE {SCHEMA}.gone (x int)")
    tables, _ = catalog.read_catalog(db, SCHEMA, ["gone", "small"], "2026-01-31T12:00:00")
    admin.exec_driver_sql(f"DROP TABLE {SCHEMA}.gone")
    found = measured(db, tables)
    assert "42P01" in found["gone"].problem
    assert found["small"].problem is None
    found = profiled(reader, "small", "other")
    assert "42501" in found["other"].problem
    assert [column.name for column in found["other"].columns] == ["id", "word"]
    assert found["small"].rows.how == "exact"


def test_figures_the_database_cannot_compute_leave_rows_and_nulls(db: Database) -> None:
    found = profiled(db, "huge")["huge"]
    assert found.problem.startswith("Only rows and nulls could be counted of ")
    assert (found.rows.value, found.columns[1].nulls.value) == (100, 0)
    assert (found.columns[0].distinct.value, found.columns[1].distinct) == (100, None)


def test_a_lost_connection_costs_its_table_alone(db: Database) -> None:
    found = profiled(db, "deadly", "small", "other")
    assert found["deadly"].problem.startswith("Not measured: ")
    assert {found[name].rows.how for name in ("small", "other")} == {"exact"}


def test_a_server_that_is_gone_ends_the_run(reader: Database, admin: sa.Connection) -> None:
    admin.exec_driver_sql(f"ALTER ROLE {ROLE} NOLOGIN")
    try:
        with pytest.raises(ConnectionFailed):
            profile_schema(reader, SCHEMA, ["deadly"])
    finally:
        admin.exec_driver_sql(f"ALTER ROLE {ROLE} LOGIN")


def test_keys_that_could_not_be_tested_are_counted_and_told(db: Database, reader: Database) -> None:
    told = []
    for source in (db, reader):
        profile = profile_schema(source, SCHEMA, ["parents", "children"], depth=2)
        kinds = [finding.kind for finding in profile.findings]
        told.append((len(profile.relations), profile.untested, "untested-keys" in kinds))
    assert told == [(1, None, False), (0, Figure(1, "exact", profile.as_of), True)]


def test_more_keys_than_are_tested_are_counted(db: Database) -> None:
    key = Column("id", "integer", "integer")
    tables = [Table(f"t{n}", columns=(key,), primary_key=Key(("id",))) for n in range(230)]
    columns = tuple(Column(f"t{n}_id", "integer", "integer") for n in range(230))
    over = Survey(db, time.monotonic() - 1, 60, 60, False)
    tables.append(Table("facts", columns=columns))
    part = partial(scope, schema=SCHEMA, dialect=db.engine.dialect, percent=None, rows=1000)
    assert over.relate(tables, SCHEMA, part, "2026-01-31T12:00:00") == ([], 230)
    assert len([*candidates(tables)]) == 230


def test_what_the_budget_of_the_run_does_not_reach_says_so(
    db: Database, admin: sa.Connection
) -> None:
    started = time.monotonic()
    found = profiled(db, *SLOW, seconds=1)
    said = sorted(str(table.problem) for table in found.values())
    assert said[:4] == ["Not measured: not finished when the 1 s of the run were over."] * 4
    assert said[4:] == ["Not measured: not reached within the 1 s of the run."] * 2
    assert time.monotonic() - started < 6
    assert running(admin) == 0


def test_ctrl_c_ends_the_statements_on_the_server(admin: sa.Connection) -> None:
    program = f"""
from workbench.profiling.survey import profile_schema
profile_schema("demo", {SCHEMA!r}, {SLOW!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while running(admin) < 4:
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=8)
    assert b"KeyboardInterrupt" in errors
    assert running(admin) == 0


def test_a_terminal_shows_what_runs_and_obeys_no_name(admin: sa.Connection) -> None:
    ours, its = os.openpty()
    program = f"""
from workbench.profiling.survey import profile_schema
profile_schema("demo", {SCHEMA!r}, [{RINGING!r}])
"""
    subprocess.run([sys.executable, "-c", program], stderr=its, check=True, timeout=60)
    os.close(its)
    shown = b""
    with suppress(OSError):  # the end of a terminal
        while read := os.read(ours, 65536):
            shown += read
    os.close(ours)
    assert b"0 of 1 tables" in shown
    assert b"rings" in shown
    assert b"\x1b]" not in shown
    assert b"\x07" not in shown
