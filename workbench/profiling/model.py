"""What is known of a schema: `SchemaProfile` and its parts, frozen, and the same as JSON.

Every number is a `Figure`: its value, how it was obtained and as of when. Values are what JSON
holds without loss: decimals, days and moments are texts in full ("12.50", "2026-01-31",
"2026-01-31T17:05:00", UTC where there is a zone), NaN and infinities "NaN", "Infinity" and
"-Infinity".
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from annotated_types import Predicate

from workbench.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
Value = int | float | str | bool
Kind = Literal[
    "integer", "decimal", "float", "boolean", "text", "date", "datetime", "time", "other"
]  # "other": LOBs, JSON, arrays, bytes and the like, of which only nulls are counted
NUMBERS: tuple[Kind, ...] = ("integer", "decimal", "float")
Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # most serious first
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
HOW = r"exact|dictionary|sampled \d+(\.\d+)? %|first [\d,]+ rows|seen in (the first )?[\d,]+ rows"


def is_origin(how: str) -> bool:
    """Tell the words that say how a figure was obtained."""
    return re.fullmatch(HOW, how) is not None


def is_count(figure: Figure) -> bool:
    """Tell a number, such as one of rows or characters, from other values."""
    return isinstance(figure.value, int | float) and math.isfinite(figure.number)


def is_share(text: str) -> bool:
    """Tell a fraction of 1, such as "0.5"."""
    return re.fullmatch(r"0\.\d+", text) is not None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number: `how` is "dictionary", "exact" or "sampled 5 %", `as_of` ISO 8601 in UTC.

    Of a view, whose rows are in no blocks, it may be "first 20,000 rows". Nothing is scaled where
    it is "seen in 20,000 rows", or in the first: there are at least so many. What has no value
    (the largest of no rows) has no figure: None stands in its place.
    """

    value: Value
    how: Annotated[str, Predicate(is_origin)]
    as_of: str

    @property
    def number(self) -> float:
        """The value as a number; of a day or a moment the days since 1970, NaN of other texts."""
        try:
            return float(str(self.value))
        except ValueError:
            pass
        try:
            moment = dt.datetime.fromisoformat(str(self.value)).replace(tzinfo=None)
        except ValueError:
            return math.nan
        return (moment - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)


Count = Annotated[Figure, Predicate(is_count)]


