"""One file decoded from its first frame to its last, by the same code that trains and predicts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from understudy.data.check.looks import LOOKS_PER_S, look_of, packed
from understudy.data.check.seen import NO_FILE, Seen
from understudy.data.decode import (
    DecodeError,
    every_frame,
    probe,
    read_frames,
    read_timeline,
    timeline_of,
)
from understudy.data.extent import PAUSE_FRAMES
from understudy.data.media import MediaInfo
from understudy.data.opening import open_container as open_video
from understudy.data.pixels import is_turned

_POINTS = 64
"""Pixels along each side that the digest is made of."""


def look_at(path: str, alive: Callable[[], None]) -> Seen:
    """Decode all of a file, picture or frame folder. alive: called with every frame. What cannot be
    read is the `reason` of the answer; nothing is raised for it."""
    torch.set_num_threads(1)
    place = Path(path)
    if not os.path.exists(place):
        return Seen(reason=NO_FILE)
    digest, until, count = hashlib.blake2b(digest_size=16), 0.0, 0
    looks: list[np.ndarray] = []
    times_s: list[float] = []
    info, header, reason = None, _Header(), None
    try:
        info = probe(place)
        header = _header(place) if info.kind == "video" else header
        due = 0.0
        for time_s, pixels in every_frame(place):
            alive()
            digest.update(_points(pixels))
            if time_s >= due:
                looks.append(look_of(pixels))
                times_s.append(round(time_s, 3))
                due = time_s + 1 / LOOKS_PER_S
            until, count = time_s, count + 1
        if info.kind != "picture" and count < _promised(info):
            timeline = read_timeline(place)
            read_frames(place, [timeline.time_of(timeline.frames - 1)])
    except DecodeError as error:
        reason = error.reason
    if info is None:
        return Seen(reason=reason)
    return Seen(
        kind=info.kind if count else None,
        reason=reason,
        frames=count,
        promised=None if info.kind == "picture" else _promised(info),
        seconds=until + (1 / info.fps if info.fps and count else 0.0),
        duration_s=info.duration_s,
        fps=info.fps,
        width=info.width,
        height=info.height,
        gaps=info.pauses_s,
        notes=info.notes,
        digest=digest.hexdigest() if count else "",
        look_times_s=tuple(times_s),
        looks=packed(looks) if looks else "",
        **header._asdict(),
    )


def _promised(info: MediaInfo) -> int:
    return info.frames or timeline_of(info).frames


def _points(pixels: Tensor) -> bytes:
    """A frame's shape and some of its pixels, spread over it."""
    height, width = pixels.shape[-2:]
    some = pixels[:, :: max(1, height // _POINTS), :: max(1, width // _POINTS)]
    return f"{height}x{width}".encode() + some.contiguous().numpy().tobytes()


class _Header(NamedTuple):
    """The fields of `Seen` that packets tell."""

    turned: bool = False
    pixel_aspect: float = 1.0
    uneven: float = 0.0


def _header(path: Path) -> _Header:
    times: list[Fraction] = []
    turned, first = False, True
    with suppress(DecodeError), open_video(path) as (container, stream):
        base, aspect = stream.time_base or Fraction(1), stream.sample_aspect_ratio
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_discard:
                times.append(packet.pts * base)
            if first:
                for frame in packet.decode():
                    turned, first = is_turned(frame), False  # pyright: ignore
        return _Header(turned, float(aspect or 1), _uneven(np.array(sorted(times), float)))
    return _Header()


def _uneven(times_s: np.ndarray) -> float:
    """Share of frames at another pace than usual; pauses are told apart and do not count."""
    periods = np.diff(times_s)
    periods = periods[periods > 0]
    if len(periods) < 2:
        return 0.0
    pace = periods / np.median(periods)
    return float((np.abs(pace[pace < PAUSE_FRAMES] - 1) > 0.5).mean())
