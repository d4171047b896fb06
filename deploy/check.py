"""Check all that leads to production, offline: `python deploy/check.py [FOLDER]`.

Prints what is wrong and exits with 1. Each check is a function from a folder, laid out as this
project, to the problems in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from workbench.grammar import put_off

KUBERNETES = "1.34"  # the oldest that manifests shall work on
BIN = Path(sys.executable).parent
put_off()


def _run(tool: str, *words: str | Path) -> Iterator[str]:
    done = subprocess.run([BIN / tool, *words], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        yield f"{tool}: {(done.stdout + done.stderr).strip()}"


def dockerfile(root: Path) -> Iterator[str]:
    """Ask hadolint."""
    yield from _run("hadolint", "--no-color", root / "deploy" / "Dockerfile")


def _schema(name: str, files: Iterable[Path]) -> Iterator[str]:
    from check_jsonschema.cli import main  # type: ignore[import-untyped]

    done = CliRunner().invoke(main, ["--builtin-schema", name, *map(str, files)])
    if done.exit_code:
        yield done.output.strip()


def compose(root: Path) -> Iterator[str]:
    """Ask the schema of the Compose specification."""
    yield from _schema("vendor.compose-spec", (root / "deploy").rglob("compose.yaml"))


def workflows(root: Path) -> Iterator[str]:
    """Ask the schema of GitHub's workflows, and zizmor for what attackers look for."""
    folder = root / ".github" / "workflows"
    yield from _schema("vendor.github-workflows", folder.glob("*.yml"))
    yield from _run("zizmor", "--offline", "--no-progress", "--color=never", folder)


def kubernetes(root: Path) -> Iterator[str]:
    """Ask Kubernetes' own schemas, which here know no other key."""
    from kubernetes_validate import (  # type: ignore[import-untyped]
        ValidationError,
        validate,
    )

    for path in sorted((root / "deploy" / "kubernetes").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            try:
                validate(manifest, KUBERNETES, strict=True)
            except ValidationError as error:
                yield f"{path.name}: {error.message}"


def terraform(root: Path) -> Iterator[str]:
    """Parse every file, and look for what each reference names: variables, locals, resources."""
    import hcl2

    folder = root / "deploy" / "terraform"
    known, used = set[str](), dict[str, str]()
    for path in sorted(folder.glob("*.tf")):
        try:
            content = hcl2.loads(path.read_text(encoding="utf-8"))
        except Exception as error:  # lark's own, of many kinds
            yield f"{path.name}: {str(error).splitlines()[0]}"
            continue
        known |= _declared(content)
        expressions = json.dumps(content)
        for found in re.findall(r"\b(?:var|local|(?:data\.)?aws_\w+)\.\w+", expressions):
            used.setdefault(found, path.name)
    yield from (f"{used[name]}: nothing is called {name}" for name in sorted(used.keys() - known))
    unused = {name for name in known if name.startswith(("var.", "local."))} - used.keys()
    yield from (f"{name} is declared and not used" for name in sorted(unused))
    given = re.search(r"policy\.json\", \{(.*?)\}\)", (folder / "role.tf").read_text(), re.DOTALL)
    names = set(re.findall(r"^\s*(\w+)\s*=", given[1], re.MULTILINE)) if given else set()
    policy = (folder / "policy.json").read_text(encoding="utf-8")
    if names != (wanted := set(re.findall(r"\$\{(\w+)\}", policy))):
        yield f"policy.json takes {sorted(wanted)}, and role.tf gives {sorted(names)}"


def _declared(content: dict[str, Any]) -> set[str]:
    names = {f"local.{name}" for block in content.get("locals", ()) for name in block}
    for block in content.get("variable", ()):
        names |= {f"var.{name}" for name in block}
    for kind, prefix in (("resource", ""), ("data", "data.")):
        for block in content.get(kind, ()):
            for type_, named in block.items():
                names |= {f"{prefix}{type_}.{name}" for name in named}
    return {name.replace('"', "") for name in names if "__" not in name}


def scripts(root: Path) -> Iterator[str]:
    """Parse every shell script by the shell that it names."""
    for path in ("deploy/run_plan", "deploy/oracle/standin", "scripts/setup.sh", ".ci/run"):
        shell = (root / path).read_text(encoding="utf-8").partition("\n")[0]
        name = "bash" if "bash" in shell else "sh"
        done = subprocess.run([name, "-n", root / path], capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            yield done.stderr.strip()


def settings(root: Path) -> Iterator[str]:
    """Read the settings and the plan in the ConfigMap as `workbench batch` would."""
    from workbench.errors import WorkbenchError
    from workbench.running.plans import read_plan
    from workbench.settings import load_settings

    config = (root / "deploy" / "kubernetes" / "configmap.yaml").read_text(encoding="utf-8")
    files = yaml.safe_load(config)["data"]
    lacks = "configmap.yaml: {} names the source {!r}, which is not there"
    with tempfile.TemporaryDirectory() as place, chdir(place):
        Path("notebooks").symlink_to(root / "notebooks")
        for name, text in files.items():
            Path(name).write_text(text, encoding="utf-8")
        try:
            sources = load_settings().sources
            for spec in read_plan(Path("prod.yaml")):
                source = spec.parameters.get("source")
                if source is not None and source not in sources:
                    yield lacks.format(spec.name, source)
        except WorkbenchError as error:
            yield f"configmap.yaml: {error}"


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (
    dockerfile, compose, workflows, kubernetes, terraform, scripts, settings
)  # fmt: skip

if __name__ == "__main__":
    # What this machine's environment overrides is not what the files say.
    for name in [name for name in os.environ if name.startswith("WORKBENCH_")]:
        del os.environ[name]
    folder = Path(*sys.argv[1:2]).resolve() if sys.argv[1:] else Path(__file__).parents[1]
    problems = [problem for check in CHECKS for problem in check(folder)]
    sys.exit("\n".join(problems) or None)
