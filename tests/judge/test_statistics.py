"""Intervals and tests against scipy and statsmodels, and their coverage against simulation."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.proportion import confint_proportions_2indep

from understudy.judge.statistics import (
    bootstrap_groups,
    group_index,
    mcnemar,
    paired_difference,
    percentiles,
    proportion_interval,
    resample_sums,
    wilson,
)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_that_of_scipy(n, data, confidence):
    successes = data.draw(st.integers(0, n))
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    low, high = wilson(successes, n, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= successes / n <= high


def test_wilson_knows_nothing_without_clips_and_refuses_the_impossible():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes of 2"):
        wilson(3, 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_a_binomial_test_of_the_clips_that_differ(pairs):
    a, b = np.array(pairs).T
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a), abs=1e-12)


def test_clips_without_a_group_stand_for_themselves():
    index, count = group_index(["", "ann", "", "bob", "ann"])
    assert count == 4
    assert index[1] == index[4]
    assert len(set(index.tolist())) == 4


def test_a_resample_takes_whole_groups_and_as_many_as_there_are():
    groups = np.array([0, 0, 0, 1, 1, 2])
    one_hot = np.eye(6)
    sums = resample_sums(one_hot, groups, resamples=300, seed=0)
    for members in ([0, 1, 2], [3, 4]):
        assert (sums[:, members] == sums[:, members[:1]]).all()
    assert (sums[:, [0, 3, 5]].sum(axis=1) == 3).all()
    assert sums[:, 0].max() == 3
    assert sums[:, 0].mean() == pytest.approx(1, abs=0.15)


def test_the_bootstrap_is_seeded_and_does_not_depend_on_how_draws_are_blocked(monkeypatch):
    values, groups = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) // 4
    first = resample_sums(values, groups, resamples=50, seed=3)
    assert (first == resample_sums(values, groups, resamples=50, seed=3)).all()
    assert (first != resample_sums(values, groups, resamples=50, seed=4)).any()
    monkeypatch.setattr("understudy.judge.statistics._DRAWS_AT_ONCE", 7)
    np.testing.assert_allclose(first, resample_sums(values, groups, resamples=50, seed=3))


def test_the_bootstrap_of_a_mean_has_the_width_that_theory_gives():
    values = np.random.default_rng(1).normal(size=400)
    columns = np.stack([values, np.ones(400)], axis=1)
    low, high = bootstrap_groups(
        lambda sums: sums[:, 0] / sums[:, 1], columns, [""] * 400, resamples=4000
    )
    standard_error = values.std() / 20
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * standard_error)


def test_ten_thousand_clips_are_resampled_in_a_second():
    values = np.random.default_rng(0).random((10_000, 3))
    started = time.process_time()
    resample_sums(values, np.arange(10_000), resamples=2000)
    assert time.process_time() - started < 1.0


def test_undefined_draws_are_left_out():
    assert percentiles(np.array([np.nan, 1.0, 2.0, 3.0]), 0.999999) == pytest.approx(
        (1, 3), abs=1e-5
    )
    assert np.isnan(percentiles(np.array([np.nan]))).all()


def test_an_accuracy_gets_the_wider_of_both_intervals_at_either_end():
    alone = proportion_interval(20, 20, None)
    assert alone == (*wilson(20, 20), "wilson")
    # At 100% the bootstrap has no width, and Wilson's is all there is.
    assert proportion_interval(20, 20, np.ones(100)) == (*wilson(20, 20), "wilson+groups")
    spread = proportion_interval(10, 20, np.linspace(0, 0.6, 1001))
    assert spread.low == pytest.approx(0.015)
    assert spread.high == wilson(10, 20)[1]
    assert proportion_interval(0, 0, np.full(9, np.nan)) == (0.0, 1.0, "undefined")
    assert proportion_interval(1, 2, np.full(9, np.nan))[:2] == wilson(1, 2)


def test_groups_that_stand_or_fall_together_widen_the_interval():
    """100 clips of 10 persons, each recognised wholly or not at all, say what 10 clips say."""
    correct = np.repeat([1, 0, 1, 1, 0, 1, 1, 0, 1, 1], 10).astype(float)
    columns = np.stack([correct, np.ones(100)], axis=1)

    def mean(sums):
        return sums[:, 0] / sums[:, 1]

    people = [f"person {clip // 10}" for clip in range(100)]
    low, high = bootstrap_groups(mean, columns, people)
    narrow_low, narrow_high = bootstrap_groups(mean, columns, [""] * 100)
    assert (high - low) / (narrow_high - narrow_low) == pytest.approx(10**0.5, rel=0.15)


def _clips(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [True] * (both + only_a) + [False] * (only_b + neither)
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return np.array(a), np.array(b)


def test_without_correlation_the_paired_interval_is_newcombes_for_independent_ones():
    a, b = _clips(both=12, only_a=18, only_b=8, neither=12)  # both * neither = only_a * only_b
    low, high = confint_proportions_2indep(30, 50, 20, 50, method="newcomb")
    found = paired_difference(a, b, [""] * 50)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-12)
    assert found["difference"] == pytest.approx(0.2)
    assert (found["n"], found["groups"], found["method"]) == (50, 50, "newcombe")


def test_agreement_on_few_clips_proves_little():
    found = paired_difference(*_clips(20, 0, 0, 0), [f"g{i // 2}" for i in range(20)])
    assert found["difference"] == 0
    assert found["p"] == 1
    assert found["low"] < -0.1
    assert found["high"] > 0.1
    assert found["method"] == "newcombe+groups"


def test_swapping_the_two_mirrors_the_difference():
    a, b = _clips(30, 9, 2, 9)
    there, back = paired_difference(a, b, [""] * 50), paired_difference(b, a, [""] * 50)
    assert (back["low"], back["high"]) == pytest.approx((-there["high"], -there["low"]))
    assert there["p"] == pytest.approx(back["p"])


def test_pairing_tells_apart_what_two_separate_intervals_cannot():
    found = paired_difference(*_clips(60, 12, 1, 27), [""] * 100)
    assert found["low"] > 0
    assert found["p"] < 0.01
    assert wilson(72, 100)[0] < wilson(61, 100)[1]


def test_the_paired_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(5)
    share = np.array([0.55, 0.2, 0.1, 0.15])
    covered = 0
    for _ in range(400):
        a, b = _clips(*generator.multinomial(60, share).tolist())
        found = paired_difference(a, b, [""] * 60)
        covered += found["low"] <= 0.1 <= found["high"]
    assert 0.92 <= covered / 400 <= 0.985


def test_different_numbers_of_clips_are_refused():
    with pytest.raises(ValueError, match="3 and 2 clips and 3 groups"):
        paired_difference(np.ones(3), np.ones(2), ["", "", ""])
