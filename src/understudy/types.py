"""The types that every stage shares: what a clip is, what a model takes and what it gives.

Shape letters, here and in all models: B clips, T frames, H and W pixels, K classes, E embedding,
F features of one frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from understudy.record import Record as Record
from understudy.task import Task

State = tuple[Tensor, ...]
"""What a stream remembers. Each tensor is at most 4-D: mobile GPU delegates corrupt deeper ones."""


class Output(NamedTuple):
    """What every recogniser gives: `logits` (B, K) and `embedding` (B, E), the pooled clip."""

    logits: Tensor
    embedding: Tensor


class Inherited(NamedTuple):
    """How one layer of a model came from another model's weights.

    how: "exact" when the layer computes what its source does, "approximate" when it is the nearest
    that its shape allows, "random" when nothing was taken and it starts as a new model does. "left
    behind": a layer of the source that has no place in the model. energy: share of the source's
    squared weights that an approximation keeps, 0 to 1; None where that says nothing. note: what
    was done, in a few words, or why nothing could be taken.
    """

    layer: str
    how: Literal["exact", "approximate", "random", "left behind"]
    source: str | None = None
    energy: float | None = None
    note: str = ""


class Skipped(NamedTuple):
    """A manifest row that could not be read, and why. Never replaced by a black frame."""

    row: int
    path: str
    reason: str


PACE_SLACK = 1.1
"""How much longer than they should last frames may last."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model looks at a clip: which of its frames, at which size.

    size: pixels a side. frames: T, at most. method and stride_s: as in `data.sampling`.
    hold_pictures: a still picture is shown for `frames` frames, not for one. clip_seconds: median
    length of the clips of training, 0 for pictures. step_s: seconds from one frame of a stream to
    the next; None: every frame.
    """

    size: int
    frames: int
    method: str = "uniform"
    stride_s: float | None = None
    hold_pictures: bool = False
    clip_seconds: float = 0.0
    step_s: float | None = None

    @property
    def taught_fps(self) -> float | None:
        """Frames a second that a model was taught at; None where it was taught none."""
        if self.step_s is None or self.clip_seconds == 0 or self.frames == 1:
            return None
        return 1 / self.step_s

    def is_too_slow(self, fps: float) -> bool:
        """Whether a source of so many frames a second has fewer than the model was taught at."""
        return self.taught_fps is not None and fps * PACE_SLACK < self.taught_fps


@dataclass(slots=True)
class Unanswered:
    """The clips of a batch that a teacher has not been asked about yet, as that teacher sees them.

    frames: (M, T, 3, S, S) uint8. lengths: (M,) int64. place: (M,) int64, where in the batch.
    rows: of the manifest. full: whether every clip has T frames.
    """

    frames: Tensor
    lengths: Tensor
    place: Tensor
    rows: tuple[int, ...]
    full: bool


@dataclass(slots=True)
class Batch:
    """Clips on their way to a model.

    frames: (B, T, 3, H, W) uint8 RGB; a picture has T = 1. Frames past a clip's length are padding.
    lengths: (B,) int64, true frames of each clip, 1 <= length <= T.
    target: (B,) int64 class index, -1 where unlabelled, or (B, K) float32 of 0 and 1 for
        multi-label, NaN where unlabelled.
    index: (B,) int64 rows of the manifest, so that predictions can be joined.
    view: which augmentation draw these pixels are; None when they were not augmented.
    skipped: rows that belonged to this batch and could not be read; B is smaller by that many
        and may be 0.
    taught: by the teacher's name, its output for these very clips; of those that are `unanswered`,
        zeros until it has been asked.
    unanswered: by the teacher's name, what it must be asked.
    features: (B, T, F) float of a frozen backbone, computed once; `frames` is then empty.
    full: whether every clip has T frames, known without asking the device where `lengths` is.
    """

    frames: Tensor
    lengths: Tensor
    target: Tensor
    index: Tensor
    view: int | None = None
    skipped: tuple[Skipped, ...] = ()
    taught: dict[str, Output] = field(default_factory=dict)
    unanswered: dict[str, Unanswered] = field(default_factory=dict)
    features: Tensor | None = None
    full: bool = False

    def __len__(self) -> int:
        return len(self.index)

    @property
    def clips_asked_for(self) -> int:
        """Those that could not be read are counted too."""
        return len(self) + len(self.skipped)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`; without waiting, from pinned memory."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in memory from which a GPU copies by itself; a DataLoader calls this."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            frames=move(self.frames),
            lengths=move(self.lengths),
            target=move(self.target),
            index=move(self.index),
            taught={name: Output(*map(move, output)) for name, output in self.taught.items()},
            unanswered={
                name: replace(
                    one,
                    **{part: move(getattr(one, part)) for part in ("frames", "lengths", "place")},
                )
                for name, one in self.unanswered.items()
            },
            features=move(self.features) if self.features is not None else None,
        )


class Recognizer(nn.Module):
    """Every model and every teacher: uint8 clips in, `Output` out.

    A recogniser normalises pixels itself, with its own `mean` and `std`, so that teacher, student,
    exported artifact and browser cannot disagree. Padding never changes its output.
    """

    backbone: nn.Module
    """Turns pixels into features."""
    head: nn.Module
    """What is specific to the classes."""
    input_size: int
    """Pixels a side that it was built for."""
    clip_frames: int | None
    """The number of frames it needs, or None for any."""
    embedding_dim: int
    """Width E of the embedding; of students."""

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        """Recognise clips.

        frames: (B, T, 3, H, W) uint8 RGB. lengths: (B,) int64, or None when every clip has T
        frames.
        """
        raise NotImplementedError

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        return super().__call__(frames, lengths)


class StreamingRecognizer(Recognizer):
    """A recogniser that can also read a clip frame by frame.

    The state goes in and comes out, because hidden module state exports without an error and then
    silently forgets everything. Stepping through a clip gives, after every frame, what `forward`
    gives for the frames so far; of these only the latest `stream_frames` where that is a number.
    """

    stream_frames: int | None = None
    """How many of the latest frames an output depends on; None: all since `init_state`, so that a
    stream without an end has to begin anew now and then. `perform/stream.py` sees to that."""

    def init_state(self, batch_size: int) -> State:
        """The state before the first frame, on the model's device."""
        raise NotImplementedError

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """Read one frame (B, 3, H, W) uint8 and give the output for the clip so far."""
        raise NotImplementedError


class Classifier(Protocol):
    """What a run and an artifact both are once they are loaded: all that evaluation, prediction,
    comparison and streams need to know of a model."""

    name: str
    """Of the run, for people."""
    model_name: str
    classes: tuple[str, ...]
    task: Task
    sampling: Sampling
    threads: int | None
    """Of the CPU that a call may use; None: as many as there are."""
    unknown_below: float | None
    """The probability below which no label is said; None where none was set."""
    thresholds: tuple[float, ...] | None
    """(K,) the probabilities from which labels hold, where several may; None for one label, and
    where none were chosen yet: `judge.thresholds` does."""
    streams: bool
    stream_frames: int | None
    """As in `StreamingRecognizer`."""

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output: ...

    def init_state(self, batch_size: int) -> State: ...

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]: ...


def parameter_count(module: nn.Module) -> int:
    """Number of parameters, trainable or not; buffers are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())
