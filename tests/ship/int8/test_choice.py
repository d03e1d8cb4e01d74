"""The rule that decides between FP32 and the quantisation schemes, on tables made up for it."""

from typing import Any

import pytest

from understudy.ship.int8.choice import choose


def row(recipe: str, ratio: float, points: float, *, half: float = 0.02, **more: Any) -> dict:
    """A scheme that was measured: its time over FP32's, give or take `half`, and points gained."""
    return {
        "recipe": recipe,
        "failure": None,
        "n": 200,
        "ratio": ratio,
        "ratio_low": ratio - half,
        "ratio_high": ratio + half,
        "bytes_ratio": 0.26,
        "difference_points": points,
        "low_points": points - 0.5,
        "high_points": points + 0.5,
    } | more


FLOAT = row("fp32", 1.0, 0.0, half=0.0)


def test_the_fastest_of_those_that_keep_accuracy_is_shipped() -> None:
    rows = [FLOAT, row("slow", 0.9, 0.0), row("fast", 0.5, -0.4), row("lossy", 0.3, -1.5)]
    chosen, sentence = choose(rows)
    assert chosen == "fast"
    assert "0.50 (0.48 to 0.52)" in sentence
    assert "-0.4 points" in sentence
    assert "200 validation clips" in sentence
    assert "exclude" not in sentence


@pytest.mark.parametrize(
    ("points", "shipped"), [(-1.0, "scheme"), (-1.01, "fp32"), (3.0, "scheme")]
)
def test_one_point_is_the_most_that_may_be_lost(points: float, shipped: str) -> None:
    assert choose([FLOAT, row("scheme", 0.5, points)])[0] == shipped


@pytest.mark.parametrize(("half", "shipped"), [(0.04, "scheme"), (0.05, "fp32"), (0.2, "fp32")])
def test_fp32_wins_unless_the_gain_is_beyond_doubt(half: float, shipped: str) -> None:
    assert choose([FLOAT, row("scheme", 0.95, 0.0, half=half)])[0] == shipped


def test_fp32_is_shipped_with_the_figures_of_the_nearest() -> None:
    chosen, sentence = choose([FLOAT, row("near", 1.05, 0.2), row("far", 1.8, 0.0)])
    assert chosen == "fp32"
    assert "near with 1.05 (1.03 to 1.07)" in sentence
    assert "--qat" not in sentence


def test_training_with_quantisation_is_named_where_only_accuracy_stands_in_the_way() -> None:
    lossy = [FLOAT, row("a", 0.5, -4.0), row("b", 0.6, -2.0)]
    chosen, sentence = choose(lossy)
    assert chosen == "fp32"
    assert "b with 0.60" in sentence
    assert sentence.endswith("understudy train --qat RUN")
    assert "--qat" in choose([*lossy, row("c", 1.0, 0.0)])[1]
    assert "--qat" not in choose([FLOAT, row("slow and lossy", 1.5, -9.0)])[1]


def test_few_clips_are_called_few() -> None:
    wide = row("scheme", 0.5, 0.0, n=20, low_points=-16.0, high_points=16.0)
    chosen, sentence = choose([FLOAT, wide])
    assert chosen == "scheme"
    assert "(-16.0 to +16.0, 20 validation clips)" in sentence
    assert "do not exclude that it loses more than 1 point" in sentence


def test_of_equals_the_first_is_taken() -> None:
    assert choose([FLOAT, row("first", 0.5, 0.0), row("second", 0.5, 0.9)])[0] == "first"


def test_what_was_asked_for_by_name_need_not_be_faster_but_right() -> None:
    chosen, sentence = choose([FLOAT, row("weight-only", 1.0, -0.5)], "weight-only")
    assert chosen == "weight-only"
    assert "0.26 of its bytes" in sentence
    assert "not faster beyond doubt" in sentence
    chosen, sentence = choose([FLOAT, row("dynamic", 0.5, -1.5)], "dynamic")
    assert chosen == "fp32"
    assert "-1.5 points" in sentence
    assert "--qat" in sentence


def test_where_nothing_could_be_made_the_reasons_are_told() -> None:
    rows = [FLOAT, {"recipe": "dynamic", "failure": "no matrices"}]
    for ask in ("auto", "dynamic"):
        chosen, sentence = choose(rows, ask)
        assert chosen == "fp32"
        assert "dynamic: no matrices" in sentence
