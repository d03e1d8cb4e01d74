"""FiftyOne's FiftyOneImageClassificationDataset and FiftyOneTemporalDetectionDataset on disk."""

import json

import pytest

from understudy.errors import UserError

CLASSES = ["walk", "run"]


@pytest.fixture
def exported(tmp_path, videos):
    """Writes labels.json beside data/ with six videos."""

    def write(labels: object, classes: list[str] | None = CLASSES):
        videos(*(f"{n}.mp4" for n in range(6)), folder=tmp_path / "set" / "data")
        content = {"classes": classes, "labels": labels}
        (tmp_path / "set" / "labels.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path / "set"

    return write


WHOLE = [(f"set/data/{n}.mp4", CLASSES[n % 2], None, None) for n in range(6)]


@pytest.mark.parametrize(
    ("targets", "classes"),
    [
        ([n % 2 for n in range(6)], CLASSES),
        ([CLASSES[n % 2] for n in range(6)], None),
        ([{"label": n % 2, "confidence": 0.9, "attributes": {"a": 1}} for n in range(6)], CLASSES),
        ([[n % 2] for n in range(6)], CLASSES),
    ],
)
def test_classified_items_are_rows(targets, classes, exported, data_from):
    place = exported({str(n): one for n, one in enumerate(targets)}, classes)
    assert data_from("fiftyone", place).rows == WHOLE


def test_lists_are_several_labels_and_none_is_no_row(exported, data_from):
    place = exported({"0": [0, 1], "1": [0], "2": [1], "3": [0, 1], "4": [0, 1], "5": None})
    found = data_from("fiftyone", place)
    assert [row[1] for row in found.rows] == ["run|walk", "walk", "run", "run|walk", "run|walk"]
    assert "1 items have no label" in found.said
    assert "1 media below" in found.said


@pytest.mark.parametrize(
    "times", [{"support": [1, 10]}, {"timestamps": [0, 1]}, {"support": [1, 10], "confidence": 1}]
)
def test_temporal_detections_are_segments(times, exported, data_from):
    other = {"label": 1, "timestamps": [2.5, 4]}
    place = exported({str(n): [{"label": 0} | times, other] for n in range(6)})
    found = data_from("fiftyone", place)
    assert found.rows[:2] == [("set/data/0.mp4", "run", 2.5, 4), ("set/data/0.mp4", "walk", 0, 1)]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ({"0": 2}, CLASSES, "0 is of class 2, and there are 2 classes"),
        ({"0": -1}, CLASSES, "0 is of class -1"),
        ({"0": 0}, None, "0 is of class 0, and there are 0 classes"),
        ({"x/0": 0}, CLASSES, "None of the 1 media"),
        ({"../0": 0}, CLASSES, "outside of its folder"),
        ({"0": [{"label": 0, "support": [5, 2]}]}, CLASSES, "times that cannot be"),
        ({"0": [{"label": 0, "support": [5, 200]}]}, CLASSES, "past the end of the video"),
        ({"0": [{"label": 0, "timestamps": [1]}]}, CLASSES, "is no export of FiftyOne"),
        ({}, CLASSES, "holds no label"),
        ([], CLASSES, "labels: Input should be"),
    ],
)
def test_what_no_export_holds_is_refused_in_a_sentence(
    labels, classes, message, exported, data_from
):
    with pytest.raises(UserError, match=message):
        data_from("fiftyone", exported(labels, classes))


def test_a_folder_without_labels_is_refused(tmp_path, data_from):
    with pytest.raises(UserError, match=r"labels.json cannot be read: No such file"):
        data_from("fiftyone", tmp_path)
