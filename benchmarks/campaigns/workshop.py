"""What the campaigns break: small clips, a recipe, a teacher, a trained run with its artifact.

workshop/clips/*.mp4, clips.csv    three moves, 18 clips of six people
workshop/recipe.yaml, taught.yaml  two epochs of a very small model; the same with a teacher
workshop/runs/teacher, student     trained by the command line; student evaluated and exported
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

from campaigns.asking import ask
from campaigns.forked import run

CLASSES = ("left", "right", "still")
OPTIONS = {"backbone": "small-cnn", "embedding_dim": 16, "hidden_dim": 16}
FRAMES, SIZE = 3, 32


class Workshop:
    """The folder and the places in it. `make` fills it; what is broken is a copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = folder / "clips.csv"
        self.recipe, self.taught = folder / "recipe.yaml", folder / "taught.yaml"
        self.teacher = folder / "runs" / "teacher"
        self.student = folder / "runs" / "student"
        self.artifact = self.student / "exports" / "onnx"

    @property
    def clips(self) -> list[Path]:
        return sorted((self.folder / "clips").glob("*.mp4"))

    def make(self, *, exported: bool = True) -> Workshop:
        """Fill the folder, unless an earlier call has; exported: with an artifact, which takes
        longer than all else."""
        if not (self.student / "report.html").exists():
            self._fill(exported)
        if exported:
            _replay_exporter(self.artifact)
        return self

    def _fill(self, exported: bool) -> None:
        self.folder.mkdir(parents=True)
        ask(self._film)
        write_recipe(self.recipe, self.table)
        write_recipe(self.taught, self.table, teacher={"kind": "run", "path": str(self.teacher)})
        calls = [
            ["train", str(self.recipe), "--out", str(self.teacher), "--set", "train.seed=1"],
            ["train", str(self.recipe), "--out", str(self.student)],
            ["evaluate", str(self.student)],
            ["stream", str(self.student), str(self.clips[0])],  # sets the threshold of "unknown"
            *([["export", str(self.student)]] if exported else []),
            ["report", str(self.student)],
        ]
        for words in calls:
            ended = run(words, self.folder)
            if ended.code != 0:
                raise SystemExit(f"understudy {' '.join(words)}\n{ended.err}")

    def copy_run(self, place: Path, *, exports: bool = False, evaluated: bool = False) -> Path:
        """The student in another place, with or without what came after training."""
        left_out = [] if exports else ["exports"]
        left_out += [] if evaluated else ["metrics.json", "predictions.parquet", "report.html"]
        shutil.copytree(self.student, place, ignore=shutil.ignore_patterns(*left_out))
        return place

    def _film(self) -> None:
        (self.folder / "clips").mkdir()
        with self.table.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("path", "label", "split", "group"))
            for number in range(18):
                label, person = CLASSES[number % 3], number // 3
                split = ("train", "train", "train", "train", "val", "test")[person]
                film(self.folder / "clips" / f"{number:02d}.mp4", label, number)
                table.writerow((f"clips/{number:02d}.mp4", label, split, f"person{person}"))


def film(path: Path, label: str, seed: int, *, frames: int = 8, codec: str = "libx264") -> None:
    """A small video: a bright bar on noise that moves, or stays."""
    import av
    import numpy as np

    rng = np.random.default_rng(seed)
    places = np.linspace(2, 42, frames).astype(int)
    places = {"left": places[::-1], "right": places}.get(label, np.full(frames, 20))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height = 48, 32
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.thread_count = 1
        for place in places:
            pixels = rng.integers(0, 60, (32, 48, 3), dtype=np.uint8)
            pixels[:, place : place + 6] = 230
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def recipe_content(table: Path, **sections: Any) -> dict[str, Any]:
    """A recipe that trains in a second: two epochs of two steps."""
    return {
        "name": "student",
        "data": {"manifest": str(table), "size": SIZE, "frames": FRAMES,
                 "augment": {"crop_scale": 0.7, "views": 1}},
        "model": {"name": "frames-average", "options": dict(OPTIONS)},
        "train": {"epochs": 2, "batch_size": 6, "lr": 1e-3, "device": "cpu"},
        **sections,
    }  # fmt: skip


def write_recipe(path: Path, table: Path, **sections: Any) -> None:
    import yaml

    path.write_text(yaml.safe_dump(recipe_content(table, **sections)), encoding="utf-8")


def _replay_exporter(artifact: Path) -> None:
    """Let later exports of the same run take their ONNX files from an artifact: to convert anew
    takes a quarter of a minute, in which nothing is written. All around it stays as it is."""
    from understudy.run import read_json
    from understudy.ship.formats import onnx

    opset = read_json(artifact / "contract.json")["graphs"]["clip"]["opset"]

    def export(graph: Any, path: Path) -> dict[str, Any]:
        path.write_bytes((artifact / f"{graph.kind}.onnx").read_bytes())
        return {"opset": opset}

    onnx.export = export
