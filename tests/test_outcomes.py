"""However a run ends, its report exists and tells the truth: real faults, one plan of them all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import chdir
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
import pytest
import yaml
from commands import command
from conftest import BIN, Command
from nbclient.exceptions import CellTimeoutError

from notebooks import make_notebook, only_run, runs_in
from workbench.running.export import ReportExporter
from workbench.running.watch import Stopped

LATE = "print('late')"
STUBBORN = """
import time
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
HOSTILE = """
from IPython.display import HTML, Markdown, display
values = ["<script>alert(1)</script>", "<a href='javascript:alert(1)'>x</a>",
          "<img src=x onerror=alert(1)>", "\\x1b[31mred", "\\ud800", "\\u202egpj.exe"]
for value in values:
    print(value)
    display(HTML(f"<table><tr><td>{value}</td></tr></table>"), Markdown(value))
import workbench as wb
wb.record(values[0], values[2])
wb.verdict(values[1], True, message=values[5])
wb.warn(values[2])
raise ValueError(" ".join(values))
"""
# name: cells, options of its entry in the plan, status, what the report and run.json say
FAULTS: dict[str, tuple[list[str], dict[str, Any], str, str]] = {
    "raises": (["1 / 0", LATE], {}, "error", "division by zero"),
    "exits": (["import os; os._exit(1)", LATE], {}, "kernel-died", "with exit status 1"),
    "killed": (["import os; os.kill(os.getpid(), 9)", LATE], {}, "kernel-died", "by SIGKILL"),
    "segfault": (["import ctypes; ctypes.string_at(0)", LATE], {}, "kernel-died", "by SIGSEGV"),
    "loops": (["while True: pass", LATE], {"timeout": 1}, "timeout",
              "The notebook did not end within 1 s"),
    "stubborn": ([STUBBORN, LATE], {"cell_timeout": 0.5}, "timeout",
                 "Cell 3 did not end within 0.5 s"),
    "noisy": (["for _ in range(30): print('x' * 1_000_000)", LATE], {}, "passed", ""),
    "updates": (
        ["""h, kernel = display('first', display_id=True), get_ipython().kernel
update = {"metadata": {}, "transient": {"display_id": h.display_id}}
for n in range(4_001):  # faster than h.update, and soon beyond what sockets hold
    update["data"] = {"text/plain": f"update {n}" + 5_000 * " "}
    kernel.send_response(kernel.iopub_socket, "update_display_data", update)"""],
        {}, "passed", ""),
    "invalid": (
        ["display({'image/png': 'no picture', 'text/plain': 'seen'}, raw=True)\n"
         "display({'text/html': 7}, raw=True)\ndisplay({'application/json': None}, raw=True)\n"
         "display({'image/svg+xml': ['no', 'svg']}, raw=True)"], {}, "passed", ""),
    "hostile": ([HOSTILE, LATE], {}, "error", "alert(1)"),
    "shell": (["!false\n!true\nlines = !echo out; exit 3"], {}, "warned", "exit status 3"),
    "broken-promise": (
        ["import workbench as wb\nwb.verdict('prices are positive', False, message='2 are not')"],
        {}, "data-failed", "2 are not"),
    "doubtful": (
        ["import workbench as wb\nwb.verdict('fresh', False, severity='warning')"],
        {}, "warned", "fresh"),
    "ends-itself": (["import sys; sys.exit()", LATE], {}, "warned", "ended itself"),
    "hides-errors": (
        ["get_ipython().set_custom_exc((Exception,), lambda *given, **options: None)", "1 / 0"],
        {}, "error", "division by zero"),
    "beyond-measure": (
        ["import workbench as wb\nprint('x' * 10_000_100)\nwb.verdict('kept', False)"],
        {}, "data-failed", "kept"),
    "cleared": (
        ["import workbench as wb\nfrom IPython.display import clear_output\n"
         "wb.verdict('said', False); clear_output(wait=True); print('done')\n"
         "wb.verdict('too', False); clear_output(); print('done')"], {}, "data-failed", "too"),
    "captured": (
        ["%%capture\nimport workbench as wb\nwb.verdict('hidden', False)"],
        {}, "data-failed", "hidden"),
    "one-of-three": (
        ["import workbench as wb\nfor s in 'ABC': wb.verdict('rows', s != 'A', message=f'in {s}')"],
        {}, "data-failed", "in A"),
    "elsewhere": (
        ["import multiprocessing, workbench as wb\nwith multiprocessing.get_context('fork').Pool(1)"
         " as pool: pool.apply(wb.record, ('n', 1))"], {}, "error", "the notebook has started"),
    "tampers": (
        ["import os, shutil; shutil.rmtree(os.environ['WORKBENCH_RUN_DIR'])"], {}, "passed", ""),
    "says-nonsense": (
        ["print('lost')", "import os; os.write(int(os.environ['WORKBENCH_SECRETS_FD']), b'abc')"],
        {}, "error", "list of secrets is damaged"),
    "skips": (["#tag:skip-execution\n1 / 0"], {}, "passed", ""),
    "updates-later": (
        ["import time\nfor text in 'ab': print(text, flush=True); time.sleep(0.3)\n"
         "handle = display('first', display_id=True)\nimport workbench as wb; wb.record('n', 1)",
         "handle.update('second')"], {}, "passed", ""),
    "leaves-a-child": (
        ["import os, subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n"
         "open('child', 'w').write(str(child.pid)); os.kill(os.getpid(), 9)"],
        {}, "kernel-died", "by SIGKILL"),
    "expected": (["#tag:raises-exception\n1 / 0", "print('goes on')"], {}, "passed", ""),
}  # fmt: skip
EXIT_CODES = {"passed": 0, "warned": 0, "error": 1, "data-failed": 3, "timeout": 4,
              "kernel-died": 5}  # fmt: skip


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of one plan that holds every fault; a failing run never stops the others."""
    folder = tmp_path_factory.mktemp("faults of all kinds")
    for name, (cells, _, _, _) in FAULTS.items():
        make_notebook(folder / f"{name}.ipynb", *cells)
    entries = [{"notebook": f"{name}.ipynb", **fault[1]} for name, fault in FAULTS.items()]
    (folder / "plan.yaml").write_text(yaml.safe_dump({"runs": entries}))
    with chdir(folder):
        done = command("batch", "plan.yaml")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    for name, (_, _, status, _) in FAULTS.items():
        assert re.search(rf"^{name} +{status} ", done.stdout, re.MULTILINE), done.stdout
    return folder / "reports"


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_told(faults: Path, name: str) -> None:
    cells, _, status, says = FAULTS[name]
    run, report, notebook = only_run(faults / name)
    assert run["status"] == status
    told = json.dumps([run["error"], run["warnings"], run["validations"]], ensure_ascii=False)
    assert says in told
    assert says.split("<")[0] in report
    banner = re.search(r'<section class="banner', report)
    assert (banner is None) == (status == "passed")
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if LATE in cells and status != "passed":
        assert "not run" in report
        assert "late" not in json.dumps(codes[-1].outputs)
        assert codes[-1].metadata.papermill["status"] == "pending"
    if LATE in cells and status in ("error", "timeout", "kernel-died"):
        assert notebook.cells[run["error"]["cell"]].source == codes[1].source
        assert codes[1].metadata.papermill["status"] == "failed"
        # At the top: before the first cell's content.
        assert report.index('class="banner') < report.index('id="cell-')


def test_a_timeout_shows_where_the_cell_was(faults: Path) -> None:
    run, report, _ = only_run(faults / "loops")
    assert "KeyboardInterrupt" in run["error"]["traceback"]
    assert "while True" in report


def test_an_update_from_a_later_cell_meets_its_display(faults: Path) -> None:
    run, _, notebook = only_run(faults / "updates-later")
    assert [figure["name"] for figure in run["figures"]] == ["n"]
    stream, shown, _ = notebook.cells[2].outputs
    assert stream.text == "a\nb\n"
    assert "second" in shown.data["text/plain"]


def assert_gone(pid: int) -> None:
    """Killed is killed, also before init has taken notice of it."""
    try:
        psutil.wait_procs([psutil.Process(pid)], timeout=10)
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        pass


def test_children_of_a_dead_kernel_are_gone(faults: Path) -> None:
    assert_gone(int((faults.parent / "child").read_text()))


def test_nothing_is_kept_where_secrets_may_have_been_missed(faults: Path) -> None:
    run, report, notebook = only_run(faults / "says-nonsense")
    assert "lost" not in report
    assert notebook.cells == []
    assert run["error"]["cell"] is None


def test_half_an_emoji_is_shown_as_damaged(faults: Path) -> None:
    _, report, notebook = only_run(faults / "hostile")
    [cell] = [cell for cell in notebook.cells if "\\ud800" in cell.source]
    assert "\ud800" in "".join(output.get("text", "") for output in cell.outputs)
    assert "\ufffd" in report


def test_a_crash_keeps_the_last_words(faults: Path) -> None:
    run, _, _ = only_run(faults / "segfault")
    assert "Segmentation fault" in run["error"]["last_words"]


def test_outputs_beyond_measure_are_cut_with_a_note(faults: Path) -> None:
    run, report, notebook = only_run(faults / "noisy")
    [cell] = [cell for cell in notebook.cells if "range(30)" in cell.source]
    stream, note = cell.outputs
    assert 5_000_000 < len(stream.text) <= 10_000_000
    assert "left out" in json.dumps(note)
    assert "left out" in report
    assert "late" in json.dumps(notebook.cells[-1].outputs)
    assert run["error"] is None


def test_no_display_update_is_lost(faults: Path) -> None:
    _, report, notebook = only_run(faults / "updates")
    [output] = notebook.cells[-1].outputs
    assert "update 4000" in output.data["text/plain"]
    assert "update 4000" in report


class Active(HTMLParser):
    found: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = getattr(self, "found", [])
        if tag in ("script", "iframe", "object", "embed", "form"):
            self.found.append(tag)
        self.found += [name for name, value in attrs if name.startswith("on")]
        self.found += [
            f"{name}={value}" for name, value in attrs
            if re.match(r"\s*(javascript|vbscript|https?):", value or "", re.IGNORECASE)
        ]  # fmt: skip


@pytest.mark.parametrize("name", ["hostile", "invalid"])
def test_nothing_hostile_becomes_active(faults: Path, name: str) -> None:
    _, report, _ = only_run(faults / name)
    for page in (report, (faults / "index.html").read_text(encoding="utf-8")):
        parser = Active()
        parser.feed(page.partition("<script")[0] if page is not report else page)
        assert parser.found == []
    assert not re.search("[\u202e\ud800\x1b]", report)


def test_papermill_alone_calls_cells_completed_that_never_ran(project: Path) -> None:
    make_notebook(project / "loops.ipynb", "while True: pass", LATE)
    make_notebook(project / "dies.ipynb", "import os; os._exit(1)", LATE)

    def statuses() -> list[str]:
        executed = nbformat.read(project / "out.ipynb", as_version=4)
        return [cell.metadata.papermill.status for cell in executed.cells][-2:]

    for name, says in (("loops", "ran out of time"), ("dies", "kernel of this run died")):
        limit = 1 if name == "loops" else None
        words = (f"{name}.ipynb", "out.ipynb")
        if limit:  # a dead kernel takes it the longest, and ends the same
            with pytest.raises(CellTimeoutError):
                papermill.execute_notebook(*words, execution_timeout=limit, progress_bar=False)
            assert statuses() == ["completed", "completed"]
        with pytest.raises(Stopped):
            papermill.execute_notebook(
                *words, engine_name="workbench", execution_timeout=limit, progress_bar=False
            )
        assert statuses() == ["failed", "pending"]
        assert says in ReportExporter().from_filename("out.ipynb")[0]


@pytest.mark.parametrize(
    ("cell", "options", "code"),
    [("import os; os._exit(1)", [], 5), ("while True: pass", ["--timeout", "1"], 4),
     ("import workbench as wb; wb.verdict('v', False)", [], 3)],
)  # fmt: skip
def test_exit_codes(
    project: Path, workbench: Command, cell: str, options: list[str], code: int
) -> None:
    make_notebook(project / "n.ipynb", cell)
    run = partial(workbench, cwd=project) if code == 3 else command
    done = run("run", "n.ipynb", "--quiet", *options)
    assert done.returncode == code
    assert done.stderr.startswith("error: n ")
    assert "report: reports/n/" in done.stderr
    assert done.stdout == ""


def start(project: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "workbench", *words],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        with pytest.raises(subprocess.TimeoutExpired):  # it has not ended before its time
            process.wait(timeout=0.05)


WAITS = """
import os, pathlib, time
pathlib.Path(f'started{x}').write_text(str(os.getpid()))
while True: time.sleep(0.1)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_run_has_a_report(project: Path, sent: signal.Signals) -> None:
    make_notebook(project / "waits.ipynb", WAITS, LATE)
    process = start(project, "run", "waits.ipynb", "--quiet")
    wait_for(project / "started1", process)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.startswith("cancelled\nreport: ")
    run, report, notebook = only_run(project / "reports" / "waits")
    assert (run["status"], run["error"]["cell"]) == ("cancelled", 2)
    assert "was cancelled" in report
    assert notebook.cells[-1].execution_count is None
    assert not list((project / "reports" / "waits").glob(".*"))


