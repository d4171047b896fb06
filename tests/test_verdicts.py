"""A validation as it is read: for people, for terminals, for machines, and beside earlier ones."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bs4 import BeautifulSoup

from workbench import trends, verdicts
from workbench.reporting.sanitise import Outline, sanitise
from workbench.suites import SEVERITIES
from workbench.validation import Result, Validation

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\n✓ All 9 expectations were met."


def result(number: int = 1, **given: Any) -> Result:
    usual = {
        "type": "expect_column_values_to_be_between", "columns": ("PX",), "severity": "critical",
        "sentence": f"Promise {number}", "success": False, "unexpected": 75, "checked": 20_000,
    }  # fmt: skip
    return Result(**{"number": number, **usual, **given})


def validation(*results: Result, rows: int = 20_000, **given: Any) -> Validation:
    usual = {"suite": "colors", "data": "marketpulse.colors of source demo", "seconds": 0.3,
             "started": "2026-01-09T06:15:00+00:00"}  # fmt: skip
    offending = pl.concat([
        pl.DataFrame({"expectation": r.number, "promise": r.sentence, **row})
        for r in results for row in r.sample
    ], how="diagonal_relaxed") if any(r.sample for r in results) else pl.DataFrame(
        schema={"expectation": pl.Int64, "promise": pl.String})  # fmt: skip
    return Validation(rows=rows, results=results, offending=offending, **{**usual, **given})


def page(html: str) -> BeautifulSoup:
    return BeautifulSoup(sanitise(html, Outline(anchors=set())), "html.parser")


def rows_of(soup: BeautifulSoup, at: int = 0) -> list[list[str]]:
    found = soup("table")[at].select("tbody tr")
    texts = [[td.get_text(" ", strip=True) for td in row("td")] for row in found]
    return [[text.replace("\u00a0", " ") for text in row] for row in texts]


def test_the_most_serious_failure_comes_first_and_what_was_met_last() -> None:
    found = validation(
        result(1, success=True, unexpected=0, owner="Market data"),
        result(2, severity="info"),
        result(3, severity="warning", unexpected=1, checked=None, observed="93.1"),
        result(4, unexpected=3),
        result(5, problem="there is no column 'PX'.", unexpected=None, checked=None),
    )
    soup = page(found._repr_html_())
    assert soup.p.get_text() == (
        "✕ 4 of 5 expectations failed (2 critical, 1 warning, 1 info): data-failed. "
        "20,000 rows of marketpulse.colors of source demo, checked against the suite colors."
    )
    assert rows_of(soup) == [
        ["✕ critical", "Promise 4", "broken by 3 of 20,000 rows, < 0.1 %"],
        ["✕ critical", "Promise 5", "there is no column 'PX'."],
        ["! warning", "Promise 3", "93.1"],
        ["i info", "Promise 2", "broken by 75 of 20,000 rows, 0.4 %"],
    ]
    assert rows_of(soup, 1) == [["✓ met", "Promise 1 Market data", "kept by all 20,000 rows"]]
    assert soup.details.summary.get_text() == "1 expectation met"


def untried(number: int, **given: Any) -> Result:
    """What Great Expectations calls a success because no row is concerned."""
    return result(number, **{"success": True, "unexpected": 0, "checked": 0, **given})


def test_a_promise_that_no_row_is_concerned_of_does_not_look_kept() -> None:
    kept = [result(n, success=True, unexpected=0) for n in range(2, 5)]
    found = validation(untried(1), *kept, untried(5, severity="warning"))
    soup = page(found._repr_html_())
    assert soup.p.get_text().startswith("– 3 of 5 expectations met, 2 had no rows to look at. 20")
    assert [row[:3] for row in rows_of(soup)] == [
        ["– not tried", f"Promise {number}", "no row is concerned"] for number in (1, 5)
    ]
    assert [row[0] for row in rows_of(soup, 1)] == ["✓ met"] * 3
    assert repr(found).splitlines()[1:] == [
        f"  – not tried: Promise {number} – no row is concerned" for number in (1, 5)
    ]
    told = found.to_dict()
    assert [told[key] for key in ("success", "failed", "not_tried")] == [True, 0, 2]


def test_beside_failures_the_heading_counts_what_was_not_tried() -> None:
    found = validation(result(1), untried(2), result(3, success=True, unexpected=0))
    soup = page(found._repr_html_())
    assert soup.p.get_text().startswith(
        "✕ 1 of 3 expectations failed (1 critical), 1 had no rows to look at: data-failed."
    )
    assert soup.details.summary.get_text() == "1 expectation met"
    assert [rows_of(soup, at)[0][0] for at in range(3)] == ["✕ critical", "– not tried", "✓ met"]


@pytest.mark.parametrize(
    ("severity", "status"),
    [("critical", "data-failed"), ("warning", "warned"), ("info", "passed")],
)
def test_the_heading_says_what_becomes_of_the_run(severity: str, status: str) -> None:
    assert f"(1 {severity}): {status}." in repr(validation(result(severity=severity)))


def test_where_all_is_well_it_says_so_and_shows_everything() -> None:
    found = validation(*(result(n, success=True, unexpected=0) for n in range(1, 4)))
    soup = page(found._repr_html_())
    assert soup.p.get_text().startswith("✓ All 3 expectations were met. 20,000 rows")
    assert soup.details is None
    assert len(rows_of(soup)) == 3


def test_values_are_written_as_they_are_known() -> None:
    row = {
        "MESSAGE_ID": 17734072432755618, "DATE": dt.date(2026, 1, 9), "N": 45_000, "BIAS": "  ",
        "PX": Decimal("114.0000"), "AT": dt.datetime(2026, 1, 9, 6, 15), "SIZE": 1_234_567.5,
        "TICKER_ID": 1_234_567, "GONE": None, "MORE": 1,
    }  # fmt: skip
    first = result(columns=("PX", "AT", "SIZE"), sample=[row])
    second = result(2, columns=("TICKER_ID", "GONE", "BIAS", "MORE", "N"), sample=[row])
    soup = page(validation(first, second)._repr_html_())
    assert [cells[3] for cells in rows_of(soup)] == [
        "PX 114, AT 2026-01-09 06:15:00, SIZE 1,234,567.5 "
        "(MESSAGE_ID 17734072432755618, DATE 2026-01-09, N 45000, BIAS “  ”, …)",
        "N 45,000, BIAS “  ”, TICKER_ID 1234567, GONE missing, … "
        "(MESSAGE_ID 17734072432755618, DATE 2026-01-09, PX 114.0000, AT 2026-01-09 06:15:00, …)",
    ]


def test_hostile_texts_stay_texts_and_cannot_pass_for_a_verdict() -> None:
    found = validation(
        result(sentence=HOSTILE, owner=HOSTILE, columns=(HOSTILE,), sample=[{HOSTILE: HOSTILE}]),
        result(2, problem=HOSTILE), result(3, observed=HOSTILE, unexpected=None),
        data=HOSTILE, suite=HOSTILE,
    )  # fmt: skip
    shown = found._repr_html_() + verdicts.rows(found).html
    assert not re.search(r"<img|onerror=[^&]*>", shown)
    assert "&lt;img src=x" in shown
    lines = repr(found).splitlines()
    assert len(lines) == 4
    assert not any(line.strip().startswith("✓") for line in lines)
    assert "\x1b" not in repr(found)


def test_three_hundred_long_promises_stay_readable() -> None:
    long = "Every word of this promise is long. " * 20
    many = [
        result(n, sentence=f"{n} {long}", severity=SEVERITIES[n % 3], success=n % 10 == 0,
               sample=[{"ID": n, "PX": "x" * 5_000}] * 5, observed="y" * 5_000)
        for n in range(1, 301)
    ]  # fmt: skip
    found = validation(*many)
    html = sanitise(found._repr_html_() + verdicts.rows(found).html, Outline(anchors=set()))
    assert len(html) < 150_000
    assert "170 more: see data/validation.json" in html
    assert "260 more failed expectations: see data/offending_rows.csv" in html
    assert len(repr(found)) < 6_000
    assert repr(found).endswith("and 260 more")


def test_rows_that_break_a_promise_are_shown_with_their_key_first() -> None:
    sample = [{"ID": n, "PX": 100 + n} for n in range(5)]
    found = validation(result(sample=sample))
    wider = found.offending.with_columns(**{f"C{n}": pl.lit(n) for n in range(20)})
    found = validation(result(sample=sample))
    object.__setattr__(found, "offending", wider.select("C0", pl.exclude("C0")))
    soup = page(verdicts.rows(found).html)
    assert [th.get_text() for th in soup("th")][:3] == ["ID", "PX", "C0"]
    assert len(soup("th")) == 8
    assert [row[:2] for row in rows_of(soup)] == [[str(n), str(100 + n)] for n in range(5)]
    assert "No failed expectation counts rows" in verdicts.rows(validation()).text


def test_json_holds_every_value_without_loss() -> None:
    row = {
        "id": 17734072432755618, "n": 7, "px": Decimal("99.50"), "day": dt.date(2026, 1, 9),
        "at": dt.datetime(2026, 1, 9, 6, 15), "share": 0.5, "nan": float("nan"), "raw": b"\xff",
        "yes": True, "none": None, "text": "ü", "many": [Decimal("1.5")],
        "took": dt.timedelta(minutes=1), "time": dt.time(8),
    }  # fmt: skip
    told = json.loads(json.dumps(validation(result(sample=[row])).to_dict(), allow_nan=False))
    assert told["results"][0]["sample"] == [{
        "id": "17734072432755618", "n": 7, "px": "99.50", "day": "2026-01-09",
        "at": "2026-01-09T06:15:00", "share": 0.5, "nan": "nan", "raw": "ff", "yes": True,
        "none": None, "text": "ü", "many": ["1.5"], "took": "PT1M", "time": "08:00:00",
    }]  # fmt: skip
    assert told["results"][0]["percent"] == 0.375
    assert [told[key] for key in ("success", "severity", "expectations", "failed", "rows")] == [
        False, "critical", 1, 1, 20_000
    ]  # fmt: skip


@pytest.fixture
def building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that goes on."""
    folder = tmp_path / "validate_table" / ".building"
    folder.mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(folder))
    return folder


