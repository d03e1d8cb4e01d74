"""How many clips a second training sees, and which part of it takes the time.

    python benchmarks/training_throughput.py
    python benchmarks/training_throughput.py --manifest clips.csv --student mobilenetv4 --size 128
    python benchmarks/training_throughput.py --device cuda

Every round takes one batch of clips through decode, augment, the teacher and one step of each
student, in turn, so that a machine that slows down slows all of them. Two sums are shown for each
student: the first epoch, in which everything is done, and later epochs that find decoded frames and
the teacher's outputs in memory (sampling without chance, a finite number of augmented views).
Everything runs in one process; loader workers would hide decoding behind the rest. Weights are
random: speed does not depend on them. Decode and augment stay on the CPU; teacher and students
compute on the device, and a part ends when the device has finished it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dated import dated_path, write_rows
from understudy.core_count import cores
from understudy.data.decode import read_frames, read_timeline
from understudy.data.manifest import Manifest
from understudy.data.sampling import sample_times
from understudy.data.sources import read_manifest
from understudy.data.stage import film_stage
from understudy.data.transforms import apply, draw
from understudy.models import create_model
from understudy.recipe import Augment, Distill, Train
from understudy.ship.bench import where_and_when
from understudy.teach.losses import Taught, teaching_loss
from understudy.teach.teachers.clip import ClipRecognizer, NoHead
from understudy.types import Output, Recognizer

AUGMENT = Augment(crop_scale=0.6, brightness=0.3, contrast=0.3, saturation=0.3, rotation_degrees=5)
RESAMPLES = 2000


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        if options.manifest is None:
            print(f"Filming {options.clips} clips ...")
            film_stage(Path(folder), clips=options.clips, seed=0, pictures=False)
            manifest = read_manifest(Path(folder) / "manifest.csv")
        else:
            manifest = read_manifest(options.manifest, allow_shared_groups=True)
        seconds = measure(manifest, options)
    rows = summarise(seconds, options)
    show(rows)
    print(f"\nWritten to {write(rows, options.out)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, help="clips to use; otherwise a stage set")
    parser.add_argument("--clips", type=int, default=100, help="clips to film without --manifest")
    parser.add_argument("--teacher", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--student", nargs="+", default=["mobilevit-xxs", "mobilenetv4"])
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the CSV")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("--rounds must be at least 3, or there is no interval to give")
    return options


def measure(manifest: Manifest, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Seconds that each part takes in each round, without the first round, which warms up."""
    rows = manifest.rows("train")
    device = torch.device(options.device)
    teacher = create_teacher(options.teacher, len(manifest.classes)).to(device)
    with torch.no_grad():
        pixels = (1, 1, 3, options.size, options.size)
        probe = torch.zeros(pixels, dtype=torch.uint8, device=device)
        embedding_dim = teacher(probe).embedding.shape[1]
    steps = {
        name: make_step(
            create_student(name, len(manifest.classes), embedding_dim, options.size).to(device)
        )
        for name in options.student
    }
    seconds: dict[str, list[float]] = {}
    for number in range(options.rounds + 1):
        chosen = [rows[(number * options.batch + i) % len(rows)] for i in range(options.batch)]
        target = torch.tensor([manifest.target_of(row) for row in chosen], device=device)
        with stopwatch(seconds, "decode", device):
            decoded = decode(manifest, chosen, options)
        with stopwatch(seconds, "augment", device):
            keys = [manifest.key_of(row) for row in chosen]
            draws = [draw(AUGMENT, seed=0, clip=key, view=number) for key in keys]
            clips = apply(decoded, draws, options.size)
        frames = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True).to(device)
        lengths = torch.tensor([len(clip) for clip in clips], device=device)
        with stopwatch(seconds, "teacher", device), torch.no_grad():
            taught = teacher(frames, lengths)
        for name, step in steps.items():
            with stopwatch(seconds, f"student {name}", device):
                step(frames, lengths, target, taught)
    return {part: np.array(values[1:]) for part, values in seconds.items()}


