"""The embedded data set is a measuring instrument: within a mirrored pair only order tells."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.proportion import proportion_confint

from understudy.data.stage import ACTIONS, MIRRORED_PAIRS, film_stage
from understudy.data.stage.actions import draw_style, perform, progress
from understudy.data.stage.camera import View
from understudy.data.stage.film import (
    cast,
    draw_shoot,
    film,
    write_video,
)
from understudy.data.stage.paint import paint_clip


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(("first", "second"), MIRRORED_PAIRS)
def test_second_of_a_pair_is_the_first_played_backwards(first: str, second: str) -> None:
    for seed in range(5):
        actor = cast(seed, 0)
        style = draw_style(np.random.default_rng(seed))
        ahead, back = (perform(action, actor, style, 23) for action in (first, second))
        for name, points in ahead.joints.items():
            np.testing.assert_allclose(back.joints[name], points[::-1], atol=1e-12)
        np.testing.assert_allclose(back.place, ahead.place[::-1], atol=1e-12)
        assert (back.prop, back.turn) == (ahead.prop, ahead.turn)
        points = [*ahead.joints.values(), ahead.place]
        moved = max(np.abs(track[-1] - track[0]).max() for track in points)
        assert moved > 0.2, "a pair whose ends look alike could not be told apart by order either"


def test_progress_never_goes_back_and_favours_no_direction() -> None:
    time = (np.arange(50) + 0.5) / 50
    rng = np.random.default_rng(0)
    courses = np.stack([progress(draw_style(rng), time) for _ in range(3000)])
    assert (np.diff(courses, axis=1) >= -1e-12).all()
    mirrored = 1 - courses[:, ::-1]
    error = np.sqrt((courses.var(0) + mirrored.var(0)) / len(courses))
    assert (np.abs(courses.mean(0) - mirrored.mean(0)) < 4 * error + 1e-9).all()
    np.testing.assert_allclose(courses.std(0), courses[:, ::-1].std(0), rtol=0.12, atol=1e-3)


@pytest.mark.parametrize(("first", "second"), MIRRORED_PAIRS)
def test_frames_of_a_pair_are_each_other_reversed(first: str, second: str) -> None:
    """Filmed by a camera that moves backwards, the second action is the first one's film reversed.

    Pan, drift and phase have distributions that are the same for the camera moving backwards, so
    the clips of one action are distributed as those of the other in reverse.
    """
    actor = cast(0, 1)
    shoot = draw_shoot(np.random.default_rng(5), 48)
    count = shoot.frames
    camera = replace(shoot.camera, noise=0.0)
    seconds = count / camera.fps
    sway = [(a, f, np.pi - 2 * np.pi * f * seconds - phase) for a, f, phase in camera.sway]
    backwards = replace(
        camera,
        pan=(-camera.pan[0], -camera.pan[1]),
        zoom_drift=-camera.zoom_drift,
        sway=(sway[0], sway[1]),
    )
    films = []
    for action, used in ((first, camera), (second, backwards)):
        rng = np.random.default_rng(0)
        played = perform(action, actor, shoot.style, count)
        view = View(used, count, rng)
        frames = paint_clip(actor, played, view, shoot.backdrop, shoot.prop_colour, rng)
        films.append(np.stack(frames).astype(int))
    # Rounding may move an edge by a pixel of the larger drawing.
    assert (films[0] != films[1][::-1]).mean() < 1e-3
    assert (films[0] != films[1]).mean() > 0.05


def test_codec_treats_both_directions_alike(tmp_path: Path) -> None:
    frames, camera = film("pick_up", cast(0, 0), np.random.default_rng(0), 48)
    write_video(tmp_path / "ahead.mp4", frames, camera.fps)
    write_video(tmp_path / "back.mp4", frames[::-1], camera.fps)
    ahead, back = decode(tmp_path / "ahead.mp4"), decode(tmp_path / "back.mp4")
    assert np.array_equal(ahead[::-1], back)
    assert not np.array_equal(ahead, back)
    error = np.abs(ahead.astype(int) - np.stack(frames))
    assert error.mean() < 5


def draw_moments(action: str, number: int, moments: int, size: int) -> np.ndarray:
    """A few evenly spaced frames of a clip of its own chance, cropped square, (T, S, S, 3)."""
    rng = np.random.default_rng([99, number, ACTIONS.index(action)])
    actor = cast(7, number % 50)
    shoot = draw_shoot(rng, size)
    played = perform(action, actor, shoot.style, moments)
    view = View(shoot.camera, moments, rng)
    clip = np.stack(paint_clip(actor, played, view, shoot.backdrop, shoot.prop_colour, rng))
    left = (clip.shape[2] - size) // 2
    return clip[:, :, left : left + size]


def probe(clips: list[np.ndarray], labels: list[int], actors: list[int]) -> dict[str, list[bool]]:
    """Which clips (T, S, S, 3) a linear probe gets right, tested on actors it was not fitted on.

    "average" sees the mean and the spread of every pixel over time, "order" the late half of the
    clip less the early one.
    """
    target = np.array(labels)
    views: dict[str, list[np.ndarray]] = {"average": [], "order": []}
    for clip in clips:
        frames, side, _, _ = clip.shape
        small = clip.reshape(frames, 16, side // 16, 16, side // 16, 3).mean(axis=(2, 4))
        early, late = small[: frames // 2], small[-(frames // 2) :]
        views["average"].append(np.concatenate([small.mean(0), small.std(0)], axis=-1).ravel())
        views["order"].append((late.mean(0) - early.mean(0)).ravel())
    right = {}
    for name, features in views.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        folds = GroupKFold(5)
        guess = cross_val_predict(model, np.stack(features), target, groups=actors, cv=folds)
        right[name] = list(guess == target)
    return right


def wilson(right: list[bool]) -> tuple[float, float]:
    """99%: at 95% one new seed in twenty would raise a false alarm."""
    interval = proportion_confint(sum(right), len(right), alpha=0.01, method="wilson")
    low, high = np.asarray(interval)
    return float(low), float(high)


def check_probes(right: list[dict[str, list[bool]]]) -> None:
    average = [hit for pair in right for hit in pair["average"]]
    low, high = wilson(average)
    assert low <= 0.5 <= high, f"an average of frames tells a mirrored pair apart: {low, high}"
    order = [hit for pair in right for hit in pair["order"]]
    low, _ = wilson(order)
    assert low > 0.7, f"the probe is too weak to find the order of time: {low}"


def test_average_of_frames_is_at_chance_within_a_pair_and_order_is_not() -> None:
    right = []
    for pair in MIRRORED_PAIRS:
        takes = [(n, label) for n in range(50) for label in (0, 1)]
        clips = [draw_moments(pair[label], n, 8, 32) for n, label in takes]
        right.append(probe(clips, [label for _, label in takes], [n for n, _ in takes]))
    check_probes(right)


@pytest.mark.sweep
def test_average_of_decoded_frames_is_at_chance_within_a_pair(tmp_path: Path) -> None:
    """The same through the files: encoded, decoded, every frame of every clip."""
    out = film_stage(tmp_path / "out", clips=600, seed=2, size=48, pictures=False)
    rows = read_table(out / "manifest.csv")
    right = []
    for pair in MIRRORED_PAIRS:
        chosen = [row for row in rows if row["label"] in pair]
        clips = []
        for row in chosen:
            clip = decode(out / row["path"])
            left = (clip.shape[2] - 48) // 2
            clips.append(clip[:, :, left : left + 48])
        labels = [pair.index(row["label"]) for row in chosen]
        right.append(probe(clips, labels, [int(row["group"][-3:]) for row in chosen]))
    check_probes(right)
