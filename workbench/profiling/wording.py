"""How figures, findings and sentences of a profile are written."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from markupsafe import Markup

from workbench.profiling.model import Figure, Finding


def percent(share: float) -> str:
    """Write a share of 1; 0 % and 100 % are said only of none and all."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def counted(figure: Figure | None) -> str:
    """Write a number of rows or values, marked where it is an estimate."""
    return f"{about(figure)}{float(figure.value):,.0f}" if figure else "–"


def about(figure: Figure) -> str:
    """Return the mark of what was not counted in every row."""
    return "" if figure.how == "exact" else "≈ "


def value(value: object, digits: int | None = None) -> str:
    """Write a column's value to be read: midnights as days, a fraction of so many digits."""
    text = str(value)
    if text[4:5] == "-" and text[7:8] == "-":
        return text.removesuffix("T00:00:00").replace("T", " ")
    if not text.lstrip("-")[:1].isdigit():
        return text
    number = Decimal(text)
    if number and not 1e-6 < abs(number) < 1e15:
        return f"{number:.6g}" if isinstance(value, float) else text
    if digits:
        number = round(number, max(0, digits - 1 - number.adjusted()))
    # A number of four digits may be a year.
    shown = f"{number:,f}" if abs(number) >= 10_000 else f"{number:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def words(kind: str) -> str:
    """Write the kind of a finding or a change."""
    return kind.replace("-", " ")


def place(finding: Finding) -> str:
    """Write where a finding was made; empty where it is about the schema."""
    return ".".join(filter(None, (finding.table, ", ".join(finding.columns))))


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
