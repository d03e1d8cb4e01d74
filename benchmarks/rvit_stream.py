"""What a stream costs a recurrent vision transformer, and what becomes of one that never ends.

    python benchmarks/rvit_stream.py --data FOLDER [--out runs/rvit-stage] [--parts memory time ...]

FOLDER holds the manifest.csv of `understudy data stage FOLDER --clips 800 --seed 0 --size 96`.
Parts, each with a CSV of its own, results/rvit_<part>_<date>.csv:

memory     peak memory of inference over 16 and 1,024 frames, every time in a fresh process
time       a step at frames 961 to 1,024 of a stream over one at frames 1 to 64
attention  linear and softmax attention over 196, 784 and 3,136 tokens, with the exponent of growth
drift_trained, drift_untrained
           10,000 frames of filmed clips through an rvit: hidden tokens, logits and answers in three
           precisions, with and without overlapping restarts (rvit_drift.py); the trained one is
           runs/rvit-stage, trained here where it is missing

Last it draws docs/rvit_stream.png from the latest CSVs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.models import create_model
from understudy.models.linear_attention import linear_attention
from understudy.models.recurrent import RecurrentRecognizer
from understudy.models.rvit import Attention, AttentionGate
from understudy.ship.bench import where_and_when
from understudy.ship.bench.subjects import natural_clips

MODELS = ("rvit", "rvit-image")
FRAMES = (16, 1024)
WAYS = ("step", "forward")
TOKENS = (196, 784, 3136)
KERNELS: dict[Attention, Callable[..., Tensor]] = {
    "linear": linear_attention,
    "softmax": F.scaled_dot_product_attention,
}
DIM, HEADS = 192, 8
ALLOCATORS = {
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"},
    "given back": {},
}
RESAMPLES = 2000
PARTS = ("memory", "time", "attention", "drift_untrained", "drift_trained")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of filmed clips")
    parser.add_argument("--out", type=Path, default=Path("runs/rvit-stage"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    from rvit_drift import measure_drift
    from rvit_plot import draw

    if "memory" in arguments.parts:
        write("memory", memory())
    if "time" in arguments.parts:
        write("time", time_per_frame())
    if "attention" in arguments.parts:
        write("attention", attention())
    for weights in ("untrained", "trained"):
        if f"drift_{weights}" in arguments.parts:
            rows = measure_drift(arguments.data, arguments.out, weights)
            write(f"drift_{weights}", rows)
    draw(Path("results"), Path("docs/rvit_stream.png"))


def build(name: str) -> RecurrentRecognizer:
    """The reference size, random weights."""
    torch.manual_seed(0)
    model = create_model(name, 27).eval()
    assert isinstance(model, RecurrentRecognizer)
    return model


def moving_picture(size: int, frames: int) -> Iterator[Tensor]:
    """Frames (1, 3, S, S) uint8 of one random picture that slides by three pixels a frame."""
    picture = natural_clips(1, 1, size)[:, 0]
    for frame in range(frames):
        yield picture.roll(3 * frame, dims=-1)


def memory(repeats: int = 5) -> list[dict[str, Any]]:
    """Peak resident memory of a fresh process, and what of it came on top of the loaded model.

    Stepping draws its frames one by one. `forward` is given the whole clip, whose own bytes are
    taken off; at 1,024 frames they are 38.5 MB.
    """
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for name in MODELS:
            for way in WAYS:
                for frames in FRAMES:
                    found.setdefault((name, way, frames), []).append(_fresh(name, way, frames))
    rows = []
    for name in MODELS:
        for way in WAYS:
            short, long = (np.array(found[name, way, frames]) for frames in FRAMES)
            for column, measure in enumerate(("peak MB", "MB on top of the loaded model")):
                ratios = long[:, column] / short[:, column]
                rows.append(
                    {
                        "model": name,
                        "way": way,
                        "measure": measure,
                        "at_16": round(float(np.median(short[:, column])), 2),
                        "at_1024": round(float(np.median(long[:, column])), 2),
                        "ratio": round(float(np.median(ratios)), 4),
                        "low": round(float(ratios.min()), 4),
                        "high": round(float(ratios.max()), 4),
                        "repeats": repeats,
                    }
                )
    return rows


def _fresh(name: str, way: str, frames: int) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--use", name, way, str(frames)],
        capture_output=True,
        text=True,
        check=True,
    )
    before, peak = map(float, done.stdout.split())
    return peak, peak - before


def use(name: str, way: str, frames: int) -> None:
    """In the fresh process: print MB before the first frame, and the peak after the last."""
    torch.set_num_threads(1)
    model = build(name)
    with torch.inference_mode():
        before = _memory_mb("VmRSS")
        if way == "step":
            state = model.init_state(1)
            for frame in moving_picture(model.input_size, frames):
                _, state = model.step(frame, state)
            clip_mb = 0.0
        else:
            clip = torch.empty(1, frames, 3, model.input_size, model.input_size, dtype=torch.uint8)
            for place, frame in enumerate(moving_picture(model.input_size, frames)):
                clip[:, place] = frame
            model(clip)
            clip_mb = clip.nbytes / 1e6
    print(before, _memory_mb("VmHWM") - clip_mb)


def _memory_mb(which: str) -> float:
    found = re.search(
        rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii")
    )
    assert found, "memory is read from Linux' /proc"
    return int(found[1]) * 1024 / 1e6


def time_per_frame(repeats: int = 20, edge: int = 64, total: int = 1024) -> list[dict[str, Any]]:
    """CPU time of steps at a stream's end and at its beginning, taking turns; one thread."""
    rows = []
    for name in MODELS:
        model = build(name)
        with torch.inference_mode():
            state = model.init_state(1)
            for frame in moving_picture(model.input_size, total - edge):
                _, state = model.step(frame, state)
            late, early = [], []
            for _ in range(repeats):
                states = [state, model.init_state(1)]
                times: list[list[float]] = [[], []]
                for frame in moving_picture(model.input_size, edge):
                    for which in (0, 1):
                        started = time.process_time()
                        _, states[which] = model.step(frame, states[which])
                        times[which].append(time.process_time() - started)
                late.append(float(np.median(times[0])))
                early.append(float(np.median(times[1])))
        ratios = np.array(late) / np.array(early)
        low, high = interval(ratios, np.median)
        rows.append(
            {
                "model": name,
                "first_64_ms": round(1e3 * float(np.median(early)), 3),
                "last_64_ms": round(1e3 * float(np.median(late)), 3),
                "ratio": round(float(np.median(ratios)), 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "frames": total,
                "repeats": repeats,
            }
        )
    return rows


def attention() -> list[dict[str, Any]]:
    """Time over number of tokens: attention alone, and the gate with its projections around it.

    CPU time of one thread. Measured twice: in a process that keeps freed memory, and in one with
    glibc's own settings, where large tensors come page by page from the kernel, call after call.
    """
    rows = []
    for memory_of_process, variables in ALLOCATORS.items():
        done = subprocess.run(
            [sys.executable, __file__, "--attention"],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=True,
        )
        for kind, part, times in json.loads(done.stdout):
            measured = np.array(times)  # (repeats, 3)
            low, high = interval(measured, _exponent)
            medians = 1e3 * np.median(measured, axis=0)
            row = {"attention": kind, "part": part, "freed_memory": memory_of_process}
            row |= {f"ms_{n}": round(float(ms), 4) for n, ms in zip(TOKENS, medians, strict=True)}
            row |= {"exponent": round(_exponent(measured), 4)}
            row |= {"low": round(low, 4), "high": round(high, 4)}
            rows.append(row | {"dim": DIM, "heads": HEADS, "repeats": len(measured)})
    return rows


def time_attention(repeats: int = 30) -> None:
    """In a fresh process: print kind, part and CPU seconds (repeats, 3), all taking turns."""
    torch.set_num_threads(1)
    subjects: dict[tuple[str, str, int], Callable[[], Tensor]] = {}
    for tokens in TOKENS:
        torch.manual_seed(0)
        x, h = torch.randn(2, 1, tokens, DIM).unbind()
        qkv = torch.randn(3, 1, tokens, HEADS, DIM // HEADS).transpose(2, 3)
        for kind, kernel in KERNELS.items():
            gate = AttentionGate(DIM, HEADS, kind).eval()
            subjects[kind, "attention", tokens] = partial(kernel, *qkv)
            subjects[kind, "gate", tokens] = partial(gate, x, h)
    times: dict[tuple[str, str, int], list[float]] = {key: [] for key in subjects}
    with torch.inference_mode():
        for _ in range(repeats):
            for key, run in subjects.items():
                run()
                calls = max(1, TOKENS[-1] // key[2])
                started = time.process_time()
                for _ in range(calls):
                    run()
                times[key].append((time.process_time() - started) / calls)
    found = [
        (kind, part, list(zip(*(times[kind, part, tokens] for tokens in TOKENS), strict=True)))
        for kind in KERNELS
        for part in ("attention", "gate")
    ]
    print(json.dumps(found))


def _exponent(times: np.ndarray) -> float:
    """Slope of log time over log tokens, from median times; times (repeats, 3)."""
    return float(np.polyfit(np.log(TOKENS), np.log(np.median(times, axis=0)), 1)[0])


def interval(values: np.ndarray, statistic: Callable[[np.ndarray], Any]) -> tuple[float, float]:
    """95% of a statistic, by drawing repeats (the first dimension) anew."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile([statistic(values[one]) for one in drawn], [2.5, 97.5])
    return float(low), float(high)


def write(part: str, rows: list[dict[str, Any]]) -> None:
    """results/rvit_<part>_<date>.csv, the command in every row."""
    command = f"python benchmarks/rvit_stream.py --data FOLDER --parts {part}"
    out = Path("results") / f"rvit_{part}_{time.strftime('%Y-%m-%d')}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, [*rows[0], "command"])
        writer.writeheader()
        writer.writerows(row | {"command": command} for row in rows)
    print(out, *(" ".join(f"{k}={v}" for k, v in row.items()) for row in rows), sep="\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--use"]:
        use(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1:] == ["--attention"]:
        time_attention()
    else:
        main()
