"""The `workbench` command within this process, where an installed one would only take longer."""

from __future__ import annotations

import subprocess

from click.testing import CliRunner

from workbench.cli import main
from workbench.running import kernels


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Do what `workbench *words` does here; kernels are forked from one server for all tests."""
    if words[0] in ("run", "batch"):
        kernels.warm()
    done = CliRunner().invoke(main, words, env=environment, catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)
