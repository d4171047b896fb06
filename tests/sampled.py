"""An Oracle user of a test module's own, with an empty schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import standin
from standin import Oracle


@contextmanager
def owner(oracle: Oracle, folder: Path, name: str) -> Iterator[Oracle]:
    """Yield an Oracle user with an empty schema; a real Oracle's only user has to do."""
    if oracle.real:
        yield oracle
        return
    users = {name: standin.PASSWORD}
    with standin.mirror(oracle.postgresql, folder / f"{name}.log", users) as at:
        yield dataclasses.replace(oracle, dsn=at.dsn, port=at.port, username=name.upper())


@contextmanager
def project(folder: Path, oracle: Oracle, *lines: str) -> Iterator[None]:
    """Make `folder` the current project, with the writable source "oracle" and further lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ORA_USERNAME", oracle.username)
        patch.setenv("ORA_PASSWORD", oracle.password)
        url = f"oracle+oracledb://{oracle.host}:{oracle.port}/?service_name={oracle.service}"
        text = ["[sources.oracle]", f'url = "{url}"', 'credentials = "env:ORA"']
        text += ["read_only = false", *lines]
        (folder / "workbench.toml").write_text("\n".join(text) + "\n")
        yield
