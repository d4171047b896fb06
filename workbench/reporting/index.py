"""One page over all runs: the newest first, and the latest good report of every name."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench.reporting import text
from workbench.reporting.html import page

_GOOD = {"passed", "warned"}


def write_index(root: Path) -> Path:
    """Write `index.html` over all runs below root, atomically, and return its path."""
    root.mkdir(parents=True, exist_ok=True)
    runs = [_run(record) for record in _records(root)]
    runs.sort(key=lambda run: (run["order"], run["run_id"]), reverse=True)
    best: dict[str, dict[str, Any] | None] = {}
    for run in runs:
        if best.setdefault(run["name"], None) is None and run["status"] in _GOOD and run["href"]:
            best[run["name"]] = run
    ranked = sorted(best.items(), key=lambda item: item[0].casefold())
    target, fresh = root / "index.html", root / f".index-{secrets.token_hex(4)}.html"
    try:
        # Readers see the old page or the new one, never half of one.
        fresh.write_text(page("index.html.j2", runs=runs, best=ranked), "utf-8")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def may_write(root: Path) -> bool:
    """Tell whether `index.html` below root is missing or ours: another's page is not replaced."""
    target = root / "index.html"
    return not target.exists() or b'content="workbench"' in target.read_bytes()[:2000]


def _records(root: Path) -> Iterator[Path]:
    for record in root.glob("*/*/run.json"):
        # Runs under construction start with a dot; `latest` is a link to a run listed anyway.
        folders = record.parents[:2]
        if not any(folder.name.startswith(".") or folder.is_symlink() for folder in folders):
            yield record


def _run(record: Path) -> dict[str, Any]:
    """Return what the index shows of a run, whatever its run.json is like."""
    name, run_id = record.parts[-3:-1]
    report = record.with_name("report.html")
    href = "/".join(quote(os.fsencode(part), safe="") for part in (name, run_id, report.name))
    changed, run = 0.0, {}
    try:
        changed = record.stat().st_mtime
        run = json.loads(record.read_bytes())
        run = text.checked(run if isinstance(run, dict) else {})
    except (OSError, ValueError, RecursionError):
        run = {}
    if not isinstance(run.get("status"), str):
        run = text.checked({"status": "unreadable"})
    started = text.instant(run.get("started"))
    return {
        **run,
        "name": str(run.get("name") or text.inert(name)),
        "run_id": text.inert(run_id),
        "href": href if report.is_file() else "",
        "order": started.timestamp() if started else changed,
    }
