"""What the documentation shows is executed, as it stands there; its site is built and read."""

from __future__ import annotations

import csv
import html
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import polars as pl
import pytest
import yaml
from commands import command as here
from conftest import BIN, ROOT
from playwright.sync_api import Page, expect
from sqlalchemy import NullPool, create_engine
from sqlalchemy.schema import DropSchema

import workbench
from workbench import embedded, errors, exclusions, run_colors
from workbench.cli import main
from workbench.database import Database
from workbench.profiling import rules
from workbench.running import outcome
from workbench.running.plans import read_plan
from workbench.settings import Pool, Settings, Source

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
# A block that is a file has its name as a title; what cannot run here is `console` or `text`.
BLOCK = re.compile(
    r'^(?P<indent> *)```(\w+)(?: title="([^"]+)")?\n(.*?)^(?P=indent)```', re.MULTILINE | re.DOTALL
)
# What the Python of a page must print, besides not failing.
TOLD = {
    "README.md": ["parents"],
    "docs/billing.md": ["Account 7 is"],
    "docs/documents.md": ["Loaded: "],
    "docs/expectations.md": [
        "! 1 of 2 expectations failed (1 warning): warned. 3 rows of three quotes",
        "warning 1 of 2 [{'ID': 2, 'PX': 114.0}]",
    ],
    "docs/explanation/exact_numbers.md": ["share"],
    "docs/explanation/how_engines_agree.md": ["rows agree"],
    "docs/how-to/write_a_suite.md": ["is never null"],
    "docs/profile.md": ["20000 exact", "info other-depth"],
    "docs/shop.md": ["no oversell"],
}


def fenced(text: str) -> list[tuple[str, str, str]]:
    """The language, the title and the content of each block of a page."""
    return [(kind, title, dedent(body)) for _, kind, title, body in BLOCK.findall(text)]


def blocks(page: str, language: str) -> list[str]:
    return [body for kind, _, body in fenced(PAGES[page]) if kind == language]


