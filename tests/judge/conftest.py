"""A run on disk as training leaves it: pictures, a manifest and an untrained small model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_runs import make_run
from understudy.run import Run

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
    return make_run(
        tmp_path / "runs" / "small",
        manifest,
        CLASSES,
        model="frames-average",
        options=OPTIONS,
        data={"size": 32, "frames": 2},
        eval={"batch_size": 4, "resamples": 100},
    )
