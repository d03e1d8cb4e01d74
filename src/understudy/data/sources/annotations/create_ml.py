"""Create ML: annotated videos of an action classifier, a CSV or JSON file beside the videos.

Columns, or keys: video, label, start, end, under the names that Apple's pages use. Times are
seconds; without them the label holds from the beginning, or to the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from understudy.data.columns import Text
from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import Number, read_json, the_file
from understudy.data.sources.annotations.segments import Segment, to_manifest
from understudy.data.sources.csv_text import read_csv
from understudy.errors import UserError, some_of

ABOUT = About(
    "Create ML, annotated videos for action classifiers",
    "the Create ML app of Xcode",
    "your own",
    ("annotations.csv or annotations.json: video,label,start,end", "*.mov, *.mp4 beside it"),
)

_NAMES = {
    "video": ("video", "videopath", "videoname", "filename", "file", "path"),
    "label": ("label", "labels", "action"),
    "start": ("start", "starttime", "starts", "startseconds", "begin"),
    "end": ("end", "endtime", "ends", "endseconds", "stop"),
}
_LIKE_TIMES = re.compile(r"start|begin|onset|end|stop|finish|offset|time|frame|second|duration")
"""No column of such a name is left unused: the whole video would be taken for a part of it."""
_FILE = TypeAdapter(list[dict[str, str | Number | None]])


def read(place: Path, *, media: Path | None = None) -> Manifest:
    """place: the file, or the folder in which it lies alone. media: where the videos lie, if not
    beside it."""
    file = the_file(place, (".csv", ".json"), "Create ML")
    keys, rows = _rows(file)
    names = _columns(file, keys)
    segments = [_segment(file, number, row, names) for number, row in enumerate(rows, start=1)]
    unused = [key for key in keys if key not in names.values()]
    notes = [f"Columns that are not used: {some_of(unused)}."] if unused else []
    folder = MediaFolder(media or file.absolute().parent)
    return to_manifest(segments, folder, notes, file)


def _rows(file: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns of a file, and its rows."""
    if file.suffix.lower() == ".json":
        rows = read_json(file, _FILE, "Create ML")
        return list(dict.fromkeys(key for row in rows for key in row)), rows
    columns = {name: Text(values) for name, values in read_csv(file).items()}
    lines = zip(*columns.values(), strict=True)
    return list(columns), [dict(zip(columns, line, strict=True)) for line in lines]


def _columns(file: Path, keys: list[str]) -> dict[str, str]:
    """What a column means -> what it is called in this file."""
    found: dict[str, str] = {}
    for meaning, names in _NAMES.items():
        called = [
            key for key in keys if "".join(one for one in key.lower() if one.isalnum()) in names
        ]
        if len(called) > 1:
            raise UserError(f"{file}: {' and '.join(called)} both look like {meaning}. Leave one.")
        if called:
            found[meaning] = called[0]
    if "video" not in found or "label" not in found or ("start" in found) != ("end" in found):
        raise UserError(
            f"{file} should have the columns video, label, start and end; there: "
            f"{', '.join(keys[:20]) or 'none'}. Rename those that mean the same."
        )
    times = [key for key in keys if key not in found.values() and _LIKE_TIMES.search(key.lower())]
    if times:
        raise UserError(
            f"{file}: the column {times[0]!r} looks like a time. Times are read from start and "
            "end, in seconds: rename it, or leave it out."
        )
    return found


def _segment(file: Path, number: int, row: Mapping[str, Any], names: dict[str, str]) -> Segment:
    where = f"row {number}"
    video, label = (str(row.get(names[one]) or "").strip() for one in ("video", "label"))
    if not video:
        raise UserError(f"{file}, {where}, names no video.")
    start, end = (_time(file, where, row.get(names.get(one, ""))) for one in ("start", "end"))
    return Segment(video, (label,), start, end, where=where)


def _time(file: Path, where: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise UserError(f"{file}, {where}: {value!r} is no time in seconds.")
    return seconds
