"""findings(): what is wrong with a feed is said with how often, an example and what follows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import string
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from workbench import run_colors, securities
from workbench.oddities import findings

# Published: Apple, Microsoft, Cisco, Nortel (of Canada).
APPLE, MICROSOFT, CISCO, NORTEL = "037833100", "594918104", "17275R102", "656568508"
APPLE_ISIN, NORTEL_ISIN = "US0378331005", "CA6565685089"
SAP, BAE = "DE0007164600", "GB0002634946"
GOOD: dict[str, Any] = {
    "MESSAGE_ID": 1, "TICKER": "A", "CUSIP": MICROSOFT, "DATE": dt.datetime(2026, 1, 11),
    "DATE_1": dt.datetime(2026, 1, 9), "PX": 100.0, "COV_PRICE": 99.0, "BIAS": "BID", "RANK": 3,
}  # fmt: skip


def found(*rows: dict[str, Any], **options: Any) -> dict[str, tuple[int, str]]:
    """Rank rows that differ from a good one as given: finding -> rows and example, in order."""
    full = [GOOD | {"MESSAGE_ID": n} | row for n, row in enumerate(rows, start=1)]
    listed = findings(run_colors(pl.DataFrame(full, infer_schema_length=None), **options))
    assert listed.schema == {
        "finding": pl.String, "rows": pl.Int64, "example": pl.String, "meaning": pl.String,
    }  # fmt: skip
    assert listed["meaning"].str.len_chars().min() is None or min(listed["meaning"].str.len_chars())
    return {name: (rows, example) for name, rows, example, _ in listed.rows()}


def test_a_clean_feed_has_nothing_to_say() -> None:
    assert found({}, {"CUSIP": APPLE, "BIAS": " bid\t"}, {"BIAS": None, "RANK": 6}) == {}


def test_prices_that_no_bond_has() -> None:
    prices = [0.0, -100.5, None, 2.0, 10.0, 110.0, 110.01, 9.99]
    assert found(*({"PX": price} for price in prices)) == {
        "Price zero or below": (2, "0"),
        "Price below 10 or above 110": (3, "110.01"),
        "No price": (1, MICROSOFT),
    }
    assert found({"PX": -100.5})["Price zero or below"] == (1, "-100.5")


def test_dates_that_cannot_be() -> None:
    today = dt.datetime.combine(dt.date.today(), dt.time(23, 59))
    later = dt.datetime(2026, 1, 12)
    assert found({"DATE": today, "DATE_1": today}) == {}
    assert found({"DATE": today + dt.timedelta(days=400)}) == {
        "Date in the future": (1, str(today + dt.timedelta(days=400))),
    }
    assert found({}, {"DATE_1": later}, {"DATE": None, "DATE_1": None}, {"DATE": None}) == {
        "No date": (1, MICROSOFT),
        "Received after its as-of date": (1, "2026-01-12 after 2026-01-11"),
    }


def test_years_that_no_color_is_of() -> None:
    days = [dt.datetime(year, 12, 31) for year in (1, 26, 1899, 1900)]
    future = dt.datetime(2101, 1, 1)
    assert found(*({"DATE_1": day} for day in days), {"DATE": future}) == {
        "Date in the future": (1, "2101-01-01"),
        "Date before 1900": (3, "1899-12-31"),
    }


def test_feeds_whose_days_and_months_are_in_different_orders(tmp_path: Path) -> None:
    for name, form in (("a.csv", "%d/%m/%Y"), ("b.csv", "%m/%d/%Y")):
        days = [f"{dt.date(2026, 1, n):{form}}" for n in (2, 31)]
        lines = [f"{n},{MICROSOFT},100,3,{day},99" for n, day in enumerate(days)]
        (tmp_path / name).write_text("\n".join(["MESSAGE_ID,CUSIP,PX,RANK,DATE,COV_PRICE", *lines]))
    different = "Day or month first, feed by feed"
    both = findings(run_colors([tmp_path / "a.csv", tmp_path / "b.csv"]))
    assert both.filter(finding=different).select("rows").item() == 4
    for alone in ("a.csv", "b.csv"):
        assert different not in findings(run_colors([tmp_path / alone]))["finding"]


def test_ranks_and_biases_that_disagree() -> None:
    rows = [
        *({"BIAS": " Offer ", "RANK": rank} for rank in (1, 4, None)),
        *({"BIAS": bias, "RANK": 2} for bias in ("b\u0131d", "RUMOUR", "", None)),
        {"BIAS": None, "RANK": None},
        {"BIAS": "VALUATION", "RANK": 0},
    ]
    assert found(*rows) == {
        "No rank": (1, ""),
        "Rank outside 1 to 6": (1, "0"),
        "Rank contradicting BIAS": (2, "VALUATION ranked 0 instead of 6"),
        "Unknown BIAS": (2, "b\u0131d"),
    }


def test_what_stands_where_a_cusip_belongs() -> None:
    cusips = [CISCO, CISCO, f" {APPLE_ISIN.lower()}", NORTEL_ISIN, SAP, BAE, "59491810",
              "17275R103", "US0378331006", "ABC", "1" * 10, "97988 RBL"]  # fmt: skip
    assert found(*({"CUSIP": cusip, "PX": n + 50.0} for n, cusip in enumerate(cusips))) == {
        "One security under several ids": (3, f"{CISCO} / 17275R103"),
        "ISIN where a CUSIP belongs": (2, NORTEL_ISIN),
        "ISIN that holds no CUSIP": (2, min(SAP, BAE)),
        "CUSIP of 8 characters": (1, "59491810"),
        "No CUSIP by its shape": (4, "1" * 10),
        "CUSIP with a wrong check digit": (1, "17275R103"),
        "CUSIP written differently": (1, ""),
    }


def test_one_security_ranked_apart_comes_first() -> None:
    ids = [APPLE, APPLE, APPLE_ISIN, APPLE[:8], MICROSOFT, NORTEL, NORTEL_ISIN]
    listed = found(*({"CUSIP": cusip, "PX": -1.0 - n} for n, cusip in enumerate(ids)))
    assert next(iter(listed)) == "One security under several ids"
    assert listed["One security under several ids"] == (
        6, f"{APPLE[:8]} / {APPLE} / {APPLE_ISIN}",
    )  # fmt: skip


def luhn(isin: str) -> bool:
    digits = "".join(str(int(c, 36)) for c in isin)
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(sum(divmod(d, 10)) for d in doubled) % 10 == 0


def double_add_double(cusip: str) -> bool:
    worth = {c: n for n, c in enumerate(string.digits + string.ascii_uppercase + "*@#")}
    values = [worth[c] * (1 + n % 2) for n, c in enumerate(cusip[:8])]
    return (10 - sum(sum(divmod(v, 10)) for v in values) % 10) % 10 == int(cusip[8])


def test_check_digits_agree_with_the_rules_written_plainly() -> None:
    rng = random.Random(7)
    pool = string.digits + string.ascii_uppercase
    nine = [
        "".join(rng.choices(pool + "*@#", k=8)) + rng.choice(string.digits) for _ in range(3000)
    ]
    twelve = [
        "".join(rng.choices(string.ascii_uppercase, k=2))
        + "".join(rng.choices(pool, k=9))
        + rng.choice(string.digits)
        for _ in range(3000)
    ]
    odd = ["", "\u00c4" * 9, "12345678\n", "12345678a", "us0378331005", "\u0661" * 9, "0" * 12]
    kinds = dict(securities.kinds(pl.Series([*nine, *twelve, *odd])).select("CUSIP", "kind").rows())
    for cusip in nine:
        assert (kinds[cusip] == securities.CUSIP) == double_add_double(cusip), cusip
    for isin in twelve:
        assert (kinds[isin] == securities.ISIN) == luhn(isin), isin
    assert {kinds[text] for text in odd} == {securities.OTHER}
    for known in (APPLE, MICROSOFT, CISCO, NORTEL):
        assert double_add_double(known)
    assert all(map(luhn, (APPLE_ISIN, NORTEL_ISIN, SAP, BAE)))


def test_ids_that_excel_rounded_are_seen_in_what_it_saved(tmp_path: Path) -> None:
    rng = random.Random(3)
    ids = [rng.randrange(10**16, 10**17) for _ in range(60)]
    cusips = [MICROSOFT, APPLE]
    frame = pl.DataFrame([GOOD | {"MESSAGE_ID": n, "CUSIP": cusips[n % 2]} for n in ids])
    assert "Message ids rounded" not in found(*({"MESSAGE_ID": n} for n in ids))
    frame.write_excel(tmp_path / "feed.xlsx")
    listed = findings(run_colors(tmp_path / "feed.xlsx"))
    assert listed.filter(pl.col("finding") == "Message ids rounded")["rows"].item() == 60


def test_a_quote_that_came_by_several_feeds() -> None:
    rows = [
        {"ORIGIN": feed, "PX": px} for feed in ("auto.csv", "manual.xlsx") for px in (99.0, 98.0)
    ]
    rows.append({"ORIGIN": "auto.csv", "PX": 97.0})
    same = [row | {"MESSAGE_ID": 5} for row in rows]
    assert found(*same)["Same quote in several feeds"] == (
        4, f"{MICROSOFT}: auto.csv / manual.xlsx",
    )  # fmt: skip
    assert "Same quote in several feeds" not in found(*rows)


def test_no_rows_are_said(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(",".join(GOOD) + "\n")
    assert findings(run_colors(path))["finding"].to_list() == ["No colors"]


def test_hostile_values_are_cut_and_left_to_the_display_to_escape() -> None:
    hostile = "<script>alert('x')</script>" * 9
    listed = found({"BIAS": hostile, "CUSIP": hostile, "TICKER": hostile}, {"CUSIP": hostile})
    assert {len(example) for _, example in listed.values()} <= {0, 60}
    assert listed["Unknown BIAS"] == (1, hostile[:60])


def test_what_was_met_while_reading_is_among_the_findings(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(f"MESSAGE_ID,CUSIP,PX,RANK,DATE,COV_PRICE\n1,{APPLE},100,3,46031,99\n")
    ranked = run_colors(path)
    (row,) = findings(ranked).rows()
    assert row[:3] == ("Dates as Excel serials", 1, "46031 \N{RIGHTWARDS ARROW} 2026-01-09")


def test_a_rule_that_removed_nothing_is_a_finding() -> None:
    ranked = run_colors(pl.DataFrame([GOOD]))
    rules = pl.DataFrame(
        {"rule": ["a", "b", "c"], "removes": ["x is 1", "y is 2", "z is 3"],
         "removed": [3, 0, 0], "met": [3, 2, 0]}
    )  # fmt: skip
    listed = findings(dataclasses.replace(ranked, rules=rules))
    assert listed["example"].to_list() == ["b", "c"]
    assert "all 2 rows" in listed["meaning"][0]
    assert "no row" in listed["meaning"][1]


def test_counts_of_a_large_feed() -> None:
    count = 60_000
    rng = random.Random(5)
    cusips = ["".join(rng.choices(string.digits, k=rng.choice((8, 9, 12)))) for _ in range(20_000)]
    frame = pl.DataFrame(
        {
            "MESSAGE_ID": range(count),
            "CUSIP": [cusips[n % 20_000] for n in range(count)],
            "PX": [Decimal(n % 150) for n in range(count)],
            "BIAS": ["BID", "OFFER", "RUMOUR", None] * (count // 4),
            "RANK": [1, 2, 3, 4] * (count // 4),
            "DATE": [dt.datetime(2026, 1, 9)] * count,
        }
    )
    ranked = run_colors(frame)
    listed = dict(findings(ranked).select("finding", "rows").rows())
    assert listed["Unknown BIAS"] == count // 4
    assert listed["Price zero or below"] == sum(n % 150 == 0 for n in range(count))
