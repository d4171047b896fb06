"""`workbench demo --into`: the samples in a source of one's own, whole or not at all."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import psycopg
import pytest
import sampled
import sqlalchemy as sa
from standin import Oracle

from workbench import demo, embedded
from workbench.database import Database, connect
from workbench.demo import marketpulse
from workbench.demo.loading import load_into
from workbench.errors import DataError, QueryError


@pytest.fixture(autouse=True)
def _one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is enough to see what becomes of it, and the stand-in is slow; a command loads all."""
    for name in {*demo.SCHEMAS} - {"marketpulse"}:
        monkeypatch.delitem(demo.SCHEMAS, name)


@pytest.fixture
def own(project: Path) -> Iterator[str]:
    """A source, "own": a database without any table, beside the demo's in the same server."""
    url = embedded.connection_url()
    name = f"own_{random.randrange(10**12)}"
    server = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        place = url.set(database=name).render_as_string()
        (project / "workbench.toml").write_text(
            f'[sources.own]\nurl = "{place}"\nread_only = false\n[sources.shut]\nurl = "{place}"\n'
        )
        yield "own"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def held(db: Database) -> set[str]:
    with db.engine.connect() as connection:
        inspector = sa.inspect(connection)
        schemas = {*inspector.get_schema_names()} & {*demo.SCHEMAS, inspector.default_schema_name}
        return {f"{s}.{name}" for s in schemas for name in inspector.get_table_names(s)} | {
            *schemas
        }


def test_postgresql_gets_every_row_key_and_comment(own, project, workbench) -> None:
    ran = workbench("demo", "--into", own, "--rows", "300", "--json", cwd=project)
    assert ran.returncode == 0, ran.stderr
    frames = marketpulse.generate(300)
    assert (
        json.loads(ran.stdout).items()
        >= {f"marketpulse.{name}": frame.height for name, frame in frames.items()}.items()
    )
    with connect(own) as db:
        for name, frame in frames.items():
            table = db.table(f"marketpulse.{name}")
            meant = marketpulse.METADATA.tables[f"marketpulse.{name}"]
            found = db.read(sa.select(table).order_by(*table.primary_key))
            key = [column.name for column in table.primary_key]
            assert found.equals(frame.cast(dict(found.schema)).sort(key))
            assert table.comment == meant.comment
            assert [(c.name, c.comment, c.nullable, c.primary_key) for c in table.columns] == [
                (c.name, c.comment, c.nullable, c.primary_key) for c in meant.columns
            ]
            assert {k.target_fullname for k in table.foreign_keys} == {
                k.target_fullname for k in meant.foreign_keys
            }
        before = held(db)
        with pytest.raises(DataError, match=r"'marketpulse' of source 'own' is not empty: it"
                           r" holds colors, coverage, dealers, securities"):  # fmt: skip
            load_into(own, 10)
        assert held(db) == before
        assert db.read("SELECT count(*) AS n FROM marketpulse.colors").item() == 300


def test_a_view_is_enough_to_be_refused(own) -> None:
    with connect(own) as db:
        with db.engine.begin() as connection:
            connection.execute(sa.text("CREATE SCHEMA marketpulse"))
            connection.execute(sa.text("CREATE VIEW marketpulse.mine AS SELECT 1 AS one"))
        with pytest.raises(DataError, match="holds mine"):
            load_into(own, 10)
        assert db.read("SELECT one FROM marketpulse.mine").item() == 1


def test_a_read_only_source_is_refused_and_untouched(own, project, workbench) -> None:
    ran = workbench("demo", "--into", "shut", cwd=project)
    assert ran.returncode == 1
    assert "Source 'shut' is read-only" in ran.stderr
    assert "read_only = false" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert workbench("demo", "--into", own, "--reset", cwd=project).returncode == 2
    with connect(own) as db:
        assert "marketpulse" not in held(db)


class Sample:
    """A sample schema whose names are reserved words on Oracle, and whose rows can be wrong."""

    METADATA = sa.MetaData(schema="marketpulse")
    sa.Table("one", METADATA, sa.Column("id", sa.Integer, primary_key=True), comment="First")
    sa.Table(
        "share",
        METADATA,
        sa.Column("id", sa.Integer, sa.ForeignKey("marketpulse.one.id"), primary_key=True),
        sa.Column("date", sa.Date, comment="A reserved word", index=True),
        sa.Column("level", sa.String(5)),
    )

    def __init__(self, *ids: int) -> None:
        self.ids = ids

    def generate(self, rows: int = 0) -> dict[str, pl.DataFrame]:
        one = pl.DataFrame({"id": range(1000)})
        days = pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, len(self.ids)), eager=True)
        audit = pl.DataFrame({"id": self.ids, "date": days, "level": ["é'\"%"] * len(self.ids)})
        return {"one": one, "share": audit}


def nothing_half(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Load rows of which the last is refused, then be interrupted, and find nothing."""
    monkeypatch.setitem(demo.SCHEMAS, "marketpulse", Sample(1, 2, 2))
    with connect(source) as db:
        before = held(db)
        with pytest.raises(QueryError, match="Row 3 was refused"):
            load_into(source, 10)
        assert held(db) == before

        class Interrupted(Sample):
            def generate(self, rows: int = 0) -> dict[str, pl.DataFrame]:
                raise KeyboardInterrupt

        monkeypatch.setitem(demo.SCHEMAS, "marketpulse", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            load_into(source, 10)
        assert held(db) == before


def test_what_fails_leaves_nothing_in_postgresql(own, monkeypatch) -> None:
    nothing_half(monkeypatch, own)


@pytest.fixture(scope="module")
def user(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with sampled.owner(oracle, tmp_path_factory.mktemp("mirror"), "loader") as own:
        yield own


@pytest.mark.oracle
def test_what_fails_leaves_nothing_in_oracle(user, project, monkeypatch) -> None:
    with sampled.project(project, user):
        nothing_half(monkeypatch, "oracle")


@pytest.mark.oracle
def test_reserved_words_are_upper_case_names_on_oracle(user, project, monkeypatch) -> None:
    monkeypatch.setitem(demo.SCHEMAS, "marketpulse", Sample(1, 2))
    with sampled.project(project, user, f'schema = "{user.username.lower()}"'):
        counts = load_into("oracle")
        assert {name.split(".")[1]: rows for name, rows in counts.items()} == {
            "one": 1000,
            "share": 2,
        }
        with connect("oracle") as db:
            table = db.table("share")
            rows = db.read('SELECT id, "DATE", "LEVEL" FROM "SHARE" ORDER BY "DATE"')
            assert rows["level"].to_list() == ["é'\"%"] * 2
            assert table.c["DATE"].comment == "A reserved word"
            with pytest.raises(DataError, match="is not empty: it holds"):
                load_into("oracle")
            with db.engine.begin() as connection:
                table.drop(connection)
                db.table("one").drop(connection)


@pytest.mark.oracle
def test_a_schema_that_oracle_lacks(user, project, monkeypatch) -> None:
    with (
        sampled.project(project, user, 'schema = "nobody"'),
        pytest.raises(DataError, match="has no schema 'nobody'"),
    ):
        load_into("oracle", 10)
