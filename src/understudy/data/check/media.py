"""What is wrong with files, row by row, once all of them were seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from understudy.data.check.findings import Finding
from understudy.data.check.seen import NO_FILE, Seen
from understudy.data.decode import DecodeError, part_of
from understudy.data.manifest import Manifest
from understudy.data.media import MediaInfo
from understudy.record import Record

PAST_END_S = 0.5
"""An end that lies further behind its file's than this was meant for another."""
_ASPECT = 0.02
"""Pixels as far from square as this are square: encoders round."""
_UNEVEN = 0.05
"""Share of the frames that come at another pace than the others, from which a rate is variable."""


def media_findings(
    manifest: Manifest, files: Mapping[str, Sequence[int]], seen: Mapping[str, Seen]
) -> list[Finding]:
    """In the order of the table; a file with several faults has a finding for each."""
    paths = manifest.columns.path
    return [
        finding
        for file, rows in files.items()
        for finding in _of_file(
            paths[rows[0]].as_py(), seen[file], {row: manifest.records[row] for row in rows}
        )
    ]


def _of_file(path: str, seen: Seen, records: Mapping[int, Record]) -> Iterator[Finding]:
    rows = tuple(records)
    if seen.kind is None:
        kind = "unreadable"
        if seen.reason == NO_FILE:
            kind = "missing"
        elif "no video stream" in (seen.reason or ""):
            kind = "no_video"
        yield Finding(kind, path, seen.reason or "it holds no frame", rows, rows)
        return
    if seen.reason is not None:
        lost = tuple(row for row in rows if (records[row].end_s or seen.duration_s) > seen.seconds)
        count = f"{seen.frames} of {seen.promised or 1} frames"
        yield Finding("truncated", path, f"{count}: {seen.reason}", rows, lost)
    if seen.kind == "video" and seen.frames == 1 and seen.reason is None:
        yield Finding("one_frame", path, f"one frame of {seen.width} x {seen.height}", rows)
    yield from _of_times(path, seen, rows)
    yield from _of_shape(path, seen, rows)
    if seen.kind != "picture":
        for row, record in records.items():
            yield from _of_part(path, seen, row, record)


def _of_times(path: str, seen: Seen, rows: tuple[int, ...]) -> Iterator[Finding]:
    for start_s, end_s in seen.gaps:
        reason = f"no frame from {start_s:.1f} s to {end_s:.1f} s"
        yield Finding("pause", path, reason, rows, at_s=(start_s, end_s))
    if seen.uneven > _UNEVEN:
        reason = (
            f"{seen.uneven:.0%} of its frames come at another pace than {seen.fps:.3g} a second"
        )
        yield Finding("variable_rate", path, reason, rows)


def _of_shape(path: str, seen: Seen, rows: tuple[int, ...]) -> Iterator[Finding]:
    if seen.turned:
        yield Finding("turned", path, f"shown as {seen.width} x {seen.height}", rows)
    for note in seen.notes:
        if not seen.gaps:  # which have findings of their own
            yield Finding("odd", path, note, rows)
    if abs(seen.pixel_aspect - 1) > _ASPECT:
        reason = f"a pixel is {seen.pixel_aspect:.3g} times as wide as it is high"
        yield Finding("pixel_aspect", path, reason, rows)


def _of_part(path: str, seen: Seen, row: int, record: Record) -> Iterator[Finding]:
    """Of the times of a row, against those of its file."""
    info = MediaInfo(seen.kind or "video", seen.duration_s, seen.fps, None, seen.width, seen.height,
                     pauses_s=seen.gaps)  # fmt: skip
    try:
        part_of(Path(path), info, record.start_s, record.end_s)
    except DecodeError as error:
        yield Finding("outside", path, error.reason, (row,), (row,))
        return
    if record.end_s is not None and record.end_s > seen.duration_s + PAST_END_S:
        reason = f"its part ends at {record.end_s:g} s, the file at {seen.duration_s:.1f} s"
        yield Finding("past_end", path, reason, (row,))
