"""An exported model in use: its files, called and stepped as the model of a run is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.ship.formats import FORMATS
from understudy.ship.graphs import Session, TensorSpec, begin
from understudy.task import SINGLE_LABEL, task_named
from understudy.types import Output, Sampling, State


class ArtifactRecognizer:
    """An exported model that is called, and stepped, like the run it was made from: a `Classifier`.

    A file is opened when it is first used, with as many threads as were asked for. Several threads
    may call and step one recogniser at a time: ONNX Runtime computes their calls side by side,
    LiteRT and ExecuTorch one after the other. Each keeps the state of its own stream.
    """

    def __init__(self, path: Path, contract: dict[str, Any], threads: int | None) -> None:
        self.contract = contract
        self.name: str = contract["run"]
        self.model_name: str = contract["model"]
        self.classes: tuple[str, ...] = tuple(contract["classes"])
        self.task = task_named(contract.get("task", SINGLE_LABEL.name))  # older ones name none
        self.sampling = sampling_of_contract(contract)
        self.threads = threads
        self.unknown_below: float | None = contract["unknown_below"]
        thresholds = contract.get("thresholds")
        self.thresholds = None if thresholds is None else tuple(thresholds)
        self.streams = "step" in contract["graphs"]
        self.stream_frames: int | None = contract["graphs"].get("step", {}).get("stream_frames")
        self._path = path
        self._sessions: dict[str, Session] = {}
        self._opening = threading.Lock()

    @property
    def clip_frames(self) -> int:
        """T, the frames of a clip at most."""
        return self.sampling.frames

    @property
    def input_size(self) -> int:
        """S, pixels a side."""
        return self.sampling.size

    def __call__(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        """Recognise clips, on the CPU.

        frames: (B, t, 3, S, S) uint8 RGB, with the S of the contract and at most its T frames.
        lengths: (B,) true frames of each clip, from 1 to t; None: t for all. Raises UserError for
        other pixels.
        """
        size, count, given = self.input_size, self.clip_frames, frames.shape[1:2].numel()
        whole = frames.ndim == 5 and frames.shape[2:] == (3, size, size) and 1 <= given <= count
        if frames.dtype != torch.uint8 or not whole:
            raise UserError(
                f"This artifact takes uint8 frames of shape (batch, {count}, 3, {size}, {size}), "
                f"or fewer than {count}; given: {frames.dtype} {tuple(frames.shape)}."
            )
        if lengths is None:
            lengths = torch.full((len(frames),), given)
        if lengths.shape != frames.shape[:1] or not ((lengths >= 1) & (lengths <= given)).all():
            raise UserError(
                f"lengths must give one number from 1 to {given} for each of {len(frames)} clips; "
                f"given: {lengths.tolist()}."
            )
        if given < count:  # padding, which a file of fixed shape needs and no output depends on
            padding = frames.new_zeros(len(frames), count - given, *frames.shape[2:])
            frames = torch.cat([frames, padding], dim=1)
        inputs = [frames.flatten(0, 1)]
        if count > 1:
            inputs.append(lengths)
        return Output(*self._compute("clip", inputs, len(frames))[:2])

    def init_state(self, batch_size: int) -> State:
        """The state before the first frame: zeros. Raises UserError if the model cannot stream."""
        return begin(self._specs("step", "inputs"), batch_size)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        """Read one frame (B, 3, S, S) uint8 and give the output for the clip so far."""
        size = self.input_size
        if frame.dtype != torch.uint8 or frame.shape[1:] != (3, size, size):
            raise UserError(
                f"This artifact takes uint8 frames of shape (batch, 3, {size}, {size}); "
                f"given: {frame.dtype} {tuple(frame.shape)}."
            )
        logits, embedding, *after = self._compute("step", [frame, *state], len(frame))
        return Output(logits, embedding), tuple(after)

    def open_graph(self, graph: str = "clip") -> None:
        """Load the file of a graph, clip or step, now instead of at its first use."""
        self._specs(graph, "inputs")
        self._session(graph)

    def _specs(self, graph: str, side: str) -> list[TensorSpec]:
        entry = self.contract["graphs"].get(graph)
        if entry is None:
            raise UserError(
                f"{self.model_name} takes whole clips: this artifact cannot be stepped."
            )
        return [TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in entry[side]]

    def _compute(self, graph: str, inputs: list[Tensor], batch: int) -> list[Tensor]:
        """Run a graph on `batch` clips: at once, or one by one where its file takes only one."""
        specs = self._specs(graph, "inputs")
        session = self._session(graph)
        arrays = [
            np.ascontiguousarray(tensor.numpy(force=True), dtype=spec.dtype)
            for tensor, spec in zip(inputs, specs, strict=True)
        ]
        with self._faults_of_file(graph):
            if self.contract["batch"] == "any" or batch == 1:
                return [torch.as_tensor(array) for array in session(arrays)]
            clips = zip(*(np.split(array, batch) for array in arrays), strict=True)
            done = map(session, clips)
            return [torch.as_tensor(np.concatenate(parts)) for parts in zip(*done, strict=True)]

    def _session(self, graph: str) -> Session:
        """The file of a graph, loaded at its first use."""
        with self._opening:
            if graph not in self._sessions:
                entry, format_ = self.contract["graphs"][graph], FORMATS[self.contract["runtime"]]
                file = self._path / entry["file"]
                with self._faults_of_file(graph):
                    self._sessions[graph] = format_.open_session(file, entry, self.threads)
            return self._sessions[graph]

    @contextmanager
    def _faults_of_file(self, graph: str) -> Iterator[None]:
        """Whatever a runtime raises on a file that is not what its contract says is a UserError;
        each has errors of its own."""
        try:
            yield
        except (UserError, MemoryError):
            raise
        except Exception as error:
            file = self._path / self.contract["graphs"][graph]["file"]
            title = FORMATS[self.contract["runtime"]].TITLE
            reason = str(error).strip().partition("\n")[0][:300]
            raise UserError(
                f"{title} cannot use {file} as its contract says: {reason}. Copy the folder again, "
                "or export the run again."
            ) from error


def sampling_of_contract(contract: dict[str, Any]) -> Sampling:
    """How an artifact looks at clips, as `ship.contract` wrote it down."""
    look = contract["sampling"]
    known = {one.name: look[one.name] for one in fields(Sampling) if one.name in look}
    return Sampling(size=contract["input"]["size"], frames=contract["input"]["frames"], **known)
