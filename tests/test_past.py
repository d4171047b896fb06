"""A run finds the colors of the earlier run it is to be compared with, and of no other."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench import earlier_colors, past, save


def run(folder: Path, number: int, **told: Any) -> None:
    """Leave a run of that day, whose colors hold its number."""
    place = folder / f"202601{number:02}T061500Z-ab"
    (place / "data").mkdir(parents=True)
    pl.DataFrame({"n": [number]}).write_parquet(place / "data" / "colors.parquet")
    usual = {"status": "passed", "as_of": f"2026-01-{number:02}", "parameters": {"sector": None}}
    (place / "run.json").write_text(json.dumps({**usual, **told}))


def number(found: pl.DataFrame | None) -> int | None:
    return None if found is None else found["n"][0]


@pytest.fixture
def runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a name of which a run goes on."""
    folder = project / "reports" / "my_colors"
    building = folder / ".20260109T061500Z-ab.partial"
    (building / "data").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(building))
    save(pl.DataFrame({"n": [9]}), "colors", formats=["parquet"])
    return folder


def test_the_newest_run_that_succeeded_is_compared_with(runs: Path) -> None:
    assert earlier_colors() is None
    run(runs, 1)
    run(runs, 3, status="warned")
    run(runs, 4, status="data-failed")
    run(runs, 5, status="error")
    (runs / "20260106T061500Z-ab").mkdir()
    (runs / "latest").symlink_to("20260103T061500Z-ab")
    assert number(earlier_colors()) == 3
    assert [path.parts[-3][:8] for path in past.files("data/colors.parquet")] == [
        "20260105", "20260104", "20260103", "20260101",
    ]  # fmt: skip


def test_a_second_run_of_a_day_is_compared_with_the_day_before(runs: Path) -> None:
    run(runs, 1)
    run(runs, 2, as_of="2026-01-08T17:30:00")
    run(runs, 3, as_of="2026-01-09")
    run(runs, 4, as_of=None)
    assert number(earlier_colors()) == 4
    assert number(earlier_colors(before=dt.datetime(2026, 1, 9))) == 2
    assert number(earlier_colors(before="2026-01-08")) == 1
    assert earlier_colors(before=dt.date(2026, 1, 1)) is None


def test_only_runs_with_the_same_parameters_are_compared(runs: Path) -> None:
    run(runs, 1)
    run(runs, 2, parameters={"sector": "MM-CLO", "order": ["date desc"]})
    assert number(earlier_colors(sector="MM-CLO", order=["date desc"])) == 2
    assert number(earlier_colors(sector=None, preset=None)) == 1
    assert earlier_colors(sector="2.0_Mezz") is None


def test_what_cannot_be_read_is_passed_over(runs: Path) -> None:
    run(runs, 1)
    for day, damage in ((2, "run.json"), (3, "data/colors.parquet")):
        run(runs, day)
        (runs / f"2026010{day}T061500Z-ab" / damage).write_text("[")
    run(runs, 4)
    (runs / "20260104T061500Z-ab" / "run.json").write_text("[]")
    assert number(earlier_colors()) == 1


def test_another_name_s_runs_are_found_in_a_run_and_in_an_open_notebook(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(runs, 1)
    run(runs.parent / "run_colors", 2)
    assert number(earlier_colors("run_colors")) == 2
    monkeypatch.delenv("WORKBENCH_RUN_DIR")
    assert number(earlier_colors()) == 2
    assert number(earlier_colors("my_colors")) == 1
    assert past.files("data/colors.parquet", "nobody") == []
