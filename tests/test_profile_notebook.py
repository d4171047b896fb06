"""The notebook of a schema profile, run as people run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from commands import command
from conftest import ROOT

from notebooks import page_of, runs_in
from workbench import connect, embedded, profile_schema, read_profile
from workbench.profiling.model import Table
from workbench.running.parameters import read_parameters

NOTEBOOK = ROOT / "notebooks" / "profile_schema.ipynb"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs, the second at depth 2 and compared with the first."""
    folder = tmp_path_factory.mktemp("reports")
    for words in (["compare_to", "latest"], ["depth", "2", "-p", "compare_to", "latest"]):
        done = command("run", str(NOTEBOOK), "--output", str(folder), "-p", *words)
        assert done.returncode == 0, done.stderr
    return runs_in(folder / "profile_schema")


def test_the_report_tells_what_the_database_holds(runs: list[Path]) -> None:
    names = ["colors", "coverage", "dealers", "securities"]
    with connect("demo") as db:
        rows = {
            name: db.read(f"SELECT count(*) AS n FROM marketpulse.{name}")["n"][0] for name in names
        }
    run = json.loads((runs[0] / "run.json").read_text())
    figures = {figure["name"]: figure["value"] for figure in run["figures"]}
    assert (figures["tables"], figures["rows"]) == (4, sum(rows.values()))
    page = page_of(runs[0])
    [tables] = [t for t in page.find_all("table") if t.caption and t.caption.get_text() == "Tables"]
    cells = [[td.get_text() for td in row.find_all("td")] for row in tables.select("tbody tr")]
    assert {row[0]: row[2] for row in cells} == {name: f"{n:,}" for name, n in rows.items()}
    sections = [summary.b.get_text() for summary in page.select("main summary:has(b)")]
    assert sorted(sections) == names
    [image] = page.select("figure img")
    assert "colors refers to dealers" in image["alt"]
    assert (runs[0] / "report.html").stat().st_size < 100_000


def test_the_files_beside_the_report_hold_the_profile(runs: list[Path]) -> None:
    profile = read_profile(runs[0] / "data" / "profile.json")
    assert profile.depth == 1
    listed = pl.read_csv(runs[0] / "data" / "columns.csv")
    expected = [(table.name, column.name) for table in profile.tables for column in table.columns]
    assert listed.select("table", "column").rows() == expected
    links = {a["href"] for a in page_of(runs[0]).select("main a")}
    assert {"data/profile.json", "data/columns.csv"} <= links


def test_the_next_run_is_compared_with_the_last(runs: list[Path]) -> None:
    first, second = (page_of(run).get_text(" ", strip=True) for run in runs)
    assert "Not compared: there is no earlier profile of this schema" in first
    assert "Not compared" not in second
    assert "depth" in second.split("What has changed")[-1]
    assert read_profile(runs[1] / "data" / "profile.json").depth == 2


ODD = {
    "start_time time": "08:00:00",
    "zoned timetz": "16:30:00+02",
    "born date": "0044-03-15 BC",
    "valid_to date": "12345-01-01",
    "ends date": "infinity",
    "seen timestamptz": "-infinity",
    "built timestamp": "12000-01-01 10:00",
    "took interval": "3 days 04:05",
    "large numeric": "9" * 5_000,
    "fine numeric": "0." + "0" * 5_000 + "1",
    "ratio float8": "Infinity",
    "part numeric": "NaN",
}


@pytest.fixture
def odd_schema(worker_id: str) -> Iterator[str]:
    """A table of a key and values that Python has no type for, or none as large."""
    name = f"profile_odd_{worker_id}"
    with connect("demo"):
        engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
        connection.exec_driver_sql(
            f"CREATE TABLE {name}.odd (id int PRIMARY KEY, {', '.join(ODD)})"
        )
        typical = ["10:00", "10:00+00", *["2020-01-01"] * 5, "1 day", *["1"] * 4]
        for number, values in enumerate((list(ODD.values()), typical)):
            literals = ", ".join(f"'{value}'" for value in values)
            connection.exec_driver_sql(f"INSERT INTO {name}.odd VALUES ({number}, {literals})")
        yield name
        connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
    engine.dispose()


