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

# Options that make no sense together.
SAMPLED = ("rows", "mask", "unmasked")
CONTRADICTIONS = {
    "--list-tables": ("what", "output", "out", "overwrite", "parameter", *SAMPLED),
    "-o": ("out", "schema", *SAMPLED),
    "--out": ("parameter",),
}


@main.command("extract")
@click.argument("source")
@click.argument("what", nargs=-1, metavar="[WHAT | TABLE...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Write WHAT into this file: .parquet, .csv, .jsonl (.json, .ndjson) or .xlsx.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="Write samples into this folder: structure and first rows of each TABLE.",
)  # fmt: skip
@click.option("--list-tables", is_flag=True, help="List the tables and views there are.")
@click.option("--rows", type=int, metavar="N", help="Rows of each sample.  [default: 1000]")
@click.option("--schema", multiple=True, metavar="S", help="Only tables of this schema.")
@click.option("--mask", multiple=True, metavar="COLUMN", help="Mask this column as well.")
@click.option("--unmasked", is_flag=True, help="Leave personal data in samples as they are.")
@click.option("--overwrite", is_flag=True, help="Replace the file, or the samples, if there.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Bind :NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done, or found, as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
@click.pass_context
def extract_command(
    context: click.Context, source: str, what: tuple[str, ...], output: Path | None,
    out: Path | None, list_tables: bool, as_json: bool, quiet: bool, overwrite: bool,
    parameter: tuple[tuple[str, str], ...], rows: int | None, schema: tuple[str, ...],
    mask: tuple[str, ...], unmasked: bool,
) -> None:  # fmt: skip
    """Take data out of SOURCE: a whole table into a file, or samples of many into a folder.

    With -o FILE, stream WHAT into one file, whole or not at all. WHAT is a table (schema.table), a
    file of SQL (its name ends in .sql), or a SELECT.

    With --out DIR, write the columns, keys and first rows of each TABLE, of all of the source's
    without one, and a README.txt. Likely personal data are masked. The same command once more
    completes a folder that lacks something.

    \b
    Examples:
      workbench extract demo marketpulse.colors -o colors.parquet
      workbench extract demo reports/top.sql -o top.xlsx --overwrite
      workbench extract demo "SELECT * FROM marketpulse.colors WHERE sector = :s" \\
          -p s 2.0_Mezz -o mezz.csv
      workbench extract demo --list-tables
      workbench extract demo marketpulse.dealers marketpulse.colors --rows 200 --out for_desk
      workbench extract demo --schema marketpulse --mask ticker --out everything

    A VALUE is a number, true, false or null as JSON has them, a day or a moment as ISO 8601 has
    them, else text; '"5"' is text too. Exit codes: 0 written, 1 failed, 2 the request was wrong,
    3 some tables could not be read (the samples of the others are there), 130 cancelled.
    """
    way = "--list-tables" if list_tables else "-o" if output else "--out" if out else None
    if way is None:
        hint = "-o FILE for one table or statement, --out DIR for samples, or --list-tables."
        raise UsageError("The request does not say where it is to go.", hint)
    for name in CONTRADICTIONS[way]:
        if context.params[name] not in (None, False, ()):
            option = "TABLE" if name == "what" else f"--{name}"
            raise UsageError(f"{way} does not go with {option}.", "--help explains both ways.")
    if list_tables:
        _list(source, schema, as_json)
    elif out:
        options = {"out": out, "schemas": schema, "mask": mask, "unmasked": unmasked}
        rows = 1000 if rows is None else rows
        _samples(context, source, what, as_json, quiet, rows=rows, overwrite=overwrite, **options)
    elif output:
        if len(what) != 1:
            raise UsageError(f"-o FILE takes one table or statement, not {len(what)}.")
        _file(source, what[0], output, overwrite, dict(parameter), as_json, quiet)


def _file(
    source: str, what: str, output: Path, overwrite: bool, parameters: dict[str, str],
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    if what.lower().endswith(".sql"):
        from workbench.engines import read_text

        what = read_text(what)
    from workbench.database import connect

    binds = {name: _typed(text) for name, text in parameters.items()}
    if taken := binds.keys() & {"overwrite", "progress"}:
        raise UsageError(f"A bind cannot be called {taken.pop()!r}.", "Rename it in the statement.")
    with cancellable(), connect(source) as db:
        written = db.extract(what, output, overwrite=overwrite, progress=not quiet, **binds)
    if as_json:
        click.echo(json.dumps(asdict(written), indent=2, default=str))
    elif not quiet:
        click.echo(written)


def _samples(
    context: click.Context, source: str, tables: tuple[str, ...], as_json: bool, quiet: bool,
    **options: Any,
) -> None:  # fmt: skip
    from workbench.profiling.wording import count
    from workbench.reporting.text import one_line
    from workbench.samples import extract_samples

    with cancellable():
        done = extract_samples(source, tables, progress=not quiet, **options)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2, default=str))
    elif not quiet:
        for table in done.tables:
            if not table.problem:
                masked = f", {len(table.masked)} masked" if table.masked else ""
                size = f"{count(table.rows, 'row')}, {count(table.columns, 'column')}"
                click.echo(f"{one_line(table.name)}: {size}{masked}")
        there = count(len(done.tables) - len(done.failed), "table")
        click.echo(f"{done.folder}: samples of {there}")
    for table in done.failed:
        click.echo(one_line(f"error: {table.name} was not read: {table.problem}"), err=True)
    if done.failed:
        context.exit(3)


def _list(source: str, schemas: tuple[str, ...], as_json: bool) -> None:
    from workbench.accessible import entry, list_tables
    from workbench.database import connect
    from workbench.reporting.text import one_line

    with cancellable(), connect(source) as db:
        found = list_tables(db, schemas)
    if as_json:
        click.echo(json.dumps([entry(each) for each in found], indent=2, ensure_ascii=False))
        return
    lines = [["TABLE", "KIND", "ROWS", "COMMENT"]]
    for each in found:
        table = each.table
        kind = table.kind if each.readable else f"{table.kind}, closed"
        rows = f"~{table.count:,}" if table.rows else "?"
        told = (each.name, kind, rows, table.comment or "")
        lines.append([one_line(text) for text in told])
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, kind, rows, comment in lines:
        click.echo(f"{name:{wide[0]}}  {kind:{wide[1]}}  {rows:>{wide[2]}}  {comment}".rstrip())


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
