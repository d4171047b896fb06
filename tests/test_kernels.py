"""Kernels forked from the forkserver do what ordinary ones do, only sooner."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import AsyncKernelManager, KernelManager

from workbench.redaction import SECRETS_FD
from workbench.running import kernels
from workbench.running.forkserver import GRACE, LAST

LIMIT = 60  # seconds until anything counts as hanging
LOG = logging.getLogger("tests.kernels")
QUIET = ["--log-level=CRITICAL"]
WARM, ORDINARY = "workbench", "python3"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@pytest.fixture(scope="module", autouse=True)
def forkserver() -> Iterator[None]:
    """A forkserver with everything imported: this process's, unless it has fewer modules."""
    before = kernels._server
    if before and set(kernels.VALIDATING) <= set(before.process.args):  # type: ignore[arg-type]
        yield
        return
    kernels._server = None
    kernels.warm()
    yield
    assert kernels._server
    kernels._server.stop()
    kernels._server = before


@contextmanager
def kernel(
    name: str = WARM, extra_arguments: list[str] = QUIET, **how: Any
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager(kernel_name=name, log=LOG)
    if "jupyter_server" in sys.modules:  # some other test's doing
        eventually(lambda: kernels._server is None or kernels._server.answers())
    manager.start_kernel(extra_arguments=extra_arguments, **how)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def is_forked(manager: KernelManager) -> bool:
    return isinstance(manager.provisioner.process, kernels._Forked)  # type: ignore[union-attr]


def ask(client: BlockingKernelClient, code: str) -> str:
    """Run a cell; returns what it printed."""
    messages: list[dict[str, Any]] = []
    reply = client.execute_interactive(code, timeout=LIMIT, output_hook=messages.append)
    assert reply["content"]["status"] == "ok", reply
    return printed(messages)


def printed(messages: list[dict[str, Any]]) -> str:
    return "".join(message["content"].get("text", "") for message in messages).strip()


def eventually(holds: Callable[[], bool], limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what is forked


PROBE = """
import sys
events = {}
def note(event, args):
    if event in ("open", "socket.connect", "subprocess.Popen", "os.fork", "os.posix_spawn"):
        events.setdefault(event, []).append(str(args[0]) if args else "")
sys.addaudithook(note)
"""
VERDICT = """
import json, os, sys, threading, boto3, sitecustomize
events = dict(sitecustomize.events)
opened = events.pop("open")
tasks = os.listdir("/proc/self/task")
fds = [os.readlink(fd) for fd in map("/proc/self/fd/{}".format, range(100)) if os.path.lexists(fd)]
json.dump({
    "opened": opened,
    "events": events,
    "threads": [thread.name for thread in threading.enumerate()],
    "tasks": [open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks],
    "fds": fds,
    "boto3": boto3.DEFAULT_SESSION is None,
    "modules": list(sys.modules),
}, open(os.environ["VERDICT"], "w"))
"""


def test_nothing_but_modules_is_there_before_the_fork(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PROBE)
    (tmp_path / "verdict.py").write_text(VERDICT)
    (tmp_path / "broken.py").write_text("raise SystemExit('a module that will not be imported')")
    (tmp_path / ".aws").mkdir()
    os.mkfifo(tmp_path / ".aws" / "credentials")  # who reads this waits for ever
    verdict = tmp_path / "verdict.json"
    ours = ("broken.", "verdict.")
    modules = ["broken", "no.such.module", *kernels.PRELOAD, "verdict"]
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from workbench.running import kernels; kernels.VALIDATING += ('verdict',); "
            f"kernels.warm({modules!r}); c = kernels._server.channel; c.recv(5); c.recv(5)",
        ],
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "VERDICT": str(verdict),
            "AWS_PROFILE": "nobody",
        },
        timeout=LIMIT,
        check=True,
    )
    seen = json.loads(verdict.read_text())
    missing = set(kernels.PRELOAD) - set(seen["modules"])
    assert missing <= {"workbench.charts", "workbench.cli"}
    assert "workbench.charts" not in seen["modules"]  # which would give every chart our theme
    assert seen["threads"] == ["MainThread"]
    # OpenBLAS's workers bear the program's name; the others are Arrow's and polars' housekeepers.
    program = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert set(seen["tasks"]) <= {program, "python", "jemalloc_bg_thd", "polars-ooc-clea"}
    assert seen["boto3"]
    assert seen["events"].pop("os.fork") == [""]  # the forkserver that validates, by the other
    assert seen["events"] in ({}, {"subprocess.Popen": ["uname"]})
    # Its channel to the host; and what was opened are modules and their data, nobody's settings.
    assert [fd for fd in seen["fds"] if fd != "/dev/null"] == [
        fd for fd in seen["fds"] if fd.startswith("socket:")
    ]
    assert sum(fd.startswith("socket:") for fd in seen["fds"]) == 1
    places = (
        *(sys.prefix, sys.base_prefix, str(Path(kernels.__file__).parents[1]), "/proc/", "/sys/"),
        *("/usr/share/zoneinfo", "/etc/mime.types", "/dev/null", str(verdict)),
        *(str(tmp_path / folder / name) for folder in ("", "__pycache__") for name in ours),
    )
    others = {path for path in seen["opened"] if not path.startswith(places)}
    assert others <= {str(number) for number in range(20)}  # descriptors that were open already


