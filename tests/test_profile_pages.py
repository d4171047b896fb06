"""What a reader sees of a profile: true, marked where it is an estimate, small and inert."""

from __future__ import annotations

import csv
import random
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from bs4 import BeautifulSoup

from workbench.errors import DataError
from workbench.profiling import pages, sections
from workbench.profiling.diagram import diagram
from workbench.profiling.drift import Change, drift
from workbench.profiling.model import (
    QUANTILES,
    Column,
    Figure,
    Finding,
    ForeignKey,
    Key,
    Relation,
    SchemaProfile,
    Share,
    Table,
)
from workbench.profiling.wording import value
from workbench.reporting.sanitise import Outline, sanitise

NOW = "2026-01-31T06:00:00"
EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def figure(value: float | int | str, how: str = "exact") -> Figure:
    return Figure(value, how, NOW)


def number_column(name: str, values: list[float], how: str = "exact") -> Column:
    """A column with what polars counts in its values."""
    series = pl.Series(values, dtype=pl.Float64)
    quantiles = {str(at): series.quantile(at, "higher") or 0.0 for at in QUANTILES}
    return Column(
        name, "numeric(12,2)", "float", nulls=figure(0, how),
        distinct=figure(series.n_unique(), how), min=figure(float(series.min()), how),
        max=figure(float(series.max()), how), mean=figure(float(series.mean()), how),
        quantiles={at: figure(value, how) for at, value in quantiles.items()},
    )  # fmt: skip


def schema(*tables: Table, **more: object) -> SchemaProfile:
    return SchemaProfile("demo", "shop", NOW, "PostgreSQL 18", 1, tables, **more)


def page(shown: object) -> BeautifulSoup:
    """What a report shows of it."""
    return BeautifulSoup(sanitise(shown.html, Outline(set())), "html.parser")


def cells(shown: object) -> list[list[str]]:
    rows = page(shown).select("tbody tr")
    return [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])] for row in rows]


