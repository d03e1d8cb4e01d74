"""Frames of a video file at given times, by PyAV (which brings its own FFmpeg).

Times are presentation times on the file's own clock, compared exactly in the stream's time base.
HDR pixels are converted to 8 bits without tone mapping: pale, but the same everywhere.

FFmpeg is given bytes and no name, since names mean things to it (`x:` a protocol, `%03d` a row of
files), and no way to open anything else.
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

from understudy.data.extent import ESTIMATED, INDEXED, extent
from understudy.data.frames import Frames
from understudy.data.joined import second_file
from understudy.data.media import (
    MAX_PIXELS,
    DecodeError,
    MediaInfo,
    check_size,
    exact_s,
    faults_of,
    open_file,
)
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
FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,asf,flv,live_flv,ogg,gif,swf,mxf,dv,rm,nut,ivf,wtv,dhav,apng,"
    "mpegvideo,m4v,h263,h264,hevc,vvc,av1,obu,vc1,mjpeg,mpjpeg,yuv4mpegpipe,"
    "mp3,wav,aac,flac"  # only to say that it is only audio
)
"""Demuxers that read one file. None that reads a playlist (hls, concat, dash, sdp, imf), or other
files beside it (image2, mlv, vobsub): a file that only names others would have them opened."""
OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    "max_pixels": str(MAX_PIXELS),  # of the decoder, should frames be larger than the header says
}


def probe_video(path: Path) -> MediaInfo:
    """What the header says, proven by decoding the first frame. Raises DecodeError."""
    with _open(path) as (container, stream):
        frames = Frames(path, container, stream)
        frame = next(frames, None)
        if frame is None:
            raise DecodeError(path, "it holds no frame", damaged=True)
        width, height = shown_size(frame, stream.sample_aspect_ratio)
        height, width = upright(torch.empty(height, width, device="meta"), frame).shape
        found = extent(path, container, stream, frames, frame)
        _refuse_joined(path, found.end - found.start)
    return MediaInfo(
        kind="video",
        duration_s=float(found.end - found.start),
        fps=float(found.fps),
        frames=stream.frames or None,
        width=width,
        height=height,
        start_s=float(found.start),
        pauses_s=tuple(
            (float(begin - found.start), float(end - found.start)) for begin, end in found.pauses
        ),
        notes=found.notes,
    )


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
    """The frame on screen at each time, each (3, H, W) uint8 RGB and passed through `finish`.

    times_s: rising, in seconds. Decodes in one pass and jumps ahead only where a key frame lies
    far enough ahead, so that no frame is ever decoded twice; `seek=False` never jumps, and gives
    the same pixels. again: called where a jump has failed and the first time comes once more.
    Raises DecodeError when a wanted frame is damaged or missing.
    """
    pixels = _read(path, times_s, finish, seek=True) if seek else None
    if pixels is None:
        again()
        pixels = _read(path, times_s, finish, seek=False)
    assert pixels is not None, "it did not jump"
    return pixels


def _read(
    path: Path, times_s: Sequence[float], finish: Callable[[Tensor], Finished], *, seek: bool
) -> list[Finished] | None:
    """None where a jump landed after the frame that was wanted."""
    pixels: list[Finished] = []
    with _open(path) as (container, stream):
        base, period, reformatter = time_base(stream), period_of(stream), VideoReformatter()
        aspect = stream.sample_aspect_ratio
        keys = _key_frames(container, stream) if seek else []
        frames = Frames(path, container, stream)
        shown: VideoFrame | None = None
        ahead: VideoFrame | None = next(frames, None)
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
    with _open(path) as (container, stream):
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
                yield float((now - start) * base), to_rgb(shown, reformatter, aspect)
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


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    with open_file(path) as file, faults_of(path, "no readable video"):
        # Too few pictures for FFmpeg to be sure that it is a row of them.
        format = "mjpeg" if file.read(3) == b"\xff\xd8\xff" else None
        file.seek(0)
        try:
            opened = av.open(file, format=format, options=OPTIONS, metadata_errors="replace")
        except av.error.ArgumentError as error:  # FFmpeg knows it, and it is none of FORMATS
            raise DecodeError(path, "neither a picture nor a video of a known kind") from error
        with cast(InputContainer, opened) as container:
            yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            codec = stream.codec_context
            if codec is None:
                raise DecodeError(path, "its codec is none that is known here")
            if codec.width and codec.height:
                check_size(path, codec.width, codec.height)
            codec.options = OPTIONS
            # Loaders have processes of their own; threads would only delay the first frame.
            codec.thread_count = 1
            return stream
    raise DecodeError(path, "it holds no video stream" + (", only audio" * bool(container.streams)))


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
