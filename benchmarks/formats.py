"""Every model in every runtime: how far its answers lie from PyTorch's, how fast and how big it is.

    python benchmarks/formats.py [--models NAME ...] [--formats onnx litert executorch]

Each model of `list_models()` at its defaults with 15 classes, on clips of 8 frames or of as many as
it needs. Weights are random, batch statistics are those of pictures. Every export reads clips of
pictures, noise and black, one of them with a single true frame, and steps through a stream of 32
such frames, beside PyTorch; a difference is the largest of the logits or embeddings as a share of
the largest value or of 1. Then PyTorch and all exports take turns, one thread; ratios are to
PyTorch on the same graph (95%: bootstrap over rounds, kept in pairs).
Writes results/formats_<date>_<hardware>.csv after each model, a row for each of its formats and
graphs; rows of other models that stand in it stay.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dated import dated_path, write_rows
from understudy.errors import UserError
from understudy.models import create_model, list_models
from understudy.ship import load_artifact
from understudy.ship.bench import where_and_when
from understudy.ship.bench.lineup import export_peer
from understudy.ship.bench.peers import create_peer
from understudy.ship.bench.subjects import natural_clips, reading
from understudy.ship.bench.timing import interleave, ratio_interval, round_medians
from understudy.ship.parity import compare, compare_streams
from understudy.ship.probes import awkward_probes, real_probes
from understudy.types import Recognizer, StreamingRecognizer

FRAMES, STREAM_FRAMES, BUDGET_S = 8, 32, 60.0

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list_models(), choices=list_models())
    parser.add_argument("--formats", nargs="+", default=["onnx", "litert", "executorch"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each turn")
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.models:
        rows = measure(name, arguments.formats, arguments.rounds, arguments.seconds)
        write(rows, arguments.rounds, arguments.out)


def measure(name: str, formats: list[str], rounds: int, seconds: float) -> list[Row]:
    """Rows of one model: PyTorch and every format, on the clip graph and on the step graph."""
    spec, (frames, size) = f"model:{name}", clip_shape(name)
    model = create_peer(spec, frames=frames, size=size)
    subjects: dict[str, Any] = {"torch": model}
    facts: dict[str, Row] = {"torch": {}}
    with tempfile.TemporaryDirectory() as folder:
        for form in formats:
            started = time.perf_counter()
            try:
                artifact = export_peer(spec, model, form, frames, Path(folder) / form)
            except UserError as error:
                print(f"{form} is left out: {error}", file=sys.stderr)
                continue
            spent = time.perf_counter() - started
            model = subjects["torch"] = create_peer(spec, frames=frames, size=size)
            subjects[form] = exported = load_artifact(artifact.path, threads=1)
            facts[form] = {"export_s": f"{spent:.1f}"} | differences(model, exported, frames, size)
            for graph, entry in artifact.contract["graphs"].items():
                facts[form][graph] = {"file_bytes": entry["bytes"]}
        timed = [
            ("clip" if what == "clip" else "step", runtime, reading(one, clips, what))
            for what in (["clip", "frame"] if isinstance(model, StreamingRecognizer) else ["clip"])
            for clips in [natural_clips(1, frames, size)]
            for runtime, one in subjects.items()
        ]
        with torch.inference_mode():
            turns = interleave(
                [call for *_, call in timed], rounds=rounds, seconds=seconds, budget_s=BUDGET_S
            )
    medians = [round_medians(one) for one in turns]
    base = {graph: m for (graph, who, _), m in zip(timed, medians, strict=True) if who == "torch"}
    found = []
    for (graph, runtime, _), median in zip(timed, medians, strict=True):
        low, high = ratio_interval(median, base[graph])
        row = {"model": name, "frames": frames, "size": size, "format": runtime, "graph": graph}
        own = facts[runtime].get(graph, {})
        row |= {key: value for key, value in facts[runtime].items() if key not in base} | own
        row["median_ms"] = shorten(np.median(median) * 1e3)
        row["ratio"] = shorten(np.median(median) / np.median(base[graph]))
        found.append(row | {"ratio_low": shorten(low), "ratio_high": shorten(high)})
        print(*(f"{key}={value}" for key, value in found[-1].items()), flush=True)
    return found


def clip_shape(name: str) -> tuple[int, int]:
    """Frames and size of the clips that a model reads here: those it was made for."""
    with torch.random.fork_rng(devices=[]):
        model = create_model(name, 2)
    return model.clip_frames or FRAMES, model.input_size


def differences(model: Recognizer, exported: Any, frames: int, size: int) -> Row:
    """The largest differences on clips and on a stream, and how often the best class agreed."""
    pictures = natural_clips(3, frames, size)
    probes = real_probes(list(pictures), frames) + awkward_probes(frames, size)
    clips = compare(model, exported, probes)
    row = {
        "clip_difference": worst(clips),
        "clip_median": shorten(clips["logits_median"]),
        "agreement": clips["top1_agreement"],
    }
    if isinstance(model, StreamingRecognizer):
        flat = torch.cat([pictures.flatten(0, 1), probes[-3].frames[0], probes[-5].frames[0]])
        stream = flat.repeat(-(-STREAM_FRAMES // len(flat)), 1, 1, 1)[:STREAM_FRAMES]
        row["stream_difference"] = worst(compare_streams(model, exported, stream))
    return row


def worst(report: Row) -> float:
    return shorten(max(report["logits_difference"], report["embedding_difference"]))


def shorten(value: Any) -> float:
    return float(f"{value:.4g}")


def write(rows: list[Row], rounds: int, out: Path) -> None:
    """Write the rows of one model, in the place of those that it had."""
    context = where_and_when() | {"threads": 1, "rounds": rounds}
    path = dated_path("formats", out, context)
    others: list[Row] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            others = [row for row in csv.DictReader(file) if row["model"] != rows[0]["model"]]
    rows = sorted(others + [row | context for row in rows], key=lambda row: row["model"])
    write_rows(path, rows)


if __name__ == "__main__":
    main()
