"""EPIC-KITCHENS-100: unscripted work in kitchens, by a camera on the head (Damen et al. 2022)."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    find_file,
    folder_of,
    read_rows,
    seconds_of,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.errors import UserError

ABOUT = About(
    title="EPIC-KITCHENS-100, 97 verbs and 300 nouns",
    place="epic-kitchens.github.io and github.com/epic-kitchens/epic-kitchens-100-annotations",
    licence="CC BY-NC 4.0",
    layout=(
        "EPIC_100_train.csv, EPIC_100_validation.csv, EPIC_100_verb_classes.csv (and noun)",
        "P01/videos/P01_01.MP4, frames as P01/rgb_frames/P01_01/frame_0000000001.jpg, or cut "
        "clips <narration_id>.mp4",
    ),
)
KINDS = {"verb": ("verb",), "noun": ("noun",), "action": ("verb", "noun")}


def read(
    place: Path,
    *,
    labels: str = "verb",
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "groups",
) -> Manifest:
    """labels: verb, noun or action, which is both. The official validation shows people of train,
    so by default whole people are dealt out anew. Labels of its test are not public.
    """
    if labels not in KINDS:
        raise UserError(f"--labels {labels!r}: it is one of {', '.join(KINDS)}.")
    root = folder_of(place, ABOUT.layout)
    names = {kind: _names(root, kind) for kind in KINDS[labels]}
    clips = []
    for split, name in (("train", "train"), ("val", "validation")):
        path = find_file(root, f"EPIC_100_{name}.csv", ABOUT.layout)
        clips += [_clip(row, split, names, path) for row in read_rows(path, _COLUMNS)]
    clips, notes = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=notes)


_COLUMNS = (
    "narration_id participant_id video_id start_timestamp stop_timestamp verb_class noun_class"
)


def _names(root: Path, kind: str) -> dict[str, str]:
    path = find_file(root, f"EPIC_100_{kind}_classes*.csv", ABOUT.layout)
    return {row["id"]: row["key"] for row in read_rows(path, "id key")}


def _clip(row: dict[str, str], split: str, names: dict[str, dict[str, str]], path: Path) -> Clip:
    words = [of.get(row[f"{kind}_class"]) for kind, of in names.items()]
    if None in words:
        raise UserError(f"{path}: {row['narration_id'][:40]!r} has a class that no list names.")
    times = (seconds_of(row[key], path) for key in ("start_timestamp", "stop_timestamp"))
    # Frames are published as they were counted: 60 a second, 50 in the videos of the extension.
    fps = 50.0 if re.fullmatch(r"P\d+_\d{3}", row["video_id"]) else 60.0
    places = (Place(row["narration_id"]), Place(row["video_id"], *times))
    return Clip(places, " ".join(map(str, words)), split, row["participant_id"], fps)
