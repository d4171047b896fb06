"""Forms of texts as regular expressions: made of a profile's masks, and tried on the values.

A mask tells neither small from capital letters nor whose alphabet they are of. So nothing is
promised of a form before the table itself was asked how many of its values have another one.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import sqlalchemy as sa

from workbench.cusips import is_cusip
from workbench.database import Database
from workbench.profiling import sampling
from workbench.profiling.contents import CUT
from workbench.profiling.model import Column, Figure, Table
from workbench.profiling.names import words
from workbench.profiling.rules import number
from workbench.promises import FEW, Trial, is_plain, is_sensitive

SHAPED = 0.95  # of the values; the others are slips
SLIPS = 0.01  # of the values may lack a form for its being tight
CLASSES = ("0-9", "0-9A-Z", "0-9a-z", "0-9A-Za-z")  # the tightest first
CUSIP = re.compile(r"(^|_)cusips?$")
LONGEST = 255  # characters: PostgreSQL's regular expressions repeat nothing more often
AT_ONCE = 100  # expressions in a statement


def tried(database: Database, schema: str, table: Table) -> dict[str, list[Trial]]:
    """Try the forms that a table's masks suggest on its values, and CUSIPs' check digits.

    Reads what the profile read: the whole table, or a sample of a large one. Raises what
    `Database.read` raises.
    """
    scope = sampling.scope(table, schema, database.engine.dialect, None, sampling.ROW_BUDGET)
    as_of = max((c.nulls.as_of for c in table.columns if c.nulls), default="")
    pairs: list[tuple[str, str | None]] = []
    for column in table.columns:
        if forms := regexes(table, column):
            check = [None] if CUSIP.search(words(column.name)) else []
            pairs += [(column.name, form) for form in (*forms, *check)]
    found: dict[str, list[Trial]] = {}
    for start in range(0, len(pairs), AT_ONCE):
        part = pairs[start : start + AT_ONCE]
        counts: list[Any] = []
        for name, regex in part:
            text = sa.type_coerce(scope.clause.c[name], sa.String)
            fits = text.regexp_match(regex) if regex else is_cusip(text)
            counts += [sa.func.count(text), sa.func.count(sa.case((fits, 1)))]
        labelled = [count.label(f"n{place}") for place, count in enumerate(counts)]
        row = database.read(sa.select(*labelled).select_from(scope.clause)).row(0)
        for (name, regex), values, fitting in zip(part, row[::2], row[1::2], strict=True):
            misfits = Figure(int(values) - int(fitting), scope.how, as_of)
            found.setdefault(name, []).append(Trial(int(values), misfits, regex))
    return {name: _kept([t for t in trials if t.values]) for name, trials in found.items()}


def _kept(trials: list[Trial]) -> list[Trial]:
    """Choose the tightest form that few more values lack than a looser one, and the check."""
    kept = [trial for trial in trials if trial.misfits.number <= (1 - SHAPED) * trial.values]
    forms = [trial for trial in kept if trial.regex]
    fewest = min((trial.misfits.number for trial in forms), default=0)
    tight = [form for form in forms if form.misfits.number <= fewest + SLIPS * form.values]
    return [*tight[:1], *(trial for trial in kept if not trial.regex)]


def regexes(table: Table, column: Column) -> list[str]:
    """Make regular expressions of the form that nearly all of a column's values have."""
    values = table.count - number(column.nulls)
    if values < FEW or not is_plain(column) or is_sensitive(column):
        return []
    if number(column.max_length) > LONGEST:
        return []
    counts = Counter[str]()
    for mask in column.masks:
        if len(mask.value) < CUT and mask.value.isascii() and mask.value.isprintable():
            counts[pattern(mask.value)] += round(mask.rows.number)
    most = counts.most_common(1)
    common = [form for form, count in most if count >= SHAPED * values]
    return [form.replace("0-9", letters) for form in common for letters in CLASSES]


def pattern(mask: str) -> str:
    """Write a mask as a regular expression that every engine reads alike.

    Letters and digits side by side are one run of either: codes differ in where they have which.
    """
    expanded = re.sub(r"[A9]\{(\d+)\}", lambda run: "9" * int(run[1]), mask)
    escaped = re.sub(r"([][.^$*+?(){}|\\])", r"\\\1", expanded)
    form = re.sub(r"[A9]+", lambda run: f"[0-9]{{{len(run[0])}}}", escaped)
    return f"^{form.replace('{1}', '')}$"
