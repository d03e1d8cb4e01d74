"""What attention does to a small CNN: accuracy, training, stability, generalisation and cost.

    python benchmarks/attention.py --data FOLDER [--out runs/attention] [--processes 2]

FOLDER holds sign_digits/images/<class>/IMG_<number>.JPG, where neighbouring numbers are one person.
`cnn-plain` and the four kinds of `cnn-attention` learn from all training people and from twelve
groups of them; weights, order of clips, dropout and augmentation of a seed are the same for all
five. Prints Markdown tables and writes results/attention_<date>.csv,
results/attention_curves_<date>.csv, docs/attention-few.png and docs/attention-all.png. Runs that
are finished are not repeated; steps are timed anew every time.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch.nn import functional as F

from attention_cost import measure_costs
from table import Job, Pooled, difference, parse_arguments, pool, run_jobs
from understudy.data.loader import make_loader
from understudy.data.manifest import Manifest, complete_splits
from understudy.data.sources import read_manifest, write_manifest
from understudy.data.sources.folder import from_folder
from understudy.judge.evaluate import predict_loader
from understudy.run import open_run
from understudy.ship.bench import where_and_when
from understudy.study.curves import draw_curves, epochs_to_reach, save_curves

KINDS = ("none", "spatial", "channel", "both", "linear")
WIDTHS, SIZE = (16, 32, 64), 64
PEOPLE: dict[str, dict[str, Any]] = {
    "few": {"groups": 12, "epochs": 40, "batch_size": 16},
    "all": {"groups": None, "epochs": 12, "batch_size": 32},
}
"""Groups of ten neighbouring pictures to learn from, and the training that goes with them.

These, the widths and the learning rate were chosen on the validation accuracy of `cnn-plain` alone,
at a seed that is in no table.
"""
AUGMENT = {"crop_scale": 0.7, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "views": 8}


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/attention")
    jobs = [
        make_job(manifest_of(people, arguments.data, arguments.out), arguments.out, *arm)
        for people in PEOPLE
        for seed in arguments.seeds
        for arm in [(people, kind, seed) for kind in KINDS]
    ]
    run_jobs(jobs, arguments.processes)
    costs = measure_costs(KINDS, WIDTHS, SIZE)
    rows = [row for people in PEOPLE for row in summarise(people, jobs, costs)]
    print(*table_of(rows), sep="\n")
    date = time.strftime("%Y-%m-%d")
    write_csv(rows, Path("results") / f"attention_{date}.csv")
    write_csv(curve_rows(jobs), Path("results") / f"attention_curves_{date}.csv")
    for people in PEOPLE:
        save_curves(figure_of(people, jobs), Path("docs") / f"attention-{people}.png")


def manifest_of(people: str, data: Path, out: Path) -> Path:
    """All pictures split by groups; for `few` all but some of the training groups left out."""
    place = out / f"{people}.csv"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        pictures = complete_splits(from_folder(data / "sign_digits" / "images", neighbours=10))
        count = PEOPLE[people]["groups"]
        groups = sorted({record.group for record in pictures.records if record.split == "train"})
        kept = set(groups[:: len(groups) // count][:count] if count else groups)
        rows = [
            row for row, r in enumerate(pictures.records) if r.split != "train" or r.group in kept
        ]
        write_manifest(pictures.take(rows), place)
    return place


def make_job(manifest: Path, out: Path, people: str, kind: str, seed: int) -> Job:
    setting = PEOPLE[people]
    recipe = {
        "data": {"manifest": str(manifest), "size": SIZE, "frames": 1, "augment": AUGMENT},
        "model": {"name": "cnn-attention", "options": {"attention": kind, "widths": list(WIDTHS)}},
        "train": {
            "epochs": setting["epochs"],
            "batch_size": setting["batch_size"],
            "lr": 2e-3,
            "warmup_epochs": 1,
            "seed": seed,
            "device": "cpu",
        },
    }
    return Job(f"{kind}, {people}", seed, recipe, out / f"{people}-{kind}-{seed}")


def summarise(
    people: str, jobs: Sequence[Job], costs: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """One row per kind of attention."""
    own = [job for job in jobs if job.arm.endswith(f", {people}")]
    pooled = pool(own)
    plain = pooled[f"none, {people}"]
    manifest = read_manifest(own[0].recipe["data"]["manifest"])
    rows = []
    for kind in KINDS:
        arm: Pooled = pooled[f"{kind}, {people}"]
        runs = [job for job in own if job.arm == arm.arm]
        plain_runs = [job for job in own if job.arm == plain.arm]
        per_seed = arm.correct.mean(1)
        gaps = np.array([final_figures(job, manifest) for job in runs])
        row: dict[str, Any] = {"attention": kind, "people": people}
        row |= _interval("top1", arm.accuracy())
        row |= {"per_seed": _list(per_seed), "seed_spread": round(float(np.ptp(per_seed)), 4)}
        row |= _interval("minus_plain", difference(arm, plain) if arm is not plain else None)
        names = ("train_loss", "val_loss", "train_top1", "val_top1")
        row |= {name: round(float(v), 4) for name, v in zip(names, gaps.mean(0), strict=True)}
        row |= {
            "unsteadiness": round(float(np.mean([unsteadiness(job) for job in runs])), 4),
            "epochs_to_plains_best": _list(map(epochs_to_best, runs, plain_runs), 0),
        }
        row |= costs[kind] | {
            "seeds": _list([job.seed for job in runs], 0),
            "clips": arm.correct.shape[1],
            "groups": len(set(arm.groups)),
            "train_pictures": len(manifest.rows("train")),
            "epochs": PEOPLE[people]["epochs"],
        }
        rows.append(row)
    return rows


def final_figures(job: Job, manifest: Manifest) -> tuple[float, float, float, float]:
    """Cross-entropy and top-1 of the last weights on train and val, both without augmentation."""
    run = open_run(job.path)
    model, losses, shares = run.load_model("final"), [], []
    for split in ("train", "val"):
        loader = make_loader(manifest, run.recipe.data, manifest.rows(split), batch_size=64)
        said = predict_loader(model, loader, manifest, split)
        losses.append(float(F.cross_entropy(said.logits, said.target)))
        shares.append(float(said.correct.mean()))
    return losses[0], losses[1], shares[0], shares[1]


def unsteadiness(job: Job) -> float:
    """Mean fall of the validation accuracy from one epoch to the next, 0 where it rises."""
    top1 = np.array([entry["val"]["top1"] for entry in open_run(job.path).history])
    return float(np.clip(-np.diff(top1), 0, None).mean())


def epochs_to_best(job: Job, plain: Job) -> int | None:
    """The first epoch that is as good as plain's best at the same seed, or None."""
    assert job.seed == plain.seed
    best = max(entry["val"]["top1"] for entry in open_run(plain.path).history)
    return epochs_to_reach(open_run(job.path).history, best)


