"""One page over all runs: the newest first, and the latest good report of every name."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, Template

from workbench.reporting import text
from workbench.reporting.verdict import Verdict, verdict

_TEMPLATES = Path(__file__).parent / "templates"
_UNREADABLE = Verdict("unreadable", "?", "mute", "Unreadable", "", "")


@dataclass(frozen=True)
class Row:
    """One run as the index lists it."""

    name: str
    run_id: str
    href: str
    verdict: Verdict
    order: float
    started: str = ""
    duration: str = ""
    as_of: str = ""
    figures: tuple[str, ...] = ()


def write_index(root: Path) -> Path:
    """Write `index.html` over all runs below root, atomically, and return its path."""
    root.mkdir(parents=True, exist_ok=True)
    rows = sorted(_rows(root), key=lambda row: (row.order, row.run_id), reverse=True)
    best: dict[str, Row | None] = {}
    for row in rows:
        if best.setdefault(row.name, None) is None and row.verdict.good and row.href:
            best[row.name] = row
    page = _template().render(
        stylesheet=(_TEMPLATES / "report" / "report.css").read_text("utf-8"),
        rows=rows,
        best=sorted(best.items(), key=lambda item: item[0].casefold()),
    )
    target = root / "index.html"
    _replace(target, text.inert(page).replace("\r", "\n"))
    return target


def may_write(root: Path) -> bool:
    """Tell whether `index.html` below root is missing or ours: another's page is not replaced."""
    target = root / "index.html"
    return not target.exists() or b'content="workbench"' in target.read_bytes()[:2000]


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES / "index"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html.j2")


def _replace(target: Path, content: str) -> None:
    # Readers see the old page or the new one, never half of one.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".index-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        # Temporary files are private; the index is as readable as the reports beside it.
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _rows(root: Path) -> Iterator[Row]:
    for name in _folders(root):
        for run in _folders(Path(name.path)):
            record = Path(run.path) / "run.json"
            if record.is_file():
                yield _row(name.name, run.name, record)


def _folders(parent: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(parent) as entries:
            # Runs under construction start with a dot; `latest` is a link to a run listed anyway.
            yield from (
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError:
        return


def _row(name: str, run_id: str, record: Path) -> Row:
    report = record.with_name("report.html")
    href = "/".join(quote(os.fsencode(part), safe="") for part in (name, run_id, report.name))
    href = href if report.is_file() else ""
    run = _read(record)
    if run is None:
        return Row(text.inert(name), text.inert(run_id), href, _UNREADABLE, _changed(record))
    started = text.instant(run.get("started"))
    figures = run.get("figures")
    return Row(
        name=str(run.get("name") or text.inert(name)),
        run_id=text.inert(run_id),
        href=href,
        verdict=verdict(run["status"]),
        order=started.timestamp() if started else _changed(record),
        started=text.moment(run.get("started")),
        duration=text.duration(run.get("duration")),
        as_of=text.moment(run.get("as_of")),
        figures=tuple(map(_figure, figures[:3])) if isinstance(figures, list) else (),
    )


def _read(record: Path) -> Mapping[str, Any] | None:
    try:
        run = text.inert_tree(json.loads(record.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None
    known = isinstance(run, dict) and isinstance(run.get("status"), str)
    return run if known else None


def _changed(record: Path) -> float:
    try:
        return record.stat().st_mtime
    except OSError:
        return 0.0


def _figure(figure: Any) -> str:
    if not isinstance(figure, Mapping):
        return "?"
    unit = f" {figure['unit']}" if figure.get("unit") else ""
    return f"{figure.get('name', '')}: {text.number(figure.get('value'))}{unit}"
