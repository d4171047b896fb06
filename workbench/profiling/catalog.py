"""A schema's structure and stored statistics, by SQLAlchemy's Inspector and the dictionary."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import oracle, postgresql
from sqlalchemy.engine.reflection import Inspector, ObjectKind

from workbench.errors import DataError, UsageError, nearest
from workbench.profiling import dictionary, model
from workbench.profiling.model import Figure

if TYPE_CHECKING:
    from workbench.database import Database

SYSTEM = ("pg_catalog",)  # left out by SQLAlchemy, and yet worth a look
# In this order: Oracle's NUMBER is an Integer as well, and an Enum is a String.
KINDS: tuple[tuple[tuple[type[Any], ...], model.Kind], ...] = (
    ((sa.CLOB, oracle.NCLOB, oracle.LONG), "other"),
    ((sa.Boolean,), "boolean"),
    ((sa.String, sa.Uuid), "text"),
    ((sa.Float,), "float"),
    ((sa.Numeric,), "decimal"),
    ((sa.Integer, postgresql.OID), "integer"),
    ((sa.DateTime,), "datetime"),
    ((sa.Date,), "date"),
    ((sa.Time,), "time"),
)


def kind_of(type_: sa.types.TypeEngine[Any]) -> model.Kind:
    """Say which figures a column's type allows; a domain is what it is made of."""
    if isinstance(type_, postgresql.DOMAIN):
        return kind_of(type_.data_type)
    if isinstance(type_, oracle.NUMBER) and type_.scale is not None and type_.scale <= 0:
        return "integer"
    return next((kind for classes, kind in KINDS if isinstance(type_, classes)), "other")


def schema_name(db: Database, asked: str | None) -> str:
    """Choose the schema to profile: the one asked for, the source's, or the only one with tables.

    Raises DataError for an unknown one, UsageError where there are several or none.
    """
    wanted = asked or db.source.schema_

    def choose(connection: sa.Connection) -> str:
        inspector = sa.inspect(connection)
        stored = dictionary.DIALECTS[connection.dialect.name](connection)
        with connection.begin():
            names = inspector.get_schema_names()
        if wanted:
            system = SYSTEM if connection.dialect.name == "postgresql" else ()
            return _match(wanted, [*names, *system], f"Source {db.name!r} has no schema", "Schemas")
        owners = stored.owners()
        if len(owners) == 1:
            return owners[0]
        if not owners:
            raise DataError(f"Source {db.name!r} has no schema with tables for this account.")
        raise UsageError(
            f"Source {db.name!r} has {len(owners)} schemas with tables: name one.",
            f"Schemas there: {', '.join(owners)}.",
        )

    return db._attempt("The look at its schemas", choose)


def read_catalog(
    db: Database, schema: str, tables: Sequence[str] | None, as_of: str
) -> tuple[tuple[model.Table, ...], tuple[model.InvalidObject, ...]]:
    """Describe the tables and views of a schema, by name, and what is invalid in it.

    No table is read. Raises DataError for names of `tables` that are not there. A table that
    somebody has locked is listed with `problem`, without its structure.
    """

    def read(
        connection: sa.Connection,
    ) -> tuple[tuple[model.Table, ...], tuple[model.InvalidObject, ...]]:
        stored = dictionary.DIALECTS[connection.dialect.name](connection)
        entries = stored.tables(schema)
        if tables is not None:
            known = [entry.name for entry in entries]
            lacks = f"Schema {schema!r} of source {db.name!r} has no table"
            wanted = {_match(name, known, lacks, "Tables") for name in tables}
            entries = [entry for entry in entries if entry.name in wanted]
        asked = None if tables is None else [entry.name for entry in entries]
        structure, locked = _reflect(connection, stored, schema, asked)
        facts = _Facts(
            structure,
            stored.columns(schema, entries),
            stored.types(schema),
            stored.sizes(schema),
            stored.scans(schema),
            stored.unenforced(schema),
        )
        found = [_table(schema, entry, facts, as_of, entry.name in locked) for entry in entries]
        return tuple(found), tuple(stored.invalid(schema))

    return db._attempt(f"The catalog of schema {schema}", read)


