"""Stopping and going on: the state at the end of an epoch, in one file that is never half written.

Every epoch reseeds the random numbers of all devices from (seed, epoch), and the learning rate
follows from the number of steps taken, so weights, moments, history and, in fp16, the scale of the
gradients are all there is to keep.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.run import Run, write_bytes
from understudy.run.schema import Epoch, SkippedClip, parse_json
from understudy.teach.device import Device

_EPOCHS, _SKIPPED = TypeAdapter(list[Epoch]), TypeAdapter(list[SkippedClip])


class Progress(BaseModel):
    """How far training came. scaler: the state of the gradient scaler, empty if off. identity: what
    it belongs to, see `unchanged`; empty in a state of an earlier version."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    history: Annotated[list[dict[str, Any]], AfterValidator(_EPOCHS.validate_python)]
    steps: Annotated[int, Field(ge=0, le=2**53)]
    skipped: Annotated[list[dict[str, Any]], AfterValidator(_SKIPPED.validate_python)]
    scaler: dict[str, Any] = {}
    identity: dict[str, Any] = {}


class State(NamedTuple):
    """What is in resume/: how far training came, and tensors by `model.NAME` and
    `optimizer.NUMBER.MOMENT`."""

    file: Path
    progress: Progress
    tensors: dict[str, Tensor]


def save_state(
    run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, device: Device, progress: Progress
) -> None:
    """Write the state of the epoch that just ended over that of the one before."""
    progress = progress.model_copy(update={"scaler": device.scaler.state_dict()})
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"progress": json.dumps(progress.model_dump(), allow_nan=False)}
    write_bytes(_file(run), save(dense, metadata=metadata))


def read_state(run: Run) -> State:
    """The last finished epoch of a run. Raises UserError if the file cannot be read."""
    file = _file(run)
    try:
        with safe_open(file, "pt") as stored:
            text = (stored.metadata() or {}).get("progress", "")
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(file, str(error)) from error
    return State(file, parse_json(text, file, Progress), tensors)


def restore(
    state: State, model: nn.Module, optimizer: torch.optim.Optimizer, device: Device
) -> None:
    """Fill model, optimiser and gradient scaler. Raises UserError where a tensor is missing, too
    many, or of another shape."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    try:
        model.load_state_dict(_below(state.tensors, "model."))
        for name, tensor in _below(state.tensors, "optimizer.").items():
            number, _, moment = name.partition(".")
            if moment != "step" and tensor.shape != parameters[int(number)].shape:
                raise ValueError(f"optimizer.{name} has the shape {tuple(tensor.shape)}")
            # AdamW counts its steps on the CPU, its moments live beside the weights.
            moments.setdefault(int(number), {})[moment] = (
                tensor if moment == "step" else tensor.to(device.torch)
            )
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if state.progress.scaler:
            device.scaler.load_state_dict(state.progress.scaler)
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        raise _damaged(state.file, " ".join(str(error).split())) from error


def _damaged(file: Path, reason: str) -> UserError:
    return UserError(
        f"{file} is damaged, so training cannot go on from it ({reason}). The checkpoints can "
        "still be used; to train again, delete the folder or name another with --out."
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
