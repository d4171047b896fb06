"""Great Expectations, quiet, with the expectations of this house registered.

Importing this imports Great Expectations, which takes seconds; `validate` does so when it is
first called.
"""

from __future__ import annotations

import logging
import sys
import warnings

# Where gRPC is not installed, this part of PySpark does not refuse to be imported: it exits.
_connect = "pyspark.sql.connect"
_hidden = _connect not in sys.modules
if _hidden:
    sys.modules[_connect] = None  # type: ignore[assignment]
_warned = warnings.showwarning
try:
    with warnings.catch_warnings(action="ignore"):
        import great_expectations as great_expectations
finally:
    if _hidden:
        del sys.modules[_connect]
if warnings.showwarning is not _warned:
    # Its import sends everybody's warnings to the log, where nobody sees them.
    logging.captureWarnings(False)
# What goes wrong is told by the verdict.
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

from workbench.expectations import domain as domain  # noqa: E402  # registers its expectations
