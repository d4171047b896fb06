"""Which tables and views an account sees in a source, and which of them are meant."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError, UsageError
from workbench.profiling import catalog, dictionary
from workbench.profiling.model import Table
from workbench.reporting.text import inert

if TYPE_CHECKING:
    from workbench.database import Database


@dataclass(frozen=True)
class Listed:
    """A table or view that the account sees; `readable`: it may be selected from."""

    schema: str
    table: Table
    readable: bool

    @property
    def name(self) -> str:
        """The name as `db.table` takes it: parts with a dot or a quote in double quotes."""
        odd = re.compile(r'[."]')
        parts = (self.schema, self.table.name)
        return ".".join('"' + p.replace('"', '""') + '"' if odd.search(p) else p for p in parts)


def list_tables(
    db: Database, schemas: Sequence[str] = (), tables: Sequence[str] = ()
) -> list[Listed]:
    """List the tables and views of `schemas`; else of those `tables` name, or the source's own.

    A source that names no schema has all that hold tables, but the database's own. Raises
    DataError for a schema that is not there.
    """
    from workbench.database import parts_of

    named = [parts_of(name)[0] for name in tables] or [""]
    asked: set[str | None] = {*schemas} or {name or db.source.schema_ for name in named}
    names = {catalog.schema_name(db, name) for name in asked if name}
    if None in asked:
        names |= {name for (name,) in _ask(db, "OWNERS")}
    found = list[Listed]()
    for schema in sorted(names):
        described, _ = catalog.read_catalog(db, schema, None, catalog.now())
        closed = {name for (name,) in _ask(db, "FORBIDDEN", schema)}
        found += [Listed(schema, table, table.name not in closed) for table in described]
    return found


def fingerprint(db: Database) -> str:
    """Give 16 digits that tell the database from others, whatever its source is called."""
    told = _ask(db, "DATABASE") or [db.engine.url, db.source.dsn]  # a URL shows no password
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def with_parents(db: Database, listed: Sequence[Listed]) -> list[Listed]:
    """Add the tables of schemas that foreign keys lead to."""
    found, seen = [*listed], {each.schema for each in listed}
    keys = (key for each in found for key in each.table.foreign_keys)  # of those added, too
    for schema in (key.to_schema for key in keys):
        if schema and schema not in seen:
            seen.add(schema)
            found += list_tables(db, [schema])
    return found


def _ask(db: Database, question: str, schema: str = "") -> list[Any]:
    return db.attempt("The catalog", lambda opened: dictionary.ask(opened, question, schema))


def chosen(db: Database, listed: Sequence[Listed], tables: Sequence[str]) -> list[Listed]:
    """Choose the tables asked for; none: all that may be read, but views.

    Names are matched without regard to case where only one table answers to them. Raises DataError
    for one that is not there, UsageError where several schemas have it.
    """
    from workbench.database import parts_of

    if not tables:
        found = [each for each in listed if each.readable and each.table.kind != "view"]
        if not found:
            raise DataError(f"Source {db.name!r} has no table here that this account may read.")
        return found
    found = list[Listed]()
    for name in tables:
        schema, bare = parts_of(name)
        near = [x for x in listed if not schema or x.schema.lower() == schema.lower()]
        near = [each for each in near if each.schema == schema] or near
        lacks = f"Source {db.name!r} has no table"
        match = catalog.match(bare, [each.table.name for each in near], lacks, "Tables")
        there = [each for each in near if each.table.name == match]
        if len(there) > 1:
            hint = inert(f"Say which: {', '.join(each.name for each in there)}.")
            raise UsageError(f"Several schemas have a table {match!r}.", hint)
        found += there
    return [each for each in listed if each in found]


def entry(each: Listed) -> dict[str, Any]:
    """Give what is listed of a table."""
    table, key = each.table, each.table.primary_key
    return {
        "schema": each.schema, "table": table.name, "kind": table.kind, "readable": each.readable,
        "columns": len(table.columns), "estimated_rows": table.rows and table.rows.value,
        "comment": table.comment, "primary_key": key and list(key.columns),
    }  # fmt: skip
