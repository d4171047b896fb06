"""Data files as frames: every value as the file has it, or a sentence that says why not."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import DataError
from workbench.extracts import write
from workbench.files import read_file


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_file(path)
    return str(caught.value)


def read(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> pl.DataFrame:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path)


@pytest.mark.parametrize(
    ("texts", "dtype", "values"),
    [
        (["1", "-20", "0", ""], pl.Int64, [1, -20, 0, None]),
        (["1", "037833100"], pl.String, ["1", "037833100"]),
        (["-0", "1"], pl.Decimal(38, 0), [Decimal(0), Decimal(1)]),
        (["+5", "1"], pl.String, ["+5", "1"]),
        (["1_000"], pl.String, ["1_000"]),
        (["1,000"], pl.String, ["1,000"]),
        (["٣"], pl.String, ["٣"]),
        (["17734072432755618"], pl.Int64, [17734072432755618]),
        (["9223372036854775808"], pl.Decimal(38, 0), [Decimal(2**63)]),
        (["9" * 40], pl.String, ["9" * 40]),
        (["1e999", "1e5"], pl.String, ["1e999", "1e5"]),
        (["1e5", "12345678901234567"], pl.String, ["1e5", "12345678901234567"]),
        (["0.1", "10", ".25"], pl.Decimal(38, 2), [Decimal("0.1"), Decimal(10), Decimal("0.25")]),
        (["1e5", "0.5"], pl.Float64, [1e5, 0.5]),
        (["nan", "1.5"], pl.String, ["nan", "1.5"]),
        (["inf"], pl.String, ["inf"]),
        (["2026-01-31", ""], pl.Date, [dt.date(2026, 1, 31), None]),
        (["2026-02-30"], pl.String, ["2026-02-30"]),
        (["20260131"], pl.Int64, [20260131]),
        (["2026-01-31", "2026-01-31 10:00:00"], pl.String, ["2026-01-31", "2026-01-31 10:00:00"]),
        (
            ["2026-01-31T10:00:00", "2026-01-31 10:00:00.25"], pl.Datetime("us"),
            [dt.datetime(2026, 1, 31, 10), dt.datetime(2026, 1, 31, 10, 0, 0, 250_000)],
        ),
        (
            ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00+02:00"], pl.Datetime("us", "UTC"),
            [dt.datetime(2026, 1, 31, hour, tzinfo=dt.UTC) for hour in (10, 8)],
        ),
        (["true", "FALSE", ""], pl.Boolean, [True, False, None]),
        (["yes", "no"], pl.String, ["yes", "no"]),
        (["", ""], pl.String, [None, None]),
    ],
)  # fmt: skip
def test_a_column_of_a_csv_has_a_type_where_all_its_values_have_it(
    tmp_path: Path, texts: list[str], dtype: pl.DataType, values: list[Any]
) -> None:
    lines = "".join(f'{number},"{text}"\n' for number, text in enumerate(texts))
    frame = read(tmp_path, f"n,it\n{lines}")
    assert (frame["it"].dtype, frame["it"].to_list()) == (dtype, values)
    assert frame["n"].to_list() == list(range(len(texts)))


def test_one_code_far_down_keeps_a_column_text(tmp_path: Path) -> None:
    texts = [*map(str, range(1, 5_000)), "007"]
    assert read(tmp_path, "id,n\n" + "".join(f"{t},1\n" for t in texts))["id"].to_list() == texts


# Not among them: what is a number, a day or a yes, for which the column would have its type.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1, max_size=12
).filter(lambda text: not any(ch.isdigit() for ch in text) and text.lower() not in TRUTHS)
TRUTHS = ("true", "false")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=20), st.sampled_from(",;\t|"))
def test_every_text_of_a_csv_is_kept(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("a", "b"))
    writer.writerows(rows)
    frame = read(tmp_path_factory.getbasetemp(), text.getvalue(), "kept.csv")
    assert frame.rows() == rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_usual_spelling_of_csv(tmp_path: Path, delimiter: str, ending: str) -> None:
    rows = ["id|a name", '1|"x|""y"""', "2|ü"]
    text = ending.join(row.replace("|", delimiter) for row in rows) + ending
    frame = read(tmp_path, "\ufeff" + text, "b[1].csv")
    assert frame.to_dict(as_series=False) == {"id": [1, 2], "a name": [f'x{delimiter}"y"', "ü"]}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "has no header"),
        ("a.csv", b"a,b\n1,2\n3\n", "Line: 3 Expected Number of Columns: 2 Found: 1"),
        ("a.csv", b"a,b\n1,2\nsecret,4,5\n", "Line: 3 Expected Number of Columns: 2 Found: 3"),
        ("a.csv", b'a,b\n1,"secret\n', "Line: 2 Value with unterminated quote"),
        ("a.csv", b"a,A\n1,2\n", "has the column 'A' twice"),
        ("a.csv", "a,b\nü,1\n".encode("latin-1"), "is not UTF-8 text"),
        ("a.csv", b"a,b\n" + b"1,2\n" * 20_000 + b"secret\xff,1\n", "Line: 20002 Invalid unicode"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
        ("a.jsonl", b'{"a": 1}\n{"a": }\n', "a.jsonl, line 2: Expecting value"),
        ("a.json", b'[{"a": 1}]\n', "a.json, line 1 is no object"),
        ("a.ndjson", b'{"a": "\xff"}\n', "a.ndjson, line 1: 'utf-8' codec"),
        ("a.json", b'{"a": true}\n{"a": 1}\n', "a.json cannot be read"),
        ("a.parquet", b"a,b\n", "a.parquet cannot be read"),
        ("a.xlsx", b"a,b\n", "is not an Excel workbook"),
        ("a.txt", b"a,b\n", "Known kinds: .parquet, .csv"),
        ("none", b"a,b\n", "not of a kind"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_its_values(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    said = refused(path)
    assert says in said
    assert name in said
    assert "secret" not in said


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "x.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "is a directory" in refused(tmp_path / "folder.csv")


FRAME = pl.DataFrame({
    "number": [17734072, None, 2],
    "cusip": ["037833100", None, "é \"x\", 'y'"],
    "price": pl.Series([Decimal("99.10"), None, Decimal("-1.25")], dtype=pl.Decimal(12, 2)),
    "day": [dt.date(2026, 1, 31), None, dt.date(1999, 12, 31)],
    "at": [dt.datetime(2026, 1, 31, 10, 5), None, dt.datetime(1999, 12, 31)],
    "good": [True, None, False],
})  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl", ".xlsx"])
def test_what_an_extract_wrote_is_read_as_it_was(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"extract{suffix}"
    write(iter([FRAME]), path, progress=False)
    # JSON and Excel have one kind of fraction, and Excel one of moment.
    rough = {"price": pl.Float64} if suffix in (".jsonl", ".xlsx") else {}
    days = {"day": pl.Datetime("us")} if suffix == ".xlsx" else {}
    found = read_file(path)
    assert found.cast({"price": pl.Decimal(12, 2)}).equals(FRAME.cast(days))
    assert found.schema == FRAME.cast({"price": found.schema["price"], **rough, **days}).schema


def test_the_first_sheet_with_its_header_below_titles(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["Prices of the day"], [], ["id", "code", None], [1, "007", 2.5], [2, 8, None]):
        sheet.append(row)
    book.save(tmp_path / "book.xlsx")
    frame = read_file(tmp_path / "book.xlsx")
    assert frame.to_dict(as_series=False) == {
        "id": [1, 2], "code": ["007", "8"], "column 3": [2.5, None]
    }  # fmt: skip


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "day=2026-01-31"
    folder.mkdir()
    FRAME.write_parquet(folder / "a*.parquet")
    assert read_file(folder / "a*.parquet").equals(FRAME)
