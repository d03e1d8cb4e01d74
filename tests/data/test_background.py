"""What lies between the segments of a video becomes rows of the class `background`."""

import csv
import math
import shutil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from understudy.cli.data import data_app
from understudy.data.background import windows
from understudy.data.decode import read_timeline
from understudy.data.sources import read_manifest
from understudy.errors import UserError

FRAMES = st.integers(1, 500)
SPANS = st.lists(
    st.tuples(st.floats(0, 600), st.floats(0.01, 200)).map(lambda one: (one[0], one[0] + one[1])),
    max_size=8,
)


@given(SPANS, FRAMES, st.floats(0.5, 100))
def test_windows_touch_no_segment_and_are_about_as_long(spans, frames, median):
    found = windows(spans, frames, median)
    taken = {
        frame
        for start, end in spans
        for frame in range(math.floor(start + 1e-6), math.ceil(end - 1e-6))
    }
    covered = [frame for start, end in found for frame in range(start, end)]
    assert len(covered) == len(set(covered))
    assert not taken & set(covered)
    assert set(covered) <= set(range(frames))
    for start, end in found:
        assert end - start >= max(1, median / 2)
        assert end - start <= max(1.5 * median, 1) + 1


@given(SPANS, FRAMES, st.floats(0.5, 100))
def test_no_gap_of_half_a_segment_is_left_out(spans, frames, median):
    covered = {f for start, end in windows(spans, frames, median) for f in range(start, end)}
    taken = {f for a, b in spans for f in range(math.floor(a + 1e-6), math.ceil(b - 1e-6))}
    gap = 0
    for frame in range(frames + 1):
        if frame < frames and frame not in taken | covered:
            gap += 1
        else:
            assert gap < max(1, median / 2)
            gap = 0


@given(st.floats(1, 60), st.lists(st.integers(0, 300), min_size=2, max_size=2, unique=True))
def test_a_window_is_read_with_its_own_frames_only(fps, bounds):
    start, end = sorted(bounds)
    assume(end > start)
    # As `read_timeline` widens times to whole frames.
    assert math.floor(start / fps * fps + 1e-6) == start
    assert math.ceil(end / fps * fps - 1e-6) == end


@pytest.fixture
def table(tmp_path, film):
    """Three videos of eight seconds, two segments each, as a table with a further column."""

    def write(rows=None, head="path,label,start_s,end_s,group,camera"):
        film("0.mp4", 80, fps=10)
        for number in (1, 2):
            shutil.copyfile(tmp_path / "0.mp4", tmp_path / f"{number}.mp4")
        rows = rows or [
            (f"{n}.mp4", label, start, end, f"person{n}", f"c{n}")
            for n in range(3)
            for label, start, end in (("wave", 1, 2.02), ("clap", 5, 6))
        ]
        text = "\n".join([head, *(",".join(map(str, row)) for row in rows)])
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        return tmp_path / "t.csv"

    return write


def test_gaps_become_rows_with_what_the_video_has(table, tmp_path):
    out = tmp_path / "out.csv"
    words = ["csv", str(table()), str(out), "--background"]
    done = CliRunner().invoke(data_app, words)
    assert done.exception is None
    assert "18 rows of class background were added, between segments." in done.stdout
    with out.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["path"] == "0.mp4"]
    found = [(float(row["start_s"]), float(row["end_s"])) for row in rows
             if row["label"] == "background"]  # fmt: skip
    # The segment until 2.02 s has a frame that lasts until 2.1 s.
    assert found == [(0, 1), (2.1, 3), (3, 4), (4, 5), (6, 7), (7, 8)]
    assert {(row["group"], row["camera"]) for row in rows} == {("person0", "c0")}
    assert len({row["split"] for row in rows}) == 1
    for start_s, end_s in found:
        read = read_timeline(tmp_path / "0.mp4", start_s, end_s)
        assert (read.start_s, read.end_s) == pytest.approx((start_s, end_s))


def test_a_whole_video_has_no_background(table):
    rows = [(f"{n}.mp4", "wave", "", "", n, "") for n in range(3)]
    with pytest.raises(UserError, match="No row has start_s or end_s"):
        read_manifest(table(rows), background=True)
    rows = [(f"{n}.mp4", "wave", a, b, n, "") for n in range(3) for a, b in (("", ""), (1, 2))]
    with pytest.raises(UserError, match="All 6 clips have the label"):
        read_manifest(table(rows), background=True)


def test_one_action_and_what_is_none_are_two_classes(table):
    rows = [(f"{n}.mp4", "fall", 3, "", n, "") for n in range(3)]
    found = read_manifest(table(rows), background=True)
    assert found.classes == ("background", "fall")
    # From 3 s to the end are 5 s, the median; 3 s before are more than half.
    assert [(row.start_s, row.end_s) for row in found.records[3:]] == [(0, 3)] * 3


def test_several_labels_stay_several(table):
    rows = [(f"{n}.mp4", "walk|wave", 0, 4, n, "") for n in range(3)]
    found = read_manifest(table(rows), background=True)
    assert [row.label for row in found.records[3:]] == [("background",)] * 3


def test_a_video_of_two_people_gets_none_and_is_named(table):
    rows = [
        (f"{n}.mp4", label, start, start + 2, f"{person if n == 2 else ''}{n}", "")
        for n in range(3)
        for label, start, person in (("wave", 0, "a"), ("clap", 4, "b"))
    ]
    with pytest.raises(UserError, match=r"Too few: background \(2\)\."):
        read_manifest(table(rows), background=True)


def test_another_spelling_of_the_class_is_refused(table):
    rows = [(f"{n}.mp4", "Background", 0, 4, n, "") for n in range(3)]
    with pytest.raises(UserError, match=r"There is a class 'Background'\. Rename it"):
        read_manifest(table(rows), background=True)
