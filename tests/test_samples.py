"""Samples hold structure and first rows of one state, whole, and no personal data."""

from __future__ import annotations

import csv
import datetime as dt
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from commands import command
from conftest import BIN, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import Oracle
from test_oracle_colors import drop_everything

from notebooks import runs_in
from workbench import accessible, embedded, masking, partitions, samples
from workbench.database import connect
from workbench.errors import ConnectionFailed
from workbench.profiling.model import Column, Table

IBAN, CARD = "DE89370400440532013000", 4111111111111111  # both of ISO's and issuers' own examples
PERSONS = [
    # id, full_name, email, reach, mobile, account, card, note, facts, grade
    (3, "Zoë O'Neil", "zoe@firm.example", "+44 20 7946 0018", "0207 946", IBAN, CARD,
     "ask zoe.private@home.example", '{"tel": "+49 170 7654321"}', "secret grade C"),
    (1, "Ada Byron", None, "+1 202 555 0143", None, None, None, None, None, None),
    (2, "Bob Ray", "bob@firm.example", "+44 20 7946 0991", "0207 947", "DE 12", 7, "nothing", "{}",
     "secret grade A"),
]  # fmt: skip
HIDDEN = [
    "Zoë O'Neil", "Ada Byron", "Bob Ray", "@firm", "7946", "202 555", "0207", IBAN, str(CARD),
    "zoe.private", "7654321", "a plain word", "secret grade",
]  # fmt: skip
FORMULAS = [
    "=1+1", "+1+cmd|' /C calc'!A0", "-1-1", "@SUM(A1)", "\tx", '=";"', "+49", "-5", "-", "'",
]  # fmt: skip
MADE = f"""
CREATE TABLE persons (id bigint PRIMARY KEY, full_name text NOT NULL,
    email text UNIQUE DEFAULT 'nobody@firm.example', reach text, mobile varchar(20), account text,
    number numeric(16), note text, facts jsonb, grade text);
COMMENT ON TABLE persons IS 'Who they are'; COMMENT ON COLUMN persons.grade IS 'Confidential';
CREATE TABLE "a/loans" (id int PRIMARY KEY, borrower text REFERENCES persons (email), amount
    numeric(17, 2), rate float, big bigint, made timestamp, empty text);
INSERT INTO persons VALUES {{persons}};
INSERT INTO "a/loans" VALUES (2, 'zoe@firm.example', 123456789012345.67, 0.1, 9007199254740993,
    '2026-01-09 10:30:00.5', ''), (1, NULL, 1.50, NULL, 1, NULL, NULL),
    (3, 'bob@firm.example', 0, 1, 2, '2026-01-09', 'x');
CREATE INDEX by_amount ON "a/loans" (amount, (rate + 1));
CREATE TABLE "Formulas %s :x ""é"" !" ("=n" int PRIMARY KEY, "a,b;c" text);
INSERT INTO "Formulas %s :x ""é"" !" VALUES {{formulas}};
CREATE TABLE empty (n int); CREATE TABLE "Case" (n int); CREATE TABLE "case" (n int);
CREATE TABLE "{"x" * 63}" (n int); CREATE TABLE "../up" (n int); CREATE TABLE "a.b" (n int);
CREATE TABLE wide ({", ".join(f"c{n} int DEFAULT {n}" for n in range(300))});
INSERT INTO wide DEFAULT VALUES;
CREATE TABLE odd (tags text[], net inet, free numeric, span interval, raw bytea, mood int4range);
INSERT INTO odd VALUES ('{{{{a,"b c"}}}}', '10.0.0.1/8', 'NaN', '1 mon 2 days', '\\x00ff', '[1,5)');
CREATE TABLE keys (word text PRIMARY KEY);
INSERT INTO keys VALUES ('a plain word'), ('k@firm.example');
CREATE TABLE a_child (word text REFERENCES keys); INSERT INTO a_child VALUES ('a plain word');
CREATE TABLE names ("^.*$" numeric(5, 2), "=n" bigint, "'=n" text, "a" date);
INSERT INTO names VALUES (1.5, 9007199254740993, '007', '2026-01-09');
CREATE VIEW adults AS SELECT full_name, id FROM persons;
"""

WORDS = [str(BIN / "workbench"), "extract", "demo"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def one(folder: Path, pattern: str) -> Path:
    [found] = folder.glob(pattern)
    return found


def content(folder: Path, pattern: str) -> Any:
    return json.loads(one(folder, pattern).read_text("utf-8"), parse_float=Decimal)


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="module")
def admin(schema: str) -> Iterator[psycopg.Connection]:
    url = embedded.connection_url().set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as connection:
        words = {
            "persons": ", ".join(f"({', '.join(map(literal, row))})" for row in PERSONS),
            "formulas": ", ".join(f"({n}, {literal(x)})" for n, x in enumerate(FORMULAS)),
        }
        connection.execute(f"SET search_path TO {schema}; {MADE.format(**words)}")
        yield connection


