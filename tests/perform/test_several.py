"""Where several labels may hold, all that do are said, from thresholds of their own on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from understudy.errors import UserError
from understudy.judge.thresholds import Chosen, describe, keep_thresholds
from understudy.perform.holding import NO_LABEL, thresholds_for
from understudy.perform.predict import lines, predict
from understudy.perform.predict_command import predict_files
from understudy.perform.smoothing import Labels
from understudy.perform.stream_command import Options, recognise_stream
from understudy.perform.windows import merge_windows
from understudy.record import UNKNOWN, WARMING_UP
from understudy.run import Run
from understudy.task import MULTI_LABEL, SINGLE_LABEL

CLASSES = ("blue", "red", "sky")


@pytest.fixture
def run(make_run) -> Run:
    """Thresholds of which one is reached by everything and one by nothing."""
    made = make_run(task=MULTI_LABEL)
    chosen = [Chosen(0.0, 1.0, 3), Chosen(0.5, 0.5, 3), Chosen(1.0, 0.2, 1)]
    keep_thresholds(made, {"best": describe(chosen, CLASSES, "val", 9)})
    return made


def test_moments_with_the_same_labels_are_one_segment():
    windows = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9], [0.1, 0.1], [0.1, 0.1]])
    segments = merge_windows(windows, 7.0, ("a", "b"), np.array([0.5, 0.5]))
    assert [segment.label for segment in segments] == ["a", "a|b", "b", ""]
    assert [segment.start_s for segment in segments] == [0, 2, 4, 5]
    assert segments[-1].end_s == 7
    both = segments[1]
    assert both.labels == {name: both.probabilities[name] for name in ("a", "b")}
    assert both.probability == min(both.labels.values())
    assert all(value >= 0.5 for value in both.labels.values())
    assert segments[3].labels == {}
    assert segments[3].probability == max(segments[3].probabilities.values())
    higher = merge_windows(windows, 7.0, ("a", "b"), np.array([0.5, 0.95]))
    assert {segment.label for segment in higher} == {"a", ""}


def test_predict_says_every_label_from_its_threshold_on(run: Run, film):
    file, shown = film("a.mp4", 24), []
    predict_files(run.classifier(), [file], as_json=False, show=shown.append, note=shown.append)
    predict_files(run.classifier(), [file], as_json=True, show=shown.append, note=shown.append)
    *text, content = shown
    segments = json.loads(content)["segments"]
    assert len(text) == len(segments)
    [found] = predict(run.classifier(), [file])
    for line, segment in zip(text, segments, strict=True):
        probabilities = segment["probabilities"]
        expected = {
            name: probabilities[name]
            for name, least in zip(CLASSES, (0.0, 0.5, 1.0), strict=True)
            if probabilities[name] >= least
        }
        assert segment["labels"] == expected
        assert "blue" in expected
        assert "sky" not in expected
        assert segment["label"] == "|".join(expected)
        assert all(f"{name}  {value:.2f}" in line for name, value in expected.items())
    assert [f"{file}  {line}" for line in lines(found)] == text
    # Probabilities are those of a sigmoid: of each class by itself.
    frames = torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8)
    logits = run.classifier()(frames).logits
    assert not torch.allclose(torch.sigmoid(logits).sum(), torch.ones(()), atol=1e-3)


def test_where_no_label_holds_that_is_shown_as_none(make_run, film):
    made = make_run(task=MULTI_LABEL)
    chosen = [Chosen(1.0, 1.0, 3)] * 3
    keep_thresholds(made, {"best": describe(chosen, CLASSES, "val", 9)})
    [found] = predict(made.classifier(), [film("a.mp4", 12)])
    [segment] = found.segments
    assert (segment.label, segment.labels) == ("", {})
    assert lines(found)[0].endswith(NO_LABEL)


def test_labels_of_a_stream_change_when_another_set_holds():
    labels = Labels(("a", "b", UNKNOWN), 0.0, np.array([0.5, 0.5, 0.9]))
    rows = [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.8, 0.7, 0.95], [0.9, 0.6, 0.97], [0.1, 0.2, 0.3]]
    said = []
    for number, row in enumerate(rows):
        change, _ = labels.add(number / 4, np.array(row), known=number > 0)
        said.append(change and (change.label, change.labels))
    assert said == [
        (WARMING_UP, {}),
        ("a", {"a": 0.9}),
        ("a|b|class unknown", {"a": 0.8, "b": 0.7, "class unknown": 0.95}),
        None,
        ("", {}),
    ]
    single = Labels(("a", "b"), 0.5)
    change, _ = single.add(0.0, np.array([0.7, 0.3]))
    assert change is not None
    assert (change.label, change.labels) == ("a", {"a": 0.7})


def test_stream_says_the_labels_that_hold(run: Run, film):
    file = film("a.mp4", 24)
    events: list[str] = []
    recognise_stream(
        run.path, file, Options(), as_json=True, show=events.append, note=events.append
    )
    changes = [one for one in map(json.loads, events) if one["event"] == "change"]
    named = [one for one in changes if one["label"] != WARMING_UP]
    assert named
    assert all("blue" in one["labels"] and "sky" not in one["labels"] for one in named)
    assert all(one["label"] == "|".join(one["labels"]) for one in named)
    assert not any(one["label"] == UNKNOWN for one in changes)
    with pytest.raises(UserError, match="--unknown is for models that name one label"):
        recognise_stream(run.path, file, Options(unknown=0.5), as_json=True, show=print, note=print)


def test_thresholds_that_nobody_chose_are_one_half_and_damaged_ones_refused(run: Run):
    class Bare:
        task, thresholds, classes = MULTI_LABEL, None, CLASSES

    assert thresholds_for(Bare()).tolist() == [0.5] * 3  # pyright: ignore
    Bare.task = SINGLE_LABEL
    assert thresholds_for(Bare()) is None  # pyright: ignore
    place = Path(run.path / "thresholds.json")
    content = json.loads(place.read_text())
    del content["checkpoints"]["best"]["classes"]["sky"]
    place.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"names other classes.*Delete it"):
        run.classifier()
    content["checkpoints"]["best"]["classes"]["sky"] = {"threshold": 2, "f1": None, "n": 0}
    place.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"sky\.threshold.*Delete it"):
        run.classifier()
