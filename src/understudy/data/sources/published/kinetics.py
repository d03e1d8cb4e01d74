"""Kinetics: human actions on YouTube (Kay et al. 2017; 400, 600 and 700 classes)."""

from __future__ import annotations

from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    expected,
    files_named,
    folder_of,
    read_rows,
    seconds_of,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.errors import UserError

ABOUT = About(
    title="Kinetics-400, -600 and -700",
    place="deepmind.com/open-source/kinetics and github.com/cvdfoundation/kinetics-dataset",
    licence="CC BY 4.0 (annotations), videos are their owners'",
    layout=(
        "train.csv, val.csv and test.csv, or kinetics-400_train.csv and so on",
        "<YouTube id>_000010_000020.mp4 at any depth, or whole videos as <YouTube id>.mp4",
    ),
)
FILES = {
    "train": "train.csv kinetics*train.csv",
    "val": "val.csv validate.csv kinetics*val.csv kinetics*validate.csv",
    "test": "test.csv kinetics*test.csv",
}


def read(
    place: Path,
    *,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """A group is the video on YouTube. Clips of a test file without labels are left out."""
    root = folder_of(place, ABOUT.layout)
    files = {split: files_named(root, names)[:1] for split, names in FILES.items()}
    if not files["train"]:
        raise UserError(f"{root} holds no train.csv. {expected(ABOUT.layout)}")
    clips, unlabelled = [], 0
    for split, paths in files.items():
        for path in paths:
            for row in read_rows(path, "youtube_id time_start time_end"):
                if row.get("label"):
                    clips.append(_clip(row, split, path))
                else:
                    unlabelled += 1
    notes = [f"{unlabelled:,} clips have no label and were left out."] * bool(unlabelled)
    clips, left_out = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, *left_out])


def _clip(row: dict[str, str], split: str, path: Path) -> Clip:
    video = row["youtube_id"]
    start_s, end_s = (seconds_of(row[key], path) for key in ("time_start", "time_end"))
    cut = f"{video}_{int(start_s):06}_{int(end_s):06}"
    return Clip((Place(cut), Place(video, start_s, end_s)), row["label"], split, video)
