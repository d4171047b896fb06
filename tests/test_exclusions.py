"""Exclusion rules: conditions mean the same in every database; a slip of the pen is told."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import naive_rules
import polars as pl
import pytest
import sampled
import sqlalchemy as sa
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_rules import KINDS, Row, Tree, is_met
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb
from standin import Oracle

from workbench import embedded
from workbench.conditions import OPERATORS, SPELLINGS, operator_of
from workbench.database import Database, connect
from workbench.dialects import DuckDBDialect
from workbench.engines import executor, from_file, in_memory
from workbench.errors import UsageError
from workbench.exclusions import Rule, RuleFile, condition, read_rules, sentence

Ask = Callable[[list[Row], list[Tree]], list[list[bool]]]
TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "TICKER": sa.String(60), "BIAS": sa.String(60), "CODE": sa.String(60),
    "WHEN_TEXT": sa.String(60), "PX": sa.Numeric(28, 10), "RANK": sa.BigInteger(),
    "SPREAD": sa.Double(), "DATE_1": sa.TIMESTAMP(), "ISSUED": sa.Date(), "LIVE": sa.Boolean(),
}  # fmt: skip
FRAME = {
    **dict.fromkeys(("TICKER", "BIAS", "CODE", "WHEN_TEXT"), pl.String),
    "PX": pl.Decimal(28, 10), "RANK": pl.Int64, "SPREAD": pl.Float64,
    "DATE_1": pl.Datetime("us"), "ISSUED": pl.Date, "LIVE": pl.Boolean,
}  # fmt: skip
relaxed = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def rule(tree: Any, name: str = "a rule") -> Rule:
    return Rule(name=name, when=tree if isinstance(tree, list) or not is_leaf(tree) else [tree])


def is_leaf(tree: Tree) -> bool:
    return "column" in tree


def asking(relation: sa.FromClause, trees: list[Tree]) -> sa.Select[Any]:
    columns = {column.name.upper(): column for column in relation.c}
    asked = [
        sa.case((condition(rule(tree), columns), 1), else_=0).label(f"r{number}")
        for number, tree in enumerate(trees)
    ]
    return sa.select(*asked).order_by(columns["N"])


def answers(frame: pl.DataFrame) -> list[list[bool]]:
    return [[bool(value) for value in row] for row in frame.rows()]


def expected(rows: list[Row], trees: list[Tree]) -> list[list[bool]]:
    return [[is_met(tree, row, KINDS) for tree in trees] for row in rows]


def in_duckdb(rows: list[Row], trees: list[Tree]) -> list[list[bool]]:
    with in_memory() as connection:
        frame = pl.DataFrame(rows, schema=FRAME, orient="row").with_row_index("N")
        connection.register("feed", frame.to_arrow())
        columns = [sa.column(name, kind) for name, kind in TYPES.items()]
        table = sa.table("feed", sa.column("N", sa.Integer), *columns)
        return answers(executor(connection, "feed")(asking(table, trees)))


def stored(engine: sa.Engine, table: sa.Table, db: Database, name: str) -> Ask:
    """Ask a table of a database, described by what is reflected of it."""
    table.create(engine)
    reflected = db.table(name)

    def ask(rows: list[Row], trees: list[Tree]) -> list[list[bool]]:
        with engine.begin() as connection:
            connection.execute(table.delete())
            names = set(table.c.keys())
            numbered = [{**row, "n": n} for n, row in enumerate(rows)]
            connection.execute(
                table.insert(), [{k: v for k, v in row.items() if k in names} for row in numbered]
            )
        return answers(db.read_as("exact", asking(reflected, trees)))

    return ask


def table_of(columns: list[str], schema: str | None = None) -> sa.Table:
    held = [sa.Column(name.lower(), TYPES[name], key=name) for name in columns]
    return sa.Table("tried", sa.MetaData(), sa.Column("n", sa.Integer), *held, schema=schema)


@pytest.fixture(scope="module")
def in_postgresql(schema: str) -> Iterator[Ask]:
    engine = sa.create_engine(embedded.connection_url())
    with connect("demo") as db:
        yield stored(engine, table_of(list(TYPES), schema), db, f"{schema}.tried")
    engine.dispose()


ORACLE_COLUMNS = [name for name in TYPES if name != "LIVE"]  # 19c has no yes or no


@pytest.fixture(scope="module")
def in_oracle(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder = tmp_path_factory.mktemp("a project")
    with (
        sampled.owner(oracle, folder, "ruler") as own,
        sampled.project(folder, own),
        connect("oracle") as db,
    ):
        table = table_of(ORACLE_COLUMNS)
        try:
            yield stored(db.engine, table, db, "tried")
        finally:
            table.drop(db.engine)


lists = st.lists(naive_rules.trees(), min_size=10, max_size=30)


@settings(relaxed, max_examples=8)
@given(rows=naive_rules.rows(), trees=lists)
def test_rules_mean_in_duckdb_what_the_table_of_the_docs_says(rows, trees) -> None:
    assert in_duckdb(rows, trees) == expected(rows, trees)


@settings(relaxed, max_examples=8)
@given(rows=naive_rules.rows(min_size=15), trees=lists)
def test_rules_mean_the_same_in_postgresql(in_postgresql: Ask, rows, trees) -> None:
    assert in_postgresql(rows, trees) == expected(rows, trees)


@pytest.mark.oracle
@settings(relaxed, max_examples=4)
@given(
    rows=naive_rules.rows(min_size=15, floats=False),
    trees=st.lists(naive_rules.trees(ORACLE_COLUMNS), min_size=5, max_size=25),
)
def test_rules_mean_the_same_in_oracle(in_oracle: Ask, rows, trees) -> None:
    assert in_oracle(rows, trees) == expected(rows, trees)


LIMITS: dict[str, list[Any]] = {
    "DATE_1": [dt.date(2026, 1, 9), "2026-01-09 16:30", dt.datetime(2026, 1, 9)],
    "WHEN_TEXT": [dt.date(2026, 1, 9), dt.datetime(2026, 1, 9, 16, 30)],
    "CODE": [7, "7"],
    "TICKER": ["_", "AB"],
}


def test_every_comparison_holds_at_its_very_limits(in_postgresql: Ask) -> None:
    pools = {"DATE_1": naive_rules.TIMES, "WHEN_TEXT": naive_rules.MOMENTS}
    pools |= {"CODE": naive_rules.NUMBERS, "TICKER": naive_rules.HOSTILE}
    rows = [
        {**dict.fromkeys(KINDS), **{name: pool[n % len(pool)] for name, pool in pools.items()}}
        for n in range(max(map(len, pools.values())))
    ]
    comparisons = ("equal to", "not equal to", *naive_rules.ORDERED)
    trees = [
        {"column": name, "operator": operator, "value": value}
        for name, values in LIMITS.items()
        for operator in comparisons
        for value in values
    ]
    wanted = expected(rows, trees)
    assert in_duckdb(rows, trees) == wanted
    assert in_postgresql(rows, trees) == wanted


def blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_eight_rows_of_the_docs_meet_what_is_told(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    [feed] = blocks("csv")
    (tmp_path / "eight.csv").write_text(feed)
    told = re.findall(r"^\| `(\[.*\])` \| ([\d, ]*) \|$", text, re.MULTILINE)
    assert len(told) == 13
    file = {"rules": [{"name": when, "when": yaml.safe_load(when)} for when, _ in told]}
    (tmp_path / "told.yaml").write_text(yaml.safe_dump(file))
    opened = from_file(tmp_path / "eight.csv")
    columns = {column.name.upper(): column for column in opened.relation.c}
    for each, (when, numbers) in zip(read_rules([tmp_path / "told.yaml"]), told, strict=True):
        met = sa.select(columns["MESSAGE_ID"]).where(condition(each, columns))
        found = opened.execute(met.order_by("MESSAGE_ID"))["MESSAGE_ID"].to_list()
        assert ", ".join(map(str, found)) == numbers, when
        left = sa.select(columns["MESSAGE_ID"]).where(sa.not_(condition(each, columns)))
        assert opened.execute(left).height == 8 - len(found), when


def test_the_docs_list_every_spelling_of_an_operator() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    rows = text.split("| operator | also written |")[1].split("\n\n")[0].splitlines()[2:]
    told = {}
    for row in rows:
        [operator], others = (re.findall("`([^`]+)`", cell) for cell in row.split("|")[1:3])
        told[operator] = others
    assert list(told) == list(OPERATORS)
    for operator, others in told.items():
        assert {*others} == {name for name in SPELLINGS.get(operator, "").split("|") if name}
        assert {operator_of(name) for name in others} <= {operator}


def test_the_schema_of_the_docs_is_current_and_takes_what_the_docs_show() -> None:
    schema = json.loads((ROOT / "docs" / "rules.schema.json").read_text())
    assert schema == RuleFile.model_json_schema()
    check = jsonschema.Draft202012Validator(schema)
    shown = [yaml.safe_load(text) for text in blocks("yaml")]
    desk = json.loads(
        json.dumps(yaml.safe_load((ROOT / "params/rules/desk.yaml").read_text()), default=str)
    )
    for content in (*shown, desk):
        check.validate(content)
    slip = {"rules": [{"name": "x", "when": [{"column": "PX", "operater": "=", "value": 1}]}]}
    assert not check.is_valid(slip)


def nested(depth: int) -> Tree:
    tree: Tree = {"column": "RANK", "operator": "equal to", "value": 7}
    for level in range(depth):
        other = {"column": "PX", "operator": "less than", "value": level}
        tree = {("any", "all")[level % 2]: [other, tree]}
    return tree


MANY: list[Tree] = [
    nested(60),
    *({"column": "CODE", "operator": "equal to", "value": str(number)} for number in range(98)),
    {"column": "CODE", "operator": "in", "value": [*map(str, range(5000)), *range(8000, 8900)]},
]
FEW = [
    dict.fromkeys(KINDS) | {"CODE": code, "RANK": rank, "PX": Decimal(px)}
    for code, rank, px in (("4999", 7, 1), ("8001.0", 7, 59), ("7500", 6, 0), (" 97", 1, 100))
]


def test_deep_rules_long_lists_and_a_hundred_rules_run_in_duckdb() -> None:
    assert in_duckdb(FEW, MANY) == expected(FEW, MANY)


def test_deep_rules_long_lists_and_a_hundred_rules_run_in_postgresql(in_postgresql: Ask) -> None:
    assert in_postgresql(FEW, MANY) == expected(FEW, MANY)


@pytest.mark.oracle
def test_deep_rules_long_lists_and_a_hundred_rules_run_in_oracle(in_oracle: Ask) -> None:
    # The stand-in takes its time for long lists; more than a thousand is what matters.
    many = [*MANY[:-1], MANY[-1] | {"value": MANY[-1]["value"][3900:5100]}]
    assert in_oracle(FEW, many) == expected(FEW, many)


def test_the_statement_is_one_that_oracle_19c_can_parse() -> None:
    """Only texts are bound, no list is longer than a thousand, no boolean is selected."""
    columns = {name: sa.column(name, TYPES[name]) for name in ORACLE_COLUMNS}
    value = {"number": 7, "moment": dt.date(2026, 1, 9), "text": "7"}
    trees: list[Tree] = [
        {"column": name, "operator": operator, "value": value[KINDS[name]]}
        for name in ORACLE_COLUMNS
        for operator in ("equal to", "not equal to", "less than")
    ]
    trees += [{"column": "CODE", "operator": "equal to", "value": v} for v in value.values()]
    trees.append({"column": "CODE", "operator": "in", "value": list(map(str, range(2500)))})
    for tree in trees:
        met = sa.select(sa.literal_column("1")).where(condition(rule(tree), columns))
        made = met.compile(dialect=OracleDialect_oracledb())
        bound = [
            v for one in made.params.values() for v in (one if isinstance(one, list) else [one])
        ]
        assert {type(v) for v in bound} <= {str}
        assert (
            max([len(one) for one in made.params.values() if isinstance(one, list)] or [0]) <= 1000
        )
        assert not re.search(r"\b(TRUE|FALSE|BOOLEAN|LIMIT|FETCH)\b", str(made))


def test_a_day_that_does_not_exist_is_no_failure(in_postgresql: Ask) -> None:
    rows = [dict.fromkeys(KINDS) | {"WHEN_TEXT": text} for text in ("2026-02-30", "x")]
    tree = {"column": "WHEN_TEXT", "operator": "greater than", "value": dt.date(2026, 2, 28)}
    for ask in (in_duckdb, in_postgresql):
        assert ask(rows, [tree]) == [[True], [False]]


COLUMNS = {name: sa.column(name, kind) for name, kind in TYPES.items()} | {
    "NOTE": sa.column("NOTE", sa.CLOB()), "EXTRA": sa.column("EXTRA", sa.JSON())
}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "operator", "value", "says"),
    [
        ("PXX", "equal to", 1, "there is no column 'PXX'. Did you mean 'PX'?"),
        ("PX", "contains", 9, "PX is a number, which 'contains' is not for"),
        ("DATE_1", "starts with", "2026", "DATE_1 is a date, which 'starts with' is not for"),
        ("LIVE", "less than", True, "LIVE is true or false, which 'less than' is not for"),
        ("LIVE", "equal to", "maybe", "LIVE is true or false, and never 'maybe'"),
        ("NOTE", "equal to", "x", "NOTE is of a type"),
        ("EXTRA", "in", ["x"], "EXTRA is of a type"),
        ("PX", "equal to", "par", "PX is a number, and 'par' is not read as one"),
        ("PX", "less than", "1,000", "'1,000' is not read as one"),
        ("PX", "equal to", True, "True is not read as one"),
        ("PX", "equal to", float("nan"), "nan is not read as one"),
        ("PX", "equal to", 10**18, "is not read as one"),
        ("PX", "equal to", dt.date(2026, 1, 9), "is not read as one"),
        ("DATE_1", "equal to", 20260109, "DATE_1 is a date, and 20260109 is not read as one"),
        ("DATE_1", "equal to", "2026-02-30", "'2026-02-30' is not read as one"),
        ("DATE_1", "equal to", "9.1.2026", "'9.1.2026' is not read as one"),
        ("PX", "between", [10, 9], "PX is never between these two values"),
        ("CODE", "between", [1, "b"], "CODE is never between these two values"),
        ("CODE", "starts with", " x", "CODE never starts with a blank"),
        ("CODE", "ends with", "x\u00a0", "CODE never ends with a blank"),
    ],
)
def test_what_a_type_does_not_take_is_told_with_rule_and_column(
    column: str, operator: Any, value: Any, says: str
) -> None:
    made = rule({"column": column, "operator": operator, "value": value}, "my rule")
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        condition(made, COLUMNS)
    assert caught.value.message.startswith("rule 'my rule': ")
    with pytest.raises(UsageError, match=r"^preset us_clo: "):
        condition(made.when, COLUMNS, "preset us_clo")


@pytest.mark.parametrize("column", ["NOTE", "EXTRA", "LIVE", "SPREAD", "code"])
def test_any_column_can_be_asked_whether_it_is_missing(column: str) -> None:
    for operator in ("is null", "is not null"):
        made = condition(rule({"column": column, "operator": operator}), COLUMNS)
        assert "NULL" in str(made.compile(dialect=DuckDBDialect()))


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


ONE = "rules:\n  - name: cheap\n    when:\n      - {column: PX, operator: %s}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "mine.yaml holds no `name: value` lines"),
        ("- 1", "mine.yaml holds no `name: value` lines"),
        ("rules: []", "mine.yaml, line 1: 'rules' is empty"),
        ("ruless: []", "mine.yaml, line 1: "),
        ("rules:\n- name: a\n  wen: []\n", "mine.yaml, line 2, rule 'a': "),
        ("rules:\n- name: a\n  when: []\n", "mine.yaml, line 2, rule 'a': 'all' is empty"),
        ("rules:\n- name: a\n  when: [PX]\n", "rule 'a': a condition is {column:"),
        ("rules:\n- name: a\n  when: {any: []}\n", "line 3, rule 'a': 'any' is empty"),
        ("rules:\n- name: a\n  when: {any: [], all: []}\n", "rule 'a': "),
        ("rules:\n- name: a\n  name: b\n", "line 3, column 3: this cannot be read: the key"),
        ("rules: [}", "mine.yaml, line 1, column 9: this cannot be read"),
        (ONE % "lesser than, value: 1", "line 4, rule 'cheap', column 'PX': unknown operator"),
        (ONE % "lesser than, value: 1", "'lesser than'. Did you mean 'less than'? Known: equal to"),
        (ONE % "less than, valeu: 1", "column 'PX': unknown key 'valeu'. Did you mean 'value'?"),
        (ONE % "less than", "column 'PX': 'less than' takes one value"),
        (ONE % "less than, value: [1]", "'less than' takes one value"),
        (ONE % "less than, value: 1, value2: 2", "'less than' takes one value"),
        (ONE % "less than, value: {a: 1}", "is no text, number, day or yes/no"),
        (ONE % "equal to, value: ' '", "an empty text is no value; use the operator 'is null'"),
        (ONE % "in, value: []", "'in' takes a list of values"),
        (ONE % "in, value: 7", "'in' takes a list of values"),
        (ONE % "in, value: [7, null]", "'in' takes a list of values"),
        (ONE % "between, value: 7", "'between' takes two values"),
        (ONE % "is null, value: 7", "'is null' takes no value"),
        (ONE % ">=, value: 7", "line 4, column 32: this cannot be read"),
        ("rules: &a [*a]", "cannot be read"),
    ],
)  # fmt: skip
def test_a_slip_of_the_pen_is_told_with_line_rule_and_column(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_rules([write(tmp_path, text)])
    assert says in str(caught.value)
    assert str(tmp_path / "mine.yaml") in str(caught.value)


def test_two_rules_of_one_name_are_refused_in_one_file_and_in_two(tmp_path: Path) -> None:
    text = ONE % "is null"
    twice = write(tmp_path, text + text.split("\n", 1)[1])
    with pytest.raises(UsageError, match=r"two rules 'cheap' in .*mine.yaml"):
        read_rules([twice])
    pair = [write(tmp_path, text, name) for name in ("a.yaml", "b.yaml")]
    with pytest.raises(UsageError, match=r"two rules 'cheap' in .*a.yaml and .*b.yaml"):
        read_rules(pair)


def test_a_file_named_in_several_ways_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, ONE % "is null")
    (tmp_path / "link.yaml").symlink_to(path)
    other = write(tmp_path, (ONE % "is null").replace("cheap", "other"), "other.yaml")
    [first, second] = read_rules(["./mine.yaml", path, "./mine.yaml", "link.yaml", other])
    assert [first.name, second.name] == ["cheap", "other"]
    assert first.label == "mine.yaml, rule 'cheap'"


def test_too_deep_a_file_is_an_error_not_a_crash(tmp_path: Path) -> None:
    text = "rules: [{name: a, when: " + "{any: [" * 2000 + "]}" * 2000 + "}]"
    with pytest.raises(UsageError, match="nested too deep"):
        read_rules([write(tmp_path, text)])


def test_rules_are_found_by_name_in_the_folder_of_the_settings(project: Path) -> None:
    (project / "workbench.toml").write_text('rules = "mine"\n')
    (project / "mine").mkdir()
    write(project / "mine", ONE % "is null", "desk.yaml")
    assert [each.name for each in read_rules(["desk"])] == ["cheap"]
    with pytest.raises(UsageError, match=r"Unknown rules 'dsk'. Did you mean 'desk'\?"):
        read_rules(["dsk"])
    with pytest.raises(UsageError, match="Unknown rules"):
        read_rules(["mine/other.yaml"])


def test_values_are_what_they_look_like_and_numbers_exact(tmp_path: Path) -> None:
    values = [
        "037033100", "0o17", "0x1F", "10:30", "NO", "on", "1e5", "1_000", "true", "7", "-0.1",
        *(f"!!float '{text}'" for text in (".", "+", "-.", ".5")), "!!int '-'",
    ]  # fmt: skip
    text = ONE % f"in, value: [{', '.join(values)}, 2026-01-09, 2026-02-30]"
    [made] = read_rules([write(tmp_path, text)])
    [found] = made.when.all or ()
    assert list(found.values) == [
        *values[:8], True, 7, Decimal("-0.1"), ".", "+", "-.", Decimal("0.5"), "-",
        dt.date(2026, 1, 9), "2026-02-30",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("'>='", "greater than or equal to"), ("=", "equal to"), ("'!='", "not equal to"),
        ("<>", "not equal to"), ("Equal_To", "equal to"), ("IS-NOT-null", "is not null"),
        ("does not contain", "not contains"), ("'<'", "less than"), ("startsWith", "starts with"),
    ],
)  # fmt: skip
def test_operators_are_known_in_their_usual_spellings(
    tmp_path: Path, written: str, meant: str
) -> None:
    text = ONE % (written if "null" in written else f"{written}, value: 7")
    [made] = read_rules([write(tmp_path, text)])
    assert (made.when.all or ())[0].operator == meant


def test_a_rule_is_said_in_plain_english(tmp_path: Path) -> None:
    first, second = read_rules([write(tmp_path, blocks("yaml")[0])])
    assert sentence(first) == "BIAS is VALUATION and (PX is less than 10 or COV_PRICE is missing)"
    assert sentence(second) == 'TICKER starts with "WDMNT "'
    assert (first.active, second.active) == (True, False)
    many = rule({"column": "PX", "operator": "in", "value": list(range(1000))})
    assert sentence(many).endswith("8, 9 and 990 others")


OLD = {"type": "and", "column": "PX", "operator": "is_null", "value": ""}


def old_rule(*types: str, **more: Any) -> dict[str, Any]:
    conditions = [
        {"type": kind, "column": "PX", "operator": "equal_to", "value": str(number)}
        for number, kind in enumerate(types)
    ]
    return {"name": "old", "is_active": True, "conditions": conditions, **more}


@given(st.lists(st.sampled_from(["and", "or"]), max_size=7), st.data())
def test_a_flat_list_is_read_from_left_to_right(tmp_path_factory, joins, data) -> None:
    path = tmp_path_factory.getbasetemp() / "flat.json"
    path.write_text(json.dumps({"rules": [old_rule("where", *joins)]}))
    [made] = read_rules([path])
    for _ in range(4):
        met = data.draw(st.sets(st.integers(0, len(joins))))
        value = 0 in met
        for number, join in enumerate(joins, 1):
            value = (value and number in met) if join == "and" else (value or number in met)
        assert holds(made.when.model_dump(exclude_none=True), met) == value


def holds(tree: Tree, met: set[int]) -> bool:
    if is_leaf(tree):
        return int(tree["value"]) in met
    return (
        all(holds(t, met) for t in tree["all"])
        if "all" in tree
        else any(holds(t, met) for t in tree["any"])
    )


def test_a_flat_list_of_the_docs_means_what_is_told(tmp_path: Path) -> None:
    [text] = blocks("json")
    [made] = read_rules([write(tmp_path, text, "old.json")])
    assert (
        sentence(made)
        == "(PX is less than 10 or COV_PRICE is missing) and BIAS is one of BID and OFFER"
    )


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([old_rule("and")], "condition 1 is of the type 'and'"),
        ([old_rule("where", "where")], "condition 2 is of the type 'where'"),
        ([old_rule("where", "xor")], "condition 2 is of the type 'xor'"),
        ([old_rule()], "is no list of conditions, or an empty one"),
        ([old_rule("where", owner="me")], "rule 'old': unknown key 'owner'"),
        ([old_rule("where", name=None)], "name"),
        ([old_rule("where"), old_rule("where")], "two rules 'old'"),
    ],
)  # fmt: skip
def test_a_malformed_flat_list_is_told(tmp_path: Path, rules: list[Any], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        read_rules([write(tmp_path, json.dumps({"rules": rules}), "old.json")])


def test_metadata_of_a_flat_list_pass_and_json_is_checked(tmp_path: Path) -> None:
    kept = old_rule("where", id=7, description="why", created_at="2020", is_active=False)
    [made] = read_rules([write(tmp_path, json.dumps({"rules": [kept], "version": 2}), "a.json")])
    assert (made.about, made.active) == ("why", False)
    for text, says in (
        ("{", "line 1, column 2"),
        ('{"rules": NaN}', "NaN"),
        ('{"a":1,"a":2}', "twice"),
    ):
        with pytest.raises(UsageError, match=says):
            read_rules([write(tmp_path, text, "bad.json")])
