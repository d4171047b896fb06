"""Run Colors from Parquet into Parquet, against the same written by hand in each library.

The peers are written for this very feed: its columns are complete, its prices decimals. Their
rows must be ours, in the same order; pandas and Python sort floats, which these prices survive.
100 million rows take a quarter of an hour and 30 GB of disk: COLORS_ROWS=100000000 adds them
to --full.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from math import nan
from pathlib import Path

import duckdb

from benchmarks.measuring import PEAK, ROOT, versus

SMALL, MEDIUM, LARGE = 100_000, 1_000_000, 10_000_000
MEMORY = "5GB"  # of DuckDB's for more rows than that; the goal for the process is 8

# Five colors of a security on average, each with another coverage price once in four.
FEED = """
COPY (
  SELECT * REPLACE (
    round(abs(px - cov_price) / cov_price * 100, 2)::DECIMAL(18, 2) AS percent_diff,
    px - cov_price AS price_diff,
    CASE WHEN cov_price IS NULL THEN NULL WHEN round(abs(px - cov_price) / cov_price * 100, 2)
      > CASE WHEN sector = 'US_Equity_2.0' THEN 5 ELSE 2 END
      THEN 'Significant Difference' ELSE 'Small Difference' END AS diff_status)
  FROM (
    SELECT 17600000000000000 + m % 100000000000 AS message_id,
      'NAME' || s % 5000 || ' 2024-' || s % 30 || 'A ' || chr((65 + s % 6)::INT) AS ticker,
      ['2.0_AAA_Senior', '2.0_Mezz', '2.0_Senior', 'MM-CLO', 'US_Equity_2.0', 'A_BSL'][1 + s % 6]
        AS sector,
      upper(substr(md5(s::VARCHAR), 1, 9)) AS cusip, DATE '2026-01-09' - (q % 60)::INT AS "date",
      (95 + q % 8000 / 1000.0)::DECIMAL(18, 5) AS price_level,
      (95 + q % 8000 / 1000.0)::DECIMAL(18, 5) AS bid,
      (96 + q % 8000 / 1000.0)::DECIMAL(18, 5) AS ask,
      (95 + q % 8000 / 1000.0)::DECIMAL(18, 5) AS px,
      ['SMBC', 'MS', 'BOA', 'BARCAP', 'CITI', 'JPM', 'GS', 'NOMURA', 'WFC'][1 + m % 9] AS source,
      ['BID', 'OFFER', 'VALUATION', 'BWIC TALK', 'TRADE CONFIRM', 'BWIC COVER', 'MARKET'][1 + q % 7]
        AS bias,
      [3, 4, 6, 5, 1, 2, 3][1 + q % 7]::BIGINT AS rank,
      CASE WHEN h % 20 > 0 THEN (95 + h % 8000 / 1000.0)::DECIMAL(18, 5) END AS cov_price,
      NULL::DECIMAL(18, 5) AS percent_diff, NULL::DECIMAL(18, 5) AS price_diff,
      h % 11 AS confidence,
      DATE '2026-01-09' - (q % 60)::INT AS date_1, NULL::VARCHAR AS diff_status
    FROM (
      SELECT (hash(i) >> 2)::BIGINT AS h, (hash(i // 2 + 7) >> 2)::BIGINT AS q,
        (hash(i // 7 + 9) >> 2)::BIGINT AS m,
        (hash((hash(i // 2) >> 2)::BIGINT % ({rows} // 5 + 1)) >> 2)::BIGINT AS s
      FROM range({rows}) r(i))))
TO '{path}' (FORMAT parquet)
"""
TIES = (
    "ticker", "sector", "date", "price_level", "bid", "ask", "source", "bias", "cov_price",
    "percent_diff", "price_diff", "confidence", "date_1", "diff_status",
)  # fmt: skip

WORKBENCH = """
from workbench.ranked_files import run_colors_into
def rank(source, target):
    run_colors_into(target, source, overwrite=True)
"""
DUCKDB = f"""
import duckdb
def rank(source, target):
    duckdb.execute(f'''COPY (
      WITH feed AS (
        SELECT * REPLACE (upper(trim(cusip)) AS cusip) FROM '{{source}}' WHERE trim(cusip) <> ''),
      placed AS (
        SELECT *, row_number() OVER w AS color_position, first_value(message_id) OVER w AS parent,
          count(*) OVER (PARTITION BY cusip) AS colors FROM feed
        WINDOW w AS (PARTITION BY cusip ORDER BY rank NULLS LAST,
          coalesce(date_1, "date") DESC NULLS LAST, px DESC NULLS LAST, message_id NULLS LAST,
          {", ".join(f'"{name}" NULLS LAST' for name in TIES)}))
      SELECT * EXCLUDE (parent, colors), color_position = 1 AS is_parent,
        CASE WHEN color_position > 1 THEN parent END AS parent_message_id,
        CASE WHEN color_position = 1 THEN colors - 1 ELSE 0 END AS children_count
      FROM placed ORDER BY cusip, color_position) TO '{{target}}' (FORMAT parquet)''')
"""  # noqa: S608
POLARS = f"""
import polars as pl
def rank(source, target):
    feed = pl.read_parquet(source).with_columns(
        pl.col("cusip").str.strip_chars().str.to_uppercase(),
        day=pl.coalesce("date_1", "date")).filter(pl.col("cusip") != "")
    ties = {TIES!r}
    feed = feed.sort("cusip", "rank", "day", "px", "message_id", *ties, nulls_last=True,
        descending=[False, False, True, True, False, *[False] * len(ties)]).drop("day")
    position = pl.int_range(1, pl.len() + 1).over("cusip")
    first = pl.col("color_position") == 1
    feed.with_columns(color_position=position, parent=pl.col("message_id").first().over("cusip"),
        colors=pl.len().over("cusip")).with_columns(is_parent=first,
        parent_message_id=pl.when(~first).then("parent"),
        children_count=pl.when(first).then(pl.col("colors") - 1).otherwise(0),
    ).drop("parent", "colors").write_parquet(target)
"""
PANDAS = f"""
import pandas, pyarrow as pa, pyarrow.parquet as pq
def rank(source, target):
    rows = pq.read_table(source)
    for number, field in enumerate(rows.schema):
        if pa.types.is_decimal(field.type):
            rows = rows.set_column(number, field.name, rows[number].cast(pa.float64()))
    feed = rows.to_pandas()
    feed["cusip"] = feed["cusip"].str.strip().str.upper()
    feed = feed[feed["cusip"] != ""]
    feed["day"] = feed["date_1"].fillna(feed["date"])
    ties = {list(TIES)!r}
    feed = feed.sort_values(["cusip", "rank", "day", "px", "message_id", *ties], na_position="last",
        ascending=[True, True, False, False, True, *[True] * len(ties)]).drop(columns="day")
    groups = feed.groupby("cusip", sort=False)["message_id"]
    feed["color_position"] = groups.cumcount() + 1
    feed["is_parent"] = feed["color_position"] == 1
    feed["parent_message_id"] = groups.transform("first").astype("Int64").mask(feed["is_parent"])
    feed["children_count"] = (groups.transform("size") - 1).where(feed["is_parent"], 0)
    feed.to_parquet(target, index=False)
"""
PYTHON = f"""
import pyarrow as pa, pyarrow.parquet as pq
def rank(source, target):
    groups = {{}}
    for row in pq.read_table(source).to_pylist():
        row["cusip"] = row["cusip"].strip().upper()
        if row["cusip"]:
            groups.setdefault(row["cusip"], []).append(row)
    def last(value):
        return (value is None, value)
    def key(row):
        day = row["date_1"] or row["date"]
        return (last(row["rank"]), (day is None, day and -day.toordinal()),
            (row["px"] is None, row["px"] and -row["px"]), last(row["message_id"]),
            *(last(row[name]) for name in {TIES!r}))
    ranked = []
    for cusip in sorted(groups):
        family = sorted(groups[cusip], key=key)
        for position, row in enumerate(family, 1):
            row["color_position"], row["is_parent"] = position, position == 1
            row["parent_message_id"] = None if position == 1 else family[0]["message_id"]
            row["children_count"] = len(family) - 1 if position == 1 else 0
            ranked.append(row)
    pq.write_table(pa.Table.from_pylist(ranked), target)
"""
SPARK_WAY = """
import shutil
from workbench import spark
from workbench.ranked_files import run_colors_into
def rank(source, target):
    shutil.rmtree(target, ignore_errors=True)
    run_colors_into(target, source, engine="spark")
"""
MAIN = """
import json, sys, time
source, target, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
taken = []
for _ in range(rounds):
    started = time.perf_counter()
    rank(source, target)
    taken.append(time.perf_counter() - started)
print(json.dumps([min(taken), peak()]))
"""


def measure(full: bool = False) -> str:
    """Return tables: seconds of ranking (imports not counted) and peak memory, ours and others'."""
    medium = {"DuckDB": DUCKDB, "polars": POLARS, "pandas": PANDAS}
    sizes = [(SMALL, 5, {"plain Python": PYTHON}), (MEDIUM, 3, medium)]
    if full:
        spark = shutil.which("java") and find_spec("pyspark")
        sizes[1] = (MEDIUM, 3, {**medium, **({"Spark": SPARK_WAY} if spark else {})})
        sizes += [(LARGE, 1, medium), (int(os.environ.get("COLORS_ROWS", "0")), 1, {})]
    lines = []
    with tempfile.TemporaryDirectory(prefix="colors-") as name:
        folder = Path(name)
        for rows, rounds, ways in sizes:
            if not rows:
                continue
            feed = folder / "feed.parquet"
            duckdb.execute(FEED.format(rows=rows, path=feed))
            ours = _run(WORKBENCH, feed, folder / "ours.parquet", rounds)
            for way, code in ways.items():
                once = 1 if way in ("pandas", "Spark") else rounds
                target = folder / f"{way}.parquet"
                theirs = _run(code, feed, target, once)
                _compare(folder / "ours.parquet", target)
                lines.append((f"{rows:,} rows, {way}", ours, theirs))
            if not ways:
                lines.append((f"{rows:,} rows", ours, (nan, nan)))
    return versus("peer", *lines)


def _run(code: str, feed: Path, target: Path, rounds: int) -> tuple[float, float]:
    settings = dict(os.environ)
    if feed.stat().st_size > 1e9:
        settings["WORKBENCH_DUCKDB__MEMORY_LIMIT"] = MEMORY
    command = [sys.executable, "-c", PEAK + code + MAIN, str(feed), str(target), str(rounds)]
    done = subprocess.run(command, cwd=ROOT, env=settings, check=True, stdout=subprocess.PIPE)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    print(f"{target.stem}: {seconds:.2f} s, {peak:,.0f} MB", file=sys.stderr, flush=True)
    return seconds, peak


def _compare(ours: Path, theirs: Path) -> None:
    """Refuse figures of another result: every row's key columns must agree, place by place."""
    names = "cusip, color_position, message_id, round(cov_price::DOUBLE * 1e5)::BIGINT, confidence"
    names += ", is_parent::INT"
    parts = "/*.parquet" if theirs.is_dir() else ""
    digests = [
        duckdb.execute(
            f"SELECT count(*), bit_xor(hash(n, {names}, parent_message_id, children_count))"  # noqa: S608
            f" FROM (SELECT *, row_number() OVER () AS n FROM '{path}')"
        ).fetchone()
        for path in (ours, f"{theirs}{parts}")
    ]
    if digests[0] != digests[1]:
        raise RuntimeError(f"not the same result: {digests}")
