"""The entity-relationship diagram of a schema profile, as an SVG without scripts or fonts.

Graphviz only places boxes and bends lines: it runs inside this process (pygraphviz brings it),
is given sizes instead of texts, and so needs no font. What it has placed is drawn here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, hypot
from threading import Lock
from typing import Any
from xml.etree import ElementTree as ET

from workbench.profiling.model import Relation, SchemaProfile, Table

WIDTH = 1100  # pixels: what a report has room for, so that nothing is scaled down there
MOST_TABLES = 150
_COLUMNS_SHOWN = 6
_NARROW, _BROAD, _GAP, _BETWEEN = 112, 226, 26, 62
_LINE, _HEAD, _PAD = 17, 41, 9
_INK, _MUTE, _BORDER, _TINT = "#1a222d", "#57626f", "#8a96a3", "#e6eff7"
# Of charts.PALETTE, which importing would load altair for.
_KEY, _DECLARED, _FOUND = "#0072b2", "#5d5d5d", "#d55e00"
# What a line costs that stays within a column, goes to the next one, or passes by one, by two.
_COSTS, _BALANCE = (2.0, 0.0, 1.0, 2.5), 1.5
_LOCK = Lock()  # Graphviz keeps state of the process
Point = tuple[float, float]


@dataclass(frozen=True)
class Diagram:
    """A drawn schema: an SVG, and in words what it shows for those who cannot see it."""

    svg: str
    alt: str

    def __repr__(self) -> str:
        return f"Diagram: {self.alt}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        content = {"image/svg+xml": self.svg, "text/plain": repr(self)}
        return content, {"image/svg+xml": {"alt": self.alt}}


@dataclass(frozen=True)
class _Line:
    """A relation between two tables; `many` is false where a row has at most one."""

    table: str
    columns: tuple[str, ...]
    to_table: str
    declared: bool
    many: bool
    tested: Relation | None = None

    @property
    def share(self) -> str:
        if self.tested is None or (self.declared and self.tested.matched.value == 1):
            return ""
        return percent(float(self.tested.matched.value))


@dataclass(frozen=True)
class _Box:
    name: str
    title: str
    lines: tuple[tuple[str, str], ...]
    width: int
    height: int


@dataclass
class _Piece:
    """Tables that hang together, placed: the upper left corner of each, each line's course."""

    width: float
    height: float
    boxes: list[tuple[_Box, Point]]
    lines: list[tuple[_Line, list[Point]]] = field(default_factory=list)


def diagram(profile: SchemaProfile) -> Diagram:
    """Draw the tables of a profile, their keys and how they refer to each other.

    Declared foreign keys are solid lines, undeclared ones dashed with the share of values that
    match. Of more than 150 tables those with the most relations are drawn.
    """
    lines = sorted(_lines(profile), key=lambda line: (line.table, line.to_table, line.columns))
    related = [name for line in lines for name in (line.table, line.to_table)]
    known = {table.name: table for table in profile.tables}
    names = sorted({*known, *related}, key=lambda name: (-related.count(name), name))
    drawn = set(names[:MOST_TABLES])
    lines = [line for line in lines if {line.table, line.to_table} <= drawn]
    boxes = {name: _box(name, known.get(name), lines) for name in sorted(drawn)}
    pieces = [_arrange([boxes[name] for name in group], lines) for group in _groups(boxes, lines)]
    pieces.sort(key=lambda piece: (not piece.lines, -piece.height * bool(piece.lines)))
    alt = _in_words(profile, lines)
    return Diagram(_draw(pieces, lines, len(names) - len(drawn), alt), alt)


