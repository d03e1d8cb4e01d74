"""Whether an exported model gives what its run gives, on real clips and on awkward ones.

Nothing here knows a format: the export is a function from frames and lengths to an `Output`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from understudy.types import Output

TOLERANCE = 1e-4

Recognise = Callable[[Tensor, Tensor], Output]


@dataclass(frozen=True, slots=True)
class Probe:
    """Clips on which two recognisers are compared in one call.

    frames: (B, T, 3, S, S) uint8 RGB. lengths: (B,) int64.
    """

    name: str
    frames: Tensor
    lengths: Tensor


def real_probes(clips: Sequence[Tensor], frames: int) -> list[Probe]:
    """Real clips, each (t, 3, S, S) uint8 with t <= `frames`, in batches of 1, 3, 3, ...

    Batches of one and of three show that the batch stayed dynamic.
    """
    starts = [0, *range(1, len(clips), 3)]
    return [
        _batch("real clips", clips[start:end], frames)
        for start, end in zip(starts, [*starts[1:], len(clips)], strict=True)
    ]


def awkward_probes(frames: int, size: int) -> list[Probe]:
    """Clips that real data seldom holds: noise, black, one frame, several lengths in a batch."""
    generator = torch.Generator().manual_seed(0)

    def noise(length: int) -> Tensor:
        shape = (length, 3, size, size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    black = torch.zeros(frames, 3, size, size, dtype=torch.uint8)
    probes = [
        _batch("noise", [noise(frames)], frames),
        _batch("noise, batch of 3", [noise(frames) for _ in range(3)], frames),
        _batch("black", [black], frames),
    ]
    if frames > 1:
        lengths = (1, (frames + 1) // 2, frames)
        probes.append(_batch("one frame", [noise(1)], frames))
        probes.append(_batch("three lengths", [noise(length) for length in lengths], frames))
    return probes


def compare(
    reference: Recognise,
    candidate: Recognise,
    probes: Sequence[Probe],
    *,
    tolerance: float = TOLERANCE,
) -> dict[str, Any]:
    """Compare two recognisers on every probe: the content of parity.json.

    A difference is the largest absolute one over a probe, divided by the reference's largest
    absolute value or by 1, whichever is more. The comparison is passed if no difference of logits
    or embeddings exceeds `tolerance` and the best class is the same for every clip; classes that
    the reference itself has within `tolerance` of each other count as the same.
    """
    assert probes, "a comparison on nothing would always be passed"
    rows = []
    for probe in probes:
        with torch.inference_mode():
            expected = reference(probe.frames, probe.lengths)
            given = candidate(probe.frames, probe.lengths)
        best = expected.logits.max(dim=1).values
        chosen = expected.logits.gather(1, given.logits.argmax(dim=1, keepdim=True)).squeeze(1)
        same = best - chosen <= tolerance * _scale(expected.logits)
        rows.append(
            {
                "probe": probe.name,
                "clips": len(probe.frames),
                "logits_difference": _difference(expected.logits, given.logits),
                "embedding_difference": _difference(expected.embedding, given.embedding),
                "same_top1": int(same.sum()),
            }
        )
    clips = sum(row["clips"] for row in rows)
    same_top1 = sum(row["same_top1"] for row in rows)
    worst = {
        name: max((row[name] for row in rows), key=_nan_is_worst)
        for name in ("logits_difference", "embedding_difference")
    }
    # A comparison with NaN is false: outputs that are no numbers never pass.
    passed = all(value <= tolerance for value in worst.values()) and same_top1 == clips
    return {
        "passed": passed,
        "tolerance": tolerance,
        **worst,
        "clips": clips,
        "top1_agreement": same_top1 / clips,
        "probes": rows,
    }


def explain(report: dict[str, Any]) -> str:
    """One sentence with the figures of a comparison."""
    worst = max(report["probes"], key=lambda row: _nan_is_worst(row["logits_difference"]))
    return (
        f"largest difference of logits {report['logits_difference']:.2g} (on {worst['probe']}), of "
        f"embeddings {report['embedding_difference']:.2g}, allowed {report['tolerance']:.2g}; same "
        f"best class for {report['top1_agreement']:.1%} of {report['clips']} clips"
    )


def _batch(name: str, clips: Sequence[Tensor], frames: int) -> Probe:
    """Clips of any length as one batch; the padding is noise, which must not matter."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(clips), frames, *clips[0].shape[1:])
    padded = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return Probe(name, padded, torch.tensor([len(clip) for clip in clips]))


def _difference(expected: Tensor, given: Tensor) -> float:
    if expected.shape != given.shape:
        return float("inf")
    return float((expected - given).abs().max() / _scale(expected))


def _scale(values: Tensor) -> float:
    return max(1.0, float(values.abs().max()))


def _nan_is_worst(value: float) -> float:
    return float("inf") if value != value else value
