"""Tables of results as CSV, each named by its benchmark, the date and the hardware."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def dated_path(name: str, folder: Path, context: Mapping[str, Any]) -> Path:
    """folder/NAME_DATE_HARDWARE.csv. context: what `where_and_when` gives."""
    hardware = re.sub(r"[^a-z0-9]+", "-", str(context["hardware"]).lower()).strip("-")
    return folder / f"{name}_{context['date']}_{hardware}.csv"


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, whose columns are all that any row has, in the order of their coming."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
