"""Ego4D: daily life, by a camera on the head (Grauman et al., CVPR 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.published.annotation_files import (
    Name,
    expected,
    files_named,
    folder_of,
    read_json,
)
from understudy.data.sources.published.choosing import choose
from understudy.data.sources.published.ego4d_annotations import FILES, READERS
from understudy.data.sources.published.gathering import Clip, gather
from understudy.errors import UserError

ABOUT = About(
    title="Ego4D, daily life by a camera on the head",
    place="ego4d-data.org, by its command line (ego4d --datasets annotations clips)",
    licence="Ego4D licence, to be signed; research and commercial",
    layout=(
        "v2/ego4d.json and v2/annotations/moments_train.json, fho_lta_train.json or narration.json",
        "v2/full_scale/<video_uid>.mp4, v2/video_540ss, v2/clips/<clip_uid>.mp4, or folders of "
        "frames called <video_uid> or <clip_uid>",
    ),
)
FPS = 30.0
"""Frames a second of every published video."""


class Video(TypedDict):
    video_uid: Name
    fb_participant_id: NotRequired[int | None]


class Metadata(TypedDict):
    videos: list[Video]


def read(
    place: Path,
    *,
    annotations: str | None = None,
    fps: float = FPS,
    mapping: Path | None = None,
    media: Path | None = None,
    splits: str = "groups",
) -> Manifest:
    """annotations: moments, lta (verbs) or narration; by default the first of them that is there.
    fps: of frame folders. A group is the person with the camera where ego4d.json says who it was,
    else the video. Whole groups are dealt out; no official test has public labels.
    """
    if annotations is not None and annotations not in READERS:
        raise UserError(f"--annotations {annotations!r}: it is one of {', '.join(READERS)}.")
    root = folder_of(place, ABOUT.layout)
    people = {
        video["video_uid"]: f"person-{video['fb_participant_id']}"
        for path in files_named(root, "ego4d.json")[:1]
        for video in read_json(path, Metadata)["videos"]
        if video.get("fb_participant_id") is not None
    }
    kinds = [annotations] if annotations else list(READERS)
    for kind in kinds:
        files = {split: files_named(root, name)[:1] for split, name in FILES[kind].items()}
        if any(files.values()):
            break
    else:
        wanted = " or ".join(next(iter(FILES[kind].values())) for kind in kinds)
        raise UserError(f"{root} holds no {wanted}. {expected(ABOUT.layout)}")
    if kind == "narration" and mapping is None:
        raise UserError(
            "Narrations are sentences: --mapping needs a file that says which are of what class, "
            "with lines like `walks *,walking`. One comes along: --mapping ego4d-eight."
        )
    clips = [
        Clip(places, label, split, people.get(video, video), fps)
        for split, paths in files.items()
        for path in paths
        for video, label, places in READERS[kind](path)
    ]
    clips, left_out = choose(clips, mapping=mapping, splits=splits)
    named = ", ".join(str(path[0].relative_to(root)) for path in files.values() if path)
    unknown = {clip.group for clip in clips} - set(people.values())
    notes = [f"Its classes are those of {named}."]
    if unknown:
        notes.append(f"Nobody says who wears the camera in {len(unknown):,} videos: each a group.")
    return gather(media or root, clips, ABOUT.layout, notes=[*notes, *left_out])
