"""Conditions on the rows of a feed: read from YAML, compiled to SQLAlchemy Core, said in English.

docs/rules.md says what each one means, value by value; nothing of it depends on an engine.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import sqlalchemy as sa
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from sqlalchemy.sql import ColumnElement

from workbench.dialects import BLANKS, LOWER, UPPER, BinaryText, plain
from workbench.errors import UsageError, nearest

Operator = Literal[
    "equal to", "not equal to", "less than", "greater than", "less than or equal to",
    "greater than or equal to", "between", "contains", "not contains", "starts with", "ends with",
    "in", "is null", "is not null",
]  # fmt: skip
OPERATORS: tuple[Operator, ...] = get_args(Operator)
SPELLINGS: Mapping[Operator, str] = {
    "equal to": "=|==|equal|equals|is|eq",
    "not equal to": "!=|<>|not equal|not equals|does not equal|is not|ne|neq",
    "less than": "<|lt|is less than",
    "greater than": ">|gt|is greater than",
    "less than or equal to": "<=|le|lte|less than or equal|at most",
    "greater than or equal to": ">=|ge|gte|greater than or equal|at least",
    "not contains": "not contain|does not contain",
    "starts with": "start with|startswith|begins with",
    "ends with": "end with|endswith",
    "in": "is in|one of|is one of",
    "is null": "null|isnull|is missing|is empty|is blank",
    "is not null": "not null|isnotnull|notnull|is present|is not empty|is not blank",
}
_KNOWN = {name: name for name in OPERATORS} | {
    other: name for name, others in SPELLINGS.items() for other in others.split("|")
}
_OF_TEXT = ("contains", "not contains", "starts with", "ends with")
_TAKES = {"is null": "no value", "is not null": "no value", "between": "two values, from and to",
          "in": "a list of values, such as [BID, OFFER]"}  # fmt: skip
# Listed, as a range may hold more than digits where a database sorts by a language's rules.
_D = "[0123456789]"
PLAIN_NUMBER = rf"[+-]?({_D}{{1,18}}([.]{_D}{{0,10}})?|[.]{_D}{{1,10}})"
MOMENT = rf"{_D}{{4}}-{_D}{{2}}-{_D}{{2}}([ T]{_D}{{2}}:{_D}{{2}}(:{_D}{{2}}([.]{_D}{{1,6}})?)?)?"
_FAR = Decimal(10**27)  # beyond every value that a rule may name, and still a decimal to all
_LONGEST = 1000  # values in one IN, to Oracle


def operator_of(given: Any) -> str | None:
    """Recognise an operator in any of its spellings; None for none of them."""
    return _KNOWN.get(re.sub(r"[\s_-]+", " ", str(given)).strip().lower())


def _operator(given: Any) -> str:
    if found := operator_of(given):
        return found
    known = ", ".join(OPERATORS)
    raise ValueError(f"unknown operator {given!r}.{nearest(str(given), _KNOWN)} Known: {known}")


def _tag(given: Any) -> str:
    named = set(given) if isinstance(given, Mapping) else set()
    return "group" if isinstance(given, Group) or {"any", "all"} & named else "condition"


def _listed(given: Any) -> Any:
    return {"all": given} if isinstance(given, list | tuple) else given


_SCALARS = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]}
_VALUES = {"anyOf": [*_SCALARS["anyOf"], {"type": "array", "items": _SCALARS}]}
Node = Annotated[
    Annotated["Condition", Tag("condition")] | Annotated["Group", Tag("group")], Discriminator(_tag)
]


class Part(BaseModel):
    """A part of a file: it holds nothing that is not known, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(Part):
    """A column compared with a value, a text, number, day or yes/no."""

    column: str = Field(min_length=1, description="A column of the feed, in any case")
    operator: Annotated[Operator, BeforeValidator(_operator, json_schema_input_type=Operator)]
    value: Annotated[Any, WithJsonSchema(_VALUES)] = Field(
        None, description="What it is compared with; a list for in, and two for between"
    )
    value2: Annotated[Any, WithJsonSchema(_SCALARS)] = Field(
        None, description="The upper end of between, unless value is a list"
    )

    @property
    def values(self) -> tuple[Any, ...]:
        """What it is compared with, as one sequence."""
        first = self.value if isinstance(self.value, list | tuple) else (self.value,)
        ends = (*first, self.value2)
        return tuple(value for value in ends if value is not None)

    @model_validator(mode="after")
    def _has_what_its_operator_takes(self) -> Self:
        listed = isinstance(self.value, list | tuple)
        count = len(self.values)
        if self.operator in _TAKES:
            fits = {"between": count == 2, "in": listed and count > 0 and self.value2 is None}
            right = fits.get(self.operator, count == 0 and not listed)
        else:
            right = count == 1 and not listed and self.value2 is None
        if not right or (listed and None in self.value):
            raise ValueError(f"{self.operator!r} takes {_TAKES.get(self.operator, 'one value')}")
        for value in self.values:
            if not isinstance(value, str | int | float | Decimal | date):
                raise ValueError(f"{value!r} is no text, number, day or yes/no")
            if not (str(value) if self.operator in _OF_TEXT else fold(str(value))):
                raise ValueError("an empty text is no value; use the operator 'is null'")
        return self


