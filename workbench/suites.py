"""Suites of expectations: where they are, how they are read, and each one as a sentence.

A suite is a file in Great Expectations' own format. Nothing here imports Great Expectations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from workbench import phrases
from workbench.errors import DataError, UsageError, nearest

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # most serious first

# They say how Great Expectations runs and tells, not what it expects; some are gone since 1.0.
HOW_IT_RUNS = (
    "auto", "batch_id", "catch_exceptions", "include_config", "output_strftime_format",
    "profiler_config", "result_format",
)  # fmt: skip
# What 1.0 took away: https://docs.greatexpectations.io/docs/reference/learn/migration_guide and
# https://github.com/great-expectations/great_expectations/issues/3183 (texts are not parsed).
TAKEN_AWAY = ("allow_cross_type_comparisons", "parse_strings_as_datetimes")
MARKS_OF_0 = ("expectation_suite_name", "evaluation_parameters", "data_asset_type", "ge_cloud_id")


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite: its type and arguments, as Great Expectations names them."""

    type: str
    kwargs: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"
    description: str | None = None
    id: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it speaks of, as the suite writes them."""
        found = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        for key in ("column_list", "column_set", "group_by", "order_by"):
            listed = self.kwargs.get(key)
            found += listed if isinstance(listed, list | tuple) else []
        return tuple(str(name) for name in found if name)

    @property
    def owner(self) -> str | None:
        """Who answers for it."""
        owner = self.meta.get("owner")
        return str(owner) if owner else None


@dataclass(frozen=True)
class Suite:
    """A named list of expectations.

    `meta["key"]` lists the columns that identify a row, `meta["sensitive"]` those whose values
    are never shown. `converted` tells a suite in the format of Great Expectations 0.x.
    """

    name: str
    expectations: Sequence[Expectation]
    meta: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    converted: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(map(str, self.meta.get("key", ())))

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The columns whose values are never shown."""
        return tuple(map(str, self.meta.get("sensitive", ())))


def folder() -> Path:
    """Return where the project's suites are: `expectations` of the settings."""
    from workbench.settings import load_settings, project_folder

    return project_folder() / load_settings().expectations


def known() -> list[str]:
    """List the names of the suites there are."""
    return sorted(path.stem for path in folder().glob("*.json") if path.is_file())


def read_suite(suite: str | Path | Mapping[str, Any] | Suite | Any) -> Suite:
    """Read a suite: a name in the `expectations` folder, a file, or its content.

    A content is a mapping or Great Expectations' own ExpectationSuite. A suite of Great
    Expectations 0.x is converted in memory; parameters are filled in from the suite itself.
    Raises UsageError for an unknown suite, naming those that exist, and DataError for one that
    is no suite, is empty, or is malformed, naming the line and column or the expectation.
    """
    if isinstance(suite, Suite):
        _refuse_empty(suite)
        return suite
    if isinstance(suite, str | Path):
        path = _find(suite)
        return _suite(_content(path), str(path), path)
    content = suite.to_json_dict() if hasattr(suite, "to_json_dict") else suite
    if not isinstance(content, Mapping):
        said = f"A suite is a name, a file or its content, not {type(suite).__name__}."
        raise UsageError(said)
    return _suite(content, "The suite", None)


def sentence(expectation: Expectation) -> str:
    """Say an expectation as a sentence: its own in `meta`, else one made of its arguments."""
    said = expectation.meta.get("sentence") or expectation.description
    return str(said) if said else phrases.phrase(expectation.type, expectation.kwargs)


def _find(suite: str | Path) -> Path:
    """Find a suite's file; raises UsageError naming the suites there are, the nearest first."""
    text = str(suite)
    if isinstance(suite, Path) or text.endswith(".json") or "/" in text or "\\" in text:
        path = Path(suite).expanduser()
        inside = folder() / path
    else:
        path = inside = folder() / f"{text}.json"
    for found in (path, inside):
        if found.is_file():
            return found
        if found.is_dir():
            raise UsageError(f"{found} is a directory; a suite is a file.")
    stem = Path(text).stem
    names = sorted(known(), key=lambda name: -SequenceMatcher(None, stem.lower(), name).ratio())
    raise UsageError(
        f"Unknown suite {text!r}.{nearest(stem, names)}",
        f"Suites in {folder()}: {', '.join(names) or 'none'}. A path to a .json file serves too.",
    )


class _Object(dict[str, Any]):
    """A JSON object that remembers a key it holds twice, of which Python would keep the last."""

    twice: str | None = None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        made.twice = next(name for name in names if names.count(name) > 1)
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    return number if math.isfinite(number := float(text)) else _no_number(text)


