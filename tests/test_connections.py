"""Connecting: patient with a server that is not ready, and never locking an account."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import oracledb
import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
import standin
from certificates import certificates
from conftest import Command
from network import SERVICE_UNKNOWN, FaultyNetwork
from standin import Oracle

from workbench import connect, credentials
from workbench.errors import ConnectionFailed, CredentialsError, QueryError, WorkbenchError

Source = Callable[..., str]
WRONG = "another-secret-word"
ANNS = [f"ANN{number}" for number in range(20)]
UNUSED = iter(ANNS)
pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused in one test is nothing to another."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def network(oracle: Oracle) -> Iterator[FaultyNetwork]:
    """The way to Oracle, which fails on demand."""
    with FaultyNetwork(oracle.host, oracle.port) as way:
        yield way


@pytest.fixture(scope="module")
def mirror(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[standin.Mirror]:
    """A stand-in of these tests' own: it counts logins, and locks an account at the third."""
    if oracle.real:
        pytest.skip("no real account is locked for a test")
    users = dict.fromkeys(("OLD", *ANNS), standin.PASSWORD)
    log = tmp_path_factory.mktemp("mirror") / "mirror.log"
    arguments = ["--failed-login-attempts", "3"]
    with standin.mirror(oracle.postgresql, log, users, arguments, expired=["OLD"]) as running:
        yield running


@pytest.fixture
def ann() -> str:
    """An account of the mirror's that nobody has used."""
    return next(UNUSED)


class After(logging.Handler):
    """Does something at the n-th attempt that is logged."""

    def __init__(self, attempts: int, action: Callable[[], None]) -> None:
        super().__init__()
        self.left = attempts
        self.action = action

    def emit(self, record: logging.LogRecord) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


def attempts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "next in" in text]


