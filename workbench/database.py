"""connect(): a source's name becomes a `Database` that reads safely and exactly."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import polars as pl
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Engine

from workbench import connections, credentials, dtypes, records
from workbench.connections import said, why
from workbench.errors import (
    ConnectionFailed,
    DataError,
    QueryError,
    UsageError,
    WorkbenchError,
    fault_of,
    nearest,
)
from workbench.settings import Source, load_settings
from workbench.statements import Statement, begins_select, compiled, single_select, text_clause

if TYPE_CHECKING:
    from workbench.extracts import Extract

log = logging.getLogger(__name__)
ROWS = 100_000
T = TypeVar("T")


@dataclass(frozen=True)
class PoolUse:
    """The connections of a source: open ones, those in use, and how many there may be."""

    open: int
    in_use: int
    maximum: int


@dataclass(frozen=True)
class Health:
    """What a source says of itself: server, session, round trip (ms), pool and what was read."""

    source: str
    kind: str
    server: str
    version: str
    driver: str
    session: str
    round_trip_ms: float
    pool: PoolUse
    statements: int
    rows: int


class Database:
    """A named source, connected; a context manager that gives its connections back."""

    def __init__(self, name: str, source: Source, engine: Engine) -> None:
        self.name = name
        self.source = source
        self.engine = engine
        self._statements = 0
        self._rows = 0
        self.dialect = connections.DIALECTS[engine.dialect.name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Database {self.name!r} ({self.engine.dialect.name})>"

    def close(self) -> None:
        """Give every connection back to the server."""
        self.engine.dispose()

    def read(self, statement: Statement, /, **binds: Any) -> pl.DataFrame:
        """Run a SELECT and return its rows, exact: integers Int64, scaled numbers Decimal.

        `statement` is SQL text with `:name` binds or a SQLAlchemy select. A bare NUMERIC or
        NUMBER becomes Decimal(38, 10). Raises QueryError for what the database refuses and
        DataError for values or types that no dtype holds exactly.
        """
        return pl.concat(self._fetch(statement, binds, self.source.numbers))

    def read_as(self, numbers: Literal["exact", "float"], statement: sa.SelectBase) -> pl.DataFrame:
        """Read with decimals or floats, whatever the source asks for."""
        return pl.concat(self._fetch(statement, {}, numbers))

    def frames_as(
        self, numbers: Literal["exact", "float"], statement: sa.SelectBase
    ) -> Iterator[pl.DataFrame]:
        """Yield the frames of a read with decimals or floats as they come, the first empty."""
        return self._fetch(statement, {}, numbers)

    def batches(
        self, statement: Statement, /, rows: int = ROWS, **binds: Any
    ) -> Iterator[pl.DataFrame]:
        """Run a SELECT and yield frames of `rows` rows, all of one schema; memory is bounded.

        Without any rows there is one frame, empty. Types and errors are those of `read`; the
        connection is held until the last frame was taken or the iterator is closed.
        """
        if rows < 1:
            raise QueryError(f"batches() was asked for {rows} rows at a time; one is the least.")
        return dtypes.of_size(self._fetch(statement, binds, self.source.numbers), rows)

    def extract(
        self,
        what: Statement | sa.FromClause,
        path: str | Path,
        /,
        *,
        overwrite: bool = False,
        progress: bool = True,
        **binds: Any,
    ) -> Extract:
        """Stream a SELECT or a table into a `.parquet`, `.csv`, `.jsonl` or `.xlsx` file.

        `what` is SQL text, a table's name or a SQLAlchemy select or table. The file appears when
        it is whole; one that is there already is refused unless `overwrite`.
        """
        from workbench import extracts

        label = what if isinstance(what, str) else "the statement"
        if isinstance(what, str) and not begins_select(what):
            what = self.table(what)
        statement = sa.select(what) if isinstance(what, sa.FromClause) else what
        frames = self._fetch(statement, binds, self.source.numbers)
        return extracts.write(
            frames, Path(path), overwrite=overwrite, label=label, progress=progress
        )

    def _fetch(
        self, statement: Statement, binds: dict[str, Any], numbers: str
    ) -> Iterator[pl.DataFrame]:
        """Yield a SELECT's rows as they come, first a frame without rows."""
        started = time.perf_counter()
        text, values = compiled(statement, binds, self.engine.dialect)
        rows = 0

        def frames(connection: sa.Connection) -> Iterator[pl.DataFrame]:
            # Begun here, so that the transaction is read-only where the source is.
            connection.begin()
            driver = connection.connection.driver_connection
            timeout = self.source.call_timeout
            yield from self.dialect.batches(driver, text, values, numbers, timeout)

        ended = "stopped"
        try:
            for frame in self.stream("The statement", frames):
                rows += frame.height
                if self.engine.dialect.requires_name_normalize:
                    frame.columns = _as_written(statement, frame.columns)
                yield frame
            ended = "read"
        finally:
            self._statements += 1
            self._rows += rows
            run = os.environ.get("WORKBENCH_RUN_ID", "-")
            elapsed = time.perf_counter() - started
            log.info("%s: %d rows %s in %.3f s, run %s", self.name, rows, ended, elapsed, run)
            log.debug("%s: %s", self.name, text)

    def describe(self, statement: str) -> sa.Subquery:
        """Make a SELECT text usable as a typed subquery, without reading a row of it."""
        # A text without binds: none of its colons means anything to SQLAlchemy.
        text = single_select(statement).replace(":", r"\:")
        compiled_text = str(sa.text(text).compile(dialect=self.engine.dialect))

        def columns(connection: sa.Connection) -> list[dtypes.ResultColumn]:
            connection.begin()
            driver = connection.connection.driver_connection
            return dtypes.checked(self.dialect.describe(driver, compiled_text, {}), "exact")

        described = self.attempt("The statement", columns)
        dialect = self.engine.dialect
        named: Callable[[str], str] = (
            dialect.normalize_name if dialect.requires_name_normalize else str
        )
        typed = [sa.column(named(entry.name), dtypes.sql_type(entry)) for entry in described]
        return sa.text(f"{text}\n").columns(*typed).subquery("statement")

    def execute_many(
        self, statement: str | sa.UpdateBase, rows: Iterable[Mapping[str, Any]] | pl.DataFrame
    ) -> int:
        """Run a statement once for each row in one transaction; return how many rows there were.

        `rows` are mappings from bind to value, or a frame. All of them take effect or none.
        Raises QueryError naming the first row that is refused (1-based), never its values;
        refused on a read-only source.
        """
        if self.source.read_only:
            raise QueryError(
                f"Source {self.name!r} is read-only.",
                "Set read_only = false for the source if it is meant to be written to.",
            )
        from workbench import writing

        clause = text_clause(statement) if isinstance(statement, str) else statement
        mappings = rows.iter_rows(named=True) if isinstance(rows, pl.DataFrame) else iter(rows)
        count = self.attempt(
            "The statement",
            lambda connection: writing.execute(connection, clause, mappings),
            writes=True,
        )
        log.info("%s: %d rows written", self.name, count)
        return count

    def table(self, name: str) -> sa.Table:
        """Reflect a table or view, `schema.table` or `table`; raises DataError when unknown.

        Names are matched without regard to case where only one table answers to them. One with
        a dot in it is written in double quotes.
        """
        schema, bare = parts_of(name)
        schema = schema or self.source.schema_ or ""

        def reflect(connection: sa.Connection) -> sa.Table:
            inspector = sa.inspect(connection)
            found_schema = _match(schema or None, inspector.get_schema_names())
            if schema and found_schema is None:
                raise self._unknown_table(name, schema, [], inspector)
            names = [
                *inspector.get_table_names(schema=found_schema),
                *inspector.get_view_names(schema=found_schema),
                *_materialized_views(inspector, found_schema),
            ]
            found = _match(bare, names)
            if found is None:
                raise self._unknown_table(name, schema, names, inspector)
            # Where home_of finds it.
            home = sa.MetaData(info={"database": self})
            return sa.Table(found, home, schema=found_schema, autoload_with=connection)

        return self.attempt(f"Table {name}", reflect)

    def health(self) -> Health:
        """Ask the server who it is and how far away; raises ConnectionFailed."""

        def ask(connection: sa.Connection) -> Health:
            probe = sa.text(self.dialect.SESSION)
            session = connection.execute(probe).scalar_one()
            started = time.perf_counter()
            connection.execute(probe).all()
            elapsed = (time.perf_counter() - started) * 1000
            version = connection.dialect.server_version_info or ()
            return Health(
                source=self.name,
                kind=self.source.kind,
                server="Oracle" if self.engine.dialect.name == "oracle" else "PostgreSQL",
                version=".".join(map(str, version)),
                driver=self.dialect.driver(connection.connection.driver_connection),
                session=str(session),
                round_trip_ms=round(elapsed, 2),
                pool=self._pool_use(),
                statements=self._statements,
                rows=self._rows,
            )

        return self.attempt("The health check", ask)

    def _pool_use(self) -> PoolUse:
        """Look at the pool, from one of its connections, which does not count as used."""
        pool = self.engine.pool
        assert isinstance(pool, sa.QueuePool)  # noqa: S101
        return PoolUse(
            pool.checkedin() + pool.checkedout(), pool.checkedout() - 1, self.source.pool.maximum
        )

    def attempt(self, what: str, work: Callable[[sa.Connection], T], *, writes: bool = False) -> T:
        """Do `work` on a connection; what SQLAlchemy and drivers raise becomes one sentence."""
        return next(self.stream(what, lambda connection: iter((work(connection),)), writes))

    def stream(
        self, what: str, work: Callable[[sa.Connection], Iterator[T]], writes: bool = False
    ) -> Iterator[T]:
        """Yield what `work` yields on a connection; errors become one sentence, as in `attempt`."""
        driver_error = self.engine.dialect.loaded_dbapi.Error
        failure: WorkbenchError | None = None
        connection = None
        try:
            connection = self.engine.connect()
        except (exc.SQLAlchemyError, driver_error, OSError, ValueError) as error:
            failure = self.unreachable(error)
        if connection is not None:
            try:
                yield from work(connection)
            except (exc.SQLAlchemyError, driver_error) as error:
                failure = self.failure(what, error, connection, writes)
            finally:
                # The pool itself gives up a connection that cannot be rolled back.
                with suppress(exc.SQLAlchemyError, driver_error):
                    connection.close()
        # Raised outside of every handler: the driver's own exception, which knows the password
        # it was given, must not hang on as the context of ours.
        if failure:
            raise failure

    def failure(
        self, what: str, error: Exception, connection: sa.Connection, writes: bool
    ) -> WorkbenchError:
        """Say what a driver or SQLAlchemy raised: ConnectionFailed where the connection is gone."""
        fault = fault_of(error)
        hint = fault.fix if fault else None
        if isinstance(error, exc.DBAPIError):
            lost = error.connection_invalidated
        else:
            driver = connection.connection.dbapi_connection
            lost = self.engine.dialect.is_disconnect(error, driver, None)  # type: ignore[arg-type]
            if lost:
                connection.invalidate()
        if lost:
            return ConnectionFailed(
                f"The connection to source {self.name!r} was lost: {why(error)}",
                "Look what of it was done before you run it again."
                if writes
                else "Nothing was changed; run it again.",
            )
        return QueryError(f"{what} failed on source {self.name!r}: {said(error)}", hint)

    def unreachable(self, error: Exception) -> ConnectionFailed:
        """Say why no connection could be had."""
        if isinstance(error, exc.TimeoutError):
            pool = self.source.pool
            return ConnectionFailed(
                f"All {pool.maximum} connections of source {self.name!r} are in use, and none "
                f"came free within {pool.timeout:g} s.",
                "Close what is open (batches that were not read to their end, say), or raise "
                "maximum under pool.",
            )
        place = ":".join(str(part) for part in (self.engine.url.host, self.engine.url.port) if part)
        fault = fault_of(error)
        return ConnectionFailed(
            f"Source {self.name!r} cannot be reached{f' at {place}' if place else ''}: "
            f"{why(error)}",
            fault.fix
            if fault
            else "Check that the server runs and that host, port and credentials are right.",
        )

    def _unknown_table(
        self, name: str, schema: str, names: list[str], inspector: sa.Inspector
    ) -> DataError:
        full = [f"{schema}.{table}" if "." in name else table for table in sorted(names)]
        schemas = sorted(inspector.get_schema_names())
        lacks = f"table {name!r}.{nearest(name, full)}"
        kind, there = ("Tables", full) if full else ("Schemas", schemas)
        hint = f"{kind} there: {', '.join(there[:10])}."
        if schema and _match(schema, schemas) is None:
            lacks = f"schema {schema!r} for the table {name!r}.{nearest(schema, schemas)}"
        if " " in name:
            hint += " A statement begins with SELECT or WITH."
        return DataError(f"Source {self.name!r} has no {lacks}", hint)


