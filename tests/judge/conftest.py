"""A run on disk as training leaves it: pictures, a manifest and an untrained small model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from understudy.data.sources import read_manifest
from understudy.models import create_model
from understudy.recipe import parse_recipe
from understudy.run import Run, create_run, save_weights, write_json

CLASSES = ("left", "right", "still")
OPTIONS = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16}


def paint(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """27 pictures of 9 persons, three persons to a split; one picture of the test split is
    damaged."""
    lines = ["path,label,split,group"]
    for number in range(27):
        paint(tmp_path / f"{number}.png", number)
        person = number // 3
        split = ("train", "val", "test")[person % 3]
        lines.append(f"{number}.png,{CLASSES[number % 3]},{split},person {person}")
    (tmp_path / "6.png").write_bytes(b"no picture at all")
    manifest = tmp_path / "pictures.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = parse_recipe(
        {
            "name": "small",
            "data": {"manifest": str(manifest), "size": 32, "frames": 2},
            "model": {"name": "frames-average", "options": OPTIONS},
            "eval": {"batch_size": 4, "resamples": 100},
        }
    )
    run = create_run(tmp_path / "runs" / "small", recipe)
    torch.manual_seed(0)
    model = create_model("frames-average", len(CLASSES), **OPTIONS)
    save_weights(model, run.checkpoint_path())
    table = read_manifest(manifest)
    content = {
        "classes": list(CLASSES),
        "manifest": str(manifest),
        "fingerprint": table.fingerprint(),
        "counts": table.counts(),
        "groups": dict.fromkeys(table.splits, 3),
        "clip_seconds": 0,
        "model_options": OPTIONS,
        "skipped": [],
    }
    write_json(run.path / "data.json", content)
    return run
