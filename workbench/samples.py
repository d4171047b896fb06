"""extract_samples(): a folder with the structure and first rows of tables, to send along.

Every table is read in one read-only transaction, which sees one state of the database. What may be
personal data is masked. Files appear whole or not at all; a folder that lacks some is completed by
asking for the same once more.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import exc

from workbench import accessible, extracts, masking, oracle, partitions
from workbench.accessible import Listed
from workbench.errors import ConnectionFailed, DataError, UsageError, WorkbenchError, fault_of
from workbench.profiling import dictionary
from workbench.profiling.catalog import now
from workbench.profiling.survey import progress_bar
from workbench.reporting.text import inert
from workbench.sample_files import (
    Sample,
    Samples,
    csv_text,
    json_rows,
    pretty,
    read_info,
    read_json,
    read_me,
    structure,
)
from workbench.statements import begins_select, compiled

if TYPE_CHECKING:
    from workbench.database import Database

INFO, TABLES, README = "database_info.json", "accessible_tables.json", "README.txt"
MOST_ROWS = 100_000  # of a table
HELD = ("bytea", "json", "jsonb")


def extract_samples(
    source: str | Database = "demo",
    tables: Sequence[str] = (),
    *,
    rows: int = 1000,
    out: str | Path | None = None,
    schemas: Sequence[str] = (),
    mask: Sequence[str] = (),
    unmasked: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Samples:
    """Write the structure and the first rows of tables into the folder `out`.

    Without `tables`, all tables (no views) of `schemas` that may be read; without `schemas`, those
    of the source. Without `out` it is the folder data/extract of the run (else of the working
    directory), made anew. Columns with likely personal data, and those that `mask` names, hold
    tokens unless `unmasked`. A table that cannot be read has a `problem`; the others are there all
    the same.

    Raises UsageError for a request that makes no sense or a folder with anything else in it,
    DataError for a table that is not there, WorkbenchError where nothing can be written.
    """
    if not 1 <= rows <= MOST_ROWS:
        hint = "A whole table goes into one file: workbench extract SOURCE TABLE -o FILE."
        raise UsageError(f"A sample has 1 to {MOST_ROWS:,} rows, not {rows:,}.", hint)
    if any(map(begins_select, tables)):
        hint = "It goes into one file: workbench extract SOURCE STATEMENT -o FILE."
        raise UsageError("Samples are of tables, and this is a statement.", hint)
    if mask and unmasked:
        raise UsageError("Columns to mask were named, and that nothing is to be masked.")
    from workbench.database import Database, connect

    folder = Path(out or Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / "data" / "extract")
    with nullcontext(source) if isinstance(source, Database) else connect(source) as db:
        listed = accessible.list_tables(db, schemas, tables)
        chosen = accessible.chosen(db, listed, tables)
        # A key ties columns to those of tables that are not sampled, too.
        related = [] if unmasked else _parts(accessible.with_parents(db, listed))
        masked = masking.declared(related, ()) | masking.declared(_parts(chosen), mask)
        request = {
            "source": db.name, "database": accessible.fingerprint(db), "tables": sorted(tables),
            "schemas": sorted(schemas), "rows": rows, "mask": sorted(mask), "unmasked": unmasked,
        }  # fmt: skip
        with extracts.told(folder):
            info = _opened(folder, request, overwrite or not out, own=not out)
            return _Extract(db, folder, info, listed, chosen, related, masked).run(progress)


def _opened(folder: Path, request: Mapping[str, Any], anew: bool, *, own: bool) -> dict[str, Any]:
    """Make the folder, or say how an earlier try began; raises UsageError for any other."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder.")
    if not own and not folder.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {folder.parent} to make {folder.name} in.")
    folder.mkdir(parents=own, exist_ok=True)
    before = read_info(folder / INFO)
    ours = {INFO, TABLES, README, *chain.from_iterable(before["files"].values() if before else ())}
    # Folders of a process that was killed outright.
    left = {x for x in folder.glob(".*.partial/") if x.name[1:].rsplit(".", 2)[0] in ours}
    if not before and {*folder.iterdir()} - left:
        hint = "Choose a new folder, or an empty one."
        raise UsageError(f"{folder} holds something else than samples.", hint)
    for old in left:
        shutil.rmtree(old)
    masking.forget_keys()
    if before:
        if not anew:
            asked = before["request"]
            if other := [name for name in request if request[name] != asked.get(name)]:
                said = f"{folder} holds samples of another request: other {', '.join(other)}."
                hint = "Choose another folder, or say --overwrite (overwrite=True) to begin anew."
                raise UsageError(said, hint)
            return before
        for name in ours - {INFO}:
            (folder / name).unlink(missing_ok=True)
        masking.key_file(before["extract"]).unlink(missing_ok=True)
    extract = secrets.token_hex(8)
    if not request["unmasked"]:
        masking.make_key(extract)
    new = {"extract": extract, "started": now(), "request": request}
    return {**new, "complete": False, "files": {}}


