"""Exports of Label Studio, as its documentation shows them: https://labelstud.io/guide/export."""

import base64
import json
import re

import pytest

from understudy.data.sources.annotations import reading
from understudy.errors import UserError

NAMES = [f"{n}.mp4" for n in range(4)]


def timeline(start: int, end: int, *labels: str, field: str = "videoLabels") -> dict:
    return {
        "id": "lVbNA",
        "type": "timelinelabels",
        "value": {"ranges": [{"start": start, "end": end}], "timelinelabels": list(labels)},
        "origin": "manual",
        "to_name": "video",
        "from_name": field,
    }


def choice(*labels: str, field: str = "choice") -> dict:
    return {
        "id": "q7Yw",
        "type": "choices",
        "value": {"choices": list(labels)},
        "origin": "manual",
        "to_name": "video",
        "from_name": field,
    }


def annotation(*results: dict, by: object = 1, **more: object) -> dict:
    return {
        "id": 1001,
        "completed_by": by,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "lead_time": 4.288,
        **more,
    }


def task(number: int, video: str, *annotations: dict, **data: object) -> dict:
    return {
        "id": number,
        "annotations": list(annotations),
        "file_upload": video.rpartition("/")[2],
        "drafts": [],
        "predictions": [],
        "data": {"video": video, **data},
        "project": 1,
    }


@pytest.fixture
def export(tmp_path):
    """Writes an export of tasks beside the media."""

    def write(tasks: object, name: str = "project-1-at-2026-01-31.json"):
        (tmp_path / name).write_text(json.dumps(tasks), encoding="utf-8")
        return tmp_path / name

    return write


def test_a_timeline_becomes_segments_in_seconds(videos, export, data_from):
    videos(*NAMES)
    place = export([
        task(n, f"/data/upload/1/3d3ad63e-{name}", annotation(
            timeline(1, 24, "wave"), timeline(49, 96, "clap")))
        for n, name in enumerate(NAMES)
    ])  # fmt: skip
    with pytest.raises(UserError, match=r"task 0: .* counted in frames .* --fps 24"):
        data_from("label-studio", place)
    found = data_from("label-studio", place, "--fps", "24")
    # Frames 1 to 24 of 24 a second, the last one included, are the first second.
    assert found.rows == sorted(
        row for name in NAMES for row in ((name, "wave", 0, 1), (name, "clap", 2, 4))
    )
    assert {row["group"] for row in found.table} == set(NAMES)


def test_the_rate_that_a_task_names_is_taken(videos, export, data_from):
    videos(*NAMES)
    tasks = [
        task(n, name, annotation(timeline(11, 30, "wave"), timeline(31, 40, "clap")), fps=10)
        for n, name in enumerate(NAMES)
    ]
    found = data_from("label-studio", export(tasks))
    assert found.rows[:2] == [("0.mp4", "clap", 3, 4), ("0.mp4", "wave", 1, 3)]


def test_frames_past_the_end_tell_a_wrong_rate(videos, export, data_from):
    videos(*NAMES)
    place = export([task(n, name, annotation(timeline(1, 100, "wave"))) for n, name in
                    enumerate(NAMES)])  # fmt: skip
    message = r"task 0, from 0 to 100 frames, is past the end .* 8\.00 s at 10 frames"
    with pytest.raises(UserError, match=message):
        data_from("label-studio", place, "--fps", "10")


def classified(labels, **more):
    return [task(n, f"{n}.mp4", annotation(choice(label)), **more) for n, label in
            enumerate(labels)]  # fmt: skip


@pytest.mark.parametrize(
    "reference",
    ["/data/upload/1/3d3ad63e-{}", "/data/local-files/?d=set%20one/{}", "s3://bucket/set one/{}",
     "https://host:8080/files/set%20one/{}?token=a/b.png", "C:\\clips\\set one\\{}", "{}",
     "/tasks/1/presign/?fileuri="],
)  # fmt: skip
def test_media_are_found_by_whatever_they_were_called(reference, videos, export, data_from):
    names = [f"{n}.mp4" for n in range(6)]
    videos(*(f"set one/{name}" for name in names))
    tasks = classified(["walk", "run"] * 3)
    for name, one in zip(names, tasks, strict=True):
        one["data"]["video"] = reference.format(name)
        if reference.endswith("fileuri="):
            code = base64.b64encode(f"s3://bucket/set one/{name}".encode()).decode()
            one["data"]["video"] = reference + code
    found = data_from("label-studio", export(tasks))
    assert [row[0] for row in found.rows] == [f"set one/{name}" for name in names]


