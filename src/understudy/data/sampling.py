"""Which frames of a clip to take. Knows times only, no decoder.

All methods give the middle of a frame's time on screen, so that rounding cannot move to its
neighbour, and never the same frame twice. A clip with fewer frames than asked gives all of them:
its true length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch

METHODS = ("uniform", "first", "centre", "random_segment", "dense")


@dataclass(frozen=True, slots=True)
class Timeline:
    """From when to when a clip lasts, in seconds on its file's clock, and its frames per second.

    A picture has an fps of 0 and one frame. pauses: from when to when no frames come, rising; time
    stands still in them, so that no frame is taken there.
    """

    start_s: float
    end_s: float
    fps: float
    pauses: tuple[tuple[float, float], ...] = ()

    @property
    def is_picture(self) -> bool:
        return self.fps == 0

    @property
    def running_s(self) -> float:
        """How long it lasts without its pauses."""
        return self.end_s - self.start_s - sum(end - start for start, end in self.pauses)

    @property
    def frames(self) -> int:
        """The number of whole frames, at least 1."""
        return max(1, round(self.running_s * self.fps))

    def time_of(self, frame: int) -> float:
        """The middle of a frame's time on screen, in seconds."""
        time_s = self.start_s + self.running_s * (frame + 0.5) / self.frames
        for start_s, end_s in self.pauses:
            if time_s >= start_s:
                time_s += end_s - start_s
        return time_s

    def stretches(self) -> list[Timeline]:
        """What lies before, between and after its pauses, each with one frame at least."""
        edges = [self.start_s, *(edge for pause in self.pauses for edge in pause), self.end_s]
        return [
            Timeline(start_s, end_s, self.fps)
            for start_s, end_s in zip(edges[::2], edges[1::2], strict=True)
            if not self.pauses or (end_s - start_s) * self.fps >= 0.5
        ]

    def part(self, start_s: float, end_s: float) -> Timeline:
        """What of it lies between two times; nothing, if `running_s` of that is 0."""
        pauses = [(max(start_s, a), min(end_s, b)) for a, b in self.pauses]
        return Timeline(start_s, end_s, self.fps, tuple((a, b) for a, b in pauses if a < b))


def sample_times(
    method: str,
    frames: int,
    timeline: Timeline,
    *,
    stride_s: float | None = None,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Times in seconds of the frames to take, rising, at most `frames` of them.

    method: `uniform` takes the centres of equal segments; `first` takes consecutive frames from the
    beginning, `centre` from the middle; `random_segment` takes a random frame of each equal segment
    (Wang et al., "Temporal segment networks", ECCV 2016); `dense` takes frames `stride_s` seconds
    apart. Without `generator`, `random_segment` takes the centres and `dense` the window in the
    middle. A clip too short for a whole dense window gives the frames that it has at that stride.
    """
    if method not in METHODS:
        raise ValueError(f"No sampling method {method!r}; there are {', '.join(METHODS)}.")
    if frames < 1 or (method == "dense") != (stride_s is not None):
        raise ValueError(
            f"{method} of {frames} frames with stride_s={stride_s}: one frame at least"
            " is needed, and dense sampling alone takes a stride."
        )
    count = timeline.frames
    wanted = min(frames, count)
    if method in ("first", "centre"):
        first = 0 if method == "first" else (count - wanted) // 2
        chosen = list(range(first, first + wanted))
    elif method == "dense":
        assert stride_s is not None
        chosen = _dense(count, frames, stride_s * timeline.fps, generator)
    else:
        edges = [segment * count // wanted for segment in range(wanted + 1)]
        if method == "random_segment" and generator is not None:
            chosen = [_draw(low, high, generator) for low, high in pairwise(edges)]
        else:
            chosen = [(2 * segment + 1) * count // (2 * wanted) for segment in range(wanted)]
    return [timeline.time_of(frame) for frame in chosen]


def _dense(count: int, frames: int, stride: float, generator: torch.Generator | None) -> list[int]:
    """Frame numbers `stride` frames apart, which need not be a whole number."""
    stride = max(1.0, stride)  # two frames are at least one frame apart
    fitting = min(frames, 1 + math.floor((count - 1) / stride + 1e-9))
    offsets = [math.floor(step * stride + 1e-9) for step in range(fitting)]
    room = count - 1 - offsets[-1]
    first = room // 2 if generator is None else _draw(0, room + 1, generator)
    return [first + offset for offset in offsets]


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=generator))
