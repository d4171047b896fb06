"""Credentials by reference, over HTTP: moto's AWS behind a door that counts and throttles."""

from __future__ import annotations

import fnmatch
import http.client
import itertools
import json
import logging
import os
import re
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ROOT
from doors import DoorHandler, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from policies import allowed

from workbench import credentials, redaction
from workbench.aws import ask
from workbench.credentials import Address, Credentials, from_text, resolve
from workbench.errors import CredentialsError
from workbench.scrubbing import MARK, Secrets

READER = {"username": "u", "password": "blue-tiger"}
REGION, ACCOUNT, JSON = "eu-central-1", "123456789012", "application/x-amz-json-1.1"
DOCS = (ROOT / "docs" / "credentials.md").read_text(encoding="utf-8")
POLICIES = [
    text for text in re.findall(r"^```json\n(.*?)^```", DOCS, re.M | re.S) if "kms:" in text
]


@dataclass
class Door:
    """What stands between boto3 and moto: the test's view of the wire."""

    url: str
    seen: Counter[str] = field(default_factory=Counter)
    throttle: Iterator[str] = field(default_factory=lambda: iter(()))
    gate: tuple[threading.Barrier, float] | None = None  # seconds that a call waits for others


class Aws:
    """One of moto's servers with a door before it, and what a test puts there."""

    def __init__(self, door: Door, moto: str) -> None:
        self.door, self.moto = door, moto
        session = boto3.Session("testing", "testing", region_name=REGION)
        # Once: making one takes longer than all that a test does with it.
        self.client = cache(lambda service: session.client(service, endpoint_url=moto))

    def secret(self, content: str | bytes | dict[str, Any], name: str = "") -> str:
        """Put a secret, return its ARN."""
        if isinstance(content, dict):
            content = json.dumps(content)
        kind = "SecretBinary" if isinstance(content, bytes) else "SecretString"
        name = name or f"credentials/{secrets.token_hex(4)}"
        made = self.client("secretsmanager").create_secret(Name=name, **{kind: content})
        return str(made["ARN"])

    def parameters(self, values: dict[str, str]) -> str:
        """Put parameters under a new path, passwords as SecureString; return the path."""
        path = f"/credentials/{secrets.token_hex(4)}/oracle"
        for key, value in values.items():
            kind = "SecureString" if re.search("pass|secure", key) else "String"
            self.client("ssm").put_parameter(Name=f"{path}/{key}", Value=value, Type=kind)
        return path


