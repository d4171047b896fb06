"""Sources come from workbench.toml, .env and the environment; bad ones are named in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.credentials import resolve
from workbench.database import connect
from workbench.errors import CredentialsError, SettingsError
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
        ('[sources.Wh]\nurl = "postgresql+psycopg://dw/wh"', "lower case"),
        ("[sources.wh]\nread_only = true", "needs a url"),
        ('[sources.wh]\nurl = "not a url"', "cannot be parsed"),
        ('[sources.wh]\nurl = "postgresql+psycopg://dw/wh"\nreadonly = true', "readonly"),
        ('[sources.wh]\nurl = "postgresql+psycopg://dw/wh"\ncall_timeout = 0', "call_timeout"),
        ("[source.wh]\n", "unknown key 'source'"),
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
