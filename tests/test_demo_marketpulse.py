"""The sample schema `marketpulse`: the same on every machine, and dirty as promised."""

import os
import subprocess
import sys
from collections import Counter, defaultdict
from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pytest

from workbench.demo import marketpulse

# Changes with the generator, never with the machine. Print it with DUMP below.
DUMP = """
import hashlib
from workbench.demo import marketpulse
digest = hashlib.sha256()
for name, frame in marketpulse.generate(3000).items():
    digest.update(name.encode() + frame.write_csv().encode())
print(digest.hexdigest())
"""
RANKS = {
    "TRADE CONFIRM": 1,
    "BWIC COVER": 2,
    "BWIC REO": 3,
    "MARKET": 3,
    "BUYER": 3,
    "BID": 3,
    "COLOR": 3,
    "DNT": 3,
    "DNT BEST": 3,
    "OFFER": 4,
    "BWIC TALK": 5,
    "VALUATION": 6,
}
DERIVED = {"color_id", "cov_price", "percent_diff", "price_diff", "diff_status"}


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return marketpulse.generate()


@pytest.fixture(scope="module")
def colors(tables: dict[str, pl.DataFrame]) -> list[dict[str, object]]:
    return tables["colors"].to_dicts()


def test_same_everywhere() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DUMP],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_shape(tables: dict[str, pl.DataFrame], colors: list[dict[str, object]]) -> None:
    assert list(tables) == ["dealers", "securities", "coverage", "colors"]
    assert tables["securities"].height == 1500
    assert tables["colors"].height == 20_000
    for name, frame in tables.items():
        table = marketpulse.METADATA.tables[f"marketpulse.{name}"]
        assert frame.columns == [column.name for column in table.columns]
        assert table.comment
        assert all(column.comment for column in table.columns)
        for column in table.columns:
            assert column.nullable or frame[column.name].null_count() == 0
    busiest = Counter(row["cusip"] for row in colors if row["cusip"])
    assert 80 <= max(busiest.values()) <= 150
    assert min(busiest.values()) == 1
    assert len({row["sector"] for row in colors}) == 8
    assert max(row["date"] for row in colors) == marketpulse.LAST_DAY
    assert {row["bias"].upper() for row in colors} == set(RANKS)
    arrival = [(row["date_1"], row["message_id"]) for row in colors]
    assert arrival == sorted(arrival)
    assert all(0 <= (row["date"] - row["date_1"]).days <= 3 for row in colors)


@pytest.mark.parametrize("rows", [1, 37, 500])
def test_any_size(rows: int) -> None:
    assert marketpulse.generate(rows)["colors"].height == rows


def digit_of(cusip: str) -> str:
    total = 0
    for place, character in enumerate(cusip[:8], 1):
        value = int(character) if character.isdigit() else ord(character) - ord("A") + 10
        value = value * 2 if place % 2 == 0 else value
        total += value // 10 + value % 10
    return str((10 - total % 10) % 10)


def test_check_digits(tables: dict[str, pl.DataFrame]) -> None:
    assert digit_of("03783310") == "0"  # Apple's, from the standard's own examples
    assert marketpulse.check_digit("03783310") == "0"
    cusips = tables["securities"]["cusip"].to_list()
    assert len(set(cusips)) == len(cusips)
    assert all(len(cusip) == 9 and cusip[8] == digit_of(cusip) for cusip in cusips)


def test_foreign_keys_and_keys_hold(tables: dict[str, pl.DataFrame]) -> None:
    declared = 0
    for table in marketpulse.METADATA.tables.values():
        keys = [column.name for column in table.primary_key.columns]
        assert not tables[table.name].select(keys).is_duplicated().any()
        for constraint in table.foreign_keys:
            parent = tables[constraint.column.table.name][constraint.column.name]
            assert set(tables[table.name][constraint.parent.name]) <= set(parent)
            declared += 1
    assert declared == 2


def test_derived_columns(colors: list[dict[str, object]]) -> None:
    for row in colors:
        px, coverage = row["px"], row["cov_price"]
        if coverage is None:
            assert row["percent_diff"] is row["price_diff"] is row["diff_status"] is None
            continue
        percent = (abs(px - coverage) / coverage * 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
        limit = 5 if "Equity" in row["sector"] else 2
        assert row["percent_diff"] == percent
        assert row["price_diff"] == px - coverage
        assert (row["diff_status"] == "Significant Difference") == (percent > limit)
        assert px == (row["bid"] or row["ask"])
    for bias in ("BID", "OFFER", "VALUATION"):
        some = [row for row in colors if row["bias"] == bias]
        assert all((row["bid"] == 0) == (bias == "OFFER") for row in some)
        assert all((row["ask"] == 0) == (bias == "VALUATION") for row in some)


def test_dirt(tables: dict[str, pl.DataFrame], colors: list[dict[str, object]]) -> None:
    known = set(tables["securities"]["cusip"])
    cusips = [row["cusip"] for row in colors]
    assert cusips.count(None) == 12
    given = [cusip for cusip in cusips if cusip is not None]
    assert sum(not cusip.strip() for cusip in given) == 4
    assert sum(cusip != cusip.upper() for cusip in given) == 20
    assert sum(cusip != cusip.strip() and bool(cusip.strip()) for cusip in given) == 20
    clean = [cusip.strip().upper() for cusip in given if cusip.strip()]
    orphans = [cusip for cusip in clean if cusip not in known]
    assert len(orphans) == 6
    assert all(cusip[8] == digit_of(cusip) for cusip in orphans)
    assert sum(row["px"] == 2 for row in colors) == 12
    assert sum(row["px"] == 114 for row in colors) == 12
    assert sum(row["bias"] != row["bias"].upper() for row in colors) == 10
    unranked = sum(row["rank"] is None for row in colors)
    assert 140 <= unranked <= 260
    assert all(row["rank"] in (None, RANKS[row["bias"].upper()]) for row in colors)
    assert 450 <= sum(row["cov_price"] is None for row in colors) <= 750


def test_two_tickers(colors: list[dict[str, object]]) -> None:
    tickers = defaultdict(set)
    for row in colors:
        if row["cusip"] and row["cusip"].strip():
            tickers[row["cusip"]].add(row["ticker"])
    doubled = [names for names in tickers.values() if len(names) > 1]
    assert len(doubled) == 5
    assert all(any(name.endswith("  ") for name in names) for names in doubled)


def test_message_ids(colors: list[dict[str, object]]) -> None:
    messages = {row["message_id"] for row in colors}
    assert all(len(str(message)) == 17 and message > 2**53 for message in messages)
    rounded = [message for message in messages if message % 10 == 0]
    assert 0.02 < len(rounded) / len(messages) < 0.07
    assert any(int(float(message)) != message for message in messages)


def test_repeated_quotes(colors: list[dict[str, object]]) -> None:
    quotes = Counter(
        tuple(value for name, value in row.items() if name not in DERIVED) for row in colors
    )
    again = Counter(quotes.values())
    assert set(again) == {1, 3, 4}
    assert 0.01 < (again[3] + again[4]) / len(quotes) < 0.03
    rows = {tuple(value for name, value in row.items() if name != "color_id") for row in colors}
    assert len(rows) == len(colors)


def test_dirt_is_documented() -> None:
    assert len(marketpulse.DIRT) == 12
