"""What a shop's checkout promises, each promise judged on the shop's tables as of one moment.

A promise's function takes the tables, the limits and that moment, and returns a row for everything
the promise speaks of. `at` is the moment by which it belongs to a period; `why` says what is wrong
with it, null where the promise is kept, and `figure` how wrong. A moment that has not come is null.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import polars as pl

from workbench.errors import UsageError
from workbench.records import Severity

Tables = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Limits:
    """What the shop has promised; a deadline that ends on the very moment is kept.

    Raises UsageError for what is no number from 0 to 1,000,000.
    """

    reservation_seconds: float = 900
    low_stock: int = 5
    packing_seconds: float = 10
    refund_hours: float = 24
    shipping_hours: float = 72
    return_days: float = 14  # the time to repay of Directive 2011/83/EU, article 13
    checkout_seconds: float = 5
    catalogue_ms: float = 300
    orders_a_minute: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            number = isinstance(given, int | float) and not isinstance(given, bool)
            if not (number and math.isfinite(given) and 0 <= given <= 10**6):
                said = f"{field.name} is a number from 0 to 1,000,000, not {given!r}."
                raise UsageError(said)


Judge = Callable[[Tables, Limits, dt.datetime], pl.DataFrame]


@dataclass(frozen=True)
class Promise:
    """One of the checkout's promises; `definition` is to be filled in with the limits."""

    name: str
    severity: Severity
    definition: str
    judge: Judge


PROMISES: list[Promise] = []
"""What is promised, in the order in which a checkout keeps it."""


def _promise(name: str, severity: Severity, definition: str) -> Callable[[Judge], Judge]:
    def register(judge: Judge) -> Judge:
        PROMISES.append(Promise(name, severity, definition, judge))
        return judge

    return register


