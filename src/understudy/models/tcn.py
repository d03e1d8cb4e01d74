"""tcn: a temporal convolutional network as temporal head.

Bai, Kolter and Koltun 2018, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", section 3.

    tokens (B, T, E) -> L blocks, block l with dilation d = 2^l -> the last real frame's (B, E)
    block: x -> [causal convolution, ReLU, Dropout] twice -> + x -> ReLU

A causal convolution of kernel k and dilation d sees frames t, t-d, ..., t-(k-1)d and zeros before
the first. The last frame's activation depends on 1 + 2 (k-1) (2^L - 1) frames: 29 of them with
L = 3 and k = 3.

Two details follow the authors' code (locuslab/TCN, TCN/tcn.py): dropout strikes single activations
(the paper: whole channels), and the convolutions start as PyTorch starts them. The code does draw
smaller weights, but weight normalisation computes the weights anew from its own parameters, so they
never come into force. Width is E throughout, so no skip needs a 1 x 1 convolution.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad
from torch.nn.utils.parametrizations import weight_norm

from understudy.models.layers import last_real
from understudy.types import State


class CausalConv(nn.Module):
    """Takes (B, E, T), gives (B, E, T). `reach` is how many earlier frames it needs."""

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = cast(nn.Conv1d, weight_norm(nn.Conv1d(width, width, kernel, dilation=dilation)))
        self.reach = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (self.reach, 0)))

    def step(self, x: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """One frame (B, E) and the `reach` inputs before it (B, E, reach), oldest first."""
        inputs = torch.cat([earlier, x[..., None]], dim=2)
        # One output is one product of matrices, several times faster than a convolution.
        taps = inputs[..., :: self.conv.dilation[0]].flatten(1)
        output = linear(taps, self.conv.weight.flatten(1), self.conv.bias)
        # A copy, or every state would hold on to the frame that it has just forgotten.
        return output, inputs[..., 1:].contiguous()


class Block(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalConv(width, kernel, dilation)
        self.second = CausalConv(width, kernel, dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.first(x).relu())
        inner = self.dropout(self.second(inner).relu())
        return (x + inner).relu()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        inner, first = self.first.step(x, state[0])
        inner, second = self.second.step(self.dropout(inner.relu()), state[1])
        return (x + self.dropout(inner.relu())).relu(), (first, second)


class TemporalConvNet(nn.Module):
    """Tokens (B, T, E) and a mask (B, T) in, the activation (B, E) at the last real frame out.

    State: for each convolution its latest inputs (B, E, (k-1) d), zeros before the first frame.
    """

    stream_frames: int | None = None

    def __init__(self, width: int, layers: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, kernel, 2**level, dropout) for level in range(layers)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = tokens.transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return last_real(x.transpose(1, 2), mask)

    def init_state(self, batch_size: int, width: int, like: Tensor) -> State:
        reaches = [m.reach for m in self.modules() if isinstance(m, CausalConv)]
        return tuple(like.new_zeros(batch_size, width, reach) for reach in reaches)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        x, after = token, ()
        for level, block in enumerate(self.blocks):
            x, kept = cast(Block, block).step(x, state[2 * level : 2 * level + 2])
            after += kept
        return x, after
