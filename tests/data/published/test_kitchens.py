"""Charades, EPIC-KITCHENS and EGTEA Gaze+: actions in long videos."""

import pytest

from understudy.data.sources.known import read_source
from understudy.data.sources.published.charades import segments
from understudy.errors import UserError

# Charades

CLASSES = (
    "c000 Holding some clothes\nc001 Putting clothes somewhere\nc097 Walking through a doorway\n"
)
HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"


def charades(split, videos, actions="c000 0.00 10.00;c001 4.00 12.50", length="11.50"):
    rows = [
        f'{video},{subject},Bedroom,6,7,Yes,"A person, alone.",,text;more,{actions},{length}\n'
        for video, subject in videos
    ]
    return {f"Charades_v1_{split}.csv": HEADER + "".join(rows)}


TRAIN = [(f"TR{n:03}", f"S{n // 2}") for n in range(10)]
TEST = [(f"TE{n:03}", f"T{n // 2}") for n in range(4)]


def charades_set(**options):
    files = {"Charades_v1_classes.txt": CLASSES}
    files |= charades("train", TRAIN, **options) | charades("test", TEST, **options)
    return files, [f"Charades_v1_480/{video}.mp4" for video, _ in TRAIN + TEST]


def test_segments_are_the_longest_stretches_with_the_same_actions():
    found, short = segments(
        [("a", 0.0, 10.0), ("b", 4.0, 12.0), ("c", 10.0, 10.2), ("a", 20.0, 30.0)]
    )
    assert found == [
        (0.0, 4.0, ("a",)),
        (4.0, 10.0, ("a", "b")),
        (10.2, 12.0, ("b",)),
        (20.0, 30.0, ("a",)),
    ]
    assert short == 1


def test_actions_that_touch_or_overlap_themselves_are_one_stretch():
    assert segments([("a", 0.0, 5.0), ("a", 5.0, 9.0), ("a", 3.0, 6.0)])[0] == [(0.0, 9.0, ("a",))]


def test_charades_has_several_labels_a_segment_and_people_as_groups(lay, ask):
    files, media = charades_set()
    manifest, _ = ask("charades", lay(files, media))
    assert manifest.is_multi_label
    assert len(manifest) == 3 * 14
    row = next(
        row for row in manifest.records if row.path.endswith("TE000.mp4") and row.start_s == 4
    )
    assert row.label == ("Holding some clothes", "Putting clothes somewhere")
    assert (row.end_s, row.group, row.split) == (10.0, "T0", "test")
    last = max(row.end_s for row in manifest.records)
    assert last == 11.5  # an action that goes on past the end of its video ends there
    assert manifest.group_counts() == {"train": 4, "val": 1, "test": 2}


def test_a_script_may_have_several_lines_and_any_separator_of_them(lay, ask):
    files, media = charades_set()
    script = '"A person, alone.\n\u2028And then\x0b ""nobody""."'
    files["Charades_v1_train.csv"] = files["Charades_v1_train.csv"].replace(
        '"A person, alone."', script
    )
    assert len(ask("charades", lay(files, media))[0]) == 42


def test_charades_as_whole_videos(lay, ask):
    files, media = charades_set()
    files["Charades_v1_train.csv"] += 'EMPTY,S1,Bedroom,6,7,Yes,"A.",,t,,20.00\n'
    manifest, said = ask("charades", lay(files, media), "--rows", "videos")
    assert len(manifest) == 14
    assert all(row.start_s is None and len(row.label) == 2 for row in manifest.records)
    assert "1 videos show none of the actions and were left out." in said


def test_times_of_frame_folders_are_counted_in_their_own_frames(lay):
    files, _ = charades_set()
    frames = [f"Charades_v1_rgb/{video}/{video}-{n:06}.jpg" for video, _ in TRAIN for n in (1, 2)]
    row = read_source("charades", lay(files, frames), {}).records[1]
    # Second 4 of the video is frame 96 at 24 a second; a folder is read at 25.
    assert (row.start_s * 25, row.end_s * 25) == (96, 240)
    row = read_source("charades", lay({}), {"fps": 12.0}).records[1]
    assert row.start_s * 25 == 48


@pytest.mark.parametrize(
    "actions", ["c000", "c000 1", "c999 1.0 2.0", "c000 -1 2", "c000 0 1e9", "x"]
)
def test_charades_refuses_what_is_no_action(lay, actions):
    files, media = charades_set(actions=actions)
    with pytest.raises(UserError, match=r"Charades_v1_train\.csv.* is no (action|time)"):
        read_source("charades", lay(files, media), {})


# EPIC-KITCHENS

EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def epic_row(person, video, number, verb=0):
    return (
        f"{video}_{number},{person},{video},00:00:00.560,00:01:0{number}.50,00:01:0{number + 1}.00,"
        f"1,113,take plate,take,{verb},plate,1,\"['plate', 'cup']\",\"[1, 2]\"\n"
    )


