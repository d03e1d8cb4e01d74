"""What a student is taught by:

    L = sum over teachers (alpha * L_feature + beta * L_response) + gamma * L_task

Losses hold no parameters; the student owns its projection into the teacher's space.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

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
    with several teachers feature_NAME and response_NAME. cosines: of each feature part the mean
    cosine between student and teacher, without a gradient: cosine or cosine_NAME.
    labelled: how many clips of the batch have a label; the task's part is the mean over these."""

    total: Tensor
    parts: dict[str, Tensor]
    cosines: dict[str, Tensor]
    labelled: Tensor


def feature_loss(
    student: Tensor, teacher: Tensor, kind: Literal["cosine", "mse"] = "cosine"
) -> Tensor:
    """Squared distance between L2-normalised embeddings (B, E), averaged over the batch.

    `cosine` sums over E: it equals 2 - 2 cos, between 0 and 4 whatever E is. `mse` is the mean over
    E as well, which is E times weaker: for E = 512 it is 0.0039 where cos = 0.
    """
    squares = (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square()
    return squares.mean() if kind == "mse" else squares.sum(-1).mean()


def teaching_loss(
    student: Output,
    target: Tensor,
    taught: dict[str, Taught],
    gamma: float = 1.0,
    *,
    task: Task = SINGLE_LABEL,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
    labelled_share: float = 1.0,
) -> Losses:
    """All parts of the loss. Without a teacher it is that of the task alone, unweighted.

    labelled_share: of the clips of training. In the total the task's part is the sum over the
    labelled clips by as many as a batch of this size has on average. So each of them weighs the
    same in whatever batch and process it stands, and gamma weighs the mean over all of them.
    """
    labels = task.loss(student.logits, target, class_weights, smoothing)
    labelled = task.labelled(target).sum()
    parts, cosines = {"task": labels}, {}
    total = gamma * labels if taught else labels
    if labelled_share < 1:
        total = total * labelled / (max(labelled_share, 1e-12) * len(target))
    for name, (output, weights, embedding) in taught.items():
        suffix = f"_{name}" if len(taught) > 1 else ""
        if weights.alpha:
            own = student.embedding if embedding is None else embedding
            parts[f"feature{suffix}"] = feature = feature_loss(
                own, output.embedding, weights.feature_loss
            )
            total = total + weights.alpha * feature
            cosines[f"cosine{suffix}"] = F.cosine_similarity(own.detach(), output.embedding).mean()
        if weights.beta:
            parts[f"response{suffix}"] = response = task.response(
                student.logits, output.logits, weights.temperature
            )
            total = total + weights.beta * response
    return Losses(total, parts, cosines, labelled)
