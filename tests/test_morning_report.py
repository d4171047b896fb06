"""The report a desk opens each morning says what plain loops over its files find, on any feed."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import feeds
import naive_colors
import nbformat
import polars as pl
import pytest
from bs4 import BeautifulSoup
from commands import command
from conftest import ROOT
from hypothesis import given, settings

from notebooks import only_run
from workbench import desk, previous_colors, run_colors, save
from workbench.errors import DataError

Row = dict[str, Any]
NOTEBOOK = str(ROOT / "notebooks" / "run_colors.ipynb")
EVIL = "<script>alert(1)</script>"
RULES = f"""rules:
  - {{name: "never {EVIL}", when: [{{column: PX, operator: less than, value: -5}}]}}
  - {{name: "cheap {EVIL}", when: [{{column: PX, operator: less than, value: 100.5}}]}}
  - {{name: one dealer, when: [{{column: SOURCE, operator: contains, value: SMBC}}]}}
"""
PRESET = (
    f"title: Desk {EVIL}\nabout: For 'nobody'.\nrules: [odd.yaml]\ncolumns: {{px: P & L, My: M}}\n"
)


@dataclass(frozen=True)
class Report:
    run: dict[str, Any]
    html: str
    notebook: nbformat.NotebookNode
    folder: Path

    def __post_init__(self) -> None:
        assert not [o for c in self.notebook.cells for o in c.get("outputs", ()) if "name" in o]

    @property
    def figures(self) -> dict[str, int]:
        return {figure["name"]: figure["value"] for figure in self.run["figures"]}

    @property
    def page(self) -> BeautifulSoup:
        return BeautifulSoup(self.html, "html.parser")

    def section(self, heading: str) -> str:
        text = " ".join(self.page.main.get_text(" ").split())
        return text.partition(f" {heading} ")[2]

    def table(self, caption: str) -> tuple[list[str], list[list[str]]]:
        """The header and the rows of the only table of that caption."""
        [found] = [t for t in self.page.find_all("table") if t.caption.get_text() == caption]
        lines = [[c.get_text() for c in row.find_all(["th", "td"])] for row in found("tr")]
        return lines[0], [line for line in lines[1:] if len(line) == len(lines[0])]

    def rows(self, name: str = "colors") -> list[Row]:
        return pl.read_parquet(self.folder / "data" / f"{name}.parquet").to_dicts()


def report_of(folder: Path, *words: str) -> Report:
    done = command("run", NOTEBOOK, "--output", str(folder), *words)
    assert done.returncode == 0, done.stderr
    [run] = [path for path in (folder / "run_colors").iterdir() if not path.is_symlink()]
    return Report(*only_run(folder / "run_colors"), run)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(tmp_path_factory.mktemp("demo"), "-p", "source", "demo")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a single day, without BIAS, SECTOR and coverage; with a preset and rules."""
    folder = tmp_path_factory.mktemp("hostile")
    lacking = ("BIAS", "SECTOR", *naive_colors.COVERAGE)
    rows = [{k: v for k, v in row.items() if k not in lacking} for row in feeds.feed(300)]
    for row in rows:
        row.update(TICKER=f"{row['TICKER']}{EVIL}", SOURCE=f"{row['SOURCE']}{EVIL}", My=EVIL)
        row.update(DATE=dt.date(2026, 1, 9))
    names = [n for n in naive_colors.CANONICAL if n not in lacking]
    feeds.write_csv(rows, folder / "feed.csv", [*names, "My"])
    (folder / "odd.yaml").write_text(RULES)
    preset = folder / "desk.yaml"
    preset.write_text(PRESET.replace("odd.yaml", str(folder / "odd.yaml")))
    return report_of(folder, "-p", "input", str(folder / "feed.csv"), "-p", "preset", str(preset))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("empty")
    path = feeds.write_csv([], folder / "feed.csv", naive_colors.CANONICAL)
    return report_of(folder, "-p", "input", str(path))


def parents(rows: list[Row]) -> dict[str, Row]:
    return {row["CUSIP"]: row for row in rows if row["IS_PARENT"]}


