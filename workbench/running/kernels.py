"""Warm kernels: each is forked from a process that has imported the heavy libraries once."""

from __future__ import annotations

import ast
import asyncio
import atexit
import json
import logging
import os
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

import workbench
from workbench.running.forkserver import DROP, FIRST, LAST, NEXT, NUMBER

SWITCH = "WORKBENCH_KERNELS__WARM"
START_LIMIT = 60  # seconds until a request must be answered, imports included
PATIENCE = 15  # seconds that JupyterLab's first kernels wait for what they would else import

# Importing these changes what other libraries do, which is for the notebook to decide.
_LEFT_OUT = {"workbench.charts", "workbench.cli"}
# Great Expectations, which takes as long as all others together, and what needs it.
VALIDATING = ("pandas", "workbench.expectations.inputs")
# What our own names use: notebooks type `wb.name`, which imports it when it is first used.
USUAL = (
    *"numpy polars duckdb sqlalchemy sqlalchemy.dialects.postgresql psycopg altair".split(),
    *"vl_convert great_tables rustpy_xlsxwriter pyarrow".split(),
    *(
        f"workbench.{module.name}"
        for module in pkgutil.iter_modules(workbench.__path__)
        if module.name != "expectations"
    ),
)
PRELOAD = (
    *USUAL,
    *"pandas pyarrow pyarrow.compute pyarrow.parquet sqlalchemy.dialects.oracle oracledb".split(),
    *"boto3 openpyxl".split(),
    *VALIDATING,
)

_HANDLED = {"env", "cwd", "stdin", "stdout", "stderr", "pass_fds", "extra_arguments", "kernel_id"}


