"""When the frames of a video are shown, from what its packets say, without decoding them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from av.packet import Packet
from av.video.stream import VideoStream

MIN_FPS = Fraction(1, 3600)
"""A header that claims less tells a duration that cannot be."""


class Stamp(NamedTuple):
    """What a packet says of the frame in it, in ticks; times are None where it says none."""

    pts: int | None
    dts: int | None
    is_key: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """In ticks. times: of the frames, rising, at least one. lost: for how long frames that cannot
    be decoded come before. anew: those of `times` at which the clock of the file begins anew."""

    times: list[int]
    lost: int = 0
    anew: list[int] = field(default_factory=list)


def stamp_of(packet: Packet) -> Stamp:
    pts = None if packet.is_discard else packet.pts
    return Stamp(pts, packet.dts, packet.is_keyframe)


def shown_late(stamps: list[Stamp], first: int, step: int, late: int) -> Shown:
    """The times of all frames where packets tell when they are decoded, and frames come so many
    packets late, each a `step`."""
    told = [stamp.dts - late * step for stamp in stamps if stamp.dts is not None]
    times = [time for time in told if time >= first] or [first]
    return Shown(times + [times[-1] + (number + 1) * step for number in range(late)])


def shown(stamps: list[Stamp], first: int, period: int) -> Shown:
    """The times of all frames where packets tell them.

    first: when the first that could be decoded is shown. period: how long a frame is, roughly.
    """
    begin = next((place for place, stamp in enumerate(stamps) if stamp.pts == first), 0)
    begun, *joined = _parts(stamps[begin:])
    told = sorted({stamp.pts for stamp in begun if stamp.pts is not None})
    if not told:
        return Shown([first + number * period for number in range(len(begun))])
    times = [time for time in told if time > first]
    times.insert(0, first)
    anew = []
    for part in joined:
        # Decoding begins with a key frame, and what leans on what came before it is lost.
        key = next((stamp.pts for stamp in part if stamp.is_key and stamp.pts is not None), None)
        told_here = sorted({stamp.pts for stamp in part if stamp.pts is not None})
        here = [time for time in told_here if key is not None and time >= key]
        if here:
            anew.append(times[-1] + period)
            times += [time - here[0] + anew[-1] for time in here]
    earliest = min(stamp.pts for stamp in [*stamps[:begin], *begun] if stamp.pts is not None)
    return Shown(times, max(0, first - earliest), anew)


def _parts(stamps: list[Stamp]) -> list[list[Stamp]]:
    """Cut where the time of decoding falls, which it does in no file that was made in one piece."""
    parts: list[list[Stamp]] = [[]]
    last: int | None = None
    for stamp in stamps:
        if stamp.dts is not None:
            if last is not None and stamp.dts < last:
                parts.append([])
            last = stamp.dts
        parts[-1].append(stamp)
    return parts


def time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base


def period_of(stream: VideoStream) -> int:
    """Ticks that a frame lasts, roughly; at least 1."""
    rate = stream.average_rate or stream.guessed_rate
    if rate is None or rate < MIN_FPS:
        rate = Fraction(25)
    return max(1, round(1 / (rate * time_base(stream))))
