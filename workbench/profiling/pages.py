"""A schema profile as it is read: in sentences, tables, and a page for each table.

What was not counted in every row is marked ≈, and each table says how it was measured.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
MOST_TABLES, OPENED = 30, 3
BINS, BLOCKS = 8, "▁▂▃▅▇"
BAR, EIGHTHS = 6, "▏▎▍▌▋▊▉█"
BLUE = "#0072b2"  # of charts.PALETTE


def summary(profile: SchemaProfile) -> Shown:
    """Tell in sentences what is in a schema, how that was measured and what is most serious."""
    tables = profile.tables
    rows = [int(table.rows.value) for table in tables if table.rows]
    about = "" if all(_exact(table.rows) for table in tables) else "about "
    facts = [
        f"Schema {profile.schema} of {profile.source} ({profile.server}) has "
        f"{_count(len(tables), 'table')} with {_count(sum(len(t.columns) for t in tables), 'column')} "
        f"and {about}{_count(sum(rows), 'row')}{_size(tables, ', ', ' on disk')}.",
        _measured(profile),
    ]
    declared = sum(len(table.foreign_keys) for table in tables)
    facts.append(f"{_count(declared, 'foreign key')} {'is' if declared == 1 else 'are'} declared.")
    if found := sum(not relation.declared for relation in profile.relations):
        facts.append(
            f"{_count(found, 'more relation')} was found by comparing values."
            if found == 1
            else f"{found:,} more relations were found by comparing values."
        )
    counts = Counter(finding.severity for finding in profile.findings)
    told = [f"{counts[severity]:,} {severity}" for severity in SEVERITIES if counts[severity]]
    facts.append(f"Findings: {', '.join(told) or 'none'}.")
    worst = [f for f in profile.findings if f.severity != "info"][:3]
    lines = [(f"{f.severity.capitalize()}, {_words(f.kind)}{_at(f)}:", f.evidence) for f in worst]
    items = Markup().join(Markup("<li><b>{}</b> {}</li>").format(*line) for line in lines)
    html = Markup("<p>{}</p>").format(" ".join(facts)) + (
        Markup("<ul>{}</ul>").format(items) if items else ""
    )
    return Shown(html, "\n".join([" ".join(facts), *(" ".join(line) for line in lines)]))


def _measured(profile: SchemaProfile) -> str:
    if profile.depth == 0:
        return "No table was read: figures are the database's own statistics."
    hows = Counter(_how(table) for table in profile.tables if not table.problem)
    unread = hows.pop("dictionary", 0)
    parts = [
        f"{_count(number, 'table')} {'was' if number == 1 else 'were'} read "
        + ("in full" if how == "exact" else how)
        for how, number in sorted(hows.items())
    ]
    if set(hows) == {"exact"} and hows["exact"] == len(profile.tables):
        parts = ["Every table was read in full"]
    if unread:
        parts.append(f"{_count(unread, 'table or view', 'tables and views')} not at all")
    if problems := sum(table.problem is not None for table in profile.tables):
        parts.append(f"{_count(problems, 'table')} could not be measured")
    return ", ".join(parts) + "."


def inventory(profile: SchemaProfile) -> Shown:
    """List the tables: rows and how they were counted, size, key, and relations."""
    finds = Counter(finding.table for finding in profile.findings)
    linked = Counter(key.to_table for table in profile.tables for key in table.foreign_keys)
    rows = [
        {
            "table": table.name, "what": table.kind, "rows": table.rows and int(table.rows.value),
            "how": _how(table), "size": _size([table]), "columns": len(table.columns),
            "key": ", ".join(table.primary_key.columns) if table.primary_key else None,
            "refers to": ", ".join(dict.fromkeys(key.to_table for key in table.foreign_keys)) or None,
            "referred to by": linked[table.name], "findings": finds[table.name],
        }
        for table in profile.tables
    ]  # fmt: skip
    kinds = dict.fromkeys(("rows", "columns", "referred to by", "findings"), pl.Int64)
    names = (
        "table",
        "what",
        "rows",
        "how",
        "size",
        "columns",
        "key",
        "refers to",
        "referred to by",
        "findings",
    )
    frame = pl.DataFrame(rows, schema={name: kinds.get(name, pl.String) for name in names})
    if frame["what"].n_unique() == 1:
        frame = frame.drop("what")
    return display.table(frame, "Tables", rows=100, rest=PLACE)


def findings_table(profile: SchemaProfile) -> Shown:
    """List the findings, most serious first, each with its evidence and the next step."""
    rows = [
        (f.severity, _words(f.kind), f.table, ", ".join(f.columns) or None, f.evidence, f.next_step)
        for f in profile.findings
    ]
    names = ("severity", "finding", "table", "columns", "evidence", "next step")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return display.table(frame, "Findings", rows=50, rest=PLACE)


def changes_table(changes: Sequence[Change]) -> Shown:
    """List what changed between two profiles, most serious first."""
    rows = [
        (c.severity, _words(c.kind), c.table, c.column, c.evidence,
         *(None if side is None else _value(side) for side in (c.before, c.after)))
        for c in changes
    ]  # fmt: skip
    names = ("severity", "change", "table", "column", "evidence", "before", "after")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return display.table(frame, "Changes", rows=50)


def changes_since(profile: SchemaProfile, compare_to: str | None) -> Shown:
    """List what changed since an earlier profile: a file, or "latest" for that of the last run.

    Where there is none yet, a sentence says so. Raises DataError for a file that is no profile.
    """
    if compare_to is None:
        return _sentence(
            "Compared with nothing: compare_to names an earlier profile.json, or latest."
        )
    path: Path | None = Path(compare_to)
    if compare_to == "latest":
        run = os.environ.get("WORKBENCH_RUN_DIR")
        # By their names the newest is the last; one that failed early has left no profile.
        earlier = Path(run).parent.glob(f"[0-9]*/{PLACE}") if run else Path().glob(PLACE)
        path = max(earlier, default=None)
    if path is None:
        return _sentence("There is no earlier run with a profile to compare with.")
    before = read_profile(path)
    changes = drift(before, profile)
    if not changes:
        return _sentence(f"Nothing has changed since the profile of {_value(before.as_of)} UTC.")
    return changes_table(changes)


def save(profile: SchemaProfile) -> Shown:
    """Write data/profile.json, and data/columns.csv with a row for each column."""
    listed = display.save(columns_frame(profile), "columns", ["csv"])
    path = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / PLACE
    building = path.with_suffix(".partial")
    building.write_text(profile.to_json(), encoding="utf-8")
    building.replace(path)
    text = f"the whole profile, version {profile.version}"
    link = Markup('<p><a href="{0}">{0}</a>: {1}</p>').format(PLACE, text)
    return Shown(link + listed.html, f"{PLACE}: {text}\n{listed.text}")


def columns_frame(profile: SchemaProfile) -> pl.DataFrame:
    """Return a row for each column with its figures, as texts where they may be dates.

    Columns with personal data have counts only.
    """
    counts = ("nulls", "distinct", "blank", "nan", "infinite", "true", "future", "min_length",
              "max_length", "numeric_text", "date_text")  # fmt: skip
    values = ("min", "max", "mean", "stddev")
    fractions = ("0.05", "0.25", "0.5", "0.75", "0.95")
    rows = []
    for table in profile.tables:
        keys = table.primary_key.columns if table.primary_key else ()
        for place, column in enumerate(table.columns, 1):
            figures = {name: getattr(column, name) for name in (*values, *counts)}
            figures |= {f"quantile {at}": (column.quantiles or {}).get(at) for at in fractions}
            if column.personal:
                figures |= {name: None for name in figures if name not in counts}
            hows = dict.fromkeys(figure.how for figure in figures.values() if figure)
            rows.append({
                "table": table.name, "column": column.name, "position": place,
                "type": column.type, "kind": column.kind, "nullable": column.nullable,
                "key": column.name in keys, "rows": table.rows and int(table.rows.value),
                **{name: figure and (int(figure.value) if name in counts else str(figure.value))
                   for name, figure in figures.items()},
                "personal": ", ".join(share.value for share in column.personal) or None,
                "how": ", ".join(hows) or None, "comment": column.comment,
            })  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def sections(profile: SchemaProfile, *, most: int = MOST_TABLES, opened: int = OPENED) -> Shown:
    """Show a page for each table, those that matter most first, the first few unfolded.

    Matters most: serious findings, then relations, then rows.
    """
    worst = {f.table: SEVERITIES.index(f.severity) for f in reversed(profile.findings)}
    links = Counter(key.to_table for table in profile.tables for key in table.foreign_keys)

    def rank(table: Table) -> tuple[int, int, int, str]:
        rows = int(table.rows.value) if table.rows else 0
        links_of = links[table.name] + len(table.foreign_keys)
        return worst.get(table.name, len(SEVERITIES)), -links_of, -rows, table.name

    tables = sorted(profile.tables, key=rank)
    parts = [_section(profile, table, at < opened) for at, table in enumerate(tables[:most])]
    if left := len(tables) - len(parts):
        parts.append(
            Markup("<p>{} more: {}, {}.</p>").format(
                _count(left, "table"), "in " + PLACE, "data/columns.csv"
            )
        )
    legend = ("Shape: how the values spread over equal steps from the smallest to the largest, "
              "interpolated between quantiles. ≈: not counted in every row.")  # fmt: skip
    html = Markup("<p><small>{}</small></p>{}").format(legend, Markup("\n").join(parts))
    return Shown(
        html, f"{_count(len(tables[:most]), 'table')}: {', '.join(t.name for t in tables[:most])}"
    )


def _section(profile: SchemaProfile, table: Table, opened: bool) -> Markup:
    about = [
        _shown(table.rows) + " rows" if table.rows else "",
        _count(len(table.columns), "column"),
        _how(table) or "",
    ]
    notes = [table.comment, table.problem, *_relations(profile, table)]
    notes += [
        f"{f.severity.capitalize()}, {_words(f.kind)}{_at(f, table)}: {f.evidence}"
        for f in profile.findings
        if f.table == table.name
    ]
    rows = Markup("\n").join(_row(table, column) for column in table.columns)
    return Markup(
        "<details{}><summary><b>{}</b> – {}</summary>{}<table><caption>Columns of {}</caption>"
        "<thead><tr><th>Column</th><th>Type</th><th>Nulls</th><th>Distinct</th><th>Range</th>"
        "<th>Typical</th><th>Shape</th></tr></thead><tbody>{}</tbody></table></details>"
    ).format(
        Markup(" open") if opened else "", table.name, ", ".join(filter(None, about)),
        Markup().join(Markup("<p>{}</p>").format(note) for note in notes if note), table.name, rows,
    )  # fmt: skip


def _relations(profile: SchemaProfile, table: Table) -> Iterator[str]:
    if table.primary_key:
        yield f"Key: {', '.join(table.primary_key.columns)}."
    for key in table.foreign_keys:
        to_table = ".".join(filter(None, (key.to_schema, key.to_table)))
        yield f"{', '.join(key.columns)} refers to {to_table} ({', '.join(key.to_columns)})."
    for found in profile.relations:
        if found.table == table.name and not found.declared:
            share = percent(float(found.matched.value))
            yield (f"{', '.join(found.columns)} seems to refer to {found.to_table} "
                   f"({', '.join(found.to_columns)}): {share} of the values are there.")  # fmt: skip
    names = [
        other.name
        for other in profile.tables
        for key in other.foreign_keys
        if key.to_table == table.name
    ]
    if names:
        yield f"Referred to by {', '.join(dict.fromkeys(names))}."


def _row(table: Table, column: Column) -> Markup:
    name = (
        Markup("{}<br><small>{}</small>").format(column.name, _short(column.comment, 100))
        if column.comment
        else column.name
    )
    return Markup(
        '<tr><th scope="row">{}</th><td>{}</td><td>{}</td><td class="gt_right">{}</td><td>{}</td>'
        "<td>{}</td><td>{}</td></tr>"
    ).format(
        name, _short(column.type, 40), _nulls(table, column), _shown(column.distinct, column),
        _range(column), _typical(table, column), "" if column.personal else histogram(column),
    )  # fmt: skip


def _nulls(table: Table, column: Column) -> Markup | str:
    share = _share(column.nulls, table.rows)
    if share is None:
        return "–"
    about = "" if _exact(column.nulls) else "≈ "
    eighths = max(1, round(share * BAR * 8)) if share else 0
    bar = "█" * (eighths // 8) + (EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
    return Markup('<span style="color:{}" title="{} rows">{}</span> {}{}').format(
        BLUE, _shown(column.nulls), bar, about, percent(share)
    )


def _range(column: Column) -> str:
    if column.personal:
        return ", ".join(f"{share.value} in {_shown(share.rows)} rows" for share in column.personal)
    if column.kind == "text":
        ends, unit = (column.min_length, column.max_length), " characters"
    else:
        ends, unit = (column.min, column.max), ""
    if not all(ends):
        return "–"
    low, high = (_shown(end, column) for end in ends)
    return (low if low == high else f"{low} – {high.removeprefix('≈ ')}") + unit


def _typical(table: Table, column: Column) -> Markup | str:
    if column.personal:
        return ""
    if column.quantiles:
        low, mid, high = (
            _shown(column.quantiles.get(at), column) for at in ("0.25", "0.5", "0.75")
        )
        return Markup(
            '<span title="a quarter, half and three quarters of the values lie at or below">{} · <b>{}</b> · {}</span>'
        ).format(low, mid, high)
    if (share := _share(column.true, table.rows)) is not None:
        return f"true {percent(share)}"
    top = [(_short(s.value, 24), _share(s.rows, table.rows)) for s in column.top[:3]]
    return ", ".join(f"{value} {percent(share)}" for value, share in top if share is not None)


def histogram(column: Column) -> Markup:
    """Draw how values spread over equal steps from the smallest to the largest, in blocks.

    Between the known quantiles values are taken to be spread evenly.
    """
    if not column.quantiles:
        return Markup()
    known = {"0": column.min, **column.quantiles, "1": column.max}
    points = [
        (float(at), _position(figure))
        for at, figure in sorted(known.items(), key=lambda p: float(p[0]))
        if figure
    ]
    if len(points) < 3 or not points[0][1] < points[-1][1] < float("inf"):
        return Markup()
    fractions, places = zip(*points, strict=True)
    step = (places[-1] - places[0]) / BINS

    def below(place: float) -> float:
        at = bisect_right(places, place)
        if at == len(places):
            return 1.0
        within = (place - places[at - 1]) / (places[at] - places[at - 1])
        return fractions[at - 1] + within * (fractions[at] - fractions[at - 1])

    edges = [0.0, *(below(places[0] + step * n) for n in range(1, BINS)), 1.0]
    shares = [high - low for low, high in pairwise(edges)]
    top = max(shares)
    blocks = "".join(BLOCKS[round(share / top * (len(BLOCKS) - 1))] for share in shares)
    title = "In equal steps from smallest to largest: " + ", ".join(percent(s) for s in shares)
    return Markup('<span style="color:{};white-space:nowrap" title="{}">{}</span>').format(
        BLUE, title, blocks
    )


def _position(figure: Figure) -> float:
    if isinstance(figure.value, str) and figure.value[4:5] == "-":
        return datetime.fromisoformat(figure.value).replace(tzinfo=None).timestamp()
    return float(figure.value)


def _shown(figure: Figure | None, column: Column | None = None) -> str:
    if figure is None:
        return "–"
    plain = column is not None and column.name.lower().endswith("id")
    return ("" if _exact(figure) else "≈ ") + _value(figure.value, grouped=not plain)


def _value(value: object, *, grouped: bool = True) -> str:
    """Write a value to be read: six decimals at most, midnights as days."""
    text = str(value)
    if isinstance(value, str) and text[4:5] == "-" and text[7:8] == "-":
        return text.replace("T00:00:00", "").replace("T", " ")
    if isinstance(value, bool) or not text.lstrip("-")[:1].isdigit():
        return text
    number = Decimal(text)
    if 0 < abs(number) < Decimal("0.00001") or abs(number) >= Decimal("1e18"):
        return f"{number:.4g}"
    shown = (
        f"{round(number, 6):,f}" if grouped and abs(number) < 10**15 else f"{round(number, 6):f}"
    )
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _share(part: Figure | None, rows: Figure | None) -> float | None:
    return float(part.value) / float(rows.value) if part and rows and rows.value else None


def _exact(figure: Figure | None) -> bool:
    return figure is None or figure.how == "exact"


def _how(table: Table) -> str | None:
    hows = [column.nulls.how for column in table.columns if column.nulls] or [
        table.rows.how
    ] * bool(table.rows)
    return hows[0] if hows else None


def _size(tables: Iterable[Table], before: str = "", after: str = "") -> str:
    """Write megabytes; finer would change with every clean-up of the database."""
    sizes = [float(table.size.value) for table in tables if table.size]
    megabytes = round(sum(sizes) / 1e6)
    return f"{before}{f'{megabytes:,}' if megabytes else '< 1'} MB{after}" if sizes else ""


def _words(kind: str) -> str:
    return kind.replace("-", " ")


def _at(finding: Finding, table: Table | None = None) -> str:
    name = finding.table if table is None else None
    place = ".".join(filter(None, (name, ", ".join(finding.columns))))
    return f" in {place}" if place else ""


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _sentence(text: str) -> Shown:
    return Shown(Markup("<p>{}</p>").format(text), text)
