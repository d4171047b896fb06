"""What a code cell printed, displayed or raised, as markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from markupsafe import Markup

from workbench.reporting.sanitise import Outline, markdown, sanitise

# The runner has put these into run.json; they show up in the header and the footer.
_COLLECTED = {f"application/vnd.workbench.{kind}+json" for kind in ("figure", "source", "as-of")}
_ACTIVE = re.compile(r"application/(javascript|vnd\.jupyter\.widget.*|vnd\.holoviews.*)")
_LONGEST = 200_000
# Of what an output offers, the first of these that leaves something to see is shown.
_PREFERRED = (
    *("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp"),
    *("text/html", "text/markdown", "text/latex"),
)
_SIDES = ("width", "height")

Output = Mapping[str, Any]


def shown(outputs: Iterable[Output], outline: Outline) -> Markup:
    """Return all outputs of one cell, in their order, streams of one kind joined."""
    parts = []
    for name, run in groupby(outputs, key=_stream_name):
        if name:
            parts.append(stream(name, "".join(text_of(output.get("text")) for output in run)))
        else:
            parts.extend(_one(output, outline) for output in run)
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


def _one(output: Output, outline: Outline) -> Markup:
    if output.get("output_type") == "error":
        trace = "\n".join(map(str, output.get("traceback") or []))
        return Markup('<div class="failure"><p><strong>{}</strong>: {}</p>{}</div>').format(
            output.get("ename") or "Error", output.get("evalue") or "", trace and block(trace)
        )
    data = output.get("data") or {}
    if not data or _COLLECTED & set(data):
        return Markup()
    for mime in _PREFERRED:
        if mime in data and (markup := _shown_as(mime, output, outline)):
            return markup
    active = next((mime for mime in data if _ACTIVE.fullmatch(mime)), None)
    if active is None and "text/plain" in data:
        return block(text_of(data["text/plain"]))
    return note(f"output left out: {active or ', '.join(data)}")


def _shown_as(mime: str, output: Output, outline: Outline) -> Markup:
    content = text_of(output["data"][mime])
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
    stated = (output.get("metadata") or {}).get(mime) or {}
    alt = _alt(stated, output["data"])
    sizes = [stated.get(side) for side in _SIDES]
    if mime == "image/svg+xml":
        root = re.search(r"<svg\b[^<>]*>", content)
        if root is None:
            return Markup()
        content = base64.b64encode(content[root.start() :].encode()).decode()
        found = (re.search(rf"""\s{side}=["'](\d+)[\d.]*(px)?["']""", root[0]) for side in _SIDES)
        sizes = [size and size[1] for size in found]
    content = "".join(content.split())
    if len(content) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", content):
        return note(f"image left out, it is damaged: {alt}")
    # Known sizes keep the text from jumping while the page is laid out.
    size = Markup(' width="{}" height="{}"').format(*sizes) if all(sizes) else ""
    image = Markup('<figure><img src="data:{};base64,{}" alt="{}"{}></figure>')
    return image.format(mime, content, alt, size)


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
