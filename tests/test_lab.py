"""`workbench lab` in a real browser: JupyterLab opens, notebooks run in warm kernels."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import websocket
from browsing import keep
from commands import command
from conftest import BIN, ROOT

from notebooks import make_notebook
from workbench import connect

pytestmark = pytest.mark.browser
LIMIT = 60  # seconds until anything counts as hanging
IMPORTS = "polars duckdb altair great_tables psycopg workbench.ranking".split()
LOOK = (
    """import polars as pl
import workbench as wb
from workbench import verdicts
from workbench.profiling import pages
from workbench.profiling.diagram import diagram
colors = pl.DataFrame({"ID": [1, 2, 3], "PX": [99.5, 114.0, None], "DEALER": ["a", "b", "c"]})
display(wb.table(colors, "Three quotes", rows=2, rest="data/colors.csv"))
display(wb.details(colors, "By id", by="ID"))""",
    """def check(kind, severity, **kwargs):
    return {"type": f"expect_column_values_to_{kind}", "kwargs": kwargs, "severity": severity}
never = {"type": "comparison", "column": {"name": "ID"}, "operator": ">", "parameter": 9}
validation = wb.validate(colors, {"name": "look", "expectations": [
    check("be_between", "critical", column="PX", max_value=100),
    check("not_be_null", "warning", column="PX"),
    check("be_in_set", "info", column="DEALER", value_set=["a"]),
    check("be_unique", "critical", column="ID"),
    check("be_between", "warning", column="PX", max_value=1, row_condition=never),
]})
display(validation, verdicts.rows(validation))""",
    """profile = wb.profile_schema("demo", "marketpulse", ["dealers", "coverage", "securities"])
display(pages.summary(profile), pages.findings_list(profile), pages.inventory(profile))
display(diagram(profile), pages.sections(profile))""",
    """wb.record("rows", 3, unit="colors"); wb.warn("Mind the gap"); wb.verdict("No gap", False)
