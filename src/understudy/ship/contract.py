"""The contract of an artifact: all that a device has to know to feed the model and read it."""

from __future__ import annotations

from dataclasses import asdict
from importlib import metadata
from typing import Any

from understudy.run import RunClassifier
from understudy.run.unfinished import unfinished
from understudy.ship.formats import FORMATS
from understudy.ship.schema import CONTRACT_FORMAT, CONTRACT_VERSION
from understudy.types import Recognizer, parameter_count


def build_contract(
    classifier: RunClassifier, graphs: dict[str, dict[str, Any]], *, runtime: str
) -> dict[str, Any]:
    """The content of contract.json. graphs: what is known of each file, by the name of its graph.

    Shapes are for one clip; where `batch` is "any", B clips have B times the rows. How it looks at
    clips, `sampling_of_contract` reads again.
    """
    format_, look = FORMATS[runtime], asdict(classifier.sampling)
    size, frames = look.pop("size"), look.pop("frames")
    holds = {"thresholds": list(classifier.thresholds)} if classifier.thresholds else {}
    return {
        "format": CONTRACT_FORMAT,
        "contract_version": CONTRACT_VERSION,
        "runtime": runtime,
        "precision": format_.PRECISION,
        "executed": format_.RUNS_HERE,
        "run": classifier.name,
        "checkpoint": classifier.checkpoint,
        "model": classifier.model_name,
        "task": classifier.task.name,
        "parameters": parameter_count(classifier.model),
        "classes": list(classifier.classes),
        **holds,
        "unknown_below": classifier.unknown_below,
        "unfinished": unfinished(classifier.run),
        "batch": "any" if format_.ANY_BATCH else 1,
        "graphs": graphs,
        "input": {
            "frames": frames,
            "size": size,
            "layout": "frame, channel, row, column",
            "colour": "RGB, 0 to 255",
            "lengths": "true frames of each clip; they come first, the rest is padding",
        },
        "sampling": look,
        "resize": f"short side to {size} (bilinear, antialiased), centre crop",
        "normalisation": _normalisation(classifier.model),
        "versions": {
            name: metadata.version(name) for name in ("understudy", "torch", *format_.LIBRARIES)
        },
    }


def _normalisation(model: Recognizer) -> dict[str, Any]:
    """The mean and std by which the model normalises pixels itself; null if it has other means."""
    from understudy.models.layers import Normalize

    own = next((module for module in model.modules() if isinstance(module, Normalize)), None)
    return {
        "inside": True,
        "mean": own.mean.flatten().tolist() if own else None,
        "std": own.std.flatten().tolist() if own else None,
    }
