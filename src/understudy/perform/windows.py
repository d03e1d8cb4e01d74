"""Windows over a video, and from what was recognised in them to segments in time.

Windows are as long as the clips of training and overlap by half. The probability at any moment is
the mean over the windows that cover it, so that neighbours vote on what they share and segments
never overlap; moments in a row with the same best label become one segment, and where several
labels may hold those of which the same ones do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from understudy.data.columns import SEPARATOR


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file of which the same is said.

    label: where several may hold, all that do, joined by `|`; empty where none does. probability:
    that of the label, the mean over the segment's time of what `predict` has at each moment; of
    several the lowest, of none the highest of all. start_s and end_s count from the first frame;
    None for a picture. probabilities: of every class. labels: of those that hold.
    """

    label: str
    probability: float
    start_s: float | None
    end_s: float | None
    probabilities: dict[str, float]
    labels: dict[str, float]


def window_bounds(duration_s: float, window_s: float) -> Iterator[tuple[float, float]]:
    """Start and end in seconds of the windows that cover a video, half overlapped, one by one.

    Up to 1.5 windows of video are one window. Longer ones are cut into equal slots of about half a
    window, and every two neighbours are a window: W windows over W + 1 slots. So that they fit, a
    window is up to a sixth longer or shorter than asked, and nearly exact in a long video.
    """
    assert window_s > 0, "a window has a length"
    if duration_s <= 1.5 * window_s:
        yield 0.0, duration_s
        return
    slots = round(duration_s / (window_s / 2))
    for slot in range(slots - 1):
        yield duration_s * (slot / slots), duration_s * ((slot + 2) / slots)


def merge_windows(
    probabilities: np.ndarray,
    duration_s: float,
    classes: Sequence[str],
    thresholds: np.ndarray | None = None,
) -> tuple[Segment, ...]:
    """Segments that follow each other without a gap, from the windows of `window_bounds`.

    probabilities: (W, K), one row a window. The first and the last slot lie in one window, every
    other slot in two, of which it takes the mean. thresholds: (K,) from which labels hold, where
    several may.
    """
    if len(probabilities) == 1:
        slots = probabilities
    else:
        earlier = np.concatenate([probabilities[:1], probabilities])
        later = np.concatenate([probabilities, probabilities[-1:]])
        slots = (earlier + later) / 2
    said = slots.argmax(axis=1)[:, None] if thresholds is None else slots >= thresholds
    changes = np.flatnonzero((said[1:] != said[:-1]).any(axis=1)) + 1
    return tuple(
        segment_of(
            slots[first:last].mean(axis=0),
            classes,
            duration_s * (first / len(slots)),
            duration_s * (last / len(slots)),
            thresholds,
        )
        for first, last in pairwise([0, *changes.tolist(), len(slots)])
    )


def segment_of(
    probabilities: np.ndarray,
    classes: Sequence[str],
    start_s: float | None,
    end_s: float | None,
    thresholds: np.ndarray | None = None,
) -> Segment:
    """The segment with these probabilities, (K,)."""
    by_class = dict(zip(classes, probabilities.tolist(), strict=True))
    if thresholds is None:
        holding = [int(probabilities.argmax())]
    else:
        holding = np.flatnonzero(probabilities >= thresholds).tolist()
    labels = {classes[k]: float(probabilities[k]) for k in holding}
    probability = min(labels.values(), default=float(probabilities.max()))
    return Segment(SEPARATOR.join(labels), probability, start_s, end_s, by_class, labels)
