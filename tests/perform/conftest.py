"""A small model that streams, a run and a video, for the tests of performing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
import torch
from av.video.stream import VideoStream
from torch import Tensor, nn

import made_runs
from understudy.run import Run
from understudy.task import SINGLE_LABEL, Task
from understudy.types import Output, State, StreamingRecognizer


class Accumulator(StreamingRecognizer):
    """Remembers every frame since it began: a decayed sum of their mean colours, and their number.

    A frame's weight depends on its distance from the last one and the bias on how many there were,
    so that no other clip of frames gives the same output.
    """

    def __init__(self, num_classes: int = 3, *, seed: int = 0, stream_frames: int | None = None):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.backbone = nn.Identity()
        self.head = nn.Linear(3, num_classes)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(num_classes, 3, generator=generator))
        self.input_size, self.clip_frames = 16, None
        self.stream_frames = stream_frames
        self.stepped: list[int] = []

    def init_state(self, batch_size: int) -> State:
        if self.stream_frames is not None:
            return (torch.zeros(batch_size, self.stream_frames, 3), torch.zeros(batch_size, 1))
        return torch.zeros(batch_size, 3), torch.zeros(batch_size, 1)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        self.stepped.append(len(frame))
        colour = frame.float().mean((2, 3)) / 255
        if self.stream_frames is not None:
            ring = torch.cat([state[0][:, 1:], colour[:, None]], dim=1)
            count = (state[1] + 1).clamp(max=self.stream_frames)
            total = torch.zeros_like(colour)
            for number in range(self.stream_frames):
                total = 0.7 * total + ring[:, number]
            return self._answer(total, count), (ring, count)
        total, count = 0.7 * state[0] + colour, state[1] + 1
        return self._answer(total, count), (total, count)

    def _answer(self, total: Tensor, count: Tensor) -> Output:
        embedding = total + 0.1 * count
        return Output(self.head(embedding), embedding)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        assert lengths is None
        time = frames.shape[1]
        weight = 0.7 ** torch.arange(time - 1, -1, -1.0)
        colours = frames.float().mean((3, 4)) / 255
        total = torch.einsum("btc,t->bc", colours, weight)
        return self._answer(total, torch.full((len(frames), 1), float(time)))


@pytest.fixture
def accumulator() -> type[Accumulator]:
    return Accumulator


OPTIONS = {"backbone": "small-cnn", "embedding_dim": 16, "hidden_dim": 8, "heads": 2}
CLASSES = ("blue", "red", "sky")


def write_run(
    folder: Path,
    *,
    clip_seconds: float = 1.0,
    temporal: str = "attention",
    task: Task = SINGLE_LABEL,
    **data,
) -> Run:
    """A run as training leaves it, of an untrained small model that takes 4 frames of 32 pixels."""

    def decide(model) -> None:
        model.head[-1].weight.mul_(30)  # far from undecided, so that labels change

    with torch.no_grad():
        return made_runs.make_run(
            folder / "small",
            folder / "clips.csv",
            CLASSES,
            model=f"frames-{temporal}",
            options=OPTIONS,
            built_with=OPTIONS | {"input_size": 32},
            data={"size": 32, "frames": 4} | data,
            clip_seconds=clip_seconds,
            task=task,
            change=decide,
        )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    return lambda **options: write_run(tmp_path, **options)


def write_noise(
    path: Path, frames: int, *, fps: int = 20, size: tuple[int, int] = (48, 40)
) -> Path:
    """A video of coloured noise that changes slowly."""
    width, height = size
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (height // 8, width // 8, 3))
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("libx264", rate=fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            blocks = (0.8 * blocks + 0.2 * generator.integers(0, 256, blocks.shape)).astype(int)
            pixels = blocks.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, frames, **options: write_noise(tmp_path / name, frames, **options)
