"""A figure with its interval, its method and the number of clips behind it; for every task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from understudy.errors import UserError, some_of
from understudy.judge.predictions import Predictions, counted
from understudy.judge.statistics import Interval, percentiles, proportion_interval

Figure = dict[str, Any]
"""{"value", "low", "high", "n", "method"}. Where n is 0 the figure is undefined: value 0, interval
0 to 1, method "undefined"."""
_WIDE = 0.15
"""20 clips without a mistake still have an interval wider than this."""
_FEW_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Intervals:
    """How the figures of a split get their intervals. grouped: whether clips share groups."""

    confidence: float
    grouped: bool

    @property
    def method(self) -> str:
        return "bootstrap over groups" if self.grouped else "bootstrap over clips"

    def proportion(self, hits: np.ndarray, of: np.ndarray, drawn_share: np.ndarray) -> Figure:
        """Of counts (1,) and resampled shares (R,): Wilson's, and the bootstrap's where wider."""
        successes, size = round(float(hits[0])), round(float(of[0]))
        draws = drawn_share if self.grouped else None
        interval = proportion_interval(successes, size, draws, self.confidence)
        return as_figure(successes / size if size else 0.0, interval, size)

    def bootstrapped(self, value: np.ndarray, draws: np.ndarray, size: int) -> Figure:
        """Of a value (1,) and resampled ones (R,)."""
        if size == 0:
            return as_figure(0.0, Interval(0.0, 1.0, "undefined"), 0)
        low, high = percentiles(draws, self.confidence)
        name = self.method if high > low else f"{self.method}, without width"
        return as_figure(float(value[0]), Interval(low, high, name), size)

    def of_ranking(self, value: np.ndarray, draws: np.ndarray, size: int) -> Figure:
        """The same for a figure of how clips are ranked, around the value.

        A resample holds fewer clips, each several times, and those rank themselves better: its
        average precision is too high on the whole, by about as much as that of the clips
        themselves is. So the draws are moved until their mean is the value.
        """
        moved = draws - np.nanmean(draws) + value[0] if size else draws
        figure = self.bootstrapped(value, np.clip(moved, 0.0, 1.0), size)
        figure["low"] = min(figure["low"], figure["value"])
        figure["high"] = max(figure["high"], figure["value"])
        return figure


def as_figure(value: float, interval: Interval, n: int) -> Figure:
    return {
        "value": float(value),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": n,
        "method": interval.method,
    }


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
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


def warnings_of(predictions: Predictions, metrics: dict[str, Any], grouped: bool) -> list[str]:
    """What is to be known of these figures, a sentence each."""
    n, groups, main = metrics["n"], metrics["groups"], metrics[predictions.task.metric]
    title = predictions.task.metric_title
    percent = f"{100 * metrics['confidence']:g}%"
    warnings = []
    if metrics[predictions.task.hit_rate]["value"] == 1:
        low = metrics[predictions.task.hit_rate]["low"]
        warnings.append(
            f"No mistake in {counted(n, 'clip')}: they cannot show how good the model really is, "
            f"nor that another is better. Its accuracy may be as low as {low:.2f}."
        )
    if main["high"] - main["low"] > _WIDE:
        who = f"{groups} groups in {n} clips" if grouped and n >= 100 else counted(n, "clip")
        warnings.append(
            f"Only {who}: the {percent} interval spans {main['low']:.2f} to {main['high']:.2f}, "
            "too wide to tell models apart."
        )
    if grouped and groups < _FEW_GROUPS:
        warnings.append(
            f"Only {counted(groups, 'group')} (persons or source videos): intervals "
            "from so few come out too narrow."
        )
    without_width = {"the macro F1": metrics["macro_f1"]}
    if predictions.task.several:
        without_width |= {f"the {title}": main, "the micro F1": metrics["micro_f1"]}
    names = [name for name, figure in without_width.items() if figure["low"] == figure["high"]]
    if names:
        by = "exact matches" if predictions.task.several else title
        warnings.append(
            f"The interval of {' and of '.join(names)} has no width, because every resample of "
            f"{counted(groups, 'group' if grouped else 'clip')} gave the same: "
            f"judge by the interval of the {by}."
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
