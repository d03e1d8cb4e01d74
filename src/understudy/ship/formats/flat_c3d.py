"""`c3d` and its relatives without a third dimension, for runtimes that have kernels for two.

3-D convolutions and pools become 2-D ones over frames, with a frame's neighbours in time as more
channels. LiteRT's fast kernels know no third dimension, and what its converter makes of `c3d` and
`c3d-sp` gives other numbers without a word; ExecuTorch's runtime refuses both operators.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.c3d import C3D, SeparableConv3d


def flatten_c3d(module: nn.Module) -> nn.Module:
    """Replace the convolutions of every `C3D` in a module, in place; it then reads one clip."""
    for part in list(module.modules()):
        if isinstance(part, C3D):
            part.backbone = FlatTrunk(cast(nn.Sequential, part.backbone))
    return module


class FlatTrunk(nn.Module):
    """The convolutions of a `C3D` for one clip (1, C, T, H, W), with no tensor above 4-D inside."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in layers:
            if isinstance(layer, SeparableConv3d):
                spatial = layer.spatial
                self.layers.append(_conv2d(spatial.weight.squeeze(2), spatial.bias))
                self.layers.append(OverTime(layer.temporal))
            else:
                self.layers.append(OverTime(layer) if isinstance(layer, nn.Conv3d) else layer)

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.transpose(1, 2).flatten(0, 1)  # (T, C, H, W)
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool3d):
                frames = _pool(frames, layer)
            elif isinstance(layer, nn.Flatten):  # time into channels, number c * T + t
                frames = frames.transpose(0, 1).flatten(0, 1)[None]
            else:
                frames = layer(frames)
        return frames


class OverTime(nn.Module):
    """A 3 x k x k convolution on frames (T, C, H, W) as one in 2-D; beyond the ends are zeros."""

    def __init__(self, layer: nn.Conv3d) -> None:
        super().__init__()
        # (O, C, 3, k, k) to (O, 3 x C, k, k), once: weights that a graph computes are slow.
        self.flat = _conv2d(layer.weight.transpose(1, 2).flatten(1, 2), layer.bias)

    def forward(self, frames: Tensor) -> Tensor:
        nothing = torch.zeros_like(frames[:1])
        before, after = torch.cat([nothing, frames[:-1]]), torch.cat([frames[1:], nothing])
        return self.flat(torch.cat([before, frames, after], dim=1))


def _conv2d(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    assert bias is not None
    side = weight.shape[-1]
    layer = nn.Conv2d(weight.shape[1], len(weight), side, padding=side // 2, device="meta")
    layer.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer


def _pool(frames: Tensor, layer: nn.MaxPool3d) -> Tensor:
    """The largest of each place and, where the pool is so deep, of each two frames."""
    depth, *sides = cast(tuple[int, int, int], layer.kernel_size)
    _, *margins = cast(tuple[int, int, int], layer.padding) if layer.padding else (0, 0, 0)
    pooled = F.max_pool2d(frames, sides, padding=margins)
    if depth == 1:
        return pooled
    assert depth == 2
    time, channels, height, width = pooled.shape
    first, second = pooled.reshape(time // 2, 2 * channels, height, width).chunk(2, dim=1)
    return torch.maximum(first, second)
