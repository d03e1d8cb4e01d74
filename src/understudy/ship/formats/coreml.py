"""Core ML: packages for iPhones, iPads, Macs and Apple's headsets; converted here, executed there.

An ML Program for iOS 16 and macOS 13 or later. It computes in float16, which is what the Neural
Engine and the GPU of such a device compute in; in float32 the Neural Engine would not be used. The
arithmetic of a running mean stays in float32: after some hundred frames the step of the mean is
less than float16 can add to it. Pixels come as float32 numbers from 0 to 255, since Core ML has
no arrays of bytes; they are exact in both.

Core ML runs on Apple's machines only. What can be checked without one is: the program that was
converted is compared with the model, in PyTorch, and the package is compared with the graph.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy.errors import UserError
from understudy.ship.formats.coreml_rewrites import floats, program_of
from understudy.ship.formats.quiet import quiet
from understudy.ship.graphs import Graph, Session, TensorSpec
from understudy.types import parameter_count

TITLE: str = "Core ML"
SUFFIX: str = ".mlpackage"
EXTRA: str | None = "coreml"
MODULES: tuple[str, ...] = ("coremltools",)
LIBRARIES: tuple[str, ...] = ("coremltools",)
PLATFORMS: str = "it converts on Linux x86-64 and macOS, and runs on Apple devices"
ANY_BATCH: bool = False
PRECISION: str = "fp16"
RUNS_HERE: bool = False
THREADS: str = "one at a time may use an MLModel; give each thread its own, or lock it"

DEPLOYMENT_TARGET = "iOS16"
SPECIFICATION_VERSION = 7
"""What `SYSTEMS` read, and no older ones."""
SYSTEMS = "iOS 16, macOS 13"
TOLERANCE = 1e-4
"""How far the program before conversion may lie from the model, relative as in parity."""


class ConversionError(RuntimeError):
    """A package that is not what the graph says: a defect of the conversion, never the user's."""


def export(graph: Graph, path: Path) -> dict[str, Any]:
    """Write a graph for one clip to the package at `path`. Raises ConversionError.

    Gives its inputs and outputs with Core ML's types, and `checked`: what was compared and how far
    apart it was. `executed` is False always.
    """
    program, difference = _program(graph)
    inputs, outputs = _named(graph.inputs), _named(graph.outputs)
    with _quiet():
        import coremltools

        model: Any = coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(coremltools.target, DEPLOYMENT_TARGET),
            compute_precision=coremltools.transform.FP16ComputePrecision(
                op_selector=lambda operation: not _is_running(operation)
            ),
            outputs=[
                coremltools.TensorType(name=spec.name, dtype=np.dtype(spec.dtype).type)
                for spec in outputs
            ],
            skip_model_load=True,
        )
        spec = model.get_spec()
        for given, wanted in zip(list(spec.description.input), inputs, strict=True):
            coremltools.utils.rename_feature(spec, given.name, wanted.name)
        named = coremltools.models.MLModel(
            spec, weights_dir=model.weights_dir, skip_model_load=True
        )
        named.short_description = f"{graph.kind} graph"
        named.save(str(path))
    constants = check_package(path, inputs, outputs, parameter_count(graph.model))
    return {
        "inputs": [spec.to_json() for spec in inputs],
        "outputs": [spec.to_json() for spec in outputs],
        "deployment_target": SYSTEMS,
        "constants": constants,
        "checked": {"spec": True, "exported_program_difference": difference, "executed": False},
    }


def oldest_runtime(path: Path) -> str:
    """The systems that read a package of this version, which exporting has compared it with."""
    return SYSTEMS


def open_session(path: Path, entry: dict[str, Any], threads: int | None) -> Session:
    """Refuses: Core ML is executed by Apple's systems only. Always raises UserError."""
    raise UserError(
        f"{path} is for {TITLE}, which this package converts to but does not execute: {PLATFORMS}. "
        "Its README.md has the code for a device. Here, load the run itself, or export it to onnx."
    )


def check_package(
    path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], parameters: int
) -> int:
    """Compare a package with what it should be, and give how many numbers its weights hold.

    Folding leaves some of a model's `parameters` out (batch statistics, a query that never
    changes), but never half of them. Raises ConversionError.
    """
    with _quiet():
        import coremltools

        spec: Any = coremltools.utils.load_spec(str(path))
    if spec.specificationVersion != SPECIFICATION_VERSION:
        raise ConversionError(
            f"{path} has specification version {spec.specificationVersion}, "
            f"not {SPECIFICATION_VERSION}."
        )
    for side, wanted, given in (
        ("inputs", inputs, spec.description.input),
        ("outputs", outputs, spec.description.output),
    ):
        found, expected = [_described(one) for one in given], list(wanted)
        if found != expected:
            raise ConversionError(f"The {side} of {path} are {found}, not {expected}.")
    constants = _constants(spec)
    if constants < parameters / 2:
        raise ConversionError(
            f"{path} holds {constants:,} numbers of {parameters:,} parameters: weights are missing."
        )
    return constants


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter draws its progress on stderr, and complains there as it is imported."""
    with quiet("coremltools"), contextlib.redirect_stderr(io.StringIO()):
        yield


def _program(graph: Graph) -> tuple[Any, float]:
    """The program to convert, and how far its outputs lie from those of the graph."""
    with quiet("torch.export"):
        program = program_of(graph)
        example = graph.example(1)
        with torch.inference_mode():
            expected = graph.module(*example)
            given = program.module(check_guards=False)(*floats(example))
    difference = max(
        float((one.double() - other.double()).abs().max() / max(1.0, float(one.abs().max())))
        for one, other in zip(expected, given, strict=True)
    )
    if not difference <= TOLERANCE:
        raise ConversionError(
            f"The program for {TITLE} differs from the model by {difference:.2g}; {TOLERANCE:.2g} "
            "is allowed."
        )
    return program, difference


def _named(specs: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Inputs or outputs as Core ML has them: float32 for bytes."""
    return [
        TensorSpec(spec.name, "float32" if spec.dtype == "uint8" else spec.dtype, spec.shape)
        for spec in specs
    ]


def _is_running(operation: Any) -> bool:
    """Whether an operation of the converter's program stays in float32: sums, differences and
    quotients that take a flat state (1, N) as it comes in, a running mean and its count."""
    if operation.op_type not in ("add", "sub", "real_div") or len(operation.outputs[0].shape) > 2:
        return False
    return any(
        # Without an operation it is an input of the program; the first are the pixels, of rank 4.
        len(value.shape) == 2 if value.op is None else _is_running(value.op)
        for value in (operation.x, operation.y)
    )


def _described(feature: Any) -> TensorSpec:
    """An input or output of a package. A type that none of ours has keeps Core ML's number."""
    array = feature.type.multiArrayType
    kinds = {array.FLOAT32: "float32", array.INT32: "int32"}
    kind = kinds.get(array.dataType, str(array.dataType))
    return TensorSpec(feature.name, kind, tuple(array.shape))


def _constants(spec: Any) -> int:
    """How many numbers the weights of an ML Program hold."""
    return sum(
        math.prod(size.constant.size for size in value.type.tensorType.dimensions)
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        for value in operation.attributes.values()
        if value.WhichOneof("value") == "blobFileValue"
    )