def test_a_listener_that_is_down_at_first_is_waited_for(
    oracle_source: Source, network: FaultyNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    oracle_source(port=network.port)
    network.down()
    waiting = After(3, network.up)
    logging.getLogger("workbench.connections").addHandler(waiting)
    try:
        with connect("oracle") as db:
            assert db.read("SELECT 1 AS n FROM DUAL").height == 1
    finally:
        logging.getLogger("workbench.connections").removeHandler(waiting)
    assert [f"attempt {number}," in text for number, text in enumerate(attempts(caplog), 1)] == [
        True, True, True,
    ]  # fmt: skip
    assert network.connections == 1
    assert standin.PASSWORD not in caplog.text


@pytest.mark.parametrize("answer", [b"", SERVICE_UNKNOWN], ids=["reset", "unknown service"])
def test_what_fails_before_the_login_is_tried_again(
    oracle_source: Source, network: FaultyNetwork, answer: bytes
) -> None:
    oracle_source(port=network.port)
    network.reset(2, answer)
    with connect("oracle") as db:
        assert db.health().round_trip_ms > 0
    assert network.connections == 3


def test_trying_again_has_an_end(oracle_source: Source, network: FaultyNetwork) -> None:
    oracle_source("retry_for = 0.5", port=network.port)
    network.reset(answer=SERVICE_UNKNOWN)
    with pytest.raises(ConnectionFailed, match="ORA-12514") as caught:
        connect("oracle")
    assert network.connections >= 2
    assert "service" in str(caught.value.hint)
    assert caught.value.__context__ is None


def test_a_server_that_says_nothing_is_given_up(
    oracle_source: Source, network: FaultyNetwork
) -> None:
    oracle_source("retry_for = 0.1", "connect_timeout = 0.5", port=network.port)
    network.stall()
    with pytest.raises(ConnectionFailed, match="says nothing"):
        connect("oracle")
    assert network.connections == 1


def test_a_wrong_password_is_sent_once_and_never_again(
    oracle_source: Source, mirror: standin.Mirror, ann: str, workbench: Command, project: Path
) -> None:
    oracle_source(port=mirror.port, username=ann, password=WRONG)
    with pytest.raises(ConnectionFailed, match="ORA-01017") as caught:
        connect("oracle")
    assert WRONG not in str(caught.value)
    with pytest.raises(CredentialsError, match="not tried again"):
        connect("oracle")
    # Another process, as the next run of a batch is.
    said = subprocess.run(
        [sys.executable, "-c", "import workbench; workbench.connect('oracle')"],
        env={**os.environ, "PYTHONPATH": ""}, cwd=project, capture_output=True, text=True,
    )  # fmt: skip
    assert "is not tried again" in said.stderr
    assert WRONG not in said.stderr
    assert mirror.logins(ann) == ["ORA-01017"]


def test_an_answer_that_is_lost_after_the_password_is_not_asked_for_again(
    oracle_source: Source, oracle: Oracle, network: FaultyNetwork
) -> None:
    who = {"user": oracle.username, "password": oracle.password}
    oracledb.connect(**who, dsn=f"127.0.0.1:{network.port}/{oracle.service}").close()
    login = network.received
    oracle_source(port=network.port)
    # The last answer of a login follows the password; what comes before may be tried again.
    network.cut_after(login - 100)
    with pytest.raises(ConnectionFailed, match="DPY-4011"):
        connect("oracle")
    assert network.connections == 2


def test_processes_that_start_at_once_send_a_wrong_password_once(
    oracle_source: Source, mirror: standin.Mirror, ann: str, project: Path
) -> None:
    oracle_source(port=mirror.port, username=ann, password=WRONG)
    command = [sys.executable, "-c", "import workbench; workbench.connect('oracle')"]
    started = [
        subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [process.communicate()[1] for process in started]
    assert sum("ORA-01017" in text for text in said) == 1
    assert sum("seconds ago with the same secret" in text for text in said) == 2
    assert mirror.logins(ann) == ["ORA-01017"]


def test_a_refusal_is_remembered_though_the_secret_cannot_be_read_again(
    oracle_source: Source, mirror: standin.Mirror, ann: str, aws: FaultyNetwork
) -> None:
    keep("connections/unreachable", ann, WRONG)
    rotated(oracle_source, mirror, ann, "connections/unreachable")
    credentials.resolve("secretsmanager:connections/unreachable")
    aws.down()
    for _ in range(2):
        with pytest.raises(CredentialsError, match="cannot be reached") as caught:
            connect("oracle")
        assert caught.value.__context__ is None
    assert mirror.logins(ann) == ["ORA-01017"]


def test_a_refused_login_keeps_its_password_out_of_its_traceback(
    oracle_source: Source, mirror: standin.Mirror, ann: str
) -> None:
    from workbench.connections import open_engine
    from workbench.settings import load_settings

    oracle_source(port=mirror.port, username=ann, password=WRONG)
    engine = open_engine("oracle", load_settings().source("oracle"))
    with pytest.raises(sa.exc.DatabaseError) as caught:
        engine.connect()
    shown: BaseException | None = caught.value
    while shown:
        frame = shown.__traceback__
        while frame:
            if frame.tb_frame.f_code.co_filename != __file__:
                assert WRONG not in repr(frame.tb_frame.f_locals)
            frame = frame.tb_next
        shown = shown.__cause__ or shown.__context__


def test_a_server_that_hangs_does_not_hold_up_another(
    oracle_source: Source, network: FaultyNetwork, oracle: Oracle, project: Path
) -> None:
    oracle_source("connect_timeout = 0.5", "retry_for = 0", port=network.port)
    text = (project / "workbench.toml").read_text()
    healthy = text.replace("sources.oracle", "sources.healthy").replace(
        str(network.port), str(oracle.port)
    )
    healthy = healthy.replace("connect_timeout = 0.5\n", "")
    (project / "workbench.toml").write_text(text + healthy)
    network.stall()
    code = (
        "import workbench\n"
        "try:\n    workbench.connect('oracle')\n"
        "except workbench.WorkbenchError as error:\n    print(error.message)\n"
        "print(workbench.connect('healthy').health().server)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=60
    )
    assert "says nothing" in said.stdout
    assert said.stdout.splitlines()[-1] == "Oracle", said.stderr


def test_a_changed_secret_is_tried_at_once(
    oracle_source: Source, mirror: standin.Mirror, ann: str
) -> None:
    oracle_source(port=mirror.port, username=ann, password=WRONG)
    with pytest.raises(ConnectionFailed):
        connect("oracle")
    oracle_source(port=mirror.port, username=ann)
    connect("oracle").close()
    oracle_source(port=mirror.port, username=ann, password=WRONG)
    with pytest.raises(CredentialsError, match="not tried again"):
        connect("oracle")
    assert mirror.logins(ann) == ["ORA-01017", "OK"]


@pytest.mark.parametrize(("lock", "code"), [(False, "ORA-28001"), (True, "ORA-28000")])
def test_an_expired_or_locked_account_is_left_alone(
    oracle_source: Source, mirror: standin.Mirror, ann: str, lock: bool, code: str
) -> None:
    user = ann if lock else "OLD"
    for _ in range(3 if lock else 0):
        with pytest.raises(oracledb.DatabaseError):
            oracledb.connect(user=user, password=WRONG, dsn=mirror.dsn)
    before = len(mirror.logins(user))
    oracle_source(port=mirror.port, username=user)
    with pytest.raises(ConnectionFailed, match=code) as caught:
        connect("oracle")
    assert caught.value.hint
    with pytest.raises(CredentialsError, match="not tried again"):
        connect("oracle")
    assert mirror.logins(user)[before:] == [code]


def test_many_threads_with_a_wrong_password_are_one_attempt(
    oracle_source: Source, mirror: standin.Mirror, ann: str
) -> None:
    from workbench.connections import open_engine
    from workbench.settings import load_settings

    oracle_source(port=mirror.port, username=ann, password=WRONG)
    engine = open_engine("oracle", load_settings().source("oracle"))
    failures = []

    def use() -> None:
        try:
            engine.connect()
        except (WorkbenchError, sa.exc.DatabaseError) as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 5
    assert mirror.logins(ann) == ["ORA-01017"]


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyNetwork]:
    """The way to moto's AWS, which counts: a read of a secret is a connection."""
    at = urlsplit(moto)
    assert at.hostname
    assert at.port
    with FaultyNetwork(at.hostname, at.port) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{way.port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        yield way


def keep(name: str, username: str, password: str) -> None:
    """Put the secret into Secrets Manager, or a new version of it."""
    client = boto3.client("secretsmanager")
    text = json.dumps({"username": username, "password": password})
    try:
        client.create_secret(Name=name, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=text)


def rotated(oracle_source: Source, mirror: standin.Mirror, ann: str, name: str) -> None:
    """Point the source at a secret of AWS."""
    path = oracle_source("pool.maximum = 3", port=mirror.port, username=ann)
    assert path == "oracle"
    text = Path("workbench.toml").read_text()
    Path("workbench.toml").write_text(text.replace("env:ORA", f"secretsmanager:{name}"))


def test_a_rotated_secret_is_read_once_more_and_works(
    oracle_source: Source, mirror: standin.Mirror, ann: str, aws: FaultyNetwork
) -> None:
    name = "connections/rotated"
    keep(name, ann, standin.PASSWORD)
    rotated(oracle_source, mirror, ann, name)
    with connect("oracle") as db:
        with db.engine.connect() as held:
            held.execute(sa.text(f"ALTER USER {ann} IDENTIFIED BY rotated_secret_word"))
            keep(name, ann, "rotated_secret_word")
            reads = aws.connections
            # The pool has no free connection: this one logs in, with what is remembered at first.
            assert db.read("SELECT 1 AS n FROM DUAL").height == 1
        assert aws.connections - reads == 1
        assert db.read("SELECT 1 AS n FROM DUAL").height == 1
    assert mirror.logins(ann) == ["OK", "ORA-01017", "OK"]


def test_a_wrong_secret_of_aws_is_one_more_read_and_one_more_attempt_at_most(
    oracle_source: Source, mirror: standin.Mirror, ann: str, aws: FaultyNetwork
) -> None:
    name = "connections/wrong"
    keep(name, ann, WRONG)
    rotated(oracle_source, mirror, ann, name)
    reads = aws.connections
    with pytest.raises(ConnectionFailed, match="ORA-01017"):
        connect("oracle")
    assert aws.connections - reads == 2
    assert mirror.logins(ann) == ["ORA-01017"]
    credentials.resolve(f"secretsmanager:{name}", fresh=True)
    keep(name, ann, "yet-another-secret-word")
    with pytest.raises(ConnectionFailed, match="ORA-01017"):
        connect("oracle")
    with pytest.raises(CredentialsError, match="not tried again"):
        connect("oracle")
    assert mirror.logins(ann) == ["ORA-01017", "ORA-01017"]


def test_a_session_killed_in_the_pool_is_replaced(
    oracle_source: Source, network: FaultyNetwork
) -> None:
    oracle_source(port=network.port)
    with connect("oracle") as db:
        network.cut()
        assert db.read("SELECT 1 AS n FROM DUAL").height == 1
    assert network.connections == 2


def test_a_session_killed_by_its_administrator_is_replaced(
    oracle_source: Source, oracle: Oracle
) -> None:
    oracle_source()
    with connect("oracle") as db:
        before = db.health().session
        with db.engine.connect() as held:
            driver = held.connection.driver_connection
            assert driver is not None
            session = f"{driver.session_id},{driver.serial_num}"
        who = {"user": oracle.username, "password": oracle.password, "dsn": oracle.dsn}
        with oracledb.connect(**who) as other:
            other.cursor().execute(f"ALTER SYSTEM KILL SESSION '{session}' IMMEDIATE")
        assert db.health().session != before


def test_a_pool_that_is_exhausted_says_so(oracle_source: Source) -> None:
    oracle_source("pool.maximum = 2", "pool.timeout = 0.2")
    with connect("oracle") as db:
        three = "SELECT LEVEL AS n FROM DUAL CONNECT BY LEVEL <= 3"
        frames = [db.batches(three, rows=1) for _ in range(2)]
        assert [next(each).height for each in frames] == [1, 1]
        with pytest.raises(ConnectionFailed, match="All 2 connections of source 'oracle'"):
            db.read("SELECT 1 AS n FROM DUAL")
        for each in frames:
            each.close()  # type: ignore[attr-defined]
        assert db.read("SELECT 1 AS n FROM DUAL").height == 1


def test_a_connection_lost_in_mid_fetch_is_an_error_not_fewer_rows(
    oracle_source: Source, network: FaultyNetwork
) -> None:
    oracle_source(port=network.port)
    with connect("oracle") as db:
        network.cut_after(20_000)
        with pytest.raises(ConnectionFailed, match="was lost") as caught:
            db.read(
                "SELECT LEVEL AS n, RPAD('x', 100, 'x') AS t FROM DUAL CONNECT BY LEVEL <= 9000"
            )
        assert caught.value.__context__ is None
        assert db.read("SELECT 1 AS n FROM DUAL").height == 1


def test_a_stalled_statement_ends_with_the_call_timeout(
    oracle_source: Source, network: FaultyNetwork
) -> None:
    oracle_source("call_timeout = 1", port=network.port)
    with connect("oracle") as db, db.engine.connect() as connection:
        network.stall()
        with pytest.raises(sa.exc.DatabaseError, match=r"DPY-4024|DPY-4011"):
            connection.execute(sa.text("SELECT 1 FROM DUAL"))
        network.heal()


@pytest.fixture
def ledger(oracle: Oracle) -> Iterator[str]:
    """A table to write to."""
    with oracledb.connect(user=oracle.username, password=oracle.password, dsn=oracle.dsn) as direct:
        cursor = direct.cursor()
        cursor.execute("CREATE TABLE ledger (id NUMBER(10) PRIMARY KEY, note VARCHAR2(20))")
        yield "ledger"
        cursor.execute("DROP TABLE ledger")


INSERT = "INSERT INTO ledger (id, note) VALUES (:id, :note)"


def test_many_rows_are_written_all_or_none_and_the_refused_one_is_told(
    oracle_source: Source, ledger: str
) -> None:
    oracle_source("read_only = false")
    rows = [{"id": number, "note": "n"} for number in range(1200)]
    with connect("oracle") as db:
        assert db.execute_many(INSERT, rows) == 1200
        for bad in ({"id": 7, "note": "again"}, {"id": 9999, "note": "x" * 21}, {"id": 5000}):
            more = [{"id": 2000 + number, "note": "n"} for number in range(700)]
            with pytest.raises(QueryError, match=r"Row 701 (was refused|does not)") as caught:
                db.execute_many(INSERT, [*more, bad, {"id": 6000, "note": "n"}])
            assert "again" not in str(caught.value)
            assert "xxx" not in str(caught.value)
        assert db.read("SELECT COUNT(*) AS n FROM ledger").item() == 1200


def test_a_connection_lost_in_mid_commit_leaves_the_outcome_unknown(
    oracle_source: Source, network: FaultyNetwork, ledger: str
) -> None:
    oracle_source("read_only = false", port=network.port)
    with connect("oracle") as db:

        @sa.event.listens_for(db.engine, "commit")
        def _cut(_connection: sa.Connection) -> None:
            network.cut_on_request()

        with pytest.raises(ConnectionFailed, match="is unknown") as caught:
            db.execute_many(INSERT, [{"id": 1, "note": "n"}])
        assert "Look whether the 1 rows are there" in str(caught.value.hint)
    # Delivered, and the answer lost: it was written, once, and not tried again.
    with connect("oracle") as db:
        assert db.read("SELECT COUNT(*) AS n FROM ledger").item() == 1


def test_a_read_only_source_takes_no_rows(oracle_source: Source, ledger: str) -> None:
    oracle_source()
    with connect("oracle") as db, pytest.raises(QueryError, match="read-only"):
        db.execute_many(INSERT, [{"id": 1, "note": "n"}])


def test_each_transaction_of_a_read_only_source_says_so(
    oracle_source: Source, oracle: Oracle
) -> None:
    if oracle.real:
        pytest.skip("looks into the stand-in's log")
    oracle_source()
    log = standin.statements(oracle)
    with connect("oracle") as db:
        db.read("SELECT 1 AS n FROM DUAL")
    assert log().upper().count("READ ONLY") >= 2


def test_sessions_say_whose_they_are(
    oracle_source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_NOTEBOOK", "run_colors")
    monkeypatch.setenv("WORKBENCH_RUN_ID", "20260109T103000Z-abcd")
    oracle_source()
    with connect("oracle") as db:
        row = db.read(
            "SELECT SYS_CONTEXT('USERENV', 'MODULE') AS m, SYS_CONTEXT('USERENV', 'ACTION') AS a,"
            " SYS_CONTEXT('USERENV', 'CLIENT_IDENTIFIER') AS c FROM DUAL"
        ).row(0)
    notebook, run = "workbench run_colors", "20260109T103000Z-abcd"
    assert row == (notebook, run, f"{notebook} {run}")


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("oracle+oracledb://", 'dsn = "{host}:{port}/{service}"'),
        ("oracle+oracledb://", 'dsn = "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST={host})'
         '(PORT={port}))(CONNECT_DATA=(SERVICE_NAME={service})))"'),
        ("oracle+oracledb://desk", 'config_dir = "tns"'),
        ("oracle+oracledb://{host}:{port}/{service}", ""),
    ],
    ids=["easy connect", "descriptor", "alias", "sid"],
)  # fmt: skip
def test_a_database_is_found_however_it_is_named(
    project: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch, url: str, more: str
) -> None:
    at = {"host": oracle.host, "port": oracle.port, "service": oracle.service}
    if oracle.real and url.endswith("{service}"):
        pytest.skip("a service is no SID")
    (project / "tns").mkdir()
    (project / "tns" / "tnsnames.ora").write_text(
        "DESK = (DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port}))"
        "(CONNECT_DATA=(SERVICE_NAME={service})))\n".format(**at)
    )
    monkeypatch.setenv("ORA_USERNAME", oracle.username)
    monkeypatch.setenv("ORA_PASSWORD", oracle.password)
    (project / "workbench.toml").write_text(
        f'[sources.oracle]\nurl = "{url.format(**at)}"\ncredentials = "env:ORA"\n'
        + more.format(**at)
    )
    with connect("oracle") as db:
        assert db.health().server == "Oracle"


def test_tls_trusts_the_wallet_alone(
    oracle: Oracle, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if oracle.real:
        pytest.skip("a server with a certificate of the test's own is wanted")
    wallet, certificate, key = certificates(tmp_path)
    tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    users = {"ANN": standin.PASSWORD}
    monkeypatch.setenv("ORA_USERNAME", "ann")
    monkeypatch.setenv("ORA_PASSWORD", standin.PASSWORD)
    with standin.mirror(oracle.postgresql, tmp_path / "log", users, tls) as at:
        text = f'dsn = "tcps://127.0.0.1:{at.port}/XE"\ncredentials = "env:ORA"\nretry_for = 0'
        path = project / "workbench.toml"
        path.write_text(f'[sources.oracle]\n{text}\nwallet_location = "{wallet}"\n')
        connect("oracle").close()
        path.write_text(f"[sources.oracle]\n{text}\n")
        with pytest.raises(ConnectionFailed, match="certificate") as caught:
            connect("oracle")
        assert "wallet" in str(caught.value.hint)


def test_thick_mode_without_a_client_says_what_is_missing(
    project: Path, oracle_source: Source
) -> None:
    oracle_source("thick = true", 'client_lib_dir = "nowhere"')
    said = subprocess.run(
        [sys.executable, "-c", "import workbench; workbench.connect('oracle')"],
        cwd=project, capture_output=True, text=True,
    )  # fmt: skip
    assert f"no Oracle Client is in {project / 'nowhere'} (DPI-1047)" in said.stderr
    assert "thick = true" in said.stderr


@pytest.fixture
def below(oracle: Oracle, project: Path) -> Iterator[FaultyNetwork]:
    """The way to a PostgreSQL, which is the source "pg", with an empty table `ledger`."""
    if oracle.postgresql is None:
        pytest.skip("the stand-in's PostgreSQL is wanted")
    url = sa.make_url(oracle.postgresql).set(drivername="postgresql+psycopg")
    assert url.host
    assert url.port
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS public.ledger"))
        connection.execute(sa.text("CREATE TABLE public.ledger (id int PRIMARY KEY, note text)"))
    with FaultyNetwork(url.host, url.port) as way:
        way_url = url.set(port=way.port).render_as_string()
        (project / "workbench.toml").write_text(
            f'[sources.pg]\nurl = "{way_url}"\nread_only = false\nretry_for = 5\n'
        )
        yield way
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE public.ledger"))


ROWS = [{"id": number, "note": "n"} for number in range(3)]
INTO = "INSERT INTO public.ledger (id, note) VALUES (:id, :note)"


def test_where_the_database_is_may_stand_in_the_secret(
    below: FaultyNetwork, aws: FaultyNetwork, oracle: Oracle, project: Path
) -> None:
    everything = {
        "username": "postgres", "password": standin.PASSWORD, "host": "127.0.0.1",
        "port": below.port, "dbname": "postgres", "schema": "public",
    }  # fmt: skip
    oracles = {
        "user": oracle.username, "password": oracle.password, "host": oracle.host,
        "port": str(oracle.port), "service_name": oracle.service,
    }  # fmt: skip
    client = boto3.client("secretsmanager")
    client.create_secret(Name="connections/pg", SecretString=json.dumps(everything))
    client.create_secret(Name="connections/ora", SecretString=json.dumps(oracles))
    (project / "workbench.toml").write_text(
        '[sources.pg]\nurl = "postgresql+psycopg://"\n'
        'credentials = "secretsmanager:connections/pg"\n'
        '[sources.ora]\nurl = "oracle+oracledb://"\n'
        'credentials = "secretsmanager:connections/ora"\n'
    )
    with connect("pg") as db:
        assert db.table("ledger").schema == "public"
    with connect("ora") as db:
        assert db.health().server == "Oracle"


@pytest.mark.parametrize(("delivered", "written"), [(True, 3), (False, 0)])
def test_postgresql_lost_in_mid_commit_is_not_tried_again(
    below: FaultyNetwork, delivered: bool, written: int
) -> None:
    with connect("pg") as db:
        below.cut_on_request(b"COMMIT", delivered=delivered)
        with pytest.raises(ConnectionFailed, match="is unknown"):
            db.execute_many(INTO, ROWS)
        assert db.read("SELECT count(*) AS n FROM public.ledger").item() == written


def test_postgresql_refuses_a_row_by_its_number(below: FaultyNetwork) -> None:
    with connect("pg") as db:
        with pytest.raises(QueryError, match=r"Row 4 was refused: .*\(23505\)") as caught:
            db.execute_many(INTO, [*ROWS, {"id": 0, "note": "again"}])
        assert "again" not in str(caught.value)
        bad = {"id": "a-private-value", "note": "n"}
        with pytest.raises(QueryError, match="Row 2 was refused") as caught:
            db.execute_many(INTO, [ROWS[0], bad])
        assert "private" not in str(caught.value)
        assert db.execute_many(INTO, pl.DataFrame(ROWS)) == 3
        assert db.execute_many(INTO, []) == 0
        assert db.read("SELECT count(*) AS n FROM public.ledger").item() == 3


def test_rows_of_different_columns_are_refused(below: FaultyNetwork) -> None:
    with connect("pg") as db:
        into = db.table("public.ledger").insert()
        rows: list[object] = [{"id": number} for number in range(501)]
        with pytest.raises(QueryError, match="Row 502 does not have the columns of row 1: id"):
            db.execute_many(into, [*rows, {"id": 501, "note": "lost"}])
        with pytest.raises(QueryError, match="Row 2 is a tuple"):
            db.execute_many(into, [{"id": 1}, (2,)])
        with pytest.raises(QueryError, match=r"Row 2 was refused: it holds a value .*Unicode"):
            db.execute_many(INTO, [ROWS[0], {"id": 2, "note": "\ud800"}])
        assert db.read("SELECT count(*) AS n FROM public.ledger").item() == 0


def test_what_is_refused_at_the_commit_shows_no_value(below: FaultyNetwork) -> None:
    with connect("pg") as db:
        with db.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "ALTER TABLE public.ledger ADD COLUMN above int"
                    " REFERENCES public.ledger (id) DEFERRABLE INITIALLY DEFERRED"
                )
            )
        with pytest.raises(QueryError, match=r"refused in the end: .*\(23503\)") as caught:
            db.execute_many(
                "INSERT INTO public.ledger (id, above) VALUES (:id, :above)",
                [{"id": 1, "above": 424242}],
            )
        assert "424242" not in str(caught.value)
        assert db.read("SELECT count(*) AS n FROM public.ledger").item() == 0