def percent(share: float) -> str:
    """Write a share of 1; 100 % and 0 % are said only where nothing, or all, is left out."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _lines(profile: SchemaProfile) -> Iterable[_Line]:
    tested = {(r.table, r.columns, r.to_table): r for r in profile.relations if r.declared}
    for table in profile.tables:
        unique = {key.columns for key in (table.primary_key, *table.unique) if key}
        for key in table.foreign_keys:
            here = key.to_schema in (None, profile.schema)
            to_table = key.to_table if here else f"{key.to_schema}.{key.to_table}"
            many = key.columns not in unique
            found = tested.get((table.name, key.columns, to_table))
            yield _Line(table.name, key.columns, to_table, True, many, found)
    for found in profile.relations:
        if not found.declared:
            yield _Line(found.table, found.columns, found.to_table, False, True, found)


def _box(name: str, table: Table | None, lines: Sequence[_Line]) -> _Box:
    if table is None:
        size, rows = "outside this profile", []
    else:
        size = "" if table.rows is None else f"{_about(table)}{table.rows.value:,} rows"
        size = " · ".join(part for part in (size, table.kind.removesuffix("table")) if part)
        keys = table.primary_key.columns if table.primary_key else ()
        mine = [line for line in lines if line.table == name]
        links = [c for declared in (True, False) for line in mine if line.declared is declared
                 for c in line.columns]  # fmt: skip
        rows = [("PK", column) for column in keys]
        rows += [("FK", column) for column in dict.fromkeys(links) if column not in keys]
        rows = rows[:_COLUMNS_SHOWN]
        if left := len(table.columns) - len(rows):
            words = f"+ {left} more" if rows else f"{left} column{'s' * (left > 1)}"
            rows.append(("", words))
    needed = [_breadth(name, 13.5), _breadth(size, 11.5), *(24 + _breadth(r[1], 12) for r in rows)]
    width = min(max(_NARROW, ceil(max(needed)) + 2 * _PAD), _BROAD)
    height = _HEAD + _LINE * len(rows) + _PAD * bool(rows)
    return _Box(name, size, tuple(rows), width, height)


def _about(table: Table) -> str:
    return "" if table.rows is None or table.rows.how == "exact" else "≈ "


def _groups(names: Iterable[str], lines: Sequence[_Line]) -> list[list[str]]:
    """Return the names that hang together, each group in the order of the names."""
    near: dict[str, set[str]] = {name: set() for name in names}
    for line in lines:
        near[line.table].add(line.to_table)
        near[line.to_table].add(line.table)
    groups: list[list[str]] = []
    left = dict.fromkeys(near)
    while left:
        reached = {next(iter(left))}
        edge = set(reached)
        while edge:
            edge = set().union(*(near[name] for name in edge)) - reached
            reached |= edge
        groups.append([name for name in left if name in reached])
        left = {name: None for name in left if name not in reached}
    return groups


def _arrange(boxes: Sequence[_Box], lines: Sequence[_Line]) -> _Piece:
    """Place tables that hang together in columns, as many as there is room for."""
    names = {box.name for box in boxes}
    mine = [line for line in lines if line.table in names]
    if not mine:
        return _Piece(boxes[0].width, boxes[0].height, [(boxes[0], (0, 0))])
    room = (WIDTH + _BETWEEN) // (max(box.width for box in boxes) + _BETWEEN)
    for count in range(min(room, len(boxes)), 0, -1):
        piece = _laid_out(boxes, mine, _columns(boxes, mine, count))
        if piece.width <= WIDTH:
            break
    return piece


def _columns(boxes: Sequence[_Box], lines: Sequence[_Line], count: int) -> dict[str, int]:
    """Choose a column for each table: next to those it belongs with, all about equally high.

    Left to itself, Graphviz makes as many columns as the longest chain of references has links,
    and puts all that a chain ends with into one.
    """
    near: dict[str, list[str]] = {box.name: [] for box in boxes}
    for line in lines:
        near[line.table].append(line.to_table)
        near[line.to_table].append(line.table)
    loads = [0.0] * count
    fair = sum(box.height for box in boxes) / count
    chosen: dict[str, int] = {}
    for _ in range(8):
        before = dict(chosen)
        for box in sorted(boxes, key=lambda box: -len(near[box.name])):
            if box.name in chosen:
                loads[chosen.pop(box.name)] -= box.height
            others = [chosen[name] for name in near[box.name] if name in chosen]
            costs = [
                _BALANCE * loads[column] / fair + sum(_COSTS[min(abs(column - other), 3)] for other in others)
                for column in range(count)
            ]
            chosen[box.name] = costs.index(min(costs))
            loads[chosen[box.name]] += box.height
        if chosen == before:
            break
    return chosen


def _laid_out(boxes: Sequence[_Box], lines: Sequence[_Line], columns: dict[str, int]) -> _Piece:
    from pygraphviz import AGraph

    ids = {box.name: str(number) for number, box in enumerate(boxes)}
    graph = AGraph(directed=True, strict=False, rankdir="LR")
    graph.graph_attr.update(nodesep=str(_GAP / 72), ranksep=str(_BETWEEN / 72))
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    graph.edge_attr.update(dir="none")
    for box in boxes:
        graph.add_node(ids[box.name], width=str(box.width / 72), height=str(box.height / 72))
    firsts = []
    for column in sorted(set(columns.values())):
        members = [ids[name] for name in ids if columns[name] == column]
        graph.add_subgraph(members, rank="same")
        firsts.append(members[0])
    for left, right in pairwise(firsts):
        graph.add_edge(left, right, key="order", style="invis", weight="0")
    ends = [sorted((line.table, line.to_table), key=lambda name: columns[name]) for line in lines]
    for number, (left, right) in enumerate(ends):
        graph.add_edge(ids[left], ids[right], key=str(number))
    with _LOCK:
        graph.layout(prog="dot")
    placed, courses = [], []
    for box in boxes:
        x, y = map(float, graph.get_node(ids[box.name]).attr["pos"].split(","))
        placed.append((box, (x - box.width / 2, -y - box.height / 2)))
    for number, (line, (left, right)) in enumerate(zip(lines, ends, strict=True)):
        course = graph.get_edge(ids[left], ids[right], key=str(number)).attr["pos"]
        points = [(float(x), -float(y)) for x, y in (pair.split(",") for pair in course.split())]
        courses.append((line, points if left == line.table else points[::-1]))
    return _moved_to_origin(placed, courses)


def _moved_to_origin(
    boxes: list[tuple[_Box, Point]], lines: list[tuple[_Line, list[Point]]]
) -> _Piece:
    corners = [(x + right * box.width, y + right * box.height)
               for box, (x, y) in boxes for right in (0, 1)]  # fmt: skip
    every = [*corners, *(point for _, course in lines for point in course)]
    left, top = (min(point[side] for point in every) for side in (0, 1))
    right, bottom = (max(point[side] for point in every) for side in (0, 1))
    return _Piece(
        right - left, bottom - top,
        [(box, (x - left, y - top)) for box, (x, y) in boxes],
        [(line, [(x - left, y - top) for x, y in course]) for line, course in lines],
    )  # fmt: skip


def _draw(pieces: Sequence[_Piece], lines: Sequence[_Line], left_out: int, alt: str) -> str:
    root = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
    _add(root, "title", alt)
    ground = _add(root, "rect", fill="#fff")
    frame = _add(root, "g", font_family="Helvetica, Arial, sans-serif", font_size=12, fill=_INK)
    x = y = below = 1.0
    extent = 1.0
    for piece in pieces:
        if x > 1 and x + piece.width > WIDTH:
            x, y, below = 1.0, below + _GAP, below + _GAP
        group = _add(frame, "g", transform=f"translate({x:.0f} {y:.0f})")
        for line, course in piece.lines:
            _draw_line(group, line, course)
        for box, corner in piece.boxes:
            _draw_box(group, box, corner)
        for line, course in piece.lines:
            _draw_share(group, line, course)
        x, below = x + piece.width + _GAP, max(below, y + piece.height)
        extent = max(extent, x - _GAP)
    words = [f"{left_out:,} tables with fewer relations are not drawn"] * bool(left_out)
    words += ["No tables"] * (not pieces)
    if any(not line.declared for line in lines):
        words.append("Dashed: not declared, found by values; % of the distinct values match")
    for word in words:
        below += 24
        _add(frame, "text", word, x=1, y=below, fill=_MUTE)
        extent = max(extent, _breadth(word, 12))
    width, height = round(extent) + 2, round(below) + 8
    root.attrib |= {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    ground.attrib |= {"width": str(width), "height": str(height)}
    return ET.tostring(root, encoding="unicode")


def _draw_box(parent: ET.Element, box: _Box, corner: Point) -> None:
    group = _add(parent, "g", transform="translate({:.0f} {:.0f})".format(*corner))
    outside = box.title == "outside this profile"
    _add(group, "title", box.name)
    _add(group, "rect", width=box.width, height=box.height, rx=5, fill="#fff", stroke=_BORDER,
         **{"stroke_dasharray": "3 3"} if outside else {})  # fmt: skip
    if not outside:
        _add(group, "path", fill=_TINT, d=f"M1 6q0 -5 5 -5h{box.width - 12}q5 0 5 5v{_HEAD - 7}"
             f"h-{box.width - 2}z")  # fmt: skip
    room = box.width - 2 * _PAD
    _add(group, "text", _cut(box.name, 13.5, room), x=_PAD, y=18, font_size=13.5, font_weight=600)
    _add(group, "text", box.title, x=_PAD, y=34, font_size=11.5, fill=_MUTE)
    for number, (mark, words) in enumerate(box.lines):
        y = _HEAD + _LINE * (number + 1) - 2
        if mark:
            _add(group, "text", mark, x=_PAD, y=y, font_size=11, fill=_KEY if mark == "PK" else _MUTE)
        _add(group, "text", _cut(words, 12, room - 24 * bool(mark)), x=_PAD + 24 * bool(mark), y=y,
             **{} if mark else {"fill": _MUTE})  # fmt: skip


def _draw_line(parent: ET.Element, line: _Line, course: Sequence[Point]) -> None:
    colour = _FOUND if line.share else _DECLARED
    (first, *_), (*_, last) = course, course
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in course[1:])
    ends = _foot(course, line.many) + _foot(course[::-1], False)
    group = _add(parent, "g", fill="none", stroke=colour, stroke_width=1.4)
    _add(group, "title", f"{line.table} ({', '.join(line.columns)}) → {line.to_table}")
    _add(group, "path", d=f"M{first[0]:.1f},{first[1]:.1f}C{curve}",
         **{} if line.declared else {"stroke_dasharray": "6 4"})  # fmt: skip
    _add(group, "path", d=ends)


def _foot(course: Sequence[Point], many: bool) -> str:
    """Return the end of a line at its first point: a crow's foot, or a bar for one."""
    (x, y), (towards_x, towards_y) = course[0], next(p for p in course[1:] if p != course[0])
    length = hypot(towards_x - x, towards_y - y)
    dx, dy = (towards_x - x) / length, (towards_y - y) / length
    reach = 10 if many else 6
    tip = (x + reach * dx, y + reach * dy)
    spread = (x, y) if many else tip
    return "".join(
        f"M{tip[0]:.1f},{tip[1]:.1f}L{spread[0] - side * dy:.1f},{spread[1] + side * dx:.1f}"
        for side in (5, -5)
    )


