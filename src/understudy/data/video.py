"""Frames of a video file at given times, by PyAV (which brings its own FFmpeg).

Times are presentation times on the file's own clock, compared exactly in the stream's time base.
HDR pixels are converted to 8 bits without tone mapping: pale, but the same everywhere.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from understudy.data.extent import ESTIMATED, INDEXED, extent
from understudy.data.frames import Frames
from understudy.data.joined import second_file
from understudy.data.media import DecodeError, MediaInfo, exact_s, faults_of
from understudy.data.opening import open_container
from understudy.data.packets import period_of, time_base
from understudy.data.pixels import shown_size, to_rgb, upright

Finished = TypeVar("Finished")

WORTH_A_SEEK = 8
"""A seek pays off when it skips this many frames at least."""
SHOWN_BEFORE = 3
"""Frames decoded after a key frame and shown before it. More are rare, and only cost time."""
WITH_INDEX = INDEXED | {"matroska,webm"}
"""Formats with places of key frames. In the others FFmpeg searches, and times what it lands in
wrongly."""
MANY_LATE = frozenset({"h264", "hevc"})
"""Codecs that may reorder more from some frame on: their AVI is counted from its start."""


class OpenVideo:
    """A video that is probed and then read: opened once for both, and its first frame decoded once.

    with OpenVideo(path) as video: ... Raises DecodeError, as its methods do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = ExitStack()
        self._begun: Begun | None = self._held.enter_context(_begin(path))

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()  # what is raised inside is not all of the file's making

    def probe(self) -> MediaInfo:
        """What the header says, proven by decoding the first frame."""
        path = self.path
        with faults_of(path, "no readable video"), self._from_start() as begun:
            container, stream, frames, frame = begun
            if frame is None:
                raise DecodeError(path, "it holds no frame", damaged=True)
            width, height = shown_size(frame, stream.sample_aspect_ratio)
            height, width = upright(torch.empty(height, width, device="meta"), frame).shape
            found = extent(path, container, stream, frames, frame)
            _refuse_joined(path, found.end - found.start)
            if not frames.at_end:
                self._begun = begun
        return MediaInfo(
            kind="video",
            duration_s=float(found.end - found.start),
            fps=float(found.fps),
            frames=stream.frames or None,
            width=width,
            height=height,
            start_s=float(found.start),
            pauses_s=tuple(
                (float(begin - found.start), float(end - found.start))
                for begin, end in found.pauses
            ),
            notes=found.notes,
        )

    def read(
        self,
        times_s: Sequence[float],
        finish: Callable[[Tensor], Finished],
        *,
        seek: bool = True,
        again: Callable[[], None] = lambda: None,
    ) -> list[Finished]:
        """The frame on screen at each time, each (3, H, W) uint8 RGB and passed through `finish`.

        times_s: rising, in seconds. Decodes in one pass and jumps ahead only where a key frame lies
        far enough ahead, so that no frame is ever decoded twice; `seek=False` never jumps, and
        gives the same pixels. again: called where a jump has failed and the first time comes once
        more. Raises DecodeError when a wanted frame is damaged or missing.
        """
        with faults_of(self.path, "no readable video"), self._from_start() as begun:
            pixels = _read(self.path, begun, times_s, finish, seek=seek)
        if pixels is None:
            again()
            with _begin(self.path) as begun:
                pixels = _read(self.path, begun, times_s, finish, seek=False)
        assert pixels is not None, "it did not jump"
        return pixels

    @contextmanager
    def _from_start(self) -> Iterator[Begun]:
        """The file of which one frame is decoded; opened anew where it was read on."""
        begun, self._begun = self._begun, None
        if begun is not None:
            yield begun
        else:
            with _begin(self.path) as begun:
                yield begun


def probe_video(path: Path) -> MediaInfo:
    """As `OpenVideo.probe`."""
    with OpenVideo(path) as video:
        return video.probe()


def _refuse_joined(path: Path, duration: Fraction) -> None:
    second = second_file(path)
    if second is not None:
        raise DecodeError(
            path,
            f"it is two files joined byte by byte: a second one begins at byte {second:,}, after "
            f"some {float(duration):.3g} s, and players stop there. Cut it there into two, and "
            "join those with ffmpeg -f concat, or leave them apart",
        )


def read_video(
    path: Path,
    times_s: Sequence[float],
    finish: Callable[[Tensor], Finished],
    *,
    seek: bool = True,
    again: Callable[[], None] = lambda: None,
) -> list[Finished]:
    """As `OpenVideo.read`."""
    with OpenVideo(path) as video:
        return video.read(times_s, finish, seek=seek, again=again)


