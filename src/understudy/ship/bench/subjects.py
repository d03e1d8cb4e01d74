"""What can be timed: a run, an artifact, any recogniser in memory; and the clips they all see.

A subject reads whole clips; one that streams also reads new frames, its state fed back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from understudy.run import Run
from understudy.ship.artifact import Artifact, load_artifact
from understudy.ship.bench.accuracy import Accuracy, accuracy_of_artifact, accuracy_of_run
from understudy.ship.graphs import step_graph
from understudy.ship.macs import count_macs
from understudy.types import Recognizer, State, StreamingRecognizer, parameter_count

What = Literal["clip", "frame"]
"""What one call reads: a whole clip, or one new frame of a stream."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one call takes: multiply-accumulates, and the file that holds it, None in memory."""

    macs: int
    file_bytes: int | None = None
    precision: str = "fp32"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to time. `load(threads)` gives a function of frames (B, T, 3, S, S) uint8; what
    streams is also stepped, with `init_state` and `step`.

    kind: run, artifact, peer or model. reads: clip and, where it streams, frame. runtime: torch, or
    the format of an artifact. source: what a process of its own has to load, as `first_use` takes
    it; empty for a model in memory only. path: the run or artifact it comes from. accuracy: None
    where it was never measured.
    """

    name: str
    kind: str
    load: Callable[[int], Any]
    frames: int
    size: int
    parameters: int
    reads: Mapping[What, Reading]
    runtime: str = "torch"
    source: tuple[str, ...] = ()
    path: Path | None = None
    accuracy: Accuracy | None = None


def subject_of_run(run: Run, checkpoint: str = "best") -> Subject:
    """A run's model in PyTorch, on the CPU."""
    classifier = run.classifier(checkpoint)
    return subject_of_model(
        run.name,
        classifier.model,
        frames=classifier.clip_frames,
        size=classifier.input_size,
        file_bytes=run.checkpoint_path(checkpoint).stat().st_size,
        kind="run",
        source=("run", str(run.path), checkpoint),
        path=run.path,
        accuracy=accuracy_of_run(run, checkpoint),
    )


def subject_of_artifact(artifact: Artifact) -> Subject:
    """An exported model in its own runtime."""
    contract = artifact.contract
    runtime, precision = contract["runtime"], contract["precision"]
    graphs: list[tuple[What, str]] = [("clip", "clip"), ("frame", "step")]
    # The name says INT8; the quantisation scheme of each graph is the precision of its row.
    kind = "int8" if "int8" in precision else precision
    reads: dict[What, Reading] = {}
    for what, graph in graphs:
        if (entry := contract["graphs"].get(graph)) is not None:
            own = entry.get("precision", precision)
            reads[what] = Reading(entry["macs"], entry["bytes"], own)
    return Subject(
        name=f"{contract['run']} ({runtime if kind == 'fp32' else f'{runtime}, {kind}'})",
        kind="artifact",
        load=lambda threads: load_artifact(artifact.path, threads=threads),
        frames=contract["input"]["frames"],
        size=contract["input"]["size"],
        parameters=contract["parameters"],
        reads=reads,
        runtime=runtime,
        source=("artifact", str(artifact.path)),
        path=artifact.path,
        accuracy=accuracy_of_artifact(artifact),
    )


def subject_of_model(
    name: str,
    model: Recognizer,
    *,
    frames: int,
    size: int,
    file_bytes: int | None = None,
    kind: str = "model",
    **known: Any,
) -> Subject:
    """Any recogniser in memory, a teacher for instance. It is put into evaluation mode."""
    model.eval()
    clip = natural_clips(1, frames, size)
    reads: dict[What, Reading] = {"clip": Reading(count_macs(model, clip), file_bytes)}
    if isinstance(model, StreamingRecognizer):
        step = step_graph(model)
        reads["frame"] = Reading(count_macs(step.module, *step.example(1)), file_bytes)
    return Subject(
        name=name,
        kind=kind,
        load=lambda threads: model,
        frames=frames,
        size=size,
        parameters=parameter_count(model),
        reads=reads,
        **known,
    )


def told_apart(subjects: list[Subject]) -> list[Subject]:
    """The same subjects; those that share a name are called by their path instead."""
    names = [subject.name for subject in subjects]
    return [
        replace(subject, name=str(subject.path))
        if names.count(subject.name) > 1 and subject.path is not None
        else subject
        for subject in subjects
    ]


def reading(recognizer: Any, clips: Tensor, what: str) -> Callable[[], object]:
    """A call without arguments, to be timed. clips: (B, T, 3, S, S) uint8.

    clip: all of `clips` at once. frame: the next frame of each, with the state that the call
    before gave; the stream begins anew with every T frames, so that no number in it grows.
    """
    if what == "clip":
        return lambda: recognizer(clips)
    begin: State = recognizer.init_state(len(clips))
    state = begin
    frames = itertools.cycle(enumerate(frame.contiguous() for frame in clips.unbind(1)))

    def step() -> None:
        nonlocal state
        place, frame = next(frames)
        _, state = recognizer.step(frame, state if place else begin)

    return step


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
