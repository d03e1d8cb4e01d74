"""The model card of a published run: what it learned from, how well it does, and what it is not.

A model on the hub is a folder with one artifact per format below it. The card is made from these
artifacts and, where it is at hand, from the run. It names no path of the machine that trained it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.judge.show import figure
from understudy.run import Run, read_json
from understudy.ship.artifact import Artifact
from understudy.ship.formats import FORMATS
from understudy.ship.parity import explain
from understudy.ship.templating import page_template

MEASURES = {
    "top1": ("accuracy", "top-1 accuracy"),
    "top5": ("accuracy", "top-5 accuracy"),
    "macro_f1": ("f1", "macro F1"),
    "calibration_error": ("ece", "calibration error"),
}
"""Metric of a run -> its type on the hub, and its name."""


def render_card(artifacts: Sequence[Artifact], *, name: str, run: Run | None) -> str:
    """README.md of a model on the hub: a YAML header that the hub reads, then text for people.

    artifacts: all published under `name` (OWNER/NAME), of one run; at least one. run: gives
    data, teacher and figures; None: the card says that they are not known.
    """
    contract = artifacts[0].contract
    metrics = _metrics(run)
    return page_template("card.md", figure=figure).render(
        header=_header(artifacts, run, metrics).strip(),
        name=name,
        contract=contract,
        frames=contract["input"]["frames"],
        streams="step" in contract["graphs"],
        data=_data(run),
        teachers=_teachers(run),
        metrics=metrics,
        measures={key: title for key, (_, title) in MEASURES.items() if key in (metrics or {})},
        files=[_described(artifact) for artifact in artifacts],
        threshold=contract.get("unknown_below"),
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


def _metrics(run: Run | None) -> dict[str, Any] | None:
    """What `evaluate` found on the run's own data, or None."""
    path = None if run is None else run.path / "metrics.json"
    return read_json(path) if path is not None and path.exists() else None


def _data(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    data = run.data
    return {
        "name": Path(data["manifest"]).stem if data.get("manifest") else "unknown",
        "clips": {split: sum(counts.values()) for split, counts in data.get("counts", {}).items()},
        "groups": data.get("groups", {}),
        "apart": not run.recipe.data.allow_shared_groups,
        "skipped": len(data.get("skipped", [])),
        "seconds": data.get("clip_seconds"),
        "fingerprint": data.get("fingerprint"),
    }


def _teachers(run: Run | None) -> list[dict[str, Any]]:
    """Who taught, without the paths of the machine where they lay."""
    shown = ("model", "head", "weights_sha256", "parameters", "val")
    return [
        {key: facts.get(key) for key in shown}
        | {"name": facts.get("name") or facts.get("model") or facts.get("kind")}
        for facts in ({} if run is None else run.teachers).values()
    ]


def _described(artifact: Artifact) -> dict[str, Any]:
    """One row of the table of files."""
    contract, latency = artifact.contract, artifact.latency
    rows = [row for row in (latency or {}).get("rows", []) if row["kind"] == "artifact"]
    return {
        "folder": contract["runtime"],
        "title": FORMATS[contract["runtime"]].TITLE,
        "files": [
            {"name": entry["file"], "mb": entry["bytes"] / 1e6,
             "precision": entry.get("precision", contract["precision"])}
            for entry in contract["graphs"].values()
        ],
        "parity": _parity(artifact),
        "hardware": (latency or {}).get("hardware"),
        "rows": rows,
    }  # fmt: skip


def _parity(artifact: Artifact) -> str:
    if not (artifact.path / "parity.json").exists():
        return "not measured"
    parity = artifact.parity
    if parity["passed"] is not None:
        return explain(parity)
    apart = [
        checked["exported_program_difference"]
        for checked in parity["checked"].values()
        if checked is not None
    ]
    if not apart:
        return parity["reason"]
    return f"{parity['reason']}; before conversion the program differs by {max(apart):.2g} at most"
