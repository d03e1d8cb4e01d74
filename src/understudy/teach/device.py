"""Where training runs: device, precision, processes and tracker.

`accelerate` finds the device, joins the processes that `torchrun` starts and speaks to trackers.
"""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

from understudy.errors import UserError
from understudy.recipe import Recipe, Train
from understudy.run import TRACKED, Run

TRACKER_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Device:
    """The device that this process computes on, in the precision that the recipe names.

    torch: the device. scaler: keeps small gradients of fp16 above zero; off in other precisions.
    """

    def __init__(self, train: Train, folder: Path) -> None:
        on_cpu = _is_cpu(train)
        self._check(train, on_cpu)
        # Accelerate keeps device and tracker for the process; one process may train several runs.
        AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = Accelerator(
            cpu=on_cpu,
            log_with=None if train.tracker == "none" else train.tracker,
            project_dir=str(folder),
        )
        self.torch = self.accelerator.device
        self._type = _TYPES.get(train.precision)
        self.scaler = torch.amp.GradScaler(self.torch.type, enabled=train.precision == "fp16")
        if self.torch.type == "cuda":
            torch.set_float32_matmul_precision("high" if train.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = train.tf32

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the precision that the recipe names."""
        return torch.autocast(
            self.torch.type, dtype=self._type or torch.float32, enabled=self._type is not None
        )

    @property
    def sum_type(self) -> torch.dtype:
        """What sums over an epoch are kept in: Apple's GPUs have no float64."""
        return torch.float32 if self.torch.type == "mps" else torch.float64

    def lay_out_channels_last(self, model: nn.Module) -> None:
        """Weights of 2-D and 3-D convolutions in the layout that GPUs prefer."""
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            elif isinstance(module, nn.Conv3d):
                module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def begin_tracking(self, recipe: Recipe, run: Run) -> None:
        """Tell the tracker what is trained."""
        tracker = recipe.train.tracker
        if tracker == "none":
            return
        # TensorBoard takes the name for a folder below the run, the others for a project.
        self.accelerator.init_trackers(
            TRACKED if tracker == "tensorboard" else "understudy",
            config=flat_settings(recipe.model_dump(mode="json")),
            init_kwargs={"wandb": {"name": run.name}, "mlflow": {"run_name": run.name}},
        )

    @staticmethod
    def _check(train: Train, on_cpu: bool) -> None:
        available = _available()
        if not available.get(train.device, True):
            there = [name for name, has in available.items() if has]
            raise UserError(
                f"train.device is {train.device}, but this machine has no such device; "
                f"it has: {', '.join(['cpu', *there])}."
            )
        if train.precision == "fp16" and on_cpu:
            raise UserError("train.precision=fp16 needs a GPU; use bf16 or fp32 on a CPU.")
        package = TRACKER_PACKAGES.get(train.tracker)
        if package and importlib.util.find_spec(package) is None:
            raise UserError(
                f"train.tracker={train.tracker} needs a package that is not installed: "
                f"pip install 'understudy[{train.tracker}]'"
            )


def _available() -> dict[str, bool]:
    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def _is_cpu(train: Train) -> bool:
    return train.device == "cpu" or not any(_available().values())


def flat_settings(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `section.key`, since trackers take numbers and strings only."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (
                value if isinstance(value, bool | int | float | str) else str(value)
            )
    return flat
