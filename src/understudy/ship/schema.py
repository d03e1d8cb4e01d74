"""What the files of an artifact may hold, checked once, when they are read.

An artifact may come from a stranger: its contract says how much memory is asked for, and which
files are opened. So each field has a type and a bound, a field that nobody knows is refused, and a
file is measured before it is read. The bounds lie far beyond what any export writes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from understudy.task import MULTI_LABEL

CONTRACT_FORMAT = "understudy-artifact"
CONTRACT_VERSION = 2

MOST_TENSOR_BYTES = 2**30
"""Of all inputs of a graph for one clip, and of all its outputs."""
DTYPE_BYTES = {"uint8": 1, "int32": 4, "float32": 4}

Text = Annotated[str, StringConstraints(max_length=1000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Sentence = Annotated[str, StringConstraints(max_length=100_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Frames = Annotated[int, Field(ge=1, le=10_000)]
Pixels = Annotated[int, Field(ge=1, le=10_000)]


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError(f"{name[:60]!r} is no plain name of a file in this folder")
    return name


FileName = Annotated[str, AfterValidator(_plain)]
"""A plain name: no separator, no drive, no `..`, nothing hidden."""


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Tensor(Strict):
    name: Name
    dtype: Literal["uint8", "int32", "float32"]
    shape: list[Annotated[int, Field(ge=1, le=2**31)]] = Field(min_length=1, max_length=4)

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


Tensors = Annotated[list[Tensor], Field(min_length=1, max_length=100)]


class Graph(Strict):
    """One model file."""

    file: FileName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Count
    macs: Count
    inputs: Tensors
    outputs: Tensors
    precision: Text | None = None
    oldest_runtime: Text | None = None
    stream_frames: Frames | None = None
    state_begins: Literal["zeros"] | None = None
    opset: Count | None = None
    signature: Name | None = None
    method: Name | None = None
    delegates: Count | None = None
    not_delegated: dict[Name, Count] | None = Field(default=None, max_length=1000)
    deployment_target: Text | None = None
    constants: Count | None = None
    checked: dict[Name, bool | Number] | None = Field(default=None, max_length=100)
    quantiser: Text | None = None
    calibration: Count | None = None

    @model_validator(mode="after")
    def _of_a_size(self) -> Self:
        for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            if sum(tensor.bytes for tensor in tensors) > MOST_TENSOR_BYTES:
                raise ValueError(f"{side} take more than {MOST_TENSOR_BYTES:,} bytes for one clip")
            if len({tensor.name for tensor in tensors}) < len(tensors):
                raise ValueError(f"two of the {side} have one name")
        return self


class Graphs(Strict):
    clip: Graph
    step: Graph | None = None


class Input(Strict):
    frames: Frames
    size: Pixels
    layout: Text = ""
    colour: Text = ""
    lengths: Text = ""


class Look(Strict):
    method: Literal["uniform", "first", "centre", "random_segment", "dense"] = "uniform"
    stride_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    hold_pictures: bool = False
    clip_seconds: Amount = 0.0
    step_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Normalisation(Strict):
    inside: bool
    mean: list[Number] | None = Field(max_length=3)
    std: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = Field(max_length=3)


class Contract(Strict):
    """contract.json, as `build_contract` writes it."""

    format: Literal["understudy-artifact"]
    contract_version: int
    runtime: Literal["onnx", "litert", "coreml", "executorch"]
    precision: Text
    executed: bool
    run: Name
    checkpoint: Name
    model: Name
    task: Name | None = None
    parameters: Count
    classes: list[Name] = Field(min_length=1, max_length=100_000)
    thresholds: list[Share] | None = None
    """From which probability each class holds, where several may."""
    unknown_below: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None
    unfinished: Text | None = None
    batch: Literal["any", 1]
    graphs: Graphs
    input: Input
    sampling: Look
    resize: Text = ""
    normalisation: Normalisation | None = None
    versions: dict[Name, Text] = Field(default={}, max_length=100)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            [(twice, _)] = Counter(self.classes).most_common(1)
            raise ValueError(f"the class {twice!r} stands twice in classes")
        if self.task == MULTI_LABEL.name and self.thresholds is None:
            raise ValueError(f"the task is {self.task} and thresholds are missing")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.classes)} classes")
        frames, size = self.input.frames, self.input.size
        clip = [[frames, 3, size, size], *([[1]] if frames > 1 else [])]
        _fit("graphs.clip.inputs", self.graphs.clip.inputs, clip, exactly=True)
        logits = [1, len(self.classes)]
        _fit("graphs.clip.outputs", self.graphs.clip.outputs, [logits])
        if (step := self.graphs.step) is not None:
            _fit("graphs.step.inputs", step.inputs, [[1, 3, size, size]])
            state = [tensor.shape for tensor in step.inputs[1:]]
            embedding = [tensor.shape for tensor in step.outputs[1:2]]
            _fit("graphs.step.outputs", step.outputs, [logits, *embedding, *state], exactly=True)
        return self


def _fit(
    where: str, given: list[Tensor], wanted: list[list[int]], *, exactly: bool = False
) -> None:
    shapes = [tensor.shape for tensor in given]
    if shapes[: len(wanted)] != wanted or (exactly and len(shapes) > len(wanted)):
        raise ValueError(f"{where} have the shapes {shapes}; classes, input and state ask for "
                         f"{wanted}")  # fmt: skip
