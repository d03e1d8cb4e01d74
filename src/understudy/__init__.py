"""Understudy teaches small action recognisers from big frozen models and ships them to devices.

    import understudy

    model = understudy.create_model("mobilevit-xxs", 15)
    run = understudy.load("runs/demo-student")          # a trained recogniser
    artifact = understudy.load("runs/demo-student/exports/onnx")
    published = understudy.load("hub:OWNER/NAME")

Importing this package loads nothing heavy; each function brings what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from understudy.ship.artifact import ArtifactRecognizer
    from understudy.types import Recognizer

__all__ = ["create_model", "list_models", "load"]


def create_model(name: str, num_classes: int, **options: Any) -> Recognizer:
    """Build a recogniser; see `understudy.models.create_model`."""
    from understudy.models import create_model

    return create_model(name, num_classes, **options)


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    from understudy.models import list_models

    return list_models()


def load(path: str | Path) -> Recognizer | ArtifactRecognizer:
    """Load a run directory or an exported artifact as a callable: uint8 clips in, `Output` out.

    Takes frames (B, T, 3, H, W) uint8 and optionally lengths (B,). `hub:OWNER/NAME` is fetched from
    the Hugging Face hub first. Raises UserError when `path` is none of these.
    """
    from pathlib import Path

    from understudy.run import open_run
    from understudy.ship.artifact import load_artifact

    if isinstance(path, str) and path.startswith("hub:"):
        from understudy.ship.hub import fetch_from_hub

        return load_artifact(fetch_from_hub(path.removeprefix("hub:")))
    if (Path(path) / "contract.json").is_file():
        return load_artifact(Path(path))
    return open_run(path).load_model()
