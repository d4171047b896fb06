"""Expectations that Great Expectations' catalogue lacks: CUSIPs, ranked colors, sums, times.

They are registered as its own are, so a suite that names them loads in plain Great Expectations
once `workbench.expectations` is imported. Each rule is said once, in SQLAlchemy Core: a database
runs it over the table, DuckDB over a frame, also where Great Expectations holds it in pandas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any, ClassVar

import polars as pl
import sqlalchemy as sa
from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import PandasExecutionEngine, SqlAlchemyExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    MulticolumnMapMetricProvider,
    column_condition_partial,
    multicolumn_condition_partial,
)
from sqlalchemy.sql import ColumnElement

from workbench import engines
from workbench.colors import DEFAULT_ORDER, parse_order
from workbench.cusips import is_cusip

Columns = Mapping[str, ColumnElement[Any]]

BILLIONTHS = sa.Numeric(38, 9)


class _ValidCusips(ColumnMapMetricProvider):
    condition_metric_name = "column_values.valid_cusip"

    @column_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _in_database(cls, column: Any, **_rest: Any) -> Any:  # noqa: N805
        return _surely(is_cusip(column))

    @column_condition_partial(engine=PandasExecutionEngine)
    def _in_pandas(cls, column: Any, **_rest: Any) -> Any:  # noqa: N805
        return _in_duckdb(column.to_frame(), lambda of: is_cusip(*of.values()))


class ExpectColumnValuesToBeValidCusips(ColumnMapExpectation):
    """Expect each value to be a CUSIP of nine characters whose last is its check digit.

    `workbench.cusips` has the rule. Blanks and small letters make a CUSIP invalid; nulls are
    skipped.
    """

    map_metric = "column_values.valid_cusip"


class _OfGroups(MulticolumnMapMetricProvider):
    """A rule on rows among the others of their group, told by `kept` with window functions."""

    @classmethod
    def kept(cls, column: Columns, /, **said: Any) -> ColumnElement[bool]:
        raise NotImplementedError

    @multicolumn_condition_partial(engine=SqlAlchemyExecutionEngine)
    def _in_database(cls, column_list: Any, **rest: Any) -> Any:  # noqa: N805
        said = {key: rest.get(key) for key in cls.condition_value_keys}
        return _surely(cls.kept({str(column.name): column for column in column_list}, **said))

    @multicolumn_condition_partial(engine=PandasExecutionEngine)
    def _in_pandas(cls, column_list: Any, **rest: Any) -> Any:  # noqa: N805
        said = {key: rest.get(key) for key in cls.condition_value_keys}
        return _in_duckdb(column_list, lambda columns: cls.kept(columns, **said))


def _in_duckdb(frame: Any, kept: Callable[[Columns], ColumnElement[bool]]) -> Any:
    """Tell which rows of a pandas frame keep a rule, as a pandas series."""
    import pandas as pd

    # By number: in DuckDB names differ in more than their case.
    names = [f"c{number}" for number, _ in enumerate(frame.columns)]
    numbered: list[ColumnElement[Any]] = [sa.column(name) for name in names]
    columns = dict(zip(map(str, frame.columns), numbered, strict=True))
    mark = sa.case((kept(columns), 1), else_=0).label("kept")
    rows = pl.from_pandas(frame.set_axis(names, axis="columns"))
    rows = rows.cast(engines.FOREIGN_TYPES).with_row_index("row")
    with closing(engines.in_memory()) as connection:
        connection.register("data", rows.to_arrow())
        marks = sa.select(mark).select_from(sa.table("data")).order_by(sa.column("row"))
        found = engines.executor(connection, "the data frame")(marks)["kept"]
    return pd.Series((found == 1).to_list(), index=frame.index, dtype=bool)


def _surely(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    # Great Expectations negates it, and what is unknown is not kept either.
    return sa.case((condition, 1), else_=0) == 1


class _Balanced(_OfGroups):
    condition_metric_name = "rows.balanced"
    condition_value_keys = ("column_A", "column_B", "group_by", "tolerance")

    @classmethod
    def kept(cls, column: Columns, /, **said: Any) -> ColumnElement[bool]:
        group = [column[name] for name in said["group_by"] or ()] or None
        amounts = [column[name] for name in (said["column_A"], said["column_B"]) if name]
        sums = [sa.func.coalesce(sa.func.sum(one).over(partition_by=group), 0) for one in amounts]
        difference = sums[0] - sums[1] if len(sums) == 2 else sums[0]
        tolerance = sa.literal(Decimal(str(said["tolerance"] or 0)), BILLIONTHS)
        # What sums of floats are off by is less than this rounds away.
        return sa.func.abs(sa.cast(difference, BILLIONTHS)) <= tolerance


class _NotDecreasing(_OfGroups):
    condition_metric_name = "rows.not_decreasing"
    condition_value_keys = ("column", "group_by", "order_by", "strictly")

    @classmethod
    def kept(cls, column: Columns, /, **said: Any) -> ColumnElement[bool]:
        value = column[said["column"]]
        missing = sa.case((value.is_(None), 1), else_=0)  # nothing comes after these
        group = [*(column[name] for name in said["group_by"] or ()), missing]
        order = [column[name].asc().nulls_last() for name in said["order_by"]]
        before = sa.func.lag(value).over(partition_by=group, order_by=[*order, value.asc()])
        risen = value > before if said["strictly"] else value >= before
        return sa.or_(value.is_(None), before.is_(None), risen)


class _Ranked(_OfGroups):
    condition_metric_name = "colors.ranked"
    condition_value_keys = ("order",)

    @classmethod
    def kept(cls, column: Columns, /, **said: Any) -> ColumnElement[bool]:
        column = {name.upper(): one for name, one in column.items()}
        position = column["COLOR_POSITION"]
        dates = [sa.cast(column[k], sa.TIMESTAMP()) for k in ("DATE_1", "DATE") if k in column]
        date = sa.func.coalesce(*dates, sa.null())
        keys: Any = {"rank": column.get("RANK"), "date": date, "price": column.get("PX")}
        order = [
            (keys[key].desc() if descending else keys[key].asc()).nulls_last()
            for key, descending in parse_order(said["order"] or DEFAULT_ORDER)
        ]
        place = sa.func.row_number().over(
            partition_by=column["CUSIP"], order_by=[*order, position.asc()]
        )
        return position == place


class _Families(_OfGroups):
    condition_metric_name = "colors.families"

    @classmethod
    def kept(cls, column: Columns, /, **said: Any) -> ColumnElement[bool]:
        column = {name.upper(): one for name, one in column.items()}
        group, first = column["CUSIP"], column["COLOR_POSITION"] == 1
        rules: list[ColumnElement[bool]] = [column["COLOR_POSITION"].is_not(None)]
        if "IS_PARENT" in column:
            # A boolean, or 1 and 0 where a database has none.
            said_so = sa.func.lower(sa.cast(column["IS_PARENT"], sa.String(5)))
            words = [(said_so.in_(["true", "1"]), 1), (said_so.in_(["false", "0"]), 0)]
            rules.append(sa.case(*words) == sa.case((first, 1), else_=0))
        if "CHILDREN_COUNT" in column:
            children = sa.func.count().over(partition_by=group) - 1
            rules.append(column["CHILDREN_COUNT"] == sa.case((first, children), else_=0))
        if "PARENT_MESSAGE_ID" in column:
            points_to = column["PARENT_MESSAGE_ID"]
            message = sa.func.max(sa.case((first, column["MESSAGE_ID"]))).over(partition_by=group)
            due = sa.case((sa.not_(first), message))
            rules.append(sa.or_(points_to == due, sa.and_(points_to.is_(None), due.is_(None))))
        return sa.and_(*rules)


class _Grouped(MulticolumnMapExpectation):
    """Rows that agree in `group_by` are a group; all rows are one where that is empty."""

    group_by: Sequence[pydantic.StrictStr] = ()
    ignore_row_if: Any = "never"

    @pydantic.root_validator(pre=True)
    def _list_columns(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        # What else Great Expectations does with columns, it does with these.
        single = [values.get(key) for key in ("column", "column_A", "column_B")]
        names = [*(values.get("group_by") or ()), *(values.get("order_by") or ()), *single]
        return {**values, "column_list": list(dict.fromkeys(filter(None, names)))}


class ExpectColumnSumsToBalance(_Grouped):
    """Expect two columns, or one and zero, to have the same sum within each group.

    `column_A` is compared with `column_B`, or with zero where there is none, among rows that agree
    in `group_by` (all rows where that is empty); missing amounts are zero. Sums are exact where
    the columns are; they may differ by `tolerance`, in the columns' unit, and by less than a
    billionth. Every row of a group that does not balance is counted.
    """

    column_A: pydantic.StrictStr  # noqa: N815
    column_B: pydantic.StrictStr | None = None  # noqa: N815
    tolerance: pydantic.NonNegativeFloat = 0.0

    map_metric = "rows.balanced"
    success_keys: ClassVar[tuple[str, ...]] = (*_Balanced.condition_value_keys, "mostly")


class ExpectColumnValuesToNotDecreaseWithinGroup(_Grouped):
    """Expect a column's values never to decrease in the order of others, within each group.

    `order_by` gives the order, ascending, nulls last; rows that tie in it may come in any order.
    With `strictly` no value repeats the one before. Missing values are passed over; a row is
    counted if its value is less than the one before, among rows that agree in `group_by`. Texts
    compare as the database compares them.
    """

    column: pydantic.StrictStr
    order_by: pydantic.conlist(pydantic.StrictStr, min_items=1)  # type: ignore[valid-type]
    strictly: bool = False

    map_metric = "rows.not_decreasing"
    success_keys: ClassVar[tuple[str, ...]] = (*_NotDecreasing.condition_value_keys, "mostly")


class ExpectColorsToBeRanked(MulticolumnMapExpectation):
    """Expect COLOR_POSITION to count each CUSIP's colors from 1 in the order of Run Colors.

    `order` is as `run_colors` takes it. `column_list` holds CUSIP, COLOR_POSITION and what the
    order looks at: RANK, PX, and DATE_1, DATE or both. Nulls come last, and colors that agree in
    all of these may come in any order. A color is counted if its position is not its place.
    """

    order: Sequence[pydantic.StrictStr] = DEFAULT_ORDER

    map_metric = "colors.ranked"
    success_keys: ClassVar[tuple[str, ...]] = ("order", "mostly")

    @pydantic.root_validator(skip_on_failure=True)
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:  # noqa: N805
        needs = {"rank": ["RANK"], "price": ["PX"], "date": ["DATE_1", "DATE"]}
        keys = [needs[key] for key, _ in parse_order(values["order"])]
        _require(values["column_list"], ["CUSIP"], ["COLOR_POSITION"], *keys)
        return values


class ExpectColorFamiliesToAgree(MulticolumnMapExpectation):
    """Expect what Run Colors says of parents and children to follow from COLOR_POSITION.

    Of `column_list`, which holds CUSIP and COLOR_POSITION, these are checked: IS_PARENT is true
    (or 1) in position 1 alone; CHILDREN_COUNT is the number of the CUSIP's other colors there, and
    0 elsewhere; PARENT_MESSAGE_ID is null there, and the MESSAGE_ID of position 1 elsewhere.
    """

    map_metric = "colors.families"

    @pydantic.validator("column_list")
    def _complete(cls, names: list[str]) -> list[str]:  # noqa: N805
        told = ["IS_PARENT", "CHILDREN_COUNT", "PARENT_MESSAGE_ID"]
        _require(names, ["CUSIP"], ["COLOR_POSITION"], told)
        if "PARENT_MESSAGE_ID" in map(str.upper, names):
            _require(names, ["MESSAGE_ID"])
        return names


def _require(names: Sequence[str], *needed: Sequence[str]) -> None:
    listed = {name.upper() for name in names}
    for one in needed:
        if not listed & set(one):
            raise ValueError(f"column_list lacks {' or '.join(one)}")
