"""The command line: each command a thin door to what notebooks call."""

from __future__ import annotations

from typing import Any

import click

from workbench.errors import UsageError, WorkbenchError
from workbench.running import grammar

grammar.put_off()


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


# Below, because each of them hangs its commands on the group.
from workbench.cli import reports, runs, sources  # noqa: E402, F401
