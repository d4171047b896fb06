"""Whatever holds colors, opened: tables, files, S3 objects, data frames, or several of them."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
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
from workbench.feeds import quoted
from workbench.kinds import other_type
from workbench.moments import literal

ENGINES = ("auto", "spark")
WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class _Part:
    """One feed of several: its name, and what makes the view `raw` of it."""

    origin: str
    load: Callable[[duckdb.DuckDBPyConnection], None]
    path: Path | None = None


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
            ((url, path),) = _downloaded(data, stack)
            yield engines.from_file(path, url)
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
    places = [part.path or part.origin for part in parts]
    if twice := [part.origin for part in parts if places.count(part.path or part.origin) > 1]:
        raise UsageError(f"The feed {twice[-1]} is there twice.", "Name each one once.")
    label = str(data) if isinstance(data, str | Path) else ", ".join(named[:3])
    label += f" and {len(named) - 3} more feeds" if len(named) > 3 and label != str(data) else ""
    connection = engines.in_memory()
    stack.callback(connection.close)
    notes: list[Finding] = []
    kinds: dict[str, dict[str, str]] = {}
    for number, part in enumerate(parts):
        # A view's names are looked up where it was made, so each part has a schema of its own.
        connection.execute(f"CREATE SCHEMA part_{number}; USE part_{number}")
        part.load(connection)
        _, met = engines.typed(connection, part.origin)
        notes += [(what, rows, f"{part.origin}: {shown}", why) for what, rows, shown, why in met]
        kinds[part.origin] = {
            name: str(kind) for name, kind, *_ in connection.execute("DESCRIBE feed").fetchall()
        }
    relation, mixed = _union(connection, kinds)
    files = tuple(part.path for part in parts if part.path is not None)
    feed = engines.duckdb_input(connection, label, relation, (*notes, *mixed))
    return replace(feed, files=files)


def _union(
    connection: duckdb.DuckDBPyConnection, kinds: Mapping[str, Mapping[str, str]]
) -> tuple[sa.TableClause, list[Finding]]:
    """Make the view `feed` of those of the parts, by name; `kinds` has the types of each part.

    What is of different types in two parts becomes text, as it would be written, and is noted.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for origin, columns in kinds.items():
        for name, kind in columns.items():
            if name.strip().upper() == ORIGIN:
                raise DataError(
                    f"{origin} has a column {ORIGIN}, where each row's feed is noted.",
                    "Rename it in the feed.",
                )
            known[name.upper()].add(kind)
    mixed = {name for name, types in known.items() if len(types) > 1 and name not in FEED}
    selects = []
    for number, (origin, columns) in enumerate(kinds.items()):
        chosen = [
            f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}"
            if name.upper() in mixed
            else quoted(name)
            for name in columns
        ]
        chosen.append(f"{literal(origin)} AS {ORIGIN}")
        selects.append(f"SELECT {', '.join(chosen)} FROM part_{number}.feed")  # noqa: S608
    connection.execute(f"USE main; CREATE VIEW feed AS {' UNION ALL BY NAME '.join(selects)}")
    found = [
        (
            "Column of different types", 0, f"{name}: {', '.join(sorted(known[name]))}",
            "text where feeds are merged: 5 and 5.00 are not the same quote",
        )
        for name in sorted(mixed)
    ]  # fmt: skip
    described = connection.execute("DESCRIBE feed").fetchall()
    merged = (
        sa.column(name, type_of(name) if name in FEED else other_type(str(kind)))
        for name, kind, *_ in described
    )
    return sa.table("feed", *merged), found


def _parts(data: Any, number: int, source: Any, stack: ExitStack) -> Iterator[_Part]:
    if not isinstance(data, str | Path):
        origin = f"data frame {number}"
        yield _Part(origin, partial(engines.load_frame, data=data, label=origin))
    elif _is_s3(data):
        for url, path in _downloaded(str(data), stack):
            yield _Part(url, partial(engines.load_file, path=path, label=url))
    elif _is_of_source(data):
        table = engines.from_database(_database(data, source, stack), str(data))
        rows = table.execute(sa.select(table.relation))
        yield _Part(str(data), partial(engines.load_frame, data=rows, label=str(data)))
    else:
        for name in _matching(str(data)):
            path = engines.existing_file(Path(name).expanduser())
            yield _Part(name, partial(engines.load_file, path=path), path.resolve())


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
    try:
        found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    except (ValueError, OSError) as error:
        raise UsageError(f"{pattern[:200]} is no pattern of files: {error}.") from None
    # Hidden files, and those that Excel keeps beside an open workbook.
    files = [
        str(each) for each in found
        if each.suffix.lower() in FILE_SUFFIXES and not each.name.startswith((".", "~$"))
    ]  # fmt: skip
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
        files = []
        for number, name in enumerate(_keys(client, bucket, key)):
            path = folder / f"{number}{PurePosixPath(name).suffix.lower()}"
            client.download_file(bucket, name, str(path))
            files.append((f"s3://{bucket}/{name}", path))
        return files

    if not WILD.search(key) and PurePosixPath(key).suffix.lower() not in FILE_SUFFIXES:
        known = ", ".join(FILE_SUFFIXES)
        raise DataError(f"{url} is not of a kind that can be read.", f"Known kinds: {known}.")
    if found := aws.ask("s3", url, fetch):
        return found
    raise DataError(f"There is no object {url}, of a kind that can be read.")


def _keys(client: Any, bucket: str, key: str) -> list[str]:
    if not WILD.search(key):
        return [key]
    pages = client.get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=bucket, Prefix=WILD.split(key)[0])
    return sorted(
        item["Key"]
        for page in found
        for item in page.get("Contents", ())
        if _means(key, item["Key"])
    )


def _means(pattern: str, key: str) -> bool:
    wanted, parts = pattern.split("/"), key.split("/")
    same = len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
    return same and PurePosixPath(key).suffix.lower() in FILE_SUFFIXES
