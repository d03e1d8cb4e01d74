"""Labels that may be wrong: a probe that was not shown a clip says another class, and is sure.

Confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning", section 3): a clip is
taken for class k where its probability of k reaches the mean of those that are labelled k, so that
a class that is hard to tell needs less than one that is easy. Probabilities are out of fold, with
whole groups left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FOLDS = 5
_STRENGTH = 10.0
FEWEST = 2 * FOLDS
"""Clips of a class below which nothing is said of its labels."""


TELLS_APART = 0.6
"""Accuracy of the probe below which its doubts are not worth a look: at 0.55 nine of ten of them
were unfounded, at 0.73 three of four, at 0.94 one of eight."""


class Doubt(NamedTuple):
    """A clip by number, the class that it is taken for, and the probabilities of that one and of
    its label."""

    clip: int
    said: int
    probability: float
    of_label: float


class Doubts(NamedTuple):
    """What was found, and how often the probe agrees with the labels; 0 where nothing was asked."""

    found: list[Doubt]
    accuracy: float


def doubtful(
    vectors: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int = 0
) -> Doubts:
    """The most doubtful first. vectors: (n, F). labels: (n,) from 0. groups: n names.

    Classes of fewer than `FEWEST` clips are left out, and so is everything where fewer than two
    classes remain.
    """
    counts = np.bincount(labels)
    kept = np.flatnonzero(counts[labels] >= FEWEST)
    if len(np.unique(labels[kept])) < 2:
        return Doubts([], 0.0)
    classes, own = np.unique(labels[kept], return_inverse=True)
    probabilities = out_of_fold(vectors[kept], own, [groups[n] for n in kept.tolist()], seed)
    usual = np.array([probabilities[own == k, k].mean() for k in range(len(classes))])
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    said = sure.argmax(1)
    found = [
        Doubt(int(kept[n]), int(classes[said[n]]), float(sure[n, said[n]]),
              float(probabilities[n, own[n]]))
        for n in np.flatnonzero((sure.max(1) > 0) & (said != own)).tolist()
    ]  # fmt: skip
    found.sort(key=lambda doubt: doubt.of_label - doubt.probability)
    return Doubts(found, float((probabilities.argmax(1) == own).mean()))


def out_of_fold(
    vectors: np.ndarray, labels: np.ndarray, groups: Sequence[str], seed: int = 0
) -> np.ndarray:
    """(n, K) probabilities of each clip by a linear probe that saw none of its group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    names = [name or f"\0{n}" for n, name in enumerate(groups)]
    folds = StratifiedGroupKFold(min(FOLDS, len(set(names))), shuffle=True, random_state=seed)
    found = np.full((len(labels), labels.max() + 1), 1 / (labels.max() + 1))
    scaled = vectors * np.sqrt(vectors.shape[1])
    for fit, asked in folds.split(scaled, labels, names):
        if len(np.unique(labels[fit])) < 2:
            continue
        probe = LogisticRegression(C=_STRENGTH / vectors.shape[1], max_iter=500)
        probe.fit(scaled[fit], labels[fit])
        found[asked] = 0.0
        found[np.ix_(asked, probe.classes_)] = probe.predict_proba(scaled[asked])
    return found
