"""What a notebook states about itself, carried inside it as outputs of MIME types of our own."""

from __future__ import annotations

import datetime as dt
import math
import sys
from decimal import Decimal
from typing import Any

FIGURE = "application/vnd.workbench.figure+json"
SOURCE = "application/vnd.workbench.source+json"
AS_OF = "application/vnd.workbench.as-of+json"


def record(name: str, value: float | Decimal | str, *, unit: str | None = None) -> None:
    """Put a key figure into run.json and the report's header.

    `value` is a number, or a short text; `unit` stands behind it ("colors", "%").
    """
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    elif hasattr(value, "item"):
        value = value.item()
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"record({name!r}, …) takes a finite number or a text, not {value!r}.")
    figure = {"name": name, "value": value, "unit": unit}
    shown = f"{value:,}" if isinstance(value, (int, float)) else value
    publish(FIGURE, figure, f"{name}: {shown}{f' {unit}' if unit else ''}")


def as_of(value: dt.date | str | None) -> None:
    """State the day (or moment) the data speaks for; the report's header shows it.

    A midnight is shown as its day; None, the latest day of no data at all, states nothing.
    """
    if value is None:
        return
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        value = value.date()
    text = value if isinstance(value, str) else value.isoformat()
    publish(AS_OF, {"value": text}, f"Data as of {text}")


def publish(mime: str, content: dict[str, Any], text: str) -> None:
    """Display `content` under `mime` in a notebook, with `text` for front ends without it."""
    # IPython costs half a second to import, and is there already where it matters.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None and hasattr(shell, "kernel"):
        from IPython.display import display

        display({mime: content, "text/plain": text}, raw=True)
