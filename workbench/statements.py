"""SQL as analysts write it: what may run on a read-only source, and how binds are found in it."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from workbench.errors import QueryError

Statement = str | sa.SelectBase
SELECT = re.compile(r"[\s(]*(select|with)\b", re.IGNORECASE)


def compiled(
    statement: Statement, binds: dict[str, Any], dialect: sa.Dialect
) -> tuple[str, dict[str, Any]]:
    """Give the SQL of one SELECT in the driver's own form, and the values of its binds by name.

    Raises QueryError for a text that is no single SELECT, and for binds without a value or use.
    """
    clause = statement if not isinstance(statement, str) else text_clause(single_select(statement))
    result = clause.compile(dialect=dialect)
    known = {name: bind for bind, name in result.bind_names.items()}
    if unknown := sorted(set(binds) - set(known)):
        raise QueryError(f"The statement has no bind named {unknown[0]!r}.", "It is written :name.")
    if missing := sorted(name for name in set(known) - set(binds) if known[name].required):
        raise QueryError(f"The statement needs a value for :{missing[0]}.", "Pass it by name.")
    # An IN becomes as many binds as it has values; a reserved word is quoted.
    state = result.construct_expanded_state(binds)
    processors = {
        result.escaped_bind_names.get(name, name): bind.type.dialect_impl(dialect).bind_processor(
            dialect
        )
        for name, bind in known.items()
    } | dict(state.processors)
    return state.statement, {
        name: process(value) if value is not None and (process := processors.get(name)) else value
        for name, value in state.parameters.items()
    }


def text_clause(statement: str) -> sa.TextClause:
    """Make a clause of a text; a colon inside a string, a name or a comment is no bind."""
    pairs = zip(statement, _masked(statement), strict=True)
    text = "".join(r"\:" if c == ":" != m else c for c, m in pairs)
    # SQLAlchemy sees no bind where PostgreSQL's cast follows it at once.
    return sa.text(re.sub(r"(?<![:\w\\]):(\w+)(?=::)", r":\1 ", text))


def single_select(statement: str) -> str:
    """Return the text without what trails it; raises QueryError unless it is one SELECT or WITH.

    A guard against accidents: the grant of the account is what protects.
    """
    masked = _masked(statement)
    text = statement[: len(masked.rstrip().rstrip("; \t\r\n"))]
    masked = masked[: len(text)]
    if not SELECT.match(masked):
        raise QueryError(
            "Only SELECT and WITH statements can be read.",
            "What changes data goes through execute_many() or engine, on a source with "
            "read_only = false.",
        )
    if ";" in masked:
        raise QueryError("The text holds more than one statement; a single SELECT is expected.")
    return text


def begins_select(text: str) -> bool:
    """Tell a text that begins with SELECT or WITH, after comments and brackets, from others."""
    return SELECT.match(_masked(text)) is not None


def _masked(statement: str) -> str:
    """Blank out comments, and the inside of strings and quoted names, keeping every position."""
    pattern = (
        r"(?<![\w$])\$(\w*)\$.*?\$\1\$|\b[eE]'(?:[^'\\]|\\.|'')*'"
        r"|\b[nN]?[qQ]'(?:\[.*?\]|\{.*?\}|\(.*?\)|<.*?>|([^\s\[{(<]).*?\2)'"
        r"|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/"
    )
    return re.sub(
        pattern,
        lambda found: (" " if found[0][:2] in ("--", "/*") else "x") * len(found[0]),
        statement,
        flags=re.DOTALL,
    )
