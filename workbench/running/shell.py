"""An IPython extension for headless runs: what would fail in silence is told."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from importlib import import_module
from typing import Any

from workbench.records import warn


def load_ipython_extension(shell: Any) -> None:
    """Warn of `!command` and `x = !command` that fail; let a crash leave a traceback."""
    from IPython.utils._process_common import process_handler

    kernel_shell: Any = import_module("ipykernel.zmqshell")
    any_shell: Any = import_module("IPython.core.interactiveshell")
    run = kernel_shell.system

    def system(command: str) -> int | None:
        return _told(command, run(command))

    def getoutput(command: str) -> str:
        def whole(process: subprocess.Popen[bytes]) -> tuple[bytes, int]:
            return process.communicate()[0], process.returncode

        output, status = process_handler(command, whole, subprocess.STDOUT) or (b"", 0)
        _told(command, status)
        return output.decode(errors="replace")

    # The kernel's stderr is forwarded by a thread of its own, which a crash does not wait for.
    stderr = getattr(sys.stderr, "_original_stdstream_copy", None)
    faulthandler.enable(file=2 if stderr is None else stderr, all_threads=False)
    # IPython keeps the status of the last command only, and none of `x = !command`.
    kernel_shell.system = system
    any_shell.getoutput = getoutput


def _told(command: str, status: int | None) -> int | None:
    if status:
        line = command if len(command) <= 200 else f"{command[:200]}…"
        warn(f"The shell command `{line}` ended with exit status {status}.")
    return status
