"""What validate() promises: Great Expectations' verdicts, inside a database and over frames."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas
import polars as pl
import pytest
import sqlalchemy as sa

import workbench as wb
from workbench import embedded
from workbench.errors import ConnectionFailed, DataError, UsageError
from workbench.validation import Result, ValidationFailed

ROWS = pl.DataFrame(
    {
        "ID": [17734072432755618, 17734072432755619, 17734072432755620, 17734072432755620, None],
        "NAME": ["ann", "bob", None, "ann", "c,d"],
        "PRICE": [Decimal("99.50"), Decimal("2.00"), None, Decimal("101.25"), Decimal("99.50")],
        "SHARE": [0.1, 0.25, 0.5, None, 1.5],
        "DAY": [dt.date(2026, 1, n) for n in (1, 2, 3, 4)] + [None],
        "GRADE": [1, 2, 3, 3, None],
        "LOW": [1, 5, 3, None, 2],
        "HIGH": [2, 4, 3, 7, None],
    },
    schema_overrides={"PRICE": pl.Decimal(9, 2)},
)
# With one value missing, Great Expectations judges otherwise on pandas than in SQL.
PAIR = {"column_A": "HIGH", "column_B": "LOW", "ignore_row_if": "either_value_is_missing"}


def where(column: str, operator: str, value: Any) -> dict[str, Any]:
    compared = {"column": {"name": column}, "operator": operator, "parameter": value}
    return {"type": "comparison", **compared}


EVERY_KIND: list[dict[str, Any]] = [
    {"type": f"expect_{name}", "kwargs": kwargs}
    for name, kwargs in [
        ("column_values_to_not_be_null", {"column": "ID"}),
        ("column_values_to_not_be_null", {"column": "NAME", "mostly": 0.8}),
        ("column_values_to_be_null", {"column": "NAME"}),
        ("column_values_to_be_unique", {"column": "ID"}),
        ("column_values_to_be_unique", {"column": "LOW"}),
        ("column_values_to_be_in_set", {"column": "NAME", "value_set": ["ann", "bob"]}),
        ("column_values_to_be_in_set", {"column": "GRADE", "value_set": [1, 2, 3]}),
        ("column_values_to_not_be_in_set", {"column": "NAME", "value_set": ["bob", "it's"]}),
        ("column_values_to_be_between", {"column": "PRICE", "min_value": 10, "max_value": 110}),
        ("column_values_to_be_between", {"column": "SHARE", "max_value": 1, "strict_max": True}),
        ("column_values_to_be_between", {"column": "GRADE", "min_value": 2, "mostly": 0.75}),
        ("column_values_to_match_regex", {"column": "NAME", "regex": "n"}),
        ("column_values_to_match_regex", {"column": "NAME", "regex": "^[a-z]{3}$"}),
        ("column_values_to_not_match_regex", {"column": "NAME", "regex": ","}),
        ("column_value_lengths_to_be_between", {"column": "NAME", "min_value": 1, "max_value": 3}),
        ("column_value_lengths_to_equal", {"column": "NAME", "value": 3}),
        ("column_min_to_be_between", {"column": "SHARE", "min_value": 0}),
        ("column_max_to_be_between", {"column": "SHARE", "max_value": 1}),
        ("column_mean_to_be_between", {"column": "SHARE", "min_value": 0.5, "max_value": 0.6}),
        ("column_median_to_be_between", {"column": "SHARE", "min_value": 0.3, "max_value": 0.4}),
        ("column_stdev_to_be_between", {"column": "SHARE", "min_value": 0.6, "max_value": 0.7}),
        ("column_sum_to_be_between", {"column": "SHARE", "min_value": 2.3, "max_value": 2.4}),
        ("column_unique_value_count_to_be_between", {"column": "NAME", "max_value": 3}),
        ("column_proportion_of_unique_values_to_be_between", {"column": "NAME", "max_value": 0.7}),
        ("column_distinct_values_to_be_in_set", {"column": "NAME", "value_set": ["ann", "bob"]}),
        ("column_distinct_values_to_contain_set", {"column": "GRADE", "value_set": [1, 2]}),
        ("column_distinct_values_to_equal_set", {"column": "GRADE", "value_set": [1, 2, 3]}),
        ("column_pair_values_a_to_be_greater_than_b", {**PAIR, "or_equal": True}),
        ("column_pair_values_to_be_equal", PAIR),
        ("compound_columns_to_be_unique", {"column_list": ["NAME", "GRADE"]}),
        ("select_column_values_to_be_unique_within_record", {"column_list": ["LOW", "HIGH"]}),
        ("compound_columns_to_be_unique", {"column_list": ["GRADE", "HIGH"]}),
        ("column_pair_values_to_be_equal", {"column_A": "HIGH", "column_B": "LOW"}),
        ("multicolumn_sum_to_equal", {"column_list": ["LOW", "HIGH"], "sum_total": 3}),
        ("table_row_count_to_equal", {"value": 5}),
        ("table_row_count_to_be_between", {"min_value": 6}),
        ("table_column_count_to_equal", {"value": 8}),
        ("table_columns_to_match_set", {"column_set": list(ROWS.columns)}),
        ("column_to_exist", {"column": "NAME"}),
        ("column_to_exist", {"column": "NOWHERE"}),
        ("column_values_to_be_between", {"column": "LOW", "max_value": 2,
                                         "row_condition": where("NAME", "==", "ann")}),
        ("column_values_to_be_unique", {"column": "NAME", "row_condition": where("GRADE", ">", 1)}),
    ]
]  # fmt: skip


def suite_of(*expectations: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"name": "checks", "expectations": list(expectations), "meta": meta}


def counted(results: Any) -> list[tuple[str, bool, int | None]]:
    return [(result.type, result.success, result.unexpected) for result in results]


def plain_great_expectations(
    rows: pl.DataFrame, expectations: list[dict[str, Any]]
) -> list[tuple[str, bool, int | None]]:
    """What Great Expectations itself says, on pandas, by the way its manual shows."""
    import great_expectations as gx

    import workbench.expectations  # noqa: F401  quiet

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("pandas")
    whole = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    # With gaps it would become a float, which holds no id of 17 digits.
    columns = {c.name: c.to_pandas(use_pyarrow_extension_array=c.name == "ID") for c in rows}
    import pandas as pd

    batch = whole.get_batch({"dataframe": pd.DataFrame(columns)})
    numbered = [{**e, "meta": {"number": n}} for n, e in enumerate(expectations)]
    said = batch.validate(gx.ExpectationSuite(name="plain", expectations=numbered))
    found = {r.expectation_config.meta["number"]: r for r in said.results}
    rows = {n: r.result if "element_count" in r.result else {} for n, r in found.items()}
    return [
        (e["type"], bool(found[n].success), rows[n].get("unexpected_count"))
        for n, e in enumerate(expectations)
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_frame_gets_the_verdicts_of_plain_great_expectations() -> None:
    ours = counted(wb.validate(ROWS, suite_of(*EVERY_KIND)).results)
    assert ours == plain_great_expectations(ROWS, EVERY_KIND)


@pytest.fixture(scope="module")
def schema(schema: str) -> Iterator[tuple[sa.Engine, str]]:
    """A schema of the embedded PostgreSQL with the table `rows`, and an engine that may write."""
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        copy(ROWS.rename(str.lower), connection, schema, "rows")
    yield engine, schema
    engine.dispose()


KINDS: dict[str, Any] = {"Int64": sa.BigInteger(), "String": sa.Text(), "Float64": sa.Double(),
                         "Date": sa.Date(), "Boolean": sa.Boolean()}  # fmt: skip


def copy(rows: pl.DataFrame, connection: sa.Connection, schema: str | None, name: str) -> sa.Table:
    columns = [sa.Column(c.name, KINDS.get(str(c.dtype), sa.Numeric(9, 2))) for c in rows]
    table = sa.Table(name, sa.MetaData(), *columns, schema=schema)
    table.create(connection)
    if rows.height:
        connection.execute(table.insert(), rows.to_dicts())
    return table


def test_a_table_is_judged_inside_its_database_as_a_frame_of_it_is(
    schema: tuple[sa.Engine, str],
) -> None:
    suite = suite_of(*EVERY_KIND, key=["LOW"])
    frame = wb.validate(ROWS, suite)
    with wb.connect("demo") as db:
        pushed = wb.validate(db.table(f"{schema[1]}.rows"), suite)
    # PostgreSQL's columns are in lower case; sets of names are the suite's to write.
    by_name = "expect_table_columns_to_match_set"
    assert [r for r in counted(pushed.results) if r[0] != by_name] == [
        r for r in counted(frame.results) if r[0] != by_name
    ]
    samples = [[list(row.values()) for row in result.sample] for result in frame.results]
    assert samples == [[list(row.values()) for row in result.sample] for result in pushed.results]
    assert pushed.offending.rows() == frame.offending.rows()


@pytest.mark.oracle
def test_a_table_of_oracle_is_judged_as_a_frame_of_it_is(
    oracle_source: Callable[..., str],
) -> None:
    suite = suite_of(*EVERY_KIND, key=["LOW"])
    with wb.connect(oracle_source("read_only = false")) as db:
        try:
            with db.engine.begin() as connection:
                table = copy(ROWS.rename(str.lower).clear(), connection, None, "judged")
            db.execute_many(table.insert(), ROWS.rename(str.lower).to_dicts())
            pushed = wb.validate(db.table("judged"), suite)
        finally:
            with db.engine.begin() as connection:
                connection.execute(sa.text("drop table judged"))
    assert counted(pushed.results) == counted(wb.validate(ROWS, suite).results)


def check(kind: str, /, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


PRICE = check("column_values_to_be_between", column="PRICE", min_value=10, max_value=110)


def only(validation: wb.Validation) -> Result:
    (result,) = validation.results
    return result


def test_a_missing_column_is_named_and_fails_while_the_others_are_checked() -> None:
    missing = check("column_values_to_be_unique", column="PRICES")
    validation = wb.validate(ROWS, suite_of(missing, PRICE))
    first, second = validation.results
    assert not first.success
    assert "'PRICES'" in str(first.problem)
    assert "'PRICE'" in str(first.problem)
    assert (second.unexpected, second.checked, second.problem) == (1, 4, None)


def test_a_comparison_of_texts_with_numbers_fails_alone(schema: tuple[sa.Engine, str]) -> None:
    mismatch = check("column_values_to_be_between", column="NAME", min_value=3)
    suite = suite_of(mismatch, PRICE, check("column_values_to_not_be_null", column="NAME"))
    with wb.connect("demo") as db:
        for data in (ROWS, db.table(f"{schema[1]}.rows")):
            first, *others = wb.validate(data, suite).results
            assert not first.success
            assert first.problem
            assert [(r.unexpected, r.problem) for r in others] == [(1, None), (1, None)]


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        (check("column_values_to_be_betwen", column="PRICE"), "between"),
        (check("column_values_to_be_between", min_value=1), "column"),
        (check("column_values_to_be_between", column="PRICE", mostly=2), "mostly"),
        (check("column_values_to_be_between", column="PRICE", max=2), "max"),
    ],
)
def test_an_expectation_that_cannot_be_is_an_error_and_never_left_out(
    expectation: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=f"expectation 2 .*{said}"):
        wb.validate(ROWS, suite_of(PRICE, expectation))


def test_no_rows_are_no_success(schema: tuple[sa.Engine, str]) -> None:
    whatever = check("column_mean_to_be_between", column="SHARE", max_value=1)
    exists = check("column_to_exist", column="PRICE")
    with schema[0].begin() as connection:
        copy(ROWS.clear().rename(str.lower), connection, schema[1], "empty")
    with wb.connect("demo") as db:
        for data in (ROWS.clear(), db.table(f"{schema[1]}.empty")):
            results = wb.validate(data, suite_of(PRICE, whatever, exists)).results
            assert [r.success for r in results] == [False, False, True]
            assert "no rows" in str(results[0].problem)
            # Where the suite says that there may be none, there is nothing to complain about.
            allowed = check("table_row_count_to_be_between", min_value=0)
            assert wb.validate(data, suite_of(PRICE, allowed)).success
            needed = check("table_row_count_to_be_between", min_value=1)
            assert not wb.validate(data, suite_of(exists, needed)).success


def test_sensitive_values_are_nowhere_to_be_seen() -> None:
    secret = ROWS.with_columns(NAME=pl.lit("Ada Lovelace"))
    suite = suite_of(
        check("column_values_to_be_in_set", column="name", value_set=["x"]),
        check("column_distinct_values_to_be_in_set", column="name", value_set=["x"]),
        check("column_max_to_be_between", column="name", max_value=3),
        check("column_most_common_value_to_be_in_set", column="name", value_set=["x"]),
        check("compound_columns_to_be_unique", column_list=["NAME", "GRADE"]),
        PRICE, sensitive=["Name"], key=["NAME", "ID"],
    )  # fmt: skip
    validation = wb.validate(secret, suite)
    assert [r.success for r in validation.results] == [False] * 6
    assert "Lovelace" not in repr(validation) + validation._repr_html_()
    assert "Lovelace" not in json.dumps(validation.to_dict(), default=str)
    assert "Lovelace" not in validation.offending.write_csv()
    assert validation.results[-1].sample[0]["ID"] == 17734072432755619


def test_a_notebook_that_asks_for_it_stops_at_a_critical_failure() -> None:
    with pytest.raises(ValidationFailed, match="1 of 1 expectations failed"):
        wb.validate(ROWS, suite_of(PRICE), on_failure="raise")
    warning = wb.validate(ROWS, suite_of({**PRICE, "severity": "warning"}), on_failure="raise")
    assert (warning.success, warning.severity) == (False, "warning")
    note = wb.validate(ROWS, suite_of({**PRICE, "severity": "info"}))
    assert (note.success, note.severity) == (True, "info")
    with pytest.raises(UsageError, match="'stop'"):
        wb.validate(ROWS, suite_of(PRICE), on_failure="stop")  # type: ignore[arg-type]


def test_names_may_hold_anything(schema: tuple[sa.Engine, str]) -> None:
    names = ['a"b', "it's", "100 %", ":bind", "<b>", "select", "Größe", "a.b"]
    rows = pl.DataFrame({name: [1, 2, 2, None] for name in names})
    suite = suite_of(
        *(check("column_values_to_be_unique", column=name) for name in names),
        *(check("column_values_to_be_between", column=name, max_value=1) for name in names),
        check("compound_columns_to_be_unique", column_list=names[:3]),
        key=names[3:5],
    )
    with schema[0].begin() as connection:
        copy(rows, connection, schema[1], 'an "odd" name')
    with wb.connect("demo") as db:
        for data in (rows, db.table(f'{schema[1]}."an ""odd"" name"')):
            validation = wb.validate(data, suite)
            assert [(r.unexpected, r.problem) for r in validation.results] == [(2, None)] * 17
            assert validation.offending.height == 34
            assert list(validation.results[0].sample[0]) == [":bind", "<b>", 'a"b']


def test_three_hundred_columns_are_read_in_few_statements(
    schema: tuple[sa.Engine, str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = pl.DataFrame({f"c{n}": [n, n + 1, None] for n in range(300)})
    with schema[0].begin() as connection:
        copy(rows, connection, schema[1], "wide")
    suite = suite_of(*(check("column_values_to_be_between", column=name, min_value=int(name[1:]))
                       for name in rows.columns))  # fmt: skip
    with wb.connect("demo") as db, caplog.at_level("DEBUG", "workbench.database"):
        table = db.table(f"{schema[1]}.wide")
        caplog.clear()
        assert wb.validate(table, suite).success
    texts = [record.getMessage() for record in caplog.records if record.levelname == "DEBUG"]
    assert 0 < len(texts) <= 5
    assert all(text.startswith("demo: SELECT") for text in texts)


def test_whoever_may_only_read_can_validate(
    schema: tuple[sa.Engine, str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, name = schema
    with engine.begin() as connection:
        connection.execute(sa.text(f"drop role if exists {name}_reader"))
        connection.execute(sa.text(f"create role {name}_reader login password 'only-reading'"))
        connection.execute(sa.text(f"grant usage on schema {name} to {name}_reader"))
        connection.execute(sa.text(f"grant select on {name}.rows to {name}_reader"))
        connection.execute(sa.text("revoke temporary on database postgres from public"))
    url = sa.make_url(embedded.connection_url()).set(username=None, password=None)
    try:
        monkeypatch.setenv("READER_USERNAME", f"{name}_reader")
        monkeypatch.setenv("READER_PASSWORD", "only-reading")
        config = f'[sources.reader]\nurl = "{url.render_as_string()}"\ncredentials = "env:READER"\n'
        (project / "workbench.toml").write_text(config)
        with wb.connect("reader") as db:
            pushed = wb.validate(db.table(f"{name}.rows"), suite_of(*EVERY_KIND))
        assert not [result.problem for result in pushed.results if result.problem]
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("grant temporary on database postgres to public"))
            connection.execute(sa.text(f"drop owned by {name}_reader"))
            connection.execute(sa.text(f"drop role {name}_reader"))


def test_a_source_that_is_lost_is_one_error_and_no_verdict(
    schema: tuple[sa.Engine, str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, name = schema
    # A secret that was refused is remembered: another one for each time this is run.
    secret = uuid4().hex
    with engine.begin() as connection:
        connection.execute(sa.text(f"drop role if exists {name}_lost"))
        connection.execute(sa.text(f"create role {name}_lost login superuser password '{secret}'"))
    monkeypatch.setenv("LOST_USERNAME", f"{name}_lost")
    monkeypatch.setenv("LOST_PASSWORD", secret)
    url = sa.make_url(embedded.connection_url()).set(username=None, password=None)
    config = f'[sources.lost]\nurl = "{url.render_as_string()}"\ncredentials = "env:LOST"\n'
    (project / "workbench.toml").write_text(config)
    killing = sa.text("select pg_terminate_backend(pid) from pg_stat_activity where usename = :u")
    try:
        with wb.connect("lost") as db:
            table = db.table(f"{name}.rows")

            def cut(*_rest: object) -> None:
                # From now on the server lets nobody of this name in, and ends those who are.
                with engine.begin() as connection:
                    connection.execute(sa.text(f"alter role {name}_lost nologin"))
                    connection.execute(killing, {"u": f"{name}_lost"})

            sa.event.listen(db.engine, "checkin", cut, once=True)
            with pytest.raises(ConnectionFailed):
                wb.validate(table, suite_of(*EVERY_KIND))
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"drop role {name}_lost"))


QUIET = """
import sys, warnings
seen = []
def watch(event, arguments):
    if event == "socket.connect" or event == "open" and isinstance(arguments[1], str) and (
        set(arguments[1]) & set("wax+") and "__pycache__" not in str(arguments[0])):
        seen.append((event, str(arguments[:2])))