display(wb.save(colors, "look", ["csv"]))
wb.connect("nowhere")""",
)
# Every text that is shown in an output with less contrast to its ground than WCAG AA asks for.
FAINT = """() => {
  const parse = c => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number)
    return [r, g, b, a] }
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(
    v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1)
  const ground = e => { const layers = []
    for (; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor))
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255, 1]) }
  const seen = [], faint = []
  for (const area of document.querySelectorAll(
    '.jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output')) {
    const walker = document.createTreeWalker(area, NodeFilter.SHOW_TEXT)
    while (walker.nextNode()) {
      const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement
      if (!text || e.closest('style, svg')) continue
      const below = ground(e), letters = over(parse(getComputedStyle(e).color), below)
      const [low, high] = [light(letters), light(below)].sort((a, b) => a - b)
      seen.push(text)
      if ((high + 0.05) / (low + 0.05) < 4.5) faint.push(`${text}: ${letters} on ${below}`)
    }
  }
  return [seen, faint]
}"""


@dataclass
class Lab:
    """A running `workbench lab`."""

    project: Path
    process: subprocess.Popen[str]
    address: str
    token: str

    def ask(self, method: str, path: str, /, **body: Any) -> Any:
        link = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=LIMIT)
        link.request(
            method, f"/api/{path}", json.dumps(body), {"Authorization": f"token {self.token}"}
        )
        answer = link.getresponse()
        said = answer.read()
        link.close()
        assert answer.status < 300, said
        return json.loads(said or "null")

    def run(self, kernel: str, code: str) -> str:
        """Have a kernel run code, and return what it prints."""
        place = f"{self.address.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels"
        talk = websocket.create_connection(f"{place}?token={self.token}", timeout=LIMIT)
        with closing(talk):
            # What is asked while a kernel drops all that waited behind a failed cell goes with it.
            while (printed := self._said(talk, code)) is None:
                pass
            return printed

    def _said(self, talk: websocket.WebSocket, code: str) -> str | None:
        head = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "test",
                "username": "", "version": "5.3"}  # fmt: skip
        content = {"code": code, "silent": False, "user_expressions": {}, "allow_stdin": False}
        talk.send(json.dumps({"header": head, "parent_header": {}, "metadata": {},
                              "channel": "shell", "content": content}))  # fmt: skip
        printed, status, waiting = "", "", {"execute_reply", "idle"}
        while waiting:
            message = json.loads(talk.recv())
            if message["parent_header"].get("msg_id") == head["msg_id"]:
                status = message["content"].get("status", status)
                printed += message["content"].get("text", "")
                waiting -= {message["msg_type"], message["content"].get("execution_state")}
        assert status in ("ok", "aborted"), printed
        return None if status == "aborted" else printed.strip()

    def kernel_of(self, notebook: str) -> str:
        """The id of the kernel that runs an open notebook."""
        [found] = [s for s in self.ask("GET", "sessions") if s["name"] == notebook]
        assert found["kernel"]["name"] == "python3"
        return str(found["kernel"]["id"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a copy of the project, in a folder with a blank; nobody's own settings."""
    project = tmp_path_factory.mktemp("lab") / "a project"
    project.mkdir()
    shutil.copy(ROOT / "workbench.toml", project)
    left_out = shutil.ignore_patterns("data", ".ipynb_checkpoints")
    for name in ("notebooks", "params", "expectations"):
        shutil.copytree(ROOT / name, project / name, ignore=left_out)
    make_notebook(project / "notebooks" / "look.ipynb", *LOOK)
    make_notebook(project / "notebooks" / "endless.ipynb", "answer = 42", "while True: pass")
    home = tmp_path_factory.mktemp("jupyter")
    themes = home / "lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"
    themes.parent.mkdir(parents=True)
    themes.write_text('{"adaptive-theme": true}')  # light or dark as the browser says
    places = {"JUPYTER_CONFIG_DIR": home, "JUPYTER_RUNTIME_DIR": home / "run"}
    relative = {
        "WORKBENCH_CONFIG": "workbench.toml", "WORKBENCH_REPORTS": "runs",
        "WORKBENCH_CACHE": os.path.relpath(os.environ["WORKBENCH_CACHE"], project),
    }  # fmt: skip
    environment = {**os.environ, **relative, **{name: str(it) for name, it in places.items()}}
    options = ["--no-browser", "--port=8901", *(["--allow-root"] if os.geteuid() == 0 else [])]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [str(BIN / "workbench"), "lab", *options], cwd=project, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.PIPE,
        )  # fmt: skip
    assert process.stderr
    told = ""
    for line in process.stderr:
        told += line
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/\S*token=(\w+)", line):
            break
    else:
        pytest.fail(told)
    # Read on, lest the server wait for a reader.
    reader = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    running = Lab(project, process, found[1], found[2])
    # It says where it will listen a moment before it does.
    for _ in range(LIMIT * 20):
        with suppress(ConnectionRefusedError):
            running.ask("GET", "status")
            break
        time.sleep(0.05)
    yield running
    process.kill()
    process.wait()
    reader.wait()
    process.stderr.close()


@pytest.fixture(scope="module")
def noise() -> list[str]:
    """What a browser complains of, and what it asks of others than this server."""
    return []


