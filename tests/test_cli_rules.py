"""`workbench rules`: check, import and schema."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from commands import command
from conftest import ROOT

from workbench.exclusions import read_rules

DOCS = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
OLD = {
    "rules": [
        {
            "name": "037033100: \u00e9 'and' \"so\"",
            "is_active": False,
            "description": "kept: # as it is",
            "conditions": [
                {"column": "PX", "operator": "between", "value": "1", "value2": "2"},
                {"type": "or", "column": "CUSIP", "operator": "in", "value": ["037033100", "NO"]},
                {"type": "and", "column": "BIAS", "operator": "Equal to", "value": "2026-01-09"},
                {"type": "and", "column": "PX", "operator": ">=", "value": 0.1},
                {"type": "or", "column": "PX", "operator": "<", "value": 1e-7},
            ],
        }
    ]
}  # fmt: skip


def content(name: str) -> list[dict[str, Any]]:
    return [rule.model_dump() for rule in read_rules([name])]


def test_check_says_in_english_what_each_rule_removes() -> None:
    done = command("rules", "check", str(ROOT / "params" / "rules" / "desk.yaml"))
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    told = "PX is less than or equal to 2 or PX is greater than or equal to 114"
    assert first == f"prices that cannot be: removes rows where {told}"
    assert last.startswith("talk without confidence: inactive; would remove rows where BIAS is ")


@pytest.mark.parametrize("text", ["rules: []", "rules: [}", None])
def test_check_exits_with_2_for_what_it_cannot_read(project: Path, text: str | None) -> None:
    if text:
        (project / "bad.yaml").write_text(text)
    done = command("rules", "check", "bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "bad.yaml" in done.stderr


def test_import_writes_yaml_that_means_what_the_flat_list_did(project: Path) -> None:
    (project / "old.json").write_text(json.dumps(OLD), encoding="utf-8")
    done = command("rules", "import", "old.json", "new.yaml")
    assert done.returncode == 0, done.stderr
    assert content("new.yaml") == content("old.json")
    assert command("rules", "check", "new.yaml").stdout == command(
        "rules", "check", "old.json"
    ).stdout  # fmt: skip
    assert [path.name for path in sorted(project.iterdir())] == ["new.yaml", "old.json"]


def test_import_replaces_a_file_only_when_told_to(project: Path) -> None:
    (project / "old.json").write_text(json.dumps(OLD))
    (project / "new.yaml").write_text("mine")
    refused = command("rules", "import", "old.json", "new.yaml")
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    assert (project / "new.yaml").read_text() == "mine"
    (project / "broken.json").write_text("{")
    assert command("rules", "import", "broken.json", "new.yaml", "--overwrite").returncode == 2
    assert (project / "new.yaml").read_text() == "mine"
    assert command("rules", "import", "old.json", "new.yaml", "--overwrite").returncode == 0
    assert content("new.yaml") == content("old.json")
    assert command("rules", "import", "new.yaml", "old.json", "--overwrite").returncode == 2


def test_schema_prints_what_is_in_the_docs() -> None:
    done = command("rules", "schema")
    assert done.stdout == (ROOT / "docs" / "rules.schema.json").read_text(encoding="utf-8")


def test_the_commands_of_the_docs_work(project: Path) -> None:
    [old] = re.findall(r"^```json\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    [lines] = re.findall(r"^```sh\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    (project / "old.json").write_text(old)
    (project / "params" / "rules").mkdir(parents=True)
    (project / "docs").mkdir()
    (project / "docs" / "rules.schema.json").write_text("{}")
    for line in lines.splitlines():
        done = command(*shlex.split(line)[1:])
        assert done.returncode == 0, done.stderr
    written = (project / "params" / "rules" / "new.yaml").read_text()
    assert written.startswith("# yaml-language-server: $schema=../../docs/rules.schema.json\n")


def test_each_command_shows_examples() -> None:
    for words in (["rules"], ["rules", "check"], ["rules", "import"], ["rules", "schema"]):
        assert "workbench rules " in command(*words, "--help").stdout.split("Example", 1)[1]
