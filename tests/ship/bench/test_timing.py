"""Turns: who is called when, what is counted, and how sure a ratio is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from understudy.ship.bench.timing import (
    CALLS_PER_TURN,
    FEWEST_ROUNDS,
    interleave,
    ratio_interval,
    round_medians,
)


def writers(diary: list[str], names: str = "ABC") -> list[Callable[[], None]]:
    return [lambda name=name: diary.append(name) for name in names]


def test_callables_take_turns() -> None:
    diary: list[str] = []
    times = interleave(writers(diary), rounds=2, seconds=0)
    # The first calls of all, then two rounds of one uncounted and three counted calls each.
    turn = 1 + CALLS_PER_TURN
    assert "".join(diary) == "ABC" + 2 * ("A" * turn + "B" * turn + "C" * turn)
    assert [[len(turn) for turn in turns] for turns in times] == [[CALLS_PER_TURN] * 2] * 3


def test_the_first_call_of_a_turn_is_not_counted() -> None:
    calls = 0

    def slow_at_first() -> None:
        nonlocal calls
        # One call before all rounds, then turns of four.
        if (calls - 1) % (1 + CALLS_PER_TURN) == 0 or calls == 0:
            time.sleep(0.02)
        calls += 1

    (turns,) = interleave([slow_at_first], rounds=3, seconds=0)
    assert calls == 1 + 3 * (1 + CALLS_PER_TURN)
    assert max(map(np.max, turns)) < 0.02


def test_an_expensive_comparison_ends_with_its_budget_but_not_before_three_rounds() -> None:
    diary: list[str] = []
    times = interleave(writers(diary), rounds=50, seconds=0, budget_s=0)
    assert [len(turns) for turns in times] == [FEWEST_ROUNDS] * 3
    times = interleave(writers(diary), rounds=50, seconds=0, budget_s=60)
    assert [len(turns) for turns in times] == [50] * 3


def test_a_round_counts_once_however_many_calls_it_has() -> None:
    turns = [np.array([1.0, 1.0, 9.0]), np.array([3.0]), np.array([5.0, 5.0])]
    assert round_medians(turns).tolist() == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("ratio", [2.0, 0.1])
def test_the_interval_covers_the_true_ratio(ratio: float) -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        weather = generator.lognormal(sigma=0.5, size=15)  # slows both alike
        first = weather * generator.lognormal(sigma=0.05, size=15)
        second = ratio * weather * generator.lognormal(sigma=0.05, size=15)
        low, high = ratio_interval(second, first)
        covered += low <= ratio <= high
        assert high / low < 1.5, "rounds are kept in pairs, so the weather cancels"
    assert covered / 200 >= 0.9
