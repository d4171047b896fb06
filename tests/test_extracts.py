"""An extract holds every value as it was, in every format, and appears whole or not at all."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import BIN
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import extracts
from workbench.cli import main
from workbench.database import connect
from workbench.errors import DataError, QueryError, UsageError, WorkbenchError

FORMATS = ["parquet", "csv", "jsonl", "xlsx"]
SCHEMA: dict[str, Any] = {
    "id": pl.Int64(), "n": pl.Int64(), "amount": pl.Decimal(12, 2), "price": pl.Decimal(38, 10),
    "ratio": pl.Float64(), "text": pl.String(), "flag": pl.Boolean(), "raw": pl.Binary(),
    "day": pl.Date(), "at": pl.Time(), "moment": pl.Datetime("us"),
    "utc": pl.Datetime("us", "UTC"), "span": pl.Duration("us"),
}  # fmt: skip
ROW = (
    17734072432755618, 5, Decimal("-12.50"), Decimal("1234567890123456789.0123456789"), 0.1,
    "=1+1, \"so\"\r\n'é😀", True, b"\x00\xff", dt.date(2026, 1, 9), dt.time(10, 30, 0, 5),
    dt.datetime(2026, 1, 9, 10, 30), dt.datetime(2026, 1, 9, 10, 30, 0, 5, dt.UTC),
    dt.timedelta(days=1, seconds=90),
)  # fmt: skip
FRAME = pl.DataFrame([ROW, (None,) * len(ROW)], schema=SCHEMA, orient="row")


def batches(frame: pl.DataFrame, rows: int = 1) -> Iterator[pl.DataFrame]:
    yield frame.clear()
    yield from frame.iter_slices(rows)


def lines(path: Path) -> list[dict[str, Any]]:
    texts = path.read_text(encoding="utf-8").split("\n")
    assert texts.pop() == ""
    return [json.loads(text, parse_float=Decimal) for text in texts]


def records(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def cells(path: Path) -> list[tuple[Any, ...]]:
    return list(openpyxl.load_workbook(path).active.iter_rows(values_only=True))


def test_parquet_holds_every_type(project: Path) -> None:
    told = extracts.write(batches(FRAME), Path("x.parquet"))
    table = pq.read_table("x.parquet")
    assert [tuple(row.values()) for row in table.to_pylist()] == FRAME.rows()
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "int64", "n": "int64", "amount": "decimal128(12, 2)", "price": "decimal128(38, 10)",
        "ratio": "double", "text": "large_string", "flag": "bool", "raw": "large_binary",
        "day": "date32[day]", "at": "time64[ns]", "moment": "timestamp[us]",
        "utc": "timestamp[us, tz=UTC]", "span": "duration[us]",
    }  # fmt: skip
    assert (told.rows, told.columns, told.bytes) == (2, 13, Path("x.parquet").stat().st_size)
    assert str(told).startswith("x.parquet: 2 rows, 13 columns, ")


def test_csv_holds_every_type(project: Path) -> None:
    extracts.write(batches(FRAME), Path("x.csv"))
    header, row, nulls = records(project / "x.csv")
    assert header == list(SCHEMA)
    assert row == [
        "17734072432755618", "5", "-12.5", "1234567890123456789.0123456789", "0.1", ROW[5], "true",
        "00ff", "2026-01-09", "10:30:00.000005", "2026-01-09 10:30:00",
        "2026-01-09 10:30:00.000005+00:00", "P1DT1M30S",
    ]  # fmt: skip
    assert nulls == [""] * len(SCHEMA)


def test_json_lines_hold_every_type(project: Path) -> None:
    extracts.write(batches(FRAME), Path("x.jsonl"))
    row, nulls = lines(project / "x.jsonl")
    assert row == {
        "id": "17734072432755618", "n": 5, "amount": Decimal("-12.5"),
        "price": "1234567890123456789.0123456789", "ratio": Decimal("0.1"), "text": ROW[5],
        "flag": True, "raw": "00ff", "day": "2026-01-09", "at": "10:30:00.000005",
        "moment": "2026-01-09T10:30:00", "utc": "2026-01-09T10:30:00.000005+00:00",
        "span": "P1DT1M30S",
    }  # fmt: skip
    assert nulls == dict.fromkeys(SCHEMA)


def test_excel_holds_what_it_can_and_runs_nothing(project: Path) -> None:
    rich = FRAME.head(1).with_columns(text=pl.lit("<r></b> & c</r>"))
    extracts.write(batches(pl.concat([FRAME, rich])), Path("x.xlsx"))
    header, row, nulls, last = cells(project / "x.xlsx")
    assert header == tuple(SCHEMA)
    assert row == (
        "17734072432755618", 5, -12.5, "1234567890123456789.0123456789", 0.1,
        ROW[5].replace("\r", "_x000D_"), True, "00ff", dt.datetime(2026, 1, 9),
        "10:30:00.000005", dt.datetime(2026, 1, 9, 10, 30), "2026-01-09 10:30:00.000005+00:00",
        "1 day, 0:01:30",
    )  # fmt: skip
    assert nulls == (None,) * len(SCHEMA)
    assert last[5] == "<r></b> & c</r>"
    sheet = openpyxl.load_workbook("x.xlsx").active
    assert {cell.data_type for line in sheet for cell in line} <= {"s", "n", "b", "d"}
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:M4")
    assert sheet["I2"].number_format == "yyyy-mm-dd"


def test_days_before_those_of_excel_make_their_column_text(project: Path) -> None:
    days = [dt.date(2026, 1, 9), dt.date(1066, 10, 14)]
    extracts.write(batches(pl.DataFrame({"day": days})), Path("x.xlsx"))
    assert cells(project / "x.xlsx")[1:] == [("2026-01-09",), ("1066-10-14",)]


def test_a_column_keeps_its_form_once_it_has_one(project: Path) -> None:
    frame = pl.DataFrame(
        {
            "n": [1, 2**53, 2],
            "t": [dt.datetime(2026, 1, 9, 1, 2, 3, micro) for micro in (0, 1000, 0)],
        }
    )
    extracts.write(batches(frame), Path("x.jsonl"))
    extracts.write(batches(frame), Path("x.csv"))
    assert [line["n"] for line in lines(project / "x.jsonl")] == [1, str(2**53), "2"]
    assert [row[1][17:] for row in records(project / "x.csv")[1:]] == [
        "03", "03.001000", "03.000000",
    ]  # fmt: skip


def test_csv_tells_null_from_an_empty_text(project: Path) -> None:
    frame = pl.DataFrame({"a": ["", None], "b": [None, ""]})
    extracts.write(batches(frame), Path("x.csv"))
    assert Path("x.csv").read_bytes() == b'a,b\n"",\n,""\n'
    # A line without anything would be no row to pandas and others.
    extracts.write(batches(pl.DataFrame({"a": [1, None, 2]})), Path("y.csv"))
    assert records(project / "y.csv") == [["a"], ["1"], [""], ["2"]]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_result_without_rows_has_its_columns(project: Path, kind: str) -> None:
    path = project / f"x.{kind}"
    assert extracts.write(iter([FRAME.clear()]), path).rows == 0
    found = {
        "parquet": lambda: pq.read_schema(path).names,
        "csv": lambda: records(path)[0],
        "xlsx": lambda: list(cells(path)[0]),
        "jsonl": lambda: [*lines(path), *SCHEMA],
    }[kind]()
    assert found == list(SCHEMA)


@pytest.mark.parametrize("kind", FORMATS)
def test_three_hundred_columns(project: Path, kind: str) -> None:
    frame = pl.DataFrame({f"c{n}": [n, None, -n] for n in range(300)})
    path = project / f"x.{kind}"
    extracts.write(batches(frame, rows=2), path)
    found: list[Any] = {
        "parquet": lambda: [tuple(row.values()) for row in pq.read_table(path).to_pylist()],
        "csv": lambda: [tuple(int(v) if v else None for v in row) for row in records(path)[1:]],
        "jsonl": lambda: [tuple(line.values()) for line in lines(path)],
        "xlsx": lambda: cells(path)[1:],
    }[kind]()
    assert found == frame.rows()


_texts = st.text(st.characters(exclude_categories=["Cs"]))
_rows = st.lists(
    st.tuples(
        *(
            st.none() | values
            for values in (
                _texts,
                st.integers(-(2**63), 2**63 - 1),
                st.integers(-(10**38) + 1, 10**38 - 1),
                st.floats(allow_nan=False, allow_infinity=False),
                st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 1, 1)),
                st.binary(),
            )
        )
    ),
    max_size=8,
)


def _frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    schema: dict[str, Any] = {
        "s": pl.String(), "i": pl.Int64(), "d": pl.Decimal(38, 10), "f": pl.Float64(),
        "t": pl.Datetime("us"), "b": pl.Binary(),
    }  # fmt: skip
    return pl.DataFrame([(*r[:2], _number(r[2]), *r[3:]) for r in rows], schema, orient="row")


def _number(units: int | None) -> Decimal | None:
    return None if units is None else Decimal((units < 0, tuple(map(int, str(abs(units)))), -10))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any rows")


@settings(max_examples=25, deadline=None)
@given(rows=_rows)
def test_any_rows_come_back_from_csv(place: Path, rows: list[tuple[Any, ...]]) -> None:
    frame = _frame(rows)
    path = place / "x.csv"
    extracts.write(batches(frame, rows=3), path, overwrite=True)
    read = [
        (
            s, int(i) if i else None, Decimal(d) if d else None, float(f) if f else None,
            dt.datetime.fromisoformat(t) if t else None, bytes.fromhex(b),
        )
        for s, i, d, f, t, b in records(path)[1:]
    ]  # fmt: skip
    assert read == [(s or "", i, d, f, t, b or b"") for s, i, d, f, t, b in frame.rows()]
    assert "E" not in "".join(row[2] for row in records(path)[1:])


@settings(max_examples=25, deadline=None)
@given(rows=_rows)
def test_any_rows_come_back_from_json_lines(place: Path, rows: list[tuple[Any, ...]]) -> None:
    frame = _frame(rows)
    path = place / "x.jsonl"
    extracts.write(batches(frame, rows=3), path, overwrite=True)
    read = [tuple(line.values()) for line in lines(path)]
    for s, i, d, f, t, b in read:
        assert d is None or isinstance(d, str)
        assert i is None or isinstance(i, str) or abs(i) < 2**53
        assert {type(s), type(t), type(b)} <= {str, type(None)}
        assert f is None or isinstance(f, Decimal | int)
    assert [
        (
            s, None if i is None else int(i), None if d is None else Decimal(d),
            None if f is None else float(f), t and dt.datetime.fromisoformat(t),
            None if b is None else bytes.fromhex(b),
        )
        for s, i, d, f, t, b in read
    ] == frame.rows()  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(rows=_rows)
def test_any_rows_come_back_from_parquet(place: Path, rows: list[tuple[Any, ...]]) -> None:
    frame = _frame(rows)
    extracts.write(batches(frame, rows=3), place / "x.parquet", overwrite=True)
    read = pq.read_table(place / "x.parquet").to_pylist()
    assert [tuple(row.values()) for row in read] == frame.rows()


def test_what_is_no_number_is_told_apart_where_the_format_can(project: Path) -> None:
    frame = pl.DataFrame({"f": [math.nan, math.inf, -math.inf, None], "n": [1, 2, 3, 4]})
    for kind in ("csv", "jsonl", "xlsx"):
        extracts.write(batches(frame), project / f"x.{kind}")
    assert [row[0] for row in records(project / "x.csv")] == ["f", "NaN", "inf", "-inf", ""]
    assert [line["f"] for line in lines(project / "x.jsonl")] == [None] * 4
    assert [row[0] for row in cells(project / "x.xlsx")[1:]] == ["NaN", "inf", "-inf", None]


@pytest.mark.parametrize("heights", [[1_048_576], [10, 1_048_566]])
def test_more_rows_than_excel_holds_are_an_error(project: Path, heights: list[int]) -> None:
    frames = (pl.DataFrame({"n": range(height)}) for height in heights)
    with pytest.raises(DataError, match="1,048,575"):
        extracts.write(frames, project / "x.xlsx")
    assert list(project.iterdir()) == []


def nothing_is_read() -> Iterator[pl.DataFrame]:
    raise AssertionError
    yield


@pytest.mark.parametrize(
    ("path", "says"),
    [("x.docx", "suffix"), ("x", "suffix"), ("x.csv.gz", "suffix"), ("folder.csv", "is a folder"),
     ("there.csv", "exists already"), ("dangling.csv", "exists already"),
     ("nowhere/x.csv", "no folder nowhere"), ("there.csv/x.csv", "no folder there.csv")],
)  # fmt: skip
def test_a_path_that_cannot_be_is_refused_first(project: Path, path: str, says: str) -> None:
    (project / "there.csv").write_text("mine")
    (project / "folder.csv").mkdir()
    (project / "dangling.csv").symlink_to("gone.csv")
    before = sorted(project.iterdir())
    with pytest.raises(UsageError, match=says) as caught:
        extracts.write(nothing_is_read(), Path(path))
    assert Path(path).name in caught.value.message
    assert sorted(project.iterdir()) == before
    assert (project / "there.csv").read_text() == "mine"


def test_a_folder_without_permission_is_told_first(project: Path) -> None:
    project.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(WorkbenchError, match=r"x\.csv cannot be written: Permission denied"):
            extracts.write(nothing_is_read(), project / "x.csv")
    finally:
        os.seteuid(user)
        project.chmod(0o700)


def test_an_overwritten_file_is_replaced_through_its_link(project: Path) -> None:
    (project / "real.csv").write_text("old")
    (project / "x.csv").symlink_to("real.csv")
    extracts.write(batches(FRAME.select("n")), Path("x.csv"), overwrite=True)
    assert (project / "real.csv").read_text() == 'n\n5\n""\n'
    assert (project / "x.csv").is_symlink()
    assert sorted(path.name for path in project.iterdir()) == ["real.csv", "x.csv"]


def test_an_overwritten_file_keeps_its_mode(project: Path) -> None:
    path = project / "x.csv"
    path.touch(0o600)
    extracts.write(batches(FRAME.select("n")), path, overwrite=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ('n\n5\n""\n', 0o600)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_came_meanwhile_is_not_overwritten(project: Path, kind: str) -> None:
    path = project / f"x.{kind}"

    def frames() -> Iterator[pl.DataFrame]:
        yield FRAME
        path.write_text("mine")

    with pytest.raises(UsageError, match="exists already"):
        extracts.write(frames(), path)
    assert path.read_text() == "mine"
    assert list(project.iterdir()) == [path]


def test_where_there_are_no_links_it_is_renamed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")  # what link(2) says on FAT

    monkeypatch.setattr(os, "link", no_links)
    extracts.write(batches(FRAME.select("n")), Path("x.csv"))
    assert Path("x.csv").read_text() == 'n\n5\n""\n'


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("raised", "expected", "says"),
    [(ValueError("odd"), ValueError, "odd"),
     (QueryError("Refused.", "Ask."), QueryError, r"Refused\.\nAsk\. .*x\.\w+ was not written"),
     (OSError(104, "reset"), DataError, r"x\.\w+ cannot be read: .*reset")],
)  # fmt: skip
def test_an_error_of_the_rows_leaves_all_as_it_was(
    project: Path, kind: str, raised: Exception, expected: type[Exception], says: str
) -> None:
    path = project / f"x.{kind}"
    path.write_text("mine")

    def frames() -> Iterator[pl.DataFrame]:
        yield FRAME
        raise raised

    with pytest.raises(expected, match=says):
        extracts.write(frames(), path, overwrite=True)
    assert path.read_text() == "mine"
    assert list(project.iterdir()) == [path]


# Rows that do not compress, without end: only a fault can stop them.
FILLS = """
import os, sys
from pathlib import Path
import polars as pl
from workbench import extracts
from workbench.errors import WorkbenchError
def frames():
    while True:
        yield pl.DataFrame({"raw": [os.urandom(600) for _ in range(200)]})
