"""Every demo report in a real browser: quiet, self-contained, and open to everybody."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from browsing import keep, lack
from commands import command
from conftest import ROOT

from notebooks import make_notebook

pytestmark = pytest.mark.browser
AXE = ROOT / "tests" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
NAMES = [*NOTEBOOKS, "broken", "index"]
# What a careful web server would send, whatever the page itself says.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {}; sandbox {}"

# An image that shows something has a place on the page and more than one colour.
BLANK = """[...document.images].filter((image) => {
  if (image.closest("details:not([open])")) return false;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 60;
  const pen = canvas.getContext("2d");
  if (image.naturalWidth) pen.drawImage(image, 0, 0, 60, 60);
  const colours = new Set(new Uint32Array(pen.getImageData(0, 0, 60, 60).data.buffer));
  const box = image.getBoundingClientRect();
  return !(box.width > 50 && box.height > 20 && colours.size > 2);
}).map((image) => image.alt)"""
# What is folded is not looked at. Below its first rows a table is of the same making, and so are
# the tables of a long list; and no contrast can be told above the shadows of what scrolls.
PREPARE = """() => {
  for (const item of document.querySelectorAll("details")) item.open = true;
  for (const body of document.querySelectorAll("tbody"))
    [...body.rows].slice(8).forEach((row) => row.remove());
  for (const cell of document.querySelectorAll(".cell"))
    [...cell.querySelectorAll("details.rows")].slice(3).forEach((item) => item.remove());
}"""
COLOURS = ["color-contrast", "link-in-text-block"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of each notebook, as one plan makes them, one that failed, and the index."""
    folder = tmp_path_factory.mktemp("demo reports")
    broken = folder / "broken.ipynb"
    make_notebook(broken, "print('begun')", "{}['<b>no such key</b>']", "print('never')")
    given = yaml.safe_load((ROOT / "params" / "ci.yaml").read_text(encoding="utf-8"))
    runs = [{"notebook": str(ROOT / "notebooks" / f"{name}.ipynb")} for name in NOTEBOOKS]
    plan = {"defaults": {"parameters": given}, "runs": runs}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    done = command("batch", str(folder / "plan.yaml"), "--output", str(folder / "reports"))
    assert done.returncode == 0, done.stdout + done.stderr
    failed = command("run", str(broken), "--output", str(folder / "reports"))
    assert failed.returncode == 1
    made = folder / "reports"
    found = {name: made / name / "latest" / "report.html" for name in (*NOTEBOOKS, "broken")}
    return {**{name: path.resolve() for name, path in found.items()}, "index": made / "index.html"}


@pytest.fixture(scope="module")
def server(pages: dict[str, Path]) -> Iterator[str]:
    """The reports over HTTP, with a policy of the server's own."""

    class Strict(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            index = self.path.endswith("/index.html")
            scripts = ("'unsafe-inline'", "allow-scripts") if index else ("'none'", "")
            self.send_header("Content-Security-Policy", POLICY.format(*scripts))
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Strict, directory=str(pages["index"].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def faults(browser: Any, file: Path, served: str = "", name: str = "") -> list[str]:
    """What is wrong with a page, as a file and over HTTP, in the views that people have of it."""
    asked, found = list[str](), list[str]()
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    addresses = {served, file.as_uri()} - {""}
    for address in sorted(addresses, reverse=True):
        page.goto(address)
        assert page.locator("h1").is_visible()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            root = "document.documentElement"
            if page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"):
                found.append(f"sideways: {width}")
            found += [f"blank: {alt}" for alt in page.evaluate(BLANK)]
            if name:
                keep(page, f"{name}-{width}-{scheme}", full_page=width > 390)
    page.emulate_media(media="print", color_scheme="light")
    if not re.search(rb"/Type ?/Page\b", page.pdf()):
        found.append("print: no page")
    if name:
        keep(page, f"{name}-print", full_page=True)
    page.close()
    asked = [url for url in asked if not url.startswith("data:")]
    return found + [f"asked: {url}" for url in asked if url not in addresses]


@pytest.mark.parametrize("name", NAMES)
def test_a_report_asks_for_nothing_says_nothing_and_fits(
    browser: Any, pages: dict[str, Path], server: str, name: str
) -> None:
    place = pages[name].relative_to(pages["index"].parent).as_posix()
    assert faults(browser, pages[name], f"{server}/{place}", name) == []


BREAKS = {
    "console": "<script>console.log(1)</script>",
    "error": "<script>nothing()</script>",
    "asked": "<img alt='' hidden src='other.png'>",
    "sideways": "<p style='width:600px'>x</p>",
    "blank": "<img alt='' width='99' height='99' src='data:image/svg+xml,"
    "%3Csvg xmlns=%22http://www.w3.org/2000/svg%22 width=%229%22 height=%229%22/%3E'>",
}


@pytest.fixture
def broken(pages: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Put something into a report that has no policy."""

    def put(markup: str) -> Path:
        text = re.sub(r"<meta http-equiv[^>]*>", "", pages["broken"].read_text("utf-8"))
        (tmp_path / "page.html").write_text(text.replace("<footer>", f"{markup}<footer>"), "utf-8")
        return tmp_path / "page.html"

    return put


@pytest.mark.parametrize("kind", BREAKS)
def test_a_fault_of_any_kind_would_be_noticed(
    browser: Any, broken: Callable[[str], Path], kind: str
) -> None:
    assert kind in {fault.split(":")[0] for fault in faults(browser, broken(BREAKS[kind]))}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_report_refers_to_is_there(browser: Any, pages: dict[str, Path], name: str) -> None:
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    links = page.eval_on_selector_all("a", "all => all.map(a => a.getAttribute('href'))")
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    page.close()
    assert links or name == "broken"
    assert len(ids) == len({*ids})
    for link in map(unquote, links):
        if link.startswith("#"):
            assert link[1:] in ids
        elif not link.startswith("https:"):
            assert (pages[name].parent / link).exists(), link


def complaints(browser: Any, file: Path) -> list[str]:
    """What axe-core holds against a page. It is injected: the page's policy lets no script in."""
    if not AXE.exists():
        lack("needs axe-core: make axe")
    context = browser.new_context(bypass_csp=True)
    page, found = context.new_page(), []
    page.goto(file.as_uri())
    page.evaluate(PREPARE)
    page.add_style_tag(content=".scroll { background: none !important }")
    page.add_script_tag(path=AXE)
    for scheme, only in (("light", {}), ("dark", {"runOnly": COLOURS})):
        page.emulate_media(color_scheme=scheme)
        told = page.evaluate("only => axe.run({resultTypes: ['violations'], ...only})", only)
        assert told["passes"], "nothing was looked at"
        found += [
            f"{scheme} {each['impact']} {each['id']} {len(each['nodes'])}: "
            f"{each['nodes'][0]['html'][:200]}"
            for each in told["violations"]
            if each["impact"] in ("moderate", "serious", "critical")
        ]
    context.close()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_report_is_accessible(browser: Any, pages: dict[str, Path], name: str) -> None:
    assert complaints(browser, pages[name]) == []


def test_what_is_not_accessible_would_be_noticed(
    browser: Any, broken: Callable[[str], Path]
) -> None:
    pale = "<p style='color:#999;background:#888'>pale</p>"
    told = complaints(browser, broken(f"<h6>deep</h6><img src='data:,'>{pale}"))
    kinds = {" ".join(each.split()[:3]) for each in told}
    assert kinds == {
        "light critical image-alt", "light moderate heading-order", "light moderate region",
        "light serious color-contrast", "dark serious color-contrast",
    }  # fmt: skip
