"""findings(): what is odd about a feed of colors, each with how often and an example."""

from __future__ import annotations

import math
from collections.abc import Iterator

import polars as pl

from workbench.ranking import RankedColors

LOWEST_PRICE, HIGHEST_PRICE = 10, 110  # % of par; outside is rare enough to be looked at
FLOAT_DIGITS = 15

Finding = tuple[str, int, str, str]


def findings(ranked: RankedColors) -> pl.DataFrame:
    """List what a reader of the ranking should know, most serious first.

    Returns columns `finding`, `rows` (Int64), `example` and `meaning`; no rows when all is well.
    """
    colors = ranked.colors
    found = [
        *_unranked(ranked),
        *_rows_where(
            colors, pl.col("RANK").is_null(), "BIAS",
            "No rank", "neither RANK nor BIAS says how good it is: sorted last",
        ),
        *_rows_where(
            colors, ~pl.col("RANK").is_between(1, 6), "RANK",
            "Rank outside 1 to 6", "sorted by its number: below 1 it makes a parent of any color",
        ),
        *_rows_where(
            colors, pl.col("PX").is_null(), "CUSIP",
            "No price", "sorted after every priced color of its rank and date",
        ),
        *_rows_where(
            colors, ~pl.col("PX").is_between(LOWEST_PRICE, HIGHEST_PRICE), "PX",
            f"Price below {LOWEST_PRICE} or above {HIGHEST_PRICE}",
            "a typing slip, or a security in distress: a wrong price can make a wrong parent",
        ),
        *_fanned_out(ranked),
        *_tickers(colors),
        *_rounded_ids(colors),
        *_rows_where(
            colors, pl.col("COV_PRICE").is_null(), "CUSIP",
            "No coverage price", "its difference from coverage is unknown, not small",
        ),
        *_cleaned(ranked),
    ]  # fmt: skip
    kinds = {"finding": pl.String, "rows": pl.Int64, "example": pl.String, "meaning": pl.String}
    return pl.DataFrame(found, schema=kinds, orient="row")


def _rows_where(
    colors: pl.DataFrame, condition: pl.Expr, example: str, finding: str, meaning: str
) -> Iterator[Finding]:
    rows = colors.filter(condition)
    if rows.height:
        yield finding, rows.height, _text(rows[example][0]), meaning


def _unranked(ranked: RankedColors) -> Iterator[Finding]:
    rows = ranked.without_cusip
    if rows.height:
        example = f"message {_text(rows['MESSAGE_ID'][0])}"
        yield "No CUSIP", rows.height, example, "belongs to no security: left out of the ranking"


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
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text and text.replace(".", "").isdigit() else text
