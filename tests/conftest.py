"""What every test shares: an empty project folder, and the installed command in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure() -> None:
    # A demo source of the tests' own, so that nobody's `workbench demo --rows` changes what the
    # notebooks show; kernels and commands started by tests inherit it.
    os.environ.setdefault("WORKBENCH_CACHE", str(ROOT / ".pytest_cache" / "demo"))


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
