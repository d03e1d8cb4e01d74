"""Rewrites for ExecuTorch: what its CPU delegate does not take, or takes badly, in other operators.

XNNPACK knows two-dimensional convolution and pooling, products of matrices and elementwise
operators. What it does not know is computed by portable kernels, some of them missing, and splits
the graph into many small delegates. Each function here stands in for the operator of PyTorch whose
arguments it takes, in the trace of a graph and nowhere else: models stay as they are.

Shapes: B clips, C channels, T frames, H and W of a picture, N tokens, D width, G heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.nn import functional as F

aten = torch.ops.aten


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention as two products and a softmax.

    As one operator it decomposes into a form that guards against rows in which all is masked.
    """
    if is_causal or enable_gqa or dropout_p:
        return NotImplemented
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(scores).masked_fill(~attn_mask, -torch.inf)
        scores = scores + attn_mask
    return scores.softmax(-1) @ value


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """A product of batches of matrices without the copies by which both are first expanded."""
    lead = left.shape[:-2]
    if left.dim() < 3 or right.dim() < 3 or lead != right.shape[:-2]:
        return NotImplemented
    flat = torch.bmm(left.reshape(-1, *left.shape[-2:]), right.reshape(-1, *right.shape[-2:]))
    return flat.reshape(*lead, *flat.shape[-2:])


def layer_norm(
    tokens: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """LayerNorm of the last dimension, its means as products with a row of 1 / D.

    The runtime's own kernel splits delegates, and takes the variance as the mean of squares less
    the square of the mean: where the mean is 400 deviations, the result is off by 0.05.
    """
    if len(normalized_shape) != 1:
        return NotImplemented
    row = torch.full((1, tokens.shape[-1]), 1 / tokens.shape[-1])
    centred = tokens - F.linear(tokens, row)
    normed = centred * (F.linear(centred * centred, row) + eps).rsqrt()
    if weight is not None:
        normed = normed * weight
    return normed if bias is None else normed + bias


def mean(
    values: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The mean of one dimension as a product, of a picture's H and W as global pooling."""
    if dtype is not None or dim is None or not values.is_floating_point():
        return NotImplemented
    if len(dim) == 1 and values.dim() in (3, 4):
        return total(values, dim, keepdim) / values.shape[dim[0]]
    if values.dim() != 4 or keepdim or sorted(one % 4 for one in dim) != [2, 3]:
        return NotImplemented
    return values.mean((2, 3), keepdim=True).flatten(1)


def total(
    values: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The sum over one dimension as a product with ones; sums are not delegated."""
    if dtype is not None or not dim or len(dim) != 1 or not values.is_floating_point():
        return NotImplemented
    place = dim[0] % values.dim()
    last = values.transpose(place, -1)
    summed = F.linear(last, torch.ones(1, last.shape[-1])).transpose(place, -1)
    return summed if keepdim else _without(summed, place)


def hardsigmoid(values: Tensor) -> Tensor:
    """As a clamped line; the usual decomposition copies its input from float to float, outside."""
    return (values + 3).clamp(0, 6) / 6


def select(values: Tensor, dim: int, index: int) -> Tensor:
    """One row as a slice of one row, which is delegated."""
    if not values.is_floating_point():
        return NotImplemented
    return _without(values.narrow(dim, index % values.shape[dim], 1), dim)


def unbind(values: Tensor, dim: int = 0) -> list[Tensor]:
    """All rows as slices of one row."""
    if not values.is_floating_point():
        return NotImplemented
    return [select(values, dim, row) for row in range(values.shape[dim])]


def split(values: Tensor, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    """Parts of these sizes as slices; splitting is not delegated."""
    if not values.is_floating_point():
        return NotImplemented
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [values.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=True)]


def squeeze(values: Tensor, dim: int) -> Tensor:
    """A dimension of one taken out by reshaping."""
    if not values.is_floating_point() or values.shape[dim] != 1:
        return NotImplemented
    return _without(values, dim)


def unsqueeze(values: Tensor, dim: int) -> Tensor:
    """A dimension of one put in by reshaping."""
    if not values.is_floating_point():
        return NotImplemented
    shape = list(values.shape)
    shape.insert(dim % (values.dim() + 1), 1)
    return values.reshape(shape)


REWRITES: dict[Any, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: attention,
    aten.matmul.default: matmul,
    **get_decompositions([aten.gru.input]),
    aten.layer_norm.default: layer_norm,
    aten.mean.dim: mean,
    aten.sum.dim_IntList: total,
    aten.hardsigmoid.default: hardsigmoid,
    aten.select.int: select,
    aten.unbind.int: unbind,
    aten.split_with_sizes.default: split,
    aten.squeeze.dim: squeeze,
    aten.unsqueeze.default: unsqueeze,
}
"""Operator -> what stands in for it. One that gives NotImplemented leaves the operator there."""


def _without(values: Tensor, dim: int) -> Tensor:
    """Without a dimension of one."""
    shape = list(values.shape)
    del shape[dim]
    return values.reshape(shape)