def literal(value: Any) -> str:
    if value is None or isinstance(value, int):
        return "NULL" if value is None else str(value)
    return "'" + value.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def taken(admin: psycopg.Connection, schema: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of all tables of the schema."""
    folder = tmp_path_factory.mktemp("samples") / "for a desk"
    done = command("extract", "demo", "--schema", schema, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_the_folder_says_what_is_in_it(taken: Path, schema: str) -> None:
    info = content(taken, "database_info.json")
    assert (info["source"], info["server"], info["schemas"]) == ("demo", "PostgreSQL", [schema])
    assert (info["request"]["rows"], info["one_state"], info["complete"]) == (1000, True, True)
    assert info["masked"][f"{schema}.persons"]["email"] == "e-mail, by its name"
    listed = {entry["table"]: entry for entry in content(taken, "accessible_tables.json")}
    assert listed["persons"] == {
        "schema": schema, "table": "persons", "kind": "table", "readable": True, "columns": 10,
        "estimated_rows": listed["persons"]["estimated_rows"], "comment": "Who they are",
        "primary_key": ["id"],
    }  # fmt: skip
    assert listed["adults"]["kind"] == "view"
    assert not list(taken.glob("*adults*"))
    read_me = (taken / "README.txt").read_text("utf-8")
    assert f"\n  {schema}.persons: 3 rows, 10 columns; {schema}.persons_sample_" in read_me
    assert f"\n  {schema}.persons.number (card number, by its values)\n" in read_me
    for text in (read_me, json.dumps(info)):
        assert str(taken.parent) not in text
        assert "/demo?" not in text


def test_the_structure_is_what_the_database_says(taken: Path, schema: str) -> None:
    found = content(taken, "*a_loans*_schema.json")
    assert found["table"] == "a/loans"
    assert {column["name"]: column["type"] for column in found["columns"]} == {
        "id": "integer", "borrower": "text", "amount": "numeric(17,2)", "rate": "double precision",
        "big": "bigint", "made": "timestamp without time zone", "empty": "text",
    }  # fmt: skip
    assert [column["name"] for column in found["columns"] if not column["nullable"]] == ["id"]
    [key] = found["foreign_keys"]
    assert (key["columns"], key["to_table"], key["to_columns"]) == (
        ["borrower"], "persons", ["email"],
    )  # fmt: skip
    assert found["indexes"] == [
        {"name": "by_amount", "columns": ["amount", None], "unique": False}
    ]  # fmt: skip
    assert found["sample"]["order_by"] == ["id"]
    persons = content(taken, f"{schema}.persons_schema.json")
    assert (persons["primary_key"], persons["unique"]) == (["id"], [["email"]])


def test_rows_are_exact_and_in_the_order_of_the_key(taken: Path) -> None:
    rows = content(taken, "*a_loans*_sample_*.json")
    tokens = {row.pop("borrower") for row in rows[1:]}
    assert all(re.fullmatch("masked-[0-9a-f]{16}", token) for token in tokens)
    assert rows == [
        {"id": 1, "borrower": None, "amount": "1.5", "rate": None, "big": "1", "made": None,
         "empty": None},
        {"id": 2, "amount": "123456789012345.67", "rate": Decimal("0.1"),
         "big": "9007199254740993", "made": "2026-01-09T10:30:00.500000", "empty": ""},
        {"id": 3, "amount": "0", "rate": Decimal("1.0"), "big": "2",
         "made": "2026-01-09T00:00:00.000000", "empty": "x"},
    ]  # fmt: skip
    [_, second, _] = records(one(taken, "*a_loans*.csv"))
    assert (second["amount"], second["big"]) == ("123456789012345.67", "9007199254740993")


def test_excel_opens_the_csv_and_runs_nothing(taken: Path) -> None:
    path = one(taken, "*Formulas*.csv")
    raw = path.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf'=n,")
    assert raw.count(b"\r\n") == 1 + len(FORMULAS) == raw.count(b"\n")
    found = [row["a,b;c"] for row in records(path)]
    assert found == [
        "'=1+1", "'+1+cmd|' /C calc'!A0", "'-1-1", "'@SUM(A1)", "'\tx", "'=\";\"", "+49", "-5",
        "'-", "'",
    ]  # fmt: skip
    exact = content(taken, "*Formulas*_sample_*.json")
    assert [row["a,b;c"] for row in exact] == FORMULAS


def without_chance(text: str) -> str:
    """Leave out tokens, ids and times: one in a hundred sets of them has some four digits."""
    chance = r'masked-[0-9a-f]{16}|"(extract|id|duration)": "?[0-9a-f.e-]+|:\d\d\.\d{3,6}\b'
    return re.sub(chance, "", text)


def test_no_personal_value_is_in_any_file(taken: Path, schema: str) -> None:
    for name, raw in files(taken).items():
        shown = without_chance(raw.decode("utf-8"))
        for value in HIDDEN:
            for form in (value, json.dumps(value)[1:-1]):
                assert form not in shown, (name, value)
    tied = content(taken, f"{schema}.a_child_schema.json")["sample"]["masked"]
    assert tied == {"word": f"tied by a foreign key to {schema}.keys.word"}
    persons = records(one(taken, f"{schema}.persons_*.csv"))
    assert [row["id"] for row in persons] == ["1", "2", "3"]
    shown = {
        name for row in persons for name, value in row.items() if not value.startswith("masked-")
    }
    assert shown >= {"id", "email", "note"}  # nulls stay nulls
    assert {row["email"] for row in persons} & {""}


def test_equal_values_have_equal_tokens_in_one_folder_only(
    taken: Path, schema: str, project: Path
) -> None:
    def tokens(folder: Path, pattern: str, column: str) -> set[str]:
        return {row[column] for row in records(one(folder, pattern))} - {""}

    emails = tokens(taken, f"{schema}.persons_*.csv", "email")
    assert len(emails) == 2
    assert tokens(taken, "*a_loans*.csv", "borrower") == emails
    done = command("extract", "demo", f"{schema}.persons", "--out", "again")
    assert done.returncode == 0, done.stderr
    assert not tokens(project / "again", "*.csv", "email") & emails
    assert not list((Path(os.environ["WORKBENCH_CACHE"]) / "extracts").glob(
        content(project / "again", "database_info.json")["extract"]
    ))  # fmt: skip


def test_names_of_tables_become_safe_names_of_files(taken: Path, schema: str) -> None:
    names = [name.removesuffix("_schema.json") for name in files(taken) if "_schema." in name]
    assert len({name.lower() for name in names}) == 14
    assert all(re.fullmatch(r"[\w.-]{1,120}", name, re.ASCII) for name in names)
    tables = {content(taken, f"{name}_schema.json")["table"] for name in names}
    assert tables >= {"../up", "Case", "case", "x" * 63, 'Formulas %s :x "é" !', "a.b"}


@given(st.lists(st.text(max_size=200), unique=True, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_names_become_names_of_files_on_any_system(names: list[str]) -> None:
    names = list(dict.fromkeys([*names, "con.a", "NUL", "aux.b", "Com1", "con", "a/b", "A/B"]))
    stems = partitions.stems(list(names)).values()
    assert len({stem.lower() for stem in stems}) == len(names)
    for stem in stems:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", stem)
        assert stem.lower().split(".")[0] not in {"con", "prn", "aux", "nul", "com1", "lpt1"}


def test_types_without_an_equal_are_texts(taken: Path) -> None:
    [row] = content(taken, "*.odd_sample_*.json")
    assert row == {
        "tags": '{a,"b c"}', "net": "10.0.0.1/8", "free": "NaN", "span": "1 mon 2 days",
        "raw": "00ff", "mood": "[1,5)",
    }  # fmt: skip
    assert len(content(taken, "*.wide_sample_*.json")[0]) == 300
    assert content(taken, "*.empty_sample_*.json") == []


def test_names_of_columns_mean_nothing_but_themselves(taken: Path) -> None:
    [row] = content(taken, "*.names_sample_*.json")
    assert row == {
        "^.*$": Decimal("1.5"),
        "=n": "9007199254740993",
        "'=n": "007",
        "a": "2026-01-09",
    }
    assert one(taken, "*.names_sample_*.csv").read_bytes().decode("utf-8-sig") == (
        "^.*$,'=n,'=n,a\r\n1.5,9007199254740993,007,2026-01-09\r\n"
    )


def test_unmasked_shows_everything_and_says_so(admin: Any, schema: str, project: Path) -> None:
    done = command("extract", "demo", f"{schema}.persons", "--unmasked", "--out", "open", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = content(project / "open", "*_sample_*.json")
    assert [row["full_name"] for row in rows] == ["Ada Byron", "Bob Ray", "Zoë O'Neil"]
    said = (project / "open" / "README.txt").read_text("utf-8")
    assert "Nothing. Personal data stand here as they are" in said
    # There is no key, so what is missing can be added at any time.
    one(project / "open", "*.csv").unlink()
    done = command("extract", "demo", f"{schema}.persons", "--unmasked", "--out", "open", "-q")
    assert (done.returncode, len(records(one(project / "open", "*.csv")))) == (0, 3)


def test_a_column_is_masked_on_request_and_a_slip_is_told(
    admin: Any, schema: str, project: Path
) -> None:
    words = ("extract", "demo", f"{schema}.a/loans", "--out", "x", "--mask")
    done = command(*words, "A/loans.amuont")
    assert done.returncode == 2
    assert "no" not in files(project)
    assert done.stderr.startswith(
        "error: None of the tables has a column 'A/loans.amuont' to mask."
    )
    assert "Did you mean 'a/loans.amount'?" in done.stderr
    done = command(*words, f"{schema.upper()}.A/LOANS.Amount", "--mask", "rate", "--json")
    assert done.returncode == 0, done.stderr
    [told] = json.loads(done.stdout)["tables"]
    assert told["masked"].items() >= {"amount": "asked for", "rate": "asked for"}.items()
    first = content(project / "x", "*_sample_*.json")[0]
    assert (first["rate"], first["amount"][:7], first["big"]) == (None, "masked-", "1")


def values(*texts: str | None) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


@pytest.mark.parametrize(
    ("name", "found", "kind"),
    [("x", values("a", "see a.b@c.example, please"), "e-mail"),
     ("x", values(*["plain"] * 20, "pay to DE89 3704 0044 0532 0130 00 PLEASE"), "IBAN"),
     ("x", values(*["plain"] * 20, "4111-1111-1111-1111 (exp 01/30)"), "card number"),
     ("x", values(*["plain"] * 20, "call +49 (170) 1234567."), "phone"),
     ("x", pl.Series([1, CARD]), "card number"),
     ("x", pl.Series([Decimal(CARD)], dtype=pl.Decimal(18, 2)), "card number"),
     ("x", values("DE89370400440532013001", "AB12345678901234"), None),
     ("x", values("2026-01-09 10:30:00", "17734072432755618", "+1.25"), None),
     ("x", pl.Series([True]), None), ("x", values(None), None),
     ("x", pl.Series([17734072432755618, 17603568072316753]), None)],
)  # fmt: skip
def test_personal_data_are_found_by_their_form(
    name: str, found: pl.Series, kind: str | None
) -> None:
    told = masking.detected(Column(name, "text", "other"), found)
    assert told == (kind and f"{kind}, by its values")


@pytest.mark.parametrize(("others", "found"), [(4, True), (5, False)])
def test_one_in_five_of_a_form_is_enough(others: int, found: bool) -> None:
    wrong = [f"DE{n}370400440532013000" for n in range(10, 10 + others)]
    told = masking.detected(Column("x", "text", "text"), values(IBAN, *wrong, *["plain"] * 50))
    assert (told is not None) == found


KINDS: dict[str, tuple[Any, list[Any]]] = {
    "text": (pl.String(), ["a", "", "a", "=1"]), "int": (pl.Int64(), [2**62, 0, 2**62, -1]),
    "decimal": (pl.Decimal(9, 2), [Decimal("1.50"), None, Decimal("1.50"), Decimal(1)]),
    "float": (pl.Float64(), [0.1, float("nan"), 0.1, float("inf")]),
    "bool": (pl.Boolean(), [True, False, True, False]),
    "raw": (pl.Binary(), [b"\xff", b"", b"\xff", b"a"]),
    "day": (pl.Date(), [dt.date(1970, 1, 9), dt.date(1, 1, 1), dt.date(1970, 1, 9), None]),
    "at": (pl.Time(), [dt.time(1), dt.time(0), dt.time(1), None]),
    "utc": (pl.Datetime("us", "UTC"), [dt.datetime(2026, 1, 9, 1, 2, 3, 4, dt.UTC), None] * 2),
    "span": (pl.Duration("us"), [dt.timedelta(1), dt.timedelta(0), dt.timedelta(1), None]),
    "nothing": (pl.String(), [None] * 4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_equal_where_values_are(kind: str) -> None:
    dtype, given = KINDS[kind]
    series = pl.Series("x", given, dtype=dtype)
    one, other = (
        masking.mask(series.to_frame(), ["x"], key * 32)["x"].to_list() for key in (b"a", b"b")
    )
    for n, m in itertools.product(range(4), repeat=2):
        assert (one[n] == one[m]) == (str(given[n]) == str(given[m])), (n, m)
    assert [token is None for token in one] == [value is None for value in given]
    assert all(re.fullmatch("masked-[0-9a-f]{16}", token) for token in one if token is not None)
    assert not ({*one} & {*other}) - {None}


@pytest.fixture
def reader(admin: psycopg.Connection, schema: str, project: Path) -> Iterator[str]:
    """A source whose account may read some tables only."""
    role = f"{schema}_reader"
    admin.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role};")
    admin.execute(f"GRANT SELECT ON persons, empty TO {role}")
    url = embedded.connection_url().set(username=role).render_as_string()
    (project / "workbench.toml").write_text(f'[sources.reader]\nurl = "{url}"\nschema = "{schema}"')
    yield "reader"
    admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_what_the_account_may_not_read_is_told(reader: str, schema: str, project: Path) -> None:
    done = command("extract", reader, "--out", "all")
    assert (done.returncode, done.stderr) == (0, "")
    assert "closed" not in done.stdout
    read_me = (project / "all" / "README.txt").read_text()
    assert f'because this account may not read them\n\n  {schema}."../up"\n' in read_me or (
        f"{schema}." in read_me.split("may not read them")[1]
    )
    assert len(list((project / "all").glob("*_schema.json"))) == 2
    done = command("extract", reader, "wide", "empty", "--out", "some")
    assert done.returncode == 3
    assert done.stderr == (
        f"error: {schema}.wide was not read: The account has no right to do this (42501).\n"
    )
    assert [path.name for path in (project / "some").glob("*_schema.json")] == [
        f"{schema}.empty_schema.json"
    ]
    info = content(project / "some", "database_info.json")
    assert (list(info["failed"]), info["complete"]) == ([f"{schema}.wide"], False)
    done = command("extract", reader, "--list-tables", "--json")
    listed = {entry["table"]: entry["readable"] for entry in json.loads(done.stdout)}
    assert [name for name, readable in listed.items() if readable] == ["empty", "persons"]
    done = command("extract", reader, "--list-tables")
    assert re.search(rf"^{schema}.wide  +table, closed +\? *$", done.stdout, re.MULTILINE), (
        done.stdout
    )


@pytest.fixture
def pair(admin: psycopg.Connection) -> Iterator[None]:
    made = "CREATE TABLE {0} (n int); INSERT INTO {0} VALUES (1)"
    admin.execute("; ".join(made.format(name) for name in ("pair_a", "pair_b", "pair_c")))
    yield
    admin.execute("DROP TABLE IF EXISTS pair_a, pair_b, pair_c CASCADE")


def extract_while(
    schema: str, before: str, nth: int, work: Callable[[int], object], **options: Any
) -> samples.Samples:
    """Extract three tables; before the `nth` statement that begins so, another session works."""
    seen = []

    def listen(_connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(before):
            seen.append(statement)
            if len(seen) == nth:
                work(cursor.connection.info.backend_pid)

    with connect("demo") as db:
        sa.event.listen(db.engine, "before_cursor_execute", listen)
        names = [f"{schema}.pair_{letter}" for letter in "abc"]
        return samples.extract_samples(db, names, **options)


@pytest.mark.usefixtures("pair")
def test_a_table_dropped_meanwhile_does_not_cost_the_others(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    def drop(_: int) -> None:
        admin.execute("DROP TABLE pair_b")

    done = extract_while(schema, "SET TRANSACTION ISOLATION", 1, drop, out="x")
    [failed] = done.failed
    assert failed.name == f"{schema}.pair_b"
    assert failed.problem is not None
    assert failed.problem.endswith("no table or view of this name where the server looks (42P01).")
    assert f"\n  {failed.name}: {failed.problem}\n" in (project / "x/README.txt").read_text()
    before = files(project / "x")
    admin.execute("CREATE TABLE pair_b AS SELECT 7 AS n")
    done = samples.extract_samples("demo", [sample.name for sample in done.tables], out="x")
    assert not done.failed
    assert content(project / "x", "*pair_b_sample_*.json") == [{"n": 7}]
    after = files(project / "x")
    assert all(after[name] == raw for name, raw in before.items() if "pair_" in name)


@pytest.mark.usefixtures("pair")
def test_all_tables_are_of_one_state(admin: psycopg.Connection, schema: str, project: Path) -> None:
    def write(_: int) -> None:
        admin.execute("BEGIN; UPDATE pair_a SET n = 2; UPDATE pair_b SET n = 2; COMMIT")

    done = extract_while(schema, "SAVEPOINT", 2, write, out="x")
    assert [done.first_rows(sample).rows() for sample in done.tables] == [[(1,)]] * 3
    done = samples.extract_samples("demo", [f"{schema}.pair_b"], out="y")
    assert done.first_rows(done.tables[0]).rows() == [(2,)]


@pytest.mark.usefixtures("pair")
def test_a_server_that_goes_away_leaves_whole_files(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    def end(session: int) -> None:
        admin.execute(f"SELECT pg_terminate_backend({session}, 5000)")

    with pytest.raises(ConnectionFailed, match="was lost"):
        extract_while(schema, "SAVEPOINT", 2, end, out="x")
    before = files(project / "x")
    assert not any("partial" in name for name in before)
    names = [f"{schema}.pair_{letter}" for letter in "abc"]
    assert not samples.extract_samples("demo", names, out="x").failed
    after = files(project / "x")
    assert len([name for name in before if "pair_" in name]) == 3
    assert all(after[name] == raw for name, raw in before.items() if "pair_" in name)


@pytest.mark.usefixtures("pair")
def test_a_value_that_nothing_holds_fails_its_table_only(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    admin.execute("DROP TABLE pair_a; CREATE TABLE pair_a AS SELECT date 'infinity' AS n")
    admin.execute(
        "DROP TABLE pair_b; CREATE VIEW pair_b AS SELECT CAST(full_name AS int) FROM persons"
    )
    try:
        names = [f"{schema}.pair_{letter}" for letter in "abc"]
        done = command("extract", "demo", *names, "--out", "x")
    finally:
        admin.execute("DROP VIEW pair_b")
    assert done.returncode == 3
    assert f"{schema}.pair_a was not read: Column 'n' holds a value of type date" in done.stderr
    assert f"{schema}.pair_b was not read: A text cannot be read as the type" in done.stderr
    assert content(project / "x", "*pair_c_sample_*.json") == [{"n": 1}]
    assert not any(b"Byron" in raw for raw in files(project / "x").values())


def test_the_same_request_finds_it_done_and_another_is_refused(
    admin: Any, schema: str, project: Path
) -> None:
    words = ("extract", "demo", f"{schema}.persons", "--out", "x")
    assert command(*words).returncode == 0
    before = files(project / "x")
    assert command(*words).returncode == 0
    assert files(project / "x") == before
    done = command(*words, "--rows", "2")
    assert done.returncode == 2
    assert done.stderr.startswith("error: x holds samples of another request: other rows.")
    assert files(project / "x") == before
    mine = {"mine.txt", "my_customer_schema.json", "my_sample_of_notes.csv", ".c.csv.x.partial"}
    for name in mine:
        (project / "x" / name).write_text(name)
    left = project / "x" / ".README.txt.abcd1234.partial"  # by a process that was killed
    left.mkdir()
    done = command(*words, "--rows", "2", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert len(content(project / "x", "*persons_sample_*.json")) == 2
    assert not left.exists()
    for name in mine:
        assert (project / "x" / name).read_text() == name
    assert len(files(project / "x")) == 6 + len(mine)
    one(project / "x", "*persons_sample_*.csv").unlink()
    done = command(*words, "--rows", "2")
    assert done.returncode == 2
    assert "The key of the tokens in x is gone" in done.stderr


@pytest.mark.parametrize("there", ["mine.txt", "database_info.json"])
def test_a_folder_with_anything_else_in_it_is_left_alone(project: Path, there: str) -> None:
    (project / "x").mkdir()
    (project / "x" / there).write_text('{"mine": true}')
    growing = project / "x" / ".big.csv.abc.partial"
    growing.mkdir()
    for more in ((), ("--overwrite",)):
        done = command("extract", "demo", "marketpulse.dealers", "--out", "x", *more)
        assert done.returncode == 2
        assert done.stderr.startswith("error: x holds something else than samples.")
    growing.rmdir()  # it is still there
    assert files(project / "x") == {there: b'{"mine": true}'}
    done = command("extract", "demo", "marketpulse.dealers", "--out", f"x/{there}")
    assert (done.returncode, "is a file, not a folder" in done.stderr) == (2, True)
    done = command("extract", "demo", "marketpulse.dealers", "--out", "no/where")
    assert (done.returncode, "There is no folder no" in done.stderr) == (2, True)


def test_a_folder_from_somebody_else_leads_nowhere_else(
    admin: Any, schema: str, project: Path
) -> None:
    (project / "mine").write_text("m" * 32)
    assert command("extract", "demo", f"{schema}.persons", "--out", "x").returncode == 0
    place = project / "x" / "database_info.json"
    info, before = json.loads(place.read_text()), files(project / "x")
    far = [
        {"extract": str(project / "mine")}, {"extract": ".."}, {"started": "x/../y"},
        {"files": {"a": ["../mine"]}}, {"files": {"a": [""]}}, {"files": ["mine"]},
    ]  # fmt: skip
    for more in far:
        before[place.name] = json.dumps({**info, **more, "complete": False}).encode()
        place.write_bytes(before[place.name])
        done = command("extract", "demo", f"{schema}.persons", "--out", "x", "--overwrite")
        assert (done.returncode, "something else than samples" in done.stderr) == (2, True), more
        assert files(project / "x") == before
    assert (project / "mine").read_text() == "m" * 32


def test_a_folder_is_of_one_database(admin: psycopg.Connection, schema: str, project: Path) -> None:
    other = f"{schema}_other"
    admin.execute(f"DROP DATABASE IF EXISTS {other}")
    admin.execute(f"CREATE DATABASE {other}")
    url = embedded.connection_url()
    words = ("extract", "mix", f"{schema}.persons", f"{schema}.mixed", "--out", "x")
    admin.execute("CREATE TABLE mixed AS SELECT date 'infinity' AS n")

    def source(database: str | None) -> dict[str, str]:
        there = url.set(database=database).render_as_string()
        return {"WORKBENCH_SOURCES__MIX__URL": there}

    try:
        far = url.set(drivername="postgresql", database=other).render_as_string()
        with psycopg.connect(far, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.persons (id int)")
            connection.execute(f"CREATE TABLE {schema}.mixed (n int)")
        assert command(*words, **source(url.database)).returncode == 3
        before = files(project / "x")
        done = command(*words, **source(other))
        assert done.returncode == 2
        assert "x holds samples of another request: other database." in done.stderr
        assert files(project / "x") == before
        # The same database under another address is the same.
        admin.execute("UPDATE mixed SET n = '2026-01-09'")
        again = {"WORKBENCH_SOURCES__MIX__URL": source(url.database)[
            "WORKBENCH_SOURCES__MIX__URL"] + "&application_name=x"}  # fmt: skip
        done = command(*words, **again)
        assert done.returncode == 0, done.stderr
    finally:
        admin.execute("DROP TABLE mixed")
        admin.execute(f"DROP DATABASE {other}")


def test_a_column_tied_to_a_marked_one_is_masked_without_its_table(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    far = f"{schema}_far"
    admin.execute(
        f"CREATE SCHEMA {far}; CREATE TABLE {far}.people (login text PRIMARY KEY, e_mail text"
        f" UNIQUE); COMMENT ON COLUMN {far}.people.login IS 'PII: surname and initial';"
        f"CREATE TABLE {far}.logins (login text PRIMARY KEY REFERENCES {far}.people);"
        f"INSERT INTO {far}.people VALUES ('doej'); INSERT INTO {far}.logins VALUES ('doej');"
        f"CREATE TABLE visits (login text REFERENCES {far}.logins);"
        "INSERT INTO visits VALUES ('doej')"
    )
    try:
        done = command("extract", "demo", f"{schema}.visits", f"{far}.logins", "--out", "near")
        assert done.returncode == 0, done.stderr
        done = command("extract", "demo", f"{schema}.visits", "--out", "alone")
        assert done.returncode == 0, done.stderr
    finally:
        admin.execute(f"DROP TABLE visits; DROP SCHEMA {far} CASCADE")
    for folder in ("near", "alone"):
        assert not any(b"doej" in raw for raw in files(project / folder).values())
    listed = content(project / "alone", "accessible_tables.json")
    assert {entry["schema"] for entry in listed} == {schema}


@pytest.mark.parametrize(
    "name",
    "phone1 phone_home home_phone_2 mobile_2 telephone_nr first_name1 full_name_2 name_first "
    "last_name_kana street_name street1 street_no addr addr1 ssn_no ssn4 passport_nr passport_id "
    "tax_number_2 dob1 birth_dt password_hash pwd_hash secret_key ip_v4 ipv4 iban_no homePhone2 "
    "birthdate address_line_2 date_of_birth social_security_number national_id".split(),
)
def test_a_personal_word_counts_wherever_it_stands(name: str) -> None:
    [why] = masking.declared(
        [("s", Table("t", columns=(Column(name, "text", "text"),)))], ()
    ).values()
    assert why.endswith("by its name")


@pytest.mark.parametrize("name", "name rate company ship_date trip zip tokenizer panel".split())
def test_a_word_that_only_holds_a_personal_one_does_not(name: str) -> None:
    assert not masking.declared([("s", Table("t", columns=(Column(name, "text", "text"),)))], ())


def test_keys_do_not_outlive_what_they_are_for(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    def key(folder: str) -> Path:
        place = Path(os.environ["WORKBENCH_CACHE"]) / "extracts"
        return place / content(project / folder, "database_info.json")["extract"]

    admin.execute("CREATE TABLE never AS SELECT date 'infinity' AS n")
    tables = (f"{schema}.persons", f"{schema}.never")
    try:
        assert command("extract", "demo", *tables, "--out", "x").returncode == 3
        said = " ".join((project / "x" / "README.txt").read_text("utf-8").split())
        assert "whoever made this keeps the key with which tokens could be traced" in said
        first = key("x")
        assert command("extract", "demo", *tables, "--out", "x", "--overwrite").returncode == 3
        second = key("x")
        assert (first.exists(), second.exists()) == (False, True)
        assert second.stat().st_mode & 0o777 == 0o600
        for days, kept in ((6, True), (8, False)):
            then = time.time() - days * 24 * 3600
            os.utime(second, (then, then))
            done = command("extract", "demo", tables[0], "--out", f"y{days}")
            assert (done.returncode, second.exists()) == (0, kept)
        assert "keeps the key" not in (project / "y6" / "README.txt").read_text("utf-8")
        done = command("extract", "demo", *tables, "--out", "x")
        assert (done.returncode, "The key of the tokens in x is gone" in done.stderr) == (2, True)
    finally:
        admin.execute("DROP TABLE never")


def test_a_complete_folder_stays_as_it_is_when_a_table_comes(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    grown = f"{schema}_grown"
    admin.execute(f"CREATE SCHEMA {grown}; CREATE TABLE {grown}.a AS SELECT 1 AS n")
    words = ("extract", "demo", "--schema", grown, "--out", "x")
    try:
        assert command(*words).returncode == 0
        before = files(project / "x")
        admin.execute(f'CREATE TABLE {grown}.b (n int); CREATE TABLE {grown}."A" (n int)')
        done = command(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [f"{grown}.a: 1 row, 1 column", "x: samples of 1 table"]
        assert files(project / "x") == before
    finally:
        admin.execute(f"DROP SCHEMA {grown} CASCADE")


@pytest.mark.usefixtures("pair")
def test_odd_types_do_not_cost_a_table(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    admin.execute(
        "CREATE DOMAIN long_number AS numeric; CREATE DOMAIN money_like AS numeric(9, 2);"
        'DROP TABLE pair_a; CREATE TABLE pair_a (d long_number, m money_like, k "char");'
        f"INSERT INTO pair_a VALUES ({'9' * 40}.5, 1.50, 'x'); DROP TABLE pair_b;"
        "CREATE TABLE pair_b (); INSERT INTO pair_b DEFAULT VALUES"
    )
    try:
        done = command("extract", "demo", f"{schema}.pair_a", f"{schema}.pair_b", "--out", "x")
    finally:
        admin.execute("DROP TABLE pair_a; DROP DOMAIN long_number, money_like")
    assert done.returncode == 0, done.stderr
    assert content(project / "x", "*pair_a_sample_*.json") == [
        {"d": "9" * 40 + ".5", "m": "1.50", "k": "x"}
    ]
    assert content(project / "x", "*pair_b_sample_*.json") == []
    assert one(project / "x", "*pair_b_sample_*.csv").read_bytes() == b""


@pytest.mark.usefixtures("pair")
def test_a_personal_default_is_not_told(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    admin.execute(
        "DROP TABLE pair_a; CREATE TABLE pair_a (contact text DEFAULT 'jane.roe@example.com', tel"
        f"ex text DEFAULT '{IBAN}', plain text DEFAULT 'open')"
    )
    assert command("extract", "demo", f"{schema}.pair_a", "--out", "x").returncode == 0
    assert not any(b"jane.roe" in x or IBAN.encode() in x for x in files(project / "x").values())
    told = content(project / "x", "*_schema.json")["columns"]
    assert [column["default"] for column in told] == ["masked", "masked", "'open'::text"]


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("damage", ["{}", "", '{"sample": {"masked": 1}}', "[1]"])
def test_a_damaged_folder_is_told_in_a_sentence(schema: str, project: Path, damage: str) -> None:
    words = ("extract", "demo", f"{schema}.pair_a", "--unmasked", "--out", "x")
    assert command(*words).returncode == 0
    structure = one(project / "x", "*_schema.json")
    whole = structure.read_text()
    structure.write_text(damage)
    assert command(*words).returncode == 0  # written anew
    assert json.loads(structure.read_text())["columns"] == json.loads(whole)["columns"]
    (project / "x" / "database_info.json").write_text(damage)
    done = command(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: x holds something else than samples.")


def test_a_schema_that_is_closed_closes_its_tables(
    admin: psycopg.Connection, reader: str, schema: str
) -> None:
    admin.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM {schema}_reader")
    done = command("extract", reader, "--list-tables", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert listed
    assert not [entry["table"] for entry in listed if entry["readable"]]


def test_names_cannot_add_lines_to_what_people_read(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    admin.execute('CREATE TABLE "a\n\nMasked\n\n  all \x1b[2J" (full_name text)')
    try:
        with connect("demo") as db:
            [odd] = [x for x in accessible.list_tables(db, [schema]) if "Masked" in x.name]
            done = samples.extract_samples(db, [odd.name], out="x")
        told = command("extract", "demo", odd.name, "--out", "x", "--overwrite")
    finally:
        admin.execute('DROP TABLE "a\n\nMasked\n\n  all \x1b[2J"')
    text = (project / "x" / "README.txt").read_text("utf-8")
    assert "\x1b" not in text
    assert text.count("\nMasked\n") == 1
    assert f"\n  {schema}.a Masked all: 0 rows, 1 column; " in text
    assert told.stdout.splitlines()[0] == f"{schema}.a Masked all: 0 rows, 1 column, 1 masked"
    assert done.tables[0].name == odd.name


@pytest.mark.parametrize(
    ("words", "says"),
    [("t", "does not say where"), ("t -o x.csv --out y", "-o does not go with --out"),
     ("t -o x.csv --rows 5", "-o does not go with --rows"), ("--out x -p a 1", "--out does not go"),
     ("t -o x.csv --unmasked", "--unmasked"), ("t --list-tables", "TABLE"), ("-o x.csv", "not 0"),
     ("a b -o x.csv", "one table or statement, not 2"), ("--list-tables --out x", "--out"),
     ("--out x --rows 0", "1 to 100,000 rows, not 0"), ("--out x --rows 100001", "not 100,001"),
     ("--out x --mask a --unmasked", "nothing is to be masked"), ("t -o x.csv --mask a", "--mask"),
     ("--out x SELECT", "this is a statement")],
)  # fmt: skip
def test_a_contradiction_is_one_sentence(project: Path, words: str, says: str) -> None:
    given = [word.replace("SELECT", "SELECT 1") for word in words.split()]
    done = command("extract", "demo", *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr.splitlines()[0]
    assert list(project.iterdir()) == []


def test_a_table_that_is_not_there_is_told_with_the_nearest(project: Path) -> None:
    done = command("extract", "demo", "marketpulse.dealer", "--out", "x")
    assert done.returncode == 1
    assert "Did you mean 'dealers'?" in done.stderr
    assert list(project.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_leaves_whole_files_and_can_be_completed(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    made = "CREATE TABLE full_{} AS SELECT n, md5(n::text) AS t FROM generate_series(1, {}) n"
    admin.execute("; ".join(made.format(*each) for each in (("a", 9), ("b", 20_000))))
    words = [f"{schema}.full_a", f"{schema}.full_b", "--rows", "20000", "--out", "disk/x"]
    (project / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "disk"]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        done = subprocess.run([*WORDS, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "full_b_sample_" in done.stderr
        assert "No space left on device" in done.stderr
        folder = project / "disk" / "x"
        before = files(folder)
        assert not any("full_b" in name or "partial" in name for name in before)
        assert len([name for name in before if "full_a" in name]) == 3
        subprocess.run(["mount", "-o", "remount,size=8m", "disk"], check=True)
        done = command("extract", "demo", *words)
        assert done.returncode == 0, done.stderr
        after = files(folder)
        assert len([name for name in after if "full_b" in name]) == 3
        assert all(after[name] == raw for name, raw in before.items() if "full_a" in name)
        assert content(folder, "database_info.json")["one_state"] is False
    finally:
        subprocess.run(["umount", "--lazy", "disk"], check=True)


def test_ctrl_c_leaves_whole_files_and_can_be_completed(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    endless = "SELECT count(*) AS n FROM generate_series(1, 99999) a, generate_series(1, 99999) b"
    admin.execute(f"CREATE VIEW slow AS {endless}")
    words = [f"{schema}.persons", f"{schema}.slow", "--out", "x"]
    terminal, far = pty.openpty()
    process = subprocess.Popen(
        [*WORDS, *words], stderr=far, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    )
    while not list(project.glob("x/*persons_schema.json")):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    os.close(far)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "of 2 tables" in shown  # the progress
    assert shown.endswith("cancelled\r\n")
    assert process.returncode == 130
    before = files(project / "x")
    assert not any("slow" in name or "partial" in name for name in before)
    admin.execute("CREATE OR REPLACE VIEW slow AS SELECT email, 1::bigint AS n FROM persons"
                          .replace("email, 1::bigint AS n", "1::bigint AS n, email"))  # fmt: skip
    done = command("extract", "demo", *words)
    assert done.returncode == 0, done.stderr
    after = files(project / "x")
    assert all(after[name] == raw for name, raw in before.items() if "persons" in name)
    known = {row["email"] for row in content(project / "x", "*persons_sample_*.json")}
    assert {row["email"] for row in content(project / "x", "*slow_sample_*.json")} == known


PAGES = [(ROOT / "docs" / name).read_text("utf-8") for name in ("extract.md", "quickstart.md")]
WAY = re.compile(r"^(?:\.venv/bin/)?workbench (extract demo .*(?:--out|--list).*)$", re.MULTILINE)
SHOWN = [shown for page in PAGES for shown in WAY.findall(page)]


@pytest.mark.parametrize("shown", dict.fromkeys(SHOWN))
def test_what_the_pages_show_works(project: Path, shown: str) -> None:
    done = command(*shown.split())
    assert done.returncode == 0, done.stderr
    assert "marketpulse.dealers" in done.stdout


@pytest.mark.oracle
def test_oracle_is_sampled_too(
    oracle: Oracle, oracle_source: Callable[..., str], project: Path
) -> None:
    made = "CREATE TABLE people (id NUMBER(9) PRIMARY KEY, email VARCHAR2(40), paid NUMBER(12, 2))"
    with connect(oracle_source("read_only = false")) as db:
        drop_everything(db)
        with db.engine.begin() as connection:
            connection.exec_driver_sql(made)
            insert = "INSERT INTO people VALUES (:1, :2, :3)"
            connection.exec_driver_sql(insert, (2, "a@firm.example", Decimal("1.25")))
            connection.exec_driver_sql(insert, (1, None, None))
    user = oracle.username.lower()
    done = command("extract", oracle_source(), f"{user}.people", "--rows", "1", "--out", "x")
    assert done.returncode == 0, done.stderr
    assert content(project / "x", "*_sample_*.json") == [{"id": 1, "email": None, "paid": None}]
    done = command("extract", oracle_source("read_only = false"), f"{user}.people", "--out", "y")
    assert done.returncode == 0, done.stderr
    rows = content(project / "y", "*_sample_*.json")
    assert [row["paid"] for row in rows] == [None, Decimal("1.25")]
    assert rows[1]["email"].startswith("masked-")
    assert content(project / "y", "database_info.json")["server"] == "Oracle"


def test_the_notebook_shows_what_it_hands_on(admin: Any, schema: str, project: Path) -> None:
    tables = f"[{schema}.persons, {schema}.gone_x, '{schema}.a/loans']"
    words = ("-p", "tables", tables, "-p", "mask", "[rate]", "--output", "reports")
    notebook = str(ROOT / "notebooks" / "extract_samples.ipynb")
    admin.execute("CREATE TABLE gone_x (at date); INSERT INTO gone_x VALUES ('infinity')")
    done = command("run", notebook, *words)
    admin.execute("DROP TABLE gone_x")
    assert done.returncode == 0, done.stderr
    [folder] = runs_in(project / "reports" / "extract_samples")
    told = json.loads((folder / "run.json").read_text("utf-8"))
    assert told["status"] == "warned"
    assert {figure["name"]: figure["value"] for figure in told["figures"]} == {
        "tables": 2, "rows": 6, "masked columns": 11,
    }  # fmt: skip
    assert f"{schema}.gone_x was not read: Column 'at' holds a value" in str(told["warnings"])
    page = (folder / "report.html").read_text("utf-8")
    assert "tied by a foreign key to" in page
    assert "masked-" in page
    for path in (folder / "report.html", folder / "notebook.ipynb", *(folder / "data").glob("*/*")):
        shown = without_chance(path.read_text("utf-8"))
        for value in HIDDEN:
            assert value not in shown, (path.name, value)
    assert len(list((folder / "data" / "extract").glob("*_schema.json"))) == 2


def test_the_notebook_takes_any_tables_and_says_that_none_could_be_read(
    admin: psycopg.Connection, schema: str, project: Path
) -> None:
    admin.execute("CREATE TABLE gone_y AS SELECT date 'infinity' AS at")
    words = ("-p", "tables", f"[{schema}.gone_y]", "-p", "unmasked", "true", "--output", "reports")
    done = command("run", str(ROOT / "notebooks" / "extract_samples.ipynb"), *words)
    admin.execute("DROP TABLE gone_y")
    assert done.returncode == 0, done.stderr
    [folder] = runs_in(project / "reports" / "extract_samples")
    told = json.loads((folder / "run.json").read_text("utf-8"))
    assert (told["status"], len(told["warnings"])) == ("warned", 2)
    assert "No table could be read." in (folder / "report.html").read_text("utf-8")
