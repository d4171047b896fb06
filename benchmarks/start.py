"""Until a kernel has imported what our notebooks import: a warm kernel against Jupyter's own."""

from __future__ import annotations

import statistics
import time

from jupyter_client import BlockingKernelClient, KernelManager

from benchmarks.measuring import versus
from workbench.running import kernels

IMPORTS = "import polars, duckdb, altair, great_tables, psycopg, workbench.ranking"
ROUNDS = 10


def measure(full: bool = False) -> str:
    """Return a table of seconds: ordinary kernels, the first warm one and later ones."""
    ordinary = statistics.median(_start("python3") for _ in range(3))
    kernels.warm(None)
    first = _start("workbench")
    later = statistics.median(_start("workbench") for _ in range(ROUNDS))
    return versus(
        "ready, with its imports done",
        ("the first, which the forkserver begins with importing everything", [first], [ordinary]),
        (f"later ones, median of {ROUNDS}", [later], [ordinary]),
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
