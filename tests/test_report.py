"""The report's promises, checked with a parser that shares nothing with what wrote it."""

import base64
import copy
import html
import json
import re
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import great_tables
import nbformat
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.reporting import text
from workbench.reporting.html import render

HOSTILE = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '"><svg onload=window.pwned=1>',
    "'><iframe src=https://evil.example/></iframe>",
    "</pre></code></td></title></style><script>window.pwned=1</script>",
    "<a href='javascript:window.pwned=1'>x</a>",
    "<a href='jav&#x09;ascript:window.pwned=1'>x</a>",
    "[x](javascript:window.pwned=1) ![y](https://evil.example/y.png) ![z](//evil.example/z)",
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    "<base href=https://evil.example/><link rel=stylesheet href=https://evil.example/x.css>",
    '<p style="background:url(https://evil.example/b)">x</p>',
    '<td style="background-color:url(https://evil.example/c);color:\\75rl(//evil.example)">x</td>',
    "<style>@import 'https://evil.example/d.css'</style>",
    "<form action=https://evil.example><button>go</button></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=1>'>",
    "<div class='banner good' id='main' onclick='x()'>This run passed</div>",
    "<a href='//evil.example/share'>x</a><a href='\\\\evil.example\\share'>y</a>",
    "{{ 7*7 }}{% raw %}",
]
VOID = {"meta", "link", "img", "br", "hr", "col", "input", "base", "area", "source", "wbr"}
FORBIDDEN = {
    *("script", "iframe", "object", "embed", "form", "input", "button", "base", "link", "svg"),
    *("frame", "frameset", "applet", "math", "video", "audio", "template", "textarea"),
}


@dataclass
class Page(HTMLParser):
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.styles.append(data)
            return
        self.texts.append(data)
        if self.headings and any(re.fullmatch(r"h[1-6]", tag) for tag in self.open):
            level, so_far = self.headings[-1]
            self.headings[-1] = level, so_far + data

    @property
    def words(self) -> str:
        return " ".join("".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parse(page: str) -> Page:
    parser = Page()
    parser.feed(page)
    parser.close()
    return parser


def check(page: str) -> Page:
    """Assert every promise that holds for any report whatever."""
    page.encode("utf-8")
    found = parse(page)
    assert found.open == []
    assert not FORBIDDEN & {tag for tag, _ in found.tags}
    assert len(found.all("style")) == 1
    assert not re.search(r"url\(|@import|expression", "".join(found.styles))
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"srcset", "action", "formaction", "background", "poster", "srcdoc"} & set(
            attributes
        )
        assert not re.search(r"url|\\|@", attributes.get("style") or "")
        if "src" in attributes:
            assert tag == "img"
            assert re.match(r"data:image/(svg\+xml|png|jpeg|gif|webp)[;,]", attributes["src"] or "")
        if "href" in attributes:
            assert tag == "a"
            check_link(attributes["href"] or "")
    refresh = [m["http-equiv"] for m in found.all("meta") if "http-equiv" in m]
    assert refresh == ["Content-Security-Policy"]
    assert all(image.get("alt") for image in found.all("img"))
    check_structure(found)
    return found


def check_link(href: str) -> None:
    target = re.sub(r"[\x00-\x20]", "", href).lower()
    assert not target.startswith(("/", "\\"))
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", target)
    assert scheme is None or scheme[1] in {"http", "https", "mailto"}


