"""Something-Something V2: what hands do with things (Goyal et al., ICCV 2017)."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import TypedDict

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    Label,
    Name,
    files_named,
    find_file,
    folder_of,
    read_json,
    read_lines,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather

ABOUT = About(
    title="Something-Something V2, 174 actions with things",
    place="qualcomm.com/developer/software/something-something-v-2-dataset",
    licence="research use, not commercial",
    layout=(
        "something-something-v2-train.json and -validation.json, or train.json and validation.json",
        "labels.json and test-answers.csv, where they came with it",
        "20bn-something-something-v2/<id>.webm, or a folder of frames called <id>",
    ),
)
FILES = {
    "train": "something-something-v2-train.json train.json",
    "val": "something-something-v2-validation.json validation.json",
}
PEOPLE = (
    "It does not say who films: where val is carved from train, both show the same people, and val "
    "looks better than test."
)


class Entry(TypedDict):
    id: Name
    template: Label


def read(
    place: Path,
    *,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """The class is the template, [something] without brackets. Test is the official one where
    test-answers.csv is there."""
    root = folder_of(place, ABOUT.layout)
    clips = [
        Clip((Place(one["id"]),), _unbracketed(one["template"]), split)
        for split, names in FILES.items()
        for one in read_json(find_file(root, names, ABOUT.layout), list[Entry])
    ]
    for path in files_named(root, "something-something-v2-test-answers.csv test-answers.csv")[:1]:
        pairs = (line.partition(";") for line in read_lines(path))
        clips += [Clip((Place(name),), _unbracketed(label), "test") for name, _, label in pairs]
    order = None
    for path in files_named(root, "something-something-v2-labels.json labels.json")[:1]:
        numbers: dict[str, int] = read_json(path, dict[Label, int])
        order = sorted(map(_unbracketed, numbers), key=lambda one: numbers.get(one, 0))
    clips, notes = choose(
        clips, limit_classes=limit_classes, mapping=mapping, splits=splits, order=order
    )
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, PEOPLE])


def _unbracketed(template: str) -> str:
    return template.replace("[", "").replace("]", "").strip()
