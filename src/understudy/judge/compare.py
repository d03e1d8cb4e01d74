"""Two models on the same clips: which one is better, and could chance alone have done it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import UserError, some_of
from understudy.judge.evaluate import Evaluation, Source, evaluate, known_evaluation
from understudy.judge.figures import refuse_unusable
from understudy.judge.predictions import Predictions
from understudy.judge.ranking import average_precisions, mean_average_precision
from understudy.judge.statistics import (
    group_index,
    paired_difference,
    percentiles,
    resample_groups,
)
from understudy.judge.subject import find_subject
from understudy.progress import Track, untold
from understudy.task import MULTI_LABEL


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations on the same clips. difference: accuracy of a minus that of b, as
    `compare_predictions` gives it."""

    a: Evaluation
    b: Evaluation
    difference: dict[str, Any]


def compare_sources(
    a: Source,
    b: Source,
    *,
    manifest: str | Path | None = None,
    split: str | None = None,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    track: Track = untold,
) -> Comparison:
    """Compare two runs, two artifacts, or an artifact with its run, clip by clip.

    Either is evaluated, as `evaluate` does and with its arguments, unless it was already: its
    weights on these very clips. checkpoint: of runs; an artifact holds one. track: tells how far
    that is. Raises UserError as `evaluate` and `compare_predictions` do.
    """
    done = []
    for source in (a, b):
        asked: dict[str, Any] = {"manifest": manifest, "split": split, "checkpoint": checkpoint}
        known = known_evaluation(find_subject(source, **asked))
        done.append(known or evaluate(source, **asked, device=device, threads=threads, track=track))
    first, second = done
    difference = compare_predictions(
        first.predictions, second.predictions, confidence=confidence, resamples=resamples
    )
    return Comparison(first, second, difference)


def compare_predictions(
    a: Predictions,
    b: Predictions,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Top-1 accuracy of a minus that of b, clip by clip; see `paired_difference`. Of several labels
    a clip the mAP of a minus that of b; see `_paired_map`.

    Clips are joined by id. `metric` in what it gives names the figure. Raises UserError when the
    two do not hold the same classes, clips, labels and groups, and when an output is no finite
    number.
    """
    for predictions in (a, b):
        refuse_unusable(predictions)
    if a.task != b.task:
        raise UserError(
            "One of these predictions is of one label a clip and the other several: no figure is "
            "the same for both. Compare models of one task."
        )
    if set(a.classes) != set(b.classes):
        only = sorted(set(a.classes) ^ set(b.classes))
        raise UserError(
            f"These predictions know different classes ({len(set(a.classes) & set(b.classes))} in "
            f"common; only in one of them: {some_of(only)}). Compare runs trained on the same ones."
        )
    clips_a, clips_b = ({clip: i for i, clip in enumerate(one.id)} for one in (a, b))
    common = len(clips_a.keys() & clips_b.keys())
    if clips_a.keys() != clips_b.keys():
        apart = sorted(clips_a.keys() ^ clips_b.keys())
        raise UserError(
            f"These predictions are of different clips: {len(a)} and {len(b)}, {common} in common; "
            f"only in one of them: {some_of(apart)}. Evaluate both on the same clips, named with "
            "--data, and on the same split."
        )
    order = [(clips_a[clip], clips_b[clip]) for clip in clips_a]
    for i, j in order:
        said_a = ("|".join(sorted(a.labels_of(i))), a.group[i])
        said_b = ("|".join(sorted(b.labels_of(j))), b.group[j])
        if said_a != said_b:
            raise UserError(
                f"{a.id[i]} has label and group {said_a} in one evaluation and {said_b} in the "
                f"other, of {common} clips in common. Evaluate both on the same manifest."
            )
    rows_a, rows_b = map(list, zip(*order, strict=True))
    if a.task.several:
        columns = [b.classes.index(name) for name in a.classes]
        probabilities = a.probabilities[rows_a], b.probabilities[rows_b][:, columns]
        groups = [a.group[i] for i in rows_a]
        return _paired_map(
            *probabilities, a.holds[rows_a], groups, confidence, resamples=resamples, seed=seed
        )
    return {"metric": a.task.metric} | paired_difference(
        a.correct[rows_a],
        b.correct[rows_b],
        [a.group[i] for i in rows_a],
        confidence,
        resamples=resamples,
        seed=seed,
    )


def _paired_map(
    a: np.ndarray,
    b: np.ndarray,
    holds: np.ndarray,
    groups: list[str],
    confidence: float,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The mAP of probabilities a minus that of b, (N, K) of the same clips, of which `holds` holds.

    Both are judged on the same resamples of whole groups. p is two-sided: how often the resampled
    difference lies beyond 0, the measured one counted among them.
    """
    index, count = group_index(groups)

    def means(times: np.ndarray | None) -> np.ndarray:
        of_a, of_b = (mean_average_precision(average_precisions(p, holds, times)) for p in (a, b))
        return of_a - of_b

    drawn = resample_groups(count, resamples=resamples, seed=seed)
    draws = np.concatenate([means(times[:, index]) for times in drawn])
    low, high = percentiles(draws, confidence)
    beyond = min((draws <= 0).sum(), (draws >= 0).sum())
    method = f"paired bootstrap over {'groups' if count < len(holds) else 'clips'}"
    return {
        "metric": MULTI_LABEL.metric,
        "difference": float(means(None)[0]),
        "low": low,
        "high": high,
        "p": float(min(1.0, 2 * (beyond + 1) / (len(draws) + 1))),
        "n": len(holds),
        "groups": count,
        "method": method if high > low else f"{method}, without width",
    }
