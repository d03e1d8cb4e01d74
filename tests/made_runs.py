"""Runs made by hand, as training leaves them on disk: what tests of all later stages begin with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.data.sources import read_manifest
from understudy.models import create_model
from understudy.recipe import parse_recipe
from understudy.run import Run, create_run, save_weights, write_json
from understudy.task import SINGLE_LABEL, Task
from understudy.types import Recognizer


def make_run(
    path: Path,
    table: Path,
    classes: tuple[str, ...],
    *,
    model: str,
    options: Mapping[str, Any],
    data: Mapping[str, Any],
    clip_seconds: float = 0.0,
    built_with: Mapping[str, Any] | None = None,
    task: Task = SINGLE_LABEL,
    change: Callable[[Recognizer], object] = lambda model: None,
    **sections: Any,
) -> Run:
    """A run of an untrained model, ready to be evaluated, exported and used.

    table: its source of clips; where none is there yet, the run owns no clips until `own_clips` is
    called. model, options, data and `sections`: of the recipe. built_with: options that build the
    model again, where they differ from the recipe's. task: of its labels. change: is given the
    model before its weights are kept.
    """
    recipe = parse_recipe(
        {
            "name": path.name,
            "data": {"manifest": str(table)} | dict(data),
            "model": {"name": model, "options": dict(options)},
            **sections,
        }
    )
    run = create_run(path, recipe)
    built_with = dict(options if built_with is None else built_with)
    torch.manual_seed(0)
    student = create_model(model, len(classes), **built_with)
    change(student)
    save_weights(student, run.checkpoint_path())
    facts = {"clip_seconds": clip_seconds, "model_options": built_with, "task": task.name}
    write_data(run, classes, **facts)
    if table.exists():
        own_clips(run, table)
    return run


def write_data(run: Run, classes: tuple[str, ...], **facts: Any) -> None:
    """The run's data.json; what is known only with its clips, `own_clips` adds. facts: others."""
    content = {"classes": list(classes), "manifest": run.recipe.data.manifest, "skipped": []}
    write_json(run.path / "data.json", content | facts)


def tell_several(table: Path) -> Path:
    """Beside a table of one label a clip, one in which every other clip is also "odd"."""
    head, *lines = table.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",", 2) for line in lines]
    several = [
        f"{path},{label}{'|odd' * (number % 2)},{rest}"
        for number, (path, label, rest) in enumerate(rows)
    ]
    target = table.with_name(f"{table.stem}-several.csv")
    target.write_text("\n".join([head, *several]) + "\n", encoding="utf-8")
    return target


def own_clips(run: Run, table: Path | None = None) -> Manifest:
    """Give a run the clips of a table, by default of its recipe's, as training does: read, split,
    and known by their bytes from now on."""
    config = run.recipe.data
    manifest = read_manifest(
        table or config.manifest,
        allow_shared_groups=config.allow_shared_groups,
        seed=config.split_seed,
    )
    known = fingerprints([manifest.path_of(row) for row in range(len(manifest))])
    manifest = manifest.with_fingerprints(list(known))
    run.write_manifest(manifest)
    counted = {
        "fingerprint": manifest.fingerprint(),
        "clips": manifest.clip_counts(),
        "counts": manifest.counts(),
        "groups": manifest.group_counts(),
    }
    write_json(run.path / "data.json", run.data | counted)
    return manifest


def made_metrics(classes: tuple[str, ...] = ("left", "right"), **figures: Any) -> dict[str, Any]:
    """The content of a metrics.json, with `figures` in the place of its own."""
    figure = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8, "method": "wilson"}
    names = ("top1", "macro_f1", "calibration_error")
    of_class = {"n": 4} | dict.fromkeys(("accuracy", "precision", "f1"), figure)
    return {
        "split": "test",
        "n": 8,
        **dict.fromkeys(names, figure),
        "per_class": dict.fromkeys(classes, of_class),
        "confusion": [[0] * len(classes)] * len(classes),
        "classes": list(classes),
        "warnings": [],
    } | figures
