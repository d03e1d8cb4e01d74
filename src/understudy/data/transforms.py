"""Pixels on their way to a model: one resize for everybody, and replayable augmentation.

Everything is torchvision.transforms.v2, which draws once for a tensor (T, 3, H, W) and applies that
draw to all of its frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from understudy.recipe import Augment


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


def augment(
    frames: Tensor, size: int, config: Augment, *, seed: int, record: int, view: int
) -> Tensor:
    """One augmentation draw for all frames of a clip.

    frames: (T, 3, H, W) uint8 -> (T, 3, size, size) uint8. The same (seed, record, view) always
    gives the same pixels, whatever was drawn before; the global random state is left as it was. A
    configuration that draws nothing gives what `prepare` gives.
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also reseed accelerators, which fork_rng then would not restore.
        torch.default_generator.manual_seed(draw_seed("augment", seed, record, view))
        for step in _steps(size, config):
            frames = step(frames)
    return frames


def draw_seed(purpose: str, seed: int, record: int, view: int) -> int:
    """A seed for one random draw, the same on every machine and in every process."""
    text = f"{purpose}/{seed}/{record}/{view}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _steps(size: int, config: Augment) -> Iterator[Callable[[Tensor], Tensor]]:
    if config.rotation_degrees > 0:
        yield v2.RandomRotation(
            [-config.rotation_degrees, config.rotation_degrees],
            interpolation=v2.InterpolationMode.BILINEAR,
        )
    if config.crop_scale < 1:
        yield v2.RandomResizedCrop(size, scale=(config.crop_scale, 1.0), antialias=True)
    else:
        yield lambda frames: prepare(frames, size)
    if config.flip > 0:
        yield v2.RandomHorizontalFlip(config.flip)
    if config.brightness or config.contrast or config.saturation or config.hue:
        yield v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue)
    if config.erase > 0:
        yield v2.RandomErasing(config.erase)
