"""What a reader of a profile should know, most important first: one small rule for each kind."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.dialects import oracle, postgresql

from workbench.profiling.model import (
    SEVERITIES,
    Column,
    Figure,
    Finding,
    Relation,
    SchemaProfile,
    Table,
)  # fmt: skip

KEPT = 5  # findings of a kind that stand alone; the others are told together
NAMED = 8  # names in a list, before "and 12 more"
CONSTANT_ROWS = 10  # one value in fewer rows says nothing
TEXT_ROWS = 10  # fewer numbers or dates in text may be chance
TEXT_SHARE = 0.95  # of the values: what is left are typing slips and "n/a"
NEARLY = 0.9  # of the distinct values found in the other table: below, it is chance
INDEX_ROWS = 10_000  # an index of a smaller table costs nothing
FENCE = 3.0  # interquartile ranges beyond a quartile: the outer fences of Tukey, 1977
# The same in all the tables they are told of: told once, with the tables' names.
ALIKE = {
    "missing-primary-key", "missing-statistics", "stale-statistics", "empty-table",
    "empty-column", "constant-column", "unused-index", "redundant-index", "not-profiled",
}  # fmt: skip
# Names of identifiers: what they hold is neither text that should be a number nor a quantity.
ID = re.compile(
    r"(^|_)(id|ids|oid|key|pk|fk|code|no|nr|num|number|uuid|guid|cusip|isin|sedol|ticker|zip|"
    r"zipcode|postcode|phone|mobile|fax|account|iban|version|year)$"
)
# Names of days that are meant to lie ahead.
AHEAD = re.compile(
    r"(^|_)(plan|planned|expir\w*|exp|expected|valid|due|end|ends|ending|until|thru|through|to|"
    r"matur\w*|schedul\w*|next|target|forecast|estimat\w*|deadline|renew\w*|settle\w*|effective|"
    r"deliver\w*|call|redemption|future|eta|term|terminat\w*|valid_to)(_|$)"
)
# Names that mean another thing in every table.
GENERIC = set(
    "id name code type status state kind description comment comments note notes value date time "
    "title label text key number amount rank source category level flag owner".split()
)


def find(profile: SchemaProfile) -> tuple[Finding, ...]:
    """List what is odd about a schema: by severity, then by rows affected, then by name.

    Looks at nothing but the profile. Of a kind with many findings, those beyond the first are
    told as one. The rules and their thresholds are told in docs/profile.md.
    """
    found = [finding for rule in RULES for finding in rule(profile)]
    places = {kind: place for place, kind in enumerate(dict.fromkeys(f.kind for f in found))}

    def importance(finding: Finding) -> tuple[int, float, int, str, tuple[str, ...]]:
        rows = float(finding.rows.value) if finding.rows else 0.0
        serious = SEVERITIES.index(finding.severity)
        return serious, -rows, places[finding.kind], finding.table or "", finding.columns

    def kind(finding: Finding) -> tuple[int, int]:
        return SEVERITIES.index(finding.severity), places[finding.kind]

    kinds = groupby(sorted(sorted(found, key=importance), key=kind), kind)
    return tuple(sorted((f for _, group in kinds for f in _together(group)), key=importance))


def _together(group: Iterable[Finding]) -> list[Finding]:
    found = list(group)
    if len(found) <= KEPT:
        return found
    kept = 0 if found[0].kind in ALIKE else KEPT
    first, *_ = rest = found[kept:]
    where = listed([".".join((f.table or f.evidence, *f.columns[:1])) for f in rest])
    more = "more: " if kept else "alike: "
    return [*found[:kept], replace(
        first, table=None, columns=(), rows=None,
        evidence=f"{len(rest):,} {more}{where}. The first: {first.evidence}",
    )]  # fmt: skip


def _missing_primary_key(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        if table.kind != "table" or table.primary_key or not table.columns:
            continue
        keys = [key.columns for key in table.unique] or list(table.candidate_keys)
        step = "Ask what makes a row one of its kind before you join or count it."
        evidence = "No primary key is declared."
        if keys:
            by = "Declared unique" if table.unique else f"Unique {_seen(_any(table))}"
            evidence += f" {by}: {listed(['(' + ', '.join(key) + ')' for key in keys])}."
            step = f"Ask its owner whether ({', '.join(keys[0])}) is meant as the key."
        yield Finding("warning", "missing-primary-key", evidence, step, table.name)


def _undeclared_foreign_key(profile: SchemaProfile) -> Iterator[Finding]:
    for found in profile.relations:
        if not found.declared and float(found.matched.value) >= NEARLY:
            evidence = (
                f"{float(found.matched.value):.4g} of the distinct values are in "
                f"{found.to_table} ({', '.join(found.to_columns)}) ({found.matched.how})."
            ).replace("1 of the", "All of the", 1)
            step = f"Join on it, and ask for a foreign key to {found.to_table}."
            yield Finding(
                "info", "undeclared-foreign-key", evidence, step, found.table, found.columns
            )


def _orphan_rows(profile: SchemaProfile) -> Iterator[Finding]:
    for found in profile.relations:
        close = found.declared or float(found.matched.value) >= NEARLY
        if not close or not float(found.orphans.value):
            continue
        table = profile.table(found.table)
        evidence = (
            f"{counted(found.orphans, table)} have no match in {found.to_table} "
            f"({', '.join(found.to_columns)})"
            + (", though a foreign key is declared." if found.declared else ".")
        )
        yield Finding(
            "critical" if found.declared else "warning", "orphan-rows", evidence,
            f"An inner join loses them. Look at them: {_orphans(profile, found)}",
            found.table, found.columns, found.orphans,
        )  # fmt: skip


def _unenforced_foreign_key(profile: SchemaProfile) -> Iterator[Finding]:
    tested = {(found.table, found.columns) for found in profile.relations if found.declared}
    for table in profile.tables:
        for key in table.foreign_keys:
            if not key.enforced and (table.name, key.columns) not in tested:
                yield Finding(
                    "warning", "unenforced-foreign-key",
                    f"The foreign key to {key.to_table} is declared, but the database does not "
                    "vouch for the rows that are there.",
                    "Profile with depth 2, which counts rows without a match.",
                    table.name, key.columns,
                )  # fmt: skip


def _one_value(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        rows = _number(table.rows)
        constant = [c for c in table.columns if _is(c.distinct, 1) and _is(c.nulls, 0)]
        if constant and rows >= CONSTANT_ROWS:
            yield Finding(
                "info", "constant-column",
                f"The same value {_everywhere(constant[0].distinct, table)}: {_names(constant)}.",
                "Leave it out of comparisons: it tells no row from another.",
                table.name, tuple(c.name for c in constant),
            )  # fmt: skip
        empty = [
            c for c in table.columns
            if c.nulls and (_is(c.distinct, 0) or
                            (c.distinct is None and float(c.nulls.value) >= rows))
        ]  # fmt: skip
        if empty and rows:
            yield Finding(
                "info", "empty-column",
                f"No value {_everywhere(empty[0].nulls, table)}: {_names(empty)}.",
                "Ask whether it is still filled; do not build on it.",
                table.name, tuple(c.name for c in empty),
            )  # fmt: skip


def _empty_table(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        if table.rows and _is(table.rows, 0):
            sure = "It has no rows" if table.rows.how == "exact" else "It seems to have no rows"
            step = "Ask whether its load has failed or it is no longer used."
            yield Finding("info", "empty-table", f"{sure} ({table.rows.how}).", step, table.name)


def _duplicates(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        if table.duplicates and float(table.duplicates.value):
            yield Finding(
                "critical", "duplicated-rows",
                f"{counted(table.duplicates, table)} repeat another in every column.",
                f"Sums and counts are too high. Read it without them: "
                f"{_sql(profile, sa.select(_source(profile, table.name, table)).distinct())}",
                table.name, (), table.duplicates,
            )  # fmt: skip
        fan = table.fan_out
        if fan and float(fan.rows.value):
            same = [c for c in table.columns if c.name not in fan.columns and c.kind != "other"]
            source = _source(profile, table.name, table)
            keys = [source.c[column.name] for column in same]
            n = sa.func.count()
            groups = sa.select(*keys, n.label("n")).group_by(*keys).having(n > 1)
            yield Finding(
                "warning", "fan-out",
                f"{counted(fan.rows, table)} are equal to another in all columns but "
                f"{listed(list(fan.columns))}, as after a join that multiplied them.",
                f"Count things, not rows. Look at them: {_sql(profile, groups.limit(20))}",
                table.name, fan.columns, fan.rows,
            )  # fmt: skip


def _wrong_type(profile: SchemaProfile) -> Iterator[Finding]:
    for table, column in _columns(profile):
        values = _number(table.rows) - _number(column.nulls)
        kinds = (("numbers", column.numeric_text), ("dates", column.date_text))
        for what, found in kinds:
            rows = _number(found)
            number_like = what == "numbers" and (_is_id(column.name) or column.personal)
            if found and rows >= TEXT_ROWS and rows >= TEXT_SHARE * values and not number_like:
                yield Finding(
                    "warning", f"{what}-in-text",
                    f"{counted(found, table)} of type {column.type} hold {what}.",
                    f"As text it sorts wrongly and ranges mean nothing: cast it, and look first "
                    f"at the {values - rows:,.0f} values that are no {what}.",
                    table.name, (column.name,), found,
                )  # fmt: skip


def _future_dates(profile: SchemaProfile) -> Iterator[Finding]:
    for table, column in _columns(profile):
        found = column.future
        if not found or not float(found.value) or AHEAD.search(_words(column.name)):
            continue
        latest = f"; the latest is {column.max.value}" if column.max else ""
        source = _source(profile, table.name, table)
        later = source.c[column.name] > sa.func.current_timestamp()
        look = sa.select(source).where(later).order_by(source.c[column.name].desc()).limit(20)
        yield Finding(
            "warning", "future-dates",
            f"{counted(found, table)} lie after {found.as_of[:10]}, when they were read{latest}.",
            f"Ask whether it is a slip, a plan or a stand-in for \"never\": {_sql(profile, look)}",
            table.name, (column.name,), found,
        )  # fmt: skip


def _outliers(profile: SchemaProfile) -> Iterator[Finding]:
    for table, column in _columns(profile):
        keys = [table.primary_key, *table.unique, *table.foreign_keys]
        if _is_id(column.name) or any(key and column.name in key.columns for key in keys):
            continue
        source = _source(profile, table.name, table)
        at = source.c[column.name]
        for word, figure, fence in _beyond(column):
            where = at < _literal(fence) if word == "smallest" else at > _literal(fence)
            order = at if word == "smallest" else at.desc()
            look = sa.select(source).where(where).order_by(order).limit(20)
            yield Finding(
                "warning", "outliers",
                f"The {word} value is {figure.value}, far beyond {fence:.6g}, the outer fence of "
                f"the middle half of the values ({figure.how}).",
                f"Ask whether it is a slip before you average: {_sql(profile, look)}",
                table.name, (column.name,),
            )  # fmt: skip


def _beyond(column: Column) -> Iterator[tuple[str, Figure, float]]:
    """Yield "smallest" or "largest", the value and the fence that it lies beyond.

    Tukey, Exploratory Data Analysis (1977): 3 interquartile ranges outside of the quartiles. A
    skewed column (amounts of money) has values there by nature. So a value must also lie beyond
    the fences of the logarithms, where all are positive, and thrice as far outside of the 1st or
    99th percentile as that is from the median: a long tail leads to its end, a slip lies apart.
    """
    if column.kind not in ("integer", "decimal", "float") or not column.quantiles:
        return
    low, q1, middle, q3, high = (
        float(column.quantiles[at].value) if at in column.quantiles else math.nan
        for at in ("0.01", "0.25", "0.5", "0.75", "0.99")
    )
    if not q3 > q1 or not column.min or not column.max:
        return
    least, most = float(column.min.value), float(column.max.value)
    lower, upper = q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1)
    if least > 0:
        ratio = (q3 / q1) ** FENCE
        lower, upper = min(lower, q1 / ratio), max(upper, q3 * ratio)
    if least < lower and not least > low - FENCE * (middle - low):
        yield "smallest", column.min, lower
    if most > upper and not most < high + FENCE * (high - middle):
        yield "largest", column.max, upper


def _statistics(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        if table.kind == "view":
            continue
        gather = f"Ask for fresh statistics ({_gather(profile, table)})."
        if table.stale:
            evidence = f"The database holds its statistics of {table.analyzed} for outdated."
            yield Finding("info", "stale-statistics", evidence, gather, table.name)
        elif table.analyzed is None and not (table.rows and _is(table.rows, 0)):
            evidence = "No statistics were gathered, as far as the database tells."
            yield Finding("info", "missing-statistics", evidence, gather, table.name)


def _indexes(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        keys = {key.columns for key in (table.primary_key, *table.unique) if key}
        plain = [i for i in table.indexes if not i.unique and i.columns not in keys]
        for index in plain:
            longer = [
                other.name for other in table.indexes
                if None not in index.columns and other.name != index.name
                and other.columns[: len(index.columns)] == index.columns
                # Of two alike, one is told: the other one stays.
                and (other.unique or (len(other.columns), other.name) >
                     (len(index.columns), index.name))
            ]  # fmt: skip
            columns = tuple(column for column in index.columns if column)
            if longer:
                yield Finding(
                    "info", "redundant-index",
                    f"Index {index.name} ({', '.join(columns)}) is the beginning of {longer[0]}.",
                    "Ask whether it is needed: it costs time with every write.",
                    table.name, columns,
                )  # fmt: skip
            elif index.scans and _is(index.scans, 0) and _number(table.rows) >= INDEX_ROWS:
                yield Finding(
                    "info", "unused-index",
                    f"Index {index.name} was not used since the server's counters began "
                    f"({index.scans.how}, {index.scans.as_of[:10]}).",
                    "Look again after a month's end; then ask whether it is needed.",
                    table.name, columns,
                )  # fmt: skip


def _invalid(profile: SchemaProfile) -> Iterator[Finding]:
    tables = {table.name for table in profile.tables}
    for item in profile.invalid_objects:
        yield Finding(
            "critical", "invalid-object",
            f"The {item.kind} {item.name} is invalid: {item.reason}",
            "Tell its owner; what builds on it fails or is slow.",
            item.name if item.name in tables else None,
        )  # fmt: skip


def _inconsistent_types(profile: SchemaProfile) -> Iterator[Finding]:
    named = defaultdict[str, list[tuple[Table, Column]]](list)
    for table, column in _columns(profile):
        named[column.name.lower()].append((table, column))
    for name, places in sorted(named.items()):
        kinds = {column.kind for _, column in places}
        types = defaultdict[str, list[str]](list)
        for table, column in places:
            types[column.type.upper()].append(table.name)
        if len(types) == 1 or (name in GENERIC and len(kinds) == 1):
            continue
        told = "; ".join(f"{kind} in {listed(tables)}" for kind, tables in sorted(types.items()))
        yield Finding(
            "warning" if len(kinds) > 1 and name not in GENERIC else "info",
            "inconsistent-types",
            f"{places[0][1].name} is {told}.",
            "Cast explicitly where you join on it, or values that are equal may not match.",
            None, (places[0][1].name,),
        )  # fmt: skip


def _values(profile: SchemaProfile) -> Iterator[Finding]:
    for table, column in _columns(profile):
        at = table.name, (column.name,)
        for share in column.personal:
            if float(share.rows.value):
                yield Finding(
                    "warning", "personal-data",
                    f"{counted(share.rows, table)} look like {share.value}.",
                    "Leave it out of extracts and reports that do not need it.", *at, share.rows,
                )  # fmt: skip
        if column.blank and float(column.blank.value):
            yield Finding(
                "info", "blank-texts",
                f"{counted(column.blank, table)} hold blanks or an empty text, which are not null.",
                "Turn them to null, NULLIF(TRIM(...), ''), before you count or join.",
                *at, column.blank,
            )  # fmt: skip
        for word, found in (("NaN", column.nan), ("infinite", column.infinite)):
            if found and float(found.value):
                yield Finding(
                    "warning", "nan-values", f"{counted(found, table)} are {word}.",
                    "Leave them out: one of them makes every sum and mean like itself.",
                    *at, found,
                )  # fmt: skip


def _not_profiled(profile: SchemaProfile) -> Iterator[Finding]:
    for table in profile.tables:
        if table.problem:
            step = "Profile this table alone, with more time, when nobody holds it."
            yield Finding("warning", "not-profiled", table.problem, step, table.name)


RULES: tuple[Callable[[SchemaProfile], Iterator[Finding]], ...] = (
    _invalid, _duplicates, _orphan_rows, _not_profiled, _unenforced_foreign_key,
    _missing_primary_key, _wrong_type, _inconsistent_types, _future_dates, _outliers, _values,
    _undeclared_foreign_key, _empty_table, _one_value, _statistics, _indexes,
)  # fmt: skip


def counted(figure: Figure, table: Table) -> str:
    """Say how many of a table's rows it is: "12,031 of 20,000 rows (exact)"."""
    about = "" if figure.how == "exact" else "about "
    of = f" of {_number(table.rows):,.0f}" if table.rows else ""
    return f"{about}{float(figure.value):,.0f}{of} rows ({figure.how})"


