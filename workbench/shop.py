"""Read a shop's tables, and audit them: promises, service levels and the way from cart to return.

Times are UTC without a zone; ids are texts, so that numbers and UUIDs are alike.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import polars as pl
import sqlalchemy as sa

from workbench import cells
from workbench.checkout import PROMISES, Limits, Tables, settled
from workbench.database import Database
from workbench.errors import DataError, UsageError, require
from workbench.moments import utc

__all__ = ["Audit", "Limits", "Shop", "audit", "of", "percentile", "read"]

MOMENT, MONEY, WHOLE = pl.Datetime("us"), pl.Decimal(18, 4), pl.Int64()
NUMBER, TEXT = pl.Float64(), pl.String()
COLUMNS: Mapping[str, Mapping[str, pl.DataType]] = {
    "products": {"product_id": TEXT, "name": TEXT},
    "stock_movements": {"product_id": TEXT, "quantity": WHOLE, "moved_at": MOMENT},
    "carts": {"cart_id": TEXT, "created_at": MOMENT},
    "reservations": {
        "reservation_id": TEXT, "cart_id": TEXT, "product_id": TEXT, "quantity": WHOLE,
        "reserved_at": MOMENT, "released_at": MOMENT, "released_by": TEXT,
    },
    "orders": {
        "order_id": TEXT, "cart_id": TEXT, "idempotency_key": TEXT, "placed_at": MOMENT,
        "failed_at": MOMENT,
    },
    "order_lines": {"order_id": TEXT, "product_id": TEXT, "quantity": WHOLE},
    "payments": {
        "payment_id": TEXT, "order_id": TEXT, "idempotency_key": TEXT, "kind": TEXT,
        "amount": MONEY, "status": TEXT, "created_at": MOMENT, "settled_at": MOMENT,
    },
    "packing_tasks": {
        "task_id": TEXT, "order_id": TEXT, "created_at": MOMENT, "packed_at": MOMENT,
    },
    "shipments": {
        "shipment_id": TEXT, "task_id": TEXT, "tracking_number": TEXT, "shipped_at": MOMENT,
    },
    "returns": {
        "return_id": TEXT, "order_id": TEXT, "product_id": TEXT, "condition": TEXT,
        "received_at": MOMENT, "credited_at": MOMENT, "restocked_at": MOMENT,
    },
    "request_log": {
        "request_id": TEXT, "endpoint": TEXT, "status": WHOLE, "idempotency_key": TEXT,
        "started_at": MOMENT, "first_byte_ms": NUMBER, "duration_ms": NUMBER,
    },
}  # fmt: skip
"""The columns that the audit needs; a table's first moment says when its row came to be."""
TOLD = "docs/shop.md says what each is."
DAY = dt.timedelta(days=1)
MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True)
class Shop:
    """A shop's tables as `COLUMNS` has them, and the period that is to be judged, in UTC."""

    tables: Tables
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True)
class Audit:
    """What became of the promises as of a moment, which is None where there are no rows at all.

    `promises` has a row for each: promise, definition, severity, checked, violations, worst and
    verdict ("kept", "broken", or "not tried" where there was nothing to check). `offenders` has
    by promise what breaks it, worst first. `levels` are the service levels, with limit, observed
    and unit; `minutes` those in which the shop was at its limit of orders; `funnel` counts carts.
    """

    as_of: dt.datetime | None
    promises: pl.DataFrame
    offenders: Mapping[str, pl.DataFrame]
    levels: pl.DataFrame
    minutes: pl.DataFrame
    funnel: pl.DataFrame


def read(
    db: Database, schema: str = "shop", since: str | None = None, until: str | None = None
) -> Shop:
    """Read a shop; `schema` "" is the source's own, `since` and `until` are those of `of()`.

    Stock is the sum of all that came and went, so all rows before `until` are read, of requests
    those of the period only. Raises DataError for a table or column that is not there.
    """
    begin, end = _moment("since", since), _moment("until", until, end=True)
    frames = {}
    for name, columns in COLUMNS.items():
        table = db.table(f"{schema}.{name}" if schema else name)
        known = {column.name.lower(): column for column in table.columns}
        require(f"Table {table.fullname} of source {db.name!r}", known, columns, TOLD)
        query = sa.select(*(known[column].label(column) for column in columns))
        if first := _first(name):
            if end:
                query = query.where(known[first] < end)
            if begin and name == "request_log":
                query = query.where(known[first] >= begin)
        frames[name] = db.read(query)
    return of(frames, since, until)


