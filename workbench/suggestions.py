"""suggest(): a first suite, drafted from a profile, with the evidence for each expectation."""

from __future__ import annotations

from typing import Any


def suggest(what: Any, suite: str | None = None) -> Any:
    """Draft a suite."""
    raise NotImplementedError
