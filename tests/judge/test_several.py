"""Several labels a clip: mAP and F1 as scikit-learn has them, thresholds, files and comparisons."""

import json
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_fscore_support,
)

from understudy.errors import UserError
from understudy.judge.compare import compare_predictions
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions
from understudy.judge.ranking import average_precisions, mean_average_precision
from understudy.judge.show import metric_lines
from understudy.judge.statistics import group_index, resample_groups
from understudy.judge.thresholds import choose_thresholds
from understudy.run.schema import parse_json
from understudy.task import MULTI_LABEL, SINGLE_LABEL

EACH: Any = None
"""No average in scikit-learn: a figure for each class."""


def make(n: int, k: int = 4, *, seed: int = 0, groups: int = 0, **changes) -> Predictions:
    """Clips of at least one label, and logits that know something of them, with many equals."""
    generator = np.random.default_rng(seed)
    holds = generator.random((n, k)) < 0.3
    holds[np.arange(n), generator.integers(k, size=n)] = True
    logits = (holds * 1.5 + generator.normal(size=(n, k)) * 1.5).round(1)
    content = {
        "record": list(range(n)),
        "id": [f"{clip}.mp4" for clip in range(n)],
        "path": [f"{clip}.mp4" for clip in range(n)],
        "group": [f"person {clip % groups}" if groups else "" for clip in range(n)],
        "target": torch.tensor(holds).float(),
        "logits": torch.tensor(logits).float(),
        "classes": tuple(f"class {i}" for i in range(k)),
        "split": "test",
        "task": MULTI_LABEL,
    }
    return Predictions(**(content | changes))


@pytest.mark.parametrize(("n", "k", "seed"), [(60, 4, 0), (200, 9, 1), (7, 3, 2)])
def test_average_precision_is_scikit_learns_also_among_equals_and_with_weights(n, k, seed):
    predictions = make(n, k, seed=seed)
    probabilities, holds = predictions.probabilities, predictions.holds
    assert len(np.unique(probabilities)) < n * k, "there are equals"
    expected = average_precision_score(holds, probabilities, average=EACH)
    assert average_precisions(probabilities, holds)[0] == pytest.approx(expected)
    times = np.random.default_rng(seed).integers(1, 4, size=(3, n)).astype(float)
    for found, weight in zip(average_precisions(probabilities, holds, times), times, strict=True):
        expected = average_precision_score(holds, probabilities, average=EACH, sample_weight=weight)
        assert found == pytest.approx(expected)


def test_a_class_that_holds_of_no_clip_is_in_no_mean():
    predictions = make(50)
    predictions.target[:, 2] = 0
    of_each = average_precisions(predictions.probabilities, predictions.holds)
    assert np.isnan(of_each[0]).tolist() == [False, False, True, False]
    rest = [0, 1, 3]
    expected = average_precision_score(
        predictions.holds[:, rest], predictions.probabilities[:, rest]
    )
    assert mean_average_precision(of_each)[0] == pytest.approx(expected)
    metrics = compute_metrics(predictions, resamples=100)
    assert metrics["map"]["value"] == pytest.approx(expected)
    assert metrics["per_class"]["class 2"]["average_precision"]["method"] == "undefined"
    assert any("nothing is known of it: class 2" in one for one in metrics["warnings"])


