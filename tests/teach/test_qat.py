"""Quantisation-aware training: a run that anyone can use, and that bears 8 bits."""

import contextlib
import importlib.util

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from understudy import cli
from understudy.data.loader import make_loader
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.run import Run, open_run
from understudy.ship.export import export_run
from understudy.task import SINGLE_LABEL
from understudy.teach.fake_quantised import FakeQuantized, round_weight
from understudy.teach.progress import Quiet
from understudy.teach.qat import qat_recipe
from understudy.teach.resume import can_resume
from understudy.teach.train import resume, train

from .conftest import make_recipe


@pytest.fixture(scope="module")
def teacher_run(clips, tmp_path_factory) -> Run:
    return train(make_recipe(clips), tmp_path_factory.mktemp("runs") / "teacher")


@pytest.fixture(scope="module")
def source(clips, teacher_run) -> Run:
    """A taught student, beside its teacher."""
    recipe = make_recipe(
        clips,
        teacher={"kind": "run", "path": str(teacher_run.path)},
        distill={"alpha": 1.0, "beta": 1.0, "gamma": 0.5},
        train={"warmup_epochs": 1, "patience": 9},
    )
    return train(recipe, teacher_run.path.parent / "student")


@pytest.fixture(scope="module")
def qat_run(source) -> Run:
    recipe = qat_recipe(source, ["train.epochs=2"])
    return train(recipe, source.path.parent / recipe.name)


def test_the_recipe_says_all_that_was_done(source, qat_run):
    recipe, before = qat_run.recipe, source.recipe
    assert (recipe.data, recipe.teacher, recipe.distill) == (
        before.data,
        before.teacher,
        before.distill,
    )
    assert recipe.model.start is not None
    assert recipe.model.start.run == str(source.path.resolve())
    assert recipe.train.qat
    assert recipe.train.lr == pytest.approx(0.1 * before.train.lr)
    assert (recipe.train.warmup_epochs, recipe.train.patience, recipe.train.epochs) == (0, None, 2)
    assert qat_run.start is not None
    assert {layer["how"] for layer in qat_run.start["layers"]} == {"exact"}
    assert qat_run.data["fingerprint"] == source.data["fingerprint"]


def test_its_checkpoints_are_float_weights_of_the_same_model(source, qat_run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # without torchao
    trained, before = (load_file(run.checkpoint_path("best")) for run in (qat_run, source))
    assert trained.keys() == before.keys()
    assert type(qat_run.load_model()) is type(source.load_model())
    statistics = [key for key in before if "running_" in key]
    assert statistics
    assert all(torch.equal(trained[key], before[key]) for key in statistics)
    weight = trained["head.0.weight"]
    assert not torch.equal(weight, before["head.0.weight"])
    assert not torch.equal(weight, round_weight(weight))


def test_its_teacher_taught_from_the_store_of_the_first_run(source, tmp_path, monkeypatch):
    from understudy.models.frames import FramesRecognizer

    asked: list[int] = []
    forward = FramesRecognizer.forward

    def counted(self, frames, lengths=None):
        if not any(p.requires_grad for p in self.parameters()):
            asked.append(len(frames))
        return forward(self, frames, lengths)

    store = source.path.parent / "teacher-store"
    known = {file: file.stat().st_mtime_ns for file in store.rglob("*.safetensors")}
    assert known
    monkeypatch.setattr(FramesRecognizer, "forward", counted)
    run = train(qat_recipe(source, ["train.epochs=1"]), source.path.parent / "again")
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*.safetensors")} == known
    assert asked == [1], "one blank clip, to learn the width of its embedding"
    assert {"feature", "response", "task"} <= run.history[0]["train"].keys()


def test_validation_is_that_of_the_rounded_model(clips, qat_run):
    model = qat_run.load_model("final")
    learner = FakeQuantized(model)
    state = load_file(qat_run.path / "resume" / "state.safetensors")
    ranges = {
        k.removeprefix("model.called."): v for k, v in state.items() if k.startswith("model.")
    }
    learner.load_state_dict(ranges)
    manifest = read_manifest(clips)
    loader = make_loader(manifest, qat_run.recipe.data, manifest.rows("val"), batch_size=32)
    (batch,) = list(loader)
    with torch.no_grad():
        eight = SINGLE_LABEL.loss(learner.eval()(batch.frames, batch.lengths).logits, batch.target)
        full = SINGLE_LABEL.loss(model.eval()(batch.frames, batch.lengths).logits, batch.target)
    said = qat_run.history[-1]["val"]["loss"]
    assert said == pytest.approx(eight.item(), abs=1e-6)
    assert abs(said - full.item()) > 1e-5


class Interrupt(Quiet):
    """Stops as a person at the keyboard would, in the middle of the second epoch."""

    clips = 0

    def advance(self, clips: int) -> None:
        self.clips += clips
        if self.clips > 40:
            raise KeyboardInterrupt


def test_resumed_ends_bit_for_bit_where_uninterrupted_ends(source, qat_run):
    """The ranges belong to the state: without them the second epoch would begin anew."""
    recipe = qat_recipe(source, ["train.epochs=2"])
    place = source.path.parent / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, place, reporter=Interrupt())
    assert can_resume(open_run(place))
    resumed = resume(place)
    for file in ("checkpoints/final.safetensors", "resume/state.safetensors"):
        a, b = load_file(qat_run.path / file), load_file(resumed.path / file)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), file
    assert any(key.startswith("model.called.ranges.") for key in a)
    assert [entry["val"] for entry in qat_run.history] == [
        entry["val"] for entry in resumed.history
    ]


