"""Benchmarks: slower is reported as slower, and turns are taken."""

import csv
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.run import Run
from understudy.ship import Artifact
from understudy.ship.bench import (
    BenchRow,
    _ratio_interval,
    bench,
    bench_lines,
    bench_run,
    subject_of_artifact,
    subject_of_model,
    subject_of_run,
    write_bench_csv,
)
from understudy.ship.macs import count_macs
from understudy.ship.memory import peak_rss_mb
from understudy.ship.subjects import natural_clips
from understudy.types import Output, Recognizer


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
    assert long.clips_per_s == pytest.approx(1000 / long.median_ms)


def test_subjects_take_turns(sleepers: list[BenchRow], diary: list[str]) -> None:
    turns = [name for place, name in enumerate(diary) if place == 0 or diary[place - 1] != name]
    # One round more than asked for: the first is not counted.
    assert turns == ["short", "long"] * 6
    # Of four calls in each of five counted rounds, the first warms up.
    assert [row.calls for row in sleepers] == [15, 15]
    assert len(diary) == 2 * 4 * 6


def test_size_and_arithmetic_are_the_subjects_own(sleepers: list[BenchRow]) -> None:
    assert sleepers[0].parameters == 3 * 2 + 2
    assert sleepers[0].gmacs == 3 * 2 / 1e9
    assert sleepers[0].file_bytes is None
    assert sleepers[0].peak_rss_mb is None


def test_the_interval_covers_the_true_ratio() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        weather = generator.lognormal(sigma=0.5, size=15)  # slows both alike
        first = weather * generator.lognormal(sigma=0.05, size=15)
        second = 2 * weather * generator.lognormal(sigma=0.05, size=15)
        low, high = _ratio_interval(second, first)
        covered += low <= 2 <= high
    assert covered / 200 >= 0.9


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
    assert one.macs_per_clip == other.macs_per_clip == count_macs(run.load_model(), clip) > 0


@pytest.fixture(scope="module")
def rows(run: Run, artifact: Artifact) -> list[BenchRow]:
    return bench_run(run, artifact, threads=(1,), rounds=3, seconds=0)


def test_bench_of_a_run_is_kept_beside_its_artifact(
    rows: list[BenchRow], artifact: Artifact
) -> None:
    assert [row.kind for row in rows] == ["run", "artifact"]
    latency = artifact.latency
    assert latency is not None
    assert latency["rows"] == [asdict(row) for row in rows]


def test_rows_become_a_table(rows: list[BenchRow], tmp_path: Path) -> None:
    write_bench_csv(rows, tmp_path / "new" / "bench.csv")
    with (tmp_path / "new" / "bench.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [float(row["median_ms"]) for row in written] == [row.median_ms for row in rows]
    assert all(row["date"] and row["hardware"] and row["torch"] for row in written)


def test_rows_become_lines_to_read(rows: list[BenchRow], sleepers: list[BenchRow]) -> None:
    lines = bench_lines([*rows, *sleepers])
    assert len({len(line) for line in lines}) == 1  # columns stand below their headings
    assert f"{rows[1].median_ms:.2f}" in lines[2]
    assert f"{rows[1].parameters:,}" in lines[2]
    # A bare model has no file, and its memory was not measured.
    assert lines[3].split().count("-") == 2


def test_peak_memory_is_the_childs_own(rows: list[BenchRow], artifact: Artifact) -> None:
    # PyTorch itself takes more than 100 MB.
    peaks = [row.peak_rss_mb for row in rows]
    assert all(peak is not None and 100 < peak < 3000 for peak in peaks)
    ballast = torch.ones(150_000_000)  # 600 MB in this process
    again = peak_rss_mb("artifact", artifact.path, "", frames=4, size=32, batch=1, threads=1)
    assert again == pytest.approx(peaks[1], abs=100)
    assert len(ballast) == 150_000_000


def test_natural_clips_are_smooth_and_repeatable() -> None:
    clips = natural_clips(1, 2, 64)
    assert torch.equal(clips, natural_clips(1, 2, 64))
    neighbours = (clips[..., 1:].float() - clips[..., :-1].float()).abs().mean()
    assert neighbours < clips.float().std() / 2
