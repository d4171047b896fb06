"""`workbench extract`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from workbench.cli import cancellable, main
from workbench.errors import UsageError


@main.command("extract")
@click.argument("source")
@click.argument("what")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="What to write: .parquet, .csv, .jsonl (.json, .ndjson) or .xlsx.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Bind :NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print path, rows and size as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
def extract_command(
    source: str, what: str, output: Path, overwrite: bool,
    parameter: tuple[tuple[str, str], ...], as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Stream WHAT from SOURCE into one file, whole or not at all.

    WHAT is a table (schema.table), a file of SQL (its name ends in .sql), or a SELECT.

    \b
    Examples:
      workbench extract demo marketpulse.colors -o colors.parquet
      workbench extract demo reports/top.sql -o top.xlsx --overwrite
      workbench extract demo "SELECT * FROM marketpulse.colors WHERE sector = :s" \\
          -p s 2.0_Mezz -o mezz.csv

    A VALUE is a number, true, false or null as JSON has them, a day or a moment as ISO 8601 has
    them, else text; '"5"' is text too. Exit codes: 0 written, 1 failed, 2 the request was wrong,
    130 cancelled.
    """
    if what.lower().endswith(".sql"):
        from workbench.engines import read_text

        what = read_text(what)
    from workbench.database import connect

    binds = {name: _typed(text) for name, text in parameter}
    if taken := binds.keys() & {"overwrite", "progress"}:
        raise UsageError(f"A bind cannot be called {taken.pop()!r}.", "Rename it in the statement.")
    with cancellable(), connect(source) as db:
        written = db.extract(what, output, overwrite=overwrite, progress=not quiet, **binds)
    if as_json:
        click.echo(json.dumps(asdict(written), indent=2, default=str))
    elif not quiet:
        click.echo(written)


def _typed(text: str) -> Any:
    for read in (_json_scalar, date.fromisoformat, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _json_scalar(text: str) -> Any:
    value = json.loads(text, parse_float=Decimal)
    if isinstance(value, list | dict | float):  # NaN and Infinity are floats still
        raise ValueError
    return value
