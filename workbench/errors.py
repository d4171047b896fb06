"""What can go wrong, said in one sentence, with a hint of what to do next."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest what was meant: " Did you mean 'x'?", or nothing where nothing is near."""
    names = {other.lower(): other for other in known}
    near = get_close_matches(name.lower(), names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


class WorkbenchError(Exception):
    """Any failure the reader can act on: one sentence, and a hint where there is one."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        # IPython asks for this method: a sentence serves the reader of a notebook
        # better than the frames of a package they did not write.
        return [f"{type(self).__name__}: {self.message}", *([self.hint] if self.hint else [])]


class UsageError(WorkbenchError):
    """The request itself is wrong: an unknown notebook, parameter, option or value."""


class SettingsError(WorkbenchError):
    """workbench.toml or its environment says something that cannot be used."""


class CredentialsError(WorkbenchError):
    """A credential reference could not be resolved; the message never holds its content."""


class ConnectionFailed(WorkbenchError):
    """A source could not be reached or did not let us in."""


class QueryError(WorkbenchError):
    """A statement was refused: by the read-only guard, or by the database."""


class DataError(WorkbenchError):
    """The data cannot be used as it is: a missing column, text where numbers belong."""


def require(
    place: str, found: Iterable[str], needed: Iterable[str], hint: str, what: str = "column"
) -> None:
    """Raise DataError, naming what is needed and not found, unless all of it is there."""
    if missing := sorted({*needed} - {*found}):
        names = f"{what}{'s' * (len(missing) > 1)} {', '.join(missing)}"
        raise DataError(f"{place} lacks the {names}.", hint)


@dataclass(frozen=True)
class Fault:
    """What an error of a database, driver or network means, and what to do about it.

    `retry`: connecting again a moment later may help; obeyed only while nothing was sent yet.
    `login`: the account or its secret was refused, which must never be tried again as it is.
    """

    code: str
    meaning: str
    fix: str
    retry: bool = False
    login: bool = False
    texts: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.meaning.removesuffix('.')} ({self.code})"


@cache
def faults() -> dict[str, Fault]:
    """Return the catalogue of faults.toml: ORA-, DPY- and DPI- codes, SQLSTATEs, plain phrases."""
    entries = tomllib.loads(files("workbench").joinpath("faults.toml").read_text("utf-8"))
    return {
        code: Fault(code, **{**entry, "texts": tuple(entry.get("texts", ()))})
        for code, entry in entries.items()
    }


def fault_of(error: BaseException) -> Fault | None:
    """Look up what SQLAlchemy, python-oracledb, psycopg or a socket raised; None when unknown.

    Of the codes that one Oracle message holds the innermost known one is taken: the others only
    wrap it. Where no code says more, as while connecting, the text has to do. A refused login
    goes before all else that a message of several attempts holds, and what to retry comes last.
    """
    known = faults()
    cause = getattr(error, "orig", None) or error
    if state := getattr(cause, "sqlstate", None):
        return known.get(state)
    text = str(cause)
    # At the start of a line only: further on it may be quoted from somebody's data.
    codes = re.findall(r"^(?:PL/SQL: )?((?:ORA|DPY|DPI)-\d+)", text, re.MULTILINE)
    codes += re.findall(r"\(Similar to (ORA-\d+)\)", text)
    said = [known[code] for code in reversed(codes) if code in known]
    # ORA-06512 tells where in a procedure, after the line that tells what.
    said.sort(key=lambda fault: (not fault.login, fault.code == "ORA-06512"))
    if said and said[0].code != "DPY-6005":
        return said[0]
    # Not for other exceptions, whose texts may repeat what a user wrote.
    driver = type(cause).__module__.startswith(("psycopg", "sqlalchemy"))
    if said or driver or isinstance(cause, OSError):
        patterns = ((fault, "|".join(fault.texts)) for fault in known.values() if fault.texts)
        said[:0] = sorted(
            (fault for fault, pattern in patterns if re.search(pattern, text, re.IGNORECASE)),
            key=lambda fault: (not fault.login, fault.retry),
        )
    return said[0] if said else None
