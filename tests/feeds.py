"""Feeds of colors for tests: nasty ones drawn by hypothesis, realistic ones from a seed, files."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import xlsxwriter
from hypothesis import strategies as st
from naive_colors import BIAS_RANK, CANONICAL

Row = dict[str, Any]

INTEGERS = ("MESSAGE_ID", "RANK", "CONFIDENCE")
PRICES = ("PRICE_LEVEL", "BID", "ASK", "PX", "COV_PRICE", "PERCENT_DIFF", "PRICE_DIFF")
DATES = ("DATE", "DATE_1")
COLUMNS = tuple(CANONICAL)

# --- Nasty feeds -----------------------------------------------------------------------------

# Above 2**53, neighbours a float cannot tell apart.
MESSAGE_IDS = [17734072432755618, 17734072432755617, 17734072432755619, 9007199254740993, 7, None]
CUSIPS = [
    *("97988RBL5", "97988rbl5", " 97988RBL5", "97988Rbl5\t", "\u00a097988RBL5 ", " \t97988RBL5"),
    *("000840AG3", "000840ag3", "000840AG3\u00a0", "97988 RBL5"),
    # Only a-z are raised: these stay what they are, and an em space is no blank.
    *("stra\u00dfe\u00e91", "\u017fTRASSE", "\u2003000840AG3"),
    *("", "   ", "\u00a0", "\t", None),
]
CONTROL_CUSIPS = ["97988RBL5\r\n", "\v97988rbl5\f", "\n000840AG3", "\r\n"]
SECTORS = [
    *("MM-CLO", "2.0_Mezz", "2.0_mezz", " 2.0_Mezz\t", "US_Equity_2.0", "US_MM_Equity_2.0"),
    *("us_equity_2.0", "US_Equity_2.0 ", " ", "", None),
]
BIASES = [
    *("TRADE CONFIRM", "BWIC COVER", "BWIC REO", "MARKET", "BUYER", "BID", "COLOR", "DNT"),
    *("DNT BEST", "OFFER", "BWIC TALK", "VALUATION"),
    *("bid", "Bid", " Offer ", "\u00a0bwic talk\t", "Trade Confirm"),
    *("b\u0131d", "BWIC  COVER", "RUMOUR", "", None),
]
TEXTS = [
    *("a", "A", "B", "b", "aa", "a ", " a", "Z", "_", "1", "10", "9", "", " ", None),
    *("O'Neil", 'say "hi"', "100%", "%s %(x)s", "%%", "back\\slash", "\\", ":x", "a:x:y", "a,b;c"),
    *("\u00e9", "e\u0301", "\u00c9", "\u00df", "ss", "\uff5e", "\U0001f4c8", "\u65e5\u672c", "--"),
    *("=1+1", "NULL", "null", "NaN", "true", "2026-01-11", "{x}", "$1", "?", "/* */", "a;b"),
]
PRICE_POOL = [
    Decimal(text)
    for text in (
        *("0", "2", "114", "100", "101.7", "101.375", "101.37504", "100.123456"),
        *("-1", "-100.5", "0.000001", "99.999999"),
    )
]
# PX and COV_PRICE whose difference is at a limit, on a rounding tie, or undefined.
PAIRS = [
    (Decimal(px), Decimal(cov))
    for px, cov in (
        *(("102", "100"), ("98", "100"), ("102.01", "100"), ("97.99", "100"), ("51", "50")),
        *(("105", "100"), ("105.01", "100"), ("94.99", "100"), ("95", "100")),
        *(("102.005", "100"), ("102.004999", "100"), ("105.005", "100"), ("100.005", "100")),
        *(("100.015", "100"), ("100.025", "100"), ("201.00", "200.99"), ("204.01", "200")),
        *(("1", "3"), ("2", "3"), ("114", "0.000001"), ("100", "0"), ("0", "0"), ("0", "100")),
        *(("-102.005", "-100"), ("-100", "100"), ("100", "-100"), ("-95", "-100")),
    )
]
PERCENTS = [
    Decimal(text)
    for text in (
        *("0", "0.49", "1.99", "2.00", "2.01", "4.99", "5.00", "5.01"),
        *("1.995", "2.005", "4.995", "5.005", "-2.01", "300"),
    )
]
STATUSES = ["Small Difference", "Significant Difference", "small difference", "", None]
DAYS = [date(2026, 1, 11), date(2026, 1, 9), date(2026, 1, 8), date(2024, 2, 29), None]
TIMES = [
    datetime(2026, 1, 11),
    datetime(2026, 1, 9, 23, 59, 59),
    datetime(2026, 1, 9, 12, 0, 0),
    datetime(2026, 1, 9, 12, 0, 1),
    datetime(2024, 2, 29, 0, 0, 0),
    None,
]


def texts() -> st.SearchStrategy[str | None]:
    """Draw text for a plain column: mostly from the pool, no control characters or surrogates."""
    alphabet = st.characters(exclude_categories=("Cc", "Cs", "Cn"))
    return st.one_of(st.sampled_from(TEXTS), st.sampled_from(TEXTS), st.text(alphabet, max_size=6))


def prices() -> st.SearchStrategy[Decimal | None]:
    """Draw a price with up to six decimals, or none."""
    any_price = st.integers(-200_000_000, 200_000_000).map(lambda n: Decimal(n).scaleb(-6))
    pool = st.sampled_from([None, *PRICE_POOL])
    return st.one_of(pool, pool, any_price)


def dates(times: bool) -> st.SearchStrategy[date | None]:
    """Draw a day, or with `times` a whole second, between 1990 and 2035."""
    first = datetime(1990, 1, 1)
    if times:
        seconds = int((datetime(2035, 12, 31, 23, 59, 59) - first).total_seconds())
        other = st.integers(0, seconds).map(lambda n: first + timedelta(seconds=n))
        return st.one_of(st.sampled_from(TIMES), st.sampled_from(TIMES), other)
    days = st.dates(date(1990, 1, 1), date(2035, 12, 31))
    return st.one_of(st.sampled_from(DAYS), st.sampled_from(DAYS), days)


@st.composite
def _row(draw: st.DrawFn, times: bool, controls: bool, extras: bool) -> Row:
    px, cov_price = draw(st.one_of(st.sampled_from(PAIRS), st.tuples(prices(), prices())))
    row = {
        "MESSAGE_ID": draw(st.sampled_from(MESSAGE_IDS)),
        "TICKER": draw(texts()),
        "SECTOR": draw(st.sampled_from(SECTORS)),
        "CUSIP": draw(st.sampled_from(CUSIPS + CONTROL_CUSIPS if controls else CUSIPS)),
        "DATE": draw(dates(times)),
        "PRICE_LEVEL": draw(prices()),
        "BID": draw(prices()),
        "ASK": draw(prices()),
        "PX": px,
        "SOURCE": draw(texts()),
        "BIAS": draw(st.sampled_from(BIASES)),
        "RANK": draw(st.sampled_from([None, None, None, 1, 2, 3, 4, 5, 6])),
        "COV_PRICE": cov_price,
        "PERCENT_DIFF": draw(st.sampled_from([None] * 10 + PERCENTS)),
        "PRICE_DIFF": draw(st.one_of(st.none(), prices())),
        "CONFIDENCE": draw(st.sampled_from([None, 0, 9, 10])),
        "DATE_1": draw(dates(times)),
        "DIFF_STATUS": draw(st.sampled_from([None, None, *STATUSES])),
    }
    if extras:
        row["zeta"] = draw(st.sampled_from([None, "", "a", "B"]))
        row["Alpha"] = draw(st.sampled_from([None, 1, 2, 10]))
        row["beta"] = draw(st.sampled_from([None, Decimal("0.5"), Decimal(2)]))
    return row


@st.composite
def feeds(
    draw: st.DrawFn,
    min_rows: int = 0,
    max_rows: int = 40,
    times: bool = False,
    controls: bool = False,
    extras: bool = False,
) -> list[Row]:
    """Draw a feed full of groups, ties, repeats and odd values.

    `times` gives datetimes instead of dates, `controls` CUSIPs padded with CR, LF, VT and FF,
    `extras` three more columns (text, integer, decimal) whose names sort by case if one lets them.
    """
    size = draw(st.integers(min_rows, max_rows))
    new_row = _row(times, controls, extras)
    rows: list[Row] = []
    while len(rows) < size:
        kind = draw(st.sampled_from(["new", "new", "same", "coverage", "one column", "cusip"]))
        if kind == "new" or not rows:
            rows.append(draw(new_row))
            continue
        row = dict(draw(st.sampled_from(rows)))
        if kind == "coverage":
            row["COV_PRICE"] = draw(prices())
            if draw(st.booleans()):
                row["PERCENT_DIFF"] = row["PRICE_DIFF"] = row["DIFF_STATUS"] = None
        elif kind == "one column":
            name = draw(
                st.sampled_from(["MESSAGE_ID", "TICKER", "SOURCE", "DATE_1", "ASK", "BIAS"])
            )
            values = {
                "MESSAGE_ID": st.sampled_from(MESSAGE_IDS),
                "DATE_1": dates(times),
                "ASK": prices(),
                "BIAS": st.sampled_from(BIASES),
            }
            row[name] = draw(values.get(name, st.sampled_from(TEXTS)))
        elif kind == "cusip":
            row["CUSIP"] = draw(st.sampled_from(CUSIPS))
        rows.append(row)
    return rows


# --- Realistic feeds -------------------------------------------------------------------------

_COMMON = ["BID", "OFFER", "BID", "OFFER", "VALUATION", "BWIC TALK", *BIAS_RANK]
_DEALERS = ["SMBC", "MS", "BOA", "BARCAP", "CITI", "JPM", "GS", "NOMURA", "WFC"]
_NAMES = ["WDMNT", "ABPCI", "WELLI", "ARES", "ANTR", "PLMRS", "GOCAP", "MCFCL", "BRYPK", "FCBSL"]
_FEED_SECTORS = ["MM-CLO", "2.0_Mezz", "MM-CLO", "2.0_Mezz", "US_Equity_2.0", "US_MM_Equity_2.0"]
_ALPHANUMERIC = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def feed(rows: int, seed: int = 1) -> list[Row]:
    """Generate a feed shaped like the real one; the same seed gives the same rows.

    A message quotes a few securities, a quote comes as bid and offer, and a fanned-out join
    repeats it with other coverage prices. Ids have 17 digits and end in 0, as Excel leaves them,
    so CSV, Excel and Parquet hold the same values.
    """
    rng = random.Random(seed)
    as_of = date(2026, 1, 11)
    bonds = _bonds(rng, max(1, rows // 5))
    result: list[Row] = []
    while len(result) < rows:
        message_id = rng.randrange(1_767_830_000_000_000, 1_768_100_000_000_000) * 10
        source = rng.choice(_DEALERS)
        received = as_of - timedelta(days=rng.choice([2, 2, 3, 3, 3, 4]))
        confidence = rng.choice([10, 10, 9, 9, 8, 5])
        for bond in rng.sample(bonds, min(len(bonds), rng.randint(1, 5))):
            sector, cusip, tickers, fair, coverages = bond
            px = fair + Decimal(rng.randint(-150, 150)).scaleb(-2)
            if rng.random() < 0.01:
                px = rng.choice([Decimal(2), Decimal(114)])
            for bias in rng.choice([["BID", "OFFER"], [rng.choice(_COMMON)]]):
                ask = px + Decimal(rng.randint(25, 90)).scaleb(-2)
                two_sided = bias == "BID"
                for cov_price in coverages:
                    result.append(
                        {
                            "MESSAGE_ID": message_id,
                            "TICKER": rng.choice(tickers),
                            "SECTOR": sector,
                            "CUSIP": cusip,
                            "DATE": as_of,
                            "PRICE_LEVEL": px,
                            "BID": Decimal(0) if bias == "OFFER" else px,
                            "ASK": ask if two_sided else px if bias == "OFFER" else Decimal(0),
                            "PX": px,
                            "SOURCE": source,
                            "BIAS": bias,
                            "RANK": BIAS_RANK[bias],
                            "COV_PRICE": cov_price,
                            **_difference(px, cov_price, sector),
                            "CONFIDENCE": confidence,
                            "DATE_1": received,
                        }
                    )
    del result[rows:]
    rng.shuffle(result)
    return [{name: row[name] for name in COLUMNS} for row in result]


def _bonds(rng: random.Random, count: int) -> list[tuple[str, str, list[str], Decimal, list[Any]]]:
    bonds: dict[str, Any] = {}
    while len(bonds) < count:
        issuer = "".join(rng.choices(_ALPHANUMERIC, k=6))
        cusip = f"{issuer}{''.join(rng.choices('ABCDGHJKL', k=2))}{rng.randint(0, 9)}"
        name = rng.choice(_NAMES)
        tickers = [f"{name} {rng.randint(2015, 2025)}-{rng.randint(1, 99)}A {rng.choice('DE')}R"]
        if rng.random() < 0.05:
            tickers.append(f"{name}  ")
        fair = Decimal(rng.randint(96_000, 103_000)).scaleb(-3)
        cov_price = fair + Decimal(rng.randint(-100_000, 250_000)).scaleb(-5)
        fan_out = rng.choice([1, 1, 2, 2, 2, 3, 4])
        coverages = [
            cov_price - Decimal(rng.randint(1, 999) * n).scaleb(-5) for n in range(fan_out)
        ]
        if rng.random() < 0.05:
            coverages[-1] = None
        bonds[cusip] = (rng.choice(_FEED_SECTORS), cusip, tickers, fair, coverages)
    return list(bonds.values())


def _difference(px: Decimal, cov_price: Decimal | None, sector: str) -> Row:
    if cov_price is None:
        return {"PERCENT_DIFF": None, "PRICE_DIFF": None, "DIFF_STATUS": None}
    percent = abs(px - cov_price) / cov_price * 100
    percent = percent.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    limit = 5 if sector.startswith("US_") else 2
    status = "Significant Difference" if percent > limit else "Small Difference"
    return {"PERCENT_DIFF": percent, "PRICE_DIFF": px - cov_price, "DIFF_STATUS": status}


# --- Files -----------------------------------------------------------------------------------


def frame(
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Make a polars frame: Int64, Decimal(28, 10), Date (Datetime if any value has a time), text.

    `columns` picks and orders canonical names, `header` maps them to the names to show.
    """
    series = []
    for name in _columns(rows, columns):
        values = [row.get(name) for row in rows]
        dtype = _dtype(name, values)
        if dtype == pl.Datetime("us"):
            values = [_as_datetime(value) for value in values]
        series.append(pl.Series((header or {}).get(name, name), values, dtype=dtype))
    return pl.DataFrame(series)