def check_structure(found: Page) -> None:
    levels = [level for level, _ in found.headings]
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    ids = [a["id"] for _, a in found.tags if "id" in a]
    assert len(ids) == len(set(ids))
    names = {tag for tag, _ in found.tags}
    assert {"header", "main", "footer"} <= names
    banned = re.compile("[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    assert not banned.search("".join(found.texts))


def contents(found: Page) -> list[str]:
    ids = {a["id"] for _, a in found.tags if "id" in a}
    links = [str(a["href"])[1:] for a in found.all("a") if str(a.get("href", "")).startswith("#")]
    assert all(unquote(link) in ids or link in ids for link in links), (links, ids)
    return links


def frames(value: str) -> list[str]:
    frame = pl.DataFrame({value or "c": [value], "n": [1.5]})
    table = (
        great_tables.GT(frame)
        .tab_header(value, value)
        .tab_source_note(value)
        .tab_stubhead(value)
        .tab_spanner(value + "s", ["n"])
    )
    return [
        table._repr_html_(),
        frame._repr_html_(),
        pd.DataFrame({value: [value], "n": [1.5]})._repr_html_(),
        value,
    ]


def display(data: dict, metadata: dict | None = None) -> nbformat.NotebookNode:
    node = new_output("display_data")
    node.data, node.metadata = data, metadata or {}
    return node


def infested(value: str, *, html_too: bool = True) -> tuple[nbformat.NotebookNode, dict]:
    """Return a notebook and a run that hold the value in every place a value can be."""
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>"
    error = new_output("error", ename=value, evalue=value, traceback=[value])
    outputs = [
        new_output("stream", name="stdout", text=value),
        new_output("stream", name="stderr", text=value),
        error,
        display({"text/plain": value}),
        display({"text/latex": value}),
        display(
            {"image/svg+xml": svg, "application/vnd.vegalite.v6+json": {"title": value}},
            {"image/svg+xml": {"alt": value}},
        ),
        display({"image/svg+xml": svg, "application/vnd.vegalite.v6+json": {"title": [value]}}),
        display({"image/png": value}),
        display({value or "x": value}),
    ]
    if html_too:
        outputs += [display({"text/html": item}) for item in frames(value)]
        outputs.append(display({"text/markdown": value}))
    cells = [
        new_markdown_cell(f"# {value}\n\n{value}\n\n## {value}" if html_too else "x"),
        new_code_cell(value, outputs=outputs, execution_count=1),
        new_code_cell(value),
    ]
    run = {
        **dict.fromkeys(("run_id", "notebook", "name", "as_of", "started", "finished"), value),
        **dict.fromkeys(("title", "host", "duration", "peak_memory"), value),
        "status": "error",
        "parameters": {value: value, "list": [value], "map": {value: value}},
        "error": {"cell": 1, "name": value, "message": value, "traceback": value},
        "figures": [{"name": value, "value": value, "unit": value, "previous": value}],
        "git": {"commit": value, "dirty": True},
        "versions": {value: value},
        "sources": [{"name": value, "kind": value, "server": value}],
    }
    # Assigned, not passed: nbformat would refuse what a careless kernel may still send.
    notebook = new_notebook()
    notebook.cells = cells
    cells[1].metadata["tags"] = [value]
    return notebook, run


def report(*cells: nbformat.NotebookNode, **run: object) -> str:
    return render(new_notebook(cells=list(cells)), {"status": "passed", **run})


def ran(*outputs: nbformat.NotebookNode, source: str = "x", **metadata: object) -> object:
    cell = new_code_cell(source, outputs=list(outputs), execution_count=1)
    cell.metadata.update(metadata)
    return cell


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_inert(value: str) -> None:
    found = check(render(*infested(value)))
    assert not [a for _, a in found.tags if a.get("class") in ("banner good", "pill good")]


@pytest.mark.parametrize("value", [v for v in HOSTILE if "\\" not in v])
def test_hostile_values_stay_visible_in_tables(value: str) -> None:
    for table in frames(value)[:3]:
        found = check(report(ran(display({"text/html": table}))))
        # Frames cut long values short when they print themselves; what is left is visible.
        assert value[:12] in found.words


awkward = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("<>&\"'`/\\={}%#[]()\x00\x1b\u202e\u2066\ud800\ufeff\u2028"),
    ),
    max_size=40,
)


def expected(value: str) -> str:
    return " ".join(text.inert(value).split())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(awkward)
def test_any_text_survives_as_text_in_every_place(value: str) -> None:
    wanted = expected(value)
    found = check(render(*infested(value, html_too=False)))
    # Header (name, parameters, figures, error), banner, cell source, streams and failure.
    assert wanted in found.words
    assert "".join(found.texts).count(text.inert(value).replace("\r", "\n")) >= 8


