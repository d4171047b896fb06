"""Run the benchmarks: `python -m benchmarks` all of them, into docs/benchmarks.md.

With NAMEs only those are run; their tables are printed, and nothing is written. One that fails
is named in the page, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module, metadata
from multiprocessing import get_context
from pathlib import Path

import psutil

from benchmarks.measuring import ROOT, attempt, failure, table

PAGE = ROOT / "docs" / "benchmarks.md"
HEADINGS = {
    "first_report": "One report",
    "plan": "Many reports",
    "start": "A kernel that is ready",
    "index": "The index of all reports",
    "read": "Rows into a frame",
    "extract": "Rows into a file",
    "profile": "A profile of a schema",
    "validate": "Forty expectations",
    "colors": "Run Colors on files",
    "documents": "Documents into a warehouse",
}
LIBRARIES = (
    "polars", "duckdb", "pyarrow", "pandas", "SQLAlchemy", "psycopg", "oracledb", "papermill",
    "nbconvert", "great-expectations", "boto3", "moto", "pyspark",
)  # fmt: skip
ABOUT = """# Benchmarks

What it costs, on one machine and in one run, against what people use for the same today. A ratio is
the peer's figure divided by ours: 2.0 means that the peer takes twice as long, or twice the memory,
and less than 1 that the peer is the better one. Ratios carry over to other machines better than
seconds do. Peak memory is of the whole process, with all that it imports.

"""
AGAIN = """
To measure again, into this page; one alone, printed only; with the larger sizes:

```console
$ make bench
$ .venv/bin/python -m benchmarks read
$ .venv/bin/python -m benchmarks --full
```
"""


def main() -> int:
    """Run what the command line names and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HEADINGS))
    parser.add_argument(
        "--full", action="store_true", help="larger sizes and more peers: hours rather than minutes"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(HEADINGS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    began, started, load = dt.datetime.now(dt.UTC), time.monotonic(), os.getloadavg()[0]
    failed, sections = False, []
    for name in given.names or HEADINGS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        since = time.monotonic()
        done, text = _alone(name, given.full)
        failed |= not done
        ended = f"{'done' if done else text.strip()}, {time.monotonic() - since:.0f} s"
        print(f"{name}: {ended}", file=sys.stderr, flush=True)
        sections.append(f"\n## {HEADINGS[name]}\n\n{_said(name)}\n\n{text}")
        if given.names:
            print(sections[-1], flush=True)
    if not given.names:
        sections.insert(0, ABOUT + _machine(began, time.monotonic() - started, load) + AGAIN)
        building = PAGE.with_suffix(".building")
        building.write_text("".join(sections), encoding="utf-8")
        building.replace(PAGE)
    return int(failed)


def _alone(name: str, full: bool) -> tuple[bool, str]:
    """Measure in a process of its own: what one leaves behind is not measured with the next."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(attempt, name, full).result()
    except Exception as error:  # the process was killed, say
        return False, failure(error)


def _said(name: str) -> str:
    """Return what the benchmark's module says about itself first."""
    return str(import_module(f"benchmarks.{name}").__doc__).split("\n\n")[0].replace("\n", " ")


def _machine(began: dt.datetime, took: float, load: float) -> str:
    cpu = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*:\s*(.+)", cpu.read_text()) if cpu.exists() else []
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return table(
        ("measured", f"{began:%Y-%m-%d %H:%M} UTC, in {took / 60:.0f} minutes"),
        ("machine", f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"),
        ("memory", f"{psutil.virtual_memory().total / 1e9:.0f} GB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("busy with other work", f"load average {load:.1f} when it began"),
        ("Python", platform.python_version()),
        ("libraries", ", ".join(versions)),
    ).replace("---:", "---")


if __name__ == "__main__":
    sys.exit(main())
