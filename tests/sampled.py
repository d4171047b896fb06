"""An Oracle user of a test module's own, and what the stand-in lacks for the sample schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import standin
from standin import Oracle

# In CREATE TABLE the Mirror takes a column named "DATE" for its type and calls it "ora_date", and
# orafce's NLSSORT takes NLS_SORT=BINARY for the name of a collation of PostgreSQL's.
_LIKE_ORACLE = """
DO $do$ BEGIN
  PERFORM pg_advisory_xact_lock(17);
  IF EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'keep_date') THEN RETURN; END IF;
  CREATE FUNCTION public.keep_date() RETURNS event_trigger LANGUAGE plpgsql AS $$
  DECLARE made record;
  BEGIN
    FOR made IN SELECT DISTINCT objid::regclass AS name FROM pg_event_trigger_ddl_commands()
        JOIN pg_attribute ON attrelid = objid AND attname = 'ora_date' LOOP
      EXECUTE format('ALTER TABLE %s RENAME COLUMN ora_date TO "DATE"', made.name);
    END LOOP;
  END $$;
  CREATE EVENT TRIGGER keep_date ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE FUNCTION public.keep_date();
  CREATE OR REPLACE FUNCTION oracle.nlssort(text, text) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$ SELECT convert_to($1, 'UTF8') $$;
END $do$
"""


@contextmanager
def owner(oracle: Oracle, folder: Path, name: str) -> Iterator[Oracle]:
    """Yield an Oracle user with an empty schema; a real Oracle's only user has to do."""
    if oracle.real:
        yield oracle
        return
    with psycopg.connect(oracle.postgresql, autocommit=True) as under:
        under.execute(_LIKE_ORACLE)
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