def test_choices_hold_for_the_whole_clip(videos, export, data_from):
    videos(*(f"{n}.mp4" for n in range(6)))
    found = data_from("label-studio", export(classified(["walk", "run"] * 3)))
    assert found.rows == [(f"{n}.mp4", ("walk", "run")[n % 2], None, None) for n in range(6)]


def test_several_choices_are_several_labels(videos, export, data_from):
    videos(*NAMES)
    tasks = [task(n, name, annotation(choice("walk", "talk"))) for n, name in enumerate(NAMES)]
    found = data_from("label-studio", export(tasks))
    assert {row[1] for row in found.rows} == {"talk|walk"}
    assert "4 rows hold several labels" in found.said


def test_json_min_holds_the_same(videos, export, data_from):
    videos(*(f"{n}.mp4" for n in range(6)))
    rest = {"annotator": 1, "annotation_id": 7, "created_at": "2026-03-09", "updated_at": "2026",
            "lead_time": 1.5}  # fmt: skip
    flat = [
        {"video": f"/data/upload/1/3d3ad63e-{n}.mp4", "id": n, "choice": ("walk", "run")[n % 2]}
        | rest
        for n in range(6)
    ]
    assert data_from("label-studio", export(flat)).rows[0] == ("0.mp4", "walk", None, None)
    spans = [
        {"video": f"{n}.mp4", "id": n, "title": "of a walk", "videoLabels": [
            {"ranges": [{"start": 1, "end": 10}], "timelinelabels": ["wave"]},
            {"ranges": [{"start": 21, "end": 30}], "timelinelabels": ["clap"]},
        ]} | rest
        for n in range(6)
    ]  # fmt: skip
    found = data_from("label-studio", export(spans), "--fps", "10")
    assert found.rows[:2] == [("0.mp4", "clap", 2, 3), ("0.mp4", "wave", 0, 1)]


def test_regions_in_seconds_are_seconds(videos, export, data_from):
    videos(*NAMES)
    regions = [
        {"type": "labels", "from_name": "l", "value": {"start": a, "end": b, "labels": [name]}}
        for a, b, name in ((0.5, 2, "wave"), (3, 4.25, "clap"))
    ]
    tasks = [task(n, name, annotation(*regions)) for n, name in enumerate(NAMES)]
    found = data_from("label-studio", export(tasks))
    assert found.rows[:2] == [("0.mp4", "clap", 3, 4.25), ("0.mp4", "wave", 0.5, 2)]


def test_cancelled_annotations_and_other_results_are_counted(videos, export, data_from):
    videos(*(f"{n}.mp4" for n in range(7)))
    tasks = classified(["walk", "run"] * 3)
    tasks[0]["annotations"].append(annotation(choice("run"), was_cancelled=True))
    box = {"type": "rectanglelabels", "from_name": "box", "value": {"x": 1, "rotation": 0}}
    tasks[1]["annotations"][0]["result"].append(box)
    tasks.append(task(6, "6.mp4"))
    said = data_from("label-studio", export(tasks)).said
    assert "1 annotations were cancelled" in said
    assert "1 results are of another kind" in said
    assert "1 tasks have no annotation" in said
    assert "1 media below" in said


def test_annotators_who_differ_are_outvoted_or_left_out(videos, export, data_from):
    videos(*(f"{n}.mp4" for n in range(8)))
    tasks = classified(["walk", "run"] * 4)
    tasks[0]["annotations"] += [annotation(choice("run"), by=2), annotation(choice("walk"), by=3)]
    tasks[1]["annotations"] += [annotation(choice("walk"), by={"id": 2, "email": "b@x"})]
    tasks[2]["annotations"] += [annotation(choice("run"), by=2, ground_truth=True)]
    place = export(tasks)
    found = data_from("label-studio", place)
    labels = {row[0]: row[1] for row in found.rows}
    assert labels["0.mp4"] == "walk"
    assert "1.mp4" not in labels
    assert labels["2.mp4"] == "run"
    assert "1 tasks have annotators who differ, and were left out; --annotator" in found.said
    with pytest.raises(UserError, match=r"Too few: run \(1\), walk \(1\)|All 2 clips|Every class"):
        data_from("label-studio", place, "--annotator", "2")
    with pytest.raises(UserError, match=r"holds no label .* 1, 2, 2 or b@x, 3"):
        data_from("label-studio", place, "--annotator", "nobody")


