"""How a recogniser leaves: exported, checked against its run, quantised where that pays, timed."""

from understudy.ship.artifact import (
    Artifact,
    ArtifactError,
    ArtifactRecognizer,
    load_artifact,
    open_artifact,
)
from understudy.ship.export import export_run
from understudy.ship.formats import FORMATS

__all__ = [
    "FORMATS",
    "Artifact",
    "ArtifactError",
    "ArtifactRecognizer",
    "export_run",
    "load_artifact",
    "open_artifact",
]
