"""The document pipeline: scans against boto3's paginator, loads against one INSERT for each row."""

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

from benchmarks.measuring import PEAK, ROOT, table, versus
from workbench import documents, embedded
from workbench.database import connect
from workbench.demo import documents as samples
from workbench.demo.documents_server import options
from workbench.documents.scanning import Page, Scan
from workbench.documents.shaping import SHAPES
from workbench.documents.targets import SOURCES, tables

COLORS = 20_000 / 7_419  # beside so many there is about one item
SCHEMA, ONE_BY_ONE = "bench_documents", 5_000
# Each in a process of its own, because a peak of memory cannot be taken back.
WORK = """
import sys, time
import boto3
from workbench import documents
how = sys.argv[1]
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
print(count, taken, peak())
"""


def measure(full: bool = False) -> str:
    """Return tables: scans by segments, and loads; about 20,000 items, in full 100,000."""
    colors = round((100_000 if full else 20_000) * COLORS)
    found = samples.items(colors)
    count = sum(map(len, found.values()))
    server = options(colors)
    plain = _scanned("plain", server, count)
    scans = [
        (f"segments={n}, shaped as well", _scanned(str(n), server, count), plain)
        for n in ((1, 2, 4, 8) if full else (1, 4))
    ]
    pages = (Page(t, len(found[n]), 1.0, SHAPES[t](found[n])) for t, n in SOURCES.items())
    shaped = documents.shape(Scan("bench", False, tuple(pages)))
    return (
        versus(f"scan of {count:,} items, moto's server", *scans)
        + "\n"
        + table(("load", "rows", "s", "rows/s", "times row by row", "size MB"), *_loads(shaped))
    )


def _scanned(how: str, server: dict[str, str], count: int) -> tuple[float, float]:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": server["endpoint_url"], "AWS_DEFAULT_REGION": server["region_name"],
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "WORKBENCH_SOURCES__BENCH__KIND": "dynamodb", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PEAK + WORK, how], cwd=folder, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
    read, taken, memory = map(float, done.stdout.split())
    if read != count:
        raise RuntimeError(f"{read:,.0f} of {count:,} items were read")
    return taken, memory


def _loads(shaped: documents.Shaped) -> list[tuple[str, ...]]:
    engine = sa.create_engine(embedded.connection_url(), poolclass=sa.NullPool)
    size = sa.text(
        "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = relnamespace WHERE nspname = :schema AND relkind = 'r'"
    ).bindparams(schema=SCHEMA)
    every = sum(frame.height for frame in shaped.frames.values())
    lines: list[tuple[str, int, float, float, float]] = []

    def timed(name: str, rows: int, work: Callable[[], Any]) -> None:
        started = time.perf_counter()
        work()
        taken = time.perf_counter() - started
        with engine.connect() as connection:
            held = float(connection.execute(size).scalar_one() or 0) / 1e6
        lines.append((name, rows, taken, rows / taken, held))

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
    slowest = lines[-1][3]
    return [
        (name, f"{rows:,}", f"{taken:.2f}", f"{pace:,.0f}", f"{pace / slowest:.1f}", f"{held:,.0f}")
        for name, rows, taken, pace, held in lines
    ]


def _age(engine: sa.Engine) -> None:
    some = "hashtext(document_id) % 100 = 0"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {SCHEMA}.cases SET status = 'x' WHERE {some}".replace("%", "%%")  # noqa: S608
        )


if __name__ == "__main__":
    print(measure())
