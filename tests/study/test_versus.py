"""A comparison in words claims no more than its interval holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from understudy.judge.compare import Comparison
from understudy.judge.evaluate import Evaluation
from understudy.judge.predictions import Predictions
from understudy.study.versus import verdict, versus_content, versus_lines

FIGURE = {"value": 0.85, "low": 0.709, "high": 0.929, "n": 40, "method": "wilson"}


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.05, 0.1, "No difference is shown: a may be up to 10.0 points better or 5.0 points wor"),
        (0.0, 0.1, "No difference is shown"),
        (0.02, 0.1, "a is better than b on clips like these, by 2.0 points at least"),
        (-0.1, -0.03, "b is better than a on clips like these, by 3.0 points at least"),
    ],
)
def test_the_verdict_is_that_of_the_interval(low: float, high: float, said: str) -> None:
    assert verdict({"low": low, "high": high}, "a", "b").startswith(said)


def test_lines_and_json_name_difference_interval_n_groups_and_p() -> None:
    none = torch.empty(0, dtype=torch.int64)
    said = Predictions([], [], [], [], none, torch.empty(0, 2), ("x", "y"), "val")
    metrics = {"top1": FIGURE, "split": "val", "warnings": ["Few groups."]}
    one = Evaluation(metrics, said, Path("runs/a"))
    difference = {"difference": 0.05, "low": 0.01, "high": 0.09, "p": 0.0004, "n": 40, "groups": 9}
    found = Comparison(one, one, difference)
    lines = versus_lines(found, "runs/a", "runs/long")
    assert lines[:4] == [
        "top-1 accuracy on split val",
        "  runs/a     0.850 [0.709, 0.929] n=40",
        "  runs/long  0.850 [0.709, 0.929] n=40",
        "difference +0.050 [+0.010, +0.090], n = 40 clips of 9 groups, p < 0.001",
    ]
    assert lines[4].startswith("runs/a is better than runs/long")
    assert lines[5:] == ["", "! Few groups."], "once, though both have it"
    content = versus_content(found, "runs/a", "runs/b")
    assert difference.items() < content.items()
    assert content["b"]["top1"] == FIGURE
