"""Run Colors on a real local Spark, against the plain Python reference and against DuckDB."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import feeds
import naive_colors
import naive_rules
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from workbench import engines, run_colors_into
from workbench.colors import Ranking, ranked
from workbench.errors import DataError, QueryError, UsageError, WorkbenchError
from workbench.exclusions import Group, Rule, condition

pytestmark = pytest.mark.spark
Open = Callable[[Any], Any]
CONF = """
[spark]
master = "local[2]"
[spark.conf]
"spark.driver.memory" = "1g"
"spark.driver.extraJavaOptions" = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"spark.sql.shuffle.partitions" = "2"
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """What opens an input on a local Spark, which starts with the first."""
    java = os.environ.get("JAVA_HOME") or shutil.which("java")
    if importlib.util.find_spec("pyspark") is None or java is None:
        reason = "PySpark or Java is not here: make spark, and Debian's openjdk-17-jre-headless"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    from workbench import spark

    config = tmp_path_factory.mktemp("spark") / "workbench.toml"
    config.write_text(CONF)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_CONFIG", str(config))
        yield spark.opened


def drawn(count: int, strategy: st.SearchStrategy[Any]) -> list[Any]:
    """Draw values once, to be ranked in one go: each statement of Spark's takes a second."""
    values: list[Any] = []

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=HealthCheck)
    @given(strategy)
    def keep(value: Any) -> None:
        values.append(value)

    keep()
    return values


def colors_of(source: Any, **wishes: Any) -> pl.DataFrame:
    return source.execute(ranked(source.relation, Ranking(**wishes), source.label))


def grouped(source: Any, **wishes: Any) -> list[dict[str, Any]]:
    rows = source.execute(ranked(source.relation, Ranking(**wishes), left_out=False))
    return rows.to_dicts()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    some = drawn(40, feeds.feeds(times=True, controls=True, extras=True))
    return [row for feed in some for row in feed]


@pytest.fixture(scope="module")
def stored(opened: Open, rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opened(feeds.write_parquet(rows, tmp_path_factory.mktemp("feeds") / "a [1] day.parquet"))


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"deduplicate": True, "order": ["date asc", "price desc"]},
        {"sector": "us_EQUITY_2.0", "order": ["price asc", "rank desc", "date asc"]},
    ],
)
def test_feeds_rank_as_a_plain_sort_does(stored: Any, rows: list[Any], wishes: Any) -> None:
    assert len(rows) > 300
    assert grouped(stored, **wishes) == naive_colors.rank(rows, **wishes)


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"deduplicate": True},
        {
            "until": date(2026, 1, 9),
            "keep": Group(any=[{"column": "PX", "operator": "less than", "value": 105},
                               {"column": "zeta", "operator": "is null"}]),
            "rules": [
                Rule(name="one", when=[{"column": "BIAS", "operator": "in",
                                        "value": ["bid", "Offer"]}]),
                Rule(name="two", when=[{"column": "alpha", "operator": "between",
                                        "value": 1, "value2": 2},
                                       {"column": "TICKER", "operator": "contains",
                                        "value": "%"}]),
            ],
            "deduplicate": True,
        },
    ],
)  # fmt: skip
def test_spark_and_duckdb_give_the_same_rows_and_types(
    stored: Any, rows: list[Any], wishes: Any
) -> None:
    here = colors_of(engines.from_frame(feeds.frame(rows)), **wishes)
    assert here.height
    found = colors_of(stored, **wishes)
    # Of rows alike but for blanks around the CUSIP, any may be the one that says so.
    if "deduplicate" not in wishes:
        assert found["CUSIP_CHANGED"].sum() == here["CUSIP_CHANGED"].sum()
    assert_frame_equal(found.drop("CUSIP_CHANGED"), here.drop("CUSIP_CHANGED"))


def test_rules_mean_on_spark_what_the_table_of_the_docs_says(opened: Open) -> None:
    strategy = st.tuples(naive_rules.rows(min_size=4), naive_rules.trees())
    examples = drawn(25, strategy)
    rows = [row for some, _ in examples for row in some]
    trees = [tree for _, tree in examples]
    frame = pl.DataFrame(rows, schema=RULED, orient="row", infer_schema_length=None)
    source = opened(frame.with_row_index("MESSAGE_ID").with_columns(CUSIP=pl.lit("A")))
    columns = {column.name.upper(): column for column in source.relation.c}
    asked = [
        sa.case((condition(Rule(name="it", when=as_parts(tree)), columns), 1), else_=0).label(
            str(n)
        )
        for n, tree in enumerate(trees)
    ]
    found = source.execute(sa.select(*asked).order_by(columns["MESSAGE_ID"]))
    expected = [
        [int(naive_rules.is_met(tree, row, naive_rules.KINDS)) for tree in trees] for row in rows
    ]
    assert [list(row) for row in found.rows()] == expected


