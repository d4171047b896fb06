"""Drafted suites, against naive counts over the same rows, and Great Expectations itself."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from standin import Oracle

import workbench as wb
from workbench import embedded, shapes
from workbench.database import Database, connect
from workbench.errors import DataError, UsageError, WorkbenchError
from workbench.profiling.model import Column, Figure, Key, SchemaProfile, Table
from workbench.profiling.survey import profile_schema
from workbench.suggestions import Draft, merged, suggest

TABLES = ("colors", "securities", "coverage", "dealers")
UNIQUE = ("expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique")
DAY = "2026-01-09T12:00:00"


# -- A naive reader of the expectations that are drafted ------------------------------------------


def has_check_digit(cusip: str) -> bool:
    """Count as the standard says, with a table of what each character is worth."""
    worth = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
    if len(cusip) != 9 or any(each not in worth for each in cusip):
        return False
    total = 0
    for place, each in enumerate(cusip[:8], 1):
        value = worth.index(each) * (2 if place % 2 == 0 else 1)
        total += sum(int(digit) for digit in str(value))
    return cusip[8] == str((10 - total % 10) % 10)


def value_of(column: pl.Series, limit: Any) -> Any:
    if limit is None or not column.dtype.is_temporal():
        return limit
    day = dt.datetime.fromisoformat(limit)
    return day.date() if column.dtype == pl.Date else day


def share_kept(entry: dict[str, Any], frame: pl.DataFrame) -> float:
    """Return the share of rows that keep an expectation, those without a value aside."""
    kind, kwargs = entry["type"], entry["kwargs"]
    if kind == "expect_table_columns_to_match_set":
        return float(set(kwargs["column_set"]) <= set(frame.columns))
    if kind == "expect_table_row_count_to_be_between":
        return float(frame.height >= kwargs["min_value"])
    if kind == "expect_compound_columns_to_be_unique":
        there = frame.select(kwargs["column_list"]).drop_nulls()
        return float(there.n_unique() == there.height) if there.height else 1
    column = frame.get_column(kwargs["column"])
    if kind == "expect_column_values_to_not_be_null":
        return 1 - column.null_count() / len(column)
    values = column.drop_nulls()
    if values.is_empty():
        return 1
    if kind == "expect_column_values_to_be_unique":
        return float(values.n_unique() == len(values))
    if kind == "expect_column_values_to_be_between":
        low, high = (value_of(values, kwargs.get(name)) for name in ("min_value", "max_value"))
        if values.dtype.is_temporal() and values.dtype != pl.Date:
            values = values.dt.replace_time_zone(None)
        kept = [
            (low is None or value >= low) and (high is None or value <= high)
            for value in values.to_list()
        ]
    elif kind == "expect_column_value_lengths_to_be_between":
        kept = [kwargs["min_value"] <= len(v) <= kwargs["max_value"] for v in values.to_list()]
    elif kind == "expect_column_values_to_be_in_set":
        kept = [value in kwargs["value_set"] for value in values.to_list()]
    elif kind == "expect_column_values_to_match_regex":
        kept = [bool(re.search(kwargs["regex"], value)) for value in values.to_list()]
    else:
        assert kind == "expect_column_values_to_be_valid_cusips"
        kept = [has_check_digit(value) for value in values.to_list()]
    return sum(kept) / len(kept)


def broken(draft: Draft, frame: pl.DataFrame, *, unique: bool = True) -> list[Any]:
    return [
        (entry["type"], entry["kwargs"])
        for entry in draft.suite["expectations"]
        if (unique or entry["type"] not in UNIQUE)
        and share_kept(entry, frame) < entry["kwargs"].get("mostly", 1)
    ]


def about(draft: Draft, column: str) -> dict[str, dict[str, Any]]:
    """Return the arguments of each expectation of a column, by type."""
    return {
        entry["type"]: {k: v for k, v in entry["kwargs"].items() if k != "column"}
        for entry in draft.suite["expectations"]
        if entry["kwargs"].get("column") == column
    }


def of(draft: Draft, state: str) -> list[dict[str, Any]]:
    pairs = zip(draft.suite["expectations"], draft.states, strict=True)
    return [entry for entry, its in pairs if its == state]


# -- Drafts of the demo's tables ------------------------------------------------------------------


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


@pytest.fixture(scope="module")
def made(db: Database, schema: str) -> Iterator[Callable[..., sa.Table]]:
    """Create a table with rows, and reflect it."""
    engine = sa.create_engine(embedded.connection_url())

    def make(*columns: Any, rows: list[dict[str, Any]], name: str | None = None) -> sa.Table:
        table = sa.Table(name or f"t{uuid.uuid4().hex[:8]}", sa.MetaData(), *columns, schema=schema)
        with engine.begin() as connection:
            table.create(connection)
            if rows:
                connection.execute(table.insert(), rows)
        quoted = table.name.replace('"', '""')
        return db.table(f'{schema}."{quoted}"')

    yield make
    engine.dispose()


@pytest.fixture(scope="module")
def frames(db: Database) -> dict[str, pl.DataFrame]:
    return {name: db.read(sa.select(db.table(f"marketpulse.{name}"))) for name in TABLES}


@pytest.fixture(scope="module")
def drafts(db: Database, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Draft]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("drafts"))
        return {name: suggest(db.table(f"marketpulse.{name}")) for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_a_draft_holds_for_its_data_and_for_rows_drawn_from_them(
    name: str, drafts: dict[str, Draft], frames: dict[str, pl.DataFrame]
) -> None:
    draft, frame = drafts[name], frames[name]
    assert not broken(draft, frame)
    for seed in range(20):
        assert not broken(draft, frame.sample(min(500, frame.height), seed=seed))
        drawn = frame.sample(min(500, frame.height), with_replacement=True, seed=seed)
        assert not broken(draft, drawn, unique=False)


def test_what_is_drafted_for_colors_is_what_a_reader_expects(drafts: dict[str, Draft]) -> None:
    colors, securities = drafts["colors"], drafts["securities"]
    assert set(about(colors, "color_id")) == {
        "expect_column_values_to_be_unique", "expect_column_values_to_not_be_null",
    }  # fmt: skip
    assert about(colors, "rank")["expect_column_values_to_be_in_set"] == {
        "value_set": [1, 2, 3, 4, 5, 6]
    }
    assert about(securities, "cusip")["expect_column_values_to_match_regex"] == {
        "regex": "^[0-9A-Z]{9}$"
    }
    assert about(securities, "cusip")["expect_column_values_to_be_valid_cusips"] == {}
    # Another table grows, and so does what points to it.
    assert "expect_column_values_to_be_in_set" not in about(colors, "source")
    assert about(colors, "date")["expect_column_values_to_be_between"] == {
        "min_value": "2025-01-01"
    }
    assert colors.suite["meta"]["key"] == ["color_id"]
    critical = {e["kwargs"]["column"] for e in of(colors, "added") if e["severity"] == "critical"}
    assert critical == {"color_id"}
    keys = [e["kwargs"] for e in of(drafts["coverage"], "added") if e["type"] in UNIQUE]
    assert keys == [{"column_list": ["cusip", "as_of"]}]


def test_each_expectation_tells_its_evidence(
    drafts: dict[str, Draft], frames: dict[str, pl.DataFrame]
) -> None:
    entries = [e for e in of(drafts["colors"], "added") if e["kwargs"].get("column") == "cusip"]
    told = {e["type"]: e["meta"]["evidence"] for e in entries}
    cusips = frames["colors"]["cusip"]
    bad = sum(not has_check_digit(text) for text in cusips.drop_nulls())
    start = told["expect_column_values_to_be_valid_cusips"].split(" values")[0]
    assert start == f"{bad:,} of {cusips.drop_nulls().len():,}"
    day = rf"{cusips.null_count():,} of 20,000 rows are null \(exact, \d{{4}}-\d\d-\d\d\)"
    assert re.fullmatch(day, told["expect_column_values_to_not_be_null"])
    assert all(e["meta"]["sentence"] and e["meta"]["owner"] == "to be named" for e in entries)
    assert all(told in repr(drafts["colors"]) for told in told.values())


def test_time_alone_breaks_nothing(
    drafts: dict[str, Draft], frames: dict[str, pl.DataFrame]
) -> None:
    later = frames["colors"].with_columns(
        pl.col("date", "date_1").dt.offset_by("40y"), pl.col("color_id", "message_id") * 50
    )
    assert not broken(drafts["colors"], later)


def test_a_damaged_feed_breaks_the_draft(
    drafts: dict[str, Draft], frames: dict[str, pl.DataFrame]
) -> None:
    damaged = {
        "px": pl.col("px") * 100, "sector": pl.lit("No such sector"), "color_id": pl.lit(1),
        "cusip": pl.col("cusip").str.head(8) + "0", "ticker": pl.lit(None, pl.String),
        "date": pl.lit(dt.date(1970, 1, 1)), "source": pl.lit(""),
    }  # fmt: skip
    for name, expression in damaged.items():
        frame = frames["colors"].head(1000).with_columns(expression.alias(name))
        assert {kwargs["column"] for _, kwargs in broken(drafts["colors"], frame)} == {name}


def test_a_draft_is_the_same_each_time(db: Database, project: Path) -> None:
    profile = profile_schema(db, "marketpulse", ["securities"], depth=2)
    texts = {suggest(p).to_json() for p in (profile, SchemaProfile.from_json(profile.to_json()))}
    assert len(texts) == 1
    assert suggest(profile.table("securities")).to_json() in texts


def test_a_profile_alone_promises_no_form_and_says_so(db: Database, project: Path) -> None:
    draft = suggest(profile_schema(db, "marketpulse", ["securities"], depth=2))
    assert "expect_column_values_to_match_regex" not in about(draft, "cusip")
    assert [why for why in draft.left_out if why.startswith("cusip: its form")]


def test_a_draft_from_a_sample_holds_for_the_whole_table(
    db: Database, project: Path, frames: dict[str, pl.DataFrame]
) -> None:
    # Few rows were read, so some of what is rare was not among them.
    profile = profile_schema(db, "marketpulse", ["colors"], depth=2, sample_percent=20)
    draft = suggest(profile)
    assert "sampled" in repr(draft)
    assert not broken(draft, frames["colors"])
    for seed in range(20):
        assert not broken(draft, frames["colors"].sample(500, seed=seed))
    assert 0.5 < about(draft, "ticker")["expect_column_values_to_not_be_null"]["mostly"] < 1
    assert about(draft, "date")["expect_column_values_to_not_be_null"] == {}  # declared


def test_a_profile_of_the_dictionary_promises_what_is_declared(db: Database, project: Path) -> None:
    draft = suggest(profile_schema(db, "marketpulse", ["coverage"], depth=0))
    assert {entry["type"] for entry in of(draft, "added")} == {
        "expect_table_columns_to_match_set", "expect_column_values_to_not_be_null",
        "expect_compound_columns_to_be_unique",
    }  # fmt: skip


# -- Great Expectations itself --------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_validate_finds_every_expectation_kept_in_the_database_and_in_a_frame(
    name: str, drafts: dict[str, Draft], frames: dict[str, pl.DataFrame], db: Database
) -> None:
    frame = frames[name].sample(min(500, frames[name].height), seed=7)
    for data in (db.table(f"marketpulse.{name}"), frame):
        found = wb.validate(data, drafts[name].suite)
        assert len(found.results) == len(drafts[name].suite["expectations"])
        assert not found.failed


@pytest.mark.filterwarnings("ignore")  # it warns of itself
def test_plain_great_expectations_loads_a_draft_and_finds_it_kept(drafts: dict[str, Draft]) -> None:
    from workbench.expectations import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    url = embedded.connection_url().render_as_string(False)
    source = context.data_sources.add_sql("plain", connection_string=url, create_temp_table=False)
    try:
        for name, draft in drafts.items():
            content = json.loads(draft.to_json())
            asset = source.add_table_asset(name, table_name=name, schema_name="marketpulse")
            batch = asset.add_batch_definition_whole_table("whole").get_batch()
            said = batch.validate(gx.ExpectationSuite(**content))
            assert len(said.results) == len(content["expectations"])
            assert [r.expectation_config.type for r in said.results if not r.success] == []
    finally:
        source.get_execution_engine().close()
        source.get_engine().dispose()


def test_a_suite_that_great_expectations_has_saved_is_still_untouched(
    drafts: dict[str, Draft],
) -> None:
    from workbench.expectations import great_expectations as gx

    draft = drafts["colors"]
    saved = gx.ExpectationSuite(**json.loads(draft.to_json())).to_json_dict()
    fresh = [json.loads(json.dumps(entry)) for entry in draft.suite["expectations"]]
    for entry in fresh:
        entry["meta"]["evidence"] = "other figures"
    _, states, _ = merged(json.loads(json.dumps(saved)), fresh)
    assert set(states) == {"updated"}


KINDS: dict[str, Callable[[random.Random], Any]] = {
    "code": lambda r: "".join(r.choice("ABCxyzäÉ٣1239") for _ in range(5)),
    "shaped": lambda r: f"{r.choice('ABC')}{r.randrange(10)}-{r.randrange(100):02d}%",
    "word": lambda r: r.choice(["", " ", "a'b", 'say "x"', "<b>", "ünï", "50 %", ":x"]),
    "rare": lambda r: "usual" if r.random() < 0.98 else "unusual",
    "padded": lambda r: r.choice(["a", "ab", "abc"]),
    "whole": lambda r: r.choice([0, 1, -5, 2**53 + 1, 10**17, -(10**18)]),
    "few": lambda r: r.randrange(4),
    "amount": lambda r: Decimal(r.randrange(-(10**6), 10**12)).scaleb(-4),
    "tiny": lambda r: r.choice([1e-300, 5e-324, 0.1, 1e308, -1e-9]),
    "ratio": lambda r: r.choice([math.nan, math.inf, 1.5, -2.5, 0.25]) if r.random() < 0.1 else 1.0,
    "day": lambda r: dt.date(1, 1, 1) + dt.timedelta(r.randrange(3_000_000)),
    "moment": lambda r: dt.datetime.fromtimestamp(1.6e9 + r.randrange(10**8), dt.UTC),
    "yes": lambda r: r.random() < 0.5,
    "uid": lambda r: uuid.UUID(int=r.getrandbits(128)),
    "mood": lambda r: r.choice(["fine", "bad"]),
    "prose": lambda r: "".join(chr(r.choice([65, 0x1F600, 0x301, 10, 97])) for _ in range(30)),
}  # fmt: skip
TYPES = {
    "code": sa.String(20), "shaped": sa.Text(), "word": sa.Text(), "rare": sa.Text(),
    "padded": sa.CHAR(4), "whole": sa.BigInteger(), "few": sa.SmallInteger(),
    "amount": sa.Numeric(20, 4), "tiny": sa.Double(), "ratio": sa.Double(), "day": sa.Date(),
    "moment": sa.DateTime(timezone=True), "yes": sa.Boolean(), "uid": sa.Uuid(),
    "prose": sa.Text(),
}  # fmt: skip


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.sampled_from([1, 3, 30, 700]))
def test_whatever_is_in_a_table_its_draft_holds(
    made: Callable[..., sa.Table], db: Database, schema: str, seed: int, rows: int
) -> None:
    chance = random.Random(seed)
    nulls = {name: chance.choice([0, 0, 0.01, 0.3, 1]) for name in KINDS}
    types = {**TYPES, "mood": postgresql.ENUM("fine", "bad", name=f"m{uuid.uuid4().hex[:6]}")}
    types["mood"].schema = schema
    table = made(
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, types[name]) for name in KINDS),
        rows=[
            {name: None if chance.random() < nulls[name] else KINDS[name](chance) for name in KINDS}
            for _ in range(rows)
        ],
    )
    draft = suggest(table, "anything")
    frame = db.read(sa.select(table))
    for data in (table, frame):
        found = wb.validate(data, draft.suite)
        assert [(r.sentence, r.problem, r.observed) for r in found.failed] == []
    for _ in range(5):
        drawn = frame.sample(min(rows, 500), seed=chance.randrange(10**6))
        assert not broken(draft, drawn.with_columns(pl.col("padded").str.strip_chars_end()))


@pytest.mark.oracle
def test_forms_are_tried_in_oracle_as_in_postgresql(
    oracle_source: Callable[..., str], oracle: Oracle, db: Database, schema: str,
    made: Callable[..., sa.Table],
) -> None:  # fmt: skip
    columns = [
        ("isin", sa.String(12)), ("cusip", sa.String(9)), ("low", sa.Text), ("n", sa.String(9)),
    ]  # fmt: skip
    rows = [
        {"isin": f"US{n:010d}", "cusip": ("037833100", "38259P508", "38259P509", None)[n % 4],
         "low": f"ab-{n % 10}" if n else "Ab-1", "n": ("12", "1.5", "-300")[n % 3]}
        for n in range(400)
    ]  # fmt: skip
    name = f"made_{uuid.uuid4().hex[:8]}"
    there = made(*(sa.Column(*each) for each in columns), rows=rows, name=name)
    (profiled,) = profile_schema(db, schema, [there.name], depth=2).tables
    expected = shapes.tried(db, schema, profiled)
    table = sa.Table(name, sa.MetaData(), *(sa.Column(n, sa.String(20)) for n, _ in columns))
    with connect(oracle_source("read_only = false")) as source:
        with source.engine.begin() as connection:
            table.create(connection)
            connection.execute(table.insert(), rows)
        try:
            assert shapes.tried(source, oracle.username.lower(), profiled) == expected
        finally:
            with source.engine.begin() as connection:
                table.drop(connection)
    found = {
        name: [(t.regex, t.misfits.value) for t in trials] for name, trials in expected.items()
    }
    assert found == {
        "isin": [("^[0-9A-Z]{12}$", 0)], "low": [("^[0-9a-z]{2}-[0-9a-z]$", 1)],
        "cusip": [("^[0-9A-Z]{9}$", 0)],  # too many lack their check digit
    }  # fmt: skip


# -- How far a promise goes -----------------------------------------------------------------------


def tail(rows: int, share: float, most: float) -> float:
    """Give the probability that more than `most` of so many rows have what a share of all has."""
    logs = (
        math.lgamma(rows + 1) - math.lgamma(k + 1) - math.lgamma(rows - k + 1)
        + k * math.log(share) + (rows - k) * math.log(1 - share)
        for k in range(math.floor(most + 1e-9) + 1, rows + 1)
    )  # fmt: skip
    return sum(math.exp(each) for each in logs)


def described(rows: int, how: str = "exact", **figures: Any) -> Table:
    """Describe a table with one column."""
    heap = Figure(rows * 80, "dictionary", DAY)
    told = {name: Figure(value, how, DAY) for name, value in figures.items()}
    column = Column("amount", "integer", "integer", **told)
    return Table("made", rows=Figure(rows, how, DAY), heap=heap, columns=(column,))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**6), st.floats(0.00001, 0.9))
def test_a_fresh_sample_of_500_rows_keeps_its_share_but_one_in_a_million_times(
    rows: int, share: float
) -> None:
    nulls = max(round(rows * share), 1)
    found = about(suggest(described(rows, nulls=nulls)), "amount")
    least = min(rows, 500)
    if mostly := found.get("expect_column_values_to_not_be_null", {}).get("mostly"):
        assert tail(least, min(nulls / rows, 1 - 1e-12), (1 - mostly) * least) <= 1e-6
        # And not a promise of nothing: a third as much would be broken now and then.
        assert mostly <= 1 - nulls / rows
    else:
        assert nulls / rows > 0.25 or rows < 60


def test_what_a_sample_has_not_seen_may_be_there(project: Path) -> None:
    table = described(10_000_000, "sampled 1 %", nulls=0, distinct=9, min=5, max=9)
    (mostly,) = about(suggest(table), "amount")["expect_column_values_to_not_be_null"].values()
    blocks = 10_000_000 * 80 / 8192 / 100
    assert 0.9 < mostly < 1
    # The largest share of nulls that could have stayed unseen, one time in a million.
    unseen = 1 - 1e-6 ** (1 / blocks)
    assert tail(500, unseen, (1 - mostly) * 500) <= 1e-6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_a_range_is_widened_by_a_tenth_and_stays_on_its_side_of_zero(ends: list[Decimal]) -> None:
    least, most = sorted(ends)
    figures = {"min": Figure(f"{least:f}", "exact", DAY), "max": Figure(f"{most:f}", "exact", DAY)}
    table = described(50, nulls=0, distinct=50)
    column = replace(table.columns[0], type="numeric", kind="decimal", **figures)
    draft = suggest(replace(table, columns=(column,)))
    limits = about(draft, "amount").get("expect_column_values_to_be_between")
    if limits is None:
        assert max(abs(least), abs(most)) > Decimal("1e250") or most - least < Decimal("1e-250")
        return
    low, high = Decimal(limits["min_value"]), Decimal(limits["max_value"])
    assert low <= least <= most <= high
    assert (low >= 0) == (least >= 0) or low == 0
    span = most - least or abs(most) or 1
    assert high - low <= 2 * span + abs(most - least)


# -- What a person does with it -------------------------------------------------------------------

COLUMNS = ("a", "B", "c d")
PROMISED = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_between")


def entries_of(figures: dict[tuple[str, str], int]) -> list[dict[str, Any]]:
    return [
        {"type": kind, "kwargs": {"column": name, "min_value": n}, "severity": "warning",
         "meta": {"sentence": f"{name} {n}", "owner": "to be named", "suggested": True,
                  "evidence": f"{n} rows"}}
        for (kind, name), n in figures.items()
    ]  # fmt: skip


PROFILES = st.dictionaries(
    st.tuples(st.sampled_from(PROMISED), st.sampled_from(COLUMNS)), st.integers(0, 3)
)
ACTS = st.sampled_from(("edit", "own", "delete", "add", "suggest"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ACTS, PROFILES, st.integers(0, 10)), max_size=8))
def test_merging_keeps_what_people_did(acts: list[tuple[str, Any, int]]) -> None:
    suite: dict[str, Any] = {"name": "x", "expectations": [], "extra": {"kept": [1.5, None]}}
    hand: list[str] = []  # as JSON, in their order
    gone: set[tuple[str, str]] = set()
    for act, figures, place in acts:
        entries = suite["expectations"]
        chosen = entries[place % len(entries)] if entries else None
        if act == "suggest":
            drafted = entries_of(figures)
            suite, _, _ = merged(suite, drafted)
            again, later, _ = merged(suite, drafted)
            assert again == suite
            assert set(later) <= {"kept"}
            now = {(e["type"], e["kwargs"]["column"].lower()): e for e in suite["expectations"]}
            assert not gone & now.keys()
            for (kind, name), n in figures.items():
                if (entry := now.get((kind, name.lower()))) and "hand" not in entry:
                    assert entry["kwargs"]["min_value"] == n
        elif act == "add":
            kind, name = PROMISED[place % 2], COLUMNS[place % 3]
            mine = {"type": kind, "kwargs": {"column": name.swapcase()}, "hand": len(hand)}
            if not any(e["type"] == kind and e["kwargs"]["column"].lower() == name.lower()
                       for e in entries):  # fmt: skip
                entries.append(mine)
                hand.append(json.dumps(mine))
                gone.discard((kind, name.lower()))
        elif chosen is not None and act == "delete":
            entries.remove(chosen)
            if chosen.get("meta", {}).get("suggested"):
                gone.add((chosen["type"], chosen["kwargs"]["column"].lower()))
            hand = [text for text in hand if json.loads(text) != chosen]
        elif chosen is not None and act == "edit" and "hand" not in chosen:
            chosen["kwargs"]["mostly"] = 0.123
            chosen["hand"] = True
        elif chosen is not None and act == "own" and "hand" not in chosen:
            chosen["meta"]["owner"] = "Market data"
            chosen["meta"]["ticket"] = 7
    kept = [json.dumps(e) for e in suite["expectations"] if "meta" not in e]
    assert kept == hand
    assert all(e["kwargs"]["mostly"] == 0.123 for e in suite["expectations"]
               if e.get("hand") is True)  # fmt: skip
    owned = [e["meta"] for e in suite["expectations"] if e.get("meta", {}).get("ticket")]
    assert all(meta["owner"] == "Market data" for meta in owned)
    assert suite["extra"] == {"kept": [1.5, None]}


def test_a_written_suite_is_read_again_and_merged(project: Path) -> None:
    first = suggest(described(1000, nulls=0))
    path = first.write()
    assert path == project / "expectations" / "made.json"
    assert of(wb.suggest(described(1000, nulls=0)), "kept") == of(first, "added")
    text = path.read_text()
    content = json.loads(text)
    content["expectations"] = [e for e in content["expectations"] if "null" not in e["type"]]
    path.write_text(json.dumps(content))
    again = suggest(described(1000, nulls=30))
    assert not of(again, "added")
    assert [why for why in again.left_out if "taken out" in why]
    with pytest.raises(WorkbenchError, match="changed after"):
        first.write()
    assert json.loads(path.read_text()) == content
    path.write_text('{"name": "made", "expectations": [], "meta": {}}')
    assert of(suggest(described(1000, nulls=0)), "added")


def test_a_suggestion_that_was_narrowed_to_some_rows_was_not_taken_out(project: Path) -> None:
    first = suggest(described(1000, nulls=0))
    content = json.loads(first.to_json())
    content["expectations"][-1]["kwargs"]["row_condition"] = 'col("amount") > 5'
    path = first.write()
    path.write_text(json.dumps(content))
    again = suggest(described(1000, nulls=0))
    assert again.suite["expectations"] == content["expectations"]
    assert not [why for why in again.left_out if "taken out" in why]


def test_a_suite_that_cannot_be_merged_is_refused(project: Path) -> None:
    folder = project / "expectations"
    folder.mkdir()
    (folder / "made.json").write_text('{"name": "made",\n "expectations": [}')
    with pytest.raises(DataError, match="line 2"):
        suggest(described(10, nulls=0))
    old = {"expectation_type": "expect_column_to_exist", "kwargs": {"column": "a"}}
    (folder / "made.json").write_text(
        json.dumps({"expectation_suite_name": "made", "expectations": [old], "meta": {}})
    )
    with pytest.raises(UsageError, match=r"0\.x"):
        suggest(described(10, nulls=0))


def test_what_is_no_table_or_several_is_refused(project: Path) -> None:
    one = described(10, nulls=0)
    both = SchemaProfile("demo", "s", DAY, "PostgreSQL 18", 2, (one, replace(one, name="other")))
    with pytest.raises(UsageError, match="2 tables") as refused:
        suggest(both)
    assert "made, other" in str(refused.value)
    with pytest.raises(UsageError, match="not DataFrame"):
        suggest(pl.DataFrame())
    with pytest.raises(UsageError, match="which source"):
        suggest(sa.Table("loose", sa.MetaData()))
    with pytest.raises(DataError, match="Not measured: it is locked"):
        suggest(replace(one, problem="Not measured: it is locked."))
    for name in ("../made", "", ".hidden", "a/b", "x" * 200, "made.json"):
        with pytest.raises(UsageError, match="cannot be named"):
            suggest(one, name)


def test_personal_data_stay_out_of_the_suite(made: Callable[..., sa.Table], project: Path) -> None:
    rows = [
        {"contact": f"{n % 3}person@example.org", "first_name": ("Ann", "Bo")[n % 2],
         "card": 4111111111111111, "team": "red"}
        for n in range(60)
    ]  # fmt: skip
    columns = ("contact", sa.Text()), ("first_name", sa.Text()), ("card", sa.BigInteger())
    draft = suggest(
        made(*(sa.Column(*c) for c in (*columns, ("team", sa.Text()))), rows=rows), "people"
    )
    text = draft.to_json()
    assert not [word for word in ("example", "Ann", "4111", "452252") if word in text]
    assert draft.suite["meta"]["sensitive"] == ["contact", "first_name", "card"]
    assert about(draft, "team")["expect_column_values_to_be_in_set"] == {"value_set": ["red"]}


def test_no_rows_promise_columns_alone(made: Callable[..., sa.Table], project: Path) -> None:
    table = made(sa.Column("a", sa.Integer), sa.Column("b", sa.Text), rows=[])
    draft = suggest(table, "empty")
    (only,) = of(draft, "added")
    assert only["kwargs"] == {"column_set": ["a", "b"], "exact_match": False}
    assert "no rows" in only["meta"]["evidence"]
    assert not wb.validate(table, draft.suite).failed


def test_texts_too_long_for_a_regular_expression_are_promised_their_length(
    made: Callable[..., sa.Table], project: Path
) -> None:
    rows = [{"digest": f"{n:0300d}"} for n in range(30)]
    draft = suggest(made(sa.Column("digest", sa.Text), rows=rows), "long")
    assert not broken(draft, pl.DataFrame(rows))
    assert "expect_column_value_lengths_to_be_between" in about(draft, "digest")


def test_names_are_never_trusted(
    made: Callable[..., sa.Table], db: Database, project: Path
) -> None:
    names = ["a%b", "A%B", "x:y", 'q"u', "<b>&", "select", "é l", "$x", "a.b", "it's", "{c}"]
    rows = [dict.fromkeys(names, f"X{n % 10}<i>") for n in range(40)]
    table = made(*(sa.Column(name, sa.Text) for name in names), rows=rows, name='o"dd/<t>')
    with pytest.raises(UsageError, match="cannot be named"):
        suggest(table)
    draft = suggest(table, "odd names")
    html = draft._repr_html_()
    assert "<b>" not in html.replace("<b>Note", "")
    assert "<i>" not in html
    assert {e["kwargs"].get("column") for e in of(draft, "added")} == {None, *names}
    draft.write()
    assert not of(suggest(table, "odd names"), "updated")
    found = wb.validate(table, "odd names")
    assert [(r.sentence, r.problem) for r in found.failed] == []


def test_a_view_and_a_wide_table_are_drafted(
    made: Callable[..., sa.Table], db: Database, schema: str, project: Path
) -> None:
    wide = [{f"c{n}": row * n for n in range(300)} for row in range(30)]
    draft = suggest(made(*(sa.Column(f"c{n}", sa.Integer) for n in range(300)), rows=wide), "wide")
    assert not broken(draft, pl.DataFrame(wide))
    assert len({e["kwargs"].get("column") for e in of(draft, "added")}) == 301
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE VIEW {schema}.seen AS SELECT code, region FROM marketpulse.dealers"
        )
    engine.dispose()
    draft = suggest(db.table(f"{schema}.seen"))
    assert about(draft, "region")["expect_column_values_to_be_in_set"]
    assert not [e for e in of(draft, "added") if e["severity"] == "critical"]


def test_a_key_is_promised_only_if_the_figures_do_not_deny_it(project: Path) -> None:
    table = described(100, nulls=0, distinct=100)
    declared = replace(table, primary_key=Key(("amount",)))
    assert "expect_column_values_to_be_unique" in about(suggest(declared), "amount")
    repeated = replace(described(100, nulls=0, distinct=99), primary_key=Key(("amount",)))
    assert "expect_column_values_to_be_unique" not in about(suggest(repeated), "amount")
