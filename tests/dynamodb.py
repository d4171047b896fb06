"""The four tables of the documents in moto's DynamoDB, with items of a test's own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import boto3

REGION = "eu-central-1"
KEYS = {
    "documents": {"document_id": "S"}, "metadata": {"document_id": "S"},
    "templates": {"template_id": "S", "version": "N"},
    "audit": {"document_id": "S", "sequence": "N"},
}  # fmt: skip


def fill(moto: str, found: Mapping[str, Sequence[dict[str, Any]]], **keys: str) -> str:
    """Make the four tables in moto, and give their prefix."""
    prefix = f"p{secrets.token_hex(4)}-"
    client = boto3.Session(
        keys.get("access", "testing"), keys.get("secret", "testing"), keys.get("token"), REGION
    ).client("dynamodb", endpoint_url=moto)
    for name, key in KEYS.items():
        client.create_table(
            TableName=prefix + name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": part, "KeyType": how}
                       for part, how in zip(key, ("HASH", "RANGE"), strict=False)],
            AttributeDefinitions=[{"AttributeName": part, "AttributeType": kind}
                                  for part, kind in key.items()],
        )  # fmt: skip
        for item in found.get(name, ()):
            client.put_item(TableName=prefix + name, Item=item)
    client.close()
    return prefix
