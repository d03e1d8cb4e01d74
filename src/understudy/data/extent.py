"""How long a video lasts and how fast it runs, and what of its header is believed.

A header may claim anything: what its bytes could not hold is looked for in the packets instead.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from understudy.data.media import DecodeError

MAX_FPS = 240
"""A header that claims more tells its clock's resolution, not its frame rate."""
MIN_FPS = Fraction(1, 3600)
"""A header that claims less tells a duration that cannot be."""
LONG_S, FEWEST_BYTES = 24 * 3600, 10
"""A file of more than a day has so many bytes a second at least, or its times are wrong."""

ESTIMATED = frozenset({"mpeg", "mpegts"})
"""Formats without a header that tells the duration; FFmpeg guesses it from the bit rate."""
FROM_ZERO = frozenset({"matroska,webm", "asf"})
"""Formats whose duration counts from zero on the clock, and so holds the time before the start."""


def extent(
    path: Path, container: InputContainer, stream: VideoStream
) -> tuple[Fraction, Fraction, Fraction]:
    """Start and end in exact seconds, and frames per second. Raises DecodeError for times that
    cannot be."""
    base = time_base(stream)
    start = (stream.start_time or 0) * base
    rate = stream.average_rate or stream.guessed_rate
    if rate is not None and not MIN_FPS <= rate <= MAX_FPS:
        rate = None
    name = container.format.name
    if rate and stream.duration and stream.duration > 0 and name not in ESTIMATED:
        end = (Fraction(0) if name in FROM_ZERO else start) + stream.duration * base
        if name == "avi":  # FFmpeg shortens the duration of a file that breaks off
            end = max(end, start + stream.frames / rate)
        if _can_be(container, start, end, rate):
            return start, end, rate
    start, end, rate = _scanned_extent(container, stream, start, rate)
    if end - start > LONG_S and container.size < (end - start) * FEWEST_BYTES:
        raise DecodeError(
            path, f"its times cannot be right: {float(end - start):.3g} s in {container.size} bytes"
        )
    return start, end, rate


def _can_be(container: InputContainer, start: Fraction, end: Fraction, rate: Fraction) -> bool:
    """Whether a file can be as long as its header says: no frame takes less than a byte."""
    return start < end and (end - start) * rate <= container.size


def _scanned_extent(
    container: InputContainer, stream: VideoStream, start: Fraction, rate: Fraction | None
) -> tuple[Fraction, Fraction, Fraction]:
    """As `extent`, from the times of packets: of the last ones only, where the rate is known."""
    base = time_base(stream)
    name = container.format.name
    claimed = container.duration is not None and name not in ESTIMATED
    header_start = 0 if name in FROM_ZERO else container.start_time or 0
    header_end = Fraction(header_start + (container.duration or 0), av.time_base)
    if claimed and rate is not None:
        claimed = _can_be(container, start, header_end, rate)
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
    if claimed and header_end - max(last, end) > 1 and _can_be(container, start, header_end, rate):
        end = header_end
    return start, end, rate


def time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base


def period_of(stream: VideoStream) -> int:
    """Ticks that a frame lasts, roughly; at least 1."""
    rate = stream.average_rate or stream.guessed_rate
    if rate is None or rate < MIN_FPS:
        rate = Fraction(25)
    return max(1, round(1 / (rate * time_base(stream))))
