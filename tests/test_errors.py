"""The catalogue of faults: what real drivers and servers say is found in it."""

from __future__ import annotations

import gc
import re
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import oracledb
import psycopg
import pytest
import sqlalchemy as sa
from network import SERVICE_UNKNOWN
from standin import Oracle

from workbench import embedded
from workbench.errors import Fault, fault_of, faults

PASSWORD = "a-very-secret-word"  # noqa: S105


@pytest.fixture(scope="module")
def demo() -> sa.URL:
    return embedded.connection_url()


def failure(of: Any, *arguments: Any, **options: Any) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        of(*arguments, **options)
    return caught.value


def found(error: BaseException) -> Fault:
    fault = fault_of(error)
    assert fault is not None, str(error)
    return fault


def oracle_login(dsn: str, **options: Any) -> Fault:
    options = {"user": "scott", "password": PASSWORD, "tcp_connect_timeout": 5} | options
    with warnings.catch_warnings():
        # The driver leaves the socket of a failed login to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        fault = found(failure(oracledb.connect, dsn=dsn, **options))
        gc.collect()
    return fault


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Answer the first bytes of one connection with `answer`, and hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                if answer:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(timeout=10)


@pytest.fixture
def closed_port() -> Iterator[int]:
    # Bound but not listening: nobody else can take it meanwhile.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_every_entry_is_two_plain_sentences() -> None:
    for code, fault in faults().items():
        assert fault.code == code
        for text in (fault.meaning, fault.fix):
            assert text.endswith("."), code
            assert text[0].isupper(), code
            assert not re.search(r"TODO|XXX|\?\?|[{}%]|\s\s|^\s", text), code
        assert re.fullmatch(r"(ORA-\d{5}|DPY-\d{4}|DPI-\d{4}|[0-9A-Z]{5}|[a-z ]+)", code), (
            "a code as the driver writes it, or a phrase"
        )


def test_nothing_is_both_refused_for_good_and_worth_another_try() -> None:
    assert not [code for code, fault in faults().items() if fault.retry and fault.login]
    refused = {code for code, fault in faults().items() if fault.login}
    assert refused >= {"ORA-01005", "ORA-01017", "ORA-28000", "ORA-28001", "28P01", "28000"}


def test_every_retry_says_why() -> None:
    text = files("workbench").joinpath("faults.toml").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("retry")]
    assert len(lines) == sum(fault.retry for fault in faults().values())
    assert all(re.fullmatch(r"retry = true  # why: .{20,}", line) for line in lines)


def test_oracle_listener_down(closed_port: int) -> None:
    fault = oracle_login(f"127.0.0.1:{closed_port}/XE")
    assert (fault.code, fault.retry) == ("connection refused", True)


def test_oracle_connection_dropped_before_the_login() -> None:
    with server(b"") as port:
        fault = oracle_login(f"127.0.0.1:{port}/XE")
    assert (fault.code, fault.retry) == ("DPY-4011", True)


def test_oracle_service_not_registered_yet() -> None:
    with server(SERVICE_UNKNOWN) as port:
        fault = oracle_login(f"127.0.0.1:{port}/XE")
    assert (fault.code, fault.retry, fault.login) == ("ORA-12514", True, False)


def test_oracle_host_unknown() -> None:
    # The driver lets this one through as Python's own socket error.
    assert oracle_login("nowhere.invalid:1521/XE").code == "unknown host"


