"""The sample schemas in a source of the user's own, PostgreSQL or Oracle, so that all can be tried.

PostgreSQL gets a schema for each sample. On Oracle, where a schema is a user, all the tables go
into the one that the source names, or else into the login's own.
"""

from __future__ import annotations

import logging
import sys

import sqlalchemy as sa
from sqlalchemy.schema import (
    CreateSchema,
    CreateTable,
    DropSchema,
    SetColumnComment,
    SetTableComment,
)
from sqlalchemy.sql import quoted_name

from workbench.database import Database, connect
from workbench.demo import DEFAULT_ROWS, SCHEMAS
from workbench.errors import DataError, QueryError, WorkbenchError

log = logging.getLogger(__name__)


def load_into(source: str, rows: int = DEFAULT_ROWS, *, progress: bool = False) -> dict[str, int]:
    """Load all sample schemas into a source; return the rows of each `schema.table`.

    `rows` is the number of colors; with `progress` a terminal shows how far it is. Raises
    QueryError where the source is read-only or refuses, DataError where a schema holds anything
    already. What fails leaves nothing behind: the tables this call made are dropped again.
    """
    from rich.console import Console
    from rich.progress import Progress

    counts: dict[str, int] = {}
    silent = not (progress and sys.stderr.isatty())
    bars = Progress(console=Console(stderr=True), transient=True, disable=silent)
    with connect(source) as db, bars:
        if db.source.read_only:
            raise QueryError(
                f"Source {source!r} is read-only, so that nothing can be loaded into it.",
                "Set read_only = false for it in workbench.toml, if it is meant to be written to.",
            )
        targets, missing = db._attempt("The look at the schemas", lambda c: _targets(db, c))
        tables = _tables(db.engine.dialect, targets)
        made: list[sa.Table] = []
        try:
            db._attempt("CREATE TABLE", lambda c: _make(c, missing, tables, made))
            for sample, generator in SCHEMAS.items():
                for name, frame in generator.generate(rows).items():
                    place = f"{targets[sample]}.{name}"
                    lines = bars.track(frame.iter_rows(named=True), frame.height, description=place)
                    counts[place] = db.execute_many(sa.insert(tables[sample, name]), lines)
        except BaseException:
            try:
                db._attempt("DROP TABLE", lambda c: _drop(c, missing, made))
            except WorkbenchError as error:
                log.warning("%s: not all that was loaded is dropped again: %s", source, error)
            raise
    return counts


def _targets(db: Database, connection: sa.Connection) -> tuple[dict[str, str], list[str]]:
    """Say where each sample goes, and which of these schemas are to be made."""
    inspector = sa.inspect(connection)
    known = inspector.get_schema_names()
    if db.engine.dialect.name == "oracle":
        named = db.source.schema_ or inspector.default_schema_name or ""
        own = next((name for name in known if name.lower() == named.lower()), None)
        if own is None:
            raise DataError(f"Source {db.name!r} has no schema {named!r}.")
        targets = dict.fromkeys(SCHEMAS, own)
    else:
        targets = {sample: sample for sample in SCHEMAS}
    for schema in dict.fromkeys(targets.values()):
        held = sorted(
            {
                *inspector.get_table_names(schema=schema),
                *inspector.get_view_names(schema=schema),
                *inspector.get_materialized_view_names(schema=schema),
            }
        )
        if held:
            raise DataError(
                f"Schema {schema!r} of source {db.name!r} is not empty: it holds "
                f"{', '.join(held[:5])}{f' and {len(held) - 5} more' if held[5:] else ''}.",
                "Drop them if they are not needed, or load into another source.",
            )
    return targets, [] if db.engine.dialect.name == "oracle" else sorted({*targets} - {*known})


def _tables(dialect: sa.Dialect, targets: dict[str, str]) -> dict[tuple[str, str], sa.Table]:
    """Translate the samples' tables, by sample and name, into their schemas there."""
    metadata = sa.MetaData()
    tables = {
        (sample, table.name): table.to_metadata(metadata, schema=targets[sample])
        for sample, generator in SCHEMAS.items()
        for table in generator.METADATA.sorted_tables
    }
    if dialect.requires_name_normalize:
        # A reserved word (DATE) has to be quoted, and then its case counts: upper, like that of
        # all other names there.
        reserved = dialect.identifier_preparer.reserved_words
        for table in tables.values():
            for item in (table, *table.columns):
                if item.name in reserved:
                    item.name = quoted_name(item.name.upper(), True)
    return tables


def _make(
    connection: sa.Connection,
    schemas: list[str],
    tables: dict[tuple[str, str], sa.Table],
    made: list[sa.Table],
) -> None:
    with connection.begin():
        for schema in schemas:
            connection.execute(CreateSchema(schema))
        for table in tables.values():
            connection.execute(CreateTable(table))
            # Each by itself, and noted at once: on Oracle what was made stays made.
            made.append(table)
            connection.execute(SetTableComment(table))
            for column in table.columns:
                connection.execute(SetColumnComment(column))
            for index in table.indexes:
                index.create(connection)


def _drop(connection: sa.Connection, schemas: list[str], made: list[sa.Table]) -> None:
    with connection.begin():
        for table in reversed(made):
            table.drop(connection, checkfirst=True)
        for schema in schemas:
            connection.execute(DropSchema(schema, if_exists=True))
