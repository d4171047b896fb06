"""Run Colors on Spark, for feeds that outgrow one machine: the dialect and the input.

The statement is the one of colors.py. docs/spark.md tells how to install and point it.
"""

from __future__ import annotations

import csv
import re
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement, FromClause
from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer, SQLCompiler

from workbench import engines, spark_session
from workbench.colors import MOMENTS, ORIGIN, PRICE, TEXTS, WHOLE, match_columns, type_of
from workbench.dialects import PercentOf, plain
from workbench.errors import UsageError
from workbench.feeds import NUMBER
from workbench.sheets import EXCEL_SUFFIXES, column_names
from workbench.spark_session import told

ISO_MOMENT = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
UNSIGNED: dict[Any, Any] = {
    **dict.fromkeys((pl.UInt8, pl.UInt16, pl.UInt32), pl.Int64),
    pl.UInt64: pl.Decimal(20, 0),
}
NUMBERS = ("byte", "short", "integer", "long", "decimal", "double")


class _Types(GenericTypeCompiler):
    """Writes the few types that Spark calls otherwise."""

    def visit_VARCHAR(self, type_: Any, **_: Any) -> str:  # noqa: N802
        return "STRING"

    def visit_TIMESTAMP(self, type_: Any, **_: Any) -> str:  # noqa: N802
        return "TIMESTAMP_NTZ"


class _Quoting(IdentifierPreparer):
    def _requires_quotes(self, _name: str) -> bool:
        return True


class _Compiler(SQLCompiler):
    def _truncate_bindparam(self, bindparam: sa.BindParameter[Any]) -> str:
        # Not by the column it is compared with, whose name may hold anything.
        return self.bind_names.setdefault(bindparam, f"p{len(self.bind_names)}")

    def visit_ltrim_func(self, element: Any, **options: Any) -> str:
        text, blanks = (self.process(clause, **options) for clause in element.clauses)
        return f"{element.name}({blanks}, {text})"

    visit_rtrim_func = visit_ltrim_func

    def visit_try_cast(self, cast: Any, **options: Any) -> str:
        return f"TRY_{self.visit_cast(cast, **options)}"  # type: ignore[no-untyped-call]

    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **options: Any) -> str:
        text, pattern = (self.process(e, **options) for e in (binary.left, binary.right))
        return f"({text} RLIKE {pattern})"

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **options: Any) -> str:
        return f"(NOT {self.visit_regexp_match_op_binary(binary, operator, **options)})"


class SparkDialect(DefaultDialect):
    """Spark's ANSI SQL with named parameters; its texts compare by their bytes as they are."""

    name = "spark"
    preparer = _Quoting
    statement_compiler = _Compiler
    type_compiler_cls = _Types
    default_paramstyle = "named"
    supports_native_boolean = True
    supports_statement_cache = False


@compiles(PercentOf, "spark")
def _divide_whole(element: PercentOf, compiler: Any, **options: Any) -> str:
    # A quotient of Spark's keeps six decimals, already rounded; a remainder is exact.
    part, base = (compiler.process(clause, **options) for clause in element.clauses)
    whole = f"NULLIF(2 * CAST(ABS({base}) AS DECIMAL(28, 10)), 0)"
    doubled = f"(20000 * CAST(ABS({part}) AS DECIMAL(29, 10)) + ABS({base}))"
    hundredths = f"CAST(({doubled} - MOD({doubled}, {whole})) / {whole} AS DECIMAL(28, 0))"
    return f"CAST(SIGN({base}) AS DECIMAL(1, 0)) * {hundredths} * 0.01"


def opened(data: Any) -> engines.Input:
    """Open Parquet or CSV files (a path, glob, folder or URL, or a list), Excel or a data frame.

    A list of files gives each row the text column ORIGIN, the name of its file. Raises DataError
    for missing columns and files that cannot be read, UsageError for kinds of files that are not
    read together; a value that does not fit is a DataError when the statement runs.
    """
    several = isinstance(data, list | tuple)
    paths = list(data) if several else [data]
    if not all(isinstance(path, str | Path) for path in paths):
        return _small(engines.from_frame(data))
    label = " and ".join(Path(path).name for path in paths)
    kinds = {Path(path).suffix.lower() for path in paths}
    if kinds & set(EXCEL_SUFFIXES) and not several:
        return _small(engines.from_file(data))
    if (".csv" in kinds and len(kinds) > 1) or kinds & set(EXCEL_SUFFIXES):
        raise UsageError(f"{label}: on Spark, files of one kind are read together, and no Excel.")
    session = spark_session.session()
    with told(label, session):
        places = [_place(path) for path in paths]
        reader = session.read.option("mergeSchema", "true")
        raw = _csv(session, places, label) if ".csv" in kinds else reader.parquet(*places)
        if several:
            raw = raw.selectExpr("*", f"_metadata.file_name AS {ORIGIN}")
        return _input(session, raw, label)


def _small(read: engines.Input) -> engines.Input:
    # Read as everywhere else, with the same findings; then it is Spark's.
    session = spark_session.session()
    with told(read.label, session):
        frame = read.execute(sa.select(read.relation)).cast(UNSIGNED)
        return _input(session, session.createDataFrame(frame.to_arrow()), read.label, read.notes)


def _input(session: Any, raw: Any, label: str, notes: Any = ()) -> engines.Input:
    relation = _typed_view(session, raw, label)
    run = partial(_execute, session, label)
    return engines.Input(
        label=label, engine="spark", relation=relation, execute=run,
        frames=lambda statement: iter([run(statement)]), notes=notes,
        copy=partial(_copy, session, label),
    )  # fmt: skip


