"""Run the benchmarks that are named, or all: `python -m benchmarks [NAME ...]`.

Names: first_report plan start index read extract profile validate colors documents.
"""

import sys
from importlib import import_module

for name in sys.argv[1:] or (
    "first_report",
    "plan",
    "start",
    "index",
    "read",
    "extract",
    "profile",
    "validate",
    "colors",
    "documents",
):
    print(import_module(f"benchmarks.{name}").measure(), flush=True)
