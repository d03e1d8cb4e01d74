"""What exporters trace equals the model, and the first convolution normalises pixels."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from small_models import OPTIONS, built, length_of
from understudy.models.layers import Normalize
from understudy.ship.formats.prepare import Centred, fold_normalisation, plain_copy, prepared
from understudy.ship.graphs import graphs_of

UNFOLDED = ("c3d-sp", "rvit-image")
"""One calls no module for its first convolution; the other normalises frames of a window apart."""


def worst(expected: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> float:
    return max(
        float((one.double() - other.double()).abs().max() / one.abs().max().clamp(min=1))
        for one, other in zip(expected, given, strict=True)
    )


@pytest.mark.parametrize("name", OPTIONS)
def test_a_prepared_copy_gives_the_same_and_leaves_the_model_alone(name: str) -> None:
    model = built(name)
    before = {key: (one.clone(), one.stride()) for key, one in model.state_dict().items()}
    kinds = {type(module) for module in model.modules()}
    for graph in graphs_of(model, length_of(model)):
        module, values = prepared(graph), graph.example(3)
        with torch.inference_mode():
            assert worst(graph.module(*values), module(*values)) < 1e-4
        assert not any(hasattr(one, "parametrizations") for one in module.modules())
        assert all(one.is_contiguous() for one in module.state_dict().values())
        folded = any(isinstance(one, Centred) for one in module.modules())
        assert folded == (name not in UNFOLDED)
    assert {type(module) for module in model.modules()} == kinds
    after = model.state_dict()
    assert after.keys() == before.keys()
    for key, (tensor, stride) in before.items():
        assert torch.equal(after[key], tensor), key
        assert after[key].stride() == stride, key


class Pixels(nn.Module):
    """One convolution of normalised pixels, or two, or one that is not alone in reading them."""

    def __init__(self, mean: float, padding: int, reads: str = "one") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.normalize = Normalize((mean,) * 3, (0.2, 0.3, 0.1))
        self.conv = nn.Conv2d(3, 4, 3, padding=padding, bias=False)
        self.second = nn.Conv2d(3, 4, 1 + 2 * padding, padding=padding)
        self.reads = reads

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        pixels = self.normalize(frames)
        outputs = [self.conv(pixels)]
        if self.reads == "two":
            outputs.append(self.second(pixels))
        if self.reads == "others":
            outputs.append(pixels.mean(1))
        return tuple(outputs)


@pytest.mark.parametrize("reads", ["one", "two"])
@pytest.mark.parametrize(
    ("mean", "padding", "subtracts"), [(0.5, 1, True), (0.5, 0, False), (0.0, 1, False)]
)
def test_normalisation_goes_into_the_first_convolutions_up_to_the_border(
    mean: float, padding: int, subtracts: bool, reads: str
) -> None:
    module = Pixels(mean, padding, reads).eval()
    # Pictures so small that the border is most of them.
    pixels = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    folded = plain_copy(module)
    assert fold_normalisation(folded, (pixels,))
    assert (cast(Centred, folded.normalize).mean is not None) == subtracts
    with torch.inference_mode():
        assert worst(module(pixels), folded(pixels)) < 1e-6


def test_pixels_that_something_else_reads_stay_normalised() -> None:
    module = Pixels(0.5, 1, "others").eval()
    pixels = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8)
    copy = plain_copy(module)
    assert not fold_normalisation(copy, (pixels,))
    with torch.inference_mode():
        assert all(map(torch.equal, module(pixels), copy(pixels)))