RULED = {
    **dict.fromkeys(("TICKER", "BIAS", "CODE", "WHEN_TEXT"), pl.String),
    "PX": pl.Decimal(28, 10), "RANK": pl.Int64, "SPREAD": pl.Float64,
    "DATE_1": pl.Datetime("us"), "ISSUED": pl.Date, "LIVE": pl.Boolean,
}  # fmt: skip


def as_parts(tree: Any) -> Any:
    return [tree] if "column" in tree else tree


def test_percentages_are_exact_on_ties_and_at_the_ends_of_the_scale(opened: Open) -> None:
    ends = ["0.000001", "99999999.9999999999", "100", "3", "-7", "0.0001", "16", "0.8", "0"]
    numbers = [Decimal(text) for text in ends] + [Decimal(n).scaleb(-3) for n in (1005, 995, 1015)]
    rows = [
        {"MESSAGE_ID": n, "CUSIP": "A", "RANK": 1, "DATE": date(2026, 1, 9), "PX": px,
         "COV_PRICE": cov}
        for n, (px, cov) in enumerate((px, cov) for px in numbers for cov in numbers)
    ]  # fmt: skip
    found = {row["MESSAGE_ID"]: row["PERCENT_DIFF"] for row in grouped(opened(feeds.frame(rows)))}
    assert found == {
        row["MESSAGE_ID"]: naive_colors.percent_diff(row["PX"], row["COV_PRICE"]) for row in rows
    }


def test_files_of_every_format_give_the_same_rows(opened: Open, tmp_path: Path) -> None:
    rows = feeds.feed(120)
    expected = naive_colors.rank(rows)
    random.Random(1).shuffle(rows)
    for write in (feeds.write_csv, feeds.write_xlsx):
        suffix = write.__name__.removeprefix("write_")
        assert grouped(opened(write(rows, tmp_path / f"with space.{suffix}"))) == expected
    feeds.write_parquet(rows[:50], tmp_path / "1.parquet")
    feeds.write_parquet(rows[50:], tmp_path / "2.parquet")
    assert grouped(opened(tmp_path / "*.parquet")) == expected
    both = opened([tmp_path / "1.parquet", tmp_path / "2.parquet"])
    origins = dict(both.execute(sa.select(both.relation.c.ORIGIN, sa.func.count(sa.text("*")))
                                .group_by(both.relation.c.ORIGIN)).rows())  # fmt: skip
    assert origins == {"1.parquet": 50, "2.parquet": 70}


def test_csv_takes_any_usual_delimiter_quotes_and_lines_within_a_value(
    opened: Open, tmp_path: Path
) -> None:
    text = (
        '\ufeff"Message_Id";cusip;PX; Rank ;DATE;;TICKER\n'
        '1;A;"100.5";1;2026-01-09;x;"a ""b"";\nc"\n2;a; 1e2 ;;2026-01-09 10:30;;\n'
    )
    (tmp_path / "feed.csv").write_text(text, encoding="utf-8")
    found = grouped(opened(tmp_path / "feed.csv"))
    assert [row["PX"] for row in found] == [Decimal("100.5"), Decimal(100)]
    assert found[0]["TICKER"] == 'a "b";\nc'
    assert found[1]["DATE"] == datetime(2026, 1, 9, 10, 30)
    assert found[0]["column 6"] == "x"


def test_floats_hold_what_they_were_meant_to(opened: Open, tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "MESSAGE_ID": [1.0, 2.0, 3.0], "CUSIP": [912828.0, 912828.0, None],
            "PX": pl.Series([99.1, None, 99.7], dtype=pl.Float32),
            "BID": [99.1, float("nan"), 0.3], "RANK": [1.0, float("nan"), 2.0],
            "DATE": pl.Series([datetime(2026, 1, 9, 23)] * 3).dt.replace_time_zone("America/Lima"),
        }
    ).write_parquet(tmp_path / "floats.parquet")  # fmt: skip
    found = grouped(opened(tmp_path / "floats.parquet"))
    assert [(row["CUSIP"], row["MESSAGE_ID"], row["RANK"]) for row in found] == [
        ("912828", 1, 1), ("912828", 2, None)
    ]  # fmt: skip
    assert [row["BID"] for row in found] == [Decimal("99.1"), None]
    assert found[0]["PX"] == Decimal("99.1")
    assert found[0]["DATE"] == datetime(2026, 1, 10, 4)  # in UTC