def listed(names: list[str]) -> str:
    """Join names: "a, b and c", the first few of many."""
    if len(names) > NAMED + 1:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _columns(profile: SchemaProfile) -> Iterator[tuple[Table, Column]]:
    return ((table, column) for table in profile.tables for column in table.columns)


def _names(columns: list[Column]) -> str:
    return listed([column.name for column in columns])


def _number(figure: Figure | None) -> float:
    return float(figure.value) if figure else 0.0


def _is(figure: Figure | None, value: int) -> bool:
    return figure is not None and float(figure.value) == value


def _any(table: Table) -> Figure | None:
    return next((column.nulls for column in table.columns if column.nulls), table.rows)


def _seen(figure: Figure | None) -> str:
    """Say what was looked at: a sample proves nothing about the rest."""
    if figure is None or figure.how == "exact":
        return "in every row"
    return f"in the rows that were seen ({figure.how})"


def _everywhere(figure: Figure | None, table: Table) -> str:
    if figure and figure.how == "exact":
        return f"in all {_number(table.rows):,.0f} rows (exact)"
    return _seen(figure)


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _is_id(name: str) -> bool:
    return ID.search(_words(name)) is not None


def _literal(value: float) -> sa.ColumnElement[float]:
    return sa.literal_column(f"{value:.6g}")


