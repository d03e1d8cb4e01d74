"""Rewrites of an exported program for Core ML's converter.

Each leaves every output as it was (a test runs both programs in PyTorch), with one exception that
only a computation in float16 can meet: see `_divisors`.

- frames and byte states are float32: Core ML's arrays know no uint8. Whole numbers to 255 are exact
  in float32 and float16, so the casts back to uint8 in between are left out.
- a GRU is written out as its matrix products: the converter has none.
- `|` and `&` of truth values become logical_or and logical_and.
- the index of a gather is cast to int32: the converter counts and clamps in floats, and wants
  integers for an index.
- a matrix times a vector becomes a matrix times a column.
- zeros of rank 0 become zeros of rank 1, which broadcast alike.
- an output that equals another (the embedding and the state of a running mean are one tensor) is
  its own maximum with itself: the converter gives two such outputs one name and loses one of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from understudy.ship.formats.prepare import prepared, trace
from understudy.ship.graphs import Graph

aten = torch.ops.aten

SMALLEST_DIVISOR = 2.0**-14
"""The smallest normal number of float16."""


class Boundary(nn.Module):
    """A graph whose outputs are different tensors, each computed on its own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        logits, embedding, *state = self.module(*inputs)
        # Two outputs of one value are two operations only if these differ: x, then max(x, x).
        return logits, embedding, *(torch.maximum(tensor, tensor) for tensor in state)


def program_of(graph: Graph) -> ExportedProgram:
    """The program of a graph for one clip that Core ML's converter can read, on float32 pixels."""
    from torch._decomp import get_decompositions

    program = trace(Boundary(prepared(graph)), floats(graph.example(1)))
    program = program.run_decompositions(get_decompositions([aten.gru.input]))
    for node in list(program.graph.nodes):
        if node.op == "call_function":
            for rewrite in _REWRITES:
                if rewrite(program, node):
                    break
    program.graph.eliminate_dead_code()
    program.graph.lint()
    program.graph_module.recompile()
    return program


def floats(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same with float32 in place of uint8."""
    return tuple(
        tensor.to(torch.float32) if tensor.dtype == torch.uint8 else tensor for tensor in tensors
    )


def _bytes(program: ExportedProgram, node: Node) -> bool:
    if node.kwargs.get("dtype") != torch.uint8:
        return False
    node.kwargs = node.kwargs | {"dtype": torch.float32}
    return True


def _truth(program: ExportedProgram, node: Node) -> bool:
    words: dict[Any, Any] = {
        aten.__or__.Tensor: aten.logical_or.default,
        aten.__and__.Tensor: aten.logical_and.default,
        aten.bitwise_or.Tensor: aten.logical_or.default,
        aten.bitwise_and.Tensor: aten.logical_and.default,
    }
    if node.target not in words or node.meta["val"].dtype != torch.bool:
        return False
    node.target = words[node.target]
    return True


def _indices(program: ExportedProgram, node: Node) -> bool:
    if node.target is not aten.gather.default:
        return False
    values, dim, index = node.args[:3]
    with program.graph.inserting_before(node):
        whole = program.graph.call_function(aten._to_copy.default, (index,), {"dtype": torch.int32})
    whole.meta = {"val": _value(index).to(torch.int32)}
    node.args = (values, dim, whole)
    return True


def _columns(program: ExportedProgram, node: Node) -> bool:
    if node.target not in (aten.matmul.default, aten.mv.default):
        return False
    matrix, vector = node.args
    if _value(vector).dim() != 1 or _value(matrix).dim() < 2:
        return False
    with program.graph.inserting_before(node):
        column = program.graph.call_function(aten.unsqueeze.default, (vector, 1))
        column.meta = {"val": _value(vector).unsqueeze(1)}
        product = program.graph.call_function(aten.matmul.default, (matrix, column))
        product.meta = {"val": node.meta["val"].unsqueeze(-1)}
        flat = program.graph.call_function(aten.squeeze.dim, (product, -1))
    flat.meta = dict(node.meta)
    node.replace_all_uses_with(flat)
    return True


def _zeros(program: ExportedProgram, node: Node) -> bool:
    if node.target is not aten.new_zeros.default or node.args[1] != []:
        return False
    node.args = (node.args[0], [1])
    node.meta["val"] = node.meta["val"].unsqueeze(0)
    return True


def _copies(program: ExportedProgram, node: Node) -> bool:
    if node.target not in (aten.alias.default, aten._assert_tensor_metadata.default):
        return False
    if node.target is aten.alias.default:
        source = node.args[0]
        assert isinstance(source, Node)
        node.replace_all_uses_with(source)
    program.graph.erase_node(node)
    return True


def _divisors(program: ExportedProgram, node: Node) -> bool:
    """A divisor that is kept from 0 by a number that is 0 in float16 would be 0 there.

    The bound is raised to the smallest normal number of float16: the same for every larger divisor.
    """
    if node.target is not aten.clamp_min.default:
        return False
    bound = node.args[1]
    if not isinstance(bound, float) or not 0 < bound < SMALLEST_DIVISOR:
        return False
    node.args = (node.args[0], SMALLEST_DIVISOR)
    return True


_REWRITES = (_bytes, _truth, _indices, _columns, _zeros, _copies, _divisors)


def _value(node: Any) -> Tensor:
    """The example that stands for a node's tensor."""
    assert isinstance(node, Node)
    return node.meta["val"]
