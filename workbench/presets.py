"""Desk presets: what a desk ranks, how, and which columns it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator

from workbench.colors import parse_order
from workbench.conditions import Part, When
from workbench.errors import UsageError, nearest
from workbench.exclusions import find, read_content, validated

SUFFIXES = (".yaml", ".yml")


def _headed(given: Any) -> Any:
    """Make a heading of each column's own name where there is only a list."""
    if not isinstance(given, list | tuple):
        return given
    names = _once("column", [str(each) for each in given])
    return dict(zip(names, given, strict=True))


def _once(what: str, names: Sequence[str]) -> Sequence[str]:
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"the {what} {twice[0]!r} is there twice")
    return names


Columns = Annotated[
    Mapping[str, str],
    BeforeValidator(_headed, json_schema_input_type=Mapping[str, str] | tuple[str, ...]),
]


class Preset(Part):
    """One desk's way of running colors; what it leaves out is as usual."""

    title: str = Field(min_length=1, description="What reports are headed with")
    about: str = Field("", description="Who uses it, and for what")
    keep: When | None = Field(None, description="Only rows that meet this are ranked")
    rules: tuple[str, ...] = Field((), description="Files of exclusion rules, by name or path")
    order: tuple[str, ...] | None = Field(None, description="Such as [date desc, rank asc]")
    sector: str | None = Field(None, description="The only sector that is ranked")
    deduplicate: bool | None = Field(None, description="One row for each quote")
    columns: Columns = Field({}, description="The columns that are shown, with their headings")
    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The name of its file, without the suffix."""
        return self._name

    @field_validator("order")
    @classmethod
    def _can_be_ordered_by(cls, order: tuple[str, ...] | None) -> tuple[str, ...] | None:
        try:
            parse_order(order or ("rank asc",))
        except UsageError as error:
            raise ValueError(str(error).replace("\n", " ")) from None
        return order

    @field_validator("columns")
    @classmethod
    def _in_upper_case(cls, columns: Mapping[str, str]) -> Mapping[str, str]:
        names = _once("column", [name.strip().upper() for name in columns])
        return dict(zip(names, _once("heading", list(columns.values())), strict=True))

    def headings(self, columns: Iterable[str]) -> dict[str, str]:
        """Give those of a ranking's columns that are shown their headings, in the preset's order.

        Raises UsageError for one that is not there, naming preset and column.
        """
        there = {name.strip().upper(): name for name in columns}
        if missing := [name for name in self.columns if name not in there]:
            raise UsageError(
                f"The preset {self.name!r} shows the column {missing[0]!r}, which is not among "
                f"the colors.{nearest(missing[0], there)}",
                f"There are {', '.join(there.values())}.",
            )
        return {there[name]: heading for name, heading in self.columns.items()}


def read_preset(name: str | Path) -> Preset:
    """Read a preset: the name of a file in the `presets` folder, or a path.

    Raises UsageError for an unknown one, naming those there are, and for one that is malformed,
    naming file, line and key. Its rules are not read.
    """
    path = find("presets", name, SUFFIXES)
    preset = validated(Preset, read_content(path), path)
    preset._name = path.stem
    return preset
