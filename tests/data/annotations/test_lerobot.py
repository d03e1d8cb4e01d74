"""Data sets of LeRobot, versions 2.1 and 3.0, as the hub has them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from understudy.errors import UserError

TASKS = ["pick up the cube", "put the cube down"]
TOP, SIDE = "observation.images.top", "observation.images.side"


def info(version: str, *cameras: str, **more: object) -> dict:
    three = version.startswith("v3")
    return {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": 6,
        "chunks_size": 4,
        "fps": 10,
        "splits": {"train": "0:6"},
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if three
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {"action": {"dtype": "float32", "shape": [6]}}
        | {camera: {"dtype": "video", "shape": [48, 64, 3]} for camera in cameras},
    } | more


@pytest.fixture
def two(tmp_path, videos):
    """Version 2.1: a video an episode and camera."""

    def write(*cameras: str, version: str = "v2.1", **more: object):
        (tmp_path / "meta").mkdir(exist_ok=True)
        (tmp_path / "meta/info.json").write_text(json.dumps(info(version, *cameras, **more)))
        lines = [{"episode_index": n, "tasks": [TASKS[n % 2]], "length": 80} for n in range(6)]
        text = "\n".join(map(json.dumps, lines))
        (tmp_path / "meta/episodes.jsonl").write_text(text + "\n")
        return videos(
            *(f"videos/chunk-{n // 4:03d}/{camera}/episode_{n:06d}.mp4"
              for n in range(6) for camera in cameras)
        )  # fmt: skip

    return write


def test_an_episode_of_version_2_is_a_video(two, data_from):
    found = data_from("lerobot", two(TOP))
    assert found.rows == [
        (f"videos/chunk-{n // 4:03d}/{TOP}/episode_{n:06d}.mp4", TASKS[n % 2], None, None)
        for n in range(6)
    ]
    assert {row["group"] for row in found.table} == {f"episode-{n}" for n in range(6)}


def test_one_of_several_cameras_is_chosen(two, data_from):
    place = two(TOP, SIDE)
    with pytest.raises(UserError, match=rf"has 2 cameras: {SIDE}, {TOP}\. .* --camera KEY"):
        data_from("lerobot", place)
    for camera in ("side", SIDE):
        found = data_from("lerobot", place, "--camera", camera)
        assert len(found.rows) == 6
        assert all(SIDE in row[0] for row in found.rows)


def test_a_video_of_another_camera_is_not_taken_instead(two, data_from, tmp_path):
    place = two(TOP, SIDE, splits={"train": "0:2", "val": "2:4", "test": "4:6"})
    (tmp_path / f"videos/chunk-000/{TOP}/episode_000000.mp4").unlink()
    found = data_from("lerobot", place, "--camera", "top")
    assert "1 of 6 media are not below" in found.said
    assert not any(SIDE in row[0] for row in found.rows)


def test_splits_that_are_named_are_kept(two, data_from):
    found = data_from("lerobot", two(TOP, splits={"train": "0:2", "val": "2:4", "test": "4:6"}))
    splits = [row["split"] for row in sorted(found.table, key=lambda row: row["path"])]
    assert splits == ["train", "train", "val", "val", "test", "test"]


@pytest.fixture
def three(tmp_path, videos):
    """Version 3.0: all episodes in two videos of eight seconds."""

    def write(drop: str = "", **changes: list):
        (tmp_path / "meta/episodes/chunk-000").mkdir(parents=True)
        (tmp_path / "meta/info.json").write_text(json.dumps(info("v3.0", TOP)))
        prefix = f"videos/{TOP}/"
        columns = {
            "episode_index": list(range(6)),
            "tasks": [[TASKS[n % 2]] for n in range(6)],
            "length": [25] * 6,
            f"{prefix}chunk_index": [0] * 6,
            f"{prefix}file_index": [n // 3 for n in range(6)],
            f"{prefix}from_timestamp": [n % 3 * 2.5 for n in range(6)],
            f"{prefix}to_timestamp": [n % 3 * 2.5 + 2.5 for n in range(6)],
            "stats/action/min": [[0.0]] * 6,
        }
        columns |= {next(c for c in columns if c.endswith(k)): v for k, v in changes.items()}
        columns = {name: some for name, some in columns.items() if name != drop}
        pq.write_table(pa.table(columns), tmp_path / "meta/episodes/chunk-000/file-000.parquet")
        return videos(*(f"videos/{TOP}/chunk-000/file-{n:03d}.mp4" for n in range(2)))

    return write


def test_episodes_of_version_3_are_parts_of_videos_and_groups(three, data_from):
    found = data_from("lerobot", three())
    assert found.rows == sorted(
        (f"videos/{TOP}/chunk-000/file-{n // 3:03d}.mp4", TASKS[n % 2], n % 3 * 2.5,
         n % 3 * 2.5 + 2.5) for n in range(6)
    )  # fmt: skip
    assert len({row["group"] for row in found.table}) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to_timestamp": [99.0] * 6}, "past the end of the video"),
        ({"to_timestamp": [-1.0] * 6}, "times that cannot be"),
        ({"from_timestamp": [float("nan")] * 6}, r"row 0\.from_timestamp: Input should be a fin"),
        ({"tasks": ["a"] * 6}, r"row 0\.tasks: Input should be a valid tuple"),
        ({"drop": "tasks"}, r"row 0\.tasks: Field required"),
        ({"file_index": [7] * 6}, "None of the 1 media"),
    ],
)  # fmt: skip
def test_episodes_that_cannot_be_are_refused_in_a_sentence(changes, message, three, data_from):
    with pytest.raises(UserError, match=message):
        data_from("lerobot", three(**changes))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"version": "v1.6"}, r"of version 'v1.6'; v2.x and v3.x are read"),
        ({"version": "v4.0"}, "of version 'v4.0'"),
        ({"video_path": "{episode_index.__class__}.mp4"}, "None of the 1 media|None of the 6"),
        ({"video_path": "{episode_index:0999999999d}.mp4"}, "None of the"),
        ({"video_path": "{x}.mp4"}, "unknown field 'x'"),
        ({"video_path": "../../{video_key}.mp4"}, "outside of its folder"),
        ({"video_path": None}, "has 1 cameras"),
        ({"splits": {"train": "0:2", "lab": "2:6"}}, "split 'lab' of '2:6' is not train"),
        ({"splits": {"train": "0:999999999", "val": "x"}}, "split 'val' of 'x'"),
        ({"features": {}}, "has 0 cameras: none that is filmed"),
        ({"chunks_size": 0}, "chunks_size: Input should be greater"),
    ],
)
def test_what_no_data_set_holds_is_refused_in_a_sentence(more, message, two, data_from):
    with pytest.raises(UserError, match=message):
        data_from("lerobot", two(TOP, **more))
