"""Sample schema `shop`: a month of a small web shop, and a few promises broken on purpose.

`simulate` makes the month, in which every promise is kept. What is broken on top of
it, and how often in the default size, says `DIRT`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import TIMESTAMP, BigInteger, Date, Integer, MetaData, Numeric, String, Table

from workbench.demo.columns import key, needed, optional
from workbench.demo.shop_month import BEGIN, Month

if TYPE_CHECKING:
    import polars as pl

DIRT = {
    "one Idempotency-Key charged twice": "2 orders",
    "one Idempotency-Key ordered twice": "1 key",
    "the last unit reserved by two carts": "1 reservation",
    "reservation held for more than 900 s": "3 reservations",
    "paid order that failed without a refund": "2 orders",
    "paid order that failed with two refunds": "1 order",
    "packing task more than 10 s after payment": "3 orders",
    "shipment without a tracking number": "2 shipments",
}
"""Each broken promise and how often it is in the default size; a tiny shop may have none."""

METADATA = MetaData(schema="shop")
ID, MOMENT, MONEY = BigInteger, TIMESTAMP, Numeric(12, 2)

Table(
    "products",
    METADATA,
    key("product_id", ID, "Product"),
    needed("sku", String(12), "Stock keeping unit, as on the shelf"),
    needed("name", String(80), "Name as the catalogue shows it"),
    needed("category", String(20), "Department of the catalogue"),
    needed("price", MONEY, "Price, EUR"),
    needed("listed_on", Date, "Day since which it is sold"),
    comment="What is sold",
)
Table(
    "stock_movements",
    METADATA,
    key("movement_id", ID, "Movement, in order of time"),
    needed("product_id", ID, "The product", refers_to="shop.products.product_id"),
    needed("kind", String(10), "opening, delivery, restock or correction"),
    needed("quantity", Integer, "Units that came; below 0 if they went otherwise than by a sale"),
    needed("moved_at", MOMENT, "When they could be sold, UTC"),
    comment="Units that came into stock; sales are in order_lines",
)
Table(
    "carts",
    METADATA,
    key("cart_id", ID, "Cart, in order of time"),
    needed("customer_ref", String(12), "Customer, or the visit of one unknown"),
    needed("channel", String(8), "web, app or phone"),
    needed("created_at", MOMENT, "When the first product was put into it, UTC"),
    comment="Carts, most of which never become an order",
)
Table(
    "reservations",
    METADATA,
    key("reservation_id", ID, "Reservation, in order of time"),
    needed("cart_id", ID, "The cart", refers_to="shop.carts.cart_id"),
    needed("product_id", ID, "The product", refers_to="shop.products.product_id"),
    needed("quantity", Integer, "Units held for the cart"),
    needed("reserved_at", MOMENT, "Since when they are held, UTC"),
    needed("expires_at", MOMENT, "Until when they may be held, UTC"),
    optional("released_at", MOMENT, "When they were no longer held, UTC; null while they are"),
    optional("released_by", String(8), "order, customer or expiry; null while they are held"),
    comment="Units held for a cart until it is ordered or given up",
)
Table(
    "orders",
    METADATA,
    key("order_id", ID, "Order, in order of time"),
    needed("cart_id", ID, "The cart it came from", refers_to="shop.carts.cart_id"),
    needed("customer_ref", String(12), "Customer"),
    needed("idempotency_key", String(36), "Idempotency-Key of the checkout's request"),
    needed("status", String(8), "placed, paid, packed, shipped or failed"),
    needed("amount", MONEY, "Sum of its lines, EUR"),
    needed("placed_at", MOMENT, "When it was placed, UTC"),
    optional("failed_at", MOMENT, "When it failed, before or after payment, UTC; null if not"),
    optional("failure", String(20), "Why it failed; null if it did not"),
    comment="Orders, one for each successful checkout",
)
Table(
    "order_lines",
    METADATA,
    key("order_id", ID, "The order"),
    key("line", Integer, "Its line, from 1"),
    needed("product_id", ID, "The product", refers_to="shop.products.product_id"),
    needed("quantity", Integer, "Units ordered"),
    needed("price", MONEY, "Price of a unit, EUR"),
    comment="What was ordered",
)
Table(
    "payments",
    METADATA,
    key("payment_id", ID, "Payment, in order of time"),
    needed("order_id", ID, "The order", refers_to="shop.orders.order_id"),
    optional("idempotency_key", String(36), "Idempotency-Key of the checkout; null for refunds"),
    needed("kind", String(8), "charge or refund"),
    needed("amount", MONEY, "What was charged or paid back, EUR, above 0"),
    needed("status", String(10), "pending, succeeded or failed"),
    needed("created_at", MOMENT, "When it was asked for, UTC"),
    optional("settled_at", MOMENT, "When it succeeded or failed, UTC; null while it is pending"),
    comment="Charges and refunds",
)
Table(
    "invoices",
    METADATA,
    key("invoice_id", ID, "Invoice, in order of time"),
    needed("order_id", ID, "The order", refers_to="shop.orders.order_id"),
    needed("invoice_number", String(16), "Number on the invoice"),
    needed("amount", MONEY, "Sum, EUR"),
    needed("issued_at", MOMENT, "When it was issued, UTC"),
    comment="Invoices of paid orders",
)
Table(
    "packing_tasks",
    METADATA,
    key("task_id", ID, "Task, in order of time"),
    needed("order_id", ID, "The order", refers_to="shop.orders.order_id"),
    needed("station", String(8), "Packing station"),
    needed("created_at", MOMENT, "When the warehouse was told, UTC"),
    optional("packed_at", MOMENT, "When it was packed, UTC; null while it is not"),
    comment="Orders to be packed",
)
Table(
    "shipments",
    METADATA,
    key("shipment_id", ID, "Shipment, in order of time"),
    needed("task_id", ID, "What was packed", refers_to="shop.packing_tasks.task_id"),
    needed("carrier", String(20), "Who carries it"),
    optional("tracking_number", String(20), "Tracking number of the carrier"),
    needed("shipped_at", MOMENT, "When the carrier took it, UTC"),
    optional("delivered_at", MOMENT, "When it was delivered, UTC; null while it is not"),
    comment="Parcels given to a carrier",
)
Table(
    "returns",
    METADATA,
    key("return_id", ID, "Return, in order of time"),
    needed("order_id", ID, "The order", refers_to="shop.orders.order_id"),
    needed("product_id", ID, "The product", refers_to="shop.products.product_id"),
    needed("quantity", Integer, "Units sent back"),
    needed("condition", String(8), "good, or damaged, which is not restocked"),
    needed("received_at", MOMENT, "When it came back, UTC"),
    optional("credited_at", MOMENT, "When the customer got the money back, UTC"),
    optional("restocked_at", MOMENT, "When it could be sold again, UTC"),
    comment="What customers sent back",
)
Table(
    "request_log",
    METADATA,
    key("request_id", ID, "Request, in order of time"),
    needed("endpoint", String(12), "catalogue, search, cart or checkout"),
    needed("status", Integer, "HTTP status of the answer"),
    optional("idempotency_key", String(36), "Idempotency-Key, of checkouts only"),
    needed("started_at", MOMENT, "When it came in, UTC"),
    optional("first_byte_ms", Integer, "Milliseconds to the answer's first byte"),
    optional("duration_ms", Integer, "Milliseconds to the answer's end"),
    comment="Requests to the shop's servers",
)


def generate(rows: int = 20_000) -> dict[str, pl.DataFrame]:
    """Return the tables' frames in load order, with some 3 orders for each 20 `rows`."""
    return planted(simulate(rows))


