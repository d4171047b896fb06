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
import sqlalchemy as sa
import xlsxwriter

from workbench import engines, run_colors
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
        ([HEADER, ROW, "1,ABC,1,2,30-FEB-2026"], "column DATE holds '30-FEB-2026' in row 2"),
        ([HEADER, "1,ABC,1,2,09-JAN-2026 25:00"], "column DATE holds '09-JAN-2026 25:00'"),
        ([HEADER, "1,ABC,1,2,9-Jab-26"], "column DATE holds '9-Jab-26' in row 1"),
        *(
            ([HEADER, ROW, f"1,ABC,1,2,{day}"], f"column DATE holds '{day}' in row 2")
            for day in ("0000-01-01", "01-JAN-0000", "13/01/0000", "2026-01-31 24:00:00",
                        "2026-01-31T24:00", "31-JAN-2026 24:00", "2026-01-31 23:59:60")
        ),
        ([HEADER, "1,ABC,1,2,2026-02-30"], "column DATE holds '2026-02-30' in row 1"),
        ([HEADER, "1,ABC,1,2,02/30/2026"], "column DATE holds '02/30/2026' in row 1"),
        ([HEADER, "1,ABC,1,2,13/13/2026"], "column DATE holds '13/13/2026' in row 1"),
        ([HEADER, "1,ABC,1,2,01/31/26"], "column DATE holds '01/31/26' in row 1"),
        ([HEADER, "1,ABC,1,2,20260230"], "column DATE holds '20260230' in row 1"),
        ([HEADER, "1,ABC,1,2,19999"], "column DATE holds '19999' in row 1"),
        ([HEADER, "1,ABC,1,2,80001"], "column DATE holds '80001' in row 1"),
        ([HEADER, "1,ABC,1,2,-46031"], "column DATE holds '-46031' in row 1"),
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


def written(path: Path, *dates: object) -> Path:
    """Write a CSV of one color for each date, in that order of MESSAGE_ID."""
    rows = [f"{number},ABC,100,3,{day}" for number, day in enumerate(dates, start=1)]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def read_dates(data: object, column: str = "DATE") -> list[dt.datetime | None]:
    return run_colors(data).colors.sort("MESSAGE_ID")[column].to_list()


def notes(path: Path) -> dict[str, tuple[int, str]]:
    return {note: (rows, shown) for note, rows, shown, _ in engines.from_file(path).notes}


def test_dates_written_in_many_ways_are_the_days_they_mean(tmp_path: Path) -> None:
    days = [dt.datetime(2026, 1, 9) - dt.timedelta(days=n * 997) for n in range(8)]
    moment = dt.datetime(2026, 1, 9, 14, 5, 7)
    path = written(
        tmp_path / "feed.csv",
        days[0].strftime("%d-%b-%Y").upper(),
        f"{days[1].day}-{days[1]:%b-%y}",
        days[2].strftime("%Y%m%d"),
        days[3].isoformat(),
        days[4].date(),
        days[5].strftime(" %d-%b-%Y "),
        days[6].strftime("%d/%m/%Y"),
        days[7].strftime("%d/%m/%Y"),
        moment.strftime("%d-%b-%Y %H:%M:%S"),
        f"31/12/2025 {moment:%H:%M}",
        "",
    )
    assert read_dates(path) == [
        *days, moment, dt.datetime(2025, 12, 31, 14, 5), None,
    ]  # fmt: skip
    assert {name: rows for name, (rows, _) in notes(path).items()} == {
        "Dates with slashes": 3, "Dates with names of months": 3, "Dates with two-digit years": 1,
        "Dates as eight digits": 1,
    }  # fmt: skip


def test_every_other_year_of_the_calendar_is_read(tmp_path: Path) -> None:
    days = [dt.datetime(year, 1, 13) for year in (1, 10, 26, 100, 300, 1000, 1905, 2000, 9999)]
    for form in ("{0:%d/%m}/{0.year:04}", "{0:%d-%b}-{0.year:04}", "{0.year:04}-{0:%m-%d}"):
        path = written(tmp_path / "feed.csv", *map(form.format, days))
        assert read_dates(path) == days


