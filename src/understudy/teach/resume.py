"""Stopping and going on: the state at the end of an epoch, in one file that is never half written.

Every epoch reseeds the random numbers of all devices from (seed, epoch), and the learning rate
follows from the number of steps taken, so weights, moments, history and, in fp16, the scale of the
gradients are all there is to keep.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.errors import UserError
from understudy.run import Run, write_bytes
from understudy.teach.device import Device


class Progress(NamedTuple):
    """How far training came. All JSON. scaler: the state of the gradient scaler, empty if off."""

    history: list[dict[str, Any]]
    steps: int
    skipped: list[dict[str, Any]]
    scaler: dict[str, Any] = {}  # noqa: RUF012  replaced as a whole, never changed


def save_state(
    run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, device: Device, progress: Progress
) -> None:
    """Write the state of the epoch that just ended over that of the one before."""
    progress = progress._replace(scaler=device.scaler.state_dict())
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(_file(run), save(dense, metadata={"progress": json.dumps(progress._asdict())}))


def load_state(
    run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, device: Device
) -> Progress:
    """Fill model, optimiser and gradient scaler from the last finished epoch.

    Raises UserError if the file cannot be read.
    """
    file = _file(run)
    try:
        with safe_open(file, "pt") as stored:
            progress = Progress(**json.loads(stored.metadata()["progress"]))
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged, so training cannot go on from it ({error}). The checkpoints can "
            "still be used; to train again, delete the folder or name another with --out."
        ) from error
    model.load_state_dict(_below(tensors, "model."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below(tensors, "optimizer.").items():
        number, _, moment = name.partition(".")
        # AdamW counts its steps on the CPU, its moments live beside the weights.
        moments.setdefault(int(number), {})[moment] = (
            tensor if moment == "step" else tensor.to(device.torch)
        )
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if progress.scaler:
        device.scaler.load_state_dict(progress.scaler)
    return progress


def check_clips(manifest: Manifest) -> None:
    """Raises UserError, naming clips of training and validation that are gone or have changed.

    Those that could not be read when the run began need not be there now.
    """
    known = manifest.fingerprints or [""] * len(manifest)
    rows = [row for split in ("train", "val") for row in manifest.rows(split) if known[row]]
    now = fingerprints([manifest.path_of(row) for row in rows])
    changed = [
        row for row, found in zip(rows, now, strict=True) if not manifest.is_unchanged(row, found)
    ]
    if changed:
        named = "".join(
            f"\n  {manifest.records[row].path}: "
            f"{'has changed' if manifest.path_of(row).exists() else 'is gone'}"
            for row in changed[:5]
        )
        more = f"\n  and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise UserError(
            f"{len(changed)} of {len(rows)} clips are not what they were when the run began; going "
            f"on would mix two data sets:{named}{more}\nPut them back, or train a new run."
        )


def can_resume(run: Run) -> bool:
    return _file(run).is_file()


def _file(run: Run) -> Path:
    return run.path / "resume" / "state.safetensors"


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
