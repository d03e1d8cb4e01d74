"""How fast, how big: runs, artifacts and bare models, timed fairly against each other.

Subjects take turns (A B C, A B C, ...), so that a machine that slows down slows all of them. Each
turn starts with a call that is not counted; it warms caches and lets the threads of the subject
before come to rest.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from understudy.errors import UserError
from understudy.run import Run, describe_environment, write_json
from understudy.ship.artifact import Artifact
from understudy.ship.subjects import (
    Subject,
    natural_clips,
    subject_of_artifact,
    subject_of_model,
    subject_of_run,
)
from understudy.types import Output

__all__ = [
    "BenchRow",
    "Subject",
    "bench",
    "bench_lines",
    "bench_run",
    "subject_of_artifact",
    "subject_of_model",
    "subject_of_run",
    "where_and_when",
    "write_bench_csv",
]

CALLS_PER_TURN = 3
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One subject at one number of threads. Times are per clip, ratios are to the first subject."""

    subject: str
    kind: str
    threads: int
    batch: int
    frames: int
    size: int
    median_ms: float
    p95_ms: float
    clips_per_s: float
    ratio: float
    """Median time over that of the first subject; `ratio_low` to `ratio_high` holds 95%."""
    ratio_low: float
    ratio_high: float
    calls: int
    """Timed calls, over all rounds."""
    rounds: int
    parameters: int
    gmacs: float
    """Thousand million multiply-accumulates per clip."""
    file_bytes: int | None
    """The checkpoint or the exported file; None for a model that is in memory only."""
    peak_rss_mb: float | None
    """Peak memory of a fresh process that runs it, libraries included; None if not measured."""


def bench(
    subjects: Sequence[Subject],
    *,
    threads: Sequence[int | None] = (1, None),
    rounds: int = 15,
    seconds: float = 0.3,
    batch: int = 1,
    memory: bool = True,
) -> list[BenchRow]:
    """Time subjects against each other on the CPU: one row for each number of threads and subject.

    threads: None means every core. In each of `rounds` rounds every subject in turn is called for
    `seconds`, three times at least. memory: also measure peak memory, in fresh processes. Subjects
    with the same frames and size see the same pixels. Raises UserError for settings that would
    measure nothing.
    """
    if not subjects or not threads:
        raise UserError("A benchmark needs something to time and a number of threads.")
    if rounds < 3 or batch < 1 or any(count is not None and count < 1 for count in threads):
        raise UserError(
            f"A benchmark needs 3 rounds, a batch of 1 and 1 thread at least; given: {rounds} "
            f"rounds, a batch of {batch}, threads {list(threads)}."
        )
    rows = []
    threads_before = torch.get_num_threads()
    try:
        # On a machine with one core, one thread and all threads are the same measurement.
        for count in dict.fromkeys(count or cores() for count in threads):
            torch.set_num_threads(count)
            rows += _bench_at(subjects, count, rounds, seconds, batch, memory)
    finally:
        torch.set_num_threads(threads_before)
    return rows


def bench_run(
    run: Run,
    artifact: Artifact | None = None,
    *,
    checkpoint: str = "best",
    others: Sequence[Subject] = (),
    **settings: Any,
) -> list[BenchRow]:
    """Time a run, its artifact and any `others`; `settings` are those of `bench`.

    With an artifact, what concerns the two is also written to the latency.json beside it.
    """
    subjects = [subject_of_run(run, checkpoint)]
    if artifact is not None:
        subjects.append(subject_of_artifact(artifact))
    subjects += others
    rows = bench(subjects, **settings)
    if artifact is not None:
        own = [asdict(row) for place, row in enumerate(rows) if place % len(subjects) < 2]
        write_json(artifact.path / "latency.json", where_and_when() | {"rows": own})
    return rows


