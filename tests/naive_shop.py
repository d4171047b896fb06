"""The promises of docs/shop.md judged row by row in plain Python, to compare the audit with."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

Rows = dict[str, list[dict[str, Any]]]
FIRST = {
    "stock_movements": "moved_at", "carts": "created_at", "reservations": "reserved_at",
    "orders": "placed_at", "payments": "created_at", "packing_tasks": "created_at",
    "shipments": "shipped_at", "returns": "received_at", "request_log": "started_at",
}  # fmt: skip


def latest(rows: Rows) -> dt.datetime:
    # What the audit does not read is no event: when a parcel is delivered, an invoice issued.
    unread = {"expires_at", "delivered_at", "issued_at"}
    return max(
        value for table in rows.values() for row in table for name, value in row.items()
        if isinstance(value, dt.datetime) and name not in unread
    )  # fmt: skip


def stood(rows: Rows, as_of: dt.datetime) -> Rows:
    """The rows as they were at that moment."""
    then: Rows = {}
    for name, table in rows.items():
        first = FIRST.get(name)
        kept = [row for row in table if not first or (row[first] and row[first] <= as_of)]
        then[name] = [
            {k: None if isinstance(v, dt.datetime) and v > as_of else v for k, v in row.items()}
            for row in kept
        ]
    return then


def judged(
    rows: Rows, as_of: dt.datetime, since: dt.datetime = dt.datetime.min
) -> dict[str, dict[str, bool]]:
    """By promise and id, for all that was decided since then: whether the promise is broken."""
    rows = stood(rows, as_of)
    found: dict[str, dict[str, bool]] = {}
    for promise in (once, in_stock, expiring, reserved, refunded, packed, shipped, returned):
        decided = promise(rows, as_of)
        found[promise.__name__] = {
            key: broken for key, broken, at in decided if at is not None and at >= since
        }
    return found


def wait(start, done, seconds, as_of):
    """Whether it is late, and when that was decided."""
    due = start + dt.timedelta(seconds=seconds)
    if done is not None:
        return done > due, min(done, due)
    return (True, due) if as_of > due else (False, None)


def charges(rows: Rows, kind: str, order: Any = None) -> list[dict[str, Any]]:
    return [
        row for row in rows["payments"]
        if row["kind"] == kind and row["status"] == "succeeded" and row["settled_at"]
        and order in (None, row["order_id"])
    ]  # fmt: skip


def once(rows, as_of):
    paid = charges(rows, "charge")
    keys = {row["idempotency_key"] for row in [*rows["orders"], *paid]}
    for key in keys:
        if key is None or not key.strip():
            continue
        orders = [row["placed_at"] for row in rows["orders"] if row["idempotency_key"] == key]
        sums = [row["settled_at"] for row in paid if row["idempotency_key"] == key]
        yield key, len(orders) > 1 or len(sums) > 1, max(orders + sums)


def unsold(rows, product, moment, *, before=False) -> int:
    """Units that came, less those of orders, after (or before) all that happened then."""

    def happened(at):
        return at is not None and (at < moment if before else at <= moment)

    orders = {row["order_id"]: row for row in rows["orders"]}
    units = sum(
        row["quantity"] for row in rows["stock_movements"]
        if row["product_id"] == product and happened(row["moved_at"])
    )  # fmt: skip
    for line in rows["order_lines"]:
        order = orders.get(line["order_id"])
        if order and line["product_id"] == product:
            units -= line["quantity"] * happened(order["placed_at"])
            units += line["quantity"] * happened(order["failed_at"])
    return units


def placed(rows):
    """Each order with each of its lines."""
    orders = {row["order_id"]: row for row in rows["orders"]}
    return [(orders[li["order_id"]], li) for li in rows["order_lines"] if li["order_id"] in orders]


def user(lines, row):
    """The order that used a reservation, if any did."""
    first = None
    for order, line in lines:
        if row["cart_id"] is None or order["cart_id"] != row["cart_id"]:
            continue
        if line["product_id"] != row["product_id"] or order["placed_at"] < row["reserved_at"]:
            continue
        rank = (order["placed_at"], str(order["order_id"]))
        if first is None or rank < (first["placed_at"], str(first["order_id"])):
            first = order
    return first


def in_stock(rows, as_of):
    lines, spans = placed(rows), []
    for row in rows["reservations"]:
        ends = [row["released_at"] or dt.datetime.max]
        ends.append(row["reserved_at"] + dt.timedelta(seconds=900))
        if order := user(lines, row):
            ends.append(order["placed_at"])
        spans.append((row["product_id"], row["reserved_at"], min(ends), row["quantity"]))
    takes = [("order", o["order_id"], li["product_id"], o["placed_at"]) for o, li in lines]
    takes += [
        ("reservation", row["reservation_id"], row["product_id"], row["reserved_at"])
        for row in rows["reservations"]
    ]
    for by, key, product, at in takes:
        held = [span for span in spans if span[0] == product]
        after = sum(q for _, start, end, q in held if start <= at < end)
        before = sum(q for _, start, end, q in held if start < at <= end)
        free = unsold(rows, product, at) - after
        freed = free - (unsold(rows, product, at, before=True) - before)
        yield f"{by} {key} {product}", free < 0 and freed < 0, at


def expiring(rows, as_of):
    for row in rows["reservations"]:
        late, at = wait(row["reserved_at"], row["released_at"], 900, as_of)
        early = row["released_by"] == "expiry" and row["released_at"] is not None
        early = early and (row["released_at"] - row["reserved_at"]).total_seconds() < 900
        yield str(row["reservation_id"]), late or early, at


def reserved(rows, as_of):
    lines, wanted = placed(rows), {}
    orders = {order["order_id"]: order for order, _ in lines}
    for _, line in lines:
        key = (line["order_id"], line["product_id"])
        wanted[key] = wanted.get(key, 0) + line["quantity"]
    users = [(row, user(lines, row)) for row in rows["reservations"]]
    for (number, product), quantity in wanted.items():
        order = orders[number]
        at = order["placed_at"]
        if unsold(rows, product, at, before=True) > 5:
            continue
        had = sum(
            row["quantity"] for row, by in users
            if by is order and row["product_id"] == product
            and (row["released_at"] is None or row["released_at"] >= at
                 or (row["released_by"] or "").lower() == "order")
        )  # fmt: skip
        yield f"{number} {product}", had < quantity, at


def refunded(rows, as_of):
    for order in rows["orders"]:
        paid = charges(rows, "charge", order["order_id"])
        if not (order["failed_at"] and paid):
            continue
        back = charges(rows, "refund", order["order_id"])
        known = all(row["amount"] is not None for row in paid + back)
        owed = sum((row["amount"] or 0 for row in paid), Decimal(0))
        returned = sum((row["amount"] or 0 for row in back), Decimal(0))
        if known and owed == returned == 0:
            continue
        last = max((row["settled_at"] for row in back), default=None)
        start = max(order["failed_at"], *(row["settled_at"] for row in paid))
        if len(back) > len(paid) or (known and returned > owed):
            yield str(order["order_id"]), True, last
        else:
            whole = last if known and returned == owed else None
            late, at = wait(start, whole, 24 * 3600, as_of)
            yield str(order["order_id"]), late, at


def packed(rows, as_of):
    for order in rows["orders"]:
        paid = charges(rows, "charge", order["order_id"])
        if order["failed_at"] or not paid:
            continue
        tasks = [
            row["created_at"] for row in rows["packing_tasks"]
            if row["order_id"] == order["order_id"]
        ]  # fmt: skip
        first = min(row["settled_at"] for row in paid)
        late, at = wait(first, min(tasks, default=None), 10, as_of)
        yield str(order["order_id"]), late, at


def shipped(rows, as_of):
    going = {row["order_id"] for row in rows["orders"] if not row["failed_at"]}
    for task in rows["packing_tasks"]:
        if not task["packed_at"] or task["order_id"] not in going:
            continue
        sent = [row for row in rows["shipments"] if row["task_id"] == task["task_id"]]
        tracked = [row["shipped_at"] for row in sent if (row["tracking_number"] or "").strip()]
        if sent and not tracked:
            yield str(task["task_id"]), True, min(row["shipped_at"] for row in sent)
        else:
            late, at = wait(task["packed_at"], min(tracked, default=None), 72 * 3600, as_of)
            yield str(task["task_id"]), late, at


def returned(rows, as_of):
    for row in rows["returns"]:
        needed = [row["credited_at"]]
        if row["condition"] != "damaged":
            needed.append(row["restocked_at"])
        done = None if None in needed else max(needed)
        late, at = wait(row["received_at"], done, 14 * 86_400, as_of)
        yield str(row["return_id"]), late, at
