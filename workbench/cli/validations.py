"""`workbench validate` and `workbench suggest`."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import cancellable, main
from workbench.cli.profiles import MARKS
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.suites import Suite
    from workbench.validation import Validation


@main.command("validate")
@click.argument("what", metavar="INPUT")
@click.argument("suite")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.option(
    "--fail-on", type=click.Choice(list(MARKS)), default="critical", show_default=True,
    help="Exit with 3 for a failure as serious as this.",
)  # fmt: skip
@click.option(
    "--offending", type=click.Path(path_type=Path), metavar="FILE",
    help="Write the rows that break a promise: .csv, .parquet, .jsonl or .xlsx.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
@click.pass_context
def validate_command(
    context: click.Context, what: str, suite: str, as_json: bool, fail_on: str,
    offending: Path | None, overwrite: bool, quiet: bool,
) -> None:  # fmt: skip
    """Check INPUT against SUITE, and say which promises are not kept.

    INPUT is a file (.parquet, .csv, .jsonl, .xlsx) or a table, SOURCE:TABLE, which is checked
    inside its database. SUITE is a name in expectations/ or a file, in the format of Great
    Expectations.

    \b
    Examples:
      workbench validate demo:marketpulse.colors colors
      workbench validate feeds/colors.csv colors --offending bad.csv --overwrite
      workbench validate colors.parquet checks/colors.json --json --fail-on warning

    Exit codes: 0 promises kept (a failed warning is shown), 1 failed, 2 the request was wrong,
    3 a promise as serious as --fail-on says is broken, 130 cancelled.
    """
    from workbench.suites import SEVERITIES, read_suite

    # Before anything slow: a slip of the pen is told at once.
    promises = read_suite(suite)
    with cancellable(), _place(offending, overwrite) as building:
        with _working(f"checking {what} against {promises.name}", quiet):
            validation = _verdict(what, promises)
        if building:
            from workbench import cells, extracts

            rows = validation.offending
            # A list has no place in a CSV.
            rows = cells.flat(rows) if building.suffix.lower() == ".csv" else rows
            extracts.write(iter([rows]), building, progress=False)
    if as_json:
        click.echo(json.dumps(validation.to_dict(), indent=2, default=str))
    elif not quiet:
        _show(validation)
    least = SEVERITIES.index(fail_on)
    grave = [r for r in validation.failed if SEVERITIES.index(r.severity) <= least]
    if grave:
        from workbench.verdicts import told

        count = f"{len(grave):,} of {len(validation.results):,} expectations"
        said = told(grave[0])["Promise"]
        click.echo(f"error: {count} failed that are {fail_on} or worse, first: {said}", err=True)
        context.exit(3)


@main.command("suggest")
@click.argument("source")
@click.argument("table")
@click.option("--suite", "name", metavar="NAME", help="The suite's name.  [default: the table's]")
@click.option("--write", is_flag=True, help="Merge it into expectations/NAME.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the suite although it is written.")
@click.option("-q", "--quiet", is_flag=True, help="Tell only the suite and errors.")
def suggest_command(
    source: str, table: str, name: str | None, write: bool, as_json: bool, quiet: bool
) -> None:
    """Draft a suite of expectations for TABLE of SOURCE from what it holds today.

    The suite is printed as JSON. With --write it goes into expectations/NAME.json instead; what
    people wrote there stays.

    \b
    Examples:
      workbench suggest demo marketpulse.colors
      workbench suggest demo marketpulse.colors --suite feed --write

    Exit codes: 0 drafted, 1 failed, 2 the request was wrong, 130 cancelled.
    """
    from workbench.database import connect
    from workbench.reporting.text import inert
    from workbench.suggestions import suggest

    with cancellable(), connect(source) as db:
        draft = suggest(db.table(table), name)
        path = draft.write() if write else None
    if as_json or not write:
        click.echo(draft.to_json(), nl=False)
    if not quiet:
        click.echo(inert(f"{path}: {draft.summary}" if path else draft.summary), err=not write)


def _place(offending: Path | None, overwrite: bool) -> Any:
    if offending is None:
        return nullcontext()
    from workbench.extracts import SINKS, whole

    if offending.suffix.lower() not in SINKS:
        hint = f"Suffixes: {', '.join(SINKS)}."
        raise UsageError(f"{offending} has no suffix that names a format.", hint)
    return whole(offending, overwrite)


@contextmanager
def _working(doing: str, quiet: bool) -> Iterator[None]:
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    from workbench.reporting.text import inert

    with Console(stderr=True).status(Text(inert(doing))):
        yield


def _verdict(what: str, suite: Suite) -> Validation:
    from workbench.validation import validate

    source, colon, table = what.partition(":")
    # C:\x.csv is a file, and so is whatever is there.
    if not colon or re.match(r"[A-Za-z]:[\\/]", what) or os.path.exists(what):  # noqa: PTH110
        from workbench.files import SUFFIXES, read_file

        if Path(what).suffix.lower() not in SUFFIXES and not os.path.exists(what):  # noqa: PTH110
            said = f"There is no file {what!r}, and a table is written SOURCE:TABLE."
            raise UsageError(said, "For example demo:marketpulse.colors.")
        return validate(read_file(what), suite, label=Path(what).name)
    from workbench.database import connect

    with connect(source) as db:
        return validate(db.table(table), suite)


def _show(validation: Validation) -> None:
    """Print what the report's table says; of a failure also who answers for it and a few rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from workbench.verdicts import listed, told, word

    grid = Table(box=None, pad_edge=False, show_header=False)
    for result in listed(validation):
        one, kind, failed = told(result), word(result), not result.success
        colour = MARKS[kind][1] if failed else {"met": "green"}.get(kind, "cyan")
        words = Text(one["Promise"])
        words.append(f" – {one['What was seen']}", "" if failed else "dim")
        owner = f"ask {one['Owner']}" if failed and one["Owner"] else ""
        for line in filter(None, (one["For example"], owner)):
            words.append(f"\n  {line}", "dim")
        grid.add_row(Text(one["Verdict"], colour), words)
    Console().print(Text(repr(validation).splitlines()[0], "bold"), grid, sep="\n")
