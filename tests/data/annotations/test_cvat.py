"""Exports of CVAT: https://docs.cvat.ai/docs/dataset_management/formats/format-xml."""

import pytest
from PIL import Image

from understudy.errors import UserError


def task(number: int, source: str, mode: str = "interpolation", more: str = "") -> str:
    return f"""<task>
      <id>{number}</id> <name>task {number}</name> <size>80</size> <mode>{mode}</mode>
      <overlap>0</overlap> <bugtracker></bugtracker> <flipped>False</flipped>
      <created>2026-09-25 12:32:09.868194+03:00</created>
      <start_frame>0</start_frame> <stop_frame>79</stop_frame> {more}
      <labels><label><name>wave</name><attributes></attributes></label></labels>
      <segments><segment><id>5</id><start>0</start><stop>79</stop></segment></segments>
      <owner><username>admin</username><email></email></owner>
      <original_size><width>64</width><height>48</height></original_size>
      <source>{source}</source>
    </task>"""


def document(meta: str, body: str, version: str = "1.1", head: str = "") -> str:
    return f"""<?xml version="1.0" encoding="utf-8"?>{head}
<annotations>
  <version>{version}</version>
  <meta>
    {meta}
    <dumped>2026-09-25 16:05:07.134046+03:00</dumped>
  </meta>
  {body}
</annotations>
"""


def project(*tasks: str) -> str:
    return f"<project><id>1</id><name>p</name><tasks>{''.join(tasks)}</tasks></project>"


def box(frame: int, outside: int = 0, action: str | None = None, keyframe: int = 1) -> str:
    inside = f'<attribute name="action">{action}</attribute>' if action else ""
    return (
        f'<box frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" xtl="1.0" '
        f'ytl="1.0" xbr="9.0" ybr="9.0" z_order="0">{inside}</box>'
    )


def track(number: int, label: str, *boxes: str, of: int | None = None) -> str:
    more = f' task_id="{of}" subset="default"' if of is not None else ""
    return f'<track id="{number}" label="{label}" source="manual"{more}>{"".join(boxes)}</track>'


def image(number: int, name: str, *labels: str, of: int | None = None, inside: str = "") -> str:
    more = f' subset="default" task_id="{of}"' if of is not None else ""
    tags = "".join(f'<tag label="{label}" source="manual"></tag>' for label in labels)
    return f'<image id="{number}" name="{name}"{more} width="64" height="48">{tags}{inside}</image>'


