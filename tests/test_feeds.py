"""A feed that cannot be read is refused in one sentence that names the input."""

from __future__ import annotations

import datetime as dt
import zipfile
from decimal import Decimal
from pathlib import Path

import feeds
import openpyxl
import polars as pl
import pytest

from workbench import run_colors
from workbench.errors import DataError, QueryError, UsageError

HEADER = "MESSAGE_ID,CUSIP,PX,RANK,DATE"
ROW = "1,ABC,101.5,3,2026-01-09"


def refused(data: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        run_colors(data, **options)
    assert "\n" not in caught.value.message
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([HEADER, "1,ABC,about par,3,2026-01-09"], r"column PX holds 'about par' in row 1"),
        ([HEADER, ROW, "2,ABC,1,3,09.01.2026"], "column DATE holds '09.01.2026' in row 2"),
        ([HEADER, "1.5,ABC,1,3,2026-01-09"], "column MESSAGE_ID holds '1.5' in row 1"),
        ([HEADER, "1,ABC,1,2.5,2026-01-09"], "column RANK holds '2.5' in row 1"),
        ([HEADER, "1,ABC,1e40,2,2026-01-09"], "column PX holds '1e40'"),
        ([HEADER, "1,ABC,inf,2,2026-01-09"], "column PX holds 'inf'"),
        ([HEADER, "1,ABC,1_000,2,2026-01-09"], "column PX holds '1_000'"),
        ([HEADER, "1,ABC,1,2,2026-01-09 10:00:00+05:00"], "column DATE holds '2026-01-09 10:"),
        ([HEADER, "1,ABC,1,2,infinity"], "column DATE holds 'infinity'"),
        ([HEADER + ",NOTE,note", ROW + ",1,2"], "the column 'note' twice"),
        ([HEADER, "1,ABC,1,3"], "CSV Error on Line: 2"),
        ([HEADER + ",PX", ROW + ",1"], "column PX twice"),
        ([HEADER + ",px", ROW + ",1"], "column PX twice: 'PX' and 'px'"),
        ([HEADER + ",IS_PARENT", ROW + ",1"], "already has the column 'IS_PARENT'"),
        (["CUSIP,PRICE", "ABC,1"], "lacks the columns MESSAGE_ID, PX, RANK or BIAS, DATE_1"),
        (["", ""], "has no header"),
    ],
)  # fmt: skip
def test_a_csv_that_cannot_be_ranked(tmp_path: Path, lines: list[str], says: str) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("\n".join(lines) + "\n")
    message = refused(path)
    assert says in message
    assert "feed.csv" in message


def test_every_spelling_of_csv_is_read(tmp_path: Path) -> None:
    spellings = {
        "plain": f"{HEADER}\n{ROW}\n".encode(),
        "bom": f"\N{BYTE ORDER MARK}{HEADER}\n{ROW}\n".encode(),
        "crlf": f"{HEADER}\r\n{ROW}\r\n".encode(),
        "semicolon": f"{HEADER}\n{ROW}\n".replace(",", ";").encode(),
        "tab": f"{HEADER}\n{ROW}\n".replace(",", "\t").encode(),
        "no final line feed": f"{HEADER}\n{ROW}".encode(),
        "quoted": f'"{HEADER}"\n"{ROW}"\n'.replace(",", '","').encode(),
        "blanks around": f"{HEADER}\n{ROW}\n".replace(",", " , ").encode(),
    }
    for name, content in spellings.items():
        path = tmp_path / f"{name}.csv"
        path.write_bytes(content)
        row = run_colors(path).colors.to_dicts()[0]
        assert (row["MESSAGE_ID"], row["CUSIP"], row["PX"], row["DATE"]) == (
            1, "ABC", Decimal("101.5"), dt.datetime(2026, 1, 9),
        ), name  # fmt: skip


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(f"{HEADER}\n1,AB\xfc,1,3,2026-01-09\n".encode("latin-1"))
    assert "not UTF-8" in refused(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "xlsx"])
