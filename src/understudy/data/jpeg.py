"""Frames as JPEG and back, by Pillow. A file that a recipe wants as JPEG passes through both, so
that it gives the pixels that a pack of JPEGs gives."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_jpeg(frame: Tensor, quality: int) -> Tensor:
    """(3, H, W) uint8 RGB -> (n,) uint8, the bytes of a JPEG. quality: 1 to 100."""
    into = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(into, "JPEG", quality=quality)
    return torch.frombuffer(bytearray(into.getvalue()), dtype=torch.uint8)


def from_jpeg(stored: Tensor, height: int, width: int) -> Tensor:
    """(n,) uint8 -> (3, height, width) uint8 RGB. Raises ValueError for anything but a JPEG of that
    size, whose pixels are not decoded."""
    try:
        with Image.open(io.BytesIO(stored.numpy().tobytes()), formats=("JPEG",)) as image:
            if image.size != (width, height):
                raise ValueError(f"{image.size} pixels in place of {(width, height)}")
            pixels = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("no JPEG") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def through_jpeg(frame: Tensor, quality: int) -> Tensor:
    """A frame (3, H, W) as it comes back from a JPEG."""
    return from_jpeg(to_jpeg(frame, quality), *frame.shape[1:])
