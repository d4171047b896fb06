"""What a code cell printed, displayed or raised, as markup."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from markupsafe import Markup

from workbench.reporting.sanitise import Outline, markdown, sanitise

# The runner has put these into run.json; they show up in the header and the footer.
_COLLECTED = {f"application/vnd.workbench.{kind}+json" for kind in ("figure", "source", "as-of")}
_ACTIVE = re.compile(r"application/(javascript|vnd\.jupyter\.widget.*|vnd\.holoviews.*)")
_LONGEST = 200_000
_RASTER = ("image/png", "image/jpeg", "image/gif", "image/webp")

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


def failure(output: Output) -> Markup:
    """Return an exception: its name and message, and the traceback behind them."""
    trace = "\n".join(map(str, output.get("traceback") or []))
    return Markup('<div class="failure"><p><strong>{}</strong>: {}</p>{}</div>').format(
        output.get("ename") or "Error", output.get("evalue") or "", block(trace) if trace else ""
    )


def note(text: str) -> Markup:
    """Return a remark of the page itself about something it does not show."""
    return Markup('<p class="note">[{}]</p>').format(text)


def _stream_name(output: Output) -> str:
    return str(output.get("name") or "stdout") if output.get("output_type") == "stream" else ""


def _one(output: Output, outline: Outline) -> Markup:
    if output.get("output_type") == "error":
        return failure(output)
    data = output.get("data")
    if not isinstance(data, Mapping) or not data or _COLLECTED & set(data):
        return Markup()
    for mime, show in _WAYS.items():
        if mime in data and (markup := show(mime, output, outline)):
            return markup
    active = next((mime for mime in data if _ACTIVE.fullmatch(mime)), None)
    if active is None and "text/plain" in data:
        return block(text_of(data["text/plain"]))
    return note(f"output left out: {active or ', '.join(data)}")


def _svg(mime: str, output: Output, outline: Outline) -> Markup:
    text = text_of(output["data"][mime])
    root = re.search(r"<svg\b[^<>]*>", text)
    if root is None:
        return Markup()
    width, height = (_pixels(root[0], side) for side in ("width", "height"))
    content = base64.b64encode(text[root.start() :].encode()).decode()
    return _figure(f"data:{mime};base64,{content}", _alt(mime, output), width, height)


def _raster(mime: str, output: Output, outline: Outline) -> Markup:
    content = "".join(text_of(output["data"][mime]).split())
    try:
        head = base64.b64decode(content, validate=True)[:24]
    except (binascii.Error, ValueError):
        return note(f"image left out, it is damaged: {_alt(mime, output)}")
    width, height = None, None
    if mime == "image/png" and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
    metadata = _metadata(mime, output)
    if isinstance(metadata.get("width"), int) and isinstance(metadata.get("height"), int):
        width, height = metadata["width"], metadata["height"]
    return _figure(f"data:{mime};base64,{content}", _alt(mime, output), width, height)


def _html(mime: str, output: Output, outline: Outline) -> Markup:
    return sanitise(text_of(output["data"][mime]), outline)


def _markdown(mime: str, output: Output, outline: Outline) -> Markup:
    return markdown(text_of(output["data"][mime]), outline)


def _latex(mime: str, output: Output, outline: Outline) -> Markup:
    return block(text_of(output["data"][mime]))


_WAYS: dict[str, Callable[[str, Output, Outline], Markup]] = {
    "image/svg+xml": _svg,
    **dict.fromkeys(_RASTER, _raster),
    "text/html": _html,
    "text/markdown": _markdown,
    "text/latex": _latex,
}


def _figure(source: str, alt: str, width: int | None, height: int | None) -> Markup:
    # Known sizes keep the text from jumping while the page is laid out.
    known = Markup(' width="{}" height="{}"').format(width, height) if width and height else ""
    return Markup('<figure><img src="{}" alt="{}"{}></figure>').format(source, alt, known)


def _pixels(root: str, side: str) -> int | None:
    found = re.search(rf'\s{side}=["\']([\d.]{{1,9}})(px|pt)?["\']', root)
    if found is None:
        return None
    try:
        return round(float(found[1]) * (4 / 3 if found[2] == "pt" else 1))
    except ValueError:
        return None


def _metadata(mime: str, output: Output) -> Mapping[str, Any]:
    metadata = output.get("metadata")
    own = metadata.get(mime) if isinstance(metadata, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _alt(mime: str, output: Output) -> str:
    specs = [item for key, item in output["data"].items() if "vega" in key]
    spec: Mapping[str, Any] = specs[0] if specs and isinstance(specs[0], Mapping) else {}
    title = spec.get("title")
    if isinstance(title, Mapping):
        title = title.get("text")
    for words in (_metadata(mime, output).get("alt"), spec.get("description"), title):
        text = " ".join(map(str, words)) if isinstance(words, list) else words
        if isinstance(text, str) and text.strip():
            return " ".join(text.split())
    return "Chart"
