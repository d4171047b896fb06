"""Where a statement runs: inside a database, or on files and frames with DuckDB."""

from __future__ import annotations

import csv
import errno
import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow
import pyarrow.parquet
from sqlalchemy import SelectBase
from sqlalchemy.sql import FromClause, Select

from workbench.colors import match_columns
from workbench.database import Database
from workbench.dialects import DuckDBDialect
from workbench.errors import DataError, QueryError
from workbench.moments import literal
from workbench.settings import load_settings
from workbench.sheets import EXCEL_SUFFIXES, column_names, read_sheet

# What polars has and Arrow or SQL lacks.
FOREIGN_TYPES: dict[Any, Any] = {
    pl.Null: pl.String,
    pl.Int128: pl.Decimal(38, 0),
    pl.UInt128: pl.Decimal(38, 0),
    pl.Float16: pl.Float32,
}
Finding = tuple[str, int, str, str]  # finding, rows, example, meaning
BATCH = 100_000  # rows
FILE_SUFFIXES = (".parquet", ".csv", *EXCEL_SUFFIXES)


@dataclass(frozen=True)
class Input:
    """Something a statement can run over: what to select from, and what executes it."""

    label: str
    engine: str
    relation: FromClause
    execute: Callable[[Select[Any]], pl.DataFrame]
    frames: Callable[[Select[Any]], Iterator[pl.DataFrame]]
    """Yields the rows in batches, the first maybe empty, in bounded memory."""
    notes: tuple[Finding, ...] = ()
    copy: Callable[[Select[Any], Path], None] | None = None
    """Writes the rows as Parquet, faster than by way of `frames`: a file, or Spark's folder."""

    files: tuple[Path, ...] = ()
    """The files of this machine that are read while a statement runs."""

    def copies(self, path: Path) -> bool:
        """Tell whether the engine itself writes what is to become `path`."""
        return self.copy is not None and path.suffix.lower() in ("", ".parquet")

    def write(
        self,
        statement: Select[Any],
        building: Path,
        path: Path,
        finish: Callable[[pl.DataFrame], pl.DataFrame] = lambda frame: frame,
    ) -> None:
        """Write the rows of a statement to `building`, which is to become `path`.

        `finish` is what is done to each frame where the engine does not write by itself. Memory
        is bounded. Raises what the statement raises, OSError and DataError.
        """
        from workbench import extracts

        if self.copy is not None and self.copies(path):
            self.copy(statement, building)
        else:
            extracts.fill(map(finish, self.frames(statement)), building, path, label=self.label)


def from_database(database: Database, name: str) -> Input:
    """Open a table, a view or a `.sql` file (one SELECT) of a connected source."""
    if name.lower().endswith(".sql"):
        relation: FromClause = database.describe(read_text(name))
    else:
        if os.path.isdir(name) and "." not in name and not database.source.schema_:  # noqa: PTH112
            raise DataError(f"{name} is a directory; a single file or a table is expected.")
        relation = database.table(name)
    label = f"{name} of source {database.name}"
    read = partial(database.read_as, "exact")
    return Input(
        label, database.engine.dialect.name, relation, read, partial(database.frames_as, "exact")
    )


def from_file(path: str | Path, label: str | None = None) -> Input:
    """Open a Parquet, CSV or Excel file with DuckDB; raises DataError for anything else."""
    path = existing_file(Path(path).expanduser())
    connection = in_memory()
    load_file(connection, path)
    label = label or path.name
    feed = duckdb_input(connection, label, *typed(connection, label))
    return replace(feed, files=(path.resolve(),))


def from_frame(data: Any, label: str = "the data frame") -> Input:
    """Open a polars or pandas DataFrame or an Arrow table with DuckDB."""
    connection = in_memory()
    connection.register("raw", arrow_of(data, label))
    return duckdb_input(connection, label, *typed(connection, label))


