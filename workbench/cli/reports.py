"""`workbench publish` and `workbench prune`."""

from __future__ import annotations

from pathlib import Path

import click

from workbench.cli import main

_root = click.option(
    "--output", "root", type=click.Path(path_type=Path), metavar="DIR",
    help="Where runs are kept.  [default: reports]",
)  # fmt: skip


@main.command("publish")
@click.argument("target", metavar="s3://BUCKET/PREFIX")
@click.option("--only", multiple=True, metavar="NAME", help="Publish runs of this name only.")
@_root
def publish_command(target: str, only: tuple[str, ...], root: Path | None) -> None:
    """Upload the runs that are not there yet, then the index over all that are.

    \b
    Examples:
      workbench publish s3://acme-reports/market-pulse
      workbench publish s3://acme-reports/market-pulse --only run_colors

    Credentials, region and endpoint are boto3's own (AWS_PROFILE, AWS_ENDPOINT_URL and so on). It
    is safe to interrupt and to repeat.
    """
    from workbench.reporting.publish import publish
    from workbench.running.plan import reports_folder

    def progress(line: str) -> None:
        click.echo(line, err=True)

    for link in publish(root or reports_folder(), target, names=only or None, progress=progress):
        click.echo(link)


@main.command("prune")
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N", help="Keep the newest N of a name."
)
@click.option("--older-than", metavar="AGE", help="Remove what is older: 12h, 90d, 8w.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_root
def prune_command(
    keep: int | None, older_than: str | None, dry_run: bool, root: Path | None
) -> None:
    """Remove old runs; the newest and the latest good run of every name always stay.

    \b
    Examples:
      workbench prune --keep 30 --dry-run
      workbench prune --older-than 90d
      workbench prune --keep 10 --older-than 4w
    """
    from workbench.reporting.prune import parse_age, prune
    from workbench.running.plan import reports_folder

    folder = root or reports_folder()
    age = parse_age(older_than) if older_than else None
    removed = prune(folder, keep=keep, older_than=age, dry_run=dry_run)
    for path in removed:
        click.echo(path.relative_to(folder))
    click.echo(f"{len(removed)} runs {'would be' if dry_run else 'were'} removed", err=True)
