"""Nothing that an analyst passes is pasted into SQL: the servers' own logs show it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import feeds
import polars as pl
import psycopg
import pytest
import sampled
import sqlalchemy as sa
import standin
from standin import Oracle

from workbench import run_colors
from workbench.database import Database, connect
from workbench.errors import WorkbenchError

MARK = "zq9x"  # in every hostile text, and nowhere else
HOSTILE = [
    f"{MARK}'; DROP TABLE colors; --",
    f'{MARK}" OR 1=1 --',
    f"{MARK}') UNION SELECT 1 FROM colors --",
    f"{MARK}\N{RIGHT SINGLE QUOTATION MARK}; DROP TABLE colors\N{FULLWIDTH APOSTROPHE}",
    f"{MARK}\\'; DROP TABLE colors; --",
    f"{MARK}\\",
    f"{MARK}\0'; DROP TABLE colors",
    f"{MARK}'" * 2500,
    f":{MARK} ::{MARK} :1",
    f"%s %({MARK})s %% {MARK}",
    f"$1 ${MARK}$ ; {MARK}",
    f"{MARK}/*",
    f"{MARK}\n; DROP TABLE colors",
]
NAMES = [HOSTILE[number].replace(" ", "_") for number in range(len(HOSTILE))]
each = pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
each_name = pytest.mark.parametrize("text", NAMES, ids=range(len(NAMES)))
pytestmark = pytest.mark.oracle

ROWS = feeds.feed(20)
FEED = ("MESSAGE_ID", "CUSIP", "SECTOR", "PX", "RANK", "DATE_1")


def unquoted(log: str) -> str:
    """Every statement of PostgreSQL's log, without literals, quoted names, binds and answers."""
    entries = re.split(r"^(?=\d+\|)", log, flags=re.MULTILINE)
    told = re.compile(r"\d+\|(?:LOG:  (?:statement|execute [^:]*)|STATEMENT): (.*)", re.DOTALL)
    statements = [found[1] for entry in entries if (found := told.match(entry))]
    assert statements
    literal = r"""\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*\""""
    return "\n".join(re.sub(literal, "''", text, flags=re.DOTALL) for text in statements)


@pytest.fixture(scope="module")
def databases(
    oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Database]]:
    """A writable Oracle and the PostgreSQL below it, each with the table `colors`."""
    folder = tmp_path_factory.mktemp("a project")
    if oracle.real:
        pytest.skip("what reaches the server is read from the stand-in's log")
    with psycopg.connect(oracle.postgresql, autocommit=True) as under:
        under.execute("CREATE SCHEMA IF NOT EXISTS hostile")
    url = oracle.postgresql.replace("postgresql:", "postgresql+psycopg:")
    lines = ["[sources.postgresql]", f'url = "{url}"', "read_only = false", 'schema = "hostile"']
    with (
        sampled.owner(oracle, folder, "victim") as own,
        sampled.project(folder, own, *lines),
        connect("oracle") as first,
        connect("postgresql") as second,
    ):
        opened = {"oracle": first, "postgresql": second}
        for db in opened.values():
            store(db, "colors")
        yield opened


def store(db: Database, name: str, *others: str) -> sa.Table:
    """Make a feed with further text columns; each holds its own name."""
    kinds = dict.fromkeys(FEED, sa.BigInteger()) | {"PX": sa.Numeric(12, 4), "DATE_1": sa.Date()}
    kinds |= {"CUSIP": sa.String(12), "SECTOR": sa.String(20)}
    columns = [sa.Column(key.lower(), kind, key=key) for key, kind in kinds.items()]
    columns += [sa.Column(other, sa.String(200), key=other) for other in others]
    schema = "hostile" if db.name == "postgresql" else None
    table = sa.Table(name, sa.MetaData(), *columns, schema=schema)
    rows = [{key: row[key] for key in FEED} | {other: other for other in others} for row in ROWS]
    with db.engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        # Hostile names cannot be binds' names, which are the drivers' own.
        binds = {column.key: sa.bindparam(f"b{n}") for n, column in enumerate(table.columns)}
        values = [{f"b{n}": row[key] for n, key in enumerate(binds)} for row in rows]
        connection.execute(table.insert().values(binds), values)
    return table


@pytest.fixture(params=["oracle", "postgresql"])
def db(request: pytest.FixtureRequest, databases: dict[str, Database]) -> Database:
    return databases[request.param]


@pytest.fixture
def guarded(oracle: Oracle, db: Database) -> Iterator[None]:
    """Afterwards no statement held the mark outside of quotes, and the table is what it was."""
    said = standin.statements(oracle)
    yield
    assert db.read("SELECT COUNT(*) AS n FROM " + place(db)).item() == len(ROWS)
    assert MARK not in unquoted(said()).lower()