def _draw_share(parent: ET.Element, line: _Line, course: Sequence[Point]) -> None:
    if not line.share:
        return
    half = (len(course) - 1) // 2
    (x, y) = course[half]
    if half % 3:  # within a curve, whose middle is that of its four points, weighted
        a, b, c, d = course[half - 1 : half + 3]
        x, y = ((p + 3 * q + 3 * r + s) / 8 for p, q, r, s in zip(a, b, c, d, strict=True))
    _add(parent, "text", line.share, x=f"{x:.0f}", y=f"{y + 4:.0f}", text_anchor="middle",
         stroke="#fff", stroke_width=4, paint_order="stroke", stroke_linejoin="round")  # fmt: skip


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
    return size * sum(
        0 if unicodedata.combining(c) else 1.05 if unicodedata.east_asian_width(c) in "WF"
        else 0.3 if c in "iljtfI.,:;'| " else 0.85 if c in "mwMW" else 0.7 if c.isupper()
        else 0.58
        for c in text
    )  # fmt: skip


def _cut(text: str, size: float, width: float) -> str:
    text = _plain(text)
    if _breadth(text, size) <= width:
        return text
    while text and _breadth(text, size) > width - size:
        text = text[:-1]
    return text + "…"


def _in_words(profile: SchemaProfile, lines: Sequence[_Line]) -> str:
    tables = f"{len(profile.tables):,} table{'s' * (len(profile.tables) != 1)}"
    told = [f"{line.table} refers to {line.to_table}" for line in lines]
    told = list(dict.fromkeys(told))
    more = f" and {len(told) - 12} more" if len(told) > 12 else ""
    links = f": {', '.join(told[:12])}{more}" if told else ", none of which refers to another"
    return _plain(f"Diagram of {tables} of schema {profile.schema}{links}")
