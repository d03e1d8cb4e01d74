"""Joining two evaluations, and refusing to join what is not the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from understudy.errors import UserError
from understudy.judge import compare
from understudy.judge.compare import compare_predictions, compare_sources
from understudy.judge.evaluate import evaluate
from understudy.judge.predictions import Predictions
from understudy.judge.statistics import paired_difference

CLASSES = ("left", "right", "still")


def make(hits: list[bool], **changes) -> Predictions:
    """Clips 0, 1, ... of two per person; right where `hits` says so."""
    n = len(hits)
    target = torch.arange(n) % 3
    said = torch.where(torch.tensor(hits), target, (target + 1) % 3)
    content = {
        "record": list(range(n)),
        "id": [f"{clip}.mp4" for clip in range(n)],
        "path": [f"{clip}.mp4" for clip in range(n)],
        "group": [f"person {clip // 2}" for clip in range(n)],
        "target": target,
        "logits": torch.eye(3)[said],
        "classes": CLASSES,
        "split": "test",
    }
    return Predictions(**(content | changes))


A = [True, True, True, False, True, True, False, True]
B = [True, False, True, False, False, True, True, True]


def reorder(predictions: Predictions, order: list[int]) -> Predictions:
    return replace(
        predictions,
        record=[predictions.record[i] for i in order],
        id=[predictions.id[i] for i in order],
        path=[predictions.path[i] for i in order],
        group=[predictions.group[i] for i in order],
        target=predictions.target[order],
        logits=predictions.logits[order],
    )


def test_clips_are_joined_whatever_their_order_and_the_order_of_classes():
    a, b = make(A), make(B)
    expected = paired_difference(np.array(A), np.array(B), a.group)
    assert expected["difference"] == pytest.approx(1 / 8)
    expected |= {"metric": "top1"}
    assert compare_predictions(a, b) == expected
    shuffled = reorder(b, [3, 1, 7, 0, 2, 6, 5, 4])
    turned = replace(
        shuffled,
        classes=CLASSES[::-1],
        target=2 - shuffled.target,
        logits=shuffled.logits.flip(1),
        record=list(range(100, 108)),  # another manifest of the same clips
    )
    assert compare_predictions(a, turned) == expected


def test_what_was_evaluated_already_is_read_and_not_done_again(run, monkeypatch):
    """Until its weights are others."""
    first = evaluate(run)
    monkeypatch.setattr(compare, "evaluate", None)
    found = compare_sources(run, run)
    assert found.a.metrics == found.b.metrics == first.metrics
    assert found.a.path == run.path
    assert torch.equal(found.a.predictions.logits, first.predictions.logits)
    assert found.difference["difference"] == 0
    file = run.checkpoint_path()
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(TypeError, match="not callable"):
        compare_sources(run, run)


def test_clips_of_one_file_are_told_apart_by_their_times():
    def of_one_file(hits: list[bool], order: list[int], start: int) -> Predictions:
        ids = [f"day.mp4#t={start + i},{start + i + 1}" for i in range(8)]
        return reorder(make(hits, path=["day.mp4"] * 8, id=ids), order)

    a, b = of_one_file(A, list(range(8)), 0), of_one_file(B, [3, 1, 7, 0, 2, 6, 5, 4], 0)
    b = replace(b, record=list(range(8)))  # rows of another table say nothing
    assert compare_predictions(a, b) == compare_predictions(make(A), make(B))
    with pytest.raises(UserError, match="0 in common"):
        compare_predictions(a, of_one_file(B, list(range(8)), 8))


def test_what_is_no_number_is_refused():
    broken = make(B)
    broken.logits[3] = float("nan")
    for pair in ((broken, make(A)), (make(A), broken)):
        with pytest.raises(UserError, match=r"not a finite number for 1 of 8 clips.*3\.mp4"):
            compare_predictions(*pair)


def test_different_clips_classes_labels_and_groups_are_refused():
    a, b = make(A), make(B)
    with pytest.raises(UserError, match=r"8 and 6, 6 in common; only in one of them: 6.mp4, 7.mp4"):
        compare_predictions(a, reorder(b, list(range(6))))
    with pytest.raises(UserError, match=r"2 in common; only in one of them: still, wave"):
        compare_predictions(a, replace(b, classes=("left", "right", "wave")))
    with pytest.raises(UserError, match=r"0\.mp4 has label and group"):
        compare_predictions(a, replace(b, target=(b.target + 1) % 3))
    with pytest.raises(UserError, match=r"0\.mp4 has label and group"):
        compare_predictions(a, replace(b, group=["someone"] * 8))


def test_a_clip_without_a_finite_answer_is_wrong_whoever_counts():
    broken = make(A, target=torch.zeros(8, dtype=torch.int64))
    broken.logits[:] = float("nan")
    assert not broken.correct.any()
    assert broken.broken == broken.id
