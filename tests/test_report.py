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

from workbench import records
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


def infested(
    value: str, *, html_too: bool = True, status: str = "error"
) -> tuple[nbformat.NotebookNode, dict]:
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
        display({records.VALIDATION: {"name": value, "passed": False, "message": value}}),
        display({records.WARNING: {"message": value}}),
        display({records.NOTE: {"message": value}}),
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
        "status": status,
        "parameters": {value: value, "list": [value], "map": {value: value}},
        "error": {
            "cell": 1,
            **dict.fromkeys(("name", "message", "traceback", "last_words"), value),
        },
        "warnings": [{"cell": 1, "message": value}, {"cell": value, "message": value}],
        "validations": [
            {"name": value, "passed": False, "severity": kind, "message": value}
            for kind in ("critical", "warning", value)
        ],
        "figures": [
            {"name": value, "value": value, "unit": value, "previous": value, "better": value},
            {"name": value, "value": 2, "unit": value, "previous": 1, "better": "up"},
        ],
        "compared_to": {"run_id": value, "same_parameters": False, "chosen": True},
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
    notebook = new_notebook()
    notebook.cells = list(cells)
    return render(notebook, {"status": "passed", **run})


def ran(*outputs: nbformat.NotebookNode, source: str = "x", **metadata: object) -> object:
    cell = new_code_cell(source, execution_count=1)
    cell.outputs = list(outputs)
    cell.metadata.update(metadata)
    return cell


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_inert(value: str) -> None:
    for status in ("warned", "data-failed", "kernel-died"):
        check(render(*infested(value, status=status)))
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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(awkward)
def test_any_text_survives_as_text_in_every_place(value: str) -> None:
    wanted = expected(value)
    found = check(render(*infested(value, html_too=False)))
    # Header (name, parameters, figures, error), banner, cell source, streams and failure.
    assert wanted in found.words
    assert "".join(found.texts).count(text.inert(value).replace("\r", "\n")) >= 8


@settings(max_examples=40, deadline=None)
@given(awkward)
def test_any_text_in_html_and_markdown_stays_inert(value: str) -> None:
    check(report(new_markdown_cell(value), ran(display({"text/html": value}))))


@settings(max_examples=40, deadline=None)
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
    "schema_version run_id notebook name title parameters status error warnings validations "
    "figures compared_to as_of started finished duration peak_memory git versions sources host"
).split()


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(RUN_KEYS), json_like), st.sampled_from(list(STATUSES)))
def test_any_run_json_gives_a_report(run: dict, status: str) -> None:
    notebook = new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("x")])
    check(render(notebook, run))
    check(render(notebook, {**run, "status": status}))


odd_items = st.lists(
    st.dictionaries(
        st.sampled_from("name passed severity message cell value previous better unit".split()),
        json_like | st.sampled_from(["warning", "up", "down", 0, 1, True]),
    ),
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(odd_items, st.sampled_from(list(STATUSES)))
def test_any_warning_validation_or_figure_gives_a_report(items: list, status: str) -> None:
    run = dict.fromkeys(("warnings", "validations", "figures"), items)
    error = dict(items[0]) if items else {}
    notebook = new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("x")])
    check(render(notebook, {**run, "error": error, "status": status}))


MIMES = [
    *("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp", "text/html"),
    *("text/markdown", "text/latex", "text/plain", "application/json", "application/javascript"),
    *(records.VALIDATION, records.WARNING, records.NOTE, records.FIGURE),
]


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.sampled_from(MIMES), json_like | st.lists(st.text(max_size=4))) | json_like,
    json_like | st.dictionaries(st.sampled_from(MIMES), json_like),
)
def test_any_output_gives_a_report_with_what_stands_beside_it(data: object, metadata: object):
    odd = display({})
    odd.data, odd.metadata = data, metadata
    found = check(
        report(ran(display({"text/plain": "before"}), odd, display({"text/plain": "aft"})))
    )
    assert "before" in found.words
    assert "aft" in found.words


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
    region = next(a for a in found.all("div") if a.get("role") == "group")
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


