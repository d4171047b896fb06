"""Publishing to S3 and pruning: nothing points at what is not there, nothing goes that should stay.

The S3 is moto's server, spoken to over HTTP by the real client, partly through a proxy that fails.
"""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ConnectionFailed, CredentialsError, UsageError, WorkbenchError
from workbench.reporting.index import write_index
from workbench.reporting.prune import parse_age, prune
from workbench.reporting.publish import _Place, publish

DATA = {"colors.parquet": b"PAR1", "colors.csv": b"a,b", "deep/x.xlsx": b"PK", "odd.bin": b"?"}


def add(root: Path, name: str, run_id: str, **run: object) -> Path:
    place = root / name / run_id
    for path, content in DATA.items():
        (place / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "data" / path).write_bytes(content)
    (place / "report.html").write_text(f"report of {run_id}")
    (place / "notebook.ipynb").write_text("{}")
    content = {"name": name, "status": "passed", "started": "2026-11-21T06:00:00Z", **run}
    (place / "run.json").write_text(json.dumps(content))
    return place


def client() -> Any:
    return boto3.client("s3", region_name="us-east-1")


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for key, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    name = f"bucket-{time.time_ns()}"
    client().create_bucket(Bucket=name)
    return name


def objects(bucket: str) -> dict[str, Any]:
    found = client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return {item["Key"]: item["LastModified"] for item in found}


def read(bucket: str, key: str) -> str:
    content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content.decode()


def links(bucket: str, prefix: str = "") -> set[str]:
    page = read(bucket, f"{prefix}index.html")
    return {unquote(link) for link in re.findall(r'<th.*?href="([^"#]+)"', page)}


def is_sound(bucket: str) -> None:
    """Assert that what the bucket claims to have is there."""
    there = set(objects(bucket))
    for key in there:
        if key.endswith("run.json"):
            run = key.removesuffix("run.json")
            files = {"report.html", "notebook.ipynb", *(f"data/{path}" for path in DATA)}
            assert {f"{run}{file}" for file in files} <= there, key
    if "index.html" in there:
        assert links(bucket) <= there


def test_runs_are_copied_with_their_types_and_the_links_open(bucket: str, tmp_path: Path) -> None:
    place = add(tmp_path, "run colors a=1", "r1")
    (place / "data" / "link.csv").symlink_to("/etc/hostname")
    (place / "data" / "out").symlink_to("/etc")
    (place / ".lock").touch()
    (place / ".cache").mkdir()
    (place / ".cache" / "x").touch()
    (place.parent / "latest").symlink_to("r1")
    (place.parent / ".r2.partial").mkdir()
    (place.parent / ".r2.partial" / "run.json").write_text("{}")
    write_index(tmp_path)
    told: list[str] = []
    urls = publish(tmp_path, f"s3://{bucket}/team/reports/", progress=told.append)
    assert told == ["published run colors a=1/r1"]
    run = "team/reports/run colors a=1/r1"
    kinds = {
        f"{run}/report.html": "text/html; charset=utf-8",
        f"{run}/notebook.ipynb": "application/x-ipynb+json",
        f"{run}/run.json": "application/json",
        f"{run}/data/colors.csv": "text/csv; charset=utf-8",
        f"{run}/data/colors.parquet": "application/vnd.apache.parquet",
        f"{run}/data/odd.bin": "application/octet-stream",
        f"{run}/data/deep/x.xlsx": (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        ),
        "team/reports/index.html": "text/html; charset=utf-8",
    }
    heads = {key: client().head_object(Bucket=bucket, Key=key) for key in objects(bucket)}
    assert {key: head["ContentType"] for key, head in heads.items()} == kinds
    assert heads["team/reports/index.html"]["CacheControl"] == "no-cache"
    assert links(bucket, "team/reports/") == {"run colors a=1/r1/report.html"}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    policy = {"Statement": [{**everybody, "Resource": f"arn:aws:s3:::{bucket}/*"}]}
    client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    opened = []
    for url in urls:
        with urllib.request.urlopen(url) as answer:  # noqa: S310
            opened.append(answer.read().decode())
    assert opened[0] == "report of r1"
    assert "All runs" in opened[1]


