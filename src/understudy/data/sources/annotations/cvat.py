"""CVAT: tracks of "CVAT for video 1.1" and tags of "CVAT for images 1.1".

A track holds from the frame where it appears to the frame where it is outside. Tags of a video are
exported for images alone, one a frame: neighbouring frames with the same tag are one segment.
Frames count from 0, in the video itself, whatever was shown of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from understudy.data.manifest import Manifest
from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.data.sources.about import About
from understudy.data.sources.annotations.cvat_xml import (
    Content,
    Image,
    Shape,
    Task,
    Track,
    read_xml,
)
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import the_file
from understudy.data.sources.annotations.segments import OWN_FRAMES, Segment, to_manifest
from understudy.errors import UserError

ABOUT = About(
    "CVAT, tracks and tags",
    "cvat.ai or your server: Export task dataset, CVAT for video 1.1 or for images 1.1",
    "your own",
    ("annotations.xml", "the video or images/, beside it or below --media"),
)


def read(place: Path, *, media: Path | None = None, field: str | None = None) -> Manifest:
    """place: annotations.xml, or the folder in which it lies alone.

    media: where the video or the pictures lie, if not beside it.
    field: attribute whose value is the label, in place of the label itself.
    """
    file = the_file(place, (".xml",), "CVAT")
    content = read_xml(file)
    folder = MediaFolder(media or file.absolute().parent)
    left_out: Counter[str] = Counter()
    segments = [
        *_of_tracks(file, content, folder, field, left_out),
        *_of_images(file, content, folder, field, left_out),
    ]
    notes = [f"{count} {what}." for what, count in left_out.items()]
    return to_manifest(segments, folder, notes, file)


def _of_tracks(
    file: Path, content: Content, folder: MediaFolder, field: str | None, left_out: Counter[str]
) -> Iterator[Segment]:
    for number, track in enumerate(content.tracks):
        task = _task(file, content, track.task)
        for label, start, end in _stretches(track, task, field):
            if label is None:
                left_out[f"stretches of tracks have no attribute {field}, and were left out"] += 1
                continue
            video = _video(file, task, folder)
            yield Segment(video, (label,), start, end, OWN_FRAMES, f"track {number}")


def _stretches(
    track: Track, task: Task, field: str | None
) -> Iterator[tuple[str | None, int, int]]:
    """Label, first frame and the one after the last, wherever a track is to be seen."""
    shapes = sorted(track.shapes, key=lambda one: one.frame)
    since: Shape | None = None
    for shape in shapes:
        label = None if shape.outside else _label(shape, field)
        if since is not None and (shape.outside or label != _label(since, field)):
            yield _label(since, field), since.frame, shape.frame
            since = None
        if since is None and not shape.outside:
            since = shape
    if since is not None:
        # All frames are exported, the last one too; who writes key frames alone means to the end.
        last = shapes[-1].frame
        dense = len(shapes) > 1 and last - shapes[-2].frame <= task.step
        if not dense and task.stop is not None:
            last = max(last, task.stop)
        yield _label(since, field), since.frame, last + task.step


def _label(shape: Shape, field: str | None) -> str | None:
    return shape.label if field is None else shape.attributes.get(field)


def _of_images(
    file: Path, content: Content, folder: MediaFolder, field: str | None, left_out: Counter[str]
) -> Iterator[Segment]:
    by_task: dict[str, list[Image]] = {}
    for image in content.images:
        by_task.setdefault(image.task, []).append(image)
    has_tags = any(image.tags for image in content.images)
    for name, images in by_task.items():
        task = _task(file, content, name)
        said: dict[int, set[str]] = {}
        for place, image in enumerate(images):
            if has_tags and image.shapes:
                left_out["shapes in pictures are no tags, and were left out"] += len(image.shapes)
            found = {_label(one, field) for one in (image.tags if has_tags else image.shapes)}
            said[place] = {label for label in found if label is not None}
            left_out["pictures have no label, and were left out"] += not said[place]
        is_there = any(name and folder.find(name) for name in (task.source, task.name))
        if task.is_video and (is_there or not _pictures(images, folder)):
            frames = [(images[place].frame, labels) for place, labels in said.items()]
            video = _video(file, task, folder)
            for label, start, end in _runs(frames, task.step):
                yield Segment(video, (label,), start, end, OWN_FRAMES, f"frame {start}")
        else:
            group = task.source or task.name if task.is_video else ""
            for place, labels in said.items():
                if labels:
                    yield Segment(images[place].name, tuple(sorted(labels)), group=group)
    left_out += Counter()  # without those that are 0


def _runs(frames: Sequence[tuple[int, set[str]]], step: int) -> Iterator[tuple[str, int, int]]:
    """Neighbouring frames of the same tag: the tag, the first and the one after the last."""
    of_label: dict[str, list[int]] = {}
    for frame, labels in sorted(frames, key=lambda one: one[0]):
        for label in labels:
            of_label.setdefault(label, []).append(frame)
    for label, some in of_label.items():
        start = some[0]
        for frame, after in pairwise(some):
            if after - frame > step:
                yield label, start, frame + step
                start = after
        yield label, start, some[-1] + step


def _task(file: Path, content: Content, name: str) -> Task:
    if name not in content.tasks:
        if name:
            raise UserError(f"{file} names a task {name!r} that it does not describe.")
        return Task()
    return content.tasks[name]


def _video(file: Path, task: Task, folder: MediaFolder) -> str:
    """The video of a task: what it came from, else its name, else the only one there."""
    for name in (task.source, task.name):
        if Path(name).suffix.lower() in MEDIA_SUFFIXES - PICTURE_SUFFIXES:
            return name
    videos = folder.videos()
    if len(videos) != 1:
        raise UserError(
            f"{file} does not say which video it is of, and below {folder.folder} there are "
            f"{len(videos)}. Put it into a folder of its own: --media FOLDER."
        )
    return videos[0]


def _pictures(images: Sequence[Image], folder: MediaFolder) -> bool:
    return any(folder.find(image.name) for image in images[:10])
