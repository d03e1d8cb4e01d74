"""Ego4D as its command line downloads it: moments, verbs and sentences."""

import pytest

from understudy.data.sources.known import read_source
from understudy.errors import UserError


def uid(number):
    return f"{number:08}-ad6b-4fd5-8d0b-4a5e2e8a3a9b"


def metadata(videos):
    people = [
        {"video_uid": uid(n), "fb_participant_id": n // 2 if n < videos - 1 else None}
        for n in range(videos)
    ]
    return {"v2/ego4d.json": {"date": "230118", "version": "v2", "videos": people}}


def moment(label, start_s, first_s=100.0, primary=True):
    return {
        "start_time": start_s, "end_time": start_s + 2, "start_frame": 0, "end_frame": 60,
        "video_start_time": first_s + start_s, "video_end_time": first_s + start_s + 2,
        "label": label, "primary": primary,
    }  # fmt: skip


def moments(numbers):
    labels = [moment("walk", 1.0), moment("stand", 5.0), moment("cook", 8.0, primary=False)]
    return {
        "version": "v1",
        "videos": [
            {
                "video_uid": uid(n),
                "split": "train",
                "clips": [
                    {"clip_uid": uid(1000 + n), "video_start_sec": 100.0, "video_end_sec": 580.0,
                     "annotations": [{"annotator_uid": "a", "labels": labels}]}
                ],
            }
            for n in numbers
        ],
    }  # fmt: skip


def ego4d_media(numbers):
    return [f"v2/full_scale/{uid(n)}.mp4" for n in numbers]


def test_ego4d_moments_lie_in_videos_and_in_clips(lay, ask):
    files = metadata(10) | {
        "v2/annotations/moments_train.json": moments(range(8)),
        "v2/annotations/moments_val.json": moments(range(8, 10)),
    }
    place = lay(files, [*ego4d_media(range(9)), f"v2/clips/{uid(1009)}.mp4"])
    manifest, said = ask("ego4d", place)
    assert manifest.classes == ("stand", "walk")
    rows = {(row.path[-46:], row.label): row for row in manifest.records}
    assert len(rows) == 20
    assert rows[f"scale/{uid(0)}.mp4"[-46:], "walk"].start_s == 101.0
    assert rows[f"clips/{uid(1009)}.mp4"[-46:], "walk"].start_s == 1.0
    assert rows[f"scale/{uid(0)}.mp4"[-46:], "walk"].group == "person-0"
    assert "Nobody says who wears the camera in 1 videos" in said
    assert "classes are those of v2/annotations/moments_train.json" in said


VERBS = ((-0.5, "take_(pick,_grab,_get)"), (20.0, "put_(place,_leave,_drop)"))


def lta(numbers):
    return {
        "version": "v1",
        "clips": [
            {
                "video_uid": uid(n), "clip_uid": uid(1000 + n), "clip_parent_start_sec": 292.0,
                "clip_parent_end_sec": 608.0, "verb": verb, "noun": "dough", "verb_label": 0,
                "action_clip_start_sec": start_s, "action_clip_end_sec": start_s + 8,
            }
            for n in numbers
            for start_s, verb in VERBS
        ],
    }  # fmt: skip


def test_ego4d_verbs_become_the_eight_classes_by_a_mapping_that_comes_along(lay, ask):
    files = metadata(10) | {"v2/annotations/fho_lta_train.json": lta(range(10))}
    place = lay(files, ego4d_media(range(10)))
    manifest, _ = ask("ego4d", place, "--mapping", "ego4d-eight")
    assert manifest.classes == ("picking_up", "putting_down")
    assert sorted({row.start_s for row in manifest.records}) == [291.5, 312.0]


SENTENCES = (
    "#C C walks around the room", "#C C turns around", "#C C looks around the house",
    "#C C turns the pan with both hands", "#C C picks up a cup", "#C C puts the cup on the table",
    "#C C reaches for a towel", "#C C stands beside a table", "#O man Y walks", "#C C laughs",
    "#unsure",
)  # fmt: skip
EIGHT = (
    "looking_around", "manipulating", "picking_up", "putting_down", "reaching", "standing",
    "turning", "walking",
)  # fmt: skip


def narration(numbers, every_s=4.0):
    sentences = [
        {"timestamp_sec": 10 + every_s * place, "timestamp_frame": 300, "narration_text": text,
         "annotation_uid": "x"}
        for place, text in enumerate(SENTENCES)
    ]  # fmt: skip
    one = {"narration_pass_1": {"narrations": sentences, "summaries": []}, "status": "complete"}
    return {uid(n): one for n in numbers}


def test_ego4d_sentences_become_the_eight_classes_each_around_its_moment(lay, ask):
    told = narration(range(8)) | narration(range(8, 10), every_s=8.0)
    files = metadata(10) | {"v2/annotations/narration.json": told}
    frames = [f"frames/{uid(n)}/{k:07}.jpg" for n in range(9) for k in (1, 2)]
    place = lay(files, [*frames, *ego4d_media([9])])
    with pytest.raises(UserError, match=r"--mapping ego4d-eight"):
        ask("ego4d", place)
    manifest, said = ask("ego4d", place, "--mapping", "ego4d-eight")
    assert manifest.classes == EIGHT
    assert "leaves out 10 annotations of 1 labels: laughs (10)." in said
    # Sentences are 4 s apart in eight videos and 8 s in two, on average 4.8 s.
    rows = {(row.path[-40:], row.label): row for row in manifest.records}
    row = rows[f"{uid(9)}.mp4", "turning"]
    assert (row.start_s, row.end_s) == pytest.approx((18 - 4 / 4.8, 18 + 4 / 4.8))
    row = next(row for key, row in rows.items() if row.path.endswith(uid(0)) and "walking" in key)
    assert row.start_s * 25 == pytest.approx((10 - 2 / 4.8) * 30)


def test_ego4d_names_the_annotations_that_are_missing(lay):
    place = lay(metadata(2), ego4d_media([0]))
    with pytest.raises(
        UserError, match=r"no moments_train.json or fho_lta_train.json or narration"
    ):
        read_source("ego4d", place, {})
    with pytest.raises(UserError, match=r"holds no fho_lta_train\.json\. Expected"):
        read_source("ego4d", place, {"annotations": "lta"})
    with pytest.raises(UserError, match="one of moments, lta, narration"):
        read_source("ego4d", place, {"annotations": "fho"})


def test_a_mapping_that_fits_nothing_or_cannot_be_read_is_refused(lay):
    files = {"v2/annotations/moments_train.json": moments(range(3))}
    files |= {"a.csv": "label,class\nrun,running\n", "b.csv": "label\nrun\n", "c.json": {"walk": 1}}
    place = lay(files, ego4d_media(range(3)))
    for name, message in (
        ("a.csv", "fits no label of this data set, such as"),
        ("b.csv", "no column class"),
        ("c.json", "does not hold what was expected.* A mapping is a JSON object"),
        ("no.csv", "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            read_source("ego4d", place, {"mapping": place / name})