def earlier(building: Path, number: int, *results: Result, **given: Any) -> None:
    started = f"2026-01-{number:02}T06:15:00+00:00"
    told = validation(*results, **{"started": started, **given}).to_dict()
    path = building.parent / f"202601{number:02}T061500Z-ab" / "data" / "validation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(told))


def test_a_trend_tells_what_is_new_worse_better_and_mended(building: Path) -> None:
    earlier(building, 1, result(1), result(2))
    earlier(
        building, 2, result(1), result(2), result(3), result(4), result(5, success=True),
        result(7, unexpected=None, observed="1"),
    )  # fmt: skip
    now = validation(
        # In another order: what is compared is the promise, not its place.
        result(9, sentence="Promise 2", unexpected=100), result(8, sentence="Promise 1"),
        result(3, unexpected=25), result(4, success=True), result(5), result(6),
        result(7, unexpected=None, observed="2"), result(10, success=True),
    )  # fmt: skip
    history = trends.history(now)
    assert [verdict.started[8:10] for verdict in history] == ["01", "02", "09"]
    assert rows_of(page(trends.table(history).html)) == [
        ["Promise 5", "new failure", "–", "met", "0.4 %"],
        ["Promise 6", "new failure", "–", "–", "0.4 %"],
        ["Promise 2", "worse", "0.4 %", "0.4 %", "0.5 %"],
        ["Promise 1", "still fails", "0.4 %", "0.4 %", "0.4 %"],
        ["Promise 7", "still fails", "–", "failed", "failed"],
        ["Promise 3", "better", "–", "0.4 %", "0.1 %"],
        ["Promise 4", "mended", "–", "0.4 %", "met"],
    ]
    assert "3 runs, 2, 5, 6" in trends.chart(history).to_dict()["description"]