@pytest.mark.parametrize(
    ("bucket_name", "settings", "url"),
    [
        ("b", {"region_name": "eu-central-1"}, "https://b.s3.eu-central-1.amazonaws.com/p/a%20b/x"),
        ("b.c", {"region_name": "us-east-2"}, "https://s3.us-east-2.amazonaws.com/b.c/p/a%20b/x"),
        ("b", {"endpoint_url": "http://minio:9000/"}, "http://minio:9000/b/p/a%20b/x"),
    ],
)
def test_links_have_the_form_of_their_region_and_endpoint(
    bucket_name: str, settings: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    place = _Place(
        boto3.client("s3", **{"region_name": "us-east-1", **settings}), bucket_name, "p/"
    )
    assert place.url(PurePosixPath("a b/x")) == url


def test_a_second_time_only_the_index_is_written(bucket: str, tmp_path: Path) -> None:
    add(tmp_path, "a", "r1")
    publish(tmp_path, f"s3://{bucket}")
    before = objects(bucket)
    add(tmp_path, "a", "r2")
    told: list[str] = []
    time.sleep(1.1)  # S3 tells times in seconds
    assert len(publish(tmp_path, f"s3://{bucket}", progress=told.append)) == 2
    assert told == ["published a/r2"]
    after = objects(bucket)
    assert {key for key, at in after.items() if before.get(key) == at} == set(before) - {
        "index.html"
    }
    assert publish(tmp_path, f"s3://{bucket}")[0].endswith("/index.html")


def test_a_machine_that_knows_no_earlier_run_keeps_them_in_the_index(
    bucket: str, tmp_path: Path
) -> None:
    add(tmp_path / "one", "a", "r1")
    publish(tmp_path / "one", f"s3://{bucket}/p")
    client().put_object(Bucket=bucket, Key="p/odd/r0/run.json", Body=b"{")
    client().put_object(Bucket=bucket, Key="p/a/r1/data/run.json", Body=b"{}")
    client().put_object(Bucket=bucket, Key="p-other/a/r9/run.json", Body=b"{}")
    add(tmp_path / "two", "b", "r2", status="error")
    add(tmp_path / "two", "c", "r3")
    publish(tmp_path / "two", f"s3://{bucket}/p", names=["b"])
    page = read(bucket, "p/index.html")
    assert links(bucket, "p/") == {"a/r1/report.html", "b/r2/report.html"}
    assert page.count('data-status="unreadable"') == 1
    assert page.count("<tr data-status=") == 3


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to moto, notes them, and hangs up on those that `fails` names."""

    daemon_threads = True

    def __init__(self, target: str, fails: Callable[[str, str, int], bool]) -> None:
        self.target, self.fails = target, fails
        self.seen: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Relay)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Relay(http.server.BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"  # else the client waits a second for leave to send each body

    def relay(self) -> None:
        self.server.seen.append((self.command, unquote(self.path)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.fails(self.command, self.path, len(self.server.seen)):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        address, headers = self.server.target + self.path, dict(self.headers)
        request = urllib.request.Request(address, body, headers, method=self.command)  # noqa: S310
        try:
            answer = urllib.request.urlopen(request)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = relay  # noqa: N815

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def proxy(
    moto: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[str, str, int], bool]], Proxy]]:
    started: list[Proxy] = []

    def start(fails: Callable[[str, str, int], bool]) -> Proxy:
        server = Proxy(moto, fails)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        started.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_a_record_comes_after_its_files_and_the_index_after_all(
    bucket: str, tmp_path: Path, proxy: Any
) -> None:
    for number in range(6):
        add(tmp_path, "a", f"r{number}")
    server = proxy(lambda method, path, count: False)
    publish(tmp_path, f"s3://{bucket}")
    puts = [path.partition("?")[0] for method, path in server.seen if method == "PUT"]
    assert puts[-1] == f"/{bucket}/index.html"
    for number in range(6):
        own = [path for path in puts if path.startswith(f"/{bucket}/a/r{number}/")]
        assert own[-1].endswith("run.json")
        assert len(own) == len(DATA) + 3


@pytest.mark.parametrize("after", [2, 30, "index"])
def test_a_connection_lost_in_the_middle_leaves_the_bucket_sound(
    bucket: str, tmp_path: Path, proxy: Any, after: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "old", "r")
    publish(tmp_path, f"s3://{bucket}")
    for number in range(6):
        add(tmp_path, "a", f"r{number}")

    def fails(method: str, path: str, count: int) -> bool:
        if after == "index":
            return method == "PUT" and "index.html" in path
        return count > int(after)

    server = proxy(fails)
    with pytest.raises(ConnectionFailed, match="could not be reached"):
        publish(tmp_path, f"s3://{bucket}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.target)
    is_sound(bucket)
    assert links(bucket) == {"old/r/report.html"}
    publish(tmp_path, f"s3://{bucket}")
    is_sound(bucket)
    assert len(links(bucket)) == 7


PUBLISHER = """
import signal, sys
from pathlib import Path
from workbench.reporting.publish import publish
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits it ignored
publish(Path(sys.argv[1]), sys.argv[2], progress=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_publish_leaves_the_bucket_sound_and_is_made_good(
    bucket: str, tmp_path: Path, how: signal.Signals
) -> None:
    for number in range(20):
        add(tmp_path, "a", f"r{number}")
    words = [sys.executable, "-c", PUBLISHER, str(tmp_path), f"s3://{bucket}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"published a/")
        process.send_signal(how)
        assert process.wait(20) != 0
    assert "index.html" not in objects(bucket)
    is_sound(bucket)
    publish(tmp_path, f"s3://{bucket}")
    is_sound(bucket)
    assert len(links(bucket)) == 20


def test_two_machines_that_publish_together_end_with_both_in_the_index(
    bucket: str, tmp_path: Path, proxy: Any
) -> None:
    add(tmp_path / "one", "a", "r1")
    add(tmp_path / "two", "b", "r2")
    other: list[Any] = []

    def meanwhile(method: str, path: str, count: int) -> bool:
        # The other one publishes between our look at the bucket and our index.
        if method == "PUT" and "index.html" in path and not other:
            other.append(True)
            os.environ["AWS_ENDPOINT_URL"] = server.target
            publish(tmp_path / "two", f"s3://{bucket}")
        return False

    server = proxy(meanwhile)
    publish(tmp_path / "one", f"s3://{bucket}")
    assert links(bucket) == {"a/r1/report.html", "b/r2/report.html"}


def test_what_is_wrong_is_said_in_a_sentence(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(kind: type[WorkbenchError], words: str, target: str, **options: Any) -> None:
        with pytest.raises(kind, match=words) as caught:
            publish(tmp_path, target, **options)
        assert "\n" not in caught.value.message
        assert type(caught.value) is kind

    refused(UsageError, "holds no runs to publish", f"s3://{bucket}")
    add(tmp_path, "a", "r1")
    for target in ("bucket/x", "https://bucket.s3.amazonaws.com/x", "s3://", "s3:///x", ""):
        refused(UsageError, "no place in S3", target)
    refused(UsageError, "holds no runs named zzz", f"s3://{bucket}", names=["zzz"])
    refused(WorkbenchError, "there is no such bucket", "s3://nobody-has-this-bucket/x")
    refused(WorkbenchError, "failed: .*[Bb]ucket", "s3://No!Bucket/x")
    client().put_object(Bucket=bucket, Key="site/index.html", Body=b"<h1>Ours</h1>")
    refused(WorkbenchError, "holds an index.html that is no index", f"s3://{bucket}/site")
    assert read(bucket, "site/index.html") == "<h1>Ours</h1>"
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        refused(ConnectionFailed, "could not be reached", f"s3://{bucket}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    refused(UsageError, "Invalid endpoint", f"s3://{bucket}")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refused(CredentialsError, "credentials are missing", f"s3://{bucket}")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    refused(CredentialsError, "nobody", f"s3://{bucket}")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, WorkbenchError),
        ("InvalidAccessKeyId", 403, CredentialsError),
        ("SlowDown", 503, WorkbenchError),
    ],
)
def test_what_s3_refuses_is_said_in_a_sentence(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: int, kind: Any
) -> None:
    answer = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()

    class Refusal(Relay):
        def relay(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = relay  # noqa: N815

    add(tmp_path, "a", "r1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(kind, match=r"denied|not accepted|failed: .*SlowDown"):
            publish(tmp_path, f"s3://{bucket}")
    finally:
        server.shutdown()
        server.server_close()


# Pruning.

NOW = datetime.now(UTC)
STATUSES = ["passed", "warned", "data-failed", "error", "timeout", "kernel-died", "cancelled"]


def begun(days: float) -> str:
    return (NOW - timedelta(days=days)).isoformat()


def runs_below(root: Path) -> set[str]:
    records = root.glob("*/[!.]*/run.json")
    return {f"{p.parts[-3]}/{p.parts[-2]}" for p in records if not p.parent.is_symlink()}


def test_ages_are_read_or_refused() -> None:
    days = {"90d": 90, "12h": 0.5, "4w": 28, "0d": 0}
    assert {text: parse_age(text) / timedelta(days=1) for text in days} == days
    for text in ("", "90", "d", "1.5d", "-1d", "1m", "1 d", "9" * 9 + "w", "٣d"):
        with pytest.raises(UsageError, match="is no age"):
            parse_age(text)


def test_prune_refuses_what_it_should_not_touch(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing says which"):
        prune(tmp_path)
    with pytest.raises(UsageError, match="newest run of each name stays"):
        prune(tmp_path, keep=0)
    with pytest.raises(UsageError, match="not a folder of runs"):
        prune(tmp_path / "none", keep=1)
    add(tmp_path, "a", "r1", started=begun(2))
    add(tmp_path, "a", "r2", started=begun(1))
    (tmp_path / "index.html").write_text("<h1>a site of somebody</h1>")
    with pytest.raises(UsageError, match="not a folder of runs"):
        prune(tmp_path, keep=1)
    assert runs_below(tmp_path) == {"a/r1", "a/r2"}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.sampled_from(STATUSES)), max_size=14
    ),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(0, 60),
    st.integers(0, 13),
)
def test_prune_keeps_what_it_promises_and_removes_the_rest(
    tmp_path_factory: pytest.TempPathFactory,
    made: list[tuple[str, int, str]],
    keep: int | None,
    days: int | None,
    linked: int,
) -> None:
    if keep is None and days is None:
        return
    root = tmp_path_factory.mktemp("runs")
    for number, (name, age, status) in enumerate(made):
        place = root / name / f"r{number:02d}"
        place.mkdir(parents=True)
        (place / "report.html").touch()
        content = {"status": status, "started": begun(age + 0.5)}
        (place / "run.json").write_text(json.dumps(content))
    if made:
        name = made[linked % len(made)][0]
        (root / name / "latest").symlink_to(f"r{linked % len(made):02d}")
    expected = set()
    for name in {name for name, *_ in made}:
        ranked = sorted(
            ((-age, f"r{i:02d}", status) for i, (n, age, status) in enumerate(made) if n == name),
            reverse=True,
        )
        good = [run_id for _, run_id, status in ranked if status in ("passed", "warned")][:1]
        latest = root / name / "latest"
        kept = {ranked[0][1], *good, *([latest.readlink().name] if latest.is_symlink() else [])}
        for place, (age, run_id, _) in enumerate(ranked):
            beyond = keep is None or place >= keep
            old = days is None or 0.5 - age > days
            if not (beyond and old) or run_id in kept:
                expected.add(f"{name}/{run_id}")
    older = None if days is None else timedelta(days=days)
    before = runs_below(root)
    would = prune(root, keep=keep, older_than=older, dry_run=True)
    assert runs_below(root) == before
    assert not (root / "index.html").exists()
    assert prune(root, keep=keep, older_than=older) == would
    assert runs_below(root) == expected == before - {f"{p.parts[-2]}/{p.name}" for p in would}
    assert (root / "index.html").read_text().count("<tr data-status") == len(expected)
    assert not list(root.glob("*/.*"))
    assert all(link.exists() for link in root.glob("*/latest"))
    assert prune(root, keep=keep, older_than=older) == []


def test_prune_takes_abandoned_runs_and_leaves_living_and_foreign_things(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")

    def partial(name: str, started: str) -> Path:
        place = tmp_path / "a" / f".{name}.partial"
        place.mkdir(parents=True)
        (place / "run.json").write_text(json.dumps({"status": "running", "started": started}))
        (place / ".lock").touch()
        return place

    add(tmp_path, "a", "r1", started=begun(9))
    bad = add(tmp_path, "a", "unreadable")
    (bad / "run.json").write_text("{")
    (tmp_path / "a" / "no-run").mkdir()
    living, dead = partial("living", begun(50)), partial("dead", begun(50))
    fresh = partial("fresh", begun(1))
    leftover = tmp_path / "a" / ".r0-12ab.removed"
    leftover.mkdir()
    with (living / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert prune(tmp_path, older_than=timedelta(days=10)) == [dead]
        assert not leftover.exists()
        assert prune(tmp_path, keep=1) == [fresh]
        assert living.exists()
    assert bad.exists()
    assert (tmp_path / "a" / "no-run").exists()
    assert runs_below(tmp_path) == {"a/r1", "a/unreadable"}
