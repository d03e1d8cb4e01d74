"""Average precision: how far a class's clips stand above the others when ranked by probability.

It needs no threshold, and the mean over classes (mAP) is what several labels a clip are judged by.
N clips, K classes, R resamples.
"""

from __future__ import annotations

import numpy as np


def average_precisions(
    probabilities: np.ndarray, holds: np.ndarray, times: np.ndarray | None = None
) -> np.ndarray:
    """(R, K) the average precision of every class; NaN for one that holds of no clip.

    probabilities: (N, K). holds: (N, K) bool. times: (R, N) how often each clip counts in each
    resample; None: once, R being 1. The sum over the clips of a class, from the most probable on,
    of the precision so far times their share; clips of equal probability count together, as in
    scikit-learn.
    """
    times = np.ones((1, len(holds))) if times is None else times
    found = np.full((len(times), holds.shape[1]), np.nan)
    for k in range(holds.shape[1]):
        order = np.argsort(-probabilities[:, k], kind="stable")
        ranked = probabilities[order, k]
        # Where a run of equals ends; of the clips before, nothing was said one by one.
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        above = np.cumsum(times[:, order], axis=1)[:, ends]
        right = np.cumsum(times[:, order] * holds[order, k], axis=1)[:, ends]
        gained = np.diff(right, axis=1, prepend=0.0)
        precision = np.divide(right, above, out=np.zeros_like(right), where=above > 0)
        total = right[:, -1]
        np.divide((gained * precision).sum(axis=1), total, out=found[:, k], where=total > 0)
    return found


def mean_average_precision(of_each: np.ndarray) -> np.ndarray:
    """(R,) the mean over the classes that hold of any clip (mAP), of (R, K); NaN where none does.

    A class that holds of no clip has no average precision: to count it as 0 would blame the model
    for what the clips lack.
    """
    defined = ~np.isnan(of_each)
    summed = np.where(defined, of_each, 0.0).sum(axis=1)
    number = defined.sum(axis=1)
    return np.divide(summed, number, out=np.full(len(of_each), np.nan), where=number > 0)
