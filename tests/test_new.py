"""`workbench new`: a notebook that runs at once, with its suite, parameters and test."""

from __future__ import annotations

import errno
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

from notebooks import make_notebook
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


def linked(refusal: int = 0, cancelled_at: int = 0) -> subprocess.CompletedProcess[str]:
    """Write a notebook where links are refused for some reason, or one of them is a Ctrl-C."""
    code = f"""
import os, signal, sys
links = []
def interrupt(event, args):
    if event == "os.link":
        links.append(args)
        if len(links) == {cancelled_at}:
            os.kill(os.getpid(), signal.SIGINT)
        if {refusal}:
            raise OSError({refusal}, "no links here")
sys.addaudithook(interrupt)
from workbench.cli import main
main(["new", "credit_watch"])
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("refusal", [0, errno.ENOTSUP])
def test_nothing_is_left_when_it_is_cancelled_between_two_files(
    started: Path, refusal: int
) -> None:
    done = linked(refusal, cancelled_at=3)
    assert (done.returncode, done.stderr) == (130, "cancelled\n")
    assert files_in(started) == BEFORE
    assert {path.name for path in started.iterdir()} == {"workbench.toml", "notebooks"}


def test_a_file_system_without_hard_links_will_do(started: Path) -> None:
    done = linked(errno.EPERM)
    assert (done.returncode, done.stderr) == (0, "")
    assert files_in(started) == {*BEFORE, *FILES}
    assert plan_run("credit_watch").parameters["suite"] == "credit_watch"


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        ('suite: list[str] = ["colors"]', {"suite": ["colors"]}),
        ("suite = 7", {"suite": 7}),
        ('suite: Literal["colors"] = "colors"', {"suite": "colors"}),
    ],
)
def test_a_suite_that_is_no_name_stays_as_it_is(
    started: Path, parameters: str, kept: dict[str, object]
) -> None:
    make_notebook(started / "notebooks" / "other.ipynb", parameters=parameters)
    assert command("new", "mine", "--from", "other").returncode == 0
    values = read_values(started / "params" / "mine.yaml")
    assert plan_run("mine", values=values).parameters == kept
    assert not (started / "expectations").exists()


@pytest.mark.parametrize("table", ["table: str | None = None", "table: int = 7", 'table = ""'])
def test_a_suite_tells_nothing_of_a_table_without_a_name(started: Path, table: str) -> None:
    both = f"{table}\nsuite: str | None = None"
    make_notebook(started / "notebooks" / "other.ipynb", parameters=both)
    assert command("new", "mine", "--from", "other").returncode == 0
    assert suites.read_suite("mine").meta["about"] == "What is promised of the table."
    assert plan_run("mine").parameters["suite"] == "mine"


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("```sh\n# no\n```\n# Old\n\nx", "```sh\n# no\n```\n# Mine\n\nx"),
        ("~~~~\n~~~\n# no\n~~~~~\n# Old", "~~~~\n~~~\n# no\n~~~~~\n# Mine"),
        ("```x``` is no fence\n# Old", "```x``` is no fence\n# Mine"),
        ("Old\nin two lines\n=====\n\nFor all", "# Mine\n\nFor all"),
        ("For all\n\nOld\n==\n# x", "For all\n\n# Mine\n# x"),
        ("For all\n# Old\nx\n===", "For all\n# Mine\nx\n==="),
    ],
)
def test_the_title_is_what_a_reader_takes_for_it(started: Path, written: str, changed: str) -> None:
    other = make_notebook(started / "notebooks" / "other.ipynb")
    notebook = nbformat.read(other, as_version=4)
    notebook.cells[0].source = written
    nbformat.write(notebook, other)
    assert command("new", "mine", "--from", "other").returncode == 0
    made = nbformat.read(started / "notebooks" / "mine.ipynb", as_version=4)
    assert [cell.source for cell in made.cells] == [changed, "x: int = 1"]


def test_a_notebook_whose_only_title_is_in_code_gets_one(started: Path) -> None:
    other = make_notebook(started / "notebooks" / "other.ipynb")
    notebook = nbformat.read(other, as_version=4)
    notebook.cells[0].source = "```\n# never closed"
    nbformat.write(notebook, other)
    assert command("new", "mine", "--from", "other").returncode == 0
    made = nbformat.read(started / "notebooks" / "mine.ipynb", as_version=4)
    assert [cell.source for cell in made.cells[:2]] == ["# Mine", "```\n# never closed"]


def test_pytest_is_named_only_where_it_is_installed(
    started: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "pytest tests/test_one.py" in command("new", "one").stdout
    monkeypatch.setitem(sys.modules, "pytest", None)  # what is None there cannot be imported
    assert "pytest" not in command("new", "two").stdout
