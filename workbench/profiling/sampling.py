"""How much of a table is read: all of it, or a sample of its blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from workbench.profiling.model import Table

ROW_BUDGET = 200_000
"""Rows up to which a table is read whole; of a larger one, blocks with about as many are."""
BYTE_BUDGET = 200_000_000
"""Bytes of rows and long texts, likewise."""

SEED = 1  # the same blocks each time, so that two profiles of one state are equal
BYTES_PER_ROW = 100  # a guess for tables whose rows nobody has counted
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

    Without `percent` it is whole up to `rows` rows by the dictionary and BYTE_BUDGET bytes, else
    as many per cent of its blocks as hold about so much. A sample has at least 30 blocks: a table
    of fewer is read whole, whatever its long texts come to. So are views, which have no blocks.
    """
    columns: list[sa.ColumnClause[Any]] = [sa.column(column.name) for column in table.columns]
    whole = sa.table(table.name, *columns, schema=schema)
    blocks = table.heap.number / BLOCK if table.heap else math.inf
    if percent is None:
        over = max(estimated_rows(table) / rows, _bytes_read(table) / BYTE_BUDGET, 1)
        percent = float(f"{100 / over:.2g}")
    if percent * blocks < 100 * FEWEST_BLOCKS:
        percent = float(f"{100 * FEWEST_BLOCKS / blocks:.2g}") if blocks else 100
    # Written first, so that what is said is what is done.
    said = plain(percent)
    if table.kind == "view" or float(said) >= 100:
        return Scope(whole, None, "exact")
    sample = whole.tablesample(
        sa.func.system(sa.literal_column(said)), name="sampled", seed=sa.literal_column(str(SEED))
    )
    return Scope(sample, float(said), f"sampled {said} %")


def estimated_rows(table: Table) -> int:
    """Guess a table's rows: by the dictionary; by the size where it knows none or old ones."""
    guess = int(table.heap.number) // BYTES_PER_ROW if table.heap else 0
    return max(table.count, guess) if table.stale or not table.rows else table.count


def _bytes_read(table: Table) -> float:
    """Give the bytes of a table that are read; of long values only texts are."""
    texts = any(column.kind == "text" for column in table.columns)
    return sum(size.number for size in (table.heap, table.toast if texts else None) if size)


def plain(percent: float) -> str:
    """Write a percentage without an exponent; Oracle takes none below 0.000001."""
    return f"{max(percent, 0.000001):.6f}".rstrip("0").rstrip(".")


@compiles(sa.TableSample, "oracle")
def _sample_blocks(element: sa.TableSample, compiler: Any, **options: Any) -> str:
    """Write what Oracle calls SAMPLE BLOCK, which stands before the alias (19c, SELECT)."""
    of = compiler.process(element.element, asfrom=True)
    percent, seed = compiler.process(element.sampling.clauses), compiler.process(element.seed)
    return f"{of} SAMPLE BLOCK ({percent}) SEED ({seed}) {element.name}"
