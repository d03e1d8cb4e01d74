"""Whether an exported model gives what its run gives, on clips and frame by frame on a stream.

A difference is the largest absolute one of a clip or frame, divided by the reference's largest
absolute value or by 1, whichever is more. Nothing here knows a format: both sides are functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from understudy.judge.collect import Recognise
from understudy.ship.probes import Probe
from understudy.types import Classifier, Output, StreamingRecognizer

TOLERANCE = 1e-4

Stepping = StreamingRecognizer | Classifier
"""What streams: a model, or an artifact with a step graph."""


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
    of each other count as the same, and outputs that are no finite numbers never do.
    """
    assert probes, "a comparison on nothing would always be passed"
    rows = []
    with torch.inference_mode():
        for probe in probes:
            expected = reference(probe.frames, probe.lengths)
            given = candidate(probe.frames, probe.lengths)
            rows.append(_row(probe.name, expected, given, tolerance))
    return _summary(rows, tolerance) | {"probes": rows}


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
            rows.append(_row("stream", expected, given, tolerance))
    summary = _summary(rows, tolerance)
    last = {"last_logits_difference": rows[-1]["logits_difference"]}
    return {"frames": summary.pop("clips")} | summary | last


def explain(report: dict[str, Any]) -> str:
    """The figures of a comparison in a sentence, or two where there is a stream; or why there are
    none."""
    if report["passed"] is None:
        return report["reason"]
    given = torch.tensor([row["logits_difference"] for row in report["probes"]])
    worst = report["probes"][int(given.argmax())]  # NaN is the largest
    text = (
        f"largest difference of logits {report['logits_difference']:.2g} (on {worst['probe']}), "
        f"median {report['logits_median']:.2g}, of embeddings "
        f"{report['embedding_difference']:.2g}, allowed {report['tolerance']:.2g}; same "
        f"best class for {report['top1_agreement']:.1%} of {report['clips']} clips"
    )
    text += _broken(report, "clips")
    stream = report.get("stream")
    if stream is None:
        return text
    return (
        f"{text}; over a stream of {stream['frames']} frames largest "
        f"{stream['logits_difference']:.2g}, at its end {stream['last_logits_difference']:.2g}, "
        f"same best class for {stream['top1_agreement']:.1%}{_broken(stream, 'frames')}"
    )


def _broken(report: dict[str, Any], what: str) -> str:
    """Whose output is no finite number, and for how many; nothing where all are."""
    sides = {"the run": report.get("broken_reference"), "the export": report.get("broken")}
    named = [f"{count} {what} by {side}" for side, count in sides.items() if count]
    return f"; no finite number for {' and for '.join(named)}" if named else ""


def _row(name: str, expected: Output, given: Output, tolerance: float) -> dict[str, Any]:
    """What one call gave on both sides; each: differences of logits, clip by clip."""
    best = expected.logits.max(dim=1).values
    chosen = expected.logits.gather(1, given.logits.argmax(dim=1, keepdim=True)).squeeze(1)
    each = _differences(expected.logits, given.logits)
    usable, usable_reference = (_finite(one) for one in (given, expected))
    same = (best - chosen <= tolerance * _scale(expected.logits)) & usable & usable_reference
    return {
        "probe": name,
        "clips": len(best),
        "logits_difference": float(each.max()),
        "embedding_difference": float(_differences(expected.embedding, given.embedding).max()),
        "same_top1": int(same.sum()),
        "broken": int((~usable).sum()),
        "broken_reference": int((~usable_reference).sum()),
        "each": each,
    }


def _summary(rows: Sequence[dict[str, Any]], tolerance: float) -> dict[str, Any]:
    """Of all rows, which lose what they hold of each clip."""
    clips, same = (sum(row[name] for row in rows) for name in ("clips", "same_top1"))
    each = torch.cat([row.pop("each") for row in rows])
    logits = float(each.max())  # NaN if there is any
    embedding = float(torch.tensor([row["embedding_difference"] for row in rows]).max())
    return {
        # A comparison with NaN is false: outputs that are no numbers never pass.
        "passed": logits <= tolerance and embedding <= tolerance and same == clips,
        "tolerance": tolerance,
        "logits_difference": logits,
        "logits_median": float(each.quantile(0.5)),
        "embedding_difference": embedding,
        "clips": clips,
        "top1_agreement": same / clips,
        "broken": sum(row["broken"] for row in rows),
        "broken_reference": sum(row["broken_reference"] for row in rows),
    }


def _finite(output: Output) -> Tensor:
    """(B,) bool: whether all of a clip's logits and embedding are finite numbers."""
    return output.logits.isfinite().all(dim=1) & output.embedding.isfinite().all(dim=1)


def _differences(expected: Tensor, given: Tensor) -> Tensor:
    """Of each clip."""
    if expected.shape != given.shape:
        return torch.full((len(expected),), torch.inf)
    return (expected - given).abs().amax(dim=1) / _scale(expected)


def _scale(values: Tensor) -> float:
    return max(1.0, float(values.abs().max()))
