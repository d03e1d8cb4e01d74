"""Two models on the same clips: which one is better, and could chance alone have done it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.judge.evaluate import Evaluation, Source, evaluate, known_evaluation
from understudy.judge.metrics import refuse_unusable
from understudy.judge.predictions import Predictions, some_of
from understudy.judge.statistics import paired_difference
from understudy.judge.subject import find_subject
from understudy.progress import Track, untold


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
    """Top-1 accuracy of a minus that of b, clip by clip; see `paired_difference`.

    Clips are joined by id. Raises UserError when the two do not hold the same classes, clips,
    labels and groups, and when an output is no finite number.
    """
    for predictions in (a, b):
        refuse_unusable(predictions)
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
        said_a = (a.classes[int(a.target[i])], a.group[i])
        said_b = (b.classes[int(b.target[j])], b.group[j])
        if said_a != said_b:
            raise UserError(
                f"{a.id[i]} has label and group {said_a} in one evaluation and {said_b} in the "
                f"other, of {common} clips in common. Evaluate both on the same manifest."
            )
    rows_a, rows_b = map(list, zip(*order, strict=True))
    return paired_difference(
        a.correct[rows_a],
        b.correct[rows_b],
        [a.group[i] for i in rows_a],
        confidence,
        resamples=resamples,
        seed=seed,
    )
