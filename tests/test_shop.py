"""The audit of a shop: each promise on either side of its limit, and against plain Python."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

import naive_shop
import polars as pl
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import shop
from workbench.demo import shop as sample

NOTEBOOK = ROOT / "notebooks" / "shop_operations.ipynb"
EVIL = """<script>alert('%s')</script> "50 % off" :id O'Neill"""
Frames = dict[str, pl.DataFrame]
Rows = dict[str, list[dict[str, Any]]]
SECOND, HOUR, DAY = (dt.timedelta(seconds=n) for n in (1, 3600, 86_400))
NAMES = {
    "once": "one order and one charge", "in_stock": "no oversell",
    "expiring": "reservations expire", "reserved": "reserved at low stock",
    "refunded": "failed orders are refunded", "packed": "packing task after payment",
    "shipped": "shipment with tracking", "returned": "returns credited and restocked",
}  # fmt: skip
IDS = {
    "once": ["idempotency_key"], "in_stock": ["taken_by", "id", "product_id"],
    "expiring": ["reservation_id"], "reserved": ["order_id", "product_id"],
    "refunded": ["order_id"], "packed": ["order_id"], "shipped": ["task_id"],
    "returned": ["return_id"],
}  # fmt: skip


def rows_of(frames: Frames) -> Rows:
    return {name: frame.to_dicts() for name, frame in frames.items()}


def frames_of(rows: Rows) -> Frames:
    return {name: pl.DataFrame(rows[name], schema=frame.schema) for name, frame in MONTH.items()}


def audited(rows: Rows, as_of: dt.datetime | None = None, **period: str) -> shop.Audit:
    return shop.audit(shop.of(frames_of(rows), **period), as_of=as_of)


def broken(audit: shop.Audit) -> dict[str, set[str]]:
    """What breaks each promise that is broken, by the name of the naive judge."""
    return {
        judge: {" ".join(row) for row in audit.offenders[name].select(IDS[judge]).rows()}
        for judge, name in NAMES.items()
        if audit.offenders[name].height
    }


MONTH = sample.simulate(1000)
END = naive_shop.latest(rows_of(MONTH))


@pytest.fixture
def rows() -> Rows:
    return rows_of(MONTH)


