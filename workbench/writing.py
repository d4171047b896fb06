"""Many rows in one transaction, and which of them was refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from workbench.errors import ConnectionFailed, QueryError, fault_of

UNSENDABLE = (UnicodeError, TypeError, ValueError, OverflowError)  # what drivers raise for a value
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
    names: list[str] | None = None
    transaction = connection.begin()
    while chunk := [_sendable(row, count + n) for n, row in enumerate(islice(rows, CHUNK), 1)]:
        names = names or sorted(chunk[0])
        for place, row in enumerate(chunk, start=count + 1):
            if sorted(row) != names:
                # SQLAlchemy takes the columns of the first, and would drop the others'.
                raise QueryError(
                    f"Row {place:,} does not have the columns of row 1: {', '.join(names)}.",
                    "Give every row the same names, None where there is no value.",
                )
        savepoint = connection.begin_nested()
        try:
            connection.execute(statement, chunk)
            savepoint.commit()
            count += len(chunk)
            continue
        except (exc.StatementError, *UNSENDABLE) as error:
            lost = _is_lost(error)
        if lost:
            raise ConnectionFailed(
                "The connection was lost before the rows were committed: none was written.",
                "Run it again.",
            )
        # One by one: no driver says reliably which row of a chunk it was.
        savepoint.rollback()
        place, reason, hint = _first_refused(connection, statement, chunk)
        transaction.rollback()
        raise QueryError(f"Row {count + place:,} was refused: {reason} No row was written.", hint)
    try:
        transaction.commit()
        return count
    except exc.DBAPIError as error:
        lost, (reason, hint) = _is_lost(error), _reason(error)
    if lost:
        raise ConnectionFailed(
            "The connection was lost while the rows were being committed: whether they were "
            "written is unknown, and nothing was tried again.",
            f"Look whether the {count:,} rows are there before you run it again.",
        )
    raise QueryError(f"The rows were refused in the end: {reason} No row was written.", hint)


def _is_lost(error: Exception) -> bool:
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def _sendable(row: Any, place: int) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise QueryError(
            f"Row {place:,} is a {type(row).__name__}, not a mapping from bind to value.",
            "Give dictionaries, or a polars frame.",
        )
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
            return place, *_reason(error)
        except exc.StatementError:
            return place, "it lacks a value that the statement names.", None
        except UNSENDABLE as error:
            return place, f"it holds a value that cannot be sent ({type(error).__name__}).", None
    return 1, "it or one after it was refused together with the others only.", None


def _reason(error: exc.DBAPIError) -> tuple[str, str | None]:
    """Say why; what the database says may show a row's values, the catalogue does not."""
    fault = fault_of(error)
    if fault is None:
        return f"{type(error.orig).__name__}.", None
    return f"{fault}.", fault.fix
