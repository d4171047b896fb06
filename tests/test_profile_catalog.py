"""A schema is described without a table being read, whatever it holds and whoever locks it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import oracle_dictionary
import psycopg
import pytest
import sampled
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import oracle as ora
from sqlalchemy.dialects import postgresql as pg
from standin import Oracle
from test_oracle_colors import drop_everything

from workbench import demo, embedded
from workbench.database import Database, connect
from workbench.demo import marketpulse
from workbench.demo.loading import load_into
from workbench.errors import DataError, UsageError
from workbench.profiling import catalog, dictionary, model

NOW = "2026-01-31T17:05:00"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "master")
SCHEMA, OTHER = 'profile "Catalog" %s :x ü', "Other"
COLORS = 100
HTML = "<script>alert('x')</script> & \"more\""
ROWS = [
    (n, f"text {n % 7}" if n % 5 else None, n % 3 == 0, None if n % 2 else n * 1.5)
    for n in range(500)
]
MADE = """
CREATE SCHEMA {other}; CREATE SCHEMA {schema}; SET search_path TO {schema};
CREATE TABLE {other}.region ("Code" text PRIMARY KEY);
CREATE DOMAIN cents AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE mood AS ENUM ('sad', 'it''s "fine"');
CREATE TABLE "Par,ent" (
    "a,b" int, "select" text, "q""x" uuid UNIQUE, "Größe" cents DEFAULT 1, feeling mood,
    PRIMARY KEY ("select", "a,b"), CONSTRAINT "a ""fine"" check" CHECK ("a,b" > 0 AND "a,b" < 9));
COMMENT ON TABLE "Par,ent" IS {html}; COMMENT ON COLUMN "Par,ent"."q""x" IS {html};
CREATE TABLE child (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, of int, "Select" text,
    region text REFERENCES {other}.region, boss bigint CONSTRAINT own_boss REFERENCES child,
    doubled int GENERATED ALWAYS AS (of * 2) STORED, tags text[], raw jsonb,
    FOREIGN KEY ("Select", of) REFERENCES "Par,ent" ("select", "a,b"));
ALTER TABLE child ADD CONSTRAINT later FOREIGN KEY (boss) REFERENCES child NOT VALID;
ALTER TABLE child ADD CONSTRAINT late_check CHECK (of > 0) NOT VALID;
CREATE INDEX by_expression ON child (lower("Select"), of) WHERE of > 5;
CREATE TABLE parted (day date DEFAULT now(), n int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')
    PARTITION BY LIST (n);
CREATE TABLE parted_2_1 PARTITION OF parted_2 DEFAULT;
CREATE INDEX parted_n ON parted (n);
INSERT INTO parted SELECT date '2026-01-01' + n % 50, n FROM generate_series(1, 200) n;
CREATE TABLE figures (id int PRIMARY KEY, words text, flag boolean, number float8);
CREATE TABLE empty (x int); CREATE TABLE zero (); CREATE TABLE wide ({wide});
CREATE TABLE busy (x int DEFAULT 3) WITH (autovacuum_enabled = false,
    autovacuum_analyze_threshold = 10, autovacuum_analyze_scale_factor = 0.5);
INSERT INTO busy SELECT generate_series(1, 100);
CREATE TABLE twice (x int); INSERT INTO twice VALUES (1), (1);
CREATE VIEW a_view AS SELECT * FROM figures;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM figures;
CREATE FOREIGN DATA WRAPPER {wrapper}; CREATE SERVER {wrapper} FOREIGN DATA WRAPPER {wrapper};
CREATE FOREIGN TABLE far (x int) SERVER {wrapper};
DO $$ DECLARE kept record; BEGIN
    FOR kept IN SELECT oid::regclass AS name FROM pg_class
        WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'm')
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', kept.name);
    END LOOP;