def test_oracle_tcps_to_a_port_without_it() -> None:
    with server(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        fault = oracle_login(f"tcps://127.0.0.1:{port}/XE")
    assert fault.code == "encryption not offered"


def test_oracle_alias_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TNS_ADMIN", raising=False)
    assert oracle_login("MARKETPULSE", config_dir="/nowhere").code == "DPY-4026"
    assert oracle_login("127.0.0.1:1/XE", password=None).code == "DPY-4001"


def test_oracle_client_library_missing() -> None:
    # In a process of its own: the mode of the driver is set once.
    program = (
        "import oracledb\n"
        "from workbench.errors import fault_of\n"
        "try:\n"
        "    oracledb.init_oracle_client(lib_dir='/nowhere')\n"
        "except oracledb.Error as error:\n"
        "    print(fault_of(error).code)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "DPI-1047\n", run.stderr


@pytest.mark.oracle
def test_oracle_password_and_table(oracle: Oracle) -> None:
    fault = oracle_login(oracle.dsn, user=oracle.username, password=f"not-{PASSWORD}")
    assert (fault.code, fault.login, fault.retry) == ("ORA-01017", True, False)
    login = {"user": oracle.username, "password": oracle.password}
    with oracledb.connect(dsn=oracle.dsn, **login) as connection, connection.cursor() as cursor:
        assert found(failure(cursor.execute, "SELECT 1 FROM no_such_table")).code == "ORA-00942"
        assert found(failure(cursor.execute, "SELECT 1 FROM dual WHERE :a = 1")).code == "DPY-4010"


def oracle_error(text: str) -> BaseException:
    return sa.exc.DatabaseError("SELECT 1", None, Exception(text))


def test_the_innermost_code_of_an_oracle_message_counts() -> None:
    parallel = "ORA-12801: error signaled in parallel query server P000\nORA-01722: invalid number"
    assert found(oracle_error(parallel)).code == "ORA-01722"
    block = "ORA-06550: line 1, column 22:\nPL/SQL: ORA-00942: table or view does not exist"
    assert found(oracle_error(block)).code == "ORA-00942"
    where = 'ORA-01403: no data found\nORA-06512: at "SCOTT.PRICE", line 3'
    assert found(oracle_error(where)).code == "ORA-01403"


def test_a_code_that_a_message_only_quotes_does_not_count() -> None:
    quoted = 'ORA-00904: "ORA-01017": invalid identifier'
    assert found(oracle_error(quoted)).code == "ORA-00904"
    assert fault_of(oracle_error("ORA-20001: connection refused, see ORA-01017")) is None


def test_what_is_not_in_the_catalogue_is_unknown() -> None:
    assert fault_of(ValueError("connection refused")) is None
    assert fault_of(oracle_error("ORA-99999: something else")) is None


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT FROM WHERE", "42601"),
        ("SELECT 1 FROM no_such_table", "42P01"),
        ("SELECT 1 FROM no_such_schema.no_such_table", "42P01"),
        ("SELECT no_such_column FROM marketpulse.colors", "42703"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT CAST('connection refused' AS integer)", "22P02"),
        ("SELECT no_such_function()", "42883"),
        ("SET TRANSACTION READ ONLY; CREATE TABLE written (a int)", "25006"),
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(10)", "57014"),
        ("SET ROLE no_such_role", "22023"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "57P01"),
    ],
)
def test_postgresql_statements(demo: sa.URL, statement: str, code: str) -> None:
    engine = sa.create_engine(demo, poolclass=sa.NullPool)
    with engine.connect() as connection:
        error = failure(connection.execute, sa.text(statement))
    assert found(error).code == code
    assert not found(error).login


def test_postgresql_database_and_role_unknown(demo: sa.URL) -> None:
    for url, code in [
        (demo.set(database="nowhere"), "3D000"),
        (demo.set(username="nobody"), "28000"),
    ]:
        fault = found(failure(sa.create_engine(url).connect))
        assert (fault.code, fault.retry) == (code, False)


def test_postgresql_out_of_reach(closed_port: int) -> None:
    fault = found(failure(psycopg.connect, f"host=127.0.0.1 port={closed_port} dbname=x"))
    assert (fault.code, fault.retry) == ("connection refused", True)
    fault = found(failure(psycopg.connect, "host=nowhere.invalid dbname=x"))
    assert (fault.code, fault.retry) == ("unknown host", False)
    with server(b"") as port:
        fault = found(failure(psycopg.connect, f"host=127.0.0.1 port={port} dbname=x"))
    assert (fault.code, fault.retry) == ("connection reset", True)
    with server(b"N") as port:
        words = f"host=127.0.0.1 port={port} dbname=x sslmode=require"
        assert found(failure(psycopg.connect, words)).code == "encryption not offered"


def refusal(state: str, text: str) -> bytes:
    """PostgreSQL's ErrorResponse: a startup is answered with it when a login is refused."""
    fields = f"SFATAL\0VFATAL\0C{state}\0M{text}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("28P01", 'password authentication failed for user "scott"'),
        ("28000", 'no pg_hba.conf entry for host "127.0.0.1", user "scott", no encryption'),
        ("53300", "sorry, too many clients already"),
        ("57P03", "the database system is starting up"),
        ("57P03", "the database system is not yet accepting connections"),
    ],
)
def test_postgresql_refusals_are_known_by_their_text(state: str, text: str) -> None:
    # While connecting, libpq tells no code.
    with server(refusal(state, text)) as port:
        words = f"host=127.0.0.1 port={port} user=scott dbname=x sslmode=disable"
        assert found(failure(psycopg.connect, words)).code == state


def test_a_refused_login_counts_most_of_several_attempts(closed_port: int) -> None:
    # As where a name leads to two addresses: trying again would lock the account.
    with server(refusal("28P01", 'password authentication failed for user "scott"')) as port:
        fault = found(
            failure(
                psycopg.connect,
                f"host=127.0.0.1,127.0.0.1 port={port},{closed_port} user=scott sslmode=disable",
            )
        )
    assert (fault.code, fault.login) == ("28P01", True)


def test_all_connections_of_the_pool_in_use(demo: sa.URL) -> None:
    engine = sa.create_engine(demo, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect():
        assert found(failure(engine.connect)).code == "pool exhausted"
    engine.dispose()
