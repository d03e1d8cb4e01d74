"""From the tokens of frames to one embedding of the clip: the temporal heads of `frames`.

Each takes tokens (B, T, E) and a mask (B, T), True where a frame is real, and gives (B, E). Real
frames come first, padding after them. Each also reads a stream: `step` takes the token (B, E) of
one frame and a state, and gives what the whole clip so far would.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from understudy.models.layers import last_real, sinusoidal_positions, time_mask
from understudy.models.tcn import TemporalConvNet
from understudy.types import State

TEMPORAL_HEADS = ("average", "attention", "tcn", "gru")


class TemporalHead(Protocol):
    stream_frames: int | None
    """As in `StreamingRecognizer`."""

    def __call__(self, tokens: Tensor, mask: Tensor) -> Tensor: ...

    def init_state(self, batch_size: int, width: int, like: Tensor) -> State:
        """The state before the first token of `width`, on the device and in the type of `like`."""
        ...

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]: ...


class AveragePool(nn.Module):
    """The mean of the real frames. Knows what was seen, not in which order.

    State: the running mean (B, E) and the number of frames in it (B, 1), both float32. A mean
    stays within its tokens' range however long a stream runs; a sum would not.
    """

    stream_frames: int | None = None

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        weight = mask.to(tokens.dtype)[..., None]
        return (tokens * weight).sum(1) / weight.sum(1)

    def init_state(self, batch_size: int, width: int, like: Tensor) -> State:
        mean = torch.zeros(batch_size, width, device=like.device)
        return mean, torch.zeros(batch_size, 1, device=like.device)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        mean, count = state
        count = count + 1
        mean = mean + (token - mean) / count
        return mean.to(token.dtype), (mean, count)


class AttentionPool(nn.Module):
    """A learned query looks at the latest frames and at itself; its output is the clip.

    `window` is how many of the latest frames it looks at; the first of them has position 0.
    `positions=False` leaves out the fixed sinusoidal time positions. The pool then cannot tell a
    clip from its reverse; the option exists to show just that.

    State: the tokens of those frames (B, window, E), oldest first, and how many there are, (B,)
    int64.
    """

    def __init__(self, width: int, heads: int, dropout: float, positions: bool, window: int):
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.positions = positions
        self.stream_frames = window

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        seen, hidden = self._seen(*self._latest(tokens, mask))
        query = self.query.expand(tokens.shape[0], -1, -1)  # len() would fix the batch of an export
        # Only the query's row of the attention is used, so only that row is computed.
        pooled, _ = self.attention(query, seen, seen, key_padding_mask=hidden, need_weights=False)
        return self.norm(pooled[:, 0])

    def _seen(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The query and the tokens in their places (B, 1 + T, E), and which to leave out."""
        batch, frames, width = tokens.shape
        if self.positions:
            tokens = tokens + sinusoidal_positions(frames, width, tokens.device).to(tokens.dtype)
        seen = torch.cat([self.query.expand(batch, -1, -1), tokens], dim=1)
        return seen, torch.cat([torch.zeros_like(mask[:, :1]), ~mask], dim=1)

    def _latest(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The last `window` real tokens of each clip, from the left, and their mask."""
        frames, window = tokens.shape[1], self.stream_frames
        if frames <= window:
            return tokens, mask
        lengths = mask.sum(1)
        first = (lengths - window).clamp(min=0)
        place = first[:, None] + torch.arange(window, device=tokens.device)
        index = place[..., None].expand(-1, -1, tokens.shape[2])
        return tokens.gather(1, index), time_mask(lengths, window)

    def init_state(self, batch_size: int, width: int, like: Tensor) -> State:
        tokens = like.new_zeros(batch_size, self.stream_frames, width)
        return tokens, torch.zeros(batch_size, dtype=torch.int64, device=like.device)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        tokens, count = state
        window = self.stream_frames
        full = count >= window
        tokens = torch.where(full[:, None, None], tokens.roll(-1, dims=1), tokens)
        slots = torch.arange(window, device=token.device)
        here = slots == count.clamp(max=window - 1)[:, None]
        tokens = torch.where(here[..., None], token[:, None].to(tokens.dtype), tokens)
        count = (count + 1).clamp(max=window)
        return self._look(tokens, time_mask(count, window)), (tokens, count)

    def _look(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What `forward` gives, with the products taken in another order.

        A query that never changes needs no key and no value of each frame: q (W x) is (q W) x, and
        a mean of values is the value of the mean. So a step costs 4 E^2 and a little for each
        frame, not 2 E^2 for each frame. Letters: G heads, D width of one.
        """
        seen, hidden = self._seen(tokens, mask)
        inner, heads = self.attention, self.attention.num_heads
        query_w, key_w, value_w = inner.in_proj_weight.unflatten(0, (3, heads, -1))  # (G, D, E)
        query_b, _, value_b = inner.in_proj_bias.unflatten(0, (3, heads, -1))  # (G, D)
        query = query_w @ self.query[0, 0] + query_b
        # The keys' bias adds the same to every score of a head, which the softmax takes out again.
        asked = torch.einsum("gd,gde->ge", query, key_w) / query.shape[1] ** 0.5
        scores = torch.einsum("ge,bte->bgt", asked, seen)
        shares = scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1)
        shares = dropout(shares, inner.dropout, self.training)
        mean = torch.einsum("bgt,bte->bge", shares, seen)
        values = torch.einsum("bge,gde->bgd", mean, value_w) + shares.sum(2, True) * value_b
        return self.norm(inner.out_proj(values.flatten(1)))


class RecurrentPool(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) reads the frames; its last hidden state is the clip.

    State: the hidden state (B, E).
    """

    stream_frames: int | None = None

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        hidden, _ = self.gru(tokens)
        return last_real(hidden, mask)

    def init_state(self, batch_size: int, width: int, like: Tensor) -> State:
        return (like.new_zeros(batch_size, width),)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        (hidden,) = state
        output, after = self.gru(token[:, None], hidden[None])
        return output[:, 0], (after[0],)


def create_temporal_head(
    name: str,
    width: int,
    *,
    dropout: float,
    heads: int,
    positions: bool,
    window: int,
    layers: int,
    kernel: int,
) -> TemporalHead:
    """The head `average`, `attention`, `tcn` or `gru`; the options of the others are not read."""
    if name == "average":
        head = AveragePool()
    elif name == "attention":
        head = AttentionPool(width, heads, dropout, positions, window)
    elif name == "tcn":
        head = TemporalConvNet(width, layers, kernel, dropout)
    else:
        assert name == "gru", name
        head = RecurrentPool(width)
    return cast(TemporalHead, head)
