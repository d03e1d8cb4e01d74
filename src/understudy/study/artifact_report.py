"""The page of an artifact that lies alone, as one that was fetched from a hub does.

An artifact inside the run that it was made from has that run's page, which holds more.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from understudy.run import Run
from understudy.ship.artifact import Artifact
from understudy.study.devices import deployments
from understudy.study.report import (
    figures,
    read_evaluations,
    read_export,
    read_optional,
    render,
    write_page,
    write_report,
)


def write_report_of(
    source: Run | Artifact,
    out: Path | None = None,
    *,
    device: str = "cpu",
    pictures: bool = True,
) -> Path:
    """Write the page of a run, or of an artifact, and give its path.

    out: by default report.html in the run or, for an artifact that lies alone, in its directory.
    device: where attention maps of a run are computed.
    pictures: whether frames of a run's clips are part of the page.
    Raises UserError if the page cannot be written or the contract cannot be read.
    """
    if isinstance(source, Run):
        return write_report(source, out, device=device, pictures=pictures)
    if source.run is not None:
        return write_report(source.run, out, device=device, pictures=pictures)
    return write_page(out or source.path / "report.html", render_artifact(source))


def render_artifact(artifact: Artifact) -> str:
    """The page as HTML text; what is missing in the artifact is named on it.

    Raises UserError where there is no readable contract, for it says what the files are.
    """
    contract = artifact.contract
    problems: list[str] = []
    export = read_export(artifact.path, problems)
    evaluations = read_evaluations(artifact.path, problems)
    metrics = read_optional(artifact.path / "metrics.json", problems)
    if metrics is None and evaluations:
        _, metrics = evaluations.pop(0)
    return render(
        "artifact.html",
        {
            "artifact": artifact,
            "contract": contract,
            "input": contract.get("input", {}),
            "sampling": contract.get("sampling", {}),
            "versions": contract.get("versions", {}),
            "parity": export["parity"],
            "deployments": deployments([export]),
            "not_exported": [],
            "bench": export["latency"].get("rows", []),
            "hardware": _hardware(export["latency"]),
            "evaluations": evaluations,
            "problems": problems,
            "limits": metrics["warnings"] if metrics else [],
            "written": datetime.now().astimezone(),
            **figures(metrics),
        },
    )


def _hardware(latency: dict[str, Any]) -> str | None:
    """The machine on which an artifact was timed, which is not that of whoever fetched it."""
    return latency.get("hardware")
