"""Items of DynamoDB become rows: exact types, and a reason for each item that is no row."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from workbench.documents.targets import SOURCES, dtype, holds, tables

if TYPE_CHECKING:
    from workbench.documents.scanning import Scan

Item = dict[str, dict[str, Any]]
"""An item as DynamoDB writes it: {"amount": {"N": "12.50"}}."""

TABLES = tables(None)
KINDS = {
    "S": "a text", "N": "a number", "B": "binary", "BOOL": "true or false", "M": "a map",
    "L": "a list", "SS": "a set of texts", "NS": "a set of numbers", "BS": "a set of binaries",
}  # fmt: skip
# PostgreSQL's texts hold no NUL, and half an emoji is no character.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# DynamoDB's numbers have 38 digits and exponents of up to 125; nothing here may round.
EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])
REJECTED = {
    "target": pl.String, "item_key": pl.String, "reason": pl.String, "item": pl.String,
}  # fmt: skip
UNKNOWN = {"target": pl.String, "attribute": pl.String, "items": pl.Int64, "kind": pl.String}


@dataclass(frozen=True)
class Piece:
    """What was made of some items of one table: rows of its target, rejected and unknown."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    unknown: pl.DataFrame


class _Malformed(ValueError):
    """Why an attribute cannot become a value; never the value itself."""


def cases(items: Sequence[Item]) -> Piece:
    """Shape documents into cases: statuses in lower, currencies and countries in upper case."""
    return _shape(
        "cases",
        items,
        pl.col("status").str.to_lowercase(),
        pl.col("currency", "country").str.to_uppercase(),
    )


def metadata(items: Sequence[Item]) -> Piece:
    """Shape metadata: media types in lower case."""
    return _shape("metadata", items, pl.col("content_type").str.to_lowercase())


def templates(items: Sequence[Item]) -> Piece:
    """Shape templates: languages in lower case."""
    return _shape("templates", items, pl.col("language").str.to_lowercase())


def audit(items: Sequence[Item]) -> Piece:
    """Shape audit records: events in lower case."""
    return _shape("audit", items, pl.col("event").str.to_lowercase())


SHAPES: dict[str, Callable[[Sequence[Item]], Piece]] = {
    "cases": cases, "metadata": metadata, "templates": templates, "audit": audit
}  # fmt: skip


@dataclass(frozen=True)
class Shaped:
    """The targets' frames, by name and in the order of their keys, and what is not in them.

    `scanned` says how many items DynamoDB counted for each target; `rejected` has a row for each
    item that is no row (target, item_key, reason, item as JSON), `unknown` one for each attribute
    that no column is made of (target, attribute, items, kind).
    """

    source: str
    trial: bool
    scanned: dict[str, int]
    frames: dict[str, pl.DataFrame]
    rejected: pl.DataFrame
    unknown: pl.DataFrame

    @property
    def reconciliation(self) -> pl.DataFrame:
        """Count items scanned, rows shaped and items rejected of each target."""
        rejected = self.rejected["target"].to_list()
        rows = [
            (target, self.scanned[target], frame.height, rejected.count(target))
            for target, frame in self.frames.items()
        ]
        names = ("scanned", "shaped", "rejected")
        return pl.DataFrame(rows, {"target": pl.String} | dict.fromkeys(names, pl.Int64),
                            orient="row")  # fmt: skip


def shape(scan: Scan) -> Shaped:
    """Put together what was made of a scan's pages, the same for any number of segments."""
    pieces = {
        target: _together(target, [page.piece for page in scan.pages if page.target == target])
        for target in SOURCES
    }
    return Shaped(
        scan.source,
        scan.trial,
        dict(scan.counts.select("target", "items").iter_rows()),
        {target: piece.rows for target, piece in pieces.items()},
        pl.concat([piece.rejected for piece in pieces.values()]),
        pl.concat([piece.unknown for piece in pieces.values()]),
    )


