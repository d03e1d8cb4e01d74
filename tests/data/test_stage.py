"""The embedded data set: what is filmed, by whom, in which files."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from understudy.data.sources import read_manifest
from understudy.data.stage import ACTIONS, MIRRORED_PAIRS, film_stage
from understudy.data.stage.actions import draw_style, perform
from understudy.data.stage.film import (
    Take,
    add_second,
    cast,
    film,
    film_take,
    generator,
    photograph,
    plan,
)
from understudy.errors import UserError


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_stage(tmp_path_factory.mktemp("stage") / "out", clips=53, seed=4, size=48)


def test_actions_hold_at_least_three_mirrored_pairs() -> None:
    assert len(ACTIONS) == len(set(ACTIONS)) >= 8
    paired = [name for pair in MIRRORED_PAIRS for name in pair]
    assert len(MIRRORED_PAIRS) >= 3
    assert len(paired) == len(set(paired))
    assert set(paired) < set(ACTIONS)


def test_manifest_says_what_the_files_hold(staged: Path) -> None:
    rows = read_table(staged / "manifest.csv")
    assert len(rows) == 53
    assert {row["path"] for row in rows} == {
        f"clips/{p.name}" for p in (staged / "clips").iterdir()
    }
    for row in rows:
        with av.open(str(staged / row["path"])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert (stream.width, stream.height) == (int(row["width"]), int(row["height"]))
            assert min(stream.width, stream.height) == 48
            assert float(stream.average_rate or 0) == float(row["fps"])
            assert stream.frames == round(float(row["seconds"]) * float(row["fps"]))
            assert stream.frames / float(row["fps"]) + 0.05 >= 1.0
        assert Path(row["path"]).name.startswith(row["label"])
    assert len({row["fps"] for row in rows}) > 3
    assert len({row["width"] for row in rows}) > 2


def test_pictures_share_labels_groups_and_splits(staged: Path) -> None:
    clips = read_table(staged / "manifest.csv")
    pictures = read_table(staged / "pictures.csv")
    keys = ("label", "split", "group")
    assert [[r[k] for k in keys] for r in pictures] == [[r[k] for k in keys] for r in clips]
    for row in pictures:
        with Image.open(staged / row["path"]) as picture:
            assert picture.size == (int(row["width"]), int(row["height"]))
    assert {row["path"] for row in pictures} == {
        f"pictures/{p.name}" for p in (staged / "pictures").iterdir()
    }


def test_splits_share_no_actor_and_are_balanced(staged: Path) -> None:
    rows = read_table(staged / "manifest.csv")
    groups: dict[str, set[str]] = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in groups.values())
    for split in ("val", "test"):
        counts = Counter(row["label"] for row in rows if row["split"] == split)
        assert counts == dict.fromkeys(ACTIONS, 1)


def test_plan_of_400_is_exactly_balanced() -> None:
    takes = plan(400, seed=0)
    assert Counter(take.split for take in takes) == {"train": 240, "val": 80, "test": 80}
    counts = Counter((take.split, take.action) for take in takes)
    assert {counts[split, action] for split in ("val", "test") for action in ACTIONS} == {8}
    assert {counts["train", action] for action in ACTIONS} == {24}
    assert Counter(take.actor for take in takes) == dict.fromkeys(range(40), 10)


def test_same_seed_same_frames_and_other_seed_other_frames(staged: Path, tmp_path: Path) -> None:
    again = film_stage(tmp_path / "again", clips=53, seed=4, size=48, pictures=False)
    assert not (again / "pictures").exists()
    assert (again / "manifest.csv").read_bytes() == (staged / "manifest.csv").read_bytes()
    rows = read_table(again / "manifest.csv")
    for row in rows[:12]:
        assert np.array_equal(decode(again / row["path"]), decode(staged / row["path"]))
    take = plan(53, seed=4)[0]
    frames, _ = film(take.action, cast(4, take.actor), generator(4, take, 0), 48)
    other, _ = film(take.action, cast(4, take.actor), generator(5, take, 0), 48)
    assert frames[0].shape != other[0].shape or not np.array_equal(frames[0], other[0])


def test_bones_keep_their_lengths() -> None:
    for number, action in enumerate(ACTIONS):
        actor = cast(1, number)
        joints = perform(action, actor, draw_style(np.random.default_rng(number)), 30).joints
        for side in ("left", "right"):
            for a, b, length in (
                ("shoulder", "elbow", actor.upper_arm),
                ("elbow", "hand", actor.forearm),
                ("hip", "knee", actor.thigh),
                ("knee", "ankle", actor.shin),
            ):
                bone = joints[f"{side}_{a}"] - joints[f"{side}_{b}"]
                np.testing.assert_allclose(np.linalg.norm(bone, axis=1), length, rtol=1e-6)


def test_the_action_decides_nothing_but_the_poses() -> None:
    """The same chance gives the same place, camera, length and rate, whatever is played."""
    take = Take("wave", 3, 2, "train", 0)
    actor = cast(0, 3)
    sizes = set()
    for action in ACTIONS:
        frames, camera = film(action, actor, generator(0, take, 0), 32)
        sizes.add((len(frames), frames[0].shape, camera))
    assert len(sizes) == 1
    # And the order in which an actor plays says nothing either: it is shuffled for each of them.
    orders = {a: [t.order for t in plan(2000, 0) if t.action == a] for a in ACTIONS}
    for order in orders.values():
        assert abs(np.mean(order) - 4.5) < 4 * np.sqrt(99 / 12 / len(order))


def test_stills_differ_by_the_action_alone() -> None:
    take = Take("jump", 0, 0, "train", 0)
    one, camera = photograph("jump", cast(0, 0), generator(0, take, 1), 64)
    two, _ = photograph("wave", cast(0, 0), generator(0, take, 1), 64)
    assert one.shape == two.shape == (camera.height, camera.width, 3)
    assert (one != two).any()


def test_refuses_a_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        film_stage(tmp_path, clips=50)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"clips": 12}, "too few"), ({"size": 95}, "even"), ({"size": 16}, "32")],
)
def test_refuses_what_cannot_be_filmed(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        film_stage(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_refuses_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        film_stage(tmp_path / "out", clips=50)


def test_two_actions_are_one_clip_with_both_labels(tmp_path: Path, monkeypatch) -> None:
    takes = add_second(plan(100, seed=0), 0, 0.4)
    both = [take for take in takes if take.second is not None]
    assert len(both) == 40
    assert all(take.second != take.action for take in both)
    assert {split for take in both for split in [take.split]} == {"train", "val", "test"}
    assert [replace(take, second=None) for take in takes] == plan(100, seed=0)
    assert add_second(takes, 0, 0) == takes

    take = both[0]
    alone, then = replace(take, second=None), film_take(take, cast(0, take.actor), 0, 32)
    first = film_take(alone, cast(0, take.actor), 0, 32)
    assert len(then) > len(first)
    assert all(np.array_equal(a, b) for a, b in zip(first, then, strict=False))
    assert not np.array_equal(first[-1], then[len(first)]), "another action follows"
    assert then[-1].shape == first[-1].shape

    monkeypatch.setattr("understudy.data.stage.film.plan", lambda clips, seed: plan(clips, 0)[:5])
    out = film_stage(tmp_path / "stage", clips=50, size=32, two_actions=0.4)
    rows = read_table(out / "manifest.csv")
    labels = [row["label"].split("|") for row in rows]
    assert sorted(map(len, labels)) == [1, 1, 1, 2, 2]
    for row, label in zip(rows, labels, strict=True):
        assert label == sorted(label)
        frames = decode(out / row["path"])
        assert len(frames) == round(float(row["seconds"]) * float(row["fps"]))
    assert read_manifest(out / "manifest.csv").is_multi_label
    stills = read_table(out / "pictures.csv")
    assert all(still["label"] in label for still, label in zip(stills, labels, strict=True))
    with pytest.raises(UserError, match="give a share, 0 to 1"):
        film_stage(tmp_path / "other", clips=50, size=32, two_actions=1.5)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    film_stage(
        tmp_path / "out", clips=50, size=32, pictures=False, progress=lambda *n: told.append(n)
    )
    assert told == [(i + 1, 50) for i in range(50)]
