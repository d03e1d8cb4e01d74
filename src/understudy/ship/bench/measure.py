"""How fast, how big: runs, artifacts and peers, timed fairly against each other.

A subject is timed on whole clips and, where it streams, on new frames, all of them in turns (see
timing.py). Ratios are to the clips of the first subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from understudy.errors import UserError
from understudy.run import Run, cores, write_json
from understudy.ship.artifact import Artifact
from understudy.ship.bench.first_use import first_use
from understudy.ship.bench.machine import where_and_when
from understudy.ship.bench.subjects import (
    Subject,
    natural_clips,
    reading,
    subject_of_artifact,
    subject_of_run,
)
from understudy.ship.bench.timing import (
    FEWEST_ROUNDS,
    interleave,
    ratio_of,
    round_medians,
    times_of,
)

BUDGET_S = 120.0
"""No round of a number of threads begins later; three are always done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One subject reading clips, or new frames of a stream, at one number of threads.

    Times and work are per clip or per new frame, as `what` says. What was not measured, or does not
    exist, is None.
    """

    subject: str
    kind: str
    """run, artifact, peer or model."""
    runtime: str
    """torch, or the format of an artifact."""
    precision: str
    what: Literal["clip", "frame"]
    threads: int
    batch: int
    frames: int
    """Of a clip; 1 where `what` is frame."""
    size: int
    median_ms: float
    p95_ms: float
    per_s: float
    """Clips or frames in a second, at the median time."""
    ratio: float
    """Median time over that of a clip of the first subject, also where `what` is frame."""
    ratio_low: float
    """`ratio_low` to `ratio_high` holds 95%, over rounds."""
    ratio_high: float
    clip_over_frame: float | None = None
    """Time of this subject's own clip over that of its new frame: how many times cheaper it is to
    stream than to read the latest clip again. Only where `what` is frame."""
    clip_over_frame_low: float | None = None
    clip_over_frame_high: float | None = None
    calls: int
    """Timed calls, over all rounds."""
    rounds: int
    load_ms: float | None = None
    """From files to a model that can be called, once, in a fresh process, imports excluded."""
    first_call_ms: float | None = None
    """The first call in that process, for the whole batch."""
    peak_rss_mb: float | None = None
    """Peak memory of that process, libraries included."""
    parameters: int
    gmacs: float
    """Thousand million multiply-accumulates."""
    file_bytes: int | None
    """The checkpoint, or the exported file of clips or of steps."""
    top1: float | None = None
    """Accuracy, 0 to 1, as evaluation found it; `top1_low` to `top1_high` holds 95%."""
    top1_low: float | None = None
    top1_high: float | None = None
    top1_n: int | None = None
    """Clips behind the accuracy, and the split that they are."""
    top1_split: str | None = None


def bench(
    subjects: Sequence[Subject],
    *,
    threads: Sequence[int | None] = (1, None),
    rounds: int = 15,
    seconds: float = 0.3,
    batch: int = 1,
    memory: bool = True,
    budget_s: float = BUDGET_S,
) -> list[BenchRow]:
    """Time subjects against each other on the CPU: for each number of threads, each subject's clips
    and, where it streams, its new frames.

    threads: None means every core. In each of `rounds` rounds every subject in turn is called for
    `seconds`, three times at least; expensive subjects get fewer rounds, so that `budget_s` is
    hardly exceeded. memory: also use each in a fresh process, for its first call and its peak
    memory. Subjects with the same frames and size see the same pixels. Raises UserError for
    settings that would measure nothing.
    """
    if not subjects or not threads:
        raise UserError("A benchmark needs something to time and a number of threads.")
    if rounds < FEWEST_ROUNDS or batch < 1 or any(n is not None and n < 1 for n in threads):
        raise UserError(
            f"A benchmark needs {FEWEST_ROUNDS} rounds, a batch of 1 and 1 thread at least; given: "
            f"{rounds} rounds, a batch of {batch}, threads {list(threads)}."
        )
    rows = []
    threads_before = torch.get_num_threads()
    try:
        # On a machine with one core, one thread and all threads are the same measurement.
        for count in dict.fromkeys(count or cores() for count in threads):
            torch.set_num_threads(count)
            turns = {"rounds": rounds, "seconds": seconds, "budget_s": budget_s}
            rows += _bench_at(subjects, count, batch, memory, **turns)
    finally:
        torch.set_num_threads(threads_before)
    return rows


def bench_run(
    run: Run,
    *artifacts: Artifact,
    checkpoint: str = "best",
    others: Sequence[Subject] = (),
    **settings: Any,
) -> list[BenchRow]:
    """Time a run, artifacts of it and any `others`; `settings` are those of `bench`.

    What concerns the run and one artifact is also written to the latency.json beside that.
    """
    first, own = subject_of_run(run, checkpoint), list(map(subject_of_artifact, artifacts))
    rows = bench([first, *own, *others], **settings)
    for subject in own:
        _keep_latency(first, subject, rows)
    return rows


def keep_rows(subjects: Sequence[Subject], rows: Sequence[BenchRow]) -> None:
    """Write what was measured to where reports look for it, if the first subject is a run.

    bench.json in the run holds all rows; latency.json beside each of its artifacts those of the
    run and that artifact.
    """
    first, *others = subjects
    if first.kind != "run" or first.path is None:
        return
    write_json(first.path / "bench.json", [asdict(row) for row in rows])
    for subject in others:
        if subject.kind != "artifact" or subject.path is None:
            continue
        # Ratios are to the run, so they say nothing beside an artifact of another.
        if first.path.resolve() in subject.path.resolve().parents:
            _keep_latency(first, subject, rows)


def _keep_latency(run: Subject, artifact: Subject, rows: Sequence[BenchRow]) -> None:
    assert artifact.path is not None
    own = [asdict(row) for row in rows if row.subject in (run.name, artifact.name)]
    write_json(artifact.path / "latency.json", where_and_when() | {"rows": own})


def _bench_at(
    subjects: Sequence[Subject], threads: int, batch: int, memory: bool, **turns: Any
) -> list[BenchRow]:
    entries, calls = [], []
    for subject in subjects:
        recognizer = subject.load(threads)
        clips = natural_clips(batch, subject.frames, subject.size)
        for what in subject.reads:
            entries.append((subject, what))
            calls.append(reading(recognizer, clips, what))
    with torch.inference_mode():
        times = interleave(calls, **turns)
    rows = []
    medians = list(map(round_medians, times))
    own_clips = medians[0]
    for (subject, what), taken, median in zip(entries, times, medians, strict=True):
        known: dict[str, Any] = subject.accuracy._asdict() if subject.accuracy else {}
        if what == "clip":
            own_clips = median
        else:
            known |= ratio_of(own_clips, median, "clip_over_frame")
        if memory and subject.source:
            shape = {"frames": subject.frames, "size": subject.size, "batch": batch}
            known |= first_use(subject.source, what=what, threads=threads, **shape)._asdict()
        rows.append(
            BenchRow(
                subject=subject.name,
                kind=subject.kind,
                runtime=subject.runtime,
                precision=subject.reads[what].precision,
                what=what,
                threads=threads,
                batch=batch,
                frames=subject.frames if what == "clip" else 1,
                size=subject.size,
                **times_of(taken, batch),
                **ratio_of(median, medians[0]),
                parameters=subject.parameters,
                gmacs=subject.reads[what].macs / 1e9,
                file_bytes=subject.reads[what].file_bytes,
                **known,
            )
        )
    return rows
