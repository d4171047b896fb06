"""The set-up scripts do what `make` does, for people who have no make."""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SHELL, BATCH = ROOT / "scripts" / "setup.sh", ROOT / "scripts" / "setup.bat"
WORDS = ("demo", "lab", "test")


def steps(text: str) -> list[str]:
    """What makes an environment, without the names of interpreters and folders."""
    found = re.findall(r"-m (venv|pip install .*)", text.replace("\\", "/"))
    return [re.sub(r" \.venv(-anew)?$", "", step) for step in found]


def made_by_make() -> list[str]:
    dry = ["make", "--dry-run", "--no-print-directory", "UV=", "VENV=.venv-anew", "test"]
    told = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return steps(told)


def test_both_take_the_steps_of_the_makefile() -> None:
    expected = made_by_make()
    assert len(expected) == 4
    for script in (SHELL, BATCH):
        text = re.sub(r" (\|\| stop .*|\\\n +\|\| .*)$", "", script.read_text(), flags=re.MULTILINE)
        assert steps(text) == expected, script
        assert ".made-from-lock" in text
        for word in WORDS:
            assert re.search(rf"setup\.(sh|bat) {word}\b", text), (script, word)


def test_neither_knows_a_registry() -> None:
    for script in (SHELL, BATCH):
        assert not re.search(r"https?://|index-url|find-links", script.read_text()), script


def test_windows_can_read_the_batch_file() -> None:
    raw = BATCH.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\r\n") == raw.count(b"\n")
    asked = subprocess.run(
        ["git", "check-attr", "eol", "scripts/setup.bat", "scripts/setup.sh"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert asked.stdout == "scripts/setup.bat: eol: crlf\nscripts/setup.sh: eol: lf\n"
    lines = raw.decode().splitlines()
    code = [line for line in lines if not re.match(r"(rem|echo)\b", line)]
    labels = {line[1:] for line in code if line.startswith(":")}
    used = set(re.findall(r"\b(?:goto |call :)(\w+)", "\n".join(code)))
    assert used == labels
    assert not any(re.search(r"\$\(|\$\{|/bin/|\bfi\b|\bthen\b|'''", line) for line in code)
    # What is reached by a jump alone does not follow from the line above.
    above = {line[1:]: code[n - 1] or code[n - 2] for n, line in enumerate(code) if line[:1] == ":"}
    for label in labels - {"find", "stamp", "make", "ready"}:
        assert above[label].startswith(("exit /b", "goto ")), label


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_the_shell_script_is_a_shell_script(shell: str) -> None:
    subprocess.run([shell, "-n", str(SHELL)], check=True)
    assert os.access(SHELL, os.X_OK)


# Makes a wheel, and is the build backend of a project: what hatchling is for the real one.
BACKEND = """
import base64, hashlib, pathlib, zipfile

def write_wheel(path, name, entry, module, text):
    info = f"{name}-1.0.dist-info"
    files = {
        module: text, f"{info}/entry_points.txt": entry,
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\\n" for file in files)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, content in files.items():
            wheel.writestr(file, content)

def build_editable(folder, *_):
    name = "workbench-1.0-py3-none-any.whl"
    text = "import sys, tiny\\ndef main(): print(sys.argv[1:])\\n"
    entry = "[console_scripts]\\nworkbench = run:main\\n"
    write_wheel(pathlib.Path(folder, name), "workbench", entry, "run.py", text)
    return name
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with these scripts, whose only dependency is a wheel on the disk."""
    folder = tmp_path / "a check out"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "own.py").write_text(BACKEND)
    own = runpy.run_path(str(folder / "own.py"))
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    own["write_wheel"](wheel, "tiny", "", "tiny.py", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "requirements-demo.lock").write_text(f"tiny==1.0 \\\n    --hash=sha256:{digest}\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        '[project]\nname = "workbench"\nversion = "1.0"\n'
    )
    return folder


def set_up(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(folder / "scripts" / "setup.sh"), *words], cwd="/", capture_output=True, text=True,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder.parent),
             **environment},
        timeout=100,
    )  # fmt: skip


