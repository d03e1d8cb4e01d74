"""The ranges of every activation of an ONNX graph on training clips, in three ways.

The calibrators of onnxruntime keep every value of every tensor, or histograms of them all, and
their entropy method begins with as many bins as levels, so that it has nothing to choose between.
Here one pass keeps the extremes and a sample of each tensor, and all three ways read that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.formats.quiet import quiet

SAMPLES_PER_CLIP = 2**14
"""Values kept of a tensor and clip, drawn at random places."""

PERCENTILE = 99.99
BINS, LEVELS, STRIDE = 2048, 128, 32

ENDLESS = 1e30
"""What is larger masks something out. Eight bits cannot hold it beside the values that count."""

Range = tuple[float, float]


@dataclass(slots=True)
class Activation:
    """What one tensor was on all clips: its extremes and a sample of its values.

    endless: it also held infinities, or what stands for them; these are in neither of the two.
    """

    low: float = np.inf
    high: float = -np.inf
    endless: bool = False
    parts: list[np.ndarray] = field(default_factory=list)

    def see(self, values: np.ndarray, generator: np.random.Generator) -> None:
        flat = values.ravel()
        bounded = np.abs(flat) < ENDLESS
        if not bounded.all():
            self.endless = True
            flat = flat[bounded]
        if not len(flat):
            return
        self.low, self.high = min(self.low, flat.min()), max(self.high, flat.max())
        if len(flat) > SAMPLES_PER_CLIP:
            flat = flat[generator.integers(len(flat), size=SAMPLES_PER_CLIP)]
        self.parts.append(flat.copy())


def simplify(path: Path, out_path: Path) -> None:
    """Write the same graph with constants folded and shapes noted, which quantising builds on.

    Transposed weights, for one, count as weights only once they have been folded.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from understudy.ship.formats.onnx_form import unscanned

    model = unscanned(onnx.load(str(path)))  # quantisers do not look into a Scan
    versions = {one.domain: one.version for one in model.opset_import}
    del model.opset_import[:]  # nor do they take a domain that is named twice
    for domain, version in versions.items():
        model.opset_import.add(domain=domain, version=version)
    flat = out_path.with_name("flat.onnx")
    onnx.save(model, str(flat))
    with quiet("root"):
        # Symbolic inference adds nothing where all sizes but the batch are fixed.
        quant_pre_process(str(flat), str(out_path), skip_symbolic_shape=True)
    flat.unlink()


def observe(
    path: Path, names: Sequence[str], calibration: Sequence[Sequence[np.ndarray]]
) -> dict[str, Activation]:
    """Run a graph on calibration inputs and see every float tensor in it. names: of the inputs."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    there = {value.name for value in model.graph.output}
    inner = {name for node in model.graph.node for name in node.output if name} - there
    # Names alone: the runtime knows types, also those of operators that ONNX itself has not.
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(inner))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        # By way of a file: a model of 2 GB and more is no message.
        every = Path(folder) / "every.onnx"
        onnx.save(model, str(every))
        session = onnxruntime.InferenceSession(
            str(every), sess_options=options, providers=["CPUExecutionProvider"]
        )
    floats = [one.name for one in session.get_outputs() if one.type == "tensor(float)"]
    seen: dict[str, Activation] = {}
    generator = np.random.default_rng(0)
    for inputs in calibration:
        given = dict(zip(names, inputs, strict=True))
        met = dict(zip(floats, map(np.asarray, session.run(floats, given)), strict=True))
        met |= {name: value for name, value in given.items() if value.dtype == np.float32}
        for name, value in met.items():
            seen.setdefault(name, Activation()).see(value, generator)
    return {name: one for name, one in seen.items() if one.parts or one.endless}


def never_whole(path: Path, seen: dict[str, Activation]) -> list[str]:
    """Names of the nodes that must stay float.

    Those that take or give infinities, which mask attention: rounded to eight bits, minus infinity
    is the least of the ordinary values, and what was masked is looked at again. And products with
    stacks of constant matrices, which the runtime cannot scale by channel.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    endless = {name for name, one in seen.items() if one.endless}
    stacks = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 2}
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if not (np.abs(values) < ENDLESS).all():
                endless.add(tensor.name)
    return [
        node.name
        for node in model.graph.node
        if endless & {*node.input, *node.output}
        or (node.op_type == "MatMul" and stacks & set(node.input))
    ]


def extremes(activation: Activation) -> Range:
    """From the least to the greatest value seen."""
    return activation.low, activation.high


def percentile(activation: Activation) -> Range:
    """Without the outermost 0.005% on either side."""
    tail = (100 - PERCENTILE) / 2
    low, high = np.percentile(np.concatenate(activation.parts), [tail, 100 - tail])
    return float(low), float(high)


def entropy(activation: Activation) -> Range:
    """Where clipping loses least: the least Kullback-Leibler divergence between the values, all
    those beyond a threshold counted at it, and what 128 levels below it can tell of them.

    Source: Migacz 2017, 8-bit inference with TensorRT. It works on magnitudes. Zeros, half of what
    a ReLU gives, are kept exactly by any range and say nothing: their bin counts as its neighbour.
    """
    magnitudes = np.abs(np.concatenate(activation.parts))
    top = float(magnitudes.max())
    if top == 0:
        return extremes(activation)
    counts, edges = np.histogram(magnitudes, BINS, range=(0, top))
    counts[0] = counts[1]
    ends = range(LEVELS, BINS + 1, STRIDE)
    best = edges[min(ends, key=lambda end: _divergence(counts, end))]
    return max(activation.low, -float(best)), min(activation.high, float(best))


def _divergence(counts: np.ndarray, end: int) -> float:
    """Of the counts clipped at bin `end` from what LEVELS levels keep of them."""
    inside = counts[:end].astype(float)
    clipped = inside.copy()
    clipped[-1] += counts[end:].sum()
    starts = np.linspace(0, end, LEVELS + 1).astype(int)[:-1]
    widths = np.diff([*starts, end])
    filled = (clipped > 0).astype(float)
    share = np.add.reduceat(inside, starts) / np.maximum(np.add.reduceat(filled, starts), 1)
    told = np.repeat(share, widths) * filled
    p, q = clipped / clipped.sum(), told / max(told.sum(), 1e-12)
    present = p > 0
    return float((p[present] * np.log(p[present] / np.maximum(q[present], 1e-12))).sum())


def as_tensors_data(seen: dict[str, Activation], way: Callable[[Activation], Range]) -> Any:
    """Ranges in the form that onnxruntime's quantiser reads."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorsData

    found: dict[str, Any] = {}
    for name, activation in seen.items():
        low, high = way(activation) if activation.parts else (0.0, 0.0)
        found[name] = (np.array(low, np.float32), np.array(high, np.float32))
    return TensorsData(CalibrationMethod.MinMax, found)
