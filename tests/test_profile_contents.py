"""What is in columns, and rows that fan out, against naive counts over the same rows."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import Oracle

from workbench import embedded
from workbench.database import Database, connect
from workbench.profiling import catalog, contents, patterns, sampling, statistics
from workbench.profiling.model import Column, Figure, Table

AS_OF = "2026-01-09T12:00:00"
Look = Callable[..., Table]


def counted(values: list[str]) -> pl.DataFrame:
    series = pl.Series("value", values, dtype=pl.String)
    return series.value_counts(name="rows")


def look(db: Database, schema: str, name: str, rows: int = 200_000) -> Table:
    """Profile one table by tiers 0, 1 and 2."""
    (table,), _ = catalog.read_catalog(db, schema, [name], AS_OF)
    with db.engine.connect() as connection:
        scope = sampling.scope(table, schema, db.engine.dialect, None, rows)
        table = statistics.measure(connection, schema, table, scope, AS_OF)
        return contents.examine(connection, schema, table, scope, AS_OF)


def column(table: Table, name: str):
    return next(each for each in table.columns if each.name == name)


def pairs(shares) -> list[tuple[str, int]]:
    return [(share.value, share.rows.value) for share in shares]


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    with connect("demo") as opened:
        yield opened


@pytest.fixture(scope="module")
def made(db: Database, schema: str) -> Iterator[Callable[..., Table]]:
    """Create a table with rows and profile it."""
    engine = sa.create_engine(embedded.connection_url())

    def make(*columns: sa.schema.SchemaItem, rows: list[dict], name: str | None = None) -> Table:
        table = sa.Table(name or f"t{uuid.uuid4().hex[:8]}", sa.MetaData(), *columns, schema=schema)
        with engine.begin() as connection:
            table.create(connection)
            if rows:
                connection.execute(table.insert(), rows)
            quoted = engine.dialect.identifier_preparer.format_table(table)
            connection.exec_driver_sql(f"ANALYZE {quoted}")
        return look(db, schema, table.name)

    yield make
    engine.dispose()


@pytest.fixture(scope="module")
def colors(db: Database) -> Table:
    return look(db, "marketpulse", "colors")


def naive_mask(text: str) -> str:
    kinds = (unicodedata.category(each)[0] for each in text)
    shape = "".join(
        {"L": "A", "M": "A", "N": "9"}.get(k, c) for k, c in zip(kinds, text, strict=True)
    )
    runs = re.finditer(r"A+|9+|[^A9]", shape)
    return "".join(r[0] if len(r[0]) < 5 else f"{r[0][0]}{{{len(r[0])}}}" for r in runs)


KNOWN = st.characters(max_codepoint=0x24F, exclude_categories=("Cc", "Cn", "Cs"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(KNOWN, max_size=12), min_size=1, max_size=12))
def test_masks_show_letters_as_a_and_digits_as_9(texts: list[str]) -> None:
    expected = Counter(naive_mask(text) for text in texts if text.strip())
    found = dict(patterns.look("x", counted(texts)).masks)
    assert sorted(found.values()) == sorted(expected.values())[-5:]
    assert all(expected[mask] == rows for mask, rows in found.items())


def with_luhn(body: str) -> str:
    """Append the check digit as the standard says: every second digit doubled, by a table."""
    doubled = {"0": 0, "1": 2, "2": 4, "3": 6, "4": 8, "5": 1, "6": 3, "7": 5, "8": 7, "9": 9}
    total = sum(doubled[d] if n % 2 == 0 else int(d) for n, d in enumerate(reversed(body)))
    return body + str((10 - total % 10) % 10)


def with_iban_check(country: str, account: str) -> str:
    """Compute the check digits digit by digit: 98 less the remainder by 97."""
    remainder = 0
    for each in account + country + "00":
        value = str(ord(each) - 55) if each.isalpha() else each
        for digit in value:
            remainder = (remainder * 10 + int(digit)) % 97
    return f"{country}{98 - remainder:02d}{account}"


@settings(max_examples=40, deadline=None)
@given(st.text("0123456789", min_size=11, max_size=18))
def test_one_last_digit_in_ten_is_the_check_digit(body: str) -> None:
    assert [d for d in range(10) if patterns.has_luhn(f"{body}{d}")] == [int(with_luhn(body)[-1])]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["DE", "GB", "FR", "NO"]), st.text("0123456789ABCXYZ", min_size=11, max_size=30)
)
def test_one_pair_of_check_digits_makes_an_iban(country: str, account: str) -> None:
    good = with_iban_check(country, account)
    passing = [n for n in range(2, 99) if patterns.has_iban_check(f"{country}{n:02d}{account}")]
    assert passing == [int(good[2:4])]


def cards(count: int) -> list[str]:
    made = random.Random(7)
    heads = [("4", 16), ("52", 16), ("34", 15), ("6011", 16), ("4", 13), ("4", 19)]
    return [
        with_luhn(head + "".join(made.choices("0123456789", k=length - 1 - len(head))))
        for head, length in (heads[n % len(heads)] for n in range(count))
    ]


def ibans(count: int) -> list[str]:
    made = random.Random(8)
    return [with_iban_check("DE", "".join(made.choices("0123456789", k=18))) for _ in range(count)]


def test_personal_data_is_counted_by_kind_and_kept_nowhere(made) -> None:
    # Digits that a float holds in full.
    exact = [card for card in cards(200) if len(card) == 16 and int(card) < 2**53][:40]
    planted = {
        "paid": [Decimal(card) for card in exact],
        "cost": [Decimal(card) for card in exact],
        "weight": [float(card) for card in exact],
        "email": [f"zaphod{n}@heartofgold{n}.example" for n in range(40)],
        "remark": [f"asked ford{n}@guide.example again" if n < 7 else "fine" for n in range(40)],
        "phone_number": [f"(030) 901820-{n:02d}" for n in range(40)],
        "contact": [f"+44 20 7946 {n:04d}" for n in range(40)],
        "settle_to": [f"{iban[:4]} {iban[4:]}" for iban in ibans(40)],
        "paid_with": [f"{c[:4]}-{c[4:8]}-{c[8:]}" for c in cards(40)],
        "card": [int(card) for card in cards(40)],
        "lastName": [f"Beeblebrox-{chr(65 + n % 20)}O'Neill" for n in range(40)],
    }
    kinds = {"card": sa.BigInteger, "paid": sa.Numeric(16, 0), "cost": sa.Numeric(18, 2),
             "weight": sa.Double}  # fmt: skip
    rows = [
        dict(zip(planted, values, strict=True)) for values in zip(*planted.values(), strict=True)
    ]
    table = made(*(sa.Column(n, kinds.get(n, sa.String(80))) for n in planted), rows=rows)
    assert {each.name: pairs(each.personal) for each in table.columns} == {
        "paid": [("card number", 40)],
        "cost": [("card number", 40)],
        "weight": [("card number", 40)],
        "email": [("e-mail", 40)],
        "remark": [("e-mail", 7)],
        "phone_number": [("phone", 40)],
        "contact": [("phone", 40)],
        "settle_to": [("IBAN", 40)],
        "paid_with": [("card number", 40)],
        "card": [("card number", 40)],
        "lastName": [("name", 40)],
    }
    kept = json.dumps(asdict(table))
    values = [str(value) for values in planted.values() for value in values if value != "fine"]
    assert not [value for value in values if value in kept or value[:12] in kept]
    assert all(
        each.min is each.max is each.quantiles is each.mean is None for each in table.columns
    )


def test_a_long_text_does_not_hide_that_the_others_are_personal(made) -> None:
    long = "fine " * 300
    rows = [{"note": f"x{n}@guide.example {long * (n == 7)}", "n": n % 2} for n in range(40)]
    table = made(sa.Column("note", sa.Text), sa.Column("n", sa.Integer), rows=rows)
    note = column(table, "note")
    assert pairs(note.personal) == [("e-mail", 40)]
    assert note.min is note.max is None
    assert (note.top, note.masks) == ((), ())
    # Rows are compared in short texts alone.
    assert table.duplicates is not None
    assert table.duplicates.value == 38


def test_what_only_resembles_personal_data_is_not_called_so(colors: Table, made) -> None:
    chance = random.Random(3)

    def digits(count: int) -> str:
        return "".join(chance.choices("0123456789", k=count))

    decoys = {
        "order_no": [f"{4 + n % 2}{digits(15)}" for n in range(300)],
        "ean": [f"4{digits(12)}" for n in range(300)],
        "cusip": [f"0378331{n:02d}" for n in range(100)] * 3,
        "part": [f"DE{digits(2)}{digits(14)}" for n in range(300)],
        "price": [f"+{n}.50" for n in range(300)],
        "product_name": [f"Table {chr(65 + n % 26)}" for n in range(300)],
        "handle": [f"@user{n}" for n in range(300)],
        "day": [f"2026-01-{1 + n % 28:02d}" for n in range(300)],
    }
    rows = [dict(zip(decoys, values, strict=True)) for values in zip(*decoys.values(), strict=True)]
    table = made(*(sa.Column(name, sa.String(60)) for name in decoys), rows=rows)
    assert {each.name: pairs(each.personal) for each in table.columns if each.personal} == {}
    assert not [each.name for each in colors.columns if each.personal]


@pytest.mark.parametrize(
    ("name", "values", "rows"),
    [
        ("amount", ["12", "-3", "+4.50", "1,234,567.89", ".5", "12,5", "0", " 7 ", "1.5e-3"], 9),
        ("amount", ["n/a", "", "12", "7", "-"], 2),
        ("amount", ["2026-01-09", "09.01.2026", "20260109"], 0),
        ("quantity", ["100", "20000", "3"], 3),
        ("note", ["12E45678", "1.2.3", "0x12", "12-34", "1,23,4", "--1"], 0),
        ("cusip", ["037833100", "594918104"], None),  # by its name
        ("security", ["037833100", "594918104"], None),  # by its leading zeros
        ("security", ["594918104", "931142103"], None),  # by its fixed length
        ("customerId", ["1", "22"], None),
        ("zip", ["8001", "3012"], None),
    ],
)
def test_numbers_in_text_are_counted_unless_they_are_codes(name, values, rows) -> None:
    assert patterns.look(name, counted(values)).numbers == rows


FORMS = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%Y%m%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
]
TIMES = ["", " 17:05", "T17:05:09", " 17:05:09.123456", "T17:05:09Z", "T17:05:09+02:00"]


@settings(max_examples=40, deadline=None)
@given(
    st.dates(dt.date(1900, 1, 1), dt.date(2099, 12, 31)),
    st.sampled_from(FORMS),
    st.sampled_from(TIMES),
)
def test_a_date_is_read_in_every_common_form(day: dt.date, form: str, time: str) -> None:
    text = day.strftime(form)
    assert patterns.look("x", counted([text + time, text.upper()])).dates == 2


@pytest.mark.parametrize(
    "text",
    ["2026-02-30", "2025-02-29", "31.04.2026", "2026-13-01", "20261301", "13/13/2026", "32-JAN-26",
     "2026-01-09 24:01", "2026-1-9x", "9-Foo-2026", "12345678", "2026-01", "99999999"],
)  # fmt: skip
def test_a_day_that_does_not_exist_is_no_date(text: str) -> None:
    assert patterns.look("x", counted([text])).dates == 0


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789+-.,eE ", min_size=1, max_size=9))
def test_what_is_called_a_number_is_one(text: str) -> None:
    if patterns.look("x", counted([text])).numbers:
        plain = text.strip()
        try:
            value = Decimal(plain.replace(",", ""))
        except InvalidOperation:
            value = Decimal("NaN")
        assert value.is_finite()
        assert not re.match(r"[+-]?0\d", plain)


def naive_copies(rows: list[tuple[int, ...]]) -> tuple[tuple[str, ...], int]:
    """Try every set of up to three columns, with each row as it is."""
    height, width = len(rows), len(rows[0])
    equal = [sum(n * n for n in Counter(row[c] for row in rows).values()) for c in range(width)]

    def copies(left_out: tuple[int, ...]) -> int:
        return height - len({tuple(v for n, v in enumerate(r) if n not in left_out) for r in rows})

    best = []
    for size in range(4):
        found: tuple[tuple[int, ...], int] = ((), 0)
        for chosen in combinations(range(width), size):
            fixed = [n for n in range(width) if n not in chosen]
            chance = height**2 / 2
            for n in fixed:
                chance *= equal[n] / height**2
            if len(fixed) >= 2 * size and chance * 10 <= copies(chosen) > found[1]:
                found = chosen, copies(chosen)
        others = [n for n in range(width) if n not in found[0]]
        if found[1] and all(copies((*found[0], n)) <= 2 * found[1] for n in others):
            best.append(found)
    for chosen, more in best:
        if more >= 0.8 * max(other for _, other in best):
            return tuple(f"c{n}" for n in chosen), more
    return (), 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(2, 9), st.integers(1, 25), st.integers())
def test_near_copies_are_those_of_every_set_of_columns(width, values, height, seed) -> None:
    chance = random.Random(seed)
    rows = [tuple(chance.randrange(values) for _ in range(width)) for _ in range(height)]
    for _ in range(height // 2):
        again = list(chance.choice(rows))
        again[chance.randrange(width)] = chance.randrange(9)
        rows.append(tuple(again))
    frame = pl.DataFrame(rows, schema=[f"c{n}" for n in range(width)], orient="row")
    hashes = frame.select(pl.col(name).hash(n) for n, name in enumerate(frame.columns))
    assert contents.near_copies(hashes) == naive_copies(rows)


@settings(max_examples=15, deadline=None)
@given(st.integers(13, 60), st.integers(1, 3), st.integers())
def test_a_fan_out_is_found_in_a_wide_table(width: int, varying: int, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"c{n}" for n in range(width)]
    chosen = chance.sample(names, varying)
    rows = [[chance.randrange(20) for _ in names] for _ in range(150)]
    for _ in range(30):
        again = list(chance.choice(rows[:150]))
        for name in chosen:
            again[names.index(name)] += 100 + len(rows)
        rows.append(again)
    frame = pl.DataFrame(rows, schema=names, orient="row")
    hashes = frame.select(pl.col(name).hash(n) for n, name in enumerate(names))
    columns, more = contents.near_copies(hashes)
    assert (set(columns), more) == (set(chosen), 30)


def test_the_quotes_that_fanned_out_are_found_with_their_coverage_columns(
    db: Database, colors: Table
) -> None:
    table, rows = colors, db.read("SELECT * FROM marketpulse.colors").drop("color_id")
    groups = rows.group_by("message_id", "cusip", "bias", "px").agg(pl.all(), pl.len())
    differing: Counter[tuple[str, ...]] = Counter()
    for group in groups.filter(pl.col("len") > 1).iter_rows(named=True):
        names = (n for n, v in group.items() if isinstance(v, list) and len(set(v)) > 1)
        differing[tuple(names)] += 1
    names = {name for few in differing if len(few) <= 3 for name in few}
    quotes = [tuple(row.values()) for row in rows.drop(names).iter_rows(named=True)]
    more = len(quotes) - len(set(quotes))
    assert more > 500
    assert table.fan_out is not None
    assert set(table.fan_out.columns) == names == {"cov_price", "percent_diff", "price_diff"}
    assert (table.fan_out.rows.value, table.fan_out.rows.how) == (more, "exact")
    assert table.duplicates is not None
    assert table.duplicates.value == 0
    others = ("dealers", "securities", "coverage")
    assert [look(db, "marketpulse", name).fan_out for name in others] == [None] * 3


def test_top_values_and_masks_are_those_of_the_table(db: Database, colors: Table) -> None:
    table, rows = colors, db.read("SELECT * FROM marketpulse.colors")
    for name in ("sector", "bias", "rank", "source", "date", "diff_status", "cusip"):
        expected = Counter(str(value) for value in rows[name].drop_nulls())
        found = pairs(column(table, name).top)
        assert found == sorted(expected.items(), key=lambda each: (-each[1], each[0]))[:10]
    shapes = Counter(naive_mask(each) for each in rows["cusip"].drop_nulls() if each.strip())
    expected = sorted(shapes.items(), key=lambda each: (-each[1], each[0]))
    assert pairs(column(table, "cusip").masks) == expected[:5]
    assert not column(table, "color_id").top
    assert not column(table, "message_id").top


def orders(count: int) -> list[dict]:
    chance = random.Random(5)
    return [
        {
            "id": n,
            "customer": chance.randrange(40),
            "name": "x",
            "status": chance.choice("NPD"),
            "day": dt.date(2026, 1, 1) + dt.timedelta(chance.randrange(60)),
            "total": Decimal(chance.randrange(5000)) / 100,
            "currency": chance.choice(["EUR", "EUR", "USD"]),
        }
        for n in range(count)
    ]


def order_columns() -> list[sa.Column]:
    kinds = [sa.Integer, sa.Integer, sa.Text, sa.String(1), sa.Date, sa.Numeric(12, 2), sa.CHAR(3)]
    names = ["id", "customer", "name", "status", "day", "total", "currency"]
    return [sa.Column(n, k, primary_key=n == "id") for n, k in zip(names, kinds, strict=True)]


def test_things_that_are_merely_alike_have_not_fanned_out(made) -> None:
    assert made(*order_columns(), rows=orders(2000)).fan_out is None


def test_rows_loaded_twice_under_new_ids_are_equal_in_all_but_the_id(made) -> None:
    rows = orders(400)
    rows += [row | {"id": row["id"] + 1000} for row in rows[:50]]
    table = made(*order_columns(), rows=rows)
    assert table.fan_out is not None
    assert (table.fan_out.columns, table.fan_out.rows.value) == (("id",), 50)
    assert table.duplicates is not None
    assert table.duplicates.value == 0
    without = [column for column in order_columns() if column.name != "id"]
    bare = [{key: value for key, value in row.items() if key != "id"} for row in rows]
    again = made(*without, rows=bare)
    distinct = {tuple(row.values()) for row in bare}
    assert again.duplicates is not None
    assert again.duplicates.value == len(bare) - len(distinct)


@pytest.mark.parametrize("name", ["t", "c"])
def test_keys_are_the_columns_or_pairs_that_identify_every_row(made, name: str) -> None:
    rows = [{"a": n % 7, "b": n // 7, "c": n % 3, "d": "x", "t": f"v{n}"} for n in range(60)]
    kinds = {"t": sa.Text, "d": sa.Text}
    kept = [n for n in "abcdt" if name == "t" or n != "t"]
    table = made(*(sa.Column(n, kinds.get(n, sa.Integer)) for n in kept), rows=rows and [
        {key: row[key] for key in kept} for row in rows
    ])  # fmt: skip
    unique = [
        chosen
        for size in (1, 2)
        for chosen in combinations(kept, size)
        if len({tuple(row[n] for n in chosen) for row in rows}) == len(rows)
    ]
    shortest = min(map(len, unique))
    assert list(table.candidate_keys) == [key for key in unique if len(key) == shortest]


def test_a_large_table_is_sampled_says_so_and_scales(db: Database, schema: str) -> None:
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        connection.exec_driver_sql(
            "CREATE TABLE large AS SELECT n, CASE WHEN mod(n, 4) = 0 THEN 'b' ELSE 'a' END AS kind,"
            " repeat('x', 50) AS text FROM generate_series(1, 60000) n"
        )
        connection.exec_driver_sql("ANALYZE large")
    engine.dispose()
    table = look(db, schema, "large")
    (first, _), share = pairs(column(table, "kind").top), column(table, "kind").top[0].rows
    assert re.fullmatch(r"sampled \d\d %", share.how)
    assert first == ("a", pytest.approx(45_000, rel=0.02))
    assert 25 <= float(share.how.split()[1]) <= 40


def test_rows_that_repeat_are_told_as_seen_and_never_scaled(db: Database, schema: str) -> None:
    engine = sa.create_engine(embedded.connection_url())
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        connection.exec_driver_sql(
            "CREATE TABLE twice AS SELECT n / 2 AS n, repeat('x', 50) AS text"
            " FROM generate_series(1, 60000) n"
        )
        connection.exec_driver_sql("CREATE VIEW twice_seen AS SELECT * FROM twice")
        connection.exec_driver_sql("ANALYZE twice")
    engine.dispose()
    for name, said in (("twice", r"seen in ([\d,]+) rows"),
                       ("twice_seen", r"seen in the first (20,000) rows")):  # fmt: skip
        repeated = look(db, schema, name).duplicates
        assert repeated is not None
        seen = re.fullmatch(said, repeated.how)
        assert seen, repeated.how
        # Both rows of a pair are in the same block, but for the first and the last of it.
        read = int(seen[1].replace(",", ""))
        assert 10_000 < read <= 20_000
        assert repeated.value == pytest.approx(read / 2, rel=0.02)


@pytest.mark.parametrize(("rows", "keys"), [(19, ()), (20, (("a",),))])
def test_few_rows_are_no_evidence_of_a_key(made, rows: int, keys) -> None:
    values = [{"a": n, "b": n // 2} for n in range(rows)]
    table = made(sa.Column("a", sa.Integer), sa.Column("b", sa.Integer), rows=values)
    assert table.candidate_keys == keys


def test_a_pair_is_no_key_where_one_column_may_be_one(db: Database, schema: str, made) -> None:
    name, rows = f"t{uuid.uuid4().hex[:8]}", [{"a": n, "b": n // 2} for n in range(40)]
    made(sa.Column("a", sa.Integer), sa.Column("b", sa.Integer), rows=rows, name=name)
    (table,), _ = catalog.read_catalog(db, schema, [name], AS_OF)
    with db.engine.connect() as connection:
        scope = sampling.scope(table, schema, db.engine.dialect, None, 1000)
        counted = statistics.measure(connection, schema, table, scope, AS_OF)
        told = contents.examine(connection, schema, counted, scope, AS_OF)
        # As it is where the database could not count.
        untold = contents.examine(connection, schema, table, scope, AS_OF)
    assert (told.candidate_keys, untold.candidate_keys) == ((("a",),), ())


HOSTILE = ["^.*$", "*", 'a"b', "x%(y)s", ":bind", "select", "é😀 ß", "c0", "c1 ", "'; --", "A.b"]


def test_names_and_values_of_any_kind_are_looked_at(made) -> None:
    values = [
        "'; DROP TABLE x; --",
        "<b>%s</b>",
        ":x",
        "{0}",
        "😀é",
        "\\",
        'a"b',
        "x\ty",
        "é" * 200,
    ]
    rows = [{name: values[(n + p) % 9] for p, name in enumerate(HOSTILE)} for n in range(180)]
    table = made(*(sa.Column(name, sa.Text) for name in HOSTILE), rows=rows, name='t"; %s :x é')
    for place, name in enumerate(HOSTILE):
        expected = Counter(values[(n + place) % 9][:80] for n in range(180))
        assert dict(pairs(column(table, name).top)) == expected


def test_small_and_odd_tables_are_looked_at(made) -> None:
    empty = made(sa.Column("a", sa.Text), rows=[])
    assert (empty.fan_out, empty.candidate_keys, empty.columns[0].top) == (None, (), ())
    one = made(sa.Column("a", sa.Text), sa.Column("b", sa.Integer), rows=[{"a": "x", "b": 1}])
    assert (one.fan_out, one.candidate_keys, pairs(one.columns[0].masks)) == (None, (), [("A", 1)])
    other = made(sa.Column("a", sa.JSON), sa.Column("b", sa.LargeBinary), rows=[{"a": 1, "b": b""}])
    assert (other.duplicates, other.fan_out, other.candidate_keys) == (None, None, ())
    nulls = made(
        sa.Column("a", sa.Text), sa.Column("b", sa.Integer), rows=[{"a": None, "b": None}] * 3
    )
    assert nulls.duplicates is not None
    assert (nulls.duplicates.value, nulls.candidate_keys) == (2, ())


def test_a_table_of_300_columns_takes_one_statement(db: Database, schema: str, made) -> None:
    rows = [{f"c{n}": (n * k) % 11 for n in range(300)} for k in range(40)]
    name = f"wide{uuid.uuid4().hex[:6]}"
    made(*(sa.Column(f"c{n}", sa.Integer) for n in range(300)), rows=rows, name=name)
    (table,), _ = catalog.read_catalog(db, schema, [name], AS_OF)
    seen: list[str] = []
    with db.engine.connect() as connection:
        scope = sampling.scope(table, schema, db.engine.dialect, None, 1000)
        table = statistics.measure(connection, schema, table, scope, AS_OF)
        sa.event.listen(connection, "before_cursor_execute", lambda *a: seen.append(a[2]))
        table = contents.examine(connection, schema, table, scope, AS_OF)
    assert len(seen) == 1
    for n in (1, 150, 299):
        expected = Counter(str((n * k) % 11) for k in range(40))
        assert set(pairs(column(table, f"c{n}").top)) <= set(expected.items())
    assert table.duplicates is not None
    assert table.duplicates.value == 40 - len({tuple(row.values()) for row in rows})


@pytest.mark.oracle
def test_a_table_in_oracle_is_looked_at(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"oracle+oracledb://{oracle.host}:{oracle.port}/?service_name={oracle.service}"
    monkeypatch.chdir(tmp_path)
    text = f'[sources.oracle]\nurl = "{url}"\ncredentials = "env:ORA"\nread_only = false\n'
    Path("workbench.toml").write_text(text)
    monkeypatch.setenv("ORA_USERNAME", oracle.username)
    monkeypatch.setenv("ORA_PASSWORD", oracle.password)
    schema, day = oracle.username.lower(), dt.datetime(2026, 1, 9)
    quotes = sa.Table(
        "looked_at", sa.MetaData(),
        sa.Column("id", sa.Numeric(10, 0), primary_key=True, autoincrement=False),
        *(sa.Column(n, sa.Numeric(9, 2)) for n in ("px", "cover", "bid", "ask")),
        sa.Column("day", sa.DateTime), sa.Column("bias", sa.String(10)),
        sa.Column("mail", sa.String(60)), sa.Column("kind", sa.CHAR(3)),
    )  # fmt: skip
    rows = [
        {"id": n, "px": Decimal(n // 2) / 4, "cover": Decimal(n) / 8 if n < 60 else Decimal(n // 2),
         "bid": Decimal(n // 2 * 7 % 23), "ask": Decimal(n // 2 * 5 % 29), "kind": "ab",
         "day": day + dt.timedelta(n // 2 % 5), "bias": "BID" if n // 2 % 3 else "OFFER",
         "mail": f"x{n // 2}@y.example"}
        for n in range(120)
    ]  # fmt: skip
    rows = [row for row in rows if row["id"] < 60 or row["id"] % 2]
    with connect("oracle") as db:
        quotes.drop(db.engine, checkfirst=True)
        quotes.create(db.engine)
        try:
            db.execute_many(quotes.insert(), rows)
            table = statistics_free(db, schema, quotes)
        finally:
            quotes.drop(db.engine)
    found = {each.name: each for each in table.columns}
    assert pairs(found["mail"].personal) == [("e-mail", len(rows))]
    days = Counter(row["day"].isoformat() for row in rows)
    assert dict(pairs(found["day"].top)) == days
    assert pairs(found["bias"].top) == Counter(row["bias"] for row in rows).most_common()
    assert table.fan_out is not None
    assert (table.fan_out.columns, table.fan_out.rows.value) == (("cover",), 30)


def statistics_free(db: Database, schema: str, table: sa.Table) -> Table:
    """Examine a table by its catalog alone: other tests have the figures on Oracle."""
    (found,), _ = catalog.read_catalog(db, schema, [table.name], AS_OF)
    with db.engine.connect() as connection:
        scope = sampling.scope(found, schema, db.engine.dialect, None, 1000)
        return contents.examine(connection, schema, found, scope, AS_OF)


def test_a_name_that_promises_personal_data_is_enough_to_keep_its_values_back() -> None:
    figure = Figure("someone", "exact", "2026-01-31T12:00:00")
    columns = tuple(
        Column(name, "text", "text", min=figure, max=figure, distinct=figure)
        for name in ("contactEmail", "status")
    )
    told, status = contents.discreet(Table("t", columns=columns)).columns
    assert (told.min, told.max, told.distinct) == (None, None, figure)
    assert status == columns[1]


def test_a_personal_end_is_hidden_though_its_row_was_not_read() -> None:
    def of(kind, *values) -> Column:
        figures = [Figure(value, "exact", AS_OF) for value in values]
        found = dict(zip(["0.25", "0.5", "0.75"], figures[1:-1], strict=False))
        least, most = figures[0], figures[-1]
        return Column("x", kind, kind, min=least, max=most, mean=least, quantiles=found)

    card = [int(each) for each in cards(60) if len(each) == 16]
    hidden = [
        of("text", "aaa.rare@mail.example", "b9"), of("integer", *card[:5]),
        of("decimal", *(f"{each}.00" for each in card[:5])),
        of("float", *(float(each) for each in card if each < 2**53)),
    ]  # fmt: skip
    shown = [of("text", "b1", "b9"), of("integer", *(each + 1 for each in card[:5])),
             of("integer", 4, 5, 6), of("date", "2026-01-09", "2026-01-10")]  # fmt: skip
    columns = contents.discreet(Table("t", columns=(*hidden, *shown))).columns
    for column in columns[: len(hidden)]:
        assert (column.min, column.max, column.mean, column.quantiles) == (None,) * 4
    assert list(columns[len(hidden) :]) == shown