def bench_lines(rows: Sequence[BenchRow]) -> list[str]:
    """The rows as a table to read: one line for each, after a heading."""
    width = max(len("subject"), *(len(row.subject) for row in rows))
    lines = [
        f"{'subject':{width}} threads  median ms     p95 ms  clips/s  time over the first (95%)"
        "  file MB  peak MB    params   GMACs"
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        lines.append(
            f"{row.subject:{width}} {row.threads:7} {row.median_ms:10.2f} {row.p95_ms:10.2f} "
            f"{row.clips_per_s:8.1f} {ratio:>26} {_millions(row.file_bytes):>8} "
            f"{_millions(row.peak_rss_mb, 1):>8} {row.parameters:9,} {row.gmacs:7.3f}"
        )
    return lines


def write_bench_csv(rows: Sequence[BenchRow], path: Path) -> None:
    """Write rows as CSV, each with date, hardware and versions.

    Raises UserError if the file cannot be written.
    """
    context = where_and_when()
    names = [field.name for field in fields(BenchRow)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*names, *context])
            writer.writeheader()
            writer.writerows(asdict(row) | context for row in rows)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def where_and_when() -> dict[str, Any]:
    """Date, hardware and versions, for everything that records a time."""
    environment = describe_environment()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": f"{environment['processor']}, {cores()} cores",
        "platform": environment["platform"],
        "understudy": environment["understudy"],
        "torch": environment["libraries"]["torch"],
        "onnxruntime": metadata.version("onnxruntime"),
    }


def _millions(value: float | None, unit: float = 1e6) -> str:
    return "-" if value is None else f"{value / unit:.1f}"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bench_at(
    subjects: Sequence[Subject],
    threads: int,
    rounds: int,
    seconds: float,
    batch: int,
    memory: bool,
) -> list[BenchRow]:
    loaded = [subject.load(threads) for subject in subjects]
    clips = [natural_clips(batch, subject.frames, subject.size) for subject in subjects]
    times: list[list[np.ndarray]] = [[] for _ in subjects]
    with torch.inference_mode():
        for recognise, frames in zip(loaded, clips, strict=True):
            _take_turn(recognise, frames, 0)
        for _ in range(rounds):
            for recognise, frames, turns in zip(loaded, clips, times, strict=True):
                turns.append(_take_turn(recognise, frames, seconds) / batch)
    # Rounds, not calls, are what is independent: neighbouring calls share the machine's mood.
    medians = np.array([[np.median(turn) for turn in turns] for turns in times])
    rows = []
    for subject, turns, median in zip(subjects, times, medians, strict=True):
        low, high = _ratio_interval(median, medians[0])
        calls = np.concatenate(turns)
        typical_ms = float(np.median(median)) * 1e3
        rows.append(
            BenchRow(
                subject=subject.name,
                kind=subject.kind,
                threads=threads,
                batch=batch,
                frames=subject.frames,
                size=subject.size,
                median_ms=typical_ms,
                p95_ms=float(np.percentile(calls, 95)) * 1e3,
                clips_per_s=1e3 / typical_ms,
                ratio=float(np.median(median) / np.median(medians[0])),
                ratio_low=low,
                ratio_high=high,
                calls=len(calls),
                rounds=rounds,
                parameters=subject.parameters,
                gmacs=subject.macs_per_clip / 1e9,
                file_bytes=subject.file_bytes,
                peak_rss_mb=_peak_memory(subject, batch, threads) if memory else None,
            )
        )
    return rows


def _take_turn(recognise: Callable[[Tensor], Output], frames: Tensor, seconds: float) -> np.ndarray:
    """Seconds of each call; the first call is not counted."""
    recognise(frames)
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while len(spent) < CALLS_PER_TURN or time.perf_counter() < end:
        start = time.perf_counter()
        recognise(frames)
        spent.append(time.perf_counter() - start)
    return np.array(spent)


def _ratio_interval(subject: np.ndarray, first: np.ndarray) -> tuple[float, float]:
    """95% interval of the ratio of two medians: bootstrap over rounds, kept in pairs."""
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(subject), size=(RESAMPLES, len(subject)))
    ratios = np.median(subject[chosen], axis=1) / np.median(first[chosen], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def _peak_memory(subject: Subject, batch: int, threads: int) -> float | None:
    from understudy.ship.memory import peak_rss_mb

    if subject.path is None:
        return None
    return peak_rss_mb(
        subject.kind,
        subject.path,
        subject.checkpoint,
        frames=subject.frames,
        size=subject.size,
        batch=batch,
        threads=threads,
    )
