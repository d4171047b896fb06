"""The command line: each command a thin door to what notebooks call."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from workbench.errors import UsageError, WorkbenchError


@contextmanager
def cancellable() -> Iterator[None]:
    """Let SIGTERM (a CI server) and SIGHUP (a lost terminal) cancel like Ctrl-C, and only once.

    What is cancelled ends within seconds, reports and index included, which a second signal
    would only spoil.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    before = {n: signal.getsignal(n) for name in names if (n := getattr(signal, name, None))}

    def once(number: int, frame: Any) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, once)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Commands(click.Group):
    """Shows every expected failure as one sentence on stderr, with its exit code."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; exit 2 for a wrong request, 1 for a failure."""
        try:
            return super().invoke(context)
        except WorkbenchError as error:
            from workbench.reporting.text import inert

            click.echo(inert(f"error: {error}"), err=True)
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
from workbench.cli import (  # noqa: E402
    colors,  # noqa: F401
    doctor,  # noqa: F401
    extracts,  # noqa: F401
    lab,  # noqa: F401
    new,  # noqa: F401
    profiles,  # noqa: F401
    reports,  # noqa: F401
    rules,  # noqa: F401
    runs,  # noqa: F401
    sources,  # noqa: F401
    validations,  # noqa: F401
)
