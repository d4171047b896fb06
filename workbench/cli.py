"""The command line: each command a thin door to what notebooks call."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from workbench.errors import UsageError, WorkbenchError


class Commands(click.Group):
    """Shows every expected failure as one sentence on stderr, with its exit code."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; exit 2 for a wrong request, 1 for a failure."""
        try:
            return super().invoke(context)
        except WorkbenchError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(2 if isinstance(error, UsageError) else 1)
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            click.echo(f"error: {error.strerror or error}{place}", err=True)
            context.exit(1)
        except KeyboardInterrupt:
            click.echo("cancelled", err=True)
            context.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workbench")
def main() -> None:
    """Run parameterised notebooks and get reports that cannot lie."""


@main.command("run")
@click.argument("notebook")
@click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Set one parameter."
)
@click.option(
    "-f", "--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Read parameters from a YAML file; -p goes over it.",
)  # fmt: skip
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR",
    help="Where runs are kept.  [default: reports]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print run.json to standard output.")
@click.pass_context
def run_command(
    context: click.Context,
    notebook: str,
    parameter: tuple[tuple[str, str], ...],
    files: tuple[Path, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """Run NOTEBOOK, a name in notebooks/ or a path, and write its report.

    \b
    Examples:
      workbench run run_colors
      workbench run run_colors -p sector 2.0_Mezz -p deduplicate true
      workbench run run_colors -p input feeds/colors.xlsx --output ~/reports
      workbench run run_colors -f params/run_colors.yaml --json

    Exit codes: 0 passed, 1 the notebook failed, 2 the request was wrong.
    """
    from workbench.running.plan import plan_run, read_values

    values: dict[str, Any] = {}
    for path in files:
        values.update(read_values(path))
    spec = plan_run(notebook, values=values, texts=dict(parameter), output=output)

    from workbench.running.execute import run

    # A CI server cancels with SIGTERM: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result, folder = run(spec, progress=sys.stderr.isatty())
    if as_json:
        click.echo(result.to_json(), nl=False)
    failed = result.error is not None
    if result.error:
        click.echo(f"error: {spec.name} failed: {result.error['message']}", err=True)
    elif not as_json:
        click.echo(f"{spec.name} {result.status} in {result.duration:.1f} s")
    if failed or not as_json:
        click.echo(f"report: {_shown(folder / 'report.html')}", err=failed)
    context.exit(result.exit_code)


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


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
