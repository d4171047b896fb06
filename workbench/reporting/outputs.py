"""What a code cell printed, displayed or raised, as markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from workbench import records
from workbench.reporting.sanitise import Outline, markdown, sanitise
from workbench.reporting.text import WARNING, verdict_of

# The runner has put these into run.json; they show up in the header and the footer.
_COLLECTED = {records.FIGURE, records.SOURCE, records.AS_OF}
_ACTIVE = re.compile(r"application/(javascript|vnd\.jupyter\.widget.*|vnd\.holoviews.*)")
_LONGEST = 200_000
# Of what an output offers, the first of these that leaves something to see is shown.
_PREFERRED = (
    *("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp"),
    *("text/html", "text/markdown", "text/latex"),
)
_SIDES = ("width", "height")
_BROAD = 500  # pixels: beyond, letters would be too small on a telephone
_MAGIC = {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8", "webp": b"RIFF"}

Output = Mapping[str, Any]


def shown(outputs: Iterable[Output], outline: Outline) -> Markup:
    """Return all outputs of one cell, in their order, streams of one kind joined."""
    parts = []
    for name, run in groupby(outputs, key=_stream_name):
        if name:
            parts.append(stream(name, "".join(text_of(output.get("text")) for output in run)))
        else:
            parts.extend(_guarded(output, outline) for output in run)
    return Markup("\n").join(part for part in parts if part)


def text_of(value: Any) -> str:
    """Return a notebook's multi-line text, which may be a list of lines, as one text."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value or "")


def stream(name: str, text: str) -> Markup:
    """Return printed text; what was meant for stderr is marked."""
    if not text.strip():
        return Markup()
    # A progress bar overwrites its line again and again: the last state is what one saw.
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    if name == "stderr":
        return Markup('<div class="stderr"><span>stderr</span>{}</div>').format(block(text))
    return block(text)


