"""A schema profile as it is read: in sentences, in tables, and a section for each table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import polars as pl
from markupsafe import Markup

from workbench import display, past
from workbench.display import Shown
from workbench.errors import DataError
from workbench.extracts import whole
from workbench.profiling.drift import Change
from workbench.profiling.model import SEVERITIES, Column, SchemaProfile, Table, read_profile
from workbench.profiling.sections import QUARTILES, referring, sections
from workbench.profiling.wording import (
    bullets,
    count,
    paragraph,
    sentence,
    value,
    words,
)
from workbench.records import warn

__all__ = [
    "changes_since", "columns_frame", "earlier", "findings_list", "inventory", "save", "sections",
    "summary",
]  # fmt: skip
PLACE = "data/profile.json"
VALUES = {"min", "max", "mean", "stddev"}  # which would give away what personal data is


def summary(profile: SchemaProfile) -> Shown:
    """Tell in sentences what is in a schema, how that was measured and what is most serious."""
    tables = profile.tables
    about = "" if all(t.rows.how == "exact" for t in tables if t.rows) else "about "
    rows = count(sum(table.count for table in tables), "row")
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
        f"{count(len(tables) - views, 'table')}{f' and {views:,} views' if views else ''} with "
        f"{count(columns, 'column')} and "
        f"{about}{rows}{f', {size} on disk' if size else ''}. "
        f"{_measured(profile)} Foreign keys: {declared:,} declared{found_too}. "
        f"Findings: {', '.join(told) or 'none'}."
    )
    worst = [finding for finding in profile.findings if finding.severity != "info"][:3]
    lines = [sentence(finding) for finding in worst]
    text = "\n".join([facts, *(line.striptags() for line in lines)])
    return Shown(paragraph(facts) + bullets(lines), text)


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
    linked = referring(profile)
    found = Counter(finding.table for finding in profile.findings)
    rows = [
        (
            table.name, table.kind, table.rows and table.count,
            table.rows and table.rows.how, _size([table]) or None, len(table.columns),
            ", ".join(table.primary_key.columns) if table.primary_key else None,
            ", ".join(dict.fromkeys(key.to_table for key in table.foreign_keys)) or None,
            ", ".join(linked[table.name]) or None, found[table.name],
        )
        for table in sorted(profile.tables, key=lambda table: table.kind == "view")
    ]  # fmt: skip
    return _table("Tables", rows, "table", "kind", "rows", "measured", "size", "columns", "key",
                  "refers to", "referred to by", "findings")  # fmt: skip


def findings_list(profile: SchemaProfile) -> Shown:
    """List the findings, most serious first, each with its evidence, the next step and its SQL."""
    query = Markup("<details><summary>SQL</summary><pre>{}</pre></details>")
    lines = [
        Markup("{}<br>→ {}{}").format(
            sentence(finding), finding.next_step, query.format(finding.query) * bool(finding.query)
        )
        for finding in profile.findings
    ]
    return Shown(bullets(lines) or paragraph("None."), count(len(lines), "finding"))


def earlier(profile: SchemaProfile, compare_to: str | None) -> SchemaProfile | None:
    """Return the profile that compare_to names: a file's, or "latest" for the last run's.

    The latest is the newest of earlier runs with this source and schema; None where there is none.
    A warning tells what cannot be read of them; raises DataError where compare_to names it itself.
    """
    if compare_to != "latest":
        return read_profile(compare_to) if compare_to else None
    for path in past.files(PLACE) if past.in_run() else Path().glob(PLACE):
        try:
            found = read_profile(path)
        except DataError as error:
            warn(error.message)
            continue
        if (found.source, found.schema) == (profile.source, profile.schema):
            return found
    return None


def changes_since(before: SchemaProfile | None, changes: Sequence[Change]) -> Shown:
    """List what changed since an earlier profile, most serious first; or say that nothing did."""
    if changes:
        rows = [(c.severity, words(c.kind), c.table, c.column, c.evidence) for c in changes]
        return _table("Changes", rows, "severity", "change", "table", "column", "evidence")
    text = (
        f"Nothing has changed since the profile of {value(before.as_of)} UTC." if before else
        "Not compared: there is no earlier profile of this schema, or compare_to names none."
    )  # fmt: skip
    return Shown(paragraph(text), text)


def save(profile: SchemaProfile) -> Shown:
    """Write data/profile.json, and data/columns.csv with a row for each column."""
    listed = display.save(columns_frame(profile), "columns", ["csv"])
    path = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / PLACE
    with whole(path, overwrite=True) as building:
        building.write_text(profile.to_json(), encoding="utf-8")
    link = Markup('<a href="{0}">{0}</a>: {1} tables').format(PLACE, len(profile.tables))
    return Shown(paragraph(link) + Markup(listed.html), f"{PLACE}, {listed.text}")  # noqa: S704


def columns_frame(profile: SchemaProfile) -> pl.DataFrame:
    """Return a row for each column with its figures; of personal data only counts."""
    single = [f.name for f in fields(Column) if f.type in ("Count | None", "Figure | None")]
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


def _size(tables: Iterable[Table]) -> str:
    """Write whole megabytes from ten on: finer changes whenever the database tidies up."""
    sizes = [table.size.number for table in tables if table.size]
    megabytes = round(sum(sizes) / 1e6)
    return f"{megabytes:,} MB" if megabytes >= 10 else "< 10 MB" if sizes else ""


def _table(caption: str, rows: Sequence[tuple[object, ...]], *names: str) -> Shown:
    frame = pl.DataFrame(rows, schema=list(names), orient="row", infer_schema_length=None)
    return display.table(frame, caption, rows=100, rest=PLACE)
