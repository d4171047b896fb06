"""Values as words: every text made harmless for a page, numbers and times made readable."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

from workbench.moments import utc

_ANSI = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands: titles, links
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]"
)
# Lone surrogates cannot be written as UTF-8; the bidirectional controls can make a
# value read as another one; the rest are control characters no page should carry.
_UNSAFE = re.compile(
    "[\ud800-\udfff\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c"
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]"
)
_REPLACEMENT = "\ufffd"

Verdict = tuple[str, str, str]  # symbol, tone, word
WARNING: Verdict = ("!", "warn", "warning")


def inert(text: str) -> str:
    """Return the text without terminal codes, lone surrogates, controls and bidi overrides."""
    return _UNSAFE.sub(_REPLACEMENT, _ANSI.sub("", text))


def one_line(text: str) -> str:
    """Return the text inert and on one line."""
    return " ".join(inert(text).split())


def inert_tree(value: Any) -> Any:
    """Return a copy of a JSON-like value with every text in it inert, keys included."""
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, Mapping):
        return {inert(str(key)): inert_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inert_tree(item) for item in value]
    return value


def checked(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run.json holds: every text inert, what is not of its expected kind empty."""
    known: dict[str, Any] = inert_tree(run)
    for key in ("parameters", "versions", "error", "git", "compared_to"):
        known[key] = known[key] if isinstance(known.get(key), dict) else {}
    for key in ("figures", "sources", "validations", "warnings"):
        items = known[key] if isinstance(known.get(key), list) else []
        known[key] = [item for item in items if isinstance(item, dict)]
    return known


def finite(value: Any) -> TypeGuard[float]:
    """Tell whether a value is a number one can reckon with, which a yes or a no is not."""
    # No comparison with NaN holds, and an integer no float can hold is compared exactly.
    return type(value) in (int, float) and -1e300 < value < 1e300


def number(value: Any) -> str:
    """Format a figure: thousands separators, no digits a float does not have."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else "yes" if value else "no"
    if isinstance(value, int):
        digits = f"{value:,d}"
    elif not isinstance(value, float):
        return str(value)
    elif not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    elif 1e-4 <= abs(value) < 1e15:
        digits = f"{value:,.4f}".rstrip("0").rstrip(".")
    else:
        digits = f"{value:.4g}"
    return digits.replace("-", "−")


def change(figure: Mapping[str, Any], since: str) -> tuple[str, Verdict | None]:
    """Say how a figure moved, empty where that cannot be said, and whether that is good news."""
    value, previous = figure.get("value"), figure.get("previous")
    if not finite(value) or not finite(previous):
        return "", None
    if value == previous:
        return f"unchanged since {since}", None
    difference = value - previous
    if isinstance(difference, float):
        # 100.1 - 100.0 is 0.09999999999999432 in binary; nobody wants to read that.
        difference = float(f"{difference:.10g}")
    rose = difference > 0
    words = f"{'+' if rose else ''}{number(difference)} since {since}"
    if figure.get("better") not in ("up", "down"):
        return words, None
    symbol = "▲" if rose else "▼"
    good = rose == (figure["better"] == "up")
    return words, (symbol, "good", "better") if good else (symbol, "bad", "worse")


def verdict_of(check: Mapping[str, Any]) -> Verdict:
    """Return the symbol, tone and word of a validation; only a plain `true` counts as passed."""
    if check.get("passed") is True:
        return "✓", "good", "passed"
    return (
        ("!", "warn", "warning") if check.get("severity") == "warning" else ("✕", "bad", "failed")
    )


def parameter(value: Any) -> str:
    """Format a parameter's value as one line of text."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(parameter, value)) or "(none)"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value) or "(empty)"


def instant(value: Any) -> datetime | None:
    """Parse an ISO 8601 time, taken as UTC where it names no zone; None where it is no time."""
    try:
        return utc(datetime.fromisoformat(value))
    except (TypeError, ValueError, OverflowError):
        return None


def moment(value: Any) -> str:
    """Format an ISO 8601 time as a reader's UTC time; anything else comes back as text."""
    parsed = instant(value)
    if parsed is None:
        return "" if value is None else str(value)
    if len(value) == len("2025-01-31"):
        return f"{parsed.day} {parsed:%B} {parsed.year}"
    return f"{parsed.day} {parsed:%b} {parsed.year}, {parsed:%H:%M} UTC"


def duration(seconds: Any) -> str:
    """Format seconds as `0.8 s`, `12 s`, `3 min 5 s` or `2 h 4 min`; empty for anything else."""
    if not finite(seconds) or seconds < 0:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,d} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: Any) -> str:
    """Format a number of bytes as MB; empty for anything else."""
    return f"{count / 1e6:,.0f} MB" if finite(count) else ""
