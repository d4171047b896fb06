"""Every exact figure is what plain Python and polars make of the same rows."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

import workbench
from workbench import embedded
from workbench.profiling.model import QUANTILES, Column, Figure, Kind, Table
from workbench.profiling.sampling import Scope, scope
from workbench.profiling.statistics import measure

AS_OF = "2026-01-31T12:00:00"
MOMENT = dt.datetime.fromisoformat(AS_OF)
BLANKS = " \t\r\n\v\f\xa0"
TYPES: dict[str, tuple[Kind, Any]] = {
    "smallint": ("integer", pl.Int64),
    "bigint": ("integer", pl.Int64),
    "numeric": ("decimal", pl.Decimal(38, 12)),
    "numeric(30,4)": ("decimal", pl.Decimal(38, 4)),
    "double precision": ("float", pl.Float64),
    "real": ("float", pl.Float32),
    "text": ("text", pl.String),
    "character(5)": ("text", pl.String),
    "boolean": ("boolean", pl.Boolean),
    "date": ("date", pl.Date),
    "timestamp without time zone": ("datetime", pl.Datetime("us")),
    "timestamp with time zone": ("datetime", pl.Datetime("us")),
    "time without time zone": ("time", pl.Time),
    "bytea": ("other", pl.Binary),
}
MOMENTS = st.datetimes() | st.sampled_from([dt.datetime.min, dt.datetime.max, MOMENT])
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**25),
                       max_value=10**25)  # fmt: skip
ODD = st.sampled_from([Decimal("NaN")])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1]),
    "numeric": DECIMALS | st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Inf")]),
    "numeric(30,4)": st.decimals(-(10**25), 10**25, places=4) | ODD,
    "double precision": st.floats() | st.sampled_from([1.7e308, -1.7e308, 5e-324, -0.0]),
    "real": st.floats(width=32),
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.sampled_from(["", BLANKS, "é" * 300, "%s :x ' \" \\", "NULL"]),
    "character(5)": st.text("ab ", max_size=5),
    "boolean": st.booleans(),
    "date": MOMENTS.map(dt.datetime.date),
    "timestamp without time zone": MOMENTS,
    "timestamp with time zone": MOMENTS,
    "time without time zone": st.times(),
    "bytea": st.binary(max_size=4),
}


@pytest.fixture(scope="module")
def engine(worker_id: str) -> Iterator[sa.Engine]:
    name = f"profile_statistics_{worker_id}"
    with workbench.connect("demo"):
        made = sa.create_engine(
            embedded.connection_url(), connect_args={"options": f"-c search_path={name}"}
        )
    with made.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
    yield made
    with made.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
    made.dispose()


def schema(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def written(
    connection: sa.Connection, types: dict[str, str], rows: Sequence[Sequence[Any]], name: str = "t"
) -> Table:
    """Create a table of these columns and rows; it goes with the transaction."""
    cursor = connection.connection.cursor()
    listed = ", ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
    cursor.execute(f"CREATE TABLE {quoted(name)} ({listed})".encode())
    with cursor.copy(f"COPY {quoted(name)} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    columns = (Column(column, kind, TYPES[kind][0]) for column, kind in types.items())
    return Table(name, columns=tuple(columns))


def figures(
    connection: sa.Connection, table: Table, percent: float | None = 100
) -> tuple[Table, Scope]:
    where = schema(connection.engine)
    part = scope(table, where, connection.dialect, percent, 1)
    return measure(connection, where, table, part, AS_OF), part


def values(column: Column) -> dict[str, Any]:
    """Give a column's figures by name, after looking at what they say of themselves."""
    found = {}
    for name in Column.__slots__:
        value = getattr(column, name)
        if isinstance(value, Figure):
            assert (value.how, value.as_of) == ("exact", AS_OF)
            found[name] = value.value
    if column.quantiles:
        found["quantiles"] = {name: figure.value for name, figure in column.quantiles.items()}
    return found


def told(kind: Kind, value: Any) -> Any:
    """Write a value as the model has it; decimals as numbers, to be compared as such."""
    if kind in ("date", "datetime", "time"):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    return value


