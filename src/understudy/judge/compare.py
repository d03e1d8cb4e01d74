"""Two runs on the same clips: which one is better, and could chance alone have done it?"""

from __future__ import annotations

from typing import Any

from understudy.errors import UserError
from understudy.judge.predictions import Predictions, some_of
from understudy.judge.statistics import paired_difference


def compare_predictions(
    a: Predictions,
    b: Predictions,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Top-1 accuracy of a minus that of b, clip by clip; see `paired_difference`.

    Clips are joined by path, and by manifest row too where one file holds several clips.
    Raises UserError when the two do not hold the same classes, clips, labels and groups.
    """
    if set(a.classes) != set(b.classes):
        only = sorted(set(a.classes) ^ set(b.classes))
        raise UserError(
            f"These predictions know different classes ({len(set(a.classes) & set(b.classes))} in "
            f"common; only in one of them: {some_of(only)}). Compare runs trained on the same ones."
        )
    repeated = len(set(a.path)) < len(a) or len(set(b.path)) < len(b)
    clips_a, clips_b = (_clips(predictions, repeated) for predictions in (a, b))
    common = len(clips_a.keys() & clips_b.keys())
    if clips_a.keys() != clips_b.keys():
        apart = sorted(str(clip[0]) for clip in clips_a.keys() ^ clips_b.keys())
        raise UserError(
            f"These predictions are of different clips: {len(a)} and {len(b)}, {common} in common; "
            f"only in one of them: {some_of(apart)}. Evaluate both runs on the same manifest and "
            "split."
        )
    order = [(clips_a[clip], clips_b[clip]) for clip in clips_a]
    for i, j in order:
        said_a = (a.classes[int(a.target[i])], a.group[i])
        said_b = (b.classes[int(b.target[j])], b.group[j])
        if said_a != said_b:
            raise UserError(
                f"{a.path[i]} has label and group {said_a} in one evaluation and {said_b} in the "
                f"other, of {common} clips in common. Evaluate both runs on the same manifest."
            )
    rows_a, rows_b = map(list, zip(*order, strict=True)) if order else ([], [])
    return paired_difference(
        a.correct[rows_a],
        b.correct[rows_b],
        [a.group[i] for i in rows_a],
        confidence,
        resamples=resamples,
        seed=seed,
    )


def _clips(predictions: Predictions, repeated: bool) -> dict[tuple[str, int], int]:
    rows = predictions.record if repeated else [0] * len(predictions)
    return {clip: i for i, clip in enumerate(zip(predictions.path, rows, strict=True))}
