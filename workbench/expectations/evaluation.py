"""A suite put to data: what Great Expectations says of it, and which rows break it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import polars as pl
import sqlalchemy as sa
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.execution_engine import ExecutionEngine, PandasExecutionEngine
from great_expectations.expectations.expectation_configuration import (
    ExpectationConfiguration,
    parse_result_format,
)
from great_expectations.expectations.registry import list_registered_expectation_implementations
from great_expectations.util import get_sqlalchemy_selectable
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validation_graph import ValidationGraph

from workbench.errors import DataError, QueryError, WorkbenchError, nearest
from workbench.expectations.arguments import fitted
from workbench.expectations.engine import BATCH, Failed, Isolating, Pushed
from workbench.suites import Expectation, Suite

OFFENDING_ROWS = 1_000  # of each failed expectation
# No order is known of these.
UNORDERED = (sa.JSON, sa.LargeBinary, sa.ARRAY, sa.types.NullType)
COUNTING = {"result_format": {"result_format": "BOOLEAN_ONLY"}, "catch_exceptions": False}
NO_WORDS = "this cannot be evaluated inside a database: validate a data frame of it instead"
# What these tell depends on the library that holds the data, so a frame is asked as a frame.
OF_TYPES = {
    "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list",
    "expect_column_type_to_be",
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """What is validated: a table in a database, or a frame that DuckDB reads.

    `execute` runs a SELECT for figures, `rows` one for rows, exactly. `frame` is None for a table
    of a database; `key` are the columns that identify a row.
    """

    label: str
    table: sa.Table | sa.TableClause
    dialect: sa.Dialect
    execute: Callable[[sa.SelectBase], pl.DataFrame]
    rows: Callable[[sa.SelectBase], pl.DataFrame]
    frame: pl.DataFrame | None = None
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What Great Expectations said: success and details, or why it could not; the bad rows."""

    success: bool
    details: Mapping[str, Any]
    problem: str | None = None
    rows: pl.DataFrame | None = None
    columns: tuple[str, ...] = ()


class _Frames(Isolating, PandasExecutionEngine):
    """Great Expectations' own engine for frames: for what no SQL can say."""


@dataclass
class _Asked:
    """An expectation in Great Expectations' own hands, under the data's names of its columns."""

    number: int
    expectation: Any
    columns: tuple[str, ...]
    answer: Answer | None = None

    @property
    def map_metric(self) -> str | None:
        """The figure that counts rows, of an expectation about each row."""
        return getattr(self.expectation, "map_metric", None)


def evaluate(suite: Suite, data: Data) -> tuple[int, list[Answer]]:
    """Return the number of rows, and an answer to each expectation in the suite's order.

    Raises DataError for an expectation of unknown type or with wrong arguments, ConnectionFailed
    where the source is lost.
    """
    # Great Expectations thinks aloud about queries.
    with warnings.catch_warnings(action="ignore"), redirect_stdout(StringIO()):
        asked = [_asked(number, entry, data) for number, entry in enumerate(suite.expectations, 1)]
        engine = Pushed(data.table, data.dialect, data.execute)
        count = int(data.execute(sa.select(sa.func.count().label("n")).select_from(data.table))
                    .item())  # fmt: skip
        open_ones = [one for one in asked if one.answer is None]
        frame_only = [
            one for one in open_ones
            if data.frame is not None and one.expectation.expectation_type in OF_TYPES
        ]  # fmt: skip
        _answer([one for one in open_ones if one not in frame_only], engine, data)
        if data.frame is not None:
            # What DuckDB has no words for, pandas has: look-ahead in a pattern, JSON schemas.
            for one in open_ones:
                first, one.answer = one.answer, None
                if first is None or first.problem:
                    _answer([one], _as_pandas(data.frame, one), data)
                # Where neither can say it, the first reason is about SQL as the suite has it.
                second: Answer | None = one.answer
                if first and not (second and not second.problem) and first.problem != NO_WORDS:
                    one.answer = first
    answers = [one.answer for one in asked if one.answer is not None]
    if len(answers) != len(suite.expectations):
        said = f"{len(answers)} of {len(suite.expectations)} expectations were evaluated."
        raise DataError(f"Suite {suite.name!r}: {said}")
    return count, answers