def received(row: Row) -> dt.date:
    return (row["DATE_1"] or row["DATE"]).date()


def far(row: Row) -> bool:
    return row["DIFF_STATUS"] == "Significant Difference"


def test_the_report_is_short_and_the_figures_are_those_of_the_colors(demo: Report) -> None:
    assert len(demo.html.encode()) < 300_000
    assert "<script" not in demo.html
    rows = demo.rows()
    best = parents(rows)
    days: dict[str, dt.date] = {}
    for row in rows:
        days[row["CUSIP"]] = max(days.get(row["CUSIP"], dt.date.min), received(row))
    last = max(row["DATE"] for row in rows).date()
    assert demo.run["as_of"] == str(last)
    assert demo.figures | {"movers": 0} == {
        "parents": len({row["CUSIP"] for row in rows}),
        "children": len(rows) - len(best),
        "movers": 0,
        "far from coverage": sum(map(far, best.values())),
        "excluded": 0,
        "stale": sum((last - day).days > 5 for day in days.values()),
    }


def test_movers_are_what_ranking_the_days_before_anew_differs_in(demo: Report) -> None:
    rows = demo.rows()
    last = max(row["DATE"] for row in rows)
    now = parents(rows)
    feed = [{k: v for k, v in row.items() if k not in naive_colors.ADDED} for row in rows]
    before = parents(naive_colors.rank([row for row in feed if row["DATE"] < last]))
    moved: dict[str, Decimal] = {}
    for cusip in now.keys() | before.keys():
        new, old = now.get(cusip), before.get(cusip)
        change = new["PX"] - old["PX"] if new and old else Decimal(0)
        same = new and old and all(
            new[name] == old[name] for name in ("MESSAGE_ID", "SOURCE", "BIAS", "DATE_1")
        )  # fmt: skip
        if not same or abs(change) >= 1:
            moved[cusip] = change
    assert demo.figures["movers"] == len(moved) > 25
    assert {row["CUSIP"] for row in demo.rows("movements")} == moved.keys()
    header, shown = demo.table("Movers, most important first")
    assert header[2:6] == ["What happened", "Price", "Before", "Change"]
    crossed = {c for c in moved if c in now and c in before and far(now[c]) and not far(before[c])}
    assert {line[0] for line in shown[: len(crossed)]} == crossed
    for line in shown:
        change = line[5].replace("\N{MINUS SIGN}", "-").replace("–", "0")
        assert Decimal(change) == moved[line[0]]
    assert len(shown) == 25
    assert "Compared with the same feed, as of 8 January 2026." in demo.section("What has moved")


def test_markets_are_the_best_quotes_received_on_the_last_day(demo: Report) -> None:
    rows = demo.rows()
    last = max(map(received, rows))
    best: dict[str, list[Decimal | None]] = {}
    for row in rows:
        if received(row) == last and row["RANK"] in (3, 4):
            sides = best.setdefault(row["CUSIP"], [None, None])
            for side, choose in enumerate((max, min)):
                price, so_far = row["BID" if side == 0 else "ASK"], sides[side]
                if price is not None and price > 0:
                    sides[side] = price if so_far is None else choose(so_far, price)
    _, shown = demo.table("Best bid and offer of the last day")
    crossed = {cusip for cusip, (bid, ask) in best.items() if bid and ask and bid > ask}
    assert {line[0] for line in shown if line[7] == "yes"} == crossed
    for line in shown:
        assert [Decimal(line[2]), Decimal(line[4])] == best[line[0]]
    assert f"The first 20 of {len(best)} rows" in demo.section("Best bid and offer")


