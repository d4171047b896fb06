"""A validation as it is read: a table with the failures first, rows, a text, JSON."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup

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
TOLD = 10  # failed expectations in the text
SENTENCE, SEEN, CELL = 240, 240, 60  # characters
# By severity, and of what was met: symbol, word and colours that are legible on any page.
MARKS = {
    "critical": ("✕", "critical", "#9c1c22", "#fcebea"),
    "warning": ("!", "warning", "#734a00", "#fdf1d3"),
    "info": ("i", "info", "#1b4f91", "#e8f0fa"),
    "": ("✓", "met", "#17633a", "#e4f3ea"),
}
STATUSES = {"critical": "data-failed", "warning": "warned", "info": "passed"}
# JupyterLab puts cells to the right; a report has its own style and leaves this one out.
STYLE = Markup("<style>.workbench-verdicts :is(td, th) {text-align: left !important}</style>")


def as_table(validation: Validation) -> Shown:
    """Show the verdict in a sentence, then what failed and what was seen, then what was met."""
    failed, met = validation.failed, [r for r in validation.results if r.success]
    parts = [Markup("<p><b>{} {}.</b> {}</p>").format(*_heading(validation))]
    if failed:
        parts.append(_table("Promises that were not kept", failed, examples=True))
    if met:
        shown = _table("Promises that were kept", met, examples=False)
        folded = Markup("<details><summary>{} met</summary>{}</details>")
        parts.append(folded.format(count(len(met), "expectation"), shown) if failed else shown)
    html = Markup('<div class="workbench-verdicts">{}{}</div>').format(STYLE, Markup().join(parts))
    return Shown(html, as_text(validation))


def as_text(validation: Validation) -> str:
    """Tell the verdict in a few lines, the most serious failures first."""
    failed = validation.failed
    symbol, verdict, about = _heading(validation)
    lines = [f"{symbol} {verdict}. {about}"]
    lines += [f"{_mark(r)[0]} {_mark(r)[1]}: {_sentence(r)} – {seen(r)}" for r in failed[:TOLD]]
    if len(failed) > TOLD:
        lines.append(f"and {len(failed) - TOLD:,} more")
    # A value that holds a line break, or a terminal's codes, shall not pass for a line of ours.
    return "\n  ".join(inert(" ".join(line.split())) for line in lines)


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
        "started": validation.started,
        "seconds": validation.seconds,
        "results": results,
    }


def rows(validation: Validation, *, most: int = 10, each: int = 5) -> Shown:
    """Show the first rows that break each failed expectation, the columns concerned first."""
    parts: list[Markup] = []
    left = 0
    for result in validation.failed:
        held = validation.offending.filter(pl.col("expectation") == result.number)
        if held.is_empty():
            continue
        if len(parts) == most:
            left += 1
            continue
        first = [name for row in result.sample[:1] for name in row]
        others = [n for n in held.columns if n not in {"expectation", "promise", *first}]
        some = held.select([*first, *others][: max(8, len(first))]).head(each)
        texts = some.with_columns(pl.col(pl.String).str.slice(0, CELL))
        caption = f"{_sentence(result)}: {seen(result)}"
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
        said.append("no row has a value")
    if result.observed is not None:
        said.append(short(result.observed, SEEN))
    return "; ".join(said) or ("as promised" if result.success else "not as promised")


def _heading(validation: Validation) -> tuple[str, str, str]:
    """Return the verdict's symbol, the verdict, and what was checked."""
    failed, total = validation.failed, len(validation.results)
    about = (
        f"{count(validation.rows, 'row')} of {short(validation.data, SENTENCE)}, "
        f"checked against the suite {short(validation.suite, CELL)}."
    )
    if not failed:
        met = f"All {total:,} expectations were met" if total > 1 else "The expectation was met"
        return MARKS[""][0], met, about
    by = Counter(result.severity for result in failed)
    kinds = ", ".join(f"{by[severity]:,} {severity}" for severity in SEVERITIES if by[severity])
    status = {"critical": "data-failed", "warning": "warned"}.get(
        str(validation.severity), "passed"
    )
    verdict = f"{len(failed):,} of {count(total, 'expectation')} failed ({kinds}): {status}"
    return _mark(failed[0])[0], verdict, about


def _mark(result: Result) -> tuple[str, str, str, str]:
    return MARKS["" if result.success else result.severity]


def _sentence(result: Result) -> str:
    return short(" ".join(result.sentence.split()), SENTENCE)


def _table(caption: str, results: Sequence[Result], *, examples: bool) -> Markup:
    heads = ["Verdict", "Promise", "What was seen", *(["For example"] if examples else [])]
    body = Markup("\n").join(_row(result, examples) for result in results[:LISTED])
    left = len(results) - LISTED
    more = paragraph(f"{left:,} more: see {PLACE}.") if left > 0 else ""
    return Markup(
        '<table style="width:100%"><caption>{}</caption><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table>{}"
    ).format(
        caption, Markup().join(Markup('<th scope="col">{}</th>').format(h) for h in heads),
        body, more,
    )  # fmt: skip


def _row(result: Result, examples: bool) -> Markup:
    symbol, word, ink, ground = _mark(result)
    mark = Markup(
        '<b style="color:{};background-color:{};white-space:nowrap">&nbsp;{} {}&nbsp;</b>'
    ).format(ink, ground, symbol, word)
    promise = Markup("{}<br><small>{}</small>") if result.owner else Markup("{}")
    what = seen(result).replace(" %", "\u00a0%").replace("< ", "<\u00a0")
    cells = [mark, promise.format(_sentence(result), short(result.owner or "", CELL)), what]
    if examples:
        few = (_example(row, result) for row in result.sample[:EXAMPLES])
        cells.append(Markup("<br>").join(few))
    return Markup("<tr>{}</tr>").format(
        Markup().join(Markup("<td>{}</td>").format(cell) for cell in cells)
    )


def _example(row: Mapping[str, Any], result: Result) -> Markup:
    """Write the columns concerned, then the key, small; identifiers digit by digit."""

    def pairs(concerned: bool) -> str:
        names = [name for name in row if (name in result.columns) is concerned]
        told = [
            f"{short(name, CELL)} {_cell(row[name], not concerned or _is_id(name))}"
            for name in names[:NAMED]
        ]
        return ", ".join(told) + (", …" if len(names) > NAMED else "")

    key = pairs(False)
    return Markup("{}{}").format(
        pairs(True), Markup(" <small>({})</small>").format(key) if key else ""
    )


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
    if isinstance(content, bytes):
        return content.hex()
    if isinstance(content, dt.date | dt.datetime | dt.time):
        return content.isoformat()
    if isinstance(content, float) and math.isfinite(content):
        return content
    kept = content is None or isinstance(content, str | bool)
    if kept or (isinstance(content, int) and abs(content) <= JSON_INTEGER):
        return content
    return f"{content:f}" if isinstance(content, Decimal) else str(content)