def _read(
    path: Path,
    begun: Begun,
    times_s: Sequence[float],
    finish: Callable[[Tensor], Finished],
    *,
    seek: bool,
) -> list[Finished] | None:
    """None where a jump landed after the frame that was wanted."""
    pixels: list[Finished] = []
    container, stream, frames, ahead = begun
    base, period, reformatter = time_base(stream), period_of(stream), VideoReformatter()
    aspect = stream.sample_aspect_ratio
    keys = _key_frames(container, stream) if seek else []
    shown: VideoFrame | None = None
    lasts = 0  # ticks, as the frame before did
    for time_s in times_s:
        tick = math.floor(exact_s(time_s) / base)
        position = ahead.pts if ahead is not None else None
        key = _key_before(keys, tick)
        if key and position is not None and key[0] - position >= WORTH_A_SEEK * period:
            frames.jump(key[1])
            shown, ahead = None, next(frames, None)
            if ahead is None or cast(int, ahead.pts) > tick:
                return None
        while ahead is not None and cast(int, ahead.pts) <= tick:
            lasts = cast(int, ahead.pts) - cast(int, shown.pts) if shown else 0
            shown, ahead = ahead, next(frames, None)
        if shown is None:
            raise DecodeError(path, f"there is no frame at {time_s:.3f} s yet", damaged=True)
        lasts = max(lasts, shown.duration or period)
        if ahead is None and tick > cast(int, shown.pts) + 2 * lasts:
            end_s = float(cast(int, shown.pts) * base)
            raise DecodeError(
                path,
                f"there is no frame at {time_s:.3f} s; the last one is at {end_s:.3f} s",
                damaged=True,
            )
        if shown.is_corrupt:
            raise DecodeError(path, f"the frame at {time_s:.3f} s is damaged", damaged=True)
        pixels.append(finish(to_rgb(shown, reformatter, aspect)))
    return pixels


def stream_video(path: Path, step_s: float | None) -> Iterator[tuple[float, Tensor]]:
    """Frames one by one, in constant memory: the frame on screen in the middle of every step.

    step_s: seconds from one to the next; None: every frame. A frame is given once, however short
    the step. Yields (seconds since the first frame came on screen, pixels as `read_video` has
    them). Raises DecodeError where a wanted frame is damaged, and at the end of a file that breaks
    off a second or more before its header says.
    """
    info = probe_video(path)
    with open_container(path) as (container, stream):
        base, period, reformatter = time_base(stream), period_of(stream), VideoReformatter()
        aspect = stream.sample_aspect_ratio
        frames = Frames(path, container, stream)
        shown = next(frames, None)
        if shown is None:
            raise DecodeError(path, "it holds no frame", damaged=True)
        start, number = cast(int, shown.pts), 0
        due = start if step_s is None else _step_middle(start, 0, step_s, base)
        now = lasts = 0  # the latter in ticks, of the last frame no less than of the one before
        while shown is not None:
            ahead = next(frames, None)
            now = cast(int, shown.pts)
            until = cast(int, ahead.pts) if ahead is not None else now + (shown.duration or period)
            lasts = max(lasts, until - now) if ahead is None else until - now
            if due < until:
                if shown.is_corrupt:
                    time_s = float((now - start) * base)
                    raise DecodeError(path, f"the frame at {time_s:.3f} s is damaged", damaged=True)
                yield float((now - start) * base), to_rgb(shown, reformatter, aspect).contiguous()
            while due < until:
                number += 1
                due = until if step_s is None else _step_middle(start, number, step_s, base)
            shown = ahead
        name = container.format.name
    if name not in ESTIMATED:
        end_s = float((now + lasts) * base)
        if info.start_s + info.duration_s - end_s > 1:
            seen_s = end_s - float(start * base)
            raise DecodeError(
                path,
                f"it breaks off after {seen_s:.1f} s; its header tells of {info.duration_s:.1f} s",
                damaged=True,
            )


def _step_middle(start: int, number: int, step_s: float, base: Fraction) -> int:
    """The tick in the middle of a step, that begins `number` steps after the first frame."""
    return start + math.floor(exact_s((number + 0.5) * step_s) / base)


class Begun(NamedTuple):
    """A file of which the first frame is decoded; None: it has none."""

    container: InputContainer
    stream: VideoStream
    frames: Frames
    first: VideoFrame | None


@contextmanager
def _begin(path: Path) -> Iterator[Begun]:
    with open_container(path) as (container, stream):
        frames = Frames(path, container, stream)
        yield Begun(container, stream, frames, next(frames, None))


def _key_frames(container: InputContainer, stream: VideoStream) -> list[tuple[int, int]]:
    """Key frames as (presentation time, index time), rising; empty where there is no index."""
    kind = container.format.name
    if kind not in WITH_INDEX or (kind == "avi" and stream.codec_context.name in MANY_LATE):
        return []
    times = sorted(entry.timestamp for entry in stream.index_entries if entry.is_keyframe)
    if not times:
        return []
    # An index counts in decoding time, which runs ahead of presentation by a constant, and by a
    # frame more for each one that is decoded after a key frame and shown before it.
    delay = (stream.start_time or 0) - times[0]
    if stream.codec_context.has_b_frames:
        delay += SHOWN_BEFORE * period_of(stream)
    return [(time + delay, time) for time in times]


def _key_before(keys: list[tuple[int, int]], tick: int) -> tuple[int, int] | None:
    place = bisect.bisect_right(keys, (tick, math.inf))
    return keys[place - 1] if place else None
