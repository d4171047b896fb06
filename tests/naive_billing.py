"""What workbench.billing computes in SQL, in plain Python from rows as dicts."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
BILLS, CHARGES, CREDITS = (
    {"INVOICE", "FEE"},
    {"INVOICE", "FEE", "REFUND"},
    {"PAYMENT", "CREDIT_NOTE"},
)
DAY = dt.timedelta(days=1)


def tidy(rows: Iterable[Row]) -> list[Row]:
    """Rows in order of their ids, in capitals, each with the moment from which it counts."""
    made = []
    for row in rows:
        caps = {name: row[name].strip().upper() for name in ("type", "currency", "status")}
        caps["reference"] = (row["reference"] or "").strip() or None
        made.append({**row, **caps, "moment": row["posted_at"] or row["created_at"]})
    return sorted(made, key=lambda row: row["transaction_id"])


def booked(rows: list[Row], day: dt.date) -> list[Row]:
    counted = [row for row in rows if row["status"] in ("POSTED", "REVERSED")]
    return [row for row in counted if row["moment"].date() <= day]


def place(row: Row) -> tuple[int, str]:
    return row["account_id"], row["currency"]


def standing(rows: list[Row], day: dt.date) -> list[Row]:
    """The booked reversals that no other one undoes, in the order in which they were booked."""
    undoing = [row for row in booked(rows, day) if row["type"] == "REVERSAL"]
    opposites = {(r["reverses_id"], place(r), -r["amount"]) for r in undoing}
    left = [r for r in undoing if (r["transaction_id"], place(r), r["amount"]) not in opposites]
    return sorted(left, key=lambda row: (row["moment"], row["transaction_id"]))


def documents(rows: list[Row], day: dt.date) -> list[tuple[int, str, Decimal, dt.date | None]]:
    """Account, currency, open amount and due date of each document."""
    by_id = {row["transaction_id"]: row for row in rows}
    bad = reversals(rows, day)
    undone = {r["reverses_id"] for r in standing(rows, day) if r["transaction_id"] not in bad}
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in booked(rows, day):
        root = row
        for _ in range(2):
            above = by_id.get(root["reverses_id"]) if root["type"] == "REVERSAL" else None
            if above and place(above) == place(root):
                root = above
        alone = root["reference"] is None and root["type"] in BILLS
        own = root["transaction_id"] if alone else None
        groups[(*place(row), root["reference"], own)].append(row)
    found = []
    for (account, currency, *_), group in groups.items():
        bills = [row for row in group if row["type"] in BILLS]
        bills = [row for row in bills if row["transaction_id"] not in undone] or bills
        days = [row["due_date"] or row["moment"].date() for row in bills]
        found.append((account, currency, sum(r["amount"] for r in group), min(days, default=None)))
    return found


def ageing(
    rows: list[Row], day: dt.date, account: int | None = None
) -> dict[str, dict[str, Decimal]]:
    totals: dict[str, dict[str, Decimal]] = {}
    for owner, currency, amount, due in documents(rows, day):
        if account not in (None, owner):
            continue
        names = ("not_due", "days_1_30", "days_31_60", "days_61_90", "over_90", "overdue",
                 "unmatched", "balance")  # fmt: skip
        sums = totals.setdefault(currency, dict.fromkeys(names, Decimal()))
        sums["balance"] += amount
        if due is None or amount <= 0:
            sums["unmatched"] += amount
            continue
        late = (day - due).days
        if late <= 0:
            sums["not_due"] += amount
            continue
        sums["overdue"] += amount
        for last, name in ((30, "days_1_30"), (60, "days_31_60"), (90, "days_61_90")):
            if late <= last:
                sums[name] += amount
                break
        else:
            sums["over_90"] += amount
    return totals


def overdue(rows: list[Row], day: dt.date, top: int) -> list[tuple[Any, ...]]:
    """Currency, account, amount, documents and the oldest due date; largest of a currency first."""
    late: dict[tuple[str, int], list[tuple[Decimal, dt.date]]] = defaultdict(list)
    for account, currency, amount, due in documents(rows, day):
        if due is not None and due < day and amount > 0:
            late[currency, account].append((amount, due))
    sums = [
        (currency, account, sum(a for a, _ in found), len(found), min(d for _, d in found))
        for (currency, account), found in late.items()
    ]
    return _top(sums, top, key=lambda each: (-each[2], each[1]))


def _top(found: list[tuple[Any, ...]], top: int, key: Any) -> list[tuple[Any, ...]]:
    chosen = []
    for currency in sorted({each[0] for each in found}):
        own = sorted((each for each in found if each[0] == currency), key=key)
        chosen += own[:top]
    return chosen


def movements(rows: list[Row], first: dt.date, last: dt.date, top: int) -> list[tuple[Any, ...]]:
    """Currency, id and amount of the largest."""
    within = [row for row in booked(rows, last) if row["moment"].date() >= first]
    found = [(row["currency"], row["transaction_id"], row["amount"]) for row in within]
    return _top(found, top, key=lambda each: (-abs(each[2]), each[1]))


def totals(rows: list[Row], first: dt.date, last: dt.date) -> list[tuple[Any, ...]]:
    sums: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        if first <= row["created_at"].date() <= last:
            key = (row["currency"], row["type"], row["status"])
            found = sums.setdefault(key, [0, Decimal()])
            found[0] += 1
            found[1] += row["amount"]
    return [(*key, *found) for key, found in sorted(sums.items())]


def statement(rows: list[Row], account: int, first: dt.date, last: dt.date) -> tuple[Any, Any]:
    """The balances of each currency, and the lines with the balance after each."""
    own = [row for row in rows if row["account_id"] == account]
    lines, balances = [], {}
    for currency in sorted({row["currency"] for row in own}):
        mine = [row for row in own if row["currency"] == currency]
        counted = booked(mine, last)
        waiting = [r for r in mine if r["status"] == "PENDING" and r["created_at"].date() <= last]
        if not counted and not waiting:
            continue
        opening = charged = off = balance = Decimal()
        for row in sorted(counted, key=lambda row: (row["moment"], row["transaction_id"])):
            balance += row["amount"]
            if row["moment"].date() < first:
                opening = balance
                continue
            charged += max(row["amount"], Decimal())
            off += min(row["amount"], Decimal())
            lines.append((currency, row["moment"], row["transaction_id"], row["amount"], balance))
        pending = sum((row["amount"] for row in waiting), Decimal())
        balances[currency] = (opening, charged, off, balance, pending)
    return balances, lines


def trend(rows: list[Row], day: dt.date) -> list[tuple[Any, ...]]:
    found = booked(rows, day)
    if not found:
        return []
    month, months = min(row["moment"].date() for row in found).replace(day=1), []
    while month <= day:
        months.append(month)
        month = (month + 31 * DAY).replace(day=1)
    made, groups = [], defaultdict(list)
    for row in found:
        groups[row["currency"], row["moment"].date().replace(day=1)].append(row)
    for currency in sorted({row["currency"] for row in found}):
        balance = Decimal()
        for month in months:
            sums = {"billed": Decimal(), "paid": Decimal(), "other": Decimal()}
            for row in groups[currency, month]:
                kind = "billed" if row["type"] in BILLS else "other"
                sums["paid" if row["type"] == "PAYMENT" else kind] += row["amount"]
            balance += sum(sums.values())
            made.append((currency, month, *sums.values(), balance))
    return made


def duplicates(rows: list[Row], day: dt.date, days: int) -> set[tuple[int, int]]:
    """The id of each, and of the one before it."""
    latest: dict[tuple[Any, ...], Row] = {}
    found = set()
    for row in sorted(rows, key=lambda row: (row["created_at"], row["transaction_id"])):
        if row["status"] not in ("PENDING", "POSTED") or row["type"] == "REVERSAL":
            continue
        if row["created_at"].date() > day:
            continue
        names = ("account_id", "type", "amount", "currency", "reference")
        key = tuple(row[name] for name in names)
        before = latest.get(key)
        if before and row["created_at"] - before["created_at"] <= days * DAY:
            found.add((row["transaction_id"], before["transaction_id"]))
        latest[key] = row
    return found


def reversals(rows: list[Row], day: dt.date) -> dict[int, tuple[str, Decimal]]:
    """What is wrong with each, and by how much."""
    by_id = {row["transaction_id"]: row for row in rows}
    seen, found = set(), {}
    for row in standing(rows, day):
        undone = row["reverses_id"]
        original = by_id.get(undone)
        problem, rest = None, row["amount"]
        if undone is None:
            problem = "names no original"
        elif original is None:
            problem = "original is missing"
        elif original["account_id"] != row["account_id"]:
            problem = "on another account"
        elif original["currency"] != row["currency"]:
            problem = "in another currency"
        elif original["status"] not in ("POSTED", "REVERSED"):
            problem = "original was never booked"
        elif (undone, place(row)) in seen:
            problem = "reversed before"
        elif original["amount"] + row["amount"]:
            problem, rest = "another amount", original["amount"] + row["amount"]
        seen.add((undone, place(row)))
        if problem:
            found[row["transaction_id"]] = (problem, rest)
    return found


def oddities(
    rows: list[Row], accounts: Iterable[Row], day: dt.date, pending_days: int
) -> dict[int, str]:
    open_days = {row["account_id"]: (row["opened"], row["closed"]) for row in accounts}
    named = {row["reverses_id"] for row in standing(rows, dt.date.max)}
    found = {}
    for row in rows:
        created = row["created_at"].date()
        if created > day:
            continue
        opened, closed = open_days.get(row["account_id"], (created, None))
        outside = created < opened or (closed is not None and created > closed)
        amount, kind, failed = row["amount"], row["type"], row["status"] == "FAILED"
        against = (kind in CHARGES and amount < 0) or (kind in CREDITS and amount > 0)
        checks = {
            "account is not there": row["account_id"] not in open_days,
            "account not open that day": outside and not failed,
            f"pending for more than {pending_days} days": row["status"] == "PENDING"
            and (day - created).days > pending_days,
            "marked as reversed only": row["status"] == "REVERSED"
            and row["transaction_id"] not in named,
            "sign against its type": against and not failed,
            "amount of zero": amount == 0,
        }
        if holds := [finding for finding, true in checks.items() if true]:
            found[row["transaction_id"]] = holds[0]
    return found