def test_times_and_far_days_and_endless_numbers_are_told_as_they_are(
    odd_schema: str, tmp_path: Path
) -> None:
    profile = profile_schema("demo", odd_schema, depth=2, progress=False)
    earlier = tmp_path / "earlier.json"
    earlier.write_text(replace(profile, tables=(*profile.tables, Table("gone"))).to_json())
    words = ("-p", "schema", odd_schema, "-p", "depth", "2", "-p", "compare_to", str(earlier))
    done = command("run", str(NOTEBOOK), "--output", str(tmp_path), *words)
    assert done.returncode == 0, done.stderr
    [run] = runs_in(tmp_path / "profile_schema")
    [verdict] = json.loads((run / "run.json").read_text())["validations"]
    assert (verdict["passed"], verdict["message"][:5]) == (False, "gone:")
    page = page_of(run)
    [changes] = [t for t in page("table") if t.caption and t.caption.get_text() == "Changes"]
    assert [row.td.get_text() for row in changes.select("tbody tr")] == ["critical"]
    cells = [[c.get_text(" ", strip=True) for c in row(["th", "td"])] for row in page("tr")]
    ranges = {c[0].split()[0]: c[4] for c in cells if len(c) == 6}
    assert ranges["start_time"] == "08:00:00 – 10:00:00"
    assert ranges["born"].startswith("0044-03-15 BC")
    assert ranges["valid_to"].endswith("12345-01-01")
    assert "infinity" in ranges["ends"]
    assert "2020-01-01" in ranges["ends"]
    assert ranges["large"].startswith("1 –")
    assert max(map(len, ranges.values())) < 60


def test_a_schema_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = command("run", str(NOTEBOOK), "--output", str(tmp_path), "-p", "schema", "nowhere")
    assert done.returncode == 1
    [run] = runs_in(tmp_path / "profile_schema")
    message = page_of(run).select_one(".banner .message").get_text()
    assert "nowhere" in message
    assert len(message) < 200
    assert "Traceback" not in message


@pytest.mark.parametrize(("name", "value"), [("depth", "3"), ("sample_percent", "much")])
def test_a_wrong_parameter_is_refused_before_anything_starts(name: str, value: str) -> None:
    done = command("run", str(NOTEBOOK), "-p", name, value)
    assert done.returncode == 2
    assert f"Parameter {name} expects" in done.stderr


def test_each_parameter_says_what_it_is_for() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parameters = {parameter.name: parameter for parameter in read_parameters(cells)}
    assert list(parameters) == [
        "source", "schema", "tables", "depth", "sample_percent", "compare_to"
    ]  # fmt: skip
    assert all(parameter.comment for parameter in parameters.values())


def test_a_schema_that_nobody_here_designed_is_told_whole_and_short(tmp_path: Path) -> None:
    broken = tmp_path / "profile_schema" / "20260101T000000Z-0" / "data" / "profile.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    done = command(
        "run", str(NOTEBOOK), "--output", str(tmp_path), "-p", "schema", "pg_catalog",
        "-p", "depth", "2", "-p", "compare_to", "latest", "-f", str(ROOT / "params" / "ci.yaml"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = runs_in(tmp_path / "profile_schema")[-1]
    warnings = [told["message"] for told in json.loads((run / "run.json").read_text())["warnings"]]
    assert any(f"{broken} cannot be read" in message for message in warnings)
    with connect("demo") as db:
        names = db.read(
            "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace "
            "AND relkind IN ('r', 'p')"
        )["relname"].to_list()
    profile = read_profile(run / "data" / "profile.json")
    assert {table.name for table in profile.tables if table.kind == "table"} == set(names)
    page = page_of(run)
    told = [summary.b.get_text() for summary in page.select("main summary:has(b)")]
    columns = [len(profile.table(name).columns) for name in told]
    assert sum(columns[:-1]) < 240 <= sum(columns)
    assert f"{len(profile.tables) - len(told)} more tables" in page.get_text()
    assert (run / "report.html").stat().st_size < 270_000
