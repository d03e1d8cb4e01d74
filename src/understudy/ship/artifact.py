"""The artifact: a directory that holds an exported model and everything needed to use it.

exports/<format>/
  clip.onnx       whole clips: pixels in, logits and embedding out, normalisation inside
  step.onnx       one frame of a stream and the state before it; models that stream only
  contract.json   classes, which frames to take and how, what goes in and comes out, checksums
  parity.json     how far its outputs lie from those of the run, on which clips
  latency.json    how fast it is beside the run, on which machine
  int8.json       every quantisation scheme that was tried; where it was asked for
  README.md       how to call it, in four languages
  evaluations/    what it said of which clips, once it was evaluated; never published
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.run import Run, open_run
from understudy.run.classifier import file_sha256
from understudy.ship.draft import mend
from understudy.ship.formats import find_format
from understudy.ship.own_files import check_own
from understudy.ship.reading import read_checked
from understudy.ship.recognizer import ArtifactRecognizer


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
        return read_checked(path)

    @property
    def parity(self) -> dict[str, Any]:
        return read_checked(self.path / "parity.json")

    @property
    def latency(self) -> dict[str, Any] | None:
        """What the last benchmark wrote, or None."""
        return self._optional("latency.json")

    @property
    def int8(self) -> dict[str, Any] | None:
        """The table of what was tried to quantise it, or None."""
        return self._optional("int8.json")

    @property
    def run(self) -> Run | None:
        """The run that it was made from, where it lies in its `exports`; None anywhere else."""
        folder = self.path.resolve().parent
        if folder.name != "exports" or not (folder.parent / "recipe.yaml").is_file():
            return None
        run = Run(folder.parent)
        return run if run.name == self.contract["run"] else None

    @property
    def checkpoint(self) -> str:
        """Of the run, which it was made from."""
        return self.contract["checkpoint"]

    @property
    def weights_sha256(self) -> str:
        """Of the file that recognises whole clips."""
        return self.contract["graphs"]["clip"]["sha256"]

    def classifier(
        self, checkpoint: str = "best", *, device: str = "cpu", threads: int | None = None
    ) -> ArtifactRecognizer:
        """The model, ready to be used; called as that of a run is.

        Raises UserError as `load_artifact` does, for another checkpoint than its own and for
        another device than the CPU.
        """
        if checkpoint not in ("best", self.checkpoint):
            raise UserError(
                f"{self.path} was made from the checkpoint {self.checkpoint} and holds no other: "
                f"{checkpoint} cannot be chosen. Name the run, or export that checkpoint."
            )
        if device != "cpu":
            raise UserError(
                f"{self.path} is an exported artifact, which computes on the CPU here, not on "
                f"{device}. Leave out the device, or name the run."
            )
        return load_artifact(self.path, threads=threads)

    def model_path(self, graph: str = "clip") -> Path:
        """The file of a graph: clip or step."""
        return self.path / self.contract["graphs"][graph]["file"]

    def _optional(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        return read_checked(path) if path.exists() else None


def open_artifact(path: str | Path) -> Artifact:
    """Open an artifact directory. Raises UserError if it is none, damaged or altered."""
    artifact = Artifact(Path(path))
    mend(artifact.path)
    if not artifact.path.is_dir():
        raise UserError(f"There is no artifact at {path}: it is a directory with a contract.json.")
    entries = artifact.contract["graphs"].values()
    for entry in entries:
        check_own(artifact.path / entry["file"])
    for entry in entries:
        file = artifact.path / entry["file"]
        if not file.exists():
            raise UserError(f"{file} is missing. Export the run again.")
        if size_bytes(file) != entry["bytes"] or sha256(file) != entry["sha256"]:
            raise UserError(
                f"{file} is not the file that was checked when it was exported: its size or "
                "SHA-256 differs from the contract's. Copy it again, or export the run again."
            )
    return artifact


def open_source(place: str | Path | Run | Artifact) -> Run | Artifact:
    """The run or the artifact in a directory. Raises UserError where there is neither."""
    if isinstance(place, (Run, Artifact)):
        return place
    mend(Path(place))
    if (Path(place) / "contract.json").is_file():
        return open_artifact(place)
    return open_run(place)


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
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def size_bytes(path: Path) -> int:
    """Of a file, or of all files in a directory."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
