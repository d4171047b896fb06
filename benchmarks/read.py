"""A table of ten columns into a frame: `Database.read` against `pandas.read_sql`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from benchmarks.measuring import PEAK, ROOT, versus
from workbench import embedded

ROWS, ROUNDS = 1_000_000, 3
ORACLE_ROWS = {
    False: 20_000,
    True: 100_000,
}  # the stand-in, which is pure Python, needs seconds for each 10,000
MAKE = """
CREATE TABLE {name} AS
SELECT 17734072400000000 + n AS message_id, n % 1000 AS dealer,
       (n * 1.37)::numeric(12, 2) AS amount, (n * 0.0123)::numeric(14, 4) AS price,
       n / 7.0::float8 AS weight, n % 2 AS live,
       date '2020-01-01' + n::int % 2000 AS day,
       timestamp '2026-01-01' + n * interval '1.000001 s' AS moment,
       CASE WHEN n % 10 > 0 THEN 'ticker ' || n % 5000 END AS ticker, md5(n::text) AS reference
FROM generate_series(1::bigint, {rows}) n
"""
# Each in a process of its own, because a peak of memory cannot be taken back.
WORK = """
import sys, time
from workbench.database import connect
import pandas, polars, pyarrow, pyarrow.csv
import sqlalchemy as sa
with connect("bench") as db:
    text = "SELECT * FROM " + sys.argv[2]
    started = time.perf_counter()
    if sys.argv[1] == "workbench":
        rows = db.read(text).height
    else:
        with db.engine.connect() as connection:
            rows = len(pandas.read_sql(sa.text(text), connection))
    taken = time.perf_counter() - started
print(rows, taken, peak())
"""


def measure(full: bool = False) -> str:
    """Return a table: seconds and peak memory of either way; in full, more rows of Oracle's."""
    # Made and dropped beside the samples, not among them.
    rows = [_compared("PostgreSQL", embedded.connection_url(), ROWS, ROUNDS)]
    sys.path.append(str(ROOT / "tests"))
    import standin

    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        if not standin.missing():
            oracle = stack.enter_context(standin.shared(Path(folder) / "standin", "master"))
            url = f"oracle+oracledb://{oracle.host}:{oracle.port}/?service_name={oracle.service}"
            below = sa.make_url(oracle.postgresql or "").set(drivername="postgresql+psycopg")
            os.environ |= {"ORA_USERNAME": oracle.username, "ORA_PASSWORD": oracle.password}
            rows.append(_compared("Oracle's stand-in", below, ORACLE_ROWS[full], 1, url, "master."))
    return versus("from", *rows)


def _compared(
    name: str, below: sa.URL, rows: int, rounds: int, url: str = "", schema: str = ""
) -> tuple[str, list[float], list[float]]:
    """Make the table in the PostgreSQL `below`, read it both ways at `url`, and drop it."""
    engine = sa.create_engine(below, poolclass=sa.NullPool)
    made = f"{schema}bench_read"
    with tempfile.TemporaryDirectory() as folder:
        text = f'[sources.bench]\nurl = "{url or below.render_as_string()}"\ncall_timeout = 600\n'
        text += 'credentials = "env:ORA"\n' if url else ""
        (Path(folder) / "workbench.toml").write_text(text)
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {made}"))
            connection.exec_driver_sql(MAKE.format(name=made, rows=rows).replace("%", "%%"))
        try:
            ours, theirs = ([_once(way, Path(folder), rows) for _ in range(rounds)]
                            for way in ("workbench", "pandas"))  # fmt: skip
        finally:
            with engine.begin() as connection:
                connection.execute(sa.text(f"DROP TABLE {made}"))
    ours, theirs = (
        list(map(statistics.median, zip(*runs, strict=True))) for runs in (ours, theirs)
    )
    return f"{name}, {rows:,} rows", ours, theirs


def _once(way: str, folder: Path, rows: int) -> list[float]:
    command = [sys.executable, "-c", PEAK + WORK, way, "bench_read"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    read, *measured = map(float, done.stdout.split()[-3:])
    if read != rows:
        raise RuntimeError(f"{way} read {read:,.0f} rows of {rows:,}")
    return measured
