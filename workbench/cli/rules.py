"""`workbench rules`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from workbench.cli import main


@main.group("rules")
def rules_group() -> None:
    """Check, import and describe exclusion rules.

    \b
    Examples:
      workbench rules check desk
      workbench rules import old.json params/rules/new.yaml
    """


@rules_group.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def check_command(files: tuple[str, ...]) -> None:
    """Read each FILE of rules and say in English what its rules remove.

    FILE is a name in params/rules, or a path to a .yaml or .json file. Whether a feed has the
    columns that are named shows when the rules are applied.

    \b
    Examples:
      workbench rules check desk
      workbench rules check params/rules/*.yaml

    Exit codes: 0 all can be read, 1 failed, 2 a file is missing or malformed.
    """
    from workbench.exclusions import read_rules, sentence
    from workbench.reporting.text import inert

    for rule in read_rules(files):
        state = "removes rows where" if rule.active else "inactive; would remove rows where"
        click.echo(inert(f"{rule.name}: {state} {sentence(rule)}"))


@rules_group.command("import")
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD.json")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW.yaml")
@click.option("--overwrite", is_flag=True, help="Replace NEW.yaml if it exists.")
def import_command(old: Path, new: Path, overwrite: bool) -> None:
    """Turn a flat JSON list of rules into a YAML file of rules, whole or not at all.

    A flat list reads from left to right: `where a, or b, and c` becomes (a or b) and c.

    \b
    Example:
      workbench rules import old.json params/rules/new.yaml

    Exit codes: 0 written, 1 failed, 2 OLD.json is malformed or NEW.yaml is taken.
    """
    from workbench.errors import UsageError
    from workbench.exclusions import dumped, read_rules
    from workbench.extracts import whole

    if (old.suffix.lower(), new.suffix.lower()) not in ((".json", ".yaml"), (".json", ".yml")):
        raise UsageError("The old file ends in .json, and the new one in .yaml.")
    rules = read_rules([old])
    text = dumped(rules, new)
    with whole(new, overwrite) as building:
        building.write_text(text, encoding="utf-8")
    click.echo(f"{new}: {len(rules):,} rules. Read them: workbench rules check {new}")


@rules_group.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a file of rules, by which editors complete and check it.

    \b
    Example:
      workbench rules schema > docs/rules.schema.json
    """
    from workbench.exclusions import RuleFile

    click.echo(json.dumps(RuleFile.model_json_schema(), indent=2, ensure_ascii=False))
