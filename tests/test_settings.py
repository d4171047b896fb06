"""Sources come from workbench.toml, .env and the environment; bad ones are named in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from workbench.connections import target
from workbench.credentials import Address, Credentials, resolve
from workbench.database import connect
from workbench.errors import ConnectionFailed, CredentialsError, SettingsError
from workbench.settings import load_settings

HIDDEN = "not-to-be-repeated"


def write(folder: Path, text: str) -> None:
    (folder / "workbench.toml").write_text(text)


def test_the_demo_source_is_there_without_any_file(project: Path) -> None:
    assert load_settings().source("demo").kind == "embedded"


def test_the_nearest_file_above_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, '[sources.wh]\nurl = "postgresql+psycopg://dw.example/wh"\n')
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    source = load_settings().source("wh")
    assert source.read_only
    assert source.call_timeout == 60


def test_the_environment_goes_over_dotenv_over_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, '[sources.wh]\nurl = "postgresql+psycopg://one/wh"\nschema = "A"\n')
    (project / ".env").write_text(
        "WORKBENCH_SOURCES__WH__SCHEMA=B\nWORKBENCH_SOURCES__WH__CALL_TIMEOUT=5\n"
    )
    monkeypatch.setenv("WORKBENCH_SOURCES__WH__SCHEMA", "C")
    source = load_settings().source("wh")
    assert (source.schema_, source.call_timeout, source.url) == (
        "C", 5, "postgresql+psycopg://one/wh",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'[sources.wh]\nurl = "postgresql+psycopg://u:{HIDDEN}@dw/wh"', "contains a password"),
        (f'[sources.wh]\nurl = "postgresql+psycopg://dw/wh?password={HIDDEN}"', "password"),
        (f'[sources.wh]\nurl = "postgresql+psycopg://dw/wh?SSLPASSWORD={HIDDEN}"', "password"),
        (f'[sources.wh]\nurl = "oracle+oracledb://scott/{HIDDEN}@dw:1521"', "password"),
        (f'[sources.wh]\ndsn = "scott/{HIDDEN}"', "contains a login"),
        (f'[sources.wh]\ndsn = "scott/{HIDDEN}@XE"', "contains a login"),
        (f'[sources.wh]\ndsn = "scott/{HIDDEN}@XE"\ncredentials = "env:X"', "contains a login"),
        (f'[sources.wh]\ndsn = "scott/{HIDDEN}@(DESCRIPTION=…)"\ncredentials = "env:X"', "login"),
        (f'[sources.demo]\ndsn = "scott/{HIDDEN}@XE"', "contains a login"),
        ('[sources.wh]\nurl = "sqlite:///x.db"', "sqlite databases are not supported"),
        ('[sources.wh]\nurl = "oracle+oracledb://dw:1521/?servicename=XE"', "key 'servicename'"),
        ('[sources.Wh]\nurl = "postgresql+psycopg://dw/wh"', "lower case"),
        ("[sources.wh]\nread_only = true", "needs a url"),
        ('[sources.wh]\nurl = "not a url"', "cannot be parsed"),
        ('[sources.wh]\nurl = "postgresql+psycopg://dw/wh"\nreadonly = true', "readonly"),
        (
            "[sources.wh.pool]\nmaximun = 5",
            "sources.wh.pool.maximun: unknown key 'maximun'. Did you mean "
            "'maximum'?\nKnown keys: maximum, minimum, recycle, timeout. Set in workbench.toml",
        ),
        ('[sources.wh]\nshema = "A"', "unknown key 'shema'. Did you mean 'schema'?"),
        ("[kernels]\nwarn = true", "kernels.warn: unknown key 'warn'. Did you mean 'warm'?"),
        ("[sources.wh]\npool = 5", "sources.wh.pool is a table: write [sources.wh.pool]"),
        ("sources = 5", "sources: Input should be a valid dictionary"),
        ("[sources]\nwh = 5", "sources.wh is a table: write [sources.wh]"),
        ('[sources.wh]\nurl = "postgresql+psycopg://dw/wh"\ncall_timeout = 0', "call_timeout"),
        (
            '[sources.wh]\nkind = "dynamodb"\nregion = "eu-central-1"\nread_only = false',
            "sources.wh: read_only is not for DynamoDB, which is asked as boto3 is configured",
        ),
        ('[sources.wh]\nkind = "dynamodb"\nschema = "a"', "schema is not for DynamoDB"),
        ('[sources.wh]\nkind = "dynamodb"\n[sources.wh.pool]\nmaximum = 9', "pool is not for"),
        ("[source.wh]\n", "unknown key 'source'. Did you mean 'sources'?"),
        ("[sources.wh\n", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence_without_secrets(project: Path, text: str, says: str) -> None:
    write(project, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert HIDDEN not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_url_serves_where_the_embedded_server_cannot(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, '[sources.demo]\nkind = "embedded"\n')
    monkeypatch.setenv("WORKBENCH_SOURCES__DEMO__URL", "postgresql+psycopg://elsewhere/demo")
    assert load_settings().source("demo").url == "postgresql+psycopg://elsewhere/demo"


def test_an_override_of_the_demo_source_needs_no_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_SOURCES__DEMO__POOL__MAXIMUM", "1")
    demo = load_settings().source("demo")
    assert (demo.kind, demo.pool.maximum) == ("embedded", 1)
    monkeypatch.setenv("WORKBENCH_SOURCES__DEMO__URL", "postgresql+psycopg://elsewhere/demo")
    assert load_settings().source("demo").kind == "database"


@pytest.mark.parametrize(
    ("dsn", "more"),
    [
        ("dbhost.example:1521/MKTP", ""),
        ("//dbhost/MKTP", ""),
        ("tcps://dbhost.example:2484/MKTP?wallet_location=/x", ""),
        ("MKTP", ""),
        ("(DESCRIPTION=(ADDRESS=(HOST=a))(SECURITY=(SSL_SERVER_CERT_DN=a@b)))", ""),
        # Without credentials the driver takes it for user/password.
        ("dbhost/MKTP", 'credentials = "env:X"'),
    ],
)
def test_an_address_is_no_login(project: Path, dsn: str, more: str) -> None:
    write(project, f'[sources.x]\ndsn = "{dsn}"\n{more}\n')
    assert load_settings().source("x").dsn == dsn


def test_folders_count_from_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        project,
        '[sources.x]\ndsn = "MKTP"\nconfig_dir = "tns"\nwallet_location = "~/wallet"\n'
        '[sources.y]\ndsn = "MKTP"\nconfig_dir = "/tns"\nclient_lib_dir = "~nobody-such/lib"\n',
    )
    for name in ("tns", "notebooks"):
        (project / name).mkdir()
    (project / "tns" / "tnsnames.ora").write_text("MKTP = dbhost.example:1522/MKTP\n")
    monkeypatch.setenv("HOME", str(project / "home"))
    monkeypatch.chdir(project / "notebooks")
    found = load_settings()
    assert target(found.source("x")).host == "dbhost.example"
    assert found.source("x").wallet_location == project / "home" / "wallet"
    assert found.source("y").config_dir == Path("/tns")
    assert found.source("y").client_lib_dir == project / "~nobody-such" / "lib"


def test_an_oracle_url_with_a_port_needs_a_service(project: Path) -> None:
    def at(url: str, **address: str | int) -> str | None:
        write(project, f'[sources.x]\nurl = "oracle+oracledb://{url}"\nconfig_dir = "tns"\n')
        found = Credentials("u", SecretStr(HIDDEN), Address(**address))
        return target(load_settings().source("x"), found).service

    (project / "tns").mkdir()
    (project / "tns" / "tnsnames.ora").write_text("DESK = dbhost.example:1522/MKTP\n")
    with pytest.raises(ConnectionFailed, match=r"names no service(.|\n)*\?service_name=NAME"):
        at("dw:1521")
    with pytest.raises(ConnectionFailed, match="names no service"):
        at("", host="dw", port=1521)
    assert at("dw:1521", service_name="A") == "A"
    assert at("dw:1521/?service_name=A&protocol=tcps") == "A"
    assert at("desk") == at("desk", port=1521) == at("@desk") == "MKTP"


def test_an_environment_that_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_SOURCES", "abc")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_a_password_is_taken_as_it_stands(project: Path) -> None:
    (project / ".env").write_text("DW_USERNAME=reader\nDW_PASSWORD=a${HOME}b\n")
    assert resolve("env:DW").password.get_secret_value() == "a${HOME}b"


def test_an_unknown_source_lists_those_that_exist(project: Path) -> None:
    write(project, '[sources.warehouse]\nurl = "postgresql+psycopg://dw/wh"\n')
    with pytest.raises(SettingsError, match=r"Did you mean 'warehouse'(.|\n)*demo, warehouse"):
        connect("warehose")


def test_a_url_is_not_a_source_and_is_not_repeated(project: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        connect(f"postgresql://u:{HIDDEN}@dw/wh")
    assert HIDDEN not in str(caught.value)


def test_env_credentials_come_from_the_environment_or_dotenv(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".env").write_text("DW_USERNAME=reader\nDW_PASSWORD=from-the-file\n")
    assert resolve("env:DW").password.get_secret_value() == "from-the-file"
    monkeypatch.setenv("DW_PASSWORD", "from-the-environment")
    found = resolve("env:DW")
    assert found.password.get_secret_value() == "from-the-environment"
    assert "from-the-environment" not in repr(found)


@pytest.mark.parametrize("reference", [HIDDEN, f"vault:{HIDDEN}", "env:", f":{HIDDEN}"])
def test_a_wrong_reference_is_not_repeated(project: Path, reference: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        resolve(reference)
    assert HIDDEN not in str(caught.value)


def test_a_missing_key_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DW_USERNAME", "reader")
    with pytest.raises(CredentialsError, match="DW_PASSWORD"):
        resolve("env:DW")