@_promise(
    "one order and one charge", "critical",
    "No Idempotency-Key has more than one order, or more than one successful charge",
)  # fmt: skip
def _once(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    key, orders, charges = pl.col("idempotency_key"), pl.col("orders"), pl.col("charges")
    made = (
        (tables["orders"], "placed_at", 1, 0),
        (settled(tables, "charge"), "settled_at", 0, 1),
    )
    rows = pl.concat(
        frame.filter(key.str.strip_chars() != "").select(
            key, "order_id", pl.col(at).alias("at"), orders=pl.lit(order), charges=pl.lit(charge)
        )
        for frame, at, order, charge in made
    )
    ids = pl.col("order_id").unique().sort().str.join(", ").alias("order_ids")
    keys = rows.group_by(key).agg(ids, pl.col("at").max(), orders.sum(), charges.sum())
    return keys.with_columns(
        figure=orders + charges,
        why=pl.when(pl.max_horizontal(orders, charges) > 1)
        .then(pl.format("{} orders, {} charges", orders, charges)),
    )  # fmt: skip


@_promise(
    "no oversell", "critical",
    "No order or reservation takes more units of a product than are in stock, less what is sold "
    "and reserved at that moment",
)  # fmt: skip
def _in_stock(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """Count a reservation's units until it is released or ordered, at most as long as it may."""
    lines = _lines(tables)
    ordered = lines.group_by("cart_id", "product_id").agg(pl.col("placed_at").min())
    start, placed = pl.col("reserved_at"), pl.col("placed_at")
    longest = start + dt.timedelta(seconds=limits.reservation_seconds)
    held = tables["reservations"].join(ordered, on=["cart_id", "product_id"], how="left")
    ordered_at = pl.when(placed >= start).then(placed)
    held = held.with_columns(ended=pl.min_horizontal("released_at", longest, ordered_at))
    left = _levels(
        _changes(tables, lines), _change(held, "reserved_at", -1), _change(held, "ended", 1)
    )
    takes = pl.concat(
        frame.select("product_id", pl.lit(by).alias("taken_by"), pl.col(f"{by}_id").alias("id"),
                     pl.col(at).alias("at"), "quantity")
        for by, frame, at in (("order", lines, "placed_at"), ("reservation", held, "reserved_at"))
    )  # fmt: skip
    names = tables["products"].unique("product_id", keep="any")
    short = (pl.col("left") < 0) & (pl.col("change") < 0)
    return (
        takes.join(left, on=["product_id", "at"])
        .join(names, on="product_id", how="left")
        .with_columns(figure=-pl.col("left"))
        .with_columns(why=pl.when(short).then(pl.format("{} more than there were", "figure")))
    )


@_promise(
    "reservations expire", "warning",
    "A reservation is held for at most {reservation_seconds:g} s, and for no less unless it is "
    "ordered or given up",
)  # fmt: skip
def _expiring(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    held, most = _seconds("reserved_at", "released_at", as_of), limits.reservation_seconds
    still = (
        pl.when(pl.col("released_at").is_null())
        .then(pl.lit("still held"))
        .otherwise(pl.lit("held"))
    )
    early = (held < most) & (pl.col("released_by").str.to_lowercase() == "expiry")
    return tables["reservations"].with_columns(
        at="reserved_at",
        figure=held,
        why=pl.when(held > most).then(pl.format("{} for {} s", still, held))
        .when(early).then(pl.format("expired after {} s", held)),
    )  # fmt: skip


@_promise(
    "reserved at low stock", "warning",
    "Of a product of which {low_stock:g} units or fewer are unsold, an order takes only what its "
    "cart had reserved",
)  # fmt: skip
def _reserved(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    lines, keys = _lines(tables), ["order_id", "cart_id", "product_id", "placed_at"]
    before = _levels(_changes(tables, lines)).select(
        "product_id", placed_at="at", stock=pl.col("left") - pl.col("change")
    )
    low = (
        lines.group_by(keys).agg(pl.col("quantity").sum())
        .join(before, on=["product_id", "placed_at"])
        .filter(pl.col("stock") <= limits.low_stock)
    )  # fmt: skip
    released, placed = pl.col("released_at"), pl.col("placed_at")
    # What makes an order of a reservation may note two moments.
    covers = released.is_null() | (released >= placed) | (pl.col("released_by") == "order")
    had = (
        low.select(keys).join(tables["reservations"], on=["cart_id", "product_id"])
        .filter((pl.col("reserved_at") <= placed) & covers)
        .group_by(keys).agg(reserved=pl.col("quantity").sum())
    )  # fmt: skip
    judged = low.join(had, on=keys, how="left").with_columns(pl.col("reserved").fill_null(0))
    lacks = pl.col("quantity") - pl.col("reserved")
    said = pl.format("{} of {} reserved, {} in stock", "reserved", "quantity", "stock")
    return judged.with_columns(at="placed_at", figure=lacks, why=pl.when(lacks > 0).then(said))


@_promise(
    "failed orders are refunded", "critical",
    "A paid order that failed is refunded in full, once, within {refund_hours:g} h",
)  # fmt: skip
def _refunded(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    charges, refunds = (
        settled(tables, kind).group_by("order_id").agg(
            pl.len().alias(f"{kind}s"), pl.col("amount").sum().alias(kind),
            pl.col("settled_at").max().alias(f"{kind}_at"),
        )
        for kind in ("charge", "refund")
    )  # fmt: skip
    failed = tables["orders"].filter(pl.col("failed_at").is_not_null())
    judged = failed.join(charges, on="order_id").join(refunds, on="order_id", how="left")
    due = pl.max_horizontal("failed_at", "charge_at") + dt.timedelta(hours=limits.refund_hours)
    owed, paid = pl.col("charge"), pl.col("refund")
    sums = pl.format("{} of {} refunded", _plain(paid), _plain(owed))
    return judged.with_columns(pl.col("refunds", "refund").fill_null(0)).with_columns(
        at="failed_at",
        figure=(owed - paid).abs(),
        why=pl.when(pl.col("refunds") > pl.col("charges")).then(pl.format("{} refunds", "refunds"))
        .when((paid > owed) | ((paid < owed) & (as_of > due))).then(sums)
        .when((paid == owed) & (pl.col("refund_at") > due)).then(pl.lit("refunded late")),
    )  # fmt: skip


@_promise(
    "packing task after payment", "warning",
    "A paid order that did not fail has a packing task within {packing_seconds:g} s of its payment",
)  # fmt: skip
def _packed(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    paid = settled(tables, "charge").group_by("order_id").agg(at=pl.col("settled_at").min())
    tasks = tables["packing_tasks"].group_by("order_id").agg(task_at=pl.col("created_at").min())
    judged = _going(tables).join(paid, on="order_id").join(tasks, on="order_id", how="left")
    task, waited = pl.col("task_at"), _seconds("at", "task_at", as_of)
    none = pl.when(task.is_null()).then(pl.lit("no packing task")).otherwise(pl.lit("packing task"))
    late = pl.when(waited > limits.packing_seconds)
    return judged.with_columns(
        figure=waited, why=late.then(pl.format("{} after {} s", none, waited))
    )


@_promise(
    "shipment with tracking", "warning",
    "A packed task has a shipment with a tracking number within {shipping_hours:g} h",
)  # fmt: skip
def _shipped(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    tracked = pl.col("tracking_number").str.strip_chars() != ""
    sent = tables["shipments"].group_by("task_id").agg(
        pl.len().alias("shipments"), pl.col("shipped_at").filter(tracked).min()
    )  # fmt: skip
    tasks = tables["packing_tasks"].filter(pl.col("packed_at").is_not_null())
    judged = tasks.join(_going(tables), on="order_id", how="semi").join(sent, "task_id", how="left")
    waited, missing = _seconds("packed_at", "shipped_at", as_of), pl.col("shipped_at").is_null()
    late = waited > limits.shipping_hours * 3600
    return judged.with_columns(
        at="packed_at",
        figure=(waited / 3600).round(3),
        why=pl.when(missing & (pl.col("shipments") > 0)).then(pl.lit("shipped without tracking"))
        .when(late & missing).then(pl.lit("not shipped"))
        .when(late).then(pl.lit("shipped late")),
    )  # fmt: skip


@_promise(
    "returns credited and restocked", "warning",
    "A received return is credited and, unless damaged, restocked within {return_days:g} days",
)  # fmt: skip
def _returned(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    sellable = pl.col("condition").str.to_lowercase().ne_missing("damaged")
    waits = {
        done: _seconds("received_at", f"{done}_at", as_of) for done in ("credited", "restocked")
    }
    waits["restocked"] = pl.when(sellable).then(waits["restocked"])
    faults = [
        pl.when((wait > limits.return_days * 86_400) & pl.col(f"{done}_at").is_null())
        .then(pl.lit(f"not {done}"))
        .when(wait > limits.return_days * 86_400).then(pl.lit(f"{done} late"))
        for done, wait in waits.items()
    ]  # fmt: skip
    return tables["returns"].with_columns(
        at="received_at",
        figure=(pl.max_horizontal(*waits.values()) / 86_400).round(3),
        why=pl.concat_str(faults, separator=", ", ignore_nulls=True).replace("", None),
    )


def settled(tables: Tables, kind: str) -> pl.DataFrame:
    """Pick the payments of a kind, "charge" or "refund", that succeeded."""
    named = pl.col("kind").str.to_lowercase() == kind
    done = pl.col("status").str.to_lowercase() == "succeeded"
    return tables["payments"].filter(named & done & pl.col("settled_at").is_not_null())


def _going(tables: Tables) -> pl.DataFrame:
    return tables["orders"].filter(pl.col("failed_at").is_null())


def _lines(tables: Tables) -> pl.DataFrame:
    return tables["order_lines"].join(tables["orders"], on="order_id")


def _changes(tables: Tables, lines: pl.DataFrame) -> pl.DataFrame:
    """List what makes unsold units more or fewer: movements, orders, and orders that failed."""
    moved = _change(tables["stock_movements"], "moved_at", 1)
    return pl.concat([moved, _change(lines, "placed_at", -1), _change(lines, "failed_at", 1)])


def _change(frame: pl.DataFrame, at: str, sign: int) -> pl.DataFrame:
    then = frame.filter(pl.col(at).is_not_null())
    return then.select("product_id", at=pl.col(at), change=pl.col("quantity") * sign)


def _levels(*changes: pl.DataFrame) -> pl.DataFrame:
    """Sum up changes: by product and moment the `change`, and what is `left` after it."""
    moments = pl.concat(changes).group_by("product_id", "at").agg(pl.col("change").sum())
    running = pl.col("change").cum_sum().over("product_id")
    return moments.sort("product_id", "at").with_columns(left=running)


def _seconds(start: str, end: str, as_of: dt.datetime) -> pl.Expr:
    """Count the seconds between two moments, up to now where the second has not come."""
    # By microseconds: the same number, however a limit is written, for what is the same span.
    span = (pl.col(end).fill_null(as_of) - pl.col(start)).dt.total_microseconds()
    return (span / 1_000_000).round(6)


def _plain(amount: pl.Expr) -> pl.Expr:
    return amount.cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
