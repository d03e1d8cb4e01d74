"""What a user names, a run, an artifact or a model of the hub, loaded as a `Classifier`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import UserError
from understudy.run import Run

if TYPE_CHECKING:
    from understudy.run import RunClassifier
    from understudy.ship.artifact import Artifact, ArtifactRecognizer

HUB = "hub:"
"""What a name of the Hugging Face hub begins with."""


def load(
    place: str | Path | Run | Artifact,
    *,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint: str = "best",
) -> RunClassifier | ArtifactRecognizer:
    """A run or an artifact, ready to be called and stepped; see `Classifier`.

    place: a run directory, a directory of an exported artifact, what was opened of either, or
    `hub:OWNER/NAME` (with `/FORMAT` for one format of several), which is fetched first.
    device: where a run computes: cpu, cuda, cuda:1, mps, or auto for the fastest that is there.
    threads: of the CPU that a call may use; None: as many as there are.
    checkpoint: of a run: best, final or epoch_010.
    Raises UserError for what is none of these, for a device that is not there, and where device or
    checkpoint is given for an artifact, which has one checkpoint and computes on the CPU.
    """
    source = open_place(place)
    return source.classifier(checkpoint, device=device_for(source, device), threads=threads)


def open_place(place: str | Path | Run | Artifact) -> Run | Artifact:
    """The run or the artifact that a user names; a model of the hub is fetched first.

    Raises UserError where there is neither, and for an artifact that is damaged.
    """
    from understudy.ship.artifact import open_source

    if isinstance(place, str) and place.startswith(HUB):
        from understudy.ship.hub import fetch_from_hub

        place = fetch_from_hub(place.removeprefix(HUB))
    return open_source(place)


def device_for(source: Run | Artifact, name: str) -> str:
    """As `find_device`; the fastest device of an artifact is the CPU, the only one it has."""
    return "cpu" if name == "auto" and not isinstance(source, Run) else find_device(name)


def find_device(name: str) -> str:
    """The device of PyTorch that a user means. Raises UserError for one that is not there."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, usable in there.items() if usable), "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", *there) or (number and not (kind == "cuda" and number.isdecimal())):
        raise UserError(f"There is no device {name}. Give cpu, cuda, cuda:1, mps or auto.")
    usable = [device for device, found in there.items() if found]
    count = torch.cuda.device_count() if number else 0
    if kind != "cpu" and (kind not in usable or (number and int(number) >= count)):
        raise UserError(
            f"This machine has no device {name} that PyTorch can use. "
            f"There: {', '.join(['cpu', *usable])}."
        )
    return name
