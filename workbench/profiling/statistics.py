"""A table's figures, by one statement: the kinds of its columns decide what is computed.

Of a sample, counts are those of the table: the sample's, scaled by its share and rounded. Smallest,
largest, means and quantiles are the sample's own. The number of distinct values is the Duj1
estimator of Haas and Stokes ("Estimating the number of classes in a finite population", 1998), as
PostgreSQL's ANALYZE uses it: n·d / (n - f1 + f1·n/N), where d of n values read are distinct, f1 of
them appear once, and N is the number of values in the table. It trusts that rows with one value are
spread over the blocks; where they lie together, it says too few.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import oracle
from sqlalchemy.dialects.postgresql import ARRAY, array

from workbench.connections import why
from workbench.dialects import BLANKS
from workbench.profiling import dictionary
from workbench.profiling.model import NUMBERS, QUANTILES, Column, Figure, Kind, Table, Value
from workbench.profiling.sampling import Scope

Expression = sa.ColumnElement[Any]
CUT = 200  # characters of the smallest and the largest text
# Cancelled, past a limit of the session, waited for a lock, or not allowed.
STOPPED = {"57014", "ORA-01013", "DPY-4024", *dictionary.UNSEEN}
RANKS = ("min", *map(str, QUANTILES), "max")
INTEGERS = ("smallint", "integer", "bigint")
DAYS: tuple[Kind, ...] = ("date", "datetime")
Parts = Mapping[str, Expression]
count = sa.func.count
literal = sa.literal_column


def measure(
    connection: sa.Connection, schema: str, table: Table, scope: Scope, as_of: str
) -> Table:
    """Fill in a table's figures by one statement, or more where it has too many columns for one.

    Where the database cannot compute those of a column, its nulls alone are counted; where time
    ends before the last statement, what the others told is kept. `problem` says so. Raises
    SQLAlchemy's DBAPIError for a table that cannot be read.
    """
    dialect = DIALECTS[connection.dialect.name]()
    columns = [c for c in table.columns if c.type.upper() not in dialect.unreadable]
    source, values = _source(columns, scope, dialect)
    wanted: list[Parts] = [
        {"count": count(value), **_parts(column, value, dialect, source if scope.percent else None)}
        for column, value in zip(columns, values, strict=True)
    ] or [{"count": count(literal("*"))}]

    def ask(parts: Sequence[Parts]) -> list[dict[str, Any]]:
        asked = [expression for each in parts for expression in dialect.packed(each)]
        statement: Any = sa.select(count(literal("*")), *asked).select_from(source)
        binds = {"as_of": as_of, "blanks": BLANKS}
        left = iter(connection.execute(dialect.tuned(statement, parts), binds).one())
        rows = next(left)
        return [{"rows": rows, **dialect.unpacked(each, left)} for each in parts]

    told, problem, failed = list[dict[str, Any]](), table.problem, list[str]()
    try:
        for part in _portions(wanted, dialect):
            for found, error in _answers(connection, ask, part):
                if error:
                    failed.append(columns[len(told)].name)
                    named = ", ".join(failed[:3]) + ("" if len(failed) < 4 else ", …")
                    problem = f"Only rows and nulls could be counted of {named}: {why(error)}."
                told += found
    except exc.DBAPIError as error:
        if not told or error.connection_invalidated:
            raise
        connection.rollback()
        problem = f"Only {len(told)} of its {len(columns)} columns were measured: {why(error)}."
    read = int(told[0]["rows"])
    if not read and scope.percent:
        said = f"No rows were in the sample of {scope.percent:g} %: it has none, or very few."
        return replace(table, problem=said)
    rows = read * scope.factor
    if scope.percent and table.stale is False and table.count >= read:
        rows = table.count  # nearer the truth than the share of the blocks, which are not alike
    filled = {
        column.name: _filled(column, each, scope, rows / max(read, 1), as_of, dialect)
        for column, each in zip(columns, told, strict=False)
    }
    return replace(
        table,
        rows=Figure(round(rows), scope.how, as_of),
        columns=tuple(filled.get(column.name, column) for column in table.columns),
        problem=problem,
    )


def _answers(
    connection: sa.Connection,
    ask: Callable[[Sequence[Parts]], list[dict[str, Any]]],
    parts: Sequence[Parts],
) -> Iterator[tuple[list[dict[str, Any]], exc.DBAPIError | None]]:
    """Ask for columns, and where that fails for halves of them, down to the one that fails."""
    try:
        found = ask(parts)
    except exc.DBAPIError as error:
        if error.connection_invalidated or dictionary.code(error) in STOPPED:
            raise
        failed = error
    else:
        yield found, None
        return
    connection.rollback()
    if len(parts) == 1:
        yield ask([{"count": parts[0]["count"]}]), failed
    else:
        half = len(parts) // 2
        yield from _answers(connection, ask, parts[:half])
        yield from _answers(connection, ask, parts[half:])


def _portions(wanted: Sequence[Parts], dialect: Dialect) -> list[list[Parts]]:
    """Divide columns among as few statements as the dialect's limit allows."""
    found, used = [list[Parts]()], 0
    for parts in wanted:
        used += (width := len(dialect.packed(parts)))
        if used > dialect.limit:
            found, used = [*found, []], width
        found[-1].append(parts)
    return found


