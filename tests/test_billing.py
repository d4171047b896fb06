"""Billing: the reader alone, figures against plain Python, and the notebook as people run it."""

from __future__ import annotations

import calendar
import dataclasses
import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Literal

import naive_billing as naive
import polars as pl
import polars.selectors as cs
import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from commands import command
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb

from notebooks import runs_in
from workbench import billing, display, embedded, validate
from workbench.billing import BillingTransaction, Book, Period
from workbench.database import Database, connect
from workbench.demo import billing as sample
from workbench.errors import DataError, UsageError
from workbench.ledger import STATUSES, TYPES, days_of
from workbench.running.parameters import read_parameters

NOTEBOOK = ROOT / "notebooks" / "billing_transactions.ipynb"
LAST = sample.LAST_DAY
DAYS = [LAST, dt.date(2025, 6, 30), dt.date(2024, 7, 9)]
BLANKS = " \t\r\n\v\f\N{NO-BREAK SPACE}"
EVIL = "<script>alert('x')</script> & \"Söhne\" 100% :id"
DAY = dt.timedelta(days=1)
FIGURES = (billing.ageing, billing.overdue, billing.trend, billing.duplicates, billing.reversals,
           billing.oddities)  # fmt: skip


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def row(number: int, amount: str, kind: str = "INVOICE", **other: Any) -> dict[str, Any]:
    posted = other.get("posted_at", moment("2026-01-05 10:00:00"))
    usual = {
        "transaction_id": number, "account_id": 1, "type": kind, "amount": Decimal(amount),
        "currency": "EUR", "status": "POSTED", "created_at": posted or moment("2026-01-05"),
        "posted_at": posted, "due_date": None, "reference": f"R{number}", "reverses_id": None,
    }  # fmt: skip
    return {**usual, **other}


def undo(number: int, amount: str, original: int | None, **other: Any) -> dict[str, Any]:
    return row(number, amount, "REVERSAL", reverses_id=original, **other)


AMOUNTS = st.decimals(min_value=-(10**10) + 1, max_value=10**10 - 1, places=2)
MOMENTS = st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2100, 1, 1))
ROWS = st.builds(
    dict,
    transaction_id=st.integers(0, 10**18),
    account_id=st.integers(0, 10**9),
    type=st.sampled_from(TYPES),
    amount=AMOUNTS,
    currency=st.from_regex("[A-Z]{3}", fullmatch=True),
    status=st.sampled_from(STATUSES),
    created_at=MOMENTS,
    posted_at=st.none() | MOMENTS,
    due_date=st.none() | st.dates(),
    reference=st.none() | st.text(),
    reverses_id=st.none() | st.integers(0, 10**18),
)


@settings(max_examples=50, deadline=None)
@given(values=ROWS)
def test_a_transaction_is_read_exactly_from_values_and_from_texts(values: dict[str, Any]) -> None:
    found = BillingTransaction.read(values)
    meant = {**values, "reference": (values["reference"] or "").strip(BLANKS) or None}
    for name, value in meant.items():
        aware = value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value
        assert getattr(found, name) == aware
    texts = {name.upper(): value if value is None else str(value) for name, value in values.items()}
    texts["TYPE"] = f"\t{values['type'].title()}\N{NO-BREAK SPACE}"
    texts["CURRENCY"] = values["currency"].lower()
    assert BillingTransaction.read({**texts, "OTHER": object()}) == found


def test_moments_are_told_in_utc_and_days_have_no_time() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    found = BillingTransaction.read(
        row(1, "5", created_at=dt.datetime(2026, 1, 1, 0, 30, tzinfo=zone),
            due_date=dt.datetime(2026, 2, 1, 13))
    )  # fmt: skip
    assert found.created_at == dt.datetime(2025, 12, 31, 22, 30, tzinfo=dt.UTC)
    assert found.created_at.utcoffset() == dt.timedelta()
    assert found.due_date == dt.date(2026, 2, 1)
    assert type(found.due_date) is dt.date


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transaction_id", None), ("transaction_id", "x1"), ("transaction_id", -1),
        ("account_id", 17.0), ("account_id", True), ("type", "CHARGEBACK"), ("type", None),
        ("amount", 0.1), ("amount", "1.005"), ("amount", "12345678901.00"), ("amount", "NaN"),
        ("amount", None), ("currency", "EURO"), ("currency", "E1R"), ("currency", None),
        ("status", "OPEN"), ("created_at", None), ("created_at", "yesterday"), ("created_at", 7),
        ("posted_at", dt.date(2026, 1, 1)), ("due_date", 20260101), ("due_date", "2026-02-30"),
        ("reference", 5), ("reverses_id", 1.5), ("created_at", "0001-01-01T00:00:00+14:00"),
        ("posted_at", "9999-12-31 23:59:59-01:00"),
        ("status", "PO\N{LATIN SMALL LETTER LONG S}TED"),
    ],
)  # fmt: skip
def test_a_malformed_row_is_refused_by_id_and_field(name: str, value: object) -> None:
    with pytest.raises(DataError) as refused:
        BillingTransaction.read({**row(700, "5"), name: value})
    assert refused.value.message.startswith(
        f"Transaction {700 if name[0] != 't' or name == 'type' else value}"
    )
    assert f": {name}: " in refused.value.message
    assert "\n" not in refused.value.message