def quick_python(folder: Path) -> str:
    """A Python whose environments share its pip, where it has one: copying it takes seconds."""
    base = sys._base_executable  # type: ignore[attr-defined]
    if subprocess.run([base, "-c", "import pip"], capture_output=True).returncode != 0:
        return sys.executable
    (folder / "python").write_text(
        f'#!/bin/sh\ncase "$1 $2" in "-m venv") shift 2; set -- -m venv --without-pip'
        f' --system-site-packages "$@";; esac\nexec "{base}" "$@"\n'
    )
    (folder / "python").chmod(0o755)
    return str(folder / "python")


def test_the_environment_is_made_once_and_anew_when_the_lock_changes(checkout: Path) -> None:
    done = set_up(checkout, PYTHON=quick_python(checkout))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Making the environment .venv.")
    assert "What next?" in done.stdout
    made = (checkout / ".venv" / "pyvenv.cfg").stat().st_ino
    # What it starts is the installed command, in the project.
    done = set_up(checkout, "demo")
    assert (done.returncode, done.stdout) == (
        0, "The environment .venv is current.\n['run', 'run_colors']\n",
    )  # fmt: skip
    assert (checkout / ".venv" / "pyvenv.cfg").stat().st_ino == made
    # In a copy of the folder, the installed command would be the original's.
    copy = checkout.parent / "a copy"
    shutil.copytree(checkout, copy, symlinks=True)
    (copy / "venv.py").write_text("raise SystemExit(1)")
    assert set_up(copy).stdout.startswith("Making the environment .venv.")
    newer = (checkout / ".venv" / ".made-from-lock").stat().st_mtime + 10
    os.utime(checkout / "requirements-demo.lock", (newer, newer))
    # A Python whose environments cannot install anything.
    lacks = "case $3 in .venv) mkdir -p .venv/bin; ln -s /bin/false .venv/bin/python; esac"
    done = set_up(checkout, PATH=programs(checkout.parent / "few", lacks))
    assert done.returncode == 1
    assert done.stderr.startswith("The packages could not be installed")
    assert not (checkout / ".venv" / ".made-from-lock").exists()


def programs(folder: Path, python: str | None) -> str:
    """A folder with nothing but what the script calls, and perhaps a Python."""
    folder.mkdir()
    for name in ("dirname", "find", "grep", "ln", "mkdir", "rm", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    if python is not None:
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


def test_without_a_python_it_says_what_to_install(checkout: Path) -> None:
    for name, python in (("none", None), ("old", "exit 1")):
        done = set_up(checkout, PATH=programs(checkout.parent / name, python))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Python 3.11 or newer is needed, and none was found.\n")
        assert "apt install python3 python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()
    done = set_up(checkout, PYTHON="/no/such python")
    assert done.returncode == 1
    assert done.stderr == "PYTHON is /no/such python, which is no Python 3.11 or newer.\n"
    done = set_up(checkout, "everything")
    assert done.returncode == 2
    assert done.stderr == "setup.sh knows demo, lab and test, not everything.\n"


@pytest.mark.parametrize("how", ["PATH", "PYTHON"])
def test_the_python_of_the_environment_is_not_the_one_to_make_it(checkout: Path, how: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    (checkout / "venv.py").write_text("import sys; print(sys.executable); sys.exit(1)")
    own, few = checkout / ".venv" / "bin", programs(checkout.parent / "few", None)
    words = {"PATH": f"{own}:{few}"} if how == "PATH" else {"PYTHON": str(own / "python")}
    made_by = Path(set_up(checkout, **words).stdout.splitlines()[-1])
    assert made_by.is_file()
    assert checkout not in made_by.parents


def test_a_python_without_venv_is_told(checkout: Path) -> None:
    lacks = 'case $1 in -m) echo "No module named venv" >&2; exit 1;; esac'
    done = set_up(checkout, PATH=programs(checkout.parent / "bare", lacks))
    assert done.returncode == 1
    assert "sudo apt install python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()
