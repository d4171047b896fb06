"""Items of DynamoDB as rows: exact values; every item is a row, or rejected with a reason."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
import json
import random
import string
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from boto3.dynamodb.types import TypeDeserializer
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.documents.scanning import Page, Scan
from workbench.documents.shaping import SHAPES, Shaped, cases, shape

WHEN = "2026-01-09T10:00:00Z"
FULL = {"case_number": {"S": "C-1"}, "status": {"S": "sent"}, "requested_at": {"S": WHEN}}
plain = TypeDeserializer().deserialize


def shaped(*pages: list[dict[str, Any]], target: str = "cases") -> Shaped:
    """What becomes of pages of one table, the others being empty."""
    found = [Page(target, len(items), 0.5, SHAPES[target](items)) for items in pages]
    return shape(Scan("test", False, tuple(found)))


def one(**attributes: dict[str, Any]) -> dict[str, Any]:
    """The row that a document with these attributes becomes."""
    [row] = shaped([{"document_id": {"S": "D"}, **FULL, **attributes}]).frames["cases"].to_dicts()
    return row


def reason(target: str = "cases", **attributes: dict[str, Any]) -> str:
    """Why a document with these attributes is rejected."""
    result = shaped([{"document_id": {"S": "D"}, **FULL, **attributes}], target=target)
    assert result.frames[target].is_empty()
    return str(result.rejected["reason"].item())


# Values


@pytest.mark.parametrize(
    "text",
    ["12345678901234567890.123456789012345678", "-99999999999999999999.999999999999999999",
     "0.000000000000000001", "1E+19", "1e-18", "0", "-0"],
)  # fmt: skip
def test_a_number_of_38_digits_stays_exact(text: str) -> None:
    assert one(daily_interest={"N": text})["daily_interest"] == Decimal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9999999999999999.99", None), ("10000000000000000", "amount is too large"),
        ("-9999999999999999.99", None), ("-1E16", "amount is too large"),
        ("0.01", None), ("0.001", "amount has more than 2 decimals"),
        ("1E+125", "amount is too large"), ("1E-130", "amount has more than 2 decimals"),
        ("NaN", "amount is not a number"), ("many", "amount is not a number"),
        ("1_000", "amount is not a number"), (" 12 ", "amount is not a number"),
        ("١٢", "amount is not a number"), ("", "amount is not a number"),
        ("1" + "0" * 500, "amount is too large"), ("+.5e0", None),
    ],
)  # fmt: skip
def test_an_amount_is_exact_or_rejected(text: str, said: str | None) -> None:
    if said:
        assert reason(amount={"N": text}) == said
    else:
        assert one(amount={"N": text})["amount"] == Decimal(text)


def test_whole_numbers_end_where_their_column_does() -> None:
    assert one(template_version={"N": "2147483647"})["template_version"] == 2**31 - 1
    assert reason(template_version={"N": "2147483648"}) == "template_version is too large"
    assert one(template_version={"N": "7E0"})["template_version"] == 7
    assert reason(template_version={"N": "7.5"}) == "template_version is not a whole number"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-09T10:00:00Z", (2026, 1, 9, 10)),
        ("2026-01-09T10:00:00+02:00", (2026, 1, 9, 8)),
        ("2026-01-09T10:00:00.123456", (2026, 1, 9, 10, 0, 0, 123456)),
        ("2026-01-09", (2026, 1, 9)),
        ("0001-01-01T00:00:00Z", (1, 1, 1)),
    ],
)
def test_moments_are_in_utc(text: str, moment: tuple[int, ...]) -> None:
    assert one(closed_at={"S": text})["closed_at"] == dt.datetime(*moment, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    "text", ["31.12.2025", "2026-02-30", "", "yesterday", "0001-01-01T00:00:00+02:00"]
)
def test_what_is_no_moment_is_rejected(text: str) -> None:
    assert reason(closed_at={"S": text}) == "closed_at is not a moment or day of ISO 8601"


def test_sets_maps_lists_and_binary_become_json() -> None:
    details = {"M": {
        "n": {"N": "12345678901234567890.123456789012345678"}, "b": {"B": b"\x00\xff"},
        "l": {"L": [{"BOOL": True}, {"NULL": True}, {"M": {}}]}, "ns": {"NS": ["10", "9", "-1"]},
        "bs": {"BS": [b"b", b"a"]}, "é\"\\": {"S": "tab\t, 'quote' <b> \\"},
    }}  # fmt: skip
    row = one(details=details, labels={"SS": ["b", "a", "é"]})
    assert json.loads(row["labels"]) == ["a", "b", "é"]
    assert json.loads(row["details"], parse_float=Decimal) == {
        "n": Decimal("12345678901234567890.123456789012345678"), "b": "AP8=",
        "l": [True, None, {}], "ns": [-1, 9, 10], "bs": ["YQ==", "Yg=="],
        "é\"\\": "tab\t, 'quote' <b> \\",
    }  # fmt: skip


def test_a_digest_is_hexadecimal_and_truth_is_one_or_zero() -> None:
    file = {"document_id": {"S": "D"}, "file_name": {"S": "x"}, "stored_at": {"S": WHEN},
            "sha256": {"B": bytes(range(32))}}  # fmt: skip
    [row] = shaped([file], target="metadata").frames["metadata"].to_dicts()
    assert row["sha256"] == bytes(range(32)).hex()
    assert [one(is_urgent={"BOOL": truth})["is_urgent"] for truth in (True, False)] == [1, 0]


def test_what_is_missing_or_null_is_null_where_it_may_be() -> None:
    row = one(amount={"NULL": True}, customer={"M": {"name": {"NULL": True}}})
    given = {"document_id", *FULL}
    assert {name for name, value in row.items() if value is not None} == given
    assert one(customer={"NULL": True})["customer_name"] is None
    for content in ({"NULL": True}, {"S": "  "}, {"S": ""}):
        assert reason(case_number=content) == "case_number is missing"


def test_a_wrong_type_says_what_it_is() -> None:
    assert reason(amount={"S": "12"}) == "amount is a text, not a number"
    assert reason(status={"N": "4"}) == "status is a number, not a text"
    assert reason(is_urgent={"S": "yes"}) == "is_urgent is a text, not true or false"
    assert reason(labels={"S": "a"}).startswith("labels is a text, not a map or a list or a set")
    said = reason(customer={"S": "Amber"})
    assert said == ("customer.name is not there: customer is a text; "
                    "customer.country is not there: customer is a text")  # fmt: skip


def test_a_text_has_the_length_of_its_column_also_when_its_case_is_changed() -> None:
    assert one(case_number={"S": "é" * 20})["case_number"] == "é" * 20
    assert reason(case_number={"S": "é" * 21}) == "case_number is longer than 20 characters"
    # Two characters that are four in upper case.
    said = reason(customer={"M": {"country": {"S": "ßß"}}})
    assert said == "customer.country is longer than 2 characters"


@pytest.mark.parametrize("bad", ["a\0b", "half \ud83d of it"])
def test_what_no_text_can_hold_is_rejected_and_still_told(bad: str) -> None:
    assert "cannot store" in reason(case_number={"S": bad})
    assert "cannot store" in reason(details={"M": {"x": {"L": [{"S": bad}]}}})
    assert "cannot store" in reason(details={"M": {bad: {"N": "1"}}})
    result = shaped([{"document_id": {"S": bad}, bad: {"N": "1"}, **FULL}])
    result.rejected["item_key"].item().encode()
    assert json.loads(result.rejected["item"].item())["document_id"] == {"S": bad}
    assert result.unknown["attribute"].item() == bad.replace("\0", "�").replace("\ud83d", "�")


def test_all_reasons_are_told_but_no_value() -> None:
    said = reason(amount={"S": "secret-1"}, requested_at={"S": "secret-2"}, status={"NULL": True})
    assert said == ("status is missing; amount is a text, not a number; "
                    "requested_at is not a moment or day of ISO 8601")  # fmt: skip


# Items


def test_of_two_items_with_one_key_the_first_is_kept() -> None:
    twins = [{"document_id": {"S": key}, **FULL, "amount": {"N": amount}}
             for key, amount in (("D ", "2"), ("D", "1"), (" D", "0"))]  # fmt: skip
    for order in itertools.permutations(twins):
        result = shaped(*([item] for item in order))
        assert result.frames["cases"]["amount"].to_list() == [Decimal(0)]
        assert result.rejected["item_key"].to_list() == ["D", "D "]
        assert set(result.rejected["reason"]) == {"another item has the same document_id"}


def test_of_items_with_one_key_the_order_of_pages_does_not_choose() -> None:
    # As in a table that has a range key, too.
    twins = [{"document_id": {"S": "D"}, **FULL, "status": {"S": status}, "version": {"N": number}}
             for status, number in (("sent", "1"), ("closed", "2"), ("closed", "3"))]  # fmt: skip
    results = [shaped(*([item] for item in order)) for order in itertools.permutations(twins)]
    first, *others = results
    assert all(one.frames["cases"].equals(first.frames["cases"]) for one in others)
    assert all(one.rejected.equals(first.rejected) for one in others)


def test_an_item_whose_key_is_taken_is_kept_as_it_is() -> None:
    twins = [{"document_id": {"S": key}, **FULL, "status": {"S": "SENT"}, "odd": {"B": b"\x00"}}
             for key in ("D ", "D")]  # fmt: skip
    [item] = [json.loads(text) for text in shaped(twins).rejected["item"]]
    assert item == {**twins[0], "odd": {"B": "AA=="}}


@pytest.fixture
def recursion() -> Iterator[None]:
    """Python's own limit, which libraries raise."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("depth", [32, 500, 5000])
