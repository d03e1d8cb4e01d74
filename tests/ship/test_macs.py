"""Arithmetic counted while running equals arithmetic counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from understudy.ship.macs import count_macs
from understudy.types import Output, Recognizer


class Convolution(Recognizer):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 5)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        features = self.depthwise(self.convolution(frames.flatten(0, 1).float())).mean((2, 3))
        pooled = features.unflatten(0, frames.shape[:2]).mean(1)
        return Output(self.head(pooled), pooled)


class Attention(Recognizer):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        # Every frame is one token of 3 x 2 x 2 values.
        tokens = frames.flatten(2).float()
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return Output(self.head(mixed[:, 0]), mixed[:, 0])


def test_convolutions_are_counted_as_by_hand() -> None:
    frames = torch.zeros(1, 4, 3, 16, 20, dtype=torch.uint8)
    outputs = 8 * 10  # half of 16 x 20, by the stride
    by_hand = 4 * outputs * (8 * 3 * 9 + 8 * 9) + 8 * 5
    assert count_macs(Convolution().eval(), frames) == by_hand


@pytest.mark.parametrize("batch", [1, 3])
def test_attention_is_counted_as_by_hand(batch: int) -> None:
    # In evaluation this takes PyTorch's fused path, in which a plain counter sees nothing.
    tokens, width = 7, 12
    by_hand = batch * (4 * tokens * width * width + 2 * tokens * tokens * width + width * 5)
    frames = torch.zeros(batch, tokens, 3, 2, 2, dtype=torch.uint8)
    before = torch.backends.mha.get_fastpath_enabled()
    assert count_macs(Attention().eval(), frames) == by_hand
    assert torch.backends.mha.get_fastpath_enabled() == before
