"""Validation: how good the student is after an epoch, and its teachers before the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from understudy.errors import UserError
from understudy.judge.statistics import wilson
from understudy.progress import Track, untold
from understudy.task import SINGLE_LABEL
from understudy.teach.setup import Setup
from understudy.types import Batch, Output, Skipped


@torch.no_grad()
def validate(setup: Setup, track: Track = untold) -> dict[str, Any]:
    """Cross-entropy and top-1 on the validation split, without augmentation or smoothing."""
    setup.learner.eval()

    def recognise(batch: Batch) -> Output:
        with setup.device.autocast():
            return setup.learner(batch)

    return _measure(
        setup,
        _told(setup, setup.loaders.val, track, "validation"),
        recognise,
        "The student's output",
        "Lower train.lr, lengthen train.warmup_epochs, or use train.precision=fp32. The weights of "
        "the last finished epoch are kept.",
    )


def judge_teachers(setup: Setup, track: Track = untold) -> dict[str, dict[str, Any]]:
    """The facts of every teacher with its own accuracy on the validation split, so that nobody
    learns from random numbers unawares; `val` is None where a teacher has no head."""
    judged = {}
    for name, targets in setup.teachers.items():
        val = None
        if targets.teacher.facts["head"] != "none":
            assert setup.loaders.for_teachers is not None
            scores = _measure(
                setup,
                _told(setup, setup.loaders.for_teachers, track, f"validation of {name}"),
                targets.answer,
                f"What the teacher {name} says",
                "Its weights are damaged, or train.precision is too small for it.",
            )
            targets.flush()
            correct, n = round(scores["top1"] * scores["n"]), scores["n"]
            low, high = wilson(correct, n)
            val = {"value": scores["top1"], "low": low, "high": high, "n": n, "method": "wilson"}
        judged[name] = targets.teacher.facts | {"val": val}
    return judged


def _told(setup: Setup, loader: Iterable[Batch], track: Track, title: str) -> Iterable[Batch]:
    """Each of several processes takes its part of the clips."""
    clips = len(setup.manifest.rows("val")) // setup.processes.count
    return track(loader, title, clips, lambda batch: batch.clips_asked_for)


def _measure(
    setup: Setup,
    loader: Iterable[Batch],
    recognise: Callable[[Batch], Output],
    what: str,
    advice: str,
) -> dict[str, Any]:
    """Over the clips of all processes, each of which takes its own part of them.

    what, advice: begin and end the message where an output is no finite number.
    """
    device = setup.device
    sums = torch.zeros(3, dtype=device.sum_type, device=device.torch)
    skipped: list[Skipped] = []
    finite, rows = [], []
    for batch in loader:
        skipped += batch.skipped
        if len(batch) == 0:
            continue
        moved = batch.to(device.torch)
        logits = recognise(moved).logits
        sums[0] += SINGLE_LABEL.loss(logits, moved.target).detach() * len(moved)
        sums[1] += SINGLE_LABEL.hits(logits, moved.target).sum()
        sums[2] += len(moved)
        finite.append(logits.isfinite().all(dim=1))  # looked at later: a GPU is not waited for here
        rows.append(batch.index)
    setup.skipped.add(setup.processes.gather(skipped))
    broken = torch.cat(rows)[~torch.cat(finite).cpu()].tolist() if rows else []
    broken = setup.processes.gather(broken)
    loss, correct, n = setup.processes.add_up(sums).tolist()
    if not n:
        raise UserError("No validation clip could be read, so there is nothing to choose by.")
    if broken:
        raise UserError(
            f"{what} is not a finite number for {len(broken)} of {int(n)} validation clips, the "
            f"first of them {setup.manifest.id_of(min(broken))}. {advice}"
        )
    return {"loss": loss / n, "top1": correct / n, "n": int(n)}
