"""The reference implementation and the generators, held against examples worked out by hand."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import feeds
import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_colors import ADDED, CANONICAL, rank

REAL_FEED = Path(__file__).parents[2] / "shared" / "data" / "colors_2026-01-11.xlsx"


def row(message_id=1, cusip="A", px=100, **more):
    return {"MESSAGE_ID": message_id, "CUSIP": cusip, "PX": px, "RANK": 3, "DATE": None} | more


def ids(rows, **options):
    return [r["MESSAGE_ID"] for r in rank(rows, **options)]


@pytest.fixture(scope="module")
def real():
    if not REAL_FEED.exists():
        pytest.skip("the real feed is not here")
    sheet = openpyxl.load_workbook(REAL_FEED).active
    header, *lines = sheet.iter_rows(values_only=True)
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    for r in rows:
        r["MESSAGE_ID"] = int(r["MESSAGE_ID"])
        for name in feeds.PRICES:
            r[name] = Decimal(str(r[name]))
    return rows


def test_real_feed_has_ten_parents_and_forty_children(real):
    out = rank(real)
    assert list(out[0]) == CANONICAL + ADDED
    assert [r["CUSIP"] for r in out if r["IS_PARENT"]] == [
        "000840AG3",
        "03665ABA4",
        "04020VAA7",
        "117914AA9",
        "34990BAG1",
        "38180YAJ6",
        "55281QAG1",
        "69702GAG5",
        "94958LAG3",
        "97988RBL5",
    ]
    assert sum(not r["IS_PARENT"] for r in out) == 40
    assert sum(r["CHILDREN_COUNT"] for r in out) == 40
    # 97988RBL5: bids of the 9th first; both have one id and price, so COV_PRICE decides.
    group = [(r["RANK"], r["DATE_1"].day, r["COV_PRICE"]) for r in out if r["CUSIP"] == "97988RBL5"]
    assert group == [
        (3, 9, Decimal("102.125")),
        (3, 9, Decimal("102.2")),
        (3, 8, Decimal("102.125")),
        (3, 8, Decimal("102.2")),
        (4, 9, Decimal("102.125")),
        (4, 9, Decimal("102.2")),
        (4, 8, Decimal("102.125")),
        (4, 8, Decimal("102.2")),
    ]


def test_real_feed_derives_what_the_desk_derived(real):
    derived = ("RANK", "PERCENT_DIFF", "PRICE_DIFF", "DIFF_STATUS")
    assert rank([{k: v for k, v in r.items() if k not in derived} for r in real]) == rank(real)


def test_real_feed_deduplicates_the_fan_out(real):
    parents = [r for r in rank(real, deduplicate=True) if r["IS_PARENT"]]
    assert [r["CHILDREN_COUNT"] + 1 for r in parents] == [2, 5, 1, 2, 2, 5, 4, 2, 1, 4]


def test_real_feed_filtered_by_sector(real):
    out = rank(real, sector=" mm-clo\t")
    assert len(out) == 8 + 4 + 10 + 10 + 4
    assert out == [r for r in rank(real) if r["SECTOR"] == "MM-CLO"]


def test_parent_children_and_groups():
    rows = [
        row(5, "b"),
        row(4, " a\u00a0", px=99),
        row(3, "A", px=101),
        row(9, " \t"),
        row(8, None),
    ]
    out = rank(rows)
    seen = [(r["CUSIP"], r["COLOR_POSITION"], r["IS_PARENT"], r["PARENT_MESSAGE_ID"]) for r in out]
    assert seen == [("A", 1, True, None), ("A", 2, False, 3), ("B", 1, True, None)]
    assert [r["CHILDREN_COUNT"] for r in out] == [1, 0, 0]


def test_only_ascii_letters_are_raised():
    assert [r["CUSIP"] for r in rank([row(cusip="\u017f\u00e9z")])] == ["\u017f\u00e9Z"]
    assert rank([row(RANK=None, BIAS="b\u0131d")])[0]["RANK"] is None
    assert rank([row(RANK=None, BIAS=" dnt Best\n")])[0]["RANK"] == 3


def test_default_order_and_others():
    rows = [
        row(1, RANK=4, DATE=date(2026, 1, 11), px=90),
        row(2, RANK=3, DATE=date(2026, 1, 11), DATE_1=date(2026, 1, 8), px=95),
        row(3, RANK=3, DATE=date(2026, 1, 9), px=80),
        row(4, RANK=None, DATE=date(2026, 1, 12), px=99),
        row(5, RANK=3, DATE=None, px=None),
    ]
    assert ids(rows) == [3, 2, 5, 1, 4]
    assert ids(rows, order=("date desc", "rank asc")) == [4, 1, 3, 2, 5]
    assert ids(rows, order=("rank desc", "price asc")) == [1, 3, 2, 5, 4]
    assert ids(rows, order=("price asc",)) == [3, 1, 2, 4, 5]


@pytest.mark.parametrize("order", [(), ("rank",), ("rank up",), ("rank asc", "rank desc")])
def test_bad_order(order):
    with pytest.raises(ValueError):  # noqa: PT011
        rank([], order=order)


def test_ties_go_by_id_then_columns_then_extras_in_binary_order():
    assert ids([row(None), row(17734072432755618), row(17734072432755617)])[:2] == [
        17734072432755617,
        17734072432755618,
    ]
    out = rank([row(TICKER=t) for t in ("a", "B", "", "A", None, "\U0001f4c8", "\uff5e")])
    assert [r["TICKER"] for r in out] == ["A", "B", "a", "\uff5e", "\U0001f4c8", None, None]
    out = rank([row(zeta=1, Alpha=2), row(zeta=2, Alpha=1)])
    assert [r["Alpha"] for r in out] == [1, 2]
    assert list(out[0]) == [*CANONICAL, "Alpha", "zeta", *ADDED]


@pytest.mark.parametrize(
    ("px", "cov", "percent", "status"),
    [
        ("102", "100", "2", "Small Difference"),
        ("102.004999", "100", "2", "Small Difference"),
        ("102.005", "100", "2.01", "Significant Difference"),
        ("97.995", "100", "2.01", "Significant Difference"),
        ("-102.005", "-100", "-2.01", "Small Difference"),
        ("1", "3", "66.67", "Significant Difference"),
        ("100", "100", "0", "Small Difference"),
        ("100", "0", None, None),
    ],
)
def test_derived_differences(px, cov, percent, status):
    (out,) = rank([row(px=Decimal(px), COV_PRICE=Decimal(cov), DIFF_STATUS="")])
    assert out["PERCENT_DIFF"] == (None if percent is None else Decimal(percent))
    assert out["DIFF_STATUS"] == status
    assert out["PRICE_DIFF"] == Decimal(px) - Decimal(cov)


def test_sector_limit_knows_no_case_and_given_values_stay():
    def status(sector, percent):
        return rank([row(SECTOR=sector, PERCENT_DIFF=Decimal(percent))])[0]["DIFF_STATUS"]

    assert status("US_Equity_2.0", "5.00") == "Small Difference"
    assert status("US_MM_Equity_2.0", "5.01") == "Significant Difference"
    assert status("us_equity_2.0", "5.00") == "Small Difference"
    assert status("US_Equity_2.0 ", "2.01") == "Small Difference"
    assert status("MM-CLO", "2.01") == "Significant Difference"
    given_row = row(COV_PRICE=50, PERCENT_DIFF=1, PRICE_DIFF=7, DIFF_STATUS="mine")
    out = rank([given_row])[0]
    assert (out["PERCENT_DIFF"], out["PRICE_DIFF"], out["DIFF_STATUS"]) == (1, 7, "mine")


def test_deduplicate_keeps_the_first_of_a_quote():
    rows = [
        row(COV_PRICE=None),
        row(COV_PRICE=102, TICKER=""),
        row(COV_PRICE=101, TICKER=None, CUSIP=" a"),
        row(COV_PRICE=101, TICKER="x"),
        row(COV_PRICE=99, desk="y"),
    ]
    out = rank(rows, deduplicate=True)
    assert [(r["COV_PRICE"], r["TICKER"], r["desk"]) for r in out] == [
        (101, "x", None),
        (99, None, "y"),
        (101, None, None),
    ]
    derived = [row(RANK=None, BIAS="BID"), row(RANK=3, BIAS="BID")]
    assert len(rank(derived, deduplicate=True)) == 1


def test_dates_come_out_as_datetimes():
    (out,) = rank([row(DATE=date(2026, 1, 9), DATE_1=datetime(2026, 1, 9, 8))])
    assert (out["DATE"], out["DATE_1"]) == (datetime(2026, 1, 9), datetime(2026, 1, 9, 8))


@settings(max_examples=20, deadline=None)
@given(st.data(), st.booleans())
def test_input_order_does_not_matter(data, deduplicate):
    rows = data.draw(feeds.feeds(times=data.draw(st.booleans()), extras=True, controls=True))
    shuffled = data.draw(st.permutations(rows))
    out = rank(rows, deduplicate=deduplicate)
    assert out == rank(shuffled, deduplicate=deduplicate)
    assert sum(r["IS_PARENT"] for r in out) == len({r["CUSIP"] for r in out})


def test_feed_is_deterministic_and_shaped_like_the_real_one():
    rows = feeds.feed(1000)
    assert rows == feeds.feed(1000)
    assert rows != feeds.feed(1000, seed=2)
    assert len(rows) == 1000
    assert list(rows[0]) == CANONICAL
    assert all(len(str(r["MESSAGE_ID"])) == 17 and len(r["CUSIP"]) == 9 for r in rows)
    assert 100 < len({r["CUSIP"] for r in rows}) <= 200
    assert len({r["MESSAGE_ID"] for r in rows}) < 500
    assert len(rank(rows, deduplicate=True)) < 700


def test_files_hold_the_feed(tmp_path):
    rows = feeds.feed(200)
    table = feeds.frame(rows)
    header = {"MESSAGE_ID": "Message_Id"}
    columns = ["PX", "MESSAGE_ID", "CUSIP", "DATE_1", "TICKER"]

    assert pl.read_parquet(feeds.write_parquet(rows, tmp_path / "a.parquet")).equals(table)
    expected = table.select(columns).rename(header)
    path = feeds.write_csv(rows, tmp_path / "a.csv", columns, header)
    assert pl.read_csv(path, schema=expected.schema).equals(expected)
    path = feeds.write_xlsx(rows, tmp_path / "a.xlsx", columns, header)
    sheet = feeds.read_xlsx(path)
    assert sheet.cast(expected.schema).equals(expected)


@settings(max_examples=12, deadline=None)
@given(feeds.feeds(max_rows=10, times=True, extras=True, controls=True))
def test_any_feed_can_be_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("feeds")
    back = pl.read_parquet(feeds.write_parquet(rows, folder / "a.parquet")).to_dicts()
    assert rank(back) == rank(rows)
    names = feeds.frame(rows).columns
    path = feeds.write_csv(rows, folder / "a.csv")
    texts = pl.read_csv(path, infer_schema=False)
    expected = [[feeds._as_text(r.get(name)) or None for name in names] for r in rows]
    assert [list(line) for line in texts.rows()] == expected
    feeds.write_xlsx(rows, folder / "a.xlsx")
