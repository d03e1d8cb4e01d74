"""What all folds say together: one prediction for each clip, of the student that never met its
group, and one figure for all of them.

The interval is that of any split, over groups. The folds are no sample of their own: their students
share most of what they learned from, so their spread is told beside the figure and makes no
interval (Bengio and Grandvalet, "No unbiased estimator of the variance of k-fold cross-validation",
JMLR 2004).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from understudy.judge.compare import Comparison, compare_predictions
from understudy.judge.evaluate import Evaluation, evaluate, known_evaluation
from understudy.judge.figures import as_figure
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions
from understudy.judge.statistics import group_index, proportion_interval
from understudy.judge.subject import find_subject
from understudy.progress import Track, untold
from understudy.run import json_text, write_files
from understudy.run.folds import FoldRuns, refuse_parts
from understudy.run.unfinished import unfinished

_SPLIT = "test"
MOST_GROUPS = 1000
"""More are not listed one by one."""


def evaluate_folds(
    folds: FoldRuns,
    *,
    checkpoint: str = "best",
    device: str = "cpu",
    threads: int | None = None,
    track: Track = untold,
) -> Evaluation:
    """Evaluate each fold on the clips that it tests, where that is not done yet, and all together.

    metrics: those of `compute_metrics` of all clips, and `folds` (each with its figure), `spread`
    (of these figures: mean, deviation, lowest, highest) and, where clips share groups, `by_group`.
    They go into the folder, with the predictions. Raises UserError where a fold is missing, and as
    `evaluate` does.
    """
    refuse_parts(folds)
    parts: dict[int, Evaluation] = {}
    warnings: list[str] = []
    for fold, run in folds.runs.items():
        subject = find_subject(run, None, _SPLIT, checkpoint)
        warnings += [f"Fold {fold}: {one}" for one in subject.warnings]
        parts[fold] = known_evaluation(subject) or evaluate(
            run, split=_SPLIT, checkpoint=checkpoint, device=device, threads=threads, track=track
        )
        if said := unfinished(run):
            warnings.append(said)
    predictions = pool([one.predictions for one in parts.values()])
    settings = folds.recipe.eval
    metrics = compute_metrics(
        predictions, confidence=settings.confidence, resamples=settings.resamples
    )
    warnings += metrics["warnings"]
    metrics |= _told_apart(parts, predictions)
    metrics |= {"manifest": folds.first.data["manifest"], "checkpoint": checkpoint}
    metrics |= {"warnings": warnings}
    write_files(
        {
            folds.path / "predictions.parquet": predictions.to_parquet(),
            folds.path / "metrics.json": json_text(metrics).encode(),
        }
    )
    return Evaluation(metrics, predictions, folds.path)


def compare_folds(a: FoldRuns, b: FoldRuns, **options: Any) -> Comparison:
    """Two recipes by all of their folds, clip by clip. options: of `evaluate_folds`. Raises
    UserError as `compare_predictions` does."""
    one, other = (evaluate_folds(folds, **options) for folds in (a, b))
    settings = a.recipe.eval
    difference = compare_predictions(
        one.predictions,
        other.predictions,
        confidence=settings.confidence,
        resamples=settings.resamples,
    )
    return Comparison(one, other, difference)


def pool(parts: list[Predictions]) -> Predictions:
    """The predictions of all folds as one. `record` stays the row in the run of the fold.

    Where several labels may hold, each fold has thresholds of its own: its logits are moved so that
    a label holds from one half on, which is what its thresholds say.
    """
    moved = [_from_one_half(one) for one in parts]
    return replace(
        moved[0],
        record=[row for one in moved for row in one.record],
        id=[name for one in moved for name in one.id],
        path=[path for one in moved for path in one.path],
        group=[group for one in moved for group in one.group],
        target=torch.cat([one.target for one in moved]),
        logits=torch.cat([one.logits for one in moved]),
        skipped=tuple(skipped for one in moved for skipped in one.skipped),
    )


def _from_one_half(predictions: Predictions) -> Predictions:
    if predictions.thresholds is None:
        return predictions
    thresholds = torch.tensor(predictions.thresholds, dtype=torch.float64)
    logits = (predictions.logits.double() - thresholds.logit(eps=1e-12)).float()
    return replace(predictions, logits=logits, thresholds=None)


def _told_apart(parts: dict[int, Evaluation], predictions: Predictions) -> dict[str, Any]:
    """The same figure by fold, its spread, and how often it was right by group."""
    metric = predictions.task.metric
    folds = [
        {
            "fold": fold,
            "n": one.metrics["n"],
            "groups": one.metrics["groups"],
            "figure": one.metrics[metric],
        }
        for fold, one in parts.items()
    ]
    values = np.array([one.metrics[metric]["value"] for one in parts.values()])
    spread = {
        "metric": metric,
        "mean": float(values.mean()),
        "deviation": float(values.std(ddof=1)),
        "low": float(values.min()),
        "high": float(values.max()),
    }
    return {"folds": folds, "spread": spread, "by_group": _by_group(parts, predictions)}


def _by_group(parts: dict[int, Evaluation], predictions: Predictions) -> list[dict[str, Any]]:
    """The groups, the weakest first; none where clips stand for themselves."""
    index, count = group_index(predictions.group)
    if count == len(predictions) or count > MOST_GROUPS:
        return []
    tested = {
        group: fold for fold, one in parts.items() for group in dict.fromkeys(one.predictions.group)
    }
    clips = np.bincount(index, minlength=count)
    right = np.bincount(index, predictions.correct, minlength=count)
    names = dict(zip(index.tolist(), predictions.group, strict=True))
    rows = [
        {
            "group": names[place],
            "fold": tested[names[place]],
            "right": as_figure(
                right[place] / clips[place],
                proportion_interval(int(right[place]), int(clips[place]), None),
                int(clips[place]),
            ),
        }
        for place in range(count)
    ]
    return sorted(rows, key=lambda row: (row["right"]["value"], row["group"]))