def _match(name: str, known: Sequence[str], lacks: str, kind: str) -> str:
    """Find a name, without regard to case where only one answers to it."""
    if name in known:
        return name
    alike = [other for other in known if other.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    hint = f"{kind} there: {', '.join(sorted(known)[:10])}." if known else None
    raise DataError(f"{lacks} {name!r}.{nearest(name, known)}", hint)


PARTS: dict[str, Callable[..., dict[Any, Any]]] = {
    "columns": Inspector.get_multi_columns,
    "primary_key": Inspector.get_multi_pk_constraint,
    "unique": Inspector.get_multi_unique_constraints,
    "foreign_keys": Inspector.get_multi_foreign_keys,
    "checks": Inspector.get_multi_check_constraints,
    "indexes": Inspector.get_multi_indexes,
    "comment": Inspector.get_multi_table_comment,
}
Structure = dict[str, dict[str, Any]]  # by part and table


def _reflect(
    connection: sa.Connection, stored: Any, schema: str, names: Sequence[str] | None
) -> tuple[Structure, set[str]]:
    """Reflect all tables at once; those somebody locks are left out, and named."""
    try:
        return _bulk(connection, schema, names), set()
    except exc.DBAPIError as error:
        if dictionary.code(error) != dictionary.LOCKED:
            raise
    locked = set(stored.locked(schema))
    names = [entry.name for entry in stored.tables(schema)] if names is None else names
    return _bulk(connection, schema, [name for name in names if name not in locked]), locked


def _bulk(connection: sa.Connection, schema: str, names: Sequence[str] | None) -> Structure:
    with dictionary.patient(connection), warnings.catch_warnings():
        # A type that SQLAlchemy does not know is one of which only nulls are counted.
        warnings.filterwarnings("ignore", "Did not recognize type", exc.SAWarning)
        inspector = sa.inspect(connection)
        return {
            part: {
                table: found
                for (_, table), found in reflect(
                    inspector,
                    schema,
                    names,
                    ObjectKind.ANY,
                    postgresql_ignore_search_path=True,
                ).items()
            }
            for part, reflect in PARTS.items()
        }


@dataclass(frozen=True)
class _Facts:
    structure: Structure
    columns: Mapping[tuple[str, str], dictionary.Stored]
    types: Mapping[tuple[str, str], str]
    sizes: Mapping[str, int]
    scans: Mapping[str, int]
    unenforced: set[tuple[str, str]]


def _table(
    schema: str, entry: dictionary.Entry, facts: _Facts, as_of: str, locked: bool
) -> model.Table:
    name = entry.name
    part = {key: found.get(name) for key, found in facts.structure.items()}
    key = part["primary_key"] or {}
    return model.Table(
        name=name,
        kind=entry.kind,
        comment=(part["comment"] or {}).get("text"),
        rows=_figure(entry.rows, entry.counted, as_of),
        size=_figure(facts.sizes.get(name), None, as_of),
        columns=tuple(_column(name, column, facts, as_of) for column in part["columns"] or ()),
        primary_key=model.Key(tuple(key["constrained_columns"]), key["name"])
        if key.get("constrained_columns")
        else None,
        unique=tuple(
            model.Key(tuple(unique["column_names"]), unique["name"])
            for unique in part["unique"] or ()
        ),
        foreign_keys=tuple(
            model.ForeignKey(
                columns=tuple(found["constrained_columns"]),
                to_table=found["referred_table"],
                to_columns=tuple(found["referred_columns"]),
                to_schema=None if found["referred_schema"] == schema else found["referred_schema"],
                name=found["name"],
                enforced=(name, found["name"]) not in facts.unenforced,
            )
            for found in part["foreign_keys"] or ()
        ),
        checks=tuple(
            model.Check(check["sqltext"], check["name"]) for check in part["checks"] or ()
        ),
        indexes=tuple(
            model.Index(
                name=index["name"],
                columns=tuple(index["column_names"]),
                unique=bool(index["unique"]),
                scans=_figure(facts.scans.get(index["name"]), None, as_of),
            )
            for index in part["indexes"] or ()
        ),
        partitions=entry.partitions,
        analyzed=_moment(entry.analyzed),
        stale=entry.stale,
        problem="Somebody holds a lock on it, so that its structure cannot be read."
        if locked
        else None,
    )


def _column(table: str, column: Mapping[str, Any], facts: _Facts, as_of: str) -> model.Column:
    name = column["name"]
    stored = facts.columns.get((table, name))
    return model.Column(
        name=name,
        type=facts.types[table, name],
        kind=kind_of(column["type"]),
        nullable=column["nullable"],
        default=column["default"],
        comment=column.get("comment"),
        nulls=_figure(stored.nulls, stored.as_of, as_of) if stored else None,
        distinct=_figure(stored.distinct, stored.as_of, as_of) if stored else None,
    )


def _figure(value: int | None, moment: dt.datetime | None, as_of: str) -> Figure | None:
    """Make a figure of the dictionary's; `as_of` is when it was read, for want of better."""
    return None if value is None else Figure(value, "dictionary", _moment(moment) or as_of)


def _moment(moment: dt.datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
