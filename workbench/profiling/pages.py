"""A schema profile as it is read: in sentences, in tables, and a section for each table.

What was not counted in every row is marked ≈.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
from markupsafe import Markup

from workbench import display
from workbench.display import Shown
from workbench.profiling.diagram import percent
from workbench.profiling.drift import Change, drift
from workbench.profiling.model import (
    SEVERITIES,
    Column,
    Figure,
    Finding,
    SchemaProfile,
    Table,
    read_profile,
)

PLACE = "data/profile.json"
VALUES = {"min", "max", "mean", "stddev"}  # which would give away what personal data is
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


def summary(profile: SchemaProfile) -> Shown:
    """Tell in sentences what is in a schema, how that was measured and what is most serious."""
    tables = profile.tables
    rows = [table.rows for table in tables if table.rows]
    about = "" if all(figure.how == "exact" for figure in rows) else "about "
    views = sum(table.kind == "view" for table in tables)
    columns = sum(len(table.columns) for table in tables)
    size = _size(tables)
    declared = sum(len(table.foreign_keys) for table in tables)
    found = sum(not relation.declared for relation in profile.relations)
    found_too = f", {found:,} more found by comparing values" if found else ""
    counts = Counter(finding.severity for finding in profile.findings)
    told = [f"{counts[severity]:,} {severity}" for severity in SEVERITIES if counts[severity]]
    facts = (
        f"Schema {profile.schema} of {profile.source} ({profile.server}) has "
        f"{_count(len(tables) - views, 'table')}{f' and {views:,} views' if views else ''} with "
        f"{_count(columns, 'column')} and "
        f"{about}{_count(sum(map(_rows, tables)), 'row')}{f', {size} on disk' if size else ''}. "
        f"{_measured(profile)} Foreign keys: {declared:,} declared{found_too}. "
        f"Findings: {', '.join(told) or 'none'}."
    )
    worst = [finding for finding in profile.findings if finding.severity != "info"][:3]
    lines = [_sentence(finding) for finding in worst]
    text = "\n".join([facts, *(line.striptags() for line in lines)])
    return Shown(_paragraph(facts) + _bullets(lines), text)


def _measured(profile: SchemaProfile) -> str:
    if profile.depth == 0:
        return "No table was read: the figures are the database's own statistics."
    hows = Counter("" if t.problem or not t.rows else t.rows.how for t in profile.tables)
    unread = hows.pop("", 0) + hows.pop("dictionary", 0)
    read = [f"{n:,} {'in full' if how == 'exact' else how}" for how, n in sorted(hows.items())]
    problems = sum(table.problem is not None for table in profile.tables)
    return (
        f"Tables read: {', '.join(read) or 'none'}"
        + (f"; not read: {unread:,}" if unread else "")
        + (f", of which {problems:,} could not be" if problems else "")
        + "."
    )


def inventory(profile: SchemaProfile) -> Shown:
    """List the tables: rows and how they were counted, size, key, and relations."""
    found = Counter(finding.table for finding in profile.findings)
    rows = [
        (
            table.name, table.kind, table.rows and _rows(table),
            table.rows and table.rows.how, _size([table]) or None, len(table.columns),
            ", ".join(table.primary_key.columns) if table.primary_key else None,
            ", ".join(dict.fromkeys(key.to_table for key in table.foreign_keys)) or None,
            ", ".join(_referring(profile, table)) or None, found[table.name],
        )
        for table in sorted(profile.tables, key=lambda table: table.kind == "view")
    ]  # fmt: skip
    return _table("Tables", rows, "table", "kind", "rows", "measured", "size", "columns", "key",
                  "refers to", "referred to by", "findings")  # fmt: skip


def findings_table(profile: SchemaProfile) -> Shown:
    """List the findings, most serious first, each with its evidence and the next step."""
    rows = [
        (f.severity, _words(f.kind), _place(f) or None, f.evidence, f.next_step)
        for f in profile.findings
    ]
    return _table("Findings", rows, "severity", "finding", "where", "evidence", "next step")


def changes_table(changes: Sequence[Change]) -> Shown:
    """List what changed between two profiles, most serious first."""
    rows = [
        (c.severity, _words(c.kind), c.table, c.column, c.evidence)
        for c in changes
    ]  # fmt: skip
    return _table("Changes", rows, "severity", "change", "table", "column", "evidence")


def changes_since(profile: SchemaProfile, compare_to: str | None) -> Shown:
    """List what changed since an earlier profile: a file, or "latest" for that of the last run.

    Where there is none, a sentence says so. Raises DataError for a file that is no profile.
    """
    path = Path(compare_to) if compare_to else None
    if compare_to == "latest":
        run = os.environ.get("WORKBENCH_RUN_DIR")
        # The newest by its name; a run that failed early has left no profile.
        earlier = Path(run).parent.glob(f"[0-9]*/{PLACE}") if run else Path().glob(PLACE)
        path = max(earlier, default=None)
    if path is None:
        text = "Not compared: " + ("no earlier run has left a profile." if compare_to else
                                   "compare_to names no earlier profile.")  # fmt: skip
    else:
        before = read_profile(path)
        if changes := drift(before, profile):
            return changes_table(changes)
        text = f"Nothing has changed since the profile of {_value(before.as_of)} UTC."
    return Shown(_paragraph(text), text)


def save(profile: SchemaProfile) -> Shown:
    """Write data/profile.json, and data/columns.csv with a row for each column."""
    listed = display.save(columns_frame(profile), "columns", ["csv"])
    path = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / PLACE
    building = path.with_suffix(".partial")
    building.write_text(profile.to_json(), encoding="utf-8")
    building.replace(path)
    link = Markup('<a href="{0}">{0}</a>: {1} tables').format(PLACE, len(profile.tables))
    return Shown(_paragraph(link) + Markup(listed.html), f"{PLACE}, {listed.text}")  # noqa: S704


def columns_frame(profile: SchemaProfile) -> pl.DataFrame:
    """Return a row for each column with its figures; of personal data only counts."""
    single = [field.name for field in fields(Column) if field.type == "Figure | None"]
    rows = []
    for table in profile.tables:
        keys = table.primary_key.columns if table.primary_key else ()
        for column in table.columns:
            figures = {name: getattr(column, name) for name in single}
            figures |= {f"quantile {at}": (column.quantiles or {}).get(at) for at in QUARTILES}
            hidden = {name for name in figures if name in VALUES or " " in name}
            rows.append({
                "table": table.name, "column": column.name, "type": column.type,
                "nullable": column.nullable, "primary_key": column.name in keys,
                "rows": table.rows and str(table.rows.value),
                **{name: str(figure.value) if figure and not (column.personal and name in hidden)
                   else None for name, figure in figures.items()},
                "personal": ", ".join(share.value for share in column.personal),
                "how": ", ".join(dict.fromkeys(f.how for f in figures.values() if f)),
                "comment": column.comment,
            })  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def sections(profile: SchemaProfile, *, most: int = 30, opened: int = 3) -> Shown:
    """Show a section for each table, those that matter most first, the first few unfolded.

    What matters most has serious findings, then many relations, then many rows.
    """
    worst = {f.table: SEVERITIES.index(f.severity) for f in reversed(profile.findings)}

    def rank(table: Table) -> tuple[int, int, int, str]:
        links = len(table.foreign_keys) + len(_referring(profile, table))
        return worst.get(table.name, len(SEVERITIES)), -links, -_rows(table), table.name

    ranked = sorted(profile.tables, key=rank)
    parts = [_section(profile, table, at < opened) for at, table in enumerate(ranked[:most])]
    left = f"{_count(len(ranked) - most, 'more table')}: see {PLACE} and data/columns.csv."
    parts += [_paragraph(left)] if len(ranked) > most else []
    legend = Markup("<p><small>{}</small></p>").format(LEGEND)
    return Shown(legend + Markup("\n").join(parts), _count(len(ranked), "table"))


def _section(profile: SchemaProfile, table: Table, opened: bool) -> Markup:
    rows = [f"{_counted(table.rows)} rows"] if table.rows else []
    about = ", ".join([*rows, _count(len(table.columns), "column")])
    told = [_sentence(finding) for finding in profile.findings if finding.table == table.name]
    return Markup(
        "<details{}><summary><b>{}</b> – {}</summary>{}{}<table><caption>Columns of {}</caption>"
        '<thead><tr><th>Column</th><th>Nulls</th><th class="gt_right">Distinct</th><th>Shape</th>'
        "<th>Range</th><th>Typical</th></tr></thead><tbody>{}</tbody></table></details>"
    ).format(
        Markup(" open") if opened else "", table.name, about,
        _paragraph(" ".join(_facts(profile, table))), _bullets(told), table.name,
        Markup("\n").join(_row(table, column) for column in table.columns),
    )  # fmt: skip


def _facts(profile: SchemaProfile, table: Table) -> Iterator[str]:
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
            share = percent(float(found.matched.value))
            yield (f"{', '.join(found.columns)} seems to refer to {found.to_table} "
                   f"({', '.join(found.to_columns)}): {share} of its values match.")  # fmt: skip
    if names := _referring(profile, table):
        yield f"Referred to by {', '.join(names)}."


def _referring(profile: SchemaProfile, table: Table) -> list[str]:
    return [
        other.name
        for other in profile.tables
        if any(key.to_table == table.name for key in other.foreign_keys)
    ]


def _row(table: Table, column: Column) -> Markup:
    kind = column.type if column.nullable else f"{column.type}, not null"
    about = " – ".join(filter(None, (_short(kind, 50), _short(column.comment or "", 100))))
    return Markup(
        '<tr><th scope="row">{}<br><small style="font-weight:400">{}</small></th><td>{}</td>'
        '<td class="gt_right">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>'
    ).format(
        column.name, about, _nulls(table, column), _counted(column.distinct),
        "" if column.personal else histogram(column), _range(column), _typical(table, column),
    )  # fmt: skip


def _nulls(table: Table, column: Column) -> Markup:
    share = _share(column.nulls, table)
    if column.nulls is None or share is None:
        return Markup("–")
    eighths = max(1, round(share * BAR * 8)) if share else 0
    bar = EIGHTHS[-1] * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
    title = f"{_counted(column.nulls)} rows"
    return Markup('<span style="color:{};white-space:nowrap" title="{}">{}</span> {}{}').format(
        BLUE, title, bar, _about(column.nulls), percent(share)
    )


def _range(column: Column) -> Markup:
    if column.personal:
        return Markup("<br>").join(
            f"{share.value}: {_counted(share.rows)} rows" for share in column.personal
        )
    text = column.kind == "text"
    low, high = (column.min_length, column.max_length) if text else (column.min, column.max)
    if low is None or high is None:
        return Markup("–")
    both = [str(end.value) if _is_id(column) else _value(end.value) for end in (low, high)]
    between = Markup(" –<br>") if len("".join(both)) > 22 else Markup(" – ")
    ends = between.join(dict.fromkeys(both))
    return Markup("{}{}{}").format(_about(low), ends, " characters" if text else "")


def _typical(table: Table, column: Column) -> str:
    if column.personal or _is_id(column):
        return ""
    if column.quantiles:
        shown = QUARTILES if column.kind in ("integer", "decimal", "float") else ("0.5",)
        found = [column.quantiles[at] for at in shown if at in column.quantiles]
        return "".join(map(_about, found[:1])) + " · ".join(_value(f.value, 6) for f in found)
    if (share := _share(column.true, table)) is not None:
        return f"true {percent(share)}"
    top = ((_short(value.value, 20), _share(value.rows, table) or 0) for value in column.top[:3])
    return ", ".join(f"{value} {percent(share)}" for value, share in top if share >= FREQUENT)


def histogram(column: Column) -> Markup:
    """Draw how many values lie in equal steps from the smallest to the largest, in blocks.

    Between the known quantiles values are taken to be spread evenly.
    """
    if not column.quantiles or not column.min or not column.max or _is_id(column):
        return Markup()
    known = sorted((float(at), _position(figure)) for at, figure in column.quantiles.items())
    points = [(0.0, _position(column.min)), *known, (1.0, _position(column.max))]
    fractions, places = zip(*points, strict=True)
    step = (places[-1] - places[0]) / BINS
    if not 0 < step < float("inf"):
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


def _position(figure: Figure) -> float:
    text = str(figure.value)
    if text[4:5] == "-" and text[7:8] == "-":
        return datetime.fromisoformat(text).replace(tzinfo=None).timestamp()
    return float(text)


def _counted(figure: Figure | None) -> str:
    return f"{_about(figure)}{float(figure.value):,.0f}" if figure else "–"


def _about(figure: Figure) -> str:
    return "" if figure.how == "exact" else "≈ "


def _value(value: object, digits: int | None = None) -> str:
    """Write a column's value to be read: midnights as days, a fraction of so many digits."""
    text = str(value)
    if text[4:5] == "-" and text[7:8] == "-":
        return text.removesuffix("T00:00:00").replace("T", " ")
    if not text.lstrip("-")[:1].isdigit():
        return text
    number = Decimal(text)
    if number and not 1e-6 < abs(number) < 1e15:
        return f"{number:.6g}" if isinstance(value, float) else text
    if digits:
        number = round(number, max(0, digits - 1 - number.adjusted()))
    # A number of four digits may be a year.
    shown = f"{number:,f}" if abs(number) >= 10_000 else f"{number:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _is_id(column: Column) -> bool:
    return re.search(r"(^|[_ ])(o?id|key|nr|no|number)$", column.name.lower()) is not None


