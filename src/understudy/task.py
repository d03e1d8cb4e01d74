"""What is asked of a clip: its loss, its probabilities, its metric, and what "best" means.

Training, evaluation and streams ask the task and not the shape of a target. There is one so far,
one label for each clip; several labels and labels over time are further tasks of the same kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.errors import UserError


@dataclass(frozen=True, slots=True)
class SingleLabel:
    """Exactly one of K classes holds. Targets are (B,) int64."""

    name: str = "single-label"
    metric: str = "top1"
    """The figure of `history.json` that checkpoints are chosen by."""

    def loss(
        self,
        logits: Tensor,
        target: Tensor,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy of logits (B, K) with class indices (B,), a scalar."""
        return F.cross_entropy(logits, target, weight=class_weights, label_smoothing=smoothing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(..., K) logits to probabilities that add up to 1."""
        return torch.softmax(logits, dim=-1)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B,) bool: whether the class with the highest logit is the target, the first of several
        equals counting as the highest. Logits that are not all finite numbers are never right."""
        return (logits.argmax(-1) == target) & logits.isfinite().all(-1)

    def score(self, validation: Mapping[str, Any]) -> tuple[float, float]:
        """What is higher for the better of two epochs: accuracy, of equals the lower loss."""
        return validation[self.metric], -validation["loss"]


Task = SingleLabel
TASKS: dict[str, Task] = {task.name: task for task in (SingleLabel(),)}
SINGLE_LABEL = TASKS["single-label"]


def task_named(name: str) -> Task:
    """The task that a run or an artifact names. Raises UserError for one of a later version."""
    if name not in TASKS:
        raise UserError(
            f"The task {name} is not known here; known: {', '.join(TASKS)}. Upgrade understudy."
        )
    return TASKS[name]
