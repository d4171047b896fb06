"""Questions to AWS, asked through boto3's own configuration; refusals are one sentence."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, TypeVar

from workbench.errors import CredentialsError, WorkbenchError

T = TypeVar("T")
SERVICES = {
    "secretsmanager": "AWS Secrets Manager", "ssm": "AWS Parameter Store", "s3": "Amazon S3",
    "dynamodb": "Amazon DynamoDB", "sts": "AWS STS",
}  # fmt: skip
LOG_IN = "Log in again (aws sso login), or renew the session's keys."
EXPIRED = "cannot be read: the AWS session has expired"
REFUSALS = [  # what is said, the hint, and AWS's codes for it; AccessDenied is what STS says
    (
        "does not exist", "Check its name, and the region and account that AWS is asked for.",
        ("ResourceNotFoundException", "ParameterNotFound", "NoSuchBucket", "NoSuchKey", "404"),
    ),
    (
        "may not be read by this AWS identity: access denied",
        "docs/credentials.md lists the permissions it needs.",
        ("AccessDeniedException", "AccessDenied", "403"),
    ),
    (
        "cannot be read now: AWS is throttling the requests",
        "Try again later; AWS_MAX_ATTEMPTS and AWS_RETRY_MODE make boto3 more patient.",
        ("ThrottlingException", "Throttling", "TooManyRequestsException", "429",
         "ProvisionedThroughputExceededException", "RequestLimitExceeded"),
    ),
    (EXPIRED, LOG_IN, ("ExpiredTokenException", "ExpiredToken")),
    ("cannot be decrypted with the key it is under", None, ("DecryptionFailure", "InvalidKeyId")),
    ("cannot be read: it may be scheduled for deletion", None, ("InvalidRequestException",)),
    (
        "cannot be read: AWS does not know the access key", None,
        ("UnrecognizedClientException", "InvalidClientTokenId"),
    ),
    ("cannot be read: AWS does not accept the secret key", None, ("InvalidSignatureException",)),
    ("cannot be read: it has no valid name", None, ("ValidationException",)),
]  # fmt: skip


def ask(
    service: str,
    reference: str,
    question: Callable[[Any], T],
    *,
    client: Callable[[], AbstractContextManager[Any]] | None = None,
    failure: type[WorkbenchError] = CredentialsError,
) -> T:
    """Return what `question` gets from the service's client; `reference` is what errors name.

    Raises `failure`, which never holds what AWS answered. Profile, role, region, endpoint,
    timeouts and retries are boto3's own configuration, unless `client` makes another one.
    """
    # Imported late: it takes a third of a second, which nobody else should wait for.
    import boto3
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    name = SERVICES[service]
    hint: str | None = None
    try:
        made = client or (lambda: closing(boto3.Session().client(service)))
        with _unlogged(), made() as asked:
            return question(asked)
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        known = [(words, hint) for words, hint, codes in REFUSALS if code in codes]
        words, hint = known[0] if known else (f"cannot be read: {code}", None)
        said = f"{name}: {reference} {words} ({error.operation_name})."
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        said = f"{name}: there are no AWS credentials to read {reference} with."
        hint = "Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in (aws sso login)."
    except (exceptions.SSOError, exceptions.TokenRetrievalError):
        said, hint = f"{name}: {reference} {EXPIRED}.", LOG_IN
    except exceptions.NoRegionError:
        said = f"No AWS region is set, so {name} cannot be asked for {reference}."
        hint = "Set AWS_DEFAULT_REGION, or the region of the AWS profile."
    except (exceptions.ConnectionError, exceptions.HTTPClientError):
        said = f"{name} cannot be reached to read {reference}."
        hint = "Check the network, and AWS_ENDPOINT_URL where it is set."
    except (exceptions.BotoCoreError, ResponseParserError, LookupError, ValueError) as error:
        said = f"{name}: {reference} cannot be read: {type(error).__name__}."
        hint = "Check the configuration of AWS: profile, role, region and endpoint."
    # Outside of every handler: what AWS answered does not hang on as the context.
    raise failure(said, hint)


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