@dataclass(frozen=True, slots=True)
class Share:
    """How many rows hold a value or have a shape (a mask, a kind of personal data)."""

    value: str
    rows: Count


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its declaration, and the figures that its kind allows; None: not computed, or
    without a value.

    Statistics of numbers are over finite values (`nan` and `infinite` count the others); `min`
    and `max` of text are in binary order and cut to 200 characters; lengths are in characters.
    `quantiles` maps a fraction ("0.5") to the value below or at which that share of rows lies.
    """

    name: str
    type: str
    kind: Kind
    nullable: bool = True
    default: str | None = None
    comment: str | None = None
    nulls: Count | None = None
    distinct: Count | None = None
    min: Figure | None = None
    max: Figure | None = None
    mean: Count | None = None
    stddev: Count | None = None
    nan: Count | None = None
    infinite: Count | None = None
    blank: Count | None = None
    min_length: Count | None = None
    max_length: Count | None = None
    mean_length: Count | None = None
    true: Count | None = None
    future: Count | None = None
    quantiles: dict[Annotated[str, Predicate(is_share)], Figure] | None = None
    # Tier 2
    numeric_text: Count | None = None
    date_text: Count | None = None
    top: tuple[Share, ...] = ()
    masks: tuple[Share, ...] = ()
    personal: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key or a unique constraint."""

    columns: tuple[str, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A declared foreign key."""

    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    to_schema: str | None = None
    """None: the profiled schema itself."""
    name: str | None = None
    enforced: bool = True
    """False where the database does not vouch for it: disabled, not validated."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint and its condition."""

    condition: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """An index; a column that is an expression stands as None."""

    name: str
    columns: tuple[str | None, ...]
    unique: bool = False
    scans: Count | None = None
    """How often it was used since the server's counters began; None where nothing tells."""


@dataclass(frozen=True, slots=True)
class FanOut:
    """Rows that are equal in all but `columns`: more rows than things."""

    columns: tuple[str, ...]
    rows: Count
    """How many rows are more than one of their group."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view; `problem` says why something of it could not be measured."""

    name: str
    kind: Literal["table", "view", "materialized view"] = "table"
    comment: str | None = None
    rows: Count | None = None
    size: Count | None = None
    """Bytes on disk, indexes included."""
    heap: Figure | None = None
    """Bytes of the blocks with its rows, of which a sample is drawn."""
    toast: Figure | None = None
    """Bytes of long values that are kept outside of them."""
    columns: tuple[Column, ...] = ()
    primary_key: Key | None = None
    unique: tuple[Key, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    indexes: tuple[Index, ...] = ()
    partitions: tuple[str, ...] = ()
    analyzed: str | None = None
    """When the stored statistics were gathered, ISO 8601 in UTC; None: never, or not told."""
    stale: bool | None = None
    """Whether the database holds its statistics for outdated; None where nothing tells."""
    problem: str | None = None
    seconds: float | None = None
    # Tier 2
    duplicates: Count | None = None
    """Rows that repeat another in every column."""
    fan_out: FanOut | None = None
    candidate_keys: tuple[tuple[str, ...], ...] = ()

    @property
    def count(self) -> int:
        """How many rows it has, 0 where that is not known."""
        return int(self.rows.number) if self.rows else 0


@dataclass(frozen=True, slots=True)
class Relation:
    """A foreign key tested by inclusion: declared, or found by names, types and ranges."""

    table: str
    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]
    declared: bool
    matched: Count
    """Share (0 to 1) of the distinct values that are present in the other table."""
    orphans: Count
    """Rows whose value is not there."""


@dataclass(frozen=True, slots=True)
class InvalidObject:
    """An object that the database itself calls invalid: a view, an index, a package."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader should know: what was seen, and what to do next."""

    severity: Severity
    kind: str
    """A word or two in kebab case, such as "orphan-rows": stable, for filters."""
    evidence: str
    next_step: str
    table: str | None = None
    columns: tuple[str, ...] = ()
    rows: Count | None = None
    query: str | None = None
    """SQL that shows, or mends, what was found."""


@dataclass(frozen=True, slots=True)
class SchemaProfile:
    """A schema's profile: `depth` 0 read no table, 1 read each once, 2 looked for relations."""

    source: str
    schema: str
    as_of: str
    server: str
    depth: int
    tables: tuple[Table, ...]
    relations: tuple[Relation, ...] = ()
    untested: Count | None = None
    """How many likely foreign keys were not tested; None: all were."""
    invalid_objects: tuple[InvalidObject, ...] = ()
    findings: tuple[Finding, ...] = ()
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds: figures, texts, lists and mappings; what is None is left out."""
        content: dict[str, Any] = _adapter().dump_python(self, mode="json", exclude_none=True)
        return content

    def to_json(self) -> str:
        """Return the profile as JSON."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SchemaProfile:
        """Rebuild a profile from JSON; raises DataError naming the place that does not fit."""
        from pydantic import ValidationError

        try:
            profile: SchemaProfile = _adapter().validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the text"
            raise DataError(f"This is no schema profile: {place}: {first['msg']}.") from None
        if profile.version > VERSION:
            said = f"This profile has version {profile.version}; this workbench reads {VERSION}."
            raise DataError(said, "Use a newer workbench.")
        return profile

    def table(self, name: str) -> Table:
        """Return a table by its name; raises DataError naming those that exist."""
        for table in self.tables:
            if table.name == name:
                return table
        names = ", ".join(table.name for table in self.tables)
        raise DataError(f"The profile has no table {name!r}.", f"Tables there: {names}.")


def read_profile(path: str | Path) -> SchemaProfile:
    """Read a profile.json; raises DataError naming the file where it is none."""
    try:
        return SchemaProfile.from_json(Path(path).read_text(encoding="utf-8"))
    except DataError as error:
        raise DataError(f"{path} cannot be read: {error.message}", error.hint) from None
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read: {said}.") from None


@cache
def _adapter() -> TypeAdapter[SchemaProfile]:
    from pydantic import TypeAdapter

    return TypeAdapter(SchemaProfile)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a profile."""
    return _adapter().json_schema(mode="serialization")
