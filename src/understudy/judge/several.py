"""Figures of a split whose clips have several labels: mAP, and what holds at the thresholds.

Average precision is of the ranking of a class's clips and needs no threshold. F1, precision, recall
and the exact matches are of the labels that are said: those from their thresholds on.
N clips, K classes, R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from understudy.judge.figures import Intervals, divide, warnings_of
from understudy.judge.predictions import Predictions
from understudy.judge.ranking import average_precisions, mean_average_precision
from understudy.judge.statistics import group_index, resample_groups, resample_sums
from understudy.record import BACKGROUND
from understudy.task import EVEN


def metrics_of_several(
    predictions: Predictions, *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """All figures of usable predictions with several labels a clip, ready for JSON.

    map, over the classes that hold of any clip; micro_f1, macro_f1 and exact_match (all labels of a
    clip and no other) at the thresholds; map_without_background, where there is such a class;
    per_class (n: clips of which it holds, threshold, average_precision, precision, recall, f1) and
    warnings. The macro F1 is the mean over classes that hold of or are said of any clip. Intervals:
    the bootstrap over groups, or over clips where each stands for itself, of average precisions
    moved to the value; of exact matches: as of an accuracy.
    """
    classes, n, k = predictions.classes, len(predictions), len(predictions.classes)
    index, group_count = group_index(predictions.group)
    grouped = group_count < n
    intervals = Intervals(confidence, grouped)
    holds, said = predictions.holds, predictions.said
    ends = np.stack([np.ones(n, bool), predictions.correct], axis=1)
    values = np.concatenate([holds, said, holds & said, ends], axis=1).astype(float)
    total = _Sums(values.sum(axis=0)[None], k)
    drawn = _Sums(resample_sums(values, index, resamples=resamples, seed=seed), k)
    precisions = average_precisions(predictions.probabilities, holds)
    drawn_precisions = resampled_precisions(predictions, resamples=resamples, seed=seed)
    per_class = {}
    for i, name in enumerate(classes):
        size, saying = int(holds[:, i].sum()), int(said[:, i].sum())
        per_class[name] = {
            "n": size,
            "threshold": EVEN if predictions.thresholds is None else predictions.thresholds[i],
            "average_precision": intervals.of_ranking(
                precisions[:, i], drawn_precisions[:, i], size
            ),
            "precision": intervals.bootstrapped(
                total.precision[:, i], drawn.precision[:, i], saying
            ),
            "recall": intervals.bootstrapped(total.recall[:, i], drawn.recall[:, i], size),
            "f1": intervals.bootstrapped(total.f1[:, i], drawn.f1[:, i], size),
        }

    def mean_over(columns: list[int]) -> dict[str, Any]:
        known = n if any(per_class[classes[i]]["n"] for i in columns) else 0
        mean, draws = (
            mean_average_precision(one[:, columns]) for one in (precisions, drawn_precisions)
        )
        return intervals.of_ranking(mean, draws, known)

    metrics: dict[str, Any] = {
        "task": predictions.task.name,
        "split": predictions.split,
        "n": n,
        "groups": group_count,
        "skipped": len(predictions.skipped),
        "confidence": confidence,
        "map": mean_over(list(range(k))),
    }
    others = [i for i, name in enumerate(classes) if name != BACKGROUND]
    if len(others) < k:
        metrics["map_without_background"] = mean_over(others)
    metrics |= {
        "micro_f1": intervals.bootstrapped(total.micro_f1, drawn.micro_f1, n),
        "macro_f1": intervals.bootstrapped(total.macro_f1, drawn.macro_f1, n),
        "exact_match": intervals.proportion(total.exact, total.clips, drawn.exact / drawn.clips),
        "per_class": per_class,
        "classes": list(classes),
    }
    metrics["warnings"] = warnings_of(predictions, metrics, grouped)
    return metrics


def resampled_precisions(
    predictions: Predictions, *, resamples: int = 2000, seed: int = 0
) -> np.ndarray:
    """(R, K) average precisions of the resamples of `resample_sums`, whole groups each."""
    index, count = group_index(predictions.group)
    probabilities, holds = predictions.probabilities, predictions.holds
    drawn = resample_groups(count, resamples=resamples, seed=seed)
    return np.concatenate(
        [average_precisions(probabilities, holds, times[:, index]) for times in drawn]
    )


class _Sums:
    """Sums (R, 3K + 2) over clips by name, and the figures that follow from them, each (R,) or
    (R, K). A figure without anything to divide by is NaN."""

    def __init__(self, sums: np.ndarray, k: int):
        self.holds, self.said, self.right = np.split(sums[:, : 3 * k], 3, axis=1)
        self.clips, self.exact = sums[:, 3 * k :].T

    @property
    def recall(self) -> np.ndarray:
        return divide(self.right, self.holds)

    @property
    def precision(self) -> np.ndarray:
        return divide(self.right, self.said)

    @property
    def f1(self) -> np.ndarray:
        return divide(2 * self.right, self.holds + self.said)

    @property
    def macro_f1(self) -> np.ndarray:
        return np.nanmean(self.f1, axis=1)

    @property
    def micro_f1(self) -> np.ndarray:
        return divide(2 * self.right.sum(axis=1), (self.holds + self.said).sum(axis=1))
