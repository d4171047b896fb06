"""What a desk asks of a day's ranked colors: movers, markets, dealers, what is old or far off.

Each function takes a frame as `RankedColors.colors` is, or rows of it, and returns a frame in an
order that neither the order of the rows nor the engine changes. Prices, and differences of prices,
are percent of par in exact decimals; a color's day is that of DATE_1, or of DATE where that is
missing. Dealers are compared without blanks around them and without regard to case. All of them
raise DataError that names a column which is missing or holds what it cannot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal

import polars as pl
import sqlalchemy as sa

from workbench import cells, engines
from workbench.colors import MOMENTS, PRICE, TEXTS, WHOLE, status_of, type_of
from workbench.dialects import BLANKS, PercentOf
from workbench.errors import DataError, UsageError

MOVEMENTS = (
    "gained color", "lost color", "parent changed", "price moved", "crossed coverage limit",
)  # fmt: skip
IMPORTANCE = (
    "crossed coverage limit", "price moved", "gained color", "lost color", "parent changed",
)  # fmt: skip
# What a given value may be off without being listed: its own last digit.
TOLERANCES = {"PERCENT_DIFF": Decimal("0.01"), "PRICE_DIFF": Decimal("1e-8")}
CHECKED = (*TOLERANCES, "DIFF_STATUS")
MOST = 10**9  # points, or days
DECIMAL = pl.Decimal(PRICE.precision, PRICE.scale or 0)
TYPES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(TEXTS, pl.String), **dict.fromkeys(MOMENTS, pl.Date), "IS_PARENT": pl.Boolean,
    **dict.fromkeys((*WHOLE, "COLOR_POSITION"), pl.Int64),
}  # fmt: skip
DAY = pl.coalesce("DATE_1", "DATE")
AS_OF = pl.coalesce("DATE", "DATE_1").cast(pl.Date)


def until(colors: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """Give the ranking as it stood at the end of `day`, as `run_colors(until=day)` would.

    Nothing is ranked anew: a ranking is in a total order, and what is taken out of it leaves the
    others as they were. A color's day is that of DATE here, or of DATE_1 where that is missing.
    """
    then = (day >= AS_OF).fill_null(value=True)
    rows = colors.filter(then).sort("CUSIP", "COLOR_POSITION", nulls_last=True)
    group = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("CUSIP")
    parent = pl.first("MESSAGE_ID").over("CUSIP")
    rows = rows.with_columns(COLOR_POSITION=group, IS_PARENT=group == 1)
    return rows.with_columns(
        PARENT_MESSAGE_ID=pl.when(~pl.col("IS_PARENT")).then(parent),
        CHILDREN_COUNT=pl.when("IS_PARENT").then(pl.len().over("CUSIP").cast(pl.Int64) - 1)
        .otherwise(0),
    )  # fmt: skip


def movements(
    colors: pl.DataFrame, previous: pl.DataFrame | None, points: float | Decimal = 1.0
) -> pl.DataFrame:
    """List what changed since `previous`, an earlier ranking's colors: a row for each movement.

    MOVEMENT, in this order: "gained color" and "lost color", of securities that have a parent in
    one of the two only; "parent changed", where the parents' MESSAGE_ID, SOURCE, BIAS or day
    differ (coverage columns and prices make no other color); "price moved", where PX differs by
    `points` of par or more, which no missing price does; "crossed coverage limit", where
    DIFF_STATUS has become "Significant Difference". Within a movement by CHANGE, largest first in
    either direction, then by CUSIP.

    Columns: MOVEMENT, CUSIP, TICKER, PX, PREVIOUS_PX, CHANGE (PX less PREVIOUS_PX), SOURCE, BIAS,
    PREVIOUS_SOURCE, PREVIOUS_BIAS; no rows where `previous` is None. Raises UsageError for points
    below 0 or no number.
    """
    _refuse_no_number("points", points)
    step = Decimal(1).scaleb(-DECIMAL.scale)
    limit = Decimal(str(points)).quantize(step, rounding=ROUND_CEILING)
    now = _parents(colors, "The colors")
    before = now if previous is None else _parents(previous, "The earlier colors")
    change = pl.col("PX") - pl.col("PX_BEFORE")
    both = now.join(before, on="CUSIP", how="full", coalesce=True, suffix="_BEFORE").with_columns(
        pl.coalesce("TICKER", "TICKER_BEFORE").alias("TICKER"), change.alias("CHANGE")
    )
    known = pl.col("PARENT").is_not_null() & pl.col("PARENT_BEFORE").is_not_null()
    moved = (
        pl.col("PARENT_BEFORE").is_null(),
        pl.col("PARENT").is_null(),
        known & (pl.col("PARENT") != pl.col("PARENT_BEFORE")),
        (pl.col("CHANGE").abs() >= limit) & (pl.col("CHANGE") != 0),
        known & pl.col("FAR") & ~pl.col("FAR_BEFORE"),
    )
    largest = both.sort(
        pl.col("CHANGE").abs(), "CUSIP", descending=[True, False], nulls_last=True
    ).rename({f"{name}_BEFORE": f"PREVIOUS_{name}" for name in ("PX", "SOURCE", "BIAS")})
    return pl.concat(
        largest.filter(condition).select(
            pl.lit(name).alias("MOVEMENT"), "CUSIP", "TICKER", "PX", "PREVIOUS_PX", "CHANGE",
            "SOURCE", "BIAS", "PREVIOUS_SOURCE", "PREVIOUS_BIAS",
        )
        for name, condition in zip(MOVEMENTS, moved, strict=True)
    )  # fmt: skip


def movers(movements: pl.DataFrame) -> pl.DataFrame:
    """Make one row of each security's movements, those that a desk looks at first on top.

    That is by the most important of them: crossed coverage limit, price moved, gained color, lost
    color, parent changed; then by CHANGE, largest first in either direction, then by CUSIP.
    MOVEMENT holds all of them, in that order ("price moved, parent changed"); COLOR and
    PREVIOUS_COLOR are the parents' SOURCE and BIAS ("MS BID").
    """
    weight = pl.col("MOVEMENT").replace_strict({name: n for n, name in enumerate(IMPORTANCE)})
    order = movements.sort(
        weight, pl.col("CHANGE").abs(), "CUSIP", descending=[False, True, False], nulls_last=True
    )
    rows = order.group_by("CUSIP", maintain_order=True)
    return rows.agg(
        pl.col("MOVEMENT").str.join(", "), pl.all().exclude("MOVEMENT").first()
    ).with_columns(
        pl.concat_str(f"{then}SOURCE", f"{then}BIAS", separator=" ", ignore_nulls=True)
        .replace("", None)
        .alias(f"{then}COLOR")
        for then in ("", "PREVIOUS_")
    )


def markets(colors: pl.DataFrame) -> pl.DataFrame:
    """Give each security's best bid and offer, by CUSIP; without those that nobody quotes.

    The best bid is the highest BID above zero, the best offer the lowest ASK above zero; of equal
    ones the better color's. A feed writes 0 for the side that a dealer left open, so a color with
    one side counts on that side, whatever its BIAS: leave out of `colors` what should not count,
    as valuations or colors of earlier weeks.

    Columns: CUSIP, TICKER (of the best color that quotes), BEST_BID, BID_DEALER, BID_DATE,
    BEST_OFFER, OFFER_DEALER, OFFER_DATE, SPREAD (offer less bid, null with one side), CROSSED
    (whether that is below zero), DEALERS (how many different ones quote either side).
    """
    rows = _typed(colors, ("CUSIP", "TICKER", "BID", "ASK", "SOURCE", "DATE", "DATE_1",
                           "COLOR_POSITION"))  # fmt: skip
    bid, ask = pl.col("BID"), pl.col("ASK")
    rows = (
        rows.filter(pl.col("CUSIP").is_not_null() & ((bid > 0) | (ask > 0)))
        .with_columns(_trimmed("SOURCE"))
        .sort("CUSIP", "COLOR_POSITION")
    )
    names = _folded("SOURCE").drop_nulls().n_unique().cast(pl.Int64).alias("DEALERS")
    quoted = rows.group_by("CUSIP", maintain_order=True).agg(pl.first("TICKER"), names)
    sides = (
        rows.filter(side > 0)
        .sort("CUSIP", side, "COLOR_POSITION", descending=[False, highest, False])
        .unique("CUSIP", keep="first", maintain_order=True)
        .select(
            "CUSIP", side.alias(f"BEST_{name}"), pl.col("SOURCE").alias(f"{name}_DEALER"),
            DAY.alias(f"{name}_DATE"),
        )
        for name, side, highest in (("BID", bid, True), ("OFFER", ask, False))
    )  # fmt: skip
    for side in sides:
        quoted = quoted.join(side, on="CUSIP", how="left", maintain_order="left")
    spread = pl.col("BEST_OFFER") - pl.col("BEST_BID")
    return quoted.select(
        "CUSIP", "TICKER", "BEST_BID", "BID_DEALER", "BID_DATE", "BEST_OFFER", "OFFER_DEALER",
        "OFFER_DATE", spread.alias("SPREAD"), (spread < 0).fill_null(False).alias("CROSSED"),
        "DEALERS",
    )  # fmt: skip


def dealers(colors: pl.DataFrame) -> pl.DataFrame:
    """Rank the dealers by how often theirs is the best color, then by their number of colors.

    Columns: SOURCE (in upper case; "none" where it is missing), COLORS, SECURITIES, PARENTS,
    SHARE (percent of all parents, Float64), LATEST (the day of the newest color).
    """
    rows = _typed(colors, ("SOURCE", "CUSIP", "IS_PARENT", "DATE", "DATE_1"))
    parents = int(rows["IS_PARENT"].sum()) or None
    return (
        rows.group_by(_folded("SOURCE").fill_null("none"))
        .agg(
            pl.len().cast(pl.Int64).alias("COLORS"),
            pl.col("CUSIP").drop_nulls().n_unique().cast(pl.Int64).alias("SECURITIES"),
            pl.col("IS_PARENT").sum().cast(pl.Int64).alias("PARENTS"),
            (pl.col("IS_PARENT").sum() * 100 / pl.lit(parents, pl.Float64)).alias("SHARE"),
            DAY.max().alias("LATEST"),
        )
        .sort("PARENTS", "COLORS", "SOURCE", descending=[True, True, False])
    )


def stale(colors: pl.DataFrame, days: int = 5) -> pl.DataFrame:
    """List the securities whose newest color is older than `days` calendar days, oldest first.

    Ages are counted to the feed's last day, the latest DATE (DATE_1 where no row has a DATE), not
    to today. A security none of whose colors has a date has no age, and is not listed.

    Columns: CUSIP, TICKER and SECTOR (the best color's), COLORS, NEWEST (day), AGE (days).
    Raises UsageError for days below 0 or no number.
    """
    _refuse_no_number("days", days)
    rows = _typed(colors, ("CUSIP", "TICKER", "SECTOR", "DATE", "DATE_1", "COLOR_POSITION"))
    last = pl.lit(rows.select(pl.coalesce(pl.max("DATE"), pl.max("DATE_1"))).item(), pl.Date)
    return (
        rows.filter(pl.col("CUSIP").is_not_null())
        .sort("CUSIP", "COLOR_POSITION")
        .group_by("CUSIP", maintain_order=True)
        .agg(
            pl.first("TICKER", "SECTOR"),
            pl.len().cast(pl.Int64).alias("COLORS"),
            DAY.max().alias("NEWEST"),
        )
        .with_columns((last - pl.col("NEWEST")).dt.total_days().alias("AGE"))
        .filter(pl.col("AGE") > days)
        .sort("AGE", "CUSIP", descending=[True, False])
    )


def breaches(colors: pl.DataFrame) -> pl.DataFrame:
    """Pick the parents with a "Significant Difference" from coverage, furthest first.

    By PERCENT_DIFF without its sign, then by CUSIP; with all columns of `colors`.
    """
    typed = _typed(colors, ("IS_PARENT", "DIFF_STATUS", "PERCENT_DIFF", "CUSIP"))
    far = typed.with_row_index("ROW").filter(pl.col("IS_PARENT") & _far())
    order = far.sort(
        pl.col("PERCENT_DIFF").abs(), "CUSIP", descending=[True, False], nulls_last=True
    )
    return colors[order["ROW"]]


def differences(colors: pl.DataFrame) -> pl.DataFrame:
    """List where given differences from coverage are not what PX, COV_PRICE and SECTOR make.

    A row for each color and column of PERCENT_DIFF, PRICE_DIFF and DIFF_STATUS, computed anew by
    the expressions that run_colors derives them with, in DuckDB. A percentage may be off by 0.01
    and a price difference by 1e-8; a status is compared without regard to case. What is given
    where nothing can be computed (COV_PRICE is missing or 0) is listed, what is missing is not.

    Columns: CUSIP, MESSAGE_ID, COLOR_POSITION, COLUMN, GIVEN and RECOMPUTED (text), DIFFERENCE
    (given less recomputed, null for a status); by CUSIP, position and column.
    """
    names = ("CUSIP", "MESSAGE_ID", "COLOR_POSITION", "SECTOR", "PX", "COV_PRICE", *CHECKED)
    table = sa.table("given", *(sa.column(name, type_of(name)) for name in names))
    difference = table.c.PX - table.c.COV_PRICE
    percent = sa.cast(PercentOf(difference, table.c.COV_PRICE), PRICE)
    again = (percent, sa.cast(difference, PRICE), status_of(percent, table.c.SECTOR))
    with engines.in_memory() as connection:
        connection.register("given", _typed(colors, names).to_arrow())
        values = [value.label(f"{name}_") for name, value in zip(CHECKED, again, strict=True)]
        rows = engines.executor(connection, "the colors")(sa.select(*table.c, *values))
    listed = [_off(rows, name).with_columns(pl.lit(n).alias("n")) for n, name in enumerate(CHECKED)]
    return pl.concat(listed).sort("CUSIP", "COLOR_POSITION", "n", nulls_last=True).drop("n")


def _off(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Pick the rows whose column is off, and tell what it holds and what is in `name_`."""
    given, again = pl.col(name), pl.col(f"{name}_")
    if name in TOLERANCES:
        difference = given - again
        off = difference.abs() > TOLERANCES[name]
    else:
        difference, off = pl.lit(None), _folded(name) != _folded(f"{name}_")
    found = rows.filter(given.is_not_null() & (again.is_null() | off))
    return found.select(
        "CUSIP", "MESSAGE_ID", "COLOR_POSITION", pl.lit(name).alias("COLUMN"),
        cells.plain(found[name]).alias("GIVEN"), cells.plain(found[f"{name}_"]).alias("RECOMPUTED"),
        difference.cast(DECIMAL).alias("DIFFERENCE"),
    )  # fmt: skip


def _refuse_no_number(name: str, given: object) -> None:
    number = isinstance(given, int | float | Decimal) and not isinstance(given, bool)
    # Decimal's NaN cannot be compared, and no NaN is itself.
    if not (number and given == given and 0 <= given <= MOST):  # type: ignore[operator]
        raise UsageError(f"{name} is a number from 0 to {MOST:,}, not {given!r}.")


def _parents(colors: pl.DataFrame, place: str) -> pl.DataFrame:
    names = ("CUSIP", "TICKER", "IS_PARENT", "MESSAGE_ID", "SOURCE", "BIAS", "DATE", "DATE_1", "PX",
             "DIFF_STATUS")  # fmt: skip
    rows = _typed(colors, names, place)
    parents = rows.filter(pl.col("IS_PARENT") & pl.col("CUSIP").is_not_null())
    twice = parents.filter(pl.col("CUSIP").is_duplicated())["CUSIP"]
    if twice.len():
        message = f"{place} hold more than one parent of {twice.sort()[0]}."
        raise DataError(message, "Compare one ranking at a time.")
    return parents.select(
        "CUSIP", "TICKER", "PX", "SOURCE", "BIAS",
        pl.struct("MESSAGE_ID", _folded("SOURCE"), _folded("BIAS"), DAY).alias("PARENT"),
        _far().fill_null(False).alias("FAR"),
    )  # fmt: skip


def _typed(colors: pl.DataFrame, names: Sequence[str], place: str = "The colors") -> pl.DataFrame:
    """Pick columns, each of the type it has in a ranking: a frame may be empty, or from a file."""
    if missing := [name for name in names if name not in colors.columns]:
        raise DataError(
            f"{place} lack the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.",
            f"Found there: {', '.join(colors.columns) or 'no columns at all'}.",
        )
    try:
        return pl.DataFrame([colors[name].cast(TYPES.get(at := name, DECIMAL)) for name in names])
    except pl.exceptions.PolarsError as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"{place} hold in {at} what does not belong there: {said}") from None


def _trimmed(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars(BLANKS).replace("", None)


def _folded(name: str) -> pl.Expr:
    return _trimmed(name).str.to_uppercase()


def _far() -> pl.Expr:
    return _folded("DIFF_STATUS") == "SIGNIFICANT DIFFERENCE"
