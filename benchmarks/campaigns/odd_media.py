"""Odd media files, read frame by frame and at given times, and what is right for each.

In these files a frame's grey tells its number: see the README beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream

READ = """
import json, sys
from understudy.data.decode import DecodeError, probe, read_frames, read_timeline, stream_frames
try:
    info, timeline = probe(sys.argv[1]), read_timeline(sys.argv[1])
    times = [timeline.time_of(frame) for frame in range(min(timeline.frames, 200))]
    shown = list(stream_frames(sys.argv[1], None))
    at = read_frames(sys.argv[1], times)
    print(json.dumps({
        "size": [info.width, info.height], "fps": info.fps, "seconds": info.duration_s,
        "kind": info.kind, "streamed": [round(float(f.float().mean()), 1) for _, f in shown],
        "times": [round(t, 3) for t, _ in shown],
        "read": [round(float(f.float().mean()), 1) for f in at],
    }))
except DecodeError as error:
    print(json.dumps({"error": str(error)}))
"""
"""Asks the package under test, in a process of its own, how it reads a file."""

Seen = dict[str, Any]


def film(path: Path, *, seconds: float, shade: int = 0, fps: int = 10) -> Path:
    """A small grey film; no two shades have equal bytes."""
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("mpeg4", rate=fps))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(round(seconds * fps)):
            pixels = np.full((48, 64, 3), (shade * 20 + number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(levels: list[float]) -> list[int]:
    """Frame numbers by their greys, 8 + 8 * n."""
    return [round((level - 8) / 8) for level in levels]


def _whole(seen: Seen) -> bool:
    every = list(range(30))
    return numbers(seen["streamed"]) == every and numbers(seen["read"]) == every


def _to_the_end(seen: Seen) -> bool:
    """From some first frame on, each once, to the last."""
    found = numbers(seen["streamed"])
    return found == list(range(found[0], 30)) and numbers(seen["read"]) == found


def _pause(seen: Seen) -> bool:
    """Two seconds, and two more a minute later."""
    times = seen["times"]
    return len(times) == 40 and abs(times[-1] - times[0] - 63.9) < 0.5


def _rate(fps: float) -> Callable[[Seen], bool]:
    return lambda seen: abs(seen["fps"] - fps) < 0.01 and len(seen["streamed"]) == 30


MEDIA: dict[str, tuple[Callable[[Seen], bool], tuple[str, ...]]] = {
    "packed.avi": (_whole, ()),
    "plain.avi": (_whole, ()),
    "nob.avi": (_whole, ()),
    "cut.ts": (_to_the_end, ()),
    "joined.ts": (_whole, ("second",)),
    "pause1m.mp4": (_pause, ()),
    "pause1m.mkv": (_pause, ()),
    "anamorphic.mkv": (lambda seen: seen["size"] == [128, 64], ()),
    "numbered.h264": (_rate(25), ("wrap", "ffmpeg")),
    "numbered.mjpeg": (_rate(25), ("wrap", "ffmpeg")),
    "turned.ts": (lambda seen: len(seen["streamed"]) > 1, ()),
}
"""File -> whether what was seen is right, and words of which an error that is right names one."""
