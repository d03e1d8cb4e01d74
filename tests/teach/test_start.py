"""Starting from other weights: what is taken, what is not, and that the record says so."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from understudy.errors import UserError
from understudy.recipe import Start
from understudy.run import Run, open_run
from understudy.teach.progress import Quiet
from understudy.teach.student import create_student, start_student
from understudy.teach.train import resume, train

from .conftest import CLASSES, MODEL, make_recipe


@pytest.fixture(scope="module")
def source(clips, tmp_path_factory) -> Run:
    return train(make_recipe(clips, train={"epochs": 1}), tmp_path_factory.mktemp("runs") / "first")


def student_of(clips: Path, classes: int = 3, **options):
    recipe = make_recipe(clips, model={"options": MODEL | options})
    return create_student(recipe, classes, {})[0]


def how(record: dict) -> dict[str, str]:
    return {layer["layer"]: layer["how"] for layer in record["layers"]}


def test_a_run_of_the_same_model_gives_every_layer(clips, source):
    student = student_of(clips)
    record = start_student(student, Start(run=str(source.path)), CLASSES)
    assert set(how(record).values()) == {"exact"}
    trained = load_file(source.checkpoint_path("best"))
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, trained[name]), name


@pytest.mark.parametrize("classes", [("still", "left", "right"), ("a", "b", "c", "d")])
def test_the_classifier_of_other_classes_stays_random(clips, source, classes):
    """Also where their number is the same, so that the shapes would fit."""
    torch.manual_seed(1)
    student = student_of(clips, len(classes))
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    record = start_student(student, Start(run=str(source.path)), classes)
    noise = [name for name, kind in how(record).items() if kind == "random"]
    assert noise == ["head.3"]
    assert torch.equal(student.state_dict()["head.3.weight"], before["head.3.weight"])
    assert not torch.equal(student.state_dict()["head.0.weight"], before["head.0.weight"])


def test_another_backbone_is_refused(clips, source):
    student = student_of(clips, backbone="small-cnn")
    with pytest.raises(UserError, match=r"backbone of first does not fit this student: backbone\."):
        start_student(student, Start(run=str(source.path)), CLASSES)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"run": "nowhere"}, "There is no run at nowhere"),
        ({"run": "a", "vit": "b"}, "give either run or vit"),
        ({}, "give either run or vit"),
        ({"vit": "hub:vit_tiny_patch16_224"}, "rvit"),
    ],
)
def test_mistakes_are_found_before_the_first_step(clips, tmp_path, start, message):
    with pytest.raises(UserError, match=message):
        train(make_recipe(clips, model={"start": start}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_that_starts_from_another_says_so_and_resumes_without_it(
    clips, source, tmp_path, monkeypatch
):
    recipe = make_recipe(clips, model={"start": {"run": str(source.path)}})
    whole = train(recipe, tmp_path / "whole")
    assert whole.start is not None
    assert whole.start["source"] == str(source.path)
    assert whole.history[0]["train"]["loss"] < source.history[0]["train"]["loss"]

    class Stop(Quiet):
        def epoch(self, entry):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", reporter=Stop())
    monkeypatch.setattr("understudy.teach.setup.start_student", None)  # it need not be there
    resumed = resume(tmp_path / "stopped")
    ours, theirs = (load_file(run.checkpoint_path("final")) for run in (whole, resumed))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert open_run(tmp_path / "stopped").start == whole.start


def test_clip_length_that_the_model_cannot_read_is_refused_early(clips, tmp_path):
    recipe = make_recipe(clips, model={"name": "c3d", "options": {"width": 4, "head": "pool"}})
    with pytest.raises(UserError, match=r"clips of 16 frames, but data.frames is 4"):
        train(recipe, tmp_path / "run")
