"""The embedded PostgreSQL: real starts in processes of their own, on a virgin cache each."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

COUNT = """
import json, sys
import sqlalchemy as sa
from workbench import demo, embedded
embedded.IDLE = 0.3
if "few" in sys.argv:
    demo.DEFAULT_ROWS = 500
url = embedded.connection_url()
engine = sa.create_engine(url, poolclass=sa.NullPool)
with engine.connect() as connection:
    one = lambda sql: connection.execute(sa.text(sql)).scalar()
    print(json.dumps({
        "url": str(url),
        "colors": one("SELECT count(*) FROM marketpulse.colors"),
        "schema": one("SELECT 'marketpulse'::regnamespace::oid::int"),
        "analysed": one("SELECT count(*) FROM pg_stats WHERE schemaname = 'marketpulse'"),
        "started": one("SELECT pg_postmaster_start_time()::text"),
        "ports": one("SELECT current_setting('listen_addresses')"),
    }), flush=True)
if "stay" in sys.argv:
    sys.stdin.read()
"""


Four = tuple[Path, list[dict[str, Any]]]


def launch(cache: Path, program: str = COUNT, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env=os.environ | {"WORKBENCH_CACHE": str(cache), "PGPORT": "6543"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def finish(process: subprocess.Popen[str]) -> Any:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return json.loads(output)


def servers(cache: Path) -> list[int]:
    """Return the postmasters and watchers that belong to a cache folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            server = process.name() == "postgres" and str(cache) in process.cwd()
            watcher = "flock" in " ".join(line) and line[-1].startswith(str(cache))
        except (psutil.Error, IndexError):
            continue
        if server or watcher:
            found.append(process.pid)
    return found


def stopped(cache: Path, seconds: float = 12) -> bool:
    deadline = time.monotonic() + seconds
    while servers(cache):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Four]:
    """A cache that four processes began to use at once, and what each of them found there."""
    folder = tmp_path_factory.mktemp("four") / "cache"
    started = [launch(folder, COUNT, "few", "stay") for _ in range(4)]
    found = [first_line(process) for process in started]
    assert [process.communicate("")[1] for process in started] == [""] * 4
    yield folder, found
    assert stopped(folder), "a server or its watcher was left behind"


def test_starts_once_and_is_shared(four: Four) -> None:
    cache, _ = four
    first = launch(cache, COUNT, "stay")
    one = first_line(first)
    two = finish(launch(cache))
    # The second process has gone; the first still has its server.
    time.sleep(1)
    three = finish(launch(cache))
    assert one == two == three
    assert one["colors"] == 500
    assert one["analysed"] > 30
    assert one["ports"] == ""
    assert "password" not in one["url"]
    first.communicate("")


def test_four_at_once_load_once(four: Four) -> None:
    _, results = four
    assert results == [results[0]] * 4
    assert results[0]["colors"] == 500


def test_survives_kill_of_client_and_of_server(four: Four) -> None:
    cache, _ = four
    first = launch(cache, COUNT, "stay", "few")
    before = first_line(first)
    postmaster = int((cache / "postgres-18/postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    after = finish(launch(cache))
    assert after["schema"] == before["schema"]
    assert after["started"] != before["started"]
    first.kill()
    first.communicate()
    assert stopped(cache)
    # A number that now belongs to some other process.
    stale = f"{os.getpid()}\n{cache}/postgres-18\n1\n5432\n{cache}\n\n1 1\nready\n"
    (cache / "postgres-18/postmaster.pid").write_text(stale)
    assert finish(launch(cache))["schema"] == before["schema"]


def test_awkward_paths(tmp_path: Path) -> None:
    names = ("with a blank, a 'quote' and $HOME", "long/" + "x" * 120)
    for process in [launch(tmp_path / name, COUNT, "few") for name in names]:
        assert finish(process)["colors"] == 500
    assert all(stopped(tmp_path / name) for name in names)


RESET = """
import json
from workbench import demo, embedded
embedded.IDLE = 0.3
counts = embedded.reset(rows=700)
with_old_generator = demo.fingerprint
demo.fingerprint = lambda name: "0"
embedded.connection_url()
demo.fingerprint = with_old_generator
print(json.dumps(counts))
"""


def test_reset_survives_later_starts_and_upgrades(four: Four) -> None:
    cache, _ = four
    counts = finish(launch(cache, RESET))
    assert counts["marketpulse.colors"] == 700
    assert finish(launch(cache))["colors"] == 700


SENTENCE = """
from workbench import embedded
from workbench.errors import ConnectionFailed
embedded.IDLE = 0
try:
    embedded.connection_url()
except ConnectionFailed as error:
    import json
    print(json.dumps([error.message, error.hint]))
"""


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    cache = tmp_path / "file"
    cache.write_text("")
    message, hint = finish(launch(cache, SENTENCE))
    assert message == f"The demo database cannot use its folder {cache}: File exists."
    assert "[sources.demo] url" in hint


def test_a_damaged_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "postgres-18"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    message, hint = finish(launch(tmp_path, SENTENCE))
    assert str(data) in message
    assert str(data / "server.log") in message
    assert "\n" not in message
    assert "[sources.demo] url" in hint
    assert stopped(tmp_path)
    # The socket's folder of a server that never ran: there when pytest's own path is long.
    name = f"workbench-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    shutil.rmtree(Path("/tmp") / name, ignore_errors=True)  # noqa: S108
