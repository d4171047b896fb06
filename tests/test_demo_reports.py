"""Every demo report in a real browser: quiet, self-contained, and open to everybody."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
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


@pytest.mark.parametrize("name", NAMES)
def test_a_report_asks_for_nothing_says_nothing_and_fits(
    browser: Any, pages: dict[str, Path], server: str, name: str
) -> None:
    file = pages[name]
    served = f"{server}/{file.relative_to(pages['index'].parent).as_posix()}"
    asked, noise = list[str](), list[str]()
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    for address in (served, file.as_uri()):
        page.goto(address)
        assert page.locator("h1").is_visible()
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            root = "document.documentElement"
            assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), (width, scheme)
            keep(page, f"{name}-{width}-{scheme}", full_page=width > 390)
    page.emulate_media(media="print", color_scheme="light")
    assert page.pdf().startswith(b"%PDF")
    keep(page, f"{name}-print", full_page=True)
    page.close()
    assert {url for url in asked if not url.startswith("data:")} == {served, file.as_uri()}
    assert noise == []


@pytest.mark.parametrize("name", [*NOTEBOOKS, "broken"])
def test_the_contents_of_a_report_lead_to_its_sections(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    page = browser.new_page()
    page.goto(pages[name].as_uri())
    links = page.eval_on_selector_all("nav a", "all => all.map(a => a.getAttribute('href'))")
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert links or name == "broken"
    assert {unquote(link.removeprefix("#")) for link in links} <= {*ids}
    assert len(ids) == len({*ids})
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_report_is_accessible(browser: Any, pages: dict[str, Path], name: str) -> None:
    """By the rules of axe-core, which is injected: the page's own policy lets no script in."""
    if not AXE.exists():
        lack("needs axe-core: make axe")
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(pages[name].as_uri())
    page.add_script_tag(path=AXE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
        assert found["passes"], "nothing was looked at"
        assert [
            (scheme, each["id"], len(each["nodes"]), each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in ("moderate", "serious", "critical")
        ] == []
    context.close()
