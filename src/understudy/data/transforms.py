"""Pixels on their way to a model: one resize for everybody, and augmentation that can be replayed.

Augmentation has two halves. `draw` makes numbers from (seed, clip, view): they say where a window
lies and how light changes, in shares of the picture, and know no pixel. `apply` carries them out,
at any size, on whatever device the pixels are; so a teacher sees the same draw at its own size.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from understudy.recipe import Augment

WINDOW_RATIO = (3 / 4, 4 / 3)
"""Width over height of a random window, as in Szegedy et al. 2015 ("Going deeper with
convolutions", section 6)."""
ERASED_AREA = (0.02, 0.33)
"""Share of the picture that is blanked (Zhong et al. 2020, "Random erasing data augmentation")."""
ERASED_RATIO = (0.3, 3.3)


def prepare(frames: Tensor, size: int) -> Tensor:
    """Resize the shorter side to `size`, then crop the centre.

    frames: (T, 3, H, W) uint8 -> (T, 3, size, size) uint8. Training without augmentation,
    evaluation, prediction and export checks all use this one, since two resizes differ visibly.
    """
    return F.center_crop(resize_short_side(frames, size), [size, size])


def resize_short_side(frames: Tensor, size: int) -> Tensor:
    """Resize so that the shorter side has `size` pixels; antialiased bilinear, aspect kept."""
    if min(frames.shape[-2:]) == size:
        return frames
    return F.resize(frames, [size], antialias=True)


class Draw(NamedTuple):
    """The numbers of one augmentation draw; the defaults change nothing.

    area: of the window, as a share of the largest square in the picture's middle, which is what
    evaluation sees. ratio: its width over its height. right, down: where it lies in that square, 0
    to 1. rotation_degrees: of the picture, before the window is cut out. brightness,
    contrast, saturation: factors. hue: shift, in turns of the colour circle. erased: left, top,
    right and bottom of a blank, in shares of the window; None: none.
    """

    area: float = 1.0
    ratio: float = 1.0
    right: float = 0.5
    down: float = 0.5
    flip: bool = False
    rotation_degrees: float = 0.0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    erased: tuple[float, float, float, float] | None = None


def draw(config: Augment, *, seed: int, clip: str, view: int) -> Draw:
    """One draw for all frames of a clip.

    clip: what the clip is known by, its `key`. The same (seed, clip, view) gives the same numbers
    on every machine, whatever was drawn before; the global random state is not used.
    """
    generator = generator_of("augment", seed, clip, view)
    # Every number is drawn, also where it is not used: switching one kind on moves no other.
    u = torch.rand(15, generator=generator, dtype=torch.float64).tolist()

    def around(strength: float, share: float) -> float:
        """A factor between max(0, 1 - strength) and 1 + strength."""
        low = max(0.0, 1 - strength)
        return low + (1 + strength - low) * share

    windowed = config.crop_scale < 1
    return Draw(
        area=config.crop_scale + (1 - config.crop_scale) * u[0] if windowed else 1.0,
        ratio=_log_between(WINDOW_RATIO, u[1]) if windowed else 1.0,
        right=u[2] if windowed else 0.5,
        down=u[3] if windowed else 0.5,
        flip=u[4] < config.flip,
        rotation_degrees=config.rotation_degrees * (2 * u[5] - 1),
        brightness=around(config.brightness, u[6]),
        contrast=around(config.contrast, u[7]),
        saturation=around(config.saturation, u[8]),
        hue=config.hue * (2 * u[9] - 1),
        erased=_blank(u[11:]) if u[10] < config.erase else None,
    )


def apply(clips: Sequence[Tensor], draws: Sequence[Draw], size: int) -> list[Tensor]:
    """Carry out one draw for each clip, on the device where its pixels are.

    clips: each (T, 3, H, W) uint8, of any T, H and W -> (T, 3, size, size) uint8. A draw that
    changes nothing gives what `prepare` gives.
    """
    return [_applied(frames, numbers, size) for frames, numbers in zip(clips, draws, strict=True)]


def window(numbers: Draw, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width in pixels of what a draw cuts out of a picture.

    The window lies in the largest square in the middle, at every aspect: training sees parts of
    what evaluation sees. It keeps its shape wherever that fits; where it does not, it ends at the
    square's edge.
    """
    square = min(height, width)
    side = math.sqrt(numbers.area) * square
    across = min(square, max(1, round(side * math.sqrt(numbers.ratio))))
    along = min(square, max(1, round(side / math.sqrt(numbers.ratio))))
    top = (height - square) // 2 + round(numbers.down * (square - along))
    left = (width - square) // 2 + round(numbers.right * (square - across))
    return top, left, along, across


def generator_of(purpose: str, seed: int, clip: str, view: int) -> torch.Generator:
    """Random numbers for one purpose, the same on every machine and in every process."""
    text = f"{purpose}/{seed}/{clip}/{view}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(number)


def _applied(frames: Tensor, numbers: Draw, size: int) -> Tensor:
    if numbers.rotation_degrees:
        frames = F.rotate(frames, numbers.rotation_degrees, InterpolationMode.BILINEAR)
    if numbers[:4] == Draw()[:4]:
        frames = prepare(frames, size)
    else:
        top, left, along, across = window(numbers, *frames.shape[-2:])
        frames = F.resized_crop(frames, top, left, along, across, [size, size], antialias=True)
    if numbers.flip:
        frames = F.horizontal_flip(frames)
    if numbers.brightness != 1:
        frames = F.adjust_brightness(frames, numbers.brightness)
    if numbers.contrast != 1:
        frames = F.adjust_contrast(frames, numbers.contrast)
    if numbers.saturation != 1:
        frames = F.adjust_saturation(frames, numbers.saturation)
    if numbers.hue:
        frames = F.adjust_hue(frames, numbers.hue)
    if numbers.erased is not None:
        left, top, right, bottom = (round(share * size) for share in numbers.erased)
        frames = frames.clone()
        frames[..., top:bottom, left:right] = 0
    return frames


def _blank(u: Sequence[float]) -> tuple[float, float, float, float]:
    area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * u[0]
    ratio = _log_between(ERASED_RATIO, u[1])
    across, along = min(1.0, math.sqrt(area * ratio)), min(1.0, math.sqrt(area / ratio))
    left, top = u[2] * (1 - across), u[3] * (1 - along)
    return left, top, left + across, top + along


def _log_between(ends: tuple[float, float], share: float) -> float:
    """Between two ratios, so that one and its inverse are equally likely."""
    low, high = map(math.log, ends)
    return math.exp(low + (high - low) * share)
