"""What a run tells while it goes on: log records, shown as lines, as JSON, or as a live table."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal

from workbench import redaction
from workbench.reporting.text import inert

LOG = logging.getLogger("workbench.running")
LogFormat = Literal["text", "json"]
_run: ContextVar[Mapping[str, Any] | None] = ContextVar("_run", default=None)


@contextmanager
def telling_of(run_id: str, name: str) -> Iterator[None]:
    """Let every record from here on carry the run it belongs to."""
    token = _run.set({"run_id": run_id, "name": name})
    try:
        yield
    finally:
        _run.reset(token)


def tell(message: str, **fields: Any) -> None:
    """Log what happened in the current run; `fields` are for machines."""
    LOG.info(message, extra={"fields": fields})


def cell(index: int, cells: int, seconds: float | None) -> None:
    """Tell that a cell starts (no seconds yet) or ended; index counts from 0."""
    fields = {"cell": index + 1, "cells": cells}
    if seconds is None:
        tell(f"cell {index + 1} of {cells} started", event="cell started", **fields)
    else:
        ended = f"cell {index + 1} of {cells} ended after {seconds:.2f} s"
        tell(ended, event="cell ended", **fields, duration=round(seconds, 3))


@contextmanager
def shown(runs: int, log_format: LogFormat | None, *, quiet: bool = False) -> Iterator[None]:
    """Show the records of `runs` runs on stderr: in the given format, else as it suits the place.

    On a terminal that is a live table, elsewhere a line for each cell or, of many runs, each run.
    """
    if log_format == "json":
        handler: logging.Handler = _Json()
        # Also what libraries have to say, so that a collector can parse every line.
        listening = logging.getLogger()
    elif quiet:
        handler, listening = logging.NullHandler(), LOG
    else:
        table = log_format is None and sys.stderr.isatty()
        handler, listening = _Table(runs) if table else _Lines(runs), LOG
    handler.addFilter(_of_run)
    level = LOG.level
    LOG.setLevel(logging.INFO)
    logging.captureWarnings(log_format == "json")
    listening.addHandler(handler)
    try:
        yield
    finally:
        listening.removeHandler(handler)
        handler.close()
        LOG.setLevel(level)
        logging.captureWarnings(False)


def _of_run(record: logging.LogRecord) -> bool:
    record.run = _run.get() or {"run_id": None, "name": None}
    return True


class _Lines(logging.StreamHandler[Any]):
    def __init__(self, runs: int) -> None:
        super().__init__(sys.stderr)
        # The command itself says how one run ended; of many, cells would be too much.
        self.events = {"cell ended"} if runs == 1 else {"run started", "run ended"}

    def format(self, record: logging.LogRecord) -> str:
        return inert(f"{record.run['name']}: {record.getMessage()}")  # type: ignore[attr-defined]

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "fields", {}).get("event") in self.events:
            super().emit(record)


class _Json(logging.StreamHandler[Any]):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **record.run,  # type: ignore[attr-defined]
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = logging.Formatter().formatException(record.exc_info)
        return json.dumps(redaction.known.scrub_tree(line), default=str)


class _Table(logging.Handler):
    """Which runs are going on, at which cell, since when; and how many have ended how."""

    def __init__(self, runs: int) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__()
        self.runs = runs
        self.going: dict[str, tuple[str, str, float]] = {}
        self.ended: dict[str, int] = {}
        self.live = Live(
            console=Console(stderr=True), get_renderable=self._table, transient=True,
            refresh_per_second=5,
        )  # fmt: skip
        self.live.start()

    def emit(self, record: logging.LogRecord) -> None:
        run, fields = record.run, getattr(record, "fields", {})  # type: ignore[attr-defined]
        event, run_id = fields.get("event"), run["run_id"]
        if event == "run ended":
            self.going.pop(run_id, None)
            self.ended[fields["status"]] = self.ended.get(fields["status"], 0) + 1
        elif event == "run started":
            self.going[run_id] = (run["name"], "starting", monotonic())
        elif event == "cell started" and run_id in self.going:
            name, _, since = self.going[run_id]
            self.going[run_id] = (name, f"cell {fields['cell']} of {fields['cells']}", since)

    def close(self) -> None:
        self.live.stop()
        super().close()

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False)
        for name, at, since in list(self.going.values()):
            table.add_row(Text(name), at, f"{monotonic() - since:.0f} s")
        if self.runs > 1:
            ended = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items()))
            done = sum(self.ended.values())
            table.add_row(Text(f"{done} of {self.runs} runs ended", style="bold"), ended, "")
        return table
