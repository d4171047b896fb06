"""Suites: found, read, refused with the place of what is wrong, and said in English."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import DataError, UsageError
from workbench.phrases import phrase
from workbench.suites import Expectation, Suite, known, read_suite, sentence

UNIQUE: dict[str, Any] = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "ID"}}
BETWEEN = "expect_column_values_to_be_between"
# As the UserConfigurableProfiler of 0.13 wrote it, but for the length.
OF_0 = {
    "data_asset_type": None,
    "expectation_suite_name": "taxi.demo",
    "evaluation_parameters": {"most": 6},
    "expectations": [
        {
            "expectation_type": "expect_column_max_to_be_between",
            "kwargs": {
                "column": "pickup", "max_value": "2019-01-31T00:00:00", "min_value": None,
                "mostly": None, "parse_strings_as_datetimes": True, "catch_exceptions": False,
                "result_format": "BASIC", "include_config": True, "auto": True,
            },
            "meta": {"notes": {"format": "markdown", "content": ["Rides are", "of January."]}},
            "ge_cloud_id": None,
        },
        {
            "expectation_type": "expect_column_pair_values_A_to_be_greater_than_B",
            "kwargs": {"column_A": "total", "column_B": "fare", "or_equal": True,
                       "allow_cross_type_comparisons": None},
            "meta": {},
        },
        {
            "expectation_type": "expect_column_values_to_be_between",
            "kwargs": {"column": "riders", "min_value": {"$PARAMETER": "least",
                       "$PARAMETER.least": 1}, "max_value": {"$PARAMETER": "most"}},
            "meta": {},
        },
    ],
    "ge_cloud_id": None,
    "meta": {"great_expectations_version": "0.13.46", "citations": []},
}  # fmt: skip


def catalogue() -> dict[str, dict[str, Any]]:
    """Great Expectations' own JSON schema of each type, without importing it."""
    found = importlib.util.find_spec("great_expectations")
    assert found
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "expectations" / "core" / "schemas"
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return {
        one["properties"]["metadata"]["properties"]["expectation_type"]["const"]: one
        for one in schemas
        if "properties" in one
    }


def write(project: Path, name: str, content: Any) -> Path:
    folder = project / "expectations"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def refused(suite: Any, error: type[Exception] = DataError) -> str:
    with pytest.raises(error) as caught:
        read_suite(suite)
    return str(caught.value)


def test_a_suite_is_a_name_a_file_its_content_or_what_great_expectations_holds(
    project: Path,
) -> None:
    content = {"name": "ids", "expectations": [UNIQUE], "meta": {"key": ["ID"]}}
    path = write(project, "ids", content)

    class Foreign:
        def to_json_dict(self) -> dict[str, Any]:
            return {**content, "id": None, "notes": None, "suite_parameters": {}}

    ways = ["ids", path, str(path), "expectations/ids.json", "ids.json", content, Foreign()]
    found = [read_suite(way) for way in ways]
    assert {(suite.name, suite.key, suite.converted) for suite in found} == {
        ("ids", ("ID",), False)
    }
    assert [suite.path for suite in found[:2]] == [path, path]
    assert all(suite.expectations == found[0].expectations for suite in found)
    assert read_suite(found[0]) is found[0]
    assert found[0].expectations[0] == Expectation(UNIQUE["type"], UNIQUE["kwargs"])


def test_suites_are_in_the_folder_of_the_settings_wherever_one_stands(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "workbench.toml").write_text('expectations = "promises"\n')
    (project / "promises").mkdir()
    (project / "promises" / "ids.json").write_text(json.dumps({"expectations": [UNIQUE]}))
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    assert known() == ["ids"]
    assert read_suite("ids").name == "ids"


def test_an_unknown_suite_names_those_there_are_the_nearest_first(project: Path) -> None:
    for name in ("accounts", "colors", "zebra"):
        write(project, name, {"expectations": [UNIQUE]})
    said = refused("colrs", UsageError)
    assert "Unknown suite 'colrs'. Did you mean 'colors'?" in said
    assert ": colors, " in said
    assert "zebra" in said
    assert "Unknown suite 'x.json'" in refused("x.json", UsageError)
    assert "is a directory" in refused("../a project/expectations", UsageError)
    assert "a name, a file or its content, not int" in refused(5, UsageError)


