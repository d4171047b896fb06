"""What a column's texts look like: shapes, numbers, dates, and likely personal data.

Nothing here returns a value it was shown: only shapes, kinds, and which rows have them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from workbench.profiling.names import CODE, words

MOST = 0.5  # share of values by which a kind of personal data is taken for what they are
RUN = 4  # a longer run in a mask is written with its length
# In text, a leading zero is part of a value, and so is every digit of a code.
NUMBER = (
    r"^[+-]?(?:(?:0|[1-9]\d*)(?:[.,]\d+)?|\.\d+|[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
    r"|\d\.\d+[eE][+-]?\d{1,3})$"
)
CODE_LENGTH = 5  # digits; whole numbers that all have the same number of them are codes
TIME = r"[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?))?$"
DATES = (
    (r"^\d{4}-\d\d-\d\d$", "%Y-%m-%d"),
    (r"^\d{4}/\d\d/\d\d$", "%Y/%m/%d"),
    (r"^(?:19|20)\d{6}$", "%Y%m%d"),
    (r"^\d\d?/\d\d?/\d{4}$", "%d/%m/%Y"),
    (r"^\d\d?/\d\d?/\d{4}$", "%m/%d/%Y"),
    (r"^\d\d?\.\d\d?\.\d{4}$", "%d.%m.%Y"),
    (r"^\d\d?-[A-Za-z]{3}-\d{4}$", "%d-%b-%Y"),
    (r"^\d\d?-[A-Za-z]{3}-\d\d$", "%d-%b-%y"),  # Oracle's own
)

NAMED = {
    "name": r"(first|last|given|family|full|middle|maiden|birth)_?names?|(sur|fore|vor|nach)_?name"
    r"|(customer|client|contact|person|employee|patient|member|guest|passenger|recipient|owner"
    r"|beneficiary|signatory|user|borrower|debtor)_?(full_?)?name|((account|card)_?)?holder(_?name)?",
    "e-mail": r"e_?mail(_?(address|addr))?",
    "phone": r"(tele)?phone|mobile|cell|fax|tel|(phone|mobile|fax|tel)_?(no|nr|num|number)",
    "IBAN": r"iban",
    "card number": r"((credit|debit)_?)?card_?(no|nr|num|number)|pan|credit_?card|cc_?(no|number)",
}
NAMES = {kind: re.compile(f"(^|_)({words})$") for kind, words in NAMED.items()}
EMAIL = r"[\w.%+'-]+@[\w-]+(?:\.[\w-]+)*\.\p{L}{2,}"
PERSON = r"^\p{L}[\p{L}\p{M} .,'’-]+$"
PHONE = r"^\+?[\d ()./-]{6,24}$"
INTERNATIONAL = r"^\+[1-9]"
# ISO 13616: country, two check digits, up to 30 characters.
IBAN = r"^[A-Z]{2}\d\d[A-Z0-9]{11,30}$"
# ISO/IEC 7812: lengths and first digits of the schemes that issue cards today.
CARD = (
    r"^(?:4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11,16}"
    r"|(?:6011|6[45]\d\d|35\d\d|62\d\d)\d{12,15}|(?:50|5[6-9]|6\d)\d{11,17})$"
)
# The same within longer texts.
PIECES = (
    r"\b[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    r"\b(?:\d[ -]?){12,18}\d\b",
    r"\+[1-9][\d ()./-]{5,20}\d",
)


def named_personal(name: str) -> str | None:
    """Say which kind of personal data a column's name promises."""
    return next((kind for kind, named in NAMES.items() if named.search(words(name))), None)


@dataclass(frozen=True)
class Looks:
    """What a column's texts look like, and how many rows do; `numbers` None: they are codes."""

    masks: list[tuple[str, int]]
    numbers: int | None
    dates: int


def look(name: str, counted: pl.DataFrame) -> Looks:
    """Say what texts look like, given each that is there once (`value`), and its `rows`.

    A number is no date. Masks write letters as A, digits as 9, other characters as they are, and
    a run of more than four as A{12}; the five commonest are given.
    """
    filled = _filled(counted)
    is_date = dates(filled["value"])
    shape = pl.col("value").str.replace_all(r"[\p{L}\p{M}]", "A").str.replace_all(r"\p{N}", "9")
    shapes = counted.filter(pl.col("value").str.strip_chars() != "").with_columns(shape)
    return Looks(
        masks=[
            (_shortened(mask), rows)
            for mask, rows in commonest(shapes.group_by("value").agg(pl.col("rows").sum()), 5)
        ],
        numbers=_numbers(name, filled, is_date),
        dates=_rows(filled, is_date),
    )


