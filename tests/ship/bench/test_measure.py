"""Benchmarks: slower is reported as slower, streams per new frame, and what else a row says."""

import csv
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from made_runs import made_metrics
from understudy.errors import UserError
from understudy.run import Run, write_json
from understudy.ship import Artifact
from understudy.ship.bench import BenchRow, bench, bench_run, keep_rows
from understudy.ship.bench.accuracy import Accuracy, accuracy_of_artifact, accuracy_of_run
from understudy.ship.bench.first_use import first_use
from understudy.ship.bench.subjects import (
    natural_clips,
    reading,
    subject_of_artifact,
    subject_of_model,
    subject_of_run,
    told_apart,
)
from understudy.ship.bench.table import bench_lines, write_bench_csv
from understudy.ship.macs import count_macs
from understudy.ship.reading import read_checked
from understudy.types import Output, Recognizer, State, StreamingRecognizer


class Sleeper(Recognizer):
    """Takes a known time for each clip and says when it was called."""

    def __init__(self, seconds: float, diary: list[str], name: str) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.seconds, self.diary, self.name = seconds, diary, name

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        self.diary.append(self.name)
        time.sleep(self.seconds * len(frames))
        pooled = frames.float().mean((1, 3, 4))
        return Output(self.head(pooled), pooled)


@pytest.fixture(scope="module")
def diary() -> list[str]:
    return []


