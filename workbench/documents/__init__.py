"""The document pipeline: DynamoDB's tables, scanned, shaped and loaded into a warehouse."""

from workbench.documents.loading import Load, load
from workbench.documents.pipeline import run
from workbench.documents.scanning import Scan, scan
from workbench.documents.shaping import Shaped, shape
from workbench.documents.targets import tables

__all__ = ["Load", "Scan", "Shaped", "load", "run", "scan", "shape", "tables"]