def _source(profile: SchemaProfile, name: str, table: Table | None = None) -> sa.TableClause:
    columns = [sa.column(column.name) for column in (table.columns if table else ())]
    return sa.table(name, *columns, schema=profile.schema)


def _orphans(profile: SchemaProfile, found: Relation) -> str:
    keys = profile.table(found.table).foreign_keys
    elsewhere = {(key.columns, key.to_table): key.to_schema for key in keys}
    schema = elsewhere.get((found.columns, found.to_table)) or profile.schema
    child = sa.table(found.table, *map(sa.column, found.columns), schema=profile.schema).alias("c")
    parent = sa.table(found.to_table, *map(sa.column, found.to_columns), schema=schema).alias("p")
    pairs = [
        parent.c[theirs] == child.c[ours]
        for ours, theirs in zip(found.columns, found.to_columns, strict=True)
    ]
    missing = [
        *(child.c[name].is_not(None) for name in found.columns),
        ~sa.exists().where(*pairs).correlate(child),
    ]
    n = sa.func.count().label("n")
    keys_ = [child.c[name] for name in found.columns]
    return _sql(profile, sa.select(*keys_, n).where(*missing).group_by(*keys_).order_by(n.desc()))


def _sql(profile: SchemaProfile, statement: sa.Select[tuple[object, ...]]) -> str:
    chosen = oracle if "oracle" in profile.server.lower() else postgresql
    # With this style, a % in a name stays one.
    dialect = chosen.dialect(paramstyle="named")
    text = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return re.sub(r" *\n *", " ", text)


def _gather(profile: SchemaProfile, table: Table) -> str:
    if "oracle" in profile.server.lower():
        return "DBMS_STATS.GATHER_TABLE_STATS"
    preparer = postgresql.dialect(paramstyle="named").identifier_preparer
    return f"ANALYZE {preparer.format_table(_source(profile, table.name))}"