class Stream(StreamingRecognizer):
    """Counts frames in its state; a step takes 2 ms, a clip that for every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.input_size, self.clip_frames, self.stream_frames = 8, None, None
        self.seen: list[int] = []

    def init_state(self, batch_size: int) -> State:
        return (torch.zeros(batch_size),)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        time.sleep(0.002 * len(frame))
        pooled = frame.float().mean((2, 3))
        self.seen.append(int(state[0][0]))
        return Output(self.head(pooled), pooled), (state[0] + 1,)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        state, output = self.init_state(len(frames)), None
        for frame in frames.unbind(1):
            output, state = self.step(frame, state)
        assert output is not None
        return output


@pytest.fixture(scope="module")
def sleepers(diary: list[str]) -> list[BenchRow]:
    subjects = [
        subject_of_model(name, Sleeper(seconds, diary, name), frames=2, size=8)
        for name, seconds in (("short", 0.004), ("long", 0.012))
    ]
    diary.clear()
    return bench(subjects, threads=(1,), rounds=5, seconds=0, batch=2)


def test_times_are_per_clip_and_ratios_to_the_first(sleepers: list[BenchRow]) -> None:
    short, long = sleepers
    # A sleep never ends early; how late it ends depends on the machine.
    assert 4 <= short.median_ms < 8
    assert 12 <= long.median_ms < 18
    assert short.median_ms <= short.p95_ms
    assert (short.ratio, short.ratio_low, short.ratio_high) == (1, 1, 1)
    assert long.ratio == pytest.approx(long.median_ms / short.median_ms)
    assert long.ratio_low <= long.ratio <= long.ratio_high
    assert long.per_s == pytest.approx(1000 / long.median_ms)


def test_turns_are_counted_without_their_first_calls(
    sleepers: list[BenchRow], diary: list[str]
) -> None:
    turn = ["short"] * 4 + ["long"] * 4
    # What is loaded is called once before the rounds.
    assert diary == ["short", "long"] + turn * 5
    assert [(row.calls, row.rounds) for row in sleepers] == [(15, 5)] * 2


def test_size_and_arithmetic_are_the_subjects_own(sleepers: list[BenchRow]) -> None:
    assert sleepers[0].parameters == 3 * 2 + 2
    assert sleepers[0].gmacs == 3 * 2 / 1e9
    assert sleepers[0].file_bytes is None
    assert sleepers[0].peak_rss_mb is None


def test_a_stream_is_timed_per_clip_and_per_new_frame() -> None:
    first = subject_of_model("first", Sleeper(0.001, [], "first"), frames=1, size=8)
    stream = Stream()
    rows = bench(
        [first, subject_of_model("stream", stream, frames=6, size=8)],
        threads=(1,),
        rounds=4,
        seconds=0,
        batch=2,
    )
    assert [(row.subject, row.what, row.frames) for row in rows] == [
        ("first", "clip", 1),
        ("stream", "clip", 6),
        ("stream", "frame", 1),
    ]
    one, clip, frame = rows
    assert frame.median_ms >= 2
    # Ratios are to the first subject's clips, and that of clip to frame adds up with them.
    assert frame.ratio == pytest.approx(frame.median_ms / one.median_ms)
    assert frame.clip_over_frame == pytest.approx(clip.ratio / frame.ratio)
    assert frame.clip_over_frame_low is not None
    assert frame.clip_over_frame_high is not None
    assert frame.clip_over_frame_low <= frame.clip_over_frame <= frame.clip_over_frame_high
    assert 3 < frame.clip_over_frame < 12  # six, but for a machine that is busy otherwise
    assert (one.clip_over_frame, clip.clip_over_frame) == (None, None)
    assert (clip.gmacs, frame.gmacs) == (6 * 3 * 2 / 1e9, 3 * 2 / 1e9)
    said = bench_lines(rows)
    assert f"streaming is {frame.clip_over_frame:.1f} times" in "\n".join(said)
    assert "ratios are to the clips of first" in "\n".join(said)


def test_the_state_of_a_stream_is_fed_back_and_begins_anew_with_each_clip() -> None:
    model = Stream()
    call = reading(model, natural_clips(1, 3, 8), "frame")
    for _ in range(7):
        call()
    assert model.seen == [0, 1, 2, 0, 1, 2, 0]


def test_expensive_subjects_get_fewer_rounds() -> None:
    subject = subject_of_model("slow", Sleeper(0.01, [], "slow"), frames=1, size=8)
    (row,) = bench([subject], threads=(1,), rounds=500, seconds=0, budget_s=0.3)
    assert 3 <= row.rounds < 20
    assert row.calls == 3 * row.rounds


def test_threads_are_restored_and_repeats_measured_once(diary: list[str]) -> None:
    before = torch.get_num_threads()
    subject = subject_of_model("one", Sleeper(0, diary, "one"), frames=1, size=8)
    rows = bench([subject], threads=(1, 1, 2), rounds=3, seconds=0)
    assert [row.threads for row in rows] == [1, 2]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", [{"rounds": 1}, {"batch": 0}, {"threads": (0,)}])
def test_settings_that_measure_nothing_are_refused(wrong: dict, diary: list[str]) -> None:
    subject = subject_of_model("one", Sleeper(0, diary, "one"), frames=1, size=8)
    with pytest.raises(UserError, match="at least"):
        bench([subject], **wrong)


def test_a_run_and_its_artifact_are_described_alike(run: Run, artifact: Artifact) -> None:
    one, other = subject_of_run(run), subject_of_artifact(artifact)
    assert (one.frames, one.size, one.parameters) == (other.frames, other.size, other.parameters)
    clip = natural_clips(1, one.frames, one.size)
    assert one.reads["clip"].macs == count_macs(run.load_model(), clip) > 0
    for what in ("clip", "frame"):
        assert one.reads[what].macs == other.reads[what].macs
    assert other.reads["frame"].file_bytes == artifact.model_path("step").stat().st_size


def test_subjects_that_share_a_name_are_called_by_their_paths(run: Run) -> None:
    subject = subject_of_run(run)
    assert [one.name for one in told_apart([subject])] == [run.name]
    assert [one.name for one in told_apart([subject, subject])] == [str(run.path)] * 2


@pytest.fixture(scope="module")
def rows(run: Run, artifact: Artifact) -> list[BenchRow]:
    return bench_run(run, artifact, threads=(1,), rounds=3, seconds=0, memory=False)


def test_bench_of_a_run_is_kept_beside_its_artifact(
    rows: list[BenchRow], artifact: Artifact
) -> None:
    kinds = [("run", "clip"), ("run", "frame"), ("artifact", "clip"), ("artifact", "frame")]
    assert [(row.kind, row.what) for row in rows] == kinds
    latency = artifact.latency
    assert latency is not None
    assert latency["rows"] == [asdict(row) for row in rows]


def test_only_a_runs_own_artifacts_get_its_ratios(
    rows: list[BenchRow], run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    subjects = [subject_of_artifact(artifact), subject_of_run(run)]
    before = artifact.latency
    keep_rows(subjects, rows)  # the artifact is first, so that no ratio is to the run
    assert artifact.latency == before
    assert not (run.path / "bench.json").exists()
    keep_rows(subjects[::-1], rows)
    assert read_checked(run.path / "bench.json") == [asdict(row) for row in rows]
    (run.path / "bench.json").unlink()


def test_rows_become_a_table(rows: list[BenchRow], tmp_path: Path) -> None:
    write_bench_csv(rows, tmp_path / "new" / "bench.csv")
    with (tmp_path / "new" / "bench.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [float(row["median_ms"]) for row in written] == [row.median_ms for row in rows]
    assert [row["what"] for row in written] == ["clip", "frame"] * 2
    assert all(row["date"] and row["hardware"] and row["torch"] for row in written)
    with pytest.raises(UserError, match="cannot be written"):
        write_bench_csv(rows, tmp_path / "new" / "bench.csv" / "below")


def test_rows_become_lines_to_read(rows: list[BenchRow], sleepers: list[BenchRow]) -> None:
    used = [replace(row, load_ms=9.5, first_call_ms=6.25, peak_rss_mb=321.0) for row in rows]
    lines = bench_lines([*used, *sleepers])
    table = lines[: lines.index("")]
    assert len(table) == 1 + 6
    at = table[0].index("median ms") + len("median ms")
    for line, row in zip(table[1:], [*rows, *sleepers], strict=True):
        assert line[:at].endswith(f"{row.median_ms:.2f}"), "below its heading"
        assert f"{row.parameters:,}" in line
    # A bare model has no file, and no process of its own loads it: load, first, peak, file.
    assert table[5].split().count("-") == 4
    assert "top-1" not in table[0], "nothing was evaluated, so that column is left out"
    assert sum("streaming is" in line for line in lines) == 2


def test_accuracy_is_that_of_the_checkpoint_that_was_evaluated(
    run: Run, artifact: Artifact, tmp_path: Path
) -> None:
    assert accuracy_of_run(run) is None
    write_json(run.path / "metrics.json", made_metrics(checkpoint="best"))
    try:
        expected = Accuracy(0.5, 0.25, 0.75, 8, "test")
        assert accuracy_of_run(run) == accuracy_of_artifact(artifact) == expected
        assert accuracy_of_run(run, "final") is None
        rows = bench([subject_of_run(run)], threads=(1,), rounds=3, seconds=0, memory=False)
        assert {(row.top1, row.top1_n, row.top1_split) for row in rows} == {(0.5, 8, "test")}
        assert "on 8 clips of test" in "\n".join(bench_lines(rows))
        contract = json.loads((artifact.path / "contract.json").read_text())
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        write_json(moved / "contract.json", contract)
        assert accuracy_of_artifact(Artifact(moved)) is None
    finally:
        (run.path / "metrics.json").unlink()


@pytest.mark.slow
def test_a_fresh_process_tells_first_use_and_its_own_peak(artifact: Artifact) -> None:
    subject = subject_of_artifact(artifact)
    row, step = bench([subject], threads=(1,), rounds=3, seconds=0)
    for one in (row, step):
        assert one.peak_rss_mb is not None
        assert 100 < one.peak_rss_mb < 3000  # PyTorch itself takes more than 100 MB
        assert one.load_ms is not None
        assert one.first_call_ms is not None
        assert one.load_ms > 0
        assert one.first_call_ms > 0
    ballast = torch.ones(150_000_000)  # 600 MB in this process
    again = first_use(("artifact", str(artifact.path)), frames=4, size=32)
    assert again.peak_rss_mb == pytest.approx(row.peak_rss_mb, abs=150)
    assert len(ballast) == 150_000_000


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="There is no run at"):
        first_use(("run", str(tmp_path / "none"), "best"), frames=4, size=32)


def test_natural_clips_are_smooth_and_repeatable() -> None:
    clips = natural_clips(1, 2, 64)
    assert torch.equal(clips, natural_clips(1, 2, 64))
    neighbours = (clips[..., 1:].float() - clips[..., :-1].float()).abs().mean()
    assert neighbours < clips.float().std() / 2
