"""Secrets that a server refused lately, remembered so that no process tries them again.

A batch of ten notebooks would otherwise send a wrong password ten times, and Oracle's default
profile locks an account at the tenth. What is kept is a salted scrypt digest of the secret that
was refused, in a file of the user's cache that only they can read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from pydantic import SecretStr

from workbench.settings import cache_folder

MEMORY = 15 * 60  # seconds after which a refused secret may be tried once more


@dataclass(frozen=True)
class Account:
    """A user of a server: what would be locked."""

    url: str
    dsn: str | None
    username: str


def remember(account: Account, secret: SecretStr) -> None:
    """Note that a secret was refused; a cache that cannot be written makes no difference."""
    salt = os.urandom(16)
    path = _path(account)
    content = {"salt": salt.hex(), "digest": _digest(secret, salt), "at": time.time()}
    building = path.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        building.replace(path)


def recall(account: Account, secret: SecretStr) -> str | None:
    """Say how long ago this very secret was refused ("3 minutes"); None if it was not."""
    path = _path(account)
    try:
        content = json.loads(path.read_text())
        age = time.time() - content["at"]
        same = content["digest"] == _digest(secret, bytes.fromhex(content["salt"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not same or not 0 <= age < MEMORY:
        return None
    return f"{age / 60:.0f} minutes" if age >= 90 else f"{age:.0f} seconds"


def forget(account: Account) -> None:
    """Note that the account lets us in again."""
    with suppress(OSError):
        _path(account).unlink()


def _path(account: Account) -> Path:
    name = hashlib.sha256(repr(astuple(account)).encode()).hexdigest()[:32]
    return cache_folder() / "refused" / f"{name}.json"


def _digest(secret: SecretStr, salt: bytes) -> str:
    value = secret.get_secret_value().encode("utf-8", "surrogatepass")
    return hashlib.scrypt(value, salt=salt, n=2**14, r=8, p=1).hex()
