"""Ten tables in PostgreSQL: our profile against ydata-profiling and DuckDB's SUMMARIZE."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.measuring import BIN, PEAK, ROOT, failure, table, versus
from workbench import embedded
from workbench.settings import cache_folder

TABLES = 10
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
import sys, time
from workbench.profiling.survey import profile_schema
started = time.perf_counter()
percent = float(sys.argv[2]) or None
profile = profile_schema("bench", sys.argv[1], sample_percent=percent, table_seconds=3600)
taken = time.perf_counter() - started
troubled = [table.problem for table in profile.tables if table.problem]
assert not troubled, troubled
profile.to_json()
print(taken, peak())
"""
YDATA = """
import sys, time, warnings
warnings.simplefilter("ignore")
import pandas, sqlalchemy
from ydata_profiling import ProfileReport
engine = sqlalchemy.create_engine(sys.argv[1])
started = time.perf_counter()
for name in sys.argv[3:]:
    frame = pandas.read_sql_table(name, engine, schema=sys.argv[2])
    ProfileReport(frame, minimal=True, progress_bar=False).to_html()
taken = time.perf_counter() - started
print(taken, peak())
"""
DUCKDB = """
import glob, sys, time
import duckdb
started = time.perf_counter()
for path in sorted(glob.glob(sys.argv[1] + "/*.parquet")):
    duckdb.sql(f"SUMMARIZE FROM '{path}'").fetchall()
taken = time.perf_counter() - started
print(taken, peak())
"""


def measure(full: bool = False) -> str:
    """Return two tables: against the others on the same ten tables, and how ours grows."""
    url, rows = embedded.connection_url(), 1_000_000 if full else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = f'[sources.bench]\nurl = "{url.render_as_string()}"\ncall_timeout = 3600\n'
        (folder / "workbench.toml").write_text(text)
        with _schema(url, [(rows, len(COLUMNS))] * TABLES) as names:
            default, exact = (
                _run(folder, sys.executable, OURS, SCHEMA, percent) for percent in ("0", "100")
            )
            for table_name in names:
                target, what = folder / f"{table_name}.parquet", f"{SCHEMA}.{table_name}"
                command = [BIN / "workbench", "extract", "bench", what, "-q", "-o", target]
                subprocess.run(command, cwd=folder, env=_environment(), check=True)
            duckdb = _run(folder, sys.executable, DUCKDB, str(folder))
            compared, note = [("exact, against SUMMARIZE of Parquet copies", exact, duckdb)], ""
            try:
                python = _peer()
            except (subprocess.CalledProcessError, OSError) as error:
                note = f"\nydata-profiling could not be installed here. {failure(error)}"
            else:
                peer = _run(folder, python, YDATA, url.render_as_string(), SCHEMA, *names)
                version = _version(python)
                compared[:0] = [
                    (f"{way}, against ydata-profiling {version}, minimal", ours, peer)
                    for way, ours in (("as it comes", default), ("exact", exact))
                ]
        return (
            versus(f"{TABLES * rows:,} rows, reading included", *compared)
            + f"{note}\nHow ours grows, with one table:\n\n"
            + _growth(folder, url, full)
        )


def _growth(folder: Path, url: sa.URL, full: bool) -> str:
    rows = []
    more = [(4_000_000, 7), (20_000, 280)] if full else []
    for size, width in ((100_000, 7), (1_000_000, 7), (20_000, 70), *more):
        with _schema(url, [(size, width)]):
            default, exact = (
                _run(folder, sys.executable, OURS, SCHEMA, percent) for percent in ("0", "100")
            )
        rows.append(
            (f"{size:,}", width, f"{default[0]:.1f}", f"{exact[0]:.1f}", f"{exact[1]:,.0f}")
        )
    return table(("rows", "columns", "as it comes, s", "exact, s", "exact, peak MB"), *rows)


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
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PEER], check=True, capture_output=True
        )
        (home / "made").touch()
    return str(python)


def _version(python: str) -> str:
    asked = "from importlib.metadata import version; print(version('ydata-profiling'))"
    done = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _run(folder: Path, python: str, work: str, *arguments: str) -> tuple[float, float]:
    environment = _environment() if python == sys.executable else dict(os.environ)
    command = [python, "-c", PEAK + work, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    taken, peak = map(float, done.stdout.split()[-2:])
    return taken, peak
