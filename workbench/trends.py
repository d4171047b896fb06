"""How a validation compares with those of earlier runs, from the files beside their reports."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from workbench import display, past
from workbench.display import Shown
from workbench.extracts import whole
from workbench.profiling.wording import count, paragraph, percent
from workbench.records import warn
from workbench.reporting.text import moment
from workbench.suites import SEVERITIES
from workbench.validation import Result, Validation
from workbench.verdicts import PLACE, ROWS_PLACE, as_dict, told, word

RUNS = 20  # earlier ones in the chart
COMPARED = 4  # earlier ones in the table
PROMISES = 50  # rows of the table
NONE = "There is no earlier run with this suite and these data to compare with."


class Verdict(BaseModel):
    """One run's data/validation.json, as far as a trend needs it."""

    schema_version: Literal[1]
    suite: str
    data: str
    started: str
    results: list[Result]


def history(validation: Validation, runs: int = RUNS) -> list[Verdict]:
    """Return the verdicts of the last runs of this name with this suite and data, oldest first.

    This one is the last of them. A warning tells what cannot be read; outside a run there are no
    earlier ones.
    """
    found = [Verdict.model_validate(as_dict(validation))]
    for path in past.files(PLACE) if past.in_run() else ():
        try:
            earlier = Verdict.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            warn(f"{path.parent.parent.name}/{PLACE} cannot be read, so the trend is without it.")
            continue
        if (earlier.suite, earlier.data) == (validation.suite, validation.data):
            found.append(earlier)
        if len(found) > runs:
            break
    return found[::-1]


def chart(verdicts: Sequence[Verdict]) -> Any:
    """Draw how many expectations failed in each run, by severity; or say that there is one only."""
    if len(verdicts) < 2:
        return Shown(paragraph(NONE), NONE)
    from workbench.charts import alt

    names = _names(verdicts)
    counts = pl.DataFrame(
        [
            (name, severity, order,
             sum(r.severity == severity and not r.success for r in verdict.results))
            for name, verdict in zip(names, verdicts, strict=True)
            for order, severity in enumerate(SEVERITIES)
        ],
        schema=["run", "severity", "order", "failed"], orient="row",
    )  # fmt: skip
    total = [sum(not r.success for r in verdict.results) for verdict in verdicts]
    about = f"Bars: failed expectations in {len(verdicts)} runs, {', '.join(map(str, total))}"
    return (
        alt.Chart(counts)
        .mark_bar()
        .encode(
            x=alt.X("run:O", title=None, sort=names, axis=alt.Axis(labelAngle=-40)),
            y=alt.Y("failed:Q", title="failed expectations", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                "severity:N",
                scale=alt.Scale(domain=SEVERITIES, range=["#9c1c22", "#e69f00", "#56b4e9"]),
            ),
            order="order:Q",
        )
        .properties(title="Failed expectations, run by run", height=160, description=about)
    )


def table(verdicts: Sequence[Verdict]) -> Shown | None:
    """Compare the share of rows that break each promise in the last runs; what failed in any."""
    shown = list(verdicts)[-COMPARED - 1 :]
    if len(shown) < 2:
        return None
    by = [{_promise(result): result for result in verdict.results} for verdict in shown]
    rows = [
        [told(now)["Promise"], _change(by[-2].get(promise), now),
         *(_share(one.get(promise)) for one in by)]
        for promise, now in by[-1].items()
        if any(promise in one and not one[promise].success for one in by)
    ]  # fmt: skip
    rows.sort(key=lambda row: CHANGES.index(row[1]))
    if not rows:
        return Shown(paragraph(met := f"Nothing has failed in {len(shown)} runs."), met)
    frame = pl.DataFrame(rows, schema=["Promise", "Since last run", *_names(shown)], orient="row")
    caption = "What failed in the last runs, and in what share of the rows"
    return display.table(frame, caption, rows=PROMISES, rest=PLACE)


def _names(verdicts: Sequence[Verdict]) -> list[str]:
    """Name runs by their time; of several in one minute, all but the first by number too."""
    times = [moment(verdict.started) for verdict in verdicts]
    before = [times[:n].count(time) for n, time in enumerate(times)]
    return [f"{t} ({n + 1})" if n else t for t, n in zip(times, before, strict=True)]


def _promise(result: Result) -> tuple[str, ...]:
    """Return what stays the same where a suite grows or is put into another order."""
    return (result.type, result.sentence, *result.columns)


CHANGES = ("new failure", "worse", "still fails", "better", "not tried", "mended", "")


def _change(before: Result | None, now: Result) -> str:
    if word(now) == "not tried":
        return "not tried"
    if now.success:
        return "mended" if before and not before.success else ""
    if before is None or before.success:
        return "new failure"
    if now.percent is None or before.percent is None or now.percent == before.percent:
        return "still fails"
    return "worse" if now.percent > before.percent else "better"


def _share(result: Result | None) -> str:
    if result is None:
        return "–"
    if result.success or result.percent is None:
        return word(result) if result.success else "failed"
    return percent(result.percent / 100)


def save(validation: Validation) -> Shown:
    """Write data/validation.json, and data/offending_rows.csv with what is held of these rows."""
    listed = display.save(validation.offending, Path(ROWS_PLACE).stem, ["csv"])
    path = Path(os.environ.get("WORKBENCH_RUN_DIR", ".")) / PLACE
    with whole(path, overwrite=True) as building:
        text = json.dumps(as_dict(validation), indent=1, ensure_ascii=False)
        building.write_text(text + "\n", encoding="utf-8")
    link = Markup('<a href="{0}">{0}</a>: {1}').format(
        PLACE, count(len(validation.results), "expectation")
    )
    return Shown(paragraph(link) + Markup(listed.html), f"{PLACE}, {listed.text}")  # noqa: S704