def place(db: Database) -> str:
    return "hostile.colors" if db.name == "postgresql" else "colors"


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(WorkbenchError) as caught:
        work()
    assert "\n" not in caught.value.message.replace(HOSTILE[-1], "").replace(NAMES[-1], "")
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_what_is_pasted_would_be_seen(oracle: Oracle, db: Database) -> None:
    said = standin.statements(oracle)
    pasted = f"SELECT 'a''b' AS {MARK}{' FROM DUAL' if db.name == 'oracle' else ''}"
    assert db.read(pasted).item() == "a'b"
    assert MARK in unquoted(said()).lower()


@each
def test_a_sector(db: Database, guarded: None, text: str) -> None:
    refused(lambda: run_colors(place(db), source=db, sector=text))


@each
def test_a_bind(db: Database, guarded: None, text: str) -> None:
    statement = f"SELECT sector FROM {place(db)} WHERE sector = :x OR cusip = :x"
    if "\0" in text:  # PostgreSQL has none, and neither has the stand-in
        refused(lambda: db.read(statement, x=text))
        return
    assert db.read(statement, x=text).is_empty()
    if len(text) < 2000:
        dual = " FROM DUAL" if db.name == "oracle" else ""
        assert db.read(f"SELECT CAST(:x AS VARCHAR(2000)) AS echo{dual}", x=text).item() == text


@each_name
def test_a_table(db: Database, guarded: None, text: str) -> None:
    for name in (text, f"{text}.colors", f"colors.{text}", f'"{text}"'):
        refused(lambda name=name: db.table(name))
        refused(lambda name=name: run_colors(name, source=db))
        refused(lambda name=name: db.extract(name, Path("never.csv")))
    assert not Path("never.csv").exists()


@each
def test_a_schema(db: Database, guarded: None, text: str) -> None:
    source = db.source.model_copy(update={"schema_": text})
    refused(lambda: Database(db.name, source, db.engine).table("colors"))


@each
def test_an_order(db: Database, guarded: None, text: str) -> None:
    for order in ([text], [f"rank {text}"], ["rank asc", f"price asc, {text}"]):
        refused(lambda order=order: run_colors(place(db), source=db, order=order))


@each
def test_a_row(db: Database, guarded: None, text: str) -> None:
    table = place(db)
    statement = f"INSERT INTO {table} (sector) SELECT sector FROM {table} WHERE sector = :x"
    if "\0" in text:
        assert MARK not in refused(lambda: db.execute_many(statement, [{"x": text}]))
    else:
        assert db.execute_many(statement, [{"x": text}]) == 1


IDENTIFIERS = [
    "DATE", "ORDER", "LEVEL", "order", "Mixed Case", "with space", "100%", "%s", "a:b", ":x",
    "semi;colon", "--", "it's", "back\\slash", "(x)", "naïve", "*",
]  # fmt: skip
ONLY_POSTGRESQL = ['say "hi"', f'{MARK}"; DROP TABLE hostile.colors; --', "n" * 63]


def test_identifiers_of_any_kind(db: Database, tmp_path: Path) -> None:
    others = [name for name in IDENTIFIERS if name != "DATE"]  # a feed's own, and no text
    others += ONLY_POSTGRESQL if db.name == "postgresql" else []
    if db.name == "oracle":
        others.remove("order")  # the stand-in holds it for ORDER
    for name in ("Odd; TABLE", 'a "b"' if db.name == "postgresql" else "LEVEL"):
        store(db, name, *others)
        reflected = db.table(name)
        frame = db.read(sa.select(reflected))
        assert frame.height == len(ROWS)
        assert {*others} <= {*frame.columns}
        for other in others:
            assert frame[other].unique().to_list() == [other]
        ranked = run_colors(name, source=db).colors
        for other in others:
            assert ranked[other].unique().to_list() == [other]
        path = tmp_path / f"{db.name}.parquet"
        db.extract(reflected, path, overwrite=True)
        assert pl.read_parquet(path).equals(frame)


def test_identifiers_of_a_frame() -> None:
    others = [*IDENTIFIERS[1:], *ONLY_POSTGRESQL, *NAMES[:5], "n" * 200]
    unique = list({name.upper(): name for name in others}.values())
    frame = pl.DataFrame([{key: row[key] for key in FEED} for row in ROWS], strict=False)
    frame = frame.with_columns(pl.lit(name).alias(name) for name in unique)
    ranked = run_colors(frame).colors
    for name in unique:
        assert ranked[name].unique().to_list() == [name]