def test_bf16_and_a_frozen_backbone_learn_too(clips, source, tmp_path):
    frozen = {"model.options.freeze_backbone": "true", "train.precision": "bf16"}
    changes = [f"{key}={value}" for key, value in frozen.items()]
    run = train(qat_recipe(source, [*changes, "train.epochs=1", "teacher=null"]), tmp_path / "run")
    a, b = (load_file(one.checkpoint_path("final")) for one in (run, source))
    begun = load_file(source.checkpoint_path("best"))
    backbone = [key for key in a if key.startswith("backbone.")]
    assert all(torch.equal(a[key], begun[key]) for key in backbone)
    assert not torch.equal(a["head.0.weight"], b["head.0.weight"])
    assert np.isfinite(run.history[0]["val"]["loss"])


def test_what_cannot_go_on_is_refused(clips, source, qat_run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"a run in .*student-qat already"):
        train(qat_recipe(source), qat_run.path)
    with pytest.raises(UserError, match=r"train\.qat goes on from a trained run"):
        make_recipe(clips, train={"qat": True})
    with pytest.raises(UserError, match="no such key"):
        qat_recipe(source, ["train.qatt=true"])

    other = (tmp_path / "other.csv").resolve()
    names = clips.read_text(encoding="utf-8").replace("clips/", f"{clips.parent}/clips/")
    other.write_text(names.replace(",still,", ",rest,"), encoding="utf-8")
    with pytest.raises(UserError, match=r"same classes, but head\.3 of .*knows other classes"):
        train(qat_recipe(source, [f"data.manifest={other}", "teacher=null"]), tmp_path / "other")
    assert not (tmp_path / "other").exists()

    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(clips), half, reporter=Interrupt())
    with pytest.raises(UserError, match=r"half is not finished.*--resume"):
        qat_recipe(open_run(half))
    (half / "checkpoints" / "best.safetensors").unlink()
    with pytest.raises(UserError, match="no checkpoint best to go on from"):
        qat_recipe(open_run(half))

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'understudy\[qat\]'"):
        qat_recipe(source)


def test_the_command_goes_on_beside_the_run(source, monkeypatch, capsys):
    run = str(source.path)

    def understudy(*words: str) -> None:
        monkeypatch.setattr("sys.argv", ["understudy", "train", *words])
        with contextlib.suppress(SystemExit):
            cli.main()

    understudy("--qat", run, "--set", "train.epochs=1", "--set", "name=by-command")
    assert open_run(source.path.parent / "by-command").recipe.train.qat
    assert "by-command" in capsys.readouterr().out
    for words, said in (
        (("--qat", run, "--resume", run), "--qat RUN alone"),
        (("demo", "--qat", run), "--qat RUN alone"),
        (("--qat", run, "--set", "name=by-command"), "a run in"),
        (("--qat", "nowhere"), "There is no run at nowhere"),
    ):
        understudy(*words)
        assert said in " ".join(capsys.readouterr().err.split()), words


@pytest.mark.slow
def test_it_exports_as_every_run_does(qat_run, tmp_path):
    artifact = export_run(qat_run, "onnx", out=tmp_path / "onnx")
    assert artifact.parity["passed"]
    assert artifact.contract["graphs"].keys() == {"clip", "step"}
