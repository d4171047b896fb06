"""The warehouse's tables, which are also the declared schema that items are shaped by."""

from __future__ import annotations

from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

SOURCES = {
    "cases": "documents", "metadata": "metadata", "templates": "templates", "audit": "audit"
}  # fmt: skip
"""Which DynamoDB table each target comes from, in load order."""

MOMENT = sa.TIMESTAMP(timezone=True)
# Oracle, where the samples can be loaded too, has no type for documents in 19c.
DOCUMENT = JSONB().with_variant(sa.String(4000), "oracle")
LONG = sa.Text().with_variant(sa.String(4000), "oracle")
# By a column's type: what its attribute has to be, in DynamoDB's names, and what it is in a frame.
TYPES: dict[type[Any], tuple[tuple[str, ...], pl.DataType]] = {
    JSONB: (("M", "L", "SS", "NS", "BS"), pl.String()),
    sa.TIMESTAMP: (("S",), pl.Datetime("us", "UTC")),
    sa.Date: (("S",), pl.Date()),
    sa.String: (("S",), pl.String()),
    sa.Integer: (("N",), pl.Int64()),
    sa.Numeric: (("N",), pl.Decimal()),
}


def tables(schema: str | None = None) -> dict[str, sa.Table]:
    """Make the four targets, and `loads` and `rejected`, as tables of a schema.

    A column's `info` names its attribute ("customer.name" is within a map), the types of DynamoDB
    that it takes, and its dtype in a frame.
    """
    metadata = sa.MetaData(schema=schema)
    columns = {
        "Demanded documents, one row for each": ("cases", [
            _key("document_id", sa.String(36), "Identifies the document"),
            _needed("case_number", sa.String(20), "Case that the document belongs to"),
            _needed("status", sa.String(12), "requested, generated, sent, closed or failed"),
            _column("template_id", sa.String(20), "Template it was made from"),
            _column("template_version", sa.Integer(), "Version of the template"),
            _column("customer_name", sa.String(80), "Customer", of="customer.name"),
            _column("country", sa.String(2), "Customer's country, ISO 3166", of="customer.country"),
            _column("amount", sa.Numeric(18, 2), "Amount claimed"),
            _column("currency", sa.String(3), "Currency of the amount, ISO 4217"),
            _column("daily_interest", sa.Numeric(38, 18), "Interest that accrues in a day"),
            _column("is_urgent", sa.SmallInteger(), "1 where it goes first, else 0", takes="BOOL"),
            _column("labels", DOCUMENT, "Labels, as a sorted JSON array"),
            _column("details", DOCUMENT, "Whatever else the case system keeps, as JSON"),
            _needed("requested_at", MOMENT, "When the document was asked for"),
            _column("closed_at", MOMENT, "When the case was closed or had failed"),
        ]),
        "Files of the documents": ("metadata", [
            _key("document_id", sa.String(36), "The document"),
            _needed("file_name", sa.String(120), "Name of its file"),
            _column("content_type", sa.String(60), "Media type, in lower case"),
            _column("size_bytes", sa.BigInteger(), "Size of the file"),
            _column("pages", sa.Integer(), "Number of pages"),
            _column("sha256", sa.String(64), "Digest of the file, in hexadecimal", takes="B"),
            _column("properties", DOCUMENT, "What the renderer noted, as JSON"),
            _needed("stored_at", MOMENT, "When the file was stored"),
        ]),
        "Templates of documents, one row for each version": ("templates", [
            _key("template_id", sa.String(20), "Identifies the template"),
            _key("version", sa.Integer(), "Its version, from 1"),
            _needed("title", sa.String(80), "Title"),
            _column("language", sa.String(2), "Language, ISO 639-1"),
            _column("is_active", sa.SmallInteger(), "1 where it is in use, else 0", takes="BOOL"),
            _column("placeholders", DOCUMENT, "What is filled in, as a sorted JSON array"),
            _column("fee", sa.Numeric(9, 2), "Fee for a document made from it, USD"),
            _column("valid_from", sa.Date(), "First day on which it may be used"),
        ]),
        "What happened to the documents": ("audit", [
            _key("document_id", sa.String(36), "The document"),
            _key("sequence", sa.Integer(), "Order of the document's events, from 1"),
            _needed("event", sa.String(20), "What happened, in lower case"),
            _column("actor", sa.String(40), "Service or team that did it"),
            _column("details", DOCUMENT, "What was noted, as JSON"),
            _needed("occurred_at", MOMENT, "When it happened"),
        ]),
        "Reconciliation of every load, one row for each table": ("loads", [
            _key("load_id", sa.String(36), "Identifies the load"),
            _key("target", sa.String(20), "Table that was loaded"),
            _needed("loaded_at", MOMENT, "When the load began"),
            _needed("source", sa.String(60), "Source that was scanned"),
            _needed("scanned", sa.BigInteger(), "Items that were scanned"),
            _needed("shaped", sa.BigInteger(), "Rows made of them"),
            _needed("rejected", sa.BigInteger(), "Items of which no row could be made"),
            _needed("loaded", sa.BigInteger(), "Rows in the table after the load"),
            _needed("added", sa.BigInteger(), "Rows that are new"),
            _needed("changed", sa.BigInteger(), "Rows that were there and differ"),
            _needed("removed", sa.BigInteger(), "Rows that are gone"),
        ]),
        "Items that the last load rejected": ("rejected", [
            _key("entry", sa.Integer(), "Place in the list, from 1"),
            _needed("target", sa.String(20), "Table it was meant for"),
            _needed("item_key", LONG, "Key of the item in DynamoDB"),
            _needed("reason", LONG, "Why no row could be made of it"),
            _needed("item", LONG, "The item, as JSON"),
        ]),
    }  # fmt: skip
    return {
        name: sa.Table(name, metadata, *of, comment=comment)
        for comment, (name, of) in columns.items()
    }


def empty(target: str) -> pl.DataFrame:
    """Make a target's frame without rows."""
    return pl.DataFrame(schema={c.name: c.info["dtype"] for c in tables()[target].columns})


def _key(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    return _column(name, kind, comment, primary_key=True, autoincrement=False)


def _needed(name: str, kind: Any, comment: str) -> sa.Column[Any]:
    return _column(name, kind, comment, nullable=False)


def _column(
    name: str, kind: Any, comment: str, *, of: str = "", takes: str = "", **options: Any
) -> sa.Column[Any]:
    usual, dtype = next(found for known, found in TYPES.items() if isinstance(kind, known))
    if isinstance(kind, sa.Numeric):
        dtype = pl.Decimal(kind.precision or 38, kind.scale or 0)
    info = {"attribute": of or name, "takes": (takes,) if takes else usual, "dtype": dtype}
    return sa.Column(name, kind, comment=comment, info=info, **options)
