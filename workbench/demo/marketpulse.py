"""Sample schema `marketpulse`: dealers' colors on CLO tranches, with the dirt of the real feed.

What is wrong on purpose, and how often in the default 20,000 colors, says `DIRT`. Everything
comes from one `random.Random`, so that each machine and Python version makes the same data.
"""

from __future__ import annotations

import datetime as dt
import string
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
)

from workbench.demo.columns import key, needed, optional

if TYPE_CHECKING:
    import polars as pl

LAST_DAY = dt.date(2026, 1, 9)
CALENDAR_DAYS = 90

DIRT = {
    "the same quote three or four times, only the coverage price differs": "2 % of the quotes",
    "a second ticker on one CUSIP": "5 CUSIPs, a third of their colors",
    "a price of 2 or 114": "12 rows each",
    "message id rounded to a float by Excel": "1 message in 25",
    "COV_PRICE missing": "3 % of the quotes",
    "RANK missing where BIAS is known": "1 % of the rows",
    "CUSIP in lower case": "20 rows",
    "CUSIP padded with blanks": "20 rows",
    "CUSIP missing": "12 rows",
    "CUSIP of blanks only": "4 rows",
    "BIAS in mixed case": "10 rows",
    "CUSIP unknown to securities": "6 rows",
}
"""Each kind of dirt and how much of it there is in 20,000 colors; counts shrink and grow with."""

# The rows of 20,000 that `_spoilt` changes.
SPOILT = {
    "lower": 20,
    "padded": 20,
    "missing": 12,
    "blank": 4,
    "mixed": 10,
    "orphan": 6,
    "2": 12,
    "114": 12,
}

METADATA = MetaData(schema="marketpulse")

Table(
    "dealers",
    METADATA,
    key("code", String(12), "Short code of the dealer, as the feed names it"),
    needed("name", String(60), "Name of the firm"),
    needed("region", String(8), "Region of the desk: US or EMEA"),
    needed("confidence", Integer, "Usual confidence in the dealer's colors, 0 to 10"),
    comment="Dealers whose messages are read",
)
Table(
    "securities",
    METADATA,
    key("cusip", String(9), "CUSIP, with check digit"),
    needed("ticker", String(40), "Deal and tranche in one, e.g. WDMNT 2022-9A ER"),
    needed("deal", String(30), "Deal, e.g. WDMNT 2022-9A"),
    needed("tranche", String(8), "Class of the tranche, e.g. ER"),
    needed("sector", String(20), "Sector by collateral and seniority"),
    optional("rating", String(4), "Rating; null for equity"),
    needed("original_face", Numeric(14, 2), "Face at issue, USD"),
    optional("spread", Numeric(6, 2), "Spread over SOFR in basis points; null for equity"),
    needed("issued", Date, "Day of issue"),
    needed("maturity", Date, "Legal final maturity"),
    comment="Tranches that are followed",
)
Table(
    "coverage",
    METADATA,
    Column(
        "cusip",
        String(9),
        ForeignKey("marketpulse.securities.cusip"),
        primary_key=True,
        comment="The security",
    ),
    key("as_of", Date, "Day the price stands for: a Friday"),
    needed("price", Numeric(9, 5), "Model price, percent of par"),
    comment="Weekly model prices of the coverage desk",
)
Table(
    "colors",
    METADATA,
    key("color_id", BigInteger, "Surrogate key in order of arrival; the feed itself has none"),
    needed("message_id", BigInteger, "Message that brought the color; one brings many colors"),
    optional("ticker", String(40), "Ticker as the dealer wrote it"),
    optional("sector", String(20), "Sector of the security"),
    optional("cusip", String(12), "CUSIP as the dealer wrote it; not checked"),
    needed("date", Date, "As-of day of the color"),
    optional("price_level", Numeric(9, 4), "Level quoted, percent of par"),
    optional("bid", Numeric(9, 4), "Bid, percent of par; 0 where none was given"),
    optional("ask", Numeric(9, 4), "Offer, percent of par; 0 where none was given"),
    optional("px", Numeric(9, 4), "Price the color stands for, percent of par"),
    needed(
        "source", String(12), "Dealer that sent the message", refers_to="marketpulse.dealers.code"
    ),
    optional("bias", String(20), "Kind of color: BID, OFFER, VALUATION, ..."),
    optional("rank", Integer, "Strength of the kind of color: 1 best, 6 weakest"),
    optional("cov_price", Numeric(9, 5), "Coverage price at the time, percent of par"),
    optional("percent_diff", Numeric(12, 2), "Distance of px from cov_price in percent"),
    optional("price_diff", Numeric(10, 5), "px less cov_price"),
    optional("confidence", Integer, "Confidence in the color, 0 to 10"),
    optional("date_1", Date, "Day the message was received"),
    optional("diff_status", String(24), "Small Difference or Significant Difference"),
    comment="Dealers' indications, one row per color, in order of arrival",
)

