"""Teaching on real pictures: hand signs of 218 people, no person on both sides.

    python benchmarks/sign_digits.py --data FOLDER [--out runs/sign-digits] [--processes 2]

FOLDER holds sign_digits/images/<class>/IMG_<number>.JPG, where neighbouring numbers are one person,
and backbones/mobilenetv2_100_imagenet_fp16.safetensors. Prints a Markdown table and writes
results/sign_digits_<date>.csv.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from table import Job, frozen_imagenet, parse_arguments, print_tables, run_jobs, slug
from understudy.data.manifest import complete_splits
from understudy.data.sources import write_manifest
from understudy.data.sources.folder import from_folder

STUDENTS = {"mobilevit-xxs": 12, "mobilenetv4": 12}
"""Students and their epochs."""
AUGMENT = {"crop_scale": 0.7, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "views": 8}


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/sign-digits")

    manifest = arguments.out / "manifest.csv"
    if not manifest.exists():
        manifest.parent.mkdir(parents=True, exist_ok=True)
        pictures = from_folder(arguments.data / "sign_digits" / "images", neighbours=10)
        write_manifest(complete_splits(pictures), manifest)

    out = arguments.out
    teachers = [teacher_job(arguments.data, manifest, out, seed) for seed in arguments.seeds]
    run_jobs(teachers, arguments.processes)
    students = [
        student_job(manifest, out, model, seed, taught=taught)
        for seed in arguments.seeds
        for model in STUDENTS
        for taught in (True, False)
    ]
    run_jobs(students, arguments.processes)

    print_tables(teachers + students, list(STUDENTS), "sign_digits")


def teacher_job(data: Path, manifest: Path, out: Path, seed: int) -> Job:
    recipe = pixels(manifest) | {
        "model": {"name": "frames-attention", "options": frozen_imagenet(data)},
        "train": {"epochs": 30, "lr": 1e-3, "batch_size": 64, "seed": seed, "device": "cpu"},
    }
    return Job("teacher", seed, recipe, out / f"teacher-{seed}")


def student_job(manifest: Path, out: Path, model: str, seed: int, *, taught: bool) -> Job:
    recipe: dict[str, Any] = pixels(manifest, augment=AUGMENT) | {
        "model": {"name": model},
        "train": {
            "epochs": STUDENTS[model],
            "lr": 1e-3,
            "batch_size": 32,
            "warmup_epochs": 1,
            "seed": seed,
            "device": "cpu",
        },
    }
    if taught:
        recipe["teacher"] = {"kind": "run", "path": str(out / f"teacher-{seed}")}
        recipe["distill"] = {"alpha": 4.0, "beta": 0.5, "gamma": 1.0, "temperature": 2.0}
    arm = f"{model}, {'taught' if taught else 'alone'}"
    return Job(arm, seed, recipe, out / f"{slug(arm)}-{seed}")


def pixels(manifest: Path, **changes: Any) -> dict[str, Any]:
    return {"data": {"manifest": str(manifest), "size": 96, "frames": 1} | changes}


if __name__ == "__main__":
    main()
