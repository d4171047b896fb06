"""A feed as it comes, in text, floats or decimals, given the types Run Colors needs.

Values are never bent to fit: one that is not what its column must hold is an error that names
the column, the row and the value. What is read otherwise than by its plain meaning is noted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.sql import TableClause

from workbench import moments
from workbench.colors import MOMENTS, TEXTS, WHOLE, ShortDecimal, match_columns, type_of
from workbench.dialects import BLANKS
from workbench.engines import Finding
from workbench.errors import DataError
from workbench.kinds import INTEGERS, SMALL_INTEGERS, is_best_as_text, other_type
from workbench.moments import ORDERS, SPELLINGS, literal, shaped

FLOATS = ("DOUBLE", "FLOAT")
NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
# What nearly all are: sure to fit, and known by one look instead of a cast to a decimal.
PLAIN_WHOLE, PLAIN_PRICE = r"-?\d{1,17}", r"-?\d{1,17}(\.\d*)?"
# What surely fits, of exact numbers and of floats.
LIMITS = {
    "BIGINT": ("9223372036854775807", "9.2e18"),
    "DECIMAL(28, 10)": ("999999999999999999", "9.99e17"),
}
NOTED = {
    "NaN": ("NaN in a column of numbers", "read as a missing value"),
    "large": (
        "Whole numbers kept as floats",
        "above 2^53 a float holds every second number at most: their last digits are lost",
    ),
}
DAYS = "DATE '0001-01-01' AND DATE '9999-12-31'"
TIMES = "TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'"


@dataclass(frozen=True)
class _Reading:
    """How a raw column is read: its value, when that is bad, and what of it is worth a note."""

    name: str
    raw: str
    kind: str
    value: str
    bad: str | None = None  # None: its type rules that out
    expected: str = ""
    text: str = ""  # of a date that is written out
    notes: Mapping[str, str] | None = None  # a spelling, or one of NOTED: its condition

    @property
    def ranged(self) -> bool:
        """Whether a bad value is one beyond limits, which a file's own statistics may rule out."""
        return self.bad is not None and self.kind not in ("VARCHAR", *FLOATS) and not self.text


def typed_view(
    connection: duckdb.DuckDBPyConnection, label: str
) -> tuple[TableClause, tuple[Finding, ...]]:
    """Turn the view `raw` into the view `feed` with typed columns; describe that and its oddities.

    Raises DataError for missing columns, for the first value that cannot be read, and for dates
    with slashes of which none or contradicting ones tell whether days or months come first.
    """
    described = connection.execute("DESCRIBE raw").fetchall()
    types = {str(name): str(kind) for name, kind, *_ in described}
    names = match_columns(list(types), label)
    readings = [_reading(name, found, types[found]) for name, found in names.items()]
    counts = _counts(connection, readings)
    _refuse_bad_values(connection, readings, counts, label)
    day_first = _day_first(connection, readings, counts, label)
    if day_first:
        readings = [_reading(r.name, names[r.name], r.kind, day_first=True) for r in readings]
    others = [found for found in types if found not in names.values()]
    columns = [f"{reading.value} AS {quoted(reading.name)}" for reading in readings]
    columns += [
        f"CAST({quoted(n)} AS VARCHAR) AS {quoted(n)}" if is_best_as_text(types[n]) else quoted(n)
        for n in others
    ]
    connection.execute(f"CREATE VIEW feed AS SELECT {', '.join(columns)} FROM raw")  # noqa: S608
    feed = sa.table(
        "feed",
        *(sa.column(reading.name, _type(reading)) for reading in readings),
        *(sa.column(name, other_type(types[name])) for name in others),
    )
    return feed, tuple(_notes(connection, readings, counts, day_first=day_first))


def _type(reading: _Reading) -> sa.types.TypeEngine[Any]:
    if reading.value == reading.raw and (digits := _short(reading.kind)):
        return ShortDecimal(*digits)
    return type_of(reading.name)