def of(
    frames: Mapping[str, pl.DataFrame], since: str | None = None, until: str | None = None
) -> Shop:
    """Make a shop of frames, typed; moments with a zone become UTC.

    Judged is what was decided between `since` and `until`: ISO days, the last one included, or
    moments, the last one not. Raises UsageError for what is neither, DataError for a
    table or column that is missing or holds what it cannot.
    """
    require("The shop", frames, COLUMNS, TOLD, "table")
    begin, end = _moment("since", since), _moment("until", until, end=True)
    if begin and end and begin >= end:
        raise UsageError(f"Nothing lies between since {since} and until {until}.")
    tables = {}
    for name, columns in COLUMNS.items():
        require(f"Table {name}", frames[name].columns, columns, TOLD)
        typed = [_typed(name, frames[name][column], kind) for column, kind in columns.items()]
        frame, first = pl.DataFrame(typed), _first(name)
        if first and end:
            frame = frame.filter(pl.col(first) < end)
        tables[name] = frame
    return Shop(tables, begin, end)


def audit(shop: Shop, limits: Limits = Limits(), as_of: dt.datetime | None = None) -> Audit:  # noqa: B008
    """Judge a shop as it stood at `as_of`, else at its latest event until then and until now.

    What is still within its time then, such as an order paid a moment ago, breaks no promise.
    """
    latest = max(filter(None, map(_latest, shop.tables.values())), default=None)
    if as_of:
        as_of = _utc(as_of)
    elif latest:
        # A year that somebody mistyped is not the time it is.
        as_of = min(latest, shop.until or latest, dt.datetime.now(dt.UTC).replace(tzinfo=None))
    moment = as_of or dt.datetime.min
    tables = {name: _as_of(name, frame, moment) for name, frame in shop.tables.items()}
    since = shop.since or dt.datetime.min
    rows, offenders = [], {}
    for name, (severity, judge) in PROMISES.items():
        judged = judge(tables, limits, moment).filter(pl.col("at") >= since)
        wrong = judged.filter(pl.col("why").is_not_null())
        wrong = wrong.sort("figure", "at", wrong.columns[0], descending=[True, False, False])
        definition = " ".join((judge.__doc__ or "").split()).format(**asdict(limits))
        worst, kept = next(iter(wrong["why"]), None), _verdict(judged.height, wrong.height)
        rows.append((name, definition, severity, judged.height, wrong.height, worst, kept))
        offenders[name] = wrong
    names = ("promise", "definition", "severity", "checked", "violations", "worst", "verdict")
    requests = tables["request_log"].filter(pl.col("started_at") >= since)
    minutes = _minutes(requests, limits, moment)
    return Audit(
        as_of,
        pl.DataFrame(rows, schema=names, orient="row").cast({"worst": TEXT}),
        offenders,
        _levels(requests, minutes, limits),
        minutes,
        _funnel(tables, since),
    )