for name in sys.argv[1:]:
    try:
        extracts.write(frames(), Path(name), overwrite=True)
    except WorkbenchError as error:
        print(error.message)
"""
NAMES = [f"x.{kind}" for kind in FORMATS]


def fill(folder: Path, *before: str) -> list[str]:
    for name in NAMES:
        (folder / name).write_text("mine")
    done = subprocess.run(
        [*before, sys.executable, "-c", FILLS, *NAMES],
        cwd=folder, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert {(folder / name).read_text() for name in NAMES} == {"mine"}
    return done.stdout.splitlines()


def test_a_limit_on_files_leaves_all_as_it_was(project: Path) -> None:
    said = fill(project, "bash", "-c", 'ulimit -f 300; exec "$@"', "-")
    assert [line.split(" (")[0].rstrip(".") for line in said] == [
        f"{name} cannot be written: File too large" for name in NAMES
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_leaves_all_as_it_was(project: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(project)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        said = fill(project)
    finally:
        subprocess.run(["umount", "--lazy", str(project)], check=True)
    assert [line.split(" (")[0].rstrip(".") for line in said] == [
        f"{name} cannot be written: No space left on device" for name in NAMES
    ]


# PostgreSQL would keep all rows of one long series before it gave the first.
ENDLESS = (
    "SELECT a, md5(b::text) AS t FROM generate_series(1, 99999) a, generate_series(1, 99999) b"
)
COMMAND = [str(BIN / "workbench")]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("parquet", signal.SIGTERM), ("xlsx", signal.SIGINT)],
)  # fmt: skip
def test_a_cancelled_extract_leaves_all_as_it_was(
    project: Path, kind: str, sent: signal.Signals
) -> None:
    path = project / f"x.{kind}"
    path.write_text("mine")
    process = subprocess.Popen(
        [*COMMAND, "extract", "demo", ENDLESS, "-o", path.name, "--overwrite"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not any(part.stat().st_size for part in project.glob(".x.*.partial/*")):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    process.send_signal(sent)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, "", "cancelled\n")
    assert path.read_text() == "mine"
    assert list(project.iterdir()) == [path]


def test_progress_is_shown_on_a_terminal(project: Path) -> None:
    script = """
