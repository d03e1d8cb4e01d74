"""What the LiteRT converter needs to be told in other words. A test holds each to the same numbers.

- 3-D convolutions and pools become 2-D ones over frames, with a frame's neighbours in time as more
  channels. The runtime's fast kernels know no third dimension, and what the converter makes of
  `c3d` and `c3d-sp` gives other numbers without a word.
- Bytes are chosen and compared as int32: the runtime has no such operators for uint8.
- A split into one part is the whole: the converter's layout pass does not expect a list of one.
- The bytes that a state begins with are no buffers: they are in no computation, yet the converter
  writes every buffer as a constant, and fails at unsigned ones.
"""

from __future__ import annotations

import copy
import operator
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import Argument
from torch.nn import functional as F

from understudy.models.c3d import C3D, SeparableConv3d

_SPLITS = (
    torch.ops.aten.chunk.default,
    torch.ops.aten.split.Tensor,
    torch.ops.aten.split_with_sizes.default,
)
_NOT_ON_BYTES = (
    torch.ops.aten.where.self,
    torch.ops.aten.where.ScalarOther,
    torch.ops.aten.where.ScalarSelf,
    torch.ops.aten.gt.Scalar,
    torch.ops.aten.gt.Tensor,
    torch.ops.aten.eq.Scalar,
    torch.ops.aten.ne.Scalar,
)


def rewritten(module: nn.Module) -> nn.Module:
    """A copy that can be converted; it shares its weights with `module`, which stays as it is."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    module = copy.deepcopy(module, shared)
    for part in list(module.modules()):
        if isinstance(part, C3D):
            part.backbone = FlatTrunk(cast(nn.Sequential, part.backbone))
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.dtype == torch.uint8:
                delattr(part, name)
                setattr(part, name, buffer.clone())
    return module


def convertible(program: ExportedProgram) -> nn.Module:
    """The module of a program in which nothing is split into one part and no byte is compared."""
    for node in list(program.graph.nodes):
        if node.target in _SPLITS and len(node.meta["val"]) == 1:
            _join(program, node)
        elif node.target in _NOT_ON_BYTES:
            _on_integers(program, node)
    program.graph.lint()
    program.graph_module.recompile()
    return program.module()


def _join(program: ExportedProgram, node: Node) -> None:
    for user in list(node.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(cast(Node, node.args[0]))
        program.graph.erase_node(user)
    program.graph.erase_node(node)


def _on_integers(program: ExportedProgram, node: Node) -> None:
    """Casts to int32 before a node, and back where bytes came out."""
    to = torch.ops.aten.to.dtype

    def widened(value: Argument) -> Argument:
        if not isinstance(value, Node) or value.meta["val"].dtype != torch.uint8:
            return value
        with program.graph.inserting_before(node):
            wide = program.graph.call_function(to, (value, torch.int32))
        wide.meta["val"] = value.meta["val"].to(torch.int32)
        return wide

    node.args = tuple(widened(value) for value in node.args)
    if node.meta["val"].dtype == torch.uint8:
        with program.graph.inserting_after(node):
            bytes_again = program.graph.call_function(to, (node, torch.uint8))
        bytes_again.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(bytes_again, delete_user_cb=lambda user: user is not bytes_again)
        node.meta["val"] = node.meta["val"].to(torch.int32)


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
