"""How often a run or an artifact is right: looked up where it was measured."""

from __future__ import annotations

from typing import NamedTuple

from understudy.run import Run
from understudy.ship.artifact import Artifact


class Accuracy(NamedTuple):
    """Top-1 accuracy, 0 to 1, with its 95% interval, on `top1_n` clips of a split."""

    top1: float
    top1_low: float
    top1_high: float
    top1_n: int
    top1_split: str


def accuracy_of_run(run: Run, checkpoint: str = "best") -> Accuracy | None:
    """What `evaluate` found on the run's own data; None for a checkpoint it did not see, and where
    several labels may hold, since mAP is no accuracy."""
    metrics = run.metrics
    if metrics is None or "top1" not in metrics or metrics.get("checkpoint") != checkpoint:
        return None
    figure = metrics["top1"]
    return Accuracy(figure["value"], figure["low"], figure["high"], figure["n"], metrics["split"])


def accuracy_of_artifact(artifact: Artifact) -> Accuracy | None:
    """What quantising measured; without INT8 that of the run around the artifact, whose outputs it
    gives, as its parity says. None where neither is there."""
    report = artifact.int8 or {"split": "", "graphs": {}}
    table = report["graphs"].get("clip")
    if table is not None and table["chosen"] != "fp32":
        row = next(row for row in table["rows"] if row["recipe"] == table["chosen"])
        if row.get("top1") is None:
            return None
        return Accuracy(row["top1"], row["top1_low"], row["top1_high"], row["n"], report["split"])
    return accuracy_of_run(artifact.run, artifact.checkpoint) if artifact.run else None
