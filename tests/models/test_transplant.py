"""Transplant: exact where it says exact, and otherwise as near as anything can be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models import create_model
from understudy.models.c3d import C3D, STAGES
from understudy.models.transplant import banded, separated, transplant

SMALL = {"width": 2, "hidden_dim": 8, "input_size": 32, "dropout": 0.0}


def build(name: str, *, seed: int, num_classes: int = 3, **options) -> C3D:
    torch.manual_seed(seed)
    model = create_model(name, num_classes, **(SMALL | options)).eval()
    assert isinstance(model, C3D)
    for module in model.modules():  # a trained network's biases are not 0
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            assert module.bias is not None
            nn.init.normal_(module.bias)
    return model


def layer(model: nn.Module, name: str) -> Any:
    return model.get_submodule(name)


def video(channels: int, time: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, channels, time, 9, 7, generator=generator)


def frames() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, 16, 3, 32, 32), dtype=torch.uint8, generator=generator)


def folded_layers(name: str) -> list[tuple[str, str, int]]:
    stages = {"c3d-mc3": (3, 4, 5), "c3d-mc4": (4, 5), "c3d-mc5": (5,)}[name]
    return [(f"conv{stage}a", f"conv{stage}b", STAGES[stage][1]) for stage in stages]


@pytest.mark.parametrize("name", ["c3d-mc5", "c3d-mc4", "c3d-mc3"])
def test_folded_a_is_the_3d_convolution_and_b_the_mean_over_pairs(name):
    source, target = build("c3d", seed=0), build(name, seed=1)
    report = {entry.layer: entry for entry in transplant(source, target)}
    for a, b, time in folded_layers(name):
        origin, place = layer(source.backbone, a), layer(target.backbone, a)
        pixels = video(origin.in_channels, time)
        expected = origin(pixels)
        given = place(pixels.flatten(1, 2)).unflatten(1, (-1, time))
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-5)
        assert report[f"backbone.{a}"].how == "exact"

        origin, place = layer(source.backbone, b), layer(target.backbone, b)
        pixels = video(origin.in_channels, time)
        expected = origin(pixels).unflatten(2, (-1, 2)).mean(3)
        given = place(pixels.flatten(1, 2)).unflatten(1, (-1, time // 2))
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-5)
        assert report[f"backbone.{b}"].how == "approximate"


def test_exact_at_the_papers_width_too():
    """conv5a: sums of 13,824 products, to 1e-5."""
    torch.manual_seed(0)
    origin = nn.Conv3d(512, 512, 3, padding=1)
    nn.init.kaiming_normal_(origin.weight, nonlinearity="relu")
    pixels = torch.randn(1, 512, 2, 4, 4)
    with torch.no_grad():
        flat = nn.functional.conv2d(pixels.flatten(1, 2), banded(origin.weight, 2), padding=1)
        bias = origin.bias[:, None, None, None]
        difference = flat.unflatten(1, (512, 2)) + bias - origin(pixels)
    assert difference.abs().max() < 1e-5


def test_a_folded_relative_equals_c3d_up_to_the_first_b():
    """The layers in their places, pools and foldings included, and not only one by one."""
    source, target = build("c3d", seed=0), build("c3d-mc4", seed=1)
    transplant(source, target)
    seen = {}
    for name, model in (("source", source), ("target", target)):
        layer(model.backbone, "conv4a").register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out})
        )
        model(frames())
    given = seen["target"].unflatten(1, (-1, STAGES[4][1]))
    torch.testing.assert_close(given, seen["source"], rtol=1e-5, atol=1e-4)


def test_in_a_clip_that_stands_still_nothing_is_lost():
    """Where two frames are alike, their mean is their maximum: mc5 then computes what C3D does.

    The stage's zero padding in time makes its two frames mirror images of each other, alike only
    for a kernel that is symmetric in time; so the kernels are made symmetric.
    """
    source, target = build("c3d", seed=0), build("c3d-mc5", seed=1)
    with torch.no_grad():
        for module in source.backbone.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.copy_((module.weight + module.weight.flip(2)) / 2)
    transplant(source, target)
    still = frames()[:, :1].expand(-1, 16, -1, -1, -1)
    torch.testing.assert_close(target(still), source(still), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("out", "channels"), [(8, 8), (4, 6), (8, 3), (16, 1)])
def test_split_is_optimal(out, channels):
    """The error is the sum of the squared singular values left out: nothing can be nearer."""
    generator = torch.Generator().manual_seed(4)
    kernel = torch.randn(out, channels, 3, 3, 3, generator=generator, dtype=torch.double)
    spatial, temporal, energy = separated(kernel)
    assert len(spatial) <= out
    composed = torch.einsum("ord,rihw->oidhw", temporal[..., 0, 0], spatial[:, :, 0])
    matrix = kernel.transpose(1, 2).reshape(out * 3, channels * 9)
    values = torch.linalg.svdvals(matrix)
    bound = values[out:].square().sum()
    error = (composed - kernel).square().sum()
    torch.testing.assert_close(error, bound, rtol=1e-9, atol=1e-12)
    assert energy == pytest.approx(float(1 - bound / kernel.square().sum()))


def test_both_halves_of_a_split_are_equally_large():
    """Channel by channel, so that a step of one learning rate moves both alike."""
    generator = torch.Generator().manual_seed(4)
    kernel = torch.randn(8, 6, 3, 3, 3, generator=generator, dtype=torch.double)
    spatial, temporal, _ = separated(kernel)
    values = torch.linalg.svdvals(kernel.transpose(1, 2).reshape(8 * 3, 6 * 9))[:8]
    torch.testing.assert_close(spatial.flatten(1).norm(dim=1), values.sqrt())
    torch.testing.assert_close(temporal.transpose(0, 1).flatten(1).norm(dim=1), values.sqrt())


def test_no_training_finds_a_nearer_split():
    """The oracle beside the formula: gradient descent from the optimum and from noise."""
    generator = torch.Generator().manual_seed(5)
    kernel = torch.randn(3, 2, 3, 3, 3, generator=generator, dtype=torch.double)
    spatial, temporal, energy = separated(kernel)
    best = (1 - energy) * kernel.square().sum()
    for start in range(3):
        generator.manual_seed(start)
        halves = [
            torch.randn(part.shape, generator=generator, dtype=torch.double, requires_grad=True)
            for part in (spatial, temporal)
        ]
        optimizer = torch.optim.LBFGS(halves, max_iter=500, line_search_fn="strong_wolfe")

        def distance(halves=halves):
            composed = torch.einsum("ord,rihw->oidhw", halves[1][..., 0, 0], halves[0][:, :, 0])
            return (composed - kernel).square().sum()

        def closure(halves=halves, optimizer=optimizer):
            optimizer.zero_grad()
            loss = distance()
            loss.backward()
            return loss

        optimizer.step(closure)
        assert distance() >= best - 1e-9
    assert best > 0.01, "a kernel that splits without loss would prove nothing"


@pytest.mark.parametrize("width", [2, 28])
def test_split_layers_stand_in_the_model_as_computed(width):
    source = build("c3d", seed=0, width=width, head="pool")
    target = build("c3d-sp", seed=1, width=width, head="pool")
    report = {entry.layer: entry for entry in transplant(source, target)}
    for name in ("conv1a", "conv2a"):
        origin, place = layer(source.backbone, name), layer(target.backbone, name)
        spatial, temporal, energy = separated(origin.weight)
        composed = torch.einsum("ord,rihw->oidhw", temporal[..., 0, 0], spatial[:, :, 0])
        pixels = video(origin.in_channels, 6)
        expected = nn.functional.conv3d(pixels, composed, origin.bias, padding=1)
        torch.testing.assert_close(place(pixels), expected, rtol=1e-4, atol=1e-4)
        assert report[f"backbone.{name}"].energy == pytest.approx(energy)
    first = report["backbone.conv1a"]
    # 27 numbers make a patch of the first layer: from 27 channels on nothing is lost.
    assert first.how == ("exact" if width == 28 else "approximate")
    # Channels that the split has no need of add nothing, and can still learn.
    target(frames()).logits.sum().backward()
    temporal = layer(target.backbone, "conv1a.temporal")
    assert torch.all(temporal.weight[:, 27:] == 0)
    assert torch.all(temporal.weight.grad[:, 27:].abs().sum((0, 2, 3, 4)) > 0)


@pytest.mark.parametrize("name", ["c3d", "c3d-sp", "c3d-mc3"])
def test_same_architecture_is_copied(name):
    source, target = build(name, seed=0), build(name, seed=1)
    report = transplant(source, target)
    assert {entry.how for entry in report} == {"exact"}
    assert torch.equal(target(frames()).logits, source(frames()).logits)


@pytest.mark.parametrize("head", ["fc", "pool"])
@pytest.mark.parametrize("name", ["c3d-sp", "c3d-mc3"])
def test_every_layer_with_weights_is_listed(name, head):
    source, target = build("c3d", seed=0, head=head), build(name, seed=1, head=head)
    report = transplant(source, target)
    owned = {parameter.rpartition(".")[0] for parameter, _ in target.named_parameters()}
    halves = (".spatial", ".temporal")
    layers = {name.removesuffix(halves[0]).removesuffix(halves[1]) for name in owned}
    assert {entry.layer for entry in report} == layers


def test_what_does_not_fit_keeps_its_noise_and_is_listed():
    source = build("c3d", seed=0)
    target = build("c3d-sp", seed=1, num_classes=5, embedding_dim=6)
    fc7 = layer(target.embed, "fc7")
    before = fc7.weight.clone()
    report = {entry.layer: entry for entry in transplant(source, target)}
    assert report["embed.fc6"].how == "exact"
    assert report["embed.fc7"].how == report["head.fc8"].how == "random"
    assert torch.equal(fc7.weight, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 4}, "width is 2 .* and 4 .* Set width to 4"),
        ({"input_size": 64}, "input_size is 32 .* and 64"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean is"),
    ],
)
def test_sources_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        transplant(build("c3d", seed=0, **options), build("c3d-sp", seed=1))


def test_only_c3d_is_a_source():
    with pytest.raises(UserError, match="c3d-sp holds no 3-D kernels that c3d-mc5 could take"):
        transplant(build("c3d-sp", seed=0), build("c3d-mc5", seed=1))
    with pytest.raises(UserError, match="given: Linear and C3D"):
        transplant(nn.Linear(2, 2), build("c3d", seed=0))  # pyright: ignore[reportArgumentType]