def test_a_cell_the_kernel_never_counted_is_called_not_run_but_an_empty_one_is_not() -> None:
    # In the end papermill calls every cell completed, whatever became of the kernel.
    waiting = new_code_cell("x", metadata={"papermill": {"status": "completed"}})
    assert "Cell 1 – not run" in check(report(waiting)).words
    assert "not run" not in check(report(ran(source="x"), new_code_cell("  "))).words


@pytest.mark.parametrize(
    ("status", "mark"),
    [
        ("timeout", "was running when the time was up"),
        ("kernel-died", "was running when the kernel died"),
        ("cancelled", "was running when the run was cancelled"),
    ],
)
def test_a_run_that_was_ended_says_where_and_with_the_kernels_last_words(
    status: str, mark: str
) -> None:
    cells = [ran(source="a"), ran(source="b"), new_code_cell("c")]
    error = {"cell": 1, "name": "", "message": "The kernel was killed by signal 11.",
             "traceback": "", "last_words": "free(): invalid\x1b[0m pointer"}  # fmt: skip
    found = check(report(*cells, status=status, error=error))
    assert f"Cell 2 – {mark}" in found.words
    assert "the run stopped here" not in found.words
    assert "Cell 3 – not run" in found.words
    assert "Cell 1 –" not in found.words
    assert " in cell 2 The kernel was killed by signal 11." in found.words
    assert "so this page is incomplete" in found.words
    assert "Last words of the kernel, from its own stderrfree(): invalid pointer" in found.words
    assert "memory" not in found.words  # the reason is not known, so none is guessed


def test_a_run_to_the_end_marks_no_cell_as_its_end() -> None:
    for status in ("passed", "warned"):
        found = check(report(ran(source="a"), status=status, error={"cell": 0, "message": "m"}))
        assert "Cell 1 –" not in found.words
        assert "incomplete" not in found.words
    # sys.exit(0) in the middle: good, but not all of it.
    assert "page is incomplete" in check(report(new_code_cell("x"), status="warned")).words


CHECKS = [
    {"name": "prices", "passed": False, "severity": "critical", "message": "14 lie outside"},
    {"name": "quotes", "passed": False, "severity": "warning", "message": "312 stand twice"},
    {"name": "ids", "passed": True, "severity": "critical", "message": None},
    {"name": "vague", "passed": 1, "severity": 5},
]


def banner(page: str) -> str:
    found = re.search(r'<section class="banner.*?</section>', page, re.DOTALL)
    return parse(found[0]).words if found else ""


def test_the_banner_lists_what_decided_and_the_warnings() -> None:
    warnings = [{"cell": 1, "message": "feed ended early"}, {"cell": 9, "message": "no such cell"}]
    cells = [new_markdown_cell("# T"), ran(source="a")]
    page = report(*cells, status="data-failed", validations=CHECKS, warnings=warnings)
    assert "✕ failed prices: 14 lie outside" in banner(page)
    assert "✕ failed vague" in banner(page)
    assert "ids" not in banner(page)
    page = report(*cells, status="warned", validations=CHECKS[1:3], warnings=warnings)
    for part in ("! warning quotes: 312 stand twice", "feed ended early (cell 2)", "no such cell"):
        assert part in banner(page)
    assert "no such cell (" not in banner(page)
    found = check(page)
    assert "#cell-2" in [a.get("href") for a in found.all("a")]
    contents(found)
    hidden = ran(source="a", tags=["remove-cell"])
    found = check(report(hidden, status="warned", warnings=[{"cell": 0, "message": "w {x}"}]))
    assert "w {x}" in found.words
    assert "cell 1" not in found.words
    many = [{"cell": None, "message": f"w{i}"} for i in range(25)]
    found = check(report(status="warned", warnings=many))
    assert "15 more" in found.words
    assert "w24" in found.words


