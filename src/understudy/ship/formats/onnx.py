"""ONNX: one file that ONNX Runtime runs on servers, phones and in browsers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from understudy.ship.formats.quiet import quiet
from understudy.ship.graphs import Graph

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import onnxruntime

TITLE: str = "ONNX Runtime"
SUFFIX: str = ".onnx"
EXTRA: str | None = None
MODULES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
LIBRARIES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")
PLATFORMS: str = "everywhere"
ANY_BATCH: bool = True
PRECISION: str = "fp32"
RUNS_HERE: bool = True


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph to one ONNX file at `path`. The batch stays free, all other sizes are fixed.

    Models that encode each frame by itself are written in the faster of two forms; the notes say
    which, and the framewise form's time over the batched one's (`form_ratio`).
    """
    import onnx_ir as ir

    from understudy.ship.formats.onnx_fold import fold
    from understudy.ship.formats.onnx_form import BATCHED, FRAMEWISE, encodes_frames, join, race
    from understudy.ship.formats.onnx_modules import rewritten

    if not encodes_frames(graph):
        model = _trace(
            rewritten(graph.module),
            graph.example(2),
            [spec.shape[0] for spec in graph.inputs],
            [spec.name for spec in graph.inputs],
            [spec.name for spec in graph.outputs],
            variadic=graph.kind == "step",
        )
        fold(model)
        ir.save(model, path)
        return {"opset": _opset(path)}
    parts = _parts(graph)
    forms = {form: join(*parts, form).SerializeToString() for form in (BATCHED, FRAMEWISE)}
    given = {
        spec.name: value.numpy() for spec, value in zip(graph.inputs, graph.example(1), strict=True)
    }
    sessions = [_session(forms[form], 1) for form in (BATCHED, FRAMEWISE)]
    form, ratio = race(*(partial(session.run, None, given) for session in sessions))
    path.write_bytes(forms[form])
    return {"opset": _opset(path), "form": form, "form_ratio": round(ratio, 3)}


def _parts(graph: Graph) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The encoder of frames and the head of clips of a graph that has both."""
    import onnx_ir as ir

    from understudy.ship.formats.onnx_fold import fold
    from understudy.ship.formats.onnx_form import Encoder, Head
    from understudy.ship.formats.onnx_modules import rewritten

    frames, lengths = graph.example(2)
    encoder = Encoder(cast(nn.Module, rewritten(graph.module).model))
    head = Head(encoder.model, graph.frames)
    with torch.no_grad():
        features = encoder(frames)
    encoding = _trace(encoder, (frames,), [1], ["frames"], ["features"])
    fold(encoding)
    outputs = [spec.name for spec in graph.outputs]
    rest = _trace(head, (features, lengths), [graph.frames, 1], ["features", "lengths"], outputs)
    return ir.to_proto(encoding), ir.to_proto(rest)


def _trace(
    module: nn.Module,
    example: tuple[Tensor, ...],
    rows: list[int],
    inputs: list[str],
    outputs: list[str],
    variadic: bool = False,
) -> ir.Model:
    """The ONNX graph of a module. rows: of each input, for one clip.

    It is traced with a batch of 2: a batch of 1 would be frozen into the file, even where it was
    declared dynamic. variadic: all inputs but the first are one variadic argument.
    """
    batch = torch.export.Dim("batch", min=1)
    shapes: tuple[Any, ...] = tuple({0: count * batch} for count in rows)
    if variadic:
        shapes = (shapes[0], shapes[1:])
    with quiet("torch.onnx", "torch.export", "onnxscript"):
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=shapes,
        )
    assert program is not None
    return program.model


def open_session(
    path: Path, entry: dict[str, Any], threads: int | None
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """Load an exported file on the CPU. `threads`: for one operator; None: every core."""
    session = _session(str(path), threads)
    inputs = [tensor["name"] for tensor in entry["inputs"]]
    outputs = [tensor["name"] for tensor in entry["outputs"]]

    def compute(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = session.run(outputs, dict(zip(inputs, values, strict=True)))
        return cast(list[np.ndarray], found)

    return compute


def _session(model: str | bytes, threads: int | None) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model, sess_options=options, providers=["CPUExecutionProvider"]
    )


def _opset(path: Path) -> int:
    import onnx

    opsets = onnx.load(str(path), load_external_data=False).opset_import
    return next(entry.version for entry in opsets if entry.domain in ("", "ai.onnx"))
