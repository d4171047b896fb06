"""Credentials by reference: `env:PREFIX`, `secretsmanager:ID`, `ssm:/path`."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr

from workbench import aws, redaction, scrubbing
from workbench.errors import CredentialsError
from workbench.settings import project_folder

TTL = 300  # seconds; a rotated secret is read sooner where a login fails: resolve(…, fresh=True)
SECRET_KEY = re.compile(r"passw|pwd|token|secret|credential|private|api_?key|(^|[_-])key$", re.I)
PLACES = ("host", "service_name", "dbname", "dsn", "schema", "table")
KEYS = ("username", "password", "wallet_password", "port", *PLACES)
# As Oracle's own tools read it: quotes belong to the name (it keeps its case), not to the password.
# No colon or blank in a bare name: a URL or a connect string alone is no user with a password.
PLAIN = re.compile(
    r'(?P<username>"[^"]+"|[^\s"/@:]+)/(?:"(?P<quoted>[^"]+)"|(?P<bare>[^"\r\n]+?))'
    r"(?:@(?P<dsn>[^@]*))?"
)
Pairs = list[tuple[str, Any]]


@dataclass(frozen=True)
class Address:
    """Where the database is, as far as the secret says."""

    host: str | None = None
    port: int | None = None
    service_name: str | None = None
    dbname: str | None = None
    dsn: str | None = None
    schema: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class Credentials:
    """A user name, a password that shows itself to the driver alone, and what tells rotations."""

    username: str
    password: SecretStr
    address: Address = Address()
    version: str | None = None  # VersionId of a secret, versions of parameters; none for env
    wallet_password: SecretStr | None = None


_read: dict[str, tuple[float, Credentials]] = {}
_locks: dict[str, threading.Lock] = {}
if hasattr(os, "register_at_fork"):
    # Another thread of the parent may hold one. What was read is as good in the child.
    os.register_at_fork(after_in_child=_locks.clear)


def resolve(reference: str, *, fresh: bool = False) -> Credentials:
    """Resolve `scheme:rest`, e.g. `env:WAREHOUSE`; raises CredentialsError, never with content.

    What comes from AWS is kept in memory for TTL seconds; `fresh` reads it again. What is resolved
    is redacted from then on in all that this process and its runner write.
    """
    scheme, colon, rest = reference.partition(":")
    provider = PROVIDERS.get(scheme)
    if provider is None or not colon or not rest:
        # What was written here may be a password put in the wrong place: it is not repeated.
        hint = f"Known references: {', '.join(f'{name}:…' for name in sorted(PROVIDERS))}."
        raise CredentialsError("The credentials reference has no known scheme.", hint)
    if scheme == "env":
        return provider(rest)
    with _locks.setdefault(reference, threading.Lock()):
        now = monotonic()
        if fresh or reference not in _read or now - _read[reference][0] >= TTL:
            _read[reference] = now, provider(rest)
        return _read[reference][1]


def from_environment(prefix: str) -> Credentials:
    """Read PREFIX_USERNAME, PREFIX_PASSWORD, PREFIX_WALLET_PASSWORD: environment, else .env."""
    values = {**dotenv_values(project_folder() / ".env", interpolate=False), **os.environ}
    names = [f"{prefix}_{key.upper()}" for key in KEYS[:3]]
    pairs = [(key, values.get(name)) for key, name in zip(KEYS, names, strict=False)]
    _protect(pairs)
    if missing := [name for name in names[:2] if not values.get(name)]:
        hint = "Set it in the environment, or in the file .env beside workbench.toml."
        keys = " and ".join(missing)
        raise CredentialsError(f"The credentials env:{prefix} need {keys}: not set.", hint)
    return _credentials(pairs, f"env:{prefix}")


def from_secrets_manager(name: str) -> Credentials:
    """Read a secret of AWS Secrets Manager by its name or ARN; for its shapes see from_text."""
    reference = f"secretsmanager:{name}"
    answer = aws.ask("secretsmanager", reference, lambda it: it.get_secret_value(SecretId=name))
    content = answer.get("SecretString")
    if not isinstance(content, str):
        raise CredentialsError(f"The secret {reference} is binary; a text is expected.")
    return from_text(content, reference, answer.get("VersionId"))


def from_parameters(path: str) -> Credentials:
    """Read all parameters of AWS's Parameter Store under a path, or the one of that name."""
    reference = f"ssm:{path}"
    path = path.rstrip("/")
    if not path.startswith("/"):
        raise CredentialsError("ssm: needs the path of parameters, as in ssm:/team/database.")
    found = aws.ask("ssm", reference, lambda client: _parameters(client, path))
    if [parameter["Name"].strip("/") for parameter in found] == [path.strip("/")]:
        return from_text(found[0]["Value"], reference, str(found[0]["Version"]))
    pairs, versions = [], []
    for parameter in found:
        key = _key(parameter["Name"].rpartition("/")[2])
        pairs.append((key, parameter["Value"]))
        if key in KEYS:
            versions.append(f"{key}:{parameter['Version']}")
        elif parameter["Type"] == "SecureString":
            _protect([("secret", parameter["Value"])])
    return _credentials(pairs, reference, " ".join(sorted(versions)))


