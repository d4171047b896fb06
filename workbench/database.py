"""connect(): a source's name becomes a `Database` that reads safely and exactly."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

import polars as pl
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Engine, make_url

from workbench import credentials, dtypes, records
from workbench.errors import ConnectionFailed, DataError, QueryError
from workbench.settings import Source, load_settings

log = logging.getLogger(__name__)
Statement = str | sa.SelectBase


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
        started = time.perf_counter()
        with self._failures("The statement"), self.engine.connect() as connection:
            result = connection.execute(self._readable(statement), binds)
            columns = dtypes.result_columns(
                result.cursor.description,
                self.engine.dialect.name,
                numbers=self.source.numbers,
            )
            rows = dtypes.frame(columns, result)
        elapsed = time.perf_counter() - started
        log.info("%s: %d rows in %.3f s", self.name, rows.height, elapsed)
        log.debug("%s: %s", self.name, statement)
        return rows

    def describe(self, statement: str) -> sa.Subquery:
        """Make a SELECT text usable as a typed subquery, without reading a row of it."""
        # A text without binds: its colons (times, JSON paths, comments) mean nothing to SQLAlchemy.
        text = single_select(statement).replace(":", r"\:")
        # The line feed ends a comment that the last line of the text may hold.
        probe = sa.text(f"SELECT * FROM ({text}\n) probe WHERE 1 = 0")  # noqa: S608
        with self._failures("The statement"), self.engine.connect() as connection:
            described = dtypes.result_columns(
                connection.execute(probe).cursor.description,
                self.engine.dialect.name,
            )
        columns = [sa.column(entry.name, _sql_type(entry.dtype)) for entry in described]
        return sa.text(f"{text}\n").columns(*columns).subquery("statement")

    def table(self, name: str) -> sa.Table:
        """Reflect a table or view, `schema.table` or `table`; raises DataError when unknown.

        Names are matched without regard to case where only one table answers to them.
        """
        schema, _, bare = name.rpartition(".")
        with self._failures(f"Table {name}"):
            inspector = sa.inspect(self.engine)
            found_schema = _match(schema or self.source.schema_, inspector.get_schema_names())
            names = [
                *inspector.get_table_names(schema=found_schema),
                *inspector.get_view_names(schema=found_schema),
                *_materialized_views(inspector, found_schema),
            ]
            found = _match(bare, names)
            if found is None or (schema and found_schema is None):
                raise self._unknown_table(name, schema, names, inspector)
            return sa.Table(found, sa.MetaData(), schema=found_schema, autoload_with=self.engine)

    def health(self) -> Health:
        """Ask the server who it is and how far away; raises ConnectionFailed."""
        with self._failures("The health check"), self.engine.connect() as connection:
            started = time.perf_counter()
            connection.execute(self._session_probe()).all()
            elapsed = (time.perf_counter() - started) * 1000
            session = connection.execute(self._session_probe()).scalar_one()
            version = ".".join(str(part) for part in connection.dialect.server_version_info or ())
        return Health(
            source=self.name,
            kind=self.source.kind,
            server="Oracle" if self.engine.dialect.name == "oracle" else "PostgreSQL",
            version=version,
            session=str(session),
            round_trip_ms=round(elapsed, 2),
            pool=self.engine.pool.status(),
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
        return sa.text(statement)

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Turn what SQLAlchemy and the drivers raise into one sentence of ours."""
        try:
            yield
        except exc.SQLAlchemyError as error:
            lines = str(getattr(error, "orig", None) or error).splitlines()
            reason = next((line.strip() for line in lines if line.strip()), type(error).__name__)
            if not isinstance(error, exc.DBAPIError) or error.statement is not None:
                raise QueryError(f"{what} failed on source {self.name!r}: {reason}") from None
            place = ":".join(str(p) for p in (self.engine.url.host, self.engine.url.port) if p)
            raise ConnectionFailed(
                f"Source {self.name!r} cannot be reached{f' at {place}' if place else ''}: "
                f"{reason}",
                "Check that the server runs and that host, port and credentials are right.",
            ) from None

    def _unknown_table(
        self, name: str, schema: str, names: list[str], inspector: sa.Inspector
    ) -> DataError:
        near = get_close_matches(name.rpartition(".")[2].lower(), names, n=1)
        prefix = f"{schema}." if schema else ""
        known = ", ".join(f"{prefix}{table}" for table in sorted(names)[:10])
        schemas = ", ".join(sorted(inspector.get_schema_names())[:10])
        return DataError(
            f"Source {self.name!r} has no table {name!r}."
            + (f" Did you mean {prefix + near[0]!r}?" if near else ""),
            f"Tables there: {known}." if names else f"Schemas there: {schemas}.",
        )


def connect(source: str = "demo") -> Database:
    """Connect to a named source of workbench.toml and prove that it answers.

    Raises SettingsError for an unknown or unusable source, CredentialsError for a reference
    that leads nowhere, ConnectionFailed when the server cannot be reached or refuses us.
    """
    settings = load_settings().source(source)
    if settings.kind == "embedded":
        from workbench import embedded

        url = embedded.connection_url()
    else:
        url = make_url(settings.url or "")
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
    pattern = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/"""
    return re.sub(
        pattern,
        lambda found: ("x" if found[0][0] in "'\"" else " ") * len(found[0]),
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
    engine = sa.create_engine(url, **options)
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


def _sql_type(dtype: pl.DataType) -> sa.types.TypeEngine[Any]:
    if isinstance(dtype, pl.Decimal):
        return sa.Numeric(dtype.precision, dtype.scale)
    known: dict[type[pl.DataType], sa.types.TypeEngine[Any]] = {
        pl.Int64: sa.BigInteger(),
        pl.Float64: sa.Double(),
        pl.String: sa.String(),
        pl.Boolean: sa.Boolean(),
        pl.Binary: sa.LargeBinary(),
        pl.Date: sa.Date(),
        pl.Time: sa.Time(),
        pl.Datetime: sa.DateTime(),
        pl.Duration: sa.Interval(),
    }
    return known[type(dtype)]
