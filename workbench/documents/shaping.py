"""Items of DynamoDB become rows: exact types, and a reason for each item that is no row."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from workbench.documents.targets import SOURCES, tables
from workbench.moments import utc

if TYPE_CHECKING:
    from workbench.documents.scanning import Scan

Item = dict[str, dict[str, Any]]
"""An item as DynamoDB writes it: {"amount": {"N": "12.50"}}."""

TABLES = tables()
KINDS = {
    "S": "a text", "N": "a number", "B": "binary", "BOOL": "true or false", "M": "a map",
    "L": "a list", "SS": "a set of texts", "NS": "a set of numbers", "BS": "a set of binaries",
    "NULL": "null",
}  # fmt: skip
# PostgreSQL's texts hold no NUL, and half a surrogate pair is no character.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# DynamoDB's numbers have 38 digits and exponents of up to 125; nothing here may round.
EXACT = Context(prec=400, traps=[Inexact, InvalidOperation])
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
REJECTED = dict.fromkeys(("target", "item_key", "reason", "item"), pl.String)


class Piece(NamedTuple):
    """What items became: rows, with `item_key` and `item`; rejected items; unknown attributes."""

    rows: pl.DataFrame
    rejected: list[tuple[str, str, str, str]]
    unknown: Counter[tuple[str, str, str]]


@dataclass(frozen=True)
class Shaped:
    """The targets' frames, by name and in the order of their keys, and what is not in them.

    `scanned` says how many items DynamoDB counted for each target; `rejected` has a row for each
    item that is no row (target, item_key, reason, item as JSON), `unknown` one for each attribute
    that no column is made of (target, attribute, kind, items).
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
        rejected = Counter(self.rejected["target"])
        counts = [(name, self.scanned[name], frame.height, rejected[name])
                  for name, frame in self.frames.items()]  # fmt: skip
        columns = {"target": pl.String, "scanned": pl.Int64, "shaped": pl.Int64}
        return pl.DataFrame(counts, columns | {"rejected": pl.Int64}, orient="row")


class _Malformed(ValueError):
    """Why an attribute cannot become a value; never the value itself."""


def cases(items: Sequence[Item]) -> Piece:
    """Shape documents into cases: statuses in lower, currencies and countries in upper case."""
    codes = pl.col("currency", "country").str.to_uppercase()
    return _shape("cases", items, pl.col("status").str.to_lowercase(), codes)


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


def shape(scan: Scan) -> Shaped:
    """Put together what a scan's pages became, in the order of keys, whatever that of the pages.

    Of rows with the same key the first by the item's own key, then by the item as JSON, is kept;
    the others are rejected.
    """
    frames: dict[str, pl.DataFrame] = {}
    rejected: list[tuple[str, str, str, str]] = []
    unknown = Counter[tuple[str, str, str]]()
    for target in SOURCES:
        pieces = [SHAPES[target]([]), *(p.piece for p in scan.pages if p.target == target)]
        key = TABLES[target].primary_key.columns.keys()
        rows = pl.concat([piece.rows for piece in pieces]).sort(*key, "item_key", "item")
        again = ~pl.struct(key).is_first_distinct()
        frames[target] = rows.filter(~again).drop("item_key", "item")
        reason = f"another item has the same {' and '.join(key)}"
        for whose, item in rows.filter(again).select("item_key", "item").iter_rows():
            rejected.append((target, whose, reason, item))
        for piece in pieces:
            rejected += piece.rejected
            unknown += piece.unknown
    listed = [(*what, count) for what, count in sorted(unknown.items())]
    columns = {"target": pl.String, "attribute": pl.String, "kind": pl.String, "items": pl.Int64}
    return Shaped(
        scan.source, scan.trial, dict(scan.counts.select("target", "items").iter_rows()), frames,
        pl.DataFrame(sorted(rejected), REJECTED, orient="row"),
        pl.DataFrame(listed, columns, orient="row"),
    )  # fmt: skip


def _shape(target: str, items: Sequence[Item], *tidy: pl.Expr) -> Piece:
    columns, key = TABLES[target].columns, TABLES[target].primary_key.columns.keys()
    said: list[list[str]] = [[] for _ in items]
    frame = pl.DataFrame(
        [pl.Series(c.name, _values(c, items, said), c.info["dtype"]) for c in columns]
    ).with_columns(*tidy)
    keys = [_printable("/".join(str(v) for name in key for v in item.get(name, {}).values()))
            for item in items]  # fmt: skip
    long = [
        pl.when(pl.col(c.name).str.len_chars() > c.type.length)
        .then(pl.lit(f"{c.info['attribute']} is longer than {c.type.length} characters"))
        for c in columns if isinstance(c.type, sa.String)
    ]  # fmt: skip
    found = pl.Series("said", ["; ".join(reasons) or None for reasons in said], pl.String)
    reasons = frame.select(pl.concat_str(found, *long, separator="; ", ignore_nulls=True))["said"]
    whole = [_whole(item) for item in items]
    rejected = [
        (target, key, reason, item)
        for key, reason, item in zip(keys, reasons, whole, strict=True)
        if reason
    ]
    own = [pl.Series("item_key", keys, pl.String), pl.Series("item", whole, pl.String)]
    rows = frame.with_columns(own).filter(reasons == "")
    return Piece(rows, rejected, Counter(_unknown(target, items)))


