"""What all stages share behaves the same for all of them."""

import dataclasses

import pytest
import torch
from torch import nn

from understudy.types import Batch, Output, Record, Skipped, parameter_count


def test_a_batch_moves_whole():
    batch = Batch(
        frames=torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8),
        lengths=torch.tensor([3, 1]),
        target=torch.tensor([0, 1]),
        index=torch.tensor([7, 9]),
        view=4,
        skipped=(Skipped(8, "bad.mp4", "empty"),),
        taught=Output(torch.zeros(2, 5), torch.zeros(2, 6)),
        features=torch.zeros(2, 3, 4),
    )
    moved = batch.to("meta")
    tensors = 0
    for field in dataclasses.fields(Batch):
        before, after = getattr(batch, field.name), getattr(moved, field.name)
        assert type(after) is type(before), field.name
        for tensor in after if isinstance(after, Output) else [after]:
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "meta", field.name
                tensors += 1
    assert tensors == 7
    assert (moved.view, moved.skipped, len(moved)) == (4, batch.skipped, 2)
    assert batch.frames.device.type == "cpu", "the old batch stays where it was"


def test_a_batch_without_teacher_or_features_moves_too():
    ones = torch.ones(1, dtype=torch.int64)
    moved = Batch(torch.zeros(1, 1, 3, 8, 8, dtype=torch.uint8), ones, ones, ones).to("meta")
    assert moved.taught is None
    assert moved.features is None


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
