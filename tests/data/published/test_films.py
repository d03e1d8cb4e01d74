"""HMDB51 and Kinetics: videos whose names say where they come from."""

import pytest

from understudy.data.sources.known import read_source
from understudy.errors import UserError

TAGS = "f_cm_np1_ba_med"
CLASSES = ("brush_hair", "ride_bike")


def hmdb(number=1, films=10):
    """Lists of a split: films 1 to 3 are tested on, film 0 is in neither list."""
    files = {}
    for label in CLASSES:
        lines = [
            f"Film_{film}_{label}_{TAGS}_{clip}.avi {0 if film == 0 else 2 if film < 4 else 1} "
            for film in range(films)
            for clip in range(2)
        ]
        files[f"testTrainMulti_7030_splits/{label}_test_split{number}.txt"] = "\n".join(lines)
    return files


def hmdb_media(films=10):
    return [
        f"{label}/Film_{film}_{label}_{TAGS}_{clip}.avi"
        for label in CLASSES
        for film in range(films)
        for clip in range(2)
    ]


def test_hmdb51_keeps_its_test_and_carves_val_by_films(lay, ask):
    manifest, said = ask("hmdb51", lay(hmdb(), hmdb_media()))
    assert manifest.classes == CLASSES
    assert manifest.clip_counts() == {"train": 20, "val": 4, "test": 12}
    assert manifest.group_counts() == {"train": 10, "val": 2, "test": 6}
    assert "4 clips belong to neither list of split 1." in said
    assert "films that train shows" not in said


def test_films_on_both_sides_of_an_official_split_are_told_and_can_be_kept_apart(lay, ask):
    files = hmdb()
    name = "testTrainMulti_7030_splits/ride_bike_test_split1.txt"
    for clip in range(2):
        line = f"Film_1_ride_bike_{TAGS}_{clip}.avi"
        files[name] = files[name].replace(f"{line} 2", f"{line} 1")
    place = lay(files, hmdb_media())
    _, said = ask("hmdb51", place)
    assert "2 of 10 test clips are of 1 films that train shows in other classes" in said
    manifest, said = ask("hmdb51", place, "--splits", "groups")
    assert "films that train" not in said
    assert set(manifest.groups(range(len(manifest)))) == {f"Film_{n}" for n in range(1, 10)}


@pytest.mark.parametrize(
    "line",
    ["x.avi 1", f"F_kiss_{TAGS}_0.avi 1", f"F_brush_hair_{TAGS}_0.avi 3", "1", "/etc/passwd"],
)
def test_hmdb51_refuses_a_line_that_names_no_clip_of_the_class(lay, line):
    files = hmdb()
    files["testTrainMulti_7030_splits/brush_hair_test_split1.txt"] += f"\n{line}"
    place = lay(files, hmdb_media())
    with pytest.raises(UserError, match="is no clip of brush_hair"):
        read_source("hmdb51", place, {})


def test_a_path_in_a_list_is_a_name_and_leads_nowhere(lay, ask):
    files = hmdb()
    line = f"\n../../outside/F_brush_hair_{TAGS}_0.avi 1"
    files["testTrainMulti_7030_splits/brush_hair_test_split1.txt"] += line
    place = lay(files, [*hmdb_media(), f"../outside/F_brush_hair_{TAGS}_0.avi"])
    manifest, said = ask("hmdb51", place)
    assert len(manifest) == 36
    assert "1 of 37 clips of the annotations are not there: ../../outside/F_brush" in said


def kinetics(split, numbers, header="label,youtube_id,time_start,time_end,split,is_cc"):
    lines = [header] if header else []
    for number in numbers:
        label = ("abseiling", "air drumming")[number % 2]
        lines.append(f'"{label}",-id{number:08},{number},{number + 10},{split},0')
    return "\n".join(lines)


def cut(numbers, folder=""):
    return [f"{folder}/-id{n:08}_{n:06}_{n + 10:06}.mp4".lstrip("/") for n in numbers]


def test_kinetics_without_a_test_is_tested_on_its_validation(lay, ask):
    files = {"train.csv": kinetics("train", range(20)), "val.csv": kinetics("val", range(20, 26))}
    place = lay(files, cut(range(19), "train/some class") + cut(range(20, 26), "val"))
    manifest, said = ask("kinetics", place)
    assert manifest.classes == ("abseiling", "air drumming")
    assert manifest.clip_counts()["test"] == 6
    assert manifest.clip_counts()["val"] == 4
    assert "the official val is test, and val is carved from train" in said
    assert "1 of 26 clips of the annotations are not there: -id00000019_000019_000029." in said


def test_kinetics_cuts_whole_videos_by_their_times(lay):
    files = {"kinetics-400_train.csv": kinetics("train", range(4))}
    rows = read_source("kinetics", lay(files, ["-id00000003.webm"]), {}).records
    assert [(row.path, row.start_s, row.end_s) for row in rows] == [("-id00000003.webm", 3.0, 13.0)]
    assert rows[0].group == "-id00000003"


def test_kinetics_leaves_out_what_has_no_label(lay, ask):
    unlabelled = "youtube_id,time_start,time_end,split\n-id00000030,30,40,test"
    files = {"train.csv": kinetics("train", range(20)), "test.csv": unlabelled}
    _, said = ask("kinetics", lay(files, cut(range(20)) + cut([30])))
    assert "1 clips have no label and were left out." in said


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,x,0,10,train", "row 2: 5 values under 6 columns"),
        ("a,x,-3,10,train,0", "'-3' is no time"),
        ("a,x,1e9,10,train,0", "'1e9' is no time"),
        ("a,x,nan,10,train,0", "'nan' is no time"),
        ("a,x,9999999,10,train,0", "'9999999' is no time"),
        ("a|b,x,0,10,train,0", r"The class 'a\|b' has a \|"),
        ("a" * 200_000 + ",x,0,10,train,0", "no readable CSV"),
    ],
)
def test_kinetics_refuses_absurd_rows(lay, row, message):
    header = "label,youtube_id,time_start,time_end,split,is_cc"
    with pytest.raises(UserError, match=message):
        read_source("kinetics", lay({"train.csv": f"{header}\n{row}"}, ["x.mp4"]), {})


def test_kinetics_names_a_column_that_is_missing(lay):
    with pytest.raises(UserError, match="no column youtube_id; there are label, id"):
        read_source("kinetics", lay({"train.csv": "label,id\na,b"}), {})


def test_media_may_lie_elsewhere(lay, ask, tmp_path):
    place = lay(
        {"train.csv": kinetics("train", range(20)), "val.csv": kinetics("val", range(20, 26))}
    )
    media = tmp_path / "elsewhere"
    media.mkdir()
    for name in cut(range(26)):
        (media / name).touch()
    manifest, _ = ask("kinetics", place, "--media", str(media))
    assert len(manifest) == 26
    with pytest.raises(UserError, match="There is no folder"):
        ask("kinetics", place, "--media", str(media / "no"))
