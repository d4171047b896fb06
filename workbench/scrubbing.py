"""Secret values, found in texts and files in all forms that common encoders give them."""

from __future__ import annotations

import base64
import bz2
import copy
import gzip
import html
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from html.entities import codepoint2name
from itertools import groupby
from pathlib import Path
from typing import IO, Any, TypeVar

MINIMUM = 6
MARK = "[redacted]"
CHUNK = 4 << 20
PREFIX = 64  # characters of a secret that make its beginning certain, however long it is
T = TypeVar("T")
Span = tuple[int, int]

# Terminal colours, as they are and as JSON and repr write them: they can split a secret.
COLOUR = r"(?:\x1b|\\{%s}(?:[uU]001[bB]|x1[bB]))\[[0-9;:]{0,20}m"
BEGUN = r"(?:\x1b|\\{1,7}(?:[uU]0?0?1?[bB]?|x1?[bB]?)?)(?:\[[0-9;:]{0,20})?\Z"
# With one backslash, or with all there are: what is before them may end in one.
COLOURS = tuple(re.compile(COLOUR % count) for count in ("1", "1,7"))
COLOURS_BEGUN = tuple(re.compile(f"{COLOUR % count}|{BEGUN}") for count in ("1", "1,7"))
RAW_COLOURS = (re.compile(r"\x1b\[[0-9;:]{0,20}m"),)  # twenty times as fast
UNFINISHED = r"(?:[\\&%][\\&%#;\w]{0,60}|\r)\Z"  # an escape whose end has not arrived
SHORT = dict(zip("\n\r\t\b\f\a\v\0", "nrtbfav0", strict=True))
BASE64 = {"+": r"(?:[+-]|%2[bB])", "/": r"(?:\\{0,3}/|_|%2[fF])"}
PACKED: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
TORN = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error,
        lzma.LZMAError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One form of a secret: what every match of it holds, and the expressions that find it."""

    needle: str
    steps: tuple[str, ...]
    before: str
    after: str

    @cached_property
    def whole(self) -> re.Pattern[str]:
        """Find all of it."""
        return re.compile(self.before + "".join(self.steps) + self.after)

    @cached_property
    def most(self) -> re.Pattern[str]:
        """Find three quarters of it."""
        return re.compile("".join(self.steps[: -(-3 * len(self.steps) // 4)]))

    @cached_property
    def beginning(self) -> re.Pattern[str]:
        """Find any part of it, from its first character on, that ends with the text."""
        steps, more = self.steps[:PREFIX], self.steps[PREFIX:]
        # An escaped character takes 60 at most: what is longer is not the same secret any more.
        room = sum(1 if len(step) == 1 else 60 for step in more)
        rest = rf"[\s\S]{{0,{room}}}\Z" if more else rf"(?:\Z|{UNFINISHED})"
        for step in reversed(steps[1:] if more else steps[1:-1]):
            rest = rf"(?:\Z|{UNFINISHED}|{step}{rest})"
        return re.compile(steps[0] + rest + (f"|{UNFINISHED}" if len(steps[0]) > 1 else ""))


class Secrets:
    """A set of secret values, found in the forms that common encoders give them."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: other threads read while one adds.
        self._rules: tuple[Rule, ...] = ()
        self._codes: frozenset[bytes] = frozenset()
        self._reach = 0

    def __bool__(self) -> bool:
        return bool(self._rules)

    def add(self, value: str) -> None:
        """Know a value from now on; one shorter than MINIMUM would redact half of any text."""
        if len(value) < MINIMUM:
            raise ValueError(f"A secret has {MINIMUM} characters or more.")
        # A key of several lines comes back line by line: in tracebacks, in a notebook's JSON.
        lines = [line for line in value.splitlines() if len(line) >= 16 and line[:5] != "-----"]
        rules = dict.fromkeys(self._rules)
        for text in (value, *lines):
            rules |= dict.fromkeys(_rules(text))
            for encoding in ("utf-16-le", "utf-16-be", "latin-1"):
                with suppress(UnicodeEncodeError):
                    self._codes |= {text.encode(encoding)}
        self._reach = max(self._reach, 64 * len(value) + 4096)
        self._rules = tuple(rules)

    def scrub(self, text: str) -> str:
        """Return the text with MARK in place of every secret; the same text if it has none."""
        for mark in (MARK, MARK):
            if not (spans := self.spans(text)):
                return text
            text = _masked(text, spans, 0, len(text), mark)
        while spans := self.spans(text):
            # The mark itself holds the secret, or makes one with what stands beside it.
            text = _masked(text, spans, 0, len(text), "")
        return text

    def scrub_tree(self, value: T) -> T:
        """Return a tree of dicts and lists scrubbed: new where it changed, else the same."""
        return self._tree(value) if self._rules else value

    def scrub_bytes(self, data: bytes) -> bytes:
        """Return binary data with asterisks for every secret; its length stays as it is."""
        if not self._rules or not self._in_bytes(data):
            return data
        text = data.decode("utf-8", "surrogateescape")
        for start, end in reversed(self.spans(text)):
            length = len(text[start:end].encode("utf-8", "surrogateescape"))
            text = text[:start] + "*" * length + text[end:]
        clean = text.encode("utf-8", "surrogateescape")
        # In UTF-16, say, nothing tells where it begins and ends.
        return b"*" * len(data) if self._in_bytes(clean) else clean

    def found_in(self, path: Path) -> bool:
        """Tell whether a file holds a secret, also inside zip, gzip, bzip2, xz and Parquet."""
        if not self._rules:
            return False
        with path.open("rb") as file:
            return self._in_file(file, 0)

    def spans(self, text: str, which: str = "whole") -> list[Span]:
        """Return where secrets stand, in order; those that overlap or touch are one."""
        found = self._matches(text, which)
        patterns: tuple[re.Pattern[str], ...]
        if which == "beginning":
            patterns = COLOURS_BEGUN
        elif "1b[" in text or "1B[" in text:
            patterns = COLOURS
        else:
            patterns = RAW_COLOURS if "\x1b[" in text else ()
        for colours in patterns:
            found += self._between(text, which, colours)
        merged: list[Span] = []
        for start, end in sorted(found):
            if merged and start <= merged[-1][1]:
                start, end = merged[-1][0], max(end, merged.pop()[1])
            merged.append((start, end))
        return merged

    def _between(self, text: str, which: str, colours: re.Pattern[str]) -> Iterator[Span]:
        """Look into the text without colours, and map what is found back."""
        pieces, starts, shifts, at = [], [0], [0], 0
        for colour in colours.finditer(text):
            pieces.append(text[at : colour.start()])
            at = colour.end()
            starts.append(starts[-1] + len(pieces[-1]))
            shifts.append(at - starts[-1])
        for start, end in self._matches("".join(pieces) + text[at:], which) if pieces else ():
            first, last = (bisect_right(starts, place) - 1 for place in (start, end - 1))
            yield start + shifts[first], end + shifts[last]

    def beginning(self, text: str) -> int:
        """Return where the end of the text may be the beginning of a secret; else its length."""
        start = max(0, len(text) - self._reach)
        found = self.spans(text[start:], "beginning")
        return start + found[0][0] if found else len(text)

    def _matches(self, text: str, which: str) -> list[Span]:
        # `in` is many times as fast as the expression, which is asked only where it can match.
        return [
            match.span()
            for rule in self._rules
            if which != "whole" or rule.needle in text
            for match in getattr(rule, which).finditer(text)
        ]

    def _tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, bytes | bytearray):
            return self.scrub_bytes(bytes(value))
        if isinstance(value, dict):
            pairs = [(self._tree(key), self._tree(item)) for key, item in value.items()]
            old = value.items()
            if all(a is c and b is d for (a, b), (c, d) in zip(pairs, old, strict=True)):
                return value
            new = copy.copy(value)  # a NotebookNode stays one
            new.clear()
            new.update(pairs)
            return new
        if isinstance(value, list | tuple | set | frozenset):
            items = [self._tree(item) for item in value]
            if all(a is b for a, b in zip(items, value, strict=True)):
                return value
            return value._make(items) if hasattr(value, "_make") else type(value)(items)
        return value

    def _in_file(self, file: IO[bytes], depth: int) -> bool:
        window = b""
        while chunk := file.read(max(CHUNK, self._reach)):
            window = window[-4 * self._reach :] + chunk
            if self._in_bytes(window):
                return True
        # What is torn, locked or unknown was searched as it stands.
        with suppress(*TORN):
            file.seek(0)
            for inner in _inside(file) if depth < 4 else ():
                with suppress(*TORN):
                    if self._in_file(inner, depth + 1):
                        return True
        return False

    def _in_bytes(self, data: bytes) -> bool:
        # Without its zeros, UTF-16 and UTF-32 read like ASCII.
        texts = (data, data.replace(b"\0", b"")) if b"\0" in data else (data,)
        return any(self.spans(text.decode("utf-8", "replace")) for text in texts) or any(
            code in data for code in self._codes
        )


