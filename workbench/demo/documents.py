"""Sample schema `documents`: a warehouse as an earlier load left it, and the items of DynamoDB.

`items` are what the tables documents, metadata, templates and audit hold at the end of the last
day, `documents_server` serves them; `generate` gives the warehouse as the load of some days
before had left it. What is wrong on purpose, and how often in the default size, says `DIRT`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from workbench.documents.targets import tables

if TYPE_CHECKING:
    import polars as pl

LAST_DAY = dt.date(2026, 1, 9)
LOADED = dt.datetime(2026, 1, 6, 5, 0, tzinfo=dt.UTC)  # the earlier load
ENDED = dt.datetime(2026, 1, 9, 23, 0, tzinfo=dt.UTC)
DAYS = 90  # for which a document is kept in DynamoDB
AUDITED = 14  # days for which its audit is
GONE = 4  # days before that, whose documents the earlier load had still found
DOCUMENTS = 3_000  # beside 20,000 colors
EIGHTEEN = Decimal(1).scaleb(-18)

DIRT = {
    "documents whose amount is a text with its currency": 6,
    "documents with more decimals in the amount than money has": 3,
    "documents requested on a day like 31.12.2025": 5,
    "documents without a case number": 4,
    "documents whose status is a number": 2,
    "documents that are there twice, once with a blank after their id": 3,
    "documents with a NUL character in their customer's name": 1,
    "files of half a page": 4,
    "documents with the unknown attribute legacy_ref": 90,
    "documents with the unknown attribute customer.vat_id": 30,
    "files with the unknown attribute ocr": 25,
}
"""Each kind of dirt and how many items have it in the default size; counts shrink and grow with."""

METADATA = tables("documents")["cases"].metadata

KINDS = ("Payment reminder", "Final demand", "Instalment plan", "Statement of account",
         "Notice of default", "Settlement offer")  # fmt: skip
COUNTRIES = (("DE", "EUR", "de"), ("FR", "EUR", "fr"), ("GB", "GBP", "en"), ("US", "USD", "en"),
             ("CH", "CHF", "de"), ("SE", "SEK", "en"))  # fmt: skip
WORDS = "Amber Birch Cedar Delta Ember Fjord Grove Harbour Indigo Juniper Köln Lumen Møller".split()
FORMS = ("Ltd", "GmbH", "& Sons", "SA", "AB", '"Trading" <Co>', "100% Energie")
LABELS = ("first notice", "second notice", "disputed", "key account", "legal", "paper")
Item = dict[str, Any]


def items(rows: int = 20_000, until: dt.datetime = ENDED) -> dict[str, list[Item]]:
    """Return the items of each DynamoDB table as they stood at a moment."""
    made: dict[str, list[Item]] = {"documents": [], "metadata": [], "templates": _templates(until),
                                   "audit": []}  # fmt: skip
    kept = max(10, rows * DOCUMENTS // 20_000)
    spoilt = _places(kept, rows)
    for number in range(-kept * GONE // DAYS, kept):
        asked = ENDED - dt.timedelta(days=DAYS) * ((kept - number) / kept)
        if not until - dt.timedelta(days=DAYS) <= asked <= until:
            continue
        document, file, events = _document(number, asked.replace(microsecond=0), until)
        made["documents"].append(document)
        if kind := spoilt.get(number):
            made["documents"] += SPOIL[kind](document, file) or []
        made["metadata"] += [file] if file else []
        made["audit"] += events if asked > until - dt.timedelta(days=AUDITED) else []
    return made


def generate(rows: int = 20_000) -> dict[str, pl.DataFrame]:
    """Return the warehouse's frames in load order, as the earlier load had left them."""
    import polars as pl

    from workbench.documents.scanning import Page, Scan
    from workbench.documents.shaping import SHAPES, shape
    from workbench.documents.targets import SOURCES, empty

    found = items(rows, LOADED)
    pages = (Page(t, len(found[name]), 0.0, SHAPES[t](found[name])) for t, name in SOURCES.items())
    shaped = shape(Scan("demo", False, tuple(pages)))
    first = {"load_id": "20260106T050000Z-000000", "loaded_at": LOADED, "source": "demo"}
    loads = shaped.reconciliation.with_columns(
        *(pl.lit(value).alias(name) for name, value in first.items()),
        pl.col("shaped").alias("loaded"), pl.col("shaped").alias("added"),
        pl.lit(0, pl.Int64).alias("changed"), pl.lit(0, pl.Int64).alias("removed"),
    )  # fmt: skip
    rejected = shaped.rejected.with_row_index("entry", 1).with_columns(
        pl.col("entry").cast(pl.Int64)
    )
    more = {"loads": loads, "rejected": rejected}
    return shaped.frames | {name: frame.select(empty(name).columns) for name, frame in more.items()}


