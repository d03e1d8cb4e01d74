"""Whether an exported model gives what its run gives, on clips and frame by frame on a stream.

A difference is the largest absolute one of a clip or frame, divided by the reference's largest
absolute value or by 1, whichever is more. Nothing here knows a format: both sides are functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from understudy.ship.probes import Probe
from understudy.types import Output, State

TOLERANCE = 1e-4

Recognise = Callable[[Tensor, Tensor], Output]


class Stepping(Protocol):
    """What streams: a model, or an artifact with a step graph."""

    def init_state(self, batch_size: int) -> State: ...

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]: ...


def compare(
    reference: Recognise,
    candidate: Recognise,
    probes: Sequence[Probe],
    *,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Compare two recognisers on every probe: the content of parity.json.

    The comparison is passed if no difference of logits or embeddings exceeds `tolerance` and the
    best class is the same for every clip; classes that the reference itself has within `tolerance`
    of each other count as the same.
    """
    assert probes, "a comparison on nothing would always be passed"
    rows = []
    for probe in probes:
        with torch.inference_mode():
            expected = reference(probe.frames, probe.lengths)
            given = candidate(probe.frames, probe.lengths)
        rows.append(_Row(probe.name, expected, given, tolerance))
    return _summary(rows, tolerance) | {"probes": [row.to_json() for row in rows]}


def compare_streams(
    reference: Stepping, candidate: Stepping, stream: Tensor, *, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Step two recognisers through the frames (T, 3, S, S) of one stream.

    Each keeps its own state, so that one that drifts, or is forgotten, shows. Passed as `compare`
    is, with a frame in the place of a clip.
    """
    ours, theirs = reference.init_state(1), candidate.init_state(1)
    rows = []
    with torch.inference_mode():
        for frame in stream.split(1):
            expected, ours = reference.step(frame, ours)
            given, theirs = candidate.step(frame, theirs)
            rows.append(_Row("stream", expected, given, tolerance))
    summary = _summary(rows, tolerance)
    return {"frames": summary.pop("clips")} | summary | {"last_logits_difference": rows[-1].logits}


def explain(report: dict[str, Any]) -> str:
    """The figures of a comparison in a sentence, or two where there is a stream."""
    worst = max(report["probes"], key=lambda row: _nan_is_worst(row["logits_difference"]))
    text = (
        f"largest difference of logits {report['logits_difference']:.2g} (on {worst['probe']}), "
        f"median {report['logits_median']:.2g}, of embeddings "
        f"{report['embedding_difference']:.2g}, allowed {report['tolerance']:.2g}; same "
        f"best class for {report['top1_agreement']:.1%} of {report['clips']} clips"
    )
    stream = report.get("stream")
    if stream is None:
        return text
    return (
        f"{text}; over a stream of {stream['frames']} frames largest "
        f"{stream['logits_difference']:.2g}, at its end {stream['last_logits_difference']:.2g}, "
        f"same best class for {stream['top1_agreement']:.1%}"
    )


class _Row:
    """What one call gave on both sides."""

    def __init__(self, name: str, expected: Output, given: Output, tolerance: float) -> None:
        best = expected.logits.max(dim=1).values
        chosen = expected.logits.gather(1, given.logits.argmax(dim=1, keepdim=True)).squeeze(1)
        same = best - chosen <= tolerance * _scale(expected.logits)
        self.name, self.clips, self.same = name, len(same), int(same.sum())
        self.per_clip = _differences(expected.logits, given.logits)
        self.logits = max(self.per_clip, key=_nan_is_worst)
        self.embedding = max(_differences(expected.embedding, given.embedding), key=_nan_is_worst)

    def to_json(self) -> dict[str, Any]:
        return {
            "probe": self.name,
            "clips": self.clips,
            "logits_difference": self.logits,
            "embedding_difference": self.embedding,
            "same_top1": self.same,
        }


def _summary(rows: Sequence[_Row], tolerance: float) -> dict[str, Any]:
    clips, same = sum(row.clips for row in rows), sum(row.same for row in rows)
    logits = max((row.logits for row in rows), key=_nan_is_worst)
    embedding = max((row.embedding for row in rows), key=_nan_is_worst)
    each = torch.tensor([value for row in rows for value in row.per_clip])
    return {
        # A comparison with NaN is false: outputs that are no numbers never pass.
        "passed": logits <= tolerance and embedding <= tolerance and same == clips,
        "tolerance": tolerance,
        "logits_difference": logits,
        "logits_median": float(each.quantile(0.5)),
        "embedding_difference": embedding,
        "clips": clips,
        "top1_agreement": same / clips,
    }


def _differences(expected: Tensor, given: Tensor) -> list[float]:
    """Of each clip."""
    if expected.shape != given.shape:
        return [float("inf")] * len(expected)
    return ((expected - given).abs().amax(dim=1) / _scale(expected)).tolist()


def _scale(values: Tensor) -> float:
    return max(1.0, float(values.abs().max()))


def _nan_is_worst(value: float) -> float:
    return float("inf") if value != value else value
