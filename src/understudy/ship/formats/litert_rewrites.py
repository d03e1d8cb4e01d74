"""Rewrites of a traced program for LiteRT. A test holds each to the same numbers.

- Bytes are chosen and compared as int32: the runtime has no such operators for uint8.
- A split into one part is the whole: the converter's layout pass does not expect a list of one.
"""

from __future__ import annotations

import operator
from typing import cast

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import Argument

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
