"""Stanford 40 Actions: pictures of people (Yao et al., ICCV 2011)."""

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
    title="Stanford 40 Actions, pictures",
    place="vision.stanford.edu/Datasets/40actions.html",
    licence="research use, none is given",
    layout=(
        "JPEGImages/<class>_001.jpg",
        "ImageSplits/train.txt and ImageSplits/test.txt, a file name a line",
    ),
)


def read(
    place: Path,
    *,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """100 pictures a class to learn from. The class is in the name of the file."""
    root = folder_of(place, ABOUT.layout)
    clips = [
        _clip(line, split, path)
        for split in ("train", "test")
        for path in [find_file(root, f"{split}.txt", ABOUT.layout)]
        for line in read_lines(path)
    ]
    clips, notes = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=notes)


def _clip(line: str, split: str, path: Path) -> Clip:
    match = re.fullmatch(r"(\w+)_\d+\.jpg", line)
    if match is None:
        raise UserError(f"{path}: {line[:80]!r} is no picture; expected <class>_001.jpg.")
    return Clip((Place(line.removesuffix(".jpg")),), match[1], split)