def _together(target: str, pieces: Iterable[Piece]) -> Piece:
    """Put pieces of one target together, in the order of its key, whatever theirs was.

    Of rows with the same key the first by the item's own key is kept; the others are rejected.
    """
    parts = [SHAPES[target]([]), *pieces]
    key = [column.name for column in TABLES[target].primary_key]
    rows = pl.concat([part.rows for part in parts]).sort(*key, "item_key")
    again = ~pl.struct(key).is_first_distinct()
    reason = f"another item has the same {' and '.join(key)}"
    twice = [
        (target, row.pop("item_key"), reason, json.dumps(row, default=str))
        for row in rows.filter(again).iter_rows(named=True)
    ]
    rejected = [*(part.rejected for part in parts), pl.DataFrame(twice, REJECTED, orient="row")]
    unknown = (
        pl.concat([part.unknown for part in parts])
        .group_by("target", "attribute")
        .agg(pl.col("items").sum(), pl.col("kind").unique().sort().str.join(", "))
        .sort("items", "attribute", descending=[True, False])
    )
    kept = rows.filter(~again).drop("item_key")
    return Piece(kept, pl.concat(rejected).sort("item_key", "reason"), unknown)


def _shape(target: str, items: Sequence[Item], *tidy: pl.Expr) -> Piece:
    columns = TABLES[target].columns
    said: list[list[str]] = [[] for _ in items]
    # A key may hold what is no text; it only has to be found again.
    keys = [
        UNSTORABLE.sub("\ufffd", "/".join(
            str(content) for part in TABLES[target].primary_key
            for content in item.get(part.name, {}).values()))
        for item in items
    ]  # fmt: skip
    rows = pl.DataFrame(
        [pl.Series(column.name, _values(column, items, said), dtype(column)) for column in columns]
    ).with_columns(
        *tidy,
        pl.Series("item_key", keys, pl.String),
        pl.Series("said", ["; ".join(reasons) or None for reasons in said], pl.String),
    )
    long = [
        pl.when(pl.col(column.name).str.len_chars() > column.type.length)
        .then(pl.lit(f"{_attribute(column)} is longer than {column.type.length} characters"))
        for column in columns
        if isinstance(column.type, sa.String) and column.type.length
    ]  # fmt: skip
    reasons = rows.select(pl.concat_str("said", *long, separator="; ", ignore_nulls=True))
    bad = [
        (target, key, reason, json.dumps(item, default=_base64, sort_keys=True))
        for key, reason, item in zip(keys, reasons["said"], items, strict=True)
        if reason
    ]
    return Piece(
        rows.drop("said").filter(reasons["said"] == ""),
        pl.DataFrame(bad, REJECTED, orient="row"),
        _unknown(target, items),
    )


def _attribute(column: sa.Column[Any]) -> str:
    return str(column.info.get("attribute", column.name))


def _values(column: sa.Column[Any], items: Sequence[Item], said: list[list[str]]) -> list[Any]:
    """Read one column of every item, None where there is no value; add to what is `said`."""
    attribute, takes, read = _attribute(column), holds(column), _reader(column)
    values = []
    for item, reasons in zip(items, said, strict=True):
        value = None
        try:
            kind, content = _found(item, attribute)
            if kind == "NULL" or (kind == "S" and not column.nullable and not content.strip()):
                if not column.nullable:
                    raise _Malformed("is missing")
            elif kind not in takes:
                meant = " or ".join(KINDS[one] for one in takes)
                raise _Malformed(f"is {KINDS.get(kind, kind)}, not {meant}")
            else:
                value = read(kind, content)
        except _Malformed as error:
            reasons.append(f"{attribute} {error}")
        values.append(value)
    return values


