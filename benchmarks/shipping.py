"""What shipping is worth: students, in their runtime, beside the CLIP tower that teaches them.

    python benchmarks/shipping.py [--rounds 15] [--seconds 0.3] [--profile]

One run, one thread, clips of 8 frames of 224 pixels: the image tower of CLIP ViT-B/32, and three
students with 15 classes, each as exported to ONNX and in PyTorch; and the step graphs of the
students, which read one new frame of a stream. Weights are random: time does not depend on them.
All take turns, so that a machine that slows down slows all of them. Ratios are to the exported
tower; those of a step, also to the same student's clip graph. 95% intervals: bootstrap over rounds,
kept in pairs. Writes results/shipping_<date>_<hardware>.csv. --profile: instead, what each kind of
operator takes in the students' graphs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from dated import dated_path, write_rows
from understudy.ship.bench import where_and_when
from understudy.ship.bench.peers import create_peer
from understudy.ship.bench.subjects import natural_clips
from understudy.ship.bench.timing import interleave, ratio_interval, round_medians
from understudy.ship.formats import onnx
from understudy.ship.graphs import Graph, graphs_of
from understudy.types import parameter_count

FRAMES, SIZE = 8, 224
TOWER = "clip:ViT-B-32"
STUDENTS = ("model:mobilenetv3", "model:mobilenetv4", "model:mobilevit-xxs")

PROFILED_CALLS = 60

Call = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each turn")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.profile:
        for spec in STUDENTS:
            profile(spec)
        return
    rows, calls = [], []
    with tempfile.TemporaryDirectory() as folder:
        for spec in (TOWER, *STUDENTS):
            model = create_peer(spec, frames=FRAMES, size=SIZE)
            about = {"model": spec, "parameters": parameter_count(model)}
            for graph in graphs_of(model, FRAMES):
                values = inputs_of(graph)
                exported, facts = export(graph, Path(folder) / f"{len(rows)}.onnx", values)
                print(spec, graph.kind, facts, file=sys.stderr)
                rows.append(about | {"graph": graph.kind, "runtime": "onnx"} | facts)
                rows.append(about | {"graph": graph.kind, "runtime": "torch"})
                calls += [exported, partial(graph.module, *values)]
        with torch.inference_mode():
            turns = interleave(calls, rounds=arguments.rounds, seconds=arguments.seconds)
    medians = [round_medians(one) for one in turns]
    base = medians[0]
    clips = {
        (row["model"], row["runtime"]): median
        for row, median in zip(rows, medians, strict=True)
        if row["graph"] == "clip"
    }
    for row, one, median in zip(rows, turns, medians, strict=True):
        row["median_ms"] = shorten(np.median(median) * 1e3)
        row["p95_ms"] = shorten(np.percentile(np.concatenate(one), 95) * 1e3)
        row |= ratio("tower_ratio", median, base)
        if row["graph"] == "step":
            row |= ratio("clip_ratio", median, clips[row["model"], row["runtime"]])
    write(rows, arguments.rounds, arguments.out)


def export(graph: Graph, path: Path, values: list[torch.Tensor]) -> tuple[Call, dict[str, Any]]:
    """A call of the exported graph, whose outputs must be the model's, and facts of the file."""
    onnx.export(graph, path)
    entry = {
        side: [spec.to_json() for spec in specs]
        for side, specs in (("inputs", graph.inputs), ("outputs", graph.outputs))
    }
    session = onnx.open_session(path, entry, 1)
    arrays = [value.numpy() for value in values]
    with torch.inference_mode():
        expected = graph.module(*values)
    difference = max(
        float((torch.as_tensor(given) - one).abs().max() / one.abs().max().clamp(min=1))
        for given, one in zip(session(arrays), expected, strict=True)
    )
    if difference > 1e-4:
        raise SystemExit(f"{path}: outputs differ by {difference:.2g}; its time means nothing")
    facts = {"difference": float(f"{difference:.2g}"), "file_bytes": path.stat().st_size}
    return partial(session, arrays), facts


def profile(spec: str) -> None:
    """Print the milliseconds of each kind of operator in a call, the dearest first."""
    for graph in graphs_of(create_peer(spec, frames=FRAMES, size=SIZE), FRAMES):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            onnx.export(graph, path)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(path, options)
            names = [tensor.name for tensor in session.get_inputs()]
            values = dict(zip(names, (one.numpy() for one in inputs_of(graph)), strict=True))
            for _ in range(PROFILED_CALLS):
                session.run(None, values)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        spent: Counter[str] = Counter()
        for event in events:
            if event["name"] == "model_run":
                spent["all"] += event["dur"]
            elif event["name"].endswith("_kernel_time"):
                spent[event["args"]["op_name"]] += event["dur"]
        each = (f"{kind} {us / PROFILED_CALLS / 1e3:.2f}" for kind, us in spent.most_common(12))
        print(f"{spec} {graph.kind}, ms: {', '.join(each)}")


def inputs_of(graph: Graph) -> list[torch.Tensor]:
    """A clip; or a frame and the state after the 8 before it."""
    pictures = natural_clips(1, FRAMES, SIZE)[0]
    if graph.kind == "clip":
        return [pictures, torch.tensor([FRAMES], dtype=torch.int32)]
    state = graph.example(1)[1:]
    with torch.inference_mode():
        for picture in pictures:
            state = graph.module(picture[None], *state)[2:]
    return [pictures[:1], *(tensor.clone() for tensor in state)]


def ratio(name: str, times: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Median time over that of `base`, and its 95% interval."""
    low, high = ratio_interval(times, base)
    value = float(np.median(times) / np.median(base))
    return {name: shorten(value), f"{name}_low": shorten(low), f"{name}_high": shorten(high)}


def shorten(value: Any) -> float:
    return float(f"{value:.4g}")


def write(rows: list[dict[str, Any]], rounds: int, out: Path) -> None:
    """Print the rows and write them as CSV."""
    context = where_and_when() | {"threads": 1, "frames": FRAMES, "size": SIZE, "rounds": rounds}
    for row in rows:
        times = f"{1 / row['tower_ratio']:8.2f} times as fast as the tower"
        if "clip_ratio" in row:
            times += f", {1 / row['clip_ratio']:.2f} times as fast as its clip"
        name = f"{row['model']} {row['graph']} {row['runtime']}"
        print(f"{name:38}{row['median_ms']:9.3f} ms {times}")
    path = dated_path("shipping", out, context)
    write_rows(path, [row | context for row in rows])
    print(path)


if __name__ == "__main__":
    main()
