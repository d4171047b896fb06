"""The books of billing: what a transaction is, the tables that hold them, and periods of days.

An amount above zero is owed by the customer (an invoice, a fee, a refund paid out); one below zero
takes off what is owed (a payment, a credit note); a reversal is the opposite of what it undoes.
Times are UTC, in tables without a zone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, get_args

import polars as pl
import sqlalchemy as sa
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from workbench.database import Database
from workbench.dialects import BLANKS, LOWER, UPPER
from workbench.errors import DataError, UsageError, require
from workbench.moments import utc

Type = Literal["INVOICE", "FEE", "PAYMENT", "CREDIT_NOTE", "REFUND", "REVERSAL"]
Status = Literal["PENDING", "POSTED", "FAILED", "REVERSED"]
TYPES, STATUSES = get_args(Type), get_args(Status)
DAY, FIRST = dt.timedelta(days=1), dt.date(1900, 1, 1)
CAPITALS = str.maketrans(LOWER, UPPER)
Expression: TypeAlias = sa.ColumnElement[Any]
Condition: TypeAlias = sa.ColumnElement[bool]


def _exact(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("a float is no exact number")
    return value


def _trim(value: object) -> object:
    return value.strip(BLANKS) or None if isinstance(value, str) else value


def _tidy(value: object) -> object:
    """Read a word as `dialects.plain` does."""
    return value.strip(BLANKS).translate(CAPITALS) if isinstance(value, str) else value


def _moment(value: object) -> object:
    moment = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, dt.datetime | None):
        raise ValueError("a moment is a datetime, or text such as 2026-01-09 18:00:00")
    try:
        return moment and utc(moment)
    except OverflowError:
        raise ValueError("a moment before or after those of UTC's calendar") from None


def _day(value: object) -> object:
    day = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, dt.date | None):
        raise ValueError("a day is a date, or text such as 2026-01-09")
    return day.date() if isinstance(day, dt.datetime) else day  # Oracle's DATE has a time


Number = Annotated[int, Field(ge=0), BeforeValidator(_exact)]


@dataclass(frozen=True)
class BillingTransaction:
    """One transaction, tidied; what signs mean says the module. Times are aware, in UTC."""

    transaction_id: Number
    account_id: Number
    type: Annotated[Type, BeforeValidator(_tidy)]
    amount: Annotated[Decimal, Field(max_digits=12, decimal_places=2), BeforeValidator(_exact)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$"), BeforeValidator(_tidy)]
    status: Annotated[Status, BeforeValidator(_tidy)]
    created_at: Annotated[dt.datetime, BeforeValidator(_moment)]
    posted_at: Annotated[dt.datetime | None, BeforeValidator(_moment)] = None
    due_date: Annotated[dt.date | None, BeforeValidator(_day)] = None
    reference: Annotated[str | None, BeforeValidator(_trim)] = None
    reverses_id: Annotated[Number | None, BeforeValidator(_exact)] = None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> BillingTransaction:
        """Make one of a row, whose names may be in any case; further columns are left aside.

        Numbers are whole, exact or their text, never floats; times without a zone are UTC. Raises
        DataError naming the transaction and the first field that is missing or malformed.
        """
        values = {str(name).lower(): value for name, value in row.items()}
        try:
            return _adapter().validate_python(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            said = first["msg"].removeprefix("Value error, ")
            which = str(values.get("transaction_id", "without an id"))[:40]
            raise DataError(f"Transaction {which}: {first['loc'][0]}: {said}.") from None


@cache
def _adapter() -> TypeAdapter[BillingTransaction]:
    return TypeAdapter(BillingTransaction)


NAMES = tuple(each.name for each in fields(BillingTransaction))


@dataclass(frozen=True)
class Book:
    """The two tables of a billing schema, in the source they are in."""

    db: Database
    accounts: sa.Table
    transactions: sa.Table

    def read(self, statement: sa.SelectBase) -> pl.DataFrame:
        """Read exact numbers, whatever the source asks for."""
        return self.db.read_as("exact", statement)


def book(db: Database, schema: str = "billing") -> Book:
    """Open the tables `accounts` and `billing_transactions`; raises DataError for what lacks."""
    opened = Book(db, db.table(f"{schema}.accounts"), db.table(f"{schema}.billing_transactions"))
    hint = "A view with this name and all that is needed will do."
    wanted = (("account_id", "name", "status", "opened", "closed"), NAMES)
    for table, names in zip((opened.accounts, opened.transactions), wanted, strict=True):
        require(f"The table {table.fullname}", table.c.keys(), names, hint)
    return opened


@dataclass(frozen=True)
class Period:
    """Days that are looked at, both included, and the day as of which what is open is told."""

    first: dt.date
    last: dt.date
    as_of: dt.date

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"

    def holds(self, moment: Expression) -> Condition:
        """Make the condition that a moment is within the period, of which an index can be used."""
        return sa.and_(moment >= _midnight(self.first), until(moment, self.last))


def period(book: Book, given: int | str | None = None) -> Period:
    """Take `2026`, `2026-01` or `2026-01-05/2026-01-09`; without any, the book's last 30 days.

    The book's last day is that of its latest entry or posting. What is open is told as of the
    period's last day, or of the book's where that is earlier. Raises UsageError as `days_of` does.
    """
    columns = (book.transactions.c.created_at, book.transactions.c.posted_at)
    latest = book.read(sa.select(*(sa.func.max(c).label(c.name) for c in columns))).row(0)
    days = [moment.date() for moment in latest if moment]
    today = max(days, default=dt.datetime.now(dt.UTC).date())
    first, last = (today - 29 * DAY, today) if given is None else days_of(str(given))
    return Period(first, last, min(last, today))


def days_of(given: str) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of `2026`, `2026-01` or `2026-01-05/2026-01-09`.

    Raises UsageError for anything else, an end before its beginning, and days no calendar has
    or before 1900.
    """
    try:
        if month := re.fullmatch(r"([0-9]{4})(-[0-9]{2})?", given):
            first = dt.date.fromisoformat(f"{month[1]}{month[2] or '-01'}-01")
            last = first.replace(month=first.month if month[2] else 12, day=28) + 4 * DAY
            last -= last.day * DAY
        else:
            first, last = map(dt.date.fromisoformat, given.split("/"))
        if not (len(given) in (4, 7, 21) and FIRST <= first <= last < dt.date.max):
            raise ValueError
    except (ValueError, OverflowError):
        hint = "Write a month (2026-01), a year (2026) or two days (2026-01-05/2026-01-09)."
        raise UsageError(f"{given[:40]!r} is no period.", hint) from None
    return first, last


def until(moment: Expression, day: dt.date) -> Condition:
    """Make the condition that a moment is before the end of a day."""
    return moment < _midnight(day + DAY)


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time())