def test_the_busiest_securities_unfold_to_their_colors_in_order(demo: Report) -> None:
    groups: dict[str, list[Row]] = {}
    for row in demo.rows():
        groups.setdefault(row["CUSIP"], []).append(row)
    busiest = sorted(groups, key=lambda cusip: (-len(groups[cusip]), cusip))[:50]
    unfolding = demo.page.select("details.rows")
    assert [each.summary.b.get_text() for each in unfolding] == busiest
    for cusip, each in zip(busiest, unfolding, strict=True):
        assert f"{len(groups[cusip])} rows" in each.summary.get_text()
        shown = [[cell.get_text() for cell in line("td")] for line in each.tbody("tr")]
        assert [line[0] for line in shown] == [str(n) for n in range(1, len(shown) + 1)]
        told = [(line[2], Decimal(line[4]), line[6]) for line in shown]
        group = sorted(groups[cusip], key=lambda row: row["COLOR_POSITION"])[:10]
        assert told == [(row["BIAS"], row["PX"], row["SOURCE"]) for row in group]


def test_dealers_are_counted_and_every_sector_has_a_file(demo: Report) -> None:
    rows = demo.rows()
    _, shown = demo.table("Dealers, by parents")
    for name, count, _, colors, *_ in shown:
        mine = [row for row in rows if (row["SOURCE"] or "none").strip().upper() == name]
        assert int(colors.replace(",", "")) == len(mine)
        assert int(count) == sum(row["IS_PARENT"] for row in mine)
    files = sorted((demo.folder / "data" / "colors").glob("*.parquet"))
    assert sum(pl.read_parquet(path).height for path in files) == len(rows)
    assert {pl.read_parquet(path)["SECTOR"][0] for path in files} == {r["SECTOR"] for r in rows}


def test_excluded_rows_stand_with_their_rule_and_add_up(hostile: Report) -> None:
    rows = hostile.rows("excluded")
    total = len(rows) + len(hostile.rows()) + len(hostile.rows("without_cusip"))
    cheap = [row for row in rows if row["PX"] < Decimal("100.5")]
    assert {row["EXCLUDED_BY"] for row in cheap} == {f"cheap {EVIL}"}
    assert {row["EXCLUDED_BY"] for row in rows if row not in cheap} == {"one dealer"}
    assert (total, hostile.figures["excluded"]) == (300, len(rows))
    assert all(row["PX"] >= Decimal("100.5") for row in hostile.rows())
    assert not any("SMBC" in row["SOURCE"] for row in hostile.rows())
    _, shown = hostile.table("Exclusion rules")
    assert [(line[0], int(line[2])) for line in shown] == [
        (f"never {EVIL}", 0), (f"cheap {EVIL}", len(cheap)), ("one dealer", len(rows) - len(cheap)),
    ]  # fmt: skip
    names = [each.summary.b.get_text() for each in hostile.page.select("details.rows")]
    assert names[-2:] == [f"cheap {EVIL}", "one dealer"]


def test_hostile_values_are_text_and_a_preset_shows_its_columns(hostile: Report) -> None:
    assert "<script" not in hostile.html
    assert f"Desk {EVIL}. For 'nobody'." in hostile.section("What was ranked")
    header, shown = hostile.table("Parents, latest first")
    assert header == ["P & L", "M"]
    assert {line[1] for line in shown} == {EVIL}


def test_a_feed_of_one_day_says_that_there_is_nothing_to_compare(hostile: Report) -> None:
    assert "movers" not in hostile.figures
    told = hostile.section("What has moved")
    assert "All colors are of 9 January 2026: there is no day before to compare with." in told
    assert "There are no movers to show." in told


def test_an_empty_feed_is_told_in_sentences(empty: Report) -> None:
    assert set(empty.figures.values()) == {0}
    assert not empty.page.main.select(".cell > pre")
    captions = [table.caption.get_text() for table in empty.page.find_all("table")]
    assert captions == ["Findings, most serious first"]
    for heading, sentence in (
        ("What has moved", "No color has a date, so there is no day before to compare with."),
        ("Best bid and offer", "Nobody quoted a bid or an offer on the last day."),
        ("Far from coverage", "No parent is far from its coverage price."),
        ("Stale colors", "No security is stale."),
        ("What was excluded", "No exclusion rules were asked for, so nothing was excluded."),
    ):
        assert sentence in empty.section(heading)


