"""Where training runs and what follows it: device, precision and tracker, all by `accelerate`."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from understudy.errors import UserError
from understudy.recipe import Recipe
from understudy.run import Run

TRACKER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def create_accelerator(recipe: Recipe, run: Run) -> Accelerator:
    """Device, precision, accumulation and tracker by `accelerate`."""
    train = recipe.train
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(train.device, True):
        there = [name for name, has in available.items() if has]
        raise UserError(
            f"train.device is {train.device}, but this machine has no such device; "
            f"it has: {', '.join(['cpu', *there])}."
        )
    on_cpu = train.device == "cpu" or not any(available.values())
    if train.precision == "fp16" and on_cpu:
        raise UserError("train.precision=fp16 needs a GPU; use bf16 or fp32 on a CPU.")
    package = TRACKER_PACKAGES.get(train.tracker)
    if package and importlib.util.find_spec(package) is None:
        raise UserError(
            f"train.tracker={train.tracker} needs a package that is not installed: "
            f"pip install 'understudy[{train.tracker}]'"
        )
    # Accelerate keeps device and precision for the process; one process may train several runs.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision={"fp32": "no"}.get(train.precision, train.precision),
        gradient_accumulation_steps=train.accumulate,
        log_with=None if train.tracker == "none" else train.tracker,
        project_dir=str(run.path),
    )
    if package:
        # TensorBoard takes the name for a folder below the run, the others for a project.
        accelerator.init_trackers(
            "tensorboard" if train.tracker == "tensorboard" else "understudy",
            config=_flat(recipe.model_dump(mode="json")),
            init_kwargs={"wandb": {"name": run.name}, "mlflow": {"run_name": run.name}},
        )
    return accelerator


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`, since trackers take numbers and strings only."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (
                value if isinstance(value, bool | int | float | str) else str(value)
            )
    return flat
