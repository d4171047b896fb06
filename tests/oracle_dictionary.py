"""What the stand-in lacks: dictionary views of Oracle's, over PostgreSQL's own catalogs.

Columns and types are those of the Oracle Database Reference 19c, chapters "Static Data Dictionary
Views"; what PostgreSQL has no equal for is NULL. All of it is made before anybody logs in: to a
session, what changes meanwhile is an internal error.
Where the stand-in has a view without what 19c's has, one in the schema `public`, which is searched
before `sys`, stands before it.
"""

from __future__ import annotations

import re

import oracledb
import psycopg
from standin import Oracle

# Name, type; in the order of the reference.
COLUMNS = {
    "all_tab_statistics": """
        OWNER VARCHAR2(128), TABLE_NAME VARCHAR2(128), PARTITION_NAME VARCHAR2(128),
        PARTITION_POSITION NUMBER, SUBPARTITION_NAME VARCHAR2(128), SUBPARTITION_POSITION NUMBER,
        OBJECT_TYPE VARCHAR2(12), NUM_ROWS NUMBER, BLOCKS NUMBER, EMPTY_BLOCKS NUMBER,
        AVG_SPACE NUMBER, CHAIN_CNT NUMBER, AVG_ROW_LEN NUMBER, AVG_SPACE_FREELIST_BLOCKS NUMBER,
        NUM_FREELIST_BLOCKS NUMBER, AVG_CACHED_BLOCKS NUMBER, AVG_CACHE_HIT_RATIO NUMBER,
        IM_IMCU_COUNT NUMBER, IM_BLOCK_COUNT NUMBER, IM_STAT_UPDATE_TIME TIMESTAMP(9),
        SCAN_RATE NUMBER, SAMPLE_SIZE NUMBER, LAST_ANALYZED DATE, GLOBAL_STATS VARCHAR2(3),
        USER_STATS VARCHAR2(3), STATTYPE_LOCKED VARCHAR2(5), STALE_STATS VARCHAR2(7),
        NOTES VARCHAR2(25), SCOPE VARCHAR2(7)
    """,
    "all_tab_col_statistics": """
        OWNER VARCHAR2(128), TABLE_NAME VARCHAR2(128), COLUMN_NAME VARCHAR2(128),
        NUM_DISTINCT NUMBER, LOW_VALUE RAW(1000), HIGH_VALUE RAW(1000), DENSITY NUMBER,
        NUM_NULLS NUMBER, NUM_BUCKETS NUMBER, LAST_ANALYZED DATE, SAMPLE_SIZE NUMBER,
        GLOBAL_STATS VARCHAR2(3), USER_STATS VARCHAR2(3), NOTES VARCHAR2(99), AVG_COL_LEN NUMBER,
        HISTOGRAM VARCHAR2(15), SCOPE VARCHAR2(7)
    """,
    "all_tab_partitions": """
        TABLE_OWNER VARCHAR2(128), TABLE_NAME VARCHAR2(128), COMPOSITE VARCHAR2(3),
        PARTITION_NAME VARCHAR2(128), SUBPARTITION_COUNT NUMBER, HIGH_VALUE LONG,
        HIGH_VALUE_LENGTH NUMBER, PARTITION_POSITION NUMBER, TABLESPACE_NAME VARCHAR2(30),
        PCT_FREE NUMBER, PCT_USED NUMBER, INI_TRANS NUMBER, MAX_TRANS NUMBER,
        INITIAL_EXTENT NUMBER, NEXT_EXTENT NUMBER, MIN_EXTENT NUMBER, MAX_EXTENT NUMBER,
        MAX_SIZE NUMBER, PCT_INCREASE NUMBER, FREELISTS NUMBER, FREELIST_GROUPS NUMBER,
        LOGGING VARCHAR2(7), COMPRESSION VARCHAR2(8), COMPRESS_FOR VARCHAR2(30), NUM_ROWS NUMBER,
        BLOCKS NUMBER, EMPTY_BLOCKS NUMBER, AVG_SPACE NUMBER, CHAIN_CNT NUMBER,
        AVG_ROW_LEN NUMBER, SAMPLE_SIZE NUMBER, LAST_ANALYZED DATE, BUFFER_POOL VARCHAR2(7),
        FLASH_CACHE VARCHAR2(7), CELL_FLASH_CACHE VARCHAR2(7), GLOBAL_STATS VARCHAR2(3),
        USER_STATS VARCHAR2(3), IS_NESTED VARCHAR2(3), PARENT_TABLE_PARTITION VARCHAR2(128),
        INTERVAL VARCHAR2(3), SEGMENT_CREATED VARCHAR2(4), INDEXING VARCHAR2(4),
        READ_ONLY VARCHAR2(4), INMEMORY VARCHAR2(8), INMEMORY_PRIORITY VARCHAR2(8),
        INMEMORY_DISTRIBUTE VARCHAR2(15), INMEMORY_COMPRESSION VARCHAR2(17),
        INMEMORY_DUPLICATE VARCHAR2(13), CELLMEMORY VARCHAR2(24), INMEMORY_SERVICE VARCHAR2(12),
        INMEMORY_SERVICE_NAME VARCHAR2(100), MEMOPTIMIZE_READ VARCHAR2(8),
        MEMOPTIMIZE_WRITE VARCHAR2(8)
    """,
    "user_segments": """
        SEGMENT_NAME VARCHAR2(128), PARTITION_NAME VARCHAR2(128), SEGMENT_TYPE VARCHAR2(18),
        SEGMENT_SUBTYPE VARCHAR2(10), TABLESPACE_NAME VARCHAR2(30), BYTES NUMBER, BLOCKS NUMBER,
        EXTENTS NUMBER, INITIAL_EXTENT NUMBER, NEXT_EXTENT NUMBER, MIN_EXTENTS NUMBER,
        MAX_EXTENTS NUMBER, MAX_SIZE NUMBER, RETENTION VARCHAR2(7), MINRETENTION NUMBER,
        PCT_INCREASE NUMBER, FREELISTS NUMBER, FREELIST_GROUPS NUMBER, BUFFER_POOL VARCHAR2(7),
        FLASH_CACHE VARCHAR2(7), CELL_FLASH_CACHE VARCHAR2(7), INMEMORY VARCHAR2(8),
        INMEMORY_PRIORITY VARCHAR2(8), INMEMORY_DISTRIBUTE VARCHAR2(15),
        INMEMORY_DUPLICATE VARCHAR2(13), INMEMORY_COMPRESSION VARCHAR2(17),
        CELLMEMORY VARCHAR2(24)
    """,
    "user_lobs": """
        TABLE_NAME VARCHAR2(128), COLUMN_NAME VARCHAR2(4000), SEGMENT_NAME VARCHAR2(128),
        TABLESPACE_NAME VARCHAR2(30), INDEX_NAME VARCHAR2(128), CHUNK NUMBER, PCTVERSION NUMBER,
        RETENTION NUMBER, FREEPOOLS NUMBER, CACHE VARCHAR2(10), LOGGING VARCHAR2(7),
        ENCRYPT VARCHAR2(4), COMPRESSION VARCHAR2(6), DEDUPLICATION VARCHAR2(15),
        IN_ROW VARCHAR2(3), FORMAT VARCHAR2(15), PARTITIONED VARCHAR2(3), SECUREFILE VARCHAR2(3),
        SEGMENT_CREATED VARCHAR2(3), RETENTION_TYPE VARCHAR2(7), RETENTION_VALUE NUMBER
    """,
    "all_ind_partitions": """
        INDEX_OWNER VARCHAR2(128), INDEX_NAME VARCHAR2(128), COMPOSITE VARCHAR2(3),
        PARTITION_NAME VARCHAR2(128), SUBPARTITION_COUNT NUMBER, HIGH_VALUE LONG,
        HIGH_VALUE_LENGTH NUMBER, PARTITION_POSITION NUMBER, STATUS VARCHAR2(8),
        TABLESPACE_NAME VARCHAR2(30), PCT_FREE NUMBER, INI_TRANS NUMBER, MAX_TRANS NUMBER,
        INITIAL_EXTENT NUMBER, NEXT_EXTENT NUMBER, MIN_EXTENT NUMBER, MAX_EXTENT NUMBER,
        MAX_SIZE NUMBER, PCT_INCREASE NUMBER, FREELISTS NUMBER, FREELIST_GROUPS NUMBER,
        LOGGING VARCHAR2(7), COMPRESSION VARCHAR2(13), BLEVEL NUMBER, LEAF_BLOCKS NUMBER,
        DISTINCT_KEYS NUMBER, AVG_LEAF_BLOCKS_PER_KEY NUMBER, AVG_DATA_BLOCKS_PER_KEY NUMBER,
        CLUSTERING_FACTOR NUMBER, NUM_ROWS NUMBER, SAMPLE_SIZE NUMBER, LAST_ANALYZED DATE,
        BUFFER_POOL VARCHAR2(7), FLASH_CACHE VARCHAR2(7), CELL_FLASH_CACHE VARCHAR2(7),
        USER_STATS VARCHAR2(3), PCT_DIRECT_ACCESS NUMBER, GLOBAL_STATS VARCHAR2(3),
        DOMIDX_OPSTATUS VARCHAR2(6), PARAMETERS VARCHAR2(1000), INTERVAL VARCHAR2(3),
        SEGMENT_CREATED VARCHAR2(3), ORPHANED_ENTRIES VARCHAR2(3)
    """,
}
# The rows: what a column holds, and where from. A partition is no table of its own in Oracle.
_OF_TABLES = """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
    LEFT JOIN pg_class p ON p.oid = i.inhparent
    WHERE c.relkind IN ('r', 'p', 'm')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'oracle', 'sys')
"""
_ANALYZED = "greatest(s.last_analyze, s.last_autoanalyze) AT TIME ZONE 'UTC'"
ROWS = {
    "all_tab_statistics": (
        {
            "OWNER": "sys.ora_owner(n.nspname)",
            "TABLE_NAME": "sys.ora_name(coalesce(p.relname, c.relname))",
            "PARTITION_NAME": "sys.ora_name(CASE WHEN p.oid IS NOT NULL THEN c.relname END)",
            "OBJECT_TYPE": "CASE WHEN p.oid IS NULL THEN 'TABLE' ELSE 'PARTITION' END",
            "NUM_ROWS": "nullif(c.reltuples, -1)",
            "BLOCKS": "c.relpages",
            "LAST_ANALYZED": _ANALYZED,
            "GLOBAL_STATS": "'YES'",
            "USER_STATS": "'NO'",
            # STALE_PERCENT of DBMS_STATS, by default 10.
            "STALE_STATS": f"CASE WHEN {_ANALYZED} IS NULL THEN NULL"
            " WHEN s.n_mod_since_analyze > c.reltuples / 10 THEN 'YES' ELSE 'NO' END",
            "SCOPE": "'SHARED'",
        },
        _OF_TABLES,
    ),
    "all_tab_col_statistics": (
        {
            "OWNER": "sys.ora_owner(n.nspname)",
            "TABLE_NAME": "sys.ora_name(c.relname)",
            "COLUMN_NAME": "sys.ora_column_name(c.oid, t.attname)",
            "NUM_DISTINCT": "round(CASE WHEN t.n_distinct < 0 THEN -t.n_distinct * c.reltuples"
            " ELSE t.n_distinct END)",
            "NUM_NULLS": "round(t.null_frac * c.reltuples)",
            "LAST_ANALYZED": _ANALYZED,
            "AVG_COL_LEN": "t.avg_width",
            "HISTOGRAM": "'NONE'",
            "SCOPE": "'SHARED'",
        },
        """
    FROM pg_stats t JOIN pg_namespace n ON n.nspname = t.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    WHERE t.inherited = (c.relkind = 'p')
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'oracle', 'sys')
        """,
    ),
    "all_tab_partitions": (
        {
            "TABLE_OWNER": "sys.ora_owner(n.nspname)",
            "TABLE_NAME": "sys.ora_name(p.relname)",
            "COMPOSITE": "'NO'",
            "PARTITION_NAME": "sys.ora_name(c.relname)",
            "PARTITION_POSITION": "row_number() OVER (PARTITION BY p.oid ORDER BY c.relname)",
            "HIGH_VALUE": "pg_get_expr(c.relpartbound, c.oid)",
            "NUM_ROWS": "nullif(c.reltuples, -1)",
            "LAST_ANALYZED": _ANALYZED,
        },
        _OF_TABLES + " AND p.oid IS NOT NULL",
    ),
    "user_segments": (
        {
            "SEGMENT_NAME": "sys.ora_name(c.relname)",
            "SEGMENT_TYPE": "CASE WHEN c.relkind = 'i' THEN 'INDEX' ELSE 'TABLE' END",
            "BYTES": "pg_table_size(c.oid)",
            "BLOCKS": "c.relpages",
        },
        """
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'i') AND n.nspname = current_schema()
        """,
    ),
    "user_lobs": ({}, "WHERE false"),  # PostgreSQL's are in the table's own size
    "all_ind_partitions": ({}, "WHERE false"),
}
_CORRECTED = """
    CREATE OR REPLACE VIEW public.all_constraints AS
    SELECT k.owner, k.constraint_name, k.constraint_type, k.table_name, k.search_condition,
        k.search_condition::varchar(4000) AS search_condition_vc, k.r_owner, k.r_constraint_name,
        k.delete_rule, 'ENABLED'::varchar(8) AS status,
        (CASE WHEN c.convalidated IS FALSE THEN 'NOT ' ELSE '' END || 'VALIDATED')::varchar(13)
            AS validated,
        k.generated
    FROM sys.all_constraints k
    LEFT JOIN (
        SELECT c.convalidated, sys.ora_owner(n.nspname) AS owner, sys.ora_name(c.conname) AS name,
            sys.ora_name(r.relname) AS table_name
        FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
        JOIN pg_namespace n ON n.oid = r.relnamespace
    ) c ON c.owner = k.owner AND c.name = k.constraint_name AND c.table_name = k.table_name;
    CREATE OR REPLACE VIEW public.all_users AS
    SELECT username, user_id, created, 'NO'::varchar(3) AS common,
        CASE WHEN username ~ '^(PUBLIC|SYSTEM|DBMS_|UTL_|PLV)' THEN 'Y' ELSE 'N' END::varchar(1)
            AS oracle_maintained,
        'NO'::varchar(3) AS inherited, NULL::varchar(100) AS default_collation,
        'NO'::varchar(3) AS implicit, 'NO'::varchar(3) AS all_shard
    FROM sys.all_users;
    CREATE OR REPLACE VIEW public.all_indexes AS
    SELECT i.owner, i.index_name, i.index_type, i.table_owner, i.table_name, i.uniqueness,
        i.compression, i.prefix_length, i.tablespace_name,
        CASE WHEN x.indisvalid THEN 'VALID' ELSE 'UNUSABLE' END::varchar(8) AS status,
        i.ityp_owner, i.ityp_name, i.parameters
    FROM sys.all_indexes i
    JOIN (
        SELECT x.indisvalid, sys.ora_owner(n.nspname) AS owner, sys.ora_name(c.relname) AS name
        FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    ) x ON x.owner = i.owner AND x.name = i.index_name;
    GRANT SELECT ON public.all_constraints, public.all_users, public.all_indexes TO PUBLIC;
"""
_TYPES = {
    "VARCHAR2": "varchar", "NUMBER": "numeric", "DATE": "timestamp(0)", "LONG": "text",
    "RAW": "bytea", "TIMESTAMP": "timestamp(6)",
}  # fmt: skip