class Stream:
    """One stream of one cell, which keeps back what may be the beginning of a secret."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self.held = ""
        # A beginning that had to be let out: what completes it is redacted nevertheless.
        self.sent = ""

    def feed(self, text: str) -> str:
        """Take what was written; return what may be shown of it and of what was kept back."""
        text, done = self.sent + self.held + text, len(self.sent)
        spans = self.secrets.spans(text)
        cut = self.secrets.beginning(text)
        # A secret can be the beginning of a longer one, or its end the beginning of another.
        cut = min([cut, *(start for start, end in spans if start < cut < end)])
        self.sent, self.held = text[min(cut, done) : done], text[max(cut, done) :]
        return _masked(text, spans, done, cut, MARK)

    def release(self) -> str:
        """Return what was kept back, when something else is to be shown after it.

        A beginning is no secret; but three quarters of one are redacted like the whole.
        """
        if not self.held:
            return ""
        text, done = self.sent + self.held, len(self.sent)
        self.sent, self.held = text, ""
        most = [(start, len(text)) for start, _ in self.secrets.spans(text, "most")]
        return _masked(text, sorted(self.secrets.spans(text) + most), done, len(text), MARK)


def _masked(text: str, spans: list[Span], start: int, end: int, mark: str) -> str:
    parts: list[str] = []
    at = start
    for first, last in spans:
        if first < end and last > start and (first >= at or not parts):
            parts += [text[at : max(first, at)], mark]
            at = last
    return "".join([*parts, text[at:end]])


def _rules(value: str) -> Iterator[Rule]:
    yield _rule(value, _steps(value))
    for form in {value, html.escape(value), json.dumps(value)[1:-1]}:
        octets = form.encode("utf-8", "surrogatepass")
        for before in range(3):
            whole = base64.b64encode(b"\0" * before + octets).decode()
            # The characters that the secret alone decides; those beside them are cut as well.
            first, last = (0, 2, 3)[before], (before + len(octets)) * 8 // 6
            steps = [BASE64.get(char, char) for char in whole[first:last]]
            beside = "[A-Za-z0-9+/_-]?"
            yield _rule(whole[first:last], steps, beside if before else "", beside)


def _rule(text: str, steps: list[str], before: str = "", after: str = "") -> Rule:
    needle = max(re.findall("[A-Za-z0-9]+", text), key=len, default="")
    return Rule(needle, tuple(steps), before, after)


def _steps(value: str) -> list[str]:
    """Return an expression for each character, in every form that encoders may give it."""
    steps: list[str] = []
    for char, run in groupby(value):
        count = len(list(run))
        if char.isascii() and char.isalnum():
            steps += [char] * count
        elif char == "\\":
            # Each JSON or repr around another one doubles them.
            steps.append(rf"(?:(?:{_escapes(char)}){{{count}}}|\\{{{count},{8 * count}}})")
        else:
            literal = r"\r?\n" if char == "\n" else re.escape(char)
            # CSV and SQL double the quotes inside quotes.
            literal += "{1,2}" if char in "\"'" else ""
            steps += [rf"(?:{_escapes(char)}|\\{{0,7}}{literal})"] * count
    return steps


def _escapes(char: str) -> str:
    octets = char.encode("utf-8", "surrogatepass")
    units = char.encode("utf-16-be", "surrogatepass").hex()
    code = ord(char)
    name = "apos" if char == "'" else codepoint2name.get(code, f"#{code}")
    forms = [
        "".join(f"%(?:25){{0,3}}{octet:02x}" for octet in octets),
        rf"\\{{0,7}}&(?:amp;){{0,3}}(?:#0*{code}|#x0*{code:x}|{name});",
        "".join(rf"\\{{1,7}}u{units[at : at + 4]}" for at in range(0, len(units), 4)),
        rf"\\{{1,7}}U{code:08x}",
        "".join(rf"\\{{1,7}}x{octet:02x}" for octet in octets),
        rf"\\{{1,7}}x{code:02x}",
    ]
    if char == " ":
        forms.append(r"\+")
    if short := SHORT.get(char):
        # The lines of a text are a list in a notebook's JSON.
        forms.append(rf"\\{{1,7}}{short}" + (r'(?:"\s*,\s*")?' if char == "\n" else ""))
    return f"(?i:{'|'.join(forms)})"


def _inside(file: IO[bytes]) -> Iterator[IO[bytes]]:
    head = file.read(6)
    file.seek(0)
    for magic, opened in PACKED.items():
        if head.startswith(magic):
            yield opened(file)
    if head.startswith(b"PAR1"):
        from pyarrow import parquet

        for batch in parquet.ParquetFile(file).iter_batches():
            for column in batch.columns:
                yield from map(io.BytesIO, _contents(column))
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                with suppress(*TORN), archive.open(entry) as member:
                    yield member


def _contents(column: Any) -> Iterator[Any]:
    from pyarrow import types

    if types.is_dictionary(column.type):
        yield from _contents(column.dictionary)
    elif types.is_nested(column.type):
        yield str(column.to_pylist()).encode("utf-8", "surrogatepass")
    else:
        yield from filter(None, column.buffers())
