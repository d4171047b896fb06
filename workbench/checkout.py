"""What a shop's checkout promises, each promise judged on the shop's tables as of one moment.

A promise's function takes the tables, the limits and that moment, and returns a row for everything
the promise speaks of. `why` says what is wrong with it, null where the promise is kept; `figure`
how wrong; `at` is when that was decided, null where nothing is yet. Moments to come are null too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Real

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
            number = isinstance(given, Real) and not isinstance(given, bool)
            if not (number and 0 <= given <= 10**6):
                said = f"{field.name} is a number from 0 to 1,000,000, not {given!r}."
                raise UsageError(said)


Judge = Callable[[Tables, Limits, dt.datetime], pl.DataFrame]


def _once(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """No Idempotency-Key has more than one order, or more than one successful charge."""
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
    said = pl.format("orders: {}, charges: {}", orders, charges)
    return (
        rows.group_by(key)
        .agg(ids, pl.col("at").max(), orders.sum(), charges.sum())
        .with_columns(figure=orders + charges)
        .with_columns(why=pl.when(pl.max_horizontal(orders, charges) > 1).then(said))
    )


def _in_stock(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """No order or reservation takes more units of a product than are in stock, less what is sold
    and reserved at that moment."""
    # A reservation counts until it is released or ordered, and no longer than it may be held:
    # what is held beyond that breaks another promise, and need not break this one too.
    lines, start = _lines(tables), pl.col("reserved_at")
    longest = start + dt.timedelta(seconds=limits.reservation_seconds)
    ended = pl.max_horizontal(pl.min_horizontal("released_at", longest, "placed_at"), start)
    held = _used(tables, lines).with_columns(ended=ended)
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
        .with_columns(why=pl.when(short).then(pl.format("{} more than in stock", "figure")))
    )


def _expiring(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """A reservation is held for at most {reservation_seconds:g} s, and for no less unless it is
    ordered or given up."""
    held, late, at = _wait("reserved_at", "released_at", limits.reservation_seconds, as_of)
    expired = pl.col("released_by").str.to_lowercase() == "expiry"
    early = expired & (held < limits.reservation_seconds)
    still = pl.when(pl.col("released_at").is_null()).then(pl.lit("still held"))
    word = still.when(early).then(pl.lit("expired")).otherwise(pl.lit("released"))
    why = pl.when(late | early).then(pl.format("{} after {} s", word, _plain(held)))
    return tables["reservations"].with_columns(at=at, figure=held, why=why)


def _reserved(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """Of a product of which {low_stock:g} units or fewer are unsold, an order takes only what its
    cart had reserved."""
    lines, placed = _lines(tables), pl.col("placed_at")
    before = _levels(_changes(tables, lines)).select(
        "product_id", placed_at="at", stock=pl.col("left") - pl.col("change")
    )
    low = lines.group_by("order_id", "cart_id", "product_id", placed).agg(pl.col("quantity").sum())
    low = low.join(before, on=["product_id", "placed_at"]).filter(
        pl.col("stock") <= limits.low_stock
    )
    released, by = pl.col("released_at"), pl.col("released_by").str.to_lowercase()
    # What makes an order of a reservation may note two moments.
    covering = _used(tables, lines).filter(
        released.is_null() | (released >= placed) | (by == "order")
    )
    had = covering.group_by("order_id", "product_id").agg(reserved=pl.col("quantity").sum())
    judged = low.join(had, on=["order_id", "product_id"], how="left")
    judged = judged.with_columns(pl.col("reserved").fill_null(0))
    lacks = pl.col("quantity") - pl.col("reserved")
    said = pl.format("{} of {} reserved, {} in stock", "reserved", "quantity", "stock")
    return judged.with_columns(at=placed, figure=lacks, why=pl.when(lacks > 0).then(said))


def _refunded(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """A paid order that failed is refunded in full, once, within {refund_hours:g} h."""
    amount = pl.col("amount")
    total = pl.when(amount.is_not_null().all()).then(amount.sum())
    charges, refunds = (
        settled(tables, kind).group_by("order_id").agg(
            pl.len().alias(f"{kind}s"), total.alias(kind),
            pl.col("settled_at").max().alias(f"{kind}_at"),
        )
        for kind in ("charge", "refund")
    )  # fmt: skip
    failed = tables["orders"].filter(pl.col("failed_at").is_not_null())
    judged = failed.join(charges, on="order_id").join(refunds, on="order_id", how="left")
    owed, paid = pl.col("charge"), pl.col("refund")
    judged = judged.with_columns(
        refund=pl.when(pl.col("refunds").is_not_null()).then(paid).otherwise(0),
        refunds=pl.col("refunds").fill_null(0),
        since=pl.max_horizontal("failed_at", "charge_at"),
    ).filter(owed.ne_missing(0) | paid.ne_missing(0))
    # In part is not refunded yet.
    judged = judged.with_columns(whole_at=pl.when(paid >= owed).then("refund_at"))
    _, late, at = _wait("since", "whole_at", limits.refund_hours * 3600, as_of)
    more = (pl.col("refunds") > pl.col("charges")) | (paid > owed)
    sums = pl.format("{} of {} refunded", _plain(paid), _plain(owed))
    return judged.with_columns(
        at=pl.when(more).then("refund_at").otherwise(at),
        figure=(owed - paid).abs(),
        why=pl.when((more | late) & (owed + paid).is_null()).then(pl.lit("an amount is missing"))
        .when(more).then(pl.format("{}, in {} refunds", sums, "refunds"))
        .when(late & (paid < owed)).then(sums)
        .when(late).then(pl.lit("refunded late")),
    )  # fmt: skip


def _packed(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """A paid order that did not fail has a packing task within {packing_seconds:g} s of payment."""
    paid = settled(tables, "charge").group_by("order_id").agg(paid_at=pl.col("settled_at").min())
    tasks = tables["packing_tasks"].group_by("order_id").agg(task_at=pl.col("created_at").min())
    judged = _going(tables).join(paid, on="order_id").join(tasks, on="order_id", how="left")
    waited, late, at = _wait("paid_at", "task_at", limits.packing_seconds, as_of)
    task = pl.when(pl.col("task_at").is_null()).then(pl.lit("no task")).otherwise(pl.lit("task"))
    said = pl.format("{} after {} s", task, _plain(waited))
    return judged.with_columns(at=at, figure=waited, why=pl.when(late).then(said))


def _shipped(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """A packed task has a shipment with a tracking number within {shipping_hours:g} h."""
    tracked = pl.col("tracking_number").str.strip_chars() != ""
    sent = tables["shipments"].group_by("task_id").agg(
        sent_at=pl.col("shipped_at").min(), tracked_at=pl.col("shipped_at").filter(tracked).min()
    )  # fmt: skip
    tasks = tables["packing_tasks"].filter(pl.col("packed_at").is_not_null())
    judged = tasks.join(_going(tables), on="order_id", how="semi").join(sent, "task_id", how="left")
    waited, late, at = _wait("packed_at", "tracked_at", limits.shipping_hours * 3600, as_of)
    blind = pl.col("tracked_at").is_null() & pl.col("sent_at").is_not_null()
    missing, hours = pl.col("tracked_at").is_null(), (waited / 3600).round(2)
    return judged.with_columns(
        at=pl.when(blind).then("sent_at").otherwise(at),
        figure=hours,
        why=pl.when(blind).then(pl.lit("shipped without tracking"))
        .when(late & missing).then(pl.format("not shipped after {} h", _plain(hours)))
        .when(late).then(pl.format("shipped after {} h", _plain(hours))),
    )  # fmt: skip


def _returned(tables: Tables, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """A received return is credited and, unless damaged, restocked within {return_days:g} days."""
    damaged = pl.col("condition").str.to_lowercase().eq_missing("damaged")
    credited, restocked = pl.col("credited_at"), pl.col("restocked_at")
    both = credited.is_not_null() & restocked.is_not_null()
    last = pl.when(both).then(pl.max_horizontal(credited, restocked))
    judged = tables["returns"].with_columns(
        done_at=pl.when(damaged).then(credited).otherwise(last),
        missing=pl.concat_str(
            pl.when(credited.is_null()).then(pl.lit("not credited")),
            pl.when(restocked.is_null() & ~damaged).then(pl.lit("not restocked")),
            separator=", ", ignore_nulls=True,
        ).replace("", "late"),
    )  # fmt: skip
    waited, late, at = _wait("received_at", "done_at", limits.return_days * 86_400, as_of)
    days = (waited / 86_400).round(2)
    said = pl.format("{} after {} days", "missing", _plain(days))
    return judged.with_columns(at=at, figure=days, why=pl.when(late).then(said))


PROMISES: Mapping[str, tuple[Severity, Judge]] = {
    "one order and one charge": ("critical", _once),
    "no oversell": ("critical", _in_stock),
    "reservations expire": ("warning", _expiring),
    "reserved at low stock": ("warning", _reserved),
    "failed orders are refunded": ("critical", _refunded),
    "packing task after payment": ("warning", _packed),
    "shipment with tracking": ("warning", _shipped),
    "returns credited and restocked": ("warning", _returned),
}
"""What is promised, in the order in which a checkout keeps it; the functions' words define it."""


