"""Run Colors against an independent plain Python sort, on DuckDB and in PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import feeds
import naive_colors
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench import embedded, run_colors
from workbench.database import Database, connect
from workbench.errors import DataError

REAL_FEED = Path(__file__).parents[2] / "shared" / "data" / "colors_2026-01-11.xlsx"
KEYS = ("rank", "date", "price")
orders = st.permutations(KEYS).flatmap(
    lambda keys: st.tuples(
        *(st.sampled_from([f"{key} asc", f"{key} desc"]) for key in keys)
    ).flatmap(lambda order: st.integers(1, 3).map(lambda n: list(order[:n])))
)
relaxed = settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def as_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


@relaxed
@given(
    rows=feeds.feeds(controls=True, extras=True, times=True),
    order=orders,
    deduplicate=st.booleans(),
    sector=st.sampled_from([None, "mm-clo", "US_Equity_2.0"]),
)
def test_frames_rank_as_a_plain_sort_does(rows, order, deduplicate, sector) -> None:
    found = naive_colors.rank(rows, order, sector, deduplicate)
    if not found and sector is not None:
        return
    ranked = run_colors(feeds.frame(rows), order=order, sector=sector, deduplicate=deduplicate)
    assert as_rows(ranked.colors) == found


@pytest.fixture(scope="module")
def scratch() -> Iterator[sa.Engine]:
    """A schema of its own in the embedded server, to write feeds into."""
    engine = sa.create_engine(embedded.connection_url())
    name = f"scratch_{random.randrange(10**12)}"
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    yield engine.execution_options(schema_translate_map={None: name}, scratch=name)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


def store(engine: sa.Engine, rows: list[dict[str, Any]]) -> str:
    number = sa.Numeric(28, 10)
    kinds = {
        **dict.fromkeys(naive_colors.CANONICAL, number),
        **dict.fromkeys(("TICKER", "SECTOR", "CUSIP", "SOURCE", "BIAS", "DIFF_STATUS"), sa.Text()),
        **dict.fromkeys(("MESSAGE_ID", "RANK", "CONFIDENCE"), sa.BigInteger()),
        **dict.fromkeys(("DATE", "DATE_1"), sa.DateTime()),
        "zeta": sa.Text(),
        "Alpha": sa.BigInteger(),
        "beta": number,
    }
    names = list(rows[0]) if rows else list(naive_colors.CANONICAL)
    table = sa.Table("feed", sa.MetaData(), *(sa.Column(n, kinds[n]) for n in names))
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        if rows:
            connection.execute(table.insert(), rows)
    return f"{engine.get_execution_options()['scratch']}.feed"


@settings(relaxed, max_examples=12)
@given(rows=feeds.feeds(controls=True, extras=True), order=orders, deduplicate=st.booleans())
def test_postgresql_ranks_as_a_plain_sort_does(scratch, database, rows, order, deduplicate) -> None:
    table = store(scratch, rows)
    ranked = run_colors(table, source=database, order=order, deduplicate=deduplicate)
    assert as_rows(ranked.colors) == naive_colors.rank(rows, order, None, deduplicate)


@pytest.mark.parametrize("write", [feeds.write_csv, feeds.write_parquet, feeds.write_xlsx])
def test_every_file_format_gives_the_same_rows_in_any_order(write, tmp_path: Path) -> None:
    rows = feeds.feed(400)
    expected = naive_colors.rank(rows)
    suffix = write.__name__.removeprefix("write_")
    for seed in (1, 2):
        random.Random(seed).shuffle(rows)
        path = write(rows, tmp_path / f"with space {seed}.{suffix}")
        assert as_rows(run_colors(path).colors) == expected


def test_columns_are_matched_without_regard_to_case_or_order(tmp_path: Path) -> None:
    rows = feeds.feed(60)
    columns = list(reversed(naive_colors.CANONICAL))
    path = feeds.write_csv(
        rows, tmp_path / "feed.csv", columns=columns, header={n: n.title() for n in columns}
    )
    assert as_rows(run_colors(path).colors) == naive_colors.rank(rows)


def test_what_the_feed_lacks_is_derived(tmp_path: Path) -> None:
    rows = feeds.feed(200)
    lacking = ("RANK", "PERCENT_DIFF", "PRICE_DIFF", "DIFF_STATUS", "TICKER", "PRICE_LEVEL")
    columns = [name for name in naive_colors.CANONICAL if name not in lacking]
    path = feeds.write_parquet(rows, tmp_path / "feed.parquet", columns=columns)
    fewer = [{name: row[name] for name in columns} for row in rows]
    ranked = run_colors(path)
    assert as_rows(ranked.colors) == naive_colors.rank(fewer)
    assert ranked.colors["RANK"].null_count() == 0


def test_a_frame_of_pandas_ranks_as_one_of_polars() -> None:
    rows = feeds.feed(100)
    frame = feeds.frame(rows)
    assert run_colors(frame.to_pandas()).colors.equals(run_colors(frame).colors)


def test_rows_without_a_cusip_are_findings_not_a_group() -> None:
    rows = feeds.feed(50)
    for row in rows[:3]:
        row["CUSIP"] = " \t"
    ranked = run_colors(feeds.frame(rows))
    assert ranked.without_cusip.height == 3
    assert ranked.read == 50
    assert ranked.colors["CUSIP"].null_count() == 0


def test_a_sql_file_runs_in_the_source_and_agrees_with_the_table(database, tmp_path: Path) -> None:
    path = tmp_path / "a feed.sql"
    path.write_text(
        "-- the mezzanine at 10:30\nSELECT * FROM marketpulse.colors\n"
        "WHERE sector = '2.0_Mezz' AND ticker LIKE '%20%';  -- ; :not_a_bind\n"
    )
    ranked = run_colors(path, source=database)
    rows = database.read(
        "SELECT * FROM marketpulse.colors WHERE sector = '2.0_Mezz' AND ticker LIKE '%20%'"
    )
    upper = [{name.upper(): value for name, value in row.items()} for row in rows.to_dicts()]
    expected = naive_colors.rank([{**row} for row in upper])
    assert ranked.colors.height == len(expected) > 100
    assert ranked.colors["color_id"].to_list() == [row["COLOR_ID"] for row in expected]


def test_the_demo_table_agrees_with_a_plain_sort(database) -> None:
    ranked = run_colors("marketpulse.colors", source=database)
    rows = database.read("SELECT * FROM marketpulse.colors").to_dicts()
    expected = naive_colors.rank([{n.upper(): v for n, v in row.items()} for row in rows])
    assert ranked.colors["color_id"].to_list() == [row["COLOR_ID"] for row in expected]
    assert ranked.children.height == sum(row["CHILDREN_COUNT"] for row in expected)


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ({"px": "real", "rank": "real"}, None),
        ({"px": "double precision", "rank": "double precision"}, None),
        ({"message_id": "numeric", "rank": "numeric", "px": "numeric"}, None),
        ({"message_id": "varchar(20)", "px": "text", "rank": "text"}, None),
        ({"message_id": "numeric(19, 0)", "date": "timestamptz"}, None),
        ({"cusip": "char(12)", "date": "timestamp"}, None),
        ({"rank": "double precision"}, "column RANK holds 2.5"),
        ({"rank": "numeric"}, "column RANK holds 2.5"),
        ({"date": "text"}, "Column date holds text where dates belong"),
    ],
)
@pytest.mark.parametrize("numbers", ["exact", "float"])
def test_a_table_of_other_types_ranks_the_same(
    scratch, project, kinds: dict[str, str], wrong: str | None, numbers: str
) -> None:
    types = {"message_id": "bigint", "cusip": "text", "px": "numeric(12, 5)", "rank": "int",
             "date": "date", "note": "jsonb", "id": "uuid"} | kinds  # fmt: skip
    rows = [
        (17734072432755618, "ABC", 101.1257, 3, "2026-01-09"),
        (17734072432755617, "ABC", 101.1259, 3, "2026-01-09"),
        (17734072432755616, "ABC", 101.1259, 2.5 if wrong and "RANK" in wrong else 4, "2026-01-09"),
    ]
    schema = scratch.get_execution_options()["scratch"]
    with scratch.begin() as connection:
        columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {schema}.typed"))
        connection.execute(sa.text(f"CREATE TABLE {schema}.typed ({columns})"))
        for row in rows:
            values = ", ".join(f"'{value}'" for value in row)
            insert = f"INSERT INTO {schema}.typed VALUES ({values}, '[1]', gen_random_uuid())"
            connection.execute(sa.text(insert))
    (project / "workbench.toml").write_text(
        f'[sources.other]\nurl = "{scratch.url.render_as_string()}"\nnumbers = "{numbers}"\n'
    )
    (project / "typed.sql").write_text(f"SELECT * FROM {schema}.typed")
    for data in (f"{schema}.typed", "typed.sql"):
        if wrong:
            with pytest.raises(DataError, match=wrong):
                run_colors(data, source="other")
            continue
        ranked = run_colors(data, source="other").colors
        assert ranked["MESSAGE_ID"].to_list() == [row[0] for row in (rows[1], rows[0], rows[2])]
        assert ranked.schema["PARENT_MESSAGE_ID"] == ranked.schema["RANK"] == pl.Int64
        assert ranked["PX"].to_list()[:2] == [Decimal("101.1259"), Decimal("101.1257")]


def test_a_key_that_numbers_rows_is_no_part_of_the_quote(database) -> None:
    rows = database.read("SELECT * FROM marketpulse.colors").to_dicts()
    feed = [{n.upper(): v for n, v in row.items() if n != "color_id"} for row in rows]
    expected = naive_colors.rank(feed, deduplicate=True)
    ranked = run_colors("marketpulse.colors", source=database, deduplicate=True)
    assert as_rows(ranked.colors.drop("color_id")) == expected
    assert ranked.read == len(rows)
    assert ranked.repeats_removed > 500


@pytest.mark.skipif(not REAL_FEED.exists(), reason="the real feed is kept outside the project")
@pytest.mark.parametrize("seed", range(2))
def test_the_real_feed_has_ten_parents_and_forty_children(seed: int, tmp_path: Path) -> None:
    ranked = run_colors(REAL_FEED)
    assert (ranked.parents.height, ranked.children.height) == (10, 40)
    frame = feeds.read_xlsx(REAL_FEED)
    rows = frame.sample(fraction=1, shuffle=True, seed=seed)
    rows.write_csv(tmp_path / "copy.csv")
    rows.write_parquet(tmp_path / "copy.parquet")
    assert run_colors(rows).colors.equals(ranked.colors)
    assert run_colors(tmp_path / "copy.csv").colors.equals(ranked.colors)
    assert run_colors(tmp_path / "copy.parquet").colors.equals(ranked.colors)
