"""What each quantisation scheme costs and gains: accuracy clip by clip, and time in turns.

FP32 and all candidates see the same clips, one by one, and take turns on one thread, so that each
difference is one between files and not between moments.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.data.loader import Sample, collate
from understudy.judge.collect import predict_each, refuse_labels
from understudy.judge.compare import compare_predictions
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions
from understudy.ship.bench.subjects import reading
from understudy.ship.bench.timing import interleave, ratio_of, round_medians, times_of
from understudy.ship.clips import Split, unreadable
from understudy.ship.int8 import first_line
from understudy.ship.int8.choice import FP32
from understudy.ship.recognizer import ArtifactRecognizer
from understudy.types import Batch, Output

MOST_CLIPS = 400
"""Validation clips that are looked at; where there are more, they are spread over the split."""

ROUNDS, SECONDS, BUDGET_S = 15, 0.1, 240.0


@dataclass(slots=True)
class Candidate:
    """A graph in one precision, loaded on one thread; or why there is none.

    entry: what the contract would say of its file. bytes: of that.
    """

    recipe: str
    entry: dict[str, Any] = field(default_factory=dict)
    bytes: int = 0
    recognise: ArtifactRecognizer | None = None
    failure: str | None = None


def measure_graph(
    kind: str, candidates: list[Candidate], split: Split, classes: tuple[str, ...]
) -> tuple[list[dict[str, Any]], Predictions]:
    """One row for each candidate, the first of which is FP32, and what FP32 says of the clips they
    were judged by.

    A candidate that fails on the way is given its reason and measured no further. Raises UserError
    when no clip can be read or when a label is none of `classes`.
    """
    manifest = split.dataset.manifest
    asked = {one.recipe: partial(_ask, kind, one) for one in candidates if one.failure is None}
    float_model = candidates[0].recognise
    assert float_model is not None, "FP32 was loaded"
    task, thresholds = float_model.task, float_model.thresholds
    refuse_labels(manifest, split.rows, classes, task)
    said = predict_each(asked, _batches(split), manifest, split.name, classes=classes, task=task)
    said = {recipe: replace(one, thresholds=thresholds) for recipe, one in said.items()}
    float_ = said[FP32]
    if not len(float_):
        raise unreadable(split, float_.skipped, "INT8 is chosen by what it costs on them.")
    working = [one for one in candidates if one.failure is None]
    first = split.dataset[float_.record[0], None]
    assert isinstance(first, Sample), "it was read a moment ago"
    times = _times(kind, working, first.frames)
    rows = []
    for one in candidates:
        row: dict[str, Any] = {"recipe": one.recipe, "failure": one.failure}
        if one.failure is None:
            row |= {"n": len(float_), "bytes": one.bytes}
            row["bytes_ratio"] = one.bytes / candidates[0].bytes
            row |= _accuracy(said[one.recipe], float_)
            row |= _agreement(said[one.recipe], float_)
            row |= times[one.recipe]
        rows.append(row)
    return rows, float_


def _ask(kind: str, one: Candidate, frames: Tensor, lengths: Tensor) -> Output:
    """What a candidate says of one clip. One that fails is given its reason, and says nothing.

    A step graph reads the clip frame by frame and its last output counts: its state goes through
    the file itself, with all that rounding adds up to.
    """
    recognise = one.recognise
    assert recognise is not None
    nothing = given = Output(*torch.full((2, 1, len(recognise.classes)), torch.nan))
    if one.failure is not None:
        return nothing
    try:
        if kind == "clip":
            given = recognise(frames, lengths)
        else:
            state = recognise.init_state(1)
            for frame in frames[0, : int(lengths)].split(1):
                given, state = recognise.step(frame, state)
    except Exception as error:
        if one.recipe == FP32:
            raise
        one.failure = f"it fails on a clip: {first_line(error)}"
        return nothing
    if not given.logits.isfinite().all() and one.recipe != FP32:
        one.failure = "it gives logits that are no numbers"
    return given


def _batches(split: Split) -> Iterator[Batch]:
    """Some clips of the split, one by one: no other clip has a part in what is said of one."""
    for sample in itertools.islice(split.spread(MOST_CLIPS), MOST_CLIPS):
        yield collate([sample])


def _accuracy(given: Predictions, float_: Predictions) -> dict[str, Any]:
    """The task's metric with its interval, and what it has more than FP32, in points."""
    metric = given.task.metric
    figure = compute_metrics(given)[metric]
    paired = compare_predictions(given, float_)
    if given is float_:  # no estimate: FP32 is what all are compared with
        paired |= {"low": 0.0, "high": 0.0}
    return {
        metric: figure["value"],
        f"{metric}_low": figure["low"],
        f"{metric}_high": figure["high"],
        "difference_points": 100 * paired["difference"],
        "low_points": 100 * paired["low"],
        "high_points": 100 * paired["high"],
        "method": paired["method"],
    }


def _agreement(given: Predictions, float_: Predictions) -> dict[str, float]:
    """Share of clips of which the same is said, and the mean cosine of logits; where one class
    holds less their mean over the classes of a clip, which no probability then depends on."""
    a, b = given.logits.double(), float_.logits.double()
    if not given.task.several:
        a, b = (one - one.mean(dim=1, keepdim=True) for one in (a, b))
    return {
        "agreement": float((given.said == float_.said).all(axis=1).mean()),
        "cosine": float(F.cosine_similarity(a, b).mean()),
    }


def _times(kind: str, working: list[Candidate], clip: Tensor) -> dict[str, dict[str, Any]]:
    """Time per clip or per step on one thread, and its ratio to FP32's, all in one run of turns."""
    what = "clip" if kind == "clip" else "frame"
    calls = [reading(one.recognise, clip[None], what) for one in working]
    turns = interleave(calls, rounds=ROUNDS, seconds=SECONDS, budget_s=BUDGET_S)
    float_ = round_medians(turns[0])
    return {
        one.recipe: times_of(taken) | ratio_of(round_medians(taken), float_)
        for one, taken in zip(working, turns, strict=True)
    }
