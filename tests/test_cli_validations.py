"""`workbench validate` and `workbench suggest`: what they print and write, and their exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import command
from conftest import BIN, ROOT, Command

from workbench.database import connect
from workbench.expectations import great_expectations as gx
from workbench.suites import read_suite

KEY = ["MESSAGE_ID", "CUSIP"]
PX = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "PX", "min_value": 10, "max_value": 110},
    "meta": {"sentence": "Every price is between 10 and 110 %\x1b[31m", "owner": "Market data"},
}
CUSIP = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "CUSIP"},
    "severity": "warning",
}
ROWS = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}


def suite(project: Path, name: str, *expectations: dict[str, Any]) -> None:
    folder = project / "expectations"
    folder.mkdir(exist_ok=True)
    content = {"name": name, "meta": {"key": KEY}, "expectations": expectations}
    (folder / f"{name}.json").write_text(json.dumps(content))


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def colors() -> pl.DataFrame:
    with connect("demo") as db:
        return db.read("SELECT message_id, cusip, px FROM marketpulse.colors")


@pytest.fixture
def feed(project: Path, colors: pl.DataFrame) -> Path:
    path = project / "feed.csv"
    colors.write_csv(path)
    suite(project, "colors", ROWS, CUSIP, PX)
    return path


def outside(colors: pl.DataFrame) -> pl.DataFrame:
    return colors.filter(~pl.col("px").is_between(10, 110))


@pytest.mark.parametrize("where", ["demo:marketpulse.colors", "feed.csv"])
def test_a_table_and_a_file_get_the_same_verdict(
    feed: Path, colors: pl.DataFrame, where: str
) -> None:
    done = command("validate", where, "colors", "--offending", "bad.csv")
    assert done.returncode == 3
    bad, without = outside(colors).height, colors["cusip"].null_count()
    assert bad
    assert without
    [told] = lines_of(done.stderr)
    assert told.startswith("error: 1 of 3 expectations failed")
    assert "\x1b" not in done.stdout + done.stderr
    lines = lines_of(done.stdout)
    places = [
        next(n for n, line in enumerate(lines) if sign in line)
        for sign in ("✕ critical  Every", "! warning   CUSIP: values", "✓ met       Table row")
    ]
    assert places == sorted(places)
    assert f"{bad:,} of {colors.height:,} rows" in " ".join(done.stdout.split())
    assert "Market data" in done.stdout
    rows = pl.read_csv("bad.csv", infer_schema=False)
    assert rows.filter(pl.col("expectation") == "3").height == bad
    assert rows.filter(pl.col("expectation") == "2").height == without
    found = set(rows.filter(pl.col("expectation") == "3")["message_id"])
    assert found == set(outside(colors)["message_id"].cast(pl.String))


def test_pipelines_read_json(feed: Path, colors: pl.DataFrame) -> None:
    done = command("validate", str(feed), "colors", "--json")
    assert done.returncode == 3
    content = json.loads(done.stdout)
    assert (content["suite"], content["success"], content["rows"]) == (
        "colors", False, colors.height,
    )  # fmt: skip
    unexpected = [result["unexpected"] for result in content["results"]]
    assert unexpected == [None, colors["cusip"].null_count(), outside(colors).height]


def test_warnings_are_shown_and_fail_only_where_asked_to(feed: Path, project: Path) -> None:
    suite(project, "mild", ROWS, CUSIP, {**PX, "severity": "info"})
    done = command("validate", "feed.csv", "mild")
    assert (done.returncode, done.stderr) == (0, "")
    assert "! warning  CUSIP: values are not null" in done.stdout
    done = command("validate", "feed.csv", "mild", "--fail-on", "warning", "-q")
    assert (done.returncode, done.stdout) == (3, "")
    assert "1 of 3 expectations failed" in done.stderr
    done = command("validate", "feed.csv", "mild", "--fail-on", "info", "-q")
    assert "2 of 3 expectations failed" in done.stderr
    suite(project, "kept", ROWS)
    done = command("validate", "feed.csv", "kept", "--fail-on", "info", "--offending", "none.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "none.csv").read_text() == "expectation,promise\n"


def test_offending_rows_with_lists_are_written_too(project: Path) -> None:
    (project / "lists.jsonl").write_text('{"PX": 5, "l": [1, 2]}\n{"PX": 50, "l": [3]}\n')
    nowhere = {**PX, "meta": {"sentence": "BVAL has prices"}}
    nowhere["kwargs"] = {
        **PX["kwargs"],
        "row_condition": 'col("PX") > 99',
        "condition_parser": "great_expectations",
    }
    suite(project, "prices", PX, nowhere)
    done = command("validate", "lists.jsonl", "prices", "--offending", "bad.csv")
    assert "– not tried  BVAL has prices – no row is concerned" in done.stdout
    assert "(1 critical), 1 had no rows to look at: data-failed." in " ".join(done.stdout.split())
    assert done.returncode == 3
    [row] = pl.read_csv("bad.csv", infer_schema=False).rows(named=True)
    assert (row["PX"], row["l"]) == ("5", "[1, 2]")


def test_a_file_whose_name_holds_a_colon_is_a_file(feed: Path, project: Path) -> None:
    suite(project, "kept", ROWS)
    for name in ("demo:colors.csv", "C:\\feed.csv"):
        feed.with_name(name).write_bytes(feed.read_bytes())
        assert command("validate", name, "kept").returncode == 0
    done = command("validate", "D:\\feed.csv", "kept")
    assert done.returncode == 1
    assert "The file D:\\feed.csv does not exist." in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["feed.csv", "colrs"], 2, "Unknown suite 'colrs'. Did you mean 'colors'?"),
        (["feed.csv", "broken"], 1, "broken.json, line 1, column 2"),
        (["nothing.csv", "colors"], 1, "nothing.csv does not exist"),
        (["marketpulse.colors", "colors"], 2, "a table is written SOURCE:TABLE"),
        (["demo:marketpulse.colours", "colors"], 1, "marketpulse.colours"),
        (["demoo:marketpulse.colors", "colors"], 1, "Unknown source 'demoo'"),
        (["feed.csv", "colors", "--offending", "bad.txt"], 2, "no suffix that names a format"),
        (["feed.csv", "colors", "--offending", "feed.csv"], 2, "feed.csv exists already"),
        (["feed.csv", "colors", "--offending", "no/bad.csv"], 2, "There is no folder no"),
        (["feed.csv", "unknown"], 1, "expectation 1 (expect_nothing)"),
        (["ragged.csv", "colors", "--offending", "bad.csv"], 1, "Line: 3 Expected Number of"),
    ],
)
def test_a_wrong_request_is_a_sentence_and_leaves_nothing(
    feed: Path, project: Path, words: list[str], code: int, says: str
) -> None:
    (project / "expectations" / "broken.json").write_text("{]")
    (project / "ragged.csv").write_text("PX,CUSIP\n1,a\n2\n")
    suite(project, "unknown", {"type": "expect_nothing", "kwargs": {}})
    before = sorted(project.iterdir())
    done = command("validate", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(lines_of(done.stderr)) <= 2
    assert sorted(project.iterdir()) == before


def test_the_installed_command_tells_a_slip_at_once(workbench: Command, project: Path) -> None:
    suite(project, "colors", ROWS)
    started = time.monotonic()
    done = workbench("validate", "demo:marketpulse.colors", "colour", cwd=project)
    assert time.monotonic() - started < 5
    assert (done.returncode, done.stdout) == (2, "")
    assert len(lines_of(done.stderr)) == 2
    assert "Did you mean 'colors'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cancelled_check_leaves_no_half_of_a_file(feed: Path, project: Path) -> None:
    words = ["validate", str(feed), "colors", "--offending", "bad.csv"]
    running = subprocess.Popen(
        [BIN / "workbench", *words], cwd=project, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    # The folder beside the file is there while it works.
    while not list(project.glob(".bad.csv.*")):
        assert time.monotonic() < end
        assert running.poll() is None
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) == (130, "cancelled\n")
    assert not list(project.glob("*bad.csv*"))
    assert not list(project.glob(".bad.csv*"))


def test_a_suggested_suite_is_printed_or_written_and_holds(project: Path) -> None:
    done = command("suggest", "demo", "marketpulse.dealers", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(done.stdout)
    assert printed["expectations"]
    assert not (project / "expectations").exists()
    done = command("suggest", "demo", "marketpulse.dealers", "--suite", "desk", "--write")
    assert (done.returncode, done.stderr) == (0, "")
    assert "desk.json" in done.stdout.replace("\n", "")
    written = json.loads((project / "expectations" / "desk.json").read_text())
    assert len(written["expectations"]) == len(printed["expectations"])
    done = command("validate", "demo:marketpulse.dealers", "desk")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["demo", "marketpulse.nothing"], 1, "nothing"),
        (["demo", "marketpulse.dealers", "--suite", "../x", "--write"], 2, "'../x'"),
    ],
)
def test_a_suite_that_cannot_be_drafted(
    project: Path, words: list[str], code: int, says: str
) -> None:
    done = command("suggest", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert list(project.iterdir()) == []


@pytest.mark.parametrize("name", ["validate", "suggest"])
def test_help_has_examples(name: str) -> None:
    told = command(name, "--help").stdout
    assert f"Examples:\n    workbench {name} demo" in told
    assert "Exit codes: 0 " in told


def test_a_suite_of_great_expectations_own_is_read_as_it_means_it() -> None:
    from great_expectations.expectations.row_conditions import Column

    expectation = gx.expectations.ExpectColumnValuesToBeBetween(
        column="PX", min_value=10, mostly=0.9, severity="warning", notes="as quoted",
        row_condition=Column("CUSIP").is_not_null(),
    )  # fmt: skip
    own = gx.ExpectationSuite(name="own", expectations=[expectation])
    found = read_suite(own)
    [one] = found.expectations
    assert (found.name, one.severity, one.description) == ("own", "warning", "as quoted")
    again = gx.ExpectationSuite(
        name="again", expectations=[{"type": one.type, "kwargs": dict(one.kwargs)}]
    ).expectations[0]
    assert again.min_value == 10
    assert again.row_condition == expectation.row_condition


def test_help_needs_nothing_slow(workbench: Command) -> None:
    done = workbench("--help", cwd=ROOT, PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click" in loaded
    assert not loaded & {"great_expectations", "polars", "duckdb", "sqlalchemy", "rich", "pydantic"}
