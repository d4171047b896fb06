"""DynamoDB's tables, scanned in parallel segments; each page is shaped as it comes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar

import polars as pl
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from workbench import aws, redaction
from workbench.documents.shaping import SHAPES, Piece
from workbench.documents.targets import SOURCES
from workbench.errors import ConnectionFailed, UsageError
from workbench.settings import Source, load_settings

T = TypeVar("T")
ATTEMPTS = 10  # tries for one page, unless AWS_MAX_ATTEMPTS says otherwise
MOST_SEGMENTS = 64


@dataclass(frozen=True)
class Page:
    """One answer of DynamoDB: what was made of its items, and what it says they were and cost."""

    target: str
    items: int
    capacity: float
    piece: Piece


@dataclass(frozen=True)
class Scan:
    """What was scanned: a source's four tables, in pages; `trial` where only some items were."""

    source: str
    trial: bool
    pages: tuple[Page, ...]

    @property
    def counts(self) -> pl.DataFrame:
        """Count items, pages and capacity units (read, as DynamoDB bills them) of each table."""
        pages = {t: [page for page in self.pages if page.target == t] for t in SOURCES}
        return pl.DataFrame(
            [
                (SOURCES[t], t, sum(p.items for p in of), len(of), sum(p.capacity for p in of))
                for t, of in pages.items()
            ],
            {"table": pl.String, "target": pl.String, "items": pl.Int64, "pages": pl.Int64,
             "capacity": pl.Float64},
            orient="row",
        )  # fmt: skip


def scan(
    source: str = "demo",
    *,
    segments: int = 4,
    max_items: int | None = None,
    consistent: bool = False,
) -> Scan:
    """Scan the tables documents, metadata, templates and audit of a source, with its prefix.

    `segments` of each table are read at once; how many there are changes no row and no order.
    `max_items` ends the scan of each table after so many items, for a trial. `consistent` asks
    for strongly consistent reads, at twice the capacity. Throttled requests are repeated, ever
    more slowly (boto3's adaptive mode). Raises UsageError for a source that is no DynamoDB,
    ConnectionFailed where a table is missing, refused or out of reach.
    """
    if not 1 <= segments <= MOST_SEGMENTS:
        raise UsageError(f"segments is a number from 1 to {MOST_SEGMENTS}, not {segments!r}.")
    if max_items is not None and max_items < 1:
        raise UsageError(f"max_items is a number from 1, not {max_items!r}.")
    parts = 1 if max_items else segments
    stop = threading.Event()
    shown = Progress(
        TextColumn("{task.description}: {task.completed:,} items", markup=False),
        TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    pages: list[Page] = []
    with opened(source, segments) as (client, prefix), shown, ThreadPoolExecutor(segments) as pool:
        tasks = {target: shown.add_task(prefix + SOURCES[target], total=None) for target in SOURCES}

        def read(target: str, part: int) -> None:
            request: dict[str, Any] = {"ConsistentRead": consistent}
            if parts > 1:
                request |= {"Segment": part, "TotalSegments": parts}
            for page in _pages(client, prefix + SOURCES[target], request, max_items):
                if stop.is_set():
                    return
                items = page["Items"]
                capacity = page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
                pages.append(Page(target, page["Count"], capacity, SHAPES[target](items)))
                shown.advance(tasks[target], len(items))

        jobs = [pool.submit(read, target, part) for part in range(parts) for target in SOURCES]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            # The others end with the page that they are waiting for.
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Scan(source, max_items is not None, tuple(pages))


def _pages(
    client: Any, table: str, request: dict[str, Any], most: int | None
) -> Iterator[dict[str, Any]]:
    request = {"TableName": table, "ReturnConsumedCapacity": "TOTAL", **request}
    left = most
    while True:
        limited = request | ({"Limit": left} if left else {})
        page: dict[str, Any] = ask(client, f"table {table}", partial(_scanned, limited))
        yield page
        left = left and left - page["Count"]
        if "LastEvaluatedKey" not in page or left == 0:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _scanned(request: dict[str, Any], client: Any) -> Any:
    return client.scan(**request)


def ask(client: Any, what: str, question: Callable[[Any], T]) -> T:
    """Ask DynamoDB; a refusal is a ConnectionFailed that names `what` was asked for."""
    return aws.ask(
        "dynamodb", what, question, client=lambda: nullcontext(client), failure=ConnectionFailed
    )


@contextmanager
def opened(name: str, connections: int = 1) -> Iterator[tuple[Any, str]]:
    """Give a client of the DynamoDB that a source names, and the prefix of its tables.

    boto3's own configuration says who asks, and where; the source's region and role go before it.
    An embedded source has the sample tables. Raises UsageError for a database, ConnectionFailed
    where nobody may ask.
    """
    source = load_settings().source(name)
    if source.kind == "database":
        raise UsageError(
            f"Source {name!r} is a database; documents are scanned from DynamoDB.",
            'Name a source of kind = "dynamodb", or an embedded one for the sample tables.',
        )
    options: dict[str, Any] = {"region_name": source.region}
    if source.kind == "embedded":
        from workbench import embedded

        options = embedded.sample_documents()

    def make() -> AbstractContextManager[Any]:
        import botocore.session
        from botocore.config import Config

        session = botocore.session.get_session()
        attempts = session.get_config_variable("max_attempts") or ATTEMPTS
        retries = {"mode": "adaptive", "total_max_attempts": int(attempts)}
        config = Config(retries=retries, max_pool_connections=max(connections, 10))
        session = _assumed(source, session) if source.role else session
        return nullcontext(session.create_client("dynamodb", config=config, **options))

    client = aws.ask(
        "dynamodb", f"source {name}", lambda it: it, client=make, failure=ConnectionFailed
    )
    with closing(client):
        yield client, source.prefix


def _assumed(source: Source, base: Any) -> Any:
    """Make a session whose keys are those of the source's role, renewed before they expire."""
    import botocore.session
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError

    own = base.get_credentials()
    if own is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        partial(base.create_client, region_name=source.region), own, source.role,
        extra_args={"RoleSessionName": "workbench"},
    )  # fmt: skip

    def renew() -> dict[str, Any]:
        keys: dict[str, Any] = fetcher.fetch_credentials()
        for name in ("access_key", "secret_key", "token"):
            redaction.protect(keys[name])
        return keys

    keys = DeferredRefreshableCredentials(renew, "assume-role")
    # At once, so that a refusal names the role and not a table.
    aws.ask(
        "sts", f"role {source.role}", lambda _: keys.get_frozen_credentials(),
        client=nullcontext, failure=ConnectionFailed,
    )  # fmt: skip
    session = botocore.session.get_session()
    provider = SimpleNamespace(load_credentials=lambda: keys)
    session.register_component("credential_provider", provider)
    return session
