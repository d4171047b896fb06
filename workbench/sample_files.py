"""What stands in a folder of samples: rows for Excel and for programs, structure, and words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import polars.selectors as cs

from workbench import extracts
from workbench.accessible import Listed, entry
from workbench.display import Shown, _links
from workbench.profiling.wording import count
from workbench.reporting.text import one_line

FIRST = 100  # rows in a JSON file
# https://owasp.org/www-community/attacks/CSV_Injection; a number alone does nothing.
FORMULA = r"(?s)^(?:[=@\t\r\n＝＋－＠]|[+-](?:$|.*[^\d.,])).*"


@dataclass(frozen=True)
class Sample:
    """What was got of a table: rows, masked columns and why, files by their names in the folder.

    `order_by` are the columns that the rows are in the order of, `read` is when (UTC) the state was
    seen that they are from; `problem` says why there are none.
    """

    name: str
    rows: int = 0
    columns: int = 0
    order_by: Sequence[str] = ()
    masked: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()
    read: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Samples:
    """A folder with samples of tables."""

    folder: Path
    tables: tuple[Sample, ...]

    @property
    def failed(self) -> tuple[Sample, ...]:
        """The tables that could not be read."""
        return tuple(sample for sample in self.tables if sample.problem)

    @property
    def as_of(self) -> str | None:
        """When (UTC) the newest state was seen that rows are from."""
        return max((sample.read for sample in self.tables if sample.read), default=None)

    def overview(self) -> pl.DataFrame:
        """Return a row for each table: table, rows, columns, masked (how many), problem."""
        kinds = {"table": pl.String, "rows": pl.Int64, "columns": pl.Int64, "masked": pl.Int64,
                 "problem": pl.String}  # fmt: skip
        rows = [(x.name, x.rows, x.columns, len(x.masked), x.problem) for x in self.tables]
        return pl.DataFrame(rows, schema=kinds, orient="row")

    def columns(self) -> pl.DataFrame:
        """Return a row for each column: table, name, type, nullable, comment, default, masked."""
        names = ("table", "name", "type", "nullable", "comment", "default", "masked")
        kinds = {name: pl.Boolean if name == "nullable" else pl.String for name in names}
        rows = [
            {"table": sample.name, **column}
            for sample in self.tables
            if sample.files
            for column in read_json(self.folder / sample.files[2])["columns"]
        ]
        return pl.DataFrame(rows, schema=kinds)

    def first_rows(self, sample: Sample) -> pl.DataFrame:
        """Return the first rows of a table as its JSON file has them."""
        return pl.DataFrame(read_json(self.folder / sample.files[1]), infer_schema_length=None)

    def links(self) -> Shown:
        """Show links to the files, for a report whose folder they are in."""
        names = sorted(path.name for path in self.folder.iterdir())
        shown = _links([f"data/{self.folder.name}/{name}" for name in names], short=True)
        return Shown(f"<p>{shown}</p>", f"data/{self.folder.name}: {len(names)} files")


def csv_text(frame: pl.DataFrame) -> bytes:
    """Write a CSV file as Excel reads it: a byte order mark, CRLF, and no formula."""
    if not frame.width:
        return b""
    safe = cs.string().str.replace(FORMULA, "'$0")
    names = pl.DataFrame([frame.columns], orient="row").with_columns(safe)
    rows = extracts.texts(frame.with_columns(safe), "%Y-%m-%d %H:%M:%S", set())
    null = '""' if frame.width == 1 else ""
    how: dict[str, Any] = {"include_header": False, "line_terminator": "\r\n", "null_value": null}
    text: str = names.write_csv(include_bom=True, **how) + rows.write_csv(**how)
    return text.encode()


def json_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Give the first rows as JSON holds them, by the rules of JSON lines."""
    exact = extracts.for_json(frame.head(FIRST), set(), set())
    return [json.loads(line) for line in exact.write_ndjson().split("\n") if line]


def structure(each: Listed, sample: Sample) -> dict[str, Any]:
    """Give a table's columns and keys; a masked column's default may be a value too."""
    table, masked = each.table, sample.masked
    return {
        **entry(each),
        "columns": [
            {
                "name": c.name, "type": c.type, "nullable": c.nullable, "comment": c.comment,
                "default": "masked" if c.default and c.name in masked else c.default,
                "masked": masked.get(c.name),
            }
            for c in table.columns
        ],
        "unique": [list(key.columns) for key in table.unique],
        "foreign_keys": [asdict(key) for key in table.foreign_keys],
        "indexes": [
            {"name": x.name, "columns": x.columns, "unique": x.unique} for x in table.indexes
        ],
        "sample": asdict(sample),
    }  # fmt: skip


def read_me(info: Mapping[str, Any], samples: Sequence[Sample], closed: Sequence[str]) -> str:
    """Say in plain words what is in the folder."""
    # No page, so nothing is escaped; names come from the database, and stay on their line.
    environment = jinja2.Environment(  # noqa: S701
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        finalize=lambda text: one_line(str(text)),
    )  # fmt: skip
    template = files("workbench").joinpath("samples.txt.j2").read_text("utf-8")
    facts = {"info": info, "samples": samples, "closed": closed, "first": FIRST, "count": count}
    return environment.from_string(template).render(facts)


def pretty(content: Any) -> bytes:
    """Write JSON for people."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def read_info(path: Path) -> dict[str, Any] | None:
    """Read how samples were begun; None: nobody did, or it is not told whole.

    The folder may come from anybody: the names in it lead nowhere else.
    """
    with suppress(FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        info: dict[str, Any] = read_json(path)
        names = [info["extract"], *chain.from_iterable(info["files"].values())]
        plain = all(re.fullmatch(r"\w[\w.-]*", name) for name in names)
        whole = isinstance(info["request"], dict) and isinstance(info["complete"], bool)
        if plain and whole and re.fullmatch(r"[\dT:-]+", info["started"]):
            return info
    return None


def read_json(path: Path) -> Any:
    """Read a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
