"""A run that learned from pictures, evaluated on videos: the right frames, names and warnings."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml

from understudy.data.decode import read_frames, read_timeline
from understudy.data.sampling import sample_times
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate_run, evaluation_path
from understudy.judge.predictions import read_predictions
from understudy.perform.predict import predict
from understudy.run import Run
from understudy.types import Recognizer

FRAMES = 20


@pytest.fixture
def videos(tmp_path: Path) -> Callable[..., str]:
    """Writes noisy videos with these labels and their manifest, without splits."""

    def write(*labels: str) -> str:
        lines = ["path,label"]
        for number, label in enumerate(labels):
            generator = np.random.default_rng(number)
            with av.open(str(tmp_path / f"{number}.mp4"), "w") as container:
                stream = container.add_stream("libx264", rate=20)
                stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
                for _ in range(FRAMES):
                    pixels = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
                container.mux(stream.encode())
            lines.append(f"{number}.mp4,{label}")
        table = tmp_path / "videos.csv"
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(table)

    return write


def with_data(run: Run, **changes) -> Run:
    path = run.path / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe["data"] |= changes
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return Run(run.path)


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("pseudo", [None, {}])
def test_of_each_video_it_reads_what_it_learned_from(run, videos, tmp_path, frames, pseudo):
    """One frame where training saw single pictures, whatever data.frames says; of pseudo-clips as
    many as they had. An export and a prediction read the same."""
    run = with_data(run, frames=frames, pseudo=pseudo)
    frames = 1 if pseudo is None else frames
    # Two of the run's three classes, and not in its order.
    manifest = videos("still", "left", "still")
    metrics = evaluate_run(run, manifest=manifest)
    said = read_predictions(evaluation_path(run, manifest=manifest) / "predictions.parquet")
    assert said.classes == run.classes == ("left", "right", "still")
    assert said.target.tolist() == [2, 0, 2]
    model = run.load_model().eval()
    for number, logits in enumerate(said.logits):
        path = tmp_path / f"{number}.mp4"
        times_s = sample_times("uniform", frames, read_timeline(path))
        assert len(times_s) == frames
        clip = prepare(read_frames(path, times_s, short_side=32), 32)
        with torch.inference_mode():
            expected = model(clip[None]).logits[0]
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        (predicted,) = predict(run.classifier(), [path])
        spoken = torch.tensor(list(predicted.segments[0].probabilities.values()))
        torch.testing.assert_close(spoken, expected.softmax(0), atol=1e-5, rtol=1e-5)
    assert metrics["n"] == 3


def test_a_run_of_single_pictures_says_what_it_does_with_videos(run, videos):
    manifest = videos("left", "right")

    def warned(**changes) -> list[str]:
        warnings = evaluate_run(with_data(run, **changes), manifest=manifest)["warnings"]
        return [one for one in warnings if "of each video" in one]

    for frames in (1, 5):
        (one,) = warned(frames=frames)
        assert "one frame of each video" in one
        assert "data.pseudo" in one
    assert not warned(frames=5, pseudo={})
    assert not [one for one in evaluate_run(run)["warnings"] if "of each video" in one]


def test_a_class_that_no_picture_had_is_refused(run, videos):
    with pytest.raises(
        UserError, match=r"labels that the model does not know: stil\. Did you mean"
    ):
        evaluate_run(run, manifest=videos("left", "stil"))


@pytest.mark.parametrize(("pseudo", "frames"), [(None, 1), ({}, 5)])
def test_a_picture_is_held_for_as_long_as_clips_were_in_training(run, monkeypatch, pseudo, frames):
    """In evaluation and in prediction, which give the same for the same file."""
    run = with_data(run, frames=5, pseudo=pseudo)
    seen = []
    load = Run.load_model

    def load_and_watch(self: Run, checkpoint: str = "best") -> Recognizer:
        model = load(self, checkpoint)
        model.register_forward_pre_hook(
            lambda _, given: seen.extend(
                clip[:length].clone() for clip, length in zip(*given, strict=True)
            )
        )
        return model

    monkeypatch.setattr(Run, "load_model", load_and_watch)
    evaluate_run(run)
    said = read_predictions(run.predictions_path)
    assert [len(clip) for clip in seen] == [frames] * len(said)
    assert all(torch.equal(clip, clip[:1].expand_as(clip)) for clip in seen)
    evaluated = seen.copy()
    seen.clear()
    folder = Path(run.data["manifest"]).parent
    predictions = list(predict(run.classifier(), [folder / path for path in said.path]))
    assert all(torch.equal(a, b) for a, b in zip(evaluated, seen, strict=True))
    for one, logits in zip(predictions, said.logits, strict=True):
        spoken = torch.tensor(list(one.segments[0].probabilities.values()))
        torch.testing.assert_close(spoken, logits.softmax(0), atol=1e-5, rtol=1e-5)
