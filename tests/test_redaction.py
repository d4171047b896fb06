"""Secrets never get out: of texts, files, streams, real kernels and the commands above them."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import os
import queue
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import jupyter_client
import markupsafe
import nbformat
import polars as pl
import pyarrow as pa
import pytest
import websocket
from conftest import BIN
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from pyarrow import parquet

from workbench import redaction, scrubbing
from workbench.credentials import resolve
from workbench.errors import CredentialsError
from workbench.redaction import SECRETS_FD
from workbench.scrubbing import MARK, MINIMUM, Secrets, Stream

# Quotes, escapes, markup, what URLs and base64 treat apart, other alphabets, control characters.
HOSTILE = "aZ09'\"`\\/<>&%+-_=;:# \n\t\x1b\x07éßжü漢😀\u2028"
values = st.text(HOSTILE, min_size=MINIMUM, max_size=24)
texts = st.text(HOSTILE + "xyz.,()[]{}|", max_size=40)

ENCODERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps(text)),
    "html": html.escape,
    "html but quotes": lambda text: html.escape(text, quote=False),
    "markupsafe": lambda text: str(markupsafe.escape(text)),
    "html as numbers": lambda text: text.encode("ascii", "xmlcharrefreplace").decode(),
    "html in json": lambda text: json.dumps(html.escape(text)),
    "html in html": lambda text: html.escape(html.escape(text)),
    "json in html": lambda text: html.escape(json.dumps(text)),
    "repr": repr,
    "ascii": ascii,
    "repr in json": lambda text: json.dumps(repr(text)),
    "repr of bytes": lambda text: repr(text.encode()),
    "quote": urllib.parse.quote,
    "quote all": lambda text: urllib.parse.quote(text, safe=""),
    "quote plus": urllib.parse.quote_plus,
    "quote twice": lambda text: urllib.parse.quote(urllib.parse.quote(text)),
    "quote in lower case": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), urllib.parse.quote(text)
    ),
    "colours": lambda text: "\x1b[38;5;28m" + "\x1b[0m\x1b[01;31m".join(text) + "\x1b[0m",
    "colours in json": lambda text: json.dumps("\x1b[0m\x1b[31m".join(text)),
    **{
        f"base64 after {before}": lambda text, before=before: base64.b64encode(
            b"xyz"[:before] + text.encode() + b"more"
        ).decode()
        for before in range(3)
    },
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of html": lambda text: base64.b64encode(html.escape(text).encode()).decode(),
    "base64 of json": lambda text: base64.b64encode(json.dumps(text).encode()).decode(),
}  # fmt: skip


def base64_decoded(text: str) -> str:
    """Every run of base64 in the text, decoded from each of its first four characters on."""
    runs = re.findall("[A-Za-z0-9+/]{4,}", text.translate(str.maketrans("-_", "+/")))
    cut = [run[start:] for run in runs for start in range(4)]
    whole = [base64.b64decode(run + "A" * (-len(run) % 4)) for run in cut]
    return "\n\n".join(octets.decode("utf-8", "replace") for octets in whole)


def unescaped(text: str, *, octets: bool = False) -> str:
    """Backslash escapes as JSON and Python write them, undone; \\xNN as a character or octet."""
    short = {"n": "\n", "t": "\t", "r": "\r", "a": "\a"}

    def plain(found: re.Match[str]) -> str:
        escape = found[1]
        return chr(int(escape[1:], 16)) if escape[1:] else short.get(escape, escape)

    escapes = r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)"
    clear = re.sub(escapes, plain, text, flags=re.DOTALL)
    clear = clear.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return clear.encode("latin-1", "replace").decode("utf-8", "replace") if octets else clear


DECODERS: list[Callable[[str], str]] = [
    html.unescape, urllib.parse.unquote, urllib.parse.unquote_plus, unescaped, base64_decoded,
    lambda text: unescaped(text, octets=True),
    lambda text: re.sub(r"\x1b\[[0-9;]*m", "", text),
]  # fmt: skip


def reveals(text: str, value: str, depth: int = 2) -> bool:
    """Whether a reader with the usual decoders gets at the value: nothing here is the product's."""
    return value in text or (
        depth > 0
        and any(
            reveals(decoded, value, depth - 1)
            for decode in DECODERS
            if (decoded := decode(text)) not in ("", text)
        )
    )