def test_two_digit_years_are_those_of_oracle(tmp_path: Path) -> None:
    years = {"00": 2000, "26": 2026, "49": 2049, "50": 1950, "99": 1999}
    path = written(tmp_path / "feed.csv", *(f"09-JAN-{year}" for year in years))
    assert read_dates(path) == [dt.datetime(year, 1, 9) for year in years.values()]
    assert "Oracle" in engines.from_file(path).notes[0][3]
    ((finding, _, _, meaning),) = engines.from_file(written(path, "01-JAN-2026")).notes
    assert (finding, meaning) == ("Dates with names of months", "in DATE: day, month and year")


@pytest.mark.parametrize(("form", "shown"), [("%d/%m/%Y", "day"), ("%m/%d/%Y", "month")])
def test_one_date_with_slashes_tells_how_all_of_a_file_are_meant(
    tmp_path: Path, form: str, shown: str
) -> None:
    days = [dt.datetime(2026, 1, n) for n in range(1, 13)]
    lines = [f"{n},ABC,100,3,{day:{form}}," for n, day in enumerate(days)]
    decides = dt.datetime(2026, 1, 31)
    # The other column decides, and rows that others contradict nothing of.
    lines.append(f"99,ABC,100,3,,{decides.strftime(form)}")
    path = tmp_path / "feed.csv"
    path.write_text("\n".join([HEADER + ",DATE_1", *lines]))
    assert read_dates(path) == [*days, None]
    assert read_dates(path, "DATE_1")[-1] == decides
    for _, rows, example, meaning in engines.from_file(path).notes:
        assert f"{shown} first" in meaning
        text, value = example.split(" \N{RIGHTWARDS ARROW} ")
        assert dt.datetime.strptime(text, form) == dt.datetime.fromisoformat(value)
        assert rows == (12 if "DATE:" in meaning else 1)


def test_slashes_that_could_mean_two_days_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    message = refused(written(path, "05/05/2026", "2026-01-31", "01/02/2026", "02/01/2026"))
    assert "feed.csv: column DATE holds '01/02/2026' in row 3" in message
    assert "day or its month comes first (2 such rows)" in message
    assert "2026-01-31" in message
    message = refused(written(path, "05/05/2026", "01/31/2026", "02/01/2026", "28/02/2026"))
    assert "'28/02/2026' in row 4, with the day first" in message
    assert "'01/31/2026' in row 2, with the month first" in message
    # The same day either way, of which the note tells.
    assert read_dates(written(path, "05/05/2026")) == [dt.datetime(2026, 5, 5)]
    ((finding, _, _, meaning),) = engines.from_file(path).notes
    assert (finding, meaning) == (
        "Dates with slashes",
        "in DATE: day and month are the same number",
    )


def excel(path: Path, *cells: object) -> Path:
    """Write DATE cells with xlsxwriter; a tuple is a moment shown as the number it is stored as."""
    with xlsxwriter.Workbook(str(path)) as book:
        page = book.add_worksheet()
        page.write_row(0, 0, HEADER.split(","))
        shown = book.add_format({"num_format": "yyyy-mm-dd"})
        for y, cell in enumerate(cells, start=1):
            page.write_row(y, 0, [y, "ABC", 100, 3])
            if isinstance(cell, tuple):
                page.write_datetime(y, 4, *cell)
            elif isinstance(cell, dt.datetime):
                page.write_datetime(y, 4, cell, shown)
            else:
                page.write(y, 4, cell)
    return path


def test_serials_are_the_days_that_excel_means(tmp_path: Path) -> None:
    moments = [dt.datetime(2026, 1, 9), dt.datetime(1954, 10, 3), dt.datetime(2119, 1, 10)]
    moments += [dt.datetime(2026, 1, 9, 23, 59, 59), dt.datetime(2024, 2, 29, 13, 7, 1)]
    path = excel(tmp_path / "feed.xlsx", *((moment,) for moment in moments))
    assert read_dates(path) == moments
    rows, example = notes(path)["Dates as Excel serials"]
    assert (rows, example) == (5, "20000 \N{RIGHTWARDS ARROW} 1954-10-03")
    sheet = feeds.read_xlsx(path)
    assert sheet["DATE"].dtype == pl.Float64
    sheet.write_csv(tmp_path / "feed.csv")
    sheet.write_parquet(tmp_path / "feed.parquet")
    for data in (sheet, tmp_path / "feed.csv", tmp_path / "feed.parquet"):
        assert read_dates(data) == moments


