"""`workbench.validate` on a frame and inside PostgreSQL, against Great Expectations on pandas.

Great Expectations reads the table with pandas.read_sql first, as its users do; all three must
count the same rows.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.measuring import PEAK, ROOT, versus
from benchmarks.read import MAKE
from workbench import embedded

ROUNDS = 2
NUMBERS = ("message_id", "dealer", "amount", "price", "weight", "live")
TEXTS = ("ticker", "reference")


def _expectations() -> list[dict[str, Any]]:
    """Forty, of the kinds that suites are made of; five of them fail, one is tolerated."""

    def of(kind: str, **kwargs: Any) -> dict[str, Any]:  # fmt: skip
        return {"type": f"expect_{kind}", "kwargs": kwargs}

    found = [of("column_values_to_not_be_null", column=name) for name in (*NUMBERS, *TEXTS)]
    found += [of("column_values_to_be_between", column=name, min_value=0) for name in NUMBERS]
    found += [of("column_max_to_be_between", column=name, max_value=9e17) for name in NUMBERS]
    found += [of("column_mean_to_be_between", column=name, min_value=0) for name in NUMBERS]
    found += [of("column_value_lengths_to_be_between", column=name, max_value=32) for name in TEXTS]
    found += [
        of("column_values_to_be_unique", column="message_id"),
        of("column_values_to_be_unique", column="ticker"),
        of("column_values_to_be_in_set", column="live", value_set=[0, 1]),
        of("column_values_to_be_in_set", column="live", value_set=[1]),
        of("column_values_to_match_regex", column="reference", regex="^[0-9a-f]{32}$"),
        of("column_values_to_match_regex", column="ticker", regex="^ticker [0-9]{1,3}$"),
        of("column_values_to_match_regex", column="ticker", regex="^ticker [0-9]+$"),
        of("column_values_to_be_between", column="amount", max_value=1_000_000),
        of("column_values_to_be_between", column="price", max_value=12_299, mostly=0.9),
        of("column_unique_value_count_to_be_between", column="dealer", max_value=1_000),
        of("table_row_count_to_be_between", min_value=1),
        of("column_to_exist", column="moment"),
    ]
    return found


WORK = """
import json, sys, time, warnings
way, expectations = sys.argv[1], json.loads(sys.argv[2])
import pandas, polars, pyarrow, pyarrow.csv, sqlalchemy as sa
import workbench as wb
from workbench.validation import validate
import workbench.expectations.inputs, great_expectations as gx
warnings.simplefilter("ignore")
db = wb.connect("bench")
suite = {"name": "bench", "expectations": expectations}

def plain():
    with db.engine.connect() as connection:
        rows = pandas.read_sql(sa.text("SELECT * FROM bench_validate"), connection)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
    batch = asset.add_batch_definition_whole_dataframe("b").get_batch({"dataframe": rows})
    numbered = [{**e, "meta": {"n": n}} for n, e in enumerate(expectations)]
    said = batch.validate(gx.ExpectationSuite(name="bench", expectations=numbered))
    found = {r.expectation_config.meta["n"]: r for r in said.results}
    return [[found[n].success, found[n].result.get("unexpected_count")]
            for n in range(len(expectations))]

def ours(data):
    found = validate(data, suite)
    return [[r.success, r.unexpected] for r in found.results]

if way == "frame":
    data = db.read("SELECT * FROM bench_validate")
elif way == "pushed":
    data = db.table("bench_validate")
times = []
for turn in range(1 if way == "plain" else 2):
    started = time.perf_counter()
    said = plain() if way == "plain" else ours(data)
    times.append(time.perf_counter() - started)
print(json.dumps([times[0], times[-1], peak(), said]))
"""
COLD = """
import polars, workbench as wb
rows = polars.DataFrame({"n": range(20_000)})
kind = "expect_column_values_to_be_unique"
print(wb.validate(rows, {"name": "s", "expectations": [{"type": kind, "kwargs": {"column": "n"}}]}))
"""


def measure(full: bool = False) -> str:
    """Return a table: seconds and memory of each way, and how they compare."""
    from time import perf_counter

    started = perf_counter()
    subprocess.run([sys.executable, "-c", COLD], cwd=ROOT, check=True, capture_output=True)
    cold = perf_counter() - started
    sizes = ((20_000, ROUNDS), (1_000_000 if full else 200_000, 1))
    lines = [_compared(rows, rounds) for rows, rounds in sizes]
    note = f"\nA verdict from a cold start, with all imports: {cold:.1f} s.\n"
    return versus("ten columns", *(row for block in lines for row in block)) + note


def _compared(rows: int, rounds: int) -> list[tuple[str, list[float], list[float]]]:
    url = embedded.connection_url()
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with tempfile.TemporaryDirectory() as folder:
        config = f'[sources.bench]\nurl = "{url.render_as_string()}"\ncall_timeout = 600\n'
        (Path(folder) / "workbench.toml").write_text(config)
        with engine.begin() as connection:
            connection.execute(sa.text("DROP TABLE IF EXISTS bench_validate"))
            made = MAKE.format(name="bench_validate", rows=rows)
            connection.exec_driver_sql(made.replace("%", "%%"))
        try:
            runs = {way: [_once(way, Path(folder)) for _ in range(rounds)]
                    for way in ("frame", "pushed", "plain")}  # fmt: skip
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text("DROP TABLE bench_validate"))
    if len({json.dumps(run[-1]) for several in runs.values() for run in several}) != 1:
        raise RuntimeError(f"the ways do not agree: {runs}")
    medians = {way: [statistics.median(run[n] for run in several) for n in range(3)]
               for way, several in runs.items()}  # fmt: skip
    plain, _, most = medians["plain"]
    return [
        (f"{rows:,} rows, {where}{when}", [medians[way][n], medians[way][2]], [plain, most])
        for way, where in (("frame", "a frame in memory"), ("pushed", "inside PostgreSQL"))
        for n, when in enumerate(("", ", again"))
    ]


def _once(way: str, folder: Path) -> list[Any]:
    command = [sys.executable, "-c", PEAK + WORK, way, json.dumps(_expectations())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    result: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return result
