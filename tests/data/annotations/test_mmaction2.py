"""Lists of MMAction2: of videos, of frame folders, with several labels and with a first frame."""

import pytest
from PIL import Image

from understudy.errors import UserError


@pytest.fixture
def written(tmp_path):
    def write(**texts: str):
        for name, text in texts.items():
            (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def frames(tmp_path):
    """Frame folders of ten pictures as denseflow names them, below rawframes/."""

    def write(*names: str, count: int = 10, prefix: str = "img_"):
        for name in names:
            folder = tmp_path / "rawframes" / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, count + 1):
                Image.new("RGB", (8, 8)).save(folder / f"{prefix}{number:05d}.jpg")

    return write


NAMES = [f"some/{n}" for n in range(6)]


def test_lists_of_a_folder_are_its_splits(written, videos, data_from):
    videos(*(f"videos/{n}.mp4" for n in range(6)))
    place = written(
        set_train_list_videos="videos/0.mp4 0\nvideos/1.mp4 1\n",
        set_val_list_videos="videos/2.mp4 0\nvideos/3.mp4 1\n",
        set_test_list_videos="videos/4.mp4 0\nvideos/5.mp4 1\n\n",
        label_map_set="walk\nrun\n",
    )
    found = data_from("mmaction2", place)
    assert found.rows == [(f"videos/{n}.mp4", ("walk", "run")[n % 2], None, None) for n in range(6)]
    splits = [row["split"] for row in sorted(found.table, key=lambda row: row["path"])]
    assert splits == ["train", "train", "val", "val", "test", "test"]


def test_paths_are_below_the_prefix_and_whole(written, videos, data_from, tmp_path):
    videos(*(f"data/videos/some/{n}.mp4" for n in range(6)))
    text = "".join(f"some/{n}.mp4 {n % 2}\n" for n in range(6)) + "other/0.mp4 1\n"
    place = written(list=text) / "list.txt"
    found = data_from("mmaction2", place, "--media", str(tmp_path / "data" / "videos"))
    assert [row[1] for row in found.rows] == ["0", "1"] * 3
    assert "There is no label map" in found.said
    assert "1 of 7 media are not below" in found.said


def test_several_labels_of_a_video(written, videos, data_from):
    videos(*(f"a b {n}.mp4" for n in range(3)))
    text = "".join(f"a b {n}.mp4 0 2\n" for n in range(3))
    place = written(list=text, label_map="walk\nrun\ntalk\n") / "list.txt"
    assert {row[1] for row in data_from("mmaction2", place).rows} == {"talk|walk"}


def test_frame_folders_are_clips(written, frames, data_from):
    frames(*NAMES)
    text = "".join(f"{name} 10 {n % 2}\n" for n, name in enumerate(NAMES))
    found = data_from("mmaction2", written(list=text) / "list.txt")
    assert found.rows == [(f"rawframes/{name}", f"{n % 2}", None, None) for n, name in
                          enumerate(NAMES)]  # fmt: skip


def test_fewer_frames_than_there_are_is_a_part(written, frames, data_from):
    frames(*NAMES)
    text = "".join(f"{name} 5 {n % 2}\n" for n, name in enumerate(NAMES))
    found = data_from("mmaction2", written(list=text) / "list.txt")
    assert found.rows[0] == ("rawframes/some/0", "0", 0, 0.2)


def test_a_first_frame_is_told_from_a_second_label_by_what_is_there(written, frames, data_from):
    frames(*NAMES)
    text = "".join(f"{name} 5 5 {n % 2}\n" for n, name in enumerate(NAMES))
    found = data_from("mmaction2", written(list=text) / "list.txt")
    assert found.rows[0] == ("rawframes/some/0", "0", 0.2, 0.4)
    text = "".join(f"{name} 10 0 1\n" for name in NAMES)
    found = data_from("mmaction2", written(list=text) / "list.txt")
    assert {row[1:] for row in found.rows} == {("0|1", None, None)}
    text = "".join(f"{name} 11 12 1\n" for name in NAMES)
    with pytest.raises(UserError, match="the frames on disk fit neither"):
        data_from("mmaction2", written(list=text) / "list.txt")


def test_flow_beside_the_frames_is_told(written, frames, data_from):
    frames("some/0")
    frames("some/0", prefix="flow_x_")
    with pytest.raises(
        UserError, match=r"2 sequences \(flow_x_#\.jpg, img_#\.jpg\); a clip is one"
    ):
        data_from("mmaction2", written(list="some/0 10 1\n") / "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.mp4\n", r"list.txt, line 1: '0.mp4' is no path with the numbers"),
        ("0.mp4,1\n", "no path with the numbers"),
        ("0.mp4, 1\n", "0.mp4, has a number of frames and no label"),
        ("0.mp4 -1\n", "no path with the numbers"),
        ("0.mp4 7\n", r"line 1: class 7 is not in .*, which names 2, from 0 on"),
        ("0.mp4 0\nsome 5 1\n", "line 2: some is no video, as the lines before it"),
        ("../0.mp4 1\n", "outside of its folder"),
        ("", "holds no line"),
        ("some/0 10\n", "has a number of frames and no label"),
        ("some/0 30 1\n", "should have 30 frames, and has 10"),
    ],
)
def test_what_no_list_holds_is_refused_in_a_sentence(
    text, message, written, videos, frames, data_from
):
    videos("0.mp4")
    frames("some/0")
    with pytest.raises(UserError, match=message):
        data_from("mmaction2", written(list=text, label_map="walk\nrun") / "list.txt")


def test_a_video_is_not_taken_for_a_folder_of_its_name(written, videos, data_from):
    videos("0.mp4")
    with pytest.raises(UserError, match=r"None of the 1 media .* \(0 others do\)"):
        data_from("mmaction2", written(list="0 10 1\n") / "list.txt")


def test_lists_of_several_split_numbers_are_not_mixed(written, data_from):
    place = written(ucf_train_split_1_videos="a.mp4 1", ucf_train_split_2_videos="a.mp4 1")
    with pytest.raises(
        UserError, match=r"ucf_train_split_1_videos.txt, .*_2_videos.txt\. Name one"
    ):
        data_from("mmaction2", place)
    with pytest.raises(UserError, match=r"should hold one list for each split.*there: none"):
        data_from("mmaction2", place / "..")


def test_a_video_in_two_lists_is_refused(written, videos, data_from):
    videos("0.mp4")
    with pytest.raises(UserError, match=r"0.mp4 stands in several splits"):
        data_from("mmaction2", written(a_train="0.mp4 1\n", a_val="0.mp4 1\n"))