def test_an_empty_missing_or_foreign_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"feed.{suffix}"
    assert "does not exist" in refused(path)
    path.touch()
    assert "is empty" in refused(path)
    path.write_bytes(b"\x00\xff not what the suffix says")
    assert "feed" in refused(path)
    path.unlink()
    path.mkdir()
    assert "is a directory" in refused(path)


def test_a_workbook_that_is_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "feed.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "is not an Excel workbook" in refused(path)


def test_a_sheet_without_the_needed_columns_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "feed.xlsx"
    pl.DataFrame({"CUSIP": ["ABC"], "PRICE": [1.0]}).write_excel(path)
    message = refused(path)
    assert "lacks the columns MESSAGE_ID, PX" in message
    assert "Found there: CUSIP, PRICE" in message


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "feed.docx"
    path.write_text("x")
    assert "not of a kind that can be read" in refused(path)
    assert "cannot be read as a table" in refused(object())


def test_a_feed_without_rows_ranks_to_nothing(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(HEADER + "\n")
    ranked = run_colors(path)
    assert (ranked.read, ranked.parents.height) == (0, 0)
    assert ranked.colors.width == 22


def test_floats_of_pandas_are_read_as_what_they_mean() -> None:
    frame = pl.DataFrame(
        {
            "MESSAGE_ID": [1.767963359102971e16, float("nan")],
            "CUSIP": [912828.0, None],
            "PX": [101.39507, float("nan")],
            "RANK": [3.0, None],
            "DATE": [dt.date(2026, 1, 9)] * 2,
            "COV_PRICE": [None, None],
        }
    )
    row = run_colors(frame).colors.to_dicts()[0]
    assert row["MESSAGE_ID"] == 17679633591029710
    assert row["CUSIP"] == "912828"
    assert row["PX"] == Decimal("101.39507")
    assert row["COV_PRICE"] is None


def test_names_and_values_with_quotes_are_data() -> None:
    rows = feeds.feed(30)
    frame = feeds.frame(rows).with_columns(
        pl.lit("'; DROP TABLE x; --").alias('a "quoted" name; --'), pl.lit("%s :x").alias("%(p)s")
    )
    ranked = run_colors(frame)
    assert ranked.colors["%(p)s"].unique().to_list() == ["%s :x"]
    assert ranked.colors['a "quoted" name; --'].n_unique() == 1


def test_three_hundred_columns() -> None:
    frame = feeds.frame(feeds.feed(20)).with_columns(
        *(pl.lit(n).alias(f"extra {n}") for n in range(300))
    )
    assert run_colors(frame, deduplicate=True).colors.width == 18 + 300 + 4


def test_an_unknown_sector_lists_those_there_are() -> None:
    message = refused(feeds.frame(feeds.feed(50)), sector="x' OR '1'='1")
    assert "No color of the data frame is in the sector" in message
    assert "MM-CLO" in message


@pytest.mark.parametrize("order", [[], ["rank"] * 2, ["rank sideways"], ["price; DROP TABLE x"]])
def test_a_wrong_order(order: list[str]) -> None:
    with pytest.raises(UsageError, match="order"):
        run_colors(feeds.frame(feeds.feed(5)), order=order)


def test_a_table_needs_a_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a source"):
        run_colors("marketpulse.colors")
    path = tmp_path / "two.sql"
    path.write_text("SELECT 1; DROP TABLE x")
    with pytest.raises(QueryError, match="more than one statement"):
        run_colors(path, source="demo")
    path.write_text("DELETE FROM marketpulse.colors")
    with pytest.raises(QueryError, match="Only SELECT"):
        run_colors(path, source="demo")


def test_a_name_is_no_pattern_and_a_folder_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "date=2020-05-05"
    folder.mkdir()
    for number, name in enumerate(("b1", "b[1]", "b*"), start=1):
        rows = [{**feeds.feed(1)[0], "MESSAGE_ID": number}]
        feeds.write_csv(rows, folder / f"{name}.csv")
        feeds.write_parquet(rows, folder / f"{name}.parquet")
    for number, name in enumerate(("b1", "b[1]", "b*"), start=1):
        for suffix in ("csv", "parquet"):
            row = run_colors(folder / f"{name}.{suffix}").colors.to_dicts()
            assert [r["MESSAGE_ID"] for r in row] == [number]
            assert row[0]["DATE"].year > 2020


def sheet(path: Path, *rows: list[object], above: int = 0, title: str = "Sheet") -> Path:
    book = openpyxl.Workbook()
    page = book.active
    page.title = title
    for _ in range(above):
        page.append(["Colors of the day"])
    for row in [HEADER.split(","), *rows]:
        page.append(row)
    book.save(path)
    return path


GOOD = [1, "ABC", 101.5, 3, dt.datetime(2026, 1, 9)]


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [(2, "n/a", "column PX holds 'n/a' in row 1501"),
     (2, "#N/A", "column PX holds '#N/A' in row 1501"),
     (3, "junk", "column RANK holds 'junk' in row 1501"),
     (4, "soon", "column DATE holds 'soon' in row 1501")],
)  # fmt: skip
def test_a_cell_that_is_not_what_its_column_holds_is_found_however_far_down(
    tmp_path: Path, column: int, cell: str, says: str
) -> None:
    bad = [*GOOD]
    bad[column] = cell
    assert says in refused(sheet(tmp_path / "feed.xlsx", *[GOOD] * 1500, bad))


