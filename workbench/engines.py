"""Where a statement runs: inside a database, or on files and frames with DuckDB."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from sqlalchemy.sql import FromClause, Select

from workbench.colors import match_columns
from workbench.database import Database
from workbench.dialects import DuckDBDialect
from workbench.errors import DataError, QueryError

FILE_SUFFIXES = (".parquet", ".csv", ".xlsx", ".xlsm", ".xls", ".xlsb")


@dataclass(frozen=True)
class Input:
    """Something a statement can run over: what to select from, and what executes it."""

    label: str
    engine: str
    relation: FromClause
    execute: Callable[[Select[Any]], pl.DataFrame]


def from_database(database: Database, name: str) -> Input:
    """Open a table, a view or a `.sql` file (one SELECT) of a connected source."""
    if name.lower().endswith(".sql"):
        path = existing_file(Path(name).expanduser())
        relation: FromClause = database.describe(read_text(path))
    else:
        relation = database.table(name)
    label = f"{name} of source {database.name}"
    return Input(label, database.engine.dialect.name, relation, database.read)


def from_file(path: str | Path) -> Input:
    """Open a Parquet, CSV or Excel file with DuckDB; raises DataError for anything else."""
    path = existing_file(Path(path).expanduser())
    kind = path.suffix.lower()
    if kind not in FILE_SUFFIXES:
        raise DataError(
            f"{path} is not of a kind that can be read.",
            f"Known kinds: {', '.join(FILE_SUFFIXES)}, and .sql for a statement of a source.",
        )
    connection = _duckdb()
    try:
        if kind == ".csv":
            _register_csv(connection, path)
        elif kind == ".parquet":
            connection.read_parquet(str(path)).create_view("raw")
        else:
            connection.register("raw", _read_excel(path).to_arrow())
    except duckdb.Error as error:
        raise DataError(f"{path} cannot be read: {_said(error)}") from None
    return _duckdb_input(connection, path.name)


def from_frame(data: Any, label: str = "the data frame") -> Input:
    """Open a polars or pandas DataFrame or an Arrow table with DuckDB."""
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if not isinstance(data, pl.DataFrame):
        try:
            data = pl.DataFrame(data)
        except (TypeError, ValueError) as error:
            raise DataError(f"A {type(data).__name__} cannot be read as a table: {error}") from None
    connection = _duckdb()
    connection.register("raw", _without_null_columns(data).to_arrow())
    return _duckdb_input(connection, label)


def looks_like_a_file(name: str) -> bool:
    """Tell a file's name from a table's: by its suffix, a separator, or being there."""
    path = Path(name).expanduser()
    return path.suffix.lower() in FILE_SUFFIXES or "/" in name or "\\" in name or path.exists()


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


def read_text(path: Path) -> str:
    """Read a UTF-8 text file; raises DataError naming it when it is something else."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def _duckdb() -> duckdb.DuckDBPyConnection:
    # Extensions would be fetched from the internet, and what we read needs none.
    return duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )


def _duckdb_input(connection: duckdb.DuckDBPyConnection, label: str) -> Input:
    from workbench.feeds import typed_view

    try:
        relation = typed_view(connection, label)
    except duckdb.Error as error:
        raise DataError(f"{label} cannot be read: {_said(error)}") from None
    dialect = DuckDBDialect()

    def execute(statement: Select[Any]) -> pl.DataFrame:
        compiled = statement.compile(dialect=dialect)
        values = compiled.construct_params()
        parameters = [values[name] for name in compiled.positiontup or ()]
        try:
            result = connection.sql(str(compiled), params=parameters)
            return pl.DataFrame(result.to_arrow_table())
        except duckdb.Error as error:
            raise QueryError(f"The statement failed on {label}: {_said(error)}") from None

    return Input(label, "duckdb", relation, execute)


def _register_csv(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    header, delimiter = _csv_header(path)
    if not any(header):
        raise DataError(f"{path} has no header: its first line is empty.")
    match_columns(header, path.name)
    # Nothing is guessed from the values: a column of ids is not a number until we say so.
    connection.read_csv(
        str(path), sep=delimiter, quotechar='"', escapechar='"', header=True, skiprows=0,
        columns=dict.fromkeys(header, "VARCHAR"), auto_detect=False, na_values="",
        encoding="utf-8",
    ).create_view("raw")  # fmt: skip


def _csv_header(path: Path) -> tuple[list[str], str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8 text.", 'Save it again as "CSV UTF-8", or as Excel or Parquet.'
        ) from None
    delimiter = max(",;\t|", key=first.count)
    return next(csv.reader([first], delimiter=delimiter), []), delimiter


def _read_excel(path: Path) -> pl.DataFrame:
    import fastexcel

    try:
        sheet = fastexcel.read_excel(path).load_sheet(0)
        return _without_null_columns(sheet.to_polars())
    except (fastexcel.FastExcelError, ValueError) as error:
        raise DataError(
            f"{path} is not an Excel workbook that can be read.",
            f"The reader says: {_said(error)}",
        ) from None


def _without_null_columns(data: pl.DataFrame) -> pl.DataFrame:
    """Give columns without any value a type: Arrow's null type means nothing to SQL."""
    return data.cast({pl.Null: pl.String})


def _said(error: Exception) -> str:
    """Join the first lines of a message up to its end of sentence, without DuckDB's category."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = " ".join(line for line in lines[:3] if line and not line.startswith("LINE "))
    return re.sub(r"^[A-Z][A-Za-z ]+ Error: ", "", said) or type(error).__name__
