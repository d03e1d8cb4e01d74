"""Streams: the answers of clips, changes that agree with stretches, and a clear end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from understudy.data.decode import read_frames
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.perform.camera import Camera
from understudy.perform.newest import LostError
from understudy.perform.pace import Slow
from understudy.perform.predict import predict
from understudy.perform.smoothing import Change, Stretch
from understudy.perform.sources import FileSource, TimedFrame
from understudy.perform.stream import Stream, StreamModel, Summary
from understudy.perform.stream_command import Options, explain, recognise_stream
from understudy.run import PICTURE_STEP_S, Run, write_json
from understudy.types import Output


class Frames:
    """A source of given pixels, as a file or as a camera would be; `fresh` frames begin anew."""

    damaged = 0

    def __init__(self, count: int, step_s: float, *, fresh: tuple[int, ...] = (0,), live=False):
        generator = torch.Generator().manual_seed(0)
        shape = (count, 3, 32, 32)
        self.pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        self.times_s = [number * step_s for number in range(count)]
        self.fresh, self.live, self.dropped = fresh, live, 3 * live
        self.wait_s = 0.0

    def __iter__(self) -> Iterator[TimedFrame]:
        for number, pixels in enumerate(self.pixels):
            time.sleep(self.wait_s)
            yield TimedFrame(self.times_s[number], pixels, number in self.fresh)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("temporal", ["average", "attention"])
def test_over_one_clip_the_answer_is_that_of_predict(make_run, film, temporal):
    """The same file by windows, which takes the frames of evaluation, and frame by frame."""
    run, path = make_run(temporal=temporal), film("clip.mp4", 20)
    (prediction,) = predict(run.classifier(), [path])
    (segment,) = prediction.segments
    model = StreamModel(run.classifier())
    for frame in FileSource(path, model.step_s):
        probabilities = model.probabilities(frame.pixels)
    assert probabilities == pytest.approx(list(segment.probabilities.values()), abs=1e-5)


def test_every_answer_is_that_of_a_clip_of_the_latest_frames(make_run, film):
    run, path = make_run(), film("long.mp4", 200)
    model, whole = StreamModel(run.classifier()), run.load_model()
    times, answers, remembered = [], [], []
    for frame in FileSource(path, model.step_s):
        answers.append(model.probabilities(frame.pixels))
        times.append(frame.time_s)
        remembered.append(model._memory.frames_remembered)
    assert len(times) == 40
    assert set(remembered[4:]) == {3, 4}
    pixels = prepare(read_frames(path, [time_s + 1e-3 for time_s in times]), 32)
    with torch.inference_mode():
        for read, (answer, length) in enumerate(zip(answers, remembered, strict=True), start=1):
            expected = whole(pixels[None, read - length : read]).logits[0].softmax(0)
            assert answer == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_pace_is_that_of_training(make_run, tmp_path):
    def step(name: str, **options) -> float | None:
        (tmp_path / name).mkdir()
        run = make_run(**options)
        run.path.rename(tmp_path / name / "run")
        return Run(tmp_path / name / "run").classifier().sampling.step_s

    assert step("uniform", clip_seconds=1.8) == pytest.approx(0.45)
    assert step("segment", clip_seconds=1.8, sampling="random_segment") == pytest.approx(0.45)
    assert step("dense", clip_seconds=1.8, sampling="dense", stride_s=0.1) == 0.1
    assert step("centre", clip_seconds=1.8, sampling="centre") is None
    centre = Run(tmp_path / "centre" / "run")
    write_json(centre.path / "data.json", centre.data | {"clip_fps": 25.0})
    assert centre.classifier().sampling.step_s == 1 / 25, "of a camera of 60 not every frame"
    assert step("pictures", clip_seconds=0.0) == PICTURE_STEP_S
    assert step("pseudo-clips", clip_seconds=0.0, pseudo={}) == 0.25, "four in a second"


def test_pictures_are_recognised_one_by_one(make_run):
    run = make_run(clip_seconds=0.0)
    model, whole = StreamModel(run.classifier()), run.load_model()
    for pixels in Frames(5, 0.2).pixels:
        with torch.inference_mode():
            expected = whole(pixels[None, None]).logits[0].softmax(0)
        assert model.probabilities(pixels) == pytest.approx(expected.tolist(), abs=1e-5)
        assert model.has_context


def test_pseudo_clips_are_clips(make_run):
    assert StreamModel(make_run(clip_seconds=0.0, pseudo={}).classifier()).clip_frames == 4


def test_changes_and_stretches_agree(make_run):
    model = StreamModel(make_run().classifier())
    stream = Stream(model, Frames(80, 0.25), threshold=0.9, smoothing_s=0.1)
    events = list(stream)
    changes = [event for event in events if isinstance(event, Change)]
    stretches = [event for event in events if isinstance(event, Stretch)]
    assert len(changes) > 4, "or nothing was tested"
    assert [(c.time_s, c.label) for c in changes] == [(s.start_s, s.label) for s in stretches]
    assert all(one.end_s == other.start_s for one, other in itertools.pairwise(stretches))
    assert stretches[-1].end_s == 79 * 0.25
    assert {"unknown", "warming up"} < {change.label for change in changes}
    order = [type(event) for event in events]
    assert order == [Change, *[Stretch, Change] * (len(changes) - 1), Stretch]
    assert stream.finish() is None


def test_nothing_is_named_before_half_a_clip_was_seen(make_run):
    model = StreamModel(make_run().classifier())
    events = list(Stream(model, Frames(12, 0.25, fresh=(0, 8)), smoothing_s=0))
    changes = [event for event in events if isinstance(event, Change)]
    warming = [change.time_s for change in changes if change.label == "warming up"]
    assert warming == [0.0, 2.0], "and again after a camera came back"
    known = [change.time_s for change in changes if change.label != "warming up"]
    assert known[0] == 0.5, "the third of four frames"
    assert min(time_s for time_s in known if time_s > 2) == 2.5


def test_after_a_break_nothing_is_remembered(make_run):
    model = StreamModel(make_run().classifier())
    source = Frames(9, 0.25, fresh=(0, 5))

    def answers(frames: list[TimedFrame]) -> list[list[float]]:
        found: list[list[float]] = []
        for frame in frames:
            if frame.fresh:
                model.begin()
            found.append(model.probabilities(frame.pixels).tolist())
        return found

    frames = list(source)
    assert answers(frames)[5:] == answers(frames[5:])


def test_the_summary_counts_and_times(make_run):
    model = StreamModel(make_run().classifier())
    source = Frames(10, 0.25)
    source.wait_s = 0.01  # as if decoding took so long
    stream = Stream(model, source)
    begun = time.perf_counter()
    list(stream)
    spent_s = time.perf_counter() - begun
    said = stream.summary()
    assert (said.frames, said.seconds, said.dropped) == (10, 2.25, 0)
    assert said.real_time_factor is not None
    assert 0.8 * 2.25 / spent_s < said.real_time_factor < 2.25 / 0.1
    assert 0 < said.latency_median_ms <= said.latency_p95_ms < spent_s * 1000

    source.live = True
    stream = Stream(model, source)
    list(stream)
    said = stream.summary()
    assert said.real_time_factor is not None
    assert said.real_time_factor == pytest.approx(2.25 / stream.latencies.total_s), "no waiting"


@pytest.mark.parametrize(
    ("interval_s", "live", "slow"),
    [
        (0.25, False, False),
        (0.26, True, False),
        (0.1, False, False),
        (1.0, False, True),
        (1.0, True, True),
        (0.4, False, True),
    ],
)
def test_too_few_frames_a_second_are_told_before_anything_is_named(
    make_run, interval_s: float, live: bool, slow: bool
):
    """Training took 4 frames a second."""
    source = Frames(20, interval_s)
    source.live = live
    stream = Stream(StreamModel(make_run().classifier()), source, smoothing_s=0)
    events = list(stream)
    told = [event for event in events if isinstance(event, Slow)]
    said = stream.summary()
    assert said.taught_frames_per_second == 4
    assert said.frames_per_second == pytest.approx(1 / interval_s)
    assert (len(told), said.slow_seconds > 0) == (slow, slow)
    if slow:
        assert told[0].frames_per_second == pytest.approx(1 / interval_s)
        assert "too few frames a second" in explain(said)
    if interval_s == 1.0:
        named = [e for e in events if isinstance(e, Change) and e.label != "warming up"]
        assert events.index(told[0]) < events.index(named[0])


def test_a_source_that_becomes_slow_is_told_too(make_run):
    source = Frames(40, 0.25)
    source.times_s = [*(0.25 * n for n in range(20)), *(5 + 1.0 * n for n in range(20))]
    stream = Stream(StreamModel(make_run().classifier()), source)
    told = [event for event in stream if isinstance(event, Slow)]
    assert len(told) == 1
    assert 4 < told[0].time_s < 8, "within a clip"
    assert 15 < stream.summary().slow_seconds < 21


@pytest.mark.parametrize("data", [{"clip_seconds": 0.0}, {"sampling": "centre"}])
def test_where_no_pace_was_taught_none_is_too_slow(make_run, data):
    stream = Stream(StreamModel(make_run(**data).classifier()), Frames(9, 5.0))
    assert not [event for event in stream if isinstance(event, Slow)]
    assert stream.summary().taught_frames_per_second is None


def test_a_summary_in_words():
    said = explain(Summary(12.34, 50, 3, 1, 4.21, 9.87, 21.3))
    assert said == (
        "50 frames of 12.3 s, 3 dropped, 1 damaged; a frame takes 4.2 ms (median; 95% within "
        "9.9 ms); 21.3 times real time"
    )
    assert explain(Summary(0.0, 1, 0, 0, 4.21, 9.87, None)).endswith("9.9 ms)")


def test_a_model_that_takes_whole_clips_is_refused(make_run):
    classifier = make_run().classifier()
    classifier.streams = False
    with pytest.raises(UserError, match=r"small, takes whole clips and cannot be stepped frame by"):
        StreamModel(classifier)


def test_a_broken_model_says_so(make_run, monkeypatch):
    model = StreamModel(make_run().classifier())
    nan = torch.full((1, 3), torch.nan)
    monkeypatch.setattr(model._memory, "step", lambda frame: Output(nan, nan))
    with pytest.raises(UserError, match="not a finite number"):
        model.probabilities(Frames(1, 1).pixels[0])


def command(run: Run, file: Path | None = None, *, show, **options) -> list[str]:
    noted: list[str] = []
    given = Options(**({"unknown": 0.0, "smoothing_s": 0.0} | options))
    recognise_stream(run.path, file, given, as_json=True, show=show, note=noted.append)
    return noted


def test_json_is_what_the_stream_gives(make_run, film):
    run, path, said = make_run(), film("long.mp4", 100), []
    command(run, path, show=said.append)
    entries = [json.loads(line) for line in said]
    model = StreamModel(run.classifier())
    stream = Stream(model, FileSource(path, model.step_s), smoothing_s=0)
    expected = list(stream)
    assert [entry["event"] for entry in entries[:-1]] == [
        type(event).__name__.lower() for event in expected
    ]
    for entry, event in zip(entries, expected, strict=False):
        assert entry["label"] == event.label
        assert entry["probability"] == pytest.approx(event.probability, abs=1e-6)
    assert entries[-1]["event"] == "summary"
    assert entries[-1]["frames"] == 20
    assert all(entry["latency_median_ms"] > 0 for entry in entries if entry["event"] == "change")


def test_a_video_of_one_frame_a_second_is_called_too_slow(make_run, film):
    """Training took 4 a second."""
    said: list[str] = []
    noted = command(make_run(), film("slow.mp4", 20, fps=1), show=said.append)
    entries = [json.loads(line) for line in said]
    assert [entry["event"] for entry in entries[:2]] == ["change", "slow"]
    assert entries[0]["label"] == "warming up"
    assert entries[1]["taught_frames_per_second"] == 4
    assert entries[1]["frames_per_second"] == pytest.approx(1)
    assert entries[-1]["slow_seconds"] > 15
    (warning,) = noted
    assert warning.startswith("WARNING: frames come at 1 a second, and the model was taught at 4 a")


def test_a_video_too_short_for_any_label_says_so(make_run, film):
    said: list[str] = []
    noted = command(make_run(), film("short.mp4", 10), show=said.append)
    assert {json.loads(line).get("label") for line in said} == {"warming up", None}
    assert noted == [
        "The stream ended after 2 frames, and nothing was named: the model says no label before it "
        "has seen 3."
    ]


def test_an_interrupted_stream_ends_with_its_stretch_and_summary(make_run, film):
    run, path, said = make_run(), film("long.mp4", 100), []

    def impatient(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        command(run, path, show=impatient)
    entries = [json.loads(line) for line in said]
    assert [entry["event"] for entry in entries] == [
        "change",
        "stretch",
        "change",
        "stretch",
        "summary",
    ]
    assert entries[3]["start_s"] == entries[2]["time_s"]


def test_a_file_that_breaks_off_shows_what_there_was(make_run, film):
    run, said = make_run(), []
    path = film("long.mkv", 400)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"long\.mkv could not be read to its end: .*breaks off"):
        command(run, path, show=said.append)
    summary = json.loads(said[-1])
    assert summary["event"] == "summary"
    assert 5 < summary["seconds"] < 16


def test_a_camera_that_is_lost_shows_what_there_was(make_run, monkeypatch):
    def frames(self: Camera) -> Iterator[av.VideoFrame]:
        for number in range(8):
            time.sleep(0.03)
            pixels = np.full((32, 32, 3), 30 * number, dtype=np.uint8)
            yield av.VideoFrame.from_ndarray(pixels, format="rgb24")
        raise LostError("unplugged")

    monkeypatch.setattr(Camera, "frames", frames)
    said: list[str] = []
    run = make_run(sampling="centre")
    with pytest.raises(UserError, match=r"Camera rtsp://a: lost at 0\.\d s: unplugged\."):
        command(run, camera="rtsp://a", reconnect_s=0.0, show=said.append)
    entries = [json.loads(line) for line in said]
    assert [entry["event"] for entry in entries[-2:]] == ["stretch", "summary"]
    assert entries[-1]["frames"] + entries[-1]["dropped"] == 8


def test_a_drawn_camera_is_recognised_until_it_ends(make_run):
    said: list[str] = []
    drawn = "lavfi:testsrc=size=64x48:rate=20:duration=1.2,realtime"
    command(make_run(), camera=drawn, show=said.append)
    summary = json.loads(said[-1])
    assert summary["frames"] + summary["dropped"] in {4, 5}
    assert 0.6 < summary["seconds"] < 1.3


@pytest.mark.slow
def test_ctrl_c_ends_a_camera_with_its_summary(make_run):
    words = ["stream", str(make_run().path), "--unknown", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "understudy.cli", *words, "--camera", "lavfi:testsrc,realtime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell that started these tests in the background has told them to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().split()[2:4] == ["warming", "up"], "shown at once"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "a frame takes" in out.splitlines()[-1]
    assert all("nothing was named" in line for line in err.splitlines()), err


PEAK = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from understudy.perform.sources import FileSource
from understudy.perform.stream import Stream, StreamModel
from understudy.run import open_run
from understudy.ship.bench.first_use import own_peak_bytes
model = StreamModel(open_run(sys.argv[1]).classifier())
stream = Stream(model, FileSource(Path(sys.argv[2]), None))
list(stream)
print(stream.summary().frames, own_peak_bytes())
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_video(make_run, film):
    """Every frame of half a minute and of three, 170 MB if they were kept; peak of the process."""

    def frames_and_peak(path: Path) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(run.path), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        frames, peak = map(int, done.stdout.split())
        return frames, peak

    run = make_run()
    size = (160, 120)
    brief, long = film("brief.mp4", 600, size=size), film("long.mp4", 3600, size=size)
    (few, low), (many, high) = frames_and_peak(brief), frames_and_peak(long)
    assert (few, many) == (600, 3600)
    assert abs(high - low) < 16e6, (low, high)
    assert np.isclose(high, low, rtol=0.05)
