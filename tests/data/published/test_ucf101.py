"""UCF101: the lists of its authors, and the folder of their archive."""

import pytest

from understudy.data.sources.known import read_source
from understudy.errors import UserError

CLASSES = ("ApplyEyeMakeup", "HandstandPushups", "YoYo")


def lists(number=1, groups=25):
    """The two lists of a split, with CR LF as they are published. Groups 1 to 7 are tested on."""
    train, test = [], []
    for place, label in enumerate(CLASSES, start=1):
        own = label.replace("Handstand", "HandStand")  # the files of that class are named so
        for group in range(1, groups + 1):
            name = f"{label}/v_{own}_g{group:02}_c01.avi"
            (test if group <= 7 else train).append(name if group <= 7 else f"{name} {place}")
    return {
        f"ucfTrainTestlist/trainlist{number:02}.txt": "\r\n".join(train) + "\r\n",
        f"ucfTrainTestlist/testlist{number:02}.txt": "\r\n".join(test) + "\r\n",
    }


def media(files):
    lines = [line.split()[0] for text in files.values() for line in text.splitlines()]
    return [f"UCF-101/{line}" for line in lines]


def test_test_is_official_and_val_comes_out_of_train_by_source_videos(lay, ask):
    files = lists()
    manifest, _ = ask("ucf101", lay(files, media(files)))
    assert manifest.classes == CLASSES
    assert manifest.clip_counts() == {"train": 42, "val": 12, "test": 21}
    tested = {row.path for row in manifest.records if row.split == "test"}
    assert all(int(path[-10:-8]) <= 7 for path in tested)
    assert "ApplyEyeMakeup-g08" in manifest.groups(range(len(manifest)))


def test_clips_of_one_source_video_stay_together(lay, ask):
    files = {name: text + text.replace("_c01", "_c02") for name, text in lists().items()}
    manifest, _ = ask("ucf101", lay(files, media(files)))
    assert len(manifest) == 150
    assert manifest.group_counts() == {"train": 42, "val": 12, "test": 21}


def test_another_split_is_its_own_lists(lay, ask):
    files = lists(1) | lists(3, groups=20)
    place = lay(files, media(lists(1)))
    assert len(ask("ucf101", place, "--split-number", "3")[0]) == 60
    with pytest.raises(UserError, match="holds no trainlist02"):
        ask("ucf101", place, "--split-number", "2")
    with pytest.raises(UserError, match="UCF101 has the splits 1, 2 and 3"):
        ask("ucf101", place, "--split-number", "4")


def test_frame_folders_serve_as_well_and_videos_are_preferred(lay, ask):
    files = lists()
    frames = [
        f"frames/{path[8:].removesuffix('.avi')}/frame_{n}.jpg"
        for path in media(files)
        for n in (1, 2)
    ]
    place = lay(files, frames)
    manifest, _ = ask("ucf101", place)
    assert len(manifest) == 75
    assert manifest.columns.path[0].as_py().startswith("set/frames/")
    lay({}, media(files))
    manifest, said = ask("ucf101", place)
    assert manifest.columns.path[0].as_py().startswith("set/UCF-101/")
    assert "75 clips lie there more than once" in said


def test_frames_are_preferred_to_optical_flow(lay, ask):
    files = lists()
    stems = [path[8:].removesuffix(".avi") for path in media(files)]
    flow = [f"flow_u/{stem}/frame_{n}.jpg" for stem in stems for n in (1, 2)]
    manifest, said = ask(
        "ucf101", lay(files, [*flow, *(path.replace("flow_u", "rgb") for path in flow)])
    )
    assert all(path.startswith("set/rgb/") for path in manifest.columns.path.to_pylist())
    assert "--media FOLDER says which are." in said


def test_classes_can_be_joined_and_left_out(lay, ask):
    files = lists() | {"mapping.csv": "label,class\nYoYo,toy\nApply*,make-up\nNever,x\n"}
    place = lay(files, media(lists()))
    manifest, said = ask("ucf101", place, "--mapping", str(place / "mapping.csv"))
    assert manifest.classes == ("make-up", "toy")
    assert "leaves out 25 annotations of 1 labels: HandstandPushups (25)." in said
    assert "1 lines fit no label: Never." in said


@pytest.mark.parametrize(
    "line", ["../../etc/passwd 1", "/etc/passwd", "v_A_g01_c01.avi 1", "a b c"]
)
def test_a_line_that_names_no_clip_is_refused(lay, line):
    files = lists()
    files["ucfTrainTestlist/testlist01.txt"] += f"{line}\n"
    with pytest.raises(UserError, match="names no clip"):
        read_source("ucf101", lay(files, media(lists())), {})


def test_an_option_of_another_data_set_is_refused(lay):
    with pytest.raises(UserError, match=r"takes no --mistake; it takes --split-number, "):
        read_source("ucf101", lay({}), {"mistake": 1})


def test_links_in_circles_and_folders_without_end_are_lived_with(lay, ask):
    files = lists()
    place = lay(files, media(files))
    (place / "UCF-101" / "a.avi").symlink_to("b.avi")
    (place / "UCF-101" / "b.avi").symlink_to("a.avi")
    (place / "UCF-101" / "again").symlink_to(place)
    manifest, said = ask("ucf101", place)
    assert len(manifest) == 75
    assert "more than once" not in said
    deep = place / "/".join("d" * 110)
    deep.mkdir(parents=True)
    with pytest.raises(UserError, match="more than 100 folders deep"):
        read_source("ucf101", place, {})


def test_a_folder_of_a_thousand_folders_is_not_looked_into_for_lists(lay):
    clips = [f"frames/{n}/trainlist01.txt" for n in range(1000)]
    with pytest.raises(UserError, match=r"holds no trainlist01\.txt"):
        read_source("ucf101", lay({}, clips), {})
