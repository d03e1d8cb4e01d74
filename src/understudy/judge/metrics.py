"""Figures of a split, each with its interval, its method and the number of clips behind it.

Every figure here is a function of sums over clips (clips of a class, hits, confidence in a bin).
So one bootstrap of the sums over whole groups serves all figures, and each is defined only once:
on the sums of the split it gives the value, on resampled sums the interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from understudy.errors import UserError
from understudy.judge.predictions import Predictions, counted, some_of
from understudy.judge.statistics import (
    Interval,
    group_index,
    percentiles,
    proportion_interval,
    resample_sums,
)

CALIBRATION_BINS = 15
"""Bins of equal width for the calibration error, as in Guo et al. 2017."""
_WIDE = 0.15
"""20 clips without a mistake still have an interval wider than this."""
_FEW_GROUPS = 10
TOP5_CLASSES = 10
"""Of fewer classes five guesses cover half or more, which says little."""

Figure = dict[str, Any]
"""{"value", "low", "high", "n", "method"}. Where n is 0 the figure is undefined: value 0, interval
0 to 1, method "undefined"."""


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
    Raises UserError without clips, or when a logit is not finite.
    """
    refuse_unusable(predictions)
    classes, k, n = predictions.classes, len(predictions.classes), len(predictions)
    index, group_count = group_index(predictions.group)
    grouped = group_count < n
    values = _sums_per_clip(predictions)
    total = _Sums(np.asarray(values.sum(axis=0)).reshape(1, -1), k)
    drawn = _Sums(resample_sums(values, index, resamples=resamples, seed=seed), k)
    method = "bootstrap over groups" if grouped else "bootstrap over clips"

    def proportion(hits: np.ndarray, of: np.ndarray, drawn_share: np.ndarray) -> Figure:
        successes, size = round(float(hits[0])), round(float(of[0]))
        draws = drawn_share if grouped else None
        interval = proportion_interval(successes, size, draws, confidence)
        return _figure(successes / size if size else 0.0, interval, size)

    def bootstrapped(value: np.ndarray, draws: np.ndarray, size: int) -> Figure:
        if size == 0:
            return _figure(0.0, Interval(0.0, 1.0, "undefined"), 0)
        low, high = percentiles(draws, confidence)
        name = method if high > low else f"{method}, without width"
        return _figure(float(value[0]), Interval(low, high, name), size)

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
        method,
    )
    metrics: dict[str, Any] = {
        "split": predictions.split,
        "n": n,
        "groups": group_count,
        "skipped": len(predictions.skipped),
        "confidence": confidence,
        "top1": proportion(total.correct, total.clips, drawn.correct / drawn.clips),
    }
    if k >= TOP5_CLASSES:
        metrics["top5"] = proportion(total.in_top5, total.clips, drawn.in_top5 / drawn.clips)
    metrics |= {
        "macro_f1": bootstrapped(total.macro_f1, drawn.macro_f1, n),
        "calibration_error": _figure(float(total.calibration_error[0]), calibration, n),
        "per_class": per_class,
        "confusion": _confusion(predictions).tolist(),
        "classes": list(classes),
    }
    metrics["warnings"] = _warnings(predictions, metrics, grouped)
    return metrics


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
        return _divide(self.hits, self.targets)

    @property
    def precision(self) -> np.ndarray:
        return _divide(self.hits, self.predicted)

    @property
    def f1(self) -> np.ndarray:
        return _divide(2 * self.hits, self.targets + self.predicted)

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


def _figure(value: float, interval: Interval, n: int) -> Figure:
    return {
        "value": float(value),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": n,
        "method": interval.method,
    }


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def refuse_unusable(predictions: Predictions) -> None:
    """Raises UserError without clips, or when a logit is not finite."""
    if len(predictions) == 0:
        bad = predictions.skipped
        why = f" None of {len(bad)} could be read, {bad[0].path}: {bad[0].reason}." if bad else ""
        raise UserError(f"The split {predictions.split!r} has no clip to evaluate.{why}")
    broken = predictions.broken
    if broken:
        raise UserError(
            f"The model's output is not a finite number for {len(broken)} of {len(predictions)} "
            f"clips, the first of them {broken[0]}. Its weights are damaged or "
            "its training diverged: evaluate an earlier checkpoint, or train again with a lower "
            "learning rate."
        )


def _warnings(predictions: Predictions, metrics: dict[str, Any], grouped: bool) -> list[str]:
    n, groups, top1 = metrics["n"], metrics["groups"], metrics["top1"]
    percent = f"{100 * metrics['confidence']:g}%"
    warnings = []
    if top1["value"] == 1:
        warnings.append(
            f"No mistake in {counted(n, 'clip')}: they cannot show how good the model really is, "
            f"nor that another is better. Its accuracy may be as low as {top1['low']:.2f}."
        )
    if top1["high"] - top1["low"] > _WIDE:
        who = f"{groups} groups in {n} clips" if grouped and n >= 100 else counted(n, "clip")
        warnings.append(
            f"Only {who}: the {percent} interval spans {top1['low']:.2f} to {top1['high']:.2f}, "
            "too wide to tell models apart."
        )
    if grouped and groups < _FEW_GROUPS:
        warnings.append(
            f"Only {counted(groups, 'group')} (persons or source videos): intervals "
            "from so few come out too narrow."
        )
    if metrics["macro_f1"]["low"] == metrics["macro_f1"]["high"]:
        warnings.append(
            f"The interval of the macro F1 has no width, because every resample of "
            f"{counted(groups, 'group' if grouped else 'clip')} gave the same: "
            "judge by the interval of the top-1 accuracy."
        )
    missing = [name for name, figures in metrics["per_class"].items() if figures["n"] == 0]
    if missing:
        warnings.append(
            f"{len(missing)} of {len(predictions.classes)} classes "
            f"{'has' if len(missing) == 1 else 'have'} no clip in this split, so nothing is known "
            f"of {'it' if len(missing) == 1 else 'them'}: {some_of(missing)}."
        )
    if predictions.skipped:
        asked = n + len(predictions.skipped)
        named = [f"{one.path} ({one.reason})" for one in predictions.skipped]
        warnings.append(
            f"{len(predictions.skipped)} of {asked} clips ({len(predictions.skipped) / asked:.1%}) "
            f"could not be read and are in no figure: {some_of(named)}."
        )
    return warnings
