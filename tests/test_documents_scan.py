"""Scanning DynamoDB over HTTP: moto's server, and before it a door that counts and throttles."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import secrets
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ROOT
from doors import DoorHandler, serving
from dynamodb import KEYS, REGION, fill
from moto.dynamodb.responses import DynamoHandler
from moto.sts.responses import TokenResponse

from workbench import documents, redaction
from workbench.doctor import examine
from workbench.documents.scanning import scan
from workbench.errors import ConnectionFailed, UsageError
from workbench.scrubbing import Secrets

ACCOUNT, OTHER = "123456789012", "999988887777"
ROLE = f"arn:aws:iam::{OTHER}:role/documents-reader"
WHEN = {"S": "2026-01-09T10:00:00Z"}
THROTTLED = "ProvisionedThroughputExceededException"


@dataclass
class Door:
    """What stands between boto3 and moto: counts what is asked, and answers for moto as told."""

    url: str = ""
    moto: str = ""
    seen: Counter[str] = field(default_factory=Counter)
    scans: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    throttle: Iterator[str] = field(default_factory=lambda: iter(()))
    expires: timedelta | None = None


@pytest.fixture(scope="module")
def shared(moto: str) -> Iterator[Door]:
    door = Door(moto=moto)

    class Handler(DoorHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            action = self.headers.get("X-Amz-Target", ".AssumeRole").split(".")[-1]
            door.seen[action] += 1
            if action == "Scan":
                door.scans.append(json.loads(body))
                door.tokens.add(self.headers.get("X-Amz-Security-Token", ""))
            if code := next(door.throttle, None):
                self.answer(400, json.dumps({"__type": code}).encode())
                return
            inner = http.client.HTTPConnection(moto.removeprefix("http://"), timeout=60)
            inner.request("POST", self.path, body, dict(self.headers))
            answer = inner.getresponse()
            content = answer.read()
            if action == "AssumeRole" and door.expires:
                until = f"{datetime.now(UTC) + door.expires:%Y-%m-%dT%H:%M:%SZ}".encode()
                content = re.sub(rb"(?<=<Expiration>)[^<]+", until, content)
            self.answer(answer.status, content)
            inner.close()

    with serving(Handler) as door.url:
        yield door


@pytest.fixture
def door(shared: Door, project: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Lead boto3 to the door by its own environment, with no secret known yet."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {
        "AWS_ENDPOINT_URL": shared.url, "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(redaction, "known", Secrets())
    monkeypatch.setattr(redaction, "_handed", set())
    shared.seen, shared.throttle, shared.expires = Counter(), iter(()), None
    shared.scans, shared.tokens = [], set()
    return shared


def source(project: Path, **keys: str) -> str:
    """Write the source "dynamo" and give its name."""
    lines = [f'{name} = "{value}"' for name, value in {"kind": "dynamodb", **keys}.items()]
    (project / "workbench.toml").write_text("\n".join(["[sources.dynamo]", *lines]))
    return "dynamo"


def document(number: int, **more: Any) -> dict[str, Any]:
    return {"document_id": {"S": f"D-{number:03d}"}, "case_number": {"S": f"C-{number}"},
            "status": {"S": "sent"}, "requested_at": WHEN, **more}  # fmt: skip


LARGE = "é" * 190_000  # 380,000 bytes; an item has 409,600 at most
FOUND: dict[str, list[dict[str, Any]]] = {
    # In an order that is not that of the keys; three of them make a page of 1 MB.
    "documents": [
        *(document(n, details={"M": {"text": {"S": LARGE}}}) for n in (9, 3, 7, 1, 8, 2)),
        *(document(n, **({} if n % 5 else {"amount": {"S": "bad"}})) for n in range(30, 10, -1)),
    ],
    "metadata": [{"document_id": {"S": "D-001"}, "file_name": {"S": "a.pdf"}, "stored_at": WHEN,
                  "odd": {"N": "1"}}],
    "templates": [{"template_id": {"S": "T"}, "version": {"N": str(n)}, "title": {"S": "t"}}
                  for n in (10, 9, 100)],
    "audit": [{"document_id": {"S": f"D-{n % 3}"}, "sequence": {"N": str(n)},
               "event": {"S": "Sent"}, "occurred_at": WHEN} for n in range(8)],
}  # fmt: skip


@pytest.fixture(scope="module")
def prefix(moto: str) -> str:
    return fill(moto, FOUND)


# What is read


def test_every_item_of_every_page_comes_whatever_the_segments(
    door: Door, project: Path, prefix: str
) -> None:
    name = source(project, prefix=prefix)
    once = scan(name, segments=1)
    pages = {row["table"]: row["pages"] for row in once.counts.iter_rows(named=True)}
    assert pages["documents"] >= 3
    assert door.seen["Scan"] == sum(pages.values())
    assert not any("Segment" in request for request in door.scans)
    door.scans.clear()
    many = scan(name, segments=4)
    asked = Counter((request["TableName"], request["Segment"], request["TotalSegments"])
                    for request in door.scans)  # fmt: skip
    assert set(asked) == {(prefix + t, part, 4) for t in KEYS for part in range(4)}
    first, second = documents.shape(once), documents.shape(many)
    assert first.frames.keys() == second.frames.keys()
    for target, frame in first.frames.items():
        assert frame.equals(second.frames[target])
    assert first.rejected.equals(second.rejected)
    assert first.unknown.equals(second.unknown)
    assert first.scanned == second.scanned == {
        "cases": 26, "metadata": 1, "templates": 3, "audit": 8
    }  # fmt: skip
    good = sorted(item["document_id"]["S"] for item in FOUND["documents"] if "amount" not in item)
    cases = first.frames["cases"]
    assert cases["document_id"].to_list() == good
    assert [json.loads(text)["text"] for text in cases["details"].drop_nulls()] == [LARGE] * 6
    assert first.rejected["item_key"].to_list() == ["D-015", "D-020", "D-025", "D-030"]
    # By number, not by text.
    assert first.frames["templates"]["version"].to_list() == [9, 10, 100]


def test_the_scan_counts_what_dynamodb_says(door: Door, project: Path, prefix: str) -> None:
    found = scan(source(project, prefix=prefix), segments=2, consistent=True)
    assert found.counts["items"].to_list() == [26, 1, 3, 8]
    assert found.counts["pages"].sum() == door.seen["Scan"]
    assert found.counts["capacity"].sum() > 0
    assert all(request["ConsistentRead"] for request in door.scans)
    assert all(request["ReturnConsumedCapacity"] == "TOTAL" for request in door.scans)


def test_a_trial_reads_no_more_items_than_asked_for(door: Door, project: Path, prefix: str) -> None:
    name = source(project, prefix=prefix)
    found = scan(name, segments=4, max_items=5)
    assert found.trial
    assert found.counts["items"].to_list() == [5, 1, 3, 5]
    read = [request["Limit"] for request in door.scans if request["TableName"].endswith("audit")]
    assert read == [5]
    again = scan(name, segments=1, max_items=5)
    assert documents.shape(found).frames["cases"].equals(documents.shape(again).frames["cases"])
    assert scan(name, max_items=1000).counts["items"].to_list() == [26, 1, 3, 8]


def test_numbers_that_make_no_scan_are_refused(door: Door, project: Path) -> None:
    for wrong in ({"segments": 0}, {"segments": 65}, {"max_items": 0}):
        with pytest.raises(UsageError, match="segments are 1 to 64"):
            scan(source(project), **wrong)
    url = "postgresql+psycopg://localhost/x"
    (project / "workbench.toml").write_text(f'[sources.base]\nurl = "{url}"')
    with pytest.raises(UsageError, match="'base' is a database"):
        scan("base")
    assert not door.seen


# What goes wrong


def test_throttled_requests_are_repeated(door: Door, project: Path, prefix: str) -> None:
    # One of the last: all that follow are slower, too.
    door.throttle = iter(["", "", "", THROTTLED])
    found = scan(source(project, prefix=prefix), segments=1, max_items=3)
    assert found.counts["items"].to_list() == [3, 1, 3, 3]
    assert door.seen["Scan"] == found.counts["pages"].sum() + 1


def told(name: str, **options: Any) -> str:
    with pytest.raises(ConnectionFailed) as caught:
        scan(name, **options)
    assert caught.value.__context__ is None
    assert len(caught.value.message.splitlines()) == 1
    return str(caught.value)


def test_what_stays_throttled_is_told_with_its_table(
    door: Door, project: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    door.throttle = itertools.repeat(THROTTLED)
    said = told(source(project, prefix=prefix), segments=1)
    assert f"Amazon DynamoDB: table {prefix}documents cannot be read now: AWS is throttl" in said
    assert door.seen["Scan"] == 2


def test_a_missing_table_is_named(door: Door, project: Path) -> None:
    said = told(source(project, prefix="no-"), segments=1)
    assert said.startswith("Amazon DynamoDB: table no-documents does not exist (Scan).")


def test_who_may_not_ask_and_who_cannot_are_told(
    door: Door, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = source(project)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "Amazon DynamoDB cannot be reached to read table documents." in told(name, segments=1)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no AWS credentials to read table documents with." in told(name, segments=1)
    source(project, role=ROLE)
    assert "there are no AWS credentials to read source dynamo with." in told(name)
    source(project)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "No AWS region is set" in told(source(project))


# Another account


@pytest.fixture(scope="module")
def elsewhere(moto: str) -> str:
    """Tables in the role's account, which ours cannot see; their prefix."""
    sts = boto3.Session("testing", "testing", region_name=REGION).client("sts", endpoint_url=moto)
    keys = sts.assume_role(RoleArn=ROLE, RoleSessionName="fill")["Credentials"]
    sts.close()
    return fill(
        moto, {"documents": [document(1)]}, access=keys["AccessKeyId"],
        secret=keys["SecretAccessKey"], token=keys["SessionToken"],
    )  # fmt: skip


