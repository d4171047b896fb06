"""`workbench demo`."""

from __future__ import annotations

import json

import click

from workbench.cli import main


@main.command("demo")
@click.option("--reset", is_flag=True, help="Build the sample data anew.")
@click.option("--rows", type=click.IntRange(min=1), help="Build it anew with this many colors.")
@click.option("--json", "as_json", is_flag=True, help="Print the row counts as JSON.")
def demo_command(reset: bool, rows: int | None, as_json: bool) -> None:
    """Start the demo source and say what it holds.

    \b
    Examples:
      workbench demo
      workbench demo --reset
      workbench demo --rows 1000000
    """
    from workbench import embedded

    counts = embedded.reset(rows) if reset or rows else embedded.row_counts()
    if as_json:
        click.echo(json.dumps(counts, indent=2))
        return
    width = max(map(len, counts), default=0)
    for name, count in counts.items():
        click.echo(f"{name:<{width}}  {count:>11,}")
