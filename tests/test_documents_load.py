"""Loading the warehouse: all four tables or none, whatever happens meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa

from workbench import documents, embedded
from workbench.database import connect
from workbench.documents.loading import LOCK_CLASS
from workbench.documents.scanning import Page, Scan
from workbench.documents.shaping import SHAPES, Shaped, shape
from workbench.errors import ConnectionFailed, DataError, QueryError, UsageError, WorkbenchError

TABLES = ("cases", "metadata", "templates", "audit")
GATE = 0x67617465  # an advisory lock of the tests', at which a load can be made to wait
HOSTILE = "tab\t line\nreturn\r \\N \\. \"'%:é😀 <b> \\\\t,;"


def items(generation: str, count: int = 20, **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Items of one generation, which is told by a text of each row of each table."""
    when, mark = {"S": "2026-01-09T10:00:00Z"}, {"S": generation}
    keys = [{"document_id": {"S": f"D-{n:03d}"}} for n in range(count)]
    return {
        "cases": [{**key, "case_number": mark, "status": {"S": "sent"}, "requested_at": when}
                  | more for key in keys],
        "metadata": [{**key, "file_name": mark, "stored_at": when} for key in keys],
        "templates": [{"template_id": {"S": "T"}, "version": {"N": str(n)}, "title": mark}
                      for n in range(count)],
        "audit": [{**key, "sequence": {"N": "1"}, "event": {"S": "sent"}, "actor": mark,
                   "occurred_at": when} for key in keys],
    }  # fmt: skip


MARKS = {"cases": "case_number", "metadata": "file_name", "templates": "title", "audit": "actor"}


def shaped(found: dict[str, list[dict[str, Any]]], *, trial: bool = False) -> Shaped:
    pages = (Page(t, len(found.get(t, [])), 1.0, SHAPES[t](found.get(t, []))) for t in TABLES)
    return shape(Scan("test", trial, tuple(pages)))


@pytest.fixture(scope="module")
def server() -> str:
    return embedded.connection_url().set(drivername="postgresql").render_as_string()