def load_file(connection: duckdb.DuckDBPyConnection, path: Path, label: str | None = None) -> None:
    """Make the view or table `raw` of a file, checked to have a feed's columns."""
    label = label or str(path)
    kind = path.suffix.lower()
    if kind not in FILE_SUFFIXES:
        raise DataError(
            f"{label} is not of a kind that can be read.",
            f"Known kinds: {', '.join(FILE_SUFFIXES)}, and .sql for a statement of a source.",
        )
    if kind in EXCEL_SUFFIXES:
        load_frame(connection, read_sheet(path), path.name)
        return
    try:
        if kind == ".csv":
            relation = csv_texts(connection, path, feed=True)
        else:
            match_columns(pyarrow.parquet.read_schema(path).names, path.name)
            # A folder "date=2026-01-09" is no column.
            relation = connection.read_parquet(glob.escape(str(path)), hive_partitioning=False)
        relation.create_view("raw")
    except (duckdb.Error, pyarrow.ArrowException) as error:
        raise DataError(f"{label} cannot be read: {said(error)}") from None


def load_frame(connection: duckdb.DuckDBPyConnection, data: Any, label: str) -> None:
    """Make the table `raw` of a data frame."""
    connection.register("given", arrow_of(data, label))
    connection.execute("CREATE TABLE raw AS SELECT * FROM given")
    connection.unregister("given")


def arrow_of(data: Any, label: str) -> pyarrow.Table:
    """Make an Arrow table of a polars or pandas DataFrame or an Arrow table; raises DataError."""
    try:
        frame = data.collect() if isinstance(data, pl.LazyFrame) else pl.DataFrame(data)
        match_columns(frame.columns, label)
        return frame.cast(FOREIGN_TYPES).to_arrow()
    except (TypeError, ValueError, pl.exceptions.PolarsError, pyarrow.ArrowException) as error:
        raise DataError(f"{label} cannot be read as a table: {said(error)}") from None


def csv_texts(
    connection: duckdb.DuckDBPyConnection, path: Path, *, feed: bool
) -> duckdb.DuckDBPyRelation:
    """Read a CSV file of any usual delimiter, each column as text; empty text is null.

    Raises DataError for a header that does not name each column, and duckdb.Error, here or when
    the rows are fetched, for lines that do not fit it.
    """
    header, delimiter = _csv_header(path, feed)
    # Nothing is guessed from the values: an id is no number until its column says so.
    # A name is a name here: "b[1].csv" is no pattern, nor is a folder "date=2026-01-09" a column.
    return connection.read_csv(
        glob.escape(str(path)), sep=delimiter, quotechar='"', escapechar='"', header=True,
        skiprows=0, columns=dict.fromkeys(header, "VARCHAR"), auto_detect=False, na_values="",
        encoding="utf-8", hive_partitioning=False,
    )  # fmt: skip


def looks_like_a_file(name: str) -> bool:
    """Tell a file's name from a table's: by its suffix, a separator, or being there."""
    named_so = Path(name).suffix.lower() in FILE_SUFFIXES or "/" in name or "\\" in name
    # Not Path's own, which raises an error for a name longer than a file's can be.
    return named_so or os.path.isfile(name) or name in (".", "..")  # noqa: PTH113


def existing_file(path: Path) -> Path:
    """Return `path` if it is a file with something in it; raises DataError saying why not."""
    if not path.exists():
        raise DataError(
            f"The file {path} does not exist.", f"Looked for it in {path.parent.absolute()}."
        )
    if path.is_dir():
        raise DataError(f"{path} is a directory; a single file is expected.")
    if path.stat().st_size == 0:
        raise DataError(f"The file {path} is empty.")
    return path