def block(text: str) -> Markup:
    """Return preformatted text, shortened in the middle where nobody would read it all."""
    if len(text) > _LONGEST:
        left_out = len(text) - _LONGEST
        head, tail = text[: _LONGEST * 3 // 4], text[-_LONGEST // 4 :]
        note = f"[{left_out:,d} characters left out here; notebook.ipynb has them]"
        text = f"{head}\n\n{note}\n\n{tail}"
    return Markup("<pre>{}</pre>").format(text)


def note(text: str) -> Markup:
    """Return a remark of the page itself about something it does not show."""
    return Markup('<p class="note">[{}]</p>').format(text)


def _stream_name(output: Output) -> str:
    return str(output.get("name") or "stdout") if output.get("output_type") == "stream" else ""


def _guarded(output: Output, outline: Outline) -> Markup:
    try:
        return _one(output, outline)
    except Exception as error:
        # A careless library's output must not cost those beside it.
        return note(f"output could not be shown: {type(error).__name__}")


def _one(output: Output, outline: Outline) -> Markup:
    if output.get("output_type") == "error":
        trace = "\n".join(map(str, output.get("traceback") or []))
        return Markup('<div class="failure"><p><strong>{}</strong>: {}</p>{}</div>').format(
            output.get("ename") or "Error", output.get("evalue") or "", trace and block(trace)
        )
    data = output.get("data") or {}
    if not data or _COLLECTED & set(data):
        return Markup()
    if markup := _statement(data):
        return markup
    for mime in _PREFERRED:
        if mime in data and (markup := _shown_as(mime, output, outline)):
            return markup
    active = next((mime for mime in data if _ACTIVE.fullmatch(mime)), None)
    if active is None and (plain := _valid(data.get("text/plain"))) is not None:
        return block(plain)
    return note(f"output left out: {active or ', '.join(data)}")


def _statement(data: Mapping[str, Any]) -> Markup:
    """Return what the notebook, or the runner in its place, states of the data or of itself."""
    told = {mime: content for mime, content in data.items() if isinstance(content, Mapping)}
    if check := told.get(records.VALIDATION):
        symbol, tone, word = verdict_of(check)
        said = " – ".join(str(check[key]) for key in ("name", "message") if check.get(key))
    elif warning := told.get(records.WARNING):
        (symbol, tone, word), said = WARNING, str(warning.get("message") or "")
    else:
        remark = told.get(records.NOTE, {}).get("message")
        return note(remark) if isinstance(remark, str) else Markup()
    return Markup(
        '<p class="stated {}"><b><span aria-hidden="true">{}</span> {}</b> <bdi>{}</bdi></p>'
    ).format(tone, symbol, word.capitalize(), said)


def _valid(content: Any) -> str | None:
    """Return a notebook's text, or None where what stands in its place is no text."""
    lines = content if isinstance(content, list) else [content]
    return "".join(lines) if all(isinstance(line, str) for line in lines) else None


def _shown_as(mime: str, output: Output, outline: Outline) -> Markup:
    content = _valid(output["data"][mime])
    if content is None:
        return Markup()
    match mime:
        case "text/html":
            return sanitise(content, outline)
        case "text/markdown":
            return markdown(content, outline)
        case "text/latex":
            return block(content)
        case _:
            return _image(mime, content, output)


def _image(mime: str, content: str, output: Output) -> Markup:
    """Return an image; nothing where the content is none, so that the next offer is taken."""
    stated = (output.get("metadata") or {}).get(mime)
    stated = stated if isinstance(stated, Mapping) else {}
    sizes = [stated.get(side) for side in _SIDES]
    if mime == "image/svg+xml":
        root = re.search(r"<svg\b[^<>]*>", content)
        if root is None:
            return Markup()
        content = content[root.start() :].strip()
        try:
            ElementTree.fromstring(content)  # noqa: S314 - what could declare entities is cut off
        except ElementTree.ParseError:
            return Markup()
        found = (re.search(rf"""\s{side}=["'](\d+)[\d.]*(px)?["']""", root[0]) for side in _SIDES)
        sizes = [size and size[1] for size in found]
        content = base64.b64encode(content.encode()).decode()
    elif not _is_image(mime, content := "".join(content.split())):
        return Markup()
    # Known sizes keep the text from jumping while the page is laid out.
    size = Markup(' width="{}" height="{}"').format(*sizes) if all(sizes) else ""
    figure = _figure(*(int(size or 0) for size in sizes)) if "svg" in mime else Markup("<figure>")
    image = Markup('{}<img src="data:{};base64,{}" alt="{}"{}></figure>')
    return image.format(figure, mime, content, _alt(stated, output["data"]), size)


def _figure(width: int, height: int) -> Markup:
    # When printed, what is longer than a page goes on on the next one, not too small to read.
    kinds = ["tall"] if height > 1.3 * width > 0 else []
    if width <= _BROAD:
        return Markup('<figure class="{}">').format(*kinds) if kinds else Markup("<figure>")
    # On a small screen it keeps its size and scrolls, which a keyboard must be able to do.
    group = Markup('<figure class="{}" role="group" tabindex="0" aria-label="Wide image">')
    return group.format(" ".join(["scroll", *kinds]))


def _is_image(mime: str, content: str) -> bool:
    try:
        decoded = base64.b64decode(content, validate=True)
    except ValueError:
        return False
    return decoded.startswith(_MAGIC[mime.removeprefix("image/")])


def _alt(stated: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return what an image shows, by its author's word or the title of the chart beside it."""
    specs = (item for key, item in data.items() if "vega" in key and isinstance(item, dict))
    spec: Mapping[str, Any] = next(specs, {})
    title = spec.get("title")
    title = title.get("text") if isinstance(title, dict) else title
    for words in (stated.get("alt"), spec.get("description"), title):
        lines = words if isinstance(words, list) else [words or ""]
        if alt := " ".join(" ".join(map(str, lines)).split()):
            return alt
    return "Chart"
