"""The stand-in for Oracle, and the faulty network, do what the tests that use them rely on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oracledb
import psycopg
import pytest
import standin
import yaml
from certificates import certificates
from network import SERVICE_UNKNOWN, FaultyNetwork
from standin import Oracle

ROOT = Path(__file__).parents[1]
CHANGED = "another-secret-word"
WRONG = {"password": "wrong"}


def connect(oracle: Oracle, **other) -> oracledb.Connection:
    quick = {"retry_count": 0, "tcp_connect_timeout": 5}
    who = {"user": oracle.username, "password": oracle.password, "dsn": oracle.dsn}
    return oracledb.connect(**{**quick, **who, **other})


def refused(oracle: Oracle, **other) -> str:
    """The code that a login is refused with."""
    with pytest.raises(oracledb.DatabaseError) as caught:
        connect(oracle, **other)
    return caught.value.args[0].full_code


@pytest.fixture
def network(oracle: Oracle) -> Iterator[FaultyNetwork]:
    with FaultyNetwork(oracle.host, oracle.port) as relay:
        yield relay


def through(network: FaultyNetwork, oracle: Oracle, **other) -> oracledb.Connection:
    return connect(oracle, dsn=f"127.0.0.1:{network.port}/{oracle.service}", **other)


@pytest.mark.oracle
class TestOracle:
    def test_a_worker_owns_its_tables(self, oracle: Oracle):
        with connect(oracle) as db, db.cursor() as cursor:
            cursor.execute("create table first_one (id number(18), name varchar2(10))")
            cursor.executemany("insert into first_one values (:1, :2)", [(1, "a"), (2, "b")])
            db.commit()
            cursor.execute("select owner from all_tables where table_name = 'FIRST_ONE'")
            assert (oracle.username.upper(),) in cursor.fetchall()
            cursor.execute("select id, name from first_one order by id")
            assert cursor.fetchall() == [(1, "a"), (2, "b")]
            cursor.execute("drop table first_one purge")

    def test_a_source_is_written_for_the_command(self, oracle: Oracle, project, oracle_source):
        assert oracle_source("read_only = false", port=1) == "oracle"
        text = (project / "workbench.toml").read_text()
        assert f"oracle+oracledb://{oracle.host}:1/?service_name={oracle.service}" in text
        assert text.endswith("read_only = false\n")
        assert oracle.password not in text
        assert os.environ["ORA_PASSWORD"] == oracle.password


@pytest.fixture
def below(oracle: Oracle) -> Oracle:
    if oracle.real:
        pytest.skip("about the stand-in itself")
    return oracle


@pytest.mark.oracle
class TestMirror:
    def test_statements_and_binds_are_logged(self, below: Oracle):
        said = standin.statements(below)
        with connect(below) as db, db.cursor() as cursor:
            cursor.execute("select :1 from dual", ["x' or 'a'='a"])
            assert cursor.fetchone() == ("x' or 'a'='a",)
        logged = said()
        # A bind appears doubled in quotes among the parameters, and never in the statement.
        assert "'x'' or ''a''=''a'" in logged
        assert "x' or 'a'='a" not in logged

    def test_a_session_can_be_killed(self, below: Oracle):
        with connect(below) as db, psycopg.connect(below.postgresql, autocommit=True) as under:
            (sid,) = (
                db.cursor().execute("select sys_context('userenv', 'sid') from dual").fetchone()
            )
            under.execute("select pg_terminate_backend(%s, 5000)", [int(sid)])
            with pytest.raises(oracledb.DatabaseError) as caught:
                db.cursor().execute("select 1 from dual")
        assert caught.value.args[0].full_code in {"ORA-00028", "DPY-4011"}

    def test_wrong_locked_and_unlocked(self, below: Oracle, tmp_path):
        users = {"reader": standin.PASSWORD, "admin": standin.PASSWORD}
        limit = ["--failed-login-attempts", "2"]
        with standin.mirror(below.postgresql, tmp_path / "log", users, limit) as at:
            me = {"dsn": at.dsn, "user": "reader"}
            assert refused(below, **me, **WRONG) == "ORA-01017"
            assert refused(below, **me, **WRONG) == "ORA-01017"
            assert refused(below, **me) == "ORA-28000"
            with connect(below, dsn=at.dsn, user="admin") as db:
                db.cursor().execute("alter user reader account unlock")
            connect(below, **me).close()
            assert at.logins("reader") == ["ORA-01017", "ORA-01017", "ORA-28000", "OK"]

    def test_changed_and_expired(self, below: Oracle, tmp_path):
        users = {"reader": standin.PASSWORD, "late": standin.PASSWORD}
        with standin.mirror(below.postgresql, tmp_path / "log", users, expired=["late"]) as at:
            with connect(below, dsn=at.dsn, user="reader") as db:
                db.cursor().execute(f'alter user reader identified by "{CHANGED}"')
                assert refused(below, dsn=at.dsn, user="reader") == "ORA-01017"
                connect(below, dsn=at.dsn, user="reader", password=CHANGED).close()
                # An open session lives on, as on Oracle.
                assert db.cursor().execute("select 1 from dual").fetchone() == (1,)
            assert refused(below, dsn=at.dsn, user="late", **WRONG) == "ORA-01017"
            assert refused(below, dsn=at.dsn, user="late") == "ORA-28001"
            assert at.logins("late") == ["ORA-01017", "ORA-28001"]

    def test_tls_with_a_wallet(self, below: Oracle, tmp_path):
        wallet, certificate, key = certificates(tmp_path)
        tls = ["--tls-cert", str(certificate), "--tls-key", str(key)]
        with standin.mirror(
            below.postgresql, tmp_path / "log", {"reader": standin.PASSWORD}, tls
        ) as at:
            me = {"dsn": f"tcps://127.0.0.1:{at.port}/{standin.SERVICE}", "user": "reader"}
            connect(below, **me, wallet_location=str(wallet), ssl_server_dn_match=False).close()
            connect(below, **me, wallet_location=str(wallet)).close()
            context = ssl.create_default_context(cafile=str(wallet / "ewallet.pem"))
            connect(below, **me, ssl_context=context).close()
            assert refused(below, **me) == "DPY-6005"

    def test_nothing_outlives_its_users(self, tmp_path):
        """A second one, whose only user is killed without a chance to tidy up."""
        if reason := standin.missing():
            pytest.skip(reason)
        user = (
            "import sys, time, pathlib, standin\n"
            "with standin.shared(pathlib.Path(sys.argv[1]), 'master') as oracle:\n"
            "    print(oracle.port, oracle.postgresql.split(':')[2].split('/')[0], flush=True)\n"
            "    time.sleep(600)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", user, str(tmp_path / "own")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            ports = [int(word) for word in process.stdout.readline().split()]
            with standin.shared(tmp_path / "own", "gw0") as second:
                assert second.port == ports[0]
                process.send_signal(signal.SIGKILL)
                process.wait()
                socket.create_connection(("127.0.0.1", ports[0])).close()
        for port in ports:
            standin.wait(lambda port=port: is_closed(port), tmp_path / "own" / "owner.log")


def is_closed(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.oracle
class TestFaultsOnOracle:
    def test_passes_and_counts(self, oracle: Oracle, network: FaultyNetwork):
        with through(network, oracle) as db:
            assert db.cursor().execute("select 1 from dual").fetchone() == (1,)
        assert network.connections == 1
        assert network.sent > 100
        assert network.received > 100

    def test_closed_port(self, oracle: Oracle, network: FaultyNetwork):
        network.down()
        dsn = f"127.0.0.1:{network.port}/{oracle.service}"
        assert refused(oracle, dsn=dsn) == "DPY-6005"
        network.up()
        through(network, oracle).close()
        assert network.connections == 1

    def test_reset_before_login(self, oracle: Oracle, network: FaultyNetwork):
        network.reset(times=2)
        dsn = f"127.0.0.1:{network.port}/{oracle.service}"
        assert [refused(oracle, dsn=dsn) for _ in range(2)] == ["DPY-6005", "DPY-6005"]
        through(network, oracle).close()
        assert network.connections == 3

    def test_service_not_yet_registered(self, oracle: Oracle, network: FaultyNetwork):
        network.reset(times=1, answer=SERVICE_UNKNOWN)
        with pytest.raises(oracledb.DatabaseError, match="DPY-6001: Service"):
            through(network, oracle)
        through(network, oracle).close()

    def test_cut_in_mid_fetch(self, oracle: Oracle, network: FaultyNetwork):
        with through(network, oracle) as db, db.cursor() as cursor:
            cursor.execute("select level, rpad('x', 100, 'x') from dual connect by level <= 5000")
            network.cut_after(50_000)
            with pytest.raises(oracledb.DatabaseError) as caught:
                cursor.fetchall()
        assert caught.value.args[0].full_code == "DPY-4011"

    @pytest.mark.parametrize(("delivered", "rows"), [(True, 1), (False, 0)])
    def test_cut_in_mid_commit(self, oracle: Oracle, network: FaultyNetwork, delivered, rows):
        with connect(oracle) as other, other.cursor() as look:
            look.execute("create table half_done (id number(9))")
            try:
                with through(network, oracle) as db:
                    db.cursor().execute("insert into half_done values (1)")
                    network.cut_on_request(delivered=delivered)
                    with pytest.raises(oracledb.DatabaseError) as caught:
                        db.commit()
                assert caught.value.args[0].full_code == "DPY-4011"
                assert look.execute("select count(*) from half_done").fetchone() == (rows,)
            finally:
                look.execute("drop table half_done purge")

    def test_stalled(self, oracle: Oracle, network: FaultyNetwork):
        with through(network, oracle) as db:
            db.call_timeout = 100
            network.stall()
            with pytest.raises(oracledb.DatabaseError) as caught:
                db.cursor().execute("select 1 from dual")
        assert caught.value.args[0].full_code in {"DPY-4011", "DPY-4024"}

    def test_idle_session_cut(self, oracle: Oracle, network: FaultyNetwork):
        with through(network, oracle) as db:
            network.cut()
            with pytest.raises(oracledb.DatabaseError) as caught:
                db.cursor().execute("select 1 from dual")
        assert caught.value.args[0].isrecoverable


@contextmanager
def echo() -> Iterator[int]:
    """A server that answers every line with itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                # A reset ends the connection, as a good end does.
                with client, contextlib.suppress(ConnectionResetError):
                    while data := client.recv(65536):
                        client.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)


