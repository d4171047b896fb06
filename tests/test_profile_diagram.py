"""The diagram of a schema: whole, legible and inert, whatever the tables are called."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from workbench.profiling.diagram import diagram
from workbench.profiling.model import (
    Column,
    Figure,
    ForeignKey,
    Key,
    Relation,
    SchemaProfile,
    Table,
)
from workbench.reporting.html import render
from workbench.reporting.outputs import shown
from workbench.reporting.sanitise import Outline

NOW = "2026-01-31T06:00:00"
SHARES = (1.0, 0.98765, 0.5, 0.9999)
HOSTILE = [
    "<script>alert(1)</script>", "]]>&amp;\"'", "--><svg onload=x>", "Ünïcödé ✓", "שלום עולם",
    "مرحبا\u202e gpj.exe", "顧客住所録" * 6, "w" * 300, " ", "tab\tline\nend\x00\x1b",
    "{curly} %s $x", "\\N", "a:b", "node", "graph",
]  # fmt: skip


def figure(value: float | int, how: str = "exact") -> Figure:
    return Figure(value, how, NOW)


def profile_of(
    names: list[str],
    declared: list[tuple[str, str]],
    found: list[tuple[str, str, float]] | None = None,
) -> SchemaProfile:
    """Tables with a key, foreign keys named after their target, and five more columns each."""
    tables = []
    for name in names:
        targets = [target for source, target in declared if source == name]
        every = targets + [target for source, target, _ in found or [] if source == name]
        columns = [Column("id", "bigint", "integer")]
        columns += [Column(f"{target}_id", "bigint", "integer") for target in every]
        columns += [Column(f"c{n}", "text", "text") for n in range(5)]
        keys = tuple(ForeignKey((f"{target}_id",), target, ("id",)) for target in targets)
        tables.append(
            Table(name, rows=figure(len(name) * 1000), columns=tuple(columns),
                  primary_key=Key(("id",)), foreign_keys=keys)
        )  # fmt: skip
    relations = [
        Relation(source, (f"{target}_id",), target, ("id",), False, figure(share), figure(1))
        for source, target, share in found or []
    ]
    return SchemaProfile("demo", "s", NOW, "PostgreSQL 18", 2, tuple(tables), tuple(relations))


def shop() -> SchemaProfile:
    """Sixty tables: most hang together, some refer to themselves, ten stand alone."""
    dice = random.Random(7)
    names = [f"{dice.choice(['order', 'stock', 'customer', 'x'])}_table_{n}" for n in range(60)]
    pairs = {(names[n], names[dice.randrange(n)]) for n in range(1, 50)}
    pairs |= {tuple(dice.sample(names[:50], 2)) for _ in range(25)}
    pairs |= {(names[3], names[3])}
    ordered = sorted(pairs)
    found = [(*pair, share) for pair, share in zip(ordered[:4], SHARES, strict=True)]
    return profile_of(names, ordered[4:], found)


Box = tuple[float, float, float, float]


class Drawn:
    """What an SVG shows, read from it alone."""

    def __init__(self, svg: str) -> None:
        self.root = ET.fromstring(svg)  # noqa: S314 - our own
        _, _, self.width, self.height = map(float, self.root.attrib["viewBox"].split())
        self.boxes: dict[str, Box] = {}
        self.lines: list[tuple[str, list[tuple[float, float]], ET.Element]] = []
        self._read(self.root, 0, 0)

    def _read(self, element: ET.Element, x: float, y: float) -> None:
        if moved := re.fullmatch(r"translate\((\S+) (\S+)\)", element.get("transform", "")):
            x, y = x + float(moved[1]), y + float(moved[2])
        parts = {child.tag.partition("}")[2]: child for child in reversed(element)}
        title = parts["title"].text or "" if "title" in parts else None
        if title is not None and element is not self.root and "rect" in parts:
            [rect] = [r for r in element if r.get("stroke")]
            sides = float(rect.get("width", 0)), float(rect.get("height", 0))
            assert title not in self.boxes
            self.boxes[title] = (x, y, x + sides[0], y + sides[1])
        elif title is not None and "path" in parts:
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", parts["path"].attrib["d"])]
            pairs = zip(numbers[::2], numbers[1::2], strict=True)
            points = [(x + a, y + b) for a, b in pairs]
            self.lines.append((title, points, element))
        for child in element:
            self._read(child, x, y)


def curve(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a chain of cubic curves."""
    found = []
    for at in range(0, len(points) - 3, 3):
        around = points[at : at + 4]
        for step in range(11):
            t = step / 10
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            found.append(tuple(
                sum(w * p[side] for w, p in zip(weights, around, strict=True))
                for side in (0, 1)
            ))  # fmt: skip
    return found


