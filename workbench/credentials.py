"""Credentials by reference: `env:PREFIX` here; providers plug in by their scheme."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dotenv import dotenv_values
from pydantic import SecretStr

from workbench.errors import CredentialsError
from workbench.settings import project_folder


@dataclass(frozen=True)
class Credentials:
    """A user name and a password; the password shows itself only to the driver."""

    username: str
    password: SecretStr


Provider = Callable[[str], Credentials]


def resolve(reference: str) -> Credentials:
    """Resolve `scheme:rest`, e.g. `env:WAREHOUSE`; raises CredentialsError, never with content."""
    scheme, colon, rest = reference.partition(":")
    provider = PROVIDERS.get(scheme)
    if provider is None or not colon or not rest:
        # What was written here may be a password put in the wrong place: it is not repeated.
        known = ", ".join(f"{name}:…" for name in sorted(PROVIDERS))
        raise CredentialsError(
            "The credentials reference has no known scheme.", f"Known references: {known}."
        )
    return provider(rest)


def from_environment(prefix: str) -> Credentials:
    """Read PREFIX_USERNAME and PREFIX_PASSWORD from the environment, else from .env."""
    values = {**dotenv_values(project_folder() / ".env", interpolate=False), **os.environ}
    found = {}
    for key in (f"{prefix}_USERNAME", f"{prefix}_PASSWORD"):
        value = values.get(key)
        if not value:
            raise CredentialsError(
                f"The credentials env:{prefix} need {key}, which is not set.",
                "Set it in the environment, or in the file .env beside workbench.toml.",
            )
        found[key] = value
    return Credentials(found[f"{prefix}_USERNAME"], SecretStr(found[f"{prefix}_PASSWORD"]))


PROVIDERS: dict[str, Provider] = {"env": from_environment}
