"""How long a video lasts, how fast it runs and where it pauses, and what of its header is believed.

A header may claim anything: what its bytes could not hold, or the times of its packets deny, is
taken from the packets instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from understudy.data.frames import RAW, Frames
from understudy.data.media import DecodeError
from understudy.data.packets import MIN_FPS, Shown, time_base

MAX_FPS = 240
"""A header that claims more tells its clock's resolution, not its frame rate."""
LONG_S, FEWEST_BYTES = 24 * 3600, 10
"""A file of more than a day has so many bytes a second at least, or its times are wrong."""
PAUSE_S, PAUSE_FRAMES = 2, 10
"""No frame for so many seconds, and for the time of so many frames, is a pause: nobody holds a
picture of an action for that long."""

ESTIMATED = frozenset({"mpeg", "mpegts"})
"""Formats without a header that tells the duration; FFmpeg guesses it from the bit rate."""
FROM_ZERO = frozenset({"matroska,webm", "asf"})
"""Formats whose duration counts from zero on the clock, and so holds the time before the start."""
INDEXED = frozenset({"avi", "mov,mp4,m4a,3gp,3g2,mj2"})
"""Formats that have the times of all frames in front or at their end, so that none need be read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """In seconds on the file's clock.

    start and end: of the first frame and of the last. fps: frames a second while it does not pause.
    pauses: from when to when. notes: sentences on what a user should know.
    """

    start: Fraction
    end: Fraction
    fps: Fraction
    pauses: tuple[tuple[Fraction, Fraction], ...] = ()
    notes: tuple[str, ...] = ()


def extent(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    frames: Frames,
    first: VideoFrame,
) -> Extent:
    """Of a video of which one frame was taken. Raises DecodeError for times that cannot be."""
    base = time_base(stream)
    assert first.pts is not None, "frames have times"
    start = first.pts * base
    rate = stream.average_rate or stream.guessed_rate
    if rate is not None and not MIN_FPS <= rate <= MAX_FPS:
        rate = None
    header_end = _header_end(container, stream, start, rate)
    index = _index(container, stream)
    if rate and header_end and index and not _pauses([*index, round(header_end / base)], base):
        return Extent(start, header_end, rate)

    shown, last_s = frames.shown()
    times = shown.times
    pauses = _pauses(times, base)
    running = (times[-1] - times[0] - sum(end - begin for begin, end in pauses)) * base
    counted = (len(times) - 1) / running if running else rate or Fraction(1)
    if rate is None or container.format.name != "avi":  # which counts what it leaves out
        of_header = rate is not None and abs(rate - counted) * running <= max(1, len(times) / 50)
        rate = rate if rate and of_header else counted
    end = times[-1] * base + 1 / rate
    if header_end and header_end > end and index:
        pauses += _pauses([times[-1], round(header_end / base)], base, round(1 / rate / base))
    if header_end and (index or header_end - end > 1):
        end = max(end, header_end)
    elif not header_end:
        end = _claimed_end(container, last_s, start, end, rate)
    if end - start > LONG_S and container.size < (end - start) * FEWEST_BYTES:
        raise DecodeError(
            path, f"its times cannot be right: {float(end - start):.3g} s in {container.size} bytes"
        )
    in_s = tuple((begin * base, until * base) for begin, until in pauses)
    notes = [*_notes(shown, in_s, start, base)]
    if container.format.name in RAW:
        notes.append(
            "it is a raw stream, which tells no times: its frames are taken to come at "
            f"{float(rate):.4g} a second"
        )
    return Extent(start, end, rate, in_s, tuple(notes))


def _pauses(times: list[int], base: Fraction, usual: int | None = None) -> list[tuple[int, int]]:
    """From when to when no frame comes, in ticks; a frame before is shown for a `usual` time."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    if max(gaps, default=0) * base < PAUSE_S:
        return []
    usual = usual or statistics.median_low(gaps)
    least = max(PAUSE_S / base, PAUSE_FRAMES * usual)
    return [(a + usual, b) for a, b in pairwise(times) if b - a >= least]


def _notes(
    shown: Shown, pauses: tuple[tuple[Fraction, Fraction], ...], start: Fraction, base: Fraction
) -> Iterator[str]:
    if shown.lost:
        yield (
            "it begins in the middle of a group of pictures: what comes before "
            f"{float(start):.4g} s on its clock cannot be decoded, and it is read from there on"
        )
    for time in shown.anew:
        yield (
            f"its clock begins anew {float(time * base - start):.4g} s after its start, as in "
            "files joined byte by byte: the parts are read one after the other"
        )
    if pauses:
        told = ", ".join(
            f"{float(begin - start):.4g} to {float(end - start):.4g} s" for begin, end in pauses[:3]
        )
        more = f" and {len(pauses) - 3} times more" if len(pauses) > 3 else ""
        yield f"no frames come from {told}{more}: a pause, which is no part of any action"


def _header_end(
    container: InputContainer, stream: VideoStream, start: Fraction, rate: Fraction | None
) -> Fraction | None:
    """As the header of the stream has it, if it has one and that is believed."""
    name = container.format.name
    if not (rate and stream.duration and stream.duration > 0) or name in ESTIMATED:
        return None
    base = time_base(stream)
    end = stream.duration * base
    if name not in FROM_ZERO:
        end += (stream.start_time or 0) * base
    if name == "avi":  # FFmpeg shortens the duration of a file that breaks off
        end = max(end, start + stream.frames / rate)
    return end if _can_be(container, start, end, rate) else None


def _claimed_end(
    container: InputContainer, last_s: Fraction, start: Fraction, end: Fraction, rate: Fraction
) -> Fraction:
    """As the header of the file has it, where packets are missing: a file that breaks off is not
    short in silence."""
    name = container.format.name
    if container.duration is None or name in ESTIMATED:
        return end
    header_start = 0 if name in FROM_ZERO else container.start_time or 0
    claimed = Fraction(header_start + container.duration, av.time_base)
    if claimed - max(last_s, end) > 1 and _can_be(container, start, claimed, rate):
        return claimed
    return end


def _can_be(container: InputContainer, start: Fraction, end: Fraction, rate: Fraction) -> bool:
    """Whether a file can be as long as its header says: no frame takes less than a byte."""
    return start < end and (end - start) * rate <= container.size


def _index(container: InputContainer, stream: VideoStream) -> list[int]:
    """Times of all frames in the order of decoding; empty where there is no whole index."""
    whole = 0 < stream.frames <= len(stream.index_entries)
    if container.format.name not in INDEXED or not whole:
        return []
    return sorted(entry.timestamp for entry in stream.index_entries if not entry.is_discard)
