"""HMDB51: actions in films and videos (Kuehne et al., ICCV 2011)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    expected,
    files_named,
    folder_of,
    read_lines,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.gathering import Clip, Place, gather
from understudy.errors import UserError

ABOUT = About(
    title="HMDB51, 51 actions",
    place="serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database",
    licence="CC BY 4.0 (annotations), films are their owners'",
    layout=(
        "<class>/<film>_<class>_f_cm_np1_ba_med_0.avi",
        "testTrainMulti_7030_splits/<class>_test_split1.txt (2 and 3)",
    ),
)

_SPLITS = {"1": "train", "2": "test"}
_TAGS = re.compile(r"(?P<film>.+)_[fhul]_(cm|nm)_np\d_(fr|ba|le|ri)_(goo|med|bad)_\d+")


def read(
    place: Path,
    *,
    split_number: int = 1,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "official",
) -> Manifest:
    """split_number: 1, 2 or 3. A group is what one film shows of one class, which official splits
    never share; a film, in another class, they do, and that is told. With `groups` it is the film.
    """
    if split_number not in (1, 2, 3):
        raise UserError(f"--split-number {split_number}: HMDB51 has the splits 1, 2 and 3.")
    root = folder_of(place, ABOUT.layout)
    ending = f"_test_split{split_number}.txt"
    paths = files_named(root, f"*{ending}")
    if not paths:
        raise UserError(f"{root} holds no <class>{ending}. {expected(ABOUT.layout)}")
    clips, unused = [], 0
    for path in paths:
        for line in read_lines(path):
            name, _, number = line.rpartition(" ")
            if number == "0":
                unused += 1
            else:
                clips.append(_clip(name.strip(), number, path.name.removesuffix(ending), path))
    notes = [f"{unused:,} clips belong to neither list of split {split_number}."] * bool(unused)
    if splits == "groups":
        clips = [replace(clip, group=clip.group.partition("/")[2]) for clip in clips]
    else:
        notes += _shared(clips)
    clips, left_out = choose(clips, limit_classes=limit_classes, mapping=mapping, splits=splits)
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, *left_out])


def _clip(name: str, number: str, label: str, path: Path) -> Clip:
    stem = name.removesuffix(".avi")
    tags = _TAGS.fullmatch(stem)
    if number not in _SPLITS or tags is None or not tags["film"].endswith(f"_{label}"):
        raise UserError(
            f"{path}: {name[:80]!r} {number[:9]} is no clip of {label}; expected "
            f"<film>_{label}_f_cm_np1_ba_med_0.avi and 0, 1 or 2."
        )
    film = tags["film"].removesuffix(f"_{label}")
    return Clip((Place(stem),), label, _SPLITS[number], f"{label}/{film}")


def _shared(clips: list[Clip]) -> list[str]:
    """What is to be said of films that the official split has on both sides."""
    learned = {_film(clip) for clip in clips if clip.split == "train"}
    tested = [_film(clip) for clip in clips if clip.split == "test"]
    known = [film for film in tested if film in learned]
    if not known:
        return []
    return [
        f"{len(known):,} of {len(tested):,} test clips are of {len(set(known)):,} films that train "
        "shows in other classes: so the official split is. --splits groups keeps films apart."
    ]


def _film(clip: Clip) -> str:
    return clip.group.partition("/")[2]