def naive(type_: str, given: Sequence[Any]) -> dict[str, Any]:
    """Compute a column's figures plainly."""
    kind, dtype = TYPES[type_]
    present = [value for value in given if value is not None]
    found: dict[str, Any] = {"nulls": len(given) - len(present)}
    if kind == "other":
        return found
    if kind in ("float", "decimal"):
        found["nan"] = sum(math.isnan(value) for value in present)
        found["infinite"] = sum(math.isinf(value) for value in present)
        present = [value for value in present if math.isfinite(value)]
    if type_ == "character(5)":
        present = [value.rstrip(" ") for value in present]
    series = pl.Series(present, dtype=dtype)
    found["distinct"] = series.n_unique()
    if kind == "boolean":
        return found | {"true": int(series.sum())}
    if kind == "text":
        found["blank"] = sum(not value.strip(BLANKS) for value in present)
    if kind in ("date", "datetime"):
        moments = series.cast(pl.Datetime("us"))
        found["future"] = int((moments > MOMENT).sum())
    if not present:
        return found
    ordered = series.sort()
    found |= {"min": told(kind, ordered[0]), "max": told(kind, ordered[-1])}
    if kind == "text":
        lengths = series.str.len_chars()
        found |= {
            "min": found["min"][:200], "max": found["max"][:200], "min_length": lengths.min(),
            "max_length": lengths.max(), "mean_length": pytest.approx(lengths.mean()),
        }  # fmt: skip
    if kind in ("integer", "decimal", "float", "date", "datetime"):
        ranks = (math.ceil(Fraction(str(part)) * len(present)) - 1 for part in QUANTILES)
        found["quantiles"] = {
            str(part): told(kind, ordered[rank])
            for part, rank in zip(QUANTILES, ranks, strict=True)
        }
    if kind in ("integer", "decimal", "float"):
        found |= moments_of(ordered.to_list(), kind)
    return found


def moments_of(numbers: Sequence[Any], kind: Kind) -> dict[str, Any]:
    """Give mean and standard deviation by exact fractions."""
    exact = [Fraction(number) for number in numbers]
    largest = max(map(abs, exact))
    if kind == "float" and largest >= Fraction(1e150):
        return {}
    mean = sum(exact) / len(exact)
    near = float(largest) * 1e-9
    found = {"mean": pytest.approx(float(mean), rel=1e-9, abs=near)}
    if len(exact) > 1:
        variance = sum((number - mean) ** 2 for number in exact) / (len(exact) - 1)
        found["stddev"] = pytest.approx(math.sqrt(variance), rel=1e-6, abs=near)
    return found


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, str], list[list[Any]]]:
    kinds = draw(st.lists(st.sampled_from(list(TYPES)), min_size=30, max_size=60))
    count = draw(st.sampled_from([0, 1, 2, 7, 100, 700]))
    dice = random.Random(draw(st.integers()))
    columns = []
    for kind in kinds:
        pool = [None, *draw(st.lists(VALUES[kind], min_size=1, max_size=8))]
        columns.append(dice.choices(pool, k=count))
    names = draw(st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9)
        | st.sampled_from(["select", "Name", 'a"b', "%(x)s", ":x", "count", "drawn", "é"]),
        min_size=len(kinds), max_size=len(kinds), unique=True,
    ))  # fmt: skip
    types = dict(zip(names, kinds, strict=True))
    return types, [list(row) for row in zip(*columns, strict=True)]


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@given(tables())
@settings(max_examples=12, deadline=None, phases=[Phase.generate])
def test_every_exact_figure_is_the_naive_one(
    engine: sa.Engine, made: tuple[dict[str, str], list[list[Any]]]
) -> None:
    types, rows = made
    with engine.connect() as connection:
        table, part = figures(connection, written(connection, types, rows))
    assert (part.how, table.problem) == ("exact", None)
    assert table.rows == Figure(len(rows), "exact", AS_OF)
    for place, column in enumerate(table.columns):
        found = values(column)
        if column.kind == "decimal":
            for name in {"min", "max"} & found.keys():
                found[name] = Decimal(found[name])
            if "quantiles" in found:
                found["quantiles"] = {k: Decimal(v) for k, v in found["quantiles"].items()}
        wanted = naive(column.type, [row[place] for row in rows])
        differs = {k: (found.get(k), wanted.get(k)) for k in {*found, *wanted} if found.get(k) != wanted.get(k)}
        assert not differs, column.type