@given(rows=feeds.feeds(max_rows=15, times=True))
@settings(max_examples=15, deadline=None)
def test_the_day_before_is_what_ranking_until_then_gives(rows: list[Row]) -> None:
    whole = feeds_of(naive_colors.rank(rows))
    days = [row["DATE"] or row["DATE_1"] for row in rows]
    for day in {moment.date() for moment in map(naive_colors.at_midnight, days) if moment}:
        then = [
            row for row, moment in zip(rows, map(naive_colors.at_midnight, days), strict=True)
            if moment is None or moment.date() <= day
        ]  # fmt: skip
        assert desk.until(whole, day).equals(feeds_of(naive_colors.rank(then)))


def feeds_of(ranked: list[Row]) -> pl.DataFrame:
    names = [*naive_colors.CANONICAL, *naive_colors.ADDED]
    kinds: dict[str, Any] = dict.fromkeys(feeds.PRICES, pl.Decimal(38, 10))
    kinds |= dict.fromkeys((*feeds.INTEGERS, *naive_colors.ADDED), pl.Int64)
    kinds |= {"IS_PARENT": pl.Boolean, "DATE": pl.Datetime("us"), "DATE_1": pl.Datetime("us")}
    schema = {name: kinds.get(name, pl.String) for name in names}
    return pl.DataFrame([{n: row[n] for n in names} for row in ranked], schema=schema)


def test_what_a_ranking_is_compared_with_is_chosen_and_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = feeds.feed(60)
    last = max(row["DATE"] for row in rows)
    earlier = [row | {"DATE": last - dt.timedelta(days=1)} for row in rows[:30]]
    ranked, old = run_colors(feeds.frame(rows)), run_colors(feeds.frame(earlier))
    folder = project / "reports" / "run_colors" / "20260101T000000Z-ab"
    monkeypatch.setenv("WORKBENCH_RUN_DIR", str(folder))
    save(old.colors, "colors", formats=["parquet"])
    monkeypatch.delenv("WORKBENCH_RUN_DIR")
    as_of = str(last - dt.timedelta(days=1))
    told = {"status": "passed", "as_of": as_of, "parameters": {"sector": None}}
    (folder / "run.json").write_text(json.dumps(told))
    feeds.write_csv(earlier, project / "old.csv")
    for name in ("latest", str(folder / "data" / "colors.parquet"), "old.csv"):
        found = previous_colors(ranked, name, sector=None)
        assert found.colors is not None
        assert found.colors.select(naive_colors.ADDED).equals(
            old.colors.select(naive_colors.ADDED)
        ), name
        assert repr(found).endswith(f", as of {int(as_of[-2:])} January 2026.")
    assert previous_colors(ranked, "latest", sector="MM-CLO").colors is None
    assert previous_colors(ranked, None).colors is None
    with pytest.raises(DataError, match=r"no\.csv does not exist"):
        previous_colors(ranked, "no.csv")
    assert desk.movements(ranked.colors, None).is_empty()


def test_each_mover_has_one_row_by_its_most_important_movement() -> None:
    names = ["A", "B", "C", "D", "A", "B", "A"]
    kinds = ["parent changed"] * 3 + ["lost color", "price moved", "price moved"]
    changes = [Decimal(n) for n in (1, -2, 5, 0, 1, -2, 1)]
    moved = pl.DataFrame({
        "MOVEMENT": [*kinds, "crossed coverage limit"], "CUSIP": names, "CHANGE": changes,
        "SOURCE": ["MS", None, "MS", None, "MS", None, "MS"],
        "BIAS": ["BID", "BID", None, None, "BID", "BID", "BID"],
        "PREVIOUS_SOURCE": ["GS"] * 7, "PREVIOUS_BIAS": ["DNT"] * 7,
    })  # fmt: skip
    assert desk.movers(moved).select("CUSIP", "MOVEMENT", "COLOR").rows() == [
        ("A", "crossed coverage limit, price moved, parent changed", "MS BID"),
        ("B", "price moved, parent changed", "BID"),
        ("D", "lost color", None),
        ("C", "parent changed", "MS"),
    ]
    assert desk.movers(moved.clear()).is_empty()