def percentile(values: pl.Series, percent: int) -> float | None:
    """Give the nearest-rank percentile: the least value that `percent` % of them do not exceed.

    Of n values in order it is number ceil(n · percent / 100), always one of them; nulls and NaN
    do not count. None where there are no values.
    """
    known = values.cast(NUMBER).drop_nans().drop_nulls().sort()
    rank = -(-known.len() * percent // 100)
    return float(known[max(rank, 1) - 1]) if known.len() else None


def _levels(requests: pl.DataFrame, minutes: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    checkouts = requests.filter(_is("checkout"))["duration_ms"].drop_nulls() / 1000
    pages = requests.filter(_is("catalogue"))["first_byte_ms"].drop_nulls()
    slow, first, fewest = percentile(checkouts, 95), percentile(pages, 95), minutes["taken"].min()
    worse = (minutes["taken"] < limits.orders_a_minute).any()
    told = {
        "level": ["checkout p95", "catalogue first byte p95", "orders a minute"],
        "limit": [limits.checkout_seconds, limits.catalogue_ms, limits.orders_a_minute],
        "observed": [slow, first, fewest],
        "unit": ["s", "ms", "orders"],
        "checked": [checkouts.len(), pages.len(), minutes.height],
        "verdict": [
            _verdict(checkouts.len(), (slow or 0) > limits.checkout_seconds),
            _verdict(pages.len(), (first or 0) > limits.catalogue_ms),
            _verdict(minutes.height, worse),
        ],
    }
    return pl.DataFrame(told, schema_overrides={"limit": NUMBER, "observed": NUMBER}, strict=False)


def _minutes(requests: pl.DataFrame, limits: Limits, as_of: dt.datetime) -> pl.DataFrame:
    """Count by minute the checkouts submitted, and those of them that were orders within 60 s.

    Attempts with one key are one checkout, of the first one's minute. It is none of the shop's
    if the customer was refused for good: 4xx, but for 408 and 429, by which a shop in need sheds
    load. Minutes that demanded less than the limit show nothing.
    """
    key = pl.col("idempotency_key").str.strip_chars().replace("", None)
    status = pl.col("status")
    refused = status.is_between(400, 499) & ~status.is_in([408, 429])
    answered = pl.col("started_at") + pl.duration(
        microseconds=pl.col("duration_ms").fill_null(0) * 1000
    )
    checkouts = (
        requests.filter(_is("checkout"))
        .group_by(pl.coalesce(key, "request_id").alias("key"), key.is_null().alias("keyless"))
        .agg(
            pl.col("started_at").min().alias("first"),
            refused.any().alias("refused"),
            answered.filter(status.is_between(200, 299)).min().alias("taken_at"),
        )
        .filter(~pl.col("refused") | pl.col("taken_at").is_not_null())
    )
    taken = (pl.col("taken_at") - pl.col("first") <= MINUTE).fill_null(value=False)
    return (
        checkouts.group_by(pl.col("first").dt.truncate("1m").alias("minute"))
        .agg(pl.len().cast(pl.Int64).alias("submitted"), taken.sum().cast(pl.Int64).alias("taken"))
        .filter(
            pl.col("submitted") >= limits.orders_a_minute, pl.col("minute") + 2 * MINUTE <= as_of
        )
        .sort("minute")
    )


def _funnel(tables: Tables, since: dt.datetime) -> pl.DataFrame:
    """Count the carts made in the period that came to each step."""
    carts = tables["carts"].filter(pl.col("created_at") >= since).select("cart_id").unique()
    orders = tables["orders"].join(carts, on="cart_id", how="semi")
    paid = orders.join(settled(tables, "charge"), on="order_id", how="semi")
    tasks = tables["packing_tasks"].filter(pl.col("packed_at").is_not_null())
    packed = paid.join(tasks, on="order_id", how="semi")
    sent = tasks.join(tables["shipments"], on="task_id", how="semi")
    shipped = packed.join(sent, on="order_id", how="semi")
    steps = {
        "carts": carts,
        "reserved": tables["reservations"].join(carts, on="cart_id", how="semi"),
        "ordered": orders,
        "paid": paid,
        "packed": packed,
        "shipped": shipped,
        "returned": shipped.join(tables["returns"], on="order_id", how="semi"),
    }
    counts = [frame["cart_id"].n_unique() for frame in steps.values()]
    number = pl.col("carts")
    return pl.DataFrame(
        {"step": list(steps), "carts": counts}, schema={"step": TEXT, "carts": WHOLE}
    ).with_columns(
        (100 * number / pl.when(number.first() > 0).then(number.first())).alias("of_carts"),
        (100 * number / pl.when(number.shift() > 0).then(number.shift())).alias("of_step_before"),
    )


def _is(endpoint: str) -> pl.Expr:
    return pl.col("endpoint").str.to_lowercase() == endpoint


def _verdict(checked: int, broken: float) -> str:
    return "not tried" if not checked else "broken" if broken else "kept"


def _first(name: str) -> str | None:
    """Name the moment that says since when a table's rows are there."""
    return next((column for column, kind in COLUMNS[name].items() if kind == MOMENT), None)


def _moments(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in frame.schema.items() if kind == MOMENT]


def _latest(frame: pl.DataFrame) -> dt.datetime | None:
    moments = _moments(frame)
    return frame.select(pl.max_horizontal(pl.col(moments).max())).item() if moments else None


def _as_of(name: str, frame: pl.DataFrame, moment: dt.datetime) -> pl.DataFrame:
    """Forget what has not happened yet: rows to come, and moments to come of other rows."""
    if not (first := _first(name)):
        return frame
    later = [pl.when(pl.col(each) <= moment).then(each).alias(each) for each in _moments(frame)]
    return frame.filter(pl.col(first) <= moment).with_columns(later)


def _moment(name: str, text: str | None, *, end: bool = False) -> dt.datetime | None:
    if not text:
        return None
    try:
        moment = _utc(dt.datetime.fromisoformat(str(text)))
    except (ValueError, OverflowError):
        said = f"{name} is a day or moment such as 2026-01-31 or 2026-01-31T18:00, not {text!r}."
        raise UsageError(said) from None
    # An open end is often written as the last day there is, which has none after it.
    day = end and len(str(text)) <= 10
    return min(moment, dt.datetime.max - DAY) + DAY if day else moment


def _utc(moment: dt.datetime) -> dt.datetime:
    return utc(moment).replace(tzinfo=None)


def _typed(table: str, column: pl.Series, kind: pl.DataType) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if column.dtype.is_float():
        column = column.fill_nan(None)
    fits = kind != MOMENT or column.dtype in (pl.Datetime, pl.Date, pl.Null)
    try:
        if kind == TEXT and column.dtype.is_float():
            # Pandas has ids as floats where some are missing; from 2**53 on these are several's.
            whole = column.cast(WHOLE)
            fits = (
                column.dtype == NUMBER and (whole == column).all() and (whole.abs() < 2**53).all()
            )
            column = whole if fits else column
        if fits:
            return cells.plain(column) if kind == TEXT else column.cast(kind)
    except pl.exceptions.PolarsError:
        fits = False
    needed = {MOMENT: "moments", TEXT: "whole numbers or texts"}.get(kind, "numbers")
    raise DataError(f"The column {table}.{column.name} holds {column.dtype}, not {needed}.")
