"""The expectations of this house: each against plain Python, on every engine, and their suites."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import feeds
import naive_colors
import polars as pl
import pytest
import sampled
import sqlalchemy as sa
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standin import Oracle
from test_run_colors import orders

import workbench as wb
from workbench import embedded
from workbench.demo import marketpulse
from workbench.errors import DataError

Row = dict[str, Any]
Check = tuple[dict[str, Any], Callable[[list[Row]], set[int]]]

# Plain Great Expectations warns of its own and of pandas' ways.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
relaxed = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Apple, Microsoft, Cisco, Google.
PUBLISHED = ["037833100", "594918104", "17275R102", "38259P508"]
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
GROUP, AT, VALUE, LEFT, RIGHT = 'GR"OUP %S', "AT %(X)S", "VA'LUE: ;--", "LE FT", "R%IGHT"


def check(kind: str, /, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def suite_of(*checks: dict[str, Any], key: Sequence[str] = ("ID",)) -> dict[str, Any]:
    return {"name": "checks", "meta": {"key": list(key)}, "expectations": list(checks)}


# --- The same rules in plain Python ----------------------------------------------------------


def is_cusip(text: str) -> bool:
    """By the steps of ANSI X9.6 as they are usually printed."""
    if len(text) != 9 or any(c not in ALPHABET for c in text):
        return False
    total = 0
    for position, character in enumerate(text[:8], start=1):
        value = ALPHABET.index(character)
        if position % 2 == 0:
            value *= 2
        total += value // 10 + value % 10
    return text[8] == str((10 - total % 10) % 10)


def groups(rows: list[Row], *names: str) -> list[list[Row]]:
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(found.values())


def unbalanced(rows: list[Row], *by: str, tolerance: str = "0", zero: bool = False) -> set[int]:
    broken = set()
    for group in groups(rows, *by):
        left = sum(Decimal(str(row[LEFT])) for row in group if row[LEFT] is not None)
        right = sum(Decimal(str(row[RIGHT])) for row in group if row[RIGHT] is not None)
        if abs(left - (0 if zero else right)) > Decimal(tolerance):
            broken |= {row["ID"] for row in group}
    return broken


def decreasing(rows: list[Row], *by: str, strictly: bool = False) -> set[int]:
    broken = set()
    for group in groups([row for row in rows if row[VALUE] is not None], *by):
        group.sort(key=lambda row: (row[AT] is None, row[AT] or 0, row[VALUE]))
        for before, row in pairwise(group):
            if row[VALUE] < before[VALUE] or (strictly and row[VALUE] == before[VALUE]):
                broken.add((row[VALUE], row[AT], *(row[name] for name in by)))
    return broken


# --- Rows ------------------------------------------------------------------------------------


def corrupted(cusip: str, random: random.Random) -> str:
    place = random.randrange(9)
    other = random.choice([c for c in "0123456789" if c != cusip[place]])
    return cusip[:place] + other + cusip[place + 1 :]


def made() -> list[Row]:
    chance = random.Random(19)
    odd = [None, "", "         ", "037833100 ", " 37833100", "17275r102", "0378331000", "37833100",
           "03783310é", "０37833100", "%s", "'; --", "*@#*@#*@#"]  # fmt: skip
    rows = []
    for number in range(240):
        body = "".join(chance.choices(ALPHABET, k=8))
        ended = [body + c for c in ALPHABET]
        cusip = chance.choice([
            chance.choice(PUBLISHED), corrupted(chance.choice(PUBLISHED), chance),
            chance.choice(odd), chance.choice(ended), next(c for c in ended if is_cusip(c)),
        ])  # fmt: skip
        group = chance.choice([None, "a", "A", "b %s", "c'", "d", "e", "f"])
        amount = Decimal(chance.randrange(-10_000, 10_000)).scaleb(-2)
        fair = group in ("a", None) or group == "d"
        rows.append({
            "ID": number, "CUSIP": cusip, GROUP: group,
            AT: chance.choice([None, *range(40)]),
            VALUE: chance.choice([None, number // 3, number // 3, chance.randrange(80)]),
            LEFT: chance.choice([None, amount]) if not fair else amount,
            RIGHT: amount if fair else chance.choice([None, amount]),
        })  # fmt: skip
    # A billion's worth off by a cent, which no float sum is exact about.
    big = Decimal("999999999999.99")
    rows += [{**rows[0], "ID": 240, GROUP: "near", LEFT: big, RIGHT: big - Decimal("0.01")}]
    return rows


ROWS = made()
KINDS = {"ID": pl.Int64, "CUSIP": pl.String, GROUP: pl.String, AT: pl.Int64, VALUE: pl.Int64,
         LEFT: pl.Decimal(18, 2), RIGHT: pl.Decimal(18, 2)}  # fmt: skip
FRAME = pl.DataFrame(ROWS, schema=KINDS, orient="row")
BALANCE = {"column_A": LEFT, "column_B": RIGHT}
RISING = {"column": VALUE, "order_by": [AT]}
CHECKS: list[Check] = [
    (check("column_values_to_be_valid_cusips", column="CUSIP"),
     lambda rows: {r["ID"] for r in rows if r["CUSIP"] is not None and not is_cusip(r["CUSIP"])}),
    (check("column_values_to_be_valid_cusips", column="CUSIP", mostly=0.2),
     lambda rows: {r["ID"] for r in rows if r["CUSIP"] is not None and not is_cusip(r["CUSIP"])}),
    (check("column_sums_to_balance", **BALANCE, group_by=[GROUP]),
     lambda rows: unbalanced(rows, GROUP)),
    (check("column_sums_to_balance", **BALANCE, group_by=[GROUP], tolerance=0.01),
     lambda rows: unbalanced(rows, GROUP, tolerance="0.01")),
    (check("column_sums_to_balance", **BALANCE), unbalanced),
    (check("column_sums_to_balance", column_A=LEFT, group_by=[GROUP, AT]),
     lambda rows: unbalanced(rows, GROUP, AT, zero=True)),
]  # fmt: skip
RISES: list[tuple[dict[str, Any], Callable[[list[Row]], set[Any]], tuple[str, ...]]] = [
    (check("column_values_to_not_decrease_within_group", **RISING, group_by=by, strictly=strictly),
     lambda rows, by=tuple(by), strictly=strictly: decreasing(rows, *by, strictly=strictly),
     tuple(by))
    for by in ([GROUP], [GROUP, "CUSIP"], []) for strictly in (False, True)
]  # fmt: skip


def agrees(rows: list[Row], validation: Any) -> None:
    """Hold each result and its offending rows against plain Python."""
    assert not [result.problem for result in validation.results if result.problem]
    bad = validation.offending.rename(lambda name: name.upper())
    for result, (entry, naive) in zip(validation.results, CHECKS, strict=False):
        expected = naive(rows)
        assert result.unexpected == len(expected), entry
        asked = result.checked or 1
        assert result.success == (
            (asked - len(expected)) / asked >= entry["kwargs"].get("mostly", 1)
        )
        if not result.success:
            assert set(bad.filter(pl.col("EXPECTATION").eq(result.number))["ID"]) == expected, entry
    for result, (entry, naive, by) in zip(validation.results[len(CHECKS) :], RISES, strict=True):
        # Among rows that tie, which comes first is free: they are told by what they hold.
        held = bad.filter(pl.col("EXPECTATION").eq(result.number)).select(VALUE, AT, *by)
        assert (set(held.rows()), result.success) == (naive(rows), not naive(rows)), entry


EVERY = [*(entry for entry, _ in CHECKS), *(entry for entry, _, _ in RISES)]


# --- On every engine -------------------------------------------------------------------------


def test_the_published_cusips_are_valid_and_one_wrong_digit_is_seen() -> None:
    rows = [
        cusip[:n] + digit + cusip[n + 1 :]
        for cusip in PUBLISHED for n in range(9) if cusip[n].isdigit() for digit in "0123456789"
    ]  # fmt: skip
    validation = wb.validate(pl.DataFrame({"CUSIP": rows}), suite_of(EVERY[0], key=["CUSIP"]))
    wrong = [row for row in rows if row not in PUBLISHED]
    assert set(validation.offending["CUSIP"]) == set(wrong)
    assert validation.results[0].unexpected == len(wrong)


def test_a_frame_is_judged_as_plain_python_judges_it() -> None:
    agrees(ROWS, wb.validate(FRAME, suite_of(*EVERY)))


@relaxed
@given(st.lists(st.one_of(
    st.text(alphabet=ALPHABET, min_size=8, max_size=8).map(
        lambda body: next(body + d for d in "0123456789" if is_cusip(body + d))),
    st.text(alphabet=ALPHABET + "aé ", min_size=7, max_size=10),
    st.none()), min_size=1))  # fmt: skip
def test_any_text_is_a_cusip_exactly_when_plain_python_says_so(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"CUSIP": texts}, schema={"CUSIP": pl.String})
    (result,) = wb.validate(frame, suite_of(EVERY[0])).results
    assert result.unexpected == sum(text is not None and not is_cusip(text) for text in texts)


small = st.one_of(st.none(), st.integers(0, 4))


@relaxed
@given(st.lists(st.tuples(small, small, small), min_size=1), st.booleans())
def test_any_values_decrease_exactly_where_plain_python_says_so(
    found: list[tuple[Any, ...]], strictly: bool
) -> None:
    rows = [dict(zip((GROUP, AT, VALUE), values, strict=True)) for values in found]
    kinds = dict.fromkeys((GROUP, AT, VALUE), pl.Int64)
    entry = check("column_values_to_not_decrease_within_group", **RISING, group_by=[GROUP],
                  strictly=strictly)  # fmt: skip
    validation = wb.validate(pl.DataFrame(rows, schema=kinds), suite_of(entry))
    bad = set(validation.offending.select(VALUE, AT, GROUP).rows()) if validation.failed else set()
    assert bad == decreasing(rows, GROUP, strictly=strictly)


@pytest.fixture(scope="module")
def schema(worker_id: str) -> Iterator[tuple[sa.Connection, str]]:
    """A connection to the embedded PostgreSQL, and a schema of this module's own."""
    name, engine = f"expectation_types_{worker_id}", sa.create_engine(embedded.connection_url())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
        connection.execute(sa.schema.CreateSchema(name))
        yield connection, name
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


