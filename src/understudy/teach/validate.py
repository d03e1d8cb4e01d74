"""Validation: how good the student is after an epoch, and its teachers before the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from understudy.errors import UserError
from understudy.judge.statistics import wilson
from understudy.task import SINGLE_LABEL
from understudy.teach.setup import Setup
from understudy.types import Batch, Output


@torch.no_grad()
def validate(setup: Setup) -> dict[str, Any]:
    """Cross-entropy and top-1 on the validation split, without augmentation or smoothing."""
    setup.learner.eval()

    def recognise(batch: Batch) -> Output:
        with setup.device.autocast():
            return setup.learner(batch)

    found = _measure(setup, setup.loaders.val, recognise)
    if not math.isfinite(found["loss"]):
        raise UserError(
            "The loss on the validation clips is no longer a number; the weights of the last "
            f"finished epoch are kept. Lower train.lr (now {setup.recipe.train.lr:g}), or use "
            "train.precision=fp32."
        )
    return found


def judge_teachers(setup: Setup) -> dict[str, dict[str, Any]]:
    """The facts of every teacher with its own accuracy on the validation split, so that nobody
    learns from random numbers unawares; `val` is None where a teacher has no head."""
    judged = {}
    for name, targets in setup.teachers.items():
        val = None
        if targets.teacher.facts["head"] != "none":
            assert setup.loaders.for_teachers is not None
            scores = _measure(setup, setup.loaders.for_teachers, targets.answer)
            targets.flush()
            correct, n = round(scores["top1"] * scores["n"]), scores["n"]
            low, high = wilson(correct, n)
            val = {"value": scores["top1"], "low": low, "high": high, "n": n, "method": "wilson"}
        judged[name] = targets.teacher.facts | {"val": val}
    return judged


def _measure(
    setup: Setup, loader: Iterable[Batch], recognise: Callable[[Batch], Output]
) -> dict[str, Any]:
    """Over the clips of all processes, each of which takes its own part of them."""
    device = setup.device
    sums = torch.zeros(3, dtype=device.sum_type, device=device.torch)
    skipped = []
    for batch in loader:
        skipped += batch.skipped
        if len(batch) == 0:
            continue
        moved = batch.to(device.torch)
        logits = recognise(moved).logits
        sums[0] += SINGLE_LABEL.loss(logits, moved.target).detach() * len(moved)
        sums[1] += SINGLE_LABEL.hits(logits, moved.target).sum()
        sums[2] += len(moved)
    setup.skipped.add(setup.processes.gather(skipped))
    loss, correct, n = setup.processes.add_up(sums).tolist()
    if not n:
        raise UserError("No validation clip could be read, so there is nothing to choose by.")
    return {"loss": loss / n, "top1": correct / n, "n": int(n)}
