"""What quantisation-aware training saves of a student's accuracy in INT8, on real pictures.

    python benchmarks/qat.py --data FOLDER [--out runs/qat] [--processes 2] [--seeds 0 1 2]

FOLDER is that of sign_digits.py: ten hand signs of 218 people, no person in two splits. A MobileViT
student of 64 pixels learns from a teacher and then goes on in two ways, from its best epoch, with
the same clips, teacher, learning rate and number of epochs: `understudy train --qat` (qat), and the
same with `train.qat=false` (longer), so that what more training gives is not taken for what the
rounding gives. Each is exported to ONNX and quantised as by `understudy export --int8 "static
min-max"`, its ranges from 96 training pictures. Prints a Markdown table and writes
results/qat_<date>.csv. Runs that are there are kept.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from torch import Tensor

from sign_digits import student_job, teacher_job
from table import Job, Pooled, difference, parse_arguments, run_jobs
from understudy.data.manifest import complete_splits
from understudy.data.sources import write_manifest
from understudy.data.sources.folder import from_folder
from understudy.judge.collect import predict_loader, split_loader
from understudy.judge.predictions import Predictions, read_predictions
from understudy.recipe import dump_recipe
from understudy.run import Run, open_run
from understudy.ship.bench import where_and_when
from understudy.ship.export import write_graphs
from understudy.ship.formats import onnx
from understudy.ship.graphs import graphs_of
from understudy.ship.int8 import Job as QuantisationJob
from understudy.ship.int8.calibration import calibration_inputs
from understudy.ship.int8.onnx import static
from understudy.teach.qat import qat_recipe
from understudy.types import Output, Recognizer

MODEL, PIXELS, CALIBRATION = "mobilevit-xxs", 64, 96
FURTHER = {"longer": "train.qat=false", "qat": "train.qat=true"}


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/qat")
    manifest = arguments.out / "manifest.csv"
    if not manifest.exists():
        manifest.parent.mkdir(parents=True, exist_ok=True)
        pictures = from_folder(arguments.data / "sign_digits" / "images", neighbours=10)
        write_manifest(complete_splits(pictures), manifest)

    out, seeds, processes = arguments.out, arguments.seeds, arguments.processes
    run_jobs([small(teacher_job(arguments.data, manifest, out, s)) for s in seeds], processes)
    students = [small(student_job(manifest, out, MODEL, seed, taught=True)) for seed in seeds]
    run_jobs(students, processes)
    jobs = {"as trained": students}
    for arm, change in FURTHER.items():
        jobs[arm] = [further(student, arm, change) for student in students]
        run_jobs(jobs[arm], processes)

    pooled = {}
    for arm, runs in jobs.items():
        print(f"quantising: {arm}", file=sys.stderr, flush=True)
        pooled |= pool(arm, [open_run(job.path) for job in runs])
    print("\n".join(write_table(pooled, seeds)))
    quantised = {arm: pooled[f"{arm}, INT8"] for arm in jobs}
    for arm in ("as trained", "longer"):
        value, low, high = difference(quantised["qat"], quantised[arm])
        print(f"INT8: qat minus {arm} {value:+.3f} [{low:+.3f}, {high:+.3f}]")


def small(job: Job) -> Job:
    """The job at `PIXELS` a side."""
    data = job.recipe["data"] | {"size": PIXELS}
    return Job(job.arm, job.seed, job.recipe | {"data": data}, job.path)


def further(job: Job, arm: str, change: str) -> Job:
    recipe = qat_recipe(open_run(job.path), [change])
    path = job.path.with_name(f"{job.path.name}-{arm}")
    return Job(arm, job.seed, yaml.safe_load(dump_recipe(recipe)), path)


def pool(arm: str, runs: list[Run]) -> dict[str, Pooled]:
    """An arm as float and as INT8: the test clips, seeds stacked."""
    found: dict[str, list[Predictions]] = {}
    for run in runs:
        found.setdefault(f"{arm}, float", []).append(read_predictions(run.predictions_path))
        with tempfile.TemporaryDirectory() as folder:
            model, clips = quantised(run, Path(folder)), run.manifest
            look = run.classifier().sampling
            said = predict_loader(model, split_loader(clips, "test", look), clips, "test")
            found.setdefault(f"{arm}, INT8", []).append(said)
    return {
        name: Pooled(name, np.stack([one.correct for one in seeds]), seeds[0].group)
        for name, seeds in found.items()
    }


def quantised(run: Run, folder: Path) -> Recognizer:
    """The run's best checkpoint as INT8."""
    classifier = run.classifier()
    model = classifier.model
    [graph] = [one for one in graphs_of(model, 1) if one.kind == "clip"]
    entry = write_graphs(onnx, model, 1, folder)["clip"]
    pictures = calibration_inputs(run, graph, sampling=classifier.sampling, clips=CALIBRATION)
    file = folder / "int8.onnx"
    static(QuantisationJob(graph, folder / entry["file"], entry, pictures, file))
    return OnnxPictures(file, model.input_size)


class OnnxPictures(Recognizer):
    """An exported graph of single pictures, as a recogniser."""

    def __init__(self, file: Path, input_size: int) -> None:
        super().__init__()
        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self.input_size, self.clip_frames = input_size, None

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        found: Any = self.session.run(["logits", "embedding"], {"frames": frames[:, 0].numpy()})
        return Output(*map(torch.from_numpy, found))


def write_table(pooled: dict[str, Pooled], seeds: list[int]) -> list[str]:
    """One row for each arm and precision; gives the same as Markdown."""
    rows = []
    for name, content in pooled.items():
        arm, precision = name.split(", ")
        value, low, high = content.accuracy()
        loss, loss_low, loss_high = difference(content, pooled[f"{arm}, float"])
        rows.append(
            {
                "arm": arm,
                "precision": precision,
                "top1": round(value, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "minus_float": round(loss, 4),
                "minus_float_low": round(loss_low, 4),
                "minus_float_high": round(loss_high, 4),
                "per_seed": " ".join(f"{one:.3f}" for one in content.correct.mean(1)),
                "seeds": " ".join(map(str, seeds)),
                "clips": content.correct.shape[1],
                "groups": len(set(content.groups)),
            }
        )
    out = Path("results") / f"qat_{time.strftime('%Y-%m-%d')}.csv"
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = ["| | test top-1 [95%] | minus its float [95%] | by seed |", "|---|---|---|---|"]
    lines += [
        f"| {row['arm']}, {row['precision']} | {row['top1']:.3f} [{row['low']:.3f}, "
        f"{row['high']:.3f}] | {row['minus_float']:+.3f} [{row['minus_float_low']:+.3f}, "
        f"{row['minus_float_high']:+.3f}] | {row['per_seed']} |"
        for row in rows
    ]
    return lines


if __name__ == "__main__":
    main()
