"""The whole way of the documents in one call."""

from __future__ import annotations

from workbench.documents.loading import Load, load
from workbench.documents.scanning import scan
from workbench.documents.shaping import shape


def run(
    source: str = "demo",
    warehouse: str = "warehouse",
    *,
    schema: str = "documents",
    segments: int = 4,
    max_items: int | None = None,
    consistent: bool = False,
    allow_empty: bool = False,
) -> Load:
    """Scan the documents of a source, shape them, and load them into a warehouse.

    The parameters, and what is raised, are those of `scan` and `load`.
    """
    found = scan(source, segments=segments, max_items=max_items, consistent=consistent)
    return load(shape(found), warehouse, schema=schema, allow_empty=allow_empty)
