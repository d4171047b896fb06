"""A shop read from databases of all kinds, and the report on it, run as people run it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sampled
import sqlalchemy as sa
from bs4 import BeautifulSoup
from commands import command
from conftest import ROOT
from standin import Oracle
from test_shop import EVIL, broken

from notebooks import runs_in
from workbench import connect, demo, embedded, shop
from workbench.demo import shop as sample
from workbench.demo.loading import load_into
from workbench.errors import DataError, UsageError
from workbench.running.parameters import read_parameters

NOTEBOOK = ROOT / "notebooks" / "shop_operations.ipynb"
Frames = dict[str, pl.DataFrame]
SIZE = 1000


@pytest.fixture(scope="module")
def planted() -> Frames:
    return sample.generate(SIZE)


@pytest.fixture(scope="module")
def strange(schema: str) -> Iterator[str]:
    """A stranger's shop: names in upper case, ids that are texts, moments with a zone, evil names.

    Three reservations are held too long, of products with names that are markup.
    """
    frames = sample.generate(SIZE)
    frames["products"] = frames["products"].with_columns(name=pl.lit(EVIL))
    metadata = sa.MetaData()
    engine = sa.create_engine(
        embedded.connection_url(), connect_args={"options": "-c TimeZone=Asia/Tokyo"}
    )
    with engine.begin() as connection:
        for table in sample.METADATA.sorted_tables:
            columns: list[sa.Column[Any]] = []
            for column in table.columns:
                kind = column.type
                if isinstance(kind, sa.BigInteger):
                    kind = sa.String(20)
                elif isinstance(kind, sa.TIMESTAMP):
                    kind = sa.TIMESTAMP(timezone=True)
                columns.append(sa.Column(column.name.upper(), kind))
            made = sa.Table(table.name.title(), metadata, *columns, schema=schema)
            made.create(connection)
            ids = [c.name for c in table.columns if isinstance(c.type, sa.BigInteger)]
            zoned = pl.selectors.datetime().dt.replace_time_zone("UTC")
            rows = frames[table.name].with_columns(pl.col(ids).cast(pl.String), zoned)
            connection.execute(made.insert(), rows.rename(str.upper).to_dicts())
    engine.dispose()
    return schema


def same(one: shop.Audit, other: shop.Audit) -> None:
    assert one.as_of == other.as_of
    for name in ("promises", "levels", "minutes", "funnel"):
        assert getattr(one, name).equals(getattr(other, name)), name
    assert broken(one) == broken(other)


@pytest.fixture(scope="module")
def whole() -> shop.Audit:
    """What the whole of the demo's shop has kept and broken."""
    with connect("demo") as db:
        return shop.audit(shop.read(db))


def test_the_demo_is_audited_as_its_frames_are(whole: shop.Audit) -> None:
    with connect("demo") as db:
        rows = db.read("SELECT obj_description(oid, 'pg_namespace') AS said FROM pg_namespace"
                       " WHERE nspname = 'shop'")  # fmt: skip
        size = int(rows["said"][0].split()[-2])
        week = shop.read(db, since="2025-12-20", until="2025-12-26")
    frames = sample.generate(size)
    same(whole, shop.audit(shop.of(frames)))
    same(shop.audit(week), shop.audit(shop.of(frames, "2025-12-20", "2025-12-26")))


def test_another_shop_needs_no_more_than_its_columns(strange: str, planted: Frames) -> None:
    with connect("demo") as db:
        audit = shop.audit(shop.read(db, strange))
    same(audit, shop.audit(shop.of(planted)))
    assert broken(audit)["in_stock"]
    assert audit.offenders["no oversell"]["name"].to_list() == [EVIL]


