"""What a student is taught by:

    L = sum over teachers (alpha * L_feature + beta * L_response) + gamma * L_task

Losses hold no parameters; the student owns its projection into the teacher's space.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.recipe import Distill
from understudy.task import SINGLE_LABEL, Task
from understudy.types import Output


class Taught(NamedTuple):
    """What one teacher says about a batch. weights: of its parts of the loss. embedding: the
    student's, in this teacher's space; None: as the student gives it."""

    output: Output
    weights: Distill
    embedding: Tensor | None = None


class Losses(NamedTuple):
    """Scalars: the weighted `total`, and by name its unweighted parts: task, feature and response;
    with several teachers feature_NAME and response_NAME."""

    total: Tensor
    parts: dict[str, Tensor]


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance between L2-normalised embeddings (B, E), averaged over the batch.

    It equals 2 - 2 cos, between 0 and 4 whatever E is. A mean over E as well would make the term
    E times weaker, so that alpha = 1 would mean next to nothing for E = 512.
    """
    distance = F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)
    return distance.square().sum(-1).mean()


def response_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)) of logits (B, K), batch mean.

    Hinton et al. 2015, section 2: T^2 keeps the gradient's size independent of T.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(teacher / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


def teaching_loss(
    student: Output,
    target: Tensor,
    taught: dict[str, Taught],
    gamma: float = 1.0,
    *,
    task: Task = SINGLE_LABEL,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Losses:
    """All parts of the loss. Without a teacher it is that of the task alone, unweighted."""
    labels = task.loss(student.logits, target, class_weights, smoothing)
    parts = {"task": labels}
    total = gamma * labels if taught else labels
    for name, (output, weights, embedding) in taught.items():
        suffix = f"_{name}" if len(taught) > 1 else ""
        if weights.alpha:
            own = student.embedding if embedding is None else embedding
            parts[f"feature{suffix}"] = feature = feature_loss(own, output.embedding)
            total = total + weights.alpha * feature
        if weights.beta:
            parts[f"response{suffix}"] = response = response_loss(
                student.logits, output.logits, weights.temperature
            )
            total = total + weights.beta * response
    return Losses(total, parts)


def balanced_class_weights(counts: list[int]) -> Tensor:
    """Weights (K,) inversely proportional to the clips of a class, 1 on average over the clips."""
    number = torch.tensor(counts, dtype=torch.float32)
    return number.sum() / (len(counts) * number.clamp(min=1))
