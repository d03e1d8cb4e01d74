"""A run in use: its model, called and stepped as an exported artifact is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.run.files import read_json
from understudy.run.schema import THRESHOLDS
from understudy.types import Output, Recognizer, Sampling, State, StreamingRecognizer

if TYPE_CHECKING:
    from understudy.run.directory import Run

PICTURE_WINDOW_S = 1.0
"""Window of a run that was trained on pictures and so knows no length of a clip."""

PICTURE_STEP_S = 0.2
"""Seconds between frames for a run that was trained on pictures and so knows no pace. Also the
default time constant of smoothing where every frame is read; elsewhere that is the step."""


class RunClassifier:
    """A run's model, ready to be used: a `Classifier`.

    It is called with uint8 clips (B, T, 3, S, S) and gives outputs on the CPU, without gradients.
    Its `model` is the recogniser itself, on `device`, in evaluation mode.

    Raises UserError if the checkpoint is missing or belongs to another model.
    """

    def __init__(
        self, run: Run, checkpoint: str = "best", *, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.run, self.checkpoint = run, checkpoint
        self.name, self.model_name = run.name, run.recipe.model.name
        self.classes, self.task = run.classes, run.task
        self.device, self.threads = torch.device(device), threads
        self.model = run.load_model(checkpoint).to(self.device)
        self.sampling = sampling_of_run(run, self.model)
        # Positions and patches follow the pictures that it was trained on.
        self.model.input_size = self.sampling.size
        self.unknown_below = known_threshold(run, checkpoint)
        self.thresholds = known_thresholds(run, checkpoint) if self.task.several else None
        self.streams = isinstance(self.model, StreamingRecognizer)
        self.stream_frames = getattr(self.model, "stream_frames", None)

    @property
    def clip_frames(self) -> int:
        """T, the frames of a clip at most."""
        return self.sampling.frames

    @property
    def input_size(self) -> int:
        """S, pixels a side."""
        return self.sampling.size

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        """Recognise clips: frames (B, T, 3, S, S) uint8, lengths (B,) true frames of each."""
        with self._computing():
            moved = None if lengths is None else lengths.to(self.device)
            return Output(*(one.cpu() for one in self.model(frames.to(self.device), moved)))

    def init_state(self, batch_size: int) -> State:
        """The state before the first frame. Raises UserError if the model cannot stream."""
        return self._stepping().init_state(batch_size)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """Read one frame (B, 3, S, S) uint8 and give the output for the clip so far."""
        with self._computing():
            output, state = self._stepping().step(frame.to(self.device), state)
            return Output(*(one.cpu() for one in output)), state

    def _stepping(self) -> StreamingRecognizer:
        if not self.streams:
            raise UserError(f"{self.model_name} takes whole clips: it cannot be stepped.")
        return cast(StreamingRecognizer, self.model)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Without gradients, and with as many threads as asked for."""
        before = torch.get_num_threads()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            with torch.no_grad():
                yield
        finally:
            if self.threads is not None:
                torch.set_num_threads(before)


def sampling_of_run(run: Run, model: Recognizer) -> Sampling:
    """How the model of a run looks at clips; an artifact of it keeps this in its contract.

    frames: what the model needs, 1 for single pictures, otherwise as in training.
    """
    data, clip_seconds = run.recipe.data, float(run.data["clip_seconds"])
    pictures = clip_seconds == 0 and data.pseudo is None
    return Sampling(
        size=data.size,
        frames=model.clip_frames or (1 if pictures else data.frames),
        method=data.sampling,
        stride_s=data.stride_s,
        hold_pictures=data.pseudo is not None,
        clip_seconds=clip_seconds,
        step_s=_step_seconds(run),
    )


def _step_seconds(run: Run) -> float | None:
    """Seconds from one frame of a stream to the next: those between the frames of training.

    That is the median clip's length over the number of frames, or the stride of dense sampling.
    Where training took neighbouring frames (first, centre), those of its clips; None where their
    rate was not written down, as older runs did. PICTURE_STEP_S for pictures; where
    training made pseudo-clips of them, these are spread over the window of `predict`.
    """
    data, clip_seconds = run.recipe.data, run.data["clip_seconds"]
    if clip_seconds == 0:
        return PICTURE_STEP_S if data.pseudo is None else PICTURE_WINDOW_S / data.frames
    if data.sampling in ("first", "centre"):
        return 1 / run.data["clip_fps"] if run.data.get("clip_fps") else None
    return data.stride_s or clip_seconds / data.frames


def known_threshold(run: Run, checkpoint: str = "best") -> float | None:
    """The threshold of "unknown" that RUN/unknown.json holds for this very checkpoint, or None."""
    place = run.path / "unknown.json"
    if not place.is_file():
        return None
    known = read_json(place)
    if known.get("checkpoint_sha256") != file_sha256(run.checkpoint_path(checkpoint)):
        return None
    return checked_threshold(known.get("threshold"), str(place))


def known_thresholds(run: Run, checkpoint: str = "best") -> tuple[float, ...] | None:
    """The thresholds (K,) that RUN/thresholds.json holds for this very checkpoint, or None."""
    known = run.thresholds
    of_checkpoint = known["checkpoints"].get(checkpoint) if known is not None else None
    if of_checkpoint is None:
        return None
    if of_checkpoint["checkpoint_sha256"] != file_sha256(run.checkpoint_path(checkpoint)):
        return None
    of_class = of_checkpoint["classes"]
    if set(of_class) != set(run.classes):
        raise UserError(
            f"{run.path / THRESHOLDS} is damaged: it names other classes than data.json. Delete "
            "it, and evaluate makes it anew."
        )
    return tuple(of_class[name]["threshold"] for name in run.classes)


def checked_threshold(value: object, where: str) -> float:
    """The value, if it is a number in [0, 1). Raises UserError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1:
        return float(value)
    raise UserError(
        f"{where}: {value} is no threshold. Give a probability from 0 (always name a label) to "
        "just below 1."
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
