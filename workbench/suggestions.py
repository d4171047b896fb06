"""suggest(): a first suite, drafted from a profile, with the evidence for each expectation."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from workbench import display, suites
from workbench.errors import DataError, UsageError, WorkbenchError

if TYPE_CHECKING:
    from workbench.profiling.model import SchemaProfile, Table
    from workbench.promises import Promise, Seen

State = Literal["added", "updated", "kept"]
DOMAIN = ("column", "column_A", "column_B", "column_list", "row_condition")
BEFORE, HASH = "suggested_before", "as_suggested"
UNNAMED = "to be named"
LONGEST = 100  # characters of a name


@dataclass(frozen=True, repr=False)
class Draft:
    """A drafted suite, or one that stands with what was drafted merged into it.

    `suite` is its content in Great Expectations' format, `states` says of each expectation in it
    whether it was added, updated or kept, `left_out` what is not in it and why.
    """

    suite: Mapping[str, Any]
    path: Path
    states: Sequence[State]
    left_out: Sequence[str] = ()
    before: str | None = field(default=None, compare=False)
    """The file's text as it was read; None where there was none."""

    @property
    def added(self) -> list[Mapping[str, Any]]:
        """The expectations that are new."""
        return self._of("added")

    @property
    def updated(self) -> list[Mapping[str, Any]]:
        """Earlier suggestions that nobody has touched, with today's figures."""
        return self._of("updated")

    @property
    def kept(self) -> list[Mapping[str, Any]]:
        """The expectations that are as they were."""
        return self._of("kept")

    def _of(self, state: State) -> list[Mapping[str, Any]]:
        pairs = zip(self.suite["expectations"], self.states, strict=True)
        return [entry for entry, its in pairs if its == state]

    @property
    def summary(self) -> str:
        """Say in a sentence what is in it."""
        counts = Counter(self.states)
        parts = [f"{counts[state]:,} {state}" for state in ("added", "updated", "kept")]
        told = f"Suite {self.path.stem} has {len(self.states):,} expectations: "
        return f"{told}{', '.join(parts)}; {len(self.left_out):,} left out."

    def to_json(self) -> str:
        """Return the suite as the file has it."""
        return json.dumps(self.suite, indent=2, ensure_ascii=False) + "\n"

    def write(self) -> Path:
        """Write the file, whole or not at all, and return its path.

        Raises WorkbenchError where that fails or somebody has changed the file meanwhile.
        """
        from workbench.extracts import whole

        # Half of a pair of surrogates is written as JSON escapes it.
        content = self.to_json().encode("utf-8", "backslashreplace")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.path, overwrite=True) as building:
                building.write_bytes(content)
                if _text(self.path) != self.before:
                    said = f"{self.path} was changed after the suite was drafted."
                    raise WorkbenchError(said, "Draft it again.")
        except OSError as error:
            said = f"{self.path} cannot be written: {error.strerror or error}."
            raise WorkbenchError(said, "It is as it was.") from None
        return self.path

    def __repr__(self) -> str:
        lines = (f"  {state}: {said} – {told}" for state, said, _, told in self._rows())
        return "\n".join([self.summary, *lines, *(f"  left out: {why}" for why in self.left_out)])

    def _repr_html_(self) -> str:
        labels = ("What", "Expectation", "Severity", "Evidence")
        rows = [*self._rows(), *(("left out", why, "", "") for why in self.left_out)]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(labels, pl.String), orient="row")
        return display.table(frame, self.summary, rows=max(len(rows), 1)).html

    def _rows(self) -> list[tuple[str, str, str, str]]:
        pairs = zip(self.suite["expectations"], self.states, strict=True)
        return [(state, *_told(entry)) for entry, state in pairs]


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
    from workbench.promises import is_sensitive, promises

    seen, untried = _seen(what)
    table = seen.table
    name = table.name if suite is None else suite
    if not re.fullmatch(r"\w[\w -]*", name) or len(name) > LONGEST:
        said = f"A suite cannot be named {name[:LONGEST]!r}: it is a file's name."
        raise UsageError(said, 'Name it: suggest(table, "colors").')
    path = suites.folder() / f"{name}.json"
    before, standing = _standing(path)
    counts = Counter(column.name.lower() for column in table.columns)
    drafted = [_entry(promise) for promise in promises(seen)]
    content, states, gone = merged(
        {"name": name, "expectations": [], **standing},
        drafted,
        key=table.primary_key.columns if table.primary_key else (),
        sensitive=[column.name for column in table.columns if is_sensitive(column)],
        twins={low for low, count in counts.items() if count > 1},
    )
    named = {name for entry in drafted for name in _columns(entry)}
    silent = [c.name for c in table.columns if table.count and c.name not in named]
    nothing = [f"{column}: nothing but its presence can be promised" for column in silent]
    return Draft(content, path, states, (*gone, *nothing, *untried), before)