def _source(
    columns: Sequence[Column], scope: Scope, dialect: Dialect
) -> tuple[sa.FromClause, list[Expression]]:
    """Give what is selected from, and each column's value; a sample is drawn once for all."""
    values = [dialect.value(column, scope.clause.c[column.name]) for column in columns]
    if scope.percent is None:
        return scope.clause, values
    named: list[Any] = [value.label(f"v{place}") for place, value in enumerate(values)]
    sample = sa.select(*named or [sa.null()]).select_from(scope.clause)
    # Else Oracle may draw it again for each column that looks for values that appear once.
    drawn = sample.prefix_with("/*+ MATERIALIZE */", dialect="oracle").cte("drawn")
    return drawn, [drawn.c[f"v{place}"] for place in range(len(values))]


def _parts(
    column: Column, value: Expression, dialect: Dialect, drawn: sa.FromClause | None
) -> dict[str, Expression]:
    """Name what is computed of a column; of numbers, only finite ones count."""
    kind, found = column.kind, dict[str, Expression]()
    finite = value
    if kind in dialect.endless:
        finite = sa.case((sa.and_(value > dialect.below, value < dialect.above), value))
        found["nan"] = count(sa.case((value == dialect.nan, 1)))
        found["infinite"] = count(sa.case((value.in_([dialect.below, dialect.above]), 1)))
    if kind in NUMBERS:
        # Beyond, the sum of squares overflows: an error that would cost the table.
        small = finite
        if kind in dialect.largest:
            small = sa.case((sa.func.abs(value) < dialect.largest[kind][1], value))
        found |= {"mean": sa.func.avg(small), "stddev": sa.func.stddev_samp(small)}
    if kind == "text":
        length = sa.func.length(value)
        found["min"] = sa.func.substr(sa.func.min(value), 1, CUT)
        found["max"] = sa.func.substr(sa.func.max(value), 1, CUT)
        # Oracle makes null of an empty text.
        rest = sa.func.length(sa.func.ltrim(value, sa.bindparam("blanks", type_=sa.String)))
        is_blank = sa.and_(value.is_not(None), sa.func.coalesce(rest, 0) == 0)
        found["blank"] = count(sa.case((is_blank, 1)))
        found |= {"min_length": sa.func.min(length), "max_length": sa.func.max(length)}
        found["length"] = sa.func.sum(length)
    if kind == "time":
        found |= {"min": sa.func.min(value), "max": sa.func.max(value)}
    if kind in DAYS:
        found["future"] = count(sa.case((value > dialect.as_of, 1)))
    if kind == "boolean":
        found["true"] = count(sa.case((value, 1)))
    elif kind != "other":
        found["distinct"] = _distinct(finite, drawn)
    if kind in (*NUMBERS, *DAYS):
        found |= dialect.ranks(column, finite)
    return found


def _distinct(value: Expression, drawn: sa.FromClause | None) -> Expression:
    """Count the distinct values; of a sample also those that appear once: "d,f1"."""
    if drawn is None:
        return count(sa.distinct(value))
    groups = sa.select(count().label("n")).select_from(drawn).where(value.is_not(None))
    group = groups.group_by(value).subquery()
    numbers = (count(), count(sa.case((group.c.n == 1, 1))))
    several, once = (sa.cast(number, sa.String(20)) for number in numbers)
    told = sa.select(several.concat(",").concat(once)).select_from(group)
    # Oracle lets a subquery stand beside aggregates only as the argument of one.
    return sa.func.max(told.scalar_subquery())