from pathlib import Path
import polars as pl
from workbench import extracts
frames = (pl.DataFrame({"n": range(1000)}) for _ in range(5))
extracts.write(frames, Path("[bold]x.csv"))
"""
    terminal, far = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, stderr=far, stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}, timeout=60,
    )  # fmt: skip
    os.close(far)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert (done.returncode, done.stdout) == (0, b"")
    assert "[bold]x.csv: 5,000 rows" in shown
    assert "rows/s" in shown


def extract(*words: str) -> Any:
    return CliRunner().invoke(main, ["extract", "demo", *words])


def test_the_command_takes_a_table_a_file_and_a_select(project: Path) -> None:
    done = extract("marketpulse.colors", "-o", "table.parquet")
    assert done.exit_code == 0, done.stderr
    rows = pq.read_metadata("table.parquet").num_rows
    assert done.stdout.startswith(f"table.parquet: {rows:,} rows, ")
    Path("a top.sql").write_text("SELECT 1 AS é -- one\n;", encoding="utf-8")
    done = extract("a top.sql", "-o", "file.csv", "--json")
    told = json.loads(done.stdout)
    assert {**told, "seconds": 0} == {
        "path": "file.csv", "rows": 1, "columns": 1, "bytes": 5, "seconds": 0,
    }  # fmt: skip
    done = extract("SELECT 2 AS n", "-o", "file.csv", "--quiet")
    assert done.exit_code == 2
    assert "file.csv exists already" in done.stderr
    done = extract("SELECT 2 AS n", "-o", "file.csv", "--quiet", "--overwrite")
    assert (done.exit_code, done.output) == (0, "")
    assert Path("file.csv").read_text() == "n\n2\n"


def test_values_of_binds_have_types(project: Path) -> None:
    select = (
        "SELECT :n + 1 AS n, :x * 3 AS x, :day + 1 AS day, :flag AND true AS flag, "
        ":zip || '' AS zip, :text || '' AS text, :no || '' AS no"
    )
    values = {"n": "5", "x": "0.1", "day": "2026-01-31", "flag": "true", "zip": "007",
              "text": '"5"', "no": "NO'; DROP TABLE x; --"}  # fmt: skip
    words = [word for pair in values.items() for word in ("-p", *pair)]
    done = extract(select, "-o", "x.jsonl", *words)
    assert done.exit_code == 0, done.output
    [line] = lines(project / "x.jsonl")
    assert Decimal(line.pop("x")) == Decimal("0.3")
    assert line == {"n": 6, "day": "2026-02-01", "flag": True, "zip": "007", "text": "5",
                    "no": values["no"]}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [("missing.sql", 1, "missing.sql does not exist"),
     ("nowhere.colors", 1, "no schema 'nowhere' for the table 'nowhere.colors'"),
     ("marketpulse.colours", 1, "Did you mean 'marketpulse.colors'?"), ("", 1, "no table ''"),
     ('colors";DROP', 1, "no table"), ("DELETE FROM x", 1, "begins with SELECT"),
     ("SELECT 1/(3 - n) FROM generate_series(1, 9) n", 1, "x.csv was not written")],
)  # fmt: skip
def test_what_cannot_be_read_leaves_nothing(project: Path, what: str, code: int, says: str) -> None:
    done = extract(what, "-o", "x.csv")
    assert done.exit_code == code
    assert says in done.stderr
    assert list(project.iterdir()) == []


def test_a_file_of_sql_is_read_as_editors_write_it(project: Path) -> None:
    Path("UP.SQL").write_bytes("\ufeff-- first\n(SELECT 'é' AS n)".encode())
    done = extract("UP.SQL", "-o", "x.csv")
    assert done.exit_code == 0, done.stderr
    assert Path("x.csv").read_text(encoding="utf-8") == "n\né\n"
    Path("latin.sql").write_bytes("SELECT 'é' AS n".encode("latin-1"))
    done = extract("latin.sql", "-o", "y.csv")
    assert done.exit_code == 1
    assert "latin.sql cannot be read as UTF-8 text" in done.stderr


def test_binds_may_have_any_name_but_two(project: Path) -> None:
    names = ["rows", "what", "path", "self", "statement", "label"]
    words = [word for name in names for word in ("-p", name, "5")]
    select = ", ".join(f"CAST(:{name} AS int) AS {name}" for name in names)
    done = extract(f"SELECT {select}", "-o", "x.jsonl", *words)
    assert done.exit_code == 0, done.stderr
    assert lines(project / "x.jsonl") == [dict.fromkeys(names, 5)]
    for name in ("overwrite", "progress"):
        done = extract(f"SELECT CAST(:{name} AS int) AS n", "-o", "y.csv", "-p", name, "1")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: A bind cannot be called '{name}'.")


def test_names_of_tables_may_hold_blanks_and_quotes(project: Path) -> None:
    Path("workbench.toml").write_text('[sources.demo]\nkind = "embedded"\nread_only = false')
    schema = f"With {os.getpid()}"
    odd = f'"{schema}"."my ""odd"" t.x"'
    with connect("demo") as db:
        try:
            with db.engine.begin() as writing:
                writing.exec_driver_sql(f'CREATE SCHEMA "{schema}"')
                writing.exec_driver_sql(f"CREATE TABLE {odd} AS SELECT 1 AS n")
                writing.exec_driver_sql(f'CREATE TABLE "{schema}"."select" AS SELECT 2 AS n')
                writing.exec_driver_sql(f'CREATE VIEW "{schema}"."my view" AS SELECT 3 AS n')
            names = [odd, f'"{schema}"."select"', f'"{schema}".my view']
            for n, name in enumerate(names, start=1):
                db.extract(name, "x.csv", overwrite=True)
                assert Path("x.csv").read_text() == f"n\n{n}\n"
        finally:
            with db.engine.begin() as writing:
                writing.exec_driver_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
    done = extract('"marketpulse"."colors"', "-o", "quoted.parquet")
    assert done.exit_code == 0, done.stderr


def test_a_schema_that_is_not_there_is_named(project: Path) -> None:
    Path("workbench.toml").write_text('[sources.demo]\nkind = "embedded"\nschema = "marketpulsee"')
    with connect("demo") as db, pytest.raises(DataError, match="Did you mean 'marketpulse'") as e:
        db.table("colors")
    assert e.value.message.startswith("Source 'demo' has no schema 'marketpulsee' for")
