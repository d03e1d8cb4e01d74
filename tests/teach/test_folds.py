"""All folds of a recipe: each clip tested once, stopped and gone on with, one figure for all."""

import contextlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from understudy import cli
from understudy.errors import UserError
from understudy.judge.folds import compare_folds, evaluate_folds, pool
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions
from understudy.judge.show import metric_lines
from understudy.recipe import Recipe
from understudy.run import open_run
from understudy.run.folds import FoldRuns, for_fold, holds_folds, open_folds
from understudy.study.folds_report import render_folds
from understudy.task import MULTI_LABEL
from understudy.teach.folds import resume_folds, train_folds
from understudy.teach.progress import Quiet
from understudy.teach.train import train

from .conftest import make_recipe


def recipe_of(clips: Path, folds: int | str = 3, **sections) -> Recipe:
    data = {"manifest": str(clips), "size": 32, "frames": 4, "folds": folds}
    train = {"epochs": 1, "batch_size": 16, "lr": 3e-3, "device": "cpu"}
    return make_recipe(clips, data=data, train=train, eval={"resamples": 100}, **sections)


@pytest.fixture(scope="module")
def folds(clips, tmp_path_factory) -> FoldRuns:
    return train_folds(recipe_of(clips), tmp_path_factory.mktemp("runs") / "small")


def test_every_clip_is_tested_once_by_a_student_that_never_met_its_group(folds):
    found = evaluate_folds(folds)
    assert sorted(found.predictions.id) == sorted(f"clips/{n:02d}" for n in range(48))
    for fold, run in folds.runs.items():
        manifest = run.manifest
        tested = manifest.rows("test")
        assert {manifest.extras["fold"][row] for row in tested} == {str(fold)}
        learned = {*manifest.groups(manifest.rows("train")), *manifest.groups(manifest.rows("val"))}
        assert not learned & set(manifest.groups(tested))
        own = read_predictions(run.predictions_path)
        place = [found.predictions.id.index(name) for name in own.id]
        assert torch.equal(found.predictions.logits[place], own.logits)


def test_one_figure_for_all_clips_with_folds_and_groups_told_apart(folds):
    metrics = evaluate_folds(folds).metrics
    alone = compute_metrics(read_predictions(folds.path / "predictions.parquet"), resamples=100)
    assert metrics["top1"] == alone["top1"]
    assert (metrics["n"], metrics["groups"]) == (48, 16)
    assert sum(one["n"] for one in metrics["folds"]) == 48
    values = torch.tensor([one["figure"]["value"] for one in metrics["folds"]]).double()
    assert metrics["spread"]["deviation"] == pytest.approx(values.std().item())
    assert sum(one["right"]["n"] * one["right"]["value"] for one in metrics["by_group"]) == (
        pytest.approx(48 * metrics["top1"]["value"])
    )
    shown = "\n".join(metric_lines(json.loads((folds.path / "metrics.json").read_text())))
    assert "between folds: mean" in shown
    assert "person15 " in shown
    page = render_folds(open_folds(folds.path))
    assert "Fold by fold" in page
    assert "person15" in page


def test_two_recipes_are_compared_clip_by_clip_over_groups(folds):
    difference = compare_folds(folds, folds).difference
    assert (difference["difference"], difference["n"], difference["groups"]) == (0, 48, 16)


