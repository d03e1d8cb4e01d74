"""What happens between the labelled segments of a video, as rows of a class of its own.

A recogniser that has only ever seen actions finds one everywhere. Gaps are counted in whole frames,
so that no frame of a labelled segment is in one, however its times were rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from understudy.data.columns import Text
from understudy.data.manifest import Manifest
from understudy.data.media import DecodeError
from understudy.errors import UserError
from understudy.record import BACKGROUND, Record


def with_background(manifest: Manifest) -> Manifest:
    """The manifest with rows of class `background` for what lies between its segments.

    A gap is cut into windows of about the length of the median segment; a gap shorter than half of
    that stays out. Group, split and further columns are those of the video. A video without
    segments gets none, and neither does one whose rows are of several groups or splits, which is
    noted. Raises UserError where no row has times.
    """
    for label in manifest.classes:
        if label != BACKGROUND and label.casefold() == BACKGROUND:
            raise UserError(f"There is a class {label!r}. Rename it to {BACKGROUND} first.")
    rows_of = _timed(manifest)
    lengths: dict[str, tuple[float, int]] = {}
    mixed, unreadable = [], []
    for path, rows in rows_of.items():
        if len({(one.group, one.split) for one in map(manifest.records.__getitem__, rows)}) > 1:
            mixed.append(path)
            continue
        try:
            lengths[path] = _length(manifest, rows[0])
        except DecodeError as error:
            unreadable.append(f"{path} ({error.reason})")
    spans = {path: _spans(manifest, rows_of[path], *length) for path, length in lengths.items()}
    seconds = [(b - a) / lengths[path][0] for path, some in spans.items() for a, b in some]
    found: list[Record] = []
    places: list[int] = []
    for path, (fps, frames) in lengths.items():
        row = rows_of[path][0]
        label = (BACKGROUND,) if manifest.is_multi_label else BACKGROUND
        for start, end in windows(spans[path], frames, float(np.median(seconds)) * fps):
            times = {"start_s": start / fps, "end_s": end / fps}
            found.append(replace(manifest.records[row], label=label, **times))
            places.append(row)
    notes = [f"{len(found)} rows of class {BACKGROUND} were added, between segments."]
    for some, why in ((mixed, "have several groups or splits"), (unreadable, "cannot be read")):
        if some:
            notes.append(f"{len(some)} videos {why}, and got none: {', '.join(some[:5])}.")
    return _joined(manifest, found, places, notes)


def windows(
    spans: Sequence[tuple[float, float]], frames: int, median: float
) -> list[tuple[int, int]]:
    """Stretches (first frame, frame after the last) of `frames` that touch no span.

    spans: in frames, a part of one counting as whole. median: about how long they get, in frames;
    none is shorter than half of it.
    """
    found: list[tuple[int, int]] = []
    free = 0
    for start, end in [*sorted(spans), (float(frames), float(frames))]:
        # As they are when they are read: widened to whole frames.
        until = min(frames, math.floor(start + 1e-6))
        gap = until - free
        if gap >= max(1.0, median / 2):
            number = max(1, round(gap / max(1.0, median)))
            turns = [free + place * gap // number for place in range(number + 1)]
            found += pairwise(turns)
        free = max(free, math.ceil(end - 1e-6))
    return found


def _timed(manifest: Manifest) -> dict[str, list[int]]:
    """The rows of every file that has segments."""
    columns = manifest.columns
    timed = ~(np.isnan(columns.start_s) & np.isnan(columns.end_s))
    if not timed.any():
        raise UserError(
            "No row has start_s or end_s, so nothing lies between segments that could be "
            f"{BACKGROUND}. Give the times of the segments, or leave --background out."
        )
    paths = columns.path.to_pylist()
    rows_of: dict[str, list[int]] = {paths[row]: [] for row in np.flatnonzero(timed)}
    for row, path in enumerate(paths):
        if path in rows_of:
            rows_of[path].append(row)
    return rows_of


def _length(manifest: Manifest, row: int) -> tuple[float, int]:
    """Frames a second of a file, and how many there are. Raises DecodeError."""
    from understudy.data.decode import probe  # tables are read without PyTorch

    info = probe(manifest.path_of(row))
    return info.fps or 1.0, math.floor(info.duration_s * info.fps + 1e-6)


def _spans(
    manifest: Manifest, rows: Sequence[int], fps: float, frames: int
) -> list[tuple[float, float]]:
    """What the rows of a file cover, in frames."""
    start_s, end_s = (column[rows] for column in (manifest.columns.start_s, manifest.columns.end_s))
    starts = np.nan_to_num(start_s) * fps
    ends = np.where(np.isnan(end_s), frames, end_s * fps)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _joined(
    manifest: Manifest, found: list[Record], places: Sequence[int], notes: Sequence[str]
) -> Manifest:
    """The manifest with further rows, each with the further columns of the row at its place."""
    extras = {
        name: [*values, *(values[place] for place in places)]
        for name, values in ((name, Text(some)) for name, some in manifest.extras.items())
    }
    return Manifest.from_records(
        [*manifest.records, *found],
        manifest.root,
        extras,
        manifest.ignored,
        (*manifest.notes, *notes),
    )
