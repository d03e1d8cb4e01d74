"""From a graph to a program that ExecuTorch's CPU delegate takes: traced, rewritten, folded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.overrides import TorchFunctionMode

from understudy.ship.formats.executorch_rewrites import REWRITES
from understudy.ship.graphs import Graph


def rewritten(graph: Graph) -> ExportedProgram:
    """A graph for one clip or one frame, in operators that are delegated.

    Everything happens in a copy: the graph's own module comes out as it went in.
    """
    with torch.no_grad(), _Rowwise():
        traced = torch.export.export(plain_copy(graph.module), graph.example(1))
    with torch.no_grad():
        return fold(traced.run_decompositions(REWRITES))


def plain_copy(module: nn.Module) -> nn.Module:
    """A copy without gradients and with every tensor in row-major order.

    A delegate writes weights as they lie in memory, so channels-last ones come out scrambled, or
    are refused. A 1x1 convolution's are contiguous in both orders and keep the strides of the
    other, so that only a fresh tensor will do.
    """
    kept: dict[int, Any] = {
        id(tensor): _fresh(tensor) for tensor in (*module.parameters(), *module.buffers())
    }
    # A buffer that was computed with gradients cannot be copied in the usual way.
    return copy.deepcopy(module, kept).requires_grad_(False)


def fold(program: ExportedProgram) -> ExportedProgram:
    """What depends on weights alone is computed now: weight norm, taps, time positions."""
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass

    folded = constant_prop_pass(program)
    # A part of a larger tensor would be written from where the larger one begins.
    for name, tensor in folded.constants.items():
        if isinstance(tensor, Tensor):
            folded.constants[name] = _fresh(tensor)
    return folded


def _fresh(tensor: Tensor) -> Tensor:
    """The same numbers in memory of their own, row by row."""
    own = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return nn.Parameter(own, requires_grad=False) if isinstance(tensor, nn.Parameter) else own


class _Rowwise(TorchFunctionMode):
    """Within it nothing is laid out channels-last, which models ask for since CPUs like it.

    XNNPACK lays its tensors out so by itself; what comes in so already makes it copy them twice.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.contiguous:
            return func(args[0])
        return func(*args, **(kwargs or {}))
