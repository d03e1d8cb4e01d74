"""The same pixels under several names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from understudy.data.check.findings import Finding
from understudy.data.check.seen import Seen
from understudy.data.manifest import Manifest, labels_of


def copies(
    manifest: Manifest, files: Mapping[str, Sequence[int]], seen: Mapping[str, Seen]
) -> list[Finding]:
    """Rows that show exactly the same frames: the same file under two names, in another container,
    or the same part of it. In two splits that is a leak, with two labels one of them is wrong."""
    same: dict[tuple, list[int]] = {}
    for file, rows in files.items():
        if not seen[file].digest:
            continue
        for row in rows:
            record = manifest.records[row]
            same.setdefault((seen[file].digest, record.start_s, record.end_s), []).append(row)
    return [
        finding
        for rows in same.values()
        for row in rows[1:]
        for finding in _of_pair(manifest, rows[0], row)
    ]


def _of_pair(manifest: Manifest, first: int, row: int) -> list[Finding]:
    a, b = manifest.records[first], manifest.records[row]
    names = {"path": manifest.id_of(row), "beside": manifest.id_of(first), "rows": (first, row)}
    found = []
    if a.split != b.split:
        reason = f"its frames are those of a clip of {a.split}; it is in {b.split}"
        found.append(Finding("leak", reason=reason, drop=(later(a.split, first, b.split, row),),
                             **names))  # fmt: skip
    if labels_of(a) != labels_of(b):
        here, there = (" and ".join(labels_of(one)) or "no label" for one in (b, a))
        reason = f"{here} here, {there} there"
        found.append(Finding("two_labels", reason=reason, drop=(first, row), **names))
    return found or [Finding("copy", reason="its frames are the same", drop=(row,), **names)]


def later(split: str, row: int, other_split: str, other: int) -> int:
    """Which of two rows goes: that of train, of which there are most; else the second."""
    if split == "train" and other_split != "train":
        return row
    return other
