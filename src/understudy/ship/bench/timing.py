"""Timing things fairly against each other: what everything that reports a time is made of.

Callables take turns (A B C, A B C, ...), so that a machine that slows down slows all of them. Each
turn starts with a call that is not counted; it warms caches and lets the threads of the callable
before come to rest. Times mean little by themselves and are reported as ratios, with an interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CALLS_PER_TURN = 3
FEWEST_ROUNDS = 3
RESAMPLES = 2000


def interleave(
    callables: Sequence[Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    budget_s: float | None = None,
) -> list[list[np.ndarray]]:
    """Time callables in turns: for each of them, for each round, the seconds of each counted call.

    In every round each callable in turn is called for `seconds`, three times at least and once more
    before that, uncounted. budget_s: begin no round after so many seconds; three are always done,
    and every callable has as many rounds as the others.
    """
    times: list[list[np.ndarray]] = [[] for _ in callables]
    for call in callables:  # what a first call prepares belongs to no round
        call()
    begun = time.perf_counter()
    for done in range(rounds):
        late = budget_s is not None and time.perf_counter() - begun >= budget_s
        if late and done >= FEWEST_ROUNDS:
            break
        for call, turns in zip(callables, times, strict=True):
            turns.append(_take_turn(call, seconds))
    return times


def round_medians(turns: Sequence[np.ndarray]) -> np.ndarray:
    """The median of each round, (rounds,). Rounds are what is independent: neighbouring calls are
    correlated."""
    return np.array([np.median(turn) for turn in turns])


def times_of(turns: Sequence[np.ndarray], batch: int = 1) -> dict[str, Any]:
    """The figures of one callable, per clip where each call reads `batch` of them."""
    typical_ms = float(np.median(round_medians(turns))) / batch * 1e3
    calls = np.concatenate(turns) / batch
    return {
        "median_ms": typical_ms,
        "p95_ms": float(np.percentile(calls, 95)) * 1e3,
        "per_s": 1e3 / typical_ms,
        "calls": len(calls),
        "rounds": len(turns),
    }


def ratio_of(over: np.ndarray, under: np.ndarray, name: str = "ratio") -> dict[str, float]:
    """Median over median of rounds, by `name`, and the ends of its 95% interval."""
    low, high = ratio_interval(over, under)
    value = float(np.median(over) / np.median(under))
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def ratio_interval(subject: np.ndarray, first: np.ndarray) -> tuple[float, float]:
    """95% interval of median(subject) / median(first): bootstrap over rounds, kept in pairs.

    subject, first: (rounds,) the median times of rounds that both took part in.
    """
    generator = np.random.default_rng(0)
    chosen = generator.integers(len(subject), size=(RESAMPLES, len(subject)))
    ratios = np.median(subject[chosen], axis=1) / np.median(first[chosen], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def _take_turn(call: Callable[[], object], seconds: float) -> np.ndarray:
    """Seconds of each call; the first call is not counted."""
    call()
    spent: list[float] = []
    end = time.perf_counter() + seconds
    while len(spent) < CALLS_PER_TURN or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return np.array(spent)