def known(*found: str) -> Secrets:
    these = Secrets()
    for value in found:
        these.add(value)
    return these


@settings(max_examples=100, deadline=None)
@given(values, texts, texts, st.sampled_from(sorted(ENCODERS)))
@example("\\\\\\\"'\n&", "\\", "\\", "json in json")
@example("]abcde", "", "abcde", "plain")
@example("redacted", "[", "]", "plain")
@example("aaaaaa", "aaa", "aaaa", "plain")
def test_no_encoding_of_a_secret_survives(value: str, left: str, right: str, by: str) -> None:
    text = left + ENCODERS[by](value) + right
    assert reveals(text, value)
    these = known(value)
    clean = these.scrub(text)
    assert not reveals(clean, value)
    assert these.scrub(clean) is clean


@settings(max_examples=100, deadline=None)
@given(values, st.sampled_from(sorted(ENCODERS)))
def test_what_stands_around_a_secret_stays(value: str, by: str) -> None:
    clean = known(value).scrub(f"first line {ENCODERS[by](value)} last line")
    assert clean.startswith("first line ")
    assert clean.endswith(" last line")
    assert MARK in clean


@settings(max_examples=100, deadline=None)
@given(values, st.text(HOSTILE + "bcdefg", max_size=80))
def test_a_text_without_the_secret_is_the_same_text(value: str, text: str) -> None:
    these = known(value)
    if not these.spans(text):
        assert these.scrub(text) is text


def test_ordinary_texts_are_left_alone() -> None:
    source = Path(scrubbing.__file__).read_text(encoding="utf-8")
    these = known("q7:Zr\"w'x\\9", secrets.token_urlsafe(16), secrets.token_hex(16))
    assert these.scrub(source) is source
    assert Secrets().scrub(source) is source


def test_secrets_that_overlap_go_together() -> None:
    assert known("abcdefgh", "efghijkl").scrub("-abcdefghijkl-") == f"-{MARK}-"
    assert known("abcdef", "abcdefghij").scrub("-abcdefghij-") == f"-{MARK}-"


def test_a_key_of_several_lines_goes_line_by_line() -> None:
    lines = [secrets.token_hex(20) for _ in range(3)]
    these = known("-----BEGIN-----\n" + "\n".join(lines))
    clean = these.scrub_tree({"traceback": [f"  {line}" for line in lines]})
    assert clean == {"traceback": [f"  {MARK}"] * 3}


def test_a_tree_is_new_where_it_changed_and_keeps_its_types() -> None:
    value = secrets.token_hex(8)
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "1", outputs=[nbformat.v4.new_output("display_data", {"text/html": f"<b>{value}"})]
            ),
            nbformat.v4.new_markdown_cell("nothing"),
        ]
    )
    before = json.dumps(notebook)
    clean = known(value).scrub_tree(notebook)
    assert json.dumps(notebook) == before
    assert type(clean) is type(notebook)
    assert type(clean.cells[0].outputs[0].data) is type(notebook)
    assert clean.cells[0].outputs[0].data["text/html"] == f"<b>{MARK}"
    assert clean.cells[1] is notebook.cells[1]
    tree = {value: (1, 2.5, None, True, f"x{value}", value.encode(), {value})}
    assert known(value).scrub_tree(tree) == {
        MARK: (1, 2.5, None, True, f"x{MARK}", b"*" * 16, {MARK})
    }
    assert known("another-one").scrub_tree(tree) is tree


def test_binary_data_keeps_its_length() -> None:
    value = f"é{secrets.token_hex(8)}"
    these = known(value)
    data = b"\xff\x00\xfe" + value.encode() + b"\xff"
    assert these.scrub_bytes(data) == b"\xff\x00\xfe" + b"*" * 18 + b"\xff"
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        data = value[1:].encode(encoding)
        assert known(value[1:]).scrub_bytes(data) == b"*" * len(data)
    assert these.scrub_bytes(b"\xff\x00nothing") == b"\xff\x00nothing"


