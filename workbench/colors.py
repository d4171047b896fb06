"""Run Colors, defined once in SQLAlchemy Core: rank -> date -> price within each CUSIP.

The rules are those of the desk: a *color* is a dealer's indication on a bond; of all colors on a
CUSIP the best ranked, then latest, then highest priced one is the *parent*, the others are its
*children*. docs/run_colors.md states every rule with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement, FromClause, Select
from sqlalchemy.sql.elements import UnaryExpression

from workbench.dialects import BinaryText, PercentOf, Truth, plain
from workbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from workbench.conditions import Group
    from workbench.exclusions import Rule

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
INTERNAL = (
    "CUSIP_CHANGED", "COPIES", "RULES_MET", "QUOTE_POSITION", "QUOTE_COPIES", "CUSIP_POSITION",
    "CUSIP_PARENT", "CUSIP_COLORS",
)  # fmt: skip
EXCLUDED_BY = "EXCLUDED_BY"  # the rule that removed a row
ORIGIN = "ORIGIN"  # the feed a row is from, where there are several
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
    taken = [name for key, name in found.items() if key in (*ADDED, *INTERNAL, EXCLUDED_BY)]
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


class ShortDecimal(sa.Numeric[Any]):
    """A price of a file in at most 18 digits, which is ranked as it is: in 64 bits, not 128."""


@dataclass(frozen=True)
class Ranking:
    """What is ranked, and how: by default every row, by rank, then date, then price."""

    order: Sequence[str] = DEFAULT_ORDER
    sector: str | None = None
    until: date | None = None
    keep: Group | None = None
    rules: Sequence[Rule] = ()
    deduplicate: bool = False


def ranked(
    feed: FromClause,
    ranking: Ranking = Ranking(),
    place: str = "The input",
    *,
    left_out: bool = True,
) -> Select[Any]:
    """Build the Run Colors statement over `feed`, a table, view or subquery.

    Its columns: the 18 of the feed in their order, any others by name, then COLOR_POSITION
    (1-based), IS_PARENT, PARENT_MESSAGE_ID and CHILDREN_COUNT. With `left_out` the rows that
    belong to no group, for want of a CUSIP or by a rule, come last, unranked, and there are
    CUSIP_CHANGED (1 where the CUSIP was trimmed or upper-cased), COPIES (rows a deduplicated
    quote stands for) and RULES_MET (see `_rules_met`); without it there are neither.
    Raises DataError for missing columns and UsageError for a wrong order or rule.
    """
    keys = parse_order(ranking.order)
    colors: FromClause = _wanted(feed, ranking, place)
    if not left_out and ranking.rules:
        colors = sa.select(*_named(colors.c)).where(_in_a_group(colors)).cte("grouped_colors")
    if ranking.deduplicate:
        colors = _first_of_each_quote(colors, quote_columns(feed, place))
    group: ColumnElement[Any] = colors.c.CUSIP
    if "RULES_MET" in colors.c:
        group = sa.case((colors.c.RULES_MET.is_(None), group))
    order = _desk_order(colors, keys)
    # One level of windows over one partition: each engine sorts once for all three.
    placed = sa.select(
        *_named(colors.c),
        sa.func.row_number().over(partition_by=group, order_by=order).label("CUSIP_POSITION"),
        sa.func.first_value(colors.c.MESSAGE_ID)
        .over(partition_by=group, order_by=order)
        .label("CUSIP_PARENT"),
        sa.func.count().over(partition_by=group).label("CUSIP_COLORS"),
    ).cte("placed_colors")
    statement = _families(placed, told=left_out)
    # By the position, and so after the windows: else DuckDB would clean every CUSIP twice.
    position = sa.case((_in_a_group(placed), placed.c["CUSIP_POSITION"]))
    return statement if left_out else statement.where(position.is_not(None))


def left_out(feed: FromClause, ranking: Ranking, place: str = "The input") -> Select[Any]:
    """Build the statement of the rows that `ranked` leaves out, in no order.

    EXCLUDED_BY is the first rule that a row meets, null for a row without a CUSIP.
    """
    colors = _wanted(feed, ranking, place)
    own = _named(column for column in colors.c if column.name not in INTERNAL)
    if ranking.rules:
        met = enumerate(ranking.rules, 1)
        first = sa.case(
            *((sa.func.substr(colors.c.RULES_MET, n, 1) == "1", rule.name) for n, rule in met)
        )
        own.append(sa.cast(first, sa.String(4000)).label(EXCLUDED_BY))
    return sa.select(*own).where(sa.not_(_in_a_group(colors)))


def counted(
    feed: FromClause, ranking: Ranking, place: str = "The input", *, kinds: bool = True
) -> Select[Any]:
    """Build the statement that counts the wanted rows as ROWS_READ, by HAS_CUSIP and RULES_MET.

    Without `kinds` it only counts them all, which a file may know without being read.
    """
    colors = _wanted(feed, ranking, place)
    count = sa.cast(sa.func.count(), sa.BigInteger).label("ROWS_READ")
    if not kinds:
        return sa.select(count).select_from(colors)
    has_cusip = sa.case((colors.c.CUSIP.is_not(None), _number(1)), else_=_number(0))
    met = colors.c.RULES_MET if ranking.rules else sa.cast(sa.null(), sa.String(4000))
    kind = sa.select(has_cusip.label("HAS_CUSIP"), met.label("RULES_MET")).cte("kinds_of_rows")
    return sa.select(*_named(kind.c), count).group_by(*kind.c)


def quote_columns(feed: FromClause, place: str = "The input") -> list[str]:
    """Name the output columns that make a quote: all but the coverage ones and its origin.

    The key of a table that numbers its rows says nothing of the quote; LOB and JSON columns
    cannot be compared.
    """
    names = match_columns(list(feed.c.keys()), place)
    keys = [c.name for c in feed.c if c.primary_key and c.key not in names.values()]
    colors = _comparable(_typed_feed(feed, names))
    return [c.name for c in colors if c.name not in (*COVERAGE, ORIGIN, *keys)]


def _first_of_each_quote(colors: FromClause, quote: Sequence[str]) -> FromClause:
    """Keep the first row of each quote, and every row that is not ranked."""
    one = _number(1)
    ranked = sa.case((_in_a_group(colors), one), else_=_number(0))
    by: list[ColumnElement[Any]] = [*(colors.c[name] for name in quote), ranked]
    # Rows alike but for blanks around the CUSIP: the tidy one, in every engine.
    order = [*_total_order(colors), colors.c.CUSIP_CHANGED]
    numbered = sa.select(
        *_named(colors.c),
        sa.func.row_number().over(partition_by=by, order_by=order).label("QUOTE_POSITION"),
        sa.func.count().over(partition_by=by).label("QUOTE_COPIES"),
    ).cte("quotes")
    unranked = sa.not_(_in_a_group(numbered))
    kept = _named(numbered.c[c.name] for c in colors.c)
    copies = sa.case((unranked, one), else_=numbered.c["QUOTE_COPIES"]).label("COPIES")
    first = sa.or_(numbered.c["QUOTE_POSITION"] == one, unranked)
    return sa.select(*kept, copies).where(first).cte("kept_quotes")


def _families(placed: FromClause, *, told: bool) -> Select[Any]:
    one, zero = _number(1), _number(0)
    grouped = _in_a_group(placed)
    parent = sa.and_(grouped, placed.c["CUSIP_POSITION"] == one)
    child = sa.and_(grouped, placed.c["CUSIP_POSITION"] > one)
    own = _named(column for column in placed.c if column.name not in INTERNAL)

    def whole(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        return sa.cast(value, sa.BigInteger).label(name)

    # Not COLOR_POSITION, which is null without a group: ORDER BY could mean either.
    columns = [
        *own,
        whole(sa.case((grouped, placed.c["CUSIP_POSITION"])), "COLOR_POSITION"),
        Truth(parent).label("IS_PARENT"),
        sa.cast(sa.case((child, placed.c["CUSIP_PARENT"])), placed.c.MESSAGE_ID.type).label(
            "PARENT_MESSAGE_ID"
        ),
        whole(sa.case((parent, placed.c["CUSIP_COLORS"] - one), else_=zero), "CHILDREN_COUNT"),
    ]
    order: list[ColumnElement[Any]] = [
        BinaryText(placed.c.CUSIP).asc().nulls_last(), placed.c.CUSIP_POSITION
    ]  # fmt: skip
    if told:
        columns.append(whole(placed.c.CUSIP_CHANGED, "CUSIP_CHANGED"))
        columns.append(whole(placed.c.COPIES if "COPIES" in placed.c else one, "COPIES"))
    if told and "RULES_MET" in placed.c:
        columns.append(placed.c.RULES_MET.label("RULES_MET"))
        order.insert(0, sa.case((grouped, zero), else_=one))
    return sa.select(*columns).order_by(*order)


def _in_a_group(colors: FromClause) -> ColumnElement[bool]:
    """Tell the rows that are ranked: those with a CUSIP that no rule removes."""
    if "RULES_MET" in colors.c:
        return sa.and_(colors.c.CUSIP.is_not(None), colors.c.RULES_MET.is_(None))
    return colors.c.CUSIP.is_not(None)


def _wanted(feed: FromClause, ranking: Ranking, place: str) -> sa.CTE:
    """Type the feed, take the wanted rows, and note which rules each of them meets."""
    names = match_columns(list(feed.c.keys()), place)
    colors = _typed_feed(feed, names)
    wishes: list[ColumnElement[bool]] = []
    by_name = _by_name(colors, place) if ranking.keep or ranking.rules else {}
    if ranking.sector is not None:
        wishes.append(plain(colors.c.SECTOR) == plain(sa.literal(ranking.sector)))
    if ranking.until is not None:
        end = sa.literal(datetime.combine(ranking.until, time.max), sa.TIMESTAMP())
        day = sa.func.coalesce(colors.c.DATE, colors.c.DATE_1)
        # A color without any date is a finding, and no reader's loss.
        wishes.append(sa.or_(day <= end, day.is_(None)))
    if ranking.keep is not None:
        from workbench.exclusions import condition

        wishes.append(condition(ranking.keep, by_name, "The preset's keep"))
    met = [_rules_met(ranking.rules, by_name)] if ranking.rules else []
    if not wishes and not met:
        return colors
    return sa.select(*_named(colors.c), *met).where(*wishes).cte("wanted_colors")


def _by_name(colors: FromClause, place: str) -> dict[str, ColumnElement[Any]]:
    """Map upper-case names to columns; raises DataError for two that differ in case only."""
    found: dict[str, ColumnElement[Any]] = {}
    for column in colors.c:
        other = found.setdefault(column.name.upper(), column)
        if other is not column:
            names = f"{other.name!r} and {column.name!r}"
            raise DataError(f"{place} has the columns {names}: a rule could mean either.")
    return found


def _rules_met(
    rules: Sequence[Rule], columns: Mapping[str, ColumnElement[Any]]
) -> ColumnElement[str]:
    """Write a 1 for each rule that a row meets and a 0 for each other, in their order.

    Null where it meets none.
    """
    from workbench.exclusions import condition

    yes, no = (sa.literal_column(text, sa.String) for text in ("'1'", "'0'"))
    digits: list[ColumnElement[Any]] = [
        sa.case((condition(rule, columns), yes), else_=no) for rule in rules
    ]
    none = sa.literal_column(f"'{'0' * len(rules)}'", sa.String)
    return sa.func.nullif(_joined(digits), none, type_=sa.String(4000)).label("RULES_MET")


def _joined(texts: list[ColumnElement[Any]]) -> ColumnElement[Any]:
    # In halves, which the casts keep apart: a chain of a thousand is deeper than engines go.
    if len(texts) == 1:
        return texts[0]
    middle = len(texts) // 2
    return sa.cast(_joined(texts[:middle]).concat(_joined(texts[middle:])), sa.String(4000))


def _typed_feed(feed: FromClause, names: Mapping[str, str]) -> sa.CTE:
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
    price = sa.func.coalesce(column["PRICE_DIFF"], difference)
    column["PERCENT_DIFF"] = sa.cast(percent, _as_given(column["PERCENT_DIFF"], 2))
    places = max(_scale(column["PX"]) or 0, _scale(column["COV_PRICE"]) or 0)
    column["PRICE_DIFF"] = sa.cast(price, _as_given(column["PRICE_DIFF"], places))
    column["DIFF_STATUS"] = sa.func.coalesce(
        column["DIFF_STATUS"], status_of(column["PERCENT_DIFF"], column["SECTOR"])
    )
    changed = sa.case((raw_cusip != column["CUSIP"], _number(1)), else_=_number(0))
    others = sorted(
        (c for c in feed.c if c.key not in names.values()), key=lambda c: (c.name.upper(), c.name)
    )
    return sa.select(
        *(column[name].label(name) for name in FEED),
        *((_no_blank(c) if _is_text(c) else c).label(c.name) for c in others),
        changed.label("CUSIP_CHANGED"),
    ).cte("colors_read")


def _named(columns: Iterable[ColumnElement[Any]]) -> list[ColumnElement[Any]]:
    # By labels of their own, which SQLAlchemy does not shorten: a name may be as long as it gets.
    return [column.label(column.name) for column in columns]


def _no_blank(text: ColumnElement[Any]) -> ColumnElement[Any]:
    # Written out: as a bind it is not the empty text to every driver.
    return sa.func.nullif(text, sa.literal_column("''"), type_=sa.String())


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
    elif isinstance(column.type, ShortDecimal):
        return column
    # A rank of 2.5 is dirt, and rounding it would hide that: `run_colors` refuses it.
    return sa.cast(column, PRICE)


def _as_given(column: ColumnElement[Any], places: int) -> sa.types.TypeEngine[Any]:
    """Give the type of a given difference where that is short and holds what is derived."""
    own = column.type
    short = isinstance(own, ShortDecimal) and (own.scale or 0) >= places
    return own if short else PRICE


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


def _total_order(colors: FromClause, but: Sequence[str] = ()) -> list[UnaryExpression[Any]]:
    columns = [column for column in _comparable(colors) if column.name not in but]
    return [_sorted(column, descending=False) for column in columns]


def _desk_order(colors: FromClause, keys: Sequence[tuple[str, bool]]) -> list[UnaryExpression[Any]]:
    """Order within a CUSIP by the desk's keys, then by every column that can still differ."""
    column = {
        "rank": colors.c.RANK,
        "date": sa.func.coalesce(colors.c.DATE_1, colors.c.DATE),
        "price": colors.c.PX,
    }
    order = [_sorted(column[key], descending=descending) for key, descending in keys]
    alike = ["CUSIP", *(column[key].name for key, _ in keys if key != "date")]
    return order + _total_order(colors, alike)


def _sorted(column: ColumnElement[Any], *, descending: bool) -> UnaryExpression[Any]:
    key = BinaryText(column) if _is_text(column) else column
    return (key.desc() if descending else key.asc()).nulls_last()