dice = random.Random(1)
SHAPES = {
    "even": [float(n) for n in range(1000)],
    "falling": [dice.expovariate(1) for _ in range(2000)],
    "bell": [dice.gauss(0, 1) for _ in range(2000)],
    "two heaps": [1.0] * 300 + [2.0] * 10 + [9.0] * 690,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_of_a_column_is_that_of_its_values(shape: str) -> None:
    values = SHAPES[shape]
    [span] = BeautifulSoup(sections.histogram(number_column("c", values)), "html.parser").find_all(
        "span"
    )
    told = [float(part) for part in re.findall(r"([\d.]+) %", span["title"])]
    step = (max(values) - min(values)) / 8
    places = [min(7, int((value - min(values)) / step)) for value in values]
    counted = [100 * places.count(at) / len(values) for at in range(8)]
    assert sum(told) == pytest.approx(100, abs=1)
    # Between two quantiles, with up to a quarter of the values, it is a guess.
    wrong = [abs(a - b) for a, b in zip(told, counted, strict=True)]
    assert max(wrong) <= 20
    assert sum(wrong) <= 40
    blocks = span.get_text()
    assert len(blocks) == 8
    assert "▇" in (blocks[told.index(max(told))], blocks[counted.index(max(counted))])
    assert all(told[at] < max(told) / 4 for at, block in enumerate(blocks) if block == "▁")


def test_days_have_a_shape_and_constants_have_none() -> None:
    days = [f"2026-01-{day:02}" for day in range(1, 32)]
    quantiles = {str(at): figure(days[int(at * 30)]) for at in QUANTILES}
    column = Column(
        "d", "date", "date", min=figure(days[0]), max=figure(days[-1]), quantiles=quantiles
    )
    assert "▇" in sections.histogram(column)
    same = replace(column, max=column.min, quantiles=dict.fromkeys(quantiles, column.min))
    assert not sections.histogram(same)
    assert not sections.histogram(Column("t", "text", "text"))
    assert not sections.histogram(number_column("order_id", SHAPES["even"]))


def test_a_table_is_told_column_by_column() -> None:
    table = Table(
        "orders", comment="All orders", rows=figure(1000), primary_key=Key(("id",)),
        foreign_keys=(ForeignKey(("customer_id",), "customers", ("id",)),),
        columns=(
            Column("id", "bigint", "integer", False, nulls=figure(0), distinct=figure(1000),
                   min=figure(17734072432755618), max=figure(17734072432756617)),
            Column("status", "text", "text", comment="New, paid, sent", nulls=figure(250),
                   distinct=figure(3), min_length=figure(3), max_length=figure(4),
                   top=(Share("new", figure(600)), Share("paid", figure(150)))),
            Column("paid", "boolean", "boolean", nulls=figure(1), true=figure(431)),
            replace(number_column("amount", SHAPES["even"]), type="numeric(12,2)"),
        ),
    )  # fmt: skip
    found = cells(pages.sections(schema(table)))
    assert found[0][:3] == ["id bigint, not null", "0 %", "1,000"]
    assert found[0][4] == "17734072432755618 – 17734072432756617"
    assert found[1] == [
        "status text – New, paid, sent", "█▌ 25 %", "3", "", "3 – 4 characters",
        "new 60 %, paid 15 %",
    ]  # fmt: skip
    assert found[2][1].endswith("0.1 %")
    assert found[2][5] == "true 43.1 %"
    assert found[3][3:] == ["▇▇▇▇▇▇▇▇", "0 – 999", "250 · 500 · 750"]
    text = page(pages.sections(schema(table))).get_text(" ")
    assert "All orders. Key: id. customer_id refers to customers (id)." in text


def test_what_is_estimated_is_marked_so() -> None:
    column = replace(number_column("amount", SHAPES["even"], "sampled 5 %"), name="amount")
    table = Table("orders", rows=figure(20_000, "dictionary"), columns=(column,))
    [row] = cells(pages.sections(schema(table)))
    assert [at for at, cell in enumerate(row) if "≈" in cell] == [1, 2, 4, 5]
    exact = Table("orders", rows=figure(20_000), columns=(number_column("amount", SHAPES["even"]),))
    assert not any("≈" in cell for row in cells(pages.sections(schema(exact))) for cell in row)
    assert "about 20,000 rows" in repr(pages.summary(schema(table)))
    listed = cells(pages.inventory(schema(table)))[0]
    assert listed[:4] == ["orders", "table", "20,000", "dictionary"]


def test_personal_data_is_counted_and_never_shown(project: Path) -> None:
    address = "ada@example.org"
    column = Column(
        "contact", "text", "text", nulls=figure(1), distinct=figure(9), min=figure(address),
        max=figure(address), top=(Share(address, figure(2)),),
        masks=(Share("aaa@aaaa", figure(9)),),
        personal=(Share("e-mail", figure(9)),), min_length=figure(15), max_length=figure(15),
    )  # fmt: skip
    profile = schema(Table("people", rows=figure(10), columns=(column,)))
    [row] = cells(pages.sections(profile))
    assert row[2:] == ["9", "", "e-mail: 9 rows", ""]
    assert "aaa@" not in pages.sections(profile).html
    pages.save(profile)
    assert address not in pages.sections(profile).html + Path("data/columns.csv").read_text()


def test_the_summary_says_what_is_there_and_what_is_most_serious() -> None:
    found = [
        Finding("critical", "duplicated-rows", "12 of 20 rows repeat another.", "Look.", "orders"),
        Finding("info", "empty-table", "It has no rows.", "Ask.", "carts"),
    ]
    profile = schema(
        Table("orders", rows=figure(20), size=figure(13_400_000, "dictionary"),
              columns=(Column("id", "bigint", "integer"),)),
        Table("carts", rows=figure(0), columns=(Column("id", "bigint", "integer"),)),
        Table("locked", problem="Not measured: it is locked."),
        findings=tuple(found),
        relations=(Relation("orders", ("id",), "carts", ("id",), False, figure(1.0), figure(0)),),
    )  # fmt: skip
    text = repr(pages.summary(profile))
    assert text.splitlines() == [
        "Schema shop of demo (PostgreSQL 18) has 3 tables with 2 columns and 20 rows, 13 MB on "
        "disk. Tables read: 2 in full; not read: 1, of which 1 could not be. Foreign keys: "
        "0 declared, 1 more found by comparing values. Findings: 1 critical, 1 info.",
        "Critical, duplicated rows in orders: 12 of 20 rows repeat another.",
    ]
    assert page(pages.summary(profile)).get_text(" ", strip=True).split() == text.split()
    first = page(pages.findings_list(profile)).li.get_text(" ", strip=True)
    assert first == "Critical, duplicated rows in orders: 12 of 20 rows repeat another. → Look."


def test_tables_with_serious_findings_come_first_and_open() -> None:
    tables = [Table(f"t{n:02}", rows=figure(n)) for n in range(40)]
    finding = Finding("critical", "x", "y", "z", "t07")
    shown = page(pages.sections(schema(*tables, findings=(finding,)), most=5, opened=2))
    names = [summary.b.get_text() for summary in shown.find_all("summary")]
    assert names == ["t07", "t39", "t38", "t37", "t36"]
    assert [details.has_attr("open") for details in shown.find_all("details")] == [True] * 2 + [
        False
    ] * 3
    assert "35 more tables: see data/profile.json and data/columns.csv." in shown.get_text()


def test_hostile_names_and_values_stay_text() -> None:
    column = Column(
        EVIL, EVIL, "text", comment=EVIL, nulls=figure(1, EVIL), distinct=figure(1),
        min=figure(EVIL), max=figure(EVIL), min_length=figure(1), max_length=figure(9),
        top=(Share(EVIL, figure(3)),),
    )  # fmt: skip
    key = ForeignKey((EVIL,), EVIL, (EVIL,))
    table = Table(EVIL, comment=EVIL, problem=EVIL, rows=figure(9), columns=(column,),
                  primary_key=Key((EVIL,)), foreign_keys=(key,))  # fmt: skip
    relation = Relation(EVIL, (EVIL,), EVIL, (EVIL,), False, figure(0.5), figure(4))
    finding = Finding("critical", EVIL, EVIL, EVIL, EVIL, (EVIL,), figure(1), EVIL)
    profile = SchemaProfile(EVIL, EVIL, NOW, EVIL, 2, (table,), (relation,), findings=(finding,))
    changes = [Change("critical", EVIL, EVIL, EVIL, EVIL, EVIL, EVIL)]
    for shown in (
        pages.summary(profile), pages.inventory(profile), pages.findings_list(profile),
        pages.sections(profile), pages.changes_since(profile, changes),
    ):  # fmt: skip
        raw = BeautifulSoup(shown.html, "html.parser")
        assert not raw.find_all(["script", "img"])
        assert "alert(1)" in page(shown).get_text()


def test_a_row_for_each_column_is_written_and_the_profile_as_a_whole(project: Path) -> None:
    amount = number_column("amount", SHAPES["falling"])
    table = Table("orders", rows=figure(2000), columns=(amount, Column("note", "clob", "other")))
    profile = schema(table, Table("carts", columns=(Column("id", "bigint", "integer"),)))
    shown = pages.save(profile)
    with Path("data/columns.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["table"], row["column"]) for row in rows] == [
        ("orders", "amount"), ("orders", "note"), ("carts", "id"),
    ]  # fmt: skip
    values = SHAPES["falling"]
    assert float(rows[0]["min"]) == min(values)
    assert float(rows[0]["mean"]) == pytest.approx(sum(values) / len(values))
    assert (rows[0]["distinct"], rows[0]["how"], rows[1]["min"]) == ("2000", "exact", "")
    assert SchemaProfile.from_json(Path("data/profile.json").read_text(encoding="utf-8")) == profile
    assert sorted(path.name for path in Path("data").iterdir()) == ["columns.csv", "profile.json"]
    links = [a["href"] for a in page(shown).find_all("a")]
    assert links == ["data/profile.json", "data/columns.csv"]


def test_changes_are_told_since_a_file_or_the_last_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = schema(Table("orders", rows=figure(100)), Table("carts", rows=figure(5)))
    after = schema(Table("orders", rows=figure(100)))
    for number in ("20260101T000000Z-1", "20260102T000000Z-2", "20260103T000000Z-3"):
        (project / "reports" / number / "data").mkdir(parents=True)
    runs = sorted((project / "reports").iterdir())
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(project / "reports" / ".x.partial"))
    assert pages.earlier(after, "latest") is None
    (runs[0] / "data" / "profile.json").write_text(after.to_json())
    (runs[1] / "data" / "profile.json").write_text(before.to_json())
    assert pages.earlier(after, "latest") == before
    [[severity, change, table, *_]] = cells(pages.changes_since(before, drift(before, after)))
    assert (severity, change, table) == ("critical", "table dropped", "carts")
    same = pages.earlier(after, str(runs[0] / "data" / "profile.json"))
    told = repr(pages.changes_since(same, drift(same, after)))
    assert told == "Nothing has changed since the profile of 2026-01-31 06:00:00 UTC."
    assert pages.earlier(after, None) is None
    assert "Not compared" in repr(pages.changes_since(None, ()))
    with pytest.raises(DataError, match="cannot be read"):
        pages.earlier(after, "nowhere.json")


