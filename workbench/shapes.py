"""Forms of texts as regular expressions: made of a profile's masks, and tried on the values.

A mask tells neither small from capital letters nor whose alphabet they are of. So nothing is
promised of a form before the table itself was asked how many of its values have another one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

import sqlalchemy as sa

from workbench.database import Database
from workbench.profiling import sampling
from workbench.profiling.contents import CUT
from workbench.profiling.model import Column, Figure, Table
from workbench.profiling.names import words
from workbench.profiling.rules import number
from workbench.promises import FEW, Trial, is_plain, is_sensitive

SHAPED = 0.95  # of the values; the others are slips
SLIPS = 0.01  # of the values may lack a form for its being tight
NUMERIC = "^[+-]?[0-9]*([.,][0-9]+)*$"
LETTERS = ("A-Z", "a-z", "A-Za-z")  # the tightest first
TOKEN = re.compile(r"([A9])(?:\{(\d+)\})?|(.)", re.DOTALL)
CUSIP = re.compile(r"(^|_)cusips?$")
CUSIPS = 200_000  # distinct ones that are looked at
WORTH = {c: n for n, c in enumerate(string.digits + string.ascii_uppercase + "*@#")}
AT_ONCE = 100  # expressions in a statement


def tried(database: Database, schema: str, table: Table) -> dict[str, tuple[Trial, ...]]:
    """Try the forms that a table's masks suggest on its values, and CUSIPs' check digits.

    Reads what the profile read: the whole table, or a sample of a large one. Raises what
    `Database.read` raises.
    """
    scope = sampling.scope(table, schema, database.engine.dialect, None, sampling.ROW_BUDGET)
    wanted = {column.name: regexes(table, column) for column in table.columns}
    pairs = [(name, regex) for name, found in wanted.items() for regex in found]
    as_of = max((c.nulls.as_of for c in table.columns if c.nulls), default="")
    found: dict[str, list[Trial]] = {}
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        counts: list[Any] = []
        for place, (name, regex) in enumerate(part):
            column = scope.clause.c[name]
            fits = sa.case((sa.type_coerce(column, sa.String).regexp_match(regex), 1))
            counts += [
                sa.func.count(column).label(f"n{place}"),
                sa.func.count(fits).label(f"f{place}"),
            ]
        row = database.read(sa.select(*counts).select_from(scope.clause)).row(0, named=True)
        for place, (name, regex) in enumerate(part):
            values, fitting = int(row[f"n{place}"]), int(row[f"f{place}"])
            misfits = Figure(values - fitting, scope.how, as_of)
            found.setdefault(name, []).append(Trial(values, misfits, regex))
    kept = {name: _best(trials) for name, trials in found.items()}
    for each in table.columns:
        if CUSIP.search(words(each.name)) and kept.get(each.name):
            kept[each.name] += _cusips(database, scope, each, as_of)
    return kept


def _best(trials: list[Trial]) -> tuple[Trial, ...]:
    """Choose the tightest form that few more values lack than a looser one."""
    most = (1 - SHAPED) * trials[0].values
    fewest = min(trial.misfits.number for trial in trials)
    limit = min(fewest + SLIPS * trials[0].values, most)
    fitting = [trial for trial in trials if trial.values and trial.misfits.number <= limit]
    return tuple(fitting[:1])


def regexes(table: Table, column: Column) -> list[str]:
    """Make regular expressions of the form that nearly all of a column's values have."""
    values = table.count - number(column.nulls)
    if values < FEW or not is_plain(column) or is_sensitive(column):
        return []
    said = [(mask.value, mask.rows.number) for mask in column.masks if len(mask.value) < CUT]
    tight = [(pattern(m), rows) for m, rows in said if m.isascii() and m.isprintable()]
    # Some codes are digits alone where others have letters.
    loose = [(re.sub(r"\[(0-9|A-Z)\]", "[0-9A-Z]", form), rows) for form, rows in tight]
    for forms in (tight, loose):
        counts = Counter[str]()
        for form, rows in forms:
            counts[form] += round(rows)
        for form, count in counts.most_common(1):
            if count >= SHAPED * values:
                return list(dict.fromkeys(form.replace("A-Z", letters) for letters in LETTERS))
    return [NUMERIC] if number(column.numeric_text) >= SHAPED * values else []


def pattern(mask: str) -> str:
    """Write a mask as a regular expression that every engine reads alike.

    Letters and digits side by side are one run of either: codes differ in where they have which.
    """
    runs: list[tuple[str, int]] = []  # what it is made of, and how many
    for kind, times, literal in TOKEN.findall(mask):
        count = int(times or 1)
        if literal:
            runs.append((re.sub(r"([][.^$*+?(){}|\\])", r"\\\1", literal), 0))
        elif runs and runs[-1][1]:
            kinds, before = runs[-1]
            runs[-1] = ("".join(sorted({*kinds, kind})), before + count)
        else:
            runs.append((kind, count))
    classes = {"9": "[0-9]", "A": "[A-Z]", "9A": "[0-9A-Z]"}
    parts = [
        (classes[kind] + (f"{{{count}}}" if count > 1 else "")) if count else kind
        for kind, count in runs
    ]
    return f"^{''.join(parts)}$"


def _cusips(
    database: Database, scope: sampling.Scope, column: Column, as_of: str
) -> tuple[Trial, ...]:
    """Count the values that are no CUSIP with its check digit; none where there are too many."""
    value = sa.type_coerce(scope.clause.c[column.name], sa.String)
    groups = sa.select(value.label("value"), sa.func.count().label("n")).group_by(value)
    frame = database.read(groups.where(value.is_not(None)).limit(CUSIPS + 1))
    if not 0 < frame.height <= CUSIPS:
        return ()
    values = int(frame["n"].sum())
    wrong = sum(int(n) for text, n in frame.iter_rows() if not has_cusip_check(text))
    return _best([Trial(values, Figure(wrong, scope.how, as_of))])


def has_cusip_check(text: str) -> bool:
    """Tell a CUSIP whose ninth character is its check digit (ANSI X9.6, double add double)."""
    if len(text) != 9 or not set(text) <= WORTH.keys() or text[8] not in string.digits:
        return False
    worths = [WORTH[c] * (1 + place % 2) for place, c in enumerate(text[:8])]
    return (sum(w // 10 + w % 10 for w in worths) + int(text[8])) % 10 == 0
