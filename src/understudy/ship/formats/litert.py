"""LiteRT: one flatbuffer that phones, glasses and microcontrollers run (once TensorFlow Lite).

The file has one signature, and its inputs and outputs carry the names of the contract: a device
calls it by name and need not know an order. uint8 and int32 pass its boundary as they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.core_count import cores
from understudy.ship.formats.flat_c3d import flatten_c3d
from understudy.ship.formats.litert_rewrites import convertible
from understudy.ship.formats.prepare import RowMajor, prepared
from understudy.ship.formats.quiet import quiet, quiet_native
from understudy.ship.graphs import Graph, Session

TITLE: str = "LiteRT"
SUFFIX: str = ".tflite"
EXTRA: str | None = "litert"
MODULES: tuple[str, ...] = ("ai_edge_litert", "litert_torch")
LIBRARIES: tuple[str, ...] = ("ai-edge-litert", "litert-torch")
PLATFORMS: str = "Linux x86-64 and macOS"
ANY_BATCH: bool = False
PRECISION: str = "fp32"
RUNS_HERE: bool = True
THREADS: str = "one at a time may use an interpreter; give each thread its own, or lock it"

SIGNATURE = "serving_default"


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph to one LiteRT file at `path`, for one clip or one frame of a stream."""
    given = dict(zip((spec.name for spec in graph.inputs), graph.example(1), strict=True))
    with quiet("torch.export", "root"), quiet_native():
        import litert_torch

        with torch.no_grad(), RowMajor():
            program = torch.export.export(_Named(graph), (), given)
        module = convertible(program)
        with _constants_kept():
            litert_torch.convert(module, sample_kwargs=given).export(str(path))
    return {"signature": SIGNATURE}


def oldest_runtime(path: Path) -> str:
    """As the converter wrote it into the file, by the operators in it: a release of TensorFlow
    Lite, as LiteRT was called before."""
    from ai_edge_litert.schema_py_generated import Model

    model: Any = Model.GetRootAs(path.read_bytes(), 0)
    metadata = [model.Metadata(one) for one in range(model.MetadataLength())]
    (own,) = (one for one in metadata if one.Name() == b"min_runtime_version")
    version = model.Buffers(own.Buffer()).DataAsNumpy().tobytes().rstrip(b"\0").decode()
    return f"TensorFlow Lite {version}, or any LiteRT"


def open_session(path: Path, entry: dict[str, Any], threads: int | None) -> Session:
    """Load an exported file on the CPU, where XNNPACK computes it. `threads`: None: every core.
    Calls from several threads are computed one after the other: inputs and outputs of a call lie in
    the interpreter."""
    with quiet_native():
        from ai_edge_litert.interpreter import Interpreter

        # Left to itself it takes one thread, not every core.
        interpreter = Interpreter(str(path), num_threads=threads or cores())
        interpreter.allocate_tensors()
    # By the names of the signature: tensors have others, and two outputs can be one tensor.
    runner = interpreter.get_signature_runner(entry.get("signature", SIGNATURE))
    into, out_of = runner.get_input_details(), runner.get_output_details()
    inputs = [into[tensor["name"]]["index"] for tensor in entry["inputs"]]
    outputs = [out_of[tensor["name"]]["index"] for tensor in entry["outputs"]]
    lock = threading.Lock()

    def compute(values: Sequence[np.ndarray]) -> list[np.ndarray]:
        with lock:
            for index, value in zip(inputs, values, strict=True):
                interpreter.set_tensor(index, value)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in outputs]

    return compute


class _Named(nn.Module):
    """A graph that is called, and answers, by the names of the contract, as the file shall be."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.module = flatten_c3d(prepared(graph))
        self.inputs = [spec.name for spec in graph.inputs]
        self.outputs = [spec.name for spec in graph.outputs]
        self.eval()

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        tensors = self.module(*(given[name] for name in self.inputs))
        return dict(zip(self.outputs, tensors, strict=True))


@contextmanager
def _constants_kept() -> Iterator[None]:
    """Within it no constant that the converter has written is freed.

    The converter recognises a constant that it has written before by its shape and memory address.
    If a temporary one were freed, the next of that shape could take its address, and its numbers.
    """
    from litert_torch.backend import inline_consts

    fingerprint: Any = inline_consts._ConstantFingerprint
    original, kept = fingerprint.from_tensor, []

    def from_tensor(tensor: Tensor) -> Any:
        kept.append(tensor)
        return original(tensor)

    fingerprint.from_tensor = staticmethod(from_tensor)
    try:
        yield
    finally:
        fingerprint.from_tensor = original
