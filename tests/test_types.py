"""What all stages share behaves the same for all of them."""

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from understudy.task import SINGLE_LABEL
from understudy.types import Batch, Output, Record, Skipped, Unanswered, parameter_count


def every_tensor(content: object) -> Iterator[torch.Tensor]:
    """All tensors of a batch, however deep."""
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from every_tensor(value)
    elif isinstance(content, tuple):
        for value in content:
            yield from every_tensor(value)
    elif dataclasses.is_dataclass(content):
        for field in dataclasses.fields(content):
            yield from every_tensor(getattr(content, field.name))


@pytest.fixture
def batch() -> Batch:
    frames = torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8)
    return Batch(
        frames=frames,
        lengths=torch.tensor([3, 1]),
        target=torch.tensor([0, 1]),
        index=torch.tensor([7, 9]),
        view=4,
        skipped=(Skipped(8, "bad.mp4", "empty"),),
        taught={"a": Output(torch.zeros(2, 5), torch.zeros(2, 6))},
        unanswered={
            "b": Unanswered(frames[:1], torch.tensor([3]), torch.tensor([0]), (7,), full=True)
        },
        features=torch.zeros(2, 3, 4),
    )


def test_a_batch_moves_whole(batch):
    moved = batch.to("meta")
    tensors = list(every_tensor(moved))
    assert len(tensors) == len(list(every_tensor(batch))) == 10
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    for field in dataclasses.fields(Batch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        assert type(after) is type(before), field.name
    assert (moved.view, moved.skipped, len(moved)) == (4, batch.skipped, 2)
    assert (moved.unanswered["b"].rows, moved.unanswered["b"].full) == ((7,), True)
    assert batch.frames.device.type == "cpu", "the old batch stays where it was"


def test_a_batch_without_teacher_or_features_moves_too():
    ones = torch.ones(1, dtype=torch.int64)
    moved = Batch(torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8), ones, ones, ones).to("meta")
    assert (moved.taught, moved.unanswered, moved.features) == ({}, {}, None)


def test_parameters_are_counted_once_and_buffers_never():
    layer = nn.Linear(4, 4)
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(layer, norm, layer)
    layer.bias.requires_grad_(False)
    assert parameter_count(model) == 4 * 4 + 4 + 2 * 4


def test_a_record_cannot_change_after_it_was_checked():
    record = Record("a.mp4", "sit", "train", "ann")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.split = "test"  # pyright: ignore


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_finite_number_is_never_right(value: float, place: int):
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    logits[0, place] = value
    for target in (0, 1):
        assert SINGLE_LABEL.hits(logits, torch.tensor([target, 1])).tolist() == [False, True]
