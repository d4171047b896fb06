"""The sample schema `shop`: the same on every machine, and broken only where it says so."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys

import polars as pl
import pytest
from sqlalchemy import String
from test_shop import NAMES, broken

from workbench import shop
from workbench.demo import marketpulse
from workbench.demo import shop as sample

DUMP = """
import hashlib
from workbench.demo import shop
digest = hashlib.sha256()
for name, frame in shop.generate(700).items():
    digest.update(name.encode() + frame.write_csv().encode())
print(digest.hexdigest())
"""
Frames = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def clean() -> Frames:
    return sample.simulate()


@pytest.fixture(scope="module")
def planted(clean: Frames) -> Frames:
    return sample.planted(clean)


@pytest.fixture(scope="module")
def audit(planted: Frames) -> shop.Audit:
    return shop.audit(shop.of(planted))


def test_same_everywhere() -> None:
    digest = hashlib.sha256()
    for name, frame in sample.generate(700).items():
        digest.update(name.encode() + frame.write_csv().encode())
    other = subprocess.run(
        [sys.executable, "-c", DUMP], env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert other.stdout.strip() == digest.hexdigest()


def test_keys_lengths_and_moments_fit_the_schema(planted: Frames) -> None:
    assert set(planted) == {table.name for table in sample.METADATA.tables.values()}
    for table in sample.METADATA.tables.values():
        frame = planted[table.name]
        assert frame.columns == [column.name for column in table.columns]
        keys = [column.name for column in table.primary_key.columns]
        assert not frame.select(keys).is_duplicated().any()
        assert table.comment
        for column in table.columns:
            values = frame[column.name]
            assert column.comment
            assert len(column.name) <= 30
            assert column.nullable or values.null_count() == 0
            if isinstance(column.type, String):
                assert (values.str.len_bytes().max() or 0) <= (column.type.length or 0)
            if values.dtype == pl.Datetime and column.name != "expires_at":
                last = values.max()
                assert last is None or last.date() <= marketpulse.LAST_DAY
        for constraint in table.foreign_keys:
            parent = planted[constraint.column.table.name][constraint.column.name]
            assert set(frame[constraint.parent.name]) <= set(parent)
    assert planted["orders"]["placed_at"].max().date() == marketpulse.LAST_DAY
    assert 2500 < planted["orders"].height < 3500
    assert 35_000 < planted["request_log"].height < 45_000


def test_sums_agree(clean: Frames) -> None:
    sums: dict[int, object] = {}
    for row in clean["order_lines"].iter_rows(named=True):
        sums[row["order_id"]] = sums.get(row["order_id"], 0) + row["quantity"] * row["price"]
    amounts = dict(clean["orders"].select("order_id", "amount").rows())
    assert sums == amounts
    for table in ("payments", "invoices"):
        assert all(amounts[o] == a for o, a in clean[table].select("order_id", "amount").rows())


@pytest.mark.parametrize("rows", [1, 10, 37, 300, 700])
def test_any_size(rows: int) -> None:
    frames = sample.generate(rows)
    assert frames["carts"].height
    assert set(broken(shop.audit(shop.of(frames)))) <= set(NAMES)


def test_the_audit_finds_what_was_planted_and_nothing_else(
    clean: Frames, planted: Frames, audit: shop.Audit
) -> None:
    """By the rows that differ, in which the audit has no part."""

    def changed(table: str) -> pl.DataFrame:
        key = clean[table].columns[0]
        both = planted[table].join(clean[table], on=key, suffix="_before")
        differ = [
            pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in clean[table].columns[1:]
        ]
        return both.filter(pl.any_horizontal(differ))

    def ids(frame: pl.DataFrame, column: str) -> set[str]:
        return {str(value) for value in frame[column]}

    def missing(one: Frames, other: Frames, table: str) -> pl.DataFrame:
        key = clean[table].columns[0]
        return one[table].join(other[table], on=key, how="anti")

    more, fewer = missing(planted, clean, "payments"), missing(clean, planted, "payments")
    twice = more.filter(kind="charge")
    assert (twice.height, more.filter(kind="refund").height, fewer.height) == (2, 1, 2)
    shared = changed("orders")
    assert shared.height == 1
    last = missing(planted, clean, "reservations")
    assert last["product_id"].n_unique() == 1
    found = broken(audit)
    assert found == {
        "once": ids(twice, "idempotency_key") | ids(shared, "idempotency_key"),
        "in_stock": {f"reservation {last['reservation_id'].max()} {last['product_id'][0]}"},
        "expiring": ids(changed("reservations"), "reservation_id"),
        "refunded": ids(more.filter(kind="refund"), "order_id") | ids(fewer, "order_id"),
        "packed": ids(changed("packing_tasks"), "order_id"),
        "shipped": ids(changed("shipments"), "task_id"),
    }
    counts = [int(much.split()[0]) for much in sample.DIRT.values()]
    assert counts == [2, 1, 1, 3, 2, 1, 3, 2]
    assert sum(map(len, found.values())) == sum(counts)
    assert set(audit.levels["verdict"]) == {"kept"}


def test_weeks_tell_together_what_the_month_tells(planted: Frames, audit: shop.Audit) -> None:
    """A promise is judged in one period: neither twice, nor never where a deadline is across."""
    first, total = dt.date(2025, 12, 11), dict.fromkeys(audit.promises["promise"], 0)
    offenders = dict.fromkeys(total, 0)
    for week in range(5):
        since = first + dt.timedelta(days=7 * week)
        until = since + dt.timedelta(days=6)
        part = shop.audit(shop.of(planted, since.isoformat(), until.isoformat()))
        for name, checked, wrong in part.promises["promise", "checked", "violations"].rows():
            total[name] += checked
            offenders[name] += wrong
    whole = audit.promises
    assert offenders == dict(zip(whole["promise"], whole["violations"], strict=True))
    # A key is checked in each week in which it was used; the others are decided once.
    del total["one order and one charge"]
    expected = dict(zip(whole["promise"], whole["checked"], strict=True))
    assert total == {name: expected[name] for name in total}
