"""transplant: start a relative of C3D from trained C3D weights instead of at random.

What each layer of the target becomes:

- An unfolded layer of the same shape: a copy.
- A folded convolution `a`, T frames to T: the 3-D convolution exactly, as a matrix that is banded
  in time. Output frame t reads input frames t-1, t and t+1; where the band reaches beyond the clip,
  the 3-D convolution has its zero padding.
- A folded convolution `b`, T frames to T/2: the 3-D convolution followed by the mean of every two
  frames. In C3D a ReLU and the maximum of every two frames follow instead; the mean before the ReLU
  is the linear stand-in for them.
- A split convolution: of all pairs of a 1x3x3 and a 3x1x1 convolution the pair that is nearest to
  the 3-D kernel in squared error: the kernel as a matrix (out x time, in x height x width), its
  singular value decomposition cut off after `out` values (Eckart and Young 1936).

Shape letters beside those of `understudy.types`: O and I channels out and in, U input frames,
D the three taps of a kernel in time, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models.c3d import C3D, STAGES, SeparableConv3d
from understudy.types import Inherited


@torch.no_grad()
def transplant(source: C3D, target: C3D) -> list[Inherited]:
    """Give `target` the weights of a trained C3D, and say for every layer how.

    `target` is changed in place; layers that nothing fits stay random. The classifier is
    taken where its shape fits; only the caller knows whether both mean the same classes by it.
    Raises UserError when `source` is neither a full C3D nor of the target's own architecture, or
    when width, picture size or pixel statistics differ.
    """
    _check_relatives(source, target)
    found = [_convolution(source, target, name) for name in _convolutions()]
    for name in ("embed.fc6", "embed.fc7", "embed.projection", "head.fc8"):
        if _linear(target, name) is not None:
            found.append(_copy_linear(source, target, name))
    return found


def banded(weight: Tensor, frames: int) -> Tensor:
    """A 3-D kernel (O, I, 3, H, W) over `frames` frames as 2-D: (O x frames, I x frames, H, W)."""
    return _folded(weight, _band(frames).to(weight))


def banded_mean(weight: Tensor, frames: int) -> Tensor:
    """As `banded`, then the mean of every two frames: (O x frames/2, I x frames, H, W)."""
    return _folded(weight, _band(frames).unflatten(0, (-1, 2)).mean(1).to(weight))


def separated(weight: Tensor) -> tuple[Tensor, Tensor, float]:
    """The best split of a kernel (O, I, 3, H, W) with O channels between its halves.

    Gives spatial (R, I, 1, H, W), temporal (O, R, 3, 1, 1), R = min(O, I x H x W, 3 x O), and the
    share of the kernel's squared weights that is kept. Worked out in float64.
    """
    out, channels, time, height, width = weight.shape
    matrix = weight.detach().double().transpose(1, 2).reshape(out * time, channels * height * width)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(out, len(values))
    kept, total = float(values[:rank].square().sum()), float(values.square().sum())
    # Half of every singular value on either side, so that both learn at the same pace.
    root = values[:rank].sqrt()
    spatial = (root[:, None] * right[:rank]).view(rank, channels, 1, height, width)
    temporal = (left[:, :rank] * root).view(out, time, rank).transpose(1, 2)
    return (
        spatial.to(weight.dtype),
        temporal[..., None, None].to(weight.dtype),
        kept / total if total else 1.0,
    )


def _band(frames: int) -> Tensor:
    """(T, U, D): 1 where output frame t reads input frame u through tap d = u - t + 1."""
    time = torch.arange(frames)
    offset = time[None, :] - time[:, None] + 1
    return (offset[..., None] == torch.arange(3)).double()


def _folded(weight: Tensor, band: Tensor) -> Tensor:
    """Channel c of frame t becomes channel c * T + t, as `nn.Flatten(1, 2)` lays them."""
    return torch.einsum("oidhw,tud->otiuhw", weight, band).flatten(2, 3).flatten(0, 1)


def _convolutions() -> list[str]:
    return [
        f"conv{stage}{letter}"
        for stage, (multiples, _) in STAGES.items()
        for letter in "ab"[: len(multiples)]
    ]


def _convolution(source: C3D, target: C3D, name: str) -> Inherited:
    layer, place = f"backbone.{name}", target.backbone.get_submodule(name)
    origin = source.backbone.get_submodule(name)
    if source.relative == target.relative or isinstance(place, nn.Conv3d):
        place.load_state_dict(origin.state_dict())
        return Inherited(layer, "exact", layer, note="copied")
    assert isinstance(origin, nn.Conv3d)
    assert origin.bias is not None
    if isinstance(place, SeparableConv3d):
        return _separate(origin, place, layer)
    assert isinstance(place, nn.Conv2d)
    assert place.bias is not None
    frames = STAGES[int(name[4])][1]
    if name.endswith("a"):
        place.weight.copy_(banded(origin.weight, frames))
        place.bias.copy_(origin.bias.repeat_interleave(frames))
        return Inherited(layer, "exact", layer, note="the 3-D convolution as a banded matrix")
    place.weight.copy_(banded_mean(origin.weight, frames))
    place.bias.copy_(origin.bias.repeat_interleave(frames // 2))
    note = "the 3-D convolution, then the mean of every two frames instead of their maximum"
    return Inherited(layer, "approximate", layer, note=note)


def _separate(origin: nn.Conv3d, place: SeparableConv3d, layer: str) -> Inherited:
    before, after = place.spatial, place.temporal
    assert before.bias is not None
    assert after.bias is not None
    assert origin.bias is not None
    spatial, temporal, energy = separated(origin.weight)
    rank = len(spatial)
    # A narrow input needs fewer channels between. The others stay random and are not listened
    # to: were both sides 0, no gradient would ever reach them.
    before.weight[:rank] = spatial
    before.bias.zero_()
    after.weight.zero_()
    after.weight[:, :rank] = temporal
    after.bias.copy_(origin.bias)
    full = min(origin.weight.shape[0] * 3, origin.weight[0, :, 0].numel())
    if rank == full:
        return Inherited(layer, "exact", layer, energy, f"all {rank} singular values")
    return Inherited(layer, "approximate", layer, energy, f"{rank} of {full} singular values")


def _copy_linear(source: C3D, target: C3D, name: str) -> Inherited:
    origin, place = _linear(source, name), _linear(target, name)
    assert place is not None
    if origin is None:
        return Inherited(name, "random", note="the source has no such layer")
    if origin.weight.shape != place.weight.shape:
        shapes = f"{tuple(origin.weight.shape)}, here {tuple(place.weight.shape)}"
        return Inherited(name, "random", note=f"the source's is {shapes}")
    place.load_state_dict(origin.state_dict())
    return Inherited(name, "exact", name, note="copied")


def _linear(model: C3D, name: str) -> nn.Linear | None:
    found = dict(model.named_modules()).get(name)
    return found if isinstance(found, nn.Linear) else None


def _check_relatives(source: nn.Module, target: nn.Module) -> None:
    if not isinstance(source, C3D) or not isinstance(target, C3D):
        raise UserError(
            "A transplant goes from a C3D to one of its relatives; given: "
            f"{type(source).__name__} and {type(target).__name__}."
        )
    if source.relative not in ("c3d", target.relative):
        raise UserError(
            f"c3d-{source.relative} holds no 3-D kernels that {_name(target)} could take. "
            f"Start from a trained c3d, or from a trained {_name(target)}."
        )
    for what, here, there in (
        ("width", target.width, source.width),
        ("input_size", target.input_size, source.input_size),
        (
            "mean",
            target.normalize.mean.flatten().tolist(),
            source.normalize.mean.flatten().tolist(),
        ),
        ("std", target.normalize.std.flatten().tolist(), source.normalize.std.flatten().tolist()),
    ):
        if here != there:
            raise UserError(
                f"{what} is {here} in the model and {there} in the source of its weights; for a "
                f"transplant they must be equal. Set {what} to {there}."
            )


def _name(model: C3D) -> str:
    return "c3d" if model.relative == "c3d" else f"c3d-{model.relative}"
