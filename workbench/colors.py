"""Run Colors, defined once in SQLAlchemy Core: rank -> date -> price within each CUSIP.

The rules are those of the desk: a *color* is a dealer's indication on a bond; of all colors on a
CUSIP the best ranked, then latest, then highest priced one is the *parent*, the others are its
*children*. docs/run_colors.md states every rule with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement, FromClause, Select
from sqlalchemy.sql.elements import UnaryExpression

from workbench.dialects import BinaryText, PercentOf, plain
from workbench.errors import DataError, UsageError

PRICE = sa.Numeric(28, 10)
TEXTS = ("TICKER", "SECTOR", "CUSIP", "SOURCE", "BIAS", "DIFF_STATUS")
WHOLE = ("MESSAGE_ID", "RANK", "CONFIDENCE")
MOMENTS = ("DATE", "DATE_1")
FEED = (
    "MESSAGE_ID", "TICKER", "SECTOR", "CUSIP", "DATE", "PRICE_LEVEL", "BID", "ASK", "PX",
    "SOURCE", "BIAS", "RANK", "COV_PRICE", "PERCENT_DIFF", "PRICE_DIFF", "CONFIDENCE",
    "DATE_1", "DIFF_STATUS",
)  # fmt: skip
COVERAGE = ("COV_PRICE", "PERCENT_DIFF", "PRICE_DIFF", "DIFF_STATUS")
ADDED = ("COLOR_POSITION", "IS_PARENT", "PARENT_MESSAGE_ID", "CHILDREN_COUNT")
INTERNAL = ("CUSIP_CHANGED", "COPIES", "QUOTE_POSITION", "CUSIP_POSITION")
NEEDED = (("MESSAGE_ID",), ("CUSIP",), ("PX",), ("RANK", "BIAS"), ("DATE_1", "DATE"))

RANK_OF_BIAS: Mapping[str, int] = {
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
SIGNIFICANT_PERCENT = 2
SIGNIFICANT_PERCENT_OF_SECTOR: Mapping[str, int] = {"US_Equity_2.0": 5, "US_MM_Equity_2.0": 5}

DEFAULT_ORDER = ("rank asc", "date desc", "price desc")


def match_columns(names: Sequence[str], place: str) -> dict[str, str]:
    """Map the feed's column names to those found, without regard to case.

    Raises DataError naming what is missing and what was found, what is there twice, or what
    an earlier ranking added.
    """
    found: dict[str, str] = {}
    for name in names:
        key = name.strip().upper()
        if key in found and key in FEED:
            raise DataError(
                f"{place} has the column {key} twice: {found[key]!r} and {name!r}.",
                "Remove or rename one of them.",
            )
        found.setdefault(key, name)
    taken = [name for key, name in found.items() if key in (*ADDED, *INTERNAL)]
    if taken:
        raise DataError(
            f"{place} already has the column {taken[0]!r}, which Run Colors adds.",
            "Rank the original feed, not the result of an earlier run, or rename the column.",
        )
    missing = [" or ".join(group) for group in NEEDED if not any(name in found for name in group)]
    if missing:
        raise DataError(
            f"{place} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.",
            f"Found there: {', '.join(names) or 'no columns at all'}.",
        )
    return {name: found[name] for name in FEED if name in found}


def parse_order(order: Sequence[str]) -> list[tuple[str, bool]]:
    """Read `["rank asc", ...]` into (key, descending) pairs; raises UsageError."""
    if isinstance(order, str) or not order or not all(isinstance(key, str) for key in order):
        raise UsageError(f"order is a list such as {list(DEFAULT_ORDER)}, not {order!r}.")
    keys: list[tuple[str, bool]] = []
    for entry in order:
        key, _, direction = entry.strip().lower().partition(" ")
        direction = direction.strip() or "asc"
        if key not in ("rank", "date", "price") or direction not in ("asc", "desc"):
            raise UsageError(
                f"order holds {entry!r}, which is not a key and a direction.",
                "Keys: rank, date, price; directions: asc, desc; e.g. 'date desc'.",
            )
        if key in (known for known, _ in keys):
            raise UsageError(f"order holds the key {key!r} twice.")
        keys.append((key, direction == "desc"))
    return keys


def ranked(
    feed: FromClause,
    *,
    order: Sequence[str] = DEFAULT_ORDER,
    sector: str | None = None,
    deduplicate: bool = False,
    place: str = "The input",
) -> Select[Any]:
    """Build the Run Colors statement over `feed`, a table, view or subquery.

    Its columns: the 18 of the feed in their order, any others by name, then COLOR_POSITION
    (1-based), IS_PARENT (1 or 0), PARENT_MESSAGE_ID, CHILDREN_COUNT, CUSIP_CHANGED (1 where the
    CUSIP was trimmed or upper-cased) and COPIES (rows a deduplicated quote stands for). Rows
    without a CUSIP come last, unranked: they are findings, not a group.
    Raises DataError for missing columns and UsageError for a wrong `order`.
    """
    keys = parse_order(order)
    names = match_columns(list(feed.c.keys()), place)
    colors = _colors(feed, names, sector)
    tail = _total_order(colors)
    one = _number(1)
    copies: ColumnElement[Any] = one
    kept: FromClause = colors
    if deduplicate:
        quote = [colors.c[name] for name in quote_columns(feed, place)]
        numbered = sa.select(
            *_named(colors.c),
            sa.func.row_number().over(partition_by=quote, order_by=tail).label("QUOTE_POSITION"),
            sa.func.count().over(partition_by=quote).label("COPIES"),
        ).cte("quotes")
        first = numbered.c["QUOTE_POSITION"] == one
        kept = sa.select(*_named(numbered.c)).where(first).cte("kept_quotes")
        copies = kept.c.COPIES
        tail = _total_order(kept)
    position = sa.func.row_number().over(
        partition_by=kept.c.CUSIP, order_by=[*_desk_order(kept, keys), *tail]
    )
    placed = sa.select(
        *_named(kept.c[column.name] for column in colors.c),
        copies.label("COPIES"),
        # Not COLOR_POSITION, which is null without a CUSIP: ORDER BY could mean either.
        position.label("CUSIP_POSITION"),
    ).cte("placed_colors")
    return _families(placed)


def quote_columns(feed: FromClause, place: str = "The input") -> list[str]:
    """Name the output columns that make a quote: all but the coverage ones.

    The key of a table that numbers its rows says nothing of the quote; LOB and JSON columns
    cannot be compared.
    """
    names = match_columns(list(feed.c.keys()), place)
    keys = [c.name for c in feed.c if c.primary_key and c.key not in names.values()]
    colors = _comparable(_colors(feed, names, None))
    return [c.name for c in colors if c.name not in (*COVERAGE, *keys)]


def _families(placed: FromClause) -> Select[Any]:
    one, zero = _number(1), _number(0)
    first = placed.c["CUSIP_POSITION"] == one
    has_cusip = placed.c.CUSIP.is_not(None)
    parent = sa.func.max(sa.case((first, placed.c.MESSAGE_ID))).over(partition_by=placed.c.CUSIP)
    parent_id = sa.case((sa.and_(has_cusip, sa.not_(first)), parent))
    children = sa.func.count().over(partition_by=placed.c.CUSIP) - one
    own = _named(column for column in placed.c if column.name not in INTERNAL)

    def whole(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        return sa.cast(value, sa.BigInteger).label(name)

    return sa.select(
        *own,
        whole(sa.case((has_cusip, placed.c.CUSIP_POSITION)), "COLOR_POSITION"),
        whole(sa.case((sa.and_(has_cusip, first), one), else_=zero), "IS_PARENT"),
        sa.cast(parent_id, placed.c.MESSAGE_ID.type).label("PARENT_MESSAGE_ID"),
        whole(sa.case((sa.and_(has_cusip, first), children), else_=zero), "CHILDREN_COUNT"),
        whole(placed.c.CUSIP_CHANGED, "CUSIP_CHANGED"),
        whole(placed.c.COPIES, "COPIES"),
    ).order_by(BinaryText(placed.c.CUSIP).asc().nulls_last(), placed.c.CUSIP_POSITION)


def _colors(feed: FromClause, names: Mapping[str, str], sector: str | None) -> sa.CTE:
    """Give every feed column its name and type, derive what the input lacks."""
    for name, found in names.items():
        if name in MOMENTS and isinstance(feed.c[found].type, sa.String):
            raise DataError(
                f"Column {found} holds text where dates belong.",
                "Rank a .sql file that turns it into a date: "
                "how its days and months are written, only you can know.",
            )
    column = {name: _typed(name, feed.c[found]) for name, found in names.items()}
    for name in FEED:
        column.setdefault(name, sa.cast(sa.null(), type_of(name)))
    raw_cusip = column["CUSIP"]
    column["CUSIP"] = _no_blank(plain(raw_cusip))
    rank = sa.func.coalesce(column["RANK"], _rank_of(column["BIAS"]))
    column["RANK"] = sa.cast(rank, column["RANK"].type)
    difference = column["PX"] - column["COV_PRICE"]
    percent = sa.func.coalesce(column["PERCENT_DIFF"], PercentOf(difference, column["COV_PRICE"]))
    column["PERCENT_DIFF"] = sa.cast(percent, PRICE)
    column["PRICE_DIFF"] = sa.cast(sa.func.coalesce(column["PRICE_DIFF"], difference), PRICE)
    column["DIFF_STATUS"] = sa.func.coalesce(
        column["DIFF_STATUS"], status_of(column["PERCENT_DIFF"], column["SECTOR"])
    )
    changed = sa.case((raw_cusip != column["CUSIP"], _number(1)), else_=_number(0))
    others = sorted(
        (c for c in feed.c if c.key not in names.values()), key=lambda c: (c.name.upper(), c.name)
    )
    statement = sa.select(
        *(column[name].label(name) for name in FEED),
        *((_no_blank(c) if _is_text(c) else c).label(c.name) for c in others),
        changed.label("CUSIP_CHANGED"),
    )
    if sector is not None:
        statement = statement.where(plain(column["SECTOR"]) == plain(sa.literal(sector)))
    return statement.cte("colors_read")


def _named(columns: Iterable[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    # By labels of their own, which SQLAlchemy does not shorten: a name may be as long as it gets.
    return [column.label(column.name) for column in columns]


def _no_blank(text: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.func.nullif(text, "", type_=sa.String())


def _number(value: int) -> ColumnElement[int]:
    # Written out: where Oracle parses or explains a statement by itself it takes each bind for
    # text, and text and numbers in one CASE or COALESCE are ORA-00932.
    return sa.literal_column(str(value), sa.Integer)


def _rank_of(bias: ColumnElement[Any]) -> ColumnElement[Any]:
    ranks = {name: _number(rank) for name, rank in RANK_OF_BIAS.items()}
    return sa.case(ranks, value=plain(bias))


def status_of(percent: ColumnElement[Any], sector: ColumnElement[Any]) -> ColumnElement[Any]:
    """Judge a percentage by the sector's limit: significant above it, null where it is null."""
    own = {name.upper(): _number(n) for name, n in SIGNIFICANT_PERCENT_OF_SECTOR.items()}
    limit = sa.case(own, value=plain(sector), else_=_number(SIGNIFICANT_PERCENT))
    return sa.case(
        (percent > limit, "Significant Difference"), (percent <= limit, "Small Difference")
    )


