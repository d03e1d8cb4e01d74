"""Validation: an answer that is no number is counted, named and never right."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from understudy.errors import UserError
from understudy.task import SINGLE_LABEL
from understudy.teach.processes import Processes
from understudy.teach.validate import judge_teachers, validate
from understudy.types import Batch, Output


def batch(rows: list[int]) -> Batch:
    count = len(rows)
    return Batch(
        frames=torch.zeros(count, 1, 3, 8, 8, dtype=torch.uint8),
        lengths=torch.ones(count, dtype=torch.int64),
        target=torch.zeros(count, dtype=torch.int64),
        index=torch.tensor(rows),
    )


class Breaks(torch.nn.Module):
    """Says the first class of every clip, and NaN of row 5."""

    def forward(self, clips: Batch) -> Output:
        logits = torch.tensor([[2.0, 0.0]]).repeat(len(clips), 1)
        logits[clips.index == 5] = torch.nan
        return Output(logits, logits)


def setup(rows: list[list[int]]) -> Any:
    loader = [batch(some) for some in rows]
    cpu = torch.device("cpu")
    teacher = SimpleNamespace(facts={"head": "probe"})
    targets = SimpleNamespace(teacher=teacher, answer=Breaks(), flush=lambda: None)
    return SimpleNamespace(
        device=SimpleNamespace(torch=cpu, sum_type=torch.float64, autocast=nullcontext),
        processes=Processes(cpu),
        learner=Breaks(),
        loaders=SimpleNamespace(val=loader, for_teachers=loader),
        manifest=SimpleNamespace(id_of=lambda row: f"clip {row}", rows=lambda split: [3, 4]),
        skipped=SimpleNamespace(add=lambda skipped: None),
        teachers={"big": targets},
        task=SINGLE_LABEL,
    )


def test_a_student_whose_answers_are_no_numbers_is_stopped_with_the_clips_named():
    assert validate(cast(Any, setup([[3, 4], [6]]))).figures["top1"] == 1
    with pytest.raises(
        UserError, match=r"student's output .* for 1 of 4 .* clip 5\. Lower train\.lr"
    ):
        validate(cast(Any, setup([[3, 4], [5, 6]])))


def test_so_is_a_teacher():
    with pytest.raises(
        UserError, match=r"the teacher big says .* for 1 of 3 .* clip 5\. Its weights"
    ):
        judge_teachers(cast(Any, setup([[3, 5], [6]])))