@settings(max_examples=60, deadline=None)
@given(awkward)
def test_any_text_in_html_and_markdown_stays_inert(value: str) -> None:
    check(report(new_markdown_cell(value), ran(display({"text/html": value}))))


@settings(max_examples=60, deadline=None)
@given(awkward)
def test_escaped_cells_survive_the_sanitiser(value: str) -> None:
    clean = re.sub("[\ud800-\udfff\x00-\x1f\x7f-\x9f\ufffe\uffff\ufeff]", "", value)
    table = f"<table><tr><td>{html.escape(clean)}</td></tr></table>"
    assert expected(clean) in check(report(ran(display({"text/html": table})))).words


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
RUN_KEYS = (
    "schema_version run_id notebook name title parameters status error validations figures as_of "
    "started finished duration peak_memory git versions sources host".split()
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(RUN_KEYS), json_like))
def test_any_run_json_gives_a_report(run: dict) -> None:
    check(render(new_notebook(cells=[new_markdown_cell("# T")]), run))


def test_an_empty_notebook_and_run_give_a_report_that_claims_nothing() -> None:
    found = check(render(new_notebook(), {}))
    assert "Unknown status" in found.words
    assert "Passed" not in found.words


def test_the_notebook_is_left_as_it_was() -> None:
    notebook, run = infested("<b>\x1b[1m")
    before = copy.deepcopy(notebook), copy.deepcopy(run)
    render(notebook, run)
    assert (notebook, run) == before


def test_chrome_is_small_and_policy_is_strict() -> None:
    page = report(new_markdown_cell("# T"))
    assert len(page.encode()) < 20_000
    metas = parse(page).all("meta")
    policy = next(m["content"] for m in metas if m.get("http-equiv"))
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    named = {m["name"]: m["content"] for m in metas if "name" in m}
    assert named["robots"] == "noindex"
    assert named["referrer"] == "no-referrer"
    assert named["color-scheme"] == "light dark"


def test_headings_are_in_order_and_the_contents_resolve() -> None:
    found = check(
        report(
            new_markdown_cell("# The title\n\nlead\n\n#### Deep\n\n## Two words\n\n# Another top"),
            new_markdown_cell("## Two words\n\n## main\n\n## cell-2\n\n[up](#Two-words)"),
            ran(display({"text/html": "<h1 id=main>Library</h1><h4>x</h4>"})),
        )
    )
    assert [text for level, text in found.headings if level == 1] == ["The title"]
    links = contents(found)
    assert {"Two-words", "Two-words-2", "Deep", "main-2", "cell-2-2"} <= set(links)
    assert found.words.count("The title") == 2  # <title> and <h1>, not the body
    assert "Library" not in " ".join(links)


def test_tables_of_great_tables_get_their_heading_as_caption() -> None:
    frame = pl.DataFrame({"CUSIP": ["A"], "PX": [1234.5]})
    table = great_tables.GT(frame).tab_header("Busiest <b>", "of 10").tab_source_note("From X")
    page = report(ran(display({"text/html": table.fmt_number("PX")._repr_html_()})))
    found = check(page)
    assert len(found.all("caption")) == 1
    caption = re.search(r"<caption>(.*?)</caption>", page, re.DOTALL)
    assert caption
    assert parse(caption[1]).words.replace(" ", "") == "Busiest<b>of10"
    region = next(a for a in found.all("div") if a.get("role") == "region")
    assert region["aria-label"] == "Busiest <b> of 10"
    assert region["tabindex"] == "0"
    assert "gt_right" in [a.get("class") for a in found.all("td")]
    assert "From X" in found.words
    assert "1,234.50" in found.words