def table_of(frame: pl.DataFrame, name: str, schema: str | None = None) -> sa.Table:
    kinds: dict[Any, Any] = {pl.Int64: sa.BigInteger(), pl.String: sa.String(40),
                             pl.Boolean: sa.Boolean(), pl.Date: sa.Date()}  # fmt: skip
    columns = [
        sa.Column(c.lower(), kinds.get(t, sa.Numeric(18, 4))) for c, t in frame.schema.items()
    ]
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def stored(connection: sa.Connection, schema: str, frame: pl.DataFrame, name: str) -> str:
    table = table_of(frame, name, schema)
    table.create(connection)
    if frame.height:
        connection.execute(table.insert(), frame.rename(str.lower).to_dicts())
    return f"{schema}.{name}"


def test_a_table_is_judged_inside_its_database_as_plain_python_judges_it(
    schema: tuple[sa.Connection, str],
) -> None:
    name = stored(*schema, FRAME, "judged")
    with wb.connect("demo") as db:
        agrees(ROWS, wb.validate(db.table(name), suite_of(*EVERY)))


@pytest.mark.parametrize("kind", ["frame", "table"])
def test_without_rows_nothing_is_broken_and_nothing_passes(
    schema: tuple[sa.Connection, str], kind: str
) -> None:
    with wb.connect("demo") as db:
        none = FRAME.clear()
        data = none if kind == "frame" else db.table(stored(*schema, none, "empty"))
        results = wb.validate(data, suite_of(*EVERY, RANKED, *FAMILIES)).results
    assert {result.unexpected for result in results[: len(EVERY)]} <= {0, None}
    assert not any(result.success for result in results)


