"""Teaching on real clips: what a teacher, time positions and distillation are worth.

    python benchmarks/sign_words.py --data FOLDER [--out runs/sign-words] [--processes 2]

FOLDER holds sign_words/labels.csv and backbones/mobilenetv2_100_imagenet_fp16.safetensors. Eight
classes in four mirrored pairs: no single frame tells a pair apart, so time blind heads stay near
0.5. Prints a Markdown table and writes results/sign_words_<date>.csv. Runs that are there are kept,
so an interrupted table goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from table import Job, frozen_imagenet, parse_arguments, print_tables, run_jobs, slug

HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "teacher: attention": ("frames-attention", {}),
    "attention, no time positions": ("frames-attention", {"positions": False}),
    "average": ("frames-average", {}),
}
STUDENTS = {"mobilevit-xxs": 12, "mobilenetv4": 20}
"""Students and their epochs."""
AUGMENT = {"crop_scale": 0.7, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "views": 8}


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/sign-words")

    heads = [
        head_job(arguments.data, arguments.out, arm, seed)
        for seed in arguments.seeds
        for arm in HEADS
    ]
    run_jobs(heads, arguments.processes)
    students = [
        student_job(arguments.data, arguments.out, model, seed, taught=taught)
        for seed in arguments.seeds
        for model in STUDENTS
        for taught in (True, False)
    ]
    run_jobs(students, arguments.processes)

    print_tables(heads + students, list(STUDENTS), "sign_words")


def head_job(data: Path, out: Path, arm: str, seed: int) -> Job:
    """A head on the frozen ImageNet network, whose features are computed once."""
    model, options = HEADS[arm]
    recipe = common(data) | {
        "model": {"name": model, "options": frozen_imagenet(data) | options},
        "train": {"epochs": 30, "lr": 1e-3, "batch_size": 32, "seed": seed, "device": "cpu"},
    }
    return Job(arm, seed, recipe, out / f"{slug(arm)}-{seed}")


def student_job(data: Path, out: Path, model: str, seed: int, *, taught: bool) -> Job:
    """A small student from noise, on augmented clips; taught by the teacher of its own seed."""
    recipe = common(data, augment=AUGMENT) | {
        "model": {"name": model},
        "train": {
            "epochs": STUDENTS[model],
            "lr": 1e-3,
            "batch_size": 8,
            "warmup_epochs": 2,
            "seed": seed,
            "device": "cpu",
        },
    }
    if taught:
        teacher = out / f"{slug('teacher: attention')}-{seed}"
        recipe["teacher"] = {"kind": "run", "path": str(teacher)}
        recipe["distill"] = {"alpha": 4.0, "beta": 0.5, "gamma": 1.0, "temperature": 2.0}
    arm = f"{model}, {'taught' if taught else 'alone'}"
    return Job(arm, seed, recipe, out / f"{slug(arm)}-{seed}")


def common(data: Path, **changes: Any) -> dict[str, Any]:
    manifest = str(data / "sign_words" / "labels.csv")
    return {"data": {"manifest": manifest, "size": 128, "frames": 8} | changes}


if __name__ == "__main__":
    main()
