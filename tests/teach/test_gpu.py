"""What only a GPU can show: `make gpu` runs these where there is one."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from understudy.judge.evaluate import evaluate_run
from understudy.run import open_run
from understudy.teach import step, sums
from understudy.teach.train import resume, train

from .conftest import make_recipe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that CUDA knows"),
]


def recipe_of(clips: Path, **sections):
    cuda = {"device": "cuda", "epochs": 2} | sections.pop("train", {})
    return make_recipe(clips, train=cuda, **sections)


def test_it_learns_what_a_cpu_learns(clips, tmp_path):
    gpu = train(recipe_of(clips, model=STEADY), tmp_path / "gpu")
    cpu = train(recipe_of(clips, model=STEADY, train={"device": "cpu"}), tmp_path / "cpu")
    for ours, theirs in zip(gpu.history, cpu.history, strict=True):
        assert ours["train"]["loss"] == pytest.approx(theirs["train"]["loss"], abs=0.02)


STEADY = {"name": "rvit", "options": {"dim": 16, "heads": 2, "mlp_dim": 32, "dropout": 0.0}}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions_train_and_keep_float_weights(clips, tmp_path, precision):
    run = train(recipe_of(clips, train={"precision": precision}), tmp_path / "run")
    assert all(math.isfinite(entry["train"]["loss"]) for entry in run.history)
    weights = load_file(run.checkpoint_path("final"))
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}


def test_the_scale_of_gradients_goes_on_with_a_run(clips, tmp_path):
    whole = train(recipe_of(clips, train={"precision": "fp16", "epochs": 3}), tmp_path / "whole")
    part = train(recipe_of(clips, train={"precision": "fp16", "epochs": 3}), tmp_path / "part")
    again = resume(part.path)
    a, b = (load_file(run.checkpoint_path("final")) for run in (whole, again))
    assert all(torch.allclose(a[name].float(), b[name].float(), atol=1e-2) for name in a)


def test_nothing_waits_for_the_device_at_each_step(clips, tmp_path, monkeypatch):
    """From the loss to the weights, and the sums of the epoch: any wait is an error here."""
    backward, take, add = step.Step.backward, step.Step.take, sums.EpochSums.add

    def strictly(method):
        def called(*args):
            torch.cuda.set_sync_debug_mode("error")
            try:
                return method(*args)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return called

    monkeypatch.setattr(step.Step, "backward", strictly(backward))
    monkeypatch.setattr(step.Step, "take", strictly(take))
    monkeypatch.setattr(sums.EpochSums, "add", strictly(add))
    train(recipe_of(clips, model=STEADY), tmp_path / "run")


@pytest.mark.parametrize("setting", ["channels_last", "tf32", "compile"])
def test_settings_that_are_for_speed_change_little(clips, tmp_path, setting):
    plain = train(recipe_of(clips, model=STEADY), tmp_path / "plain")
    fast = train(recipe_of(clips, model=STEADY, train={setting: True}), tmp_path / "fast")
    for ours, theirs in zip(fast.history, plain.history, strict=True):
        assert ours["train"]["loss"] == pytest.approx(theirs["train"]["loss"], abs=0.05)
    assert open_run(fast.path).load_model() is not None


def test_a_teacher_on_the_device_fills_a_store_that_a_cpu_reads(clips, tmp_path):
    teacher = train(recipe_of(clips), tmp_path / "runs" / "teacher")
    taught = {"teacher": {"kind": "run", "path": str(teacher.path)}}
    train(recipe_of(clips, **taught), tmp_path / "runs" / "gpu")
    cpu = train(recipe_of(clips, **taught, train={"device": "cpu"}), tmp_path / "runs" / "cpu")
    assert math.isfinite(cpu.history[-1]["train"]["feature"])


def test_evaluation_gives_the_answers_of_the_cpu(clips, tmp_path):
    run = train(recipe_of(clips), tmp_path / "run")
    there, here = (evaluate_run(run, device=device) for device in ("cuda", "cpu"))
    assert there["top1"]["value"] == pytest.approx(here["top1"]["value"], abs=0.12)
