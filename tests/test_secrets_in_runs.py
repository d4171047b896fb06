"""A secret that only the kernel knows never leaves it: the command line, with moto's AWS."""

from __future__ import annotations

import base64
import html
import json
import secrets
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from commands import command
from conftest import Command
from moto.server import ThreadedMotoServer

from notebooks import make_notebook, only_run, runs_in

RESOLVE = """
from workbench.credentials import resolve
value = resolve("secretsmanager:runs/warehouse").password.get_secret_value()
"""
SAVE = """
import polars as pl, workbench as wb
wb.save(pl.DataFrame({"a": [value]}), "held", ["csv", "parquet", "xlsx"])
wb.save(pl.DataFrame({"a": [1]}), "clean", ["csv"])
"""
LEAKS = """
import base64, html, json, urllib.parse
from IPython.display import HTML, display
print(value)
print(value[:5], end="", flush=True); print(value[5:])
display(HTML(f"<p title='{html.escape(value)}'>x</p>"), metadata={"a": value})
display({"text/plain": value, "application/json": {"a": [value]}}, raw=True)
print(base64.b64encode(b"ab" + value.encode()), urllib.parse.quote(value), repr(value))
import workbench as wb
wb.record(f"figure {value}", value); wb.warn(value); wb.verdict(value, False, message=value)
import os; os.write(2, value.encode())
!echo $value; exit 3
"""


@pytest.fixture(scope="module")
def aws() -> Iterator[dict[str, str]]:
    """Where moto's Secrets Manager listens, and the secret it keeps, as a hostile text."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    }  # fmt: skip
    value = f"{secrets.token_hex(4)}\"<&'\\%/{secrets.token_hex(4)}"
    boto3.client(
        "secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"], region_name="eu-central-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",  # noqa: S106
    ).create_secret(
        Name="runs/warehouse", SecretString=json.dumps({"username": "reader", "password": value})
    )  # fmt: skip
    yield {**environment, "value": value}
    server.stop()


def forms(value: str) -> set[str]:
    """The value as encoders write it; its two random halves alone would betray it, too."""
    packed = {
        base64.b64encode(b"x" * before + value.encode()).decode()[8:-8] for before in range(3)
    }
    escaped = {html.escape(value), json.dumps(value)[1:-1], urllib.parse.quote(value), repr(value)}
    return {value, value[:8], value[-8:], *packed, *escaped}


def assert_nowhere(folder: Path, value: str, *texts: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    for form in forms(value):
        assert not [path for path in files if form.encode() in path.read_bytes()]
        assert not [text for text in texts if form in text]


@pytest.mark.parametrize("last", ["1", "raise ValueError('no: ' + value)", "os._exit(1)"])
def test_a_run_holds_no_secret(
    project: Path, workbench: Command, aws: dict[str, str], last: str
) -> None:
    value = aws["value"]
    make_notebook(project / "leaks.ipynb", RESOLVE, LEAKS, last)
    environment = {name: text for name, text in aws.items() if name != "value"}
    words = ("run", "leaks.ipynb", "--log-format", "json")
    if last == "1":  # once as people start it
        done = workbench(*words, cwd=project, **environment)
    else:
        done = command(*words, **environment)
    expected = {"1": 3, "os._exit(1)": 5}.get(last, 1)
    assert done.returncode == expected, done.stderr
    run, report, _ = only_run(project / "reports" / "leaks")
    assert_nowhere(project / "reports", value, done.stdout, done.stderr)
    assert "[redacted]" in report
    assert run["figures"][0]["value"] == "[redacted]"


def test_data_files_with_a_secret_fail_the_run(project: Path, aws: dict[str, str]) -> None:
    make_notebook(project / "saves.ipynb", RESOLVE, SAVE)
    environment = {name: text for name, text in aws.items() if name != "value"}
    done = command("run", "saves.ipynb", "--quiet", **environment)
    assert done.returncode == 1
    removed = "data/held.csv, data/held.parquet, data/held.xlsx"
    assert f"{removed} held a secret value, so it was removed" in done.stderr
    run, report, _ = only_run(project / "reports" / "saves")
    assert run["status"] == "error"
    assert "held a secret value" in report
    [folder] = runs_in(project / "reports" / "saves")
    assert [path.name for path in (folder / "data").iterdir()] == ["clean.csv"]
    assert_nowhere(project / "reports", aws["value"], done.stdout, done.stderr)


def test_a_file_named_by_a_secret_fails_the_run(project: Path, aws: dict[str, str]) -> None:
    save = "import os\nopen(f\"{os.environ['WORKBENCH_RUN_DIR']}/data/{value[-8:]}.csv\", 'w')"
    named = RESOLVE + "from workbench.redaction import protect\nprotect(value[-8:])\n"
    make_notebook(project / "names.ipynb", named, save)
    environment = {name: text for name, text in aws.items() if name != "value"}
    done = command("run", "names.ipynb", **environment)
    assert done.returncode == 1
    [folder] = runs_in(project / "reports" / "names")
    assert list((folder / "data").iterdir()) == []
    assert aws["value"][-8:] not in done.stderr + str(list(project.rglob("*")))


def test_a_secret_printed_before_it_was_known_is_taken_out_by_the_runner(
    project: Path, aws: dict[str, str]
) -> None:
    value = aws["value"]
    make_notebook(project / "early.ipynb", "import os\nprint(os.environ['EARLY'])", RESOLVE)
    environment = {name: text for name, text in aws.items() if name != "value"}
    done = command("run", "early.ipynb", EARLY=value, **environment)
    assert done.returncode == 0, done.stderr
    assert "[redacted]" in only_run(project / "reports" / "early")[1]
    assert_nowhere(project / "reports", value, done.stdout, done.stderr)