def curve_rows(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """One row per run and epoch."""
    return [
        {
            "attention": job.arm.partition(", ")[0],
            "people": job.arm.partition(", ")[2],
            "seed": job.seed,
            "epoch": entry["epoch"],
            "train_loss": round(entry["train"]["task"], 5),
            "val_loss": round(entry["val"]["loss"], 5),
            "val_top1": round(entry["val"]["top1"], 5),
        }
        for job in jobs
        for entry in open_run(job.path).history
    ]


def figure_of(people: str, jobs: Sequence[Job]) -> Figure:
    """Accuracy and loss over the epochs: CBAM and its halves in one column, linear in the other."""
    histories = {
        kind: [open_run(job.path).history for job in jobs if job.arm == f"{kind}, {people}"]
        for kind in KINDS
    }
    columns = {
        "spatial, channel and both (CBAM)": ("none", "spatial", "channel", "both"),
        "linear self-attention": ("none", "linear"),
    }
    groups = {title: {kind: histories[kind] for kind in own} for title, own in columns.items()}
    return draw_curves(groups, training=False)


def table_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Two Markdown tables per number of people: what it gives, and how it trains."""
    lines = []
    for people in PEOPLE:
        own = [row for row in rows if row["people"] == people]
        pictures, clips, groups = (own[0][name] for name in ("train_pictures", "clips", "groups"))
        lines += [
            f"Learned from {pictures} pictures, tested on {clips} of {groups} groups",
            "",
            "| attention | test top-1 [95%] | minus plain [95%] | spread over seeds | "
            "loss on train / val | top-1 on train / val | unsteadiness | "
            "epochs to plain's best |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['attention']} | {_cell(row, 'top1')} | {_cell(row, 'minus_plain', '+')} | "
            f"{row['seed_spread']:.3f} | {row['train_loss']:.3f} / {row['val_loss']:.3f} | "
            f"{row['train_top1']:.3f} / {row['val_top1']:.3f} | {row['unsteadiness']:.3f} | "
            f"{row['epochs_to_plains_best'].replace(' ', ', ')} |"
            for row in own
        ]
        lines.append("")
    lines += ["| attention | parameters | GMACs | step over plain's [95%] |", "|---|---|---|---|"]
    lines += [
        f"| {row['attention']} | {row['parameters']:,} | {row['gmacs']:.4f} | "
        f"{row['step_ratio']:.2f} [{row['step_ratio_low']:.2f}, {row['step_ratio_high']:.2f}] |"
        for row in rows[: len(KINDS)]
    ]
    return lines


def write_csv(rows: Sequence[dict[str, Any]], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _interval(name: str, figure: tuple[float, float, float] | None) -> dict[str, Any]:
    parts = [round(part, 4) for part in figure] if figure else [""] * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))


def _list(values: Any, digits: int = 3) -> str:
    return " ".join("never" if v is None else f"{v:.{digits}f}" for v in values)


def _cell(row: dict[str, Any], name: str, sign: str = "") -> str:
    if row[name] == "":
        return ""
    value, low, high = (f"{row[part]:{sign}.3f}" for part in (name, f"{name}_low", f"{name}_high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