def from_border(point: tuple[float, float], box: Box) -> float:
    (x, y), (left, top, right, bottom) = point, box
    outside = max(left - x, x - right, top - y, y - bottom)
    return abs(outside)


def is_clear(drawn: Drawn) -> None:
    for (_, a), (_, b) in itertools.combinations(drawn.boxes.items(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    spots = [corner for a in drawn.boxes.values() for corner in (a[:2], a[2:])]
    spots += [point for _, points, _ in drawn.lines for point in curve(points)]
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.height for x, y in spots)
    assert drawn.width <= 1005
    sizes = [float(e.get("font-size", 12)) for e in drawn.root.iter() if "text" in e.tag]
    assert min(sizes, default=11) >= 11


def test_sixty_tables_stand_clear_of_each_other_and_every_relation_is_drawn() -> None:
    profile = shop()
    drawn = Drawn(diagram(profile).svg)
    assert set(drawn.boxes) == {table.name for table in profile.tables}
    is_clear(drawn)
    expected = [
        (f"{table.name} ({key.columns[0]}) → {key.to_table}", table.name, key.to_table)
        for table in profile.tables for key in table.foreign_keys
    ]  # fmt: skip
    expected += [
        (f"{found.table} ({found.columns[0]}) → {found.to_table}", found.table, found.to_table)
        for found in profile.relations
    ]
    assert sorted(title for title, *_ in drawn.lines) == sorted(title for title, *_ in expected)
    courses = {title: points for title, points, _ in drawn.lines}
    for title, table, to_table in expected:
        assert from_border(courses[title][0], drawn.boxes[table]) < 2
        assert from_border(courses[title][-1], drawn.boxes[to_table]) < 2


def test_undeclared_relations_are_dashed_and_say_how_much_matches() -> None:
    profile = shop()
    drawn = Drawn(diagram(profile).svg)
    dashed = {
        title: [text.text for text in element if text.tag.endswith("text")]
        for title, _, element in drawn.lines
        if any(path.get("stroke-dasharray") for path in element)
    }
    shares = ["100 %", "98.8 %", "50 %", "> 99.9 %"]
    assert dashed == {
        f"{found.table} ({found.columns[0]}) → {found.to_table}": [share]
        for found, share in zip(profile.relations, shares, strict=True)
    }


def test_a_declared_key_with_orphans_says_so() -> None:
    profile = profile_of(["a", "b"], [("a", "b")])
    tested = Relation("a", ("b_id",), "b", ("id",), True, figure(0.994), figure(7))
    [(_, _, line)] = Drawn(diagram(replace(profile, relations=(tested,))).svg).lines
    assert [text.text for text in line if text.tag.endswith("text")] == ["99.4 %"]
    assert not any(path.get("stroke-dasharray") for path in line)


def test_a_box_shows_keys_first_and_says_how_many_columns_it_leaves_out() -> None:
    profile = profile_of(["a", "b", "c"], [("a", "b")], [("a", "c", 0.9)])
    root = Drawn(diagram(profile).svg).root
    [box] = [
        g
        for g in root.findall(".//{*}g")
        if g.findtext("{*}title") == "a" and g.find("{*}rect") is not None
    ]
    texts = [text.text for text in box.findall("{*}text")]
    assert texts == ["a", "1,000 rows", "PK", "id", "FK", "b_id", "FK", "c_id", "+ 5 more"]


def test_tables_elsewhere_are_shown_as_such() -> None:
    profile = profile_of(["a"], [])
    key = ForeignKey(("x",), "b", ("id",), to_schema="other")
    profile = replace(profile, tables=(replace(profile.tables[0], foreign_keys=(key,)),))
    drawing = diagram(profile)
    assert set(Drawn(drawing.svg).boxes) == {"a", "other.b"}
    assert "outside this profile" in drawing.svg


@pytest.mark.parametrize(
    "profile",
    [
        profile_of([], []),
        profile_of(["only"], []),
        profile_of(["self"], [("self", "self")]),
        profile_of(["a", "b"], [("a", "b"), ("b", "a")]),
        profile_of([f"t{n}" for n in range(9)], [(f"t{n}", f"t{n + 1}") for n in range(8)]),
        profile_of([f"t{n:02}" for n in range(60)], [(f"t{n:02}", "t00") for n in range(1, 60)]),
        profile_of([f"alone_{n}" for n in range(70)], []),
    ],
    ids=["none", "one", "itself", "circle", "chain", "star", "alone"],
)
def test_any_shape_of_schema_is_drawn(profile: SchemaProfile) -> None:
    drawn = Drawn(diagram(profile).svg)
    assert set(drawn.boxes) == {table.name for table in profile.tables}
    assert len(drawn.lines) == sum(len(table.foreign_keys) for table in profile.tables)
    is_clear(drawn)


def test_sixty_tables_that_all_refer_to_each_other_are_drawn() -> None:
    names = [f"t{n:02}" for n in range(60)]
    drawn = Drawn(diagram(profile_of(names, list(itertools.combinations(names, 2)))).svg)
    assert (len(drawn.boxes), len(drawn.lines)) == (60, 1770)
    is_clear(drawn)


def test_of_very_many_tables_those_with_relations_are_drawn() -> None:
    names = [f"t{n:03}" for n in range(400)]
    drawing = diagram(profile_of(names, [("t398", "t399")]))
    assert {"t398", "t399"} <= set(Drawn(drawing.svg).boxes)
    assert "250 tables with fewer relations are not drawn" in drawing.svg
    assert "400 tables" in drawing.alt


def test_hostile_names_stay_names() -> None:
    links = [(name, HOSTILE[n - 1]) for n, name in enumerate(HOSTILE)]
    drawing = diagram(profile_of(HOSTILE, links))
    drawn = Drawn(drawing.svg)
    tags = {element.tag.partition("}")[2] for element in drawn.root.iter()}
    assert tags <= {"svg", "title", "g", "rect", "path", "text"}
    names = {name for element in drawn.root.iter() for name in element.attrib}
    assert not {
        name for name in names if name.startswith("on") or "href" in name or "style" in name
    }
    assert len(drawn.boxes) == len(HOSTILE)
    is_clear(drawn)


def test_a_profile_is_drawn_the_same_everywhere_and_in_silence(
    capfd: pytest.CaptureFixture[str],
) -> None:
    profile = shop()
    svg = diagram(profile).svg
    others: list[str] = []
    threads = [threading.Thread(target=lambda: others.append(diagram(profile).svg)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = (
        "import sys, os; from workbench.profiling.model import SchemaProfile as P\n"
        "from workbench.profiling.diagram import diagram; p = P.from_json(sys.stdin.read())\n"
        "child = os.fork()\n"
        "if child == 0: sys.stdout.write(diagram(p).svg); sys.stdout.flush(); os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    forked = subprocess.run(
        [sys.executable, "-c", code], input=profile.to_json(), capture_output=True, text=True,
        env={"PATH": "", "HOME": "/nonexistent"}, timeout=60,
    )  # fmt: skip
    assert forked.stderr == ""
    assert {*others, forked.stdout} == {svg}
    assert capfd.readouterr() == ("", "")


def test_where_graphviz_cannot_be_loaded_all_is_drawn_and_the_reader_told() -> None:
    links = [("a", "b"), ("a", "b"), ("b", "b"), ("c", "a"), ("c", "b")]
    profile = profile_of(["a", "b", "c"], links)
    code = (
        "import sys; sys.modules['pygraphviz'] = None\n"
        "from workbench.profiling.model import SchemaProfile as P\n"
        "from workbench.profiling.diagram import diagram\n"
        "print(diagram(P.from_json(sys.stdin.read())).svg)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=profile.to_json(),
                          capture_output=True, text=True, check=True)  # fmt: skip
    drawn, whole = Drawn(done.stdout), Drawn(diagram(profile).svg)
    assert {*drawn.boxes} == {*whole.boxes}
    assert len({tuple(points) for _, points, _ in drawn.lines}) == len(whole.lines) > 0
    assert all(points[0] != points[-1] for _, points, _ in drawn.lines)
    is_clear(drawn)
    assert "Graphviz could not be loaded" in done.stdout


def test_those_who_cannot_see_it_are_told() -> None:
    drawing = diagram(profile_of(["orders", "customers"], [("orders", "customers")]))
    content, metadata = drawing._repr_mimebundle_()
    said = "Diagram of 2 tables of schema s: orders refers to customers."
    assert metadata["image/svg+xml"]["alt"] == content["text/plain"] == repr(drawing) == said
    assert content["image/svg+xml"] == drawing.svg


def test_a_report_shows_it_and_prints_a_tall_one_over_several_pages() -> None:
    def markup(profile: SchemaProfile) -> str:
        data, metadata = diagram(profile)._repr_mimebundle_()
        return str(
            shown([new_output("display_data", data=data, metadata=metadata)], Outline(set()))
        )

    wide = BeautifulSoup(markup(shop()), "html.parser").figure
    assert wide["class"] == ["scroll", "tall"]
    assert (wide["role"], wide["tabindex"], bool(wide["aria-label"])) == ("group", "0", True)
    small = markup(profile_of(["orders", "customers"], [("orders", "customers")]))
    assert '<figure><img src="data:image/svg+xml;base64,' in small
    assert 'alt="Diagram of 2 tables of schema s: orders refers to customers."' in small


@pytest.mark.browser
def test_on_a_telephone_a_wide_diagram_keeps_its_size_and_the_page_does_not_scroll(
    browser: Any, tmp_path: Path
) -> None:
    drawing = diagram(shop())
    data, metadata = drawing._repr_mimebundle_()
    cell = new_code_cell("diagram", execution_count=1)
    cell.outputs = [new_output("display_data", data=data, metadata=metadata)]
    path = tmp_path / "report.html"
    path.write_text(render(new_notebook(cells=[cell]), {}), encoding="utf-8")
    measure = """() => { const f = document.querySelector('main figure'), i = f.firstElementChild;
        return [i.clientWidth, f.clientWidth, f.scrollWidth, f.clientHeight,
                document.documentElement.scrollWidth]; }"""
    drawn = Drawn(drawing.svg)
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.goto(path.as_uri())
        image, box, inside, height, whole = page.evaluate(measure)
        assert whole <= width
        if width == 390:
            assert image == drawn.width
            assert box < 390 <= inside
            assert height <= 844
        else:
            assert inside <= box
            assert image >= 0.85 * drawn.width


@pytest.mark.browser
def test_no_text_leaves_its_box_in_a_browser(browser: Any) -> None:
    links = [(name, HOSTILE[n - 1]) for n, name in enumerate(HOSTILE)]
    wide = ["WWWWWWWWWWWWWWWWWWWWWWWW", "ILLIAD_illili_customer_addresses", "MMMM_mmmm_ÄÖÜ"]
    svg = diagram(profile_of(HOSTILE + wide, links)).svg
    measure = """() => [...document.querySelectorAll('g')].flatMap(g => {
        const box = g.querySelector(':scope > rect');
        if (!box) return [];
        const room = box.width.baseVal.value;
        return [...g.querySelectorAll(':scope > text')].map(t => {
            const b = t.getBBox(); return [t.textContent, room - b.x - b.width, b.x]; });
    })"""
    page = browser.new_page()
    page.set_content(svg)
    texts = page.evaluate(measure)
    assert len(texts) > 50
    assert [text for text in texts if text[0].strip() and min(text[1:]) < 1] == []