@pytest.fixture(scope="module")
def shared() -> Iterator[Aws]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    port = moto.get_host_and_port()[1]
    door = Door("")

    class Handler(DoorHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            door.seen[self.headers.get("X-Amz-Target", "").split(".")[-1]] += 1
            if door.gate:
                with suppress(threading.BrokenBarrierError):
                    door.gate[0].wait(door.gate[1])
            if code := next(door.throttle, None):
                self.answer(400, json.dumps({"__type": code}).encode(), Content_Type=JSON)
                return
            inner = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            # The headers as they came: the signature covers the host that the client asked.
            inner.request("POST", self.path, body, dict(self.headers))
            answer = inner.getresponse()
            self.answer(answer.status, answer.read(), Content_Type=JSON)
            inner.close()

    with serving(Handler) as door.url:
        yield Aws(door, f"http://127.0.0.1:{port}")
    moto.stop()


@pytest.fixture(autouse=True)
def _nothing_known(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "known", Secrets())
    monkeypatch.setattr(redaction, "_handed", set())
    monkeypatch.setattr(credentials, "_read", {})


@pytest.fixture
def aws(shared: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Lead boto3 to the door, as an administrator would: by its own environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environment = {
        "AWS_ENDPOINT_URL": shared.door.url, "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_MAX_ATTEMPTS": "2", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shared.door.seen, shared.door.throttle, shared.door.gate = Counter(), iter(()), None
    return shared


def refused(
    reference: str,
    caplog: pytest.LogCaptureFixture,
    *hidden: str,
    ask: Callable[[str], object] = resolve,
) -> str:
    """What the error says: one sentence that names the reference, and holds nothing else."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CredentialsError) as caught:
        ask(reference)
    error = caught.value
    assert error.__context__ is None
    assert error.__cause__ is None
    assert reference in error.message
    assert len(error.message.splitlines()) == 1
    assert error.message.endswith(".")
    for value in hidden:
        assert value not in f"{error} {error!r} {vars(error)} {caplog.text}"
    assert reference not in credentials._read
    return str(error)


# Shapes


def test_a_json_secret_says_who_and_where(aws: Aws) -> None:
    password, wallet, token = (secrets.token_urlsafe(9) for _ in range(3))
    arn = aws.secret({
        "UserName": "reader", "PASSWORD": password, "Host": "db.example", "port": "1521",
        "Service-Name": "MKTP", "dbname": "wh", "schema": "S", "table": "COLORS", "dsn": "tns",
        "wallet_password": wallet, "api-token": token, "engine": None,
    })  # fmt: skip
    for reference in (f"secretsmanager:{arn}", f"secretsmanager:{arn.split(':')[-1][:-7]}"):
        found = resolve(reference)
        assert (found.username, found.password.get_secret_value()) == ("reader", password)
        assert found.wallet_password
        assert found.wallet_password.get_secret_value() == wallet
        assert found.address == Address("db.example", 1521, "MKTP", "wh", "tns", "S", "COLORS")
        assert password not in f"{found} {found!r}"
        assert wallet not in f"{found} {found!r}"
    assert redaction.known.scrub(f"{password} {wallet} {token}") == f"{MARK} {MARK} {MARK}"


def test_a_secret_of_rds_needs_nothing_else(aws: Aws) -> None:
    found = resolve(
        "secretsmanager:"
        + aws.secret({"username": "u", "password": "rds-secret", "port": 5432, "dbname": "wh"})
    )
    assert found.address == Address(port=5432, dbname="wh")
    assert found.wallet_password is None


@pytest.mark.parametrize(
    ("text", "user", "password", "dsn"),
    [
        ("scott/blue-tiger@//db:1521/MKTP", "scott", "blue-tiger", "//db:1521/MKTP"),
        ("scott/blue@tiger/x@MKTP\n", "scott", "blue@tiger/x", "MKTP"),
        ('scott/"blue@tiger/x"', "scott", "blue@tiger/x", None),
        ('"Scott T/x"/"blue tiger"@MKTP', '"Scott T/x"', "blue tiger", "MKTP"),
        ("app[owner]/blue-tiger", "app[owner]", "blue-tiger", None),
        ("scott/blue-tiger@(DESCRIPTION=\n (ADDRESS=…))", "scott", "blue-tiger",
         "(DESCRIPTION=\n (ADDRESS=…))"),
    ],
)  # fmt: skip
def test_a_line_of_oracle_is_split(
    aws: Aws, text: str, user: str, password: str, dsn: str | None
) -> None:
    found = resolve(f"secretsmanager:{aws.secret(text)}")
    assert (found.username, found.password.get_secret_value()) == (user, password)
    assert found.address == Address(dsn=dsn)
    assert redaction.known.scrub(f"{text.strip()} {password}") == f"{MARK} {MARK}"


bare_users = st.text("abcXYZ019_$#.[]-äé", min_size=1, max_size=12)
quoted_users = st.text("abc XYZ/@:'é", min_size=1, max_size=12).map(lambda name: f'"{name}"')
bare = st.text("abcXYZ019/@:'`$%&{}\\ ü€", min_size=6, max_size=20)
dsns = st.text("abc019:/()=.\n -_", min_size=1, max_size=30).filter(lambda dsn: dsn == dsn.strip())


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bare_users | quoted_users, bare, st.booleans(), st.none() | dsns)
def test_the_parts_of_any_line_come_back(
    user: str, password: str, quoted: bool, dsn: str | None
) -> None:
    redaction.known = Secrets()  # the fixture puts the real one back
    if dsn is None and not quoted and ("@" in password or password != password.strip()):
        quoted = True  # as documented: nothing else tells where such a password ends
    text = f'{user}/"{password}"' if quoted else f"{user}/{password}"
    found = from_text(text + (f"@{dsn}" if dsn else ""), "secretsmanager:x", "1")
    assert (found.username, found.password.get_secret_value()) == (user, password)
    assert found.address == Address(dsn=dsn)


def test_parameters_under_a_path_are_read_page_by_page(aws: Aws) -> None:
    others = {f"a{number}": f"other {number}" for number in range(12)}  # ten make a page
    path = aws.parameters({
        "host": "db.example", "port": "1521", "service-name": "MKTP", "Username": "reader",
        "oracle/password": "blue-tiger", "schema": "S", "table": "COLORS", "dsn": "tns",
        "wallet-password": "blue-wallet", "secure-other": "somebody's own", **others,
    })  # fmt: skip
    found = resolve(f"ssm:{path}/")
    assert found == Credentials(
        "reader", found.password, Address("db.example", 1521, "MKTP", None, "tns", "S", "COLORS"),
        found.version, found.wallet_password,
    )  # fmt: skip
    assert found.password.get_secret_value() == "blue-tiger"
    assert found.wallet_password
    assert found.wallet_password.get_secret_value() == "blue-wallet"
    assert aws.door.seen["GetParametersByPath"] == 3
    shown = redaction.known.scrub("blue-tiger blue-wallet somebody's own reader db.example")
    assert shown == f"{MARK} {MARK} {MARK} reader db.example"


@pytest.mark.parametrize("kind", ["SecureString", "String"])
@pytest.mark.parametrize("content", ['{"user": "u", "password": "blue-tiger"}', "u/blue-tiger"])
def test_a_single_parameter_holds_it_all(aws: Aws, kind: str, content: str) -> None:
    name = f"/credentials/{secrets.token_hex(4)}/one"
    aws.client("ssm").put_parameter(Name=name, Value=content, Type=kind)
    found = resolve(f"ssm:{name}")
    assert (found.username, found.password.get_secret_value()) == ("u", "blue-tiger")


def test_the_environment_may_hold_a_wallet_password(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "DW_USERNAME=reader\nDW_PASSWORD=blue-tiger\nDW_WALLET_PASSWORD=wallets\n"
    )
    found = resolve("env:DW")
    assert found.wallet_password
    assert found.wallet_password.get_secret_value() == "wallets"
    assert (found.version, found.address) == (None, Address())
    monkeypatch.setenv("DW_PASSWORD", "green-tiger")  # never cached
    assert resolve("env:DW").password.get_secret_value() == "green-tiger"
    assert redaction.known.scrub("blue-tiger green-tiger wallets") == f"{MARK} {MARK} {MARK}"


# What does not fit

HIDDEN = "not-to-be-repeated"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f'{{"username": "u", "password": "{HIDDEN}"', "is not a JSON object"),
        (f'["{HIDDEN}"]', "is not a JSON object"),
        (f"postgresql://u:{HIDDEN}@db/x", "is not a JSON object"),
        (f"db.example:1521/{HIDDEN}", "is not a JSON object"),
        (f'u/"{HIDDEN}', "is not a JSON object"),
        ("[" * 50_000 + HIDDEN, "is not a JSON object"),
        ({"pass": HIDDEN}, "under the key username or user nor under the key password"),
        ({"username": HIDDEN}, "no text under the key password"),
        ({"username": "u", "password": ""}, "no text under the key password"),
        ({"username": "u", "password": {"x": HIDDEN}}, "no text under the key password"),
        ({"username": "u", "password": HIDDEN, "host": [HIDDEN]}, "no text under the key host"),
        ({"username": "u", "password": HIDDEN, "port": f"x{HIDDEN}"}, "under the key port"),
        ({"username": "u", "password": HIDDEN, "port": 70000}, "no port number"),
        ({"username": "u", "password": HIDDEN, "port": True}, "no port number"),
        ({"username": "u", "password": HIDDEN, "Password": f"{HIDDEN}2"}, "two values for the key"),
        ({"username": "u", "password": "shrt"}, "The password of .* is shorter than 6 characters"),
        ({"username": "u", "password": HIDDEN, "wallet-password": "shrt"}, "The wallet_password"),
        ("u/shrt@db", "shorter than 6 characters"),
        ({**READER, "dsn": f"scott/{HIDDEN}@host/XE"}, "has a login under the key dsn"),
        ({**READER, "DSN": f' scott/"{HIDDEN}"@host/XE'}, "has a login under the key dsn"),
        ({**READER, "dsn": f"oracle://scott:{HIDDEN}@host/XE"}, "has a login under the key dsn"),
    ],
)
def test_a_text_that_does_not_fit_is_one_sentence(
    content: str | dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps(content) if isinstance(content, dict) else content
    said = refused(
        "ssm:/x", caplog, HIDDEN, "shrt", ask=lambda reference: from_text(text, reference, "1")
    )
    assert re.search(says, said)
    if isinstance(content, dict) and content.get("password") == HIDDEN:
        assert redaction.known.scrub(HIDDEN) == MARK  # known, though it was never used
    elif isinstance(content, dict) and (dsn := content.get("dsn", content.get("DSN"))):
        assert HIDDEN not in redaction.known.scrub(dsn)


def test_a_password_in_a_dsn_is_known_though_it_is_refused() -> None:
    with pytest.raises(CredentialsError):
        from_text(json.dumps({**READER, "dsn": f"scott/{HIDDEN}@host/XE"}), "ssm:/x", "1")
    assert redaction.known.scrub(f"scott {HIDDEN} host") == f"scott {MARK} host"


@pytest.mark.parametrize(
    "dsn", ["dbhost/MKTP", "dbhost.example:1521/MKTP", "(DESCRIPTION=(SSL_SERVER_CERT_DN=a@b))"]
)
def test_a_dsn_that_is_an_address_is_kept(dsn: str) -> None:
    assert from_text(json.dumps({**READER, "dsn": dsn}), "ssm:/x", "1").address.dsn == dsn


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f'{{"username": "u", "password": "{HIDDEN}"', "is not a JSON object"),
        (HIDDEN.encode(), "is binary"),
        ({"username": "u", "password": HIDDEN, "port": f"x{HIDDEN}"}, "under the key port"),
    ],
)
def test_a_secret_that_does_not_fit_is_one_sentence(
    aws: Aws, content: str | bytes | dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert says in refused(f"secretsmanager:{aws.secret(content)}", caplog, HIDDEN)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"username": "u", "secure-other": HIDDEN}, "no text under the key password"),
        ({"username": "u", "password": HIDDEN, "old/password": f"{HIDDEN}2"}, "two values for"),
        ({"username": "u", "password": HIDDEN, "port": f"{HIDDEN}"}, "under the key port"),
        ({"username": "u", "password": "shrt"}, "shorter than 6 characters"),
    ],
)
def test_parameters_that_do_not_fit_are_one_sentence(
    aws: Aws, values: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert says in refused(f"ssm:{aws.parameters(values)}", caplog, HIDDEN, "shrt")
    assert redaction.known.scrub(HIDDEN) == (MARK if HIDDEN in values.values() else HIDDEN)


@pytest.mark.parametrize("path", ["/", "blue-tiger"])
def test_nobody_reads_all_parameters_of_an_account(path: str) -> None:
    with pytest.raises(CredentialsError, match="needs the path") as caught:
        resolve(f"ssm:{path}")
    assert "blue-tiger" not in str(caught.value)


def test_missing_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert "NO_USERNAME and NO_PASSWORD" in refused("env:NO", caplog)
    monkeypatch.setenv("NO_PASSWORD", HIDDEN)
    assert "need NO_USERNAME:" in refused("env:NO", caplog, HIDDEN)
    assert redaction.known.scrub(HIDDEN) == MARK
    monkeypatch.setenv("NO_USERNAME", "u")
    monkeypatch.setenv("NO_PASSWORD", "shrt")
    assert "shorter than 6" in refused("env:NO", caplog, "shrt")


# The log


@pytest.mark.parametrize("service", ["secretsmanager", "ssm", "single"])
def test_no_log_shows_what_aws_answered(
    aws: Aws, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = json.dumps({"username": "reader-of-logs", "password": HIDDEN})
    if service == "secretsmanager":
        reference = f"secretsmanager:{aws.secret(one)}"
    elif service == "ssm":
        reference = f"ssm:{aws.parameters(json.loads(one))}"
    else:
        reference = f"ssm:{aws.parameters({'secure-one': one})}/secure-one"
    caplog.set_level(logging.DEBUG)
    resolve(reference)
    assert "botocore" in caplog.text
    assert "urllib3" in caplog.text
    for part in (HIDDEN, "reader-of-logs", "SecretString", '"Value"'):
        assert part not in caplog.text
    # Only there and then: others may look at their own answers.
    boto3.Session().client("ssm").get_parameters(Names=["/credentials/none"])
    assert "InvalidParameters" in caplog.text


def test_the_log_of_another_thread_goes_on(aws: Aws, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def question(_client: object) -> None:
        log = logging.getLogger("botocore.parsers")
        log.debug("of this thread")
        other = threading.Thread(target=log.debug, args=["of another thread"])
        other.start()
        other.join()

    ask("ssm", "ssm:/x", question)
    assert "of another thread" in caplog.text
    assert "of this thread" not in caplog.text


# The cache, and rotation


def test_a_secret_is_asked_for_once_in_five_minutes(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([1000.0, 1000 + credentials.TTL - 1, 1000.0 + credentials.TTL])
    monkeypatch.setattr(credentials, "monotonic", lambda: next(clock))
    arn = aws.secret(READER)
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString="u/green-tiger")
    reference = f"secretsmanager:{arn}"
    assert resolve(reference) is resolve(reference)
    assert aws.door.seen["GetSecretValue"] == 1
    resolve(reference)
    assert aws.door.seen["GetSecretValue"] == 2


def test_a_rotated_secret_is_told_by_its_version(aws: Aws) -> None:
    arn = aws.secret(READER)
    reference = f"secretsmanager:{arn}"
    first = resolve(reference)
    aws.client("secretsmanager").put_secret_value(SecretId=arn, SecretString="u/green-tiger")
    assert resolve(reference) is first
    second = resolve(reference, fresh=True)
    assert second.password.get_secret_value() == "green-tiger"
    assert None not in {first.version, second.version}
    assert first.version != second.version
    assert resolve(reference) is second
    assert resolve(reference, fresh=True) == second
    assert redaction.known.scrub("blue-tiger green-tiger") == f"{MARK} {MARK}"


def test_a_rotated_parameter_is_told_by_its_version(aws: Aws) -> None:
    path = aws.parameters({**READER, "note": "a"})
    first, ssm = resolve(f"ssm:{path}"), aws.client("ssm")
    ssm.put_parameter(Name=f"{path}/note", Value="b", Overwrite=True)
    assert resolve(f"ssm:{path}", fresh=True).version == first.version  # not ours
    ssm.put_parameter(Name=f"{path}/password", Value="green-tiger", Overwrite=True)
    assert resolve(f"ssm:{path}") == first
    second = resolve(f"ssm:{path}", fresh=True)
    assert second.version != first.version
    assert second.password.get_secret_value() == "green-tiger"
    name = f"{path}/note"
    ssm.put_parameter(Name=name, Value="u/blue-tiger", Overwrite=True)
    first = resolve(f"ssm:{name}")
    ssm.put_parameter(Name=name, Value="u/green-tiger", Overwrite=True)
    assert resolve(f"ssm:{name}", fresh=True).version != first.version


def test_a_failure_is_not_kept(aws: Aws, caplog: pytest.LogCaptureFixture) -> None:
    name = f"credentials/{secrets.token_hex(4)}"
    assert "does not exist" in refused(f"secretsmanager:{name}", caplog)
    aws.secret({"username": "u", "password": "blue-tiger"}, name)
    first = resolve(f"secretsmanager:{name}")
    aws.door.throttle = itertools.repeat("ThrottlingException")
    with pytest.raises(CredentialsError):
        resolve(f"secretsmanager:{name}", fresh=True)
    assert resolve(f"secretsmanager:{name}") is first


def test_threads_that_ask_at_once_make_one_call(aws: Aws) -> None:
    references = [f"secretsmanager:{aws.secret('u/blue-tiger')}" for _ in range(2)]
    aws.door.gate = threading.Barrier(2), 0.4  # a second call would have time to arrive
    with ThreadPoolExecutor(4) as threads:
        one, two, three, four = threads.map(resolve, references[:1] * 4)
    assert one is two is three is four
    assert aws.door.seen["GetSecretValue"] == 1
    # Other references do not wait: both calls are there before either is answered.
    aws.door.gate = threading.Barrier(2, action=lambda: aws.door.seen.update(met=1)), 20
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda reference: resolve(reference, fresh=True), references))
    assert aws.door.seen["met"] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_does_not_wait_for_a_thread_it_does_not_have(aws: Aws) -> None:
    arn = aws.secret("u/blue-tiger")
    reference = f"secretsmanager:{arn}"
    resolve(reference)
    with credentials._locks[reference]:
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(0 if resolve(reference).username == "u" else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# What AWS refuses


@pytest.mark.parametrize(
    ("scheme", "code", "call", "service"),
    [
        ("secretsmanager", "ThrottlingException", "GetSecretValue", "AWS Secrets Manager"),
        ("ssm", "TooManyRequestsException", "GetParametersByPath", "AWS Parameter Store"),
    ],
)
def test_boto3_retries_where_aws_throttles(
    aws: Aws, scheme: str, code: str, call: str, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    rest = aws.parameters(READER) if scheme == "ssm" else aws.secret(READER)
    aws.door.throttle = iter([code])
    assert resolve(f"{scheme}:{rest}").username == "u"
    assert aws.door.seen[call] == 2
    credentials._read.clear()
    aws.door.throttle = itertools.repeat(code)
    said = refused(f"{scheme}:{rest}", caplog, "blue-tiger")
    assert said.startswith(service)
    assert "AWS is throttling the requests" in said
    assert "Try again later" in said
    assert aws.door.seen[call] == 4


@pytest.mark.parametrize(
    ("reference", "code", "says"),
    [
        ("secretsmanager:credentials/none", "ExpiredTokenException", "session has expired"),
        ("ssm:/credentials/none", "ExpiredTokenException", "Parameter Store: .* has expired"),
        ("ssm:/credentials/none", "InvalidKeyId", "cannot be decrypted"),
        ("secretsmanager:credentials/none", "DecryptionFailure", "cannot be decrypted"),
        ("ssm:/credentials/none", "UnrecognizedClientException", "does not know the access key"),
        ("secretsmanager:credentials/none", "NewException", "cannot be read: NewException"),
    ],
)
def test_a_refusal_of_aws_is_one_sentence(
    aws: Aws, reference: str, code: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    aws.door.throttle = itertools.repeat(code)
    assert re.search(says, refused(reference, caplog))


def test_where_aws_is_not_set_up_the_sentence_says_what_is_missing(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reference = "ssm:/credentials/none"
    assert "does not exist" in refused(reference, caplog)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        assert "cannot be reached" in refused(reference, caplog)
        assert "cannot be reached" in refused("secretsmanager:credentials/none", caplog)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "nonsense")
        assert "cannot be read: ValueError" in refused(reference, caplog)
    with monkeypatch.context() as patch:
        patch.delenv("AWS_DEFAULT_REGION")
        assert "No AWS region" in refused(reference, caplog)
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "no AWS credentials" in refused(reference, caplog)
        # A profile that is logged in through SSO, but not today.
        Path("config").write_text(
            "[profile sso]\nsso_start_url = https://sso.example\nsso_region = eu-central-1\n"
            "sso_account_id = 123456789012\nsso_role_name = reader\n"
        )
        patch.setenv("AWS_CONFIG_FILE", str(Path("config").absolute()))
        patch.setenv("AWS_PROFILE", "sso")
        patch.setenv("HOME", str(Path.cwd()))
        assert "the AWS session has expired" in refused(reference, caplog)


# Least privilege: what docs/credentials.md tells administrators is what these tests allow


@pytest.fixture
def enforced(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, Any] | None], None]]:
    """Become a user who may do what the policy says, checked by moto from then on."""
    with ExitStack() as stack:

        def become(policy: dict[str, Any] | None) -> None:
            stack.close()
            environment = stack.enter_context(allowed(policy, aws.moto, REGION))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.setenv(name, environment[name])

        yield become


def documented(example: str, real: str) -> dict[str, Any]:
    """The documentation's policy for this resource, with a real one in the example's place."""
    [text] = [policy for policy in POLICIES if example in policy]
    filled: dict[str, Any] = json.loads(text.replace(example, real))
    return filled


def test_the_documented_policy_reads_one_secret_and_no_other(
    aws: Aws, enforced: Callable[[dict[str, Any] | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    mine, other = (aws.secret("u/blue-tiger") for _ in range(2))
    policy = documented(
        "arn:aws:secretsmanager:eu-central-1:111122223333:secret:acme/warehouse-AbCdEf", mine
    )
    enforced(policy)
    assert resolve(f"secretsmanager:{mine}").username == "u"
    assert resolve(f"secretsmanager:{mine.split(':')[-1][:-7]}").username == "u"
    assert "access denied" in refused(f"secretsmanager:{other}", caplog, "blue-tiger")
    enforced(None)
    credentials._read.clear()
    assert "access denied (GetSecretValue)" in refused(f"secretsmanager:{mine}", caplog)


def test_the_documented_policy_reads_one_path_and_no_other(
    aws: Aws, enforced: Callable[[dict[str, Any] | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    mine, other = (aws.parameters(READER) for _ in range(2))
    alone = aws.parameters({"secure-one": "u/blue-tiger"}) + "/secure-one"
    example = "arn:aws:ssm:eu-central-1:111122223333:parameter/acme/ci/market-pulse/oracle"
    real = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter"
    policy = documented(example, real + mine)
    enforced(policy)
    assert resolve(f"ssm:{mine}").username == "u"
    assert "access denied" in refused(f"ssm:{other}", caplog, "blue-tiger")
    enforced(documented(example, real + alone))
    assert resolve(f"ssm:{alone}").username == "u"
    credentials._read.clear()
    # Each action is needed, so the statement is the least.
    for left, action in enumerate(policy["Statement"][0]["Action"]):
        less = documented(example, real + alone)
        less["Statement"][0]["Action"] = [less["Statement"][0]["Action"][1 - left]]
        enforced(less)
        assert f"denied ({action.split(':')[1]})" in refused(f"ssm:{alone}", caplog, "blue-tiger")
    enforced(None)
    assert "access denied" in refused(f"ssm:{mine}", caplog, "blue-tiger")


def test_the_documented_key_is_used_through_its_service_alone() -> None:
    for text in POLICIES:
        read, decrypt = json.loads(text)["Statement"]
        actions = read["Action"] if isinstance(read["Action"], list) else [read["Action"]]
        [service] = {action.split(":")[0] for action in actions}
        assert decrypt["Action"] == "kms:Decrypt"
        assert fnmatch.fnmatch(decrypt["Resource"], "arn:aws:kms:*:key/*-*")
        via = decrypt["Condition"]["StringEquals"]["kms:ViaService"]
        assert via == f"{service}.eu-central-1.amazonaws.com"
    assert len(POLICIES) == 2
