"""From which probability on a label is said, and below which "unknown": set by validation.

The rule: the highest threshold that keeps at least 95% of the validation clips that are recognised
correctly. What may be lost is thereby stated and small, and as many wrong answers as possible are
silenced for it. The other way round, a threshold for at most so many wrong answers, has no solution
for a weak model and any solution for a strong one, and rests on the few wrong clips there are.
Validation holds the trained classes only. What the threshold does to actions of no class at all,
nobody knows from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.errors import UserError
from understudy.judge.predictions import Predictions
from understudy.judge.statistics import wilson
from understudy.run import Run, read_json, write_json
from understudy.types import Recognizer

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

    Raises UserError when no clip was recognised correctly.
    """
    probability = predictions.logits.double().softmax(dim=1).amax(dim=1).numpy()
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
    run: Run,
    model: Recognizer,
    *,
    checkpoint: str = "best",
    device: str = "cpu",
    tell: Callable[[str], None] = lambda sentence: None,
) -> float:
    """The threshold of a run: as RUN/unknown.json has it for this very checkpoint, or chosen now.

    model: that checkpoint, loaded. Choosing recognises the run's own validation split once and
    writes the file; `tell` takes a sentence about it. Raises UserError when the validation split
    cannot be read.
    """
    from understudy.judge.evaluate import predict_own_split

    known = known_threshold(run, checkpoint)
    if known is not None:
        return known
    place, weights = run.path / FILE, _sha256(run.checkpoint_path(checkpoint))
    try:
        predictions = predict_own_split(run, model, "val", device)
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
        "checkpoint_sha256": weights,
        "split": "val",
        "n": len(predictions),
        "skipped": [tuple(skipped) for skipped in predictions.skipped],
        **asdict(chosen),
    }
    tell(explain(chosen))
    try:
        write_json(place, content)
    except OSError as error:
        tell(f"{place} cannot be written ({error.strerror}), so this is done again next time.")
    return chosen.threshold


def known_threshold(run: Run, checkpoint: str = "best") -> float | None:
    """The threshold that RUN/unknown.json holds for this very checkpoint; None if it holds none."""
    place = run.path / FILE
    if not place.is_file():
        return None
    known = read_json(place)
    weights = _sha256(run.checkpoint_path(checkpoint))
    if known.get("checkpoint_sha256") != weights or known.get("keep") != KEEP:
        return None
    return checked_threshold(known.get("threshold"), str(place))


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


def checked_threshold(value: Any, where: str) -> float:
    """The value, if it is a number in [0, 1). Raises UserError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1:
        return float(value)
    raise UserError(
        f"{where}: {value} is no threshold. Give a probability from 0 (always name a label) to "
        "just below 1."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