def test_a_missing_field_is_named() -> None:
    incomplete = row(700, "5")
    del incomplete["currency"]
    with pytest.raises(DataError, match="Transaction 700: currency: Field required"):
        BillingTransaction.read(incomplete)


@settings(max_examples=50, deadline=None)
@given(year=st.integers(1900, 9998), month=st.integers(1, 12))
def test_a_month_and_a_year_have_their_first_and_last_day(year: int, month: int) -> None:
    last = dt.date(year, month, calendar.monthrange(year, month)[1])
    assert days_of(f"{year}-{month:02}") == (dt.date(year, month, 1), last)
    assert days_of(f"{year}") == (dt.date(year, 1, 1), dt.date(year, 12, 31))
    assert days_of(f"{last}/{last}") == (last, last)


@pytest.mark.parametrize(
    "given",
    ["", " ", "26", "2026-1", "2026-13", "2026-00", "2026-02-30/2026-03-01", "2026-01-01",
     "2026-01-02/2026-01-01", "20260101/20260102", "1899", "9999", "9999-12-31/9999-12-31",
     "２０２６", "2026-01-01/2026-01-02/2026-01-03", "2026\n", "'; DROP TABLE x; --", "last month"],
)  # fmt: skip
def test_anything_else_is_no_period(given: str) -> None:
    with pytest.raises(UsageError, match="is no period"):
        days_of(given)


@pytest.fixture(scope="module")
def demo() -> Iterator[Book]:
    with connect("demo") as db:
        yield billing.book(db)


@pytest.fixture(scope="module")
def rows(demo: Book) -> list[dict[str, Any]]:
    return naive.tidy(demo.db.read(sa.select(demo.transactions)).to_dicts())


@pytest.fixture(scope="module")
def accounts(demo: Book) -> list[dict[str, Any]]:
    return demo.db.read(sa.select(demo.accounts)).to_dicts()


def by(frame: pl.DataFrame, key: str, *names: str) -> dict[Any, Any]:
    return {each[key]: tuple(each[name] for name in names) for each in frame.to_dicts()}


def same_ageing(found: pl.DataFrame, meant: dict[str, dict[str, Decimal]]) -> None:
    assert found["currency"].to_list() == sorted(meant)
    for each in found.to_dicts():
        assert {name: value for name, value in each.items() if name != "currency"} == meant[
            each["currency"]
        ]


