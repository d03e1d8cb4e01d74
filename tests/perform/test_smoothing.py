"""Averages, labels and quantiles against what they are by definition."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.perform.smoothing import Labels, Latencies, MovingAverage
from understudy.record import UNKNOWN, WARMING_UP

CLASSES = ("a", "b", "c")


@given(
    st.lists(st.floats(0.01, 2), min_size=1, max_size=12), st.floats(0.05, 3), st.integers(0, 99)
)
def test_the_average_weighs_by_age(gaps, constant_s, seed):
    """The first value weighs as if it had always been there; the others by how long they lasted."""
    times = np.cumsum(gaps)
    values = np.random.default_rng(seed).dirichlet([1] * 3, size=len(gaps))
    average = MovingAverage(constant_s)
    for time_s, value in zip(times, values, strict=True):
        found = average.add(time_s, value)
    ends = np.exp((times - times[-1]) / constant_s)  # what is left of everything before it
    weights = np.diff(ends, prepend=0.0)
    np.testing.assert_allclose(found, weights @ values, atol=1e-9)
    np.testing.assert_allclose(found.sum(), 1)


def test_after_one_time_constant_the_past_weighs_one_over_e():
    average = MovingAverage(0.5)
    average.add(0.0, np.array([1.0, 0.0]))
    for number in range(1, 6):
        found = average.add(number / 10, np.array([0.0, 1.0]))
    assert found[0] == pytest.approx(1 / np.e)


def test_no_time_constant_no_average_and_beginning_anew():
    average = MovingAverage(0)
    average.add(0.0, np.array([1.0, 0.0]))
    assert average.add(0.1, np.array([0.2, 0.8])).tolist() == [0.2, 0.8]
    average = MovingAverage(9)
    average.add(0.0, np.array([1.0, 0.0]))
    average.begin()
    assert average.add(0.1, np.array([0.2, 0.8])).tolist() == [0.2, 0.8]


@given(st.integers(1, 60), st.floats(0, 0.99), st.integers(0, 999))
def test_stretches_are_what_the_changes_say(frames, threshold, seed):
    probabilities = np.random.default_rng(seed).dirichlet([0.5] * 3, size=frames)
    labels = Labels(CLASSES, threshold)
    changes, stretches, said = [], [], []
    for number, row in enumerate(probabilities):
        change, ended = labels.add(number / 4, row)
        changes += [change] if change else []
        stretches += [ended] if ended else []
        said.append(changes[-1].label)
    last = labels.end(frames / 4)
    assert last is not None
    stretches.append(last)
    assert labels.end(99) is None, "given once"
    expected = [
        CLASSES[row.argmax()] if row.max() >= threshold else UNKNOWN for row in probabilities
    ]
    assert said == expected
    assert [(c.time_s, c.label) for c in changes] == [(s.start_s, s.label) for s in stretches]
    assert all(one.end_s == other.start_s for one, other in pairwise(stretches))
    assert all(one.label != other.label for one, other in pairwise(stretches))
    for stretch in stretches:
        rows = probabilities[int(stretch.start_s * 4) : int(stretch.end_s * 4)]
        assert stretch.probability == pytest.approx(rows.max(axis=1).mean())


def test_unknown_tells_what_it_would_have_been():
    change, _ = Labels(CLASSES, 0.5).add(1.0, np.array([0.3, 0.45, 0.25]))
    assert change is not None
    assert (change.label, change.best, change.probability) == (UNKNOWN, "b", 0.45)
    change, _ = Labels(CLASSES, 0.0).add(1.0, np.array([0.1, 0.1, 0.8]), known=False)
    assert change is not None
    assert (change.label, change.best) == (WARMING_UP, "c"), "not rejected: not judged yet"


def test_a_class_of_an_older_model_is_told_from_what_streams_say():
    labels = Labels(("Unknown", "warming up", "c"), 0.5)
    said = [
        labels.add(0.0, np.array([0.9, 0.05, 0.05]))[0],
        labels.add(1.0, np.array([0.4, 0.3, 0.3]))[0],
        labels.add(2.0, np.array([0.1, 0.8, 0.1]))[0],
        labels.add(3.0, np.array([0.9, 0.1, 0.0]), known=False)[0],
    ]
    assert [change.label for change in said if change] == [
        "class Unknown", UNKNOWN, "class warming up", WARMING_UP,
    ]  # fmt: skip
    assert [change.best for change in said if change][:2] == ["Unknown"] * 2


def test_a_probability_on_the_threshold_is_known():
    change, _ = Labels(CLASSES, 0.5).add(0.0, np.array([0.5, 0.3, 0.2]))
    assert change is not None
    assert change.label == "a"


def test_quantiles_are_within_one_percent():
    seconds = np.random.default_rng(0).lognormal(-5, 1, size=5001)
    latencies = Latencies()
    for value in seconds:
        latencies.add(float(value))
    assert latencies.quantile_ms(0.5) == pytest.approx(1000 * np.median(seconds), rel=0.011)
    expected = 1000 * np.quantile(seconds, 0.95, method="inverted_cdf")
    assert latencies.quantile_ms(0.95) == pytest.approx(expected, rel=0.011)
    assert latencies.total_s == pytest.approx(seconds.sum())
    assert len(latencies._bins) < 500, "and stay few however many durations there are"
    assert Latencies().quantile_ms(0.5) == 0
