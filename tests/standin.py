"""The stand-in for Oracle: the Mirror of seerdb, over the PostgreSQL of deploy/oracle/standin.

It speaks Oracle's protocol to the real python-oracledb. It is not Oracle: docs/oracle.md lists
what that means. Each worker of a test run has one, which ends with the last of its users.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "a-very-secret-word"  # noqa: S105
SERVICE = "XE"
HINT = "make oracle-standin builds it"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_HOME = Path(os.environ.get("WORKBENCH_STANDIN") or _CACHE / "workbench" / "oracle-standin")
ROOT = _HOME / "root"


@dataclass(frozen=True)
class Oracle:
    """Where an Oracle, or the stand-in, is, and who may own tables there."""

    dsn: str
    host: str
    port: int
    service: str
    username: str
    password: str
    real: bool
    postgresql: str | None = None
    """The stand-in's PostgreSQL (a URL); the schema is the user name in lower case."""
    folder: Path | None = None
    """The stand-in's mirror.log and postgresql.log."""


@dataclass(frozen=True)
class Mirror:
    """A Mirror of a test's own."""

    dsn: str
    port: int
    log: Path

    def logins(self, username: str) -> list[str]:
        """Return what became of each login attempt: "OK" or ORA-…, written before the answer."""
        found = re.findall(r"^login of (\S+): (\S+)$", self.log.read_text(), re.MULTILINE)
        return [answer for user, answer in found if user == username.upper()]


def given() -> Oracle | None:
    """Return the Oracle that WORKBENCH_ORACLE_DSN, _USERNAME and _PASSWORD name, if any."""
    dsn = os.environ.get("WORKBENCH_ORACLE_DSN")
    if not dsn:
        return None
    import oracledb

    at = oracledb.ConnectParams()
    at.parse_connect_string(dsn)
    who = (os.environ[f"WORKBENCH_ORACLE_{name}"] for name in ("USERNAME", "PASSWORD"))
    return Oracle(dsn, at.host, at.port, at.service_name, *who, real=True)


def missing() -> str | None:
    """Return why the stand-in cannot be started, or None."""
    if not ROOT.is_dir():
        return f"no Oracle and no stand-in: {HINT}"
    return None if os.geteuid() == 0 else "the stand-in needs root, to chroot into its PostgreSQL"


