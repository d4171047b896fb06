"""suggest(): a first suite, drafted from a profile, with the evidence for each expectation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
import sqlalchemy as sa

from workbench import display, shapes, suites
from workbench.database import home_of
from workbench.errors import DataError, UsageError, WorkbenchError
from workbench.extracts import whole
from workbench.profiling.model import SchemaProfile, Table
from workbench.profiling.survey import profile_schema
from workbench.promises import Entry, Seen, is_sensitive, promises

State = Literal["added", "updated", "kept"]
DOMAIN = ("column", "column_A", "column_B", "column_list", "row_condition")
BEFORE, HASH = "suggested_before", "as_suggested"
LABELS = ("What", "Expectation", "Severity", "Evidence")


@dataclass(frozen=True, repr=False)
class Draft:
    """A drafted suite, or one that stands with what was drafted merged into it.

    `suite` is its content in Great Expectations' format, `states` says of each expectation in it
    whether it was added, updated or kept, `left_out` what is not in it and why; `before` is the
    file's text as it was read, None where there was none.
    """

    suite: Mapping[str, Any]
    path: Path
    states: Sequence[State]
    left_out: Sequence[str] = ()
    before: str | None = None

    @property
    def summary(self) -> str:
        """Say in a sentence what is in it."""
        parts = [f"{self.states.count(state):,} {state}" for state in get_args(State)]
        told = f"Suite {self.path.stem} has {len(self.states):,} expectations: "
        return f"{told}{', '.join(parts)}; {len(self.left_out):,} left out."

    def to_json(self) -> str:
        """Return the suite as the file has it."""
        return json.dumps(self.suite, indent=2, ensure_ascii=False) + "\n"

    def write(self) -> Path:
        """Write the file, whole or not at all, and return its path.

        Raises WorkbenchError where that fails or somebody has changed the file meanwhile.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.path, overwrite=True) as building:
                # Half of a pair of surrogates is written as JSON escapes it.
                building.write_bytes(self.to_json().encode("utf-8", "backslashreplace"))
                if _text(self.path) != self.before:
                    said = f"{self.path} was changed after the suite was drafted."
                    raise WorkbenchError(said, "Draft it again.")
        except OSError as error:
            said = f"{self.path} cannot be written: {error.strerror or error}."
            raise WorkbenchError(said, "It is as it was.") from None
        return self.path

    def __repr__(self) -> str:
        lines = ("  " + " – ".join(filter(None, row)) for row in self._rows())
        return "\n".join([self.summary, *lines])

    def _repr_html_(self) -> str:
        frame = pl.DataFrame(self._rows(), dict.fromkeys(LABELS, pl.String), orient="row")
        return display.table(frame, self.summary, rows=max(frame.height, 1)).html

    def _rows(self) -> list[tuple[str, str, str, str]]:
        rows = []
        for state, entry in zip(self.states, self.suite["expectations"], strict=True):
            meta, severity = entry.get("meta") or {}, entry.get("severity") or "critical"
            one = suites.Expectation(entry["type"], entry.get("kwargs") or {}, meta)
            told = str(meta.get("evidence") or "by hand")
            rows.append((str(state), suites.sentence(one), severity, told))
        return [*rows, *(("left out", why, "", "") for why in self.left_out)]


def suggest(what: Any, suite: str | None = None) -> Draft:
    """Draft a suite for a table, in Great Expectations' format, from what is in the table.

    `what` is `db.table(...)`, which is profiled now and may try more, a table of a schema
    profile, or a profile of one table. `suite` names it, otherwise the table does; where the
    project has a suite of that name, the draft is merged into it: what people wrote, edited or
    took out stays as they left it. Nothing is written before `.write()`.

    Every expectation holds for the profiled data, and has tolerances with which it holds for a
    fresh sample of 500 rows or more (see `workbench.promises`). Critical are keys alone.
    Raises UsageError for anything else, DataError for a table that could not be profiled or a
    suite that cannot be read.
    """
    seen, untried = _seen(what)
    table = seen.table
    name = table.name if suite is None else suite
    if not re.fullmatch(r"\w[\w -]{0,99}", name):
        said = f"A suite cannot be named {name[:100]!r}: it is a file's name."
        raise UsageError(said, 'Name it: suggest(table, "colors").')
    path = suites.folder() / f"{name}.json"
    before, standing = _standing(path)
    drafted = list(promises(seen))
    content, states, gone = merged(
        {"name": name, "expectations": [], **standing},
        drafted,
        key=table.primary_key.columns if table.primary_key else (),
        sensitive=[column.name for column in table.columns if is_sensitive(column)],
    )
    named = {entry["kwargs"].get("column") for entry in drafted if table.count}
    silent = [column.name for column in table.columns if named and column.name not in named]
    nothing = [f"{name}: nothing but its presence can be promised" for name in silent]
    return Draft(content, path, states, (*gone, *nothing, *untried), before)


