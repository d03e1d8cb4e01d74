"""All that is checked of a data set without a model, in order, and its answer as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from understudy.data.check.findings import KINDS, Finding, must_mend
from understudy.data.check.rows import missing, row_findings, with_splits
from understudy.data.check.seen import Seen
from understudy.data.check.workers import PATIENCE_S
from understudy.data.manifest import Manifest
from understudy.data.sources import read_unchecked
from understudy.errors import UserError
from understudy.progress import Track, untold


@dataclass(slots=True)
class Checked:
    """manifest: in the splits that training would use. files: rows by file. seen: by file, empty
    where none was opened. unchecked: what was not looked at, a sentence each."""

    manifest: Manifest
    findings: list[Finding]
    files: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)

    @property
    def file_of(self) -> dict[int, str]:
        """The file of each row."""
        return {row: file for file, rows in self.files.items() for row in rows}


def check_data(
    place: str | Path,
    *,
    media: bool = True,
    state: Path | None = None,
    seed: int = 0,
    allow_shared_groups: bool = False,
    patience_s: float = PATIENCE_S,
    processes: int | None = None,
    track: Track = untold,
    counted: Callable[[Manifest], None] = lambda manifest: None,
) -> Checked:
    """Read a manifest or a folder and list all that is wrong with it.

    media: whether every file is decoded. state, patience_s, processes: as `scan` takes them. seed:
    of the split, where there is none. counted: is given the manifest before any file is opened.
    Raises UserError where the table cannot be read, or has no rows.
    """
    manifest = read_unchecked(place)
    if not len(manifest):
        raise UserError(f"{place}: The manifest has no rows.")
    manifest, findings = with_splits(manifest, seed)
    counted(manifest)
    findings += row_findings(manifest, allow_shared_groups)
    if not media:
        findings += missing(manifest)
        unchecked = ["files were not opened, as asked for (--table-only)"]
        return Checked(manifest, findings, unchecked=unchecked)
    # Decoders are loaded where files are opened, and not to look at a table alone.
    from understudy.data.check.copies import copies
    from understudy.data.check.media import media_findings
    from understudy.data.check.scan import files_of, scan

    files = files_of(manifest)
    seen = scan(list(files), state, count=processes, patience_s=patience_s, track=track)
    findings += media_findings(manifest, files, seen)
    findings += copies(manifest, files, seen)
    return Checked(manifest, findings, files, seen)


def with_near_copies(checked: Checked, beside: np.ndarray | None, track: Track = untold) -> None:
    """Add clips that are almost the same in two splits. beside: (M, 2) pairs of rows to look at
    whatever they look like."""
    from understudy.data.check.copies import near_copies

    near, unchecked = near_copies(
        checked.manifest, checked.files, checked.seen, checked.findings, beside, track
    )
    checked.findings += near
    checked.unchecked += unchecked


def as_content(checked: Checked) -> dict[str, Any]:
    """The answer as JSON holds it; every finding, with the ids of the clips that it concerns."""
    manifest = checked.manifest

    def ids(rows: tuple[int, ...]) -> list[str]:
        return [manifest.id_of(row) for row in rows]

    return {
        "clips": len(manifest),
        "files": len(checked.files),
        "classes": list(manifest.classes),
        "splits": manifest.counts(),
        "groups": manifest.group_counts(),
        "must_mend": must_mend(checked.findings),
        "findings": [
            {
                "kind": one.kind,
                "level": one.level,
                "path": one.path,
                "beside": one.beside,
                "reason": one.reason,
                "remedy": KINDS[one.kind].remedy,
                "clips": ids(one.rows),
                "drop": ids(one.drop),
                "at_s": list(one.at_s),
            }
            for one in checked.findings
        ],
        "unchecked": checked.unchecked,
        "notes": list(manifest.notes),
        "ignored": len(manifest.ignored),
    }
