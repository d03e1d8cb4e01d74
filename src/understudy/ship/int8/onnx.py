"""Ways of quantising an ONNX file with onnxruntime.

Weights are signed. Activations are unsigned, since the kernels of x86 CPUs are slower with signed
ones (a MobileViT took 2.3 times as long as in FP32 instead of 1.2). CPUs without VNNI saturate
where both are large: measure on what you ship to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.formats.quiet import quiet
from understudy.ship.graphs import Graph
from understudy.ship.int8 import Recipe, Unsuitable
from understudy.ship.int8.onnx_fallback import least_harmful
from understudy.ship.int8.onnx_ranges import (
    Activation,
    Range,
    as_tensors_data,
    entropy,
    extremes,
    never_whole,
    observe,
    percentile,
    simplify,
)

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that have weights and kernels for whole numbers."""

FEWEST_WEIGHTS = 1024
"""Smaller tensors stay float in a weight-only file: scales, biases, positions of a few tokens."""


def dynamic(
    graph: Graph,
    float_path: Path,
    entry: dict[str, Any],
    calibration: Sequence[Sequence[np.ndarray]],
    out_path: Path,
) -> dict[str, Any]:
    """Matrix products in whole numbers, with the ranges of each input taken as it comes."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=out_path.parent) as folder:
        simple = Path(folder) / "simple.onnx"
        simplify(float_path, simple)
        model = onnx.load(str(simple))
        if not _weighted(model, ("Gemm", "MatMul")):
            raise Unsuitable("the graph has no matrix product with constant weights")
        # What the exporter noted of the outputs of Gemm contradicts what becomes of them.
        model.graph.ClearField("value_info")
        with quiet("root"):
            quantize_dynamic(
                model,
                out_path,
                op_types_to_quantize=["MatMul", "Gemm"],
                weight_type=QuantType.QInt8,
            )
    return _notes(entry)


def static(way: Callable[[Activation], Range]) -> Recipe:
    """All that has kernels for whole numbers, with ranges fixed from training clips."""

    def quantise(
        graph: Graph,
        float_path: Path,
        entry: dict[str, Any],
        calibration: Sequence[Sequence[np.ndarray]],
        out_path: Path,
    ) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=out_path.parent) as folder:
            ready = _prepare(float_path, entry, calibration, Path(folder), way)
            _write_static(ready, out_path)
        return _notes(entry)

    return quantise


def float_fallback(
    graph: Graph,
    float_path: Path,
    entry: dict[str, Any],
    calibration: Sequence[Sequence[np.ndarray]],
    out_path: Path,
) -> dict[str, Any]:
    """As static, with those stretches of the graph left float that harm the logits most."""
    with tempfile.TemporaryDirectory(dir=out_path.parent) as folder:
        ready = _prepare(float_path, entry, calibration, Path(folder), percentile)
        trial = Path(folder) / "trial.onnx"

        def write(excluded: Sequence[str]) -> Path:
            _write_static(ready, trial, excluded)
            return trial

        weighted = _weighted(_load(ready.simple), WEIGHTED)
        excluded, notes = least_harmful(ready.simple, weighted, entry, calibration, write)
        _write_static(ready, out_path, excluded)
    return notes | _notes(entry)


def weight_only(
    graph: Graph,
    float_path: Path,
    entry: dict[str, Any],
    calibration: Sequence[Sequence[np.ndarray]],
    out_path: Path,
) -> dict[str, Any]:
    """Weights of 8 bits with a scale for each channel; all arithmetic stays float.

    The weights are scaled by Cast and Mul, not by DequantizeLinear: a session folds the former
    when it loads the file and is then as fast as with float weights, and computes the latter anew
    in each call.
    """
    import onnx

    model = onnx.load(str(float_path))
    if not sum(_store_whole(part) for part in _graphs_in(model.graph)):
        raise Unsuitable(f"no tensor of weights has {FEWEST_WEIGHTS} values or more")
    onnx.save(model, str(out_path))
    return {}


@dataclass(frozen=True, slots=True)
class _Ready:
    """What static quantisation starts from: two files, and the nodes that cannot take part."""

    simple: Path
    ranges: Path
    float_nodes: list[str]


RECIPES: dict[str, Recipe] = {
    "dynamic": dynamic,
    "static min-max": static(extremes),
    "static percentile": static(percentile),
    "static entropy": static(entropy),
    "static, float fallback": float_fallback,
    "weight-only": weight_only,
}


def _prepare(
    float_path: Path,
    entry: dict[str, Any],
    calibration: Sequence[Sequence[np.ndarray]],
    folder: Path,
    way: Callable[[Activation], Range],
) -> _Ready:
    """The simplified graph and the ranges of its activations, as two files in `folder`."""
    from onnxruntime.quantization import save_tensors_data

    simple, ranges = folder / "simple.onnx", folder / "ranges.json"
    simplify(float_path, simple)
    if not _weighted(_load(simple), WEIGHTED):
        raise Unsuitable("the graph has no convolution or matrix product with constant weights")
    seen = observe(simple, [tensor["name"] for tensor in entry["inputs"]], calibration)
    save_tensors_data(as_tensors_data(seen, way), ranges)
    return _Ready(simple, ranges, never_whole(simple, seen))


def _write_static(ready: _Ready, out_path: Path, excluded: Sequence[str] = ()) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with quiet("root"):
        quantize_static(
            ready.simple,
            out_path,
            calibration_cache_path=ready.ranges,
            calibrate_method=CalibrationMethod.MinMax,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*ready.float_nodes, *excluded],
        )


def _notes(entry: dict[str, Any]) -> dict[str, Any]:
    """Quantised graphs encode all frames at once, whatever form the FP32 file has."""
    return {"form": "batched", "form_ratio": None} if "form" in entry else {}


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))


def _weighted(model: Any, kinds: Sequence[str]) -> list[str]:
    """Names of the nodes of these kinds whose second input is constant, in the graph's order."""
    constant = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in kinds and node.input[1] in constant
    ]


def _graphs_in(graph: Any) -> Iterator[Any]:
    """A graph and those inside its nodes, such as the body of a Scan."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs_in(attribute.g)


def _store_whole(graph: Any) -> int:
    """Store the weights of a graph as int8 and scale them first of all; gives their number."""
    from onnx import TensorProto, helper, numpy_helper

    kept, nodes = [], []
    for tensor in graph.initializer:
        few = len(tensor.dims) < 2 or np.prod(tensor.dims) < FEWEST_WEIGHTS
        if tensor.data_type != TensorProto.FLOAT or few:
            kept.append(tensor)
            continue
        name = tensor.name
        whole, scale = _by_channel(numpy_helper.to_array(tensor))
        kept.append(numpy_helper.from_array(whole, f"{name}_int8"))
        kept.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
        ]
    before = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*nodes, *before])
    return len(nodes) // 2


def _by_channel(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights as int8 and the scale of each channel, with as many dimensions as the weights.

    Channels are those of the first or of the last dimension, whichever keeps more of the weights:
    convolutions have theirs in front, products with a matrix at the end.
    """
    found = []
    for axis in (0, -1):
        others = tuple(place for place in range(weights.ndim) if place != axis % weights.ndim)
        scale = np.abs(weights).max(axis=others, keepdims=True) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        whole = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
        found.append((float(((whole * scale - weights) ** 2).sum()), whole, scale))
    _, whole, scale = min(found, key=lambda one: one[0])
    return whole, scale
