"""Jester: hand gestures before a webcam (Materzynska et al., ICCV Workshops 2019)."""

from __future__ import annotations

from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    files_named,
    find_file,
    folder_of,
    read_lines,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.data.sources.published.something import PEOPLE
from understudy.errors import UserError

ABOUT = About(
    title="Jester, 27 hand gestures",
    place="qualcomm.com/developer/software/jester-dataset",
    licence="research use, not commercial",
    layout=(
        "jester-v1-train.csv and jester-v1-validation.csv, with lines <id>;<label>",
        "20bn-jester-v1/<id>/00001.jpg and so on, or <id>.webm",
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
    """Labels of its test are not public, so the official validation is what is tested on."""
    root = folder_of(place, ABOUT.layout)
    clips = [
        _clip(line, split, path)
        for split, name in (("train", "train"), ("val", "validation"))
        for path in [find_file(root, f"jester-v1-{name}.csv", ABOUT.layout)]
        for line in read_lines(path)
    ]
    order = None
    for path in files_named(root, "jester-v1-labels.csv")[:1]:
        order = read_lines(path)
    clips, notes = choose(
        clips, limit_classes=limit_classes, mapping=mapping, splits=splits, order=order
    )
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, PEOPLE])


def _clip(line: str, split: str, path: Path) -> Clip:
    name, separator, label = line.partition(";")
    if not separator or not name.isalnum() or not label.strip():
        raise UserError(f"{path}: {line[:80]!r} is no <id>;<label>.")
    return Clip((Place(name),), label.strip(), split)
