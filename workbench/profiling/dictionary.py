"""What a database's dictionary knows beside the structure: one small class per dialect.

No table is read. What an account may not see is missing, never a failure.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import exc

from workbench.profiling.model import InvalidObject

log = logging.getLogger(__name__)
# Not allowed, or not there for this account: SQLSTATEs, and the codes of python-oracledb.
UNSEEN = {"42501", "42P01", "ORA-00942", "ORA-01031"}
LOCKED = "55P03"
LOCK_WAIT = 2000  # milliseconds
Column = tuple[str, str]  # table and column


@dataclass(frozen=True, slots=True)
class Entry:
    """A table or view as the dictionary lists it."""

    name: str
    kind: Literal["table", "view", "materialized view"] = "table"
    rows: int | None = None
    counted: dt.datetime | None = None
    """When `rows` was estimated; None: not told."""
    analyzed: dt.datetime | None = None
    stale: bool | None = None
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A column's stored statistics, as counts."""

    nulls: int | None
    distinct: int | None
    as_of: dt.datetime | None


class PostgreSQL:
    """The catalogs and statistics views of PostgreSQL, chapters "System Catalogs" and "The
    Cumulative Statistics System" of its manual; nothing here waits for a lock but `sizes`.
    """

    # Partitions of partitions as well; pg_partition_tree() would lock them all.
    _FAMILY = """
        WITH RECURSIVE family(root, member) AS (
            SELECT c.oid, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = :schema AND c.relpersistence <> 't' AND NOT c.relispartition
            UNION ALL
            SELECT f.root, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.member
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
        )
    """
    # The rule of "Automatic Vacuuming" in the manual's chapter "Routine Database Maintenance".
    _TABLES = """
        , option(oid, name, value) AS (
            SELECT c.oid, o.option_name, o.option_value::float8
            FROM pg_class c, pg_options_to_table(c.reloptions) o
            WHERE o.option_name IN
                ('autovacuum_analyze_threshold', 'autovacuum_analyze_scale_factor')
        ), part AS (
            SELECT f.root, c.relname, c.relkind, f.root = c.oid AS is_root,
                c.reltuples::float8 AS rows,
                greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,
                greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
                s.n_mod_since_analyze > coalesce(
                    (SELECT value FROM option WHERE oid = c.oid AND name LIKE '%threshold'),
                    current_setting('autovacuum_analyze_threshold')::float8
                ) + greatest(c.reltuples, 0) * coalesce(
                    (SELECT value FROM option WHERE oid = c.oid AND name LIKE '%factor'),
                    current_setting('autovacuum_analyze_scale_factor')::float8
                ) AS stale
            FROM family f JOIN pg_class c ON c.oid = f.member
            LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
            WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
        )
        SELECT root, relname, relkind, is_root, rows, analyzed, vacuumed, stale
        FROM part ORDER BY relname
    """
    _COLUMNS = """
        SELECT s.tablename, s.attname, s.null_frac::float8, s.n_distinct::float8
        FROM pg_stats s JOIN pg_class c ON c.relname = s.tablename
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = s.schemaname
        WHERE s.schemaname = :schema AND s.inherited = (c.relkind = 'p')
    """
    _TYPES = """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = :schema AND a.attnum > 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    """
    _SIZES = """
        SELECT r.relname, sum(pg_total_relation_size(f.member))::bigint
        FROM family f JOIN pg_class r ON r.oid = f.root
        WHERE r.relkind IN ('r', 'p', 'm') AND r.relname <> ALL (:locked)
        GROUP BY r.oid, r.relname
    """
    _SCANS = """
        SELECT r.relname, sum(s.idx_scan)::bigint
        FROM family f JOIN pg_class r ON r.oid = f.root
        JOIN pg_stat_all_indexes s ON s.indexrelid = f.member
        GROUP BY r.oid, r.relname
    """
    _LOCKED = """
        SELECT DISTINCT r.relname FROM family f JOIN pg_class r ON r.oid = f.root
        JOIN pg_class c ON c.oid = f.member
        LEFT JOIN pg_index i ON i.indrelid = c.oid
        JOIN pg_locks l ON l.relation IN (c.oid, c.reltoastrelid, i.indexrelid)
        WHERE l.mode = 'AccessExclusiveLock'
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    _UNENFORCED = """
        SELECT r.relname, c.conname FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE n.nspname = :schema AND NOT c.convalidated
    """
    _INVALID = """
        SELECT x.relname, r.relname, i.indisready FROM pg_index i
        JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class r ON r.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE n.nspname = :schema AND NOT i.indisvalid ORDER BY 1
    """
    _OWNERS = """
        SELECT DISTINCT n.nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'
            AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY 1
    """
    KINDS: Mapping[str, Literal["table", "view", "materialized view"]] = {
        "v": "view", "m": "materialized view",
    }  # fmt: skip

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def owners(self) -> list[str]:
        """List the schemas that hold tables or views and are not the server's own."""
        return [name for (name,) in self._ask(self._OWNERS)]

    def tables(self, schema: str) -> list[Entry]:
        """List tables and views by name; partitions stand in what they are parts of."""
        families: dict[int, list[Any]] = {}
        for row in self._ask(self._FAMILY + self._TABLES, schema=schema):
            families.setdefault(row.root, []).append(row)
        return sorted(map(self._entry, families.values()), key=lambda entry: entry.name)

    def _entry(self, family: Sequence[Any]) -> Entry:
        [root] = (row for row in family if row.is_root)
        parts = [row for row in family if not row.is_root]
        counted: Sequence[Any] = [root]
        if root.relkind == "p" and root.rows < 0:
            counted = [row for row in parts if row.relkind != "p"]
        rows = None
        if root.relkind != "v" and counted and all(row.rows >= 0 for row in counted):
            rows = round(sum(row.rows for row in counted))
        times = [moment for row in counted for moment in (row.analyzed, row.vacuumed) if moment]
        stale = [row.stale for row in family if row.relkind in "rm" and row.stale is not None]
        return Entry(
            name=root.relname,
            kind=self.KINDS.get(root.relkind, "table"),
            rows=rows,
            counted=max(times, default=None),
            analyzed=root.analyzed,
            stale=any(stale) if stale else None,
            partitions=tuple(row.relname for row in parts),
        )

    def columns(self, schema: str, entries: Sequence[Entry]) -> dict[Column, Stored]:
        """Give the stored statistics; a negative n_distinct is a share of the rows."""
        known = {entry.name: entry for entry in entries if entry.rows is not None}
        found = {}
        for table, column, null_share, distinct in self._ask(self._COLUMNS, schema=schema):
            if entry := known.get(table):
                rows = entry.rows or 0
                count = distinct if distinct > 0 else -distinct * rows
                found[table, column] = Stored(
                    round(null_share * rows),
                    round(count) if distinct else None,  # 0: unknown
                    entry.analyzed,
                )
        return found

    def types(self, schema: str) -> dict[Column, str]:
        """Give the columns' types as the database writes them."""
        return {(t, c): written for t, c, written in self._ask(self._TYPES, schema=schema)}

    def locked(self, schema: str) -> list[str]:
        """List the tables that somebody holds, or waits for, so that no other can look at them."""
        return [name for (name,) in self._ask(self._FAMILY + self._LOCKED, schema=schema)]

    def sizes(self, schema: str) -> dict[str, int]:
        """Give tables' bytes on disk, with their indexes; those of locked tables are missing."""
        locked = self.locked(schema)
        return dict(self._ask(self._FAMILY + self._SIZES, schema=schema, locked=locked))

    def scans(self, schema: str) -> dict[str, int]:
        """Give how often each index was used since the counters began."""
        return dict(self._ask(self._FAMILY + self._SCANS, schema=schema))

    def unenforced(self, schema: str) -> set[Column]:
        """Name the constraints, with their tables, that present rows may break."""
        return {(table, name) for table, name in self._ask(self._UNENFORCED, schema=schema)}

    def invalid(self, schema: str) -> list[InvalidObject]:
        """List what the database itself calls invalid."""
        return [
            InvalidObject(index, "index", f"An index of {table} that no query uses.")
            for index, table, _ in self._ask(self._INVALID, schema=schema)
        ]

    def _ask(self, statement: str, **binds: Any) -> list[Any]:
        return ask(self.connection, statement, binds)


def ask(connection: sa.Connection, statement: str, binds: Mapping[str, Any]) -> list[Any]:
    """Return a statement's rows; none where the account may not see them."""
    try:
        with patient(connection):
            return list(connection.execute(sa.text(statement), binds))
    except exc.DBAPIError as error:
        if code(error) not in UNSEEN:
            raise
        log.info("The dictionary is closed to this account: %s", error.orig)
        return []


@contextmanager
def patient(connection: sa.Connection) -> Iterator[None]:
    """Begin a transaction that waits for no lock longer than LOCK_WAIT; its error is LOCKED.

    One for each question: on PostgreSQL a transaction that failed is of no use any more.
    """
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT}")
        yield


def code(error: exc.DBAPIError) -> str:
    """Give the SQLSTATE or Oracle's code of an error."""
    cause: Any = error.orig
    state = getattr(cause, "sqlstate", None)
    return str(state or getattr(cause.args[0] if cause.args else None, "full_code", ""))


DIALECTS = {"postgresql": PostgreSQL}