class PostgreSQL:
    """What PostgreSQL is asked: a column's figures as one array of texts, so that one statement
    serves the widest table.
    """

    below: Expression = literal("'-Infinity'")
    above: Expression = literal("'Infinity'")
    nan: Expression = literal("'NaN'")
    endless: tuple[Kind, ...] = ("decimal", "float")
    largest: Mapping[Kind, tuple[float, Expression]] = {"float": (1e150, literal("1e150"))}
    as_of: Expression = sa.cast(sa.bindparam("as_of"), sa.DateTime)
    limit = 100  # columns: planning compares all aggregates with each other, the square of them
    unreadable: tuple[str, ...] = ()
    memory = 256 << 10  # kB for all sorts of a statement; each may take work_mem otherwise
    # It multiplies doubles to find a rank: 0.01 x 700 would be a little more than 7.
    fractions = ", ".join(str(fraction * (1 - 1e-15)) for fraction in (0, *QUANTILES, 1))

    def value(self, column: Column, value: Expression) -> Expression:
        """Give a column as it is compared: texts by their bytes, times in UTC."""
        if column.kind == "text":
            return sa.collate(sa.cast(value, sa.Text), "C")
        if column.kind == "float" and column.type != "real":  # whose digits are its own
            return sa.cast(value, sa.Double)
        if column.kind == "integer" and column.type not in INTEGERS:  # oid, or a domain over it
            return sa.cast(value, sa.BigInteger)
        if column.kind == "time" and column.type.endswith("with time zone"):
            return sa.cast(sa.func.timezone("UTC", value), sa.Time)
        return value

    def ranks(self, _column: Column, value: Expression) -> dict[str, Expression]:
        """Give the smallest value, the quantiles and the largest, by one sort."""
        fractions: Expression = literal(f"CAST(ARRAY[{self.fractions}] AS float8[])")
        ranked = sa.func.percentile_disc(fractions).within_group(value)
        return {"ranks": sa.cast(ranked, ARRAY(sa.Text))}

    def packed(self, parts: Parts) -> list[Expression]:
        """Make result columns of a column's figures."""
        scalars = [sa.cast(part, sa.Text) for name, part in parts.items() if name != "ranks"]
        found: Expression = array(scalars, type_=sa.Text)
        return [found.op("||")(parts["ranks"]) if "ranks" in parts else found]

    def unpacked(self, parts: Parts, answers: Iterator[Any]) -> dict[str, Any]:
        """Name the values that came back; of no values there is no rank, and fewer come."""
        names = [name for name in parts if name != "ranks"]
        names += RANKS if "ranks" in parts else ()
        return dict(zip_longest(names, next(answers)))

    def tuned(self, statement: sa.Select[Any], parts: Sequence[Parts]) -> sa.Select[Any]:
        """Have it executed well, and its sorts share a bounded memory."""
        # Grouped by nothing, whole rows are not sorted for the sake of one column, which takes
        # up to twice as long.
        grouped = statement.group_by(literal("()"))
        # It takes effect in the statement itself: what it depends on is computed first.
        sorts = sum(len({"distinct", "ranks"} & each.keys()) for each in parts)
        memory = f"{min(max(self.memory // max(sorts, 1), 64), self.memory // 4)}kB"
        setting = sa.select(sa.func.set_config("work_mem", memory, sa.true())).scalar_subquery()
        return grouped.where(setting.is_not(None))


