"""validate(): whether data keeps what a suite promises, as a verdict people can read."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from workbench import cells, records
from workbench.errors import DataError, UsageError
from workbench.suites import SEVERITIES, Expectation, Severity, Suite, read_suite, sentence

if TYPE_CHECKING:
    from workbench.expectations.evaluation import Answer, Data

OnFailure = Literal["record", "raise"]
SAMPLE = 5  # rows shown of each failed expectation
LISTED = 10  # values shown of several
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Result:
    """What became of one expectation.

    `number` is its place in the suite, from 1. `observed` is a value of the whole column or table
    as a text. `unexpected` counts the rows that break it, out of `checked` rows that have a value
    (0: there was nothing to look at, which Great Expectations calls a success);
    `sample` holds a few of these rows, their key and the columns concerned only. `problem` says
    why it could not be evaluated, which counts as failed.
    """

    number: int
    type: str
    columns: tuple[str, ...]
    sentence: str
    severity: Severity
    success: bool
    owner: str | None = None
    observed: str | None = None
    checked: int | None = None
    unexpected: int | None = None
    sample: Sequence[Mapping[str, Any]] = ()
    problem: str | None = None

    @property
    def percent(self) -> float | None:
        """The share of checked rows that break it, in percent; None where rows are not counted."""
        if self.unexpected is None:
            return None
        return 100 * self.unexpected / self.checked if self.checked else 0.0


@dataclass(frozen=True, repr=False)
class Validation:
    """The verdict on one set of data: a result for each expectation, in the suite's order.

    `offending` holds up to 1,000 rows for each failed expectation: `expectation` (Int64, its
    number), `promise` (String, its sentence), then the data's columns; those that the suite calls
    sensitive hold no values. `seconds` is how long it took, `started` ISO 8601 in UTC.
    """

    suite: str
    data: str
    rows: int
    results: Sequence[Result]
    started: str
    seconds: float
    offending: pl.DataFrame = field(compare=False)

    @property
    def failed(self) -> list[Result]:
        """The expectations that were not met, most serious first, then in the suite's order."""
        broken = [result for result in self.results if not result.success]
        return sorted(broken, key=lambda result: SEVERITIES.index(result.severity))

    @property
    def untried(self) -> list[Result]:
        """Those that no row is concerned of: met, as Great Expectations has it."""
        return [result for result in self.results if result.success and result.checked == 0]

    @property
    def severity(self) -> Severity | None:
        """How serious the worst failure is; None where nothing failed."""
        return self.failed[0].severity if self.failed else None

    @property
    def success(self) -> bool:
        """Whether every expectation was met, those for information aside."""
        return self.severity in (None, "info")

    @property
    def name(self) -> str:
        """What was checked against what."""
        return f"{self.suite} on {self.data}"

    def __repr__(self) -> str:
        from workbench.verdicts import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from workbench.verdicts import as_table

        return as_table(self).html

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds: everything but the offending rows."""
        from workbench.verdicts import as_dict

        return as_dict(self)


class ValidationFailed(DataError):
    """The data broke a critical expectation, and the notebook asked to stop there."""


def validate(
    data: Any,
    suite: str | Path | Mapping[str, Any] | Suite,
    *,
    on_failure: OnFailure = "record",
    label: str | None = None,
) -> Validation:
    """Check data against a suite of expectations, and state the verdict for the run's status.

    `data` is a polars or pandas DataFrame, an Arrow table, or `db.table(...)`, which is checked
    inside its database, where nothing is written. `suite` is a name in the project's
    `expectations` folder, a file, or its content. A failed critical expectation makes the run
    data-failed, one of severity "warning" makes it warned; with `on_failure="raise"` the notebook
    stops at the former. `label` names the data for the reader.
    Raises UsageError for an unknown suite, DataError for one that is malformed or empty or holds
    an expectation that does not exist, ValidationFailed if asked to, ConnectionFailed where the
    source is lost. An expectation that cannot be evaluated, as its column is missing, has failed.
    """
    if on_failure not in ("record", "raise"):
        said = f"validate() takes on_failure='record' or 'raise', not {on_failure!r}."
        raise UsageError(said)
    suite = read_suite(suite)
    from workbench.expectations.evaluation import evaluate
    from workbench.expectations.inputs import opened

    started, clock = dt.datetime.now(dt.UTC), time.perf_counter()
    with opened(data, suite.key, label) as held:
        rows, answers = evaluate(suite, held)
    hidden = {name.lower() for name in suite.sensitive}
    if hidden:
        # A query may give a sensitive value any name.
        asked = zip(suite.expectations, answers, strict=True)
        answers = [a if e.columns else replace(a, rows=None) for e, a in asked]
    empty = rows == 0 and not _may_be_empty(suite, answers)
    results = [
        _result(number, entry, answer, held, hidden, empty)
        for number, (entry, answer) in enumerate(zip(suite.expectations, answers, strict=True), 1)
    ]
    validation = Validation(
        suite=suite.name,
        data=held.label,
        rows=rows,
        results=tuple(results),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - clock, 3),
        offending=_offending(results, answers, hidden),
    )
    _record(validation)
    if on_failure == "raise" and validation.severity == "critical":
        # Whatever the cell goes on to show will not be reached.
        records.publish("text/html", validation._repr_html_(), repr(validation))
        raise ValidationFailed(f"{validation.name}: {_said(validation)}")
    return validation


def _may_be_empty(suite: Suite, answers: Sequence[Answer]) -> bool:
    """Tell whether the suite says that no rows are fine."""
    counts = "expect_table_row_count_to_"
    pairs = zip(suite.expectations, answers, strict=True)
    said = [answer.success for entry, answer in pairs if entry.type.startswith(counts)]
    return bool(said) and all(said)


def _result(
    number: int, entry: Expectation, answer: Answer, data: Data, hidden: set[str], empty: bool
) -> Result:
    details = answer.details
    problem, success = answer.problem, answer.success
    if empty and not problem and _is_about_values(entry):
        problem, success = "there are no rows to check", False
    secret = any(name.lower() in hidden for name in answer.columns)
    # What else a query or a condition speaks of, nobody knows.
    told = answer.columns and not entry.kwargs.get("row_condition")
    if problem and hidden and (secret or not told) and not problem.startswith("there "):
        problem = "it could not be evaluated; the reason may hold a sensitive value"
    # Elsewhere it counts values, of which some may stand in many rows.
    by_rows = "element_count" in details
    sample: list[dict[str, Any]] = []
    if answer.rows is not None:
        shown = [name for name in (*data.key, *answer.columns) if name in answer.rows.columns]
        few = answer.rows.select(list(dict.fromkeys(shown)) or pl.all()).head(SAMPLE)
        sample = [_hiding(row, hidden) for row in few.iter_rows(named=True)]
    observed = _observed(details)
    return Result(
        number=number,
        type=entry.type,
        columns=answer.columns,
        sentence=sentence(entry),
        severity=entry.severity,
        success=success,
        owner=entry.owner,
        observed=HIDDEN if observed and secret else observed,
        checked=int(details["element_count"] - (details.get("missing_count") or 0))
        if by_rows
        else None,
        unexpected=int(details["unexpected_count"] or 0) if by_rows else None,
        sample=sample,
        problem=problem,
    )


def _is_about_values(entry: Expectation) -> bool:
    """Tell promises that no row can keep from those about a table and its columns."""
    about = ("expect_table_", "expect_column_to_exist", "expect_column_type_to_be")
    of_types = ("_to_be_of_type", "_to_be_in_type_list")
    return not entry.type.startswith(about) and not entry.type.endswith(of_types)


def _hiding(row: dict[str, Any], hidden: set[str]) -> dict[str, Any]:
    return {name: HIDDEN if name.lower() in hidden else value for name, value in row.items()}


def _observed(details: Mapping[str, Any]) -> str | None:
    """Write what was seen of a whole column or table, None where nothing was."""
    if details.get("observed_value") is not None:
        return _text(details["observed_value"])
    lists = {"not expected": "partial_unexpected_list", "missing": "partial_missing_list"}
    # Sorted, because a database returns them in any order.
    found = {word: sorted(details.get(key) or (), key=str) for word, key in lists.items()}
    said = [f"{word}: {_text(values)}" for word, values in found.items() if values]
    return "; ".join(said) or None


def _text(observed: Any) -> str:
    """Write an observed value: a number, a text, or a few of several."""
    if isinstance(observed, Mapping) and "quantiles" in observed:
        pairs = zip(observed["quantiles"], observed["values"], strict=True)
        return ", ".join(f"{share:g}: {_text(value)}" for share, value in pairs)
    if isinstance(observed, list | tuple | set):
        values = list(observed)
        more = f" and {len(values) - LISTED:,} more" if len(values) > LISTED else ""
        return ", ".join(map(_text, values[:LISTED])) + more
    if isinstance(observed, bool) or not isinstance(observed, int | float):
        return str(observed)
    return f"{observed:,}" if isinstance(observed, int) else f"{observed:,.10g}"


def _offending(
    results: Sequence[Result], answers: Sequence[Answer], hidden: set[str]
) -> pl.DataFrame:
    # They stand beside the data's own columns.
    ours = {name: f"{name}_" for name in ("expectation", "promise")}
    frames = [
        answer.rows.rename(ours, strict=False)
        .with_columns(
            pl.lit(HIDDEN).alias(name) for name in answer.rows.columns if name.lower() in hidden
        )
        .select(
            pl.lit(result.number, dtype=pl.Int64).alias("expectation"),
            pl.lit(result.sentence).alias("promise"),
            pl.all(),
        )
        for result, answer in zip(results, answers, strict=True)
        if answer.rows is not None
    ]
    none = pl.DataFrame(schema={"expectation": pl.Int64, "promise": pl.String})
    try:
        return pl.concat([none, *frames], how="diagonal_relaxed")
    except pl.exceptions.SchemaError:
        # The rows of a query may have columns named as the data's, of other types.
        texts = [
            cells.flat(frame).with_columns(pl.exclude("expectation").cast(pl.String))
            for frame in frames
        ]
        return pl.concat([none, *texts], how="diagonal_relaxed")


def _record(validation: Validation) -> None:
    passed = validation.success
    severity: records.Severity = "critical" if validation.severity == "critical" else "warning"
    records.verdict(validation.name, passed, severity=severity, message=_said(validation))


def _said(validation: Validation) -> str:
    failed, total = validation.failed, len(validation.results)
    if not failed:
        idle = len(validation.untried)
        said = f"{total - idle:,} of {total:,}" if idle else f"all {total:,}"
        none = f", {idle:,} had no rows to look at" if idle else ""
        return f"{said} expectations met in {validation.rows:,} rows{none}"
    first = failed[0]
    return f"{len(failed):,} of {total:,} expectations failed, {first.severity}: {first.sentence}"
