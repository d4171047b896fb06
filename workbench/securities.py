"""What texts in place of CUSIPs are: CUSIPs, ISINs, or neither, told of a whole column at once."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
import polars as pl

from workbench.cusips import CHARACTERS, WORTHS

CUSIP, WRONG_DIGIT, SHORT = "CUSIP", "CUSIP with a wrong check digit", "CUSIP without check digit"
ISIN, OTHER = "ISIN", "neither"
NINE, EIGHT = rf"^[{CHARACTERS}]{{8}}[0-9]$", rf"^[{CHARACTERS}]{{8}}$"
TWELVE = "^[A-Z]{2}[A-Z0-9]{9}[0-9]$"


def kinds(cusips: pl.Series) -> pl.DataFrame:
    """Tell what each different text is, in upper case and without blanks around it.

    Returns columns `CUSIP`, `kind` and `issue`: the eight characters that name the security in
    a CUSIP and in an ISIN made of one; null where nothing does.
    """
    text, inner = pl.col("CUSIP"), pl.col("CUSIP").str.slice(2, 9)
    kind = (
        pl.when(_checked(text, NINE, _adds_up)).then(pl.lit(CUSIP))
        .when(text.str.contains(NINE)).then(pl.lit(WRONG_DIGIT))
        .when(text.str.contains(EIGHT)).then(pl.lit(SHORT))
        .when(_checked(text, TWELVE, _passes_luhn)).then(pl.lit(ISIN))
        .otherwise(pl.lit(OTHER))
    )  # fmt: skip
    # Most countries but the US and Canada have numbers of their own in their ISINs.
    made_of_cusip = (pl.col("kind") == ISIN) & _checked(inner, NINE, _adds_up)
    issue = (
        pl.when(pl.col("kind").is_in([CUSIP, WRONG_DIGIT, SHORT])).then(text.str.head(8))
        .when(made_of_cusip).then(inner.str.head(8))
    )  # fmt: skip
    frame = cusips.unique(maintain_order=True).rename("CUSIP").to_frame()
    return frame.with_columns(kind.alias("kind")).with_columns(issue.alias("issue"))


def _checked(text: pl.Expr, shape: str, check: Callable[[pl.Series], pl.Series]) -> pl.Expr:
    shaped = text.str.contains(shape)
    # Only texts of one length and of ASCII are a matrix of their bytes.
    zeros = pl.lit("0" * (12 if shape == TWELVE else 9))
    candidates = pl.when(shaped).then(text).otherwise(zeros)
    return shaped & candidates.map_batches(check, return_dtype=pl.Boolean)


def _bytes(texts: pl.Series, length: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    joined = "".join(texts.to_list()).encode()
    return np.frombuffer(joined, np.uint8).reshape(-1, length)


def _adds_up(texts: pl.Series) -> pl.Series:
    """Check a CUSIP's ninth digit, by the rule that `cusips.is_cusip` states."""
    worth = np.zeros((2, 128), int)
    for doubled in (0, 1):
        worth[doubled, list(CHARACTERS.encode())] = list(map(int, WORTHS[doubled]))
    matrix = _bytes(texts, 9)
    total = sum(worth[place % 2, matrix[:, place]] for place in range(9))
    return pl.Series(total % 10 == 0, dtype=pl.Boolean)


def _passes_luhn(texts: pl.Series) -> pl.Series:
    """Check an ISIN's last digit (ISO 6166): A is 10 to Z is 35; from the right, every second
    digit is doubled, and the digits of all add up to a multiple of ten."""
    doubled = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9])
    worth = np.zeros((2, 128), int)  # of a character whose last digit is not, or is, doubled
    letter = np.zeros(128, bool)
    for value, character in enumerate((string.digits + string.ascii_uppercase).encode()):
        tens, ones = divmod(value, 10)
        worth[:, character] = ones + doubled[tens], doubled[ones] + tens
        letter[character] = value > 9
    matrix = _bytes(texts, 12)
    total, odd = np.zeros(len(matrix), int), np.zeros(len(matrix), int)
    for place in reversed(range(12)):
        total += worth[odd, matrix[:, place]]
        odd ^= ~letter[matrix[:, place]]  # a letter is two digits
    return pl.Series(total % 10 == 0, dtype=pl.Boolean)
