"""A validation as it is read: a table with the failures first, rows, a text, JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup
from pydantic_core import to_jsonable_python

from workbench import display
from workbench.display import Shown
from workbench.extracts import JSON_INTEGER
from workbench.profiling.names import IDENTIFIER, words
from workbench.profiling.wording import count, paragraph, percent, short, value
from workbench.reporting.text import inert
from workbench.suites import SEVERITIES

if TYPE_CHECKING:
    from workbench.validation import Result, Validation

SCHEMA_VERSION = 1  # of data/validation.json
PLACE = "data/validation.json"
ROWS_PLACE = "data/offending_rows.csv"
LISTED = 100  # failed expectations in the table, and as many that were met
EXAMPLES = 2  # rows of each
NAMED = 4  # columns of an example, and as many of its key
TOLD = 10  # expectations in the text
SENTENCE, SEEN, CELL = 240, 240, 60  # characters
# By what became of an expectation: symbol and colours that are legible on any page.
MARKS = {
    "critical": ("✕", "#9c1c22", "#fcebea"),
    "warning": ("!", "#734a00", "#fdf1d3"),
    "info": ("i", "#1b4f91", "#e8f0fa"),
    "not tried": ("–", "#4a4a4a", "#eeeeee"),
    "met": ("✓", "#17633a", "#e4f3ea"),
}
STATUSES = {"critical": "data-failed", "warning": "warned", "info": "passed"}
# JupyterLab puts cells to the right; a report has its own style and leaves this one out.
STYLE = Markup("<style>.workbench-verdicts :is(td, th) {text-align: left !important}</style>")


def word(result: Result) -> str:
    """Say what became of an expectation: its severity where it failed, "not tried" or "met".

    One that no row is concerned of is met, as Great Expectations has it, but nothing was tried.
    """
    if not result.success:
        return result.severity
    return "not tried" if result.checked == 0 else "met"


def listed(validation: Validation) -> list[Result]:
    """Return the results: what failed, most serious first, what was not tried, what was met."""
    return sorted(validation.results, key=lambda result: list(MARKS).index(word(result)))


def told(result: Result) -> dict[str, str]:
    """Tell a result in words, each a line that is safe to print; what is not known is empty."""
    said = {
        "Verdict": f"{MARKS[word(result)][0]} {word(result)}",
        "Promise": short(result.sentence, SENTENCE),
        "What was seen": seen(result),
        "For example": "; ".join(_example(row, result) for row in result.sample[:EXAMPLES]),
        "Owner": short(result.owner or "", CELL),
    }
    # A value that holds a line break, or a terminal's codes, shall not pass for a line of ours.
    return {name: inert(" ".join(text.splitlines())) for name, text in said.items()}


def as_table(validation: Validation) -> Shown:
    """Show the verdict in a sentence, then what failed or was not tried, then what was met."""
    by: dict[str, list[Result]] = {"not kept": [], "not tried": [], "kept": []}
    for result in listed(validation):
        kind = {"met": "kept", "not tried": "not tried"}.get(word(result), "not kept")
        by[kind].append(result)
    parts = [Markup("<p><b>{} {}.</b> {}</p>").format(*_heading(validation))]
    parts += [_table(f"Promises that were {kind}", some) for kind, some in by.items() if some]
    if by["not kept"] and by["kept"]:
        folded = Markup("<details><summary>{} met</summary>{}</details>")
        parts[-1] = folded.format(count(len(by["kept"]), "expectation"), parts[-1])
    html = Markup('<div class="workbench-verdicts">{}{}</div>').format(STYLE, Markup().join(parts))
    return Shown(html, as_text(validation))


def as_text(validation: Validation) -> str:
    """Tell the verdict in a few lines, the most serious failures first."""
    symbol, verdict, about = _heading(validation)
    lines = [inert(" ".join(f"{symbol} {verdict}. {about}".split()))]
    some = [told(result) for result in listed(validation) if word(result) != "met"]
    lines += ["{Verdict}: {Promise} – {What was seen}".format_map(one) for one in some[:TOLD]]
    if len(some) > TOLD:
        lines.append(f"and {len(some) - TOLD:,} more")
    return "\n  ".join(lines)


def as_dict(validation: Validation) -> dict[str, Any]:
    """Return what JSON holds of it: all but the offending rows; docs/expectations.md names it.

    Decimals, days, and whole numbers that JavaScript would damage are texts.
    """
    results = [
        {**vars(result), "columns": list(result.columns), "sample": _json(result.sample),
         "percent": result.percent}
        for result in validation.results
    ]  # fmt: skip
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": validation.suite,
        "data": validation.data,
        "success": validation.success,
        "severity": validation.severity,
        "rows": validation.rows,
        "expectations": len(results),
        "failed": len(validation.failed),
        "not_tried": len(validation.untried),
        "started": validation.started,
        "seconds": validation.seconds,
        "results": results,
    }


def rows(validation: Validation, *, most: int = 10, each: int = 5) -> Shown:
    """Show the first rows that break each failed expectation, the columns concerned first."""
    parts: list[Markup] = []
    left = 0
    broken_by = validation.offending.partition_by("expectation", as_dict=True)
    for result in validation.failed:
        held = broken_by.get((result.number,))
        if held is None or held.is_empty():
            continue
        if len(parts) == most:
            left += 1
            continue
        first = [name for row in result.sample[:1] for name in row]
        others = [n for n in held.columns if n not in {"expectation", "promise", *first}]
        some = held.select([*first, *others][: max(8, len(first))]).head(each)
        texts = some.with_columns(pl.col(pl.String).str.slice(0, CELL))
        caption = "{Promise}: {What was seen}".format_map(told(result))
        parts.append(Markup(display.table(texts, caption, rows=each).html))  # noqa: S704
    if left:
        parts.append(paragraph(f"{count(left, 'more failed expectation')}: see {ROWS_PLACE}."))
    text = "No failed expectation counts rows."
    return Shown(Markup().join(parts) or paragraph(text), text if not parts else ROWS_PLACE)


def seen(result: Result) -> str:
    """Say what was seen of one expectation, or why it could not be evaluated."""
    if result.problem:
        return short(result.problem, SEEN)
    said = []
    if result.checked and result.unexpected is not None:
        rows, share = count(result.checked, "row"), percent(result.unexpected / result.checked)
        broken = f"broken by {result.unexpected:,} of {rows}, {share}"
        said.append(broken if result.unexpected else f"kept by all {rows}")
    elif result.checked == 0:
        said.append("no row is concerned")
    if result.observed is not None:
        said.append(short(result.observed, SEEN))
    return "; ".join(said) or ("as promised" if result.success else "not as promised")


def _heading(validation: Validation) -> tuple[str, str, str]:
    """Return the verdict's symbol, the verdict, and what was checked."""
    failed, total = validation.failed, len(validation.results)
    untried = len(validation.untried)
    without = f", {untried:,} had no rows to look at" if untried else ""
    about = (
        f"{count(validation.rows, 'row')} of {short(validation.data, SENTENCE)}, "
        f"checked against the suite {short(validation.suite, CELL)}."
    )
    if failed:
        by = Counter(result.severity for result in failed)
        kinds = ", ".join(f"{by[severity]:,} {severity}" for severity in SEVERITIES if by[severity])
        verdict = f"{len(failed):,} of {count(total, 'expectation')} failed ({kinds}){without}"
        verdict += f": {STATUSES[failed[0].severity]}"
    elif untried:
        verdict = f"{total - untried:,} of {count(total, 'expectation')} met{without}"
    else:
        verdict = f"All {total:,} expectations were met" if total > 1 else "The expectation was met"
    return MARKS[word(listed(validation)[0])][0], verdict, about