def test_a_connection_lost_before_the_commit_has_written_nothing(below: FaultyNetwork) -> None:
    with connect("pg") as db:
        below.cut_on_request(b"INSERT INTO")
        with pytest.raises(ConnectionFailed, match="none was written"):
            db.execute_many(INTO, ROWS)
        assert db.read("SELECT count(*) AS n FROM public.ledger").item() == 0


def test_postgresql_that_is_not_there_yet_is_waited_for(
    below: FaultyNetwork, caplog: pytest.LogCaptureFixture
) -> None:
    below.down()
    waiting = After(2, below.up)
    logging.getLogger("workbench.connections").addHandler(waiting)
    try:
        with connect("pg") as db:
            below.cut()
            assert db.read("SELECT 1 AS n").item() == 1
    finally:
        logging.getLogger("workbench.connections").removeHandler(waiting)
    assert len(attempts(caplog)) == 2


def test_postgresql_that_says_nothing_is_given_up(below: FaultyNetwork) -> None:
    text = Path("workbench.toml").read_text()
    Path("workbench.toml").write_text(f"{text}connect_timeout = 0.5\n")
    below.stall()
    with pytest.raises(ConnectionFailed, match=r"says nothing|timeout"):
        connect("pg")


@pytest.fixture
def locked(below: FaultyNetwork, oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> FaultyNetwork:
    """The source "pg" asks for a password, and knows the wrong one."""
    monkeypatch.setenv("PG_USERNAME", "keeper")
    monkeypatch.setenv("PG_PASSWORD", WRONG)
    path = Path("workbench.toml")
    path.write_text(path.read_text().replace("postgres@", "") + 'credentials = "env:PG"\n')
    assert oracle.postgresql
    with psycopg.connect(oracle.postgresql, autocommit=True) as admin:
        if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'keeper'").fetchone():
            admin.execute(f"CREATE ROLE keeper LOGIN PASSWORD '{standin.PASSWORD}'")
            row = admin.execute("SHOW hba_file").fetchone()
            assert row
            rules = standin.ROOT / row[0].lstrip("/")
            rules.write_text(f"host all keeper all scram-sha-256\n{rules.read_text()}")
            admin.execute("SELECT pg_reload_conf()")
    return below


def test_postgresql_is_sent_a_wrong_password_once(locked: FaultyNetwork, oracle: Oracle) -> None:
    log = standin.statements(oracle)
    with pytest.raises(ConnectionFailed, match="28P01"):
        connect("pg")
    with pytest.raises(CredentialsError, match="seconds ago"):
        connect("pg")
    assert log().count('password authentication failed for user "keeper"') == 1


def test_postgresql_lost_after_the_password_is_not_asked_again(locked: FaultyNetwork) -> None:
    locked.cut_on_request(b",p=", delivered=False)
    with pytest.raises(ConnectionFailed, match=r"lost|closed|reset"):
        connect("pg")
    # One that asks for TLS, which this server does not offer; one that sends the password.
    assert locked.connections == 2