def test_checks_are_listed_with_verdicts_in_words_and_open_where_one_is_broken() -> None:
    page = report(ran(source="a"), status="data-failed", validations=CHECKS)
    found = check(page)
    assert "Checks: 1 of 4 passed" in found.words
    for part in ("prices✕ failed14 lie outside", "quotes! warning312 stand", "ids✓ passed"):
        assert part in found.words
    assert "vague✕ failed" in found.words
    assert "open" in next(a for a in found.all("details") if a.get("class") == "checks")
    many = [{**CHECKS[2], "name": f"check {i}"} for i in range(30)]
    found = check(report(validations=many))
    assert "Checks: 30 of 30 passed" in found.words
    assert "open" not in next(a for a in found.all("details") if a.get("class") == "checks")
    assert "Checks" not in check(report()).words


@pytest.mark.parametrize(
    ("better", "previous", "words"),
    [
        ("up", 1495, "▲ better +12 since last run"),
        ("up", 1520, "▼ worse −13 since last run"),
        ("down", 1495, "▲ worse +12 since last run"),
        ("down", 1520, "▼ better −13 since last run"),
        ("down", 1507, "unchanged since last run"),
        ("none", 1495, "+12 since last run"),
        ("sideways", 1495, "+12 since last run"),
    ],
)
def test_a_change_is_called_better_or_worse_where_its_direction_is_known(
    better: str, previous: int, words: str
) -> None:
    figure = {"name": "n", "value": 1507, "previous": previous, "better": better}
    found = check(report(figures=[figure])).words
    assert words in found
    assert ("better" in found) + ("worse" in found) == (words[0] in "▲▼")
    chosen = {"run_id": "20261120T0600-ab", "same_parameters": True, "chosen": True}
    found = check(report(figures=[figure], compared_to=chosen)).words
    assert words.replace("last run", "run 20261120T0600-ab") in found


def test_what_a_cell_states_of_the_data_shows_in_its_place() -> None:
    outputs = [display({records.VALIDATION: item, "text/plain": "no"}) for item in CHECKS[:3]]
    outputs += [
        display({records.WARNING: {"message": "feed ended early"}, "text/plain": "no"}),
        display({records.NOTE: {"message": "9 MB were cut off"}, "text/plain": "no"}),
        display({records.NOTE: {"message": 5}, "text/plain": "in its stead"}),
        display({records.WARNING: "text", "text/plain": "as text"}),
        display({records.VALIDATION: None}),
    ]
    found = check(report(ran(*outputs))).words
    for part in (
        *("✕ Failed prices – 14 lie outside", "! Warning quotes – 312 stand twice", "✓ Passed ids"),
        *("! Warning feed ended early", "[9 MB were cut off]", "in its stead", "as text"),
        "[output left out: application/vnd.workbench.validation+json]",
    ):
        assert part in found
    assert "no" not in found.split()


@pytest.mark.parametrize(
    ("mime", "content"),
    [
        ("image/png", "this is text"),
        ("image/png", "aGVsbG8gd29ybGQh"),
        ("image/jpeg", base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 30).decode()),
        ("image/png", {"a": 1}),
        ("image/gif", 12),
        ("image/svg+xml", "no picture"),
        ("image/svg+xml", "<svg><g></svg>"),
        ("image/svg+xml", ["<svg>", 5]),
        ("text/html", 42),
        ("text/html", {"a": "<b>x</b>"}),
        ("text/html", None),
        ("text/markdown", [1, 2]),
        ("text/latex", False),
        ("application/json", "{"),
    ],
)
def test_an_output_that_is_not_what_it_says_gives_way_to_the_next_or_a_note(
    mime: str, content: object
) -> None:
    found = check(report(ran(display({mime: content, "text/plain": "in words"}))))
    assert "in words" in found.words
    assert found.all("img") == []
    alone = check(report(ran(display({mime: content}), display({"text/plain": "beside"}))))
    assert f"[output left out: {mime}]" in alone.words
    assert "beside" in alone.words


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
        *("1,507 colors", "+12 since last run", "unchanged since last run", "+0.2 since last run"),
        *("17,734,072,432,755,618", "20 November 2026", "21 Nov 2026, 06:15 UTC", "1 min 4 s"),
        *("412 MB", "d07b33b, with uncommitted changes", "demo (postgresql), 16.2"),
    ):
        assert part in words
    assert re.search(r"sector\s*none.*n\s*1.*on\s*true", words)
    assert words.count("since last run") == 3


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
