"""From which probability on a label is said, and below which "unknown": set by validation.

The rule: the highest threshold that keeps at least 95% of the validation clips that are recognised
correctly. What may be lost is thereby stated and small, and as many wrong answers as possible are
silenced for it. The other way round, a threshold for at most so many wrong answers, has no solution
for a weak model and any solution for a strong one, and rests on the few wrong clips there are.
Validation holds the trained classes only. What the threshold does to actions of no class at all,
nobody knows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from understudy.errors import UserError
from understudy.judge.collect import predict_split
from understudy.judge.figures import refuse_unusable
from understudy.judge.predictions import Predictions
from understudy.judge.statistics import wilson
from understudy.progress import Heartbeat
from understudy.run import RunClassifier, write_json
from understudy.run.classifier import file_sha256, known_threshold

KEEP = 0.95
"""Share of the correctly recognised validation clips that the threshold must keep."""
FILE = "unknown.json"
_STEPS = 10_000
"""The threshold is rounded down to a ten-thousandth, so that what must be kept stays kept."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A label is said when its probability is at least `threshold`.

    Of `correct` clips that were recognised correctly, a share of `kept_correct` stays; of `wrong`
    ones, `kept_wrong`. The `_low` and `_high` are their 95% intervals by Wilson's method, with
    clips counted as independent.
    """

    threshold: float
    correct: int
    wrong: int
    kept_correct: float
    kept_correct_low: float
    kept_correct_high: float
    kept_wrong: float | None
    kept_wrong_low: float
    kept_wrong_high: float


def choose_threshold(predictions: Predictions, keep: float = KEEP) -> Threshold:
    """The highest threshold in [0, 1) that keeps a share of `keep` of the correct clips.

    Raises UserError when no clip was recognised correctly, and when an output is no finite number.
    """
    refuse_unusable(predictions)
    probability = predictions.probabilities.max(axis=1)
    correct = predictions.correct
    right = np.sort(probability[correct])
    if not len(right):
        raise UserError(
            f"None of {len(predictions)} validation clips was recognised correctly, so they set no "
            'threshold for "unknown". Train longer, or give one: --unknown 0.5'
        )
    may_go = math.floor(len(right) * (1 - keep) + 1e-9)
    threshold = min(math.floor(right[may_go] * _STEPS), _STEPS - 1) / _STEPS
    kept = probability >= threshold
    shares: dict[str, Any] = {}
    for name, those in (("correct", correct), ("wrong", ~correct)):
        stay, n = int((kept & those).sum()), int(those.sum())
        low, high = wilson(stay, n)
        shares |= {name: n, f"kept_{name}": stay / n if n else None}
        shares |= {f"kept_{name}_low": low, f"kept_{name}_high": high}
    return Threshold(threshold, **shares)


def unknown_threshold(
    classifier: RunClassifier, *, note: Callable[[str], None] = lambda sentence: None
) -> float:
    """The threshold of a run: as RUN/unknown.json has it for this very checkpoint, or chosen now.

    Choosing recognises the run's own validation split once and writes the file; `note` takes a
    sentence about it. Raises UserError when no validation clip can be read.
    """
    run, checkpoint = classifier.run, classifier.checkpoint
    known = known_threshold(run, checkpoint)
    if known is not None:
        return known
    recipe, place = run.recipe, run.path / FILE
    try:
        with Heartbeat(note) as beat:
            predictions = predict_split(
                classifier,
                run.manifest,
                "val",
                data=recipe.data,
                batch_size=recipe.eval.batch_size,
                track=beat.track,
            )
        if not len(predictions):
            first = predictions.skipped[0]
            raise UserError(f"none of {len(predictions.skipped)}, {first.path}: {first.reason}.")
    except UserError as error:
        raise UserError(
            f'The probability below which a label is "unknown" is set by the run\'s validation '
            f"clips, and they cannot be read: {error}\nGive one instead: --unknown 0.5, or "
            "--unknown 0 to always name a label."
        ) from error
    chosen = choose_threshold(predictions)
    content = {
        "rule": f"the highest threshold that keeps {KEEP:.0%} of the correctly recognised clips",
        "keep": KEEP,
        "checkpoint": checkpoint,
        "checkpoint_sha256": file_sha256(run.checkpoint_path(checkpoint)),
        "split": "val",
        "n": len(predictions),
        "skipped": [tuple(skipped) for skipped in predictions.skipped],
        **asdict(chosen),
    }
    note(explain(chosen))
    try:
        write_json(place, content)
    except OSError as error:
        note(f"{place} cannot be written ({error.strerror}), so this is done again next time.")
    return chosen.threshold


def explain(chosen: Threshold) -> str:
    """The threshold and what it does, in one sentence."""
    n = chosen.correct + chosen.wrong
    wrong = ""
    if chosen.kept_wrong is not None:
        wrong = f" and {chosen.kept_wrong:.0%} of the {chosen.wrong} wrong ones"
    return (
        f'"unknown" below {chosen.threshold:.4f}: of {n} validation clips, that keeps '
        f"{chosen.kept_correct:.1%} of the {chosen.correct} recognised correctly{wrong}."
    )
