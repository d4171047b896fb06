"""connect(): a source's name becomes a `Database` that reads safely and exactly."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import polars as pl
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Engine, make_url

from workbench import credentials, dtypes, records
from workbench.errors import ConnectionFailed, DataError, QueryError, nearest
from workbench.settings import Source, load_settings

log = logging.getLogger(__name__)
Statement = str | sa.SelectBase
T = TypeVar("T")


@dataclass(frozen=True)
class Health:
    """What a source says of itself: server, session, round trip (ms) and pool use."""

    source: str
    kind: str
    server: str
    version: str
    session: str
    round_trip_ms: float
    pool: str


class Database:
    """A named source, connected; a context manager that gives its connections back."""

    def __init__(self, name: str, source: Source, engine: Engine) -> None:
        self.name = name
        self.source = source
        self.engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Database {self.name!r} ({self.engine.dialect.name})>"

    def close(self) -> None:
        """Give every connection back to the server."""
        self.engine.dispose()

    def read(self, statement: Statement, **binds: Any) -> pl.DataFrame:
        """Run a SELECT and return its rows, exact: integers Int64, scaled numbers Decimal.

        `statement` is SQL text with `:name` binds or a SQLAlchemy select. A bare NUMERIC or
        NUMBER becomes Decimal(38, 10). Raises QueryError for what the database refuses and
        DataError for values or types that no dtype holds exactly.
        """
        return self._read(statement, binds, self.source.numbers)

    def read_exactly(self, statement: sa.SelectBase) -> pl.DataFrame:
        """Read without floats, also from a source that asks for them."""
        return self._read(statement, {}, "exact")

    def _read(self, statement: Statement, binds: dict[str, Any], numbers: str) -> pl.DataFrame:
        started = time.perf_counter()
        readable = self._readable(statement)

        def fetch(connection: sa.Connection) -> pl.DataFrame:
            result = connection.execute(readable, binds)
            dialect = self.engine.dialect.name
            columns = dtypes.result_columns(result.cursor.description, dialect, numbers=numbers)
            return dtypes.frame(columns, result)

        rows = self._attempt("The statement", fetch)
        elapsed = time.perf_counter() - started
        log.info("%s: %d rows in %.3f s", self.name, rows.height, elapsed)
        log.debug("%s: %s", self.name, statement)
        return rows

    def describe(self, statement: str) -> sa.Subquery:
        """Make a SELECT text usable as a typed subquery, without reading a row of it."""
        # A text without binds: none of its colons means anything to SQLAlchemy.
        text = single_select(statement).replace(":", r"\:")
        # The line feed ends a comment that the last line of the text may hold.
        probe = sa.text(f"SELECT * FROM ({text}\n) probe WHERE 1 = 0")  # noqa: S608

        def columns(connection: sa.Connection) -> list[dtypes.ResultColumn]:
            description = connection.execute(probe).cursor.description
            return dtypes.result_columns(description, self.engine.dialect.name)

        described = self._attempt("The statement", columns)
        typed = [sa.column(entry.name, _sql_type(entry)) for entry in described]
        return sa.text(f"{text}\n").columns(*typed).subquery("statement")

    def table(self, name: str) -> sa.Table:
        """Reflect a table or view, `schema.table` or `table`; raises DataError when unknown.

        Names are matched without regard to case where only one table answers to them.
        """
        schema, _, bare = name.rpartition(".")
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
            return sa.Table(found, sa.MetaData(), schema=found_schema, autoload_with=connection)

        return self._attempt(f"Table {name}", reflect)

    def health(self) -> Health:
        """Ask the server who it is and how far away; raises ConnectionFailed."""

        def ask(connection: sa.Connection) -> Health:
            session = connection.execute(self._session_probe()).scalar_one()
            started = time.perf_counter()
            connection.execute(self._session_probe()).all()
            elapsed = (time.perf_counter() - started) * 1000
            version = connection.dialect.server_version_info or ()
            return Health(
                source=self.name,
                kind=self.source.kind,
                server="Oracle" if self.engine.dialect.name == "oracle" else "PostgreSQL",
                version=".".join(map(str, version)),
                session=str(session),
                round_trip_ms=round(elapsed, 2),
                pool=self.engine.pool.status(),
            )

        return self._attempt("The health check", ask)

    def _attempt(self, what: str, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` on a connection; what SQLAlchemy and drivers raise becomes one sentence."""
        # Raised outside of every handler: the driver's own exception, which knows the password
        # it was given, must not hang on as the context of ours.
        failure: ConnectionFailed | QueryError
        try:
            connection = self.engine.connect()
        except (exc.SQLAlchemyError, ValueError) as error:
            failure = self._unreachable(error)
        else:
            with connection:
                try:
                    return work(connection)
                except exc.SQLAlchemyError as error:
                    lost = isinstance(error, exc.DBAPIError) and error.connection_invalidated
                    failure = (
                        self._unreachable(error)
                        if lost
                        else QueryError(f"{what} failed on source {self.name!r}: {_said(error)}")
                    )
        raise failure

    def _unreachable(self, error: Exception) -> ConnectionFailed:
        place = ":".join(str(part) for part in (self.engine.url.host, self.engine.url.port) if part)
        return ConnectionFailed(
            f"Source {self.name!r} cannot be reached{f' at {place}' if place else ''}: "
            f"{_said(error)}",
            "Check that the server runs and that host, port and credentials are right.",
        )

    def _session_probe(self) -> sa.TextClause:
        if self.engine.dialect.name == "oracle":
            return sa.text("SELECT SYS_CONTEXT('USERENV', 'SID') FROM DUAL")
        return sa.text("SELECT pg_backend_pid()")

    def _readable(self, statement: Statement) -> Any:
        if not isinstance(statement, str):
            return statement
        if self.source.read_only:
            statement = single_select(statement)
        # A colon inside a string or a comment is no bind.
        pairs = zip(statement, _masked(statement), strict=True)
        return sa.text("".join(r"\:" if c == ":" != m else c for c, m in pairs))

    def _unknown_table(
        self, name: str, schema: str, names: list[str], inspector: sa.Inspector
    ) -> DataError:
        full = [f"{schema}.{table}" if "." in name else table for table in sorted(names)]
        schemas = ", ".join(sorted(inspector.get_schema_names())[:10])
        return DataError(
            f"Source {self.name!r} has no table {name!r}.{nearest(name, full)}",
            f"Tables there: {', '.join(full[:10])}." if full else f"Schemas there: {schemas}.",
        )