def test_charts_become_images_with_alt_texts_and_sizes() -> None:
    svg = '<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="x" width="86" height="359.4"><a/></svg>'
    vega = {"application/vnd.vegalite.v6+json": {"title": {"text": ["Two", "lines"]}}}
    both = {"image/svg+xml": svg, "text/html": "<b>no</b>", "text/plain": "no", **vega}
    found = check(
        report(
            ran(
                display(both),
                display(both, {"image/svg+xml": {"alt": "Better"}}),
                display({"image/svg+xml": svg}),
                display(
                    {"image/png": base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode()}
                ),
            )
        )
    )
    images = found.all("img")
    assert [image["alt"] for image in images] == ["Two lines", "Better", "Chart", "Chart"]
    assert (images[0]["width"], images[0]["height"]) == ("86", "359")
    content = base64.b64decode(str(images[0]["src"]).partition(",")[2]).decode()
    assert content.startswith("<svg")
    assert "no" not in found.words.split()


def test_only_embedded_images_survive() -> None:
    source = "![a chart](https://x.example/a.png) ![b](attachment:gone.png) <img src=//x alt=c>"
    found = check(report(new_markdown_cell(source)))
    assert found.all("img") == []
    for alt in ("a chart", "b", "c"):
        assert f"[image left out: {alt}]" in found.words
    attached = new_markdown_cell("![kept](attachment:a.png)")
    attached["attachments"] = {"a.png": {"image/png": "AAAA"}}
    assert [i["alt"] for i in check(report(attached)).all("img")] == ["kept"]


def test_links_that_are_no_loads_are_kept() -> None:
    source = "[a](data/colors.csv) [b](https://x.example/) [c](mailto:a@x.example)"
    links = [a for a in check(report(new_markdown_cell(source))).all("a") if "rel" in a]
    assert [a["href"] for a in links] == [
        "data/colors.csv",
        "https://x.example/",
        "mailto:a@x.example",
    ]
    assert {a["rel"] for a in links} == {"noopener noreferrer"}


@pytest.mark.parametrize("kind", ["figure", "source", "as-of"])
def test_collected_outputs_are_not_shown_again(kind: str) -> None:
    bundle = {f"application/vnd.workbench.{kind}+json": {"name": "n"}, "text/plain": "SECRETLY"}
    assert "SECRETLY" not in check(report(ran(display(bundle)))).words


def test_active_and_unknown_outputs_leave_a_note() -> None:
    script = {"application/javascript": "alert(1)", "text/plain": "<Javascript object>"}
    found = check(
        report(
            ran(
                display(script),
                display({"application/vnd.jupyter.widget-view+json": {"a": 1}, "text/plain": "W"}),
                display({"application/x-odd": "1"}),
                display({"text/html": "<script>x</script>", "text/plain": "fallback"}),
            )
        )
    )
    assert found.words.count("output left out") == 3
    assert "alert(1)" not in found.words
    assert "fallback" in found.words


def test_streams_lose_terminal_codes_and_keep_the_last_state_of_a_progress_bar() -> None:
    parts = [
        new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m 1%\r"),
        new_output("stream", name="stdout", text="done 100%\nnext\r\n"),
        new_output("stream", name="stderr", text="careful"),
    ]
    found = check(report(ran(*parts)))
    assert "done 100% next" in found.words
    assert "1%\r" not in "".join(found.texts)
    assert "[31m" not in found.words
    assert "stderr careful" in found.words.replace("stderrcareful", "stderr careful")


def test_huge_outputs_are_shortened_and_say_so() -> None:
    started = time.monotonic()
    page = report(ran(new_output("stream", name="stdout", text="START" + "x" * 5_000_000 + "END")))
    assert len(page) < 300_000
    found = check(page)
    assert "characters left out here" in found.words
    assert "START" in found.words
    assert "END" in found.words
    check(report(ran(display({"text/html": "<div>" * 3000 + "<h2>deep</h2>"}))))
    assert time.monotonic() - started < 10


