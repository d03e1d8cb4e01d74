"""How sure a figure is: intervals and paired tests that respect groups.

Clips of one person or one source video resemble each other, so a hundred of them say less than a
hundred strangers would. Wherever groups are known, whole groups are resampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

_DRAWS_AT_ONCE = 128
"""Resamples whose group counts lie in memory together: 10 MB for 10,000 groups."""


class Interval(NamedTuple):
    """A confidence interval and the name of the method that gave it."""

    low: float
    high: float
    method: str


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion; it keeps its width at 0% and at 100%.

    Source: Wilson 1927, by statsmodels. n = 0 gives (0, 1): nothing is known.
    Raises ValueError unless 0 <= successes <= n.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: allowed are 0 to {n}.")
    if n == 0:
        return 0.0, 1.0
    bounds = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    low, high = (float(bound) for bound in bounds)  # pyright: ignore[reportArgumentType]
    # Rounding can leave the bound a hair inside the proportion at 0% and at 100%.
    return min(low, successes / n), max(high, successes / n)


def group_index(groups: Sequence[str]) -> tuple[np.ndarray, int]:
    """The group of every clip as an integer (N,), and how many groups there are.

    A clip whose group is unknown (an empty name) is a group of its own.
    """
    names = [name or f"\0clip {position}" for position, name in enumerate(groups)]
    unique, index = np.unique(np.asarray(names, dtype=object), return_inverse=True)
    return index, len(unique)


def resample_sums(
    values: np.ndarray | sparse.csr_array,
    groups: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Sums of `values` over resampled clips: the whole bootstrap of every figure that is made
    from sums.

    values: (N, D), one row a clip, dense or sparse. groups: (N,) integers from 0.
    Each resample draws as many groups as there are, with replacement, and takes all clips of a
    drawn group as often as it was drawn. Gives (resamples, D) float64.
    """
    count = int(groups.max()) + 1
    members = sparse.csr_array(
        (np.ones(len(groups)), (groups, np.arange(len(groups)))), shape=(count, len(groups))
    )
    per_group = sparse.csr_array((members @ sparse.csr_array(values)).T)  # (D, groups)
    drawn = resample_groups(count, resamples=resamples, seed=seed)
    return np.concatenate([(per_group @ times.T).T for times in drawn])


def resample_groups(count: int, *, resamples: int = 2000, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each of `count` groups is drawn in each resample: some (draws, count) at a time,
    the same for the same seed."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _DRAWS_AT_ONCE):
        draws = min(_DRAWS_AT_ONCE, resamples - start)
        drawn = generator.integers(count, size=(draws, count))
        drawn += np.arange(draws)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)
        yield times.astype(float)


def percentiles(draws: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled figures (R,). Undefined draws (NaN) are left out; where
    all are undefined the interval is (nan, nan)."""
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_groups(
    statistic: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray | sparse.csr_array,
    groups: Sequence[str],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a figure when whole groups are resampled.

    statistic: from sums (R, D) to R figures. values: (N, D), one row a clip. groups: N names.
    The mean of x, for one: `bootstrap_groups(lambda s: s[:, 0] / s[:, 1], [x, ones], groups)`
    with x and ones as the two columns.
    """
    index, _ = group_index(groups)
    sums = resample_sums(values, index, resamples=resamples, seed=seed)
    return percentiles(statistic(sums), confidence)


def proportion_interval(
    successes: int, n: int, draws: np.ndarray | None, confidence: float = 0.95
) -> Interval:
    """Interval of an accuracy: Wilson's, and at either end the group bootstrap's where wider.

    draws: (R,) accuracies of resampled groups, or None where clips stand for themselves. Neither
    is enough alone: Wilson takes clips for independent, and the bootstrap has no width at 0% and
    at 100%. n = 0 gives (0, 1) and the method "undefined".
    """
    if n == 0:
        return Interval(0.0, 1.0, "undefined")
    low, high = wilson(successes, n, confidence)
    if draws is None:
        return Interval(low, high, "wilson")
    drawn_low, drawn_high = percentiles(draws, confidence)
    # min and max keep their first argument when the second is NaN.
    return Interval(min(low, drawn_low), max(high, drawn_high), "wilson+groups")


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Exact p value of McNemar's test that two recognisers err equally often on the same clips.

    correct_a, correct_b: (N,) bool. It takes clips for independent: with few groups p is too small.
    Source: McNemar 1947, by statsmodels.
    """
    from statsmodels.stats.contingency_tables import mcnemar as exact

    table = _table(correct_a, correct_b)
    if table[0, 1] + table[1, 0] == 0:
        return 1.0
    return float(exact(table, exact=True).pvalue)  # type: ignore[union-attr]


def paired_difference(
    correct_a: np.ndarray,
    correct_b: np.ndarray,
    groups: Sequence[str],
    confidence: float = 0.95,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy of a minus accuracy of b on the same clips, with interval and p value.

    correct_a, correct_b: (N,) bool in the same order. Gives difference, low, high, p, n, groups
    and method. The interval is Newcombe's for paired proportions and, at either end, the group
    bootstrap's where that is wider: two recognisers that agree on every clip differ by 0 in every
    resample, which proves nothing. p is McNemar's, exact.
    """
    correct_a, correct_b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    n = len(correct_a)
    if n == 0 or not n == len(correct_b) == len(groups):
        raise ValueError(
            f"{n} and {len(correct_b)} clips and {len(groups)} groups: a paired comparison needs "
            "the same clips, at least one."
        )
    low, high = _newcombe(correct_a, correct_b, confidence)
    method = "newcombe"
    index, count = group_index(groups)
    if count < n:
        gain = correct_a.astype(float) - correct_b
        values = np.stack([gain, np.ones(n)], axis=1)
        sums = resample_sums(values, index, resamples=resamples, seed=seed)
        drawn_low, drawn_high = percentiles(sums[:, 0] / sums[:, 1], confidence)
        low, high, method = min(low, drawn_low), max(high, drawn_high), "newcombe+groups"
    return {
        "difference": float(correct_a.mean() - correct_b.mean()),
        "low": low,
        "high": high,
        "p": mcnemar(correct_a, correct_b),
        "n": n,
        "groups": count,
        "method": method,
    }


def _newcombe(
    correct_a: np.ndarray, correct_b: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Interval of the difference of paired proportions from their Wilson intervals.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10.
    """
    (both, only_a), (only_b, neither) = _table(correct_a, correct_b).astype(float)
    n = len(correct_a)
    a, b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson(int(both + only_a), n, confidence)
    low_b, high_b = wilson(int(both + only_b), n, confidence)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    product = both * neither - only_a * only_b
    if product > 0:
        product = max(product - n / 2, 0.0)
    correlation = product / margins**0.5 if margins else 0.0

    def spread(left: float, right: float) -> float:
        return max(left**2 - 2 * correlation * left * right + right**2, 0.0) ** 0.5

    difference = a - b
    low = difference - spread(a - low_a, high_b - b)
    high = difference + spread(high_a - a, b - low_b)
    return float(max(low, -1.0)), float(min(high, 1.0))


def _table(correct_a: np.ndarray, correct_b: np.ndarray) -> np.ndarray:
    """(2, 2) counts: rows a right and wrong, columns b right and wrong."""
    correct_a, correct_b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    return np.array(
        [
            [(correct_a & correct_b).sum(), (correct_a & ~correct_b).sum()],
            [(~correct_a & correct_b).sum(), (~correct_a & ~correct_b).sum()],
        ]
    )
