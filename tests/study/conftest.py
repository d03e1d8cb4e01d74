"""A run directory like those that training, evaluation, export and bench leave behind."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from made_artifacts import made_contract, step_entry
from made_runs import own_clips
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions
from understudy.recipe import parse_recipe
from understudy.run import Run, create_run, write_json
from understudy.types import Skipped

CLASSES = ("<script>alert(1)</script>", "sit & wait", "walk_left", "walk_right")
EPOCHS = 6
TEACHER_PARAMETERS = 87_849_216


def write_clip(path: Path, hue: int, frames: int = 10, side: int = 64) -> None:
    """A short H.264 video: a bright square that moves over a coloured ground."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for number in range(frames):
            picture = np.full((side, side, 3), (hue, 120, 255 - hue), np.uint8)
            picture[20:40, 4 * number : 4 * number + 20] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_manifest_of_clips(folder: Path) -> Path:
    """Real files: two clips for training, one for validation and two for testing of each class."""
    rows = []
    for number, name in enumerate(CLASSES):
        for split, count in (("train", 2), ("val", 1), ("test", 2)):
            for i in range(count):
                path = f"clips/{number}_{split}_{i}.mp4"
                write_clip(folder / path, 40 * number)
                rows.append((path, name, split, f"{split}-{i}"))
    table = folder / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split", "group"))
        writer.writerows(rows)
    return table


def start_run(path: Path, manifest: Path, **sections: Any) -> Run:
    """A run that was just made: a recipe and nothing else."""
    content: dict[str, Any] = {
        "name": path.name,
        "data": {"manifest": str(manifest), "size": 64, "frames": 6},
        "model": {"name": "mobilenetv3"},
    }
    return create_run(path, parse_recipe(content | sections))


def train(run: Run, *, taught: bool = True, epochs: int = EPOCHS, finished: bool = True) -> None:
    """Write what training writes, with curves that look like learning."""
    write_json(
        run.path / "data.json",
        {
            "classes": list(CLASSES),
            "manifest": run.recipe.data.manifest,
            "clip_seconds": 1.0,
            "model_options": {"weights": "random"},
            "skipped": [
                {
                    "row": 3,
                    "path": "clips/torn <b>.mp4",
                    "split": "train",
                    "reason": "moov atom not found",
                }
            ],
        },
    )
    own_clips(run)
    history = []
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        task = 2.1 * (1 - 0.8 * done)
        parts = {"feature": 0.004 * (1 - 0.6 * done), "response": 3.4 * (1 - 0.85 * done)}
        top1 = 0.12 + 0.72 * done**0.6
        history.append(
            {
                "epoch": epoch,
                "lr": 3e-4 * (1 - done) + 1e-6,
                "seconds": 31.0,
                "clips_per_second": 11.2,
                "train": {
                    "loss": task + sum(parts.values() if taught else ()),
                    "task": task,
                    "top1": top1,
                    **(parts if taught else {}),
                },
                "val": {"loss": task + 0.2 * done, "top1": 0.94 * top1, "n": 80},
                "best": epoch == epochs - 1,
            }
        )
    write_json(run.path / "history.json", history)
    run.checkpoint_path().write_bytes(bytes(10_000_000))
    write_json(
        run.path / "environment.json",
        {
            "understudy": "0.1.0",
            "python": "3.11.9",
            "libraries": {"torch": "2.14.1", "timm": "1.0.31"},
            "command": ["understudy", "train", "my recipe.yaml", "--set", "train.epochs=6"],
        }
        | ({"finished": "2026-01-02T03:04:05+0000"} if finished else {}),
    )
    if taught:
        write_json(
            run.path / "teacher.json",
            {
                "kind": "clip",
                "name": "ViT-B-32",
                "source": "openai",
                "weights_sha256": "0123456789abcdef" * 4,
                "parameters": TEACHER_PARAMETERS,
                "embedding_dim": 512,
                "head": "zero-shot",
                "val": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 80, "method": "wilson"},
                "checkpoint_path": None,
            },
        )


def evaluate(run: Run, *, wrong: int = 2, seed: int = 0) -> Predictions:
    """Write what evaluation writes, with exactly `wrong` mistakes."""
    manifest = run.manifest
    rows = manifest.rows("test")
    classes = manifest.classes
    generator = torch.Generator().manual_seed(seed)
    target = torch.tensor([manifest.target_of(row) for row in rows])
    logits = torch.randn(len(rows), len(classes), generator=generator)
    mistaken = torch.randperm(len(rows), generator=generator)[:wrong]
    said = target.clone()
    said[mistaken] = (target[mistaken] ^ 1).clamp(max=len(classes) - 1)
    logits[torch.arange(len(rows)), said] += 4 + 2 * torch.rand(len(rows), generator=generator)
    predictions = Predictions(
        record=rows,
        id=[manifest.id_of(row) for row in rows],
        path=[manifest.records[row].path for row in rows],
        group=[manifest.records[row].group for row in rows],
        target=target,
        logits=logits,
        classes=classes,
        split="test",
        skipped=(Skipped(1, "clips/x.mp4", "no frames"),),
    )
    predictions.write(run.predictions_path)
    write_json(run.path / "metrics.json", compute_metrics(predictions, resamples=200))
    return predictions