def _seen(what: Any) -> tuple[Seen, list[str]]:
    """Return what is known of the table, and what is not because only its profile was given."""
    import sqlalchemy as sa

    from workbench import shapes
    from workbench.database import Database
    from workbench.profiling.model import SchemaProfile, Table
    from workbench.profiling.survey import profile_schema
    from workbench.promises import Seen

    if isinstance(what, sa.Table):
        database = what.metadata.info.get("database")
        if not isinstance(database, Database):
            said = f"The table {what.name!r} does not say which source it is in."
            raise UsageError(said, "Get it from its source: db.table(...).")
        profile = profile_schema(database, what.schema, [what.name], depth=2)
        table = _measured(_only(profile))
        return Seen(table, shapes.tried(database, profile.schema, table)), []
    if isinstance(what, SchemaProfile):
        what = _only(what)
    if not isinstance(what, Table):
        said = f"suggest() takes a table or its profile, not {type(what).__name__}."
        raise UsageError(said, "Such as db.table(...), or profile.table(name).")
    table = _measured(what)
    formed = [column.name for column in table.columns if shapes.regexes(table, column)]
    said = "its form can be tried on the table only: suggest(db.table(...))"
    return Seen(table), [f"{name}: {said}" for name in formed]


def _entry(promise: Promise) -> dict[str, Any]:
    meta = {"sentence": promise.sentence, "owner": UNNAMED, "suggested": True}
    return {
        "type": promise.type,
        "kwargs": dict(promise.kwargs),
        "meta": {**meta, "evidence": promise.evidence},
        "severity": promise.severity,
    }


def _only(profile: SchemaProfile) -> Table:
    if len(profile.tables) == 1:
        return profile.tables[0]
    names = ", ".join(table.name for table in profile.tables[:20]) or "none"
    said = f"The profile of schema {profile.schema!r} has {len(profile.tables):,} tables, not one."
    raise UsageError(said, f"Say profile.table(name). Tables there: {names}.")


def _measured(table: Table) -> Table:
    if table.problem:
        said = f"No suite can be drafted for {table.name!r}: {table.problem}"
        raise DataError(said, "Profile it again when that is mended.")
    return table


def _columns(entry: Mapping[str, Any]) -> list[str]:
    kwargs = entry["kwargs"]
    return [*kwargs.get("column_list", ()), *filter(None, [kwargs.get("column")])]


def _text(path: Path) -> str | None:
    return path.read_text("utf-8-sig", "replace") if path.exists() else None


