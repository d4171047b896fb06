"""What the site takes from elsewhere: the README, the changelog, the code's own catalogues."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

from workbench import errors, settings
from workbench.cli import main

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?\[[^\]]*\])\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README and changelog as pages, and as text whatever else of the repository is linked."""
    for name, uri in PAGES.items():
        content = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=content))
    linked = {
        path
        for file in files.documentation_pages()
        for _, target, _ in LINK.findall(file.content_string)
        if (path := repository_path(file.src_uri, target)) and (ROOT / path).is_file()
    }
    for path in sorted(path for path in linked - set(PAGES) if not path.startswith("docs/")):
        content = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, _kept(path), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is generated, and lead links out of docs/ to what the site has for them."""
    markdown = MARK.sub(lambda mark: "\n".join(GENERATED[mark[1]]()), markdown)
    return LINK.sub(lambda link: _link(page.file.src_uri, *link.groups(default="")), markdown)


def repository_path(uri: str, target: str) -> str | None:
    """Return where a page's link leads in the repository; None within docs/."""
    place = next((name for name, page in PAGES.items() if page == uri), f"docs/{uri}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    return None if path.startswith("docs/") and place.startswith("docs/") else path


def _link(uri: str, label: str, target: str, anchor: str) -> str:
    path = repository_path(uri, target)
    if path is None:
        return f"{label}({target}{anchor})"
    if (ROOT / path).is_dir():
        return label.strip("[]")
    inside = path.removeprefix("docs/") if path.startswith("docs/") else _kept(path)
    return f"{label}({posixpath.relpath(PAGES.get(path, inside), posixpath.dirname(uri))}{anchor})"


def _kept(path: str) -> str:
    """Return where the site has a file of the repository; MkDocs leaves out dot files."""
    folder, name = posixpath.split(path)
    return posixpath.join("repository", folder, f"{name.replace('.', 'dot.', name[0] == '.')}.txt")


def faults() -> Iterator[str]:
    """Write an entry for each fault of the catalogue, under the catalogue's own headings."""
    text = (ROOT / "workbench" / "faults.toml").read_text(encoding="utf-8")
    for part in re.split(r"^# --- ", text, flags=re.MULTILINE)[1:]:
        title, entries = part.split("\n", 1)
        yield f"\n## {title.rstrip(' -')}\n"
        for code in tomllib.loads(entries):
            fault = errors.faults()[code]
            yield f"\n### {code} {{: #{code.lower().replace(' ', '-')} }}\n\n{fault.meaning}\n"
            yield f"{fault.fix}\n"
            if fault.retry:
                yield "*While connecting we try again by ourselves, as long as `retry_for` says.*\n"
            if fault.login:
                yield "*The same secret is not sent again: more tries would lock the account.*\n"


def commands(command: click.Command = main, above: click.Context | None = None) -> Iterator[str]:
    """Write what --help says of each command, those of groups included."""
    name = "workbench" if above is None else command.name
    context = click.Context(command, above, name, terminal_width=76, **command.context_settings)
    if not isinstance(command, click.Group):
        yield f"\n## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
        return
    for _, below in sorted(command.commands.items()):
        yield from commands(below, context)


def keys() -> Iterator[str]:
    """Write a table of keys for each section of workbench.toml, from the models that check it."""
    sections: dict[str, type[BaseModel]] = {
        "": settings.Settings,
        "[sources.NAME]": settings.Source,
        "[sources.NAME.pool]": settings.Pool,
        "[kernels]": settings.Kernels,
        "[duckdb]": settings.DuckDB,
        "[spark]": settings.Spark,
    }
    for section, model in sections.items():
        title = f"`{section}`" if section else "At the top"
        yield f"\n## {title}\n\n{(model.__doc__ or '').split(chr(10))[0]}\n"
        yield from ("| key | default | |", "|---|---|---|")
        for name, field in model.model_fields.items():
            if f"[{name}]" in sections or name in ("sources", "pool"):
                continue
            choices = " or ".join(
                f"`{it}`" for it in get_args(field.annotation) if isinstance(it, str)
            )
            said = "; ".join(filter(None, (field.description, choices and f"one of {choices}")))
            default = _default(field.get_default(call_default_factory=True))
            yield f"| `{field.alias or name}` | {default} | {said} |"


def _default(value: Any) -> str:
    if value is None or value in ("", {}):
        return ""
    plain = str(value).lower() if isinstance(value, bool) else value
    return f"`{plain}`"


GENERATED: dict[str, Callable[[], Iterator[str]]] = {
    "commands": commands, "faults": faults, "keys": keys,
}  # fmt: skip
