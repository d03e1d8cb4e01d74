"""From the clips that annotations speak of to the media that are there.

Annotations name a clip, and here its file or frame folder is looked for by that name below the
folder of the data set. So nothing that an annotation file says can lead out of it. What is not
there is counted: of most published sets a part has vanished.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from understudy.data.hidden import is_hidden
from understudy.data.manifest import Manifest
from understudy.data.media import FOLDER_FPS, MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.data.sources.folder import DEEPEST, identity_of
from understudy.data.sources.published.annotation_files import expected, folder_of, is_dir
from understudy.errors import UserError, some_of
from understudy.record import Record


class Place(NamedTuple):
    """Where a clip may lie: a file or frame folder of this name without suffix, and its part."""

    name: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """What annotations say of a clip.

    places: the first that is there is taken. group: empty where nobody knows more than its file.
    fps: frames a second of its frame folder, which says nothing about time itself. further: columns
    of it that are kept as they are.
    """

    places: tuple[Place, ...]
    label: str | tuple[str, ...] | None
    split: str = ""
    group: str = ""
    fps: float = FOLDER_FPS
    further: Mapping[str, str] = field(default_factory=dict)


def gather(
    root: Path, clips: Sequence[Clip], layout: tuple[str, ...], *, notes: Iterable[str] = ()
) -> Manifest:
    """The manifest of the clips whose media lie below `root`.

    Counted in its notes: clips that are not there, media in two places, and annotations that say
    the same seconds twice. Raises UserError where no clip is there at all.
    """
    root, told = folder_of(root, layout), list(notes)
    wanted = {place.name for clip in clips for place in clip.places}
    try:
        found, twice = find_media(root, wanted)
    except OSError as error:
        raise UserError(f"{error.filename or root} cannot be read: {error.strerror}.") from error
    rows: dict[tuple[str, float | None, float | None], Record] = {}
    missing, backwards, again, torn = [], 0, 0, set()
    for clip in clips:
        place = next((place for place in clip.places if place.name in found), None)
        if place is None:
            missing.append(clip.places[0].name)
            continue
        if place.start_s is not None and place.end_s is not None and place.end_s <= place.start_s:
            backwards += 1
            continue
        path, is_frames = found[place.name]
        scale = clip.fps / FOLDER_FPS if is_frames else 1.0
        start_s, end_s = (None if t is None else t * scale for t in place[1:])
        record = Record(path, clip.label, clip.split, clip.group or path, start_s, end_s)
        known = rows.setdefault((path, start_s, end_s), record)
        if known is not record:
            again += 1
            if known.label != clip.label:
                torn.add((path, start_s, end_s))
    if not rows and missing:
        raise UserError(
            f"None of the {len(clips):,} clips of the annotations lies below {root}, such as "
            f"{', '.join(missing[:3])}. {expected(layout)}"
        )
    records = [record for key, record in rows.items() if key not in torn]
    if missing:
        left = {label for record in records for label in labels_of(record)}
        gone = {label for clip in clips for label in labels_of(clip)} - left
        told.append(
            f"{len(missing):,} of {len(clips):,} clips of the annotations are not there: "
            f"{some_of(missing)}."
        )
        if gone:
            told.append(f"No clip is left of {len(gone):,} classes: {some_of(sorted(gone))}.")
    if backwards:
        told.append(f"{backwards:,} annotations end before they begin and were left out.")
    if again:
        told.append(
            f"{again:,} annotations repeat the seconds of another; {len(torn):,} clips with two "
            "classes at once were left out."
        )
    if twice:
        told.append(
            f"{len(twice):,} clips lie there more than once; {twice[0]} and its like were not "
            "taken. --media FOLDER says which are."
        )
    splits = {record.split for record in records}
    if "val" in splits and "test" not in splits:
        records = [replace(row, split="test") if row.split == "val" else row for row in records]
        told.append(
            "No labelled clip of an official test split is there: the official val is test, and "
            "val is carved from train, since no model is chosen on what it is judged by."
        )
    return Manifest.from_records(records, root, notes=told)


def find_media(root: Path, wanted: set[str]) -> tuple[dict[str, tuple[str, bool]], list[str]]:
    """Name -> path below root and whether it is a frame folder, for the wanted names; further paths
    of the same name. A video is preferred to its frames, these to optical flow, then the first."""
    found: dict[str, tuple[str, bool]] = {}
    twice: list[str] = []
    everything = sorted(
        _media(root, "", wanted, set()), key=lambda one: (one[1], "flow" in one[0].lower(), one[0])
    )
    for path, is_frames in everything:
        name = os.path.basename(path)
        name = name if is_frames else os.path.splitext(name)[0]
        if name in found:
            twice.append(path)
        else:
            found[name] = path, is_frames
    return found, twice


def _media(
    root: Path, below: str, wanted: set[str], seen: set[tuple[int, int]]
) -> Iterable[tuple[str, bool]]:
    """Wanted files and frame folders in a folder, links followed once. Raises OSError."""
    folder = root / below
    if identity_of(folder) in seen:
        return
    if below.count("/") > DEEPEST:
        raise UserError(f"{folder} lies more than {DEEPEST} folders deep. Move it further up.")
    seen.add(identity_of(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{below}{entry.name}"
            if is_hidden(entry.name):
                continue
            stem, suffix = os.path.splitext(entry.name)
            if is_dir(entry):
                if entry.name in wanted and _holds_pictures(entry.path):
                    yield path, True
                else:
                    yield from _media(root, f"{path}/", wanted, seen)
            elif stem in wanted and suffix.lower() in MEDIA_SUFFIXES:
                yield path, False


def _holds_pictures(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES for entry in entries)


def labels_of(clip: Clip | Record) -> tuple[str, ...]:
    """None, one or several labels, as a tuple."""
    if clip.label is None:
        return ()
    return clip.label if isinstance(clip.label, tuple) else (clip.label,)
