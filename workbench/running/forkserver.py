"""The forkserver: a process that imports the heavy libraries once, and forks the kernels.

It is our own rather than multiprocessing's: that one leaves its socket file and a second process,
the resource tracker, behind a host that is killed, and changes with every Python.

Imports come in waves. What a second wave brings (Great Expectations takes as long as all else
together) is imported in a second process, forked from the first: it serves the kernels that need
it, while the first one need not wait for it to serve the others.
"""

from __future__ import annotations

import ctypes
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
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.redaction import SECRETS_FD

GRACE = 5  # seconds that kernels have to clean up behind a host that died
NEXT = "--"  # between the modules of two waves
FIRST, LAST = b"first", b"last"  # the wave that a kernel asks for, or that is imported
DROP = b"drop"  # asks for the end of a second process whose import hangs
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
NUMBER = struct.Struct("=q")

# Not OPENBLAS_NUM_THREADS and the like: they would be read here once, and every kernel would
# compute on one core. The pools that exist before the fork (OpenBLAS's) are made anew behind it.
_KERNEL = (
    "ipykernel_launcher ipykernel.kernelapp ipykernel.zmqshell ipykernel.debugger psutil "
    "IPython.core.completerlib IPython.core.oinspect IPython.extensions.storemagic"
).split()


@dataclass
class _Second:
    """The process that serves the kernels which need the last wave."""

    pid: int
    channel: socket.socket
    ready: bool = False

    def listen(self) -> bool:
        """Take note of what it says; tell whether it is there still."""
        word = b""
        with suppress(OSError):  # not an end but a reset, where it died with requests unread
            word = self.channel.recv(16)
        self.ready = self.ready or bool(word)
        return bool(word)

    def kill_unready(self) -> None:
        if not self.ready:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def serve(descriptor: str, *modules: str) -> None:
    """Import, then fork kernels for who is at the other end of the socket, until that is gone.

    Says which wave is imported. Returns in the kernels, too.
    """
    channel = socket.socket(fileno=int(descriptor))
    words = [*modules, NEXT]
    cut = words.index(NEXT)
    if not _imported(channel, (*_KERNEL, *words[:cut])):
        return
    second, kernels = None, dict[int, int]()
    if later := words[cut + 1 : -1]:
        parent, pid = os.getpid(), -1
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with suppress(OSError):  # no memory, no processes: the kernels import for themselves
            pid = os.fork()
        if pid == 0:
            ours.close()
            channel.close()
            _serve_second(theirs, later, parent)
            return
        theirs.close()
        if pid > 0:
            second = _Second(pid, ours)
            kernels[pid] = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # nobody listens any more, as the next look will tell
        channel.send(FIRST)
        if second is None:
            channel.send(LAST)
    _fork_kernels(channel, second, kernels)


def _serve_second(channel: socket.socket, modules: Iterable[str], parent: int) -> None:
    os.setsid()
    # An import that hangs sees no channel close.
    _end_with_parent(signal.SIGKILL)
    if os.getppid() == parent and _imported(channel, modules):
        _end_with_parent(0)
        with suppress(OSError):
            channel.send(LAST)
        _fork_kernels(channel, None, {})


def _end_with_parent(number: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))


def _imported(channel: socket.socket, modules: Iterable[str]) -> bool:
    """Import modules, unless whom it is for has gone meanwhile."""
    for name in modules:
        with suppress(BlockingIOError):
            if not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return False
        # Whatever is wrong with a module is for the notebook to see that imports it.
        with suppress(BaseException):
            import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a kernel would copy all these pages
    return True


def _fork_kernels(channel: socket.socket, second: _Second | None, kernels: dict[int, int]) -> None:
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Kernels see this pipe's end when the forkserver dies: only it holds the other one.
    lifeline, held = os.pipe()
    while True:
        others = [second.channel] if second else []
        readable = select.select([channel, woken, *others], [], [])[0]
        if woken in readable:
            woken.recv(4096)
            _reap(kernels)
        if second and second.channel in readable:
            if not second.listen():
                second.channel.close()
                second = None
            with suppress(OSError):
                channel.send(LAST)
        if channel in readable:
            word, fds = b"", list[int]()
            with suppress(ConnectionResetError):
                word, fds = socket.recv_fds(channel, 16, 253)[:2]
            if not word:
                break
            if word == DROP:
                if second:
                    second.kill_unready()
                continue
            for fd in fds:
                os.set_inheritable(fd, False)
            if word == LAST and second and _sent(second.channel, fds):
                continue
            pid = -1
            with suppress(OSError):  # no memory, no processes: the host reads no pid
                pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for ours in (channel, woken, waker, *others):
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
        second.kill_unready()
        second.channel.close()
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
