"""Ten columns from PostgreSQL into a file: `workbench extract` against pandas."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import BIN, ROOT, seconds, versus
from workbench import embedded

ROWS = {"parquet": 1_000_000, "csv": 1_000_000, "jsonl": 1_000_000, "xlsx": 100_000}
FULL = {"parquet": 5_000_000, "csv": 5_000_000, "jsonl": 5_000_000, "xlsx": 1_000_000}
# A small process starts it, because a peak begins with that of whoever started it.
LAUNCH = """
import os, sys, time
started = time.perf_counter()
process = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(process, 0)
print(time.perf_counter() - started, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
PANDAS = """
import sys, pandas, sqlalchemy as sa
url, text, path, kind = sys.argv[1:]
with sa.create_engine(url).connect() as connection:
    rows = pandas.read_sql(sa.text(text), connection)
if kind == "parquet":
    rows.to_parquet(path, index=False)
elif kind == "csv":
    rows.to_csv(path, index=False)
elif kind == "jsonl":
    rows.to_json(path, orient="records", lines=True, date_format="iso")
else:
    rows.to_excel(path, index=False)
"""
STATEMENT = """
SELECT n AS trade_id, n % 1000 AS dealer, (n * 1.37)::numeric(12, 2) AS amount,
       101.395 + n % 977 * 0.0001 AS price, n / 7.0::float8 AS weight, n % 2 = 0 AS live,
       'ticker ' || n % 5000 AS ticker, md5(n::text) AS reference,
       date '2020-01-01' + n % 2000 AS day,
       timestamp '2026-01-01' + n * interval '1.000001 s' AS moment
FROM generate_series(1, {rows}) n
"""


def measure(full: bool = False) -> str:
    """Return a table: seconds of the whole process, and its peak memory, for each format."""
    seconds(BIN / "workbench", "demo")
    url = embedded.connection_url().render_as_string()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, rows in (FULL if full else ROWS).items():
            text, path = STATEMENT.format(rows=rows), Path(folder) / f"x.{kind}"
            ours = _once(path, BIN / "workbench", "extract", "demo", text, "-q", "-o", path)
            theirs = _once(path, sys.executable, "-c", PANDAS, url, text, path, kind)
            lines.append((f"{kind}, {rows:,} rows", ours, theirs))
    return versus("format", *lines)


def _once(path: Path, *command: str | Path) -> tuple[float, float]:
    launched = [sys.executable, "-c", LAUNCH, *map(str, command)]
    done = subprocess.run(launched, cwd=ROOT, check=True, capture_output=True, text=True)
    path.unlink()
    taken, peak = map(float, done.stdout.split()[-2:])
    return taken, peak * 1024 / 1e6  # Linux counts in KiB