def _asked(number: int, entry: Expectation, data: Data) -> _Asked:
    known = list_registered_expectation_implementations()
    place = f"expectation {number} ({entry.type})"
    if entry.type not in known:
        raise DataError(
            f"The suite's {place} is of a type that does not exist.{nearest(entry.type, known)}",
            "Great Expectations would leave it out and report success.",
        )
    about_columns = entry.type == "expect_column_to_exist" or "expect_table" in entry.type
    in_postgresql = data.frame is None and data.dialect.name == "postgresql"
    mismatch = None
    try:
        try:
            kwargs, missing = fitted(entry.kwargs, data.table.c, in_postgresql)
        except TypeError as error:
            kwargs, missing, mismatch = dict(entry.kwargs), [], str(error)
        columns = tuple(dict.fromkeys(Expectation(entry.type, kwargs).columns))
        made = ExpectationConfiguration(type=entry.type, kwargs={**kwargs, "batch_id": BATCH})
        asked = _Asked(number, made.to_domain_obj(), columns)
    except Exception as error:  # of its own or of pydantic's, whatever the expectation checks
        raise DataError(f"The suite's {place} cannot be used: {_first_line(error)}") from None
    if missing and not about_columns:
        names = map(str, data.table.c.keys())
        mismatch = f"there is no column {missing[0]!r}.{nearest(missing[0], names)}"
    if mismatch:
        asked.answer = Answer(False, {}, problem=mismatch, columns=columns)
    return asked


def _answer(asked: Sequence[_Asked], engine: ExecutionEngine, data: Data) -> None:
    """Evaluate expectations together, and look up the rows that break those which fail."""
    needed: dict[int, dict[str, MetricConfiguration]] = {}
    graph = ValidationGraph(engine)
    for one in asked:
        try:
            found = one.expectation.get_validation_dependencies(engine, dict(COUNTING))
            needed[one.number] = found.metric_configurations
            _refuse_unconditional(one, found.metric_configurations.values())
            _add(graph, found.metric_configurations.values(), engine)
        except Exception as error:  # of the expectation's own making, or no such figure
            one.answer = Answer(False, {}, problem=_because(error, engine), columns=one.columns)
    figures = _computed(graph)
    for one in (one for one in asked if one.answer is None):
        parts = needed[one.number]
        one.answer = _judged(one, {name: figures[m.id] for name, m in parts.items()}, engine)
        counting = parts.get(f"{one.map_metric}.unexpected_count")
        if counting and not (one.answer.success or one.answer.problem):
            condition = figures[_part(counting, f"{one.map_metric}.condition").id]
            one.answer = replace(one.answer, rows=_rows(condition, one, engine, data))


def _refuse_unconditional(one: _Asked, metrics: Iterable[MetricConfiguration]) -> None:
    """Raise DataError where Great Expectations would count other rows than the suite means."""
    condition = getattr(one.expectation, "row_condition", None)
    if condition and any("row_condition" not in m.metric_domain_kwargs for m in metrics):
        raise DataError("Great Expectations takes no notice of the row_condition of this type.")


def _judged(one: _Asked, parts: dict[str, Any], engine: ExecutionEngine) -> Answer:
    if failed := next((value for value in parts.values() if isinstance(value, Failed)), None):
        return Answer(False, {}, problem=_because(failed.error, engine), columns=one.columns)
    try:
        said = one.expectation._validate(
            metrics=parts,
            runtime_configuration={"result_format": parse_result_format("BASIC")},
            execution_engine=engine,
        )
    except Exception as error:  # of the expectation's own making, whatever it compares
        return Answer(False, {}, problem=_because(error, engine), columns=one.columns)
    if isinstance(said, ExpectationValidationResult):
        said = {"success": said.success, "result": said.result}
    result = said.get("result") or {}
    listed = parts.get("unexpected_rows_query.table")
    rows = pl.DataFrame(listed, infer_schema_length=None) if listed else None
    return Answer(bool(said["success"]), result, rows=rows, columns=one.columns)


