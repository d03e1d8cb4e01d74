"""What can be timed: a run, an artifact, any recogniser in memory; and the clips they all see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.run import Run
from understudy.ship.artifact import Artifact, load_artifact
from understudy.ship.contract import frames_taken
from understudy.ship.macs import count_macs
from understudy.types import Output, Recognizer, parameter_count


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to time. `load(threads)` gives a function of frames (B, T, 3, S, S) uint8.

    path: the run or artifact it comes from; None for a bare model, whose memory cannot be measured
    in a process of its own.
    """

    name: str
    kind: str
    load: Callable[[int], Callable[[Tensor], Output]]
    frames: int
    size: int
    parameters: int
    macs_per_clip: int
    path: Path | None = None
    file_bytes: int | None = None
    checkpoint: str = ""


def subject_of_run(run: Run, checkpoint: str = "best") -> Subject:
    """A run's model in PyTorch, on the CPU."""
    model = run.load_model(checkpoint)
    file = run.checkpoint_path(checkpoint)
    return subject_of_model(
        run.name,
        model,
        frames=frames_taken(run, model),
        size=run.recipe.data.size,
        kind="run",
        path=run.path,
        file_bytes=file.stat().st_size,
        checkpoint=checkpoint,
    )


def subject_of_artifact(artifact: Artifact) -> Subject:
    """An exported model in its own runtime."""
    contract = artifact.contract
    return Subject(
        name=f"{contract['run']} ({contract['runtime']})",
        kind="artifact",
        load=lambda threads: load_artifact(artifact.path, threads=threads),
        frames=contract["input"]["frames"],
        size=contract["input"]["size"],
        parameters=contract["parameters"],
        macs_per_clip=contract["graphs"]["clip"]["macs"],
        path=artifact.path,
        file_bytes=contract["graphs"]["clip"]["bytes"],
    )


def subject_of_model(
    name: str, model: Recognizer, *, frames: int, size: int, kind: str = "model", **known: Any
) -> Subject:
    """Any recogniser in memory, a teacher for instance. It is put into evaluation mode."""
    model.eval()
    return Subject(
        name=name,
        kind=kind,
        load=lambda threads: model,
        frames=frames,
        size=size,
        parameters=parameter_count(model),
        macs_per_clip=count_macs(model, natural_clips(1, frames, size)),
        **known,
    )


def natural_clips(batch: int, frames: int, size: int) -> Tensor:
    """Random clips (B, T, 3, S, S) uint8 with the coarse structure and fine grain of pictures.

    Some kernels are faster on constant or saturated input, so plain noise would mislead.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch * frames, 3, 7, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    grain = torch.randn(smooth.shape, generator=generator) * 0.03
    pixels = ((smooth + grain) * 255).clamp(0, 255).to(torch.uint8)
    return pixels.unflatten(0, (batch, frames))
