"""Validation: how good the student is after an epoch, and its teachers before the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.judge.predictions import Predictions
from understudy.judge.ranking import average_precisions, mean_average_precision
from understudy.judge.several import metrics_of_several
from understudy.judge.statistics import wilson
from understudy.judge.thresholds import choose_thresholds, describe
from understudy.progress import Track, untold
from understudy.teach.setup import Setup
from understudy.types import Batch, Output, Skipped


class Validation(NamedTuple):
    """figures: the task's loss, its metric, the share of hits and n. thresholds: where several
    labels may hold, what thresholds.json holds of these weights."""

    figures: dict[str, Any]
    thresholds: dict[str, Any] | None


@torch.no_grad()
def validate(setup: Setup, track: Track = untold) -> Validation:
    """The task's loss and metric on the validation split, without augmentation or smoothing."""
    setup.learner.eval()

    def recognise(batch: Batch) -> Output:
        with setup.device.autocast():
            return setup.learner(batch)

    figures, said = _measure(
        setup,
        _told(setup, setup.loaders.val, track, "validation"),
        recognise,
        "The student's output",
        "Lower train.lr, lengthen train.warmup_epochs, or use train.precision=fp32. The weights of "
        "the last finished epoch are kept.",
    )
    if said is None:
        return Validation(figures, None)
    chosen = choose_thresholds(said.probabilities, said.holds)
    return Validation(figures, describe(chosen, said.classes, "val", len(said)))


def judge_teachers(setup: Setup, track: Track = untold) -> dict[str, dict[str, Any]]:
    """The facts of every teacher with the metric of its own on the validation split, so that nobody
    learns from random numbers unawares; `val` is None where a teacher has no head."""
    judged = {}
    for name, targets in setup.teachers.items():
        val = None
        if targets.teacher.facts["head"] != "none":
            assert setup.loaders.for_teachers is not None
            scores, said = _measure(
                setup,
                _told(setup, setup.loaders.for_teachers, track, f"validation of {name}"),
                targets.answer,
                f"What the teacher {name} says",
                "Its weights are damaged, or train.precision is too small for it.",
            )
            targets.flush()
            val = _figure(scores) if said is None else metrics_of_several(said)["map"]
        judged[name] = targets.teacher.facts | {"val": val}
    return judged


def _figure(scores: dict[str, Any]) -> dict[str, Any]:
    correct, n = round(scores["top1"] * scores["n"]), scores["n"]
    low, high = wilson(correct, n)
    return {"value": scores["top1"], "low": low, "high": high, "n": n, "method": "wilson"}


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
) -> tuple[dict[str, Any], Predictions | None]:
    """Over the clips of all processes, each of which takes its own part of them: figures, and where
    several labels may hold, what was said of each clip, since those figures are no sums.

    what, advice: begin and end the message where an output is no finite number.
    """
    device, task = setup.device, setup.task
    sums = torch.zeros(3, dtype=device.sum_type, device=device.torch)
    skipped: list[Skipped] = []
    finite, rows, each = [], [], []
    for batch in loader:
        skipped += batch.skipped
        if len(batch) == 0:
            continue
        moved = batch.to(device.torch)
        logits = recognise(moved).logits
        sums[0] += task.loss(logits, moved.target).detach() * len(moved)
        sums[1] += task.hits(logits, moved.target).sum()
        if task.several:
            each.append(logits.float())
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
    figures = {"loss": loss / n, task.hit_rate: correct / n, "n": int(n)}
    if not task.several:
        return figures, None
    own = zip(torch.cat(rows).tolist(), torch.cat(each).cpu(), strict=True) if rows else ()
    said = _predictions(setup, setup.processes.gather(own))
    of_each = average_precisions(said.probabilities, said.holds)
    return figures | {task.metric: float(mean_average_precision(of_each)[0])}, said


def _predictions(setup: Setup, pairs: list[tuple[int, Tensor]]) -> Predictions:
    """What was said of validation clips: rows with logits (K,)."""
    manifest, rows = setup.manifest, [row for row, _ in sorted(pairs, key=lambda pair: pair[0])]
    logits = dict(pairs)
    return Predictions(
        record=rows,
        id=[manifest.id_of(row) for row in rows],
        path=[manifest.records[row].path for row in rows],
        group=manifest.groups(rows),
        target=torch.from_numpy(manifest.holds(rows, manifest.classes)),
        logits=torch.stack([logits[row] for row in rows]),
        classes=manifest.classes,
        split="val",
        task=setup.task,
    )
