"""From a frame as FFmpeg decodes it to RGB pixels, upright, by PyAV."""

from __future__ import annotations

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from torch import Tensor


def to_rgb(frame: VideoFrame, reformatter: VideoReformatter) -> Tensor:
    """A decoded frame as (3, H, W) uint8 RGB, as a player shows it; transparency on white.

    reformatter: the same one for all frames of a stream, since it keeps what it has set up.
    """

    def convert(format: str) -> np.ndarray:
        # One thread: starting more takes nine tenths of the time of a small frame.
        return reformatter.reformat(frame, format=format, threads=1).to_ndarray()

    if any(component.is_alpha for component in frame.format.components):
        rgba = convert("rgba").astype(np.uint16)
        opaque = rgba[..., 3:]
        rgb = ((rgba[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
    else:
        rgb = convert("rgb24")
    return upright(torch.from_numpy(rgb).permute(2, 0, 1), frame).contiguous()


def upright(pixels: Tensor, frame: VideoFrame) -> Tensor:
    """Turn and mirror pixels (..., H, W) as the display matrix of the file asks."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return torch.rot90(pixels, round(frame.rotation / 90), (-2, -1))
    a, b, c, d = matrix
    if abs(b) > abs(a):  # x and y change places
        pixels, a, d = pixels.transpose(-2, -1), c, b
    if a < 0:
        pixels = pixels.flip(-1)
    return pixels.flip(-2) if d < 0 else pixels


def is_turned(frame: VideoFrame) -> bool:
    """Whether a frame is shown turned or mirrored."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return bool(frame.rotation)
    a, b, c, d = matrix
    return bool(b or c) or a < 0 or d < 0


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """The linear part (a, b, c, d): a point (x, y) is shown at (a x + c y, b x + d y)."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV refuses all side data when one of them is of a kind it does not know
        return None
    if data is None:
        return None
    values = np.frombuffer(bytes(data), dtype=np.int32)
    return int(values[0]), int(values[1]), int(values[3]), int(values[4])