def test_an_item_may_be_nested_too_deeply(depth: int, recursion: None) -> None:
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(depth):
        deep = {"L": [deep]}
    good = {"document_id": {"S": "D"}, **FULL, "details": deep}
    result = shaped([good, {"document_id": {"S": "E"}, **FULL, "unknown": deep}])
    assert result.frames["cases"]["document_id"].to_list() == (["D", "E"] if depth < 99 else ["E"])
    assert result.rejected["reason"].to_list() == (
        [] if depth < 99 else ["details is nested too deeply"]
    )


@pytest.mark.parametrize("text", ["NaN", "1_0", "many"])
def test_what_is_no_number_within_a_document_is_rejected(text: str) -> None:
    assert "is not a number" in reason(details={"M": {"n": {"N": text}}})
    assert "is not a number" in reason(details={"NS": [text]})


def test_unknown_attributes_are_counted_by_their_types_without_values() -> None:
    odd = "<b>'quote' %é"
    items = [
        {"document_id": {"S": "1"}, **FULL, odd: {"S": "hidden"}, "customer.name": {"S": "x"}},
        {"document_id": {"S": "2"}, **FULL, odd: {"N": "1"}},
        {"document_id": {"S": "3"}, odd: {"N": "2"}, "customer": {"M": {"vat": {"NULL": True}}}},
    ]
    result = shaped(items[:1], items[1:])
    assert sorted(result.unknown.iter_rows()) == sorted([
        ("cases", odd, "a text", 1), ("cases", odd, "a number", 2),
        ("cases", "customer.name", "a text", 1), ("cases", "customer.vat", "null", 1),
    ])  # fmt: skip
    # At the top, an attribute with a dot in its name is not the one within the map.
    assert result.frames["cases"]["customer_name"].to_list() == [None, None]