def _found(item: Item, attribute: str) -> tuple[str, Any]:
    """Give an attribute's type and content; what is missing is NULL."""
    parent, dot, name = attribute.rpartition(".")
    if dot:
        kind, item = _found(item, parent)
        if kind not in ("M", "NULL"):
            raise _Malformed(f"is not there: {parent} is {KINDS[kind]}")
    [(kind, content)] = ((item or {}).get(name) or {"NULL": True}).items()
    return kind, None if kind == "NULL" else content


def _reader(column: sa.Column[Any]) -> Callable[[str, Any], Any]:
    """Choose how a column's values are read; what cannot be read is _Malformed."""
    kind = column.type
    if isinstance(kind, JSONB):
        return _json
    if isinstance(kind, sa.Numeric):
        places = kind.scale or 0
        limit = 10 ** ((kind.precision or 38) - places)
        return lambda _, text: _number(text, places, limit)
    if holds(column) == ("N",):
        limit = 2**63 if isinstance(kind, sa.BigInteger) else 2**31
        return lambda _, text: int(_number(text, 0, limit))
    if isinstance(kind, sa.TIMESTAMP):
        return lambda _, text: _moment(text)
    if isinstance(kind, sa.Date):
        return lambda _, text: _moment(text).date()
    if column.primary_key:
        return lambda _, text: _text(text).strip()
    return {"BOOL": lambda _, truth: int(truth), "B": lambda _, data: data.hex(),
            "S": lambda _, text: _text(text)}[holds(column)[0]]  # fmt: skip


def _text(text: str) -> str:
    if UNSTORABLE.search(text):
        raise _Malformed("holds a character that PostgreSQL cannot store")
    return text


def _number(text: str, places: int, limit: int) -> Decimal:
    try:
        value = Decimal(text).quantize(Decimal(1).scaleb(-places), context=EXACT)
    except Inexact:
        raise _Malformed(f"has more than {places} decimals" if places else
                         "is not a whole number") from None  # fmt: skip
    except InvalidOperation:
        raise _Malformed("is not a number") from None
    if not abs(value) < limit:
        raise _Malformed("is too large")
    return value


def _moment(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
        # Without a zone it is taken for UTC.
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise _Malformed("is not a moment or day of ISO 8601") from None


def _json(kind: str, content: Any) -> str:
    """Write an attribute as JSON: numbers with all their digits, sets sorted, binary as base64."""
    if kind == "M":
        pairs = (f"{_json('S', key)}: {_json(*pair)}" for key, inner in sorted(content.items())
                 for pair in inner.items())  # fmt: skip
        return f"{{{', '.join(pairs)}}}"
    if kind == "L":
        return f"[{', '.join(_json(*pair) for inner in content for pair in inner.items())}]"
    if kind in ("SS", "NS", "BS"):
        ordered = sorted(content, key=Decimal if kind == "NS" else None)
        return f"[{', '.join(_json(kind[0], one) for one in ordered)}]"
    if kind == "N":
        return str(Decimal(content))
    if kind == "NULL":
        return "null"
    plain = _base64(content) if kind == "B" else content
    return json.dumps(_text(plain) if isinstance(plain, str) else plain, ensure_ascii=False)


def _unknown(target: str, items: Sequence[Item]) -> pl.DataFrame:
    """Count the attributes that no column is made of, also within maps that are taken apart."""
    known = {_attribute(column) for column in TABLES[target].columns}
    maps = {path.partition(".")[0] for path in known if "." in path}
    top = {path for path in known if "." not in path} | maps
    found = Counter[tuple[str, str]]()
    for item in items:
        found.update((name, kind) for name in item.keys() - top for kind in item[name])
        for name in maps:
            inner = item.get(name, {}).get("M", {})
            found.update((f"{name}.{key}", kind) for key in inner for kind in inner[key]
                         if f"{name}.{key}" not in known)  # fmt: skip
    rows = [(target, UNSTORABLE.sub("\ufffd", name), count, KINDS.get(kind, "null"))
            for (name, kind), count in found.items()]  # fmt: skip
    return pl.DataFrame(rows, UNKNOWN, orient="row")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
