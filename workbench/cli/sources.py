"""`workbench demo`."""

from __future__ import annotations

import json

import click

from workbench.cli import cancellable, main
from workbench.errors import UsageError


@main.command("demo")
@click.option("--reset", is_flag=True, help="Build the sample data anew.")
@click.option("--rows", type=click.IntRange(min=1), help="Build it anew with this many colors.")
@click.option("--into", metavar="SOURCE", help="Load it into this source instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the row counts as JSON.")
def demo_command(reset: bool, rows: int | None, into: str | None, as_json: bool) -> None:
    """Start the demo source and say what it holds.

    With --into the same tables go into a source of yours, Oracle or PostgreSQL, which must say
    read_only = false and have no table yet where they go: on PostgreSQL a schema for each sample,
    on Oracle the schema that the source names, or else the login's own.

    \b
    Examples:
      workbench demo
      workbench demo --reset
      workbench demo --rows 1000000
      workbench demo --into warehouse --rows 5000
    """
    if into and reset:
        raise UsageError("--reset is for the demo source; it does not go with --into.")
    if into:
        from workbench.demo import DEFAULT_ROWS
        from workbench.demo.loading import load_into

        with cancellable():
            counts = load_into(into, rows or DEFAULT_ROWS, progress=not as_json)
    else:
        from workbench import embedded

        counts = embedded.reset(rows) if reset or rows else embedded.row_counts()
    if as_json:
        click.echo(json.dumps(counts, indent=2))
        return
    width = max(map(len, counts), default=0)
    for name, count in counts.items():
        click.echo(f"{name:<{width}}  {count:>11,}")