class Group(Part):
    """Conditions of which all, or any, must hold."""

    all: tuple[Node, ...] | None = Field(None, min_length=1, description="All of these hold")
    any: tuple[Node, ...] | None = Field(None, min_length=1, description="One of these holds")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.all is None) == (self.any is None):
            raise ValueError("a group is either {all: [...]} or {any: [...]}")
        return self


When = Annotated[
    Group, BeforeValidator(_listed, json_schema_input_type=tuple[Condition | Group, ...] | Group)
]


def compiled(
    what: Group | Condition, columns: Mapping[str, ColumnElement[Any]], owner: str
) -> ColumnElement[bool]:
    """Compile conditions over `columns`, by upper-case names: true or false, and never null.

    Raises UsageError, beginning with `owner`, for an unknown column and for an operator or a value
    that the column's type does not take.
    """
    one, zero = (sa.literal_column(digit, sa.Integer) for digit in "10")
    # No NOT stands around a group, so that null makes nothing true; here it becomes false.
    return sa.case((_tree(what, columns, owner), one), else_=zero) == one


def _tree(
    what: Group | Condition, columns: Mapping[str, ColumnElement[Any]], owner: str
) -> ColumnElement[Any]:
    if isinstance(what, Condition):
        return _comparison(what, columns, owner)
    parts = [_tree(part, columns, owner) for part in what.all or what.any or ()]
    return sa.and_(*parts) if what.all else sa.or_(*parts)


class _Side(NamedTuple):
    """What is compared, with the first and the last of what a value stands for."""

    left: ColumnElement[Any]
    first: ColumnElement[Any]
    last: ColumnElement[Any]
    ends: tuple[Any, Any]


def _comparison(
    what: Condition, columns: Mapping[str, ColumnElement[Any]], owner: str
) -> ColumnElement[Any]:
    name, operator = what.column.strip().upper(), what.operator
    if (column := columns.get(name)) is None:
        said = f"{owner}: there is no column {what.column!r}.{nearest(name, columns)}"
        raise UsageError(said, f"Columns there: {', '.join(columns)}.")
    kind, place = kind_of(column.type), f"{owner}: {name}"
    left = _present(column, kind)
    if operator == "is null":
        return left.is_(sa.null())
    if operator == "is not null":
        return left.is_not(sa.null())
    known = {"text": "text", "number": "a number", "moment": "a date", "boolean": "true or false"}
    fitting = {"text": OPERATORS, "boolean": ("equal to", "not equal to", "in"), "other": ()}
    if operator not in fitting.get(kind, [each for each in OPERATORS if each not in _OF_TEXT]):
        said = known.get(kind, "of a type that only 'is null' can ask of")
        raise UsageError(f"{place} is {said}, which {operator!r} is not for.")
    if operator in _OF_TEXT:
        return _search(operator, left, written(what.values[0]), place)
    return _compared(operator, [_side(left, kind, value, place) for value in what.values], place)


