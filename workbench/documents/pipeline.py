"""The whole way of the documents in one call."""

from __future__ import annotations

from typing import Any

from workbench.documents.loading import Load, load
from workbench.documents.scanning import scan
from workbench.documents.shaping import shape


def run(
    source: str = "demo",
    warehouse: str = "warehouse",
    *,
    schema: str = "documents",
    allow_empty: bool = False,
    **scanned: Any,
) -> Load:
    """Scan the documents of a source, shape them, and load them into a warehouse.

    The parameters, and what is raised, are those of `scan` (segments, max_items, consistent) and
    of `load`.
    """
    return load(shape(scan(source, **scanned)), warehouse, schema=schema, allow_empty=allow_empty)
