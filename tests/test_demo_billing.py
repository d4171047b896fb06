"""The sample schema `billing`: the same on every machine, and dirty as promised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import naive_billing as naive
import polars as pl
import pytest

from workbench.demo import billing

# Changes with the generator, never with the machine.
DUMP = """
import hashlib
from workbench.demo import billing
digest = hashlib.sha256()
for name, frame in billing.generate(1500).items():
    digest.update(name.encode() + frame.write_csv().encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return billing.generate()


@pytest.fixture(scope="module")
def raw(tables: dict[str, pl.DataFrame]) -> list[dict[str, Any]]:
    return tables["billing_transactions"].to_dicts()


@pytest.fixture(scope="module")
def rows(raw: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return naive.tidy(raw)


def test_same_everywhere() -> None:
    words = [sys.executable, "-c", DUMP]
    digests = {
        subprocess.run(
            words, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_shape(tables: dict[str, pl.DataFrame], rows: list[dict[str, Any]]) -> None:
    assert {name: frame.height for name, frame in tables.items()} == {
        "accounts": 1500, "billing_transactions": pytest.approx(32_000, rel=0.1)
    }  # fmt: skip
    for name, frame in tables.items():
        table = billing.METADATA.tables[f"billing.{name}"]
        assert frame.columns == [column.name for column in table.columns]
        assert table.comment
        for column in table.columns:
            assert column.comment
            assert column.nullable or not frame[column.name].null_count()
        [key] = table.primary_key.columns
        assert frame[key.name].is_unique().all()
    created = [row["created_at"] for row in rows]
    assert created == sorted(created)
    assert created[0].date() == billing.FIRST_DAY
    assert created[-1].date() == billing.LAST_DAY
    assert all(r["posted_at"] <= billing.NOW for r in rows if r["posted_at"])
    assert {row["type"] for row in rows} == {"INVOICE", "FEE", "PAYMENT", "CREDIT_NOTE", "REFUND",
                                             "REVERSAL"}  # fmt: skip
    assert {row["status"] for row in rows} == {"PENDING", "POSTED", "FAILED", "REVERSED"}
    for row in rows:
        assert (row["posted_at"] is None) == (row["status"] in ("PENDING", "FAILED"))
        assert (row["due_date"] is not None) == (row["type"] in naive.BILLS)
    in_use = Counter(row["currency"] for row in rows)
    assert set(in_use) == {"USD", "EUR", "GBP", "CHF", "JPY"}
    assert all(row["amount"] % 1 == 0 for row in rows if row["currency"] == "JPY")
    known = set(tables["accounts"]["account_id"])
    assert {row["account_id"] for row in rows} <= known


@pytest.mark.parametrize("rows", [1, 10, 300, 700])
def test_any_size(rows: int) -> None:
    frames = billing.generate(rows)
    assert frames["accounts"].height == max(5, rows * 1500 // 20_000)
    assert frames["billing_transactions"].height > 50


def test_dirt(
    tables: dict[str, pl.DataFrame], raw: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    accounts = tables["accounts"].to_dicts()
    odd = Counter(naive.oddities(rows, accounts, billing.LAST_DAY, 59).values())
    wrong = Counter(
        problem for problem, _ in naive.reversals(rows, billing.LAST_DAY).values()
    )  # fmt: skip
    seen = {
        "the same invoice or payment again within three days": len(
            naive.duplicates(rows, billing.LAST_DAY, 3)
        ),
        "pending for months": odd["pending for more than 59 days"],
        "status in mixed case": sum(row["status"] != row["status"].upper() for row in raw),
        "currency in small letters": sum(row["currency"] != row["currency"].upper() for row in raw),
        "booked on an account that is closed": odd["account not open that day"],
        "reversal of another amount": wrong["another amount"],
        "amount of zero": odd["amount of zero"],
        "reversed twice": wrong["reversed before"],
        "reversal in another currency": wrong["in another currency"],
        "reversal of what is not there": wrong["original is missing"],
        "payment with the sign of an invoice": odd["sign against its type"],
        "marked as reversed without a reversal": odd["marked as reversed only"],
    }
    assert {f"{kind}: {count} transactions" for kind, count in seen.items()} | {
        f"account closed without a closing day: {_closed(accounts)} accounts",
        f"account's currency in small letters: {_small(accounts)} accounts",
    } == {f"{kind}: {much}" for kind, much in billing.DIRT.items()}
    assert sum(odd.values()) == 25 + 15 + 10 + 6 + 5
    assert sum(wrong.values()) == 12 + 8 + 6 + 6


def _closed(accounts: list[dict[str, Any]]) -> int:
    return sum(a["status"] == "CLOSED" and a["closed"] is None for a in accounts)


def _small(accounts: list[dict[str, Any]]) -> int:
    return sum(a["currency"] != a["currency"].upper() for a in accounts)


def test_what_was_undone_says_so_and_balances_but_for_the_dirt(rows: list[dict[str, Any]]) -> None:
    undone = {row["reverses_id"] for row in rows if row["reverses_id"]}
    marked = {row["transaction_id"] for row in rows if row["status"] == "REVERSED"}
    assert len(marked - undone) == 5
    assert len(undone - marked) == 6
    wrong = naive.reversals(rows, billing.LAST_DAY)
    reversals = [row for row in rows if row["type"] == "REVERSAL"]
    assert len(reversals) > 200
    assert len(wrong) < len(reversals) / 5
