"""Frames of a video file at given times, by PyAV (which brings its own FFmpeg).

Times are presentation times on the file's own clock, compared exactly in the stream's time base.
HDR pixels are converted to 8 bits without tone mapping: pale, but the same everywhere.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeVar, cast

import av
import av.error
import torch
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from understudy.data.media import DecodeError, MediaInfo, exact_s
from understudy.data.pixels import to_rgb, upright

Finished = TypeVar("Finished")

WORTH_A_SEEK = 8
"""A seek pays off when it skips this many frames at least."""
MAX_FPS = 240
"""A header that claims more tells its clock's resolution, not its frame rate."""

ESTIMATED = frozenset({"mpeg", "mpegts"})
"""Formats without a header that tells the duration; FFmpeg guesses it from the bit rate."""
FROM_ZERO = frozenset({"matroska,webm", "asf"})
"""Formats whose duration counts from zero on the clock, and so holds the time before the start."""


class _SeekMissedError(Exception):
    """A seek landed after the frame that was wanted."""


def probe_video(path: Path) -> MediaInfo:
    """What the header says, proven by decoding the first frame. Raises DecodeError."""
    with _open(path) as (container, stream):
        frame = next(_decode(path, container, stream), None)
        if frame is None:
            raise DecodeError(path, "it holds no frame")
        height, width = upright(torch.empty(frame.height, frame.width), frame).shape
        start, end, fps = _extent(container, stream)
    return MediaInfo(
        kind="video",
        duration_s=float(end - start),
        fps=float(fps),
        frames=stream.frames or None,
        width=width,
        height=height,
        start_s=float(start),
    )


def read_video(
    path: Path,
    times_s: Sequence[float],
    finish: Callable[[Tensor], Finished],
    *,
    seek: bool = True,
) -> list[Finished]:
    """The frame on screen at each time, each (3, H, W) uint8 RGB and passed through `finish`.

    times_s: rising, in seconds. Decodes in one pass and jumps ahead only where a key frame lies
    far enough ahead, so that no frame is ever decoded twice; `seek=False` never jumps, and gives
    the same pixels. Raises DecodeError when a wanted frame is damaged or missing.
    """
    if seek:
        try:
            return _read(path, times_s, finish, seek=True)
        except _SeekMissedError:
            pass
    return _read(path, times_s, finish, seek=False)


def _read(
    path: Path, times_s: Sequence[float], finish: Callable[[Tensor], Finished], *, seek: bool
) -> list[Finished]:
    pixels: list[Finished] = []
    with _open(path) as (container, stream):
        base, period, reformatter = _time_base(stream), _period(stream), VideoReformatter()
        keys = _key_frames(container, stream) if seek else []
        frames = _in_order(path, container, stream)
        shown: VideoFrame | None = None
        ahead: VideoFrame | None = next(frames, None)
        for time_s in times_s:
            tick = math.floor(exact_s(time_s) / base)
            position = ahead.pts if ahead is not None else None
            key = _key_before(keys, tick)
            if key and position is not None and key[0] - position >= WORTH_A_SEEK * period:
                container.seek(key[1], stream=stream, backward=True, any_frame=False)
                frames = _in_order(path, container, stream)
                shown, ahead = None, next(frames, None)
                if ahead is None or cast(int, ahead.pts) > tick:
                    raise _SeekMissedError
            while ahead is not None and cast(int, ahead.pts) <= tick:
                shown, ahead = ahead, next(frames, None)
            if shown is None:
                raise DecodeError(path, f"there is no frame at {time_s:.3f} s yet")
            if ahead is None and tick > cast(int, shown.pts) + 2 * (shown.duration or period):
                end_s = float(cast(int, shown.pts) * base)
                raise DecodeError(
                    path, f"there is no frame at {time_s:.3f} s; the last one is at {end_s:.3f} s"
                )
            if shown.is_corrupt:
                raise DecodeError(path, f"the frame at {time_s:.3f} s is damaged")
            pixels.append(finish(to_rgb(shown, reformatter)))
    return pixels


def stream_video(path: Path, step_s: float | None) -> Iterator[tuple[float, Tensor]]:
    """Frames one by one, in constant memory: the frame on screen in the middle of every step.

    step_s: seconds from one to the next; None: every frame. A frame is given once, however short
    the step. Yields (seconds since the first frame came on screen, pixels as `read_video` has
    them). Raises DecodeError where a wanted frame is damaged, and at the end of a file that breaks
    off a second or more before its header says.
    """
    with _open(path) as (container, stream):
        base, period, reformatter = _time_base(stream), _period(stream), VideoReformatter()
        frames = _in_order(path, container, stream)
        shown = next(frames, None)
        if shown is None:
            raise DecodeError(path, "it holds no frame")
        start, number, until = cast(int, shown.pts), 0, 0
        due = start if step_s is None else _step_middle(start, 0, step_s, base)
        while shown is not None:
            ahead = next(frames, None)
            now = cast(int, shown.pts)
            until = cast(int, ahead.pts) if ahead is not None else now + (shown.duration or period)
            if due < until:
                if shown.is_corrupt:
                    time_s = float((now - start) * base)
                    raise DecodeError(path, f"the frame at {time_s:.3f} s is damaged")
                yield float((now - start) * base), to_rgb(shown, reformatter)
            while due < until:
                number += 1
                due = until if step_s is None else _step_middle(start, number, step_s, base)
            shown = ahead
        name = container.format.name
    if name not in ESTIMATED:
        info, end_s = probe_video(path), float(until * base)
        if info.start_s + info.duration_s - end_s > 1:
            seen_s = end_s - float(start * base)
            raise DecodeError(
                path,
                f"it breaks off after {seen_s:.1f} s; its header tells of {info.duration_s:.1f} s",
            )


