"""How long it takes until a kernel is ready and has imported what our notebooks import."""

from __future__ import annotations

import statistics
import time

from jupyter_client import BlockingKernelClient, KernelManager

from benchmarks.measuring import table
from workbench.running import kernels

IMPORTS = "import polars, duckdb, altair, great_tables, psycopg, workbench.ranking"
ROUNDS = 10


def measure() -> str:
    """Return a table of seconds: ordinary kernels, the first warm one and later ones."""
    ordinary = statistics.median(_start("python3") for _ in range(3))
    kernels.warm(None)
    first = _start("workbench")
    later = statistics.median(_start("workbench") for _ in range(ROUNDS))
    return table(
        ("kernel ready, with its imports done", "seconds"),
        ("ordinary (python3), median of 3", f"{ordinary:.2f}"),
        ("warm, the first: the forkserver imports everything", f"{first:.2f}"),
        (f"warm, later ones, median of {ROUNDS}", f"{later:.2f}"),
    )


def _start(name: str) -> float:
    manager = KernelManager(kernel_name=name)
    started = time.perf_counter()
    manager.start_kernel()
    client: BlockingKernelClient = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        reply = client.execute_interactive(IMPORTS, timeout=60)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"]["evalue"])
        return time.perf_counter() - started
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
