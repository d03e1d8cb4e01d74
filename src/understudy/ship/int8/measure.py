"""What each quantisation scheme costs and gains: accuracy clip by clip, and time in turns.

FP32 and all candidates see the same clips, one by one, and take turns on one thread, so that each
difference is one between files and not between moments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.data.loader import collate
from understudy.errors import UserError
from understudy.judge.collect import predict_each, refuse_labels
from understudy.judge.compare import compare_predictions
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions
from understudy.ship.bench.timing import interleave, ratio_interval, round_medians
from understudy.ship.clips import Split
from understudy.ship.formats import Session
from understudy.ship.int8.choice import FP32
from understudy.ship.int8.feeding import begin_inputs, clip_inputs, logits_of, step_inputs
from understudy.types import Batch, Output

MOST_CLIPS = 400
"""Validation clips that are looked at; where there are more, they are spread over the split."""

ROUNDS, SECONDS, BUDGET_S = 15, 0.1, 240.0


@dataclass(slots=True)
class Candidate:
    """A file of a graph in one precision, loaded on one thread; or why there is none.

    entry: what the contract would say of it. bytes: of the file.
    """

    recipe: str
    entry: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    session: Session | None = None
    failure: str | None = None


def measure_graph(
    kind: str, candidates: list[Candidate], split: Split, classes: tuple[str, ...]
) -> tuple[list[dict[str, Any]], Predictions]:
    """One row for each candidate, the first of which is FP32, and what FP32 says of the clips they
    were judged by.

    A candidate that fails on the way is given its reason and measured no further. Raises UserError
    when no clip can be read or when a label is none of `classes`.
    """
    asked = {
        one.recipe: _Recogniser(kind, one, len(classes))
        for one in candidates
        if one.failure is None
    }
    refuse_labels(split.dataset.manifest, split.rows, classes)
    said = predict_each(asked, _batches(split), split.dataset.manifest, split.name, classes=classes)
    float_ = said[FP32]
    if not len(float_):
        raise UserError(
            f"None of the {len(float_.skipped)} clips in split {split.name} of {split.place} could "
            f"be read ({float_.skipped[0].path}: {float_.skipped[0].reason}), and INT8 is chosen "
            "by what it costs on them."
        )
    working = [one for one in candidates if one.failure is None]
    times = _times(kind, working, asked[FP32].first)
    rows = []
    for one in candidates:
        row: dict[str, Any] = {"recipe": one.recipe, "failure": one.failure}
        if one.failure is None:
            row |= {"n": len(float_), "bytes": one.bytes}
            row["bytes_ratio"] = one.bytes / candidates[0].bytes
            row |= _accuracy(said[one.recipe], float_)
            row |= _agreement(said[one.recipe].logits.numpy(), float_.logits.numpy())
            row |= times[one.recipe]
        rows.append(row)
    return rows, float_


class _Recogniser:
    """A candidate as evaluation asks it. One that fails is given its reason, and says nothing."""

    def __init__(self, kind: str, candidate: Candidate, classes: int) -> None:
        self._kind, self._candidate, self._classes = kind, candidate, classes
        self.first = np.empty(0)
        """Pixels of the first clip, (t, 3, S, S)."""

    def __call__(self, frames: Tensor, lengths: Tensor) -> Output:
        clips = [clip[:length].numpy() for clip, length in zip(frames, lengths, strict=True)]
        self.first = self.first if self.first.size else clips[0]
        logits = torch.stack([self._logits_of(clip) for clip in clips])
        return Output(logits, logits)

    def _logits_of(self, pixels: np.ndarray) -> Tensor:
        one = self._candidate
        assert one.session is not None
        none = torch.full((self._classes,), torch.nan)
        if one.failure is not None:
            return none
        try:
            given = torch.from_numpy(logits_of(self._kind, one.session, one.entry, pixels))
        except Exception as error:
            if one.recipe == FP32:
                raise
            one.failure = f"it fails on a clip: {first_line(error)}"
            return none
        if not given.isfinite().all() and one.recipe != FP32:
            one.failure = "it gives logits that are no numbers"
        return given


def _batches(split: Split) -> Iterator[Batch]:
    """Some clips of the split, one by one: no other clip has a part in what is said of one."""
    for sample in itertools.islice(split.spread(MOST_CLIPS), MOST_CLIPS):
        yield collate([sample])


def _accuracy(given: Predictions, float_: Predictions) -> dict[str, Any]:
    """Top-1 accuracy with its interval, and what it has more than FP32, in points."""
    accuracy = compute_metrics(given)["top1"]
    paired = compare_predictions(given, float_)
    if given is float_:  # no estimate: FP32 is what all are compared with
        paired |= {"low": 0.0, "high": 0.0}
    return {
        "top1": accuracy["value"],
        "top1_low": accuracy["low"],
        "top1_high": accuracy["high"],
        "difference_points": 100 * paired["difference"],
        "low_points": 100 * paired["low"],
        "high_points": 100 * paired["high"],
        "method": paired["method"],
    }


def _agreement(given: np.ndarray, float_: np.ndarray) -> dict[str, float]:
    """Share of clips with the same best class, and the mean cosine of logits, less their mean
    over the classes of a clip, which no probability depends on."""
    a, b = (one - one.mean(axis=1, keepdims=True) for one in (given, float_))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return {
        "agreement": float((given.argmax(axis=1) == float_.argmax(axis=1)).mean()),
        "cosine": float(cosine.mean()),
    }


def _times(kind: str, working: list[Candidate], pixels: np.ndarray) -> dict[str, dict[str, Any]]:
    """Time per clip or per step on one thread, and its ratio to FP32's, all in one run of turns."""
    calls = [_call(kind, one, pixels) for one in working]
    turns = interleave(calls, rounds=ROUNDS, seconds=SECONDS, budget_s=BUDGET_S)
    medians = [round_medians(one) for one in turns]
    found = {}
    for one, calls_s, median in zip(working, turns, medians, strict=True):
        low, high = ratio_interval(median, medians[0])
        found[one.recipe] = {
            "median_ms": float(np.median(median)) * 1e3,
            "p95_ms": float(np.percentile(np.concatenate(calls_s), 95)) * 1e3,
            "ratio": float(np.median(median) / np.median(medians[0])),
            "ratio_low": low,
            "ratio_high": high,
            "rounds": len(median),
        }
    return found


def _call(kind: str, one: Candidate, pixels: np.ndarray) -> Any:
    """A call of a clip, or of its last step, with the state that this file comes to by then."""
    session = one.session
    assert session is not None
    if kind == "clip":
        inputs = clip_inputs(one.entry, pixels)
    else:
        state = begin_inputs(one.entry)
        for frame in pixels[:-1]:
            state = session(step_inputs(one.entry, frame, state))[2:]
        inputs = step_inputs(one.entry, pixels[-1], state)
    return lambda: session(inputs)


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, at most 200 characters."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:200]
