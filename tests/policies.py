"""Users of moto's AWS who may do what a policy says: moto checks it from then on."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.secretsmanager.models import secretsmanager_backends
from moto.secretsmanager.responses import SecretsManagerResponse
from moto.ssm.responses import SimpleSystemManagerResponse

ACCOUNT = "123456789012"


def administrator(moto: str, service: str, region: str) -> Any:
    """A client that may do everything as long as nothing is checked."""
    session = boto3.Session("testing", "testing", region_name=region)
    return session.client(service, endpoint_url=moto)


@contextmanager
def allowed(policy: dict[str, Any] | None, moto: str, region: str) -> Iterator[dict[str, str]]:
    """The environment of a new user with this policy alone, while moto checks what is asked."""
    iam, name = administrator(moto, "iam", region), f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=name)
    if policy:
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]

    def resource(self: Any) -> str:
        # moto compares every policy's Resource with "*" unless the service says what is asked for.
        asked = self._get_param("SecretId") or self._get_param("Path") or self._get_param("Name")
        if self.service_name == "ssm":
            return f"arn:aws:ssm:{region}:{ACCOUNT}:parameter{asked}"
        return str(secretsmanager_backends[ACCOUNT][region].secrets[asked].arn)

    def check_from(count: str) -> None:
        request = urllib.request.Request(  # noqa: S310
            f"{moto}/moto-api/reset-auth", count.encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    with pytest.MonkeyPatch.context() as patch:
        for service in (SecretsManagerResponse, SimpleSystemManagerResponse):
            patch.setattr(service, "_determine_resource", resource, raising=False)
        check_from("0")
        try:
            yield {
                "AWS_ENDPOINT_URL": moto, "AWS_DEFAULT_REGION": region,
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
                "AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true",
            }  # fmt: skip
        finally:
            check_from("Infinity")
