"""What each quantisation scheme costs and gains: accuracy clip by clip, and time in turns.

FP32 and all candidates see the same clips, one by one, and take turns on one thread, so that each
difference is one between files and not between moments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from understudy.data.loader import Sample
from understudy.data.manifest import labels_of
from understudy.errors import UserError
from understudy.judge.statistics import paired_difference, proportion_interval
from understudy.ship.bench.timing import interleave, ratio_interval, round_medians
from understudy.ship.clips import Split
from understudy.ship.formats import Session
from understudy.ship.int8.choice import FP32
from understudy.ship.int8.feeding import begin_inputs, clip_inputs, logits_of, step_inputs
from understudy.types import Skipped

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


@dataclass(slots=True)
class Clips:
    """Validation clips that could be read, those that could not, and the first one's pixels."""

    rows: list[int]
    skipped: list[Skipped]
    first: np.ndarray


def measure_graph(
    kind: str, candidates: list[Candidate], split: Split, classes: tuple[str, ...]
) -> tuple[list[dict[str, Any]], Clips]:
    """One row for each candidate, the first of which is FP32, and the clips they were judged by.

    A candidate that fails on the way is given its reason and measured no further. Raises UserError
    when no clip can be read or when a label is none of `classes`.
    """
    logits, clips = _all_logits(kind, candidates, split, classes)
    groups = [split.record(row).group for row in clips.rows]
    correct = {name: _correct(given, split, clips.rows, classes) for name, given in logits.items()}
    times = _times(kind, [one for one in candidates if one.failure is None], clips.first)
    rows = []
    for one in candidates:
        row: dict[str, Any] = {"recipe": one.recipe, "failure": one.failure}
        if one.failure is None:
            row |= {"n": len(clips.rows), "bytes": one.bytes}
            row["bytes_ratio"] = one.bytes / candidates[0].bytes
            row |= _accuracy(correct[one.recipe], correct[FP32], groups)
            row |= _agreement(logits[one.recipe], logits[FP32])
            row |= times[one.recipe]
        rows.append(row)
    return rows, clips


def _all_logits(
    kind: str, candidates: list[Candidate], split: Split, classes: tuple[str, ...]
) -> tuple[dict[str, np.ndarray], Clips]:
    """Logits (N, K) of each candidate that gives any, on the same clips."""
    _refuse_labels(split, classes)
    clips = Clips([], [], np.empty(0))
    found: dict[str, list[np.ndarray]] = {one.recipe: [] for one in candidates}
    for sample in _some(split):
        if isinstance(sample, Skipped):
            clips.skipped.append(sample)
            continue
        pixels = sample.frames.numpy()
        if not clips.rows:
            clips.first = pixels
        clips.rows.append(sample.row)
        for one in candidates:
            if one.failure is not None:
                continue
            assert one.session is not None
            try:
                given = logits_of(kind, one.session, one.entry, pixels)
            except Exception as error:
                if one.recipe == FP32:
                    raise
                one.failure = f"it fails on a clip: {first_line(error)}"
                continue
            if not np.isfinite(given).all() and one.recipe != FP32:
                one.failure = "it gives logits that are no numbers"
                continue
            found[one.recipe].append(given)
    if not clips.rows:
        raise UserError(
            f"None of the {len(clips.skipped)} clips in split {split.name} of {split.place} could "
            f"be read ({clips.skipped[0].path}: {clips.skipped[0].reason}), and INT8 is chosen by "
            "what it costs on them."
        )
    working = [one.recipe for one in candidates if one.failure is None]
    return {name: np.stack(found[name]) for name in working}, clips


def _some(split: Split) -> Iterable[Sample | Skipped]:
    for place, sample in enumerate(split.spread(MOST_CLIPS)):
        if place == MOST_CLIPS:
            return
        yield sample


def _refuse_labels(split: Split, classes: tuple[str, ...]) -> None:
    labels = {label for row in split.rows for label in labels_of(split.record(row))}
    unknown = sorted(labels - set(classes))
    if unknown:
        raise UserError(
            f"{split.place} has labels that the run does not know ({', '.join(unknown[:3])}). What "
            f"INT8 costs is measured on clips of the run's own classes: {', '.join(classes)}."
        )


def _correct(
    logits: np.ndarray, split: Split, rows: list[int], classes: tuple[str, ...]
) -> np.ndarray:
    """(N,) bool: whether the best class is a label of the clip."""
    best = logits.argmax(axis=1)
    return np.array(
        [
            classes[place] in labels_of(split.record(row))
            for place, row in zip(best, rows, strict=True)
        ]
    )


def _accuracy(given: np.ndarray, float_: np.ndarray, groups: list[str]) -> dict[str, Any]:
    """Top-1 accuracy with its interval, and what it has more than FP32, in points."""
    accuracy = proportion_interval(int(given.sum()), len(given), None)
    paired = paired_difference(given, float_, groups)
    if given is float_:  # no estimate: FP32 is what all are compared with
        paired |= {"low": 0.0, "high": 0.0}
    return {
        "top1": float(given.mean()),
        "top1_low": accuracy.low,
        "top1_high": accuracy.high,
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
