"""The command line: run folders, exit codes, and one sentence for errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import feeds
import nbformat
import openpyxl
import papermill
import polars as pl
import pytest
from commands import command
from conftest import BIN, ROOT

from notebooks import make_notebook, runs_in
from workbench.running.export import ReportExporter

HIDDEN = "not-to-be-repeated"
RUN_COLORS = str(ROOT / "notebooks" / "run_colors.ipynb")


def test_a_run_leaves_a_whole_folder(project: Path) -> None:
    path = feeds.write_xlsx(feeds.feed(300), project / "a feed.xlsx")
    words = ("run", RUN_COLORS, "-p", "input", path.name, "--json")
    first = json.loads(command(*words).stdout)
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    content = json.loads(done.stdout)
    folder = project / "reports" / "run_colors" / content["run_id"]
    assert json.loads((folder / "run.json").read_text()) == content
    assert (content["status"], content["error"], content["sources"]) == ("passed", None, [])
    assert content["parameters"]["input"] == "a feed.xlsx"
    assert content["parameters"]["deduplicate"] is None
    assert content["peak_memory"] > 10**7

    latest = project / "reports" / "run_colors" / "latest"
    assert latest.resolve() == folder
    assert len(runs_in(latest.parent)) == 2
    assert not list(latest.parent.glob(".*"))
    index = (project / "reports" / "index.html").read_text()
    assert all(run.name in index for run in runs_in(latest.parent))

    colors = pl.read_parquet(folder / "data" / "colors.parquet")
    figures = {figure["name"]: figure for figure in content["figures"]}
    assert figures["parents"]["value"] == colors["CUSIP"].n_unique()
    assert figures["parents"]["previous"] == figures["parents"]["value"]
    assert content["compared_to"] == {
        "run_id": first["run_id"], "same_parameters": True, "chosen": False,
    }  # fmt: skip
    assert figures["children"]["value"] == 300 - colors["CUSIP"].n_unique()
    sheet = openpyxl.load_workbook(folder / "data" / "colors.xlsx").active
    assert sheet["A2"].value == str(colors["MESSAGE_ID"][0])
    assert pl.read_csv(folder / "data" / "colors.csv").height == 300

    report = (folder / "report.html").read_text(encoding="utf-8")
    assert len(report.encode()) < 300_000
    assert "<script" not in report
    for name in ("report.html", "notebook.ipynb", "run.json"):
        assert str(project) not in (folder / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "The file missing.csv does not exist."),
        ("folder.csv", "/", "folder.csv is a directory"),
        ("empty.csv", "", "The file empty.csv is empty."),
        ("text.csv", "MESSAGE_ID,CUSIP,PX,RANK,DATE\n1,A,about par,3,2026-01-09\n",
         "column PX holds 'about par' in row 1"),
        ("lacking.csv", "CUSIP,PRICE\nA,1\n", "Found there: CUSIP, PRICE"),
        ("marketpulse.colours", None, "Did you mean 'marketpulse.colors'?"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_read_ends_in_a_truthful_report(
    project: Path, name: str, content: str | None, says: str
) -> None:
    if content == "/":
        (project / name).mkdir()
    elif content is not None:
        (project / name).write_text(content)
    done = command("run", RUN_COLORS, "-p", "input", name)
    assert done.returncode == 1
    # What goes before is progress: a line for each cell that was run.
    progress, error, message = done.stderr.partition("error: run_colors failed: ")
    assert error
    assert all(line.startswith("run_colors: cell ") for line in progress.splitlines())
    assert says in message
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    [folder] = runs_in(project / "reports" / "run_colors")
    assert list((folder / "data").iterdir()) == []
    result = json.loads((folder / "run.json").read_text())
    assert (result["status"], result["error"]["cell"]) == ("error", 3)
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "failed" in report.lower()
    assert "not run" in report.lower()


@pytest.mark.parametrize(
    ("toml", "source", "says"),
    [
        ("", "nowhere", "Unknown source 'nowhere'"),
        ('[sources.down]\nretry_for = 0\nurl = "postgresql+psycopg://127.0.0.1:9/x"', "down",
         "Source 'down' cannot be reached at 127.0.0.1:9"),
        (f'[sources.w]\nurl = "postgresql+psycopg://u:{HIDDEN}@127.0.0.1/x"', "w",
         "the URL contains a password"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_used(project: Path, toml: str, source: str, says: str) -> None:
    (project / "workbench.toml").write_text(toml + "\n")
    done = command("run", RUN_COLORS, "-p", "source", source)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    written = [p for p in project.rglob("*") if p.is_file() and p.name != "workbench.toml"]
    assert not any(HIDDEN.encode() in path.read_bytes() for path in written)
    assert HIDDEN not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "Missing argument 'NOTEBOOK'"),
        (["run", "run_colours"], "Did you mean 'run_colors'?"),
        (["run", "run_colors", "-p", "sectr", "x"], "Did you mean 'sector'?"),
        (["run", "run_colors", "-p", "deduplicate", "maybe"], "expects bool"),
        (["run", "run_colors", "-p", "order", "rank asc"], "expects list[str]"),
        (["run", "run_colors", "-f", "no.yaml"], "no.yaml does not exist"),
        (["run", "README.md"], "README.md is not a notebook"),
        (["run", "notebooks"], "notebooks is a directory"),
        (["demo", "--rows", "0"], "0 is not in the range"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_a_wrong_request_exits_2_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(ROOT)
    output = ["--output", str(tmp_path / "out")] if words[0] == "run" else []
    done = command(*words, *output)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written(project: Path) -> None:
    notebook = make_notebook(project / "small.ipynb", "1")
    (project / "taken").write_text("a file")
    done = command("run", str(notebook), "--output", "taken")
    assert done.returncode == 1
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr
    assert (project / "taken").read_text() == "a file"


def test_a_cell_that_raises_is_shown_with_what_did_not_run(project: Path) -> None:
    notebook = make_notebook(project / "odd {name} %s.ipynb", "print(x)", "1 / 0", "print('late')")
    done = command("run", notebook.name, "-p", "x", "41")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "division by zero" in done.stderr
    [folder] = runs_in(project / "reports" / "odd {name} %s")
    result = json.loads((folder / "run.json").read_text())
    assert result["error"]["name"] == "ZeroDivisionError"
    executed = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert executed.cells[result["error"]["cell"]].source == "1 / 0"
    assert [c.execution_count for c in executed.cells if c.cell_type == "code"][-1] is None
    assert result["parameters"] == {"x": 41}


def test_a_change_against_other_parameters_says_so(project: Path) -> None:
    notebook = make_notebook(project / "f.ipynb", "import workbench as wb; wb.record('n', x)")
    for value in ("1", "5"):
        assert command("run", notebook.name, "-p", "x", value).returncode == 0
    report = (project / "reports" / "f" / "latest" / "report.html").read_text(encoding="utf-8")
    assert "+4 since last run, which had other parameters" in report


def test_a_page_of_somebody_else_is_not_replaced(project: Path) -> None:
    notebook = make_notebook(project / "small.ipynb", "1")
    (project / "site").mkdir()
    (project / "site" / "index.html").write_text("<p>precious</p>")
    done = command("run", notebook.name, "--output", "site")
    assert done.returncode == 1
    assert "no index of runs" in done.stderr
    assert [p.name for p in (project / "site").iterdir()] == ["index.html"]


def test_a_kernel_that_is_not_installed(project: Path) -> None:
    notebook = make_notebook(project / "other.ipynb", "1")
    content = json.loads(notebook.read_text())
    content["metadata"]["kernelspec"]["name"] = "julia-9"
    notebook.write_text(json.dumps(content))
    done = command("run", notebook.name)
    assert done.returncode == 1
    assert "kernel 'julia-9', which is not installed" in done.stderr
    assert "Traceback" not in done.stderr
    del content["metadata"]["kernelspec"]
    notebook.write_text(json.dumps(content))
    assert command("run", notebook.name).returncode == 0


def test_help_shows_examples() -> None:
    for name in ("run", "demo"):
        done = command(name, "--help")
        assert done.returncode == 0
        assert "Examples:" in done.stdout


def test_demo_counts_its_rows() -> None:
    counts = json.loads(command("demo", "--json").stdout)
    assert counts["marketpulse.colors"] > 0
    assert set(counts) >= {"marketpulse.securities", "marketpulse.dealers"}


def test_any_executed_notebook_converts_to_our_report(project: Path) -> None:
    notebook = make_notebook(project / "plain.ipynb", "print('<b>hello</b>')", "1 / 0", "2")
    assert "Unknown status" in ReportExporter().from_filename(str(notebook))[0]
    with pytest.raises(papermill.PapermillExecutionError):
        papermill.execute_notebook(notebook.name, notebook.name, progress_bar=False)
    page = ReportExporter().from_filename("plain.ipynb")[0]
    assert "This run failed" in page
    assert "not run" in page
    assert "&lt;b&gt;hello" in page


def test_runs_at_once_do_not_meet(project: Path) -> None:
    notebook = make_notebook(project / "f.ipynb", "import workbench as wb; wb.record('n', x)")
    words = [str(BIN / "workbench"), "run", notebook.name, "--json", "-p", "x"]
    started = [
        subprocess.Popen(
            [*words, str(n)], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(2)
    ]
    for n, process in enumerate(started):
        stdout, stderr = process.communicate(timeout=120)
        assert (process.returncode, stderr) == (0, b"")
        assert json.loads(stdout)["figures"][0]["value"] == n
    assert sorted(path.name for path in project.iterdir()) == ["f.ipynb", "reports"]
    runs = runs_in(project / "reports" / "f")
    assert len(runs) == 2
    index = (project / "reports" / "index.html").read_text()
    assert all(run.name in index for run in runs)
