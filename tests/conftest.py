"""What every test shares: an empty project folder, and the installed command in it."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import standin
from browsing import chromium
from standin import Oracle

from workbench import embedded
from workbench.running import kernels

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure() -> None:
    # A demo source of the tests' own, so that nobody's `workbench demo --rows` changes what the
    # notebooks show; kernels and commands started by tests inherit it.
    os.environ.setdefault("WORKBENCH_CACHE", str(ROOT / ".pytest_cache" / "demo"))
    # Hundreds of processes would each compile all that they import.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    # The notebooks' kernels are forked from one server, as those of `workbench batch` are.
    if any(item.path.suffix == ".ipynb" for item in session.items):
        kernels.warm()


@pytest.fixture(autouse=True)
def _outside_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    # ipykernel treats streams differently where it finds this.
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a blank in its name, as the current one, outside any project."""
    folder = tmp_path / "a project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name.startswith("WORKBENCH_") and name != "WORKBENCH_CACHE":
            monkeypatch.delenv(name)
    return folder


@pytest.fixture
def workbench() -> Command:
    """Run the installed `workbench` command in a subprocess."""

    def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "workbench"), *words],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest file first, else one core would wait for it at the end.
    items.sort(key=lambda item: item.get_closest_marker("spark") is None)
    for item in items:
        if item.get_closest_marker("oracle"):
            # python-oracledb drops the socket of a connection that was reset without closing it.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))


@pytest.fixture(scope="module")
def schema(request: pytest.FixtureRequest, worker_id: str) -> Iterator[str]:
    """A schema of the embedded PostgreSQL for a module's own tables."""
    name = f"{request.path.stem.removeprefix('test_')}_{worker_id}"
    engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
        connection.execute(sa.schema.CreateSchema(name))
        yield name
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """AWS by moto's own server: its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium, for tests marked browser."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Oracle]:
    """The Oracle of WORKBENCH_ORACLE_DSN, or else the stand-in, with a user of this worker's."""
    if found := standin.given():
        yield found
    elif reason := standin.missing():
        # On a CI server a test that does not run is one that nobody knows of.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    else:
        # One for each worker: the Mirror reads PostgreSQL's catalogs, and what another session
        # drops at that moment is an internal error to it.
        with standin.shared(tmp_path_factory.getbasetemp() / "standin", worker_id) as started:
            yield started


@pytest.fixture
def oracle_source(
    project: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Write workbench.toml with the source "oracle" and return the source's name.

    Further lines are TOML of that source; host, port, username and password replace the fixture's
    own, to go through a FaultyNetwork or to a Mirror of the test's own.
    """

    def write(*lines: str, **other: str | int) -> str:
        at = dataclasses.replace(oracle, **other)
        monkeypatch.setenv("ORA_USERNAME", at.username)
        monkeypatch.setenv("ORA_PASSWORD", at.password)
        url = f"oracle+oracledb://{at.host}:{at.port}/?service_name={at.service}"
        text = ["[sources.oracle]", f'url = "{url}"', 'credentials = "env:ORA"', *lines]
        (project / "workbench.toml").write_text("\n".join(text) + "\n")
        return "oracle"

    return write