def test_ten_megabytes_without_a_secret_take_a_moment() -> None:
    these = known(secrets.token_urlsafe(20), secrets.token_hex(12))
    text = "a line like any other, 12.5 %\n" * 350_000
    stream = Stream(these)
    started = time.perf_counter()
    assert stream.feed(text) is not None
    # 50 ms when nothing else runs; the tests share two cores.
    assert time.perf_counter() - started < 1


# Files


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values, texts, st.sampled_from(sorted(ENCODERS)))
def test_every_encoding_is_found_in_a_file(tmp_path: Path, value: str, left: str, by: str) -> None:
    path = tmp_path / "file"
    path.write_bytes((left + ENCODERS[by](value)).encode())
    assert known(value).found_in(path)


def test_a_secret_across_the_border_of_two_chunks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = secrets.token_urlsafe(12)
    these = known(value)
    monkeypatch.setattr(scrubbing, "CHUNK", 1)
    size = these._reach
    path = tmp_path / "file"
    for at in (0, size - 8, size - 1, size, 3 * size - 8):
        path.write_bytes(b"." * at + value.encode() + b"." * size)
        assert these.found_in(path), at
    path.write_bytes(b"." * 5 * size)
    assert not these.found_in(path)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", content)
    return buffer.getvalue()


def table(value: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    plain = pa.table(
        {"n": [1, 2, 3], "b": [b"x", value.encode(), None]}
        if options.pop("binary", False)
        else {"s": pa.array(["a" * 1000, f"x{value}", None])}
    )
    parquet.write_table(plain, buffer, **options)
    return buffer.getvalue()


def nested(value: str) -> bytes:
    buffer = io.BytesIO()
    frame = pl.DataFrame({"l": [["a", f"{value}"], []], "s": [{"k": "v"}, {"k": "w"}]})
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


def category(value: str) -> bytes:
    buffer = io.BytesIO()
    frame = pl.DataFrame({"c": [value, "b" * 100] * 50}, schema={"c": pl.Categorical})
    frame.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()


CONTAINERS: dict[str, Callable[[str], bytes]] = {
    "gzip": lambda value: gzip.compress(value.encode()),
    "zip": lambda value: zipped(value.encode()),
    "gzip in zip": lambda value: zipped(gzip.compress(f"x{value}".encode())),
    "snappy": lambda value: table(value, compression="snappy"),
    "gzip without dictionary": lambda value: table(value, compression="gzip", use_dictionary=False),
    "zstd, binary": lambda value: table(value, compression="zstd", binary=True),
    "nested columns": nested,
    "a categorical column": category,
    "Parquet in zip": lambda value: zipped(table(value, compression="zstd")),
    "UTF-16": lambda value: ("text\n" + value).encode("utf-16"),
    "UTF-16, big": lambda value: ("text\n" + value).encode("utf-16-be"),
    "UTF-32": lambda value: value.encode("utf-32"),
    "not a zip after all": lambda value: b"PK\x03\x04" + value.encode(),
    "not a gzip after all": lambda value: b"\x1f\x8b" + value.encode(),
    "not a Parquet after all": lambda value: b"PAR1" + value.encode(),
    "cut off gzip": lambda value: gzip.compress(
        value.encode() + secrets.token_bytes(40_000)
    )[:30_000],
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_are_looked_into(tmp_path: Path, container: str) -> None:
    path = tmp_path / "file"
    value = secrets.token_hex(4) + "'" + secrets.token_hex(12)
    path.write_bytes(CONTAINERS[container](value))
    assert known(value).found_in(path)
    path.write_bytes(CONTAINERS[container](secrets.token_hex(16)))
    assert not known(value).found_in(path)


def test_workbooks_are_looked_into(tmp_path: Path) -> None:
    value = f"<{secrets.token_hex(8)}>&'\""
    path = tmp_path / "book.xlsx"
    pl.DataFrame({"text": ["a", f"pre {value} post"]}).write_excel(path)
    assert known(value).found_in(path)
    assert not known(value[::-1]).found_in(path)
    assert not Secrets().found_in(tmp_path / "not even there")


# Streams


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_secret_in_parts_never_gets_out(data: st.DataObject) -> None:
    value = data.draw(values)
    by = data.draw(st.sampled_from(sorted(ENCODERS)))
    left, right = data.draw(texts), data.draw(texts)
    text = left + ENCODERS[by](value) + right
    cuts = data.draw(st.sets(st.integers(0, len(text)), max_size=12))
    if data.draw(st.booleans()):
        cuts = set(range(len(text)))
    releases = data.draw(st.sets(st.integers(0, len(text)), max_size=3))
    borders = sorted({0, *cuts, *releases, len(text)})
    stream = Stream(known(value))
    out = ""
    for start, end in pairwise(borders):
        if start in releases:
            out += stream.release()
        out += stream.feed(text[start:end])
    out += stream.release()
    assert not reveals(out, value)


@settings(max_examples=80, deadline=None)
@given(values, st.lists(st.text("ab01xyz\n\\&%\x1b[m", max_size=6), max_size=20))
def test_what_holds_no_secret_arrives_whole_and_in_order(value: str, parts: list[str]) -> None:
    these = known(value)
    text = "".join(parts)
    stream = Stream(these)
    out = "".join(map(stream.feed, parts)) + stream.release()
    if not these.spans(text) and not these.spans(text, "most"):
        assert out == text


def test_a_long_secret_keeps_little_back() -> None:
    value = secrets.token_hex(150)
    stream = Stream(known(value))
    out = "".join(stream.feed(f"{value}{'.' * 1000}"[at : at + 7]) for at in range(0, 1300, 7))
    assert out == MARK + "." * 1000
    assert stream.feed(value[:250]) == ""
    assert stream.release() == MARK


def test_only_a_beginning_is_kept_back() -> None:
    stream = Stream(known("hunter-x22"))
    assert stream.feed("an hour") == "an hour"
    assert stream.feed("an hun") == "an "
    assert stream.feed("t\n") == "hunt\n"
    assert stream.feed("hun") == ""
    assert stream.release() == "hun"  # a beginning is no secret
    assert stream.feed("ter-x22 next") == f"{MARK} next"  # but its end would make it one
    assert stream.feed("hunter-x") == ""
    assert stream.release() == MARK  # three quarters are as bad as the whole
    assert stream.feed("hunter-x22") == MARK
    assert stream.feed("\n") == "\n"


# Providers, with moto's server in the place of AWS


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """The environment that leads boto3 to a Secrets Manager of our own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    server.stop()


@pytest.fixture
def manager(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Put a secret into the Secrets Manager, and lead this process to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(redaction, "known", Secrets())
    monkeypatch.setattr(redaction, "_handed", set())
    client = boto3.Session().client("secretsmanager")

    def put(content: str | bytes | dict[str, Any]) -> str:
        if isinstance(content, dict):
            content = json.dumps(content)
        kind = "SecretBinary" if isinstance(content, bytes) else "SecretString"
        name = f"demo/{secrets.token_hex(4)}"
        return str(client.create_secret(Name=name, **{kind: content})["ARN"])

    yield put
    client.close()


def test_a_secret_of_the_manager_is_read_by_name_and_by_arn(
    manager: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    password, token = secrets.token_urlsafe(12), secrets.token_hex(12)
    arn = manager({"user": "reader", "password": password, "api_token": token, "key": "id"})
    caplog.set_level("DEBUG")
    for name in (arn, arn.split(":")[-1][:-7]):
        found = resolve(f"secretsmanager:{name}")
        assert found.username == "reader"
        assert found.password.get_secret_value() == password
        assert password not in f"{found!r} {found}"
    # botocore logs whole answers at this level.
    assert "botocore" in caplog.text
    assert password not in caplog.text
    assert redaction.known.scrub(f"{password} {token} id") == f"{MARK} {MARK} id"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{hidden}", "is not a JSON object"),
        ('["{hidden}"]', "is not a JSON object"),
        ({"password": "{hidden}"}, "username or user"),
        ({"username": "u", "pass": "{hidden}"}, "under the key password"),
        ({"username": "u", "password": ["{hidden}"]}, "under the key password"),
        ({"username": "u", "password": "short"}, "shorter than 6"),
        (b"{hidden}", "is binary"),
    ],
)
def test_a_secret_that_does_not_fit_is_not_shown(
    manager: Callable[..., str], content: Any, says: str
) -> None:
    hidden = secrets.token_hex(8)
    if isinstance(content, bytes):
        content = content.replace(b"{hidden}", hidden.encode())
    else:
        content = json.loads(json.dumps(content).replace("{hidden}", hidden))
    with pytest.raises(CredentialsError, match=says) as caught:
        resolve(f"secretsmanager:{manager(content)}")
    assert_one_sentence(caught.value, hidden, "short ")


def assert_one_sentence(error: CredentialsError, *hidden: str) -> None:
    chain: BaseException | None = error
    while chain is not None:
        for value in hidden:
            assert value not in str(chain)
            assert value not in repr(getattr(chain, "__dict__", ""))
        chain = chain.__context__
    assert error.__context__ is None
    assert len(error.message.splitlines()) == 1
    assert error.message.endswith(".")


def test_what_aws_refuses_is_one_sentence(
    manager: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failure(name: str = "demo/none") -> str:
        with pytest.raises(CredentialsError) as caught:
            resolve(f"secretsmanager:{name}")
        assert_one_sentence(caught.value)
        return str(caught.value)

    assert "demo/none does not exist" in failure()
    arn = manager({"username": "u", "password": secrets.token_hex(8)})
    boto3.Session().client("secretsmanager").delete_secret(SecretId=arn)
    assert "scheduled for deletion" in failure(arn)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert "cannot be reached" in failure()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_DEFAULT_REGION")
        assert "No AWS region" in failure()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "no AWS credentials" in failure()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        assert "ProfileNotFound" in failure()


def test_access_denied_is_said(
    manager: Callable[..., str], aws: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = manager({"username": "u", "password": secrets.token_hex(8)})
    iam = boto3.Session().client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]

    def says() -> str:
        with pytest.raises(CredentialsError) as caught:
            resolve(f"secretsmanager:{arn}")
        assert_one_sentence(caught.value)
        return str(caught.value)

    def check_from(count: str) -> None:
        # moto asks who may do what only after so many requests.
        kind = {"Content-Type": "text/plain"}
        address = f"{aws['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        request = urllib.request.Request(address, count.encode(), kind)  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310

    check_from("0")
    try:
        assert "access denied" in says()  # moto's answer to an unknown key
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        assert "access denied" in says()
    finally:
        check_from("Infinity")


# The pipe to the runner

PROTECT = """
import os, signal, sys
from workbench import redaction
for value in sys.argv[1:]:
    redaction.protect(value)
    redaction.protect(value)
pid = os.fork()
if pid == 0:
    redaction.protect("of the child: " + sys.argv[1])
    os._exit(0)
os.waitpid(pid, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_runner_receives_the_values_even_of_a_kernel_that_was_killed() -> None:
    value, long = secrets.token_hex(8) + "é\n", secrets.token_hex(200)
    reading, writing = os.pipe()
    environment = {**os.environ, SECRETS_FD: str(writing)}
    with subprocess.Popen(
        [sys.executable, "-c", PROTECT, value, long], env=environment, pass_fds=[writing]
    ) as kernel:
        os.close(writing)
    assert kernel.returncode == -9
    got = redaction.received(reading)
    os.close(reading)
    assert got[0] == value
    assert got[-1] == f"of the child: {value}"
    # A long one comes in pieces, each of which betrays it.
    assert all(piece in long and len(piece) == 120 for piece in got[1:-1])
    assert known(*got).scrub(f"<{long}>") == f"<{MARK}>"


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setattr(redaction, "known", Secrets())
    monkeypatch.setattr(redaction, "_handed", set())
    reading, writing = os.pipe()
    monkeypatch.setenv(SECRETS_FD, str(writing))
    yield reading, writing
    for fd in (reading, writing):
        with suppress(OSError):
            os.close(fd)


def test_reading_the_pipe_never_waits(pipe: tuple[int, int]) -> None:
    assert redaction.received(pipe[0]) == []
    value = secrets.token_hex(8)
    redaction.protect(value)
    redaction.protect(value)
    assert redaction.received(pipe[0]) == [value]
    assert redaction.received(pipe[0]) == []
    os.write(pipe[1], b"\x00\xffnot ours")
    with pytest.raises(CredentialsError, match="damaged"):
        redaction.received(pipe[0])


def test_a_pipe_that_is_full_or_closed_fails_closed(pipe: tuple[int, int]) -> None:
    value = secrets.token_hex(8)
    os.set_blocking(pipe[1], False)
    with suppress(BlockingIOError):
        while os.write(pipe[1], b"." * 4096):
            pass
    for _ in range(2):  # a second try does not slip through
        with pytest.raises(CredentialsError, match="could not be handed") as caught:
            redaction.protect(value)
        assert_one_sentence(caught.value, value)
    assert redaction.known.scrub(value) == MARK
    os.close(pipe[0])
    with pytest.raises(CredentialsError, match="could not be handed"):
        redaction.protect(value)
    os.close(pipe[1])
    with pytest.raises(CredentialsError, match="could not be handed"):
        redaction.protect(value)


def test_only_a_pipe_gets_secrets(
    pipe: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb") as file:
        for named in (str(file.fileno()), "seven", str(pipe[0])):
            monkeypatch.setenv(SECRETS_FD, named)
            with pytest.raises(CredentialsError, match="could not be handed"):
                redaction.protect(secrets.token_hex(8))
    assert (tmp_path / "file").read_bytes() == b""


def test_a_short_secret_is_refused(pipe: tuple[int, int], project: Path) -> None:
    (project / ".env").write_text("DW_USERNAME=u\nDW_PASSWORD=kurz5\n")
    with pytest.raises(CredentialsError, match="shorter than 6") as caught:
        resolve("env:DW")
    assert_one_sentence(caught.value, "kurz5")
    with pytest.raises(ValueError, match="6 characters"):
        Secrets().add("kurz5")
    assert redaction.received(pipe[0]) == []


# Real kernels

LEAKS = {
    "print": "print('a', password, 'b')",
    "split": "print(password[:4], end='', flush=True); print(password[4:])",
    "split with a gap": """
        import time
        for char in password:
            print(char, end='', flush=True)
        time.sleep(0.5)
        for part in (password[:5], password[5:]):
            sys.stderr.write(part); sys.stderr.flush(); time.sleep(0.3)
    """,
    "split around a display": """
        print(password[:4], end='')
        display(1)
        print(password[4:])
    """,
    "displays": """
        from IPython.display import HTML, JSON, SVG, Markdown, Javascript
        bundle = {"text/plain": password, "text/html": html.escape(password),
                  "application/json": {password: [password, 1, {"deep": password}]},
                  "application/vnd.workbench.figure+json": {"value": password}}
        display(HTML(f"<b>{html.escape(password)}</b>"), Markdown(password), JSON({"k": password}),
                SVG("<svg xmlns='http://www.w3.org/2000/svg'><text>"
                    f"{html.escape(password)}</text></svg>"),
                Javascript(json.dumps(password)))
        display(bundle, raw=True, metadata={"text/plain": {"note": password}})
        assert bundle["text/plain"] == password, "what the user holds was changed"
        handle = display("x", display_id=True)
        handle.update(password, metadata={"m": password})
        display(b"x" + password.encode(), {"d": password}, [password])
    """,
    "result": "{'connection': f'user:{password}@host', 'list': [password]}",
    "exception": "raise RuntimeError(f'cannot log in with {password!r}')",
    "exception in JSON": "json.loads('{\"a\": ' + password)",
    "literal": "connect = lambda **options: 1 / 0\nconnect(password=LITERAL, user='x')",
    "verbose": "%xmode Verbose\ndef f(word):\n    return 1 / 0\nf(password)",
    "streams": """
        import logging, warnings
        sys.stderr.write(password + '\\n')
        logging.warning('with %s', password)
        warnings.warn(password)
    """,
    "shell": "import shlex\nquoted = shlex.quote(password)\n!echo {quoted}",
    "descriptor": "import os\nos.system('printf %s ' + shlex.quote(password)); None",
    "encoded": """
        for pad in range(3):
            print(base64.b64encode(b'.' * pad + password.encode() + b'..').decode())
        print(urllib.parse.quote(password), urllib.parse.quote_plus(password), repr(password),
              html.escape(password), json.dumps(password), json.dumps(html.escape(password)))
        print('\\x1b[31m'.join(password))
    """,
    "payload": "get_ipython().set_next_input('connect(' + repr(password) + ')')",
    "threads": """
        import threading
        threads = [threading.Thread(target=print, args=(password,)) for _ in range(3)]
        for t in threads: t.start()
        for t in threads: t.join()
    """,
    "fork": """
        import multiprocessing
        def leak(word):
            print('child', word)
            for char in word:
                print(char, end='', flush=True)
            display({"text/plain": word}, raw=True)
            1 / 0 if not word else sys.stdout.flush()
        child = multiprocessing.get_context('fork').Process(target=leak, args=(password,))
        child.start(); child.join()
    """,
    "comm": """
        from comm import create_comm
        comm = create_comm(target_name='x', data={'k': password}, metadata={'m': password})
        octets = password.encode()
        comm.send({'k': [password]}, buffers=[octets, memoryview(b'..' + octets)])
        comm.close({'bye': password})
    """,
    "clear": "from IPython.display import clear_output\nprint(password); clear_output()",
    "still whole": "assert len(password) == LENGTH; print('it was', 'shown')",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted(aws: dict[str, str]) -> str:
    """A secret that is nowhere but in the Secrets Manager, with what encoders treat apart."""
    value = f"{secrets.token_hex(3)}'\"<&>\\ /+é{secrets.token_hex(3)}"
    client = boto3.client(
        "secretsmanager", region_name="eu-central-1", endpoint_url=aws["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing", aws_secret_access_key="testing",  # noqa: S106
    )  # fmt: skip
    content = json.dumps({"username": "reader", "password": value})
    client.create_secret(Name="demo/warehouse", SecretString=content)
    client.close()
    return value


OPENING = """
import base64, html, json, sys, urllib.parse
from workbench.credentials import resolve
password = resolve("secretsmanager:demo/warehouse").password.get_secret_value()
"""


def cells(value: str) -> list[str]:
    from textwrap import dedent

    sources = [dedent(source).strip() for source in LEAKS.values()]
    return [
        OPENING,
        *(
            source.replace("LITERAL", repr(value)).replace("LENGTH", str(len(value)))
            for source in sources
        ),
    ]


def kernel_environment(aws: dict[str, str]) -> dict[str, str]:
    mine = ("AWS_", "PYTEST_CURRENT_TEST", SECRETS_FD)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return {**inherited, **aws}


def test_a_kernel_sends_no_secret_on_any_channel(aws: dict[str, str], planted: str) -> None:
    reading, writing = os.pipe()
    environment = {**kernel_environment(aws), SECRETS_FD: str(writing)}
    manager = jupyter_client.KernelManager(kernel_name="python3")
    manager.start_kernel(
        env=environment, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        messages: list[dict[str, Any]] = []
        for source in cells(planted):
            client.execute(source, stop_on_error=False)
            replied = idle = False
            while not (replied and idle):
                if not replied and client.shell_channel.msg_ready():
                    messages.append(client.get_shell_msg(timeout=1))
                    replied = messages[-1]["msg_type"] == "execute_reply"
                    continue
                with suppress(queue.Empty):
                    messages.append(client.get_iopub_msg(timeout=0.1))
                    idle = idle or messages[-1]["content"].get("execution_state") == "idle"
        for request in (
            client.inspect("password"), client.complete("pass"), client.history(output=True, n=50)
        ):  # fmt: skip
            assert request
            messages.append(client.get_shell_msg(timeout=10))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert redaction.received(reading) == [planted]
    os.close(reading)
    kinds = {message["msg_type"] for message in messages}
    assert kinds >= {
        "stream", "display_data", "update_display_data", "execute_result", "error", "comm_open",
        "comm_msg", "comm_close", "clear_output", "execute_reply", "inspect_reply",
        "complete_reply", "history_reply",
    }  # fmt: skip
    shown = ""
    for message in messages:
        part = [message["content"], message["metadata"], [bytes(b) for b in message["buffers"]]]
        if message["msg_type"] != "execute_input":
            assert not reveals(str(part), planted, 1), part
        assert not known(planted).spans(json.dumps(part, default=str)), part
        for text in texts_in(part):
            assert not reveals(text, planted), part
        if message["msg_type"] == "stream":
            shown += message["content"]["text"]
    # As coalesced by a reader: per cell and stream.
    joined: dict[tuple[str, str], str] = {}
    for message in messages:
        if message["msg_type"] == "stream":
            key = (message["parent_header"]["msg_id"], message["content"]["name"])
            joined[key] = joined.get(key, "") + message["content"]["text"]
    for text in joined.values():
        assert not reveals(text, planted), text
    assert "it was shown" in shown
    assert "AssertionError" not in str(messages)
    assert f"a {MARK} b" in shown
    assert shown.count(f"child {MARK}") == 1


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)


def test_plain_papermill_saves_no_secret(aws: dict[str, str], planted: str, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        # A literal in the source is the author's own: nobody redacts what they wrote.
        cells=[
            nbformat.v4.new_code_cell(source, metadata={"tags": ["raises-exception"]})
            for source in cells(planted)
            if repr(planted) not in source
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "in.ipynb")
    assert not known(planted).found_in(tmp_path / "in.ipynb")
    done = subprocess.run(
        [str(BIN / "papermill"), "in.ipynb", "out.ipynb", "--log-output", "--log-level", "DEBUG"],
        cwd=tmp_path, env=kernel_environment(aws), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    out = (tmp_path / "out.ipynb").read_text(encoding="utf-8")
    # By its count, because an ordinary kernel drops outputs that are read too slowly.
    assert json.loads(out)["cells"][-1]["execution_count"], done.stderr[-2000:]
    assert "AssertionError" not in out
    assert out.count(MARK) > 20
    assert not known(planted).found_in(tmp_path / "out.ipynb")
    for text in texts_in(json.loads(out)):
        assert not reveals(text, planted)
    for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells:
        for name in ("stdout", "stderr"):
            streams = [output for output in cell.get("outputs", []) if output.get("name") == name]
            assert not reveals("".join(output.text for output in streams), planted)


def test_jupyters_own_server_passes_no_secret_on(
    aws: dict[str, str], planted: str, tmp_path: Path
) -> None:
    token = secrets.token_hex(16)
    environment = {
        **kernel_environment(aws),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_TOKEN": token,
    }
    words = ["server", "--no-browser", "--port=0", "--ServerApp.ip=127.0.0.1", "--allow-root",
             "--ServerApp.jpserver_extensions={}", f"--ServerApp.root_dir={tmp_path}"]  # fmt: skip
    server = subprocess.Popen(
        [str(BIN / "jupyter"), *words],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 40
        while not (found := list((tmp_path / "runtime").glob("jpserver-*.json"))):
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.1)
        port = json.loads(found[0].read_text())["port"]
        start = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/kernels",
            b'{"name": "python3"}',
            {"Authorization": f"token {token}"},
        )
        kernel = None
        while kernel is None:
            # It writes down its port a moment before it listens there.
            try:
                with urllib.request.urlopen(start, timeout=30) as answer:  # noqa: S310
                    kernel = json.load(answer)["id"]
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        channel = websocket.create_connection(
            f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels?token={token}", timeout=30
        )
        with closing(channel):
            code = OPENING + "print(password[:4], end='', flush=True); print(password[4:])\n1 / 0"
            session = jupyter_client.session.Session()
            request = session.msg("execute_request", {"code": code, "silent": False})
            channel.send(json.dumps({**request, "channel": "shell"}, default=str))
            frames, replied, idle = [], False, False
            while not (replied and idle):
                frames.append(channel.recv())
                message = json.loads(frames[-1])
                if message["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                    replied = replied or message["msg_type"] == "execute_reply"
                    idle = idle or message["content"].get("execution_state") == "idle"
    finally:
        server.terminate()
        server.wait(20)
    assert MARK in "".join(frames)
    assert "ZeroDivisionError" in "".join(frames)
    for frame in frames:
        for text in texts_in(json.loads(frame)):
            assert not reveals(text, planted)