@pytest.fixture
def admin(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


@pytest.fixture
def place(admin: psycopg.Connection[Any], project: Path, worker_id: str) -> Iterator[str]:
    """A schema of this test's own, in the sources "warehouse" (writable) and "shut"."""
    (project / "workbench.toml").write_text(
        '[sources.warehouse]\nkind = "embedded"\nread_only = false\ncall_timeout = 20\n'
        '[sources.hasty]\nkind = "embedded"\nread_only = false\ncall_timeout = 0.5\n'
        '[sources.shut]\nkind = "embedded"\n'
    )
    name = f"documents_load_{worker_id}"
    for schema in (name, f"{name}_trial"):
        admin.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    yield name
    for schema in (name, f"{name}_trial"):
        admin.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def held(admin: psycopg.Connection[Any], place: str) -> dict[str, dict[str, int]]:
    """How many rows of which generation each table holds."""
    return {
        table: dict(admin.execute(
            f"SELECT {mark}, count(*) FROM {place}.{table} GROUP BY 1"  # type: ignore[arg-type]
        ).fetchall())
        for table, mark in MARKS.items()
    }  # fmt: skip


def all_of(generation: str, count: int = 20) -> dict[str, dict[str, int]]:
    return {table: {generation: count} for table in TABLES}


def changes(load: documents.Load, target: str) -> tuple[int, ...]:
    [row] = load.reconciliation.filter(target=target).to_dicts()
    return tuple(row[name] for name in ("added", "changed", "removed", "loaded"))


# What is loaded


def test_rows_arrive_as_they_were_shaped(place: str) -> None:
    whole = {
        "daily_interest": {"N": "-99999999999999999999.999999999999999999"},
        "amount": {"N": "0.01"}, "template_version": {"N": "-7"}, "is_urgent": {"BOOL": True},
        "customer": {"M": {"name": {"S": HOSTILE}, "country": {"S": "de"}}},
        "labels": {"SS": [HOSTILE, "b"]}, "closed_at": {"S": "0001-01-01T00:00:00Z"},
        "details": {"M": {HOSTILE: {"L": [{"N": "1E-100"}, {"S": ""}, {"NULL": True}]}}},
    }  # fmt: skip
    found = items("\\N", 2, **whole)
    found["cases"][1] = {name: found["cases"][1][name] for name in ("document_id", "case_number",
                         "status", "requested_at")} | {"currency": {"S": ""}}  # fmt: skip
    result = shaped(found)
    load = documents.load(result, schema=place)
    assert [changes(load, table) for table in TABLES] == [(2, 0, 0, 2)] * 4
    with connect("warehouse") as db:
        for table, frame in result.frames.items():
            kept = db.read(sa.select(db.table(f"{place}.{table}")).order_by(sa.text("1, 2")))
            documents_of = ["labels", "details", "properties", "placeholders"]
            texts = [name for name in frame.columns if name in documents_of]
            assert kept.drop(texts).equals(frame.drop(texts))
            assert kept.schema == frame.schema
        number = db.read(
            "SELECT (details -> :name -> 0)::numeric * 1e100 AS n, labels ->> 1 AS t, currency"
            f" FROM {place}.cases ORDER BY document_id",
            name=HOSTILE,
        )
    assert number["n"].to_list() == [Decimal(1), None]
    assert number["t"][0] == max(HOSTILE, "b")
    assert number["currency"].to_list() == [None, ""]


def test_a_second_load_of_the_same_changes_nothing(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    written = admin.execute(f"SELECT xmin::text, ctid::text FROM {place}.cases").fetchall()
    load = documents.load(shaped(items("a")), schema=place)
    assert load.changes == 0
    assert repr(load).startswith("Nothing was changed")
    again = admin.execute(f"SELECT xmin::text, ctid::text FROM {place}.cases").fetchall()
    assert again == written
    loads = admin.execute(f"SELECT load_id, sum(added) FROM {place}.loads GROUP BY 1").fetchall()
    assert sorted(int(added) for _, added in loads) == [0, 80]


def test_only_what_differs_is_written_and_counted(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    found = items("a", 23)
    del found["cases"][:4]
    found["cases"][0]["amount"] = {"N": "5"}
    load = documents.load(shaped(found), schema=place)
    assert changes(load, "cases") == (3, 1, 4, 19)
    assert changes(load, "audit") == (3, 0, 0, 23)
    keys = admin.execute(f"SELECT document_id FROM {place}.cases ORDER BY 1").fetchall()
    assert [key for (key,) in keys] == [f"D-{n:03d}" for n in range(4, 23)]
    history = admin.execute(
        f"SELECT scanned, shaped, rejected, loaded, added, changed, removed FROM {place}.loads"
        " WHERE load_id = %s AND target = 'cases'", [load.id],
    ).fetchall()  # fmt: skip
    assert history == [(19, 19, 0, 19, 3, 1, 4)]


def test_rejected_items_are_kept_with_their_reason(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    found = items("a")
    found["cases"][3]["amount"] = {"S": HOSTILE}
    found["cases"][5]["case_number"] = {"S": "nul\0"}
    load = documents.load(shaped(found), schema=place)
    rows = admin.execute(
        f"SELECT item_key, reason, item FROM {place}.rejected ORDER BY entry"
    ).fetchall()
    assert [row[:2] for row in rows] == [
        ("D-003", "amount is a text, not a number"),
        ("D-005", "case_number holds a character that PostgreSQL cannot store"),
    ]
    assert '"nul\\u0000"' in rows[1][2]
    assert load.reconciliation["rejected"].to_list() == [2, 0, 0, 0]
    documents.load(shaped(items("a")), schema=place)
    assert admin.execute(f"SELECT count(*) FROM {place}.rejected").fetchall() == [(0,)]


def test_views_grants_and_indexes_stay(place: str, admin: psycopg.Connection[Any]) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(f"CREATE VIEW {place}.open AS SELECT case_number FROM {place}.cases")
    admin.execute(f"CREATE INDEX by_case ON {place}.cases (case_number)")
    admin.execute(f"GRANT SELECT ON {place}.cases TO pg_monitor")
    admin.execute(f"ALTER TABLE {place}.cases ADD note text DEFAULT 'ours'")
    kept = "SELECT oid, relacl, relhasindex FROM pg_class WHERE oid = %s::regclass"
    before = admin.execute(kept, [f"{place}.cases"]).fetchall()
    load = documents.load(shaped(items("b", 25)), schema=place)
    assert changes(load, "cases") == (5, 20, 0, 25)
    assert admin.execute(kept, [f"{place}.cases"]).fetchall() == before
    assert admin.execute(f"SELECT DISTINCT * FROM {place}.open").fetchall() == [("b",)]
    assert admin.execute("SELECT to_regclass(%s)", [f"{place}.by_case"]).fetchone() != (None,)
    assert admin.execute(f"SELECT DISTINCT note FROM {place}.cases").fetchall() == [("ours",)]


def test_an_account_needs_no_more_than_a_schema_of_its_own(apart: sa.URL, project: Path) -> None:
    url = apart.set(username="loader").render_as_string()
    (project / "workbench.toml").write_text(
        f'[sources.warehouse]\nurl = "{url}"\nread_only = false\n'
    )
    with session(apart) as admin:
        admin.execute("CREATE ROLE loader LOGIN")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM public")
        admin.execute("CREATE SCHEMA theirs AUTHORIZATION loader")
        for name in "ab":
            documents.load(shaped(items(name)), schema="theirs")
        assert held(admin, "theirs") == all_of("b")
        with pytest.raises(QueryError, match="permission denied"):
            documents.load(shaped(items("a")), schema="nobodys")


# What is refused


def test_an_empty_table_is_loaded_only_when_allowed(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    for found, named in (({}, "cases, metadata"), (items("b") | {"audit": []}, "for audit,")):
        with pytest.raises(DataError, match=named):
            documents.load(shaped(found), schema=place)
        assert held(admin, place) == all_of("a")
    # No item became a row: that is as empty.
    bad = items("b", status={"N": "1"})
    with pytest.raises(DataError, match="no rows for cases, so"):
        documents.load(shaped(bad), schema=place)
    load = documents.load(shaped({}), schema=place, allow_empty=True)
    assert [changes(load, table) for table in TABLES] == [(0, 0, 20, 0)] * 4
    assert load.reconciliation["rejected_percent"].to_list() == [0.0] * 4


def test_a_trial_goes_beside_the_warehouse(place: str, admin: psycopg.Connection[Any]) -> None:
    documents.load(shaped(items("a")), schema=place)
    load = documents.load(shaped(items("b", 3), trial=True), schema=place)
    assert (load.schema, load.trial) == (f"{place}_trial", True)
    assert held(admin, place) == all_of("a")
    assert held(admin, f"{place}_trial") == all_of("b", 3)


def test_counts_that_do_not_add_up_are_not_loaded(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    result = shaped(items("b"))
    for wrong in (21, 19):
        lost = replace(result, scanned=result.scanned | {"audit": wrong})
        with pytest.raises(DataError, match="Not every item of audit"):
            documents.load(lost, schema=place)
    twice = pl.concat([result.frames["cases"]] * 2)
    doubled = replace(
        result, frames=result.frames | {"cases": twice}, scanned=result.scanned | {"cases": 40}
    )
    with pytest.raises(QueryError):
        documents.load(doubled, schema=place)
    assert held(admin, place) == all_of("a")


def test_what_cannot_be_loaded_into_is_told(
    place: str, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(QueryError, match="'shut' is read-only"):
        documents.load(shaped(items("a")), "shut", schema=place)
    monkeypatch.setenv("WORKBENCH_SOURCES__TABLES__KIND", "dynamodb")
    with pytest.raises(UsageError, match="kind dynamodb is no database"):
        documents.load(shaped(items("a")), "tables", schema=place)
    documents.load(shaped(items("a")), schema=place)
    admin.execute(f"ALTER TABLE {place}.audit DROP COLUMN details, DROP COLUMN actor")
    with pytest.raises(DataError, match=f"{place}.audit lacks the columns actor, details."):
        documents.load(shaped(items("b")), schema=place)
    assert admin.execute(f"SELECT DISTINCT case_number FROM {place}.cases").fetchall() == [("a",)]


# Whoever reads


def test_a_reader_who_began_before_sees_the_old_set_to_the_end(
    place: str, server: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    with psycopg.connect(server) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SELECT 1 FROM {place}.cases").fetchall()
        documents.load(shaped(items("b", 10)), schema=place)
        assert held(reader, place) == all_of("a")
        reader.commit()
        assert held(reader, place) == all_of("b", 10)


def test_readers_never_see_half_of_a_load(place: str, server: str) -> None:
    sizes = {"a": 200, "b": 150}
    made = {name: shaped(items(name, size)) for name, size in sizes.items()}
    documents.load(made["a"], schema=place)
    done, seen = threading.Event(), []

    def read() -> None:
        with psycopg.connect(server) as reader:
            reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not done.is_set():
                seen.append(held(reader, place))
                reader.commit()

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for name in "bababa":
                before = len(seen)
                documents.load(made[name], schema=place)
                while len(seen) < before + 2 and not reading.done():
                    pass
        finally:
            done.set()
        reading.result()
    whole = [all_of(name, size) for name, size in sizes.items()]
    assert all(one in whole for one in seen)
    assert all(one in seen for one in whole)


# Several loads


def test_two_loads_at_once_are_one_after_the_other(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    start = threading.Barrier(2)

    def load(name: str) -> documents.Load:
        start.wait()
        return documents.load(shaped(items(name)), schema=place)

    with ThreadPoolExecutor(2) as pool:
        loads = list(pool.map(load, "ab"))
    # The first one made the tables, the other one changed every row.
    first, second = sorted(loads, key=lambda one: changes(one, "cases"), reverse=True)
    assert changes(first, "cases") == (20, 0, 0, 20)
    assert changes(second, "cases") == (0, 20, 0, 20)
    assert held(admin, place) in (all_of("a"), all_of("b"))
    assert admin.execute(f"SELECT count(DISTINCT load_id) FROM {place}.loads").fetchone() == (2,)


def test_loads_wait_for_each_other_where_another_isolation_is_usual(
    apart: sa.URL, project: Path
) -> None:
    (project / "workbench.toml").write_text(
        f'[sources.warehouse]\nurl = "{apart.set(username="strict").render_as_string()}"\n'
        "read_only = false\n"
    )
    lock = [LOCK_CLASS, "waited"]
    with session(apart) as admin, ThreadPoolExecutor(2) as pool:
        admin.execute("CREATE ROLE strict LOGIN SUPERUSER")
        admin.execute("ALTER ROLE strict SET default_transaction_isolation = 'repeatable read'")
        documents.load(shaped(items("a")), schema="waited")
        admin.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", lock)
        loading = [pool.submit(documents.load, shaped(items(name)), schema="waited")
                   for name in "bc"]  # fmt: skip
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while admin.execute(waiting).fetchone() != (2,) and not any(j.done() for j in loading):
            admin.execute("SELECT pg_sleep(0.01)")
        let = admin.execute("SELECT clock_timestamp()").fetchone()
        admin.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", lock)
        assert [changes(job.result(), "cases") for job in loading] == [(0, 20, 0, 20)] * 2
        # The list of loads is in the order in which they took effect, not in that of their calls.
        [(last,)] = admin.execute("SELECT DISTINCT case_number FROM waited.cases").fetchall()
        [latest, other] = admin.execute(
            "SELECT load_id, loaded_at FROM waited.loads GROUP BY 1, 2 ORDER BY 2 DESC LIMIT 2"
        ).fetchall()
        assert latest[0] == loading["bc".index(last)].result().id
        assert let is not None
        assert latest[1] > other[1] > let[0]


def test_a_load_that_waits_too_long_for_another_says_so(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [LOCK_CLASS, place])
    with pytest.raises(QueryError, match="canceling statement due to lock timeout"):
        documents.load(shaped(items("a")), "hasty", schema=place)
    admin.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [LOCK_CLASS, place])


# What fails in the middle


@contextmanager
def gate(admin: psycopg.Connection[Any], place: str) -> Iterator[Callable[[], int]]:
    """Let every load wait when it inserts into audit, after all else was written.

    Gives a function that waits for that, and says which session it is.
    """
    admin.execute(
        f"CREATE FUNCTION {place}.wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" 'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NEW; END'"
    )
    admin.execute(
        f"CREATE TRIGGER wait BEFORE INSERT ON {place}.audit FOR EACH ROW"
        f" EXECUTE FUNCTION {place}.wait()"
    )
    waiting = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        f" AND objid = {GATE} AND mode = 'ShareLock'"
    )

    def arrived() -> int:
        for _ in range(2_000):
            if found := admin.execute(waiting + " AND pg_sleep(0.01) IS NOT NULL").fetchone():
                return int(found[0])
            admin.execute("SELECT pg_sleep(0.01)")
        raise AssertionError("no load came to the gate")

    admin.execute(f"SELECT pg_advisory_lock({GATE})")
    try:
        yield arrived
    finally:
        with suppress(psycopg.OperationalError):  # the server may be gone
            admin.execute(f"SELECT pg_advisory_unlock({GATE})")


def gone(admin: psycopg.Connection[Any], pid: int) -> None:
    """Wait until a session has ended, and see that it left nothing behind."""
    alive = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    while admin.execute(alive, [pid]).fetchone():
        admin.execute("SELECT pg_sleep(0.01)")
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'staged%'"
    assert admin.execute(left).fetchall() == []


def test_a_session_that_is_ended_in_the_middle_leaves_the_old_set(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    with gate(admin, place) as arrived, ThreadPoolExecutor(1) as pool:
        loading = pool.submit(documents.load, shaped(items("b", 30)), schema=place)
        pid = arrived()
        assert held(admin, place) == all_of("a")
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(ConnectionFailed) as caught:
            loading.result()
    assert "Nothing was changed; run it again." in str(caught.value)
    gone(admin, pid)
    assert held(admin, place) == all_of("a")
    assert admin.execute(f"SELECT count(DISTINCT load_id) FROM {place}.loads").fetchone() == (1,)
    assert changes(documents.load(shaped(items("b", 30)), schema=place), "audit")[3] == 30


SCRIPT = """
import sys
sys.path[:0] = [{tests!r}]
from test_documents_load import items, shaped
from workbench import documents
documents.load(shaped(items("b", 30)), schema={place!r})
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_ended_in_the_middle_leaves_the_old_set(
    place: str, admin: psycopg.Connection[Any], how: signal.Signals
) -> None:
    documents.load(shaped(items("a")), schema=place)
    script = SCRIPT.format(tests=str(Path(__file__).parent), place=place)
    with gate(admin, place) as arrived:
        process = subprocess.Popen(
            [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True
        )
        pid = arrived()
        process.send_signal(how)
        _, said = process.communicate(timeout=20)
        assert process.returncode != 0
        assert held(admin, place) == all_of("a")
    if how == signal.SIGINT:
        assert said.strip().endswith("KeyboardInterrupt")
    gone(admin, pid)
    assert held(admin, place) == all_of("a")


def test_a_constraint_of_the_owners_leaves_the_old_set(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(f"ALTER TABLE {place}.audit ADD CHECK (actor <> 'b')")
    with pytest.raises(QueryError, match="The load failed on source 'warehouse'"):
        documents.load(shaped(items("b", 30)), schema=place)
    assert held(admin, place) == all_of("a")


def test_rows_that_vanish_on_the_way_are_noticed(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(
        f"CREATE RULE swallow AS ON INSERT TO {place}.audit WHERE new.document_id = 'D-025'"
        " DO INSTEAD NOTHING"
    )
    with pytest.raises(DataError, match="audit would hold 29 rows where 30 were shaped"):
        documents.load(shaped(items("b", 30)), schema=place)
    assert held(admin, place) == all_of("a")


ALTERED = [  # what the owner did to the table, and which columns do not hold what was shaped
    ("ALTER TABLE {0}.cases ALTER amount TYPE numeric(12,0)", "amount"),
    ("ALTER TABLE {0}.cases ALTER daily_interest TYPE float8", "daily_interest"),
    ("ALTER TABLE {0}.cases ALTER amount TYPE float4, ALTER closed_at TYPE timestamptz(0)",
     "amount, closed_at"),
    ("CREATE FUNCTION {0}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
     "CREATE TRIGGER t BEFORE UPDATE ON {0}.cases FOR EACH ROW EXECUTE FUNCTION {0}.f()",
     "case_number, amount, daily_interest, closed_at"),
    ("CREATE FUNCTION {0}.f() RETURNS trigger LANGUAGE plpgsql AS"
     " 'BEGIN NEW.status = upper(NEW.status); NEW.amount = NULL; RETURN NEW; END';"
     "CREATE TRIGGER t BEFORE UPDATE ON {0}.cases FOR EACH ROW EXECUTE FUNCTION {0}.f()",
     "status, amount"),
    ("CREATE FUNCTION {0}.f() RETURNS trigger LANGUAGE plpgsql AS"
     " 'BEGIN NEW.document_id = lower(NEW.document_id); RETURN NEW; END';"
     "CREATE TRIGGER t BEFORE INSERT ON {0}.cases FOR EACH ROW EXECUTE FUNCTION {0}.f()",
     "document_id"),
]  # fmt: skip


@pytest.mark.parametrize(("altered", "columns"), ALTERED)
def test_values_that_become_others_on_the_way_are_noticed(
    place: str, admin: psycopg.Connection[Any], altered: str, columns: str
) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(altered.format(place))
    exact = {
        "amount": {"N": "10.55"}, "daily_interest": {"N": "1.123456789012345678"},
        "closed_at": {"S": "2026-01-01T00:00:00.7Z"},
    }  # fmt: skip
    with pytest.raises(DataError) as caught:
        documents.load(shaped(items("b", 21, **exact)), schema=place)
    assert f"would hold other values than were shaped in {columns}: nothing" in str(caught.value)
    assert held(admin, place) == all_of("a")


def test_a_float_that_holds_what_was_shaped_is_loaded(
    place: str, admin: psycopg.Connection[Any]
) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(f"ALTER TABLE {place}.cases ALTER amount TYPE float8, ALTER status TYPE text")
    load = documents.load(shaped(items("b", amount={"N": "10.55"})), schema=place)
    assert changes(load, "cases") == (0, 20, 0, 20)
    assert documents.load(shaped(items("b", amount={"N": "10.55"})), schema=place).changes == 0


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
@pytest.mark.parametrize("table", ["templates", "loads"])
def test_a_view_in_place_of_a_table_is_told(
    place: str, admin: psycopg.Connection[Any], kind: str, table: str
) -> None:
    documents.load(shaped(items("a")), schema=place)
    admin.execute(f"ALTER TABLE {place}.{table} RENAME TO kept")
    admin.execute(f"CREATE {kind} {place}.{table} AS SELECT * FROM {place}.kept")
    with pytest.raises(DataError, match=f"{place}.{table} is no table, and a load needs one"):
        documents.load(shaped(items("b")), schema=place)


def test_a_merge_may_take_longer_than_an_answer_of_the_server(
    place: str, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents.load(shaped(items("a")), schema=place)
    monkeypatch.setattr("workbench.postgresql.GRACE", 0.1)
    # Longer than the limit of "hasty", and the 0.1 s that are added to it.
    admin.execute(
        f"CREATE FUNCTION {place}.f() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';"
        f"CREATE TRIGGER t BEFORE INSERT ON {place}.audit EXECUTE FUNCTION {place}.f()"
    )
    with connect("hasty") as db:
        assert (
            changes(documents.load(shaped(items("b", 30)), "hasty", schema=place), "audit")[3] == 30
        )
        # The connection is the same, and has its limit again.
        limits = db.attempt("The look", lambda c: c.connection.driver_connection.limit)  # type: ignore[union-attr]
        assert limits == 0.6


@pytest.mark.parametrize("name", ["a%b", "a%%b", "a :b", 'q"x', "sélect", "Up per"])
def test_a_schema_may_have_any_name(place: str, admin: psycopg.Connection[Any], name: str) -> None:
    name = f"{place} {name}"
    quoted = psycopg.sql.Identifier(name).as_string(admin)
    try:
        documents.load(shaped(items("a")), schema=name)
        assert documents.load(shaped(items("a")), schema=name).changes == 0
        assert held(admin, quoted) == all_of("a")
    finally:
        admin.execute(f"DROP SCHEMA IF EXISTS {quoted} CASCADE")


@pytest.mark.parametrize(("name", "trial"), [("", False), ("é" * 32, False), ("x" * 58, True)])
def test_a_schema_needs_a_name_that_the_server_can_keep(place: str, name: str, trial: bool) -> None:
    with pytest.raises(UsageError, match="schema's name has 1 to 63 bytes"):
        documents.load(shaped(items("a"), trial=trial), schema=name)


# A server of its own


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sa.URL]:
    """A server none of whose files may become larger than 20 MB, as under a quota."""
    folder = tmp_path_factory.mktemp("own") / "postgres"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, limits[1]))
    try:
        return folder, embedded._serve(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def session(url: sa.URL) -> Iterator[psycopg.Connection[Any]]:
    place = url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(place, autocommit=True) as connection:
        yield connection


@pytest.fixture
def apart(own: tuple[Path, sa.URL], project: Path) -> sa.URL:
    """That server as the source "warehouse"."""
    url = own[1]
    (project / "workbench.toml").write_text(
        f'[sources.warehouse]\nurl = "{url.render_as_string()}"\nread_only = false\n'
    )
    return url


def test_a_disk_that_is_full_leaves_the_old_set(apart: sa.URL) -> None:
    documents.load(shaped(items("a")), schema="filled")
    # Hexadecimal digits of chance compress to half at best.
    large = {"M": {"text": {"S": os.urandom(150_000).hex()}}}
    one, many = shaped(items("b", 1, details=large)), shaped(items("b", 200, details=large))
    with pytest.raises(WorkbenchError, match="The load failed on source 'warehouse'"):
        documents.load(many, schema="filled")
    with session(apart) as admin:
        assert held(admin, "filled") == all_of("a")
        documents.load(one, schema="filled")
        assert held(admin, "filled") == all_of("b", 1)


def test_a_server_that_is_killed_comes_back_with_the_old_set(
    apart: sa.URL, own: tuple[Path, sa.URL]
) -> None:
    documents.load(shaped(items("a")), schema="killed")
    folder, _ = own
    pid = int((folder / "postmaster.pid").read_text().split()[0])
    with (
        session(apart) as admin,
        ThreadPoolExecutor(1) as pool,
        gate(admin, "killed") as arrived,
    ):
        loading = pool.submit(documents.load, shaped(items("b", 30)), schema="killed")
        arrived()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionFailed):
            loading.result()
    with session(embedded._serve(folder)) as admin:
        assert held(admin, "killed") == all_of("a")
