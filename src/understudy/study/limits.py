"""What limits the figures of a page, said beside them: a huge 100% with its warnings four screens
below misleads."""

from __future__ import annotations

from typing import Any

from understudy.run import Run
from understudy.run.classifier import file_sha256


def limits_of(run: Run, metrics: dict[str, Any] | None, best: dict[str, Any] | None) -> list[str]:
    """Sentences on the figures that a run's page opens with, the gravest first.

    metrics: of its evaluation. best: the best epoch, whose figure stands in for those that are not
    there yet.
    """
    if metrics is None:
        return [_VALIDATION] if best else []
    return [*_other_weights(run, metrics), *metrics["warnings"]]


_VALIDATION = (
    "The clips that it was right on also chose this epoch from all others, so the figure is a "
    "little too good: evaluate the run on clips that had no part in training."
)


def _other_weights(run: Run, metrics: dict[str, Any]) -> list[str]:
    """A run that was trained on after its evaluation has weights that nobody has judged."""
    known, checkpoint = metrics.get("weights_sha256"), metrics.get("checkpoint", "best")
    weights = run.checkpoint_path(checkpoint)
    if known is None or not weights.is_file() or file_sha256(weights) == known:
        return []
    return [
        f"The checkpoint {checkpoint} has changed since it was evaluated: its figures are of "
        "weights that are gone. Evaluate the run again."
    ]