def test_a_cancelled_plan_has_a_report_of_every_run(project: Path) -> None:
    make_notebook(project / "waits.ipynb", WAITS)
    plan = {"runs": [{"notebook": "waits.ipynb", "matrix": {"x": [1, 2, 3, 4]}}]}
    (project / "plan.yaml").write_text(yaml.safe_dump(plan))
    process = start(project, "batch", "plan.yaml", "--jobs", "2")
    for n in (1, 2):
        wait_for(project / f"started{n}", process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "0 of 4 runs are good" in stdout
    for n in (1, 2, 3, 4):
        run, report, _ = only_run(project / "reports" / f"waits-x={n}")
        assert run["status"] == "cancelled"
        assert "was cancelled" in report
    assert not (project / "started3").exists()


def test_a_killed_runner_is_shown_as_abandoned(project: Path) -> None:
    make_notebook(project / "waits.ipynb", WAITS)
    make_notebook(project / "small.ipynb", "1")
    process = start(project, "run", "waits.ipynb")
    wait_for(project / "started1", process)
    index = project / "reports" / "index.html"
    assert command("run", "small.ipynb").returncode == 0
    assert "Abandoned" not in index.read_text(encoding="utf-8").partition("<tbody>")[2]
    kernel = int((project / "started1").read_text())
    process.kill()
    process.communicate(timeout=60)
    assert command("run", "small.ipynb").returncode == 0
    assert "Abandoned" in index.read_text(encoding="utf-8").partition("<tbody>")[2]
    assert_gone(kernel)


def test_a_full_disk_leaves_everything_as_it_was(project: Path) -> None:
    make_notebook(project / "small.ipynb", "1")
    assert command("run", "small.ipynb").returncode == 0
    before = sorted(path.name for path in (project / "reports" / "small").iterdir())
    latest = (project / "reports" / "small" / "latest").resolve()
    limited = ["bash", "-c", f'ulimit -f 4; exec "{BIN / "workbench"}" run small.ipynb --quiet']
    done = subprocess.run(limited, cwd=project, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.startswith("error: File too large")
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (project / "reports" / "small").iterdir()) == before
    assert (project / "reports" / "small" / "latest").resolve() == latest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_file_system_without_room(project: Path) -> None:
    make_notebook(project / "fills.ipynb", "open(os.environ['WORKBENCH_RUN_DIR'] + '/data/x', 'w')"
                  ".write('x' * 10**7)", parameters="import os\nx: int = 1")  # fmt: skip
    make_notebook(project / "small.ipynb", "1")
    (project / "reports").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(project / "reports")]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        assert command("run", "small.ipynb").returncode == 0
        done = command("run", "fills.ipynb", "--quiet")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert list((project / "reports" / "fills").glob("*/report.html")) == []
        assert len(runs_in(project / "reports" / "small")) == 1
    finally:
        subprocess.run(["umount", str(project / "reports")], check=True)


