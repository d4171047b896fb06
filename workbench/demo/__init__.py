"""Seeded generators of the sample schemas, one module per domain, and how PostgreSQL gets them.

Each module offers `METADATA`, a SQLAlchemy MetaData whose schema bears the module's name, and
`generate(rows)`, its tables' frames in load order; `rows` is the number of colors, the yardstick
by which every schema scales.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import NullPool, create_engine, func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateSchema, CreateTable, DropSchema

from workbench.demo import billing, documents, marketpulse, shop
from workbench.errors import ConnectionFailed

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import URL, Connection, MetaData


class SampleSchema(Protocol):
    """What a module of this package offers."""

    METADATA: MetaData

    def generate(self, rows: int = ...) -> dict[str, pl.DataFrame]:
        """Return the tables' frames in load order."""
        ...


SCHEMAS: dict[str, SampleSchema] = {
    "marketpulse": marketpulse,
    "billing": billing,
    "shop": shop,
    "documents": documents,
}
"""The sample schemas by name, in load order."""

DEFAULT_ROWS = 20_000
"""How many colors there are unless the caller says otherwise."""

LOCK_KEY = 0x776F726B  # "work": the advisory lock under which the samples are loaded

# A schema's comment says what made it: it comes and goes with the schema, in one transaction.
_COMMENT = "Sample data of the workbench demo: generator {fingerprint}, {rows} colors"
_COMMENTS = text(
    "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace"
    " WHERE obj_description(oid, 'pg_namespace') LIKE 'Sample data of the workbench demo: %'"
)


def refresh(url: URL, rows: int | None = None) -> dict[str, int]:
    """Load all sample schemas, or without `rows` those that are not current, in their old size.

    Returns the rows of each `schema.table` that was loaded. Safe in several processes at once.
    """
    counts: dict[str, int] = {}
    try:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            if rows is None and not outdated(connection):
                return counts
            connection.execute(text(f"SELECT pg_advisory_lock({LOCK_KEY})"))
            # Asked again: another process may have done the work while this one waited.
            names = outdated(connection) if rows is None else list(SCHEMAS)
            sizes = {name: size for name, (_, size) in _recorded(connection).items()}
            connection.commit()
            usual = max(sizes.values(), default=DEFAULT_ROWS)
            for name in names:
                counts |= load(connection, name, rows or sizes.get(name, usual))
    except OperationalError as error:
        raise ConnectionFailed(
            f"The demo database could not load its samples: {str(error.orig).strip()}",
            hint="Close what still reads the old ones (an open notebook, say) and try again.",
        ) from error
    return counts


def row_counts(url: URL) -> dict[str, int]:
    """Count the rows of each `schema.table` there is."""
    tables = [table for sample in SCHEMAS.values() for table in sample.METADATA.sorted_tables]
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {
            table.fullname: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }


def fingerprint(name: str) -> str:
    """Return a short digest of a schema's generator and tables: a version would be forgotten."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted({Path(__file__), folder / "columns.py", *folder.glob(f"{name}*.py")}):
        digest.update(file.read_bytes())
    for table in SCHEMAS[name].METADATA.sorted_tables:  # the documents' are not defined here
        digest.update(str(CreateTable(table)).encode())
    return digest.hexdigest()[:12]


def outdated(connection: Connection) -> list[str]:
    """Return the schemas that are missing or were made by another version of the generators."""
    made = {name: made_by for name, (made_by, _) in _recorded(connection).items()}
    return [name for name in SCHEMAS if made.get(name) != fingerprint(name)]


def _recorded(connection: Connection) -> dict[str, tuple[str, int]]:
    recorded = {}
    for name, comment in connection.execute(_COMMENTS):
        if match := re.search(r"generator (\w+), (\d+) colors", comment):
            recorded[name] = (match[1], int(match[2]))
    return recorded


def load(connection: Connection, name: str, rows: int) -> dict[str, int]:
    """Replace one sample schema in a single transaction; return the rows of each `schema.table`.

    Readers see the old schema or the new one, never a half. One that stays in a transaction for
    more than 15 seconds makes this fail instead of waiting for ever.
    """
    sample = SCHEMAS[name]
    frames = sample.generate(rows)
    with connection.begin():
        connection.execute(text("SET LOCAL lock_timeout = '15s'"))
        connection.execute(DropSchema(name, cascade=True, if_exists=True))
        connection.execute(CreateSchema(name))
        sample.METADATA.create_all(connection, checkfirst=False)
        for table, frame in frames.items():
            _copy(connection, f"{name}.{table}", frame)
        comment = _COMMENT.format(fingerprint=fingerprint(name), rows=rows)
        connection.execute(text(f"COMMENT ON SCHEMA {name} IS '{comment}'"))
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    # After the end: within the transaction, its rows would still count as changed since.
    with connection.begin():
        for table in frames:
            connection.execute(text(f"ANALYZE {name}.{table}"))
    return {f"{name}.{table}": frame.height for table, frame in frames.items()}


def _copy(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    columns = ", ".join(f'"{column}"' for column in frame.columns)
    statement = rf"COPY {table} ({columns}) FROM STDIN (FORMAT csv, NULL '\N')"
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(frame.write_csv(include_header=False, null_value=r"\N"))
