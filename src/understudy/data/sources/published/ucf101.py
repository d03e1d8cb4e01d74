"""UCF101: actions in videos of YouTube (Soomro, Zamir and Shah 2012)."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import find_file, folder_of, read_lines
from understudy.data.sources.published.choosing import first_classes, mapped
from understudy.data.sources.published.gathering import Clip, Place, gather, with_splits
from understudy.errors import UserError

ABOUT = About(
    title="UCF101, 101 actions",
    place="crcv.ucf.edu/data/UCF101.php",
    licence="research use, none is given",
    layout=(
        "UCF-101/<class>/v_<class>_g01_c01.avi",
        "ucfTrainTestlist/trainlist01.txt, testlist01.txt and classInd.txt (02 and 03)",
    ),
)


def read(
    place: Path,
    *,
    split_number: int = 1,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """split_number: 1, 2 or 3. Groups are the source videos (g01 to g25 of a class): no official
    split shares one. Val is carved from train by them."""
    if split_number not in (1, 2, 3):
        raise UserError(f"--split-number {split_number}: UCF101 has the splits 1, 2 and 3.")
    root = folder_of(place, ABOUT.layout)
    lists = {
        split: find_file(root, f"{split}list{split_number:02}.txt", ABOUT.layout)
        for split in ("train", "test")
    }
    clips = [_clip(line, split, path) for split, path in lists.items() for line in read_lines(path)]
    order = sorted({str(clip.label) for clip in clips})  # as classInd.txt has them
    clips = first_classes(with_splits(clips, splits), order, limit_classes)
    clips, left_out = mapped(clips, mapping)
    return gather(root, clips, ABOUT.layout, notes=left_out)


def _clip(line: str, split: str, path: Path) -> Clip:
    """From `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`; no number in lists of test."""
    name = PurePosixPath(line.split()[0])
    match = re.fullmatch(r"v_(\w+)_g(\d+)_c\d+", name.stem)
    if match is None or len(name.parts) != 2:
        raise UserError(
            f"{path}: {line[:80]!r} names no clip; expected <class>/v_<class>_g01_c01.avi."
        )
    return Clip((Place(name.stem),), name.parts[0], split, f"{match[1]}-g{match[2]}")