class _Forked:
    """What LocalProvisioner uses of subprocess.Popen, for a kernel that the forkserver forked."""

    stdin = stdout = stderr = None

    def __init__(
        self, server: _Server, request: object, descriptors: list[int], wave: bytes = LAST
    ) -> None:
        self.returncode: int | None = None
        self._kernels = server.kernels
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(server.channel, [wave], [theirs.fileno(), *descriptors])
            self._socket.settimeout(START_LIMIT)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            word = self._socket.recv(NUMBER.size)
            if not word:
                raise ConnectionError("the forkserver has died")
            self.pid: int = NUMBER.unpack(word)[0]
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise
        self._kernels.add(self)

    def poll(self, flags: int = socket.MSG_DONTWAIT) -> int | None:
        with self._lock:
            if self.returncode is None:
                try:
                    word = self._socket.recv(NUMBER.size, flags)
                except BlockingIOError:
                    return None
                except OSError:
                    word = b""
                # Without a word the forkserver was killed, and its kernels went with it.
                self.returncode = NUMBER.unpack(word)[0] if word else -signal.SIGKILL
                self.close()
        return self.returncode

    def wait(self) -> int | None:
        return self.poll(flags=0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        # The kernel takes this for the end of its host.
        self._socket.close()
        self._kernels.discard(self)


class _Server:
    """The forkserver of this process: a Python that has imported `modules` and waits."""

    def __init__(self, modules: Iterable[str]) -> None:
        wanted = [*dict.fromkeys(modules)]
        late = [name for name in wanted if name in VALIDATING]
        waves = [name for name in wanted if name not in VALIDATING] + (
            [NEXT, *late] if late else []
        )
        self.python = _python_variables(os.environ)
        self.kernels: set[_Forked] = set()  # lest one die when nobody holds its manager any more
        self.said: set[bytes] = set()  # by the forkserver: the waves it has imported, b"" the end
        self.channel, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = "import sys; sys.path[:] = filter(None, sys.path); "
        command += "from workbench.running.forkserver import serve; serve(*sys.argv[1:])"
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", command, str(theirs.fileno()), *waves],
                stdin=subprocess.DEVNULL,
                # Nobody who reads the host's output is to wait for this process.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Return whether a request would be answered (or refused) at once."""
        while b"" not in self.said:
            try:
                self.said.add(self.channel.recv(16, socket.MSG_DONTWAIT))
            except BlockingIOError:
                break
            except OSError:
                self.said.add(b"")
        return not self.said.isdisjoint((b"", LAST))

    def drop_import(self) -> None:
        """End an import that hangs, and nothing that works."""
        if self.answers():
            return
        if FIRST in self.said:
            with suppress(OSError):
                self.channel.send(DROP)
        else:
            self.process.kill()

    def stop(self) -> None:
        if not self.answers() and FIRST not in self.said:
            self.process.kill()
        self.let_go()
        self.process.wait()

    def let_go(self) -> None:
        self.channel.close()
        for kernel in list(self.kernels):
            kernel.close()


_lock, _parsing = threading.Lock(), threading.Lock()
_server: _Server | None = None
_told: set[str] = set()


def warm(modules: Iterable[str] | None = None) -> None:
    """Start importing `modules` (None: all of PRELOAD) for the kernels to come; returns at once.

    The first call decides. Modules that cannot be imported are left out.
    """
    global _server
    with _lock:
        if _server is None and not unavailable():
            wanted = PRELOAD if modules is None else modules
            with suppress(OSError):  # no memory, no processes: said when a kernel is started
                _server = _Server(name for name in wanted if name not in _LEFT_OUT)
                atexit.register(_server.stop)


def warm_as_set(modules: Iterable[str] | None) -> None:
    """Warm as the settings say: not at all, or with their own list of modules."""
    from workbench.settings import load_settings

    settings = load_settings().kernels
    if settings.warm:
        warm(modules if settings.preload is None else settings.preload)
    else:
        os.environ[SWITCH] = "false"  # else the kernelspec itself would ask for warm kernels


def unavailable() -> str:
    """Say why no kernel of this process can be forked, if so."""
    if os.environ.get(SWITCH, "").strip().lower() in {"false", "f", "0", "no", "n", "off"}:
        return f"{SWITCH} is off"
    # macOS has fork, but its frameworks do not survive it.
    return "" if sys.platform == "linux" else "only Linux forks safely"


def _forget() -> None:
    """Leave forkserver and kernels to the process that was forked here: they are its own."""
    global _server, _lock, _parsing
    _lock, _parsing = threading.Lock(), threading.Lock()
    if _server:
        atexit.unregister(_server.stop)
        _server.let_go()
        _server.process.returncode = 0
        _server = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class WarmProvisioner(LocalProvisioner):
    """Forks a kernel where it can, and starts an ordinary one where it cannot."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Fork the kernel; `kwargs` mean what they mean to subprocess.Popen.

        `modules` among them are what its notebook needs; without, it waits for all of them.
        """
        refusal, modules = unavailable(), kwargs.pop("modules", VALIDATING)
        if not refusal and "jupyter_server" in sys.modules:
            await _first_wave()
        try:
            process = None if refusal else _fork(cmd, kwargs, modules)
        except (OSError, ValueError) as error:
            process, refusal = None, f"{type(error).__name__}: {error}"
            if isinstance(error, TimeoutError) and _server:
                _server.drop_import()
        if process is None:
            if refusal and refusal not in _told:
                _told.add(refusal)
                level = logging.INFO if refusal.endswith(" is off") else logging.WARNING
                self.log.log(level, "Kernels are started without the forkserver: %s", refusal)
            return await super().launch_kernel(cmd, **kwargs)
        self.process = process  # type: ignore[assignment]
        # The kernel leads a session of its own, or will in a moment.
        self.pid = self.pgid = process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info


async def _first_wave() -> None:
    """Wait until all but Great Expectations is imported, while the host serves others."""
    warm()
    deadline = time.monotonic() + PATIENCE
    while _server and not _server.answers() and FIRST not in _server.said:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)