def test_numbers_among_the_dates_of_a_sheet(tmp_path: Path) -> None:
    days = [dt.datetime(2026, 1, 9), dt.datetime(2026, 1, 8), dt.datetime(2026, 1, 7)]
    path = excel(tmp_path / "feed.xlsx", days[0], (days[1],), 20260107, None)
    assert read_dates(path) == [*days, None]
    assert notes(path).keys() == {"Dates as Excel serials", "Dates as eight digits"}
    assert "holds '46031' in row" not in refused(excel(path, days[0], 4603.5))


@pytest.mark.parametrize("dtype", [pl.Int32, pl.Int64, pl.UInt64, pl.Float64, pl.Decimal(20, 4)])
def test_whole_numbers_of_any_type_are_days(tmp_path: Path, dtype: pl.DataType) -> None:
    frame = feeds.frame(feeds.feed(3)).with_columns(
        pl.Series("DATE", [20260131, 46031, None]).cast(dtype)
    )
    found = {day for day in read_dates(frame) if day}
    assert found == {dt.datetime(2026, 1, 31), dt.datetime(1899, 12, 30) + dt.timedelta(46031)}
    assert "column DATE holds" in refused(frame.with_columns(pl.lit(12).cast(dtype).alias("DATE")))


def test_nan_is_missing_and_said_so_and_infinity_is_refused(tmp_path: Path) -> None:
    frame = feeds.frame(feeds.feed(4)).with_columns(
        pl.Series("PX", [float("nan"), 101.5, None, float("nan")])
    )
    path = tmp_path / "feed.parquet"
    frame.write_parquet(path)
    assert run_colors(path).colors["PX"].null_count() == 3
    assert notes(path) == {"NaN in a column of numbers": (2, "PX")}
    for value in (float("inf"), float("-inf"), 1e18):
        bad = frame.with_columns(pl.Series("PX", [1.0, 2.0, value, float("nan")]))
        bad.write_parquet(path)  # without nulls, and saying so
        for data in (bad, path):
            assert "column PX holds" in refused(data)
            assert "in row 3" in refused(data)


def test_nan_in_a_file_without_nulls_is_missing_to_conditions_too(tmp_path: Path) -> None:
    prices = pl.Series("PX", [100.0, 101.0, float("nan"), 99.0])
    frame = feeds.frame(feeds.feed(4)).with_columns(prices, COV_PRICE=pl.lit(float("nan")))
    frame.with_columns(CUSIP=pl.lit("ABC"), RANK=pl.lit(3)).write_parquet(tmp_path / "feed.parquet")
    opened = engines.from_file(tmp_path / "feed.parquet")
    px = opened.relation.c["PX"]
    for condition, rows in ((px.is_(None), 1), (px.is_not(None), 3), (px > 0, 3)):
        assert opened.execute(sa.select(px).where(condition)).height == rows
    assert run_colors(tmp_path / "feed.parquet").colors["COV_PRICE"].null_count() == 4


def test_ids_kept_as_floats_are_noted_and_those_of_excel_read_as_written(tmp_path: Path) -> None:
    ids = [43768923456789123, 43768923456789127, 17679633591029711]
    frame = feeds.frame(feeds.feed(3)).with_columns(pl.Series("MESSAGE_ID", ids))
    frame.with_columns(pl.col("MESSAGE_ID").cast(pl.Float64)).write_parquet(tmp_path / "f.parquet")
    assert notes(tmp_path / "f.parquet") == {"Whole numbers kept as floats": (3, "MESSAGE_ID")}
    frame.write_excel(tmp_path / "feed.xlsx")
    saved = [int(f"{n:.15e}".replace(".", "").split("e")[0]) * 10 for n in ids]
    found = run_colors(tmp_path / "feed.xlsx").colors["MESSAGE_ID"]
    assert sorted(found) == sorted(saved)


