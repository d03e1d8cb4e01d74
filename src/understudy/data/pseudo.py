"""Pseudo-clips: a camera moves over one still, so that a picture becomes T frames.

The camera pans, zooms and rolls along a smooth random path: a quadratic Bezier curve between three
random poses, which starts and stops at rest. How far they lie apart is drawn too, from not at all
to all the way, since many real cameras hardly move. A pose says how large the window is, and how
far it has left the middle as a share of the room that a window of that size has. So the path cannot
leave the picture: no border is shown and none need be made up. Nothing in the picture moves by
itself; what a clip of it teaches is to recognise it whatever the camera does.

Shape letters: T frames, H and W pixels, S pixels a side of a frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from understudy.data.transforms import generator_of
from understudy.recipe import Pseudo


def pseudo_clip(
    picture: Tensor, frames: int, size: int, config: Pseudo, *, seed: int, clip: str, view: int
) -> Tensor:
    """Film a picture with a moving camera.

    picture: (3, H, W) uint8 -> (frames, 3, size, size) uint8. Each frame is one bilinear sampling
    of the picture. The same (seed, clip, view) always gives the same pixels; the global random
    state is not used. Where nothing may move, every frame is what `prepare` gives of a picture
    whose shorter side is `size`.
    """
    generator = generator_of("pseudo", seed, clip, view)
    height, width = picture.shape[-2:]
    windows = camera_path(frames, height, width, config, generator)
    still = picture.to(torch.float32).expand(frames, -1, -1, -1)
    grid = functional.affine_grid(windows, [frames, 3, size, size], align_corners=False)
    # "border" only completes the half pixel between a window's edge and its outermost samples.
    filmed = functional.grid_sample(still, grid, padding_mode="border", align_corners=False)
    return filmed.round_().clamp_(0, 255).to(torch.uint8)


def held(frames: Tensor, count: int) -> Tensor:
    """A picture before a camera at rest: (1, 3, H, W) -> (count, 3, H, W)."""
    return frames.expand(count, -1, -1, -1).contiguous()


def camera_path(
    frames: int, height: int, width: int, config: Pseudo, generator: torch.Generator
) -> Tensor:
    """The window of every frame as an affine map, (T, 2, 3) float32.

    It takes a frame's coordinates to the picture's, both from -1 to 1 between the outer edges, as
    `torch.nn.functional.affine_grid` has it. Every window lies inside the picture.
    """
    # Control poses in the rows; columns: zoom 0 to 1, roll, right and down -1 to 1.
    poses = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    poses[:, 1:] = 2 * poses[:, 1:] - 1
    poses = torch.lerp(poses[:1], poses, torch.rand(1, generator=generator, dtype=torch.float64))
    zoom, roll, right, down = (_bezier(frames) @ poses).unbind(1)
    angle = torch.deg2rad(config.rotation_degrees * roll)
    # A square turned by an angle reaches cos + sin times as far as an upright one. The largest
    # turn of the three poses, which the curve never exceeds, keeps the window's size smooth.
    turn = math.radians(config.rotation_degrees * float(poses[:, 1].abs().max()))
    spread = math.cos(turn) + math.sin(turn)
    half = min(height, width) / 2 / spread / config.zoom**zoom  # half a window's side, in pixels
    centre_x = config.pan * right * (width / 2 - half * spread)
    centre_y = config.pan * down * (height / 2 - half * spread)
    cos, sin = half * torch.cos(angle), half * torch.sin(angle)
    rows = [torch.stack([cos, -sin, centre_x], 1), torch.stack([sin, cos, centre_y], 1)]
    scale = torch.tensor([[width / 2], [height / 2]], dtype=torch.float64)
    return (torch.stack(rows, 1) / scale).to(torch.float32)


def picture_side(size: int, config: Pseudo) -> int:
    """Shorter side at which a picture is read, so that the closest window has all its pixels."""
    turn = math.radians(config.rotation_degrees)
    return math.ceil(size * config.zoom * (math.cos(turn) + math.sin(turn)) - 1e-9)


def _bezier(frames: int) -> Tensor:
    """Weights (T, 3) of the three poses over time; not negative, each row adds up to 1."""
    time = torch.linspace(0, 1, frames, dtype=torch.float64)
    eased = time * time * (3 - 2 * time)
    return torch.stack([(1 - eased) ** 2, 2 * eased * (1 - eased), eased**2], 1)