@pytest.fixture(scope="module")
def page(lab: Lab, browser: Any, noise: list[str]) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.set_default_timeout(LIMIT * 1000)
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("console", lambda m: noise.append(m.text) if m.type == "error" else None)
    ours = (lab.address, "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(ours) else noise.append(r.url))
    page.goto(f"{lab.address}/lab/tree/notebooks/run_colors.ipynb?token={lab.token}")
    yield page
    page.close()


def menu(page: Any, *names: str) -> None:
    for name in names:
        exactly = re.compile(f"^{re.escape(name)}$")
        page.locator(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel", has_text=exactly).click()


# The notebook that is looked at, of those that are open.
SHOWN = ".jp-NotebookPanel:not(.lm-mod-hidden)"
PROMPTS = f"""() => [...document.querySelectorAll('{SHOWN} .jp-CodeCell .jp-InputPrompt')]
  .map(prompt => prompt.textContent)"""


def run_all(page: Any) -> None:
    """Run all cells anew, and wait until the last one has run."""
    menu(page, "Edit", "Clear Outputs of All Cells")
    page.wait_for_function(f"() => ({PROMPTS})().every(prompt => prompt === '[ ]:')")
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(f"() => /\\[\\d+\\]/.test(({PROMPTS})().at(-1))")


def opened(page: Any, notebook: str) -> None:
    with page.expect_response(lambda answer: answer.request.method in ("POST", "PATCH")
                              and "/api/sessions" in answer.url):  # fmt: skip
        page.locator(".jp-DirListing-item", has_text=notebook).dblclick()
    page.locator(f"{SHOWN} .jp-Cell").first.wait_for()
    page.locator(".lm-TabBar-tab.lm-mod-current", has_text=notebook).wait_for()
    page.locator(f"{SHOWN} .jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()


def kept(page: Any, name: str, shown: Any) -> None:
    """Keep a picture of the notebook where `shown` is, if pictures are wanted."""
    in_sight = (
        "e => { e.scrollIntoView({block: 'center'}); return new Promise(requestIdleCallback) }"
    )
    for _ in range(3):  # what comes into sight on the way gets its size only then
        shown.evaluate(in_sight)
    keep(page, name)


def failures(page: Any) -> list[str]:
    kinds = "error", "stderr"
    mimes = [f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in kinds]
    return list(page.locator(f"{SHOWN} :is({', '.join(mimes)})").all_text_contents())


def parents_said(page: Any) -> int:
    """How many parents the notebook says there are."""
    [said] = [
        text for text in page.locator(f"{SHOWN} .jp-OutputArea-output").all_text_contents()
        if text.strip().startswith("parents")
    ]  # fmt: skip
    return int(re.sub(r"\D", "", said))


def parents_in(sector: str | None) -> int:
    with connect("demo") as db:
        rows = db.read("SELECT cusip, sector FROM marketpulse.colors").rows()
    wanted = [cusip for cusip, of in rows if sector is None or of == sector]
    return len({cusip.strip().upper() for cusip in wanted if cusip and cusip.strip()})


def test_a_kernel_that_is_asked_for_at_once_has_everything_imported(lab: Lab) -> None:
    made = lab.ask("POST", "kernels", name="python3")["id"]
    code = (
        f"import sys; print([name for name in {IMPORTS!r} if name not in sys.modules], sys.prefix)"
    )
    assert lab.run(made, code) == f"[] {sys.prefix}"
    lab.ask("DELETE", f"kernels/{made}")


def test_relative_places_are_the_same_ones_in_every_folder(lab: Lab) -> None:
    made = lab.ask("POST", "kernels", name="python3", path="notebooks")["id"]
    names = [f"WORKBENCH_{place}" for place in ("CONFIG", "REPORTS", "CACHE")]
    code = f"import os; print(os.getcwd(), *map(os.environ.get, {names!r}), sep='\\n')"
    here = lab.project
    assert lab.run(made, code).splitlines() == [
        str(here / "notebooks"), str(here / "workbench.toml"), str(here / "runs"),
        os.environ["WORKBENCH_CACHE"],
    ]  # fmt: skip
    code = "import workbench as wb; print(wb.connect('demo').read('SELECT 7 AS a').item())"
    assert lab.run(made, code) == "7"
    lab.ask("DELETE", f"kernels/{made}")


def test_a_notebook_opens_with_the_warm_kernel_and_without_a_question(lab: Lab, page: Any) -> None:
    page.locator(".jp-StatusBar-TextItem", has_text="Python 3 (ipykernel) | Idle").wait_for()
    for question in (".jp-Dialog", ".Toastify__toast"):
        assert page.locator(question).count() == 0
    kernel = lab.kernel_of("run_colors.ipynb")
    assert lab.run(kernel, "import sys; print('polars' in sys.modules)") == "True"
    parameters = page.locator(f"{SHOWN} .jp-CodeCell").first
    assert parameters.locator(".cm-line").first.text_content().startswith('source: str = "demo"')
    assert parameters.is_visible()
    # What is stored was made elsewhere: nothing of it has changed by being opened.
    place = Path("notebooks", "run_colors.ipynb")
    assert (lab.project / place).read_bytes() == (ROOT / place).read_bytes()


def test_all_cells_run_and_show_their_tables_and_charts(lab: Lab, page: Any) -> None:
    run_all(page)
    assert failures(page) == []
    stored = json.loads((ROOT / "notebooks" / "run_colors.ipynb").read_text(encoding="utf-8"))
    shown = [
        "".join(output["data"].get("text/html", ""))
        for cell in stored["cells"]
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    tables = page.locator(f"{SHOWN} .gt_table")
    assert tables.count() == sum('class="gt_table"' in html for html in shown) > 5
    charts = page.locator(f'{SHOWN} [data-mime-type="image/svg+xml"] :is(img, svg)')
    assert charts.count() == 2
    for chart in charts.all():
        assert min(chart.bounding_box()[side] for side in ("width", "height")) > 100
    kept(page, "lab", charts.first)
    assert parents_said(page) == parents_in(None)


def test_a_parameter_is_edited_and_the_cells_run_again(page: Any) -> None:
    line = page.locator(f"{SHOWN} .cm-line", has_text="sector: str | None = None").first
    line.scroll_into_view_if_needed()
    line.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.insert_text('sector: str | None = "2.0_Mezz"')
    run_all(page)
    assert failures(page) == []
    assert parents_said(page) == parents_in("2.0_Mezz") < parents_in(None)


def test_saving_changes_only_what_jupyterlab_always_changes(lab: Lab, page: Any) -> None:
    menu(page, "File", "Save Notebook")
    page.locator(
        ".lm-TabBar-tab.lm-mod-current:not(.jp-mod-dirty)", has_text="run_colors"
    ).wait_for()
    path = lab.project / "notebooks" / "run_colors.ipynb"
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert saved["metadata"]["kernelspec"] == {
        "display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"
    }  # fmt: skip
    assert set(saved["metadata"]) == {"kernelspec", "language_info"}


def test_an_endless_cell_is_interrupted_and_a_restart_forgets_all(lab: Lab, page: Any) -> None:
    opened(page, "endless.ipynb")
    menu(page, "Run", "Run All Cells")
    page.wait_for_function(f"() => ({PROMPTS})()[1] === '[2]:' && ({PROMPTS})()[2] === '[*]:'")
    menu(page, "Kernel", "Interrupt Kernel")
    page.locator(f"{SHOWN} .jp-OutputArea-output", has_text="KeyboardInterrupt").wait_for()
    kernel = lab.kernel_of("endless.ipynb")
    assert lab.run(kernel, "print(answer)") == "42"
    menu(page, "Kernel", "Restart Kernel…")
    with page.expect_response("**/restart*"):
        page.locator(".jp-Dialog button", has_text="Restart").click()
    code = "import sys; print('answer' in globals(), 'polars' in sys.modules)"
    assert lab.run(kernel, code) == "False True"


def test_all_figures_are_legible_in_a_light_and_in_a_dark_theme(page: Any) -> None:
    opened(page, "look.ipynb")
    run_all(page)
    assert [text for text in failures(page) if "Unknown source" not in text] == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        theme = f"JupyterLab {scheme.title()}"
        page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=theme)
        seen, faint = page.evaluate(FAINT)
        assert {"Three quotes", "114", "Promises that were not kept", "Tables"} <= {*seen}
        assert not faint, "\n".join(faint)
    kept(page, "lab-dark", page.locator(f"{SHOWN} table", has_text="What was seen").first)


def test_the_browser_complains_of_nothing_and_asks_nobody_else(page: Any, noise: list[str]) -> None:
    assert page.title()
    assert noise == []


def test_one_interrupt_ends_it_and_all_that_it_started(lab: Lab, page: Any) -> None:
    started = psutil.Process(lab.process.pid).children(recursive=True)
    assert len(started) > 3  # the forkserver, its kernels, who keeps the samples
    lab.process.send_signal(signal.SIGINT)
    assert lab.process.wait(LIMIT) == 0
    assert psutil.wait_procs(started, timeout=LIMIT)[1] == []


def test_an_unusable_configuration_is_one_sentence(project: Path) -> None:
    (project / "workbench.toml").write_text("sources = 7\n")
    done = command("lab", "--no-browser")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: sources: ")
    assert "Traceback" not in done.stderr
