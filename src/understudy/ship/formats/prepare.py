"""What every exporter traces: a copy of a graph's module that computes no constant anew in a call.

- The first convolutions normalise pixels: `(pixels / 255 - mean) / std` needs a pass over all of
  them, and weights that are scaled once give the same.
- Weight normalisation of convolutions is worked out.
- Tensors lie in memory row by row. Layouts mean nothing in a file, and exporters write weights as
  they lie, so that channels-last ones come out scrambled or are refused.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from understudy.models.layers import Normalize
from understudy.ship.graphs import Graph

ALIKE = 1e-2
"""How far outputs may move when normalisation is folded, relative to the largest or to 1. Where it
cannot be folded they move by far more; how exact a whole file is says its parity."""


def prepared(graph: Graph) -> nn.Module:
    """A copy of a graph's module, ready to be traced; the graph's own stays as it is."""
    module = plain_copy(graph.module)
    fold_normalisation(module, graph.example(2))
    return module


def trace(module: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """The program of a module for inputs of exactly these shapes."""
    with torch.no_grad(), RowMajor():
        return torch.export.export(module, example)


def plain_copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode without gradients, computed parameters or unusual layouts."""
    # A 1x1 convolution's weights are contiguous in both layouts and keep the strides of the other,
    # so that only a fresh tensor will do; and what was computed with gradients is never copied.
    kept: dict[int, Any] = {
        id(tensor): fresh(tensor) for tensor in (*module.parameters(), *module.buffers())
    }
    module = copy.deepcopy(module, kept).eval().requires_grad_(False)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if parametrize.is_parametrized(child):
                parent.register_module(name, _worked_out(child))
    return module


def fresh(tensor: Tensor) -> Tensor:
    """The same numbers in memory of their own, row by row."""
    own = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return nn.Parameter(own, requires_grad=False) if isinstance(tensor, nn.Parameter) else own


def fold_normalisation(module: nn.Module, example: tuple[Tensor, ...]) -> bool:
    """Let the convolutions that read normalised pixels normalise them, in place.

    std goes into their weights. The mean goes into their bias where nothing is padded; padding with
    zeros is padding with pixels of the mean, so that elsewhere it is still subtracted. Gives
    whether that was done: not where anything else reads these pixels.
    """
    found = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if isinstance(child, Normalize)
    ]
    if len(found) != 1:
        return False
    [(parent, name, normalize)] = found
    with torch.no_grad(), RowMajor():
        readers = _readers(module, normalize, example)
        if not readers:
            return False
        before = module(*example)
        kept = [(layer, layer.weight, layer.bias) for layer in readers]
        mean, std = (255 * part.double().flatten() for part in (normalize.mean, normalize.std))
        padded = any(layer.padding != (0,) * len(layer.kernel_size) for layer in readers)
        for layer in readers:
            weight = layer.weight / std.view(1, -1, *[1] * (layer.weight.dim() - 2))
            layer.weight = nn.Parameter(weight.float(), requires_grad=False)
            if not padded:
                bias = -(weight.flatten(2).sum(2) @ mean)
                bias = bias if layer.bias is None else layer.bias + bias
                layer.bias = nn.Parameter(bias.float(), requires_grad=False)
        parent.register_module(name, Centred(mean if padded else None))
        if _alike(before, module(*example)):
            return True
        parent.register_module(name, normalize)
        for layer, weight, bias in kept:
            layer.weight, layer.bias = weight, bias
    return False


class Centred(nn.Module):
    """Pixels (N, 3, H, W) uint8 as floats, less the mean of each channel if there is one."""

    mean: Tensor | None

    def __init__(self, mean: Tensor | None) -> None:
        super().__init__()
        mean = None if mean is None or not mean.any() else mean.float().view(1, 3, 1, 1)
        self.register_buffer("mean", mean)

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(torch.float32)
        return pixels if self.mean is None else pixels - self.mean


class RowMajor(TorchFunctionMode):
    """Within it nothing is laid out channels-last, which models ask for since CPUs like it.

    Runtimes choose their own layouts; what comes in channels-last they copy twice.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.contiguous:
            return func(args[0])
        return func(*args, **(kwargs or {}))


def _readers(
    module: nn.Module, normalize: Normalize, example: tuple[Tensor, ...]
) -> list[nn.Conv2d | nn.Conv3d]:
    """The convolutions that read what `normalize` gives, or a view of it."""
    given: list[Tensor] = []
    readers: dict[nn.Conv2d | nn.Conv3d, None] = {}

    def keep(layer: nn.Module, inputs: Any, pixels: Tensor) -> None:
        given.append(pixels)

    def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        memory = inputs[0].untyped_storage().data_ptr()
        pixels = any(memory == one.untyped_storage().data_ptr() for one in given)
        if pixels and layer.in_channels == 3 and layer.groups == 1:
            readers[layer] = None

    layers = [one for one in module.modules() if isinstance(one, nn.Conv2d | nn.Conv3d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    hooks.append(normalize.register_forward_hook(keep))
    try:
        module(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return list(readers)


def _alike(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> bool:
    return all(
        bool(((one - other).abs().max() <= ALIKE * one.abs().max().clamp(min=1)).all())
        for one, other in zip(before, after, strict=True)
        if one.is_floating_point()
    )


def _worked_out(module: nn.Module) -> nn.Module:
    """A module with its computed parameters as plain ones.

    `remove_parametrizations` would change the class, which a copy shares with its original.
    """
    kind: Any = type(module).__bases__[0]
    plain = kind.__new__(kind)
    plain.__dict__ = module.__dict__ | {
        "_parameters": dict(module._parameters),
        "_modules": {key: one for key, one in module._modules.items() if key != "parametrizations"},
    }
    for name in cast(Any, module).parametrizations:
        plain.register_parameter(name, nn.Parameter(getattr(module, name).detach(), False))
    return plain
