"""The few things that engines say differently, so that a statement is written once."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect, PGIdentifierPreparer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement

BLANKS = " \t\r\n\v\f\N{NO-BREAK SPACE}"
LOWER, UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Quoting(PGIdentifierPreparer):
    """Quotes every name: what is a reserved word, DuckDB knows and SQLAlchemy does not."""

    def _requires_quotes(self, _name: str) -> bool:
        return True


class Compiler(PGCompiler):
    """Writes PostgreSQL's match of a pattern in DuckDB's words, whose own ~ matches whole texts."""

    def visit_custom_op_binary(self, element: Any, operator: Any, **options: Any) -> str:
        """Write what no visit of its own exists for."""
        if operator.opstring not in ("~", "!~"):
            return super().visit_custom_op_binary(element, operator, **options)  # type: ignore[no-untyped-call,no-any-return]
        text, pattern = (self.process(e, **options) for e in (element.left, element.right))
        return f"{'NOT ' * (operator.opstring == '!~')}regexp_matches({text}, {pattern})"


class DuckDBDialect(PGDialect):
    """PostgreSQL's SQL as native DuckDB takes it: numbered parameters, binary text order."""

    name = "duckdb"
    preparer = Quoting
    statement_compiler = Compiler
    supports_statement_cache = False

    def __init__(self) -> None:
        super().__init__(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


class BinaryText(sa.sql.functions.GenericFunction[str]):
    """A text ordered by its bytes, whatever the session's language."""

    type = sa.String()
    inherit_cache = True
    name = "binary_text"


@compiles(BinaryText)
def _as_it_is(element: BinaryText, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(BinaryText, "postgresql")
def _collate_c(element: BinaryText, compiler: Any, **options: Any) -> str:
    return f'({compiler.process(element.clauses, **options)}) COLLATE "C"'


@compiles(BinaryText, "oracle")
def _nls_binary(element: BinaryText, compiler: Any, **options: Any) -> str:
    return f"NLSSORT({compiler.process(element.clauses, **options)}, 'NLS_SORT=BINARY')"


class PercentOf(sa.sql.functions.GenericFunction[Any]):
    """|difference| / base x 100 rounded half away from zero to two decimals, exactly."""

    type = sa.Numeric(28, 2)
    inherit_cache = True
    name = "percent_of"


@compiles(PercentOf)
def _divide_numeric(element: PercentOf, compiler: Any, **options: Any) -> str:
    part, base = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(ROUND(ABS({part}) * 100 / NULLIF({base}, 0), 2) AS NUMERIC(28, 2))"


@compiles(PercentOf, "duckdb")
def _divide_whole(element: PercentOf, compiler: Any, **options: Any) -> str:
    # DuckDB divides decimals as doubles; whole numbers of 10^-10 keep a tie a tie.
    part, base = (
        f"CAST(ABS({compiler.process(clause, **options)}) * 10000000000 AS HUGEINT)"
        for clause in element.clauses
    )
    sign = f"CAST(SIGN({compiler.process(list(element.clauses)[1], **options)}) AS HUGEINT)"
    rounded = f"({sign} * ((20000 * {part} + {base}) // NULLIF(2 * {base}, 0)))"
    return f"CAST(CAST({rounded} AS DECIMAL(26, 0)) * 0.01::DECIMAL(2, 2) AS DECIMAL(28, 2))"


class Plain(sa.sql.functions.GenericFunction[str]):
    """A text without the blanks around it, a to z in upper case: the same in every language."""

    type = sa.String()
    inherit_cache = True
    name = "plain_text"


@compiles(Plain)
def _trim_and_translate(element: Plain, compiler: Any, **options: Any) -> str:
    (text,) = element.clauses
    trimmed = sa.func.ltrim(sa.func.rtrim(text, BLANKS), BLANKS)
    return str(compiler.process(sa.func.translate(trimmed, LOWER, UPPER), **options))


@compiles(Plain, "duckdb")
def _only_where_needed(element: Plain, compiler: Any, **options: Any) -> str:
    # Its translate() takes longer than all the rest of a ranking; most texts are ASCII (as many
    # bytes as characters) and have no blank at either end.
    text = compiler.process(element.clauses, **options)
    slowly = _trim_and_translate(element, compiler, **options)
    blunt = f"ascii({text}) > 32 AND ascii(right({text}, 1)) > 32"
    tidy = f"strlen({text}) = length({text}) AND {blunt}"
    return f"CASE WHEN {tidy} THEN upper({text}) ELSE {slowly} END"


def plain(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """Trim blanks and upper-case a to z: the same in every database and language."""
    return Plain(text)


class Truth(sa.sql.functions.GenericFunction[bool]):
    """A condition as a value in a list of columns, where Oracle 19c has no booleans."""

    type = sa.Boolean()
    inherit_cache = True
    name = "truth"


@compiles(Truth)
def _as_condition(element: Truth, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(Truth, "oracle")
def _as_number(element: Truth, compiler: Any, **options: Any) -> str:
    condition = compiler.process(element.clauses, **options)
    return f"CAST(CASE WHEN {condition} THEN 1 ELSE 0 END AS NUMBER(1))"
