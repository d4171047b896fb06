"""What a reader of a profile should know, most important first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from workbench.profiling import model
from workbench.profiling.model import Finding, SchemaProfile
from workbench.profiling.rules import RULES, Rule, Seen, listed, number
from workbench.profiling.wording import place

ALONE, KEPT = 5, 3  # of a kind: more than 5 findings are told together, from the 4th on


def find(profile: SchemaProfile) -> tuple[Finding, ...]:
    """List what is odd about a schema: by severity, then by rows affected, then by name.

    Looks at nothing but the profile. The rules and their thresholds are told in docs/profile.md.
    """
    order = {rule.kind: place for place, rule in enumerate(RULES)}

    def importance(finding: Finding) -> tuple[Any, ...]:
        serious = model.SEVERITIES.index(finding.severity)
        rows, place = number(finding.rows), order[finding.kind]
        return serious, -rows, place, finding.table or "", finding.columns, finding.evidence

    found: list[Finding] = []
    for rule in RULES:
        groups = defaultdict[Any, list[Finding]](list)
        for finding in sorted(
            (_finding(rule, each) for each in rule.seek(profile)), key=importance
        ):
            groups[finding.severity, finding.next_step].append(finding)
        for group in groups.values():
            found += _together(group, 0 if rule.alike else KEPT)
    # Within a kind they keep their order, what is told together comes last.
    return tuple(sorted(found, key=lambda finding: importance(finding)[:3]))


def _finding(rule: Rule, seen: Seen) -> Finding:
    return Finding(
        seen.severity or rule.severity, rule.kind, seen.evidence, seen.next_step or rule.next_step,
        seen.table, seen.columns, seen.rows, seen.query,
    )  # fmt: skip


def _together(found: list[Finding], kept: int) -> list[Finding]:
    if len(found) <= ALONE:
        return found
    first, *_ = rest = found[kept:]
    where = listed([place(finding) or finding.evidence for finding in rest])
    more = f"{len(rest):,} {'more' if kept else 'alike'}: {where}. The first: {first.evidence}"
    return [
        *found[:kept],
        replace(first, table=None, columns=(), rows=None, query=None, evidence=more),
    ]
