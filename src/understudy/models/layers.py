"""Blocks that several models share. Shape letters as in `understudy.types`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from understudy.errors import UserError


class Normalize(nn.Module):
    """uint8 pixels to the floats a backbone was trained on.

    Takes (N, 3, H, W) uint8, gives (N, 3, H, W) float: `(pixels / 255 - mean) / std`. Mean and std
    are buffers, so they travel with the weights and into every export.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        if not (all(0 <= one <= 1 for one in mean) and all(0 < one < math.inf for one in std)):
            raise UserError(
                f"mean is {list(mean)} and std is {list(std)}: a mean lies between 0 and 1 and a "
                "std above 0, since they are of pixels from 0 to 1. Divide those of 0 to 255 by "
                "255."
            )
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.to(self.mean.dtype) / 255 - self.mean) / self.std


def time_mask(lengths: Tensor, frames: int) -> Tensor:
    """(B,) lengths to (B, T) bool, True where a frame is real and not padding."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def spread_real(values: Tensor, mask: Tensor) -> Tensor:
    """What was computed of the real frames alone, (N, ...), in its places (B, T, ...); else 0."""
    spread = values.new_zeros(*mask.shape, *values.shape[1:])
    spread[mask] = values
    return spread


def last_real(values: Tensor, mask: Tensor) -> Tensor:
    """Of (B, T, C) the row (B, C) at each clip's last real frame."""
    last = mask.sum(1) - 1
    return values.gather(1, last[:, None, None].expand(-1, 1, values.shape[2]))[:, 0]


def sinusoidal_positions(
    frames: int, width: int, device: torch.device | None = None, first: int = 0
) -> Tensor:
    """Fixed time positions (T, width) float32 (Vaswani et al. 2017, section 3.5).

    They cost no parameters, and without any position attention pooling is blind to order: it gives
    a clip and its reverse the same answer.
    """
    assert width % 2 == 0, "sine and cosine take half of the width each"
    time = torch.arange(first, first + frames, dtype=torch.float32, device=device)[:, None]
    half = torch.arange(width // 2, dtype=torch.float32, device=device)
    angle = time * torch.exp(-math.log(10_000.0) * half / (width // 2))
    return torch.cat([angle.sin(), angle.cos()], dim=1)
