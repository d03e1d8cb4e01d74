"""ONNX: one file that ONNX Runtime runs on servers, phones and in browsers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from understudy.core_count import cores
from understudy.ship.formats.quiet import quiet
from understudy.ship.graphs import Graph, Session

TITLE: str = "ONNX Runtime"
SUFFIX: str = ".onnx"
EXTRA: str | None = None
MODULES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
LIBRARIES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
PLATFORMS: str = "everywhere"
ANY_BATCH: bool = True
PRECISION: str = "fp32"
RUNS_HERE: bool = True
THREADS: str = "several may run one session at a time"

_RELEASES = (("1.14", 18, 8), ("1.15", 19, 8), ("1.16", 19, 9), ("1.17", 20, 9), ("1.18", 21, 10))
"""Of ONNX Runtime, with the newest opset and the newest version of the file format that each reads:
https://onnxruntime.ai/docs/reference/compatibility.html"""


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph to one ONNX file at `path`. The batch stays free, all other sizes are fixed.

    It is traced with a batch of 2: a batch of 1 would be frozen into the file, even where it was
    declared dynamic.
    """
    from understudy.ship.formats.onnx_modules import rewritten

    batch = torch.export.Dim("batch", min=1)
    shapes: tuple[Any, ...] = tuple({0: spec.shape[0] * batch} for spec in graph.inputs)
    if graph.kind == "step":  # all but the frame are one variadic argument
        shapes = (shapes[0], shapes[1:])
    with quiet("torch.onnx", "torch.export", "onnxscript"):
        program = torch.onnx.export(
            rewritten(graph),
            graph.example(2),
            dynamo=True,
            verbose=False,
            input_names=[spec.name for spec in graph.inputs],
            output_names=[spec.name for spec in graph.outputs],
            dynamic_shapes=shapes,
            custom_translation_table={torch.ops.aten.mean.dim: _mean},
        )
    assert program is not None
    for node in program.model.graph:  # lines of source code, with the paths of this machine
        node.metadata_props.clear()
    program.save(path, external_data=False)
    return {"opset": program.model.opset_imports[""]}


def oldest_runtime(path: Path) -> str:
    """By the file's opset and format; one that is newer than the table needs the release that it
    was checked with."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    opset = max(one.version for one in model.opset_import if not one.domain)
    fitting = (
        release
        for release, newest, newest_format in _RELEASES
        if opset <= newest and model.ir_version <= newest_format
    )
    return f"{TITLE} {next(fitting, onnxruntime.__version__)}"


def _mean(values: Any, dim: Any, keepdim: bool = False, dtype: int = -1) -> Any:
    """The mean over a picture's rows and columns as GlobalAveragePool: the same numbers, but one
    that ONNX Runtime computes in the layout of its convolutions."""
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops.core import aten_mean_dim

    if len(values.shape) != 4 or sorted(axis % 4 for axis in dim) != [2, 3] or dtype != -1:
        return aten_mean_dim(values, dim, keepdim, dtype)
    pooled: Any = op.GlobalAveragePool(values)
    return pooled if keepdim else op.Flatten(pooled)


def open_session(path: Path, entry: dict[str, Any], threads: int | None) -> Session:
    """Load an exported file on the CPU. `threads`: for one operator; None: every core. Several
    threads may call it at a time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
    inputs = [tensor["name"] for tensor in entry["inputs"]]
    outputs = [tensor["name"] for tensor in entry["outputs"]]

    def compute(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = session.run(outputs, dict(zip(inputs, values, strict=True)))
        return cast(list[np.ndarray], found)

    return compute