# Enough rows to make every library use its threads.
WORK = """
import hashlib, io, tempfile, pathlib
import altair, duckdb, great_tables, numpy, pandas, polars, pyarrow, pyarrow.compute
import pyarrow.parquet, sqlalchemy, vl_convert
n = 200_000
keys, values = numpy.arange(n) % 97, (numpy.arange(n) * 7919) % 10_007
matrix = (values[:160_000] % 11).reshape(400, 400).astype(float)
results = [int((matrix @ matrix).sum())]
results.append(pandas.DataFrame({"k": keys, "v": values}).groupby("k").v.sum().tolist())
frame = polars.DataFrame({"k": keys, "v": values})
grouped = frame.group_by("k").agg(polars.col("v").sum().alias("total")).sort("k")
results.append(frame.join(grouped, on="k").select(polars.col("total").sum()).item())
results.append(frame.lazy().group_by("k").len().sort("k").collect(engine="streaming").rows())
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "frame.parquet"
    frame.write_parquet(file)
    results.append(polars.read_parquet(file)["v"].sum())
    results.append(polars.scan_parquet(file).filter(polars.col("k") == 5).collect().height)
    table = frame.to_arrow()
    pyarrow.parquet.write_table(table, file)
    read = pyarrow.parquet.read_table(file)
results.append(pyarrow.compute.sum(read["v"]).as_py())
results.append(read.group_by("k").aggregate([("v", "sum")]).sort_by("k")["v_sum"].to_pylist())
with duckdb.connect(config={"threads": 4}) as connection:
    connection.register("feed", read)
    rows = connection.execute("SELECT k, sum(v) FROM feed GROUP BY 1 ORDER BY 1").fetchall()
    results.append(rows)
engine = sqlalchemy.create_engine("sqlite://")
with engine.connect() as connection:
    results.append(connection.execute(sqlalchemy.text("SELECT 6 * 7")).scalar())
engine.dispose()
gt = great_tables.GT(grouped.head(3).with_columns(polars.col("total").cast(polars.Int64)))
results.append(gt.as_raw_html().count("<td"))
chart = altair.Chart(altair.Data(values=[{"x": 1, "y": 2}, {"x": 3, "y": 5}])).mark_line()
chart = chart.encode(x="x:Q", y="y:Q")
if draw:
    results.append(vl_convert.vegalite_to_svg(chart.to_json()))
print(hashlib.sha256(repr([str(result) for result in results]).encode()).hexdigest())
"""


def test_many_kernels_work_hard_after_the_fork() -> None:
    # Drawing takes a second: one of the four does it.
    cells = [f"draw = {number == 0}\n{WORK}" for number in range(4)]
    with kernel(ORDINARY) as (_, client):
        drawn, undrawn = (ask(client, cell) for cell in cells[:2])
    expected = [drawn, undrawn, undrawn, undrawn]

    async def work(cell: str) -> str:
        messages: list[dict[str, Any]] = []
        manager = AsyncKernelManager(kernel_name=WARM, log=LOG)
        await manager.start_kernel(extra_arguments=QUIET)
        client = manager.client()
        client.start_channels()
        try:
            assert is_forked(manager)
            await client.wait_for_ready(timeout=LIMIT)
            hook = messages.append
            await client.execute_interactive(cell, timeout=LIMIT, output_hook=hook)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel(now=True)
        return printed(messages)

    with ThreadPoolExecutor(4) as four:
        assert list(four.map(lambda cell: asyncio.run(work(cell)), cells)) == expected


