"""One page over all runs: the newest first, and the latest good report of every name."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup

from workbench.reporting.html import page
from workbench.reporting.runs import Run, find_runs, locked, newest_first

# It filters the rows; the page's policy allows this script by its hash, and no other.
_SCRIPT = Path(__file__).with_name("templates").joinpath("index.js").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()


def write_index(root: Path) -> Path:
    """Write `index.html` over all runs below root, atomically, and return its path."""
    root.mkdir(parents=True, exist_ok=True)
    target, fresh = root / "index.html", root / f".index-{secrets.token_hex(4)}.html"
    try:
        # Of two runs that end at once the second to write must have seen the first.
        with locked(root / ".index.lock"):
            # Readers see the old page or the new one, never half of one.
            fresh.write_text(index_page(find_runs(root)), "utf-8")
            fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def index_page(runs: Iterable[Run]) -> str:
    """Return the page over these runs, its links relative to the folder that holds them."""
    ranked = newest_first(runs)
    names: dict[str, dict[str, Run]] = {}
    for run in ranked:
        seen = names.setdefault(run.name, {})
        if run.good:
            seen.setdefault("good", run)
        if run.status != "running":
            seen.setdefault("newest", run)
    return page(
        "index.html.j2",
        runs=ranked,
        names=sorted(names.items(), key=lambda item: item[0].casefold()),
        counts=Counter(run.status for run in ranked),
        script=Markup(_SCRIPT),  # noqa: S704 - ours, and without a closing tag
        script_hash=_HASH,
    )


def may_write(root: Path) -> bool:
    """Tell whether `index.html` below root is missing or ours: another's page is not replaced."""
    try:
        with (root / "index.html").open("rb") as page:
            return is_ours(page.read(2000))
    except FileNotFoundError:
        return True


def is_ours(content: bytes) -> bool:
    """Tell by its first lines whether a page is an index that was made here."""
    return b'content="workbench"' in content[:2000]
