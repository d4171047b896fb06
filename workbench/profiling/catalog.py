"""A schema's structure and stored statistics, by SQLAlchemy's Inspector and the dictionary."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import oracle, postgresql
from sqlalchemy.engine.reflection import Inspector, ObjectKind

from workbench.errors import DataError, UsageError, nearest
from workbench.profiling import dictionary, model
from workbench.profiling.model import Figure
from workbench.reporting.text import inert

if TYPE_CHECKING:
    from workbench.database import Database

Catalog = tuple[tuple[model.Table, ...], tuple[model.InvalidObject, ...]]
LOCKED = "Somebody holds a lock on it, so that its structure cannot be read."
SYSTEM = ("pg_catalog",)  # left out by SQLAlchemy, and yet worth a look
# In this order: Oracle's NUMBER is an Integer as well, and an Enum is a String.
KINDS: tuple[tuple[tuple[type[Any], ...], model.Kind], ...] = (
    ((sa.CLOB, oracle.NCLOB, oracle.LONG), "other"),
    ((sa.Boolean,), "boolean"),
    ((sa.String, sa.Uuid), "text"),
    ((oracle.FLOAT,), "decimal"),  # 38 digits
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

    On Oracle, where several have some, the login's own. Raises DataError for an unknown one,
    UsageError where there are several or none.
    """
    wanted = asked or db.source.schema_

    def choose(connection: sa.Connection) -> str:
        inspector = sa.inspect(connection)
        oracle_ = connection.dialect.name == "oracle"
        if wanted:
            with connection.begin():
                names = [*inspector.get_schema_names(), *(() if oracle_ else SYSTEM)]
            return match(wanted, names, f"Source {db.name!r} has no schema", "Schemas")
        owners: list[str] = [name for (name,) in dictionary.ask(connection, "OWNERS")]
        if oracle_ and inspector.default_schema_name in owners:
            return inspector.default_schema_name
        if len(owners) == 1:
            return owners[0]
        told = f"Source {db.name!r} shows this account {len(owners) or 'no'} schemas with tables"
        hint = inert(f"Name one of them: {', '.join(owners)}.") if owners else None
        raise UsageError(f"{told}.", hint)

    return db.attempt("The look at its schemas", choose)


def read_catalog(db: Database, schema: str, tables: Sequence[str] | None, as_of: str) -> Catalog:
    """Describe the tables and views of a schema, by name, and what is invalid in it.

    No table is read. Raises DataError for names of `tables` that are not there. A table that
    somebody has locked is listed with `problem`, without its structure.
    """

    def read(connection: sa.Connection) -> Catalog:
        kinds = dict(dictionary.ask(connection, "TABLES", schema))
        if tables is not None:
            lacks = f"Schema {schema!r} of source {db.name!r} has no table"
            wanted = {match(name, [*kinds], lacks, "Tables") for name in tables}
            kinds = {name: kind for name, kind in kinds.items() if name in wanted}
        # Named, so that the partitions are not described one by one; Oracle's are no tables, and
        # it takes no more than a thousand names.
        unnamed = tables is None and connection.dialect.name == "oracle"
        parts, locked = _reflect(connection, schema, None if unnamed else [*kinds])
        facts = _Facts(connection, schema, parts, as_of)
        found = tuple(facts.table(name, kinds[name], name in locked) for name in sorted(kinds))
        invalid = dictionary.ask(connection, "INVALID", schema)
        return found, tuple(model.InvalidObject(*entry) for entry in invalid)

    return db.attempt(f"The catalog of schema {schema}", read)


