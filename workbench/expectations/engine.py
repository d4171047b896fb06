"""Great Expectations' SQL, run by whoever holds the data: a database, or DuckDB over a frame.

Great Expectations plans which figures a suite needs and puts them into few statements; here each
is run through our own read, so read-only, logged, exact and within the source's limits. Nothing is
written, and no temporary table made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import polars as pl
import sqlalchemy as sa
from great_expectations.core.metric_function_types import MetricPartialFunctionTypes
from great_expectations.exceptions import MetricResolutionError
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider
from great_expectations.util import get_sqlalchemy_selectable
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from workbench.errors import ConnectionFailed
from workbench.statements import single_select

BATCH = "data"


@dataclass(frozen=True)
class Failed:
    """Stands for a figure that could not be computed, and for all that depend on it."""

    error: Exception


class Isolating:
    """Computes figures so that one which fails takes only those with it that depend on it.

    Great Expectations tries a failed statement three times, and what was to be computed with it.
    """

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[Any],
        metrics: dict[Any, Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[Any, Any]:
        """Return each figure, or `Failed`; raises ConnectionFailed."""
        known = metrics or {}
        resolved: dict[Any, Any] = {}
        todo = []
        for metric in metrics_to_resolve:
            needed = (known.get(part.id) for part in metric.metric_dependencies.values())
            if failed := next((value for value in needed if isinstance(value, Failed)), None):
                resolved[metric.id] = failed
            else:
                todo.append(metric)
        while todo:
            try:
                found = super().resolve_metrics(todo, known, runtime_configuration)  # type: ignore[misc]
                return {**resolved, **found}
            except MetricResolutionError as error:
                cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
                if isinstance(cause, ConnectionFailed):
                    raise cause from None
                failed_ones = list(error.failed_metrics)
                if len(failed_ones) == 1:
                    resolved[failed_ones[0].id] = Failed(cause)
                else:
                    # Each for itself, for its own reason.
                    for metric in failed_ones:
                        resolved |= self.resolve_metrics([metric], known, runtime_configuration)
                gone = {metric.id for metric in failed_ones}
                todo = [metric for metric in todo if metric.id not in gone]
        return resolved


class Pushed(Isolating, SqlAlchemyExecutionEngine):
    """Runs each statement by `execute`, over the relation `table` with these columns."""

    def __init__(
        self,
        table: sa.Table | sa.TableClause,
        dialect: sa.Dialect,
        execute: Callable[[sa.SelectBase], pl.DataFrame],
    ) -> None:
        super().__init__(engine=SimpleNamespace(dialect=dialect), create_temp_table=False)
        self.described = [{"name": column.name, "type": column.type} for column in table.c]
        self._run = execute
        self._lost: ConnectionFailed | None = None
        data = SqlAlchemyBatchData(
            self, table_name=table.name, schema_name=table.schema, create_temp_table=False
        )
        self.load_batch_data(BATCH, data)

    def resolve_metrics(self, *given: Any, **more: Any) -> dict[Any, Any]:
        """Take a row of which SQL does not know whether it keeps a promise for one that breaks it.

        So it is on pandas; `ignore_row_if` leaves out rows with missing values. Conditions on a
        single column leave them out by themselves, and one missing value does not repeat another.
        """
        found = super().resolve_metrics(*given, **more)
        for metric, value in found.items():
            name = metric[0]
            if name.endswith(".condition") and not name.startswith("select_column_values."):
                if isinstance(value, Failed) or "column" in value[2]:
                    continue
                known = sa.case((value[0], 1), (sa.not_(value[0]), 0), else_=1)
                found[metric] = (known == 1, *value[1:])
        return found

    def get_domain_records(self, *given: Any, **more: Any) -> Any:
        """Return the rows as something to select from: some of its own statements need that."""
        return get_sqlalchemy_selectable(super().get_domain_records(*given, **more))

    def execute_query(self, query: Any) -> Any:
        """Run a SELECT and return its rows as SQLAlchemy would."""
        if isinstance(query, sa.TextClause):
            query = sa.text(single_select(query.text)).columns()
        if self._lost:
            raise self._lost
        try:
            frame = self._run(query)
        except ConnectionFailed as error:
            # Great Expectations would try each figure by itself, and wait for each.
            self._lost = error
            raise
        return IteratorResult(SimpleResultMetaData(frame.columns), frame.iter_rows())

    def close(self) -> None:
        """Leave the connections to whom they belong."""


class _Types(TableMetricProvider):
    """The columns as they are known already, without asking the database again."""

    metric_name = "table.column_types"
    value_keys = ("include_nested",)
    default_kwarg_values: Mapping[str, Any] = {"include_nested": True}

    @metric_value(engine=Pushed)
    def _described(
        cls, execution_engine: Pushed, **_rest: Any  # noqa: N805
    ) -> Sequence[Mapping[str, Any]]:  # fmt: skip
        return execution_engine.described


class _Unique(ColumnMapMetricProvider):
    """Values that are there once."""

    condition_metric_name = "column_values.unique"

    @column_condition_partial(
        engine=Pushed, partial_fn_type=MetricPartialFunctionTypes.WINDOW_CONDITION_FN
    )
    def _once(cls, column: Any, **_rest: Any) -> Any:  # noqa: N805
        return sa.func.count().over(partition_by=column) < 2


class _UniqueTogether(MulticolumnMapMetricProvider):
    """Rows that are there once; a missing value is like another, as it is on pandas."""

    condition_metric_name = "compound_columns.unique"
    condition_domain_keys = (
        "batch_id", "table", "column_list", "row_condition", "condition_parser", "ignore_row_if",
    )  # fmt: skip

    @multicolumn_condition_partial(engine=Pushed)
    def _once(cls, column_list: list[Any], **_rest: Any) -> Any:  # noqa: N805
        return sa.func.count().over(partition_by=column_list) < 2


for _ours in (_Unique, _UniqueTogether):
    # By their names Great Expectations takes them for its own, which bring their own FROM.
    _ours.condition_metric_name = None  # type: ignore[assignment]
