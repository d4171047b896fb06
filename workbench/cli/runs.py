"""`workbench run` and `workbench batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli import cancellable, main
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.running.outcome import Outcome

Command = Callable[..., Any]
_seconds = click.FloatRange(min=0, min_open=True)
_OPTIONS = (
    click.option(
        "--output", type=click.Path(path_type=Path), metavar="DIR",
        help="Where runs are kept.  [default: reports]",
    ),
    click.option("--timeout", type=_seconds, metavar="S", help="Seconds for a whole run."),
    click.option("--cell-timeout", type=_seconds, metavar="S", help="Seconds for each cell."),
    click.option("--json", "as_json", is_flag=True, help="Print run.json to standard output."),
    click.option(
        "--log-format", type=click.Choice(["text", "json"]),
        help="How to tell of progress.  [default: a table on a terminal, else lines of text]",
    ),
    click.option("-q", "--quiet", is_flag=True, help="Tell only how it ended."),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What can be asked of one run and of many alike."""

    output: Path | None
    timeout: float | None
    cell_timeout: float | None
    as_json: bool
    log_format: Any
    quiet: bool


def _running(command: Command) -> Command:
    """Give a command the options of both, as one `asked`."""

    @wraps(command)
    def gathered(*args: Any, **options: Any) -> Any:
        asked = Asked(**{field.name: options.pop(field.name) for field in fields(Asked)})
        return command(*args, asked=asked, **options)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


@main.command("run")
@click.argument("notebook")
@click.option(
    "-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Set one parameter."
)
@click.option(
    "-f", "--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Read parameters from a YAML file; -p goes over it.",
)  # fmt: skip
@click.option("--compare-to", metavar="RUN_ID", help="Show changes since this run, not the last.")
@_running
@click.pass_context
def run_command(
    context: click.Context,
    notebook: str,
    parameter: tuple[tuple[str, str], ...],
    files: tuple[Path, ...],
    compare_to: str | None,
    asked: Asked,
) -> None:
    """Run NOTEBOOK, a name in notebooks/ or a path, and write its report.

    \b
    Examples:
      workbench run run_colors
      workbench run run_colors -p sector 2.0_Mezz -p deduplicate true
      workbench run run_colors -p input feeds/colors.xlsx --output ~/reports
      workbench run run_colors -f params/run_colors.yaml --timeout 600 --json

    Exit codes: 0 passed, 1 the notebook failed, 2 the request was wrong, 3 a critical check on
    the data failed, 4 timeout, 5 the kernel died, 130 cancelled.
    """
    from workbench.running.plan import plan_run, read_notebook, read_values

    values: dict[str, Any] = {}
    for path in files:
        values.update(read_values(path))
    spec = plan_run(
        notebook, values=values, texts=dict(parameter), output=asked.output,
        timeout=asked.timeout, cell_timeout=asked.cell_timeout, compare_to=compare_to,
    )  # fmt: skip
    from workbench.running import kernels

    # While the kernel's imports go on in another process, ours do here.
    kernels.warm_as_set(kernels.needed_by(read_notebook(spec.notebook)))
    from workbench.running.batch import run_all
    from workbench.running.progress import shown

    quiet = asked.quiet or (asked.as_json and not asked.log_format)
    with cancellable(), shown(1, asked.log_format, quiet=quiet):
        [ended] = run_all([spec])
    if ended.outcome is None or ended.folder is None:
        if asked.log_format == "json":
            context.exit(1)
        raise WorkbenchError(ended.failure)
    if asked.as_json:
        click.echo(ended.outcome.to_json(), nl=False)
    if asked.log_format != "json":
        _tell_end(spec.name, ended.outcome, ended.folder / "report.html", asked.as_json)
    context.exit(ended.outcome.exit_code)


def _tell_end(name: str, result: Outcome, report: Path, as_json: bool) -> None:
    """Say how a run ended: what is bad on stderr, what is good where no JSON is printed."""
    if result.exit_code == 130:
        click.echo("cancelled", err=True)
    elif result.error:
        how = "failed" if result.status == "error" else result.status
        _tell(f"error: {name} {how}: {result.error['message']}", err=True)
    elif result.exit_code:
        for check in result.validations:
            if not check.get("passed"):
                said = f": {check['message']}" if check.get("message") else ""
                _tell(f"error: {name} {result.status}: {check['name']}{said}", err=True)
    elif not as_json:
        _tell(f"{name} {result.status} in {result.duration:.1f} s")
    if result.exit_code or not as_json:
        _tell(f"report: {_shown(report)}", err=bool(result.exit_code))


@main.command("batch")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="NAME", help="Run these entries of the plan only.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Runs at once.  [default: cores]")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster (tcp://host:8786).")
@_running
@click.pass_context
def batch_command(
    context: click.Context,
    plan: Path,
    only: tuple[str, ...],
    jobs: int | None,
    scheduler: str | None,
    asked: Asked,
) -> None:
    """Run every notebook of PLAN, several at once, in kernels that are warm.

    \b
    Examples:
      workbench batch params/demo.yaml
      workbench batch params/demo.yaml --jobs 4 --timeout 900
      workbench batch params/demo.yaml --only sector
      workbench batch params/demo.yaml --scheduler tcp://scheduler.example:8786

    A failing run never stops the others; Ctrl-C cancels them all and reports what was cancelled.
    Exits with the worst code of its runs: 130 cancelled, 1 failed, 5 kernel died, 4 timeout,
    3 a critical check on the data failed, 0.
    """
    from dataclasses import replace

    from workbench.running.plans import read_plan

    specs = [
        replace(
            spec,
            timeout=asked.timeout or spec.timeout,
            cell_timeout=asked.cell_timeout or spec.cell_timeout,
        )
        for spec in read_plan(plan, only=only, output=asked.output)
    ]
    from workbench.running import kernels
    from workbench.running.plan import read_notebook

    notebooks = map(read_notebook, {spec.notebook for spec in specs})
    kernels.warm_as_set(set().union(*map(kernels.needed_by, notebooks)))
    from workbench.running.batch import Ended, run_all
    from workbench.running.outcome import worst, written
    from workbench.running.progress import shown

    with cancellable(), shown(len(specs), asked.log_format, quiet=asked.quiet):
        ended = run_all(specs, jobs=jobs, scheduler=scheduler)
    if asked.as_json:
        click.echo(written([e.outcome.to_dict() for e in ended if e.outcome]), nl=False)

    def line(end: Ended) -> str:
        if end.outcome is None or end.folder is None:
            return f"{end.spec.name:<{width}}  not written  {end.failure}"
        seconds = f"{end.outcome.duration:>8.1f} s"
        report = _shown(end.folder / "report.html")
        return f"{end.spec.name:<{width}}  {end.outcome.status:<11}  {seconds}  {report}"

    width = max(len(end.spec.name) for end in ended)
    good = sum(end.exit_code == 0 for end in ended)
    for text in (*map(line, ended), f"{good} of {len(ended)} runs are good"):
        _tell(text, err=asked.as_json)
    context.exit(worst(end.exit_code for end in ended))


def _tell(text: str, err: bool = False) -> None:
    """Print what names, sentences and messages hold without what a terminal would obey."""
    from workbench.reporting.text import inert

    click.echo(inert(text).replace("\r", " "), err=err)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
