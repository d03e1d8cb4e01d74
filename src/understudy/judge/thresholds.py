"""From which probability on a label is said to hold, where several may: set by validation.

The rule, for each class by itself: the threshold with the highest F1 on the validation clips. It
lies in the middle between the last clip of which the label is said and the first of which it is
not, since a runtime may round a probability otherwise. Of equal F1 the higher threshold is taken,
which says less. A class that holds of no validation clip has nothing to choose by: its threshold is
one half, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from understudy.errors import UserError, some_of
from understudy.judge.collect import predict_split
from understudy.judge.figures import refuse_unusable
from understudy.progress import Heartbeat
from understudy.run import Run, RunClassifier, write_json
from understudy.run.classifier import file_sha256
from understudy.run.schema import THRESHOLDS
from understudy.task import EVEN
from understudy.types import Classifier

RULE = "of each class, the threshold with the highest F1 on validation; of equals the higher"


class Chosen(NamedTuple):
    """threshold: a label holds from this probability on. f1: on validation; None for a class that
    holds of no clip there. n: clips of which it holds."""

    threshold: float
    f1: float | None
    n: int


def choose_thresholds(probabilities: np.ndarray, holds: np.ndarray) -> list[Chosen]:
    """For every class, from probabilities (N, K) and what holds (N, K) bool."""
    return [_choose(probabilities[:, k], holds[:, k]) for k in range(holds.shape[1])]


def _choose(probability: np.ndarray, holds: np.ndarray) -> Chosen:
    n = int(holds.sum())
    if n == 0:
        return Chosen(EVEN, None, 0)
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order].astype(float)
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    right = np.cumsum(holds[order])[ends]
    f1 = 2 * right / (ends + 1 + n)
    best = int(f1.argmax())  # the first of equals says the fewest
    last, following = ranked[ends[best]], ends[best] + 1
    below = ranked[following] if following < len(ranked) else 0.0
    middle = (last + below) / 2
    # Between neighbours among floating-point numbers there is no middle.
    return Chosen(float(middle if below < middle <= last else last), float(f1[best]), n)


def describe(chosen: list[Chosen], classes: tuple[str, ...], split: str, n: int) -> dict[str, Any]:
    """What `thresholds.json` holds of one checkpoint, without what names its weights."""
    of_class = {name: one._asdict() for name, one in zip(classes, chosen, strict=True)}
    return {"split": split, "n": n, "classes": of_class}


def thresholds_of(
    classifier: Classifier, *, note: Callable[[str], None] = lambda sentence: None
) -> tuple[float, ...] | None:
    """The thresholds (K,) of a model whose task has several labels, which has them from now on;
    None for other tasks.

    Those of a run that knows none for its checkpoint are chosen now: that recognises its own
    validation split once and writes thresholds.json. `note` takes a sentence about it. Raises
    UserError when no validation clip can be read.
    """
    if not isinstance(classifier, RunClassifier) or not classifier.task.several:
        return classifier.thresholds
    if classifier.thresholds is not None:
        return classifier.thresholds
    run, checkpoint = classifier.run, classifier.checkpoint
    recipe = run.recipe
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
        refuse_unusable(predictions)
    except UserError as error:
        raise UserError(
            "The probabilities from which labels hold are set by the run's validation clips, and "
            f"they cannot be read: {error}"
        ) from error
    chosen = choose_thresholds(predictions.probabilities, predictions.holds)
    content = describe(chosen, classifier.classes, "val", len(predictions))
    note(
        f"thresholds of {len(chosen)} labels chosen on {len(predictions)} validation clips"
        f"{_bare(content)}"
    )
    try:
        keep_thresholds(classifier.run, {checkpoint: content})
    except OSError as error:
        note(
            f"{run.path / THRESHOLDS} cannot be written ({error.strerror}), so this is done again "
            "next time."
        )
    classifier.thresholds = tuple(one.threshold for one in chosen)
    return classifier.thresholds


def _bare(content: dict[str, Any]) -> str:
    bare = [name for name, one in content["classes"].items() if one["n"] == 0]
    return f"; {EVEN} for those that hold of none of them: {some_of(bare)}" if bare else ""


def keep_thresholds(run: Run, content: dict[str, dict[str, Any]]) -> None:
    """Add those of some checkpoints to thresholds.json of a run."""
    known = run.thresholds or {"rule": RULE, "checkpoints": {}}
    named = {
        name: {"checkpoint_sha256": file_sha256(run.checkpoint_path(name))} | one
        for name, one in content.items()
    }
    write_json(run.path / THRESHOLDS, {"rule": RULE, "checkpoints": known["checkpoints"] | named})
