import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from understudy.data import reader
from understudy.data.decode import DecodeError
from understudy.errors import UserError
from understudy.models import create_model
from understudy.recipe import Train, dump_recipe
from understudy.run import Run, making, open_run
from understudy.task import SingleLabel
from understudy.teach import keep
from understudy.teach.optimizer import learning_rate
from understudy.teach.progress import Quiet
from understudy.teach.train import resume, train

from .conftest import MODEL, make_recipe


class Interrupt(Quiet):
    """Stops training as a person at the keyboard would, in the middle of an epoch."""

    def __init__(self, after_clips: int) -> None:
        self.left = after_clips

    def advance(self, clips: int) -> None:
        self.left -= clips
        if self.left < 0:
            raise KeyboardInterrupt


def weights(run: Run, checkpoint: str = "final") -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint_path(checkpoint))


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert a
    for name in a:
        assert torch.equal(a[name], b[name]), name


def timeless(history: list[dict]) -> list[dict]:
    times = ("seconds", "val_seconds", "clips_per_second")
    return [{k: v for k, v in entry.items() if k not in times} for entry in history]


AUGMENTED = {
    "augment": {"crop_scale": 0.5, "brightness": 0.4, "views": 2},
    "sampling": "random_segment",
}


@pytest.fixture(scope="module")
def teacher_run(clips, tmp_path_factory) -> Run:
    recipe = make_recipe(clips, train={"epochs": 4})
    return train(recipe, tmp_path_factory.mktemp("runs") / "teacher")


def taught_recipe(clips: Path, teacher: Run, **sections):
    return make_recipe(
        clips,
        teacher={"kind": "run", "path": str(teacher.path)},
        distill={"alpha": 1.0, "beta": 1.0, "gamma": 0.5, "temperature": 2.0},
        **sections,
    )


def test_learns_what_only_time_tells(clips, tmp_path):
    run = train(make_recipe(clips, train={"epochs": 20, "lr": 5e-3}), tmp_path / "run")
    history = run.history
    assert len(history) == 20
    assert history[-1]["train"]["loss"] < 0.5 * history[0]["train"]["loss"]
    assert max(entry["val"]["top1"] for entry in history) >= 0.7
    assert [e["epoch"] for e in history if e["best"]], "one epoch at least is the best so far"


@pytest.mark.parametrize("interrupted_in_epoch", [2, 3])
def test_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_ends(
    clips, teacher_run, tmp_path, interrupted_in_epoch
):
    recipe = taught_recipe(clips, teacher_run, data=AUGMENTED, train={"epochs": 4})
    whole = train(recipe, tmp_path / "a" / "run")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "b" / "run", reporter=Interrupt(30 * interrupted_in_epoch - 10))
    part = open_run(tmp_path / "b" / "run")
    assert len(part.history) == interrupted_in_epoch - 1
    resumed = resume(part.path)
    assert_same(weights(whole), weights(resumed))
    assert_same(weights(whole, "best"), weights(resumed, "best"))
    assert timeless(whole.history) == timeless(resumed.history)


def test_run_stopped_in_its_first_epoch_begins_again(clips, teacher_run, tmp_path, monkeypatch):
    recipe = taught_recipe(clips, teacher_run, data=AUGMENTED, train={"epochs": 2})
    whole = train(recipe, tmp_path / "a" / "run")
    monkeypatch.setattr(making, "_discard", lambda *_: None)  # as when the process is killed
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "b" / "run", reporter=Interrupt(10))
    assert not open_run(tmp_path / "b" / "run").history
    resumed = resume(tmp_path / "b" / "run")
    assert_same(weights(whole), weights(resumed))
    assert timeless(whole.history) == timeless(resumed.history)


def test_a_run_stopped_in_its_first_epoch_keeps_its_clips_too(clips, tmp_path, monkeypatch):
    table = clips.parent / "first_epoch.csv"
    table.write_text(clips.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(making, "_discard", lambda *_: None)  # as when the process is killed
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(table), tmp_path / "run", reporter=Interrupt(10))
    before = open_run(tmp_path / "run").manifest.fingerprint()
    table.write_text("path,label\n", encoding="utf-8")
    assert resume(tmp_path / "run").manifest.fingerprint() == before


def test_interrupt_in_the_first_epoch_leaves_nothing_in_the_way(clips, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(clips), tmp_path / "run", reporter=Interrupt(10))
    assert not (tmp_path / "run").exists()