@pytest.mark.parametrize("thresholds", [None, (0.3, 0.5, 0.7, 0.9)])
def test_figures_at_the_thresholds_are_scikit_learns(thresholds):
    predictions = make(120, thresholds=thresholds)
    said = predictions.probabilities >= (0.5 if thresholds is None else np.array(thresholds))
    metrics = compute_metrics(predictions, resamples=100)
    for average in ("micro", "macro"):
        expected = f1_score(predictions.holds, said, average=average)
        assert metrics[f"{average}_f1"]["value"] == pytest.approx(expected)
    assert metrics["exact_match"]["value"] == (said == predictions.holds).all(axis=1).mean()
    of_each: Any = precision_recall_fscore_support(predictions.holds, said)
    for place, name in enumerate(predictions.classes):
        found = metrics["per_class"][name]
        for key, values in zip(("precision", "recall", "f1", "n"), of_each, strict=True):
            value = found[key] if key == "n" else found[key]["value"]
            assert value == pytest.approx(values[place])
        assert found["threshold"] == (0.5 if thresholds is None else thresholds[place])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_intervals_draw_whole_groups():
    """The same as evaluating each resample by scikit-learn, clip by clip as often as drawn."""
    predictions = make(40, groups=8)
    metrics = compute_metrics(predictions, resamples=200)
    index, count = group_index(predictions.group)
    [first, second] = resample_groups(count, resamples=200)
    figures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for times in np.concatenate([first, second]):
            clips = np.repeat(np.arange(40), times[index].astype(int))
            holds = predictions.holds[clips]
            there = holds.any(axis=0)
            figures.append(average_precision_score(
                holds[:, there], predictions.probabilities[clips][:, there]
            ))  # fmt: skip
    # Resamples rank themselves too well: the interval lies around the value.
    value = metrics["map"]["value"]
    assert np.mean(figures) > value
    low, high = np.quantile(figures, [0.025, 0.975]) - np.mean(figures) + value
    assert (metrics["map"]["low"], metrics["map"]["high"]) == pytest.approx((low, high))
    assert metrics["map"]["method"] == "bootstrap over groups"
    assert metrics["groups"] == 8


def test_a_background_is_left_out_of_one_more_figure():
    classes = ("background", "class 1", "class 2", "class 3")
    predictions = make(80, classes=classes)
    metrics = compute_metrics(predictions, resamples=100)
    expected = average_precision_score(predictions.holds[:, 1:], predictions.probabilities[:, 1:])
    assert metrics["map_without_background"]["value"] == pytest.approx(expected)
    assert "map_without_background" not in compute_metrics(make(80), resamples=100)
    lines = metric_lines(metrics)
    assert any(line.startswith("mAP without background") for line in lines)


def test_figures_are_printed_with_thresholds():
    lines = metric_lines(compute_metrics(make(60, thresholds=(0.25, 0.5, 0.5, 1.0)), resamples=100))
    assert lines[1].startswith("mAP ")
    [row] = [line for line in lines if line.startswith("class 0 ")]
    assert "0.250" in row
    assert not any("confused" in line for line in lines)


def test_thresholds_have_the_highest_f1_and_lie_between_clips():
    predictions = make(80, seed=3)
    for k, chosen in enumerate(choose_thresholds(predictions.probabilities, predictions.holds)):
        probability, holds = predictions.probabilities[:, k], predictions.holds[:, k]
        every = [f1_score(holds, probability >= one) for one in np.unique(probability)]
        assert chosen.f1 == pytest.approx(max(every))
        assert f1_score(holds, probability >= chosen.threshold) == pytest.approx(max(every))
        assert chosen.threshold not in probability, "a rounded probability changes no label"
        assert chosen.n == holds.sum()


def test_of_equal_thresholds_the_higher_and_without_a_clip_one_half():
    probabilities = np.array([[0.9, 0.2, 0.8], [0.6, 0.4, 0.8], [0.4, 0.6, 0.8], [0.1, 0.9, 0.8]])
    # Of class 0, saying one clip or three is an F1 of 2/3 or 4/5; one right clip and one of both
    # halves of a tie are the same.
    holds = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1]], bool)
    first, second, third = choose_thresholds(probabilities, holds)
    assert (first.threshold, first.f1) == (pytest.approx(0.25), pytest.approx(0.8))
    assert second == (0.5, None, 0)
    assert (third.threshold, third.f1, third.n) == (0.4, 1.0, 4)
    equal = np.array([[0.9], [0.6], [0.5], [0.4], [0.3], [0.1]])
    holds = np.array([[1], [0], [0], [1], [0], [0]], bool)  # 2/3 after one clip and after four
    [chosen] = choose_thresholds(equal, holds)
    assert (chosen.threshold, chosen.f1) == (pytest.approx(0.75), pytest.approx(2 / 3))


def test_predictions_come_back_from_their_file(tmp_path):
    predictions = make(12, groups=3, thresholds=(0.1, 0.2, 0.3, 1.0))
    predictions.write(tmp_path / "predictions.parquet")
    found = read_predictions(tmp_path / "predictions.parquet")
    assert torch.equal(found.target, predictions.target)
    assert torch.equal(found.logits, predictions.logits)
    assert (found.task, found.thresholds) == (MULTI_LABEL, predictions.thresholds)
    assert found.labels_of(0) == tuple(
        name for name, holds in zip(found.classes, found.target[0], strict=True) if holds
    )


