"""Small clips that a small model can learn: a light that moves left or right, or stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from understudy.recipe import Recipe, parse_recipe

CLASSES = ("left", "right", "still")
FRAMES = 4
MODEL = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16, "heads": 2}


def draw_clip(folder: Path, label: str, seed: int, frames: int = FRAMES) -> None:
    """A folder of frames, 32 px: a bright bar on noise, of a place that only time explains."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    places = np.linspace(2, 26, frames).astype(int)
    if label == "left":
        places = places[::-1]
    elif label == "still":
        places[:] = rng.integers(2, 26)
    for number, place in enumerate(places):
        pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        pixels[:, place : place + 4] = rng.integers(180, 255, 3, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 clips of 16 people; the manifest's path."""
    root = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split,group"]
    for number in range(48):
        label, person = CLASSES[number % 3], number // 3
        split = "train" if person < 10 else "val" if person < 13 else "test"
        frames = FRAMES - (number % 5 == 0)  # some clips are shorter
        draw_clip(root / "clips" / f"{number:02d}", label, number, frames)
        lines.append(f"clips/{number:02d},{label},{split},person{person}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root / "clips.csv"


def make_recipe(manifest: Path, **sections: Any) -> Recipe:
    """A recipe that trains in about a second; `sections` change single values."""
    content: dict[str, Any] = {
        "name": "small",
        "data": {"manifest": str(manifest), "size": 32, "frames": FRAMES},
        "model": {"name": "frames-attention", "options": dict(MODEL)},
        "train": {"epochs": 3, "batch_size": 8, "lr": 3e-3, "device": "cpu"},
    }
    for name, section in sections.items():
        if isinstance(section, dict) and name in content:
            content[name] = content[name] | section
        else:
            content[name] = section
    return parse_recipe(content)