class Oracle:
    """What Oracle is asked: each figure as a column of its own, by SQL that 19c knows."""

    below: Expression = literal("-BINARY_DOUBLE_INFINITY")
    above: Expression = literal("BINARY_DOUBLE_INFINITY")
    nan: Expression = literal("BINARY_DOUBLE_NAN")
    endless: tuple[Kind, ...] = ("float",)
    largest: Mapping[Kind, tuple[float, Expression]] = {
        "float": (1e150, literal("TO_BINARY_DOUBLE('1e150')")),
        "decimal": (1e60, literal("1e60")), "integer": (1e60, literal("1e60")),
    }  # fmt: skip
    as_of: Expression = sa.func.to_timestamp(
        sa.bindparam("as_of"), literal("'YYYY-MM-DD\"T\"HH24:MI:SS'")
    )
    limit = 900  # of the 1,000 columns that a result may have
    unreadable: tuple[str, ...] = ("LONG", "LONG RAW")  # by any function, nor in a subquery

    def value(self, column: Column, value: Expression) -> Expression:
        """Give a column as it is compared: moments in UTC, of LOBs whether there is one."""
        if column.kind == "other":
            return sa.case((value.is_not(None), 1))
        if column.type.upper().startswith("FLOAT"):  # 38 digits, not what a double has
            return sa.cast(value, oracle.NUMBER)
        if column.type.upper().endswith(("WITH TIME ZONE", "WITH LOCAL TIME ZONE")):
            return sa.func.sys_extract_utc(value)
        return value

    def ranks(self, column: Column, value: Expression) -> dict[str, Expression]:
        """Give the smallest value, the quantiles and the largest."""
        rank = sa.func.percentile_disc
        found: dict[str, Expression] = {"min": sa.func.min(value), "max": sa.func.max(value)}
        found |= {str(each): rank(literal(str(each))).within_group(value) for each in QUANTILES}
        if column.kind not in DAYS:
            return found
        fine = "" if column.type.upper() == "DATE" else ".FF6"
        form: Expression = literal(f"'SYYYY-MM-DD\"T\"HH24:MI:SS{fine}'")
        return {name: sa.func.to_char(each, form) for name, each in found.items()}

    def packed(self, parts: Parts) -> list[Expression]:
        """Make result columns of a column's figures."""
        return [*parts.values()]

    def unpacked(self, parts: Parts, answers: Iterator[Any]) -> dict[str, Any]:
        """Name the values that came back."""
        return {name: next(answers) for name in parts}

    def tuned(self, statement: sa.Select[Any], _parts: Sequence[Parts]) -> sa.Select[Any]:
        """Leave it as it is."""
        return statement


Dialect = PostgreSQL | Oracle
DIALECTS: Mapping[str, type[Dialect]] = {"postgresql": PostgreSQL, "oracle": Oracle}


def _filled(
    column: Column,
    told: Mapping[str, Any],
    scope: Scope,
    factor: float,
    as_of: str,
    dialect: Dialect,
) -> Column:
    """Make figures of what came back for a column; `factor` scales a count to the table's."""

    def figure(value: Value | None) -> Figure | None:
        return None if value is None else Figure(value, scope.how, as_of)

    def scaled(number: int) -> Figure:
        return Figure(round(number * factor), scope.how, as_of)

    present = int(told["count"])
    found: dict[str, Any] = {"nulls": scaled(told["rows"] - present)}
    for name in {"nan", "infinite", "blank", "true", "future"} & told.keys():
        found[name] = scaled(int(told[name]))
    for name in {"min", "max"} & told.keys():
        found[name] = figure(_value(column.kind, told[name]))
    for name in {"min_length", "max_length"} & told.keys():
        found[name] = figure(None if told[name] is None else int(told[name]))
    if present and "length" in told:
        found["mean_length"] = figure(int(told["length"]) / present)
    if "mean" in told:
        limit = dialect.largest.get(column.kind, (math.inf,))[0]
        ends = [found[end].number for end in ("min", "max") if found[end]]
        if all(abs(end) < limit for end in ends):
            mean = _finite(told["mean"])
            # A sum of doubles is a little off.
            found["mean"] = figure(mean if mean is None else min(max(mean, ends[0]), ends[1]))
            found["stddev"] = figure(_finite(told["stddev"]))
    quantiles = {name: _value(column.kind, told.get(name)) for name in RANKS[1:-1]}
    if None not in quantiles.values():
        found["quantiles"] = {name: figure(value) for name, value in quantiles.items()}
    if "true" in told:
        true = int(told["true"])
        found["distinct"] = figure((true > 0) + (present > true))
    elif "distinct" in told:
        values = present - int(told.get("nan", 0)) - int(told.get("infinite", 0))
        found["distinct"] = figure(_classes(told["distinct"], values, factor))
    return replace(column, **found)


def _classes(told: Any, values: int, factor: float) -> int:
    """Estimate how many distinct values the whole table has, by what a sample of them had."""
    several, _, once = str(told).partition(",")
    if not once or not values:
        return int(several)
    return round(values * int(several) / (values - int(once) + int(once) / factor))


def _finite(told: Any) -> float | None:
    number = math.nan if told is None else float(told)
    return number if math.isfinite(number) else None


def _value(kind: Kind, told: Any) -> Value | None:
    """Give a value as the model has it."""
    if told is None:
        return None
    if kind == "integer":
        return int(told)
    if kind == "float":
        return float(told)
    if kind == "decimal":
        return f"{Decimal(told):f}"
    if kind != "datetime":
        return str(told)
    text = re.sub(r"\+00\b", "", str(told).strip()).replace(" ", "T", 1)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return re.sub(r"^-(\d.*)", r"\1 BC", text)
