"""`workbench new`: a notebook that runs at once, with its suite, parameters and test."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from commands import command
from conftest import BIN, ROOT

from workbench import suites
from workbench.running import kernels
from workbench.running.plan import plan_run, read_values

FILES = {
    "notebooks/credit_watch.ipynb",
    "expectations/credit_watch.json",
    "params/credit_watch.yaml",
    "tests/test_credit_watch.py",
}


@pytest.fixture
def started(project: Path) -> Path:
    """A project that has one notebook."""
    (project / "notebooks").mkdir()
    (project / "workbench.toml").touch()
    shutil.copy(ROOT / "notebooks" / "run_colors.ipynb", project / "notebooks")
    return project


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


BEFORE = {"workbench.toml", "notebooks/run_colors.ipynb"}


@pytest.fixture
def quiet_pytest(project: Path) -> Iterator[list[str]]:
    """Words that make pytest run inside this one, in the project, leaving nothing behind."""
    before = {*sys.modules}
    yield ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={project}"]
    for name in {*sys.modules} - before:
        if name.startswith(("test_", "tests.")):
            del sys.modules[name]


def test_what_is_written_runs_at_once_and_its_test_passes(
    started: Path, quiet_pytest: list[str]
) -> None:
    done = command("new", "credit_watch")
    assert (done.returncode, done.stderr) == (0, "")
    *written, following = done.stdout.splitlines()
    assert set(written) == FILES == files_in(started) - BEFORE
    assert "workbench run credit_watch" in following
    # As `make test` does: the test, and the notebook by nbval.
    words = [*quiet_pytest, "--basetemp=tmp", "--nbval", "--nbval-kernel-name=workbench"]
    kernels.warm()
    assert pytest.main([*words, "tests/test_credit_watch.py", "notebooks/credit_watch.ipynb"]) == 0
    run = Path("tmp", "reports0", "credit_watch", "latest", "run.json")
    told = json.loads(run.read_text(encoding="utf-8"))
    assert told["status"] == "passed"
    assert {figure["name"]: figure["value"] for figure in told["figures"]} == {
        "rows": 20_000, "expectations failed": 0
    }  # fmt: skip
    [check] = told["validations"]
    assert check["name"].startswith("credit_watch on marketpulse.colors")
    assert check["passed"]


def test_a_notebook_is_started_from_another(started: Path) -> None:
    origin = started / "notebooks" / "run_colors.ipynb"
    for template in "run_colors", str(origin):
        name = f"copy_{len(template)}"
        assert command("new", name, "--from", template, "--source", "demo").returncode == 0
        old, new = (
            nbformat.read(started / "notebooks" / f"{stem}.ipynb", as_version=4)
            for stem in ("run_colors", name)
        )
        assert new.cells[0].source.startswith(f"# Copy {len(template)}\n\nFor the desk")
        assert [cell.source for cell in new.cells[1:]] == [cell.source for cell in old.cells[1:]]
        assert any(cell.get("outputs") for cell in old.cells)
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in new.cells)
        assert new.metadata.kernelspec.name == "python3"
        values = read_values(started / "params" / f"{name}.yaml")
        assert plan_run(name, values=values).parameters == plan_run("run_colors").parameters
        # It validates nothing by a suite, so there is none that nobody reads.
        assert not (started / "expectations").exists()


@pytest.mark.parametrize("table", ['o\'dd "t\\able" é 😀 {x} %s', "yes", "1"])
def test_a_table_of_any_name_is_taken_as_it_is(started: Path, table: str) -> None:
    done = command("new", "credit_watch", "--table", table)
    assert done.returncode == 0, done.stderr
    spec = plan_run("credit_watch", values=read_values(started / "params" / "credit_watch.yaml"))
    assert spec.given == spec.defaults
    assert (spec.given["table"], spec.given["suite"]) == (table, "credit_watch")
    suite = suites.read_suite("credit_watch")
    assert suite.meta["about"] == f"What is promised of {table}."
    [check] = suite.expectations
    assert (suites.sentence(check), check.severity) == ("There are rows", "critical")
    compile((started / "tests" / "test_credit_watch.py").read_text("utf-8"), "test", "exec")


@pytest.mark.parametrize("taken", sorted(FILES))
def test_nothing_is_written_where_one_file_exists(started: Path, taken: str) -> None:
    (started / taken).parent.mkdir(exist_ok=True)
    (started / taken).write_text("mine")
    done = command("new", "credit_watch")
    assert done.returncode == 2
    assert f"{taken} exists already" in done.stderr
    assert files_in(started) == {*BEFORE, taken}
    assert (started / taken).read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["1st"], "Names are made of letters"),
        (["credit-watch"], "Names are made of letters"),
        (["../x"], "Names are made of letters"),
        (["_"], "Names are made of letters"),
        (["übersicht"], "Names are made of letters"),
        (["x", "--from", "run_color"], "Did you mean 'run_colors'?"),
        (["x", "--from", "run_colors", "--table", "a"], "Its parameters: source, input, preset"),
        (["x", "--table", "a\nb"], "cannot be printed"),
    ],
)
def test_a_wrong_request_is_told_and_nothing_is_written(
    started: Path, words: list[str], said: str
) -> None:
    done = command("new", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert files_in(started) == BEFORE


def test_an_unknown_source_is_told_with_those_there_are(started: Path) -> None:
    done = command("new", "x", "--source", "market")
    assert "Known sources: demo." in done.stderr
    assert files_in(started) == BEFORE


def test_outside_of_a_project_nothing_is_written(project: Path) -> None:
    done = command("new", "credit_watch")
    assert done.returncode == 2
    assert "there is no workbench.toml here or in a folder above" in done.stderr
    assert files_in(project) == set()


def test_nothing_is_left_when_the_disk_is_full(started: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # bytes: what a notebook exceeds

    words = [str(BIN / "workbench"), "new", "credit_watch"]
    done = subprocess.run(words, preexec_fn=little_room, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert files_in(started) == BEFORE
    assert {path.name for path in started.iterdir()} == {"workbench.toml", "notebooks"}


def test_nothing_is_left_when_it_is_cancelled_between_two_files(started: Path) -> None:
    code = """
import os, signal, sys
links = []
def interrupt(event, args):
    if event == "os.link":
        links.append(args)
        if len(links) == 3:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
from workbench.cli import main
main(["new", "credit_watch"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "cancelled\n")
    assert files_in(started) == BEFORE
    assert {path.name for path in started.iterdir()} == {"workbench.toml", "notebooks"}