def epic(people=4):
    rows = [
        epic_row(f"P0{person}", f"P0{person}_0{video}", number, number % 2)
        for person in range(people)
        for video in (1, 2)
        for number in range(4)
    ]
    head = "id,key,instances,category\n"
    return {
        "annotations/EPIC_100_train.csv": EPIC + "".join(rows),
        "annotations/EPIC_100_validation.csv": EPIC + epic_row("P00", "P00_103", 1),
        "annotations/EPIC_100_verb_classes.csv": f"{head}0,take,\"['get', 'a']\",x\n1,put,put,x\n",
        "annotations/EPIC_100_noun_classes.csv": f"{head}0,tap,tap,c\n1,plate,plate,d\n",
    }


def epic_media(people=4):
    return [f"P0{p}/videos/P0{p}_0{v}.MP4" for p in range(people) for v in (1, 2)]


def test_epic_deals_out_people_and_reads_times_in_hours(lay, ask):
    place = lay(epic(), [*epic_media(), "P00/videos/P00_103.MP4"])
    manifest, _ = ask("epic-kitchens", place)
    assert manifest.classes == ("put", "take")
    assert set(manifest.groups(range(len(manifest)))) == {f"P0{n}" for n in range(4)}
    assert manifest.group_counts() == {"train": 2, "val": 1, "test": 1}
    first = next(row for row in manifest.records if row.path.endswith("P00_01.MP4"))
    assert (first.start_s, first.end_s) == (60.5, 61.0)
    with pytest.raises(UserError, match="P00"):
        ask("epic-kitchens", place, "--splits", "official")
    assert ask("epic-kitchens", place, "--labels", "action")[0].classes == (
        "put plate",
        "take plate",
    )


def test_epic_frames_are_counted_as_they_were_published(lay):
    frames = [f"{video}/frame_{n:010}.jpg" for video in ("P00_01", "P00_103") for n in (1, 2)]
    rows = read_source("epic-kitchens", lay(epic(), frames), {}).records
    old, new = (next(row for row in rows if row.path == path) for path in ("P00_01", "P00_103"))
    assert (old.start_s * 25, new.start_s * 25) == pytest.approx((60.5 * 60, 61.5 * 50))


def test_epic_refuses_a_class_without_a_name_and_names_a_missing_list(lay):
    files = epic()
    files["annotations/EPIC_100_validation.csv"] = EPIC + epic_row("P00", "P00_103", 1, verb=97)
    with pytest.raises(UserError, match="'P00_103_1' has a class that no list names"):
        read_source("epic-kitchens", lay(files, epic_media()), {})
    with pytest.raises(UserError, match=r"holds no EPIC_100_verb_classes\*\.csv.* Expected"):
        read_source("epic-kitchens", lay({}).parent / "set" / "P00", {})


# EGTEA Gaze+


def egtea_clip(person, number, action=1):
    start = 66680 + 2000 * number
    return f"{person}-R01-PastaSalad-{start}-{start + 1450}-F{number:06}-F{number + 42:06}", action


def egtea(people=("OP01", "OP02", "P03", "P04")):
    clips = [egtea_clip(person, n, 1 + n % 2) for person in people for n in range(6)]
    lines = [f"{name} {action} {3 - action} 1 5" for name, action in clips]
    return {
        "action_annotation/train_split1.txt": "\n".join(lines[:-4]),
        "action_annotation/test_split1.txt": "\n".join(lines[-4:]),
        "action_annotation/action_idx.txt": "Inspect/Read recipe 1\nOpen fridge 2\n",
        "action_annotation/verb_idx.txt": "Open 1\nInspect/Read 2\n",
    }, [name for name, _ in clips]


def test_egtea_deals_out_people(lay, ask):
    files, names = egtea()
    place = lay(files, [f"cropped_clips/{name[:19]}/{name}.mp4" for name in names])
    manifest, _ = ask("egtea", place)
    assert manifest.classes == ("Inspect/Read recipe", "Open fridge")
    assert set(manifest.groups(range(24))) == {"OP01", "OP02", "P03", "P04"}
    assert ask("egtea", place, "--labels", "verb")[0].classes == ("Inspect/Read", "Open")
    with pytest.raises(UserError, match="P04"):
        ask("egtea", place, "--splits", "official")


def test_egtea_cuts_sessions_by_the_milliseconds_of_the_name(lay):
    files, _ = egtea()
    row = read_source("egtea", lay(files, ["videos/OP01-R01-PastaSalad.mp4"]), {}).records[0]
    assert (row.start_s, row.end_s) == (66.68, 68.13)
    files["action_annotation/train_split1.txt"] = "../x-1-2-F1-F2 1 1 1"
    with pytest.raises(UserError, match="is no clip with the number of a class"):
        read_source("egtea", lay(files), {})
