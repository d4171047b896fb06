"""Known secrets, taken out of everything that a kernel sends, and handed to who runs it."""

from __future__ import annotations

import os
import stat
import struct
import sys
import threading
from contextlib import suppress
from typing import Any

from workbench.errors import CredentialsError
from workbench.scrubbing import MINIMUM, Secrets, Stream

SECRETS_FD = "WORKBENCH_SECRETS_FD"
PIECE = 120  # characters in a record of the pipe: a write of 512 bytes is atomic everywhere


class Filter:
    """Takes the place of a kernel's Session.send, through which ipykernel sends everything."""

    # What ends the text before it, as the reader sees it.
    ENDING = ("display_data", "update_display_data", "execute_result", "error", "clear_output",
              "execute_reply", "input_request", "shutdown_reply")  # fmt: skip

    def __init__(self, secrets: Secrets, session: Any, iopub: Any) -> None:
        self.secrets = secrets
        self.session = session
        self.iopub = iopub
        self.original = session.send
        self.held: dict[tuple[str, str], tuple[Stream, Any, dict[str, Any], Any]] = {}
        self.lock = threading.RLock()
        self.owner = getattr(iopub, "_master_pid", os.getpid())
        session.send = self.send
        if self._is_owner() and getattr(iopub, "_pipe_flag", False):
            # Forked children send through this pipe: what they write in parts is joined here.
            iopub.schedule(lambda: iopub._pipe_in.on_recv(self.relay))

    def send(
        self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None,
        ident: Any = None, buffers: Any = None, track: bool = False, header: Any = None,
        metadata: Any = None,
    ) -> Any:  # fmt: skip
        """Send like Session.send, without secrets; what was handed in is not changed."""
        if msg_or_type is None or isinstance(msg_or_type, str):
            message = self.session.msg(msg_or_type, content, parent, header, metadata)
        else:
            message = dict(msg_or_type)
            buffers = buffers or message.get("buffers")
        buffers = [self.secrets.scrub_bytes(bytes(buffer)) for buffer in buffers or ()]
        message["metadata"] = self.secrets.scrub_tree(message.get("metadata") or {})
        kind = message["header"]["msg_type"]
        if self._is_owner():
            content = message["content"]
            if kind == "stream" and isinstance(content, dict):
                return self._stream(stream, message, ident)
            if kind in self.ENDING:
                self._release(message["parent_header"].get("msg_id", ""))
            elif kind == "status" and content.get("execution_state") == "idle":
                self._release(None)
        message["content"] = self.secrets.scrub_tree(message["content"])
        return self.original(stream, message, ident=ident, buffers=buffers, track=track)

    def relay(self, frames: list[bytes]) -> None:
        """Send on what a forked child has sent: in place of IOPubThread._handle_pipe_msg."""
        if frames[0] != self.iopub._pipe_uuid:
            return
        at = frames.index(b"<IDS|MSG>")
        parts = ("header", "parent_header", "metadata", "content")
        message = dict(zip(parts, map(self.session.unpack, frames[at + 2 : at + 6]), strict=True))
        self.send(self.iopub, message, ident=frames[1:at], buffers=frames[at + 6 :])

    def _is_owner(self) -> bool:
        # A forked child neither keeps text back nor takes the lock, which may be held for ever.
        return bool(os.getpid() == self.owner)

    def _stream(self, stream: Any, message: dict[str, Any], ident: Any) -> Any:
        key = (message["parent_header"].get("msg_id", ""), str(message["content"].get("name")))
        with self.lock:
            state = self.held[key][0] if key in self.held else Stream(self.secrets)
            text = state.feed(str(message["content"].get("text", "")))
            self.held[key] = (state, stream, message, ident)
            if not state.held and not state.sent:
                del self.held[key]
            return self._show(text, stream, message, ident)

    def _show(self, text: str, stream: Any, message: dict[str, Any], ident: Any) -> Any:
        header = self.session.msg_header("stream")
        content = {**self.secrets.scrub_tree(message["content"]), "text": text}
        shown = {**message, "header": header, "content": content}
        return self.original(stream, shown, ident=ident) if text else shown

    def _release(self, parent: str | None) -> None:
        with self.lock:
            for key, (state, stream, message, ident) in list(self.held.items()):
                if parent in (None, key[0]):
                    self._show(state.release(), stream, message, ident)


known = Secrets()
_handed: set[str] = set()
_lock = threading.Lock()


def protect(value: str) -> None:
    """Redact a secret from now on, here and in the runner; raises CredentialsError if it cannot.

    Called before anything else gets the value, so that a secret that cannot be protected is
    never used.
    """
    if len(value) < MINIMUM:
        raise CredentialsError(
            f"A secret is shorter than {MINIMUM} characters and cannot be redacted.",
            "Give the account a longer password.",
        )
    with _lock:
        known.add(value)
        _guard_kernel()
        if value not in _handed:
            _hand_over(value)
            _handed.add(value)


def received(fd: int) -> list[str]:
    """Return the secrets that came through the read end of a pipe so far; never blocks.

    Writes are atomic: what is not whole was not written by us, and raises CredentialsError.
    """
    os.set_blocking(fd, False)
    data = b""
    with suppress(BlockingIOError):
        while chunk := os.read(fd, 1 << 16):
            data += chunk
    values, at = [], 0
    try:
        while at < len(data):
            (size,) = struct.unpack_from("!H", data, at)
            (content,) = struct.unpack_from(f"!{size}s", data, at + 2)
            values.append(content.decode("utf-8", "surrogatepass"))
            at += 2 + size
    except (struct.error, UnicodeDecodeError):
        values = []
    if data and not values:
        raise CredentialsError("The kernel's list of secrets is damaged.")
    return values


def _hand_over(value: str) -> None:
    named = os.environ.get(SECRETS_FD)
    if not named:
        return
    # A long value goes in pieces, each of which betrays it; the last one is as long as others.
    starts = [*range(0, max(len(value) - PIECE, 0), PIECE), max(len(value) - PIECE, 0)]
    try:
        fd = int(named)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError
        os.set_blocking(fd, False)
        for start in starts:
            content = value[start : start + PIECE].encode("utf-8", "surrogatepass")
            os.write(fd, struct.pack("!H", len(content)) + content)
    except (OSError, ValueError):
        reached = False
    else:
        reached = True
    if not reached:
        raise CredentialsError(
            "A secret could not be handed to the runner, which then could not redact it.",
            "The run's pipe is full or closed: resolve secrets in the notebook's kernel alone.",
        )


def _guard_kernel() -> None:
    get_ipython: Any = getattr(sys.modules.get("IPython"), "get_ipython", None)
    kernel = getattr(get_ipython() if get_ipython else None, "kernel", None)
    session: Any = getattr(kernel, "session", None)
    if session is not None and not isinstance(getattr(session.send, "__self__", None), Filter):
        Filter(known, session, getattr(kernel, "iopub_thread", None))


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
