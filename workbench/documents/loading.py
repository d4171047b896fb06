"""Shaped documents into PostgreSQL: staged, checked, and merged in one transaction."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
import polars.selectors as cs
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.schema import CreateSchema

from workbench.database import connect
from workbench.documents.shaping import Shaped
from workbench.documents.targets import SOURCES, tables
from workbench.errors import ConnectionFailed, DataError, QueryError, UsageError, require

LOCK_CLASS = 0x646F6373  # "docs": the first half of the advisory lock, the schema is the second
ROWS = 10_000  # sent at once
LONGEST = 63  # bytes of a name in PostgreSQL, which cuts off the rest
CHANGES = ("added", "changed", "removed")
ESCAPES = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}  # of COPY's text format


@dataclass(frozen=True, repr=False)
class Load:
    """What a load did, and `reconciliation`: a row for each target that has to add up.

    Its columns: target, scanned, shaped, rejected, loaded (rows in the table after the load),
    added, changed, removed, accounted (shaped and rejected), rejected_percent (of the scanned).
    """

    id: str
    warehouse: str
    schema: str
    trial: bool
    reconciliation: pl.DataFrame

    @property
    def changes(self) -> int:
        """How many rows were added, changed or removed."""
        return int(self.reconciliation.select(pl.sum_horizontal(CHANGES).sum()).item())

    def __repr__(self) -> str:
        held = f"{self.reconciliation['loaded'].sum():,} rows"
        place = f"the schema {self.schema!r} of {self.warehouse!r}"
        if not self.changes:
            return f"Nothing was changed: {place} held these {held} already."
        done = ", ".join(f"{self.reconciliation[name].sum():,} {name}" for name in CHANGES)
        return f"Loaded: {place} holds {held} now ({done})."


def load(
    shaped: Shaped,
    warehouse: str = "warehouse",
    *,
    schema: str = "documents",
    allow_empty: bool = False,
) -> Load:
    """Make the warehouse's four tables hold what was shaped, in one transaction.

    Only what differs is written; whoever reads sees the old rows of all four tables or the new
    ones, and need not wait. Tables that are missing are made; views, grants and indexes stay.
    What fails at any step leaves everything as it was. Loads into the same schema wait for each
    other. A trial goes into the schema `{schema}_trial`.

    Raises DataError where counts do not add up or, unless `allow_empty`, a table would be left
    without rows; UsageError for a warehouse that is no PostgreSQL; QueryError and
    ConnectionFailed for what the warehouse refuses.
    """
    counts = shaped.reconciliation
    accounted = pl.col("shaped") + pl.col("rejected")
    if lost := counts.filter(pl.col("scanned") != accounted)["target"].to_list():
        raise DataError(f"Not every item of {', '.join(lost)} is a row or rejected: not loaded.")
    empty = counts.filter(pl.col("shaped") == 0)["target"].to_list()
    if empty and not allow_empty:
        raise DataError(
            f"There are no rows for {', '.join(empty)}, so nothing was loaded.",
            "Say allow_empty=True if it is meant to be empty; the warehouse is as it was.",
        )
    place = f"{schema}_trial" if shaped.trial else schema
    if not schema or len(place.encode()) > LONGEST:
        raise UsageError(f"A schema's name has 1 to {LONGEST} bytes, and {place!r} does not.")
    with connect(warehouse) as db:
        if db.engine.dialect.name != "postgresql":
            raise UsageError(f"Source {warehouse!r} is no PostgreSQL; documents go into one.")
        if db.source.read_only:
            raise QueryError(
                f"Source {warehouse!r} is read-only; nothing can be loaded into it.",
                "Set read_only = false for the source if it is meant to be written to.",
            )
        patience = db.source.call_timeout

        def work(connection: sa.Connection) -> Load:
            # Merging millions of rows may take longer than any other answer. A server that is
            # gone is noticed by keepalives, and waiting for locks has its own limit.
            driver: Any = connection.connection.driver_connection
            limit, driver.limit = driver.limit, None
            try:
                return _load(connection, shaped, warehouse, place, patience)
            finally:
                driver.limit = limit

        return db.attempt("The load", work)


def _load(
    connection: sa.Connection, shaped: Shaped, warehouse: str, schema: str, patience: float
) -> Load:
    targets, transaction = tables(schema), connection.begin()
    # Else, where another level is usual, it would not see what the load before it has done.
    connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(sa.text(f"SET LOCAL lock_timeout = {int(patience * 1000)}"))
    lock = sa.func.pg_advisory_xact_lock(LOCK_CLASS, sa.func.hashtext(schema))
    connection.execute(sa.select(lock))
    now = datetime.now(UTC)
    identity = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    _prepare(connection, schema, targets)
    merged = [_merge(connection, targets[name], frame) for name, frame in shaped.frames.items()]
    counts = shaped.reconciliation.hstack(pl.DataFrame(merged)).with_columns(
        accounted=pl.col("shaped") + pl.col("rejected"),
        rejected_percent=(pl.col("rejected") * 100 / pl.col("scanned")).fill_nan(0.0),
    )
    history = {"load_id": identity, "loaded_at": now, "source": shaped.source}
    rows = counts.drop("accounted", "rejected_percent").iter_rows(named=True)
    connection.execute(sa.insert(targets["loads"]), [history | row for row in rows])
    connection.execute(sa.delete(targets["rejected"]))
    _copy(connection, targets["rejected"], shaped.rejected.with_row_index("entry", 1))
    try:
        transaction.commit()
        return Load(identity, warehouse, schema, shaped.trial, counts)
    except exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
    raise ConnectionFailed(
        "The connection was lost during the commit: whether the load took effect is unknown.",
        "Run it again: what is loaded already is not loaded twice.",
    )


def _prepare(connection: sa.Connection, schema: str, targets: dict[str, sa.Table]) -> None:
    """Make the tables that are missing, and keep other writers out of those that are loaded."""
    if not sa.inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    targets["cases"].metadata.create_all(connection)
    held = sa.inspect(connection).get_multi_columns(schema=schema, filter_names=list(targets))
    for name, table in targets.items():
        if (schema, name) not in held:
            raise DataError(
                f"{schema}.{name} is no table, and a load needs one.",
                "Rename the view: a table that is missing is made.",
            )
        there = [column["name"] for column in held[schema, name]]
        hint = "Add what is missing, or rename the table: one that is not there is made."
        require(f"The table {schema}.{name}", there, table.columns.keys(), hint)
    named = ", ".join(_named(connection, targets[name]) for name in SOURCES)
    connection.exec_driver_sql(f"LOCK TABLE {named} IN SHARE ROW EXCLUSIVE MODE")


def _merge(connection: sa.Connection, table: sa.Table, frame: pl.DataFrame) -> dict[str, int]:
    """Make a table hold a frame's rows by writing what differs; count what that was.

    Not by TRUNCATE, after which a transaction that began before sees an empty table, nor by
    renaming, which leaves views and grants with the old one.
    """
    key, names = table.primary_key.columns.keys(), table.columns.keys()
    staged = sa.Table(
        f"staged_{table.name}", sa.MetaData(),
        *(sa.Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable,
                    autoincrement=False) for c in table.columns),
        prefixes=["TEMPORARY"], postgresql_on_commit="DROP",
    )  # fmt: skip
    staged.create(connection)
    _copy(connection, staged, frame)
    connection.exec_driver_sql(f"ANALYZE {_named(connection, staged)}")

    same = sa.and_(*(table.c[name] == staged.c[name] for name in key))
    rest = {name: staged.c[name] for name in names if name not in key}
    differing = {name: _differ(table.c[name], staged.c[name]) for name in rest}
    new = sa.select(staged).where(~sa.exists().where(same).correlate(staged))
    statements = {
        "removed": sa.delete(table).where(~sa.exists().where(same).correlate(table)),
        "changed": sa.update(table).values(rest).where(same, sa.or_(*differing.values())),
        "added": sa.insert(table).from_select(names, new),
    }
    counted = {"preserve_rowcount": True}
    done = {name: connection.execute(one, execution_options=counted).rowcount
            for name, one in statements.items()}  # fmt: skip
    either = table.outerjoin(staged, same)
    paired = sa.func.count(staged.c[key[0]])
    checks = [sa.func.bool_or(differ).filter(same) for differ in differing.values()]
    check = sa.select(sa.func.count(), paired, *checks).select_from(either)
    loaded, found, *odd = connection.execute(check).one()
    if loaded != frame.height:
        raise DataError(
            f"The table {table.fullname} would hold {loaded:,} rows where {frame.height:,} were "
            "shaped: nothing was loaded.",
            f"Look for rows with the same {', '.join(key)}, and for triggers and rules.",
        )
    lost = [name for name, one in zip(differing, odd, strict=True) if one]
    if lost := key if found != loaded else lost:
        raise DataError(
            f"The table {table.fullname} would hold other values than were shaped in "
            f"{', '.join(lost)}: nothing was loaded.",
            "Look at the types of these columns, and for triggers and rules.",
        )
    return {"loaded": loaded, **{name: done[name] for name in CHANGES}}


def _differ(kept: sa.Column[Any], wanted: sa.Column[Any]) -> sa.ColumnElement[bool]:
    differ = kept.is_distinct_from(wanted)
    if isinstance(wanted.type, sa.Numeric):
        # A column of floats is compared by floats, which hide the digits that it cannot hold.
        return differ | sa.cast(kept, sa.Numeric()).is_distinct_from(wanted)
    return differ


def _copy(connection: sa.Connection, table: sa.Table, frame: pl.DataFrame) -> None:
    """Send a frame by COPY; raises DataError unless every row of it arrived."""
    quote = connection.dialect.identifier_preparer.quote
    # Its percent signs are doubled for statements that have parameters, as COPY has not.
    named = _named(connection, table).replace("%%", "%")
    statement = f"COPY {named} ({', '.join(map(quote, frame.columns))})"
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        with cursor.copy(f"{statement} FROM STDIN") as copy:
            for part in frame.iter_slices(ROWS):
                # Not as CSV, in which older servers take a line of "\\." for the end of it all.
                text = part.with_columns(cs.string().str.replace_many(ESCAPES))
                copy.write(text.write_csv(include_header=False, separator="\t",
                                          quote_style="never", null_value=r"\N"))  # fmt: skip
        if cursor.rowcount != frame.height:
            raise DataError(f"{cursor.rowcount:,} of {frame.height:,} rows reached {table.name}.")


def _named(connection: sa.Connection, table: sa.Table) -> str:
    return connection.dialect.identifier_preparer.format_table(table)