def connect(source: str = "demo") -> Database:
    """Connect to a named source of workbench.toml and prove that it answers.

    Raises SettingsError for an unknown or unusable source, CredentialsError for a reference
    that leads nowhere, ConnectionFailed when the server cannot be reached or refuses us.
    """
    settings = load_settings().source(source)
    if settings.url is None:
        from workbench import embedded

        url = embedded.connection_url()
    else:
        url = make_url(settings.url)
    database = Database(source, settings, _engine(url, settings))
    health = database.health()
    server = f"{health.server} {health.version}"
    records.publish(
        records.SOURCE,
        {"name": source, "kind": health.kind, "server": server, "read_only": settings.read_only},
        f"Connected to {source}: {server}{', read only' if settings.read_only else ''}",
    )
    return database


def single_select(statement: str) -> str:
    """Return the text without what trails it; raises QueryError unless it is one SELECT or WITH.

    A guard against accidents: the grant of the account is what protects.
    """
    masked = _masked(statement)
    text = statement[: len(masked.rstrip().rstrip("; \t\r\n"))]
    masked = masked[: len(text)]
    if not re.match(r"[\s(]*(select|with)\b", masked, flags=re.IGNORECASE):
        raise QueryError(
            "Only SELECT and WITH statements may run on a read-only source.",
            "Set read_only = false for the source if it is meant to be written to.",
        )
    if ";" in masked:
        raise QueryError("The text holds more than one statement; a single SELECT is expected.")
    return text


def _masked(statement: str) -> str:
    """Blank out comments, and the inside of strings and quoted names, keeping every position."""
    pattern = (
        r"(?<![\w$])\$(\w*)\$.*?\$\1\$|\b[eE]'(?:[^'\\]|\\.|'')*'"
        r"|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/"
    )
    return re.sub(
        pattern,
        lambda found: (" " if found[0][:2] in ("--", "/*") else "x") * len(found[0]),
        statement,
        flags=re.DOTALL,
    )


def _engine(url: URL, source: Source) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
    if url.get_backend_name() == "postgresql":
        options["connect_args"] = {
            "application_name": _application_name(),
            "connect_timeout": max(int(source.connect_timeout), 1),
            "options": f"-c statement_timeout={int(source.call_timeout * 1000)} -c timezone=UTC",
        }
        if source.read_only:
            options["execution_options"] = {"postgresql_readonly": True}
    elif url.get_backend_name() == "oracle":
        options["connect_args"] = {"tcp_connect_timeout": source.connect_timeout}
    else:
        raise ConnectionFailed(
            f"{url.get_backend_name()} databases are not supported.",
            "Use postgresql+psycopg://… or oracle+oracledb://….",
        )
    try:
        engine = sa.create_engine(url, **options)
    except (exc.SQLAlchemyError, ImportError) as error:
        raise ConnectionFailed(f"The URL of the source cannot be used: {_said(error)}") from None
    if source.credentials:
        _present_credentials(engine, source.credentials)
    return engine


def _present_credentials(engine: Engine, reference: str) -> None:
    # Resolved at login and handed to the driver alone: the engine's URL never holds them.
    @event.listens_for(engine, "do_connect")
    def _login(_dialect: Any, _record: Any, _args: Any, options: dict[str, Any]) -> None:
        found = credentials.resolve(reference)
        options.update(user=found.username, password=found.password.get_secret_value())


def _application_name() -> str:
    notebook = os.environ.get("WORKBENCH_NOTEBOOK", "")
    run = os.environ.get("WORKBENCH_RUN_ID", "")
    return " ".join(part for part in ("workbench", notebook, run) if part)[:63]


def _said(error: Exception) -> str:
    text = str(getattr(error, "orig", None) or error).split("(Background on this error")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


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


def _sql_type(column: dtypes.ResultColumn) -> sa.types.TypeEngine[Any]:
    if column.kind in ("json", "jsonb"):
        return sa.JSON()
    if column.kind in ("uuid", "custom"):
        return sa.types.NullType()
    if isinstance(column.dtype, pl.Decimal):
        return sa.Numeric(column.dtype.precision, column.dtype.scale)
    known: dict[type[pl.DataType], sa.types.TypeEngine[Any]] = {
        pl.Int64: sa.BigInteger(),
        pl.Float64: sa.Double(),
        pl.String: sa.CLOB() if "CLOB" in column.kind else sa.String(),
        pl.Boolean: sa.Boolean(),
        pl.Binary: sa.LargeBinary(),
        pl.Date: sa.Date(),
        pl.Time: sa.Time(),
        pl.Datetime: sa.DateTime(),
        pl.Duration: sa.Interval(),
    }
    return known[type(column.dtype)]
