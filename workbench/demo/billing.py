"""Sample schema `billing`: accounts and what was booked on them in 18 months, with its dirt.

What is wrong on purpose, and how often in the default size, says `DIRT`. Everything comes from one
`random.Random`, and money is counted in whole cents, so that each machine makes the same data.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Date, DateTime, Integer, MetaData, Numeric, String, Table

from workbench.demo.columns import key, needed, optional

if TYPE_CHECKING:
    import polars as pl

LAST_DAY = dt.date(2026, 1, 9)
FIRST_DAY = dt.date(2024, 7, 10)
NOW = dt.datetime.combine(LAST_DAY, dt.time(18))

SPOILT = {
    "the same invoice or payment again within three days": 60,
    "pending for months": 25,
    "status in mixed case": 20,
    "currency in small letters": 15,
    "booked on an account that is closed": 15,
    "reversal of another amount": 12,
    "amount of zero": 10,
    "reversed twice": 8,
    "reversal in another currency": 6,
    "reversal of what is not there": 6,
    "payment with the sign of an invoice": 6,
    "marked as reversed without a reversal": 5,
}
DIRT = {
    **{kind: f"{count} transactions" for kind, count in SPOILT.items()},
    "account closed without a closing day": "4 accounts",
    "account's currency in small letters": "5 accounts",
}
"""Each kind of dirt and how much of it there is in the default size; counts grow with that."""

METADATA = MetaData(schema="billing")

Table(
    "accounts",
    METADATA,
    key("account_id", Integer, "Number of the account"),
    needed("name", String(80), "Name of the customer"),
    needed("country", String(2), "Country of the customer, ISO 3166-1 alpha-2"),
    needed("currency", String(3), "Currency in which the customer is usually billed, ISO 4217"),
    needed("terms", Integer, "Days the customer has to pay an invoice"),
    needed("status", String(10), "ACTIVE, SUSPENDED or CLOSED"),
    needed("opened", Date, "First day of the account"),
    optional("closed", Date, "Last day of the account; null while it is open"),
    comment="Customers' accounts",
)
Table(
    "billing_transactions",
    METADATA,
    key("transaction_id", BigInteger, "Number of the transaction, in order of creation"),
    needed("account_id", Integer, "The account", refers_to="billing.accounts.account_id"),
    needed("type", String(12), "INVOICE, FEE, PAYMENT, CREDIT_NOTE, REFUND or REVERSAL"),
    needed(
        "amount",
        Numeric(12, 2),
        "Above zero: the customer owes more (invoice, fee, refund paid out); below: owes less",
    ),
    needed("currency", String(3), "Currency of the amount, ISO 4217"),
    needed("status", String(10), "PENDING, POSTED, FAILED or REVERSED (posted, then undone)"),
    needed("created_at", DateTime, "When it was entered, UTC"),
    optional("posted_at", DateTime, "When it was posted to the account, UTC"),
    optional("due_date", Date, "Day until which an invoice or fee is to be paid"),
    optional("reference", String(20), "Document that it belongs to: a payment names its invoice"),
    optional("reverses_id", BigInteger, "Of a reversal: the transaction it undoes; not enforced"),
    comment="Everything billed, paid, credited, refunded and undone",
)

# country, currency, legal forms, share of the accounts, cents in the smallest amount billed
COUNTRIES = (
    ("US", "USD", ("Inc.", "LLC", "& Sons, Inc."), 38, 1),
    ("DE", "EUR", ("GmbH", "AG", "KG"), 18, 1),
    ("FR", "EUR", ("SARL", "S.A.S."), 10, 1),
    ("GB", "GBP", ("Ltd", "& Co. Ltd", "PLC"), 20, 1),
    ("CH", "CHF", ("AG", "Sàrl"), 8, 5),
    ("JP", "JPY", ("K.K.", "G.K."), 6, 100),
)
PLACES = (
    "Alder Amber Arden Aspen Birch Bramble Brook Cedar Clover Coral Dune Elm Falcon Fern Glen"
    " Harbor Hazel Heron Ivory Juniper Lark Linden Maple Moor O'Dell Océane Orchard Pine Quarry"
    " Raven Rowan Sable Sorrel Süd Thistle Umber Vale Willow Wren Zephyr"
).split()
SIZES = ((60, 400), (400, 2000), (2000, 8000), (8000, 40_000))  # usual bills
TRADES = (
    "Analytics Bakery Books Ceramics Clinics Dairy Energy Fabrics Foods Freight Garden Glass"
    " Hotels Instruments Labs Laundry Lighting Logistics Marine Media Motors Optics Packaging"
    " Paper Pharma Print Robotics Software Steel Studios Textiles Tools Toys Travel Wine"
).split()


@dataclass(frozen=True)
class _Account:
    number: int
    name: str
    country: str
    currency: str
    terms: int
    status: str
    opened: dt.date
    closed: dt.date | None
    late: int  # days that the customer usually pays after the due day
    step: int  # cents in the smallest amount billed


@dataclass(eq=False)
class _Entry:
    account: _Account
    kind: str
    cents: int
    created: dt.datetime
    reference: str | None
    delay: int = 5  # minutes until it is posted
    due: dt.date | None = None
    reverses: _Entry | None = None
    status: str = "POSTED"
    currency: str = field(default="")
    number: int = 0
    lost: bool = False  # what it undoes is not there

    def __post_init__(self) -> None:
        self.currency = self.currency or self.account.currency


def generate(rows: int = 20_000) -> dict[str, pl.DataFrame]:
    """Return the tables' frames in load order, about three transactions for two colors."""
    random = Random(20260110)  # noqa: S311
    accounts = [_account(random, number) for number in range(1, max(5, rows * 1500 // 20_000) + 1)]
    entries = [entry for account in accounts for entry in _history(random, account)]
    entries = [entry for entry in entries if entry.created < NOW]
    for entry in entries:
        _settle(entry)
    entries += _spoil(random, entries, rows / 20_000)
    entries.sort(key=lambda entry: (entry.created, entry.account.number))
    for number, entry in enumerate(entries, 700_001):
        entry.number = number
    return {
        "accounts": _frame("accounts", _account_rows(accounts, rows / 20_000)),
        "billing_transactions": _frame("billing_transactions", [_row(e) for e in entries]),
    }


def _account(random: Random, number: int) -> _Account:
    country, currency, forms, _, step = random.choices(COUNTRIES, [c[3] for c in COUNTRIES])[0]
    name = f"{random.choice(PLACES)} {random.choice(TRADES)} {random.choice(forms)}"
    opened = FIRST_DAY - dt.timedelta(random.randint(-360, 2000))
    closed, status = None, "ACTIVE" if random.randrange(25) else "SUSPENDED"
    if random.randrange(14) == 0:
        closed = max(opened + dt.timedelta(120), FIRST_DAY + dt.timedelta(random.randint(60, 480)))
        status = "CLOSED"
    late = random.choices((-6, 2, 12, 40, 90), (45, 30, 14, 8, 3))[0]
    terms = random.choice((14, 30, 30, 45, 60))
    return _Account(number, name, country, currency, terms, status, opened, closed, late, step)


def _history(random: Random, account: _Account) -> list[_Entry]:
    """Bill an account once in one to three months, and let it pay, fail, object and be undone."""
    entries: list[_Entry] = []
    number, every = 0, random.choice((30, 45, 61, 91))
    usual = random.randint(*random.choices(SIZES, (40, 40, 15, 5))[0]) * 100
    usual *= 100 if account.step == 100 else 1
    abroad = account.number % 40 == 7 and account.step == 1  # now and then in another currency
    # The last bill leaves time to be paid before the account closes.
    end = account.closed - dt.timedelta(account.terms + 60) if account.closed else LAST_DAY
    day = max(FIRST_DAY, account.opened) + dt.timedelta(random.randrange(every))
    while day <= end:
        cents = max(1, usual * random.randint(70, 130) // 100 // account.step) * account.step
        number += 1
        reference = f"INV-{account.number:05d}-{number:02d}"
        due = day + dt.timedelta(account.terms)
        billed = _Entry(account, "INVOICE", cents, _moment(random, day), reference, due=due)
        if abroad and number % 3 == 0:
            billed.currency = "EUR" if account.currency == "USD" else "USD"
        entries.append(billed)
        entries += _settlement(random, billed)
        day += dt.timedelta(every + random.randint(-2, 2))
    return [e for e in entries if not account.closed or e.created.date() <= account.closed]


def _settlement(random: Random, billed: _Entry) -> list[_Entry]:
    account, reference, made = billed.account, billed.reference, list[_Entry]()

    def add(kind: str, cents: int, day: dt.date, **more: Any) -> _Entry:
        more = {"reference": reference, "currency": billed.currency, **more}
        more["delay"] = more.get("delay") or random.randint(60, 2200)
        made.append(_Entry(account, kind, cents, _moment(random, day), **more))
        return made[-1]

    if random.randrange(120) == 0:  # a wrong bill, and the right one instead
        undone = add("REVERSAL", -billed.cents, billed.created.date() + dt.timedelta(4), delay=5)
        undone.reverses = billed
        billed = add("INVOICE", billed.cents * 9 // 1000 * 100, undone.created.date(), delay=5,
                     reference=f"{reference}R", due=billed.due)  # fmt: skip
        reference = billed.reference
    left = billed.cents
    assert billed.due is not None  # noqa: S101
    if random.randrange(30) == 0:
        part = left * random.randint(5, 30) // 10_000 * 100
        add("CREDIT_NOTE", -part, billed.created.date() + dt.timedelta(random.randint(3, 15)))
        left -= part
    day = billed.due + dt.timedelta(account.late + random.randint(-6, 6))
    day = max(day, billed.created.date() + dt.timedelta(1))
    if account.late >= 12 and random.randrange(3) == 0:
        fee = 1500 if account.step < 100 else 150_000
        late = billed.due + dt.timedelta(15)
        add("FEE", fee, late, delay=5, reference=f"FEE-{(reference or '')[4:]}",
            due=late + dt.timedelta(14))  # fmt: skip
    if random.randrange(200) < (2 if account.late < 12 else 9):
        return made  # never paid
    if random.randrange(33) == 0:
        add("PAYMENT", -left, day).status = "FAILED"
        day += dt.timedelta(random.randint(5, 9))
    if random.randrange(90) == 0:  # bounced after it was posted
        bounced = add("PAYMENT", -left, day)
        day += dt.timedelta(6)
        add("REVERSAL", left, day, delay=5).reverses = bounced
        day += dt.timedelta(8)
    if random.randrange(20) == 0:
        first = left * random.randint(20, 45) // 10_000 * 100
        add("PAYMENT", -first, day)
        left, day = left - first, day + dt.timedelta(random.randint(10, 30))
    over = random.randint(1, 9) * 5000 if random.randrange(70) == 0 else 0
    over *= 100 if account.step == 100 else 1
    on_account: dict[str, Any] = {} if random.randrange(150) else {"reference": None}
    add("PAYMENT", -left - over, day, **on_account)
    if over:
        add("REFUND", over, day + dt.timedelta(12), **on_account)
    return made


def _moment(random: Random, day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(7)) + dt.timedelta(seconds=random.randrange(39_600))


def _settle(entry: _Entry) -> None:
    """Let what is too young for it be pending, and mark what has been undone."""
    if entry.status == "POSTED" and entry.created + dt.timedelta(minutes=entry.delay) >= NOW:
        entry.status = "PENDING"
    if entry.reverses and entry.status == "POSTED":
        entry.reverses.status = "REVERSED"


def _spoil(random: Random, entries: list[_Entry], share: float) -> list[_Entry]:
    """Spoil entries, each in one way at most, and return those that are added."""
    touched = {id(e) for e in entries if e.reverses} | {id(e.reverses) for e in entries}
    latest = NOW - dt.timedelta(4)
    plain = [
        e for e in entries
        if id(e) not in touched and e.status == "POSTED" and e.created < latest
        and e.kind in ("INVOICE", "PAYMENT") and e.reference
    ]  # fmt: skip
    random.shuffle(plain)
    undone = [e for e in entries if e.reverses and e.status == "POSTED" and e.created < latest]
    random.shuffle(undone)
    added: list[_Entry] = []
    for kind, usual in SPOILT.items():
        of_reversal = kind.startswith("reversal") or kind == "reversed twice"
        for n in range(max(1, round(usual * share))):
            fits = undone if of_reversal else plain
            if not fits:
                break
            added += _spoilt(random, kind, n, fits, latest)
    return added


def _spoilt(
    random: Random, kind: str, n: int, fits: list[_Entry], latest: dt.datetime
) -> list[_Entry]:
    if kind == "booked on an account that is closed":
        closed = [e for e in fits if e.account.closed and e.account.closed < latest.date()]
        if not closed:
            return []
        entry = closed[-1]
        fits.remove(entry)
        assert entry.account.closed is not None  # noqa: S101
        day = min(entry.account.closed + dt.timedelta(random.randint(5, 60)), latest.date())
        paid = replace(entry, kind="PAYMENT", due=None, reference=None, delay=600)
        paid.cents, paid.created = -abs(entry.cents) // 1000 * 100, _moment(random, day)
        return [paid]
    if kind == "payment with the sign of an invoice":
        entry = fits.pop(next(at for at, e in enumerate(fits) if e.kind == "PAYMENT"))
        entry.cents = -entry.cents
        return []
    if kind == "pending for months":
        old = NOW - dt.timedelta(60)
        entry = fits.pop(next((at for at, e in enumerate(fits) if e.created < old), -1))
        entry.status = "PENDING"
        return []
    entry = fits.pop()
    if kind.startswith("the same"):
        wait = dt.timedelta(minutes=random.choice((1, 2, 7, 45, 300, 1440, 2880, 4200)))
        return [replace(entry, created=entry.created + wait)]
    if kind == "reversed twice":
        return [replace(entry, created=entry.created + dt.timedelta(days=2))]
    if kind == "status in mixed case":
        entry.status = ("Posted", "posted")[n % 2]
    elif kind == "currency in small letters":
        entry.currency = entry.currency.lower()
    elif kind == "reversal of another amount":
        entry.cents += random.choice((-1000, 1000, 9000, -entry.cents // 1000 * 100))
    elif kind == "amount of zero":
        entry.cents = 0
    elif kind == "reversal in another currency":
        entry.currency = "USD" if entry.currency != "USD" else "EUR"
    elif kind == "reversal of what is not there":
        assert entry.reverses is not None  # noqa: S101
        entry.reverses.status, entry.reverses, entry.lost = "POSTED", None, True
    elif kind == "marked as reversed without a reversal":
        entry.status = "REVERSED"
    return []


def _account_rows(accounts: list[_Account], share: float) -> list[tuple[Any, ...]]:
    rows = [
        [a.number, a.name, a.country, a.currency, a.terms, a.status, a.opened, a.closed]
        for a in accounts
    ]
    for row in [row for row in rows if row[5] == "CLOSED"][: max(1, round(4 * share))]:
        row[7] = None
    for row in rows[2 :: len(rows) // max(1, round(5 * share))][: max(1, round(5 * share))]:
        row[3] = str(row[3]).lower()
    return [tuple(row) for row in rows]


def _row(entry: _Entry) -> tuple[Any, ...]:
    posted = entry.created + dt.timedelta(minutes=entry.delay)
    undone = entry.reverses.number if entry.reverses else None
    return (
        *(entry.number, entry.account.number, entry.kind, entry.cents, entry.currency),
        *(entry.status, entry.created),
        posted if entry.status.upper() in ("POSTED", "REVERSED") else None,
        *(entry.due, entry.reference, entry.number - 650_000 if entry.lost else undone),
    )


def _frame(table: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    import polars as pl

    kinds: dict[type, Any] = {
        BigInteger: pl.Int64, Integer: pl.Int64, Numeric: pl.Int64, String: pl.String,
        Date: pl.Date, DateTime: pl.Datetime("us"),
    }  # fmt: skip
    columns = METADATA.tables[f"billing.{table}"].columns
    schema = {column.name: kinds[type(column.type)] for column in columns}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if "amount" in schema:
        cents = pl.col("amount").cast(pl.Decimal(12, 0)).cast(pl.Decimal(38, 2))
        frame = frame.with_columns((cents / 100).cast(pl.Decimal(12, 2)))
    return frame