def _values(column: sa.Column[Any], items: Sequence[Item], said: list[list[str]]) -> list[Any]:
    """Read one column of every item, None where there is no value; add to what is `said`."""
    attribute, takes, read = column.info["attribute"], column.info["takes"], _reader(column)
    values: list[Any] = [None] * len(items)
    for place, item in enumerate(items):
        try:
            kind, content = _found(item, attribute)
            if not column.nullable and (kind == "NULL" or (kind == "S" and not content.strip())):
                raise _Malformed("is missing")
            if kind not in (*takes, "NULL"):
                meant = " or ".join(KINDS[one] for one in takes)
                raise _Malformed(f"is {KINDS[kind]}, not {meant}")
            values[place] = None if kind == "NULL" else read(kind, content)
        except _Malformed as error:
            said[place].append(f"{attribute} {error}")
        except RecursionError:
            said[place].append(f"{attribute} is nested too deeply")
    return values


def _found(item: Item, attribute: str) -> tuple[str, Any]:
    """Give an attribute's type and content; what is missing is NULL."""
    parent, dot, name = attribute.rpartition(".")
    if dot:
        kind, item = _found(item, parent)
        if kind not in ("M", "NULL"):
            raise _Malformed(f"is not there: {parent} is {KINDS[kind]}")
        item = item if kind == "M" else {}
    [(kind, content)] = item.get(name, {"NULL": True}).items()
    return kind, content


def _reader(column: sa.Column[Any]) -> Callable[[str, Any], Any]:
    """Choose how a column's values are read; what cannot be read is _Malformed."""
    kind, takes = column.type, column.info["takes"]
    if isinstance(kind, JSONB):
        return _json
    if isinstance(kind, sa.Numeric):
        places, limit = kind.scale or 0, 10 ** ((kind.precision or 38) - (kind.scale or 0))
        return lambda _, text: _number(text, places, limit)
    if takes == ("N",):
        limit = 2**63 if isinstance(kind, sa.BigInteger) else 2**31
        return lambda _, text: int(_number(text, 0, limit))
    if isinstance(kind, (sa.TIMESTAMP, sa.Date)):
        day = isinstance(kind, sa.Date)
        return lambda _, text: _moment(text).date() if day else _moment(text)
    if takes == ("S",):
        return lambda _, text: _text(text.strip() if column.primary_key else text)
    return lambda _, content: content.hex() if takes == ("B",) else int(content)


def _text(text: str) -> str:
    if UNSTORABLE.search(text):
        raise _Malformed("holds a character that PostgreSQL cannot store")
    return text


def _decimal(text: str) -> Decimal:
    # Decimal alone also takes blanks, underscores, other scripts' digits, and NaN.
    if not NUMBER.fullmatch(text):
        raise _Malformed("is not a number")
    return Decimal(text)


def _number(text: str, places: int, limit: int) -> Decimal:
    try:
        value = _decimal(text).quantize(Decimal(1).scaleb(-places), context=EXACT)
        # Not abs(), which rounds to the 28 digits of the usual context.
        if value.copy_abs() < limit:
            return value
    except Inexact:
        reason = f"has more than {places} decimals" if places else "is not a whole number"
        raise _Malformed(reason) from None
    except InvalidOperation:  # more digits than EXACT has
        pass
    raise _Malformed("is too large")


def _moment(text: str) -> dt.datetime:
    try:
        return utc(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise _Malformed("is not a moment or day of ISO 8601") from None


def _json(kind: str, content: Any) -> str:
    """Write an attribute as JSON: numbers with all their digits, sets sorted, binary as base64."""
    if kind == "M":
        pairs = [(_json("S", name), inner) for name, inner in sorted(content.items())]
        return f"{{{', '.join(f'{name}: {_json(*p)}' for name, i in pairs for p in i.items())}}}"
    if kind in ("L", "SS", "NS", "BS"):
        by = _decimal if kind == "NS" else None
        ordered = content if kind == "L" else sorted(content, key=by)
        each = [
            pair for one in ordered for pair in (one if kind == "L" else {kind[0]: one}).items()
        ]
        return f"[{', '.join(_json(*pair) for pair in each)}]"
    if kind in ("N", "NULL"):
        return str(_decimal(content)) if kind == "N" else "null"
    plain = _base64(content) if kind == "B" else content
    return json.dumps(_text(plain) if isinstance(plain, str) else plain, ensure_ascii=False)


def _whole(item: Item) -> str:
    try:
        return json.dumps(item, default=_base64, sort_keys=True)
    except RecursionError:  # DynamoDB itself ends at 32 levels
        return json.dumps("an item that is nested too deeply")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _printable(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)


def _unknown(target: str, items: Sequence[Item]) -> Iterator[tuple[str, str, str]]:
    """Find the attributes that no column is made of, also within maps that are taken apart."""
    known = {column.info["attribute"] for column in TABLES[target].columns}
    maps = {name.partition(".")[0] for name in known if "." in name}
    top = maps | {name for name in known if "." not in name}
    for item in items:
        inner = [(f"{n}.{k}", v) for n in maps for k, v in item.get(n, {}).get("M", {}).items()]
        found = [pair for pair in inner if pair[0] not in known]
        found += [pair for pair in item.items() if pair[0] not in top]
        yield from ((target, _printable(name), KINDS[kind]) for name, [kind] in found)
