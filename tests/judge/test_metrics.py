"""Figures against torchmetrics and scikit-learn, and what is said when they are weak."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError

from understudy.errors import UserError
from understudy.judge import show
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions
from understudy.judge.show import metric_lines
from understudy.types import Skipped


def make(
    n: int, k: int, *, groups: int = 0, sharpness: float = 1.0, seed: int = 0, **changes
) -> Predictions:
    """Predictions whose targets are drawn from the model's own probabilities, at sharpness 1."""
    generator = np.random.default_rng(seed)
    scores = 2 * generator.normal(size=(n, k))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    content = {
        "record": list(range(n)),
        "id": [f"{clip}.mp4" for clip in range(n)],
        "path": [f"{clip}.mp4" for clip in range(n)],
        "group": [f"person {clip % groups}" if groups else "" for clip in range(n)],
        "target": torch.tensor([generator.choice(k, p=p) for p in probabilities]).long(),
        "logits": torch.tensor(scores * sharpness).float().reshape(n, k),
        "classes": tuple(f"class {i}" for i in range(k)),
        "split": "test",
    }
    return Predictions(**(content | changes))


@pytest.mark.parametrize(("n", "k", "sharpness"), [(300, 9, 1.0), (40, 12, 3.0), (25, 3, 0.3)])
def test_values_are_those_of_torchmetrics_and_scikit_learn(n, k, sharpness):
    predictions = make(n, k, sharpness=sharpness)
    metrics = compute_metrics(predictions, resamples=100)
    logits, target = predictions.logits, predictions.target
    predicted = logits.argmax(dim=1)
    top1 = MulticlassAccuracy(k, average="micro")(logits, target).item()
    assert metrics["top1"]["value"] == pytest.approx(top1, abs=1e-6)
    if k >= 10:  # of six classes, five guesses are nearly all
        top5 = top_k_accuracy_score(target, logits, k=5, labels=range(k))
        assert metrics["top5"]["value"] == pytest.approx(top5)
    else:
        assert "top5" not in metrics
    assert metrics["macro_f1"]["value"] == pytest.approx(
        f1_score(target, predicted, average="macro", zero_division=0)
    )
    calibration = MulticlassCalibrationError(k, n_bins=15, norm="l1")(logits, target).item()
    assert metrics["calibration_error"]["value"] == pytest.approx(calibration, abs=1e-5)
    expected = confusion_matrix(target, predicted, labels=range(k))
    assert metrics["confusion"] == expected.tolist()
    options = {"labels": range(k), "average": None, "zero_division": 0}
    for name, score in (
        ("accuracy", recall_score),
        ("precision", precision_score),
        ("f1", f1_score),
    ):
        found = [metrics["per_class"][label][name]["value"] for label in predictions.classes]
        assert found == pytest.approx(score(target, predicted, **options).tolist())
    counts = [metrics["per_class"][label]["n"] for label in predictions.classes]
    assert counts == torch.bincount(target, minlength=k).tolist()


