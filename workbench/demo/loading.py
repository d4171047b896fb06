"""The sample schemas in a source of the user's own, so that every notebook can be tried there."""

from __future__ import annotations

import logging
import sys

import sqlalchemy as sa
from sqlalchemy import schema as ddl
from sqlalchemy.sql import quoted_name

from workbench.database import Database, connect
from workbench.demo import DEFAULT_ROWS, SCHEMAS
from workbench.errors import DataError, QueryError, WorkbenchError

log = logging.getLogger(__name__)
Tables = dict[tuple[str, str], sa.Table]  # by sample and name


def load_into(source: str, rows: int = DEFAULT_ROWS, *, progress: bool = False) -> dict[str, int]:
    """Load all sample schemas into a source; return the rows of each `schema.table`.

    `rows` is the number of colors. PostgreSQL gets a schema for each sample; on Oracle, where a
    schema is a user, all tables go into the one that the source names, or the login's own. Raises
    QueryError where the source is read-only or refuses, DataError where a schema holds anything.
    What fails leaves nothing behind: tables made are dropped again, since on Oracle DDL commits.
    """
    from rich.console import Console
    from rich.progress import Progress

    silent = not (progress and sys.stderr.isatty())
    bars = Progress(console=Console(stderr=True), transient=True, disable=silent)
    counts: dict[str, int] = {}
    made: list[sa.Table] = []
    with connect(source) as db, bars:
        if db.source.read_only:
            raise QueryError(
                f"Source {source!r} is read-only; nothing can be loaded into it.",
                "Set read_only = false for the source if it is meant to be written to.",
            )
        targets, missing = db.attempt("The look at its schemas", lambda c: _targets(db, c))
        tables = _tables(db.engine.dialect, targets)
        try:
            db.attempt("CREATE TABLE", lambda c: _make(c, missing, tables, made), writes=True)
            for sample, generator in SCHEMAS.items():
                for name, frame in generator.generate(rows).items():
                    place = f"{targets[sample]}.{name}"
                    lines = bars.track(frame.iter_rows(named=True), frame.height, description=place)
                    counts[place] = db.execute_many(sa.insert(tables[sample, name]), lines)
        except BaseException:
            try:
                db.attempt("DROP TABLE", lambda c: _drop(c, missing, made), writes=True)
            except WorkbenchError as error:
                log.warning("%s: not all that was loaded is dropped again: %s", source, error)
            raise
    return counts


def _targets(db: Database, connection: sa.Connection) -> tuple[dict[str, str], list[str]]:
    """Say where each sample goes, and which of these schemas are missing."""
    inspector = sa.inspect(connection)
    known = inspector.get_schema_names()
    targets = {sample: sample for sample in SCHEMAS}
    if db.engine.dialect.name == "oracle":
        named = db.source.schema_ or inspector.default_schema_name or ""
        own = [name for name in known if name.lower() == named.lower()]
        if not own:
            raise DataError(f"Source {db.name!r} has no schema {named!r}.")
        targets = dict.fromkeys(SCHEMAS, own[0])
    for schema in sorted({*targets.values()} & {*known}):
        held = {
            *inspector.get_table_names(schema),
            *inspector.get_view_names(schema),
            *inspector.get_materialized_view_names(schema),
        }
        if held:
            some = ", ".join(sorted(held)[:5]) + (", and more" if len(held) > 5 else "")
            raise DataError(
                f"Schema {schema!r} of source {db.name!r} is not empty: it holds {some}.",
                "Load into another schema or source, or drop them if nobody needs them.",
            )
    return targets, sorted({*targets.values()} - {*known})


def _tables(dialect: sa.Dialect, targets: dict[str, str]) -> Tables:
    metadata = sa.MetaData()
    tables = {
        (sample, table.name): table.to_metadata(metadata, schema=targets[sample])
        for sample, generator in SCHEMAS.items()
        for table in generator.METADATA.sorted_tables
    }
    if dialect.requires_name_normalize:
        # A reserved word (DATE) needs quotes, and with quotes the upper case of all names there.
        reserved = dialect.identifier_preparer.reserved_words
        for table in tables.values():
            for item in (table, *table.columns):
                if item.name in reserved:
                    item.name = quoted_name(item.name.upper(), True)
    return tables


def _make(
    connection: sa.Connection, schemas: list[str], tables: Tables, made: list[sa.Table]
) -> None:
    with connection.begin():
        for schema in schemas:
            connection.execute(ddl.CreateSchema(schema))
        for table in tables.values():
            # Before it is: the answer may get lost, and on Oracle the table stays.
            made.append(table)
            connection.execute(ddl.CreateTable(table))
            connection.execute(ddl.SetTableComment(table))
            for column in table.columns:
                connection.execute(ddl.SetColumnComment(column))
            for index in table.indexes:
                connection.execute(ddl.CreateIndex(index))


def _drop(connection: sa.Connection, schemas: list[str], made: list[sa.Table]) -> None:
    with connection.begin():
        for table in reversed(made):
            table.drop(connection, checkfirst=True)
        for schema in schemas:
            connection.execute(ddl.DropSchema(schema, if_exists=True))
