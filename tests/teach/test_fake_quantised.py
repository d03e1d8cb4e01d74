"""Rounding to 8 bits while training: against an oracle, and that it leaves nothing behind."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv1d, conv2d
from torch.nn.utils.parametrizations import weight_norm

from understudy.errors import UserError
from understudy.models import create_model
from understudy.teach.fake_quantised import FakeQuantized, round_weight

TINY: dict[str, Any] = {"embedding_dim": 16, "heads": 2, "hidden_dim": 16}
FRAMES = TINY | {"backbone": "test_efficientnet", "window": 4}
MODELS: dict[str, dict[str, Any]] = {
    "c3d-sp": {"width": 4, "hidden_dim": 24},
    "cnn-attention": {"widths": (8, 12, 16), "embedding_dim": 16},
    "frames-attention": FRAMES,
    "frames-gru": FRAMES,
    "frames-tcn": FRAMES,
    "rvit": {"dim": 16, "heads": 2, "mlp_dim": 32, "patch_size": 16},
    "rvit-image": {"dim": 16, "heads": 2, "mlp_dim": 32, "recurrent_dropout": 0.0},
}


def grid(values: np.ndarray, scale: Any, zero: Any, low: int, high: int) -> np.ndarray:
    """Rounded to the nearest of scale * (integer - zero), in double precision."""
    return (np.clip(np.rint(values / scale) + zero, low, high) - zero) * scale


def rounded_input(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    low, high = min(observed.min(), 0), max(observed.max(), 0)
    scale = (high - low) / 255
    return grid(values, scale, np.rint(-low / scale), 0, 255)


def rounded_weight(weight: np.ndarray) -> np.ndarray:
    flat = weight.reshape(len(weight), -1)
    scale = np.abs(flat).max(1, keepdims=True) / 127
    return grid(flat, scale, 0, -127, 127).reshape(weight.shape)


def test_a_convolution_and_a_linear_layer_compute_on_the_grid():
    """The first batch enters as it is and sets the ranges; the second is what numpy gives."""
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(3, 5, 2), nn.Linear(45, 4)
    layers = nn.Sequential(convolution, nn.Flatten(), linear)
    learner = FakeQuantized(layers).train()
    pixels = torch.randn(6, 3, 4, 4) + 0.5
    learner(pixels)
    given = learner.eval()(pixels).detach().double()

    weight, bias = convolution.weight.detach().double(), convolution.bias
    assert bias is not None
    on_grid = torch.from_numpy(rounded_weight(weight.numpy()))

    def maps(entering: torch.Tensor) -> np.ndarray:
        return conv2d(entering, on_grid, bias.detach().double()).flatten(1).numpy()

    exact = pixels.double()
    rounded = torch.from_numpy(rounded_input(exact.numpy(), exact.numpy()))
    entering = rounded_input(maps(rounded), maps(exact))
    expected = entering @ rounded_weight(linear.weight.detach().double().numpy()).T
    expected = torch.from_numpy(expected) + linear.bias.detach().double()
    torch.testing.assert_close(given, expected, rtol=0, atol=2e-6)
    assert (given - layers(pixels).detach()).abs().max() > 1e-3, "rounding left no trace"


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 4, 1, 1), (6, 1, 3, 3), (6, 1, 1, 1), (6, 4)])
def test_weights_of_every_shape_are_rounded_by_output_channel(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    weight[4] *= 1e-6
    scale = weight.double().flatten(1).abs().amax(1).clamp(min=1e-30).numpy() / 127
    expected = grid(
        weight.double().numpy(), scale.reshape(-1, *[1] * (len(shape) - 1)), 0, -127, 127
    )
    assert np.allclose(round_weight(weight).numpy(), expected, rtol=1e-6, atol=0)


def test_ranges_move_in_training_and_stand_still_in_evaluation():
    learner = FakeQuantized(nn.Sequential(nn.Linear(2, 2))).train()
    learner(torch.tensor([[-1.0, 3.0]]))
    observed: Any = learner.ranges["0"]
    assert (observed.min_val.item(), observed.max_val.item()) == (-1, 3)
    learner(torch.tensor([[-2.0, 13.0]]))
    assert observed.min_val.item() == pytest.approx(-1.1)
    assert observed.max_val.item() == pytest.approx(4.0)
    learner.eval()(torch.tensor([[-90.0, 90.0]]))
    assert observed.max_val.item() == pytest.approx(4.0)


class Loop(nn.Module):
    """One layer that reads what it gave before, as a recurrent model's do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.layer.weight, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(5):
            x = self.layer(x)
        return x


def test_the_range_of_a_recurrent_layer_reaches_to_its_last_frame():
    learner = FakeQuantized(Loop()).train()
    learner(torch.tensor([[1.0]]))
    observed: Any = learner.ranges["layer"]
    assert (observed.min_val.item(), observed.max_val.item()) == (1, 16)
    assert learner.eval()(torch.tensor([[1.0]])).item() == pytest.approx(32, rel=0.05)


