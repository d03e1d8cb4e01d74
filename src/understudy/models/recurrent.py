"""Reading a clip frame by frame with a state, and how far back gradients go.

`rvit` and `rvit-image` have this in common; what they differ in is the backbone, which reads one
frame at a time. Shape letters beside those of `understudy.types`: N hidden tokens, D their width,
L layers, S width of the summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.models.layers import Normalize
from understudy.types import Output, State, StreamingRecognizer


class FrameBackbone(nn.Module):
    """Reads one frame at a time. The hidden tokens are (B, N, D), a tensor for each of L layers."""

    summary_dim: int
    """Width S of what it says of the clip so far."""

    def tokens(self, size: tuple[int, int]) -> int:
        """Number N of hidden tokens for frames of this height and width."""
        raise NotImplementedError

    def begin(self, batch: int, size: tuple[int, int]) -> State:
        """Hidden tokens before the first frame."""
        raise NotImplementedError

    def forward(
        self, pixels: Tensor, hidden: State, masks: State | None = None
    ) -> tuple[Tensor, State]:
        """From normalised pixels: the summary (B, S) and the hidden tokens after this frame."""
        raise NotImplementedError


class RecurrentRecognizer(StreamingRecognizer):
    """A `FrameBackbone`, LayerNorm, and a classifier.

    embedding_dim: width E of the embedding; None leaves the summary as it is. gradient_frames: in
    training, the last so many frames of each clip carry gradients, counted back from its own end,
    so that memory does not grow with the clip. The one loss lies at the end of the clip: cutting
    the graph after every n frames would leave it between 1 and n frames, this leaves it n. What
    lies before is read without a graph, so a learned start of the hidden tokens learns only from
    clips that are no longer than that.
    """

    stream_frames = None

    def __init__(
        self,
        num_classes: int,
        *,
        backbone: FrameBackbone,
        embedding_dim: int | None,
        dropout: float,
        gradient_frames: int | None,
        input_size: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        if gradient_frames is not None and gradient_frames < 1:
            raise UserError(
                f"gradient_frames is {gradient_frames}: give 1 or more, or leave it out for all."
            )
        self.normalize = Normalize(tuple(mean), tuple(std))
        self.backbone = backbone
        self.projection = nn.Sequential(nn.LayerNorm(backbone.summary_dim))
        if embedding_dim is not None:
            self.projection.append(nn.Linear(backbone.summary_dim, embedding_dim))
        self.head = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(embedding_dim or backbone.summary_dim, num_classes)
        )
        self.embedding_dim = embedding_dim or backbone.summary_dim
        self.gradient_frames = gradient_frames
        self.input_size = input_size
        self.clip_frames = None

    @property
    def reader(self) -> FrameBackbone:
        """The backbone by its own type."""
        return cast(FrameBackbone, self.backbone)

    def init_state(self, batch_size: int, size: tuple[int, int] | None = None) -> State:
        """The state before the first frame. size: height and width of the frames to come; by
        default `input_size` on both sides."""
        return self._begin(batch_size, size or (self.input_size, self.input_size))

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """Read one frame (B, 3, H, W) uint8. Meant for evaluation: a mask of recurrent dropout
        belongs to a whole clip, so a single step draws none.

        Raises UserError for a state that was begun for frames of another number or size.
        """
        self._check(frame, state)
        summary, state = self._read(frame, state, None)
        return self._output(summary), state

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        batch, time = frames.shape[:2]
        state = self._begin(batch, size_of(frames))
        # Every clip has a first frame, whose summary takes this one's place.
        start = (state[-1].new_zeros(batch, self.reader.summary_dim), *state)
        masks = self._draw_masks(batch) if self.training else None
        carrying = self.gradient_frames
        if carrying is None or carrying >= time or not self.training:
            return self._output(self._watch(frames, start, masks, None, lengths, time)[0])
        if lengths is None:
            lengths = torch.full((batch,), time, device=frames.device)
        first = (lengths - carrying).clamp_min(0)
        with torch.no_grad():
            carried = self._watch(frames, start, masks, None, first, time - carrying)
        carried = _choose(first == 0, start, carried)
        return self._output(self._watch(frames, carried, masks, first, lengths, carrying)[0])

    def _watch(
        self,
        frames: Tensor,
        carried: State,
        masks: State | None,
        first: Tensor | None,
        last: Tensor | None,
        steps: int,
    ) -> State:
        """Read frames `first` (B,) to `last` (B,), exclusive, of each clip; `steps` at most.

        None: from the first, to the last of all. carried: summary and state; those of a clip that
        has ended stay as they are.
        """
        rows = torch.arange(frames.shape[0], device=frames.device)
        for step in range(steps):
            place = step if first is None else first + step
            if isinstance(place, int):
                frame = frames[:, place]
            else:
                frame = frames[rows, place.clamp_max(frames.shape[1] - 1)]
            summary, state = self._read(frame, carried[1:], masks)
            if last is None:
                carried = (summary, *state)
            else:
                carried = _choose(place < last, (summary, *state), carried)
        return carried

    def _output(self, summary: Tensor) -> Output:
        embedding = self.projection(summary)
        return Output(logits=self.head(embedding), embedding=embedding)

    def _begin(self, batch: int, size: tuple[int, int]) -> State:
        """The state of `batch` clips before their first frame; the hidden tokens come last."""
        return self.reader.begin(batch, size)

    def _read(self, frame: Tensor, state: State, masks: State | None) -> tuple[Tensor, State]:
        """From a frame (B, 3, H, W) uint8: the summary (B, S) so far and the next state."""
        return self.reader(self.normalize(frame), state, masks)

    def _draw_masks(self, batch: int) -> State | None:
        """Masks of recurrent dropout, one for all frames of a clip; None without it."""
        return None

    def _check(self, frame: Tensor, state: State) -> None:
        size = size_of(frame)
        fits, begun = (frame.shape[0], self.reader.tokens(size)), tuple(state[-1].shape[:2])
        if fits != begun:
            raise UserError(
                f"This state was begun for another stream: it has {begun[0]} clips of {begun[1]} "
                f"tokens, {fits[0]} frames of {size[0]} x {size[1]} pixels need {fits[0]} of "
                f"{fits[1]}. Begin with init_state({fits[0]}, {size})."
            )


def size_of(frames: Tensor) -> tuple[int, int]:
    """Height and width."""
    return frames.shape[-2], frames.shape[-1]


def _choose(rows: Tensor, chosen: State, otherwise: State) -> State:
    """Clip by clip, `chosen` where `rows` (B,) is True."""
    return tuple(
        torch.where(rows.view(-1, *[1] * (one.dim() - 1)), one, other)
        for one, other in zip(chosen, otherwise, strict=True)
    )
