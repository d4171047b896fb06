"""Run Colors in plain Python: the slow, readable reference that the engines are held against.

Written from DESIGN §6 alone, without sight of the product's code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

Row = dict[str, Any]

CANONICAL = [
    "MESSAGE_ID",
    "TICKER",
    "SECTOR",
    "CUSIP",
    "DATE",
    "PRICE_LEVEL",
    "BID",
    "ASK",
    "PX",
    "SOURCE",
    "BIAS",
    "RANK",
    "COV_PRICE",
    "PERCENT_DIFF",
    "PRICE_DIFF",
    "CONFIDENCE",
    "DATE_1",
    "DIFF_STATUS",
]
ADDED = ["COLOR_POSITION", "IS_PARENT", "PARENT_MESSAGE_ID", "CHILDREN_COUNT"]
COVERAGE = ["COV_PRICE", "PERCENT_DIFF", "PRICE_DIFF", "DIFF_STATUS"]
DEFAULT_ORDER = ("rank asc", "date desc", "price desc")
BLANKS = " \t\r\n\v\f\u00a0"
BIAS_RANK = {
    "TRADE CONFIRM": 1,
    "BWIC COVER": 2,
    "BWIC REO": 3,
    "MARKET": 3,
    "BUYER": 3,
    "BID": 3,
    "COLOR": 3,
    "DNT": 3,
    "DNT BEST": 3,
    "OFFER": 4,
    "BWIC TALK": 5,
    "VALUATION": 6,
}
FIVE_PERCENT_SECTORS = ("US_Equity_2.0", "US_MM_Equity_2.0")


def rank(
    rows: list[Row],
    order: Sequence[str] = DEFAULT_ORDER,
    sector: str | None = None,
    deduplicate: bool = False,
) -> list[Row]:
    """Group rows by CUSIP, order each group, mark parents and children."""
    keys = parse_order(order)
    extras = extra_columns(rows)
    columns = CANONICAL + extras

    ranked = [normalise(row, columns) for row in rows]
    if sector is not None:
        wanted = fold(sector)
        ranked = [r for r in ranked if wanted is not None and fold(r["SECTOR"]) == wanted]

    groups: dict[str, list[Row]] = {}
    for row in ranked:
        if row["CUSIP"] is not None:
            groups.setdefault(row["CUSIP"], []).append(row)

    output = []
    for cusip in sorted(groups):
        group = in_total_order(groups[cusip], keys, columns)
        if deduplicate:
            group = first_of_each_quote(group, columns)
        parent = group[0]
        for position, row in enumerate(group, start=1):
            is_parent = position == 1
            row["COLOR_POSITION"] = position
            row["IS_PARENT"] = is_parent
            row["PARENT_MESSAGE_ID"] = None if is_parent else parent["MESSAGE_ID"]
            row["CHILDREN_COUNT"] = len(group) - 1 if is_parent else 0
            output.append(row)
    return output


def parse_order(order: Sequence[str]) -> list[tuple[str, bool]]:
    """Turn ("rank asc", …) into [("rank", descending?), …]."""
    keys = []
    for entry in order:
        name, direction = entry.split(" ")
        if name not in ("rank", "date", "price") or direction not in ("asc", "desc"):
            raise ValueError(f"unknown order entry: {entry!r}")
        keys.append((name, direction == "desc"))
    if not keys or len({name for name, _ in keys}) != len(keys):
        raise ValueError(f"order needs one to three different keys: {order!r}")
    return keys


def extra_columns(rows: list[Row]) -> list[str]:
    """Name the columns beyond the 18, sorted without regard to case."""
    extras = {name for row in rows for name in row if name not in CANONICAL}
    clash = extras & set(ADDED)
    if clash:
        raise ValueError(f"the input already has {sorted(clash)}")
    return sorted(extras, key=lambda name: (name.upper(), name))


def normalise(row: Row, columns: list[str]) -> Row:
    """Clean one row and derive what it lacks."""
    new = {name: row.get(name) for name in columns}
    for name, value in new.items():
        if value == "":
            new[name] = None
    new["CUSIP"] = fold(new["CUSIP"])
    new["DATE"] = at_midnight(new["DATE"])
    new["DATE_1"] = at_midnight(new["DATE_1"])
    if new["RANK"] is None:
        new["RANK"] = BIAS_RANK.get(fold(new["BIAS"]) or "")
    if new["PERCENT_DIFF"] is None:
        new["PERCENT_DIFF"] = percent_diff(new["PX"], new["COV_PRICE"])
    if new["PRICE_DIFF"] is None:
        new["PRICE_DIFF"] = price_diff(new["PX"], new["COV_PRICE"])
    if new["DIFF_STATUS"] is None:
        new["DIFF_STATUS"] = diff_status(new["PERCENT_DIFF"], new["SECTOR"])
    return new


def fold(text: str | None) -> str | None:
    """Trim blanks and raise a-z; nothing left is None."""
    if text is None:
        return None
    upper = "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text.strip(BLANKS))
    return upper or None


def at_midnight(day: date | datetime | None) -> datetime | None:
    """Give a plain date its midnight."""
    if day is None or isinstance(day, datetime):
        return day
    return datetime(day.year, day.month, day.day)


def percent_diff(px: Any, cov_price: Any) -> Decimal | None:
    """Return |PX - COV_PRICE| / COV_PRICE in percent, 2 decimals, half away from zero."""
    if px is None or cov_price is None or cov_price == 0:
        return None
    px, cov_price = Fraction(px), Fraction(cov_price)
    hundredths = abs(px - cov_price) / cov_price * 100 * 100
    whole = int(abs(hundredths) + Fraction(1, 2))
    return Decimal(whole if hundredths > 0 else -whole).scaleb(-2)


def price_diff(px: Any, cov_price: Any) -> Decimal | None:
    """Return PX - COV_PRICE."""
    if px is None or cov_price is None:
        return None
    with localcontext() as context:
        context.prec = 100  # exact for any price
        return Decimal(px) - Decimal(cov_price)


def diff_status(percent: Any, sector: str | None) -> str | None:
    """Judge a percent difference: above 2 (5 for two sectors) is significant."""
    if percent is None:
        return None
    limit = 5 if fold(sector) in map(fold, FIVE_PERCENT_SECTORS) else 2
    return "Significant Difference" if percent > limit else "Small Difference"


def in_total_order(group: list[Row], keys: list[tuple[str, bool]], columns: list[str]) -> list[Row]:
    """Sort by the keys, then by every column; stable sorts, the least important first."""
    for name in reversed(columns):  # MESSAGE_ID is the first column, so it is the last sort here
        group = sort_nulls_last(group, [comparable(row[name]) for row in group], False)
    for key, descending in reversed(keys):
        group = sort_nulls_last(group, [key_value(row, key) for row in group], descending)
    return group


def key_value(row: Row, key: str) -> Any:
    """Return what rank, date or price means for a row."""
    if key == "rank":
        return row["RANK"]
    if key == "price":
        return row["PX"]
    return row["DATE_1"] if row["DATE_1"] is not None else row["DATE"]


def comparable(value: Any) -> Any:
    """Let dates compare with datetimes."""
    return at_midnight(value) if isinstance(value, date) else value


def sort_nulls_last(rows: list[Row], values: Iterable[Any], descending: bool) -> list[Row]:
    """Sort rows by their values, stably, nulls last in both directions."""
    pairs = list(zip(rows, values, strict=True))
    known = [pair for pair in pairs if pair[1] is not None]
    known.sort(key=lambda pair: pair[1], reverse=descending)  # reverse keeps ties in place
    return [row for row, _ in known] + [row for row, value in pairs if value is None]


def first_of_each_quote(group: list[Row], columns: list[str]) -> list[Row]:
    """Keep the first of rows that differ in the coverage columns only."""
    identity = [name for name in columns if name not in COVERAGE]
    seen = set()
    kept = []
    for row in group:
        quote = tuple(comparable(row[name]) for name in identity)
        if quote not in seen:
            seen.add(quote)
            kept.append(row)
    return kept
