"""Part `drift` of rvit_stream.py: 10,000 frames through an rvit, and its answers along the way.

The stream is made of filmed test clips in random order, each by its 8 frames (as in training),
after which its last frame stands still for 0 to 3 frames, so that clips do not keep step with
restarts. An answer counts at the eighth frame of a clip. It is compared with the answer to that
clip alone, and with the clip's label.
"""

from __future__ import annotations

import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from table import Job, run_jobs
from understudy.data.loader import make_loader
from understudy.data.sources import read_manifest
from understudy.models import create_model
from understudy.models.recurrent import RecurrentRecognizer
from understudy.perform.restarts import OverlappingRestarts
from understudy.recipe import Data
from understudy.run import open_run
from understudy.types import Output, State

LENGTH = 10_000
CLIP_FRAMES = 8
SIZE = 64
OPTIONS = {"patch_size": 8, "dim": 96, "heads": 4, "mlp_dim": 384}
STREAMS = {"fp32": 2, "bf16": 2, "fp16": 1}
"""Streams side by side. CPUs have no float16 arithmetic of their own, which makes it slow."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
BINS = ((1, 8), (9, 32), (33, 100), (101, 320), (321, 1000), (1001, 3200), (3201, 10_000))
"""Frames of the stream over which answers are pooled; the first holds the first clip."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Clips:
    """Test clips (C, 8, 3, S, S) uint8 with labels (C,), and the actor of each."""

    frames: Tensor
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Stream:
    """`clip` and `place`, both (LENGTH, B): which frame of which clip; place 7 ends a clip."""

    clip: Tensor
    place: Tensor


def measure_drift(folder: Path, out: Path, weights: str) -> list[dict[str, Any]]:
    """Rows for every precision and way, one for each stretch of the stream.

    weights: `trained` reads the run `out`, and trains it first where it is missing; `untrained` is
    the same network before its first step.
    """
    model = _trained(folder, out) if weights == "trained" else _untrained(folder)
    torch.set_num_threads(1)
    clips = read_clips(folder)
    alone = answers_alone(model, clips)
    rows = []
    for precision in PRECISIONS:
        for way in ("one state", "restarts"):
            started = time.perf_counter()
            found = follow(model, clips, precision, way)
            rows += summarise(found, clips, alone, weights, precision, way)
            print(weights, precision, way, f"{time.perf_counter() - started:.0f} s", flush=True)
    return rows


def _trained(folder: Path, out: Path) -> RecurrentRecognizer:
    run_jobs([Job("rvit", 0, recipe(folder), out)], 1)
    model = open_run(out).load_model("best").eval()
    assert isinstance(model, RecurrentRecognizer)
    return model


def _untrained(folder: Path) -> RecurrentRecognizer:
    torch.manual_seed(0)
    classes = len(read_manifest(folder / "manifest.csv").classes)
    model = create_model("rvit", classes, **OPTIONS, input_size=SIZE).eval()
    assert isinstance(model, RecurrentRecognizer)
    return model


def recipe(folder: Path) -> dict[str, Any]:
    """A small rvit on filmed clips of 64 pixels."""
    augment = {"crop_scale": 0.7, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "views": 8}
    return {
        "data": {
            "manifest": str(folder / "manifest.csv"),
            "size": SIZE,
            "frames": CLIP_FRAMES,
            "augment": augment,
        },
        "model": {"name": "rvit", "options": OPTIONS},
        "train": {
            "epochs": 20,
            "batch_size": 16,
            "lr": 1e-3,
            "warmup_epochs": 2,
            "label_smoothing": 0.1,
            "seed": 0,
            "device": "cpu",
        },
    }


def read_clips(folder: Path) -> Clips:
    manifest = read_manifest(folder / "manifest.csv")
    config = Data(manifest=str(folder / "manifest.csv"), size=SIZE, frames=CLIP_FRAMES)
    batches = list(make_loader(manifest, config, manifest.rows("test"), batch_size=32))
    rows = torch.cat([batch.index for batch in batches]).tolist()
    return Clips(
        torch.cat([batch.frames for batch in batches]),
        torch.cat([batch.target for batch in batches]).numpy(),
        np.array([manifest.records[row].group for row in rows]),
    )


def make_stream(clips: int, streams: int) -> Stream:
    """The same for every precision: stream b depends on b alone."""
    columns = []
    for stream in range(streams):
        generator = np.random.default_rng(stream)
        clip, place = [], []
        while len(clip) < LENGTH:
            for one in generator.permutation(clips):
                still = generator.integers(0, 4)
                clip += [one] * (CLIP_FRAMES + still)
                place += [*range(CLIP_FRAMES), *[CLIP_FRAMES] * still]
        columns.append((clip[:LENGTH], place[:LENGTH]))
    clip, place = torch.tensor(columns).permute(1, 2, 0)
    return Stream(clip, place)


def answers_alone(model: RecurrentRecognizer, clips: Clips) -> np.ndarray:
    with torch.inference_mode():
        given = [
            model(clips.frames[i : i + 32]).logits.argmax(1)
            for i in range(0, len(clips.labels), 32)
        ]
    return torch.cat(given).numpy()


