"""The optimiser: which parameters decay, which learn more slowly, and how fast at each step."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import ParametrizationList

from understudy.recipe import Train
from understudy.teach.learner import Learner

_MATRICES = (nn.Linear, _ConvNd, nn.MultiheadAttention, nn.RNNBase, ParametrizationList)
"""Layers whose weights are shrunk by weight decay."""


def create_optimizer(learner: Learner, train: Train) -> torch.optim.AdamW:
    """AdamW over all that learns. Each group has a `share` of the learning rate.

    Weight decay is for the weights of matrices and convolutions. Norms, biases, learned tokens and
    positions do not decay: nothing but their size would be lost. The backbone learns at
    `train.backbone_lr` of the rate.
    """
    decaying = _decaying(learner)
    backbone = {id(parameter) for parameter in learner.student.backbone.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in learner.parameters():
        if parameter.requires_grad:
            kind = (id(parameter) in backbone, id(parameter) in decaying)
            groups.setdefault(kind, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": train.weight_decay if decays else 0.0,
                "share": train.backbone_lr if is_backbone else 1.0,
            }
            for (is_backbone, decays), parameters in sorted(groups.items(), key=lambda one: one[0])
        ],
        lr=train.lr,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["share"]


def learning_rate(step: int, total_steps: int, train: Train) -> float:
    """After a linear warm-up: a cosine from `lr` to `min_lr`, or `lr` times a factor every so many
    epochs and never below `min_lr`.

    A function of the step alone, so that there is no state to resume.
    """
    warmup = train.warmup_epochs / train.epochs * total_steps
    if step < warmup:
        return train.lr * (step + 1) / (warmup + 1)
    if train.step_factor is not None:
        assert train.schedule_epochs is not None
        steps_taken = step * train.epochs // total_steps // train.schedule_epochs
        return max(train.min_lr, train.lr * train.step_factor**steps_taken)
    cosine_steps = (train.schedule_epochs or train.epochs) / train.epochs * total_steps
    share = min(1.0, (step - warmup) / max(1.0, cosine_steps - 1 - warmup))
    return train.min_lr + (train.lr - train.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def _decaying(module: nn.Module) -> set[int]:
    """Ids of the parameters that decay: of two dimensions or more, of a layer that multiplies.

    Of a weight-normalised layer that is the direction (`original1`), not the length.
    """
    found: set[int] = set()
    for layer in module.modules():
        if isinstance(layer, _MATRICES):
            for name, parameter in layer.named_parameters(recurse=False):
                if parameter.dim() >= 2 and "bias" not in name and name != "original0":
                    found.add(id(parameter))
    return found