def _step_middle(start: int, number: int, step_s: float, base: Fraction) -> int:
    """The tick in the middle of a step, that begins `number` steps after the first frame."""
    return start + math.floor(exact_s((number + 0.5) * step_s) / base)


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            yield container, _video_stream(path, container)
    except (av.error.FFmpegError, UnicodeError) as error:
        raise DecodeError(path, f"no readable video: {_reason(error)}") from error


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    if container.format.name.endswith("_pipe") or container.format.name in {"image2", "tty"}:
        raise DecodeError(path, "neither a picture nor a video of a known kind")
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            # Loaders have processes of their own; threads would only delay the first frame.
            stream.codec_context.thread_count = 1
            return stream
    raise DecodeError(path, "it holds no video stream" + (", only audio" * bool(container.streams)))


def _decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    try:
        yield from container.decode(stream)
    except av.error.EOFError:
        return
    except av.error.FFmpegError as error:
        raise DecodeError(path, f"damaged video: {_reason(error)}") from error


def _in_order(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames whose times are known and rise."""
    last: int | None = None
    for frame in _decode(path, container, stream):
        if frame.pts is None:
            frame.pts = (stream.start_time or 0) if last is None else last + _period(stream)
        if frame.pts == last:  # rounded by its container to the same tick
            frame.pts += 1
        if last is not None and frame.pts < last:
            raise DecodeError(path, "the times of its frames run backwards")
        last = frame.pts
        yield frame


def _key_frames(container: InputContainer, stream: VideoStream) -> list[tuple[int, int]]:
    """Key frames as (presentation time, index time), rising; empty where there is no index."""
    times = sorted(entry.timestamp for entry in stream.index_entries if entry.is_keyframe)
    # An index may count in decoding time, which runs ahead of presentation by a constant.
    delay = (stream.start_time or 0) - times[0] if times else 0
    return [(time + delay, time) for time in times]


def _key_before(keys: list[tuple[int, int]], tick: int) -> tuple[int, int] | None:
    place = bisect.bisect_right(keys, (tick, math.inf))
    return keys[place - 1] if place else None


def _extent(container: InputContainer, stream: VideoStream) -> tuple[Fraction, Fraction, Fraction]:
    """Start and end in exact seconds, and frames per second."""
    base = _time_base(stream)
    start = (stream.start_time or 0) * base
    rate = stream.average_rate or stream.guessed_rate
    if rate is not None and rate > MAX_FPS:
        rate = None
    name = container.format.name
    if stream.duration and rate and name not in ESTIMATED:
        end = (Fraction(0) if name in FROM_ZERO else start) + stream.duration * base
        if name == "avi":  # FFmpeg shortens the duration of a file that breaks off
            end = max(end, start + stream.frames / rate)
        return start, end, rate
    return _scanned_extent(container, stream, start, rate)


def _scanned_extent(
    container: InputContainer, stream: VideoStream, start: Fraction, rate: Fraction | None
) -> tuple[Fraction, Fraction, Fraction]:
    """As `_extent`, from the times of packets: of the last ones only, where the rate is known."""
    base = _time_base(stream)
    name = container.format.name
    claimed = container.duration is not None and name not in ESTIMATED
    header_start = 0 if name in FROM_ZERO else container.start_time or 0
    header_end = Fraction(header_start + (container.duration or 0), av.time_base)
    from_s = header_end - 2 if claimed and rate is not None else Fraction(0)
    container.seek(max(0, int(from_s * av.time_base)), backward=True)
    times: list[Fraction] = []
    last = start  # over all streams
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, packet.pts * packet.time_base)
            if packet.stream.index == stream.index:
                times.append(packet.pts * base)
    if rate is None:
        span = max(times, default=start) - min(times, default=start)
        rate = (len(times) - 1) / span if span else Fraction(1)
    end = max(times, default=start) + 1 / rate
    # A file that breaks off is not shortened in silence: its lost frames will be found missing.
    if claimed and header_end - max(last, end) > 1:
        end = header_end
    return start, end, rate


def _time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base


def _period(stream: VideoStream) -> int:
    """Ticks that a frame lasts, roughly; at least 1."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * _time_base(stream))))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