def _parameters(client: Any, path: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=True, WithDecryption=True
    )
    found = [parameter for page in pages for parameter in page["Parameters"]]
    return found or [client.get_parameter(Name=path, WithDecryption=True)["Parameter"]]


def from_text(content: str, reference: str, version: str | None) -> Credentials:
    """Read a JSON object (username or user, password, host, port, …) or `user/password@dsn`.

    Keys match without regard to case, `-` like `_`. A plain text's user ends at the first `/`, its
    dsn begins after the last `@`; a password with an `@` that no dsn follows needs double quotes.
    """
    try:
        secret = json.loads(content)
    except (ValueError, RecursionError):
        # Nothing is raised from here: the exception in hand holds the whole secret.
        secret = None
    if isinstance(secret, dict):
        return _credentials(list(secret.items()), reference, version)
    content = content.strip()
    _protect([("secret", content)])
    plain = PLAIN.fullmatch(content)
    if plain is None:
        said = f"The secret {reference} is not a JSON object, nor of the form user/password@dsn."
        raise CredentialsError(said, 'JSON looks like {"username": "…", "password": "…"}.')
    password = plain["quoted"] or plain["bare"]
    pairs = [("username", plain["username"]), ("password", password), ("dsn", plain["dsn"])]
    return _credentials(pairs, reference, version)


def _credentials(pairs: Pairs, reference: str, version: str | None = None) -> Credentials:
    _protect(pairs)
    for dsn in (str(value).strip() for name, value in pairs if _key(name) == "dsn"):
        if "@" in dsn and not dsn.startswith("("):
            # As Oracle's tools take it; but what says where the database is may be shown.
            plain = PLAIN.fullmatch(dsn)
            _protect([("secret", plain["quoted"] or plain["bare"] if plain else dsn)])
            said = f"The secret {reference} has a login under the key dsn."
            raise CredentialsError(said, "Only an address belongs there: host:1521/service.")
    found: dict[str, Any] = {}
    for key, value in ((_key(name), value) for name, value in pairs if value not in (None, "")):
        if key in KEYS and found.setdefault(key, value) != value:
            raise CredentialsError(f"The secret {reference} has two values for the key {key}.")
    wrong = [key for key in KEYS[:2] if key not in found]
    wrong += [key for key in found if key != "port" and not isinstance(found[key], str)]
    if wrong:
        keys = " nor under the key ".join(wrong).replace("username", "username or user")
        raise CredentialsError(f"The secret {reference} has no text under the key {keys}.")
    for key in ("password", "wallet_password"):
        if key in found and len(found[key]) < scrubbing.MINIMUM:
            short = f"The {key} of {reference} is shorter than {scrubbing.MINIMUM} characters"
            raise CredentialsError(f"{short} and cannot be redacted.", "Choose a longer one.")
    port = str(found.get("port", 1))
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise CredentialsError(f"The secret {reference} has no port number under the key port.")
    return Credentials(
        found["username"],
        SecretStr(found["password"]),
        Address(port=int(port) if "port" in found else None, **{k: found.get(k) for k in PLACES}),
        version,
        SecretStr(found["wallet_password"]) if "wallet_password" in found else None,
    )


def _protect(pairs: Pairs) -> None:
    # Also what is no business of ours, but must not show either.
    for key, value in pairs:
        if SECRET_KEY.search(key) and isinstance(value, str) and len(value) >= scrubbing.MINIMUM:
            redaction.protect(value)


def _key(name: str) -> str:
    key = name.lower().replace("-", "_")
    return "username" if key == "user" else key


PROVIDERS: dict[str, Callable[[str], Credentials]] = {
    "env": from_environment,
    "secretsmanager": from_secrets_manager,
    "ssm": from_parameters,
}