@dataclass(frozen=True)
class Followed:
    """What was seen along a stream, frame by frame. L layers, B streams."""

    stream: Stream
    norm: np.ndarray
    """(LENGTH, L, B) root mean square of the hidden tokens."""
    largest: np.ndarray
    """(LENGTH,) largest absolute element of any hidden token; inf or nan after an overflow."""
    moved: np.ndarray
    """(LENGTH, L, B) share of the hidden tokens' norm by which this frame moved them."""
    logits: np.ndarray
    """(LENGTH, B, K)."""


def follow(model: RecurrentRecognizer, clips: Clips, precision: str, way: str) -> Followed:
    """Read the stream by one state without end, or by overlapping restarts."""
    model = deepcopy(model).to(PRECISIONS[precision])
    streams = STREAMS[precision]
    stream = make_stream(len(clips.labels), streams)
    step = _Endless(model, streams) if way == "one state" else _Restarts(model, streams)
    norms, largest, moves, logits = [], [], [], []
    with torch.inference_mode():
        for clip, place in zip(stream.clip, stream.place, strict=True):
            frame = clips.frames[clip, place.clamp_max(CLIP_FRAMES - 1)]
            before = step.hidden()
            output = step(frame)
            hidden = step.hidden()
            norms.append(hidden.square().mean((2, 3)).sqrt())
            largest.append(float(hidden.abs().max()))
            difference = (hidden - before).square().mean((2, 3)).sqrt()
            moves.append(difference / norms[-1])
            logits.append(output.logits.float())
    return Followed(
        stream,
        torch.stack(norms).numpy(),
        np.array(largest),
        torch.stack(moves).numpy(),
        torch.stack(logits).numpy(),
    )


class _Endless:
    def __init__(self, model: RecurrentRecognizer, streams: int) -> None:
        self.model, self.state = model, model.init_state(streams)

    def hidden(self) -> Tensor:
        """(L, B, N, D) float."""
        return _stack(self.state)

    def __call__(self, frame: Tensor) -> Output:
        output, self.state = self.model.step(frame, self.state)
        return output


class _Restarts:
    """`OverlappingRestarts`, which keeps its state to itself: the model is watched instead."""

    def __init__(self, model: RecurrentRecognizer, streams: int) -> None:
        self.streams, self.state = streams, model.init_state(streams)
        self.restarts = OverlappingRestarts(_Watched(model, self), CLIP_FRAMES, streams)  # pyright: ignore[reportArgumentType]

    def hidden(self) -> Tensor:
        """Those of the memory that answers."""
        return _stack(tuple(one[: self.streams] for one in self.state))

    def __call__(self, frame: Tensor) -> Output:
        return self.restarts.step(frame)


class _Watched:
    """A model whose latest state can be looked at."""

    def __init__(self, model: RecurrentRecognizer, watcher: _Restarts) -> None:
        self.model, self.watcher = model, watcher
        self.stream_frames = model.stream_frames
        self.init_state = model.init_state

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        output, self.watcher.state = self.model.step(frame, state)
        return output, self.watcher.state


def _stack(state: State) -> Tensor:
    return torch.stack([one.float() for one in state])


def summarise(
    found: Followed, clips: Clips, alone: np.ndarray, weights: str, precision: str, way: str
) -> list[dict[str, Any]]:
    """One row for each stretch of the stream."""
    ends = found.stream.place.numpy() == CLIP_FRAMES - 1  # (LENGTH, B)
    which = found.stream.clip.numpy()
    answers = found.logits.argmax(-1)
    same, right = answers == alone[which], answers == clips.labels[which]
    broken = np.flatnonzero(~np.isfinite(found.logits).all((1, 2)) | ~np.isfinite(found.largest))
    rows = []
    for first, last in BINS:
        part = slice(first - 1, last)
        counted = ends[part]
        groups = clips.groups[which[part]][counted]
        agreement = _mean_interval(same[part][counted], groups)
        accuracy = _mean_interval(right[part][counted], groups)
        norm, moved = found.norm[last - 1].mean(-1), found.moved[part].mean((0, 2))
        rows.append(
            {
                "weights": weights,
                "precision": precision,
                "way": way,
                "from_frame": first,
                "to_frame": last,
                "rms_of_h_at_the_end": " ".join(f"{one:.4g}" for one in norm),
                "largest_of_h_at_the_end": f"{found.largest[last - 1]:.4g}",
                "moved_per_frame": " ".join(f"{one:.3g}" for one in moved),
                "largest_logit": f"{np.abs(found.logits[part]).max():.4g}",
                "kinds_of_answers": len(np.unique(answers[part][counted])),
                "same_as_the_clip_alone": _text(agreement),
                "accuracy": _text(accuracy),
                "accuracy_alone": f"{(alone == clips.labels).mean():.3f}",
                "not_finite_from_frame": int(broken[0]) + 1 if len(broken) else "",
                "clip_ends": int(counted.sum()),
                "clips": len(clips.labels),
                "actors": len(set(clips.groups)),
                "streams": found.logits.shape[1],
            }
        )
    return rows


def _text(values: tuple[float, float, float]) -> str:
    return "{:.3f} [{:.3f} to {:.3f}]".format(*values)


def _mean_interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Mean, and 95% by drawing actors anew."""
    _, place = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(place, weights=values), np.bincount(place)
    count = len(sizes)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(drawn @ sums / (drawn @ sizes), [2.5, 97.5])
    return float(np.mean(values)), float(low), float(high)
