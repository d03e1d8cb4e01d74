"""The learning rate as a function of the step, so that there is no state to resume."""

from __future__ import annotations

import math

from understudy.recipe import Train


def learning_rate(step: int, total_steps: int, train: Train) -> float:
    """Cosine from `lr` to `min_lr` over all optimiser steps, after a linear warm-up."""
    warmup = train.warmup_epochs / train.epochs * total_steps
    if step < warmup:
        return train.lr * (step + 1) / (warmup + 1)
    share = min(1.0, (step - warmup) / max(1.0, total_steps - 1 - warmup))
    return train.min_lr + (train.lr - train.min_lr) * 0.5 * (1 + math.cos(math.pi * share))
