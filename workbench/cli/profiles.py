"""`workbench profile`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workbench.cli import cancellable, main
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.profiling.drift import Change
    from workbench.profiling.model import Figure, Finding, SchemaProfile

MARKS = {"critical": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("–", "dim")}
_seconds = click.FloatRange(min=0, min_open=True)


@main.command("profile")
@click.argument("source")
@click.option("--schema", metavar="S", help="The schema.  [default: the source's]")
@click.option("--table", "tables", multiple=True, metavar="T", help="Profile these tables only.")
@click.option(
    "--depth",
    type=click.IntRange(0, 2),
    default=1,
    show_default=True,
    help="0 reads the dictionary, 1 each table once, 2 looks for relations and repeats.",
)
@click.option(
    "--sample-percent",
    type=click.FloatRange(0, 100, min_open=True),
    metavar="P",
    help="Read this share of each table.  [default: as much as 200,000 rows]",
)
@click.option("--exact", is_flag=True, help="Read every row.")
@click.option("--json", "output", metavar="FILE", help="Write the profile as JSON; - prints it.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--compare-to",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Tell what changed since this profile.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(MARKS)),
    help="Exit with 3 for a finding or change as serious as this.",
)
@click.option(
    "--table-timeout",
    type=_seconds,
    default=60,
    show_default=True,
    metavar="S",
    help="Seconds for each table.",
)
@click.option(
    "--timeout",
    type=_seconds,
    default=1800,
    show_default=True,
    metavar="S",
    help="Seconds for all of them.",
)
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
@click.pass_context
def profile_command(
    context: click.Context, source: str, schema: str | None, tables: tuple[str, ...], depth: int,
    sample_percent: float | None, exact: bool, output: str | None, overwrite: bool,
    compare_to: Path | None, fail_on: str | None, table_timeout: float, timeout: float,
    quiet: bool,
) -> None:  # fmt: skip
    """Say what is in a schema of SOURCE, what is odd about it, and what changed.

    \b
    Examples:
      workbench profile demo --schema marketpulse
      workbench profile demo --schema marketpulse --table colors --depth 2 --exact
      workbench profile warehouse --json today.json --compare-to monday.json
      workbench profile warehouse --depth 0 --json - --fail-on critical

    A number with ~ is an estimate. A table that is locked or takes too long is a finding. Exit
    codes: 0 profiled, 1 failed, 2 the request was wrong, 3 findings or changes as serious as
    --fail-on says (the JSON is written all the same), 130 cancelled.
    """
    if exact and sample_percent:
        raise UsageError("--exact reads every row; it does not go with --sample-percent.")
    from workbench.extracts import whole
    from workbench.profiling.drift import drift
    from workbench.profiling.model import SEVERITIES, read_profile
    from workbench.profiling.survey import profile_schema

    before = read_profile(compare_to) if compare_to else None
    place = whole(Path(output), overwrite) if output and output != "-" else nullcontext()
    with cancellable(), place as building:
        profile = profile_schema(
            source, schema, tables or None, depth=depth,
            sample_percent=100 if exact else sample_percent, table_seconds=table_timeout,
            seconds=timeout, progress=not quiet,
        )  # fmt: skip
        if building:
            building.write_text(profile.to_json() + "\n", encoding="utf-8")
    if before and tables:
        chosen = {table.name for table in profile.tables}
        before = replace(before, tables=tuple(t for t in before.tables if t.name in chosen))
    changes = drift(before, profile) if before else ()
    if output == "-":
        click.echo(profile.to_json())
    elif not quiet:
        _show(profile, changes, f"{before.as_of} UTC" if before else None)
    least = SEVERITIES.index(fail_on) if fail_on else -1
    told: list[Finding | Change] = [*profile.findings, *changes]
    grave = [item for item in told if SEVERITIES.index(item.severity) <= least]
    if grave:
        count = f"{len(grave):,} of {len(told):,} findings and changes"
        click.echo(f"error: {count} are {fail_on} or worse, {grave[0].kind} first", err=True)
        context.exit(3)


def _show(profile: SchemaProfile, changes: Sequence[Change], since: str | None) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    from workbench.profiling.model import Finding
    from workbench.profiling.wording import place
    from workbench.reporting.text import inert

    inventory = Table(box=None, pad_edge=False)
    for heading in ("table", "rows", "columns", "size", "primary key"):
        right = heading in ("rows", "columns", "size")
        inventory.add_column(heading, justify="right" if right else "left")
    for table in profile.tables:
        size = decimal(int(table.size.value)) if table.size else "–"
        key = ", ".join(table.primary_key.columns) if table.primary_key else "–"
        cells = (table.name, _about(table.rows), f"{len(table.columns):,}", size, key)
        inventory.add_row(*(Text(inert(cell)) for cell in cells))

    def listing(items: Sequence[Finding | Change]) -> Table:
        grid = Table(box=None, pad_edge=False, show_header=False)
        for item in items:
            mark, colour = MARKS[item.severity]
            if isinstance(item, Finding):
                at = place(item)
                step = "\n".join(filter(None, (f"\n→ {item.next_step}", item.query)))
            else:
                at, step = ".".join(filter(None, (item.table, item.column))), ""
            words = Text(inert(": ".join(filter(None, (at, item.kind, item.evidence)))))
            words.append(inert(step), "dim")
            grid.add_row(Text(mark, colour), words)
        return grid

    seen = profile.findings
    parts = [(f"{profile.source}, schema {profile.schema}, {profile.server}", inventory)]
    parts.append((f"Findings: {len(seen):,}", listing(seen)))
    if since:
        parts.append((f"Changes since {since}: {len(changes):,}", listing(changes)))
    console = Console()
    for title, grid in parts:
        console.print(Text(inert(title), "bold"), *([grid] if grid.rows else []), "", sep="\n")


def _about(figure: Figure | None) -> str:
    return f"{'' if figure.how == 'exact' else '~'}{figure.value:,}" if figure else "–"
