"""The artifact: a directory that holds an exported model and everything needed to use it.

exports/<format>/
  model.onnx      the model: pixels in, logits and embedding out, normalisation inside
  contract.json   classes, which frames to take and how, what goes in and comes out, checksum
  parity.json     how far its outputs lie from those of the run, on which clips
  latency.json    how fast it is beside the run, on which machine
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.run import Run, read_json
from understudy.ship import onnx
from understudy.types import Output, Recognizer

CONTRACT_FORMAT = "understudy-artifact"
CONTRACT_VERSION = 1


class Format(Protocol):
    """What a module of this folder offers so that runs can be exported to one more format."""

    FILE: str
    """Name of the model file inside the artifact."""
    LIBRARIES: tuple[str, ...]
    """Packages whose versions are written into the contract."""

    def export(self, model: Recognizer, example: tuple[Tensor, Tensor], path: Path) -> None: ...

    def describe(self, path: Path) -> dict[str, Any]: ...

    def open_session(
        self, path: Path, threads: int | None
    ) -> Callable[[Tensor, Tensor], Output]: ...


FORMATS: dict[str, Format] = {"onnx": onnx}


class ArtifactError(RuntimeError):
    """An export whose outputs differ from those of its model. Nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An existing artifact directory. Everything is read when asked for, nothing is kept."""

    path: Path

    @property
    def contract(self) -> dict[str, Any]:
        """Read and check contract.json. Raises UserError if it is missing or not readable here."""
        path = self.path / "contract.json"
        if not path.is_file():
            raise UserError(f"{self.path} is no artifact: it holds no contract.json.")
        contract = read_json(path)
        if not isinstance(contract, dict) or contract.get("format") != CONTRACT_FORMAT:
            raise UserError(f"{path} is not the contract of an artifact of this package.")
        if contract["contract_version"] > CONTRACT_VERSION:
            raise UserError(
                f"{path} has contract version {contract['contract_version']}; this package reads "
                f"up to {CONTRACT_VERSION}. Upgrade understudy, or export the run again."
            )
        if contract["runtime"] not in FORMATS:
            raise UserError(
                f"{path} was exported to {contract['runtime']}; this package runs "
                f"{', '.join(FORMATS)}."
            )
        return contract

    @property
    def parity(self) -> dict[str, Any]:
        return read_json(self.path / "parity.json")

    @property
    def latency(self) -> dict[str, Any] | None:
        """What the last benchmark wrote, or None."""
        path = self.path / "latency.json"
        return read_json(path) if path.exists() else None

    @property
    def model_path(self) -> Path:
        return self.path / self.contract["file"]


class ArtifactRecognizer:
    """An exported model that is called like the recogniser it was made from."""

    def __init__(
        self, contract: dict[str, Any], session: Callable[[Tensor, Tensor], Output]
    ) -> None:
        self.contract = contract
        self.classes: tuple[str, ...] = tuple(contract["classes"])
        self.clip_frames: int = contract["input"]["frames"]
        self.input_size: int = contract["input"]["size"]
        self._session = session

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        """Recognise clips, on the CPU.

        frames: (B, T, 3, S, S) uint8 RGB, with the T and S of the contract. lengths: (B,) true
        frames of each clip, from 1 to T; None: T for all. Raises UserError for other pixels.
        """
        size, count = self.input_size, self.clip_frames
        if frames.dtype != torch.uint8 or frames.shape[1:] != (count, 3, size, size):
            raise UserError(
                f"This artifact takes uint8 frames of shape (batch, {count}, 3, {size}, {size}); "
                f"given: {frames.dtype} {tuple(frames.shape)}."
            )
        if lengths is None:
            lengths = torch.full((len(frames),), count)
        if lengths.shape != frames.shape[:1] or not ((lengths >= 1) & (lengths <= count)).all():
            raise UserError(
                f"lengths must give one number from 1 to {count} for each of {len(frames)} clips; "
                f"given: {lengths.tolist()}."
            )
        return self._session(frames, lengths.to(torch.int64))


def open_artifact(path: str | Path) -> Artifact:
    """Open an artifact directory. Raises UserError if it is none, damaged or altered."""
    artifact = Artifact(Path(path))
    if not artifact.path.is_dir():
        raise UserError(f"There is no artifact at {path}: it is a directory with a contract.json.")
    contract = artifact.contract
    if not artifact.model_path.is_file():
        raise UserError(f"{artifact.model_path} is missing. Export the run again.")
    if file_sha256(artifact.model_path) != contract["sha256"]:
        raise UserError(
            f"{artifact.model_path} is not the file that was checked when it was exported: its "
            "SHA-256 differs from the contract's. Copy it again, or export the run again."
        )
    return artifact


def load_artifact(path: str | Path, *, threads: int | None = None) -> ArtifactRecognizer:
    """Load an artifact for use on the CPU, with `threads` threads (None: every core).

    Raises UserError when files are missing, when the model file is not the one whose parity was
    checked, or when the contract is newer than this package.
    """
    artifact = open_artifact(path)
    contract = artifact.contract
    session = FORMATS[contract["runtime"]].open_session(artifact.model_path, threads)
    return ArtifactRecognizer(contract, session)


def frames_taken(run: Run, model: Recognizer) -> int:
    """T of the artifact: what the model needs, 1 for single pictures, otherwise as in training."""
    if model.clip_frames is not None:
        return model.clip_frames
    pictures = run.data["clip_seconds"] == 0 and run.recipe.data.pseudo is None
    return 1 if pictures else run.recipe.data.frames


def build_contract(
    run: Run,
    model: Recognizer,
    model_path: Path,
    *,
    runtime: str,
    checkpoint: str,
    embedding_dim: int,
    macs: int,
) -> dict[str, Any]:
    """The content of contract.json for a model file that has just been written."""
    from understudy.types import parameter_count

    data = run.recipe.data
    form = FORMATS[runtime]
    return {
        "format": CONTRACT_FORMAT,
        "contract_version": CONTRACT_VERSION,
        "runtime": runtime,
        "file": model_path.name,
        "sha256": file_sha256(model_path),
        "run": run.name,
        "checkpoint": checkpoint,
        "model": run.recipe.model.name,
        "parameters": parameter_count(model),
        "macs_per_clip": macs,
        "classes": list(run.classes),
        "input": {
            "frames": frames_taken(run, model),
            "size": data.size,
            "dtype": "uint8",
            "layout": "BTCHW",
            "colour": "RGB",
            "lengths": "(batch,) int64: true frames of each clip, the rest is padding",
        },
        "sampling": {
            "method": data.sampling,
            "stride_s": data.stride_s,
            "clip_seconds": run.data["clip_seconds"],
            "hold_pictures": data.pseudo is not None,
        },
        "resize": f"short side to {data.size} (bilinear, antialiased), centre crop",
        "normalisation": _normalisation(model),
        "outputs": {"logits": ["batch", len(run.classes)], "embedding": ["batch", embedding_dim]},
        "versions": {
            name: metadata.version(name) for name in ("understudy", "torch", *form.LIBRARIES)
        },
        **form.describe(model_path),
    }


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _normalisation(model: Recognizer) -> dict[str, Any]:
    """The mean and std by which the model normalises pixels itself; null if it has other means."""
    from understudy.models.layers import Normalize

    own = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    return {
        "inside": True,
        "mean": own.mean.flatten().tolist() if own else None,
        "std": own.std.flatten().tolist() if own else None,
    }
