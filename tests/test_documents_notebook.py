"""The document pipeline's notebook, run as people run it, on items that mean no good."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import command
from conftest import ROOT
from dynamodb import fill

from notebooks import page_of, runs_in, table_in
from workbench import connect
from workbench.running.parameters import read_parameters

NOTEBOOK = ROOT / "notebooks" / "document_pipeline.ipynb"
EVIL = "<script>alert(1)</script>"
WHEN = {"S": "2026-01-08T10:00:00Z"}
Runs = Callable[..., tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]]


def document(number: int, **more: Any) -> dict[str, Any]:
    return {
        "document_id": {"S": f"{number}<b>%s"}, "case_number": {"S": "=1+1'\"--"},
        "status": {"S": "generated"}, "requested_at": WHEN,
        "customer": {"M": {"name": {"S": EVIL}}}, EVIL: {"S": "never shown"}, **more,
    }  # fmt: skip


ITEMS = {
    "documents": [document(n) for n in range(30)]
    + [document(n, amount={"S": "never shown"}) for n in range(30, 33)],
    "metadata": [{"document_id": {"S": EVIL}, "file_name": {"S": EVIL}, "stored_at": WHEN}],
    "templates": [{"template_id": {"S": "T"}, "version": {"N": "1"}, "title": {"S": EVIL}}],
    "audit": [{"document_id": {"S": "1"}, "sequence": {"N": "1"}, "event": {"S": "<i>"},
               "occurred_at": WHEN}],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(moto: str, schema: str, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run the notebook from the source "evil" into a schema of this module's own."""
    prefix = fill(moto, ITEMS)
    environment = {
        "AWS_ENDPOINT_URL": moto, "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "WORKBENCH_SOURCES__EVIL__KIND": "dynamodb", "WORKBENCH_SOURCES__EVIL__PREFIX": prefix,
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("a project")

    def once(
        *words: str, notebook: Path = NOTEBOOK
    ) -> tuple[subprocess.CompletedProcess[str], Path, dict[str, Any]]:
        if notebook is NOTEBOOK:
            words = ("source=evil", f"schema={schema}", *words)
        given = [part for word in words for part in ("-p", *word.split("=", 1))]
        done = command("run", str(notebook), "--output", str(folder), *given, **environment)
        newest = runs_in(folder / notebook.stem)[-1]
        return done, newest, json.loads((newest / "run.json").read_text(encoding="utf-8"))

    return once


def test_every_item_is_accounted_for_and_none_means_anything(run: Runs, schema: str) -> None:
    done, newest, told = run("csv=true")
    assert done.returncode == 0, done.stderr
    # More than one item in a hundred is rejected.
    assert told["status"] == "warned"
    figures = {figure["name"]: figure["value"] for figure in told["figures"]}
    assert figures == {"items scanned": 36, "items rejected": 3, "rows in the warehouse": 33}
    assert {source["name"] for source in told["sources"]} == {"evil", "warehouse"}
    page = page_of(newest)
    assert table_in(page, "From DynamoDB to the warehouse") == [
        ["cases", "33", "30", "3", "30"], ["metadata", "1", "1", "0", "1"],
        ["templates", "1", "1", "0", "1"], ["audit", "1", "1", "0", "1"],
    ]  # fmt: skip
    assert table_in(page, "Rows by what became of them")[0] == ["cases", "30", "0", "0", "0"]
    assert table_in(page, "Why items were rejected") == [
        ["cases", "amount is a text, not a number", "3"]
    ]
    assert table_in(page, "Attributes without a column") == [["cases", EVIL, "33", "a text"]]
    assert table_in(page, "Not sent yet")[0][2] == EVIL
    assert not page.find("script")
    assert "never shown" not in page.get_text()
    assert (newest / "report.html").stat().st_size < 150_000
    data = {path.name for path in (newest / "data").iterdir()}
    assert data == {"rejected.csv", *(f"{name}.csv" for name in
                                      ("cases", "metadata", "templates", "audit"))}  # fmt: skip
    with (newest / "data" / "rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["item_key"] for row in csv.DictReader(file)] == [
            f"{n}<b>%s" for n in (30, 31, 32)
        ]
    with connect("warehouse") as db:
        names = db.read(f"SELECT DISTINCT customer_name AS n, case_number AS c FROM {schema}.cases")
    assert names.rows() == [(EVIL, "=1+1'\"--")]


def test_a_trial_says_where_it_went(run: Runs, schema: str) -> None:
    done, newest, told = run("max_items=2")
    assert done.returncode == 0, done.stderr
    [warning] = [w["message"] for w in told["warnings"] if "trial" in w["message"]]
    assert f"{schema}_trial" in warning
    assert [row[4] for row in table_in(page_of(newest), "From DynamoDB")] == ["2", "1", "1", "1"]
    with connect("warehouse") as db:
        assert db.read(f"SELECT count(*) AS n FROM {schema}.cases").item() == 30
        assert db.read(f"SELECT count(*) AS n FROM {schema}_trial.cases").item() == 2
        with db.engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema}_trial CASCADE")


def test_a_reconciliation_that_does_not_add_up_fails_the_run(run: Runs, tmp_path: Path) -> None:
    lines = [
        "target,scanned,shaped,rejected,loaded,accounted,rejected_percent",
        "cases,10,9,0,9,9,0", "metadata,5,5,0,4,5,0", "templates,1,1,0,1,1,0", "audit,1,1,0,1,1,0",
    ]  # fmt: skip
    file = tmp_path / "reconciliation.csv"
    file.write_text("\n".join(lines))
    checked = ROOT / "notebooks" / "validate_table.ipynb"
    done, newest, told = run(f"input={file}", "suite=documents", notebook=checked)
    assert (done.returncode, told["status"]) == (3, "data-failed")
    failed = [row[1] for row in table_in(page_of(newest), "not kept")]
    assert sorted(failed) == [
        "Every scanned item was shaped or rejected Document platform",
        "Every shaped row is in the warehouse, and no other Document platform",
    ]


def test_each_parameter_says_what_it_is_for() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parameters = {parameter.name: parameter for parameter in read_parameters(cells)}
    assert list(parameters) == [
        "source", "warehouse", "schema", "segments", "max_items", "allow_empty", "csv"
    ]  # fmt: skip
    assert all(parameter.comment for parameter in parameters.values())
