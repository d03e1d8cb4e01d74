"""The three kinds of annotations of Ego4D that name actions: moments, verbs and sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from understudy.data.sources.published.annotation_files import Name, Seconds, read_json
from understudy.data.sources.published.gathering import Place

Offset = Annotated[float, Field(ge=-1_000_000, le=1_000_000, allow_inf_nan=False)]


class Moment(TypedDict):
    label: str | None
    primary: NotRequired[bool]
    start_time: Offset
    end_time: Offset
    video_start_time: Offset
    video_end_time: Offset  # fmt: skip


class Annotator(TypedDict):
    labels: list[Moment]


class MomentClip(TypedDict):
    clip_uid: Name
    annotations: list[Annotator]


class MomentVideo(TypedDict):
    video_uid: Name
    clips: list[MomentClip]


class Moments(TypedDict):
    videos: list[MomentVideo]


class Action(TypedDict):
    video_uid: Name
    clip_uid: Name
    clip_parent_start_sec: Seconds
    action_clip_start_sec: Offset
    action_clip_end_sec: Offset
    verb: str


class Actions(TypedDict):
    clips: list[Action]


class Sentence(TypedDict):
    timestamp_sec: Seconds | None
    narration_text: str | None


class Pass(TypedDict):
    narrations: list[Sentence]


class Narrated(TypedDict):
    narration_pass_1: NotRequired[Pass | None]
    narration_pass_2: NotRequired[Pass | None]


Found = Iterator[tuple[str, str, tuple[Place, ...]]]
"""video_uid, label, and where it may lie."""


def _moments(path: Path) -> Found:
    for video in read_json(path, Moments)["videos"]:
        for clip in video["clips"]:
            for one in (label for each in clip["annotations"] for label in each["labels"]):
                if one["label"] and one.get("primary", True):
                    whole = _place(
                        video["video_uid"], one["video_start_time"], one["video_end_time"]
                    )
                    cut = _place(clip["clip_uid"], one["start_time"], one["end_time"])
                    yield video["video_uid"], one["label"], (cut, whole)


def _actions(path: Path) -> Found:
    for one in read_json(path, Actions)["clips"]:
        start_s, end_s = one["action_clip_start_sec"], one["action_clip_end_sec"]
        first = one["clip_parent_start_sec"]
        cut = _place(one["clip_uid"], start_s, end_s)
        whole = _place(one["video_uid"], first + start_s, first + end_s)
        yield one["video_uid"], one["verb"], (cut, whole)


def _narration(path: Path) -> Found:
    """What the person with the camera does (#C), around the moment of each sentence: as wide as
    sentences of that video are apart, by their mean distance in all videos (Lin et al., "Egocentric
    video-language pretraining", NeurIPS 2022, section 3.2)."""
    videos: dict[str, Narrated] = read_json(path, dict[Name, Narrated])
    told = [
        (video, [(one["timestamp_sec"], one["narration_text"] or "") for one in each["narrations"]])
        for video, passes in videos.items()
        for each in passes.values()
        if isinstance(each, dict) and len(each["narrations"]) > 1
    ]
    apart = [_apart([moment for moment, _ in one if moment is not None]) for _, one in told]
    mean = fmean([distance for distance in apart if distance] or [1.0])
    for (video, sentences), distance in zip(told, apart, strict=True):
        half_s = distance / (2 * mean)
        for moment, text in sentences:
            if moment is not None and text.startswith("#C C ") and half_s:
                place = _place(video, moment - half_s, moment + half_s)
                yield video, text.removeprefix("#C C ").strip(), (place,)


def _apart(moments: list[float]) -> float:
    return (max(moments) - min(moments)) / (len(moments) - 1) if len(moments) > 1 else 0.0


def _place(name: str, start_s: float, end_s: float) -> Place:
    return Place(name, max(0.0, start_s), end_s)


READERS = {"moments": _moments, "lta": _actions, "narration": _narration}
FILES = {
    "moments": {"train": "moments_train.json", "val": "moments_val.json"},
    "lta": {"train": "fho_lta_train.json", "val": "fho_lta_val.json"},
    "narration": {"": "narration.json"},
}