def _part(metric: MetricConfiguration, name: str) -> MetricConfiguration:
    """Find a figure of this name among those that another one is made of."""
    for part in metric.metric_dependencies.values():
        if part.metric_name == name:
            return part
        with suppress(KeyError):
            return _part(part, name)
    raise KeyError(name)


def _rows(condition: Any, one: _Asked, engine: Any, data: Data) -> pl.DataFrame | None:
    """Fetch rows that break an expectation, in the order of the key; None where that fails."""
    if isinstance(engine, PandasExecutionEngine):
        return _rows_of_frame(condition, one, data)
    concerned = list(dict.fromkeys((*data.key, *one.columns)))
    # A column that nobody speaks of may be of a type that no frame holds.
    for columns in ([column.name for column in data.table.c], concerned):
        with suppress(QueryError, DataError):
            return data.rows(_rows_of_table(condition, columns, concerned, engine, data))
    return None  # their number is known


def _rows_of_table(
    condition: Any, columns: Sequence[str], concerned: Sequence[str], engine: Any, data: Data
) -> Any:
    clause, domain, accessor = condition
    # A window function stands in no WHERE: the rows are marked first, then chosen.
    mark = sa.case((clause, 1), else_=0).label(max((c.name for c in data.table.c), key=len) + "_")
    rows = get_sqlalchemy_selectable(engine.get_domain_records({**domain, **accessor}))
    marked = sa.select(*map(sa.column, columns), mark).select_from(rows).subquery("marked")
    *shown, broken = list(marked.c)
    order = [marked.c[n] for n in concerned if not isinstance(data.table.c[n].type, UNORDERED)]
    return sa.select(*shown).where(broken == 1).order_by(*order).limit(OFFENDING_ROWS)


def _rows_of_frame(condition: Any, one: _Asked, data: Data) -> pl.DataFrame:
    assert data.frame is not None  # noqa: S101
    marks = condition[0]
    order = list(dict.fromkeys((*data.key, *one.columns)))
    rows: pl.DataFrame = data.frame[marks.index[marks.astype(bool)].to_list()]
    return rows.sort(order).head(OFFENDING_ROWS)


def _add(
    graph: ValidationGraph, metrics: Iterable[MetricConfiguration], engine: ExecutionEngine
) -> None:
    """Add what figures need, all of it or, where something is unknown, nothing."""
    part = ValidationGraph(engine)
    for metric in metrics:
        part.build_metric_dependency_graph(metric, dict(COUNTING))
    for edge in part.edges:
        graph.add(edge)


def _computed(graph: ValidationGraph) -> dict[Any, Any]:
    """Return each figure, `Failed` where it could not be computed."""
    figures: dict[Any, Any]
    figures, _ = graph.resolve(runtime_configuration=dict(COUNTING), show_progress_bars=False)
    return figures


def _as_pandas(frame: pl.DataFrame, one: _Asked) -> ExecutionEngine:
    """Hand over the columns concerned; whole numbers stay whole where some are missing."""
    import pandas as pd

    alone = one.columns and not getattr(one.expectation, "row_condition", None)
    series = frame.select(one.columns) if alone else frame
    engine = _Frames()
    engine.load_batch_data(BATCH, pd.DataFrame({
        column.name: column.to_pandas(
            use_pyarrow_extension_array=column.dtype.is_integer() and column.null_count() > 0
        )
        for column in series
    }))  # fmt: skip
    return engine


def _because(error: Exception, engine: ExecutionEngine) -> str:
    """Say in a line why something could not be evaluated."""
    if isinstance(error, WorkbenchError):
        return error.message
    said = _first_line(error)
    if said.startswith("No provider found") and isinstance(engine, Pushed):
        return NO_WORDS
    return said


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(lines[:3]) or type(error).__name__)[:300]
