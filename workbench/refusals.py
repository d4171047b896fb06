"""Secrets that a server refused lately, remembered so that no process tries them again.

A batch of ten notebooks would otherwise send a wrong password ten times, and Oracle's default
profile locks an account at the tenth. What is kept is a salted, slow digest of the secret
that was refused, in a file of the user's cache that only they can read.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from pydantic import SecretStr

from workbench.settings import cache_folder

ROUNDS = 300_000  # a tenth of a second
MEMORY = 15 * 60  # seconds after which a refused secret may be tried once more


@dataclass(frozen=True)
class Account:
    """A user of a server: what would be locked."""

    url: str
    dsn: str | None
    username: str


_turns = threading.Lock()


@contextmanager
def turn(account: Account) -> Iterator[None]:
    """Let one thread of one process at a time log in: a refusal is known to the next."""
    path = _path(account).with_suffix(".lock")
    with ExitStack() as held:
        try:
            import fcntl

            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            held.enter_context(_turns)  # no file locks here: the threads of this process at least
        yield


def remember(account: Account, secret: SecretStr) -> None:
    """Note that a secret was refused; a cache that cannot be written makes no difference."""
    _note(account, secret, time.time())


def forget(account: Account, secret: SecretStr) -> None:
    """Note that a secret lets us in."""
    if _path(account).exists():
        _note(account, secret, None)


def recall(account: Account, secret: SecretStr) -> str | None:
    """Say how long ago this very secret was refused ("3 minutes"); None if it was not."""
    salt, refused = _read(account)
    at = refused.get(_digest(secret, salt)) if refused else None
    if at is None:
        return None
    age = time.time() - at
    return f"{age / 60:.0f} minutes" if age >= 90 else f"{age:.0f} seconds"


def _read(account: Account) -> tuple[bytes, dict[str, float]]:
    """Give the account's salt, and when which digests were refused."""
    try:
        content = json.loads(_path(account).read_text())
        refused = {
            str(digest): float(at)
            for digest, at in content["refused"].items()
            if 0 <= time.time() - at < MEMORY
        }
        return bytes.fromhex(content["salt"]), refused
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return os.urandom(16), {}


def _note(account: Account, secret: SecretStr, at: float | None) -> None:
    path = _path(account)
    salt, refused = _read(account)
    refused.pop(digest := _digest(secret, salt), None)
    if at is not None:
        refused[digest] = at
    building = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"salt": salt.hex(), "refused": refused}, file)
        building.replace(path)


def _path(account: Account) -> Path:
    name = hashlib.sha256(repr(astuple(account)).encode()).hexdigest()[:32]
    return cache_folder() / "refused" / f"{name}.json"


def _digest(secret: SecretStr, salt: bytes) -> str:
    value = secret.get_secret_value().encode("utf-8", "surrogatepass")
    return hashlib.pbkdf2_hmac("sha256", value, salt, ROUNDS).hex()