def test_fields_and_cameras_are_chosen(videos, export, data_from):
    videos(*NAMES, *(f"side-{n}.mp4" for n in range(4)))
    tasks = [
        task(n, f"{n}.mp4", annotation(choice("walk"), choice(f"good{n % 2}", field="quality")),
             side=f"side-{n}.mp4", poster="poster.jpg")
        for n in range(4)
    ]  # fmt: skip
    place = export(tasks)
    with pytest.raises(UserError, match=r"several fields: choice, quality. .* --field choice"):
        data_from("label-studio", place)
    with pytest.raises(UserError, match=r"names several media: side, video. .* --camera side"):
        data_from("label-studio", place, "--field", "quality")
    with pytest.raises(UserError, match=r"no labels of a field 'x'; there: choice, quality"):
        data_from("label-studio", place, "--field", "x")
    with pytest.raises(UserError, match=r"good0 \(2\), good1 \(2\)"):
        data_from("label-studio", place, "--field", "quality", "--camera", "side")


def test_media_that_are_missing_are_counted_and_named(videos, export, data_from, tmp_path):
    tasks = classified(["walk", "run"] * 4)
    with pytest.raises(UserError, match=r"None of the 8 media .* --media FOLDER"):
        data_from("label-studio", export(tasks))
    videos(*(f"{n}.mp4" for n in range(6)), folder=tmp_path / "films")
    (tmp_path / "exports").mkdir()
    place = export(tasks, "exports/p.json")
    found = data_from("label-studio", place, "--media", str(tmp_path / "films"))
    assert len(found.rows) == 6
    assert re.search(r"2 of 8 media are not below .*films, .* 2 labels: 6.mp4, 7.mp4", found.said)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0]["data"].update(video="../../etc/0.mp4"), "outside of its folder"),
        (lambda t: t[0]["annotations"][0]["result"].append(timeline(9, 3, "wave", field="choice")),
         "times that cannot be, first 'wave' in 0.mp4, task 0, from 8 to 3"),
        (lambda t: t[0]["annotations"][0]["result"].append(timeline(-4, 3, "w", field="choice")),
         r"0.annotations.ranges.0.start: Input should be greater"),
        (lambda t: t[0].update(annotations={"a": 1}), r"0.annotations: Input should be a valid"),
        (lambda t: t[0].pop("annotations"), r"0.annotations: Field required"),
        (lambda t: t[0]["annotations"][0]["result"].append(choice("a|b")), "holds |"),
        (lambda t: t.append(3), "2: Input should be a valid dictionary|6: Input"),
    ],
)  # fmt: skip
def test_what_no_export_holds_is_refused_in_a_sentence(change, message, videos, export, data_from):
    videos(*(f"{n}.mp4" for n in range(6)))
    tasks = classified(["walk", "run"] * 3)
    change(tasks)
    with pytest.raises(UserError, match=message):
        data_from("label-studio", export(tasks), "--fps", "10")


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "", "[1e999]", '[{"id": NaN}]', "\ud800"])
def test_json_that_is_none_is_refused_in_a_sentence(text, tmp_path, data_from):
    (tmp_path / "x.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"x.json is no export of Label Studio"):
        data_from("label-studio", tmp_path / "x.json")


def test_two_uploads_of_one_name_are_not_one_video(videos, export, data_from):
    videos(*NAMES)
    tasks = classified(["walk", "run"] * 2)
    tasks[0]["data"]["video"] = "/data/upload/1/11111111-0.mp4"
    tasks[1]["data"]["video"] = "/data/upload/1/22222222-0.mp4"
    with pytest.raises(UserError, match=r"would both be 0.mp4"):
        data_from("label-studio", export(tasks))


def test_a_name_that_two_files_have_is_not_guessed(videos, export, data_from):
    videos("a/0.mp4", "b/0.mp4", "1.mp4", "2.mp4")
    tasks = classified(["walk", "run", "walk"])
    with pytest.raises(UserError, match=r"0.mp4 may be a/0.mp4 or b/0.mp4"):
        data_from("label-studio", export(tasks))
    tasks[0]["data"]["video"] = "/data/local-files/?d=x/b/0.mp4"
    with pytest.raises(UserError, match="Every class needs"):
        data_from("label-studio", export(tasks))


def test_an_export_that_would_fill_the_memory_is_refused(tmp_path, data_from, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 5)
    (tmp_path / "x.json").write_text("[      ]")
    with pytest.raises(UserError, match=r"x.json has more than 5 bytes\. Export it in parts"):
        data_from("label-studio", tmp_path / "x.json")
