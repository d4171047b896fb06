"""Run Colors on Spark, for feeds that outgrow one machine: the dialect, the session, the input.

The statement is the one of colors.py. docs/spark.md tells how to install and point it.
"""

from __future__ import annotations

import atexit
import csv
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pyarrow
import sqlalchemy as sa
from sqlalchemy import Select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement, FromClause
from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer, SQLCompiler

from workbench import engines
from workbench.colors import MOMENTS, PRICE, TEXTS, WHOLE, match_columns, type_of
from workbench.dialects import PercentOf, plain
from workbench.errors import ConnectionFailed, DataError, QueryError, UsageError, WorkbenchError
from workbench.feeds import NUMBER
from workbench.settings import Spark as SparkSettings
from workbench.settings import load_settings
from workbench.sheets import EXCEL_SUFFIXES, column_names

ISO_MOMENT = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
INSTALL = 'Install both: pip install "workbench[spark]", and Debian\'s openjdk-17-jre-headless.'
# A statement means the same whatever the cluster's defaults are.
MEANING = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_STARTING = threading.Lock()
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


@dataclass(frozen=True)
class SparkInput(engines.Input):
    """An input that Spark reads, and whose statements can also be written where they are large."""

    session: Any = None

    def write(self, statement: Select[Any], folder: str | Path) -> None:
        """Write the rows in their order as the Parquet parts of a new folder, whole or not at all.

        On a URL it is Spark's committer that makes it whole. Raises DataError where there is
        something already, and QueryError where the statement fails.
        """
        target = Path(folder)
        if "://" in str(folder):
            with _told(self.label, self.session):
                _frame(self.session, statement).write.parquet(str(folder))
            return
        if target.exists():
            raise DataError(f"{target} is there already.", "Name a new folder, or remove it.")
        partial_ = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            with _told(self.label, self.session):
                _frame(self.session, statement).write.parquet(_local(partial_))
            for note in (*partial_.glob(".*.crc"), *partial_.glob("_SUCCESS")):
                note.unlink()
            partial_.rename(target)
        finally:
            shutil.rmtree(partial_, ignore_errors=True)


def opened(data: Any, label: str | None = None) -> SparkInput:
    """Open Parquet or CSV files (a path, glob, folder or URL, or a list), Excel or a data frame.

    Raises DataError for missing columns and files that cannot be read; values that cannot be are
    DataErrors when the statement runs.
    """
    paths = [str(each) for each in (data if isinstance(data, list | tuple) else [data])]
    named = isinstance(data, str | Path) or (
        isinstance(data, list | tuple) and all(isinstance(each, str | Path) for each in data)
    )
    if label is None:
        label = " and ".join(paths) if named else "the data frame"
    suffixes = {Path(path).suffix.lower() for path in paths} if named else set()
    if named and len({suffix == ".csv" for suffix in suffixes}) > 1:
        raise UsageError(f"{label}: CSV and Parquet files are not read in one go on Spark.")
    session = _session().newSession()
    for key, value in MEANING.items():
        session.conf.set(key, value)
    notes: tuple[Any, ...] = ()
    with _told(label, session), warnings.catch_warnings(action="ignore", category=FutureWarning):
        if not named or suffixes & set(EXCEL_SUFFIXES):
            # Small by nature: read as everywhere else, with the same findings.
            small = engines.from_file(data) if named else engines.from_frame(data, label)
            notes = small.notes
            raw = session.createDataFrame(small.execute(sa.select(small.relation)).to_arrow())
        elif suffixes == {".csv"}:
            raw = _csv(session, [_local(path) for path in paths], label)
        else:
            reader = session.read.option("mergeSchema", "true")
            raw = reader.parquet(*(_local(path) for path in paths))
        relation = _typed_view(session, raw, label)
    return SparkInput(label, "spark", relation, partial(_execute, session, label), notes, session)


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


def _local(path: str | Path) -> str:
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
    if kind == "binary":
        return sa.LargeBinary()
    if kind in ("array", "map", "struct", "variant"):
        return sa.JSON()
    return sa.String() if kind == "string" else sa.types.NullType()


