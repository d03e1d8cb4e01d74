"""The deployment table of the report: what of a run can go to which device, and what was measured.

A cell says only what a file of the artifact says. What could not be executed here is "converted
only", whatever else is known of it, and what was not measured is left open.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.run import Run
from understudy.ship.formats import FORMATS

_WHAT = {"clip": "a clip", "step": "a new frame"}
_ROWS = {"clip": "clip", "step": "frame"}
"""Graph -> what a row of latency.json calls that which it reads."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One exported file. Fields are None where nothing was measured or there is nothing to say."""

    runtime: str
    what: str
    file: str
    precision: str
    file_bytes: int | None
    executed: bool
    logits_difference: float | None
    """Largest, of the file that ships; of logits, relative, as parity.json defines it."""
    same_answer: float | None
    compared: int | None
    """Clips, or frames of a stream, that `same_answer` is a share of."""
    latency: dict[str, Any] | None
    """The row of latency.json."""
    quantised: dict[str, Any] | None
    """Its part of int8.json: every way that was tried, and a sentence."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A format that the run was not exported to, and the command that would."""

    runtime: str
    command: str


def deployments(exports: list[dict[str, Any]]) -> list[Deployment]:
    """A row for each file of each artifact, those with a whole contract.

    exports: format, and content of contract, parity, latency and int8 (empty where missing).
    """
    return [
        _deployment(export, graph, entry)
        for export in exports
        for graph, entry in export["contract"].get("graphs", {}).items()
    ]


def not_exported(run: Run, exports: list[dict[str, Any]]) -> list[Missing]:
    """The formats that are missing among the exports."""
    there = {export["contract"].get("runtime") for export in exports}
    return [
        Missing(form.TITLE, _command(run.path, name))
        for name, form in FORMATS.items()
        if name not in there
    ]


def _deployment(export: dict[str, Any], graph: str, entry: dict[str, Any]) -> Deployment:
    contract, parity = export["contract"], export["parity"]
    runtime = contract["runtime"]
    parity = parity.get("shipped", parity)  # of INT8, where that is what ships
    if graph == "step":
        parity = parity.get("stream", {})
    rows = export["latency"].get("rows", [])
    return Deployment(
        runtime=FORMATS[runtime].TITLE if runtime in FORMATS else runtime,
        what=_WHAT[graph],
        file=entry["file"],
        precision=entry.get("precision", contract["precision"]),
        file_bytes=entry.get("bytes"),
        executed=contract["executed"],
        logits_difference=parity.get("logits_difference"),
        same_answer=parity.get("top1_agreement"),
        compared=parity.get("clips", parity.get("frames")),
        latency=next((row for row in rows if _is_of(row, graph)), None),
        quantised=export["int8"].get("graphs", {}).get(graph),
    )


def _is_of(row: dict[str, Any], graph: str) -> bool:
    return row.get("kind") == "artifact" and row.get("what") == _ROWS[graph]


def _command(run: Path, format: str) -> str:
    return f"understudy export {shlex.quote(str(run))} --to {format}"
