"""How figures, findings and sentences of a profile are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from markupsafe import Markup

from workbench.profiling.model import Figure, Finding

NUMBER = re.compile(r"-?\d+(\.\d+)?(E[+-]?\d+)?", re.ASCII | re.IGNORECASE)
DAY = re.compile(r"\d{4,}-\d\d-\d\d", re.ASCII)
LONGEST = 40  # characters of a number


def percent(share: float) -> str:
    """Write a share of 1; 0 % and 100 % are said only of none and all."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def counted(figure: Figure | None) -> str:
    """Write a number of rows or values, marked where it is an estimate."""
    return f"{about(figure)}{figure.number:,.0f}" if figure else "–"


def about(figure: Figure) -> str:
    """Return the mark of what was not counted in every row."""
    return "" if figure.how == "exact" else "≈ "


def value(value: object, digits: int | None = None) -> str:
    """Write a column's value to be read: midnights as days, a fraction of so many digits."""
    text = str(value)
    if DAY.match(text):
        return text.removesuffix("T00:00:00").replace("T", " ")
    if not NUMBER.fullmatch(text):
        return text
    number = Decimal(text)
    if len(text) > LONGEST or (number and not 1e-6 < number.copy_abs() < 1e15):
        exact = not isinstance(value, float) and len(text) <= LONGEST
        return text if exact else f"{number:.6g}"
    if digits and number:
        number = round(number, max(0, digits - 1 - number.adjusted()))
    # A number of four digits may be a year.
    shown = f"{number:,f}" if abs(number) >= 10_000 else f"{number:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def words(kind: str) -> str:
    """Write the kind of a finding or a change."""
    return kind.replace("-", " ")


def place(finding: Finding) -> str:
    """Write where a finding was made: "table", "table.column", "table (3 columns)" or ""."""
    if finding.table and len(finding.columns) > 1:
        return f"{finding.table} ({len(finding.columns)} columns)"
    return ".".join(filter(None, (finding.table, *finding.columns)))


def sentence(finding: Finding) -> Markup:
    """Write a finding with its evidence."""
    where = f" in {place(finding)}" if place(finding) else ""
    said = f"{finding.severity.capitalize()}, {words(finding.kind)}{where}:"
    return Markup("<b>{}</b> {}").format(said, finding.evidence)


def paragraph(text: str) -> Markup:
    """Return a text as a paragraph, nothing where it is empty."""
    return Markup("<p>{}</p>").format(text) if text else Markup()


def bullets(lines: Iterable[str]) -> Markup:
    """Return a list, nothing where it is empty."""
    items = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup("<ul>{}</ul>").format(items) if items else items


def short(text: str, length: int) -> str:
    """Cut a text that is longer than so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def count(number: int, noun: str) -> str:
    """Write a number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