# In CREATE TABLE the Mirror takes a column named "DATE" for its type and calls it "ora_date", and
# orafce's NLSSORT takes NLS_SORT=BINARY for the name of a collation of PostgreSQL's.
_LIKE_ORACLE = """
  CREATE FUNCTION public.keep_date() RETURNS event_trigger LANGUAGE plpgsql AS $$
  DECLARE made record;
  BEGIN
    FOR made IN SELECT DISTINCT objid::regclass AS name FROM pg_event_trigger_ddl_commands()
        JOIN pg_attribute ON attrelid = objid AND attname = 'ora_date' LOOP
      EXECUTE format('ALTER TABLE %s RENAME COLUMN ora_date TO "DATE"', made.name);
    END LOOP;
  END $$;
  CREATE EVENT TRIGGER keep_date ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION public.keep_date();
  CREATE OR REPLACE FUNCTION oracle.nlssort(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$ SELECT convert_to($1, 'UTF8') $$;
"""


def supply(postgresql: str) -> None:
    """Make the views, and what the sample schemas need, in the stand-in's PostgreSQL (a URL)."""
    with psycopg.connect(postgresql) as under:
        for name in COLUMNS:
            under.execute(_view(name))
        under.execute(_CORRECTED)
        under.execute(_LIKE_ORACLE)


def gather(oracle: Oracle) -> None:
    """Gather the statistics of the user's tables."""
    if oracle.real:
        with (
            oracledb.connect(
                user=oracle.username, password=oracle.password, dsn=oracle.dsn
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("BEGIN DBMS_STATS.GATHER_SCHEMA_STATS(USER); END;")
        return
    with psycopg.connect(oracle.postgresql, autocommit=True) as under:
        tables = under.execute(
            "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = %s",
            [oracle.username.lower()],
        ).fetchall()
        for (table,) in tables:
            under.execute(f"ANALYZE {table}")


def _view(name: str) -> str:
    given, source = ROWS[name]
    columns = re.findall(r"(\w+) ([A-Z0-9]+)(\(\d+\))?", COLUMNS[name])
    assert not {*given} - {column for column, *_ in columns}
    selected = ", ".join(
        f"CAST({given.get(column, 'NULL')} AS {_TYPES[kind]}{size if kind == 'VARCHAR2' else ''})"
        f' AS "{column.lower()}"'
        for column, kind, size in columns
    )
    return (
        f"CREATE VIEW sys.{name} AS SELECT {selected} {source};GRANT SELECT ON sys.{name} TO PUBLIC"
    )
