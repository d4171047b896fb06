"""Foreign keys nobody declared: found by names and figures, confirmed by what is in the tables."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from standin import Oracle

from workbench import embedded
from workbench.database import Database, connect
from workbench.profiling import catalog, contents, relations, sampling, statistics
from workbench.profiling.model import Column, Figure, Key, Relation, Table
from workbench.profiling.relations import Candidate
from workbench.profiling.sampling import Scope
from workbench.profiling.survey import profile_schema

AS_OF = "2026-01-09T12:00:00"
I, S, C, N = sa.Integer, sa.String(20), sa.CHAR(4), sa.Numeric(12, 0)  # noqa: E741
# By table: the columns, the first of which is its primary key, and the rows.
SHOP: dict[str, tuple[dict[str, object], list[tuple]]] = {
    "customers": ({"id": I, "country": C}, [(n, "DE  ") for n in range(1, 101)]),
    "categories": (
        {"id": I, "parent_id": I, "code": S},
        [(n, (n - 1) // 2 or None, f"CAT{n}") for n in range(1, 21)],
    ),
    "products": (
        {"sku": S, "category": I, "category_code": S},
        [(f"SKU-{n:03d}", 1 + n % 20, f"CAT{1 + n % 20}") for n in range(50)],
    ),
    "tbl_Order": (
        {"OrderNo": I, "customerId": N, "status": I, "priority": I, "shipped_with": S},
        # Two customers in a hundred are gone; status and priority are numbers like any.
        [(n, n % 102 + 1, n % 5 + 1, n % 3 + 1, "UPS DHL GLS".split()[n % 3]) for n in range(500)],
    ),
    "order lines": (
        {"id": I, "order_no": I, "product_sku": sa.CHAR(10), "qty": I, "gift_for_customer_id": I},
        [(n, n // 2, f"SKU-{n % 50:03d}", n % 9 + 1, n % 7 + 1 if n % 4 else None)
         for n in range(1000)],
    ),
    "carriers": ({"code": S, "label": S}, [(c, f"{c} Inc") for c in "UPS DHL GLS FDX".split()]),
    "customer_details": (
        {"customer_id": I, "points": I}, [(n, n * 3 % 17) for n in range(1, 101)]
    ),
    "days": ({"id": I, "label": S}, [(n, f"day {n}") for n in range(1, 41)]),
    "gifts": ({"id": I, "customer_id": I, "days": I}, [(n, n % 2 + 1, n) for n in range(1, 31)]),
    "wanted": ({"id": I, "order_id": I, "carrier_code": I, "customer_id": S}, [(1, None, 1, "1")]),
}  # fmt: skip
EXPECTED = {
    ("categories", "parent_id", "categories", "id"),
    ("products", "category", "categories", "id"),
    ("products", "category_code", "categories", "code"),
    ("tbl_Order", "customerId", "customers", "id"),
    ("tbl_Order", "shipped_with", "carriers", "code"),
    ("order lines", "order_no", "tbl_Order", "OrderNo"),
    ("order lines", "product_sku", "products", "sku"),
    ("order lines", "gift_for_customer_id", "customers", "id"),
    ("customer_details", "customer_id", "customers", "id"),
}


@pytest.fixture(scope="module")
def schema(worker_id: str) -> Iterator[str]:
    name = f"profile_relations_{worker_id}"
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
        connection.execute(sa.schema.CreateSchema(name))
        for table, (columns, rows) in SHOP.items():
            create(connection, name, table, columns, rows)
        connection.exec_driver_sql(f'CREATE VIEW "{name}".v AS SELECT * FROM "{name}".customers')
    yield name
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


def create(connection: sa.Connection, schema: str, name: str, columns: dict, rows: list) -> None:
    made = [sa.Column(c, kind, primary_key=not n) for n, (c, kind) in enumerate(columns.items())]
    table = sa.Table(name, sa.MetaData(), *made, schema=schema)
    table.create(connection)
    connection.execute(table.insert(), [dict(zip(columns, row, strict=True)) for row in rows])


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


def profiled(db: Database, schema: str) -> list[Table]:
    tables, _ = catalog.read_catalog(db, schema, None, AS_OF)
    found = []
    for table in tables:
        with db.engine.connect() as connection:
            scope = sampling.scope(table, schema, db.engine.dialect, None, 200_000)
            figures = statistics.measure(connection, schema, table, scope, AS_OF)
            found.append(contents.examine(connection, schema, figures, scope, AS_OF))
    return found


def confirmed(db: Database, schema: str, candidates: list[Candidate]) -> list[Relation]:
    with db.engine.connect() as connection:
        found = [confirm(connection, schema, each) for each in candidates]
    return [each for each in found if each]


def confirm(connection: sa.Connection, schema: str, each: Candidate) -> Relation | None:
    """Test a candidate on all rows."""
    part = Scope(sa.table(each.table, *map(sa.column, each.columns), schema=schema), None, "exact")
    return relations.confirm(connection, schema, each, part, 0, AS_OF)


def test_the_keys_of_a_shop_are_found_and_nothing_else(db: Database, schema: str) -> None:
    found = confirmed(db, schema, relations.candidates(profiled(db, schema)))
    ends = {(each.table, *each.columns, each.to_table, *each.to_columns): each for each in found}
    assert set(ends) == EXPECTED
    for (table, column, to_table, to_column), relation in ends.items():
        child, parent = SHOP[table], SHOP[to_table]
        values = [row[list(child[0]).index(column)] for row in child[1]]
        values = [value for value in values if value is not None]
        known = {row[list(parent[0]).index(to_column)] for row in parent[1]}
        matched = len({*values} & known) / len({*values})
        assert (relation.matched.value, relation.matched.how) == (pytest.approx(matched), "exact")
        assert relation.orphans.value == sum(value not in known for value in values)
        assert not relation.declared
    assert sum(each.orphans.value > 0 for each in found) == 1


def test_candidates_never_cross_types_and_small_numbers_need_a_name(db, schema) -> None:
    tables = profiled(db, schema)
    kinds = {(t.name, c.name): c.kind for t in tables for c in t.columns}
    found = relations.candidates(tables)
    for each in found:
        ends = {kinds[each.table, each.columns[0]], kinds[each.to_table, each.to_columns[0]]}
        assert len(ends) == 1 or ends == {"integer", "decimal"}
    tried = {each.columns[0] for each in found}
    assert not tried & {"status", "priority", "qty", "points", "label"}
    assert {each.table for each in found} | {each.to_table for each in found} <= set(SHOP)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def table(name: str, columns: dict[str, str], key: str = "id") -> Table:
    made = [
        Column(each, kind, kind, distinct=Figure(9, "exact", AS_OF))
        for each, kind in columns.items()
    ]
    return Table(name, rows=Figure(9, "exact", AS_OF), columns=tuple(made), primary_key=Key((key,)))


@pytest.mark.parametrize(
    ("parent", "key", "column"),
    [
        ("customers", "id", "customer_id"), ("CUSTOMER", "ID", "CUSTOMER_ID"),
        ("customer", "customer_id", "customer_id"), ("customers", "id", "billing_customer_id"),
        ("companies", "id", "company_id"), ("boxes", "code", "box_code"),
        ("Customer", "Id", "customerId"),
        ("t_customer", "id", "customer_id"), ("dim_customer", "id", "customer_id"),
        ("securities", "cusip", "cusip"), ("securities", "cusip", "bought_cusip"),
        ("dealers", "code", "dealer"), ("customers", "id", "customer_no"),
        ("status", "id", "status_id"),
    ],
)  # fmt: skip
def test_a_name_says_where_a_column_leads(parent: str, key: str, column: str) -> None:
    tables = [
        table(parent, {key: "integer"}, key),
        table("other", {"pk": "integer", column: "integer"}, "pk"),
    ]
    found = relations.candidates(tables)
    assert [(c.columns, c.to_table) for c in found] == [((column,), parent)]


@pytest.mark.parametrize("column", ["id", "amount", "order_status_id", "codes", "identifier", "no"])
def test_a_name_that_says_nothing_leads_nowhere(column: str) -> None:
    tables = [table(name, {"id": "integer"}) for name in ("orders", "customers")]
    assert not relations.candidates(
        [*tables, table("x", {"pk": "integer", column: "integer"}, "pk")]
    )


@pytest.mark.parametrize(("rows", "distinct", "likely"), [(19, 3, 0), (20, 3, 1), (20, 2, 0)])
def test_a_few_rows_or_values_make_no_key(rows: int, distinct: int, likely: int) -> None:
    parent = table("customers", {"id": "integer"}, "gone")
    parent = replace(parent, rows=Figure(rows, "exact", AS_OF), candidate_keys=(("id",),))
    column = Column("customer_id", "x", "integer", distinct=Figure(distinct, "exact", AS_OF))
    child = replace(table("orders", {"pk": "integer"}, "pk"), columns=(column,))
    assert len(relations.candidates([parent, child])) == likely
    declared = replace(parent, primary_key=Key(("id",)))
    assert len(relations.candidates([declared, child])) == (distinct == 3)


def test_values_out_of_range_rule_a_candidate_out() -> None:
    def ends(each: Column, low: int, high: int) -> Column:
        return replace(each, min=Figure(low, "exact", AS_OF), max=Figure(high, "exact", AS_OF))

    parent = table("customers", {"id": "integer"})
    parent = replace(parent, columns=(ends(parent.columns[0], 1, 100),))
    child = table("orders", {"id": "integer", "customer_id": "integer"})
    for low, high, likely in ((1, 100, 1), (5, 7, 1), (90, 130, 1), (101, 130, 0)):
        columns = (child.columns[0], ends(child.columns[1], low, high))
        assert len(relations.candidates([parent, replace(child, columns=columns)])) == likely


def test_a_schema_of_many_tables_has_few_candidates_each() -> None:
    refs = {f"a_t{n}_id": "integer" for n in range(60)}
    tables = [table(f"t{n}", {"id": "integer", "thing_key": "integer", **refs}) for n in range(60)]
    tables += [table(f"u{n}", {"thing_key": "integer"}, "thing_key") for n in range(20)]
    found = relations.candidates(tables)
    assert len(found) > 200
    counts = {(c.table, c.columns): 0 for c in found}
    for each in found:
        counts[each.table, each.columns] += 1
    assert max(counts.values()) <= 5


def test_candidates_of_a_thousand_tables_are_found_in_seconds() -> None:
    """Comparing each column with each key took a minute."""
    names = {"customer_id": "integer", "ref_id": "integer", "code": "text", "note": "text"}
    tables = []
    for number in range(1000):
        made = table(f"t{number}", {"id": "integer", **names, f"t{number // 2}_id": "integer"})
        (first, *others), at = made.columns, str(number % 10)
        ends = {"min": f"{at}a", "max": f"{at}z", "min_length": 2, "max_length": 2}
        figures = {key: Figure(value, "exact", AS_OF) for key, value in ends.items()}
        others = [replace(each, **figures) if each.kind == "text" else each for each in others]
        many = Figure(9 + number, "exact", AS_OF)
        tables.append(
            replace(made, rows=many, columns=(first, *others), candidate_keys=(("code",),))
        )
    started = time.process_time()
    found = {(each.table, each.columns, each.to_table) for each in relations.candidates(tables)}
    assert time.process_time() - started < 10
    named = {(f"t{n}", (f"t{n // 2}_id",), f"t{n // 2}") for n in range(1, 1000)}
    assert named <= found


def test_of_a_large_table_a_sample_is_tested_and_what_is_lost_scaled(
    db: Database, schema: str
) -> None:
    engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    quoted = engine.dialect.identifier_preparer.quote_schema(schema)
    with engine.connect() as connection:
        for statement in (
            "CREATE TABLE {0}.visits AS SELECT n AS id, repeat('x', 200) AS note, "
            "CASE WHEN mod(n, 7) > 0 THEN mod(n, 106) + 1 END AS customer_id "
            "FROM generate_series(1, 20000) n",
            "ANALYZE {0}.visits, {0}.customers",
        ):
            connection.exec_driver_sql(statement.format(quoted))
        try:
            names = ["visits", "customers"]
            profile = profile_schema(db, schema, names, depth=2, rows=2000, progress=False)
            whole = profile_schema(db, schema, names, depth=2, sample_percent=100, progress=False)
            (relation,), (exact,) = profile.relations, whole.relations
            percent = relation.matched.how.removeprefix("sampled ").removesuffix(" %")
            drawn = f"{quoted}.visits TABLESAMPLE SYSTEM ({percent}) REPEATABLE (1)"
            read = connection.exec_driver_sql(f"SELECT customer_id FROM {drawn}").scalars().all()
        finally:
            connection.exec_driver_sql(f"DROP TABLE {quoted}.visits")
    engine.dispose()
    assert 0 < len(read) < 10_000
    values = {value for value in read if value is not None}
    lost = sum(value is not None and value > 100 for value in read)
    assert relation.matched.value == pytest.approx(sum(v <= 100 for v in values) / len(values))
    rows = profile.table("visits").rows.value
    assert relation.orphans.value == round(lost / len(read) * rows)
    assert relation.orphans.how == relation.matched.how
    lost = sum(n % 7 > 0 and n % 106 + 1 > 100 for n in range(1, 20_001))
    assert (exact.orphans.value, exact.orphans.how) == (lost, "exact")


def test_only_what_the_database_does_not_enforce_is_tested(db: Database, schema: str) -> None:
    engine = sa.create_engine(embedded.connection_url())
    quoted = engine.dialect.identifier_preparer.quote_schema(schema)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE {0}.lot (site int, no numeric, PRIMARY KEY (site, no))",
            "CREATE TABLE {0}.piece (a int, b int, c int REFERENCES {0}.customers (id))",
            "INSERT INTO {0}.lot SELECT mod(n, 3), n FROM generate_series(1, 9) n",
            "INSERT INTO {0}.piece SELECT mod(n, 3), n, n FROM generate_series(1, 12) n",
            "INSERT INTO {0}.piece VALUES (NULL, 77, 1), (1, 77, 1), (1, 77, NULL)",
            "ALTER TABLE {0}.piece ADD FOREIGN KEY (a, b) REFERENCES {0}.lot (site, no) NOT VALID",
        ):
            connection.exec_driver_sql(statement.format(quoted))
    try:
        found = relations.candidates(catalog.read_catalog(db, schema, ["piece", "lot"], AS_OF)[0])
        assert [(c.columns, c.to_columns, c.declared) for c in found] == [
            (("a", "b"), ("site", "no"), True)
        ]
        (relation,) = confirmed(db, schema, found)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP TABLE {quoted}.piece, {quoted}.lot")
        engine.dispose()
    # 12 pairs and (1, 77), of which 9 are there; (1, 77) twice; a null says nothing.
    assert relation.matched.value == pytest.approx(9 / 13)
    assert (relation.orphans.value, relation.declared) == (5, True)


def test_a_test_is_one_statement_and_nothing_with_less_than_three_values(
    db: Database, schema: str
) -> None:
    seen: list[str] = []
    with db.engine.connect() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *a: seen.append(a[2]))
        for column, table_, key in (
            ("order_id", "customers", "id"), ("id", "customers", "id"),
        ):  # fmt: skip
            found = confirm(connection, schema, Candidate("wanted", (column,), table_, (key,)))
            assert found is None
    assert len(seen) == 2


@pytest.mark.oracle
def test_a_relation_in_oracle_is_tested(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"oracle+oracledb://{oracle.host}:{oracle.port}/?service_name={oracle.service}"
    monkeypatch.chdir(tmp_path)
    text = f'[sources.oracle]\nurl = "{url}"\ncredentials = "env:ORA"\nread_only = false\n'
    Path("workbench.toml").write_text(text)
    monkeypatch.setenv("ORA_USERNAME", oracle.username)
    monkeypatch.setenv("ORA_PASSWORD", oracle.password)
    assert os.environ["ORA_USERNAME"]
    metadata = sa.MetaData()
    parent = sa.Table("rel_dealers", metadata, sa.Column("code", sa.CHAR(8), primary_key=True))
    child = sa.Table("rel_colors", metadata, sa.Column("n", sa.Integer), sa.Column("dealer", S))
    with connect("oracle") as db:
        metadata.drop_all(db.engine)
        metadata.create_all(db.engine)
        try:
            codes = [f"D{n}" for n in range(20)]
            db.execute_many(parent.insert(), [{"code": code} for code in codes[1:]])
            rows = [{"n": n, "dealer": codes[n % 20] if n else None} for n in range(50)]
            db.execute_many(child.insert(), rows)
            wanted = Candidate("rel_colors", ("dealer",), "rel_dealers", ("code",), mixed=(True,))
            (relation,) = confirmed(db, oracle.username.lower(), [wanted])
        finally:
            metadata.drop_all(db.engine)
    assert relation.matched.value == pytest.approx(19 / 20)
    assert relation.orphans.value == sum(row["dealer"] == "D0" for row in rows)
