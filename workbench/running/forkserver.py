"""The forkserver: a process that imports the heavy libraries once, and forks the kernels.

It is our own rather than multiprocessing's: that one leaves its socket file and a second process,
the resource tracker, behind a host that is killed, and changes with every Python.

Imports come in waves. What a second wave brings (Great Expectations takes as long as all else
together) is imported in a second process, forked from the first: it serves the kernels that need
it, while the first one need not wait for it to serve the others.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.redaction import SECRETS_FD

GRACE = 5  # seconds that kernels have to clean up behind a host that died
NEXT = "--"  # between the modules of two waves
FIRST, LAST = b"first", b"last"  # the wave that a kernel asks for
NUMBER = struct.Struct("=q")

# Not OPENBLAS_NUM_THREADS and the like: they would be read here once, and every kernel would
# compute on one core. The pools that exist before the fork (OpenBLAS's) are made anew behind it.
_KERNEL = (
    "ipykernel_launcher ipykernel.kernelapp ipykernel.zmqshell ipykernel.debugger psutil "
    "IPython.core.completerlib IPython.core.oinspect IPython.extensions.storemagic"
).split()


def serve(descriptor: str, *modules: str) -> None:
    """Import, then fork kernels for who is at the other end of the socket, until that is gone.

    Returns in the kernels, too.
    """
    words = [*modules, NEXT]
    cut = words.index(NEXT)
    _serve(socket.socket(fileno=int(descriptor)), [*_KERNEL, *words[:cut]], words[cut + 1 : -1])


def _serve(channel: socket.socket, modules: Iterable[str], later: list[str]) -> None:
    for name in modules:
        with suppress(BlockingIOError):
            # Nobody is there any more, unless a first request waits already.
            if not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return
        # Whatever is wrong with a module is for the notebook to see that imports it.
        with suppress(BaseException):
            import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a kernel would copy all these pages
    second: socket.socket | None = None
    kernels: dict[int, int] = {}
    if later:
        second, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            pid = os.fork()
            if pid == 0:
                os.setsid()
                second.close()
                channel.close()
                _serve(theirs, later, [])
                return
        kernels[pid] = os.open(os.devnull, os.O_WRONLY)
    else:
        channel.send(b"ready")
    _fork_kernels(channel, second, kernels)


def _fork_kernels(
    channel: socket.socket, second: socket.socket | None, kernels: dict[int, int]
) -> None:
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Kernels see this pipe's end when the forkserver dies: only it holds the other one.
    lifeline, held = os.pipe()
    while True:
        readable = select.select([channel, woken, *([second] if second else [])], [], [])[0]
        if woken in readable:
            woken.recv(4096)
            _reap(kernels)
        if second in readable:
            # It is ready, or has died; then its kernels import for themselves.
            if not second.recv(16):
                second.close()
                second = None
            with suppress(OSError):  # the host has gone
                channel.send(b"ready")
        if channel in readable:
            wave, fds = b"", list[int]()
            with suppress(ConnectionResetError):
                wave, fds = socket.recv_fds(channel, 16, 253)[:2]
            if not fds:
                break
            for fd in fds:
                os.set_inheritable(fd, False)
            if wave == LAST and second and _sent(second, fds):
                continue
            pid = -1
            with suppress(OSError):  # no memory, no processes: the host reads no pid
                pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for ours in filter(None, (channel, second, woken, waker)):
                    ours.close()
                for fd in (held, *kernels.values()):
                    os.close(fd)
                _be_kernel(fds, lifeline)
                return
            if pid > 0:
                with suppress(OSError):
                    os.write(fds[0], NUMBER.pack(pid))
                kernels[pid] = fds.pop(0)
            for fd in fds:
                os.close(fd)
    if second:
        second.close()
    # They follow their host by themselves, unless foreign code keeps their threads from running.
    deadline = time.monotonic() + GRACE + bool(second)
    while kernels and time.monotonic() < deadline:
        time.sleep(0.02)
        _reap(kernels)
    for pid in kernels:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _sent(second: socket.socket, fds: list[int]) -> bool:
    """Hand a request on, and with it what it came with."""
    try:
        socket.send_fds(second, [LAST], fds)
    except OSError:
        return False
    for fd in fds:
        os.close(fd)
    return True


def _reap(kernels: dict[int, int]) -> None:
    """Tell the host how the kernels ended that did."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            # What it has started goes with it, also when it was killed itself.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(ended[0], signal.SIGKILL)
            if (fd := kernels.pop(ended[0], None)) is not None:
                with suppress(OSError):
                    os.write(fd, NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
                os.close(fd)


def _be_kernel(fds: list[int], lifeline: int) -> None:
    """Be what `python -m ipykernel_launcher` would be, here behind the fork."""
    import multiprocessing.process

    from ipykernel import kernelapp

    os.setsid()
    host, *standard = fds[:4]
    with open(host, "rb", closefd=False) as stream:
        line = stream.readline()
    # A host that lost its patience has started an ordinary kernel with the same files.
    if not line or select.select([host], [], [], 0)[0]:
        return
    request = json.loads(line)
    for target, source in enumerate(standard):
        os.dup2(source, target)
        os.close(source)
    passed = dict(zip(request["pass_fds"], fds[4:], strict=True))
    os.environ.clear()
    os.environ.update(request["env"])
    with suppress(KeyError, ValueError):
        os.environ[SECRETS_FD] = str(passed[int(os.environ[SECRETS_FD])])
    time.tzset()
    os.chdir(request["cwd"])
    sys.argv = [str(sys.modules["ipykernel_launcher"].__file__), *request["argv"]]
    # What the forkserver has already decided for all its kernels:
    multiprocessing.process.ORIGINAL_DIR = request["cwd"]  # type: ignore[attr-defined]
    multiprocessing.process.current_process().authkey = os.urandom(32)
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()

    class IPKernelApp(kernelapp.IPKernelApp):
        def init_iopub(self, context: Any) -> None:
            # Beyond 1,000 messages that the reader has not taken, ZeroMQ would drop outputs.
            context.sndhwm = 0
            super().init_iopub(context)  # type: ignore[no-untyped-call]

        def start(self) -> None:
            super().start()  # type: ignore[no-untyped-call]
            # At exit ipykernel ends the thread that sends outputs, and then would wait for these,
            # which may wait for that one: a kernel in three took seconds to end.
            for thread in (self.control_thread, self.shell_channel_thread):
                if thread and thread.is_alive():
                    thread.stop()
                    thread.join()

    connection_file = Path(sys.argv[2])
    threading.Thread(target=_follow, args=(host, lifeline, connection_file), daemon=True).start()
    # Our parent is not the host: no polling for it (1 is "will never go away").
    IPKernelApp.launch_instance(parent_handle=1)


def _follow(host: int, forkserver: int, connection_file: Path) -> None:
    """End this kernel and what it started when its host or the forkserver dies.

    A thread rather than PR_SET_PDEATHSIG, which would kill before the files are removed; where
    no thread gets to run, the forkserver does the killing after a while.
    """
    info = json.loads(connection_file.read_text(encoding="utf-8"))
    files = [connection_file]
    if info["transport"] == "ipc":
        ports = [value for key, value in info.items() if key.endswith("_port")]
        files += [Path(f"{info['ip']}-{port}") for port in ports]
    select.select([host, forkserver], [], [])
    for file in files:
        with suppress(OSError):
            file.unlink()
    for folder in {file.parent for file in files if file.parent.name.startswith("workbench-")}:
        with suppress(OSError):
            folder.rmdir()
    os.killpg(0, signal.SIGKILL)