@pytest.mark.parametrize(
    ("change", "back", "said"),
    [('"Returns" RENAME TO gone', 'gone RENAME TO "Returns"', r"has no table '\w+\.returns'"),
     ('"Orders" RENAME "FAILED_AT" TO fell', '"Orders" RENAME fell TO "FAILED_AT"',
      r"Table \w+\.Orders of source 'demo' lacks the column failed_at\.")],
)  # fmt: skip
def test_a_missing_table_or_column_is_named(
    strange: str, change: str, back: str, said: str
) -> None:
    engine = sa.create_engine(embedded.connection_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, connect("demo") as db:
        connection.execute(sa.text(f"ALTER TABLE {strange}.{change}"))
        try:
            with pytest.raises(DataError, match=said):
                shop.read(db, strange)
        finally:
            connection.execute(sa.text(f"ALTER TABLE {strange}.{back}"))
    engine.dispose()


def test_a_missing_schema_is_named() -> None:
    with connect("demo") as db, pytest.raises(DataError, match="has no schema 'nowhere'"):
        shop.read(db, "nowhere")


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [("returns", None, r"The shop lacks the table returns\."),
     ("orders", "failed_at", r"Table orders lacks the column failed_at\.")],
)  # fmt: skip
def test_frames_that_lack_something_are_refused(
    planted: Frames, table: str, column: str | None, said: str
) -> None:
    frames = dict(planted)
    if column:
        frames[table] = frames[table].drop(column)
    else:
        del frames[table]
    with pytest.raises(DataError, match=said):
        shop.of(frames)


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [("orders", "placed_at", r"orders\.placed_at holds String, not moments"),
     ("order_lines", "quantity", r"order_lines\.quantity holds String, not numbers")],
)  # fmt: skip
def test_texts_of_another_kind_are_refused(
    planted: Frames, table: str, column: str, said: str
) -> None:
    texts = planted[table].with_columns(pl.lit("many").alias(column))
    with pytest.raises(DataError, match=said):
        shop.of({**planted, table: texts})


@pytest.mark.parametrize("table", ["orders", "order_lines", "payments"])
def test_whole_floats_are_the_ids_that_they_were(planted: Frames, table: str) -> None:
    """As pandas has numbers where some are missing."""
    frame = planted[table].with_columns(pl.col("order_id").cast(pl.Float64))
    same(shop.audit(shop.of({**planted, table: frame})), shop.audit(shop.of(planted)))
    frame[0, "order_id"] = float("nan")
    typed = shop.of({**planted, table: frame}).tables[table]["order_id"]
    assert typed.null_count() == 1


@pytest.mark.parametrize(
    ("number", "kind", "fits"),
    [(2**53 - 1, pl.Float64, True), (2**53, pl.Float64, False), (-(2**53), pl.Float64, False),
     (1.5, pl.Float64, False), (float("inf"), pl.Float64, False), (1, pl.Float32, False)],
)  # fmt: skip
def test_floats_that_may_stand_for_several_ids_are_refused(
    planted: Frames, number: float, kind: pl.DataType, fits: bool
) -> None:
    column = pl.lit(number, kind).alias("order_id")
    frames = {**planted, "orders": planted["orders"].with_columns(column)}
    if fits:
        assert shop.of(frames).tables["orders"]["order_id"][0] == str(number)
        return
    with pytest.raises(
        DataError, match=r"orders\.order_id holds Float\d\d, not whole numbers or tex"
    ):
        shop.of(frames)


def test_an_empty_shop_has_kept_and_broken_nothing(planted: Frames) -> None:
    for frames in (
        {name: frame.clear() for name, frame in planted.items()},
        {name: pl.DataFrame(schema=frame.columns) for name, frame in planted.items()},
    ):
        audit = shop.audit(shop.of(frames, since="2026-01-01"))
        assert audit.as_of is None
        assert set(audit.promises["verdict"]) == set(audit.levels["verdict"]) == {"not tried"}
        assert audit.funnel["carts"].to_list() == [0] * 7
        assert audit.funnel["of_carts"].null_count() == 7


