"""A run that goes on is the one that stopped: whatever else it finds is refused, or told."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from understudy.errors import UserError
from understudy.run import Run, open_run, write_json
from understudy.teach.progress import Quiet
from understudy.teach.train import resume, train

from .conftest import draw_clip, make_recipe


class StopAfter(Quiet):
    """Ctrl-C right after so many finished epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def epoch(self, entry):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


class Listening(Quiet):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def stopped(clips, tmp_path_factory) -> Path:
    """A folder with a teacher, a student stopped after 2 of 3 epochs, and one of another seed."""
    runs = tmp_path_factory.mktemp("stopped")
    teacher = train(make_recipe(clips, train={"epochs": 1}), runs / "teacher")
    for name, seed in (("run", 0), ("other", 1)):
        recipe = make_recipe(
            clips,
            name=name,
            train={"seed": seed},
            teacher={"kind": "run", "path": str(teacher.path)},
            distill={"gamma": 1.0},
        )
        with pytest.raises(KeyboardInterrupt):
            train(recipe, runs / name, reporter=StopAfter(2))
    return runs


@pytest.fixture
def runs(stopped, tmp_path) -> Path:
    shutil.copytree(stopped, tmp_path / "runs")
    edit(tmp_path / "runs" / "run", str(stopped), str(tmp_path / "runs"))
    return tmp_path / "runs"


def edit(run: Path, old: str, new: str) -> None:
    text = (run / "recipe.yaml").read_text(encoding="utf-8")
    assert old in text
    (run / "recipe.yaml").write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr: 0.003\n", "lr: 0.1\n", r"train\.lr was 0\.003, is 0\.1\. Put it back"),
        ("epochs: 3", "epochs: 5", r"train\.epochs was 3, is 5.*train longer.*model\.start\.run"),
        ("heads: 2", "heads: 4", r"model\.options\.heads was 2, is 4"),
        ("alpha: 1.0", "alpha: 2.0", r"distill\.alpha was 1\.0, is 2\.0"),
        ("flip: 0.0", "flip: 0.5", r"data\.augment\.flip was 0\.0, is 0\.5"),
        ("    kind: run", "    kind: nobody", r"recipe\.yaml is not a valid recipe"),
    ],
)
def test_an_edited_recipe_is_refused(runs, old, new, message):
    if "nobody" in new:
        old, new = "kind: run", "kind: nobody"
    edit(runs / "run", old, new)
    with pytest.raises(UserError, match=message):
        resume(runs / "run")


def test_edits_that_change_nothing_of_what_is_learned_are_told(runs, stopped):
    edit(runs / "run", "patience: null", "patience: 2")
    edit(runs / "run", "memory_mb: 512", "memory_mb: 64")
    listening = Listening()
    resumed = resume(runs / "run", reporter=listening)
    [told] = [text for text in listening.said if "was edited" in text]
    assert "data.memory_mb was 512, is 64; " in told
    assert "train.patience was None, is 2" in told
    assert f"teacher.path was {stopped}/teacher, is {runs}/teacher" in told
    assert len(resumed.history) == 3


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("resume/state.safetensors", "resume/state.safetensors in .* belongs to another run"),
        ("checkpoints/best.safetensors", "best.safetensors was written by another run"),
        ("environment.json", "resume/state.safetensors in .* belongs to another run"),
        ("recipe.yaml", "train.seed was 0, is 1"),
    ],
)
def test_parts_of_another_run_are_refused(runs, part, message):
    shutil.copy(runs / "other" / part, runs / "run" / part)
    with pytest.raises(UserError, match=message):
        resume(runs / "run")


def test_clips_and_options_of_another_run_are_refused(runs, clips):
    run = open_run(runs / "run")
    data = run.data
    write_json(run.path / "data.json", data | {"model_options": data["model_options"] | {"x": 1}})
    with pytest.raises(UserError, match=r"data\.json is not what it was .*: model_options"):
        resume(run.path)
    write_json(run.path / "data.json", data)
    manifest = run.manifest
    assert manifest.fingerprints is not None
    known = list(manifest.fingerprints)
    row = manifest.rows("test")[0]  # not looked at in training, and of this run all the same
    known[row] = f"1{known[row]}"
    run.write_manifest(manifest.with_fingerprints(known))
    with pytest.raises(UserError, match=r"manifest\.parquet is not what it was"):
        resume(run.path)


def change_weights(run: Run, checkpoint: str = "best") -> None:
    path = run.checkpoint_path(checkpoint)
    with safe_open(path, "pt") as stored:
        notes = stored.metadata()
    save_file({name: 1.5 * tensor for name, tensor in load_file(path).items()}, path, notes)