def ship(run: Run) -> None:
    """Write what export and bench write, and a comparison with the run without a teacher."""
    folder = run.export_path("onnx")
    folder.mkdir(parents=True)
    classes = run.classes
    contract = made_contract(classes, frames=6, size=64, run=run.name, parameters=1_000_000)
    contract["graphs"]["clip"]["bytes"] = 11_000_000
    step = step_entry(len(classes), size=64)
    contract["graphs"]["step"] = step | {"bytes": 10_900_000, "precision": "int8 (dynamic)"}
    write_json(folder / "contract.json", contract)
    parity = {"passed": True, "tolerance": 1e-4, "logits_difference": 4.1e-7}
    parity |= {"logits_median": 1e-7, "embedding_difference": 2e-7, "top1_agreement": 1.0}
    stream = parity | {"frames": 256, "logits_difference": 3e-6, "last_logits_difference": 1e-6}
    probe = {"probe": "noise", "clips": 24, "same_top1": 24}
    probe |= {"logits_difference": 4.1e-7, "embedding_difference": 2e-7}
    parity |= {"clips": 24, "probes": [probe]}
    shipped = parity | {"stream": stream | {"logits_difference": 0.023, "top1_agreement": 0.984}}
    write_json(folder / "parity.json", parity | {"stream": stream, "shipped": shipped})
    row = {
        "runtime": "torch",
        "precision": "fp32",
        "threads": 1,
        "batch": 1,
        "frames": 6,
        "size": 64,
        "calls": 45,
        "rounds": 15,
        "what": "clip",
        "per_s": 60.0,
        "ratio": 1.0,
        "ratio_low": 0.98,
        "ratio_high": 1.02,
        "peak_rss_mb": 412.0,
        "file_bytes": 11_000_000,
        "parameters": 2_300_000,
        "gmacs": 0.47,
    }
    exported = {"subject": f"{run.name} (onnx)", "kind": "artifact", "runtime": "onnx"}
    times = {"median_ms": 7.1, "p95_ms": 7.9, "peak_rss_mb": None}
    write_json(folder / "latency.json", {"rows": [row | exported | times]})
    fp32 = {"recipe": "fp32", "failure": None, "difference_points": 0.0, "low_points": 0.0}
    fp32 |= {"high_points": 0.0, "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}
    fp32 |= {"n": 24, "bytes": 10_900_000, "top1": 0.9}
    dynamic = fp32 | {"recipe": "dynamic", "ratio": 0.61, "difference_points": -0.4}
    static = {"recipe": "static min-max", "failure": "it holds nothing to quantise"}
    rows = [fp32 | {"bytes_ratio": 1.0}, dynamic | {"bytes_ratio": 0.3}, static]
    tables = {"step": {"rows": rows, "chosen": "dynamic", "sentence": "dynamic with 0.61"}}
    write_json(folder / "int8.json", {"graphs": tables})
    write_json(
        run.path / "bench.json",
        [
            row | {"subject": run.name, "kind": "run", "median_ms": 16.4, "p95_ms": 18.0},
            row | exported | times,
            row | {"subject": "ViT-B-32", "kind": "model", "median_ms": 246.0, "p95_ms": 260.0},
        ],
    )
    write_json(
        run.path / "comparison.json",
        {
            "with": run.name,
            "without": f"{run.name}-alone",
            "difference": 0.0875,
            "low": 0.0112,
            "high": 0.1638,
            "p": 0.031,
            "n": 80,
        },
    )


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of real, tiny videos, one class of which is named to attack a web page."""
    return write_manifest_of_clips(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def new_run(tmp_path: Path, clips: Path) -> Callable[..., Run]:
    """Gives runs as far as asked for: start, train, evaluate or ship."""

    def make(until: str = "ship", *, finished: bool = True, **sections: Any) -> Run:
        steps = ("start", "train", "evaluate", "ship")
        run = start_run(tmp_path / "runs" / "first", clips, **sections)
        for step in steps[1 : steps.index(until) + 1]:
            if step == "train":
                train(run, taught=bool({"teacher", "teachers"} & set(sections)), finished=finished)
            elif step == "evaluate":
                evaluate(run)
            else:
                ship(run)
        return run

    return make
