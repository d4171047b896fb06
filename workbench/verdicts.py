"""A validation as it is read: a table with the failures first, a text, JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.display import Shown

if TYPE_CHECKING:
    from workbench.validation import Validation


def as_table(validation: Validation) -> Shown:
    """Show each expectation with what was seen, failures first."""
    return Shown("", as_text(validation))


def as_text(validation: Validation) -> str:
    """Tell the verdict in a few lines."""
    lines = (f"{r.number} {r.success} {r.sentence}" for r in validation.results)
    return "\n".join(lines)


def as_dict(validation: Validation) -> dict[str, Any]:
    """Return what JSON holds of it."""
    return {**asdict(validation), "offending": None}