def test_nothing_at_all_is_four_empty_frames_of_the_right_types() -> None:
    result = shape(Scan("test", False, ()))
    assert {name: frame.height for name, frame in result.frames.items()} == {
        "cases": 0, "metadata": 0, "templates": 0, "audit": 0
    }  # fmt: skip
    assert result.frames["cases"].schema["daily_interest"] == pl.Decimal(38, 18)
    assert result.frames["audit"].schema["occurred_at"] == pl.Datetime("us", "UTC")
    assert result.rejected.is_empty()


# Against plain Python

texts = st.text(string.ascii_letters + " é'\"\\\n\t<%:\0", max_size=6)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=None).map(
    lambda d: str(d.quantize(Decimal("0.0001"))) if abs(d) < 10**20 else "1E+30"
)
moments = st.datetimes().map(lambda d: d.isoformat()) | st.just("31.12.2025")
anything = st.recursive(
    st.builds(lambda s: {"S": s}, texts) | st.builds(lambda n: {"N": n}, numbers)
    | st.just({"NULL": True}) | st.builds(lambda b: {"BOOL": b}, st.booleans())
    | st.builds(lambda b: {"B": b}, st.binary(max_size=3))
    | st.builds(lambda s: {"SS": sorted(s)}, st.sets(texts, min_size=1, max_size=3)),
    lambda inner: st.builds(lambda m: {"M": m}, st.dictionaries(texts, inner, max_size=3))
    | st.builds(lambda x: {"L": x}, st.lists(inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
items = st.lists(
    st.fixed_dictionaries(
        {"document_id": st.sampled_from("ABCDEFGH").map(lambda s: {"S": s})},
        optional={
            "case_number": st.just({"S": "C-1"}) | anything,
            "status": st.sampled_from(["Sent", "FAILED"]).map(lambda s: {"S": s}) | anything,
            "requested_at": moments.map(lambda s: {"S": s}) | anything,
            "amount": numbers.map(lambda n: {"N": n}) | anything,
            "currency": st.sampled_from(["eur", "USD"]).map(lambda s: {"S": s}) | anything,
            "details": anything,
            "customer": anything | st.builds(lambda s: {"M": {"name": {"S": s}}}, texts),
        },
    ),
    max_size=6,
    unique_by=lambda item: item["document_id"]["S"],
)


def text_of(value: Any, length: int) -> str:
    assert isinstance(value, str)
    assert "\0" not in value
    assert len(value) <= length
    return value


def document_of(value: Any) -> Any:
    """A DynamoDB value as JSON would hold it."""
    if isinstance(value, dict):
        return {text_of(name, 10**6): document_of(inner) for name, inner in value.items()}
    if isinstance(value, set):
        return [document_of(inner) for inner in sorted(value)]
    if isinstance(value, list):
        return [document_of(inner) for inner in value]
    if hasattr(value, "value"):
        return base64.b64encode(value.value).decode()
    return text_of(value, 10**6) if isinstance(value, str) else value


def naive(item: dict[str, Any]) -> dict[str, Any]:
    """The row of a case, in plain Python; AssertionError or ValueError where there is none."""
    values = {name: plain(content) for name, content in item.items()}
    for name in ("case_number", "status", "requested_at"):
        assert isinstance(values.get(name), str)
        assert values[name].strip()
    moment = dt.datetime.fromisoformat(values["requested_at"])
    row = {
        "document_id": values["document_id"],
        "case_number": text_of(values["case_number"], 20),
        "status": text_of(values["status"].lower(), 12),
        "requested_at": moment.replace(tzinfo=moment.tzinfo or dt.UTC),
    }
    if (amount := values.get("amount")) is not None:
        assert isinstance(amount, Decimal)
        digits, _, decimals = f"{abs(amount):f}".partition(".")
        assert len(digits.lstrip("0")) <= 16
        assert len(decimals.rstrip("0")) <= 2
    if (currency := values.get("currency")) is not None:
        currency = text_of(currency.upper() if isinstance(currency, str) else currency, 3)
    if (details := values.get("details")) is not None:
        assert isinstance(details, (dict, list, set))
        details = document_of(details)
    customer = values.get("customer")
    assert customer is None or isinstance(customer, dict)
    for name, length in (("name", 80), ("country", 2)):
        if (customer or {}).get(name) is not None:
            text_of((customer or {})[name], length)
    name = (customer or {}).get("name")
    return row | {"amount": amount, "currency": currency, "details": details, "customer_name": name}


@settings(deadline=None, max_examples=40)
@given(items, st.randoms(use_true_random=False))
def test_shaping_says_the_same_as_plain_python(
    found: list[dict[str, Any]], shuffle: random.Random
) -> None:
    expected, rejected = [], []
    for item in sorted(found, key=lambda item: str(item["document_id"]["S"])):
        try:
            expected.append(naive(item))
        except (AssertionError, ValueError):
            rejected.append(item["document_id"]["S"])
    shuffle.shuffle(found)
    result = shaped(found[:2], found[2:])
    rows = result.frames["cases"].to_dicts()
    for row in rows:
        if row["details"] is not None:
            row["details"] = json.loads(row["details"], parse_float=Decimal, parse_int=Decimal)
    assert [{name: row[name] for name in naive_columns} for row in rows] == expected
    assert result.rejected["item_key"].to_list() == rejected
    counts = result.reconciliation.row(0, named=True)
    assert (counts["scanned"], counts["shaped"], counts["rejected"]) == (
        len(found), len(expected), len(rejected)
    )  # fmt: skip


naive_columns = [
    "document_id", "case_number", "status", "requested_at", "amount", "currency", "details",
    "customer_name",
]  # fmt: skip


def test_the_frame_has_the_columns_of_the_warehouse() -> None:
    assert cases([]).rows.columns[:-2] == shape(Scan("x", False, ())).frames["cases"].columns