def one(table: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    """The first row that has these values."""
    return next(row for row in table if all(row[k] == v for k, v in values.items()))


def paid_order(rows: Rows, *, failed: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """An order with a charge that succeeded, early enough for all that follows."""
    return next(
        (order, payment)
        for order in rows["orders"]
        if bool(order["failed_at"]) == failed and order["placed_at"] < END - 5 * DAY
        for payment in rows["payments"]
        if payment["order_id"] == order["order_id"] and payment["status"] == "succeeded"
    )


@pytest.mark.parametrize("size", [10, 300, 700, 5000])
def test_the_simulated_month_keeps_every_promise(size: int) -> None:
    audit = shop.audit(shop.of(sample.simulate(size)))
    assert broken(audit) == {}
    assert audit.promises["violations"].sum() == 0
    assert "broken" not in audit.levels["verdict"]
    if size == 5000:
        assert set(audit.promises["verdict"]) == {"kept"}
        assert set(audit.levels["verdict"]) == {"kept"}
        assert audit.minutes.height >= 3


@pytest.mark.parametrize(("seconds", "wrong"), [(900, False), (901, True), (899.999, True)])
def test_a_reservation_expires_after_900_seconds(rows: Rows, seconds: float, wrong: bool) -> None:
    row = one(rows["reservations"], released_by="expiry")
    row["released_at"] = row["reserved_at"] + dt.timedelta(seconds=seconds)
    assert broken(audited(rows)) == ({"expiring": {str(row["reservation_id"])}} if wrong else {})


@pytest.mark.parametrize(("seconds", "wrong"), [(5, False), (900, False), (901, True)])
def test_an_open_reservation_has_its_time(rows: Rows, seconds: float, wrong: bool) -> None:
    row = one(rows["reservations"], released_by="expiry")
    row["released_at"] = row["released_by"] = None
    audit = audited(rows, row["reserved_at"] + dt.timedelta(seconds=seconds))
    assert broken(audit) == ({"expiring": {str(row["reservation_id"])}} if wrong else {})


def test_a_reservation_released_by_nobody_knows_what_is_judged_too(rows: Rows) -> None:
    row = one(rows["reservations"], released_by="expiry")
    row["released_by"], row["released_at"] = None, row["released_at"] + SECOND
    assert broken(audited(rows)) == {"expiring": {str(row["reservation_id"])}}


@pytest.mark.parametrize(("seconds", "wrong"), [(10.0, False), (10.1, True)])
def test_a_packing_task_comes_within_10_seconds(rows: Rows, seconds: float, wrong: bool) -> None:
    order, payment = paid_order(rows)
    late = dt.timedelta(seconds=seconds)
    one(rows["packing_tasks"], order_id=order["order_id"])["created_at"] = (
        payment["settled_at"] + late
    )
    expected = {"packed": {str(order["order_id"])}} if wrong else {}
    assert broken(audited(rows)) == expected
    assert broken(audited(rows, payment["settled_at"] + 3600 * SECOND)) == expected
    # As of then the task is not there yet, the same time without it.
    assert broken(audited(rows, payment["settled_at"] + late - SECOND / 1000)) == expected


def test_a_payment_5_seconds_before_the_end_needs_no_packing_task_yet(rows: Rows) -> None:
    order, payment = paid_order(rows)
    rows["packing_tasks"] = [
        row for row in rows["packing_tasks"] if row["order_id"] != order["order_id"]
    ]
    for seconds, wrong in ((5, False), (10, False), (10.1, True)):
        audit = audited(rows, payment["settled_at"] + dt.timedelta(seconds=seconds))
        assert broken(audit) == ({"packed": {str(order["order_id"])}} if wrong else {})
        assert "no task" in str(audit.promises["worst"].to_list()) or not wrong


@pytest.mark.parametrize(
    ("hours", "cents", "again", "wrong"),
    [(24, 0, False, False), (24.001, 0, False, True), (1, -1, False, True), (1, 1, False, True),
     (1, 0, True, True)],
)  # fmt: skip
def test_a_failed_order_is_refunded_in_full_once_and_in_time(
    rows: Rows, hours: float, cents: int, again: bool, wrong: bool
) -> None:
    order, _ = paid_order(rows, failed=True)
    refund = one(rows["payments"], order_id=order["order_id"], kind="refund")
    refund["settled_at"] = order["failed_at"] + dt.timedelta(hours=hours)
    refund["amount"] += cents * refund["amount"] / 100
    if again:
        rows["payments"].append({**refund, "payment_id": 10**6})
    assert broken(audited(rows)) == ({"refunded": {str(order["order_id"])}} if wrong else {})


@pytest.mark.parametrize(
    ("charged", "refunded", "why"),
    [("0", None, None), ("0", "0", None), ("0.01", None, "0 of 0.01 refunded"),
     ("0", "0.01", "0.01 of 0 refunded, in 1 refunds"), (None, None, "an amount is missing"),
     (None, "10", "an amount is missing"), ("10", "", "an amount is missing")],
)  # fmt: skip
def test_nothing_owed_is_not_refunded_and_an_unknown_amount_is_named(
    rows: Rows, charged: str | None, refunded: str | None, why: str | None
) -> None:
    order, payment = paid_order(rows, failed=True)
    refund = one(rows["payments"], order_id=order["order_id"], kind="refund")
    payment["amount"] = charged and Decimal(charged)
    refund["amount"] = Decimal(refunded) if refunded else None
    if refunded is None:
        rows["payments"].remove(refund)
    before = audited(rows, order["failed_at"] + 23 * HOUR)
    assert broken(before).get("refunded", set()) == (
        {str(order["order_id"])} if charged == "0" and why else set()
    )
    audit = audited(rows)
    assert broken(audit) == ({"refunded": {str(order["order_id"])}} if why else {})
    assert audit.offenders[NAMES["refunded"]]["why"].to_list() == [why] * bool(why)
    whole = audited(rows_of(MONTH)).promises["checked"][4]
    assert audit.promises["checked"][4] == whole - (not why)


def test_two_halves_of_a_refund_are_two_refunds(rows: Rows) -> None:
    order, _ = paid_order(rows, failed=True)
    refund = one(rows["payments"], order_id=order["order_id"], kind="refund")
    half = refund["amount"] // 2
    rows["payments"].append({**refund, "payment_id": 10**6, "amount": refund["amount"] - half})
    refund["amount"] = half
    assert broken(audited(rows)) == {"refunded": {str(order["order_id"])}}


def test_a_charge_after_the_failure_starts_the_time_anew(rows: Rows) -> None:
    order, payment = paid_order(rows, failed=True)
    refund = one(rows["payments"], order_id=order["order_id"], kind="refund")
    payment["settled_at"] = order["failed_at"] + 30 * HOUR
    refund["settled_at"] = payment["settled_at"] + 24 * HOUR
    assert broken(audited(rows)) == {}
    refund["settled_at"] += SECOND
    assert broken(audited(rows)) == {"refunded": {str(order["order_id"])}}


def test_what_breaks_a_promise_later_belongs_to_the_later_period(rows: Rows) -> None:
    order, _ = paid_order(rows, failed=True)
    refund = one(rows["payments"], order_id=order["order_id"], kind="refund")
    later = refund["settled_at"] + 5 * DAY - HOUR
    rows["payments"].append({**refund, "payment_id": 10**6, "settled_at": later})
    shipment = one(rows["shipments"], task_id=rows["packing_tasks"][3]["task_id"])
    shipment.update(tracking_number=None, shipped_at=shipment["shipped_at"] + 6 * DAY)
    for at, expected in (
        (later, {"refunded": {str(order["order_id"])}}),
        (shipment["shipped_at"], {"shipped": {str(shipment["task_id"])}}),
    ):
        since, until = ((at + span).isoformat() for span in (-60 * SECOND, 60 * SECOND))
        assert broken(audited(rows, since=since, until=until)) == expected


@pytest.mark.parametrize(("hours", "wrong"), [(1, False), (24, False), (24.001, True)])
def test_a_refund_that_is_still_due_is_no_violation(rows: Rows, hours: float, wrong: bool) -> None:
    order, _ = paid_order(rows, failed=True)
    rows["payments"] = [
        row for row in rows["payments"]
        if (row["order_id"], row["kind"]) != (order["order_id"], "refund")
    ]  # fmt: skip
    audit = audited(rows, order["failed_at"] + dt.timedelta(hours=hours))
    assert broken(audit) == ({"refunded": {str(order["order_id"])}} if wrong else {})


@pytest.mark.parametrize(
    ("seconds", "tracking", "wrong"),
    [(72 * 3600, "1Z7", False), (72 * 3600 + 1, "1Z7", True), (60, "  ", True), (60, None, True)],
)
def test_a_packed_task_is_shipped_with_tracking(
    rows: Rows, seconds: int, tracking: str | None, wrong: bool
) -> None:
    task = rows["packing_tasks"][3]
    shipment = one(rows["shipments"], task_id=task["task_id"])
    shipment["shipped_at"] = task["packed_at"] + seconds * SECOND
    shipment["tracking_number"] = tracking
    expected = {"shipped": {str(task["task_id"])}} if wrong else {}
    assert broken(audited(rows)) == expected
    if tracking == "1Z7":
        due = task["packed_at"] + 72 * HOUR
        assert broken(audited(rows, min(due, shipment["shipped_at"] - SECOND))) == {}


@pytest.mark.parametrize(
    ("column", "days", "condition", "wrong"),
    [("credited_at", 14, "good", False), ("credited_at", 14.0001, "good", True),
     ("restocked_at", 14, "good", False), ("restocked_at", 14.0001, "good", True),
     ("restocked_at", None, "good", True), ("restocked_at", None, "Damaged", False),
     ("credited_at", None, "damaged", True)],
)  # fmt: skip
def test_a_return_is_credited_and_restocked_within_14_days(
    rows: Rows, column: str, days: float | None, condition: str, wrong: bool
) -> None:
    row = rows["returns"][0]
    row["condition"], start = condition, row["received_at"]
    row["credited_at"] = row["restocked_at"] = start + DAY
    if condition == "damaged":
        row["restocked_at"] = None
    row[column] = None if days is None else start + dt.timedelta(days=days)
    late = {"returned": {str(row["return_id"])}} if wrong else {}
    assert broken(audited(rows, start + 15 * DAY)) == late
    assert broken(audited(rows, start + 14 * DAY)) == {}
    if days is None:
        [why] = audited(rows, start + 15 * DAY).offenders[NAMES["returned"]]["why"].to_list() or [
            ""
        ]
        assert why == (f"not {column[:-3]} after 15 days" if wrong else "")


def new_product(rows: Rows, units: int) -> int:
    rows["products"].append({**rows["products"][0], "product_id": 900, "name": EVIL})
    movement = {**rows["stock_movements"][0], "movement_id": 9000, "product_id": 900}
    rows["stock_movements"].append({**movement, "quantity": units})
    return 900


def reserve(rows: Rows, number: int, start: dt.datetime, **values: Any) -> None:
    like = one(rows["reservations"], released_by="expiry")
    rows["reservations"].append({
        **like, "reservation_id": 9000 + number, "product_id": 900, "quantity": 1,
        "reserved_at": start, "released_at": start + 900 * SECOND, **values,
    })  # fmt: skip


@pytest.mark.parametrize(("units", "wrong"), [(3, False), (2, True)])
def test_no_more_units_are_reserved_than_there_are(rows: Rows, units: int, wrong: bool) -> None:
    new_product(rows, units)
    start = END - DAY
    for number in range(3):
        reserve(rows, number, start + number * SECOND)
    # When the first are released, others may take theirs: at that very moment, but not before.
    reserve(rows, 3, start + 900 * SECOND)
    audit = audited(rows)
    assert broken(audit) == ({"in_stock": {"reservation 9002 900"}} if wrong else {})
    assert audit.offenders["no oversell"]["name"].to_list() == [EVIL] * wrong


def test_a_reservation_held_too_long_does_not_oversell_as_well(rows: Rows) -> None:
    new_product(rows, 1)
    start = END - DAY
    reserve(rows, 1, start, released_at=start + 2000 * SECOND)
    reserve(rows, 2, start + 900 * SECOND)
    assert broken(audited(rows)) == {"expiring": {"9001"}}
    rows["reservations"][-1]["reserved_at"] -= SECOND
    assert broken(audited(rows)) == {
        "expiring": {"9001", "9002"}, "in_stock": {"reservation 9002 900"}
    }  # fmt: skip


def test_an_order_takes_what_its_cart_had_reserved_once(rows: Rows) -> None:
    """A release some milliseconds after the order does not count the units twice."""
    order, _ = paid_order(rows)
    new_product(rows, 1)
    line = one(rows["order_lines"], order_id=order["order_id"])
    line.update(product_id=900, quantity=1)
    at = order["placed_at"]
    for released in (at, at + SECOND / 100, at - SECOND / 100):
        reserve(rows, 1, at - 60 * SECOND, cart_id=order["cart_id"], released_by="order",
                released_at=released)  # fmt: skip
        assert broken(audited(rows)) == {}
        rows["reservations"].pop()
    reserve(rows, 1, at - 60 * SECOND, cart_id=-1)
    assert broken(audited(rows)) == {
        "in_stock": {f"order {order['order_id']} 900"}, "reserved": {f"{order['order_id']} 900"}
    }  # fmt: skip


def ordered_again(rows: Rows, units: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two orders of one cart, a minute apart, each of one unit of the new product."""
    new_product(rows, units)
    first, _ = paid_order(rows)
    other = next(
        order for order in rows["orders"]
        if order["placed_at"] > first["placed_at"] + HOUR and not order["failed_at"]
    )  # fmt: skip
    for order in (first, other):
        number = order["order_id"]
        kept, *more = [li for li in rows["order_lines"] if li["order_id"] == number]
        kept.update(product_id=900, quantity=1)
        rows["order_lines"] = [li for li in rows["order_lines"] if li not in more]
    other.update(cart_id=first["cart_id"], placed_at=first["placed_at"] + 60 * SECOND)
    return first, other


def becomes(rows: Rows, number: int, order: dict[str, Any], after: float, **values: Any) -> None:
    """A reservation of the order's cart that is released so many seconds after the order."""
    reserve(rows, number, order["placed_at"] - 10 * SECOND, **{
        "cart_id": order["cart_id"], "released_by": "order",
        "released_at": order["placed_at"] + dt.timedelta(seconds=after), **values,
    })  # fmt: skip


@pytest.mark.parametrize("after", [-0.01, 0, 1])
@pytest.mark.parametrize("failed", [True, False])
def test_a_cart_that_tries_again_takes_what_it_reserved_again(
    rows: Rows, after: float, failed: bool
) -> None:
    """Each reservation ends with the order after it, not with the first one of its cart."""
    first, other = ordered_again(rows, 1 if failed else 2)
    if failed:
        first["failed_at"] = first["placed_at"] + 5 * SECOND
        paid = [p["payment_id"] for p in rows["payments"] if p["order_id"] == first["order_id"]]
        rows["payments"] = [p for p in rows["payments"] if p["payment_id"] not in paid]
    becomes(rows, 1, first, after)
    becomes(rows, 2, other, after)
    assert broken(audited(rows)) == {}
    # One unit less is one too few, from the second reservation on.
    rows["stock_movements"][-1]["quantity"] -= 1
    taken = broken(audited(rows))["in_stock"]
    assert "reservation 9002 900" in taken


def test_one_reservation_covers_one_order(rows: Rows) -> None:
    first, other = ordered_again(rows, 5)
    becomes(rows, 1, first, 0)
    uncovered = {"reserved": {f"{other['order_id']} 900"}}
    assert broken(audited(rows)) == uncovered
    # Neither does one that is larger, nor one that nothing released.
    rows["reservations"][-1]["quantity"] = 2
    assert broken(audited(rows)) == uncovered
    becomes(rows, 2, other, 0)
    assert broken(audited(rows)) == {}
    rows["reservations"][-1].update(released_at=other["placed_at"] - SECOND, released_by="customer")
    assert broken(audited(rows)) == uncovered
    # Renewed in time: the one given up does not count, the one that followed it does.
    becomes(rows, 3, other, 0, reserved_at=other["placed_at"] - SECOND)
    assert broken(audited(rows)) == {}


@pytest.mark.parametrize(("seconds", "wrong"), [(0, False), (0.001, True)])
def test_a_reservation_of_the_orders_own_moment_is_used_by_it(
    rows: Rows, seconds: float, wrong: bool
) -> None:
    first, other = ordered_again(rows, 5)
    becomes(rows, 1, other, 0)
    at = first["placed_at"] + dt.timedelta(seconds=seconds)
    reserve(rows, 2, at, cart_id=first["cart_id"], released_by="Order", released_at=at)
    assert broken(audited(rows)) == ({"reserved": {f"{first['order_id']} 900"}} if wrong else {})


def test_of_two_orders_at_one_moment_one_uses_the_reservation(rows: Rows) -> None:
    first, other = ordered_again(rows, 5)
    other["placed_at"] = first["placed_at"]
    becomes(rows, 1, first, 0)
    last = max(str(order["order_id"]) for order in (first, other))
    for _ in range(2):
        assert broken(audited(rows)) == {"reserved": {f"{last} 900"}}
        rows["order_lines"].reverse()


def test_orders_without_a_cart_share_no_reservation(rows: Rows) -> None:
    first, other = ordered_again(rows, 6)
    first["cart_id"] = other["cart_id"] = None
    becomes(rows, 1, first, 0)
    assert broken(audited(rows)) == {"reserved": {f"{other['order_id']} 900"}}
    rows["stock_movements"][-1]["quantity"] = 5
    assert broken(audited(rows))["reserved"] == {
        f"{order['order_id']} 900" for order in (first, other)
    }


@pytest.mark.parametrize(("units", "wrong"), [(6, False), (5, True)])
def test_at_a_stock_of_5_only_reserved_units_are_ordered(
    rows: Rows, units: int, wrong: bool
) -> None:
    order, _ = paid_order(rows)
    new_product(rows, units)
    line = one(rows["order_lines"], order_id=order["order_id"])
    line.update(product_id=900, quantity=2)
    expected = {"reserved": {f"{order['order_id']} 900"}} if wrong else {}
    assert broken(audited(rows)) == expected
    at = order["placed_at"]
    reserved = {"cart_id": order["cart_id"], "released_by": "order", "released_at": at}
    reserve(rows, 1, at, quantity=1, **reserved)
    assert broken(audited(rows)) == expected
    reserve(rows, 2, at - SECOND, quantity=1, **reserved)
    assert broken(audited(rows)) == {}


def test_a_key_orders_and_pays_once(rows: Rows) -> None:
    order, payment = paid_order(rows)
    again = {**payment, "payment_id": 10**6, "status": "failed"}
    rows["payments"].append(again)
    assert broken(audited(rows)) == {}
    again["status"] = "Succeeded"
    key = order["idempotency_key"]
    assert broken(audited(rows)) == {"once": {key}}
    again["status"] = "pending"
    other = one(rows["orders"], status="shipped", order_id=rows["orders"][-30]["order_id"])
    [paid] = [row for row in rows["payments"] if row["order_id"] == other["order_id"]]
    other["idempotency_key"] = key
    audit = audited(rows)
    assert broken(audit) == {"once": {key}}
    assert audit.offenders["one order and one charge"]["order_ids"].item() == (
        f"{order['order_id']}, {other['order_id']}"
    )
    other["idempotency_key"] = paid["idempotency_key"] = " "
    assert broken(audited(rows)) == {}


def test_percentiles_are_of_the_nearest_rank() -> None:
    # ceil(0.95 n) by hand: 1, 10, 19, 20, 95 of 1, 10, 20, 21, 100 values.
    for n, rank in ((1, 1), (10, 10), (20, 19), (21, 20), (100, 95)):
        values = list(range(1, n + 1))
        random.Random(n).shuffle(values)
        assert shop.percentile(pl.Series([*values, None]), 95) == rank
    assert shop.percentile(pl.Series([], dtype=pl.Float64), 95) is None
    assert shop.percentile(pl.Series([float("nan"), 1.0, 2.0]), 95) == 2


def requests(*given: tuple[str, float, float]) -> list[dict[str, Any]]:
    """Requests of (endpoint, milliseconds to the first byte, to the end), one each second."""
    like = {"status": 201, "idempotency_key": None}
    return [
        {"request_id": n, "endpoint": endpoint, "first_byte_ms": first, "duration_ms": whole,
         "started_at": END - DAY + n * SECOND, **like}
        for n, (endpoint, first, whole) in enumerate(given)
    ]  # fmt: skip


@pytest.mark.parametrize(("slower", "verdict"), [(0, "kept"), (1, "broken")])
def test_service_levels_hold_up_to_their_limit(rows: Rows, slower: int, verdict: str) -> None:
    for slow, fast, at in (
        (("checkout", 9000, 5000 + slower), ("checkout", 1, 1), 0),
        (("CATALOGUE", 300 + slower, 9000), ("catalogue", 1, 1), 1),
    ):
        # Of 20, the second slowest is the 95th percentile.
        rows["request_log"] = requests(slow, slow, *[fast] * 18)
        levels = audited(rows).levels
        assert levels["verdict"][at] == verdict
        assert levels["checked"][at] == 20
        rows["request_log"] = requests(slow, *[fast] * 19)
        assert audited(rows).levels["verdict"][at] == "kept"


def test_what_is_no_number_is_no_measurement(rows: Rows) -> None:
    nan, frames = float("nan"), frames_of(rows)
    log = requests(("checkout", 1, nan), *[("catalogue", nan, 1.0)] * 9)
    kept = log + requests(("checkout", nan, 2.0), ("catalogue", 3, nan))
    floats = dict.fromkeys(("first_byte_ms", "duration_ms"), pl.Float64())
    schema = frames["request_log"].schema | floats
    for made, checked, observed in ((log, [0, 0, 0], [None, None]), (kept, [1, 1, 0], [0.002, 3])):
        frames["request_log"] = pl.DataFrame(made, schema=schema)
        levels = shop.audit(shop.of(frames)).levels
        assert levels["checked"].to_list() == checked
        assert levels["observed"].to_list()[:2] == observed


def rush(count: int) -> list[dict[str, Any]]:
    start = (END - DAY).replace(second=0, microsecond=0)
    made = requests(*[("checkout", 5, 500)] * count)
    for n, row in enumerate(made):
        row["started_at"] = start + 2 * n * SECOND
        row["idempotency_key"] = f"key {n}"
    return made


def minute(rows: Rows, log: list[dict[str, Any]], as_of: dt.datetime | None = None) -> list[Any]:
    rows["request_log"] = log
    audit = audited(rows, as_of)
    return [*audit.levels.row(2)[-2:], *audit.minutes.rows()]


def test_twenty_orders_a_minute_are_taken_where_they_are_asked_for(rows: Rows) -> None:
    log = rush(20)
    start = log[0]["started_at"]
    assert minute(rows, log) == [1, "kept", (start, 20, 20)]
    log[7]["status"] = 503
    assert minute(rows, log) == [1, "broken", (start, 20, 19)]
    log[7]["status"] = None  # no answer at all
    assert minute(rows, log) == [1, "broken", (start, 20, 19)]
    # Tried again with the same key, it is one checkout, and taken within the minute.
    again = {**log[7], "request_id": 99, "status": 201, "duration_ms": 0.0}
    again["started_at"] = log[7]["started_at"] + 60 * SECOND
    assert minute(rows, [*log, again]) == [1, "kept", (start, 20, 20)]
    again["duration_ms"] = 1.0
    assert minute(rows, [*log, again]) == [1, "broken", (start, 20, 19)]
    # A declined card is the customer's own; then 19 were asked for, which shows nothing.
    log[7]["status"] = 402
    assert minute(rows, log) == [0, "not tried"]
    log[7]["status"] = 429
    assert minute(rows, log) == [1, "broken", (start, 20, 19)]
    assert minute(rows, log, start + 119 * SECOND) == [0, "not tried"]
    assert minute(rows, log, start + 120 * SECOND) == [1, "broken", (start, 20, 19)]


MOMENTS = {
    "reservations": ("reserved_at", "released_at"), "orders": ("placed_at", "failed_at"),
    "payments": ("created_at", "settled_at"), "packing_tasks": ("created_at", "packed_at"),
    "shipments": ("shipped_at",), "returns": ("received_at", "credited_at", "restocked_at"),
    "stock_movements": ("moved_at",),
}  # fmt: skip
SPANS = st.sampled_from([-90_000, -901, -10.1, 0.1, 1, 10, 600, 90_000, 1_300_000, None])
SMALL = sample.simulate(400)


def agree(audit: shop.Audit, expected: dict[str, dict[str, bool]]) -> None:
    assert broken(audit) == {
        judge: bad for judge, found in expected.items()
        if (bad := {key for key, wrong in found.items() if wrong})
    }  # fmt: skip
    checked = dict(zip(audit.promises["promise"], audit.promises["checked"], strict=True))
    assert {judge: checked[name] for judge, name in NAMES.items()} == {
        judge: len(found) for judge, found in expected.items()
    }


@given(
    edits=st.lists(
        st.tuples(st.sampled_from(sorted(MOMENTS)), st.integers(0, 10**6), SPANS), max_size=25
    ),
    lost=st.lists(st.tuples(st.sampled_from(sorted(MOMENTS)), st.integers(0, 10**6)), max_size=8),
    units=st.lists(st.tuples(st.integers(0, 10**6), st.integers(-3, 6)), max_size=6),
    amounts=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from([Decimal(0), Decimal(1), None])),
        max_size=9,
    ),
    days=st.integers(0, 29),
    late=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_random_shops_are_judged_as_by_plain_python(
    edits: list[Any], lost: list[Any], units: list[Any], amounts: list[Any], days: int, late: bool
) -> None:
    rows = rows_of(SMALL)
    for table, place, span in edits:
        row = rows[table][place % len(rows[table])]
        names = MOMENTS[table]
        name = names[place % len(names)]
        row[name] = row[name] and span and row[name] + dt.timedelta(seconds=span)
    for table, place in lost:
        if len(rows[table]) > 1:
            rows[table].pop(place % len(rows[table]))
    for place, quantity in units:
        rows["order_lines"][place % len(rows["order_lines"])]["quantity"] += max(quantity, 0)
        rows["stock_movements"][place % len(rows["stock_movements"])]["quantity"] += quantity
    # Two orders of a cart, products and keys that are shared.
    for place, _ in units:
        orders = rows["orders"]
        first, other = orders[place % len(orders)], orders[(place + 7) % len(orders)]
        other["idempotency_key"], other["cart_id"] = first["idempotency_key"], first["cart_id"]
    for place, amount in amounts:
        rows["payments"][place % len(rows["payments"])]["amount"] = amount
    as_of = naive_shop.latest(rows) if late else END - days * DAY
    since = None if late else dt.datetime.combine((END - (days + 9) * DAY).date(), dt.time())
    expected = naive_shop.judged(rows, as_of, since or dt.datetime.min)
    tables = shop.of(
        {name: pl.DataFrame(rows[name], schema=frame.schema) for name, frame in SMALL.items()},
        since=since and since.isoformat(),
    )
    audit = shop.audit(tables, as_of=as_of)
    agree(audit, expected)


TIMES = st.integers(0, 12).map(lambda n: END - DAY + n * 100 * SECOND)
MAYBE = st.none() | TIMES


@given(
    units=st.integers(0, 9),
    orders=st.lists(st.tuples(st.integers(1, 2), TIMES, MAYBE, st.integers(1, 3)), max_size=6),
    held=st.lists(
        st.tuples(
            st.integers(1, 2), TIMES, MAYBE, st.sampled_from(["order", "expiry", None]),
            st.integers(1, 3),
        ),
        max_size=6,
    ),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_two_carts_and_one_product_are_judged_as_by_plain_python(
    units: int, orders: list[Any], held: list[Any]
) -> None:
    """Carts that order again and again, with reservations of all kinds between."""
    rows: Rows = {name: [] for name in MONTH}
    rows["stock_movements"] = [{"product_id": 1, "quantity": units, "moved_at": END - 2 * DAY}]
    for number, (cart, at, failed, quantity) in enumerate(orders, 8):
        rows["orders"].append({
            "order_id": number, "cart_id": cart, "placed_at": at, "failed_at": failed,
            "idempotency_key": None,
        })  # fmt: skip
        rows["order_lines"].append({"order_id": number, "product_id": 1, "quantity": quantity})
    for number, (cart, at, released, by, quantity) in enumerate(held):
        rows["reservations"].append({
            "reservation_id": number, "cart_id": cart, "product_id": 1, "quantity": quantity,
            "reserved_at": at, "released_at": released, "released_by": by,
        })  # fmt: skip
    expected = naive_shop.judged(rows, END)
    audit = audited(rows, END)
    agree(audit, expected)
