"""Figures of a split, each with its interval, its method and the number of clips behind it.

Every figure here is a function of sums over clips (clips of a class, hits, confidence in a bin).
So one bootstrap of the sums over whole groups serves all figures, and each is defined only once:
on the sums of the split it gives the value, on resampled sums the interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from understudy.judge.figures import Intervals, as_figure, divide, refuse_unusable, warnings_of
from understudy.judge.predictions import Predictions
from understudy.judge.several import metrics_of_several
from understudy.judge.statistics import Interval, group_index, percentiles, resample_sums
from understudy.record import BACKGROUND

CALIBRATION_BINS = 15
"""Bins of equal width for the calibration error, as in Guo et al. 2017."""
TOP5_CLASSES = 10
"""Of fewer classes five guesses cover half or more, which says little."""


def compute_metrics(
    predictions: Predictions,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of a split, ready for JSON.

    top1, top5 (with 10 classes or more), macro_f1, calibration_error, per_class (accuracy,
    precision, f1), confusion (rows are true classes, columns predicted ones) and warnings, plain
    sentences for people. The macro F1 is the mean over classes that are among the targets or the
    predictions, as scikit-learn has it. Accuracies: Wilson, and the bootstrap over groups where
    wider. Others: bootstrap over groups, or over clips where each stands for itself.
    Where there is a class `background`, top1_without_background is the accuracy on the clips of
    the others. Of predictions with several labels a clip, those of `metrics_of_several`.
    Raises UserError without clips, or when a logit is not finite.
    """
    refuse_unusable(predictions)
    if predictions.task.several:
        return metrics_of_several(
            predictions, confidence=confidence, resamples=resamples, seed=seed
        )
    classes, k, n = predictions.classes, len(predictions.classes), len(predictions)
    index, group_count = group_index(predictions.group)
    grouped = group_count < n
    intervals = Intervals(confidence, grouped)
    proportion, bootstrapped = intervals.proportion, intervals.bootstrapped
    values = _sums_per_clip(predictions)
    total = _Sums(np.asarray(values.sum(axis=0)).reshape(1, -1), k)
    drawn = _Sums(resample_sums(values, index, resamples=resamples, seed=seed), k)
    per_class = {}
    for i, name in enumerate(classes):
        size = round(float(total.targets[0, i]))
        per_class[name] = {
            "n": size,
            "accuracy": proportion(total.hits[:, i], total.targets[:, i], drawn.recall[:, i]),
            "precision": proportion(total.hits[:, i], total.predicted[:, i], drawn.precision[:, i]),
            "f1": bootstrapped(total.f1[:, i], drawn.f1[:, i], size),
        }
    calibration = _calibration_interval(
        float(total.calibration_error[0]),
        percentiles(drawn.calibration_error, confidence),
        _chance_of_miscalibration(predictions, confidence),
        intervals.method,
    )
    metrics: dict[str, Any] = {
        "task": predictions.task.name,
        "split": predictions.split,
        "n": n,
        "groups": group_count,
        "skipped": len(predictions.skipped),
        "confidence": confidence,
        "top1": proportion(total.correct, total.clips, drawn.correct / drawn.clips),
    }
    if BACKGROUND in classes:
        metrics["top1_without_background"] = proportion(*_without(total, drawn, classes))
    if k >= TOP5_CLASSES:
        metrics["top5"] = proportion(total.in_top5, total.clips, drawn.in_top5 / drawn.clips)
    metrics |= {
        "macro_f1": bootstrapped(total.macro_f1, drawn.macro_f1, n),
        "calibration_error": as_figure(float(total.calibration_error[0]), calibration, n),
        "per_class": per_class,
        "confusion": _confusion(predictions).tolist(),
        "classes": list(classes),
    }
    metrics["warnings"] = warnings_of(predictions, metrics, grouped)
    return metrics