def _fork(cmd: list[str], kwargs: Mapping[str, Any], modules: Collection[str]) -> _Forked | None:
    """Have the forkserver start `cmd`; returns None while it is better not to wait for it.

    Raises ValueError for what only Popen can do, OSError where the forkserver does not answer.
    """
    env = dict(os.environ) if kwargs.get("env") is None else kwargs["env"]
    if cmd[:4] != [sys.executable, "-m", "ipykernel_launcher", "-f"]:
        raise ValueError(f"{cmd[0]} is not this Python's ipykernel")
    if odd := kwargs.keys() - _HANDLED:
        raise ValueError(f"{min(odd)} is not supported")
    served = "jupyter_server" in sys.modules
    # Who did not ask for libraries, papermill's command say, shall not wait for any.
    warm(None if served else ())
    server = _server
    if server is None:
        raise OSError("the forkserver was not started")
    if _python_variables(env) != server.python:
        raise ValueError("the kernel's PYTHON… variables are not this process's")
    early = {*modules}.isdisjoint(VALIDATING)
    if served and not server.answers():
        if FIRST not in server.said:
            return None
        early = True
    folder = Path(kwargs.get("cwd") or Path.cwd())
    folder.stat()
    passed = tuple(kwargs.get("pass_fds", ()))
    with Path(os.devnull).open("r+b", buffering=0) as null:
        out = _descriptor(kwargs.get("stdout"), 1, null.fileno())
        standard = [
            _descriptor(kwargs.get("stdin"), null.fileno(), null.fileno()),
            out,
            _descriptor(kwargs.get("stderr"), 2, null.fileno(), out),
        ]
        request = {
            "argv": cmd[3:],
            "env": {**env, "JPY_PARENT_PID": str(os.getpid())},
            "cwd": str(folder),
            "pass_fds": passed,
        }
        return _Forked(server, request, [*standard, *passed], FIRST if early else LAST)


def _descriptor(stream: Any, inherited: int, null: int, out: int = subprocess.PIPE) -> int:
    if stream is None:
        return inherited
    number = stream if isinstance(stream, int) else stream.fileno()
    number = {subprocess.DEVNULL: null, subprocess.STDOUT: out}.get(number, number)
    if number < 0:
        raise ValueError("a pipe to the kernel is not supported")
    return int(number)


def _python_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Return what Python itself reads from the environment, when it starts and never again."""
    return {
        name: value
        for name, value in env.items()
        if name.startswith("PYTHON") and name != "PYTHONEXECUTABLE"
    }


def needed_by(notebook: Mapping[str, Any]) -> set[str]:
    """Return what a notebook imports, and what our own names that it may use import in turn."""
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    nodes = [node for cell in cells for node in ast.walk(_parsed("".join(cell["source"])))]
    found = _imported(nodes)
    names = {getattr(node, part, None) for node in nodes for part in ("attr", "name")}
    # To record a figure takes no library; the other names do.
    heavy = {name for name, home in workbench._HOME.items() if home not in ("records", "errors")}
    ours = ("workbench" in found and names & heavy) or "workbench.charts" in found
    return found | set(USUAL if ours else ()) | set(VALIDATING if "validate" in names else ())


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def _parsed(source: str) -> ast.Module:
    """Parse a cell without its magics; one that is not Python counts as empty."""
    for text in source, re.sub(r"(?m)^(\s*)[%!].*", r"\1pass", source):
        # One thread at a time: until 3.11.9 and 3.12.3 Python counts the depth of all together
        # (a fault of its own), and raises SystemError.
        with suppress(SyntaxError, ValueError), _parsing:
            return ast.parse(text)
    return ast.parse("")


def kernel_name(wanted: str) -> str:
    """Return "workbench" for a kernel that would start this very Python, else what was wanted."""
    specs = KernelSpecManager()
    try:
        spec = specs.get_kernel_spec(wanted)
        specs.get_kernel_spec("workbench")
    except (NoSuchKernel, ValueError):
        return wanted
    ours = {"python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info)}
    command = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    plain = not spec.env and "kernel_provisioner" not in spec.metadata
    same = spec.argv[:1] and spec.argv[0] in {*ours, sys.executable} and spec.argv[1:] == command
    return "workbench" if plain and same else wanted
