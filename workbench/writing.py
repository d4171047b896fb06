"""Many rows in one transaction, and which of them was refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from workbench.errors import ConnectionFailed, QueryError, fault_of

CHUNK = 500  # rows in one executemany: more gain nothing, and a refused one is found among fewer


def execute(
    connection: sa.Connection, statement: sa.Executable, rows: Iterator[Mapping[str, Any]]
) -> int:
    """Run the statement for each row, in chunks, and commit once; return the number of rows.

    Raises QueryError for the first row that is refused (1-based, without its values): then
    nothing is written. Raises ConnectionFailed where the connection is lost; when that happens
    during the commit, it says that the outcome is unknown.
    """
    count = 0
    transaction = connection.begin()
    while chunk := [_sendable(row) for row in islice(rows, CHUNK)]:
        savepoint = connection.begin_nested()
        try:
            connection.execute(statement, chunk)
            savepoint.commit()
            count += len(chunk)
            continue
        except exc.StatementError as error:
            if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
                raise
        # One by one: no driver says reliably which row of a chunk it was.
        savepoint.rollback()
        place, why, hint = _first_refused(connection, statement, chunk)
        transaction.rollback()
        raise QueryError(f"Row {count + place:,} was refused: {why} No row was written.", hint)
    lost = False
    try:
        transaction.commit()
    except exc.DBAPIError as error:
        lost = error.connection_invalidated
        if not lost:
            raise
    if lost:
        raise ConnectionFailed(
            "The connection was lost while the rows were being committed: whether they were "
            "written is unknown, and nothing was tried again.",
            f"Look whether the {count:,} rows are there before you run it again.",
        )
    return count


def _sendable(row: Mapping[str, Any]) -> dict[str, Any]:
    # Moments in UTC, as the sessions are: Oracle's driver sends no offset.
    return {
        name: value.astimezone(dt.UTC) if isinstance(value, dt.datetime) and value.tzinfo else value
        for name, value in row.items()
    }


def _first_refused(
    connection: sa.Connection, statement: sa.Executable, chunk: Sequence[Mapping[str, Any]]
) -> tuple[int, str, str | None]:
    for place, row in enumerate(chunk, start=1):
        try:
            connection.execute(statement, dict(row))
        except exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            fault = fault_of(error)
            # What the database says may show the row's values; the catalogue does not.
            if fault is None:
                return place, f"{type(error.orig).__name__}.", None
            return place, f"{fault.meaning.removesuffix('.')} ({fault.code}).", fault.fix
        except exc.StatementError:
            return place, "it lacks a value that the statement names.", None
    return 1, "it or one after it was refused together with the others only.", None
