"""One Spark in a process, started when it is first needed, quiet, and told in sentences."""

from __future__ import annotations

import atexit
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
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pyarrow

from workbench.errors import ConnectionFailed, DataError, QueryError, UsageError, WorkbenchError
from workbench.settings import Spark, load_settings

INSTALL = 'Install both: pip install "workbench[spark]", and Debian\'s openjdk-17-jre-headless.'
# A statement means the same whatever a cluster's defaults are.
MEANING = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_starting = threading.Lock()


def session() -> Any:
    """Return a session with views of its own; raises UsageError or ConnectionFailed.

    The first one starts Spark where [spark] in workbench.toml says, or takes the one that runs.
    """
    with _starting, warnings.catch_warnings(action="ignore", category=FutureWarning):
        # That pandas is too new: we use none of what it is for.
        new = _started().newSession()
    for key, value in MEANING.items():
        new.conf.set(key, value)
    return new


@contextmanager
def told(label: str, session: Any) -> Iterator[None]:
    """Say in one sentence what Spark says in pages; an interrupt ends the session's jobs as well.

    Raises DataError for what is wrong with the data, and QueryError for anything else.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    ended: list[int] = []
    try:
        with (
            warnings.catch_warnings(action="ignore", category=FutureWarning),
            _ending(session, ended),
        ):
            yield
    except (
        Py4JError,
        PySparkException,
        pyarrow.ArrowException,
        pl.exceptions.PolarsError,
    ) as error:
        if ended:  # what failed is only PySpark's tidying up
            raise KeyboardInterrupt from None
        raise _said(error, label) from None


@contextmanager
def _ending(session: Any, ended: list[int]) -> Iterator[None]:
    """End the session's jobs on an interrupt, before PySpark waits for them on its way out."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def end(number: int, frame: Any) -> None:
        ended.append(number)
        # Those to come as well: a statement's first job may not have begun.
        context._jsc.sc().cancelJobGroupAndFutureJobs(group)
        before(number, frame)

    context, group = session.sparkContext, uuid.uuid4().hex
    context.setJobGroup(group, "workbench")
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _said(error: BaseException, label: str) -> WorkbenchError:
    from pyspark.errors.exceptions.captured import convert_exception

    java = getattr(error, "java_exception", None)
    causes: list[Any] = [error if java is None else convert_exception(java)]
    while (cause := getattr(causes[-1], "_cause", None)) is not None:
        causes.append(cause)
    for cause in causes:
        condition = (getattr(cause, "getCondition", lambda: None)() or "").partition(".")[0]
        if condition == "USER_RAISED_EXCEPTION":
            return DataError(f"{label}: {cause.getMessageParameters()['errorMessage']}")
        if condition == "PATH_NOT_FOUND":
            return DataError(f"{label} cannot be read: there is no such file or folder.")
        if re.search("MALFORMED_RECORD|Malformed CSV", str(cause)):  # which goes on with the line
            return DataError(f"{label}: a line does not have the columns of the header.")
    return QueryError(f"The statement failed on {label}: {_first_line(causes[-1])}")


def _first_line(error: BaseException) -> str:
    java = getattr(error, "java_exception", None)
    lines = str(java.getMessage() if java is not None else error).strip().splitlines()
    text = re.sub(r"^\[[A-Z0-9_.]+\] |\s*SQLSTATE: \w+.*", "", lines[0] if lines else "")
    return text or type(error).__name__


@cache
def _started() -> Any:
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
    log, handler = folder / "log", signal.getsignal(signal.SIGINT)
    try:
        with log.open("wb") as file:
            gateway = launch_gateway(conf, {"stdout": file, "stderr": file})  # type: ignore[no-untyped-call,unused-ignore]
        context = SparkContext(gateway=gateway, conf=conf)
    except Exception as error:
        raise _not_started(error, log.read_text(errors="replace"), settings.master) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)  # Spark puts one of its own there
    atexit.register(context.stop)
    return SparkSession(context)


def _configuration(settings: Spark, folder: Path) -> dict[str, str]:
    ours = {
        "spark.master": settings.master,
        "spark.app.name": "workbench",
        "spark.driver.maxResultSize": "0",
        "spark.log.level": "OFF",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if settings.master.startswith("local"):
        ours |= {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": f"{psutil.virtual_memory().total // 2**21}m",  # half of it
            "spark.local.dir": str(folder),
            "spark.sql.shuffle.partitions": str(4 * (os.cpu_count() or 1)),
        }
    return ours | settings.conf


def _not_started(error: Exception, log: str, master: str) -> WorkbenchError:
    if "UnsupportedClassVersionError" in log:
        return UsageError(
            "Spark needs Java 17 or newer; the Java that was found is older.", INSTALL
        )
    if re.search("JAVA_HOME is not set|java: (No such file|not found|command not found)", log):
        return UsageError("Spark needs Java 17, which was not found.", INSTALL)
    return ConnectionFailed(
        f"Spark did not start on {master}: {_first_line(error)}",
        "[spark] in workbench.toml says where it runs (master), and how (conf).",
    )
