"""Suites of expectations: where they are, how they are read, and each one as a sentence.

A suite is a file in Great Expectations' own format. Nothing here imports Great Expectations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # most serious first


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite: its type and arguments, as Great Expectations names them."""

    type: str
    kwargs: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"
    description: str | None = None
    id: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it speaks of, as the suite writes them."""
        found = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        listed = self.kwargs.get("column_list") or self.kwargs.get("column_set") or ()
        return tuple(str(name) for name in (*found, *listed) if name)

    @property
    def owner(self) -> str | None:
        """Who answers for it."""
        owner = self.meta.get("owner")
        return str(owner) if owner else None


@dataclass(frozen=True)
class Suite:
    """A named list of expectations.

    `meta["key"]` lists the columns that identify a row, `meta["sensitive"]` those whose values
    are never shown. `converted` tells a suite in the format of Great Expectations 0.x.
    """

    name: str
    expectations: Sequence[Expectation]
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    converted: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(map(str, self.meta.get("key", ())))

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The columns whose values are never shown."""
        return tuple(map(str, self.meta.get("sensitive", ())))


def read_suite(suite: str | Path | Mapping[str, Any] | Suite) -> Suite:
    """Read a suite: a name in the `expectations` folder, a file, or its content.

    Raises UsageError for an unknown suite, naming those that exist, and DataError for one that
    is no suite, is empty, or is malformed, naming the line and column.
    """
    import json

    if isinstance(suite, Suite):
        return suite
    path = None
    if not isinstance(suite, Mapping):
        path = (
            Path(suite) if str(suite).endswith(".json") else Path("expectations") / f"{suite}.json"
        )
        suite = json.loads(path.read_text())
    entries = [
        Expectation(
            e["type"],
            e.get("kwargs", {}),
            e.get("meta") or {},
            e.get("severity") or "critical",
            e.get("description"),
            e.get("id"),
        )
        for e in suite["expectations"]
    ]
    return Suite(suite["name"], tuple(entries), suite.get("meta") or {}, path)


def sentence(expectation: Expectation) -> str:
    """Say an expectation as a sentence: its own in `meta`, else one made of its arguments."""
    said = expectation.meta.get("sentence") or expectation.description
    return str(said) if said else expectation.type.replace("_", " ")
