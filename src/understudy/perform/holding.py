"""From which probabilities the labels of a model hold, where several may."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from understudy.task import EVEN
from understudy.types import Classifier

NO_LABEL = "(no label)"
"""What is shown where none holds. It is no label: results hold an empty one."""


def thresholds_for(
    classifier: Classifier, note: Callable[[str], None] = lambda sentence: None
) -> np.ndarray | None:
    """(K,) as validation chose them, chosen now for a run that knows none; None where exactly one
    label holds. note: takes a sentence about choosing."""
    if not classifier.task.several:
        return None
    thresholds = classifier.thresholds
    if thresholds is None:
        # Evaluation takes a while to import, and is needed once for a run.
        from understudy.judge.thresholds import thresholds_of

        thresholds = thresholds_of(classifier, note=note)
    return np.full(len(classifier.classes), EVEN) if thresholds is None else np.array(thresholds)
