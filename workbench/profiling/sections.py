"""A section for each table of a profile: its relations, its findings, its columns.

What was not counted in every row is marked ≈.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from markupsafe import Markup

from workbench.display import Shown
from workbench.profiling.model import NUMBERS, SEVERITIES, Column, Figure, SchemaProfile, Table
from workbench.profiling.wording import (
    LONGEST,
    about,
    bullets,
    count,
    counted,
    paragraph,
    percent,
    sentence,
    short,
    value,
)  # fmt: skip

PLACES = "data/profile.json and data/columns.csv"
QUARTILES = ("0.25", "0.5", "0.75")
FREQUENT = 0.05  # of the rows: rarer values are not typical
BINS, BLOCKS = 8, "▁▂▃▅▇"
BAR, EIGHTHS = 6, "▏▎▍▌▋▊▉█"
BLUE = "#0072b2"  # of charts.PALETTE
LEGEND = (
    "Shape: how many values lie in equal steps from the smallest to the largest, taken to be "
    "spread evenly between known quantiles. Typical: the values at or below which a quarter, half "
    "and three quarters lie (of days, half), or the most frequent. ≈: not counted in every row."
)


def sections(profile: SchemaProfile, *, most: int = 240, opened: int = 3) -> Shown:
    """Show a section for each table, those that matter most first, the first few unfolded.

    What matters most has serious findings, then many relations, then many rows. The sections end
    with that table that fills `most` columns.
    """
    worst = {f.table: SEVERITIES.index(f.severity) for f in reversed(profile.findings)}
    linked = referring(profile)

    def rank(table: Table) -> tuple[int, int, int, str]:
        links = len(table.foreign_keys) + len(linked[table.name])
        return worst.get(table.name, len(SEVERITIES)), -links, -table.count, table.name

    ranked = sorted(profile.tables, key=rank)
    parts: list[Markup] = []
    for table in ranked:
        if most <= 0:
            left = count(len(ranked) - len(parts), "more table")
            parts.append(paragraph(f"{left}: see {PLACES}."))
            break
        about = linked[table.name]
        parts.append(_section(profile, table, about, len(parts) < opened, most))
        most -= max(1, len(table.columns))
    legend = Markup("<p><small>{}</small></p>").format(LEGEND)
    return Shown(legend + Markup("\n").join(parts), count(len(ranked), "table"))


def _section(
    profile: SchemaProfile, table: Table, linked: list[str], opened: bool, most: int
) -> Markup:
    shown, left = table.columns[:most], len(table.columns) - most
    rows = [f"{counted(table.rows)} rows"] if table.rows else []
    about = ", ".join([*rows, count(len(table.columns), "column")])
    told = [sentence(finding) for finding in profile.findings if finding.table == table.name]
    return Markup(
        "<details{}><summary><b>{}</b> – {}</summary>{}{}<table><caption>Columns of {}</caption>"
        '<thead><tr><th>Column</th><th>Nulls</th><th class="gt_right">Distinct</th><th>Shape</th>'
        "<th>Range</th><th>Typical</th></tr></thead><tbody>{}</tbody></table>{}</details>"
    ).format(
        Markup(" open") if opened else "", table.name, about,
        paragraph(" ".join(_facts(profile, table, linked))), bullets(told), table.name,
        Markup("\n").join(_row(table, column) for column in shown),
        paragraph(f"{count(left, 'more column')}: see {PLACES}.") if left > 0 else "",
    )  # fmt: skip


def _facts(profile: SchemaProfile, table: Table, linked: list[str]) -> Iterator[str]:
    if table.comment:
        yield table.comment.rstrip(".") + "."
    if table.problem:
        yield table.problem
    if table.primary_key:
        yield f"Key: {', '.join(table.primary_key.columns)}."
    for key in table.foreign_keys:
        yield f"{', '.join(key.columns)} refers to {key.to_table} ({', '.join(key.to_columns)})."
    for found in profile.relations:
        if found.table == table.name and not found.declared:
            share = percent(found.matched.number)
            yield (f"{', '.join(found.columns)} seems to refer to {found.to_table} "
                   f"({', '.join(found.to_columns)}): {share} of its values match.")  # fmt: skip
    if linked:
        yield f"Referred to by {', '.join(linked)}."


def referring(profile: SchemaProfile) -> dict[str, list[str]]:
    """Return which tables refer to a table by a declared foreign key."""
    names: dict[str, list[str]] = {table.name: [] for table in profile.tables}
    for table in profile.tables:
        here = (key for key in table.foreign_keys if key.to_schema in (None, profile.schema))
        for name in dict.fromkeys(key.to_table for key in here):
            names.setdefault(name, []).append(table.name)
    return names


def _row(table: Table, column: Column) -> Markup:
    kind = column.type if column.nullable else f"{column.type}, not null"
    about = " – ".join(filter(None, (short(kind, 50), short(column.comment or "", 100))))
    return Markup(
        '<tr><th scope="row">{}<br><small style="font-weight:400">{}</small></th><td>{}</td>'
        '<td class="gt_right">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>'
    ).format(
        column.name, about, _nulls(table, column), counted(column.distinct),
        "" if column.personal else histogram(column), _range(column), _typical(table, column),
    )  # fmt: skip


def _nulls(table: Table, column: Column) -> Markup:
    share = _share(column.nulls, table)
    if column.nulls is None or share is None:
        return Markup("–")
    eighths = max(1, round(share * BAR * 8)) if share else 0
    bar = EIGHTHS[-1] * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
    title = f"{counted(column.nulls)} rows"
    return Markup('<span style="color:{};white-space:nowrap" title="{}">{}</span> {}{}').format(
        BLUE, title, bar, about(column.nulls), percent(share)
    )


def _range(column: Column) -> Markup:
    if column.personal:
        return Markup("<br>").join(
            f"{share.value}: {counted(share.rows)} rows" for share in column.personal
        )
    text = column.kind == "text"
    low, high = (column.min_length, column.max_length) if text else (column.min, column.max)
    if low is None or high is None:
        return Markup("–")
    both = [
        short(str(end.value), LONGEST) if _is_id(column) else value(end.value)
        for end in (low, high)
    ]
    between = Markup(" –<br>") if len("".join(both)) > 16 else Markup(" – ")
    ends = between.join(dict.fromkeys(both))
    return Markup("{}{}{}").format(about(low), ends, " characters" if text else "")


def _typical(table: Table, column: Column) -> str:
    if column.personal or _is_id(column):
        return ""
    if column.quantiles:
        shown = QUARTILES if column.kind in NUMBERS else ("0.5",)
        found = [column.quantiles[at] for at in shown if at in column.quantiles]
        return "".join(map(about, found[:1])) + " · ".join(value(f.value, 6) for f in found)
    if (share := _share(column.true, table)) is not None:
        return f"true {percent(share)}"
    top = ((short(one.value, 20), _share(one.rows, table) or 0) for one in column.top[:3])
    return ", ".join(f"{text} {percent(share)}" for text, share in top if share >= FREQUENT)


def histogram(column: Column) -> Markup:
    """Draw how many values lie in equal steps from the smallest to the largest, in blocks.

    Between the known quantiles values are taken to be spread evenly.
    """
    if not column.quantiles or not column.min or not column.max or _is_id(column):
        return Markup()
    known = sorted((float(at), figure.number) for at, figure in column.quantiles.items())
    points = [(0.0, column.min.number), *known, (1.0, column.max.number)]
    fractions, places = zip(*points, strict=True)
    step = (places[-1] - places[0]) / BINS
    # Infinity has no place, nor have days before the year 1 and after 9999.
    if not (all(map(math.isfinite, places)) and 0 < step < math.inf):
        return Markup()

    def below(place: float) -> float:
        at = min(bisect_right(places, place), len(places) - 1)
        within = (place - places[at - 1]) / (places[at] - places[at - 1] or 1)
        return float(fractions[at - 1] + within * (fractions[at] - fractions[at - 1]))

    edges = [0.0, *(below(places[0] + step * at) for at in range(1, BINS)), 1.0]
    shares = [high - low for low, high in pairwise(edges)]
    blocks = "".join(BLOCKS[round(share / max(shares) * (len(BLOCKS) - 1))] for share in shares)
    title = "From the smallest to the largest: " + ", ".join(map(percent, shares))
    return Markup('<span style="color:{};white-space:nowrap" title="{}">{}</span>').format(
        BLUE, title, blocks
    )


def _is_id(column: Column) -> bool:
    return re.search(r"(^|[_ ])(o?id|key|nr|no|number)$", column.name.lower()) is not None


def _share(part: Figure | None, table: Table) -> float | None:
    return part.number / table.count if part and table.count else None
