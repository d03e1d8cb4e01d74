"""small-cnn: a picture backbone to train from scratch on a few hundred clips.

    (N, 3, S, S) -> four times [3x3 convolution of stride 2, BatchNorm, ReLU] -> (N, C, S/16, S/16)
      -> average to a 4 x 4 grid -> Flatten -> (N, 16 C)

What sets it apart from the networks of timm is the grid: where something is survives to the
features. A global average throws places away, and a network trained from scratch on few clips
does not find them again: on filmed actors it stays at chance where this one learns.
"""

from __future__ import annotations

from torch import nn

GRID = 4

WIDTHS: dict[str, tuple[int, ...]] = {
    "small-cnn": (16, 32, 64, 96),
    "small-cnn-wide": (32, 64, 128, 192),
}
"""Channels after each stage, by the name of the backbone."""


class SmallCNN(nn.Sequential):
    """Takes normalised pixels (N, 3, S, S), S a multiple of 64; gives features (N, 16 C)."""

    def __init__(self, widths: tuple[int, ...], dropout: float = 0.2) -> None:
        stages = [_stage(a, b) for a, b in zip((3, *widths), widths, strict=False)]
        super().__init__(*stages, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Dropout(dropout))
        self.num_features = widths[-1] * GRID * GRID


def _stage(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
