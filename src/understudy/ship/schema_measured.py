"""What parity.json, latency.json, int8.json and bench.json may hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from understudy.ship.schema import Amount, Count, Name, Number, Sentence, Share, Strict, Text


class Compared(Strict):
    """The summary of a comparison, on clips or over a stream."""

    passed: bool
    tolerance: Amount
    logits_difference: Amount
    logits_median: Amount
    embedding_difference: Amount
    top1_agreement: Share
    broken: Count = 0
    broken_reference: Count = 0


class Probe(Strict):
    probe: Text
    clips: Count
    logits_difference: Amount
    embedding_difference: Amount
    same_top1: Count
    broken: Count = 0
    broken_reference: Count = 0


class ComparedStream(Compared):
    frames: Count
    last_logits_difference: Amount


class ComparedClips(Compared):
    clips: Count
    probes: list[Probe] = Field(min_length=1, max_length=10_000)
    stream: ComparedStream | None = None


class Skipped(Strict):
    row: Count
    path: Sentence
    reason: Sentence


class _Source(Strict):
    """Where the clips of a comparison came from."""

    manifest: Sentence | None = None
    split: Text | None = None
    real_clips: Count | None = None
    skipped: list[Skipped] = Field(default_factory=list)


class Parity(ComparedClips, _Source):
    """parity.json of a format that is executed here. shipped: of INT8, where that is what ships."""

    shipped: ComparedClips | None = None


class Program(Strict):
    spec: bool
    exported_program_difference: Amount
    executed: bool


class Unmeasured(_Source):
    """parity.json of a format that is only converted to."""

    passed: None
    executed: Literal[False]
    reason: Sentence
    checked: dict[Name, Program | None] = Field(default={}, max_length=10)


def _kind(read: Any) -> str:
    """By which schema a parity.json is read; `read` is an instance where it is written again."""
    passed = read.get("passed") if isinstance(read, dict) else getattr(read, "passed", None)
    return "(converted)" if passed is None else "(executed)"


ParityFile = Annotated[
    Annotated[Parity, Tag("(executed)")] | Annotated[Unmeasured, Tag("(converted)")],
    Discriminator(_kind),
]


class BenchEntry(Strict):
    """One row of latency.json and of a run's bench.json: a `BenchRow`."""

    subject: Text
    kind: Literal["run", "artifact", "peer", "model"]
    runtime: Text
    precision: Text
    what: Literal["clip", "frame"]
    threads: Count
    batch: Count
    frames: Count
    size: Count
    median_ms: Amount
    p95_ms: Amount
    per_s: Amount
    ratio: Amount
    ratio_low: Amount
    ratio_high: Amount
    clip_over_frame: Amount | None = None
    clip_over_frame_low: Amount | None = None
    clip_over_frame_high: Amount | None = None
    calls: Count
    rounds: Count
    load_ms: Amount | None = None
    first_call_ms: Amount | None = None
    peak_rss_mb: Amount | None = None
    parameters: Count
    gmacs: Amount
    file_bytes: Count | None
    top1: Share | None = None
    top1_low: Share | None = None
    top1_high: Share | None = None
    top1_n: Count | None = None
    top1_split: Text | None = None


Bench = Annotated[list[BenchEntry], Field(max_length=100_000)]


class _Measured(Strict):
    """Where and when."""

    date: Text | None = None
    hardware: Text | None = None
    platform: Text | None = None
    understudy: Text | None = None
    torch: Text | None = None
    onnxruntime: Text | None = None


class Latency(_Measured):
    rows: Bench


class Scheme(Strict):
    """A quantisation scheme that was tried: failure, or all figures."""

    recipe: Text
    failure: Sentence | None
    n: Count | None = None
    bytes: Count | None = None
    bytes_ratio: Amount | None = None
    top1: Share | None = None
    top1_low: Share | None = None
    top1_high: Share | None = None
    map: Share | None = None
    map_low: Share | None = None
    map_high: Share | None = None
    difference_points: Number | None = None
    low_points: Number | None = None
    high_points: Number | None = None
    method: Text | None = None
    agreement: Share | None = None
    cosine: Number | None = None
    median_ms: Amount | None = None
    p95_ms: Amount | None = None
    per_s: Amount | None = None
    calls: Count | None = None
    rounds: Count | None = None
    ratio: Amount | None = None
    ratio_low: Amount | None = None
    ratio_high: Amount | None = None

    @model_validator(mode="after")
    def _measured_or_failed(self) -> Self:
        metric = self.top1 if self.map is None else self.map
        if self.failure is None and None in (self.n, self.bytes, metric, self.ratio):
            raise ValueError("neither figures nor a failure")
        return self


class Tried(Strict):
    rows: list[Scheme] = Field(min_length=1, max_length=1000)
    chosen: Text
    sentence: Sentence
    calibration_inputs: Count | None = None

    @model_validator(mode="after")
    def _chosen_of_rows(self) -> Self:
        if self.chosen not in [row.recipe for row in self.rows if row.failure is None]:
            raise ValueError(f"chosen is {self.chosen!r}, which is none of the rows with figures")
        return self


class Int8(_Measured):
    asked: Text | None = None
    graphs: dict[Literal["clip", "step"], Tried]
    n: Count | None = None
    most_clips: Count | None = None
    split: Text | None = None
    split_clips: Count | None = None
    manifest: Sentence | None = None
    skipped: list[Skipped] = Field(default_factory=list)
    threads: Count | None = None
