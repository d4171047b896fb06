"""The memory and the pace of `workbench extract`: five million rows, ten columns, each format."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import BIN, ROOT, seconds, table

ROWS = {"parquet": 5_000_000, "csv": 5_000_000, "jsonl": 5_000_000, "xlsx": 1_000_000}
STATEMENT = """
SELECT n AS trade_id, n % 1000 AS dealer, (n * 1.37)::numeric(12, 2) AS amount,
       101.395 + n % 977 * 0.0001 AS price, n / 7.0::float8 AS weight, n % 2 = 0 AS live,
       'ticker ' || n % 5000 AS ticker, md5(n::text) AS reference,
       date '2020-01-01' + n % 2000 AS day,
       timestamp '2026-01-01' + n * interval '1.000001 s' AS moment
FROM generate_series(1, {rows}) n
"""


def measure() -> str:
    """Return a table: seconds, rows a second, peak memory and size for each format."""
    seconds(BIN / "workbench", "demo")
    with tempfile.TemporaryDirectory() as folder:
        lines = [_line(Path(folder) / f"x.{kind}", rows) for kind, rows in ROWS.items()]
    return table(("workbench extract", "rows", "seconds", "rows/s", "peak MB", "file MB"), *lines)


def _line(path: Path, rows: int) -> tuple[object, ...]:
    command = [BIN / "workbench", "extract", "demo", STATEMENT.format(rows=rows), "-q", "-o", path]
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{path.suffix} failed")
    # Linux counts in KiB.
    peak, size = usage.ru_maxrss * 1024 / 1e6, path.stat().st_size / 1e6
    path.unlink()
    return (
        path.suffix, f"{rows:,}", f"{taken:.1f}", f"{rows / taken:,.0f}", f"{peak:.0f}",
        f"{size:,.0f}",
    )  # fmt: skip