def _content(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        place = f"{path}, line {error.lineno}, column {error.colno}"
        raise DataError(f"{place}: this is not JSON: {error.msg}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}.", "Save it again as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from None


def _suite(content: Any, place: str, path: Path | None) -> Suite:
    if not isinstance(content, Mapping):
        raise DataError(f"{place} is no suite: it holds {_kind(content)}, not an object.")
    entries = content.get("expectations")
    if not isinstance(entries, list | tuple):
        raise DataError(f"{place} is no suite: it has no list of `expectations`.")
    _refuse_twice({**content, "expectations": None}, place, getattr(content, "twice", None))
    old = any(key in content for key in MARKS_OF_0)
    old |= any(isinstance(entry, Mapping) and "expectation_type" in entry for entry in entries)
    given = content.get("suite_parameters") or content.get("evaluation_parameters")
    given = _mapping(given, place, "parameters")
    name = content.get("name") or content.get("expectation_suite_name")
    suite = Suite(
        name=str(name or (path.stem if path else "suite")),
        expectations=tuple(
            _expectation(entry, f"{place}, expectation {number}", given)
            for number, entry in enumerate(entries, 1)
        ),
        meta=_mapping(content.get("meta"), place, "meta"),
        path=path,
        converted=old,
    )
    for key in ("key", "sensitive"):
        if not isinstance(suite.meta.get(key, []), list | tuple):
            raise DataError(f"{place}: meta.{key} is no list of columns.")
    _refuse_empty(suite, place)
    return suite


def _refuse_empty(suite: Suite, place: str | None = None) -> None:
    if not suite.expectations:
        said = f"{place or suite.name} has no expectations, and an empty suite proves nothing."
        raise DataError(said)


def _expectation(entry: Any, place: str, given: Mapping[str, Any]) -> Expectation:
    if not isinstance(entry, Mapping):
        raise DataError(f"{place} is {_kind(entry)}, not an object.")
    kind = entry.get("type") or entry.get("expectation_type")
    if not isinstance(kind, str):
        raise DataError(f"{place} has no type.", 'Such as "expect_column_values_to_be_unique".')
    place = f"{place} ({kind})"
    _refuse_twice(entry, place, getattr(entry, "twice", None))
    severity = entry.get("severity") or "critical"
    if severity not in SEVERITIES:
        said = f"{place} has the unknown severity {severity!r}.{nearest(str(severity), SEVERITIES)}"
        raise DataError(said, f"Severities: {', '.join(SEVERITIES)}.")
    meta = _mapping(entry.get("meta"), place, "meta")
    kwargs = _filled(_mapping(entry.get("kwargs"), place, "kwargs"), given, place)
    if "expectation_type" in entry:
        # Its writers put down what was not given, too, and wrote two columns as A and B.
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        kind = kind.lower()
    return Expectation(
        type=kind,
        kwargs=_kept(kwargs, place),
        meta=meta,
        severity=severity,
        description=_description(entry.get("description"), entry.get("notes"), meta.get("notes")),
        id=entry.get("id") or entry.get("ge_cloud_id"),
    )


def _description(*said: Any) -> str | None:
    """Take the first text; 0.x kept its notes as {"format": …, "content": …} in `meta`."""
    texts = [text.get("content") if isinstance(text, Mapping) else text for text in said]
    first = next(filter(None, texts), None)
    return " ".join(map(str, first)) if isinstance(first, list) else first and str(first)


def _kept(kwargs: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Leave out what Great Expectations no longer takes; raises DataError if that meant a thing."""
    for name in TAKEN_AWAY:
        dated = name.startswith("parse") and kwargs.keys() & {"min_value", "max_value"}
        # Dates are compared with dates: limits in ISO 8601 are dates to Great Expectations.
        if kwargs.get(name) and not dated:
            raise DataError(
                f"{place} takes {name}, which Great Expectations no longer knows.",
                "Give the column its type where the data is read, and take the argument out.",
            )
    return {k: v for k, v in kwargs.items() if k not in (*HOW_IT_RUNS, *TAKEN_AWAY)}


def _filled(value: Any, given: Mapping[str, Any], place: str) -> Any:
    """Put values in the place of parameters; raises DataError for one without a value."""
    if isinstance(value, list):
        return [_filled(item, given, place) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "$PARAMETER" not in value:
        return {key: _filled(item, given, place) for key, item in value.items()}
    name = str(value["$PARAMETER"])
    if (inside := f"$PARAMETER.{name}") in value:
        return value[inside]
    if name.startswith("now()"):
        return value  # which Great Expectations calculates
    if name not in given:
        raise DataError(
            f"{place} needs the parameter {name!r}, which has no value.{nearest(name, given)}",
            "Give it one under `suite_parameters` of the suite. Only moments are calculated, such "
            'as "now() - timedelta(days=1)".',
        )
    return given[name]


def _mapping(value: Any, place: str, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise DataError(f"{place}: {what} is {_kind(value)}, not an object.")
    return value or {}


def _refuse_twice(value: Any, place: str, name: str | None = None) -> None:
    if name := name or getattr(value, "twice", None):
        raise DataError(f"{place} has the key {name!r} twice.", "Take one of them out.")
    for item in value.values() if isinstance(value, Mapping) else value:
        if isinstance(item, Mapping | list):
            _refuse_twice(item, place)


def _kind(value: Any) -> str:
    names = {str: "a text", bool: "a yes or no", list: "a list", type(None): "nothing"}
    return names.get(type(value), "a number")
