"""FiftyOne: a folder `data/` and labels.json, of classified pictures or videos, or of segments.

FiftyOneImageClassificationDataset and FiftyOneTemporalDetectionDataset, as
https://docs.voxel51.com/user_guide/import_datasets.html has them: media by their names without
suffix; frames of `support` from 1, the last one included; `timestamps` in seconds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import Name, Number, Part, read_json
from understudy.data.sources.annotations.segments import (
    OWN_FRAMES,
    SECONDS,
    Segment,
    to_manifest,
)
from understudy.errors import UserError

TOOL = "FiftyOne"
ABOUT = About(
    "FiftyOne, classification and temporal detection",
    "fiftyone: dataset.export, FiftyOneImageClassificationDataset or …TemporalDetectionDataset",
    "your own",
    ("labels.json", "data/"),
)


class _Label(Part):
    """One label, of the whole item or of a part of it."""

    label: int | Name
    support: tuple[int, int] | None = None
    timestamps: tuple[Number, Number] | None = None


_One = int | Name | _Label


class _Labels(Part):
    classes: list[Name] | None = None
    labels: dict[Name, list[_One] | _One | None] = Field(default_factory=dict)


_FILE = TypeAdapter(_Labels)


def read(place: Path, *, media: Path | None = None) -> Manifest:
    """place: the exported folder. media: where the media lie, if not in its `data`."""
    file = Path(place) / "labels.json"
    content = read_json(file, _FILE, TOOL)
    left_out: Counter[str] = Counter()
    segments: list[Segment] = []
    for name, said in content.labels.items():
        some = said if isinstance(said, list) else [] if said is None else [said]
        left_out["items have no label, and were left out"] += not some
        whole: list[str] = []
        for one in some:
            target = one.label if isinstance(one, _Label) else one
            label = _name(file, name, target, content.classes)
            if isinstance(one, _Label) and one.timestamps is not None:
                segments.append(Segment(name, (label,), *one.timestamps, SECONDS))
            elif isinstance(one, _Label) and one.support is not None:
                first, last = one.support
                segments.append(Segment(name, (label,), first - 1, last, OWN_FRAMES))
            else:
                whole.append(label)
        if whole:
            segments.append(Segment(name, tuple(whole)))
    folder = MediaFolder(media or Path(place) / "data", whole=True)
    notes = [f"{count} {what}." for what, count in left_out.items() if count]
    return to_manifest(segments, folder, notes, file)


def _name(file: Path, item: str, target: Any, classes: list[str] | None) -> str:
    """The class that a target stands for: itself, or its number among the classes."""
    if isinstance(target, str):
        return target
    if classes is None or not 0 <= target < len(classes):
        raise UserError(
            f"{file}: {item} is of class {target}, and there are {len(classes or ())} classes."
        )
    return classes[target]