END $$;
"""


@pytest.fixture(scope="module")
def admin() -> Iterator[psycopg.Connection]:
    """A database of the module's own: in a shared one anybody may gather statistics.

    Nor does the server by itself, which does so a minute after a table was filled.
    """
    place = embedded.connection_url().set(drivername="postgresql")
    name = f"catalog_{random.randrange(10**12)}"
    names = {"schema": SCHEMA, "other": OTHER, "wrapper": "far"}
    known = {name: sql.Identifier(value) for name, value in names.items()}
    known["wide"] = sql.SQL(", ".join(f"c{n} int" for n in range(300)))
    with psycopg.connect(place.render_as_string(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        dsn = place.set(database=name).render_as_string()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(MADE).format(html=sql.Literal(HTML), **known))
            with connection.cursor().copy("COPY figures FROM STDIN") as copy:
                for row in ROWS:
                    copy.write_row(row)
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("CREATE UNIQUE INDEX CONCURRENTLY never ON twice (x)")
            for table in ("figures", '"Par,ent"', "parted", "busy", "empty"):
                connection.execute(f"ANALYZE {table}")
            connection.execute("SELECT pg_stat_force_next_flush()")
            yield connection
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def db(admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    place = embedded.connection_url().set(database=admin.info.dbname).render_as_string()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("own"))
        Path("workbench.toml").write_text(f'[sources.own]\nurl = "{place}"\n')
        with connect("own") as opened:
            yield opened


@pytest.fixture(scope="module")
def tables(db: Database) -> dict[str, model.Table]:
    found, _ = catalog.read_catalog(db, SCHEMA, None, NOW)
    return {table.name: table for table in found}


def test_all_tables_and_views_are_there_and_partitions_in_their_parent(tables) -> None:
    assert [*tables] == sorted(
        ["Par,ent", "a_view", "busy", "child", "empty", "far", "figures", "kept", "parted",
         "twice", "wide", "zero"]
    )  # fmt: skip
    assert tables["parted"].partitions == ("parted_1", "parted_2", "parted_2_1")
    assert {table.kind for table in tables.values()} == {"table", "view", "materialized view"}
    assert (tables["a_view"].kind, tables["kept"].kind) == ("view", "materialized view")
    assert tables["zero"].columns == ()
    assert [c.name for c in tables["wide"].columns] == [f"c{n}" for n in range(300)]
    assert all(table.problem is None for table in tables.values())


def test_names_comments_types_and_defaults_are_as_they_were_written(tables) -> None:
    parent, child = tables["Par,ent"], tables["child"]
    assert parent.comment == HTML
    assert [(c.name, c.kind, c.nullable, c.default, c.comment) for c in parent.columns] == [
        ("a,b", "integer", False, None, None),
        ("select", "text", False, None, None),
        ('q"x', "text", True, None, HTML),
        ("Größe", "decimal", True, "1", None),
        ("feeling", "text", True, None, None),
    ]
    types = {c.name: c.type for c in (*parent.columns, *child.columns, *tables["figures"].columns)}
    assert types["Größe"].endswith(".cents")
    assert types["feeling"].endswith(".mood")
    assert types["tags"] == "text[]"
    assert types["number"] == "double precision"
    assert {c.name: c.kind for c in child.columns} == {
        "id": "integer", "of": "integer", "Select": "text", "region": "text", "boss": "integer",
        "doubled": "integer", "tags": "other", "raw": "other",
    }  # fmt: skip


def test_keys_checks_and_indexes_are_those_of_the_tables(tables) -> None:
    parent, child = tables["Par,ent"], tables["child"]
    assert parent.primary_key == model.Key(("select", "a,b"), "Par,ent_pkey")
    assert parent.unique == (model.Key(('q"x',), 'Par,ent_q"x_key'),)
    [check] = parent.checks
    assert (check.name, check.condition) == ('a "fine" check', '"a,b" > 0 AND "a,b" < 9')
    assert {key.name: key for key in child.foreign_keys} == {
        key.name: key
        for key in [
            model.ForeignKey(
                ("Select", "of"), "Par,ent", ("select", "a,b"), None, "child_Select_of_fkey"
            ),
            model.ForeignKey(("region",), "region", ("Code",), OTHER, "child_region_fkey"),
            model.ForeignKey(("boss",), "child", ("id",), None, "own_boss"),
            model.ForeignKey(("boss",), "child", ("id",), None, "later", enforced=False),
        ]
    }
    [index] = child.indexes
    assert (index.name, index.columns, index.unique) == ("by_expression", (None, "of"), False)
    assert tables["a_view"].primary_key is None


def test_what_the_database_calls_invalid_is_listed(db) -> None:
    _, invalid = catalog.read_catalog(db, SCHEMA, None, NOW)
    assert [(entry.name, entry.kind) for entry in invalid] == [
        ("late_check", "constraint"), ("never", "index"),
    ]  # fmt: skip
    assert all(
        table in entry.reason for table, entry in zip(("child", "twice"), invalid, strict=True)
    )


def test_stored_statistics_equal_a_count_of_the_rows(tables) -> None:
    figures = tables["figures"]
    assert (figures.rows.value, figures.rows.how) == (len(ROWS), "dictionary")
    assert figures.rows.as_of == figures.analyzed
    for column, values in zip(figures.columns, zip(*ROWS, strict=True), strict=True):
        assert column.nulls.value == values.count(None)
        assert column.distinct.value == len({*values} - {None})
        assert column.nulls.as_of == column.distinct.as_of == figures.analyzed
        assert column.min is column.max is column.mean_length is None
    assert tables["parted"].rows.value == 200
    assert {c.name: c.distinct.value for c in tables["parted"].columns} == {"day": 50, "n": 200}


def test_what_was_never_gathered_has_no_figure(tables) -> None:
    assert tables["child"].rows is tables["child"].analyzed is None
    assert all(c.nulls is c.distinct is None for c in tables["child"].columns)
    assert tables["empty"].rows.value == 0
    for name in ("a_view", "far"):
        assert tables[name].rows is tables[name].size is tables[name].stale is None


def test_sizes_are_those_the_server_tells(admin, tables) -> None:
    for name in ("figures", "child", "kept", "zero"):
        [size] = admin.execute(
            "SELECT pg_total_relation_size(format('%%I', %s::text)::regclass)", [name]
        ).fetchone()
        assert tables[name].size == model.Figure(size, "dictionary", NOW)
    [size] = admin.execute(
        "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('parted')"
    ).fetchone()
    assert tables["parted"].size.value == size
    for name in ("figures", "parted"):
        heap, toast = (
            admin.execute(
                f"SELECT coalesce(sum(pg_relation_size({oid})), 0) FROM pg_class c"
                " WHERE relkind = 'r' AND relname ~ %s",
                [f"^{name}(_[12])*$"],
            ).fetchone()[0]
            for oid in ("c.oid", "nullif(c.reltoastrelid, 0)")
        )
        assert (tables[name].heap.value, tables[name].toast.value) == (heap, toast)


def test_statistics_grow_stale_by_the_tables_own_threshold(admin, db) -> None:
    def stale() -> bool | None:
        [[table], _] = catalog.read_catalog(db, SCHEMA, ["BUSY"], NOW)
        return table.stale

    admin.execute("ANALYZE busy")
    assert stale() is False
    for rows, expected in [(60, False), (1, True)]:  # 10 + 0.5 x 100 may be changed
        admin.execute("INSERT INTO busy SELECT generate_series(1, %s)", [rows])
        admin.execute("SELECT pg_stat_force_next_flush()")
        admin.execute("SELECT 1")
        assert stale() is expected


def test_index_use_is_counted(admin, db) -> None:
    def scans(table: str) -> list[int]:
        [[found], _] = catalog.read_catalog(db, SCHEMA, [table], NOW)
        return [index.scans.value for index in found.indexes]

    before = scans("child"), scans("parted")
    with admin.transaction():
        admin.execute("SET LOCAL enable_seqscan = off")
        admin.execute("SELECT FROM child WHERE lower(\"Select\") = 'x' AND of = 7")
        admin.execute("SELECT FROM parted WHERE n = 7")
        admin.execute("SELECT pg_stat_force_next_flush()")
    assert scans("child") == [before[0][0] + 1]
    assert scans("parted") == [before[1][0] + 2]  # each of two partitions


@pytest.mark.parametrize("name", ["busy", "child", "parted", "Par,ent"])
def test_a_locked_table_is_told_and_stops_nothing(admin, db, tables, monkeypatch, name) -> None:
    monkeypatch.setattr(dictionary, "LOCK_WAIT", 100)
    started = time.monotonic()
    with admin.transaction():
        admin.execute(f'LOCK TABLE "{name}" IN ACCESS EXCLUSIVE MODE')
        found, _ = catalog.read_catalog(db, SCHEMA, None, NOW)
        [[alone], _] = catalog.read_catalog(db, SCHEMA, [name], NOW)
    assert time.monotonic() - started < 5
    held = {table.name: table for table in found}
    assert [*held] == [*tables]
    assert [table.name for table in found if table.problem] == [name]
    assert "lock" in held[name].problem
    assert held[name].columns == alone.columns == ()
    assert held[name].size is None
    assert (held[name].rows is None) == (tables[name].rows is None)
    for other in {*tables} - {name, "busy", "parted", "child"}:
        # The server counts changes by itself, some time after they were made.
        assert replace(held[other], stale=None) == replace(tables[other], stale=None)


def test_a_locked_partition_costs_its_tables_size_only(admin, db, tables, monkeypatch) -> None:
    monkeypatch.setattr(dictionary, "LOCK_WAIT", 100)
    with admin.transaction():
        admin.execute("LOCK TABLE parted_1 IN ACCESS EXCLUSIVE MODE")
        [[parted], _] = catalog.read_catalog(db, SCHEMA, ["parted"], NOW)
    assert (parted.size, parted.problem) == (None, None)
    assert parted.columns == tables["parted"].columns


def test_who_waits_for_a_lock_stops_nothing_either(admin, db, monkeypatch) -> None:
    monkeypatch.setattr(dictionary, "LOCK_WAIT", 100)
    with psycopg.connect(admin.info.dsn) as reader, psycopg.connect(admin.info.dsn) as waiter:
        reader.execute(sql.SQL("SELECT FROM {}.busy").format(sql.Identifier(SCHEMA)))
        lock = sql.SQL("BEGIN; LOCK TABLE {}.busy IN ACCESS EXCLUSIVE MODE").format(
            sql.Identifier(SCHEMA)
        )
        waiter.pgconn.send_query(lock.as_bytes(waiter))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
        limit = time.monotonic() + 10
        while not admin.execute(waiting, [waiter.info.backend_pid]).fetchone()[0]:
            assert time.monotonic() < limit
        found, _ = catalog.read_catalog(db, SCHEMA, None, NOW)
        reader.rollback()
        while waiter.pgconn.get_result():
            pass
    assert [table.name for table in found if table.problem] == ["busy"]


def statements(db: Database, schema: str) -> list[str]:
    seen: list[str] = []

    def note(_connection, _cursor, statement, *_: object) -> None:
        seen.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        catalog.read_catalog(db, schema, None, NOW)
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)
    return seen


def test_the_number_of_statements_does_not_grow_with_tables(admin, db) -> None:
    few = statements(db, OTHER)
    with admin.transaction(force_rollback=False):
        for n in range(80):
            admin.execute(f'CREATE TABLE "{OTHER}".t{n} (id int PRIMARY KEY, x int UNIQUE)')
    many = statements(db, OTHER)
    assert len(many) == len(few) < 50


def test_tables_asked_for_are_found_without_regard_to_case(db) -> None:
    found, _ = catalog.read_catalog(db, SCHEMA, ["PAR,ENT", "kept", "Kept"], NOW)
    assert [table.name for table in found] == ["Par,ent", "kept"]
    with pytest.raises(DataError, match=r"no table 'figurs'. Did you mean 'figures'\?") as caught:
        catalog.read_catalog(db, SCHEMA, ["figures", "figurs"], NOW)
    assert "Par,ent, a_view, busy" in caught.value.hint
    assert catalog.read_catalog(db, SCHEMA, [], NOW)[0] == ()


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema"])
def test_the_servers_own_catalogs_can_be_described(admin, db, schema: str) -> None:
    assert catalog.schema_name(db, schema.upper()) == schema
    found, _ = catalog.read_catalog(db, schema, None, NOW)
    columns = admin.execute(
        "SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'v') GROUP BY 1",
        [schema],
    ).fetchall()
    assert {table.name: [c.name for c in table.columns] for table in found} == dict(columns)
    assert len(columns) > 60
    kinds = {column.type: column.kind for table in found for column in table.columns}
    if schema == "pg_catalog":
        assert {kinds[name] for name in ("name", "text", '"char"')} == {"text"}
        assert {kinds[name] for name in ("oid", "smallint", "bigint")} == {"integer"}
        others = "anyarray", "aclitem[]", "pg_node_tree", "xid", "bytea", "inet", "interval"
        assert {kinds[name] for name in others} == {"other"}
        sizes = {table.name: table.size for table in found}
        assert sizes["pg_class"].value > sizes["pg_tablespace"].value


@pytest.fixture
def lone(admin: psycopg.Connection, project: Path) -> Iterator[tuple[str, psycopg.Connection]]:
    """A source, "lone", with a database of its own; "guest" is it for a role without rights."""
    name = f"lone_{random.randrange(10**12)}"
    admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    admin.execute(f"CREATE ROLE {name}")
    place = embedded.connection_url().set(database=name)
    as_guest = quote(f"-c role={name}")
    joined = "&" if place.query else "?"
    url = place.render_as_string(hide_password=False)
    (project / "workbench.toml").write_text(
        f'[sources.lone]\nurl = "{url}"\n[sources.guest]\nurl = "{url}{joined}options={as_guest}"\n'
        f'[sources.fixed]\nurl = "{url}"\nschema = "FIRST"\n'
    )
    dsn = place.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(dsn, autocommit=True) as own:
            yield name, own
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.execute(f"DROP ROLE {name}")


def test_the_only_schema_with_tables_is_meant(lone) -> None:
    _, own = lone
    with connect("lone") as db, connect("fixed") as fixed:
        with pytest.raises(UsageError, match="no schemas with tables"):
            catalog.schema_name(db, None)
        own.execute("CREATE SCHEMA nothing; CREATE SCHEMA first CREATE VIEW x AS SELECT 1 AS n")
        assert catalog.schema_name(db, None) == "first"
        own.execute('CREATE SCHEMA "Second"; CREATE TABLE "Second".t ()')
        with pytest.raises(UsageError, match="2 schemas") as caught:
            catalog.schema_name(db, None)
        assert "Second, first" in caught.value.hint
        assert catalog.schema_name(db, "second") == "Second"
        assert catalog.schema_name(fixed, None) == "first"
        assert catalog.schema_name(fixed, "second") == "Second"
        with pytest.raises(DataError, match=r"no schema 'secont'. Did you mean 'Second'\?"):
            catalog.schema_name(db, "secont")


def test_an_account_without_rights_gets_what_it_may_see(lone) -> None:
    name, own = lone
    own.execute(
        f"CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO {name};"
        " CREATE TABLE s.open (x int DEFAULT 1); CREATE TABLE s.shut (x int PRIMARY KEY);"
        f" INSERT INTO s.open VALUES (1), (NULL); GRANT SELECT ON s.open TO {name};"
        " INSERT INTO s.shut VALUES (1)"
    )
    own.execute("ANALYZE s.open, s.shut")
    with connect("guest") as db:
        assert catalog.schema_name(db, None) == "s"
        [opened, shut], _ = catalog.read_catalog(db, "s", None, NOW)
        assert (opened.columns[0].nulls.value, opened.rows.value) == (1, 2)
        assert (shut.columns[0].nulls, shut.rows.value) == (None, 1)
        assert shut.primary_key.columns == ("x",)
        own.execute("REVOKE SELECT ON pg_stats, pg_stat_all_tables FROM PUBLIC")
        [opened, shut], _ = catalog.read_catalog(db, "s", None, NOW)
        assert opened.columns[0].nulls is opened.rows is opened.stale is None
        assert (opened.columns[0].default, opened.size.value) == ("1", 8192)


def test_rows_are_those_that_a_select_reads_of_heirs_and_partitions_too(lone) -> None:
    _, own = lone
    own.execute(
        "CREATE SCHEMA s; SET search_path TO s; CREATE TABLE par (id int, w text);"
        " CREATE TABLE heir () INHERITS (par); CREATE TABLE grown () INHERITS (par);"
        " CREATE TABLE twin () INHERITS (heir, grown);"
        " INSERT INTO par VALUES (0, 'x'); INSERT INTO twin VALUES (1, 'y'), (2, NULL);"
        " INSERT INTO heir SELECT n, 'x' FROM generate_series(1, 5000) n;"
        " CREATE TABLE unknown (x int) WITH (autovacuum_enabled = false);"
        " CREATE TABLE its () INHERITS (unknown) WITH (autovacuum_enabled = false);"
        " INSERT INTO its VALUES (1);"
        " CREATE TABLE parts (id int) PARTITION BY RANGE (id);"
        " CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100000);"
        " INSERT INTO parts SELECT generate_series(1, 10)"
    )
    own.execute("ANALYZE heir, grown, twin, par, parts, ONLY unknown")
    own.execute("INSERT INTO parts SELECT n % 7 FROM generate_series(1, 6000) n")
    own.execute("ANALYZE part")
    with connect("lone") as db:
        found = {table.name: table for table in catalog.read_catalog(db, "s", None, NOW)[0]}
    for name in ("par", "heir", "grown", "twin", "parts"):
        [rows] = own.execute(f"SELECT count(*) FROM {name}").fetchone()
        assert found[name].rows.value == rows
    [nulls] = own.execute("SELECT count(*) - count(w) FROM par").fetchone()
    assert found["par"].columns[1].nulls.value == nulls
    assert found["unknown"].rows is None  # of its heir nobody knows how many it has
    total = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname IN %s"
    [heap] = own.execute(total.replace("%s", "('par', 'heir', 'grown', 'twin')")).fetchone()
    assert found["par"].heap.value == heap
    [size] = own.execute("SELECT pg_total_relation_size('par')").fetchone()
    assert found["par"].size.value == size


def test_names_that_would_steer_a_terminal_are_made_harmless(lone) -> None:
    _, own = lone
    own.execute('CREATE SCHEMA s; CREATE TABLE s."a\x1b]0;owned\x07\x1b[31mred" ()')
    with connect("lone") as db:
        with pytest.raises(DataError, match="no table 'nope'") as caught:
            catalog.read_catalog(db, "s", ["nope"], NOW)
        assert caught.value.hint == "Tables there: ared."
        own.execute('CREATE SCHEMA "b\x1b[2J"; CREATE VIEW "b\x1b[2J".v AS SELECT 1 AS n')
        with pytest.raises(UsageError) as several:
            catalog.schema_name(db, None)
    assert several.value.hint == "Name one of them: b, s."


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("integer", [sa.SmallInteger(), sa.BigInteger(), pg.OID(), ora.NUMBER(19, 0),
                     ora.NUMBER(None, 0), ora.NUMBER(4, -2)]),
        ("decimal", [sa.Numeric(), sa.Numeric(12, 0), ora.NUMBER(), ora.NUMBER(9, 5),
                     ora.FLOAT(126)]),
        ("float", [sa.Double(), pg.REAL(), ora.BINARY_DOUBLE(), ora.BINARY_FLOAT()]),
        ("boolean", [sa.Boolean()]),
        ("text", [sa.VARCHAR(3), sa.CHAR(1), sa.TEXT(), pg.ENUM("a", name="e"), sa.Uuid(),
                  pg.CITEXT(), ora.NVARCHAR2(4), ora.VARCHAR2(4), pg.DOMAIN("d", sa.Text())]),
        ("date", [sa.Date()]),
        ("datetime", [ora.DATE(), sa.DateTime(), pg.TIMESTAMP(timezone=True), ora.TIMESTAMP()]),
        ("time", [sa.Time(), pg.TIME(timezone=True)]),
        ("other", [sa.CLOB(), ora.NCLOB(), ora.LONG(), ora.RAW(16), ora.BLOB(), sa.JSON(),
                   pg.JSONB(), pg.ARRAY(sa.Text()), pg.INTERVAL(), ora.INTERVAL(), pg.INET(),
                   pg.BYTEA(), pg.BIT(3), pg.MONEY(), pg.TSVECTOR(), pg.INT4RANGE(), ora.ROWID(),
                   ora.BFILE(), sa.types.NULLTYPE, pg.DOMAIN("d", pg.JSONB())]),
    ],
)  # fmt: skip
def test_a_type_decides_what_is_computed(kind: str, types: list[sa.types.TypeEngine]) -> None:
    assert {str(type(one)): catalog.kind_of(one) for one in types} == {
        str(type(one)): kind for one in types
    }


@pytest.fixture(scope="module")
def oracle_db(
    oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Oracle]]:
    folder = tmp_path_factory.mktemp("oracle")
    name = f"cataloguer_{WORKER}"
    with sampled.owner(oracle, folder, name) as own, sampled.project(folder, own):
        load_into("oracle", COLORS)
        oracle_dictionary.gather(own)
        with connect("oracle") as db:
            yield db, own
            if own.real:
                drop_everything(db)


@pytest.mark.oracle
def test_oracle_tells_of_the_samples_what_a_count_of_their_rows_does(oracle_db) -> None:
    db, own = oracle_db
    schema = catalog.schema_name(db, None)
    assert schema == own.username.lower() == catalog.schema_name(db, own.username)
    found = {table.name: table for table in catalog.read_catalog(db, schema, None, NOW)[0]}
    frames = marketpulse.generate(COLORS)
    assert {*frames} <= {*found}
    for name, frame in frames.items():
        table = found[name]
        meant = marketpulse.METADATA.tables[f"marketpulse.{name}"]
        assert table.comment == meant.comment
        assert table.rows.value == frame.height
        assert table.primary_key.columns == tuple(column.name for column in meant.primary_key)
        assert {(key.columns, key.to_table, key.to_columns) for key in table.foreign_keys} == {
            ((key.parent.name,), key.column.table.name, (key.column.name,))
            for key in meant.foreign_keys
        }
        assert all(key.to_schema is None and key.enforced for key in table.foreign_keys)
        assert (table.stale, table.rows.as_of) == (False, table.analyzed)
        assert table.size.value >= 8192
        for column in table.columns:
            values = frame[next(n for n in frame.columns if n.lower() == column.name.lower())]
            assert column.nulls.value == values.null_count()
            assert column.distinct.value == values.drop_nulls().n_unique()
            assert column.comment == meant.columns[column.name.lower()].comment
    types = {c.name.lower(): (c.type, c.kind) for c in found["colors"].columns}
    assert types["message_id"] == ("NUMBER(19,0)", "integer")
    assert types["ticker"] == ("VARCHAR2(40 CHAR)", "text")
    assert types["date"] == ("DATE", "datetime")


@pytest.mark.oracle
def test_oracle_tells_partitions_and_what_is_invalid(oracle_db) -> None:
    db, own = oracle_db
    if own.real:
        pytest.skip("made in the PostgreSQL below the stand-in")
    with psycopg.connect(own.postgresql, autocommit=True) as under:
        under.execute(f"SET search_path TO {own.username.lower()}")
        under.execute(
            "CREATE TABLE parted (n int) PARTITION BY LIST (n);"
            " CREATE TABLE p_one PARTITION OF parted FOR VALUES IN (1);"
            " CREATE TABLE p_two PARTITION OF parted DEFAULT;"
            " CREATE TABLE loose (source varchar(12)); INSERT INTO loose VALUES ('x'), ('x');"
            " ALTER TABLE loose ADD CONSTRAINT lax FOREIGN KEY (source) REFERENCES dealers"
            " NOT VALID"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            under.execute("CREATE UNIQUE INDEX CONCURRENTLY never ON loose (source)")
    with db.engine.begin() as connection:
        for statement in ("CREATE TABLE base (x NUMBER(4))", "CREATE VIEW broken AS SELECT x FROM"
                          " base", "DROP TABLE base"):  # fmt: skip
            connection.execute(sa.text(statement))
    found, invalid = catalog.read_catalog(db, own.username.lower(), ["parted", "LOOSE"], NOW)
    loose, parted = found
    assert parted.partitions == ("p_one", "p_two")
    [key] = loose.foreign_keys
    assert (key.name, key.enforced, key.to_table) == ("lax", False, "dealers")
    assert [(entry.name, entry.kind) for entry in invalid] == [
        ("never", "index"), ("broken", "view"),
    ]  # fmt: skip
    assert loose.rows is loose.stale is None


@pytest.mark.oracle
def test_a_view_of_oracle_that_is_closed_costs_its_figures_only(oracle_db, monkeypatch) -> None:
    db, own = oracle_db
    missing = "SELECT segment_name, bytes FROM dba_no_such_view WHERE owner = :schema"
    monkeypatch.setattr(dictionary.Oracle, "SIZES", missing)
    [[dealers], _] = catalog.read_catalog(db, own.username.lower(), ["dealers"], NOW)
    assert (dealers.size, dealers.rows.value) == (
        None,
        marketpulse.generate(COLORS)["dealers"].height,
    )


@pytest.mark.oracle
def test_the_number_of_statements_does_not_grow_on_oracle_either(oracle_db) -> None:
    db, own = oracle_db
    few = statements(db, own.username.lower())
    with db.engine.begin() as connection:
        for n in range(20):
            connection.execute(sa.text(f"CREATE TABLE t{n} (id NUMBER(4) PRIMARY KEY)"))
    assert len(statements(db, own.username.lower())) == len(few) < 50


def test_the_demo_has_fresh_statistics_as_soon_as_it_is_loaded(
    lone,
) -> None:
    with connect("lone") as db:
        frames = demo.SCHEMAS["marketpulse"].generate(COLORS)
        with sa.create_engine(db.engine.url, poolclass=sa.NullPool).connect() as connection:
            demo.load(connection, "marketpulse", COLORS)
        found, _ = catalog.read_catalog(db, "marketpulse", None, NOW)
    assert {table.name: table.rows.value for table in found} == {
        table: frame.height for table, frame in frames.items()
    }
    assert {table.stale for table in found} == {False}


def test_our_own_statements_for_oracle_select_no_long_column() -> None:
    asked = {name: text.lower() for name, text in vars(dictionary.Oracle).items() if name.isupper()}
    assert len(asked) > 8
    for text in asked.values():
        for column in ("search_condition", "data_default", "high_value", "column_expression"):
            assert column not in text
