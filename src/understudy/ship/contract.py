"""The contract of an artifact: all that a device has to know to feed the model and read it."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from understudy.judge.unknown import known_threshold
from understudy.run import Run
from understudy.ship.artifact import CONTRACT_FORMAT, CONTRACT_VERSION
from understudy.ship.formats import FORMATS
from understudy.types import Recognizer, parameter_count

PICTURE_WINDOW_S = 1.0
"""Window of a run that was trained on pictures and so knows no length of a clip."""

PICTURE_STEP_S = 0.2
"""Seconds between frames for a run that was trained on pictures and so knows no pace. Also the
default time constant of smoothing where every frame is read; elsewhere that is the step."""


def build_contract(
    run: Run, model: Recognizer, graphs: dict[str, dict[str, Any]], *, runtime: str, checkpoint: str
) -> dict[str, Any]:
    """The content of contract.json. graphs: what is known of each file, by the name of its graph.

    Shapes are for one clip; where `batch` is "any", B clips have B times the rows.
    """
    data, format_ = run.recipe.data, FORMATS[runtime]
    return {
        "format": CONTRACT_FORMAT,
        "contract_version": CONTRACT_VERSION,
        "runtime": runtime,
        "precision": format_.PRECISION,
        "executed": format_.RUNS_HERE,
        "run": run.name,
        "checkpoint": checkpoint,
        "model": run.recipe.model.name,
        "parameters": parameter_count(model),
        "classes": list(run.classes),
        "unknown_below": known_threshold(run, checkpoint),
        "batch": "any" if format_.ANY_BATCH else 1,
        "graphs": graphs,
        "input": {
            "frames": frames_taken(run, model),
            "size": data.size,
            "layout": "frame, channel, row, column",
            "colour": "RGB, 0 to 255",
            "lengths": "true frames of each clip; they come first, the rest is padding",
        },
        "sampling": {
            "method": data.sampling,
            "stride_s": data.stride_s,
            "step_s": step_seconds(run),
            "clip_seconds": run.data["clip_seconds"],
            "hold_pictures": data.pseudo is not None,
        },
        "resize": f"short side to {data.size} (bilinear, antialiased), centre crop",
        "normalisation": _normalisation(model),
        "versions": {
            name: metadata.version(name) for name in ("understudy", "torch", *format_.LIBRARIES)
        },
    }


def load_for_export(run: Run, checkpoint: str) -> Recognizer:
    """The run's model, for pictures of the size that it was trained on."""
    model = run.load_model(checkpoint)
    model.input_size = run.recipe.data.size
    return model


def frames_taken(run: Run, model: Recognizer) -> int:
    """T of the artifact: what the model needs, 1 for single pictures, otherwise as in training."""
    if model.clip_frames is not None:
        return model.clip_frames
    pictures = run.data["clip_seconds"] == 0 and run.recipe.data.pseudo is None
    return 1 if pictures else run.recipe.data.frames


def step_seconds(run: Run) -> float | None:
    """Seconds from one frame of a stream to the next: those between the frames of training.

    That is the median clip's length over the number of frames, or the stride of dense sampling.
    None where training took neighbouring frames (centre). PICTURE_STEP_S for pictures; where
    training made pseudo-clips of them, these are spread over the window of `predict`.
    """
    data, clip_seconds = run.recipe.data, run.data["clip_seconds"]
    if clip_seconds == 0:
        return PICTURE_STEP_S if data.pseudo is None else PICTURE_WINDOW_S / data.frames
    if data.sampling == "centre":
        return None
    return data.stride_s or clip_seconds / data.frames


def _normalisation(model: Recognizer) -> dict[str, Any]:
    """The mean and std by which the model normalises pixels itself; null if it has other means."""
    from understudy.models.layers import Normalize

    own = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    return {
        "inside": True,
        "mean": own.mean.flatten().tolist() if own else None,
        "std": own.std.flatten().tolist() if own else None,
    }