@pytest.mark.parametrize("column", [pl.Int128, pl.Decimal(38, 0), pl.UInt64])
def test_whole_numbers_that_no_id_or_price_can_be(tmp_path: Path, column: pl.DataType) -> None:
    frame = feeds.frame(feeds.feed(2))
    for name, value in (("MESSAGE_ID", 2**63), ("PX", 10**18)):
        odd = frame.with_columns(pl.Series(name, [7, value], pl.Int128).cast(column))
        assert f"column {name} holds '{value}' in row 2" in refused(odd)
        if column != pl.Int128:
            odd.write_parquet(tmp_path / "feed.parquet")
            assert f"column {name} holds '{value}' in row 2" in refused(tmp_path / "feed.parquet")
        largest = frame.with_columns(pl.Series(name, [7, value - 1], pl.Int128).cast(column))
        assert set(run_colors(largest).colors[name].to_list()) == {7, value - 1}


@pytest.mark.parametrize(
    "dtype", [pl.Date, pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("ns")]
)
@pytest.mark.parametrize("form", ["frame", "parquet"])
def test_days_that_no_calendar_has(tmp_path: Path, dtype: pl.DataType, form: str) -> None:
    days = pl.Series([20_000, 2**31 - 1], dtype=pl.Int32).cast(pl.Date)
    if dtype != pl.Date:
        days = pl.Series([0, 2**63 - 1 if dtype.time_unit != "ms" else 2**61]).cast(dtype)
    if dtype == pl.Datetime("ns"):
        days = days - dt.timedelta(days=1)  # DuckDB's infinity
    data = frame = feeds.frame(feeds.feed(2)).with_columns(days.alias("DATE_1"))
    if form == "parquet":
        data = tmp_path / "feed.parquet"
        frame.write_parquet(data)
    if dtype == pl.Datetime("ns"):
        assert dt.datetime(2262, 4, 10, 23, 47, 16, 854775) in read_dates(data, "DATE_1")
        return
    message = refused(data)
    assert "DATE_1" in message or "cannot be read" in message


def test_no_rows_are_an_empty_ranking_whatever_holds_them(tmp_path: Path) -> None:
    frame = feeds.frame(feeds.feed(3)).clear()
    texts = frame.cast(pl.String)
    feeds.write_csv([], tmp_path / "feed.csv")
    feeds.write_xlsx([], tmp_path / "feed.xlsx")
    feeds.write_parquet([], tmp_path / "feed.parquet")
    for data in (frame, texts, *(tmp_path / f"feed.{kind}" for kind in ("csv", "xlsx", "parquet"))):
        ranked = run_colors(data)
        assert (ranked.colors.shape, ranked.parents.height) == ((0, 22), 0)
        assert repr(ranked).startswith("0 colors were read from")


def test_columns_that_lack_are_named_whatever_lacks_them(tmp_path: Path) -> None:
    frame = feeds.frame(feeds.feed(3)).drop("PX", "DATE", "DATE_1")
    frame.write_parquet(tmp_path / "feed.parquet")
    frame.write_csv(tmp_path / "feed.csv")
    frame.write_excel(tmp_path / "feed.xlsx")
    for data in (frame, *(tmp_path / f"feed.{kind}" for kind in ("csv", "xlsx", "parquet"))):
        assert "lacks the columns PX, DATE_1 or DATE" in refused(data)


def test_categories_are_ordered_as_the_text_they_are() -> None:
    frame = feeds.frame([feeds.feed(1)[0]] * 3)
    found = []
    for values in (["b", "a", "c"], ["c", "b", "a"]):
        order = pl.Series("NOTE", values, dtype=pl.Enum(values))
        found.append(run_colors(frame.with_columns(order)).colors["NOTE"].to_list())
    assert found == [["a", "b", "c"]] * 2


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


def test_durations_are_kept_as_text(tmp_path: Path) -> None:
    age = dt.timedelta(days=1, seconds=3)
    frame = feeds.frame(feeds.feed(1)).with_columns(
        pl.lit(age).alias("age"), pl.Series("ages", [[age]]), pl.lit(None, pl.Duration).alias("no")
    )
    for data in (frame, [frame, frame]):
        row = run_colors(data).colors.row(0, named=True)
        assert (row["age"], row["ages"], row["no"]) == ("24:00:03", "['24:00:03']", None)


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
