"""Frames at given times from a video, a frame folder or a picture.

    timeline = read_timeline(path)
    frames = read_frames(path, sample_times("uniform", 8, timeline), short_side=224)

What a file is, its content decides and not its suffix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from understudy.data.frame_folder import frames_of, natural_key
from understudy.data.media import (
    FOLDER_FPS,
    MEDIA_SUFFIXES,
    PICTURE_SUFFIXES,
    VIDEO_SUFFIXES,
    DecodeError,
    MediaInfo,
    exact_s,
    faults_of,
    is_folder,
    open_file,
)
from understudy.data.pictures import is_picture, probe_picture, read_picture, row_of_jpegs
from understudy.data.sampling import Timeline
from understudy.data.transforms import resize_short_side
from understudy.data.video import probe_video, read_video, stream_video

__all__ = [
    "MEDIA_SUFFIXES",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "DecodeError",
    "MediaInfo",
    "every_frame",
    "natural_key",
    "part_of",
    "probe",
    "read_each",
    "read_frames",
    "read_timeline",
    "read_views",
    "shrink",
    "stream_frames",
    "timeline_of",
]

Finished = TypeVar("Finished")


def probe(path: str | Path) -> MediaInfo:
    """What a clip is, how long and how large, from its header and first frame.

    Raises DecodeError if the file is missing, empty, damaged or holds no pictures.
    """
    path = Path(path)
    if is_folder(path):
        files = _frame_files(path)
        with _names_frame(path, files[0]):
            first = probe_picture(files[0])
        return MediaInfo(
            kind="frames",
            duration_s=len(files) / FOLDER_FPS,
            fps=FOLDER_FPS,
            frames=len(files),
            width=first.width,
            height=first.height,
        )
    return probe_picture(path) if _is_picture(path) else probe_video(path)


def read_timeline(
    path: str | Path, start_s: float | None = None, end_s: float | None = None
) -> Timeline:
    """The timeline to sample a clip from, or from a part of it.

    start_s and end_s count from the first frame, as a player shows them; they are widened to whole
    frames, and an end past the last frame is the last frame's end. Raises DecodeError if the clip
    cannot be read, has ended before `start_s`, or pauses all the time.
    """
    return part_of(path, probe(path), start_s, end_s)


def part_of(
    path: str | Path, info: MediaInfo, start_s: float | None = None, end_s: float | None = None
) -> Timeline:
    """As `read_timeline`, of a clip that was probed already."""
    first, last = 0.0, info.duration_s
    if info.kind != "picture":
        if start_s is not None:
            first = math.floor(start_s * info.fps + 1e-6) / info.fps
        if end_s is not None:
            last = min(last, math.ceil(end_s * info.fps - 1e-6) / info.fps)
        if first >= last:
            raise DecodeError(
                Path(path), f"nothing is left between {start_s} s and {end_s} s of its {last:.2f} s"
            )
    timeline = timeline_of(info).part(info.start_s + first, info.start_s + last)
    if info.kind != "picture" and timeline.running_s * info.fps < 0.5:
        raise DecodeError(Path(path), f"no frames come between {start_s} s and {end_s} s")
    return timeline


def timeline_of(info: MediaInfo) -> Timeline:
    """The timeline of a whole clip."""
    start_s = info.start_s
    pauses = tuple((start_s + begin_s, start_s + end_s) for begin_s, end_s in info.pauses_s)
    return Timeline(start_s, start_s + info.duration_s, info.fps, pauses)


def read_frames(
    path: str | Path, times_s: Sequence[float], *, short_side: int | None = None
) -> Tensor:
    """The frame on screen at each time, (T, 3, H, W) uint8 RGB.

    times_s: rising, in seconds, on the file's own clock as `read_timeline` gives it. short_side: a
    frame whose shorter side is longer is made that small, aspect kept; never enlarged. Raises
    DecodeError when any of the frames is damaged or missing: none is replaced by another.
    """
    return read_views(path, [(times_s, short_side)])[0]


def read_views(
    path: str | Path,
    wanted: Sequence[tuple[Sequence[float], int | None]],
    first: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Several selections of frames in one pass: each is (times_s, short_side) of `read_frames`.

    Every frame is decoded once and made small from its full size, so that a selection has the same
    pixels whatever is read beside it. first: done to each decoded frame before that.
    """
    for times_s, _ in wanted:
        if not times_s or any(a >= b for a, b in pairwise(times_s)):
            raise ValueError(f"times_s={times_s}: one time at least is needed, and they must rise.")
    union = sorted({time_s for times_s, _ in wanted for time_s in times_s})
    sides = {short_side for _, short_side in wanted}

    def finish(frame: Tensor) -> dict[int | None, Tensor]:
        frame = frame if first is None else first(frame)
        return {side: shrink(frame, side) for side in sides}

    shrunk = read_each(path, union, finish)
    at = dict(zip(union, shrunk, strict=True))
    return [
        _stack(Path(path), [at[time_s][side] for time_s in times_s]) for times_s, side in wanted
    ]


