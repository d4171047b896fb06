"""Rows of any number into one file: Parquet, CSV, JSON lines or Excel, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl
import polars.selectors as cs
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from workbench import cells
from workbench.errors import DataError, UsageError, WorkbenchError

# Takes a batch, and how many rows came before it.
Put = Callable[[pl.DataFrame, int], None]
JSON_INTEGER = 2**53 - 1  # Number.MAX_SAFE_INTEGER: beyond, readers of doubles round
EXCEL_FORMATS = {
    pl.Int64: "0", pl.Float64: "0.00####",
    pl.Date: "yyyy-mm-dd", pl.Datetime: "yyyy-mm-dd hh:mm:ss",
}  # fmt: skip


@dataclass(frozen=True)
class Extract:
    """A file that was written: its size in bytes, and how long it took."""

    path: Path
    rows: int
    columns: int
    bytes: int
    seconds: float

    def __str__(self) -> str:
        size = f"{self.rows:,} rows, {self.columns:,} columns, {decimal(self.bytes)}"
        return f"{self.path}: {size} in {self.seconds:.1f} s"


def write(
    batches: Iterator[pl.DataFrame],
    path: Path,
    *,
    overwrite: bool = False,
    label: str = "",
    progress: bool = True,
) -> Extract:
    """Write frames of one schema to `path`, in the format of its suffix, one batch at a time.

    The file appears under its name when it is whole; until then it grows in a folder
    `.NAME.<random>.partial` beside it. Nothing is read before the path is known to be usable.
    A file that is replaced keeps its mode. On a terminal, progress is shown with `label`.

    Raises UsageError for an unknown suffix and a path that is taken or leads nowhere,
    WorkbenchError when it cannot be written, DataError for what Excel cannot hold.
    """
    started = time.perf_counter()
    known_kind(path)
    with told(path), whole(path, overwrite) as building:
        rows, columns = fill(batches, building, path, label=label, progress=progress)
    return Extract(path, rows, columns, path.stat().st_size, time.perf_counter() - started)


def known_kind(path: Path) -> None:
    """Raise UsageError unless the suffix names a format."""
    if path.suffix.lower() not in SINKS:
        hint = f"Suffixes: {', '.join(SINKS)}."
        raise UsageError(f"{path} has no suffix that names a format.", hint)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in a sentence that a file cannot be written."""
    try:
        yield
        return
    except OSError as error:
        failure = WorkbenchError(
            f"{path} cannot be written: {error.strerror or error}.",
            "Nothing of it was left; a file that was there before is as it was.",
        )
    raise failure


def fill(
    batches: Iterator[pl.DataFrame],
    building: Path,
    path: Path,
    *,
    label: str = "",
    progress: bool = True,
) -> tuple[int, int]:
    """Write frames to the file `building`, which is to become `path`; count rows and columns."""
    started = time.perf_counter()
    shown = _progress(progress and sys.stderr.isatty())
    rows = 0
    with closing(_telling(batches, path)) as frames, shown:
        task = shown.add_task(label or path.name, total=None, rate=0, size="")
        first = next(frames, pl.DataFrame())
        with SINKS[path.suffix.lower()](building, first) as put:
            for frame in chain([first], frames):
                if frame.height:
                    put(frame, rows)
                    rows += frame.height
                rate, size = rows / (time.perf_counter() - started), building.stat().st_size
                shown.update(task, completed=rows, rate=rate, size=decimal(size))
    return rows, first.width


@contextmanager
def whole(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a path to write to, in a folder beside; what is there at the end becomes `path`.

    Raises UsageError, before anything is written, for a path that is taken or leads nowhere.
    """
    target = free(path, overwrite)
    # Named before it is made: a signal between making and noting a folder would leave it behind.
    folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    try:
        folder.mkdir(mode=0o700)
        building = folder / target.name
        yield building
        place(building, target, path, overwrite)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _progress(wanted: bool) -> Progress:
    told = "{task.description}: {task.completed:,} rows, {task.fields[rate]:,.0f} rows/s, "
    return Progress(
        TextColumn(told + "{task.fields[size]}", markup=False), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True, disable=not wanted,
    )  # fmt: skip


def free(path: Path, overwrite: bool) -> Path:
    """Return where a file would go, links followed; raises UsageError unless it can go there."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is a folder or a device, not a file.")
    if os.path.lexists(path) and not overwrite:
        raise _taken(path)
    target = path.resolve()
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} to write {path.name} into.")
    return target


def _taken(path: Path) -> UsageError:
    hint = "Choose another name, or say --overwrite (overwrite=True) to replace it."
    return UsageError(f"{path} exists already.", hint)


def place(building: Path, target: Path, path: Path, overwrite: bool) -> None:
    """Move what is whole to where it goes; `path` is how it was asked for.

    A file is never replaced unless `overwrite`; a folder must not be there otherwise.
    """
    if building.is_dir():
        if overwrite and target.is_dir():
            shutil.rmtree(target)
        building.rename(target)
        return
    with building.open("rb+") as file:
        os.fsync(file.fileno())
    if not overwrite:
        with suppress(OSError):
            # Unlike a rename, it refuses in one step what has come there meanwhile.
            os.link(building, target)
            return
        # Taken, or a file system without links: there, this look has to do.
        if os.path.lexists(target):
            raise _taken(path)
    elif target.exists():
        shutil.copymode(target, building)
    building.replace(target)