def match(name: str, known: Sequence[str], lacks: str, kind: str) -> str:
    """Find a name, without regard to case where only one answers to it; raises DataError."""
    if name in known:
        return name
    alike = [other for other in known if other.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    hint = inert(f"{kind} there: {', '.join(sorted(known)[:10])}.") if known else None
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
Parts = dict[str, dict[str, Any]]  # by part and table
Names = Sequence[str] | None


def _reflect(connection: sa.Connection, schema: str, names: Names) -> tuple[Parts, set[str]]:
    """Reflect all tables at once; those that somebody has locked are left out, and named."""
    locked: set[str] = set()
    for last in (False, False, True):
        try:
            return _bulk(connection, schema, names), locked
        except exc.DBAPIError as error:
            if last or dictionary.code(error) != dictionary.LOCKED:
                raise
        locked |= {name for (name,) in dictionary.ask(connection, "LOCKED", schema)}
        names = [name for name in names or () if name not in locked]
    raise AssertionError


def _bulk(connection: sa.Connection, schema: str, names: Names) -> Parts:
    if names is not None and not names:
        return {part: {} for part in PARTS}  # to the Inspector, no names are all names
    with dictionary.patient(connection), warnings.catch_warnings():
        # A type that SQLAlchemy does not know is one of which only nulls are counted.
        warnings.filterwarnings("ignore", "Did not recognize type", exc.SAWarning)
        inspector = sa.inspect(connection)
        options: dict[str, Any] = {"kind": ObjectKind.ANY, "postgresql_ignore_search_path": True}
        found = {part: get(inspector, schema, names, **options) for part, get in PARTS.items()}
    return {part: {name: one for (_, name), one in all_.items()} for part, all_ in found.items()}


class _Facts:
    """What is known of a schema's tables, to be put together table by table."""

    def __init__(self, connection: sa.Connection, schema: str, parts: Parts, as_of: str) -> None:
        def ask(question: str, names: int) -> list[Any]:
            return dictionary.ask(connection, question, schema, names)

        self.schema, self.parts, self.as_of = schema, parts, as_of
        self.statistics = {name: row for name, *row in ask("STATISTICS", 1)}
        self.columns = {(table, name): row for table, name, *row in ask("COLUMNS", 2)}
        self.types = {(table, name): written for table, name, written in ask("TYPES", 2)}
        self.sizes = {name: sizes for name, *sizes in ask("SIZES", 1)}
        self.scans = dict(ask("SCANS", 1))
        self.unenforced = set(ask("UNENFORCED", 2))
        self.partitions: dict[str, list[str]] = {}
        for table, partition in ask("PARTITIONS", 2):
            self.partitions.setdefault(table, []).append(partition)

    def table(self, name: str, kind: Any, locked: bool) -> model.Table:
        part = {key: found.get(name) or () for key, found in self.parts.items()}
        rows, counted, analyzed, stale = self.statistics.get(name, (None,) * 4)
        size, heap, toast = self.sizes.get(name, (None,) * 3)
        primary = dict(part["primary_key"])
        checks = [model.Check(check["sqltext"], check["name"]) for check in part["checks"]]
        columns = primary.get("constrained_columns")
        return model.Table(
            name=name,
            kind=kind,
            comment=dict(part["comment"]).get("text"),
            rows=self._figure(rows, counted),
            size=self._figure(size),
            heap=self._figure(heap),
            toast=self._figure(toast),
            columns=tuple(self._column(name, column) for column in part["columns"]),
            primary_key=model.Key(tuple(columns), primary["name"]) if columns else None,
            unique=tuple(model.Key(tuple(k["column_names"]), k["name"]) for k in part["unique"]),
            foreign_keys=tuple(self._foreign_key(name, key) for key in part["foreign_keys"]),
            checks=tuple(dict.fromkeys(checks)),  # Oracle's come once for each of their columns
            indexes=tuple(self._index(index) for index in part["indexes"]),
            partitions=tuple(self.partitions.get(name, ())),
            analyzed=_moment(analyzed),
            stale=None if stale is None else bool(stale),
            problem=LOCKED if locked else None,
        )

    def _index(self, index: Mapping[str, Any]) -> model.Index:
        name, columns = index["name"], tuple(index["column_names"])
        return model.Index(name, columns, index["unique"], self._figure(self.scans.get(name)))

    def _column(self, table: str, column: Mapping[str, Any]) -> model.Column:
        name = column["name"]
        nulls, distinct, analyzed = self.columns.get((table, name), (None,) * 3)
        return model.Column(
            name=name,
            type=self.types.get((table, name)) or str(column["type"]),
            kind=kind_of(column["type"]),
            nullable=column["nullable"],
            default=column["default"],
            comment=column.get("comment"),
            nulls=self._figure(nulls, analyzed),
            distinct=self._figure(distinct, analyzed),
        )

    def _foreign_key(self, table: str, key: Mapping[str, Any]) -> model.ForeignKey:
        schema = key["referred_schema"]
        return model.ForeignKey(
            columns=tuple(key["constrained_columns"]),
            to_table=key["referred_table"],
            to_columns=tuple(key["referred_columns"]),
            to_schema=None if schema == self.schema else schema,
            name=key["name"],
            enforced=(table, key["name"]) not in self.unenforced,
        )

    def _figure(self, value: Any, moment: dt.datetime | None = None) -> Figure | None:
        """Make a figure; where nothing tells how old it is, it is what the dictionary says now."""
        if value is None:
            return None
        return Figure(int(value), "dictionary", _moment(moment) or self.as_of)


def now(timespec: str = "seconds") -> str:
    """Give the moment in UTC as ISO 8601 writes it."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec=timespec)


def _moment(moment: dt.datetime | None) -> str | None:
    # PostgreSQL's are in the session's zone, UTC.
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") if moment else None
