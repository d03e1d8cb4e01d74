"""What every model costs: parameters, arithmetic, and time per clip and per new frame.

    python benchmarks/models.py [--rounds 11] [--models NAME ...]

Each model of `list_models()` at its defaults with 10 classes, random weights, batch 1 and one
thread, on clips of 8 frames, or of as many as it needs. It takes turns with a reference, clip and
frame, so that a machine that slows down slows both; ratios are to the reference. Writes
results/models_<date>.csv, from which docs/generate.py writes docs/models.md.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.models import create_model, list_models
from understudy.ship.bench import where_and_when
from understudy.ship.bench.subjects import natural_clips
from understudy.ship.macs import count_macs
from understudy.types import Output, Recognizer, State, StreamingRecognizer, parameter_count

REFERENCE, CLASSES, FRAMES = "mobilevit-xxs", 10, 8
SECONDS, RESAMPLES = 0.1, 2000

Call = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--models", nargs="+", default=list_models(), choices=list_models())
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.models:
        rows.append(describe(name) | time_model(name, arguments.rounds))
        print(*(f"{key}={value}" for key, value in rows[-1].items()), file=sys.stderr)
    context = where_and_when() | {"threads": 1, "rounds": arguments.rounds, "reference": REFERENCE}
    out = Path("results") / f"models_{time.strftime('%Y-%m-%d')}.csv"
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], *context])
        writer.writeheader()
        writer.writerows(row | context for row in rows)
    print(out)


class Stepping(Recognizer):
    """A model that reads one frame of a stream, so that its arithmetic can be counted."""

    def __init__(self, model: StreamingRecognizer, state: State) -> None:
        super().__init__()
        self.model, self.state = model, state

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        return self.model.step(frames[:, 0], self.state)[0]


def describe(name: str) -> dict[str, Any]:
    """What can be counted; on tensors without memory, as some models are large."""
    with torch.device("meta"):
        model = create_model(name, CLASSES).eval()
    time_, size = frames_of(model), model.input_size
    clip = torch.empty(1, time_, 3, size, size, dtype=torch.uint8, device="meta")
    row: dict[str, Any] = {
        "model": name,
        "parameters": parameter_count(model),
        "frames": time_,
        "size": size,
        "gmacs_clip": round(count_macs(model, clip) / 1e9, 4),
        "gmacs_frame": "",
        "stream_frames": "",
        "state": "",
        "state_bytes": "",
    }
    if isinstance(model, StreamingRecognizer):
        state = model.init_state(1)
        row |= {
            "gmacs_frame": round(count_macs(Stepping(model, state), clip[:, :1]) / 1e9, 4),
            "stream_frames": model.stream_frames or "",
            "state": " ".join("x".join(map(str, tensor.shape)) for tensor in state),
            "state_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state),
        }
    return row


def time_model(name: str, rounds: int) -> dict[str, Any]:
    """Median milliseconds of a clip and of a new frame, and their ratios to the reference's."""
    subjects = calls(name)
    reference = calls(REFERENCE)
    together = [*reference.values(), *subjects.values()]
    with torch.inference_mode():
        for call in together:
            call()
        seconds = np.array([[turn(call) for call in together] for _ in range(rounds)])
    of = dict(
        zip([*(f"reference {part}" for part in reference), *subjects], seconds.T, strict=True)
    )
    drawn = np.random.default_rng(0).integers(rounds, size=(RESAMPLES, rounds))
    row: dict[str, Any] = {}
    for part in ("clip", "frame"):
        names = (f"{part}_ms", f"{part}_ratio")
        if part not in of:
            row |= {f"{one}{end}": "" for one in names for end in ("", "_low", "_high")}
            continue
        own, base = of[part], of[f"reference {part}"]
        medians = np.median(own[drawn], axis=1)
        row |= figures(names[0], np.median(own) * 1e3, medians * 1e3)
        ratios = medians / np.median(base[drawn], axis=1)
        row |= figures(names[1], np.median(own) / np.median(base), ratios)
    return row


def calls(name: str) -> dict[str, Call]:
    """Reading a clip, and reading one frame more of a stream."""
    torch.manual_seed(0)
    model = create_model(name, CLASSES).eval()
    clip = natural_clips(1, frames_of(model), model.input_size)
    found: dict[str, Call] = {"clip": lambda: model(clip)}
    if isinstance(model, StreamingRecognizer):
        state = model.init_state(1)
        with torch.inference_mode():
            for frame in clip.unbind(1):
                _, state = model.step(frame, state)
        found["frame"] = lambda: model.step(clip[:, 0], state)
    return found


def turn(call: Call) -> float:
    """Median seconds of a call, over a tenth of a second at least; the first is not counted."""
    call()
    spent: list[float] = []
    end = time.perf_counter() + SECONDS
    while not spent or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent))


def figures(name: str, value: float, draws: np.ndarray) -> dict[str, Any]:
    """A value and its 95% interval: bootstrap over rounds."""
    low, high = np.percentile(draws, [2.5, 97.5])
    parts = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {key: float(f"{part:.4g}") for key, part in parts.items()}


def frames_of(model: Recognizer) -> int:
    return model.clip_frames or FRAMES


if __name__ == "__main__":
    main()
