"""The runs below a folder, in whatever state: what index, publish and prune have in common."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from workbench.reporting import text

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

RECORD, REPORT, PARTIAL = "run.json", "report.html", ".partial"


@dataclass(frozen=True)
class Run:
    """A run's place below the root, and what its run.json tells, every text of it inert."""

    path: PurePosixPath
    told: Mapping[str, Any]
    name: str
    run_id: str
    status: str  # as told, or `running`, `abandoned`, `unreadable`
    started: float  # seconds since 1970
    href: str  # the report's address relative to the index; empty where there is none

    @property
    def good(self) -> bool:
        """Tell whether its report can be recommended."""
        return bool(self.href) and self.status in ("passed", "warned")


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Order runs by their start."""
    return sorted(runs, key=lambda run: (run.started, run.run_id), reverse=True)


def read_run(path: PurePosixPath, content: bytes, *, changed: float, has_report: bool) -> Run:
    """Make a run of its run.json, whatever that is like; `changed` stands in for its start."""
    told: dict[str, Any] = {}
    with suppress(ValueError, RecursionError):
        found = json.loads(content)
        told = text.checked(found if isinstance(found, dict) else {})
    if not isinstance(told.get("status"), str):
        told = text.checked({"status": "unreadable"})
    started = text.instant(told.get("started"))
    address = "/".join(quote(os.fsencode(part), safe="") for part in (*path.parts, REPORT))
    return Run(
        path=path,
        told=told,
        name=str(told.get("name") or text.inert(path.parts[0])),
        run_id=text.inert(path.name.removeprefix(".").removesuffix(PARTIAL)),
        status=told["status"],
        started=started.timestamp() if started else changed,
        href=address if has_report else "",
    )


def find_runs(root: Path) -> Iterator[Run]:
    """Find every run below root: whole, under construction, abandoned and unreadable ones."""
    for record in root.glob(f"*/*/{RECORD}"):
        # `latest` is a link to a run that is listed anyway; other dotted folders are in the making.
        if not any(p.name.startswith(".") or p.is_symlink() for p in record.parents[:2]):
            yield _read(root, record.parent)
    for partial in root.glob(f"*/.*{PARTIAL}"):
        run, state = _read(root, partial), "running" if is_alive(partial) else "abandoned"
        # Its end may have come since it was found: then it is another folder's run.
        if partial.is_dir() and not partial.is_symlink():
            yield replace(run, status=state, href="")


def _read(root: Path, folder: Path) -> Run:
    content, changed = b"", 0.0
    with suppress(OSError):
        changed = folder.stat().st_mtime
        content = (folder / RECORD).read_bytes()
    path = PurePosixPath(*folder.relative_to(root).parts)
    return read_run(path, content, changed=changed, has_report=(folder / REPORT).is_file())


def is_alive(partial: Path) -> bool:
    """Tell whether the runner of a run under construction lives: it holds the lock inside."""
    with suppress(OSError), (partial / ".lock").open("rb") as lock:
        if fcntl is None:
            return time.time() - partial.stat().st_mtime < 24 * 3600
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold a lock file, which stays, against other processes and threads, where there are locks."""
    with lock.open("ab") as file:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
