"""Where the boxes of a diagram stand, and how the lines between them run.

Graphviz places boxes and bends lines: pygraphviz runs it inside this process, it is given sizes
instead of texts, and so needs no font. Its wheel needs libraries of the system (GLib, X11) that a
server without a desktop may lack; without them boxes are stacked, and lines may cross them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from threading import Lock
from typing import Any

WIDTH = 1000  # pixels: on a common laptop a report has room for nine tenths of it
GAP, BETWEEN = 26, 62  # pixels between boxes, and between columns of them
# What a line costs that stays within a column, goes to the next one, or passes by one, by two.
COSTS, BALANCE, ROUNDS = (2.0, 0.0, 1.0, 2.5), 1.5, 8
_lock = Lock()  # Graphviz keeps state of the process
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A relation; `many` is false where one row at most refers to another."""

    table: str
    columns: tuple[str, ...]
    to_table: str
    many: bool = True
    declared: bool = False
    share: str = ""


@dataclass(frozen=True)
class Box:
    """A table to be drawn: what stands in it, and how much room it takes."""

    name: str
    about: str
    rows: list[tuple[str, str]]
    width: int
    height: int


@dataclass
class Piece:
    """Tables that hang together, placed: each one's upper left corner, each line's course."""

    width: float
    height: float
    boxes: list[tuple[Box, Point]]
    lines: list[tuple[Line, list[Point]]] = field(default_factory=list)


@cache
def graphviz() -> Any:
    """Return pygraphviz's graph, or None where it cannot be loaded."""
    try:
        from pygraphviz import AGraph  # type: ignore[import-untyped]
    except ImportError:
        return None
    return AGraph


def groups(names: Sequence[str], lines: Sequence[Line]) -> list[set[str]]:
    """Return the names that hang together, in the order of the names."""
    groups = {name: {name} for name in names}
    for line in lines:
        if groups[line.table] is not groups[line.to_table]:
            joined = groups[line.table] | groups[line.to_table]
            groups |= dict.fromkeys(joined, joined)
    return list({id(group): group for group in groups.values()}.values())


def arrange(boxes: Sequence[Box], lines: Sequence[Line]) -> Piece:
    """Place tables that hang together in columns, as many as there is room for."""
    names = {box.name for box in boxes}
    mine = [line for line in lines if line.table in names]
    piece = Piece(boxes[0].width, boxes[0].height, [(boxes[0], (0, 0))])
    room = (WIDTH + BETWEEN) // (max(box.width for box in boxes) + BETWEEN)
    for count in range(min(room, len(boxes)), 0, -1) if mine else ():
        lay_out = _laid_out if graphviz() else _stacked
        piece = lay_out(boxes, mine, _columns(boxes, mine, count))
        if piece.width <= WIDTH:
            break
    return piece


def _columns(boxes: Sequence[Box], lines: Sequence[Line], count: int) -> dict[str, int]:
    """Choose a column for each table: next to those it belongs with, all about equally high.

    Left to itself, Graphviz makes as many columns as the longest chain of references has links,
    and puts all that chains end with into one.
    """
    near: dict[str, list[str]] = {box.name: [] for box in boxes}
    for line in lines:
        near[line.table].append(line.to_table)
        near[line.to_table].append(line.table)
    loads, fair = [0.0] * count, sum(box.height for box in boxes) / count
    chosen: dict[str, int] = {}
    for _ in range(ROUNDS):
        for box in sorted(boxes, key=lambda box: -len(near[box.name])):
            if box.name in chosen:
                loads[chosen.pop(box.name)] -= box.height
            others = [chosen[name] for name in near[box.name] if name in chosen]
            costs = [
                BALANCE * loads[at] / fair + sum(COSTS[min(abs(at - other), 3)] for other in others)
                for at in range(count)
            ]
            chosen[box.name] = costs.index(min(costs))
            loads[chosen[box.name]] += box.height
    return chosen


def _stacked(boxes: Sequence[Box], lines: Sequence[Line], columns: dict[str, int]) -> Piece:
    """Stack each column's boxes; a line is one curve between the sides that face each other."""
    places: dict[str, tuple[Box, Point]] = {}
    x, bottom = 0.0, 0.0
    for at in sorted(set(columns.values())):
        column = [box for box in boxes if columns[box.name] == at]
        y = 0.0
        for box in column:
            places[box.name] = box, (x, y)
            y += box.height + GAP
        x += max(box.width for box in column) + BETWEEN
        bottom = max(bottom, y - GAP)
    piece = Piece(x - BETWEEN / 2, bottom, list(places.values()))
    met = Counter(name for line in lines for name in (line.table, line.to_table))
    heights = {  # each end of a line has a place of its own beside the box
        name: iter([y + box.height * (at + 1) / (met[name] + 1) for at in range(met[name])])
        for name, (box, (_, y)) in places.items()
    }
    for line in lines:
        (one, (x1, _)), (two, (x2, _)) = places[line.table], places[line.to_table]
        # Within a column both ends are on the right.
        start = x1 + one.width * (x1 <= x2), next(heights[line.table])
        end = x2 + two.width * (x2 <= x1), next(heights[line.to_table])
        out, back = BETWEEN / 2 * (1 if x1 <= x2 else -1), BETWEEN / 2 * (1 if x2 <= x1 else -1)
        bends = [(start[0] + out, start[1]), (end[0] + back, end[1])]
        piece.lines.append((line, [start, *bends, end]))
    return piece


def _laid_out(boxes: Sequence[Box], lines: Sequence[Line], columns: dict[str, int]) -> Piece:
    ids = {box.name: str(number) for number, box in enumerate(boxes)}
    graph = graphviz()(directed=True, strict=False, rankdir="LR")
    graph.graph_attr.update(nodesep=str(GAP / 72), ranksep=str(BETWEEN / 72))
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    graph.edge_attr.update(dir="none")
    for box in boxes:
        graph.add_node(ids[box.name], width=str(box.width / 72), height=str(box.height / 72))
    members = [[ids[n] for n in ids if columns[n] == at] for at in sorted(set(columns.values()))]
    for column in members:
        graph.add_subgraph(column, rank="same")
    for before, after in pairwise(members):
        graph.add_edge(before[0], after[0], key="order", style="invis", weight="0")
    # From left to right whichever way they refer: that keeps the columns in their order.
    ends = [sorted((line.table, line.to_table), key=columns.__getitem__) for line in lines]
    for number, (left, right) in enumerate(ends):
        graph.add_edge(ids[left], ids[right], key=str(number))
    with _lock:
        graph.layout(prog="dot")
    _, _, width, height = map(float, graph.graph_attr["bb"].split(","))

    def points(item: Any) -> list[Point]:
        pairs = (pair.split(",") for pair in item.attr["pos"].split())
        return [(float(x), height - float(y)) for x, y in pairs]

    piece = Piece(width, height, [])
    for box in boxes:
        [(x, y)] = points(graph.get_node(ids[box.name]))
        piece.boxes.append((box, (x - box.width / 2, y - box.height / 2)))
    for number, (line, (left, right)) in enumerate(zip(lines, ends, strict=True)):
        course = points(graph.get_edge(ids[left], ids[right], key=str(number)))
        piece.lines.append((line, course if left == line.table else course[::-1]))
    return piece