def _standing(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Return a suite's file as text and content; raises DataError where it cannot be merged."""
    text = _text(path)
    if text is None:
        return None, {}
    try:
        is_old = suites.read_suite(path).converted
    except DataError:
        # One that holds nothing any more is fine here.
        with suppress(ValueError):
            content = json.loads(text)
            if isinstance(content, dict) and content.get("expectations") == []:
                return text, content
        raise
    if is_old:
        said = f"{path} is a suite of Great Expectations 0.x, into which nothing is merged."
        raise UsageError(said, "Name another suite, or write this one in today's format first.")
    return text, json.loads(text)


def merged(
    standing: Mapping[str, Any],
    drafted: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    twins: Collection[str] = (),
) -> tuple[dict[str, Any], list[State], list[str]]:
    """Merge drafted expectations into a suite's content; return it, states and what was left out.

    Two expectations are the same if type, columns and row condition are, the case of names aside
    (but for `twins`, lower-case names that several columns have). What is there stays in its
    place. A suggestion that nobody has touched takes on what was drafted, but for its owner and
    what else a person added; one that was suggested before and is gone does not come back.
    """
    suite = deepcopy(dict(standing))
    entries: list[dict[str, Any]] = suite["expectations"]
    meta = suite["meta"] = dict(suite.get("meta") or {})
    listed = meta.get(BEFORE)
    before = set(map(str, listed)) if isinstance(listed, list) else set[str]()
    states: list[State] = ["kept"] * len(entries)
    gone: list[str] = []
    there: dict[str, list[int]] = {}
    for place, entry in enumerate(entries):
        there.setdefault(_identity(entry, twins), []).append(place)
    for new in drafted:
        known = _identity(new, twins)
        entry = {**new, "meta": {**new["meta"], HASH: _digest(new)}}
        places = there.get(known, [])
        if places and all(_is_untouched(entries[place]) for place in places):
            fresh = _renewed(entries[places[0]], entry)
            if fresh != entries[places[0]]:
                entries[places[0]], states[places[0]] = fresh, "updated"
        elif not places and known in before:
            gone.append(f"{entry['meta']['sentence']}: taken out of the suite earlier")
        elif not places:
            entries.append(deepcopy(entry))
            states.append("added")
        if not places or any(_meta(entries[place]).get("suggested") for place in places):
            before.add(known)  # else a person's own, which may make room one day
    if key and "key" not in meta:
        meta["key"] = list(key)
    hidden = list(meta.get("sensitive") or ())
    lower = {str(name).lower() for name in hidden}
    if hidden or sensitive:
        meta["sensitive"] = [*hidden, *(name for name in sensitive if name.lower() not in lower)]
    meta[BEFORE] = sorted(before)
    return suite, states, gone


def _renewed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Give a suggestion new figures; what people and Great Expectations added to it stays."""
    owner = _meta(old).get("owner", UNNAMED)
    return {**old, **new, "meta": {**_meta(old), **new["meta"], "owner": owner}}


def _meta(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = entry.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def _identity(entry: Mapping[str, Any], twins: Collection[str]) -> str:
    """Write what makes an expectation this one: its type, columns and row condition."""

    def folded(value: Any) -> Any:
        if isinstance(value, list):
            return sorted((folded(each) for each in value), key=str)
        if not isinstance(value, str) or value.lower() in twins:
            return value
        return value.lower()

    kwargs = entry.get("kwargs") or {}
    domain = {
        name: value if name == "row_condition" else folded(value)
        for name in DOMAIN
        if (value := kwargs.get(name)) is not None
    }
    alone = domain.get("column") if len(domain) == 1 else None
    written = alone or json.dumps(domain, sort_keys=True, ensure_ascii=False) if domain else ""
    return f"{entry.get('type')} {written}".rstrip()


def _digest(entry: Mapping[str, Any]) -> str:
    """Hash what a person might edit; numbers as Great Expectations writes them, 1 as 1.0."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(name): plain(part) for name, part in value.items()}
        if isinstance(value, list):
            return [plain(part) for part in value]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return repr(float(value)) if is_number else value

    severity = entry.get("severity") or "critical"
    parts = [entry["type"], entry.get("kwargs"), severity, _meta(entry).get("sentence")]
    return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()[:12]


def _is_untouched(entry: Mapping[str, Any]) -> bool:
    meta = _meta(entry)
    return bool(meta.get("suggested") and meta.get(HASH) == _digest(entry))


def _told(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return an expectation's sentence, severity and evidence."""
    meta, severity = _meta(entry), entry.get("severity") or "critical"
    one = suites.Expectation(entry["type"], entry.get("kwargs") or {}, meta)
    return suites.sentence(one), severity, str(meta.get("evidence") or "by hand")
