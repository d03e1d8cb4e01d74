"""The run directory: the only thing that evaluation, export, reports and studies read.

runs/<name>/
  recipe.yaml          what was asked, every value written out
  environment.json     versions, device, commit, command, start and end
  manifest.parquet     every clip: id, path, label, split, group, times, fingerprint of its bytes
  data.json            classes, clips per split, what was skipped and why
  teacher.json         who taught, with which weights and which head; absent without a teacher
  start.json           layer by layer, what was taken from other weights; absent without a start
  history.json         one entry per epoch: every part of the loss, metrics, learning rate
  checkpoints/         best, final, epoch_010, ... .safetensors
  resume/              optimiser state of the last finished epoch
  thresholds.json      from which probability each of several labels holds
  unknown.json         below which probability a stream says no label; by the verb stream
  predictions.parquet  metrics.json  report.html  exports/<format>/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.data.manifest import Manifest
from understudy.errors import UserError, nearest
from understudy.recipe import Recipe, load_recipe
from understudy.run.files import read_json, write_bytes
from understudy.run.schema import THRESHOLDS
from understudy.run.weights import load_weights, run_of_weights
from understudy.task import SINGLE_LABEL, Task, task_named
from understudy.types import Recognizer

if TYPE_CHECKING:
    from understudy.run.classifier import RunClassifier


@dataclass(frozen=True, slots=True)
class Run:
    """An existing run directory. Everything is read when asked for, nothing is kept."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe(self) -> Recipe:
        return load_recipe(self.path / "recipe.yaml", of_run=True)

    @property
    def environment(self) -> dict[str, Any]:
        return read_json(self.path / "environment.json")

    @property
    def data(self) -> dict[str, Any]:
        """classes, counts per split, clip_seconds, skipped: as written by training."""
        return read_json(self.path / "data.json")

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.data["classes"])

    @property
    def task(self) -> Task:
        """What is asked of a clip; runs of earlier versions took one label."""
        return task_named(self.data.get("task", SINGLE_LABEL.name))

    @property
    def manifest(self) -> Manifest:
        """Every clip of the run in its split, with the fingerprint that its bytes had.

        All that comes after training reads this one: a table elsewhere may have changed. Raises
        UserError if it is missing or damaged.
        """
        return read_manifest_file(self._manifest_path)

    @property
    def has_manifest(self) -> bool:
        """Whether the run knows its clips already; one that was just made does not."""
        return self._manifest_path.is_file()

    @property
    def _manifest_path(self) -> Path:
        return self.path / "manifest.parquet"

    @property
    def is_finished(self) -> bool:
        """Whether training came to its end, at the last epoch or by its patience. Of a run that
        keeps no record of its training, nobody says otherwise."""
        if not self._has_environment:
            return not self.history
        return "finished" in self.environment

    @property
    def teacher(self) -> dict[str, Any] | None:
        path = self.path / "teacher.json"
        return read_json(path) if path.exists() else None

    @property
    def teachers(self) -> dict[str, dict[str, Any]]:
        """What `teacher.json` says of each teacher, by the name that the recipe gives it; a single
        one may be called "teacher"."""
        facts = self.teacher
        if facts is None:
            return {}
        return facts["teachers"] if isinstance(facts.get("teachers"), dict) else {"teacher": facts}

    @property
    def start(self) -> dict[str, Any] | None:
        """source and layers: how each layer came from other weights; None after a random
        initialisation."""
        path = self.path / "start.json"
        return read_json(path) if path.exists() else None

    @property
    def history(self) -> list[dict[str, Any]]:
        path = self.path / "history.json"
        return read_json(path) if path.exists() else []

    @property
    def metrics(self) -> dict[str, Any] | None:
        """What `evaluate` wrote last, or None."""
        path = self.path / "metrics.json"
        return read_json(path) if path.exists() else None

    @property
    def thresholds(self) -> dict[str, Any] | None:
        """What thresholds.json holds: by checkpoint and class, from which probability a label
        holds. None for a run of one label a clip."""
        path = self.path / THRESHOLDS
        return read_json(path) if path.exists() else None

    def write_manifest(self, manifest: Manifest) -> None:
        """Give the run its clips. What training, and all after it, reads."""
        write_manifest_file(self._manifest_path, manifest)

    def classifier(
        self, checkpoint: str = "best", *, device: str = "cpu", threads: int | None = None
    ) -> RunClassifier:
        """The trained model with all that is needed to use it; see `RunClassifier`."""
        from understudy.run.classifier import RunClassifier

        return RunClassifier(self, checkpoint, device=device, threads=threads)

    @property
    def predictions_path(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    def checkpoint_path(self, checkpoint: str = "best") -> Path:
        return self.path / "checkpoints" / f"{checkpoint}.safetensors"

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that exist."""
        return sorted(file.stem for file in (self.path / "checkpoints").glob("*.safetensors"))

    def export_path(self, format: str) -> Path:
        return self.path / "exports" / format

    def load_model(self, checkpoint: str = "best") -> Recognizer:
        """The trained recogniser in evaluation mode, on the CPU.

        Raises UserError if the checkpoint is missing or belongs to another model.
        """
        from understudy.models import create_model

        path = self.checkpoint_path(checkpoint)
        if not path.is_file():
            there = ", ".join(self.checkpoints()) or "none yet; was training interrupted?"
            raise UserError(f"{self.path} has no checkpoint {checkpoint}. There: {there}")
        self.refuse_foreign(checkpoint)
        model = create_model(
            self.recipe.model.name, len(self.classes), **self.data["model_options"]
        )
        load_weights(model, path)
        return model.eval()

    def refuse_foreign(self, checkpoint: str) -> None:
        """Raises UserError for a checkpoint that says that another run wrote it, or that cannot be
        read."""
        path = self.checkpoint_path(checkpoint)
        writer = run_of_weights(path)
        if writer is not None and self._has_environment and writer != self.environment.get("run"):
            raise UserError(
                f"{path} was written by another run. Put the run's own checkpoint back, or delete "
                "that file."
            )

    @property
    def _has_environment(self) -> bool:
        return (self.path / "environment.json").is_file()


def read_manifest_file(path: Path) -> Manifest:
    """The manifest that a run keeps. Raises UserError if it is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(
            f"{path} is missing: the run was made by an earlier version, or its folder is not "
            "complete. Train it again, or name clips with --data."
        )
    try:
        manifest = Manifest.from_arrow(pq.read_table(path))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    if len(manifest) == 0:
        raise UserError(f"{path} is damaged: it holds no clip.")
    return manifest


def write_manifest_file(path: Path, manifest: Manifest) -> None:
    """Write the manifest that a run keeps, in one step."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = pa.BufferOutputStream()
    pq.write_table(manifest.to_table(), target)
    write_bytes(path, target.getvalue().to_pybytes())


def open_run(path: str | Path) -> Run:
    """Open a run directory. Raises UserError if there is none."""
    path = Path(path)
    try:
        is_there = path.exists()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if not is_there:
        # Runs that have begun to learn: one that is still being prepared may be asking.
        neighbours = [entry.parent.name for entry in path.parent.glob("*/data.json")]
        raise UserError(
            f"There is no run at {path}.{nearest(path.name, neighbours)} "
            "A run is a folder that understudy train has written."
        )
    if not (path / "recipe.yaml").is_file():
        exported = (path / "contract.json").is_file()
        hint = " It is an export; name the run that it was made from." if exported else ""
        if folds := sorted(path.glob("fold-*/recipe.yaml")):
            hint = f" It holds folds; name one of them: {folds[0].parent}."
        raise UserError(f"{path} is no run directory: it holds no recipe.yaml.{hint}")
    return Run(path)