# --- life and death


def test_a_kernel_is_interrupted() -> None:
    with kernel() as (manager, client):
        # Otherwise what is asked in the moment after its end is refused.
        client.execute("print('begun')\nwhile True: pass", stop_on_error=False)
        while client.get_iopub_msg(timeout=LIMIT)["msg_type"] != "stream":
            pass
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=LIMIT)["content"]["ename"] == "KeyboardInterrupt"
        assert ask(client, "print('still here')") == "still here"


def test_a_restarted_kernel_knows_nothing() -> None:
    with kernel() as (manager, client):
        ask(client, "x = 1")
        before = manager.provisioner.pid  # type: ignore[union-attr]
        manager.restart_kernel()
        client.wait_for_ready(timeout=LIMIT)
        assert is_forked(manager)
        assert manager.provisioner.pid != before  # type: ignore[union-attr]
        assert ask(client, "print('x' in globals())") == "False"


def test_a_killed_kernel_is_told_from_an_ended_one() -> None:
    for cell, code in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os._exit(3)", 3),
    ):
        with kernel() as (manager, client):
            process = manager.provisioner.process  # type: ignore[union-attr]
            assert process.poll() is None
            client.execute(cell)
            eventually(lambda process=process: process.poll() is not None)
            assert process.poll() == process.wait() == code
            assert not manager.is_alive()


def test_a_kernel_that_is_shut_down_leaves_nothing(tmp_path: Path) -> None:
    file, goodbye = tmp_path / "kernel.json", tmp_path / "goodbye"
    manager = KernelManager(kernel_name=WARM, connection_file=str(file), log=LOG)
    manager.start_kernel(extra_arguments=QUIET)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=LIMIT)
    assert file.exists()
    pid = manager.provisioner.pid  # type: ignore[union-attr]
    assert os.getpgid(pid) == os.getsid(pid) == pid
    ask(
        client,
        f"""
        import atexit, pathlib, threading, time
        path = pathlib.Path({str(goodbye)!r})
        atexit.register(lambda: path.write_text(path.read_text() + "atexit"))
        def last(main=threading.main_thread()):
            main.join()
            path.write_text("thread, ")
        threading.Thread(target=last).start()
        """,
    )
    client.stop_channels()
    manager.shutdown_kernel()
    assert is_gone(pid)
    assert not file.exists()
    assert goodbye.read_text() == "thread, atexit"


