"""How well the labels of a stream follow a long video whose actions are known.

    understudy data stage stage --clips 800 --seed 0 --size 96
    understudy train demo --set teacher=null --set data.manifest=stage/manifest.csv \\
        --set data.augment.views=4 --set train.epochs=20 --set train.batch_size=16 \\
        --set model.options.window=64 --out runs/stream-stage
    (the same with --set model.options.window=8 --out runs/stream-stage-w8, and with that window and
    --set data.sampling=dense --set data.stride_s=0.15 --out runs/stream-dense)
    python benchmarks/stream_labels.py runs/stream-stage runs/stream-stage-w8 runs/stream-dense \\
        --smoothing 0 1

The clips of a split are joined in a random order into one video, each shown once or three times in
a row, without a pause: the hardest case, since nearly every stretch of frames as long as a clip
holds parts of two. Beside the stream stands `predict`, which sees the future of a moment too. A
stream can't, so its labels are compared with what is played at that moment and with what was played
half a clip of training earlier. An interval draws groups (actors) of clips anew.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import torch

from understudy.data.manifest import Manifest
from understudy.data.transforms import prepare
from understudy.data.video import stream_video
from understudy.judge.statistics import bootstrap_groups
from understudy.judge.unknown import unknown_threshold
from understudy.perform.predict import predict
from understudy.perform.smoothing import UNKNOWN, Stretch
from understudy.perform.sources import FileSource
from understudy.perform.stream import Stream, StreamModel
from understudy.run import Run, open_run
from understudy.ship.bench import where_and_when

FPS, SIDE, TICK_S = 30, 96, 0.02


class Scene(NamedTuple):
    """A label and from when to when it is right, in seconds."""

    start_s: float
    end_s: float
    label: str


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="runs trained on the same manifest")
    parser.add_argument("--split", default="test")
    parser.add_argument("--smoothing", type=float, nargs="+", help="in steps between frames")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for run in map(open_run, options.runs):
        for repeats in (1, 3):
            rows += measure(run, options.split, repeats, options.smoothing or [0, 1, 2, 4])
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    out = Path("results") / f"stream_labels_{time.strftime('%Y-%m-%d')}.csv"
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\nWritten to {out}")


def measure(run: Run, split: str, repeats: int, steps: Sequence[float]) -> list[dict[str, Any]]:
    """Windows, then the stream at every smoothing, without and with "unknown"."""
    manifest = run.manifest
    order = manifest.rows(split)
    random.Random(0).shuffle(order)
    groups = [manifest.records[row].group for row in order]
    classifier = run.classifier()
    model = StreamModel(classifier)
    threshold = unknown_threshold(classifier)
    half_s = run.data["clip_seconds"] / 2
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "joined.mp4"
        scenes = join(manifest, order, repeats, film)
        (windows,) = predict(classifier, [film])
        found = [Scene(s.start_s or 0, s.end_s or 0, s.label) for s in windows.segments]
        rows = [row_of(run, "windows", repeats, scenes, found, groups, half_s)]
        for step in steps:
            smoothing_s = step * (model.step_s or 0)
            for value in (0.0, threshold):
                stream = Stream(
                    model, FileSource(film, model.step_s), threshold=value, smoothing_s=smoothing_s
                )
                stretches = [event for event in stream if isinstance(event, Stretch)]
                found = [Scene(s.start_s, s.end_s, s.label) for s in stretches]
                row = row_of(run, "stream", repeats, scenes, found, groups, half_s)
                rows.append(row | {"smoothing_steps": step, "threshold": value})
    return rows


def join(manifest: Manifest, order: Sequence[int], repeats: int, out: Path) -> list[Scene]:
    """Film clips one after the other; when each is on screen."""
    scenes: list[Scene] = []
    written = 0
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "12"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for row in order:
            start = written
            for pixels in played(manifest.path_of(row), repeats):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
                written += 1
            label = str(manifest.records[row].label)
            scenes.append(Scene(start / FPS, written / FPS, label))
        container.mux(stream.encode())
    return scenes


def played(path: Path, repeats: int) -> Iterator[np.ndarray]:
    """A clip's frames (S, S, 3) at the film's rate, several times over."""
    frames = list(stream_video(path, None))
    times = [time_s for time_s, _ in frames]
    pixels = prepare(torch.stack([one for _, one in frames]), SIDE).permute(0, 2, 3, 1).numpy()
    length_s = times[-1] * len(times) / max(1, len(times) - 1)
    for number in range(repeats * round(length_s * FPS)):
        at_s = (number + 0.5) / FPS % length_s
        yield np.ascontiguousarray(pixels[np.searchsorted(times, at_s, side="right") - 1])


def row_of(
    run: Run,
    way: str,
    repeats: int,
    scenes: list[Scene],
    found: list[Scene],
    groups: list[str],
    half_s: float,
) -> dict[str, Any]:
    """The share of time with the right label, now and half a clip later, each with an interval."""
    moments = np.arange(TICK_S / 2, scenes[-1].end_s, TICK_S)
    playing = at(scenes, moments)
    truth = np.array([scene.label for scene in scenes])[playing]
    said = np.array([scene.label for scene in found])
    row: dict[str, Any] = {"run": run.name, "model": run.recipe.model.name, "way": way}
    row |= {"repeats": repeats, "smoothing_steps": "", "threshold": ""}
    for name, lag_s in (("right", 0.0), ("right_half_a_clip_later", half_s)):
        right = said[at(found, moments + lag_s)] == truth
        sums = np.stack([np.bincount(playing, weights=right), np.bincount(playing)], axis=1)
        low, high = bootstrap_groups(lambda s: s[:, 0] / s[:, 1], sums, groups)
        row |= {name: round(float(right.mean()), 3), f"{name}_95": f"{low:.3f} to {high:.3f}"}
    named = said[at(found, moments)] != UNKNOWN
    row |= {"named": round(float(named.mean()), 3), "labels_said": len(found)}
    return row | {"clips": len(scenes), "seconds": round(scenes[-1].end_s, 1)}


def at(scenes: list[Scene], moments: np.ndarray) -> np.ndarray:
    """Which scene it is at each moment; before the first and after the last, the nearest."""
    starts = np.array([scene.start_s for scene in scenes])
    return (np.searchsorted(starts, moments, side="right") - 1).clip(0)


if __name__ == "__main__":
    main()
