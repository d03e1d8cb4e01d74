"""What attention costs: parameters, arithmetic and time of a training step. See attention.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from understudy.models import create_model
from understudy.recipe import Train
from understudy.ship.bench.subjects import natural_clips
from understudy.ship.macs import count_macs
from understudy.types import Recognizer, parameter_count

ROUNDS, BATCH, CLASSES = 40, 32, 10
RESAMPLES = 2000


def measure_costs(
    kinds: Sequence[str], widths: Sequence[int], size: int
) -> dict[str, dict[str, Any]]:
    """By kind of attention. Steps take turns on one thread; ratios are to the first kind."""
    models = {kind: build(kind, widths, size) for kind in kinds}
    steps = {kind: Step(model) for kind, model in models.items()}
    torch.set_num_threads(1)
    seconds = np.zeros((ROUNDS + 1, len(kinds)))
    for turn in seconds:
        for place, step in enumerate(steps.values()):
            start = time.perf_counter()
            step()
            turn[place] = time.perf_counter() - start
    seconds = seconds[1:]  # the first round warms up
    drawn = np.random.default_rng(0).integers(ROUNDS, size=(RESAMPLES, ROUNDS))
    medians = np.median(seconds[drawn], axis=1)
    low, high = np.percentile(medians / medians[:, :1], [2.5, 97.5], axis=0)
    typical = np.median(seconds, axis=0)
    picture = natural_clips(1, 1, size)
    return {
        kind: {
            "parameters": parameter_count(models[kind]),
            "gmacs": round(count_macs(models[kind].eval(), picture) / 1e9, 5),
            "step_ms": round(float(typical[i]) * 1e3, 2),
            "step_ratio": round(float(typical[i] / typical[0]), 3),
            "step_ratio_low": round(float(low[i]), 3),
            "step_ratio_high": round(float(high[i]), 3),
        }
        for i, kind in enumerate(kinds)
    }


def build(kind: str, widths: Sequence[int], size: int) -> Recognizer:
    torch.manual_seed(0)
    return create_model("cnn-attention", CLASSES, attention=kind, widths=widths, input_size=size)


class Step:
    """Forward, loss, backward and optimiser on one batch of 32 pictures."""

    def __init__(self, model: Recognizer) -> None:
        settings = Train()
        self.model = model.train()
        self.optimizer = torch.optim.AdamW(model.parameters(), settings.lr)
        self.frames = natural_clips(BATCH, 1, model.input_size)
        self.target = torch.arange(BATCH) % CLASSES

    def __call__(self) -> None:
        loss = F.cross_entropy(self.model(self.frames).logits, self.target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