def _execute(session: Any, label: str, statement: Select[Any]) -> pl.DataFrame:
    with told(label, session):
        return pl.DataFrame(_frame(session, statement).toArrow())


def _copy(session: Any, label: str, statement: Select[Any], folder: Path) -> None:
    """Write the rows in their order as the Parquet parts of a folder."""
    with told(label, session):
        _frame(session, statement).write.parquet(str(folder.absolute()))
    for note in (*folder.glob(".*.crc"), *folder.glob("_SUCCESS")):
        note.unlink()


def _csv(session: Any, paths: list[str], label: str) -> Any:
    from pyspark.sql.types import StringType, StructType

    first = session.read.text(paths).first()
    line = (first[0] if first else "").removeprefix("\ufeff")
    delimiter = max(",;\t|", key=re.sub(r'"(?:[^"]|"")*"', "", line).count)
    header = next(csv.reader([line], delimiter=delimiter), [])
    names = column_names(header, label, feed=True)
    schema = StructType()
    for name in header:
        schema.add(name, StringType())
    # Lines that lack one of the header's columns, or another file's header, must not pass.
    options = {"header": True, "enforceSchema": False, "mode": "FAILFAST", "multiLine": True}
    reader = session.read.options(sep=delimiter, escape='"', maxCharsPerColumn=-1, **options)
    return reader.csv(paths, schema=schema).toDF(*names)


def _place(path: str | Path) -> str:
    """Say a path of this machine in full, and a name with * or [ in it as that name."""
    if "://" in str(path):
        return str(path)
    full = Path(path).expanduser().absolute()
    return re.sub(r"([*?\[\]{}\\])", r"\\\1", str(full)) if full.exists() else str(full)


def _typed_view(session: Any, raw: Any, label: str) -> FromClause:
    """Make the view `feed` of typed columns; a value that does not fit fails when it is read."""
    kinds = {field.name: field.dataType.typeName() for field in raw.schema.fields}
    names = match_columns(list(kinds), label)
    others = [name for name in kinds if name not in names.values()]
    raw.createOrReplaceTempView("raw")
    source = sa.table("raw", *(sa.column(name, _other_type(kinds[name])) for name in kinds))
    typed = [_typed(name, source.c[found], kinds[found]) for name, found in names.items()]
    _frame(
        session, sa.select(*typed, *(source.c[name] for name in others))
    ).createOrReplaceTempView("feed")
    return sa.table(
        "feed",
        *(sa.column(name, type_of(name)) for name in names),
        *(sa.column(name, _other_type(kinds[name])) for name in others),
    )


def _typed(name: str, raw: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    written: ColumnElement[Any] = sa.cast(raw, sa.String())
    if kind in ("double", "float"):
        raw = sa.func.nullif(raw, sa.cast("NaN", sa.Double()))
    if name in TEXTS:
        if kind in ("double", "float"):
            short = sa.and_(raw == sa.func.floor(raw), sa.func.abs(raw) < 10**15)
            written = sa.case(
                (short, sa.cast(sa.cast(raw, sa.BigInteger()), sa.String())),
                (raw.is_not(None), written),
            )
        return written.label(name)
    if kind == "string":
        raw = sa.func.nullif(plain(raw), "", type_=sa.String())
    if name in MOMENTS:
        value, expected = _moment(raw, kind), "a date as 2026-01-31"
    else:
        value, expected = _number(raw, kind), "a number"
        if name in WHOLE:
            whole, expected = sa.try_cast(value, sa.BigInteger()), "a whole number"
            value = sa.case((whole == value, whole))
        else:
            value = sa.try_cast(value, PRICE)
    said = [f"column {name} holds '", sa.func.left(written, 60), f"', where {expected} belongs."]
    refused = sa.func.coalesce(value, sa.func.raise_error(sa.func.concat(*said)))
    return sa.case((raw.is_not(None), refused)).label(name)


def _moment(raw: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    if kind == "string":
        # A cast by itself would take 2026 for a day of that year.
        return sa.case((raw.regexp_match(f"^{ISO_MOMENT}$"), sa.try_cast(raw, sa.TIMESTAMP())))
    return sa.cast(raw if kind.startswith(("date", "timestamp")) else sa.null(), sa.TIMESTAMP())


def _number(raw: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    if kind == "string":
        return sa.case((raw.regexp_match(f"^({NUMBER})$"), sa.try_cast(raw, sa.Numeric(38, 10))))
    if kind == "float":
        # By its shortest spelling: 99.1, not the 99.0999984741 that single precision holds.
        return sa.try_cast(sa.cast(raw, sa.String()), sa.Numeric(38, 10))
    return raw if kind in NUMBERS else sa.cast(sa.null(), PRICE)


def _other_type(kind: str) -> sa.types.TypeEngine[Any]:
    known: dict[str, sa.types.TypeEngine[Any]] = {
        "string": sa.String(),
        "binary": sa.LargeBinary(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
        "timestamp": sa.TIMESTAMP(timezone=True),
        "timestamp_ntz": sa.TIMESTAMP(),
        "float": sa.Float(),
        "double": sa.Double(),
        "decimal": sa.Numeric(),
        **dict.fromkeys(("byte", "short", "integer", "long"), sa.BigInteger()),
        **dict.fromkeys(("array", "map", "struct", "variant"), sa.JSON()),
    }
    return known.get(kind, sa.types.NullType())


def _frame(session: Any, statement: Select[Any]) -> Any:
    state = statement.compile(dialect=SparkDialect()).construct_expanded_state()
    parameters = {
        name: value.isoformat(" ") if isinstance(value, datetime) else value
        for name, value in state.parameters.items()
    }
    return session.sql(state.statement, args=parameters)
