"""Credentials by reference: `env:PREFIX`, `secretsmanager:ID`; providers plug in by scheme."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr

from workbench import redaction
from workbench.errors import CredentialsError
from workbench.settings import project_folder

SECRET_KEY = re.compile(r"passw|pwd|token|secret|credential|private|api_?key|(^|[_-])key$", re.I)
AWS_REFUSALS = {
    "ResourceNotFoundException": "does not exist",
    "AccessDeniedException": "may not be read by this AWS identity: access denied",
    "403": "may not be read by this AWS identity: access denied",
    "DecryptionFailure": "cannot be decrypted with the key it is under",
    "InvalidRequestException": "cannot be read in its state; it may be scheduled for deletion",
    "UnrecognizedClientException": "cannot be read: AWS does not know the access key",
    "InvalidSignatureException": "cannot be read: AWS does not accept the secret key",
    "ExpiredTokenException": "cannot be read: the AWS session has expired",
    "ValidationException": "cannot be read: it has no valid name",
}


@dataclass(frozen=True)
class Credentials:
    """A user name and a password; the password shows itself only to the driver."""

    username: str
    password: SecretStr


Provider = Callable[[str], Credentials]


def resolve(reference: str) -> Credentials:
    """Resolve `scheme:rest`, e.g. `env:WAREHOUSE`; raises CredentialsError, never with content.

    What is resolved is redacted from then on in all that this process and its runner write.
    """
    scheme, colon, rest = reference.partition(":")
    provider = PROVIDERS.get(scheme)
    if provider is None or not colon or not rest:
        # What was written here may be a password put in the wrong place: it is not repeated.
        known = ", ".join(f"{name}:…" for name in sorted(PROVIDERS))
        raise CredentialsError(
            "The credentials reference has no known scheme.", f"Known references: {known}."
        )
    found = provider(rest)
    redaction.protect(found.password.get_secret_value())
    return found


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


def from_secrets_manager(name: str) -> Credentials:
    """Read a JSON secret of AWS Secrets Manager: its username (or user) and its password."""
    reference = f"secretsmanager:{name}"
    content = _secret_string(name, reference)
    try:
        secret = json.loads(content)
    except ValueError:
        # Raised below: the exception in hand holds the whole secret.
        secret = None
    if not isinstance(secret, dict):
        redaction.protect(content)
        raise CredentialsError(
            f"The secret {reference} is not a JSON object.",
            'It must look like {"username": "…", "password": "…"}.',
        )
    for key, value in secret.items():
        # Others of it are no business of ours, but must not show either.
        if SECRET_KEY.search(key) and isinstance(value, str) and len(value) >= redaction.MINIMUM:
            redaction.protect(value)
    found = []
    for keys in (("username", "user"), ("password",)):
        values = [secret[key] for key in keys if isinstance(secret.get(key), str) and secret[key]]
        if not values:
            raise CredentialsError(
                f"The secret {reference} has no text under the key {' or '.join(keys)}."
            )
        found.append(values[0])
    return Credentials(found[0], SecretStr(found[1]))


def _secret_string(name: str, reference: str) -> str:
    # Imported late: it takes a third of a second, which nobody else should wait for.
    import boto3
    from botocore import exceptions

    hint: str | None = None
    try:
        with _unlogged():
            answer = boto3.Session().client("secretsmanager").get_secret_value(SecretId=name)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        failure = f"The secret {reference} {AWS_REFUSALS.get(code, f'cannot be read: {code}')}."
        if code == "ResourceNotFoundException":
            hint = "Check its name, and the region and account that AWS is asked for."
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        failure = f"There are no AWS credentials to read {reference} with."
        hint = "Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in (aws sso login)."
    except exceptions.NoRegionError:
        failure = f"No AWS region is set to read {reference} from."
        hint = "Set AWS_DEFAULT_REGION, or the region of the AWS profile."
    except (exceptions.ConnectionError, exceptions.HTTPClientError):
        failure = f"AWS Secrets Manager cannot be reached to read {reference}."
        hint = "Check the network, and AWS_ENDPOINT_URL where it is set."
    except (exceptions.BotoCoreError, ValueError) as error:
        failure = f"The secret {reference} cannot be read: {type(error).__name__}."
        hint = "Check the configuration of AWS: profile, role and region."
    else:
        content: Any = answer.get("SecretString")
        if isinstance(content, str):
            return content
        failure = f"The secret {reference} is binary; a JSON text is expected."
    # Outside of every handler: what AWS answered does not hang on as the context.
    raise CredentialsError(failure, hint)


@contextmanager
def _unlogged() -> Iterator[None]:
    # At debug level botocore logs the body of every answer, before the secret in it is known.
    thread = threading.get_ident()
    logger = logging.getLogger("botocore.parsers")

    def elsewhere(_record: logging.LogRecord) -> bool:
        return threading.get_ident() != thread

    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)


PROVIDERS: dict[str, Provider] = {
    "env": from_environment,
    "secretsmanager": from_secrets_manager,
}
