"""Parameters are read from the typed cell and checked before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import UsageError
from workbench.running.parameters import check_parameters, read_parameters
from workbench.running.plan import plan_run, read_values

CELL = """\
# what it runs on
source: str = "demo"  # a source
sector: str | None = None
order: list[str] = ["rank asc",
                    "date desc"]  # keys, "quoted # hash"
limit: int = 10
share: float = 0.5
deduplicate: bool = False
mode: Literal["fast", "slow"] = "fast"
untyped = 3
computed: int = 2 * limit
"""


def cells(source: str) -> list[dict[str, Any]]:
    return [
        {"cell_type": "markdown", "source": "# x", "metadata": {}},
        {"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}},
    ]


DECLARED = read_parameters(cells(CELL))


def test_the_cell_is_read_without_running_it() -> None:
    assert [p.name for p in DECLARED] == [
        "source", "sector", "order", "limit", "share", "deduplicate", "mode", "untyped", "computed",
    ]  # fmt: skip
    by_name = {p.name: p for p in DECLARED}
    assert by_name["source"].comment == "a source"
    assert by_name["order"].default == ["rank asc", "date desc"]
    assert by_name["order"].comment == 'keys, "quoted # hash"'
    assert by_name["untyped"].annotation == "int"
    assert by_name["computed"].default is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("source", "2.0", "2.0"),
        ("source", "true", "true"),
        ("source", "null", "null"),
        ("source", "a: b", "a: b"),
        ("source", "[", "["),
        ("source", "", ""),
        ("sector", "2.0_Mezz", "2.0_Mezz"),
        ("sector", "2.0", "2.0"),
        ("sector", "null", None),
        ("sector", "no", "no"),
        ("order", "[date desc, rank asc]", ["date desc", "rank asc"]),
        ("limit", "12", 12),
        ("share", "1", 1.0),
        ("share", "1e-3", 0.001),
        ("deduplicate", "true", True),
        ("deduplicate", "No", False),
        ("mode", "slow", "slow"),
    ],
)
def test_a_text_becomes_what_the_cell_declares(name: str, text: str, value: object) -> None:
    found = check_parameters(DECLARED, {}, {name: text})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("limit", "1.5"), ("limit", "ten"), ("share", "much"), ("deduplicate", "1"),
     ("deduplicate", "maybe"), ("mode", "medium"), ("order", "rank"), ("order", "[1]")],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_expected(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"Parameter {name} expects "):
        check_parameters(DECLARED, {}, {name: text})


def test_a_file_value_keeps_its_type() -> None:
    assert check_parameters(DECLARED, {"limit": 3}, {}) == {"limit": 3}
    with pytest.raises(UsageError, match=r"Parameter sector expects str \| None, not 2\.0 \(float"):
        check_parameters(DECLARED, {"sector": 2.0}, {})


def test_an_unknown_name_lists_what_exists() -> None:
    with pytest.raises(UsageError) as caught:
        check_parameters(DECLARED, {}, {"sectr": "x"})
    assert "Did you mean 'sector'?" in str(caught.value)
    assert "source: str = 'demo'  # a source" in str(caught.value)


@given(st.text())
def test_any_text_reaches_a_text_parameter_unchanged(text: str) -> None:
    assert check_parameters(DECLARED, {}, {"source": text}) == {"source": text}


def test_a_cell_that_is_no_python_or_has_an_odd_type() -> None:
    with pytest.raises(UsageError, match="not Python"):
        read_parameters(cells("source: str = "))
    odd = read_parameters(cells("when: __import__('os').system('true') = None"))
    with pytest.raises(UsageError, match="cannot be checked"):
        check_parameters(odd, {"when": 1}, {})


def notebook(folder: Path, source: str = 'source: str = "demo"') -> Path:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    path = folder / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_a_notebook_is_found_by_name_and_by_path(project: Path) -> None:
    (project / "notebooks").mkdir()
    path = notebook(project / "notebooks")
    assert plan_run("mine").notebook == plan_run(str(path)).notebook == path
    assert plan_run("mine").output == project / "reports"
    assert plan_run("mine", texts={"source": "x"}).parameters == {"source": "x"}


@pytest.mark.parametrize("name", ["mime", "nowhere/mine.ipynb", "../mine", "", "notebooks"])
def test_an_unknown_notebook_lists_those_there_are(project: Path, name: str) -> None:
    (project / "notebooks").mkdir()
    notebook(project / "notebooks")
    with pytest.raises(UsageError) as caught:
        plan_run(name)
    assert repr(name) in str(caught.value) or name in caught.value.message


def test_a_file_that_is_no_notebook(project: Path) -> None:
    for content in ("", "{}", "[1]", "not json", json.dumps({"cells": 3, "nbformat": 4})):
        (project / "x.ipynb").write_text(content)
        with pytest.raises(UsageError, match="not a Jupyter notebook"):
            plan_run("x.ipynb")


@pytest.mark.parametrize(
    ("content", "says"),
    [("a: [", "line 1"), ("- a", "no `name: value`"), ("just text", "no `name: value`")],
)
def test_a_parameter_file_that_cannot_be_read(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_values(path)
    assert "p.yaml" in str(caught.value)
    assert says in str(caught.value)
    path.write_text("")
    assert read_values(path) == {}