def test_resuming_a_finished_run_changes_nothing(clips, tmp_path, monkeypatch):
    run = train(make_recipe(clips, train={"epochs": 1}), tmp_path / "run")
    before, trained = run.environment, weights(run)
    monkeypatch.setattr(keep.time, "strftime", lambda *_: "later")
    resume(run.path)
    assert run.environment == before
    assert len(run.history) == 1
    assert_same(weights(run), trained)
    (run.path / "resume" / "state.safetensors").unlink()
    with pytest.raises(UserError, match="checkpoints can still be used"):
        resume(run.path)


@pytest.mark.slow
def test_killed_process_loses_one_epoch_at_most(clips, tmp_path):
    recipe = make_recipe(clips, train={"epochs": 4})
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    place = tmp_path / "killed"
    command = [sys.executable, "-m", "understudy.cli", "train", str(tmp_path / "recipe.yaml")]
    # As many threads as here: sums in another order differ in their last bits.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        [*command, "--out", str(place)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   2"):
            break
    process.kill()
    process.wait()
    assert len(open_run(place).history) in (2, 3)
    whole = train(recipe, tmp_path / "whole")
    assert_same(weights(whole), weights(resume(place)))


def test_same_seed_same_run_other_seed_other_run(clips, tmp_path):
    class Watch(Quiet):
        """Notes from which seed each batch draws, dropout above all."""

        def __init__(self) -> None:
            self.seeds: list[int] = []

        def advance(self, clips: int) -> None:
            self.seeds.append(torch.initial_seed())

    def run(place: str, **settings) -> tuple[Run, list[int]]:
        recipe = make_recipe(clips, data=AUGMENTED, train={"epochs": 2, **settings})
        watch = Watch()
        return train(recipe, tmp_path / place, reporter=watch), watch.seeds

    (first, seeds), (again, same), (other, others) = run("1"), run("2"), run("3", seed=5)
    assert_same(weights(first), weights(again))
    name = "head.0.weight"
    assert not torch.equal(weights(first)[name], weights(other)[name])
    assert seeds == same
    assert len(set(seeds)) == 2, "every epoch draws anew"
    assert not set(seeds) & set(others)


