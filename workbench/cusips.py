"""CUSIPs: what makes nine characters one, as a condition that a database computes."""

from __future__ import annotations

import string
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement

CHARACTERS = string.digits + string.ascii_uppercase + "*@#"  # worth 0 to 38
# The last digit of the digit sum of each character's worth, once and doubled.
WORTHS = tuple(
    "".join(str(sum(map(int, str(times * worth))) % 10) for worth, _ in enumerate(CHARACTERS))
    for times in (1, 2)
)


class strpos(sa.sql.functions.GenericFunction[int]):  # noqa: N801
    """Where in a text another begins, from 1."""

    type = sa.Integer()
    inherit_cache = True


@compiles(strpos, "oracle")
def _instr(element: strpos, compiler: Any, **options: Any) -> str:
    return f"INSTR({compiler.process(element.clauses, **options)})"


def is_cusip(text: ColumnElement[Any]) -> ColumnElement[bool]:
    """Tell texts of nine characters whose last is their check digit; unknown of null.

    Characters are digits, capital letters and * @ #, worth 0 to 9, 10 to 35, and 36 to 38. Of the
    first eight every second one's worth is doubled; the digits of all are added up, and the check
    digit makes that a multiple of ten: "modulus 10 double add double" of ANSI X9.6.
    """
    # No cast that could fail, and what costs most, translating, once only.
    shape = sa.func.translate(text, CHARACTERS, "0" * len(CHARACTERS))
    last = sa.func.ascii(sa.func.substr(text, 9, 1))
    total = last - 9 * ord("0")
    for place in range(8):
        at = strpos(CHARACTERS, sa.func.substr(text, place + 1, 1))
        total += sa.func.ascii(sa.func.substr(WORTHS[place % 2], at, 1))
    digit = last.between(ord("0"), ord("9"))
    return sa.and_(shape == "0" * 9, digit, sa.func.mod(total, 10) == 0)
