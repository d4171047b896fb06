"""profile_schema(): a schema is described, its tables measured side by side, within budgets."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import exc

from workbench.connections import why
from workbench.errors import UsageError, WorkbenchError
from workbench.profiling import dictionary, statistics
from workbench.profiling.model import Figure, Relation, SchemaProfile, Table
from workbench.profiling.sampling import ROW_BUDGET, Scope, estimated_rows, scope
from workbench.reporting.text import inert

if TYPE_CHECKING:
    from workbench.database import Database

log = logging.getLogger(__name__)
WORKERS = 4
RELATIONS = 200  # likely foreign keys that are tested
TICK = 0.1  # seconds between two looks at what runs
PATIENCE = 5  # seconds that a server has to end a statement


def profile_schema(
    source: str | Database = "demo",
    schema: str | None = None,
    tables: Sequence[str] | None = None,
    *,
    depth: int = 1,
    sample_percent: float | None = None,
    table_seconds: float = 60,
    seconds: float = 1800,
    rows: int = ROW_BUDGET,
    progress: bool = True,
) -> SchemaProfile:
    """Profile a schema: its structure, each table's figures, and what a reader should know.

    `depth` 0 reads the dictionary alone, 1 each table once, 2 looks for relations, shapes and
    repeats as well. A table of more than `rows` rows is sampled; `sample_percent` (up to 100,
    which reads everything) decides for all. A table that takes longer than `table_seconds`, or is
    locked, forbidden or broken, keeps what the dictionary says, and its `problem` tells why; so do
    those not reached when `seconds` are over. Views are read only where `tables` names them.

    Raises UsageError for arguments that make no sense, DataError for a schema or a table that is
    not there, ConnectionFailed when the server is gone.
    """
    _check(depth, sample_percent, table_seconds, seconds, rows)
    from workbench.database import Database, connect
    from workbench.profiling import catalog

    started = time.monotonic()
    as_of = catalog.now()
    with nullcontext(source) if isinstance(source, Database) else connect(source) as db:
        name = catalog.schema_name(db, schema)
        found, invalid = catalog.read_catalog(db, name, tables, as_of)
        health = db.health()
        relations, untested = list[Relation](), 0
        if depth:
            survey = Survey(db, started + seconds, table_seconds, seconds, progress)

            part = partial(scope, schema=name, dialect=db.engine.dialect,
                           percent=sample_percent, rows=rows)  # fmt: skip

            def measure(table: Table, connection: sa.Connection) -> Iterator[Table]:
                from workbench.profiling import contents

                read = part(table)
                figures = statistics.measure(connection, name, table, read, as_of)
                yield (measured := contents.discreet(figures))
                if depth > 1:
                    yield contents.examine(connection, name, measured, read, as_of)

            found = survey.measure(found, measure, named=tables is not None)
            if depth > 1:
                relations, untested = survey.relate(found, name, part, as_of)
    profile = SchemaProfile(
        source=db.name, schema=name, as_of=as_of, server=f"{health.server} {health.version}",
        depth=depth, tables=found, relations=tuple(relations), invalid_objects=invalid,
        untested=Figure(untested, "exact", as_of) if untested else None,
    )  # fmt: skip
    from workbench.profiling import findings

    return replace(profile, findings=findings.find(profile))


def _check(
    depth: int, percent: float | None, table_seconds: float, seconds: float, rows: int
) -> None:
    """Refuse arguments outside their range."""
    for name, value, fits, allowed in (
        ("depth", depth, depth in (0, 1, 2), "0 (the dictionary alone), 1 or 2"),
        ("sample_percent", percent, percent is None or 0 < percent <= 100, "above 0, up to 100"),
        ("table_seconds", table_seconds, table_seconds > 0, "above 0"),
        ("seconds", seconds, seconds > 0, "above 0"),
        ("rows", rows, rows > 0, "above 0"),
    ):
        if not fits:
            raise UsageError(f"profile_schema() was given {name}={value!r}.", f"It is {allowed}.")


@dataclass
class Task:
    """Something that runs on a connection of its own until its deadline."""

    name: str
    weight: int
    work: Callable[[sa.Connection], Iterator[Any]]
    result: Any = None  # what the work has yielded last
    deadline: float = 0
    connection: Any = None  # the driver's, while it runs
    stopped: str | None = None  # why it was cancelled
    seconds: float = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Survey:
    """Runs statements side by side, and cancels on the server those that take too long."""

    db: Database
    deadline: float  # of the run, by time.monotonic()
    table_seconds: float
    seconds: float
    progress: bool

    def measure(
        self,
        tables: Sequence[Table],
        work: Callable[[Table, sa.Connection], Iterator[Table]],
        *,
        named: bool,
    ) -> tuple[Table, ...]:
        """Measure tables, the largest first; what fails keeps its facts and says why."""
        tasks = [
            Task(
                table.name, max(estimated_rows(table), 1) * len(table.columns), partial(work, table)
            )
            for table in tables
            if not table.problem and (table.kind != "view" or named)
        ]
        done = {table.name: table for table in tables}
        with closing(self._outcomes(tasks, "tables")) as outcomes:
            for task, failure in outcomes:
                table = task.result or done[task.name]
                if failure:
                    lacking = "Its contents were not looked into" if task.result else "Not measured"
                    table = replace(table, problem=f"{lacking}: {failure}.")
                done[task.name] = replace(table, seconds=round(task.seconds, 3))
                said = table.problem or "measured"
                log.info("%s: %s: %s in %.3f s", self.db.name, task.name, said, task.seconds)
        return tuple(done.values())

    def relate(
        self, tables: Sequence[Table], schema: str, part: Callable[[Table], Scope], as_of: str
    ) -> tuple[list[Relation], int]:
        """Test likely foreign keys; return those there are, and how many were not tested."""
        from workbench.profiling import relations

        named = {table.name: table for table in tables}

        def confirm(candidate: relations.Candidate, connection: sa.Connection) -> Iterator[Any]:
            table = named[candidate.table]
            ends = (connection, schema, candidate)
            yield relations.confirm(*ends, part(table), table.count, as_of)

        candidates = relations.candidates(tables)
        tasks = [Task(each.table, 1, partial(confirm, each)) for each in candidates[:RELATIONS]]
        found, untested = list[Relation](), len(candidates) - len(tasks)
        with closing(self._outcomes(tasks, "relations")) as outcomes:
            for task, failure in outcomes:
                if failure:
                    untested += 1
                    said = "%s: a relation of %s was not tested: %s"
                    log.warning(said, self.db.name, task.name, failure)
                elif task.result:
                    found.append(task.result)
        return found, untested

    def _outcomes(self, tasks: Sequence[Task], what: str) -> Generator[tuple[Task, str | None]]:
        """Yield each task as it ends, and why it has failed if it has."""
        if not tasks:
            return
        workers = min(self.db.source.pool.maximum, WORKERS, len(tasks))
        ordered = sorted(tasks, key=lambda task: -task.weight)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="survey")
        futures: dict[Future[Any], Task] = {}
        with progress_bar(len(tasks), what, self.progress) as shown:
            bar = shown.add_task("", total=sum(task.weight for task in tasks), done=0)
            try:
                futures |= {pool.submit(self._work, task): task for task in ordered}
                left = set(futures)
                while left:
                    done, left = wait(left, TICK, FIRST_COMPLETED)
                    for future in done:
                        yield futures[future], future.result()
                        shown.advance(bar, futures[future].weight)
                    running = [futures[future] for future in left if futures[future].connection]
                    for task in running:
                        # Again and again, until it has ended.
                        if time.monotonic() >= task.deadline:
                            self._cancel(task, None)
                    names = inert(", ".join(task.name for task in running))
                    shown.update(bar, description=names, done=len(tasks) - len(left))
            finally:
                # Also by Ctrl-C: nothing stays running on the server.
                pool.shutdown(wait=False, cancel_futures=True)
                end = time.monotonic() + PATIENCE
                busy = {future for future in futures if future.running()}
                while busy and time.monotonic() < end:
                    for future in busy:
                        self._cancel(futures[future], "stopped")
                    busy = wait(busy, TICK).not_done

    def _work(self, task: Task) -> str | None:
        """Do a task on a connection; return why it failed, if it did."""
        started = time.monotonic()
        task.deadline = min(started + self.table_seconds, self.deadline)
        if started >= self.deadline:
            return f"not reached within the {self.seconds:g} s of the run"
        driver_error = self.db.engine.dialect.loaded_dbapi.Error
        try:
            connection = self.db.engine.connect()
        except exc.TimeoutError:
            return "all connections of the source are in use"
        except (exc.SQLAlchemyError, driver_error, OSError, ValueError) as error:
            failure = self.db.unreachable(error)
            raise failure from None
        try:
            with task.lock:
                task.connection = connection.connection.driver_connection
            dictionary.bound_waits(connection)
            for result in task.work(connection):
                task.result = result
            return None
        except (exc.SQLAlchemyError, driver_error, WorkbenchError) as error:
            said = error.message if isinstance(error, WorkbenchError) else why(error)
            reason = task.stopped or said.removesuffix(".")
            lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        except Exception as error:
            # A fault of ours must not cost the other tables; its text may hold a value.
            log.debug("%s: %s", self.db.name, task.name, exc_info=True)
            reason, lost = f"a fault of workbench itself ({type(error).__name__})", False
        finally:
            with task.lock:
                task.connection = None
            with suppress(exc.SQLAlchemyError, driver_error):
                connection.close()
            task.seconds = time.monotonic() - started
        if lost:
            self.db.health()
        return reason

    def _cancel(self, task: Task, reason: str | None) -> None:
        if not task.stopped:
            over = time.monotonic() >= self.deadline
            late = f"not finished when the {self.seconds:g} s of the run were over"
            task.stopped = reason or (late if over else f"not finished in {self.table_seconds:g} s")
        # Not after the connection went back to the pool, where another would be hit.
        with task.lock:
            if task.connection is not None:
                with suppress(Exception):
                    _cancel(task.connection)


def progress_bar(total: int, what: str, wanted: bool) -> Progress:
    """Show on a terminal how many are done, how long the others may take, and what runs."""
    columns = (TextColumn("{task.fields[done]} of " + f"{total} {what}", markup=False),
               BarColumn(), TimeRemainingColumn(),
               TextColumn("{task.description}", markup=False))  # fmt: skip
    shown = wanted and sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown)


def _cancel(connection: Any) -> None:
    """Ask the server to end what a connection does."""
    if hasattr(connection, "cancel_safe"):
        connection.cancel_safe(timeout=PATIENCE)
    else:
        connection.cancel()
