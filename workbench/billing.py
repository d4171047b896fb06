"""Billing: single transactions, statements of account, ageing, and what does not add up.

What signs mean says `workbench.ledger`. What is *booked* counts: POSTED transactions, and REVERSED
ones, which were posted and are undone by a reversal of their own. It counts from `posted_at` on, or
`created_at` where that is missing. Times are UTC. Amounts are exact, and those of different
currencies are never added. Types, statuses and currencies are read without regard to case and to
blanks around them, references without these blanks; one of blanks alone is none.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import sqlalchemy as sa

from workbench.dialects import BLANKS, plain
from workbench.errors import DataError, UsageError
from workbench.ledger import (
    DAY,
    NAMES,
    BillingTransaction,
    Book,
    Condition,
    Expression,
    Period,
    book,
    period,
    until,
)

__all__ = [
    "BOOKED", "Answer", "BillingTransaction", "Book", "Period", "ageing", "book", "duplicates",
    "look_up", "movements", "oddities", "overdue", "period", "reversals", "statement", "totals",
    "transaction", "trend",
]  # fmt: skip

BOOKED, BILLS = ("POSTED", "REVERSED"), ("INVOICE", "FEE")
OWED, PAID = ("INVOICE", "FEE", "REFUND"), ("PAYMENT", "CREDIT_NOTE")
AGES = {"days_1_30": 30, "days_31_60": 60, "days_61_90": 90}
SHOWN = ("transaction_id", "account_id", "type", "amount", "currency", "status", "created_at",
         "reference", "moment")  # fmt: skip
# As they stand: Oracle parses without binds, when each of them counts as text.
ZERO, ONE_DAY = (
    sa.literal_column("0", sa.Integer),
    sa.literal_column("INTERVAL '1' DAY", sa.Interval),
)
MONEY, COUNT, WORDS = sa.Numeric(24, 2), sa.Numeric(18, 0), sa.String(60)


def transaction(book: Book, transaction_id: int | str) -> BillingTransaction | None:
    """Look one transaction up by a bind; None where there is none of that id.

    Raises UsageError for an id that is no whole number, DataError for a malformed row.
    """
    t, number = book.transactions, _number("transaction", transaction_id)
    rows = book.read(sa.select(t).where(t.c.transaction_id == sa.literal(number, sa.BigInteger)))
    return BillingTransaction.read(rows.row(0, named=True)) if rows.height else None


@dataclass(frozen=True)
class Answer:
    """What came of asking for a transaction or an account: a sentence, and tables where found."""

    sentence: str
    wrong: bool = False
    lines: pl.DataFrame = field(default_factory=pl.DataFrame)
    balances: pl.DataFrame = field(default_factory=pl.DataFrame)
    ageing: pl.DataFrame = field(default_factory=pl.DataFrame)


def look_up(book: Book, transaction_id: int | str | None) -> Answer:
    """Answer for any id that somebody may have typed; none of them is an error.

    `lines` are what belongs to the same document (account and reference), what the transaction
    undoes and what undoes it, in order of creation.
    """
    if transaction_id in (None, ""):
        return Answer("No transaction was asked for.")
    try:
        found = transaction(book, transaction_id)
    except (UsageError, DataError) as error:
        return Answer(error.message, wrong=True)
    if found is None:
        return Answer(f"There is no transaction {transaction_id}.", wrong=True)
    e = _entries(book)
    numbers = [n for n in (found.transaction_id, found.reverses_id) if n is not None]
    near = e.c.transaction_id.in_(numbers) | (e.c.reverses_id == found.transaction_id)
    if found.reference:
        near |= (e.c.account_id == found.account_id) & (e.c.reference == found.reference)
    lines = _listed(book, e, e.c.posted_at, e.c.due_date, e.c.reverses_id).where(near)
    posted = f", posted {found.posted_at:%Y-%m-%d %H:%M}" if found.posted_at else ""
    counts = "it counts" if found.status in BOOKED else "it does not count"
    return Answer(
        f"Transaction {found.transaction_id}: {found.type} of {found.amount:,.2f} {found.currency}"
        f" on account {found.account_id}, {found.status}, created {found.created_at:%Y-%m-%d %H:%M}"
        f"{posted}; {counts} in the balance.",
        lines=book.read(lines.order_by(e.c.created_at, e.c.transaction_id)),
    )


def statement(book: Book, account_id: int | str | None, when: Period) -> Answer:
    """State what was booked on an account in a period, and what it owed before and after.

    `balances` by currency: opening (all before), charged (above zero), taken off (below), closing,
    and pending, which counts in none of them. `lines` are by currency in the order of their moment,
    then of their id, each with the balance after it. For any id that somebody may have typed.
    """
    if account_id in (None, ""):
        return Answer("No account was asked for.")
    try:
        number = _number("account", account_id)
    except UsageError as error:
        return Answer(error.message, wrong=True)
    a, e = book.accounts.c, _entries(book)
    one = a.account_id == sa.literal(number, sa.BigInteger)
    account = book.read(sa.select(a.name, a.status).where(one))
    if account.is_empty():
        return Answer(f"There is no account {number}.", wrong=True)
    own, booked, within = e.c.account_id == number, _booked(e, when.last), when.holds(e.c.moment)
    pending = sa.and_(e.c.status == "PENDING", until(e.c.created_at, when.last))
    parts = {
        "opening": sa.and_(booked, sa.not_(within)), "charged": booked & within & (e.c.amount > 0),
        "taken_off": booked & within & (e.c.amount < 0), "closing": booked, "pending": pending,
    }  # fmt: skip
    sums = [_sum(name, e.c.amount, part) for name, part in parts.items()]
    balances = sa.select(e.c.currency, *sums).where(own, booked | pending).group_by(e.c.currency)
    window = sa.func.sum(e.c.amount).over
    order = (e.c.moment, e.c.transaction_id)
    running = window(partition_by=e.c.currency, order_by=order, rows=(None, 0))
    line = sa.select(e, _as(MONEY, "balance", running)).where(own, booked).subquery("line")
    lines = sa.select(line).where(when.holds(line.c.moment))
    found = book.read(balances.order_by(e.c.currency))
    said = f"from {when}" if found.height else "nothing is booked on it"
    return Answer(
        "Account {} is {}, {}: {}.".format(number, *account.row(0), said),
        lines=book.read(lines.order_by(line.c.currency, line.c.moment, line.c.transaction_id)),
        balances=found,
        ageing=ageing(book, when.as_of, account=number),
    )


def totals(book: Book, when: Period) -> pl.DataFrame:
    """Count and sum what was created in the period, by currency, type and status."""
    e = _entries(book)
    keys = (e.c.currency, e.c.type, e.c.status)
    count = _as(COUNT, "transactions", sa.func.count())
    chosen = sa.select(*keys, count, _sum("amount", e.c.amount)).where(when.holds(e.c.created_at))
    return book.read(chosen.group_by(*keys).order_by(*keys))


def ageing(book: Book, as_of: dt.date, *, account: int | None = None) -> pl.DataFrame:
    """Age what is open at the end of a day by currency, of all accounts or of one.

    A document is what is booked on one account in one currency under one reference, and what undoes
    that, whatever its own reference; its open amount is the sum. It is due on the earliest due date
    of its invoices and fees that are not undone (where that is missing, on the day they were
    booked), and is as many days past due as lie between that day and `as_of`.
    `unmatched` is what no open invoice stands for: overpaid documents, payments without an invoice.
    Not due, overdue and unmatched together are the balance.
    """
    d, youngest = _documents(book, as_of), as_of
    ages = {"not_due": d.c.due >= as_of}
    for name, days in AGES.items():
        ages[name] = (d.c.due < youngest) & (d.c.due >= as_of - days * DAY)
        youngest = as_of - days * DAY
    ages["over_90"] = d.c.due < youngest
    owed = sa.and_(d.c.amount > 0, d.c.due.is_not(None))
    sums = [_sum(name, d.c.amount, owed & age) for name, age in ages.items()]
    sums.append(_sum("overdue", d.c.amount, owed & (d.c.due < as_of)))
    sums.append(_sum("unmatched", sa.case((owed, ZERO), else_=d.c.amount)))
    chosen = sa.select(d.c.currency, *sums, _sum("balance", d.c.amount))
    if account is not None:
        chosen = chosen.where(d.c.account_id == account)
    return book.read(chosen.group_by(d.c.currency).order_by(d.c.currency))


def overdue(book: Book, as_of: dt.date, top: int = 5) -> pl.DataFrame:
    """List the accounts that owe most past due in each currency, `since` their oldest due date."""
    d = _documents(book, as_of)
    late = sa.select(
        d.c.account_id, d.c.currency, _sum("amount", d.c.amount),
        _as(COUNT, "documents", sa.func.count()), _as(sa.Date, "since", sa.func.min(d.c.due)),
    ).where(d.c.amount > 0, d.c.due < as_of).group_by(d.c.account_id, d.c.currency)  # fmt: skip
    return _largest(book, late.subquery("late"), "account_id", top)


def movements(book: Book, when: Period, top: int = 5) -> pl.DataFrame:
    """List the largest booked transactions of the period in each currency, whatever their sign."""
    e = _entries(book)
    booked = sa.select(e).where(e.c.status.in_(BOOKED), when.holds(e.c.moment))
    return _largest(book, booked.subquery("booked"), "transaction_id", top)


def trend(book: Book, as_of: dt.date) -> pl.DataFrame:
    """Sum what was booked by month and currency, with the balance at each month's end.

    `billed` are invoices and fees, `paid` payments, `other` is all else. A month in which nothing
    was booked has zeros; the last one ends with `as_of`.
    """
    e = _entries(book)
    months = (_as(sa.Integer, part, sa.extract(part, e.c.moment)) for part in ("year", "month"))
    kind = sa.case((e.c.type.in_(BILLS), "billed"), (e.c.type == "PAYMENT", "paid"), else_="other")
    rows = sa.select(e, *months, _as(WORDS, "kind", kind)).where(_booked(e, as_of)).subquery("kept")
    kinds, keys = ("billed", "paid", "other"), (rows.c.currency, rows.c.year, rows.c.month)
    sums = (_sum(name, rows.c.amount, rows.c.kind == name) for name in kinds)
    found = book.read(sa.select(*keys, *sums).group_by(*keys))
    found = found.select("currency", *kinds, month=pl.date("year", "month", 1))
    last = pl.lit(as_of.replace(day=1))
    all_months = pl.date_range(pl.min("month").fill_null(last), last, "1mo")
    each = found.select("currency").unique().join(found.select(all_months), how="cross")
    each = each.join(found, on=["currency", "month"], how="left").sort("currency", "month")
    each = each.with_columns(pl.col(*kinds).fill_null(0))
    return each.with_columns(pl.sum_horizontal(kinds).cum_sum().over("currency").alias("balance"))


def duplicates(book: Book, as_of: dt.date, days: int = 3) -> pl.DataFrame:
    """List what seems entered twice: each with the one before it, latest first.

    The same account, type, amount, currency and reference (none is like none), created within
    `days` times 24 hours; without reversals, and without what has failed or was undone.
    """
    e = _entries(book)
    alike = [e.c[name] for name in ("account_id", "type", "amount", "currency", "reference")]
    order = (e.c.created_at, e.c.transaction_id)
    before = (
        sa.func.lag(e.c[name]).over(partition_by=alike, order_by=order).label(f"previous_{name}")
        for name in ("transaction_id", "created_at")
    )
    counted = e.c.status.in_(("PENDING", "POSTED")) & (e.c.type != "REVERSAL")
    pairs = sa.select(e, *before).where(counted, until(e.c.created_at, as_of)).subquery("pairs")
    previous_id, previous_at = list(pairs.c)[-2:]
    found = _listed(book, pairs, previous_id, previous_at)
    found = found.where(
        pairs.c.created_at <= previous_at + sa.cast(_within(days), sa.Integer) * ONE_DAY
    )
    return book.read(found.order_by(pairs.c.created_at.desc(), pairs.c.transaction_id))


def reversals(book: Book, as_of: dt.date) -> pl.DataFrame:
    """List the booked reversals that do not balance what they undo, latest first.

    Without those that were undone themselves. `problem` is the first that holds of those that
    `_standing` names; a part of the amount is another amount, too. `off_by` is what remains in the
    balance: for another amount the sum of both, else the reversal.
    """
    r = _standing(book, as_of)
    found = _listed(book, r, r.c.reverses_id, r.c.problem, r.c.off_by)
    found = found.where(r.c.problem.is_not(None))
    return book.read(found.order_by(r.c.moment.desc(), r.c.transaction_id))


def oddities(book: Book, as_of: dt.date, pending_days: int = 30) -> pl.DataFrame:
    """List what somebody should look at, by the first `finding` that holds, latest first."""
    e, a = _entries(book), book.accounts.c
    # Of any day, because a status is today's.
    alone = e.c.transaction_id.not_in(_undone(_standing(book)))
    outside = (e.c.created_at < a.opened) | (e.c.created_at >= a.closed + ONE_DAY)
    against = (e.c.type.in_(OWED) & (e.c.amount < 0)) | (e.c.type.in_(PAID) & (e.c.amount > 0))
    enough = until(e.c.created_at, as_of - (_within(pending_days) + 1) * DAY)
    finding = sa.case(
        (a.account_id.is_(None), "account is not there"),
        ((e.c.status != "FAILED") & outside, "account not open that day"),
        ((e.c.status == "PENDING") & enough, f"pending for more than {pending_days} days"),
        ((e.c.status == "REVERSED") & alone, "marked as reversed only"),
        ((e.c.status != "FAILED") & against, "sign against its type"),
        (e.c.amount == 0, "amount of zero"),
    )
    found = _listed(book, e, _as(WORDS, "finding", finding))
    rows = book.read(found.where(finding.is_not(None), until(e.c.created_at, as_of)))
    return rows.sort("finding", "created_at", "transaction_id", descending=[False, True, False])


def _as(kind: Any, name: str, value: Expression) -> sa.Label[Any]:
    """Give a computed value a type of its own, so that every database says the same one."""
    return sa.cast(value, kind).label(name)


def _sum(name: str, amount: Expression, where: Expression | None = None) -> sa.Label[Any]:
    part = amount if where is None else sa.case((where, amount), else_=ZERO)
    return _as(MONEY, name, sa.func.sum(part))


def _booked(entries: sa.FromClause, day: dt.date | None) -> Condition:
    booked = entries.c.status.in_(BOOKED)
    return booked & until(entries.c.moment, day) if day else booked


def _number(what: str, given: object) -> int:
    if isinstance(given, bool) or not re.fullmatch(r"[0-9]{1,18}", text := str(given).strip()):
        raise UsageError(f"The id of a {what} is made of 1 to 18 digits, not {str(given)[:40]!r}.")
    return int(text)


def _within(given: int, what: str = "days", least: int = 0) -> int:
    if not least <= given <= 10_000:
        raise UsageError(f"A number of {what} is from {least} to 10,000, not {given}.")
    return given


def _entries(book: Book) -> sa.Subquery:
    """Give every transaction tidied, with the `moment` from which it counts."""
    t = book.transactions.c
    tidied = ("type", "currency", "status")
    columns = {name: plain(t[name]) if name in tidied else t[name] for name in NAMES}
    trimmed = sa.func.ltrim(sa.func.rtrim(t.reference, BLANKS), BLANKS)
    columns["reference"] = sa.func.nullif(trimmed, "", type_=sa.String())
    columns["moment"] = sa.func.coalesce(t.posted_at, t.created_at)
    return sa.select(*(column.label(name) for name, column in columns.items())).subquery()


def _undoes(reversal: sa.FromClause, original: sa.FromClause) -> Condition:
    """Make the condition that a reversal names a transaction of its own account and currency."""
    same = (original.c[name] == reversal.c[name] for name in ("account_id", "currency"))
    named = original.c.transaction_id == reversal.c.reverses_id
    return sa.and_(reversal.c.type == "REVERSAL", named, *same)


def _undone(reversals: sa.FromClause) -> sa.Select[Any]:
    """Select what reversals name; sought by IN, which is computed once and not for each row."""
    return sa.select(reversals.c.reverses_id).where(reversals.c.reverses_id.is_not(None))


def _standing(book: Book, day: dt.date | None = None) -> sa.Subquery:
    """Judge the booked reversals that no other one undoes; one without a `problem` undoes.

    A reversal of a reversal is taken as it is, even if a third one undoes it.
    """
    e, again, o = _entries(book), _entries(book), _entries(book)
    opposite = _undoes(again, o) & (again.c.amount == -o.c.amount)
    undone = _undone(again).select_from(again.join(o, opposite)).where(_booked(again, day))
    keys = (e.c.reverses_id, e.c.account_id, e.c.currency)
    order = (e.c.moment, e.c.transaction_id)
    turn = sa.func.row_number().over(partition_by=keys, order_by=order).label("turn")
    stands = sa.and_(e.c.type == "REVERSAL", _booked(e, day), e.c.transaction_id.not_in(undone))
    r = sa.select(e, turn).where(stands).subquery("r")
    rest = r.c.amount + o.c.amount
    problem = sa.case(
        (r.c.reverses_id.is_(None), "names no original"),
        (o.c.transaction_id.is_(None), "original is missing"),
        (r.c.account_id != o.c.account_id, "on another account"),
        (r.c.currency != o.c.currency, "in another currency"),
        (o.c.status.not_in(BOOKED), "original was never booked"),
        (r.c.turn > 1, "reversed before"),
        (rest != 0, "another amount"),
    )
    off_by = sa.case((problem == "another amount", rest), else_=r.c.amount)
    judged = sa.select(r, _as(WORDS, "problem", problem), _as(MONEY, "off_by", off_by))
    joined = r.outerjoin(o, o.c.transaction_id == r.c.reverses_id)
    return judged.select_from(joined).subquery("standing")


def _documents(book: Book, as_of: dt.date) -> sa.Subquery:
    """Sum what is booked on each document; a bill without a reference is one of its own.

    A reversal is on the document of what it undoes, also where that is a reversal itself.
    """
    e, o, first = _entries(book), _entries(book), _entries(book)
    r = _standing(book, as_of)
    left = e.c.transaction_id.not_in(_undone(r).where(r.c.problem.is_(None)))

    def of_document(name: str) -> Expression:
        found = ((each.c.transaction_id.is_not(None), each.c[name]) for each in (first, o))
        return sa.case(*found, else_=e.c[name])

    reference, kind = of_document("reference"), of_document("type")
    alone = sa.case((kind.in_(BILLS) & reference.is_(None), of_document("transaction_id")))
    bill, day = e.c.type.in_(BILLS), sa.func.coalesce(e.c.due_date, sa.cast(e.c.moment, sa.Date))
    made = {
        "reference": reference, "alone": alone,
        "due": sa.case((bill & left, day)), "earliest": sa.case((bill, day)),
    }  # fmt: skip
    joined = e.outerjoin(o, _undoes(e, o)).outerjoin(first, _undoes(o, first))
    own = (e.c.account_id, e.c.currency, e.c.amount, *(c.label(name) for name, c in made.items()))
    rows = sa.select(*own).select_from(joined).where(_booked(e, as_of)).subquery()
    amount = sa.func.sum(rows.c.amount).label("amount")
    due = sa.func.coalesce(sa.func.min(rows.c.due), sa.func.min(rows.c.earliest)).label("due")
    chosen = sa.select(rows.c.account_id, rows.c.currency, amount, due)
    keys = (rows.c.account_id, rows.c.currency, rows.c.reference, rows.c.alone)
    return chosen.group_by(*keys).subquery("documents")


def _listed(book: Book, rows: sa.Subquery, *more: Expression) -> sa.Select[Any]:
    """Select what a table shows of transactions, with the name of the account."""
    a = book.accounts.c
    shown = [rows.c[name] for name in SHOWN if name in rows.c]
    joined = rows.outerjoin(book.accounts, a.account_id == rows.c.account_id)
    return sa.select(*shown, a.name, *more).select_from(joined)


def _largest(book: Book, rows: sa.Subquery, key: str, top: int) -> pl.DataFrame:
    """Read the rows of the `top` largest amounts in each currency, whatever their sign."""
    order = (sa.func.abs(rows.c.amount).desc(), rows.c[key])
    place = sa.func.row_number().over(partition_by=rows.c.currency, order_by=order).label("place")
    placed = sa.select(rows, place).subquery("placed")
    more = [placed.c[name] for name in ("documents", "since") if name in placed.c]
    chosen = _listed(book, placed, *more).where(placed.c.place <= _within(top, "rows", 1))
    return book.read(chosen.order_by(placed.c.currency, placed.c.place))