def test_another_teacher_is_refused(runs):
    teacher = open_run(runs / "teacher")
    shutil.copytree(teacher.path, runs / "kept")
    change_weights(teacher)
    with pytest.raises(UserError, match=r"teacher .*/teacher\) is not the teacher.*its weights"):
        resume(runs / "run")
    shutil.rmtree(teacher.path)
    shutil.copytree(runs / "kept", teacher.path)
    edit(teacher.path, "sampling: uniform", "sampling: centre")
    with pytest.raises(UserError, match=r"is not the teacher.*its way of looking changed"):
        resume(runs / "run")
    shutil.rmtree(teacher.path)
    with pytest.raises(UserError, match=r"no run at .*/teacher"):
        resume(runs / "run")
    edit(runs / "run", f"{runs}/teacher", f"{runs}/kept")
    assert len(resume(runs / "run").history) == 3


def test_clips_may_be_moved_and_must_be_the_same(runs, clips, tmp_path):
    run = open_run(runs / "run")
    moved, other = tmp_path / "moved", tmp_path / "other"
    run.write_manifest(replace(run.manifest, root=tmp_path / "gone"))
    kept = run.manifest
    for folder in (moved, other):
        shutil.copytree(clips.parent, folder)
    draw_clip(tmp_path / "drawn", "left", 99)
    shutil.copytree(tmp_path / "drawn", other / "clips" / "00", dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"39 of 39 clips (.*\n)+.*gone.*with --data"):
        resume(run.path)
    with pytest.raises(UserError, match=r"1 of 39 clips .*\n  clips/00: has changed\n"):
        resume(run.path, data=other)
    with pytest.raises(UserError, match=r"--data .*clips\.csv is no folder"):
        resume(run.path, data=moved / "clips.csv")
    assert run.manifest.root == kept.root, "and nothing changes where they are refused"
    assert len(resume(run.path, data=moved).history) == 3
    assert run.manifest.root == moved
    assert run.manifest.fingerprint() == kept.fingerprint()


@pytest.mark.parametrize("freeze", [False, True])
def test_what_it_began_with_may_be_gone(clips, tmp_path, freeze):
    """Going on, the weights are those of the last epoch, also where a backbone that never changes
    is computed once."""
    options = {"backbone": "test_efficientnet", "embedding_dim": 32, "hidden_dim": 16, "heads": 2}
    source = train(make_recipe(clips, train={"epochs": 1}), tmp_path / "source")
    options |= {"weights": "checkpoint", "freeze_backbone": freeze} if freeze else {}
    recipe = make_recipe(
        clips, model={"options": options, "start": {"run": str(source.path)}}, train={"epochs": 2}
    )
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", reporter=StopAfter(1))
    shutil.rmtree(source.path)
    resumed = resume(tmp_path / "run")
    one, two = (load_file(run.checkpoint_path("final")) for run in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_another_runs_checkpoint_is_not_taken_for_a_runs_own(runs):
    shutil.copy(runs / "other/checkpoints/best.safetensors", runs / "run/checkpoints")
    with pytest.raises(UserError, match=r"best\.safetensors was written by another run"):
        open_run(runs / "run").load_model()


def test_a_state_of_an_earlier_version_goes_on_and_says_so(runs):
    change_progress(runs / "run", lambda progress: progress.pop("identity"))
    listening = Listening()
    assert len(resume(runs / "run", reporter=listening).history) == 3
    assert any("begun by an earlier version" in text for text in listening.said)


def change_progress(run: Path, change) -> None:
    file = run / "resume" / "state.safetensors"
    with safe_open(file, "pt") as stored:
        progress = json.loads(stored.metadata()["progress"])
    text = change(progress)
    text = text if isinstance(text, str) else json.dumps(progress)
    save_file(load_file(file), file, {"progress": text})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(steps=-1), r"steps: Input should be greater.*given: -1"),
        (lambda p: p.update(steps="many"), r"steps: Input should be a valid integer"),
        (lambda p: p.update(history=[[]]), r"history.*0"),
        (lambda p: p.update(extra=1), r"extra is no field that this version knows"),
        (lambda p: p.pop("history"), r"history is missing"),
        (lambda p: "[" * 10_000, "nested too deeply"),
        (lambda p: "", "Expecting value"),
        (lambda p: '{"steps": NaN}', "it holds NaN, which is no number"),
        (lambda p: '{"steps": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_a_state_that_holds_nonsense_is_named(runs, change, message):
    change_progress(runs / "run", change)
    with pytest.raises(UserError, match=rf"state\.safetensors is damaged.*{message}") as caught:
        resume(runs / "run")
    assert "--out" in str(caught.value)


@pytest.mark.parametrize("prefix", ["model.called.head", "optimizer.0.exp_avg"])
def test_a_state_of_other_tensors_is_named(runs, prefix):
    file = runs / "run" / "resume" / "state.safetensors"
    with safe_open(file, "pt") as stored:
        notes = stored.metadata()
    tensors = load_file(file)
    name = next(name for name in tensors if name.startswith(prefix))
    save_file(tensors | {name: torch.zeros(2, 3, 5)}, file, notes)
    with pytest.raises(UserError, match=r"state\.safetensors is damaged.*checkpoints can still"):
        resume(runs / "run")
