"""Run Colors inside Oracle gives what it gives inside PostgreSQL and in plain Python."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import feeds
import naive_colors
import polars as pl
import pytest
import sampled
import sqlalchemy as sa
from commands import command
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb
from standin import Oracle
from test_run_colors import orders

from workbench import colors, embedded, run_colors
from workbench.database import Database, connect
from workbench.demo import marketpulse
from workbench.demo.loading import load_into
from workbench.errors import DataError

ROWS = 500
OPTIONS = [
    {},
    {"sector": " 2.0_mEZZ"},
    {"deduplicate": True},
    {"order": ["date desc", "price asc"]},
    {"order": ["price desc", "rank asc", "date asc"], "sector": "mm-clo", "deduplicate": True},
]


def upper(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with upper-case names: each database has its own usual case."""
    return frame.rename(str.upper)


@pytest.fixture(scope="module")
def oracle_db(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A writable Oracle source that holds 500 sample colors, in its user's schema."""
    folder = tmp_path_factory.mktemp("a project")
    with sampled.owner(oracle, folder, "sampler") as own, sampled.project(folder, own):
        load_into("oracle", ROWS)
        with connect("oracle") as db:
            yield db
            drop_everything(db)


def drop_everything(db: Database) -> None:
    with db.engine.begin() as connection:
        for view in sa.inspect(connection).get_view_names():
            connection.execute(sa.text(f"DROP VIEW {view}"))
        held = sa.MetaData()
        held.reflect(connection)
        held.drop_all(connection)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[tuple[Database, str]]:
    """The same colors in the embedded PostgreSQL, and the name of their table."""
    schema = f"scratch_{random.randrange(10**12)}"
    tables = sa.MetaData()
    table = marketpulse.METADATA.tables["marketpulse.colors"].to_metadata(tables, schema=schema)
    for key in list(table.foreign_key_constraints):
        table.constraints.discard(key)
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
        table.create(connection)
        connection.execute(table.insert(), marketpulse.generate(ROWS)["colors"].to_dicts())
    with connect("demo") as db:
        yield db, f"{schema}.colors"
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


def own(db: Database, table: str) -> str:
    """A table's name with its schema, as an analyst writes it."""
    with db.engine.connect() as connection:
        return f"{sa.inspect(connection).default_schema_name}.{table}"


@pytest.mark.oracle
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "usual")
def test_oracle_and_postgresql_agree_in_every_value_and_dtype(
    oracle_db, postgresql, options: dict[str, Any]
) -> None:
    other, table = postgresql
    here = run_colors(own(oracle_db, "colors"), source=oracle_db, **options)
    there = run_colors(table, source=other, **options)
    key = pl.col("COLOR_ID").cast(pl.Int64)  # a NUMBER(19) of the table, not of Run Colors
    assert upper(here.colors).with_columns(key).schema == upper(there.colors).schema
    assert upper(here.colors).with_columns(key).equals(upper(there.colors))
    # Trimmed blanks are '' in the stand-in and NULL in Oracle, which sorts them differently.
    found, expected = (upper(result.without_cusip) for result in (here, there))
    assert found.with_columns(key).sort("COLOR_ID").equals(expected.sort("COLOR_ID"))
    assert here.colors.height > 10
    assert (here.engine, there.engine) == ("oracle", "postgresql")
    for number in ("read", "repeats_removed", "cleaned_cusips", "quote"):
        left, right = getattr(here, number), getattr(there, number)
        assert (
            left == right
            if number != "quote"
            else [*map(str.upper, left)] == [*map(str.upper, right)]
        )


@pytest.mark.oracle
def test_a_view_and_a_sql_file_agree_with_a_plain_sort(oracle_db, tmp_path: Path) -> None:
    where = "sector = '2.0_Mezz' AND ticker LIKE '%20%'"
    with oracle_db.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE VIEW mezzanine AS SELECT * FROM colors WHERE {where}"))
    path = tmp_path / "a feed.sql"
    path.write_text(
        f"-- the mezzanine at 10:30\nSELECT * FROM colors\nWHERE {where};  -- ; :not_a_bind\n"
    )
    rows = upper(oracle_db.read(f"SELECT * FROM colors WHERE {where}"))
    expected = naive_colors.rank(rows.to_dicts())
    assert len(expected) > 30
    for data in (own(oracle_db, "mezzanine"), path):
        assert upper(run_colors(data, source=oracle_db).colors).to_dicts() == expected


