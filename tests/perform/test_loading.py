"""What a user names is loaded as the same thing, whatever it is; and what cannot be says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import understudy
from made_artifacts import make_artifact
from understudy.errors import UserError
from understudy.perform.loading import device_for, find_device, open_place
from understudy.run import Run, RunClassifier
from understudy.ship import Artifact, ArtifactRecognizer
from understudy.types import Classifier, Sampling


def test_a_run_is_loaded_with_all_that_its_use_needs(make_run: Callable[..., Run]) -> None:
    run = make_run()
    loaded = understudy.load(run.path, threads=1)
    assert isinstance(loaded, RunClassifier)
    assert (loaded.name, loaded.model_name) == ("small", "frames-attention")
    assert loaded.classes == run.classes
    assert (loaded.sampling.size, loaded.sampling.frames, loaded.sampling.step_s) == (32, 4, 0.25)
    assert (loaded.threads, loaded.unknown_below) == (1, None)
    frames = torch.zeros(2, 4, 3, 32, 32, dtype=torch.uint8)
    expected = loaded.model(frames).logits
    assert torch.equal(loaded(frames).logits, expected)
    state = loaded.init_state(2)
    for number in range(4):
        output, state = loaded.step(frames[:, number], state)
    assert torch.allclose(output.logits, expected, atol=1e-4)


def test_a_checkpoint_is_chosen(make_run: Callable[..., Run]) -> None:
    run = make_run()
    with pytest.raises(UserError, match=r"has no checkpoint final\. There: best"):
        understudy.load(run.path, checkpoint="final")


def test_an_artifact_is_loaded_as_a_run_is(tmp_path: Path) -> None:
    loaded: Classifier = understudy.load(make_artifact(tmp_path / "onnx"), threads=2)
    assert isinstance(loaded, ArtifactRecognizer)
    assert (loaded.name, loaded.model_name) == ("small", "frames-attention")
    assert (loaded.classes, loaded.threads) == (("blue", "red"), 2)
    assert (loaded.unknown_below, loaded.streams, loaded.stream_frames) == (0.25, False, None)
    assert loaded.sampling == Sampling(32, 4, "centre", clip_seconds=1.5)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"checkpoint": "final"}, r"holds no other: final cannot be chosen\. Name the run"),
        ({"device": "mps"}, r"computes on the CPU here, not on mps\. Leave out the device"),
    ],
)
def test_an_artifact_has_one_checkpoint_and_one_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], named: str
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    place = make_artifact(tmp_path / "onnx")
    with pytest.raises(UserError, match=named):
        understudy.load(place, **given)
    assert device_for(open_place(place), "auto") == "cpu"


def test_devices_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert (find_device("cpu"), find_device("auto")) == ("cpu", "cpu")
    for wrong in ("gpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(UserError, match=f"There is no device {wrong}. Give cpu, cuda"):
            find_device(wrong)
    with pytest.raises(UserError, match=r"has no device cuda that PyTorch can use\. There: cpu"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (find_device("auto"), find_device("cuda"), find_device("cuda:1")) == (
        "cuda",
        "cuda",
        "cuda:1",
    )
    with pytest.raises(UserError, match=r"has no device cuda:2 that PyTorch can use\. There: c"):
        find_device("cuda:2")


def test_a_place_is_a_run_or_an_artifact(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    inside, alone = make_artifact(run.export_path("onnx")), make_artifact(tmp_path / "onnx")
    assert isinstance(open_place(run.path), Run)
    for place, of in ((inside, run), (alone, None)):
        artifact = open_place(place)
        assert isinstance(artifact, Artifact)
        assert artifact.run == (None if of is None else Run(of.path.resolve()))
    with pytest.raises(UserError, match=r"no run at .*smal\. Did you mean small"):
        open_place(tmp_path / "smal")


def test_the_top_of_the_package_takes_paths_and_what_was_opened(
    make_run: Callable[..., Run], film: Callable[..., Path]
) -> None:
    run, path = make_run(), film("clip.mp4", 20)
    by_path, by_run = (understudy.predict(source, [path]) for source in (str(run.path), run))
    assert by_path == by_run
    assert by_path[0].segments
    assert understudy.Run is Run
    with pytest.raises(AttributeError, match="nonsense"):
        _ = understudy.nonsense  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UserError, match="changes belong to a recipe that is read here"):
        understudy.train(run.recipe, changes=["train.epochs=1"])
