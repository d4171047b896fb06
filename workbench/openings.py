"""Whatever holds colors, opened: tables, files, S3 objects, data frames, or several of them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import sqlalchemy as sa

from workbench import aws, engines
from workbench.colors import FEED, ORIGIN, type_of
from workbench.database import Database, connect
from workbench.engines import FILE_SUFFIXES, Finding, Input
from workbench.errors import DataError, UsageError
from workbench.kinds import other_type

ENGINES = ("auto", "spark")
WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class _Part:
    """One feed of several: its name, and what makes the view `raw` of it."""

    origin: str
    load: Callable[[duckdb.DuckDBPyConnection], None]


@contextmanager
def opened(data: Any, source: str | Database | None, engine: str = "auto") -> Iterator[Input]:
    """Open what colors are read from, for as long as the block runs.

    A list, a pattern such as "feeds/*.csv" and several S3 objects are merged in DuckDB, each row
    with where it is from in ORIGIN; `engine="spark"` reads files and frames with Spark instead.
    Raises UsageError for what cannot be meant, DataError for what cannot be read.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine is {' or '.join(ENGINES)}, not {engine!r}.")
    with ExitStack() as stack:
        if engine == "spark":
            from workbench import spark

            if _is_of_source(data):
                raise UsageError(
                    f"{data} is ranked by its own database; the engine spark reads files and URLs."
                )
            yield spark.opened(data)
        elif isinstance(data, list | tuple) or _is_pattern(data):
            yield _merged(data, source, stack)
        elif _is_of_source(data):
            yield engines.from_database(_database(data, source, stack), str(data))
        elif _is_s3(data):
            ((_, path),) = _downloaded(data, stack)
            yield engines.from_file(path)
        elif isinstance(data, str | Path):
            yield engines.from_file(data)
        else:
            yield engines.from_frame(data)


def _merged(data: Any, source: Any, stack: ExitStack) -> Input:
    given = [data] if isinstance(data, str | Path) else list(data)
    parts = [
        part for number, each in enumerate(given, 1) for part in _parts(each, number, source, stack)
    ]
    if not parts:
        raise UsageError("There is nothing to rank: the list of feeds is empty.")
    named = [part.origin for part in parts]
    if twice := [name for name in named if named.count(name) > 1]:
        raise UsageError(f"The feed {twice[0]} is there twice.", "Each one is read once.")
    label = str(data) if isinstance(data, str | Path) else ", ".join(named[:3])
    label += f" and {len(named) - 3} more feeds" if len(named) > 3 and label != str(data) else ""
    connection = engines.in_memory()
    stack.callback(connection.close)
    notes: list[Finding] = []
    selects = []
    for number, part in enumerate(parts):
        # A view's names are looked up where it was made, so each part has a schema of its own.
        connection.execute(f"CREATE SCHEMA part_{number}; USE part_{number}")
        part.load(connection)
        relation, met = engines.typed(connection, part.origin)
        if ORIGIN in {name.strip().upper() for name, _ in relation.c.items()}:
            raise DataError(
                f"{part.origin} has a column {ORIGIN}, where each row's feed is noted.",
                "Rename it in the feed.",
            )
        notes += [(what, rows, f"{part.origin}: {shown}", why) for what, rows, shown, why in met]
        name = part.origin.replace("'", "''")
        selects.append(f"SELECT *, '{name}' AS {ORIGIN} FROM part_{number}.feed")  # noqa: S608
    connection.execute(f"USE main; CREATE VIEW feed AS {' UNION ALL BY NAME '.join(selects)}")
    described = connection.execute("DESCRIBE feed").fetchall()
    columns = (
        sa.column(name, type_of(name) if name in FEED else other_type(str(kind)))
        for name, kind, *_ in described
    )
    return engines.duckdb_input(connection, label, sa.table("feed", *columns), tuple(notes))


def _parts(data: Any, number: int, source: Any, stack: ExitStack) -> Iterator[_Part]:
    if not isinstance(data, str | Path):
        origin = f"data frame {number}"
        yield _Part(origin, partial(engines.load_frame, data=data, label=origin))
    elif _is_s3(data):
        for url, path in _downloaded(str(data), stack):
            yield _Part(url, partial(engines.load_file, path=path))
    elif _is_of_source(data):
        table = engines.from_database(_database(data, source, stack), str(data))
        rows = table.execute(sa.select(table.relation))
        yield _Part(str(data), partial(engines.load_frame, data=rows, label=str(data)))
    else:
        for name in _matching(str(data)):
            path = engines.existing_file(Path(name).expanduser())
            yield _Part(name, partial(engines.load_file, path=path))


def _database(data: Any, source: Any, stack: ExitStack) -> Database:
    if isinstance(source, str):
        return stack.enter_context(connect(source))
    if not isinstance(source, Database):
        raise UsageError(
            f"{str(data)!r} is not a file, so it needs a source to be a table of.",
            'Name one, e.g. source="demo", or check the path.',
        )
    return source


def _is_of_source(data: Any) -> bool:
    if not isinstance(data, str | Path) or _is_s3(data) or _is_pattern(data):
        return False
    return str(data).lower().endswith(".sql") or not engines.looks_like_a_file(str(data))


def _is_s3(data: Any) -> bool:
    return isinstance(data, str) and data.lower().startswith("s3://")


def _is_pattern(data: Any) -> bool:
    if not isinstance(data, str | Path) or not WILD.search(str(data)):
        return False
    # A file may be called "b[1].csv".
    return _is_s3(data) or (engines.looks_like_a_file(str(data)) and not Path(data).exists())


def _matching(pattern: str) -> list[str]:
    if not _is_pattern(pattern):
        return [pattern]
    path = Path(pattern).expanduser()
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    files = [str(each) for each in found if each.suffix.lower() in FILE_SUFFIXES]
    if not files:
        raise DataError(
            f"No file matches {pattern}.",
            f"Looked in {Path.cwd()} for {', '.join(FILE_SUFFIXES)}."
            + (f" {found[0]} is none of these." if found else ""),
        )
    return files


def _downloaded(url: str, stack: ExitStack) -> list[tuple[str, Path]]:
    """Fetch the objects that an S3 URL means into a temporary folder: their URLs and paths."""
    bucket, _, key = url[5:].partition("/")
    if not bucket or not key:
        raise UsageError(f"{url} names no object.", "Write s3://bucket/feeds/2026-01-09.parquet.")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colors-")))

    def fetch(client: Any) -> list[tuple[str, Path]]:
        fixed = WILD.split(key)[0]
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=fixed)
        keys = sorted(item["Key"] for page in pages for item in page.get("Contents", ()))
        files = []
        for number, name in enumerate(each for each in keys if _means(key, each)):
            path = folder / str(number) / PurePosixPath(name).name
            path.parent.mkdir()
            client.download_file(bucket, name, str(path))
            files.append((f"s3://{bucket}/{name}", path))
        return files

    if found := aws.ask("s3", url, fetch):
        return found
    raise DataError(f"There is no object {url}, of a kind that can be read.")


def _means(pattern: str, key: str) -> bool:
    if key == pattern:
        return True
    wanted, parts = pattern.split("/"), key.split("/")
    same = len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
    return same and PurePosixPath(key).suffix.lower() in FILE_SUFFIXES
