"""The entity-relationship diagram of a schema profile, as an SVG without scripts or fonts."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, hypot
from typing import Any
from xml.etree import ElementTree as ET

from workbench.profiling.model import SchemaProfile, Table
from workbench.profiling.placing import (
    GAP,
    WIDTH,
    Box,
    Line,
    Piece,
    Point,
    arrange,
    graphviz,
    groups,
)
from workbench.profiling.wording import counted, percent

MOST_TABLES = 150
MOST_COLUMNS = 6
NARROW, BROAD, LINE, HEAD, PAD = 112, 226, 17, 41, 9
INK, MUTE, BORDER, TINT = "#1a222d", "#57626f", "#8a96a3", "#e6eff7"
# Of charts.PALETTE, which would load altair.
KEY, DECLARED, ODD = "#0072b2", "#5d5d5d", "#d55e00"
OUTSIDE = "outside this profile"


@dataclass(frozen=True)
class Diagram:
    """A drawn schema: an SVG, and in words what it shows for those who cannot see it."""

    svg: str
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        content = {"image/svg+xml": self.svg, "text/plain": self.alt}
        return content, {"image/svg+xml": {"alt": self.alt}}


def diagram(profile: SchemaProfile) -> Diagram:
    """Draw the tables of a profile, their keys and how they refer to each other.

    Declared foreign keys are solid lines, undeclared ones dashed with the share of values that
    match. Of more than 150 tables those with the most relations are drawn.
    """
    lines = sorted(_lines(profile), key=lambda line: (line.table, line.to_table, line.columns))
    ends = [name for line in lines for name in (line.table, line.to_table)]
    known = {table.name: table for table in profile.tables}
    links = Counter(ends)
    names = sorted({*known, *ends}, key=lambda name: (-links[name], name))
    drawn = sorted(names[:MOST_TABLES])
    lines = [line for line in lines if line.table in drawn and line.to_table in drawn]
    boxes = [_box(name, known.get(name), lines) for name in drawn]
    pieces = [arrange([box for box in boxes if box.name in group], lines)
              for group in groups(drawn, lines)]  # fmt: skip
    pieces.sort(key=lambda piece: -piece.height if piece.lines else 0)
    notes = [f"{len(names) - len(drawn):,} tables with fewer relations are not drawn."]
    notes = [] if len(names) == len(drawn) else notes
    if lines and not graphviz():
        notes.append("Graphviz could not be loaded, so lines may cross tables: docs/profile.md.")
    if any(line.share for line in lines):
        notes.append("Dashed: no foreign key is declared. %: of the distinct values, found there.")
    alt = _in_words(profile, lines)
    return Diagram(_draw(pieces, notes if names else ["No tables."], alt), alt)


def _lines(profile: SchemaProfile) -> Iterator[Line]:
    tested = {(found.table, found.columns, found.to_table): found for found in profile.relations}
    for table in profile.tables:
        unique = {key.columns for key in (table.primary_key, *table.unique) if key}
        for key in table.foreign_keys:
            here = key.to_schema in (None, profile.schema)
            to_table = key.to_table if here else f"{key.to_schema}.{key.to_table}"
            found = tested.get((table.name, key.columns, to_table))
            share = percent(found.matched.number) if found and found.orphans.value else ""
            yield Line(table.name, key.columns, to_table, key.columns not in unique, True, share)
    for found in profile.relations:
        if not found.declared:
            share = percent(found.matched.number)
            yield Line(found.table, found.columns, found.to_table, share=share)


def _box(name: str, table: Table | None, lines: Sequence[Line]) -> Box:
    about, rows = OUTSIDE, []
    if table:
        size = f"{counted(table.rows)} rows" if table.rows else ""
        about = " · ".join(filter(None, (size, table.kind.removesuffix("table"))))
        keys = table.primary_key.columns if table.primary_key else ()
        mine = sorted((line for line in lines if line.table == name), key=lambda x: not x.declared)
        links = dict.fromkeys(column for line in mine for column in line.columns)
        rows = [("PK", c) for c in keys] + [("FK", c) for c in links if c not in keys]
        rows = rows[:MOST_COLUMNS]
        if left := len(table.columns) - len(rows):
            rows.append(("", f"+ {left} more" if rows else f"{left} column{'s' * (left > 1)}"))
    needed = [_breadth(name, 13.5), _breadth(about, 11.5), *(24 + _breadth(r, 12) for _, r in rows)]
    width = min(max(NARROW, ceil(max(needed)) + 2 * PAD), BROAD)
    return Box(name, about, rows, width, HEAD + LINE * len(rows) + PAD * bool(rows))


def _draw(pieces: Sequence[Piece], notes: Sequence[str], alt: str) -> str:
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
    _add(root, "title", alt)
    ground = _add(root, "rect", fill="#fff")
    frame = _add(root, "g", font_family="Helvetica, Arial, sans-serif", font_size=12, fill=INK)
    x = y = bottom = right = 1.0
    related = True
    for piece in pieces:
        if x > 1 and (x + piece.width > WIDTH or related != bool(piece.lines)):
            x, y = 1.0, bottom + GAP
        related = bool(piece.lines)
        group = _add(frame, "g", transform=f"translate({x:.0f} {y:.0f})")
        for line, course in sorted(piece.lines, key=lambda drawn: drawn[0].share != ""):
            _draw_line(group, line, course)
        for box, corner in piece.boxes:
            _draw_box(group, box, corner)
        right, bottom = max(right, x + piece.width), max(bottom, y + piece.height)
        x += piece.width + GAP
    for note in notes:
        bottom += 24
        _add(frame, "text", note, y=bottom, fill=MUTE)
        right = max(right, _breadth(note, 12))
    width, height = ceil(right) + 1, ceil(bottom) + 6
    for element in (root, ground):
        element.attrib |= {"width": str(width), "height": str(height)}
    root.set("viewBox", f"0 0 {width} {height}")
    return ET.tostring(root, encoding="unicode")


def _draw_box(parent: ET.Element, box: Box, corner: Point) -> None:
    group = _add(parent, "g", transform="translate({:.1f} {:.1f})".format(*corner))
    room = box.width - 2 * PAD
    edge: dict[str, Any] = {"width": box.width, "height": box.height, "stroke": BORDER}
    edge |= {"stroke_dasharray": "3 3"} if box.about == OUTSIDE else {}
    _add(group, "title", box.name)
    _add(group, "rect", rx=4, fill="#fff", **edge)
    _add(group, "rect", x=1, y=1, width=box.width - 2, height=HEAD - 2, rx=3, fill=TINT)
    _add(group, "text", _cut(box.name, 13.5, room), x=PAD, y=18, font_size=13.5, font_weight=600)
    _add(group, "text", box.about, x=PAD, y=34, font_size=11.5, fill=MUTE)
    for number, (mark, words) in enumerate(box.rows):
        y = HEAD + LINE * (number + 1) - 2
        indent = 24 if mark else 0
        if mark:
            colour = KEY if mark == "PK" else MUTE
            _add(group, "text", mark, x=PAD, y=y, font_size=11, fill=colour)
        colour = INK if mark else MUTE
        _add(group, "text", _cut(words, 12, room - indent), x=PAD + indent, y=y, fill=colour)


def _draw_line(parent: ET.Element, line: Line, course: Sequence[Point]) -> None:
    colour = ODD if line.share else DECLARED
    group = _add(parent, "g", fill="none", stroke=colour, stroke_width=1.3)
    _add(group, "title", f"{line.table} ({', '.join(line.columns)}) → {line.to_table}")
    first, *others = (f"{x:.1f},{y:.1f}" for x, y in course)
    dashes = {} if line.declared else {"stroke_dasharray": "6 4"}
    _add(group, "path", d=f"M{first}C{' '.join(others)}", **dashes)
    _add(group, "path", d=_foot(course, line.many) + _foot(course[::-1], False))
    if line.share:
        half = (len(course) - 1) // 2
        x, y = course[half]
        if half % 3:  # within a curve, whose middle is that of its four points, weighted
            around = course[half - 1 : half + 3]
            x, y = ((a + 3 * b + 3 * c + d) / 8 for a, b, c, d in zip(*around, strict=True))
        halo = {"fill": INK, "stroke": "#fff", "stroke_width": 4, "paint_order": "stroke"}
        place = {"x": round(x), "y": round(y - 4), "text_anchor": "middle"}
        _add(group, "text", line.share, **place, **halo)


def _foot(course: Sequence[Point], many: bool) -> str:
    """Return the mark at the beginning of a line: a crow's foot, or a bar for one."""
    x, y = course[0]
    to_x, to_y = next(point for point in course[1:] if point != course[0])
    length = hypot(to_x - x, to_y - y)
    dx, dy = (to_x - x) / length, (to_y - y) / length
    reach = 10 if many else 6
    tip_x, tip_y = x + reach * dx, y + reach * dy
    from_x, from_y = (x, y) if many else (tip_x, tip_y)
    return "".join(
        f"M{tip_x:.1f},{tip_y:.1f}L{from_x - side * dy:.1f},{from_y + side * dx:.1f}"
        for side in (5, -5)
    )


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: object) -> ET.Element:
    named = {name.replace("_", "-"): str(value) for name, value in attributes.items()}
    element = ET.SubElement(parent, tag, named)
    element.text = None if text is None else _plain(text)
    return element