def _frame(session: Any, statement: Select[Any]) -> Any:
    state = statement.compile(dialect=SparkDialect()).construct_expanded_state()
    parameters = {
        name: value.isoformat(" ") if isinstance(value, datetime) else value
        for name, value in state.parameters.items()
    }
    return session.sql(state.statement, args=parameters)


def _execute(session: Any, label: str, statement: Select[Any]) -> pl.DataFrame:
    with _told(label, session), warnings.catch_warnings(action="ignore", category=FutureWarning):
        return pl.DataFrame(_frame(session, statement).toArrow())


@contextmanager
def _told(label: str, session: Any) -> Iterator[None]:
    """Say in one sentence what Spark says in pages; an interrupt ends its jobs as well."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except KeyboardInterrupt:
        session.interruptAll()
        raise
    except (
        Py4JError,
        PySparkException,
        pyarrow.ArrowException,
        pl.exceptions.PolarsError,
    ) as error:
        raise _fault(error, label) from None


def _fault(error: Any, label: str) -> WorkbenchError:
    causes = [error]
    while (cause := getattr(causes[-1], "_cause", None)) is not None:
        causes.append(cause)
    for cause in causes:
        condition = (getattr(cause, "getCondition", lambda: None)() or "").partition(".")[0]
        if condition == "USER_RAISED_EXCEPTION":
            return DataError(f"{label}: {cause.getMessageParameters()['errorMessage']}")
        if condition == "PATH_NOT_FOUND":
            return DataError(f"{label}: there is no such file or folder.")
        if condition == "MALFORMED_RECORD_IN_PARSING":
            return DataError(f"{label}: a line does not have the columns of the header.")
    return QueryError(f"The statement failed on {label}: {_first_line(causes[-1])}")


def _first_line(error: BaseException) -> str:
    java = getattr(error, "java_exception", None)
    text = str(java.getMessage() if java is not None else error).strip()
    text = re.sub(r"^\[[A-Z0-9_.]+\] |\s*SQLSTATE: \w+.*", "", text.splitlines()[0] if text else "")
    return text or type(error).__name__


def _session() -> Any:
    with _STARTING:
        return _started()


@cache
def _started() -> Any:
    """Start Spark, once in a process, or take the session that is there."""
    try:
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway
        from pyspark.sql import SparkSession
    except ImportError:
        raise UsageError(
            "The engine spark needs PySpark, which is not installed.", INSTALL
        ) from None
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).disabled = True  # pages of Java, and values of the data in them
    if running := SparkSession.getActiveSession():
        return running
    settings = load_settings().spark
    folder = Path(tempfile.mkdtemp(prefix="workbench-spark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    conf = SparkConf().setAll(list(_configuration(settings, folder).items()))
    handler = signal.getsignal(signal.SIGINT)
    log = folder / "log"
    try:
        with log.open("wb") as file:
            gateway = launch_gateway(conf, {"stdout": file, "stderr": file})
        context = SparkContext(gateway=gateway, conf=conf)
    except Exception as error:
        raise _not_started(error, log.read_text(errors="replace"), settings.master) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Spark puts its own there
    atexit.register(context.stop)
    return SparkSession(context)


def _configuration(settings: SparkSettings, folder: Path) -> dict[str, str]:
    ours = {
        "spark.master": settings.master,
        "spark.app.name": "workbench",
        "spark.log.level": "OFF",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.driver.maxResultSize": "0",
    }
    if settings.master.startswith("local"):
        ours |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": f"{psutil.virtual_memory().total // 2**21}m",
            "spark.local.dir": str(folder),
            "spark.sql.shuffle.partitions": str(4 * (os.cpu_count() or 1)),
        }
    return ours | settings.conf


def _not_started(error: Exception, log: str, master: str) -> WorkbenchError:
    if "UnsupportedClassVersionError" in log:
        return UsageError(
            "Spark needs Java 17 or newer, and the Java that was found is older.", INSTALL
        )
    if "java: No such file" in log or "JAVA_HOME is not set" in log or "not found" in log:
        return UsageError("Spark needs Java 17, which was not found.", INSTALL)
    return ConnectionFailed(
        f"Spark did not start on {master}: {_first_line(error)}",
        "The keys master and conf of [spark] in workbench.toml say where and how.",
    )