@contextmanager
def stopwatch(seconds: dict[str, list[float]], part: str, device: torch.device) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds.setdefault(part, []).append(time.perf_counter() - start)


def decode(manifest: Manifest, rows: list[int], options: argparse.Namespace) -> list[Tensor]:
    """Frames of clips as the loader reads them, from the file each time."""
    clips = []
    # Larger than the model sees, so that the smallest crop still has all its pixels.
    side = int(np.ceil(options.size / np.sqrt(AUGMENT.crop_scale)))
    for row in rows:
        path, record = manifest.path_of(row), manifest.records[row]
        timeline = read_timeline(path, record.start_s, record.end_s)
        times_s = sample_times("uniform", options.frames, timeline)
        clips.append(read_frames(path, times_s, short_side=side))
    return clips


def create_teacher(architecture: str, classes: int) -> Recognizer:
    import open_clip

    # It warns that these weights are random, which is what is wanted here.
    tower = open_clip.create_model(architecture, pretrained=None)
    return ClipRecognizer(tower, NoHead(classes))


def create_student(name: str, classes: int, embedding_dim: int, size: int) -> Recognizer:
    return create_model(name, classes, embedding_dim=embedding_dim, input_size=size).train()


def make_step(student: Recognizer) -> Callable[[Tensor, Tensor, Tensor, Output], None]:
    """Forward, loss, backward and optimiser, with the defaults of a recipe."""
    settings = Train()
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )

    def step(frames: Tensor, lengths: Tensor, target: Tensor, taught: Output) -> None:
        by_name = {"teacher": Taught(taught, Distill())}
        loss = teaching_loss(student(frames, lengths), target, by_name, Distill().gamma).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), settings.max_grad_norm or math.inf)
        optimizer.step()

    return step


def summarise(seconds: dict[str, np.ndarray], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each part and each sum: clips per second with a 95% interval over rounds."""
    sums = {}
    for name in options.student:
        student = seconds[f"student {name}"]
        parts = seconds["decode"] + seconds["augment"] + seconds["teacher"] + student
        sums[f"first epoch, {name}"] = parts
        sums[f"later epochs, {name}"] = seconds["augment"] + student
    context = where_and_when() | {
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "threads": options.threads,
        "teacher": options.teacher,
        "size": options.size,
        "frames": options.frames,
        "batch": options.batch,
        "rounds": options.rounds,
        "clips_from": "stage" if options.manifest is None else options.manifest.name,
    }
    rows = []
    generator = np.random.default_rng(0)
    for part, spent in (seconds | sums).items():
        chosen = generator.integers(len(spent), size=(RESAMPLES, len(spent)))
        slow, fast = np.percentile(np.median(spent[chosen], axis=1), [97.5, 2.5])
        rows.append(
            {
                "part": part,
                "clips_per_s": options.batch / np.median(spent),
                "low": options.batch / slow,
                "high": options.batch / fast,
                "ms_per_clip": np.median(spent) / options.batch * 1e3,
                **context,
            }
        )
    return rows


def hardware_of(row: dict[str, Any]) -> str:
    return row["hardware"] if row["device"] == "cpu" else row["device"]


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'part':32} {'clips/s':>9} {'95% interval':>20} {'ms/clip':>9}")
    for row in rows:
        interval = f"{row['low']:.2f} to {row['high']:.2f}"
        print(
            f"{row['part']:32} {row['clips_per_s']:9.2f} {interval:>20} {row['ms_per_clip']:9.2f}"
        )


def write(rows: list[dict[str, Any]], folder: Path) -> Path:
    about = {"date": rows[0]["date"], "hardware": hardware_of(rows[0])}
    path = dated_path("training_throughput", folder, about)
    write_rows(path, rows)
    return path


if __name__ == "__main__":
    main()