def kind_of(kind: sa.types.TypeEngine[Any]) -> str:
    """Say how a column of a type is compared: as text, number, moment, boolean or other."""
    if isinstance(kind, sa.CLOB) or kind.__visit_name__ in ("NCLOB", "LONG"):
        return "other"  # which Oracle compares with nothing
    kinds: dict[str, tuple[type[Any], ...]] = {
        "boolean": (sa.Boolean,),
        "number": (sa.Integer, sa.Numeric, sa.Float),
        "moment": (sa.Date, sa.DateTime),
        "text": (sa.String,),
    }
    return next((name for name, types in kinds.items() if isinstance(kind, types)), "other")


def _present(column: ColumnElement[Any], kind: str) -> ColumnElement[Any]:
    """Give a column as it is compared: folded or exact, and null where it is '' or NaN."""
    if kind == "text":
        text = sa.cast(column, sa.String(4000)) if isinstance(column.type, sa.Enum) else column
        return sa.func.nullif(plain(text), sa.literal_column("''"), type_=sa.String())
    if kind == "moment":
        return sa.cast(column, sa.TIMESTAMP())
    if not isinstance(column.type, sa.Float):
        return column
    # By its shortest spelling: 99.1 is the number meant, not 99.0999984741.
    spelt = sa.func.upper(sa.cast(column, sa.String(40)))
    return sa.case(
        (spelt == "NAN", sa.null()),
        (column > _literal(_FAR), _literal(_FAR)),
        (column < _literal(-_FAR), _literal(-_FAR)),
        else_=sa.cast(spelt, sa.Numeric(38, 10)),
    )


def _side(left: ColumnElement[Any], kind: str, value: Any, place: str) -> _Side:
    if kind == "boolean":
        if (truth := {"TRUE": True, "FALSE": False}.get(fold(written(value)))) is None:
            raise UsageError(f"{place} is true or false, and never {value!r}.")
        return _point(left, sa.true() if truth else sa.false(), truth)
    if kind == "number" or (kind == "text" and is_number(value)):
        number = _number(value, place)
        if kind == "text":
            fits = left.regexp_match(f"^{PLAIN_NUMBER}$")
            left = sa.case((fits, sa.cast(left, sa.Numeric(28, 10))))
        return _point(left, _literal(number), number)
    if kind == "moment" or isinstance(value, date):
        ends = _ends(value, place)
        spelt = [end.isoformat(" ", "microseconds") for end in ends]
        if kind == "moment":
            first, last = (sa.literal_column(f"TIMESTAMP '{s}'", sa.TIMESTAMP()) for s in spelt)
            return _Side(left, first, last, ends)
        # Not cast: texts such as 2026-02-30 would fail. Filled up they sort as their moments do.
        rest = sa.func.substr(" 00:00:00.000000", sa.func.length(left) - _literal(Decimal(9)))
        whole = sa.func.replace(left, "T", " ", type_=sa.String()).concat(rest)
        left = sa.case((left.regexp_match(f"^{MOMENT}$"), whole))
        return _Side(left, sa.literal(spelt[0]), sa.literal(spelt[1]), (spelt[0], spelt[1]))
    folded = fold(written(value))
    return _point(left, sa.literal(folded), folded.encode())


def _point(left: ColumnElement[Any], at: ColumnElement[Any], key: Any) -> _Side:
    return _Side(left, at, at, (key, key))


def _compared(operator: str, sides: list[_Side], place: str) -> ColumnElement[Any]:
    if operator == "in":
        return _in(sides)
    left, first, last, ends = sides[0]
    if operator in ("equal to", "not equal to") and ends[0] == ends[1]:
        return left == first if operator == "equal to" else left != first
    if operator == "between":
        upper = sides[1]
        if type(ends[0]) is not type(upper.ends[1]) or ends[0] > upper.ends[1]:
            raise UsageError(f"{place} is never between these two values: nothing is.")
        last = upper.last
    if isinstance(left.type, sa.String):
        left, first, last = (BinaryText(each) for each in (left, first, last))
    within = sa.and_(left >= first, left <= last)
    return {
        "between": within,
        "equal to": within,
        "not equal to": sa.or_(left < first, left > last),
        "less than": left < first,
        "greater than": left > last,
        "less than or equal to": left <= last,
        "greater than or equal to": left >= first,
    }[operator]


