"""Our report for any executed notebook: `jupyter nbconvert --to workbench executed.ipynb`."""

from __future__ import annotations

from typing import Any

import nbformat
from nbconvert.exporters.exporter import Exporter

from workbench.reporting.html import render
from workbench.running.outcome import told


class ReportExporter(Exporter):
    """An nbconvert exporter; what the notebook does not tell, the report does not claim."""

    export_from_notebook = "Workbench report"
    file_extension = ".html"
    output_mimetype = "text/html"

    def from_notebook_node(  # type: ignore[override]
        self, nb: nbformat.NotebookNode, resources: Any = None, **options: Any
    ) -> tuple[str, Any]:
        """Convert an executed notebook; its status is unknown where a cell has not run."""
        notebook, resources = super().from_notebook_node(nb, resources, **options)
        return render(notebook, told(notebook)), resources
