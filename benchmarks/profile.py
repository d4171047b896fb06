"""Ten tables of a million rows each: our profile, ydata-profiling's and DuckDB's SUMMARIZE."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.measuring import BIN, ROOT, table
from workbench import embedded
from workbench.settings import cache_folder

TABLES, ROWS = 10, 1_000_000
SCHEMA = "bench_profile"
# It pins pandas below 3, so that it cannot live in our environment.
PEER = ["ydata-profiling>=4.18,<5", "psycopg[binary]", "sqlalchemy", "setuptools<81"]
COLUMNS = [
    "n AS id",
    "n % 1000 AS dealer",
    "(n * 7919 % 1000003 * 1.37)::numeric(12, 2) AS amount",
    "'customer ' || n * 31 % 300000 AS customer",
    "(ARRAY['NEW', 'PAID', 'SHIPPED', 'RETURNED'])[1 + n % 4] AS status",
    "timestamp '2024-01-01' + n * interval '61.000001 s' AS created",
    "CASE WHEN n % 10 > 0 THEN md5(n::text) END AS reference",
]
# Each in a process of its own: a peak of memory cannot be taken back.
OURS = """
import resource, sys, time
from workbench.profiling.survey import profile_schema
started = time.perf_counter()
percent = float(sys.argv[2]) or None
profile = profile_schema("bench", sys.argv[1], sample_percent=percent, table_seconds=3600)
taken = time.perf_counter() - started
troubled = [table.problem for table in profile.tables if table.problem]
assert not troubled, troubled
profile.to_json()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""
YDATA = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
import pandas, sqlalchemy
from ydata_profiling import ProfileReport
engine = sqlalchemy.create_engine(sys.argv[1])
started = time.perf_counter()
for name in sys.argv[3:]:
    frame = pandas.read_sql_table(name, engine, schema=sys.argv[2])
    ProfileReport(frame, minimal=True, progress_bar=False).to_html()
taken = time.perf_counter() - started
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""
DUCKDB = """
import glob, resource, sys, time
import duckdb
started = time.perf_counter()
for path in sorted(glob.glob(sys.argv[1] + "/*.parquet")):
    duckdb.sql(f"SUMMARIZE FROM '{path}'").fetchall()
taken = time.perf_counter() - started
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
"""


def measure() -> str:
    """Return two tables: all of them on the same ten tables, and how ours grows."""
    url = embedded.connection_url()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = f'[sources.bench]\nurl = "{url.render_as_string()}"\ncall_timeout = 3600\n'
        (folder / "workbench.toml").write_text(text)
        with _schema(url, [(ROWS, len(COLUMNS))] * TABLES) as names:
            peer = _run(folder, _peer(), YDATA, url.render_as_string(), SCHEMA, *names)
            ways = [
                ("ydata-profiling, minimal, with reading", peer),
                ("workbench, as it comes", _run(folder, sys.executable, OURS, SCHEMA, "0")),
                ("workbench, exact", _run(folder, sys.executable, OURS, SCHEMA, "100")),
            ]
            for table_name in names:
                target, what = folder / f"{table_name}.parquet", f"{SCHEMA}.{table_name}"
                command = [BIN / "workbench", "extract", "bench", what, "-q", "-o", target]
                subprocess.run(command, cwd=folder, env=_environment(), check=True)
            duckdb = _run(folder, sys.executable, DUCKDB, str(folder))
            ways.append(("DuckDB SUMMARIZE of Parquet copies, copying not counted", duckdb))
        compared = table(
            (f"profile of {TABLES} tables, {TABLES * ROWS:,} rows", "seconds", "ratio", "peak MB"),
            *[(way, f"{took:.1f}", f"{peer[0] / took:.1f}", f"{peak:,.0f}")
              for way, (took, peak) in ways],
        )  # fmt: skip
        return compared + "\n" + _growth(folder, url)


def _growth(folder: Path, url: sa.URL) -> str:
    rows = []
    for size, width in (
        (100_000, 7),
        (1_000_000, 7),
        (4_000_000, 7),
        (20_000, 70),
        (20_000, 280),
    ):
        with _schema(url, [(size, width)]):
            default, exact = (
                _run(folder, sys.executable, OURS, SCHEMA, percent) for percent in ("0", "100")
            )
        rows.append(
            (f"{size:,}", width, f"{default[0]:.1f}", f"{exact[0]:.1f}", f"{exact[1]:,.0f}")
        )
    return table(("rows of one table", "columns", "as it comes, s", "exact, s", "peak MB"), *rows)


@contextmanager
def _schema(url: sa.URL, shapes: list[tuple[int, int]]) -> Iterator[list[str]]:
    """Make tables of these numbers of rows and columns, yield their names, and drop them."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        try:
            for number, (rows, width) in enumerate(shapes):
                listed = [f"{column}{place // len(COLUMNS) or ''}" for place, column in
                          enumerate(COLUMNS * (width // len(COLUMNS)))]  # fmt: skip
                made = f"CREATE TABLE {SCHEMA}.t{number} AS SELECT {', '.join(listed)}"
                source = f"FROM generate_series(1::bigint, {rows}) n"
                connection.exec_driver_sql(f"{made} {source}".replace("%", "%%"))
            made = ", ".join(f"{SCHEMA}.t{number}" for number in range(len(shapes)))
            connection.exec_driver_sql(f"VACUUM ANALYZE {made}")
            yield [f"t{number}" for number in range(len(shapes))]
        finally:
            connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA} CASCADE")


def _peer() -> str:
    """Return the Python of an environment that has ydata-profiling; it is made once."""
    home = cache_folder() / "benchmarks" / "ydata-profiling"
    python = home / "bin" / "python"
    if not (home / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER], check=True)
        (home / "made").touch()
    return str(python)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _run(folder: Path, python: str, work: str, *arguments: str) -> tuple[float, float]:
    environment = _environment() if python == sys.executable else dict(os.environ)
    command = [python, "-c", work, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    taken, peak = map(float, done.stdout.split()[-2:])
    return taken, peak
