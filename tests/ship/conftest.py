"""A run on disk as training leaves it: real clips, a manifest, an untrained small student."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from made_runs import make_run as made_run
from understudy.run import Run
from understudy.ship import Artifact, export_run

CLASSES = ("left", "right", "still")
FRAMES, SIZE = 4, 32
OPTIONS = {
    "backbone": "test_efficientnet",
    "embedding_dim": 32,
    "hidden_dim": 16,
    "weights": "random",
}


def film(path: Path, seed: int, frames: int) -> None:
    """Write a small H.264 video of moving colour."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for pixels in coarse.repeat(8, axis=1).repeat(8, axis=2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def write_run(root: Path, manifest: Path, **data: object) -> Run:
    """A run directory with random weights, which is all that exporting needs."""
    return made_run(
        root,
        manifest,
        CLASSES,
        model="frames-attention",
        options=OPTIONS,
        data={"size": SIZE, "frames": FRAMES} | data,
        clip_seconds=1.0,
    )


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine videos, three for each split; the second of the test split is corrupt."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["path,label,split,group"]
    for number in range(9):
        split = ("train", "val", "test")[number % 3]
        film(folder / f"{number}.mp4", number, frames=2 if number == 1 else 12)
        lines.append(f"{number}.mp4,{CLASSES[number // 3]},{split},person{number}")
    (folder / "4.mp4").write_bytes(b"not a video at all")
    path = folder / "clips.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, manifest: Path) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "small", manifest)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    return write_run


@pytest.fixture(scope="session")
def artifact(run: Run) -> Artifact:
    """The run exported once, for all tests that only read it."""
    return export_run(run)
