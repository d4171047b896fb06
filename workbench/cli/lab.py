"""`workbench lab`."""

from __future__ import annotations

import click

from workbench.cli import main


@main.command("lab", context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- JUPYTER OPTIONS]")
def lab_command(options: tuple[str, ...]) -> None:
    """Open JupyterLab on the project's notebooks, with kernels that have imported everything.

    Sources are those of workbench.toml, and the sample data are ready. JupyterLab's own options
    follow, and may stand without the -- where they are none of ours. It listens on this machine
    only and is opened by a token that it makes up anew each time. Ctrl-C ends it, and all kernels
    with it.

    \b
    Examples:
      workbench lab
      workbench lab notebooks/run_colors.ipynb
      workbench lab --no-browser --port 8890
      workbench lab -- --help
    """
    from workbench.lab import serve

    serve(options)
