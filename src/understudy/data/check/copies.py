"""The same pixels under several names, or almost the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from understudy.data.check.findings import Finding
from understudy.data.check.looks import SIDE, unpacked
from understudy.data.check.near import is_plain, near_pairs
from understudy.data.check.seen import Seen
from understudy.data.manifest import Manifest, labels_of
from understudy.progress import Track, untold
from understudy.record import Record

_MOST_LOOKS = 24
"""Of one clip, spread over it."""


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


def near_copies(
    manifest: Manifest,
    files: Mapping[str, Sequence[int]],
    seen: Mapping[str, Seen],
    known: Sequence[Finding],
    beside: np.ndarray | None = None,
    track: Track = untold,
) -> tuple[list[Finding], list[str]]:
    """Clips of different splits that are almost the same, and what could not be compared.

    known: exact copies, which need not be told twice. beside: (M, 2) pairs of rows to look at.
    """
    looks, times_s, plain = looks_of(manifest, files, seen)
    told = {frozenset(one.rows) for one in known if one.beside}
    found = []
    for pair in near_pairs(looks, manifest.columns.split.codes, beside, track=track):
        first, second = pair.first, pair.second
        if {first, second} in told:
            continue
        a, b = manifest.records[first], manifest.records[second]
        found.append(
            Finding(
                "near_leak",
                manifest.id_of(first),
                f"in {a.split}, and in {b.split}; {max(pair.whole, pair.window):.0%} alike",
                (first, second),
                (later(a.split, first, b.split, second),),
                manifest.id_of(second),
                (times_s[first][pair.at[0]], times_s[second][pair.at[1]]),
            )
        )
    notes = [f"copies of {plain} clips in which there is hardly anything to see"] * bool(plain)
    return found, notes


def looks_of(
    manifest: Manifest, files: Mapping[str, Sequence[int]], seen: Mapping[str, Seen]
) -> tuple[list[np.ndarray], list[tuple[float, ...]], int]:
    """By row: looks (n, SIDE, SIDE) in which there is something to see, and when each was on
    screen; and how many rows that can be read have none."""
    looks, times_s = [np.zeros((0, SIDE, SIDE), np.uint8)] * len(manifest), [()] * len(manifest)
    plain = 0
    for file, rows in files.items():
        if not seen[file].looks:
            continue
        whole, moments = unpacked(seen[file].looks), np.array(seen[file].look_times_s)
        telling = ~is_plain(whole)
        for row in rows:
            places = _places(moments, manifest.records[row])
            places = places[telling[places]]
            plain += not len(places)
            looks[row], times_s[row] = whole[places], tuple(moments[places].tolist())
    return looks, times_s, plain


def _places(moments: np.ndarray, record: Record) -> np.ndarray:
    """The looks that are within a row's part of its file, one at least, some of many."""
    start_s, end_s = record.start_s or 0.0, record.end_s or np.inf
    places = np.flatnonzero((moments >= start_s - 1e-6) & (moments < end_s))
    if not len(places):
        places = np.array([max(0, int(np.searchsorted(moments, start_s, "right")) - 1)])
    return places[
        np.linspace(0, len(places) - 1, min(_MOST_LOOKS, len(places))).round().astype(int)
    ]
