"""Dates as people, Oracle and Excel write them in text and numbers, read by DuckDB."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f")
TIME = r"( \d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
YEAR = r"(\d{3}[1-9]|\d{2}[1-9]0|\d[1-9]00|[1-9]000)"  # 0001 to 9999
# DuckDB takes 24:00 for the next day's beginning.
HOUR = r"([01]\d|2[0-3])"
ISO = YEAR + r"-\d{2}-\d{2}([ T]" + HOUR + r":\d{2}(:\d{2}(\.\d{1,6})?)?)?"
FIRST_SERIAL, LAST_SERIAL = 20_000, 80_000  # 1954-10-03 to 2119-01-11
UNIX_SERIAL = 25_569  # 1970-01-01, counted from 1899-12-30
# What is told of dates with slashes, by whether the day comes first; None: nothing tells.
ORDERS: Mapping[bool | None, str] = {
    True: "day first, as a part above 12 among the dates of the file shows",
    False: "month first, as a part above 12 among the dates of the file shows",
    None: "day and month are the same number",
}


def utc(moment: dt.datetime) -> dt.datetime:
    """Give a moment with UTC as its zone, which it is taken for to be in where it names none.

    Raises OverflowError before the first and after the last moment that UTC's calendar has.
    """
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@dataclass(frozen=True)
class Spelling:
    """A way to write a date: what tells it from the others, and the shape it then must have."""

    finding: str
    told_by: str
    shape: str
    meaning: str


# In the order in which they are told apart; {0} is the text.
SPELLINGS: Mapping[str, Spelling] = {
    "slashes": Spelling(
        "Dates with slashes",
        "contains({0}, '/')",
        r"\d{1,2}/\d{1,2}/" + YEAR + TIME,
        "{0}",
    ),
    "names": Spelling(
        "Dates with names of months",
        r"strpos({0}, '-') < 4 AND regexp_matches({0}, '-.*-\d{{3}}')",
        r"\d{1,2}-[A-Za-z]{3}-" + YEAR + TIME,
        "day, month and year",
    ),
    "short years": Spelling(
        "Dates with two-digit years",
        r"strpos({0}, '-') < 4 AND contains({0}, '-') AND NOT regexp_matches({0}, '-.*-\d{{3}}')",
        r"\d{1,2}-[A-Za-z]{3}-\d{2}" + TIME,
        "two-digit years are read as Oracle's RR: 00 to 49 are 20.., 50 to 99 are 19..",
    ),
    "serials": Spelling(
        "Dates as Excel serials",
        "try_cast({0} AS DOUBLE) < 1000000",
        r"\d{5}(\.\d*)?",
        "numbers read as Excel counts days: since 1899-12-30, a fraction being the time",
    ),
    "digits": Spelling(
        "Dates as eight digits",
        "try_cast({0} AS DOUBLE) >= 1000000",
        r"(19|20)\d{6}(\.0*)?",
        "read as year, month and day",
    ),
}


def literal(text: str) -> str:
    """Quote a text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def told(text: str, spelling: str) -> str:
    """Write the condition that a date's text, when it can be read, is in that spelling."""
    return f"({SPELLINGS[spelling].told_by.format(text)})"


def part_above_12(text: str, part: int) -> str:
    """Write the condition that a date with slashes has a first or second part above 12."""
    number = f"try_cast(split_part({text}, '/', {part}) AS INTEGER)"
    return f"(CASE WHEN {told(text, 'slashes')} THEN {number} > 12 END)"


def parts_differ(text: str) -> str:
    """Write the condition that the order of day and month matters to a date with slashes."""
    return f"({told(text, 'slashes')} AND split_part({text}, '/', 1) <> split_part({text}, '/', 2))"


def moment(text: str, *, day_first: bool) -> str:
    """Write the TIMESTAMP that a text means; null for what is no date.

    Where only one order of day and month makes a date of slashes, it is that one: whether all
    of a file agree is for the caller to see.
    """
    year = rf"regexp_replace({text}, '^(\d+-\w+-)([0-4]\d)(\D.*)?$', '\120\2\3')"
    year = rf"regexp_replace({year}, '^(\d+-\w+-)([5-9]\d)(\D.*)?$', '\119\2\3')"
    orders = ("%d/%m/%Y", "%m/%d/%Y") if day_first else ("%m/%d/%Y", "%d/%m/%Y")
    number = f"try_cast({text} AS DOUBLE)"
    seconds = f"CAST(round(({number} - {UNIX_SERIAL}) * 86400) AS BIGINT)"
    serial = f"{number} BETWEEN {FIRST_SERIAL} AND {LAST_SERIAL}"
    values = {
        "slashes": f"try_strptime({text}, {_formats(*orders)})",
        "names": f"try_strptime({text}, {_formats('%d-%b-%Y')})",
        "short years": f"try_strptime({year}, {_formats('%d-%b-%Y')})",
        "serials": f"CASE WHEN {serial} THEN make_timestamp({seconds} * 1000000) END",
        "digits": f"try_strptime(left({text}, 8), '%Y%m%d')",
    }
    cases = "".join(
        f" WHEN {told(text, name)} THEN {shaped(text, SPELLINGS[name].shape, value)}"
        for name, value in values.items()
    )
    # Dates in ISO, the most, are told by one look at their fifth character.
    iso = shaped(text, ISO, f"try_cast({text} AS TIMESTAMP)")
    return f"CASE WHEN substr({text}, 5, 1) = '-' THEN {iso}{cases} END"


def shaped(text: str, pattern: str, value: str) -> str:
    """Write a value for texts of that shape alone: DuckDB's own casts are more lenient."""
    return f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN {value} END"


def _formats(*days: str) -> str:
    return "[" + ", ".join(literal(day + time) for day in days for time in TIMES) + "]"