def test_a_failure_that_no_row_is_concerned_of_any_more_is_not_mended(building: Path) -> None:
    earlier(building, 1, untried(1))
    earlier(building, 2, result(1), result(2))
    history = trends.history(validation(untried(1), result(2, success=True)))
    assert rows_of(page(trends.table(history).html)) == [
        ["Promise 1", "not tried", "not tried", "0.4 %", "not tried"],
        ["Promise 2", "mended", "–", "0.4 %", "met"],
    ]


def test_only_runs_with_the_same_suite_and_data_are_compared(building: Path) -> None:
    earlier(building, 1, result(), suite="billing")
    earlier(building, 2, result(), data="other.csv")
    now = validation(result())
    assert len(trends.history(now)) == 1
    assert "no earlier run" in trends.chart(trends.history(now)).text
    assert trends.table(trends.history(now)) is None


def test_a_trend_goes_back_as_far_as_it_says(building: Path) -> None:
    for number in range(1, 28):
        earlier(building, number, result())
    found = trends.history(validation(result()))
    assert [verdict.started[8:10] for verdict in found] == [f"{n:02}" for n in range(8, 28)] + [
        "09"
    ]


def test_two_runs_in_one_minute_are_two_bars(building: Path) -> None:
    earlier(building, 1, result(), started="2026-01-09T06:15:00+00:00")
    found = trends.chart(trends.history(validation(result(), result(2)))).to_dict()
    [rows] = found["datasets"].values()
    critical = [row for row in rows if row["severity"] == "critical"]
    assert [row["failed"] for row in critical] == [1, 2]
    assert len({row["run"] for row in critical}) == 2


def test_outside_a_run_there_is_nothing_to_compare_with(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORKBENCH_RUN_DIR", raising=False)
    now = validation(result(sample=[{"ID": 1}]))
    shown = trends.save(now)
    assert len(trends.history(now)) == 1
    assert json.loads((project / "data" / "validation.json").read_text()) == now.to_dict()
    assert pl.read_csv(project / "data" / "offending_rows.csv").rows() == [(1, "Promise 1", 1)]
    assert "data/validation.json" in shown.html
