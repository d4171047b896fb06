"""What a notebook states about itself, carried inside it as outputs of MIME types of our own."""

from __future__ import annotations

import datetime as dt
import math
import os
import sys
from decimal import Decimal
from typing import Any, Literal

from workbench.errors import UsageError

STATED = "application/vnd.workbench."
FIGURE = "application/vnd.workbench.figure+json"
SOURCE = "application/vnd.workbench.source+json"
AS_OF = "application/vnd.workbench.as-of+json"
VALIDATION = "application/vnd.workbench.validation+json"
WARNING = "application/vnd.workbench.warning+json"
NOTE = "application/vnd.workbench.note+json"  # what the runner says in the place of an output

Better = Literal["up", "down", "none"]
Severity = Literal["critical", "warning"]


def record(
    name: str, value: float | Decimal | str, *, unit: str | None = None, better: Better = "none"
) -> None:
    """Put a key figure into run.json and the report's header, with its change since last time.

    `value` is a number, or a short text; `unit` stands behind it ("colors", "%"); `better` says
    which direction of change is good news. Raises UsageError for another direction.
    """
    if better not in ("up", "down", "none"):
        raise UsageError(f"record() takes better='up', 'down' or 'none', not {better!r}.")
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    elif hasattr(value, "item"):
        value = value.item()
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not isinstance(value, (bool, int, float, str)):
        raise TypeError(f"record({name!r}, …) takes a finite number or a text, not {value!r}.")
    figure = {"name": name, "value": value, "unit": unit, "better": better}
    shown = f"{value:,}" if isinstance(value, (int, float)) else value
    publish(FIGURE, figure, f"{name}: {shown}{f' {unit}' if unit else ''}")


def verdict(
    name: str, passed: bool, *, severity: Severity = "critical", message: str | None = None
) -> None:
    """State whether the data kept a promise: a broken critical one makes the run data-failed.

    A broken one of severity "warning" makes it warned; `message` tells the reader what was seen.
    Raises UsageError for another severity.
    """
    if severity not in ("critical", "warning"):
        raise UsageError(f"verdict() takes severity='critical' or 'warning', not {severity!r}.")
    content = {"name": name, "passed": bool(passed), "severity": severity, "message": message}
    word = "passed" if passed else "failed" if severity == "critical" else "warning"
    publish(VALIDATION, content, f"{name}: {word}{f' – {message}' if message else ''}")


def warn(message: str) -> None:
    """Make the run end as passed with warnings, and tell the reader why."""
    publish(WARNING, {"message": message}, f"Warning: {message}")


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


def publish(mime: str, content: dict[str, Any] | str, text: str) -> None:
    """Display `content` under `mime` in a notebook, with `text` for front ends without it."""
    # IPython costs half a second to import, and is there already where it matters.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return
    kernel = shell.kernel
    if getattr(kernel.iopub_thread, "_master_pid", os.getpid()) != os.getpid():
        raise UsageError(
            f"{text!r} was stated in a process that the notebook has started.",
            "Only the notebook itself can state figures and verdicts: return them to it.",
        )
    # Not by display(): what a cell captures or hides has been stated all the same.
    kernel.session.send(
        kernel.iopub_socket,
        "display_data",
        {"data": {mime: content, "text/plain": text}, "metadata": {}, "transient": {}},
        parent=kernel.get_parent(),
        ident=kernel._topic("display_data"),
    )
