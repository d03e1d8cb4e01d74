"""WLASL as its repository and its preprocess.py leave it."""

import pytest

from understudy.data.sources.known import read_source
from understudy.errors import UserError

YOUTUBE = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
OTHER = "http://aslbricks.org/New/ASL-Videos/book.mp4"


def instance(video_id, signer, split="train", url=OTHER, start=1, end=-1):
    return {
        "bbox": [385, 37, 885, 720], "fps": 25, "frame_end": end, "frame_start": start,
        "instance_id": 0, "signer_id": signer, "source": "aslbrick", "split": split, "url": url,
        "variation_id": 0, "video_id": video_id,
    }  # fmt: skip


def glosses(words=("book", "drink", "computer"), signers=6):
    return [
        {
            "gloss": word,
            "instances": [
                instance(f"{10 * place + signer:05}", signer, "test" if signer == 5 else "train")
                for signer in range(signers)
            ],
        }
        for place, word in enumerate(words)
    ]


def videos(*numbers):
    return [f"videos/{number:05}.mp4" for number in numbers]


def test_signers_are_groups_and_missing_videos_are_counted(lay, ask):
    place = lay({"WLASL_v0.3.json": glosses()}, videos(*range(6), *range(10, 16), *range(20, 25)))
    manifest, said = ask("wlasl", place)
    assert len(manifest) == 17
    assert manifest.classes == ("book", "computer", "drink")
    assert set(manifest.groups(range(17))) == {f"signer-{n}" for n in range(6)}
    assert "1 of 18 clips of the annotations are not there: 00025." in said
    assert len(manifest.splits) == 3


def test_the_first_words_are_taken_in_the_order_of_the_file(lay, ask):
    place = lay({"WLASL_v0.3.json": glosses()}, videos(*range(6), *range(10, 16)))
    manifest, said = ask("wlasl", place, "--limit-classes", "2")
    assert manifest.classes == ("book", "drink")
    assert "not there" not in said


def test_official_splits_that_share_signers_are_refused_unless_asked_for(lay, ask):
    words = glosses()
    words[0]["instances"][0]["split"] = "test"
    place = lay({"WLASL_v0.3.json": words}, videos(*range(6), *range(10, 16), *range(20, 26)))
    with pytest.raises(UserError, match="signer-0"):
        ask("wlasl", place, "--splits", "official")
    manifest, _ = ask("wlasl", place, "--splits", "official", "--allow-shared-groups")
    assert manifest.clip_counts()["test"] == 4


def test_a_sign_in_an_uncut_video_has_its_frames_as_seconds(lay):
    words = [
        {"gloss": "book", "instances": [instance("00001", 1, "train", YOUTUBE, 26, 75)]},
        {"gloss": "drink", "instances": [instance("00002", 2, "train", YOUTUBE, 101, -1)]},
        {"gloss": "go", "instances": [instance("00003", 3, "train", OTHER, 11, 20)]},
    ]
    media = ["raw_videos_mp4/dQw4w9WgXcQ.mp4", "videos/00003.mp4"]
    rows = read_source("wlasl", lay({"WLASL_v0.3.json": words}, media), {}).records
    assert [(row.label, row.start_s, row.end_s) for row in rows] == [
        ("book", 1.0, 3.0),
        ("drink", 4.0, None),
        ("go", 0.4, 0.8),
    ]
    assert rows[0].path == rows[1].path == "raw_videos_mp4/dQw4w9WgXcQ.mp4"


def test_what_preprocess_has_cut_is_not_cut_again(lay):
    words = [{"gloss": "book", "instances": [instance("00001", 1, "train", YOUTUBE, 26, 75)]}]
    media = ["raw_videos_mp4/dQw4w9WgXcQ.mp4", "videos/00001.mp4"]
    row = read_source("wlasl", lay({"WLASL_v0.3.json": words}, media), {}).records[0]
    assert (row.path, row.start_s, row.end_s) == ("videos/00001.mp4", None, None)


def test_a_subset_takes_its_words_from_the_list_and_signers_from_the_large_file(lay, ask):
    subset = {
        f"{10 * place + signer:05}": {"subset": "train", "action": [place, 1, 55]}
        for place in range(2)
        for signer in range(6)
    }
    files = {"nslt_100.json": subset, "wlasl_class_list.txt": "0\tbook\n1\tdrink\n2\tcomputer\n"}
    place = lay(files, videos(*range(6), *range(10, 16)))
    manifest, said = ask("wlasl", place / "nslt_100.json")
    assert manifest.classes == ("book", "drink")
    assert "12 clips have no signer" in said
    lay({"WLASL_v0.3.json": glosses()})
    manifest, said = ask("wlasl", place / "nslt_100.json")
    assert set(manifest.groups(range(12))) == {f"signer-{n}" for n in range(6)}
    assert "signer" not in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("video_id", "../../etc/passwd"),
        ("video_id", "/etc/passwd"),
        ("video_id", "a\\b"),
        ("frame_start", -5),
        ("frame_end", 10**12),
        ("split", "dev"),
        ("signer_id", None),
    ],
)
def test_what_is_absurd_in_the_file_is_refused_with_its_place(lay, key, value):
    words = glosses()
    words[1]["instances"][2][key] = value
    place = lay({"WLASL_v0.3.json": words}, videos(1, 2, 3))
    with pytest.raises(UserError, match=rf"WLASL_v0.3.json.*: 1\.instances\.2\.{key}: "):
        read_source("wlasl", place, {})


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '[{"gloss": 1e999}]', "\x00", "null"])
def test_a_broken_file_is_named(lay, text):
    with pytest.raises(UserError, match=r"WLASL_v0.3.json does not hold what was expected"):
        read_source("wlasl", lay({"WLASL_v0.3.json": text}, videos(1)), {})


def test_another_folder_is_refused_with_what_was_expected(lay):
    with pytest.raises(UserError, match=r"holds no WLASL_v0.3.json .* Expected a folder with"):
        read_source("wlasl", lay({}, ["videos/1.mp4"]), {})
    with pytest.raises(UserError, match=r"None of the 18 clips .* such as 00000, 00001, 00002"):
        read_source("wlasl", lay({"WLASL_v0.3.json": glosses()}), {})


def test_a_sign_that_ends_before_it_begins_is_left_out_and_counted(lay, ask):
    words = glosses()
    words[0]["instances"][0] |= {"frame_start": 50, "frame_end": 20}
    place = lay({"WLASL_v0.3.json": words}, videos(*range(6), *range(10, 16), *range(20, 26)))
    manifest, said = ask("wlasl", place)
    assert len(manifest) == 17
    assert "1 annotations end before they begin and were left out." in said
