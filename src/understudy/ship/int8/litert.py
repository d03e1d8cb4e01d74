"""Quantisation schemes for LiteRT: those of AI Edge Quantizer, from the FP32 file.

dynamic: weights in INT8, activations quantised as they come, each sum in integers. static:
activations in INT8 as well, with ranges seen on the calibration inputs. What goes in and comes out
stays as it was in both: by default callers of a static file would have to quantise, so that INPUT
and OUTPUT are excluded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.formats import litert
from understudy.ship.formats.quiet import quiet, quiet_native
from understudy.ship.int8 import Job, Scheme, Unsuitable, first_line

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")

PRODUCTS = ("BATCH_MATMUL",)
"""Of two activations, of which the quantiser makes one INT8 that the runtime's kernel refuses."""

STATISTICS = (
    "BATCH_MATMUL",
    "DIV",
    "MEAN",
    "RSQRT",
    "SELECT",
    "SELECT_V2",
    "SOFTMAX",
    "SQUARED_DIFFERENCE",
    "SUB",
    "SUM",
)
"""What attention, masks and normalisation are made of. A mask of minus infinity has no range, and
the reciprocal of a small deviation needs more than 256 steps."""

BOUNDARY = ("INPUT", "OUTPUT")


def _scheme(add_config: str, in_floats: Sequence[str] = (), **bits: int) -> Scheme:
    """One configuration for all operators but those `in_floats`; what comes out is tried.

    add_config: a method of the quantiser, which takes `bits`.
    """
    is_static = "activation_num_bits" in bits

    def quantise(job: Job) -> dict[str, Any]:
        if set(CONVOLUTIONS) <= set(in_floats):
            _has_convolutions(job.float_path)
        signature = job.entry.get("signature", litert.SIGNATURE)
        with quiet("root", "absl"), quiet_native():
            from ai_edge_quantizer import quantizer

            work: Any = quantizer.Quantizer(str(job.float_path))
            getattr(work, add_config)(regex=".*", operation_name="*", **bits)
            for operator in in_floats:
                work.update_quantization_recipe(".*", operator, algorithm_key="no_quantize")
            try:
                ranges = None
                if is_static:
                    small = "|".join(map(re.escape, _small_tensors(job.float_path, signature)))
                    work.update_quantization_recipe(
                        f"^(?:{small});?$", "*", algorithm_key="no_quantize"
                    )
                    names = [tensor["name"] for tensor in job.entry["inputs"]]
                    data = [dict(zip(names, values, strict=True)) for values in job.calibration]
                    ranges = work.calibrate({signature: data}, num_threads=1)
                result = work.quantize(
                    ranges, enable_progress_bar=False, enable_progress_report=False
                ).quantized_model
            except (KeyError, IndexError, ValueError, RuntimeError) as error:
                raise Unsuitable(f"ai-edge-quantizer cannot: {first_line(error)}") from error
        job.out_path.write_bytes(result)
        _refuse_if_idle(job, signature)
        return {"quantiser": f"ai-edge-quantizer {metadata.version('ai-edge-quantizer')}"}

    return quantise


def _refuse_if_idle(job: Job, signature: str) -> None:
    """Whether anything was quantised, and whether what comes out stays as it was. Whether the
    runtime can compute it, measuring finds out."""
    interpreter = _interpreter(job.out_path)
    if not any(tensor["dtype"] == np.int8 for tensor in interpreter.get_tensor_details()):
        raise Unsuitable("nothing in it can be quantised this way")
    outputs = interpreter.get_signature_runner(signature).get_output_details()
    dtypes = [np.dtype(outputs[one["name"]]["dtype"]).name for one in job.entry["outputs"]]
    if dtypes != [one["dtype"] for one in job.entry["outputs"]]:
        raise Unsuitable(f"its outputs would become {', '.join(dtypes)}")


def _small_tensors(path: Path, signature: str) -> list[str]:
    """Names, within the file, of what a static file computes in floats beside `STATISTICS`.

    That is all that is no picture and no matrix product: counts, times and states, whose values
    share no range. And the outputs: no kernel has INT8 in and floats out.
    """
    interpreter = _interpreter(path)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    runner = interpreter.get_signature_runner(signature)
    names = {detail["name"] for detail in runner.get_output_details().values()}
    for op in interpreter._get_ops_details():
        if op["op_name"] not in ("FULLY_CONNECTED", *CONVOLUTIONS):
            outputs = [tensors[index] for index in op["outputs"]]
            names |= {tensor["name"] for tensor in outputs if len(tensor["shape"]) < 4}
    return sorted(names)


def _has_convolutions(path: Path) -> None:
    """Without them a scheme that leaves them out is no other scheme."""
    if not any(op["op_name"] in CONVOLUTIONS for op in _interpreter(path)._get_ops_details()):
        raise Unsuitable("it has no 2-D convolutions to leave in floats")


def _interpreter(path: Path) -> Any:
    with quiet_native():
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(str(path))


_DYNAMIC, _STATIC = "add_dynamic_config", "add_static_config"
_BITS = {"activation_num_bits": 8, "weight_num_bits": 8}
_ALWAYS = (*BOUNDARY, *STATISTICS)

SCHEMES: dict[str, Scheme] = {
    "dynamic": _scheme(_DYNAMIC, PRODUCTS, num_bits=8),
    "dynamic, convolutions float": _scheme(_DYNAMIC, (*PRODUCTS, *CONVOLUTIONS), num_bits=8),
    "static": _scheme(_STATIC, _ALWAYS, **_BITS),
    "static, convolutions float": _scheme(_STATIC, (*_ALWAYS, *CONVOLUTIONS), **_BITS),
}
"""In the order in which they are tried."""