@pytest.fixture
def written(tmp_path, videos):
    def write(text: str):
        (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
        return videos("0.mp4", "1.mp4", "2.mp4")

    return write


THREE = project(*(task(n, f"{n}.mp4") for n in range(3)))
WAVE = [box(5), *(box(f, keyframe=0) for f in range(6, 15)), box(15, outside=1)]


def test_a_track_holds_from_where_it_appears_to_where_it_is_outside(written, data_from):
    again = [*WAVE, box(40), box(41, outside=1)]
    body = "".join(
        track(n, "wave", *again, of=n) + track(n + 3, "clap", box(20), box(30, outside=1), of=n)
        for n in range(3)
    )
    found = data_from("cvat", written(document(THREE, body)))
    # Frames of the video, ten a second, from 0: 5 to 14 are half a second to one and a half.
    assert found.rows[:3] == [
        ("0.mp4", "clap", 2, 3), ("0.mp4", "wave", 0.5, 1.5), ("0.mp4", "wave", 4, 4.1),
    ]  # fmt: skip
    assert {row["group"] for row in found.table} == {"0.mp4", "1.mp4", "2.mp4"}


def test_people_who_act_at_once_make_rows_of_several_labels(written, data_from):
    body = "".join(
        track(n, "walk", box(0), box(40, outside=1), of=n)
        + track(n + 3, "sit", box(20), box(60, outside=1), of=n)
        for n in range(3)
    )
    found = data_from("cvat", written(document(THREE, body)))
    assert found.rows[:3] == [
        ("0.mp4", "sit", 4, 6), ("0.mp4", "sit|walk", 2, 4), ("0.mp4", "walk", 0, 2),
    ]  # fmt: skip
    assert "6 segments overlap others, and were cut where the labels change." in found.said


def test_a_track_that_never_ends_lasts_to_the_end(written, data_from):
    body = "".join(
        track(n, "wave", box(70), of=n)
        + track(n + 3, "clap", *(box(f, keyframe=0) for f in range(10, 20)), of=n)
        for n in range(3)
    )
    found = data_from("cvat", written(document(THREE, body)))
    assert found.rows[:2] == [("0.mp4", "clap", 1, 2), ("0.mp4", "wave", 7, 8)]


def test_an_attribute_may_be_the_label(written, data_from):
    boxes = [box(0, action="walk"), box(20, action="run"), box(30, action="run"), box(50, 1)]
    body = "".join(track(n, "person", *boxes, of=n) for n in range(3))
    place = written(document(THREE, body))
    with pytest.raises(UserError, match="All 3 clips have the label 'person'"):
        data_from("cvat", place)
    found = data_from("cvat", place, "--field", "action")
    assert found.rows[:2] == [("0.mp4", "run", 2, 5), ("0.mp4", "walk", 0, 2)]
    with pytest.raises(
        UserError, match=r"holds no label of any media\. 3 stretches of tracks have no"
    ):
        data_from("cvat", place, "--field", "x")


def test_neighbouring_frames_of_a_tag_are_one_segment(written, data_from):
    labels = dict.fromkeys([*range(10, 20), *range(40, 50)], "wave") | {30: "clap", 31: "clap"}
    body = "".join(
        image(f, f"frame_{f:06d}", *([labels[f]] if f in labels else []), of=n)
        for n in range(3)
        for f in range(80)
    )
    found = data_from("cvat", written(document(THREE, body)))
    assert found.rows[:3] == [
        ("0.mp4", "clap", 3, 3.2), ("0.mp4", "wave", 1, 2), ("0.mp4", "wave", 4, 5),
    ]  # fmt: skip
    assert "174 pictures have no label" in found.said


def test_frames_that_were_left_out_of_the_task_are_part_of_the_segment(written, data_from):
    several = project(
        *(task(n, f"{n}.mp4", more="<frame_filter>step=5</frame_filter>") for n in range(3))
    )
    body = "".join(
        image(f, f"frame_{f:06d}", "wave" if f < 20 else "clap", of=n)
        for n in range(3)
        for f in range(0, 80, 5)
    )
    found = data_from("cvat", written(document(several, body)))
    assert found.rows[:2] == [("0.mp4", "clap", 2, 8), ("0.mp4", "wave", 0, 2)]


def test_pictures_are_rows_without_times(tmp_path, data_from):
    (tmp_path / "images").mkdir()
    for number in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{number}.png")
    boxes = '<box label="car" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>'
    body = "".join(image(n, f"{n}.png", ("sit", "stand")[n % 2], inside=boxes) for n in range(6))
    (tmp_path / "annotations.xml").write_text(document(task(1, "", "annotation"), body))
    found = data_from("cvat", tmp_path)
    assert found.rows[:2] == [("images/0.png", "sit", None, None), ("images/1.png", "stand", None,
                              None)]  # fmt: skip
    assert "6 shapes in pictures are no tags" in found.said
    assert {row["group"] for row in found.table} == {f"images/{n}.png" for n in range(6)}


def test_frames_of_one_video_are_one_group(tmp_path, data_from):
    (tmp_path / "images").mkdir()
    body = ""
    for number in range(12):
        name = f"v{number // 4}_{number:06d}"
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.PNG")
        body += image(number, name, ("sit", "stand")[number % 2], of=number // 4)
    (tmp_path / "annotations.xml").write_text(document(THREE, body))
    found = data_from("cvat", tmp_path)
    assert len(found.rows) == 12
    assert {row["group"] for row in found.table} == {"0.mp4", "1.mp4", "2.mp4"}


def test_a_job_that_names_no_video_is_of_the_only_one(tmp_path, videos, data_from):
    job = (
        "<job><id>3</id><size>80</size><mode>interpolation</mode><stop_frame>79</stop_frame></job>"
    )
    body = track(0, "wave", *WAVE) + track(1, "clap", box(20), box(30, outside=1))
    (tmp_path / "annotations.xml").write_text(document(job, body))
    videos("a.mp4")
    with pytest.raises(UserError, match="Every class needs clips of 3 groups"):
        data_from("cvat", tmp_path)
    videos("b.mp4")
    with pytest.raises(UserError, match=r"does not say which video .* there are 2.* --media"):
        data_from("cvat", tmp_path)


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(THREE, track(0, "&i;", *WAVE, of=0), head=BOMB), "declares a document type"),
        (document(THREE, track(0, "w", *WAVE, of=0), head=OUTSIDE), "declares a document type"),
        (document(THREE, track(0, "&x;", *WAVE, of=0)), "no readable XML: undefined entity"),
        (document(THREE, "", version="2.0"), r"has version '2.0'; CVAT XML 1.x"),
        ("<html></html>", "it begins with 'html'"),
        ("", "no readable XML"),
        ("<annotations>" + "<a>" * 1000, "nested 50 deep"),
        (document(THREE, ""), "holds no label"),
        (document(THREE, track(0, "wave", box(5), box(500, 1), of=0)), r"past the end"),
        (document(THREE, track(0, "wave", box(-5), box(50, 1), of=0)), "'-5' of a box is no"),
        (document(THREE, track(0, "wave", *WAVE, of=9)), "names a task '9' that it does not"),
        (document(THREE, '<track id="0"></track>'), "a track has no label"),
        (document(task(0, "../0.mp4"), track(0, "wave", *WAVE)), "outside of its folder"),
    ],
)  # fmt: skip
def test_what_no_export_holds_is_refused_in_a_sentence(text, message, written, data_from):
    with pytest.raises(UserError, match=message):
        data_from("cvat", written(text))