def type_of(name: str) -> sa.types.TypeEngine[Any]:
    """Give the type in which a feed column is ranked."""
    if name in TEXTS:
        return sa.String(4000)
    if name in MOMENTS:
        return sa.TIMESTAMP()
    return sa.BigInteger() if name in WHOLE else PRICE


def _typed(name: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    if name in TEXTS:
        return _no_blank(column if _is_text(column) else sa.cast(column, sa.String(4000)))
    if name in MOMENTS:
        return sa.cast(column, sa.TIMESTAMP())
    if isinstance(column.type, sa.Float):
        # By its shortest spelling: a cast of its own would cut single precision to six digits.
        column = sa.func.nullif(sa.func.upper(sa.cast(column, sa.String(40))), "NAN")
    elif isinstance(column.type, sa.String):
        column = _no_blank(plain(column))
    elif name in WHOLE and (isinstance(column.type, sa.Integer) or _scale(column) == 0):
        return sa.cast(column, sa.BigInteger())
    # A rank of 2.5 is dirt, and rounding it would hide that: `run_colors` refuses it.
    return sa.cast(column, PRICE)


def _scale(column: ColumnElement[Any]) -> int | None:
    return column.type.scale if isinstance(column.type, sa.Numeric) else None


def _is_text(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, sa.String) and not isinstance(column.type, (sa.CLOB, sa.Enum))


def _comparable(colors: FromClause) -> list[ColumnElement[Any]]:
    """Leave out what cannot be compared (LOB, JSON) and what is only derived."""
    left_out = (sa.LargeBinary, sa.CLOB, sa.JSON, sa.ARRAY)
    return [
        column
        for column in colors.c
        if not isinstance(column.type, left_out) and column.name not in INTERNAL
    ]


def _total_order(colors: FromClause) -> list[UnaryExpression[Any]]:
    return [_sorted(column, descending=False) for column in _comparable(colors)]


def _desk_order(colors: FromClause, keys: Sequence[tuple[str, bool]]) -> list[UnaryExpression[Any]]:
    column = {
        "rank": colors.c.RANK,
        "date": sa.func.coalesce(colors.c.DATE_1, colors.c.DATE),
        "price": colors.c.PX,
    }
    return [_sorted(column[key], descending=descending) for key, descending in keys]


def _sorted(column: ColumnElement[Any], *, descending: bool) -> UnaryExpression[Any]:
    key = BinaryText(column) if _is_text(column) else column
    return (key.desc() if descending else key.asc()).nulls_last()