def read_each(
    path: str | Path,
    times_s: Sequence[float],
    finish: Callable[[Tensor], Finished],
    again: Callable[[], None] = lambda: None,
) -> list[Finished]:
    """What `finish` makes of the frame (3, H, W) at each time, called in their order as they are
    decoded, so that no two need be held at once; else as `read_frames`. again: called where the
    first time comes once more, since a jump in the file has failed."""
    path = Path(path)
    if is_folder(path):
        return list(map(finish, _read_folder(path, times_s)))
    if _is_picture(path):
        if len(times_s) > 1:
            raise DecodeError(path, f"a picture has one frame, not {len(times_s)}")
        return [finish(read_picture(path))]
    return read_video(path, times_s, finish, again=again)


def stream_frames(path: str | Path, step_s: float | None) -> Iterator[tuple[float, Tensor]]:
    """The frames of a video one by one, in constant memory, whatever its length.

    step_s: seconds from one frame to the next, None for every frame. Yields (seconds since the
    first frame, (3, H, W) uint8 RGB): the frame on screen in the middle of each step, which over
    one clip are the frames of `uniform` sampling, and never the same frame twice. Raises
    DecodeError for anything but a video, and when a frame is damaged.
    """
    path = Path(path)
    if is_folder(path):
        raise DecodeError(path, "a folder, not a video")
    if _is_picture(path):
        raise DecodeError(path, "a picture, not a video")
    yield from stream_video(path, step_s)


def every_frame(path: str | Path) -> Iterator[tuple[float, Tensor]]:
    """All frames of a video, a frame folder or a picture, one by one, in constant memory: seconds
    since the first one and (3, H, W) uint8 RGB. Raises DecodeError as soon as one is damaged."""
    path = Path(path)
    if is_folder(path):
        times_s = [number / FOLDER_FPS for number in range(len(_frame_files(path)))]
        yield from zip(times_s, _read_folder(path, times_s), strict=True)
    elif _is_picture(path):
        yield 0.0, read_picture(path)
    else:
        yield from stream_video(path, None)


def _is_picture(path: Path) -> bool:
    with open_file(path) as file, faults_of(path, "it cannot be opened"):
        head = file.read(32)
    if not head:
        raise DecodeError(path, "the file is empty", damaged=True)
    return is_picture(head) and not row_of_jpegs(path)


def _frame_files(folder: Path) -> list[Path]:
    with faults_of(folder, "it cannot be opened"):
        frames = frames_of(folder)
    if frames.several:
        raise DecodeError(folder, frames.several)
    if not frames.pictures:
        raise DecodeError(folder, "the folder holds no pictures")
    return [folder / name for name in frames.pictures]


def _read_folder(folder: Path, times_s: Sequence[float]) -> Iterator[Tensor]:
    files = _frame_files(folder)
    numbers = [math.floor(exact_s(time_s) * int(FOLDER_FPS)) for time_s in times_s]
    if numbers[0] < 0 or numbers[-1] >= len(files):
        raise DecodeError(folder, f"it has {len(files)} frames, not {numbers[-1] + 1}")
    for number in numbers:
        with _names_frame(folder, files[number]):
            frame = read_picture(files[number])
        yield frame


@contextmanager
def _names_frame(folder: Path, file: Path) -> Iterator[None]:
    """The clip is what cannot be read; which of its frames, stands in the reason."""
    try:
        yield
    except DecodeError as error:
        raise DecodeError(folder, f"{file.name}: {error.reason}", error.damaged) from error


def _stack(path: Path, frames: list[Tensor]) -> Tensor:
    """Frames (3, H, W) as a clip (T, 3, H, W).

    A video may turn from landscape to portrait as a phone is turned, or change its resolution: of
    its frames the middle is taken that all of them have. Pictures in a folder that differ are no
    clip.
    """
    sizes = {tuple(frame.shape[1:]) for frame in frames}
    if len(sizes) > 1:
        if is_folder(path):
            raise DecodeError(path, f"its frames differ in size: {sorted(sizes)}")
        frames = [shrink(frame, min(min(size) for size in sizes)) for frame in frames]
        height, width = (min(frame.shape[axis] for frame in frames) for axis in (1, 2))
        frames = [center_crop(frame, [height, width]) for frame in frames]
    return torch.stack(frames)


def shrink(frame: Tensor, short_side: int | None) -> Tensor:
    """A frame (3, H, W) whose shorter side is longer than that is made that small."""
    if short_side is None or min(frame.shape[-2:]) <= short_side:
        return frame
    return resize_short_side(frame, short_side)
