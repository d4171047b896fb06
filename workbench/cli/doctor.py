"""`workbench doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from workbench.cli import main

if TYPE_CHECKING:
    from workbench.doctor import Check


@main.command("doctor")
@click.argument("source", required=False)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=10, show_default=True,
              metavar="SECONDS", help="Wait no longer than this for each step.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def doctor_command(
    context: click.Context, source: str | None, timeout: float, as_json: bool
) -> None:
    """Check whether SOURCE works, or this machine and every source, and say how to mend it.

    \b
    Examples:
      workbench doctor
      workbench doctor demo
      workbench doctor marketpulse --timeout 30 --json

    Logs in once per source. Exits with 1 when a check fails (✗); warnings (!) are advice.
    """
    from dataclasses import asdict

    from workbench import doctor
    from workbench.errors import SettingsError
    from workbench.settings import load_settings

    tables = {} if source else {"this machine": doctor.examine_machine()}
    try:
        names = [source] if source else list(load_settings().sources)
    except SettingsError as error:
        tables["configuration"] = [doctor.Check("configuration", False, error.message, error.hint)]
        names = []
    for name in names:
        # A secret that was refused lately is tried again for a source that is named, not by
        # a look at all of them, which may well run every night.
        tables[name] = doctor.examine(name, timeout=timeout, insist=bool(source))
    good = all(check.ok is not False for checks in tables.values() for check in checks)
    if as_json:
        found = {name: [asdict(check) for check in checks] for name, checks in tables.items()}
        click.echo(json.dumps({"ok": good, "checks": found}, indent=2, ensure_ascii=False))
    else:
        for name, checks in tables.items():
            _show(name, checks)
    context.exit(0 if good else 1)


def _show(title: str, checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"✓": "green", "✗": "bold red", "!": "yellow", "–": "dim"}
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    for check in checks:
        words = Text(check.found)
        if check.fix:
            words.append(f"\n→ {check.fix}", colours[check.mark])
        table.add_row(Text(check.mark, colours[check.mark]), Text(check.name), words)
    Console().print(table, "")