class StopInSecondFold(Quiet):
    """Stops training after the first epoch that it is told of, of the second reporter."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.number = self.made

    def epoch(self, entry):
        if self.number == 2:
            raise KeyboardInterrupt


def test_what_was_stopped_goes_on_and_what_is_finished_stays(clips, tmp_path):
    place, told = tmp_path / "small", []
    StopInSecondFold.made = 0
    with pytest.raises(KeyboardInterrupt):
        train_folds(recipe_of(clips), place, reporter=StopInSecondFold)
    assert holds_folds(place)
    with pytest.raises(UserError, match=r"Of 3 folds in .*, 3 are not trained.*train --resume"):
        evaluate_folds(open_folds(place))
    with pytest.raises(UserError, match=r"There are folds in .* already"):
        train_folds(recipe_of(clips), place)
    before = (place / "fold-1" / "history.json").stat().st_mtime_ns
    resume_folds(place, tell=told.append)
    assert told[0] == "fold 1 of 3 is trained already"
    assert (place / "fold-1" / "history.json").stat().st_mtime_ns == before
    assert all(open_run(place / f"fold-{fold}").is_finished for fold in (1, 2, 3))


def test_a_table_that_changed_between_folds_is_refused(clips, tmp_path):
    shutil.copytree(clips.parent, tmp_path / "data")
    table, place = tmp_path / "data" / "clips.csv", tmp_path / "small"
    train(for_fold(recipe_of(table), 1), place / "fold-1")
    table.write_text(table.read_text().replace(",person3\n", ",person4\n"))
    with pytest.raises(UserError, match="has changed since the first fold was trained"):
        resume_folds(place)


def test_what_cannot_be_trained_is_told_before_the_first_fold(clips, tmp_path, monkeypatch):
    place = tmp_path / "small"
    with pytest.raises(UserError, match=r"20 groups \(people\).*left \(16\)"):
        train_folds(recipe_of(clips, 20), place)
    (place / "notes").mkdir(parents=True)
    with pytest.raises(UserError, match="is not empty"):
        train_folds(recipe_of(clips), place)
    with pytest.raises(UserError, match=r"data\.folds makes a run for each fold"):
        train(recipe_of(clips), place)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="Several processes train one fold at a time"):
        train_folds(recipe_of(clips), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_folds_of_other_recipes_are_not_put_together(folds, tmp_path):
    place = tmp_path / "mixed"
    for fold in (1, 2):
        shutil.copytree(folds.runs[fold].path, place / f"fold-{fold}")
    file = place / "fold-2" / "recipe.yaml"
    file.write_text(file.read_text().replace("lr: 0.003", "lr: 0.001"))
    with pytest.raises(UserError, match=r"not folds of one recipe; they differ in train\.lr"):
        open_folds(place)
    shutil.rmtree(place / "fold-2")
    shutil.copytree(folds.runs[3].path, place / "fold-2")
    with pytest.raises(UserError, match="is not fold 2 of anything"):
        open_folds(place)
    with pytest.raises(UserError, match=r"It holds folds; name one of them: .*fold-1"):
        open_run(place)


def test_the_verbs_take_a_folder_of_folds(folds, capsys, monkeypatch):
    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["understudy", *words])
        with contextlib.suppress(SystemExit):
            cli.main()
        captured = capsys.readouterr()
        return captured.out + captured.err

    place = str(folds.path)
    told = said("train", "--resume", place)
    assert "fold 3 of 3 is trained already" in told
    assert "48 clips of 16 groups" in told
    assert "between folds" in said("evaluate", place)
    assert "n = 48 clips of 16 groups" in said("compare", place, place)
    assert said("report", place) == f"{place}/report.html\n"
    assert "--data and --split go with one of them" in said("evaluate", place, "--split", "val")
    assert "It holds folds; name one of them" in said("predict", place, "x.mp4")


def test_thresholds_of_each_fold_hold_in_all_of_them_together():
    """A label said at a fold's own threshold is said of the clips of that fold, and no other."""
    parts = [
        Predictions(
            record=[0, 1], id=[f"{at}-0", f"{at}-1"], path=["", ""], group=["a", "b"],
            target=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), logits=torch.randn(2, 2),
            classes=("x", "y"), split="test", task=MULTI_LABEL, thresholds=(at, 1 - at),
        )
        for at in (0.2, 0.7)
    ]  # fmt: skip
    found = pool(parts)
    assert found.thresholds is None
    said = torch.cat([torch.from_numpy(one.said) for one in parts])
    assert (torch.from_numpy(found.said) == said).all()
