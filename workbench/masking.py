"""Personal data in rows that are handed on: which columns hold it, and what takes its place.

A token is a keyed digest (HMAC-SHA-256) of the value's text. Equal values have equal tokens, so
that joins still work; without the key, which is random and thrown away, nobody can try values out.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections import defaultdict
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import polars as pl

from workbench import extracts
from workbench.errors import UsageError, nearest
from workbench.profiling import contents, patterns
from workbench.profiling.model import Column, Table
from workbench.profiling.names import words
from workbench.settings import cache_folder

Place = tuple[str, str, str]  # schema, table, column
Tables = Sequence[tuple[str, Table]]  # each with its schema
DIGITS = 16  # hexadecimal, of a token
KEPT = 7 * 24 * 3600  # seconds that a key is kept for an extract to be completed
# Fewer than a profile asks for: to hide too much costs less than to show too much.
SHARE = 0.2
COMMENT = re.compile(
    r"\b(pii|gdpr|sensitive|confidential|personal(ly)? (data|identifiable|information))\b", re.I
)
NAMED = (
    r"birth\w*|dob|ssn|social_security|national_id|passport|tax_(id|no|num|number)|street"
    r"|addr(ess)?|name_(first|last|full|given|family)|ip(v\d|_?addr)?|password|passwd|pwd|secret"
    r"|token"
)
# Whatever stands before or behind: home_phone_2, password_hash.
NAMES = {
    why: re.compile(rf"(^|_)({named})\d*(_|$)")
    for why, named in {
        **{f"{kind}, by its name": named for kind, named in patterns.NAMED.items()},
        "by its name": NAMED,
    }.items()
}


def declared(tables: Tables, marked: Sequence[str]) -> dict[Place, str]:
    """Say which columns are personal by what is said of them, and why: by `marked`, comment, name.

    `marked` names columns as column, table.column or schema.table.column, in any case. Raises
    UsageError for one that is nowhere.
    """
    found, known, asked = dict[Place, str](), set[str](), {name.lower() for name in marked}
    for schema, table in tables:
        for column in table.columns:
            near = f"{table.name}.{column.name}".lower()
            names = {column.name.lower(), near, f"{schema.lower()}.{near}"}
            known |= names
            by_name = (why for why, name in NAMES.items() if name.search(words(column.name)))
            if asked & names:
                why = "asked for"
            elif COMMENT.search(column.comment or ""):
                why = "marked in its comment"
            else:
                why = next(by_name, "")
            if why:
                found[schema, table.name, column.name] = why
    if unknown := [name for name in marked if name.lower() not in known]:
        said = f"None of the tables has a column {unknown[0]!r} to mask."
        raise UsageError(f"{said}{nearest(unknown[0], known)}")
    return found


def detected(column: Column, values: pl.Series) -> str | None:
    """Say which personal data a column's values are, or have in them; None: none was found.

    Its default is a value too.
    """
    is_text = values.dtype == pl.String
    if not is_text and not values.dtype.is_numeric():
        return None
    counted = _written(values).drop_nulls().rename("value").value_counts(name="rows")
    as_read = replace(column, kind="text" if is_text else "decimal")
    kinds = [kind for kind, _ in contents.personal(as_read, counted, SHARE)]
    if is_text and not kinds:
        kinds = patterns.personal_inside(counted["value"])
    if not kinds and column.default:
        return detected(replace(column, default=None), pl.Series([column.default]))
    return f"{', '.join(kinds)}, by its values" if kinds else None


def spread(masked: MutableMapping[Place, str], tables: Tables) -> None:
    """Have masked as well what a declared foreign key ties to a masked column."""
    tied = defaultdict[Place, list[Place]](list)
    for schema, table in tables:
        for key in table.foreign_keys:
            for name, other in zip(key.columns, key.to_columns, strict=True):
                here = schema, table.name, name
                there = key.to_schema or schema, key.to_table, other
                tied[here].append(there)
                tied[there].append(here)
    waiting = list(masked)
    while waiting:
        place = waiting.pop()
        for there in tied[place]:
            if there not in masked:
                masked[there] = f"tied by a foreign key to {'.'.join(place)}"
                waiting.append(there)


def key_file(extract: str) -> Path:
    """Say where the key of an extract is until all is written: never beside the samples."""
    return cache_folder() / "extracts" / extract


def make_key(extract: str) -> None:
    """Make a key, which only this user may read."""
    place = key_file(extract)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch(0o600)
    place.write_bytes(secrets.token_bytes(32))


def forget_keys() -> None:
    """Delete the keys of extracts that nobody completed in time."""
    for key in key_file("").glob("*"):
        with suppress(FileNotFoundError):
            if key.stat().st_mtime < time.time() - KEPT:
                key.unlink()


def mask(frame: pl.DataFrame, columns: Sequence[str], key: bytes) -> pl.DataFrame:
    """Put tokens in the place of values; nulls stay nulls.

    Values of different columns and types have the same token where they are the same text.
    """
    return frame.with_columns(_tokens(frame[name], key) for name in columns)


def _tokens(values: pl.Series, key: bytes) -> pl.Series:
    texts = _written(values)
    known = texts.drop_nulls().unique().to_list()
    digests = [hmac.digest(key, text.encode(), "sha256").hex()[:DIGITS] for text in known]
    tokens = [f"masked-{digest}" for digest in digests]
    return texts.replace_strict(known, tokens, default=None, return_dtype=pl.String)


def _written(values: pl.Series) -> pl.Series:
    """Write values as a CSV file has them."""
    written = extracts.texts(values.to_frame(), "%Y-%m-%d %H:%M:%S", set())
    return written.to_series().cast(pl.String)
