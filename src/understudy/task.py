"""What is asked of a clip: its loss, its probabilities, its metric, and what "best" means.

Training, evaluation and streams ask the task and not the shape of a target. One label for each
clip, or several; labels over time are rows of their own in a manifest, each with its times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.errors import UserError

EVEN = 0.5
"""The probability from which a label of several holds where no thresholds were chosen."""


class Task(Protocol):
    """What all tasks have. B clips, K classes."""

    @property
    def name(self) -> str:
        """As runs, contracts and predictions write it."""
        ...

    @property
    def several(self) -> bool:
        """Whether several classes may hold at once. Where they do not, probabilities add up to
        1."""
        ...

    @property
    def metric(self) -> str:
        """The figure of `history.json` and `metrics.json` that checkpoints and models are chosen
        by."""
        ...

    @property
    def metric_title(self) -> str:
        """The same, for people."""
        ...

    @property
    def hit_rate(self) -> str:
        """What the share of `hits` is called in the same files."""
        ...

    def labelled(self, target: Tensor) -> Tensor:
        """(B,) bool: which targets are labels; the others are rows that only a teacher knows."""
        ...

    def loss(
        self,
        logits: Tensor,
        target: Tensor,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """The mean loss of the labelled clips of logits (B, K), a scalar; 0 where there is none."""
        ...

    def response(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 times the divergence of the student's probabilities from the teacher's, both at
        temperature T, from logits (B, K); the mean over the batch, a scalar.

        Hinton et al. 2015, section 2: T^2 keeps the gradient's size independent of T.
        """
        ...

    def class_weights(self, counts: Sequence[int], clips: int) -> Tensor:
        """Weights (K,) for `loss` by which rare classes weigh as much as frequent ones.

        counts: of the clips of each class. clips: all that are labelled.
        """
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """(..., K) logits to probabilities."""
        ...

    def hits(self, logits: Tensor, target: Tensor, thresholds: Tensor | None = None) -> Tensor:
        """(B,) bool: whether all that is said of a clip is right and nothing is left out.

        thresholds: (K,) probabilities from which labels hold, where several may; `EVEN` without.
        Logits that are not all finite numbers are never right.
        """
        ...

    def score(self, validation: Mapping[str, Any]) -> tuple[float, float]:
        """What is higher for the better of two epochs: the metric, of equals the lower loss."""
        ...


@dataclass(frozen=True, slots=True)
class SingleLabel:
    """Exactly one of K classes holds. Targets are (B,) int64, -1 without a label."""

    name: str = "single-label"
    several: bool = False
    metric: str = "top1"
    metric_title: str = "top-1 accuracy"
    hit_rate: str = "top1"

    def labelled(self, target: Tensor) -> Tensor:
        return target >= 0

    def loss(
        self,
        logits: Tensor,
        target: Tensor,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Cross-entropy; with class weights their weighted mean, as in PyTorch."""
        labelled = self.labelled(target)
        summed = F.cross_entropy(
            logits,
            target,
            weight=class_weights,
            ignore_index=-1,
            label_smoothing=smoothing,
            reduction="sum",
        )
        if class_weights is None:
            return summed / labelled.sum().clamp(min=1)
        weight = (class_weights[target.clamp(min=0)] * labelled).sum()
        return summed / torch.where(labelled.any(), weight, 1.0)

    def response(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """T^2 * KL(softmax(teacher / T) || softmax(student / T))."""
        return temperature**2 * F.kl_div(
            F.log_softmax(student / temperature, dim=-1),
            F.log_softmax(teacher / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )

    def class_weights(self, counts: Sequence[int], clips: int) -> Tensor:
        """Inversely proportional to the clips of a class, 1 on average over the clips."""
        return clips / (len(counts) * torch.tensor(counts, dtype=torch.float32).clamp(min=1))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax: they add up to 1."""
        return torch.softmax(logits, dim=-1)

    def hits(self, logits: Tensor, target: Tensor, thresholds: Tensor | None = None) -> Tensor:
        """Whether the class with the highest logit is the target, the first of several equals
        counting as the highest."""
        return (logits.argmax(-1) == target) & logits.isfinite().all(-1)

    def score(self, validation: Mapping[str, Any]) -> tuple[float, float]:
        return validation[self.metric], -validation["loss"]


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """Each of K classes holds or not, whatever the others do. Targets are (B, K) float32 of 0 and
    1, NaN without a label."""

    name: str = "multi-label"
    several: bool = True
    metric: str = "map"
    metric_title: str = "mAP"
    hit_rate: str = "exact_match"

    def labelled(self, target: Tensor) -> Tensor:
        return ~target.isnan().any(-1)

    def loss(
        self,
        logits: Tensor,
        target: Tensor,
        class_weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Binary cross-entropy, the mean over classes too; class weights are those of the classes
        that hold (`pos_weight`). Smoothing s turns 0 and 1 into s/2 and 1 - s/2."""
        labelled = self.labelled(target)
        known = torch.where(labelled[:, None], target, torch.zeros_like(target))
        of_each = F.binary_cross_entropy_with_logits(
            logits, known * (1 - smoothing) + smoothing / 2,
            pos_weight=class_weights, reduction="none",
        ).mean(-1)  # fmt: skip
        return (of_each * labelled).sum() / labelled.sum().clamp(min=1)

    def response(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Of each class by itself: T^2 * KL between sigmoid(teacher / T) and sigmoid(student / T),
        each with its complement; the mean over classes too, as the loss is."""
        student, teacher = student / temperature, teacher / temperature
        holds = torch.sigmoid(teacher)
        # KL = sum of p (log p - log q) over "holds" and "does not", which is 1 - p.
        divergence = holds * (F.logsigmoid(teacher) - F.logsigmoid(student))
        divergence = divergence + (1 - holds) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
        return temperature**2 * divergence.mean()

    def class_weights(self, counts: Sequence[int], clips: int) -> Tensor:
        """Clips without a class over those with it."""
        number = torch.tensor(counts, dtype=torch.float32)
        return (clips - number).clamp(min=1) / number.clamp(min=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid: of each class by itself."""
        return torch.sigmoid(logits)

    def hits(self, logits: Tensor, target: Tensor, thresholds: Tensor | None = None) -> Tensor:
        """Whether exactly the labels of the clip hold."""
        said = self.probabilities(logits) >= (EVEN if thresholds is None else thresholds)
        return (said == (target == 1)).all(-1) & logits.isfinite().all(-1) & self.labelled(target)

    def score(self, validation: Mapping[str, Any]) -> tuple[float, float]:
        return validation[self.metric], -validation["loss"]


SINGLE_LABEL: Task = SingleLabel()
MULTI_LABEL: Task = MultiLabel()
TASKS: dict[str, Task] = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}


def task_of(is_multi_label: bool) -> Task:
    """The task that the labels of a manifest set."""
    return MULTI_LABEL if is_multi_label else SINGLE_LABEL


def task_that_gave(figures: Mapping[str, Any]) -> Task:
    """The task whose metric is among figures of `history.json` or `metrics.json`."""
    return MULTI_LABEL if MULTI_LABEL.metric in figures else SINGLE_LABEL


def task_named(name: str) -> Task:
    """The task that a run or an artifact names. Raises UserError for one of a later version."""
    if name not in TASKS:
        raise UserError(
            f"The task {name} is not known here; known: {', '.join(TASKS)}. Upgrade understudy."
        )
    return TASKS[name]