def test_the_last_run_of_another_schema_or_source_is_passed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = schema(Table("orders", rows=figure(100)))
    others = [mine, replace(mine, schema="stock"), replace(mine, source="prod")]
    for day, profile in enumerate(others, 1):
        folder = project / "reports" / f"2026010{day}T000000Z-1" / "data"
        folder.mkdir(parents=True)
        (folder / "profile.json").write_text(replace(profile, as_of=f"2026-01-0{day}").to_json())
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(project / "reports" / ".x.partial"))
    found = [pages.earlier(profile, "latest") for profile in others]
    assert [one and one.as_of for one in found] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    (folder / "profile.json").write_text("{")
    assert pages.earlier(mine, "latest") == replace(mine, as_of="2026-01-01")
    assert pages.earlier(replace(mine, schema="new"), "latest") is None


def test_a_wide_schema_makes_no_heavy_page() -> None:
    columns = [replace(number_column(f"column_{n}", SHAPES["falling"]), comment="What it is for")
               for n in range(15)]  # fmt: skip
    tables = [Table(f"table_{n}", rows=figure(n), columns=tuple(columns)) for n in range(60)]
    shown = pages.sections(schema(*tables))
    assert len(sanitise(shown.html, Outline(set())).encode()) < 140_000
    assert [len(cells(shown)), page(shown).p.get_text()[:6]] == [240, "Shape:"]
    assert "44 more tables: see data/profile.json" in page(shown).get_text()