def read_text(name: str) -> str:
    """Read a UTF-8 text file; raises DataError naming it when it is something else."""
    path = existing_file(Path(name).expanduser())
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def in_memory() -> duckdb.DuckDBPyConnection:
    """Open a DuckDB that fetches nothing from the internet; what memory lacks goes to the disk."""
    limits = load_settings().duckdb
    spill = limits.temp_directory or Path(tempfile.gettempdir())
    spill.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            # Extensions would be fetched from the internet, and what we read needs none.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": limits.memory_limit,
            # Made when it is needed, and removed in the end.
            "temp_directory": str(spill / f"duckdb-{uuid4().hex}"),
        }
    )
    # It would be printed to where the output goes. In Jupyter without ipywidgets it cannot be, and
    # then switching it off is an error.
    with suppress(duckdb.InvalidInputException):
        connection.execute("SET enable_progress_bar = false")
    return connection


def typed(connection: duckdb.DuckDBPyConnection, label: str) -> tuple[FromClause, tuple[Any, ...]]:
    """Make the view `feed` of the view `raw`; raises DataError for values that cannot be read."""
    from workbench.feeds import typed_view

    try:
        return typed_view(connection, label)
    except duckdb.Error as error:
        raise DataError(f"{label} cannot be read: {said(error)}") from None


def duckdb_input(
    connection: duckdb.DuckDBPyConnection,
    label: str,
    relation: FromClause,
    notes: tuple[Finding, ...] = (),
) -> Input:
    """Make an input of what a connection holds."""

    def frames(statement: SelectBase) -> Iterator[pl.DataFrame]:
        with _told(label):
            text, parameters = _compiled(statement)
            rows = connection.sql(text, params=parameters).to_arrow_reader(BATCH)
            yield pl.DataFrame(rows.schema.empty_table())
            yield from map(pl.DataFrame, rows)

    def copy(statement: SelectBase, path: Path) -> None:
        text, parameters = _compiled(statement)
        with _told(label):
            try:
                connection.execute(
                    f"COPY ({text}) TO {literal(str(path))} (FORMAT parquet)", parameters
                )
            except duckdb.IOException as error:
                if "No space left" in str(error):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
                raise

    run = executor(connection, label)
    return Input(label, "duckdb", relation, run, frames, notes, copy)


def executor(
    connection: duckdb.DuckDBPyConnection, label: str
) -> Callable[[SelectBase], pl.DataFrame]:
    """Return what runs a SELECT in DuckDB; it raises QueryError, in words about `label`."""

    def execute(statement: SelectBase) -> pl.DataFrame:
        with _told(label):
            text, parameters = _compiled(statement)
            return pl.DataFrame(connection.sql(text, params=parameters).to_arrow_table())

    return execute


def _compiled(statement: SelectBase) -> tuple[str, list[Any]]:
    state = statement.compile(dialect=DuckDBDialect()).construct_expanded_state()
    return state.statement, [state.parameters[name] for name in state.positiontup or ()]


@contextmanager
def _told(label: str) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except (duckdb.Error, pyarrow.ArrowException, pl.exceptions.PolarsError) as error:
        raise QueryError(f"The statement failed on {label}: {said(error)}") from None
    except RuntimeError as error:
        # How DuckDB says Ctrl-C.
        if "interrupt" not in str(error).lower():
            raise
        raise KeyboardInterrupt from None


def _csv_header(path: Path, feed: bool) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = re.sub(r'"(?:[^"]|"")*"', "", file.readline())
            delimiter = max(",;\t|", key=first.count)
            file.seek(0)
            header = next(csv.reader(file, delimiter=delimiter), [])
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8 text.", 'Save it again as "CSV UTF-8", or as Excel or Parquet.'
        ) from None
    return column_names(header, path.name, feed=feed), delimiter


def said(error: Exception) -> str:
    """Join the first lines of a message up to its end of sentence, without DuckDB's category."""
    # Nobody agreed to have a line of their data in a log.
    text = re.sub(r"(?s)Original Line: .*\n(?=(?!Possible)[A-Z][^\n]*\n+Possible)", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    said = " ".join(line for line in lines[:3] if line and not line.startswith(("LINE ", "Possib")))
    return re.sub(r"^[A-Z][A-Za-z ]+ Error: ", "", said) or type(error).__name__