def plain(frame: pl.DataFrame, *entries: dict[str, Any]) -> list[Any]:
    """What Great Expectations itself says, on pandas, once the expectations are imported."""
    from workbench.expectations import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
    whole = asset.add_batch_definition_whole_dataframe("all")
    batch = whole.get_batch({"dataframe": frame.to_pandas(use_pyarrow_extension_array=True)})
    numbered = [{**entry, "meta": {"number": n}} for n, entry in enumerate(entries)]
    said = batch.validate(gx.ExpectationSuite(name="plain", expectations=numbered))
    return sorted(said.results, key=lambda result: result.expectation_config.meta["number"])


def test_plain_great_expectations_judges_a_pandas_frame_as_plain_python_does() -> None:
    results = plain(FRAME, *EVERY)
    assert not [r.exception_info for r in results if "unexpected_count" not in r.result]
    for result, (entry, naive) in zip(results, CHECKS, strict=False):
        assert result.result["unexpected_count"] == len(naive(ROWS)), entry
    for result, (entry, naive, by) in zip(results[len(CHECKS) :], RISES, strict=True):
        rows = [ROWS[n] for n in result.result["partial_unexpected_index_list"]]
        held = {(r[VALUE], r[AT], *(r[name] for name in by)) for r in rows}
        assert held <= naive(ROWS), entry
        assert (result.result["unexpected_count"] > 0) == bool(naive(ROWS)), entry