def _in(sides: list[_Side]) -> ColumnElement[Any]:
    points: dict[type[Any], list[_Side]] = defaultdict(list)
    parts = []
    for side in sides:
        if side.ends[0] == side.ends[1]:
            points[type(side.ends[0])].append(side)
        else:
            parts.append(_compared("equal to", [side], ""))
    for alike in points.values():
        for start in range(0, len(alike), _LONGEST):
            listed = [side.first for side in alike[start : start + _LONGEST]]
            parts.append(alike[0].left.in_(listed))
    return sa.or_(*parts)


def _search(operator: str, text: ColumnElement[Any], value: str, place: str) -> ColumnElement[Any]:
    sought = value.translate(_RAISED)
    edge = {"starts with": sought[0], "ends with": sought[-1]}.get(operator, "x")
    if edge in BLANKS:
        raise UsageError(f"{place} never {operator} a blank: blanks around a text do not count.")
    escaped = re.sub(r"([/%_])", r"/\1", sought)
    before, after = "%" * (operator != "starts with"), "%" * (operator != "ends with")
    found = text.like(sa.literal(f"{before}{escaped}{after}"), escape="/")
    return sa.not_(found) if operator == "not contains" else found


_RAISED = str.maketrans(LOWER, UPPER)


def fold(text: str) -> str:
    """Trim blanks and raise a to z, as `dialects.plain` does in a database."""
    return text.strip(BLANKS).translate(_RAISED)


def is_number(value: Any) -> bool:
    """Tell a number from a yes or no, which Python takes for one."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def written(value: Any) -> str:
    """Write a value as a rule's file does."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{Decimal(str(value)):f}" if is_number(value) else str(value)


def _literal(number: Decimal) -> ColumnElement[Any]:
    # Written out: a number among binds, which Oracle may take for text, is ORA-00932.
    return sa.literal_column(f"{number:f}", sa.Numeric())


def _number(value: Any, place: str) -> Decimal:
    text = written(value).strip(BLANKS) if not isinstance(value, bool) else ""
    if not re.fullmatch(PLAIN_NUMBER, text):
        hint = "A number has up to 18 digits before its point and 10 after it: 99.125, not 1,000."
        raise UsageError(f"{place} is a number, and {value!r} is not read as one.", hint)
    return Decimal(text).normalize() + 0


def _ends(value: Any, place: str) -> tuple[datetime, datetime]:
    """Give the first and the last microsecond of a day, or a moment twice; in UTC."""
    found = value
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value.strip(BLANKS)):
        try:
            found = datetime.fromisoformat(value.strip(BLANKS))
        except ValueError:
            found = None
        if found and len(value.strip(BLANKS)) == 10:
            found = found.date()
    if not isinstance(found, date):
        hint = "Write 2026-01-31, or 2026-01-31 10:30:00."
        raise UsageError(f"{place} is a date, and {value!r} is not read as one.", hint)
    if not isinstance(found, datetime):
        return datetime.combine(found, time.min), datetime.combine(found, time.max)
    found = found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    return found, found


_PHRASES = {"equal to": "is", "not equal to": "is not", "in": "is one of", "is null": "is missing",
            "is not null": "is present", "not contains": "does not contain",
            **dict.fromkeys(["contains", "starts with", "ends with"], "")}  # fmt: skip


def sentence(what: Group | Condition) -> str:
    """Say in English when a row is met: BIAS is VALUATION and (PX is less than 10 or …)."""
    if isinstance(what, Group):
        parts = what.all or what.any or ()
        said = [
            f"({sentence(part)})"
            if len(parts) > 1 and isinstance(part, Group) and len(part.all or part.any or ()) > 1
            else sentence(part)
            for part in parts
        ]
        return (" and " if what.all else " or ").join(said)
    verb = _PHRASES.get(what.operator, f"is {what.operator}") or what.operator
    texts = [written(value) for value in what.values]
    shown = [t if re.fullmatch(r"[\w.:+-]+( [\d:.]+)?", t) else f'"{t}"' for t in texts[:10]]
    if len(texts) > 10:
        shown.append(f"{len(texts) - 10:,} others")
    joined = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)
    return f"{what.column} {verb} {joined}".rstrip()