# code, name, region, confidence, share of the messages
DEALERS = (
    ("SMBC", "SMBC Nikko Securities", "US", 9, 16),
    ("MS", "Morgan Stanley", "US", 10, 14),
    ("BOA", "BofA Securities", "US", 10, 13),
    ("CITI", "Citigroup Global Markets", "US", 10, 11),
    ("BARCAP", "Barclays Capital", "US", 10, 10),
    ("JPM", "J.P. Morgan Securities", "US", 10, 10),
    ("GS", "Goldman Sachs", "US", 10, 8),
    ("NOMURA", "Nomura Securities", "US", 9, 5),
    ("WELLS", "Wells Fargo Securities", "US", 9, 4),
    ("DB", "Deutsche Bank Securities", "EMEA", 9, 3),
    ("BNP", "BNP Paribas Securities", "EMEA", 9, 3),
    ("JEFF", "Jefferies", "US", 9, 2),
    ("NATX", "Natixis Securities", "EMEA", 8, 1),
    ("RBC", "RBC Capital Markets", "US", 9, 0),  # known, and silent
)

# bias, rank, share of the messages
BIASES = (
    ("BID", 3, 26),
    ("OFFER", 4, 24),
    ("VALUATION", 6, 18),
    ("BWIC TALK", 5, 13),
    ("BWIC COVER", 2, 7),
    ("COLOR", 3, 3),
    ("MARKET", 3, 2),
    ("TRADE CONFIRM", 1, 2),
    ("DNT", 3, 2),
    ("BWIC REO", 3, 1),
    ("BUYER", 3, 1),
    ("DNT BEST", 3, 1),
)

# sector, share of the securities, classes, ratings, lowest and highest level, spread
SECTORS = (
    ("2.0_AAA_Senior", 22, ("A1", "A1R", "A1RR"), ("AAA",), (99, 101), 135),
    ("2.0_AAA_Mez", 8, ("A2", "A2R"), ("AAA",), (98, 101), 165),
    ("2.0_Senior", 14, ("B", "BR", "C", "CR"), ("AA", "A"), (97, 101), 205),
    ("2.0_Mezz", 24, ("D", "DR", "D1", "E", "ER"), ("BBB", "BB"), (90, 102), 430),
    ("MM-CLO", 14, ("D", "E", "ER", "ERR", "DRR"), ("BBB", "BB"), (96, 102), 520),
    ("A_BSL", 8, ("A", "AR"), ("AAA", "AA"), (98, 101), 150),
    ("US_Equity_2.0", 7, ("SUB", "INC"), (None,), (5, 95), None),
    ("US_MM_Equity_2.0", 3, ("SUB",), (None,), (20, 110), None),
)
EQUITY = ("US_Equity_2.0", "US_MM_Equity_2.0")
SHELVES = (
    "ABPCI ANTR APID ARES BALLY BATLN BCC BRYPK CARVL CEDF CGMS CIFC DRSLF ELM FCBSL GLM GOCAP"
    " HLM KKR MAGNE MCFCL MDPK NEUB OAKC OCT PLMRS RRAM SNDPT SYMP TICP VOYA WDMNT WELLI WINDR"
).split()

