"""The model card of a published run: what it learned from, how well it does, and what it is not.

A model on the hub is a folder with one artifact per format below it. The card is made from these
artifacts and, where it is at hand, from the run. It names no path of the machine that trained it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.judge.show import figure
from understudy.run import Run
from understudy.ship.artifact import Artifact
from understudy.ship.formats import FORMATS
from understudy.ship.parity import explain
from understudy.ship.templating import page_template

MEASURES = {
    "top1": ("accuracy", "top-1 accuracy"),
    "top5": ("accuracy", "top-5 accuracy"),
    "map": ("mAP", "mAP"),
    "micro_f1": ("f1", "micro F1"),
    "macro_f1": ("f1", "macro F1"),
    "exact_match": ("exact_match", "all labels right"),
    "calibration_error": ("ece", "calibration error"),
}
"""Metric of a run -> its type on the hub, and its name."""


def render_card(artifacts: Sequence[Artifact], *, name: str, run: Run | None) -> str:
    """README.md of a model on the hub: a YAML header that the hub reads, then text for people.

    artifacts: all published under `name` (OWNER/NAME), of one run; at least one. run: gives
    data, teacher and figures; None: the card says that they are not known.
    """
    contract = artifacts[0].contract
    metrics = run.metrics if run else None
    return page_template("card.md", figure=figure, parity=_parity).render(
        header=_header(artifacts, run, metrics).strip(),
        name=name,
        contract=contract,
        frames=contract["input"]["frames"],
        streams="step" in contract["graphs"],
        run=run,
        dataset=Path(run.data["manifest"]).stem if run else None,
        metrics=metrics,
        measures=MEASURES,
        artifacts=artifacts,
        formats=FORMATS,
    )


def _header(artifacts: Sequence[Artifact], run: Run | None, metrics: dict[str, Any] | None) -> str:
    """The YAML header. No license: only the owner knows under which one the weights may go."""
    from huggingface_hub import EvalResult, ModelCardData

    contract = artifacts[0].contract
    task = "video-classification" if contract["input"]["frames"] > 1 else "image-classification"
    tags = [
        "action-recognition",
        contract["model"],
        *(one.contract["runtime"] for one in artifacts),
    ]
    if run is not None and run.teachers:
        tags.append("knowledge-distillation")
    results = [
        EvalResult(
            task_type=task,
            dataset_type=Path(metrics["manifest"]).stem,
            dataset_name=Path(metrics["manifest"]).stem,
            dataset_split=metrics["split"],
            metric_type=kind,
            metric_name=title,
            metric_value=metrics[key]["value"],
        )
        for key, (kind, title) in MEASURES.items()
        if metrics is not None and key in metrics and metrics[key]["n"]
    ]
    card: dict[str, Any] = {"library_name": "understudy", "pipeline_tag": task, "tags": tags}
    if results:
        card |= {"model_name": contract["run"], "eval_results": results}
        card["metrics"] = list(dict.fromkeys(one.metric_type for one in results))
    return ModelCardData(**card).to_yaml()


def _parity(artifact: Artifact) -> str:
    if not (artifact.path / "parity.json").exists():
        return "not measured"
    parity = artifact.parity
    apart = [
        one["exported_program_difference"] for one in parity.get("checked", {}).values() if one
    ]
    if not apart:
        return explain(parity)
    return f"{explain(parity)}; before conversion the program differs by {max(apart):.2g} at most"
