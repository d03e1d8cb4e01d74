"""The artifact: a directory that holds an exported model and everything needed to use it.

exports/<format>/
  clip.onnx       whole clips: pixels in, logits and embedding out, normalisation inside
  step.onnx       one frame of a stream and the state before it; models that stream only
  contract.json   classes, which frames to take and how, what goes in and comes out, checksums
  parity.json     how far its outputs lie from those of the run, on which clips
  latency.json    how fast it is beside the run, on which machine
  int8.json       every quantisation scheme that was tried; where it was asked for
  README.md       how to call it, in four languages
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.run import read_json
from understudy.ship.formats import FORMATS, Session, find_format
from understudy.ship.graphs import TensorSpec, begin
from understudy.types import Output, State

CONTRACT_FORMAT = "understudy-artifact"
CONTRACT_VERSION = 2


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
        version = contract["contract_version"]
        if version != CONTRACT_VERSION:
            way = "Upgrade understudy, or export the run again."
            raise UserError(
                f"{path} has contract version {version}; this package reads {CONTRACT_VERSION}. "
                f"{way if version > CONTRACT_VERSION else 'Export the run again.'}"
            )
        if contract["runtime"] not in FORMATS:
            raise UserError(
                f"{path} was exported to {contract['runtime']}; this package knows "
                f"{', '.join(FORMATS)}."
            )
        return contract

    @property
    def parity(self) -> dict[str, Any]:
        return read_json(self.path / "parity.json")

    @property
    def latency(self) -> dict[str, Any] | None:
        """What the last benchmark wrote, or None."""
        return self._optional("latency.json")

    @property
    def int8(self) -> dict[str, Any] | None:
        """The table of what was tried to quantise it, or None."""
        return self._optional("int8.json")

    def model_path(self, graph: str = "clip") -> Path:
        """The file of a graph: clip or step."""
        return self.path / self.contract["graphs"][graph]["file"]

    def _optional(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        return read_json(path) if path.exists() else None


class ArtifactRecognizer:
    """An exported model that is called, and stepped, like the recogniser it was made from.

    A file is opened when it is first used. Whether the model streams says `streams`;
    `stream_frames` is as in `StreamingRecognizer`.
    """

    def __init__(self, path: Path, contract: dict[str, Any], threads: int | None) -> None:
        self.contract = contract
        self.classes: tuple[str, ...] = tuple(contract["classes"])
        self.clip_frames: int = contract["input"]["frames"]
        self.input_size: int = contract["input"]["size"]
        self.streams = "step" in contract["graphs"]
        self.stream_frames: int | None = contract["graphs"].get("step", {}).get("stream_frames")
        self._path, self._threads = path, threads

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
        inputs = [frames.flatten(0, 1)]
        if count > 1:
            inputs.append(lengths)
        return Output(*self._compute("clip", inputs, len(frames))[:2])

    def init_state(self, batch_size: int) -> State:
        """The state before the first frame: zeros. Raises UserError if the model cannot stream."""
        return begin(self._specs("step", "inputs"), batch_size)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """Read one frame (B, 3, S, S) uint8 and give the output for the clip so far."""
        size = self.input_size
        if frame.dtype != torch.uint8 or frame.shape[1:] != (3, size, size):
            raise UserError(
                f"This artifact takes uint8 frames of shape (batch, 3, {size}, {size}); "
                f"given: {frame.dtype} {tuple(frame.shape)}."
            )
        logits, embedding, *after = self._compute("step", [frame, *state], len(frame))
        return Output(logits, embedding), tuple(after)

    def open_graph(self, graph: str = "clip") -> None:
        """Load the file of a graph, clip or step, now instead of at its first use."""
        self._specs(graph, "inputs")
        self._sessions[graph]

    def _specs(self, graph: str, side: str) -> list[TensorSpec]:
        entry = self.contract["graphs"].get(graph)
        if entry is None:
            raise UserError(
                f"{self.contract['model']} takes whole clips: this artifact cannot be stepped."
            )
        return [TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in entry[side]]

    def _compute(self, graph: str, inputs: list[Tensor], batch: int) -> list[Tensor]:
        """Run a graph on `batch` clips: at once, or one by one where its file takes only one."""
        specs = self._specs(graph, "inputs")
        session = self._sessions[graph]
        arrays = [
            np.ascontiguousarray(tensor.numpy(force=True), dtype=spec.dtype)
            for tensor, spec in zip(inputs, specs, strict=True)
        ]
        if self.contract["batch"] == "any" or batch == 1:
            return [torch.as_tensor(array) for array in session(arrays)]
        rows = [spec.shape[0] for spec in specs]
        done = [
            session(
                [
                    array[clip * count : (clip + 1) * count]
                    for array, count in zip(arrays, rows, strict=True)
                ]
            )
            for clip in range(batch)
        ]
        return [torch.as_tensor(np.concatenate(parts)) for parts in zip(*done, strict=True)]

    @cached_property
    def _sessions(self) -> _Sessions:
        return _Sessions(self._path, self.contract, self._threads)


class _Sessions(dict[str, Session]):
    """Graph -> loaded file, each loaded at its first use."""

    def __init__(self, path: Path, contract: dict[str, Any], threads: int | None) -> None:
        super().__init__()
        self._path, self._contract, self._threads = path, contract, threads

    def __missing__(self, graph: str) -> Session:
        entry = self._contract["graphs"][graph]
        format_ = FORMATS[self._contract["runtime"]]
        self[graph] = format_.open_session(self._path / entry["file"], entry, self._threads)
        return self[graph]


def open_artifact(path: str | Path) -> Artifact:
    """Open an artifact directory. Raises UserError if it is none, damaged or altered."""
    artifact = Artifact(Path(path))
    if not artifact.path.is_dir():
        raise UserError(f"There is no artifact at {path}: it is a directory with a contract.json.")
    for entry in artifact.contract["graphs"].values():
        file = artifact.path / entry["file"]
        if not file.exists():
            raise UserError(f"{file} is missing. Export the run again.")
        if sha256(file) != entry["sha256"]:
            raise UserError(
                f"{file} is not the file that was checked when it was exported: its SHA-256 "
                "differs from the contract's. Copy it again, or export the run again."
            )
    return artifact


def load_artifact(path: str | Path, *, threads: int | None = None) -> ArtifactRecognizer:
    """Load an artifact for use on the CPU, with `threads` threads (None: every core).

    Raises UserError when files are missing, when a model file is not the one whose parity was
    checked, when the contract is newer than this package, when the runtime is not installed, and
    for a format that this package only converts to.
    """
    artifact = open_artifact(path)
    contract = artifact.contract
    format_ = find_format(contract["runtime"])
    if not format_.RUNS_HERE:
        raise UserError(
            f"{path} was converted to {format_.TITLE}, which this package does not execute: "
            f"{format_.PLATFORMS}. Load the run itself, or export it to another format."
        )
    return ArtifactRecognizer(artifact.path, contract, threads)


def sha256(path: Path) -> str:
    """Of a file, or of a directory: of the names and contents of all files in it, in order."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a directory."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