def backbone_file(folder: Path) -> Path:
    torch.manual_seed(7)
    model = create_model("frames-attention", 3, **MODEL)
    file = folder / "backbone.safetensors"
    tensors = {k: v.contiguous() for k, v in model.backbone.state_dict().items()}
    save_file(tensors, file, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    return file


@pytest.mark.parametrize("head", ["attention", "tcn", "gru"])
def test_features_computed_once_train_the_same_head(head, clips, tmp_path, monkeypatch):
    frozen = {"weights": str(backbone_file(tmp_path)), "freeze_backbone": True, "dropout": 0.0}
    options = {**MODEL, **frozen, "temporal": head}
    recipe = make_recipe(clips, model={"options": options}, train={"epochs": 3})
    fast = train(recipe, tmp_path / "fast")
    monkeypatch.setattr("understudy.teach.setup._has_fixed_features", lambda *_: False)
    slow = train(recipe, tmp_path / "slow")
    for name, tensor in weights(slow).items():
        assert torch.allclose(weights(fast)[name], tensor, atol=1e-5), name
    start = load_file(backbone_file(tmp_path))
    for name, tensor in start.items():  # frozen means frozen: batch statistics too
        assert torch.equal(weights(slow)[f"backbone.{name}"], tensor), name


def test_accumulated_batches_take_the_step_of_one_big_batch(clips, tmp_path):
    # Batch statistics would differ between the two, so the backbone is frozen.
    frozen = {"weights": str(backbone_file(tmp_path)), "freeze_backbone": True, "dropout": 0.0}
    model = {"options": {**MODEL, **frozen}}
    big = make_recipe(clips, model=model, train={"epochs": 2, "batch_size": 10})
    small = make_recipe(clips, model=model, train={"epochs": 2, "batch_size": 5, "accumulate": 2})
    one, two = train(big, tmp_path / "big"), train(small, tmp_path / "small")
    for name, tensor in weights(one).items():
        assert torch.allclose(weights(two)[name], tensor, atol=1e-4), name


def test_record_of_the_teacher_and_every_part_of_the_loss(clips, teacher_run, tmp_path):
    run = train(taught_recipe(clips, teacher_run, train={"epochs": 2}), tmp_path / "run")
    assert run.teacher is not None
    assert run.teacher["head"] == "trained"
    best = max(e["val"]["top1"] for e in teacher_run.history)
    assert run.teacher["val"]["value"] == pytest.approx(best)
    for entry in run.history:
        parts = entry["train"]
        expected = parts["feature"] + parts["response"] + 0.5 * parts["task"]
        assert parts["loss"] == pytest.approx(expected, rel=1e-5)
        assert parts["feature"] == pytest.approx(2 - 2 * parts["cosine"], abs=1e-5)


def test_checkpoints_best_final_and_every_n_epochs(clips, tmp_path):
    recipe = make_recipe(clips, train={"epochs": 4, "checkpoint_every": 2})
    run = train(recipe, tmp_path / "run")
    assert run.checkpoints() == ["best", "epoch_002", "epoch_004", "final"]
    # 30 clips in batches of 8 are four steps an epoch, of which the last one's rate is noted.
    expected = [learning_rate(4 * epoch - 1, 16, recipe.train) for epoch in (1, 2, 3, 4)]
    assert [entry["lr"] for entry in run.history] == expected
    assert_same(weights(run, "final"), weights(run, "epoch_004"))
    model = run.load_model("final")
    assert_same({k: v.contiguous() for k, v in model.state_dict().items()}, weights(run))


def test_early_stopping_counts_from_the_best_epoch(clips, tmp_path):
    # A learning rate of almost nothing: the first epochs decide, then nothing gets better.
    recipe = make_recipe(clips, train={"epochs": 50, "patience": 2, "lr": 1e-12, "min_lr": 0})
    run = train(recipe, tmp_path / "run")
    best = max(entry["epoch"] for entry in run.history if entry["best"])
    assert len(run.history) == best + 2 < 50


@pytest.mark.parametrize("imbalance", ["class_weights", "balanced_sampling"])
def test_imbalance_is_answered(clips, tmp_path, imbalance):
    lines = clips.read_text(encoding="utf-8").splitlines()
    kept = [line for n, line in enumerate(lines) if "left,train" not in line or n % 9 == 1]
    table = clips.parent / f"rare_{imbalance}.csv"
    table.write_text("\n".join(kept) + "\n", encoding="utf-8")
    run = train(
        make_recipe(table, train={"epochs": 2, "imbalance": imbalance}), tmp_path / "weighted"
    )
    plain = train(make_recipe(table, train={"epochs": 2}), tmp_path / "plain")
    assert run.data["counts"]["train"]["left"] < run.data["counts"]["train"]["right"]
    assert run.history[0]["train"]["loss"] != plain.history[0]["train"]["loss"]


def test_bad_clip_is_skipped_counted_and_listed(clips, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(clips.parent, folder)
    spoilt = folder / "clips" / "00" / "001.png"
    spoilt.write_bytes(b"not a picture")
    run = train(make_recipe(folder / "clips.csv"), tmp_path / "run")
    [entry] = run.data["skipped"]
    assert (entry["path"], entry["split"], entry["row"]) == ("clips/00", "train", 0)
    assert "001.png" in entry["reason"]
    for number in ("03", "06", "09"):
        (folder / "clips" / number / "002.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"[23] of 39 clips could not be read, more than the share of 5%"
    ):
        train(make_recipe(folder / "clips.csv"), tmp_path / "stopped")
    assert not (tmp_path / "stopped").exists(), "nothing was learned, nothing is in the way"


def test_a_clip_that_could_not_be_read_stays_listed_when_a_run_goes_on(
    clips, tmp_path, monkeypatch
):
    """Its first epoch did without it, whatever later epochs met: a disk that was away for a while,
    or a clip that balanced sampling didn't draw again."""
    read = reader.read_views

    def away(path: Path, *rest):
        if path.name == "00":
            raise DecodeError(path, "the disk was away")
        return read(path, *rest)

    recipe = make_recipe(clips, train={"epochs": 2})
    monkeypatch.setattr(reader, "read_views", away)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", reporter=Interrupt(45))
    monkeypatch.setattr(reader, "read_views", read)
    [entry] = resume(tmp_path / "run").data["skipped"]
    assert (entry["path"], entry["split"]) == ("clips/00", "train")
    assert "the disk was away" in entry["reason"]


def test_loss_that_is_no_number_stops_with_advice(clips, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        return real(*args, **kwargs) * math.nan

    real = SingleLabel.loss
    monkeypatch.setattr(SingleLabel, "loss", broken)
    with pytest.raises(UserError, match=r"no longer a number in epoch 1 \(task\).*train\.lr"):
        train(make_recipe(clips), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a run without one good epoch is in nobody's way"


def test_single_pictures_are_no_batches(clips, tmp_path):
    table = clips.parent / "pictures.csv"
    text = clips.read_text(encoding="utf-8")
    table.write_text(re.sub(r"(clips/\d+),", r"\1/000.png,", text), encoding="utf-8")
    with pytest.raises(UserError, match=r"single picture\. Set train\.batch_size=2 or more"):
        train(make_recipe(table, train={"batch_size": 1}), tmp_path / "run")
    assert len(train(make_recipe(table, train={"epochs": 1}), tmp_path / "run").history) == 1


def test_teacher_whose_head_was_never_trained_is_refused(clips, teacher_run, tmp_path):
    recipe = taught_recipe(clips, teacher_run, train={"epochs": 1})
    features_only = recipe.model_copy(
        update={"distill": recipe.distill.model_copy(update={"beta": 0.0, "gamma": 0.0})}
    )
    headless = train(features_only, tmp_path / "headless")
    with pytest.raises(UserError, match="never trained"):
        train(taught_recipe(clips, headless), tmp_path / "student")
    assert not (tmp_path / "student").exists(), "a mistake leaves nothing in the way"
    by_features = make_recipe(
        clips,
        teacher={"kind": "run", "path": str(headless.path)},
        distill={"beta": 0.0},
        train={"epochs": 1},
    )
    assert train(by_features, tmp_path / "student").teacher["head"] == "none"  # pyright: ignore


def test_teacher_of_other_classes_is_refused(clips, teacher_run, tmp_path):
    table = clips.parent / "renamed.csv"
    table.write_text(clips.read_text().replace(",still,", ",idle,"), encoding="utf-8")
    with pytest.raises(UserError, match=r"knows the classes left, right, still"):
        train(taught_recipe(table, teacher_run), tmp_path / "run")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"name": "mobilevit-xs"}}, "Did you mean mobilevit-xxs"),
        ({"model": {"options": {"droput": 0.1}}}, "Did you mean dropout"),
        ({"model": {"options": {"freeze_backbone": True}}}, "would never learn anything"),
        ({"model": {"options": {"weights": "nowhere.safetensors"}}}, "no weight file nowhere"),
        ({"train": {"device": "cuda"}}, "no such device"),
        ({"train": {"device": "cpu", "precision": "fp16"}}, "needs a GPU"),
        ({"train": {"tracker": "mlflow"}}, r"pip install 'understudy\[mlflow\]'"),
        ({"data": {"manifest": "nowhere.csv"}}, "no manifest nowhere.csv"),
    ],
)
def test_mistakes_are_found_before_the_first_step(clips, tmp_path, sections, message):
    if "cuda" in str(sections) and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    if "mlflow" in str(sections) and importlib.util.find_spec("mlflow"):
        pytest.skip("mlflow is installed")
    with pytest.raises(UserError, match=message):
        train(make_recipe(clips, **sections), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_run_that_exists_is_never_overwritten(clips, teacher_run):
    with pytest.raises(UserError, match="--resume"):
        train(make_recipe(clips), teacher_run.path)


def test_full_disk_is_noticed_before_hours_are_spent(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match=r"0 MB free; checkpoints and resume file need"):
        train(make_recipe(clips), tmp_path / "run")


def test_disk_that_fills_up_keeps_the_last_epoch(clips, tmp_path, monkeypatch):
    real = keep.save_state

    def full(run, model, optimizer, device, progress):
        if len(progress.history) == 2:
            raise OSError(28, "No space left on device")
        real(run, model, optimizer, device, progress)

    monkeypatch.setattr(keep, "save_state", full)
    with pytest.raises(UserError, match=r"No space left on device.*--resume"):
        train(make_recipe(clips), tmp_path / "run")
    monkeypatch.setattr(keep, "save_state", real)
    whole = train(make_recipe(clips), tmp_path / "whole")
    assert_same(weights(whole), weights(resume(tmp_path / "run")))


def test_a_run_owns_its_clips(clips, tmp_path):
    """What becomes of the table afterwards moves no clip of the run between its splits."""
    table = clips.parent / "changing.csv"
    text = re.sub(r",(train|val|test),", ",,", clips.read_text(encoding="utf-8"))
    table.write_text(text, encoding="utf-8")
    whole = train(make_recipe(table), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(table), tmp_path / "run", reporter=Interrupt(45))
    before = open_run(tmp_path / "run").manifest
    table.write_text(text + "clips/00#copy,left,,somebody\n", encoding="utf-8")
    assert_same(weights(whole), weights(resume(tmp_path / "run")))
    after = open_run(tmp_path / "run").manifest
    assert after.fingerprint() == before.fingerprint()
    assert list(after.records) == list(before.records)
    table.unlink()
    resume(tmp_path / "run")


def test_the_split_has_a_seed_of_its_own(clips, tmp_path):
    table = clips.parent / "unsplit.csv"
    text = re.sub(r",(train|val|test),", ",,", clips.read_text(encoding="utf-8"))
    table.write_text(text, encoding="utf-8")

    def splits(**data) -> list[str]:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        run = train(make_recipe(table, data=data, train={"epochs": 1}), place)
        return [record.split for record in run.manifest.records]

    assert splits() == splits(seed=3) != splits(split_seed=3)


@pytest.mark.parametrize("harm", ["replaced", "removed"])
def test_clips_that_are_not_what_they_were_are_named(clips, tmp_path, harm):
    folder = tmp_path / "copy"
    shutil.copytree(clips.parent, folder)
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(folder / "clips.csv"), tmp_path / "run", reporter=Interrupt(45))
    clip = folder / "clips" / "04"
    shutil.rmtree(clip)
    if harm == "replaced":
        shutil.copytree(folder / "clips" / "07", clip)
    said = "has changed" if harm == "replaced" else "is gone"
    with pytest.raises(UserError, match=rf"1 of 39 clips are not.*\n  clips/04: {said}"):
        resume(tmp_path / "run")
    shutil.rmtree(clip, ignore_errors=True)
    shutil.copytree(clips.parent / "clips" / "04", clip)
    assert len(resume(tmp_path / "run").history) == 3