def _telling(batches: Iterator[pl.DataFrame], path: Path) -> Generator[pl.DataFrame]:
    """Let an error of the rows name the file, and never pass for one of writing it."""
    try:
        return (yield from batches)
    except WorkbenchError as error:
        error.hint = f"{error.hint or ''} {path} was not written.".lstrip()
        raise
    except OSError as error:
        failure = DataError(f"The rows for {path} cannot be read: {error}.")
    raise failure


@contextmanager
def _parquet(path: Path, first: pl.DataFrame) -> Iterator[Put]:
    from pyarrow.parquet import ParquetWriter

    schema = first.clear().to_arrow().schema
    with path.open("wb") as file, ParquetWriter(file, schema, compression="zstd") as writer:
        yield lambda frame, _: writer.write_table(frame.to_arrow())


@contextmanager
def _csv(path: Path, first: pl.DataFrame) -> Iterator[Put]:
    # To most readers, an empty line would be no row.
    null, fractions = '""' if first.width == 1 else "", set[str]()

    def put(frame: pl.DataFrame, _: int) -> None:
        written = texts(frame, "%Y-%m-%d %H:%M:%S", fractions)
        written.write_csv(file, include_header=False, null_value=null)

    with path.open("wb") as file:
        first.clear().cast(pl.String).write_csv(file)
        yield put


@contextmanager
def _json(path: Path, first: pl.DataFrame) -> Iterator[Put]:
    fractions, long = set[str](), set[str]()

    def put(frame: pl.DataFrame, _: int) -> None:
        for_json(frame, fractions, long).write_ndjson(file)

    with path.open("wb") as file:
        yield put


def for_json(frame: pl.DataFrame, fractions: set[str], long: set[str]) -> pl.DataFrame:
    """Make text of what readers of JSON, to whom a number is a double, would round.

    Columns that need it, or whose moments have fractions, are remembered in the sets.
    """
    short = [
        name for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Decimal) and dtype.precision <= cells.FLOAT_DIGITS
    ]  # fmt: skip
    # By name: polars takes some names for patterns.
    exact = frame.with_columns(cs.by_name(*short).cast(pl.Float64))
    within = (-JSON_INTEGER, JSON_INTEGER)
    _note(long, exact.select(cs.integer()), lambda column: not column.is_between(*within).all())
    written = texts(exact, "%Y-%m-%dT%H:%M:%S", fractions)
    return written.with_columns(cs.by_name(*sorted(long)).cast(pl.String))


@contextmanager
def _excel(path: Path, first: pl.DataFrame) -> Iterator[Put]:
    # Whether a column has to be text shows in the last row, so all of them wait on the disk.
    import pyarrow as pa
    from pyarrow import ipc

    waiting = path.with_suffix(".arrow")
    schema = cells.flat(first.clear()).to_arrow().schema
    path.touch()
    with waiting.open("wb") as file, ipc.new_file(file, schema) as rows:

        def put(frame: pl.DataFrame, before: int) -> None:
            flat = cells.flat(frame)
            cells.refuse_what_excel_would_lose(flat, before)
            rows.write_table(flat.to_arrow())

        yield put
    with pa.memory_map(str(waiting)) as file:
        _sheet(pl.DataFrame(ipc.open_file(file).read_all()), path)


def _sheet(frame: pl.DataFrame, path: Path) -> None:
    from rustpy_xlsxwriter import Format, write_worksheet

    texts = [column.name for column in frame if cells.is_long(column) or _unlike_excel(column)]
    plain = frame.with_columns(map(cells.plain, frame.select(texts)))
    flat = plain.with_columns(cs.decimal().cast(pl.Float64))
    write_worksheet(
        flat, path, freeze_row=1, autofilter=flat.width > 0, bold_headers=True,
        column_widths={name: (width - 5) / 7 for name, width in cells.widths(flat).items()},
        column_formats={
            name: Format().set_num_format(form)
            for name, dtype in flat.schema.items()
            if (form := EXCEL_FORMATS.get(dtype.base_type()))
        },
    )  # fmt: skip


SINKS: dict[str, Callable[[Path, pl.DataFrame], AbstractContextManager[Put]]] = {
    ".parquet": _parquet, ".csv": _csv, ".json": _json, ".jsonl": _json, ".ndjson": _json,
    ".xlsx": _excel,
}  # fmt: skip


def _note(names: set[str], frame: pl.DataFrame, test: Callable[[pl.Series], bool]) -> None:
    """Remember the columns that need another form, so that all later batches have it too."""
    names.update(column.name for column in frame if column.name not in names and test(column))


def texts(frame: pl.DataFrame, moment: str, fractions: set[str]) -> pl.DataFrame:
    """Make plain text of decimals, hexadecimal of bytes, ISO 8601 of spans and moments."""
    moments = frame.select(cs.datetime())
    _note(fractions, moments, lambda column: (column.dt.microsecond() != 0).any())
    shown = []
    for name, dtype in moments.schema.items():
        zone = "%:z" if getattr(dtype, "time_zone", None) else ""
        form = f"{moment}{'%.6f' if name in fractions else ''}{zone}"
        shown.append(moments[name].dt.to_string(form))
    return frame.with_columns(
        cs.binary().bin.encode("hex"),
        cs.duration().dt.to_string("iso"),
        cs.time().dt.to_string("%H:%M:%S%.f"),
        *shown,
        *map(cells.plain, frame.select(cs.decimal())),
    )


def _unlike_excel(column: pl.Series) -> bool:
    """Tell what Excel has no number for: days before its first one, NaN and infinities."""
    if column.dtype.is_float():
        return bool((~column.is_finite()).any())
    return column.dtype in (pl.Date, pl.Datetime) and bool((column.dt.year() < 1900).any())