def _seen(what: Any) -> tuple[Seen, list[str]]:
    """Return what is known of the table, and what is not because only its profile was given."""
    database = None
    if isinstance(what, sa.Table):
        database = home_of(what)
        what = profile_schema(database, what.schema, [what.name], depth=2)
    tables = what.tables if isinstance(what, SchemaProfile) else (what,)
    if len(tables) != 1 or not isinstance(tables[0], Table):
        of = f"{len(tables):,} tables" if isinstance(what, SchemaProfile) else type(what).__name__
        said = f"suggest() takes a table or the profile of one, not {of}."
        named = f": {', '.join(table.name for table in tables[:20])}." if len(tables) > 1 else "."
        raise UsageError(said, f"Such as db.table(...), or profile.table(name){named}")
    (table,) = tables
    if table.problem:
        said = f"No suite can be drafted for {table.name!r}: {table.problem}"
        raise DataError(said, "Profile it again when that is mended.")
    if database:
        return Seen(table, shapes.tried(database, what.schema, table)), []
    formed = [column.name for column in table.columns if shapes.regexes(table, column)]
    said = "its form can be tried on the table only: suggest(db.table(...))"
    return Seen(table), [f"{name}: {said}" for name in formed]


def _text(path: Path) -> str | None:
    return path.read_text("utf-8-sig", "replace") if path.exists() else None


def _standing(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Return a suite's file as text and content; raises DataError where it cannot be merged."""
    text = _text(path)
    if text is None:
        return None, {}
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        content = json.loads(text)
        if content["expectations"] == []:
            return text, content  # for validate() an error, but a fine place for a draft
    if suites.read_suite(path).converted:
        said = f"{path} is a suite of Great Expectations 0.x, into which nothing is merged."
        raise UsageError(said, "Name another suite, or write this one in today's format first.")
    return text, content


def merged(
    standing: Mapping[str, Any],
    drafted: Sequence[Entry],
    *,
    key: Sequence[str] = (),
    sensitive: Sequence[str] = (),
) -> tuple[dict[str, Any], list[State], list[str]]:
    """Merge drafted expectations into a suite's content; return it, states and what was left out.

    Two expectations are the same if type, columns and row condition are, the case of names aside.
    What is there stays in its place. A suggestion that nobody has touched takes on what was
    drafted, but for its owner and what else a person added; one that was suggested before and is
    gone does not come back.
    """
    suite = deepcopy(dict(standing))
    entries: list[dict[str, Any]] = suite["expectations"]
    meta = suite["meta"] = dict(suite.get("meta") or {})
    before = set(map(str, meta.get(BEFORE) or ()))
    earlier = frozenset(before)
    states: list[State] = ["kept"] * len(entries)
    gone: list[str] = []
    there: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        there.setdefault(_identity(entry), []).append(place)
    # A suggestion that a person gave a row condition is another one, but was not taken out.
    narrowed = {_identity(entry, DOMAIN[:-1]) for entry in entries if _meta(entry, "suggested")}
    for new in drafted:
        known = _identity(new)
        places = there.get(known, [])
        same = [entries[place] for place in places]
        made = {**new, "meta": {**new["meta"], HASH: _digest(new)}}
        if not same and known not in earlier:
            entries.append(deepcopy(made))
            states.append("added")
        elif not same and known not in narrowed:
            gone.append(f"{_meta(new, 'sentence')}: taken out of the suite earlier")
        elif same and all(_is_untouched(each, like=new) for each in same):
            fresh = _renewed(same[0], made)
            if fresh != same[0]:
                entries[places[0]], states[places[0]] = fresh, "updated"
        if not same or any(_meta(each, "suggested") for each in same):
            before.add(known)  # else a person's own, which may make room one day
    hidden = list(meta.get("sensitive") or ())
    lower = {str(name).lower() for name in hidden}
    hidden += [name for name in sensitive if name.lower() not in lower]
    said = {"key": meta.get("key") or list(key), "sensitive": hidden, BEFORE: sorted(before)}
    meta.update({name: value for name, value in said.items() if value})
    return suite, states, gone


def _meta(entry: Entry, name: str) -> Any:
    return (entry.get("meta") or {}).get(name)


def _renewed(old: Entry, new: Entry) -> dict[str, Any]:
    """Give a suggestion new figures; what people and Great Expectations added to it stays."""
    meta = {**old["meta"], **new["meta"]}
    return {**old, **new, "meta": {**meta, "owner": _meta(old, "owner") or meta["owner"]}}


def _identity(entry: Entry, domain: Sequence[str] = DOMAIN) -> str:
    """Write what makes an expectation this one: its type, columns and row condition."""
    kwargs = entry.get("kwargs") or {}
    values = [value for name in domain if (value := kwargs.get(name)) is not None]
    parts = [
        sorted(str(part).lower() for part in value) if isinstance(value, list) else value
        for value in values
    ]
    return f"{entry['type']} {json.dumps(parts, ensure_ascii=False)}".lower()


def _digest(entry: Entry) -> str:
    """Hash what a person might edit; numbers as Great Expectations writes them, 1 as 1.0."""
    severity = entry.get("severity") or "critical"
    parts = [entry["type"], entry.get("kwargs"), severity, _meta(entry, "sentence")]
    plain = json.dumps(json.loads(json.dumps(parts), parse_int=float), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def _is_untouched(entry: Entry, like: Entry) -> bool:
    is_as_suggested = _meta(entry, "suggested") and _meta(entry, HASH) == _digest(entry)
    # Two columns may differ in their case alone.
    return bool(is_as_suggested and entry["kwargs"].get("column") == like["kwargs"].get("column"))
