"""ONNX: one file that ONNX Runtime runs on servers, phones and in browsers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.ship.formats.quiet import quiet
from understudy.ship.graphs import Graph

TITLE = "ONNX Runtime"
SUFFIX = ".onnx"
EXTRA: str | None = None
MODULES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
LIBRARIES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
PLATFORMS = "everywhere"
ANY_BATCH = True
PRECISION = "fp32"
RUNS_HERE = True


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph to one ONNX file at `path`. The batch stays free, all other sizes are fixed.

    It is traced with a batch of 2: a batch of 1 would be frozen into the file, even where it was
    declared dynamic.
    """
    batch = torch.export.Dim("batch", min=1)
    rows = {spec.name: spec.shape[0] for spec in graph.inputs}
    shapes = tuple({0: rows[spec.name] * batch} for spec in graph.inputs)
    if graph.kind == "step":  # one frame, and the state as one variadic argument
        shapes = (shapes[0], shapes[1:])
    with quiet("torch.onnx", "torch.export", "onnxscript"):
        torch.onnx.export(
            graph.module,
            graph.example(2),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=[spec.name for spec in graph.inputs],
            output_names=[spec.name for spec in graph.outputs],
            dynamic_shapes=shapes,
        )
    return {"opset": _opset(path)}


def open_session(
    path: Path, entry: dict[str, Any], threads: int | None
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Load an exported file on the CPU. `threads`: for one operator; None: every core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    inputs = [tensor["name"] for tensor in entry["inputs"]]
    outputs = [tensor["name"] for tensor in entry["outputs"]]

    def compute(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        return session.run(outputs, dict(zip(inputs, values, strict=True)))

    return compute


def _opset(path: Path) -> int:
    import onnx

    opsets = onnx.load(str(path), load_external_data=False).opset_import
    return next(entry.version for entry in opsets if entry.domain in ("", "ai.onnx"))
