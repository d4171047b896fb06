"""Tables are exact and escaped; files hold every row, exactly, and appear whole."""

from __future__ import annotations

import datetime as dt
import html
import html.parser
import re
from decimal import Context, Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from feeds import feed
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import details, save, table
from workbench.cells import plain
from workbench.errors import DataError, UsageError
from workbench.partitions import stems
from workbench.reporting.sanitise import Outline, sanitise

FRAME = pl.DataFrame(
    {
        "MESSAGE_ID": [17679633591029711, None],
        "PX": [Decimal("101.3950700000"), Decimal("100.0000000000")],
        "N": [12345, -1],
        "T": ["<script>alert(1)</script>", '=HYPERLINK("http://x")'],
        "DAY": [dt.datetime(2026, 1, 9), None],
        "MOMENT": [dt.datetime(2026, 1, 9, 10, 30), dt.datetime(2026, 1, 9)],
        "FLAG": [True, False],
    },
    schema_overrides={"PX": pl.Decimal(28, 10)},
)


class Cells(html.parser.HTMLParser):
    """Collects the text of every table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def test_a_table_shows_values_exactly_and_inert() -> None:
    cells = Cells(table(FRAME, "All of it")._repr_html_()).cells
    assert cells[0] == "All of it"
    first, second = cells[8:15], cells[15:22]
    assert first == ["17679633591029711", "101.39507", "12,345", "<script>alert(1)</script>",
                     "2026-01-09", "2026-01-09 10:30:00", "yes"]  # fmt: skip
    assert second[:3] == ["–", "100", "−1"]


def test_a_long_table_is_cut_and_says_where_the_rest_is() -> None:
    shown = table(pl.DataFrame({"n": range(1507)}), "Long", rows=50, rest="data/n.csv")
    cells = Cells(shown._repr_html_()).cells
    assert cells[-1] == "The first 50 of 1,507 rows; all of them are in data/n.csv."
    assert len(cells) == 1 + 1 + 50 + 1
    assert repr(shown) == "Long (1,507 rows)"


def test_columns_are_picked_and_named() -> None:
    cells = Cells(table(FRAME, "Some", columns={"N": "Count", "PX": "Price"})._repr_html_()).cells
    assert cells == ["Some", "Count", "Price", "12,345", "101.39507", "−1", "100"]


def test_an_empty_table_is_still_a_table() -> None:
    cells = Cells(table(FRAME.head(0), "None")._repr_html_()).cells
    assert (cells[0], cells[-1]) == ("None", "No rows.")


def test_instead_of_an_empty_table_a_sentence_may_stand(project: Path) -> None:
    frame = pl.DataFrame({"a": [1]})
    for shown in (
        table(frame.clear(), "Movers", empty="<b>Nobody</b> moved."),
        details(frame.clear(), "Movers", by="a", empty="<b>Nobody</b> moved."),
    ):
        assert shown._repr_html_() == "<p>&lt;b&gt;Nobody&lt;/b&gt; moved.</p>"
        assert repr(shown) == "<b>Nobody</b> moved."
    assert "<table" in table(frame, "Movers", empty="Nobody moved.")._repr_html_()
    assert "by a: no files" in save(frame.clear(), "colors", ["csv"], by="a")._repr_html_()


def test_the_same_table_is_the_same_html() -> None:
    assert table(FRAME, "Same").html == table(FRAME, "Same").html


def test_saved_files_hold_every_digit(project: Path) -> None:
    shown = save(FRAME, "colors")
    assert sorted(path.name for path in (project / "data").iterdir()) == [
        "colors.csv", "colors.parquet", "colors.xlsx",
    ]  # fmt: skip
    assert pl.read_parquet(project / "data/colors.parquet").equals(FRAME)
    assert (project / "data/colors.csv").read_text().splitlines()[1:] == [
        "17679633591029711,101.39507,12345,<script>alert(1)</script>,2026-01-09,"
        "2026-01-09 10:30:00,true",
        ',100,-1,"=HYPERLINK(""http://x"")",,2026-01-09 00:00:00,false',
    ]
    book = openpyxl.load_workbook(project / "data/colors.xlsx")
    rows = list(book.active.iter_rows(values_only=True))
    assert rows[1][:5] == (
        "17679633591029711", 101.39507, 12345, "<script>alert(1)</script>", dt.datetime(2026, 1, 9),
    )  # fmt: skip
    assert book.active["D3"].data_type == "s"
    assert book.active.freeze_panes == "A2"
    assert 'href="data/colors.csv"' in shown._repr_html_()


def test_columns_of_any_type_are_saved(project: Path) -> None:
    frame = pl.DataFrame(
        {
            "list": [[1, 2]],
            "bytes": [b"\x00\xff"],
            "span": [dt.timedelta(seconds=90)],
            "moment": [dt.datetime(2026, 1, 9, 10, tzinfo=dt.UTC)],
            "message_id": [Decimal("17734072432755617")],
        }
    )
    save(frame, "odd")
    row = openpyxl.load_workbook(project / "data/odd.xlsx").active[2]
    assert [cell.value for cell in row] == [
        "[1, 2]", "00ff", "0:01:30", "2026-01-09 10:00:00+00:00", "17734072432755617",
    ]  # fmt: skip
    assert pl.read_parquet(project / "data/odd.parquet").equals(frame)


def test_what_excel_would_lose_is_refused(project: Path) -> None:
    with pytest.raises(DataError, match="Excel"):
        save(pl.DataFrame({"a": ["x" * 32_768]}), "x", formats=["xlsx"])
    assert not list((project / "data").iterdir())


@given(st.integers(-(10**30), 10**30), st.integers(0, 8))
def test_a_number_is_written_in_full_and_without_needless_zeros(digits: int, scale: int) -> None:
    number = Decimal(digits).scaleb(-scale, Context(prec=60))
    text = plain(pl.Series([number], dtype=pl.Decimal(38, scale)))[0]
    assert Decimal(text) == number
    assert "." not in text or text[-1] != "0"
    whole = digits % 10**18
    assert plain(pl.Series([whole]))[0] == str(whole)


def test_excel_takes_a_text_for_a_text(project: Path) -> None:
    rich = "<r><t>not</t> a <b>format</b></r>"
    save(pl.DataFrame({"a": [rich], "A": ["=1+1"]}), "x", formats=["xlsx"])
    row = openpyxl.load_workbook(project / "data/x.xlsx").active[2]
    assert [(cell.data_type, cell.value) for cell in row] == [("s", rich), ("s", "=1+1")]


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="zz"):
        table(FRAME, "x", columns=["zz"])


def test_small_numbers_and_unknown_flags_are_not_hidden() -> None:
    frame = pl.DataFrame({"tiny": [1e-9, 0.0], "flag": [None, False]})
    assert Cells(table(frame, "x").html).cells[-4:] == ["1e-9", "–", "0.0", ""]


def test_large_money_is_written_as_small_money_is() -> None:
    amounts = [Decimal("1234.50"), Decimal("-123456789"), None, Decimal("999999999999.05")]
    rates = [Decimal("-1234567890.000000010"), Decimal("0E-9"), Decimal("2.5"), None]
    frame = pl.DataFrame(
        {"of": ["a"] * 4, "amount": amounts, "rate": rates},
        schema_overrides={"amount": pl.Decimal(24, 2), "rate": pl.Decimal(24, 9)},
    )
    meant = [
        ["1,234.50", "−1,234,567,890.00000001"], ["−123,456,789.00", "0"],
        ["–", "2.5"], ["999,999,999,999.05", "–"],
    ]  # fmt: skip
    pages = table(frame, "x", decimals=2).html, details(frame, "x", by="of", decimals=2).html
    for page in pages:
        cells = Cells(page).cells[-12:]
        assert [cells[n + 1 : n + 3] for n in range(0, 12, 3)] == meant
    whole = Cells(table(frame.select("amount").head(2), "x").html).cells
    assert whole[-2:] == ["1,234.5", "−123,456,789"]


def test_files_go_to_the_folder_of_the_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(project / "run"))
    save(FRAME, "x", formats=["csv"])
    assert [p.name for p in (project / "run" / "data").iterdir()] == ["x.csv"]


def test_what_cannot_be_written_leaves_nothing(project: Path) -> None:
    with pytest.raises(UsageError, match="docx"):
        save(FRAME, "x", formats=["docx"])
    with pytest.raises(UsageError):
        save(FRAME, "../x")
    long = pl.DataFrame({"n": pl.int_range(1_048_576, eager=True)})
    with pytest.raises(DataError, match="Excel holds 1,048,575 rows"):
        save(long, "x", formats=["xlsx"])
    assert list((project / "data").iterdir()) == []


def groups_of(text: str) -> list[tuple[str, list[str]]]:
    """Return the summary of each disclosure, and its table's cells."""
    closed = [piece.split("</details>")[0] for piece in text.split("<details")[1:]]
    assert not any(piece.startswith(" open") for piece in closed)
    return [
        (html.unescape(re.sub(r"<[^>]*>", "", piece.split(">", 1)[1].split("</summary>")[0])),
         Cells(piece).cells)
        for piece in closed
    ]  # fmt: skip