def test_mixed_cells_keep_every_digit(tmp_path: Path) -> None:
    rows = [[17679633591029710, 912828, *GOOD[2:]], ["17734072432755617", "38141GXZ2", *GOOD[2:]]]
    ranked = run_colors(sheet(tmp_path / "feed.xlsx", *rows, above=3)).colors
    found = dict(zip(ranked["MESSAGE_ID"], ranked["CUSIP"], strict=True))
    assert found == {17679633591029710: "912828", 17734072432755617: "38141GXZ2"}


def test_the_sheet_with_the_feed_is_found(tmp_path: Path) -> None:
    path = sheet(tmp_path / "feed.xlsx", GOOD, title="Feed")
    book = openpyxl.load_workbook(path)
    book.create_sheet("Cover", 0).append(["Prepared by the desk"])
    book.save(path)
    assert run_colors(path).colors.height == 1


@pytest.mark.parametrize("suffix", ["xlsx", "parquet", "frame"])
def test_a_column_that_is_there_twice(tmp_path: Path, suffix: str) -> None:
    frame = feeds.frame(feeds.feed(3)).with_columns(pl.lit("x").alias("cusip"))
    if suffix == "frame":
        assert "twice" in refused(frame)
        return
    path = tmp_path / f"feed.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    else:
        book = openpyxl.Workbook()
        book.active.append([*HEADER.split(","), "PX"])
        book.save(path)
    assert "twice" in refused(path)


def test_other_columns_of_any_type_are_kept() -> None:
    frame = feeds.frame(feeds.feed(3)).with_columns(
        pl.lit(2**100, dtype=pl.Int128).alias("big"),
        pl.lit(b"x").alias("bytes"),
        pl.Series("tags", [["a"], ["b"], ["c"]]),
        pl.lit("p").cast(pl.Categorical).alias("category"),
        pl.lit(dt.time(1, 2)).alias("time"),
        pl.lit(dt.datetime(2026, 1, 9, tzinfo=dt.UTC)).alias("moment"),
    )
    assert run_colors(frame).colors["big"].to_list() == [2**100] * 3


def test_moments_of_every_precision_and_zone() -> None:
    frame = feeds.frame(feeds.feed(1))
    for dtype in (pl.Date, pl.Datetime("ns"), pl.Datetime("ms"), pl.Datetime("ns", "UTC")):
        day = pl.lit(dt.datetime(2026, 1, 9)).cast(dtype).alias("DATE")
        found = run_colors(frame.with_columns(day)).colors["DATE"].to_list()
        assert found == [dt.datetime(2026, 1, 9)]


@pytest.mark.parametrize("options", [{"deduplicate": "false"}, {"sector": 2.0}, {"order": "rank"}])
def test_values_of_the_wrong_type_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        run_colors(feeds.frame(feeds.feed(3)), **options)