@pytest.mark.parametrize("groups", [0, 12])
def test_every_figure_lies_in_its_interval_and_the_result_is_plain_json(groups):
    metrics = compute_metrics(make(90, 10, groups=groups), resamples=500)
    figures = [metrics[name] for name in ("top1", "top5", "macro_f1", "calibration_error")]
    for entry in metrics["per_class"].values():
        figures += [entry["accuracy"], entry["precision"], entry["f1"]]
    assert len(figures) == 4 + 3 * 10
    for figure in figures:
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
        assert figure["method"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["groups"] == (groups or 90)
    method = "wilson+groups" if groups else "wilson"
    assert metrics["top1"]["method"] == method
    unit = "groups" if groups else "clips"
    assert metrics["macro_f1"]["method"] == f"bootstrap over {unit}"


def test_the_same_predictions_give_the_same_figures_in_any_order():
    predictions = make(60, 4)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = make(60, 4, target=predictions.target[order], logits=predictions.logits[order])
    one, other = compute_metrics(predictions), compute_metrics(shuffled)
    for name in ("top1", "macro_f1", "calibration_error"):
        assert one[name]["value"] == pytest.approx(other[name]["value"])
    assert one["top1"]["low"] == other["top1"]["low"]
    assert one == compute_metrics(predictions)


def test_equal_logits_are_no_reason_to_count_a_hit():
    """A model that says nothing gets what its first classes get, not everything."""
    constant = make(40, 10, logits=torch.zeros(40, 10))
    metrics = compute_metrics(constant, resamples=100)
    assert metrics["top1"]["value"] == pytest.approx((constant.target == 0).float().mean().item())
    assert metrics["top5"]["value"] == pytest.approx((constant.target < 5).float().mean().item())


def test_all_right_leaves_doubt_in_accuracy_and_admits_that_f1_shows_none():
    target = torch.arange(20) % 4
    predictions = make(20, 4, groups=10, target=target, logits=10 * torch.eye(4)[target])
    metrics = compute_metrics(predictions)
    assert metrics["top1"]["value"] == 1
    assert metrics["top1"]["low"] == pytest.approx(0.8389, abs=1e-4)
    assert metrics["macro_f1"]["method"] == "bootstrap over groups, without width"
    assert any("macro F1 has no width" in warning for warning in metrics["warnings"])
    assert metrics["warnings"][0].startswith("No mistake in 20 clips: they cannot show")
    assert metrics["warnings"][0].endswith("may be as low as 0.84.")


def test_figures_are_printed_with_intervals_and_what_is_missing():
    metrics = compute_metrics(make(60, 10, skipped=(Skipped(7, "x.mp4", "empty"),)), resamples=50)
    head, *lines = metric_lines(metrics)
    assert head == "60 clips of 60 groups in split test, 1 could not be read. Intervals hold 95%."
    figures = {"top-1 accuracy": "top1", "top-5 accuracy": "top5", "macro F1": "macro_f1"}
    figures["calibration error"] = "calibration_error"
    for line, (title, name) in zip(lines, figures.items(), strict=False):
        assert line == f"{title:<18} {show.figure(metrics[name])}"
    assert lines[4:6] == ["", "class    accuracy"]
    assert lines[6] == f"class 0  {show.figure(metrics['per_class']['class 0']['accuracy'])}"
    assert lines[16] == ""
    assert lines[17].startswith("most confused: class ")
    assert lines[18:] == [line for one in metrics["warnings"] for line in ("", f"! {one}")]
    assert "could not be read" not in metric_lines(compute_metrics(make(9, 2), resamples=9))[0]


def test_twenty_clips_are_said_to_be_too_few():
    target = torch.zeros(20).long()
    logits = torch.eye(2)[[0] * 13 + [1] * 7]
    warnings = compute_metrics(make(20, 2, target=target, logits=logits))["warnings"]
    assert warnings[0] == (
        "Only 20 clips: the 95% interval spans 0.43 to 0.82, too wide to tell models apart."
    )


def test_a_thousand_good_clips_draw_no_warning():
    predictions = make(1000, 4)
    assert compute_metrics(predictions, resamples=200)["warnings"] == []


def test_few_groups_missing_classes_and_skipped_clips_are_named():
    predictions = make(
        200,
        4,
        groups=3,
        target=torch.arange(200) % 3,
        skipped=(Skipped(7, "broken.mp4", "the file is empty"),) * 2,
    )
    few, missing, skipped = compute_metrics(predictions, resamples=200)["warnings"][-3:]
    assert few.startswith("Only 3 groups")
    assert missing.startswith("1 of 4 classes has no clip")
    assert "class 3" in missing
    assert "2 of 202 clips (1.0%)" in skipped
    assert "broken.mp4 (the file is empty), broken.mp4 (the file is empty)" in skipped


def test_a_class_without_clips_is_undefined_and_not_zero_percent():
    predictions = make(50, 3, target=torch.zeros(50).long(), logits=torch.eye(3)[[0, 1] * 25])
    classes = compute_metrics(predictions, resamples=100)["per_class"]
    for name in ("accuracy", "precision", "f1"):
        figure = classes["class 2"][name]
        assert (figure["n"], figure["low"], figure["high"]) == (0, 0, 1)
        assert figure["method"] == "undefined"
    assert classes["class 1"]["precision"]["n"] == 25  # predicted 25 times, never right


def test_a_calibrated_model_is_not_called_miscalibrated():
    """The measured error of 50 clips is about 0.15 by chance alone; the interval must know."""
    includes_zero = values = 0
    for seed in range(60):
        figure = compute_metrics(make(50, 4, seed=seed), resamples=200)["calibration_error"]
        includes_zero += figure["low"] == 0
        values += figure["value"]
    assert values / 60 > 0.1
    assert includes_zero >= 54
    overconfident = compute_metrics(make(400, 4, sharpness=4), resamples=200)
    assert overconfident["calibration_error"]["low"] > 0.1


def test_no_clips_and_broken_outputs_are_refused():
    skipped = (Skipped(0, "a.mp4", "the file is empty"),)
    with pytest.raises(
        UserError, match=r"no clip to evaluate.*None of 1 could be read, .*: the file is"
    ):
        compute_metrics(make(0, 3, target=torch.zeros(0).long(), skipped=skipped))
    logits = torch.zeros(4, 2)
    logits[2, 1] = math.nan
    with pytest.raises(UserError, match=r"1 of 4 clips, the first of them 2\.mp4"):
        compute_metrics(make(4, 2, logits=logits))
