"""Who teaches: a CLIP-class model or an earlier run, each a frozen `Recognizer` plus its record.

A teacher sees clips as suits it, at its own size and with its own frames; what it shares with the
student is the augmentation draw. One file for each kind; `create_teacher` knows them all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.recipe import Data, Distill, Teacher
from understudy.task import SINGLE_LABEL, Task
from understudy.types import Recognizer, Sampling


class FrozenTeacher(NamedTuple):
    """recognizer: in evaluation mode, without gradients, on the CPU. sampling: how it looks at
    clips. facts: what `teacher.json` of the run holds."""

    recognizer: Recognizer
    sampling: Sampling
    facts: dict[str, Any]
    embedding_dim: int


class Fitting(NamedTuple):
    """What a linear probe is fitted on: unit embeddings (N, E) on the CPU, class indices (N,) or,
    where several labels may hold, (N, K) float32 of 0 and 1, and the group of each clip."""

    embeddings: Tensor
    targets: Tensor
    groups: list[str]


FitHead = Callable[[FrozenTeacher], nn.Module]
"""Gives the head that fits a teacher without one to the training clips."""


def create_teacher(
    config: Teacher,
    weights: Distill,
    data: Data,
    classes: tuple[str, ...],
    fit_probe: FitHead,
    *,
    task: Task = SINGLE_LABEL,
) -> FrozenTeacher:
    """Build the teacher that a recipe names, in evaluation mode, without gradients.

    weights: what its parts of the loss weigh. data: how the student looks at clips. fit_probe:
    makes a head for a tower whose head is a linear probe. task: of the student. Raises UserError if
    the teacher's head was never trained for these classes and this task although its logits count,
    or if it cannot look at clips as it is told to.
    """
    from understudy.teach.teachers.clip import clip_teacher
    from understudy.teach.teachers.run import run_teacher

    if config.kind == "run":
        return run_teacher(config, weights, classes, task)
    return clip_teacher(config, weights, data, classes, fit_probe, task)


def frozen(recognizer: Recognizer, sampling: Sampling, facts: dict[str, Any]) -> FrozenTeacher:
    """Try a teacher on a clip of the kind that it will see, and note who it is."""
    frames, side = sampling.frames, sampling.size
    pixels = torch.zeros(1, frames, 3, side, side, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            embedding = recognizer.eval()(pixels, torch.tensor([frames])).embedding
    except (UserError, RuntimeError, ValueError, AssertionError) as error:
        raise UserError(
            f"The teacher {facts['name']} cannot look at clips of {sampling.frames} frames of "
            f"{sampling.size} pixels a side: {error} Set size and frames of the teacher to what "
            "it was built for, or leave them out."
        ) from error
    facts |= {
        "embedding_dim": embedding.shape[1],
        "weights_sha256": weights_sha256(recognizer),
        "looks_at": {
            "size": sampling.size, "frames": sampling.frames, "sampling": sampling.method,
            "stride_s": sampling.stride_s,
        },
    }  # fmt: skip
    return FrozenTeacher(recognizer, sampling, facts, embedding.shape[1])


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers, so that stored outputs never outlive their teacher."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
