"""A file for each value of a column, as dashboards read them."""

from __future__ import annotations

import re
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from workbench import extracts

SAFE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
MISSING, DIGITS = "none", 16
# Names of devices on Windows, whatever stands behind a dot.
DEVICE = r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)"


def write(frame: pl.DataFrame, by: str, folder: Path) -> dict[str, Path]:
    """Write a Parquet file into `folder` for each value of the column `by`, and return them.

    A file is named as `stems` has it, holds the frame's columns and its rows in their order, and
    appears whole or not at all. Parquet files of values that are gone are removed from the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    split = {value: part for (value,), part in frame.partition_by(by, as_dict=True).items()}
    paths = {}
    for stem, value in sorted((stem, value) for value, stem in stems(list(split)).items()):
        paths[stem] = folder / f"{stem}.parquet"
        extracts.write(iter([split[value]]), paths[stem], overwrite=True, progress=False)
    for path in set(folder.glob("*.parquet")) - set(paths.values()):
        path.unlink()
    return paths


def stems(values: list[Any]) -> dict[Any, str]:
    """Name a file for each of different values, so that no two share one, on any file system.

    A value of at most 80 letters a to z, digits, "_", "-" and "." is its own name, unless others
    differ from it in case only or Windows has a device of that name. Other values have such
    characters in the place of theirs, and end in 16 digits of their SHA-256. A missing value is
    "none".
    """
    folded = Counter(str(value).lower() for value in values if value is not None)
    folded[MISSING] += 1
    return {value: _stem(value, folded) for value in values}


def _stem(value: Any, folded: Counter[str]) -> str:
    if value is None:
        return MISSING
    text = str(value)
    taken = folded[text.lower()] > 1 or re.search(f"-[0-9a-f]{{{DIGITS}}}$", text)
    device = re.match(DEVICE, text, re.IGNORECASE)
    if re.fullmatch(SAFE, text, re.ASCII) and not taken and not device:
        return text
    kept = re.sub(r"[^A-Za-z0-9.-]+", "_", text)[:60].strip("._-") or "value"
    kept = f"_{kept}" if re.match(DEVICE, kept, re.IGNORECASE) else kept
    return f"{kept}-{sha256(text.encode()).hexdigest()[:DIGITS]}"