def test_where_there_are_no_suites_none_is_offered(project: Path) -> None:
    assert "expectations: none." in refused("colors", UsageError)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"expectations": [\n  {"type": "x",}\n]}', "line 2, column 16: this is not JSON"),
        ("", "line 1, column 1: this is not JSON"),
        ('{"expectations": [{"type": "x", "kwargs": {"value": NaN}}]}', "NaN is no number"),
        ('{"expectations": [{"type": "x", "kwargs": {"value": -Infinity}}]}', "-Infinity is no"),
        ('{"expectations": [{"type": "x", "kwargs": {"value": 1e999}}]}', "1e999 is no number"),
        ('{"a":' * 100_000, "is not JSON: maximum recursion depth"),
        ("[1]", "holds a list, not an object"),
        ('"x"', "holds a text, not an object"),
        ('{"name": "x"}', "no list of `expectations`"),
        ('{"expectations": {}}', "no list of `expectations`"),
        ('{"expectations": []}', "an empty suite proves nothing"),
        ('{"expectations": [{"type": "x"}, 5]}', "expectation 2 is a number, not an object"),
        ('{"expectations": [{"kwargs": {}}]}', "expectation 1 has no type"),
        ('{"expectations": [{"type": ["x"]}]}', "expectation 1 has no type"),
        ('{"expectations": [{"type": "x", "kwargs": []}]}', "1 (x): kwargs is a list, not an"),
        ('{"expectations": [{"type": "x", "meta": "m"}]}', "1 (x): meta is a text, not an"),
        (
            '{"expectations": [{"type": "x", "severity": "critcal"}]}',
            "1 (x) has the unknown severity 'critcal'. Did you mean 'critical'?",
        ),
        (
            '{"expectations": [{"type": "x"}, {"type": "y", "kwargs": {"value": 1, "value": 2}}]}',
            "expectation 2 (y) has the key 'value' twice",
        ),
        ('{"name": "a", "name": "b", "expectations": [{"type": "x"}]}', "the key 'name' twice"),
        ('{"expectations": [{"type": "x"}], "meta": {"key": "ID"}}', "meta.key is no list"),
        ('{"expectations": [{"type": "x"}], "suite_parameters": 5}', "parameters is a number"),
        (
            '{"expectations": [{"type": "x", "kwargs": {"value": [{"$PARAMETER": "mots"}]}}],'
            ' "suite_parameters": {"most": 1}}',
            "1 (x) needs the parameter 'mots', which has no value. Did you mean 'most'?",
        ),
    ],
)
def test_what_is_wrong_with_a_suite_is_told_with_its_place(
    project: Path, text: str, says: str
) -> None:
    path = write(project, "bad", text)
    said = refused("bad")
    assert says in said
    assert str(path) in said


def test_a_suite_that_is_not_text_or_cannot_be_read(project: Path) -> None:
    path = write(project, "bad", "x")
    path.write_bytes("{\"name\": \"ü\"}".encode("latin-1"))  # fmt: skip
    assert "is not UTF-8 text" in refused("bad")
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"expectations": [UNIQUE]}).encode())
    assert read_suite("bad").name == "bad"


def test_an_empty_suite_is_refused_in_any_form() -> None:
    assert "proves nothing" in refused(Suite("nothing", ()))
    assert "proves nothing" in refused({"name": "nothing", "expectations": []})


def test_parameters_are_filled_in_from_the_suite(project: Path) -> None:
    kwargs = {"column": "PX", "max_value": {"$PARAMETER": "most"}, "mostly": {"$PARAMETER": "m"}}
    entry = {"type": BETWEEN, "kwargs": kwargs}
    content = {"expectations": [entry], "suite_parameters": {"most": 110, "m": 0.5}}
    [filled] = read_suite(content).expectations
    assert filled.kwargs == {"column": "PX", "max_value": 110, "mostly": 0.5}
    assert entry["kwargs"] is kwargs


def test_a_suite_of_great_expectations_0_is_one_that_1_takes(project: Path) -> None:
    write(project, "old", OF_0)
    suite = read_suite("old")
    assert (suite.name, suite.converted) == ("taxi.demo", True)
    [pickup, totals, riders] = suite.expectations
    assert pickup.kwargs == {"column": "pickup", "max_value": "2019-01-31T00:00:00"}
    assert sentence(pickup) == "Rides are of January."
    assert totals.kwargs == {"column_A": "total", "column_B": "fare", "or_equal": True}
    assert riders.kwargs == {"column": "riders", "min_value": 1, "max_value": 6}
    schemas = catalogue()
    for one in suite.expectations:
        schema = {**schemas[one.type], "additionalProperties": False}
        jsonschema.Draft7Validator(schema).validate(dict(one.kwargs))


@pytest.mark.parametrize(
    ("kind", "kwargs", "named"),
    [
        (
            "expect_column_values_to_be_increasing",
            {"column": "at", "parse_strings_as_datetimes": True},
            "parse_strings_as_datetimes",
        ),
        (
            "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": "a", "column_B": "b", "allow_cross_type_comparisons": True},
            "allow_cross_type_comparisons",
        ),
    ],
)
def test_what_cannot_be_converted_is_named(kind: str, kwargs: dict[str, Any], named: str) -> None:
    entry = {"expectation_type": kind, "kwargs": kwargs, "meta": {}}
    said = refused({"expectation_suite_name": "old", "expectations": [entry]})
    assert f"expectation 1 ({kind}) takes {named}" in said
    entry["kwargs"] = {**kwargs, named: False}
    [kept] = read_suite({"expectation_suite_name": "old", "expectations": [entry]}).expectations
    assert named not in kept.kwargs


