"""Light relatives of C3D: from noise, from transplant, from transplant and distillation.

    python benchmarks/transplant.py --data FOLDER [--out runs/transplant] [--processes 2]

FOLDER holds manifest.csv of filmed actors: `understudy data stage FOLDER --clips 800 --seed 0
--size 96`. C3D learns from noise; c3d-sp and c3d-mc4 do too, and once more from the transplanted
weights of the C3D of their own seed, without and with that C3D as their teacher. Everything else is
equal. Writes results/transplant_{test,differences,epochs,curves,layers,family}_<date>.csv and draws
docs/transplant_curves.png and docs/transplant_test.png. The curves over the epochs are those of the
validation split; the test split is looked at once, with the best epoch of each run. Runs that are
there are kept, so an interrupted table goes on.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from table import Job, difference, parse_arguments, pool, run_jobs, slug, write_table
from understudy.data.loader import make_loader
from understudy.judge.evaluate import predict_loader
from understudy.models import create_model
from understudy.models.c3d import C3D
from understudy.models.transplant import transplant
from understudy.run import open_run
from understudy.ship.bench import where_and_when
from understudy.ship.macs import count_macs
from understudy.study.curves import draw_curves, epochs_to_reach, save_curves
from understudy.types import parameter_count

RELATIVES = {"c3d-sp": "SP", "c3d-mc4": "MC4"}
STARTS = ("noise", "transplant", "transplant + distillation")
C3D_ARM = "C3D, noise"
FAMILY = ("c3d", "c3d-sp", "c3d-mc5", "c3d-mc4", "c3d-mc3")


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/transplant")
    data, out = arguments.data, arguments.out

    sources = [job(data, out, "c3d", "noise", seed) for seed in arguments.seeds]
    run_jobs(sources, arguments.processes)
    students = [
        job(data, out, relative, start, seed)
        for seed in arguments.seeds
        for relative in RELATIVES
        for start in STARTS
    ]
    run_jobs(students, arguments.processes)

    jobs = sources + students
    pooled = pool(jobs)
    print("\n".join(write_table(pooled, jobs, result("test"))))
    differences = [
        {"arm": arm, "minus": other, "top1": value, "low": low, "high": high}
        for arm, other in comparisons()
        for value, low, high in [difference(pooled[arm], pooled[other])]
    ]
    write("differences", differences)
    write("epochs", list(epochs(jobs)))
    write("curves", list(curves(jobs)))
    write("layers", list(layers(jobs)))
    write("family", list(family()))
    draw(jobs)


def job(data: Path, out: Path, model: str, start: str, seed: int) -> Job:
    """One run; the C3D of the same seed is the source of a transplant, and the teacher."""
    source = str(out / f"{slug(C3D_ARM)}-{seed}")
    recipe: dict[str, Any] = {
        "data": {"manifest": str(data / "manifest.csv"), "size": 64, "frames": 16},
        "model": {"name": model, "options": {"width": 8, "head": "pool", "dropout": 0.2}},
        "train": {
            "epochs": 16,
            "lr": 1e-3,
            "batch_size": 16,
            "warmup_epochs": 1,
            "seed": seed,
            "device": "cpu",
        },
    }
    if start != "noise":
        recipe["model"]["start"] = {"run": source}
    if start == "transplant + distillation":
        recipe["teacher"] = {"kind": "run", "path": source}
        recipe["distill"] = {"alpha": 4.0, "beta": 0.5, "gamma": 1.0, "temperature": 2.0}
    arm = f"{RELATIVES.get(model, 'C3D')}, {start}"
    return Job(arm, seed, recipe, out / f"{slug(arm).replace('-+-', '-')}-{seed}")


def comparisons() -> Iterator[tuple[str, str]]:
    """Pairs of arms whose difference the table asks for."""
    for name in RELATIVES.values():
        noise, moved, taught = (f"{name}, {start}" for start in STARTS)
        yield from ((moved, noise), (taught, noise), (taught, moved), (taught, C3D_ARM))


def epochs(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """For each run of a relative: when it reached the best that its noise-started twin came to.

    Both are validation accuracies. `before_training` is what the first weights reach, before any
    step: chance for noise, and for a transplant what it keeps.
    """
    for one in jobs:
        if one.arm == C3D_ARM:
            continue
        name = one.arm.partition(",")[0]
        twin = next(j for j in jobs if (j.arm, j.seed) == (f"{name}, noise", one.seed))
        level = best(twin)
        yield {
            "arm": one.arm,
            "seed": one.seed,
            "noise_best": level,
            "epochs_to_reach": epochs_to_reach(open_run(one.path).history, level),
            "own_best": best(one),
            "before_training": before_training(one),
            "c3d_best": best(next(j for j in jobs if (j.arm, j.seed) == (C3D_ARM, one.seed))),
        }


def best(one: Job) -> float:
    return max(entry["val"]["top1"] for entry in open_run(one.path).history)


def before_training(one: Job) -> float:
    """Validation accuracy of the weights that a run began with."""
    run = open_run(one.path)
    recipe = run.recipe
    manifest = run.manifest
    torch.manual_seed(recipe.train.seed)
    model = create_model(recipe.model.name, len(run.classes), **run.data["model_options"])
    if recipe.model.start is not None:
        source = open_run(str(recipe.model.start.run)).load_model()
        assert isinstance(source, C3D)
        assert isinstance(model, C3D)
        transplant(source, model)
    loader = make_loader(manifest, recipe.data, manifest.rows("val"), batch_size=32)
    return float(np.mean(predict_loader(model, loader, manifest, "val").correct))


def curves(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    for one in jobs:
        for entry in open_run(one.path).history:
            yield {
                "arm": one.arm,
                "seed": one.seed,
                "epoch": entry["epoch"],
                "train_loss": entry["train"]["task"],
                "train_top1": entry["train"]["top1"],
                "validation_loss": entry["val"]["loss"],
                "validation_top1": entry["val"]["top1"],
            }


def layers(jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """What the runs' start.json say of every layer, with the energy as mean over seeds."""
    for name in RELATIVES.values():
        starts = [open_run(one.path).start for one in jobs if one.arm == f"{name}, transplant"]
        reports = [start["layers"] for start in starts if start is not None]
        for same in zip(*reports, strict=True):
            energies = [entry["energy"] for entry in same if entry["energy"] is not None]
            yield {
                "relative": name,
                "layer": same[0]["layer"],
                "how": same[0]["how"],
                "energy_kept": float(np.mean(energies)) if energies else None,
                "note": same[0]["note"],
            }


