"""workbench.toml, the environment and .env, read into `Settings` and its `Source`s."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SettingsSourceError

from workbench.errors import SettingsError, nearest

CONFIG_NAME = "workbench.toml"
# A login in a dsn; where no other is given, the driver takes host/service for one as well.
LOGIN, BARE_LOGIN = r"(?is)^(?!\s*\().*@|passw", r"|^[^\s/@:.()]+/."
# From wherever a notebook runs; an unknown user's ~ stays as it is.
Folder = Annotated[Path, AfterValidator(lambda it: project_folder() / os.path.expanduser(it))]  # noqa: PTH111


class Pool(BaseModel):
    """How many connections a source keeps, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: int = Field(default=1, ge=1, description="connections that stay open when free")
    maximum: int = Field(default=5, ge=1, description="connections open at once")
    timeout: float = Field(default=30, gt=0, description="seconds to wait for a free one")
    recycle: float = Field(default=1800, gt=0, description="seconds after which one is replaced")

    @model_validator(mode="after")
    def _has_room(self) -> Pool:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is more than maximum {self.maximum}")
        return self


class Source(BaseModel):
    """One named connection: where the data is and by which reference its credentials are found."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["database", "embedded", "dynamodb"] = Field(
        default="database", description="what answers"
    )
    url: str | None = Field(default=None, description="driver, host, port, database; no password")
    dsn: str | None = Field(default=None, description="Oracle: TNS alias or connect descriptor")
    credentials: str | None = Field(default=None, description="env:…, secretsmanager:…, ssm:…")
    schema_: str | None = Field(
        default=None, alias="schema", description="where tables are looked for; else the login's"
    )
    call_timeout: float = Field(default=60, gt=0, description="seconds per round trip")
    connect_timeout: float = Field(default=10, gt=0, description="seconds for one try to connect")
    retry_for: float = Field(default=10, ge=0, description="seconds to go on trying to connect")
    read_only: bool = Field(default=True, description="only SELECT and WITH are let through")
    numbers: Literal["exact", "float"] = Field(default="exact", description="decimals, or Float64")
    pool: Pool = Pool()
    thick: bool = Field(default=False, description="Oracle: through the Instant Client")
    client_lib_dir: Folder | None = Field(default=None, description="Oracle: where that client is")
    config_dir: Folder | None = Field(default=None, description="Oracle: where tnsnames.ora is")
    wallet_location: Folder | None = Field(default=None, description="Oracle: where the wallet is")
    region: str | None = Field(default=None, description="DynamoDB: else as boto3 is configured")
    role: str | None = Field(default=None, description="DynamoDB: ARN of a role to assume")
    prefix: str = Field(default="", description="DynamoDB: what the tables' names begin with")

    @field_validator("url")
    @classmethod
    def _holds_no_password(cls, url: str | None) -> str | None:
        if url is None:
            return None
        # Half a second, which a command that connects to nothing need not wait.
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ValueError(
                "the URL cannot be parsed; it looks like postgresql+psycopg://host:5432/dbname"
            ) from None
        secret = re.search("passw|pwd", " ".join(parsed.query).casefold())
        # Oracle's own user/password@host lands in the database's part of the URL.
        if parsed.password is not None or secret or "@" in (parsed.database or ""):
            raise ValueError(
                "the URL contains a password, which would end in logs and version control; "
                'take it out and name where it is kept, e.g. credentials = "env:WAREHOUSE" '
                "(reads WAREHOUSE_USERNAME and WAREHOUSE_PASSWORD)"
            )
        if (kind := parsed.get_backend_name()) not in ("postgresql", "oracle"):
            ours = "postgresql+psycopg://… and oracle+oracledb://… are"
            raise ValueError(f"{kind} databases are not supported; {ours}")
        if kind == "oracle" and (odd := set(parsed.query) - {"service_name", "protocol"}):
            raise ValueError(f"the URL's key {min(odd)!r} is unknown; use service_name, protocol")
        return url

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Source:
        if self.dsn and re.search(LOGIN + BARE_LOGIN * (not self.credentials), self.dsn):
            raise ValueError("the dsn contains a login; it only says where: an alias, //host/name")
        if self.kind == "dynamodb":
            if odd := self.model_fields_set - {"kind", "region", "role", "prefix"}:
                raise ValueError(
                    f"{min(odd).strip('_')} is not for DynamoDB, which is asked as boto3 is "
                    "configured: region, role, prefix"
                )
            return self
        if self.region or self.role or self.prefix:
            raise ValueError('region, role and prefix are for kind = "dynamodb"')
        if self.kind == "embedded":
            return self
        if self.url is None and self.dsn is None:
            raise ValueError('a source needs a url (or kind = "embedded")')
        oracle = self.url is None or self.url.startswith("oracle")
        for key in ("dsn", "thick", "client_lib_dir", "config_dir", "wallet_location"):
            if getattr(self, key) and not oracle:
                raise ValueError(f"{key} is for Oracle, and the url names another database")
        return self


class Kernels(BaseModel):
    """How kernels start: forked from a process that has done the imports, or afresh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm: bool = Field(default=True, description="false: each does its own imports")
    preload: tuple[str, ...] | None = Field(default=None, description="modules; None: the usual")


