"""Parts of our models written again for ONNX Runtime: the same numbers from cheaper steps.

What changes in the copy that is traced, and why:

- MobileViT blocks. Tokens stand row by row, (pictures x places, channels), from the first matrix to
  the last, so that the runtime multiplies plain matrices; only attention needs them by patch, which
  is one gather of whole rows instead of two transpositions of single numbers on either side.
- Attention pooling. Its query never changes, so what it asks of a key, of a time position and of
  itself is worked out here, once, and neither keys nor values of single frames are computed.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.models.mobilevit import MobileVitBlock
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.models.layers import sinusoidal_positions, time_mask
from understudy.models.temporal import AttentionPool
from understudy.ship.formats.prepare import prepared
from understudy.ship.graphs import Graph
from understudy.types import State


def rewritten(graph: Graph) -> nn.Module:
    """A copy of a graph's module, ready to be traced."""
    module = prepared(graph)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, MobileVitBlock) and _is_plain(child):
                parent.register_module(name, TokenRows(child))
            elif isinstance(child, AttentionPool):
                parent.register_module(name, FixedQueryPool(child))
    return module


def _is_plain(block: MobileVitBlock) -> bool:
    """Whether a block has no options beyond those that `TokenRows` knows."""
    layers = cast(Any, block.transformer)
    return all(
        isinstance(module, nn.Identity)
        for layer in layers
        for module in (layer.attn.q_norm, layer.attn.k_norm, layer.attn.norm, layer.ls1, layer.ls2)
    ) and all(layer.attn.gate is None for layer in layers)


