"""Desk presets: what they hold, and that they make sense on the demo's colors."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from conftest import ROOT

from workbench.colors import FEED
from workbench.database import connect
from workbench.errors import UsageError
from workbench.exclusions import condition, read_rules
from workbench.presets import read_preset

NAMES = ("us_clo", "european", "date_first")


@pytest.fixture(scope="module")
def colors() -> pl.DataFrame:
    with connect("demo") as db:
        return db.read("SELECT * FROM marketpulse.colors").rename(str.upper)


def met_in_the_demo(what: object, owner: str = "") -> set[int]:
    with connect("demo") as db:
        table = db.table("marketpulse.colors")
        columns = {column.name.upper(): column for column in table.c}
        statement = sa.select(table.c.color_id).where(condition(what, columns, owner))
        return set(db.read_as("exact", statement)["color_id"])


def ids(colors: pl.DataFrame, met: pl.Expr) -> set[int]:
    return set(colors.filter(met)["COLOR_ID"])


def test_what_the_presets_keep_of_the_demo(colors: pl.DataFrame) -> None:
    plain = {name: pl.col(name).str.strip_chars().str.to_uppercase() for name in ("BIAS", "SOURCE")}
    talk = plain["BIAS"].is_in(["VALUATION", "BWIC TALK"])
    kept = {
        "us_clo": ~pl.col("SECTOR").str.contains("Equity"),
        "european": plain["SOURCE"].is_in(["BNP", "DB", "NATX"]) & ~talk,
    }
    for name, met in kept.items():
        found = met_in_the_demo(read_preset(ROOT / f"params/presets/{name}.yaml").keep, name)
        assert found == ids(colors, met)
        assert 100 < len(found) < colors.height


def test_what_the_rules_of_the_desk_remove_from_the_demo(colors: pl.DataFrame) -> None:
    old = pl.col("DATE_1") < pl.date(2025, 12, 10)
    removed = {
        "prices that cannot be": (pl.col("PX") <= 2) | (pl.col("PX") >= 114),
        "old valuations": (pl.col("BIAS").str.to_uppercase() == "VALUATION") & old,
        "test messages": pl.lit(False),
    }
    rules = [rule for rule in read_rules([ROOT / "params/rules/desk.yaml"]) if rule.active]
    assert [rule.name for rule in rules] == list(removed)
    for rule in rules:
        assert met_in_the_demo(rule) == ids(colors, removed[rule.name])
    assert len(met_in_the_demo(rules[0])) == 24
    assert not met_in_the_demo(rules[2])


def test_every_preset_names_rules_that_exist_and_columns_of_a_feed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for name in NAMES:
        preset = read_preset(name)
        assert preset.name == name
        assert preset.title
        assert set(preset.columns) <= set(FEED)
        assert all(preset.columns.values())
        read_rules(preset.rules)
    assert sorted(NAMES) == sorted(path.stem for path in Path("params/presets").iterdir())
    with pytest.raises(
        UsageError, match=r"Unknown preset 'us_cloo'. Did you mean 'us_clo'\?"
    ) as it:
        read_preset("us_cloo")
    assert "date_first, european, us_clo" in str(it.value)
    assert "params/presets" in str(it.value)


def test_columns_are_shown_by_their_names_unless_a_heading_is_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\ncolumns: [px, Bias]\n")
    assert read_preset(path).columns == {"PX": "px", "BIAS": "Bias"}
    path.write_text("title: Mine\ncolumns: {px: Price}\norder: [date desc]\nsector: 2.0_Mezz\n")
    preset = read_preset(path)
    assert (preset.columns, preset.order, preset.sector) == (
        {"PX": "Price"}, ("date desc",), "2.0_Mezz"
    )  # fmt: skip
    assert (preset.keep, preset.rules, preset.deduplicate) == (None, (), None)


def test_a_column_that_the_feed_has_not_is_named_with_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: Mine\ncolumns: {desk: Desk, COV_PRISE: Cover}\n")
    preset = read_preset(path)
    assert preset.headings(["Desk", "PX", "COV_PRISE"]) == {"Desk": "Desk", "COV_PRISE": "Cover"}
    with pytest.raises(
        UsageError, match=r"preset 'mine' .* 'COV_PRISE'.* Did you mean 'COV_PRICE'\?"
    ):
        preset.headings(["DESK", "PX", "COV_PRICE"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no `name: value` lines"),
        ("about: x", "'title' is missing"),
        ("title: x\nkeeps: []", "unknown key 'keeps'. Did you mean 'keep'?"),
        ("title: x\nkeep: []", "'all' is empty"),
        (
            "title: x\nkeep:\n- {column: PX, operator: near, value: 1}",
            "line 3, column 'PX': unknown",
        ),
        ("title: x\norder: [rank up]", "order holds 'rank up'"),
        ("title: x\norder: rank asc", "'order' is wrong"),
        ("title: x\nrules: desk", "'rules' is wrong"),
        ("title: x\ndeduplicate: 7", "'deduplicate' is wrong"),
        ("title: x\ntitle: y", "the key 'title' is there twice"),
        ("title: x\ncolumns: {CUSIP: X, PX: X}", "the heading 'X' is there twice"),
        ("title: x\ncolumns: {px: A, PX: B}", "the column 'PX' is there twice"),
        ("title: x\ncolumns: [px, px]", "the column 'px' is there twice"),
        ("title: x\ncolumns: [{px: A}]", "Input should be a valid string"),
    ],
)
def test_a_malformed_preset_is_told(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_preset(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