def _without(
    total: _Sums, drawn: _Sums, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, clips, and resampled accuracies, of the clips that something happens in."""
    others = [k for k, name in enumerate(classes) if name != BACKGROUND]
    hits, clips = total.hits[:, others].sum(axis=1), total.targets[:, others].sum(axis=1)
    drawn_clips = drawn.targets[:, others].sum(axis=1)
    return hits, clips, divide(drawn.hits[:, others].sum(axis=1), drawn_clips)


class _Sums:
    """Sums (R, D) over clips by name, and the figures that follow from them, each (R,) or (R, K).

    A figure without anything to divide by is NaN.
    """

    def __init__(self, sums: np.ndarray, k: int):
        scalars = sums[:, 3 * k : 3 * k + 3]
        self.targets, self.predicted, self.hits = np.split(sums[:, : 3 * k], 3, axis=1)
        self.clips, self.correct, self.in_top5 = scalars.T
        self._confidence_over_accuracy = sums[:, 3 * k + 3 :]

    @property
    def recall(self) -> np.ndarray:
        return divide(self.hits, self.targets)

    @property
    def precision(self) -> np.ndarray:
        return divide(self.hits, self.predicted)

    @property
    def f1(self) -> np.ndarray:
        return divide(2 * self.hits, self.targets + self.predicted)

    @property
    def macro_f1(self) -> np.ndarray:
        return np.nanmean(self.f1, axis=1)

    @property
    def calibration_error(self) -> np.ndarray:
        return np.abs(self._confidence_over_accuracy).sum(axis=1) / self.clips


def _sums_per_clip(predictions: Predictions) -> sparse.csr_array:
    """(N, 3K + 18) what every clip adds: targets, predicted, hits (K each), clips, correct,
    in the best five, and confidence minus correctness in each calibration bin."""
    logits = predictions.logits.numpy()
    target = predictions.target.numpy()
    n, k = logits.shape
    ranked = np.argsort(-logits, axis=1, kind="stable")
    predicted, correct = ranked[:, 0], ranked[:, 0] == target
    in_top5 = (ranked[:, :5] == target[:, None]).any(axis=1)
    confidence, bins = _confidence(predictions)

    def one_hot(column: np.ndarray, value: np.ndarray, width: int) -> sparse.csr_array:
        return sparse.csr_array((value.astype(float), (np.arange(n), column)), shape=(n, width))

    ones = np.ones(n)
    return sparse.csr_array(
        sparse.hstack(
            [
                one_hot(target, ones, k),
                one_hot(predicted, ones, k),
                one_hot(target, correct, k),
                np.stack([ones, correct, in_top5], axis=1),
                one_hot(bins, confidence - correct, CALIBRATION_BINS),
            ]
        )
    )


def _calibration_interval(
    value: float, drawn: tuple[float, float], chance: float, method: str
) -> Interval:
    """The basic bootstrap interval, for the calibration error only.

    Chance alone makes |confidence - accuracy| positive, and resampling adds chance once more, so
    the resampled figures lie above the measured one; mirrored at it, they lie below by as much. A
    value that a perfectly calibrated model could show (`chance`) leaves 0 in the interval.
    """
    low, high = max(2 * value - drawn[1], 0.0), min(2 * value - drawn[0], 1.0)
    low, high = 0.0 if value <= chance else min(low, value), max(high, value)
    return Interval(low, high, f"basic {method}")


def _chance_of_miscalibration(predictions: Predictions, confidence_level: float) -> float:
    """The largest calibration error that a perfectly calibrated model shows by chance on these
    clips, at the given level. The gap in a bin is then normal around 0, its variance the sum of
    p (1 - p), and its size half-normal."""
    from scipy.stats import norm

    probabilities, bins = _confidence(predictions)
    variance = np.bincount(bins, probabilities * (1 - probabilities), CALIBRATION_BINS)
    mean = np.sqrt(variance * 2 / np.pi).sum()
    deviation = np.sqrt((variance * (1 - 2 / np.pi)).sum())
    return float(mean + norm.ppf((1 + confidence_level) / 2) * deviation) / len(predictions)


def _confidence(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """(N,) highest probability, and the calibration bin ((b / 15, (b + 1) / 15]) it lies in."""
    confidence = predictions.probabilities.max(axis=1)
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1
    return confidence, np.clip(bins, 0, CALIBRATION_BINS - 1)


def _confusion(predictions: Predictions) -> np.ndarray:
    k = len(predictions.classes)
    predicted = predictions.logits.numpy().argmax(axis=1)
    cells = predictions.target.numpy() * k + predicted
    return np.bincount(cells, minlength=k * k).reshape(k, k)
