"""`workbench colors`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from workbench.cli import cancellable, main


@main.command("colors")
@click.argument("feeds", nargs=-1, required=True, metavar="FEED...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE",
    help="What to write: .parquet, .csv, .jsonl or .xlsx; with Spark, a folder of Parquet.",
)  # fmt: skip
@click.option("-s", "--source", help="The source that holds FEED, where that is a table or .sql.")
@click.option("--preset", metavar="NAME", help="A file of params/presets.")
@click.option("--rules", multiple=True, metavar="NAME", help="A file of params/rules; repeatable.")
@click.option(
    "--order", multiple=True, metavar="KEY", help="Such as 'date desc'; repeat it for each key."
)
@click.option("--sector", help="Only this sector, in any case.")
@click.option("--until", metavar="DAY", help="Only colors as of that day and before.")
@click.option("--deduplicate/--no-deduplicate", default=None, help="One row per quote, or all.")
@click.option("--engine", default="auto", help="auto, or spark for files.", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print paths and counts as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
def colors_command(
    feeds: tuple[str, ...], output: Path, source: str | None, preset: str | None,
    rules: tuple[str, ...], order: tuple[str, ...], sector: str | None, until: str | None,
    deduplicate: bool | None, engine: str, overwrite: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Rank the colors of FEED... into one file, however many there are.

    A FEED is a table (schema.table) or .sql file of a source, a Parquet, CSV or Excel file, a
    pattern of such files in quotes, or an S3 URL. Several are merged; ORIGIN keeps where each
    row is from. Rows left out, by a rule or for want of a CUSIP, go to FILE.left_out beside it.

    \b
    Examples:
      workbench colors feeds/2026-01-09.parquet -o ranked.parquet
      workbench colors marketpulse.colors -s demo --preset us_clo -o us_clo.xlsx
      workbench colors "feeds/*.csv" manual.xlsx --rules desk --until 2026-01-08 -o ranked.csv
      workbench colors s3://desk/feeds/2026-01-09.parquet --order "date desc" --order "rank asc" \\
          -o ranked.parquet

    Exit codes: 0 written, 1 failed, 2 the request was wrong, 130 cancelled.
    """
    with cancellable():
        from workbench.ranked_files import run_colors_into

        written = run_colors_into(
            output, feeds[0] if len(feeds) == 1 else list(feeds), source=source, preset=preset,
            rules=rules, order=order or None, sector=sector, until=until,
            deduplicate=deduplicate, engine=engine, overwrite=overwrite,
        )  # fmt: skip
    if as_json:
        content = {**asdict(written), "rules": written.rules.to_dicts()}
        click.echo(json.dumps(content, indent=2, default=str))
    elif not quiet:
        from workbench.reporting.text import inert

        click.echo(inert(str(written)))
