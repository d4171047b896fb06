"""What a database's dictionary tells beside the structure: one class of statements per dialect.

No table is read. What an account may not see is missing, never a failure. Statements of one name
give the same columns in every dialect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from workbench.connections import said

log = logging.getLogger(__name__)
LOCKED = "55P03"
LOCK_WAIT = 2000  # milliseconds
# Not allowed, or not there for this account: SQLSTATEs, and the codes of python-oracledb.
UNSEEN = {LOCKED, "42501", "42P01", "ORA-00942", "ORA-01031"}


class PostgreSQL:
    """The manual's chapters "System Catalogs" and "The Cumulative Statistics System".

    The functions that tell a size or a definition wait for a lock that somebody holds on the
    table; of these only SIZES uses one, on tables that nobody has locked.
    """

    # A table, and what is read with it: partitions, theirs, and tables that inherit from it.
    # pg_partition_tree() would wait for them. What waits for an exclusive lock is in the way as
    # well: nobody gets past it.
    WITH = """
        WITH RECURSIVE family(root, member) AS (
            SELECT c.oid, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = :schema AND c.relpersistence <> 't' AND NOT c.relispartition
            UNION
            SELECT f.root, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.member
        ), counted(root, together, tuples, inherited) AS (
            SELECT r.oid, min(m.reltuples) >= 0,
                CASE WHEN min(m.reltuples) >= 0 THEN sum(m.reltuples::float8)
                    WHEN r.relkind = 'p' AND r.reltuples >= 0 THEN r.reltuples END,
                bool_or(m.oid <> r.oid)
            FROM family f JOIN pg_class r ON r.oid = f.root
            LEFT JOIN pg_class m ON m.oid = f.member AND m.relkind <> 'p'
            GROUP BY r.oid, r.relkind, r.reltuples
        ), locked(root, member) AS (
            SELECT DISTINCT f.root, f.member FROM family f JOIN pg_class c ON c.oid = f.member
            LEFT JOIN pg_index i ON i.indrelid = c.oid
            JOIN pg_locks l ON l.relation IN (c.oid, c.reltoastrelid, i.indexrelid)
            JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
            WHERE l.mode = 'AccessExclusiveLock'
        )
    """
    DATABASE = """
        SELECT current_database(), oid, system_identifier FROM pg_database, pg_control_system()
        WHERE datname = current_database()
    """
    OWNERS = """
        SELECT DISTINCT n.nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'
            AND n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY 1
    """
    TABLES = """
        SELECT c.relname,
            CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END
        FROM family f JOIN pg_class c ON c.oid = f.root
        WHERE f.root = f.member AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    """
    FORBIDDEN = """
        SELECT c.relname FROM family f JOIN pg_class c ON c.oid = f.root
        WHERE f.root = f.member AND NOT (has_table_privilege(c.oid, 'SELECT')
            AND has_schema_privilege(c.relnamespace, 'USAGE'))
    """
    LOCKED = """
        SELECT c.relname FROM locked k JOIN pg_class c ON c.oid = k.root WHERE k.root = k.member
    """
    PARTITIONS = """
        SELECT r.relname, m.relname FROM family f JOIN pg_class r ON r.oid = f.root
        JOIN pg_class m ON m.oid = f.member
        WHERE r.relkind = 'p' AND r.oid <> m.oid ORDER BY 1, 2
    """
    # Outdated by the rule of "The Autovacuum Daemon" in the chapter "Routine Database Maintenance
    # Tasks". Autovacuum gathers nothing for a partitioned table itself, so what its partitions
    # have together counts, unless one was never looked at; of a table with heirs nothing is known
    # then, because its own rows are not all there are.
    STATISTICS = """
        SELECT r.relname, k.tuples::bigint,
            CASE WHEN k.together THEN min(greatest(s.last_analyze, s.last_autoanalyze,
                    s.last_vacuum, s.last_autovacuum)) ELSE t.analyzed END,
            t.analyzed,
            bool_or(s.n_mod_since_analyze > coalesce(o.threshold,
                    current_setting('autovacuum_analyze_threshold'))::float8
                + coalesce(o.factor, current_setting('autovacuum_analyze_scale_factor'))::float8
                * greatest(m.reltuples, 0))
        FROM counted k JOIN pg_class r ON r.oid = k.root JOIN family f ON f.root = k.root
        LEFT JOIN pg_class m ON m.oid = f.member AND m.relkind <> 'p'
        LEFT JOIN pg_stat_all_tables s ON s.relid = m.oid
        LEFT JOIN LATERAL (SELECT greatest(last_analyze, last_autoanalyze) AS analyzed
            FROM pg_stat_all_tables WHERE relid = r.oid) t ON true
        CROSS JOIN LATERAL (SELECT
            max(option_value) FILTER (WHERE option_name LIKE '%analyze_threshold') AS threshold,
            max(option_value) FILTER (WHERE option_name LIKE '%analyze_scale_factor') AS factor
            FROM pg_options_to_table(m.reloptions)) o
        WHERE r.relkind IN ('r', 'p', 'm', 'f')
        GROUP BY r.oid, r.relname, k.together, k.tuples, t.analyzed
    """
    # A negative n_distinct is a share of the rows; 0 is unknown. The histogram's bounds are those
    # of a sample, without its most common values: no minimum and no maximum.
    COLUMNS = """
        SELECT s.tablename, s.attname, round(s.null_frac::float8 * k.tuples)::bigint,
            round(CASE WHEN s.n_distinct < 0 THEN -s.n_distinct::float8 * k.tuples
                WHEN s.n_distinct > 0 THEN s.n_distinct END)::bigint,
            greatest(t.last_analyze, t.last_autoanalyze)
        FROM pg_stats s JOIN pg_namespace n ON n.nspname = s.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
        JOIN counted k ON k.root = c.oid
        LEFT JOIN pg_stat_all_tables t ON t.relid = c.oid
        WHERE s.schemaname = :schema AND k.tuples IS NOT NULL
            AND s.inherited = coalesce(k.inherited, true)
    """
    TYPES = """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
        FROM family f JOIN pg_class c ON c.oid = f.root JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE f.root = f.member AND a.attnum > 0 AND NOT a.attisdropped
    """
    # What a table inherits from others is read with it, and stands in their own size.
    SIZES = """
        SELECT r.relname,
            sum(pg_total_relation_size(m.oid)) FILTER (WHERE m.oid = r.oid OR m.relispartition)
                ::bigint,
            sum(pg_relation_size(m.oid))::bigint,
            coalesce(sum(pg_relation_size(nullif(m.reltoastrelid, 0))), 0)::bigint
        FROM family f JOIN pg_class r ON r.oid = f.root JOIN pg_class m ON m.oid = f.member
        WHERE r.relkind IN ('r', 'p', 'm') AND f.root NOT IN (SELECT root FROM locked)
        GROUP BY r.oid, r.relname
    """
    SCANS = """
        SELECT r.relname, sum(s.idx_scan)::bigint
        FROM family f JOIN pg_class r ON r.oid = f.root
        JOIN pg_stat_all_indexes s ON s.indexrelid = f.member GROUP BY r.oid, r.relname
    """
    UNENFORCED = """
        SELECT r.relname, c.conname FROM pg_constraint c
        JOIN family f ON f.root = c.conrelid AND f.root = f.member
        JOIN pg_class r ON r.oid = f.root WHERE NOT c.convalidated
    """
    INVALID = """
        SELECT x.relname, 'index', 'An index of ' || r.relname || ' that no query uses: it was'
            ' not built to its end.'
        FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
        JOIN pg_class r ON r.oid = i.indrelid JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE n.nspname = :schema AND NOT i.indisvalid
        UNION ALL
        SELECT c.conname, 'constraint', 'A check of ' || r.relname || ' that is not validated:'
            ' rows from before it may break it.'
        FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace
        WHERE n.nspname = :schema AND c.contype = 'c' AND NOT c.convalidated ORDER BY 2, 1
    """


class Oracle:
    """Oracle Database Reference 19c, "Static Data Dictionary Views"; no column is a LONG."""

    # What it lists are tables that the account may read, or write.
    WITH = FORBIDDEN = LOCKED = SCANS = ""
    # Databases of one name differ in when the account was made.
    DATABASE = """
        SELECT SYS_CONTEXT('USERENV', 'DB_UNIQUE_NAME'), SYS_CONTEXT('USERENV', 'CON_NAME'),
            TO_CHAR(created, 'YYYYMMDDHH24MISS') FROM all_users WHERE username = USER
    """
    OWNERS = """
        SELECT username FROM all_users WHERE oracle_maintained = 'N' AND username IN
            (SELECT owner FROM all_tables UNION SELECT owner FROM all_views) ORDER BY username
    """
    TABLES = """
        SELECT t.table_name,
            CASE WHEN m.mview_name IS NULL THEN 'table' ELSE 'materialized view' END
        FROM all_tables t
        LEFT JOIN all_mviews m ON m.owner = t.owner AND m.mview_name = t.table_name
        WHERE t.owner = :schema AND t.iot_name IS NULL AND t.duration IS NULL
        UNION ALL SELECT view_name, 'view' FROM all_views WHERE owner = :schema
    """
    PARTITIONS = """
        SELECT table_name, partition_name FROM all_tab_partitions WHERE table_owner = :schema
        ORDER BY table_name, partition_position
    """
    # LAST_ANALYZED is the database's local time; its distance from UTC is that of today. What DML
    # has added since stands in rows of its own: the latest comes last, and counts.
    STATISTICS = """
        SELECT table_name, num_rows,
            last_analyzed - (SYSDATE - CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE)),
            last_analyzed - (SYSDATE - CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE)),
            CASE stale_stats WHEN 'YES' THEN 1 WHEN 'NO' THEN 0 END
        FROM all_tab_statistics WHERE owner = :schema AND object_type = 'TABLE'
        ORDER BY last_analyzed NULLS FIRST
    """
    COLUMNS = """
        SELECT table_name, column_name, num_nulls, num_distinct,
            last_analyzed - (SYSDATE - CAST(SYS_EXTRACT_UTC(SYSTIMESTAMP) AS DATE))
        FROM all_tab_col_statistics
        WHERE owner = :schema AND (notes IS NULL OR notes NOT LIKE '%CONVENTIONAL_DML%')
    """
    TYPES = """
        SELECT table_name, column_name, data_type || CASE
            WHEN data_type IN ('CHAR', 'VARCHAR2') THEN '(' || char_length ||
                CASE char_used WHEN 'C' THEN ' CHAR' WHEN 'B' THEN ' BYTE' END || ')'
            WHEN data_type IN ('NCHAR', 'NVARCHAR2') THEN '(' || char_length || ')'
            WHEN data_type = 'RAW' THEN '(' || data_length || ')'
            WHEN data_type = 'NUMBER' AND data_scale IS NOT NULL
                THEN '(' || NVL(TO_CHAR(data_precision), '*') || ',' || data_scale || ')'
            WHEN data_type = 'FLOAT' THEN '(' || data_precision || ')' END
        FROM all_tab_cols WHERE owner = :schema AND hidden_column = 'NO'
    """
    SIZES = """
        SELECT o.table_name, SUM(s.bytes), SUM(s.bytes * o.heap), CAST(NULL AS NUMBER)
        FROM user_segments s JOIN (
            SELECT table_name AS segment, table_name, 1 AS heap FROM user_tables
            UNION ALL SELECT index_name, table_name, NULL FROM user_indexes
            UNION ALL SELECT segment_name, table_name, NULL FROM user_lobs
        ) o ON o.segment = s.segment_name WHERE USER = :schema GROUP BY o.table_name
    """
    UNENFORCED = """
        SELECT table_name, constraint_name FROM all_constraints WHERE owner = :schema
            AND constraint_type = 'R' AND (status = 'DISABLED' OR validated = 'NOT VALIDATED')
    """
    INVALID = """
        SELECT object_name, LOWER(object_type), 'Its status is INVALID.' FROM all_objects
        WHERE owner = :schema AND status = 'INVALID' AND object_name NOT LIKE 'BIN$%'
        UNION ALL SELECT index_name, 'index', 'An index of ' || table_name || ' that is UNUSABLE.'
        FROM all_indexes WHERE table_owner = :schema AND status = 'UNUSABLE'
        UNION ALL SELECT index_name, 'index', 'Its partition ' || partition_name || ' is UNUSABLE.'
        FROM all_ind_partitions WHERE index_owner = :schema AND status = 'UNUSABLE'
        UNION ALL SELECT constraint_name, 'constraint',
            'A constraint of ' || table_name || ' that is ' || status || ', ' || validated || '.'
        FROM all_constraints WHERE owner = :schema AND constraint_type IN ('C', 'P', 'U')
            AND (status = 'DISABLED' OR validated = 'NOT VALIDATED')
        ORDER BY 2, 1, 3
    """


Stored = type[PostgreSQL] | type[Oracle]
DIALECTS: dict[str, Stored] = {"postgresql": PostgreSQL, "oracle": Oracle}


def ask(connection: sa.Connection, question: str, schema: str = "", names: int = 1) -> list[Any]:
    """Return the rows of a dialect's statement; none where the account may not see them.

    The first `names` columns are names, which come as SQLAlchemy writes them.
    """
    dialect: Any = connection.dialect
    stored = DIALECTS[dialect.name]
    written: Callable[[str], str] = str
    if dialect.requires_name_normalize:
        written, schema = dialect.normalize_name, dialect.denormalize_name(schema)
    text = stored.WITH + getattr(stored, question)
    try:
        with patient(connection):
            found = connection.execute(sa.text(text), {"schema": schema}) if text else ()
            return [(*map(written, row[:names]), *row[names:]) for row in found]
    except exc.DBAPIError as error:
        if code(error) not in UNSEEN:
            raise
        log.info("%s of the dictionary are closed to this account: %s", question, said(error))
        return []


@contextmanager
def patient(connection: sa.Connection) -> Iterator[None]:
    """Begin a transaction in which nothing waits for a lock longer than LOCK_WAIT.

    One for each question: on PostgreSQL a transaction that failed is of no use any more.
    """
    with connection.begin():
        bound_waits(connection)
        yield


def bound_waits(connection: sa.Connection) -> None:
    """Have nothing wait for a lock longer than LOCK_WAIT, until the transaction ends."""
    # On Oracle, who reads waits for nobody.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_WAIT}")


def code(error: exc.DBAPIError) -> str:
    """Give the SQLSTATE or Oracle's code of an error."""
    cause: Any = error.orig
    state = getattr(cause, "sqlstate", None)
    return str(state or getattr(cause.args[0] if cause.args else None, "full_code", ""))