@pytest.fixture(scope="module")
def feed_table(oracle_db) -> sa.Table:
    kinds = {
        **dict.fromkeys(naive_colors.CANONICAL, sa.Numeric(28, 10)),
        **dict.fromkeys(feeds.INTEGERS, sa.BigInteger()),
        **dict.fromkeys(feeds.DATES, sa.TIMESTAMP()),
        **dict.fromkeys(("TICKER", "SECTOR", "CUSIP", "SOURCE", "BIAS"), sa.String(40)),
        "DIFF_STATUS": sa.String(40),
        "zeta": sa.String(3),
        "beta": sa.Numeric(28, 10),
        "Alpha": sa.BigInteger(),
    }
    table = sa.Table(
        "feed",
        sa.MetaData(),
        # Unquoted where Oracle lets one, as people make tables.
        *(
            sa.Column(name if name in ("DATE", "Alpha") else name.lower(), kind, key=name)
            for name, kind in kinds.items()
        ),
    )
    with oracle_db.engine.begin() as connection:
        table.create(connection)
    return table


@pytest.mark.oracle
@settings(
    deadline=None,
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=feeds.feeds(min_rows=10, controls=True, extras=True, times=True), order=orders)
def test_nulls_ties_and_mixed_case_rank_as_a_plain_sort_does(
    oracle_db, feed_table, rows, order
) -> None:
    with oracle_db.engine.begin() as connection:
        connection.execute(feed_table.delete())
        connection.execute(feed_table.insert(), rows)
    ranked = run_colors(own(oracle_db, "feed"), source=oracle_db, order=order)
    assert upper(ranked.colors).to_dicts() == [
        {name.upper(): value for name, value in row.items()}
        for row in naive_colors.rank(nulls_for_empty(rows), order)
    ]


def nulls_for_empty(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Oracle keeps no empty text: it is NULL."""
    return [{name: None if value == "" else value for name, value in row.items()} for row in rows]


@pytest.mark.oracle
def test_what_an_unknown_sector_is_told(oracle_db) -> None:
    for sector in ("3.0_Mezz", ""):
        with pytest.raises(DataError, match=r"No color of .* is in the sector") as caught:
            run_colors(own(oracle_db, "colors"), source=oracle_db, sector=sector)
        assert "2.0_Mezz" in str(caught.value)


@pytest.mark.oracle
def test_the_samples_arrive_exact_and_described(oracle_db) -> None:
    for name, frame in marketpulse.generate(ROWS).items():
        table = oracle_db.table(name)
        found = upper(oracle_db.read(sa.select(table).order_by(*table.primary_key)))
        key = [column.name.upper() for column in table.primary_key]
        assert found.cast(dict(upper(frame).schema)).equals(upper(frame).sort(key))
        source = marketpulse.METADATA.tables[f"marketpulse.{name}"]
        for column, meant in zip(table.columns, source.columns, strict=True):
            assert column.comment == meant.comment
            assert column.nullable == meant.nullable
            assert column.primary_key == meant.primary_key
        keys = {key.target_fullname.split(".", 1)[1] for key in source.foreign_keys}
        assert {key.target_fullname for key in table.foreign_keys} == keys
    message_id = oracle_db.table("colors").c.message_id.type
    assert (message_id.precision, message_id.scale) == (19, 0)


@pytest.mark.oracle
def test_the_notebook_passes_and_its_report_names_the_server(oracle_db) -> None:
    notebook = ROOT / "notebooks" / "run_colors.ipynb"
    ran = command(
        "run", str(notebook), "-p", "source", "oracle", "-p", "input", own(oracle_db, "colors"),
        "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    outcome = json.loads(ran.stdout)
    assert outcome["status"] == "passed"
    [used] = outcome["sources"]
    assert used["server"].startswith("Oracle ")
    [report] = Path("reports").glob("run_colors/*-*/report.html")
    assert used["server"] in report.read_text()


def test_the_statement_is_one_that_oracle_19c_can_parse() -> None:
    """No bind but of text, no FETCH, no boolean, no name beyond 30 bytes."""
    feed = marketpulse.METADATA.tables["marketpulse.colors"]
    statement = colors.ranked(feed, colors.Ranking(sector="2.0_Mezz", deduplicate=True))
    compiled = statement.compile(dialect=OracleDialect_oracledb())
    text = str(compiled)
    # Parsed without binds, each of them counts as text: a number among them is ORA-00932.
    assert {type(value) for value in compiled.params.values()} == {str}
    assert not re.search(r"\b(FETCH|LIMIT|TRUE|FALSE|BOOLEAN)\b", text, re.IGNORECASE)
    names = re.findall(r'"([^"]+)"|\bAS (\w+)|:(\w+)', text)
    assert max(len("".join(found).encode()) for found in names) <= 30
    assert text.count("'NLS_SORT=BINARY'") > 10
