"""findings(): what is odd about a feed of colors, each with how often and an example."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from workbench import securities
from workbench.colors import RANK_OF_BIAS
from workbench.dialects import BLANKS, LOWER, UPPER
from workbench.engines import Finding
from workbench.moments import ORDERS
from workbench.ranking import RankedColors

LOWEST_PRICE, HIGHEST_PRICE = 10, 110  # % of par; outside is rare enough to be looked at
FLOAT_DIGITS = 15
EXAMPLE_LENGTH = 60


def findings(ranked: RankedColors) -> pl.DataFrame:
    """List what a reader of the ranking should know, most serious first.

    Returns columns `finding`, `rows` (Int64), `example` and `meaning`; no rows when all is well.
    """
    colors = ranked.colors
    identified = _kinds(colors)
    found = [
        *_split_securities(identified),
        *_unranked(ranked),
        *_ranks(colors),
        *_dates(colors),
        *_prices(colors),
        *_wrong_cusips(identified),
        *_several_feeds(ranked),
        *_different_orders(ranked),
        *_fanned_out(ranked),
        *_tickers(colors),
        *_rounded_ids(colors),
        *ranked.notes,
        *_idle_rules(ranked),
        *_rows_where(
            colors, pl.col("COV_PRICE").is_null(), "CUSIP",
            "No coverage price", "its difference from coverage is unknown, not small",
        ),
        *_cleaned(ranked),
    ]  # fmt: skip
    kinds = {"finding": pl.String, "rows": pl.Int64, "example": pl.String, "meaning": pl.String}
    return pl.DataFrame(found, schema=kinds, orient="row").with_columns(
        pl.col("example").str.head(EXAMPLE_LENGTH)
    )


def _rows_where(
    colors: pl.DataFrame, condition: pl.Expr, example: str | pl.Expr, finding: str, meaning: str
) -> Iterator[Finding]:
    shown = pl.col(example) if isinstance(example, str) else example
    rows = colors.select(shown.filter(condition).alias("example"))["example"]
    if rows.len():
        yield finding, rows.len(), _text(rows[0]), meaning


def _unranked(ranked: RankedColors) -> Iterator[Finding]:
    if not ranked.read:
        yield "No colors", 0, "", "the input has the columns of a feed but no rows"
    rows = ranked.without_cusip
    if rows.height:
        example = f"message {_text(rows['MESSAGE_ID'][0])}"
        yield "No CUSIP", rows.height, example, "belongs to no security: left out of the ranking"


def _ranks(colors: pl.DataFrame) -> Iterator[Finding]:
    # As the statement compares it: a to z are raised, no other letter is.
    bias = pl.col("BIAS").str.strip_chars(BLANKS).str.replace_many(list(LOWER), list(UPPER))
    usual = bias.replace_strict(dict(RANK_OF_BIAS), default=None, return_dtype=pl.Int64)
    biases = colors.select("BIAS", "RANK").with_columns(usual=usual, bias=bias)
    yield from _rows_where(
        biases, pl.col("RANK").is_null(), "BIAS",
        "No rank", "neither RANK nor BIAS says how good it is: sorted last",
    )  # fmt: skip
    yield from _rows_where(
        biases, ~pl.col("RANK").is_between(1, 6), "RANK",
        "Rank outside 1 to 6", "sorted by its number: below 1 it makes a parent of any color",
    )  # fmt: skip
    yield from _rows_where(
        biases, pl.col("RANK") != pl.col("usual"),
        pl.format("{} ranked {} instead of {}", "bias", "RANK", "usual"),
        "Rank contradicting BIAS", "sorted by its RANK: one of the two is wrong",
    )  # fmt: skip
    yield from _rows_where(
        biases, pl.col("usual").is_null() & (pl.col("bias") != ""), "BIAS",
        "Unknown BIAS", "not in the table of biases: ranked by its RANK alone, if it has one",
    )  # fmt: skip


def _dates(colors: pl.DataFrame) -> Iterator[Finding]:
    counts = pl.coalesce("DATE_1", "DATE")
    latest = pl.max_horizontal("DATE", "DATE_1")
    tomorrow = dt.datetime.combine(dt.date.today() + dt.timedelta(days=1), dt.time())
    yield from _rows_where(
        colors, latest >= tomorrow, latest,
        "Date in the future", "newest of its rank whatever comes: a wrong date, or a wrong order "
        "of day and month, can make a wrong parent",
    )  # fmt: skip
    earliest = pl.min_horizontal("DATE", "DATE_1")
    yield from _rows_where(
        colors, earliest < dt.datetime(1900, 1, 1), earliest,
        "Date before 1900", "no day of a color: a slip in its year",
    )  # fmt: skip
    yield from _rows_where(
        colors, counts.is_null(), "CUSIP",
        "No date", "sorted after every dated color of its rank",
    )  # fmt: skip
    yield from _rows_where(
        colors, pl.col("DATE_1").dt.date() > pl.col("DATE").dt.date(),
        pl.format("{} after {}", pl.col("DATE_1").dt.date(), pl.col("DATE").dt.date()),
        "Received after its as-of date", "DATE_1 is later than DATE: sorted by DATE_1",
    )  # fmt: skip


def _prices(colors: pl.DataFrame) -> Iterator[Finding]:
    px = pl.col("PX")
    yield from _rows_where(
        colors, px <= 0, "PX",
        "Price zero or below", "no price of a bond: a slip, or an empty cell that became a 0",
    )  # fmt: skip
    yield from _rows_where(
        colors, ((px > 0) & (px < LOWEST_PRICE)) | (px > HIGHEST_PRICE), "PX",
        f"Price below {LOWEST_PRICE} or above {HIGHEST_PRICE}",
        "a typing slip, or a security in distress: a wrong price can make a wrong parent",
    )  # fmt: skip
    yield from _rows_where(
        colors, px.is_null(), "CUSIP",
        "No price", "sorted after every priced color of its rank and date",
    )  # fmt: skip


def _kinds(colors: pl.DataFrame) -> pl.DataFrame:
    counted = colors.group_by("CUSIP", maintain_order=True).agg(pl.len().alias("rows"))
    return counted.join(
        securities.kinds(counted["CUSIP"]), on="CUSIP", how="left", maintain_order="left"
    )


def _split_securities(identified: pl.DataFrame) -> Iterator[Finding]:
    split = (
        identified.drop_nulls("issue")
        .group_by("issue", maintain_order=True)
        .agg("CUSIP", pl.col("rows").sum())
        .filter(pl.col("CUSIP").list.len() > 1)
    )
    if split.height:
        yield (
            "One security under several ids",
            int(split["rows"].sum()),
            " / ".join(split["CUSIP"][0].to_list()[:3]),
            f"{split.height:,} securities are there by ids that share their eight characters, as "
            "a CUSIP and an ISIN do: ranked apart, each with a parent of its own",
        )


def _wrong_cusips(identified: pl.DataFrame) -> Iterator[Finding]:
    made_of_cusip = pl.col("issue").is_not_null()
    isin = pl.col("kind") == securities.ISIN
    for condition, finding, meaning in (
        (isin & made_of_cusip, "ISIN where a CUSIP belongs",
         "its CUSIP is its characters 3 to 11: ranked apart from that"),
        (isin & ~made_of_cusip, "ISIN that holds no CUSIP",
         "of a country with numbers of its own: a group of its own, as any other text"),
        (pl.col("kind") == securities.SHORT, "CUSIP of 8 characters",
         "its check digit is missing: ranked apart from the CUSIP with it"),
        (pl.col("kind") == securities.OTHER, "No CUSIP by its shape",
         "not 9 characters, or others than letters, digits, * @ #: a group of its own"),
        (pl.col("kind") == securities.WRONG_DIGIT, "CUSIP with a wrong check digit",
         "a slip in one of its characters, or a made-up one: maybe another security"),
    ):  # fmt: skip
        met = identified.filter(condition)
        if met.height:
            yield finding, int(met["rows"].sum()), met["CUSIP"][0], meaning


def _several_feeds(ranked: RankedColors) -> Iterator[Finding]:
    if "ORIGIN" not in ranked.colors.columns:
        return
    quote = [name for name in ranked.quote if name != "ORIGIN"]
    shared = (
        ranked.colors.group_by(quote, maintain_order=True)
        .agg(pl.len().alias("rows"), pl.col("ORIGIN").unique().sort())
        .filter(pl.col("ORIGIN").list.len() > 1)
    )
    if shared.height:
        yield (
            "Same quote in several feeds",
            int(shared["rows"].sum()),
            f"{shared['CUSIP'][0]}: " + " / ".join(map(str, shared["ORIGIN"][0].to_list()[:3])),
            f"{shared.height:,} quotes came by more than one way: deduplicate keeps one of each",
        )


def _different_orders(ranked: RankedColors) -> Iterator[Finding]:
    met = [
        [(rows, shown) for _, rows, shown, why in ranked.notes if why.endswith(ORDERS[day_first])]
        for day_first in (True, False)
    ]
    if all(met):
        yield (
            "Day or month first, feed by feed",
            sum(rows for each in met for rows, _ in each),
            " / ".join(each[0][1].partition(" \N{RIGHTWARDS ARROW}")[0] for each in met),
            "dates with slashes are read day first in one feed and month first in another: 02/01 "
            "is 2 January in the one and 1 February in the other",
        )


def _idle_rules(ranked: RankedColors) -> Iterator[Finding]:
    for rule in ranked.rules.filter(pl.col("removed") == 0).iter_rows(named=True):
        why = f"all {rule['met']:,} rows it means were removed by rules before it"
        why = why if rule["met"] else "no row is what it means"
        yield "Rule that removed nothing", 0, rule["rule"], f"{rule['removes']}: {why}"


def _fanned_out(ranked: RankedColors) -> Iterator[Finding]:
    if ranked.repeats_removed:
        yield (
            "Repeated quotes, removed",
            ranked.repeats_removed,
            "",
            "the same quote with another coverage price: one row of each was kept",
        )
        return
    repeats = ranked.colors.filter(~pl.struct(ranked.quote).is_first_distinct())
    if repeats.height:
        yield (
            "Repeated quotes",
            repeats.height,
            _text(repeats["CUSIP"][0]),
            "the same quote again, at most with another coverage price: a join that fanned out; "
            "deduplicate keeps one",
        )


def _tickers(colors: pl.DataFrame) -> Iterator[Finding]:
    many = (
        colors.group_by("CUSIP", maintain_order=True)
        .agg(pl.col("TICKER").drop_nulls().unique().sort(), pl.len().alias("rows"))
        .filter(pl.col("TICKER").list.len() > 1)
    )
    if many.height:
        example = f"{many['CUSIP'][0]}: " + " / ".join(many["TICKER"][0].to_list()[:3])
        yield (
            "Several tickers on one CUSIP",
            int(many["rows"].sum()),
            example,
            f"{many.height:,} securities are called by more than one name",
        )


def _rounded_ids(colors: pl.DataFrame) -> Iterator[Finding]:
    ids = colors["MESSAGE_ID"].drop_nulls().unique()
    long = ids.filter(ids >= 10**FLOAT_DIGITS)
    rounded = long.filter(long % 10 == 0)
    # One id in ten ends in 0 by chance; three standard deviations more do not.
    if rounded.len() > long.len() / 10 + 3 * math.sqrt(long.len() * 0.09):
        yield (
            "Message ids rounded",
            colors.filter(pl.col("MESSAGE_ID").is_in(rounded.implode())).height,
            _text(rounded.sort()[0]),
            f"{rounded.len():,} ids longer than {FLOAT_DIGITS} digits end in 0, as Excel leaves "
            "them: different messages may share one",
        )


def _cleaned(ranked: RankedColors) -> Iterator[Finding]:
    if ranked.cleaned_cusips:
        yield (
            "CUSIP written differently",
            ranked.cleaned_cusips,
            "",
            "lower case or blanks around it: counted with the security it means",
        )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return str(value).removesuffix(" 00:00:00")
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)
