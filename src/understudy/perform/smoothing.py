"""From the probabilities of single frames to labels that hold: an average over time, and segments.

The probabilities of all classes are averaged exponentially: after `time_constant_s` seconds, what
was before weighs 1/e, however far apart frames are. The label is the class with the highest average
if that reaches the threshold, else "unknown"; until enough was seen it is "warming up". Where
several labels may hold, all are said whose averages reach their thresholds, and "unknown" is not:
that none holds is an answer. There is no hysteresis: what is printed is what these numbers say.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from understudy.data.columns import SEPARATOR
from understudy.record import UNKNOWN, WARMING_UP, is_reserved


class MovingAverage:
    """Exponential moving average of vectors over time; a time constant of 0 averages nothing."""

    def __init__(self, time_constant_s: float) -> None:
        self.time_constant_s = time_constant_s
        self.begin()

    def begin(self) -> None:
        """Forget everything, as before the first vector."""
        self._average: np.ndarray | None = None
        self._time_s = 0.0

    def add(self, time_s: float, values: np.ndarray) -> np.ndarray:
        """The average (K,) after a vector (K,) at a time, which must rise from call to call."""
        if self._average is None or self.time_constant_s == 0:
            self._average = values
        else:
            weight = -math.expm1((self._time_s - time_s) / self.time_constant_s)
            self._average = self._average + weight * (values - self._average)
        self._time_s = time_s
        return self._average


@dataclass(frozen=True, slots=True)
class Change:
    """From `time_s` on there is another label.

    label: a class, or "unknown" or "warming up"; where several may hold those that do, joined by
    `|`, and empty where none does. best, probability: the class with the highest average and that
    average, whatever the label is. labels: the averages of the classes that are named.
    """

    time_s: float
    label: str
    best: str
    probability: float
    labels: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a stream with one label; probability: the mean of `best` over its frames."""

    start_s: float
    end_s: float
    label: str
    probability: float


class Labels:
    """Names a label for every frame and keeps the stretch that lasts. Memory does not grow."""

    def __init__(
        self, classes: tuple[str, ...], threshold: float, thresholds: np.ndarray | None = None
    ) -> None:
        self.classes, self.threshold, self.thresholds = classes, threshold, thresholds
        # Models of before these words were reserved may have such a class.
        self._labels = [f"class {one}" if is_reserved(one) else one for one in classes]
        self._change: Change | None = None
        self._sum, self._frames = 0.0, 0

    def add(
        self, time_s: float, average: np.ndarray, *, known: bool = True
    ) -> tuple[Change | None, Stretch | None]:
        """A frame's averaged probabilities (K,): the change, if it is one, and what it ends.

        known: whether enough was seen for any label.
        """
        number = int(average.argmax())
        best, probability = self.classes[number], float(average[number])
        if self.thresholds is not None:
            holding = np.flatnonzero(average >= self.thresholds).tolist()
        else:
            holding = [number] if probability >= self.threshold else []
        label = SEPARATOR.join(self._labels[k] for k in holding)
        if not holding and self.thresholds is None:
            label = UNKNOWN
        if not known:
            label, holding = WARMING_UP, []
        change = ended = None
        if self._change is None or label != self._change.label:
            ended = self.end(time_s)
            said = {self._labels[k]: float(average[k]) for k in holding}
            self._change = change = Change(time_s, label, best, probability, said)
        self._sum += probability
        self._frames += 1
        return change, ended

    def end(self, time_s: float) -> Stretch | None:
        """The stretch that lasted until now; None where there was no frame."""
        if self._change is None:
            return None
        mean = self._sum / self._frames
        ended = Stretch(self._change.time_s, time_s, self._change.label, mean)
        self._change, self._sum, self._frames = None, 0.0, 0
        return ended


class Latencies:
    """Quantiles of any number of durations in constant memory, each within 1%."""

    def __init__(self) -> None:
        self.count = 0
        self.total_s = 0.0
        self._bins: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total_s += seconds
        # Two percent a bin from a nanosecond on: some 1,250 bins up to a minute.
        self._bins[round(math.log(max(seconds, 1e-9)) / math.log(1.02))] += 1

    def quantile_ms(self, share: float) -> float:
        """The duration, in milliseconds, that a share of all stays within; 0 for none."""
        wanted = max(1, math.ceil(share * self.count))
        for number, count in sorted(self._bins.items()):
            wanted -= count
            if wanted <= 0:
                return 1.02**number * 1000
        return 0.0
