"""`workbench profile`: what it prints, the JSON it writes, and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
from commands import command
from conftest import BIN, ROOT

from workbench import embedded
from workbench.database import connect
from workbench.profiling import model
from workbench.profiling.model import SEVERITIES, read_profile

WORDS = ("profile", "demo", "--schema", "marketpulse")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample schema's profile, as the command writes it."""
    path = tmp_path_factory.mktemp("profile") / "profile.json"
    done = command(*WORDS, "--depth", "2", "--exact", "--json", str(path), "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return path


def test_the_profile_of_the_sample_schema_says_what_is_in_it(written: Path) -> None:
    content = json.loads(written.read_text(encoding="utf-8"))
    assert (content["source"], content["schema"], content["depth"]) == ("demo", "marketpulse", 2)
    tables = {table["name"]: table for table in content["tables"]}
    with connect("demo") as db:
        frames = {name: db.read(f"SELECT * FROM marketpulse.{name}") for name in tables}
    assert set(tables) == {"colors", "coverage", "dealers", "securities"}
    for name, frame in frames.items():
        assert tables[name]["rows"] == {
            "value": frame.height, "how": "exact", "as_of": content["as_of"],
        }  # fmt: skip
        nulls = {column["name"]: column["nulls"]["value"] for column in tables[name]["columns"]}
        assert nulls == frame.null_count().row(0, named=True)
    colors, securities = frames["colors"], frames["securities"]
    found = {(f["kind"], f.get("table"), *f.get("columns", ())): f for f in content["findings"]}
    orphans = colors.drop_nulls("cusip").join(securities, "cusip", "anti").height
    assert found["orphan-rows", "colors", "cusip"]["rows"]["value"] == orphans
    blank = colors.filter(pl.col("cusip").str.strip_chars() == "").height
    assert found["blank-texts", "colors", "cusip"]["rows"]["value"] == blank
    severities = [SEVERITIES.index(f["severity"]) for f in content["findings"]]
    assert severities == sorted(severities)


def test_the_json_is_as_its_schema_says(written: Path) -> None:
    text = (ROOT / "docs" / "profile.schema.json").read_text(encoding="utf-8")
    schema = json.loads(text)
    assert schema == model.json_schema()
    checker = jsonschema.Draft202012Validator(schema)
    content = json.loads(written.read_text(encoding="utf-8"))
    checker.validate(content)
    content["tables"][0]["rows"] = 20_000
    assert not checker.is_valid(content)


def test_people_read_tables_findings_and_changes(written: Path) -> None:
    done = command(*WORDS, "--depth", "2", "--compare-to", str(written))
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo, schema marketpulse, PostgreSQL 18" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("coverage"))
    assert line.split()[1:3] == ["19,500", "3"]
    assert line.endswith("cusip, as_of")
    profile = read_profile(written)
    assert f"Findings: {len(profile.findings)}\n" in done.stdout
    places = [done.stdout.index(f"{finding.kind}: ") for finding in profile.findings]
    assert min(places) == places[0]
    assert "→ " in done.stdout
    assert f"Changes since {profile.as_of} UTC: 0" in done.stdout


def test_what_changed_is_told_of_the_tables_that_were_asked_for(
    written: Path, tmp_path: Path
) -> None:
    content = json.loads(written.read_text(encoding="utf-8"))
    for table in content["tables"]:
        if table["name"] in ("dealers", "coverage"):
            table["columns"].append({"name": "lost", "type": "text", "kind": "text"})
    (tmp_path / "before.json").write_text(json.dumps(content), encoding="utf-8")
    words = (*WORDS, "--table", "dealers", "--depth", "0", "--compare-to")
    done = command(*words, str(tmp_path / "before.json"), "--fail-on", "critical")
    assert " UTC: 2\n" in done.stdout  # the other one is the depth
    assert "dealers.lost: column-dropped: It is gone." in done.stdout
    assert "coverage" not in done.stdout
    assert done.returncode == 3
    assert done.stderr.startswith("error: 1 of ")
    assert "critical or worse, column-dropped first" in done.stderr


def test_json_on_standard_output_is_nothing_but_json(written: Path) -> None:
    done = command(*WORDS, "--depth", "0", "--json", "-", "--compare-to", str(written))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["depth"] == 0


@pytest.mark.parametrize(("severity", "code"), [("critical", 0), ("warning", 3)])
def test_findings_can_fail_a_pipeline(tmp_path: Path, severity: str, code: int) -> None:
    path = tmp_path / "profile.json"
    words = ("--table", "colors", "--json", str(path), "--fail-on", severity, "-q")
    done = command(*WORDS, *words)
    found = read_profile(path).findings
    assert {"warning", "info"} == {finding.severity for finding in found}
    assert (done.returncode, done.stdout) == (code, "")
    grave = [f for f in found if SEVERITIES.index(f.severity) <= SEVERITIES.index(severity)]
    if code:
        said = f"error: {len(grave)} of {len(found)} findings and changes are {severity} or worse, "
        assert done.stderr == f"{said}{grave[0].kind} first\n"


def test_a_sample_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    done = command(*WORDS, "--sample-percent", "50", "--json", str(path))
    colors = read_profile(path).table("colors")
    assert colors.rows
    assert colors.rows.how == "sampled 50 %"
    assert f"~{colors.rows.value:,}" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere"], 1, "Unknown source 'nowhere'."),
        (["demo", "--schema", "nowhere"], 1, "no schema 'nowhere'."),
        ([*WORDS[1:], "--table", "nowhere"], 1, "no table 'nowhere'."),
        (["nowhere", "--depth", "7"], 2, "7 is not in the range 0<=x<=2"),
        (["nowhere", "--sample-percent", "0"], 2, "0 is not in the range"),
        (["nowhere", "--exact", "--sample-percent", "5"], 2, "does not go with"),
        (["nowhere", "--timeout", "0"], 2, "0 is not in the range"),
        (["nowhere", "--fail-on", "hints"], 2, "'hints' is not one of"),
        (["nowhere", "--compare-to", "missing.json"], 2, "'missing.json' does not exist"),
        (["nowhere", "--compare-to", "list.json"], 1, "list.json cannot be read: This is no"),
        (["nowhere", "--compare-to", "later.json"], 1, "later.json cannot be read: This profile"),
        (["nowhere", "--json", "folder"], 2, "folder is a folder"),
        (["nowhere", "--json", "no/where.json"], 2, "There is no folder no to write"),
        (["nowhere", "--json", "list.json"], 2, "list.json exists already."),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence(
    project: Path, words: list[str], code: int, says: str
) -> None:
    (project / "folder").mkdir()
    (project / "list.json").write_text("[]")
    empty = {"source": "a", "schema": "b", "as_of": "c", "server": "d", "depth": 0, "tables": []}
    (project / "later.json").write_text(json.dumps({**empty, "version": 99}))
    before = sorted(project.iterdir())
    done = command("profile", *words)
    assert says in done.stderr
    assert (done.returncode, done.stdout) == (code, "")
    assert sorted(project.iterdir()) == before


def test_a_file_is_replaced_when_asked_and_kept_when_profiling_fails(project: Path) -> None:
    Path("x.json").write_text("mine")
    words = ("--depth", "0", "-q", "--overwrite", "--json", "x.json")
    assert command("profile", "demo", "--schema", "nowhere", *words).returncode == 1
    assert Path("x.json").read_text() == "mine"
    assert command(*WORDS, *words).returncode == 0
    assert len(read_profile("x.json").tables) == 4
    assert [path.name for path in project.iterdir()] == ["x.json"]


def test_ctrl_c_leaves_no_half_file(project: Path) -> None:
    embedded.connection_url()  # the server is up
    process = subprocess.Popen(
        [BIN / "workbench", *WORDS, "--depth", "2", "--json", "x.json"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(project.iterdir()):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "cancelled\n")
    assert list(project.iterdir()) == []


def test_names_from_a_database_cannot_colour_or_forge_what_is_shown(
    tmp_path: Path, written: Path
) -> None:
    content: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
    content["tables"].append({"name": "[red]x\x1b[31m\u202e", "kind": "table"})
    (tmp_path / "before.json").write_text(json.dumps(content), encoding="utf-8")
    done = command(*WORDS, "--depth", "0", "--compare-to", str(tmp_path / "before.json"))
    assert "[red]x" in done.stdout
    assert not {"\x1b", "\u202e"} & set(done.stdout)
