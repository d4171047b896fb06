"""Runs copied to an S3 bucket, with an index over all that are there; importing it costs boto3."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any
from urllib.parse import quote

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as aws
from botocore.config import Config

from workbench.errors import ConnectionFailed, CredentialsError, UsageError, WorkbenchError
from workbench.reporting.index import index_page, is_ours
from workbench.reporting.runs import RECORD, REPORT, Run, find_runs, newest_first, read_run

_TYPES = {  # named here, because what a machine knows of file types differs
    ".html": "text/html; charset=utf-8",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_NOT_ACCEPTED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
_INDEX = PurePosixPath("index.html")
_UPLOADS, _READS = 8, 16


@dataclass(frozen=True)
class _Place:
    """A prefix in a bucket, empty or with a slash at its end."""

    client: Any
    bucket: str
    prefix: str

    def at(self, path: PurePosixPath) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}{path}"}

    def objects(self) -> dict[PurePosixPath, datetime]:
        pages = self.client.get_paginator("list_objects_v2")
        return {
            PurePosixPath(item["Key"].removeprefix(self.prefix)): item["LastModified"]
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix)
            for item in page.get("Contents", ())
        }

    def read(self, path: PurePosixPath) -> bytes:
        return bytes(self.client.get_object(**self.at(path))["Body"].read())

    def url(self, path: PurePosixPath) -> str:
        scheme, host = self.client.meta.endpoint_url.rstrip("/").split("://")
        # The certificate of AWS is good for one name before its own; other servers know no such.
        virtual = host.endswith(".amazonaws.com") and "." not in self.bucket
        at = f"{self.bucket}.{host}" if virtual else f"{host}/{self.bucket}"
        return f"{scheme}://{at}/{quote(f'{self.prefix}{path}')}"


def publish(
    root: Path,
    target: str,
    *,
    names: Collection[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[str]:
    """Copy the runs below root that `s3://bucket/prefix` lacks, then its index; return their URLs.

    The last URL is the index's, over every run in the bucket; in a private bucket they open only
    for those who may read it. Safe to repeat and to interrupt: a run's record comes after its
    files, the index after all runs. `progress` is told of every run; raises a WorkbenchError.
    """
    found = re.fullmatch(r"s3://([^/\s]+)(/.*)?", target)
    if found is None:
        raise UsageError(f"{target!r} is no place in S3.", "Write it as s3://bucket/prefix.")
    bucket, prefix = found[1], "".join(f"{part}/" for part in (found[2] or "").split("/") if part)
    local = {run.path: run for run in newest_first(find_runs(root)) if _regular(*run.path.parts)}
    unknown = set(names or ()) - {path.parts[0] for path in local}
    if unknown or not local:
        which = f" named {', '.join(sorted(unknown))}" if unknown else ""
        raise UsageError(f"{root} holds no runs{which} to publish.")
    with _plain_errors(target):
        place = _Place(_client(), bucket, prefix)
        there = place.objects()
        if _INDEX in there and not is_ours(place.read(_INDEX)):
            raise WorkbenchError(
                f"{target} holds an index.html that is no index of runs.", "Choose another prefix."
            )
        wanted = [run for run in local.values() if names is None or run.path.parts[0] in names]
        new = [run for run in wanted if run.path / RECORD not in there]
        _upload(place, root, new, progress or (lambda line: None))
        _write_index(place, local)
        return [
            place.url(path) for path in (*(run.path / REPORT for run in new if run.href), _INDEX)
        ]


def _client() -> Any:
    try:
        return boto3.client("s3", config=Config(max_pool_connections=_READS))
    except ValueError as error:  # an endpoint that is no URL
        raise UsageError(f"S3 cannot be used: {error}.") from None


def _regular(*names: str) -> bool:
    return all(name.isprintable() and not name.startswith(".") for name in names)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a run, its record last: no links, nothing hidden, no odd names."""
    for parent, folders, files in os.walk(folder):
        folders[:] = filter(_regular, folders)
        for path in map(Path(parent).joinpath, filter(_regular, files)):
            if path.is_file() and not path.is_symlink() and path != folder / RECORD:
                yield path
    yield folder / RECORD


def _upload(place: _Place, root: Path, runs: list[Run], progress: Callable[[str], None]) -> None:
    one_thread, stop = TransferConfig(use_threads=False), Event()

    def upload(run: Run) -> None:
        # One file after the other: a run counts as published once its record, the last, is there.
        for path in _files(root.joinpath(run.path)):
            if stop.is_set():
                return
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
            options = {"ContentType": kind or "application/octet-stream"}
            target = place.at(PurePosixPath(path.relative_to(root).as_posix()))
            place.client.upload_file(str(path), **target, ExtraArgs=options, Config=one_thread)

    with ThreadPoolExecutor(_UPLOADS) as pool:
        try:
            waiting = {pool.submit(upload, run): run for run in runs}
            for done in as_completed(waiting):
                done.result()
                progress(f"published {waiting[done].path}")
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_index(place: _Place, local: dict[PurePosixPath, Run]) -> None:
    known, listed, there = dict(local), set[PurePosixPath](), place.objects()

    def read(path: PurePosixPath) -> Run:
        content, changed = place.read(path / RECORD), there[path / RECORD].timestamp()
        return read_run(path, content, changed=changed, has_report=path / REPORT in there)

    def records() -> set[PurePosixPath]:
        return {p.parent for p in there if len(p.parts) == 3 and p.name == RECORD}

    # Another machine may publish meanwhile: whoever writes last has looked again since.
    while listed != (listed := records()):
        missing = listed - known.keys()
        with ThreadPoolExecutor(_READS) as pool:
            known |= {run.path: run for run in pool.map(read, missing)}
        page = index_page(known[path] for path in listed).encode()
        options = {"ContentType": _TYPES[".html"], "CacheControl": "no-cache"}
        place.client.put_object(**place.at(_INDEX), Body=page, **options)
        there = place.objects()


@contextmanager
def _plain_errors(target: str) -> Iterator[None]:
    """Say in one sentence what boto3 raises."""
    try:
        yield
        return
    except (Boto3Error, aws.BotoCoreError, aws.ClientError) as error:
        # An upload's failure is wrapped; what it wraps says more.
        cause = error.__context__ if isinstance(error, Boto3Error) and error.__context__ else error
    code = cause.response["Error"].get("Code") if isinstance(cause, aws.ClientError) else ""
    words = " ".join(str(cause).split()).rstrip(".")
    if code == "NoSuchBucket":
        raise WorkbenchError(f"{target}: there is no such bucket.", "Check its name and account.")
    if code in ("AccessDenied", "403"):
        needed = "Publishing needs s3:ListBucket, s3:GetObject and s3:PutObject there."
        raise WorkbenchError(f"Access to {target} was denied.", needed)
    if isinstance(cause, aws.HTTPClientError | aws.ConnectionError):
        raise ConnectionFailed(f"{target} could not be reached: {words}.")
    if code in _NOT_ACCEPTED or re.search("Credential|Profile|Token", type(cause).__name__):
        raise CredentialsError(f"AWS credentials are missing or not accepted: {words}.")
    raise WorkbenchError(f"Publishing to {target} failed: {words}.")
