"""Projects of VIA 3 and 2, as its documentation shows them."""

import json

import pytest
from PIL import Image

from understudy.errors import UserError

SEGMENTS = [(n, label, start, end) for n in range(3) for label, start, end in
            (("Break Egg", 0.5, 2), ("Mix", 3.25, 6))]  # fmt: skip
OPTIONS = {"1": "Break Egg", "2": "Mix", "3": "Cut"}


def via3(segments=SEGMENTS, kind: int = 4, **changes) -> dict:
    numbers = {name: number for number, name in OPTIONS.items()}
    project = {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "pname": "kitchen",
                    "data_format_version": "3.1.1", "creator": "VIA", "created": 1, "vid_list": []},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": {"1": {"aname": "Activity", "anchor_id": "FILE1_Z2_XY0", "type": kind,
                            "desc": "", "options": OPTIONS if kind != 1 else {},
                            "default_option_id": ""}},
        "file": {str(n): {"fid": str(n), "fname": f"{n}.mp4", "type": 4, "loc": 1, "src": ""}
                 for n in range(3)},
        "metadata": {f"{n}_{place}": {
            "vid": str(n), "flg": 0, "z": [start, end], "xy": [],
            "av": {"1": label if kind == 1 else numbers[label]}}
            for place, (n, label, start, end) in enumerate(segments)},
        "view": {str(n): {"fid_list": [str(n)]} for n in range(3)},
    }  # fmt: skip
    return project | changes


@pytest.fixture
def saved(tmp_path, videos):
    def write(project: object):
        (tmp_path / "project.json").write_text(json.dumps(project), encoding="utf-8")
        return videos("0.mp4", "1.mp4", "2.mp4") / "project.json"

    return write


ROWS = sorted((f"{n}.mp4", label, start, end) for n, label, start, end in SEGMENTS)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_temporal_segments_are_rows(kind, saved, data_from):
    assert data_from("via", saved(via3(kind=kind))).rows == ROWS


def test_a_check_box_ticked_twice_is_two_labels(saved, data_from):
    project = via3(kind=2)
    for place in ("0_0", "1_2", "2_4"):
        project["metadata"][place]["av"]["1"] = "1,3"
    assert data_from("via", saved(project)).rows[0] == ("0.mp4", "Break Egg|Cut", 0.5, 2)


def test_what_is_no_segment_is_counted(saved, data_from):
    project = via3()
    more = {"vid": "0", "flg": 0, "z": [1.5], "xy": [2, 10, 20, 50, 80], "av": {"1": "1"}}
    project["metadata"] |= {
        "0_box": more,
        "0_still": more | {"xy": []},
        "0_bare": more | {"xy": [], "z": [1, 2], "av": {}},
    }
    found = data_from("via", saved(project))
    assert found.rows == ROWS
    for said in ("1 regions of frames", "1 labels of single moments", "1 segments have no label"):
        assert said in found.said


def test_one_of_several_attributes_is_chosen(saved, data_from):
    project = via3()
    project["attribute"]["2"] = project["attribute"]["1"] | {"aname": "Hand"}
    project["metadata"]["0_0"]["av"]["2"] = "3"
    with pytest.raises(UserError, match=r"several attributes: Activity, Hand\. .* --field"):
        data_from("via", saved(project))
    assert data_from("via", saved(project), "--field", "Activity").rows == ROWS
    with pytest.raises(UserError, match="no labels of an attribute 'x'; there: Activity, Hand"):
        data_from("via", saved(project), "--field", "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"project": {"data_format_version": "4.0"}}, "is of VIA's format '4.0'; 3 and 2 are read"),
        ({"view": {}}, "metadata 0_0 is of a view 0 without a file"),
        ({"attribute": {}}, "metadata 0_0 has an unknown attribute 1"),
        ({"attribute": {"1": {"aname": "A", "type": 4, "options": {"7": "x"}}}},
         "has option 1 of A, which has 7"),
        ({"metadata": {"a": {"vid": "0", "z": [5, 2], "av": {"1": "1"}}}}, "times that cannot be"),
        ({"metadata": {"a": {"vid": "0", "z": [-5, 2], "av": {"1": "1"}}}}, "times that cannot be"),
        ({"metadata": {"a": {"vid": "0", "z": [5, 20], "av": {"1": "1"}}}}, "past the end"),
        ({"metadata": {"a": {"vid": "0", "z": ["x", 20]}}}, r"metadata\.a\.z\.0: Input should be"),
        ({"file": {"0": {"fname": "../0.mp4"}}}, "outside of its folder"),
    ],
)  # fmt: skip
def test_what_no_project_holds_is_refused_in_a_sentence(change, message, saved, data_from):
    with pytest.raises(UserError, match=message):
        data_from("via", saved(via3(SEGMENTS[:1], **change)))


def test_another_json_is_refused_in_a_sentence(saved, data_from):
    with pytest.raises(UserError, match="is no project of VIA 3 or 2"):
        data_from("via", saved({"a": 1}))


@pytest.mark.parametrize("of_regions", [False, True])
def test_pictures_of_version_2(of_regions, tmp_path, data_from):
    images = {}
    for n in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{n}.png")
        said = {"pose": ("sit", "stand")[n % 2]}
        shape = {"name": "rect", "x": 1, "y": 1, "width": 2, "height": 2}
        region = {"shape_attributes": shape, "region_attributes": said if of_regions else {}}
        images[f"{n}.png75"] = {
            "filename": f"{n}.png", "size": 75, "regions": [region],
            "file_attributes": {} if of_regions else said,
        }  # fmt: skip
    project = {"_via_settings": {}, "_via_img_metadata": images, "_via_attributes": {}}
    (tmp_path / "p.json").write_text(json.dumps(project), encoding="utf-8")
    assert data_from("via", tmp_path / "p.json").rows[:2] == [
        ("0.png", "sit", None, None), ("1.png", "stand", None, None),
    ]  # fmt: skip