def family() -> Iterator[dict[str, Any]]:
    """Sizes at the paper's width and 112 px; no weight is ever made for it."""
    for name in FAMILY:
        with torch.device("meta"):
            model = create_model(name, 101).eval()
            frames = torch.zeros(1, 16, 3, 112, 112, dtype=torch.uint8)
        total = count_macs(model, frames)
        heads = parameter_count(model) - parameter_count(model.backbone)
        yield {
            "model": name,
            "convolution_parameters": parameter_count(model.backbone),
            "head_parameters_101_classes": heads,
            # Every weight of a linear layer is used once; biases are not counted.
            "gmacs": total / 1e9,
            "gmacs_convolutions": (total - linear_weights(model)) / 1e9,
        }


def linear_weights(model: torch.nn.Module) -> int:
    found = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    return sum(module.weight.numel() for module in found)


def draw(jobs: Sequence[Job]) -> None:
    """A column for each relative, C3D in both."""
    histories: dict[str, list[Any]] = {}
    for one in jobs:
        histories.setdefault(one.arm, []).append(open_run(one.path).history)
    groups = {
        f"c3d-{name.lower()}": {"C3D from noise": histories[C3D_ARM]}
        | {f"from {start}": histories[f"{name}, {start}"] for start in STARTS}
        for name in RELATIVES.values()
    }
    docs = Path("docs")
    save_curves(draw_curves(groups, training=True), docs / "transplant_curves.png")
    save_curves(draw_curves(groups, training=False), docs / "transplant_test.png")


def result(name: str) -> Path:
    return Path("results") / f"transplant_{name}_{time.strftime('%Y-%m-%d')}.csv"


def write(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """One CSV, and the same on the screen unless it is long."""
    rounded = [{key: _short(value) for key, value in row.items()} for row in rows]
    path = result(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rounded)
    if name != "curves":
        print(f"\n{path}")
        for row in rounded:
            print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
