"""Plans: checked as a whole, run in parallel, here and on a Dask cluster."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from commands import command
from conftest import BIN, Command

from notebooks import make_notebook, only_run, runs_in
from workbench.errors import UsageError
from workbench.running import batch
from workbench.running.plans import read_plan

RUNS = 8
RECORDS = "import os\nimport workbench as wb\nwb.record('n', x)\nwb.record('pid', os.getpid())"


def write_plan(folder: Path, plan: object) -> str:
    # These notebooks use no library; with all of them imported first, each plan takes 5 s longer.
    (folder / "workbench.toml").write_text('[kernels]\npreload = ["workbench.records"]\n')
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return "plan.yaml"


def test_a_plan_with_defaults_matrix_and_names(project: Path) -> None:
    make_notebook(project / "a.ipynb", RECORDS, parameters="x: int = 1\nsource: str = 'demo'")
    make_notebook(project / "b.ipynb", "print(z)", parameters="z: str | None = 'usual'")
    plan = {
        "defaults": {"source": "other", "parameters": {"x": 7}, "timeout": 60},
        "runs": [
            {"notebook": "a.ipynb"},
            {"notebook": "a.ipynb", "name": "of two", "matrix": {"x": [2, 3], "source": ["p/q"]}},
            {"notebook": "b.ipynb", "parameters": {"z": None}},
        ],
    }
    done = command("batch", write_plan(project, plan), "--json")
    assert done.returncode == 0, done.stderr
    runs = {run["name"]: run for run in json.loads(done.stdout)}
    assert {name: run["parameters"] for name, run in runs.items()} == {
        "a": {"x": 7, "source": "other"},
        "of two-x=2-source=p_q": {"x": 2, "source": "p/q"},
        "of two-x=3-source=p_q": {"x": 3, "source": "p/q"},
        "b": {"z": None},
    }
    assert "4 of 4 runs are good" in done.stderr
    # A figure is compared with the last run of the same name, matrix values included.
    done = command("batch", "plan.yaml", "--only", "of two")
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs are good" in done.stdout
    last = project / "reports" / "of two-x=3-source=p_q" / "latest"
    figure = json.loads((last / "run.json").read_text())["figures"][0]
    assert (figure["value"], figure["previous"]) == (3, 3)
    assert len(runs_in(project / "reports" / "a")) == 1


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (None, "has no runs"),
        ({"runs": []}, "has no runs"),
        ({"runs": "a"}, "has no runs"),
        ({"run": [{"notebook": "a.ipynb"}]}, "Did you mean 'runs'?"),
        ({"runs": ["a"]}, "run 1: `entry` holds no `name: value` lines"),
        ({"runs": [{"name": "a"}]}, "run 1: `notebook:` is missing"),
        ({"runs": [{"notebook": "c"}, {"notebook": "a.ipynb", "timeout": -1}]},
         "run 2: `timeout: -1` is no positive number"),
        ({"runs": [{"notebook": "c"}]}, "run 1: Unknown notebook 'c'"),
        ({"runs": [{"notebook": "a.ipynb", "parameters": {"y": 1}}]}, "Unknown parameter 'y'"),
        ({"runs": [{"notebook": "a.ipynb", "parameters": {"x": "text"}}]}, "expects int"),
        ({"runs": [{"notebook": "a.ipynb", "matrix": {"x": 1}}]}, "takes a list of values"),
        ({"runs": [{"notebook": "a.ipynb", "matrix": {"x": []}}]}, "takes a list of values"),
        ({"runs": [{"notebook": "a.ipynb"}] * 2}, "two runs are called 'a'"),
        ({"runs": [{"notebook": "a.ipynb", "matriks": {}}]}, "Did you mean 'matrix'?"),
        ({"defaults": {"sources": "x"}, "runs": [{"notebook": "a.ipynb"}]}, "'source'"),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_told(project: Path, plan: object, says: str) -> None:
    make_notebook(project / "a.ipynb", "1")
    with pytest.raises(UsageError, match=re.escape(says)):
        read_plan(Path(write_plan(project, plan)))


def test_everything_wrong_is_listed(project: Path) -> None:
    make_notebook(project / "a.ipynb", "1")
    entries = [{"notebook": "a.ipynb"}, {"notebook": "b"}, {"notebook": "a.ipynb", "name": 3,
               "parameters": {"x": "t"}}]  # fmt: skip
    write_plan(project, {"runs": entries})
    done = command("batch", "plan.yaml", "--only", "c")
    assert done.returncode == 2
    for problem in ("run 2: Unknown notebook 'b'", "run 3: Parameter x", "no run is called 'c'"):
        assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "reports").exists()
    assert command("batch", "missing.yaml").returncode == 2


def test_long_names_are_cut_and_stay_apart(project: Path) -> None:
    make_notebook(project / "a.ipynb", "x", parameters="x: str = ''")
    values = ["長" * 120 + end for end in "ab"]
    write_plan(project, {"runs": [{"notebook": "a.ipynb", "matrix": {"x": values}}]})
    first, second = (spec.name for spec in read_plan(Path("plan.yaml")))
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= 200


def test_two_plans_at_once_into_one_root(project: Path) -> None:
    make_notebook(project / "a.ipynb", RECORDS)
    write_plan(project, {"runs": [{"notebook": "a.ipynb", "matrix": {"x": [1, 2]}}]})
    words = [BIN / "workbench", "batch", "plan.yaml", "--quiet"]
    both = [
        subprocess.Popen(words, cwd=project, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate(timeout=120) == (None, b"")
        assert process.returncode == 0
    index = (project / "reports" / "index.html").read_text(encoding="utf-8")
    for n in (1, 2):
        runs = runs_in(project / "reports" / f"a-x={n}")
        assert len(runs) == 2
        assert all(run.name in index for run in runs)


def test_many_runs_keep_within_their_bounds(project: Path) -> None:
    make_notebook(project / "a.ipynb", RECORDS + "\nballast = bytearray(50_000_000)")
    plan = {"runs": [{"notebook": "a.ipynb", "matrix": {"x": list(range(RUNS))}}]}
    words = [BIN / "workbench", "batch", write_plan(project, plan), "--jobs", "2", "--quiet"]
    process = subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, text=True)
    runner = psutil.Process(process.pid)
    most_kernels, runner_sizes = 0, []
    while True:
        try:
            process.wait(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            pass
        try:
            runner_sizes.append(runner.memory_info().rss)
            children = runner.children(recursive=True)
        except psutil.NoSuchProcess:
            break
        # The forkserver is one of them; its own children are the kernels.
        most_kernels = max(most_kernels, len(children) - 1)
    stdout, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert f"{RUNS} of {RUNS} runs are good" in stdout
    assert 1 <= most_kernels <= 3  # one may be ending while the next begins
    # What one run leaves behind would show many times.
    half = runner_sizes[len(runner_sizes) // 2]
    assert max(runner_sizes) < half + 50_000_000
    pids = set()
    for n in range(RUNS):
        run, _, _ = only_run(project / "reports" / f"a-x={n}")
        assert run["figures"][0]["value"] == n
        pids.add(run["figures"][1]["value"])
    assert len(pids) == RUNS


CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
                      dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def cluster(project: Path) -> object:
    """A Dask cluster of two worker processes, in processes of its own."""
    (project / "cluster.py").write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, "cluster.py"], cwd=project, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout
    yield process.stdout.readline().strip()
    process.communicate("", timeout=60)


def test_a_plan_on_a_dask_cluster(project: Path, workbench: Command, cluster: str) -> None:
    make_notebook(project / "a.ipynb", RECORDS)
    make_notebook(project / "fails.ipynb", "1 / 0")
    runs = [{"notebook": "a.ipynb", "matrix": {"x": [1, 2, 3]}}, {"notebook": "fails.ipynb"}]
    write_plan(project, {"runs": runs})
    done = workbench("batch", "plan.yaml", "--scheduler", cluster, "--quiet", cwd=project)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "3 of 4 runs are good" in done.stdout
    for n in (1, 2, 3):
        run, report, _ = only_run(project / "reports" / f"a-x={n}")
        assert (run["status"], run["figures"][0]["value"]) == ("passed", n)
        assert "Passed" in report
    assert only_run(project / "reports" / "fails")[0]["error"]["name"] == "ZeroDivisionError"
    assert not list((project / "reports").glob(".cancel*"))
    # Cancelled before the first run has made the folder.
    [spec] = read_plan(project / "plan.yaml", only=["fails"], output=project / "new")
    with batch._executor(1, cluster, [spec]) as (start, cancel):
        cancel()
        result, _ = start(spec).result(timeout=60)
    assert result.status == "cancelled"
    assert not list((project / "new").glob(".cancel*"))


def test_no_cluster_there(project: Path) -> None:
    make_notebook(project / "a.ipynb", "1")
    write_plan(project, {"runs": [{"notebook": "a.ipynb"}]})
    addresses = ("tcp://127.0.0.1:9", "nonsense")
    # Most of the time they wait for an answer: both at once.
    asking = [
        subprocess.Popen(
            [BIN / "workbench", "batch", "plan.yaml", "--scheduler", address],
            cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for address in addresses
    ]  # fmt: skip
    for address, process in zip(addresses, asking, strict=True):
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 1, stderr
        assert f"No Dask scheduler answers at {address}" in stderr
        assert "Traceback" not in stderr
