"""WLASL: words of American Sign Language (Li et al., WACV 2020)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
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
from understudy.data.sources.published.choosing import first_classes, mapped
from understudy.data.sources.published.gathering import Clip, Place, gather, with_splits
from understudy.errors import UserError

ABOUT = About(
    title="WLASL, 2,000 words of American Sign Language",
    place="github.com/dxli94/WLASL",
    licence="C-UDA (computational use only, not commercial)",
    layout=(
        "WLASL_v0.3.json; or name nslt_100.json (300, 1000, 2000), beside wlasl_class_list.txt",
        "videos/<video_id>.mp4 as preprocess.py cuts them, or raw_videos_mp4/<YouTube id>.mp4",
    ),
)
FILES = "WLASL_v0.3.json WLASL_v*.json"

FPS = 25
"""Frames a second that frame_start and frame_end are counted in, whatever the video has."""


class Instance(TypedDict):
    video_id: Name
    url: str
    split: Literal["train", "val", "test"]
    signer_id: int
    frame_start: Annotated[int, Field(ge=1, le=10**7)]
    frame_end: Annotated[int, Field(ge=-1, le=10**7)]


class Gloss(TypedDict):
    gloss: Label
    instances: list[Instance]


class Part(TypedDict):
    subset: Literal["train", "val", "test"]
    action: tuple[int, int, int]


def read(
    place: Path,
    *,
    limit_classes: int | None = None,
    mapping: Path | None = None,
    splits: str = "groups",
) -> Manifest:
    """place: the folder, or one JSON file in it. limit_classes: the first so many words, which is
    how WLASL100 and its like are made. splits: signers stand in several of the official ones, so
    whole signers are dealt out anew unless those are asked for.
    """
    chosen = Path(place) if Path(place).is_file() else None
    root = folder_of(chosen.parent if chosen else place, ABOUT.layout)
    notes: list[str] = []
    if chosen is not None and chosen.name.startswith("nslt_"):
        clips, order, notes = _subset(chosen, root)
    else:
        clips, order = _glosses(chosen or find_file(root, FILES, ABOUT.layout))
    clips = first_classes(with_splits(clips, splits), order, limit_classes)
    clips, left_out = mapped(clips, mapping)
    return gather(root, clips, ABOUT.layout, notes=[*notes, *left_out])


def _glosses(path: Path) -> tuple[list[Clip], list[str]]:
    glosses: list[Gloss] = read_json(path, list[Gloss])
    clips = [_clip(one["gloss"], each) for one in glosses for each in one["instances"]]
    return clips, [one["gloss"] for one in glosses]


def _clip(gloss: str, one: Instance) -> Clip:
    start_s, end_s = (one["frame_start"] - 1) / FPS, one["frame_end"] / FPS
    whole = one["frame_end"] <= 0
    part = (start_s or None, None) if whole else (start_s, end_s)
    if "youtu" in one["url"]:
        # preprocess.py cuts these and names them by video_id; only what it cuts has all else.
        places = (Place(one["video_id"]), Place(one["url"][-11:], *part))
    else:
        places = (Place(one["video_id"], *part),)
    return Clip(places, gloss, one["split"], f"signer-{one['signer_id']}")


def _subset(path: Path, root: Path) -> tuple[list[Clip], list[str], list[str]]:
    """The clips of nslt_*.json, which knows no signer; WLASL_v0.3.json beside it does."""
    parts: dict[str, Part] = read_json(path, dict[Name, Part])
    lines = read_lines(find_file(root, "wlasl_class_list.txt", ABOUT.layout))
    words = [line.partition("\t")[2] or line.partition(" ")[2] for line in lines]
    top = max((one["action"][0] for one in parts.values()), default=-1)
    if min((one["action"][0] for one in parts.values()), default=0) < 0 or top >= len(words):
        raise UserError(f"{path} names class {top}, and the class list has {len(words):,}.")
    known = {
        clip.places[0].name: clip
        for file in files_named(root, FILES)[:1]
        for clip in _glosses(file)[0]
    }
    clips = []
    for name, one in parts.items():
        clip = known.get(name, Clip((Place(name),), None))
        clips.append(replace(clip, label=words[one["action"][0]], split=one["subset"]))
    stranger = sum(name not in known for name in parts)
    notes = [
        f"{stranger:,} clips have no signer, so that one may stand in several splits: put "
        "WLASL_v0.3.json beside the file."
    ] * bool(stranger)
    return clips, words[: top + 1], notes