def _share(part: Figure | None, table: Table) -> float | None:
    rows = _rows(table)
    return float(part.value) / rows if part and rows else None


def _rows(table: Table) -> int:
    return int(table.rows.value) if table.rows else 0


def _size(tables: Iterable[Table]) -> str:
    """Write whole megabytes: finer changes whenever the database tidies up."""
    sizes = [float(table.size.value) for table in tables if table.size]
    megabytes = round(sum(sizes) / 1e6)
    return f"{megabytes:,} MB" if megabytes else "< 1 MB" if sizes else ""


def _words(kind: str) -> str:
    return kind.replace("-", " ")


def _place(finding: Finding) -> str:
    return ".".join(filter(None, (finding.table, ", ".join(finding.columns))))


def _sentence(finding: Finding) -> Markup:
    where = f" in {place}" if (place := _place(finding)) else ""
    said = f"{finding.severity.capitalize()}, {_words(finding.kind)}{where}:"
    return Markup("<b>{}</b> {}").format(said, finding.evidence)


def _paragraph(text: str) -> Markup:
    return Markup("<p>{}</p>").format(text) if text else Markup()


def _bullets(lines: Iterable[str]) -> Markup:
    items = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup("<ul>{}</ul>").format(items) if items else items


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table(caption: str, rows: Sequence[tuple[object, ...]], *names: str) -> Shown:
    frame = pl.DataFrame(rows, schema=list(names), orient="row", infer_schema_length=None)
    return display.table(frame, caption, rows=100, rest=PLACE)