def one(**values: Any) -> str:
    row = {"MESSAGE_ID": 1, "CUSIP": "A", "PX": 100, "RANK": 1, "DATE": "2026-01-09"} | values
    return f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one(PX="1_000"), "feed.csv: column PX holds '1_000', where a number belongs."),
        (one(PX="1e30"), "feed.csv: column PX holds '1e30', where a number belongs."),
        (one(DATE="09/01/2026"), "DATE holds '09/01/2026', where a date as 2026-01-31 belongs."),
        (one(DATE="2026-02-30"), "DATE holds '2026-02-30', where a date as 2026-01-31 belongs."),
        (one(RANK="2.5"), "column RANK holds '2.5', where a whole number belongs."),
        (one(MESSAGE_ID=10**19), "MESSAGE_ID holds '10000000000000000000', where a whole"),
        (one() + "2,A\n", "feed.csv: a line does not have the columns of the header."),
        (one(PX_2=1).replace("PX_2", "px"), "feed.csv has the column PX twice: 'PX' and 'px'."),
        ("MESSAGE_ID,CUSIP\n1,A\n", "feed.csv lacks the columns PX, RANK or BIAS, DATE_1 or DATE"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(
    opened: Open, tmp_path: Path, text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feed.csv").write_text(text)
    with pytest.raises(DataError) as error:
        colors_of(opened(tmp_path / "feed.csv"))
    assert said in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_not_there_or_not_what_they_seem(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.parquet cannot be read: there is no such file"):
        opened(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("MESSAGE_ID,CUSIP")
    with pytest.raises(WorkbenchError) as error:
        opened(tmp_path / "text.parquet")
    assert "text.parquet" in str(error.value)
    assert "\n\tat " not in str(error.value)
    with pytest.raises(UsageError, match="one kind"):
        opened([tmp_path / "a.csv", tmp_path / "b.parquet"])


def test_names_and_values_may_hold_anything(opened: Open) -> None:
    names = ['a"b', "a`b", "a'b", "a.b", "%(x)s", "a:b ?", "back\\slash", "naïve", "Select", "*"]
    frame = feeds.frame(feeds.feed(3)).with_columns(
        pl.lit(f"{name} {{x}} $1 :y '").alias(name) for name in names
    )
    source = opened(frame)
    found = colors_of(source, sector="'; DROP VIEW feed -- \\' :p0 ?")
    assert found.is_empty()
    found = colors_of(source)
    assert {name: found[name][0] for name in names} == {n: f"{n} {{x}} $1 :y '" for n in names}
    hostile = [{"column": name, "operator": "starts with", "value": name} for name in names]
    assert colors_of(source, keep=Group(all=hostile)).height == 3


def test_the_result_can_be_written_in_order_whole_or_not_at_all(
    stored: Any, opened: Open, tmp_path: Path
) -> None:
    statement = ranked(stored.relation, Ranking())
    out = tmp_path / "out"
    stored.write(statement, out, out)
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "*.parquet"), stored.execute(statement))
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".parquet"}
    (tmp_path / "feed.csv").write_text(one(PX="dear"))
    with pytest.raises(DataError, match="column PX holds 'dear'"):
        run_colors_into(tmp_path / "not out", tmp_path / "feed.csv", engine="spark")
    with pytest.raises(UsageError, match="is there already"):
        run_colors_into(out, tmp_path / "feed.csv", engine="spark")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.csv", "out"]


def test_an_interrupt_ends_the_statement_and_the_session_goes_on(stored: Any) -> None:
    feed = stored.relation
    # 40 million pairs, some ten seconds: Spark's task does not hear of its end within such a loop,
    # and goes on for as long in the background.
    some = [sa.select(feed.c.PX).limit(rows).subquery() for rows in (200, 200, 200, 5)]
    many = sa.select(sa.func.count(sa.text("*"))).select_from(
        some[0].join(some[1], sa.true()).join(some[2], sa.true())
        .join(some[3], some[0].c.PX + some[2].c.PX != some[3].c.PX)
    )  # fmt: skip
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        stored.execute(many)
    assert stored.execute(sa.select(sa.func.count(sa.text("*"))).select_from(feed)).item() > 300


def test_a_statement_that_fails_is_told_without_javas_stack(stored: Any) -> None:
    with pytest.raises(QueryError) as error:
        stored.execute(sa.select(sa.column("nowhere")).select_from(stored.relation))
    assert "nowhere" in error.value.message
    assert "\n" not in error.value.message


def test_nothing_is_left_in_the_current_folder(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert grouped(opened(feeds.frame(feeds.feed(5))))
    assert list(tmp_path.iterdir()) == []


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom workbench.spark_session import session; session()"],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stderr.strip()


def test_without_java_or_pyspark_it_is_told_what_to_install(opened: Open, tmp_path: Path) -> None:
    said = run("", JAVA_HOME=str(tmp_path))
    assert "Spark needs Java 17, which was not found." in said
    assert "openjdk-17-jre-headless" in said.splitlines()[-1]
    said = run("import sys; sys.modules['pyspark'] = None")
    assert "needs PySpark, which is not installed." in said
    assert 'pip install "workbench[spark]"' in said