def test_a_period_without_data_tries_nothing(planted: Frames) -> None:
    audit = shop.audit(shop.of(planted, "2026-03-01", "2026-03-31"))
    assert set(audit.promises["verdict"]) == {"not tried"}
    assert audit.minutes.is_empty()


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [("soon", None, "since is a day or moment such as 2026-01-31"),
     (None, "2026-02-30", "until is a day or moment"),
     ("0001-01-01T00:00+05:00", None, "since is a day or moment"),
     (None, "9999-12-31T23:00-05:00", "until is a day or moment"),
     ("2026-01-02", "2026-01-01", "Nothing lies between since 2026-01-02 and until 2026-01-01")],
)  # fmt: skip
def test_a_period_that_is_none_is_refused(
    planted: Frames, since: str | None, until: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        shop.of(planted, since, until)


def test_a_moment_with_an_offset_is_meant_in_utc(planted: Frames) -> None:
    given = shop.of(planted, "2026-01-02T01:00+01:00", "2026-01-03T02:00:00+02:00")
    assert given.since == shop.of(planted, "2026-01-02").since
    assert given.until == shop.of(planted, until="2026-01-02").until


@pytest.mark.parametrize("until", ["9999-12-30", "9999-12-31T23:59"])
def test_an_end_in_the_year_9999_is_none(planted: Frames, whole: shop.Audit, until: str) -> None:
    same(shop.audit(shop.of(planted, until=until)), shop.audit(shop.of(planted)))
    with connect("demo") as db:
        same(shop.audit(shop.read(db, until=until)), whole)


def test_the_moment_of_an_audit_may_have_a_zone(planted: Frames) -> None:
    tables, moment = shop.of(planted), dt.datetime(2025, 12, 24, 12)
    zoned = moment.replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=9)))
    same(shop.audit(tables, as_of=zoned), shop.audit(tables, as_of=moment))


@pytest.mark.parametrize("limits", [{"low_stock": -1}, {"refund_hours": float("nan")},
                                    {"packing_seconds": True}, {"return_days": 10**7},
                                    {"packing_seconds": "5"}, {"low_stock": None}])  # fmt: skip
def test_limits_that_are_none_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(limits))} is a number from 0 to 1,000,000"):
        shop.Limits(**limits)


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any], Path]:
    given = [part for word in words for part in ("-p", *word.split("=", 1))]
    done = command("run", str(NOTEBOOK), "--output", str(folder), *given)
    newest = runs_in(folder / "shop_operations")[-1]
    return (
        done.exit_code if hasattr(done, "exit_code") else done.returncode,
        json.loads((newest / "run.json").read_text("utf-8")),
        newest,
    )


def test_the_report_shows_what_was_broken_even_of_a_hostile_shop(
    strange: str, tmp_path: Path
) -> None:
    code, told, folder = run(tmp_path, f"schema={strange}", "since=2025-12-15", "on_broken=fail")
    with connect("demo") as db:
        audit = shop.audit(shop.read(db, strange, since="2025-12-15"))
    assert (code, told["status"]) == (3, "data-failed")
    figures = {figure["name"]: figure["value"] for figure in told["figures"]}
    assert figures["promises broken"] == len(broken(audit)) >= 2
    assert figures["violations"] == audit.promises["violations"].sum()
    assert figures["checkout p95"] == audit.levels["observed"][0]
    page = BeautifulSoup((folder / "report.html").read_text("utf-8"), "html.parser")
    text = page.get_text(" ", strip=True)
    for name, frame in audit.offenders.items():
        assert (f"Broken: {name}" in text) == bool(frame.height)
        if frame.height:
            assert frame["why"][0] in text
            file = folder / "data" / f"{name.replace(' ', '_')}.csv"
            assert pl.read_csv(file).height == frame.height
    assert EVIL in page.get_text()
    assert not page.find("script")
    assert (folder / "report.html").stat().st_size < 300_000


def test_each_parameter_says_what_it_is_for() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parameters = read_parameters(cells)
    limits = shop.Limits.__dataclass_fields__
    names = ["source", "schema", "since", "until", *limits, "on_broken"]
    assert [p.name for p in parameters] == names
    assert [p.default for p in parameters][4:-1] == [field.default for field in limits.values()]
    assert all(parameter.comment for parameter in parameters)


@pytest.fixture(scope="module")
def user(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    with sampled.owner(oracle, tmp_path_factory.mktemp("mirror"), "shopkeeper") as own:
        yield own


@pytest.mark.oracle
def test_a_shop_in_oracle_is_audited_as_its_frames_are(
    user: Oracle, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "SCHEMAS", {"shop": sample})
    monkeypatch.setattr("workbench.demo.loading.SCHEMAS", {"shop": sample})
    with sampled.project(project, user):
        load_into("oracle", 60)
        with connect("oracle") as db:
            audit = shop.audit(shop.read(db, ""))
            with db.engine.begin() as connection:
                for table in reversed(sample.METADATA.sorted_tables):
                    connection.execute(sa.text(f"DROP TABLE {table.name}"))
    same(audit, shop.audit(shop.of(sample.generate(60))))
