"""The notebook that validates a table or a file, run as people run it."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import command
from conftest import ROOT

from notebooks import page_of, runs_in, table_in
from workbench import connect
from workbench.running.parameters import read_parameters

NOTEBOOK = ROOT / "notebooks" / "validate_table.ipynb"
EVIL = "<script>alert(1)</script>"
TITLE = "\x1b]0;all is well\x07"  # what a terminal obeys; nobody sees it


def between(low: float, high: float, severity: str, sentence: str) -> dict[str, Any]:
    kwargs = {"column": "PX", "min_value": low, "max_value": high}
    return {
        "type": "expect_column_values_to_be_between", "kwargs": kwargs, "severity": severity,
        "meta": {"sentence": sentence, "owner": "Market data"},
    }  # fmt: skip


def suite(path: Path, *expectations: dict[str, Any], **meta: Any) -> Path:
    content = {"name": path.stem, "meta": {"key": ["COLOR_ID"], **meta}}
    path.write_text(json.dumps({**content, "expectations": expectations}), encoding="utf-8")
    return path


def run(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]:
    given = [part for word in words for part in ("-p", *word.split("=", 1))]
    done = command("run", str(NOTEBOOK), "--output", str(folder), *given)
    newest = runs_in(folder / "validate_table")[-1]
    return done, newest, json.loads((newest / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the demo feed, between which a promise was made stricter and one was met."""
    folder = tmp_path_factory.mktemp("a project")
    file = folder / "prices.json"
    wide = between(0, 1_000, "critical", "Prices are prices")
    suite(file, between(20, 110, "critical", f"Not far {EVIL}{TITLE}"),
          between(10, 110, "warning", "Not very far"), wide)  # fmt: skip
    done, _, _ = run(folder, f"suite={file}")
    assert done.returncode == 3, done.stderr
    assert f"Not far {EVIL}" in done.stderr
    assert "\x1b" not in done.stderr
    changed = {**between(30, 110, "critical", f"Not far {EVIL}{TITLE}")}
    suite(file, changed, wide, between(0, 1_000, "warning", "Not very far"))
    done, _, _ = run(folder, f"suite={file}")
    assert done.returncode == 3, done.stderr
    return folder


@pytest.fixture(scope="module")
def feed() -> pl.DataFrame:
    with connect("demo") as db:
        return db.read("SELECT color_id, px FROM marketpulse.colors ORDER BY color_id")


def outside(feed: pl.DataFrame, low: float, high: float) -> pl.DataFrame:
    return feed.filter((pl.col("px").cast(float) < low) | (pl.col("px").cast(float) > high))


def test_the_verdict_comes_first_with_what_was_seen(runs: Path, feed: pl.DataFrame) -> None:
    first, _ = runs_in(runs / "validate_table")
    told = json.loads((first / "run.json").read_text(encoding="utf-8"))
    far, very = outside(feed, 20, 110), outside(feed, 10, 110)
    figures = {figure["name"]: figure["value"] for figure in told["figures"]}
    assert told["status"] == "data-failed"
    assert figures == {"expectations": 3, "expectations failed": 2,
                       "offending rows": far.height + very.height, "rows": feed.height}  # fmt: skip
    page = page_of(first)
    assert "Data check failed" in page.select_one(".state").get_text()
    critical, warning = table_in(page, "not kept")
    assert critical[0] == "✕ critical"
    assert critical[1].startswith(f"Not far {EVIL}")
    assert f"broken by {far.height:,} of {feed.height:,} rows" in critical[2]
    worst = far.row(0, named=True)
    assert f"px {worst['px'].normalize():f} (color_id {worst['color_id']})" in critical[3]
    assert warning[0] == "! warning"
    assert table_in(page, "were kept")[0][1:] == [
        "Prices are prices Market data", f"kept by all {feed.height:,} rows"
    ]  # fmt: skip
    assert "There is no earlier run" in page.get_text()
    assert not page.find("script")
    assert (first / "report.html").stat().st_size < 60_000


