"""The sample documents in DynamoDB tables of moto's server: another process, over real HTTP.

That process runs this file. It reads the items as one line of JSON, puts them into moto's tables,
listens on a free port of 127.0.0.1, prints its number, and serves until its standard input ends.
The process that started it holds the other end, so that it goes with that process however that
ends.
"""

from __future__ import annotations

import atexit
import base64
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from workbench.errors import ConnectionFailed

REGION, ACCOUNT = "eu-central-1", "123456789012"  # moto's own account
KEYS = {
    "documents": {"document_id": "S"},
    "metadata": {"document_id": "S"},
    "templates": {"template_id": "S", "version": "N"},
    "audit": {"document_id": "S", "sequence": "N"},
}

_started: dict[int, tuple[subprocess.Popen[str], str]] = {}  # by the process that did
_lock = threading.Lock()


def options(rows: int = 20_000) -> dict[str, str]:
    """Return what leads a DynamoDB client to the samples; starts their server if need be.

    Raises ConnectionFailed where moto is missing or its server does not start.
    """
    if importlib.util.find_spec("moto") is None:
        raise ConnectionFailed(
            "The sample documents need moto, which is not installed.",
            "Install it with: pip install 'workbench[samples]'",
        )
    with _lock:
        # A fork has the number of its own, and must not take its parent's server for its own.
        server, port = _started.get(os.getpid(), (None, ""))
        if server is None or server.poll() is not None:
            server, port = _started[os.getpid()] = _start(rows)
            atexit.register(_end)
    return {
        "endpoint_url": f"http://127.0.0.1:{port}", "region_name": REGION,
        "aws_access_key_id": "testing", "aws_secret_access_key": "testing",
    }  # fmt: skip


def _start(rows: int) -> tuple[subprocess.Popen[str], str]:
    from workbench.demo.documents import items

    command = [sys.executable, "-I", __file__]
    # moto imports boto3, which would fail where its configuration does.
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    around = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115
    # A session of its own: Ctrl-C is for its parent, with whom it ends, and not before.
    server = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
        text=True, start_new_session=True, env=around | nothing,
    )  # fmt: skip
    assert server.stdin is not None  # noqa: S101
    assert server.stdout is not None  # noqa: S101
    with suppress(BrokenPipeError):
        # Made while the other process imports moto.
        server.stdin.write(json.dumps(items(rows), default=_text) + "\n")
        server.stdin.flush()
    port = server.stdout.readline().strip()
    with said:
        if port:
            return server, port
        with suppress(BrokenPipeError):
            server.communicate()
        said.seek(0)
        lines = said.read().splitlines()
        last = next(filter(None, reversed(lines)), f"it ended with {server.returncode}")
    raise ConnectionFailed(f"The server of the sample documents did not start: {last}.")


def _end() -> None:
    server, _ = _started.pop(os.getpid(), (None, ""))
    if server:
        server.communicate()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _serve() -> None:
    import logging

    from moto.dynamodb.models import dynamodb_backends
    from moto.dynamodb.models.dynamo_type import Item, LimitedSizeDict
    from moto.dynamodb.responses import DynamoHandler
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # moto copies each item that it answers with, adds up its size with each attribute, and looks
    # every value up in the service's model: 2 ms an item. Nobody changes these items, and what a
    # scan finds is DynamoDB's JSON already.
    model: Any = SimpleNamespace(item=Item, attributes=LimitedSizeDict, handler=DynamoHandler)
    scan = model.handler.scan
    model.item.__deepcopy__ = lambda item, memo: item
    model.attributes.__setitem__ = dict.__setitem__
    model.handler.scan = lambda handler: json.dumps(scan(handler).result, default=_text)

    backend = dynamodb_backends[ACCOUNT][REGION]
    for name, found in json.loads(sys.stdin.readline()).items():
        key = list(zip(KEYS[name].items(), ("HASH", "RANGE"), strict=False))
        table = backend.create_table(
            name=name,
            schema=[{"AttributeName": part, "KeyType": how} for (part, _), how in key],
            attr=[{"AttributeName": part, "AttributeType": kind} for (part, kind), _ in key],
            throughput=None, global_indexes=[], indexes=[], streams=None, sse_specification=None,
            billing_mode="PAY_PER_REQUEST", tags=[], deletion_protection_enabled=False,
            warm_throughput=None,
        )  # fmt: skip
        for item in found:
            table.put_item(item)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
