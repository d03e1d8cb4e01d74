"""How a frame looks, in two kilobytes, so that copies are found again however they were written."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 48
"""Pixels a side, whatever the frame's shape was: a copy may have been squeezed."""
LOOKS_PER_S = 4
_STEP = 4
"""Grey levels that are one: finer ones are noise, and cost space."""


def look_of(pixels: Tensor) -> np.ndarray:
    """(3, H, W) uint8 RGB -> (SIDE, SIDE) uint8 grey, in steps of 4 levels."""
    import torch  # a table is checked without it

    grey = pixels.float().mean(0)[None, None]
    small = torch.nn.functional.interpolate(grey, [SIDE, SIDE], mode="area")
    return (small[0, 0].numpy() / _STEP).astype(np.uint8)


def packed(looks: Sequence[np.ndarray]) -> str:
    """Looks in the order of time, as text. Neighbours hardly differ, so differences are kept."""
    array = np.stack(looks)
    array[1:] = np.diff(array, axis=0)  # modulo 256
    return base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()


def unpacked(text: str) -> np.ndarray:
    """(N, SIDE, SIDE) uint8, as they were packed. Raises ValueError for other text."""
    try:
        content = zlib.decompress(base64.b64decode(text, validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    array = np.frombuffer(content, np.uint8).reshape(-1, SIDE, SIDE)
    return np.cumsum(array, axis=0, dtype=np.uint8)