@pytest.mark.parametrize(
    ("kind", "kwargs", "said"),
    [
        (BETWEEN, {"column": "PX", "min_value": 10, "max_value": 110},
         "PX: values are between 10 and 110"),
        (BETWEEN, {"column": "PX", "min_value": 10, "strict_min": True, "mostly": 0.95},
         "PX: values are more than 10, for at least 95 %"),
        (BETWEEN, {"column": "PX", "max_value": 1.5, "row_condition": 'col("SECTOR").notNull()'},
         "PX: values are at most 1.5, where SECTOR is not null"),
        ("expect_column_max_to_be_between", {"column": "PX", "min_value": 1, "max_value": 2},
         "PX: max is between 1 and 2"),
        ("expect_column_to_exist", {"column": "PX"}, "PX exists"),
        ("expect_column_values_to_not_be_null", {"column": "PX"}, "PX: values are not null"),
        ("expect_column_values_to_not_match_regex", {"column": "A", "regex": "^x"},
         "A: values do not match regex ^x"),
        ("expect_column_values_to_match_regex_list",
         {"column": "A", "match_on": "all", "regex_list": ["^a", "b"]},
         "A: values match regex list ^a, b, match on all"),
        ("expect_column_values_to_be_in_set", {"column": "A", "value_set": list(range(12))},
         "A: values are in set 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2 more"),
        ("expect_column_pair_values_a_to_be_greater_than_b",
         {"column_A": "ASK", "column_B": "BID_PX", "or_equal": True},
         "ASK: values are greater than BID_PX, or equal"),
        ("expect_column_pair_values_to_be_equal", {"column_A": "A", "column_B": "B"},
         "A and B: values are equal"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["A", "B"]},
         "A, B: compound columns are unique"),
        ("expect_multicolumn_sum_to_equal", {"column_list": ["A", "B"], "sum_total": 3},
         "A, B: sum equals 3"),
        ("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": 9},
         "Table row count is between 1 and 9"),
        ("expect_table_columns_to_match_set", {"column_set": ["A", "B"], "exact_match": False},
         "Table columns match set A, B, not exact match"),
        ("expect_column_proportion_of_unique_values_to_be_between",
         {"column": "A", "min_value": 0.5}, "A: proportion of unique values is at least 0.5"),
        ("expect_column_values_to_be_valid_cusip",
         {"column": "CUSIP", "row_condition": {"type": "and", "conditions": [
             {"type": "comparison", "column": {"name": "B"}, "operator": "NOT_IN",
              "parameter": [1, 2]},
             {"type": "nullity", "column": {"name": "C"}, "is_null": False}]}},
         "CUSIP: values are valid cusip, where B not in 1, 2 and C is not null"),
    ],
)  # fmt: skip
def test_an_expectation_is_said_in_english(kind: str, kwargs: dict[str, Any], said: str) -> None:
    assert sentence(Expectation(kind, kwargs)) == said


def test_its_own_sentence_goes_before_its_description_and_that_before_its_notes() -> None:
    meta = {"sentence": "Every color has a price"}
    entry = {**UNIQUE, "description": "described", "notes": ["noted", "twice"]}
    for part, said in (({"meta": meta}, meta["sentence"]), ({}, "described"),
                       ({"description": None}, "noted twice")):  # fmt: skip
        [one] = read_suite({"expectations": [{**entry, **part}]}).expectations
        assert sentence(one) == said


def test_every_type_of_the_catalogue_has_a_sentence_that_tells_its_arguments() -> None:
    schemas = catalogue()
    assert len(schemas) > 40
    for kind, schema in schemas.items():
        own = set(schema.get("required", ())) - {"column_A", "column_B", "mostly"}
        kwargs = {"column_A": "first", "column_B": "second"} if "pair" in kind else {}
        kwargs |= {name: f"<{name}>" for name in own}
        told = phrase(kind, kwargs)
        assert all(str(value) in told for value in kwargs.values()), told
        assert len(told) < 200


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
names = st.sampled_from(
    ["column", "column_A", "column_list", "column_set", "min_value", "mostly", "row_condition",
     "value_set", "strict_min", "ignore_row_if", "exact_match", "conditions", "type_"]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(catalogue())) | st.text(max_size=10), st.dictionaries(names, values))
def test_whatever_a_suite_holds_it_can_be_said(kind: str, kwargs: dict[str, Any]) -> None:
    one = Expectation(kind, kwargs)
    assert isinstance(sentence(one), str)
    assert all(isinstance(name, str) for name in one.columns)


def test_a_wrong_suite_is_told_without_loading_great_expectations(project: Path) -> None:
    code = (
        "import sys; from workbench.suites import read_suite\n"
        "try: read_suite('nothing')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "print(sorted({'great_expectations', 'pandas', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["UsageError", "[]"]