def test_groups_unfold_into_tables_that_show_values_as_a_table_does() -> None:
    whole = pl.concat([FRAME, FRAME.reverse(), FRAME.clear()])
    shown = details(whole, "By message", by="MESSAGE_ID", about=["T", "PX"])
    groups = groups_of(str(sanitise(shown.html, Outline(set()))))
    cells = Cells(table(FRAME, "All of it").html).cells
    first, second = cells[8:15], cells[15:22]
    names = [
        "17679633591029711 <script>alert(1)</script> · 101.39507",
        '– =HYPERLINK("http://x") · 100',
    ]
    assert groups == [
        (f"{names[0]} · 2 rows", [*cells[1:8], *first * 2]),
        (f"{names[1]} · 2 rows", [*cells[1:8], *second * 2]),
    ]
    assert repr(shown) == "By message (2)"
    assert 'aria-label="17679633591029711: 2 rows"' in sanitise(shown.html, Outline(set()))


def test_of_many_groups_and_rows_the_first_are_shown_and_the_rest_is_told() -> None:
    frame = pl.DataFrame({"key": [n % 70 for n in range(7000)], "n": range(7000)})
    shown = details(frame, "Many", by="key", columns={"n": "N"}, rows=3, rest="data/n.csv")
    groups = groups_of(shown.html)
    assert [name for name, _ in groups] == [f"{n} 100 rows" for n in range(50)]
    assert groups[49][1] == ["N", "49", "119", "189"]
    assert "<caption>49: the first 3 of 100 rows</caption>" in shown.html
    assert repr(shown) == "Many (the first 50 of 70; all rows are in data/n.csv)"
    assert html.escape(repr(shown)) in shown.html
    one = details(frame.head(1), "One", by="key", columns=["n"])
    assert groups_of(one.html) == [("0 1 row", ["n", "0"])]
    assert groups_of(details(frame.clear(), "None", by="key").html) == []


