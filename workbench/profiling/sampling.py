"""How much of a table is read: all of it, or a sample of its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from workbench.profiling.model import Table

ROW_BUDGET = 200_000
"""Rows up to which a table is read whole; of a larger one, blocks with about as many are."""

SEED = 1  # the same blocks each time, so that two profiles of one state are equal
BYTES_PER_ROW = 100  # a guess for tables of which the dictionary knows nothing but the size
BLOCK = 8192  # bytes; both databases' default
FEWEST_BLOCKS = 30  # a sample of fewer says little of what the others hold


@dataclass(frozen=True)
class Scope:
    """What of a table is read: `clause` has its columns, `percent` is None for all of it."""

    clause: sa.FromClause
    percent: float | None
    how: str

    @property
    def factor(self) -> float:
        """By how much a count within the scope is multiplied for the table's."""
        return 100 / self.percent if self.percent else 1


def scope(
    table: Table, schema: str, dialect: sa.Dialect, percent: float | None, rows: int
) -> Scope:
    """Decide how much of a table is read.

    Without `percent` it is whole up to `rows` rows by the dictionary, else as many per cent of its
    blocks as hold about `rows`. A sample of fewer than 30 blocks is not drawn from a table of up
    to `rows` rows: it is read whole. So are views, which have no blocks.
    """
    columns: list[sa.ColumnClause[Any]] = [sa.column(column.name) for column in table.columns]
    whole = sa.table(table.name, *columns, schema=schema)
    known, size = estimated_rows(table), _number(table.size)
    if percent is None:
        percent = float(f"{100 * rows / known:.2g}") if known > rows else 100
    elif known <= rows and size is not None and size / BLOCK * percent / 100 < FEWEST_BLOCKS:
        percent = 100
    # Written first, so that what is said is what is done.
    said = _plain(percent)
    if table.kind == "view" or float(said) >= 100:
        return Scope(whole, None, "exact")
    sample = whole.tablesample(
        sa.func.system(sa.literal_column(said)), name="sampled", seed=sa.literal_column(str(SEED))
    )
    return Scope(sample, float(said), f"sampled {said} %")


def estimated_rows(table: Table) -> int:
    """Guess a table's rows: by the dictionary; by the size where it knows none or old ones."""
    rows, size = _number(table.rows), _number(table.size)
    guess = (size or 0) // BYTES_PER_ROW
    return guess if rows is None else max(rows, guess) if table.stale else rows


def _number(figure: Any) -> int | None:
    return None if figure is None else int(figure.value)


def _plain(percent: float) -> str:
    """Write a percentage without an exponent; Oracle takes none below 0.000001."""
    return f"{max(percent, 0.000001):.6f}".rstrip("0").rstrip(".")


@compiles(sa.TableSample, "oracle")
def _sample_blocks(element: sa.TableSample, compiler: Any, **options: Any) -> str:
    """Write what Oracle calls SAMPLE BLOCK, which stands before the alias (19c, SELECT)."""
    of = compiler.process(element.element, asfrom=True)
    percent, seed = compiler.process(element.sampling.clauses), compiler.process(element.seed)
    return f"{of} SAMPLE BLOCK ({percent}) SEED ({seed}) {element.name}"
