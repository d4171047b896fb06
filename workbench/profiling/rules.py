"""What may be odd about a schema: one small rule for each kind of finding."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from workbench.profiling import looks, model
from workbench.profiling.contents import is_comparable
from workbench.profiling.model import NUMBERS, Column, Figure, SchemaProfile, Table
from workbench.profiling.names import AHEAD, GENERIC, IDENTIFIER, words

NAMED = 8  # names in a list, before "and 12 more"
FEW = 10  # rows: that fewer of them are alike may be chance
TEXT_SHARE = 0.95  # of the values; the others are slips and "n/a"
NEARLY = 0.9  # of the distinct values found in the other table; fewer are chance
INDEX_ROWS = 10_000  # an index of a smaller table costs next to nothing
FENCE = 3.0  # interquartile ranges beyond a quartile: Tukey's outer fences
# What to do where a table was not profiled, by what its problem says.
STEPS = {
    r"\block": "Profile it again when nobody holds it.",
    r"(?i)permission|privilege|ORA-00942": "Ask its owner for the right to read it.",
    r"populated": "Ask its owner to refresh it.",
    r"not (finished|reached)": "Profile this table alone, with more time.",
}


class Seen(NamedTuple):
    """What a rule saw: where, in words, how many rows, and SQL that shows or mends it."""

    table: str | None
    columns: tuple[str, ...]
    evidence: str
    rows: Figure | None = None
    query: str | None = None
    severity: model.Severity | None = None
    next_step: str | None = None


class Rule(NamedTuple):
    """How a kind of finding is found, how serious it is, and what to do about it.

    Many that are `alike` are told as one; of others, the first few stand alone.
    """

    kind: str
    severity: model.Severity
    seek: Callable[[SchemaProfile], Iterator[Seen]]
    next_step: str
    alike: bool = False


def _invalid(profile: SchemaProfile) -> Iterator[Seen]:
    for item in profile.invalid_objects:
        table = item.name if any(item.name == table.name for table in profile.tables) else None
        yield Seen(table, (), f"The {item.kind} {item.name} is invalid: {item.reason}")


def _duplicates(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        # With a key they differ in it, though it may be of a kind that is not compared.
        if not table.primary_key:
            left = [column.name for column in table.columns if not is_comparable(column)]
            words = f"repeat another one in every column{' but ' * bool(left)}{listed(left)}."
            alike = [column.name for column in table.columns if column.kind != "other"]
            query = looks.once(profile, table.name, alike if left else ())
            severity: model.Severity = "warning" if left else "critical"
            yield from _counted(table, (), table.duplicates, words, query, severity)


def _fan_out(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if fan := table.fan_out:
            same = [
                column.name for column in table.columns
                if column.name not in fan.columns and is_comparable(column)
                and number(column.distinct) < table.count
            ]  # fmt: skip
            words = (
                f"are equal to another one in all columns but {listed(fan.columns)}, as after a "
                "join that multiplied them."
            )
            query = looks.repeated(profile, table.name, same)
            yield from _counted(table, fan.columns, fan.rows, words, query)


def _orphans(profile: SchemaProfile) -> Iterator[Seen]:
    for found in profile.relations:
        if found.declared or float(found.matched.value) >= NEARLY:
            words = f"have no match in {found.to_table} ({', '.join(found.to_columns)})"
            words += ", although a foreign key is declared." if found.declared else "."
            table, query = profile.table(found.table), looks.orphans(profile, found)
            severity: model.Severity = "critical" if found.declared else "warning"
            yield from _counted(table, found.columns, found.orphans, words, query, severity)


def _not_profiled(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if table.problem:
            steps = (step for cause, step in STEPS.items() if re.search(cause, table.problem))
            yield Seen(table.name, (), table.problem, next_step=next(steps, None))


def _not_enforced(profile: SchemaProfile) -> Iterator[Seen]:
    tested = {(found.table, found.columns) for found in profile.relations if found.declared}
    for table in profile.tables:
        for key in table.foreign_keys:
            if not key.enforced and (table.name, key.columns) not in tested:
                words = f"A foreign key to {key.to_table} is declared, but not vouched for."
                yield Seen(table.name, key.columns, words)


def _missing_primary_key(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if table.kind == "table" and table.columns and not table.primary_key:
            declared = [key.columns for key in table.unique]
            keys = listed([f"({', '.join(key)})" for key in declared or table.candidate_keys])
            sample = next((column.nulls for column in table.columns if column.nulls), None)
            how = "declared" if declared else _everywhere(sample, table)
            yield Seen(
                table.name, (), f"No primary key{f'; unique {how}: {keys}' if keys else ''}."
            )


def _numbers_in_text(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        if not identifies(table, column) and not column.personal:
            yield from _in_text(table, column, column.numeric_text, "numbers")


def _dates_in_text(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        yield from _in_text(table, column, column.date_text, "dates")


def _in_text(table: Table, column: Column, found: Figure | None, what: str) -> Iterator[Seen]:
    values = table.count - number(column.nulls)
    # A code of one digit sorts as it should.
    if number(found) >= max(FEW, TEXT_SHARE * values) and not _is(column.max_length, 1):
        others = values - number(found)
        words = f"hold {what} in {column.type}" + (
            f"; {others:,.0f} hold other texts." if others >= 1 else "."
        )
        yield from _counted(table, (column.name,), found, words)


def _inconsistent_types(profile: SchemaProfile) -> Iterator[Seen]:
    named = defaultdict[str, list[tuple[Table, Column]]](list)
    for table, column in _columns(profile):
        named[column.name.lower()].append((table, column))
    for name, places in named.items():
        types = defaultdict[str, list[str]](list)
        for table, column in places:
            types[column.type.lower()].append(table.name)
        several = len({column.kind for _, column in places}) > 1
        if len(types) > 1 and (several or name not in GENERIC):
            told = "; ".join(f"{kind} in {listed(where)}" for kind, where in sorted(types.items()))
            warns = several and name not in GENERIC
            evidence = f"{places[0][1].name} is {told}."
            yield Seen(
                None, (places[0][1].name,), evidence, severity="warning" if warns else "info"
            )


def _future_dates(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        if column.future and not AHEAD.search(words(column.name)):
            latest = f"; the latest is {column.max.value}" if column.max else ""
            said = f"lie after {column.future.as_of[:10]}, when they were read{latest}."
            query = looks.beyond(profile, table.name, column.name, "CURRENT_TIMESTAMP", above=True)
            yield from _counted(table, (column.name,), column.future, said, query)


def _outliers(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        if identifies(table, column):
            continue
        for word, figure, fence in _beyond(column):
            # Rounded, it could lie beyond the value.
            limit, above = repr(fence), word == "largest"
            words = f"The {word} value, {figure.value}, lies far beyond the others "
            query = looks.beyond(profile, table.name, column.name, limit, above=above)
            words += f"({figure.how}): the fence is {fence:.12g}."
            yield Seen(table.name, (column.name,), words, query=query)


def _beyond(column: Column) -> Iterator[tuple[str, Figure, float]]:
    """Yield "smallest" or "largest", the value and the fence that it lies beyond.

    Tukey, "Exploratory Data Analysis" (1977): far out is what lies 3 interquartile ranges outside
    of the quartiles. A skewed column (amounts of money) has values there by nature: so it must
    also be outside of the 1st or 99th percentile by three times the way from there to the median,
    and all this by the logarithms too, where the quartiles have them. A long tail leads to its
    end, a slip lies apart. Nothing is told where half of the values are the same.
    """
    known = column.quantiles or {}
    names = [name for name in ("0.01", "0.25", "0.5", "0.75", "0.99") if name in known]
    least, most = column.min, column.max
    if column.kind not in NUMBERS or len(names) < 5 or not least or not most:
        return
    points = [float(known[name].value) for name in names]
    _, q1, _, q3, _ = points
    lower, upper = _fences(*points)
    if q1 > 0:
        logs = _fences(*(math.log(point) if point > 0 else -math.inf for point in points))
        lower, upper = min(lower, math.exp(logs[0])), max(upper, math.exp(min(logs[1], 700)))
    if q1 < q3 and float(least.value) < lower:
        yield "smallest", least, lower
    if q1 < q3 and float(most.value) > upper:
        yield "largest", most, upper


def _fences(low: float, q1: float, middle: float, q3: float, high: float) -> tuple[float, float]:
    return (
        min(q1 - FENCE * (q3 - q1), low - FENCE * (middle - low)),
        max(q3 + FENCE * (q3 - q1), high + FENCE * (high - middle)),
    )


def _personal(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        for share in column.personal:
            yield from _counted(table, (column.name,), share.rows, f"look like {share.value}.")


def _not_numbers(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        yield from _counted(table, (column.name,), column.nan, "are NaN.")
        yield from _counted(table, (column.name,), column.infinite, "are infinite.")


def _blanks(profile: SchemaProfile) -> Iterator[Seen]:
    for table, column in _columns(profile):
        words = "hold blanks or an empty text, which is not null."
        yield from _counted(table, (column.name,), column.blank, words)


def _undeclared_foreign_key(profile: SchemaProfile) -> Iterator[Seen]:
    for found in profile.relations:
        matched = float(found.matched.value)
        if not found.declared and matched >= NEARLY:
            # Cut off: what is nearly all is not all.
            share = f"{math.floor(matched * 10_000) / 100:g} % of the distinct values are in "
            where = f"{found.to_table} ({', '.join(found.to_columns)}) ({found.matched.how})."
            yield Seen(found.table, found.columns, share + where)


def _untested_keys(profile: SchemaProfile) -> Iterator[Seen]:
    if profile.untested:
        told = f"{profile.untested.number:,.0f}"
        yield Seen(None, (), f"Likely foreign keys that could not be tested: {told}.")


def _empty_table(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if table.rows and _is(table.rows, 0):
            seems = "It has" if table.rows.how == "exact" else "It seems to have"
            yield Seen(table.name, (), f"{seems} no rows ({table.rows.how}).")


def _empty_column(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        rows = table.count
        empty = [
            column for column in table.columns
            if rows and column.nulls and _is(column.distinct or column.nulls,
                                             0 if column.distinct else rows)
        ]  # fmt: skip
        yield from _columns_seen(table, empty, "No value")


def _constant_column(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        constant = [c for c in table.columns if _is(c.distinct, 1) and _is(c.nulls, 0)]
        if table.count >= FEW:
            yield from _columns_seen(table, constant, "One value")


def _columns_seen(table: Table, columns: Sequence[Column], what: str) -> Iterator[Seen]:
    if columns:
        names = tuple(column.name for column in columns)
        where = _everywhere(columns[0].nulls, table)
        yield Seen(table.name, names, f"{what} {where}: {listed(names)}.")


def _stale(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if table.stale and table.analyzed:
            words = f"The database holds its statistics of {table.analyzed[:10]} for outdated."
            yield Seen(table.name, (), words, query=looks.gather(profile, table.name))


def _missing_statistics(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        if table.kind != "view" and not table.analyzed and not _is(table.rows, 0):
            words = "Statistics were never gathered, as far as the database tells."
            yield Seen(table.name, (), words, query=looks.gather(profile, table.name))


def _unused_index(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        keys = {key.columns for key in (table.primary_key, *table.unique) if key}
        for index in table.indexes:
            needed = index.unique or index.columns in keys or table.count < INDEX_ROWS
            if index.scans and _is(index.scans, 0) and not needed:
                words = f"Index {index.name} was not used once since the server's counters began."
                yield Seen(table.name, tuple(filter(None, index.columns)), words)


def _redundant_index(profile: SchemaProfile) -> Iterator[Seen]:
    for table in profile.tables:
        for index in table.indexes:
            columns = tuple(filter(None, index.columns))
            longer = [
                other.name for other in table.indexes
                if other is not index and other.columns[: len(columns)] == index.columns
                # Of two alike only one is told.
                and (other.columns != index.columns or other.unique or other.name < index.name)
            ]  # fmt: skip
            if longer and not index.unique:
                words = f"Index {index.name} is the beginning of index {longer[0]}."
                yield Seen(table.name, columns, words)


RULES = (
    Rule("invalid-object", "critical", _invalid,
         "Tell its owner: what builds on it fails, or is slow."),
    Rule("duplicated-rows", "critical", _duplicates,
         "Sums and counts are too high; read it without them."),
    Rule("orphan-rows", "critical", _orphans, "An inner join loses them; see which."),
    Rule("not-profiled", "warning", _not_profiled,
         "The reason is the database's own: ask the table's owner.", alike=True),
    Rule("unenforced-foreign-key", "warning", _not_enforced,
         "Profile with depth 2: it counts the rows without a match.", alike=True),
    Rule("missing-primary-key", "warning", _missing_primary_key,
         "Ask what makes a row one of its kind before you join it or count.", alike=True),
    Rule("fan-out", "warning", _fan_out, "Count things, not rows; see which."),
    Rule("numbers-in-text", "warning", _numbers_in_text,
         "Cast it before you add up or compare, and see what the other texts mean."),
    Rule("dates-in-text", "warning", _dates_in_text,
         "Cast it before you sort or compare; ask which of day and month comes first."),
    Rule("inconsistent-types", "warning", _inconsistent_types,
         "Cast where you join on it: what is equal may not match otherwise."),
    Rule("future-dates", "warning", _future_dates,
         "Ask whether they are slips, plans or stand-ins for \"never\"."),
    Rule("outliers", "warning", _outliers, "Ask whether it is a slip before you average."),
    Rule("personal-data", "warning", _personal,
         "Leave it out of extracts and reports that do not need it."),
    Rule("nan-values", "warning", _not_numbers,
         "Leave them out: one of them spoils every sum and mean."),
    Rule("blank-texts", "info", _blanks, "Make them null before you count or join."),
    Rule("undeclared-foreign-key", "info", _undeclared_foreign_key,
         "Join on it, and ask whether it is meant as a foreign key."),
    Rule("untested-keys", "info", _untested_keys,
         "Profile fewer tables at once, with more time, or by an account that may read them."),
    Rule("empty-table", "info", _empty_table,
         "Ask whether its load has failed, or nobody uses it any more.", alike=True),
    Rule("empty-column", "info", _empty_column, "Ask whether it is still filled.", alike=True),
    Rule("constant-column", "info", _constant_column,
         "It tells no row from another: leave it out of comparisons.", alike=True),
    Rule("stale-statistics", "info", _stale, "Ask for fresh ones.", alike=True),
    Rule("missing-statistics", "info", _missing_statistics, "Ask for them.", alike=True),
    Rule("unused-index", "info", _unused_index,
         "Look again after the end of a month, then ask whether it is needed.", alike=True),
    Rule("redundant-index", "info", _redundant_index,
         "Ask whether it is needed: every write costs more for it.", alike=True),
)  # fmt: skip


def _counted(
    table: Table, columns: tuple[str, ...], figure: Figure | None, words: str,
    query: str | None = None,
    severity: model.Severity | None = None,
) -> Iterator[Seen]:  # fmt: skip
    """Yield "12,031 of 20,000 rows (exact) ..." where the figure is above 0."""
    if figure and number(figure):
        at_least = figure.how.startswith("seen")
        about = "" if figure.how == "exact" else "at least " if at_least else "about "
        of = f" of {table.count:,}" if table.rows else ""
        said = f"{about}{number(figure):,.0f}{of} rows ({figure.how}) {words}"
        yield Seen(table.name, columns, said, figure, query, severity)


def listed(names: Sequence[str]) -> str:
    """Join names: "a, b and c", or the first of many."""
    if len(names) > NAMED + 1:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _everywhere(figure: Figure | None, table: Table) -> str:
    """Say where something holds: a sample proves nothing of the rows that were not seen."""
    if figure and figure.how != "exact":
        return f"in the rows that were looked at ({figure.how})"
    return f"in all {table.count:,} rows (exact)"


def _columns(profile: SchemaProfile) -> Iterator[tuple[Table, Column]]:
    return ((table, column) for table in profile.tables for column in table.columns)


def number(figure: Figure | None) -> float:
    """Give a figure's value; 0 where there is none."""
    return figure.number if figure else 0.0


def _is(figure: Figure | None, value: float) -> bool:
    return figure is not None and figure.number == value


def identifies(table: Table, column: Column) -> bool:
    """Tell keys and identifiers, by declaration or name, from quantities."""
    keys = [table.primary_key, *table.unique, *table.foreign_keys]
    declared = any(key and column.name in key.columns for key in keys)
    return declared or IDENTIFIER.search(words(column.name)) is not None
