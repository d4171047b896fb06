"""workbench.toml, the environment and .env, read into `Settings` and its `Source`s."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SettingsSourceError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from workbench.errors import SettingsError, nearest

CONFIG_NAME = "workbench.toml"


class Source(BaseModel):
    """One named connection: where the data is and by which reference its credentials are found."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["database", "embedded"] = "database"
    url: str | None = None
    credentials: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    call_timeout: float = Field(default=60, gt=0, description="seconds per round trip")
    connect_timeout: float = Field(default=10, gt=0, description="seconds to connect")
    read_only: bool = True
    numbers: Literal["exact", "float"] = "exact"

    @field_validator("url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ValueError(
                "the URL cannot be parsed; it looks like postgresql+psycopg://host:5432/dbname"
            ) from None
        keys = " ".join(parsed.query).casefold()
        # Oracle's own user/password@host lands in the database's part of the URL.
        if (
            parsed.password is not None
            or re.search("passw|pwd", keys)
            or "@" in (parsed.database or "")
        ):
            raise ValueError(
                "the URL contains a password, which would end in logs and version control; "
                'take it out and name where it is kept, e.g. credentials = "env:WAREHOUSE" '
                "(reads WAREHOUSE_USERNAME and WAREHOUSE_PASSWORD)"
            )
        return url

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Source:
        if self.kind == "database" and self.url is None:
            raise ValueError('a source needs a url (or kind = "embedded")')
        return self


class Kernels(BaseModel):
    """How kernels start: forked from a process that has done the imports, or afresh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm: bool = True
    preload: tuple[str, ...] | None = Field(default=None, description="modules; None: the usual")


class Settings(BaseSettings):
    """All the settings there are; any key can be overridden as WORKBENCH_SECTION__KEY."""

    model_config = SettingsConfigDict(
        env_prefix="WORKBENCH_",
        env_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    sources: dict[str, Source] = Field(default_factory=dict)
    reports: Path = Path("reports")
    notebooks: Path = Path("notebooks")
    kernels: Kernels = Kernels()

    @field_validator("sources")
    @classmethod
    def _demo_is_always_there(cls, sources: dict[str, Source]) -> dict[str, Source]:
        if odd := [name for name in sources if name != name.lower()]:
            # The environment knows no case: an override would make a second source.
            raise ValueError(f"the source name {odd[0]!r} must be written in lower case")
        return {"demo": Source(kind="embedded"), **sources}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order what overrides what: environment, then .env, then workbench.toml."""
        config = config_path()
        files = (TomlConfigSettingsSource(settings_cls, config),) if config else ()
        return (init_settings, env_settings, dotenv_settings, *files)

    def source(self, name: str) -> Source:
        """Return the source called `name`; raises SettingsError naming those that exist."""
        if name in self.sources:
            return self.sources[name]
        if "://" in name:
            raise SettingsError(
                "A connection URL is not a source name.",
                f"Give it a name under [sources.NAME] in {CONFIG_NAME} and use that name.",
            )
        known = ", ".join(sorted(self.sources))
        raise SettingsError(
            f"Unknown source {name!r}.{nearest(name, self.sources)}",
            f"Known sources: {known}. Add others under [sources.NAME] in {CONFIG_NAME}.",
        )


def config_path() -> Path | None:
    """Find workbench.toml: WORKBENCH_CONFIG, else here or in the nearest folder above."""
    named = os.environ.get("WORKBENCH_CONFIG")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"WORKBENCH_CONFIG names {named!r}, which is not a file.")
        return path
    here = Path.cwd()
    return next(
        (path for folder in (here, *here.parents) if (path := folder / CONFIG_NAME).is_file()), None
    )


def project_folder() -> Path:
    """Return the folder that holds workbench.toml, or the current one where there is none."""
    config = config_path()
    return config.parent.resolve() if config else Path.cwd()


def load_settings() -> Settings:
    """Read the settings afresh; raises SettingsError in one sentence for anything unusable."""
    config = config_path()
    if config:
        _refuse_unknown_keys(config)
    try:
        return Settings(_env_file=project_folder() / ".env")  # type: ignore[call-arg]
    except (SettingsSourceError, UnicodeDecodeError) as error:
        raise SettingsError(f"The environment or .env cannot be read: {error}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "settings"
        raise SettingsError(
            f"{place}: {first['msg'].removeprefix('Value error, ')}.",
            f"Set in {config.name if config else 'the environment'} or as WORKBENCH_… variables.",
        ) from None


def _refuse_unknown_keys(config: Path) -> None:
    # The environment may hold anything, so pydantic ignores what it does not know;
    # in our own file an unknown key is a slip of the pen and must not pass.
    try:
        content: dict[str, Any] = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config} cannot be read: {error}.") from None
    unknown = sorted(set(content) - set(Settings.model_fields))
    if unknown:
        raise SettingsError(
            f"{config.name} holds the unknown key {unknown[0]!r}.",
            f"Known keys: {', '.join(sorted(Settings.model_fields))}.",
        )
