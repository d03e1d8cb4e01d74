"""Gradient truncation: whose gradients, and how much memory."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from understudy.models import create_model
from understudy.models.recurrent import RecurrentRecognizer

TINY: dict[str, Any] = {"input_size": 16, "dim": 16, "heads": 2, "mlp_dim": 24, "dropout": 0.0}
IMAGE = {"recurrent_dropout": 0.0}
CASES = [("rvit", {}), ("rvit-image", IMAGE)]


def tiny(name: str, options: dict[str, Any], gradient_frames: int | None) -> RecurrentRecognizer:
    torch.manual_seed(0)
    model = create_model(name, 3, **TINY, **options, gradient_frames=gradient_frames)
    return cast(RecurrentRecognizer, model.train())


def clips(batch: int, frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randint(0, 256, (batch, frames, 3, 16, 16), dtype=torch.uint8, generator=generator)


def loss_of(logits: Tensor) -> Tensor:
    return logits.log_softmax(1)[:, 0].sum()


def gradients(model: RecurrentRecognizer) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in model.named_parameters()
    }


@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradients_are_those_of_the_last_frames_of_each_clip(name, options):
    """By hand: each clip alone, stepped without a graph up to its last three frames."""
    frames, lengths = clips(4, 7), [7, 2, 3, 5]
    model = tiny(name, options, 3)
    output = model(frames, torch.tensor(lengths))
    loss_of(output.logits).backward()

    other = tiny(name, options, None)
    for row, length in enumerate(lengths):
        state, logits = other.init_state(1), None
        for t in range(length):
            with torch.set_grad_enabled(t >= length - 3):
                given, state = other.step(frames[row : row + 1, t], state)
                logits = given.logits
        assert logits is not None
        torch.testing.assert_close(output.logits[row], logits[0])
        loss_of(logits).backward()
    expected = gradients(other)
    for parameter, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[parameter], msg=lambda m, p=parameter: p + m)
    assert any(gradient.any() for gradient in expected.values())


@pytest.mark.parametrize(("name", "options"), CASES)
def test_what_lies_before_the_last_frames_still_counts_but_is_no_longer_learned_from(name, options):
    frames = clips(2, 6)
    truncated, whole = tiny(name, options, 2), tiny(name, options, None)
    answers, learned = [], []
    for model in (truncated, whole):
        logits = model(frames).logits
        loss_of(logits).backward()
        answers.append(logits)
        learned.append(gradients(model)["backbone.encoder.blocks.0.gate.qkv_h.weight"])
    torch.testing.assert_close(answers[0], answers[1])
    assert not torch.allclose(learned[0], learned[1])


def saved_bytes(model: RecurrentRecognizer, frames: Tensor) -> int:
    """Bytes that the graph of a training step keeps, each storage once."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(model(frames).logits)
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    loss.backward()
    return total


@pytest.mark.parametrize(("name", "options"), CASES)
def test_memory_of_training_does_not_grow_with_the_clip(name, options):
    truncated, whole = tiny(name, options, 3), tiny(name, options, None)
    short, long = clips(2, 6), clips(2, 24)
    assert saved_bytes(truncated, long) <= 1.01 * saved_bytes(truncated, short)
    assert saved_bytes(whole, long) > 3 * saved_bytes(whole, short)


def test_truncation_is_for_training_alone():
    model, frames = tiny("rvit", {}, 2).eval(), clips(1, 5)
    model(frames).logits.sum().backward()
    learned = gradients(model)
    model.zero_grad()
    model.gradient_frames = None
    model(frames).logits.sum().backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, learned[name])


def test_autocast_does_not_lose_the_gradients_after_truncation():
    """Weights cast to bfloat16 while no graph was recorded must not be used again."""
    model, frames = tiny("rvit", {}, 2), clips(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model(frames).logits)
    loss.backward()
    gate = "backbone.encoder.blocks.0.gate."
    learned = gradients(model)
    for name in ("qkv_x.weight", "qkv_h.weight", "out.weight"):
        assert learned[gate + name].any(), name
