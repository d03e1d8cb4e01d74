"""Weights of a model as safetensors, written and read exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.run.files import write_bytes
from understudy.types import Recognizer


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


def run_of_weights(path: Path) -> str | None:
    """The name that the run which wrote a checkpoint has in its environment.json; None where the
    file does not say. Raises UserError for a file that cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            return (stored.metadata() or {}).get("run")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error


def contiguous_state(model: Recognizer) -> dict[str, Any]:
    """The state dict as safetensors wants it: dense memory, on the CPU, independent of layout."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
