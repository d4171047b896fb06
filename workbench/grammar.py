"""An import that costs seconds and is hardly ever of use, put off until it is."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

NAME = "rfc3987_syntax"


def put_off() -> None:
    """Let jsonschema, and so nbformat and altair, load without building a grammar for IRIs.

    A module of the same name stands in until somebody asks for more than to import it.
    """
    if NAME in sys.modules or find_spec(NAME) is None:
        return
    stand_in = ModuleType(NAME)

    def real(name: str) -> Any:
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        if sys.modules.get(NAME) is stand_in:
            del sys.modules[NAME]
        return getattr(import_module(NAME), name)

    def is_valid_syntax(*args: Any, **options: Any) -> Any:
        return real("is_valid_syntax")(*args, **options)

    vars(stand_in).update(
        __getattr__=real, __spec__=find_spec(NAME), is_valid_syntax=is_valid_syntax
    )
    sys.modules[NAME] = stand_in