def test_the_rows_that_break_a_promise_are_beside_the_report(
    runs: Path, feed: pl.DataFrame
) -> None:
    first, _ = runs_in(runs / "validate_table")
    with (first / "data" / "offending_rows.csv").open(encoding="utf-8-sig", newline="") as file:
        kept = list(csv.DictReader(file))
    for number, low in ((1, 20), (2, 10)):
        found = [int(row["color_id"]) for row in kept if row["expectation"] == str(number)]
        assert sorted(found) == outside(feed, low, 110)["color_id"].to_list()
    told = json.loads((first / "data" / "validation.json").read_text(encoding="utf-8"))
    assert [r["unexpected"] for r in told["results"]] == [
        outside(feed, 20, 110).height, outside(feed, 10, 110).height, 0
    ]  # fmt: skip
    links = {a["href"] for a in page_of(first).select("main a")}
    assert {"data/validation.json", "data/offending_rows.csv"} <= links


def test_the_next_run_tells_what_got_worse_and_what_is_mended(runs: Path) -> None:
    _, second = runs_in(runs / "validate_table")
    page = page_of(second)
    rows = {row[0]: row[1:] for row in table_in(page, "What failed in the last runs")}
    assert rows[f"Not far {EVIL}"][0] == "worse"
    assert [rows["Not very far"][at] for at in (0, -1)] == ["mended", "met"]
    assert "Prices are prices" not in rows
    [chart] = page.select("figure img")
    assert chart["alt"] == "Bars: failed expectations in 2 runs, 2, 1"


def test_what_cannot_be_read_of_earlier_runs_is_told(runs: Path) -> None:
    damaged = runs / "validate_table" / "20200101T000000Z-0" / "data" / "validation.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"schema_version": 1, "results": 7}')
    # Other data, so none of the other runs counts.
    mended = suite(runs / "prices.json", between(0, 1_000, "critical", "Prices are prices"))
    done, newest, told = run(runs, f"suite={mended}", f"input={ROOT / 'samples' / 'colors.csv'}")
    assert done.returncode == 0, done.stderr
    assert told["status"] == "warned"
    assert [warning["message"] for warning in told["warnings"]] == [
        "20200101T000000Z-0/data/validation.json cannot be read, so the trend is without it."
    ]
    page = page_of(newest).get_text()
    assert "There is no earlier run" in page
    assert "The expectation was met" in page


def test_a_notebook_that_stops_at_bad_data_fails_the_data_and_not_the_run(tmp_path: Path) -> None:
    file = suite(
        tmp_path / "prices.json", between(99, 100, "critical", f"{TITLE}Prices are near par")
    )
    done, newest, told = run(tmp_path, f"suite={file}", "on_failure=raise")
    assert done.returncode == 3
    assert (told["status"], told["error"]["name"]) == ("data-failed", "ValidationFailed")
    assert "Prices are near par" in done.stderr
    assert "\x1b" not in done.stderr
    page = page_of(newest)
    [failed] = page.select("main .failed")
    assert "stop here where the data fail" in failed.get_text()
    assert "Prices are near par" in failed.get_text()
    assert "For whoever relies on a table" in page.select_one("main").get_text()
    marks = [mark.get_text() for mark in page.select("main .not-run .mark")]
    assert len(marks) == 5
    assert "not run" in marks[0]
    assert "so this page is incomplete" in page.select_one(".banner").get_text()


def test_a_warning_alone_does_not_stop_the_notebook(tmp_path: Path) -> None:
    file = suite(tmp_path / "prices.json", between(99, 100, "warning", "Prices are near par"))
    done, _, told = run(tmp_path, f"suite={file}", "on_failure=raise")
    assert (done.returncode, told["status"]) == (0, "warned")


def test_an_unknown_suite_is_told_with_those_there_are(tmp_path: Path) -> None:
    done, newest, told = run(tmp_path, "suite=colours")
    assert (done.returncode, told["status"]) == (1, "error")
    assert "Did you mean 'colors'?" in page_of(newest).select_one(".banner .message").get_text()


def test_each_parameter_says_what_it_is_for() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parameters = {parameter.name: parameter for parameter in read_parameters(cells)}
    assert list(parameters) == ["source", "table", "input", "suite", "on_failure"]
    assert all(parameter.comment for parameter in parameters.values())
