"""Which frames are taken: properties that hold for every clip, and exact cases."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.data.reader import is_fixed
from understudy.data.sampling import METHODS, Timeline, sample_times

timelines = st.builds(
    lambda start, count, fps: Timeline(start, start + count / fps, fps),
    st.floats(0, 1000),
    st.integers(1, 2000),
    st.sampled_from([1.0, 10.0, 24.0, 25.0, 29.97, 30.0, 60.0]),
)


def frame_numbers(times_s: list[float], timeline: Timeline) -> list[int]:
    return [int((time - timeline.start_s) * timeline.fps) for time in times_s]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(timelines, st.sampled_from(METHODS), st.integers(1, 64), st.none() | st.integers(0, 99))
def test_frames_are_inside_rise_and_are_as_many_as_there_are(timeline, method, frames, seed):
    stride_s = 0.1 if method == "dense" else None
    generator = None if seed is None else seeded(seed)
    times = sample_times(method, frames, timeline, stride_s=stride_s, generator=generator)
    chosen = frame_numbers(times, timeline)
    assert all(timeline.start_s <= time < timeline.end_s for time in times)
    assert all(a < b for a, b in pairwise(chosen)), "a frame taken twice"
    if method != "dense":
        assert len(chosen) == min(frames, timeline.frames)
    elif len(chosen) < frames:  # one more stride would have left the clip
        assert timeline.frames <= frames * max(1, 0.1 * timeline.fps)


@given(timelines, st.integers(1, 64))
def test_uniform_is_the_same_backwards(timeline, frames):
    """Segment centres have no lean to the beginning or the end, but for one frame of rounding."""
    chosen = frame_numbers(sample_times("uniform", frames, timeline), timeline)
    mirrored = [timeline.frames - 1 - number for number in reversed(chosen)]
    assert all(abs(a - b) <= 1 for a, b in zip(chosen, mirrored, strict=True))


@given(timelines, st.integers(1, 64), st.integers(0, 99))
def test_random_segment_takes_one_frame_of_each_segment(timeline, frames, seed):
    times = sample_times("random_segment", frames, timeline, generator=seeded(seed))
    chosen = frame_numbers(times, timeline)
    count = len(chosen)
    for segment, number in enumerate(chosen):
        low, high = segment * timeline.frames // count, (segment + 1) * timeline.frames // count
        assert low <= number < high


@pytest.mark.parametrize(
    ("method", "stride_s", "expected"),
    [
        ("uniform", None, [12, 37, 62, 87]),
        ("random_segment", None, [12, 37, 62, 87]),  # without a generator: the centres
        ("first", None, [0, 1, 2, 3]),
        ("centre", None, [48, 49, 50, 51]),
        ("dense", 0.4, [34, 44, 54, 64]),
        ("dense", 2.0, [24, 74]),
        ("dense", 0.1, [46, 48, 51, 53]),  # 2.5 frames
        ("dense", 0.001, [48, 49, 50, 51]),
    ],
)
def test_exact_frames_of_four_seconds(method, stride_s, expected):
    timeline = Timeline(0.0, 4.0, 25.0)
    times = sample_times(method, 4, timeline, stride_s=stride_s)
    assert frame_numbers(times, timeline) == expected


@pytest.mark.parametrize(
    ("stride_s", "fps", "seconds", "expected"),
    [
        (0.29, 100.0, 1.0, [6, 35, 64, 93]),  # 0.29 * 100 = 28.999999999999996
        (0.07, 100.0, 0.22, [0, 7, 14, 21]),  # 21 / (0.07 * 100) = 2.9999999999999996
    ],
)
def test_a_stride_of_whole_frames_is_not_rounded_down(stride_s, fps, seconds, expected):
    timeline = Timeline(0.0, seconds, fps)
    assert (
        frame_numbers(sample_times("dense", 4, timeline, stride_s=stride_s), timeline) == expected
    )


@given(timelines, st.integers(1, 64), st.integers(1, 99))
def test_dense_frames_lie_the_stride_apart(timeline, frames, stride):
    times = sample_times("dense", frames, timeline, stride_s=stride / timeline.fps)
    chosen = frame_numbers(times, timeline)
    assert {b - a for a, b in pairwise(chosen)} <= {stride}
    assert len(chosen) == min(frames, 1 + (timeline.frames - 1) // stride)


def test_dense_windows_reach_both_ends():
    timeline = Timeline(0.0, 1.0, 10.0)
    firsts = {
        frame_numbers(
            sample_times("dense", 3, timeline, stride_s=0.2, generator=seeded(seed)), timeline
        )[0]
        for seed in range(100)
    }
    assert firsts == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("method", METHODS)
def test_only_methods_that_draw_nothing_are_fixed(method):
    """What a frozen backbone said of the frames of a fixed method holds for all epochs."""
    stride_s = 0.2 if method == "dense" else None
    taken = [
        sample_times(method, 5, Timeline(0.0, 4.0, 25.0), stride_s=stride_s, generator=seeded(seed))
        for seed in range(3)
    ]
    assert is_fixed(method) == (taken[0] == taken[1] == taken[2])


def test_a_picture_is_one_frame():
    assert sample_times("uniform", 8, Timeline(0.0, 0.0, 0.0)) == [0.0]


def test_wrong_requests_are_refused():
    timeline = Timeline(0.0, 1.0, 10.0)
    with pytest.raises(ValueError, match="centre"):
        sample_times("center", 4, timeline)
    with pytest.raises(ValueError, match="stride"):
        sample_times("dense", 4, timeline)
    with pytest.raises(ValueError, match="one frame"):
        sample_times("uniform", 0, timeline)
