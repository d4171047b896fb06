"""The warehouse's tables, which are also the declared schema that items are shaped by."""

from __future__ import annotations

from typing import Any, TypeVar

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

T = TypeVar("T")
SOURCES = {
    "cases": "documents", "metadata": "metadata", "templates": "templates", "audit": "audit"
}  # fmt: skip
"""Which DynamoDB table each target comes from, in load order."""

# Oracle, where the samples can be loaded too, has no type for documents as old as 19c.
DOCUMENT = JSONB().with_variant(sa.String(4000), "oracle")
MOMENT = sa.TIMESTAMP(timezone=True)
# What an attribute has to be, in DynamoDB's own names of types, where the column's type says it.
HOLDS: dict[type[Any], tuple[str, ...]] = {
    JSONB: ("M", "L", "SS", "NS", "BS"),
    sa.TIMESTAMP: ("S",),
    sa.Date: ("S",),
    sa.String: ("S",),
    sa.Integer: ("N",),
    sa.Numeric: ("N",),
}
DTYPES: dict[type[Any], pl.DataType] = {
    JSONB: pl.String(),
    sa.TIMESTAMP: pl.Datetime("us", "UTC"),
    sa.Date: pl.Date(),
    sa.String: pl.String(),
    sa.Integer: pl.Int64(),
}


def tables(schema: str | None) -> dict[str, sa.Table]:
    """Make the four targets, and `loads` and `rejected`, as tables of a schema.

    A column's `info` says which attribute it comes from ("customer.name" is within a map), and
    which of DynamoDB's types it takes where that is not the usual one for its own.
    """
    metadata = sa.MetaData(schema=schema)
    made = [
        sa.Table(
            "cases",
            metadata,
            _key("document_id", sa.String(36), "Identifies the document; the table's key"),
            _needed("case_number", sa.String(20), "Case the document belongs to"),
            _needed("status", sa.String(12), "requested, generated, sent, closed or failed"),
            _column("template_id", sa.String(20), "Template it was made from"),
            _column("template_version", sa.Integer, "Version of the template"),
            _column("customer_name", sa.String(80), "Customer", of="customer.name"),
            _column("country", sa.String(2), "Customer's country, ISO 3166", of="customer.country"),
            _column("amount", sa.Numeric(18, 2), "Amount claimed"),
            _column("currency", sa.String(3), "Currency of the amount, ISO 4217"),
            _column("daily_interest", sa.Numeric(38, 18), "Interest that accrues in a day"),
            _column("is_urgent", sa.SmallInteger, "1 where it goes first, 0 where not", "BOOL"),
            _column("labels", DOCUMENT, "Labels, as a sorted JSON array"),
            _column("details", DOCUMENT, "Whatever else the case system keeps, as JSON"),
            _needed("requested_at", MOMENT, "When the document was asked for"),
            _column("closed_at", MOMENT, "When the case was closed or had failed"),
            comment="Demanded documents, one row for each",
        ),
        sa.Table(
            "metadata",
            metadata,
            _key("document_id", sa.String(36), "The document"),
            _needed("file_name", sa.String(120), "Name of its file"),
            _column("content_type", sa.String(60), "Media type, in lower case"),
            _column("size_bytes", sa.BigInteger, "Size of the file"),
            _column("pages", sa.Integer, "Number of pages"),
            _column("sha256", sa.String(64), "Digest of the file, in hexadecimal", "B"),
            _column("properties", DOCUMENT, "What the renderer noted, as JSON"),
            _needed("stored_at", MOMENT, "When the file was stored"),
            comment="Files of the documents",
        ),
        sa.Table(
            "templates",
            metadata,
            _key("template_id", sa.String(20), "Identifies the template"),
            _key("version", sa.Integer, "Its version, from 1"),
            _needed("title", sa.String(80), "Title"),
            _column("language", sa.String(2), "Language, ISO 639-1"),
            _column("is_active", sa.SmallInteger, "1 where it is in use, 0 where not", "BOOL"),
            _column("placeholders", DOCUMENT, "What is filled in, as a sorted JSON array"),
            _column("fee", sa.Numeric(9, 2), "Fee for a document made from it, USD"),
            _column("valid_from", sa.Date, "First day on which it may be used"),
            comment="Templates of documents, one row for each version",
        ),
        sa.Table(
            "audit",
            metadata,
            _key("document_id", sa.String(36), "The document"),
            _key("sequence", sa.Integer, "Order of the document's events, from 1"),
            _needed("event", sa.String(20), "What happened, in lower case"),
            _column("actor", sa.String(40), "Service or team that did it"),
            _column("details", DOCUMENT, "What was noted, as JSON"),
            _needed("occurred_at", MOMENT, "When it happened"),
            comment="What happened to the documents",
        ),
        sa.Table(
            "loads",
            metadata,
            _key("load_id", sa.String(36), "Identifies the load"),
            _key("target", sa.String(20), "Table that was loaded"),
            _needed("loaded_at", MOMENT, "When the load began"),
            _needed("source", sa.String(60), "Source that was scanned"),
            *(
                _needed(name, sa.BigInteger, comment)
                for name, comment in {
                    "scanned": "Items that were scanned",
                    "shaped": "Rows made of them",
                    "rejected": "Items of which no row could be made",
                    "loaded": "Rows in the table after the load",
                    "added": "Rows that are new",
                    "changed": "Rows that were there and differ",
                    "removed": "Rows that are gone",
                }.items()
            ),
            comment="Reconciliation of every load, one row for each table",
        ),
        sa.Table(
            "rejected",
            metadata,
            _key("number", sa.Integer, "Order in the list"),
            _needed("target", sa.String(20), "Table it was meant for"),
            _needed("item_key", sa.String(4000), "Key of the item in DynamoDB, as JSON"),
            _needed("reason", sa.String(4000), "Why no row could be made of it"),
            _column("item", sa.Text().with_variant(sa.String(4000), "oracle"), "The item, as JSON"),
            comment="Items that the last load rejected",
        ),
    ]
    return {table.name: table for table in made}


def holds(column: sa.Column[Any]) -> tuple[str, ...]:
    """Say which of DynamoDB's types a column takes."""
    named = column.info.get("holds")
    return (named,) if named else _of_type(column, HOLDS)


def dtype(column: sa.Column[Any]) -> pl.DataType:
    """Say what a column is in a frame."""
    kind = column.type
    if isinstance(kind, sa.Numeric):
        return pl.Decimal(kind.precision or 38, kind.scale or 0)
    return _of_type(column, DTYPES)


def empty(target: str) -> pl.DataFrame:
    """Make a target's frame without rows."""
    return pl.DataFrame(schema={c.name: dtype(c) for c in tables(None)[target].columns})


def _of_type(column: sa.Column[Any], table: dict[type[Any], T]) -> T:
    return next(found for kind, found in table.items() if isinstance(column.type, kind))


def _key(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, comment=comment)


def _needed(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, comment=comment)


def _column(
    name: str, kind: Any, comment: str, holds: str | None = None, *, of: str | None = None
) -> sa.Column[Any]:
    return sa.Column(name, kind, comment=comment, info={"holds": holds, "attribute": of or name})