def _places(kept: int, rows: int) -> dict[int, str]:
    """Choose which documents are spoilt, each in one way: old ones, of which there is a file."""
    places = [number for number in range(kept // 9, kept * 8 // 9) if number % 50 != 7]
    Random(20260109).shuffle(places)  # noqa: S311
    spoilt = {}
    for kind, usual in DIRT.items():
        for _ in range(min(max(1, round(usual * rows / 20_000)), len(places))):
            spoilt[places.pop()] = kind
    return spoilt


SPOIL: dict[str, Callable[[Item, Item], list[Item] | None]] = dict(
    zip(
        DIRT,
        (
            lambda document, _: document.update(amount={"S": "1.250,00 EUR"}),
            lambda document, _: document.update(amount={"N": "99.125"}),
            lambda document, _: document.update(requested_at={"S": "31.12.2025"}),
            lambda document, _: document.pop("case_number") and None,
            lambda document, _: document.update(status={"N": "4"}),
            lambda document, _: [document | {"document_id": {"S": _content(document) + " "}}],
            lambda document, _: document["customer"]["M"].update(name={"S": "Amber\0Ltd"}),
            lambda _, file: file.update(pages={"N": "0.5"}),
            lambda document, _: document.update(legacy_ref={"S": "L-" + _content(document)}),
            lambda document, _: document["customer"]["M"].update(vat_id={"S": "DE000000000"}),
            lambda _, file: file.update(ocr={"M": {"engine": {"S": "v2"}}}),
        ),
        strict=True,
    )
)


def _content(document: Item) -> str:
    return str(document["document_id"]["S"])


def _document(number: int, asked: dt.datetime, until: dt.datetime) -> tuple[Item, Item, list[Item]]:
    """Make a document, its file where there is one, and its audit."""
    random = Random(number + 10_000)  # noqa: S311
    key = {"document_id": {"S": f"D-{number + 10_000:06d}"}}
    country, currency, language = random.choice(COUNTRIES)
    kind = random.randrange(len(KINDS))
    cents = random.randrange(2_000, 5_000_000)
    steps = [("requested", asked, "portal")]
    steps.append(("failed" if number % 50 == 7 else "generated",
                  asked + dt.timedelta(seconds=random.randint(60, 2_400)), "renderer"))  # fmt: skip
    if steps[1][0] == "generated":
        sent = asked + dt.timedelta(seconds=random.randint(3_600, 108_000))
        closed = sent + dt.timedelta(seconds=random.randint(172_800, 3_456_000))
        steps += [("sent", sent, "dispatch"), ("closed", closed, "case desk")]
    steps = [step for step in steps if step[1] <= until]
    status, last, _ = steps[-1]
    name = f"{random.choice(WORDS)} {random.choice(WORDS)} {random.choice(FORMS)}"
    labels = random.sample(LABELS, random.choice((0, 0, 1, 1, 2, 3)))
    document: Item = key | {
        "case_number": {"S": f"C-{asked:%y%m}-{number % 997:04d}"},
        "status": {"S": status if random.randrange(20) else status.upper()},
        "template_id": {"S": f"T-{kind + 1}-{language}"},
        "template_version": {"N": "1"},
        "customer": {"M": {"name": {"S": name}, "country": {"S": country}}},
        "requested_at": {"S": asked.isoformat().replace("+00:00", "Z")},
        "is_urgent": {"BOOL": random.randrange(8) == 0},
    }
    if kind != 3:
        document |= {
            "amount": {"N": f"{cents // 100}.{cents % 100:02d}"},
            "currency": {"S": currency if random.randrange(20) else currency.lower()},
            "daily_interest": {"N": str((Decimal(cents * 9) / 3_650_000).quantize(EIGHTEEN))},
        }
    if labels:
        document["labels"] = {"SS": labels}
    if random.randrange(3):
        part = {"M": {"due": {"S": f"{asked + dt.timedelta(30):%F}"}, "share": {"N": "0.5"}}}
        details = {"instalments": {"L": [part] * random.randint(1, 3)}, "note": {"NULL": True}}
        document["details"] = {"M": details | {"disputed": {"BOOL": "disputed" in labels}}}
    if status in ("closed", "failed"):
        document["closed_at"] = {"S": last.isoformat()}
    file: Item = {}
    if len(steps) > 1 and status != "failed":
        file = key | {
            "file_name": {"S": f"{document['case_number']['S']} {KINDS[kind]}.pdf"},
            "content_type": {"S": "application/pdf" if random.randrange(9) else "Application/PDF"},
            "size_bytes": {"N": str(random.randint(20_000, 900_000))},
            "pages": {"N": str(random.randint(1, 12))},
            "sha256": {"B": hashlib.sha256(name.encode()).digest()},
            "stored_at": {"S": steps[1][1].isoformat()},
        }
    events = [
        key | {"sequence": {"N": str(place)}, "event": {"S": event}, "actor": {"S": actor},
               "occurred_at": {"S": moment.isoformat()}}
        for place, (event, moment, actor) in enumerate(steps, 1)
    ]  # fmt: skip
    return document, file, events


def _templates(until: dt.datetime) -> list[Item]:
    made = []
    for number, kind in enumerate(KINDS):
        for language in ("de", "en", "fr"):
            days = [dt.date(2024, 1 + number, 1), dt.date(2025, 1 + number, 15)]
            days += [dt.date(2026, 1, 8)] if number < 2 else []
            current = [day for day in days if day <= until.date()]
            made += [
                {
                    "template_id": {"S": f"T-{number + 1}-{language}"},
                    "version": {"N": str(version)},
                    "title": {"S": kind},
                    "language": {"S": language},
                    "is_active": {"BOOL": day == current[-1]},
                    "placeholders": {"SS": ["customer", "amount", "due date"][: 2 + number % 2]},
                    "fee": {"N": f"{number + version}.50"},
                    "valid_from": {"S": day.isoformat()},
                }
                for version, day in enumerate(current, 1)
            ]
    return made