def test_fifty_groups_of_ten_rows_stay_light() -> None:
    rows = feed(5_000)
    frame = pl.DataFrame({name: [row[name] for row in rows] for name in rows[0]})
    keys = frame["CUSIP"].value_counts(sort=True).head(60)["CUSIP"]
    busy = frame.filter(pl.col("CUSIP").is_in(keys.implode()))
    shown = details(
        busy, "Busy", by="CUSIP", about=["TICKER"],
        columns=["RANK", "BIAS", "DATE_1", "PX", "SOURCE", "COV_PRICE", "PERCENT_DIFF", "ASK"],
    )  # fmt: skip
    assert len(groups_of(shown.html)) == 50
    assert len(sanitise(shown.html, Outline(set())).encode()) < 90_000
    assert "style=" not in shown.html


def test_a_column_that_details_lack_is_named() -> None:
    with pytest.raises(UsageError, match="zz"):
        details(FRAME, "x", by="zz")
    with pytest.raises(UsageError, match="zz"):
        details(FRAME, "x", by="N", about=["zz"])


HOSTILE = [
    "MM-CLO", "US_Equity_2.0", "../x", "..", ".", "", "A/B", "A B", "A_B", "a_b", "none", None,
    "x" * 300, "é", "e\u0301", "C:\\x", "<b>", "a\nb", "%2e%2e", "NONE",
]  # fmt: skip


def test_each_value_has_a_file_of_its_own_inside_the_folder(project: Path) -> None:
    frame = pl.DataFrame({"SECTOR": HOSTILE * 2, "n": range(2 * len(HOSTILE))})
    shown = save(frame, "colors", formats=["parquet"], by="SECTOR")
    files = sorted((project / "data/colors").iterdir())
    assert sorted(path.name for path in (project / "data").iterdir()) == [
        "colors", "colors.parquet",
    ]  # fmt: skip
    assert len({path.name.lower() for path in files}) == len(files) == len(HOSTILE)
    found = {}
    for path in files:
        part = pl.read_parquet(path)
        [value] = part["SECTOR"].unique().to_list()
        assert part.equals(frame.filter(pl.col("SECTOR").eq_missing(value)))
        found[value] = path.name
        assert f'href="data/colors/{path.name}"' in shown.html
    assert set(found) == set(HOSTILE)
    assert (found["MM-CLO"], found["US_Equity_2.0"], found[None]) == (
        "MM-CLO.parquet", "US_Equity_2.0.parquet", "none.parquet",
    )  # fmt: skip
    assert all(re.fullmatch(r"\w[\w.-]*\.parquet", path.name, re.ASCII) for path in files)
    assert repr(shown).endswith(f"data/colors, by SECTOR: {len(HOSTILE)} files")


@given(st.lists(st.text(max_size=8) | st.none() | st.integers(), unique=True, max_size=12))
@settings(max_examples=15, deadline=None)
def test_no_two_values_share_a_name(values: list[str | int | None]) -> None:
    values = list({str(value): value for value in values}.values())
    names = stems(values)
    again = stems([*names.values()])
    assert len({name.lower() for name in names.values()}) == len(values)
    assert len({name.lower() for name in again.values()}) == len(values)


def test_files_of_values_that_are_gone_go_too(project: Path) -> None:
    frame = pl.DataFrame({"DAY": [dt.date(2026, 1, 9), dt.date(2026, 1, 8)]})
    save(frame, "days", formats=[], by="DAY")
    (project / "data/days/notes.txt").touch()
    save(frame.head(1), "days", formats=[], by="DAY")
    assert sorted(path.name for path in (project / "data/days").iterdir()) == [
        "2026-01-09.parquet", "notes.txt",
    ]  # fmt: skip
    for name, by in (("..", "DAY"), ("days", "zz")):
        with pytest.raises(UsageError):
            save(frame, name, by=by)
    assert [path.name for path in project.iterdir()] == ["data"]
