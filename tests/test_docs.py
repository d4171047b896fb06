"""What the documentation shows is executed, as it stands there."""

from __future__ import annotations

import csv
import os
import pkgutil
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import polars as pl
import pytest
import yaml
from commands import command as here
from conftest import ROOT
from sqlalchemy import NullPool, create_engine
from sqlalchemy.schema import DropSchema

import workbench
from workbench import embedded, run_colors
from workbench.profiling import rules
from workbench.running.plans import read_plan
from workbench.settings import Pool, Settings, Source

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


PAGES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("billing", "documents", "shop", "extract")
}
PROFILE = (ROOT / "docs" / "profile.md").read_text(encoding="utf-8")
EXPECTATIONS = (ROOT / "docs" / "expectations.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for text in (README, PROFILE, EXPECTATIONS, PAGES["extract"])
    for block in blocks(text, "sh")
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with this environment as its own."""
    folder = tmp_path_factory.mktemp("docs") / "a checkout"
    left_out = shutil.ignore_patterns(".venv", ".git", "reports", "data", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=left_out)
    (folder / ".venv").symlink_to(sys.prefix)
    # The plan is run with the first two values of its matrix: the others are more of the same.
    plan = folder / "params" / "demo.yaml"
    assert len(read_plan(plan)) == 14
    content = yaml.safe_load(plan.read_text(encoding="utf-8"))
    [several] = [run for run in content["runs"] if "matrix" in run]
    several["matrix"] = {name: values[:2] for name, values in several["matrix"].items()}
    plan.write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(
    checkout: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(command.removeprefix(".venv/bin/"))
    if words[0] == "workbench" and words[1] not in ("doctor", "demo"):
        # `make demo` is the installed one; with other words, kernels are warm in this process.
        monkeypatch.chdir(checkout)
        done = here(*words[1:])
        assert done.returncode == 0, done.stderr
        return
    if command == "make test":
        # These very tests: what can be asked from within is that the target calls pytest.
        command = "make --dry-run test"
    done = subprocess.run(
        command, shell=True, cwd=checkout, capture_output=True, text=True, timeout=180,
        env={name: value for name, value in os.environ.items() if name != "MAKEFLAGS"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if command == "make demo":
        assert (checkout / "reports" / "run_colors" / "latest" / "report.html").exists()
    if command.startswith("make --dry-run"):
        assert "pytest" in done.stdout


def test_the_readme_names_every_make_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in set(targets) - {"help"}:
        assert f"`make {target}`" in README, target


def test_the_python_of_the_documentation_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    sources = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    for code in (*blocks(README, "python"), *blocks(sources, "python")):
        (tmp_path / "readme.py").write_text(code)
        runpy.run_path(str(tmp_path / "readme.py"))
    assert "parents" in capsys.readouterr().out


def test_the_python_of_the_page_on_profiles_works(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(checkout)
    (checkout / "reports").mkdir(exist_ok=True)
    [writing] = (line for line in COMMANDS if "reports/monday.json --overwrite" in line)
    assert here(*shlex.split(writing)[1:]).returncode == 0
    for code in blocks(PROFILE, "python"):
        (tmp_path / "page.py").write_text(code)
        runpy.run_path(str(tmp_path / "page.py"))
    told = capsys.readouterr().out
    assert "20000 exact" in told
    assert "info other-depth" in told


def test_the_python_of_the_page_on_expectations_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code, *_ = blocks(EXPECTATIONS, "python")  # the others write suites
    (tmp_path / "page.py").write_text(code)
    runpy.run_path(str(tmp_path / "page.py"))
    told = capsys.readouterr().out
    assert "! 1 of 2 expectations failed (1 warning): warned. 3 rows of three quotes" in told
    assert "warning 1 of 2 [{'ID': 2, 'PX': 114.0}]" in told


@pytest.mark.parametrize("page", ["billing", "documents", "shop"])
def test_the_python_of_the_other_domains_works(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    [code] = blocks(PAGES[page], "python")
    (tmp_path / "page.py").write_text(code)
    runpy.run_path(str(tmp_path / "page.py"))
    told = capsys.readouterr().out
    assert {"billing": "Account 7 is", "documents": "Loaded: ", "shop": "no oversell"}[page] in told
    if page == "documents":
        with create_engine(embedded.connection_url(), poolclass=NullPool).begin() as connection:
            for schema in ("documents_tried", "documents_tried_trial"):
                connection.execute(DropSchema(schema, cascade=True))


def test_the_expectations_of_our_own_are_all_told() -> None:
    source = (ROOT / "workbench" / "expectations" / "domain.py").read_text(encoding="utf-8")
    types = [f"expect{name}" for name in re.findall(r"^class Expect(\w+)", source, re.MULTILINE)]
    assert types
    for kind in (re.sub(r"([A-Z])", r"_\1", name).lower() for name in types):
        assert f"`{kind}`" in EXPECTATIONS, kind


def test_the_rules_of_a_profile_are_all_told() -> None:
    for kind in [rule.kind for rule in rules.RULES]:
        assert f"`{kind}`" in PROFILE, kind


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/sources.md", "docs/credentials.md", "docs/documents.md",
     "deploy/oracle/README.md"],
)  # fmt: skip
def test_the_sources_of_the_documentation_are_valid(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert blocks(text, "toml")
    for block in blocks(text, "toml"):
        for source in tomllib.loads(block)["sources"].values():
            assert Source.model_validate(source)


def test_the_settings_of_a_source_are_all_told() -> None:
    text = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    keys = {field.alias or name for name, field in Source.model_fields.items()} - {"kind", "pool"}
    for key in keys | {f"pool.{name}" for name in Pool.model_fields}:
        assert f"`{key}`" in text, key


def test_the_links_of_the_documentation_lead_somewhere() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
        for link in links:
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_ten_rows_of_the_rules_rank_as_told(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "run_colors.md").read_text(encoding="utf-8")
    [feed] = blocks(text, "csv")
    (tmp_path / "ten.csv").write_text(feed)
    assert len(list(csv.reader(feed.splitlines()))) == 1 + 10
    header, *told = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in text.split("## Ten rows")[1].split("\n## ")[0].splitlines()
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


def test_the_plan_of_the_documentation_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    [plan] = blocks(text, "yaml")
    (tmp_path / "plan.yaml").write_text(plan)
    names = [spec.name for spec in read_plan(tmp_path / "plan.yaml")]
    assert names == ["run_colors", "by_sector-sector=2.0_Mezz", "by_sector-sector=2.0_Senior"]
    [kernels] = blocks(text, "toml")
    assert Settings.model_validate(tomllib.loads(kernels)).kernels.preload


def test_every_name_the_package_offers_works_whatever_was_imported_before() -> None:
    # A module of the same name would take its place as soon as somebody imports it.
    modules = {module.name for module in pkgutil.iter_modules(workbench.__path__)}
    assert not modules & set(workbench.__all__)
    assert all(callable(getattr(workbench, name)) for name in workbench.__all__)