def _plain(text: str) -> str:
    """Replace what XML cannot hold, and what would break a line."""
    text = re.sub(r"\s+", " ", text)
    return re.sub("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _breadth(text: str, size: float) -> float:
    """Return about how wide a text is in a font without serifs, rather too much than too little."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" or c in "mwMW" for c in text)
    capital = sum(c.isupper() for c in text)
    thin = sum(c in "iljtfI.,:;'| " or unicodedata.combining(c) > 0 for c in text)
    return size * (0.58 * len(text) + 0.45 * wide + 0.14 * capital - 0.27 * thin)


def _cut(text: str, size: float, width: float) -> str:
    text = _plain(text)
    if _breadth(text, size) <= width:
        return text
    while text and _breadth(text, size) > width - size:
        text = text[:-1]
    return text + "…"


def _in_words(profile: SchemaProfile, lines: Sequence[Line]) -> str:
    tables = f"{len(profile.tables):,} table{'s' * (len(profile.tables) != 1)}"
    told = list(dict.fromkeys(f"{line.table} refers to {line.to_table}" for line in lines))
    more = f" and {len(told) - 12} more" if len(told) > 12 else ""
    links = f": {', '.join(told[:12])}{more}" if told else ", none of which refers to another"
    return _plain(f"Diagram of {tables} of schema {profile.schema}{links}.")