def test_network_cuts_at_a_token_and_after_bytes():
    with echo() as port, FaultyNetwork("127.0.0.1", port) as network:
        network.cut_on_request(b"COMMIT", delivered=False)
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as client:
            client.sendall(b"INSERT")
            assert client.recv(10) == b"INSERT"
            client.sendall(b"COMMIT")
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        network.cut_after(5)
        with socket.create_connection(("127.0.0.1", network.port), timeout=5) as client:
            client.sendall(b"12345")
            assert client.recv(10) == b"12345"
            client.sendall(b"6")
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        assert (network.connections, network.sent, network.received) == (2, 18, 11)


def test_network_refuses_and_heals():
    with echo() as port, FaultyNetwork("127.0.0.1", port) as network:
        network.down()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", network.port))
        network.up()
        network.stall()
        with socket.create_connection(("127.0.0.1", network.port), timeout=0.05) as client:
            client.sendall(b"lost")
            with pytest.raises(TimeoutError):
                client.recv(10)
            network.heal()
            client.sendall(b"kept")
            client.settimeout(5)
            assert client.recv(10) == b"kept"


def test_compose_starts_oracle_for_this_machine_alone():
    text = (ROOT / "deploy" / "oracle" / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["oracle"]
    assert service["image"].startswith("docker.io/gvenzl/oracle-free:23")
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["environment"]["ORACLE_PASSWORD"].startswith("${ORACLE_PASSWORD:?")
    assert service["environment"]["APP_USER_PASSWORD"].startswith("${WORKBENCH_ORACLE_PASSWORD:?")
    assert service["healthcheck"]["test"] == ["CMD", "healthcheck.sh"]


def test_building_again_does_nothing(tmp_path):
    """It is found by its folder, so that a fresh clone does not build it anew."""
    (tmp_path / "root").mkdir()
    script = [str(ROOT / "deploy" / "oracle" / "standin")]
    outcome = subprocess.run(
        script,
        env={"PATH": os.environ["PATH"], "WORKBENCH_STANDIN": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0
    assert str(tmp_path) in outcome.stdout
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_building_needs_root(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can stop being root")
    with (ROOT / "deploy" / "oracle" / "standin").open() as script:
        outcome = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash"],
            stdin=script,
            env={"PATH": os.environ["PATH"], "WORKBENCH_STANDIN": str(tmp_path / "nowhere")},
            capture_output=True,
            text=True,
        )
    assert outcome.returncode == 1
    assert "needs root" in outcome.stderr
