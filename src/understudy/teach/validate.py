"""Validation: how good the student is after an epoch, and the teacher before the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch

from understudy.errors import UserError
from understudy.judge.statistics import wilson
from understudy.models.frames import FramesRecognizer
from understudy.teach.losses import task_loss
from understudy.teach.prepare import Lesson
from understudy.types import Batch, Output


def student_output(lesson: Lesson, student: torch.nn.Module, batch: Batch) -> Output:
    """The student's output from pixels, or from features that were computed before."""
    if batch.features is None:
        return student(batch.frames, batch.lengths)
    frames_student = cast(FramesRecognizer, lesson.accelerator.unwrap_model(student))
    with lesson.accelerator.autocast():
        return frames_student.forward_head(batch.features, batch.lengths)


@torch.no_grad()
def validate(lesson: Lesson) -> dict[str, Any]:
    """Cross-entropy and top-1 on the validation split, without augmentation or smoothing."""
    lesson.learner.eval()
    return _measure(lesson, lambda batch: student_output(lesson, lesson.learner, batch))


@torch.no_grad()
def judge_teacher(lesson: Lesson) -> dict[str, Any] | None:
    """The teacher's own accuracy on the validation split, so that nobody learns from noise
    unawares; None where the teacher has no head."""
    targets, teacher = lesson.targets, lesson.teacher
    assert targets is not None
    assert teacher is not None
    if teacher.facts["head"] == "none":
        return None
    scores = _measure(lesson, targets.teach)
    correct, n = round(scores["top1"] * scores["n"]), scores["n"]
    low, high = wilson(correct, n)
    return {"value": scores["top1"], "low": low, "high": high, "n": n, "method": "wilson"}


def _measure(lesson: Lesson, recognize: Callable[[Batch], Output]) -> dict[str, Any]:
    loss = correct = n = 0.0
    for batch in lesson.val_loader:
        lesson.skip(batch.skipped)
        if len(batch) == 0:
            continue
        batch = batch.to(lesson.accelerator.device)
        logits = recognize(batch).logits.float()
        loss += task_loss(logits, batch.target).item() * len(batch)
        correct += (logits.argmax(-1) == batch.target).sum().item()
        n += len(batch)
    if not n:
        raise UserError("No validation clip could be read, so there is nothing to choose by.")
    return {"loss": loss / n, "top1": correct / n, "n": int(n)}
