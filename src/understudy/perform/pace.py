"""Whether frames come as often as the model was taught to see them.

A model that learned from 4 frames a second and is shown 1 sees every action four times as fast as
it knows it. Its answers look like any others and are wrong, so this is said and not left to be
found out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from understudy.types import PACE_SLACK, Sampling


@dataclass(frozen=True, slots=True)
class Slow:
    """Since about `time_s` frames come less often than in training. Rates are per second."""

    time_s: float
    frames_per_second: float
    taught_frames_per_second: float


class Pace:
    """Watches the times of the frames that the model sees, over the length of a clip of training.

    patience: intervals after which it judges. A frame may come up to one step late, for it is the
    nearest of a source that has its own times; so n intervals are slow when they last longer than
    n + 1 steps, and some slack. taught: frames a second of training, None where no pace was taught:
    single pictures, or neighbouring frames of clips whose rate nobody wrote down.
    """

    def __init__(self, look: Sampling, patience: int) -> None:
        self.taught = look.taught_fps
        self._patience = patience
        self._times_s: deque[float] = deque(maxlen=max(look.frames, patience) + 1)
        self._told = False
        self.slow_seconds = 0.0

    def add(self, time_s: float, *, fresh: bool = False) -> Slow | None:
        """The next frame; gives a `Slow` the first time that its source is too slow.

        fresh: what came before it is of another connection.
        """
        if fresh:
            self._times_s.clear()
        self._times_s.append(time_s)
        if self.taught is None or not self.is_slow:
            return None
        self.slow_seconds += time_s - self._times_s[-2]
        if self._told:
            return None
        self._told = True
        rate = (len(self._times_s) - 1) / self._lasted_s
        return Slow(self._times_s[0], rate, self.taught)

    @property
    def is_slow(self) -> bool:
        """Whether the latest frames came too seldom."""
        intervals = len(self._times_s) - 1
        return (
            self.taught is not None
            and intervals >= self._patience
            and self._lasted_s > PACE_SLACK * (intervals + 1) / self.taught
        )

    @property
    def _lasted_s(self) -> float:
        return self._times_s[-1] - self._times_s[0]