def settled(tables: Tables, kind: str) -> pl.DataFrame:
    """Pick the payments of a kind, "charge" or "refund", that succeeded."""
    named = pl.col("kind").str.to_lowercase() == kind
    done = pl.col("status").str.to_lowercase() == "succeeded"
    return tables["payments"].filter(named & done & pl.col("settled_at").is_not_null())


def _going(tables: Tables) -> pl.DataFrame:
    return tables["orders"].filter(pl.col("failed_at").is_null())


def _lines(tables: Tables) -> pl.DataFrame:
    return tables["order_lines"].join(tables["orders"], on="order_id")


def _used(tables: Tables, lines: pl.DataFrame) -> pl.DataFrame:
    """Give reservations the order that used them: their cart's and product's first from then on."""
    orders = lines.select("cart_id", "product_id", "placed_at", "order_id")
    return tables["reservations"].sort("reserved_at").join_asof(
        orders.sort("placed_at", "order_id"), left_on="reserved_at", right_on="placed_at",
        by=["cart_id", "product_id"], strategy="forward", check_sortedness=False,
    )  # fmt: skip


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


def _wait(
    start: str, done: str, seconds: float, as_of: dt.datetime
) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Say how many seconds something took so far, whether it is late, and when that was decided.

    What was done in time was decided when it was done, all else when its time ran out.
    """
    span = pl.col(done).fill_null(as_of) - pl.col(start)
    # Rounded, a span is the float by which it is written, as the limit is.
    took = (span.dt.total_microseconds() / 1_000_000).round(6)
    due = pl.col(start) + dt.timedelta(seconds=seconds)
    decided = pl.col(done).is_not_null() | (took > seconds)
    return took, took > seconds, pl.when(decided).then(pl.min_horizontal(done, due))


def _plain(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
