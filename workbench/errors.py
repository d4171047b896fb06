"""What can go wrong, said in one sentence, with a hint of what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest what was meant: " Did you mean 'x'?", or nothing where nothing is near."""
    near = get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


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
