"""The sample documents: what they hold, what is wrong with them, and the server they are on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.session import Session

from workbench.demo import documents, documents_server
from workbench.errors import ConnectionFailed


@pytest.fixture(scope="module")
def items() -> dict[str, list[dict[str, Any]]]:
    return documents.items()


def test_the_items_are_dirty_as_said(items: dict[str, list[dict[str, Any]]]) -> None:
    kinds = iter(documents.DIRT)
    found = items["documents"]
    names = [item["document_id"]["S"].strip() for item in found]
    files = items["metadata"]
    seen = {
        next(kinds): sum("S" in item.get("amount", {}) for item in found),
        next(kinds): sum(
            len(item.get("amount", {}).get("N", "").partition(".")[2]) > 2 for item in found
        ),
        next(kinds): sum(item["requested_at"]["S"][2] == "." for item in found),
        next(kinds): sum("case_number" not in item for item in found),
        next(kinds): sum("N" in item["status"] for item in found),
        next(kinds): sum(times - 1 for times in Counter(names).values()),
        next(kinds): sum("\0" in item["customer"]["M"]["name"]["S"] for item in found),
        next(kinds): sum(item["pages"]["N"] == "0.5" for item in files),
        next(kinds): sum("legacy_ref" in item for item in found),
        next(kinds): sum("vat_id" in item["customer"]["M"] for item in found),
        next(kinds): sum("ocr" in item for item in files),
    }
    assert seen == documents.DIRT


def test_the_same_items_are_made_each_time(items: dict[str, list[dict[str, Any]]]) -> None:
    assert documents.items() == items
    assert sum(map(len, items.values())) == 7419


@pytest.mark.parametrize("rows", [10, 300, 700])
def test_small_samples_have_rows_in_every_table(rows: int) -> None:
    frames = documents.generate(rows)
    assert [*frames] == ["cases", "metadata", "templates", "audit", "loads", "rejected"]
    assert all(frame.height for frame in frames.values())
    for name, frame in frames.items():
        assert frame.columns == documents.METADATA.tables[f"documents.{name}"].columns.keys()


def test_the_warehouse_is_some_days_behind(items: dict[str, list[dict[str, Any]]]) -> None:
    cases = documents.generate()["cases"]
    then, now = set(cases["document_id"]), {i["document_id"]["S"] for i in items["documents"]}
    assert len(now - then) > 100
    assert len(then - now) > 100
    assert len(now & then) > 2000
    assert cases["requested_at"].max() <= documents.LOADED


PARENT = """
import json, sys
from workbench.demo import documents_server
options = documents_server.options()
assert documents_server.options() == options
print(json.dumps(options), flush=True)
sys.stdin.read()
"""


def test_a_process_has_one_server_of_its_items_that_ends_with_it(
    items: dict[str, list[dict[str, Any]]],
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    client = Session().create_client("dynamodb", **json.loads(parent.stdout.readline()))
    for table, put in items.items():
        pages = client.get_paginator("scan").paginate(TableName=table)
        found = [item for page in pages for item in page["Items"]]
        # Sets have no order.
        both = [
            sorted(json.dumps({n: {k: sorted(v) if k == "SS" else v for k, v in c.items()}
                               for n, c in item.items()}, default=bytes.hex, sort_keys=True)
                   for item in some) for some in (found, put)
        ]  # fmt: skip
        assert both[0] == both[1]
    client.close()
    [server] = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()


SCAN = "from workbench import documents; print(documents.scan('demo').counts['items'].sum())"


def test_the_samples_are_read_whatever_is_configured_for_aws(project: Path) -> None:
    around = {
        "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9",
        "AWS_PROFILE": "acme", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_CONFIG_FILE": "broken", "AWS_USE_FIPS_ENDPOINT": "true",
    }  # fmt: skip
    (project / "broken").write_text("no section\n")
    done = subprocess.run(
        [sys.executable, "-c", SCAN], env=os.environ | around, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "7419\n"), done.stderr[-500:]


def test_a_server_that_does_not_start_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'first line' >&2\necho 'no room left' >&2\nexit 3\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ConnectionFailed, match="did not start: no room left"):
        documents_server._start(10)


def test_without_moto_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    with pytest.raises(ConnectionFailed, match="need moto, which is not installed") as caught:
        documents_server.options()
    assert "workbench[samples]" in str(caught.value)
