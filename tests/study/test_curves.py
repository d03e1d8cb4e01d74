"""Learning curves of many runs: what is drawn, and when a level was reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from understudy.errors import UserError
from understudy.study.curves import draw_curves, epochs_to_reach, save_curves


def history(*top1: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": number,
            "train": {"loss": 9.0, "task": 1 - value / 2, "top1": value / 2},
            "val": {"loss": 1 - value, "top1": value},
        }
        for number, value in enumerate(top1, start=1)
    ]


def lines(axes) -> dict[str, tuple[list[float], list[float]]]:
    drawn = {}
    for line in axes.get_lines():
        x, y = line.get_data()
        drawn[line.get_label()] = (list(x), list(y))
    return drawn


def test_line_is_the_mean_and_band_the_range_of_the_seeds() -> None:
    figure = draw_curves({"SP": {"noise": [history(0.1, 0.4), history(0.3, 0.8)]}}, training=False)
    accuracy, loss = figure.axes
    assert list(lines(accuracy)) == ["noise"], "held-out alone"
    assert loss.get_ylabel() == "Task loss, validation clips"
    epochs, means = lines(accuracy)["noise"]
    assert epochs == [1, 2]
    assert means == pytest.approx([0.2, 0.6])
    assert lines(loss)["noise"][1] == pytest.approx([0.8, 0.4])
    corners = accuracy.collections[0].get_paths()[0].vertices
    band = {(round(x), round(y, 6)) for x, y in np.asarray(corners)}
    assert band == {(1, 0.1), (1, 0.3), (2, 0.4), (2, 0.8)}


def test_training_clips_are_drawn_on_request_by_their_task_loss() -> None:
    figure = draw_curves({"SP": {"noise": [history(0.2, 0.6)]}}, training=True)
    accuracy, loss = figure.axes
    assert lines(accuracy)["noise, training"][1] == pytest.approx([0.1, 0.3])
    assert lines(loss)["noise, training"][1] == pytest.approx([0.9, 0.7])
    assert not accuracy.collections, "one seed has no range"
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["noise", "validation clips", "training clips"]


def test_an_arm_has_one_colour_in_all_groups() -> None:
    one = [history(0.2, 0.6)]
    groups = {"SP": {"C3D": one, "noise": one}, "MC4": {"C3D": one, "transplant": one}}
    figure = draw_curves(groups, training=False)
    by_arm: dict[str, set[str]] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            by_arm.setdefault(str(line.get_label()), set()).add(str(line.get_color()))
    assert {len(colours) for colours in by_arm.values()} == {1}
    assert len(set.union(*by_arm.values())) == 3


def test_seeds_of_different_length_end_with_the_shortest() -> None:
    figure = draw_curves({"": {"noise": [history(0.2, 0.4, 0.6), history(0.4)]}}, training=False)
    assert lines(figure.axes[0])["noise"] == ([1], pytest.approx([0.3]))


def test_same_curves_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = draw_curves({"SP": {"noise": [history(0.2, 0.6)]}}, training=True)
        save_curves(figure, tmp_path / "plots" / name)
    first, second = ((tmp_path / "plots" / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match="noise has a run without a single epoch"):
        draw_curves({"SP": {"noise": [history(0.2), []]}}, training=False)
    with pytest.raises(UserError, match="1 to 6 arms; given: 7"):
        draw_curves({"": {str(arm): [history(0.2)] for arm in range(7)}}, training=False)


@pytest.mark.parametrize(
    ("level", "epoch"), [(0.0, 1), (0.5, 2), (0.5000001, 4), (0.7, 4), (0.71, None)]
)
def test_epochs_to_reach_counts_the_first_that_is_there(level: float, epoch: int | None) -> None:
    assert epochs_to_reach(history(0.2, 0.5, 0.4, 0.7), level) == epoch


def test_a_level_is_reached_by_the_run_that_set_it() -> None:
    own = history(0.3, 49 * (1 / 49), 0.2)  # 0.9999999999999999
    assert epochs_to_reach(own, 1.0) == 2
    assert epochs_to_reach([], 0.0) is None