def write_parquet(
    rows: Sequence[Row],
    path: str | Path,
    columns: Sequence[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> Path:
    """Write Parquet with the types of `frame`."""
    frame(rows, columns, header).write_parquet(path)
    return Path(path)


def write_csv(
    rows: Sequence[Row],
    path: str | Path,
    columns: Sequence[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> Path:
    """Write UTF-8 CSV: ISO dates, plain decimals; None and '' are both the empty field."""
    names = _columns(rows, columns)
    lines = [[(header or {}).get(name, name) for name in names]]
    lines += [[_as_text(row.get(name)) for name in names] for row in rows]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        for line in lines:
            file.write(",".join(map(_quoted, line)) + "\n")
    return Path(path)


def write_xlsx(
    rows: Sequence[Row],
    path: str | Path,
    columns: Sequence[str] | None = None,
    header: Mapping[str, str] | None = None,
) -> Path:
    """Write Excel: numbers (16 significant digits, as Excel), dates, text; None and '' blank."""
    names = _columns(rows, columns)
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        for x, name in enumerate(names):
            sheet.write_string(0, x, (header or {}).get(name, name))
            for y, row in enumerate(rows, start=1):
                value = row.get(name)
                if value is None or value == "":
                    continue
                if isinstance(value, str):
                    sheet.write_string(y, x, value)
                elif isinstance(value, date):
                    style = moment if isinstance(value, datetime) else day
                    sheet.write_datetime(y, x, value, style)
                else:
                    sheet.write_number(y, x, float(value))
    return Path(path)


def _columns(rows: Sequence[Row], columns: Sequence[str] | None) -> list[str]:
    if columns is not None:
        return list(columns)
    return [*COLUMNS, *sorted({name for row in rows for name in row} - set(COLUMNS))]


def _dtype(name: str, values: list[Any]) -> pl.DataType:
    known = [value for value in values if value is not None]
    if any(isinstance(value, datetime) for value in known):
        return pl.Datetime("us")
    if name in DATES or any(isinstance(value, date) for value in known):
        return pl.Date()
    if name in PRICES or any(isinstance(value, Decimal) for value in known):
        return pl.Decimal(28, 10)
    if name in INTEGERS or any(isinstance(value, int) for value in known):
        return pl.Int64()
    return pl.String()


def _as_datetime(value: date | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return str(value)


def _quoted(field: str) -> str:
    if field != field.strip() or any(c in field for c in ',"\r\n'):
        return '"' + field.replace('"', '""') + '"'
    return field


def read_xlsx(path: Path) -> pl.DataFrame:
    """Read the active sheet as it is, numbers as floats where any of a column is one."""
    header, *rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
    columns = zip(*rows, strict=True)
    return pl.DataFrame(
        [pl.Series(str(n), v, strict=False) for n, v in zip(header, columns, strict=True)]
    )
