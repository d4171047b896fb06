"""`workbench new`."""

from __future__ import annotations

import click

from workbench.cli import cancellable, main


@main.command("new")
@click.argument("name")
@click.option("--from", "template", metavar="TEMPLATE",
              help="Start from this notebook, a name in notebooks/ or a path.")  # fmt: skip
@click.option("--source", metavar="SOURCE", help="Read from this source.  [default: TEMPLATE's]")
@click.option("--table", metavar="TABLE", help="Read this table.  [default: TEMPLATE's]")
def new_command(name: str, template: str | None, source: str | None, table: str | None) -> None:
    """Write a notebook called NAME that runs at once, with what belongs to it.

    Without --from it is a report on one table: it reads, validates, shows, draws and saves. Its
    suite is in expectations/, the values of its parameters in params/, and a test in tests/.
    Nothing that exists is overwritten.

    \b
    Examples:
      workbench new credit_watch
      workbench new late_payments --table billing.billing_transactions
      workbench new my_colors --from run_colors
    """
    from importlib.util import find_spec
    from pathlib import Path

    from workbench.scaffold import start

    with cancellable():
        written = start(name, template=template, source=source, table=table)
    here = Path.cwd()
    for path in written:
        click.echo(path.relative_to(here) if path.is_relative_to(here) else path)
    tested = f"; pytest tests/test_{name}.py" if find_spec("pytest") else ""
    click.echo(f"Next: workbench run {name}; workbench lab{tested}")
