"""What is exported: a model as graphs of plain tensors, each at most 4-D.

    clip: frames (B x T, 3, S, S) uint8, lengths (B,) int32 -> logits (B, K), embedding (B, E)
    step: frame (B, 3, S, S) uint8, state_0, ... -> logits, embedding, next_state_0, ...

Mobile GPU delegates corrupt tensors of more than four dimensions, so the frames of a batch stand
one after the other, clip by clip: the same numbers in the same order as (B, T, 3, S, S). Single
pictures (T = 1) have no lengths. Integers are int32, which every runtime and every language of a
device knows.

A stream's state begins as zeros, always: devices need no file to begin with. Where a model begins
with something else (`rvit` has learned tokens), the graph has one more state tensor, `started`, and
puts the model's own beginning in place of the zeros while that is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from understudy.types import Recognizer, State, StreamingRecognizer

Kind = Literal["clip", "step"]

Session = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""A loaded graph: arrays in the order of the contract's inputs to arrays in that of its outputs."""

DTYPES: dict[str, torch.dtype] = {
    "uint8": torch.uint8,
    "int32": torch.int32,
    "float32": torch.float32,
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor that goes in or comes out. shape: for one clip; B clips have B times the rows."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def zeros(self, batch: int = 1) -> Tensor:
        return torch.zeros(batch * self.shape[0], *self.shape[1:], dtype=DTYPES[self.dtype])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Graph:
    """A module of tensors in and a tuple of tensors out, and what these are.

    frames: T of a clip; 1 for a step. model: what the module wraps, for rewrites that know it.
    """

    kind: Kind
    module: nn.Module
    model: Recognizer
    frames: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def example(self, batch: int) -> tuple[Tensor, ...]:
        """Inputs to trace with: noise for pixels, full lengths, the state of a first frame."""
        generator = torch.Generator().manual_seed(0)
        values = []
        for spec in self.inputs:
            value = spec.zeros(batch)
            if spec.name in ("frames", "frame"):
                value.random_(0, 256, generator=generator)
            elif spec.name == "lengths":
                value += self.frames
            values.append(value)
        return tuple(values)


class ClipModule(nn.Module):
    """A recogniser of whole clips, with tensors of four dimensions."""

    def __init__(self, model: Recognizer, frames: int) -> None:
        super().__init__()
        self.model = model
        self.frames = frames

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        clips = frames.unflatten(0, (-1, self.frames))
        if lengths is None:  # pictures, each of which is all of its clip
            lengths = torch.ones_like(clips[:, 0, 0, 0, 0], dtype=torch.int64)
        output = self.model(clips, lengths.to(torch.int64))
        return output.logits, output.embedding


class StepModule(nn.Module):
    """One step of a stream, its state in and out."""

    def __init__(self, model: StreamingRecognizer) -> None:
        super().__init__()
        self.model = model
        begin = model.init_state(1)
        self.dtypes = [tensor.dtype for tensor in begin]
        for place, tensor in enumerate(begin):
            own = tensor.detach().clone() if tensor.any() else None
            self.register_buffer(f"begin_{place}", own, persistent=False)
        self.begins_as_zeros = not list(self.buffers(recurse=False))

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        started, inner = None, state
        if not self.begins_as_zeros:
            *inner, started = state
        inner = tuple(self._own(tensor, place, started) for place, tensor in enumerate(inner))
        output, after = self.model.step(frame, inner)
        after = tuple(_outer(tensor) for tensor in after)
        if started is not None:
            after = (*after, torch.ones_like(started))
        return output.logits, output.embedding, *after

    def _own(self, tensor: Tensor, place: int, started: Tensor | None) -> Tensor:
        """A state tensor as the model knows it."""
        begin: Tensor | None = getattr(self, f"begin_{place}")
        tensor = tensor.to(self.dtypes[place])
        if begin is None or started is None:
            return tensor
        going = started.view(-1, *[1] * (tensor.dim() - 1)) > 0
        return torch.where(going, tensor, begin)


def clip_graph(model: Recognizer, frames: int) -> Graph:
    """The graph of whole clips of `frames` frames, in the model's own picture size."""
    size = model.input_size
    inputs = [TensorSpec("frames", "uint8", (frames, 3, size, size))]
    if frames > 1:
        inputs.append(TensorSpec("lengths", "int32", (1,)))
    module = ClipModule(model, frames).eval()
    return Graph("clip", module, model, frames, tuple(inputs), _outputs(module, inputs, ()))


def step_graph(model: StreamingRecognizer) -> Graph:
    """The graph of one step of a stream."""
    size = model.input_size
    module = StepModule(model).eval()
    state = tuple(
        TensorSpec(f"state_{place}", _dtype(tensor), tuple(tensor.shape))
        for place, tensor in enumerate(map(_outer, model.init_state(1)))
    )
    if not module.begins_as_zeros:
        state += (TensorSpec("started", "float32", (1, 1)),)
    assert all(len(spec.shape) <= 4 for spec in state), "mobile GPU delegates corrupt 5-D tensors"
    inputs = (TensorSpec("frame", "uint8", (1, 3, size, size)), *state)
    outputs = _outputs(module, inputs, tuple(f"next_{spec.name}" for spec in state))
    return Graph("step", module, model, 1, inputs, outputs)


def graphs_of(model: Recognizer, frames: int) -> list[Graph]:
    """Every graph that a model has: clip and, where it streams, step. It must be in eval mode."""
    found = [clip_graph(model, frames)]
    if isinstance(model, StreamingRecognizer):
        found.append(step_graph(model))
    return found


def _outputs(
    module: nn.Module, inputs: Sequence[TensorSpec], state: tuple[str, ...]
) -> tuple[TensorSpec, ...]:
    given = [spec.zeros() + (spec.name == "lengths") for spec in inputs]
    with torch.inference_mode():
        tensors = module(*given)
    names = ("logits", "embedding", *state)
    return tuple(
        TensorSpec(name, _dtype(tensor), tuple(tensor.shape))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _outer(tensor: Tensor) -> Tensor:
    """A state tensor as devices know it: integers of 32 bits."""
    return tensor.to(torch.int32) if tensor.dtype in (torch.int64, torch.bool) else tensor


def _dtype(tensor: Tensor) -> str:
    return next(name for name, dtype in DTYPES.items() if dtype == tensor.dtype)


def begin(specs: Sequence[TensorSpec], batch: int) -> State:
    """The state before the first frame, of the inputs of a step graph."""
    return tuple(spec.zeros(batch) for spec in specs[1:])