class TokenRows(nn.Module):
    """A MobileViT block (Mehta and Rastegari 2022, section 3.1) with a token a row.

    Letters: N pictures, C channels of a token, P places of a patch (2 x 2), M patches.
    """

    def __init__(self, block: MobileVitBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        block = cast(Any, self.block)
        local = block.conv_1x1(block.conv_kxk(x))
        size = local.shape[-2:]
        patch = block.patch_size
        height, width = (-(-side // step) * step for side, step in zip(size, patch, strict=True))
        resized = (height, width) != tuple(size)
        if resized:
            local = F.interpolate(local, (height, width), mode="bilinear", align_corners=False)
        order = _order(height, width, *patch)
        places, channels = len(order), local.shape[1]
        # Whole rows change places: patch by patch for attention, and back.
        rows = local.permute(0, 2, 3, 1).reshape(-1, places, channels).index_select(1, order)
        rows = self._transform(rows.reshape(-1, channels), places // block.patch_area)
        rows = rows.reshape(-1, places, channels).index_select(1, order.argsort())
        tokens = rows.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        if resized:
            tokens = F.interpolate(tokens, tuple(size), mode="bilinear", align_corners=False)
        tokens = block.conv_proj(tokens)
        if block.conv_fusion is None:
            return tokens
        return block.conv_fusion(torch.cat((x, tokens), dim=1))

    def _transform(self, rows: Tensor, patches: int) -> Tensor:
        """Rows (N x P x M, C) through all layers and the last norm; attention is among M rows."""
        block = cast(Any, self.block)
        for layer in block.transformer:
            rows = rows + self._attend(layer.attn, layer.norm1(rows), patches)
            rows = rows + layer.mlp(layer.norm2(rows))
        return block.norm(rows)

    def _attend(self, attention: Any, rows: Tensor, patches: int) -> Tensor:
        heads, width = attention.num_heads, attention.head_dim
        weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
        scale = attention.scale
        query, key, value = (
            F.linear(rows, weight * by, bias * by).reshape(-1, patches, heads, width)
            for weight, bias, by in zip(weights, biases, (scale, 1.0, 1.0), strict=True)
        )
        scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1)
        mixed = scores.softmax(-1) @ value.transpose(1, 2)
        return attention.proj(mixed.transpose(1, 2).reshape(-1, heads * width))


def _order(height: int, width: int, patch_height: int, patch_width: int) -> Tensor:
    """Place in a patch by patch: for each row of (P, M) tokens, its number in the picture."""
    places = torch.arange(height * width).view(
        height // patch_height, patch_height, width // patch_width, patch_width
    )
    return places.permute(1, 3, 0, 2).flatten()


class FixedQueryPool(nn.Module):
    """`AttentionPool` with everything worked out that does not depend on the frames.

    q (W x) is (q W) x, a mean of values is the value of the mean, and shares add up to 1, which
    leaves biases outside. Letters: G heads, D width of one, S = 1 + window, the query's own place
    first.

    asked: (G, E) what a head asks of a token. own: (G, 1, 1) its score for the query itself.
    asked_places: (G, window) its score for a time position. fixed: (S, E) the query and the time
    positions. value: (G, E, D). out_bias: (E,).
    """

    def __init__(self, pool: AttentionPool) -> None:
        super().__init__()
        inner, self.window, self.latest = pool.attention, pool.stream_frames, pool._latest
        heads, width = inner.num_heads, inner.embed_dim
        query_w, key_w, value_w = inner.in_proj_weight.double().unflatten(0, (3, heads, -1))
        query_b, _, value_b = inner.in_proj_bias.double().unflatten(0, (3, heads, -1))
        query = pool.query[0].double()
        out = inner.out_proj
        head_query = query_w @ query[0] + query_b
        asked = torch.einsum("gd,gde->ge", head_query, key_w) / (width // heads) ** 0.5
        places = torch.zeros(self.window, width, dtype=torch.float64)
        if pool.positions:
            places = sinusoidal_positions(self.window, width).double()
        self.heads = heads
        self.norm = pool.norm
        self.has_places = pool.positions
        self.out_weight = nn.Parameter(out.weight, requires_grad=False)
        parts = {
            "asked": asked,
            "own": (asked @ query.T)[..., None],
            "asked_places": asked @ places.T,
            "fixed": torch.cat([query, places]),
            "value": value_w.transpose(1, 2),
            "out_bias": out.weight.double() @ value_b.flatten() + out.bias.double(),
        }
        for name, part in parts.items():
            self.register_buffer(name, part.float().contiguous(), persistent=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self._look(*self.latest(tokens, mask))

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """As `AttentionPool.step`. The rows of the state move by one gather: the new token stands
        behind them, and each place takes the row that belongs there."""
        tokens, count = state
        window = self.window
        slots = torch.arange(window, device=token.device)
        full = (count >= window)[:, None]
        source = torch.where(slots == count[:, None], window, slots)
        source = torch.where(full, slots + 1, source)
        together = torch.cat([tokens, token[:, None].to(tokens.dtype)], dim=1)
        first = torch.arange(token.shape[0], device=token.device)[:, None] * (window + 1)
        rows = together.flatten(0, 1).index_select(0, (first + source).flatten())
        tokens = rows.unflatten(0, (-1, window))
        count = (count + 1).clamp(max=window)
        return self._look(tokens, time_mask(count, window)), (tokens, count)

    def _look(self, tokens: Tensor, mask: Tensor) -> Tensor:
        buffers = cast(Any, self)
        frames = tokens.shape[1]
        scores = buffers.asked @ tokens.transpose(1, 2)
        if self.has_places:
            scores = scores + buffers.asked_places[:, :frames]
        scores = torch.where(mask[:, None], scores, -torch.inf)
        own = buffers.own[:, 0].expand(tokens.shape[0], -1, -1)
        shares = torch.cat([own, scores], dim=2).softmax(-1)
        mean = shares[..., 1:] @ tokens
        fixed = buffers.fixed[: 1 + frames] if self.has_places else buffers.fixed[:1]
        mean = mean + shares[..., : len(fixed)] @ fixed
        values = (mean[:, :, None] @ buffers.value).flatten(1)
        return self.norm(F.linear(values, self.out_weight, buffers.out_bias))
