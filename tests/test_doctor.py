"""`workbench doctor`: what is wrong with a source is named, with what to do about it."""

from __future__ import annotations

import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import standin
from conftest import Command
from network import FaultyNetwork
from standin import Oracle

from workbench import doctor, embedded
from workbench.doctor import Check, examine

WORD = "a-very-secret-word"
NAMES = [
    "configuration", "credentials", "network", "tls", "login", "encryption", "read only",
    "schema", "dictionary", "writing", "clock", "round trip", "versions",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[psycopg.Connection[Any]]:
    """A PostgreSQL of its own that asks for passwords, as the superuser sees it."""
    folder = tmp_path_factory.mktemp("server") / "postgres"
    url = embedded._serve(folder)
    socket_folder = str(url.query["host"])
    with psycopg.connect(host=socket_folder, port=5432, user="postgres", dbname="demo") as admin:
        admin.autocommit = True
        admin.execute("ALTER SYSTEM SET log_connections = 'authorization'")
        admin.execute("CREATE TABLE prices (price int)")
        for role in ("reader", "writer"):
            admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{WORD}'")  # type: ignore[call-overload]
        admin.execute("GRANT INSERT ON prices TO writer")
        rules = "local all postgres trust\nlocal all all scram-sha-256\n"
        (folder / "pg_hba.conf").write_text(rules)
        admin.execute("SELECT pg_reload_conf()")
        yield admin


@pytest.fixture
def configure(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write workbench.toml with the source "prices" and give its name."""

    def write(url: str, user: str = "reader", word: str = WORD, **more: object) -> str:
        monkeypatch.setenv("PRICES_USERNAME", user)
        monkeypatch.setenv("PRICES_PASSWORD", word)
        keys = {"url": url, "credentials": "env:PRICES", **more}
        lines = (f"{key} = {json.dumps(value)}" for key, value in keys.items())
        (project / "workbench.toml").write_text("[sources.prices]\n" + "\n".join(lines))
        return "prices"

    return write


def place(server: psycopg.Connection[Any]) -> str:
    return f"postgresql+psycopg:///demo?host={server.info.host}&port=5432"


@contextmanager
def logged(server: psycopg.Connection[Any]) -> Iterator[list[str]]:
    """Give the lines that the server's log gets meanwhile."""
    row = server.execute("SHOW data_directory").fetchone()
    assert row
    log = Path(row[0], "server.log")
    before, lines = len(log.read_text()), []
    yield lines
    lines += log.read_text()[before:].splitlines()


def by_name(checks: list[Check]) -> dict[str, Check]:
    assert [check.name for check in checks] == NAMES
    for check in checks:
        assert check.ok is not False or check.fix, "each failure says what to do"
        assert WORD not in f"{check}"
    return {check.name: check for check in checks}


def only_failure(checks: list[Check]) -> Check:
    """Give the first that failed; after it nothing works."""
    marks = [check.mark for check in checks]
    by_name(checks)
    failed = marks.index("✗")
    assert set(marks[failed + 1 :]) <= {"–", "✗"}
    return checks[failed]


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Send every connection the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(4096):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)


def test_the_demo_source_is_well(project: Path, workbench: Command) -> None:
    done = workbench("doctor", "demo", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert list(told["checks"]) == ["demo"]
    checks = told["checks"]["demo"]
    assert [check["name"] for check in checks] == NAMES
    assert all(set(check) == {"name", "ok", "found", "fix"} for check in checks)
    assert not any(check["fix"] for check in checks)
    found = {check["name"]: check["found"] for check in checks if check["ok"]}
    assert found["read only"] == "transaction_read_only is on"
    assert found["dictionary"].startswith("8 of 8 views")
    assert found["clock"].endswith("time zones: session UTC")
    assert found["versions"].startswith("PostgreSQL 18.")


def test_every_source_and_the_machine(project: Path, workbench: Command) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sources = {
            "closed": f"postgresql+psycopg://127.0.0.1:{closed.getsockname()[1]}/prices",
            "nowhere": "oracle+oracledb://nowhere.invalid:1521/?service_name=PRICES",
            "unset": "postgresql+psycopg://127.0.0.1/prices",
        }
        lines = [f'[sources.{name}]\nurl = "{url}"\n' for name, url in sources.items()]
        lines.append('credentials = "env:NOT_THERE"\n')
        (project / "workbench.toml").write_text("".join(lines))
        done = workbench("doctor", cwd=project, WORKBENCH_SOURCES__CLOSED__CALL_TIMEOUT="7")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    machine, demo, closed_, nowhere, unset = done.stdout.split("\n\n")[:5]
    assert machine.startswith("this machine")
    assert "✗" not in machine + demo
    assert "overridden by WORKBENCH_SOURCES__CLOSED__CALL_TIMEOUT" in " ".join(closed_.split())
    for text, said in [
        (closed_, "✗ network The host answers, but no program listens on this port."),
        (nowhere, "✗ network The name of the host is not known to this machine's name service."),
        (unset, "✗ credentials The credentials env:NOT_THERE need NOT_THERE_USERNAME"),
    ]:
        assert said in " ".join(text.split())
        assert "→ " in text
        assert "– read only not checked without" in " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("prices", "[sources.prices", "cannot be read"),
        ("pricse", '[sources.prices]\nkind = "embedded"', "Did you mean 'prices'?"),
        ("prices", f'[sources.prices]\nurl = "postgresql://reader:{WORD}@db/x"', "a password"),
        (f"postgresql://reader:{WORD}@db/x", "", "A connection URL is not a source name."),
    ],
)
def test_a_configuration_that_cannot_be_used(
    project: Path, name: str, content: str, said: str
) -> None:
    (project / "workbench.toml").write_text(content)
    failed = only_failure(examine(name))
    assert failed.name == "configuration"
    assert said in failed.found


def test_a_configuration_that_says_no_source(project: Path, workbench: Command) -> None:
    (project / "workbench.toml").write_text(f'[sources.x]\nurl = "oracle://reader:{WORD}@db/x"')
    done = workbench("doctor", "--json", cwd=project)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert told["ok"] is False
    assert list(told["checks"]) == ["this machine", "configuration"]
    [failed] = told["checks"]["configuration"]
    assert "sources.x.url: the URL contains a password" in failed["found"]
    assert WORD not in done.stdout + done.stderr


def test_an_account_that_only_reads(
    server: psycopg.Connection[Any], configure: Callable[..., str]
) -> None:
    checks = by_name(examine(configure(place(server))))
    assert not [check for check in checks.values() if check.mark in "✗!"]
    assert checks["credentials"].found == "found by env:PRICES"
    assert checks["writing"].found == "no right to write was found"


def test_an_account_that_writes_is_warned_of_on_a_read_only_source(
    server: psycopg.Connection[Any], configure: Callable[..., str]
) -> None:
    checks = by_name(examine(configure(place(server), "writer")))
    assert (checks["writing"].mark, checks["writing"].found) == ("!", "the account has INSERT")
    checks = by_name(examine(configure(place(server), "writer", read_only=False)))
    assert (checks["writing"].mark, checks["read only"].mark) == ("–", "–")


def test_a_wrong_password_is_sent_once(
    server: psycopg.Connection[Any], configure: Callable[..., str]
) -> None:
    source = configure(place(server), word="the-secret-of-before")
    with logged(server) as lines:
        failed = only_failure(examine(source))
        # A look at all sources leaves a secret alone that was refused already.
        again = only_failure(examine(source, insist=False))
    assert (failed.name, again.name) == ("login", "login")
    assert failed.found.startswith("The user name or the password is wrong.")
    assert "the-secret-of-before" not in f"{failed}{again}"
    assert sum('failed for user "reader"' in line for line in lines) == 1


def test_one_login_is_enough(
    server: psycopg.Connection[Any], configure: Callable[..., str]
) -> None:
    with logged(server) as lines:
        by_name(examine(configure(place(server))))
    assert sum("connection authorized: user=reader" in line for line in lines) == 1


def test_a_schema_that_is_not_there(
    server: psycopg.Connection[Any], configure: Callable[..., str]
) -> None:
    checks = by_name(examine(configure(place(server), schema="Publik")))
    assert checks["schema"].mark == "✗"
    assert checks["schema"].found == "There is no schema 'Publik'. Did you mean 'public'?"
    assert checks["dictionary"].mark == "✓"
    checks = by_name(examine(configure(place(server), schema="PUBLIC")))
    assert checks["schema"].mark == "✓"


def test_a_server_that_goes_away_between_two_steps(
    server: psycopg.Connection[Any],
    configure: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def last(visit: Any) -> doctor.Found:
        found = clock(visit)
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'reader'"
        )
        return found

    clock = doctor._Visit.clock
    monkeypatch.setattr(doctor._Visit, "clock", last)
    failed = only_failure(examine(configure(place(server))))
    assert failed.name == "round trip"
    assert not caplog.records, "nothing but the check tells of it"


def test_no_text_of_a_server_reaches_the_terminal_raw(configure: Callable[..., str]) -> None:
    text = f"\x1b]0;owned\x07\x1b[2Jno\x08such\x9bthing for {WORD}"
    fields = f"SFATAL\0VFATAL\0CXX999\0M{text}\0\0".encode()
    answer = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    with answering(answer) as port:
        url = f"postgresql+psycopg://127.0.0.1:{port}/prices?sslmode=disable"
        failed = only_failure(examine(configure(url)))
    assert failed.name == "login"
    assert "such" in failed.found
    assert failed.found.isprintable()


# The driver waits on in a thread, and leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_says_nothing_costs_no_more_than_the_timeout(
    configure: Callable[..., str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"oracle+oracledb://127.0.0.1:{silent.getsockname()[1]}/?service_name=PRICES"
        started = datetime.now(UTC)
        failed = only_failure(examine(configure(url), timeout=0.5))
        assert datetime.now(UTC) - started < timedelta(seconds=5)
    assert failed.name == "login"
    for thread in threading.enumerate():
        if thread.name == "login":
            thread.join(timeout=10)
    gc.collect()


def test_tcps_to_a_port_without_it(configure: Callable[..., str]) -> None:
    with answering(b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        url = f"oracle+oracledb://127.0.0.1:{port}/?service_name=PRICES&protocol=tcps"
        failed = only_failure(examine(configure(url)))
    assert failed.name == "tls"
    assert "does not offer" in failed.found


@pytest.mark.oracle
def test_oracle(oracle: Oracle, oracle_source: Callable[..., str]) -> None:
    with FaultyNetwork(oracle.host, oracle.port) as network:
        checks = by_name(examine(oracle_source(port=network.port)))
        assert network.connections == 2, "one to see that the port answers, one login"
    assert not [check for check in checks.values() if check.mark == "✗"]
    assert checks["clock"].mark == "✓"
    assert checks["versions"].found.startswith("Oracle ")
    assert checks["versions"].found.endswith(", thin mode")


@pytest.mark.oracle
def test_one_dead_address_of_two_is_a_warning(
    oracle: Oracle, oracle_source: Callable[..., str], project: Path
) -> None:
    source = oracle_source()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        addresses = "".join(
            f"(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={port}))"
            for host, port in (closed.getsockname(), (oracle.host, oracle.port))
        )
        data = f"(CONNECT_DATA=(SERVICE_NAME={oracle.service}))"
        (project / "workbench.toml").write_text(
            f'[sources.{source}]\ncredentials = "env:ORA"\n'
            f'dsn = "(DESCRIPTION=(ADDRESS_LIST={addresses}){data})"\n'
        )
        checks = by_name(examine(source))
    assert (checks["network"].mark, checks["login"].mark) == ("!", "✓")
    assert "no program listens" in checks["network"].found
    assert not [check for check in checks.values() if check.mark == "✗"]


@pytest.mark.oracle
def test_a_connection_that_is_lost_is_not_made_again(
    oracle: Oracle, oracle_source: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultyNetwork(oracle.host, oracle.port) as network:
        source = oracle_source(port=network.port)

        def cut(visit: Any) -> doctor.Found:
            network.cut()
            return dictionary(visit)

        dictionary = doctor._Visit.dictionary
        monkeypatch.setattr(doctor._Visit, "dictionary", cut)
        failed = only_failure(examine(source))
        assert network.connections == 2
    assert (failed.name, failed.found) == ("dictionary", "The connection was lost.")


@pytest.mark.oracle
def test_oracle_over_tls(
    oracle: Oracle, oracle_source: Callable[..., str], tmp_path: Path, project: Path
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.NameOID.COMMON_NAME
    who = x509.Name([x509.NameAttribute(name, "localhost")])
    now = datetime.now(UTC).replace(tzinfo=None)
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now)
        .not_valid_after(now + timedelta(days=3))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(secret)
    (tmp_path / "ewallet.pem").write_bytes(certificate.public_bytes(pem))
    arguments = [
        "--tls-cert",
        str(tmp_path / "ewallet.pem"),
        "--tls-key",
        str(tmp_path / "key.pem"),
    ]
    users = {"gw_tls": WORD}
    with standin.mirror(oracle.postgresql, tmp_path / "log", users, arguments) as at:
        url = f"oracle+oracledb://localhost:{at.port}/?service_name=XE&protocol=tcps"
        source = oracle_source(username="gw_tls", password=WORD)
        text = f'[sources.oracle]\nurl = "{url}"\ncredentials = "env:ORA"\n'
        (project / "workbench.toml").write_text(text)
        assert only_failure(examine(source)).name == "tls", "nobody vouches for the certificate"
        (project / "workbench.toml").write_text(f'{text}wallet_location = "{project}"\n')
        assert only_failure(examine(source)).found == "wallet_location holds no ewallet.pem"
        (project / "workbench.toml").write_text(f'{text}wallet_location = "{tmp_path}"\n')
        checks = by_name(examine(source))
    assert checks["tls"].mark == "!", "three days are left"
    assert "localhost" in checks["tls"].found
    assert checks["encryption"].found == "TLS"
    assert checks["login"].mark == "✓"
