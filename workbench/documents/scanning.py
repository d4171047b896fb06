"""DynamoDB's tables, scanned in parallel segments; each page is shaped as it comes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import polars as pl

from workbench import aws, records, redaction
from workbench.documents.shaping import SHAPES, Piece
from workbench.documents.targets import SOURCES
from workbench.errors import ConnectionFailed, UsageError
from workbench.settings import Source, load_settings

if TYPE_CHECKING:
    from rich.progress import Progress

# A session for the samples, which nothing that is configured for AWS leads elsewhere.
BARE = dict.fromkeys(
    ("profile", "use_fips_endpoint", "use_dualstack_endpoint"), (None, None, None, None)
) | dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
ATTEMPTS = 10  # tries for one page, unless AWS_MAX_ATTEMPTS says otherwise
MOST_SEGMENTS = 64
T = TypeVar("T")


class Page(NamedTuple):
    """One answer of DynamoDB: how many items it counts, what they cost, what became of them."""

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
        """Count the items, pages and capacity units, as DynamoDB bills them, of each table."""
        rows = []
        for target, table in SOURCES.items():
            pages = [page for page in self.pages if page.target == target]
            cost = sum((page.capacity for page in pages), 0.0)
            rows.append((table, target, sum(page.items for page in pages), len(pages), cost))
        return pl.DataFrame(rows, ["table", "target", "items", "pages", "capacity"], orient="row")


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
    if not 1 <= segments <= MOST_SEGMENTS or (max_items is not None and max_items < 1):
        raise UsageError(f"segments are 1 to {MOST_SEGMENTS}, and max_items is 1 or more.")
    parts = 1 if max_items else segments
    stop, pages, shown = threading.Event(), list[Page](), _progress()
    opening = opened(source, max_pool_connections=segments)
    with opening as (client, prefix), shown, ThreadPoolExecutor(segments) as pool:
        tasks = {target: shown.add_task(prefix + SOURCES[target], total=None) for target in SOURCES}

        def read(target: str, part: int) -> None:
            if stop.is_set():
                return
            request: dict[str, Any] = {"ConsistentRead": consistent}
            if parts > 1:
                request |= {"Segment": part, "TotalSegments": parts}
            for page in _pages(client, prefix + SOURCES[target], request, max_items):
                cost = page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
                pages.append(Page(target, page["Count"], cost, SHAPES[target](page["Items"])))
                shown.advance(tasks[target], page["Count"])
                if stop.is_set():
                    return

        def ended(job: Future[None]) -> None:
            # Called by the thread that failed, before it begins another one.
            if job.exception():
                stop.set()

        jobs = [pool.submit(read, target, part) for part in range(parts) for target in SOURCES]
        for job in jobs:
            job.add_done_callback(ended)
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            # The others end with the page that they are waiting for.
            stop.set()
            raise
    return Scan(source, max_items is not None, tuple(pages))


def _progress() -> Progress:
    # Imported late: it takes a tenth of a second, also for those who only want the demo database.
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    told = TextColumn("{task.description}: {task.completed:,} items", markup=False)
    return Progress(
        told, TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip


def _pages(
    client: Any, table: str, request: dict[str, Any], most: int | None
) -> Iterator[dict[str, Any]]:
    request = {"TableName": table, "ReturnConsumedCapacity": "TOTAL", **request}
    while True:
        if most:
            request["Limit"] = most
        page = ask(client, f"table {table}", lambda it: it.scan(**request))
        yield page
        most = most and most - page["Count"]
        if "LastEvaluatedKey" not in page or most == 0:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def ask(client: Any, what: str, question: Callable[[Any], T]) -> T:
    """Ask DynamoDB; a refusal is a ConnectionFailed that names `what` was asked for."""
    return aws.ask(
        "dynamodb", what, question, client=lambda: nullcontext(client), failure=ConnectionFailed
    )


@contextmanager
def opened(name: str, **config: Any) -> Iterator[tuple[Any, str]]:
    """Give a client of the DynamoDB that a source names, and the prefix of its tables.

    boto3's own configuration says who asks, and where; the source's region and role go before it,
    and so does `config`, as botocore's Config. An embedded source has the sample tables. Raises
    UsageError for a database, ConnectionFailed where nobody may ask.
    """
    source = load_settings().source(name)
    if source.kind == "database":
        raise UsageError(
            f"Source {name!r} is a database; documents are scanned from DynamoDB.",
            'Name a source of kind = "dynamodb", or an embedded one for the sample tables.',
        )
    options: dict[str, Any] = {"region_name": source.region}
    bare = None
    if source.kind == "embedded":
        from workbench import embedded

        options, bare = embedded.sample_documents(), BARE
        config["proxies"] = {}

    def make() -> AbstractContextManager[Any]:
        from botocore.config import Config
        from botocore.session import get_session

        session = get_session(bare)
        attempts = int(session.get_config_variable("max_attempts") or ATTEMPTS)
        patient = {"retries": {"mode": "adaptive", "total_max_attempts": attempts}}
        session = _assumed(source, session) if source.role else session
        made = session.create_client("dynamodb", config=Config(**patient | config), **options)
        return nullcontext(made)

    what = f"source {name}"
    made = aws.ask("dynamodb", what, lambda it: it, client=make, failure=ConnectionFailed)
    server = "DynamoDB" if source.kind == "dynamodb" else "DynamoDB (moto, sample tables)"
    stated = {"name": name, "kind": "dynamodb", "server": server, "read_only": True}
    records.publish(records.SOURCE, stated, f"Connected to {name}: {server}, read only")
    with closing(made):
        yield made, source.prefix


def _assumed(source: Source, base: Any) -> Any:
    """Make a session whose keys are those of the source's role, renewed before they expire."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError
    from botocore.session import get_session

    own = base.get_credentials()
    if own is None:
        raise NoCredentialsError
    sts = partial(base.create_client, region_name=source.region)
    named = {"RoleSessionName": "workbench"}
    fetcher = AssumeRoleCredentialFetcher(sts, own, source.role, extra_args=named)

    def renew() -> dict[str, Any]:
        keys: dict[str, Any] = fetcher.fetch_credentials()
        for name in ("access_key", "secret_key", "token"):
            redaction.protect(keys[name])
        return keys

    keys = DeferredRefreshableCredentials(renew, "assume-role")
    # At once, so that a refusal names the role and not a table.
    aws.ask("sts", f"role {source.role}", lambda _: keys.get_frozen_credentials(),
            client=nullcontext, failure=ConnectionFailed)  # fmt: skip
    session = get_session()
    session.register_component(
        "credential_provider", SimpleNamespace(load_credentials=lambda: keys)
    )
    return session
