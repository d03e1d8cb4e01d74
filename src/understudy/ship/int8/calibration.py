"""What the ranges of activations are learned from: training clips, never those that judge.

The clips that choose between quantisation schemes must not have shaped any of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.errors import UserError
from understudy.run import Run
from understudy.ship.clips import own_split, readable
from understudy.ship.graphs import Graph
from understudy.ship.int8.feeding import begin_inputs, clip_inputs, step_inputs
from understudy.types import Sampling

CLIPS = 16
"""Clips of eight frames are 128 pictures: what ranges are usually taken from."""

STEPS_PER_CLIP = 8
"""Steps kept of each clip, the first and the last among them."""


def calibration_inputs(
    run: Run,
    graph: Graph,
    entry: dict[str, Any],
    *,
    manifest: str | Path | None = None,
    sampling: Sampling,
    clips: int = CLIPS,
) -> list[list[np.ndarray]]:
    """Inputs in the contract's order: of one clip each, or of one step with the state it meets.

    manifest: where the run's clips lie, if elsewhere now. sampling: how they are looked at. The
    clips are up to `clips` of the run's training split, spread over it. A step's states are those
    that the eager model comes to on the way through a clip. Raises UserError when none of them can
    be read.
    """
    split = own_split(run, manifest, "train", sampling=sampling)
    samples, skipped = readable(split, clips)
    if not samples:
        raise UserError(
            f"None of the {len(skipped)} training clips of {split.place} could be read "
            f"({skipped[0].path}: {skipped[0].reason}), and INT8 takes its ranges from them."
        )
    found = []
    for sample in samples:
        pixels = sample.frames.numpy()
        if graph.kind == "clip":
            found.append(clip_inputs(entry, pixels))
        else:
            found += _steps(graph, entry, pixels)
    return found


def _steps(graph: Graph, entry: dict[str, Any], pixels: np.ndarray) -> list[list[np.ndarray]]:
    """Some steps through a clip (t, 3, S, S), each with the state before it."""
    last = len(pixels) - 1
    kept = set(np.linspace(0, last, min(len(pixels), STEPS_PER_CLIP)).round().astype(int).tolist())
    state, found = begin_inputs(entry), []
    with torch.inference_mode():
        for place, frame in enumerate(pixels):
            values = step_inputs(entry, frame, state)
            if place in kept:
                found.append(values)
            given = [
                torch.from_numpy(value.astype(spec.dtype))
                for value, spec in zip(values, graph.inputs, strict=True)
            ]
            state = [tensor.numpy() for tensor in graph.module(*given)[2:]]
    return found
