"""Altair, set up for reports: `from workbench.charts import alt`.

Charts are drawn to SVG when they are displayed, so that a report needs no script, and carry
their own description as the text for those who cannot see them.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import vl_convert

__all__ = ["alt"]

# Okabe and Ito's palette, told apart by colour-blind readers and in print.
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5d5d5d"]


@alt.theme.register("workbench", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    return alt.theme.ThemeConfig(
        {
            "width": 560,
            "background": "white",
            "config": {
                "font": "Helvetica, Arial, sans-serif",
                "range": {"category": PALETTE},
                "mark": {"color": PALETTE[0]},
                "bar": {"cornerRadiusEnd": 2},
                "view": {"stroke": None},
                "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
                         "gridColor": "#e6e6e6", "domainColor": "#999", "labelLimit": 220,
                         "labelOverlap": "greedy"},
                "legend": {"orient": "top", "title": None, "labelFontSize": 12},
                "title": {"fontSize": 14, "anchor": "start", "fontWeight": 600},
            },
        }
    )  # fmt: skip


def _draw(spec: dict[str, Any], **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    svg = vl_convert.vegalite_to_svg(spec, vl_version=alt.SCHEMA_VERSION[1:].rpartition(".")[0])
    alternative = {"alt": _alternative(spec)}
    content = {"image/svg+xml": svg, "text/plain": f"Chart: {alternative['alt']}"}
    return content, {"image/svg+xml": alternative}


def _alternative(spec: dict[str, Any]) -> str:
    title = spec.get("title", "")
    words = title.get("text", "") if isinstance(title, dict) else title
    return str(spec.get("description") or words or "A chart without a description")


alt.renderers.register("workbench", _draw)
alt.renderers.enable("workbench")
