"""The document pipeline with 100,000 items: scans by segments, loads against INSERTs, bloat."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import sqlalchemy as sa

from benchmarks.measuring import ROOT, table
from workbench import documents, embedded
from workbench.database import connect
from workbench.demo import documents as samples
from workbench.demo.documents_server import options
from workbench.documents.scanning import Page, Scan
from workbench.documents.shaping import SHAPES
from workbench.documents.targets import SOURCES, tables

ITEMS = 100_000
ROWS = round(ITEMS * 20_000 / 7_419)  # colors beside which there are about so many items
SCHEMA, SEGMENTS, ONE_BY_ONE = "bench_documents", (1, 2, 4, 8), 5_000
# Each in a process of its own, because a peak of memory cannot be taken back.
WORK = """
import re, sys, time
from pathlib import Path
import boto3
from workbench import documents
how = sys.argv[1]
def peak():
    # Not getrusage, which begins with the peak of the process that started this one.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
started = time.perf_counter()
if how == "plain":
    client, items = boto3.client("dynamodb"), []
    for name in ("documents", "metadata", "templates", "audit"):
        for page in client.get_paginator("scan").paginate(TableName=name):
            items += page["Items"]
    count = len(items)
else:
    found = documents.scan("bench", segments=int(how))
    count = found.counts["items"].sum()
taken = time.perf_counter() - started
if how != "plain":
    documents.shape(found)
print(count, taken, (peak() - before) * 1024 / 1e6)
"""


def measure() -> str:
    """Return two tables: scans by segments against boto3's paginator, and ways to load."""
    found = samples.items(ROWS)
    count = sum(map(len, found.values()))
    server = options(ROWS)
    scans = [_scanned(how, server, count) for how in ("plain", *map(str, SEGMENTS))]
    pages = (Page(t, len(found[n]), 1.0, SHAPES[t](found[n])) for t, n in SOURCES.items())
    shaped = documents.shape(Scan("bench", False, tuple(pages)))
    return (
        table(("scan, moto's server", "items", "seconds", "items/s", "memory MB"), *scans)
        + "\n"
        + table(("load", "rows", "seconds", "rows/s", "size MB"), *_loads(shaped))
    )


def _scanned(how: str, server: dict[str, str], count: int) -> tuple[str, ...]:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": server["endpoint_url"], "AWS_DEFAULT_REGION": server["region_name"],
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "WORKBENCH_SOURCES__BENCH__KIND": "dynamodb", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", WORK, how], cwd=folder, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
    read, taken, memory = map(float, done.stdout.split())
    if read != count:
        raise RuntimeError(f"{read:,.0f} of {count:,} items were read")
    name = "boto3's paginator, items kept" if how == "plain" else f"ours, segments={how}, shaped"
    return name, f"{count:,}", f"{taken:.1f}", f"{count / taken:,.0f}", f"{memory:,.0f}"


def _loads(shaped: documents.Shaped) -> list[tuple[str, ...]]:
    engine = sa.create_engine(embedded.connection_url(), poolclass=sa.NullPool)
    size = sa.text(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE nspname = :schema AND relkind = 'r'"
    ).bindparams(schema=SCHEMA)
    every = sum(frame.height for frame in shaped.frames.values())
    lines = []

    def timed(name: str, rows: int, work: Callable[[], Any]) -> None:
        started = time.perf_counter()
        work()
        taken = time.perf_counter() - started
        with engine.connect() as connection:
            held = float(connection.execute(size).scalar_one() or 0) / 1e6
        lines.append((name, f"{rows:,}", f"{taken:.1f}", f"{rows / taken:,.0f}", f"{held:,.0f}"))

    def again(rows: int | None) -> None:
        made = tables(SCHEMA)
        for name, frame in shaped.frames.items():
            with engine.begin() as connection:
                connection.execute(sa.delete(made[name]))
            if rows is None:
                with connect("warehouse") as db:
                    db.execute_many(sa.insert(made[name]), frame)
            elif name == "cases":
                with engine.begin() as connection:
                    for row in frame.head(rows).iter_rows(named=True):
                        connection.execute(sa.insert(made[name]), row)

    drop = sa.text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    try:
        with engine.begin() as connection:
            connection.execute(drop)
        load = partial(documents.load, shaped, "warehouse", schema=SCHEMA)
        timed("first load", every, load)
        timed("the same again", every, load)
        _age(engine)
        timed("1 % of the cases differ", every, load)
        for _ in range(10):
            load()
        timed("the same, ten loads later", every, load)
        timed("DELETE and execute_many", every, lambda: again(None))
        timed("INSERT row by row (cases)", ONE_BY_ONE, lambda: again(ONE_BY_ONE))
    finally:
        with engine.begin() as connection:
            connection.execute(drop)
    return lines


def _age(engine: sa.Engine) -> None:
    some = "hashtext(document_id) % 100 = 0"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {SCHEMA}.cases SET status = 'x' WHERE {some}".replace("%", "%%")  # noqa: S608
        )


if __name__ == "__main__":
    print(measure())