@contextmanager
def shared(folder: Path, worker: str) -> Iterator[Oracle]:
    """Yield the stand-in of this test run, with a user of the worker's own.

    Each user of it holds a shared lock; the process that owns the servers waits for the exclusive
    one, so it ends when the last user has ended, however that came about.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.json"
    with (folder / "start.lock").open("w") as start, (folder / "users.lock").open("w") as users:
        fcntl.flock(start, fcntl.LOCK_EX)
        fcntl.flock(users, fcntl.LOCK_SH)
        if not state.exists():
            with (folder / "owner.log").open("w") as log:
                command = ["setsid", "--fork", sys.executable, __file__, "own", str(folder)]
                subprocess.run(command, stdout=log, stderr=log, check=True)
            wait(state.exists, folder / "owner.log")
        fcntl.flock(start, fcntl.LOCK_UN)
        at: dict[str, Any] = json.loads(state.read_text())
        yield Oracle(
            **at, host="127.0.0.1", service=SERVICE, username=worker.upper(), password=PASSWORD,
            real=False, folder=folder,
        )  # fmt: skip


@contextmanager
def mirror(
    postgresql: str | None,
    log: Path,
    users: Mapping[str, str],
    arguments: Sequence[str] = (),
    expired: Sequence[str] = (),
) -> Iterator[Mirror]:
    """Run a Mirror over the stand-in's PostgreSQL and yield it; it takes half a second.

    Each of `users` (name to password) owns a schema of its name. `arguments` are seerdb-mirror's,
    such as --failed-login-attempts 2 or --tls-cert. The passwords of `expired` users are right but
    expired (ORA-28001). Any session can change a password while it runs: ALTER USER name
    IDENTIFIED BY word; ALTER USER name ACCOUNT UNLOCK unlocks. The n-th wrong password in a row is
    answered after n/2 seconds.
    """
    assert postgresql is not None
    command = [sys.executable, __file__, "mirror", ",".join(expired).upper(), "--port", "0"]
    accounts = ",".join(f"{name}:{word}" for name, word in users.items())
    with log.open("w") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command, *arguments, "postgres", postgresql],
            env={**os.environ, "MIRROR_USERS": accounts},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(lambda: "Mirror listening on" in log.read_text(), log, process)
        found = re.search(r"Mirror listening on \S+:(\d+)", log.read_text())
        assert found
        yield Mirror(f"127.0.0.1:{found[1]}/{SERVICE}", int(found[1]), log)
    finally:
        process.kill()
        process.wait()


def statements(oracle: Oracle) -> Callable[[], str]:
    """Return a function that says what PostgreSQL's log got since: every statement and its binds.

    Lines begin with the session's process id, which is SYS_CONTEXT('USERENV', 'SID').
    """
    assert oracle.folder is not None
    log = oracle.folder / "postgresql.log"
    start = log.stat().st_size
    return lambda: log.read_bytes()[start:].decode()


def wait(done: Callable[[], bool], log: Path, *processes: subprocess.Popen[bytes]) -> None:
    """Wait until `done`; raise with the end of `log` on a crash, or after 60 s."""
    deadline = time.monotonic() + 60
    while not done():
        ended = "Traceback" in log.read_text() or any(p.poll() is not None for p in processes)
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"the stand-in did not start or end: {log.read_text()[-2000:]}")
        time.sleep(0.01)


def _own(folder: Path) -> None:
    """Run PostgreSQL and the shared Mirror until nobody uses them."""
    import oracle_dictionary
    import oracledb

    inside = f"/tmp/run-{secrets.token_hex(4)}"  # noqa: S108
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries, log = "/usr/lib/postgresql/17/bin", folder / "postgresql.log"
    # The signal is set after the change of user, which would clear it.
    chroot = ["chroot", str(ROOT), "setpriv", "--reuid=postgres", "--regid=postgres"]
    chroot += ["--init-groups", "--inh-caps=-all", "--pdeathsig=QUIT"]
    settings = [
        f"--set=port={port}", "--set=listen_addresses=127.0.0.1", "--set=unix_socket_directories=",
        "--set=fsync=off", "--set=synchronous_commit=off", "--set=full_page_writes=off",
        "--set=max_connections=200", "--set=log_statement=all", "--set=log_line_prefix=%p|",
        "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
    ]  # fmt: skip
    with (folder / "users.lock").open() as users, log.open("w") as output:
        try:
            initdb = [*chroot, f"{binaries}/initdb", "-D", inside, *settings]
            subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
            server = [*chroot, f"{binaries}/postgres", "-D", inside]
            with subprocess.Popen(server, stderr=output) as postgres:
                try:
                    wait(lambda: "ready to accept" in log.read_text(), log, postgres)
                    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
                    names = ["master", *(f"gw{number}" for number in range(32))]
                    everybody = dict.fromkeys(names, PASSWORD)
                    with mirror(url, folder / "mirror.log", everybody) as at:
                        # The first login makes the dictionary views, which takes a while.
                        oracledb.connect(user="master", password=PASSWORD, dsn=at.dsn).close()
                        oracle_dictionary.supply(url)
                        state = {"dsn": at.dsn, "port": at.port, "postgresql": url}
                        (folder / "state.part").write_text(json.dumps(state))
                        (folder / "state.part").rename(folder / "state.json")
                        fcntl.flock(users, fcntl.LOCK_EX)
                        (folder / "state.json").unlink()
                finally:
                    postgres.send_signal(signal.SIGQUIT)
        finally:
            shutil.rmtree(ROOT / inside.lstrip("/"), ignore_errors=True)


def _mirror(expired: Sequence[str], arguments: Sequence[str]) -> None:
    """Be seerdb-mirror, and write each login's outcome before it is answered."""
    from seerdb.server import launcher, session

    deny, open_session = session._deny_login, session._open_backend_session
    fault = session._backend_fault_error

    def denied(stream: Any, reason: str, **more: Any) -> None:
        user = reason.rpartition(": ")[2].strip("'").upper()
        print(f"login of {user}: ORA-{more.get('ora_code', 1017):05d}", flush=True)  # noqa: T201
        deny(stream, reason, **more)

    def opened(stream: Any, backend: Any, sqlplus: bool, *rest: Any) -> None:
        user = backend._login_user
        if user in expired:
            text = "ORA-28001: the password has expired"
            denied(stream, f"expired: {user!r}", ora_code=28001, message=text, sqlplus=sqlplus)
        print(f"login of {user}: OK", flush=True)  # noqa: T201
        open_session(stream, backend, sqlplus, *rest)

    def failed(error: Exception) -> bytes:
        # Answered as ORA-00600, and nobody would ever know why.
        print("".join(traceback.format_exception(error)).replace("Traceback", "Fault"), flush=True)  # noqa: T201
        return fault(error)

    session._deny_login, session._open_backend_session = denied, opened
    session._backend_fault_error = failed
    launcher.main(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "own":
        _own(Path(sys.argv[2]))
    else:
        _mirror(sys.argv[2].split(","), sys.argv[3:])
