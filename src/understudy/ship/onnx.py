"""ONNX: one file that ONNX Runtime runs on servers, phones and in browsers.

A format is a module like this one: `FILE`, `LIBRARIES`, `export`, `describe` and `open_session`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from understudy.types import Output, Recognizer

FILE: str = "model.onnx"
LIBRARIES: tuple[str, ...] = ("onnx", "onnxruntime", "onnxscript")


def export(model: Recognizer, example: tuple[Tensor, Tensor], path: Path) -> None:
    """Write `model` to one ONNX file at `path`.

    example: frames (B, T, 3, S, S) uint8 and lengths (B,) int64, with B of at least 2: exporting
    from a batch of 1 freezes the batch at 1, even where it was declared dynamic. T and S are fixed
    in the file; the batch is not. Graph inputs: `frames`, `lengths`; outputs: `logits`,
    `embedding`.
    """
    assert len(example[0]) >= 2, "a batch of 1 would be frozen into the graph"
    batch = {0: torch.export.Dim("batch", min=1)}
    with _quiet():
        torch.onnx.export(
            model,
            example,
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["frames", "lengths"],
            output_names=["logits", "embedding"],
            dynamic_shapes={"frames": batch, "lengths": batch},
        )


def describe(path: Path) -> dict[str, Any]:
    """What only this format has to say about a file: its operator set."""
    import onnx

    opsets = onnx.load(str(path), load_external_data=False).opset_import
    return {"opset": next(entry.version for entry in opsets if entry.domain in ("", "ai.onnx"))}


def open_session(path: Path, threads: int | None) -> Callable[[Tensor, Tensor], Output]:
    """Load an exported file on the CPU. `threads`: for one operator; None: every core.

    Gives a function of frames (B, T, 3, S, S) uint8 and lengths (B,) int64.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )

    def recognise(frames: Tensor, lengths: Tensor) -> Output:
        feed = {"frames": frames.numpy(force=True), "lengths": lengths.numpy(force=True)}
        logits, embedding = session.run(["logits", "embedding"], feed)
        return Output(torch.as_tensor(logits), torch.as_tensor(embedding))

    return recognise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress and its warnings; what it raises still comes through."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
