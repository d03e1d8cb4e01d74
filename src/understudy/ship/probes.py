"""What an export is tried on: real clips and streams, and some that real data seldom holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

STREAM_FRAMES = 256
"""Frames of a stream that is stepped through, enough for a state that drifts to show it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Clips on which two recognisers are compared in one call.

    frames: (B, T, 3, S, S) uint8 RGB. lengths: (B,) int64.
    """

    name: str
    frames: Tensor
    lengths: Tensor


def real_probes(clips: Sequence[Tensor], frames: int) -> list[Probe]:
    """Real clips, each (t, 3, S, S) uint8 with t <= `frames`, in batches of 1, 3, 3, ...

    Batches of one and of three show that the batch stayed dynamic.
    """
    starts = [0, *range(1, len(clips), 3)]
    return [
        _batch("real clips", clips[start:end], frames)
        for start, end in zip(starts, [*starts[1:], len(clips)], strict=True)
    ]


def awkward_probes(frames: int, size: int) -> list[Probe]:
    """Clips that real data seldom holds: noise, black, one frame, several lengths in a batch."""
    noise = partial(_noise, size=size, generator=torch.Generator().manual_seed(0))
    black = torch.zeros(frames, 3, size, size, dtype=torch.uint8)
    probes = [
        _batch("noise", [noise(frames)], frames),
        _batch("noise, batch of 3", [noise(frames) for _ in range(3)], frames),
        _batch("black", [black], frames),
    ]
    if frames > 1:
        lengths = (1, (frames + 1) // 2, frames)
        probes.append(_batch("one frame", [noise(1)], frames))
        probes.append(_batch("three lengths", [noise(length) for length in lengths], frames))
    return probes


def probe_stream(clips: Sequence[Tensor]) -> Tensor:
    """A stream (256, 3, S, S) uint8: real clips one after the other, over and over, then noise,
    then black; an eighth of it each."""
    eighth = STREAM_FRAMES // 8
    real = torch.cat(list(clips))
    size = real.shape[-1]
    rounds = -(-6 * eighth // len(real))
    noise = _noise(eighth, size, torch.Generator().manual_seed(2))
    return torch.cat([real.repeat(rounds, 1, 1, 1)[: 6 * eighth], noise, torch.zeros_like(noise)])


def _noise(frames: int, size: int, generator: torch.Generator) -> Tensor:
    shape = (frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _batch(name: str, clips: Sequence[Tensor], frames: int) -> Probe:
    """Clips of any length as one batch; the padding is noise, which must not matter."""
    noise = _noise(len(clips) * frames, clips[0].shape[-1], torch.Generator().manual_seed(1))
    padded = noise.unflatten(0, (len(clips), frames))
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return Probe(name, padded, torch.tensor([len(clip) for clip in clips]))