HOST = """
import json, sys, tempfile, time
from pathlib import Path
from jupyter_client.manager import KernelManager
from workbench.running import kernels

kernels.warm(())
pids, managers = [kernels._server.process.pid if kernels._server else 0], []
for cell in sys.argv[3:]:
    folder = Path(tempfile.mkdtemp(prefix="workbench-", dir=sys.argv[1]))
    manager = KernelManager(
        kernel_name="workbench", connection_file=str(folder / "connection.json"),
        transport="ipc", ip=str(folder / "kernel"),
    )
    manager.start_kernel(extra_arguments=["--log-level=CRITICAL"])
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.execute("import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)")
    while (message := client.get_iopub_msg(timeout=60))["msg_type"] != "stream":
        pass
    pids += [manager.provisioner.pid, int(message["content"]["text"])]
    begun = Path(sys.argv[2]) / folder.name
    client.execute(f"import pathlib; pathlib.Path({str(begun)!r}).touch()\\n{cell}")
    while not begun.exists():
        time.sleep(0.02)
    managers.append(manager)
print(json.dumps(pids), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="short") as folder:
        yield Path(folder)


def test_kernels_do_not_outlive_a_killed_host(short: Path, tmp_path: Path) -> None:
    # The second one's C code never lets another thread of the kernel run.
    cells = ["while True: pass", "import ctypes; ctypes.PyDLL(None).sleep(1000)"]
    with subprocess.Popen(
        [sys.executable, "-c", HOST, str(short), str(tmp_path), *cells],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(short), "TMPDIR": str(short)},
    ) as host:
        assert host.stdout
        pids = json.loads(host.stdout.readline())
        assert not any(is_gone(pid) for pid in pids)
        assert len(list(short.glob("workbench-*/kernel-*"))) == 10
        host.kill()
    eventually(lambda: all(is_gone(pid) for pid in pids[1:3]), 4)
    eventually(lambda: len(list(short.iterdir())) == 1, 4)
    eventually(lambda: all(is_gone(pid) for pid in pids), GRACE + 5)


def test_a_host_may_end_without_its_kernels(short: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(short), str(tmp_path), "pass"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "TMPDIR": str(short)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    eventually(lambda: all(is_gone(pid) for pid in json.loads(done.stdout)), 4)
    eventually(lambda: not list(short.iterdir()), 4)


def test_a_dead_forkserver_takes_its_kernels_and_is_replaced_by_ordinary_ones(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "_server", None)
    monkeypatch.setattr(kernels, "_told", set())
    kernels.warm(())
    server = kernels._server
    assert server
    try:
        with kernel() as (manager, client):
            process = manager.provisioner.process  # type: ignore[union-attr]
            pid = manager.provisioner.pid  # type: ignore[union-attr]
            client.execute("while True: pass")
            server.process.kill()
            eventually(lambda: process.poll() is not None, 4)
            assert process.poll() == -signal.SIGKILL
            assert is_gone(pid)
            assert not manager.is_alive()
        for _ in range(2):
            with kernel() as (manager, client):
                assert not is_forked(manager)
                assert ask(client, "print(1)") == "1"
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len([record for record in warnings if "forkserver" in record.message]) == 1
    finally:
        server.stop()


def test_kernels_do_not_wait_for_what_their_notebook_does_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "slow")
    (tmp_path / "slow.py").write_text(f"open({str(tmp_path / 'slow')!r}).read()")
    (tmp_path / "deadly.py").write_text("import os; os._exit(1)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(kernels, "VALIDATING", ("slow", "deadly"))
    for late, loaded in ("slow", "True"), ("deadly", "False"):
        monkeypatch.setattr(kernels, "_server", None)
        kernels.warm([late])
        server = kernels._server
        assert server
        try:
            if late == "slow":
                with kernel(modules={"json"}) as (manager, client):
                    assert is_forked(manager)
                    assert not server.answers()
                    assert ask(client, "import sys; print('slow' in sys.modules)") == "False"
                (tmp_path / "slow").write_text("enough")
            eventually(server.answers)
            with kernel() as (manager, client):
                assert is_forked(manager)
                assert ask(client, f"import sys; print({late!r} in sys.modules)") == loaded
        finally:
            server.stop()


@pytest.mark.parametrize("end", ["hangs", "dies"])
def test_an_import_that_does_not_end_costs_no_kernel_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    os.mkfifo(tmp_path / "never")
    (tmp_path / "slow.py").write_text(f"open({str(tmp_path / 'never')!r}).read()")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(kernels, "VALIDATING", ("slow",))
    monkeypatch.setattr(kernels, "_server", None)
    kernels.warm(["slow"])
    server = kernels._server
    assert server
    try:
        with kernel(modules=()) as (working, client):
            [second] = [
                child.pid for child in psutil.Process(server.process.pid).children()
                if child.pid != working.provisioner.pid  # type: ignore[union-attr]
            ]  # fmt: skip
            if end == "hangs":
                monkeypatch.setattr(kernels, "START_LIMIT", 1)
                with kernel() as (manager, _):
                    assert not is_forked(manager)
            else:
                ours, theirs = socket.socketpair()
                with ours, theirs:
                    socket.send_fds(server.channel, [LAST], [theirs.fileno()])
                    theirs.close()
                    with kernel(modules=()):
                        pass  # asked for later, so that request waits unread by now
                    os.kill(second, signal.SIGKILL)
                    ours.settimeout(LIMIT)
                    assert ours.recv(1) == b""
            eventually(lambda: is_gone(second), 4)
            with kernel(modules=["slow"]) as (manager, _):
                assert is_forked(manager)
            assert ask(client, "print('alive')") == "alive"
    finally:
        server.stop()


def test_notebooks_are_looked_at_by_many_threads_at_once() -> None:
    cells = [{"cell_type": "code", "source": "import json\n" + "x = [f(y) for y in z]\n" * 300}]
    threshold, pause = gc.get_threshold(), lambda *_: time.sleep(0.0001)
    gc.set_threshold(50)
    gc.callbacks.append(pause)  # a collection lets another thread go on
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: kernels.needed_by({"cells": cells}), range(12)))
    finally:
        gc.callbacks.remove(pause)
        gc.set_threshold(*threshold)
    assert found == [{"json"}] * 12


def test_warm_kernels_are_switched_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(kernels.SWITCH, "False")
    monkeypatch.setattr(kernels, "_told", set())
    monkeypatch.setattr(kernels, "_server", None)
    kernels.warm()
    assert kernels._server is None
    with kernel() as (manager, client):
        assert not is_forked(manager)
        assert ask(client, "print(1)") == "1"
    assert f"without the forkserver: {kernels.SWITCH} is off" in caplog.text


# --- as ordinary kernels do


@pytest.mark.parametrize("name", [WARM, ORDINARY])
def test_what_popen_is_given_is_honoured(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_THE_HOST", "1")
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "beside.py").write_text("here = 'beside the notebook'")
    (tmp_path / "startup.py").write_text("started = 'by an argument'")
    env = {key: os.environ[key] for key in os.environ if key in {"PATH", "HOME"}}
    env |= {key: value for key, value in os.environ.items() if key.startswith("PYTHON")}
    extra = [
        "--log-level=DEBUG",
        "--IPKernelApp.capture_fd_output=False",
        "--HistoryManager.hist_file=:memory:",
        f"--InteractiveShellApp.exec_files={tmp_path / 'startup.py'}",
    ]
    out, err = tmp_path / "out", tmp_path / "err"
    read, write = os.pipe()
    with (
        out.open("w") as stdout,
        err.open("w") as stderr,
        kernel(
            name,
            stdin=subprocess.DEVNULL,
            stdout=stdout.fileno(),
            stderr=stderr,
            env={**env, "MARK": "é\udcff", SECRETS_FD: str(write), "TZ": "Asia/Tokyo"},
            cwd=str(folder),
            pass_fds=(write,),
            extra_arguments=extra,
        ) as (manager, client),
    ):
        assert is_forked(manager) == (name == WARM)
        os.close(write)
        told = ask(
            client,
            f"""
            import beside, json, os, random, sys, time
            os.write(1, b"to the output")
            os.write(int(os.environ["{SECRETS_FD}"]), b"a secret")
            print(json.dumps([
                os.environ["MARK"], "ONLY_THE_HOST" in os.environ, os.environ["JPY_PARENT_PID"],
                os.getcwd(), beside.here, started, sys.stdin.read() if 0 else "", time.tzname[0],
                sys.argv, sys.path, sys.flags.safe_path, list(vars(sys.modules["__main__"]))[:3],
                os.read(0, 1).decode(), __name__, "__file__" in globals(),
            ]))
            os.system("ls -l /proc/self/fd > fds; true")
            """,
        )
        found = json.loads(told)
        assert os.read(read, 100) == b"a secret"
        if name == WARM:  # a command that a cell starts does not keep the pipe open
            assert str(os.fstat(read).st_ino) not in (folder / "fds").read_text()
    assert os.read(read, 100) == b""
    os.close(read)
    assert out.read_text() == "to the output"
    assert "Starting the kernel at pid" in err.read_text()
    launcher = str(Path(sys.modules["ipykernel"].__file__ or "").parents[1])
    assert found[:8] == [
        "é\udcff",
        False,
        str(os.getpid()),
        str(folder),
        "beside the notebook",
        "by an argument",
        "",
        "JST",
    ]
    argv, path, *rest = found[8:]
    assert argv[:2] == [f"{launcher}/ipykernel_launcher.py", "-f"]
    assert argv[3:] == [*manager.kernel_spec.argv[5:], *extra]
    assert "" in path
    assert str(Path(kernels.__file__).parents[2]) in path
    assert rest == [False, ["__name__", "__doc__", "__package__"], "", "__main__", False]
    assert len(path) == len(set(path))


def test_forked_kernels_do_not_share_their_random_numbers() -> None:
    draw = "import numpy, random, uuid; print(numpy.random.rand(), random.random(), uuid.uuid4())"
    with kernel() as (_, one), kernel() as (_, two):
        first, second = ask(one, draw).split(), ask(two, draw).split()
    assert not set(first) & set(second)


def test_a_cell_may_use_multiprocessing(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(number): return 2 * number")
    with kernel(cwd=str(tmp_path)) as (_, client):
        for method in "fork", "spawn", "forkserver":
            told = ask(
                client,
                f"""
                import beside, multiprocessing
                with multiprocessing.get_context({method!r}).Pool(2) as pool:
                    print(multiprocessing.current_process().name, pool.map(beside.double, [1, 2]))
                """,
            )
            assert told == "MainProcess [2, 4]"


def test_no_output_is_lost_on_a_slow_reader() -> None:
    with kernel() as (_, client):
        request = client.execute(
            """
            kernel, content = get_ipython().kernel, {"data": {}, "metadata": {}}
            for _ in range(4_000):
                kernel.send_response(kernel.iopub_socket, "display_data", content)
            """
        )
        assert client.get_shell_msg(timeout=LIMIT)["content"]["status"] == "ok"
        shown, state = 0, ""
        while state != "idle":
            message = client.get_iopub_msg(timeout=LIMIT)
            if message["parent_header"].get("msg_id") == request:
                shown += message["msg_type"] == "display_data"
                state = message["content"].get("execution_state", "")
    assert shown == 4_000


def test_what_only_popen_can_do_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    with kernel(env={**os.environ, "PYTHONPATH": "/elsewhere"}) as (manager, client):
        assert not is_forked(manager)
        assert ask(client, "import sys; print('/elsewhere' in sys.path)") == "True"
    with kernel(stdout=subprocess.PIPE) as (manager, _):
        assert not is_forked(manager)
    with pytest.raises(FileNotFoundError), kernel(cwd="/no/such/folder"):
        pass


# --- from the outside


def notebook(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def test_plain_papermill_uses_the_kernel_and_leaves_nothing_behind(tmp_path: Path) -> None:
    nbformat.write(
        notebook("import os; print(os.environ['JPY_PARENT_PID'])"), tmp_path / "in.ipynb"
    )
    runtime = tmp_path / "runtime"
    started = time.time()
    done = subprocess.run(
        [Path(sys.executable).parent / "papermill", "-k", WARM, "in.ipynb", "out.ipynb"],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stderr
    assert "without the forkserver" not in done.stderr
    [cell] = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert cell.outputs[0].text.strip().isdigit()
    names = [path.name for path in tmp_path.rglob("*") if path != runtime]
    assert sorted(names) == ["in.ipynb", "out.ipynb"]
    mine = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline", "create_time", "cwd"])
        if process.info["create_time"] >= started and process.info["cwd"] == str(tmp_path)
    ]
    assert mine == []


def test_the_kernel_stands_in_for_this_pythons_own() -> None:
    assert kernels.kernel_name(ORDINARY) == WARM
    assert kernels.kernel_name(WARM) == WARM
    assert kernels.kernel_name("no-such-kernel") == "no-such-kernel"
    assert kernels.kernel_name("not a name/at all") == "not a name/at all"


def test_imports_are_found_where_cells_have_magics() -> None:
    cells = (
        "import polars as pl, os.path\nfrom email.mime import text",
        "%matplotlib inline\n!ls\nif True:\n    !ls\n    import duckdb",
        "%%bash\nimport nothing at all",
        "from . import sibling\nprint(5\n % 3)\nimport numpy",
        "x = = 1",
    )
    found = kernels.needed_by(notebook(*cells))
    assert found == {"polars", "os.path", "email.mime", "duckdb", "numpy"}


def test_the_grammar_that_is_put_off_is_there_when_it_is_asked_for() -> None:
    code = """
        import sys
        from workbench import grammar
        grammar.put_off()
        import jsonschema
        assert "lark" not in sys.modules
        checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
        assert checker.conforms("http://example.org/\u00e4", "iri")
        assert not checker.conforms("no iri", "iri")
        import rfc3987_syntax
        assert "lark" in sys.modules and rfc3987_syntax.__file__
        assert rfc3987_syntax.is_valid_syntax("iri", "http://example.org/")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