def _short(kind: str) -> tuple[int, int] | None:
    """Return digits and scale of a decimal that 64 bits hold, and that is a price as it is."""
    digits, scale = map(int, re.findall(r"\d+", kind)) if kind[:7] == "DECIMAL" else (99, 99)
    return (digits, scale) if digits <= 18 and scale <= 10 else None


def quoted(name: str) -> str:
    """Quote an identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _reading(name: str, found: str, kind: str, *, day_first: bool = False) -> _Reading:
    raw = quoted(found)
    if name in TEXTS:
        return _Reading(name, raw, kind, _as_text(raw, kind))
    if name in MOMENTS:
        return _moment(name, raw, kind, day_first=day_first)
    target = "BIGINT" if name in WHOLE else "DECIMAL(28, 10)"
    expected = "a whole number" if name in WHOLE else "a number"
    bad: str | None
    if kind == "VARCHAR":
        value, bad = _number_of_text(raw, whole=name in WHOLE)
        return _Reading(name, raw, kind, value, bad, expected)
    digits, scale = map(int, re.findall(r"\d+", kind)) if kind[:7] == "DECIMAL" else (99, 0)
    if kind not in (*FLOATS, *INTEGERS) and digits == 99:
        return _Reading(name, raw, kind, f"NULL::{target}", f"{raw} IS NOT NULL", expected)
    number, notes = raw, {}
    if kind in FLOATS:
        notes["NaN"] = f"isnan({raw})"
    if kind == "FLOAT":
        # By its shortest spelling: 99.1, not the 99.0999984741 that single precision holds.
        number = f"CAST(CAST({raw} AS VARCHAR) AS DECIMAL(38, 10))"
    if kind == "DOUBLE" and name in WHOLE:
        notes["large"] = f"abs({raw}) > {2**53} AND NOT isnan({raw})"
    small = kind in SMALL_INTEGERS or (name in WHOLE and kind == "BIGINT")
    fits = small or digits - scale < 18 + (name in WHOLE or scale <= 10)
    fraction = f"{raw} <> trunc({raw})" if name in WHOLE and kind not in INTEGERS else "FALSE"
    value = f"CAST({number} AS {target})"
    if fits and name not in WHOLE and _short(kind):
        return _Reading(name, raw, kind, raw)
    if fits:
        bad = fraction if scale and name in WHOLE else None
        return _Reading(name, raw, kind, value, bad, expected, "", notes)
    # Not try_cast: DuckDB takes that never to be null where a file's statistics count no nulls.
    inside = f"{raw} BETWEEN -{LIMITS[target][kind in FLOATS]} AND {LIMITS[target][kind in FLOATS]}"
    there = f"NOT isnan({raw})" if kind in FLOATS else "TRUE"
    bad = f"({raw} IS NOT NULL AND {there} AND (NOT {inside} OR {fraction}))"
    # Nor is its word on the range of floats to be had: statistics leave NaN out.
    value = f"(CASE WHEN {there} AND {inside} THEN try_cast({number} AS {target}) END)"
    return _Reading(name, raw, kind, value, bad, expected, "", notes)


def _number_of_text(raw: str, *, whole: bool) -> tuple[str, str]:
    """Write the value of a number in text, and the condition that it is none."""
    text = f"nullif(trim({raw}, {literal(BLANKS)}), '')"
    number = shaped(text, NUMBER, f"try_cast({text} AS DECIMAL({38 if whole else 28}, 10))")
    if not whole:
        bad = f"({text} IS NOT NULL AND {number} IS NULL)"
        return number, _quick(text, PLAIN_PRICE, "FALSE", bad)
    value = f"try_cast({number} AS BIGINT)"
    bad = f"({text} IS NOT NULL AND ({value} IS NULL OR {number} <> trunc({number})))"
    quick = _quick(text, PLAIN_WHOLE, f"try_cast({text} AS BIGINT)", value)
    return quick, _quick(text, PLAIN_WHOLE, "FALSE", bad)


def _quick(text: str, pattern: str, value: str, otherwise: str) -> str:
    matches = f"regexp_full_match({text}, {literal(pattern)})"
    return f"(CASE WHEN {matches} THEN {value} ELSE {otherwise} END)"


def _moment(name: str, raw: str, kind: str, *, day_first: bool) -> _Reading:
    expected = "a date as 2026-01-31"
    if kind == "VARCHAR" or kind in ("DOUBLE", *INTEGERS) or kind[:7] == "DECIMAL":
        text = f"nullif(trim({_as_text(raw, kind)}, {literal(BLANKS)}), '')"
        value = moments.moment(text, day_first=day_first)
        spellings = SPELLINGS if kind == "VARCHAR" else ("serials", "digits")
        notes = {spelling: moments.told(text, spelling) for spelling in spellings}
        bad = f"({text} IS NOT NULL AND {value} IS NULL)"
        return _Reading(name, raw, kind, value, bad, expected, text, notes)
    if kind == "DATE":
        inside = f"{raw} BETWEEN {DAYS}"
        value, bad = f"(CASE WHEN {inside} THEN CAST({raw} AS TIMESTAMP) END)", f"NOT {inside}"
    elif kind.startswith("TIMESTAMP"):
        value = _as_plain_moment(raw, kind)
        bad = f"{value} NOT BETWEEN {TIMES}"
    else:
        value, bad = "NULL::TIMESTAMP", f"{raw} IS NOT NULL"
    return _Reading(name, raw, kind, value, bad, expected)


def _as_plain_moment(raw: str, kind: str) -> str:
    # Without the ICU extension only the epoch tells a zoned moment; it is UTC by definition.
    if kind == "TIMESTAMPTZ_NS":
        return f"make_timestamp(epoch_ns({raw}) // 1000)"
    if kind == "TIMESTAMP WITH TIME ZONE":
        return f"make_timestamp(epoch_us({raw}))"
    return raw if kind == "TIMESTAMP" else f"CAST({raw} AS TIMESTAMP)"


def _as_text(raw: str, kind: str) -> str:
    if kind == "VARCHAR":
        return raw
    if kind in FLOATS:
        # Excel keeps every number as a float: 912828 must not become "912828.0".
        return (
            f"CASE WHEN isnan({raw}) THEN NULL WHEN {raw} = trunc({raw}) AND abs({raw}) < 1e15 "
            f"THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"
        )
    return f"CAST({raw} AS VARCHAR)"


def _counts(
    connection: duckdb.DuckDBPyConnection, readings: Sequence[_Reading]
) -> dict[tuple[str, str], Any]:
    """Count, in one scan, what can only be known by looking at each value."""
    asked: dict[tuple[str, str], str] = {}
    for reading in readings:
        if reading.bad and not reading.ranged:
            asked[reading.name, "bad"] = f"count(*) FILTER ({reading.bad})"
        for note, condition in (reading.notes or {}).items():
            asked[reading.name, note] = f"count(*) FILTER ({condition})"
            if note in SPELLINGS:
                asked[reading.name, f"{note} example"] = f"min({reading.raw}) FILTER ({condition})"
        if "slashes" in (reading.notes or {}):
            for part in (1, 2):
                above = moments.part_above_12(reading.text, part)
                asked[reading.name, f"part {part}"] = f"count(*) FILTER ({above})"
    if not asked:
        return {}
    (found,) = connection.execute(f"SELECT {', '.join(asked.values())} FROM raw").fetchall()  # noqa: S608
    return dict(zip(asked, found, strict=True))


def _refuse_bad_values(
    connection: duckdb.DuckDBPyConnection,
    readings: Sequence[_Reading],
    counts: Mapping[tuple[str, str], Any],
    label: str,
) -> None:
    ranged = [reading.bad for reading in readings if reading.bad and reading.ranged]
    any_ranged = f"SELECT 1 FROM raw WHERE {' OR '.join(ranged)} LIMIT 1"  # noqa: S608
    beyond = bool(ranged) and connection.execute(any_ranged).fetchall() != []
    for reading in readings:
        suspected = beyond if reading.ranged else counts.get((reading.name, "bad"))
        if suspected and reading.bad:
            number, value, count = _first(connection, reading.raw, reading.bad)
            if number:
                raise DataError(
                    f"{label}: column {reading.name} holds {value!r} in row {number}, "
                    f"where {reading.expected} belongs"
                    + (f" ({count:,} such rows)." if count > 1 else "."),
                    "Rows are counted from 1, without the header. Correct the file and run again.",
                )


def _day_first(
    connection: duckdb.DuckDBPyConnection,
    readings: Sequence[_Reading],
    counts: Mapping[tuple[str, str], Any],
    label: str,
) -> bool | None:
    """Tell whether days come before months in dates with slashes; None where it does not matter.

    Raises DataError where nothing tells, or two dates contradict each other.
    """
    slashed = [reading for reading in readings if counts.get((reading.name, "slashes"))]
    proofs = []
    for part, order in ((1, "with the day first"), (2, "with the month first")):
        for reading in slashed:
            if counts[reading.name, f"part {part}"]:
                condition = moments.part_above_12(reading.text, part)
                number, value, _ = _first(connection, reading.raw, condition)
                proofs.append(
                    (part, f"column {reading.name} holds {value!r} in row {number}", order)
                )
                break
    way_out = "Write dates as 2026-01-31, or as dates of Excel, and run again."
    if len(proofs) > 1:
        both = " and ".join(f"{place}, {order}" for _, place, order in proofs)
        raise DataError(f"{label}: {both}.", way_out)
    if proofs:
        return proofs[0][0] == 1
    for reading in slashed:
        condition = moments.parts_differ(reading.text)
        number, value, count = _first(connection, reading.raw, condition)
        if number:
            raise DataError(
                f"{label}: column {reading.name} holds {value!r} in row {number}, and no date of "
                f"the file tells whether its day or its month comes first ({count:,} such rows).",
                way_out,
            )
    return None


def _notes(
    connection: duckdb.DuckDBPyConnection,
    readings: Sequence[_Reading],
    counts: Mapping[tuple[str, str], Any],
    *,
    day_first: bool | None,
) -> Iterator[Finding]:
    for reading in readings:
        for note in reading.notes or ():
            rows = counts[reading.name, note]
            if not rows:
                continue
            if note in NOTED:
                yield NOTED[note][0], rows, reading.name, NOTED[note][1]
                continue
            example = counts[reading.name, f"{note} example"]
            raw = f"(SELECT CAST(? AS {reading.kind}) AS {reading.raw})"
            query = f"SELECT {reading.text}, CAST({reading.value} AS VARCHAR) FROM {raw}"  # noqa: S608
            ((text, value),) = connection.execute(query, [example]).fetchall()
            spelling = SPELLINGS[note]
            meaning = spelling.meaning.format(ORDERS[day_first])
            shown = f"{text[:30]} \N{RIGHTWARDS ARROW} {value.removesuffix(' 00:00:00')}"
            yield spelling.finding, rows, shown, f"in {reading.name}: {meaning}"


def _first(connection: duckdb.DuckDBPyConnection, raw: str, condition: str) -> tuple[int, str, int]:
    """Find the first row that meets a condition: its number, its value, and how many do."""
    rows = connection.execute(
        f"SELECT number, value, count(*) OVER () FROM (SELECT row_number() OVER () AS number, "  # noqa: S608
        f"CAST({raw} AS VARCHAR) AS value, ({condition}) AS met FROM raw) "
        "WHERE met ORDER BY number LIMIT 1"
    ).fetchall()
    return next(((number, str(value)[:60], count) for number, value, count in rows), (0, "", 0))
