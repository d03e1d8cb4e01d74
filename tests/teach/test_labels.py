"""Labels of every kind in training: several a clip, none at all, and what becomes of the loss."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from understudy.data.loader import make_loader
from understudy.data.sources import read_manifest
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate, predict_split
from understudy.judge.thresholds import choose_thresholds, thresholds_of
from understudy.recipe import Distill
from understudy.run import Run
from understudy.task import MULTI_LABEL, SINGLE_LABEL
from understudy.teach.losses import Taught, teaching_loss
from understudy.teach.progress import Quiet, describe
from understudy.teach.teachers import Fitting
from understudy.teach.teachers.clip import probe_head
from understudy.teach.train import resume, train
from understudy.types import Output

from .conftest import make_recipe

NAN = float("nan")


def changed(clips: Path, name: str, change) -> Path:
    """The table of `clips` with the label of each row (number, label, split) changed."""
    rows = list(csv.reader(clips.read_text(encoding="utf-8").splitlines()))
    lines = [",".join(rows[0])]
    for number, (path, label, split, group) in enumerate(rows[1:]):
        lines.append(f"{path},{change(number, label, split)},{split},{group}")
    table = clips.parent / name
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


@pytest.fixture(scope="module")
def several(clips) -> Path:
    """Every other clip has a second label, and the clips of one class a third."""

    def more(number: int, label: str, split: str) -> str:
        added = ("|odd" if number % 2 else "") + ("|moving" if label != "still" else "")
        return label + added

    return changed(clips, "several.csv", more)


@pytest.fixture(scope="module")
def learned(several, tmp_path_factory) -> Run:
    recipe = make_recipe(several, train={"epochs": 3, "label_smoothing": 0.1,
                                         "imbalance": "class_weights"})  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("runs") / "several")


def test_several_labels_are_learned_and_validated_by_scikit_learns_map(learned: Run):
    assert learned.task is MULTI_LABEL
    assert learned.data["task"] == "multi-label"
    last, n = learned.history[-1], 9
    assert last["train"]["task"] < learned.history[0]["train"]["task"]
    assert set(last["val"]) == {"loss", "map", "exact_match", "n"}
    said = predict_split(learned.classifier("final"), learned.manifest, "val")
    assert len(said) == last["val"]["n"] == n
    there = said.holds.any(axis=0)
    expected = average_precision_score(said.holds[:, there], said.probabilities[:, there])
    assert last["val"]["map"] == pytest.approx(expected)
    assert last["val"]["exact_match"] == said.correct.mean()
    best = max(learned.history, key=lambda entry: MULTI_LABEL.score(entry["val"]))
    assert best["best"]
    assert f"val mAP {last['val']['map']:.3f}" in describe(last)


def test_thresholds_are_chosen_with_the_best_weights_and_used(learned: Run):
    classifier = learned.classifier()
    said = predict_split(classifier, learned.manifest, "val")
    chosen = choose_thresholds(said.probabilities, said.holds)
    assert classifier.thresholds == pytest.approx([one.threshold for one in chosen], abs=1e-5)
    result = evaluate(learned)
    assert result.predictions.thresholds == classifier.thresholds
    assert result.metrics["per_class"]["odd"]["threshold"] == classifier.thresholds[2]
    assert learned.metrics == result.metrics


def test_thresholds_of_other_weights_are_chosen_when_they_are_asked_for(learned: Run):
    classifier = learned.classifier("final")
    if learned.history[-1]["best"]:
        pytest.skip("the last epoch is the best")
    assert classifier.thresholds is None
    notes: list[str] = []
    found = thresholds_of(classifier, note=notes.append)
    assert found is not None
    assert len(found) == 5
    assert any("of 5 labels chosen on 9 validation clips" in one for one in notes)
    assert learned.classifier("final").thresholds == found
    assert learned.classifier().thresholds != found


def test_balanced_sampling_draws_rare_labels_as_often(several):
    manifest = read_manifest(several)
    rows = manifest.rows("train")
    config = make_recipe(several).data
    loader = make_loader(manifest, config, rows, batch_size=8, shuffle_seed=0, balanced=True)
    weights = loader.batch_sampler.weights  # pyright: ignore
    counts = manifest.counts()["train"]
    row = rows[0]
    names = manifest.label_text(row).split("|")
    assert weights[0] == pytest.approx(np.mean([1 / counts[name] for name in names]))


def test_a_run_of_several_labels_teaches_one_and_none_of_another_task(
    learned, several, clips, tmp_path
):
    by = {"kind": "run", "path": str(learned.path)}
    taught = train(make_recipe(several, teacher=by, train={"epochs": 1}), tmp_path / "taught")
    [entry] = taught.history
    parts = entry["train"]
    weights = taught.recipe.distill
    expected = (
        weights.alpha * parts["feature"]
        + weights.beta * parts["response"]
        + weights.gamma * parts["task"]
    )
    assert parts["loss"] == pytest.approx(expected, rel=1e-5)
    assert taught.teacher is not None
    best = max(one["val"]["map"] for one in learned.history)
    val = taught.teacher["val"]
    assert val["value"] == pytest.approx(best)
    assert val["low"] <= val["value"] <= val["high"]
    one = train(make_recipe(clips, train={"epochs": 1}), tmp_path / "one")
    table = changed(clips, "both.csv", lambda n, label, _: label + "|left" * (label != "left"))
    with pytest.raises(UserError, match=r"names exactly one label .* gives several.*beta=0"):
        train(make_recipe(table, teacher=by | {"path": str(one.path)}), tmp_path / "refused")


def test_a_probe_of_several_labels_is_one_logistic_regression_for_each():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.nn.functional.normalize(torch.randn(60, 8, generator=generator), dim=-1)
    holds = (embeddings[:, :3] > 0).float()
    groups = [str(n // 6) for n in range(60)]
    head = probe_head(Fitting(embeddings, holds, groups), 3)
    for k in range(3):
        alone = probe_head(Fitting(embeddings, holds[:, k].long(), groups), 2)
        expected = alone(embeddings).diff(dim=1)[:, 0]
        torch.testing.assert_close(head(embeddings)[:, k], expected)
    assert ((torch.sigmoid(head(embeddings)) > 0.5) == (holds == 1)).float().mean() > 0.9
    holds[:, 1] = 1
    with pytest.raises(UserError, match="class number 1 holds of every clip"):
        probe_head(Fitting(embeddings, holds, groups), 3)


# Clips without a label


def output(seed: int, n: int = 8) -> Output:
    generator = torch.Generator().manual_seed(seed)
    return Output(torch.randn(n, 5, generator=generator), torch.randn(n, 16, generator=generator))


@pytest.mark.parametrize("task", [SINGLE_LABEL, MULTI_LABEL])
def test_a_labelled_clip_weighs_the_same_in_whatever_batch_it_stands(task):
    """The gradient of one batch is that of two, of which one has most of the labels."""
    student, teacher = output(0), output(1)
    target = torch.tensor([0, -1, 2, 3, -1, -1, -1, 1])
    if task.several:
        target = (
            torch.nn.functional.one_hot(target.clamp(min=0), 5)
            .float()
            .where((target >= 0)[:, None], torch.tensor(NAN))
        )
    weights = Distill(alpha=1.0, beta=1.0)

    def gradient(parts: list[slice]) -> torch.Tensor:
        logits = student.logits.clone().requires_grad_()
        for part in parts:
            taught = {"teacher": Taught(Output(*(one[part] for one in teacher)), weights)}
            given = Output(logits[part], student.embedding[part])
            losses = teaching_loss(given, target[part], taught, 0.5, task=task, labelled_share=0.5)
            (losses.total * len(given.logits) / 8).backward()
        assert logits.grad is not None
        return logits.grad

    whole = gradient([slice(0, 8)])
    torch.testing.assert_close(gradient([slice(0, 4), slice(4, 8)]), whole)
    torch.testing.assert_close(gradient([slice(0, 1), slice(1, 3), slice(3, 8)]), whole)


def test_half_of_the_labels_leave_the_teachers_part_as_it_is(clips, learned, tmp_path):
    def half(number: int, label: str, split: str) -> str:
        return label if number % 2 or split != "train" else ""

    table = changed(clips, "half.csv", half)
    teacher = train(make_recipe(clips, train={"epochs": 1}), tmp_path / "teacher")
    notes: list[str] = []

    class Notes(Quiet):
        def note(self, text: str) -> None:
            notes.append(text)

    recipe = make_recipe(
        table,
        teacher={"kind": "run", "path": str(teacher.path)},
        train={"epochs": 1, "imbalance": "balanced_sampling"},
    )
    run = train(recipe, tmp_path / "half", reporter=Notes())
    assert any("15 of 30 training clips have no label" in note for note in notes)
    assert run.data["unlabelled"] == 15
    [entry] = run.history
    assert {"task", "top1", "feature", "response"} <= set(entry["train"])
    assert resume(run.path).history == run.history

    bare = changed(clips, "bare.csv", lambda _, label, split: label if split != "train" else "")
    taught = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"manifest": str(bare)})}
    )
    [entry] = train(taught, tmp_path / "bare").history
    assert "task" not in entry["train"]
    assert "top1" not in entry["train"]
    assert "top1" in entry["val"]
    assert describe(entry)


def test_a_clip_without_label_and_teacher_is_refused_before_training(clips, tmp_path):
    table = changed(clips, "one.csv", lambda number, label, _: label if number != 4 else "")
    message = r"1 of 30 training clips have no label, .*clips/04, and no teacher is there"
    with pytest.raises(UserError, match=message):
        train(make_recipe(table), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_labels_missing_outside_of_training_are_refused(clips, tmp_path):
    table = changed(clips, "val.csv", lambda number, label, _: label if number != 35 else "")
    with pytest.raises(UserError, match="clips/35"):
        train(make_recipe(table), tmp_path / "run")


def test_balancing_draws_clips_without_label_as_often_as_they_are(clips):
    table = changed(
        clips, "some.csv", lambda n, label, split: label if n % 5 or split != "train" else ""
    )
    manifest = read_manifest(table)
    rows = manifest.rows("train")
    loader = make_loader(
        manifest, make_recipe(table).data, rows, batch_size=8, shuffle_seed=0, balanced=True
    )
    weights = loader.batch_sampler.weights  # pyright: ignore
    bare = torch.tensor([not manifest.label_text(row) for row in rows])
    assert bare.sum() == 6
    assert (weights[bare].sum() / weights.sum()).item() == pytest.approx(6 / 30)
    of_class = {
        name: sum(w for w, r in zip(weights, rows, strict=True) if manifest.label_text(r) == name)
        for name in manifest.classes
    }
    assert list(of_class.values()) == pytest.approx([8, 8, 8])
