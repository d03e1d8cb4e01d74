"""What happens when: windows, segments, and the same pixels and numbers as in evaluation."""

import json
import os
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from made_runs import make_run
from understudy.data.loader import make_loader
from understudy.errors import UserError
from understudy.perform.predict import FilePrediction, lines, predict
from understudy.perform.predict_command import predict_files
from understudy.perform.windows import Segment, merge_windows, window_bounds
from understudy.run import Run
from understudy.task import SINGLE_LABEL
from understudy.types import Output, Sampling, State

CLASSES = ("blue", "red")
OPTIONS = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16}
RED, BLUE = (200, 30, 30), (30, 30, 200)


def film(path: Path, colours: list[tuple[int, int, int]], *, fps: int = 10, noise: int = 0) -> Path:
    """Write an H.264 video with one frame for every colour."""
    generator = np.random.default_rng(noise)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for colour in colours:
            pixels = np.full((48, 64, 3), colour, dtype=np.uint8)
            if noise:
                pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
                pixels = pixels.repeat(8, axis=0).repeat(8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class Redness:
    """A stand-in for a loaded model: P(red) is the share of red frames; counts its batches."""

    name = model_name = "redness"
    classes: tuple[str, ...] = CLASSES
    task = SINGLE_LABEL
    threads = unknown_below = thresholds = stream_frames = None
    streams = False

    def __init__(self, clip_seconds: float = 1.0, frames: int = 4) -> None:
        self.sampling = Sampling(size=16, frames=frames, clip_seconds=clip_seconds)
        self.batches: list[int] = []

    def init_state(self, batch_size: int) -> State:
        raise NotImplementedError

    def step(self, frame: torch.Tensor, state: State) -> tuple[Output, State]:
        raise NotImplementedError

    def __call__(self, frames, lengths=None) -> Output:
        assert frames.dtype == torch.uint8
        assert frames.shape[1:] == (self.sampling.frames, 3, 16, 16)
        self.batches.append(len(frames))
        red = [
            (clip[:length, 0].float() > clip[:length, 2]).float().mean()
            for clip, length in zip(frames, lengths, strict=True)
        ]
        share = torch.stack(red).clamp(0.01, 0.99)
        logits = torch.stack([(1 - share).log(), share.log()], dim=1)
        return Output(logits, logits)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run over five videos of different lengths, one shorter than its four frames."""
    rows = ["path,label,split,group"]
    for number, frames in enumerate([12, 9, 3, 14, 10, 11]):
        film(tmp_path / f"{number}.mp4", [RED] * frames, noise=number + 1)
        split = ("train", "val", "test", "test", "test", "train")[number]
        rows.append(f"{number}.mp4,{CLASSES[number % 2]},{split},person {number}")
    (tmp_path / "clips.csv").write_text("\n".join(rows) + "\n")
    return make_run(
        tmp_path / "run",
        tmp_path / "clips.csv",
        CLASSES,
        model="frames-attention",
        options=OPTIONS,
        data={"size": 32, "frames": 4},
        clip_seconds=1.0,
    )


def test_a_clip_gets_the_probabilities_that_evaluation_gives_it(run: Run):
    manifest, rows = run.manifest, [2, 3, 4]
    (batch,) = make_loader(manifest, run.recipe.data, rows, batch_size=3)
    model = run.load_model()
    with torch.inference_mode():
        expected = model(batch.frames, batch.lengths).logits.softmax(dim=1)
    assert batch.lengths.tolist() == [3, 4, 4]
    found = list(predict(run.classifier(), [manifest.path_of(row) for row in rows], batch_size=2))
    assert len(found) == 3
    for prediction, probabilities in zip(found, expected, strict=True):
        (segment,) = prediction.segments
        values = torch.tensor([segment.probabilities[name] for name in CLASSES])
        torch.testing.assert_close(values, probabilities, atol=1e-5, rtol=1e-5)
        assert segment.probability == max(segment.probabilities.values())
        assert segment.start_s == 0
    assert [p.segments[0].end_s for p in found] == pytest.approx([0.3, 1.4, 1.0])


def test_batches_change_nothing(run: Run, tmp_path: Path):
    film(tmp_path / "long.mp4", [RED] * 45, noise=9)
    paths = [tmp_path / name for name in ("long.mp4", "0.mp4", "2.mp4")]
    together, alone = (list(predict(run.classifier(), paths, batch_size=size)) for size in (100, 1))
    assert len(together) == 3
    for one, other in zip(together, alone, strict=True):
        assert one.path == other.path
        for left, right in zip(one.segments, other.segments, strict=True):
            assert (left.label, left.start_s, left.end_s) == (
                right.label,
                right.start_s,
                right.end_s,
            )
            assert left.probability == pytest.approx(right.probability, abs=1e-5)


def test_a_long_video_falls_into_ranges_where_its_content_changes(tmp_path: Path):
    """3 s of red, 2 s of blue, 1 s of red."""
    path = film(tmp_path / "long.mp4", [RED] * 30 + [BLUE] * 20 + [RED] * 10)
    performer = Redness()
    (prediction,) = predict(performer, [path], batch_size=4)
    assert prediction.kind == "video"
    assert [segment.label for segment in prediction.segments] == ["red", "blue", "red"]
    borders = [segment.start_s for segment in prediction.segments]
    assert borders == pytest.approx([0, 3, 5], abs=0.5)
    assert all(one.end_s == other.start_s for one, other in pairwise(prediction.segments))
    assert prediction.segments[-1].end_s == pytest.approx(6)
    assert performer.batches == [
        4,
        4,
        3,
    ]  # 12 slots of half a second: 11 windows, never all at once


def test_a_clock_that_does_not_begin_at_zero_is_no_part_of_the_answer(tmp_path: Path):
    path = tmp_path / "late.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            pixels = np.full((48, 64, 3), RED if number < 20 else BLUE, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number + 70
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (prediction,) = predict(Redness(), [path])
    assert [segment.label for segment in prediction.segments] == ["red", "blue"]
    assert prediction.segments[0].start_s == 0
    assert prediction.segments[0].end_s == pytest.approx(2, abs=0.5)
    assert prediction.segments[-1].end_s == pytest.approx(3, abs=0.01)


def test_pictures_and_folders(tmp_path: Path):
    inner = tmp_path / "media" / "frames"
    inner.mkdir(parents=True)
    for number in range(20):
        colour = RED if number < 10 else BLUE
        Image.new("RGB", (20, 20), colour).save(inner / f"frame_{number}.png")
    Image.new("RGB", (20, 20), RED).save(tmp_path / "media" / "still.jpg")
    (tmp_path / "media" / "notes.txt").write_text("no media")
    frames, still = predict(Redness(clip_seconds=0.4), [tmp_path / "media"])
    assert (frames.kind, Path(frames.path).name) == ("frames", "frames")
    assert [segment.label for segment in frames.segments] == ["red", "blue"]
    assert frames.segments[-1].end_s == pytest.approx(0.8)
    assert still.kind == "picture"
    (segment,) = still.segments
    assert (segment.label, segment.start_s, segment.end_s) == ("red", None, None)
    # Trained on pictures, a folder of numbered ones is just that.
    pictures = list(predict(Redness(clip_seconds=0, frames=1), [inner], batch_size=3))
    assert [p.segments[0].label for p in pictures] == ["red"] * 10 + ["blue"] * 10
    assert [Path(p.path).stem for p in pictures] == [f"frame_{number}" for number in range(20)]


def test_training_on_pictures_gives_a_video_windows_of_a_second(tmp_path: Path):
    path = film(tmp_path / "long.mp4", [RED] * 40)
    performer = Redness(clip_seconds=0, frames=1)
    (prediction,) = predict(performer, [path])
    assert performer.batches == [7]
    assert [(s.label, s.start_s, s.end_s) for s in prediction.segments] == [("red", 0, 4)]


def test_a_bad_file_is_named_and_the_others_are_recognised(tmp_path: Path):
    good = film(tmp_path / "good.mp4", [RED] * 8)
    broken = film(tmp_path / "broken.mp4", [RED] * 60, noise=3)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    names = ["good.mp4", "broken.mp4", "gone.mp4", "empty.mp4", "folder", "good.mp4"]
    found = list(predict(Redness(), [tmp_path / name for name in names], batch_size=2))
    assert [Path(prediction.path).name for prediction in found] == names
    assert [prediction.error is None for prediction in found] == [True, *[False] * 4, True]
    assert found[2].error == "there is no such file"
    assert found[3].error == "the file is empty"
    assert "no video and no picture" in str(found[4].error)
    assert all(not p.segments and p.kind == "unreadable" for p in found[1:5])
    assert found[0] == found[5]
    assert lines(found[2]) == ["not read: there is no such file"]
    assert good.exists()


def test_results_come_while_later_files_are_still_unread(tmp_path: Path):
    paths = [film(tmp_path / f"{number}.mp4", [RED] * 8) for number in range(4)]
    performer = Redness()
    results = predict(performer, paths, batch_size=1)
    next(results)
    assert len(performer.batches) <= 2


def test_a_broken_model_is_no_prediction(tmp_path: Path):
    class Broken(Redness):
        def __call__(self, frames, lengths=None) -> Output:
            logits = torch.full((len(frames), 2), torch.nan)
            return Output(logits, logits)

    path = film(tmp_path / "a.mp4", [RED] * 8)
    with pytest.raises(UserError, match=r"for \S+a\.mp4 is not a finite number"):
        list(predict(Broken(), [path]))


def test_a_file_with_too_few_frames_a_second_or_too_short_is_told(tmp_path: Path):
    class Taught(Redness):
        """At 8 frames a second, on clips of 2 seconds."""

        def __init__(self) -> None:
            super().__init__()
            self.sampling = Sampling(size=16, frames=4, clip_seconds=2.0, step_s=0.125)

    sparse = film(tmp_path / "a.mp4", [RED] * 5, fps=2)
    short = film(tmp_path / "b.mp4", [RED] * 5, fps=10)
    right = film(tmp_path / "c.mp4", [RED] * 20, fps=10)
    found = list(predict(Taught(), [sparse, short, right]))
    assert [len(one.warnings) for one in found] == [1, 1, 0]
    assert found[0].warnings[0].startswith("its frames come at 2 a second, and the model was ta")
    assert "lasts 0.5 s, less than half of a clip" in found[1].warnings[0]
    shown: list[str] = []
    predict_files(Taught(), [sparse], as_json=True, show=shown.append, note=shown.append)
    assert shown[0].startswith(f"WARNING: {sparse}: its frames come at 2")
    assert json.loads(shown[1])["warnings"] == list(found[0].warnings)


def test_lines_and_json():
    segment = Segment(
        "pick_up", 0.931, 0.0, 1.4, {"pick_up": 0.931, "put_down": 0.069}, {"pick_up": 0.931}
    )
    prediction = FilePrediction("a.mp4", "video", (segment,))
    assert lines(prediction) == ["0.0-1.4 s  pick_up  0.93"]
    still = Segment("pick_up", 0.931, None, None, {}, {"pick_up": 0.931})
    assert lines(FilePrediction("a.jpg", "picture", (still,))) == ["pick_up  0.93"]
    assert json.loads(json.dumps(asdict(prediction)))["segments"][0]["end_s"] == 1.4


@given(st.floats(0.04, 5000), st.floats(0.2, 20))
def test_windows_cover_a_video_and_overlap_by_half(duration_s, window_s):
    bounds = list(window_bounds(duration_s, window_s))
    assert bounds[0][0] == 0
    assert bounds[-1][1] == duration_s
    if duration_s <= 1.5 * window_s:
        assert len(bounds) == 1
        return
    starts, ends = np.array(bounds).T
    lengths = ends - starts
    np.testing.assert_allclose(lengths, lengths[0])
    np.testing.assert_allclose(starts[1:], (starts + ends)[:-1] / 2, atol=1e-9)
    assert abs(lengths[0] / window_s - 1) <= 1 / 6 + 1e-9
    if duration_s > 50 * window_s:
        assert abs(lengths[0] / window_s - 1) <= 0.01


@given(st.integers(1, 12), st.integers(0, 1000))
def test_segments_follow_each_other_and_keep_the_mean(windows, seed):
    probabilities = np.random.default_rng(seed).dirichlet([0.3] * 3, size=windows)
    segments = merge_windows(probabilities, 6.0, ("a", "b", "c"))
    assert segments[0].start_s == 0
    assert segments[-1].end_s == pytest.approx(6)
    for one, other in pairwise(segments):
        assert one.end_s == other.start_s
        assert one.label != other.label
    slots = windows + (windows > 1)
    lengths = np.array([s.end_s - s.start_s for s in segments]) / 6 * slots
    assert lengths.sum() == pytest.approx(slots)
    total = sum(
        n * np.array(list(s.probabilities.values())) for n, s in zip(lengths, segments, strict=True)
    )
    # Every window weighs as many slots as it covers, shared ones by half; the outer ones more.
    weights = np.full(windows, 1.0)
    weights[0] += 0.5 * (windows > 1)
    weights[-1] += 0.5 * (windows > 1)
    np.testing.assert_allclose(total, weights @ probabilities, atol=1e-9)


def test_neighbours_vote_on_what_they_share():
    """Red, unsure, blue: the slots between them lean to the surer neighbour."""
    probabilities = np.array([[0.1, 0.9], [0.55, 0.45], [0.9, 0.1]])
    segments = merge_windows(probabilities, 4.0, CLASSES)
    assert [(s.label, s.start_s, s.end_s) for s in segments] == [("red", 0, 2), ("blue", 2, 4)]
    assert segments[0].probability == pytest.approx((0.9 + (0.9 + 0.45) / 2) / 2)


@pytest.mark.timeout(20)
def test_hours_that_a_header_invents_are_no_windows():
    first = next(iter(window_bounds(1e12, 2.0)))
    assert first == pytest.approx((0, 2))


@pytest.mark.timeout(20)
def test_what_is_no_file_is_refused_and_links_are_walked_once(tmp_path: Path):
    film(tmp_path / "2026-01-01T12:30:00.mp4", [RED] * 8)
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = {Path(one.path).name: one.error for one in predict(Redness(), [tmp_path])}
    assert found == {"2026-01-01T12:30:00.mp4": None, "fifo.mp4": "a FIFO, not a file"}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_pause_is_no_action_costs_no_time_and_is_said(tmp_path, name):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for tick in [*range(20), *range(620, 640)]:
            pixels = np.full((48, 64, 3), RED if tick < 20 else BLUE, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    model = Redness(clip_seconds=2.0)
    [prediction] = predict(model, [path])
    assert sum(model.batches) == 2, "windows"
    found = [(one.label, one.start_s, one.end_s) for one in prediction.segments]
    assert found == [("red", 0.0, pytest.approx(2)), ("blue", pytest.approx(62), pytest.approx(64))]
    assert "no frames come from 2 to 62 s: a pause" in " ".join(prediction.warnings)


def test_only_what_is_damaged_must_be_copied(tmp_path):
    film(tmp_path / "a.mp4", [RED] * 5)
    (tmp_path / "empty.mp4").touch()
    for place, said in [(tmp_path / "missing.mp4", False), (tmp_path / "empty.mp4", True)]:
        with pytest.raises(UserError) as caught:
            predict_files(Redness(), [place], as_json=False, show=print, note=print)
        assert ("must be copied or made anew" in str(caught.value)) == said