def test_another_accounts_tables_are_read_by_its_role_and_keys_stay_secret(
    door: Door, project: Path, elsewhere: str
) -> None:
    assert "does not exist" in told(source(project, prefix=elsewhere))
    door.tokens.clear()
    found = scan(source(project, prefix=elsewhere, role=ROLE, region=REGION))
    assert found.counts["items"].to_list() == [1, 0, 0, 0]
    assert door.seen["AssumeRole"] == 1
    [token] = door.tokens
    assert token
    assert token not in redaction.known.scrub(f"the token is {token}.")


def test_keys_are_renewed_before_they_expire(door: Door, project: Path, elsewhere: str) -> None:
    door.expires = timedelta(seconds=30)
    found = scan(source(project, prefix=elsewhere, role=ROLE), segments=1)
    assert found.counts["items"].sum() == 1
    assert door.seen["AssumeRole"] >= 4
    assert len(door.tokens) >= 4
    for token in door.tokens:
        assert token not in redaction.known.scrub(f"the token is {token}.")


# Least privilege: what docs/credentials.md tells administrators is what this test allows

DOCS = (ROOT / "docs" / "credentials.md").read_text(encoding="utf-8")


@pytest.fixture
def enforced(door: Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Become a user who may do what the policy says, checked by moto from then on."""

    def table(self: Any) -> str:
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.body['TableName']}"

    def check_from(count: str) -> None:
        request = urllib.request.Request(  # noqa: S310
            f"{door.moto}/moto-api/reset-auth", count.encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()  # noqa: S310

    def become(policy: str) -> None:
        check_from("Infinity")
        session = boto3.Session("testing", "testing", region_name=REGION)
        iam, name = session.client("iam", endpoint_url=door.moto), f"d-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="scan", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        iam.close()
        monkeypatch.setattr(DynamoHandler, "_determine_resource", table, raising=False)
        monkeypatch.setattr(TokenResponse, "_determine_resource",
                            lambda self: self._get_param("RoleArn"), raising=False)  # fmt: skip
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        check_from("0")

    yield become
    check_from("Infinity")


def policy(action: str) -> dict[str, Any]:
    """The documentation's only policy with this action."""
    texts = re.findall(r"^```json\n(.*?)^```", DOCS, re.M | re.S)
    [text] = [text for text in texts if f'"{action}"' in text]
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_documented_policy_scans_the_tables_of_its_prefix_and_no_others(
    door: Door, project: Path, prefix: str, enforced: Callable[[str], None], moto: str
) -> None:
    other = fill(moto, {})
    text = json.dumps(policy("dynamodb:Scan"))
    documented = "arn:aws:dynamodb:eu-central-1:111122223333:table/acme-"
    assert text.count(documented) == len(KEYS)
    enforced(text.replace(documented, f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{prefix}"))
    assert scan(source(project, prefix=prefix)).counts["items"].sum() == 38
    said = told(source(project, prefix=other), segments=1)
    assert f"table {other}documents may not be read by this AWS identity: access denied" in said
    assert "role" in told(source(project, prefix=prefix, role=ROLE))


def test_the_documented_policy_assumes_one_role(
    door: Door, project: Path, elsewhere: str, enforced: Callable[[str], None]
) -> None:
    text = json.dumps(policy("sts:AssumeRole"))
    example = "arn:aws:iam::444455556666:role/documents-reader"
    assert example in text
    enforced(text.replace(example, ROLE.replace("reader", "writer")))
    said = told(source(project, prefix=elsewhere, role=ROLE))
    assert f"AWS STS: role {ROLE} may not be read by this AWS identity: access denied" in said


# The doctor


def test_the_doctor_looks_at_every_step_of_a_dynamodb_source(
    door: Door, project: Path, prefix: str, elsewhere: str
) -> None:
    checks = examine(source(project, prefix=prefix))
    assert [(check.name, check.ok) for check in checks] == [
        ("configuration", True), ("credentials", True), ("role", None), ("tables", True)
    ]  # fmt: skip
    assert "4 tables" in checks[-1].found
    checks = examine(source(project, prefix=elsewhere, role=ROLE))
    assert [check.ok for check in checks] == [True] * 4
    [_, _, _, tables] = examine(source(project, prefix="no-"))
    assert (tables.ok, tables.found) == (
        False, "Amazon DynamoDB: table no-documents does not exist (DescribeTable)."
    )  # fmt: skip


def test_the_doctor_stops_where_nobody_may_ask(
    door: Door, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    checks = examine(source(project))
    assert [check.ok for check in checks] == [True, False, None, None]
    assert "no AWS credentials" in checks[1].found
    assert checks[1].fix is not None
