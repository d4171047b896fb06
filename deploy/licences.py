"""List the licences of all that requirements.lock installs, as the packages themselves state them.

`python deploy/licences.py` prints the table of docs/supply_chain.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
ELSEWHERE = "not installed here: other systems or Pythons"
SAME = {  # older metadata has no SPDX expression, but these words
    r"Apache.*": "Apache-2.0",
    r"BSD.*": "BSD",
    r"ISC.*": "ISC",
    r"MIT License": "MIT",
    r"(Mozilla|MPL).*2\.0\)?": "MPL-2.0",
    r"Python Software Foundation License": "PSF-2.0",
}


def locked() -> list[str]:
    """Return the names in requirements.lock."""
    return sorted(set(re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)))


def licence(name: str) -> str:
    """Return what an installed package states: SPDX where it does, else the classifiers' words."""
    try:
        found = metadata.metadata(name).json
    except metadata.PackageNotFoundError:
        return ELSEWHERE
    classifiers = [str(text) for text in found.get("classifier", ())]
    words = [text.split(" :: ")[-1] for text in classifiers if text.startswith("License :: ")]
    if stated := found.get("license_expression"):
        return str(stated)
    if not words:
        words = [str(found.get("license", "unknown")).splitlines()[0]]
    return " AND ".join(sorted({_plain(word) for word in words}))


def _plain(word: str) -> str:
    known = [name for pattern, name in SAME.items() if re.fullmatch(pattern, word)]
    return known[0] if known else word


def table() -> str:
    """Return the table: a line for each licence, the most frequent first."""
    found = defaultdict(list)
    for name in locked():
        found[licence(name)].append(name)
    lines = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [f"| {stated} | {', '.join(names)} |" for stated, names in lines]
    return "\n".join(["| licence | packages |", "|---|---|", *rows])


if __name__ == "__main__":
    print(table())  # noqa: T201