def parts_of(name: str) -> tuple[str, str]:
    """Divide a table's name into schema ("" where none is named) and table, quotes taken off."""
    parts = re.findall(r'"((?:[^"]|"")+)"(?=\.|$)|([^.]+)', name)
    *schemas, bare = [quoted.replace('""', '"') or plain for quoted, plain in parts] or [""]
    return ".".join(schemas), bare


def home_of(table: sa.Table) -> Database:
    """Return the source a table was got from by `db.table`; raises UsageError for any other."""
    database = table.metadata.info.get("database")
    if not isinstance(database, Database):
        raise UsageError(
            f"The table {table.name!r} does not say which source it is in.",
            "Get it from its source: db.table(...).",
        )
    return database


def connect(source: str = "demo") -> Database:
    """Connect to a named source of workbench.toml and prove that it answers.

    Raises SettingsError for an unknown or unusable source, CredentialsError for a reference
    that leads nowhere, ConnectionFailed when the server cannot be reached or refuses us.
    """
    settings = load_settings().source(source)
    engine = connections.open_engine(source, settings)
    database = Database(source, settings, engine)
    health = database.health()
    if settings.credentials and not settings.schema_:
        found = credentials.resolve(settings.credentials).address.schema
        database = Database(source, settings.model_copy(update={"schema_": found}), engine)
    server = f"{health.server} {health.version}"
    records.publish(
        records.SOURCE,
        {"name": source, "kind": health.kind, "server": server, "read_only": settings.read_only},
        f"Connected to {source}: {server}{', read only' if settings.read_only else ''}",
    )
    return database


def _as_written(statement: Statement, found: list[str]) -> list[str]:
    """Name columns as the same statement does on PostgreSQL; Oracle answers in upper case."""
    asked = (
        {}
        if isinstance(statement, str)
        else {column.name.upper(): column.name for column in statement.selected_columns}
    )
    names = [asked.get(name, name.lower()) if name.isupper() else name for name in found]
    return names if len({*names}) == len(names) else found


def _match(name: str | None, names: list[str]) -> str | None:
    if name is None or name in names:
        return name
    alike = [other for other in names if other.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def _materialized_views(inspector: sa.Inspector, schema: str | None) -> list[str]:
    try:
        return inspector.get_materialized_view_names(schema=schema)
    except NotImplementedError:
        return []