EXECUTED = [page for page in PAGES if blocks(page, "sh") or blocks(page, "python")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with this environment as its own."""
    folder = tmp_path_factory.mktemp("docs") / "a checkout"
    left_out = shutil.ignore_patterns(
        ".venv", ".git", "reports", "data", "build", "node_modules", ".*_cache", "__pycache__"
    )
    shutil.copytree(ROOT, folder, ignore=left_out)
    (folder / ".venv").symlink_to(sys.prefix)
    # This environment serves, whichever lock was changed after it was made.
    for lock in folder.glob("requirements*.lock"):
        os.utime(lock, (0, 0))
    (folder / "reports").mkdir()
    # All of the plan can be read; a part of it is run, as each notebook has its own tests.
    plan = folder / "params" / "demo.yaml"
    assert len(read_plan(plan)) == 14
    content = yaml.safe_load(plan.read_text(encoding="utf-8"))
    [several] = [run for run in content["runs"] if "matrix" in run]
    several["matrix"] = {name: values[:1] for name, values in several["matrix"].items()}
    content["runs"] = [{"notebook": "run_colors"}, several, {"notebook": "extract_samples"}]
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def demo(checkout: Path) -> str:
    """What the installed command says to `make demo`, which several pages begin with."""
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(
        ["make", "demo"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def do(line: str, demo: str) -> None:
    """Do what a line of a terminal says, in this process as far as that can be, once."""
    program, *words = shlex.split(line, comments=True)
    name = Path(program).name
    if line == "make demo":
        assert "report.html" in demo
    elif name == "make":
        dry = subprocess.run(["make", "--dry-run", *words], capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
    elif name == "setup.sh":
        # What it does is seen by tests of its own.
        assert {*words} <= {"demo", "lab", "test"}
    elif name == "workbench":
        done = here(*words)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    elif name == "papermill":
        # Not in this process, whose papermill remembers folders of runs that went on side by side.
        plain = subprocess.run([BIN / "papermill", *words], capture_output=True, text=True)
        assert plain.returncode == 0, f"{line}\n{plain.stderr}"
    else:
        assert (name, words[0]) == ("jupyter", "nbconvert"), f"fence it as console: {line}"
        from nbconvert.nbconvertapp import NbConvertApp

        NbConvertApp.launch_instance(words[1:])
        NbConvertApp.clear_instance()


@pytest.mark.parametrize("page", EXECUTED)
def test_a_page_does_what_it_shows(
    page: str, checkout: Path, demo: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(checkout)
    if page == "docs/rules.md":
        Path("old.json").write_text(blocks(page, "json")[0])
    names: dict[str, Any] = {"__name__": page}
    for kind, title, body in fenced(PAGES[page]):
        if title:
            Path(title).write_text(body, encoding="utf-8")
        elif kind == "sh":
            for line in body.splitlines():
                do(line, demo)
        elif kind == "python":
            exec(compile(body, page, "exec"), names)  # noqa: S102
    for value in names.values():
        if isinstance(value, Database):
            value.close()
    told = capsys.readouterr().out
    for said in TOLD.get(page, ()):
        assert said in told
    if page == "docs/documents.md":
        with create_engine(embedded.connection_url(), poolclass=NullPool).begin() as connection:
            for schema in ("documents_tried", "documents_tried_trial"):
                connection.execute(DropSchema(schema, cascade=True))


def test_commands_that_cannot_run_here_are_spelt_right() -> None:
    shown = [
        bare
        for page in PAGES
        for block in blocks(page, "console")
        for line in block.replace("\\\n", " ").splitlines()
        if (bare := re.sub(r"^(\$ )?(\.venv/bin/)?", "", line)).startswith("workbench ")
    ]
    assert len(shown) > 4
    for line in shown:
        command: click.Command = main
        context, words = None, shlex.split(line, comments=True)[1:]
        while isinstance(command, click.Group):
            context = command.make_context("workbench", words[:1], parent=context)
            _, below, words = command.resolve_command(context, words)
            assert below
            command = below
        command.make_context(command.name, words, parent=context)


def test_make_test_runs_the_tests() -> None:
    assert "make test" in blocks("README.md", "sh")[0]
    dry = subprocess.run(["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True)
    assert "pytest" in dry.stdout


def test_the_readme_names_every_make_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in set(targets) - {"help"}:
        assert f"`make {target}`" in PAGES["README.md"], target


@pytest.mark.parametrize(
    "path",
    [ROOT / page for page, text in PAGES.items() if re.search("^ *```(toml|yaml|json)", text, re.M)]
    + sorted((ROOT / "deploy").rglob("README.md")),
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_settings_plans_and_rules_of_the_documentation_can_be_read(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for kind, title, body in fenced(path.read_text(encoding="utf-8")):
        if kind == "json":
            assert json.loads(body)
        elif kind == "toml":
            for section, content in tomllib.loads(body).items():
                for source in content.values() if section == "sources" else ():
                    assert Source.model_validate(source)
                if section in ("kernels", "duckdb", "spark"):
                    model: Any = Settings.model_fields[section].annotation
                    assert model.model_validate(content)
        elif kind == "yaml":
            (tmp_path / "block.yaml").write_text(body, encoding="utf-8")
            content = next(iter(yaml.safe_load_all(body)))
            if "rules" in content:
                assert exclusions.read_rules([str(tmp_path / "block.yaml")])
            # One with a title may be of notebooks that the page makes, and is run there.
            elif "runs" in content and not title:
                assert read_plan(tmp_path / "block.yaml")


def test_the_plan_of_the_documentation_makes_three_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "plan.yaml").write_text(blocks("docs/runs.md", "yaml")[0])
    names = [spec.name for spec in read_plan(tmp_path / "plan.yaml")]
    assert names == ["run_colors", "by_sector-sector=2.0_Mezz", "by_sector-sector=2.0_Senior"]


def test_the_expectations_of_our_own_are_all_told() -> None:
    source = (ROOT / "workbench" / "expectations" / "domain.py").read_text(encoding="utf-8")
    types = [f"expect{name}" for name in re.findall(r"^class Expect(\w+)", source, re.MULTILINE)]
    assert types
    for kind in (re.sub(r"([A-Z])", r"_\1", name).lower() for name in types):
        assert f"`{kind}`" in PAGES["docs/expectations.md"], kind


def test_the_rules_of_a_profile_are_all_told() -> None:
    for kind in [rule.kind for rule in rules.RULES]:
        assert f"`{kind}`" in PAGES["docs/profile.md"], kind


def test_the_settings_of_a_source_are_all_told() -> None:
    keys = {field.alias or name for name, field in Source.model_fields.items()} - {"kind", "pool"}
    for key in keys | {f"pool.{name}" for name in Pool.model_fields}:
        assert f"`{key}`" in PAGES["docs/sources.md"], key


def test_every_exit_code_is_told() -> None:
    page = PAGES["docs/reference/exit_codes.md"]
    for status, code in outcome.EXIT_CODES.items():
        assert f"\n| `{status}` | {code} |" in page
    assert ", ".join(map(str, outcome.WORST_FIRST)) in page


def test_every_key_of_run_json_is_told(checkout: Path, demo: str) -> None:
    page = PAGES["docs/reference/run_json.md"]
    run = json.loads((checkout / "reports" / "run_colors" / "latest" / "run.json").read_text())
    nested = [run["versions"], *run["figures"], *run["sources"], *run["warnings"]]
    for key in {*run}.union(*nested):
        assert re.search(rf"`(\w+\.)?{key}(\[\])?`", page), key


def test_the_changelog_keeps_its_shape() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    assert first.startswith("# Changelog\n")
    titles = [part.split("\n", 1)[0] for part in parts]
    assert titles[0] == "Unreleased" or titles[0].startswith(workbench.__version__)
    for title in titles[titles[0] == "Unreleased" :]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", title)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for part in parts:
        headed = re.split(r"^### ", part, flags=re.MULTILINE)[1:]
        named = [block.split("\n", 1)[0] for block in headed]
        assert {*named} <= kinds
        assert len(named) == len({*named})
        assert all(re.match(r"\w+\n- \S", block) for block in headed)


def test_the_ten_rows_of_the_rules_rank_as_told(tmp_path: Path) -> None:
    [feed] = blocks("docs/run_colors.md", "csv")
    (tmp_path / "ten.csv").write_text(feed)
    assert len(list(csv.reader(feed.splitlines()))) == 1 + 10
    header, *told = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in PAGES["docs/run_colors.md"]
        .split("## Ten rows")[1]
        .split("\n## ")[0]
        .splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    ranked = run_colors(tmp_path / "ten.csv")
    found = [
        [
            ""
            if row[name] is None
            else f"{row[name]:g}"
            if name == "PERCENT_DIFF"
            else str(row[name])
            for name in header
        ]
        for row in ranked.colors.with_columns(pl.col("PERCENT_DIFF").cast(float)).to_dicts()
    ]
    assert found == told
    assert ranked.without_cusip["MESSAGE_ID"].to_list() == [25]


def test_every_name_the_package_offers_works_whatever_was_imported_before() -> None:
    # A module of the same name would take its place as soon as somebody imports it.
    modules = {module.name for module in pkgutil.iter_modules(workbench.__path__)}
    assert not modules & set(workbench.__all__)
    assert all(callable(getattr(workbench, name)) for name in workbench.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: links and anchors that lead nowhere, or pages left out, stop it."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site") / "the site"
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def section(page: str, anchor: str) -> str:
    """The HTML from a heading's anchor to the next heading."""
    assert f'id="{anchor}"' in page, anchor
    return re.split(r"<h\d ", page.split(f'id="{anchor}"', 1)[1], maxsplit=1)[0]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in workbench.__all__:
        said = (getattr(workbench, name).__doc__ or "").split("\n")[0]
        words = re.sub(r"<[^>]+>", "", section(page, f"workbench.{name}"))
        assert said.replace("`", "") in html.unescape(words), name
    for kind in errors.WorkbenchError.__subclasses__():
        if kind.__module__ == "workbench.errors":
            assert f'id="workbench.errors.{kind.__name__}"' in page


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, below in group.commands.items():
        if isinstance(below, click.Group):
            yield from commands(below, *path, name)
        else:
            yield " ".join(("workbench", *path, name)), below


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    found = dict(commands(main))
    assert {"workbench run", "workbench lab", "workbench rules check"} <= {*found}
    for path, below in found.items():
        said = section(page, path.replace(" ", "-"))
        for parameter in below.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert not option.startswith("-") or option in said, (path, option)


def test_every_fault_is_explained_and_found_by_its_code(site: Path) -> None:
    page = (site / "troubleshooting.html").read_text(encoding="utf-8")
    entries = tomllib.loads((ROOT / "workbench" / "faults.toml").read_text(encoding="utf-8"))
    assert len(entries) > 200
    for code, entry in entries.items():
        said = section(page, code.lower().replace(" ", "-"))
        words = html.unescape(re.sub(r"<[^>]+>", "", said))
        for text in (entry["meaning"], entry["fix"]):
            # Typography aside: backticks and quotes are drawn, not written.
            plain = re.sub(r"[^\w ]", "", text)
            assert plain in re.sub(r"[^\w ]", "", words), code
        assert ("we try again" in words) == entry.get("retry", False), code
        assert ("not sent again" in words) == entry.get("login", False), code


def test_every_setting_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "settings.html").read_text(encoding="utf-8")
    for model in (Settings, Source, Pool):
        for name, field in model.model_fields.items():
            key = field.alias or name
            shown = f"[{key}]" if key in ("kernels", "duckdb", "spark") else f"<code>{key}</code>"
            assert shown in page or key in ("sources", "pool"), key


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    loads = re.compile(
        r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*\ssrc=["']?([^"'\s>]+)"""
        r"""|<link\b(?![^>]*rel=["']?(?:canonical|next|prev))[^>]*\shref=["']?([^"'\s>]+)""",
        re.IGNORECASE,
    )
    for path in pages:
        for found in loads.findall(path.read_text(encoding="utf-8")):
            [target] = filter(None, found)
            assert not re.match(r"([a-z]+:)?//", target), (path.name, target)
    for path in site.rglob("*.css"):
        for target in re.findall(r"(?:url\(|@import)\s*([^);]+)", path.read_text("utf-8")):
            assert not re.match(r"""["']?([a-z]+:)?//""", target), (path.name, target)


@pytest.mark.browser
def test_the_site_is_read_and_searched_from_files(browser: Any, site: Path) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    page: Page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    for name in ("index", "explanation/architecture"):
        page.goto((site / f"{name}.html").as_uri())
        for image in page.locator("article img").all():
            assert image.evaluate("it => it.decode().then(() => it.naturalWidth)") > 0
    page.get_by_role("textbox", name="Search").fill("ORA-01017")
    first = page.locator(".md-search-result__item").first
    found = first.locator("a[href*='troubleshooting.html'][href$='#ora-01017']")
    expect(found).to_be_visible()
    found.click()
    expect(page.locator("#ora-01017")).to_be_in_viewport()
    page.close()
    assert not wrong
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