def simulate(rows: int = 20_000) -> dict[str, pl.DataFrame]:
    """Return the tables' frames of a month in which every promise is kept."""
    made = Month(rows).rows
    return {table.name: _frame(table, made.get(table.name, [])) for table in METADATA.sorted_tables}


def planted(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Break the promises of `DIRT` in frames that keep them, as far as they have rows for it."""
    import polars as pl

    frames = dict(frames)
    paid = frames["payments"].filter(pl.col("status") == "succeeded")
    charges, refunds = (paid.filter(pl.col("kind") == kind) for kind in ("charge", "refund"))
    second = pl.duration(seconds=1)
    refunds = refunds.filter(pl.col("settled_at") < pl.lit(BEGIN) + 86_400 * 25 * second)
    twice, (unpaid, again) = _some(charges, 2), (_some(refunds, 3)[:2], _some(refunds, 3)[2:])
    frames["payments"] = frames["payments"].join(unpaid, on="payment_id", how="anti")
    _add(frames, "payments", pl.concat([twice, again]).with_columns(
        pl.col("created_at", "settled_at") + 40 * second
    ))  # fmt: skip
    for one in _some(charges, 1)["payment_id"]:
        pair = charges.filter(pl.col("payment_id") >= one)["idempotency_key"].head(2).to_list()
        for table in ("orders", "payments"):
            same = pl.col("idempotency_key").replace(pair[0], pair[-1])
            frames[table] = frames[table].with_columns(same)
    expired = frames["reservations"].filter(pl.col("released_by") == "expiry")
    packed = frames["packing_tasks"].filter(pl.col("packed_at").is_not_null())
    sent = frames["shipments"]
    for table, column, rows, value in (
        ("reservations", "released_at", _some(expired, 3), pl.col("released_at") + 75 * second),
        ("packing_tasks", "created_at", _some(packed, 3), pl.col("created_at") + 12 * second),
        ("shipments", "tracking_number", _some(sent, 2), pl.lit(None)),
    ):
        chosen = pl.col(rows.columns[0]).is_in(rows.to_series().implode())
        edited = pl.when(chosen).then(value).otherwise(column).alias(column)
        frames[table] = frames[table].with_columns(edited)
    if frames["carts"].height > 20:
        _last_unit(frames)
    return frames


def _some(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Pick so many rows, spread evenly; none of a few, so that a tiny shop keeps its promises."""
    places = [rows.height * (2 * n + 1) // (2 * count) for n in range(count)]
    return rows[places] if rows.height >= 10 * count else rows.clear()


def _add(frames: dict[str, pl.DataFrame], table: str, rows: pl.DataFrame) -> None:
    import polars as pl

    name = frames[table].columns[0]
    number = pl.int_range(1, pl.len() + 1) + frames[table][name].max()
    frames[table] = frames[table].vstack(rows.with_columns(number.alias(name)))


def _last_unit(frames: dict[str, pl.DataFrame]) -> None:
    """Let two carts reserve the only unit of a product, one 5 seconds after the other."""
    import polars as pl

    middle = frames["carts"].height // 2
    rivals, lamp = (
        frames["carts"][middle : middle + 2],
        {"sku": "SKU-LAST", "name": "Brass lamp, last piece"},
    )
    _add(frames, "products", frames["products"][:1].with_columns(**_literals(lamp)))
    unit = _literals({"product_id": frames["products"]["product_id"][-1], "quantity": 1})
    _add(frames, "stock_movements", frames["stock_movements"][:1].with_columns(**unit))
    begin = pl.col("created_at").max() + pl.duration(seconds=60 + 5 * pl.int_range(pl.len()))
    end = begin + pl.duration(seconds=900)
    rows = rivals.select(
        "cart_id", **unit, reserved_at=begin, expires_at=end, released_at=end,
        released_by=pl.lit("expiry"), reservation_id=0,
    )  # fmt: skip
    _add(frames, "reservations", rows.select(frames["reservations"].columns))


def _literals(values: dict[str, Any]) -> dict[str, pl.Expr]:
    import polars as pl

    kinds = {int: pl.Int64, str: pl.String}
    return {name: pl.lit(value, kinds[type(value)]) for name, value in values.items()}


def _frame(table: Table, rows: list[Any]) -> pl.DataFrame:
    """Type rows: moments are milliseconds after the month's beginning, sums are cents."""
    import polars as pl

    kinds = {BigInteger: pl.Int64, Integer: pl.Int64, Numeric: pl.Int64, TIMESTAMP: pl.Int64,
             String: pl.String, Date: pl.Date}  # fmt: skip
    frame = pl.DataFrame(
        rows, schema={c.name: kinds[type(c.type)] for c in table.columns}, orient="row"
    )
    of = {kind: [c.name for c in table.columns if type(c.type) is kind] for kind in kinds}
    return frame.with_columns(
        (pl.lit(BEGIN) + pl.duration(milliseconds=pl.col(name))).alias(name)
        for name in of[TIMESTAMP]
    ).with_columns(
        (pl.col(name).cast(pl.Decimal(12, 2)) / 100).cast(pl.Decimal(12, 2)) for name in of[Numeric]
    )
