"""Tables are exact and escaped; files hold every row, exactly, and appear whole."""

from __future__ import annotations

import datetime as dt
import html.parser
from decimal import Context, Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import save, table
from workbench.cells import plain
from workbench.errors import DataError, UsageError

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