def commonest(counted: pl.DataFrame, most: int) -> list[tuple[str, int]]:
    """Return the values with the most rows; ties in binary order."""
    return counted.sort(["rows", "value"], descending=[True, False]).head(most).rows()


def dates(texts: pl.Series) -> pl.Series:
    """Tell which texts read as a date that exists, ISO or common, with a time of day or not."""
    day = texts.str.replace(TIME, "")
    found = pl.repeat(False, len(day), eager=True)
    for pattern, form in DATES:
        fits = day.str.contains(pattern)
        if fits.any():
            found |= fits & day.str.to_date(form, strict=False).is_not_null()
    return found


def _numbers(name: str, filled: pl.DataFrame, is_date: pl.Series) -> int | None:
    """Count the rows that read as a number; None for a column of codes.

    It is one of codes if its name says so, if one value in a hundred has a leading zero, or if
    all are whole numbers with the same number of digits, five or more (a plain CUSIP).
    """
    values = filled["value"]
    zeros = values.str.contains(r"^0\d+$")
    if CODE.search(words(name)) or _rows(filled, zeros) * 100 > filled["rows"].sum():
        return None
    found = values.str.contains(NUMBER) & ~is_date
    shown = values.filter(found)
    lengths = shown.str.len_bytes().unique().to_list()
    is_code = shown.str.contains(r"^\d+$").all() and len(lengths) == 1 and lengths >= [CODE_LENGTH]
    return None if is_code else _rows(filled, found)


def personal(name: str, counted: pl.DataFrame, share: float = MOST) -> list[tuple[str, int]]:
    """Count the rows with likely personal data by kind, given each value once and its rows.

    E-mail addresses count wherever they are; IBANs and card numbers where a `share` of the values
    of that form have the right check digits; names only where the column's name promises them
    too, and phone numbers where it does or they begin with + and a country's code.
    """
    filled = _filled(counted)
    values, promised = filled["value"], named_personal(name)
    found = {"e-mail": _rows(filled, values.str.contains(EMAIL))}
    packed = filled.with_columns(values.str.replace_all(r"[ -]", "").str.to_uppercase())
    checks: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("IBAN", IBAN, has_iban_check),
        ("card number", CARD, has_luhn),
    )
    for kind, form, check in checks:
        formed = packed.filter(pl.col("value").str.contains(form))
        passed = [check(value) for value in formed["value"]]
        likely = promised == kind or sum(passed) >= share * len(passed)
        found[kind] = _rows(formed, pl.Series(passed, dtype=pl.Boolean)) if likely else 0
    digits = values.str.replace_all(r"\D", "").str.len_bytes()
    begin = PHONE if promised == "phone" else INTERNATIONAL
    phones = values.str.contains(PHONE) & values.str.contains(begin) & digits.is_between(7, 15)
    persons = values.str.contains(PERSON) & (promised == "name")
    phones = phones & ~dates(values) if phones.any() else phones
    for kind, which in (("phone", phones), ("name", persons)):
        rows = _rows(filled, which)
        found[kind] = rows if rows >= share * _rows(filled, values.is_not_null()) else 0
    return [(kind, rows) for kind, rows in found.items() if rows]


def personal_inside(texts: pl.Series) -> list[str]:
    """Name the kinds of personal data that stand among other words of texts.

    Of IBANs and card numbers most that look like one must have the right check digits; phone
    numbers begin with + and a country's code.
    """
    kinds = list[str]()
    for piece in PIECES:
        pieces = texts.str.extract_all(piece).explode().drop_nulls()
        counted = pl.DataFrame({"value": pieces, "rows": pl.repeat(1, len(pieces), eager=True)})
        kinds += [kind for kind, _ in personal("", counted)]
    return kinds


def _filled(counted: pl.DataFrame) -> pl.DataFrame:
    return counted.with_columns(pl.col("value").str.strip_chars()).filter(pl.col("value") != "")


def _rows(counted: pl.DataFrame, which: pl.Series) -> int:
    return int(counted["rows"].filter(which).sum())


def has_luhn(number: str) -> bool:
    """Tell whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def has_iban_check(iban: str) -> bool:
    """Tell whether an IBAN's check digits are right: 1 modulo 97 (ISO 13616-1)."""
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(each, 36)) for each in turned)) % 97 == 1


def _shortened(shape: str) -> str:
    return re.sub(
        rf"A{{{RUN + 1},}}|9{{{RUN + 1},}}", lambda run: f"{run[0][0]}{{{len(run[0])}}}", shape
    )
