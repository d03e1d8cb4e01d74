"""What the experiment scripts share: train arms over seeds, side by side, and pool their clips."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.errors import UserError
from understudy.judge.evaluate import evaluate_run
from understudy.judge.predictions import Predictions, read_predictions
from understudy.recipe import parse_recipe
from understudy.run import open_run
from understudy.ship.bench import where_and_when
from understudy.teach.progress import Lines
from understudy.teach.train import resume, train

RESAMPLES = 10_000


@dataclass(frozen=True)
class Job:
    """One run: an arm of the experiment at one seed."""

    arm: str
    seed: int
    recipe: dict[str, Any]
    path: Path


def parse_arguments(doc: str | None, out: str) -> argparse.Namespace:
    """`--data`, `--out`, `--processes` and `--seeds`, the same for every experiment."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--out", type=Path, default=Path(out), help="where the runs go")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


def run_jobs(jobs: Sequence[Job], processes: int) -> None:
    """Train and evaluate what is not there yet, several at a time with one thread each."""
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for _ in pool.map(_run_job, jobs):
            pass


def _run_job(job: Job) -> None:
    torch.set_num_threads(1)
    recipe = parse_recipe(job.recipe | {"name": job.path.name})
    if (job.path / "metrics.json").exists():
        return
    print(f"{job.path.name} starts", file=sys.stderr, flush=True)
    begun = (job.path / "recipe.yaml").exists()
    run = resume(job.path, reporter=Lines()) if begun else train(recipe, job.path, reporter=Lines())
    evaluate_run(run)


@dataclass(frozen=True)
class Pooled:
    """An arm over its seeds: `correct` (seeds, N) bool on the same clips, `groups` of those."""

    arm: str
    correct: np.ndarray
    groups: list[str]

    def accuracy(self) -> tuple[float, float, float]:
        """Mean over seeds and clips, and its 95% interval."""
        return _mean_interval(self.correct, self.groups)


def print_tables(jobs: Sequence[Job], students: Sequence[str], name: str) -> None:
    """Print the table and what the teacher was worth; write results/<name>_<date>.csv."""
    pooled = pool(jobs)
    out = Path("results") / f"{name}_{time.strftime('%Y-%m-%d')}.csv"
    print("\n".join(write_table(pooled, jobs, out)))
    for model in students:
        value, low, high = difference(pooled[f"{model}, taught"], pooled[f"{model}, alone"])
        print(f"{model}: taught minus alone {value:+.3f} [{low:+.3f}, {high:+.3f}]")


def pool(jobs: Iterable[Job]) -> dict[str, Pooled]:
    """The test predictions of every arm, seeds stacked; clips in the same order everywhere."""
    found: dict[str, list[Predictions]] = {}
    for job in jobs:
        found.setdefault(job.arm, []).append(read_predictions(job.path / "predictions.parquet"))
    pooled = {}
    for arm, seeds in found.items():
        if any(one.path != seeds[0].path for one in seeds):
            raise UserError(f"The runs of {arm} were tested on different clips; delete them.")
        correct = np.stack([one.correct for one in seeds])
        pooled[arm] = Pooled(arm, correct, seeds[0].group)
    return pooled


def difference(a: Pooled, b: Pooled) -> tuple[float, float, float]:
    """Accuracy of a minus that of b, clip by clip and seed by seed, and its 95% interval."""
    return _mean_interval(a.correct.astype(float) - b.correct, a.groups)


def _mean_interval(values: np.ndarray, groups: list[str]) -> tuple[float, float, float]:
    """Mean of values (seeds, N); 95% by drawing seeds and whole groups of clips anew.

    Clips alone would leave out how much a run depends on its seed, which here is more than half of
    the uncertainty. Three seeds are few: the interval is still on the narrow side.
    """
    _, place = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(place, weights=row) for row in values])
    sizes = np.bincount(place)
    generator = np.random.default_rng(0)
    seeds, count = len(values), len(sizes)
    drawn_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    drawn_groups = generator.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    means = np.einsum("rs,sg,rg->r", drawn_seeds, sums, drawn_groups) / seeds
    low, high = np.percentile(means / (drawn_groups @ sizes), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def write_table(pooled: dict[str, Pooled], jobs: Sequence[Job], out: Path) -> list[str]:
    """One CSV row per arm; gives the same as Markdown."""
    lines = ["| arm | test top-1 [95%] | seeds | n | epochs |", "|---|---|---|---|---|"]
    rows = []
    for arm, content in pooled.items():
        value, low, high = content.accuracy()
        seeds = [f"{one:.3f}" for one in content.correct.mean(1)]
        own = [job for job in jobs if job.arm == arm]
        epochs = [len(open_run(job.path).history) for job in own]
        rows.append(
            {
                "arm": arm,
                "top1": round(value, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "per_seed": " ".join(seeds),
                "seeds": " ".join(str(job.seed) for job in own),
                "clips": content.correct.shape[1],
                "groups": len(set(content.groups)),
                "epochs": " ".join(map(str, epochs)),
            }
        )
        lines.append(
            f"| {arm} | {value:.3f} [{low:.3f}, {high:.3f}] | {', '.join(seeds)} | "
            f"{content.correct.shape[1]} | {max(epochs)} |"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    where = where_and_when()
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return lines


def frozen_imagenet(data: Path) -> dict[str, Any]:
    """Model options of a frozen MobileNetV2 with the local ImageNet weights below `data`."""
    return {
        "backbone": "mobilenetv2_100",
        "weights": str(data / "backbones" / "mobilenetv2_100_imagenet_fp16.safetensors"),
        "freeze_backbone": True,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }


def slug(arm: str) -> str:
    """An arm's name as a folder's."""
    return arm.replace(":", "").replace(",", "").replace(" ", "-")