sys.addaudithook(watch)
import polars as pl, workbench as wb
before = sys.modules.copy()
assert "great_expectations" not in before
rows = pl.DataFrame({"N": list(range(2000))})
suite = {"name": "s", "expectations": [
    {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "N"}},
    {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "N", "regex": "(?=x)"}},
    {"type": "expect_column_values_to_be_between", "kwargs": {
        "column": "N", "min_value": 5, "row_condition": 'col("N") > 3',
        "condition_parser": "great_expectations"}}]}
assert [r.success for r in wb.validate(rows, suite).results] == [True, False, False]
print(seen)
warnings.warn("still to be seen")
"""


def test_validating_sends_and_writes_nothing_and_says_nothing(tmp_path: Path) -> None:
    home = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], cwd=tmp_path, env=home, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    (said,) = done.stderr.splitlines()
    assert said.endswith("UserWarning: still to be seen")
    assert list(tmp_path.iterdir()) == []


def test_a_limit_may_be_the_moment_it_is_looked_at() -> None:
    now = dt.datetime.now()
    moments = [now - dt.timedelta(days=3), now + dt.timedelta(days=3), None]
    rows = pl.DataFrame({"AT": moments, "ON": [m and m.date() for m in moments]})
    limit = {"$PARAMETER": "now()"}
    suite = suite_of(
        check("column_values_to_be_between", column="AT", max_value=limit),
        check("column_values_to_be_between", column="ON", min_value="2000-01-01", max_value=limit),
        check("column_values_to_be_between", column="AT",
              max_value={"$PARAMETER": "now() - timedelta(days=4)"}),
    )  # fmt: skip
    validation = wb.validate(rows, suite)
    assert [(r.unexpected, r.checked, r.problem) for r in validation.results] == [
        (1, 2, None), (1, 2, None), (2, 2, None),
    ]  # fmt: skip
    assert validation.results[0].sentence == "AT: values are at most now()"


def test_a_condition_that_great_expectations_would_forget_is_no_success() -> None:
    kwargs = {"column_A": "LOW", "column_B": "HIGH", "value_pairs_set": [[1, 2]]}
    pairs = check("column_pair_values_to_be_in_set", **kwargs, row_condition=where("LOW", "==", 1))
    result = only(wb.validate(ROWS, suite_of(pairs)))
    assert not result.success
    assert "row_condition" in str(result.problem)


def everywhere(
    schema: tuple[sa.Engine, str], rows: pl.DataFrame, *expectations: dict[str, Any]
) -> list[tuple[bool, int | None]]:
    """What becomes of expectations, which must be the same on a frame and on a table of it."""
    name = f"t_{uuid4().hex}"
    with schema[0].begin() as connection:
        copy(rows, connection, schema[1], name)
    with wb.connect("demo") as db:
        said = [
            [(r.success, r.unexpected) for r in wb.validate(data, suite_of(*expectations)).results]
            for data in (rows, db.table(f"{schema[1]}.{name}"))
        ]
    assert said[0] == said[1]
    return said[0]


def test_a_set_is_what_it_says_whatever_its_first_value_is(
    schema: tuple[sa.Engine, str],
) -> None:
    rows = pl.DataFrame({"n": [0, 1], "f": [0.0, 1.0]})
    found = everywhere(
        schema, rows,
        *(check("column_values_to_be_in_set", column=name, value_set=values)
          for name in ("n", "f") for values in ([1, 0.4], [0.4, 1], [0, 1])),
        check("column_pair_values_to_be_in_set", column_A="n", column_B="f",
              value_pairs_set=[[1, 1], [0, 0.4]]),
    )  # fmt: skip
    assert found == [(False, 1), (False, 1), (True, 0)] * 2 + [(False, 1)]


def test_days_and_moments_of_a_set_are_written_as_iso_8601(
    schema: tuple[sa.Engine, str],
) -> None:
    rows = pl.DataFrame({"d": [dt.date(2026, 1, 31), dt.date(2026, 2, 1), None]})
    found = everywhere(
        schema, rows,
        check("column_values_to_be_in_set", column="d", value_set=["2026-01-31"]),
        check("column_values_to_not_be_in_set", column="d", value_set=["2026-03-01"]),
        check("column_distinct_values_to_equal_set", column="d",
              value_set=["2026-01-31", "2026-02-01"]),
        check("column_values_to_be_between", column="d", min_value="2026-02-01"),
    )  # fmt: skip
    assert found == [(False, 1), (True, 0), (True, None), (False, 1)]


def test_texts_are_no_numbers(schema: tuple[sa.Engine, str]) -> None:
    rows = pl.DataFrame({"t": ["05", "5"], "n": [5, 5]})
    found = everywhere(
        schema, rows,
        check("column_values_to_be_in_set", column="t", value_set=[5]),
        check("column_values_to_be_in_set", column="n", value_set=["5"]),
        check("column_values_to_be_in_set", column="n", value_set=[5]),
    )  # fmt: skip
    assert found == [(False, None), (False, None), (True, 0)]


def test_patterns_mean_the_same_everywhere(schema: tuple[sa.Engine, str]) -> None:
    rows = pl.DataFrame({"t": ["foo bar", "food", "a.b", "tab\there", "1-2"]})
    patterns = {
        r"\bfoo\b": 1,
        r"^foo": 2,
        r"\s": 2,
        r"\d-\d$": 1,
        r"o{2}": 2,
        r"\.": 1,
    }
    found = everywhere(
        schema, rows,
        *(check("column_values_to_match_regex", column="t", regex=each) for each in patterns),
    )  # fmt: skip
    assert found == [(False, 5 - matching) for matching in patterns.values()]


def test_conditions_go_with_every_kind_of_figure(schema: tuple[sa.Engine, str]) -> None:
    rows = pl.DataFrame({"g": ["a"] * 5 + ["b"], "n": [1, 2, 3, 3, None, 99]})
    of_a = {"column": "n", "row_condition": where("g", "==", "a")}
    ranges = {"quantiles": [0.5], "value_ranges": [[2, 3]]}
    found = everywhere(
        schema, rows,
        check("column_most_common_value_to_be_in_set", value_set=[3], **of_a),
        check("column_distinct_values_to_equal_set", value_set=[1, 2, 3], **of_a),
        check("column_median_to_be_between", max_value=3, **of_a),
        check("column_quantile_values_to_be_between", quantile_ranges=ranges, **of_a),
        check("column_max_to_be_between", max_value=3, **of_a),
        check("column_values_to_be_unique", **of_a),
        check("compound_columns_to_be_unique", column_list=["g", "n"],
              row_condition=where("g", "==", "a")),
        check("column_value_lengths_to_equal", column="g", value=1,
              row_condition=where("n", ">", 1)),
    )  # fmt: skip
    assert found == [(True, None)] * 5 + [(False, 2), (False, 2), (True, 0)]


def test_a_frame_with_zones_is_judged_in_utc_wherever_that_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    rows = pl.DataFrame({"at": [moment], "in": [moment]}).with_columns(
        pl.col("in").dt.convert_time_zone("Europe/Berlin")
    )
    limits = ["2024-01-01T00:00:00", "2024-01-01", "2024-01-01T01:00:00+01:00"]
    try:
        validation = wb.validate(rows, suite_of(
            *(check("column_values_to_be_between", column=name, min_value=limit, max_value=limit)
              for name in rows.columns for limit in limits),
            check("column_values_to_match_regex", column="at", regex="(?=x)"),
            check("column_values_to_be_null", column="in"),
        ))  # fmt: skip
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [r.success for r in validation.results] == [True] * 6 + [False] * 2
    assert validation.offending["at"].unique().to_list() == [dt.datetime(2024, 1, 1)]


def test_a_limit_that_would_be_rounded_is_refused() -> None:
    beyond = check("column_values_to_be_between", column="ID", max_value=17734072432755618)
    with pytest.raises(DataError, match="17734072432755618"):
        wb.validate(ROWS, suite_of(beyond))
    exact = check("column_values_to_be_in_set", column="ID", value_set=ROWS["ID"][:3].to_list())
    assert wb.validate(ROWS, suite_of(exact)).success


def test_a_column_that_no_frame_holds_hides_no_offending_rows(
    schema: tuple[sa.Engine, str],
) -> None:
    with schema[0].begin() as connection:
        connection.execute(sa.text(f"create table {schema[1]}.lists (id int, n int, l int[])"))
        connection.execute(sa.text(f"insert into {schema[1]}.lists values (7, 500, '{{1,2}}')"))
    with wb.connect("demo") as db:
        validation = wb.validate(
            db.table(f"{schema[1]}.lists"),
            suite_of(check("column_values_to_be_between", column="n", max_value=5), key=["id"]),
        )
    assert [dict(row) for row in only(validation).sample] == [{"id": 7, "n": 500}]


def test_columns_named_as_ours_are_shown_beside_ours() -> None:
    rows = pl.DataFrame({"promise": [1, 9], "expectation": [2, 2], "breaks_the_promise": [0, 0]})
    few = check("column_values_to_be_between", column="promise", max_value=5)
    shown = wb.validate(rows, suite_of(few)).offending
    assert shown.select(pl.exclude("promise")).rows() == [(1, 9, 2, 0)]


def test_queries_give_no_sensitive_value_away(schema: tuple[sa.Engine, str]) -> None:
    rows = pl.DataFrame({"ssn": ["secret1"], "n": [1]})
    with schema[0].begin() as connection:
        copy(rows, connection, schema[1], "secrets")

    def query(text: str) -> dict[str, Any]:
        return {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": text}}

    suite = suite_of(
        query("select ssn as who from {batch}"),
        query("select cast(ssn as int) from {batch}"),
        query("select 1 as who"),
        check("column_values_to_be_between", column="n", max_value=0,
              row_condition='cast(ssn as int) == 1', condition_parser="pandas"),
        sensitive=["SSN"],
    )  # fmt: skip
    with wb.connect("demo") as db:
        for data in (rows, db.table(f"{schema[1]}.secrets")):
            validation = wb.validate(data, suite)
            told = repr(validation) + validation._repr_html_() + json.dumps(validation.to_dict())
            assert not validation.success
            assert "secret1" not in told + validation.offending.write_csv()
    shown = wb.validate(rows, suite_of(query("select ssn as who from {batch}")))
    assert only(shown).sample == [{"who": "secret1"}]
    with pytest.raises(UsageError, match="'x' holds values of several types") as refused:
        wb.validate(pandas.DataFrame({"x": [1, "secret1"]}), suite_of(PRICE))
    assert "secret1" not in str(refused.value)
    with pytest.raises(UsageError, match="no columns"):
        wb.validate(pl.DataFrame(), suite_of(PRICE))


def test_what_neither_duckdb_nor_pandas_can_say_is_told_by_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    query = "select nowhere from here"
    asked = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": query}}
    result = only(wb.validate(ROWS, suite_of(asked)))
    assert "here" in str(result.problem)
    assert "_Frames" not in str(result.problem)
    assert capsys.readouterr().out == ""
