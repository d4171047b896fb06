"""One place to work for analysts: the names a notebook types.

    import workbench as wb

    db = wb.connect("demo")
    ranked = wb.run_colors("marketpulse.colors", source=db)
    wb.record("parents", ranked.parents.height, unit="securities")

Every name is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench import grammar

if TYPE_CHECKING:
    from workbench.database import Database, connect
    from workbench.desk import (
        breaches,
        dealers,
        differences,
        markets,
        movements,
        movers,
        stale,
    )
    from workbench.display import details, save, table
    from workbench.errors import WorkbenchError
    from workbench.oddities import findings
    from workbench.past import earlier_colors
    from workbench.previous import previous_colors
    from workbench.profiling.drift import drift
    from workbench.profiling.model import SchemaProfile, read_profile
    from workbench.profiling.survey import profile_schema
    from workbench.ranked_files import RankedFile, run_colors_into
    from workbench.ranking import RankedColors, run_colors
    from workbench.records import as_of, record, verdict, warn
    from workbench.suggestions import suggest
    from workbench.validation import Validation, validate

__all__ = [
    "Database",
    "RankedColors",
    "RankedFile",
    "SchemaProfile",
    "Validation",
    "WorkbenchError",
    "as_of",
    "breaches",
    "connect",
    "dealers",
    "details",
    "differences",
    "drift",
    "earlier_colors",
    "findings",
    "markets",
    "movements",
    "movers",
    "previous_colors",
    "profile_schema",
    "read_profile",
    "record",
    "run_colors",
    "run_colors_into",
    "save",
    "stale",
    "suggest",
    "table",
    "validate",
    "verdict",
    "warn",
]

__version__ = "0.1.0"

# Here, because whatever of ours a process imports, nbformat or altair may be next.
grammar.put_off()

_HOME = {
    "Database": "database",
    "connect": "database",
    "breaches": "desk",
    "dealers": "desk",
    "differences": "desk",
    "markets": "desk",
    "movements": "desk",
    "movers": "desk",
    "stale": "desk",
    "details": "display",
    "save": "display",
    "table": "display",
    "WorkbenchError": "errors",
    "findings": "oddities",
    "drift": "profiling.drift",
    "earlier_colors": "past",
    "previous_colors": "previous",
    "SchemaProfile": "profiling.model",
    "read_profile": "profiling.model",
    "profile_schema": "profiling.survey",
    "RankedColors": "ranking",
    "RankedFile": "ranked_files",
    "run_colors_into": "ranked_files",
    "run_colors": "ranking",
    "as_of": "records",
    "record": "records",
    "verdict": "records",
    "warn": "records",
    "suggest": "suggestions",
    "Validation": "validation",
    "validate": "validation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module(f"workbench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
