"""What the ranges of activations are learned from: training clips, never those that judge.

The clips that choose between quantisation schemes must not have shaped any of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from understudy.run import Run
from understudy.ship.clips import own_split, readable
from understudy.ship.graphs import Graph, begin
from understudy.types import Sampling

CLIPS = 16
"""Clips of eight frames are 128 pictures: what ranges are usually taken from."""

STEPS_PER_CLIP = 8
"""Steps kept of each clip, the first and the last among them."""


def calibration_inputs(
    run: Run,
    graph: Graph,
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
    samples, _ = readable(split, clips, why="INT8 takes its ranges from them.")
    inputs = _clip if graph.kind == "clip" else _steps
    found = [values for sample in samples for values in inputs(graph, sample.frames)]
    return [[tensor.contiguous().numpy() for tensor in values] for values in found]


def _clip(graph: Graph, clip: Tensor) -> list[list[Tensor]]:
    """A clip (t, 3, S, S), padded with zeros, and its length where the graph asks for one."""
    frames, *lengths = (spec.zeros() for spec in graph.inputs)
    frames[: len(clip)] = clip
    return [[frames, *(one + len(clip) for one in lengths)]]


def _steps(graph: Graph, clip: Tensor) -> list[list[Tensor]]:
    """Some steps through a clip (t, 3, S, S), each with the state before it."""
    kept = np.linspace(0, len(clip) - 1, min(len(clip), STEPS_PER_CLIP)).round()
    state, steps = begin(graph.inputs, 1), []
    with torch.inference_mode():
        for frame in clip.split(1):
            steps.append([frame, *state])
            state = graph.module(frame, *state)[2:]
    return [steps[int(place)] for place in kept]
