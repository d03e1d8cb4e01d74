"""From the tokens of frames to one embedding of the clip: the temporal heads of `frames`.

Each takes tokens (B, T, E) and a mask (B, T), True where a frame is real, and gives (B, E).
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from understudy.models.layers import sinusoidal_positions


class TemporalHead(Protocol):
    def __call__(self, tokens: Tensor, mask: Tensor) -> Tensor: ...


class AveragePool(nn.Module):
    """The mean of the real frames. Knows what was seen, not in which order."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        weight = mask.to(tokens.dtype)[..., None]
        return (tokens * weight).sum(1) / weight.sum(1)


class AttentionPool(nn.Module):
    """A learned query looks at all frames and at itself; its output is the clip.

    `positions=False` leaves out the fixed sinusoidal time positions. The pool then cannot tell a
    clip from its reverse; the option exists to show just that.
    """

    def __init__(self, width: int, heads: int, dropout: float, positions: bool) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.positions = positions

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        batch, frames, width = tokens.shape
        if self.positions:
            tokens = tokens + sinusoidal_positions(frames, width, tokens.device).to(tokens.dtype)
        query = self.query.expand(batch, -1, -1)
        seen = torch.cat([query, tokens], dim=1)
        hidden = torch.cat([torch.zeros_like(mask[:, :1]), ~mask], dim=1)
        # Only the query's row of the attention is used, so only that row is computed.
        pooled, _ = self.attention(query, seen, seen, key_padding_mask=hidden, need_weights=False)
        return self.norm(pooled[:, 0])


def create_temporal_head(
    name: str, width: int, *, heads: int, dropout: float, positions: bool
) -> TemporalHead:
    if name == "average":
        return cast(TemporalHead, AveragePool())
    assert name == "attention", name
    return cast(TemporalHead, AttentionPool(width, heads, dropout, positions))
