"""The run directory: the only thing that evaluation, export, reports and studies read.

runs/<name>/
  recipe.yaml          what was asked, every value written out
  environment.json     versions, device, commit, command, start and end
  data.json            classes, clips per split, what was skipped and why
  teacher.json         who taught, with which weights and which head; absent without a teacher
  start.json           layer by layer, what was taken from other weights; absent without a start
  history.json         one entry per epoch: every part of the loss, metrics, learning rate
  checkpoints/         best, final, epoch_010, ... .safetensors
  resume/              optimiser state of the last finished epoch
  unknown.json         below which probability a stream says no label; by predict --stream
  predictions.parquet  metrics.json  report.html  exports/<format>/
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.errors import UserError, nearest
from understudy.recipe import Recipe, dump_recipe, load_recipe
from understudy.types import Recognizer

_LISTS = frozenset({"history.json", "bench.json"})
"""Files that hold a list; the others hold an object."""
_LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "accelerate", "numpy", "av")


@dataclass(frozen=True, slots=True)
class Run:
    """An existing run directory. Everything is read when asked for, nothing is kept."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe(self) -> Recipe:
        return load_recipe(self.path / "recipe.yaml")

    @property
    def environment(self) -> dict[str, Any]:
        return read_json(self.path / "environment.json")

    @property
    def data(self) -> dict[str, Any]:
        """classes, counts per split, clip_seconds, skipped: as written by training."""
        content = read_json(self.path / "data.json")
        missing = [name for name in ("classes", "model_options") if name not in content]
        if missing:
            raise UserError(f"{self.path / 'data.json'} is damaged: {missing[0]} is missing.")
        return content

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.data["classes"])

    @property
    def teacher(self) -> dict[str, Any] | None:
        path = self.path / "teacher.json"
        return read_json(path) if path.exists() else None

    @property
    def start(self) -> dict[str, Any] | None:
        """source and layers: how each layer came from other weights; None after noise."""
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
        model = create_model(
            self.recipe.model.name, len(self.classes), **self.data["model_options"]
        )
        load_weights(model, path)
        return model.eval()


def create_run(path: Path, recipe: Recipe) -> Run:
    """Make a run directory, proving that it can be written before hours are spent.

    Raises UserError when a run is there already, or when the folder cannot be written.
    """
    if (path / "recipe.yaml").exists():
        raise UserError(
            f"There is a run in {path} already. Continue it with: understudy train --resume "
            f"{shlex.quote(str(path))}\nOr name another with --out, or delete that folder."
        )
    try:
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        (path / "resume").mkdir(exist_ok=True)
        write_text(path / "recipe.yaml", dump_recipe(recipe))
    except OSError as error:
        raise UserError(
            f"The run directory {path} cannot be written: {error.strerror}. "
            "Choose another with --out."
        ) from error
    return Run(path)


def discard_run(run: Run) -> None:
    """Take back a run directory that `create_run` made and nothing was trained in."""
    for name in ("recipe.yaml", "environment.json", "data.json", "teacher.json", "start.json"):
        (run.path / name).unlink(missing_ok=True)
    for folder in (run.path / "checkpoints", run.path / "resume", run.path):
        with contextlib.suppress(OSError):  # somebody keeps files of their own there
            folder.rmdir()


def open_run(path: str | Path) -> Run:
    """Open a run directory. Raises UserError if there is none."""
    path = Path(path)
    if not path.exists():
        # Runs that have begun to learn: one that is still being prepared may be asking.
        neighbours = [entry.parent.name for entry in path.parent.glob("*/data.json")]
        raise UserError(
            f"There is no run at {path}.{nearest(path.name, neighbours)} "
            "A run is a folder that understudy train has written."
        )
    if not (path / "recipe.yaml").is_file():
        exported = (path / "contract.json").is_file()
        hint = " It is an export; name the run that it was made from." if exported else ""
        raise UserError(f"{path} is no run directory: it holds no recipe.yaml.{hint}")
    return Run(path)


def save_weights(model: Recognizer, path: Path, notes: dict[str, str] | None = None) -> None:
    """Write a model's weights as safetensors, with `notes` in the file's metadata."""
    from safetensors.torch import save

    write_bytes(path, save(contiguous_state(model), metadata=notes))


def load_weights(model: Recognizer, path: Path) -> None:
    """Fill a model from a safetensors file, exactly.

    Raises UserError naming the first differences if the file belongs to another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not part of this model" for name in found if name not in expected]
    problems += [
        f"{name} is {tuple(found[name].shape)}, the model has {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"{path} is a checkpoint of another model: {'; '.join(problems[:3])}{more}."
        )
    model.load_state_dict(found)


def contiguous_state(model: Recognizer) -> dict[str, Any]:
    """The state dict as safetensors wants it: dense memory, on the CPU, independent of layout."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def describe_environment() -> dict[str, Any]:
    """Versions, machine and command line, for the record of a run."""
    import torch

    return {
        "understudy": metadata.version("understudy"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed package."""
    here = Path(__file__).parent
    if "site-packages" in here.parts:  # a checkout around it would be somebody else's
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return answer.stdout.strip()
    return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def read_json(path: Path) -> Any:
    """Read a file of a run or an artifact. Raises UserError if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: the run is not complete.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: {error}.") from error
    expected = list if path.name in _LISTS else dict
    if not isinstance(content, expected):
        raise UserError(f"{path} is damaged: it holds no {expected.__name__}.")
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of one."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: to a neighbour first, then renamed over the old one."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
