"""Annotation files of Create ML's action classifiers, CSV and JSON."""

import json

import pytest

from understudy.errors import UserError

SEGMENTS = [(f"{n}.mp4", label, start, end) for n in range(3) for label, start, end in
            (("squat", 0.5, 2.5), ("lunge", 3, 6))]  # fmt: skip


def as_csv(rows, head="video,label,start,end") -> str:
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def as_json(rows, keys=("video", "label", "start", "end")) -> str:
    return json.dumps([dict(zip(keys, row, strict=True)) for row in rows])


@pytest.fixture
def written(tmp_path, videos):
    """Writes an annotation file beside three videos."""

    def write(name: str, text: str):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return videos("0.mp4", "1.mp4", "2.mp4") / name

    return write


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("annotations.csv", as_csv(SEGMENTS)),
        ("annotations.csv", as_csv(SEGMENTS, "videoPath,label,startTime,endTime")),
        ("annotations.json", as_json(SEGMENTS)),
        ("annotations.json", as_json(SEGMENTS, ("file_name", "label", "start_time", "end_time"))),
    ],
)
def test_each_segment_is_a_row(name, text, written, data_from, tmp_path):
    written(name, text)
    found = data_from("create-ml", tmp_path)
    assert found.rows == sorted(SEGMENTS)
    assert {row["group"] for row in found.table} == {"0.mp4", "1.mp4", "2.mp4"}


def test_without_times_a_label_holds_for_the_whole_video(written, data_from):
    rows = [(f"{n}.mp4", label, start, "") for n in range(3) for label, start in
            (("squat", ""), ("lunge", 4))]  # fmt: skip
    found = data_from("create-ml", written("a.csv", as_csv(rows)))
    assert found.rows[:2] == [("0.mp4", "lunge|squat", 4, 8), ("0.mp4", "squat", 0, 4)]
    assert "6 segments overlap others" in found.said
    whole = as_csv([row[:2] for row in rows], "video,label")
    assert data_from("create-ml", written("a.csv", whole)).rows[0] == (
        "0.mp4", "lunge|squat", None, None,
    )  # fmt: skip


def test_gaps_between_segments_are_added_when_asked_for(written, data_from):
    found = data_from("create-ml", written("a.csv", as_csv(SEGMENTS)), "--background")
    # Segments last 2 and 3 s, 2.5 in the middle: gaps of 0.5 s stay out, 2 s are one window.
    assert found.rows[:3] == [
        ("0.mp4", "background", 6, 8), ("0.mp4", "lunge", 3, 6), ("0.mp4", "squat", 0.5, 2.5),
    ]  # fmt: skip


def test_columns_that_are_not_used_are_named(written, data_from):
    rows = [(*row, "gym") for row in SEGMENTS]
    found = data_from("create-ml", written("a.csv", as_csv(rows, "video,label,start,end,place")))
    assert "Columns that are not used: place." in found.said


def test_a_segment_may_end_a_little_after_its_video(written, data_from):
    rows = [(video, label, start, 8.3 if end == 6 else end) for video, label, start, end in
            SEGMENTS]  # fmt: skip
    said = data_from("create-ml", written("a.csv", as_csv(rows))).said
    assert "3 segments end up to 0.5 s after their video" in said


def test_joints_that_were_not_hit_are_no_clips(written, data_from):
    rows = [(f"{n}.mp4", label, start, end) for n in range(3) for label, start, end in
            (("squat", 0, 2.05), ("lunge", 2, 6))]  # fmt: skip
    found = data_from("create-ml", written("a.csv", as_csv(rows)))
    assert found.rows[:2] == [("0.mp4", "lunge", 2.05, 6), ("0.mp4", "squat", 0, 2)]
    assert "3 pieces shorter than 0.1 s were left out" in found.said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (as_csv([("0.mp4", "squat", 5, 2)]), "times that cannot be, first 'squat' in 0.mp4, row 1"),
        (as_csv([("0.mp4", "squat", -1, 2)]), "times that cannot be"),
        (as_csv([("0.mp4", "squat", 2, 20)]), r"past the end of the video, which lasts 8\.00 s"),
        (as_csv([("0.mp4", "squat", 8.1, 8.4)]), "past the end of the video"),
        (as_csv([("0.mp4", "squat", "0:02", "0:04")]), "row 1: '0:02' is no time in seconds"),
        (as_csv([("0.mp4", "squat", "nan", "4")]), "'nan' is no time"),
        (as_csv([("", "squat", 1, 2)]), "row 1, names no video"),
        (as_csv([("0.mp4", "", 1, 2)]), "is empty or holds"),
        (as_csv([("0.mp4", "squat", 1)], "video,label,begin"), "columns video, label, start and"),
        (as_csv([("0.mp4", "squat", 1)], "video,label,start"), "columns video, label, start and"),
        (as_csv([("0.mp4", "a", 1)], "video,label,start_frame"), "'start_frame' looks like a time"),
        (as_csv([("0.mp4", "a", 1, 2, 9)], "video,label,start,end,frames"), "'frames' looks like"),
        (as_csv([("0.mp4", "a", "b")], "video,label,action"), "both look like label"),
        (as_csv([("../0.mp4", "squat", 1, 2)]), "outside of its folder"),
        (as_csv([("/etc/passwd.mp4", "squat", 1, 2)]), "None of the 1 media"),
        (as_csv([]), "holds no label"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(text, message, written, data_from):
    with pytest.raises(UserError, match=message):
        data_from("create-ml", written("a.csv", text))


def test_videos_that_cannot_be_read_are_left_out_and_named(written, data_from, tmp_path):
    rows = [*SEGMENTS, ("broken.mp4", "squat", 1, 2)]
    place = written("a.csv", as_csv(rows))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    found = data_from("create-ml", place)
    assert len(found.rows) == 6
    assert "1 videos cannot be read, and were left out: broken.mp4" in found.said


def test_a_path_that_is_there_as_a_whole_is_the_one_meant(written, videos, data_from, tmp_path):
    place = written("a.csv", as_csv(SEGMENTS))
    videos("0.mp4", "1.mp4", "2.mp4", folder=tmp_path / "old")
    found = data_from("create-ml", place)
    assert found.rows == sorted(SEGMENTS)
    assert "3 media below" in found.said


def test_a_folder_with_two_annotation_files_is_not_guessed(written, data_from, tmp_path):
    written("a.csv", as_csv(SEGMENTS))
    written("b.json", as_json(SEGMENTS))
    with pytest.raises(UserError, match=r"one .csv or .json file of Create ML; there: a.csv, b"):
        data_from("create-ml", tmp_path)
