"""Great Expectations, quiet, with the expectations of this house registered.

Importing this imports Great Expectations, which takes seconds; `validate` does so when it is
first called.
"""

from __future__ import annotations

import logging
import warnings

_warned = warnings.showwarning
with warnings.catch_warnings(action="ignore"):
    import great_expectations as great_expectations
if warnings.showwarning is not _warned:
    # Its import sends everybody's warnings to the log, where nobody sees them.
    logging.captureWarnings(False)
# What goes wrong is told by the verdict.
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)

from workbench.expectations import domain as domain  # noqa: E402  # registers its expectations
