"""What a user names is loaded as the same thing, whatever it is; and what cannot be says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import understudy
from understudy.errors import UserError
from understudy.perform.loading import find_device, is_artifact, run_of_artifact
from understudy.run import Run, RunClassifier


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


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"checkpoint": "final"}, "holds one checkpoint: final cannot be chosen. Name the run"),
        ({"device": "cuda"}, "computes on the CPU here, not on cuda. Leave out the device"),
    ],
)
def test_an_artifact_has_one_checkpoint_and_one_device(
    tmp_path: Path, given: dict[str, str], named: str
) -> None:
    (tmp_path / "contract.json").write_text("{}")
    with pytest.raises(UserError, match=named):
        understudy.load(tmp_path, **given)  # pyright: ignore[reportArgumentType]


def test_devices_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert (find_device("cpu"), find_device("auto")) == ("cpu", "cpu")
    for wrong in ("gpu", "cuda:x", "cpu:1", ""):
        with pytest.raises(UserError, match=f"There is no device {wrong}. Give cpu, cuda"):
            find_device(wrong)
    with pytest.raises(UserError, match="has no device cuda that PyTorch can use. There: cpu"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (find_device("auto"), find_device("cuda"), find_device("cuda:1")) == (
        "cuda",
        "cuda",
        "cuda:1",
    )
    with pytest.raises(UserError, match="has no device cuda:2 that PyTorch can use. There: cpu, c"):
        find_device("cuda:2")


def test_an_artifact_knows_the_run_that_it_lies_in(make_run: Callable[..., Run]) -> None:
    run = make_run()
    inside, alone = run.export_path("onnx"), run.path.parent / "onnx"
    for place in (inside, alone):
        place.mkdir(parents=True)
        (place / "contract.json").write_text("{}")
        assert is_artifact(place)
    assert run_of_artifact(inside) == run.path.resolve()
    assert run_of_artifact(alone) is None
    assert not is_artifact(run.path)