def test_a_failure_is_told_at_the_top_and_at_its_cell() -> None:
    cells = [new_markdown_cell("# T"), ran(source="a"), ran(source="b"), new_code_cell("c")]
    cells[2].outputs = [
        new_output("error", ename="E", evalue="boom", traceback=["\x1b[0mtrace <b>"])
    ]
    cells[2].metadata["tags"] = ["remove-cell"]
    error = {"cell": 2, "name": "KeyError", "message": "boom", "traceback": "trace <b>"}
    found = check(report(*cells, status="error", error=error, started="2026-11-21T06:15:02Z"))
    assert "This run failed in cell 3: KeyError" in found.words
    assert "#cell-3" in [a.get("href") for a in found.all("a")]
    contents(found)
    assert "Cell 3 – the run stopped here" in found.words
    assert "Cell 4 – not run" in found.words
    assert "Cell 2 – not run" not in found.words
    assert found.words.startswith("T – failed – 2026-11-21")
    assert found.words.count("trace <b>") == 2


def test_a_cell_papermill_completed_and_an_empty_one_are_not_called_not_run() -> None:
    done = new_code_cell("x")
    done.metadata["papermill"] = {"status": "completed"}
    assert "not run" not in check(report(done, new_code_cell("  "))).words
    waiting = new_code_cell("x")
    waiting.metadata["papermill"] = {"status": "pending"}
    assert "not run" in check(report(waiting)).words


STATUSES = {
    "passed": "Passed",
    "warned": "Passed with warnings",
    "data-failed": "Data check failed",
    "error": "Failed",
    "timeout": "Timed out",
    "kernel-died": "Kernel died",
    "cancelled": "Cancelled",
    "surprise": "Unknown status: surprise",
}


def test_every_status_has_its_own_words_and_symbol() -> None:
    symbols = set()
    for status, words in STATUSES.items():
        page = report(new_markdown_cell("# T"), status=status)
        found = check(page)
        assert words in found.words
        assert ("banner" in {a.get("id") for _, a in found.tags}) == (status != "passed")
        symbols |= set(re.findall(r'class="pill \w+"><span aria-hidden="true">(.)</span>', page))
    assert len(symbols) == len(STATUSES)


def test_header_and_footer_tell_figures_parameters_and_provenance() -> None:
    run = json.loads("""{"name": "run_colors", "parameters": {"sector": null, "n": 1, "on": true},
      "figures": [{"name": "Children", "value": 1507, "unit": "colors", "previous": 1495},
                  {"name": "Parents", "value": 412, "previous": 412},
                  {"name": "Rate", "value": 0.3, "previous": 0.1},
                  {"name": "New", "value": 17734072432755618, "previous": null}],
      "as_of": "2026-11-20", "started": "2026-11-21T06:15:02+00:00", "duration": 64.2,
      "peak_memory": 412000000, "git": {"commit": "d07b33b", "dirty": true},
      "versions": {"workbench": "0.1.0"}, "host": "h",
      "sources": [{"name": "demo", "kind": "postgresql", "server": "16.2"}]}""")
    words = check(report(new_markdown_cell("# T"), **run)).words
    for part in (
        *("1,507 colors", "+12 since last run", "unchanged", "+0.2 since last run"),
        *("17,734,072,432,755,618", "20 November 2026", "21 Nov 2026, 06:15 UTC", "1 min 4 s"),
        *("412 MB", "d07b33b, with uncommitted changes", "demo (postgresql), 16.2"),
    ):
        assert part in words
    assert re.search(r"sector\s*none.*n\s*1.*on\s*true", words)
    assert words.count("since last run") == 2


def test_tags_remove_what_they_name() -> None:
    words = check(
        report(
            ran(source="gone", tags=["remove-cell"]),
            ran(
                new_output("stream", name="stdout", text="kept"),
                source="hid",
                tags=["remove-input"],
            ),
            new_markdown_cell(
                "An Exception was encountered", metadata={"tags": ["papermill-error-cell-tag"]}
            ),
            ran(source="params", tags=["injected-parameters"]),
        )
    ).words
    assert "kept" in words
    assert "params" in words
    assert not [word for word in ("gone", "hid", "Exception") if word in words]