def test_of_a_table_of_very_many_columns_the_first_are_told() -> None:
    columns = [Column(f"column_{n}", "text", "text") for n in range(1600)]
    tables = [Table(name, columns=tuple(columns)) for name in ("a", "b")]
    shown = pages.sections(schema(*tables))
    assert [row[0].split()[0] for row in cells(shown)] == [f"column_{n}" for n in range(240)]
    told = page(shown).get_text(" ")
    assert "1,360 more columns: see data/profile.json and data/columns.csv." in told
    assert "1 more table: see data/profile.json and data/columns.csv." in told


ODD = {
    "time": ["08:00:00", "16:30:00.25", "08:00:00+02:00"],
    "date": ["0044-03-15 BC", "2020-01-01", "12345-01-01", "infinity", "-infinity", "0001-01-01"],
    "datetime": ["0044-03-15T00:00:00 BC", "12345-01-01T10:00:00", "infinity", "9999-12-31T23:59"],
    "decimal": ["9" * 131_072, "1." + "0" * 16_382 + "1", "-0.00", "0E-16383", "NaN", "1E+400"],
    "float": [1e308, -1e308, 5e-324, "Infinity", "-Infinity", "NaN"],
    "integer": [10**400, -1, "9" * 400],
}


@pytest.mark.parametrize("kind", ODD)
def test_no_value_that_a_database_holds_keeps_a_profile_from_being_shown(
    kind: str, project: Path
) -> None:
    pairs = [(low, high) for low in ODD[kind] for high in ODD[kind]]
    columns = [
        Column(f"c{at}{'_id' * (at % 2)}", kind, kind, nulls=figure(1), distinct=figure(3),
               min=figure(low), max=figure(high), mean=figure(low), stddev=figure(high),
               quantiles={"0.25": figure(low), "0.5": figure(high), "0.75": figure(high)})
        for at, (low, high) in enumerate(pairs)
    ]  # fmt: skip
    profile = schema(Table("odd", rows=figure(9), columns=tuple(columns)))
    for show in (pages.summary, pages.inventory, pages.findings_list, pages.sections, pages.save):
        assert page(show(profile)).get_text()
    rows = cells(pages.sections(profile))
    assert len(rows) == len(pairs)
    assert max(len(row[4]) for row in rows) < 100
    assert repr(diagram(profile))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("08:00:00", "08:00:00"), ("0044-03-15 BC", "0044-03-15 BC"), ("12:5", "12:5"),
        ("12345-01-01T00:00:00", "12345-01-01"), ("2026-01-31T17:05:00", "2026-01-31 17:05:00"),
        ("infinity", "infinity"), ("NaN", "NaN"), ("-0.00", "-0"), ("12500.50", "12,500.5"),
        ("9" * 60, "1.00000e+60"), ("5 days", "5 days"), (2019, "2019"), (1e300, "1e+300"),
        ("٣", "٣"), ("0E-16383", "0"), (True, "True"), ("", ""),
    ],
)  # fmt: skip
def test_a_value_is_written_as_what_it_is(given: object, told: str) -> None:
    assert value(given) == told
    assert value(given, 6) == told


def test_an_empty_schema_can_be_shown() -> None:
    profile = schema()
    assert "0 tables with 0 columns and 0 rows" in repr(pages.summary(profile))
    for show in (pages.inventory, pages.findings_list, pages.sections):
        assert page(show(profile)).get_text()