def _parts(listed: Sequence[Listed]) -> masking.Tables:
    return [(each.schema, each.table) for each in listed]


@dataclass
class _Extract:
    """An extract on its way."""

    db: Database
    folder: Path
    info: dict[str, Any]
    listed: Sequence[Listed]
    chosen: Sequence[Listed]
    related: masking.Tables
    masked: dict[masking.Place, str]
    key: bytes = b""

    def run(self, progress: bool) -> Samples:
        """Read what is missing, write it, and sum up."""
        stems = partitions.stems([each.name for each in self.listed])
        stamp = re.sub(r"\W", "", self.info["started"])
        ends = (f"sample_{stamp}Z.csv", f"sample_{stamp}Z.json", "schema.json")
        files = {x.name: [f"{stems[x.name]}_{end}" for end in ends] for x in self.chosen}
        if self.info["complete"]:  # and stays as it is, whatever tables came since
            self.chosen = [each for each in self.chosen if each.name in self.info["files"]]
        self.info["files"] = files = {**files, **self.info["files"]}
        done = {x.name: kept for x in self.chosen if (kept := self._kept(x, files[x.name]))}
        todo = [each for each in self.chosen if each.name not in done]
        # First those that others refer to: what is found in them is masked in the others as well.
        todo.sort(key=lambda each: bool(each.table.foreign_keys))
        if todo or not self.info["complete"]:
            if todo and not self.info["request"]["unmasked"]:
                self.key = self._key()
            self._begin()
            with progress_bar(len(todo), "tables", progress) as shown:
                bar = shown.add_task("", total=len(todo), done=0)
                for place, (each, got) in enumerate(self._read(todo), 1):
                    done[each.name] = self._sampled(each, got, files[each.name])
                    shown.update(bar, advance=1, done=place, description=inert(each.name))
            self._sum_up([done[each.name] for each in self.chosen])
        return Samples(self.folder, tuple(done[each.name] for each in self.chosen))

    def _kept(self, each: Listed, files: Sequence[str]) -> Sample | None:
        """Give what an earlier try has written of a table, if all of it is there."""
        if not all((self.folder / name).is_file() for name in files):
            return None
        try:
            told = read_json(self.folder / files[2])["sample"]
            for column, why in told["masked"].items():
                self.masked.setdefault((each.schema, each.table.name, column), why)
            return Sample(**{**told, "files": files})
        except (ValueError, LookupError, TypeError, AttributeError):  # damaged
            return None

    def _begin(self) -> None:
        health = self.db.health()
        self.info |= {
            "complete": False, "source": self.db.name, "server": health.server,
            "version": health.version, "schemas": sorted({each.schema for each in self.listed}),
            "read": now("milliseconds"), "workbench": version("workbench"),
        }  # fmt: skip
        self._write(INFO, pretty(self.info))
        self._write(TABLES, pretty([accessible.entry(each) for each in self.listed]))

    def _read(self, todo: Sequence[Listed]) -> Iterator[tuple[Listed, pl.DataFrame | str]]:
        """Yield each table with its first rows, or why there are none, all of one state."""
        db, rows = self.db, self.info["request"]["rows"]

        def read(connection: sa.Connection) -> Iterator[tuple[Listed, pl.DataFrame | str]]:
            connection.begin()
            if connection.dialect.name == "postgresql":
                isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                connection.exec_driver_sql(isolation)
                connection.exec_driver_sql("SELECT 1")  # the state is that of the first statement
            elif not db.source.read_only:
                oracle.begin_read_only(connection)
            for each in todo:
                yield each, each.table.problem or _first(db, connection, each, rows)

        return db.stream("The sample", read)

    def _sampled(self, each: Listed, got: pl.DataFrame | str, files: Sequence[str]) -> Sample:
        """Write what was read of a table, masked; the last file says that all is there."""
        if isinstance(got, str):
            return Sample(each.name, problem=got)
        table, masked = each.table, dict[str, str]()
        if not self.info["request"]["unmasked"]:
            for column in table.columns:
                place = each.schema, table.name, column.name
                if place not in self.masked and (why := masking.detected(column, got[column.name])):
                    self.masked[place] = why
            masking.spread(self.masked, self.related)
            masked = {
                column.name: self.masked[place]
                for column in table.columns
                if (place := (each.schema, table.name, column.name)) in self.masked
            }
            got = masking.mask(got, list(masked), self.key) if masked else got
        order = table.primary_key.columns if table.primary_key else ()
        sample = Sample(each.name, got.height, got.width, order, masked, files, self.info["read"])
        self._write(files[0], csv_text(got))
        self._write(files[1], pretty(json_rows(got)))
        self._write(files[2], pretty(structure(each, sample)))
        return sample

    def _key(self) -> bytes:
        with suppress(FileNotFoundError):
            return masking.key_file(self.info["extract"]).read_bytes()
        said = f"The key of the tokens in {self.folder} is gone, so nothing can be added to it."
        raise UsageError(said, "Begin anew with --overwrite (overwrite=True).")

    def _sum_up(self, samples: Sequence[Sample]) -> None:
        complete = not any(sample.problem for sample in samples)
        states = sorted({sample.read for sample in samples if sample.read})
        told = {each.name: each.masked for each in samples if each.masked}
        self.info |= {
            "complete": complete, "one_state": len(states) <= 1, "states": states, "masked": told,
            "failed": {each.name: each.problem for each in samples if each.problem},
        }  # fmt: skip
        skipped = [x.name for x in self.listed if not x.readable and x not in self.chosen]
        self._write(README, read_me(self.info, samples, skipped).encode())
        self._write(INFO, pretty(self.info))
        if complete:
            masking.key_file(self.info["extract"]).unlink(missing_ok=True)

    def _write(self, name: str, content: bytes) -> None:
        with extracts.told(self.folder / name), extracts.whole(self.folder / name, True) as path:
            path.write_bytes(content)