def test_the_gradient_goes_straight_through_within_the_range():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2, bias=False)
    learner = FakeQuantized(nn.Sequential(layer)).train()
    learner(torch.tensor([[-1.0, 1.0, 0.3]]))
    learner.eval()
    inside = torch.tensor([[0.6, -0.4, 0.25]], requires_grad=True)
    learner(inside).sum().backward()
    assert layer.weight.grad is not None
    assert inside.grad is not None
    torch.testing.assert_close(inside.grad[0], round_weight(layer.weight).detach().sum(0))
    expected = torch.from_numpy(grid(inside.detach().numpy(), 2 / 255, np.rint(127.5), 0, 255))
    torch.testing.assert_close(layer.weight.grad[0].double(), expected[0].double())
    outside = torch.tensor([[0.5, 7.0, -7.0]], requires_grad=True)
    learner(outside).sum().backward()
    assert outside.grad is not None
    assert outside.grad[0, 0] != 0
    assert outside.grad[0, 1:].tolist() == [0, 0]


def test_rounding_commutes_with_folding_a_batch_normalisation():
    """Whatever the sign and size of its factors; powers of two first, which lose no bit."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4, 3, 3)
    exact = torch.tensor([0.25, -0.5, 1.0, -2.0, 4.0, 0.0])[:, None, None, None]
    assert torch.equal(round_weight(weight * exact), round_weight(weight) * exact)

    mean, bias, gamma = torch.randn(6), torch.randn(6), torch.randn(6)
    var = torch.rand(6) + 0.1
    pixels = torch.randn(2, 4, 8, 8)
    apart = batch_norm(conv2d(pixels, round_weight(weight)), mean, var, gamma, bias, eps=1e-5)
    factor = gamma / (var + 1e-5).sqrt()
    folded = round_weight(weight * factor[:, None, None, None])
    together = conv2d(pixels, folded, bias - mean * factor)
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    assert (factor < 0).any(), "without a negative factor this would prove less"


def test_a_weight_normalised_convolution_has_the_integers_of_its_own_weight():
    """The scale of a channel differs by what rounding does to its length, a factor near 1."""
    torch.manual_seed(0)
    convolution = cast(nn.Conv1d, weight_norm(nn.Conv1d(3, 4, 3)))
    length, direction = (
        convolution.get_parameter(f"parametrizations.weight.original{place}").detach()
        for place in (0, 1)
    )
    frames = torch.randn(2, 3, 8)
    given = FakeQuantized(nn.Sequential(convolution)).eval()(frames)
    rounded = round_weight(direction)
    effective = length * rounded / rounded.norm(dim=(1, 2), keepdim=True)
    expected = conv1d(frames, effective, convolution.bias)
    torch.testing.assert_close(given, expected)

    def integers(on_grid: torch.Tensor) -> torch.Tensor:
        return 127 * on_grid / on_grid.abs().amax((1, 2), keepdim=True)

    deployed = round_weight(convolution.weight.detach())
    torch.testing.assert_close(integers(effective), integers(deployed), rtol=0, atol=1e-3)


# The model


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_called_as_before_and_left_as_it_was(name):
    torch.manual_seed(0)
    model = create_model(name, 3, input_size=32, dropout=0.0, **MODELS[name])
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    frames = torch.randint(0, 256, (2, model.clip_frames or 4, 3, 32, 32), dtype=torch.uint8)
    lengths = torch.tensor([frames.shape[1], frames.shape[1] - 1])
    learner = FakeQuantized(model).train()
    learner(frames, lengths)
    learner(frames, lengths).logits.logsumexp(1).sum().backward()

    for key, weight in learner.weights.items():
        assert weight.grad is not None, key
        assert weight.grad.isfinite().all(), key
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert not any(module._forward_pre_hooks for module in model.modules())
    with torch.inference_mode():
        eight, full = learner.eval()(frames, lengths), model.eval()(frames, lengths)
    gap = (eight.logits - full.logits).abs().max()
    assert 0 < gap < 0.25 * full.logits.abs().max(), gap


def test_weights_behind_layers_that_are_never_called_are_rounded_too():
    """An attention computes with its projections' weights, a separable convolution with both."""
    for name, weights in (
        ("frames-attention", ("attention.in_proj_weight", "attention.out_proj.weight")),
        ("c3d-sp", ("spatial.weight", "temporal.weight")),
        ("frames-tcn", ("conv.parametrizations.weight.original1",)),
    ):
        model = create_model(name, 3, input_size=32, **MODELS[name])
        rounded = FakeQuantized(model).weights
        for weight in weights:
            assert any(key.endswith(weight) for key in rounded), weight


def test_nothing_to_quantise_is_refused():
    with pytest.raises(UserError, match="neither a convolution nor a linear layer"):
        FakeQuantized(nn.Sequential(nn.ReLU()))
