"""The limits of one execution, and what can be seen of it while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import nbformat

LOOK_AROUND = 0.2  # seconds between two looks at the limits while a cell runs


class Stopped(Exception):
    """Execution ended before the last cell; the notebook's own metadata say so, too."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Watch:
    """The limits of one execution, seconds, and what can be seen of it from outside."""

    timeout: float | None = None
    cell_timeout: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    on_cell: Callable[[int, int, float | None], None] = lambda index, cells, seconds: None
    notebook: nbformat.NotebookNode | None = None
    peak_memory: int | None = None
    limits: list[tuple[float, float, str]] = field(default_factory=list)

    def reached(self) -> Stopped | None:
        """Return the limit that is reached; None while there is time."""
        if self.cancelled():
            return Stopped("cancelled", "The run was cancelled.")
        for end, seconds, of in self.limits:
            if monotonic() >= end:
                return Stopped("timeout", f"{of} did not end within {seconds:g} s.")
        return None

    def until_next(self) -> float:
        """Return the seconds until the limits should be looked at again."""
        ends = [end - monotonic() for end, _, _ in self.limits]
        return max(0.0, min([LOOK_AROUND, *ends]))

    @contextmanager
    def limit(self, seconds: float | None, of: str) -> Iterator[None]:
        """Let what follows take `seconds` at most."""
        entry = (monotonic() + (seconds or 0), seconds or 0, of)
        self.limits.extend([entry] if seconds else [])
        try:
            yield
        finally:
            if entry in self.limits:
                self.limits.remove(entry)

    def see(self, pid: int | None) -> None:
        """Keep the largest resident size, in bytes, that the kernel has had."""
        with suppress(OSError, ValueError):
            peak = _peak_memory(pid) if pid else 0
            self.peak_memory = max(self.peak_memory or 0, peak) or None


def _peak_memory(pid: int) -> int:
    if sys.platform == "linux":
        with Path(f"/proc/{pid}/status").open(encoding="utf-8") as status:
            line = next((line for line in status if line.startswith("VmHWM")), "0 0")
        return int(line.split()[1]) * 1024
    import psutil

    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0