def _first(db: Database, connection: sa.Connection, each: Listed, rows: int) -> pl.DataFrame | str:
    """Read a table's first rows by its primary key, or say why not in words without a value."""
    table, postgresql = each.table, connection.dialect.name == "postgresql"
    if not table.columns:
        return pl.DataFrame()
    source = sa.table(table.name, *(sa.column(c.name) for c in table.columns), schema=each.schema)
    # On PostgreSQL, what no dtype holds is read as the text that it is written as.
    odd = {c.name for c in table.columns if postgresql and c.type not in HELD
           and (c.kind in ("other", "time") or c.type == '"char"'
                or (c.kind == "decimal" and not c.type.startswith("numeric(")))}  # fmt: skip
    selected = [sa.cast(c, sa.Text).label(c.name) if c.name in odd else c for c in source.c]
    key = [source.c[name] for name in table.primary_key.columns] if table.primary_key else []
    text, values = compiled(sa.select(*selected).order_by(*key).limit(rows), {}, connection.dialect)
    driver = connection.connection.driver_connection
    failure: WorkbenchError
    # A statement that failed, or is not read to its end, would cost PostgreSQL's transaction.
    with connection.begin_nested() if postgresql else nullcontext() as savepoint:
        try:
            dictionary.bound_waits(connection)
            timeout, numbers = db.source.call_timeout, db.source.numbers
            batches = db.dialect.batches(driver, text, values, numbers, timeout)
            found: pl.DataFrame = pl.concat(batches)
            found.columns = [column.name for column in table.columns]
            return found
        except DataError as error:
            failure = error
        except (exc.SQLAlchemyError, db.engine.dialect.loaded_dbapi.Error) as error:
            failure = db.failure(f"Table {each.name}", error, connection, False)
            if not isinstance(failure, ConnectionFailed):
                # What a driver says may hold a value.
                failure.message = f"{fault_of(error) or 'The database refused it'}."
        finally:
            if savepoint:
                savepoint.rollback()
    if isinstance(failure, ConnectionFailed):
        raise failure
    return failure.message