class DuckDB(BaseModel):
    """What DuckDB may use of this machine, where files and frames are ranked and read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_limit: str = Field(
        default="60%",
        pattern=r"(?i)^\d+(\.\d+)?\s*(%|[KMGT]i?B)$",
        description="such as 8GB, or a share of the memory; the rest goes to the disk",
    )
    temp_directory: Folder | None = Field(default=None, description="where to; None: the system's")


class Spark(BaseModel):
    """Where the engine spark runs, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    master: str = Field(default="local[*]", description="this machine, or the URL of a cluster")
    conf: dict[str, str] = Field(default_factory=dict, description="any spark.* settings")


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
    reports: Path = Field(default=Path("reports"), description="where runs are kept")
    notebooks: Path = Field(default=Path("notebooks"), description="where notebooks are found")
    expectations: Path = Field(default=Path("expectations"), description="where suites are")
    rules: Path = Field(default=Path("params/rules"), description="where exclusion rules are")
    presets: Path = Field(default=Path("params/presets"), description="where desk presets are")
    kernels: Kernels = Kernels()
    duckdb: DuckDB = DuckDB()
    spark: Spark = Spark()

    @field_validator("sources", mode="before")
    @classmethod
    def _demo_is_always_there(cls, sources: Any) -> Any:
        if not isinstance(sources, dict):
            return sources
        if odd := [name for name in sources if name != name.lower()]:
            # The environment knows no case: an override would make a second source.
            raise ValueError(f"the source name {odd[0]!r} must be written in lower case")
        demo = sources.get("demo", {})
        if isinstance(demo, dict) and not demo.keys() & {"url", "dsn"}:
            demo = {"kind": "embedded", **demo}
        return {"demo": demo} | sources | {"demo": demo}

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


def cache_folder() -> Path:
    """Return where things are kept that can be made again: WORKBENCH_CACHE, or the user's cache."""
    import platformdirs

    root = os.environ.get("WORKBENCH_CACHE") or platformdirs.user_cache_dir("workbench")
    return Path(root).expanduser().resolve()


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
        parts = [str(part) for part in first["loc"]] or ["settings"]
        place, last = ".".join(parts), parts[-1]
        said = f"{place}: {first['msg'].removeprefix('Value error, ')}."
        hint = f"Set in {config.name if config else 'the environment'} or as WORKBENCH_… variables."
        if first["type"] in ("extra_forbidden", "model_type"):
            models: dict[str, type[BaseModel]] = {
                "kernels": Kernels, "duckdb": DuckDB, "spark": Spark
            }  # fmt: skip
            model = Pool if parts[2:3] == ["pool"] else models.get(parts[0], Source)
            known = sorted(field.alias or key for key, field in model.model_fields.items())
            said = f"{place} is a table: write [{place}], and a line for each of its keys below."
            if first["type"] == "extra_forbidden":
                said = f"{place}: unknown key {last!r}.{nearest(last, known)}"
            hint = f"Known keys: {', '.join(known)}. {hint}"
        raise SettingsError(said, hint) from None


def _refuse_unknown_keys(config: Path) -> None:
    # The environment may hold anything, so pydantic ignores what it does not know;
    # in our own file an unknown key is a slip of the pen and must not pass.
    try:
        content: dict[str, Any] = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config} cannot be read: {error}.") from None
    known = sorted(Settings.model_fields)
    if unknown := sorted(set(content) - set(known)):
        said = f"{config.name} holds the unknown key {unknown[0]!r}.{nearest(unknown[0], known)}"
        raise SettingsError(said, f"Known keys: {', '.join(known)}.")