def test_damaged_predictions_are_refused(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "predictions.parquet"
    make(4).write(file)
    table = pq.read_table(file)
    place = table.column_names.index("target")

    def damaged(column: pa.Array, notes: dict[bytes, bytes] | None = None) -> str:
        changed = table.set_column(place, "target", column)
        metadata = table.schema.metadata | (notes or {})
        pq.write_table(changed.replace_schema_metadata(metadata), file)
        with pytest.raises(UserError, match=r"is damaged: .* Make it anew") as error:
            read_predictions(file)
        return str(error.value)

    several = pa.list_(pa.int64())
    assert "0 to 9, of 4" in damaged(pa.array([[0], [9], [1], [1, 2]], several))
    assert "target" in damaged(pa.array([[0], None, [1], [1, 2]], several))
    assert "of 4" in damaged(pa.array([[0], [None], [1], [1, 2]], several))
    assert "not list" in damaged(pa.array([0, 1, 2, 3]))
    good = table["target"].combine_chunks()
    assert "3 thresholds for 4" in damaged(good, {b"thresholds": b"[0.5, 0.5, 0.5]"})
    assert "thresholds" in damaged(good, {b"thresholds": b"[0.5, 0.5, 0.5, 7]"})


def test_the_figures_of_a_run_are_checked_where_they_are_read(tmp_path):
    metrics = compute_metrics(make(20), resamples=100)
    place = tmp_path / "metrics.json"
    assert parse_json(json.dumps(metrics), place) == metrics
    del metrics["per_class"]["class 1"]["average_precision"]
    with pytest.raises(UserError, match=r"per_class\.class 1\.average_precision is missing"):
        parse_json(json.dumps(metrics), place)


def test_two_models_are_compared_by_their_map_on_the_same_resamples():
    a, b = make(60, groups=12), make(60, groups=12, seed=0)
    b = replace(
        b, logits=b.logits + 3 * torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    )
    found = compare_predictions(a, b, resamples=300)
    values = [average_precision_score(one.holds, one.probabilities) for one in (a, b)]
    assert found["difference"] == pytest.approx(values[0] - values[1])
    assert found["low"] < found["difference"] < found["high"]
    assert found["metric"] == "map"
    assert (found["n"], found["groups"]) == (60, 12)
    assert 0 < found["p"] < 0.2
    same = compare_predictions(a, a, resamples=300)
    assert (same["difference"], same["p"]) == (0, 1)
    order = list(reversed(range(60)))
    turned = replace(
        b,
        id=[b.id[i] for i in order],
        group=[b.group[i] for i in order],
        target=b.target[order].flip(1),
        logits=b.logits[order].flip(1),
        classes=b.classes[::-1],
    )
    assert compare_predictions(a, turned, resamples=300) == pytest.approx(found)


def test_models_of_other_tasks_and_other_labels_are_not_compared():
    a = make(6)
    single = replace(a, task=SINGLE_LABEL, target=a.target.argmax(1))
    with pytest.raises(UserError, match="one label a clip and the other several"):
        compare_predictions(a, single)
    other = replace(a, target=a.target.roll(1, 0))
    with pytest.raises(UserError, match=r"has labels? .* in one evaluation"):
        compare_predictions(a, other)


@pytest.mark.parametrize("groups", [0, 4])
def test_every_figure_lies_in_its_interval(groups):
    metrics = compute_metrics(make(40, 6, groups=groups, seed=5), resamples=200)
    figures = [metrics[name] for name in ("map", "micro_f1", "macro_f1", "exact_match")]
    for of_class in metrics["per_class"].values():
        figures += [one for one in of_class.values() if isinstance(one, dict)]
    assert len(figures) == 4 + 6 * 4
    for figure in figures:
        assert 0 <= figure["low"] <= figure["high"] <= 1
    for figure in (
        metrics["map"],
        *(c["average_precision"] for c in metrics["per_class"].values()),
    ):
        assert figure["low"] <= figure["value"] <= figure["high"]