_WEEKEND = (5, 6)
_DAYS = [
    day
    for day in (LAST_DAY - dt.timedelta(days=back) for back in reversed(range(CALENDAR_DAYS)))
    if day.weekday() not in _WEEKEND
]

# Whole numbers all the way, so that no rounding depends on the machine: prices in 1/100,000 of a
# percent of par, quoted prices in multiples of ten of them.
_UNIT = 100_000


@dataclass(frozen=True)
class _Security:
    cusip: str
    deal: str
    tranche: str
    sector: str
    rating: str | None
    face: int
    spread: int | None
    issued: dt.date
    model: tuple[int, ...]  # price per business day

    @property
    def ticker(self) -> str:
        return f"{self.deal} {self.tranche}"


@dataclass(frozen=True)
class _Quote:
    message: int
    ticker: str
    sector: str
    cusip: str | None
    as_of: dt.date
    px: int
    spread: int  # from bid to ask
    source: str
    bias: str
    rank: int | None
    coverage: int | None
    confidence: int
    received: dt.date
    repeated: bool = False


def generate(rows: int = 20_000) -> dict[str, pl.DataFrame]:
    """Return the tables' frames in load order, with `rows` colors."""
    random = Random(20260109)  # noqa: S311
    securities = _securities(random, max(20, rows * 1500 // 20_000))
    quotes = _spoil(random, _quotes(random, securities, rows), securities)
    return {
        "dealers": _frame("dealers", [dealer[:4] for dealer in DEALERS]),
        "securities": _frame("securities", [_security_row(each) for each in securities]),
        "coverage": _frame(
            "coverage",
            [
                (each.cusip, day, _decimal(price))
                for each in securities
                for day, price in zip(_DAYS, each.model, strict=True)
                if day.weekday() == 4
            ],
        ),
        "colors": _frame("colors", [(n, *_color_row(each)) for n, each in enumerate(quotes, 1)]),
    }


def check_digit(body: str) -> str:
    """Return the ninth character of the CUSIP that begins with these eight (ANSI X9.6)."""
    alphabet = string.digits + string.ascii_uppercase
    total = 0
    for position, character in enumerate(body):
        tens, ones = divmod(alphabet.index(character) * (1 + position % 2), 10)
        total += tens + ones
    return str(-total % 10)


def _cusip(issuer: str, tranche: int) -> str:
    body = f"{issuer}A{'ACEGJLNQSU'[tranche]}"
    return body + check_digit(body)


def _securities(random: Random, count: int) -> list[_Security]:
    made: list[_Security] = []
    deals: dict[str, str] = {}  # by CUSIP issuer number
    while len(made) < count:
        year = random.randint(2016, 2025)
        deal = f"{random.choice(SHELVES)} {year}-{random.randint(1, 99)}A"
        issuer = f"{random.randrange(100_000):05d}{random.choice('ABCDEFGHJKLMNPQRSTUVWXYZ')}"
        if deal in deals.values() or issuer in deals:
            continue
        deals[issuer] = deal
        issued = dt.date(year, random.randint(1, 12), random.randint(1, 28))
        middle_market = random.randrange(100) < 17
        kinds = [kind for kind in SECTORS if ("MM" in kind[0]) == middle_market]
        tranches: dict[str, tuple[Any, ...]] = {}
        for kind in random.choices(kinds, [kind[1] for kind in kinds], k=random.randint(1, 6)):
            tranches.setdefault(random.choice(kind[2]), kind)
        for number, (tranche, kind) in enumerate(tranches.items()):
            cusip = _cusip(issuer, number)
            made.append(_security(random, cusip, deal, tranche, kind, issued))
    del made[count:]
    random.shuffle(made)  # so that popularity, which goes by position, does not follow the deals
    return made


def _security(
    random: Random, cusip: str, deal: str, tranche: str, kind: tuple[Any, ...], issued: dt.date
) -> _Security:
    sector, _, _, ratings, (low, high), spread = kind
    step = 40_000 if sector in EQUITY else 6_000
    price = random.randint(low * _UNIT, high * _UNIT)
    model = []
    for _ in _DAYS:
        # Pulled back into the sector's range where the walk leaves it.
        price += random.randint(-step, step) + (price < low * _UNIT) * step
        price -= (price > high * _UNIT) * step
        model.append(price)
    return _Security(
        cusip,
        deal,
        tranche,
        sector,
        random.choice(ratings),
        random.randint(8, 400) * 500_000,
        spread and spread + random.randint(-30, 60),
        issued,
        tuple(model),
    )


def _quotes(random: Random, securities: list[_Security], rows: int) -> list[_Quote]:
    # A few securities are in every message, many are seen once.
    flat = len(securities) * 200 // 1500 + 1
    popularity = [10**12 // (place + flat) ** 2 for place in range(len(securities))]
    messages: list[tuple[int, list[_Quote]]] = []
    seen: dict[int, None] = {}
    left = rows
    while left:
        number = random.randrange(len(_DAYS))
        moment = dt.datetime.combine(_DAYS[number], dt.time(12), dt.UTC)
        second = int(moment.timestamp()) + random.randrange(10 * 3600)
        message = second * 10**7 + random.randrange(10**6) * 10 + random.randint(1, 9)
        if random.randrange(25) == 0:
            message -= message % 10
        if message in seen:
            continue
        seen[message] = None
        size = random.choices((1, 3, 8, 20), (30, 35, 25, 10))[0] + random.randrange(4)
        chosen = dict.fromkeys(random.choices(range(len(securities)), popularity, k=size))
        lines = _message(random, message, number, [securities[place] for place in chosen])[:left]
        repeats = [again for line in lines for again in _repeats(random, line)]
        if len(lines) + len(repeats) > left:
            repeats = []
        doubled = {(line.cusip, line.bias) for line in repeats}
        lines = [replace(x, repeated=(x.cusip, x.bias) in doubled) for x in lines]
        messages.append((message, lines + repeats))
        left -= len(lines) + len(repeats)
    return [line for _, lines in sorted(messages, key=lambda each: each[0]) for line in lines]


def _message(
    random: Random, message: int, number: int, securities: list[_Security]
) -> list[_Quote]:
    dealer = random.choices(DEALERS, [dealer[4] for dealer in DEALERS])[0]
    bias, rank, _ = random.choices(BIASES, [bias[2] for bias in BIASES])[0]
    day = _DAYS[number]
    later = [other for other in _DAYS[number + 1 :] if (other - day).days <= 3]
    as_of = random.choice(later) if later and random.randrange(4) == 0 else day
    confidence = dealer[3] if random.randrange(20) else random.randint(5, 10)
    # Dealers who make markets send both sides of each security.
    sides = [(bias, rank)]
    if bias in ("BID", "OFFER") and random.randrange(3) == 0:
        sides = [("BID", 3), ("OFFER", 4)]
    lines = []
    for security in securities:
        model = security.model[number]
        far = 15 if random.randrange(25) == 0 else 1
        tick = random.choice((12_500, 5_000, 2_500, 2_500, 10))
        px = (model + far * random.randint(-model // 160, model // 160)) // tick * tick
        for side, strength in sides:
            quote = _Quote(
                message,
                security.ticker,
                security.sector,
                security.cusip,
                as_of,
                min(max(px, 3 * _UNIT), 113 * _UNIT),
                random.randint(3, 9) * 12_500,
                dealer[0],
                side,
                strength if random.randrange(100) else None,
                model + random.randint(-500, 500) if random.randrange(100) >= 3 else None,
                confidence,
                day,
            )
            lines.append(quote)
    return lines


def _repeats(random: Random, quote: _Quote) -> list[_Quote]:
    if random.randrange(50) or quote.coverage is None:
        return []
    steps = range(1, random.randint(3, 4))
    by = random.choice((24, 32, 15_000, 50_000))
    return [replace(quote, coverage=quote.coverage - by * n, repeated=True) for n in steps]


def _spoil(random: Random, quotes: list[_Quote], securities: list[_Security]) -> list[_Quote]:
    second = {each.cusip: f"{each.deal.split()[0]}  " for each in securities[3:8]}
    quotes = [
        replace(each, ticker=second[each.cusip])
        if each.cusip in second and each.message % 3 == 0
        else each
        for each in quotes
    ]
    share = len(quotes) / 20_000
    places = [place for place, each in enumerate(quotes) if not each.repeated]
    random.shuffle(places)
    for kind, usual in SPOILT.items():
        for n in range(min(max(1, round(usual * share)), len(places))):
            place = places.pop()
            quotes[place] = _spoilt(random, quotes[place], kind, n)
    return quotes


def _spoilt(random: Random, quote: _Quote, kind: str, n: int) -> _Quote:
    cusip = quote.cusip or ""
    if kind == "lower":
        return replace(quote, cusip=cusip.lower())
    if kind == "padded":
        return replace(quote, cusip=(f"{cusip}  ", f" {cusip}")[n % 2])
    if kind == "missing":
        return replace(quote, cusip=None)
    if kind == "blank":
        return replace(quote, cusip="   ")
    if kind == "mixed":
        return replace(quote, bias=quote.bias.title())
    if kind == "orphan":
        # No issuer number of ours begins with a letter.
        return replace(quote, cusip=_cusip(f"Z{random.randrange(10**5):05d}", 0))
    return replace(quote, px=int(kind) * _UNIT)


def _decimal(units: int, places: int = 5) -> Decimal:
    return Decimal(units).scaleb(-places)


def _security_row(security: _Security) -> tuple[Any, ...]:
    issued = security.issued
    return (
        security.cusip,
        security.ticker,
        security.deal,
        security.tranche,
        security.sector,
        security.rating,
        Decimal(security.face),
        None if security.spread is None else Decimal(security.spread),
        issued,
        issued.replace(year=issued.year + 13),
    )


def _color_row(quote: _Quote) -> tuple[Any, ...]:
    px, zero = _decimal(quote.px // 10, 4), Decimal(0)
    bid, ask = (zero, px) if quote.bias.upper() in ("OFFER", "BWIC TALK") else (px, zero)
    if quote.bias.upper() in ("BID", "MARKET"):
        ask = _decimal((quote.px + quote.spread) // 10, 4)
    cov_price = percent = difference = status = None
    if quote.coverage is not None:
        distance = quote.px - quote.coverage
        # Half up, in whole numbers.
        hundredths = (20_000 * abs(distance) + quote.coverage) // (2 * quote.coverage)
        cov_price, difference = _decimal(quote.coverage), _decimal(distance)
        percent = _decimal(hundredths, 2)
        limit = 500 if quote.sector in EQUITY else 200
        status = "Significant Difference" if hundredths > limit else "Small Difference"
    return (
        *(quote.message, quote.ticker, quote.sector, quote.cusip, quote.as_of),
        *(px, bid, ask, px, quote.source, quote.bias, quote.rank),
        *(cov_price, percent, difference, quote.confidence, quote.received, status),
    )


def _frame(table: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    import polars as pl

    kinds = {BigInteger: pl.Int64, Integer: pl.Int64, String: pl.String, Date: pl.Date}
    schema: dict[str, Any] = {}
    for column in METADATA.tables[f"marketpulse.{table}"].columns:
        kind = column.type
        if isinstance(kind, Numeric):
            schema[column.name] = pl.Decimal(kind.precision or 38, kind.scale or 0)
        else:
            schema[column.name] = kinds[type(kind)]
    return pl.DataFrame(rows, schema=schema, orient="row")
