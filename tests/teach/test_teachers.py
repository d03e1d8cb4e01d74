"""A teacher sees what suits it: its own size, frames and sampling, of the student's draw."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from understudy.errors import UserError
from understudy.run import Run, open_run
from understudy.teach.progress import Quiet
from understudy.teach.targets import Targets
from understudy.teach.train import resume, train
from understudy.types import Unanswered

from .conftest import MODEL, make_recipe

VIEWS = {"augment": {"crop_scale": 0.5, "flip": 0.5, "views": 2}}


@pytest.fixture(scope="module")
def large(clips, tmp_path_factory) -> Run:
    """A run that saw three frames of 48 pixels."""
    recipe = make_recipe(
        clips,
        data={"size": 48, "frames": 3, "sampling": "random_segment"},
        model={"options": MODEL | {"embedding_dim": 16}},
        train={"epochs": 2},
    )
    return train(recipe, tmp_path_factory.mktemp("runs") / "large")


@pytest.fixture(scope="module")
def c3d(clips, tmp_path_factory) -> Run:
    """A run of a model that needs 16 frames; its clips are shorter and stretched."""
    recipe = make_recipe(
        clips,
        data={"frames": 16, "size": 32},
        model={"name": "c3d", "options": {"width": 4, "hidden_dim": 24, "embedding_dim": 24}},
        train={"epochs": 1},
    )
    return train(recipe, tmp_path_factory.mktemp("runs") / "c3d")


@pytest.fixture
def seen(monkeypatch) -> list[tuple[str, Unanswered]]:
    """What each teacher was shown."""
    shown: list[tuple[str, Unanswered]] = []
    answer = Targets.answer

    def watched(self, batch):
        if self.name in batch.unanswered:
            shown.append((self.name, batch.unanswered[self.name]))
        return answer(self, batch)

    monkeypatch.setattr(Targets, "answer", watched)
    return shown


def by(run: Run, **more) -> dict:
    return {"kind": "run", "path": str(run.path)} | more


def test_a_run_sees_clips_as_in_its_own_training(clips, large, tmp_path, seen):
    student = train(
        make_recipe(
            clips,
            data=VIEWS,
            model={"options": {k: v for k, v in MODEL.items() if k != "embedding_dim"}},
            teacher=by(large),
            train={"epochs": 1},
        ),
        tmp_path / "run",
    )
    assert {tuple(one.frames.shape[1:]) for _, one in seen} == {(3, 3, 48, 48)}
    assert student.teacher is not None
    looks = {"size": 48, "frames": 3, "sampling": "random_segment", "stride_s": None}
    assert student.teacher["looks_at"] == looks
    assert student.data["model_options"]["embedding_dim"] == 16
    # Its own validation accuracy is what it had in its own training.
    best = max(entry["val"]["top1"] for entry in large.history)
    assert student.teacher["val"]["value"] == pytest.approx(best)


def test_teacher_and_student_see_the_same_draw(clips, large, tmp_path, monkeypatch):
    """The bar of a mirrored clip is on the other side for both; windows are the same part."""
    from understudy.data import loader

    samples = []
    collate = loader.collate
    monkeypatch.setattr(loader, "collate", lambda some: samples.extend(some) or collate(some))
    recipe = make_recipe(
        clips, data=VIEWS, teacher=by(large, frames=4, sampling="uniform"), train={"epochs": 1},
        distill={"alpha": 0, "beta": 1},
    )  # fmt: skip
    train(recipe, tmp_path / "run")
    drawn = [one for one in samples if one.view is not None]
    assert len(drawn) == 30
    for one in drawn:
        theirs = one.teachers["teacher"]
        assert theirs.shape[-2:] == (48, 48)
        assert len(theirs) == len(one.frames)
        small = torch.nn.functional.interpolate(theirs.float(), 32, mode="area")
        assert (small - one.frames.float()).abs().mean() < 12


def test_a_model_that_needs_sixteen_frames_teaches_one_that_reads_four(clips, c3d, tmp_path, seen):
    options = {k: v for k, v in MODEL.items() if k != "embedding_dim"}
    train(
        make_recipe(
            clips,
            model={"options": options},
            data=VIEWS,
            teacher=by(c3d),
            train={"epochs": 1},
            distill={"alpha": 0.5},
        ),
        tmp_path / "run",
    )
    assert {int(one.lengths.max()) for _, one in seen} == {4}, "there are no more frames"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 48}, r"c3d cannot look at clips of 16 frames of 48 pixels.*leave them out"),
        ({"frames": 20}, r"c3d cannot look at clips of 20 frames"),
    ],
)
def test_what_a_teacher_cannot_look_at_is_refused(clips, c3d, tmp_path, changes, message):
    recipe = make_recipe(clips, teacher=by(c3d, **changes), distill={"alpha": 0, "beta": 1})
    with pytest.raises(UserError, match=message):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def two_teachers(clips: Path, large: Run, c3d: Run, **sections):
    options = {k: v for k, v in MODEL.items() if k != "embedding_dim"}
    return make_recipe(
        clips,
        data=VIEWS,
        model={"options": options},
        teachers={"large": by(large), "still": by(c3d, beta=0.0, alpha=0.5)},
        distill={"alpha": 1.0, "beta": 2.0, "gamma": 0.5, "temperature": 2.0},
        train={"epochs": 3},
        **sections,
    )


def test_several_teachers_by_name(clips, large, c3d, tmp_path):
    run = train(two_teachers(clips, large, c3d), tmp_path / "run")
    assert run.teacher is not None
    assert {name: one["name"] for name, one in run.teacher["teachers"].items()} == {
        "large": "large",
        "still": "c3d",
    }
    for entry in run.history:
        parts = entry["train"]
        assert set(parts) == {
            "loss", "task", "top1", "feature_large", "response_large", "feature_still",
            "cosine_large", "cosine_still",
        }  # fmt: skip
        expected = parts["feature_large"] + 2 * parts["response_large"]
        expected += 0.5 * parts["feature_still"] + 0.5 * parts["task"]
        assert parts["loss"] == pytest.approx(expected, rel=1e-5)
    first, last = run.history[0]["train"], run.history[-1]["train"]
    assert last["feature_still"] < first["feature_still"], "its map into that space learns"
    # The map is training's alone: the student is the model that its options build.
    assert run.data["model_options"]["embedding_dim"] == 16
    run.load_model()
    assert open_run(run.path).recipe.teachers.keys() == {"large", "still"}


def test_the_maps_into_teachers_spaces_go_on_with_a_run(clips, large, c3d, tmp_path):
    class Stop(Quiet):
        def epoch(self, entry):
            if entry["epoch"] == 2:
                raise KeyboardInterrupt

    recipe = two_teachers(clips, large, c3d)
    whole = train(recipe, tmp_path / "a" / "run")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "b" / "run", reporter=Stop())
    resumed = resume(tmp_path / "b" / "run")
    a, b = (load_file(run.path / "resume" / "state.safetensors") for run in (whole, resumed))
    assert any("projections.still" in name for name in a)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"teacher": {"kind": "clip"}, "teachers": {"a": {"kind": "clip"}}}, "both given"),
        ({"teachers": {"a b": {"kind": "clip"}}}, "is no name for a teacher"),
        ({"teachers": {"a": {"kind": "clip", "hed": "probe"}}}, r"teachers\.a\.hed: no such key.*"
         "Did you mean head"),
        ({"teachers": {"a": {"kind": "clip", "alpha": 0, "beta": 0}}}, "a would teach nothing"),
        ({"teachers": {"a": {"kind": "clip", "sampling": "dense"}}}, "stride_s and sampling"),
    ],
)  # fmt: skip
def test_mistakes_in_teachers_are_named(clips, sections, message):
    with pytest.raises(UserError, match=message):
        make_recipe(clips, **sections)