# --- Ranked colors ---------------------------------------------------------------------------

PLACED = ["CUSIP", "COLOR_POSITION"]
BY = [*PLACED, "RANK", "DATE_1", "DATE", "PX"]
RANKED = check("colors_to_be_ranked", column_list=BY)
FAMILIES = [
    check("color_families_to_agree", column_list=[*PLACED, *more])
    for more in (["IS_PARENT"], ["CHILDREN_COUNT"], ["MESSAGE_ID", "PARENT_MESSAGE_ID"])
]
COLORS = {
    "CUSIP": pl.String, "MESSAGE_ID": pl.Int64, "RANK": pl.Int64, "DATE": pl.Date,
    "DATE_1": pl.Date, "PX": pl.Decimal(18, 4), "COLOR_POSITION": pl.Int64,
    "IS_PARENT": pl.Boolean, "PARENT_MESSAGE_ID": pl.Int64, "CHILDREN_COUNT": pl.Int64,
}  # fmt: skip


def ranked(rows: list[Row], order: Sequence[str] = naive_colors.DEFAULT_ORDER) -> list[Row]:
    """Rank in plain Python, and keep what the expectations look at."""
    held = naive_colors.rank(rows, order)
    kept = [{name: row[name] for name in COLORS} for row in held]
    for row in kept:
        row["DATE"], row["DATE_1"] = (d and d.date() for d in (row["DATE"], row["DATE_1"]))
    return kept


def colors(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLORS, orient="row")


def counts(validation: Any) -> list[int | None]:
    assert not [result.problem for result in validation.results if result.problem]
    return [result.unexpected for result in validation.results]


@relaxed
@given(rows=feeds.feeds(), order=orders)
def test_what_plain_python_ranks_in_any_order_is_ranked(rows: list[Row], order: Any) -> None:
    frame = colors(ranked(rows, order))
    if frame.is_empty():
        return
    entry = check("colors_to_be_ranked", column_list=BY, order=order)
    found = wb.validate(frame, suite_of(entry, *FAMILIES))
    assert counts(found) == [0, 0, 0, 0]


def wrong() -> list[tuple[list[Row], list[int]]]:
    """Ranked colors with one thing wrong, and how many rows break each of the four promises."""
    good = ranked([
        {"MESSAGE_ID": n, "CUSIP": cusip, "RANK": rank, "DATE": date(2026, 1, 9), "DATE_1": got,
         "PX": px and Decimal(px)}
        for n, (cusip, rank, got, px) in enumerate([
            ("037833100", 3, date(2026, 1, 9), "99.5"), ("037833100", 3, None, "99.25"),
            ("037833100", 3, date(2026, 1, 8), "101"), ("037833100", 4, None, None),
            ("594918104", 1, None, "100"),
        ])
    ])  # fmt: skip

    def but(**changes: dict[int, Any]) -> list[Row]:
        rows = [dict(row) for row in good]
        for name, values in changes.items():
            for place, value in values.items():
                rows[place][name] = value
        return rows

    one, two = {0: 2, 1: 1}, {0: False}
    return [
        (good, [0, 0, 0, 0]),
        # The first two have changed places: neither is what its position says of it, and all
        # three children name another message than the first one's.
        (but(COLOR_POSITION=one), [2, 2, 2, 4]),
        (but(COLOR_POSITION={3: 5}), [1, 0, 0, 0]),
        (but(COLOR_POSITION={3: None}), [1, 1, 1, 1]),
        (but(RANK={3: 1}), [4, 0, 0, 0]),
        (but(PX={2: None}), [0, 0, 0, 0]),
        (but(DATE_1={2: date(2026, 1, 10)}), [3, 0, 0, 0]),
        (but(IS_PARENT=two), [0, 1, 0, 0]),
        (but(IS_PARENT={1: True, 4: None}), [0, 2, 0, 0]),
        (but(CHILDREN_COUNT={0: 2, 1: 1, 4: None}), [0, 0, 3, 0]),
        (but(PARENT_MESSAGE_ID={1: 3, 2: None, 4: 4}), [0, 0, 0, 3]),
    ]


