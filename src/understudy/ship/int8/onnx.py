"""Quantisation schemes for ONNX files, computed by onnxruntime.

Weights are signed. Activations are unsigned, since the kernels of x86 CPUs are slower with signed
ones (a MobileViT took 2.3 times as long as in FP32 instead of 1.2). CPUs without VNNI saturate
where both are large: measure on what you ship to.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.formats.quiet import quiet
from understudy.ship.int8 import Job, Scheme, Unsuitable

ENDLESS = 1e30
"""What is larger masks something out. Eight bits cannot hold it beside the values that count."""


def dynamic(job: Job) -> dict[str, Any]:
    """Matrix products in whole numbers, with the ranges of each input taken as it comes."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=job.out_path.parent) as folder, quiet("root"):
        model = _load(_simplified(job, Path(folder), ("Gemm", "MatMul")))
        # What the exporter noted of the outputs of Gemm contradicts what becomes of them.
        model.graph.ClearField("value_info")
        quantize_dynamic(
            model,
            job.out_path,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
        )
    return {}


def static(job: Job) -> dict[str, Any]:
    """All that has kernels for whole numbers, weights per channel; the range of an activation goes
    from the least to the greatest value that it had on training clips."""
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
        save_tensors_data,
    )
    from onnxruntime.quantization.calibrate import TensorsData

    with tempfile.TemporaryDirectory(dir=job.out_path.parent) as folder, quiet("root"):
        simple = _simplified(job, Path(folder), ("Conv", "Gemm", "MatMul"))
        ranges = _ranges(simple, job)
        endless = {name for name, ends in ranges.items() if not (np.abs(ends) < ENDLESS).all()}
        ranges |= dict.fromkeys(endless, (np.zeros(1, np.float32),) * 2)
        saved = Path(folder) / "ranges.json"
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, ranges), saved)
        quantize_static(
            simple,
            job.out_path,
            calibration_cache_path=saved,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_never_whole(_load(simple).graph, endless),
        )
    return {}


SCHEMES: dict[str, Scheme] = {"dynamic": dynamic, "static min-max": static}
"""In the order in which they are tried."""


def _simplified(job: Job, folder: Path, kinds: tuple[str, ...]) -> Path:
    """The FP32 file with constants folded and shapes noted, which quantising builds on: transposed
    weights, for one, count as weights only then. Raises Unsuitable if no operator of these kinds
    has weights."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = folder / "simple.onnx"
    # Symbolic inference adds nothing where all sizes but the batch are fixed.
    quant_pre_process(str(job.float_path), str(path), skip_symbolic_shape=True)
    graph = _load(path).graph
    constant = {tensor.name for tensor in graph.initializer}
    if not any(node.op_type in kinds and node.input[1] in constant for node in graph.node):
        raise Unsuitable(f"the graph has no {' or '.join(kinds)} with constant weights")
    return path


def _ranges(simple: Path, job: Job) -> dict[str, Any]:
    """Name of each float tensor -> the least and the greatest value on calibration inputs."""
    from onnxruntime.quantization import CalibrationDataReader, create_calibrator

    class Inputs(CalibrationDataReader):
        def __init__(self) -> None:
            names = [tensor["name"] for tensor in job.entry["inputs"]]
            self.left = (dict(zip(names, values, strict=True)) for values in job.calibration)

        def get_next(self) -> Any:
            return next(self.left, None)

    calibrator = create_calibrator(simple, augmented_model_path=str(simple.with_suffix(".watched")))
    calibrator.collect_data(Inputs())
    return {name: data.range_value for name, data in calibrator.compute_data().data.items()}


def _never_whole(graph: Any, endless: set[str]) -> list[str]:
    """Names of the nodes that must stay float.

    Those that take or give infinities, which mask attention: rounded to eight bits, minus infinity
    is the least of the ordinary values, and what was masked is looked at again. And products with
    stacks of constant matrices, which the runtime cannot scale by channel.
    """
    from onnx import TensorProto, numpy_helper

    stacks = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 2}
    endless = endless | {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and not (np.abs(numpy_helper.to_array(tensor)) < ENDLESS).all()
    }
    return [
        node.name
        for node in graph.node
        if endless & {*node.input, *node.output}
        or (node.op_type == "MatMul" and stacks & set(node.input))
    ]


def _load(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))