@pytest.mark.parametrize("warm", ["true", "false"])
def test_warm_kernels_can_be_switched_off(project: Path, workbench: Command, warm: str) -> None:
    (project / "workbench.toml").write_text(f"[kernels]\nwarm = {warm}\n")
    run = partial(workbench, cwd=project) if warm == "false" else command
    parent = "import os, pathlib\nprint(pathlib.Path(f'/proc/{os.getppid()}/cmdline').read_text())"
    make_notebook(project / "n.ipynb", parent)
    assert run("run", "n.ipynb", "-q").returncode == 0
    [output] = only_run(project / "reports" / "n")[2].cells[-1].outputs
    assert ("forkserver" in output.text) == (warm == "true")


def test_secrets_are_no_parameters(project: Path) -> None:
    make_notebook(project / "n.ipynb", "1", parameters="db_password: str = ''")
    done = command("run", "n.ipynb")
    assert done.returncode == 2
    assert "db_password looks like a secret" in done.stderr
    assert "source" in done.stderr
    assert not (project / "reports").exists()


def test_compare_to_a_chosen_run(project: Path) -> None:
    make_notebook(project / "f.ipynb", "import workbench as wb; wb.record('n', x, better='up')")
    command("run", "f.ipynb", "-p", "x", "1")
    [first] = runs_in(project / "reports" / "f")
    command("run", "f.ipynb", "-p", "x", "5")
    done = command("run", "f.ipynb", "-p", "x", "11", "--compare-to", first.name, "--json")
    run = json.loads(done.stdout)
    assert run["figures"][0]["previous"] == 1
    assert run["compared_to"]["run_id"] == first.name
    for wrong in ("nothing", f"../f/{first.name}", ""):
        done = command("run", "f.ipynb", "--compare-to", wrong)
        assert done.returncode == 2
        assert "There is no run" in done.stderr


