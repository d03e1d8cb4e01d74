"""EGTEA Gaze+: cooking, by a camera on the head (Li, Liu and Rehg, ECCV 2018)."""

from __future__ import annotations

import re
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import find_file, folder_of, read_lines
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.errors import UserError

ABOUT = About(
    title="EGTEA Gaze+, 106 actions of cooking",
    place="cbs.ic.gatech.edu/fpv",
    licence="research use, none is given",
    layout=(
        "action_annotation/train_split1.txt and test_split1.txt (2 and 3), action_idx.txt",
        "cropped_clips/<session>/<session>-66680-68130-F001597-F001639.mp4, or <session>.mp4",
    ),
)
KINDS = ("action", "verb")


def read(
    place: Path,
    *,
    labels: str = "action",
    split_number: int = 1,
    fps: float = 24.0,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "groups",
) -> Manifest:
    """labels: action or verb. split_number: 1, 2 or 3. fps: of a session's frame folder. Official
    splits show one person on both sides, so by default whole people are dealt out anew.
    """
    if split_number not in (1, 2, 3) or labels not in KINDS:
        raise UserError(
            f"--split-number {split_number} --labels {labels}: the splits are 1, 2 and 3, the "
            f"labels {' or '.join(KINDS)}."
        )
    root = folder_of(place, ABOUT.layout)
    lines = read_lines(find_file(root, f"{labels}_idx.txt", ABOUT.layout))
    names = {number: name for name, _, number in (line.rpartition(" ") for line in lines)}
    column = 1 + KINDS.index(labels)
    clips = [
        _clip(line.split(), split, names, column, fps, path)
        for split in ("train", "test")
        for path in [find_file(root, f"{split}_split{split_number}.txt", ABOUT.layout)]
        for line in read_lines(path)
    ]
    clips, notes = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=notes)


def _clip(
    words: list[str], split: str, names: dict[str, str], column: int, fps: float, path: Path
) -> Clip:
    """From `OP01-R01-PastaSalad-66680-68130-F001597-F001639 1 1 1`: times in milliseconds."""
    match = re.fullmatch(r"(?P<session>(?P<person>O?P\d+)-.+)-(\d+)-(\d+)-F\d+-F\d+", words[0])
    if match is None or len(words) <= column or words[column] not in names:
        raise UserError(f"{path}: {' '.join(words)[:80]!r} is no clip with the number of a class.")
    times = (min(int(match[n][:12]), 10**9) / 1000 for n in (3, 4))
    places = (Place(words[0]), Place(match["session"], *times))
    return Clip(places, names[words[column]].strip(), split, match["person"], fps)
