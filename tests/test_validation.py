"""What validate() promises: Great Expectations' verdicts, inside a database and over frames."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from network import FaultyNetwork
from standin import Oracle

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
        ("column_unique_value_count_to_be_between", {"column": "NAME", "min_value": 3, "max_value": 3}),
        ("column_proportion_of_unique_values_to_be_between", {"column": "NAME", "max_value": 0.7}),
        ("column_distinct_values_to_be_in_set", {"column": "NAME", "value_set": ["ann", "bob"]}),
        ("column_distinct_values_to_contain_set", {"column": "GRADE", "value_set": [1, 2]}),
        ("column_distinct_values_to_equal_set", {"column": "GRADE", "value_set": [1, 2, 3]}),
        ("column_pair_values_a_to_be_greater_than_b", {"column_A": "HIGH", "column_B": "LOW", "or_equal": True, "ignore_row_if": "either_value_is_missing"}),
        ("column_pair_values_to_be_equal", {"column_A": "HIGH", "column_B": "LOW", "ignore_row_if": "either_value_is_missing"}),
        ("compound_columns_to_be_unique", {"column_list": ["NAME", "GRADE"]}),
        ("select_column_values_to_be_unique_within_record", {"column_list": ["LOW", "HIGH"]}),
        ("table_row_count_to_equal", {"value": 5}),
        ("table_row_count_to_be_between", {"min_value": 6}),
        ("table_column_count_to_equal", {"value": 8}),
        ("table_columns_to_match_set", {"column_set": list(ROWS.columns)}),
        ("column_to_exist", {"column": "NAME"}),
        ("column_to_exist", {"column": "NOWHERE"}),
        ("column_values_to_be_between", {"column": "LOW", "max_value": 2, "row_condition": {
            "type": "comparison", "column": {"name": "NAME"}, "operator": "==", "parameter": "ann"}}),
        ("column_values_to_be_unique", {"column": "NAME", "row_condition": {
            "type": "comparison", "column": {"name": "GRADE"}, "operator": ">", "parameter": 1}}),
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
    import workbench.expectations  # noqa: F401  quiet
    import great_expectations as gx

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
    return [
        (e["type"], bool(found[n].success), found[n].result.get("unexpected_count"))
        for n, e in enumerate(expectations)
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_frame_gets_the_verdicts_of_plain_great_expectations() -> None:
    ours = counted(wb.validate(ROWS, suite_of(*EVERY_KIND)).results)
    assert ours == plain_great_expectations(ROWS, EVERY_KIND)


@pytest.fixture(scope="module")
def schema(worker_id: str) -> Iterator[tuple[sa.Engine, str]]:
    """A schema of the embedded PostgreSQL with the table `rows`, and an engine that may write."""
    engine = sa.create_engine(embedded.connection_url())
    name = f"validation_{worker_id}"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
        connection.execute(sa.schema.CreateSchema(name))
        copy(ROWS.rename(str.lower), connection, name, "rows")
    yield engine, name
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
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
    assert pushed.offending.drop("expectation", "promise").rows() == [
        row for row in frame.offending.drop("expectation", "promise").rows()
    ]


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