def test_nothing_of_an_earlier_execution_is_told(project: Path) -> None:
    path = make_notebook(project / "again.ipynb", "print(x)", "import workbench as wb")
    notebook = nbformat.read(path, as_version=4)
    stale = nbformat.v4.new_output("stream", name="stdout", text="stale")
    figure = {"application/vnd.workbench.figure+json": {"name": "old", "value": 1}}
    for cell in notebook.cells[1:]:
        cell.outputs = [stale, nbformat.v4.new_output("display_data", figure)]
        cell.execution_count = 9
    injected = nbformat.v4.new_code_cell("x = 99", metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(2, injected)
    notebook.metadata["workbench"] = {"status": "cancelled", "message": "before", "cell": 1}
    nbformat.write(notebook, path)
    done = command("run", "again.ipynb", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert (run["status"], run["parameters"], run["figures"]) == ("passed", {"x": 1}, [])
    assert "99" not in only_run(project / "reports" / "again")[2].cells[2].source
    # The same where no kernel ever came to run it.
    spec = project / "share" / "kernels" / "gone" / "kernel.json"
    spec.parent.mkdir(parents=True)
    argv = ["/no/such/python", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Gone", "language": "python"}))
    notebook.metadata["kernelspec"] = {"name": "gone", "display_name": "Gone"}
    nbformat.write(notebook, project / "gone.ipynb")
    done = command("run", "gone.ipynb", "-q", JUPYTER_PATH=str(project / "share"))
    assert done.returncode == 1
    assert "could not run the notebook" in done.stderr
    run, report, _ = only_run(project / "reports" / "gone")
    assert (run["status"], run["figures"]) == ("error", [])
    assert "stale" not in report


def test_a_second_signal_spoils_nothing(project: Path) -> None:
    make_notebook(project / "waits.ipynb", WAITS)
    process = start(project, "run", "waits.ipynb", "--quiet")
    wait_for(project / "started1", process)
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert only_run(project / "reports" / "waits")[0]["status"] == "cancelled"
    assert "waits" in (project / "reports" / "index.html").read_text(encoding="utf-8")


def test_json_logs_name_the_run_on_every_line(project: Path, workbench: Command) -> None:
    make_notebook(project / "n.ipynb", "1", "2 / 0")
    done = workbench("run", "n.ipynb", "--log-format", "json", cwd=project)
    logged = [json.loads(line) for line in done.stderr.splitlines()]
    [run_id] = {line["run_id"] for line in logged}
    assert run_id == runs_in(project / "reports" / "n")[0].name
    assert logged[0]["event"] == "run started"
    assert (logged[-1]["event"], logged[-1]["status"]) == ("run ended", "error")
    assert logged[-1]["error"] == "division by zero"
    assert (project / logged[-1]["report"]).is_file()
    assert [line["cell"] for line in logged if line.get("event") == "cell ended"] == [2, 3, 4]