def test_a_clip_that_changes_while_training_is_not_taught_as_the_old_one(clips, tmp_path):
    """What its teacher said is of the old pixels, so the new ones are skipped, and named."""
    folder = tmp_path / "copy"
    shutil.copytree(clips.parent, folder)

    class Replace(Quiet):
        def epoch(self, entry):
            shutil.copy(folder / "clips" / "07" / "001.png", folder / "clips" / "04" / "001.png")

    recipe = make_recipe(folder / "clips.csv", data={"memory_mb": 0}, train={"epochs": 2})
    run = train(recipe, tmp_path / "run", reporter=Replace())
    [entry] = run.data["skipped"]
    assert entry["path"] == "clips/04"
    assert "its bytes have changed" in entry["reason"]


def test_nothing_of_the_users_is_deleted_or_replaced(clips, tmp_path):
    """A folder that holds anything else is refused, also where the recipe then fails."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "data.json").write_text("mine", encoding="utf-8")
    for recipe in (make_recipe(clips), make_recipe(Path("nowhere.csv"))):
        with pytest.raises(UserError, match=r"is not empty \(data\.json\) and no run"):
            train(recipe, theirs)
    assert [file.name for file in theirs.iterdir()] == ["data.json"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"no manifest nowhere\.csv"):
        train(make_recipe(Path("nowhere.csv")), empty)
    assert empty.is_dir(), "it was there before"
    assert not list(empty.iterdir())


def test_a_second_writer_is_told_who_holds_the_run(clips, teacher_run):
    place = teacher_run.path
    code = (
        "import sys; from understudy.run import writing; from pathlib import Path\n"
        f"with writing(Path({str(place)!r})):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for attempt in (lambda: resume(place), lambda: train(make_recipe(clips), place)):
            with pytest.raises(UserError, match=rf"being written by process {holder.pid} on "):
                attempt()
        holder.kill()  # a process that is gone holds nothing
        holder.wait()
        resume(place)
    finally:
        holder.kill()
        holder.communicate()
    assert not list(place.glob(".lock")) + list(place.glob(".writer*"))


def test_a_skipped_last_batch_leaks_no_gradient(clips, tmp_path, monkeypatch):
    """With batches gathered in twos, an epoch ends with a step of what is left, and the next begins
    with nothing."""
    from understudy.teach import step

    taken: list[list[int]] = [[]]
    backward, take = step.Step.backward, step.Step.take

    def watch_backward(self, loss, clips):
        taken[-1].append(clips)
        backward(self, loss, clips)

    def watch_take(self):
        taken.append([])
        return take(self)

    monkeypatch.setattr(step.Step, "backward", watch_backward)
    monkeypatch.setattr(step.Step, "take", watch_take)
    # 30 clips in batches of 12: 12 and 12, then 6.
    recipe = make_recipe(clips, train={"epochs": 2, "batch_size": 12, "accumulate": 2})
    train(recipe, tmp_path / "run")
    assert taken == [[12, 12], [6], [12, 12], [6], []]


def test_parameters_decay_and_learn_as_their_kind_should(clips):
    from understudy.teach.learner import Learner
    from understudy.teach.optimizer import create_optimizer, set_learning_rate

    student = create_model("frames-attention", 3, **MODEL)
    settings = Train(weight_decay=0.1, backbone_lr=0.1)
    optimizer = create_optimizer(Learner(student), settings)
    found = {
        id(parameter): (group["weight_decay"], group["share"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    named = {name: found[id(parameter)] for name, parameter in student.named_parameters()}
    assert len(named) == len(found)
    assert named["head.0.weight"] == (0.1, 1.0)
    assert named["temporal.attention.in_proj_weight"] == (0.1, 1.0)
    for name in ("head.0.bias", "projection.1.weight", "temporal.query", "temporal.norm.weight"):
        assert named[name] == (0.0, 1.0), name
    for name, (decay, share) in named.items():
        if name.startswith("backbone."):
            norm = ".bn" in name or name.endswith(".bias")
            assert (decay, share) == (0.0 if norm else 0.1, 0.1), name
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5, 0.05}


def test_checkpoint_of_another_model_is_refused(clips, teacher_run, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(teacher_run.path, place)
    data = json.loads((place / "data.json").read_text())
    data["model_options"]["embedding_dim"] = 64
    (place / "data.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="checkpoint of another model"):
        open_run(place).load_model()
    (place / "checkpoints" / "best.safetensors").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="not a readable safetensors file"):
        open_run(place).load_model()


def test_learning_rate_warms_up_then_falls_along_a_cosine():
    settings = Train(epochs=10, lr=1e-3, min_lr=1e-6, warmup_epochs=1)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == pytest.approx(1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(1e-6)
    plain = Train(epochs=10, lr=1e-3, min_lr=1e-6)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 99, eta_min=1e-6)
    for step in range(100):
        assert learning_rate(step, 100, plain) == pytest.approx(oracle.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        oracle.step()


def test_learning_rate_falls_in_steps():
    settings = Train(epochs=30, lr=1e-4, min_lr=0, schedule="step", schedule_epochs=10,
                     step_factor=0.8)  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-4)
    oracle = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.8)
    for epoch in range(30):
        for step in range(7 * epoch, 7 * epoch + 7):
            assert learning_rate(step, 210, settings) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()
    floor = settings.model_copy(update={"min_lr": 7e-5})
    assert learning_rate(209, 210, floor) == 7e-5
    warming = settings.model_copy(update={"warmup_epochs": 1})
    assert learning_rate(0, 210, warming) == pytest.approx(1e-4 / 8)


def test_a_cosine_may_be_longer_or_shorter_than_training():
    def rates(length):
        settings = Train(epochs=10, lr=1e-3, min_lr=1e-6, schedule_epochs=length)
        return [learning_rate(step, 100, settings) for step in range(100)]

    whole = [learning_rate(s, 1000, Train(epochs=100, lr=1e-3, min_lr=1e-6)) for s in range(100)]
    assert rates(100) == pytest.approx(whole)
    assert rates(10) == rates(None)
    assert rates(5)[49:] == pytest.approx([1e-6] * 51)


def test_tracker_receives_every_epoch(clips, tmp_path):
    pytest.importorskip("tensorboard")
    recipe = make_recipe(clips, train={"epochs": 2, "tracker": "tensorboard"})
    run = train(recipe, tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged = []
    for file in run.path.rglob("events.out.tfevents*"):
        events = EventAccumulator(str(file)).Reload()
        if "train/loss" in events.Tags()["scalars"]:
            logged += [event.value for event in events.Scalars("train/loss")]
    assert logged == pytest.approx([e["train"]["loss"] for e in run.history], rel=1e-5)


def test_bf16_trains(clips, tmp_path):
    run = train(make_recipe(clips, train={"epochs": 2, "precision": "bf16"}), tmp_path / "run")
    assert all(math.isfinite(entry["train"]["loss"]) for entry in run.history)
    assert run.load_model().head[0].weight.dtype == torch.float32  # pyright: ignore


def test_resumes_from_any_folder(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(clips.parent)
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(Path(clips.name)), tmp_path / "run", reporter=Interrupt(45))
    monkeypatch.chdir(tmp_path)
    whole = train(make_recipe(clips), tmp_path / "whole")
    assert_same(weights(whole), weights(resume(tmp_path / "run")))
