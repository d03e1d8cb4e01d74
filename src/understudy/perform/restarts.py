"""Overlapping restarts: a stream without an end, kept within the length of the clips of training.

A model that remembers everything since its first frame drifts away from what it was trained on:
training never showed it more than n frames. Here two memories run side by side, begun half a clip
apart. The older one answers; when it is n frames old it is dropped, the younger one takes its
place, and a new one begins:

    frame        1 2 3 4 5 6 7 8 9 ...            n = 8
    memory 1     1 2 3 4 5 6 7 8
    memory 2             1 2 3 4 5 6 7 8
    memory 3                     1 2 3 4 ...
    answer from  1 2 3 4 5 6 7 8 5 6 7 8 5 ...    frames

So every answer is what `forward` gives for a clip of the latest frames: of all of them up to frame
n, and of more than n/2 and at most n of them after it. It costs two steps a frame instead of one,
made as one batch of two. A model whose `stream_frames` is n or fewer forgets by itself in time and
is stepped as it is: its answer is that of the latest `stream_frames` frames.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from understudy.types import Output, State


class Stepped(Protocol):
    """What can be stepped: a `StreamingRecognizer`, or a `Classifier` that streams."""

    @property
    def stream_frames(self) -> int | None: ...

    def init_state(self, batch_size: int) -> State: ...

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]: ...


class OverlappingRestarts:
    """Steps a streaming model through a stream of any length. Knows no architecture.

    model: in evaluation mode. clip_frames: n, the frames of a clip of training. batch_size: streams
    read at once, B. `restarts` says whether the model needs them.
    """

    def __init__(self, model: Stepped, clip_frames: int, batch_size: int = 1) -> None:
        assert clip_frames >= 1, "a clip has a frame"
        self.model = model
        self.clip_frames = clip_frames
        self.batch_size = batch_size
        self._apart = clip_frames - clip_frames // 2  # half a clip; of an odd one, the larger half
        own = model.stream_frames
        self.restarts = own is None or own > clip_frames
        self.begin()

    def begin(self) -> None:
        """Forget everything, as before the first frame."""
        self._state: State = self.model.init_state(self.batch_size)
        self._age = 0
        self._memories = 1

    @property
    def frames_remembered(self) -> int | None:
        """How many of the latest frames the last answer was made from.

        None where the model forgets by itself and `stream_frames` says so.
        """
        return self._age if self.restarts else None

    def step(self, frame: Tensor) -> Output:
        """Read the next frame (B, 3, H, W) uint8 and give the output of the older memory."""
        if self.restarts:
            self._replace_memories()
        doubled = frame if self._memories == 1 else torch.cat([frame, frame])
        output, self._state = self.model.step(doubled, self._state)
        self._age += 1
        return Output(*(tensor[: self.batch_size] for tensor in output))

    def _replace_memories(self) -> None:
        if self._age == self.clip_frames:
            if self._memories == 1:  # clips of one frame have no half
                self.begin()
            else:
                self._state = tuple(tensor[self.batch_size :] for tensor in self._state)
                self._age -= self._apart
                self._memories = 1
        if self._memories == 1 and self._age == self._apart < self.clip_frames:
            new = self.model.init_state(self.batch_size)
            self._state = tuple(map(torch.cat, zip(self._state, new, strict=True)))
            self._memories = 2