def every_wrong() -> pl.DataFrame:
    """All of them in one frame, the number of each before its CUSIPs."""
    numbered = [
        {**row, "CUSIP": f"{number} {row['CUSIP']}"}
        for number, (rows, _) in enumerate(wrong()) for row in rows
    ]  # fmt: skip
    return colors(numbered)


def each_is_counted(validation: Any) -> None:
    assert not [result.problem for result in validation.results if result.problem]
    bad = validation.offending.rename(lambda name: name.upper())
    for number, (_, expected) in enumerate(wrong()):
        mine = bad.filter(pl.col("CUSIP").str.starts_with(f"{number} "))
        assert [mine.filter(pl.col("EXPECTATION").eq(n)).height for n in (1, 2, 3, 4)] == expected


def test_each_way_in_which_ranked_colors_go_wrong_is_counted() -> None:
    each_is_counted(wb.validate(every_wrong(), suite_of(RANKED, *FAMILIES, key=PLACED)))


def test_ranked_colors_are_judged_alike_by_postgresql_and_by_plain_great_expectations(
    schema: tuple[sa.Connection, str],
) -> None:
    name = stored(*schema, every_wrong(), "ranked")
    with wb.connect("demo") as db:
        each_is_counted(wb.validate(db.table(name), suite_of(RANKED, *FAMILIES, key=PLACED)))
    said = plain(every_wrong(), RANKED, *FAMILIES)
    totals = [sum(expected[n] for _, expected in wrong()) for n in range(4)]
    assert [one.result["unexpected_count"] for one in said] == totals


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (check("colors_to_be_ranked", column_list=PLACED), "RANK"),
        (check("colors_to_be_ranked", column_list=BY, order=["size asc"]), "size asc"),
        (check("color_families_to_agree", column_list=PLACED), "IS_PARENT or CHILDREN_COUNT"),
        (check("column_sums_to_balance", **BALANCE, tolerance=-1), "0"),
        (
            check(
                "column_values_to_not_decrease_within_group",
                **RISING | {"order_by": [], "group_by": ["CUSIP", "ID"]},
            ),
            "order_by",
        ),
    ],
)
def test_an_incomplete_expectation_is_refused_in_words(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        wb.validate(FRAME, suite_of(entry))


# --- Oracle ----------------------------------------------------------------------------------


@pytest.mark.oracle
def test_oracle_judges_as_plain_python_does(oracle_source: Callable[..., str]) -> None:
    # Its names take no quotes, its empty texts are null, and it has no booleans.
    names = {name: f"c{n}" for n, name in enumerate((GROUP, AT, VALUE, LEFT, RIGHT))}
    kept = [{**row, "CUSIP": row["CUSIP"] or None} for row in ROWS]
    frame = pl.DataFrame(kept, schema=KINDS, orient="row").rename(names)
    suite = json.loads(json.dumps(suite_of(*EVERY)))
    for entry in suite["expectations"]:
        for key, value in entry["kwargs"].items():
            changed = [names.get(v, v) for v in value] if isinstance(value, list) else value
            entry["kwargs"][key] = (
                names.get(changed, changed) if isinstance(value, str) else changed
            )
    rows, expected = wrong()[1]
    places = colors(rows).with_columns(pl.col("IS_PARENT").cast(pl.Int64)).rename({"DATE": "DAY"})
    by_day = check("colors_to_be_ranked", column_list=[c for c in BY if c != "DATE"])
    with wb.connect(oracle_source("read_only = false")) as db:
        tables = [table_of(frame, "judged"), table_of(places, "placed")]
        try:
            with db.engine.begin() as connection:
                for table in tables:
                    table.create(connection)
            db.execute_many(tables[0].insert(), frame.rename(str.lower).to_dicts())
            db.execute_many(tables[1].insert(), places.rename(str.lower).to_dicts())
            found = wb.validate(db.table("judged"), suite)
            families = wb.validate(db.table("placed"), suite_of(by_day, *FAMILIES))
        finally:
            with db.engine.begin() as connection:
                for table in tables:
                    table.drop(connection, checkfirst=True)
    for result, (_, naive) in zip(found.results, CHECKS, strict=False):
        assert (result.problem, result.unexpected) == (None, len(naive(kept)))
    frames = wb.validate(pl.DataFrame(kept, schema=KINDS, orient="row"), suite_of(*EVERY))
    assert counts(found) == counts(frames)
    of_frame = wb.validate(places, suite_of(by_day, *FAMILIES))
    assert counts(families) == counts(of_frame) == [*counts(of_frame)[:1], *expected[1:]]


@pytest.mark.oracle
def test_the_suites_are_judged_in_oracle_as_on_a_frame(oracle: Oracle, tmp_path: Path) -> None:
    feed = marketpulse.generate(200)["colors"]
    held = wb.run_colors(feed).colors.with_columns(pl.col("IS_PARENT").cast(pl.Int64))
    # DATE is a reserved word, which SQLAlchemy quotes as it is written.
    own_case = {name: name.lower() if name != "DATE" else name for name in COLORS}
    held, feed = held.select(*COLORS).rename(own_case), feed.rename({"date": "DATE"})
    kinds = {c.name: c.type for c in marketpulse.METADATA.tables["marketpulse.colors"].c}
    tables = [
        sa.Table(name, sa.MetaData(), *(
            sa.Column(c, sa.Numeric(18, 4) if c == "px" else kinds.get(c.lower(), sa.BigInteger()))
            for c in frame.columns
        ))
        for name, frame in (("feed", feed), ("held", held))
    ]  # fmt: skip
    with (
        sampled.owner(oracle, tmp_path, "judge") as own,
        sampled.project(tmp_path, own),
        wb.connect("oracle") as db,
    ):
        try:
            with db.engine.begin() as connection:
                for one in tables:
                    one.create(connection)
            db.execute_many(tables[0].insert(), feed.to_dicts())
            db.execute_many(tables[1].insert(), held.to_dicts())
            found = [
                wb.validate(db.table(one), ROOT / f"expectations/{suite}.json")
                for one, suite in (("feed", "colors"), ("held", "ranked_colors"))
            ]
        finally:
            with db.engine.begin() as connection:
                for one in tables:
                    one.drop(connection, checkfirst=True)
    assert counts(found[0]) == counts(wb.validate(feed, ROOT / "expectations/colors.json"))
    assert found[1].severity is None
    assert counts(found[1]) == counts(wb.validate(held, ROOT / "expectations/ranked_colors.json"))


# --- The suites ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["colors", "ranked_colors"])
def test_a_suite_loads_in_plain_great_expectations_with_nothing_left_out(name: str) -> None:
    from workbench.expectations import great_expectations as gx

    said = json.loads((ROOT / "expectations" / f"{name}.json").read_text())
    suite = gx.ExpectationSuite(**json.loads(json.dumps(said)))
    assert [one.expectation_type for one in suite.expectations] == [
        entry["type"] for entry in said["expectations"]
    ]
    for entry in said["expectations"]:
        assert all([entry["meta"]["sentence"], entry["meta"]["owner"], entry["severity"]])
        assert "mostly" not in entry["kwargs"] or entry["meta"]["reason"].startswith("mostly")


def test_the_sample_feed_shows_its_dirt_and_nothing_that_makes_its_ranking_wrong() -> None:
    with wb.connect("demo") as db:
        feed = db.read("select * from marketpulse.colors").rename(str.upper)
        pushed = wb.validate(db.table("marketpulse.colors"), ROOT / "expectations/colors.json")
        held = wb.run_colors("marketpulse.colors", source=db).colors
    frame = wb.validate(feed, ROOT / "expectations/colors.json")
    assert [r.unexpected for r in frame.results] == [r.unexpected for r in pushed.results]
    assert frame.severity == "warning"
    dirt = {r.sentence: r.unexpected for r in frame.failed}
    quote = [c for c in feed.columns if c not in ("COLOR_ID", *naive_colors.COVERAGE)]
    cusips = feed["CUSIP"].drop_nulls()
    assert dirt == {
        "Every CUSIP is in capitals without blanks and carries its check digit":
            sum(not is_cusip(cusip) for cusip in cusips),
        "Every CUSIP has nine characters": cusips.filter(cusips.str.len_chars() != 9).len(),
        "Every color has a CUSIP": feed["CUSIP"].null_count(),
        "Every bias is one of the twelve kinds of color":
            sum(bias not in naive_colors.BIAS_RANK for bias in feed["BIAS"]),
        "Every price is between 10 and 110 % of par":
            feed.filter(~pl.col("PX").is_between(10, 110)).height,
        "No quote is there twice":
            feed.select(quote).is_duplicated().sum(),
        "A color is received on its as-of date or later":
            feed.filter(pl.col("DATE_1") < pl.col("DATE")).height,
    }  # fmt: skip
    families = wb.validate(held, ROOT / "expectations/ranked_colors.json")
    assert (families.severity, len(families.results)) == (None, 8)
