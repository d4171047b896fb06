"""A desk's figures are those that a plain loop over the rows finds, on any feed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import naive_colors
import polars as pl
import pytest
from feeds import feed, feeds
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import desk
from workbench.dialects import BLANKS
from workbench.errors import DataError, UsageError

Row = dict[str, Any]
TYPES = {
    **dict.fromkeys(("MESSAGE_ID", "RANK", "CONFIDENCE", "COLOR_POSITION"), pl.Int64),
    **dict.fromkeys(("PARENT_MESSAGE_ID", "CHILDREN_COUNT"), pl.Int64),
    **dict.fromkeys(("DATE", "DATE_1"), pl.Datetime("us")),
    **dict.fromkeys(("TICKER", "SECTOR", "CUSIP", "SOURCE", "BIAS", "DIFF_STATUS"), pl.String),
    **dict.fromkeys(("PRICE_LEVEL", "BID", "ASK", "PX", "COV_PRICE"), pl.Decimal(28, 10)),
    **dict.fromkeys(("PERCENT_DIFF", "PRICE_DIFF"), pl.Decimal(28, 10)),
    "IS_PARENT": pl.Boolean,
}
NAMES = [*naive_colors.CANONICAL, *naive_colors.ADDED]
FIGURES: list[Callable[[pl.DataFrame], pl.DataFrame]] = [
    lambda colors: desk.movements(colors, colors),
    desk.markets, desk.dealers, desk.stale, desk.breaches, desk.differences,
]  # fmt: skip
few = settings(max_examples=15, deadline=None)


def ranking(rows: list[Row]) -> pl.DataFrame:
    """Make a frame as run_colors returns it, of what the naive ranking returns."""
    return pl.DataFrame(
        {name: [row[name] for row in rows] for name in NAMES},
        schema={name: TYPES[name] for name in NAMES},
    )


def ranked(rows: list[Row]) -> list[Row]:
    return naive_colors.rank(rows)


def day(row: Row) -> dt.date | None:
    moment = row["DATE_1"] if row["DATE_1"] is not None else row["DATE"]
    return moment and moment.date()


def dealer(text: str | None) -> str | None:
    return (text or "").strip(BLANKS) or None


def folded(text: str | None) -> str | None:
    return dealer(text) and dealer(text).upper()


def far(row: Row) -> bool:
    return folded(row["DIFF_STATUS"]) == "SIGNIFICANT DIFFERENCE"


def parents(rows: list[Row]) -> dict[str, Row]:
    return {row["CUSIP"]: row for row in rows if row["IS_PARENT"]}


def moved(rows: list[Row], earlier: list[Row], points: Decimal) -> list[tuple[Any, ...]]:
    now, before = parents(rows), parents(earlier)
    found = []
    for cusip in now.keys() | before.keys():
        new, old = now.get(cusip), before.get(cusip)
        change = None
        if new and old and new["PX"] is not None and old["PX"] is not None:
            change = new["PX"] - old["PX"]
        kinds = []
        if old is None:
            kinds = [0]
        elif new is None:
            kinds = [1]
        else:
            who = [
                (r["MESSAGE_ID"], folded(r["SOURCE"]), folded(r["BIAS"]), day(r))
                for r in (new, old)
            ]
            kinds += [2] * (who[0] != who[1])
            kinds += [3] * (change is not None and change != 0 and abs(change) >= points)
            kinds += [4] * (far(new) and not far(old))
        blank: Row = dict.fromkeys(NAMES)
        a, b = new or blank, old or blank
        ticker = a["TICKER"] if a["TICKER"] is not None else b["TICKER"]
        size = -abs(change) if change is not None else Decimal("Infinity")
        for kind in kinds:
            row = (desk.MOVEMENTS[kind], cusip, ticker, a["PX"], b["PX"], change)
            who_said = (a["SOURCE"], a["BIAS"], b["SOURCE"], b["BIAS"])
            found.append(((kind, size, cusip.encode()), (*row, *who_said)))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


@given(feeds(max_rows=15), feeds(max_rows=10), st.sampled_from(["0", "0.5", "1", "100"]))
@few
def test_movements_are_what_a_loop_finds(now: list[Row], before: list[Row], points: str) -> None:
    # Half of the earlier feed is today's, so that parents stay, move and change.
    rows, earlier = ranked(now), ranked(before + now[::2])
    found = desk.movements(ranking(rows), ranking(earlier), Decimal(points))
    assert found.rows() == moved(rows, earlier, Decimal(points))


def test_each_kind_of_movement_by_hand() -> None:
    def color(cusip: str, px: str | None, **other: Any) -> Row:
        price = None if px is None else Decimal(px)
        base = {"MESSAGE_ID": 1, "BIAS": "BID", "SOURCE": "GS", "DATE": dt.date(2026, 1, 9)}
        return {**base, "CUSIP": cusip, "PX": price, "COV_PRICE": Decimal(100), **other}

    before = [
        color("A", "100"), color("B", "100"), color("C", "100"), color("D", "100"),
        color("E", "101.9"), color("F", None), color("G", "100"), color("H", "100", SOURCE=" gs "),
    ]  # fmt: skip
    now = [
        color("B", "100", SOURCE="MS"), color("C", "101"), color("D", "100.9999999999"),
        color("E", "102.01"), color("F", "50"), color("G", "98.5", COV_PRICE=Decimal(99)),
        color("H", "100", COV_PRICE=Decimal(1), DATE=dt.date(2026, 1, 9)), color("I", "7"),
    ]  # fmt: skip
    found = desk.movements(ranking(ranked(now)), ranking(ranked(before)))
    assert [(kind, cusip, change and float(change)) for kind, cusip, _, _, _, change, *_ in
            found.rows()] == [
        ("gained color", "I", None), ("lost color", "A", None), ("parent changed", "B", 0.0),
        ("price moved", "G", -1.5), ("price moved", "C", 1.0),
        ("crossed coverage limit", "E", 0.11), ("crossed coverage limit", "H", 0.0),
        ("crossed coverage limit", "F", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given", [-1, -0.001, float("nan"), float("inf"), Decimal("nan"), "x", "1", None, True, [1]]
)
def test_a_threshold_that_is_no_number_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="points"):
        desk.movements(ranking([]), ranking([]), given)
    with pytest.raises(UsageError, match="days"):
        desk.stale(ranking([]), given)


def test_a_column_that_an_earlier_frame_lacks_is_named() -> None:
    with pytest.raises(DataError, match="earlier colors lack the columns BIAS, PX"):
        desk.movements(ranking([]), ranking([]).drop("PX", "BIAS"))
    with pytest.raises(DataError, match="The colors lack the column IS_PARENT"):
        desk.dealers(ranking([]).drop("IS_PARENT"))
    twice = ranking(ranked(feed(20)))
    with pytest.raises(DataError, match="earlier colors hold more than one parent of"):
        desk.movements(twice, pl.concat([twice, twice]))
    with pytest.raises(DataError, match="hold in PX what does not belong there"):
        desk.movements(ranking([]), twice.with_columns(PX=pl.lit("dear")))


def best_of_each_side(colors: list[Row]) -> list[tuple[Any, ...]]:
    expected = []
    for cusip in sorted({row["CUSIP"] for row in colors}, key=str.encode):
        group = [row for row in colors if row["CUSIP"] == cusip]
        bids = [row for row in group if row["BID"] is not None and row["BID"] > 0]
        asks = [row for row in group if row["ASK"] is not None and row["ASK"] > 0]
        quoting = [row for row in group if row in bids or row in asks]
        if not quoting:
            continue
        bid = max(bids, key=lambda row: row["BID"], default=None)  # the first of equal ones
        ask = min(asks, key=lambda row: row["ASK"], default=None)
        spread = ask["ASK"] - bid["BID"] if bid and ask else None
        expected.append((
            cusip, quoting[0]["TICKER"],
            *((bid["BID"], dealer(bid["SOURCE"]), day(bid)) if bid else (None,) * 3),
            *((ask["ASK"], dealer(ask["SOURCE"]), day(ask)) if ask else (None,) * 3),
            spread, spread is not None and spread < 0,
            len({folded(row["SOURCE"]) for row in quoting} - {None}),
        ))  # fmt: skip
    return expected


def test_a_market_by_hand() -> None:
    def color(cusip: str, source: str | None, bid: str, ask: str) -> Row:
        sides = {"BID": Decimal(bid), "ASK": Decimal(ask)}
        return {"CUSIP": cusip, "SOURCE": source, "BIAS": "BID", **sides}

    rows = [
        color("A", "GS", "99", "101"), color("A", " gs", "99.5", "0"), color("A", "MS", "0", "100"),
        color("B", "GS", "100", "0"), color("B", "MS", "0", "100"),
        color("C", "GS", "100.25", "0"), color("C", None, "0", "100"),
        color("D", "GS", "0", "0"), color("E", "GS", "-1", "7"),
    ]  # fmt: skip
    found = desk.markets(ranking(ranked(rows)))
    names = ("CUSIP", "BEST_BID", "BID_DEALER", "BEST_OFFER", "SPREAD", "CROSSED", "DEALERS")
    assert found.select(names).rows() == [
        ("A", Decimal("99.5"), "gs", Decimal(100), Decimal("0.5"), False, 2),
        ("B", Decimal(100), "GS", Decimal(100), Decimal(0), False, 2),
        ("C", Decimal("100.25"), "GS", Decimal(100), Decimal("-0.25"), True, 1),
        ("E", None, None, Decimal(7), None, False, 1),
    ]


def league(colors: list[Row]) -> list[tuple[Any, ...]]:
    best = sum(row["IS_PARENT"] for row in colors)
    expected = []
    for name in {folded(row["SOURCE"]) for row in colors}:
        own = [row for row in colors if folded(row["SOURCE"]) == name]
        parents = sum(row["IS_PARENT"] for row in own)
        latest = max((day(row) for row in own if day(row)), default=None)
        securities = len({row["CUSIP"] for row in own})
        share = pytest.approx(100 * parents / best)
        expected.append((name or "none", len(own), securities, parents, share, latest))
    expected.sort(key=lambda row: (-row[3], -row[1], row[0].encode()))
    return expected


def old(colors: list[Row], days: int) -> list[tuple[Any, ...]]:
    dates = [row["DATE"] for row in colors if row["DATE"]]
    dates = dates or [row["DATE_1"] for row in colors if row["DATE_1"]]
    expected = []
    for cusip in {row["CUSIP"] for row in colors}:
        group = [row for row in colors if row["CUSIP"] == cusip]
        newest = max((day(row) for row in group if day(row)), default=None)
        if newest and (age := (max(dates).date() - newest).days) > days:
            first = group[0]
            expected.append((cusip, first["TICKER"], first["SECTOR"], len(group), newest, age))
    expected.sort(key=lambda row: (-row[5], row[0].encode()))
    return expected


def furthest(colors: list[Row]) -> list[Row]:
    expected = [row for row in colors if row["IS_PARENT"] and far(row)]
    expected.sort(key=lambda row: (
        row["PERCENT_DIFF"] is None, -abs(row["PERCENT_DIFF"] or 0), row["CUSIP"].encode()
    ))  # fmt: skip
    return expected


def plain(value: Any) -> str | None:
    if not isinstance(value, Decimal):
        return value
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def off_the_formulas(colors: list[Row]) -> list[tuple[Any, ...]]:
    expected = []
    for row in colors:
        percent = naive_colors.percent_diff(row["PX"], row["COV_PRICE"])
        again = {
            "PERCENT_DIFF": percent,
            "PRICE_DIFF": naive_colors.price_diff(row["PX"], row["COV_PRICE"]),
            "DIFF_STATUS": naive_colors.diff_status(percent, row["SECTOR"]),
        }
        for name, value in again.items():
            told, off = row[name], None
            if told is None:
                continue
            if name == "DIFF_STATUS":
                same = folded(told) == folded(value)
            else:
                off = told - value if value is not None else None
                limit = Decimal("0.01") if name == "PERCENT_DIFF" else Decimal("1e-8")
                same = off is not None and abs(off) <= limit
            if not same:
                color = (row["CUSIP"], row["MESSAGE_ID"], row["COLOR_POSITION"])
                expected.append((*color, name, plain(told), plain(value), off))
    return expected


@given(feeds(max_rows=25, times=True), st.integers(0, 800))
@few
def test_every_figure_is_what_a_loop_over_the_rows_finds(rows: list[Row], days: int) -> None:
    colors = ranked(rows)
    mixed = ranking(colors).sample(fraction=1, shuffle=True, seed=7)
    assert desk.markets(mixed).rows() == best_of_each_side(colors)
    assert desk.dealers(mixed).rows() == league(colors)
    assert desk.stale(mixed, days).rows() == old(colors, days)
    assert desk.breaches(mixed).equals(ranking(furthest(colors)))
    assert desk.differences(mixed).rows() == off_the_formulas(colors)


def test_differences_by_hand() -> None:
    def color(number: int, **given: Any) -> Row:
        values = {k: Decimal(v) if k != "DIFF_STATUS" else v for k, v in given.items()}
        prices = {"PX": Decimal("102.005"), "COV_PRICE": Decimal(100)}
        return {"CUSIP": "A", "MESSAGE_ID": number, "RANK": number, **prices, **values}

    rows = [
        color(1, PERCENT_DIFF="2.005"),  # 2.01 when rounded half up, so significant
        color(2, PERCENT_DIFF="2", PRICE_DIFF="2.00500001"),
        color(3, PERCENT_DIFF="1.99", PRICE_DIFF="2.00500002"),
        color(4, COV_PRICE="0", PERCENT_DIFF="7"),
        color(5, DIFF_STATUS="significant difference "),
    ]
    found = desk.differences(ranking(ranked(rows))).drop("CUSIP", "COLOR_POSITION").rows()
    assert found == [
        (2, "DIFF_STATUS", "Small Difference", "Significant Difference", None),
        (3, "PERCENT_DIFF", "1.99", "2.01", Decimal("-0.02")),
        (3, "PRICE_DIFF", "2.00500002", "2.005", Decimal("0.00000002")),
        (3, "DIFF_STATUS", "Small Difference", "Significant Difference", None),
        (4, "PERCENT_DIFF", "7", None, None),
        (4, "DIFF_STATUS", "Significant Difference", None, None),
    ]


@pytest.mark.parametrize("figure", FIGURES)
def test_empty_and_blank_frames_have_the_same_columns(
    figure: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    full = figure(ranking(ranked(feed(60))))
    for odd in (ranking([]), pl.DataFrame({name: [None] for name in NAMES})):
        found = figure(odd)
        assert found.columns == full.columns
        assert found.height <= 1  # a color of nobody is a dealer's: that of "none"
        if figure is not desk.breaches:
            assert found.schema == full.schema
    assert figure(ranking(ranked(feed(1)))).columns == full.columns


def test_many_colors_take_no_loop() -> None:
    some = ranking(ranked(feed(1_000)))
    many = pl.concat(some.with_columns(pl.col("CUSIP") + f"{n}") for n in range(100)).with_columns(
        PX=pl.col("PX") + pl.int_range(pl.len()).cast(pl.Decimal(28, 10)) / 1000
    )
    started = time.process_time()
    heights = [figure(many).height for figure in FIGURES]
    assert time.process_time() - started < 10  # a loop over 100,000 rows takes longer
    assert heights[2] == desk.dealers(some).height