def tuples(frame: pl.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return frame.select(names).rows()


@pytest.mark.parametrize("day", DAYS)
def test_every_figure_of_a_day_is_what_plain_python_makes_of_the_rows(
    demo: Book, rows: list[dict[str, Any]], accounts: list[dict[str, Any]], day: dt.date
) -> None:
    same_figures(demo, rows, accounts, day)


def same_figures(
    demo: Book, rows: list[dict[str, Any]], accounts: list[dict[str, Any]], day: dt.date
) -> None:
    same_ageing(billing.ageing(demo, day), naive.ageing(rows, day))
    late = billing.overdue(demo, day, 4)
    names = ("currency", "account_id", "amount", "documents", "since")
    assert tuples(late, *names) == naive.overdue(rows, day, 4)
    names = ("currency", "month", "billed", "paid", "other", "balance")
    assert tuples(billing.trend(demo, day), *names) == naive.trend(rows, day)
    found = billing.duplicates(demo, day, 2)
    pairs = tuples(found, "transaction_id", "previous_transaction_id")
    assert sorted(pairs) == sorted(naive.duplicates(rows, day, 2))
    assert found["created_at"].is_sorted(descending=True)
    found = billing.reversals(demo, day)
    assert by(found, "transaction_id", "problem", "off_by") == naive.reversals(rows, day)
    found = billing.oddities(demo, day, 20)
    meant = naive.oddities(rows, accounts, day, 20)
    assert dict(tuples(found, "transaction_id", "finding")) == meant


@pytest.mark.parametrize("given", ["2025-03", "2024", "2026-01-09/2026-02-01", "2019-05"])
def test_every_figure_of_a_period_is_what_plain_python_makes_of_the_rows(
    demo: Book, rows: list[dict[str, Any]], given: str
) -> None:
    when = billing.period(demo, given)
    found = billing.totals(demo, when)
    names = ("currency", "type", "status", "transactions", "amount")
    assert tuples(found, *names) == naive.totals(rows, when.first, when.last)
    found = billing.movements(demo, when, 3)
    meant = naive.movements(rows, when.first, when.last, 3)
    assert tuples(found, "currency", "transaction_id", "amount") == meant
    for account in (7, 1001):  # the first has two currencies
        said = billing.statement(demo, account, when)
        balances, lines = naive.statement(rows, account, when.first, when.last)
        names = ("opening", "charged", "taken_off", "closing", "pending")
        assert by(said.balances, "currency", *names) == balances
        names = ("currency", "moment", "transaction_id", "amount", "balance")
        assert tuples(said.lines, *names) == lines
        same_ageing(said.ageing, naive.ageing(rows, when.as_of, account))


def test_without_a_period_it_is_the_last_30_days_of_the_book(demo: Book) -> None:
    when = billing.period(demo)
    assert (when.first, when.last, when.as_of) == (LAST - 29 * DAY, LAST, LAST)
    assert billing.period(demo, 2027).as_of == LAST
    assert billing.period(demo, "2025-02").as_of == dt.date(2025, 2, 28)


def test_balances_are_what_ageing_says_and_what_the_months_add_up_to(demo: Book) -> None:
    found = billing.ageing(demo, LAST)
    parts = pl.sum_horizontal("not_due", "overdue", "unmatched")
    assert found.select(parts).to_series().to_list() == found["balance"].to_list()
    ends = billing.trend(demo, LAST).filter(month=LAST.replace(day=1))
    assert tuples(ends, "currency", "balance") == tuples(found, "currency", "balance")


@pytest.fixture(scope="module")
def own(schema: str) -> Iterator[Callable[..., Book]]:
    """Fill the module's own schema with accounts and transactions; nothing else is in it then."""
    engine = sa.create_engine(embedded.connection_url())
    metadata = sa.MetaData()
    tables = [t.to_metadata(metadata, schema=schema) for t in sample.METADATA.sorted_tables]
    metadata.create_all(engine)
    with connect("demo") as db:

        def fill(*rows: dict[str, Any], name: str = "Acme") -> Book:
            account = {
                "account_id": 1, "name": name, "country": "DE", "currency": "EUR", "terms": 30,
                "status": "ACTIVE", "opened": dt.date(2020, 1, 1), "closed": None,
            }  # fmt: skip
            other = {**account, "account_id": 2, "name": "Other"}
            with engine.begin() as connection:
                for table in reversed(tables):
                    connection.execute(table.delete())
                if rows:
                    connection.execute(tables[0].insert(), [account, other])
                    connection.execute(tables[1].insert(), list(rows))
            return billing.book(db, schema)

        yield fill
    engine.dispose()


@pytest.mark.parametrize(
    ("late", "bucket"),
    [(-1, "not_due"), (0, "not_due"), (1, "days_1_30"), (30, "days_1_30"), (31, "days_31_60"),
     (60, "days_31_60"), (61, "days_61_90"), (90, "days_61_90"), (91, "over_90")],
)  # fmt: skip
def test_a_day_makes_the_bucket(own: Callable[..., Book], late: int, bucket: str) -> None:
    book = own(
        row(1, "100.00", due_date=LAST - late * DAY), row(2, "-0.01", "PAYMENT", reference="R1")
    )
    [found] = billing.ageing(book, LAST).to_dicts()
    assert {name for name, value in found.items() if value and name != "currency"} == {
        bucket, "balance", *(["overdue"] if late > 0 else [])
    }  # fmt: skip
    assert found[bucket] == Decimal("99.99")


def test_what_settles_an_invoice_and_what_does_not(own: Callable[..., Book]) -> None:
    due = {"due_date": LAST - 10 * DAY, "reference": "A"}
    paid = {"type": "PAYMENT", "reference": "A"}
    book = own(
        row(1, "100", **due),
        row(2, "-10", **paid),
        row(3, "-20", **paid, status="PENDING", posted_at=None),
        row(4, "-30", **paid, status="FAILED", posted_at=None),
        row(5, "-40", **paid, account_id=2),
        row(6, "-50", **paid, currency="USD"),
        row(7, "-60", **{**paid, "reference": None}),
        row(8, "-5", **paid, currency=" eur"[1:], status="Posted"),
        row(9, "-4", **paid, posted_at=moment("2026-01-10 00:00:00")),  # the day after
        row(10, "7", reference=None, posted_at=moment("2025-11-10 00:00:00")),  # due when booked
        row(11, "8", reference=None, due_date=LAST),
    )  # fmt: skip
    euro, dollar = billing.ageing(book, LAST).to_dicts()
    assert (euro["days_1_30"], euro["days_31_60"], euro["not_due"]) == (85, 7, 8)
    assert (euro["unmatched"], euro["balance"]) == (-100, 0)
    assert (dollar["unmatched"], dollar["balance"]) == (-50, -50)
    [mine] = billing.ageing(book, LAST, account=2).to_dicts()
    assert (mine["unmatched"], mine["balance"]) == (-40, -40)


def test_the_first_and_the_last_moment_of_a_period_are_in_it(own: Callable[..., Book]) -> None:
    last = moment("2025-12-31 23:59:59")
    book = own(
        row(4, "1", posted_at=moment("2025-11-30 23:59:59")),
        row(3, "10", posted_at=moment("2025-12-01 00:00:00")),
        row(2, "100", posted_at=last),
        row(1, "-1000", "PAYMENT", posted_at=last),  # the same moment: the lower id comes first
        row(5, "10000", posted_at=moment("2026-01-01 00:00:00")),
    )
    when = billing.period(book, "2025-12")
    said = billing.statement(book, "1", when)
    assert tuples(said.lines, "transaction_id", "balance") == [(3, 11), (1, -989), (2, -889)]
    assert said.balances.row(0) == ("EUR", 1, 110, -1000, -889, 0)
    assert billing.totals(book, when)["transactions"].sum() == 3
    assert {r[0] for r in tuples(billing.movements(book, when), "transaction_id")} == {1, 2, 3}
    assert said.sentence == "Account 1 is Acme, ACTIVE: from 2025-12-01 to 2025-12-31."


def test_a_duplicate_is_as_close_as_asked_for(own: Callable[..., Book]) -> None:
    start = {"reference": "A", "posted_at": moment("2026-01-01 12:00:00")}
    book = own(
        row(1, "5", **start),
        row(2, "5", **{**start, "posted_at": moment("2026-01-04 12:00:00")}),
        row(3, "5", **{**start, "posted_at": moment("2026-01-07 12:00:01")}),
        row(4, "5.01", **start),
        row(5, "5", **start, currency="USD"),
        row(6, "5", **start, account_id=2),
        row(7, "5", **start, status="FAILED"),
        row(8, "5", **start, status="REVERSED"),
        row(9, "5", **{**start, "reference": None}),
        row(10, "5", **{**start, "reference": None}),
        row(11, "5", "FEE", **start),
    )
    found = billing.duplicates(book, LAST, 3)
    assert tuples(found, "transaction_id", "previous_transaction_id") == [(2, 1), (10, 9)]
    assert found["name"].to_list() == ["Acme", "Acme"]
    assert billing.duplicates(book, dt.date(2026, 1, 3), 3)["transaction_id"].to_list() == [10]
    for days in (-1, 10**9):
        with pytest.raises(UsageError, match="number of days"):
            billing.duplicates(book, LAST, days)


def test_each_way_in_which_a_reversal_does_not_balance(own: Callable[..., Book]) -> None:
    book = own(
        *(row(n, "100", status="REVERSED") for n in range(1, 8)),
        row(8, "100", status="PENDING", posted_at=None),
        undo(11, "-100", 1),
        undo(12, "-99.99", 2), undo(13, "-100", 3, currency="USD"),
        undo(14, "-100", 4, account_id=2),
        undo(15, "-100", 5), undo(16, "-100", 5), undo(17, "-100", 99), undo(18, "-100", None),
        undo(19, "-100", 8), undo(20, "-1", 6, status="PENDING", posted_at=None),
    )  # fmt: skip
    found = by(billing.reversals(book, LAST), "transaction_id", "problem", "off_by")
    assert found == {
        12: ("another amount", Decimal("0.01")), 13: ("in another currency", -100),
        14: ("on another account", -100), 16: ("reversed before", -100),
        17: ("original is missing", -100), 18: ("names no original", -100),
        19: ("original was never booked", -100),
    }  # fmt: skip
    marked = billing.oddities(book, LAST).filter(finding="marked as reversed only")
    assert marked["transaction_id"].to_list() == [6, 7]  # one's reversal is not booked


def test_a_bill_that_was_undone_is_not_owed_whatever_the_reference_of_its_reversal(
    own: Callable[..., Book],
) -> None:
    due = {"due_date": dt.date(2025, 7, 1), "status": "REVERSED"}
    book = own(
        row(1, "500", **due, reference=None), undo(2, "-500", 1, reference=None),
        row(3, "700", **due), undo(4, "-700", 3, reference=None),
        row(5, "800", **due), undo(6, "-800", 5, reference="R3", account_id=2),
        row(7, "900", **due), undo(8, "-900", 7, status="REVERSED"), undo(9, "900", 8),
        undo(10, "-30", 99, reference="R7"),
    )  # fmt: skip
    mine, other = (billing.ageing(book, LAST, account=n).to_dicts()[0] for n in (1, 2))
    assert (mine["overdue"], mine["unmatched"], mine["balance"]) == (1670, 0, 1670)
    assert (other["overdue"], other["unmatched"], other["balance"]) == (0, -800, -800)
    assert tuples(billing.overdue(book, LAST), "account_id", "amount", "documents") == [
        (1, 1670, 2)
    ]


def test_a_wrong_reversal_that_was_put_right_is_forgotten(own: Callable[..., Book]) -> None:
    undone = {"status": "REVERSED"}
    rows = [
        row(5, "900", **undone),
        undo(6, "-900", 5, account_id=2, **undone),
        undo(7, "900", 6, account_id=2),
        undo(8, "-900", 5),
    ]
    assert billing.reversals(own(*rows), LAST).is_empty()
    assert billing.oddities(own(*rows), LAST).is_empty()
    found = billing.reversals(own(*rows[:2], rows[3]), LAST)
    assert tuples(found, "transaction_id", "problem", "off_by") == [(6, "on another account", -900)]
    left = billing.oddities(own(*rows[:3]), LAST)
    assert tuples(left, "transaction_id", "finding") == [(5, "marked as reversed only")]


def test_what_replaces_an_undone_bill_has_its_own_due_date(own: Callable[..., Book]) -> None:
    first = row(9, "100", reference="A", due_date=LAST - 99 * DAY, status="REVERSED")
    anew = row(11, "100", reference="A", due_date=LAST)
    for amount, bucket in (("-100", "not_due"), ("-99", "over_90")):
        [found] = billing.ageing(own(first, undo(10, amount, 9), anew), LAST).to_dicts()
        assert found[bucket] == found["balance"] == 200 + Decimal(amount)


def test_only_a_booked_reversal_undoes(own: Callable[..., Book]) -> None:
    marked = [row(n, "50", status="REVERSED") for n in (1, 2, 3, 4)]
    later = moment("2026-01-10 00:00:00")
    book = own(
        *marked,
        undo(12, "-50", 1, status="FAILED", posted_at=None),
        undo(13, "-50", 2, status="PENDING", posted_at=None),
        row(14, "-50", "PAYMENT", reverses_id=3),
        undo(15, "-50", 4, posted_at=later),
    )
    # The status is today's, so the fourth is no oddity of the day before its reversal.
    assert sorted(billing.oddities(book, LAST)["transaction_id"]) == [1, 2, 3]


def test_a_reference_of_blanks_is_none_and_blanks_around_one_do_not_count(
    own: Callable[..., Book],
) -> None:
    book = own(
        row(1, "10", reference=""), row(2, "20", reference=" \t"), row(3, "40", reference=None),
        row(4, "-5", "PAYMENT", reference=" A "), row(5, "80", reference="A"),
        row(6, "-1", "PAYMENT", reference=""),
    )  # fmt: skip
    [found] = billing.ageing(book, LAST).to_dicts()
    assert (found["unmatched"], found["balance"]) == (-1, 144)
    assert billing.overdue(book, LAST)["documents"].to_list() == [4]
    assert sorted(billing.look_up(book, 4).lines["transaction_id"]) == [4, 5]
    assert billing.look_up(book, 1).lines["transaction_id"].to_list() == [1]


def messy(seed: int) -> list[dict[str, Any]]:
    random = Random(seed)
    made = [
        row(
            number,
            random.choice(["-10", "10", "10", "20"]),
            random.choice(["INVOICE", "FEE", "PAYMENT", "REVERSAL", "REVERSAL", "Reversal "]),
            account_id=random.choice([1, 1, 2]),
            currency=random.choice(["EUR", "EUR", "eur", "USD"]),
            status=random.choice(["POSTED", "POSTED", "REVERSED", "posted ", "PENDING", "FAILED"]),
            posted_at=random.choice([None, LAST - random.randrange(-2, 9) * DAY]),
            due_date=random.choice([None, LAST - random.randrange(200) * DAY]),
            reference=random.choice(["A", " A", "B", "", "  ", None]),
            reverses_id=random.choice([None, number, *[number - n for n in range(1, 7)] * 3]),
        )
        for number in range(1, 400)
    ]
    for each in made:
        day = each["posted_at"] or LAST
        each["created_at"] = dt.datetime.combine(day, dt.time(9))
        each["posted_at"] = each["posted_at"] and each["created_at"]
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_book_full_of_reversals_is_read_as_plain_python_reads_it(
    own: Callable[..., Book], seed: int
) -> None:
    made = messy(seed)
    book = own(*made)
    rows = naive.tidy(made)
    accounts = book.read(sa.select(book.accounts)).to_dicts()
    for day in (LAST, LAST - 4 * DAY):
        same_figures(book, rows, accounts, day)


def test_the_suite_reads_what_the_figures_read(own: Callable[..., Book]) -> None:
    waiting = {"status": "pending ", "posted_at": moment("2026-01-05")}
    made = [
        *messy(4), row(901, "5", " payment"), row(902, "5", "charge"), row(903, "5", status="new"),
        row(904, "5", status=" posted", posted_at=None), row(905, "-5", "fee", **waiting),
    ]  # fmt: skip
    book, rows = own(*made), naive.tidy(made)
    suite = ROOT / "expectations" / "billing_transactions.json"
    found = {each.sentence: each.observed for each in validate(book.transactions, suite).results}
    none = [r for r in rows if r["posted_at"] is None]
    unnamed = [r for r in rows if r["reference"] is None]
    charges = [r for r in rows if r["type"] in naive.CHARGES]
    meant = {
        "Every type is one of the six, in any case": 1,
        "Every status is one of the four, in any case": 1,
        "What is posted says when": sum(r["status"] == "POSTED" for r in none),
        "What is pending is not posted": sum(r["status"] == "PENDING" for r in rows)
        - sum(r["status"] == "PENDING" for r in none),
        "Every invoice has a reference that payments can name": sum(
            r["type"] == "INVOICE" for r in unnamed
        ),
        "At least 95 % of the payments name their invoice": sum(
            r["type"] == "PAYMENT" for r in unnamed
        ),
        "An invoice, fee or refund is above zero": sum(r["amount"] < 0 for r in charges),
        "Every reversal is the opposite of one booked transaction, which nothing else undoes": len(
            naive.reversals(rows, dt.date.max)
        ),
    }
    assert {name: int(found[name]) for name in meant} == meant
    assert all(meant.values())


def test_numbers_are_exact_on_a_source_that_reads_floats(
    own: Callable[..., Book], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = own(row(1, "0.10"), row(2, "0.20"))
    monkeypatch.setenv("WORKBENCH_SOURCES__ROUGH__URL", str(embedded.connection_url()))
    monkeypatch.setenv("WORKBENCH_SOURCES__ROUGH__NUMBERS", "float")
    with connect("rough") as db:
        book = billing.book(db, here.accounts.schema)
        assert billing.look_up(book, 1).sentence.startswith("Transaction 1: INVOICE of 0.10 EUR")
        assert billing.ageing(book, LAST)["balance"].to_list() == [Decimal("0.30")]
        for figure in FIGURES:
            assert not figure(book, LAST).select(cs.float()).columns


@pytest.mark.parametrize("top", [0, -1, 10_001])
def test_a_list_of_none_is_refused(demo: Book, top: int) -> None:
    for figure in (billing.overdue, billing.movements):
        with pytest.raises(UsageError, match=r"A number of rows is from 1 to 10,000, not"):
            figure(demo, LAST if figure is billing.overdue else billing.period(demo), top)


def test_an_account_is_open_on_its_first_and_last_day(own: Callable[..., Book]) -> None:
    times = [
        "2025-01-01 23:59:59",
        "2025-01-02 00:00:00",
        "2025-02-02 23:59:59",
        "2025-02-03 00:00:00",
    ]
    book = own(*(row(n, "-5", "PAYMENT", posted_at=moment(t)) for n, t in enumerate(times)))
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        days = {"opened": dt.date(2025, 1, 2), "closed": dt.date(2025, 2, 2)}
        connection.execute(book.accounts.update().values(days))
    engine.dispose()
    assert sorted(billing.oddities(book, LAST)["transaction_id"]) == [0, 3]


def test_pending_is_odd_when_it_is_older_than_asked_for(own: Callable[..., Book]) -> None:
    waiting = {"status": "pending", "posted_at": None}
    book = own(
        row(1, "5", **waiting, created_at=moment("2025-12-10 00:00:00")),  # 30 days before
        row(2, "5", **waiting, created_at=moment("2025-12-09 23:59:59")),
    )
    found = billing.oddities(book, LAST, 30)
    assert tuples(found, "transaction_id", "finding") == [(2, "pending for more than 30 days")]


def test_an_empty_book_has_no_figures_and_no_errors(own: Callable[..., Book]) -> None:
    book = own()
    when = billing.period(book)
    assert when.last == dt.datetime.now(dt.UTC).date()
    frames = [figure(book, when.as_of) for figure in FIGURES]
    frames += [billing.totals(book, when), billing.movements(book, when)]
    assert [frame.height for frame in frames] == [0] * 8
    assert billing.look_up(book, 1).sentence == "There is no transaction 1."
    assert billing.statement(book, 1, when).sentence == "There is no account 1."


def test_an_account_without_transactions_says_so(own: Callable[..., Book]) -> None:
    book = own(row(1, "5"))
    said = billing.statement(book, 2, billing.period(book))
    assert said.sentence == "Account 2 is Other, ACTIVE: nothing is booked on it."
    assert (said.wrong, said.lines.height, said.balances.height) == (False, 0, 0)


def test_a_transaction_is_found_by_number_and_by_text(
    demo: Book, rows: list[dict[str, Any]]
) -> None:
    undoing = next(r for r in rows if r["type"] == "REVERSAL" and r["reverses_id"] > 700_000)
    number = undoing["transaction_id"]
    found = billing.transaction(demo, f" {number} ")
    assert found == billing.transaction(demo, number)
    assert found is not None
    assert (found.amount, found.reverses_id) == (undoing["amount"], undoing["reverses_id"])
    assert found.created_at == undoing["created_at"].replace(tzinfo=dt.UTC)
    said = billing.look_up(demo, number)
    assert f"Transaction {number}: REVERSAL of {undoing['amount']:,} " in said.sentence
    created = sorted(rows, key=lambda r: (r["created_at"], r["transaction_id"]))
    related = [
        r["transaction_id"] for r in created
        if (r["account_id"] == undoing["account_id"] and r["reference"] == undoing["reference"])
        or r["transaction_id"] == undoing["reverses_id"] or r["reverses_id"] == number
    ]  # fmt: skip
    assert said.lines["transaction_id"].to_list() == related


@pytest.mark.parametrize(
    "given",
    ["abc", "1; DROP TABLE x", "' OR 1=1 --", "-5", "1.0", "1e3", "9" * 19, "１", True, "x" * 999],
)
def test_what_is_no_id_is_told_in_a_short_sentence(demo: Book, given: Any) -> None:
    with pytest.raises(UsageError, match="The id of a transaction is made of 1 to 18"):
        billing.transaction(demo, given)
    for said in (
        billing.look_up(demo, given),
        billing.statement(demo, given, Period(LAST, LAST, LAST)),
    ):
        assert said.wrong
        assert "is made of 1 to 18 digits, not" in said.sentence
        assert len(said.sentence) < 120


def test_an_id_that_is_not_there_is_told(demo: Book) -> None:
    assert billing.transaction(demo, 1) is None
    assert billing.look_up(demo, "1").sentence == "There is no transaction 1."
    assert billing.look_up(demo, "").sentence == "No transaction was asked for."
    when = Period(LAST, LAST, LAST)
    assert (
        billing.statement(demo, 10**18 - 1, when).sentence == f"There is no account {10**18 - 1}."
    )


def test_a_malformed_row_is_told_and_not_shown(own: Callable[..., Book]) -> None:
    book = own(row(1, "5", "CHARGEBACK"))
    with pytest.raises(DataError, match="Transaction 1: type: "):
        billing.transaction(book, 1)
    assert billing.look_up(book, 1).sentence.startswith("Transaction 1: type: Input should be")


def test_a_schema_without_the_tables_or_columns_is_told(
    own: Callable[..., Book], schema: str
) -> None:
    db = own().db
    with pytest.raises(DataError, match=r"no table 'marketpulse.accounts'"):
        billing.book(db, "marketpulse")
    engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    other = f"{schema}_poor"
    with engine.connect() as connection:
        connection.execute(sa.schema.CreateSchema(other))
        try:
            connection.execute(
                sa.text(f"CREATE TABLE {other}.accounts (account_id int, name text)")
            )
            connection.execute(sa.text(f"CREATE TABLE {other}.billing_transactions (amount int)"))
            with pytest.raises(DataError, match="lacks the columns closed, opened, status"):
                billing.book(db, other)
        finally:
            connection.execute(sa.schema.DropSchema(other, cascade=True))
    engine.dispose()


@pytest.mark.oracle
def test_oracle_says_what_postgresql_says(
    oracle_source: Callable[..., str], own: Callable[..., Book]
) -> None:
    frames = sample.generate(100)
    metadata = sa.MetaData()
    with connect(oracle_source("read_only = false")) as db:
        with db.engine.connect() as connection:
            name = sa.inspect(connection).default_schema_name
        tables = [t.to_metadata(metadata, schema=name) for t in sample.METADATA.sorted_tables]
        metadata.create_all(db.engine)
        try:
            for table, frame in zip(tables, frames.values(), strict=True):
                db.execute_many(sa.insert(table), frame)
            there = billing.book(db, name)
            here = own()
            engine = sa.create_engine(embedded.connection_url())
            with engine.begin() as connection:
                for table, frame in zip(
                    (here.accounts, here.transactions), frames.values(), strict=True
                ):
                    connection.execute(table.insert(), frame.to_dicts())
            engine.dispose()
            same_everywhere(there, here, frames["billing_transactions"])
        finally:
            metadata.drop_all(db.engine)


class Recorder:
    """Passes statements on to a source, and remembers them."""

    def __init__(self, db: Database) -> None:
        self.db, self.statements = db, list[sa.Select[Any]]()

    def read_as(self, numbers: Literal["exact"], statement: sa.Select[Any]) -> pl.DataFrame:
        self.statements.append(statement)
        return self.db.read_as(numbers, statement)


def test_every_statement_is_one_that_oracle_19c_can_parse(own: Callable[..., Book]) -> None:
    """No FETCH, no boolean, no name beyond 30 bytes; without binds, each of them counts as text."""
    here = own(row(1, "5"))
    recorder = Recorder(here.db)
    book = dataclasses.replace(here, db=recorder)  # type: ignore[arg-type]
    when = billing.period(book)
    billing.look_up(book, 1)
    billing.statement(book, 1, when)
    for figure in (billing.totals, billing.movements):
        figure(book, when)
    for figure in FIGURES:
        figure(book, LAST)
    assert len(recorder.statements) == 15
    for statement in recorder.statements:
        compiled = statement.compile(dialect=OracleDialect_oracledb())
        text = str(compiled)
        assert not re.search(r"\b(FETCH|LIMIT|TRUE|FALSE|BOOLEAN)\b", text, re.IGNORECASE)
        names = re.findall(r'"([^"]+)"|\bAS (\w+)|:(\w+)', text)
        assert max(len("".join(found)) for found in names) <= 30
        # Among numbers, a text is ORA-00932.
        for bind in re.findall(r"(?:\bTHEN|\bELSE|[*+]) :(\w+)", text):
            assert isinstance(compiled.params[bind], str)


def same_everywhere(there: Book, here: Book, transactions: pl.DataFrame) -> None:
    undoing = transactions.filter(pl.col("reverses_id") > 700_000).row(0, named=True)
    for number in (undoing["transaction_id"], transactions["transaction_id"].max(), 5):
        assert billing.transaction(there, number) == billing.transaction(here, number)
        same(billing.look_up(there, number).lines, billing.look_up(here, number).lines)
    when = billing.period(there, "2025")
    assert when == billing.period(here, "2025")
    assert billing.period(there) == billing.period(here)
    for account in (undoing["account_id"], 99):
        one, other = (billing.statement(book, account, when) for book in (there, here))
        assert one.sentence == other.sentence
        for found, meant in ((one.lines, other.lines), (one.balances, other.balances)):
            same(found, meant)
    for figure in (billing.totals, billing.movements):
        same(figure(there, when), figure(here, when))
    for figure in FIGURES:
        found, meant = figure(there, LAST), figure(here, LAST)
        assert meant.height, figure
        same(found, meant)


def same(found: pl.DataFrame, meant: pl.DataFrame) -> None:
    """The same rows of the same columns; Oracle's days have a time."""
    assert found.columns == meant.columns
    days = [name for name, dtype in meant.schema.items() if dtype == pl.Date]
    assert found.with_columns(pl.col(days).cast(pl.Date)).to_dicts() == meant.to_dicts()


def run(folder: Path, **given: object) -> tuple[int, dict[str, Any], BeautifulSoup]:
    words = [part for name, value in given.items() for part in ("-p", name, str(value))]
    done = command("run", str(NOTEBOOK), "--output", str(folder), *words)
    [newest] = runs_in(folder / "billing_transactions")
    page = BeautifulSoup((newest / "report.html").read_text("utf-8"), "html.parser")
    assert (newest / "report.html").stat().st_size < 300_000
    assert not page.find("script")
    assert not page.select("main .not-run")
    return done.returncode, json.loads((newest / "run.json").read_text("utf-8")), page


def captions(page: BeautifulSoup) -> str:
    return " ".join(page.select_one("main").get_text(" ", strip=True).split())


def test_one_transaction_and_one_account_are_told_to_whoever_asks(
    own: Callable[..., Book], schema: str, tmp_path: Path
) -> None:
    early = {"created_at": moment("2025-12-01"), "posted_at": moment("2025-12-01 08:00:00")}
    book = own(
        row(1, "1234.50", **early, due_date=dt.date(2025, 12, 9), reference=EVIL[:20]),
        row(2, "-1000", "PAYMENT", reference=EVIL[:20]),
        row(3, "-1000", "PAYMENT", reference=EVIL[:20], posted_at=moment("2026-01-05 10:01:00")),
        row(4, "480.49", **early, due_date=dt.date(2025, 12, 9), account_id=2),
        name=EVIL,
    )
    code, told, page = run(
        tmp_path, schema=schema, transaction_id=1, account_id=1, period="2026-01"
    )
    assert (code, told["status"]) == (0, "passed"), told["error"]
    figures = {figure["name"]: figure["value"] for figure in told["figures"]}
    assert (figures["transactions"], figures["duplicates"], figures["overdue EUR"]) == (2, 1, 480)
    [folder] = runs_in(tmp_path / "billing_transactions")
    kinds = {path.suffix for path in (folder / "data").iterdir()}
    assert kinds == {".parquet", ".xlsx"}  # a CSV would open names that begin with = as formulas
    text = captions(page)
    assert billing.look_up(book, 1).sentence in text
    assert f"Account 1 is {EVIL}, ACTIVE: from 2026-01-01 to 2026-01-31." in text
    [line] = [t for t in page("table") if "Statement of account" in t.get_text()]
    cells = [[td.get_text(strip=True) for td in tr("td")] for tr in line.select("tbody tr")]
    assert [c[-2:] for c in cells] == [["−1,000.00", "234.50"], ["−1,000.00", "−765.50"]]


def test_what_cannot_be_found_is_told_and_the_report_is_whole(
    own: Callable[..., Book], schema: str, tmp_path: Path
) -> None:
    own()
    code, told, page = run(
        tmp_path, schema=schema, transaction_id=EVIL, account_id=404, period="2027-03"
    )
    # An empty table breaks the suites' first promise, and nothing else.
    assert (code, told["status"]) == (3, "data-failed"), told["error"]
    assert [warning["message"] for warning in told["warnings"]] == [
        f"The id of a transaction is made of 1 to 18 digits, not {EVIL[:40]!r}.",
        "There is no account 404.", "No transaction was created from 2027-03-01 to 2027-03-31.",
    ]  # fmt: skip
    text = captions(page)
    for sentence in ("There is no account 404.", "Nobody owes anything past due.",
                     "Nothing was entered twice.", "Nothing was ever booked."):  # fmt: skip
        assert sentence in text


def test_money_is_shown_with_both_decimals_and_never_rounded() -> None:
    frame = pl.DataFrame({
        "of": ["a", "a"], "money": [Decimal("-1000"), Decimal("0.50")], "count": [1, 2],
        "rate": [Decimal("1.125"), Decimal("2.000")],
    })  # fmt: skip
    table = BeautifulSoup(display.table(frame, "Money", decimals=2).html, "html.parser")
    unfolded = display.details(frame, "Money", by="of", decimals=2).html
    for page in (table, BeautifulSoup(unfolded, "html.parser")):
        rows = page.select("tbody tr")
        assert [[td.get_text() for td in row("td")][1:] for row in rows] == [
            ["−1,000.00", "1", "1.125"], ["0.50", "2", "2"]
        ]  # fmt: skip


def test_each_parameter_says_what_it_is_for() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parameters = {parameter.name: parameter for parameter in read_parameters(cells)}
    assert list(parameters)[:5] == ["source", "schema", "transaction_id", "account_id", "period"]
    assert all(parameter.comment for parameter in parameters.values())