def _table(caption: str, results: Sequence[Result]) -> Markup:
    """Write results by hand: a table of `display` is as wide as its texts, this one as the page."""
    heads = ["Verdict", "Promise", "What was seen"]
    heads += ["For example"] if any(result.sample for result in results) else []
    row = Markup("<tr>{}</tr>").format(Markup("<td>{}</td>") * len(heads))
    mark = Markup(
        '<b style="color:{1};background-color:{2};white-space:nowrap">&nbsp;{0}&nbsp;</b>'
    )
    lines = []
    for result in results[:LISTED]:
        one = told(result)
        one["Verdict"] = mark.format(one["Verdict"], *MARKS[word(result)][1:])
        if one["Owner"]:
            one["Promise"] = Markup("{Promise}<br><small>{Owner}</small>").format_map(one)
        lines.append(row.format(*(one[head] for head in heads)))
    left = len(results) - LISTED
    return Markup(
        '<table style="width:100%"><caption>{}</caption><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table>{}"
    ).format(
        caption, Markup().join(Markup('<th scope="col">{}</th>').format(head) for head in heads),
        Markup("\n").join(lines), paragraph(f"{left:,} more: see {PLACE}." if left > 0 else ""),
    )  # fmt: skip


def _example(row: Mapping[str, Any], result: Result) -> str:
    """Write the columns concerned, then the key in brackets; identifiers digit by digit."""

    def pairs(concerned: bool) -> str:
        names = [name for name in row if (name in result.columns) is concerned]
        cells = [
            f"{short(name, CELL)} {_cell(row[name], not concerned or _is_id(name))}"
            for name in names[:NAMED]
        ]
        return ", ".join(cells) + (", …" if len(names) > NAMED else "")

    return " ".join(filter(None, (pairs(True), f"({key})" if (key := pairs(False)) else "")))


def _is_id(name: str) -> bool:
    return IDENTIFIER.search(words(name)) is not None


def _cell(content: Any, exact: bool) -> str:
    """Write a value of a row to be read: cut, and what cannot be seen in quotes."""
    if content is None:
        return "missing"
    plain = _json(content)
    if isinstance(content, str):
        return short(content, CELL) if content.strip() == content != "" else f"“{content[:CELL]}”"
    number = isinstance(content, int | float | Decimal)
    return short(str(plain) if exact and number else value(plain), CELL)


def _json(content: Any) -> Any:
    """Make of a value what JSON holds without loss."""
    if isinstance(content, Mapping):
        return {str(key): _json(part) for key, part in content.items()}
    if isinstance(content, list | tuple):
        return [_json(part) for part in content]
    if isinstance(content, Decimal):
        return f"{content:f}"
    odd = isinstance(content, float) and not math.isfinite(content)
    if odd or (isinstance(content, int) and abs(content) > JSON_INTEGER):
        return str(content)
    return to_jsonable_python(content, bytes_mode="hex", serialize_unknown=True)
